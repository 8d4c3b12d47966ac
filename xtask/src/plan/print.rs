//! Plans in print: for people, and as a script that does what the run does.
//! Printing looks at nothing but the plan.

use std::fmt::Write as _;

use super::{Action, Plan, Step, quote};

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For people.
    Text,
    /// As a script that does what the run does.
    Shell,
    /// For programs.
    Json,
}

/// Whether a printed plan gives the reason of each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reasons {
    /// One line a step.
    Left,
    /// The reason, the command and the undo below each.
    Shown,
}

impl Step {
    /// The step as shell: what it does, unless it is done already.
    fn shell(&self) -> String {
        let body = match &self.action {
            Action::Run(command) => command.shell(),
            other => {
                let json = serde_json::to_string(other).expect("an action is plain data");
                format!("xtask probe action {}", quote(&json))
            }
        };
        match &self.unless {
            Some(probe) => {
                let json = serde_json::to_string(probe).expect("a probe is plain data");
                format!("xtask probe holds {} || {body}", quote(&json))
            }
            None => body,
        }
    }
}

impl Plan {
    /// The plan for people: choices, then a line a step; with reasons when asked to explain.
    pub fn text(&self, reasons: Reasons) -> String {
        let mut text = String::new();
        for choice in &self.choices {
            writeln!(text, "{choice}").expect("a string takes everything");
        }
        writeln!(text, "plan: {}", self.goal).expect("a string takes everything");
        let count = self.steps.len() + self.finally.len();
        for (index, step) in self.all_steps().enumerate() {
            let finally = if index < self.steps.len() { "" } else { " (always)" };
            writeln!(
                text,
                "  {:>2}/{count} {:<24} {:<7} {}{finally}",
                index + 1,
                step.id,
                format!("{:?}", step.effect).to_lowercase(),
                step.title
            )
            .expect("a string takes everything");
            if reasons == Reasons::Shown {
                writeln!(text, "        because: {}", step.why).expect("a string takes everything");
                if let Action::Wait { deadline, every, .. } = &step.action {
                    writeln!(text, "        waits at most {deadline} s, looking every {every} s")
                        .expect("a string takes everything");
                }
                if let Action::Run(command) = &step.action {
                    writeln!(text, "        $ {}", command.shell()).expect("a string takes everything");
                }
                if let Some(undo) = &step.undo {
                    writeln!(text, "        undo: {}", undo.shell()).expect("a string takes everything");
                }
            }
        }
        if let Some(next) = &self.next {
            writeln!(text, "then: {next}").expect("a string takes everything");
        }
        text
    }

    /// The plan as a script for sh, run from the root with xtask and the tools on PATH.
    pub fn shell(&self) -> String {
        let mut script = String::from("#!/bin/sh\n");
        writeln!(script, "# {}", self.goal).expect("a string takes everything");
        script.push_str(
            "# run from the checkout's root, with xtask and its tools on PATH; takes no host lock\nset -eu\n",
        );
        if !self.finally.is_empty() {
            script.push_str("finally() {\n  set +e\n");
            for step in &self.finally {
                writeln!(script, "  # {}: {}\n  {}", step.id, step.title, step.shell())
                    .expect("a string takes everything");
            }
            script.push_str("}\ntrap finally EXIT\n");
        }
        for step in &self.steps {
            writeln!(script, "# {}: {}\n{}", step.id, step.title, step.shell()).expect("a string takes everything");
        }
        script
    }
}

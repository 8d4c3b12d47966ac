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
    /// The step as lines of shell: what it does, unless it is done already.
    fn script(&self) -> Vec<String> {
        let body = match &self.action {
            Action::Run(command) => command.script(),
            other => {
                let json = serde_json::to_string(other).expect("an action is plain data");
                vec![format!("xtask probe action {}", quote(&json))]
            }
        };
        match &self.unless {
            Some(probe) => {
                let json = serde_json::to_string(probe).expect("a probe is plain data");
                let mut lines = vec![format!("if holds {}; then :; else", quote(&json))];
                lines.extend(body.into_iter().map(|line| format!("  {line}")));
                lines.push("fi".to_owned());
                lines
            }
            None => body,
        }
    }
}

/// What every script begins with. Lists split at line ends only, and no word is taken for a pattern; a probe that
/// cannot be asked is no answer.
const HEAD: &str = r#"# run from the checkout's root, with xtask and its tools on PATH; takes no host lock
set -euf
IFS='
'
trap 'exit 130' INT TERM
holds() {
  answer=0
  xtask probe holds "$1" || answer=$?
  [ "$answer" -le 1 ] || exit "$answer"
  return "$answer"
}
"#;

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
                match &step.action {
                    Action::Run(command) => writeln!(text, "        $ {}", command.shell()),
                    Action::List(listing) => writeln!(
                        text,
                        "        $ {}\n        which is asked for the lists in `{}`, and ended",
                        listing.proxy.shell(),
                        listing.of
                    ),
                    _ => Ok(()),
                }
                .expect("a string takes everything");
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
        script.push_str(HEAD);
        if !self.finally.is_empty() {
            // Each goes its own way: one that fails keeps none of the others from running.
            script.push_str("finally() {\n  set +e\n");
            for step in &self.finally {
                writeln!(script, "  # {}: {}\n  ( set -e", step.id, step.title).expect("a string takes everything");
                for line in step.script() {
                    writeln!(script, "    {line}").expect("a string takes everything");
                }
                script.push_str("  )\n");
            }
            script.push_str("}\ntrap finally EXIT\n");
        }
        for step in &self.steps {
            writeln!(script, "# {}: {}", step.id, step.title).expect("a string takes everything");
            for line in step.script() {
                writeln!(script, "{line}").expect("a string takes everything");
            }
        }
        script
    }
}

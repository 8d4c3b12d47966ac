//! Plans in print: a line a section, step by step, and as a script that does what the run does.
//! Printing looks at nothing but the plan.

use std::fmt::Write as _;

use super::{Action, Item, Node, Plan, Section, Step, Task};
use crate::command::quote;

/// Lines of a screen: the short form of no plan is longer.
const SCREEN: usize = 40;

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// A line a section, on one screen.
    Text,
    /// Every step with its command.
    Full,
    /// As a script that does what the run does.
    Shell,
    /// For programs.
    Json,
}

/// Whether a printed plan gives reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reasons {
    /// It says what is done.
    Omitted,
    /// It says why, too.
    Shown,
}

impl Step {
    /// The step as lines of shell: what it does, unless it is done already.
    fn script(&self) -> Vec<String> {
        let mut lines = vec![format!("# {}: {}", self.id, self.title)];
        let body = match &self.action {
            Action::Run(command) => command.script(),
            other => {
                let json = serde_json::to_string(other).expect("an action is plain data");
                vec![format!("xtask probe action {}", quote(&json))]
            }
        };
        lines.extend(unless(self.unless.as_ref(), body));
        lines
    }
}

impl Section {
    /// The section as lines of shell, each item as `step` makes it.
    fn script(&self, step: &dyn Fn(&Step) -> Vec<String>) -> Vec<String> {
        let mut lines = vec![format!("# {}: {}", self.id, self.title)];
        let body = self.items.iter().flat_map(|item| match item {
            Item::Step(own) => step(own),
            Item::Section(section) => section.script(step),
        });
        lines.extend(unless(self.unless.as_ref(), body.collect()));
        lines
    }
}

/// Lines of shell that run only when a probe does not hold.
fn unless(probe: Option<&super::Probe>, body: Vec<String>) -> Vec<String> {
    let Some(probe) = probe else { return body };
    let json = serde_json::to_string(probe).expect("a probe is plain data");
    let mut lines = vec![format!("if holds {}; then :; else", quote(&json))];
    lines.extend(body.into_iter().map(|line| format!("  {line}")));
    lines.push("fi".to_owned());
    lines
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
    /// The plan on one screen: its choices, a line a section, the command to type next. Sections within sections are
    /// lines of their own as far as there is room.
    pub fn text(&self, reasons: Reasons) -> String {
        let depth = self.depth();
        let mut text = self.head();
        let placed = self.placed();
        let sections = placed.iter().filter_map(|placed| match placed.node {
            Node::Section(section) => Some((placed.above.len(), section)),
            Node::Step(_) => None,
        });
        let width = sections
            .filter(|(own, _)| *own <= depth)
            .map(|(own, section)| 2 * own + section.id.len())
            .max()
            .unwrap_or(0);
        let first_of_finally = placed.len() - super::section::placed(&self.finally).len();
        for (index, placed) in placed.iter().enumerate() {
            if index == first_of_finally {
                text.push_str("always:\n");
            }
            let (Node::Section(section), true) = (placed.node, placed.above.len() <= depth) else {
                continue;
            };
            let indent = 2 * placed.above.len();
            let waits = waits(section).map_or_else(String::new, |waits| format!("; {waits}"));
            writeln!(
                text,
                "  {:indent$}{:<rest$} {:>3} {:<7} {}{waits}",
                "",
                section.id,
                section.steps().len(),
                format!("{:?}", section.effect()).to_lowercase(),
                section.title,
                rest = width - indent,
            )
            .expect("a string takes everything");
            if reasons == Reasons::Shown {
                writeln!(text, "  {:width$}     because: {}", "", section.why).expect("a string takes everything");
            }
        }
        self.foot(&mut text);
        text
    }

    /// How deep sections have lines of their own, so that the plan fits a screen: those of the plan itself have depth 0.
    /// A run tells a line of no deeper one.
    pub fn depth(&self) -> usize {
        let around = self.choices.len() + 2 + usize::from(!self.finally.is_empty()) + usize::from(self.next.is_some());
        let placed = self.placed();
        let sections = || placed.iter().filter(|placed| matches!(placed.node, Node::Section(_)));
        let deepest = sections().map(|placed| placed.above.len()).max().unwrap_or(0);
        let lines = |depth: usize| sections().filter(|placed| placed.above.len() <= depth).count();
        let depths = (0..=deepest).rev();
        { depths }.find(|depth| lines(*depth) + around <= SCREEN).unwrap_or(0)
    }

    /// Every section and step with its command.
    pub fn full(&self, reasons: Reasons) -> String {
        let mut text = self.head();
        for section in &self.sections {
            full_section(section, reasons, 1, &mut text);
        }
        if !self.finally.is_empty() {
            text.push_str("always:\n");
        }
        for section in &self.finally {
            full_section(section, reasons, 1, &mut text);
        }
        self.foot(&mut text);
        text
    }

    fn head(&self) -> String {
        let mut text = String::new();
        for choice in &self.choices {
            writeln!(text, "{choice}").expect("a string takes everything");
        }
        writeln!(text, "plan: {}", self.goal).expect("a string takes everything");
        text
    }

    fn foot(&self, text: &mut String) {
        if let Some(next) = &self.next {
            writeln!(text, "then: {next}").expect("a string takes everything");
        }
    }

    /// The plan as a script for sh, run from the root with xtask and the tools on PATH.
    pub fn shell(&self) -> String {
        let mut script = String::from("#!/bin/sh\n");
        writeln!(script, "# {}", self.goal).expect("a string takes everything");
        script.push_str(HEAD);
        if !self.finally.is_empty() {
            // Each goes its own way: one that fails keeps none of the others from running.
            script.push_str("finally() {\n  set +e\n");
            for section in &self.finally {
                // A probe that cannot be asked ends this section alone.
                script.push_str("  (\n");
                for line in section.script(&|step| {
                    let mut lines = vec!["( set -e".to_owned()];
                    lines.extend(step.script().into_iter().map(|line| format!("  {line}")));
                    lines.push(")".to_owned());
                    lines
                }) {
                    writeln!(script, "    {line}").expect("a string takes everything");
                }
                script.push_str("  )\n");
            }
            script.push_str("}\ntrap finally EXIT\n");
        }
        for section in &self.sections {
            for line in section.script(&Step::script) {
                writeln!(script, "{line}").expect("a string takes everything");
            }
        }
        script
    }
}

/// What a section waits for, in words: the first wait, and how many follow.
fn waits(section: &Section) -> Option<String> {
    let mut waits = section.steps().into_iter().filter_map(|step| match &step.action {
        Action::Wait { deadline, .. } => Some((step, *deadline)),
        _ => None,
    });
    let (step, deadline) = waits.next()?;
    let what = step.title.strip_prefix("Wait ").unwrap_or(&step.title);
    let more = match waits.count() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Some(format!("waits {what} (at most {deadline} s){more}"))
}

fn full_section(section: &Section, reasons: Reasons, depth: usize, text: &mut String) {
    let indent = 2 * depth;
    let unless = if section.unless.is_some() {
        " (unless it is done)"
    } else {
        ""
    };
    writeln!(text, "{:indent$}{}: {}{unless}", "", section.id, section.title).expect("a string takes everything");
    if reasons == Reasons::Shown {
        writeln!(text, "{:indent$}    because: {}", "", section.why).expect("a string takes everything");
    }
    for item in &section.items {
        match item {
            Item::Section(section) => full_section(section, reasons, depth + 1, text),
            Item::Step(step) => full_step(step, reasons, depth + 1, text),
        }
    }
}

fn full_step(step: &Step, reasons: Reasons, depth: usize, text: &mut String) {
    let indent = 2 * depth;
    let effect = format!("{:?}", step.effect).to_lowercase();
    let mut line = |words: String| {
        writeln!(text, "{:indent$}{words}", "").expect("a string takes everything");
    };
    line(format!("{:<24} {effect:<7} {}", step.id, step.title));
    if reasons == Reasons::Shown {
        line(format!("    because: {}", step.why));
    }
    match &step.action {
        Action::Wait { deadline, every, .. } => {
            line(format!("    waits at most {deadline} s, looking every {every} s"));
        }
        Action::Run(command) => line(format!("    $ {}", command.shell())),
        Action::Do(Task::ListObjects(listing)) => {
            line(format!("    $ {}", listing.proxy.shell()));
            line(format!(
                "    which is asked for the lists in `{}`, and ended",
                listing.of
            ));
        }
        _ => {}
    }
}

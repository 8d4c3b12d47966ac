//! Plans: what a verb will do, as closed data that is printed, executed, journalled and golden-tested.
//! It knows nothing of `run`, clap or the platform config file, and does no I/O.

mod print;
mod probe;
pub(crate) mod section;
mod task;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::command::{Command, Stdin, Tool};

pub use print::{Form, Reasons};
pub use probe::{Probe, VmIs};
pub use section::{Item, Node, Placed, Section};
pub use task::Task;

/// The schema version of a plan on disk.
pub const SCHEMA: u32 = 3;

/// Everything one run will do, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Plan {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// What the run is for, the same words for the same goal: `--resume` finds a run by it.
    pub goal: String,
    /// What was chosen and why, a sentence each; printed first.
    pub choices: Vec<String>,
    /// The cluster that `Remote` steps change; decides what is asked.
    pub target: Option<Target>,
    /// What is done, in order.
    pub sections: Vec<Section>,
    /// What is done also after a failure and after Ctrl-C.
    pub finally: Vec<Section>,
    /// The command to type next, once everything is done.
    pub next: Option<String>,
}

/// The cluster a plan changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Target {
    /// Its name, which a person types to confirm a `Destroy` in production.
    pub cluster: String,
    /// True for a cluster other people depend on.
    pub production: bool,
}

/// One step: the unit of the journal, and where a run can begin again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Step {
    /// `noun.verb`, unique in its section.
    pub id: String,
    /// Imperative, no period.
    pub title: String,
    /// The reason, for *explain*; a sentence.
    pub why: String,
    /// What a mistake costs.
    pub effect: Effect,
    /// Runs also when a run is told to begin at a later step: identity checks and locks are never left out.
    pub guard: bool,
    /// The step is fresh, and skipped, when this holds.
    pub unless: Option<Probe>,
    /// What it does.
    pub action: Action,
    /// The cluster that it changes, where that is not the plan's.
    pub target: Option<Target>,
}

/// What a step changes; ordered by what a mistake costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Nothing.
    Read,
    /// Files and processes of this host, or what this run itself made.
    Local,
    /// A cluster or a service.
    Remote,
    /// Something that cannot be had back.
    Destroy,
}

/// How a step has to be agreed to; ordered, the stronger covers the weaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Agreement {
    /// Not at all.
    None,
    /// `Proceed? [y]es/[N]o/[e]xplain`, or `--yes`.
    Prompt,
    /// The cluster's name typed out.
    TypedName,
}

impl Effect {
    /// What is asked before a step with this effect runs against a target.
    pub fn asks(self, target: Option<&Target>) -> Agreement {
        let production = target.is_some_and(|target| target.production);
        match (self, production) {
            (Self::Read | Self::Local, _) | (Self::Remote, false) => Agreement::None,
            (Self::Remote, true) | (Self::Destroy, false) => Agreement::Prompt,
            (Self::Destroy, true) => Agreement::TypedName,
        }
    }
}

/// What a step does: one of a closed list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Action {
    /// Runs a tool.
    Run(Command),
    /// Writes a file, beside and renamed.
    Write {
        /// Relative to the root.
        path: Utf8PathBuf,
        /// The whole content.
        content: String,
        /// Unix mode, `0o600` for what must stay private.
        mode: u32,
    },
    /// Removes a file or a folder with all that is in it; absent is fine.
    Remove {
        /// Relative to the root, below `.xtask/`.
        path: Utf8PathBuf,
    },
    /// Waits until a probe holds.
    Wait {
        /// What must hold.
        until: Probe,
        /// Seconds after which the step fails.
        deadline: u64,
        /// Seconds between two looks, at least 1.
        every: u64,
    },
    /// Does what no tool does: reads files and says yes or no, or writes another.
    Do(Task),
    /// Starts a process that outlives this run, unless it runs already; its pid is kept below the folder.
    Serve {
        /// Folder of the pid files, named in the command's arguments, relative to the root.
        folder: Utf8PathBuf,
        /// Name of the process.
        name: String,
        /// What is started; its output goes to a file in the folder.
        command: Command,
    },
}

impl Action {
    /// A task as what a step does.
    pub fn task(task: impl Into<Task>) -> Self {
        Self::Do(task.into())
    }
}

impl Step {
    /// A step; `why` is a sentence.
    pub fn new(id: &str, title: impl Into<String>, why: &str, effect: Effect, action: Action) -> Self {
        Self {
            id: id.to_owned(),
            title: title.into(),
            why: why.to_owned(),
            effect,
            guard: false,
            unless: None,
            action,
            target: None,
        }
    }

    /// Says that the step changes another cluster than the plan's: it is asked for by what a mistake costs there.
    #[must_use]
    pub fn changing(mut self, cluster: &str, production: bool) -> Self {
        self.target = Some(Target {
            cluster: cluster.to_owned(),
            production,
        });
        self
    }

    /// Runs the step also when a run is told to begin later.
    #[must_use]
    pub fn guarding(mut self) -> Self {
        self.guard = true;
        self
    }

    /// Skips the step when the probe holds.
    #[must_use]
    pub fn unless(mut self, probe: Probe) -> Self {
        self.unless = Some(probe);
        self
    }

    /// Puts a word before the id, so that one plan can hold the steps of several clusters.
    #[must_use]
    pub fn of(mut self, prefix: &str) -> Self {
        self.id = format!("{prefix}-{}", self.id);
        self
    }

    /// Every command the step may run, its probes' included.
    pub fn commands(&self) -> Vec<&Command> {
        let mut commands: Vec<&Command> = Vec::new();
        if let Some(probe) = &self.unless {
            commands.extend(probe.commands());
        }
        match &self.action {
            Action::Run(command) | Action::Serve { command, .. } => commands.push(command),
            Action::Do(task) => commands.extend(task.commands()),
            Action::Wait { until, .. } => commands.extend(until.commands()),
            Action::Write { .. } | Action::Remove { .. } => {}
        }
        commands
    }
}

impl Step {
    /// Whether a run that is told to begin later may leave the step out: only what changes a cluster, and is no guard.
    pub fn may_be_passed_over(&self) -> bool {
        self.effect >= Effect::Remote && !self.guard
    }

    fn reads_secret(&self) -> bool {
        matches!(&self.action, Action::Run(command) if matches!(command.stdin, Stdin::Secret(_)))
    }

    /// Every tool that the step may start.
    pub fn tools(&self) -> Vec<Tool> {
        let mut tools: Vec<Tool> = self.commands().into_iter().flat_map(Command::tools).collect();
        tools.extend(self.unless.iter().flat_map(Probe::tools));
        if let Action::Do(task) = &self.action {
            tools.extend(task.tools());
        }
        // A token that no variable holds is decrypted.
        if self.reads_secret() {
            tools.extend([Tool::Sops, Tool::AgeKeygen]);
        }
        tools
    }
}

impl Plan {
    /// An empty plan for a goal.
    pub fn new(goal: impl Into<String>) -> Self {
        Self {
            schema: SCHEMA,
            goal: goal.into(),
            choices: Vec::new(),
            target: None,
            sections: Vec::new(),
            finally: Vec::new(),
            next: None,
        }
    }

    /// Every section and step with its path, those of `finally` last.
    pub fn placed(&self) -> Vec<Placed<'_>> {
        section::placed(self.sections.iter().chain(&self.finally))
    }

    /// Whether its steps end processes and remove files, and nothing else: run again, it comes to the same end.
    pub fn only_removes(&self) -> bool {
        self.all_steps()
            .all(|step| matches!(step.action, Action::Remove { .. } | Action::Do(Task::EndProcesses(_))))
    }

    /// Every step, those of `finally` last.
    pub fn all_steps(&self) -> impl Iterator<Item = &Step> {
        let sections = self.sections.iter().chain(&self.finally);
        sections.flat_map(Section::steps)
    }

    /// The steps that are not those of `finally`.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.sections.iter().flat_map(Section::steps)
    }

    /// The first step before a place of the plan that a run cannot be told to begin after: it changes a cluster, and
    /// nothing in the plan tells whether that was done. Its path.
    pub fn unproven_before(&self, index: usize) -> Option<String> {
        let steps = section::placed(&self.sections)
            .into_iter()
            .filter_map(|placed| match placed.node {
                Node::Step(step) => Some((placed.path, step, placed.above)),
                Node::Section(_) => None,
            });
        steps
            .take(index)
            .find(|(_, step, above)| {
                let told = step.unless.is_some() || above.iter().any(|section| section.unless.is_some());
                step.may_be_passed_over() && !told
            })
            .map(|(path, ..)| path)
    }

    /// Every command that the plan may run, its probes' included.
    pub fn commands(&self) -> Vec<&Command> {
        let sections = self.sections.iter().chain(&self.finally);
        sections.flat_map(Section::commands).collect()
    }

    /// Every tool the plan needs, sorted.
    pub fn tools(&self) -> Vec<Tool> {
        let sections = self.sections.iter().chain(&self.finally);
        let mut tools: Vec<Tool> = sections
            .flat_map(Section::tools)
            .filter(|tool| *tool != Tool::Xtask)
            .collect();
        tools.sort_unstable();
        tools.dedup();
        tools
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_depends_on_the_effect_and_on_what_a_mistake_costs_there() {
        let target = |production| Target {
            cluster: "c".to_owned(),
            production,
        };
        let (local, production) = (target(false), target(true));
        for (effect, at, asked) in [
            (Effect::Read, &production, Agreement::None),
            (Effect::Local, &production, Agreement::None),
            (Effect::Remote, &local, Agreement::None),
            (Effect::Remote, &production, Agreement::Prompt),
            (Effect::Destroy, &local, Agreement::Prompt),
            (Effect::Destroy, &production, Agreement::TypedName),
        ] {
            assert_eq!(effect.asks(Some(at)), asked, "{effect:?} on {at:?}");
        }
        // What is destroyed is asked for also where no cluster is meant.
        assert_eq!(Effect::Destroy.asks(None), Agreement::Prompt);
        assert_eq!(Effect::Remote.asks(None), Agreement::None);
    }
}

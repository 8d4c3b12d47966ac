//! Runs a plan: step by step, each journalled before and after, the first failure ends it.
//! It knows no recipe and decides nothing that the plan does not say.

mod command;
mod diagnostics;
mod probe;
mod route;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use camino::Utf8Path;

use crate::base::failure::{FREE_SPACE, Failure, Kind, Result};
use crate::base::files::{free_bytes, remove, write};
use crate::base::process::Interrupt;
use crate::base::root::STATE;
use crate::base::state;
use crate::base::text::{bytes, seconds};
use crate::base::ui::{Answer, Status, Ui, Verbosity};
use crate::call::Caller;
use crate::call::kubectl::UNKNOWN_AUTHORITY;
use crate::call::process::{interrupted_failure, longest_wait};
use crate::command::Command;
use crate::plan::{Action, Agreement, Effect, Item, Plan, Probe, Reasons, Section, Step, Task, section};
use crate::run::journal::{Journal, State};
use crate::tool::Tools;

/// What is destroyed and named right above the question; the whole list stands in the plan.
const SHOWN_DESTROYED: usize = 20;

/// How long a wait says nothing where no line can be redrawn, and how long it says nothing of what it said before.
const SILENT_WAIT: Duration = Duration::from_secs(15);
const SAME_WAIT: Duration = Duration::from_secs(60);

/// Bytes of free disk below which it counts as full.
const FULL: u64 = 1 << 20;

/// How questions are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Ask the person.
    Ask,
    /// `--yes`: answers a prompt, never a guard.
    Given,
    /// `--plan`: what is done was saved, shown and approved before, and its stamp still holds.
    Reviewed,
}

/// The part of a plan that a step stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// What cannot be recorded is not done, and what is done already is told.
    Steps,
    /// These give back what others wait for, recorded or not; where there is nothing to give back, nobody is told.
    Finally,
}

/// Runs plans and asks probes, in one checkout.
#[derive(Clone, Copy)]
pub struct Runner<'a>(Caller<'a>);

/// Whoever runs plans can call tools, too.
impl<'a> std::ops::Deref for Runner<'a> {
    type Target = Caller<'a>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'a> Runner<'a> {
    /// A runner; a secret that a plan names is looked up in the environment, then in the checkout.
    pub fn new(root: &'a Utf8Path, ui: &'a Ui, tools: &'a Tools, interrupt: &'a Interrupt) -> Self {
        Self(Caller::new(root, ui, tools, interrupt, crate::secrets::token::find))
    }
}

/// What a plan's run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Those of the plan's own sections that changed something.
    pub changed: Vec<String>,
    /// What was left out, a sentence each.
    pub left_out: Vec<String>,
    /// How long each of the plan's own sections took.
    pub times: Vec<(String, Duration)>,
    last_outcome: Option<String>,
}

/// Whether a step left anything behind that outlives its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// It read, or wrote files that the next run writes again.
    None,
    /// It changed a cluster, a process or what somebody asked for.
    Made,
}

/// What is told of a section when it ends, or of those in it that have no line of their own.
#[derive(Debug, Clone, Copy)]
struct Line {
    change: Change,
    started: Instant,
}

/// Where a run is in its plan.
struct Walk<'r> {
    plan: &'r Plan,
    journal: &'r mut Journal,
    consent: Consent,
    /// The step that it begins at, counted through the whole plan.
    from: usize,
    /// The next step, counted in the same way.
    index: usize,
    /// What was agreed to, by cluster.
    agreed: BTreeMap<&'r str, Agreement>,
    /// How deep sections have lines of their own.
    depth: usize,
    /// The lines of the sections that the run is in.
    lines: Vec<(Line, Option<String>)>,
    summary: Summary,
}

impl Step {
    /// Whether a step that has acted left something behind.
    fn change(&self) -> Change {
        match &self.action {
            Action::Run(_) | Action::Do(Task::PutOperatorKey(_) | Task::SetRecord(_) | Task::EndProcesses(_))
                if self.effect > Effect::Read =>
            {
                Change::Made
            }
            _ => Change::None,
        }
    }
}

impl Walk<'_> {
    /// Whether a step is passed over when a run is told to begin later. What only looks, compares, checks and prepares
    /// is never passed over, nor is a guard: what comes later relies on all of it.
    fn passes_over(&self, step: &Step) -> bool {
        self.index < self.from && step.may_be_passed_over()
    }
}

impl Runner<'_> {
    /// Runs a plan from a step on, with its `finally` sections whatever happens.
    pub fn run(&self, plan: &Plan, journal: &mut Journal, consent: Consent, from: usize) -> Result<Summary> {
        let mut walk = Walk {
            plan,
            journal,
            consent,
            from,
            index: 0,
            agreed: BTreeMap::new(),
            depth: plan.depth(),
            lines: Vec::new(),
            summary: Summary::default(),
        };
        let steps = plan
            .sections
            .iter()
            .try_for_each(|section| self.run_section(&mut walk, section, "", 0));
        let interrupted = self.interrupt.is_set();
        // `finally` has to run after Ctrl-C too; a second Ctrl-C ends the process from the signal handler.
        self.interrupt.clear();
        walk.index = plan.steps().count();
        let mut cleanup = Ok(());
        for section in &plan.finally {
            let started = Instant::now();
            self.clean_up(&mut walk, section, "", &mut cleanup);
            walk.summary.times.push((section.id.clone(), started.elapsed()));
        }
        self.ui.clear_progress();
        match steps {
            Ok(()) if interrupted => Err(interrupted_failure()),
            Ok(()) => cleanup.map(|()| walk.summary),
            Err(failure) => Err(failure),
        }
    }

    fn run_section<'r>(&self, walk: &mut Walk<'r>, section: &'r Section, above: &str, depth: usize) -> Result<()> {
        let path = section::path(above, &section.id);
        let steps = section.steps();
        if self.interrupt.is_set() {
            return Err(interrupted_failure());
        }
        let done = self
            .is_done(section)
            .and_then(|done| {
                if done {
                    walk.journal.record(&path, State::Fresh)?;
                }
                Ok(done)
            })
            .map_err(|failure| with_way_back(failure, walk.plan, walk.index, "section", &path))?;
        if done {
            self.tell_skipped(&path, &section.title);
            walk.index += steps.len();
            return Ok(());
        }
        let own_line = depth <= walk.depth;
        let started = Instant::now();
        if own_line {
            let change = Change::None;
            walk.lines.push((Line { change, started }, None));
            self.ui.clear_progress();
            self.ui.progress(&section.title);
        }
        for item in &section.items {
            match item {
                Item::Section(inner) => {
                    self.run_section(walk, inner, &path, depth + 1)?;
                    self.ui.progress(&section.title);
                }
                Item::Step(step) => {
                    let path = section::path(&path, &step.id);
                    if walk.passes_over(step) {
                        self.pass_over(walk, step, &path)?;
                    } else {
                        self.run_agreed(walk, step, &path)?;
                    }
                    walk.index += 1;
                }
            }
        }
        if let Some((line, outcome)) = walk.lines.pop_if(|_| own_line) {
            self.tell_section(&mut walk.summary, section, line, outcome);
        }
        if depth == 0 {
            walk.summary.times.push((section.id.clone(), started.elapsed()));
        }
        Ok(())
    }

    /// Tells what became of a section that changed something, or that came to something.
    fn tell_section(&self, summary: &mut Summary, section: &Section, line: Line, outcome: Option<String>) {
        let (past, rest) = section.past();
        let took = seconds(line.started.elapsed());
        // The same words again, as of a second look, say nothing new.
        let outcome = outcome.filter(|outcome| summary.last_outcome.replace(outcome.clone()).as_ref() != Some(outcome));
        let text = match &outcome {
            None => format!("{rest} ({took})"),
            Some(outcome) => format!("{rest}: {outcome} ({took})"),
        };
        if line.change == Change::Made || outcome.is_some() {
            self.ui.told(&past, text);
        }
    }

    fn tell_skipped(&self, path: &str, title: &str) {
        if self.ui.verbosity() >= Verbosity::Steps {
            self.ui.told("Skipped", format!("{path}: {title}: already done"));
        }
    }

    /// Passes over a step, which has to be done already: what comes later may rely on it.
    fn pass_over(&self, walk: &mut Walk<'_>, step: &Step, path: &str) -> Result<()> {
        if self.is_fresh(step)? {
            walk.journal.record(path, State::Fresh)?;
            self.tell_skipped(path, &step.title);
            return Ok(());
        }
        Err(Failure::refused(format!(
            "`--from` would pass over `{path}`, which is not done; it and what comes after it was not run"
        ))
        .hinted(format!("it would: {}", step.title))
        .hinted("leave `--from` out: what is done already is not done again"))
    }

    /// Asks where that is needed, and runs a step.
    fn run_agreed<'r>(&self, walk: &mut Walk<'r>, step: &'r Step, path: &str) -> Result<()> {
        if self.interrupt.is_set() {
            return Err(interrupted_failure());
        }
        let target = step.target.as_ref().or(walk.plan.target.as_ref());
        let cluster = target.map_or("", |target| target.cluster.as_str());
        let asks = step.effect.asks(target);
        // Who typed the cluster's name has agreed to everything less, too; but not for another cluster.
        let before = walk.agreed.get(cluster).copied().unwrap_or(Agreement::None);
        if asks > before && !self.is_fresh(step)? {
            self.agree(walk.plan, step, cluster, asks, walk.consent)?;
            walk.agreed.insert(cluster, asks);
        }
        let index = walk.index;
        let change = self
            .run_step(step, path, walk.journal, Part::Steps, index)
            .map_err(|failure| with_way_back(failure, walk.plan, index, "step", path))?;
        let told = self.ui.take_told();
        walk.summary.left_out.extend(told.left_out);
        if let Some((line, outcome)) = walk.lines.last_mut() {
            if change == Change::Made {
                line.change = change;
                let own = path.split('/').next().unwrap_or_default();
                if walk.summary.changed.last().is_none_or(|last| last != own) {
                    walk.summary.changed.push(own.to_owned());
                }
            }
            // The identity check says which cluster it is at every verb; a person hears of it when it is another.
            if told.outcome.is_some() && !step.guard {
                *outcome = told.outcome;
            }
        }
        Ok(())
    }

    /// Runs a section of `finally`: what fails there is told, and keeps nothing else from running.
    fn clean_up(&self, walk: &mut Walk<'_>, section: &Section, above: &str, outcome: &mut Result<()>) {
        let path = section::path(above, &section.id);
        let told = |failure: Failure, path: &str, outcome: &mut Result<()>| {
            self.ui.status(Status::Failed, format!("{path}: {}", failure.chain()));
            *outcome = Err(failure);
        };
        let done = self.is_done(section).and_then(|done| {
            if done {
                self.record_cleanup(walk.journal, &path, State::Fresh)?;
            }
            Ok(done)
        });
        match done {
            Ok(false) => {}
            done => {
                walk.index += section.steps().len();
                if let Err(failure) = done {
                    told(failure, &path, outcome);
                }
                return;
            }
        }
        for item in &section.items {
            match item {
                Item::Section(inner) => self.clean_up(walk, inner, &path, outcome),
                Item::Step(step) => {
                    let path = section::path(&path, &step.id);
                    let index = walk.index;
                    let ran = self.run_step(step, &path, walk.journal, Part::Finally, index);
                    if let Err(failure) = ran {
                        told(failure, &path, outcome);
                    }
                    walk.index += 1;
                }
            }
        }
    }

    /// Records what became of something in `finally`; it is done also where that cannot be recorded.
    fn record_cleanup(&self, journal: &mut Journal, path: &str, state: State) -> Result<()> {
        if let Err(failure) = journal.record(path, state) {
            self.ui.status(Status::Warning, format!("{path}: {}", failure.chain()));
        }
        Ok(())
    }

    /// Runs the steps of sections without a record of it, for verbs that only look; logs go to the folder.
    pub fn run_looking(&self, sections: &[Section], logs: &Utf8Path) -> Result<()> {
        for section in sections {
            if self.is_done(section)? {
                continue;
            }
            for item in &section.items {
                match item {
                    Item::Section(inner) => self.run_looking(std::slice::from_ref(inner), logs)?,
                    Item::Step(step) if self.is_fresh(step)? => {}
                    Item::Step(step) => {
                        self.ui.progress(&step.title);
                        self.act(step, &logs.join(format!("{}.log", step.id)))
                            .map_err(|failure| failure.context(format!("step `{}` failed", step.id)))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn is_done(&self, section: &Section) -> Result<bool> {
        section.unless.as_ref().map_or(Ok(false), |probe| self.holds(probe))
    }

    fn is_fresh(&self, step: &Step) -> Result<bool> {
        step.unless.as_ref().map_or(Ok(false), |probe| self.holds(probe))
    }

    fn agree(&self, plan: &Plan, step: &Step, cluster: &str, asks: Agreement, consent: Consent) -> Result<()> {
        let refused = |reason: &str| {
            Failure::refused(format!("cancelled before step `{}`: {reason}", step.id))
                .hinted(format!("it would: {}", step.title))
        };
        if self.ui.can_ask() && step.effect == Effect::Destroy {
            self.show_destroyed(plan);
        }
        match asks {
            Agreement::None => Ok(()),
            _ if consent == Consent::Reviewed => Ok(()),
            Agreement::Prompt if consent == Consent::Given => Ok(()),
            Agreement::Prompt | Agreement::TypedName if !self.ui.can_ask() => {
                Err(refused("there is no terminal to ask on").hinted(match asks {
                    Agreement::TypedName => {
                        "run it on a terminal, or apply a reviewed plan: `--save-plan FILE`, then `--plan FILE`"
                    }
                    _ => "`--yes` answers this prompt",
                }))
            }
            Agreement::Prompt => loop {
                match self.ui.ask(&format!(
                    "`{}` changes `{cluster}` from here on ({}). Proceed?",
                    plan.goal, step.id
                ))? {
                    Answer::Yes => return Ok(()),
                    Answer::No => return Err(refused("you answered no")),
                    Answer::Explain => self.ui.text(plan.text(Reasons::Shown)),
                }
            },
            Agreement::TypedName => match self
                .ui
                .read_line(&format!("{}. Type `{cluster}` to go on: ", step.title))?
            {
                Some(line) if line == cluster => Ok(()),
                _ => Err(refused("the cluster's name was not typed")),
            },
        }
    }

    /// Shows what a plan destroys, for the question that comes next.
    fn show_destroyed(&self, plan: &Plan) {
        let titles: Vec<&str> = plan
            .steps()
            .filter(|step| step.effect == Effect::Destroy)
            .map(|step| step.title.as_str())
            .collect();
        self.ui.clear_progress();
        for title in titles.iter().take(SHOWN_DESTROYED) {
            self.ui.text(format!("  - {title}"));
        }
        if let more @ 1.. = titles.len().saturating_sub(SHOWN_DESTROYED) {
            self.ui.text(format!("  and {more} more"));
        }
    }

    fn run_step(&self, step: &Step, path: &str, journal: &mut Journal, part: Part, index: usize) -> Result<Change> {
        let log = journal.log_path(index, path);
        let mut record = |state| match part {
            Part::Steps => journal.record(path, state),
            Part::Finally => self.record_cleanup(journal, path, state),
        };
        if self.is_fresh(step)? {
            record(State::Fresh)?;
            if part == Part::Steps {
                self.tell_skipped(path, &step.title);
            }
            return Ok(Change::None);
        }
        record(State::Started)?;
        let every_step = self.ui.verbosity() >= Verbosity::Steps;
        self.ui.progress(&step.title);
        let started = Instant::now();
        let outcome = self.act(step, &log);
        match &outcome {
            Ok(()) => {
                record(State::Done)?;
                if every_step {
                    let took = seconds(started.elapsed());
                    self.ui.told("Done", format!("{path}: {} ({took})", step.title));
                }
            }
            // A journal that cannot be written must not hide why the step failed.
            Err(failure) => drop(record(State::Failed(failure.chain()))),
        }
        if self.ui.verbosity() >= Verbosity::Tools
            && let Ok(said) = fs_err::read(&log)
        {
            self.ui.text(String::from_utf8_lossy(&said));
        }
        outcome.map(|()| step.change()).map_err(|failure| {
            let failure = self.with_the_disk(failure);
            if log.exists() {
                failure.hinted(format!("the whole log: {log}"))
            } else {
                failure
            }
        })
    }

    /// Whether the disk of the state has no room any more, in words.
    fn full_disk(&self) -> Option<String> {
        let free = free_bytes(&self.root.join(STATE)).filter(|free| *free < FULL)?;
        Some(format!("the disk of `{STATE}` is full: {} are free", bytes(free)))
    }

    /// Names a full disk where a tool failed or came to no end: most do not say that it is why.
    fn with_the_disk(&self, failure: Failure) -> Failure {
        match (failure.kind, self.full_disk()) {
            (Kind::Step | Kind::Timeout, Some(full)) if !failure.is_of_a_full_disk() => {
                let mut failure = failure.context(full);
                failure.hints.insert(0, FREE_SPACE.to_owned());
                failure
            }
            _ => failure,
        }
    }

    /// Does what an action says; output goes to the log.
    pub fn act(&self, step: &Step, log: &Utf8Path) -> Result<()> {
        match &step.action {
            Action::Run(command) => self.run_command(command, log),
            Action::Write { path, content, mode } => write(&state::inside(self.root, path)?, content.as_bytes(), *mode),
            Action::Remove { path } => remove(&state::inside(self.root, path)?),
            Action::Wait { until, deadline, every } => self.wait(step, until, *deadline, *every),
            Action::Do(task) => task.run(&self.logging_to(log)),
            Action::Serve { folder, name, command } => self.serve(folder, name, command),
        }
    }

    fn wait(&self, step: &Step, until: &Probe, deadline: u64, every: u64) -> Result<()> {
        let started = Instant::now();
        let deadline = Duration::from_secs(longest_wait().map_or(deadline, |limit| deadline.min(limit)));
        let (mut told, mut reason) = (Instant::now(), None);
        loop {
            let seen = self.look(until)?;
            if seen.holds {
                return Ok(());
            }
            if let Some(reason) = seen.reasons.iter().find(|reason| reason.contains(UNKNOWN_AUTHORITY)) {
                return Err(Failure::refused(
                    "an API server answers there that this cluster's own authority did not sign; nothing was written",
                )
                .hinted(reason)
                .hinted("see what listens on its port: another VM's forwarding, or a cluster that is not ours"));
            }
            if let Some(full) = self.full_disk() {
                return Err(
                    Failure::new(Kind::Step, format!("`{}` does not hold, and {full}", step.id)).hinted(FREE_SPACE),
                );
            }
            let waited = started.elapsed();
            if waited >= deadline {
                let mut message = format!("`{}` did not hold within {}", step.id, seconds(deadline));
                for line in self.diagnostics_of(until, &seen.reasons) {
                    message.push_str("\n    ");
                    message.push_str(&line);
                }
                let failure = Failure::new(Kind::Timeout, message);
                return Err(seen
                    .reasons
                    .iter()
                    .fold(failure, |failure, reason| failure.hinted(reason)));
            }
            let line = format!(
                "{}: {} of {}: {}",
                step.id,
                seconds(waited),
                seconds(deadline),
                seen.reasons.first().map_or("not yet", String::as_str)
            );
            if self.ui.has_spinner() {
                self.ui.progress(line);
            } else if told.elapsed() > SILENT_WAIT
                && (reason != seen.reasons.first().cloned() || told.elapsed() > SAME_WAIT)
            {
                told = Instant::now();
                reason = seen.reasons.first().cloned();
                self.ui.status(Status::Waiting, line);
            }
            self.interrupt
                .sleep(Duration::from_secs(every.max(1)).min(deadline.saturating_sub(waited)));
            if self.interrupt.is_set() {
                return Err(interrupted_failure());
            }
        }
    }

    /// What is known of the objects whose gates are open.
    fn diagnostics_of(&self, until: &Probe, reasons: &[String]) -> Vec<String> {
        let Probe::Gates { command, gates } = until else {
            return Vec::new();
        };
        let open: Vec<_> = gates
            .iter()
            .filter(|gate| {
                let words = format!("gate `{}`:", gate.id);
                reasons.iter().any(|reason| reason.starts_with(&words))
            })
            .map(|gate| gate.object.clone())
            .collect();
        self.diagnostics(command, &open)
    }

    /// Starts a process that outlives this run, unless it runs already.
    fn serve(&self, folder: &Utf8Path, name: &str, command: &Command) -> Result<()> {
        let folder = state::inside(self.root, folder)?;
        if crate::cluster::embedded::is_running(&folder, name)? {
            return Ok(());
        }
        fs_err::create_dir_all(folder.join("pids"))?;
        let log = folder.join(format!("{name}.log"));
        self.process(command, Some(&log))?
            .detach(&folder.join("pids").join(format!("{name}.pid")))
    }
}

/// Says where a run failed, and how to go on; a way that would be refused is not named.
fn with_way_back(failure: Failure, plan: &Plan, index: usize, what: &str, path: &str) -> Failure {
    let failure = failure.context(format!("{what} `{path}` failed"));
    // What another run holds is not to be had by beginning elsewhere.
    if matches!(failure.kind, Kind::Interrupted | Kind::Refused | Kind::Locked) {
        return failure;
    }
    failure.hinted(match plan.unproven_before(index) {
        None => format!("go on with `--resume`, or with `--from {path}`"),
        Some(_) => "go on with `--resume`".to_owned(),
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Runs a plan that needs no tool.
    fn run(root: &Utf8Path, plan: &Plan, journal: &mut Journal, consent: Consent) -> Result<Summary> {
        let ui = Ui::plain();
        let (tools, interrupt) = (Tools::default(), Interrupt::default());
        Runner::new(root, &ui, &tools, &interrupt).run(plan, journal, consent, 0)
    }

    #[test]
    fn yes_answers_for_another_cluster_by_what_a_mistake_costs_there() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let asked = |name: &str, step: Step, consent| {
            let mut plan = Plan::new("replace the bootstrap cluster");
            plan.target = Some(crate::plan::Target {
                cluster: "vanixiets".to_owned(),
                production: true,
            });
            plan.sections
                .push(Section::new("part", "Do it", "A test wants it.").with(step));
            run(root, &plan, &mut Journal::begin(root, name, &plan).unwrap(), consent)
        };
        let remove = || {
            let action = Action::Remove { path: "gone".into() };
            Step::new(
                "source.remove",
                "Remove it",
                "It is not needed any more.",
                Effect::Destroy,
                action,
            )
        };
        let local = || remove().changing("k3s-capi", false);
        assert!(asked("a", local(), Consent::Given).is_ok());
        assert_eq!(asked("b", local(), Consent::Ask).unwrap_err().kind, Kind::Refused);
        // The cluster's own name has to be typed, which a flag cannot do.
        for step in [remove(), remove().changing("other", true)] {
            assert_eq!(asked("c", step, Consent::Given).unwrap_err().kind, Kind::Refused);
        }
    }

    #[test]
    fn what_cannot_be_recorded_is_not_done_but_what_others_wait_for_is_given_back() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let write = |id: &str, path: &str| {
            let action = Action::Write {
                path: path.into(),
                content: "x".to_owned(),
                mode: 0o600,
            };
            Step::new(id, "Write", "It shows that the step was done.", Effect::Local, action)
        };
        let mut plan = Plan::new("fill the disk");
        let section = |id: &str, step| Section::new(id, "Write", "A test wants it.").with(step);
        plan.sections.push(section("part", write("step.do", "done")));
        plan.finally
            .push(section("lease", write("lease.release", "given-back")));
        let mut journal = crate::run::journal::Journal::on_a_full_disk(root);
        let failure = run(root, &plan, &mut journal, Consent::Given).unwrap_err();
        assert_eq!(failure.kind, Kind::Step);
        assert!(
            failure.chain().contains("cannot write the journal"),
            "{}",
            failure.chain()
        );
        assert!(
            failure.hints.iter().any(|hint| hint.contains("free some disk space")),
            "{:?}",
            failure.hints
        );
        assert!(!root.join("done").exists(), "it was done, and nothing will ever tell");
        assert!(root.join("given-back").exists(), "the Lease is still held");
    }

    #[test]
    fn a_run_that_begins_later_checks_and_prepares_all_the_same_and_passes_over_only_what_is_done() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let write = |id: &str, path: &str, effect| {
            let action = Action::Write {
                path: path.into(),
                content: "x".to_owned(),
                mode: 0o600,
            };
            Step::new(id, "Write", "It shows that the step was done.", effect, action)
        };
        let mut plan = Plan::new("begin later");
        let section = Section::new("part", "Write", "A test wants it.");
        let change = write("change.do", "changed", Effect::Remote);
        plan.sections.push(
            section
                .clone()
                .with(write("look.do", "looked", Effect::Read))
                .with(change.clone().unless(Probe::Exists("changed".into())))
                .with(write("later.do", "later", Effect::Remote)),
        );
        let begun = |name: &str, plan: &Plan, from| {
            let ui = Ui::plain();
            let (tools, interrupt) = (Tools::default(), Interrupt::default());
            let mut journal = Journal::begin(root, name, plan).unwrap();
            Runner::new(root, &ui, &tools, &interrupt).run(plan, &mut journal, Consent::Given, from)
        };
        let failure = begun("a", &plan, 2).unwrap_err();
        assert_eq!(failure.kind, Kind::Refused);
        assert!(failure.chain().contains("`part/change.do`"), "{}", failure.chain());
        assert!(root.join("looked").exists(), "what is looked at is passed over");
        assert!(!root.join("changed").exists() && !root.join("later").exists());
        fs_err::write(root.join("changed"), "by an earlier run").unwrap();
        begun("b", &plan, 2).unwrap();
        assert!(root.join("later").exists());
        assert_eq!(
            fs_err::read_to_string(root.join("changed")).unwrap(),
            "by an earlier run"
        );
        // Where nothing tells whether a step is done, a run cannot begin behind it.
        assert_eq!(plan.unproven_before(2), None);
        plan.sections = vec![section.with(change).with(write("later.do", "later", Effect::Remote))];
        assert_eq!(plan.unproven_before(0), None);
        assert_eq!(plan.unproven_before(1).as_deref(), Some("part/change.do"));
        plan.sections[0].unless = Some(Probe::Exists("all".into()));
        assert_eq!(plan.unproven_before(1), None);
    }
}

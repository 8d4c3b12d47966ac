//! Carries out the plan of a verb: prints it, or gets its tools, locks, journals and runs it.
//! It makes no plan.

pub mod asked;
pub mod exec;
pub mod journal;
pub mod saved;

use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::formats::json;
use crate::base::lock::HostLock;
use crate::base::text::{nearest, plural, seconds};
use crate::base::ui::{Status, Ui};
use crate::context::{Checkout, Context};
use crate::plan::{Effect, Form, Node, Plan, Reasons, Section};
use crate::run::asked::Asked;
use crate::run::exec::{Consent, Runner, Summary};
use crate::run::journal::{End, Journal, State};
use crate::tool::Tools;

/// How a plan is carried out; the same flags on every verb that acts.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PlanArgs {
    /// Print the plan instead of running it; starts nothing but reads. `full` has every step, `shell` is a script
    #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    pub dry_run: Option<Form>,
    /// Print the reasons, too
    #[arg(long, requires = "dry_run")]
    pub explain: bool,
    /// Answer prompts with yes; never answers a guard
    #[arg(long)]
    pub yes: bool,
    /// Go on with the newest unfinished run of the same goal
    #[arg(long, conflicts_with = "dry_run")]
    pub resume: bool,
    /// Begin at this step or section; checks and comparisons before it run all the same, and what is passed over must be done
    #[arg(long, value_name = "STEP", conflicts_with = "dry_run")]
    pub from: Option<String>,
}

/// Whether two runs of the same subject may go on at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lock {
    /// One at a time on this host, for this subject (a cluster).
    Host(String),
    /// The same for each of these, taken in this order.
    Hosts(Vec<String>),
    /// Every run has a subject of its own.
    None,
}

/// The nonce of this process' run: 12 hexadecimal digits, different for every run of every host.
pub fn nonce() -> String {
    static NONCE: OnceLock<String> = OnceLock::new();
    NONCE.get_or_init(new_nonce).clone()
}

fn new_nonce() -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seed = format!(
        "{}:{}:{}",
        now.as_nanos(),
        std::process::id(),
        crate::base::host::host()
    );
    json::sha256(seed)[..12].to_owned()
}

/// A plan that is reviewed in one place and applied in another.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SavedArgs {
    /// Write the plan and what it was made from to this file, and stop
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "resume", "from", "plan"])]
    pub save_plan: Option<Utf8PathBuf>,
    /// Apply a plan that was saved; refused when it is not what is planned here, or anything it was made from has moved
    #[arg(long, value_name = "FILE", conflicts_with_all = ["resume", "from"])]
    pub plan: Option<Utf8PathBuf>,
}

/// Carries out a plan's reads without lock or journal: for verbs that only look. The folder takes the logs.
pub fn look(context: &Context, checkout: &Checkout, sections: &[Section], folder: &Utf8Path) -> Result<Tools> {
    let mut plan = Plan::new("look");
    plan.sections = sections.to_vec();
    let kubernetes = checkout.platform.versions.get("kubernetes").map_or("", String::as_str);
    let tools = context.toolbox(kubernetes).ensure(&plan.tools())?;
    let runner = Runner::new(&checkout.root, &context.ui, &tools, &context.interrupt);
    let folder = checkout.path(folder);
    fs_err::create_dir_all(&folder)?;
    debug_assert!(
        plan.all_steps().all(|step| step.effect <= Effect::Local),
        "a look changes more than files of this host"
    );
    runner.run_looking(&plan.sections, &folder)?;
    context.ui.clear_progress();
    Ok(tools)
}

/// Prints a plan.
pub fn print(context: &Context, plan: &Plan, form: Form, args: &PlanArgs) -> Result<()> {
    let reasons = if args.explain { Reasons::Shown } else { Reasons::Omitted };
    match form {
        Form::Text => context.ui.data(plan.text(reasons)),
        Form::Full => context.ui.data(plan.full(reasons)),
        Form::Shell => context.ui.data(plan.shell()),
        Form::Json => context.ui.json(plan.schema, plan),
    }
}

/// How prompts are answered in a run of a plan.
fn consent(args: &PlanArgs, reviewed: Reviewed) -> Consent {
    match (reviewed, args.yes) {
        (Reviewed::Saved, _) => Consent::Reviewed,
        (Reviewed::Now, true) => Consent::Given,
        (Reviewed::Now, false) => Consent::Ask,
    }
}

/// Whether a plan was reviewed before it is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reviewed {
    /// It was made just now.
    Now,
    /// It was saved and approved.
    Saved,
}

/// Prints the plan, or runs it to its end.
pub fn carry_out(
    context: &Context,
    checkout: &Checkout,
    verb: &str,
    plan: Plan,
    args: &PlanArgs,
    lock: &Lock,
) -> Result<()> {
    carry_out_reviewed(context, checkout, verb, plan, args, lock, Reviewed::Now)
}

/// As `carry_out`, for a plan that may have been reviewed before.
pub fn carry_out_reviewed(
    context: &Context,
    checkout: &Checkout,
    verb: &str,
    plan: Plan,
    args: &PlanArgs,
    lock: &Lock,
    reviewed: Reviewed,
) -> Result<()> {
    let ui = &context.ui;
    if let Some(form) = args.dry_run {
        return print(context, &plan, form, args);
    }
    let subjects = match lock {
        Lock::Host(subject) => std::slice::from_ref(subject),
        Lock::Hosts(subjects) => subjects,
        Lock::None => &[],
    };
    let held: Vec<HostLock> = subjects
        .iter()
        .map(|subject| HostLock::take(&checkout.root, subject, &plan.goal))
        .collect::<Result<_>>()?;
    if Journal::end_orphans(&checkout.root)? > 0 {
        ui.status(Status::Removed, "what a killed run had left running");
    }
    let mut asked = Asked::now(&checkout.root, &nonce(), &context.command, context.projects())?;
    let plan = if args.resume {
        resumed(ui, checkout, plan, &mut asked)?
    } else {
        plan
    };
    let from = match &args.from {
        None => 0,
        Some(step) => beginning(&plan, step)?,
    };
    for choice in &plan.choices {
        ui.status(Status::Using, choice);
    }
    let kubernetes = checkout.platform.versions.get("kubernetes").map_or("", String::as_str);
    let tools = context.toolbox(kubernetes).ensure(&plan.tools())?;
    // From here on something may change, and what is not recorded cannot be resumed.
    let begun = Journal::begin(&checkout.root, verb, &plan).and_then(|journal| {
        asked.write(journal.folder())?;
        Ok(journal)
    });
    let mut journal = match begun {
        Err(failure) if failure.is_of_a_full_disk() && plan.only_removes() => {
            ui.status(
                Status::Warning,
                "the disk is full, so this run is not recorded; it removes things and can be run again",
            );
            Journal::unrecorded(&checkout.root)
        }
        other => other?,
    };
    let steps_ui = ui.for_steps();
    let runner = Runner::new(&checkout.root, &steps_ui, &tools, &context.interrupt);
    let consent = consent(args, reviewed);
    let started = Instant::now();
    let outcome = runner.run(&plan, &mut journal, consent, from);
    let end = match &outcome {
        Ok(_) => End::Success,
        Err(failure) if failure.kind == Kind::Locked => End::Locked,
        Err(_) => End::Failure,
    };
    let recorded = journal.record("run", State::Ended(end));
    drop(held);
    let summary = outcome?;
    recorded?;
    finish(context, &plan, &summary, started);
    Ok(())
}

/// A line a reason: what was left out for it, or how many of them. Each of these is `gate \`cilium\`: the reason`.
fn left_out(sentences: &[String]) -> Vec<String> {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for sentence in sentences {
        let (name, reason) = sentence.split_once(": ").unwrap_or(("", sentence));
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(name),
            None => reasons.push((reason, vec![name])),
        }
    }
    reasons
        .into_iter()
        .map(|(reason, names)| match names.as_slice() {
            [""] => reason.to_owned(),
            [name] => format!("{name}: {reason}"),
            names => {
                let noun = names[0]
                    .split(' ')
                    .next()
                    .filter(|noun| !noun.is_empty())
                    .unwrap_or("check");
                format!("{}: {reason} (`-v` names them)", plural(names.len(), noun))
            }
        })
        .collect()
}

/// The plan that goes on with the newest unfinished run of its goal: the one that was made now, so that what is done is
/// what was shown now, under the nonce of that run, whose Lease the cluster may still have. What that run has recorded
/// is compared and never carried out.
fn resumed(ui: &Ui, checkout: &Checkout, plan: Plan, asked: &mut Asked) -> Result<Plan> {
    let Some((_, journal)) = Journal::unfinished(&checkout.root, &plan.goal)? else {
        ui.status(
            Status::Fresh,
            format!("no unfinished run of `{}`; this is a new one", plan.goal),
        );
        return Ok(plan);
    };
    let earlier = Asked::read(journal.folder())?;
    earlier.check(asked, journal.folder())?;
    ui.status(Status::Resuming, format!("the unfinished run {}", journal.folder()));
    let own = serde_json::to_string(&plan).or_fail(Kind::Unexpected, "cannot write the plan")?;
    // A nonce means nothing else, so it is exchanged wherever it stands.
    let under = own.replace(&asked.nonce, &earlier.nonce);
    asked.nonce = earlier.nonce;
    serde_json::from_str(&under).or_fail(Kind::Unexpected, "cannot take the run up")
}

/// Tells what a run changed, what it left out, how long its parts took, and what to type next.
fn finish(context: &Context, plan: &Plan, summary: &Summary, started: Instant) {
    let ui = &context.ui;
    let changed = if summary.changed.is_empty() {
        ": nothing to change"
    } else {
        ""
    };
    ui.result(
        Status::Done,
        format!("{} in {}{changed}", plan.goal, seconds(started.elapsed())),
    );
    if !summary.changed.is_empty() {
        ui.told("Changed", summary.changed.join(", "));
        let times: Vec<String> = summary
            .times
            .iter()
            .filter(|(_, took)| took.as_millis() >= 100)
            .map(|(id, took)| format!("{id} {}", seconds(*took)))
            .collect();
        if times.len() > 1 {
            ui.told("Time", times.join(", "));
        }
    }
    for line in left_out(&summary.left_out) {
        ui.told("Left out", line);
    }
    if let Some(next) = &plan.next {
        ui.status(Status::Next, next);
    }
}

/// The step that a run is told to begin at. Everything that it passes over has to be known to be done.
fn beginning(plan: &Plan, name: &str) -> Result<usize> {
    let index = position(plan, name)?;
    match plan.unproven_before(index) {
        None => Ok(index),
        Some(path) => Err(Failure::refused(format!(
            "a run cannot begin at `{name}`: nothing tells whether `{path}` before it is done; nothing was run"
        ))
        .hinted("leave `--from` out, or go on with an unfinished run: `--resume`")),
    }
}

/// The step that a run begins at, counted through the plan: the one that is named, or the first of a section. A path
/// may be left out up to where what is left names one thing.
fn position(plan: &Plan, name: &str) -> Result<usize> {
    let placed = plan.placed();
    let steps = plan.steps().count();
    let mut index = 0;
    let mut places: Vec<(usize, &str)> = Vec::new();
    for placed in &placed {
        if index < steps {
            places.push((index, &placed.path));
        }
        index += usize::from(matches!(placed.node, Node::Step(_)));
    }
    let end = format!("/{name}");
    let found: Vec<&(usize, &str)> = match places.iter().find(|(_, path)| *path == name) {
        Some(exact) => vec![exact],
        None => places.iter().filter(|(_, path)| path.ends_with(&end)).collect(),
    };
    match found.as_slice() {
        [(index, _)] => Ok(*index),
        [] => {
            let failure = Failure::config(format!("no step or section `{name}` in this plan"));
            let names = places
                .iter()
                .flat_map(|(_, path)| [*path, path.rsplit('/').next().unwrap_or(path)]);
            let failure = match nearest(name, names) {
                Some(name) => failure.hinted(format!("did you mean `{name}`?")),
                None => failure,
            };
            Err(failure.hinted("`--dry-run=full` lists the steps"))
        }
        several => {
            let paths: Vec<&str> = several.iter().map(|(_, path)| *path).collect();
            Err(
                Failure::config(format!("`{name}` is {} steps or sections of this plan", paths.len()))
                    .hinted(format!("name one of {}", paths.join(", "))),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_flag_and_a_reviewed_plan_answer_a_prompt() {
        let args = |yes| PlanArgs {
            yes,
            ..PlanArgs::default()
        };
        assert_eq!(consent(&args(false), Reviewed::Now), Consent::Ask);
        assert_eq!(consent(&args(true), Reviewed::Now), Consent::Given);
        assert_eq!(consent(&args(false), Reviewed::Saved), Consent::Reviewed);
    }
}

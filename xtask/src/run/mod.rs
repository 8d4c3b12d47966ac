//! Carries out the plan of a verb: prints it, or gets its tools, locks, journals and runs it.
//! It makes no plan.

pub mod journal;
pub mod saved;

use std::time::{Instant, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use crate::base::failure::{Failure, Kind, Result};
use crate::base::lock::HostLock;
use crate::base::text::{nearest, plural, seconds};
use crate::base::ui::Word;
use crate::context::{Checkout, Context};
use crate::exec::{Consent, Runner, Summary};
use crate::plan::{Effect, Form, Plan, Reasons, Step};
use crate::run::journal::{End, Journal, State};
use crate::tool::Tools;

/// How a plan is carried out; the same flags on every verb that acts.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PlanArgs {
    /// Print the plan instead of running it; starts nothing but reads
    #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    pub dry_run: Option<Form>,
    /// Answer prompts with yes; never answers a guard
    #[arg(long)]
    pub yes: bool,
    /// Go on with the newest unfinished run of the same goal
    #[arg(long, conflicts_with = "dry_run")]
    pub resume: bool,
    /// Begin at this step
    #[arg(long, value_name = "STEP", conflicts_with = "dry_run")]
    pub from: Option<String>,
}

/// Whether two runs of the same subject may go on at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lock {
    /// One at a time on this host, for this subject (a cluster).
    Host(String),
    /// Every run has a subject of its own.
    None,
}

/// A nonce for a run: 12 hexadecimal digits, different for every run of every host.
pub fn nonce() -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seed = format!(
        "{}:{}:{}",
        now.as_nanos(),
        std::process::id(),
        crate::base::host::host()
    );
    Sha256::digest(seed.as_bytes())
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A plan that is reviewed in one place and applied in another.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SavedArgs {
    /// Write the plan and what it was made from to this file, and stop
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "resume", "from", "plan"])]
    pub save_plan: Option<Utf8PathBuf>,
    /// Apply a plan that was saved; refused when anything it was made from has moved
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "resume", "from"])]
    pub plan: Option<Utf8PathBuf>,
}

/// Carries out a plan's reads without lock or journal: for verbs that only look. The folder takes the logs.
pub fn look(context: &Context, checkout: &Checkout, steps: &[Step], folder: &Utf8Path) -> Result<Tools> {
    let mut plan = Plan::new("look");
    plan.steps = steps.to_vec();
    let kubernetes = checkout.platform.versions.get("kubernetes").map_or("", String::as_str);
    let tools = context.toolbox(kubernetes).ensure(&plan.tools())?;
    let runner = Runner {
        root: &checkout.root,
        ui: &context.ui,
        tools: &tools,
        interrupt: &context.interrupt,
    };
    let folder = checkout.path(folder);
    fs_err::create_dir_all(&folder)?;
    for step in &plan.steps {
        debug_assert!(
            step.effect <= Effect::Local,
            "`{}` changes more than files of this host",
            step.id
        );
        let fresh = step.unless.as_ref().map_or(Ok(false), |probe| runner.holds(probe))?;
        if !fresh {
            context.ui.spin(&step.title);
            runner
                .act(step, &folder.join(format!("{}.log", step.id)))
                .map_err(|failure| failure.context(format!("step `{}` failed", step.id)))?;
        }
    }
    context.ui.still();
    Ok(tools)
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
        return match form {
            Form::Text => ui.data(plan.text(Reasons::Shown)),
            Form::Shell => ui.data(plan.shell()),
            Form::Json => ui.json(&plan),
        };
    }
    let held = match lock {
        Lock::Host(subject) => Some(HostLock::take(&checkout.root, subject, &plan.goal)?),
        Lock::None => None,
    };
    if Journal::end_leftovers(&checkout.root)? > 0 {
        ui.status(Word::Removed, "what a killed run had left running");
    }
    let earlier = if args.resume {
        Journal::unfinished(&checkout.root, &plan.goal)?
    } else {
        None
    };
    let plan = match &earlier {
        Some((plan, journal)) => {
            ui.status(Word::Taking, format!("up the unfinished run {}", journal.folder()));
            plan.clone()
        }
        None if args.resume => {
            ui.status(
                Word::Fresh,
                format!("no unfinished run of `{}`; this is a new one", plan.goal),
            );
            plan
        }
        None => plan,
    };
    let from = match &args.from {
        None => 0,
        Some(step) => position(&plan, step)?,
    };
    for choice in &plan.choices {
        ui.status(Word::Taking, choice);
    }
    let kubernetes = checkout.platform.versions.get("kubernetes").map_or("", String::as_str);
    let tools = context.toolbox(kubernetes).ensure(&plan.tools())?;
    // From here on something may change, and what is not recorded cannot be resumed.
    let mut journal = match earlier {
        Some((_, journal)) => journal,
        None => Journal::begin(&checkout.root, verb, &plan)?,
    };
    let runner = Runner {
        root: &checkout.root,
        ui,
        tools: &tools,
        interrupt: &context.interrupt,
    };
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

fn finish(context: &Context, plan: &Plan, summary: &Summary, started: Instant) {
    let ui = &context.ui;
    ui.status(
        Word::Done,
        format!(
            "{} in {} ({}, {} fresh)",
            plan.goal,
            seconds(started.elapsed()),
            plural(summary.done, "step"),
            summary.fresh
        ),
    );
    if let Some(next) = &plan.next {
        ui.status(Word::Next, next);
    }
}

fn position(plan: &Plan, step: &str) -> Result<usize> {
    plan.steps.iter().position(|known| known.id == step).ok_or_else(|| {
        let failure = Failure::config(format!("no step `{step}` in this plan"));
        let failure = match nearest(step, plan.steps.iter().map(|known| known.id.as_str())) {
            Some(name) => failure.hinted(format!("did you mean `{name}`?")),
            None => failure,
        };
        failure.hinted("`--dry-run` lists the steps")
    })
}

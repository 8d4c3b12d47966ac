//! `rehearse`: a stage tried on a cluster that lives only as long as the trial.

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::failure::{Failure, Kind, Result};
use crate::base::root::PLATFORM_JSON;
use crate::base::ui::Status;
use crate::call::kluctl::Warnings;
use crate::cluster::access::Access;
use crate::context::{Checkout, Context};
use crate::platform::{Backend, Platform, Stage};
use crate::project::StageDescription;
use crate::recipe::Source;
use crate::recipe::deploy::{Deploy, Mode};
use crate::recipe::rehearse::{self, At, Keep};
use crate::run::journal::Journal;
use crate::run::{Lock, PlanArgs, carry_out, nonce};
use crate::setup::rehearsals::{self, Which};
use crate::setup::revision::Git;
use crate::setup::source::golden;
use crate::setup::target::StageArgs;

/// Deploy the golden of a stage to an ephemeral cluster, twice
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask rehearse
  cargo xtask rehearse --stage full --rev HEAD~1 --keep")]
pub struct Arguments {
    #[command(flatten)]
    pub stage: StageArgs,
    /// Take the golden of an earlier commit, from a worktree
    #[arg(long, value_name = "REV")]
    pub rev: Option<String>,
    /// Fail where the API server warns of something
    #[arg(long)]
    pub deny_warnings: bool,
    /// Keep the cluster for a look
    #[arg(long)]
    pub keep: bool,
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let present = context.checkout()?;
    let nonce = nonce();
    match &arguments.rev {
        None => rehearse(context, &present, &present, arguments, &nonce, None),
        Some(revision) => {
            let git = Git::of(context, &present)?;
            let commit = git.commit(revision)?;
            let then = Checkout {
                root: present.root.clone(),
                platform: config_of(&git, &commit)
                    .map_err(|failure| failure.context(format!("revision `{revision}` cannot be rehearsed")))?,
            };
            rehearse(context, &present, &then, arguments, &nonce, Some((&git, &commit)))
        }
    }
}

/// The platform config that a commit had.
fn config_of(git: &Git<'_>, commit: &str) -> Result<Platform> {
    let text = git.text(commit, Utf8Path::new(PLATFORM_JSON))?.ok_or_else(|| {
        Failure::config(format!("it has no `{PLATFORM_JSON}`"))
            .hinted("name a commit that has one: `git log -- platform.json`")
    })?;
    Platform::parse(&text).map_err(|failure| failure.context(format!("its `{PLATFORM_JSON}` cannot be used")))
}

/// The golden that a commit had, in the worktree that the plan makes.
fn golden_of(
    git: &Git<'_>,
    commit: &str,
    access: &Access,
    name: &str,
    stage: Stage,
) -> Result<(Source, StageDescription, String)> {
    let path = Utf8PathBuf::from(format!("k8s/golden/{name}/{stage}"));
    let description = git.text(commit, &path.join("stage.json"))?.ok_or_else(|| {
        Failure::new(
            Kind::Stale,
            format!("commit {commit} has no golden for stage `{stage}` of cluster `{name}`"),
        )
        .hinted(format!("those that changed it: `git log --oneline -- {path}`"))
    })?;
    let description = StageDescription::parse(&description, &format!("{commit}:{path}/stage.json"))?;
    let folder = rehearse::worktree(access).join(git.prefix()?).join(&path);
    let from = format!("`{path}` of commit {commit}, from a worktree");
    Ok((Source::Golden(folder), description, from))
}

/// Rehearses a state of the checkout; `then` has the platform config of that state, `at` its commit.
fn rehearse(
    context: &Context,
    checkout: &Checkout,
    then: &Checkout,
    arguments: &Arguments,
    nonce: &str,
    at: Option<(&Git<'_>, &str)>,
) -> Result<()> {
    let platform = &then.platform;
    let stage = arguments.stage.stage(platform)?;
    let name = match &arguments.stage.cluster {
        Some(name) => name.clone(),
        None => platform.default_cluster(stage)?.to_owned(),
    };
    // The cluster of a rehearsal is nobody's: no UID of the platform config is its own.
    let mut config = platform.cluster(&name)?.clone();
    config.uid = None;
    let access = Access::rehearsal(&name, nonce);
    platform.stage(&name, stage)?;
    let (source, description, from) = match at {
        None => golden(checkout, &name, stage)?,
        Some((git, commit)) => golden_of(git, commit, &access, &name, stage)?,
    };
    let at = at.map_or(At::Present, |(_, commit)| At::Commit(commit));
    let goal = match at {
        At::Present => format!("rehearse {name} {stage}"),
        At::Commit(commit) => format!("rehearse {name} {stage} of {commit}"),
    };
    let mode = Mode {
        warnings: if arguments.deny_warnings {
            Warnings::Denied
        } else {
            Warnings::Shown
        },
        ..Mode::USUAL
    };
    let deploy = Deploy {
        access: &access,
        config: &config,
        backend: Backend::Embedded,
        stage,
        description: &description,
        source: &source,
        nonce,
        goal: &goal,
        mode: &mode,
        key: crate::recipe::age_key::of(platform, &name, Backend::Embedded),
    };
    let choices = vec![
        format!("stage `{stage}` of cluster `{name}`, on an ephemeral embedded cluster"),
        format!("source {from}"),
    ];
    let keep = if arguments.keep { Keep::Cluster } else { Keep::Nothing };
    let plan = rehearse::plan(&deploy, choices, at, keep);
    if arguments.plan.dry_run.is_none() && !arguments.plan.resume {
        for folder in rehearsals::sweep(context, checkout, Which::Dead)? {
            context
                .ui
                .status(Status::Removed, format!("{folder}, which a killed rehearsal left"));
        }
    }
    let outcome = carry_out(context, then, "rehearse", plan, &arguments.plan, &Lock::None);
    outcome.map_err(|failure| gather(failure, checkout, &rehearse::diagnostics(&access)))
}

/// Puts the plan, the journal and the logs of a failed rehearsal beside what its cluster said.
fn gather(failure: Failure, checkout: &Checkout, diagnostics: &Utf8Path) -> Failure {
    let folder = checkout.path(diagnostics);
    let Some(run) = Journal::of_process(&checkout.root) else {
        return failure;
    };
    let copied = fs_err::create_dir_all(&folder).and_then(|()| {
        for entry in fs_err::read_dir(&run)? {
            let entry = entry?;
            fs_err::copy(entry.path(), folder.as_std_path().join(entry.file_name()))?;
        }
        Ok(())
    });
    match copied {
        Ok(()) => failure.hinted(format!("all that is worth a look or an upload: {diagnostics}")),
        Err(error) => failure.hinted(format!("what happened could not be gathered: {error}; look in {run}")),
    }
}

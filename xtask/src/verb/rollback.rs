//! `rollback`: an earlier project of a stage deployed again, from what this host kept or rebuilt at its revision.
//! It deploys nothing that is not what the deployment history says.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::deploy::{deploy, made_from, usage};
use super::history;
use crate::base::failure::{Failure, Kind, Result};
use crate::base::ui::Status;
use crate::cluster::access::Access;
use crate::context::{Checkout, Context};
use crate::live::history::{Entry, RollbackOf, digest as digest_of};
use crate::live::secrets;
use crate::plan::Plan;
use crate::platform::Stage;
use crate::project::{Project, StageDescription};
use crate::recipe::Source;
use crate::recipe::deploy::{Mode, kept};
use crate::recipe::rebuild::Rebuild;
use crate::run::{PlanArgs, SavedArgs, look, nonce};
use crate::setup::target::{self, StageArgs, Target};

/// Deploy an earlier project of a stage again
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask rollback
  cargo xtask rollback --stage full --to 2 --reason 'the new chart loses routes'")]
pub struct Arguments {
    #[command(flatten)]
    pub stage: StageArgs,
    /// Which deployment: 1 is the one before the newest, as `history` counts
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub to: usize,
    /// Take the secret files of then, too; the default is today's
    #[arg(long)]
    pub with_secrets: bool,
    /// Why, for the deployment history
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    #[command(flatten)]
    pub saved: SavedArgs,
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let usage = usage(context, &checkout, "rollback", &arguments.stage, &arguments.saved)?;
    let read = made_from(&usage, &checkout)?;
    let plan_args = &arguments.plan;
    let arguments: &Arguments = read.as_ref().unwrap_or(arguments);
    let (name, config, stage, words) = target::cluster(&checkout, &arguments.stage)?;
    let access = Access::of(&name, config);
    let entries = history::entries(context, &checkout, &name, config, stage)?;
    let entry = chosen(&entries, arguments.to)?;
    let mut choices = vec![
        words,
        format!("back to run {} of {} by {}", entry.run, entry.time, entry.actor),
    ];
    let folder = match find_kept(&checkout, &access, stage, entry)? {
        Some(folder) => folder,
        None => match rebuilt(context, &checkout, &access, stage, entry, plan_args)? {
            Some(folder) => {
                choices.push("the project of then, rebuilt from its revision".to_owned());
                folder
            }
            // What was asked for is printed.
            None => return Ok(()),
        },
    };
    let source = if arguments.with_secrets {
        choices.push("with the secret files of then".to_owned());
        folder
    } else {
        let todays = todays_secrets(&checkout, &access, stage, &folder)?;
        let to = access.folder.join("rollback").join(stage.name());
        let notes = secrets::overlay(&checkout.path(&folder), &todays, &checkout.path(&to))?;
        choices.push("with today's secret files".to_owned());
        for note in notes {
            context.ui.status(Status::Warning, note);
        }
        to
    };
    let recipient = checkout
        .platform
        .secrets
        .operator_identities
        .get(&name)
        .and_then(|identity| checkout.platform.secrets.recipients.get(identity));
    if let Some(recipient) = recipient {
        let project = Project::read(&checkout.path(&source))?;
        secrets::check_recipient(&project, recipient)?;
    }
    let target = Target {
        description: StageDescription::read(&checkout.path(&source))?,
        backend: target::backend(&checkout, &access, config),
        golden: Utf8PathBuf::from(format!("k8s/golden/{name}/{stage}")),
        source: Source::Folder(source),
        name,
        config,
        access,
        stage,
        choices,
    };
    let mode = Mode {
        reason: arguments.reason.clone(),
        then: Some(RollbackOf {
            run: entry.run.clone(),
            revision: entry.revision.clone(),
            lock: entry.lock.clone(),
            reviewed: entry.reviewed,
        }),
        ..Mode::USUAL
    };
    let goal = format!("roll {stage} of {} back to run {}", target.name, entry.run);
    deploy(context, &checkout, &target, &mode, "rollback", &goal, &usage, plan_args)
}

/// The deployment of that age; one of a part of the stage cannot be gone back to.
fn chosen(entries: &[Entry], to: usize) -> Result<&Entry> {
    let entry = entries
        .len()
        .checked_sub(to + 1)
        .and_then(|index| entries.get(index))
        .ok_or_else(|| {
            Failure::config(format!(
                "the deployment history has {} deployments, none of age {to}",
                entries.len()
            ))
            .hinted("`cargo xtask history` lists them with their age")
        })?;
    match &entry.only {
        Some(only) => Err(Failure::refused(format!(
            "run {} deployed only `{only}`, so it says nothing of the whole stage",
            entry.run
        ))
        .hinted("go back to a deployment of the whole stage: `--to N`")),
        None => Ok(entry),
    }
}

/// The kept project of a deployment; none when this host has not kept it, a failure when it is not what it was.
fn find_kept(checkout: &Checkout, access: &Access, stage: Stage, entry: &Entry) -> Result<Option<Utf8PathBuf>> {
    let folder = kept(access, stage).join(&entry.digest);
    let path = checkout.path(&folder);
    if !path.is_dir() {
        return Ok(None);
    }
    let digest = digest_of(&path)?;
    if digest != entry.digest {
        return Err(Failure::new(
            Kind::Refused,
            format!(
                "the kept project `{folder}` is not what was deployed: its digest is {}, the deployment history says {}",
                short(&digest),
                short(&entry.digest)
            ),
        )
        .hinted("it was changed; remove it, and its revision is built anew"));
    }
    Ok(Some(folder))
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// Rebuilds the project of a deployment from its revision, in a Git worktree of its own. What comes of it has to be
/// what the deployment history says. None when only the plan was asked for, which is printed.
fn rebuilt(
    context: &Context,
    checkout: &Checkout,
    access: &Access,
    stage: Stage,
    entry: &Entry,
    args: &PlanArgs,
) -> Result<Option<Utf8PathBuf>> {
    let not_here = || {
        Failure::preflight(format!(
            "the project of run {} was not kept on this host; nothing was changed",
            entry.run
        ))
    };
    let Some(revision) = &entry.revision else {
        return Err(not_here().hinted("the deployment history names no revision that it could be rebuilt from"));
    };
    let to = access.folder.join("rebuilt").join(&entry.digest);
    let nonce = nonce();
    let rebuild = Rebuild {
        access,
        stage,
        revision,
        nonce: &nonce,
        to: &to,
    };
    let Some(parts) = rebuild.parts(&entry.source) else {
        return Err(not_here()
            .hinted(format!(
                "it was a {} made elsewhere, so no revision has it; with the folder available: `deploy --stage {stage} \
                 --source DIR`",
                entry.source
            ))
            .hinted("a host that kept it can roll back"));
    };
    let mut plan = Plan::new(format!("rebuild {stage} of {} at {}", access.cluster, short(revision)));
    plan.sections.push(parts.section);
    plan.finally.push(parts.finally);
    plan.next = Some("the deploy of what was rebuilt, planned from its own description".to_owned());
    if let Some(form) = args.dry_run {
        crate::run::print(context, &plan, form, args)?;
        return Ok(None);
    }
    let toolbox = context.toolbox("");
    let lacks = toolbox.lacks(&plan.tools());
    if !lacks.is_empty() {
        return Err(Failure::many(
            Kind::Preflight,
            format!(
                "the project of run {} was not kept on this host and cannot be rebuilt here; nothing was changed",
                entry.run
            ),
            &lacks,
        )
        .hinted("a host that kept it can roll back without them"));
    }
    context.ui.status(
        Status::Building,
        format!("the project of run {} at {}", entry.run, short(revision)),
    );
    let outcome = look(context, checkout, &plan.sections, &rebuild.work());
    // Whatever came of it, the worktree goes.
    let cleared = look(context, checkout, &plan.finally, &rebuild.work());
    remove_if_there(&checkout.path(rebuild.work()))?;
    outcome?;
    cleared?;
    let digest = digest_of(&checkout.path(&to))?;
    if digest != entry.digest {
        fs_err::remove_dir_all(checkout.path(&to))?;
        return Err(Failure::refused(format!(
            "revision {} does not give what was deployed: its project has digest {}, the deployment history says {}; nothing was \
             changed",
            short(revision),
            short(&digest),
            short(&entry.digest)
        ))
        .hinted("it was deployed from a dirty tree, with other secret files, or its inputs are not pinned")
        .hinted("look at that revision yourself; a project that you trust is deployed with `deploy --source`"));
    }
    Ok(Some(to))
}

fn remove_if_there(folder: &Utf8Path) -> Result<()> {
    if folder.exists() {
        fs_err::remove_dir_all(folder)?;
    }
    Ok(())
}

/// Today's encrypted objects of a stage: the checkout's files, and of those that it lacks what was deployed last.
fn todays_secrets(
    checkout: &Checkout,
    access: &Access,
    stage: Stage,
    then: &Utf8Path,
) -> Result<BTreeMap<secrets::Identity, serde_json::Value>> {
    let mut todays = match newest_kept(checkout, access, stage)?.filter(|today| today != then) {
        Some(today) => secrets::encrypted(&Project::read(&checkout.path(today))?),
        None => BTreeMap::new(),
    };
    let required = checkout.platform.secrets.required.iter();
    for secret in required.filter(|secret| secret.clusters.contains(&access.cluster)) {
        let path = checkout.path(&secret.file);
        if path.is_file() {
            let (identity, value) = secrets::of_file(&path)?;
            todays.insert(identity, value);
        }
    }
    Ok(todays)
}

/// The project that was deployed last from this host, if it was kept.
pub fn newest_kept(checkout: &Checkout, access: &Access, stage: Stage) -> Result<Option<Utf8PathBuf>> {
    let folder = kept(access, stage);
    let newest = crate::live::history::newest_kept(&checkout.path(&folder))?;
    Ok(newest.and_then(|newest| Some(folder.join(newest.file_name()?))))
}

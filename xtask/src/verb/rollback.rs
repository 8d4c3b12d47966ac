//! `rollback`: an earlier project of a stage deployed again, from what this host kept.

use camino::{Utf8Path, Utf8PathBuf};

use super::deploy::deploy;
use super::history;
use super::target::{self, Target};
use crate::cluster::access::Access;
use crate::context::{Checkout, Context};
use crate::failure::{Failure, Kind, Result};
use crate::live::ledger::{self, Entry};
use crate::live::secrets;
use crate::platform::Stage;
use crate::project::{Project, StageDescription};
use crate::recipe::Source;
use crate::recipe::deploy::{Mode, kept};
use crate::run::{PlanArgs, SavedArgs};
use crate::ui::Word;

/// Deploy an earlier project of a stage again
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Stage
    #[arg(long, value_name = "STAGE")]
    pub stage: Stage,
    /// Cluster of the facts; the default is the stage's default cluster
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Which deployment: 1 is the one before the newest, as `history` counts
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub to: usize,
    /// Take the secret files of then, too; the default is today's
    #[arg(long)]
    pub with_secrets: bool,
    /// Why, for the ledger
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
    let stage = arguments.stage;
    if let Some(file) = &arguments.saved.plan {
        return super::deploy::apply(
            context,
            &checkout,
            "rollback",
            (stage, arguments.cluster.as_deref()),
            file,
            &arguments.plan,
        );
    }
    let (name, facts, words) = target::cluster(&checkout, stage, arguments.cluster.as_deref())?;
    let access = Access::of(&name, facts);
    let entries = history::entries(context, &checkout, &name, facts, stage)?;
    let entry = chosen(&entries, arguments.to)?;
    let folder = find_kept(&checkout, &access, stage, entry)?;
    let today = newest_kept(&checkout, &access, stage)?.filter(|today| *today != folder);
    let mut choices = vec![
        words,
        format!("back to run {} of {} by {}", entry.run, entry.time, entry.actor),
    ];
    let recipient = checkout
        .platform
        .secrets
        .operator_identities
        .get(&name)
        .and_then(|identity| checkout.platform.secrets.recipients.get(identity));
    let source = if arguments.with_secrets {
        choices.push("with the secret files of then".to_owned());
        folder
    } else {
        choices.push("with today's secret files".to_owned());
        match today {
            Some(today) => {
                let to = access.folder.join("rollback").join(stage.name());
                let notes = secrets::overlay(&checkout.path(&folder), &checkout.path(&today), &checkout.path(&to))?;
                for note in notes {
                    context.ui.status(Word::Warning, note);
                }
                to
            }
            None => folder,
        }
    };
    if let Some(recipient) = recipient {
        let project = Project::read(&checkout.path(&source))?;
        secrets::check_recipient(&project, recipient)?;
    }
    let target = Target {
        description: StageDescription::read(&checkout.path(&source))?,
        backend: target::backend(&checkout, &access, facts),
        golden: Utf8PathBuf::from(format!("k8s/golden/{name}/{stage}")),
        source: Source::Folder(source),
        name,
        facts,
        access,
        stage,
        choices,
    };
    let mode = Mode {
        reason: arguments.reason.clone(),
        rolled_back_to: Some(entry.run.clone()),
        ..Mode::USUAL
    };
    let goal = format!("roll {stage} of {} back to run {}", target.name, entry.run);
    deploy(
        context,
        &checkout,
        &target,
        &mode,
        "rollback",
        &goal,
        &arguments.saved,
        &arguments.plan,
    )
}

/// The deployment of that age; one of a part of the stage cannot be gone back to.
fn chosen(entries: &[Entry], to: usize) -> Result<&Entry> {
    let entry = entries
        .len()
        .checked_sub(to + 1)
        .and_then(|index| entries.get(index))
        .ok_or_else(|| {
            Failure::config(format!(
                "the ledger has {} deployments, none of age {to}",
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

/// The kept project of a deployment, if it still is what the ledger says.
fn find_kept(checkout: &Checkout, access: &Access, stage: Stage, entry: &Entry) -> Result<Utf8PathBuf> {
    let folder = kept(access, stage).join(&entry.digest);
    let path = checkout.path(&folder);
    if !path.is_dir() {
        let failure = Failure::preflight(format!(
            "the project of run {} was not kept on this host; nothing was changed",
            entry.run
        ));
        let revision = entry.revision.as_deref().unwrap_or("REVISION");
        return Err(failure
            .hinted(format!("build it anew: `git worktree add .xtask/then {revision}`"))
            .hinted(format!(
                "then `nix build ./.xtask/then#k8s-manifests-{}-{stage}` and `deploy --stage {stage} --from-folder result`",
                access.cluster
            )));
    }
    let digest = ledger::digest(&path)?;
    if digest != entry.digest {
        return Err(Failure::new(
            Kind::Refused,
            format!(
                "the kept project `{folder}` is not what was deployed: its digest is {}, the ledger says {}",
                &digest[..12],
                &entry.digest[..12.min(entry.digest.len())]
            ),
        )
        .hinted("somebody changed it; remove it, and build the revision anew"));
    }
    Ok(folder)
}

/// The project that was deployed last from this host, if it was kept.
pub fn newest_kept(checkout: &Checkout, access: &Access, stage: Stage) -> Result<Option<Utf8PathBuf>> {
    let folder = kept(access, stage);
    let Ok(text) = fs_err::read_to_string(checkout.path(folder.join("order.json"))) else {
        return Ok(None);
    };
    let order: Vec<String> = serde_json::from_str(&text)
        .map_err(|error| Failure::config(format!("`{folder}/order.json` cannot be read: {error}")))?;
    Ok(order
        .last()
        .map(|digest| folder.join(digest))
        .filter(|folder: &Utf8PathBuf| checkout.path(Utf8Path::new(folder)).is_dir()))
}

//! `diff` and `drift`: what a deploy would change, and what others changed, from one listing.
//! Both only look.

use std::collections::BTreeSet;

use camino::Utf8PathBuf;

use crate::base::failure::Result;
use crate::base::text::plural;
use crate::base::ui::Status;
use crate::cluster::access::Access;
use crate::context::{Checkout, Context};
use crate::live::diff::{Report, What};
use crate::live::{Delta, diff};
use crate::plan::Plan;
use crate::project::Project;
use crate::recipe::Source;
use crate::recipe::deploy::{Deploy, Mode};
use crate::run::{look, nonce};
use crate::setup::target::{self, Target, TargetArgs};

/// Show what a deploy would change, field by field
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask diff
  cargo xtask diff --stage full --cluster hetzner --exit-code")]
pub struct Arguments {
    #[command(flatten)]
    pub target: TargetArgs,
    /// End with code 4 when something differs
    #[arg(long)]
    pub exit_code: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Whether everything is shown, or only what others did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// `diff`: everything a deploy would change.
    Everything,
    /// `drift`: what differs though the project is the deployed one.
    Foreign,
}

/// The code of `--exit-code` when something differs.
const DIFFERS: u8 = 4;

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments, view: View) -> Result<u8> {
    let checkout = context.checkout()?;
    // The project that was deployed last is what live objects are held against, where it was kept.
    let kept = match view {
        View::Foreign if arguments.target.source.is_none() => deployed_last(&checkout, &arguments.target)?,
        _ => None,
    };
    let target = match kept {
        Some(kept) => target::with(&checkout, &arguments.target.stage, |name, stage, _| {
            let description = crate::project::StageDescription::read(&checkout.path(&kept))?;
            crate::setup::source::check_description(&description, &checkout, name, stage)?;
            let words = format!("compared with `{kept}`, which was deployed last");
            Ok((Source::Folder(kept), description, words))
        })?,
        None => target::choose(context, &checkout, &arguments.target)?,
    };
    let report = narrowed(report(context, &checkout, &target)?, view);
    if arguments.json {
        context.ui.json(1, &report)?;
    } else {
        let text = report.text(usize::MAX);
        if !text.is_empty() {
            context.ui.data(text)?;
        }
        let count = match view {
            View::Everything => report.changes.len(),
            View::Foreign => drifted(&report),
        };
        let words = match view {
            View::Everything => format!("{} of {} would change", plural(count, "object"), report.objects),
            View::Foreign => format!("{} of {} drifted", plural(count, "object"), report.objects),
        };
        context
            .ui
            .status(if count == 0 { Status::Fresh } else { Status::Stale }, words);
    }
    let differs = match view {
        View::Everything => !report.changes.is_empty() || !report.orphans.is_empty(),
        View::Foreign => drifted(&report) > 0,
    };
    Ok(if arguments.exit_code && differs { DIFFERS } else { 0 })
}

/// Objects of which others took or added something.
fn drifted(report: &Report) -> usize {
    let changed = report.changes.iter().map(|change| change.object.identity());
    let added = report.foreign.iter().map(|foreign| foreign.object.identity());
    changed.chain(added).collect::<BTreeSet<_>>().len()
}

/// What was deployed last to the cluster that is meant, where it was kept.
fn deployed_last(checkout: &Checkout, asked: &TargetArgs) -> Result<Option<Utf8PathBuf>> {
    let (name, config, stage, _) = target::cluster(checkout, &asked.stage)?;
    super::rollback::newest_kept(checkout, &Access::of(&name, config), stage)
}

/// Looks at a cluster and compares it with the project of a target.
pub(super) fn report(context: &Context, checkout: &Checkout, target: &Target<'_>) -> Result<Report> {
    let nonce = nonce();
    let access = target.access.looking(&nonce);
    let deploy = Deploy {
        access: &access,
        config: target.config,
        backend: target.backend,
        stage: target.stage,
        description: &target.description,
        source: &target.source,
        nonce: &nonce,
        goal: "diff",
        mode: &Mode::USUAL,
        key: None,
    };
    let mut plan = Plan::new(context.command.verb.as_str());
    plan.sections = deploy.look();
    target::preflight(
        context,
        checkout,
        &target.name,
        target.config,
        &plan,
        Some(target.stage),
    )?;
    for choice in &target.choices {
        context.ui.status(Status::Using, choice);
    }
    let outcome = look(context, checkout, &plan.sections, &access.work()).and_then(|_| read(checkout, &deploy));
    let folder = checkout.path(access.work());
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    outcome
}

fn read(checkout: &Checkout, deploy: &Deploy<'_>) -> Result<Report> {
    let work = checkout.path(deploy.access.work());
    let json = |name: &str| -> Result<serde_json::Value> {
        let text = fs_err::read_to_string(work.join(name))?;
        serde_json::from_str(&text)
            .map_err(|error| crate::base::failure::Failure::unexpected(format!("`{name}` is no JSON: {error}")))
    };
    let delta: Delta = serde_json::from_value(json("delta.json")?)
        .map_err(|error| crate::base::failure::Failure::unexpected(format!("`delta.json` cannot be read: {error}")))?;
    let project = Project::read(&checkout.path(deploy.project()))?;
    Ok(diff::report(&project, &json("listing.json")?, &delta))
}

/// Drift leaves out what the project alone would change: fields that nobody else took.
fn narrowed(mut report: Report, view: View) -> Report {
    if view == View::Foreign {
        report.orphans.clear();
        for change in &mut report.changes {
            if change.what == What::Mend {
                change.fields.retain(|field| field.wanted.is_some());
            }
        }
    }
    report
}

//! `prune`: what the project no longer has, shown as a tree, then deleted object by object.

use serde_json::Value;

use super::deploy::{Subject, check_files, made_from, save, stamp, told_unmoved, tool_versions, usage};
use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::text::plural;
use crate::base::ui::Status;
use crate::context::{Checkout, Context};
use crate::live::Delta;
use crate::live::prune::{self, Choice};
use crate::plan::{self, Plan};
use crate::platform::Environment;
use crate::project::resources;
use crate::recipe::deploy::{Deploy, Mode};
use crate::recipe::{local_up, prune as recipe};
use crate::run::saved::Use;
use crate::run::{Lock, PlanArgs, Reviewed, SavedArgs, carry_out_reviewed, look, nonce};
use crate::setup::target::{self, TargetArgs};

/// Delete what a stage no longer has, exactly as shown
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask prune --dry-run
  cargo xtask prune --stage full --allow-delete PersistentVolumeClaim/argocd/data")]
pub struct Arguments {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Allow the delete of this very object: a Namespace, CRD, PVC, PV, Secret or one with skip-delete
    #[arg(long, value_name = "KIND/NAMESPACE/NAME")]
    pub allow_delete: Vec<String>,
    #[command(flatten)]
    pub saved: SavedArgs,
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let usage = usage(context, &checkout, "prune", &arguments.target.stage, &arguments.saved)?;
    let read = made_from(&usage, &checkout)?;
    let plan_args = &arguments.plan;
    let arguments: &Arguments = read.as_ref().unwrap_or(arguments);
    let target = target::choose(context, &checkout, &arguments.target)?;
    let nonce = nonce();
    let access = target.access.looking(&nonce);
    let goal = format!("prune {} of {}", target.stage, target.name);
    let deploy = Deploy {
        access: &access,
        config: target.config,
        backend: target.backend,
        stage: target.stage,
        description: &target.description,
        source: &target.source,
        nonce: &nonce,
        goal: &goal,
        mode: &Mode::USUAL,
        key: None,
    };
    let mut plan = Plan::new(goal.clone());
    plan.sections = deploy.look();
    target::preflight(
        context,
        &checkout,
        &target.name,
        target.config,
        &plan,
        Some(target.stage),
    )?;
    let looking = std::mem::take(&mut plan.sections);
    let subject = Subject {
        nonce: &nonce,
        verb: "prune",
        cluster: &target.name,
        stage: target.stage,
        access: &access,
        project: target.source.folder(),
    };
    if let Use::Apply(saved) = &usage {
        check_files(&checkout.root, saved, &subject, &target.source)?;
    }
    let outcome = look(context, &checkout, &looking, &access.work())
        .and_then(|tools| match &usage {
            Use::Apply(saved) => saved.check_state(stamp(&checkout, &subject, &tools)?),
            Use::Now | Use::Save(_) => Ok(()),
        })
        .and_then(|()| choose(context, &checkout, &deploy, &arguments.allow_delete));
    let folder = checkout.path(access.work());
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    let (choice, objects) = outcome?;
    context.ui.text(choice.text());
    if choice.deletions.is_empty() && !matches!(usage, Use::Apply(_)) {
        context.ui.status(Status::Fresh, "nothing to delete");
        return Ok(());
    }
    let actual = Deploy {
        access: &target.access,
        ..deploy.clone()
    };
    let parts = recipe::parts(&actual, &choice, &arguments.allow_delete);
    plan.choices.clone_from(&target.choices);
    plan.choices
        .push(format!("{} to delete", plural(choice.deletions.len(), "object")));
    plan.target = Some(plan::Target {
        cluster: target.name.clone(),
        production: target.config.environment == Environment::Production,
    });
    plan.sections.push(parts.section.after(local_up::clear_work(&actual)));
    plan.finally.push(parts.finally);
    let reviewed = match &usage {
        Use::Now => Reviewed::Now,
        Use::Save(file) => return save(context, &checkout, &subject, &looking, plan, file),
        Use::Apply(saved) => {
            saved.check_plan(&plan, &nonce)?;
            if plan_args.dry_run.is_none() {
                saved.check_tools(tool_versions(context, &checkout, &plan)?)?;
                told_unmoved(context);
            }
            Reviewed::Saved
        }
    };
    if plan_args.dry_run.is_none()
        && reviewed == Reviewed::Now
        && let Some(why) = choice.why_typed(objects)
    {
        confirm(context, &target.name, &why)?;
    }
    carry_out_reviewed(
        context,
        &checkout,
        "prune",
        plan,
        plan_args,
        &Lock::Host(target.name.clone()),
        reviewed,
    )
}

/// Chooses from the listing; what goes along is looked up when something takes others along.
fn choose(context: &Context, checkout: &Checkout, deploy: &Deploy<'_>, allowed: &[String]) -> Result<(Choice, usize)> {
    let work = deploy.access.work();
    let json = |name: &str| -> Result<Value> {
        let text = fs_err::read_to_string(checkout.path(work.join(name)))?;
        serde_json::from_str(&text).or_fail(Kind::Unexpected, format!("`{name}` is no JSON"))
    };
    let delta: Delta =
        serde_json::from_value(json("delta.json")?).or_fail(Kind::Unexpected, "`delta.json` cannot be read")?;
    let served = resources::parse(&fs_err::read_to_string(checkout.path(work.join("served.txt")))?)?;
    let mut choice = prune::choose(&delta, &served, allowed)?;
    if choice.has_cascades() {
        look(context, checkout, &[recipe::cascades(deploy.access)], &work)?;
        choice.add_cascades(
            &json("everything.json")?,
            &json("definitions.json")?,
            &deploy.description.discriminator,
        )?;
    }
    Ok((choice, delta.objects))
}

/// A large prune is agreed to by typing the cluster's name, and never by `--yes`.
fn confirm(context: &Context, cluster: &str, why: &str) -> Result<()> {
    let refused = |reason: &str| {
        Failure::refused(format!("{why}, and {reason}; nothing was changed"))
            .hinted("review it as a saved plan: `--save-plan FILE`, then `--plan FILE`")
    };
    if !context.ui.can_ask() {
        return Err(refused("there is no terminal to type the cluster's name on"));
    }
    match context.ui.read_line(&format!("{why}. Type `{cluster}` to go on: "))? {
        Some(line) if line == cluster => Ok(()),
        _ => Err(refused("the cluster's name was not typed")),
    }
}

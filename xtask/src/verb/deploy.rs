//! `deploy`: a stage onto a cluster that is up.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::failure::{Failure, Kind, Result};
use crate::base::text::nearest;
use crate::base::ui::Status;
use crate::cluster::access::Access;
use crate::context::{Checkout, Context};
use crate::live::compare::Only;
use crate::plan::{self, Plan};
use crate::platform::{Environment, Stage};
use crate::project::StageDescription;
use crate::recipe::deploy::{Deploy, Mode};
use crate::recipe::{Source, capi, guard, local_up};
use crate::run::saved::{self, Built, Inputs, Saved, Stamp, Use};
use crate::run::{Lock, PlanArgs, Reviewed, SavedArgs, carry_out_reviewed, look, nonce};
use crate::setup::target::{self, StageArgs, Target, TargetArgs};
use crate::tool::Tools;

/// Deploy a stage to a cluster that is up
///
/// Checks that it is the right cluster, compares, takes the lock, deploys each phase and holds its gates, verifies,
/// and adds to the deployment history.
#[derive(Debug, Clone, clap::Args)]
#[command(
    visible_alias = "apply",
    after_help = "Examples:
  cargo xtask deploy --stage local --only cilium
  cargo xtask deploy --stage full --cluster hetzner --save-plan plan.json
  cargo xtask deploy --stage full --cluster hetzner --plan plan.json"
)]
pub struct Arguments {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Deploy this part alone, with its gates
    #[arg(long, value_name = "COMPONENT|PHASE")]
    pub only: Option<String>,
    /// Why, for the deployment history
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Take over objects that carry this discriminator, because they moved here or it was renamed
    #[arg(long, value_name = "DISCRIMINATOR")]
    pub take_from: Option<String>,
    /// Take away what others added to this object, as `drift` names it
    #[arg(long, value_name = "KIND/NAMESPACE/NAME")]
    pub reset: Vec<String>,
    #[command(flatten)]
    pub saved: SavedArgs,
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// Characters of a reason: 20 deployments of each stage share one object of at most a mebibyte.
const REASON: usize = 500;

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let usage = usage(context, &checkout, "deploy", &arguments.target.stage, &arguments.saved)?;
    let read = made_from(&usage, &checkout)?;
    let plan_args = &arguments.plan;
    let arguments = read.as_ref().unwrap_or(arguments);
    let mut target = target::choose(context, &checkout, &arguments.target)?;
    let only = arguments
        .only
        .as_deref()
        .map(|only| part(&target.description, only))
        .transpose()?;
    if let Some(only) = &only {
        target.choices.push(match only {
            Only::Phase(name) => format!("only phase `{name}`"),
            Only::Component(name) => format!("only component `{name}`"),
        });
    }
    let mode = Mode {
        golden: (!matches!(target.source, Source::Golden(_))).then(|| target.golden.clone()),
        only,
        reason: arguments.reason.clone(),
        then: None,
        take_from: arguments.take_from.clone(),
        reset: arguments.reset.clone(),
        ..Mode::USUAL
    };
    let goal = goal("deploy", &target.name, target.stage, mode.only.as_ref());
    deploy(context, &checkout, &target, &mode, "deploy", &goal, &usage, plan_args)
}

fn goal(verb: &str, cluster: &str, stage: Stage, only: Option<&Only>) -> String {
    match only {
        Some(only) => format!("{verb} {stage} to {cluster}, only {}", only.name()),
        None => format!("{verb} {stage} to {cluster}"),
    }
}

/// Plans and carries out a deploy of a target.
#[expect(
    clippy::too_many_arguments,
    reason = "deploy and rollback hand over all that tells them apart"
)]
pub fn deploy(
    context: &Context,
    checkout: &Checkout,
    target: &Target<'_>,
    mode: &Mode,
    verb: &str,
    goal: &str,
    usage: &Use,
    args: &PlanArgs,
) -> Result<()> {
    if let Some(length) = mode.reason.as_ref().map(|reason| reason.chars().count())
        && length > REASON
    {
        return Err(Failure::config(format!(
            "the reason has {length} characters, the deployment history keeps {REASON}"
        ))
        .hinted("say it in short, and name where the rest stands"));
    }
    let nonce = nonce();
    let recipe = Deploy {
        access: &target.access,
        config: target.config,
        backend: target.backend,
        stage: target.stage,
        description: &target.description,
        source: &target.source,
        nonce: &nonce,
        goal,
        mode,
        key: crate::recipe::age_key::of(&checkout.platform, &target.name, target.backend),
    };
    let mut plan = Plan::new(goal);
    plan.choices.clone_from(&target.choices);
    plan.target = Some(plan::Target {
        cluster: target.name.clone(),
        production: target.config.environment == Environment::Production,
    });
    if let Some(describes) = &checkout.platform.stage(&target.name, target.stage)?.describes {
        let workload = Access::of(describes, checkout.platform.cluster(describes)?);
        let work = target.access.work().join("guard");
        plan.sections
            .push(capi::guard_moved(&target.access, describes, &workload, &work, &nonce));
    }
    let parts = recipe.parts();
    plan.sections.push(parts.section);
    plan.sections[0].items.insert(0, local_up::clear_work(&recipe).into());
    plan.finally.push(parts.finally);
    plan.next = Some(format!(
        "cargo xtask history --stage {} --cluster {}",
        target.stage, target.name
    ));
    let access = target.access.looking(&nonce);
    let subject = Subject {
        nonce: &nonce,
        verb,
        cluster: &target.name,
        stage: target.stage,
        access: &access,
        project: target.source.folder(),
    };
    // Of a saved plan nothing is run that was not planned here.
    if let Use::Apply(saved) = usage {
        check_files(&checkout.root, saved, &subject, &target.source)?;
        saved.check_plan(&plan, &nonce)?;
    }
    if args.dry_run.is_none() {
        target::preflight(
            context,
            checkout,
            &target.name,
            target.config,
            &plan,
            Some(target.stage),
        )?;
    }
    let look = || {
        let looking = Deploy {
            access: &access,
            ..recipe.clone()
        };
        looking.look()
    };
    let reviewed = match usage {
        Use::Now => Reviewed::Now,
        Use::Save(file) => return save(context, checkout, &subject, &look(), plan, file),
        Use::Apply(saved) => {
            if args.dry_run.is_none() {
                saved.check(&observe(context, checkout, &subject, &look(), &plan)?)?;
                told_unmoved(context);
            }
            Reviewed::Saved
        }
    };
    carry_out_reviewed(
        context,
        checkout,
        verb,
        plan,
        args,
        &Lock::Host(target.name.clone()),
        reviewed,
    )
}

/// Says that a saved plan is what it was.
pub fn told_unmoved(context: &Context) {
    context.ui.status(
        Status::Checked,
        "the plan is made the same here, and nothing that it was made from has moved",
    );
}

/// The part of a stage that is meant: a phase, or a component.
fn part(description: &StageDescription, name: &str) -> Result<Only> {
    if description.phases.iter().any(|phase| phase == name) {
        return Ok(Only::Phase(name.to_owned()));
    }
    if description.items.iter().any(|item| item.component == name) {
        return Ok(Only::Component(name.to_owned()));
    }
    let failure = Failure::config(format!(
        "stage `{}` has no phase or component `{name}`",
        description.stage
    ));
    let known: Vec<&str> = description
        .phases
        .iter()
        .map(String::as_str)
        .chain(description.items.iter().map(|item| item.component.as_str()))
        .collect();
    let failure = match nearest(name, known.iter().copied()) {
        Some(near) => failure.hinted(format!("did you mean `{near}`?")),
        None => failure,
    };
    Err(failure.hinted(format!("phases: {}", description.phases.join(", "))))
}

/// What a saved plan is about.
pub struct Subject<'a> {
    /// Nonce of the run.
    pub nonce: &'a str,
    /// The verb.
    pub verb: &'a str,
    /// The cluster.
    pub cluster: &'a str,
    /// The stage.
    pub stage: Stage,
    /// Access with the work folder that the look uses.
    pub access: &'a Access,
    /// The project.
    pub project: Utf8PathBuf,
}

/// Looks, and writes the plan with its stamp.
pub fn save(
    context: &Context,
    checkout: &Checkout,
    subject: &Subject<'_>,
    sections: &[plan::Section],
    plan: Plan,
    file: &Utf8PathBuf,
) -> Result<()> {
    let stamp = observe(context, checkout, subject, sections, &plan)?;
    let saved = Saved::new(
        subject.nonce,
        &context.command,
        (subject.cluster, subject.stage.name()),
        plan,
        &subject.project,
        stamp,
    )?;
    let path = crate::base::root::absolute(file)?;
    saved.write(&path)?;
    context
        .ui
        .status(Status::Wrote, format!("{file}: the plan and what it was made from"));
    context.ui.status(
        Status::Next,
        format!("cargo xtask {} --stage {} --plan {file}", subject.verb, subject.stage),
    );
    Ok(())
}

/// Looks, and reads everything that a plan was made from.
fn observe(
    context: &Context,
    checkout: &Checkout,
    subject: &Subject<'_>,
    sections: &[plan::Section],
    plan: &Plan,
) -> Result<Stamp> {
    let tools = look(context, checkout, sections, &subject.access.work())?;
    let mut stamp = stamp(checkout, subject, &tools)?;
    fs_err::remove_dir_all(checkout.path(subject.access.work()))?;
    stamp.tools = tool_versions(context, checkout, plan)?;
    Ok(stamp)
}

/// Versions of the tools of a plan.
pub fn tool_versions(context: &Context, checkout: &Checkout, plan: &Plan) -> Result<BTreeMap<String, String>> {
    let kubernetes = checkout.platform.versions.get("kubernetes").map_or("", String::as_str);
    Ok(saved::versions(&context.toolbox(kubernetes).ensure(&plan.tools())?))
}

/// Everything that a plan was made from, by what a look has written.
pub fn stamp(checkout: &Checkout, subject: &Subject<'_>, tools: &Tools) -> Result<Stamp> {
    Stamp::observe(&Inputs {
        root: &checkout.root,
        golden: &golden(subject.cluster, subject.stage),
        project: &subject.project,
        namespace: &guard::found(subject.access),
        listing: &subject.access.work().join("listing.json"),
        discriminator: &checkout.platform.stage(subject.cluster, subject.stage)?.discriminator,
        tools,
    })
}

fn golden(cluster: &str, stage: Stage) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("k8s/golden/{cluster}/{stage}"))
}

/// Refuses a saved plan when a file that it was made from has moved.
pub fn check_files(root: &Utf8Path, saved: &Saved, subject: &Subject<'_>, source: &Source) -> Result<()> {
    let built = match source {
        Source::Built { .. } => Built::Later,
        _ => Built::Before,
    };
    let now = Stamp::of_files(root, &golden(subject.cluster, subject.stage), Some(&subject.project))?;
    saved.check_files(now, built)
}

/// What a verb does with its plan. A saved one is read here, and refused when it is of another verb, cluster or stage,
/// or when a file has moved that has nothing to do with where the project comes from.
pub fn usage(context: &Context, checkout: &Checkout, verb: &str, asked: &StageArgs, given: &SavedArgs) -> Result<Use> {
    let file = match (&given.plan, &given.save_plan) {
        (Some(file), _) => file,
        (None, Some(file)) => return Ok(Use::Save(file.clone())),
        (None, None) => return Ok(Use::Now),
    };
    let saved = Saved::read(&crate::base::root::absolute(file)?)?;
    let another = asked.stage.is_some_and(|stage| saved.stage != stage.name())
        || asked.cluster.as_ref().is_some_and(|cluster| *cluster != saved.cluster);
    if saved.command.verb != verb || another {
        return Err(Failure::new(
            Kind::Config,
            format!(
                "`{file}` is a plan of `{} --stage {} --cluster {}`",
                saved.command.verb, saved.stage, saved.cluster
            ),
        )
        .hinted(format!(
            "`cargo xtask {} --stage {} --plan {file}`",
            saved.command.verb, saved.stage
        )));
    }
    let stage = Stage::ALL
        .into_iter()
        .find(|stage| stage.name() == saved.stage)
        .ok_or_else(|| {
            Failure::config(format!(
                "`{file}` is a plan of stage `{}`, which does not exist",
                saved.stage
            ))
            .hinted("save it again with the xtask of this checkout")
        })?;
    checkout.platform.stage(&saved.cluster, stage)?;
    saved.check_command(&context.command)?;
    let now = Stamp::of_files(&checkout.root, &golden(&saved.cluster, stage), None)?;
    saved.check_files(now, Built::Later)?;
    Ok(Use::Apply(Box::new(saved)))
}

/// The arguments that a saved plan was made from.
pub fn made_from<A: clap::Args>(usage: &Use, checkout: &Checkout) -> Result<Option<A>> {
    match usage {
        Use::Apply(saved) => saved.arguments(&checkout.root).map(Some),
        Use::Now | Use::Save(_) => Ok(None),
    }
}

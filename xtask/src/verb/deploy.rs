//! `deploy`: a stage onto a cluster that is up.

use camino::Utf8PathBuf;

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
use crate::run::saved::{Inputs, Saved, Stamp};
use crate::run::{Lock, PlanArgs, Reviewed, SavedArgs, carry_out_reviewed, look, nonce};
use crate::setup::target::{self, StageArgs, Target, TargetArgs};

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
    if let Some(file) = &arguments.saved.plan {
        return apply(
            context,
            &checkout,
            "deploy",
            &arguments.target.stage,
            file,
            &arguments.plan,
        );
    }
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
    deploy(
        context,
        &checkout,
        &target,
        &mode,
        "deploy",
        &goal,
        &arguments.saved,
        &arguments.plan,
    )
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
    saved: &SavedArgs,
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
    if let Some(file) = &saved.save_plan {
        let access = target.access.looking(&nonce);
        let looking = Deploy {
            access: &access,
            ..recipe.clone()
        };
        let sections = looking.look();
        let subject = Subject {
            nonce: &nonce,
            verb,
            cluster: &target.name,
            stage: target.stage,
            access: &access,
            project: target.source.folder(),
        };
        return save(context, checkout, &subject, sections, plan, file);
    }
    carry_out_reviewed(
        context,
        checkout,
        verb,
        plan,
        args,
        &Lock::Host(target.name.clone()),
        Reviewed::Now,
    )
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
    sections: Vec<plan::Section>,
    plan: Plan,
    file: &Utf8PathBuf,
) -> Result<()> {
    look(context, checkout, &sections, &subject.access.work())?;
    let stamp = observe(context, checkout, subject, &plan)?;
    fs_err::remove_dir_all(checkout.path(subject.access.work()))?;
    let saved = Saved::new(
        subject.nonce,
        subject.verb,
        subject.cluster,
        subject.stage.name(),
        sections,
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

fn observe(context: &Context, checkout: &Checkout, subject: &Subject<'_>, plan: &Plan) -> Result<Stamp> {
    let kubernetes = checkout.platform.versions.get("kubernetes").map_or("", String::as_str);
    let tools = context.toolbox(kubernetes).ensure(&plan.tools())?;
    Stamp::observe(&Inputs {
        root: &checkout.root,
        golden: &Utf8PathBuf::from(format!("k8s/golden/{}/{}", subject.cluster, subject.stage)),
        project: &subject.project,
        namespace: &guard::found(subject.access),
        listing: &subject.access.work().join("listing.json"),
        discriminator: &checkout.platform.stage(subject.cluster, subject.stage)?.discriminator,
        tools: &tools,
    })
}

/// Applies a saved plan, if nothing it was made from has moved.
pub fn apply(
    context: &Context,
    checkout: &Checkout,
    verb: &str,
    asked: &StageArgs,
    file: &Utf8PathBuf,
    args: &PlanArgs,
) -> Result<()> {
    let nonce = nonce();
    let saved = Saved::read(&crate::base::root::absolute(file)?)?.applied_as(&nonce)?;
    let another = asked.stage.is_some_and(|stage| saved.stage != stage.name())
        || asked.cluster.as_ref().is_some_and(|cluster| *cluster != saved.cluster);
    if saved.verb != verb || another {
        return Err(Failure::new(
            Kind::Config,
            format!(
                "`{file}` is a plan of `{} --stage {} --cluster {}`",
                saved.verb, saved.stage, saved.cluster
            ),
        )
        .hinted(format!(
            "`cargo xtask {} --stage {} --plan {file}`",
            saved.verb, saved.stage
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
    let config = checkout.platform.cluster(&saved.cluster)?;
    target::preflight(context, checkout, &saved.cluster, config, &saved.plan, Some(stage))?;
    let access = saved_access(&saved, config);
    let subject = Subject {
        nonce: &nonce,
        verb,
        cluster: &saved.cluster,
        stage,
        access: &access,
        project: saved.project.clone(),
    };
    look(context, checkout, &saved.look, &access.work())?;
    let now = observe(context, checkout, &subject, &saved.plan)?;
    fs_err::remove_dir_all(checkout.path(access.work()))?;
    saved.check(&now)?;
    context
        .ui
        .status(Status::Checked, "nothing that the plan was made from has moved");
    let lock = Lock::Host(saved.cluster.clone());
    carry_out_reviewed(context, checkout, verb, saved.plan, args, &lock, Reviewed::Saved)
}

/// Access with the work folder that the saved look writes to.
fn saved_access(saved: &Saved, config: &crate::platform::Cluster) -> Access {
    let access = Access::of(&saved.cluster, config);
    let mut steps = saved.look.iter().flat_map(plan::Section::steps);
    let written = steps.find_map(|step| match &step.action {
        plan::Action::Run(command) => match &command.output {
            crate::command::Output::File(path) => path.parent().and_then(|folder| folder.file_name()),
            crate::command::Output::Log => None,
        },
        _ => None,
    });
    match written.and_then(|name| name.strip_prefix("look-")) {
        Some(nonce) => access.looking(nonce),
        None => access,
    }
}

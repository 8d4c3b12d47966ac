//! `build`: renders a stage through Nix, prints where it is, and compares it with the golden.

use crate::base::failure::{Failure, Result};
use crate::command::{Command, Tool};
use crate::context::Context;
use crate::plan::{Action, Effect, Plan, Section, Step};
use crate::platform::Stage;
use crate::run::{Lock, PlanArgs, carry_out};
use crate::setup::target::StageArgs;
use crate::tool::Outcome;

/// Render a stage through Nix and compare it with its golden
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask build
  cargo xtask build --stage full --cluster hetzner")]
pub struct Arguments {
    #[command(flatten)]
    pub stage: StageArgs,
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// Runs the verb. The store path goes to stdout.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let stage = arguments.stage.stage(&checkout.platform)?;
    let name = match &arguments.stage.cluster {
        Some(name) => name.clone(),
        None => checkout.platform.default_cluster(stage)?.to_owned(),
    };
    checkout.platform.stage(&name, stage)?;
    if arguments.plan.dry_run.is_none() {
        let config = checkout.platform.cluster(&name)?;
        let nix = context.toolbox(&config.kubernetes).look(&[Tool::Nix]);
        if !nix.iter().any(|lookup| matches!(lookup.outcome, Outcome::Found(_))) {
            return Err(Failure::preflight("`build` renders through Nix, and there is no usable nix on this host")
                .hinted("install Nix: https://nixos.org/download (2.8 or newer)")
                .hinted(format!(
                    "without Nix the reviewed golden can be used: `cargo xtask rehearse --stage {stage} --cluster {name}`"
                )));
        }
    }
    let link = format!(".xtask/projects/{name}-{stage}");
    let plan = plan(&name, stage, &link);
    let dry = arguments.plan.dry_run.is_some();
    carry_out(
        context,
        &checkout,
        "build",
        plan,
        &arguments.plan,
        &Lock::Host(format!("build-{name}")),
    )?;
    if dry {
        return Ok(());
    }
    let store = fs_err::read_link(checkout.path(&link))?;
    context.ui.data(store.to_string_lossy())
}

/// Builds the stage and compares it with its golden.
pub fn plan(cluster: &str, stage: Stage, link: &str) -> Plan {
    let attribute = format!("k8s-manifests-{cluster}-{stage}");
    let mut plan = Plan::new(format!("build {cluster} {stage}"));
    plan.choices.push(format!(
        "stage `{stage}` of cluster `{cluster}`, attribute `{attribute}`"
    ));
    let section = Section::new(
        "build",
        format!("Build stage {stage} of `{cluster}`"),
        "The project is what the flake renders now.",
    )
    .with(Step::new(
        "project.build",
        format!("Build `.#{attribute}`"),
        "The project is what the flake renders now.",
        Effect::Local,
        Action::Run(crate::recipe::nix_build(&attribute, link)),
    ))
    .with(Step::new(
        "golden.check",
        "Compare it with the golden",
        "What is rendered and what was reviewed must be the same.",
        Effect::Read,
        Action::Run(
            Command::new(Tool::Xtask)
                .args(["golden", "check"])
                .arg(format!("--cluster={cluster}"))
                .arg(format!("--stage={stage}"))
                .flag_path("--source", link)
                .within(120),
        ),
    ));
    plan.sections.push(section);
    plan
}

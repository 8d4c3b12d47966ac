//! `render`: every stage rendered outside Nix builds, for a look or for `golden check --source`.

use crate::base::failure::Result;
use crate::context::Context;
use crate::plan::Plan;
use crate::platform::Stage;
use crate::recipe::nix;
use crate::run::{Lock, PlanArgs, carry_out};

/// Render stages without nixpkgs
///
/// Charts whose sources are missing on this host are left out and named.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask render
  cargo xtask render --stage local --cluster k3s-dev")]
pub struct Arguments {
    /// Only this stage
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<Stage>,
    /// Only this cluster
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// Runs the verb. The folder of the renderings goes to stdout.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    if let Some(cluster) = &arguments.cluster {
        checkout.platform.cluster(cluster)?;
    }
    let pairs: Vec<(String, Stage)> = nix::pairs(&checkout.platform)
        .into_iter()
        .filter(|(cluster, stage)| {
            arguments.cluster.as_ref().is_none_or(|wanted| wanted == cluster)
                && arguments.stage.is_none_or(|wanted| wanted == *stage)
        })
        .collect();
    let mut plan = Plan::new("render");
    plan.choices
        .push(format!("{} stages, on nixpkgs' own lib and outside Nix", pairs.len()));
    plan.sections.push(nix::render("render", &checkout.platform, &pairs));
    plan.next = Some(format!("cargo xtask golden check --source {}", nix::renderings_path()));
    let dry = arguments.plan.dry_run.is_some();
    carry_out(
        context,
        &checkout,
        "render",
        plan,
        &arguments.plan,
        &Lock::Host("render".to_owned()),
    )?;
    if dry {
        Ok(())
    } else {
        context.ui.data(checkout.path(nix::renderings_path()))
    }
}

//! `local-down`: takes a local cluster down; a VM keeps its data unless it is deleted.

use super::local_up::local_cluster;
use crate::base::failure::Result;
use crate::cluster::access::Access;
use crate::context::Context;
use crate::platform::Backend;
use crate::recipe::local_down::{self, Keep};
use crate::run::{Lock, PlanArgs, carry_out};
use crate::setup::vm::{self, Setup};

/// Take a local cluster down
#[derive(Debug, Clone, clap::Args)]
#[command(
    visible_alias = "down",
    after_help = "Examples:
  cargo xtask local-down
  cargo xtask local-down --cluster k3s-dev --delete"
)]
pub struct Arguments {
    /// Cluster of the platform config; the default is the one of stage local
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Delete the VM with its cluster and every volume in it; an embedded cluster keeps nothing in any case
    #[arg(long)]
    pub delete: bool,
    /// What runs the cluster, where this checkout does not remember it
    #[arg(long, value_name = "BACKEND")]
    pub backend: Option<Backend>,
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let name = local_cluster(&checkout, arguments.cluster.as_deref())?;
    let config = checkout.platform.cluster(&name)?;
    let access = Access::of(&name, config);
    let backend = match arguments.backend {
        Some(backend) => backend,
        None => vm::existing(&checkout, &access)?.unwrap_or(Backend::Embedded),
    };
    let plan = match vm::driver(backend) {
        None => local_down::plan(&access),
        Some(driver) => {
            let setup = Setup::of(&checkout, &name, config, driver)?;
            let keep = if arguments.delete { Keep::Nothing } else { Keep::Data };
            local_down::vm(&setup.vm(&access), keep)
        }
    };
    carry_out(
        context,
        &checkout,
        "local-down",
        plan,
        &arguments.plan,
        &Lock::Host(name),
    )
}

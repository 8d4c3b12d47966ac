//! `local-down`: takes a local cluster down.

use super::local_up::local_cluster;
use crate::cluster::access::Access;
use crate::context::Context;
use crate::failure::Result;
use crate::recipe::local_down;
use crate::run::{Lock, PlanArgs, carry_out};

/// Take a local cluster down
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Cluster of the facts; the default is the one of stage local
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let name = local_cluster(&checkout, arguments.cluster.as_deref())?;
    let access = Access::of(&name, checkout.platform.cluster(&name)?);
    carry_out(
        context,
        &checkout,
        "local-down",
        local_down::plan(&access),
        &arguments.plan,
        &Lock::Host(name),
    )
}

//! `unlock`: takes the lock of a dead run away, and no other.

use crate::base::failure::Result;
use crate::cluster::access::Access;
use crate::context::Context;
use crate::live::lease::LeaseAbandoned;
use crate::plan::{self, Action, Effect, Plan, Probe, Section, Step};
use crate::platform::{Environment, Stage};
use crate::recipe::guard;
use crate::run::{Lock, PlanArgs, carry_out};
use crate::setup::target;

/// Take the lock of a dead run away
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask unlock --id 0123456789ab
  cargo xtask unlock --cluster hetzner --id 0123456789ab")]
pub struct Arguments {
    /// Cluster of the platform config; the default is the one of stage local
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Id of the lock, as the locked run names it
    #[arg(long, value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let name = match &arguments.cluster {
        Some(name) => name.clone(),
        None => checkout.platform.default_cluster(Stage::Local)?.to_owned(),
    };
    let config = checkout.platform.cluster(&name)?;
    let access = Access::of(&name, config);
    let held = access.work().join("lease-found.json");
    let mut plan = Plan::new(format!("unlock {name}"));
    plan.target = Some(plan::Target {
        cluster: name.clone(),
        production: config.environment == Environment::Production,
    });
    plan.choices.push(format!("cluster `{name}`, lock `{}`", arguments.id));
    plan.sections.push(guard::section(&access, config));
    let mut unlock = Section::new(
        "unlock",
        format!("Take the lock of `{name}` away"),
        "A dead run does not.",
    );
    unlock.push(Step::new(
        "lease.find",
        "Read the cluster's Lease",
        "It says who holds it.",
        Effect::Read,
        Action::Run(guard::lease_get(&access).to_file(&held)),
    ));
    unlock.push(Step::new(
        "lease.abandoned",
        "Check that it is the named one, and its holder not alive here",
        "Two runs at once would overwrite each other.",
        Effect::Read,
        Action::task(LeaseAbandoned {
            lease: held.clone(),
            nonce: arguments.id.clone(),
        }),
    ));
    let never = Probe::Not(Box::new(Probe::Exists(held.clone())));
    unlock.push(guard::release(&access, held, Effect::Destroy).unless(never));
    plan.sections.push(unlock);
    if arguments.plan.dry_run.is_none() {
        target::preflight(context, &checkout, &name, config, &plan, None)?;
    }
    carry_out(context, &checkout, "unlock", plan, &arguments.plan, &Lock::Host(name))
}

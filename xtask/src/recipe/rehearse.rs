//! A stage tried on a cluster that lives only as long as the trial.

use super::deploy::Deploy;
use super::{embedded, local_up};
use crate::plan::{Action, Derivation, Effect, Plan, Step, Target};

/// Whether the cluster is kept for a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It stays.
    Cluster,
    /// Everything is torn down.
    Nothing,
}

/// Brings an ephemeral cluster up, deploys the stage, shows that a second deploy has nothing to do, tears down.
pub fn plan(deploy: &Deploy<'_>, choices: Vec<String>, keep: Keep) -> Plan {
    let access = deploy.access;
    let mut plan = Plan::new(deploy.goal);
    plan.choices = choices;
    plan.target = Some(Target {
        cluster: access.cluster.clone(),
        production: false,
    });
    plan.steps.push(local_up::clear_work(deploy));
    plan.steps.extend(embedded::up(access, deploy.facts));
    let steps = deploy.steps();
    plan.steps.extend(steps.steps);
    plan.steps.extend(deploy.again());
    plan.steps.push(Step::new(
        "again.judge",
        "Check that a second deploy would write nothing",
        "A deploy that never comes to rest is a fight between two managers.",
        Effect::Read,
        Action::Check(Derivation::NothingDiffers {
            delta: access.work().join("delta-again.json"),
        }),
    ));
    plan.finally = steps.finally;
    if keep == Keep::Nothing {
        plan.finally.extend(embedded::down(access));
    }
    plan
}

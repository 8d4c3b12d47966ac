//! From nothing to a local cluster that holds its stage.

use super::deploy::Deploy;
use super::embedded;
use super::guest::Guest;
use crate::plan::{Action, Effect, Plan, Step, Target};
use crate::platform::Environment;

/// The goal of a plan, by which `--resume` finds its run.
pub fn goal(cluster: &str) -> String {
    format!("local-up {cluster}")
}

/// Brings the cluster up, in its guest or on this host, and deploys the stage.
pub fn plan(deploy: &Deploy<'_>, guest: Option<&Guest<'_>>, choices: Vec<String>) -> Plan {
    let access = deploy.access;
    let mut plan = Plan::new(goal(&access.cluster));
    plan.choices = choices;
    plan.target = Some(Target {
        cluster: access.cluster.clone(),
        production: deploy.facts.environment == Environment::Production,
    });
    plan.steps.push(clear_work(deploy));
    plan.steps.extend(match guest {
        Some(guest) => guest.up(),
        None => embedded::up(access, deploy.facts),
    });
    let steps = deploy.steps();
    plan.steps.extend(steps.steps);
    plan.finally = steps.finally;
    plan.next = Some(format!(
        "cargo xtask kubectl --cluster {} -- get pods -A",
        access.cluster
    ));
    plan
}

/// Files of an earlier run must not be taken for this one's.
pub fn clear_work(deploy: &Deploy<'_>) -> Step {
    Step::new(
        "work.clear",
        "Forget what an earlier run found",
        "Every file that a step reads was written by this run.",
        Effect::Local,
        Action::Remove {
            path: deploy.access.work(),
        },
    )
}

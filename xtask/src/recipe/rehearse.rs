//! A stage tried on a cluster that lives only as long as the trial.

use camino::Utf8PathBuf;

use super::deploy::Deploy;
use super::{embedded, local_up};
use crate::cluster::access::Access;
use crate::plan::{Action, Derivation, Effect, Plan, Probe, Step, Target};
use crate::root::STATE;

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
    plan.finally.extend(keep_evidence(access));
    if keep == Keep::Nothing {
        plan.finally.extend(embedded::down(access));
    }
    plan
}

/// Where a rehearsal that failed leaves what is worth a look.
pub fn evidence(access: &Access) -> Utf8PathBuf {
    Utf8PathBuf::from(STATE)
        .join("failed")
        .join(access.folder.file_name().unwrap_or("rehearsal"))
}

/// Asks the cluster what happened, before it goes; a rehearsal that went well has nothing to tell.
fn keep_evidence(access: &Access) -> Vec<Step> {
    let went_well = Probe::Says {
        file: access.work().join("delta-again.json"),
        pointer: "/fresh".to_owned(),
        value: true.into(),
    };
    let unreachable = Probe::Not(Box::new(Probe::Succeeds(
        access.kubectl().args(["get", "--raw=/readyz"]).within(10),
    )));
    let step = |id: &str, title: &str, what: &str, output: &str, file: &str| {
        Step::new(
            id,
            title,
            "The cluster is gone when somebody asks why it failed.",
            Effect::Read,
            Action::Run(
                access
                    .kubectl()
                    .args(["get", what, "--all-namespaces", output])
                    .to_file(evidence(access).join(file))
                    .within(60)
                    .or_look_next(),
            ),
        )
        .unless(Probe::Any(vec![went_well.clone(), unreachable.clone()]))
    };
    vec![
        step(
            "event.keep",
            "Keep the events",
            "events",
            "--output=json",
            "events.json",
        ),
        step(
            "object.keep",
            "Keep the objects that a stage is about, without any Secret",
            "nodes,namespaces,deployments,statefulsets,daemonsets,jobs,pods,services,persistentvolumeclaims",
            "--output=json",
            "objects.json",
        ),
        // A table names Secrets and shows no value.
        step(
            "secret.name",
            "Keep the names of Secrets",
            "secrets",
            "--output=wide",
            "secrets.txt",
        ),
    ]
}

//! From nothing to a local cluster that holds its stage.

use camino::Utf8PathBuf;
use serde_json::json;

use super::deploy::Deploy;
use super::embedded;
use super::routes;
use super::vm::Vm;
use crate::cluster::access::Access;
use crate::plan::{Action, Effect, Plan, Section, Step, Target};
use crate::platform::Environment;

/// The goal of a plan, by which `--resume` finds its run.
pub fn goal(cluster: &str) -> String {
    format!("local-up {cluster}")
}

/// Brings the cluster up, in its VM or on this host, and deploys the stage.
pub fn plan(deploy: &Deploy<'_>, vm: Option<&Vm<'_>>, choices: Vec<String>) -> Plan {
    let access = deploy.access;
    let mut plan = Plan::new(goal(&access.cluster));
    plan.choices = choices;
    plan.target = Some(Target {
        cluster: access.cluster.clone(),
        production: deploy.config.environment == Environment::Production,
    });
    plan.sections.push(cluster(deploy, vm));
    let parts = deploy.parts();
    plan.sections.push(parts.section);
    if let Some(vm) = vm {
        plan.sections.push(reach(deploy, vm));
    }
    plan.finally.push(parts.finally);
    plan.next = Some(format!("cargo xtask kubectl --cluster {} get pods -A", access.cluster));
    plan
}

/// The cluster, up: in its VM or on this host.
pub fn cluster(deploy: &Deploy<'_>, vm: Option<&Vm<'_>>) -> Section {
    let section = match vm {
        Some(vm) => vm.up(),
        None => embedded::up(deploy.access, deploy.config),
    };
    section.after(clear_work(deploy))
}

/// What is looked at of a stage that runs in a VM: how this host reaches it.
pub fn reach(deploy: &Deploy<'_>, vm: &Vm<'_>) -> Section {
    let mut section = Section::new(
        "reach",
        "Check what of the stage this host reaches",
        "A cluster that no browser reaches is not what was asked for.",
    )
    .with(note_project(deploy));
    if vm.low_ports && routes::any(deploy.description) {
        section.extend(routes::steps(deploy, deploy.source.folder()));
    }
    section
}

/// Where the project of the last deployment is noted; an embedded cluster has a copy of it instead.
pub fn project_file(access: &Access) -> Utf8PathBuf {
    access.folder.join("project.json")
}

fn note_project(deploy: &Deploy<'_>) -> Step {
    Step::new(
        "project.note",
        "Note which project was deployed",
        "`local-status` asks after what is in it.",
        Effect::Local,
        Action::Write {
            path: project_file(deploy.access),
            content: format!("{}\n", json!({"folder": deploy.source.folder()})),
            mode: 0o600,
        },
    )
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

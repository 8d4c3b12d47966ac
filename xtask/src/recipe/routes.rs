//! The steps that reach what a local cluster serves as its host would: by the names of the platform config, verified by the
//! root of the local authority.

use camino::Utf8PathBuf;

use super::deploy::Deploy;
use crate::cluster::vm::route::FindRoutes;
use crate::plan::{Action, Effect, Probe, Step};
use crate::project::StageDescription;

/// Seconds for what is forwarded to be noticed, and for a backend to answer.
const ROUTES: u64 = 120;

/// Whether a stage has a Gateway, so that something of it is reached by name.
pub fn any(description: &StageDescription) -> bool {
    description.gates.iter().any(|gate| gate.object.kind == "Gateway")
}

/// Waits until every route answers this host.
pub fn steps(deploy: &Deploy<'_>, project: Utf8PathBuf) -> Vec<Step> {
    let access = deploy.access;
    let listing = access.work().join("configmaps.json");
    let routes = access.work().join("routes.json");
    vec![
        Step::new(
            "route.list",
            "List what the cluster publishes",
            "The local authority publishes its root in a ConfigMap.",
            Effect::Read,
            Action::Run(
                access
                    .kubectl()
                    .args(["get", "configmaps", "--all-namespaces", "--output=json"])
                    .to_file(&listing)
                    .within(30),
            ),
        ),
        Step::new(
            "route.find",
            "Find the addresses of the stage's routes",
            "Their names stand in the project, and so in its golden; nothing is rewritten on the way.",
            Effect::Read,
            Action::task(FindRoutes {
                project,
                configmaps: listing,
                to: routes.clone(),
            }),
        ),
        Step::new(
            "route.wait",
            "Wait until every route answers this host, verified",
            "A cluster that no browser reaches is not what was asked for.",
            Effect::Read,
            Action::Wait {
                until: Probe::Routes(routes),
                deadline: ROUTES,
                every: 2,
            },
        ),
    ]
}

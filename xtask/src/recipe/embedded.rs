//! The steps that bring an embedded cluster up and take it down.

use serde_json::json;

use crate::cluster::access::Access;
use crate::cluster::embedded;
use crate::plan::{Action, Effect, Probe, Step};
use crate::platform::Cluster;

/// Seconds that a control plane may take to come up; 3 s is usual.
const START: u64 = 120;

/// Steps after which the API server answers and its nodes are there.
pub fn up(access: &Access, facts: &Cluster) -> Vec<Step> {
    let folder = embedded::folder(access);
    let marker = embedded::marker(access);
    let config = embedded::config_path(access);
    let made = Probe::Exists(marker.clone());
    let ready = Probe::Succeeds(access.kubectl().args(["get", "--raw=/readyz"]).within(10));
    let running = Probe::All(vec![made.clone(), Probe::Alive(folder.clone()), ready.clone()]);
    let last_node = format!("node-{:06}", facts.nodes.saturating_sub(1));
    vec![
        Step::new(
            "cluster.sweep",
            "End what a broken start left running",
            "A half-made or half-dead cluster makes the next start wait in vain.",
            Effect::Local,
            Action::End { folder },
        )
        .unless(running.clone()),
        Step::new(
            "cluster.clear",
            "Remove the folder of a cluster that was never finished",
            "Its certificates and its store may be incomplete.",
            Effect::Local,
            Action::Remove {
                path: access.folder.join("kwok"),
            },
        )
        .unless(made.clone()),
        Step::new(
            "cluster.configure",
            format!("Write the configuration of `{}`", access.cluster),
            "It keeps the control plane on loopback and says how nodes and pods are simulated.",
            Effect::Local,
            Action::Write {
                path: config.clone(),
                content: embedded::config(facts),
                mode: 0o600,
            },
        )
        .unless(made.clone()),
        Step::new(
            "cluster.create",
            "Create the control plane",
            "A real API server, etcd, controller manager and scheduler, on free ports of loopback.",
            Effect::Local,
            Action::Run(
                embedded::kwokctl(access, facts)
                    .args(["create", "cluster"])
                    .flag_path("--config", config)
                    .flag_path("--kubeconfig", &access.kubeconfig)
                    .arg(format!("--wait={START}s"))
                    .within(START + 30),
            ),
        )
        .unless(made.clone()),
        Step::new(
            "cluster.name",
            format!("Call its context `{}`", access.context),
            "The context is the one that the facts name.",
            Effect::Local,
            Action::Run(
                access
                    .kubectl_without_context()
                    .args(["config", "rename-context"])
                    .arg(embedded::raw_context())
                    .arg(access.context.as_str()),
            ),
        )
        .unless(Probe::Succeeds(
            access
                .kubectl_without_context()
                .args(["config", "get-contexts", "--output=name"])
                .arg(access.context.as_str()),
        )),
        Step::new(
            "cluster.mark",
            "Record that the cluster was made",
            "A start that was cut off is told from a cluster that only stands still.",
            Effect::Local,
            Action::Write {
                path: marker,
                content: format!(
                    "{}\n",
                    json!({"cluster": access.cluster, "kubernetes": facts.kubernetes})
                ),
                mode: 0o600,
            },
        )
        .unless(made),
        Step::new(
            "cluster.start",
            "Start the control plane again",
            "After a crash or a reboot its store is still there.",
            Effect::Local,
            Action::Run(
                embedded::kwokctl(access, facts)
                    .args(["start", "cluster"])
                    .arg(format!("--wait={START}s"))
                    .within(START + 30),
            ),
        )
        .unless(running),
        Step::new(
            "cluster.answer",
            "Wait until the API server is ready",
            "Everything after this speaks to it.",
            Effect::Read,
            Action::Wait {
                until: ready,
                deadline: START,
                every: 1,
            },
        ),
        Step::new(
            "node.create",
            format!("Create simulated nodes up to `{last_node}`"),
            "Pods need somewhere to be placed.",
            Effect::Local,
            Action::Run(
                embedded::kwokctl(access, facts)
                    .args(["scale", "node"])
                    .arg(format!("--replicas={}", facts.nodes)),
            ),
        )
        .unless(Probe::Succeeds(
            access.kubectl().args(["get", "node"]).arg(last_node).within(10),
        )),
    ]
}

/// Steps that end the processes of an embedded cluster, look that they are gone, and remove its folder.
pub fn down(access: &Access) -> Vec<Step> {
    let folder = embedded::folder(access);
    vec![
        Step::new(
            "cluster.stop",
            format!("End the processes of `{}`", access.cluster),
            "An API server whose etcd is gone hangs, so it goes first, and all are looked for afterwards.",
            Effect::Local,
            Action::End { folder: folder.clone() },
        )
        .unless(Probe::Not(Box::new(Probe::Exists(folder)))),
        Step::new(
            "cluster.remove",
            format!("Remove `{}`", access.folder),
            "The state of an embedded cluster is all in this folder.",
            Effect::Local,
            Action::Remove {
                path: access.folder.clone(),
            },
        )
        .unless(Probe::Not(Box::new(Probe::Exists(access.folder.clone())))),
    ]
}

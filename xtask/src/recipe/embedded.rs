//! The sections that bring an embedded cluster up and take it down.

use serde_json::json;

use crate::cluster::access::Access;
use crate::cluster::embedded::{self, DiskRoom, EndProcesses, FreePorts, OwnKubeconfig};
use crate::plan::{Action, Effect, Probe, Section, Step};
use crate::platform::Cluster;

/// Seconds that a control plane may take to come up; 3 s is usual.
const START: u64 = 120;

/// Seconds after which a first start is given up: it may wait for a port that somebody else took.
const FIRST: u64 = 60;

/// After it the API server answers and its nodes are there.
pub fn up(access: &Access, config: &Cluster) -> Section {
    let folder = embedded::folder(access);
    let marker = embedded::marker(access);
    let made = Probe::Exists(marker.clone());
    let ready = Probe::Succeeds(access.kubectl().args(["get", "--raw=/readyz"]).within(10));
    let alive = Probe::Alive(folder.clone());
    let running = Probe::All(vec![made.clone(), alive.clone(), ready.clone()]);
    let account = Probe::Succeeds(
        access
            .kubectl()
            .args(["get", "serviceaccount", "default", "--namespace=default"])
            .within(10),
    );
    let start = embedded::kwokctl(access, config)
        .args(["start", "cluster"])
        .arg(format!("--wait={START}s"))
        .within(START + 30);
    let last_node = format!("node-{:06}", config.nodes.saturating_sub(1));
    let mut section = Section::new(
        "cluster",
        format!("Start control plane `{}`", access.cluster),
        "Everything else speaks to its API server.",
    )
    .with(
        Step::new(
            "kubeconfig.check",
            format!("Check that `{}` leads to this control plane", access.kubeconfig),
            "A kubeconfig of another cluster must not decide what is swept and started here.",
            Effect::Read,
            Action::task(OwnKubeconfig {
                kubeconfig: access.kubeconfig.clone(),
                context: access.context.clone(),
                own: folder.join("kubeconfig.yaml"),
                cluster: access.cluster.clone(),
            }),
        )
        .guarding()
        .unless(Probe::Not(Box::new(made.clone()))),
    )
    .with(room(access, "disk.check", embedded::ROOM_TO_START).unless(running.clone()))
    .with(room(access, "disk.room", embedded::ROOM_TO_MAKE).unless(made.clone()))
    .with(sweep(access, "cluster").unless(running.clone()))
    .with(
        attempt(access, config, "cluster", FIRST)
            .named("create")
            .unless(made.clone()),
    );
    // A port that was free when it was chosen may be taken when it is bound; once more, with others.
    let up = Probe::Any(vec![
        made.clone(),
        Probe::Succeeds(
            access
                .kubectl_without_context()
                .arg(format!("--context={}", embedded::raw_context()))
                .args(["get", "--raw=/readyz"])
                .within(10),
        ),
    ]);
    let mut again = attempt(access, config, "second", START + 30).named("again").unless(up);
    again.items.insert(0, sweep(access, "second").into());
    section.push(again);
    section.extend([
        Step::new(
            "cluster.name",
            format!("Call its context `{}`", access.context),
            "The context is the one that the platform config names.",
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
                    json!({"cluster": access.cluster, "kubernetes": config.kubernetes})
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
            Action::Run(start),
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
    ]);
    // Only now: both end when the API server is not healthy in their first seconds.
    for (name, command) in embedded::controllers(access) {
        section.push(Step::new(
            &format!("{name}.start"),
            format!("Start `{name}`"),
            "Without it no Deployment gets a pod, no pod a node, and no namespace goes away.",
            Effect::Local,
            Action::Serve {
                folder: folder.clone(),
                name: name.to_owned(),
                command,
            },
        ));
    }
    section.extend([
        Step::new(
            "controllers.wait",
            "Wait until the controllers work",
            "The account of namespace `default` is the first thing that they make.",
            Effect::Read,
            Action::Wait {
                until: Probe::All(vec![alive, account]),
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
                embedded::kwokctl(access, config)
                    .args(["scale", "node"])
                    .arg(format!("--replicas={}", config.nodes)),
            ),
        )
        .unless(Probe::Succeeds(
            access.kubectl().args(["get", "node"]).arg(last_node).within(10),
        )),
    ]);
    section
}

fn room(access: &Access, id: &str, bytes: u64) -> Step {
    Step::new(
        id,
        "Check that the disk has room",
        "On a full one a control plane waits for itself, and says nothing of the disk.",
        Effect::Read,
        Action::task(DiskRoom {
            folder: access.folder.clone(),
            bytes,
        }),
    )
    .guarding()
}

fn sweep(access: &Access, name: &str) -> Step {
    Step::new(
        &format!("{name}.sweep"),
        "End what a broken start left running",
        "A half-made or half-dead cluster makes the next start wait in vain.",
        Effect::Local,
        Action::task(EndProcesses {
            folder: embedded::folder(access),
        }),
    )
}

/// One try to make the control plane: nothing of an earlier one may stand in its way.
fn attempt(access: &Access, config: &Cluster, name: &str, within: u64) -> Section {
    let kwok_config = embedded::config_path(access);
    let create = embedded::kwokctl_create(access, config)
        .list_path("--config", &kwok_config)
        .flag_path("--kubeconfig", &access.kubeconfig)
        .arg(format!("--wait={within}s"))
        .within(within);
    let steps = [
        Step::new(
            &format!("{name}.clear"),
            "Remove the folder of a cluster that was never finished",
            "Its certificates and its store may be incomplete.",
            Effect::Local,
            Action::Remove {
                path: embedded::work(access),
            },
        ),
        Step::new(
            &format!("{name}.forget"),
            format!("Remove `{}`", access.kubeconfig),
            "It leads to a control plane that is no more.",
            Effect::Local,
            Action::Remove {
                path: access.kubeconfig.clone(),
            },
        ),
        Step::new(
            &format!("{name}.configure"),
            format!("Write the configuration of `{}`", access.cluster),
            "It keeps the control plane on free ports of loopback and says how nodes and pods are simulated.",
            Effect::Local,
            Action::task(FreePorts {
                content: embedded::config(config),
                to: kwok_config,
            }),
        ),
        Step::new(
            &format!("{name}.create"),
            "Create the control plane",
            "A real API server, etcd, controller manager and scheduler, on free ports of loopback.",
            Effect::Local,
            Action::Run(if within < START { create.or_look_next() } else { create }),
        ),
    ];
    Section::new(
        name,
        "Create the control plane",
        "A real API server, etcd, controller manager and scheduler, on free ports of loopback.",
    )
    .with_all(steps)
}

/// Ends the processes of an embedded cluster, looks that they are gone, and removes its folder.
pub fn down(access: &Access) -> Section {
    let folder = embedded::folder(access);
    let steps = [
        Step::new(
            "cluster.stop",
            format!("End the processes of `{}`", access.cluster),
            "An API server whose etcd is gone hangs, so it goes first, and all are looked for afterwards.",
            Effect::Local,
            // Also where the folder is gone: `git clean` ends no process.
            Action::task(EndProcesses { folder }),
        ),
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
        Step::new(
            "kubeconfig.remove",
            format!("Remove `{}`", access.kubeconfig),
            "It leads to a control plane that is no more.",
            Effect::Local,
            Action::Remove {
                path: access.kubeconfig.clone(),
            },
        )
        .unless(Probe::Not(Box::new(Probe::Exists(access.kubeconfig.clone())))),
    ];
    Section::new(
        "down",
        format!("Remove control plane `{}`", access.cluster),
        "An embedded cluster is its processes, its folder and its kubeconfig.",
    )
    .with_all(steps)
}

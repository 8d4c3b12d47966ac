//! The embedded backend: kwokctl's binary runtime, a real control plane whose nodes and pods are simulated.
//! Everything of it stands in one folder of the checkout and listens on loopback alone.

mod kubeconfig;
mod processes;
mod project;

use std::fmt::Write as _;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

pub use kubeconfig::OwnKubeconfig;
pub use processes::{EndProcesses, dead_processes, end_processes, is_running, stopped_components};
pub use project::EmbeddedProject;

use super::access::Access;
use crate::base::failure::Result;
use crate::call::Caller;
use crate::command::{Arg, Command, Tool};
use crate::platform::Cluster;

/// The nine stages that simulate nodes, pods and volumes; one given replaces all of kwokctl's own.
const SIMULATION: &str = include_str!("simulation.yaml");

/// Name of the cluster inside its own work folder; the folder tells clusters apart.
const NAME: &str = "embedded";

/// Stands for a port that is free when the configuration is written.
pub const FREE_PORT: &str = "@free-port@";

/// Every port that a control plane listens on, by kwokctl's name.
const PORTS: [&str; 4] = ["etcdPort", "etcdPeerPort", "kubeApiserverPort", "kwokControllerPort"];

/// Components that kwokctl leaves out. It starts all at once, and these two end when the API server is not healthy
/// within their first ten seconds (`WaitForAPIServer` of kube-controller-manager, 1.35), as on a busy host.
const LATER: [&str; 2] = ["disableKubeControllerManager", "disableKubeScheduler"];

/// Writes the configuration of an embedded cluster, with ports that are free now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FreePorts {
    /// The configuration with placeholders.
    pub content: String,
    /// Where it goes.
    pub to: Utf8PathBuf,
}

impl FreePorts {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        on.write(&self.to, with_free_ports(&self.content)?.as_bytes(), 0o600)
    }
}

/// Replaces every [`FREE_PORT`] of a text by a free port of loopback, each another.
fn with_free_ports(text: &str) -> Result<String> {
    let mut parts = text.split(FREE_PORT);
    let mut result = parts.next().unwrap_or_default().to_owned();
    // All are held until the last is chosen, so that none is chosen twice.
    let mut held = Vec::new();
    for part in parts {
        let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
        write!(result, "{}{part}", listener.local_addr()?.port()).expect("a string takes everything");
        held.push(listener);
    }
    Ok(result)
}

/// Where kwokctl keeps everything: below its home. `KWOK_WORKDIR` would be cut off at the first space of a path, as
/// every value of kwokctl's own variables is (0.8.0).
pub fn work(access: &Access) -> Utf8PathBuf {
    access.folder.join("home/.kwok")
}

/// Where kwokctl keeps the cluster.
pub fn folder(access: &Access) -> Utf8PathBuf {
    work(access).join("clusters").join(NAME)
}

/// The file that says the cluster was made to its end.
pub fn marker(access: &Access) -> Utf8PathBuf {
    access.folder.join("embedded.json")
}

/// The kwokctl configuration.
pub fn config_path(access: &Access) -> Utf8PathBuf {
    access.folder.join("kwokctl.yaml")
}

/// The context that kwokctl writes before it is renamed.
pub fn raw_context() -> String {
    format!("kwok-{NAME}")
}

/// kwokctl for this cluster, told its home and the kubectl that it looks for on PATH.
pub fn kwokctl(access: &Access, config: &Cluster) -> Command {
    Command::new(Tool::Kwokctl)
        .arg(format!("--name={NAME}"))
        .env("HOME", access.folder.join("home"))
        .env("KUBECACHEDIR", access.folder.join("kubectl-cache"))
        .env("KWOK_KUBE_VERSION", format!("v{}", config.kubernetes))
        .env("KWOK_RUNTIME", "binary")
        .env("PATH", Arg::SearchPath(vec![Tool::Kubectl]))
}

/// kwokctl about to make this cluster, told every binary: it would download what it is not told.
pub fn kwokctl_create(access: &Access, config: &Cluster) -> Command {
    let create = kwokctl(access, config).args(["create", "cluster"]);
    [
        ("--etcd-binary", Tool::Etcd),
        ("--kube-apiserver-binary", Tool::KubeApiserver),
        ("--kwok-controller-binary", Tool::Kwok),
    ]
    .into_iter()
    .fold(create, |command, (flag, tool)| command.arg(flag).arg(tool))
}

/// What turns objects into pods and places them, each with its name; for an API server that answers.
pub fn controllers(access: &Access) -> [(&'static str, Command); 2] {
    let folder = folder(access);
    let common = |tool| {
        Command::new(tool)
            .flag_path("--kubeconfig", folder.join("kubeconfig.yaml"))
            .args([
                // One that cannot renew its lease on a busy host ends.
                "--leader-elect=false",
                // Nobody asks them anything.
                "--secure-port=0",
            ])
    };
    let pki = folder.join("pki");
    [
        (
            "kube-controller-manager",
            common(Tool::KubeControllerManager)
                .flag_path("--root-ca-file", pki.join("ca.crt"))
                .flag_path("--service-account-private-key-file", pki.join("admin.key"))
                // A simulated node fails only with its host; on a busy one its heartbeat is late.
                .arg("--node-monitor-grace-period=10m"),
        ),
        ("kube-scheduler", common(Tool::KubeScheduler)),
    ]
}

/// The kwokctl configuration of a cluster: loopback only, no webhook admission, for nothing answers on a
/// ClusterIP and the API server would dial it over the default route.
pub fn config(config: &Cluster) -> String {
    let mut text = String::from(
        "# Written by `cargo xtask local-up` and `rehearse`; remade whenever the cluster is.\n\
         apiVersion: config.kwok.x-k8s.io/v1alpha1\n\
         kind: KwokctlConfiguration\n",
    );
    writeln!(
        text,
        "options:\n  runtime: binary\n  bindAddress: 127.0.0.1\n  kubeVersion: v{}\n  quietPull: true\n  kubeAuthorization: true",
        config.kubernetes
    )
    .expect("a string takes everything");
    // kwokctl would look for ports from the same number downwards, and two that start at once take the same.
    for option in PORTS {
        writeln!(text, "  {option}: {FREE_PORT}").expect("a string takes everything");
    }
    for option in LATER {
        writeln!(text, "  {option}: true").expect("a string takes everything");
    }
    text.push_str("componentsPatches:\n- name: kube-apiserver\n  extraArgs:\n");
    let arguments = [
        // Without it the API server asks for the default route, which a sandbox does not have.
        ("advertise-address", "127.0.0.1"),
        // The `kubernetes` Endpoints would otherwise hold the advertised loopback address, which is refused.
        ("endpoint-reconciler-type", "none"),
        ("service-cluster-ip-range", &config.service_cidr),
        // With it the first listing by label of each kind that a stage has just defined is answered 429, and a client
        // comes back a second later (`ResilientWatchCacheInitialization`, locked on since 1.34).
        ("watch-cache", "false"),
        (
            "disable-admission-plugins",
            "MutatingAdmissionWebhook,ValidatingAdmissionWebhook",
        ),
    ];
    for (key, value) in arguments {
        writeln!(text, "  - {{key: {key}, value: \"{value}\"}}").expect("a string takes everything");
    }
    // It runs in the cluster's folder, and would take a quote or a comma of an absolute path for the end of it.
    text.push_str("- name: kwok-controller\n  extraArgs:\n  - {key: config, value: kwok.yaml, override: true}\n");
    text.push_str("---\n");
    text.push_str(SIMULATION);
    text
}

//! The embedded backend: kwokctl's binary runtime, a real control plane whose nodes and pods are simulated.
//! Everything of it stands in one folder of the checkout and listens on loopback alone.

mod kubeconfig;
mod processes;
mod project;

use std::fmt::Write as _;

use camino::Utf8PathBuf;

pub use kubeconfig::check as check_kubeconfig;
pub use processes::{dead_processes, end_processes, is_running};
pub use project::copy as copy_project;

use super::access::Access;
use crate::failure::Result;
use crate::plan::{Command, Tool};
use crate::platform::Cluster;

/// The nine stages that simulate nodes, pods and volumes; one given replaces all of kwokctl's own.
const SIMULATION: &str = include_str!("simulation.yaml");

/// Name of the cluster inside its own work folder; the folder tells clusters apart.
const NAME: &str = "embedded";

/// Stands for a port that is free when the configuration is written.
pub const FREE_PORT: &str = "@free-port@";

/// Every port that a control plane listens on, by kwokctl's name.
const PORTS: [&str; 6] = [
    "etcdPort",
    "etcdPeerPort",
    "kubeApiserverPort",
    "kubeControllerManagerPort",
    "kubeSchedulerPort",
    "kwokControllerPort",
];

/// Replaces every [`FREE_PORT`] of a text by a free port of loopback, each another.
pub fn with_free_ports(text: &str) -> Result<String> {
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

/// Where kwokctl keeps the cluster.
pub fn folder(access: &Access) -> Utf8PathBuf {
    access.folder.join("kwok/clusters").join(NAME)
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

/// kwokctl for this cluster, told its folder and every binary.
pub fn kwokctl(access: &Access, facts: &Cluster) -> Command {
    Command::new(Tool::Kwokctl)
        .arg(format!("--name={NAME}"))
        .env("HOME", access.folder.join("home"))
        .env("KUBECACHEDIR", access.folder.join("kubectl-cache"))
        .env("KWOK_CONTROLLER_BINARY", Tool::Kwok)
        .env("KWOK_ETCD_BINARY", Tool::Etcd)
        .env("KWOK_KUBECTL_BINARY", Tool::Kubectl)
        .env("KWOK_KUBE_APISERVER_BINARY", Tool::KubeApiserver)
        .env("KWOK_KUBE_CONTROLLER_MANAGER_BINARY", Tool::KubeControllerManager)
        .env("KWOK_KUBE_SCHEDULER_BINARY", Tool::KubeScheduler)
        .env("KWOK_KUBE_VERSION", format!("v{}", facts.kubernetes))
        .env("KWOK_RUNTIME", "binary")
        .env("KWOK_WORKDIR", access.folder.join("kwok"))
}

/// The kwokctl configuration of a cluster: loopback only, no webhook admission, for nothing answers on a
/// ClusterIP and the API server would dial it over the default route.
pub fn config(facts: &Cluster) -> String {
    let mut text = String::from(
        "# Written by `cargo xtask local-up` and `rehearse`; remade whenever the cluster is.\n\
         apiVersion: config.kwok.x-k8s.io/v1alpha1\n\
         kind: KwokctlConfiguration\n",
    );
    writeln!(
        text,
        "options:\n  runtime: binary\n  bindAddress: 127.0.0.1\n  kubeVersion: v{}\n  quietPull: true\n  kubeAuthorization: true",
        facts.kubernetes
    )
    .expect("a string takes everything");
    // kwokctl would look for ports from the same number downwards, and two that start at once take the same.
    for option in PORTS {
        writeln!(text, "  {option}: {FREE_PORT}").expect("a string takes everything");
    }
    text.push_str("componentsPatches:\n- name: kube-apiserver\n  extraArgs:\n");
    let arguments = [
        // Without it the API server asks for the default route, which a sandbox does not have.
        ("advertise-address", "127.0.0.1"),
        // The `kubernetes` Endpoints would otherwise hold the advertised loopback address, which is refused.
        ("endpoint-reconciler-type", "none"),
        ("service-cluster-ip-range", &facts.service_cidr),
        (
            "disable-admission-plugins",
            "MutatingAdmissionWebhook,ValidatingAdmissionWebhook",
        ),
    ];
    for (key, value) in arguments {
        writeln!(text, "  - {{key: {key}, value: \"{value}\"}}").expect("a string takes everything");
    }
    text.push_str("---\n");
    text.push_str(SIMULATION);
    text
}

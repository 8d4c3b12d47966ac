//! The embedded backend: kwokctl's binary runtime, a real control plane whose nodes and pods are simulated.
//! Everything of it stands in one folder of the checkout and listens on loopback alone, and every listener asks for a
//! certificate that lies in that folder: another user of the host gets no answer.

mod kubeconfig;
mod processes;
mod project;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

pub use kubeconfig::OwnKubeconfig;
pub use processes::{EndProcesses, dead_processes, end_processes, is_running, stopped_components};
pub use project::EmbeddedProject;

use super::access::Access;
use crate::base::failure::{FREE_SPACE, Failure, Result};
use crate::base::files::free_bytes;
use crate::base::text::bytes;
use crate::call::Caller;
use crate::command::{Arg, Command, Tool};
use crate::platform::Cluster;

/// The nine stages that simulate nodes, pods and volumes; one given replaces all of kwokctl's own.
const SIMULATION: &str = include_str!("simulation.yaml");

/// Name of the cluster inside its own work folder; the folder tells clusters apart.
const NAME: &str = "embedded";

/// What a placeholder for a port that is free when the configuration is written begins and ends with; its name is
/// between them, and the same name is the same port.
const FREE_PORT: (&str, &str) = ("@free-port:", "@");

/// Every port that a control plane listens on, by kwokctl's name.
const PORTS: [&str; 4] = ["etcdPort", "etcdPeerPort", "kubeApiserverPort", "kwokControllerPort"];

/// Components that kwokctl leaves out. It starts all at once, and these two end when the API server is not healthy
/// within their first ten seconds (`WaitForAPIServer` of kube-controller-manager, 1.35), as on a busy host.
const LATER: [&str; 2] = ["disableKubeControllerManager", "disableKubeScheduler"];

/// Bytes of disk that a control plane has to find before it is made: etcd alone reserves 128 MiB for its log.
pub const ROOM_TO_MAKE: u64 = 256 << 20;

/// Bytes of disk that one which was made before needs to start again.
pub const ROOM_TO_START: u64 = 32 << 20;

/// Checks that the disk has room: without it each component waits for another, and none says why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DiskRoom {
    /// Folder that will be written, relative to the root.
    pub folder: Utf8PathBuf,
    /// Bytes that have to be free.
    pub bytes: u64,
}

impl DiskRoom {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        match free_bytes(&on.root.join(&self.folder)) {
            Some(free) if free < self.bytes => Err(Failure::preflight(format!(
                "the disk is full: only {} are free in `{}`, and a control plane needs {}; nothing was changed",
                bytes(free),
                self.folder,
                bytes(self.bytes)
            ))
            .hinted(FREE_SPACE)),
            _ => Ok(()),
        }
    }
}

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

/// The placeholder of one port.
fn free_port(name: &str) -> String {
    format!("{}{name}{}", FREE_PORT.0, FREE_PORT.1)
}

/// Replaces every placeholder of a text by a free port of loopback, another for each name.
fn with_free_ports(text: &str) -> Result<String> {
    let mut parts = text.split(FREE_PORT.0);
    let mut result = parts.next().unwrap_or_default().to_owned();
    // All are held until the last is chosen, so that none is chosen twice.
    let mut held: BTreeMap<&str, TcpListener> = BTreeMap::new();
    for part in parts {
        let Some((name, rest)) = part.split_once(FREE_PORT.1) else {
            return Err(Failure::unexpected(format!(
                "the placeholder of a port has no end: `{part}`"
            )));
        };
        let listener = match held.entry(name) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?),
        };
        write!(result, "{}{rest}", listener.local_addr()?.port()).expect("a string takes everything");
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
        writeln!(text, "  {option}: {}", free_port(option)).expect("a string takes everything");
    }
    for option in LATER {
        writeln!(text, "  {option}: true").expect("a string takes everything");
    }
    text.push_str("componentsPatches:\n");
    for (component, arguments) in [
        ("etcd", etcd_arguments()),
        ("kube-apiserver", api_server_arguments(config)),
        ("kwok-controller", kwok_arguments()),
    ] {
        writeln!(text, "- name: {component}\n  extraArgs:").expect("a string takes everything");
        for argument in arguments {
            writeln!(text, "  - {argument}").expect("a string takes everything");
        }
    }
    text.push_str("---\n");
    text.push_str(SIMULATION);
    text
}

/// An argument that kwokctl adds to a component's own.
fn more(key: &str, value: impl std::fmt::Display) -> String {
    format!("{{key: {key}, value: \"{value}\"}}")
}

/// An argument in the place of the one that kwokctl gives a component.
fn instead(key: &str, value: impl std::fmt::Display) -> String {
    format!("{{key: {key}, value: \"{value}\", override: true}}")
}

/// The certificates that kwokctl makes, as seen from the cluster's folder, in which every component runs: it would
/// take a quote or a comma of an absolute path for the end of it.
const AUTHORITY: &str = "pki/ca.crt";
const CERTIFICATE: &str = "pki/admin.crt";
const PRIVATE_KEY: &str = "pki/admin.key";

/// etcd has no users of its own: who reaches it in clear text reads and writes every Secret. So it answers those who
/// show a certificate of this cluster, which lies in a folder of one user, and it does not answer browsers.
fn etcd_arguments() -> Vec<String> {
    let url = |port| format!("https://127.0.0.1:{}", free_port(port));
    let mut arguments = vec![
        instead("listen-client-urls", url("etcdPort")),
        instead("advertise-client-urls", url("etcdPort")),
        instead("listen-peer-urls", url("etcdPeerPort")),
        instead("initial-advertise-peer-urls", url("etcdPeerPort")),
        instead("initial-cluster", format!("node0={}", url("etcdPeerPort"))),
        more("enable-grpc-gateway", "false"),
    ];
    for prefix in ["", "peer-"] {
        arguments.extend([
            more(&format!("{prefix}client-cert-auth"), "true"),
            more(&format!("{prefix}trusted-ca-file"), AUTHORITY),
            more(&format!("{prefix}cert-file"), CERTIFICATE),
            more(&format!("{prefix}key-file"), PRIVATE_KEY),
        ]);
    }
    arguments
}

fn api_server_arguments(config: &Cluster) -> Vec<String> {
    vec![
        instead("etcd-servers", format!("https://127.0.0.1:{}", free_port("etcdPort"))),
        more("etcd-cafile", AUTHORITY),
        more("etcd-certfile", CERTIFICATE),
        more("etcd-keyfile", PRIVATE_KEY),
        // Another user of the host is anonymous.
        more("anonymous-auth", "false"),
        // Without it the API server asks for the default route, which a sandbox does not have.
        more("advertise-address", "127.0.0.1"),
        // The `kubernetes` Endpoints would otherwise hold the advertised loopback address, which is refused.
        more("endpoint-reconciler-type", "none"),
        more("service-cluster-ip-range", &config.service_cidr),
        // With it the first listing by label of each kind that a stage has just defined is answered 429, and a client
        // comes back a second later (`ResilientWatchCacheInitialization`, locked on since 1.34).
        more("watch-cache", "false"),
        more(
            "disable-admission-plugins",
            "MutatingAdmissionWebhook,ValidatingAdmissionWebhook",
        ),
    ]
}

fn kwok_arguments() -> Vec<String> {
    vec![
        instead("config", "kwok.yaml"),
        // Its server plays the kubelet of every simulated node and asks for no credentials; nothing here needs one.
        instead("server-address", ""),
        instead("node-port", "0"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_is_the_same_port_and_another_name_is_another() {
        let text = format!("{0} {1} {0}", free_port("a"), free_port("b"));
        let ports: Vec<u16> = with_free_ports(&text)
            .unwrap()
            .split(' ')
            .map(|port| port.parse().unwrap())
            .collect();
        assert_eq!(ports[0], ports[2]);
        assert_ne!(ports[0], ports[1]);
        assert!(with_free_ports("@free-port:a").is_err());
    }
}

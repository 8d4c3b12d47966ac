//! What ClusterAPI is to a plan: its providers and where they come from, its controllers as host processes, and
//! what listings of its objects mean. It runs nothing.

pub mod dns;
mod graph;
mod look;
mod pivot;
mod preflight;
mod project;
pub mod provider_preflight;
pub mod providers;
mod repository;
mod requirements;
pub mod status;

use camino::Utf8PathBuf;

use super::access::Access;
use crate::command::{Command, Tool};

pub use graph::{Graph, LocateObjects, Located, MoveDone, MoveGraph, MovePossible, Place};
pub use look::{EndpointAddress, Want, address, open_wants, tree};
pub use pivot::{DistinctClusters, Pivot, PivotDone, PivotState, RecordPivot, StageAllowed};
pub use preflight::MovePreflight;
pub use project::{InMemoryProject, ProjectPart, part_of};
pub use providers::{Provider, Role};
pub use repository::{ClusterctlConfiguration, Fit, ProviderComponents, ProviderModule};
pub use requirements::{Machine, ReadRequirements, Requirements};

/// The label with which clusterctl takes an object along.
pub const MOVE: &str = "clusterctl.cluster.x-k8s.io/move";

/// The annotation that forbids a move for now.
pub const BLOCK_MOVE: &str = "clusterctl.cluster.x-k8s.io/block-move";

/// The annotation that an object to be deleted after a move carries, so that no webhook forbids it.
pub const DELETE_FOR_MOVE: &str = "clusterctl.cluster.x-k8s.io/delete-for-move";

/// Where pid files, logs and the kubeconfig of the controllers are that run as host processes.
pub fn controllers(access: &Access) -> Utf8PathBuf {
    access.folder.join("controllers")
}

/// The kubeconfig of those controllers; its path tells their processes from others.
pub fn controllers_kubeconfig(access: &Access) -> Utf8PathBuf {
    controllers(access).join("kubeconfig")
}

/// The first port of the first manager.
const FIRST_PORT: u16 = 9440;

/// Ports of a manager: health, diagnostics, webhooks.
const PORTS_EACH: u16 = 3;

/// Where the in-memory provider listens in any case: its own server, and the first workload cluster's API.
const IN_MEMORY: [u16; 2] = [19000, 20000];

/// Every port that the managers of a rehearsal take.
pub fn ports() -> Vec<u16> {
    (FIRST_PORT..FIRST_PORT + 4 * PORTS_EACH).chain(IN_MEMORY).collect()
}

/// Name, health port and command of each manager that runs as a host process. Every port is fixed: they listen on
/// all interfaces, so such a cluster has a network namespace of its own.
pub fn managers(access: &Access, pki: &Utf8PathBuf) -> Vec<(&'static str, u16, Command)> {
    let all = [
        ("capi-core", Tool::CapiCore),
        ("capi-bootstrap", Tool::CapiBootstrap),
        ("capi-control-plane", Tool::CapiControlPlane),
        ("capi-dev", Tool::CapiDev),
    ];
    let mut managers = Vec::new();
    let mut port = FIRST_PORT;
    for (name, tool) in all {
        let command = Command::new(tool)
            .flag_path("--kubeconfig", controllers_kubeconfig(access))
            .flag_path("--webhook-cert-dir", pki)
            // Any pair will do: no webhook is ever called.
            .args([
                "--webhook-cert-name=admin.crt",
                "--webhook-key-name=admin.key",
                "--leader-elect=false",
            ])
            .arg("--skip-crd-migration-phases=StorageVersionMigration,CleanupManagedFields")
            .arg(format!("--health-addr=127.0.0.1:{port}"))
            .arg(format!("--diagnostics-address=127.0.0.1:{}", port + 1))
            .arg(format!("--webhook-port={}", port + 2))
            .env("HOME", access.folder.join("home"))
            .env("POD_IP", "127.0.0.1")
            .env("POD_NAME", name)
            .env("POD_NAMESPACE", "capd-system")
            .env("POD_UID", name);
        managers.push((name, port, command));
        port += PORTS_EACH;
    }
    managers
}

/// clusterctl for a cluster, with a configuration that names local providers alone.
pub fn clusterctl(access: &Access, configuration: &Utf8PathBuf) -> Command {
    Command::new(Tool::Clusterctl)
        .flag_path("--config", configuration)
        .env("CLUSTERCTL_DISABLE_VERSIONCHECK", "true")
        .env("HOME", access.folder.join("home"))
        .env("XDG_CONFIG_HOME", access.folder.join("home/.config"))
        .env("XDG_CACHE_HOME", access.folder.join("home/.cache"))
}

/// The flags of `clusterctl init` that install these providers and no other.
pub fn init_flags(providers: &[&Provider]) -> Vec<String> {
    [Role::Core, Role::Bootstrap, Role::ControlPlane, Role::Infrastructure]
        .into_iter()
        .filter_map(|role| match providers.iter().find(|provider| provider.role == role) {
            Some(provider) => Some(format!("--{}={}:{}", role.name(), provider.name, provider.version)),
            // A first call would add the newest of each; a dash says none. The core is there by then.
            None if matches!(role, Role::Bootstrap | Role::ControlPlane) => Some(format!("--{}=-", role.name())),
            None => None,
        })
        .collect()
}

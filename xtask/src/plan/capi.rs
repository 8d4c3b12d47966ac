//! What plans say about ClusterAPI: questions about its objects, and functions over what was listed of them.
//! Data only; `cluster::capi` knows the answers.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// What is asked of the ClusterAPI objects that a command lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Want {
    /// A control-plane Machine has an address.
    Address,
    /// The Cluster's infrastructure is there and its control plane is initialised.
    ControlPlane,
    /// At least so many Machines are there, each Running, with its node, and of its present generation; the
    /// Cluster is not paused and its controllers have looked at it.
    Running {
        /// Machines.
        machines: u32,
    },
    /// There is no object in the list.
    Nothing,
    /// The list has this provider at this version.
    Provider(Provider),
}

/// A provider as clusterctl installs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Provider {
    /// clusterctl's name: `cluster-api`, `kubeadm`, `hetzner`.
    pub name: String,
    /// What it provides.
    pub role: Role,
    /// Version with its `v`.
    pub version: String,
    /// Release series, `major.minor`, for its metadata.
    pub series: String,
    /// Contract of that series.
    pub contract: String,
    /// Image of its manager without tag; the version is the tag.
    pub image: String,
    /// Namespace it is installed in.
    pub namespace: String,
}

/// What a provider provides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The core controllers.
    Core,
    /// Bootstrap data of machines.
    Bootstrap,
    /// Control planes.
    ControlPlane,
    /// Machines and networks.
    Infrastructure,
}

impl Role {
    /// The flag of `clusterctl init`, and the name of the components file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Bootstrap => "bootstrap",
            Self::ControlPlane => "control-plane",
            Self::Infrastructure => "infrastructure",
        }
    }

    /// The type in `clusterctl.yaml` and in the inventory of a cluster.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Core => "CoreProvider",
            Self::Bootstrap => "BootstrapProvider",
            Self::ControlPlane => "ControlPlaneProvider",
            Self::Infrastructure => "InfrastructureProvider",
        }
    }
}

impl Provider {
    /// The folder in a local repository, which is also the name of its inventory entry.
    pub fn label(&self) -> String {
        match self.role {
            Role::Core => self.name.clone(),
            role => format!("{}-{}", role.name(), self.name),
        }
    }
}

/// How components are changed on their way into the local repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// Nothing but the image.
    Cluster,
    /// Without webhooks and conversion: on an embedded cluster nothing answers on a ClusterIP.
    Embedded,
}

/// One of the functions over files that ClusterAPI needs; every path is relative to the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Capi {
    /// Whether a downloaded module has the pinned sum; links its folder.
    Module {
        /// Output of `go mod download -json`.
        download: Utf8PathBuf,
        /// The pin, as `go.sum` has it.
        sum: String,
        /// Link to the module's folder.
        link: Utf8PathBuf,
    },
    /// Makes a provider's part of the local repository.
    Components {
        /// Output of `kubectl kustomize`.
        rendered: Utf8PathBuf,
        /// The provider.
        provider: Provider,
        /// How it is changed.
        fit: Fit,
        /// The local repository.
        repository: Utf8PathBuf,
    },
    /// Writes `clusterctl.yaml` for a local repository.
    Configuration {
        /// Every provider.
        providers: Vec<Provider>,
        /// The local repository.
        repository: Utf8PathBuf,
        /// The file.
        to: Utf8PathBuf,
    },
    /// What a capi project will ask its provider for.
    Wanted {
        /// The project.
        project: Utf8PathBuf,
        /// JSON file of the type `cluster::capi::Wanted`.
        to: Utf8PathBuf,
    },
    /// Copies a capi project with in-memory infrastructure in the place of the real one.
    InMemory {
        /// The project.
        from: Utf8PathBuf,
        /// Control-plane machines.
        control_planes: u32,
        /// Workers by MachineDeployment; others get none.
        workers: BTreeMap<String, u32>,
        /// Folder of the copy; replaced whole.
        to: Utf8PathBuf,
    },
    /// Copies a project with some phases alone.
    Part {
        /// The project.
        from: Utf8PathBuf,
        /// The phases.
        phases: Vec<String>,
        /// Folder of the copy; replaced whole.
        to: Utf8PathBuf,
    },
    /// The address of the first control-plane machine, and what a person has to know of its record.
    Address {
        /// `kubectl get machines … -o json`.
        machines: Utf8PathBuf,
        /// JSON file `{ "address": "…" }`.
        to: Utf8PathBuf,
    },
    /// Tells a person which record to set.
    Tell(super::dns::Record),
    /// Whether two clusters are two.
    Elsewhere {
        /// `kube-system` of the one.
        one: Utf8PathBuf,
        /// `kube-system` of the other.
        other: Utf8PathBuf,
    },
    /// Everything that must be true before a move pauses anything; all problems at once.
    Preflight {
        /// Namespace of the objects.
        namespace: String,
        /// Secrets that must go along, by name.
        secrets: Vec<String>,
        /// Those that carry the label, `secret/NAME` a line.
        labelled: Utf8PathBuf,
        /// Providers, contracts and objects of the source.
        source: Utf8PathBuf,
        /// Providers, nodes and objects of the target.
        target: Utf8PathBuf,
        /// Whether this plan itself has paused the source: then that is no problem.
        ours: Utf8PathBuf,
    },
    /// Which objects a backup has: what a move has to bring over.
    Graph {
        /// Folder of `clusterctl move --to-directory`.
        backup: Utf8PathBuf,
        /// JSON file of the type `cluster::capi::Graph`.
        to: Utf8PathBuf,
    },
    /// Where the objects of a graph are now, and what that means for the move.
    Locate {
        /// What has to move.
        graph: Utf8PathBuf,
        /// What the source has of it.
        source: Utf8PathBuf,
        /// What the target has of it.
        target: Utf8PathBuf,
        /// JSON file of the type `cluster::capi::Located`.
        to: Utf8PathBuf,
        /// JSON list of what may be deleted from the source, for the target has it.
        leftovers: Utf8PathBuf,
    },
    /// Whether a move can go on from here: nothing is lost, nothing of two clusters is mixed.
    Movable {
        /// What `Locate` wrote.
        located: Utf8PathBuf,
    },
    /// Whether everything is on the target and nothing on the source.
    Moved {
        /// What `Locate` wrote.
        located: Utf8PathBuf,
    },
    /// The record of a pivot as a ConfigMap.
    Record {
        /// What is recorded.
        pivot: Pivot,
        /// What has to move, with the UIDs it has before.
        graph: Utf8PathBuf,
        /// What `Locate` wrote, if it has been.
        located: Option<Utf8PathBuf>,
        /// JSON file of the object.
        to: Utf8PathBuf,
    },
    /// Whether a pivot is done, as this host has recorded it.
    Pivoted {
        /// The record; missing where no move has begun.
        record: Utf8PathBuf,
    },
    /// Whether stage capi may go to a cluster: not to the bootstrap cluster once a move of its objects has begun,
    /// and not to the workload cluster before they are there.
    Guard {
        /// The cluster that the stage would go to.
        cluster: String,
        /// The cluster it describes.
        describes: String,
        /// The ConfigMap of the pivot there; empty where there is none.
        record: Utf8PathBuf,
        /// The record on this host; missing where there is none.
        here: Utf8PathBuf,
        /// Clusters that the workload cluster has; missing or empty where it cannot be asked.
        elsewhere: Utf8PathBuf,
        /// Nonce of the run that asks: a move that itself has begun, and not carried out, is no other's.
        run: String,
    },
}

/// A pivot, as both clusters record it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Pivot {
    /// The workload cluster.
    pub cluster: String,
    /// Where its objects were.
    pub from: String,
    /// Where they go.
    pub to: String,
    /// Nonce of the run.
    pub run: String,
    /// How far it is.
    pub state: PivotState,
}

/// How far a pivot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PivotState {
    /// The move may have begun.
    Started,
    /// Everything is on the target, and its controllers have looked at it.
    Done,
}

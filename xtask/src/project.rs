//! A stage project: the kluctl project of one (cluster, stage) pair and its description, `stage.json`.
//! It reads and describes; it neither renders nor deploys.

use serde::{Deserialize, Serialize};

use crate::platform::{Environment, Stage};

/// The schema version of `stage.json` that this binary reads.
pub const SCHEMA: u32 = 1;

/// `stage.json`: what the renderer put where, and what a deploy waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StageDescription {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// Cluster the project is for.
    pub cluster: String,
    /// Stage the project is.
    pub stage: Stage,
    /// Environment of the cluster.
    pub environment: Environment,
    /// Value of the label `kluctl.io/discriminator`.
    pub discriminator: String,
    /// Phases in order; each has at least one item.
    pub phases: Vec<String>,
    /// Items in the order of `deployment.yaml`.
    pub items: Vec<Item>,
    /// Waits after a phase, for what kluctl does not judge.
    pub gates: Vec<Gate>,
    /// Charts with their pins, for people and for `golden diff`.
    pub charts: Vec<Chart>,
}

/// One item folder of the project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Item {
    /// Folder below the project's root, `NN-component` or `NN-component-crds`.
    pub directory: String,
    /// Component the objects belong to.
    pub component: String,
    /// Phase the item is deployed in.
    pub phase: String,
    /// Whether kluctl waits for this item's objects.
    pub wait_readiness: bool,
    /// Whether a barrier follows the item.
    pub barrier: bool,
}

/// Something to wait for after a phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Gate {
    /// Unique in the stage, `component.what`.
    pub id: String,
    /// Component that states the gate.
    pub component: String,
    /// Phase after which it is held.
    pub phase: String,
    /// What must exist in the cluster for the gate to be able to hold.
    pub needs: GateNeeds,
    /// Object that is looked at.
    pub object: ObjectRef,
    /// What must be true of it.
    pub condition: GateCondition,
    /// Deadline in seconds.
    pub timeout_seconds: u64,
}

/// What a gate needs in order to be able to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateNeeds {
    /// The API server alone.
    Api,
    /// Nodes and pods, real or simulated.
    Kubelet,
    /// A controller that runs in a real pod; simulated on the embedded backend.
    Controller,
}

/// Names one object of the API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ObjectRef {
    /// `group/version`, or `version` for the core group.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name; empty means every object of the kind that the selector finds.
    pub name: String,
}

/// What a gate asks of its object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", tag = "type")]
pub enum GateCondition {
    /// The object exists and is not terminating.
    Exists,
    /// `status.conditions[type]` has this status, and its observedGeneration is the object's.
    Condition {
        /// Condition type, for example `Ready`.
        condition: String,
        /// `True`, `False` or `Unknown`.
        status: String,
    },
    /// The value at a JSON pointer equals this text.
    Field {
        /// RFC 6901 pointer.
        pointer: String,
        /// Expected value as text.
        value: String,
    },
    /// Every wanted pod of a Deployment, StatefulSet or DaemonSet is ready, and there is at least one.
    PodsReady,
    /// A Service has at least one ready endpoint.
    EndpointsReady,
    /// Every node is Ready.
    NodesReady,
    /// No node carries this taint.
    NodesWithoutTaint {
        /// Key of the taint.
        taint: String,
    },
    /// Exactly one StorageClass is the default.
    OneDefaultStorageClass,
}

/// A pinned chart source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Chart {
    /// Component that renders it.
    pub component: String,
    /// Release name.
    pub release: String,
    /// Namespace of the release.
    pub namespace: String,
    /// Chart version.
    pub version: String,
    /// Where it comes from, as a URL or `github:owner/repo/rev`.
    pub source: String,
    /// SRI hash of the source.
    pub hash: String,
    /// Values handed to the chart.
    pub values: serde_json::Value,
}

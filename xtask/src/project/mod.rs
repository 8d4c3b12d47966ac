//! A stage project: the kluctl project of one (cluster, stage) pair and its description, `stage.json`.
//! It reads, describes and copies; it neither renders nor deploys.

mod enclosure;
pub mod form;
pub mod kinds;
pub mod named;
pub mod resources;
pub mod sound;
mod write;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::platform::{Environment, Stage};

pub use enclosure::enclose;
pub use write::{copy, replace};

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
    /// Folder below the project's root, `NN-component`, `NN-component-crds` before it, `NN-component-custom` after it.
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

/// Group, kind, namespace and name of an object, whatever version it is served in.
pub type Identity = (String, String, String, String);

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

/// Annotation with the digest of the object itself, without this annotation.
pub const DIGEST: &str = "vanixiets.dev/digest";

/// A project that was read from a folder.
#[derive(Debug, Clone)]
pub struct Project {
    /// `stage.json`.
    pub description: StageDescription,
    /// Objects by item, in the order of the items and of the files in them.
    pub items: Vec<ItemObjects>,
    /// Whose fields are left to other managers, or taken from them.
    pub conflict_rules: Vec<form::ConflictRule>,
}

/// The objects of one item.
#[derive(Debug, Clone)]
pub struct ItemObjects {
    /// The item.
    pub item: Item,
    /// Its files in name order, which is the order kluctl applies them in.
    pub objects: Vec<Object>,
}

/// One object of a project.
#[derive(Debug, Clone)]
pub struct Object {
    /// File below the item's folder.
    pub file: String,
    /// The object.
    pub value: serde_json::Value,
}

impl Project {
    /// Reads a project: its description and every object; one that is not in the closed form is refused.
    pub fn read(folder: &Utf8Path) -> Result<Self> {
        let description = StageDescription::read_alone(folder)?;
        let conflict_rules = form::read(folder, &description)?;
        // A run reads its project half a dozen times, and most of that is parsing.
        let items = std::thread::scope(|scope| {
            let read: Vec<_> = description
                .items
                .iter()
                .map(|item| scope.spawn(|| read_item(&folder.join(&item.directory))))
                .collect();
            let items = description.items.iter().zip(read);
            items
                .map(|(item, read)| {
                    let unread = || Failure::unexpected(format!("reading `{}` panicked", item.directory));
                    Ok(ItemObjects {
                        item: item.clone(),
                        objects: read.join().map_err(|_| unread())??,
                    })
                })
                .collect::<Result<Vec<_>>>()
        })?;
        Ok(Self {
            description,
            items,
            conflict_rules,
        })
    }

    /// Refuses a project without objects: everything that the cluster has of it would be orphaned.
    pub fn refuse_empty(&self) -> Result<()> {
        if self.objects().next().is_some() {
            return Ok(());
        }
        Err(
            Failure::refused("the project has no object: the stage was rendered empty; nothing was changed")
                .hinted("an empty rendering is a fault of the rendering; look at it first"),
        )
    }

    /// Keeps some items, and of these what `keep` leaves. A barrier behind an item that goes still stands before what
    /// comes after it.
    pub fn retain_items(&mut self, keep: impl FnMut(&mut ItemObjects) -> bool) {
        retain(&mut self.items, keep, |item| &mut item.item.barrier);
        self.description.items = self.items.iter().map(|item| item.item.clone()).collect();
    }

    /// Every object with the item it belongs to.
    pub fn objects(&self) -> impl Iterator<Item = (&Item, &Object)> {
        self.items
            .iter()
            .flat_map(|item| item.objects.iter().map(move |object| (&item.item, object)))
    }
}

impl StageDescription {
    /// Reads `stage.json` of a project; a project that is not in the closed form is refused.
    pub fn read(folder: &Utf8Path) -> Result<Self> {
        let description = Self::read_alone(folder)?;
        form::read(folder, &description)?;
        Ok(description)
    }

    /// Reads `stage.json`, and looks at nothing beside it.
    fn read_alone(folder: &Utf8Path) -> Result<Self> {
        let path = folder.join("stage.json");
        let text = fs_err::read_to_string(&path).or_fail(Kind::Config, "no stage project here")?;
        Self::parse(&text, path.as_str())
    }

    /// Reads the text of a `stage.json`, its schema version first; `name` is what it is called in failures.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let unreadable = |error: serde_json::Error| Failure::config(format!("`{name}` cannot be used: {error}"));
        let version: Version = serde_json::from_str(text).map_err(unreadable)?;
        if version.schema != SCHEMA {
            return Err(Failure::config(format!(
                "`{name}` has schema {}, this xtask reads schema {SCHEMA}",
                version.schema
            ))
            .hinted("use the xtask of the same checkout"));
        }
        let description = serde_json::from_str(text).map_err(unreadable)?;
        let problems = form::name_problems(&description);
        if problems.is_empty() {
            return Ok(description);
        }
        Err(
            Failure::many(Kind::Config, format!("`{name}` cannot be used"), &problems)
                .hinted("the names of a stage become folders, labels and arguments; render it again"),
        )
    }

    /// Keeps some items, with the barriers as `Project::retain_items` leaves them.
    pub fn retain_items(&mut self, mut keep: impl FnMut(&Item) -> bool) {
        retain(&mut self.items, |item| keep(item), |item| &mut item.barrier);
    }

    /// SHA-256 of the description: what a plan was made from.
    pub fn digest(&self) -> String {
        crate::base::formats::json::sha256(serde_json::to_string(self).expect("plain data"))
    }
}

fn retain<T>(items: &mut Vec<T>, mut keep: impl FnMut(&mut T) -> bool, barrier: impl Fn(&mut T) -> &mut bool) {
    let mut kept: Vec<T> = Vec::with_capacity(items.len());
    for mut item in items.drain(..) {
        if keep(&mut item) {
            kept.push(item);
        } else if let (true, Some(before)) = (*barrier(&mut item), kept.last_mut()) {
            *barrier(before) = true;
        }
    }
    *items = kept;
}

impl Object {
    /// What the object is called.
    pub fn reference(&self) -> ObjectRef {
        ObjectRef::of(&self.value)
    }

    /// The digest that the renderer gave it.
    pub fn digest(&self) -> Option<&str> {
        digest_of(&self.value)
    }
}

/// The digest annotation of an object, rendered or live.
pub fn digest_of(object: &serde_json::Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(DIGEST)?.as_str()
}

impl ObjectRef {
    /// What an object is called; absent parts are empty.
    pub fn of(object: &serde_json::Value) -> Self {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Self {
            api_version: text("/apiVersion"),
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
        }
    }

    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The object whatever version it is served in: group, kind, namespace, name.
    pub fn identity(&self) -> Identity {
        (
            self.group().to_owned(),
            self.kind.clone(),
            self.namespace.clone(),
            self.name.clone(),
        )
    }
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&name_of(self.group(), &self.kind, &self.namespace, &self.name))
    }
}

impl ObjectRef {
    /// The name of the object with its group, also where the kind alone is clear; the core group has no name.
    pub fn full_name(&self) -> String {
        match self.group() {
            "" => join(&self.kind, &self.namespace, &self.name),
            group => join(&format!("{}.{group}", self.kind), &self.namespace, &self.name),
        }
    }

    /// The name of the object without its group, as a person may write it.
    pub fn short_name(&self) -> String {
        join(&self.kind, &self.namespace, &self.name)
    }
}

/// What an object is called everywhere: `Kind/namespace/name`, and `Kind.group/namespace/name` where the kind may be
/// one of several groups, which is with every group that is not Kubernetes' own. Cluster-scoped objects have no
/// namespace.
pub fn name_of(group: &str, kind: &str, namespace: &str, name: &str) -> String {
    if is_builtin(group) {
        join(kind, namespace, name)
    } else {
        join(&format!("{kind}.{group}"), namespace, name)
    }
}

fn join(kind: &str, namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        format!("{kind}/{name}")
    } else {
        format!("{kind}/{namespace}/{name}")
    }
}

/// Whether the API server itself serves a group.
pub fn is_builtin(group: &str) -> bool {
    matches!(group, "" | "apps" | "batch" | "autoscaling" | "policy" | "extensions")
        || (group.ends_with(".k8s.io")
            && matches!(
                group,
                "admissionregistration.k8s.io"
                    | "apiextensions.k8s.io"
                    | "apiregistration.k8s.io"
                    | "authentication.k8s.io"
                    | "authorization.k8s.io"
                    | "certificates.k8s.io"
                    | "coordination.k8s.io"
                    | "discovery.k8s.io"
                    | "events.k8s.io"
                    | "flowcontrol.apiserver.k8s.io"
                    | "networking.k8s.io"
                    | "node.k8s.io"
                    | "rbac.authorization.k8s.io"
                    | "resource.k8s.io"
                    | "scheduling.k8s.io"
                    | "storage.k8s.io"
            ))
}

/// Reads the objects of an item; lists are taken apart, as kluctl does.
fn read_item(folder: &Utf8Path) -> Result<Vec<Object>> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder).or_fail(Kind::Config, "an item of the stage is missing")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let lower = name.to_ascii_lowercase();
        if lower.ends_with(".yaml") || lower.ends_with(".yml") {
            names.push(name);
        }
    }
    names.sort_unstable();
    let mut objects = Vec::new();
    for name in names {
        let path = folder.join(&name);
        let text = fs_err::read_to_string(&path)?;
        let documents =
            documents(&text).map_err(|error| Failure::config(format!("`{path}` cannot be read: {error}")))?;
        for document in documents {
            open_list(document, &mut |value| {
                objects.push(Object {
                    file: name.clone(),
                    value,
                });
            });
        }
    }
    Ok(objects)
}

/// Gives each object of a document, in the order in which they stand; lists are opened to any depth.
fn open_list(mut document: serde_json::Value, give: &mut impl FnMut(serde_json::Value)) {
    if !is_list(&document) {
        give(document);
        return;
    }
    if let Some(serde_json::Value::Array(items)) = document.get_mut("items").map(serde_json::Value::take) {
        for item in items {
            open_list(item, give);
        }
    }
}

/// `List` of the core group, and the typed lists that servers answer with. A custom kind that ends so has a name.
pub fn is_list(document: &serde_json::Value) -> bool {
    let Some(kind) = document.get("kind").and_then(serde_json::Value::as_str) else {
        return false;
    };
    kind == "List"
        || (kind.ends_with("List") && document.get("items").is_some() && document.pointer("/metadata/name").is_none())
}

/// The documents of a file. A renderer writes JSON, which is read as such: as YAML it takes ten times as long.
fn documents(text: &str) -> Result<Vec<serde_json::Value>, crate::base::formats::yaml::Error> {
    if text.starts_with('{')
        && let Ok(value) = crate::base::formats::json::read(text)
    {
        return Ok(vec![value]);
    }
    crate::base::formats::yaml::read(text)
}

//! Fields of project objects that a person or a tool has beside kluctl, and that the project does not: they are in no
//! rendering, so no digest and no lost leaf tells of them. Found in `managedFields`, as Kubernetes records them
//! (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>).
//! What a controller writes is its own affair, and so is what the API server fills in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ownership::{self, KLUCTL};
use crate::project::ObjectRef;

/// Annotation in which `kubectl apply` without `--server-side` keeps what it sent.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Annotations that tools leave behind at their work and that mean nothing to the object.
const MARKS: [&str; 3] = [
    LAST_APPLIED,
    "kubectl.kubernetes.io/restartedAt",
    "deployment.kubernetes.io/revision",
];

/// Parts of an object for which the API server has no defaults: whoever has a field there has written it.
const WITHOUT_DEFAULTS: [&str; 5] = ["metadata", "data", "binaryData", "stringData", "rules"];

/// Managers behind which a person or a tool stands, by the beginning of their names.
const BY_HAND: [&str; 15] = [
    "kubectl",
    "k9s",
    "helm",
    "Helm",
    "Lens",
    "OpenLens",
    "Freelens",
    "node-fetch",
    "Headlamp",
    "headlamp",
    "dashboard",
    "Terraform",
    "terraform",
    "pulumi",
    "OpenAPI-Generator",
];

/// Managers that write a whole object at once: what they have of a `spec` may be a default of the API server's.
const WHOLE: [&str; 8] = [
    "kubectl-client-side-apply",
    "kubectl-create",
    "kubectl-replace",
    "kubectl-run",
    "kubectl-expose",
    "helm",
    "Helm",
    "OpenAPI-Generator",
];

/// Installers that may have made an object before kluctl took it.
const INSTALLERS: [&str; 3] = ["clusterctl", "deploy@", "k3s"];

/// A field that another manager has and the project does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ForeignField {
    /// Path, as people write it.
    pub path: String,
    /// The manager.
    pub manager: String,
    /// When it last wrote the object; empty where the record does not say.
    pub time: String,
}

/// The fields of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Foreign {
    /// The object.
    pub object: ObjectRef,
    /// Its foreign fields.
    pub fields: Vec<ForeignField>,
}

/// A field that kluctl applied before and the project no longer has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LeavingField {
    /// Path, as people write it.
    pub path: String,
    /// The keys of `managedFields` that lead to it.
    pub keys: Vec<String>,
}

impl std::fmt::Display for ForeignField {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} (`{}`", self.path, self.manager)?;
        if !self.time.is_empty() {
            write!(formatter, " at {}", self.time)?;
        }
        formatter.write_str(")")
    }
}

pub(super) fn is_by_hand(manager: &str) -> bool {
    // Flux and k3s have a `helm-controller`, which is no person's hand.
    let is_controller = manager.contains("controller") || manager.contains("operator");
    !is_controller && BY_HAND.iter().any(|name| manager.starts_with(name))
}

pub(super) fn is_installer(manager: &str) -> bool {
    INSTALLERS.iter().any(|name| manager.starts_with(name))
}

/// One entry of `managedFields`.
pub(super) struct Entry<'a> {
    pub(super) manager: &'a str,
    operation: &'a str,
    pub(super) time: &'a str,
    fields: &'a Value,
}

impl Entry<'_> {
    fn is_kluctl(&self) -> bool {
        self.manager == KLUCTL
    }

    /// Whether what it has of a `spec` may come from the API server's defaults; what is applied is recorded exactly.
    fn is_whole(&self) -> bool {
        self.operation != "Apply" && WHOLE.iter().any(|name| self.manager.starts_with(name))
    }

    /// Whether a path of keys is in its set.
    pub(super) fn has(&self, keys: &[String]) -> bool {
        let mut set = self.fields;
        for key in keys {
            match set.get(key) {
                Some(below) => set = below,
                None => return is_leaf(set) && !std::ptr::eq(set, self.fields),
            }
        }
        true
    }
}

/// Every entry but those of a status.
pub(super) fn entries(live: &Value) -> Vec<Entry<'_>> {
    let list = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|entry| {
            let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
            (text("subresource") != "status").then_some(Entry {
                manager: text("manager"),
                operation: text("operation"),
                time: text("time"),
                fields: entry.get("fieldsV1")?,
            })
        })
        .collect()
}

pub(super) fn applied(live: &Value) -> Option<&Value> {
    let list = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let mut own = list.into_iter().flatten().filter(|entry| is_own(entry));
    own.next()?.get("fieldsV1")
}

/// Whether an entry of `managedFields` is what kluctl applies.
pub(super) fn is_own(entry: &Value) -> bool {
    entry["manager"] == KLUCTL
        && entry["operation"] == "Apply"
        && entry
            .get("subresource")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .is_empty()
}

fn is_leaf(set: &Value) -> bool {
    set.as_object().is_none_or(|set| set.keys().all(|key| key == "."))
}

/// The value of an object at a path of keys.
pub(super) fn at<'a>(object: &'a Value, keys: &[String]) -> Option<&'a Value> {
    keys.iter().try_fold(object, |value, key| below(value, key))
}

fn below<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match key.strip_prefix("f:") {
        Some(field) => value.get(field),
        None => value
            .as_array()?
            .iter()
            .find(|element| ownership::is_element(key, element)),
    }
}

/// A path as people write it, longer by a key.
fn longer(path: &str, key: &str) -> String {
    if let Some(field) = key.strip_prefix("f:") {
        return match (path, field.contains(['.', '/'])) {
            ("", _) => field.to_owned(),
            (_, true) => format!("{path}[{field}]"),
            (_, false) => format!("{path}.{field}"),
        };
    }
    let shown = match key.strip_prefix("k:").map(serde_json::from_str::<Value>) {
        Some(Ok(Value::Object(keys))) => {
            let keys = keys.iter().map(|(name, value)| match value.as_str() {
                Some(text) => format!("{name}={text}"),
                None => format!("{name}={value}"),
            });
            keys.collect::<Vec<_>>().join(",")
        }
        _ => key.split_once(':').map_or(key, |(_, value)| value).to_owned(),
    };
    format!("{path}[{shown}]")
}

/// Whether a key at this depth is one that a project says something of.
fn counts(keys: &[String], key: &str) -> bool {
    if key == "." {
        return false;
    }
    match keys {
        [] => !matches!(key, "f:apiVersion" | "f:kind" | "f:status"),
        [top] if top == "f:metadata" => matches!(key, "f:labels" | "f:annotations"),
        [.., above] => {
            let name = key.strip_prefix("f:").unwrap_or(key);
            let is_mark = above == "f:annotations" && MARKS.contains(&name);
            // The API server labels each namespace with its own name, whoever makes it.
            let is_own_name = above == "f:labels" && name == "kubernetes.io/metadata.name";
            !is_mark && !is_own_name && !name.starts_with("kluctl.io/") && name != crate::project::DIGEST
        }
    }
}

/// The foreign fields of a live object, the highest place of each.
pub fn fields(rendered: &Value, live: &Value) -> Vec<ForeignField> {
    let entries = entries(live);
    if !entries.iter().any(|entry| is_by_hand(entry.manager)) {
        return Vec::new();
    }
    let nothing = json!({});
    let last_applied = live
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(LAST_APPLIED))
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    let mut found: BTreeMap<String, ForeignField> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| is_by_hand(entry.manager)) {
        let mut search = Search {
            entry,
            entries: &entries,
            last_applied: last_applied.as_ref(),
            keys: Vec::new(),
            found: &mut found,
        };
        search.walk(
            entry.fields,
            Some(applied(live).unwrap_or(&nothing)),
            Some(rendered),
            live,
            "",
        );
    }
    found.into_values().collect()
}

/// Managers that have something of a live object which a reset would make kluctl's.
pub fn managers(live: &Value) -> Vec<String> {
    let mut managers: Vec<String> = entries(live)
        .into_iter()
        .filter(|entry| {
            (is_by_hand(entry.manager) || is_installer(entry.manager)) && says_more(entry.fields, &mut Vec::new())
        })
        .map(|entry| entry.manager.to_owned())
        .collect();
    managers.sort_unstable();
    managers.dedup();
    managers
}

/// Whether a set has more than marks of tools.
fn says_more(set: &Value, keys: &mut Vec<String>) -> bool {
    set.as_object().into_iter().flatten().any(|(key, deeper)| {
        if !counts(keys, key) {
            return false;
        }
        keys.push(key.clone());
        let more =
            is_leaf(deeper) && deeper.as_object().is_none_or(|deeper| deeper.is_empty()) || says_more(deeper, keys);
        keys.pop();
        more
    })
}

struct Search<'a> {
    entry: &'a Entry<'a>,
    entries: &'a [Entry<'a>],
    last_applied: Option<&'a Value>,
    keys: Vec<String>,
    found: &'a mut BTreeMap<String, ForeignField>,
}

impl Search<'_> {
    /// Goes down one set beside kluctl's, the rendered and the live value of the same place.
    fn walk(&mut self, set: &Value, own: Option<&Value>, rendered: Option<&Value>, live: &Value, path: &str) {
        for (key, deeper) in set.as_object().into_iter().flatten() {
            if !counts(&self.keys, key) {
                continue;
            }
            let Some(there) = below(live, key) else { continue };
            let path = longer(path, key);
            let ours = own.and_then(|own| own.get(key));
            let wanted = rendered.and_then(|rendered| below(rendered, key));
            self.keys.push(key.clone());
            match (ours, wanted) {
                // The metadata of every object is partly kluctl's.
                (None, None) if self.keys.len() > 1 || key != "f:metadata" => self.note(&path, there),
                // kluctl has everything below, or another manager took it, which is a lost field.
                (Some(ours), _) if is_leaf(ours) && key != "f:metadata" => {}
                _ if is_leaf(deeper) => {}
                _ => self.walk(deeper, ours, wanted, there, &path),
            }
            self.keys.pop();
        }
    }

    fn note(&mut self, path: &str, there: &Value) {
        let top = self.keys[0].strip_prefix("f:").unwrap_or_default();
        let may_be_default = self.entry.is_whole() && !WITHOUT_DEFAULTS.contains(&top);
        let was_sent = self
            .last_applied
            .is_some_and(|sent| self.entry.manager == "kubectl-client-side-apply" && at(sent, &self.keys).is_some());
        let of_a_controller = self.entries.iter().any(|other| {
            !other.is_kluctl() && !is_by_hand(other.manager) && !is_installer(other.manager) && other.has(&self.keys)
        });
        if ownership::is_empty(there) || of_a_controller || (may_be_default && !was_sent) {
            return;
        }
        self.found.entry(path.to_owned()).or_insert_with(|| ForeignField {
            path: path.to_owned(),
            manager: self.entry.manager.to_owned(),
            time: self.entry.time.to_owned(),
        });
    }
}

/// What kluctl has of a live object and the project no longer does, the highest place of each.
pub fn leaving(rendered: &Value, live: &Value) -> Vec<LeavingField> {
    let mut found = Vec::new();
    if let Some(own) = applied(live) {
        leaves(own, Some(rendered), &mut Vec::new(), "", &mut found);
    }
    found
}

fn leaves(own: &Value, rendered: Option<&Value>, keys: &mut Vec<String>, path: &str, found: &mut Vec<LeavingField>) {
    for (key, deeper) in own.as_object().into_iter().flatten() {
        if !counts(keys, key) {
            continue;
        }
        let path = longer(path, key);
        keys.push(key.clone());
        match rendered.and_then(|rendered| below(rendered, key)) {
            None if keys.len() > 1 || key != "f:metadata" => found.push(LeavingField {
                path,
                keys: keys.clone(),
            }),
            _ if is_leaf(deeper) => {}
            wanted => leaves(deeper, wanted, keys, &path, found),
        }
        keys.pop();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::live) fn live(object: Value, entries: Value) -> Value {
        let mut object = object;
        object["metadata"]["managedFields"] = entries;
        object
    }

    fn shown(rendered: &Value, live: &Value) -> Vec<String> {
        fields(rendered, live).iter().map(ToString::to_string).collect()
    }

    pub(in crate::live) fn own(fields: Value) -> Value {
        json!({"manager": "kluctl", "operation": "Apply", "apiVersion": "v1", "fieldsV1": fields})
    }

    pub(in crate::live) fn other(manager: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": "Update", "apiVersion": "v1", "time": "T", "fieldsV1": fields})
    }

    #[test]
    fn what_a_person_added_is_named_and_what_a_controller_writes_is_not() {
        let rendered = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"template": {"spec": {"containers": [{"name": "c"}]}}}});
        let container = "k:{\"name\":\"c\"}";
        let ours = json!({"f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {"f:template": {"f:spec": {"f:containers": {container: {".": {}, "f:name": {}}}}}}});
        let hand = json!({"f:metadata": {"f:labels": {"f:team": {}}, "f:annotations": {".": {}, "f:kubectl.kubernetes.io/restartedAt": {}}},
            "f:spec": {"f:template": {"f:spec": {"f:nodeSelector": {},
                "f:containers": {container: {"f:env": {".": {}, "k:{\"name\":\"DEBUG\"}": {".": {}, "f:name": {}, "f:value": {}}}}}}}},
            "f:status": {"f:replicas": {}}});
        let controller =
            json!({"f:metadata": {"f:annotations": {"f:deployment.kubernetes.io/revision": {}, "f:other": {}}}});
        let there = json!({"metadata": {"labels": {"app": "a", "team": "x"}, "annotations": {"kubectl.kubernetes.io/restartedAt": "now", "other": "1"}},
            "spec": {"template": {"spec": {"nodeSelector": {"disk": "fast"},
                "containers": [{"name": "c", "env": [{"name": "DEBUG", "value": "1"}]}]}}}, "status": {"replicas": 1}});
        let there = live(
            there,
            json!([
                own(ours),
                other("kubectl-edit", hand),
                other("kube-controller-manager", controller)
            ]),
        );
        assert_eq!(managers(&there), ["kubectl-edit"]);
        assert_eq!(
            shown(&rendered, &there),
            [
                "metadata.labels.team (`kubectl-edit` at T)",
                "spec.template.spec.containers[name=c].env (`kubectl-edit` at T)",
                "spec.template.spec.nodeSelector (`kubectl-edit` at T)",
            ]
        );
    }

    #[test]
    fn a_default_that_kubectl_was_given_is_not_foreign_and_what_it_sent_is() {
        let rendered = json!({"spec": {"replicas": 1}});
        let sent = json!({"spec": {"replicas": 1, "paused": true}}).to_string();
        let set = json!({"f:spec": {"f:replicas": {}, "f:paused": {}, "f:progressDeadlineSeconds": {}}});
        let there = json!({"metadata": {"annotations": {LAST_APPLIED: sent}},
            "spec": {"replicas": 1, "paused": true, "progressDeadlineSeconds": 600}});
        let ours = own(json!({"f:spec": {"f:replicas": {}}}));
        let by = |manager: &str| live(there.clone(), json!([ours.clone(), other(manager, set.clone())]));
        assert_eq!(
            shown(&rendered, &by("kubectl-client-side-apply")),
            ["spec.paused (`kubectl-client-side-apply` at T)"]
        );
        assert_eq!(shown(&rendered, &by("kubectl-create")), Vec::<String>::new());
        assert_eq!(
            shown(&rendered, &by("kubectl-patch")).len(),
            2,
            "a patch records what it changed"
        );
        for controller in ["some-operator", "helm-controller"] {
            assert_eq!(shown(&rendered, &by(controller)), Vec::<String>::new(), "{controller}");
            assert_eq!(managers(&by(controller)), Vec::<String>::new(), "{controller}");
        }
    }

    #[test]
    fn a_mark_of_a_tool_is_nothing_to_take_back() {
        let mark = json!({"f:spec": {"f:template": {"f:metadata": {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/restartedAt": {}}}}}});
        let there = live(
            json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}),
            json!([
                own(json!({"f:spec": {"f:template": {}}})),
                other("kubectl-rollout", mark)
            ]),
        );
        assert_eq!(managers(&there), Vec::<String>::new());
        assert_eq!(shown(&json!({"spec": {"template": {}}}), &there), Vec::<String>::new());
    }

    #[test]
    fn the_name_that_the_api_server_labels_a_namespace_with_is_nobodys_addition() {
        let labels = json!({"f:metadata": {"f:labels": {".": {}, "f:kubernetes.io/metadata.name": {}}}});
        let there = live(
            json!({"metadata": {"labels": {"kubernetes.io/metadata.name": "n"}}}),
            json!([
                own(json!({"f:metadata": {"f:labels": {"f:app": {}}}})),
                other("kubectl-create", labels)
            ]),
        );
        assert_eq!(
            shown(&json!({"metadata": {"labels": {}}}), &there),
            Vec::<String>::new()
        );
        assert_eq!(managers(&there), Vec::<String>::new());
    }

    #[test]
    fn what_a_controller_has_too_is_its_own() {
        let rendered = json!({"spec": {"a": 1}});
        let set = json!({"f:spec": {"f:replicas": {}}});
        let there = live(
            json!({"spec": {"a": 1, "replicas": 3}}),
            json!([
                own(json!({"f:spec": {"f:a": {}}})),
                other("kubectl", set.clone()),
                other("autoscaler", set)
            ]),
        );
        assert_eq!(shown(&rendered, &there), Vec::<String>::new());
    }

    #[test]
    fn what_leaves_the_project_is_what_kluctl_has_and_the_project_does_not() {
        let rendered = json!({"metadata": {"labels": {"app": "a"}}, "data": {"keep": "1"}});
        let ours = json!({"f:metadata": {"f:labels": {"f:app": {}, "f:old": {}, "f:kluctl.io/discriminator": {}}},
            "f:data": {"f:keep": {}, "f:debug": {}}, "f:immutable": {}});
        let found = leaving(&rendered, &live(json!({}), json!([own(ours)])));
        let mut paths: Vec<&str> = found.iter().map(|field| field.path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["data.debug", "immutable", "metadata.labels.old"]);
    }
}

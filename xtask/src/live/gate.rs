//! Gates: what must be true after a phase, judged from a listing of objects.
//! For what kluctl does not judge, or judges wrongly; it only looks.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::failure::Result;
use crate::base::ui::Status;
use crate::call::Caller;
use crate::project::{Gate, GateCondition, GateNeeds, ObjectRef};

/// Says by name which gates are only simulated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SimulatedGates {
    /// The gates.
    pub gates: Vec<Gate>,
}

impl SimulatedGates {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        for gate in &self.gates {
            on.ui.status(
                Status::Skipped,
                format!(
                    "gate `{}`: not checked: its controller does not run on the embedded backend",
                    gate.id
                ),
            );
        }
        Ok(())
    }
}

/// Gates that do not hold, a sentence each, the first the most telling.
pub fn open_gates(gates: &[Gate], list: &Value) -> Vec<String> {
    let none = Vec::new();
    let items = list.get("items").and_then(Value::as_array).unwrap_or(&none);
    gates
        .iter()
        .filter_map(|gate| why_open(gate, items).map(|reason| format!("gate `{}`: {reason}", gate.id)))
        .collect()
}

/// Resources to list for these gates, as kubectl names them: `kind.version.group`, sorted.
pub fn resources(gates: &[Gate]) -> Vec<String> {
    let mut resources: Vec<String> = gates
        .iter()
        .map(|gate| match gate.condition {
            GateCondition::EndpointsReady => "EndpointSlice.v1.discovery.k8s.io".to_owned(),
            _ => resource(&gate.object),
        })
        .collect();
    resources.sort_unstable();
    resources.dedup();
    resources
}

fn resource(object: &ObjectRef) -> String {
    match object.api_version.split_once('/') {
        Some((group, version)) => format!("{}.{version}.{group}", object.kind),
        // kubectl takes `kind.version.` for the core group.
        None => format!("{}.{}.", object.kind, object.api_version),
    }
}

/// Whether a backend can hold a gate: an embedded cluster runs no controller of the stage.
pub fn can_hold(gate: &Gate, embedded: bool) -> bool {
    !embedded || gate.needs != GateNeeds::Controller
}

fn why_open(gate: &Gate, items: &[Value]) -> Option<String> {
    match &gate.condition {
        GateCondition::EndpointsReady => endpoints(&gate.object, items),
        GateCondition::NodesReady => nodes(items, |node| {
            let ready = condition(node, "Ready").and_then(|found| found.get("status")?.as_str());
            (ready != Some("True")).then(|| "not Ready".to_owned())
        }),
        GateCondition::NodesWithoutTaint { taint } => nodes(items, |node| {
            let taints = node.pointer("/spec/taints").and_then(Value::as_array);
            let found = taints
                .into_iter()
                .flatten()
                .any(|found| found.get("key").and_then(Value::as_str) == Some(taint));
            found.then(|| format!("carries taint `{taint}`"))
        }),
        GateCondition::OneDefaultStorageClass => {
            let defaults = items
                .iter()
                .filter(|item| is_kind(item, "StorageClass"))
                .filter(|item| {
                    item.get("metadata")
                        .and_then(|metadata| metadata.get("annotations"))
                        .and_then(|annotations| annotations.get("storageclass.kubernetes.io/is-default-class"))
                        .and_then(Value::as_str)
                        == Some("true")
                })
                .count();
            (defaults != 1).then(|| format!("{defaults} default storage classes, one is needed"))
        }
        other => {
            let named: Vec<&Value> = items.iter().filter(|item| matches(&gate.object, item)).collect();
            if named.is_empty() {
                return Some(format!("{} does not exist yet", gate.object));
            }
            named.into_iter().find_map(|object| {
                why_object(object, other).map(|reason| format!("{} {reason}", ObjectRef::of(object)))
            })
        }
    }
}

fn why_object(object: &Value, wanted: &GateCondition) -> Option<String> {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Some("is terminating".to_owned());
    }
    match wanted {
        GateCondition::Exists => None,
        GateCondition::Condition {
            condition: name,
            status,
        } => {
            let Some(found) = condition(object, name) else {
                return Some(format!("has no condition `{name}` yet"));
            };
            let seen = found.get("status").and_then(Value::as_str).unwrap_or_default();
            if seen != status {
                let reason = found.get("reason").and_then(Value::as_str).unwrap_or("no reason");
                let message = found.get("message").and_then(Value::as_str).unwrap_or_default();
                return Some(format!("has {name}={seen}, not {status} ({reason}: {message})"));
            }
            behind(
                object,
                found
                    .get("observedGeneration")
                    .or_else(|| object.pointer("/status/observedGeneration")),
            )
        }
        GateCondition::Field { pointer, value } => {
            let seen = object
                .pointer(pointer)
                .map(crate::base::files::text_of)
                .unwrap_or_default();
            if seen != *value {
                return Some(format!("has `{seen}` at `{pointer}`, not `{value}`"));
            }
            if pointer.starts_with("/status/") {
                behind(object, object.pointer("/status/observedGeneration"))
            } else {
                None
            }
        }
        GateCondition::PodsReady => pods(object),
        GateCondition::EndpointsReady
        | GateCondition::NodesReady
        | GateCondition::NodesWithoutTaint { .. }
        | GateCondition::OneDefaultStorageClass => None,
    }
}

/// Why not every wanted pod of a workload is ready. At least one is wanted: kluctl takes a DaemonSet with no
/// ready pod on one node for ready.
fn pods(object: &Value) -> Option<String> {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    if let Some(reason) = behind(object, object.pointer("/status/observedGeneration")) {
        return Some(reason);
    }
    let (wanted, ready, updated) = if is_kind(object, "DaemonSet") {
        (
            number("/status/desiredNumberScheduled").unwrap_or(0),
            number("/status/numberReady").unwrap_or(0),
            number("/status/updatedNumberScheduled").unwrap_or(0),
        )
    } else {
        (
            number("/spec/replicas").unwrap_or(1),
            number("/status/readyReplicas").unwrap_or(0),
            number("/status/updatedReplicas").unwrap_or(0),
        )
    };
    if wanted == 0 && is_kind(object, "DaemonSet") {
        return Some("wants no pod on any node".to_owned());
    }
    if ready < wanted {
        return Some(format!("has {ready} of {wanted} pods ready"));
    }
    (updated < wanted).then(|| format!("has {updated} of {wanted} pods updated"))
}

/// Why the status is not about the object as it is now.
fn behind(object: &Value, observed: Option<&Value>) -> Option<String> {
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64)?;
    let observed = observed.and_then(Value::as_i64)?;
    (observed < generation).then(|| format!("has a status of generation {observed}, it is at {generation}"))
}

fn endpoints(service: &ObjectRef, items: &[Value]) -> Option<String> {
    let ready = items
        .iter()
        .filter(|item| is_kind(item, "EndpointSlice"))
        .filter(|slice| {
            let label = slice
                .pointer("/metadata/labels")
                .and_then(|labels| labels.get("kubernetes.io/service-name"))
                .and_then(Value::as_str);
            let namespace = slice.pointer("/metadata/namespace").and_then(Value::as_str);
            label == Some(service.name.as_str()) && namespace == Some(service.namespace.as_str())
        })
        .flat_map(|slice| slice.get("endpoints").and_then(Value::as_array).into_iter().flatten())
        // An absent `ready` means ready, says the API.
        .any(|endpoint| {
            endpoint
                .pointer("/conditions/ready")
                .and_then(Value::as_bool)
                .unwrap_or(true)
        });
    (!ready).then(|| format!("service {}/{} has no ready endpoint", service.namespace, service.name))
}

fn nodes(items: &[Value], why: impl Fn(&Value) -> Option<String>) -> Option<String> {
    let mut nodes = items.iter().filter(|item| is_kind(item, "Node")).peekable();
    if nodes.peek().is_none() {
        return Some("there is no node yet".to_owned());
    }
    nodes.find_map(|node| why(node).map(|reason| format!("{} is {reason}", ObjectRef::of(node))))
}

fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions
        .iter()
        .find(|found| found.get("type").and_then(Value::as_str) == Some(name))
}

fn is_kind(object: &Value, kind: &str) -> bool {
    object.get("kind").and_then(Value::as_str) == Some(kind)
}

fn matches(wanted: &ObjectRef, object: &Value) -> bool {
    let found = ObjectRef::of(object);
    found.kind == wanted.kind
        && found.group() == wanted.group()
        && found.namespace == wanted.namespace
        && (wanted.name.is_empty() || found.name == wanted.name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn gate(kind: &str, condition: GateCondition) -> Gate {
        Gate {
            id: "x.ready".into(),
            component: "x".into(),
            phase: "x".into(),
            needs: GateNeeds::Api,
            object: ObjectRef {
                api_version: "apps/v1".into(),
                kind: kind.into(),
                namespace: "n".into(),
                name: "x".into(),
            },
            condition,
            timeout_seconds: 1,
        }
    }

    fn list(object: Value) -> Value {
        json!({ "items": [object] })
    }

    fn workload(kind: &str, spec: Value, status: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "x", "namespace": "n", "generation": 2}, "spec": spec, "status": status})
    }

    #[test]
    fn a_daemon_set_without_a_ready_pod_is_not_ready() {
        let gates = [gate("DaemonSet", GateCondition::PodsReady)];
        let none = workload(
            "DaemonSet",
            json!({}),
            json!({"observedGeneration": 2, "desiredNumberScheduled": 1, "numberReady": 0}),
        );
        assert_eq!(
            open_gates(&gates, &list(none)),
            ["gate `x.ready`: DaemonSet/n/x has 0 of 1 pods ready"]
        );
        let one = workload(
            "DaemonSet",
            json!({}),
            json!({"observedGeneration": 2, "desiredNumberScheduled": 1, "numberReady": 1, "updatedNumberScheduled": 1}),
        );
        assert_eq!(open_gates(&gates, &list(one)), Vec::<String>::new());
    }

    #[test]
    fn a_status_of_an_older_generation_does_not_count() {
        let gates = [gate("Deployment", GateCondition::PodsReady)];
        let old = workload(
            "Deployment",
            json!({"replicas": 1}),
            json!({"observedGeneration": 1, "readyReplicas": 1, "updatedReplicas": 1}),
        );
        assert_eq!(
            open_gates(&gates, &list(old)),
            ["gate `x.ready`: Deployment/n/x has a status of generation 1, it is at 2"]
        );
    }

    #[test]
    fn a_missing_condition_is_waited_for_and_a_false_one_is_explained() {
        let gates = [gate(
            "Thing",
            GateCondition::Condition {
                condition: "Ready".into(),
                status: "True".into(),
            },
        )];
        let without = workload("Thing", json!({}), json!({}));
        assert_eq!(
            open_gates(&gates, &list(without)),
            ["gate `x.ready`: Thing/n/x has no condition `Ready` yet"]
        );
        let refused = workload(
            "Thing",
            json!({}),
            json!({"conditions": [{"type": "Ready", "status": "False", "reason": "ErrRegister", "message": "no route"}]}),
        );
        assert_eq!(
            open_gates(&gates, &list(refused)),
            ["gate `x.ready`: Thing/n/x has Ready=False, not True (ErrRegister: no route)"]
        );
    }

    #[test]
    fn an_object_that_is_being_deleted_holds_no_gate() {
        let mut object = workload("Deployment", json!({}), json!({}));
        let gates = [gate("Deployment", GateCondition::Exists)];
        assert_eq!(open_gates(&gates, &list(object.clone())), Vec::<String>::new());
        object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(
            open_gates(&gates, &list(object)),
            ["gate `x.ready`: Deployment/n/x is terminating"]
        );
    }
}

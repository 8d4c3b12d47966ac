//! What a listing of ClusterAPI's objects says: what is still waited for, and the tree of a cluster.
//! It asks no cluster.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::providers::Provider;
use crate::base::failure::{self, Failure, Kind};
use crate::base::ui::Status;
use crate::call::Caller;

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

/// The address of the first control-plane machine, said, and written down for what sets its record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EndpointAddress {
    /// `kubectl get machines … -o json`.
    pub machines: Utf8PathBuf,
    /// JSON file `{ "address": "…" }`.
    pub to: Utf8PathBuf,
}

impl EndpointAddress {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> failure::Result<()> {
        let list = on.read_or_null(&self.machines)?;
        let address = first_address(&list).ok_or_else(|| {
            Failure::new(
                Kind::Step,
                "the control-plane machine has lost its address since it was waited for",
            )
        })?;
        on.write_json(&self.to, &json!({"address": address}))?;
        on.ui.status(Status::Checked, format!("the endpoint is at {address}"));
        Ok(())
    }
}

/// Why a listing is not as wanted, the most telling first; empty when it is.
pub fn open_wants(want: &Want, list: &Value) -> Vec<String> {
    let items = items(list);
    match want {
        Want::Nothing => items
            .iter()
            .take(5)
            .map(|item| format!("{} is there", name(item)))
            .collect(),
        Want::Provider(provider) => {
            let found = items.iter().find(|item| {
                text(item, "/providerName") == provider.name && text(item, "/type") == provider.role.kind()
            });
            match found {
                None => vec![format!("provider `{}` is not installed", provider.label())],
                Some(item) if text(item, "/version") != provider.version => vec![format!(
                    "provider `{}` is at {}, not {}",
                    provider.label(),
                    text(item, "/version"),
                    provider.version
                )],
                Some(_) => Vec::new(),
            }
        }
        Want::Address => {
            let planes: Vec<&Value> = machines(items).filter(|machine| is_control_plane(machine)).collect();
            if planes.is_empty() {
                return vec!["there is no control-plane Machine yet".to_owned()];
            }
            if first_address(list).is_some() {
                return Vec::new();
            }
            planes
                .into_iter()
                .map(|machine| format!("{} has no address yet{}", name(machine), why(machine)))
                .collect()
        }
        Want::ControlPlane => match cluster(items) {
            Err(reason) => vec![reason],
            Ok(cluster) => {
                let mut reasons = Vec::new();
                if !flag(cluster, "/status/initialization/infrastructureProvisioned") {
                    reasons.push(format!(
                        "{}: its infrastructure is not there yet{}",
                        name(cluster),
                        why(cluster)
                    ));
                }
                if !flag(cluster, "/status/initialization/controlPlaneInitialized") {
                    reasons.push(format!(
                        "{}: its control plane is not initialised yet{}",
                        name(cluster),
                        why(cluster)
                    ));
                }
                reasons
            }
        },
        Want::Running { machines: wanted } => running(items, *wanted),
    }
}

fn running(items: &[Value], wanted: u32) -> Vec<String> {
    let mut reasons = Vec::new();
    match cluster(items) {
        Err(reason) => reasons.push(reason),
        Ok(cluster) => {
            if flag(cluster, "/spec/paused") {
                reasons.push(format!("{} is paused", name(cluster)));
            }
            // A status never moves along, so one that is there was written by the controllers that look at it now.
            if text(cluster, "/status/phase") != "Provisioned" {
                reasons.push(format!(
                    "{} is in phase `{}`{}",
                    name(cluster),
                    text(cluster, "/status/phase"),
                    why(cluster)
                ));
            }
            if let (Some(generation), Some(observed)) = (
                cluster.pointer("/metadata/generation").and_then(Value::as_i64),
                cluster.pointer("/status/observedGeneration").and_then(Value::as_i64),
            ) && observed < generation
            {
                reasons.push(format!("{} was not looked at since it changed", name(cluster)));
            }
        }
    }
    let mut count = 0;
    for machine in machines(items) {
        count += 1;
        let phase = text(machine, "/status/phase");
        if machine.pointer("/metadata/deletionTimestamp").is_some() {
            reasons.push(format!("{} is being deleted", name(machine)));
        } else if phase != "Running" {
            reasons.push(format!("{} is in phase `{phase}`{}", name(machine), why(machine)));
        } else if text(machine, "/status/nodeRef/name").is_empty() {
            reasons.push(format!("{} has no node", name(machine)));
        }
    }
    if count < wanted {
        reasons.push(format!("{count} of {wanted} machines are there"));
    }
    reasons
}

/// The tree of a cluster, with what is wrong in it: data for `capi status`.
pub fn tree(list: &Value) -> Value {
    let items = items(list);
    let roots: Vec<&Value> = items.iter().filter(|item| kind(item) == "Cluster").collect();
    let mut clusters = Vec::new();
    for root in roots {
        clusters.push(branch(root, items, 0));
    }
    json!(clusters)
}

fn branch(object: &Value, items: &[Value], depth: usize) -> Value {
    let uid = text(object, "/metadata/uid");
    let conditions: Vec<Value> = object
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|condition| is_open(condition))
        .map(|condition| {
            json!({
                "type": condition.get("type"), "status": condition.get("status"),
                "reason": condition.get("reason"), "message": condition.get("message"),
            })
        })
        .collect();
    let mut children: Vec<Value> = Vec::new();
    // Ownership is no deeper than Cluster, MachineDeployment, MachineSet, Machine, and what a Machine has.
    if depth < 6 {
        for item in items {
            let owners = item.pointer("/metadata/ownerReferences").and_then(Value::as_array);
            // An object with several owners stands below its controller, or else below the first.
            let parent = owners.and_then(|owners| {
                owners
                    .iter()
                    .find(|owner| owner.get("controller") == Some(&json!(true)))
                    .or_else(|| owners.first())
            });
            if parent.is_some_and(|owner| text(owner, "/uid") == uid) {
                children.push(branch(item, items, depth + 1));
            }
        }
    }
    json!({
        "kind": kind(object), "name": text(object, "/metadata/name"),
        "namespace": text(object, "/metadata/namespace"),
        "phase": object.pointer("/status/phase"), "paused": flag(object, "/spec/paused"),
        "conditions": conditions, "children": children,
    })
}

/// Conditions that say that something is unhealthy. `True` is bad for those that name a trouble.
fn is_open(condition: &Value) -> bool {
    let kind = text(condition, "/type");
    let negative = [
        "Paused",
        "Deleting",
        "ScalingUp",
        "ScalingDown",
        "Remediating",
        "RollingOut",
        "Updating",
    ];
    let wanted = if negative.contains(&kind) { "False" } else { "True" };
    text(condition, "/status") != wanted
}

/// The objects of a listing: of a `List`, of a lone object, or of nothing.
pub(super) fn items(list: &Value) -> &[Value] {
    match list.get("items").and_then(Value::as_array) {
        Some(items) => items,
        None if list.get("kind").is_some() => std::slice::from_ref(list),
        None => &[],
    }
}

pub(super) fn machines(items: &[Value]) -> impl Iterator<Item = &Value> {
    items.iter().filter(|item| kind(item) == "Machine")
}

pub(super) fn cluster(items: &[Value]) -> Result<&Value, String> {
    let mut clusters = items
        .iter()
        .filter(|item| kind(item) == "Cluster" && text(item, "/apiVersion").starts_with("cluster.x-k8s.io/"));
    match (clusters.next(), clusters.next()) {
        (Some(cluster), None) => Ok(cluster),
        (None, _) => Err("there is no Cluster yet".to_owned()),
        (Some(_), Some(_)) => Err("there are several Clusters in the namespace, one is expected".to_owned()),
    }
}

pub(super) fn is_control_plane(machine: &Value) -> bool {
    machine
        .pointer("/metadata/labels")
        .is_some_and(|labels| labels.get("cluster.x-k8s.io/control-plane").is_some())
}

/// The address that the endpoint has to have: of a control-plane machine that has its node, or else of the oldest.
/// A list is in the order of random names, and a machine that has not joined yet cannot be joined through.
pub(super) fn first_address(list: &Value) -> Option<&str> {
    let mut planes: Vec<&Value> = machines(items(list))
        .filter(|machine| is_control_plane(machine) && address(machine).is_some())
        .filter(|machine| machine.pointer("/metadata/deletionTimestamp").is_none())
        .collect();
    planes.sort_by_key(|machine| {
        (
            text(machine, "/status/nodeRef/name").is_empty(),
            text(machine, "/metadata/creationTimestamp"),
            text(machine, "/metadata/name"),
        )
    });
    planes.into_iter().find_map(address)
}

/// The address under which a machine is reached from outside: an A record has an IPv4 address.
pub fn address(machine: &Value) -> Option<&str> {
    let addresses = machine.pointer("/status/addresses")?.as_array()?;
    let of = |kind: &str| {
        addresses
            .iter()
            .filter(|address| text(address, "/type") == kind)
            .map(|address| text(address, "/address"))
            .find(|address| address.parse::<std::net::Ipv4Addr>().is_ok())
    };
    of("ExternalIP").or_else(|| of("InternalIP"))
}

/// The first condition that explains why something is not ready.
fn why(object: &Value) -> String {
    object
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find(|condition| is_open(condition) && !text(condition, "/message").is_empty())
        .map(|condition| {
            format!(
                " ({}: {})",
                text(condition, "/reason"),
                text(condition, "/message").replace('\n', " ")
            )
        })
        .unwrap_or_default()
}

pub(super) fn name(object: &Value) -> String {
    crate::project::ObjectRef::of(object).to_string()
}

pub(super) fn kind(object: &Value) -> &str {
    text(object, "/kind")
}

pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn flag(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster_at(phase: &str, paused: bool) -> Value {
        json!({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
            "metadata": {"name": "c", "namespace": "n", "uid": "c"}, "spec": {"paused": paused},
            "status": {"phase": phase}})
    }

    fn machine(phase: &str, node: Option<&str>) -> Value {
        json!({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
            "metadata": {"name": "m", "namespace": "n", "ownerReferences": [{"uid": "c"}]},
            "status": {"phase": phase, "nodeRef": {"name": node}}})
    }

    #[test]
    fn a_paused_cluster_is_not_running() {
        let list = json!({"items": [cluster_at("Provisioned", true), machine("Running", Some("a"))]});
        assert_eq!(
            open_wants(&Want::Running { machines: 1 }, &list),
            ["Cluster.cluster.x-k8s.io/n/c is paused"]
        );
    }

    #[test]
    fn a_machine_without_a_node_is_not_running() {
        let list = json!({"items": [cluster_at("Provisioned", false), machine("Running", None)]});
        assert_eq!(
            open_wants(&Want::Running { machines: 1 }, &list),
            ["Machine.cluster.x-k8s.io/n/m has no node"]
        );
    }

    #[test]
    fn an_empty_answer_is_no_cluster_and_nothing_is_nothing() {
        assert_eq!(
            open_wants(&Want::ControlPlane, &Value::Null),
            ["there is no Cluster yet"]
        );
        assert_eq!(open_wants(&Want::Nothing, &Value::Null), Vec::<String>::new());
    }

    fn plane(name: &str, created: &str, node: Option<&str>, addresses: &[&str]) -> Value {
        let addresses: Vec<Value> = addresses
            .iter()
            .map(|address| json!({"type": "ExternalIP", "address": address}))
            .collect();
        json!({"kind": "Machine", "metadata": {"name": name, "creationTimestamp": created,
            "labels": {"cluster.x-k8s.io/control-plane": ""}},
            "status": {"addresses": addresses, "nodeRef": {"name": node}}})
    }

    #[test]
    fn the_endpoint_leads_to_a_machine_that_has_its_node_or_else_to_the_oldest() {
        let old = plane("z", "2026-01-01T00:00:00Z", None, &["192.0.2.1"]);
        let young = plane("a", "2026-01-01T00:05:00Z", None, &["192.0.2.2"]);
        let list = json!({"items": [young, old]});
        assert_eq!(first_address(&list), Some("192.0.2.1"), "not the first of the list");
        let joined = plane("b", "2026-01-01T00:09:00Z", Some("node"), &["192.0.2.3"]);
        let list = json!({"items": [old, joined]});
        assert_eq!(first_address(&list), Some("192.0.2.3"));
    }

    #[test]
    fn a_machine_that_goes_or_has_no_ipv4_address_is_no_endpoint() {
        let mut going = plane("a", "2026-01-01T00:00:00Z", Some("node"), &["192.0.2.1"]);
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:09:00Z".into();
        assert_eq!(first_address(&json!({"items": [going]})), None);
        let both = plane("a", "2026-01-01T00:00:00Z", None, &["2001:db8::1", "192.0.2.1"]);
        assert_eq!(first_address(&json!({"items": [both]})), Some("192.0.2.1"));
        let list = json!({"items": [plane("a", "2026-01-01T00:00:00Z", None, &["2001:db8::1"])]});
        assert_eq!(open_wants(&Want::Address, &list), ["Machine/a has no address yet"]);
    }

    #[test]
    fn a_quota_that_keeps_a_machine_from_coming_is_named_while_it_is_waited_for() {
        let mut machine = plane("a", "2026-01-01T00:00:00Z", None, &[]);
        machine["status"]["conditions"] = json!([{"type": "InfrastructureReady", "status": "False",
            "reason": "ServerCreateFailed", "message": "server limit exceeded (resource_limit_exceeded)"}]);
        let open = open_wants(&Want::Address, &json!({"items": [machine]}));
        assert!(
            open[0].contains("ServerCreateFailed: server limit exceeded"),
            "{open:?}"
        );
    }

    #[test]
    fn the_tree_has_machines_below_what_owns_them() {
        let list = json!({"items": [cluster_at("Provisioned", false), machine("Running", Some("a"))]});
        assert_eq!(tree(&list)[0]["children"][0]["kind"], "Machine");
    }
}

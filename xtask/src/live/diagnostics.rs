//! What happened to an object that missed a deadline, in a few lines: its conditions, its last events, its pods and the
//! ends of their logs. It reads what was asked of the cluster, and asks nothing itself.

use serde_json::Value;

use super::foreign;
use crate::project::ObjectRef;

/// Events that are shown.
const EVENTS: usize = 5;

/// Lines of logs that are shown.
const LOG_LINES: usize = 20;

/// What is known of an object; empty when nothing is.
pub fn lines(object: &ObjectRef, found: &Value, around: &Value, logs: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if found.is_null() {
        lines.push(format!("{object} does not exist"));
    }
    lines.extend(conditions(object, found));
    let changed = foreign::fields(&Value::Null, found);
    lines.extend(
        changed
            .iter()
            .map(|field| format!("{object}: {field} is not of the project")),
    );
    lines.extend(going(found).into_iter().map(|why| format!("{object}: {why}")));
    let items: Vec<&Value> = around
        .get("items")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect();
    let pods: Vec<&Value> = items
        .iter()
        .copied()
        .filter(|item| text(item, "/kind") == "Pod" && belongs(item, object))
        .collect();
    lines.extend(pods.iter().flat_map(|pod| waiting(pod)));
    lines.extend(events(object, &pods, &items));
    let logs: Vec<&str> = logs.lines().filter(|line| !line.trim().is_empty()).collect();
    let first = logs.len().saturating_sub(LOG_LINES);
    lines.extend(logs[first..].iter().map(|line| format!("log {line}")));
    lines
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn conditions(object: &ObjectRef, found: &Value) -> Vec<String> {
    let conditions = found.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .map(|condition| {
            let because = because(text(condition, "/reason"), text(condition, "/message"));
            format!(
                "{object}: {}={}{because}",
                text(condition, "/type"),
                text(condition, "/status")
            )
        })
        .collect()
}

fn because(reason: &str, message: &str) -> String {
    match (reason, message) {
        ("", "") => String::new(),
        (reason, "") => format!(" ({reason})"),
        ("", message) => format!(" ({message})"),
        (reason, message) => format!(" ({reason}: {message})"),
    }
}

/// What holds an object that is being deleted: its finalizers, and of a namespace why its content does not go. A dead
/// APIService keeps every namespace from going.
pub fn going(found: &Value) -> Vec<String> {
    if found.pointer("/metadata/deletionTimestamp").is_none() {
        return Vec::new();
    }
    let mut why = Vec::new();
    for pointer in ["/metadata/finalizers", "/spec/finalizers"] {
        let names: Vec<&str> = found
            .pointer(pointer)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if !names.is_empty() {
            why.push(format!("held by {}", names.join(", ")));
        }
    }
    if text(found, "/kind") == "Namespace" {
        let conditions = found.pointer("/status/conditions").and_then(Value::as_array);
        for condition in conditions.into_iter().flatten() {
            let kind = text(condition, "/type");
            if text(condition, "/status") != "True" {
                continue;
            }
            why.push(format!(
                "{kind}{}",
                because(text(condition, "/reason"), text(condition, "/message"))
            ));
            if kind == "NamespaceDeletionDiscoveryFailure" {
                why.push(
                    "an APIService without a living backend keeps every namespace from going: `kubectl get \
                     apiservices` shows which is not Available; bring its backend back, or delete it"
                        .to_owned(),
                );
            }
        }
    }
    why
}

/// Whether a pod is of a workload: itself, owned by it, or owned by one of its replica sets.
fn belongs(pod: &Value, object: &ObjectRef) -> bool {
    if object.kind == "Pod" {
        return text(pod, "/metadata/name") == object.name;
    }
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().any(|owner| {
        let (kind, name) = (text(owner, "/kind"), text(owner, "/name"));
        (kind == object.kind && name == object.name)
            || (object.kind == "Deployment"
                && kind == "ReplicaSet"
                && name.rsplit_once('-').is_some_and(|(stem, _)| stem == object.name))
    })
}

/// Why a pod does not run.
fn waiting(pod: &Value) -> Vec<String> {
    let name = text(pod, "/metadata/name");
    let mut lines = Vec::new();
    for list in ["/status/initContainerStatuses", "/status/containerStatuses"] {
        let statuses = pod.pointer(list).and_then(Value::as_array);
        for status in statuses.into_iter().flatten() {
            for state in ["waiting", "terminated"] {
                if let Some(found) = status.get("state").and_then(|states| states.get(state))
                    && text(found, "/reason") != "Completed"
                {
                    lines.push(format!(
                        "pod {name}: container {} is {state}{}",
                        text(status, "/name"),
                        because(text(found, "/reason"), text(found, "/message"))
                    ));
                }
            }
        }
    }
    let unscheduled = pod.pointer("/status/conditions").and_then(Value::as_array);
    lines.extend(
        unscheduled
            .into_iter()
            .flatten()
            .filter(|condition| text(condition, "/type") == "PodScheduled" && text(condition, "/status") == "False")
            .map(|condition| {
                let because = because(text(condition, "/reason"), text(condition, "/message"));
                format!("pod {name}: is placed on no node{because}")
            }),
    );
    lines
}

/// The last events of an object, its replica sets and its pods, oldest first.
fn events(object: &ObjectRef, pods: &[&Value], items: &[&Value]) -> Vec<String> {
    let is_about = |event: &Value| {
        let (kind, name) = (text(event, "/involvedObject/kind"), text(event, "/involvedObject/name"));
        (kind == object.kind && name == object.name)
            || (kind == "ReplicaSet" && name.rsplit_once('-').is_some_and(|(stem, _)| stem == object.name))
            || (kind == "Pod" && pods.iter().any(|pod| text(pod, "/metadata/name") == name))
    };
    let mut events: Vec<&Value> = items
        .iter()
        .copied()
        .filter(|item| text(item, "/kind") == "Event" && is_about(item))
        .collect();
    events.sort_by_key(|event| time(event));
    let first = events.len().saturating_sub(EVENTS);
    events[first..]
        .iter()
        .map(|event| {
            format!(
                "event {} {} {} of {} {}: {}",
                time(event),
                text(event, "/type"),
                text(event, "/reason"),
                text(event, "/involvedObject/kind"),
                text(event, "/involvedObject/name"),
                text(event, "/message")
            )
        })
        .collect()
}

fn time(event: &Value) -> &str {
    ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
        .iter()
        .map(|pointer| text(event, pointer))
        .find(|time| !time.is_empty())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment() -> ObjectRef {
        ObjectRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: "n".into(),
            name: "web".into(),
        }
    }

    #[test]
    fn conditions_pods_events_and_logs_of_one_object_and_of_no_other() {
        let found = json!({"kind": "Deployment", "status": {"conditions": [
            {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "none"}]},
            "spec": {"paused": true}, "metadata": {"managedFields": [
                {"manager": "kluctl", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {"manager": "kubectl-patch", "operation": "Update", "time": "T", "fieldsV1": {"f:spec": {"f:paused": {}}}}]}});
        let owner = |name: &str| json!([{"kind": "ReplicaSet", "name": name}]);
        let waiting = json!({"containerStatuses": [
            {"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]});
        let event = |kind: &str, name: &str, reason: &str, time: &str| {
            json!({"kind": "Event", "type": "Warning", "reason": reason, "message": "m", "lastTimestamp": time,
                "involvedObject": {"kind": kind, "name": name}})
        };
        let around = json!({"items": [
            {"kind": "Pod", "metadata": {"name": "web-5-a", "ownerReferences": owner("web-5")}, "status": waiting},
            {"kind": "Pod", "metadata": {"name": "other-5-a", "ownerReferences": owner("other-5")}, "status": waiting},
            event("Pod", "web-5-a", "BackOff", "2"),
            event("ReplicaSet", "web-5", "SuccessfulCreate", "1"),
            event("Pod", "other-5-a", "BackOff", "3"),
        ]});
        assert_eq!(
            lines(&deployment(), &found, &around, "[pod/web-5-a/c] it broke\n\n"),
            [
                "Deployment/n/web: Available=False (MinimumReplicasUnavailable: none)",
                "Deployment/n/web: spec.paused (`kubectl-patch` at T) is not of the project",
                "pod web-5-a: container c is waiting (ImagePullBackOff: no such image)",
                "event 1 Warning SuccessfulCreate of ReplicaSet web-5: m",
                "event 2 Warning BackOff of Pod web-5-a: m",
                "log [pod/web-5-a/c] it broke",
            ]
        );
    }

    #[test]
    fn a_namespace_that_a_dead_apiservice_holds_says_so() {
        let namespace = json!({"kind": "Namespace", "metadata": {"deletionTimestamp": "t"},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"conditions": [{"type": "NamespaceDeletionDiscoveryFailure", "status": "True",
                "reason": "DiscoveryFailed", "message": "metrics.k8s.io/v1beta1: stale"}]}});
        let why = going(&namespace);
        assert_eq!(why[0], "held by kubernetes");
        assert!(why[1].contains("metrics.k8s.io/v1beta1"), "{why:?}");
        assert!(why[2].contains("kubectl get apiservices"), "{why:?}");
        assert_eq!(going(&json!({"metadata": {"finalizers": ["x"]}})), Vec::<String>::new());
    }
}

//! What must be true before a move pauses anything; every problem is found at once.
//! clusterctl's own dry run looks at none of this.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::look::{flag, items, kind, machines, name, text};
use super::providers::Role;
use super::{BLOCK_MOVE, MOVE};
use crate::base::failure::{Failure, Kind, Result};
use crate::call::Caller;

/// Everything that must be true before a move pauses anything; all problems at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MovePreflight {
    /// Namespace of the objects.
    pub namespace: String,
    /// Secrets that must go along, by name.
    pub secrets: Vec<String>,
    /// Those that carry the label, `secret/NAME` a line.
    pub labelled: Utf8PathBuf,
    /// Providers, contracts and objects of the source.
    pub source: Utf8PathBuf,
    /// Providers, nodes and objects of the target.
    pub target: Utf8PathBuf,
    /// Whether this plan itself has paused the source: then that is no problem.
    pub ours: Utf8PathBuf,
}

impl MovePreflight {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let ours = on.root.join(&self.ours).exists();
        let labelled = on.text(&self.labelled)?;
        let (source, target) = (on.read_or_null(&self.source)?, on.read_or_null(&self.target)?);
        let mut problems = problems(&self.namespace, &source, &target, ours);
        problems.extend(left_behind(&self.namespace, &self.secrets, &labelled));
        if problems.is_empty() {
            return Ok(());
        }
        Err(Failure::many(
            Kind::Preflight,
            "the move cannot begin, and nothing was paused",
            &problems,
        ))
    }
}

/// Problems, a sentence each. `ours` says that this very plan has paused the source.
pub(super) fn problems(namespace: &str, source: &Value, target: &Value, ours: bool) -> Vec<String> {
    let mut problems = providers(source, target);
    let all = items(source);
    let here: Vec<&Value> = all
        .iter()
        .filter(|item| text(item, "/metadata/namespace") == namespace)
        .collect();
    let clusters: Vec<&&Value> = here.iter().filter(|item| kind(item) == "Cluster").collect();
    if clusters.is_empty() {
        problems.push(format!(
            "the source has no Cluster in namespace `{namespace}`: a move would move nothing"
        ));
    }
    for cluster in clusters {
        if flag(cluster, "/spec/paused") && !ours {
            problems.push(format!(
                "{} is paused, and not by this run: whoever paused it has to say that it may go on",
                name(cluster)
            ));
        }
        if !flag(cluster, "/status/initialization/infrastructureProvisioned") {
            problems.push(format!("{}: its infrastructure is not provisioned", name(cluster)));
        }
        if !flag(cluster, "/status/initialization/controlPlaneInitialized") {
            problems.push(format!("{}: its control plane is not initialised", name(cluster)));
        }
    }
    for machine in machines(all).filter(|item| text(item, "/metadata/namespace") == namespace) {
        if text(machine, "/status/nodeRef/name").is_empty() {
            problems.push(format!(
                "{} has no node: its node is not up, or has no provider ID",
                name(machine)
            ));
        }
        if machine.pointer("/metadata/deletionTimestamp").is_some() {
            problems.push(format!("{} is being deleted", name(machine)));
        }
    }
    for object in &here {
        let annotations = object.pointer("/metadata/annotations");
        if annotations.is_some_and(|annotations| annotations.get(BLOCK_MOVE).is_some()) {
            problems.push(format!("{} carries `{BLOCK_MOVE}`", name(object)));
        }
        if kind(object) != "Cluster"
            && annotations.is_some_and(|annotations| annotations.get("cluster.x-k8s.io/paused").is_some())
        {
            problems.push(format!("{} carries `cluster.x-k8s.io/paused`", name(object)));
        }
    }
    problems.extend(target_problems(namespace, target));
    problems
}

/// Secrets that must go along and do not carry the label; `labelled` has `secret/NAME` a line.
pub(super) fn left_behind(namespace: &str, secrets: &[String], labelled: &str) -> Vec<String> {
    secrets
        .iter()
        .filter(|wanted| {
            !labelled
                .lines()
                .any(|line| line.strip_prefix("secret/") == Some(wanted.as_str()))
        })
        .map(|wanted| {
            format!("Secret/{namespace}/{wanted} is missing, or lacks label `{MOVE}`: the move would leave it behind")
        })
        .collect()
}

/// The target has each provider of the source, at its version or newer.
fn providers(source: &Value, target: &Value) -> Vec<String> {
    let installed = |list: &Value| -> BTreeMap<(String, String), semver::Version> {
        items(list)
            .iter()
            .filter(|item| kind(item) == "Provider")
            .filter_map(|item| {
                let version = semver::Version::parse(text(item, "/version").trim_start_matches('v')).ok()?;
                Some((
                    (text(item, "/type").to_owned(), text(item, "/providerName").to_owned()),
                    version,
                ))
            })
            .collect()
    };
    let here = installed(source);
    let there = installed(target);
    let mut problems = Vec::new();
    for role in [Role::Core, Role::Bootstrap, Role::ControlPlane, Role::Infrastructure] {
        if !here.keys().any(|(kind, _)| kind == role.kind()) {
            problems.push(format!("the source has no {}", role.kind()));
        }
    }
    for ((kind, name), version) in &here {
        match there.get(&(kind.clone(), name.clone())) {
            None => problems.push(format!("the target has no {kind} `{name}`")),
            Some(found) if found < version => problems.push(format!(
                "the target's {kind} `{name}` is at {found}, older than {version} on the source"
            )),
            Some(found) if (found.major, found.minor) != (version.major, version.minor) => problems.push(format!(
                "the target's {kind} `{name}` is at {found}, the source's at {version}: their contracts may differ"
            )),
            Some(_) => {}
        }
    }
    problems
}

fn target_problems(namespace: &str, target: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let nodes: Vec<&Value> = items(target).iter().filter(|item| kind(item) == "Node").collect();
    if !nodes.iter().any(|node| is_schedulable(node)) {
        problems.push(format!(
            "none of the target's {} nodes is Ready and free of taints: no controller could run there",
            nodes.len()
        ));
    }
    for cluster in items(target).iter().filter(|item| kind(item) == "Cluster") {
        if text(cluster, "/metadata/namespace") == namespace && !flag(cluster, "/spec/paused") {
            problems.push(format!(
                "the target has {} already, and it is not paused",
                name(cluster)
            ));
        }
    }
    problems
}

fn is_schedulable(node: &Value) -> bool {
    let taints = node.pointer("/spec/taints").and_then(Value::as_array);
    let tainted = taints
        .into_iter()
        .flatten()
        .any(|taint| ["NoSchedule", "NoExecute"].contains(&text(taint, "/effect")));
    let ready = node
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .any(|condition| text(condition, "/type") == "Ready" && text(condition, "/status") == "True");
    ready && !tainted && !flag(node, "/spec/unschedulable")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn provider(role: Role, version: &str) -> Value {
        json!({"kind": "Provider", "type": role.kind(), "providerName": role.name(), "version": version,
            "metadata": {"name": role.name(), "namespace": "x"}})
    }

    fn side(version: &str, more: Vec<Value>) -> Value {
        let mut items: Vec<Value> = [Role::Core, Role::Bootstrap, Role::ControlPlane, Role::Infrastructure]
            .map(|role| provider(role, version))
            .into();
        items.extend(more);
        json!({"items": items})
    }

    fn node(taint: Option<&str>) -> Value {
        let taints: Vec<Value> = taint
            .iter()
            .map(|effect| json!({"key": "control-plane", "effect": effect}))
            .collect();
        json!({"kind": "Node", "metadata": {"name": "a"}, "spec": {"taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    }

    fn cluster(paused: bool) -> Value {
        json!({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
            "metadata": {"name": "c", "namespace": "n"}, "spec": {"paused": paused},
            "status": {"initialization": {"infrastructureProvisioned": true, "controlPlaneInitialized": true}}})
    }

    fn found(source: &Value, target: &Value) -> Vec<String> {
        problems("n", source, target, false)
    }

    #[test]
    fn a_target_without_or_with_older_providers_is_refused() {
        let source = side("v1.13.4", vec![cluster(false)]);
        let old = found(&source, &side("v1.13.3", vec![node(None)]));
        assert_eq!(old.len(), 4, "{old:?}");
        assert!(old[0].contains("older than 1.13.4"), "{old:?}");
        let none = found(&source, &json!({"items": [node(None)]}));
        assert_eq!(none[0], "the target has no BootstrapProvider `bootstrap`");
    }

    #[test]
    fn another_minor_is_a_mismatch_of_contracts() {
        let problems = found(
            &side("v1.12.8", vec![cluster(false)]),
            &side("v1.13.4", vec![node(None)]),
        );
        assert!(
            problems.iter().all(|problem| problem.contains("contracts may differ")),
            "{problems:?}"
        );
        assert_eq!(problems.len(), 4);
    }

    #[test]
    fn a_machine_without_a_node_a_paused_cluster_and_a_block_are_all_named_at_once() {
        let machine = json!({"kind": "Machine", "metadata": {"name": "m", "namespace": "n",
            "annotations": {BLOCK_MOVE: ""}}});
        let problems = found(
            &side("v1.13.4", vec![cluster(true), machine]),
            &side("v1.13.4", vec![node(None)]),
        );
        assert_eq!(problems.len(), 3, "{problems:?}");
    }

    #[test]
    fn a_target_of_control_planes_alone_has_no_place_for_controllers() {
        let source = side("v1.13.4", vec![cluster(false)]);
        let tainted = found(&source, &side("v1.13.4", vec![node(Some("NoSchedule"))]));
        assert_eq!(tainted.len(), 1, "{tainted:?}");
        assert_eq!(
            found(&source, &side("v1.13.4", vec![node(Some("PreferNoSchedule"))])),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_secret_without_the_label_would_stay_behind() {
        let wanted = ["hetzner".to_owned()];
        assert_eq!(left_behind("n", &wanted, "secret/other\n").len(), 1);
        assert_eq!(
            left_behind("n", &wanted, "secret/other\nsecret/hetzner\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_pause_of_our_own_is_no_problem() {
        let source = side("v1.13.4", vec![cluster(true)]);
        assert_eq!(
            problems("n", &source, &side("v1.13.4", vec![node(None)]), true),
            Vec::<String>::new()
        );
    }
}

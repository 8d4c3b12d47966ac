//! How a cluster of ClusterAPI stands, judged from what both sides list: where its objects are, what is waited for,
//! and whether the bootstrap cluster may go.

use serde::Serialize;
use serde_json::Value;

use super::look::Want;
use super::look::{flag, items, kind, name, open_wants, text, tree};

/// What was seen of one side: its objects, or why it does not answer.
pub type Seen = Result<Value, String>;

/// How a cluster stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The workload cluster.
    pub cluster: String,
    /// Where its objects live: `bootstrap`, `target`, `both`, `nowhere`, or `unknown`.
    pub lives: &'static str,
    /// Whether the pivot is recorded as done on this host.
    pub pivot_recorded: bool,
    /// Trees of the bootstrap cluster, or why it does not answer.
    pub bootstrap: Side,
    /// Trees of the workload cluster itself, or why it does not answer.
    pub target: Side,
    /// What is unhealthy, or waited for, a sentence each.
    pub waiting: Vec<String>,
    /// Whether nothing is lost with the bootstrap cluster.
    pub bootstrap_may_go: bool,
    /// Whether everything is healthy.
    pub healthy: bool,
}

impl Status {
    /// Where the objects live, in words.
    pub fn place(&self) -> &'static str {
        match self.lives {
            "bootstrap" => "on the bootstrap cluster",
            "target" => "on the workload cluster itself",
            "both" => "on both clusters",
            "nowhere" => "on neither cluster",
            _ => "where it is not known",
        }
    }
}

/// One side.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Side {
    /// Why it does not answer.
    pub silent: Option<String>,
    /// A tree a Cluster.
    pub tree: Value,
}

/// Judges what was seen.
pub fn judge(cluster: &str, machines: u32, bootstrap: &Seen, target: &Seen, pivot_recorded: bool) -> Status {
    let here = bootstrap.as_ref().ok().map(has_cluster);
    let there = target.as_ref().ok().map(has_cluster);
    let lives = match (here, there) {
        (Some(true), Some(true)) => "both",
        (_, Some(true)) => "target",
        (Some(true), _) => "bootstrap",
        (Some(false), Some(false)) => "nowhere",
        _ => "unknown",
    };
    let home = if lives == "target" { target } else { bootstrap };
    let mut waiting = match lives {
        "both" if pivot_recorded => vec![format!(
            "the bootstrap cluster has `{cluster}` again though its move is done: two sets of controllers own the same machines; `cargo xtask capi down` removes the one that is not needed"
        )],
        "both" => vec![format!(
            "both clusters have `{cluster}`: a move was cut off; `--resume` of the run that began it goes on, or `cargo xtask capi move`"
        )],
        "nowhere" => vec![format!(
            "neither cluster has `{cluster}`; `cargo xtask capi bootstrap` makes it"
        )],
        "unknown" => vec![format!(
            "where the objects of `{cluster}` are cannot be told, for a cluster does not answer"
        )],
        _ => Vec::new(),
    };
    if let Ok(list) = home {
        if lives != "nowhere" {
            waiting.extend(open_wants(&Want::Running { machines }, list));
        }
        waiting.extend(items(list).iter().filter_map(terminating));
    }
    if lives == "target" && !pivot_recorded {
        waiting.push("the pivot is not recorded as done on this host".to_owned());
    }
    let left: usize = bootstrap.as_ref().map_or(0, |list| {
        items(list)
            .iter()
            .filter(|item| matches!(kind(item), "Cluster" | "Machine"))
            .count()
    });
    let bootstrap_may_go = lives == "target" && here != Some(true) && left == 0 && waiting.is_empty();
    Status {
        cluster: cluster.to_owned(),
        lives,
        pivot_recorded,
        bootstrap: side(bootstrap),
        target: side(target),
        bootstrap_may_go,
        healthy: waiting.is_empty(),
        waiting,
    }
}

fn has_cluster(list: &Value) -> bool {
    items(list)
        .iter()
        .any(|item| kind(item) == "Cluster" && text(item, "/apiVersion").starts_with("cluster.x-k8s.io/"))
}

fn terminating(object: &Value) -> Option<String> {
    let going = object.pointer("/metadata/deletionTimestamp").is_some() && !flag(object, "/spec/paused");
    (going && kind(object) != "Machine").then(|| format!("{} is being deleted", name(object)))
}

fn side(seen: &Seen) -> Side {
    match seen {
        Ok(list) => Side {
            silent: None,
            tree: tree(list),
        },
        Err(reason) => Side {
            silent: Some(reason.clone()),
            tree: Value::Array(Vec::new()),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(node: Option<&str>) -> Seen {
        Ok(json!({"items": [
            {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": {"name": "c", "namespace": "n"},
                "status": {"phase": "Provisioned"}},
            {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine", "metadata": {"name": "m", "namespace": "n"},
                "status": {"phase": "Running", "nodeRef": {"name": node}}},
        ]}))
    }

    fn empty() -> Seen {
        Ok(json!({"items": []}))
    }

    #[test]
    fn a_healthy_cluster_that_manages_itself_needs_no_bootstrap_cluster() {
        let status = judge("c", 1, &empty(), &list(Some("a")), true);
        assert_eq!(
            (status.lives, status.healthy, status.bootstrap_may_go),
            ("target", true, true)
        );
        let gone = judge("c", 1, &Err("no kubeconfig".into()), &list(Some("a")), true);
        assert!(gone.healthy, "{:?}", gone.waiting);
    }

    #[test]
    fn objects_on_both_sides_are_a_move_that_was_cut_off() {
        let status = judge("c", 1, &list(Some("a")), &list(Some("a")), false);
        assert_eq!(
            (status.lives, status.healthy, status.bootstrap_may_go),
            ("both", false, false)
        );
    }

    #[test]
    fn a_source_that_came_back_after_the_move_is_told_from_a_move_that_was_cut_off() {
        let status = judge("c", 1, &list(Some("a")), &list(Some("a")), true);
        assert!(!status.healthy && !status.bootstrap_may_go);
        assert!(
            status.waiting[0].contains("two sets of controllers"),
            "{:?}",
            status.waiting
        );
        let status = judge("c", 1, &list(Some("a")), &list(Some("a")), false);
        assert!(status.waiting[0].contains("was cut off"), "{:?}", status.waiting);
    }

    #[test]
    fn the_bootstrap_cluster_stays_while_a_machine_is_not_taken_over() {
        let status = judge("c", 1, &empty(), &list(None), true);
        assert_eq!((status.healthy, status.bootstrap_may_go), (false, false));
        assert_eq!(status.waiting, ["Machine.cluster.x-k8s.io/n/m has no node"]);
    }

    #[test]
    fn before_the_move_the_objects_live_on_the_bootstrap_cluster() {
        let status = judge("c", 1, &list(Some("a")), &Err("no kubeconfig".into()), false);
        assert_eq!(
            (status.lives, status.healthy, status.bootstrap_may_go),
            ("bootstrap", true, false)
        );
    }
}

//! What is asked of a cluster when one of its objects missed a deadline: the object, what happened around it, its logs.
//! The questions are made from the command that looked in vain, so they go to the very same cluster; they only read.

use super::{Arg, Command, Tool};
use crate::project::ObjectRef;

/// Kinds whose logs kubectl finds by themselves.
const WITH_LOGS: [&str; 6] = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Pod"];

/// Lines of a log that are asked for.
const LOG_LINES: u32 = 20;

/// Where events of objects without a namespace stand.
const CLUSTER_EVENTS: &str = "default";

/// Questions about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Questions {
    /// The object, as JSON; prints nothing when there is none.
    pub object: Command,
    /// Events and pods of its namespace, as JSON.
    pub around: Command,
    /// The ends of the logs of its pods; none for what has no pods.
    pub logs: Option<Command>,
}

/// The questions about an object, asked where this command asked; none when that cannot be told, or when no single
/// object is meant.
pub fn questions(asked: &Command, object: &ObjectRef) -> Option<Questions> {
    if object.name.is_empty() {
        return None;
    }
    let kubectl = kubectl(asked)?;
    let namespace = |name: &str| format!("--namespace={name}");
    let resource = match object.api_version.split_once('/') {
        Some((group, version)) => format!("{}.{version}.{group}", object.kind),
        None => format!("{}.{}.", object.kind, object.api_version),
    };
    let around = if object.namespace.is_empty() {
        CLUSTER_EVENTS
    } else {
        &object.namespace
    };
    Some(Questions {
        object: kubectl
            .clone()
            .args(["get", "--ignore-not-found", "--output=json", "--show-managed-fields"])
            .arg(namespace(&object.namespace))
            .arg(resource)
            .arg(object.name.as_str()),
        around: kubectl
            .clone()
            .args(["get", "events.v1.,pods.v1.", "--output=json"])
            .arg(namespace(around)),
        logs: WITH_LOGS.contains(&object.kind.as_str()).then(|| {
            kubectl
                .args(["logs", "--all-containers", "--prefix", "--ignore-errors"])
                .arg(format!("--tail={LOG_LINES}"))
                .arg(namespace(&object.namespace))
                .arg(format!("{}/{}", object.kind.to_lowercase(), object.name))
        }),
    })
}

/// kubectl for the cluster that a command of kubectl or kluctl speaks to.
fn kubectl(asked: &Command) -> Option<Command> {
    let flag = |name: &str| {
        asked
            .args
            .iter()
            .find(|arg| matches!(arg, Arg::Lit(text) if text.starts_with(name)))
    };
    let kubeconfig = asked
        .args
        .iter()
        .find_map(|arg| match arg {
            Arg::FlagPath(flag, path) if flag == "--kubeconfig" => Some(path),
            _ => None,
        })
        .or_else(|| match asked.env.get("KUBECONFIG") {
            Some(Arg::Path(path)) => Some(path),
            _ => None,
        })?;
    let mut command = Command::new(Tool::Kubectl)
        .flag_path("--kubeconfig", kubeconfig)
        .arg(flag("--context=")?.clone())
        .env("KUBERC", "off")
        .within(15);
    for name in ["HOME", "KUBECACHEDIR"] {
        if let Some(value) = asked.env.get(name) {
            command.env.insert(name.to_owned(), value.clone());
        }
    }
    Some(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(api_version: &str, kind: &str, namespace: &str) -> ObjectRef {
        ObjectRef {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: "x".into(),
        }
    }

    #[test]
    fn what_is_asked_goes_to_the_cluster_that_was_looked_at() {
        let kluctl = Command::new(Tool::Kluctl)
            .arg("deploy")
            .arg("--context=c")
            .env("KUBECONFIG", camino::Utf8PathBuf::from("k.yaml"));
        let asked = questions(&kluctl, &object("apps/v1", "Deployment", "n")).unwrap();
        let line = asked.object.shell();
        assert!(line.contains("--kubeconfig=\"$PWD\"/k.yaml --context=c"), "{line}");
        assert!(
            line.ends_with("--namespace=n Deployment.v1.apps x </dev/null"),
            "{line}"
        );
        assert!(asked.logs.unwrap().shell().contains("deployment/x"));
        let cluster_wide = questions(&kluctl, &object("v1", "Node", "")).unwrap();
        assert!(cluster_wide.around.shell().contains("--namespace=default"));
        assert_eq!(cluster_wide.logs, None);
        // Without a context it would go to whatever cluster is current.
        assert_eq!(questions(&Command::new(Tool::Kubectl), &object("v1", "Pod", "n")), None);
    }
}

//! Whether a kubeconfig still leads to the control plane that it was written for.
//! It compares files; it asks no server.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::failure::{Failure, Result};
use crate::call::Caller;

/// Whether the kubeconfig of an embedded cluster still leads to its own control plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OwnKubeconfig {
    /// The kubeconfig that everything uses.
    pub kubeconfig: Utf8PathBuf,
    /// The context in it.
    pub context: String,
    /// The one that the control plane was made with.
    pub own: Utf8PathBuf,
    /// Name of the cluster, for the message.
    pub cluster: String,
}

impl OwnKubeconfig {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        check(on.root, &self.kubeconfig, &self.context, &self.own, &self.cluster)
    }
}

/// Refuses a kubeconfig whose context is missing or leads to another server than the cluster's own.
fn check(root: &Utf8Path, kubeconfig: &Utf8Path, context: &str, own: &Utf8Path, cluster: &str) -> Result<()> {
    let remake = format!("`cargo xtask local-down --cluster {cluster}` and `local-up` make both anew");
    let Some(wanted) = read(&root.join(own)).and_then(|own| server(&own, own.get("current-context")?.as_str()?)) else {
        return Err(
            Failure::refused(format!("`{own}`, the control plane's own kubeconfig, cannot be read")).hinted(remake),
        );
    };
    let Some(given) = read(&root.join(kubeconfig)) else {
        return Err(
            Failure::refused(format!("the kubeconfig `{kubeconfig}` of `{cluster}` cannot be read")).hinted(remake),
        );
    };
    match server(&given, context) {
        Some(found) if found == wanted => Ok(()),
        Some(found) => Err(Failure::refused(format!(
            "context `{context}` of `{kubeconfig}` leads to {found}, but `{cluster}` is at {wanted}; nothing was changed"
        ))
        .hinted(format!("put the kubeconfig of `{cluster}` back, or: {remake}"))),
        None => Err(Failure::refused(format!(
            "`{kubeconfig}` has no context `{context}`: it is not the kubeconfig of `{cluster}`; nothing was changed"
        ))
        .hinted(format!("put the kubeconfig of `{cluster}` back, or: {remake}"))),
    }
}

fn read(path: &Utf8Path) -> Option<Value> {
    crate::base::formats::yaml::read_one(&fs_err::read_to_string(path).ok()?).ok()
}

fn server(kubeconfig: &Value, context: &str) -> Option<String> {
    let named = |list: &str, name: &str| {
        kubeconfig
            .get(list)?
            .as_array()?
            .iter()
            .find(|entry| entry.get("name").and_then(Value::as_str) == Some(name))
            .cloned()
    };
    let cluster = named("contexts", context)?;
    let cluster = named("clusters", cluster.pointer("/context/cluster")?.as_str()?)?;
    Some(cluster.pointer("/cluster/server")?.as_str()?.to_owned())
}

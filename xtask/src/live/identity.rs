//! The fence: a cluster is known by the UID of its `kube-system` namespace, and by nothing else.
//! Names, contexts and addresses can lead anywhere.

use camino::Utf8Path;
use serde_json::{Value, json};

use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::plan::Fenced;

/// Checks the UID in a `kube-system` object; the first contact with a local cluster is recorded.
/// Returns a sentence for people.
pub fn check(root: &Utf8Path, namespace: &Utf8Path, expected: &Fenced, cluster: &str) -> Result<String> {
    let text = fs_err::read_to_string(root.join(namespace))?;
    let object: Value = serde_json::from_str(&text).or_fail(
        Kind::Refused,
        "`kube-system` cannot be read, and an unknown cluster is not touched",
    )?;
    let uid = object
        .pointer("/metadata/uid")
        .and_then(Value::as_str)
        .filter(|uid| !uid.is_empty())
        .ok_or_else(|| Failure::refused("`kube-system` has no UID, and an unknown cluster is not touched"))?;
    check_nobody_elses(root, cluster, uid)?;
    match expected {
        Fenced::Committed(wanted) if wanted == uid => {
            Ok(format!("`{cluster}` is the cluster that the facts name ({uid})"))
        }
        Fenced::Committed(wanted) => Err(other(cluster, uid, wanted).hinted(format!(
            "if the cluster was rebuilt on purpose: `cargo xtask adopt --cluster {cluster}`"
        ))),
        Fenced::Recorded(path) => {
            let file = root.join(path);
            if !file.exists() {
                check_unrecorded(root, path, cluster, uid)?;
                let record = serde_json::to_string_pretty(&json!({"uid": uid})).expect("plain data");
                crate::base::files::write(&file, record.as_bytes(), 0o600)?;
                return Ok(format!("first contact with `{cluster}` ({uid})"));
            }
            let recorded = crate::base::files::later(root, path, "/uid").map_err(|failure| {
                Failure {
                    kind: Kind::Config,
                    ..failure
                }
                .hinted(format!("`cargo xtask adopt --cluster {cluster}` records the UID anew"))
            })?;
            if recorded.as_str() == Some(uid) {
                Ok(format!("`{cluster}` is the cluster of the first contact ({uid})"))
            } else {
                Err(
                    other(cluster, uid, recorded.as_str().unwrap_or("nothing readable")).hinted(format!(
                        "if the cluster was rebuilt on purpose: `cargo xtask adopt --cluster {cluster}`"
                    )),
                )
            }
        }
    }
}

/// Refuses a UID that the facts commit to another cluster: a kubeconfig of a local cluster that leads to production
/// must not become that local cluster, not by first contact and not by `adopt`.
pub fn check_nobody_elses(root: &Utf8Path, cluster: &str, uid: &str) -> Result<()> {
    let platform = crate::platform::facts(root)?;
    let owner = platform
        .clusters
        .iter()
        .find(|(name, facts)| *name != cluster && facts.uid.as_deref() == Some(uid));
    match owner {
        None => Ok(()),
        Some((name, facts)) => Err(Failure::refused(format!(
            "this is not cluster `{cluster}`: its kube-system has UID `{uid}`, which the facts commit to {} cluster \
             `{name}`; nothing was written",
            facts.environment.name()
        ))
        .hinted(format!(
            "put the kubeconfig of `{cluster}` where this one is, or name the cluster that is meant: `--cluster {name}`"
        ))),
    }
}

/// Refuses a first contact with a cluster that another one of this host was recorded as.
fn check_unrecorded(root: &Utf8Path, record: &Utf8Path, cluster: &str, uid: &str) -> Result<()> {
    let (Some(name), Some(clusters)) = (record.file_name(), record.parent().and_then(Utf8Path::parent)) else {
        return Ok(());
    };
    let folder = root.join(clusters);
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs_err::read_dir(&folder)? {
        let other = entry?.file_name().to_string_lossy().into_owned();
        let known = crate::base::files::later(root, &clusters.join(&other).join(name), "/uid");
        if other != cluster && known.is_ok_and(|known| known == uid) {
            return Err(Failure::refused(format!(
                "this is not cluster `{cluster}`: its kube-system has UID `{uid}`, which is that of cluster `{other}`; \
                 nothing was written"
            ))
            .hinted(format!("put the kubeconfig of `{cluster}` where this one is")));
        }
    }
    Ok(())
}

fn other(cluster: &str, uid: &str, wanted: &str) -> Failure {
    Failure::refused(format!(
        "this is not cluster `{cluster}`: its kube-system has UID `{uid}`, expected `{wanted}`; nothing was written"
    ))
    .hinted("look where the kubeconfig leads before anything else")
}

//! The cluster identity check: a cluster is known by the UID of its `kube-system` namespace, and by nothing else.
//! Names, contexts and addresses can lead anywhere.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::ui::Status;
use crate::call::Caller;

/// Whether the cluster is the one that the platform config or the first contact name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CheckClusterIdentity {
    /// `kubectl get namespace kube-system -o json`.
    pub namespace: Utf8PathBuf,
    /// What it must be.
    pub expected: ExpectedIdentity,
    /// Name of the cluster, for the message.
    pub cluster: String,
}

impl CheckClusterIdentity {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let known = check(on.root, &self.namespace, &self.expected, &self.cluster)?;
        let word = match known {
            Known::Before(_) => Status::Checked,
            // What every later run believes is said aloud, once.
            Known::FirstContact(_) => Status::Using,
        };
        on.ui.status(word, known.words());
        Ok(())
    }
}

/// How a cluster is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExpectedIdentity {
    /// By the UID that the platform config commits.
    Committed(String),
    /// By the UID recorded at first contact in this file; only local clusters.
    Recorded(Utf8PathBuf),
}

/// How the cluster that was asked for was known, as a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It has the UID that the platform config or an earlier contact name.
    Before(String),
    /// Its UID was recorded just now.
    FirstContact(String),
}

impl Known {
    /// The sentence.
    pub fn words(&self) -> &str {
        match self {
            Self::Before(words) | Self::FirstContact(words) => words,
        }
    }
}

/// Checks the UID in a `kube-system` object; the first contact with a local cluster is recorded.
pub fn check(root: &Utf8Path, namespace: &Utf8Path, expected: &ExpectedIdentity, cluster: &str) -> Result<Known> {
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
        ExpectedIdentity::Committed(wanted) if wanted == uid => Ok(Known::Before(format!(
            "`{cluster}` is the cluster that the platform config names ({uid})"
        ))),
        ExpectedIdentity::Committed(wanted) => Err(other(cluster, uid, wanted).hinted(format!(
            "if the cluster was rebuilt on purpose: `cargo xtask adopt --cluster {cluster}`"
        ))),
        ExpectedIdentity::Recorded(path) => {
            let file = root.join(path);
            if !file.exists() {
                check_unrecorded(root, path, cluster, uid)?;
                let record = serde_json::to_string_pretty(&json!({"uid": uid})).expect("plain data");
                crate::base::files::write(&file, record.as_bytes(), 0o600)?;
                return Ok(Known::FirstContact(format!(
                    "cluster `{cluster}` by its UID {uid} from now on: first contact"
                )));
            }
            let recorded = crate::base::files::later(root, path, "/uid").map_err(|failure| {
                Failure {
                    kind: Kind::Config,
                    ..failure
                }
                .hinted(format!("`cargo xtask adopt --cluster {cluster}` records the UID anew"))
            })?;
            if recorded.as_str() == Some(uid) {
                Ok(Known::Before(format!(
                    "`{cluster}` is the cluster of the first contact ({uid})"
                )))
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

/// Refuses a UID that the platform config commits to another cluster: a kubeconfig of a local cluster that leads to production
/// must not become that local cluster, not by first contact and not by `adopt`.
pub fn check_nobody_elses(root: &Utf8Path, cluster: &str, uid: &str) -> Result<()> {
    let platform = crate::platform::config(root)?;
    let owner = platform
        .clusters
        .iter()
        .find(|(name, config)| *name != cluster && config.uid.as_deref() == Some(uid));
    match owner {
        None => Ok(()),
        Some((name, config)) => Err(Failure::refused(format!(
            "this is not cluster `{cluster}`: its kube-system has UID `{uid}`, which the platform config commits to {} cluster \
             `{name}`; nothing was written",
            config.environment.name()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkout whose platform config commits a UID to the production cluster, and what a cluster of this UID says.
    fn checkout(uid: Option<&str>) -> (tempfile::TempDir, camino::Utf8PathBuf) {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let root = camino::Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        let committed = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let text = fs_err::read_to_string(committed.join(crate::base::root::PLATFORM_JSON)).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["clusters"]["hetzner"]["uid"] = "production".into();
        fs_err::write(root.join(crate::base::root::PLATFORM_JSON), config.to_string()).unwrap();
        answers(&root, uid);
        (folder, root)
    }

    fn answers(root: &Utf8Path, uid: Option<&str>) {
        fs_err::write(
            root.join("namespace.json"),
            json!({"metadata": {"uid": uid}}).to_string(),
        )
        .unwrap();
    }

    fn look(root: &Utf8Path, cluster: &str, expected: &ExpectedIdentity) -> Result<Known, Kind> {
        check(root, Utf8Path::new("namespace.json"), expected, cluster).map_err(|failure| failure.kind)
    }

    #[test]
    fn a_cluster_with_a_committed_uid_is_no_other_one() {
        let (_folder, root) = checkout(Some("production"));
        let expected = ExpectedIdentity::Committed("production".to_owned());
        assert!(look(&root, "hetzner", &expected).is_ok());
        for uid in [Some("another"), Some(""), None] {
            answers(&root, uid);
            assert_eq!(look(&root, "hetzner", &expected), Err(Kind::Refused), "{uid:?}");
        }
    }

    #[test]
    fn a_local_cluster_is_the_one_of_the_first_contact() {
        let (_folder, root) = checkout(Some("first"));
        let record = |cluster: &str| ExpectedIdentity::Recorded(format!(".xtask/clusters/{cluster}/uid.json").into());
        assert!(
            look(&root, "k3s-dev", &record("k3s-dev"))
                .unwrap()
                .words()
                .contains("first contact")
        );
        assert!(look(&root, "k3s-dev", &record("k3s-dev")).is_ok());
        // The same cluster under another name.
        assert_eq!(look(&root, "k3s-capi", &record("k3s-capi")), Err(Kind::Refused));
        assert!(!root.join(".xtask/clusters/k3s-capi/uid.json").exists());
        answers(&root, Some("second"));
        assert_eq!(look(&root, "k3s-dev", &record("k3s-dev")), Err(Kind::Refused));
    }

    #[test]
    fn what_is_committed_to_production_never_becomes_a_local_cluster() {
        let (_folder, root) = checkout(Some("production"));
        let record = ExpectedIdentity::Recorded(".xtask/clusters/k3s-dev/uid.json".into());
        assert_eq!(look(&root, "k3s-dev", &record), Err(Kind::Refused));
        assert!(!root.join(".xtask/clusters/k3s-dev/uid.json").exists());
    }
}

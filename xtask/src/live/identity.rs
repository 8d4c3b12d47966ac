//! The cluster identity check: a cluster is known by the UID of its `kube-system` namespace, and by nothing else.
//! Names, contexts and addresses can lead anywhere.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::ui::Status;
use crate::call::Caller;
use crate::live::lease::{self, place};

/// How many of a cluster's records are named.
const NAMED: usize = 5;

/// Whether the cluster is the one that the platform config or the first contact name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CheckClusterIdentity {
    /// `kubectl get namespace kube-system -o json`.
    pub namespace: Utf8PathBuf,
    /// What it must be.
    pub expected: ExpectedIdentity,
    /// What others may have left in it, listed before a first contact.
    pub records: Utf8PathBuf,
    /// Name of the cluster, for the message.
    pub cluster: String,
}

impl CheckClusterIdentity {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let known = check(on.root, &self.namespace, &self.expected, &self.records, &self.cluster)?;
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
pub fn check(
    root: &Utf8Path,
    namespace: &Utf8Path,
    expected: &ExpectedIdentity,
    records: &Utf8Path,
    cluster: &str,
) -> Result<Known> {
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
                check_unclaimed(root, records, cluster)?;
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

/// Refuses a first contact with a cluster that carries the records of another cluster or of another checkout: whoever
/// left them takes it for theirs.
fn check_unclaimed(root: &Utf8Path, records: &Utf8Path, cluster: &str) -> Result<()> {
    let claims = claims(root, records, cluster)?;
    if claims.is_empty() {
        return Ok(());
    }
    Err(Failure::many(
        Kind::Refused,
        format!(
            "this is the first contact with cluster `{cluster}`, and it is somebody's already; nothing was written"
        ),
        &claims[..claims.len().min(NAMED)],
    )
    .hinted("look where the kubeconfig leads")
    .hinted(format!(
        "if it is the cluster that is meant: `cargo xtask adopt --cluster {cluster}`"
    )))
}

/// What a cluster carries that this checkout did not leave there as this cluster, a sentence each: histories, Leases and
/// the labels of stages.
pub fn claims(root: &Utf8Path, records: &Utf8Path, cluster: &str) -> Result<Vec<String>> {
    let text = fs_err::read_to_string(root.join(records))?;
    let listed: Value = serde_json::from_str(&text).or_fail(
        Kind::Refused,
        "what the cluster carries cannot be read, and an unknown cluster is not touched",
    )?;
    let platform = crate::platform::config(root)?;
    let stages = platform.clusters.get(cluster).map(|config| &config.stages);
    let own = place(root);
    let items = || listed.get("items").and_then(Value::as_array).into_iter().flatten();
    let text = |object: &Value, pointer: &str| {
        let found = object.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let mut claims = Vec::new();
    let mut is_ours = false;
    for object in items() {
        let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
        let what = match kind.as_str() {
            "ConfigMap" => "history",
            "Lease" => "Lease",
            _ => continue,
        };
        let Some(of) = name.strip_prefix(lease::PREFIX) else {
            continue;
        };
        match text(object, "/metadata/annotations/vanixiets.dev~1checkout") {
            _ if of != cluster => claims.push(format!("it has the {what} of cluster `{of}`")),
            from if from == own => is_ours = true,
            from if from.is_empty() => claims.push(format!("it has a {what} that names no checkout")),
            from => claims.push(format!("it has the {what} of checkout `{from}`")),
        }
    }
    for object in items() {
        let label = text(object, "/metadata/labels/kluctl.io~1discriminator");
        let known = stages.is_some_and(|stages| stages.values().any(|stage| stage.discriminator == label));
        if label.is_empty() || (known && is_ours) {
            continue;
        }
        let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
        claims.push(match known {
            true => format!("its {kind} `{name}` was deployed, and no history of this checkout says so"),
            false => format!("its {kind} `{name}` is of a stage `{label}`, which `{cluster}` has not"),
        });
    }
    claims.dedup();
    Ok(claims)
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
        carries(&root, &[]);
        (folder, root)
    }

    fn answers(root: &Utf8Path, uid: Option<&str>) {
        fs_err::write(
            root.join("namespace.json"),
            json!({"metadata": {"uid": uid}}).to_string(),
        )
        .unwrap();
    }

    fn carries(root: &Utf8Path, items: &[Value]) {
        fs_err::write(root.join("records.json"), json!({"items": items}).to_string()).unwrap();
    }

    #[test]
    fn a_first_contact_with_a_cluster_that_is_somebodys_is_refused() {
        let record = ExpectedIdentity::Recorded(".xtask/clusters/k3s-dev/uid.json".into());
        let (_folder, root) = checkout(Some("first"));
        let ours = |kind: &str, name: &str, checkout: &str| {
            json!({"kind": kind, "metadata": {
                "name": name, "annotations": {"vanixiets.dev/checkout": checkout},
            }})
        };
        let labelled = |label: &str| json!({"kind": "Namespace", "metadata": {"name": "n", "labels": {"kluctl.io/discriminator": label}}});
        let own = place(&root);
        let history = ours("ConfigMap", "xtask-k3s-dev", &own);
        let unnamed = json!({"kind": "ConfigMap", "metadata": {"name": "xtask-k3s-dev"}});
        let foreign = [
            vec![ours("ConfigMap", "xtask-k3s-dev", "elsewhere:/home/b")],
            vec![ours("Lease", "xtask-k3s-dev", "elsewhere:/home/b")],
            vec![ours("ConfigMap", "xtask-k3s-capi", &own)],
            vec![ours("Lease", "xtask-prod", &own)],
            vec![history.clone(), labelled("another-stage")],
            vec![labelled("vanixiets-k3s-dev-local")],
            vec![unnamed],
        ];
        for items in foreign {
            carries(&root, &items);
            assert_eq!(look(&root, "k3s-dev", &record), Err(Kind::Refused), "{items:?}");
            assert!(!root.join(".xtask/clusters/k3s-dev/uid.json").exists());
        }
        let theirs = json!({"kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}});
        carries(&root, &[theirs, history, labelled("vanixiets-k3s-dev-local")]);
        assert!(look(&root, "k3s-dev", &record).is_ok(), "it is this checkout's own");
        // Who is known is not asked again.
        carries(&root, &[ours("ConfigMap", "xtask-prod", &own)]);
        assert!(look(&root, "k3s-dev", &record).is_ok());
    }

    fn look(root: &Utf8Path, cluster: &str, expected: &ExpectedIdentity) -> Result<Known, Kind> {
        let records = Utf8Path::new("records.json");
        check(root, Utf8Path::new("namespace.json"), expected, records, cluster).map_err(|failure| failure.kind)
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

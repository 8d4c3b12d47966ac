//! The Lease that keeps other hosts out of a cluster: `create` is the atomic step, a nonce says whose it is,
//! and it neither expires nor is renewed. Only its nonce releases it.

use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::failure::{Failure, Kind, Result};
use crate::base::files::remove;
use crate::base::host::host;
use crate::base::process::orphans::born;
use crate::base::state;
use crate::base::ui::Status;
use crate::call::Caller;

/// The Lease that keeps other hosts out, for the tool that creates it. Its nonce is written down before, so that a
/// later run of this checkout knows the Lease for its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewLease {
    /// What stands in it.
    pub content: LeaseContent,
    /// Nonces of the runs of this checkout that wanted it.
    pub known: Utf8PathBuf,
    /// JSON file of the object.
    pub to: Utf8PathBuf,
}

impl NewLease {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let mut known = known(on, &self.known)?;
        known.retain(|nonce| *nonce != self.content.nonce);
        known.push(self.content.nonce.clone());
        let first = known.len().saturating_sub(KEPT);
        on.write_json(&self.known, &known[first..].to_vec())?;
        on.write_json(&self.to, &object(&self.content, on.root))
    }
}

/// The nonces of this checkout's runs; what cannot be read names none.
fn known(on: &Caller<'_>, path: &Utf8Path) -> Result<Vec<String>> {
    let text = on.text_if_any(path)?.unwrap_or_default();
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

/// Nonces of runs that are kept; a Lease is that of one of the last few.
const KEPT: usize = 50;

/// Aims at the Lease in the cluster where it is that of a run of this checkout that died with it. Whoever runs this
/// holds the lock of this host and has ended what dead runs had left running, so that nothing works under that Lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AimAtDeadLease {
    /// The Lease as the cluster has it.
    pub lease: Utf8PathBuf,
    /// Nonces of the runs of this checkout that wanted it.
    pub known: Utf8PathBuf,
    /// Nonce of this run.
    pub nonce: String,
    /// JSON file of the options of a delete that hits this very Lease; removed where there is nothing to hit.
    pub to: Utf8PathBuf,
}

impl AimAtDeadLease {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let lease = on.read_or_null(&self.lease)?;
        if !is_dead_here(&lease, &self.nonce, &known(on, &self.known)?) {
            return remove(&state::inside(on.root, &self.to)?);
        }
        on.ui.status(
            Status::Warning,
            format!(
                "a dead run of this checkout held the lock, which is taken away: {}",
                holder(&lease)
            ),
        );
        on.write_json(&self.to, &delete_options(&lease))
    }
}

/// Whether a Lease was left by a run of this checkout on this host whose process is gone.
fn is_dead_here(lease: &Value, own: &str, known: &[String]) -> bool {
    let nonce = annotation(lease, NONCE);
    nonce != own && known.iter().any(|known| known == nonce) && fate(lease) == Fate::Dead
}

/// Who holds a Lease; host, pid and time are added when it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LeaseContent {
    /// Cluster, for the name of the Lease.
    pub cluster: String,
    /// Nonce of the run; only its holder releases it.
    pub nonce: String,
    /// Goal of the plan.
    pub goal: String,
}

/// Whether the Lease in the cluster is this run's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LeaseHeld {
    /// The Lease as the cluster has it.
    pub lease: Utf8PathBuf,
    /// Nonce of the run.
    pub nonce: String,
}

impl LeaseHeld {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        check_held(&on.text(&self.lease)?, &self.nonce)
    }
}

/// Whether the Lease in the cluster has this nonce, and its holder is not alive on this host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LeaseAbandoned {
    /// The Lease as the cluster has it.
    pub lease: Utf8PathBuf,
    /// The nonce that was named.
    pub nonce: String,
}

impl LeaseAbandoned {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let holder = check_abandoned(&on.text(&self.lease)?, &self.nonce)?;
        on.ui.status(Status::Checked, format!("the lock was held by {holder}"));
        Ok(())
    }
}

/// The options of a delete that hits this very Lease or nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LeaseRelease {
    /// The Lease as the cluster has it.
    pub lease: Utf8PathBuf,
    /// JSON file of the options.
    pub to: Utf8PathBuf,
}

impl LeaseRelease {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        on.write_json(&self.to, &delete_options(&on.read(&self.lease)?))
    }
}

/// Namespace of Lease and deployment history.
pub const NAMESPACE: &str = "kube-system";

/// Annotation with the nonce of the run.
const NONCE: &str = "vanixiets.dev/nonce";
/// Annotation with the goal of the run.
const GOAL: &str = "vanixiets.dev/goal";
/// Annotation with the process id on the holder's host.
const PID: &str = "vanixiets.dev/pid";

/// Annotation with when that process began, for process ids are used again.
const STARTED: &str = "vanixiets.dev/started";

/// Annotation with the checkout and its host.
pub(crate) const CHECKOUT: &str = "vanixiets.dev/checkout";

/// A checkout, as our objects in a cluster name it.
pub(crate) fn place(root: &Utf8Path) -> String {
    format!("{}:{root}", host())
}

/// JSON pointer to the nonce of a Lease.
pub const NONCE_POINTER: &str = "/metadata/annotations/vanixiets.dev~1nonce";

/// What the names of our own objects in a cluster begin with.
pub const PREFIX: &str = "xtask-";

/// Name of the Lease and of the deployment history of a cluster.
pub fn name(cluster: &str) -> String {
    format!("{PREFIX}{cluster}")
}

/// The Lease object of this run.
pub fn object(content: &LeaseContent, checkout: &Utf8Path) -> Value {
    let pid = std::process::id();
    let began = i32::try_from(pid).ok().and_then(born).unwrap_or_default();
    let now = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name(&content.cluster),
            "namespace": NAMESPACE,
            "annotations": {
                NONCE: content.nonce, GOAL: content.goal, PID: pid.to_string(), STARTED: began, CHECKOUT: place(checkout),
            },
        },
        "spec": {"holderIdentity": host(), "acquireTime": now},
    })
}

fn annotation<'a>(lease: &'a Value, name: &str) -> &'a str {
    lease
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"))
        .and_then(|annotations| annotations.get(name))
        .and_then(Value::as_str)
        .unwrap_or("unknown")
}

/// Who holds a Lease, in words.
fn holder(lease: &Value) -> String {
    let text = |pointer: &str| lease.pointer(pointer).and_then(Value::as_str).unwrap_or("unknown");
    format!(
        "host `{}`, pid {}, since {}, doing `{}` (id {})",
        text("/spec/holderIdentity"),
        annotation(lease, PID),
        text("/spec/acquireTime"),
        annotation(lease, GOAL),
        annotation(lease, NONCE)
    )
}

/// What became of the process that holds a Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It runs on this host.
    Alive,
    /// It ran on this host and is gone.
    Dead,
    /// It is another host's.
    Unknown,
}

fn fate(lease: &Value) -> Fate {
    let identity = lease.pointer("/spec/holderIdentity").and_then(Value::as_str);
    let Ok(pid) = annotation(lease, PID).parse() else {
        return Fate::Unknown;
    };
    if identity != Some(host().as_str()) {
        return Fate::Unknown;
    }
    let began = annotation(lease, STARTED);
    let same = match born(pid) {
        // The same pid with another beginning is another process.
        Some(now) if !began.is_empty() => now == began,
        Some(_) => true,
        None => false,
    };
    if same { Fate::Alive } else { Fate::Dead }
}

/// Whether the Lease in the cluster is this run's; if not, a failure that names its holder.
pub fn check_held(lease: &str, nonce: &str) -> Result<()> {
    if lease.trim().is_empty() {
        return Err(
            Failure::new(Kind::Step, "the cluster's Lease was not made; nothing was changed")
                .hinted("the log of `lease.take` says why: creating Leases in `kube-system` may be forbidden"),
        );
    }
    let lease = &parse(lease)?;
    if annotation(lease, NONCE) == nonce {
        return Ok(());
    }
    let name = lease
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let unlock = format!(
        "cargo xtask unlock --cluster {} --id {}",
        name.strip_prefix(PREFIX).unwrap_or(name),
        annotation(lease, NONCE)
    );
    let failure = Failure::new(
        Kind::Locked,
        format!("the cluster is locked by another run: {}", holder(lease)),
    );
    Err(match fate(lease) {
        Fate::Dead => failure
            .hinted(format!(
                "its process is gone from this host; `{unlock}` takes the lock away"
            ))
            .hinted(format!(
                "any run of its own checkout, `{}`, does that by itself",
                annotation(lease, CHECKOUT)
            )),
        Fate::Alive => failure.hinted("wait for it"),
        Fate::Unknown => failure
            .hinted("wait for it")
            .hinted(format!("only if that run is surely gone: `{unlock}`")),
    })
}

/// Whether a Lease has this nonce and may be taken away: its holder does not run on this host. Returns who held it.
pub fn check_abandoned(lease: &str, nonce: &str) -> Result<String> {
    if lease.trim().is_empty() {
        return Err(Failure::config("the cluster is not locked").hinted("there is nothing to take away"));
    }
    let lease = &parse(lease)?;
    if annotation(lease, NONCE) != nonce {
        return Err(Failure::refused(format!(
            "the lock's id is not `{nonce}`: it is held by {}",
            holder(lease)
        ))
        .hinted("name the id of the lock that is meant; another run may have taken it since"));
    }
    if fate(lease) == Fate::Alive {
        return Err(Failure::new(
            Kind::Locked,
            format!("the holder of the lock is alive on this host: {}", holder(lease)),
        )
        .hinted("wait for it, or end it (Ctrl-C); it gives the lock back itself"));
    }
    Ok(holder(lease))
}

fn parse(lease: &str) -> Result<Value> {
    serde_json::from_str(lease)
        .map_err(|error| Failure::new(Kind::Step, format!("the Lease in the cluster cannot be read: {error}")))
}

/// Options of a delete that hits this very Lease or nothing.
pub fn delete_options(lease: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": lease.pointer("/metadata/uid").cloned().unwrap_or(Value::Null)},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> Value {
        let content = LeaseContent {
            cluster: "c".into(),
            nonce: "a1".into(),
            goal: "deploy".into(),
        };
        object(&content, Utf8Path::new("/checkout"))
    }

    #[test]
    fn only_the_lease_of_a_dead_run_of_this_host_and_checkout_is_taken_away() {
        let known = ["a1".to_owned()];
        let mut lease = lease();
        assert!(!is_dead_here(&lease, "b2", &known), "its process is this one");
        lease["metadata"]["annotations"][STARTED] = "before".into();
        assert!(is_dead_here(&lease, "b2", &known));
        assert!(!is_dead_here(&lease, "a1", &known), "it is this run's own");
        assert!(!is_dead_here(&lease, "b2", &[]), "it is another checkout's");
        assert!(!is_dead_here(&Value::Null, "b2", &known));
        lease["spec"]["holderIdentity"] = "elsewhere".into();
        assert!(!is_dead_here(&lease, "b2", &known), "it is another host's");
    }

    #[test]
    fn a_living_holder_of_this_host_is_never_unlocked() {
        let failure = check_abandoned(&lease().to_string(), "a1").unwrap_err();
        assert_eq!(failure.kind, Kind::Locked);
    }

    #[test]
    fn the_same_pid_with_another_beginning_is_a_dead_holder() {
        let mut lease = lease();
        lease["metadata"]["annotations"][STARTED] = "1".into();
        assert!(check_abandoned(&lease.to_string(), "a1").is_ok());
        let failure = check_held(&lease.to_string(), "b2").unwrap_err();
        assert_eq!(failure.kind, Kind::Locked);
        assert!(
            failure.hints[0].contains("unlock --cluster c --id a1"),
            "{:?}",
            failure.hints
        );
        assert!(failure.hints[1].contains(":/checkout`"), "{:?}", failure.hints);
        assert!(
            !failure.hints.iter().any(|hint| hint.contains("--resume")),
            "{:?}",
            failure.hints
        );
    }

    #[test]
    fn another_id_is_refused_and_names_the_holder() {
        let failure = check_abandoned(&lease().to_string(), "zz").unwrap_err();
        assert_eq!(failure.kind, Kind::Refused);
        assert!(failure.chain().contains("doing `deploy` (id a1)"));
    }
}

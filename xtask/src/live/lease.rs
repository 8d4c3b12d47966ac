//! The Lease that keeps other hosts out of a cluster: `create` is the atomic step, a nonce says whose it is,
//! and it neither expires nor is renewed. Only its nonce releases it.

use std::time::SystemTime;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::failure::{Failure, Kind, Result};
use crate::base::host::host;
use crate::base::ui::Status;
use crate::call::Caller;

/// The Lease that keeps other hosts out, for the tool that creates it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewLease {
    /// What stands in it.
    pub content: LeaseContent,
    /// JSON file of the object.
    pub to: Utf8PathBuf,
}

impl NewLease {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        on.write_json(&self.to, &object(&self.content))
    }
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

/// JSON pointer to the nonce of a Lease.
pub const NONCE_POINTER: &str = "/metadata/annotations/vanixiets.dev~1nonce";

/// Name of the Lease and of the deployment history of a cluster.
pub fn name(cluster: &str) -> String {
    format!("xtask-{cluster}")
}

/// The Lease object of this run.
pub fn object(content: &LeaseContent) -> Value {
    let now = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name(&content.cluster),
            "namespace": NAMESPACE,
            "annotations": {NONCE: content.nonce, GOAL: content.goal, PID: std::process::id().to_string(), STARTED: started(std::process::id()).unwrap_or_default()},
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
    // The same pid with another beginning is another process.
    let began = annotation(lease, STARTED);
    let same = is_alive(pid)
        && u32::try_from(pid)
            .ok()
            .and_then(started)
            .is_none_or(|now| began.is_empty() || now == began);
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
    let id = annotation(lease, NONCE);
    let failure = Failure::new(
        Kind::Locked,
        format!("the cluster is locked by another run: {}", holder(lease)),
    );
    Err(match fate(lease) {
        Fate::Dead => failure.hinted(format!(
            "its process is gone from this host; `--resume` takes it up, `cargo xtask unlock --id {id}` takes the \
             lock away"
        )),
        Fate::Alive => failure.hinted("wait for it"),
        Fate::Unknown => failure.hinted("wait for it").hinted(format!(
            "only if that run is surely gone: `cargo xtask unlock --id {id}`"
        )),
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

fn is_alive(pid: i32) -> bool {
    rustix::process::Pid::from_raw(pid).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

/// When a process began, in a form that only ever is compared with itself; none where the system does not tell.
fn started(pid: u32) -> Option<String> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in parentheses and may hold anything; field 22 is the 20th after it.
    let after = stat.rsplit_once(')')?.1;
    after.split_whitespace().nth(19).map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> Value {
        object(&LeaseContent {
            cluster: "c".into(),
            nonce: "a1".into(),
            goal: "deploy".into(),
        })
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
        assert!(failure.hints[0].contains("unlock --id a1"), "{:?}", failure.hints);
    }

    #[test]
    fn another_id_is_refused_and_names_the_holder() {
        let failure = check_abandoned(&lease().to_string(), "zz").unwrap_err();
        assert_eq!(failure.kind, Kind::Refused);
        assert!(failure.chain().contains("doing `deploy` (id a1)"));
    }
}

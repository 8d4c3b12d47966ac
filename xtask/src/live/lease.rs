//! The Lease that keeps other hosts out of a cluster: `create` is the atomic step, a nonce says whose it is,
//! and it neither expires nor is renewed. Only its nonce releases it.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::failure::{Failure, Kind, Result};
use crate::plan::LeaseContent;

/// Namespace of Lease and ledger.
pub const NAMESPACE: &str = "kube-system";

/// Annotation with the nonce of the run.
const NONCE: &str = "vanixiets.dev/nonce";
/// Annotation with the goal of the run.
const GOAL: &str = "vanixiets.dev/goal";
/// Annotation with the process id on the holder's host.
const PID: &str = "vanixiets.dev/pid";

/// JSON pointer to the nonce of a Lease.
pub const NONCE_POINTER: &str = "/metadata/annotations/vanixiets.dev~1nonce";

/// Name of the Lease and of the ledger of a cluster.
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
            "annotations": {NONCE: content.nonce, GOAL: content.goal, PID: std::process::id().to_string()},
        },
        "spec": {"holderIdentity": host(), "acquireTime": now},
    })
}

/// Whether the Lease in the cluster is this run's; if not, a failure that names its holder.
pub fn check_held(lease: &Value, nonce: &str) -> Result<()> {
    let annotation = |name: &str| {
        lease
            .get("metadata")
            .and_then(|metadata| metadata.get("annotations"))
            .and_then(|annotations| annotations.get(name))
            .and_then(Value::as_str)
            .unwrap_or("unknown")
    };
    let held = annotation(NONCE);
    if held == nonce {
        return Ok(());
    }
    let text = |pointer: &str| lease.pointer(pointer).and_then(Value::as_str).unwrap_or("unknown");
    let holder = text("/spec/holderIdentity");
    let pid = annotation(PID);
    let failure = Failure::new(
        Kind::Locked,
        format!(
            "the cluster is locked by another run: host `{holder}`, pid {pid}, since {}, doing `{}`",
            text("/spec/acquireTime"),
            annotation(GOAL)
        ),
    );
    let dead = holder == host() && pid.parse().ok().is_some_and(|pid| !is_alive(pid));
    Err(if dead {
        failure.hinted(format!(
            "its process is gone from this host; `cargo xtask unlock --id {held}` takes the lock away"
        ))
    } else {
        failure.hinted("wait for it").hinted(format!(
            "only if that run is surely gone: `cargo xtask unlock --id {held}`"
        ))
    })
}

/// Options of a delete that hits this very Lease or nothing.
pub fn delete_options(lease: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": lease.pointer("/metadata/uid").cloned().unwrap_or(Value::Null)},
    })
}

/// This host's name, as holders are called.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn is_alive(pid: i32) -> bool {
    rustix::process::Pid::from_raw(pid).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

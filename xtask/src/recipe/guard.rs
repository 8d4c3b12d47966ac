//! The steps that stand around every change of a cluster: the identity check before it, the Lease while it lasts.

use camino::Utf8PathBuf;
use serde_json::json;

use crate::cluster::access::Access;
use crate::command::Command;
use crate::live::identity::{CheckClusterIdentity, ExpectedIdentity};
use crate::live::lease::{self, LeaseContent, LeaseHeld, LeaseRelease, NewLease};
use crate::plan::{Action, Effect, Probe, Section, Step};
use crate::platform::Cluster;

/// How a cluster of the platform config is known.
pub fn known(access: &Access, config: &Cluster) -> ExpectedIdentity {
    match &config.uid {
        Some(uid) => ExpectedIdentity::Committed(uid.clone()),
        None => ExpectedIdentity::Recorded(record(access)),
    }
}

/// Where the UID of a local cluster is recorded.
pub fn record(access: &Access) -> Utf8PathBuf {
    access.folder.join("uid.json")
}

/// Reads who the cluster is.
pub fn read(access: &Access) -> Step {
    Step::new(
        "identity.read",
        "Read the UID of kube-system",
        "A cluster is known by it, not by a name.",
        Effect::Read,
        Action::Run(
            access
                .kubectl()
                .args(["get", "namespace", "kube-system", "--output=json"])
                .to_file(found(access))
                .within(30)
                .or_not_reached(),
        ),
    )
}

/// The file with what `identity.read` found.
pub fn found(access: &Access) -> Utf8PathBuf {
    access.work().join("kube-system.json")
}

/// Reads who the cluster is and refuses any other than the one of the platform config.
pub fn section(access: &Access, config: &Cluster) -> Section {
    let steps = [
        read(access),
        Step::new(
            "identity.check",
            format!("Check that this is `{}`", access.cluster),
            "Nothing is ever written to another cluster.",
            Effect::Read,
            Action::task(CheckClusterIdentity {
                namespace: found(access),
                expected: known(access, config),
                cluster: access.cluster.clone(),
            }),
        ),
    ];
    Section::new(
        "identity",
        format!("Check that this is `{}`", access.cluster),
        "Nothing is ever written to another cluster.",
    )
    .with_all(steps.map(Step::guarding))
}

/// The Lease of a cluster.
pub fn lease_get(access: &Access) -> Command {
    access
        .kubectl()
        .args(["get", "lease", "--ignore-not-found", "--output=json"])
        .arg(format!("--namespace={}", lease::NAMESPACE))
        .arg(lease::name(&access.cluster))
        .within(30)
        .or_ask_again()
}

/// The deployment history of a cluster.
pub fn history_get(access: &Access) -> Command {
    access
        .kubectl()
        .args(["get", "configmap", "--ignore-not-found", "--output=json"])
        .arg(format!("--namespace={}", lease::NAMESPACE))
        .arg(lease::name(&access.cluster))
        .within(30)
        .or_ask_again()
}

/// Where the Lease is kept that this run holds. It stands beside the work folder: a run that was killed is resumed
/// by one that clears the folder, and still has its Lease.
fn held(access: &Access) -> Utf8PathBuf {
    access.folder.join("lease-held.json")
}

/// Whether the Lease that was last read is this run's.
pub fn ours(access: &Access, nonce: &str) -> Probe {
    Probe::Says {
        file: held(access),
        pointer: lease::NONCE_POINTER.to_owned(),
        value: json!(nonce),
    }
}

/// Where the Lease stands that this run wants.
fn wanted(access: &Access) -> Utf8PathBuf {
    access.work().join("lease.json")
}

/// Takes the Lease, and makes sure that it is ours.
pub fn take(access: &Access, nonce: &str, goal: &str) -> [Step; 4] {
    let wanted = wanted(access);
    let held = held(access);
    let steps = [
        Step::new(
            "lease.write",
            "Write the Lease of this run",
            "It says who holds the cluster, since when and for what.",
            Effect::Local,
            Action::task(NewLease {
                content: LeaseContent {
                    cluster: access.cluster.clone(),
                    nonce: nonce.to_owned(),
                    goal: goal.to_owned(),
                },
                to: wanted.clone(),
            }),
        ),
        Step::new(
            "lease.take",
            "Take the cluster's Lease",
            "Creating it is the atomic step that keeps other hosts out.",
            Effect::Remote,
            Action::Run(
                access
                    .kubectl()
                    .arg("create")
                    .list_path("--filename", wanted)
                    .within(30)
                    .or_look_next(),
            ),
        ),
        Step::new(
            "lease.read",
            "Read the Lease back",
            "Only what the cluster says counts.",
            Effect::Read,
            Action::Run(lease_get(access).to_file(&held)),
        ),
        Step::new(
            "lease.check",
            "Check that the Lease is ours",
            "Another run may have been first.",
            Effect::Read,
            Action::task(LeaseHeld {
                lease: held,
                nonce: nonce.to_owned(),
            }),
        ),
    ];
    steps.map(Step::guarding)
}

/// Gives the Lease back if it is this run's; a run that never took it has nothing to give.
pub fn give_back(access: &Access, nonce: &str) -> Section {
    let held = held(access);
    // Taking it may have been cut off before it was read back, so the cluster is asked whenever it was wanted.
    let never_wanted = Probe::Not(Box::new(Probe::Exists(wanted(access))));
    let find = Step::new(
        "lease.find",
        "Look whether the Lease is ours",
        "Only what the cluster says counts.",
        Effect::Read,
        Action::Run(lease_get(access).to_file(&held)),
    );
    let not_ours = Probe::Not(Box::new(ours(access, nonce)));
    Section::new(
        "lease",
        "Give the Lease back",
        "The next run must not find a lock without a holder.",
    )
    .with(find)
    .with(release(access, held, Effect::Local).unless(not_ours))
    .unless(never_wanted)
}

/// Deletes the very Lease that was read into `held`, and no later one of the same name.
pub fn release(access: &Access, held: Utf8PathBuf, effect: Effect) -> Section {
    let options = access.work().join("lease-release.json");
    let steps = [
        Step::new(
            "lease.aim",
            "Aim at this very Lease",
            "A delete by name could hit the Lease of a later run.",
            Effect::Local,
            Action::task(LeaseRelease {
                lease: held,
                to: options.clone(),
            }),
        ),
        Step::new(
            "lease.release",
            "Give the Lease back",
            "The next run must not find a lock without a holder.",
            effect,
            Action::Run(
                access
                    .kubectl()
                    .arg("delete")
                    .arg(format!(
                        "--raw=/apis/coordination.k8s.io/v1/namespaces/{}/leases/{}",
                        lease::NAMESPACE,
                        lease::name(&access.cluster)
                    ))
                    .list_path("--filename", options)
                    .within(30),
            ),
        ),
    ];
    Section::new(
        "release",
        "Delete the Lease",
        "The next run must not find a lock without a holder.",
    )
    .with_all(steps)
}

//! The steps that stand around every change of a cluster: the identity check before it, the Lease while it lasts.

use camino::Utf8PathBuf;
use serde_json::json;

use crate::cluster::access::Access;
use crate::command::Command;
use crate::live::identity::{CheckClusterIdentity, ExpectedIdentity};
use crate::live::lease::{self, AimAtDeadLease, LeaseContent, LeaseHeld, LeaseRelease, NewLease};
use crate::plan::{Action, Effect, Item, Probe, Section, Step};
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

/// The file with what the cluster carries.
pub fn records(access: &Access) -> Utf8PathBuf {
    access.work().join("records.json")
}

/// Lists what others may have left in the cluster: our own objects in kube-system, and the labels of namespaces.
pub fn list_records(access: &Access) -> Step {
    Step::new(
        "identity.records",
        "List what others may have left there",
        "Who left records in a cluster takes it for theirs.",
        Effect::Read,
        Action::Run(
            access
                .kubectl()
                .args([
                    "get",
                    "namespaces,configmaps,leases.coordination.k8s.io",
                    "--output=json",
                ])
                .arg(format!("--namespace={}", lease::NAMESPACE))
                .to_file(records(access))
                .within(30)
                .or_ask_again(),
        ),
    )
}

/// Reads who the cluster is and refuses any other than the one of the platform config.
pub fn section(access: &Access, config: &Cluster) -> Section {
    let expected = known(access, config);
    let mut steps = vec![read(access)];
    if let ExpectedIdentity::Recorded(record) = &expected {
        steps.push(list_records(access).unless(Probe::Exists(record.clone())));
    }
    steps.push(Step::new(
        "identity.check",
        format!("Check that this is `{}`", access.cluster),
        "Nothing is ever written to another cluster.",
        Effect::Read,
        Action::task(CheckClusterIdentity {
            namespace: found(access),
            expected,
            records: records(access),
            cluster: access.cluster.clone(),
        }),
    ));
    Section::new(
        "identity",
        format!("Check that this is `{}`", access.cluster),
        "Nothing is ever written to another cluster.",
    )
    .with_all(steps.into_iter().map(Step::guarding))
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

/// Where the Lease stands that this run wants. It goes when nothing of it is in the cluster any more, so that a later run
/// knows of one that was left there.
fn wanted(access: &Access) -> Utf8PathBuf {
    access.folder.join("lease-wanted.json")
}

/// Nonces of the runs of this checkout that wanted the Lease.
fn nonces(access: &Access) -> Utf8PathBuf {
    access.folder.join("lease-runs.json")
}

/// Options of the delete of a dead run's Lease.
fn dead(access: &Access) -> Utf8PathBuf {
    access.folder.join("lease-dead.json")
}

fn create(access: &Access, id: &str) -> Step {
    Step::new(
        id,
        "Take the cluster's Lease",
        "Creating it is the atomic step that keeps other hosts out.",
        Effect::Remote,
        Action::Run(
            access
                .kubectl()
                .arg("create")
                .list_path("--filename", wanted(access))
                .within(30)
                .or_look_next(),
        ),
    )
}

fn read_back(access: &Access, id: &str) -> Step {
    Step::new(
        id,
        "Read the Lease back",
        "Only what the cluster says counts.",
        Effect::Read,
        Action::Run(lease_get(access).to_file(held(access))),
    )
}

fn judge(access: &Access, nonce: &str) -> Step {
    Step::new(
        "lease.judge",
        "Look whether a dead run of this checkout left it",
        "Whoever waits for a dead run waits in vain.",
        Effect::Local,
        Action::task(AimAtDeadLease {
            lease: held(access),
            known: nonces(access),
            nonce: nonce.to_owned(),
            to: dead(access),
        }),
    )
}

/// Deletes the Lease that the options hit; what the server says of it stands where the Lease stood, which then is no
/// Lease any more.
fn delete(access: &Access, options: Utf8PathBuf, held: Utf8PathBuf) -> Command {
    access
        .kubectl()
        .arg("delete")
        .arg(format!(
            "--raw=/apis/coordination.k8s.io/v1/namespaces/{}/leases/{}",
            lease::NAMESPACE,
            lease::name(&access.cluster)
        ))
        .list_path("--filename", options)
        .to_file(held)
        .within(30)
}

/// Takes the Lease, that of a dead run of this checkout too, and makes sure that it is ours.
pub fn take(access: &Access, nonce: &str, goal: &str) -> Vec<Item> {
    let write = Step::new(
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
            known: nonces(access),
            to: wanted(access),
        }),
    );
    let exchange = [
        Step::new(
            "lease.clear",
            "Delete the Lease of the dead run",
            "Nothing works under it any more.",
            Effect::Remote,
            // Where another run was faster, the Lease that is read back says so.
            Action::Run(delete(access, dead(access), held(access)).or_look_next()),
        ),
        create(access, "lease.retake"),
        read_back(access, "lease.reread"),
    ];
    let exchange = Section::new(
        "exchange",
        "Take the place of the dead run",
        "Its Lease was hit by its UID, and another run may still be faster.",
    )
    .with_all(exchange.map(Step::guarding))
    .unless(Probe::Not(Box::new(Probe::Exists(dead(access)))));
    let check = Step::new(
        "lease.check",
        "Check that the Lease is ours",
        "Somebody else may have been first.",
        Effect::Read,
        Action::task(LeaseHeld {
            lease: held(access),
            nonce: nonce.to_owned(),
        }),
    );
    vec![
        write.guarding().into(),
        create(access, "lease.take").guarding().into(),
        read_back(access, "lease.read").guarding().into(),
        judge(access, nonce).guarding().into(),
        exchange.into(),
        check.guarding().into(),
    ]
}

/// Gives the Lease back if it is this run's, or that of a dead run of this checkout; a run that never took it, behind
/// one that gave it back, has nothing to give.
pub fn give_back(access: &Access, nonce: &str) -> Section {
    // Taking it may have been cut off before it was read back, so the cluster is asked whenever it was wanted.
    let never_wanted = Probe::Not(Box::new(Probe::Exists(wanted(access))));
    let not_ours = Probe::All(vec![
        Probe::Not(Box::new(ours(access, nonce))),
        Probe::Not(Box::new(Probe::Exists(dead(access)))),
    ]);
    let forget = |id: &str, path: Utf8PathBuf| {
        Step::new(
            id,
            "Remove the note of the Lease",
            "A later run looks for one that was left only where this says so.",
            Effect::Local,
            Action::Remove { path },
        )
    };
    Section::new(
        "lease",
        "Give the Lease back",
        "The next run must not find a lock without a holder.",
    )
    .with(read_back(access, "lease.find"))
    .with(judge(access, nonce))
    .with(release(access, held(access), Effect::Local).unless(not_ours))
    .with(
        Section::new(
            "forget",
            "Remove the note of the Lease",
            "What could not be given back is looked for by a later run.",
        )
        .with(forget("lease.forget", wanted(access)))
        .with(forget("held.forget", held(access)))
        .unless(ours(access, nonce)),
    )
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
                lease: held.clone(),
                to: options.clone(),
            }),
        ),
        Step::new(
            "lease.release",
            "Give the Lease back",
            "The next run must not find a lock without a holder.",
            effect,
            Action::Run(delete(access, options, held)),
        ),
    ];
    Section::new(
        "release",
        "Delete the Lease",
        "The next run must not find a lock without a holder.",
    )
    .with_all(steps)
}

//! The steps that delete exactly what was shown, object by object.

use serde_json::json;

use super::Parts;
use super::guard;
use crate::cluster::access::Access;
use crate::live::prune::Doomed;
use crate::plan::{Action, Effect, Probe, Section, Step};
use crate::platform::Cluster;

/// Seconds that one object may take to be gone: a namespace with a few hundred objects needs a minute or two.
const GONE: u64 = 300;

/// Makes sure of the cluster, holds its Lease, and deletes.
pub fn parts(access: &Access, facts: &Cluster, nonce: &str, goal: &str, doomed: &[Doomed]) -> Parts {
    let lock = Section::new(
        "lock",
        "Lock the cluster for this run",
        "Two runs at once would overwrite each other.",
    )
    .with_all(guard::take(access, nonce, goal));
    Parts {
        section: Section::new(
            "prune",
            format!("Delete what the project of `{}` no longer has", access.cluster),
            "Exactly what was shown is deleted.",
        )
        .with(guard::section(access, facts))
        .with(lock)
        .with(deletes(access, doomed)),
        finally: guard::give_back(access, nonce),
    }
}

/// A delete and a wait for each object. The UID stands in the delete, so that an object that was made anew under
/// the same name is kept.
pub fn deletes(access: &Access, doomed: &[Doomed]) -> Section {
    let mut steps = Vec::new();
    for (index, doomed) in doomed.iter().enumerate() {
        let gone = Probe::Gone {
            command: access
                .kubectl()
                .args(["get", "--ignore-not-found", "--output=json"])
                .arg(format!("{}.{}", doomed.object.kind, versioned(doomed)))
                .arg(format!("--namespace={}", doomed.object.namespace))
                .arg(doomed.object.name.as_str())
                .within(30),
            pointer: "/metadata/uid".to_owned(),
            value: doomed.uid.clone(),
        };
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": doomed.uid},
        });
        steps.push(
            Step::new(
                &format!("object-{:03}.delete", index + 1),
                format!("Delete {} (uid {})", doomed.object, doomed.uid),
                "The project no longer has it.",
                Effect::Destroy,
                Action::Run(
                    access
                        .kubectl()
                        .arg("delete")
                        .arg(format!("--raw={}", doomed.path))
                        .arg("--filename=-")
                        .from_text(options.to_string())
                        .within(60),
                ),
            )
            .unless(gone.clone()),
        );
        steps.push(Step::new(
            &format!("object-{:03}.wait", index + 1),
            format!("Wait until {} is gone", doomed.object),
            "An accepted delete is not yet a deletion: finalizers may hold it.",
            Effect::Read,
            Action::Wait {
                until: gone,
                deadline: GONE,
                every: 1,
            },
        ));
    }
    Section::new("delete", "Delete the objects", "The project no longer has them.").with_all(steps)
}

/// `version.group` as kubectl takes it after a kind; the core group is empty.
fn versioned(doomed: &Doomed) -> String {
    match doomed.object.api_version.split_once('/') {
        Some((group, version)) => format!("{version}.{group}"),
        None => format!("{}.", doomed.object.api_version),
    }
}

//! The steps that delete exactly what was shown, object by object.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;

use super::deploy::Deploy;
use super::{Parts, guard};
use crate::cluster::access::Access;
use crate::command::Arg;
use crate::live::prune::{Choice, Deletion, PruneUnchanged};
use crate::plan::{Action, Effect, Probe, Section, Step};

/// Seconds that one object may take to be gone: a namespace with a few hundred objects needs a minute or two.
const GONE: u64 = 300;

/// Makes sure of the cluster, holds its Lease, looks again, and deletes what was shown.
pub fn parts(deploy: &Deploy<'_>, choice: &Choice, allowed: &[String]) -> Parts {
    let access = deploy.access;
    let lock = Section::new(
        "lock",
        "Lock the cluster for this run",
        "Two runs at once would overwrite each other.",
    )
    .with_all(guard::take(access, deploy.nonce, deploy.goal));
    // Wherever a run begins: what is deleted was compared under this Lease.
    let again = deploy.held().into_iter().chain(judge(deploy, choice, allowed));
    let compare = Section::new(
        "compare",
        "Compare the cluster with what was shown",
        "Somebody may have taken an object back, or changed it, before the Lease was ours.",
    )
    .with_all(again.map(Step::guarding));
    Parts {
        section: Section::new(
            "prune",
            format!("Delete what the project of `{}` no longer has", access.cluster),
            "Exactly what was shown is deleted.",
        )
        .with(guard::section(access, deploy.config))
        .with(lock)
        .with(compare)
        .with(deletes(access, &choice.deletions)),
        finally: guard::give_back(access, deploy.nonce),
    }
}

/// Compares what was shown with what would be chosen now.
fn judge(deploy: &Deploy<'_>, choice: &Choice, allowed: &[String]) -> Vec<Step> {
    let work = deploy.access.work();
    let mut steps = Vec::new();
    if choice.has_cascades() {
        steps.extend(cascade_steps(deploy.access));
    }
    steps.push(Step::new(
        "held.judge",
        "Check that the cluster is as it was shown",
        "Somebody may have taken an object back, or changed it, before the Lease was ours.",
        Effect::Read,
        Action::task(PruneUnchanged {
            // The way to it in the API stands in the delete alone.
            shown: choice
                .deletions
                .iter()
                .map(|deletion| Deletion {
                    path: String::new(),
                    ..deletion.clone()
                })
                .collect(),
            allowed: allowed.to_vec(),
            now: work.join("delta-held.json"),
            served: work.join("served.txt"),
            cascades: choice.has_cascades().then(|| (everything(&work), definitions(&work))),
            discriminator: deploy.description.discriminator.clone(),
        }),
    ));
    steps
}

/// Where the listing of everything stands.
pub fn everything(work: &Utf8Path) -> Utf8PathBuf {
    work.join("everything.json")
}

/// Where the listing of every definition stands.
pub fn definitions(work: &Utf8Path) -> Utf8PathBuf {
    work.join("definitions.json")
}

/// Lists what something could take along.
pub fn cascades(access: &Access) -> Section {
    Section::new("cascades", "List what would go along", "All of it is shown.").with_all(cascade_steps(access))
}

fn cascade_steps(access: &Access) -> [Step; 2] {
    let work = access.work();
    let list = |name: &str, what: Arg, file: Utf8PathBuf| {
        Step::new(
            name,
            "List everything that could go along",
            "A namespace, a CRD and a claim take others along, and all of it is shown.",
            Effect::Read,
            Action::Run(
                access
                    .kubectl()
                    .arg("get")
                    .arg(what)
                    .args(["--all-namespaces", "--output=json"])
                    .to_file(file)
                    .within(120),
            ),
        )
    };
    [
        list(
            "everything.list",
            Arg::Later {
                file: work.join("resources.json"),
                pointer: "/resources".to_owned(),
            },
            everything(&work),
        ),
        list(
            "definition.list",
            "customresourcedefinitions.apiextensions.k8s.io".into(),
            definitions(&work),
        ),
    ]
}

/// A delete and a wait for each object. The UID stands in the delete, so that an object that was made anew under
/// the same name is kept; so does the resourceVersion of what only a person or a deployment writes.
pub fn deletes(access: &Access, deletions: &[Deletion]) -> Section {
    let mut steps = Vec::new();
    for (index, deletion) in deletions.iter().enumerate() {
        let gone = Probe::Gone {
            command: access
                .kubectl()
                .args(["get", "--ignore-not-found", "--output=json"])
                .arg(format!("{}.{}", deletion.object.kind, versioned(deletion)))
                .arg(format!("--namespace={}", deletion.object.namespace))
                .arg(deletion.object.name.as_str())
                .within(30),
            pointer: "/metadata/uid".to_owned(),
            value: deletion.uid.clone(),
        };
        let mut preconditions = json!({"uid": deletion.uid});
        if let Some(version) = &deletion.version {
            preconditions["resourceVersion"] = json!(version);
        }
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": preconditions,
        });
        steps.push(
            Step::new(
                &format!("object-{:03}.delete", index + 1),
                format!("Delete {} (uid {})", deletion.object, deletion.uid),
                "The project no longer has it.",
                Effect::Destroy,
                Action::Run(
                    access
                        .kubectl()
                        .arg("delete")
                        .arg(format!("--raw={}", deletion.path))
                        .arg("--filename=-")
                        .from_text(options.to_string())
                        .within(60),
                ),
            )
            .unless(gone.clone()),
        );
        steps.push(Step::new(
            &format!("object-{:03}.wait", index + 1),
            format!("Wait until {} is gone", deletion.object),
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
fn versioned(deletion: &Deletion) -> String {
    match deletion.object.api_version.split_once('/') {
        Some((group, version)) => format!("{version}.{group}"),
        None => format!("{}.", deletion.object.api_version),
    }
}

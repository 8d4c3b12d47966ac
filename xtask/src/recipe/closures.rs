//! The steps that bring the Nix closures which volumes name to where nix-csi finds them, before they are mounted.

use camino::Utf8Path;
use serde_json::json;

use crate::command::Arg;
use crate::live::closures::{FindClosures, NoClosures};
use crate::plan::{Action, Effect, Probe, Step};

/// Refuses closures where the platform config names no store for them; before anything is written.
pub fn check(project: &Utf8Path, cluster: &str) -> Step {
    Step::new(
        "closures.check",
        "Check that no volume names a Nix closure",
        "The platform config names no store to copy one to, and its pods would never start.",
        Effect::Read,
        Action::task(NoClosures {
            project: project.to_owned(),
            cluster: cluster.to_owned(),
        }),
    )
}

/// Copies the closures of these phases to a store. `first` tells the groups of a plan apart.
pub fn copy(project: &Utf8Path, phases: &[String], first: &str, store: &str, work: &Utf8Path) -> Vec<Step> {
    let list = work.join(format!("closures-{first}.json"));
    vec![
        Step::new(
            &format!("closures-{first}.find"),
            format!("Find the Nix closures that volumes of {} name", phases.join(", ")),
            "nix-csi mounts what is in the store, and a pod waits for what is not.",
            Effect::Read,
            Action::task(FindClosures {
                project: project.to_owned(),
                phases: phases.to_vec(),
                to: list.clone(),
            }),
        ),
        Step::new(
            &format!("closures-{first}.copy"),
            format!("Copy them to `{store}`"),
            "Only what that store does not have yet.",
            Effect::Remote,
            Action::Run(
                super::nix_with(&["copy", "--to"])
                    .arg(store)
                    .arg(Arg::LaterList {
                        file: list.clone(),
                        pointer: "/paths".to_owned(),
                    })
                    .within(3600),
            ),
        )
        .unless(Probe::Says {
            file: list,
            pointer: "/paths".to_owned(),
            value: json!([]),
        }),
    ]
}

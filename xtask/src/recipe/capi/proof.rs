//! The proof of a rehearsal: the target's controllers carry out what they are told.
//! It is no part of a bootstrap.

use serde_json::json;

use super::Bootstrap;
use crate::cluster::capi::Want;
use crate::plan::{Action, Effect, Probe, Section, Step};

impl Bootstrap<'_> {
    /// Shows that the target's controllers do what they are told: one worker more.
    pub(super) fn scale(&self, deployment: &str, to: u32) -> Section {
        let access = &self.target.access;
        let steps = [
            Step::new(
                "workers.scale",
                format!("Scale `{deployment}` to {to}"),
                "A target that only looks right would not carry it out.",
                Effect::Remote,
                Action::Run(
                    access
                        .kubectl()
                        .args(["scale", "machinedeployments.cluster.x-k8s.io", deployment])
                        .arg(format!("--replicas={to}"))
                        .arg(format!("--namespace={}", self.api.namespace)),
                ),
            )
            .unless(Probe::Prints {
                command: access
                    .kubectl()
                    .args([
                        "get",
                        "machinedeployments.cluster.x-k8s.io",
                        deployment,
                        "--output=json",
                    ])
                    .arg(format!("--namespace={}", self.api.namespace))
                    .within(30),
                pointer: "/spec/replicas".to_owned(),
                value: json!(to),
            }),
            Step::new(
                "workers.run",
                "Wait until the new machine is Running",
                "That is the proof.",
                Effect::Read,
                Action::Wait {
                    until: Probe::Capi {
                        command: self.list(access),
                        want: Want::Running {
                            machines: self.machines + 1,
                        },
                    },
                    deadline: 120,
                    every: 1,
                },
            ),
        ];
        Section::new(
            "scale",
            format!("Scale `{deployment}` to {to}"),
            "A target that only looks right would not carry it out.",
        )
        .with_all(steps)
    }
}

//! What is looked at before anything is made: what the stage will ask its provider for, whether that is there, the
//! zone of the record, and that everything is committed. Nothing is asked of a cluster.

use serde_json::json;

use super::{Bootstrap, Controllers};
use crate::cluster::capi::ReadRequirements;
use crate::cluster::capi::provider_preflight::{Hetzner, ProviderPreflight, Zone};
use crate::plan::{Action, Effect, Probe, Section, Step};
use crate::recipe::{Source, nix_build};

/// Hetzner Cloud's interface.
const HETZNER: &str = "https://api.hetzner.cloud/v1";

/// Seconds that the interface may be overloaded.
const DEADLINE: u64 = 120;

impl Bootstrap<'_> {
    /// Finds everything that is missing at once, unless the machines are on their way already. A rehearsal asks
    /// nobody: its machines are in memory.
    pub(super) fn provider_preflight(&self) -> Option<Section> {
        let (Controllers::Pods, Some(secret)) = (self.controllers, &self.secret) else {
            return None;
        };
        let wanted = self.work("requirements.json");
        let mut steps = Vec::new();
        if let Source::Built { attribute, link } = &self.capi.source {
            steps.push(Step::new(
                "requirements.build",
                format!("Build `.#{attribute}`"),
                "It says what the provider will be asked for.",
                Effect::Local,
                Action::Run(nix_build(attribute, link.as_str())),
            ));
        }
        steps.push(Step::new(
            "requirements.read",
            "Read which machines, images and keys it needs",
            "What is deployed is what is looked for.",
            Effect::Read,
            Action::task(ReadRequirements {
                project: self.capi.source.folder(),
                to: wanted.clone(),
            }),
        ));
        steps.push(Step::new(
            "provider.preflight",
            "Look whether the provider and the zone have everything, and no such cluster yet",
            "Every problem is named at once, before anything is made that costs.",
            Effect::Read,
            Action::task(ProviderPreflight {
                requirements: wanted,
                hetzner: Hetzner {
                    api: HETZNER.to_owned(),
                    token: secret.variable.to_owned(),
                    deadline: DEADLINE,
                },
                zone: self.dns.as_ref().and_then(|dns| {
                    Some(Zone {
                        at: dns.cloudflare.clone()?,
                        name: dns.name.clone(),
                    })
                }),
            }),
        ));
        Some(
            Section::new(
                "provider",
                "Check that the provider has what is needed",
                "Every problem is named at once, before anything is made that costs.",
            )
            .with_all(steps)
            .unless(self.is_under_way())
            .unless(self.moving()),
        )
    }

    /// The bootstrap cluster has the Cluster, so that servers of that name are its own.
    fn is_under_way(&self) -> Probe {
        let name = self.name;
        Probe::Prints {
            command: self
                .source
                .access
                .kubectl()
                .args(["get", "clusters.cluster.x-k8s.io", name, "--output=json"])
                .args(["--ignore-not-found", "--request-timeout=5s"])
                .arg(format!("--namespace={}", self.api.namespace))
                .within(10),
            pointer: "/metadata/name".to_owned(),
            value: json!(name),
        }
    }

    /// Production gets what is committed, which a plan that makes machines first has to know first.
    pub(super) fn tree(&self, goal: &str) -> Option<Section> {
        (self.controllers == Controllers::Pods).then(|| {
            let deploy = self.deploy(&self.target, &self.full, goal);
            deploy.tree_section().unless(self.moving())
        })
    }
}

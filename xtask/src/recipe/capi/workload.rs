//! The workload cluster before the move: its kubeconfig, that it is another cluster, and what it needs at once.
//! Nothing of ClusterAPI is put there.

use super::{Bootstrap, Controllers, FIRST, Staged};
use crate::cluster::capi::{self, DistinctClusters, ProjectPart};
use crate::plan::{Action, Effect, Probe, Section, Step};
use crate::recipe::deploy::Deploy;
use crate::recipe::{Parts, Source, nix_build};

impl Bootstrap<'_> {
    /// Fetches the kubeconfig of the workload cluster and uses it.
    pub(super) fn kubeconfig(&self) -> Section {
        let access = &self.source.access;
        let workload = &self.workload;
        let mut steps = vec![
            Step::new(
                "kubeconfig.fetch",
                format!("Fetch the kubeconfig of `{}`", self.name),
                "It stands in a Secret beside the Cluster; extracted too early it would lead nowhere.",
                Effect::Local,
                Action::Run(
                    capi::clusterctl(access, &self.configuration())
                        .args(["get", "kubeconfig"])
                        .arg(self.name)
                        .arg(format!("--namespace={}", self.api.namespace))
                        .flag_path("--kubeconfig", &access.kubeconfig)
                        .arg(format!("--kubeconfig-context={}", access.context))
                        .to_file(&workload.kubeconfig),
                ),
            ),
            Step::new(
                "workload.answer",
                format!("Wait until `{}` answers", self.name),
                "Everything after this speaks to it.",
                Effect::Read,
                Action::Wait {
                    until: Probe::Succeeds(workload.kubectl().args(["get", "nodes"]).within(20)),
                    deadline: 600,
                    every: 2,
                },
            ),
        ];
        let here = self.work("source-kube-system.json");
        let there = self.work("workload-kube-system.json");
        // The API server of a rehearsal's machines is in memory and has no `kube-system` of its own.
        if self.controllers == Controllers::Pods {
            for (name, access, file) in [("source", access, &here), ("workload", workload, &there)] {
                steps.push(Step::new(
                    &format!("{name}-uid.read"),
                    format!("Read the UID of `{}`", access.cluster),
                    "A cluster is known by the UID of its kube-system.",
                    Effect::Read,
                    Action::Run(
                        access
                            .kubectl()
                            .args(["get", "namespace", "kube-system", "--output=json"])
                            .to_file(file),
                    ),
                ));
            }
            steps.push(Step::new(
                "workload.tell",
                "Check that the kubeconfig leads to another cluster",
                "A wrong record would lead back to the bootstrap cluster or to a foreign one.",
                Effect::Read,
                Action::task(DistinctClusters {
                    one: here,
                    other: there,
                }),
            ));
        }
        Section::new(
            "kubeconfig",
            format!("Fetch the kubeconfig of `{}`", self.name),
            "Everything after this speaks to it.",
        )
        .with_all(steps)
    }

    /// What the workload cluster needs before anything else can run on it.
    pub(super) fn base(&self, goal: &str) -> Parts {
        let phases: Vec<String> = self
            .full
            .description
            .phases
            .iter()
            .filter(|phase| FIRST.contains(&phase.as_str()))
            .cloned()
            .collect();
        let project = self.work("base");
        let staged = Staged {
            stage: self.full.stage,
            description: capi::part_of(&self.full.description, &phases),
            source: Source::Folder(project.clone()),
        };
        let mut steps = Vec::new();
        if let Source::Built { attribute, link } = &self.full.source {
            steps.push(Step::new(
                "project.fetch",
                format!("Build `.#{attribute}`"),
                "Its first phases are needed at once.",
                Effect::Local,
                Action::Run(nix_build(attribute, link.as_str())),
            ));
        }
        steps.push(Step::new(
            "project.part",
            format!("Take {} of stage full", phases.join(", ")),
            "No node is Ready without a CNI, and health checks reboot nodes that are not.",
            Effect::Local,
            Action::task(ProjectPart {
                from: self.full.source.folder(),
                phases,
                to: project,
            }),
        ));
        let deploy = self.deploy(&self.target, &staged, goal);
        // Its operator comes with the rest.
        let deploy = Deploy { key: None, ..deploy }.parts();
        Parts {
            section: Section::new(
                "base",
                format!("Deploy to `{}` what it needs at once", self.name),
                "No node is Ready without a CNI, and health checks reboot nodes that are not.",
            )
            .with_all(steps)
            .with(deploy.section),
            finally: deploy.finally.named("target-lease"),
        }
    }

    pub(super) fn full(&self, goal: &str) -> Parts {
        let deploy = self.deploy(&self.target, &self.full, goal).parts();
        Parts {
            section: deploy.section.named("full"),
            finally: deploy.finally.named("target-lease"),
        }
    }
}

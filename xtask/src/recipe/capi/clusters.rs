//! The two clusters of a bootstrap, as hosts of its parts: up before, and the first down once it is not needed.
//! What runs in them is the business of the other parts.

use super::Bootstrap;
use crate::cluster::capi::PivotDone;
use crate::plan::{Action, Effect, Probe, Section, Step};
use crate::platform::{Backend, Environment};
use crate::recipe::{Parts, embedded, local_up};

impl Bootstrap<'_> {
    /// The bootstrap cluster, up and with its stage: also when it was restarted, or not, in the midst of a move.
    pub(super) fn source_up(&self, goal: &str) -> Parts {
        let access = &self.source.access;
        let deploy = self.deploy(&self.source, &self.local, goal);
        let cluster = match &self.vm {
            None => embedded::up(access, self.source.config).unless(self.done()),
            Some(vm) => {
                let answers = Probe::Succeeds(
                    access
                        .kubectl()
                        .args(["get", "--raw=/readyz", "--request-timeout=5s"])
                        .within(10),
                );
                let moves_on = Probe::All(vec![self.moving(), answers]);
                local_up::cluster(&deploy, Some(vm)).unless(Probe::Any(vec![self.done(), moves_on]))
            }
        };
        let parts = deploy.parts();
        let mut section = Section::new(
            "source",
            format!("Bring bootstrap cluster `{}` up with its stage", access.cluster),
            "Controllers have to make the first machines.",
        )
        .with(cluster)
        .with(parts.section.unless(self.moving()));
        if let Some(vm) = &self.vm {
            section.push(local_up::reach(&deploy, vm).unless(self.moving()));
        }
        Parts {
            section,
            finally: parts.finally.named("source-lease"),
        }
    }

    /// The cluster that will manage itself, up where that is a control plane of this host.
    pub(super) fn target_up(&self) -> Option<Section> {
        (self.target.backend == Backend::Embedded)
            .then(|| embedded::up(&self.target.access, self.target.config).named("target"))
    }

    /// Removes the bootstrap cluster, once the pivot is done.
    pub(super) fn source_down(&self) -> Section {
        let access = &self.source.access;
        // A bootstrap cluster is asked for by its own name, never by that of the cluster that it made.
        let production = self.source.config.environment == Environment::Production;
        let check = Step::new(
            "pivot.check",
            "Check that the pivot is done and recorded",
            "The bootstrap cluster is the only other place that has the objects.",
            Effect::Read,
            Action::task(PivotDone { record: self.pivot() }),
        );
        let down = match &self.vm {
            None => embedded::down(access).each_step(&|mut step| {
                if step.id == "cluster.stop" {
                    step.effect = Effect::Destroy;
                    step = step.changing(&access.cluster, production);
                }
                step
            }),
            Some(vm) => vm
                .delete()
                .unless(Probe::Not(Box::new(Probe::Exists(access.kubeconfig.clone())))),
        };
        Section::new(
            "remove",
            format!("Remove the bootstrap cluster `{}`", access.cluster),
            "Its objects are on the target, whose controllers have looked at them.",
        )
        .with(check)
        .with(down)
    }

    /// Ends everything of a rehearsal.
    pub(super) fn sweep(&self) -> Vec<Section> {
        [("source", &self.source), ("target", &self.target)]
            .into_iter()
            .map(|(name, side)| {
                Section::new(
                    &format!("sweep-{name}"),
                    format!("Remove what the rehearsal made of `{}`", side.access.cluster),
                    "A rehearsal leaves nothing.",
                )
                .with_all(self.controllers_down(side, "controllers.end"))
                .with(embedded::down(&side.access))
            })
            .collect()
    }
}

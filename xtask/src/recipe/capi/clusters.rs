//! The two clusters of a bootstrap, as hosts of its parts: up before, and the first down once it is not needed.
//! What runs in them is the business of the other parts.

use super::Bootstrap;
use crate::plan::capi::Capi;
use crate::plan::{Action, Command, Derivation, Effect, Probe, Step, Tool};
use crate::platform::{Backend, Environment};
use crate::recipe::embedded;

impl Bootstrap<'_> {
    /// The bootstrap cluster, up: also when it was restarted, or not, in the midst of a move.
    pub(super) fn source_up(&self) -> Vec<Step> {
        let access = &self.source.access;
        if self.source.backend == Backend::Embedded {
            return embedded::up(access, self.source.facts)
                .into_iter()
                .map(|step| step.of("source").or_when(self.done()))
                .collect();
        }
        let answers = Probe::Succeeds(
            access
                .kubectl()
                .args(["get", "--raw=/readyz", "--request-timeout=5s"])
                .within(10),
        );
        let moves_on = Probe::All(vec![self.moving(), answers]);
        let up = Step::new(
            "source.up",
            format!("Bring `{}` up with its stage", self.source.access.cluster),
            "Somebody has to make the first machines; the verb finds out itself what is left to do.",
            Effect::Local,
            Action::Run(
                Command::new(Tool::Xtask)
                    .args(["local-up", "--yes"])
                    .arg(format!("--cluster={}", self.source.access.cluster))
                    .arg(format!("--backend={}", self.source.backend.name()))
                    .within(3600),
            ),
        );
        vec![up.unless(Probe::Any(vec![self.done(), moves_on]))]
    }

    pub(super) fn target_up(&self) -> Vec<Step> {
        if self.target.backend != Backend::Embedded {
            return Vec::new();
        }
        embedded::up(&self.target.access, self.target.facts)
            .into_iter()
            .map(|step| step.of("target"))
            .collect()
    }

    /// Removes the bootstrap cluster, once the pivot is done.
    pub(super) fn source_down(&self) -> Vec<Step> {
        let access = &self.source.access;
        // A bootstrap cluster is asked for by its own name, never by that of the cluster that it made.
        let production = self.source.facts.environment == Environment::Production;
        let check = Step::new(
            "pivot.check",
            "Check that the pivot is done and recorded",
            "The bootstrap cluster is the only other place that has the objects.",
            Effect::Read,
            Action::Check(Derivation::Capi(Capi::Pivoted { record: self.pivot() })),
        );
        let mut steps = vec![check];
        if self.source.backend == Backend::Embedded {
            let down = embedded::down(access).into_iter().map(|step| step.of("source"));
            steps.extend(down.map(|mut step| {
                if step.id == "source-cluster.stop" {
                    step.effect = Effect::Destroy;
                    step = step.changing(&access.cluster, production);
                }
                step
            }));
        } else {
            steps.push(
                Step::new(
                    "source.remove",
                    format!("Remove the bootstrap cluster `{}`", access.cluster),
                    "Its objects are on the target, whose controllers have looked at them.",
                    Effect::Destroy,
                    Action::Run(
                        Command::new(Tool::Xtask)
                            .args(["local-down", "--delete", "--yes"])
                            .arg(format!("--cluster={}", access.cluster))
                            .within(900),
                    ),
                )
                .changing(&access.cluster, production)
                .unless(Probe::Not(Box::new(Probe::Exists(access.kubeconfig.clone())))),
            );
        }
        steps
    }

    /// Ends everything of a rehearsal.
    pub(super) fn sweep_steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (name, side) in [("source", &self.source), ("target", &self.target)] {
            steps.extend(self.controllers_down(side, &format!("sweep-{name}-controllers.end")));
            steps.extend(
                embedded::down(&side.access)
                    .into_iter()
                    .map(|step| step.of(&format!("sweep-{name}"))),
            );
        }
        steps
    }
}

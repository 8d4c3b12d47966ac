//! The move itself, from the preflight to the proof: each step judges by the objects, for a run may begin anywhere.
//! What clusterctl's exit status says counts for nothing.

use serde_json::json;

use super::{Bootstrap, Side};
use crate::cluster::capi;
use crate::plan::capi::{Capi, PivotState, Want};
use crate::plan::{Action, Command, Derivation, Effect, Probe, Step};

impl Bootstrap<'_> {
    /// From the preflight to the proof that the target's controllers have taken over.
    pub(super) fn move_steps(&self) -> Vec<Step> {
        let mut steps = vec![self.heal_step("pause.clear").or_when(self.moving())];
        steps.extend(
            self.preflight_steps()
                .into_iter()
                .map(|step| step.or_when(self.moving())),
        );
        steps.extend(self.backup_steps().into_iter().map(|step| step.or_when(self.moving())));
        steps.extend(self.record_steps("begun", PivotState::Started, None));
        steps.extend(self.controllers_down(&self.source, "source-controllers.end"));
        steps.extend(self.locate_steps("begin"));
        steps.push(self.unpause("source", &self.source, "begin", "/unpauseSource"));
        steps.push(Step::new(
            "move.allow",
            "Check that the move can go on from here",
            "Nothing is deleted that the target does not have, and no machine may have two masters.",
            Effect::Read,
            Action::Check(Derivation::Capi(Capi::Movable {
                located: self.work("located-begin.json"),
            })),
        ));
        steps.push(
            Step::new(
                "capi.move",
                format!(
                    "Move `{}` from `{}` to `{}`",
                    self.name, self.source.access.cluster, self.target.access.cluster
                ),
                "It pauses the source, creates on the target, deletes on the source, and unpauses the target.",
                Effect::Remote,
                Action::Run(
                    self.clusterctl_move()
                        .flag_path("--to-kubeconfig", &self.target.access.kubeconfig)
                        .arg(format!("--to-kubeconfig-context={}", self.target.access.context))
                        .arg("--v=1")
                        .within(900)
                        .or_look_next(),
                ),
            )
            .unless(Probe::Not(Box::new(self.says("begin", "/moveOn", json!(true))))),
        );
        steps.extend(self.locate_steps("moved"));
        steps.extend(self.complete_steps());
        steps.extend(self.locate_steps("left"));
        steps.push(self.unpause("target", &self.target, "left", "/unpauseTarget"));
        steps.extend(self.locate_steps("done"));
        steps.push(Step::new(
            "move.check",
            "Check that everything is on the target and nothing on the source",
            "clusterctl ends 0 also when it has moved nothing; only the objects count.",
            Effect::Read,
            Action::Check(Derivation::Capi(Capi::Moved {
                located: self.work("located-done.json"),
            })),
        ));
        let mut after = vec![self.machines_step(
            "target.reconcile",
            &self.target,
            "Wait until the controllers have taken every machine over",
        )];
        after.push(self.emptied());
        // In this order: the record on this host says that both clusters have theirs.
        after.extend(self.record_steps("ended", PivotState::Done, Some("done")));
        let unless_done = |step: Step| step.or_when(self.done());
        let mut all: Vec<Step> = steps.into_iter().map(unless_done).collect();
        // Those of a rehearsal are processes of this host, and may have ended with it.
        all.extend(self.controllers_up("target", &self.target));
        all.extend(after.into_iter().map(unless_done));
        all
    }

    pub(super) fn clusterctl_move(&self) -> Command {
        let access = &self.source.access;
        capi::clusterctl(access, &self.configuration())
            .arg("move")
            .arg(format!("--namespace={}", self.api.namespace))
            .flag_path("--kubeconfig", &access.kubeconfig)
            .arg(format!("--kubeconfig-context={}", access.context))
    }

    pub(super) fn says(&self, round: &str, pointer: &str, value: serde_json::Value) -> Probe {
        Probe::Says {
            file: self.work(&format!("located-{round}.json")),
            pointer: pointer.to_owned(),
            value,
        }
    }

    pub(super) fn unpause(&self, name: &str, side: &Side<'_>, round: &str, pointer: &str) -> Step {
        Step::new(
            &format!("{name}.unpause"),
            format!("Unpause `{}` on `{}`", self.name, side.access.cluster),
            "A move that was cut off leaves it paused, and nobody would look at it again.",
            Effect::Remote,
            Action::Run(self.patch_paused(&side.access)),
        )
        .unless(Probe::Not(Box::new(self.says(round, pointer, json!(true)))))
    }

    /// Completes a move that was cut off while it deleted: what the target has is taken from the source.
    pub(super) fn complete_steps(&self) -> Vec<Step> {
        let access = &self.source.access;
        let leftovers = self.work("leftovers-moved.json");
        let not_needed = Probe::Not(Box::new(self.says("moved", "/place", json!("deleting"))));
        let on = |verb: &str| {
            access
                .kubectl()
                .arg(verb)
                .list_path("--filename", &leftovers)
                .within(120)
        };
        let steps = [
            Step::new(
                "leftovers.mark",
                "Mark what is left on the source as moved",
                "As clusterctl does, so that no webhook forbids the deletion.",
                Effect::Remote,
                Action::Run(
                    on("annotate")
                        .arg("--overwrite")
                        .arg(format!("{}=", capi::DELETE_FOR_MOVE))
                        .or_look_next(),
                ),
            ),
            Step::new(
                "leftovers.delete",
                "Delete it from the source",
                "The target has every object of it; the machines belong to the target now.",
                Effect::Remote,
                Action::Run(on("delete").args(["--ignore-not-found", "--wait=false"])),
            ),
            Step::new(
                "leftovers.release",
                "Take its finalizers off",
                "No controller may carry the deletion out: it would delete the machines themselves.",
                Effect::Remote,
                Action::Run(
                    on("patch")
                        .args(["--type=merge", "--patch={\"metadata\":{\"finalizers\":null}}"])
                        .or_look_next(),
                ),
            ),
        ];
        steps.into_iter().map(|step| step.unless(not_needed.clone())).collect()
    }

    pub(super) fn emptied(&self) -> Step {
        Step::new(
            "source.empty",
            "Check that the source has no Cluster and no Machine",
            "Its controllers would make a second cluster of what is left.",
            Effect::Read,
            Action::Wait {
                until: Probe::Capi {
                    command: self.list(&self.source.access),
                    want: Want::Nothing,
                },
                deadline: 60,
                every: 1,
            },
        )
    }
}

//! The move itself, from the preflight to the proof: each step judges by the objects, for a run may begin anywhere.
//! What clusterctl's exit status says counts for nothing.

use serde_json::json;

use super::{Bootstrap, Side};
use crate::cluster::capi::{self, MoveDone, MovePossible, PivotState, Want};
use crate::command::Command;
use crate::plan::{Action, Effect, Probe, Section, Step};

impl Bootstrap<'_> {
    /// From the preflight to the proof that the target's controllers have taken over.
    pub(super) fn move_section(&self) -> Section {
        let prepare = Section::new("prepare", "Prepare the move", "A backup says what has to arrive.")
            .with(self.heal_step("pause.clear"))
            .with(self.preflight())
            .with(self.back_up())
            .unless(self.moving());
        let mut carry = Section::new(
            "objects",
            format!("Move the objects of `{}`", self.name),
            "Each step judges by the objects, for a run may begin anywhere.",
        )
        .with_all(self.record_steps("begun", PivotState::Started, None))
        .with_all(self.controllers_down(&self.source, "source-controllers.end"))
        .with_all(self.locate_steps("begin"))
        .with(self.unpause("source", &self.source, "begin", "/unpauseSource"));
        carry.push(Step::new(
            "move.allow",
            "Check that the move can go on from here",
            "Nothing is deleted that the target does not have, and no machine may have two masters.",
            Effect::Read,
            Action::task(MovePossible {
                located: self.work("located-begin.json"),
            }),
        ));
        carry.push(
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
        carry.extend(self.locate_steps("moved"));
        carry.push(self.complete());
        carry.extend(self.locate_steps("left"));
        carry.push(self.unpause("target", &self.target, "left", "/unpauseTarget"));
        carry.extend(self.locate_steps("done"));
        carry.push(Step::new(
            "move.check",
            "Check that everything is on the target and nothing on the source",
            "clusterctl exits with code 0 also when it has moved nothing; only the objects count.",
            Effect::Read,
            Action::task(MoveDone {
                located: self.work("located-done.json"),
            }),
        ));
        let prove = Section::new(
            "prove",
            format!("Check that `{}` manages itself", self.name),
            "Its controllers have looked at every machine, and nothing is left behind.",
        )
        .with(self.machines_step(
            "target.reconcile",
            &self.target,
            "Wait until the controllers have taken every machine over",
        ))
        .with(self.emptied())
        // In this order: the record on this host says that both clusters have theirs.
        .with_all(self.record_steps("ended", PivotState::Done, Some("done")));
        Section::new(
            "move",
            format!(
                "Move `{}` from `{}` to `{}`",
                self.name, self.source.access.cluster, self.target.access.cluster
            ),
            "From then on the cluster manages its own machines.",
        )
        .with(prepare)
        .with(carry.unless(self.done()))
        // Those of a rehearsal are processes of this host, and may have ended with it.
        .with_all(self.controllers_up("target", &self.target))
        .with(prove.unless(self.done()))
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
            "A move that was cut off leaves it paused, and no controller would look at it again.",
            Effect::Remote,
            Action::Run(self.patch_paused(&side.access)),
        )
        .unless(Probe::Not(Box::new(self.says(round, pointer, json!(true)))))
    }

    /// Completes a move that was cut off while it deleted: what the target has is taken from the source.
    pub(super) fn complete(&self) -> Section {
        let access = &self.source.access;
        let remnants = self.work("remnants-moved.json");
        let not_needed = Probe::Not(Box::new(self.says("moved", "/place", json!("deleting"))));
        let on = |verb: &str| {
            access
                .kubectl()
                .arg(verb)
                .list_path("--filename", &remnants)
                .within(120)
        };
        let steps = [
            Step::new(
                "remnants.mark",
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
                "remnants.delete",
                "Delete it from the source",
                "The target has every object of it; the machines belong to the target now.",
                Effect::Remote,
                Action::Run(on("delete").args(["--ignore-not-found", "--wait=false"])),
            ),
            Step::new(
                "remnants.release",
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
        Section::new(
            "complete",
            "Complete a move that was cut off",
            "What the target has is taken from the source.",
        )
        .with_all(steps)
        .unless(not_needed)
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

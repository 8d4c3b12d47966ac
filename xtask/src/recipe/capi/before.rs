//! What comes before a move: its preflight, and the backup that says what has to arrive.
//! A backup pauses the source for a moment, so a pause of a run that was cut off is taken back first.

use camino::Utf8PathBuf;
use serde_json::json;

use super::Bootstrap;
use crate::cluster::access::Access;
use crate::cluster::capi::{self, MoveGraph, MovePreflight};
use crate::command::Command;
use crate::plan::{Action, Effect, Probe, Section, Step};

impl Bootstrap<'_> {
    pub(super) fn preflight(&self) -> Section {
        let mut steps = Vec::new();
        let mut files = Vec::new();
        for (name, side, more) in [("source", &self.source, ""), ("target", &self.target, ",nodes")] {
            let file = self.work(&format!("preflight-{name}.json"));
            let mut get = side.access.kubectl().arg("get");
            get = get.arg(format!("cluster-api,providers.clusterctl.cluster.x-k8s.io{more}"));
            steps.push(Step::new(
                &format!("{name}-objects.list"),
                format!("List what `{}` has of ClusterAPI", side.access.cluster),
                "Every check looks at one listing, and finds all problems at once.",
                Effect::Read,
                Action::Run(
                    get.args(["--all-namespaces", "--output=json", "--ignore-not-found"])
                        .to_file(&file)
                        .within(60),
                ),
            ));
            files.push(file);
        }
        let secrets = self.work("preflight-secrets.json");
        let mut names = Vec::new();
        if let Some(secret) = &self.secret {
            names.push(secret.name.to_owned());
        }
        steps.push(Step::new(
            "secrets.list",
            "List the Secrets that go along",
            "By their label, without their values.",
            Effect::Read,
            Action::Run(
                self.source
                    .access
                    .kubectl()
                    .args(["get", "secrets", "--output=name"])
                    .arg(format!("--selector={}", capi::MOVE))
                    .arg(format!("--namespace={}", self.api.namespace))
                    .to_file(&secrets),
            ),
        ));
        steps.push(Step::new(
            "move.preflight",
            "Check everything that a move needs",
            "clusterctl's own dry run looks at none of it, and a move that fails half-way leaves clusters paused.",
            Effect::Read,
            Action::task(MovePreflight {
                namespace: self.api.namespace.clone(),
                secrets: names,
                labelled: secrets,
                source: files[0].clone(),
                target: files[1].clone(),
                ours: self.work("pausing"),
            }),
        ));
        Section::new(
            "preflight",
            "Check everything that a move needs",
            "A move that fails half-way leaves clusters paused.",
        )
        .with_all(steps)
    }

    /// The state of the source as files: a backup, and the list of what has to move.
    pub(super) fn back_up(&self) -> Section {
        let backup = self.backup();
        let steps = [
            Step::new(
                "pause.note",
                "Note that this run pauses the source",
                "A backup pauses it for a moment; killed there, the next run may unpause it.",
                Effect::Local,
                Action::Write {
                    path: self.work("pausing"),
                    content: format!("{}\n", self.nonce),
                    mode: 0o600,
                },
            ),
            Step::new(
                "backup.clear",
                "Remove a backup that was cut off",
                "An old object must not be taken for one of now.",
                Effect::Local,
                Action::Remove { path: backup.clone() },
            ),
            Step::new(
                "backup.make",
                "Make the folder of the backup",
                "clusterctl wants it to be there; it holds keys.",
                Effect::Local,
                Action::Write {
                    path: backup.join("objects/.keep"),
                    content: String::new(),
                    mode: 0o600,
                },
            ),
            Step::new(
                "backup.write",
                "Write every object that will move to files",
                "What is lost on the way can be restored, and it says exactly what has to arrive.",
                Effect::Remote,
                Action::Run(
                    self.clusterctl_move()
                        .flag_path("--to-directory", backup.join("objects"))
                        .within(300),
                ),
            ),
            Step::new(
                "graph.read",
                "Read what has to move",
                "clusterctl moves nothing and exits with code 0 where there is no Cluster.",
                Effect::Read,
                Action::task(MoveGraph {
                    backup: backup.join("objects"),
                    to: self.work("graph.json"),
                }),
            ),
        ];
        Section::new(
            "backup",
            "Back every object up that will move",
            "What is lost on the way can be restored.",
        )
        .with_all(steps)
    }

    pub(super) fn backup(&self) -> Utf8PathBuf {
        self.work("backup")
    }

    /// Unpauses the source where a backup of this plan was cut off; a pause of somebody else is left alone.
    pub(super) fn heal_step(&self, id: &str) -> Step {
        let access = &self.source.access;
        let not_ours = Probe::Not(Box::new(Probe::Exists(self.work("pausing"))));
        let not_paused = Probe::Not(Box::new(self.is_paused(access)));
        Step::new(
            id,
            "Unpause the source, should an earlier backup have been cut off",
            "No controller looks at a paused Cluster, and clusterctl refuses to move it.",
            Effect::Remote,
            Action::Run(self.patch_paused(access)),
        )
        .unless(Probe::Any(vec![not_ours, not_paused]))
    }

    pub(super) fn is_paused(&self, access: &Access) -> Probe {
        Probe::Prints {
            command: access
                .kubectl()
                .args([
                    "get",
                    "clusters.cluster.x-k8s.io",
                    self.name,
                    "--output=json",
                    "--ignore-not-found",
                ])
                .arg(format!("--namespace={}", self.api.namespace))
                .within(30),
            pointer: "/spec/paused".to_owned(),
            value: json!(true),
        }
    }

    pub(super) fn patch_paused(&self, access: &Access) -> Command {
        access
            .kubectl()
            .args(["patch", "clusters.cluster.x-k8s.io", self.name, "--type=merge"])
            .arg("--patch={\"spec\":{\"paused\":null}}")
            .arg(format!("--namespace={}", self.api.namespace))
    }
}

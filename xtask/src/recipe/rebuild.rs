//! The steps that make the project of an earlier revision once more, in a worktree that goes when they are done.

use camino::{Utf8Path, Utf8PathBuf};

use super::Parts;
use crate::base::root::STATE;
use crate::cluster::access::Access;
use crate::command::{Command, Tool};
use crate::live::project::CopyProject;
use crate::plan::{Action, Effect, Probe, Section, Step};
use crate::platform::Stage;

/// What is made once more.
#[derive(Debug, Clone, Copy)]
pub struct Rebuild<'a> {
    /// Whose project.
    pub access: &'a Access,
    /// Its stage.
    pub stage: Stage,
    /// The commit.
    pub revision: &'a str,
    /// Nonce of the run.
    pub nonce: &'a str,
    /// Where the project is put.
    pub to: &'a Utf8Path,
}

impl Rebuild<'_> {
    /// Folder of the worktree and of what is built in it.
    pub fn work(&self) -> Utf8PathBuf {
        Utf8Path::new(STATE).join("worktrees").join(self.nonce)
    }

    /// The parts, by where the deployment history says that the project came from; none when no revision has it.
    pub fn parts(&self, source: &str) -> Option<Parts> {
        let tree = self.work().join("tree");
        let pair = format!("{}-{}", self.access.cluster, self.stage);
        let mut steps = vec![Step::new(
            "worktree.add",
            format!("Check `{}` out beside this checkout", self.revision),
            "This checkout is a person's work and is not touched.",
            Effect::Local,
            Action::Run(
                Command::new(Tool::Git)
                    .args(["worktree", "add", "--detach", "--force"])
                    .arg(&tree)
                    .arg(self.revision)
                    .within(300),
            ),
        )];
        let project = match source {
            "golden" => tree.join(format!("k8s/golden/{}/{}", self.access.cluster, self.stage)),
            "nix" => {
                let link = self.work().join("result");
                steps.push(Step::new(
                    "project.rebuild",
                    format!("Build `k8s-manifests-{pair}` of that revision"),
                    "The same inputs give the same project.",
                    Effect::Local,
                    Action::Run(
                        Command::new(Tool::Nix)
                            .args([
                                "build",
                                "--extra-experimental-features",
                                "nix-command flakes",
                                "--no-write-lock-file",
                            ])
                            .arg(format!("./{tree}#k8s-manifests-{pair}"))
                            .arg("--out-link")
                            .arg(&link)
                            .within(3600),
                    ),
                ));
                link
            }
            _ => return None,
        };
        steps.push(Step::new(
            "project.take",
            format!("Copy the project to `{}`", self.to),
            "It has to outlast the worktree.",
            Effect::Local,
            Action::task(CopyProject {
                project,
                to: self.to.to_owned(),
            }),
        ));
        let section = Section::new(
            "rebuild",
            format!("Build the project of `{}` once more", self.revision),
            "The same inputs give the same project.",
        )
        .with_all(steps);
        let finally = Section::new("worktree", "Remove the worktree", "Git would remember it for ever.").with(
            Step::new(
                "worktree.remove",
                "Remove the worktree",
                "Git would remember it for ever.",
                Effect::Local,
                Action::Run(
                    Command::new(Tool::Git)
                        .args(["worktree", "remove", "--force"])
                        .arg(&tree)
                        .within(60),
                ),
            )
            .unless(Probe::Not(Box::new(Probe::Exists(tree)))),
        );
        Some(Parts { section, finally })
    }
}

//! A stage tried on a cluster that lives only as long as the trial.

use camino::{Utf8Path, Utf8PathBuf};

use super::deploy::Deploy;
use super::{embedded, local_up};
use crate::base::root::STATE;
use crate::cluster::access::Access;
use crate::command::{Command, Tool};
use crate::live::compare::NothingDiffers;
use crate::plan::{Action, Effect, Plan, Probe, Section, Step, Target};

/// Whether the cluster is kept for a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It stays.
    Cluster,
    /// Everything is torn down.
    Nothing,
}

/// Which state of the checkout is rehearsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At<'a> {
    /// The present one.
    Present,
    /// That of a commit, from a worktree.
    Commit(&'a str),
}

/// Brings an ephemeral cluster up, deploys the stage, shows that a second deploy has nothing to do, tears down.
pub fn plan(deploy: &Deploy<'_>, choices: Vec<String>, at: At<'_>, keep: Keep) -> Plan {
    let access = deploy.access;
    let mut plan = Plan::new(deploy.goal);
    plan.choices = choices;
    plan.target = Some(Target {
        cluster: access.cluster.clone(),
        production: false,
    });
    if let At::Commit(commit) = at {
        plan.sections.push(make_worktree(deploy, commit));
    }
    plan.sections.push(embedded::up(access, deploy.config));
    plan.sections[0].items.insert(0, local_up::clear_work(deploy).into());
    let parts = deploy.parts();
    plan.sections.push(parts.section);
    plan.sections.push(
        Section::new(
            "again",
            "Compare once more",
            "A deploy that never comes to rest is a fight between two managers.",
        )
        .with_all(deploy.again())
        .with(Step::new(
            "again.judge",
            "Check that a second deploy would write nothing",
            "A deploy that never comes to rest is a fight between two managers.",
            Effect::Read,
            Action::task(NothingDiffers {
                delta: access.work().join("delta-again.json"),
            }),
        )),
    );
    plan.finally.push(parts.finally);
    plan.finally.push(keep_diagnostics(access));
    if let At::Commit(_) = at {
        plan.finally.push(remove_worktree(access));
    }
    match keep {
        Keep::Nothing => plan.finally.push(embedded::down(access)),
        Keep::Cluster => {
            plan.finally
                .push(Section::new("keep", "Keep the cluster", "It was asked to stay.").with(note_kept(access)));
            plan.next = Some(format!(
                "kubectl --kubeconfig {} get pods -A; `cargo xtask clean --rehearsals` takes it down",
                access.kubeconfig
            ));
        }
    }
    plan
}

/// The file in a rehearsal's folder that says it was asked to stay.
pub fn kept(folder: &Utf8Path) -> Utf8PathBuf {
    folder.join("kept.json")
}

/// Says that the cluster was asked to stay.
pub fn note_kept(access: &Access) -> Step {
    let file = kept(&access.folder);
    Step::new(
        "cluster.keep",
        "Note that the cluster was asked to stay",
        "What a killed rehearsal left is ended by the next one; this is not.",
        Effect::Local,
        Action::Write {
            path: file.clone(),
            content: "{}\n".to_owned(),
            mode: 0o600,
        },
    )
    .unless(Probe::Exists(file))
}

/// The folder of a worktree of its own.
pub fn worktree(access: &Access) -> Utf8PathBuf {
    access.folder.join("tree")
}

/// Git in the checkout, without its hooks: they are for people.
fn git<const N: usize>(words: [&str; N]) -> Command {
    Command::new(Tool::Git)
        .args(["-c", "core.hooksPath=/dev/null"])
        .args(words)
}

/// Steps after which the commit's files stand in a worktree. Twice `--force`: a worktree whose making was cut off
/// is still known to Git, and locked.
fn make_worktree(deploy: &Deploy<'_>, commit: &str) -> Section {
    let tree = worktree(deploy.access);
    let whole = Probe::All(vec![
        Probe::Exists(tree.join(".git")),
        Probe::Exists(deploy.source.folder().join("stage.json")),
        Probe::Succeeds(
            Command::new(Tool::Git)
                .arg("-C")
                .arg(&tree)
                .args(["diff", "--quiet", commit, "--"])
                .within(60),
        ),
    ]);
    let steps = [
        Step::new(
            "worktree.clear",
            "Remove a worktree whose making was cut off",
            "Half of a commit is another one.",
            Effect::Local,
            Action::Remove { path: tree.clone() },
        ),
        Step::new(
            "worktree.make",
            format!(
                "Check commit {} out beside the checkout",
                &commit[..commit.len().min(12)]
            ),
            "The golden, and nothing else of the present state, is the commit's.",
            Effect::Local,
            Action::Run(
                git(["worktree", "add", "--force", "--force", "--detach"])
                    .arg(&tree)
                    .arg(commit)
                    .within(300),
            ),
        ),
    ];
    Section::new(
        "worktree",
        "Make a worktree of the commit",
        "The golden, and nothing else of the present state, is the commit's.",
    )
    .with(
        Section::new("checkout", "Check the commit out", "Half of a commit is another one.")
            .with_all(steps)
            .unless(whole),
    )
}

fn remove_worktree(access: &Access) -> Section {
    let tree = worktree(access);
    let step = Step::new(
        "worktree.remove",
        "Remove the worktree",
        "Git remembers each one until it is told.",
        Effect::Local,
        Action::Run(git(["worktree", "remove", "--force", "--force"]).arg(&tree).within(60)),
    )
    .unless(Probe::Not(Box::new(Probe::Exists(tree))));
    Section::new(
        "remove-worktree",
        "Remove the worktree",
        "Git remembers each one until it is told.",
    )
    .with(step)
}

/// Where a rehearsal that failed leaves what is worth a look.
pub fn diagnostics(access: &Access) -> Utf8PathBuf {
    Utf8PathBuf::from(STATE)
        .join("failed")
        .join(access.folder.file_name().unwrap_or("rehearsal"))
}

/// Asks the cluster what happened, before it goes; a rehearsal that went well has nothing to tell.
fn keep_diagnostics(access: &Access) -> Section {
    let went_well = Probe::Says {
        file: access.work().join("delta-again.json"),
        pointer: "/fresh".to_owned(),
        value: true.into(),
    };
    let unreachable = Probe::Not(Box::new(Probe::Succeeds(
        access.kubectl().args(["get", "--raw=/readyz"]).within(10),
    )));
    let step = |id: &str, title: &str, what: &str, output: &str, file: &str| {
        Step::new(
            id,
            title,
            "The cluster is gone when a person asks why it failed.",
            Effect::Read,
            Action::Run(
                access
                    .kubectl()
                    .args(["get", what, "--all-namespaces", output])
                    .to_file(diagnostics(access).join(file))
                    .within(60)
                    .or_look_next(),
            ),
        )
    };
    let steps = [
        step(
            "event.keep",
            "Keep the events",
            "events",
            "--output=json",
            "events.json",
        ),
        step(
            "object.keep",
            "Keep the objects that a stage is about, without any Secret",
            "nodes,namespaces,deployments,statefulsets,daemonsets,jobs,pods,services,persistentvolumeclaims",
            "--output=json",
            "objects.json",
        ),
        // A table names Secrets and shows no value.
        step(
            "secret.name",
            "Keep the names of Secrets",
            "secrets",
            "--output=wide",
            "secrets.txt",
        ),
    ];
    Section::new(
        "diagnostics",
        "Keep what the cluster says of a failure",
        "The cluster is gone when a person asks why it failed.",
    )
    .with_all(steps)
    .unless(Probe::Any(vec![went_well, unreachable]))
}

//! What rehearsals have left: the clusters of those that were killed, and those that were asked to stay.
//! It ends and removes them; a rehearsal that goes on is never touched.

use std::collections::BTreeSet;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::revision::Git;
use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::files;
use crate::base::lock_file::LockFile;
use crate::base::root::STATE;
use crate::base::state;
use crate::cluster::access::Access;
use crate::cluster::{capi, embedded};
use crate::command::{Command, Tool};
use crate::context::{Checkout, Context};
use crate::recipe::rehearse;
use crate::run::journal::Journal;
use crate::tool::Outcome;

/// Which clusters of rehearsals are ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that a killed run left.
    Dead,
    /// Also those that were asked to stay.
    Idle,
}

/// The folder of all rehearsals, relative to the root.
pub fn folder() -> Utf8PathBuf {
    Utf8Path::new(STATE).join("rehearsals")
}

/// Ends and removes clusters of rehearsals that no run is about; returns their folders.
pub fn sweep(context: &Context, checkout: &Checkout, which: Which) -> Result<Vec<Utf8PathBuf>> {
    let all = checkout.path(folder());
    if !all.is_dir() {
        return Ok(Vec::new());
    }
    // Two at once would end the same cluster, and the later one would miss what the earlier one removed.
    let _alone = lock(context, checkout)?;
    // The names first: a rehearsal that begins behind this line has no folder among them, and the run of every other
    // one is known by now.
    let mut names = BTreeSet::new();
    for entry in all.read_dir_utf8()? {
        names.insert(entry?.file_name().to_owned());
    }
    let going_on = Journal::plans_going_on(&checkout.root)?;
    let mut removed = Vec::new();
    for name in names {
        let access = Access::rehearsal("", &name);
        let relative = access.folder.clone();
        let wanted = format!("{relative}/");
        let busy = going_on
            .iter()
            .any(|plan| plan.contains(&wanted) || plan.contains(&format!("{relative}\"")));
        let kept = checkout.path(rehearse::kept(&relative)).exists();
        // One that has just ended has removed its own folder.
        if busy || (kept && which == Which::Dead) || !checkout.path(&relative).exists() {
            continue;
        }
        for processes in [capi::controllers(&access), embedded::folder(&access)] {
            embedded::end_processes(&checkout.path(processes))?;
        }
        forget_worktree(context, checkout, &rehearse::worktree(&access))?;
        // Another run may sweep at the same time.
        files::remove(&state::inside(&checkout.root, &relative)?)?;
        removed.push(relative);
    }
    Ok(removed)
}

/// Waits until no other process ends what rehearsals have left; that is over in seconds, or with the process.
fn lock(context: &Context, checkout: &Checkout) -> Result<LockFile> {
    let folder = checkout.path(STATE).join("locks");
    fs_err::create_dir_all(&folder)?;
    let path = folder.join("rehearsals.lock");
    let lock = LockFile::new(fs_err::OpenOptions::new().append(true).create(true).open(&path)?);
    while !lock
        .try_take()
        .or_fail(Kind::Unexpected, format!("cannot lock `{path}`"))?
    {
        context
            .ui
            .progress("waiting for another run, which ends what rehearsals have left");
        context.interrupt.sleep(Duration::from_millis(100));
        if context.interrupt.is_set() {
            context.ui.clear_progress();
            return Err(Failure::new(
                Kind::Interrupted,
                "waiting for another run, which ends what rehearsals have left, was interrupted",
            )
            .hinted("run the same command again"));
        }
    }
    context.ui.clear_progress();
    Ok(lock)
}

/// Git remembers a worktree until it is told; without Git here, its next clean-up finds that the folder is gone.
fn forget_worktree(context: &Context, checkout: &Checkout, tree: &Utf8Path) -> Result<()> {
    let git = context.toolbox("").look(&[Tool::Git]);
    if checkout.path(tree).exists() && git.iter().all(|git| matches!(git.outcome, Outcome::Found(_))) {
        let command = Command::new(Tool::Git)
            .args(["worktree", "remove", "--force", "--force"])
            .arg(tree);
        Git::of(context, checkout)?.ask(&command)?;
    }
    Ok(())
}

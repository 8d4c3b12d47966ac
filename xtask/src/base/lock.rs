//! A lock that keeps other runs of this host away from one subject.
//! It waits for nothing: who does not get it is told who has it.

use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::files;
use crate::base::lock_file::LockFile;
use crate::base::root::STATE;

/// Who holds a host lock, as its file says.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    since: String,
    goal: String,
}

/// Keeps other runs of this host away from one subject. The kernel gives it back when the process ends,
/// however it ends.
pub(crate) struct HostLock {
    _lock: LockFile,
    holder: Utf8PathBuf,
}

impl HostLock {
    /// Takes the lock, or says who holds it.
    pub(crate) fn take(root: &Utf8Path, subject: &str, goal: &str) -> Result<Self> {
        let folder = root.join(STATE).join("locks");
        let path = folder.join(format!("{subject}.lock"));
        let holder = folder.join(format!("{subject}.json"));
        let file = fs_err::create_dir_all(&folder)
            .and_then(|()| {
                fs_err::OpenOptions::new()
                    .create(true)
                    .truncate(false)
                    .read(true)
                    .write(true)
                    .open(&path)
            })
            .map_err(|error| {
                Failure::preflight(format!("the checkout cannot be written: {error}"))
                    .hinted("nothing was changed; a full disk, a read-only mount or another owner is the usual cause")
            })?;
        let lock = LockFile::new(file);
        if !lock
            .try_take()
            .or_fail(Kind::Unexpected, format!("cannot lock `{path}`"))?
        {
            return Err(locked(subject, &holder));
        }
        let content = Holder {
            pid: std::process::id(),
            since: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            goal: goal.to_owned(),
        };
        let text = serde_json::to_string(&content).or_fail(Kind::Unexpected, "cannot write the lock")?;
        if let Err(failure) = files::write(&holder, text.as_bytes(), 0o600) {
            // The kernel holds the lock; who holds it is for people, and the run may be the one that makes room.
            if !failure.is_of_a_full_disk() {
                return Err(failure);
            }
        }
        Ok(Self { _lock: lock, holder })
    }
}

impl Drop for HostLock {
    fn drop(&mut self) {
        let _only_for_people = fs_err::remove_file(&self.holder);
    }
}

fn locked(subject: &str, holder: &Utf8Path) -> Failure {
    let holder: Option<Holder> = fs_err::read_to_string(holder)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok());
    let failure = match holder {
        Some(holder) => Failure::new(
            Kind::Locked,
            format!(
                "`{subject}` is locked by another run on this host: pid {}, since {}, doing `{}`",
                holder.pid, holder.since, holder.goal
            ),
        ),
        None => Failure::new(
            Kind::Locked,
            format!("`{subject}` is locked by another run on this host"),
        ),
    };
    failure.hinted("wait for it; its lock ends with its process")
}

//! Children that outlived the run that started them, because it was killed: noted while they run, ended by the
//! next run before it does anything. A process is known by more than its id, for ids are used again.

use std::time::{Duration, Instant};

use camino::Utf8Path;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use crate::base::failure::{Failure, Kind, Result};

/// How long an orphaned process may take to end by itself; its work may be half done, so it is asked first.
const GRACE: Duration = Duration::from_secs(10);

/// How long a killed process may take to be gone.
const KILL_GRACE: Duration = Duration::from_secs(5);

/// One child as the note has it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Child {
    pid: i32,
    /// When it was started, and in which life of the machine.
    born: String,
}

/// Notes children that were just started.
pub(crate) fn note(path: &Utf8Path, pids: &[i32]) {
    let children: Vec<Child> = pids
        .iter()
        .filter_map(|pid| {
            Some(Child {
                pid: *pid,
                born: born(*pid)?,
            })
        })
        .collect();
    let text = serde_json::to_string(&children).expect("plain data");
    // Without the note the run goes on; only a run that is killed just now would leave the child behind.
    let _best_effort = fs_err::write(path, text);
}

/// Ends the children that a note names, if they still run, and removes the note; returns how many did.
pub(crate) fn end(path: &Utf8Path) -> Result<usize> {
    let text = match fs_err::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    // A note that was cut off names nobody.
    let children: Vec<Child> = serde_json::from_str(&text).unwrap_or_default();
    let mut alive: Vec<&Child> = children.iter().filter(|child| lives(child)).collect();
    let count = alive.len();
    for (signal, grace) in [(Signal::INT, GRACE), (Signal::KILL, KILL_GRACE)] {
        for child in &alive {
            if let Some(group) = Pid::from_raw(child.pid) {
                let _gone_already = kill_process_group(group, signal);
            }
        }
        let started = Instant::now();
        while !alive.is_empty() && started.elapsed() < grace {
            std::thread::sleep(Duration::from_millis(20));
            alive.retain(|child| lives(child));
        }
    }
    if let Some(child) = alive.first() {
        return Err(Failure::new(
            Kind::Step,
            format!(
                "process {} of an earlier run does not end, not even by SIGKILL",
                child.pid
            ),
        )
        .hinted("a process in uninterruptible sleep waits for its disk; look at it, then run the same command again"));
    }
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(count),
    }
}

fn lives(child: &Child) -> bool {
    born(child.pid).as_ref() == Some(&child.born)
}

/// When a live process was started; none for one that is gone or waits to be reaped.
#[cfg(target_os = "linux")]
pub(crate) fn born(pid: i32) -> Option<String> {
    let boot = fs_err::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so count from its end: state is next, the start time 19 further.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?;
    (state != "Z" && state != "X").then(|| format!("{} {start}", boot.trim()))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn born(pid: i32) -> Option<String> {
    // No /proc: `ps` is part of every other Unix.
    duct::cmd!("/bin/ps", "-o", "lstart=", "-p", pid.to_string())
        .stderr_null()
        .read()
        .ok()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_about_a_process_that_came_later_ends_nobody() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(folder.path().join("child.json")).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let other = Child {
            pid: own,
            born: "another life".into(),
        };
        fs_err::write(&path, serde_json::to_string(&[other]).unwrap()).unwrap();
        assert_eq!(end(&path).unwrap(), 0);
        assert!(!path.exists());
    }

    #[test]
    fn a_note_that_was_cut_off_names_nobody() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(folder.path().join("child.json")).unwrap();
        fs_err::write(&path, "[{\"pid\":1").unwrap();
        assert_eq!(end(&path).unwrap(), 0);
    }
}

//! The processes of an embedded cluster: which are alive, and their end.
//! A pid counts only when its command line names the cluster's folder, for pids are used again.

use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};

use crate::base::failure::{Failure, Kind, Result};
use crate::base::text::plural;
use crate::base::ui::Status;
use crate::call::Caller;

/// Ends the processes whose pid files are in a folder, and looks that they are gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EndProcesses {
    /// Folder of an embedded cluster, relative to the root.
    pub folder: Utf8PathBuf,
}

impl EndProcesses {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let ended = end_processes(&on.root.join(&self.folder))?;
        if ended > 0 {
            on.ui.status(
                Status::Removed,
                plural(ended, "process").replace("processs", "processes"),
            );
        }
        Ok(())
    }
}

/// How long the control plane may take to end by itself.
const GRACE: Duration = Duration::from_secs(8);

/// How long a killed process may take to be gone.
const KILL_GRACE: Duration = Duration::from_secs(5);

/// Components in the order in which they are ended: the API server before its etcd, for without etcd it
/// hangs in its own shutdown.
const ORDER: [&str; 5] = [
    "kwok-controller",
    "kube-scheduler",
    "kube-controller-manager",
    "kube-apiserver",
    "etcd",
];

/// One component of the cluster that a pid file names.
#[derive(Debug)]
struct Component {
    name: String,
    pid: Option<Pid>,
}

/// Components whose process is not alive, a sentence each; also when the folder has none at all.
pub fn dead_processes(folder: &Utf8Path) -> Result<Vec<String>> {
    let components = components(folder)?;
    if components.is_empty() {
        return Ok(vec![format!("no process of `{folder}` was ever started")]);
    }
    Ok(components
        .iter()
        .filter(|component| !component.pid.is_some_and(|pid| is_ours(pid, folder)))
        .map(|component| format!("`{}` is not running", component.name))
        .collect())
}

/// Components of a control plane that do not run, a sentence each; one that was never started is one of them.
pub fn stopped_components(folder: &Utf8Path) -> Result<Vec<String>> {
    let mut stopped = Vec::new();
    for name in ORDER {
        if !is_running(folder, name)? {
            stopped.push(format!("`{name}` is not running"));
        }
    }
    Ok(stopped)
}

/// Whether the process of this name is alive.
pub fn is_running(folder: &Utf8Path, name: &str) -> Result<bool> {
    Ok(components(folder)?
        .iter()
        .any(|component| component.name == name && component.pid.is_some_and(|pid| is_ours(pid, folder))))
}

/// Ends every process of the cluster and looks that it is gone; returns how many there were.
pub fn end_processes(folder: &Utf8Path) -> Result<usize> {
    let mut components = components(folder)?;
    components.sort_by_key(|component| {
        ORDER
            .iter()
            .position(|name| *name == component.name)
            .unwrap_or(ORDER.len())
    });
    let mut alive: Vec<(String, Pid)> = components
        .into_iter()
        .filter_map(|component| Some((component.name, component.pid?)))
        .filter(|(_, pid)| is_ours(*pid, folder))
        .collect();
    // A start that was killed may have started what no pid file names yet.
    for (name, pid) in strays(folder) {
        if !alive.iter().any(|(_, known)| *known == pid) {
            alive.push((name, pid));
        }
    }
    let count = alive.len();
    for (name, pid) in &alive {
        let _gone_already = kill_process(*pid, Signal::TERM);
        if name == "kube-apiserver" {
            wait_until_gone(&mut vec![(name.clone(), *pid)], folder, GRACE);
        }
    }
    wait_until_gone(&mut alive, folder, GRACE);
    for (_, pid) in &alive {
        let _gone_already = kill_process(*pid, Signal::KILL);
    }
    wait_until_gone(&mut alive, folder, KILL_GRACE);
    if alive.is_empty() {
        // kwokctl takes a pid file for a process that runs, also when the machine has booted since.
        for component in self::components(folder)? {
            fs_err::remove_file(folder.join("pids").join(format!("{}.pid", component.name)))?;
        }
        return Ok(count);
    }
    let names: Vec<String> = alive
        .iter()
        .map(|(name, pid)| format!("{name} (pid {})", pid.as_raw_nonzero()))
        .collect();
    Err(
        Failure::new(Kind::Step, format!("still running after SIGKILL: {}", names.join(", "))).hinted(
            "a process in uninterruptible sleep waits for its disk; look at it, then run the same command again",
        ),
    )
}

fn wait_until_gone(alive: &mut Vec<(String, Pid)>, folder: &Utf8Path, grace: Duration) {
    let started = Instant::now();
    loop {
        alive.retain(|(_, pid)| is_ours(*pid, folder));
        if alive.is_empty() || started.elapsed() > grace {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn components(folder: &Utf8Path) -> Result<Vec<Component>> {
    let pids = folder.join("pids");
    let mut components = Vec::new();
    if !pids.is_dir() {
        return Ok(components);
    }
    for entry in fs_err::read_dir(&pids)? {
        let path = Utf8PathBuf::from_path_buf(entry?.path())
            .map_err(|path| Failure::unexpected(format!("`{}` is not UTF-8", path.display())))?;
        let Some(name) = path.file_name().and_then(|name| name.strip_suffix(".pid")) else {
            continue;
        };
        let pid = fs_err::read_to_string(&path)?
            .trim()
            .parse()
            .ok()
            .and_then(Pid::from_raw);
        components.push(Component {
            name: name.to_owned(),
            pid,
        });
    }
    components.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(components)
}

/// Components of this folder: what was started from its own copies of the programs, and what got its kubeconfig.
#[cfg(target_os = "linux")]
fn strays(folder: &Utf8Path) -> Vec<(String, Pid)> {
    let programs = format!("{folder}/bin/");
    let given = format!(" --kubeconfig={folder}/");
    let Ok(entries) = fs_err::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?))
        .filter_map(|pid| {
            let line = crate::base::process::command_line(pid)?;
            let name = match line.strip_prefix(&programs) {
                Some(rest) => rest.split(' ').next()?,
                None => ORDER
                    .into_iter()
                    .find(|name| line.contains(&format!("/{name} ")) && line.contains(&given))?,
            };
            Some((name.to_owned(), pid))
        })
        .collect()
}

/// Without /proc only pid files tell.
#[cfg(not(target_os = "linux"))]
fn strays(_folder: &Utf8Path) -> Vec<(String, Pid)> {
    Vec::new()
}

/// Whether a process is alive and its command line names the cluster's folder.
fn is_ours(pid: Pid, folder: &Utf8Path) -> bool {
    test_kill_process(pid).is_ok()
        && crate::base::process::command_line(pid).is_some_and(|line| line.contains(folder.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_process_that_got_the_pid_of_a_component_is_neither_counted_nor_ended() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        fs_err::create_dir(folder.join("pids")).unwrap();
        let other = duct::cmd!("/bin/sleep", "300").unchecked().start().unwrap();
        let ours = duct::cmd!(
            "/bin/sh",
            "-c",
            "while :; do sleep 0.1; done",
            folder.join("etcd").as_str()
        )
        .unchecked()
        .start()
        .unwrap();
        for (name, process) in [("kube-apiserver", &other), ("etcd", &ours)] {
            let pid = process.pids()[0].to_string();
            fs_err::write(folder.join("pids").join(format!("{name}.pid")), pid).unwrap();
        }
        // The kernel has no command line of a process until that is whole.
        while !is_running(folder, "etcd").unwrap() {
            std::thread::yield_now();
        }
        assert_eq!(dead_processes(folder).unwrap(), ["`kube-apiserver` is not running"]);
        assert!(!is_running(folder, "kube-apiserver").unwrap());
        std::thread::scope(|scope| {
            // Whoever started it has to take note of its end.
            scope.spawn(|| ours.wait().map(drop));
            assert_eq!(end_processes(folder).unwrap(), 1);
        });
        assert!(
            other.try_wait().unwrap().is_none(),
            "a process of somebody else was ended"
        );
        other.kill().unwrap();
    }
}

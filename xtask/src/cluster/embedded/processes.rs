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
        let folder = on.root.join(&self.folder);
        let ended = end_processes(&folder)?;
        if ended > 0 {
            on.ui.status(
                Status::Removed,
                plural(ended, "process").replace("processs", "processes"),
            );
        }
        for line in lost_lines(&lost(&folder)) {
            on.ui.status(Status::Warning, line);
        }
        Ok(())
    }
}

/// What is said of processes whose checkout is gone, a line for each control plane.
fn lost_lines(lost: &[Stray]) -> Vec<String> {
    let mut folders: Vec<&Utf8Path> = lost.iter().map(|stray| stray.folder.as_path()).collect();
    folders.sort_unstable();
    folders.dedup();
    folders
        .into_iter()
        .map(|folder| {
            let of: Vec<&Stray> = lost.iter().filter(|stray| stray.folder == folder).collect();
            let names: Vec<String> = of
                .iter()
                .map(|stray| format!("{} (pid {})", stray.name, stray.pid))
                .collect();
            let pids: Vec<String> = of.iter().map(|stray| stray.pid.to_string()).collect();
            format!(
                "`{folder}` is gone, and what ran in it goes on: {}; `kill {}` ends it",
                names.join(", "),
                pids.join(" ")
            )
        })
        .collect()
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
        .filter(|component| !component.pid.is_some_and(|pid| runs_here(pid, folder)))
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
        .any(|component| component.name == name && component.pid.is_some_and(|pid| runs_here(pid, folder))))
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

/// The end of the path of every control plane's folder.
const CONTROL_PLANE: &str = "/home/.kwok/clusters/embedded";

/// Where the folder of a control plane begins, seen from the root of its checkout.
const BELOW_ROOT: &str = "/.xtask/";

/// A process of a control plane, known by its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stray {
    /// The component.
    name: String,
    pid: i32,
    /// Folder of the control plane that its arguments name.
    folder: Utf8PathBuf,
}

/// The component and the folder that the command line of a control plane's process names: it was started from its
/// folder's own copies of the programs, or got its kubeconfig.
fn named(line: &str) -> Option<(&str, &Utf8Path)> {
    const GIVEN: &str = " --kubeconfig=";
    let end = line.find(CONTROL_PLANE)? + CONTROL_PLANE.len();
    let (before, rest) = line.split_at(end);
    if before.starts_with('/')
        && let Some(program) = rest.strip_prefix("/bin/")
    {
        return Some((program.split(' ').next()?, Utf8Path::new(before)));
    }
    let given = before.rfind(GIVEN)?;
    let program = before[..given].split(' ').next()?.rsplit('/').next()?;
    let known = ORDER.contains(&program) && rest.starts_with('/');
    known.then(|| (program, Utf8Path::new(&before[given + GIVEN.len()..])))
}

/// Every process of a control plane of this user, whatever its checkout.
fn all() -> Vec<Stray> {
    crate::base::process::command_lines()
        .into_iter()
        .filter_map(|(pid, line)| {
            let (name, folder) = named(&line)?;
            Some(Stray {
                name: name.to_owned(),
                pid,
                folder: folder.to_owned(),
            })
        })
        .collect()
}

/// Processes of control planes whose folder is gone and that belong to no folder of this checkout: their own was
/// removed or moved to another disk.
fn lost(folder: &Utf8Path) -> Vec<Stray> {
    all()
        .into_iter()
        .filter(|stray| !stray.folder.exists())
        .filter(|stray| !Pid::from_raw(stray.pid).is_some_and(|pid| is_ours(pid, folder)))
        .collect()
}

/// Components of this folder that run, whether a pid file names them or not.
fn strays(folder: &Utf8Path) -> Vec<(String, Pid)> {
    all()
        .into_iter()
        .filter_map(|stray| Some((stray.name, Pid::from_raw(stray.pid)?)))
        .filter(|(_, pid)| is_ours(*pid, folder))
        .collect()
}

/// Whether a process is alive and belongs to the cluster's folder: its command line names it, or named it before the
/// checkout was renamed.
fn is_ours(pid: Pid, folder: &Utf8Path) -> bool {
    test_kill_process(pid).is_ok() && (names(pid, folder) || was_renamed(pid, folder))
}

/// Whether a process is alive and works in the folder as it is called now: one of a renamed checkout looks for its
/// files where they were.
fn runs_here(pid: Pid, folder: &Utf8Path) -> bool {
    test_kill_process(pid).is_ok() && names(pid, folder)
}

fn names(pid: Pid, folder: &Utf8Path) -> bool {
    crate::base::process::command_line(pid).is_some_and(|line| line.contains(folder.as_str()))
}

/// Whether a process was started for this folder when its checkout had another name: its arguments name a folder that
/// is gone and ends as this one, and the kernel, which follows a folder that is renamed, has its program or where it
/// works in this checkout.
#[cfg(target_os = "linux")]
fn was_renamed(pid: Pid, folder: &Utf8Path) -> bool {
    let Some((root, below)) = folder.as_str().rsplit_once(BELOW_ROOT) else {
        return false;
    };
    let Some(line) = crate::base::process::command_line(pid) else {
        return false;
    };
    let Some((_, before)) = named(&line) else {
        return false;
    };
    let here = |link: &str| {
        fs_err::read_link(format!("/proc/{}/{link}", pid.as_raw_nonzero())).is_ok_and(|path| path.starts_with(root))
    };
    before.as_str().ends_with(&format!("{BELOW_ROOT}{below}")) && !before.exists() && (here("exe") || here("cwd"))
}

/// Nothing tells elsewhere; such a process is named as one whose checkout is gone.
#[cfg(not(target_os = "linux"))]
fn was_renamed(_pid: Pid, _folder: &Utf8Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_a_control_plane_is_known_by_its_arguments() {
        let folder = Utf8Path::new("/a b/.xtask/clusters/c/home/.kwok/clusters/embedded");
        let of = |line: &str| named(line).map(|(name, folder)| (name.to_owned(), folder.to_owned()));
        let known = |name: &str| Some((name.to_owned(), folder.to_owned()));
        assert_eq!(
            of(&format!("{folder}/bin/etcd --data-dir={folder}/etcd")),
            known("etcd")
        );
        assert_eq!(
            of(&format!(
                "/tools/kube-scheduler --kubeconfig={folder}/kubeconfig.yaml --x"
            )),
            known("kube-scheduler")
        );
        for other in [
            format!("/tools/kubectl --kubeconfig={folder}/kubeconfig.yaml get pods"),
            format!("vim {folder}/kwok.yaml"),
            format!("{folder}2/etcd"),
            "etcd".to_owned(),
        ] {
            assert_eq!(of(&other), None, "{other}");
        }
    }

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

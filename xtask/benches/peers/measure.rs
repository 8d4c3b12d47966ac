//! Runs a program and says how long it took and how much memory it had. It prints nothing and judges nothing.

use std::io::{Read, Seek};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xshell::Cmd;

/// How often the memory of a program is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// What one run of a program cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) took: Duration,
    /// The most memory that it had, in KiB; 0 where the system does not tell.
    pub(crate) peak: u64,
}

/// Runs a program to its end. Another exit code than 0 is an error, but for those in `also_fine`.
pub(crate) fn run(program: Cmd<'_>, also_fine: &[i32]) -> Result<Cost> {
    let shown = program.to_string();
    let mut said = tempfile::tempfile()?;
    let mut command = std::process::Command::from(program);
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(said.try_clone()?);
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
    let (pid, done) = (child.id(), AtomicBool::new(false));
    let (status, took, peak) = std::thread::scope(|scope| {
        let peak = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(Ordering::Relaxed) {
                peak = peak_of(pid).max(peak);
                std::thread::park_timeout(GLANCE);
            }
            peak
        });
        let status = child.wait();
        let took = started.elapsed();
        done.store(true, Ordering::Relaxed);
        peak.thread().unpark();
        (status, took, peak.join().expect("reading a file never panics"))
    });
    let status = status?;
    if !status.success() && status.code().is_none_or(|code| !also_fine.contains(&code)) {
        let mut text = String::new();
        said.rewind()?;
        said.read_to_string(&mut text)?;
        let from = text.lines().count().saturating_sub(20);
        let tail: Vec<&str> = text.lines().skip(from).collect();
        bail!("`{shown}` ended with {status}:\n{}", tail.join("\n"));
    }
    Ok(Cost { took, peak })
}

/// The most memory that a process had so far, in KiB.
fn peak_of(pid: u32) -> u64 {
    let Ok(status) = fs_err::read_to_string(format!("/proc/{pid}/status")) else {
        return 0;
    };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// The median of some runs.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The median over this many runs.
pub(crate) fn median_of(runs: usize, run: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    Ok(median(std::iter::repeat_with(run).take(runs).collect::<Result<_>>()?))
}

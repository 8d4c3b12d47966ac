//! Short calls of tools, and long ones of Go, each with an end.
//! It knows no tool; what an answer means is its caller's business.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use duct::{Expression, Handle};
use rustix::process::{Pid, Signal, kill_process_group};

/// What is kept of an answer; a tool that floods is read to its end and forgotten from here on.
const KEPT: usize = 1 << 20;

/// How long a program that was asked to end may take, before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// A program, whole: nothing of our own environment goes along unless it stands here.
pub(super) struct Call<'a> {
    pub(super) program: &'a Utf8Path,
    pub(super) arguments: &'a [&'a str],
    pub(super) environment: &'a BTreeMap<OsString, OsString>,
    pub(super) folder: Option<&'a Utf8Path>,
}

/// What a short call said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) success: bool,
    /// How it ended, for people: `exit status: 1`.
    pub(super) ended: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Silence {
    NotStarted(std::io::Error),
    TimedOut(Duration),
    Interrupted,
}

impl std::fmt::Display for Silence {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotStarted(error) => write!(formatter, "cannot be started: {error}"),
            Self::TimedOut(limit) => write!(formatter, "gave no answer in {} s and was killed", limit.as_secs()),
            Self::Interrupted => formatter.write_str("was interrupted"),
        }
    }
}

/// Runs a short call to its end or its deadline. Afterwards none of its processes is left.
pub(super) fn ask(call: &Call<'_>, limit: Duration) -> Result<Answer, Silence> {
    let (stdout, stdout_end) = std::io::pipe().map_err(Silence::NotStarted)?;
    let (stderr, stderr_end) = std::io::pipe().map_err(Silence::NotStarted)?;
    let handle = {
        // The expression holds our copies of the writing ends: it must go before anything is read to its end.
        let expression = expression(call).stdout_file(stdout_end).stderr_file(stderr_end);
        start(&expression).map_err(Silence::NotStarted)?
    };
    let stdout = keep(stdout);
    let stderr = keep(stderr);
    let deadline = Instant::now() + limit;
    let ended = handle
        .wait_deadline(deadline)
        .map_err(Silence::NotStarted)?
        .map(|output| output.status);
    // A grandchild may still hold the pipes; its group goes with the deadline, or right after the answer.
    let texts = ended.and_then(|status| {
        let stdout = stdout.recv_timeout(Duration::from_secs(1)).ok()?;
        let stderr = stderr.recv_timeout(Duration::from_secs(1)).ok()?;
        Some((status, stdout, stderr))
    });
    match (texts, ended) {
        (Some((status, stdout, stderr)), _) => Ok(Answer {
            stdout,
            stderr,
            success: status.success(),
            ended: status.to_string(),
        }),
        (None, Some(status)) => {
            kill(&handle, Signal::KILL);
            let rest = Duration::from_secs(1);
            Ok(Answer {
                stdout: stdout.recv_timeout(rest).unwrap_or_default(),
                stderr: stderr.recv_timeout(rest).unwrap_or_default(),
                success: status.success(),
                ended: status.to_string(),
            })
        }
        (None, None) => {
            kill(&handle, Signal::KILL);
            // Killed for certain: this only reaps it.
            let _reaped = handle.wait();
            Err(Silence::TimedOut(limit))
        }
    }
}

/// Runs a long call with its output in a file, telling how long it has run about once a second. An
/// interruption ends it and its whole group.
pub(super) fn run(
    call: &Call<'_>,
    log: std::fs::File,
    limit: Duration,
    interrupted: &AtomicBool,
    mut tell: impl FnMut(Duration),
) -> Result<bool, Silence> {
    let handle = {
        let expression = expression(call).stderr_to_stdout().stdout_file(log);
        start(&expression).map_err(Silence::NotStarted)?
    };
    let begun = Instant::now();
    loop {
        if let Some(output) = handle
            .wait_timeout(Duration::from_millis(100))
            .map_err(Silence::NotStarted)?
        {
            return Ok(output.status.success());
        }
        let elapsed = begun.elapsed();
        let silence = if interrupted.load(Ordering::Relaxed) {
            Silence::Interrupted
        } else if elapsed > limit {
            Silence::TimedOut(limit)
        } else {
            tell(elapsed);
            continue;
        };
        kill(&handle, Signal::INT);
        if !matches!(handle.wait_timeout(GRACE), Ok(Some(_))) {
            kill(&handle, Signal::KILL);
            let _reaped = handle.wait();
        }
        // What the leader left behind of its group.
        kill(&handle, Signal::KILL);
        return Err(silence);
    }
}

fn expression(call: &Call<'_>) -> Expression {
    let mut expression = duct::cmd(call.program.as_str(), call.arguments)
        .full_env(call.environment)
        .stdin_null()
        .unchecked()
        .before_spawn(|command| {
            // A group of its own, so that a deadline also ends what the tool started.
            command.process_group(0);
            Ok(())
        });
    if let Some(folder) = call.folder {
        expression = expression.dir(folder);
    }
    expression
}

/// Starts it, and tries again for a moment while a just written program is still open for writing in a
/// child that another thread is about to start.
fn start(expression: &Expression) -> std::io::Result<Handle> {
    for _ in 0..50 {
        match expression.start() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(10));
            }
            other => return other,
        }
    }
    expression.start()
}

fn kill(handle: &Handle, signal: Signal) {
    for pid in handle.pids() {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            // Gone already is what we want.
            let _gone = kill_process_group(pid, signal);
        }
    }
}

/// Reads to the end on a thread of its own and keeps the beginning.
fn keep(mut pipe: std::io::PipeReader) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let mut chunk = [0; 8192];
        while let Ok(count) = pipe.read(&mut chunk) {
            if count == 0 {
                break;
            }
            let room = KEPT - kept.len();
            kept.extend_from_slice(&chunk[..count.min(room)]);
        }
        // Nobody waits any more when the deadline has passed.
        let _nobody_waits = send.send(String::from_utf8_lossy(&kept).into_owned());
    });
    receive
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;
    use crate::tool::fake::{self, Fake};

    fn call<'a>(program: &'a Utf8Path, environment: &'a BTreeMap<OsString, OsString>) -> Call<'a> {
        Call {
            program,
            arguments: &[],
            environment,
            folder: None,
        }
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_its_children() {
        let fake = Fake::new();
        let pids = fake.root().join("pids");
        let quoted = shell_words::quote(pids.as_str()).into_owned();
        let program = fake.program(
            "hang",
            &format!("sleep 600 & echo $! >{quoted}; echo $$ >>{quoted}; wait"),
        );
        let answer = ask(&call(&program, &fake::environment()), Duration::from_millis(500));
        assert!(matches!(answer, Err(Silence::TimedOut(_))), "{answer:?}");
        let pids = fs_err::read_to_string(pids).unwrap();
        assert_eq!(pids.lines().count(), 2);
        for pid in pids.lines() {
            assert!(fake::goes_away(pid), "process {pid} is still there");
        }
    }

    #[test]
    fn a_flood_and_bytes_that_are_no_text_are_survived() {
        let fake = Fake::new();
        let program = fake.program("flood", r"printf '\377\376v1.2.3 '; head -c 30000000 /dev/zero");
        let answer = ask(&call(&program, &fake::environment()), Duration::from_secs(20)).unwrap();
        assert!(answer.success);
        assert!(answer.stdout.len() <= KEPT + 16);
        assert!(answer.stdout.contains("v1.2.3"));
    }

    #[test]
    fn an_answer_does_not_wait_for_what_the_program_left_in_the_background() {
        let fake = Fake::new();
        let program = fake.program("leaves", "sleep 600 & echo 1.2.3; echo $! >&2; exit 0");
        let answer = ask(&call(&program, &fake::environment()), Duration::from_secs(20)).unwrap();
        assert_eq!(answer.stdout, "1.2.3\n");
        assert!(fake::goes_away(answer.stderr.trim()));
    }

    #[test]
    fn a_program_that_is_not_there_is_told_from_one_that_fails() {
        let environment = fake::environment();
        let missing = Utf8PathBuf::from("/nonexistent/program");
        assert!(matches!(
            ask(&call(&missing, &environment), Duration::from_secs(5)),
            Err(Silence::NotStarted(_))
        ));
        let fake = Fake::new();
        let fails = fake.program("fails", "echo no >&2; exit 3");
        let answer = ask(&call(&fails, &environment), Duration::from_secs(5)).unwrap();
        assert!(!answer.success);
        assert_eq!(answer.stderr, "no\n");
    }
}

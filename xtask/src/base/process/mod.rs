//! One child process: its own process group, a deadline, bounded output, and nothing of it left behind.
//! It knows no plan; it is told a program, and says how that ended.

pub mod environment;
pub mod orphans;
pub mod redact;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use super::process::redact::{Redactor, Stream};
use crate::base::failure::{Failure, Kind, Result, ResultExt};

/// Lines of output that a failure shows.
pub(crate) const TAIL_LINES: usize = 20;

/// In a run's folder while a child runs: which one.
pub(crate) const CHILD: &str = "child.json";

/// Bytes of a log line that are kept for the tail.
const LINE_LIMIT: usize = 2_000;

/// Bytes after which a log takes no more: a tool that floods must not fill the disk.
const LOG_LIMIT: u64 = 32 * 1024 * 1024;

/// Bytes that a captured output may have.
const CAPTURE_LIMIT: u64 = 512 * 1024 * 1024;

/// How long a child may take to end after SIGINT or SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// How long output may go on after the child ended; a daemon that kept the pipe must not hold us.
const DRAIN: Duration = Duration::from_millis(500);

/// What to start.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) program: Utf8PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) directory: Utf8PathBuf,
    pub(crate) stdin: Input,
    pub(crate) stdout: Stdout,
    /// Where standard error, and standard output when it is logged, is appended.
    pub(crate) log: Option<Utf8PathBuf>,
    /// Words on standard error with which a failure still counts as success: what was printed is all there is.
    pub(crate) partial: Option<&'static str>,
    /// Where it is noted while it runs, so that it can be ended should xtask die before it.
    pub(crate) note: Option<Utf8PathBuf>,
    /// What it was given and nothing may show, whatever it says.
    pub(crate) redactor: Redactor,
    pub(crate) deadline: Duration,
}

/// Standard input of a child.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    Null,
    File(Utf8PathBuf),
    Bytes(Vec<u8>),
}

/// Standard output of a child.
#[derive(Debug, Clone)]
pub(crate) enum Stdout {
    Log,
    File(Utf8PathBuf),
    Capture,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Code(i32),
    Signal(i32),
    Deadline,
    Interrupted,
    /// We ended it, for what it was there for was done.
    Dismissed,
}

/// What came of a child.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) ended: Ended,
    pub(crate) captured: Vec<u8>,
    /// The last lines of its log, lossily decoded.
    pub(crate) tail: Vec<String>,
}

/// Process groups of children that run now: the second Ctrl-C ends them with us.
static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Whether this process was started so that a closed terminal does not end it. Only Linux tells; elsewhere it is heard.
fn ignores_hangup() -> bool {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Signal 1 is the lowest bit.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

fn groups() -> std::sync::MutexGuard<'static, BTreeSet<i32>> {
    GROUPS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Set by the first Ctrl-C, SIGTERM or closed terminal; a second Ctrl-C or SIGTERM ends xtask and its children at once.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for SIGINT, SIGTERM and SIGHUP from now on; not for a SIGHUP that `nohup` made this process ignore.
    pub fn listen() -> Result<Self> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

        let flag = Arc::new(AtomicBool::new(false));
        let heard: &[i32] = if ignores_hangup() {
            &[SIGINT, SIGTERM]
        } else {
            &[SIGINT, SIGTERM, SIGHUP]
        };
        let mut signals =
            signal_hook::iterator::Signals::new(heard).or_fail(Kind::Unexpected, "cannot listen for signals")?;
        let set = Arc::clone(&flag);
        std::thread::spawn(move || {
            let mut signals = signals.forever();
            signals.next();
            set.store(true, Ordering::SeqCst);
            // Also while `finally` steps run, for which the flag is cleared again. A terminal that is closed sends
            // SIGHUP itself and through its shell: that is no person who cannot wait.
            signals.find(|signal| *signal != SIGHUP);
            for group in groups().iter().copied().filter_map(rustix::process::Pid::from_raw) {
                let _gone_already = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            signal_hook::low_level::exit(i32::from(Kind::Interrupted.exit_code()));
        });
        Ok(Self(flag))
    }

    /// The flag itself, for whoever waits elsewhere.
    pub fn flag(&self) -> &Arc<AtomicBool> {
        &self.0
    }

    /// Whether the run was interrupted.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Takes an interrupt note of, so that `finally` steps can run.
    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// Sleeps, but wakes early on an interrupt.
    pub(crate) fn sleep(&self, duration: Duration) {
        let end = Instant::now() + duration;
        while !self.is_set() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }
}

impl Process {
    /// Starts the child and waits for its end, its deadline, or an interrupt.
    pub(crate) fn run(&self, interrupt: &Interrupt) -> Result<Outcome> {
        self.run_until(interrupt, None)
    }

    /// Starts the child and does the work that it is there for beside it; then it is dismissed. None for the work
    /// where the child ended before it was done: what it said tells why. The work is told by a flag that the child is
    /// gone, and has to end then.
    pub(crate) fn run_beside<T: Send>(
        &self,
        interrupt: &Interrupt,
        work: impl FnOnce(&AtomicBool) -> T + Send,
    ) -> Result<(Outcome, Option<T>)> {
        let (done, gone) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let worked = work(&gone);
                done.store(true, Ordering::SeqCst);
                worked
            });
            let outcome = self.run_until(interrupt, Some(&done));
            gone.store(true, Ordering::SeqCst);
            let worked = worker
                .join()
                .map_err(|_| Failure::unexpected(format!("what `{}` was started for panicked", self.program)))?;
            let outcome = outcome?;
            let worked = (outcome.ended == Ended::Dismissed).then_some(worked);
            Ok((outcome, worked))
        })
    }

    fn run_until(&self, interrupt: &Interrupt, done: Option<&AtomicBool>) -> Result<Outcome> {
        // Its end wakes us at once; what is done beside it does not.
        let glance = Duration::from_millis(if done.is_some() { 2 } else { 20 });
        let started = Instant::now();
        let (log_reader, log_writer) = std::io::pipe()?;
        let mut expression = duct::cmd(self.program.as_str(), &self.args)
            .dir(&self.directory)
            .full_env(&self.env)
            .unchecked()
            .before_spawn(|command| {
                command.process_group(0);
                Ok(())
            })
            .stderr_file(log_writer.try_clone()?);
        expression = match &self.stdin {
            Input::Null => expression.stdin_null(),
            Input::File(path) => expression.stdin_file(fs_err::File::open(path)?.into_parts().0),
            Input::Bytes(bytes) => expression.stdin_bytes(bytes.clone()),
        };
        let mut capture = None;
        let mut partial = None;
        expression = match &self.stdout {
            Stdout::Log => expression.stdout_file(log_writer),
            Stdout::File(path) => {
                drop(log_writer);
                if let Some(parent) = path.parent() {
                    fs_err::create_dir_all(parent)?;
                }
                let beside = Utf8PathBuf::from(format!("{path}.partial"));
                // What a command prints may be a kubeconfig.
                let file = std::fs::OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(&beside)
                    .or_fail(Kind::Unexpected, format!("cannot create `{beside}`"))?;
                partial = Some((beside, path.clone()));
                expression.stdout_file(file)
            }
            Stdout::Capture => {
                drop(log_writer);
                let (reader, writer) = std::io::pipe()?;
                capture = Some(reader);
                expression.stdout_file(writer)
            }
        };
        let handle = expression.start().map_err(|error| self.cannot_start(&error))?;
        // The expression holds the write ends of the pipes; the readers end only when they are closed.
        drop(expression);
        let _running = Running::new(&handle, self.note.as_deref());
        let log = Log::follow(log_reader, self.log.clone(), self.redactor.clone());
        let captured = capture.map(Capture::follow);

        let mut asked_to_end: Option<(Instant, Ended)> = None;
        let status = loop {
            let waited = handle
                .wait_timeout(glance)
                .or_fail(Kind::Unexpected, format!("cannot wait for `{}`", self.program))?;
            if let Some(output) = waited {
                break output.status;
            }
            match asked_to_end {
                None if interrupt.is_set() => {
                    signal_group(&handle, rustix::process::Signal::INT);
                    asked_to_end = Some((Instant::now(), Ended::Interrupted));
                }
                None if done.is_some_and(|done| done.load(Ordering::SeqCst)) => {
                    signal_group(&handle, rustix::process::Signal::TERM);
                    asked_to_end = Some((Instant::now(), Ended::Dismissed));
                }
                None if started.elapsed() > self.deadline => {
                    signal_group(&handle, rustix::process::Signal::TERM);
                    asked_to_end = Some((Instant::now(), Ended::Deadline));
                }
                Some((since, _)) if since.elapsed() > GRACE => {
                    signal_group(&handle, rustix::process::Signal::KILL);
                }
                _ => {}
            }
        };
        let ended = match (asked_to_end, status.code(), status.signal()) {
            (Some((_, reason)), _, _) => reason,
            (None, Some(code), _) => Ended::Code(code),
            (None, None, signal) => Ended::Signal(signal.unwrap_or_default()),
        };
        if ended != Ended::Code(0) {
            // Whatever it started must not outlive its failure.
            signal_group(&handle, rustix::process::Signal::KILL);
        }
        let tail = log.finish();
        let says = |words: &str| tail.iter().any(|line| line.contains(words));
        let ended = match ended {
            Ended::Code(_) if self.partial.is_some_and(says) => Ended::Code(0),
            other => other,
        };
        let captured = captured.map(Capture::finish).transpose()?.unwrap_or_default();
        if let Some((beside, path)) = partial {
            if ended == Ended::Code(0) {
                fs_err::rename(&beside, &path)?;
            } else {
                fs_err::remove_file(&beside)?;
            }
        }
        Ok(Outcome { ended, captured, tail })
    }

    /// Starts a process that goes on when we end. Its pid is on the disk before it becomes the program, so that it
    /// can always be found again.
    pub(crate) fn detach(&self, pid: &Utf8Path) -> Result<()> {
        // With what a shell has in itself: nothing says that the PATH has `mv`.
        let script = r#"echo $$ >"$0" && exec "$@""#;
        let mut args = vec![
            "-c".to_owned(),
            script.to_owned(),
            pid.to_string(),
            self.program.to_string(),
        ];
        args.extend(self.args.iter().cloned());
        let log = self.log.as_deref().unwrap_or(Utf8Path::new("/dev/null"));
        let file = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)?
            .into_parts()
            .0;
        let handle = duct::cmd("/bin/sh", &args)
            .dir(&self.directory)
            .full_env(&self.env)
            .unchecked()
            .before_spawn(|command| {
                command.process_group(0);
                Ok(())
            })
            .stdin_null()
            .stdout_file(file.try_clone()?)
            .stderr_file(file)
            .start()
            .map_err(|error| self.cannot_start(&error))?;
        // Not waited for: it belongs to nobody from here on.
        drop(handle);
        Ok(())
    }

    /// Runs with our own streams, in our own process group, so that Ctrl-C and job control reach it; its
    /// exit status, or 128 and the signal that ended it.
    pub(crate) fn pass_through(&self) -> Result<u8> {
        let output = duct::cmd(self.program.as_str(), &self.args)
            .full_env(&self.env)
            .unchecked()
            .run()
            .map_err(|error| self.cannot_start(&error))?;
        let code = output
            .status
            .code()
            .unwrap_or_else(|| 128 + output.status.signal().unwrap_or_default());
        Ok(u8::try_from(code).unwrap_or(1))
    }

    /// Becomes the program, in the folder of who called: its signals, its terminal and its end are its own. Returns only
    /// when it cannot be started.
    #[expect(
        clippy::disallowed_methods,
        reason = "this process is replaced, which a description of a child cannot say"
    )]
    pub(crate) fn become_it(&self) -> Failure {
        let error = std::os::unix::process::CommandExt::exec(
            std::process::Command::new(self.program.as_std_path())
                .args(&self.args)
                .env_clear()
                .envs(&self.env),
        );
        self.cannot_start(&error)
    }

    fn cannot_start(&self, error: &std::io::Error) -> Failure {
        let failure = Failure::preflight(format!("cannot start `{}`: {error}", self.program));
        match error.raw_os_error() {
            // ENOEXEC, EACCES: not a program of this machine, or a folder mounted noexec.
            Some(8 | 13) => failure.hinted("is it built for this machine, and is its folder mounted without `noexec`?"),
            // E2BIG.
            Some(7) => failure.hinted("the argument list is too long"),
            _ => failure.hinted("`cargo xtask doctor` shows where each tool was found"),
        }
    }
}

/// A child that runs: known to the second Ctrl-C, and noted for the next run in case this one is killed.
struct Running<'a> {
    groups: Vec<i32>,
    note: Option<&'a Utf8Path>,
}

impl<'a> Running<'a> {
    fn new(handle: &duct::Handle, note: Option<&'a Utf8Path>) -> Self {
        let pids: Vec<i32> = handle
            .pids()
            .iter()
            .filter_map(|pid| i32::try_from(*pid).ok())
            .collect();
        groups().extend(&pids);
        if let Some(note) = note {
            orphans::note(note, &pids);
        }
        Self { groups: pids, note }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        for group in &self.groups {
            groups().remove(group);
        }
        if let Some(note) = self.note {
            let _absent_is_fine = fs_err::remove_file(note);
        }
    }
}

/// The command line of any process, its words joined by spaces; none when it is gone.
#[cfg(target_os = "linux")]
pub fn command_line(pid: rustix::process::Pid) -> Option<String> {
    let bytes = fs_err::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
    Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
}

/// The command line of any process; none when it is gone. Without /proc, `ps` knows it, and `-ww` keeps it from
/// cutting the line.
#[cfg(not(target_os = "linux"))]
pub fn command_line(pid: rustix::process::Pid) -> Option<String> {
    duct::cmd!(
        "/bin/ps",
        "-ww",
        "-o",
        "command=",
        "-p",
        pid.as_raw_nonzero().to_string()
    )
    .read()
    .ok()
}

/// The ids and command lines of processes that this user may look at.
#[cfg(target_os = "linux")]
pub fn command_lines() -> Vec<(i32, String)> {
    let Ok(entries) = fs_err::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, command_line(rustix::process::Pid::from_raw(pid)?)?)))
        .collect()
}

/// The ids and command lines of all processes; `-ww` keeps `ps` from cutting a line.
#[cfg(not(target_os = "linux"))]
pub fn command_lines() -> Vec<(i32, String)> {
    let listed = duct::cmd!("/bin/ps", "-axww", "-o", "pid=,command=")
        .stderr_null()
        .read();
    let listed = listed.unwrap_or_default();
    let line = |line: &str| {
        let (pid, line) = line.trim_start().split_once(' ')?;
        Some((pid.parse().ok()?, line.trim_start().to_owned()))
    };
    listed.lines().filter_map(line).collect()
}

/// Signals the child's process group. A group that is gone already is fine.
fn signal_group(handle: &duct::Handle, signal: rustix::process::Signal) {
    for pid in handle.pids() {
        if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
            let _gone_already = rustix::process::kill_process_group(pid, signal);
        }
    }
}

/// Follows a log pipe: into a file up to a limit, and the last lines into memory.
struct Log {
    tail: Arc<Mutex<VecDeque<String>>>,
    done: std::sync::mpsc::Receiver<()>,
}

impl Log {
    fn follow(reader: std::io::PipeReader, path: Option<Utf8PathBuf>, redactor: Redactor) -> Self {
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let (sender, done) = std::sync::mpsc::channel();
        let shared = Arc::clone(&tail);
        std::thread::spawn(move || {
            copy_log(reader, path, &redactor, &shared);
            let _nobody_waits = sender.send(());
        });
        Self { tail, done }
    }

    fn finish(self) -> Vec<String> {
        let _a_daemon_may_hold_the_pipe = self.done.recv_timeout(DRAIN);
        let tail = self.tail.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tail.iter().cloned().collect()
    }
}

fn copy_log(
    mut reader: std::io::PipeReader,
    path: Option<Utf8PathBuf>,
    redactor: &Redactor,
    tail: &Mutex<VecDeque<String>>,
) {
    let mut file = path.and_then(|path| fs_err::OpenOptions::new().create(true).append(true).open(path).ok());
    let mut written: u64 = 0;
    let mut line: Vec<u8> = Vec::new();
    let mut buffer = vec![0_u8; 64 * 1024];
    let mut stream = Stream::new(redactor);
    let keep = |line: &mut Vec<u8>| {
        let text = String::from_utf8_lossy(line).trim_end_matches('\r').to_owned();
        line.clear();
        let mut tail = tail.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(text);
    };
    loop {
        let ended;
        let said = match reader.read(&mut buffer) {
            Ok(0) | Err(_) => {
                ended = true;
                stream.end()
            }
            Ok(count) => {
                ended = false;
                stream.push(&buffer[..count])
            }
        };
        if let Some(file) = &mut file
            && written < LOG_LIMIT
        {
            // A log that cannot be written (disk full) must not stop the run; the tail is still shown.
            let _best_effort = file.write_all(&said);
            written += said.len() as u64;
            if written >= LOG_LIMIT {
                let _best_effort = writeln!(file, "\n[cut: the log has reached {LOG_LIMIT} bytes]");
            }
        }
        for byte in &said {
            if *byte == b'\n' {
                keep(&mut line);
            } else if line.len() < LINE_LIMIT {
                line.push(*byte);
            }
        }
        if ended {
            break;
        }
    }
    if !line.is_empty() {
        keep(&mut line);
    }
}

/// Collects a captured output up to a limit.
struct Capture(std::sync::mpsc::Receiver<std::io::Result<Vec<u8>>>);

impl Capture {
    fn follow(reader: std::io::PipeReader) -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = reader.take(CAPTURE_LIMIT).read_to_end(&mut bytes).map(|_| bytes);
            let _nobody_waits = sender.send(read);
        });
        Self(receiver)
    }

    fn finish(self) -> Result<Vec<u8>> {
        match self.0.recv_timeout(Duration::from_secs(10)) {
            Ok(read) => Ok(read?),
            Err(_) => Err(Failure::unexpected("the output of an ended process never closed")),
        }
    }
}

/// The path of the running xtask itself.
pub(crate) fn current_exe() -> Result<Utf8PathBuf> {
    let path = std::env::current_exe()?;
    if !path.exists() && cfg!(target_os = "linux") {
        // Built anew while it runs, as by the tests of `ci`; the kernel still has the one that runs.
        return Ok(Utf8PathBuf::from(format!("/proc/{}/exe", std::process::id())));
    }
    Utf8PathBuf::from_path_buf(path)
        .map_err(|path| Failure::config(format!("the path of xtask itself, `{}`, is not UTF-8", path.display())))
}

/// Runs a person's editor on a file, with this terminal's streams; its exit status. The words of the editor's command
/// are split as a shell would.
pub(crate) fn run_editor(editor: &str, file: &Utf8Path) -> Result<u8> {
    let mut words = shell_words::split(editor)
        .map_err(|_| Failure::config(format!("the editor `{editor}` has an open quote")))?
        .into_iter();
    let program = words
        .next()
        .ok_or_else(|| Failure::config("no editor is named").hinted("set `EDITOR`"))?;
    let mut args: Vec<String> = words.collect();
    args.push(file.to_string());
    let process = Process {
        program: program.into(),
        args,
        env: environment::of(environment::EVERYTHING),
        directory: file.parent().unwrap_or(Utf8Path::new("/")).to_owned(),
        stdin: Input::Null,
        stdout: Stdout::Log,
        log: None,
        partial: None,
        note: None,
        redactor: Redactor::default(),
        deadline: Duration::MAX,
    };
    process.pass_through()
}

/// What a program of the system prints, for a look at the host; none when it cannot be asked or fails.
#[cfg(any(test, not(target_os = "linux")))]
pub(crate) fn ask_system(program: &str, args: &[&str]) -> Option<String> {
    let process = Process {
        program: program.into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: environment::of(&[]),
        directory: "/".into(),
        stdin: Input::Null,
        stdout: Stdout::Capture,
        log: None,
        partial: None,
        note: None,
        redactor: Redactor::default(),
        deadline: Duration::from_secs(10),
    };
    let outcome = process.run(&Interrupt::default()).ok()?;
    (outcome.ended == Ended::Code(0)).then(|| String::from_utf8_lossy(&outcome.captured).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, deadline: Duration) -> Process {
        Process {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]),
            directory: "/".into(),
            stdin: Input::Null,
            stdout: Stdout::Log,
            log: None,
            partial: None,
            note: None,
            redactor: Redactor::default(),
            deadline,
        }
    }

    #[test]
    fn a_child_that_ignores_sigterm_is_killed_after_its_grace() {
        let started = Instant::now();
        let outcome = sh("trap '' TERM; while :; do :; done", Duration::from_millis(100))
            .run(&Interrupt::default())
            .unwrap();
        assert_eq!(outcome.ended, Ended::Deadline);
        assert!(started.elapsed() >= GRACE, "it had its grace");
    }

    #[test]
    fn a_missed_deadline_takes_the_grandchildren_along() {
        let outcome = sh("sleep 300 & echo $!; wait", Duration::from_millis(200))
            .run(&Interrupt::default())
            .unwrap();
        assert_eq!(outcome.ended, Ended::Deadline);
        assert!(goes_away(&outcome.tail[0]), "the grandchild lives on");
    }

    /// Whether a process is gone in a moment. Its parent is, so it may be a zombie of init until then.
    fn goes_away(pid: &str) -> bool {
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            rustix::process::test_kill_process(pid).is_err()
                || fs_err::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
                    .is_ok_and(|stat| stat.contains(") Z "))
        })
    }

    #[test]
    fn what_a_failed_tool_started_does_not_outlive_it() {
        for (script, ended) in [
            ("sleep 300 & echo $!; exit 3", Ended::Code(3)),
            ("sleep 300 & echo $!; kill -KILL $$", Ended::Signal(9)),
        ] {
            let outcome = sh(script, Duration::from_secs(60)).run(&Interrupt::default()).unwrap();
            assert_eq!(outcome.ended, ended);
            assert!(goes_away(&outcome.tail[0]), "the child of `{script}` lives on");
        }
    }

    #[test]
    fn a_child_is_dismissed_once_its_work_is_done_and_the_work_ends_once_it_is_gone() {
        let (outcome, worked) = sh("sleep 300", Duration::from_secs(60))
            .run_beside(&Interrupt::default(), |_| 7)
            .unwrap();
        assert_eq!((outcome.ended, worked), (Ended::Dismissed, Some(7)));
        let (outcome, worked) = sh("echo no; exit 3", Duration::from_secs(60))
            .run_beside(&Interrupt::default(), |gone| {
                while !gone.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            })
            .unwrap();
        assert_eq!((outcome.ended, worked), (Ended::Code(3), None));
        assert_eq!(outcome.tail, ["no"]);
    }

    #[test]
    fn a_flood_and_invalid_utf8_leave_a_readable_tail() {
        let outcome = sh(
            "yes x | head -c 20000000; printf '\\377\\376end\\n'",
            Duration::from_secs(60),
        )
        .run(&Interrupt::default())
        .unwrap();
        assert_eq!(outcome.ended, Ended::Code(0));
        assert_eq!(outcome.tail.len(), TAIL_LINES);
        assert_eq!(outcome.tail.last().map(String::as_str), Some("\u{fffd}\u{fffd}end"));
    }

    #[test]
    fn what_a_child_echoes_of_its_token_is_in_no_log_and_no_tail() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let log = Utf8PathBuf::from_path_buf(folder.path().join("log")).unwrap();
        let mut process = sh(
            "echo \"using $TOKEN\"; printf 'half %s' \"$TOKEN\" >&2",
            Duration::from_secs(5),
        );
        process.env.insert("TOKEN".into(), "a-token-of-a-test".into());
        process.redactor = Redactor::over(["a-token-of-a-test"]);
        process.log = Some(log.clone());
        let outcome = process.run(&Interrupt::default()).unwrap();
        assert_eq!(outcome.tail, ["using [hidden]", "half [hidden]"]);
        assert_eq!(fs_err::read_to_string(log).unwrap(), "using [hidden]\nhalf [hidden]");
    }

    #[test]
    fn a_death_by_signal_is_told_from_an_exit() {
        let outcome = sh("kill -SEGV $$", Duration::from_secs(5))
            .run(&Interrupt::default())
            .unwrap();
        assert_eq!(outcome.ended, Ended::Signal(11));
    }

    #[test]
    fn a_daemon_that_keeps_the_pipe_does_not_hold_the_run() {
        let started = Instant::now();
        let outcome = sh("(setsid sleep 3 &) ; echo started", Duration::from_secs(5))
            .run(&Interrupt::default())
            .unwrap();
        assert_eq!(outcome.ended, Ended::Code(0));
        assert!(started.elapsed() < Duration::from_secs(3));
    }
}

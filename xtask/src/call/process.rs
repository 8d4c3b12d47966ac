//! Runs commands: finds their tools, fills in what only a run knows, and turns how one ended into a verdict.
//! What a command is for is for its caller to know.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::Caller;
use crate::base::failure::{Failure, Kind, Result};
use crate::base::files::{later, text_of};
use crate::base::process::redact::Redactor;
use crate::base::process::{CHILD, Ended, Input, Outcome, Process, Stdout, current_exe};
use crate::base::text::seconds;
use crate::base::ui::Status;
use crate::command::{Arg, Command, OnFailure, Output, Stdin, Tool};

/// Variables whose folder has to exist before a tool starts.
const FOLDERS: [&str; 2] = ["HOME", "TMPDIR"];

/// Seconds between two tries of a command that may be asked again: an API server that is restarted is back within a
/// minute, and one that is not is somebody's work.
const ASK_AGAIN: [u64; 5] = [2, 4, 8, 16, 30];

/// The kubeconfig that a command is told.
fn kubeconfig_of(command: &Command) -> Option<&Utf8PathBuf> {
    command
        .args
        .iter()
        .chain(command.env.get("KUBECONFIG"))
        .find_map(|arg| match arg {
            Arg::FlagPath(flag, path) if flag == "--kubeconfig" => Some(path),
            Arg::Path(path) if command.env.get("KUBECONFIG") == Some(arg) => Some(path),
            _ => None,
        })
}

impl Caller<'_> {
    /// Tries again what an API server could not answer for a moment, if the command may be asked again.
    pub(crate) fn patiently(&self, command: &Command, attempt: impl Fn() -> Result<()>) -> Result<()> {
        self.ask_again(command, &ASK_AGAIN, attempt)
    }

    fn ask_again(&self, command: &Command, pauses: &[u64], attempt: impl Fn() -> Result<()>) -> Result<()> {
        let times = pauses.len() + 1;
        let mut pauses = pauses.iter();
        loop {
            let Err(failure) = attempt() else { return Ok(()) };
            let blip =
                matches!(command.on_failure, OnFailure::AskAgain | OnFailure::Partial) && failure.kind == Kind::Step;
            let words = || super::kubectl::blip(&format!("{}\n{}", failure.chain(), failure.hints.join("\n")));
            match (blip.then(words).flatten(), pauses.next()) {
                (None, _) => return Err(failure),
                (Some(_), None) => {
                    return Err(Failure {
                        kind: Kind::Timeout,
                        ..failure
                    }
                    .context(format!("the API server did not answer, asked {times} times")));
                }
                (Some(said), Some(pause)) => {
                    let pause = &longest_wait().map_or(*pause, |limit| limit.min(*pause));
                    self.ui.status(
                        Status::Waiting,
                        format!("{said}; `{}` is asked again in {pause} s", command.tool.program()),
                    );
                    self.interrupt.sleep(Duration::from_secs(*pause));
                    if self.interrupt.is_set() {
                        return Err(interrupted_failure());
                    }
                }
            }
        }
    }
    /// Runs a command that only reads and returns what it printed.
    pub(crate) fn capture(&self, command: &Command) -> Result<Outcome> {
        let mut process = self.process(command, None)?;
        process.stdout = Stdout::Capture;
        process.run(self.interrupt)
    }

    /// What a command that only reads prints; none when it ends with another status than 0.
    pub(crate) fn answer(&self, command: &Command) -> Result<Option<Vec<u8>>> {
        let outcome = self.capture(command)?;
        match outcome.ended {
            Ended::Code(0) => Ok(Some(outcome.captured)),
            Ended::Code(_) => Ok(None),
            _ => judge(command, &outcome).map(|()| None),
        }
    }

    /// Runs a command with bytes on its standard input and values in its environment that only memory holds: they
    /// are in no plan, log or argument. What it printed, or the last lines of what it complained.
    pub(crate) fn feed(
        &self,
        command: &Command,
        stdin: &[u8],
        secrets: &[(&str, String)],
    ) -> Result<Result<Vec<u8>, Vec<String>>> {
        let mut process = self.process(command, None)?;
        process.stdin = Input::Bytes(stdin.to_vec());
        process.stdout = Stdout::Capture;
        process.redactor = Redactor::over(secrets.iter().map(|(_, value)| value.as_str()));
        process
            .env
            .extend(secrets.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let outcome = process.run(self.interrupt)?;
        match outcome.ended {
            Ended::Code(0) => Ok(Ok(outcome.captured)),
            Ended::Code(_) => Ok(Err(outcome.tail)),
            _ => judge(command, &outcome).map(|()| Err(outcome.tail)),
        }
    }

    /// Runs a command with this terminal's streams, and values in its environment that only memory holds; its exit
    /// status.
    pub(crate) fn hand_over(&self, command: &Command, secrets: &[(&str, String)]) -> Result<u8> {
        let mut process = self.process(command, None)?;
        process
            .env
            .extend(secrets.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        process.pass_through()
    }

    pub(crate) fn start(&self, command: &Command, log: Option<&Utf8Path>) -> Result<Outcome> {
        self.process(command, log)?.run(self.interrupt)
    }

    /// Runs a command with a watch beside it, which is told when the command has ended; where the watch ends first, the
    /// command is ended, and what the watch says of it is returned.
    pub(crate) fn start_watched<T: Send>(
        &self,
        command: &Command,
        log: Option<&Utf8Path>,
        watch: impl FnOnce(&AtomicBool) -> T + Send,
    ) -> Result<(Outcome, Option<T>)> {
        self.process(command, log)?.run_beside(self.interrupt, watch)
    }

    /// Becomes a tool, which then has this terminal, our signals and our exit status: for verbs that end with it.
    pub(crate) fn become_tool(&self, command: &Command) -> Result<std::convert::Infallible> {
        Err(self.process(command, None)?.become_it())
    }

    /// Refuses a cluster elsewhere where nothing may leave loopback.
    fn keep_in(&self, command: &Command) -> Result<()> {
        let kubeconfig = kubeconfig_of(command);
        let servers = kubeconfig.map_or_else(Vec::new, |path| super::kubectl::servers(&self.root.join(path)));
        servers.iter().try_for_each(|server| {
            crate::base::offline::allow(
                crate::base::offline::host_of(server),
                &format!("have `{}` connect to `{server}`", command.tool.program()),
            )
        })
    }

    pub(crate) fn process(&self, command: &Command, log: Option<&Utf8Path>) -> Result<Process> {
        if crate::base::offline::is_offline() {
            self.keep_in(command)?;
        }
        if let Some(kubeconfig) = kubeconfig_of(command) {
            super::plugins::check(self.root, kubeconfig)?;
        }
        let mut args = Vec::new();
        let mut given = Vec::new();
        for arg in &command.args {
            self.resolve(arg, &mut args)?;
        }
        shorten_waits(command.tool, &mut args);
        let mut env = crate::base::process::environment::of(command.tool.variables());
        for (name, value) in &command.env {
            let mut values = Vec::new();
            self.resolve(value, &mut values)?;
            if let Arg::Secret(_) = value {
                given.extend(values.iter().cloned());
            }
            if let (true, Arg::Path(path)) = (FOLDERS.contains(&name.as_str()), value) {
                let folder = self.root.join(path);
                fs_err::create_dir_all(&folder)?;
                // A folder of ours, and never the person's own home.
                if path.is_relative() {
                    close_to_others(&folder)?;
                }
            }
            env.insert(name.clone(), values.join(","));
        }
        Ok(Process {
            program: self.path(command.tool)?,
            args,
            env,
            directory: self.root.to_owned(),
            stdin: match &command.stdin {
                Stdin::Null => Input::Null,
                Stdin::File(path) => Input::File(self.root.join(path)),
                Stdin::Text(text) => Input::Bytes(text.clone().into_bytes()),
                Stdin::Secret(name) => {
                    let value = self.secret(name)?;
                    given.push(value.clone());
                    Input::Bytes(value.into_bytes())
                }
            },
            redactor: Redactor::over(given.iter().map(String::as_str)),
            stdout: match &command.output {
                Output::Log => Stdout::Log,
                Output::File(path) => Stdout::File(self.root.join(path)),
            },
            log: log.map(Utf8Path::to_owned),
            partial: (command.on_failure == OnFailure::Partial).then_some(super::kubectl::DEAD_GROUPS),
            note: log.map(|log| log.with_file_name(CHILD)),
            deadline: Duration::from_secs(command.deadline),
        })
    }

    /// The absolute path of a tool; our own binary needs no finding.
    fn path(&self, tool: Tool) -> Result<Utf8PathBuf> {
        if tool == Tool::Xtask {
            current_exe()
        } else {
            Ok(self.tools.path(tool)?.to_owned())
        }
    }

    fn resolve(&self, arg: &Arg, into: &mut Vec<String>) -> Result<()> {
        match arg {
            Arg::Lit(text) => into.push(text.clone()),
            Arg::Path(path) => into.push(self.root.join(path).into_string()),
            Arg::FlagPath(flag, path) => into.push(format!("{flag}={}", self.root.join(path))),
            Arg::Tool(tool) => into.push(self.path(*tool)?.into_string()),
            Arg::SearchPath(tools) => {
                let mut folders = Vec::new();
                for tool in tools {
                    folders.extend(self.path(*tool)?.parent().map(ToString::to_string));
                }
                folders.dedup();
                folders.extend(std::env::var("PATH"));
                into.push(folders.join(":"));
            }
            Arg::Secret(name) => into.push(self.secret(name)?),
            Arg::Later { file, pointer } => into.push(text_of(&later(self.root, file, pointer)?)),
            Arg::LaterList { file, pointer } => match later(self.root, file, pointer)? {
                serde_json::Value::Array(values) => into.extend(values.iter().map(text_of)),
                other => {
                    return Err(Failure::unexpected(format!(
                        "`{file}` says `{other}` at `{pointer}`, not a list"
                    )));
                }
            },
        }
        Ok(())
    }
}

/// Lets no other user enter a folder, also none of the same group: a tool puts keys there with modes of its own.
fn close_to_others(path: &Utf8Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    if fs_err::metadata(path)?.permissions().mode() & 0o077 != 0 {
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// The limit that `XTASK_MAX_WAIT` sets to every wait, in seconds: for who would rather be told early.
pub(crate) fn longest_wait() -> Option<u64> {
    std::env::var("XTASK_MAX_WAIT").ok()?.parse().ok()
}

/// kluctl waits by itself for single objects, kwokctl for an API server, and kubectl for a rollout; those are waits like
/// any other. What kluctl calls `--timeout` is no wait, but the whole call with everything that it applies.
fn shorten_waits(tool: Tool, args: &mut [String]) {
    let flags: &[&str] = match tool {
        Tool::Kluctl => &["--readiness-timeout="],
        _ => &["--wait=", "--timeout="],
    };
    let Some(limit) = longest_wait() else { return };
    for arg in args.iter_mut() {
        for flag in flags {
            let seconds = arg.strip_prefix(flag).and_then(|value| value.strip_suffix('s'));
            if let Some(seconds) = seconds.and_then(|seconds| seconds.parse::<u64>().ok()) {
                *arg = format!("{flag}{}s", seconds.min(limit));
            }
        }
    }
}

/// Turns how a command ended into a verdict, with the last lines of what it said.
pub(crate) fn judge(command: &Command, outcome: &Outcome) -> Result<()> {
    let program = command.tool.program();
    let (kind, what) = match outcome.ended {
        Ended::Code(0) | Ended::Dismissed => return Ok(()),
        Ended::Code(_) | Ended::Signal(_) | Ended::Deadline if command.on_failure == OnFailure::LookNext => {
            return Ok(());
        }
        // Our own verbs say what kind of failure it was.
        Ended::Code(code) if command.tool == Tool::Xtask => (
            Kind::of_exit_code(code).unwrap_or(Kind::Step),
            format!("`{program}` ended with exit status {code}"),
        ),
        Ended::Code(_) if command.on_failure == OnFailure::NotReached => {
            return Err(super::kubectl::explain(&outcome.tail).of_command(command.shell()));
        }
        Ended::Code(code) => (Kind::Step, format!("`{program}` ended with exit status {code}")),
        Ended::Signal(signal) => (Kind::Step, format!("`{program}` was ended by signal {signal}")),
        Ended::Deadline => (
            Kind::Timeout,
            format!(
                "`{program}` did not end within {}",
                seconds(Duration::from_secs(command.deadline))
            ),
        ),
        Ended::Interrupted => return Err(interrupted_failure()),
    };
    let mut message = what;
    if !outcome.tail.is_empty() {
        message.push_str(", its last lines:");
        for line in &outcome.tail {
            message.push_str("\n    ");
            message.push_str(line);
        }
    }
    Err(Failure::new(kind, message).of_command(command.shell()))
}

/// The failure of who was interrupted.
pub(crate) fn interrupted_failure() -> Failure {
    Failure::new(Kind::Interrupted, "interrupted").hinted("`--resume` goes on where this run stopped")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::process::Interrupt;
    use crate::base::ui::Ui;
    use crate::tool::Tools;

    #[test]
    fn only_a_command_that_may_is_asked_again_and_only_where_the_api_server_was_out_of_reach() {
        let interrupt = Interrupt::default();
        let (ui, tools) = (Ui::plain(), Tools::default());
        let caller = Caller::new(Utf8Path::new("/"), &ui, &tools, &interrupt, |_, _| {
            unreachable!("no secret is named")
        });
        // How often it was asked, and what came of it, when it fails so often with these words.
        let asked = |on_failure, failures: usize, said: &str| {
            let mut command = Command::new(Tool::Kubectl);
            command.on_failure = on_failure;
            let count = std::cell::Cell::new(0);
            let outcome = caller.ask_again(&command, &[0, 0], || {
                count.set(count.get() + 1);
                if count.get() > failures {
                    return Ok(());
                }
                Err(Failure::new(Kind::Step, said))
            });
            (count.get(), outcome.err().map(|failure| failure.kind))
        };
        let away = "dial tcp 127.0.0.1:6443: connect: connection refused";
        assert_eq!(asked(OnFailure::AskAgain, 2, away), (3, None));
        assert_eq!(asked(OnFailure::Partial, 1, away), (2, None));
        assert_eq!(asked(OnFailure::AskAgain, 9, away), (3, Some(Kind::Timeout)));
        assert_eq!(asked(OnFailure::Fail, 1, away), (1, Some(Kind::Step)));
        assert_eq!(asked(OnFailure::AskAgain, 1, "no such object"), (1, Some(Kind::Step)));
    }
}

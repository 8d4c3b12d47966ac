//! Failures a person reads: a kind that decides the exit code, a chain of causes, and hints.
//! It prints nothing and exits nowhere; `ui` and `main` do.

use std::fmt::Display;

/// What went wrong, in the terms of the exit code table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A bug, or unforeseen I/O.
    Unexpected,
    /// The command line makes no sense; clap uses the same code for its own errors.
    Usage,
    /// Platform config, root or argument makes no sense.
    Config,
    /// A golden, a generated file or the parity matrix differs.
    Stale,
    /// A tool or target is not ready; nothing was changed.
    Preflight,
    /// A wrapped tool failed midway; safe to resume.
    Step,
    /// Not ready before the deadline.
    Timeout,
    /// A guard said no, a prompt was declined, or a saved plan is stale.
    Refused,
    /// Another run holds the lock.
    Locked,
    /// The cluster is sick.
    Unhealthy,
    /// Ctrl-C.
    Interrupted,
}

impl Kind {
    /// Every kind, in the order of the table in `docs/cli.md`.
    pub const ALL: [Self; 11] = [
        Self::Unexpected,
        Self::Usage,
        Self::Config,
        Self::Stale,
        Self::Preflight,
        Self::Step,
        Self::Timeout,
        Self::Refused,
        Self::Locked,
        Self::Unhealthy,
        Self::Interrupted,
    ];

    /// The process exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::Config => 3,
            Self::Stale => 4,
            Self::Preflight => 5,
            Self::Step => 6,
            Self::Timeout => 7,
            Self::Refused => 8,
            Self::Locked => 9,
            Self::Unhealthy => 10,
            Self::Interrupted => 130,
        }
    }

    /// The kind that ends with this code; none for 0 and for codes that are not ours.
    pub fn of_exit_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| i32::from(kind.exit_code()) == code)
    }

    /// The word at the head of a message, and the kind's name in JSON.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Unexpected => "unexpected",
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Stale => "stale",
            Self::Preflight => "preflight",
            Self::Step => "step failed",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Locked => "locked",
            Self::Unhealthy => "unhealthy",
            Self::Interrupted => "interrupted",
        }
    }

    /// What it means, for the table in `docs/cli.md`.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Unexpected => "a bug, or unforeseen I/O",
            Self::Usage => "the command line makes no sense",
            Self::Config => "platform config, root or argument makes no sense",
            Self::Stale => {
                "a golden, a generated file or the parity matrix differs, or `diff --exit-code` found a change"
            }
            Self::Preflight => "a tool is missing or too old, or the target is not ready; nothing was changed",
            Self::Step => "a wrapped tool failed midway; safe to resume",
            Self::Timeout => "not ready before the deadline",
            Self::Refused => "a guard said no, the prompt was declined or missing, or a saved plan is stale",
            Self::Locked => "another run holds the lock",
            Self::Unhealthy => "`local-status` or `capi status` found the cluster unhealthy",
            Self::Interrupted => "Ctrl-C; locks are released and `finally` steps were run",
        }
    }

    /// What a caller does about it, for the table in `docs/cli.md`.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Unexpected => "report it",
            Self::Usage => "fix the command line",
            Self::Config => "fix the checkout",
            Self::Stale => "`golden bless`, review, commit",
            Self::Preflight => "do what the hint says",
            Self::Step => "read the log, `--resume` or `--from STEP`",
            Self::Timeout => "look, try again",
            Self::Refused => "`--yes` answers a prompt, never a guard",
            Self::Locked => "wait for the holder it names; `unlock --id` if that is dead",
            Self::Unhealthy => "follow the cause it names",
            Self::Interrupted => "run again, or `--resume`",
        }
    }
}

/// A failure with everything a person needs to go on.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub kind: Kind,
    /// The chain of causes, outermost first.
    pub error: anyhow::Error,
    /// What to do about it, each one line; most useful first.
    pub hints: Vec<String>,
    /// The command that failed, as a shell takes it; a person who wants to know sees it.
    pub command: Option<String>,
}

/// What almost every function returns.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure of this kind with one sentence: lowercase, no final period, the thing in backticks.
    pub fn new(kind: Kind, message: impl Display) -> Self {
        Self {
            kind,
            error: anyhow::anyhow!("{message}"),
            hints: Vec::new(),
            command: None,
        }
    }

    /// Several problems reported as one failure, one a line.
    pub fn many(kind: Kind, summary: impl Display, problems: &[String]) -> Self {
        let mut message = summary.to_string();
        for problem in problems {
            message.push_str("\n  - ");
            message.push_str(&problem.replace('\n', "\n    "));
        }
        Self::new(kind, message)
    }

    /// Adds a hint: one thing to do.
    #[must_use]
    pub fn hinted(mut self, hint: impl Display) -> Self {
        self.hints.push(hint.to_string());
        self
    }

    /// Says which command it was.
    #[must_use]
    pub fn of_command(mut self, command: String) -> Self {
        self.command = Some(command);
        self
    }

    /// Puts a sentence in front of the chain.
    #[must_use]
    pub fn context(mut self, message: impl Display) -> Self {
        self.error = self.error.context(message.to_string());
        self
    }

    /// The whole chain on one line, outermost first.
    pub fn chain(&self) -> String {
        format!("{:#}", self.error)
    }

    /// Whether a disk had no room.
    pub fn is_of_a_full_disk(&self) -> bool {
        self.error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
            .filter_map(foreseen)
            .any(|(kind, _)| kind == Kind::Step)
    }

    /// A bug or unforeseen I/O.
    pub fn unexpected(message: impl Display) -> Self {
        Self::new(Kind::Unexpected, message)
    }

    /// Platform config, root or argument makes no sense.
    pub fn config(message: impl Display) -> Self {
        Self::new(Kind::Config, message)
    }

    /// Not ready, and nothing was changed.
    pub fn preflight(message: impl Display) -> Self {
        Self::new(Kind::Preflight, message)
    }

    /// A guard said no.
    pub fn refused(message: impl Display) -> Self {
        Self::new(Kind::Refused, message)
    }
}

/// What to do about a disk without room.
pub(crate) const FREE_SPACE: &str =
    "free some disk space (`cargo xtask clean` shows what can go), then run the same command again";

/// What to do about a folder that cannot be written.
const NOT_WRITABLE: &str = "a read-only mount or another owner is the usual cause: run it in a checkout of your own";

/// I/O that is no bug: its kind, and what to do about it.
fn foreseen(error: &std::io::Error) -> Option<(Kind, &'static str)> {
    use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        // What was done stands: there is a way on.
        StorageFull | QuotaExceeded => Some((Kind::Step, FREE_SPACE)),
        ReadOnlyFilesystem | PermissionDenied => Some((Kind::Preflight, NOT_WRITABLE)),
        _ => None,
    }
}

/// unforeseen I/O keeps its chain; `fs_err` has put the path into it.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let (kind, hint) = foreseen(&error).map_or((Kind::Unexpected, None), |(kind, hint)| (kind, Some(hint)));
        Self {
            kind,
            error: error.into(),
            hints: hint.map(str::to_owned).into_iter().collect(),
            command: None,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self {
            kind: Kind::Unexpected,
            error,
            hints: Vec::new(),
            command: None,
        }
    }
}

/// Turns any error into a failure of a chosen kind.
pub trait ResultExt<T> {
    /// Maps the error to this kind, with a sentence in front of its chain.
    fn or_fail(self, kind: Kind, message: impl Display) -> Result<T>;
}

impl<T, E: Into<anyhow::Error>> ResultExt<T> for std::result::Result<T, E> {
    fn or_fail(self, kind: Kind, message: impl Display) -> Result<T> {
        self.map_err(|error| {
            let error: anyhow::Error = error.into();
            let known = error.downcast_ref::<std::io::Error>().and_then(foreseen);
            let (kind, hint) = match (kind, known) {
                (Kind::Unexpected, Some((known, hint))) => (known, Some(hint)),
                _ => (kind, None),
            };
            Failure {
                kind,
                error: error.context(message.to_string()),
                hints: hint.map(str::to_owned).into_iter().collect(),
                command: None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_exit_code_and_none_is_success() {
        let mut codes: Vec<u8> = Kind::ALL.iter().map(|kind| kind.exit_code()).collect();
        assert!(!codes.contains(&0));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Kind::ALL.len());
    }

    #[test]
    fn a_full_disk_is_a_failed_step_with_a_way_on_and_other_io_is_not() {
        let full = Failure::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert_eq!(full.kind, Kind::Step);
        assert!(full.hints[0].contains("cargo xtask clean"), "{full:?}");
        assert!(full.is_of_a_full_disk());
        let other = Failure::from(std::io::Error::from(std::io::ErrorKind::InvalidData));
        assert_eq!(other.kind, Kind::Unexpected);
        assert!(!other.is_of_a_full_disk());
        for unwritable in [
            std::io::ErrorKind::ReadOnlyFilesystem,
            std::io::ErrorKind::PermissionDenied,
        ] {
            let failed = || Err::<(), _>(std::io::Error::from(unwritable));
            let plain = failed().map_err(Failure::from).unwrap_err();
            let told = failed().or_fail(Kind::Unexpected, "cannot create `x`").unwrap_err();
            for failure in [plain, told] {
                assert_eq!((failure.kind, failure.hints.len()), (Kind::Preflight, 1), "{failure:?}");
            }
        }
    }

    #[test]
    fn several_problems_stand_one_a_line() {
        let failure = Failure::many(Kind::Config, "two problems", &["a".into(), "b\nc".into()]);
        assert_eq!(failure.chain(), "two problems\n  - a\n  - b\n    c");
    }
}

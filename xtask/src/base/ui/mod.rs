//! What a person sees: status words, one spinner line, failures, prompts.
//! Data goes to stdout through [`Ui::data`], everything else to stderr; nobody else prints.

mod clean;
mod prompt;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::base::failure::{Failure, Result};
use clean::sanitise;
pub use prompt::Answer;

/// Width of a status word: the longest, `Interrupted`, and one to spare.
const WORD_WIDTH: usize = 12;

/// Characters of a command that a failure shows unasked.
const COMMAND: usize = 160;

/// Styles of the parts of a line; the default is plain, so that nobody asks whether there is colour.
#[derive(Debug, Clone, Copy, Default)]
struct Styles {
    good: Style,
    busy: Style,
    warn: Style,
    bad: Style,
    hint: Style,
}

impl Styles {
    fn coloured() -> Self {
        let of = |colour: AnsiColor| colour.on_default().bold();
        Self {
            good: of(AnsiColor::Green),
            busy: of(AnsiColor::Cyan),
            warn: of(AnsiColor::Yellow),
            bad: of(AnsiColor::Red),
            hint: of(AnsiColor::Blue),
        }
    }
}

/// The first word of a status line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// A step begins.
    Running,
    /// A step ended well.
    Done,
    /// A step had nothing to do.
    Fresh,
    /// A condition is awaited.
    Waiting,
    /// A tool is built.
    Building,
    /// A choice was made, with its reason.
    Using,
    /// A run that was cut off goes on.
    Resuming,
    /// Something was left out or only simulated.
    Skipped,
    /// Something differs from what was reviewed.
    Stale,
    /// Something a person should know.
    Warning,
    /// A guard or check passed.
    Checked,
    /// The command to type next.
    Next,
    /// Something was written.
    Wrote,
    /// Something was removed.
    Removed,
    /// Something failed.
    Failed,
    /// Ctrl-C.
    Interrupted,
}

impl Status {
    fn text(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Done => "Done",
            Self::Fresh => "Fresh",
            Self::Waiting => "Waiting",
            Self::Building => "Building",
            Self::Using => "Using",
            Self::Resuming => "Resuming",
            Self::Skipped => "Skipped",
            Self::Stale => "Stale",
            Self::Warning => "Warning",
            Self::Checked => "Checked",
            Self::Next => "Next",
            Self::Wrote => "Wrote",
            Self::Removed => "Removed",
            Self::Failed => "Failed",
            Self::Interrupted => "Interrupted",
        }
    }

    fn style(self, styles: &Styles) -> Style {
        match self {
            Self::Done | Self::Fresh | Self::Checked | Self::Wrote => styles.good,
            Self::Running | Self::Waiting | Self::Building | Self::Using | Self::Resuming | Self::Next => styles.busy,
            Self::Skipped | Self::Stale | Self::Warning | Self::Removed => styles.warn,
            Self::Failed | Self::Interrupted => styles.bad,
        }
    }
}

/// How a run talks to the person or program in front of it. Cheap to clone; all clones share the spinner.
#[derive(Clone)]
pub struct Ui {
    shared: Arc<Shared>,
    verbosity: Verbosity,
    speaker: Speaker,
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    /// A verb, or a run as a whole: it is printed.
    Verb,
    /// A step of a run: what goes well is kept for the line of its section, unless every step is told.
    Step,
}

/// What a step said and the line of its section, or the end of the run, has to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// What it came to; what differs is told before what is well.
    pub outcome: Option<String>,
    /// What was left out, a sentence each.
    pub left_out: Vec<String>,
}

/// How much of a run is told; a later one tells all that an earlier one does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// `-q`: the result and failures.
    Quiet,
    /// What a person wants to know of every run.
    #[default]
    Normal,
    /// `-v`: every step.
    Steps,
    /// `-vv`: every step and what its tool prints.
    Tools,
}

impl Verbosity {
    /// What `-q`, and `-v` given so many times, ask for.
    pub fn asked(quiet: bool, verbose: u8) -> Self {
        match (quiet, verbose) {
            (true, _) => Self::Quiet,
            (false, 0) => Self::Normal,
            (false, 1) => Self::Steps,
            (false, _) => Self::Tools,
        }
    }
}

struct Shared {
    styles: Styles,
    /// The one spinner line; none when piped, in CI or verbose.
    spinner: Option<ProgressBar>,
    /// Whether the spinner line is on the screen.
    spinning: AtomicBool,
    annotations: Annotations,
    prompts: Prompts,
    /// Ctrl-C, which ends a prompt.
    interrupt: OnceLock<Arc<AtomicBool>>,
    /// Held while a line is written, so that lines of two threads do not mix.
    line: Mutex<()>,
    /// What steps have said since it was taken.
    told: Mutex<(Option<Status>, Told)>,
    /// Warnings that steps have given: two looks at the same thing warn once.
    warned: Mutex<BTreeSet<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Annotations {
    None,
    Github,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prompts {
    Ask,
    Never,
}

impl Ui {
    /// Looks at the terminal and at `CI`, `NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE` and `GITHUB_ACTIONS`.
    pub fn from_environment(color: ColorChoice, verbosity: Verbosity) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let ci = set("CI").is_some_and(|value| value != "false");
        let terminal = std::io::stderr().is_terminal();
        let colour = coloured(color, terminal && !ci, |name| {
            set(name).map(|value| value.to_string_lossy().into_owned())
        });
        if colour {
            // What writes to stderr takes escapes out again unless it is told that they are meant.
            ColorChoice::Always.write_global();
        }
        let spinner = (terminal && !ci).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
            if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {wide_msg} {elapsed}") {
                bar.set_style(style);
            }
            bar
        });
        let github = std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true");
        Self {
            verbosity,
            speaker: Speaker::Verb,
            shared: Arc::new(Shared {
                styles: if colour { Styles::coloured() } else { Styles::default() },
                spinner,
                spinning: AtomicBool::new(false),
                interrupt: OnceLock::new(),
                annotations: if github { Annotations::Github } else { Annotations::None },
                prompts: if !ci && std::io::stdin().is_terminal() && terminal {
                    Prompts::Ask
                } else {
                    Prompts::Never
                },
                line: Mutex::new(()),
                told: Mutex::default(),
                warned: Mutex::default(),
            }),
        }
    }

    /// The same person, but what went well is not said.
    #[must_use]
    pub fn quiet(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            verbosity: Verbosity::Quiet,
            speaker: self.speaker,
        }
    }

    /// Plain lines, no prompts: for tests.
    pub fn plain() -> Self {
        Self {
            verbosity: Verbosity::Normal,
            speaker: Speaker::Verb,
            shared: Arc::new(Shared {
                styles: Styles::default(),
                spinner: None,
                spinning: AtomicBool::new(false),
                interrupt: OnceLock::new(),
                annotations: Annotations::None,
                prompts: Prompts::Never,
                line: Mutex::new(()),
                told: Mutex::default(),
                warned: Mutex::default(),
            }),
        }
    }

    /// For the steps of a run: what they say is told with their section, or counted at the end.
    #[must_use]
    pub fn for_steps(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            verbosity: self.verbosity,
            speaker: Speaker::Step,
        }
    }

    /// What steps have said since this was asked last.
    pub fn take_told(&self) -> Told {
        let mut told = self
            .shared
            .told
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut *told).1
    }

    /// Keeps what a step said, if it is not printed.
    fn keeps(&self, word: Status, text: &str) -> bool {
        if self.speaker == Speaker::Verb {
            return false;
        }
        let mut told = self
            .shared
            .told
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let (last, told) = &mut *told;
        match word {
            Status::Skipped => told.left_out.push(text.to_owned()),
            Status::Stale => {
                // Everything that differs is told, and nothing that is well beside it.
                let before = told.outcome.take().filter(|_| *last == Some(Status::Stale));
                told.outcome = Some(before.map_or_else(|| text.to_owned(), |before| format!("{before}; {text}")));
                *last = Some(word);
            }
            Status::Checked | Status::Done | Status::Fresh | Status::Wrote | Status::Removed => {
                if *last != Some(Status::Stale) {
                    *last = Some(word);
                    told.outcome = Some(text.to_owned());
                }
            }
            Status::Warning => {
                let mut warned = self
                    .shared
                    .warned
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                return !warned.insert(text.to_owned()) && self.verbosity < Verbosity::Steps;
            }
            _ => return false,
        }
        self.verbosity < Verbosity::Steps
    }

    /// Prints a line of a run that a person wants to see of every run: a past tense, then the text.
    pub fn told(&self, word: &str, text: impl AsRef<str>) {
        if self.verbosity > Verbosity::Quiet {
            self.write_line(word, self.shared.styles.good, &sanitise(text.as_ref()));
        }
    }

    /// Prints what a run came to, also with `-q`.
    pub fn result(&self, word: Status, text: impl AsRef<str>) {
        self.write_line(word.text(), word.style(&self.shared.styles), &sanitise(text.as_ref()));
    }

    fn write_line(&self, word: &str, style: Style, text: &str) {
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let mut whole = format!("{style}{word:>WORD_WIDTH$}{style:#} {first}\n");
        for line in lines {
            writeln!(whole, "{:>WORD_WIDTH$} {line}", "").expect("a string takes everything");
        }
        self.write_stderr(&whole);
    }

    /// How much of a run is told.
    pub fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Prints a status line to stderr: a right-aligned word, then the text.
    pub fn status(&self, word: Status, text: impl AsRef<str>) {
        if self.keeps(word, text.as_ref()) {
            return;
        }
        let result = matches!(
            word,
            Status::Stale | Status::Warning | Status::Failed | Status::Interrupted
        );
        if self.verbosity == Verbosity::Quiet && !result {
            return;
        }
        let text = sanitise(text.as_ref());
        self.write_line(word.text(), word.style(&self.shared.styles), &text);
        if word == Status::Warning {
            self.annotate("warning", text.lines().next().unwrap_or_default());
        }
    }

    /// Prints plain text to stderr: plans, tables for people.
    pub fn text(&self, text: impl AsRef<str>) {
        let mut whole = sanitise(text.as_ref());
        if !whole.ends_with('\n') {
            whole.push('\n');
        }
        self.write_stderr(&whole);
    }

    /// Prints data to stdout, as it is to a program, and safe to show to a person or to the runner of a hosted
    /// workflow. A reader that has gone away (`| head`) is not an error.
    pub fn data(&self, text: impl AsRef<str>) -> Result<()> {
        let text = text.as_ref();
        if std::io::stdout().is_terminal() {
            return Self::print(&sanitise(text));
        }
        match self.shared.annotations {
            Annotations::Github => Self::print(&clean::inert(text)),
            Annotations::None => Self::print(text),
        }
    }

    fn print(text: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        let written = out
            .write_all(text.as_bytes())
            .and_then(|()| {
                if text.ends_with('\n') {
                    Ok(())
                } else {
                    out.write_all(b"\n")
                }
            })
            .and_then(|()| out.flush());
        match written {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }

    /// Prints a value as JSON to stdout: an object whose first field, `schema`, says which form it has. The number
    /// grows when a field goes or changes its meaning, not when one is added.
    pub fn json(&self, schema: u32, value: &impl serde::Serialize) -> Result<()> {
        let text = document(schema, value)?;
        Self::print(&clean::inert_json(&text))
    }

    /// Shows what is going on in the spinner line; nothing where there is none.
    pub fn progress(&self, text: impl AsRef<str>) {
        if let Some(spinner) = &self.shared.spinner {
            if !self.shared.spinning.swap(true, Ordering::SeqCst) {
                spinner.reset();
            }
            spinner.set_message(sanitise(text.as_ref()).replace('\n', " "));
            spinner.enable_steady_tick(Duration::from_millis(125));
        }
    }

    /// Takes the spinner line away.
    pub fn clear_progress(&self) {
        if let Some(spinner) = &self.shared.spinner
            && self.shared.spinning.swap(false, Ordering::SeqCst)
        {
            spinner.disable_steady_tick();
            spinner.finish_and_clear();
        }
    }

    /// True when progress is shown in a spinner, false when it must be plain lines.
    pub fn has_spinner(&self) -> bool {
        self.shared.spinner.is_some()
    }

    /// Prints a failure: kind, chain, hints.
    pub fn failure(&self, failure: &Failure) {
        self.clear_progress();
        self.write_stderr(&self.failure_text(failure));
        self.annotate("error", &failure.chain());
    }

    fn failure_text(&self, failure: &Failure) -> String {
        let styles = &self.shared.styles;
        let mut chain = failure.error.chain();
        let head = chain.next().map(ToString::to_string).unwrap_or_default();
        let mut whole = format!(
            "{}error{:#} ({}): {}\n",
            styles.bad,
            styles.bad,
            failure.kind.heading(),
            sanitise(&head)
        );
        for cause in chain {
            writeln!(
                whole,
                "  caused by: {}",
                sanitise(&cause.to_string()).replace('\n', "\n    ")
            )
            .expect("a string takes everything");
        }
        for hint in &failure.hints {
            writeln!(whole, "{}hint{:#}: {}", styles.hint, styles.hint, sanitise(hint))
                .expect("a string takes everything");
        }
        // One of a line is read at a glance; a longer one is noise to who does not ask for it, and the log has it.
        if let Some(command) = &failure.command
            && (self.verbosity >= Verbosity::Steps || command.chars().count() <= COMMAND)
        {
            writeln!(
                whole,
                "{}hint{:#}: the command: {}",
                styles.hint,
                styles.hint,
                sanitise(command)
            )
            .expect("a string takes everything");
        }
        whole
    }

    fn annotate(&self, level: &str, text: &str) {
        if self.shared.annotations == Annotations::Github {
            // Workflow commands end at a newline; `%` is their escape character.
            let text = sanitise(text)
                .replace('%', "%25")
                .replace('\r', "%0D")
                .replace('\n', "%0A");
            self.write_stderr(&format!("::{level}::{text}\n"));
        }
    }

    fn write_stderr(&self, text: &str) {
        let guard = self.shared.line.lock();
        let write = || {
            let mut stderr = anstream::stderr().lock();
            // A closed stderr leaves nobody to tell; the exit code still speaks.
            let _nobody_reads = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
        };
        match &self.shared.spinner {
            // A line that is not on the screen must not be drawn behind what is written.
            Some(spinner) if self.shared.spinning.load(Ordering::SeqCst) => spinner.suspend(write),
            _ => write(),
        }
        drop(guard);
    }
}

/// A printed object, its schema first.
fn document(schema: u32, value: &impl serde::Serialize) -> Result<String> {
    let unexpected = |error: String| Failure::unexpected(format!("cannot write JSON: {error}"));
    let value = serde_json::to_value(value).map_err(|error| unexpected(error.to_string()))?;
    let serde_json::Value::Object(fields) = value else {
        return Err(unexpected("what is printed is no object".to_owned()));
    };
    let mut whole = serde_json::Map::new();
    whole.insert("schema".to_owned(), schema.into());
    // A plan has its schema also where it is kept in a file; both are the same number.
    whole.extend(fields);
    serde_json::to_string_pretty(&whole).map_err(|error| unexpected(error.to_string()))
}

/// Whether what goes to a stream has colour: what was asked for, else the variables that terminals agree on
/// (<https://bixense.com/clicolors>, <https://no-color.org>), else whether a person watches. An empty variable is unset.
fn coloured(asked: ColorChoice, watched: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    match asked {
        ColorChoice::Always | ColorChoice::AlwaysAnsi => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if variable("NO_COLOR").is_some() => false,
        ColorChoice::Auto if variable("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
        ColorChoice::Auto => watched && variable("CLICOLOR").is_none_or(|value| value != "0"),
    }
}

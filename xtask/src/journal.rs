//! The record of a run: `.xtask/runs/<time>-<verb>/` with the plan, a line per state of a step, and a log a step.
//! It records and reads back; it never decides whether a step is done, for only the world knows that.

use std::io::Write;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Kind, Result, ResultExt};
use crate::plan::Plan;
use crate::root::STATE;

/// The version of a line in `journal.jsonl`.
const VERSION: u32 = 1;

/// Runs that are kept; older ones go when a new one begins.
const KEPT_RUNS: usize = 20;

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Written before the step does anything.
    Started,
    /// The step did what it says.
    Done,
    /// The step found itself done already.
    Fresh,
    /// The step failed, with its chain of causes.
    Failed(String),
    /// The run ended; the last line of every journal that was not cut off.
    Ended(End),
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// Everything was done.
    Success,
    /// Something failed; the run can be resumed.
    Failure,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Line {
    version: u32,
    time: String,
    step: String,
    state: State,
}

/// The journal of the run that is going on.
#[derive(Debug)]
pub struct Journal {
    folder: Utf8PathBuf,
    file: fs_err::File,
}

impl Journal {
    /// Begins a run: makes its folder, writes the plan, removes the oldest runs.
    pub fn begin(root: &Utf8Path, verb: &str, plan: &Plan) -> Result<Self> {
        let runs = root.join(STATE).join("runs");
        fs_err::create_dir_all(&runs)?;
        let time = humantime::format_rfc3339_millis(SystemTime::now())
            .to_string()
            .replace([':', '.'], "-");
        let folder = runs.join(format!("{time}-{verb}-{}", std::process::id()));
        fs_err::create_dir(&folder)?;
        let text = serde_json::to_string_pretty(plan).or_fail(Kind::Unexpected, "cannot write the plan")?;
        crate::exec::write(&folder.join("plan.json"), text.as_bytes(), 0o600)?;
        for old in names(&runs)?.iter().rev().skip(KEPT_RUNS) {
            fs_err::remove_dir_all(runs.join(old))?;
        }
        Self::open(folder)
    }

    fn open(folder: Utf8PathBuf) -> Result<Self> {
        let file = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("journal.jsonl"))?;
        Ok(Self { folder, file })
    }

    /// The folder of the run.
    pub fn folder(&self) -> &Utf8Path {
        &self.folder
    }

    /// The log of a step.
    pub fn log_path(&self, index: usize, step: &str) -> Utf8PathBuf {
        self.folder.join(format!("{:02}-{step}.log", index + 1))
    }

    /// Appends a line and waits until it is on the disk.
    pub fn record(&mut self, step: &str, state: State) -> Result<()> {
        let line = Line {
            version: VERSION,
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            step: step.to_owned(),
            state,
        };
        let mut text = serde_json::to_string(&line).or_fail(Kind::Unexpected, "cannot write the journal")?;
        text.push('\n');
        let written = self
            .file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data());
        written.or_fail(Kind::Step, "cannot write the journal")
    }

    /// The newest run of a goal that did not end well, with its plan; a journal that cannot be read is refused.
    pub fn unfinished(root: &Utf8Path, goal: &str) -> Result<Option<(Plan, Self)>> {
        let runs = root.join(STATE).join("runs");
        if !runs.exists() {
            return Ok(None);
        }
        for name in names(&runs)?.iter().rev() {
            let folder = runs.join(name);
            let Some(plan) = read_plan(&folder)? else { continue };
            if plan.goal != goal {
                continue;
            }
            return Ok(if ended_well(&folder)? {
                None
            } else {
                Some((plan, Self::open(folder)?))
            });
        }
        Ok(None)
    }
}

/// Names of all runs, oldest first.
fn names(runs: &Utf8Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(runs)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// The plan of a run; none when the run was cut off before it was written.
fn read_plan(folder: &Utf8Path) -> Result<Option<Plan>> {
    let path = folder.join("plan.json");
    if !path.exists() {
        return Ok(None);
    }
    let text = fs_err::read_to_string(&path)?;
    parse_plan(&text)
        .map(Some)
        .map_err(|failure| failure.context(format!("cannot read `{path}`")))
}

/// Reads a plan: its schema first, then all of it.
pub fn parse_plan(text: &str) -> Result<Plan> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let unreadable = |error: serde_json::Error| {
        Failure::config(format!("the plan is not readable: {error}")).hinted(
            "a plan is never read in part; remove its run folder with `cargo xtask clean --runs`, or plan again",
        )
    };
    let version: Version = serde_json::from_str(text).map_err(unreadable)?;
    if version.schema != crate::plan::SCHEMA {
        return Err(Failure::config(format!(
            "the plan has schema {}, this xtask reads schema {}",
            version.schema,
            crate::plan::SCHEMA
        ))
        .hinted("use the xtask that wrote it, or plan again"));
    }
    serde_json::from_str(text).map_err(unreadable)
}

/// Whether the last whole line says that the run ended well. A line that is cut off at the end is a crash,
/// anything else that does not parse was edited by hand and is refused.
fn ended_well(folder: &Utf8Path) -> Result<bool> {
    let path = folder.join("journal.jsonl");
    if !path.exists() {
        return Ok(false);
    }
    let bytes = fs_err::read(&path)?;
    let mut last = None;
    let mut offset = 0;
    for raw in bytes.split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice::<Line>(raw) {
            Ok(line) if line.version == VERSION => last = Some(line.state),
            Ok(line) => {
                return Err(Failure::config(format!(
                    "`{path}` has a line of version {}, this xtask reads version {VERSION}",
                    line.version
                ))
                .hinted("use the xtask that wrote it, or start over without `--resume`"));
            }
            Err(_) if !raw.ends_with(b"\n") => last = None,
            Err(error) => {
                return Err(
                    Failure::config(format!("`{path}` is not readable at byte {offset}: {error}"))
                        .hinted("start over without `--resume`; `cargo xtask clean --runs` removes old runs"),
                );
            }
        }
        offset += raw.len();
    }
    Ok(last == Some(State::Ended(End::Success)))
}

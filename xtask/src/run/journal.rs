//! The record of a run: `.xtask/runs/<number>-<time>-<verb>-<pid>/` with the plan, a line per state of a step, and a log a step.
//! It records and reads back; it never decides whether a step is done, for only the world knows that.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::lock_file::LockFile;
use crate::base::root::STATE;
use crate::plan::Plan;

/// The file of a run with a line per state of a step.
const JOURNAL: &str = "journal.jsonl";

/// The version of a line in it; from 2 on steps and sections are named by their paths.
const VERSION: u32 = 2;

/// Beside the folder of runs: locked while a run gets its number.
const NUMBERS: &str = "runs.lock";

/// Runs that are kept; older ones go when a new one begins.
const KEPT_RUNS: usize = 20;

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// The first line of every journal: the run began.
    Began,
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
    /// Another run held the lock, and this one did nothing. It is never resumed: `--resume` is for the run that holds
    /// the lock and was cut off.
    Locked,
}

/// One line of the journal: what became of a step, or of a section that was passed over whole, by its path.
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
    /// Locked for as long as the run goes on; none where nothing is recorded.
    file: Option<LockFile>,
}

impl Journal {
    /// Begins a run: makes its folder, writes the plan, removes the oldest runs.
    pub fn begin(root: &Utf8Path, verb: &str, plan: &Plan) -> Result<Self> {
        let runs = root.join(STATE).join("runs");
        fs_err::create_dir_all(&runs)?;
        let folder = new_folder(root, &runs, verb)?;
        let text = serde_json::to_string_pretty(plan).or_fail(Kind::Unexpected, "cannot write the plan")?;
        crate::base::files::write(&folder.join("plan.json"), text.as_bytes(), 0o600)?;
        let journal = Self::open(&folder)?.ok_or_else(|| Failure::unexpected("a new journal is locked"))?;
        for old in names(&runs)?.iter().rev().skip(KEPT_RUNS) {
            let old = runs.join(old);
            // A run may be going on beside us.
            if Self::open(&old).is_ok_and(|journal| journal.is_some()) {
                // Another run may be removing the same one.
                let _gone_is_fine = fs_err::remove_dir_all(&old);
            }
        }
        Ok(journal)
    }

    /// A journal on a disk that is full.
    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn on_a_full_disk(folder: &Utf8Path) -> Self {
        let file = fs_err::OpenOptions::new()
            .append(true)
            .open("/dev/full")
            .expect("Linux has it");
        Self {
            folder: folder.to_owned(),
            file: Some(LockFile::new(file)),
        }
    }

    /// The journal of a run that is not recorded, for there is no room: only of a plan that makes room, and that comes
    /// to the same end from wherever it was cut off.
    pub fn unrecorded(root: &Utf8Path) -> Self {
        Self {
            folder: root.join(STATE).join("runs"),
            file: None,
        }
    }

    /// Whether what is done is recorded.
    pub fn is_recorded(&self) -> bool {
        self.file.is_some()
    }

    /// Opens the journal of a run to write on; none when that run is going on.
    fn open(folder: &Utf8Path) -> Result<Option<Self>> {
        let path = folder.join(JOURNAL);
        if !path.exists() {
            // Whole or not at all: a journal that is there has its first line.
            crate::base::files::write(&path, line("run", State::Began)?.as_bytes(), 0o600)?;
        }
        let file = fs_err::OpenOptions::new().append(true).read(true).open(&path)?;
        let file = LockFile::new(file);
        let locked = file
            .try_take()
            .or_fail(Kind::Unexpected, format!("cannot lock `{path}`"))?;
        Ok(locked.then(|| Self {
            folder: folder.to_owned(),
            file: Some(file),
        }))
    }

    /// The folder of the run that this process began; none when it began none.
    pub fn of_process(root: &Utf8Path) -> Option<Utf8PathBuf> {
        let runs = root.join(STATE).join("runs");
        let own = format!("-{}", std::process::id());
        let name = names(&runs).ok()?.into_iter().rev().find(|name| name.ends_with(&own))?;
        Some(runs.join(name))
    }

    /// Ends the children of runs that were killed; returns how many there were.
    pub fn end_orphans(root: &Utf8Path) -> Result<usize> {
        let runs = root.join(STATE).join("runs");
        let mut ended = 0;
        if runs.exists() {
            for name in names(&runs)? {
                let folder = runs.join(name);
                let child = folder.join(crate::base::process::CHILD);
                // A journal that is locked belongs to a run that looks after its own children.
                if child.exists()
                    && let Some(_dead) = Self::open(&folder)?
                {
                    ended += crate::base::process::orphans::end(&child)?;
                }
            }
        }
        Ok(ended)
    }

    /// The plans of runs that go on now, as they stand on the disk.
    pub fn plans_going_on(root: &Utf8Path) -> Result<Vec<String>> {
        let runs = root.join(STATE).join("runs");
        let mut plans = Vec::new();
        if runs.exists() {
            for name in names(&runs)? {
                let folder = runs.join(name);
                if is_going_on(&folder)? {
                    plans.push(fs_err::read_to_string(folder.join("plan.json"))?);
                }
            }
        }
        Ok(plans)
    }

    /// Removes the records of every run that has ended; returns how many there were.
    pub fn forget(root: &Utf8Path) -> Result<usize> {
        let runs = root.join(STATE).join("runs");
        let mut removed = 0;
        if runs.exists() {
            for name in names(&runs)? {
                let folder = runs.join(name);
                if !is_going_on(&folder)? {
                    fs_err::remove_dir_all(&folder)?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// The folder of the run.
    pub fn folder(&self) -> &Utf8Path {
        &self.folder
    }

    /// The log of a step, by its path.
    pub fn log_path(&self, index: usize, path: &str) -> Utf8PathBuf {
        let name = path.replace('/', ".");
        self.folder.join(format!("{:02}-{name}.log", index + 1))
    }

    /// Appends a line and waits until it is on the disk.
    pub fn record(&mut self, step: &str, state: State) -> Result<()> {
        let name = match &state {
            State::Started => "started",
            State::Done => "acted",
            _ => "",
        };
        // What a step did is in the world before it is in the journal.
        if name == "acted" {
            crash(name, step);
        }
        let text = line(step, state.clone())?;
        let Some(file) = &self.file else { return Ok(()) };
        let mut file = file.file();
        let whole = file.metadata()?.len();
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Half a line with others behind it would make the journal unreadable.
            let _torn_at_worst = file.set_len(whole);
            return Err(Failure::from(error).context("cannot write the journal"));
        }
        if name == "started" {
            crash(name, step);
        }
        Ok(())
    }

    /// The newest run of a goal that did not end well, with its plan; a journal that cannot be read is refused.
    pub fn unfinished(root: &Utf8Path, goal: &str) -> Result<Option<(Plan, Self)>> {
        let runs = root.join(STATE).join("runs");
        if !runs.exists() {
            return Ok(None);
        }
        for name in names(&runs)?.iter().rev() {
            let folder = runs.join(name);
            let Some(plan) = read_plan(&folder, goal)? else {
                continue;
            };
            let Some(journal) = Self::open(&folder)? else { continue };
            match journal.read_back(&plan)? {
                Finished::Well => return Ok(None),
                Finished::Not => return Ok(Some((plan, journal))),
                Finished::WithoutBeginning => {}
            }
        }
        Ok(None)
    }

    /// How the run ended. A line that is cut off at the end is a crash, and is taken away so that the next stands
    /// alone; anything else that does not parse was edited by hand and is refused.
    fn read_back(&self, plan: &Plan) -> Result<Finished> {
        let path = self.folder.join(JOURNAL);
        let bytes = fs_err::read(&path)?;
        let refused = |offset: usize, error: &dyn std::fmt::Display| {
            Failure::config(format!("`{path}` is not readable at byte {offset}: {error}"))
                .hinted("start over without `--resume`; `cargo xtask clean --runs` removes old runs")
        };
        if bytes.is_empty() {
            return Err(refused(0, &"it is empty, and every journal has a first line"));
        }
        let places: BTreeSet<String> = plan.placed().into_iter().map(|placed| placed.path).collect();
        let mut last = None;
        let mut offset = 0;
        for raw in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !raw.ends_with(b"\n") {
                if let Some(file) = &self.file {
                    file.file().set_len(offset as u64)?;
                }
                last = None;
                break;
            }
            let line: Line = serde_json::from_slice(raw).map_err(|error| refused(offset, &error))?;
            if line.version != VERSION {
                return Err(Failure::config(format!(
                    "`{path}` has a line of version {} at byte {offset}, this xtask reads version {VERSION}",
                    line.version
                ))
                .hinted("use the xtask that wrote it, or start over without `--resume`"));
            }
            if line.step != "run" && !places.contains(&line.step) {
                return Err(refused(offset, &format!("its plan has no step `{}`", line.step)));
            }
            last = Some(line.state);
            offset += raw.len();
        }
        Ok(match last {
            Some(State::Ended(End::Success)) => Finished::Well,
            Some(State::Ended(End::Locked)) => Finished::WithoutBeginning,
            _ => Finished::Not,
        })
    }
}

/// Whether a run came to a good end.
enum Finished {
    Well,
    Not,
    WithoutBeginning,
}

/// Whether the run of a folder goes on: its journal is locked, or is not there yet.
fn is_going_on(folder: &Utf8Path) -> Result<bool> {
    let path = folder.join(JOURNAL);
    let file = match fs_err::File::open(&path) {
        Ok(file) => file,
        // A run that begins has written its plan and nothing else.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(folder.join("plan.json").exists()),
        Err(error) => return Err(error.into()),
    };
    let shared = LockFile::new(file).try_share();
    Ok(!shared.or_fail(Kind::Unexpected, format!("cannot look at the lock of `{path}`"))?)
}

/// One line, with its end.
fn line(step: &str, state: State) -> Result<String> {
    let line = Line {
        version: VERSION,
        time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        step: step.to_owned(),
        state,
    };
    let mut text = serde_json::to_string(&line).or_fail(Kind::Unexpected, "cannot write the journal")?;
    text.push('\n');
    Ok(text)
}

/// For tests, in debug builds only: dies by SIGKILL at a boundary of a step, `XTASK_CRASH=started:STEP` or
/// `acted:STEP`, by its path or its id. Nothing else can be as sure of the moment. `next:FILE` dies once a step has acted that the file does
/// not have, and adds it: run again and again, a plan dies once behind each step that does anything.
#[cfg(debug_assertions)]
fn crash(point: &str, step: &str) {
    let Ok(wanted) = std::env::var("XTASK_CRASH") else {
        return;
    };
    let now = match wanted.strip_prefix("next:") {
        None => wanted
            .strip_prefix(point)
            .and_then(|rest| rest.strip_prefix(':'))
            .is_some_and(|wanted| step == wanted || step.ends_with(&format!("/{wanted}"))),
        Some(file) => {
            let known = fs_err::read_to_string(file).unwrap_or_default();
            let next = point == "acted" && !known.lines().any(|line| line == step);
            next && fs_err::write(file, format!("{known}{step}\n")).is_ok()
        }
    };
    if now {
        let _never_returns = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

#[cfg(not(debug_assertions))]
fn crash(_point: &str, _step: &str) {}

/// Makes the folder of a new run, which no other run has. Its number is greater than that of every run before: the time
/// in its name is for people, for a clock may be set back, and two runs may begin in one moment of it.
fn new_folder(root: &Utf8Path, runs: &Utf8Path, verb: &str) -> Result<Utf8PathBuf> {
    let path = root.join(STATE).join(NUMBERS);
    let lock = LockFile::new(fs_err::OpenOptions::new().append(true).create(true).open(&path)?);
    lock.take().or_fail(Kind::Unexpected, format!("cannot lock `{path}`"))?;
    let last = names(runs)?.iter().filter_map(|name| number(name)).max();
    let time = humantime::format_rfc3339_millis(SystemTime::now())
        .to_string()
        .replace([':', '.'], "-");
    let folder = runs.join(format!(
        "{:06}-{time}-{verb}-{}",
        last.unwrap_or(0) + 1,
        std::process::id()
    ));
    fs_err::create_dir(&folder)?;
    Ok(folder)
}

/// The number of a run; none for one of an xtask that gave no numbers, whose name begins with a year.
fn number(name: &str) -> Option<u64> {
    let digits = name.split('-').next().filter(|digits| digits.len() >= 6)?;
    digits.parse().ok()
}

/// Names of all runs, oldest first.
fn names(runs: &Utf8Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(runs)? {
        let entry = entry?;
        // A link is no run, and what it leads to is not ours to read, write or remove.
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort_unstable_by(|one, other| (number(one), one).cmp(&(number(other), other)));
    Ok(names)
}

/// The plan of a run for this goal; none when the run was for another one, or cut off before its plan was written.
fn read_plan(folder: &Utf8Path, goal: &str) -> Result<Option<Plan>> {
    // Every schema has it: what another xtask wrote for another goal is in the way of no run.
    #[derive(Deserialize)]
    struct For {
        goal: String,
    }
    let path = folder.join("plan.json");
    if !path.exists() {
        return Ok(None);
    }
    let text = fs_err::read_to_string(&path)?;
    if serde_json::from_str::<For>(&text).is_ok_and(|other| other.goal != goal) {
        return Ok(None);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_runs_are_kept_and_one_that_goes_on() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let plan = Plan::new("a goal");
        let begin = |index: usize| Journal::begin(root, &format!("run{index:02}"), &plan).unwrap();
        let goes_on = begin(0);
        for index in 1..KEPT_RUNS + 5 {
            drop(begin(index));
        }
        let kept = names(&root.join(STATE).join("runs")).unwrap();
        let ours = |index: usize| kept.iter().any(|name| name.contains(&format!("-run{index:02}-")));
        assert_eq!(kept.len(), KEPT_RUNS + 1, "{kept:?}");
        assert!(ours(0), "a run that goes on has lost its folder: {kept:?}");
        assert!(!ours(4) && ours(5) && ours(KEPT_RUNS + 4), "{kept:?}");
        drop(goes_on);
    }

    #[test]
    fn runs_that_begin_in_one_moment_have_a_folder_each() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let runs = root.join(STATE).join("runs");
        fs_err::create_dir_all(&runs).unwrap();
        let together = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..24 {
                        together.wait();
                        // Counted below; a thread that ends here would leave the others waiting.
                        let _taken_at_worst = new_folder(root, &runs, "same");
                    }
                });
            }
        });
        let numbers: Vec<_> = names(&runs).unwrap().iter().map(|name| number(name)).collect();
        assert_eq!(numbers, (1..=192).map(Some).collect::<Vec<_>>());
    }

    #[test]
    fn the_newest_run_is_the_one_that_began_last_whatever_the_clock_said() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let runs = root.join(STATE).join("runs");
        let plan = |name: &str| {
            let mut plan = Plan::new("a goal");
            plan.next = Some(name.to_owned());
            plan
        };
        let resumed = || Journal::unfinished(root, "a goal").unwrap().unwrap().0.next.unwrap();
        // The run of an xtask that gave no numbers, by a clock that was years ahead.
        let old = Journal::begin(root, "deploy", &plan("first")).unwrap();
        fs_err::rename(old.folder(), runs.join("2031-01-01T00-00-00-000Z-deploy-1")).unwrap();
        drop(old);
        assert_eq!(resumed(), "first");
        // And one of this xtask by the same clock.
        let ahead = Journal::begin(root, "deploy", &plan("second")).unwrap();
        fs_err::rename(ahead.folder(), runs.join("000001-2030-01-01T00-00-00-000Z-deploy-1")).unwrap();
        drop(ahead);
        assert_eq!(resumed(), "second");
        drop(Journal::begin(root, "deploy", &plan("third")).unwrap());
        assert_eq!(resumed(), "third");
    }

    #[test]
    fn a_run_that_another_one_locked_out_is_never_resumed() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let plan = Plan::new("a goal");
        let ended = |end| {
            let mut journal = Journal::begin(root, "deploy", &plan).unwrap();
            journal.record("run", State::Ended(end)).unwrap();
            journal.folder().to_owned()
        };
        let resumed = || {
            Journal::unfinished(root, "a goal")
                .unwrap()
                .map(|(_, journal)| journal.folder().to_owned())
        };
        ended(End::Locked);
        assert_eq!(resumed(), None);
        let failed = ended(End::Failure);
        ended(End::Locked);
        assert_eq!(resumed(), Some(failed));
        ended(End::Success);
        ended(End::Locked);
        assert_eq!(resumed(), None);
    }
}

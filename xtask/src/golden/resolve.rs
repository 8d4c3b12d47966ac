//! Compares a rendered project with its golden, object by object, and names every problem.
//! It only reads; what it finds carries its own fix, and `bless` applies those.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use camino::{Utf8Path, Utf8PathBuf};

use super::diff;
use super::folder::{self, File, Form};
use super::normalize::{self, Frame, Manifest, Role};
use super::object::{self, Identity, Object, Origin};
use super::partial::{Completion, Kept, Partial, Unjudged};
use super::problem::{Disguise, Fix, Problem, RECORD, Side, StalePart};
use super::provenance::Record;
use super::schema::Schemas;
use super::secret;
use crate::base::failure::{Failure, Result};
use crate::base::formats::json;
use crate::project::StageDescription;
use crate::project::form::{self, PARTIAL};
use crate::project::sound::SKIPPED;

/// What a comparison found.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Everything wrong, in the order of paths; what is only untidy stands among it.
    pub problems: Vec<Problem>,
    /// Objects that were rendered, with their files.
    pub objects: BTreeMap<Identity, Utf8PathBuf>,
    /// Objects of the golden that could not be compared, because the rendering left their source out.
    pub unverified: Vec<Identity>,
    /// What the rendering left out, in its own words.
    pub skipped: Vec<String>,
    /// The same, with what speaks against the golden's objects of it; none where the rendering does not say what it is
    /// part of.
    pub unjudged: Option<Vec<Unjudged>>,
}

impl Comparison {
    /// Whether anything makes a check fail.
    pub fn fails(&self) -> bool {
        self.problems.iter().any(Problem::fails) || self.changed().next().is_some()
    }

    /// What of the golden is certainly not today's, and cannot be rendered here: a sentence each.
    pub fn changed(&self) -> impl Iterator<Item = String> {
        self.unjudged.iter().flatten().filter_map(Unjudged::sentence)
    }
}

/// Compares a rendered project with the golden folder. `record` is what the checkout holds.
pub fn compare(rendered: &Utf8Path, golden: &Utf8Path, record: &Record) -> Result<Comparison> {
    let (left, right) = scan_both(rendered, golden)?;
    let skipped = read_skipped(rendered, &left)?;
    let partial = Partial::read(rendered)?;
    let completion = partial
        .map(|partial| Completion::of(&partial, rendered, golden))
        .transpose()?;
    let sides = Sides {
        rendered,
        left: &left,
        golden,
        right: &right,
        completion: completion.as_ref(),
    };
    let pairs = sides.pairs()?;
    let outcomes = evaluate_all(&sides, &pairs);
    sides.conclude(&pairs, outcomes, skipped, record)
}

/// Both folders' files. Most of the time goes into asking the system, so both sides ask at once.
fn scan_both(rendered: &Utf8Path, golden: &Utf8Path) -> Result<(Vec<File>, Vec<File>)> {
    std::thread::scope(|scope| {
        let right = scope.spawn(|| scan_golden(golden));
        let left = folder::scan(rendered)?;
        let right = right.join().expect("listing a folder never panics")?;
        Ok((left, right))
    })
}

/// The files of a golden folder, which is a real folder or not there.
pub(crate) fn scan_golden(golden: &Utf8Path) -> Result<Vec<File>> {
    if fs_err::symlink_metadata(golden).is_ok_and(|metadata| !metadata.is_dir()) {
        return Err(Failure::config(format!("`{golden}` is no folder"))
            .hinted("remove it, then run `cargo xtask golden bless`"));
    }
    folder::scan(golden)
}

/// One path of either side, and what became of it.
#[derive(Default)]
struct Outcome {
    problems: Vec<Problem>,
    /// Objects rendered to this path.
    rendered: Vec<Identity>,
    /// Objects that the golden has at this path, where they were read.
    golden: Vec<Identity>,
    /// Whether all of the golden's objects here are upstream's.
    upstream: bool,
    definitions: Vec<Object>,
    resources: Vec<Object>,
    /// What the golden should hold, when it is missing there.
    content: Option<String>,
    stands: Stands,
}

/// On which sides a path exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stands {
    #[default]
    Both,
    RenderedOnly,
    GoldenOnly,
}

/// The two folders that are compared, with their files.
struct Sides<'a> {
    rendered: &'a Utf8Path,
    left: &'a [File],
    golden: &'a Utf8Path,
    right: &'a [File],
    /// What the golden adds to a partial rendering.
    completion: Option<&'a Completion>,
}

impl<'a> Sides<'a> {
    fn pairs(&self) -> Result<Vec<PathPair<'a>>> {
        if self.left.is_empty() {
            let rendered = self.rendered;
            return Err(Failure::config(format!("no rendered project in `{rendered}`"))
                .hinted("give a folder that holds `stage.json`, or `<cluster>-<stage>` folders that do"));
        }
        Ok(pair_up(self.left, self.right))
    }

    /// Everything that follows from what was found at each path.
    fn conclude(
        &self,
        pairs: &[PathPair<'_>],
        outcomes: Vec<Outcome>,
        skipped: Vec<String>,
        record: &Record,
    ) -> Result<Comparison> {
        let mut comparison = gather(self, pairs, outcomes, &skipped);
        check_description(self.rendered, &mut comparison)?;
        comparison.unjudged = self.completion.map(|completion| completion.unjudged.clone());
        // A golden whose charts cannot be what the modules say now is not of them, whatever else is blessed.
        if comparison.changed().next().is_none() {
            self.check_record(record, &mut comparison);
        }
        if !skipped.is_empty() && self.completion.is_none() {
            // Items that have nothing left are not described either.
            comparison
                .problems
                .retain(|problem| !matches!(problem, Problem::Stale { path, .. } if Role::of(path) != Role::Objects));
        }
        comparison.skipped = skipped;
        comparison.problems.sort_by_cached_key(rank);
        Ok(comparison)
    }

    /// Whether the golden says that it comes from what the checkout holds.
    fn check_record(&self, record: &Record, comparison: &mut Comparison) {
        if self.right.is_empty() {
            // Without a golden everything is missing already; the record is written with the rest.
            comparison.problems.push(Problem::Older {
                recorded: false,
                content: record.text(),
            });
        } else if let Some(problem) = older(self.golden, self.right, record) {
            comparison.problems.push(problem);
        }
    }
}

/// What a person must look at first comes last, where a terminal shows it.
fn rank(problem: &Problem) -> u8 {
    match problem {
        Problem::Untidy { .. } => 0,
        Problem::Older { .. } => 1,
        problem if problem.fix().is_some() => 2,
        _ => 3,
    }
}

fn read_skipped(rendered: &Utf8Path, left: &[File]) -> Result<Vec<String>> {
    if !left.iter().any(|file| file.path == SKIPPED) {
        return Ok(Vec::new());
    }
    let path = rendered.join(SKIPPED);
    let text = fs_err::read_to_string(&path)?;
    serde_json::from_str(&text).map_err(|error| Failure::config(format!("`{path}`: {error}")))
}

type PathPair<'a> = (&'a Utf8Path, Option<&'a File>, Option<&'a File>);

/// Both sides by path; the lists are sorted.
fn pair_up<'a>(left: &'a [File], right: &'a [File]) -> Vec<PathPair<'a>> {
    let mut pairs = Vec::with_capacity(left.len().max(right.len()));
    let mut left = left
        .iter()
        .filter(|file| file.path != SKIPPED && file.path != PARTIAL)
        .peekable();
    let mut right = right.iter().filter(|file| file.path != RECORD).peekable();
    loop {
        match (left.peek(), right.peek()) {
            (None, None) => return pairs,
            (Some(one), Some(other)) if one.path == other.path => {
                pairs.push((one.path.as_path(), Some(*one), Some(*other)));
                left.next();
                right.next();
            }
            (Some(one), other) if other.is_none_or(|other| one.path.as_str() < other.path.as_str()) => {
                pairs.push((one.path.as_path(), Some(*one), None));
                left.next();
            }
            (_, Some(other)) => {
                pairs.push((other.path.as_path(), None, Some(*other)));
                right.next();
            }
            (Some(_), None) => unreachable!("a side that is alone was taken above"),
        }
    }
}

/// Paths that a thread takes at a time: enough that the counter is no bottleneck.
const BATCH: usize = 64;

fn evaluate_all(sides: &Sides<'_>, pairs: &[PathPair<'_>]) -> Vec<Outcome> {
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(pairs.len() / BATCH + 1);
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Vec<Outcome>)>> = Mutex::new(Vec::new());
    let work = || loop {
        let from = next.fetch_add(BATCH, Ordering::Relaxed);
        if from >= pairs.len() {
            return;
        }
        let to = (from + BATCH).min(pairs.len());
        let outcomes = pairs[from..to].iter().map(|pair| evaluate(sides, pair)).collect();
        done.lock()
            .expect("no thread panics while it holds the lock")
            .push((from, outcomes));
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner().expect("no thread panics while it holds the lock");
    done.sort_unstable_by_key(|(from, _)| *from);
    done.into_iter().flat_map(|(_, outcomes)| outcomes).collect()
}

fn evaluate(sides: &Sides<'_>, (path, left, right): &PathPair<'_>) -> Outcome {
    let golden = sides.golden;
    let mut outcome = Outcome::default();
    match (left, right) {
        (Some(_), golden_file) => {
            if golden_file.is_none() {
                outcome.stands = Stands::RenderedOnly;
            }
            let Some(wanted) = expect(sides, path, &mut outcome) else {
                return outcome;
            };
            if let Some(file) = golden_file {
                compare_one(golden, file, &wanted, &mut outcome);
            } else {
                outcome.content = Some(wanted.text());
            }
            if let Meaning::Objects(manifest) = wanted.meaning {
                sort_out(manifest, &mut outcome);
            }
        }
        (None, Some(file)) => {
            outcome.stands = Stands::GoldenOnly;
            read_orphan(golden, file, &mut outcome);
        }
        (None, None) => {}
    }
    outcome
}

fn unreadable(path: &Utf8Path, side: Side, reason: impl Into<String>, content: Option<String>) -> Problem {
    Problem::Unreadable {
        path: path.to_owned(),
        side,
        reason: reason.into(),
        content,
    }
}

/// What the golden should hold at a path. Its text is made where it is wanted: most of a check can do without.
struct Wanted {
    /// The rendered file.
    rendered: Utf8PathBuf,
    /// It is of the whole that the rendering is part of, and not what that file says.
    whole: bool,
    meaning: Meaning,
}

enum Meaning {
    Objects(Manifest),
    Plain(Role, serde_json::Value),
}

impl Wanted {
    fn text(&self) -> String {
        match &self.meaning {
            Meaning::Objects(manifest) => normalize::write(manifest),
            Meaning::Plain(role, value) => normalize::write_plain(*role, value),
        }
    }

    fn is(&self, text: &str) -> bool {
        // No text of objects in normal form is without it.
        let may_be = matches!(self.meaning, Meaning::Plain(..)) || text.starts_with(normalize::HEADER);
        may_be && text == self.text()
    }

    fn identities(&self) -> Vec<Identity> {
        match &self.meaning {
            Meaning::Objects(manifest) => normalize::identities(&manifest.objects),
            Meaning::Plain(..) => Vec::new(),
        }
    }
}

/// Reads what was rendered to a path, and what is wrong with it by itself.
fn expect(sides: &Sides<'_>, path: &Utf8Path, outcome: &mut Outcome) -> Option<Wanted> {
    let side = Side::Rendered;
    let rendered = sides.rendered.join(path);
    // A partial rendering describes itself, the golden is of the whole.
    let whole = sides.completion.and_then(|completion| completion.text(path));
    let is_whole = whole.is_some();
    let text = match whole.map_or_else(|| read_text(&rendered), Ok) {
        Ok(text) => text,
        Err(reason) => {
            outcome.problems.push(unreadable(path, side, reason, None));
            return None;
        }
    };
    let role = Role::of(path);
    if role != Role::Objects {
        return match normalize::read_plain(role, &text) {
            Ok(value) => Some(Wanted {
                rendered,
                whole: is_whole,
                meaning: Meaning::Plain(role, value),
            }),
            Err(reason) => {
                outcome.problems.push(unreadable(path, side, reason, None));
                None
            }
        };
    }
    match normalize::read(&text) {
        Ok(manifest) => {
            for object in &manifest.objects {
                judge(path, &text, object, manifest.frame, outcome);
            }
            Some(Wanted {
                rendered,
                whole: is_whole,
                meaning: Meaning::Objects(manifest),
            })
        }
        Err(reason) => {
            outcome.problems.push(unreadable(path, side, reason, None));
            None
        }
    }
}

pub(crate) fn read_text(path: &Utf8Path) -> Result<String, String> {
    // Most files fit, and need not be asked for their size first.
    let mut bytes = Vec::with_capacity(8 << 10);
    let file = fs_err::File::open(path).map_err(|error| error.to_string())?;
    file.take(u64::MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
}

/// What is wrong with a rendered object by itself.
fn judge(path: &Utf8Path, text: &str, object: &Object, frame: Frame, outcome: &mut Outcome) {
    let mut invalid = |reason: String| {
        outcome.problems.push(Problem::Invalid {
            path: path.to_owned(),
            object: Some(object.identity.clone()),
            reason,
        });
    };
    object.faults().into_iter().for_each(&mut invalid);
    let proven = object.digest().and_then(|digest| object::proven_by(text, digest));
    let bytes = proven.unwrap_or_else(|| {
        let line = object::digested(&object.value);
        match object.digest() {
            None => invalid(format!(
                "it has no annotation `{}`; the renderer gives one to each object",
                object::DIGEST
            )),
            Some(digest) if digest != json::sha256(&line) => invalid(format!(
                "its annotation `{}` is not its digest: it was changed after it was rendered",
                object::DIGEST
            )),
            Some(_) => {}
        }
        line.len()
    });
    object::too_large(bytes).into_iter().for_each(&mut invalid);
    if object.identity.kind == "SopsSecret" && frame != Frame::List {
        invalid("a SopsSecret outside a `kind: List` is decrypted and applied in plaintext by kluctl".into());
    }
    for secret::Finding { field, what } in secret::find(object) {
        outcome.problems.push(Problem::Secret {
            path: path.to_owned(),
            side: Side::Rendered,
            object: object.identity.clone(),
            field,
            what,
            fix: None,
        });
    }
}

/// Keeps of a manifest what is compared across files.
fn sort_out(manifest: Manifest, outcome: &mut Outcome) {
    outcome.upstream = manifest
        .objects
        .iter()
        .all(|object| object.origin() == Origin::Upstream);
    outcome.rendered = normalize::identities(&manifest.objects);
    for object in manifest.objects {
        match object.identity.group.as_str() {
            "apiextensions.k8s.io" => outcome.definitions.push(object),
            // The server knows its own groups by itself.
            group if !crate::project::is_builtin(group) => outcome.resources.push(object),
            _ => {}
        }
    }
}

/// Compares a golden's file with the text it should hold.
fn compare_one(golden: &Utf8Path, file: &File, wanted: &Wanted, outcome: &mut Outcome) {
    let path = &file.path;
    let disguise = match file.form {
        Form::Plain => None,
        Form::Executable => Some(Disguise::Executable),
        Form::Symlink => Some(Disguise::Symlink),
        Form::Other => Some(Disguise::Special),
    };
    if matches!(disguise, Some(Disguise::Symlink | Disguise::Special)) {
        outcome.problems.extend(disguise.map(|disguise| Problem::Disguised {
            path: path.clone(),
            disguise,
            content: Some(wanted.text()),
        }));
        return;
    }
    let text = match read_text(&golden.join(path)) {
        Ok(text) => text,
        Err(reason) => {
            outcome
                .problems
                .push(unreadable(path, Side::Golden, reason, Some(wanted.text())));
            return;
        }
    };
    if wanted.is(&text) {
        outcome.golden = wanted.identities();
        outcome.problems.extend(disguise.map(|disguise| Problem::Disguised {
            path: path.clone(),
            disguise,
            content: Some(wanted.text()),
        }));
        return;
    }
    if let Some(line) = merge_marker(&text) {
        outcome.problems.push(Problem::MergeMarker {
            path: path.clone(),
            line,
        });
        return;
    }
    let disguise = disguise.or_else(|| disguise_of(&text));
    match differences(path, &text, wanted, outcome) {
        Err(reason) => outcome
            .problems
            .push(unreadable(path, Side::Golden, reason, Some(wanted.text()))),
        Ok(parts) if !parts.is_empty() => outcome.problems.push(Problem::Stale {
            path: path.clone(),
            parts,
            content: wanted.text(),
        }),
        Ok(_) => outcome.problems.push(match disguise {
            Some(disguise) => Problem::Disguised {
                path: path.clone(),
                disguise,
                content: Some(wanted.text()),
            },
            // Nothing was rendered to a file whose text the completion made.
            None if wanted.whole => Problem::Stale {
                path: path.clone(),
                parts: Vec::new(),
                content: wanted.text(),
            },
            None => Problem::Untidy {
                path: path.clone(),
                rendered: wanted.rendered.clone(),
            },
        }),
    }
}

pub(crate) fn disguise_of(text: &str) -> Option<Disguise> {
    if text.starts_with('\u{feff}') {
        Some(Disguise::ByteOrderMark)
    } else if text.contains('\r') {
        Some(Disguise::CarriageReturns)
    } else {
        None
    }
}

/// The first line that a merge left behind.
pub(crate) fn merge_marker(text: &str) -> Option<usize> {
    if !text.contains("<<<<<<<") && !text.contains(">>>>>>>") {
        return None;
    }
    text.lines()
        .position(|line| {
            ["<<<<<<<", ">>>>>>>", "|||||||"].iter().any(|mark| {
                line.strip_prefix(mark)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            })
        })
        .map(|index| index + 1)
}

/// How a golden's text differs from what was rendered; nothing when both say the same.
fn differences(path: &Utf8Path, text: &str, wanted: &Wanted, outcome: &mut Outcome) -> Result<Vec<StalePart>, String> {
    let manifest = match &wanted.meaning {
        Meaning::Objects(manifest) => manifest,
        Meaning::Plain(role, new) => {
            let old = normalize::read_plain(*role, text)?;
            let changes = diff::changes(&old, new);
            return Ok(if changes.is_empty() {
                Vec::new()
            } else {
                vec![StalePart::File(changes)]
            });
        }
    };
    let found = normalize::read(text)?;
    outcome.golden = normalize::identities(&found.objects);
    let fix = || Fix::Write {
        path: path.to_owned(),
        content: wanted.text(),
    };
    let mut parts = Vec::new();
    let mut old: Vec<&Object> = found.objects.iter().collect();
    for object in &manifest.objects {
        match old.iter().position(|other| other.identity == object.identity) {
            None => parts.push(StalePart::Added(object.identity.clone())),
            Some(place) => {
                let other = old.remove(place);
                let changes = diff::changes(&other.value, &normalize::normal(object));
                if !changes.is_empty() {
                    parts.push(StalePart::Changed(object.identity.clone(), changes));
                }
            }
        }
    }
    parts.extend(old.into_iter().map(|object| StalePart::Gone(object.identity.clone())));
    // A List around the same objects is more than form: kluctl decrypts what stands without one.
    if parts.is_empty() && (found.frame == Frame::List) != (manifest.frame == Frame::List) {
        let frame = |frame: Frame| Some(serde_json::Value::String(format!("{frame:?}")));
        parts.push(StalePart::File(vec![diff::Change {
            field: "frame".into(),
            old: frame(found.frame),
            new: frame(manifest.frame),
        }]));
    }
    // What says the same as the rendering has no secret that is not named there.
    if !parts.is_empty() {
        find_secrets(path, &found.objects, fix, outcome);
    }
    Ok(parts)
}

/// Names every secret that stands open in a file of the golden, and what takes it away: it is known from now on,
/// whatever else is wrong with the file.
fn find_secrets(path: &Utf8Path, objects: &[Object], fix: impl Fn() -> Fix, outcome: &mut Outcome) {
    for object in objects {
        for secret::Finding { field, what } in secret::find(object) {
            outcome.problems.push(Problem::Secret {
                path: path.to_owned(),
                side: Side::Golden,
                object: object.identity.clone(),
                field,
                what,
                fix: Some(fix()),
            });
        }
    }
}

/// A golden's file that nothing is rendered to: read it as far as it goes.
fn read_orphan(golden: &Utf8Path, file: &File, outcome: &mut Outcome) {
    if file.form == Form::Symlink || file.form == Form::Other || Role::of(&file.path) != Role::Objects {
        return;
    }
    let Ok(text) = read_text(&golden.join(&file.path)) else {
        return;
    };
    if let Some(line) = merge_marker(&text) {
        outcome.problems.push(Problem::MergeMarker {
            path: file.path.clone(),
            line,
        });
        return;
    }
    if let Ok(manifest) = normalize::read(&text) {
        let fix = || Fix::Remove {
            path: file.path.clone(),
        };
        find_secrets(&file.path, &manifest.objects, fix, outcome);
        outcome.upstream = !manifest.objects.is_empty()
            && manifest
                .objects
                .iter()
                .all(|object| object.origin() == Origin::Upstream);
        outcome.golden = normalize::identities(&manifest.objects);
    }
}

/// Looks across files: duplicates, objects that moved, schemas; and collects what was found in each file.
fn gather(sides: &Sides<'_>, pairs: &[PathPair<'_>], mut outcomes: Vec<Outcome>, skipped: &[String]) -> Comparison {
    let mut comparison = Comparison::default();
    let mut wanted: Vec<(Identity, &Utf8Path)> = Vec::with_capacity(pairs.len());
    let mut schemas = Schemas::default();
    for ((path, ..), outcome) in pairs.iter().zip(&mut outcomes) {
        // Tens of thousands of names: only those that are told again below are copied.
        let rendered = match outcome.content {
            None => std::mem::take(&mut outcome.rendered),
            Some(_) => outcome.rendered.clone(),
        };
        wanted.extend(rendered.into_iter().map(|identity| (identity, *path)));
        outcome.definitions.iter().for_each(|object| schemas.add(object));
    }
    wanted.sort_by(|(left, _), (right, _)| left.cmp(right));
    let mut once = Vec::with_capacity(wanted.len());
    let mut wanted = wanted.into_iter().peekable();
    while let Some((object, path)) = wanted.next() {
        let mut others = Vec::new();
        while let Some((_, other)) = wanted.next_if(|(next, _)| *next == object) {
            others.push(other.to_owned());
        }
        if others.is_empty() {
            once.push((object, path.to_owned()));
        } else {
            let paths = std::iter::once(path.to_owned()).chain(others).collect();
            comparison.problems.push(Problem::Duplicate { object, paths });
        }
    }
    // From a sorted list a tree is filled, not searched.
    comparison.objects = once.into_iter().collect();
    comparison.problems.sort_by_key(ToString::to_string);
    let kept: HashMap<&Utf8Path, &Kept> = sides
        .completion
        .iter()
        .flat_map(|completion| &completion.kept)
        .map(|kept| (kept.from.as_path(), kept))
        .collect();
    // An object that stands in an orphan and is missing where it belongs has moved.
    let mut moved: BTreeSet<Utf8PathBuf> = BTreeSet::new();
    let missing: HashMap<&Utf8Path, &Outcome> = pairs
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| outcome.stands == Stands::RenderedOnly && outcome.content.is_some())
        .map(|((path, ..), outcome)| (*path, outcome))
        .collect();
    for ((path, ..), outcome) in pairs
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| outcome.stands == Stands::GoldenOnly)
    {
        let place = outcome
            .golden
            .first()
            .and_then(|identity| comparison.objects.get(identity))
            .cloned();
        let problem = match (place, outcome.golden.as_slice()) {
            (Some(wanted), objects) if missing.contains_key(wanted.as_path()) && !moved.contains(&wanted) => {
                moved.insert(wanted.clone());
                let content = missing[wanted.as_path()].content.clone().unwrap_or_default();
                Problem::Misplaced {
                    path: (*path).to_owned(),
                    wanted,
                    objects: objects.to_vec(),
                    content,
                }
            }
            (Some(wanted), [object, ..]) => Problem::Again {
                path: (*path).to_owned(),
                wanted,
                object: object.clone(),
            },
            (_, objects) if kept.contains_key(path) => {
                comparison.unverified.extend(objects.iter().cloned());
                match &kept[path].to {
                    to if to == path => continue,
                    to => Problem::Misplaced {
                        path: (*path).to_owned(),
                        wanted: to.clone(),
                        objects: objects.to_vec(),
                        content: read_text(&sides.golden.join(path)).unwrap_or_default(),
                    },
                }
            }
            (_, objects) if outcome.upstream && !skipped.is_empty() && sides.completion.is_none() => {
                comparison.unverified.extend(objects.iter().cloned());
                continue;
            }
            (_, objects) => Problem::Orphan {
                path: (*path).to_owned(),
                objects: objects.to_vec(),
            },
        };
        comparison.problems.push(problem);
    }
    for ((path, ..), outcome) in pairs.iter().zip(outcomes) {
        let path = *path;
        for object in &outcome.resources {
            for reason in schemas.check(object) {
                comparison.problems.push(Problem::Invalid {
                    path: path.to_owned(),
                    object: Some(object.identity.clone()),
                    reason,
                });
            }
        }
        comparison.problems.extend(outcome.problems);
        if let (Some(content), false) = (outcome.content, moved.contains(path)) {
            comparison.problems.push(Problem::Missing {
                path: path.to_owned(),
                objects: outcome.rendered,
                content,
            });
        }
    }
    comparison
}

/// Whether the description and the folders of a rendering belong together.
fn check_description(rendered: &Utf8Path, comparison: &mut Comparison) -> Result<()> {
    let path = Utf8PathBuf::from("stage.json");
    let description = read_text(&rendered.join(&path))
        .and_then(|text| StageDescription::parse(&text, path.as_str()).map_err(|failure| failure.chain()));
    let description = match description {
        Ok(description) => description,
        Err(reason) => {
            comparison
                .problems
                .push(unreadable(&path, Side::Rendered, reason, None));
            return Ok(());
        }
    };
    comparison.problems.extend(form_problems(rendered, &description)?);
    Ok(())
}

/// What a project has that no stage project has; what is wrong with a file as a file is told as that.
pub(crate) fn form_problems(folder: &Utf8Path, description: &StageDescription) -> Result<Vec<Problem>> {
    Ok(form::problems(folder, description)?
        .into_iter()
        .map(|problem| Problem::Invalid {
            path: problem.path,
            object: None,
            reason: problem.reason,
        })
        .collect())
}

/// The problem of a golden that was made from other sources than the checkout holds.
pub(crate) fn older(golden: &Utf8Path, right: &[File], record: &Record) -> Option<Problem> {
    let content = record.text();
    if !right.iter().any(|file| file.path == RECORD) {
        return Some(Problem::Older {
            recorded: false,
            content,
        });
    }
    let text = read_text(&golden.join(RECORD)).unwrap_or_default();
    if let Some(line) = merge_marker(&text) {
        return Some(Problem::MergeMarker {
            path: RECORD.into(),
            line,
        });
    }
    match Record::read(&text) {
        Ok(found) if found == *record => None,
        Ok(_) => Some(Problem::Older {
            recorded: true,
            content,
        }),
        Err(failure) => Some(unreadable(
            Utf8Path::new(RECORD),
            Side::Golden,
            failure.chain(),
            Some(content),
        )),
    }
}

//! `cargo bench`: how fast it is, against its peers in the same run, as ratios. It judges nothing: a bound is printed
//! beside what was measured, and the exit code does not depend on it.
//!
//! What it starts, it starts as a person would, with xshell; `xtask` is the binary that Cargo built beside it.

mod corpus;
mod deploy;
mod measure;
mod stage;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use camino::{Utf8Path, Utf8PathBuf};
use clap::{CommandFactory, Parser};
use serde::Serialize;
use xshell::{Cmd, Shell, cmd};
use xtask::base::failure::Failure;
use xtask::base::root::STATE;
use xtask::cli::Cli;
use xtask::plan::Plan;
use xtask::platform::{Platform, Stage};
use xtask::run::journal::{Journal, State};

use crate::corpus::{Change, Corpus};
use crate::measure::{median, median_of};

/// The binary that is measured: built for release, as this program is.
const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

/// Runs of each side of a pair; the median is quoted.
const RUNS: usize = 11;

/// Objects that deepdiff is given; it takes milliseconds for each.
const SAMPLE: usize = 200;

const NAMES: [&str; 6] = ["start", "journal", "golden", "nix", "local", "deploy"];

/// Measure speed against peers, and print ratios
#[derive(Debug, Parser)]
#[command(name = "cargo bench --")]
struct Arguments {
    /// Only these; all when left out
    #[arg(value_name = "NAME", value_parser = NAMES)]
    names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Cargo's own word that this is no test
    #[arg(long, hide = true)]
    bench: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    /// Median in milliseconds; none where something else than time is compared.
    milliseconds: Option<f64>,
    /// The peer, and its median in milliseconds.
    peer: Option<String>,
    peer_milliseconds: Option<f64>,
    /// Ours divided by the peer's.
    ratio: Option<f64>,
    /// What it should stay below, in words.
    bound: &'static str,
}

#[expect(clippy::print_stdout, reason = "a benchmark is there to print")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // `cargo test --all-targets` runs it, too, and wants to be done soon.
    if !arguments.bench {
        return Ok(());
    }
    let chosen = |name: &str| arguments.names.is_empty() || arguments.names.iter().any(|wanted| wanted == name);
    let bench = Bench::new()?;
    let mut rows = Vec::new();
    if chosen("start") {
        rows.extend(bench.start()?);
    }
    if chosen("journal") {
        rows.push(bench.journal()?);
    }
    if chosen("golden") {
        rows.extend(bench.golden()?);
    }
    if chosen("nix") {
        rows.extend(bench.nix()?);
    }
    if chosen("local") {
        rows.extend(bench.local()?);
    }
    if chosen("deploy") {
        rows.extend(bench.deploy()?);
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    for row in &rows {
        let took = row
            .milliseconds
            .map(|milliseconds| format!("{milliseconds:.1} ms"))
            .unwrap_or_default();
        let ratio = match (row.ratio, &row.peer) {
            (Some(ratio), Some(peer)) => format!("{ratio:.2}x of {peer}"),
            _ => String::new(),
        };
        println!("{:<44} {took:>13}  {ratio:<40} bound: {}", row.name, row.bound);
    }
    Ok(())
}

struct Bench {
    shell: Shell,
    root: Utf8PathBuf,
    platform: Platform,
    /// An empty folder of its own.
    folder: Utf8PathBuf,
}

impl Bench {
    fn new() -> Result<Self> {
        let root = xtask::base::root::find(None).map_err(of)?;
        let platform = xtask::platform::config(&root).map_err(of)?;
        let folder = root.join(STATE).join("bench");
        if folder.exists() {
            fs_err::remove_dir_all(&folder)?;
        }
        fs_err::create_dir_all(&folder)?;
        let shell = Shell::new()?;
        shell.change_dir(&root);
        Ok(Self {
            shell,
            root,
            platform,
            folder,
        })
    }

    /// A plan's start-up, against a runner of recipes and against kubectl.
    fn start(&self) -> Result<Vec<Row>> {
        let Self { shell, folder, .. } = self;
        let verbs = Cli::command().get_subcommands().count();
        let recipe = |index| format!("# Recipe {index}\nrecipe{index} name=\"x\":\n    echo {{{{name}}}}\n\n");
        let justfile = folder.join("justfile");
        fs_err::write(&justfile, (0..verbs).map(recipe).collect::<String>())?;
        let ours = || cmd!(shell, "{XTASK} deploy --stage=full --dry-run=json");
        let mut rows = Vec::new();
        let mut pair = |name: &str, bound: &'static str, peer: &dyn Fn() -> Result<Duration>| -> Result<()> {
            let (mut mine, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..RUNS {
                mine.push(self.time(ours())?);
                theirs.push(peer()?);
            }
            let peer = Some((name, median(theirs)));
            rows.push(row("plan start-up (deploy --stage full)", median(mine), peer, bound));
            Ok(())
        };
        if self.has("just") {
            pair("just --dump", "at most 2x", &|| {
                self.time(cmd!(shell, "just --dump --dump-format=json --justfile {justfile}"))
            })?;
        }
        let kubectl = self.tool("kubectl")?;
        pair("kubectl version --client", "at most 0.15x", &|| {
            let command = cmd!(shell, "{kubectl} version --client");
            self.time(command.env("KUBERC", "off").env("HOME", folder))
        })?;
        Ok(rows)
    }

    /// What a step costs in the journal: two lines, each on the disk before the run goes on.
    fn journal(&self) -> Result<Row> {
        let mut journal = Journal::begin(&self.folder, "bench", &Plan::new("bench")).map_err(of)?;
        let took = median_of(100, || {
            let started = Instant::now();
            journal.record("bench.step", State::Started).map_err(of)?;
            journal.record("bench.step", State::Done).map_err(of)?;
            Ok(started.elapsed())
        })?;
        Ok(row("journal, a step", took, None, "at most 5 ms"))
    }

    /// A check of our largest golden, of 10,000 objects against `diff -u` of the same text, and its growth.
    fn golden(&self) -> Result<Vec<Row>> {
        let largest = self.largest_golden()?;
        let corpus = self.corpus(largest, Change::Nothing)?;
        let mut rows = vec![row(
            &format!("golden check, {largest} objects, our largest"),
            corpus.time(5)?,
            None,
            "at most 100 ms",
        )];
        for (change, name, bound) in [
            (
                Change::Nothing,
                "golden check, 10,000 objects, identical",
                "printed only",
            ),
            (
                Change::Hundredth,
                "golden check, 1 % of the objects changed",
                "printed only",
            ),
            (Change::Order, "golden check, every key in another order", "at most 10x"),
        ] {
            let corpus = self.corpus(10_000, change)?;
            let (mut mine, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..5 {
                mine.push(corpus.check()?.0);
                theirs.push(self.diff(&corpus)?);
            }
            let mine = median(mine);
            rows.push(row(name, mine, Some(("diff -u", median(theirs))), bound));
            if change == Change::Order {
                rows.extend(self.deepdiff(&corpus)?);
            }
        }
        let small = self.corpus(1_000, Change::Nothing)?;
        let large = self.corpus(10_000, Change::Nothing)?;
        rows.push(row(
            "golden check, 10,000 objects",
            large.time(5)?,
            Some(("1,000 objects", small.time(5)?)),
            "at most 12x",
        ));
        Ok(rows)
    }

    /// How many objects the largest golden of this checkout has.
    fn largest_golden(&self) -> Result<usize> {
        let mut largest = 0;
        let clusters = &self.platform.clusters;
        for (cluster, stage) in clusters
            .iter()
            .flat_map(|(cluster, config)| config.stages.keys().map(move |stage| (cluster, stage)))
        {
            let golden = self.root.join(format!("k8s/golden/{cluster}/{stage}"));
            if golden.exists() {
                let project = xtask::project::Project::read(&golden).map_err(of)?;
                largest = largest.max(project.objects().count());
            }
        }
        Ok(largest)
    }

    /// An object whose keys stand in another order, read and compared, against deepdiff; none where that is not.
    fn deepdiff(&self, corpus: &Corpus) -> Result<Option<Row>> {
        if !self.has("deep") {
            return Ok(None);
        }
        let time = |objects: usize| -> Result<Duration> {
            let [golden, rendered] = corpus.sample(objects)?;
            let shell = &self.shell;
            median_of(3, || {
                self.time(cmd!(shell, "deep diff --ignore-order {golden} {rendered}"))
            })
        };
        // What one object takes is the start of the program.
        let theirs = time(1 + SAMPLE)?.saturating_sub(time(1)?);
        let mine = corpus.time(5)?;
        let each = |time: Duration, objects: usize| time.div_f64(f64::from(u32::try_from(objects).unwrap_or(u32::MAX)));
        Ok(Some(row(
            "the same, an object",
            each(mine, 10_000),
            Some(("deep diff --ignore-order", each(theirs, SAMPLE))),
            "at most 0.01x",
        )))
    }

    /// A stage evaluated and built by Nix, with its sources in the store and no evaluation kept.
    fn nix(&self) -> Result<Option<Row>> {
        if !self.has("nix") {
            return Ok(None);
        }
        let shell = &self.shell;
        let cluster = self.platform.default_cluster(Stage::Local).map_err(of)?;
        let stage = format!(".#k8s-manifests-{cluster}-local");
        let features = ["--extra-experimental-features", "nix-command flakes"];
        let build = || cmd!(shell, "nix build {features...} --no-write-lock-file {stage} --no-link");
        // The first one fetches, and says whether it can be built here at all.
        if let Err(error) = self.time(build()) {
            skip(&format!("a stage cannot be built here: {error}"));
            return Ok(None);
        }
        let took = median_of(5, || {
            self.time(build().args(["--rebuild", "--option", "eval-cache", "false"]))
        })?;
        Ok(Some(row(
            "stage local, evaluated and built by Nix",
            took,
            None,
            "at most 5 s",
        )))
    }

    /// `local-up` on the embedded backend with warm tools, and a second run with nothing to do.
    fn local(&self) -> Result<Vec<Row>> {
        let shell = &self.shell;
        let cluster = self.platform.default_cluster(Stage::Local).map_err(of)?;
        let up = || self.time(cmd!(shell, "{XTASK} local-up --backend=embedded --cluster={cluster}"));
        let down = || self.time(cmd!(shell, "{XTASK} local-down --cluster={cluster}"));
        down()?;
        let first = up()?;
        let second = median_of(5, up)?;
        down()?;
        Ok(vec![
            row("local-up, embedded, warm tools", first, None, "at most 25 s"),
            row("local-up, second run", second, None, "at most 3 s"),
        ])
    }

    /// Whether a peer is on the PATH; what cannot be compared with is named.
    fn has(&self, program: &str) -> bool {
        let asked = self.shell.cmd(program).arg("--help").quiet();
        let found = asked.ignore_status().ignore_stdout().ignore_stderr().run().is_ok();
        if !found {
            skip(&format!("`{program}` is not here to be compared with"));
        }
        found
    }

    /// Where xtask has a tool that it provides.
    fn tool(&self, name: &str) -> Result<Utf8PathBuf> {
        let shell = &self.shell;
        Ok(cmd!(shell, "{XTASK} tools path {name}").quiet().read()?.into())
    }

    fn time(&self, command: Cmd<'_>) -> Result<Duration> {
        Ok(measure::run(command, &[])?.took)
    }

    fn corpus(&self, objects: usize, change: Change) -> Result<Corpus> {
        let folder = self.folder.join(format!("corpus-{objects}-{change:?}"));
        if folder.exists() {
            fs_err::remove_dir_all(&folder)?;
        }
        fs_err::create_dir_all(&folder)?;
        let corpus = Corpus::make(&folder, objects, change)?;
        let found = corpus.check()?.1;
        let expected = match change {
            Change::Nothing | Change::Order => 0,
            Change::Hundredth => (0..objects).filter(|index| corpus::is_hundredth(*index)).count(),
        };
        if found != expected {
            bail!("{objects} objects, {change:?}: {found} differ, {expected} should");
        }
        Ok(corpus)
    }

    fn diff(&self, corpus: &Corpus) -> Result<Duration> {
        let (shell, golden, rendered) = (&self.shell, &corpus.golden_text, &corpus.rendered_text);
        // 1 says that there is a difference.
        Ok(measure::run(cmd!(shell, "diff -u {golden} {rendered}"), &[1])?.took)
    }
}

/// A failure of the library, whole.
fn of(failure: Failure) -> anyhow::Error {
    anyhow!(failure.chain())
}

#[expect(clippy::print_stderr, reason = "what is left out is told")]
fn skip(what: &str) {
    eprintln!("left out: {what}");
}

fn row(name: &str, mine: Duration, peer: Option<(&str, Duration)>, bound: &'static str) -> Row {
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1000.0;
    Row {
        name: name.to_owned(),
        milliseconds: Some(milliseconds(mine)),
        peer: peer.map(|(name, _)| name.to_owned()),
        peer_milliseconds: peer.map(|(_, theirs)| milliseconds(theirs)),
        ratio: peer.map(|(_, theirs)| mine.as_secs_f64() / theirs.as_secs_f64()),
        bound,
    }
}

/// Copies a folder of the checkout.
fn copy(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    xtask::project::copy(from, to)
        .map_err(of)
        .with_context(|| format!("cannot copy `{from}`"))
}

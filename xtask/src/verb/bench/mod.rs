//! `bench`: how fast it is, against its peers in the same run, as ratios. It judges nothing: a bound is printed
//! beside what was measured, and the exit code does not depend on it.

mod deploy;
mod stage;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use clap::CommandFactory;
use serde::Serialize;

use crate::base::failure::{Failure, Kind, Result};
use crate::base::root::STATE;
use crate::base::text::unknown;
use crate::base::ui::Word;
use crate::cli::Cli;
use crate::context::{Checkout, Context};
use crate::exec::Runner;
use crate::golden::bench::{Change, Corpus, Reading};
use crate::plan::{Command, Plan, Tool};
use crate::recipe::nix_build_of;
use crate::run::journal::{Journal, State};
use crate::tool::Outcome;

/// Runs of each side of a pair; the median is quoted.
const RUNS: usize = 11;

/// Measure speed against peers, and print ratios
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Only these: start, journal, golden, nix, local, deploy
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    /// Median in milliseconds.
    milliseconds: f64,
    /// The peer, and its median in milliseconds.
    peer: Option<String>,
    peer_milliseconds: Option<f64>,
    /// Ours divided by the peer's.
    ratio: Option<f64>,
    /// What it should stay below, in words.
    bound: &'static str,
}

const NAMES: [&str; 6] = ["start", "journal", "golden", "nix", "local", "deploy"];

/// Objects that deepdiff is given; it takes milliseconds for each.
const SAMPLE: usize = 200;

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    for name in &arguments.names {
        if !NAMES.contains(&name.as_str()) {
            return Err(unknown(Kind::Usage, "benchmark", name, NAMES));
        }
    }
    let chosen = |name: &str| arguments.names.is_empty() || arguments.names.iter().any(|wanted| wanted == name);
    let folder = checkout.path(STATE).join("bench");
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    fs_err::create_dir_all(&folder)?;
    let bench = Bench {
        context,
        checkout,
        folder,
    };
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
        return context.ui.json(&rows);
    }
    let mut text = String::new();
    for row in &rows {
        let ratio = match (row.ratio, &row.peer) {
            (Some(ratio), Some(peer)) => format!("{ratio:>6.2}x of {peer}"),
            _ => String::new(),
        };
        writeln!(
            text,
            "{:<44} {:>10.1} ms  {ratio:<44} bound: {}",
            row.name, row.milliseconds, row.bound
        )
        .expect("a string takes everything");
    }
    context.ui.data(text)
}

struct Bench<'a> {
    context: &'a Context,
    checkout: Checkout,
    folder: Utf8PathBuf,
}

impl Bench<'_> {
    /// A plan's start-up, against a runner of recipes and against kubectl.
    fn start(&self) -> Result<Vec<Row>> {
        let release = self.release_binary()?;
        let verbs = Cli::command().get_subcommands().count();
        let mut justfile = String::new();
        for index in 0..verbs {
            write!(
                justfile,
                "# Recipe {index}\nrecipe{index} name=\"x\":\n    echo {{{{name}}}}\n\n"
            )
            .expect("a string takes everything");
        }
        let path = self.folder.join("justfile");
        fs_err::write(&path, justfile)?;
        let ours = Command::new(Tool::Xtask).args(["deploy", "--stage=full", "--dry-run=json"]);
        let mut rows = Vec::new();
        let just = Command::new(Tool::Just)
            .args(["--dump", "--dump-format=json", "--justfile"])
            .arg(Utf8PathBuf::from(STATE).join("bench/justfile"));
        let kubectl = Command::new(Tool::Kubectl)
            .args(["version", "--client"])
            .env("KUBERC", "off")
            .env("HOME", Utf8PathBuf::from(STATE).join("bench"));
        for (peer, name, bound) in [
            (just, "just --dump", "at most 2x"),
            (kubectl, "kubectl version --client", "at most 0.15x"),
        ] {
            if !self.has(peer.tool) {
                self.context
                    .ui
                    .status(Word::Skipped, format!("`{name}` is not here to be compared with"));
                continue;
            }
            let (mine, theirs) = self.pair(&release, &ours, &peer)?;
            rows.push(row(
                "plan start-up (deploy --stage full)",
                mine,
                Some((name, theirs)),
                bound,
            ));
        }
        Ok(rows)
    }

    /// What a step costs in the journal: two lines, each on the disk before the run goes on.
    fn journal(&self) -> Result<Row> {
        let steps = 100;
        let mut journal = Journal::begin(&self.folder, "bench", &Plan::new("bench"))?;
        let mut times = Vec::new();
        for _ in 0..steps {
            let started = Instant::now();
            journal.record("bench.step", State::Started)?;
            journal.record("bench.step", State::Done)?;
            times.push(started.elapsed());
        }
        Ok(row("journal, a step", median(times), None, "at most 5 ms"))
    }

    /// A check of 10,000 objects against `diff -u` of the same text, and its growth.
    fn golden(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (change, reading, name, bound) in [
            (
                Change::Nothing,
                Reading::Changes,
                "golden check, 10,000 objects, identical",
                "at most 0.5x",
            ),
            (
                Change::Nothing,
                Reading::Everything,
                "the same, a first check that reads all",
                "printed only",
            ),
            (
                Change::Hundredth,
                Reading::Changes,
                "golden check, 1 % of the objects changed",
                "at most 1x",
            ),
            (
                Change::Order,
                Reading::Changes,
                "golden check, every key in another order",
                "at most 10x",
            ),
        ] {
            let corpus = self.corpus(10_000, change)?;
            let mut mine = Vec::new();
            let mut theirs = Vec::new();
            for _ in 0..5 {
                mine.push(corpus.check(reading)?.0);
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
        let time = |corpus: &Corpus| -> Result<Duration> {
            (0..5)
                .map(|_| Ok(corpus.check(Reading::Everything)?.0))
                .collect::<Result<Vec<_>>>()
                .map(median)
        };
        rows.push(row(
            "golden check, 10,000 objects",
            time(&large)?,
            Some(("1,000 objects", time(&small)?)),
            "at most 12x",
        ));
        Ok(rows)
    }

    /// An object whose keys stand in another order, read and compared, against deepdiff; none where that is not.
    fn deepdiff(&self, corpus: &Corpus) -> Result<Option<Row>> {
        if !self.has(Tool::Deep) {
            let name = "`deep diff` of deepdiff";
            self.context
                .ui
                .status(Word::Skipped, format!("{name} is not here to be compared with"));
            return Ok(None);
        }
        let tools = self.context.toolbox(self.kubernetes()).ensure(&[Tool::Deep])?;
        let runner = self.runner(&tools);
        let time = |objects: usize| -> Result<Duration> {
            let [golden, rendered] = corpus.sample(objects)?;
            let command = Command::new(Tool::Deep)
                .args(["diff", "--ignore-order"])
                .arg(golden.as_str())
                .arg(rendered.as_str())
                .within(600);
            (0..3)
                .map(|_| runner.time(&command, None))
                .collect::<Result<_>>()
                .map(median)
        };
        // What one object takes is the start of the program.
        let theirs = time(1 + SAMPLE)?.saturating_sub(time(1)?);
        let mine = median(
            (0..5)
                .map(|_| Ok(corpus.check(Reading::Everything)?.0))
                .collect::<Result<_>>()?,
        );
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
        if !self.has(Tool::Nix) {
            self.context
                .ui
                .status(Word::Skipped, "`nix` is not here to evaluate a stage");
            return Ok(None);
        }
        let tools = self.context.toolbox(self.kubernetes()).ensure(&[Tool::Nix])?;
        let runner = self.runner(&tools);
        let cluster = self.checkout.platform.default_cluster(crate::platform::Stage::Local)?;
        let build = nix_build_of(&format!("k8s-manifests-{cluster}-local")).arg("--no-link");
        // The first one fetches, and says whether it can be built here at all.
        if let Err(failure) = runner.run_quietly(&build) {
            let said = failure.chain();
            let why = said
                .lines()
                .map(str::trim)
                .find(|line| line.starts_with("error:"))
                .unwrap_or("Nix did not say why");
            self.context
                .ui
                .status(Word::Skipped, format!("a stage cannot be built here: {why}"));
            return Ok(None);
        }
        let cold = build.args(["--rebuild", "--option", "eval-cache", "false"]);
        let times = (0..5).map(|_| runner.time(&cold, None)).collect::<Result<_>>()?;
        Ok(Some(row(
            "stage local, evaluated and built by Nix",
            median(times),
            None,
            "at most 5 s",
        )))
    }

    /// `local-up` on the embedded backend with warm tools, and a second run with nothing to do.
    fn local(&self) -> Result<Vec<Row>> {
        let tools = self.context.toolbox(self.kubernetes()).ensure(&[])?;
        let runner = self.runner(&tools);
        let cluster = self.checkout.platform.default_cluster(crate::platform::Stage::Local)?;
        let up = Command::new(Tool::Xtask)
            .args(["local-up", "--backend=embedded"])
            .arg(format!("--cluster={cluster}"))
            .within(600);
        let down = Command::new(Tool::Xtask)
            .arg("local-down")
            .arg(format!("--cluster={cluster}"))
            .within(120);
        let time = |command: &Command| -> Result<Duration> {
            let started = Instant::now();
            runner.run_quietly(command)?;
            Ok(started.elapsed())
        };
        time(&down)?;
        let first = time(&up)?;
        let second = median((0..5).map(|_| time(&up)).collect::<Result<_>>()?);
        time(&down)?;
        Ok(vec![
            row("local-up, embedded, warm tools", first, None, "at most 25 s"),
            row("local-up, second run", second, None, "at most 3 s"),
        ])
    }

    fn kubernetes(&self) -> &str {
        self.checkout
            .platform
            .versions
            .get("kubernetes")
            .map_or("", String::as_str)
    }

    fn has(&self, tool: Tool) -> bool {
        let found = self.context.toolbox(self.kubernetes()).look(&[tool]);
        found
            .iter()
            .all(|lookup| matches!(lookup.outcome, Outcome::Found(_) | Outcome::Buildable(_)))
    }

    fn runner<'a>(&'a self, tools: &'a crate::tool::Tools) -> Runner<'a> {
        Runner {
            root: &self.checkout.root,
            ui: &self.context.ui,
            tools,
            interrupt: &self.context.interrupt,
        }
    }

    /// The binary that people run: built for release, if this one is not.
    fn release_binary(&self) -> Result<Utf8PathBuf> {
        if !cfg!(debug_assertions) {
            let own = std::env::current_exe()?;
            return Utf8PathBuf::from_path_buf(own)
                .map_err(|path| Failure::config(format!("`{}` is not UTF-8", path.display())));
        }
        self.context.ui.status(
            Word::Building,
            "the release binary, for a debug one says nothing about speed",
        );
        let tools = self.context.toolbox(self.kubernetes()).ensure(&[Tool::Cargo])?;
        let target = Utf8PathBuf::from(STATE).join("bench-target");
        let build = Command::new(Tool::Cargo)
            .args(["build", "--release", "--locked", "--package=xtask", "--bin=xtask"])
            .flag_path("--target-dir", &target)
            .within(1800);
        self.runner(&tools).run_quietly(&build)?;
        Ok(self.checkout.path(target).join("release/xtask"))
    }

    /// Times two commands in turn; ours is the release binary.
    fn pair(&self, release: &Utf8PathBuf, ours: &Command, peer: &Command) -> Result<(Duration, Duration)> {
        let tools = self.context.toolbox(self.kubernetes()).ensure(&[peer.tool])?;
        let runner = self.runner(&tools);
        let mut mine = Vec::new();
        let mut theirs = Vec::new();
        for _ in 0..RUNS {
            mine.push(runner.time(ours, Some(release))?);
            theirs.push(runner.time(peer, None)?);
        }
        Ok((median(mine), median(theirs)))
    }

    fn corpus(&self, objects: usize, change: Change) -> Result<Corpus> {
        let folder = self.folder.join(format!("corpus-{objects}-{change:?}"));
        if folder.exists() {
            fs_err::remove_dir_all(&folder)?;
        }
        fs_err::create_dir_all(&folder)?;
        Corpus::make(&folder, objects, change)
    }

    fn diff(&self, corpus: &Corpus) -> Result<Duration> {
        let tools = self.context.toolbox(self.kubernetes()).ensure(&[Tool::Diff])?;
        // Exit status 1 says that there is a difference.
        let command = Command::new(Tool::Diff)
            .arg("-u")
            .arg(corpus.golden_text.as_str())
            .arg(corpus.rendered_text.as_str())
            .or_look_next();
        self.runner(&tools).time(&command, None)
    }
}

fn row(name: &str, mine: Duration, peer: Option<(&str, Duration)>, bound: &'static str) -> Row {
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1000.0;
    Row {
        name: name.to_owned(),
        milliseconds: milliseconds(mine),
        peer: peer.map(|(name, _)| name.to_owned()),
        peer_milliseconds: peer.map(|(_, theirs)| milliseconds(theirs)),
        ratio: peer.map(|(_, theirs)| mine.as_secs_f64() / theirs.as_secs_f64()),
        bound,
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

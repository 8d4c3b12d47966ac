//! `golden`: reviewed manifests compared with what the modules render, and blessed.
//! It finds renderings and says what the engine found; what is right or wrong is the engine's.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::base::failure::{Failure, Kind, Result};
use crate::base::formats::json;
use crate::base::root::STATE;
use crate::base::text::plural;
use crate::base::ui::Status;
use crate::cluster::access::Access;
use crate::command::{Command, Tool};
use crate::context::{Checkout, Context};
use crate::golden::bless::{Blessed, bless};
use crate::golden::pairs::{self, Named, Pair};
use crate::golden::partial::Unjudged;
use crate::golden::problem::Problem;
use crate::golden::provenance::Record;
use crate::golden::resolve::Comparison;
use crate::golden::{diff, folder, inventory, offline, reproducible, resolve, revision};
use crate::plan::{Action, Effect, Step};
use crate::platform::Stage;
use crate::recipe::{nix_build_of, validate};
use crate::run::exec::Runner;
use crate::run::{Lock, PlanArgs, carry_out, nonce};
use crate::setup::rendering;
use crate::setup::revision::Git;
use crate::setup::source::{self, Choice as Source, Reach};

/// Compare goldens with what the modules render, or accept it
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Arguments {
    /// Compare, and write nothing
    #[command(after_help = "Examples:
  cargo xtask golden check
  cargo xtask golden check --alone
  cargo xtask golden check --stage local --source result --json")]
    Check(Check),
    /// Make the goldens what is rendered
    #[command(
        visible_alias = "accept",
        after_help = "Examples:
  cargo xtask golden bless
  cargo xtask golden bless --stage local --cluster k3s-dev"
    )]
    Bless(Bless),
    /// Print what the goldens hold
    #[command(
        visible_alias = "ls",
        after_help = "Examples:
  cargo xtask golden list --stage full
  cargo xtask golden list --images --json"
    )]
    List(List),
    /// Print line by line what a bless would change
    #[command(after_help = "Examples:
  cargo xtask golden diff --stage local
  cargo xtask golden diff --against main --exit-code")]
    Diff(Diff),
    /// Have a real API server and kubeconform judge every object
    #[command(after_help = "Examples:
  cargo xtask golden validate
  cargo xtask golden validate --stage local --cluster k3s-dev")]
    Validate(Validate),
}

/// Which goldens are meant.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Choice {
    /// Only goldens of this stage
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<Stage>,
    /// Only goldens of this cluster
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
}

/// Where renderings come from.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Rendering {
    /// What is compared: `nix`, `render` (the modules rendered here), or the folder of a project or of
    /// `<cluster>-<stage>` ones; a second folder is another rendering of the same sources and must be equal
    #[arg(long, value_name = "SOURCE")]
    pub source: Vec<Source>,
}

/// Arguments of `golden check`.
#[derive(Debug, Clone, clap::Args)]
pub struct Check {
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub rendering: Rendering,
    /// Render nothing: judge each golden by itself, and by what it says of its sources
    #[arg(long, conflicts_with = "source")]
    pub alone: bool,
    /// Compare with the goldens of this Git revision instead of the working tree's
    #[arg(long, value_name = "REV", conflicts_with = "alone")]
    pub against: Option<String>,
    /// Print problems as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `golden bless`.
#[derive(Debug, Clone, clap::Args)]
pub struct Bless {
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub rendering: Rendering,
}

/// Arguments of `golden list`.
#[derive(Debug, Clone, clap::Args)]
pub struct List {
    #[command(flatten)]
    pub choice: Choice,
    /// Images instead of objects, with who uses each
    #[arg(long)]
    pub images: bool,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `golden diff`.
#[derive(Debug, Clone, clap::Args)]
pub struct Diff {
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub rendering: Rendering,
    /// Compare with the goldens of this Git revision instead of the working tree's
    #[arg(long, value_name = "REV", conflicts_with = "full")]
    pub against: Option<String>,
    /// Compare with this earlier rendering, in the full text of both
    #[arg(long, value_name = "DIR")]
    pub full: Option<Utf8PathBuf>,
    /// End with code 4 when anything differs
    #[arg(long)]
    pub exit_code: bool,
}

/// Arguments of `golden validate`.
#[derive(Debug, Clone, clap::Args)]
pub struct Validate {
    #[command(flatten)]
    pub choice: Choice,
    /// Judge complete renderings from this folder instead of the goldens
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<Utf8PathBuf>,
    /// Manifests of definitions that no stage brings (what clusterctl installs); a file or a folder
    #[arg(long, value_name = "PATH")]
    pub definitions: Vec<Utf8PathBuf>,
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let verb = Verb {
        context,
        checkout: context.checkout()?,
    };
    match arguments {
        Arguments::Check(arguments) => verb.check(arguments),
        Arguments::Bless(arguments) => verb.bless(arguments),
        Arguments::List(arguments) => verb.list(arguments),
        Arguments::Diff(arguments) => verb.diff(arguments),
        Arguments::Validate(arguments) => verb.validate(arguments),
    }
}

struct Verb<'a> {
    context: &'a Context,
    checkout: Checkout,
}

/// How often something is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    /// To find what differs from one rendering to the next.
    Twice,
}

/// Renderings by pair; of each the second, where there is one.
type Renderings = BTreeMap<Pair, (Utf8PathBuf, Option<Utf8PathBuf>)>;

impl Verb<'_> {
    fn pairs(&self, choice: &Choice) -> Result<(Vec<Pair>, Named)> {
        let pairs = pairs::chosen(&self.checkout.platform, choice.cluster.as_deref(), choice.stage)?;
        let named = if choice.cluster.is_some() || choice.stage.is_some() {
            Named::Yes
        } else {
            Named::No
        };
        Ok((pairs, named))
    }

    fn check(&self, arguments: &Check) -> Result<()> {
        let (pairs, named) = self.pairs(&arguments.choice)?;
        let record = Record::of(&self.checkout.root)?;
        let mut comparisons = BTreeMap::new();
        if arguments.alone {
            for pair in pairs {
                let comparison = offline::judge(&self.checkout.path(pair.golden()), &record)?;
                comparisons.insert(pair, comparison);
            }
        } else {
            let golden = |pair: &Pair| -> Result<Utf8PathBuf> {
                match &arguments.against {
                    Some(revision) => self.golden_at(revision, pair),
                    None => Ok(self.checkout.path(pair.golden())),
                }
            };
            let renderings = self.renderings(&arguments.rendering, &pairs, named, Times::Once)?;
            for (pair, (rendered, again)) in renderings {
                let mut comparison = resolve::compare(&rendered, &golden(&pair)?, &record)?;
                if let Some(again) = again {
                    comparison.problems.extend(reproducible::compare(&rendered, &again)?);
                }
                comparisons.insert(pair, comparison);
            }
        }
        pairs::find_shared(&mut comparisons);
        let strays = if named == Named::No {
            pairs::strays(&self.checkout.root, &self.checkout.platform)?
        } else {
            Vec::new()
        };
        self.report(&comparisons, &strays, arguments)
    }

    fn report(
        &self,
        comparisons: &BTreeMap<Pair, Comparison>,
        strays: &[Utf8PathBuf],
        arguments: &Check,
    ) -> Result<()> {
        let ui = &self.context.ui;
        if arguments.json {
            ui.json(1, &Report::of(comparisons, strays))?;
        }
        let mut failing = 0;
        for (pair, comparison) in comparisons {
            let absent = !arguments.alone && !self.checkout.path(pair.golden()).exists();
            if absent {
                ui.status(
                    Status::Stale,
                    format!(
                        "{pair}: there is no golden; a bless would write {}",
                        plural(comparison.objects.len(), "object")
                    ),
                );
            }
            // Of a golden that is not there every file is missing; the folder says it once.
            for problem in comparison
                .problems
                .iter()
                .filter(|problem| !absent || problem.fix().is_none())
            {
                let word = if problem.fails() {
                    Status::Stale
                } else {
                    Status::Warning
                };
                ui.status(word, format!("{pair}: {problem}"));
            }
            failing += comparison.problems.iter().filter(|problem| problem.fails()).count();
            for skipped in &comparison.skipped {
                ui.status(Status::Skipped, format!("{pair}: {skipped}"));
            }
            for changed in comparison.changed() {
                ui.status(
                    Status::Stale,
                    format!("{pair}: {changed}, and its source cannot be had here"),
                );
                failing += 1;
            }
            if !comparison.unverified.is_empty() {
                ui.status(
                    Status::Skipped,
                    format!(
                        "{pair}: {} not compared, their source was left out",
                        plural(comparison.unverified.len(), "object")
                    ),
                );
            }
            if !comparison.fails() {
                let how = if arguments.alone {
                    "in order, but not compared with a rendering"
                } else {
                    "as rendered"
                };
                ui.status(
                    Status::Checked,
                    format!("{pair}: {}, {how}", plural(comparison.objects.len(), "object")),
                );
            }
        }
        for stray in strays {
            ui.status(
                Status::Stale,
                format!("`{stray}` belongs to no stage of the platform config"),
            );
        }
        failing += strays.len();
        if failing == 0 {
            return Ok(());
        }
        let failure = Failure::new(
            Kind::Stale,
            format!(
                "{} in {}",
                plural(failing, "problem"),
                plural(comparisons.len(), "golden")
            ),
        );
        let fixable = comparisons
            .values()
            .flat_map(|comparison| &comparison.problems)
            .any(|problem| problem.fix().is_some());
        Err(if fixable {
            failure.hinted(
                "review what changed (`cargo xtask golden diff`), accept it (`cargo xtask golden bless`), commit",
            )
        } else if arguments.alone {
            failure
                .hinted("restore what was edited (`git checkout -- k8s/golden`), or bless on a machine that can render")
        } else if comparisons
            .values()
            .any(|comparison| comparison.changed().next().is_some())
        {
            failure.hinted("where the sources can be had, for example with Nix: `cargo xtask golden bless`")
        } else if strays.len() == failing {
            failure.hinted("remove what no stage of the platform config needs (`git rm -r`), or add the stage to the platform config")
        } else {
            failure.hinted("blessing cannot mend these: change the modules, or resolve the merge")
        })
    }

    fn bless(&self, arguments: &Bless) -> Result<()> {
        if in_ci() {
            return Err(Failure::refused("goldens are not blessed in CI: a person reviews them")
                .hinted("bless on your own machine, review, commit"));
        }
        let ui = &self.context.ui;
        let (pairs, named) = self.pairs(&arguments.choice)?;
        let record = Record::of(&self.checkout.root)?;
        let renderings = self.renderings(&arguments.rendering, &pairs, named, Times::Twice)?;
        // Whatever is refused is refused before anything is written.
        let mut comparisons = BTreeMap::new();
        for (pair, (rendered, again)) in &renderings {
            let mut comparison = resolve::compare(rendered, &self.checkout.path(pair.golden()), &record)?;
            if let Some(again) = again {
                comparison.problems.extend(reproducible::compare(rendered, again)?);
            }
            comparisons.insert(pair.clone(), comparison);
        }
        pairs::find_shared(&mut comparisons);
        self.refuse_unfixable(&comparisons)?;
        for (pair, (rendered, _)) in &renderings {
            let golden = self.checkout.path(pair.golden());
            let edited = self.edited(pair)?;
            // Killed before or after the exchange: what is there then was made by a bless, and is no edit.
            let blessed = bless(rendered, &golden, &record, &edited, |next| {
                self.remember(pair, next, Until::Blessed)
            })?;
            self.remember(pair, &golden, Until::Done)?;
            for fix in &blessed.fixes {
                ui.status(Status::Wrote, format!("{pair}: {fix}"));
            }
            self.name_unjudged(pair, &blessed);
            let objects = plural(blessed.objects, "object");
            if blessed.fixes.is_empty() {
                ui.status(Status::Fresh, format!("{pair}: {objects}, nothing to change"));
            } else {
                ui.status(
                    Status::Done,
                    format!("{pair}: {objects}, {}", plural(blessed.fixes.len(), "file")),
                );
            }
        }
        ui.status(Status::Next, "git diff k8s/golden, then commit");
        Ok(())
    }

    /// Says which objects stayed as they were because they could not be rendered.
    fn name_unjudged(&self, pair: &Pair, blessed: &Blessed) {
        let ui = &self.context.ui;
        if blessed.unjudged.is_empty() {
            return;
        }
        let sources: Vec<String> = blessed.unjudged.iter().map(|one| one.missing.to_string()).collect();
        ui.status(
            Status::Skipped,
            format!(
                "{pair}: {} not judged and left as they were, for these sources cannot be had here: {}",
                plural(blessed.unverified, "object"),
                sources.join(", ")
            ),
        );
        for changed in blessed.unjudged.iter().filter_map(Unjudged::sentence) {
            ui.status(
                Status::Warning,
                format!(
                    "{pair}: {changed}; the golden stays marked as older until it is blessed where that can be rendered"
                ),
            );
        }
    }

    fn refuse_unfixable(&self, comparisons: &BTreeMap<Pair, Comparison>) -> Result<()> {
        let unfixable: Vec<String> = comparisons
            .iter()
            .flat_map(|(pair, comparison)| comparison.problems.iter().map(move |problem| (pair, problem)))
            .filter(|(_, problem)| problem.fix().is_none())
            .map(|(pair, problem)| format!("{pair}: {problem}"))
            .collect();
        if unfixable.is_empty() {
            return Ok(());
        }
        Err(Failure::many(
            Kind::Refused,
            format!(
                "{} that blessing cannot mend; nothing was written",
                plural(unfixable.len(), "problem")
            ),
            &unfixable,
        )
        .hinted("mend the modules (or resolve the merge), then bless again"))
    }

    fn list(&self, arguments: &List) -> Result<()> {
        let ui = &self.context.ui;
        let mut entries = Vec::new();
        for pair in self.pairs(&arguments.choice)?.0 {
            entries.extend(inventory::objects(&self.checkout.path(pair.golden()), &pair)?);
        }
        let mut text = String::new();
        match (arguments.images, arguments.json) {
            (false, true) => return ui.json(1, &serde_json::json!({"objects": entries})),
            (true, true) => return ui.json(1, &serde_json::json!({"images": inventory::by_image(&entries)})),
            (true, false) => {
                for (image, users) in inventory::by_image(&entries) {
                    text.push_str(&image);
                    text.push('\n');
                    for user in users {
                        text.push_str("    ");
                        text.push_str(&user);
                        text.push('\n');
                    }
                }
            }
            (false, false) => {
                for entry in &entries {
                    let namespace = if entry.namespace.is_empty() {
                        "_"
                    } else {
                        &entry.namespace
                    };
                    let line = [
                        &entry.cluster,
                        &entry.stage,
                        &entry.kind,
                        namespace,
                        &entry.name,
                        &entry.file,
                    ]
                    .join("\t");
                    text.push_str(&line);
                    text.push('\n');
                }
            }
        }
        if text.is_empty() { Ok(()) } else { ui.data(text) }
    }

    fn diff(&self, arguments: &Diff) -> Result<()> {
        let (pairs, named) = self.pairs(&arguments.choice)?;
        let record = Record::of(&self.checkout.root)?;
        let mut text = String::new();
        for (pair, (rendered, _)) in self.renderings(&arguments.rendering, &pairs, named, Times::Once)? {
            if let Some(earlier) = &arguments.full {
                let earlier = pairs::renderings(earlier, std::slice::from_ref(&pair), Named::Yes)?;
                text.push_str(&full_diff(&pair, &earlier[&pair], &rendered)?);
                continue;
            }
            let golden = match &arguments.against {
                Some(revision) => self.golden_at(revision, &pair)?,
                None => self.checkout.path(pair.golden()),
            };
            for problem in resolve::compare(&rendered, &golden, &record)?.problems {
                text.push_str(&problem_diff(&pair, &golden, &problem));
            }
        }
        if text.is_empty() {
            self.context.ui.status(Status::Fresh, "nothing differs");
            return Ok(());
        }
        self.context.ui.data(text)?;
        if arguments.exit_code {
            return Err(Failure::new(Kind::Stale, "goldens differ from what is rendered")
                .hinted("accept it: `cargo xtask golden bless`"));
        }
        Ok(())
    }

    fn validate(&self, arguments: &Validate) -> Result<()> {
        let (pairs, named) = self.pairs(&arguments.choice)?;
        let projects: BTreeMap<Pair, Utf8PathBuf> = match &arguments.source {
            Some(folder) => pairs::renderings(folder, &pairs, named)?,
            None => pairs.into_iter().map(|pair| (pair.clone(), pair.golden())).collect(),
        };
        for (pair, project) in projects {
            if !self.checkout.path(&project).join("stage.json").is_file() {
                return Err(Failure::new(Kind::Stale, format!("there is no golden of `{pair}`"))
                    .hinted("make one: `cargo xtask golden bless`"));
            }
            let plan = validate::plan(&validate::Validate {
                access: &Access::rehearsal(&pair.cluster, &nonce()),
                config: self.checkout.platform.cluster(&pair.cluster)?,
                project,
                definitions: &arguments.definitions,
                goal: &format!("golden validate {pair}"),
            });
            carry_out(
                self.context,
                &self.checkout,
                "golden-validate",
                plan,
                &arguments.plan,
                &Lock::None,
            )?;
        }
        Ok(())
    }

    /// The renderings of the pairs: folders that were given, or what Nix builds.
    fn renderings(&self, rendering: &Rendering, pairs: &[Pair], named: Named, times: Times) -> Result<Renderings> {
        match rendering.source.as_slice() {
            [] => self.evaluated(pairs, times),
            [Source::Nix] => self.built(pairs, times),
            [Source::Render] => self.rendered(pairs, times),
            [Source::Folder(first), rest @ ..] if rest.len() < 2 => {
                let found = pairs::renderings(first, pairs, named)?;
                let again = match rest {
                    [] => BTreeMap::new(),
                    [Source::Folder(second)] => pairs::renderings(second, pairs, named)?,
                    _ => return Err(one_source()),
                };
                Ok(found
                    .into_iter()
                    .map(|(pair, path)| (pair.clone(), (path, again.get(&pair).cloned())))
                    .collect())
            }
            _ => Err(one_source()),
        }
    }

    /// What today's modules say: as Nix builds it, or where the flake cannot be evaluated, as it is rendered here.
    fn evaluated(&self, pairs: &[Pair], times: Times) -> Result<Renderings> {
        let Some(pair) = pairs.first() else {
            return Ok(Renderings::new());
        };
        let named = (pair.cluster.as_str(), pair.stage);
        if source::evaluated(self.context, &self.checkout, named, Reach::Here)?.is_some()
            || rendering::why_not(self.context, &self.checkout).is_some()
        {
            return self.built(pairs, times);
        }
        self.context.ui.status(
            Status::Using,
            "what is rendered here, for the flake cannot be evaluated (`--source nix` says why)",
        );
        self.rendered(pairs, times)
    }

    fn rendered(&self, pairs: &[Pair], times: Times) -> Result<Renderings> {
        let mut found = BTreeMap::new();
        for pair in pairs {
            let made = rendering::make(self.context, &self.checkout, &pair.cluster, pair.stage, &pair.golden())?;
            let again = match times {
                Times::Once => None,
                Times::Twice => Some(rendering::again(
                    self.context,
                    &self.checkout,
                    &pair.cluster,
                    pair.stage,
                )?),
            };
            let path = |folder: Utf8PathBuf| self.checkout.path(folder);
            found.insert(pair.clone(), (path(made.rendering), again.map(path)));
        }
        Ok(found)
    }

    fn built(&self, pairs: &[Pair], times: Times) -> Result<Renderings> {
        let tools = self.toolbox().ensure(&[Tool::Nix]).map_err(|failure| {
            failure
                .context("goldens cannot be compared with a rendering")
                .hinted("what can be rendered without Nix's store is compared with `--source render`")
                .hinted("give a rendering made elsewhere: `--source DIR`")
                .hinted("or judge the goldens by themselves: `cargo xtask golden check --alone`")
        })?;
        let runner = self.runner(&tools);
        let mut found = BTreeMap::new();
        for pair in pairs {
            self.context
                .ui
                .status(Status::Building, format!("{pair}: `.#k8s-manifests-{pair}`"));
            let folder = Utf8PathBuf::from(STATE).join("golden").join(pair.to_string());
            fs_err::create_dir_all(self.checkout.path(&folder))?;
            let link = folder.join("rendered");
            let log = folder.join("nix.log");
            // A log is appended to, and an earlier error explains nothing.
            remove(&self.checkout.path(&log))?;
            let build = |id: &str, command: Command| {
                let step = Step::new(
                    id,
                    format!("Render `{pair}`"),
                    "The golden is compared with what the flake renders now.",
                    Effect::Local,
                    Action::Run(command),
                );
                runner.act(&step, &self.checkout.path(&log)).map_err(|failure| {
                    failure
                        .hinted(format!("the whole log: {log}"))
                        .hinted("a rendering made elsewhere is taken too: `--source DIR`")
                })
            };
            build("golden.render", nix_build(pair).arg("--out-link").arg(link.as_path()))?;
            let rendered = self.checkout.path(&link);
            let again = match times {
                Times::Once => None,
                Times::Twice => {
                    let store = rendered.canonicalize_utf8()?;
                    let check = Utf8PathBuf::from(format!("{store}.check"));
                    let rebuilt = build(
                        "golden.render-again",
                        nix_build(pair).args(["--no-link", "--rebuild", "--keep-failed"]),
                    );
                    match rebuilt {
                        Ok(()) => None,
                        // Nix keeps what differs beside the first result.
                        Err(_) if check.exists() => Some(check),
                        Err(failure) => return Err(failure),
                    }
                }
            };
            found.insert(pair.clone(), (rendered, again));
        }
        Ok(found)
    }

    fn toolbox(&self) -> crate::tool::Toolbox {
        let kubernetes = self
            .checkout
            .platform
            .versions
            .get("kubernetes")
            .map_or("", String::as_str);
        self.context.toolbox(kubernetes)
    }

    fn runner<'a>(&'a self, tools: &'a crate::tool::Tools) -> Runner<'a> {
        Runner::new(&self.checkout.root, &self.context.ui, tools, &self.context.interrupt)
    }

    /// What a command of Git prints; none when it fails, which outside a repository it does.
    fn git(&self, command: &Command) -> Result<Option<Vec<u8>>> {
        Git::of(self.context, &self.checkout)?.ask(command)
    }

    /// The golden of a pair as a revision has it, in a folder of ours.
    fn golden_at(&self, revision: &str, pair: &Pair) -> Result<Utf8PathBuf> {
        let unknown = || Failure::unexpected(format!("Git cannot read what revision `{revision}` has"));
        let golden = pair.golden();
        let commit = Git::of(self.context, &self.checkout)?.commit(revision)?;
        let tree = Command::new(Tool::Git)
            .args(["ls-tree", "-r", "-z", commit.as_str(), "--"])
            .arg(format!("{golden}/"));
        let files = revision::listing(&self.git(&tree)?.ok_or_else(unknown)?)?;
        let names = Utf8PathBuf::from(STATE)
            .join("golden")
            .join(pair.to_string())
            .join("against.txt");
        let wanted: String = files.iter().map(|file| format!("{}\n", file.blob)).collect();
        crate::base::files::write(&self.checkout.path(&names), wanted.as_bytes(), 0o644)?;
        let blobs = self
            .git(&Command::new(Tool::Git).args(["cat-file", "--batch"]).from_file(names))?
            .ok_or_else(unknown)?;
        let folder = self
            .checkout
            .path(STATE)
            .join("golden")
            .join(pair.to_string())
            .join("against");
        revision::materialise(&files, &blobs, &golden, &folder)?;
        Ok(folder)
    }

    /// Paths of a golden whose content neither Git nor a bless of this checkout knows.
    fn edited(&self, pair: &Pair) -> Result<BTreeSet<Utf8PathBuf>> {
        let golden = pair.golden();
        if !self.checkout.path(&golden).exists() {
            return Ok(BTreeSet::new());
        }
        let status = Command::new(Tool::Git)
            .args([
                "status",
                "--porcelain=v1",
                "-z",
                "--no-renames",
                "--untracked-files=all",
                "--ignored=no",
                "--",
            ])
            .arg(golden.as_str());
        let Some(status) = self.git(&status)? else {
            // Without a repository there is nothing that could be lost against.
            return Ok(BTreeSet::new());
        };
        let blessed = self.remembered(pair);
        // Status names paths from the repository's own root.
        let prefix = Git::of(self.context, &self.checkout)?.prefix()?;
        let changed = revision::changed(&status);
        Ok(changed
            .iter()
            .filter_map(|path| path.strip_prefix(&prefix).unwrap_or(path).strip_prefix(&golden).ok())
            .filter(|path| {
                let now = digest_on_disk(&self.checkout.path(golden.join(path)));
                !blessed.iter().any(|files| files.get(path.as_str()) == Some(&now))
            })
            .map(Utf8Path::to_owned)
            .collect())
    }

    fn memory(&self, pair: &Pair) -> Utf8PathBuf {
        self.checkout
            .path(STATE)
            .join("golden")
            .join(pair.to_string())
            .join("blessed.json")
    }

    /// What the last bless left: digest by path. Two, where a bless was cut off.
    fn remembered(&self, pair: &Pair) -> Vec<BTreeMap<String, String>> {
        let text = fs_err::read_to_string(self.memory(pair)).unwrap_or_default();
        // A memory that cannot be read remembers nothing: then every edit counts as a person's.
        let written = serde_json::from_str::<Written>(&text).unwrap_or_default();
        std::iter::once(written.files).chain(written.next).collect()
    }

    fn remember(&self, pair: &Pair, golden: &Utf8Path, until: Until) -> Result<()> {
        let before = self.remembered(pair);
        let mut next: BTreeMap<String, String> = before
            .iter()
            .flatten()
            .map(|(path, _)| path.clone())
            .map(gone)
            .collect();
        for file in folder::scan(golden)? {
            let digest = digest_on_disk(&golden.join(&file.path));
            next.insert(file.path.into_string(), digest);
        }
        let written = match until {
            Until::Blessed => Written {
                files: before.into_iter().next().unwrap_or_default(),
                next: Some(next),
            },
            Until::Done => Written {
                files: next,
                next: None,
            },
        };
        let text = serde_json::to_string(&written).expect("paths and digests are JSON");
        crate::base::files::write(&self.memory(pair), text.as_bytes(), 0o644)
    }
}

/// A path that a bless removed, now or earlier.
fn gone(path: String) -> (String, String) {
    (path, String::new())
}

/// How far a bless is when it writes down what it made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// The new golden is made, and the old one is still in its place.
    Blessed,
    /// The new one is in its place.
    Done,
}

/// What the last bless of a pair left behind.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    files: BTreeMap<String, String>,
    /// What a bless made that was not seen to take its place.
    #[serde(default)]
    next: Option<BTreeMap<String, String>>,
}

/// The digest of a file; empty when there is none.
fn digest_on_disk(path: &Utf8Path) -> String {
    fs_err::read(path).map(json::sha256).unwrap_or_default()
}

/// Removes a file; absent is fine.
fn remove(path: &Utf8Path) -> Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// What is said of sources that do not go together.
fn one_source() -> Failure {
    Failure::new(
        Kind::Usage,
        "`--source` is `nix`, `render`, or a folder, which may be followed by another rendering of the same",
    )
}

/// Whether a person is far away.
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false")
}

fn nix_build(pair: &Pair) -> Command {
    nix_build_of(&format!("k8s-manifests-{pair}"))
}

/// What a problem changes, line by line.
fn problem_diff(pair: &Pair, golden: &Utf8Path, problem: &Problem) -> String {
    use crate::golden::problem::Fix;
    let read = |path: &Utf8Path| {
        fs_err::read(golden.join(path))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    };
    let name = |side: &str, path: &Utf8Path| format!("{side}/{}", pair.golden().join(path));
    match problem.fix() {
        None => format!("# {}\n", problem.to_string().replace('\n', "\n# ")),
        Some(Fix::Write { path, content }) => {
            let old = read(&path);
            let old_name = if old.is_empty() {
                "/dev/null".to_owned()
            } else {
                name("a", &path)
            };
            diff::unified(&old_name, &old, &name("b", &path), &content)
        }
        Some(Fix::Rewrite { path, rendered }) => match crate::golden::normalize::of_file(&path, &rendered) {
            Ok(content) => diff::unified(&name("a", &path), &read(&path), &name("b", &path), &content),
            Err(failure) => format!("# {}\n", failure.chain()),
        },
        Some(Fix::Remove { path }) => diff::unified(&name("a", &path), &read(&path), "/dev/null", ""),
        Some(Fix::Move { from, to, content }) => {
            diff::unified(&name("a", &from), &read(&from), &name("b", &to), &content)
        }
    }
}

/// Two renderings in their full text.
fn full_diff(pair: &Pair, old: &Utf8Path, new: &Utf8Path) -> Result<String> {
    let mut text = String::new();
    let texts = |folder: &Utf8Path| -> Result<BTreeMap<Utf8PathBuf, String>> {
        crate::golden::folder::scan(folder)?
            .into_iter()
            .map(|file| {
                Ok((
                    file.path.clone(),
                    crate::golden::normalize::full_text(&file.path, &fs_err::read(folder.join(&file.path))?),
                ))
            })
            .collect()
    };
    let (old, new) = (texts(old)?, texts(new)?);
    let paths: BTreeSet<&Utf8PathBuf> = old.keys().chain(new.keys()).collect();
    for path in paths {
        let side = |texts: &BTreeMap<Utf8PathBuf, String>, letter: &str| match texts.get(path) {
            Some(text) => (format!("{letter}/{pair}/{path}"), text.clone()),
            None => ("/dev/null".to_owned(), String::new()),
        };
        let (old_name, old) = side(&old, "a");
        let (new_name, new) = side(&new, "b");
        text.push_str(&diff::unified(&old_name, &old, &new_name, &new));
    }
    Ok(text)
}

/// What `golden check --json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    goldens: Vec<GoldenReport>,
    strays: Vec<Utf8PathBuf>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GoldenReport {
    cluster: String,
    stage: String,
    objects: usize,
    unverified: usize,
    problems: Vec<ProblemReport>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProblemReport {
    name: &'static str,
    fails: bool,
    text: String,
    fix: Option<String>,
}

impl Report {
    fn of(comparisons: &BTreeMap<Pair, Comparison>, strays: &[Utf8PathBuf]) -> Self {
        let goldens = comparisons
            .iter()
            .map(|(pair, comparison)| GoldenReport {
                cluster: pair.cluster.clone(),
                stage: pair.stage.to_string(),
                objects: comparison.objects.len(),
                unverified: comparison.unverified.len(),
                problems: comparison
                    .problems
                    .iter()
                    .map(|problem| ProblemReport {
                        name: problem.name(),
                        fails: problem.fails(),
                        text: problem.to_string(),
                        fix: problem.fix().map(|fix| fix.to_string()),
                    })
                    .collect(),
            })
            .collect();
        Self {
            goldens,
            strays: strays.to_vec(),
        }
    }
}

//! Evaluating and rendering the modules where nixpkgs cannot be had: on nixpkgs' own `lib`, which a published
//! crate carries, and with the renderer run outside Nix.

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::root::STATE;
use crate::call::nix::{NixTests, NixpkgsLib};
use crate::command::{Arg, Command, Tool};
use crate::golden::partial::DescribePartial;
use crate::plan::{Action, Effect, Plan, Section, Step};
use crate::platform::{Platform, Stage};

/// Folder of what is evaluated and rendered.
fn folder() -> Utf8PathBuf {
    Utf8Path::new(STATE).join("nix")
}

/// Folder with nixpkgs' `lib`.
fn library() -> Utf8PathBuf {
    folder().join("nixpkgs")
}

/// The package that pins nixpkgs' `lib`.
const LIBRARY: &str = "xtask/tools/nixpkgs-lib/Cargo.toml";

/// Where the evaluation of `modules/generated.nix` stands.
pub fn generated_path() -> Utf8PathBuf {
    folder().join("generated.json")
}

/// Where the renderings stand, a `<cluster>-<stage>` folder each.
pub fn renderings_path() -> Utf8PathBuf {
    folder().join("rendered")
}

/// Steps that put nixpkgs' `lib` in place. `group` is the first part of their ids.
fn library_steps(group: &str) -> Vec<Step> {
    let metadata = folder().join("library.json");
    vec![
        Step::new(
            &format!("{group}.fetch"),
            "Fetch the crate that carries nixpkgs' lib",
            "The modules evaluate on it alone; nixpkgs itself is not needed.",
            Effect::Local,
            Action::Run(
                Command::new(Tool::Cargo)
                    .args(["metadata", "--locked", "--format-version=1"])
                    .flag_path("--manifest-path", LIBRARY)
                    .to_file(&metadata)
                    .within(300),
            ),
        ),
        Step::new(
            &format!("{group}.place"),
            "Place nixpkgs' lib where Nix looks for it",
            "The crate has it among its test data, without the version file that it reads.",
            Effect::Local,
            Action::task(NixpkgsLib {
                metadata,
                to: library(),
            }),
        ),
    ]
}

fn evaluate(arguments: &[&str]) -> Command {
    Command::new(Tool::NixInstantiate)
        .args(["--eval", "--strict", "--json"])
        .args(["--option", "allow-import-from-derivation", "false"])
        .arg("-I")
        .arg(format!("nixpkgs={}", library()))
        .args(arguments.iter().copied())
        .within(600)
}

/// Runs every Nix test.
pub fn tests(group: &str) -> Section {
    let result = folder().join("tests.json");
    let mut steps = library_steps(group);
    steps.push(Step::new(
        &format!("{group}.evaluate"),
        "Evaluate every Nix test",
        "Platform config, stages, components, NixOS, Terraform and the template of a consumer.",
        Effect::Local,
        Action::Run(evaluate(&["modules/tests", "--arg", "inputs", "{ }"]).to_file(&result)),
    ));
    steps.push(Step::new(
        &format!("{group}.judge"),
        "Read what the Nix tests found",
        "An evaluation that ends well may still hold failures.",
        Effect::Read,
        Action::task(NixTests { result }),
    ));
    Section::new(
        group,
        "Run every Nix test",
        "Platform config, stages, components, NixOS, Terraform and the template of a consumer.",
    )
    .with_all(steps)
}

/// Evaluates what the generated files are made from.
pub fn generated() -> Plan {
    let mut plan = Plan::new("generate");
    let section = Section::new(
        "generated",
        "Evaluate the generated files",
        "They are made from the modules, and from nothing else.",
    )
    .with_all(library_steps("library"))
    .with(Step::new(
        "generated.evaluate",
        "Evaluate the generated files",
        "They are made from the modules, and from nothing else.",
        Effect::Local,
        Action::Run(evaluate(&["--expr", "import ./modules/generated.nix { }"]).to_file(generated_path())),
    ));
    plan.sections.push(section);
    plan
}

/// Renders stages outside Nix. Charts whose sources are not available are left out and named.
pub fn render(group: &str, platform: &Platform, pairs: &[(String, Stage)]) -> Section {
    let mut steps = library_steps(group);
    steps.push(Step::new(
        &format!("{group}.clear"),
        "Remove earlier renderings",
        "The renderer writes into an empty folder only.",
        Effect::Local,
        Action::Remove {
            path: renderings_path(),
        },
    ));
    for (cluster, stage) in pairs
        .iter()
        .filter(|(cluster, _)| platform.clusters.contains_key(cluster))
    {
        let pair = format!("{cluster}-{stage}");
        let spec = folder().join(format!("{pair}.json"));
        steps.push(evaluate_pair(group, &pair, &spec));
        steps.extend(render_pair(
            group,
            &pair,
            &spec,
            &renderings_path().join(&pair),
            Charts::Missing,
        ));
    }
    Section::new(group, "Render the stages", "The same script that the derivation runs.").with_all(steps)
}

/// Whether a renderer has charts to render.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charts {
    /// Sources of some can be had, and Helm renders them.
    Here,
    /// Their sources cannot be had.
    Missing,
}

fn evaluate_pair(group: &str, pair: &str, spec: &Utf8Path) -> Step {
    Step::new(
        &format!("{group}.evaluate-{pair}"),
        format!("Evaluate {pair}"),
        "The renderer reads one JSON spec.",
        Effect::Local,
        Action::Run(evaluate(&["modules", "-A"]).arg(format!("specs.{pair}")).to_file(spec)),
    )
}

/// Renders a spec to a folder that is not there yet, and says what is missing in it.
fn render_pair(group: &str, pair: &str, spec: &Utf8Path, rendering: &Utf8Path, charts: Charts) -> [Step; 2] {
    let mut tools = vec![Tool::Jq, Tool::Yq];
    if charts == Charts::Here {
        tools.push(Tool::Helm);
    }
    [
        Step::new(
            &format!("{group}.render-{pair}"),
            format!("Render {pair}"),
            "The same script that the derivation runs.",
            Effect::Local,
            Action::Run(
                Command::new(Tool::Bash)
                    .args(["modules/k8s/render.sh", "--skip-missing"])
                    .arg(spec)
                    .arg(rendering)
                    .env("PATH", Arg::SearchPath(tools))
                    .within(600),
            ),
        ),
        Step::new(
            &format!("{group}.describe-{pair}"),
            format!("Describe what {pair} lacks"),
            "Of charts whose sources are not available the golden has objects, and the whole is made of both.",
            Effect::Local,
            Action::task(DescribePartial {
                spec: spec.to_owned(),
                rendering: rendering.to_owned(),
            }),
        ),
    ]
}

/// What rendering one pair starts.
pub const TOOLS: [Tool; 5] = [Tool::Cargo, Tool::NixInstantiate, Tool::Bash, Tool::Jq, Tool::Yq];

/// The files of a checkout that a rendering begins with: the modules, and the pin of nixpkgs' `lib`.
pub const ENTRIES: [&str; 2] = ["modules/default.nix", LIBRARY];

/// Folder of what a pair was rendered to for a run, by what it was rendered from.
pub fn kept_path(cluster: &str, stage: Stage) -> Utf8PathBuf {
    folder().join("kept").join(format!("{cluster}-{stage}"))
}

/// Evaluates one pair to a file.
pub fn evaluate_one(cluster: &str, stage: Stage, spec: &Utf8Path) -> Vec<Step> {
    let mut steps = library_steps("library");
    steps.push(evaluate_pair("source", &format!("{cluster}-{stage}"), spec));
    steps
}

/// Renders one pair from the file that it was evaluated to.
pub fn render_one(cluster: &str, stage: Stage, spec: &Utf8Path, to: &Utf8Path, charts: Charts) -> Vec<Step> {
    render_pair("source", &format!("{cluster}-{stage}"), spec, to, charts).into()
}

/// Every (cluster, stage) pair of the platform config.
pub fn pairs(platform: &Platform) -> Vec<(String, Stage)> {
    platform
        .clusters
        .iter()
        .flat_map(|(name, cluster)| cluster.stages.keys().map(move |stage| (name.clone(), *stage)))
        .collect()
}

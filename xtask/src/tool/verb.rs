//! The verbs `tools` and `doctor`: what there is, where it was found, and what to do about the rest.
//! Their output is data and goes to stdout; looking and building are the toolbox's.

use clap::ValueEnum;
use serde::Serialize;

use super::find::{Lookup, Origin, Outcome};
use super::table::{self, Module, Places};
use super::{Toolbox, build, cache};
use crate::base::failure::{Failure, Kind, Result};
use crate::base::text::{bytes, plural, seconds, unknown};
use crate::base::ui::{self, Ui};
use crate::command::Tool;

/// What `tools` does.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ToolsVerb {
    /// List every tool: where it is found, its version, what is required
    #[command(
        visible_alias = "ls",
        after_help = "Examples:
  cargo xtask tools list
  cargo xtask tools list --json"
    )]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Build every tool that Go can build, also what PATH has, and print the cache's folder and key
    #[command(after_help = "Examples:
  cargo xtask tools build
  cargo xtask tools build kluctl kubectl --dry-run")]
    Build {
        /// Tools to build; all that Go can build when left out
        #[arg(value_name = "TOOL")]
        tools: Vec<Tool>,
        /// Print folder and key, and build nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the path of a tool, building it first if need be
    #[command(after_help = "Examples:
  cargo xtask tools path kubectl
  cargo xtask tools path sops")]
    Path {
        /// The tool
        #[arg(value_name = "TOOL")]
        tool: Tool,
    },
}

/// Show where each tool was found, or how to get it; exit 5 without
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask doctor
  cargo xtask doctor --for deploy --json")]
pub struct DoctorArgs {
    /// Only what this verb needs
    #[arg(long = "for", value_name = "VERB")]
    pub verb: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `doctor --json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The verb that was asked about.
    verb: Option<String>,
    /// Folder of the tools that Go built; null when there can be none.
    cache: Option<String>,
    /// Kubernetes version whose minor is required.
    kubernetes: String,
    /// True when nothing that is needed is missing.
    ready: bool,
    tools: Vec<Line>,
}

/// A tool in the report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    tool: Tool,
    needed: bool,
    why: &'static str,
    requirement: Option<String>,
    state: State,
    origin: Option<Origin>,
    path: Option<String>,
    version: Option<String>,
    /// What is wrong, or what will be built.
    detail: Option<String>,
    passed_over: Vec<Passed>,
    remedies: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Passed {
    path: String,
    reason: String,
}

/// How a tool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// Usable.
    Found,
    /// Not there; Go builds it on first use.
    Buildable,
    /// Not there, and nothing here can provide it.
    Missing,
    /// There, and not to be trusted or not what its variable promises.
    Broken,
}

impl State {
    fn will_do(self) -> bool {
        matches!(self, Self::Found | Self::Buildable)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Buildable => "buildable",
            Self::Missing => "missing",
            Self::Broken => "broken",
        }
    }
}

/// Runs `tools …`.
pub fn tools(toolbox: &Toolbox, ui: &Ui, verb: &ToolsVerb) -> Result<()> {
    match verb {
        ToolsVerb::List { json } => {
            let report = report(toolbox, None, Depth::Sizes)?;
            if *json {
                ui.json(1, &report)
            } else {
                ui.data(text(&report))
            }
        }
        ToolsVerb::Build { tools, dry_run } => prebuild(toolbox, ui, tools, *dry_run),
        ToolsVerb::Path { tool } => ui.data(toolbox.ensure_one(*tool)?.path.as_str()),
    }
}

/// Runs `doctor`: exit 5 when something that is needed is neither there nor can be built. The verbs are those that
/// may be asked about.
pub fn doctor(toolbox: &Toolbox, ui: &Ui, args: &DoctorArgs, verbs: &[&str]) -> Result<()> {
    if let Some(verb) = &args.verb
        && !verbs.contains(&verb.as_str())
    {
        return Err(unknown(Kind::Usage, "verb", verb, verbs.iter().copied()));
    }
    let report = report(toolbox, args.verb.as_deref(), Depth::Digests)?;
    if args.json {
        ui.json(1, &report)?;
    } else {
        ui.data(text(&report))?;
    }
    verdict(&report)
}

/// The failure of a report in which something that is needed is missing.
fn verdict(report: &Report) -> Result<()> {
    let missing: Vec<String> = report
        .tools
        .iter()
        .filter(|line| line.needed && !line.state.will_do())
        .map(|line| {
            let detail = line.detail.as_deref().unwrap_or("not found");
            format!("`{}`, needed to {}: {detail}", line.tool.program(), line.why)
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::many(
        Kind::Preflight,
        format!("{} missing", plural(missing.len(), "tool")),
        &missing,
    )
    .hinted("the remedy of each stands in the list above"))
}

fn prebuild(toolbox: &Toolbox, ui: &Ui, tools: &[Tool], dry_run: bool) -> Result<()> {
    let buildable: Vec<Tool> = Tool::value_variants()
        .iter()
        .copied()
        .filter(|tool| table::module(*tool).is_some())
        .collect();
    for tool in tools {
        if !buildable.contains(tool) {
            let remedies = table::row(*tool).remedies;
            return Err(remedies.iter().fold(
                Failure::preflight(format!("`{}` is not built from here", tool.program())),
                |failure, remedy| failure.hinted(remedy),
            ));
        }
    }
    let wanted = if tools.is_empty() { &buildable[..] } else { tools };
    let modules = build::modules_of(wanted);
    let folder = toolbox.cache_folder()?;
    if !dry_run {
        toolbox.prebuild(wanted)?;
    }
    let Outcome::Found(go) = &toolbox.go().outcome else {
        return Err(
            Failure::preflight("without Go there is no cache key").hinted("`cargo xtask doctor` shows the remedy")
        );
    };
    if dry_run {
        let missing: Vec<&'static Module> = modules
            .iter()
            .copied()
            .filter(|module| cache::entry(&folder, module, Some(&go.says)).is_none())
            .collect();
        ui.status(
            ui::Status::Skipped,
            format!(
                "{} to build, about {} as measured on 2 cores with empty caches",
                plural(missing.len(), "module"),
                seconds(build::expected(&missing))
            ),
        );
    }
    let key = build::runner_key(&modules, &go.says);
    ui.data(format!("folder={folder}\nkey={key}"))
}

/// How closely entries of the cache are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// As every run does.
    Sizes,
    /// Byte by byte.
    Digests,
}

fn report(toolbox: &Toolbox, verb: Option<&str>, depth: Depth) -> Result<Report> {
    let needed: Vec<Tool> = match verb {
        Some(verb) => table::for_verb(verb).to_vec(),
        // The main job on a fresh machine.
        None => table::EMBEDDED.to_vec(),
    };
    let shown: Vec<Tool> = match verb {
        Some(_) => needed.clone(),
        None => Tool::value_variants().to_vec(),
    };
    let mut tools = Vec::new();
    for lookup in toolbox.look(&shown) {
        let needed = needed.contains(&lookup.tool);
        tools.push(line(toolbox, &lookup, needed, depth)?);
    }
    Ok(Report {
        verb: verb.map(str::to_owned),
        cache: toolbox.cache_folder().ok().map(|folder| folder.into_string()),
        kubernetes: toolbox.kubernetes.clone(),
        ready: tools.iter().all(|line| !line.needed || line.state.will_do()),
        tools,
    })
}

fn line(toolbox: &Toolbox, lookup: &Lookup, needed: bool, depth: Depth) -> Result<Line> {
    let row = table::row(lookup.tool);
    let mut line = Line {
        tool: lookup.tool,
        needed,
        why: row.why,
        requirement: row
            .requirement
            .range(&toolbox.kubernetes)
            .map(|range| range.to_string()),
        state: State::Missing,
        origin: None,
        path: None,
        version: None,
        detail: None,
        passed_over: lookup
            .passed
            .iter()
            .map(|passed| Passed {
                path: passed.path.to_string(),
                reason: passed.reason.clone(),
            })
            .collect(),
        remedies: Vec::new(),
    };
    if let Some(altered) = lookup.passed.iter().find(|passed| passed.is_altered()) {
        line.state = State::Broken;
        line.path = Some(altered.path.to_string());
        line.detail = Some(altered.reason.clone());
        if let Some(entry) = altered.path.parent().and_then(camino::Utf8Path::parent) {
            line.remedies = vec![format!(
                "remove `{entry}`: it is built again on next use, and not started before"
            )];
        }
        return Ok(line);
    }
    match &lookup.outcome {
        Outcome::Found(found) => {
            line.state = State::Found;
            line.origin = Some(found.origin);
            line.path = Some(found.path.to_string());
            line.version = found.version.as_ref().map(ToString::to_string);
            if depth == Depth::Digests
                && found.origin == Origin::Cache
                && let Some((module, _)) = table::module(lookup.tool)
                && let Some(entry) = found.path.parent().and_then(|bin| bin.parent())
                && !cache::is_unaltered(entry, module, lookup.tool.program())?
            {
                line.state = State::Broken;
                line.detail = Some("is not what was built: its digest differs".to_owned());
                line.remedies = vec![format!("remove `{entry}`: it is built again on next use")];
            }
        }
        Outcome::Buildable(module) => match toolbox.build_trouble(module) {
            None => {
                line.state = State::Buildable;
                line.detail = Some(format!(
                    "Go builds {} {} on first use, in about {} with up to {} of disk",
                    module.name,
                    module.version,
                    seconds(build::expected(&[module])),
                    bytes(module.mebibytes << 20)
                ));
            }
            Some(trouble) => {
                line.detail = Some("Go could build it".to_owned());
                line.remedies = row.remedies.iter().map(ToString::to_string).collect();
                line.remedies.push(trouble);
            }
        },
        Outcome::Missing => line.remedies = row.remedies.iter().map(ToString::to_string).collect(),
        Outcome::Refused(reason) => {
            line.state = State::Broken;
            line.detail = Some(reason.clone());
            if row.places != Places::Itself {
                line.remedies = vec![format!("mend or unset `{}`", table::variable(lookup.tool))];
            }
        }
    }
    Ok(line)
}

/// The report for people: a line a tool, its remedies below it.
fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut write = |indent: usize, words: &str| {
        text.push_str(&" ".repeat(indent));
        text.push_str(words.trim_end());
        text.push('\n');
    };
    if let (Some(verb), true) = (&report.verb, report.tools.is_empty()) {
        write(0, &format!("`{verb}` needs no tool"));
    }
    for line in &report.tools {
        let place = line.path.as_deref().or(line.detail.as_deref()).unwrap_or_default();
        let requirement = line
            .requirement
            .as_deref()
            .map_or_else(String::new, |range| format!(" ({range})"));
        write(
            0,
            &format!(
                "{:<24} {:<10} {:<10} {place}{requirement}",
                line.tool.program(),
                line.version.as_deref().unwrap_or("-"),
                line.state.word(),
            ),
        );
        for passed in &line.passed_over {
            write(25, &format!("passed over {}: {}", passed.path, passed.reason));
        }
        if line.path.is_some()
            && let Some(detail) = &line.detail
        {
            write(25, detail);
        }
        if !line.state.will_do() {
            let need = if line.needed { "needed to" } else { "only needed to" };
            write(25, &format!("{need} {}", line.why));
            for remedy in line.remedies.iter().flat_map(|remedy| remedy.lines()) {
                write(25, remedy);
            }
        }
    }
    if let Some(cache) = &report.cache {
        write(0, &format!("built tools are kept in {cache}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::fake::{Fake, GO};

    fn line(report: &Report, tool: Tool) -> &Line {
        report.tools.iter().find(|line| line.tool == tool).unwrap()
    }

    #[test]
    fn what_go_will_build_counts_as_ready() {
        let fake = Fake::new();
        fake.go(GO, "");
        fake.program("git", "echo 'git version 2.47.0'");
        let report = report(&fake.toolbox(&[]), Some("local-up"), Depth::Digests).unwrap();
        assert!(report.ready);
        assert!(verdict(&report).is_ok());
        let kluctl = line(&report, Tool::Kluctl);
        assert_eq!(kluctl.state, State::Buildable);
        assert!(kluctl.detail.as_ref().unwrap().contains("2.22.1"), "{kluctl:?}");
    }

    #[test]
    fn without_go_each_tool_has_its_remedy_and_gos_and_the_exit_code_is_5() {
        let fake = Fake::new();
        let report = report(&fake.toolbox(&[]), Some("local-up"), Depth::Digests).unwrap();
        assert!(!report.ready);
        for line in &report.tools {
            assert_eq!(line.state, State::Missing);
            let of_go = line.remedies.iter().any(|remedy| remedy.contains("`go`"));
            assert_eq!(of_go, table::module(line.tool).is_some(), "{line:?}");
            assert!(!line.remedies.is_empty(), "{line:?}");
        }
        let failure = verdict(&report).unwrap_err();
        assert_eq!(failure.kind.exit_code(), 5);
        assert!(failure.chain().contains("`kluctl`") && failure.chain().contains("`kube-apiserver`"));
    }

    #[test]
    fn what_only_other_verbs_need_does_not_decide() {
        let fake = Fake::new();
        fake.go(GO, "");
        fake.program("git", "echo 'git version 2.47.0'");
        let report = report(&fake.toolbox(&[]), None, Depth::Digests).unwrap();
        assert_eq!(line(&report, Tool::Colima).state, State::Missing);
        assert!(!line(&report, Tool::Colima).needed);
        assert!(report.ready);
        assert_eq!(report.tools.len(), Tool::value_variants().len());
    }

    #[test]
    fn a_tool_whose_bytes_changed_is_broken_and_its_remedy_names_the_folder() {
        let fake = Fake::new();
        fake.go(GO, "");
        let toolbox = fake.toolbox(&[]);
        let path = toolbox.ensure_one(Tool::Etcd).unwrap().path;
        let text = fs_err::read_to_string(&path).unwrap();
        fs_err::write(&path, text.replace("3.6.15", "9.9.99")).unwrap();
        let report = report(&toolbox, Some("local-up"), Depth::Digests).unwrap();
        let etcd = line(&report, Tool::Etcd);
        assert_eq!(etcd.state, State::Broken);
        assert!(
            etcd.remedies[0].contains(path.parent().unwrap().parent().unwrap().as_str()),
            "{etcd:?}"
        );
        assert_eq!(verdict(&report).unwrap_err().kind, Kind::Preflight);
    }

    #[test]
    fn what_was_passed_over_is_shown_to_people_and_programs() {
        let fake = Fake::new();
        fake.go(GO, "");
        let wrong = fake.program("etcd", "echo 'etcd Version: 2.3.8'");
        let report = report(&fake.toolbox(&[]), Some("local-up"), Depth::Sizes).unwrap();
        let json = serde_json::to_value(&report).unwrap();
        let etcd = json["tools"]
            .as_array()
            .unwrap()
            .iter()
            .find(|line| line["tool"] == "etcd")
            .unwrap();
        assert_eq!(etcd["passedOver"][0]["path"], wrong.as_str());
        assert_eq!(etcd["state"], "buildable");
        assert!(text(&report).contains(&format!("passed over {wrong}: is version 2.3.8")));
    }

    #[test]
    fn a_verb_that_is_not_known_is_a_usage_error_with_the_nearest_name() {
        let fake = Fake::new();
        let asked = DoctorArgs {
            verb: Some("locl-up".to_owned()),
            json: false,
        };
        let failure = doctor(&fake.toolbox(&[]), &Ui::plain(), &asked, &["local-up", "deploy"]).unwrap_err();
        assert_eq!(failure.kind, Kind::Usage);
        assert!(failure.hints[0].contains("local-up"), "{failure:?}");
    }

    #[test]
    fn a_tool_that_go_cannot_build_is_not_prebuilt() {
        let fake = Fake::new();
        fake.go(GO, "");
        let failure = prebuild(&fake.toolbox(&[]), &Ui::plain(), &[Tool::Etcd, Tool::Nix], false).unwrap_err();
        assert_eq!(failure.kind, Kind::Preflight);
        assert!(failure.chain().contains("`nix`"));
        assert!(!failure.hints.is_empty());
        assert_eq!(fake.builds(), [""; 0]);
    }

    #[test]
    fn a_runners_key_changes_with_the_tools_and_with_go_and_with_nothing_else() {
        let all = build::modules_of(Tool::value_variants());
        let key = build::runner_key(&all, GO);
        assert_eq!(key, build::runner_key(&all, GO));
        assert_ne!(key, build::runner_key(&all[1..], GO));
        assert_ne!(key, build::runner_key(&all, "go version go1.26.9 linux/amd64"));
    }

    #[test]
    fn a_prebuilt_cache_does_not_depend_on_what_path_has() {
        let fake = Fake::new();
        fake.go(GO, "");
        fake.program("etcd", "echo 'etcd Version: 3.6.1'");
        let toolbox = fake.toolbox(&[]);
        toolbox.prebuild(&[Tool::Etcd, Tool::Age]).unwrap();
        toolbox.prebuild(&[Tool::Etcd, Tool::Age]).unwrap();
        assert_eq!(fake.builds().len(), 3);
    }
}

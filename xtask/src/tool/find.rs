//! Where a tool is found: its variable, PATH, or the cache of what Go built.
//! It builds nothing and writes nothing.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use semver::Version;
use serde::Serialize;

use super::process::{self, Answer, Call};
use super::table::{self, Module, Places, Reading};
use super::{Toolbox, cache, version};

use crate::base::process::environment;
use crate::command::Tool;

/// How long a program may take to tell its version. Some unpack themselves on their first start.
const PROBE_LIMIT: Duration = Duration::from_secs(20);

/// A tool that will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Absolute path of the program.
    pub path: Utf8PathBuf,
    /// Its version, if it tells one.
    pub version: Option<Version>,
    /// The first line it said about itself.
    pub says: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a tool came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Its variable.
    Variable,
    /// PATH; inside the flake's shell that is the flake's.
    Path,
    /// The cache of what Go built.
    Cache,
    /// This process's own file.
    Itself,
}

/// A program of the right name that will not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Where it lies.
    pub path: Utf8PathBuf,
    /// Why not.
    pub reason: String,
}

/// Why a program of the cache is passed over whose bytes are not those that were built.
const ALTERED: &str = "is not what was built: its digest differs";

impl PassedOver {
    /// Whether somebody changed it since it was built.
    pub fn is_altered(&self) -> bool {
        self.reason == ALTERED
    }
}

/// What came of looking for a tool.
#[derive(Debug)]
pub struct Lookup {
    /// The tool.
    pub tool: Tool,
    /// What came of it.
    pub outcome: Outcome,
    /// What was passed over on the way.
    pub passed: Vec<PassedOver>,
}

/// What came of looking for a tool.
#[derive(Debug)]
pub enum Outcome {
    /// It is there.
    Found(Found),
    /// It is not, and Go can build it.
    Buildable(&'static Module),
    /// It is not, and somebody else must provide it.
    Missing,
    /// Its variable leads to something that will not do; nothing else is taken in its place.
    Refused(String),
}

impl Lookup {
    /// What was passed over, as the end of a sentence.
    pub(super) fn passed_over(&self) -> String {
        self.passed
            .iter()
            .map(|passed| format!("; passed over `{}`, which {}", passed.path, passed.reason))
            .collect()
    }
}

/// Looks in every place, in order.
pub(super) fn look(toolbox: &Toolbox, tool: Tool) -> Lookup {
    let row = table::row(tool);
    let mut passed = Vec::new();
    let outcome = 'outcome: {
        if row.places == Places::Itself {
            break 'outcome itself();
        }
        if let Some(outcome) = by_variable(toolbox, tool) {
            break 'outcome outcome;
        }
        if row.places == Places::All
            && let Some(found) = on_path(toolbox, tool, &mut passed)
        {
            break 'outcome Outcome::Found(found);
        }
        let Some((module, _)) = table::module(tool) else {
            break 'outcome Outcome::Missing;
        };
        if let Some(found) = in_cache(toolbox, tool, module) {
            break 'outcome Outcome::Found(found);
        }
        let altered = toolbox
            .cache_folder()
            .map(|folder| cache::altered(&folder, module, toolbox.go_says()));
        passed.extend(altered.unwrap_or_default().into_iter().map(|path| PassedOver {
            path,
            reason: ALTERED.to_owned(),
        }));
        if builds_here(toolbox, tool, module) {
            Outcome::Buildable(module)
        } else {
            Outcome::Missing
        }
    };
    Lookup { tool, outcome, passed }
}

fn itself() -> Outcome {
    let path = std::env::current_exe().map_err(|error| error.to_string());
    let path = path
        .and_then(|path| Utf8PathBuf::from_path_buf(path).map_err(|path| format!("`{}` is not UTF-8", path.display())));
    match path {
        Ok(path) => Outcome::Found(Found {
            path,
            version: Version::parse(env!("CARGO_PKG_VERSION")).ok(),
            says: format!("xtask {}", env!("CARGO_PKG_VERSION")),
            origin: Origin::Itself,
        }),
        Err(reason) => Outcome::Refused(format!("cannot find its own file: {reason}")),
    }
}

fn by_variable(toolbox: &Toolbox, tool: Tool) -> Option<Outcome> {
    let name = table::variable(tool);
    let given = toolbox.variable(&name)?;
    let refused = |reason: String| Some(Outcome::Refused(reason));
    let Some(path) = given.to_str().map(Utf8Path::new) else {
        return refused(format!("`{name}` is not UTF-8"));
    };
    if !path.is_absolute() {
        return refused(format!("`{name}={path}` must be an absolute path"));
    }
    if !is_program(path) {
        return refused(format!("`{name}={path}` is not an executable file"));
    }
    match judge(toolbox, tool, path) {
        Ok((version, says)) => Some(Outcome::Found(Found {
            path: path.to_owned(),
            version,
            says,
            origin: Origin::Variable,
        })),
        Err(reason) => refused(format!("`{name}={path}` {reason}")),
    }
}

fn on_path(toolbox: &Toolbox, tool: Tool, passed: &mut Vec<PassedOver>) -> Option<Found> {
    let mut seen = BTreeSet::new();
    for folder in std::env::split_paths(toolbox.variable("PATH")?) {
        // A relative entry means another program in each folder: it is not for us.
        let Some(folder) = Utf8PathBuf::from_path_buf(folder)
            .ok()
            .filter(|folder| folder.is_absolute())
        else {
            continue;
        };
        let path = folder.join(tool.program());
        if !is_program(&path) {
            continue;
        }
        // `/bin` is often `/usr/bin`: one program is asked once.
        let whole = path.canonicalize_utf8().unwrap_or_else(|_| path.clone());
        if !seen.insert(whole) {
            continue;
        }
        match judge(toolbox, tool, &path) {
            Ok((version, says)) => {
                return Some(Found {
                    path,
                    version,
                    says,
                    origin: Origin::Path,
                });
            }
            Err(reason) => passed.push(PassedOver { path, reason }),
        }
    }
    None
}

fn in_cache(toolbox: &Toolbox, tool: Tool, module: &'static Module) -> Option<Found> {
    let folder = toolbox.cache_folder().ok()?;
    // What is pinned may still be the wrong minor for this cluster.
    let version = Version::parse(module.version).ok()?;
    if let Some(range) = table::row(tool).requirement.range(&toolbox.kubernetes)
        && !version::fits(&range, &version)
    {
        return None;
    }
    let entry = cache::entry(&folder, module, toolbox.go_says())?;
    Some(Found {
        path: entry.join("bin").join(tool.program()),
        says: format!("{} {}", module.name, module.version),
        version: Some(version),
        origin: Origin::Cache,
    })
}

/// Whether what Go would build fits the cluster and this host.
fn builds_here(toolbox: &Toolbox, tool: Tool, module: &'static Module) -> bool {
    let fits = match (
        table::row(tool).requirement.range(&toolbox.kubernetes),
        Version::parse(module.version),
    ) {
        (Some(range), Ok(version)) => version::fits(&range, &version),
        _ => true,
    };
    // kluctl carries a Python that looks for its loader where NixOS has none: there only the packaged one runs.
    let runs = tool != Tool::Kluctl || !Utf8Path::new("/etc/NIXOS").exists();
    fits && runs
}

fn is_program(path: &Utf8Path) -> bool {
    fs_err::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Asks a program what it is; an error says why it will not do and completes "which".
pub(super) fn judge(
    toolbox: &Toolbox,
    tool: Tool,
    path: &Utf8Path,
) -> std::result::Result<(Option<Version>, String), String> {
    let row = table::row(tool);
    if row.probe.reading == Reading::Unasked {
        return Ok((None, String::new()));
    }
    let answer = ask(toolbox, tool, path, row.probe.arguments)?;
    let says = first_line(&answer);
    if !answer.success {
        return Err(match says.as_str() {
            "" => format!("does not tell its version: {}", answer.ended),
            line => format!("does not tell its version: {}: {line}", answer.ended),
        });
    }
    let version = match row.probe.reading {
        Reading::First => version::first(&answer.stdout).or_else(|| version::first(&answer.stderr)),
        Reading::LastOfFirstLine => version::last_word_of_first_line(&answer.stdout),
        Reading::Pointer(pointer) => version::at_pointer(&answer.stdout, pointer),
        Reading::Kluctl => match version::first(&answer.stdout) {
            Some(version) if version == Version::new(0, 0, 0) => Some(kluctl_by_its_flags(toolbox, path)?),
            other => other,
        },
        Reading::KislyukYq => {
            // As printed by 2.x, 3.x and the Debian package; the Go program says "yq is a portable command-line".
            if !answer.stdout.contains("jq") || answer.stdout.contains("portable command-line") {
                return Err("is another program of that name".to_owned());
            }
            return Ok((None, says));
        }
        Reading::Answers => return Ok((None, says)),
        Reading::Unasked => None,
    };
    let Some(version) = version else {
        return Err(format!("tells no version that can be read: `{says}`"));
    };
    match row.requirement.range(&toolbox.kubernetes) {
        Some(range) if !version::fits(&range, &version) => Err(format!("is version {version}")),
        _ => Ok((Some(version), says)),
    }
}

/// A kluctl built without its version says `0.0.0`. Its flags tell the two generations apart: 2.28 has both
/// of these on `deploy`, 2.22 neither.
fn kluctl_by_its_flags(toolbox: &Toolbox, path: &Utf8Path) -> std::result::Result<Version, String> {
    let answer = ask(toolbox, Tool::Kluctl, path, &["deploy", "--help"])?;
    let has = |flag: &str| answer.stdout.contains(flag) || answer.stderr.contains(flag);
    if has("--discriminator") && has("--kubeconfig") {
        Ok(Version::new(2, 28, 0))
    } else if has("--write-command-result") {
        Ok(Version::new(2, 22, 0))
    } else {
        Err("says 0.0.0, and has the flags of neither 2.22 nor 2.28".to_owned())
    }
}

fn ask(toolbox: &Toolbox, tool: Tool, path: &Utf8Path, arguments: &[&str]) -> std::result::Result<Answer, String> {
    // Whatever has the right name on PATH is started: it gets nothing that is not for every program, but where rustup
    // keeps the programs that its `cargo` starts.
    let mut environment = environment::listed(&toolbox.environment, &["RUSTUP_HOME", "CARGO_HOME"]);
    // None of these looks for a newer version of itself, for that is a connection nobody asked for.
    for (name, value) in [
        ("CLUSTERCTL_DISABLE_VERSIONCHECK", "true"),
        ("CHECKPOINT_DISABLE", "true"),
        ("SOPS_DISABLE_VERSION_CHECK", "true"),
        ("KUBERC", "off"),
        ("GOTOOLCHAIN", "local"),
        ("LC_ALL", "C"),
    ] {
        environment.insert(name.into(), value.into());
    }
    // A version needs no cluster: these read kubeconfigs at each start.
    environment.insert("KLUCTL_NO_UPDATE_CHECK".into(), "true".into());
    environment.insert("KUBECONFIG".into(), "/dev/null".into());
    if tool.speaks_to_clusters() {
        environment.insert("HOME".into(), "/nonexistent".into());
    }
    let call = Call {
        program: path,
        arguments,
        environment: &environment,
        folder: None,
    };
    process::ask(&call, PROBE_LIMIT).map_err(|silence| silence.to_string())
}

fn first_line(answer: &Answer) -> String {
    let line = |text: &str| {
        let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
        Some(line.chars().take(200).collect::<String>())
    };
    line(&answer.stdout)
        .or_else(|| line(&answer.stderr))
        .unwrap_or_default()
}

//! Tools: which there are, where one is found, and how Go builds one that nothing provides.
//! It downloads nothing by itself and decides nothing about clusters; what a tool is told is a plan's business.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use camino::{Utf8Path, Utf8PathBuf};
use semver::Version;

use crate::base::failure::{Failure, Kind, Result};
use crate::base::text::plural;
use crate::base::ui::{Status, Ui, Verbosity};
use crate::command::Tool;

mod build;
mod cache;
#[cfg(test)]
mod fake;
mod find;
mod process;
pub mod table;
pub mod verb;
pub mod version;

#[cfg(test)]
mod tests;

pub use find::{Found, Lookup, Origin, Outcome, PassedOver};

/// Everything that decides where tools come from. Cheap to share, looks at the host only when asked.
pub struct Toolbox {
    ui: Ui,
    /// The whole environment of this process; children get it from here, so that nothing else decides.
    environment: BTreeMap<OsString, OsString>,
    /// The Kubernetes version whose minor kubectl and a control plane must have.
    kubernetes: String,
    /// Set when the person wants to stop.
    interrupted: Arc<AtomicBool>,
    /// Go is looked for at most once.
    go: OnceLock<Lookup>,
}

/// Tools that were found or built; a plan's tools are all here before its first step.
#[derive(Debug, Default)]
pub struct Tools {
    found: BTreeMap<Tool, Found>,
}

impl Tools {
    /// Where a tool lies.
    pub fn path(&self, tool: Tool) -> Result<&Utf8Path> {
        Ok(&self.found(tool)?.path)
    }

    /// Where it lies, where it came from, and its version.
    pub fn found(&self, tool: Tool) -> Result<&Found> {
        self.found.get(&tool).ok_or_else(|| {
            // A plan that names a tool which nobody ensured is a bug: there is no hint for a person.
            Failure::unexpected(format!("`{}` is used, but was never looked for", tool.program()))
        })
    }

    /// Its version; none for tools that do not tell it.
    pub fn version(&self, tool: Tool) -> Option<&Version> {
        self.found.get(&tool)?.version.as_ref()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Tool, &Found)> {
        self.found.iter().map(|(tool, found)| (*tool, found))
    }
}

impl Toolbox {
    /// A toolbox for this host. `kubernetes` is the version in the platform config; `interrupted` is set by
    /// whoever handles Ctrl-C.
    pub fn new(ui: &Ui, kubernetes: impl Into<String>, interrupted: &Arc<AtomicBool>) -> Self {
        Self::with_environment(ui, std::env::vars_os().collect(), kubernetes, interrupted)
    }

    fn with_environment(
        ui: &Ui,
        environment: BTreeMap<OsString, OsString>,
        kubernetes: impl Into<String>,
        interrupted: &Arc<AtomicBool>,
    ) -> Self {
        Self {
            ui: ui.clone(),
            environment,
            kubernetes: kubernetes.into(),
            interrupted: Arc::clone(interrupted),
            go: OnceLock::new(),
        }
    }

    /// Looks for tools without building any, several at a time: each is started once to tell its version.
    pub fn look(&self, tools: &[Tool]) -> Vec<Lookup> {
        std::thread::scope(|scope| {
            let looking: Vec<_> = tools
                .iter()
                .map(|tool| scope.spawn(|| find::look(self, *tool)))
                .collect();
            looking
                .into_iter()
                .map(|thread| thread.join().expect("looking for a tool never panics"))
                .collect()
        })
    }

    /// Finds tools, builds those that are missing and can be built, or reports every one that is missing
    /// with its remedy, before anything is built.
    pub fn ensure(&self, tools: &[Tool]) -> Result<Tools> {
        let wanted: Vec<Tool> = tools.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let lookups = self.look(&wanted);
        let (missing, causes) = self.problems(&lookups);
        if !missing.is_empty() {
            return Err(self.missing(&lookups, missing, causes));
        }
        let mut tools = Tools::default();
        let mut modules: Vec<&'static table::Module> = Vec::new();
        for lookup in &lookups {
            match &lookup.outcome {
                Outcome::Found(found) => {
                    tools.found.insert(lookup.tool, found.clone());
                }
                Outcome::Buildable(module) => {
                    if !modules.iter().any(|known| std::ptr::eq(*known, *module)) {
                        modules.push(module);
                    }
                }
                Outcome::Missing | Outcome::Refused(_) => {}
            }
        }
        if modules.is_empty() {
            return Ok(tools);
        }
        self.tell_passed_over(&lookups);
        modules.sort_by_key(|module| table::MODULES.iter().position(|known| std::ptr::eq(known, *module)));
        build::build(self, &modules)?;
        for lookup in lookups {
            if matches!(lookup.outcome, Outcome::Buildable(_)) {
                match find::look(self, lookup.tool).outcome {
                    Outcome::Found(found) => {
                        tools.found.insert(lookup.tool, found);
                    }
                    _ => {
                        return Err(Failure::new(
                            Kind::Unexpected,
                            format!("`{}` was built but is not found afterwards", lookup.tool.program()),
                        )
                        .hinted("another process may be emptying the cache: run the same command again"));
                    }
                }
            }
        }
        Ok(tools)
    }

    /// What keeps these tools from being there, one an entry; empty when all are found or can be built.
    pub fn lacks(&self, tools: &[Tool]) -> Vec<String> {
        let (missing, causes) = self.problems(&self.look(tools));
        missing.into_iter().chain(causes).collect()
    }

    /// Builds what these tools need into the cache, also what PATH has: a runner's cache must not depend on
    /// what its image happens to carry.
    fn prebuild(&self, tools: &[Tool]) -> Result<()> {
        let modules = build::modules_of(tools);
        let troubles: BTreeSet<String> = modules.iter().filter_map(|module| self.go_trouble(module)).collect();
        if !troubles.is_empty() {
            let troubles: Vec<String> = troubles.into_iter().collect();
            return Err(Failure::many(
                Kind::Preflight,
                "not everything can be built; nothing was changed",
                &troubles,
            )
            .hinted("name the tools to build: `cargo xtask tools build kluctl kubectl`"));
        }
        let Outcome::Found(go) = &self.go().outcome else {
            return Ok(());
        };
        let folder = self.cache_folder()?;
        let modules: Vec<_> = modules
            .into_iter()
            .filter(|module| cache::entry(&folder, module, Some(&go.says)).is_none())
            .collect();
        if modules.is_empty() {
            return Ok(());
        }
        build::build(self, &modules)
    }

    /// One tool, found or built.
    pub fn ensure_one(&self, tool: Tool) -> Result<Found> {
        Ok(self.ensure(&[tool])?.found(tool)?.clone())
    }

    /// The folder that holds what Go built.
    pub fn cache_folder(&self) -> Result<Utf8PathBuf> {
        cache::folder(&self.environment)
    }

    /// What is kept of earlier builds, with its size.
    pub fn kept(&self) -> Result<Vec<(Utf8PathBuf, u64)>> {
        let paths = cache::ours(&self.cache_folder()?, table::MODULES)?;
        Ok(paths
            .into_iter()
            .map(|path| (path.clone(), cache::size(&path)))
            .collect())
    }

    /// Removes what is kept of earlier builds, unless one is going on.
    pub fn forget(&self) -> Result<()> {
        build::forget(&self.cache_folder()?)
    }

    /// What is missing, a tool an entry, and then what keeps Go from building, each cause once. Both empty when
    /// all are there or can be built.
    fn problems(&self, lookups: &[Lookup]) -> (Vec<String>, BTreeSet<String>) {
        let mut missing = Vec::new();
        let mut causes = BTreeSet::new();
        for lookup in lookups {
            let passed = lookup.passed_over();
            let wanted = self.wanted(lookup.tool);
            let head = format!(
                "`{}`, needed to {}{wanted}",
                lookup.tool.program(),
                table::row(lookup.tool).why
            );
            match &lookup.outcome {
                Outcome::Found(_) => {}
                Outcome::Refused(reason) => missing.push(format!("{head}: {reason}")),
                Outcome::Missing => missing.push(format!("{head}: not found{passed}{}", self.remedies(lookup.tool))),
                Outcome::Buildable(module) => {
                    if let Some(cause) = self.build_trouble(module) {
                        let remedies = self.remedies(lookup.tool);
                        missing.push(format!("{head}: not found{passed}; Go could build it{remedies}"));
                        causes.insert(cause);
                    }
                }
            }
        }
        (missing, causes)
    }

    /// Why a module cannot be built here, as one entry of a report.
    fn build_trouble(&self, module: &table::Module) -> Option<String> {
        self.go_trouble(module)
            .or_else(|| self.cache_folder().err().map(|failure| failure.chain()))
    }

    /// Why Go cannot build a module, as one entry of the report.
    fn go_trouble(&self, module: &table::Module) -> Option<String> {
        let go = self.go();
        let remedies = self.remedies(Tool::Go);
        let wanted = self.wanted(Tool::Go);
        match &go.outcome {
            Outcome::Found(found) => {
                let needed = module.go_requirement();
                let version = found.version.as_ref()?;
                (!version::fits(&needed, version)).then(|| {
                    format!(
                        "`go`, needed to build {} ({needed}): `{}` is version {version}{remedies}",
                        module.name, found.path
                    )
                })
            }
            Outcome::Refused(reason) => Some(format!("`go`{wanted}: {reason}")),
            Outcome::Missing | Outcome::Buildable(_) => {
                let passed = go.passed_over();
                Some(format!(
                    "`go`, needed to build the others{wanted}: not found{passed}{remedies}"
                ))
            }
        }
    }

    fn missing(&self, lookups: &[Lookup], missing: Vec<String>, causes: BTreeSet<String>) -> Failure {
        let summary = format!("{} missing; nothing was changed", plural(missing.len(), "tool"));
        let problems: Vec<String> = missing.into_iter().chain(causes).collect();
        let variable = lookups
            .iter()
            .find(|lookup| !matches!(lookup.outcome, Outcome::Found(_)))
            .map_or_else(|| "XTASK_<TOOL>".to_owned(), |lookup| table::variable(lookup.tool));
        let mut failure = Failure::many(Kind::Preflight, summary, &problems);
        if !matches!(self.go().outcome, Outcome::Found(_)) {
            failure = failure.hinted("with Go 1.26 or newer on PATH, what Go can build is built on first use");
        }
        if matches!(find::look(self, Tool::Nix).outcome, Outcome::Found(_)) {
            failure = failure.hinted("in the flake's shell (`nix develop`) all tools are on PATH");
        }
        if let Err(cache) = self.cache_folder() {
            for hint in cache.hints {
                failure = failure.hinted(hint);
            }
        }
        failure
            .hinted(format!(
                "a tool that lies elsewhere is named by its variable, for example `{variable}=/path/to/it`"
            ))
            .hinted("`cargo xtask doctor` shows every tool, where it was looked for, and its remedy")
    }

    fn wanted(&self, tool: Tool) -> String {
        table::row(tool)
            .requirement
            .range(&self.kubernetes)
            .map_or_else(String::new, |range| format!(" ({range})"))
    }

    fn remedies(&self, tool: Tool) -> String {
        let mut text = String::new();
        for remedy in table::row(tool).remedies {
            text.push('\n');
            text.push_str(remedy);
        }
        text
    }

    fn tell_passed_over(&self, lookups: &[Lookup]) {
        let mut passed = Vec::new();
        let all = || lookups.iter().flat_map(|lookup| &lookup.passed);
        let altered: BTreeSet<&Utf8PathBuf> = all()
            .filter(|other| other.is_altered())
            .map(|other| &other.path)
            .collect();
        for path in altered {
            self.ui.status(
                Status::Warning,
                format!("`{path}` is not what was built, somebody changed it; it is built again and was not started"),
            );
        }
        for lookup in lookups {
            for other in lookup.passed.iter().filter(|other| !other.is_altered()) {
                passed.push(format!("{}: {}{}", other.path, other.reason, self.wanted(lookup.tool)));
            }
        }
        if self.ui.verbosity() >= Verbosity::Steps {
            for reason in &passed {
                self.ui.status(Status::Skipped, reason);
            }
        } else if !passed.is_empty() {
            let programs = plural(passed.len(), "program");
            self.ui.status(
                Status::Skipped,
                format!("{programs} of another version (`-v` names them)"),
            );
        }
    }

    fn go(&self) -> &Lookup {
        self.go.get_or_init(|| find::look(self, Tool::Go))
    }

    /// What the Go of this host says about itself.
    fn go_says(&self) -> Option<&str> {
        match &self.go().outcome {
            Outcome::Found(go) => Some(go.says.as_str()),
            _ => None,
        }
    }

    fn variable(&self, name: &str) -> Option<&OsStr> {
        self.environment
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }
}

//! Recipes: pure functions from platform config to plans, one file a goal.
//! No I/O, no clock, no environment; what is known only while running is a `Later`.

pub mod age_key;
pub mod capi;
pub mod catalogue;
pub mod ci;
pub mod closures;
pub mod deploy;
pub mod embedded;
pub mod guard;
pub mod image;
pub mod local_down;
pub mod local_up;
pub mod nix;
pub mod prune;
pub mod rebuild;
pub mod rehearse;
pub mod resync;
pub mod routes;
pub mod trust;
pub mod validate;
pub mod vm;

use camino::Utf8PathBuf;

use crate::base::failure::{Failure, Result};
use crate::command::{Command, Tool};
use crate::plan::Section;
use crate::platform::{Backend, Environment};

/// Where the project of a stage comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The reviewed golden of the checkout; only for embedded clusters of environment local.
    Golden(Utf8PathBuf),
    /// A rendered project made elsewhere; relative to the root, or absolute.
    Folder(Utf8PathBuf),
    /// What the renderer made of today's modules on this host, completed from the golden where sources of charts could
    /// not be had.
    Rendered {
        /// The project.
        project: Utf8PathBuf,
        /// What was rendered; the same folder where nothing was missing.
        rendering: Utf8PathBuf,
    },
    /// What Nix builds at this flake attribute, linked here.
    Built {
        /// Attribute of the flake.
        attribute: String,
        /// Link to the result, relative to the root.
        link: Utf8PathBuf,
    },
}

impl Source {
    /// What `--source` may say beside a folder.
    pub const WORDS: [&str; 3] = ["nix", "render", "golden"];

    /// A golden holds platform config of upstream objects, not the objects, so it never reaches a real cluster.
    pub fn golden(path: Utf8PathBuf, backend: Backend, environment: Environment) -> Result<Self> {
        if backend == Backend::Embedded && environment == Environment::Local {
            return Ok(Self::Golden(path));
        }
        Err(Failure::refused(format!(
            "`{path}` is a golden, and a golden goes to an embedded local cluster only; nothing was changed"
        ))
        .hinted("deploy what Nix builds (leave the folder out), or a rendered project"))
    }

    /// What was rendered here. What a golden completed has its summaries, and stays where they may go.
    pub fn rendered(
        project: Utf8PathBuf,
        rendering: Utf8PathBuf,
        backend: Backend,
        environment: Environment,
    ) -> Result<Self> {
        if project != rendering && !(backend == Backend::Embedded && environment == Environment::Local) {
            return Err(Failure::refused(
                "sources of charts cannot be had here, and the golden's summaries of their objects go to an embedded \
                 local cluster only; nothing was changed",
            )
            .hinted(
                "deploy what Nix builds (`--source nix`), or a project that was rendered elsewhere (`--source DIR`)",
            ));
        }
        Ok(Self::Rendered { project, rendering })
    }

    /// What is held against the golden: only what was rendered is compared.
    pub fn reviewed(&self) -> Utf8PathBuf {
        match self {
            Self::Rendered { rendering, .. } => rendering.clone(),
            _ => self.folder(),
        }
    }

    /// The folder of the project once it is there.
    pub fn folder(&self) -> Utf8PathBuf {
        match self {
            Self::Golden(path) | Self::Folder(path) => path.clone(),
            Self::Rendered { project, .. } => project.clone(),
            Self::Built { link, .. } => link.clone(),
        }
    }

    /// How the deployment history names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Golden(_) => "golden",
            Self::Folder(_) => "folder",
            Self::Rendered { .. } => "render",
            Self::Built { .. } => "nix",
        }
    }
}

/// Part of a plan with what has to be done whatever becomes of it.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What is done.
    pub section: Section,
    /// What is done also after a failure.
    pub finally: Section,
}

/// Builds an attribute of the flake and links the result.
pub fn nix_build(attribute: &str, link: &str) -> Command {
    nix_build_of(attribute)
        .arg("--out-link")
        .arg(camino::Utf8Path::new(link))
}

/// Builds an attribute of the flake. The lock is never written: a build that would need another one has to fail.
/// What a builder says is in the log whole; without the flag Nix keeps ten lines of it.
pub fn nix_build_of(attribute: &str) -> Command {
    Command::new(Tool::Nix)
        .args([
            "build",
            "--extra-experimental-features",
            "nix-command flakes",
            "--no-write-lock-file",
            "--print-build-logs",
        ])
        .arg(format!(".#{attribute}"))
        // The first one fetches charts.
        .within(3600)
}

/// Nix with what a flake needs.
fn nix_with(words: &[&str]) -> Command {
    Command::new(Tool::Nix)
        .args(["--extra-experimental-features", "nix-command flakes"])
        .args(words.iter().copied())
}

//! Copies of projects that a deploy works with: what kluctl is given, and what is compared, stays what it was.
//! The project that is copied is only read.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::base::failure::{Failure, Result};
use crate::call::Caller;
use crate::project::{self, Project, StageDescription, resources};

/// Copies a project, replacing what was there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CopyProject {
    /// The project.
    pub project: Utf8PathBuf,
    /// Where the copy goes.
    pub to: Utf8PathBuf,
}

impl CopyProject {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        project::replace(&on.root.join(&self.to), |beside| {
            project::copy(&on.root.join(&self.project), beside)
        })
    }
}

/// Writes a project anew into a repository of its own: kluctl looks no further, and reads nothing that was not judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EncloseProject {
    /// Project to copy.
    pub from: Utf8PathBuf,
    /// Table of `kubectl api-resources`.
    pub served: Utf8PathBuf,
    /// Folder of the copy; replaced whole.
    pub to: Utf8PathBuf,
}

impl EncloseProject {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let from = on.root.join(&self.from);
        let served = resources::parse(&on.text(&self.served)?)?;
        let project = Project::read(&from)?;
        project::kinds::check_project(&from, &project, &served)?;
        project::replace(&on.root.join(&self.to), |beside| {
            project.write(beside)?;
            project::enclose(beside)
        })
    }
}

/// Whether a project is described as it was when the plan was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DescriptionUnchanged {
    /// The project.
    pub project: Utf8PathBuf,
    /// Digest of the description.
    pub digest: String,
}

impl DescriptionUnchanged {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let found = StageDescription::read(&on.root.join(&self.project))?;
        if found.digest() == self.digest {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "`{}` is not described as it was when this was planned; nothing was changed",
            self.project
        ))
        .hinted("plan again: run the same command without `--resume` and `--plan`"))
    }
}

//! What is reviewed and committed: a project against its golden, and the working tree against its history.
//! It decides from files; it asks neither Nix nor Git.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::base::failure::{Failure, Kind, Result};
use crate::base::text::plural;
use crate::base::ui::Status;
use crate::call::Caller;
use crate::golden::provenance::Record;
use crate::golden::{resolve, revision};

/// Whether a rendered project is what was reviewed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Reviewed {
    /// The project.
    pub project: Utf8PathBuf,
    /// Folder of its golden.
    pub golden: Utf8PathBuf,
    /// What a difference means.
    pub stale: Stale,
    /// JSON file of the type [`Review`].
    pub to: Utf8PathBuf,
}

impl Reviewed {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let review = review(on.root, &self.project, &self.golden, self.stale)?;
        if review.reviewed {
            on.ui.status(Status::Checked, "the project is what was reviewed");
        } else {
            for problem in review.problems.iter().take(SHOWN_DURING_RUN) {
                on.ui.status(Status::Stale, problem);
            }
            on.ui.status(
                Status::Stale,
                format!(
                    "{} from what was reviewed; the deployment history will say so",
                    plural(review.problems.len(), "difference")
                ),
            );
        }
        on.write_json(&self.to, &review)
    }
}

/// Whether a working tree is clean where it decides what is deployed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CleanTree {
    /// Output of `git status --porcelain=v1 -z`.
    pub status: Utf8PathBuf,
}

impl CleanTree {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        check_clean(&fs_err::read(on.root.join(&self.status))?)
    }
}

/// What a stale golden means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stale {
    /// It is shown, and the deployment history marks the deployment as unreviewed.
    Shown,
    /// The run ends.
    Refused,
}

/// What a comparison with the golden came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Review {
    /// The project is what was reviewed.
    pub reviewed: bool,
    /// What is not, a sentence each.
    pub problems: Vec<String>,
}

/// Problems of a review that a message shows.
const SHOWN: usize = 20;

/// Problems of a review that a run names and goes on.
const SHOWN_DURING_RUN: usize = 10;

/// Compares a project with its golden. In production a difference is a failure.
pub fn review(root: &Utf8Path, project: &Utf8Path, golden: &Utf8Path, stale: Stale) -> Result<Review> {
    let folder = root.join(golden);
    let problems: Vec<String> = if folder.join("stage.json").is_file() {
        let comparison = resolve::compare(&root.join(project), &folder, &Record::of(root)?)?;
        comparison
            .problems
            .iter()
            .filter(|problem| problem.fails())
            .map(ToString::to_string)
            .collect()
    } else {
        vec![format!("there is no golden in `{golden}`")]
    };
    if problems.is_empty() || stale == Stale::Shown {
        return Ok(Review {
            reviewed: problems.is_empty(),
            problems,
        });
    }
    let mut shown: Vec<String> = problems.iter().take(SHOWN).cloned().collect();
    if problems.len() > SHOWN {
        shown.push(format!("and {} more", problems.len() - SHOWN));
    }
    Err(Failure::many(
        Kind::Stale,
        "the project is not what was reviewed; nothing was changed",
        &shown,
    )
    .hinted("review it (`cargo xtask golden diff`), accept it (`cargo xtask golden bless`), commit"))
}

/// Folders and files that decide what is deployed: nothing there may be changed and not committed.
const DECIDING: [&str; 6] = ["modules", "k8s", "images", "flake.nix", "flake.lock", "platform.json"];

/// Refuses a working tree whose deciding files are not committed.
pub fn check_clean(status: &[u8]) -> Result<()> {
    let dirty: Vec<Utf8PathBuf> = revision::changed(status)
        .into_iter()
        .filter(|path| DECIDING.iter().any(|deciding| path.starts_with(deciding)))
        .collect();
    if dirty.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = dirty.iter().take(SHOWN).map(|path| format!("`{path}`")).collect();
    Err(Failure::many(
        Kind::Refused,
        format!(
            "{} files that decide what is deployed are not committed; nothing was changed",
            dirty.len()
        ),
        &shown,
    )
    .hinted("commit them, or put them away (`git stash --include-untracked`)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untracked_module_is_refused_and_a_note_beside_is_not() {
        assert!(check_clean(b"?? notes.md\0 M README.md\0").is_ok());
        let failure = check_clean(b"?? modules/k8s/new/default.nix\0 M README.md\0").unwrap_err();
        assert_eq!(failure.kind, Kind::Refused);
        assert!(failure.chain().contains("`modules/k8s/new/default.nix`"));
        assert!(!failure.chain().contains("README"));
    }
}

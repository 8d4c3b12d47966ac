//! A commit of the checkout, asked of Git: which one a revision means, and what a file was in it.
//! It only reads; a worktree is made by a plan.

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::failure::{Failure, Kind, Result};
use crate::command::{Command, Tool};
use crate::context::{Checkout, Context};
use crate::run::exec::Runner;
use crate::tool::Tools;

/// The Git of a checkout.
pub struct Git<'a> {
    context: &'a Context,
    checkout: &'a Checkout,
    tools: Tools,
}

impl<'a> Git<'a> {
    /// Finds Git.
    pub fn of(context: &'a Context, checkout: &'a Checkout) -> Result<Self> {
        let tools = context.toolbox("").ensure(&[Tool::Git])?;
        Ok(Self {
            context,
            checkout,
            tools,
        })
    }

    /// What a command of Git prints; none when it fails, which outside a repository it does.
    pub fn ask(&self, command: &Command) -> Result<Option<Vec<u8>>> {
        let runner = Runner::new(
            &self.checkout.root,
            &self.context.ui,
            &self.tools,
            &self.context.interrupt,
        );
        runner.answer(command)
    }

    /// The commit that a revision means.
    pub fn commit(&self, revision: &str) -> Result<String> {
        if revision.starts_with('-') || revision.is_empty() {
            return Err(Failure::new(Kind::Usage, format!("`{revision}` is no revision"))
                .hinted("a revision is a commit, a branch or a tag, for example `HEAD~1`"));
        }
        let command = Command::new(Tool::Git)
            .args(["rev-parse", "--verify", "--quiet", "--end-of-options"])
            .arg(format!("{revision}^{{commit}}"));
        let Some(commit) = self.ask(&command)? else {
            return Err(Failure::config(format!(
                "Git knows no revision `{revision}` in `{}`",
                self.checkout.root
            ))
            .hinted("`git log --oneline -- k8s/golden` lists those that changed goldens")
            .hinted("a shallow clone lacks the earlier ones: `git fetch --unshallow`"));
        };
        Ok(String::from_utf8_lossy(&commit).trim().to_owned())
    }

    /// A file as a commit has it; none where it has none.
    pub fn text(&self, commit: &str, path: &Utf8Path) -> Result<Option<String>> {
        // `./` starts where Git runs: the checkout may be a folder of a larger repository.
        let command = Command::new(Tool::Git)
            .args(["show", "--no-textconv"])
            .arg(format!("{commit}:./{path}"));
        Ok(self
            .ask(&command)?
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Where the root lies below the repository's own: empty where they are the same.
    pub fn prefix(&self) -> Result<Utf8PathBuf> {
        let prefix = self
            .ask(&Command::new(Tool::Git).args(["rev-parse", "--show-prefix"]))?
            .unwrap_or_default();
        Ok(String::from_utf8_lossy(&prefix).trim().into())
    }
}

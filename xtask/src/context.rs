//! What every verb is handed: the checkout, its platform config, the tools, and the person or program in front.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::command_line::CommandLine;
use crate::base::failure::Result;
use crate::base::lock::HostLock;
use crate::base::process::Interrupt;
use crate::base::root;
use crate::base::state;
use crate::base::transaction;
use crate::base::ui::{Status, Ui};
use crate::platform::Platform;
use crate::tool::Toolbox;

/// What every verb is handed.
pub struct Context {
    /// Where things are said.
    pub ui: Ui,
    /// Ctrl-C.
    pub interrupt: Interrupt,
    /// `--root`, or `$XTASK_ROOT`.
    given_root: Option<Utf8PathBuf>,
    /// The verb with its flags.
    pub command: CommandLine,
    /// Rendered projects that the run reads.
    projects: Rc<RefCell<BTreeSet<Utf8PathBuf>>>,
}

/// A checkout with its platform config.
pub struct Checkout {
    /// Root of the checkout.
    pub root: Utf8PathBuf,
    /// `platform.json`.
    pub platform: Platform,
}

impl Context {
    /// For this process.
    pub fn new(ui: Ui, given_root: Option<Utf8PathBuf>, command: CommandLine) -> Result<Self> {
        let interrupt = Interrupt::listen()?;
        ui.on_interrupt(interrupt.flag());
        Ok(Self {
            ui,
            interrupt,
            given_root,
            command,
            projects: Rc::default(),
        })
    }

    /// The same, but what goes well is not said.
    #[must_use]
    pub fn quiet(&self) -> Self {
        Self {
            ui: self.ui.quiet(),
            interrupt: self.interrupt.clone(),
            given_root: self.given_root.clone(),
            command: self.command.clone(),
            projects: Rc::clone(&self.projects),
        }
    }

    /// Says that the run reads a rendered project; relative to the root, or absolute.
    pub fn reads_project(&self, project: Utf8PathBuf) {
        self.projects.borrow_mut().insert(project);
    }

    /// The rendered projects that the run reads.
    pub fn projects(&self) -> BTreeSet<Utf8PathBuf> {
        self.projects.borrow().clone()
    }

    /// Cleans up behind runs that were killed, before anything is read or judged.
    fn finish_what_was_cut_off(&self, root: &Utf8Path) -> Result<()> {
        // Nothing that is left there is ever read, so that it may as well stay.
        let _next_time = crate::base::part::sweep(root);
        if !transaction::is_pending(root) {
            return Ok(());
        }
        // A run that changes secrets now finishes its own change, and a checkout that cannot be written keeps it.
        let Ok(_held) = HostLock::take(root, transaction::LOCK, "finish a change of secrets") else {
            return Ok(());
        };
        if transaction::recover(root)? {
            self.ui.status(
                Status::Resuming,
                "a change of secrets that was cut off; it is complete now",
            );
        }
        Ok(())
    }

    /// Finds the checkout and reads its platform config.
    pub fn checkout(&self) -> Result<Checkout> {
        let root = root::find(self.given_root.as_deref())?;
        state::check(&root)?;
        self.finish_what_was_cut_off(&root)?;
        let platform = crate::platform::config(&root)?;
        Ok(Checkout { root, platform })
    }

    /// The tools of this host, for a cluster of this Kubernetes version.
    pub fn toolbox(&self, kubernetes: &str) -> Toolbox {
        Toolbox::new(&self.ui, kubernetes, self.interrupt.flag())
    }
}

impl Checkout {
    /// An absolute path.
    pub fn path(&self, relative: impl AsRef<Utf8Path>) -> Utf8PathBuf {
        self.root.join(relative)
    }
}

//! What every verb is handed: the checkout, its facts, the tools, and the person or program in front.

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::failure::Result;
use crate::base::process::Interrupt;
use crate::base::root;
use crate::base::ui::Ui;
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
}

/// A checkout with its facts.
pub struct Checkout {
    /// Root of the checkout.
    pub root: Utf8PathBuf,
    /// `platform.json`.
    pub platform: Platform,
}

impl Context {
    /// For this process.
    pub fn new(ui: Ui, given_root: Option<Utf8PathBuf>) -> Result<Self> {
        let interrupt = Interrupt::listen()?;
        ui.heed(interrupt.flag());
        Ok(Self {
            ui,
            interrupt,
            given_root,
        })
    }

    /// The same, but what goes well is not said.
    #[must_use]
    pub fn quiet(&self) -> Self {
        Self {
            ui: self.ui.quiet(),
            interrupt: self.interrupt.clone(),
            given_root: self.given_root.clone(),
        }
    }

    /// Finds the checkout and reads its facts.
    pub fn checkout(&self) -> Result<Checkout> {
        let root = root::find(self.given_root.as_deref())?;
        let platform = crate::platform::facts(&root)?;
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

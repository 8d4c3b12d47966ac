//! Access to one cluster: its kubeconfig, its context, and tools that are told both.
//! The ambient context and the user's own folders are never used.

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::root::STATE;
use crate::command::{Command, Tool};
use crate::platform::Cluster;

/// How one cluster is reached, and where its files are; all paths relative to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Name in the platform config.
    pub cluster: String,
    /// Folder of everything xtask keeps for it.
    pub folder: Utf8PathBuf,
    /// Kubeconfig with this cluster alone.
    pub kubeconfig: Utf8PathBuf,
    /// Context inside it.
    pub context: String,
    /// Name of the folder of files that one run hands from step to step.
    work: String,
}

/// How much a Go program's heap may grow before it is collected, in percent. A program that runs for a moment spends a
/// sixth of it on collecting what its end frees anyway.
const SHORT_LIVED: &str = "400";

impl Access {
    /// The cluster as the platform config states it.
    pub fn of(name: &str, config: &Cluster) -> Self {
        Self {
            cluster: name.to_owned(),
            folder: Utf8Path::new(STATE).join("clusters").join(name),
            kubeconfig: config.kubeconfig.clone(),
            context: config.context.clone(),
            work: "work".to_owned(),
        }
    }

    /// An ephemeral cluster that stands in for one of the platform config, in a folder of its own.
    pub fn rehearsal(name: &str, run: &str) -> Self {
        let folder = Utf8Path::new(STATE).join("rehearsals").join(run);
        Self {
            cluster: name.to_owned(),
            kubeconfig: folder.join("kubeconfig"),
            context: format!("rehearsal-{run}"),
            folder,
            work: "work".to_owned(),
        }
    }

    /// Folder of files that one run hands from step to step.
    pub fn work(&self) -> Utf8PathBuf {
        self.folder.join(&self.work)
    }

    /// The same cluster, with a work folder that no run under way uses: for verbs that only look.
    #[must_use]
    pub fn looking(&self, nonce: &str) -> Self {
        Self {
            work: format!("look-{nonce}"),
            ..self.clone()
        }
    }

    /// kubectl for this cluster: no user settings, a cache of its own.
    pub fn kubectl(&self) -> Command {
        self.kubectl_without_context()
            .arg(format!("--context={}", self.context))
    }

    /// kubectl for this cluster's kubeconfig, while the context in it has no name of ours yet.
    pub fn kubectl_without_context(&self) -> Command {
        Command::new(Tool::Kubectl)
            .flag_path("--kubeconfig", &self.kubeconfig)
            .env("KUBERC", "off")
            .env("GOGC", SHORT_LIVED)
            .env("KUBECACHEDIR", self.folder.join("kubectl-cache"))
            .env("HOME", self.folder.join("home"))
    }

    /// kluctl for this cluster: 2.22 takes the kubeconfig from the environment only.
    pub fn kluctl(&self, verb: &str) -> Command {
        Command::new(Tool::Kluctl)
            .arg(verb)
            .arg("--no-update-check")
            .arg("--no-color")
            .arg(format!("--context={}", self.context))
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KLUCTL_NO_UPDATE_CHECK", "true")
            .env("GOGC", SHORT_LIVED)
            .env("KLUCTL_BASE_TMP_DIR", self.folder.join("kluctl"))
            .env("KLUCTL_CACHE_DIR", self.folder.join("kluctl"))
            // 2.22 unpacks its Python there under a name that all users of a host share.
            .env("TMPDIR", temporary())
            .env("KUBECACHEDIR", self.folder.join("kubectl-cache"))
            .env("HOME", self.folder.join("home"))
    }
}

/// Folder for temporary files of wrapped tools; `call` makes it.
pub fn temporary() -> Utf8PathBuf {
    Utf8Path::new(STATE).join("tmp")
}

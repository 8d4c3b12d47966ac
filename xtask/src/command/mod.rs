//! Commands: one call of a tool, with everything that decides what it does.
//! A command is data; `call` runs it, and only `base::process` and `tool` start processes.

pub mod diagnostics;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

/// A program that plans may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub enum Tool {
    /// This very binary.
    Xtask,
    /// Deploys kluctl projects.
    Kluctl,
    /// Speaks to API servers.
    Kubectl,
    /// The API server of an embedded cluster.
    KubeApiserver,
    /// The controller manager of an embedded cluster.
    KubeControllerManager,
    /// The scheduler of an embedded cluster.
    KubeScheduler,
    /// The store of an embedded cluster.
    Etcd,
    /// Simulates nodes and pods.
    Kwok,
    /// Starts and stops embedded clusters.
    Kwokctl,
    /// Renders charts.
    Helm,
    /// Encrypts and decrypts secret files.
    Sops,
    /// Encrypts for recipients.
    Age,
    /// Makes identities.
    AgeKeygen,
    /// Validates objects against schemas.
    Kubeconform,
    /// Installs and moves ClusterAPI.
    Clusterctl,
    /// ClusterAPI's core controllers as a host process.
    CapiCore,
    /// ClusterAPI's kubeadm bootstrap controllers as a host process.
    CapiBootstrap,
    /// ClusterAPI's kubeadm control plane controllers as a host process.
    CapiControlPlane,
    /// ClusterAPI's in-memory infrastructure provider as a host process.
    CapiDev,
    /// Applies Terraform JSON.
    Tofu,
    /// Lints hosted workflows.
    Actionlint,
    /// Evaluates and builds the flake.
    Nix,
    /// Evaluates Nix files without flakes.
    NixInstantiate,
    /// Brings the Python that reads YAML in the renderer.
    Yq,
    /// Canonicalises JSON in the renderer.
    Jq,
    /// Starts virtual machines.
    Colima,
    /// Lima's own command.
    Limactl,
    /// Installs machines.
    Clan,
    /// Builds tools.
    Go,
    /// Reads revisions and makes worktrees.
    Git,
    /// Reaches machines.
    Ssh,
    /// Builds this crate in `ci`.
    Cargo,
    /// Runs the renderer outside Nix.
    Bash,
    /// Changes the keychain of macOS.
    Security,
    /// Changes the trust store of Linux, as root.
    Sudo,
}

impl Tool {
    /// The program's file name.
    pub fn program(self) -> &'static str {
        match self {
            Self::Xtask => "xtask",
            Self::Kluctl => "kluctl",
            Self::Kubectl => "kubectl",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Etcd => "etcd",
            Self::Kwok => "kwok",
            Self::Kwokctl => "kwokctl",
            Self::Helm => "helm",
            Self::Sops => "sops",
            Self::Age => "age",
            Self::AgeKeygen => "age-keygen",
            Self::Kubeconform => "kubeconform",
            Self::Clusterctl => "clusterctl",
            Self::CapiCore => "capi-core",
            Self::CapiBootstrap => "capi-bootstrap",
            Self::CapiControlPlane => "capi-control-plane",
            Self::CapiDev => "capi-dev",
            Self::Tofu => "tofu",
            Self::Actionlint => "actionlint",
            Self::Nix => "nix",
            Self::NixInstantiate => "nix-instantiate",
            Self::Yq => "yq",
            Self::Jq => "jq",
            Self::Colima => "colima",
            Self::Limactl => "limactl",
            Self::Clan => "clan",
            Self::Go => "go",
            Self::Git => "git",
            Self::Ssh => "ssh",
            Self::Cargo => "cargo",
            Self::Bash => "bash",
            Self::Security => "security",
            Self::Sudo => "sudo",
        }
    }

    /// The variables of our own environment that it gets beside those that every child gets: a name, or the beginning
    /// of one with `*` after it. What a command must have of tokens and settings, it names itself.
    pub fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Xtask | Self::Cargo => crate::base::process::environment::EVERYTHING,
            Self::Nix | Self::NixInstantiate | Self::Clan => &[
                "NIX_*",
                "XDG_CONFIG_HOME",
                "XDG_CACHE_HOME",
                "XDG_DATA_HOME",
                "XDG_STATE_HOME",
                "SSH_AUTH_SOCK",
                "GIT_SSH*",
            ],
            Self::Git => &[
                "GIT_CONFIG*",
                "GIT_SSH*",
                "GIT_ASKPASS",
                "GIT_CEILING_DIRECTORIES",
                "XDG_CONFIG_HOME",
                "SSH_AUTH_SOCK",
                "SSH_ASKPASS",
                "DISPLAY",
            ],
            Self::Ssh => &["SSH_AUTH_SOCK", "SSH_ASKPASS", "DISPLAY"],
            // Where modules come from, where Go keeps them, and how it reaches a private proxy.
            Self::Go => &[
                "GO*",
                "XDG_CONFIG_HOME",
                "XDG_CACHE_HOME",
                "NETRC",
                "GIT_CONFIG*",
                "GIT_SSH*",
                "SSH_AUTH_SOCK",
            ],
            // For `kubectl edit`.
            Self::Kubectl => &["EDITOR", "VISUAL"],
            Self::Sudo => &["SUDO_ASKPASS", "DISPLAY"],
            Self::Kluctl
            | Self::KubeApiserver
            | Self::KubeControllerManager
            | Self::KubeScheduler
            | Self::Etcd
            | Self::Kwok
            | Self::Kwokctl
            | Self::Helm
            | Self::Sops
            | Self::Age
            | Self::AgeKeygen
            | Self::Kubeconform
            | Self::Clusterctl
            | Self::CapiCore
            | Self::CapiBootstrap
            | Self::CapiControlPlane
            | Self::CapiDev
            | Self::Tofu
            | Self::Actionlint
            | Self::Yq
            | Self::Jq
            | Self::Colima
            | Self::Limactl
            | Self::Bash
            | Self::Security => &[],
        }
    }

    /// Whether the tool changes or reads a cluster, and so must be told which.
    pub fn speaks_to_clusters(self) -> bool {
        matches!(self, Self::Kluctl | Self::Kubectl | Self::Clusterctl)
    }
}

/// One call of a tool, with everything that decides what it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Command {
    /// The program.
    pub tool: Tool,
    /// Arguments.
    pub args: Vec<Arg>,
    /// Variables set for it, on top of what its tool gets of ours.
    pub env: BTreeMap<String, Arg>,
    /// What it reads.
    pub stdin: Stdin,
    /// Where its standard output goes.
    pub output: Output,
    /// Seconds after which it is ended and the step has missed its deadline.
    pub deadline: u64,
    /// What an exit status other than 0 means.
    pub on_failure: OnFailure,
}

/// What an exit status other than 0 means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// The step failed.
    Fail,
    /// Nothing: the next step looks for itself what came of it.
    LookNext,
    /// The step failed, but where the API server was only out of reach for a moment the command is run again: it
    /// only reads, or doing it twice is the same as doing it once.
    AskAgain,
    /// As `AskAgain`; and where the API server lists all but the groups of a dead APIService, that is taken, and said.
    Partial,
    /// The cluster cannot be reached or read, and nothing was changed; the cause is told from its words.
    NotReached,
}

/// What a command reads on standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stdin {
    /// Nothing.
    Null,
    /// A file, relative to the root.
    File(Utf8PathBuf),
    /// This text.
    Text(String),
    /// The value of this variable of xtask's own environment; never printed.
    Secret(String),
}

/// Where a command's standard output goes; standard error always goes to the step's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Output {
    /// To the step's log.
    Log,
    /// To a file, relative to the root.
    File(Utf8PathBuf),
}

/// One argument or variable value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Arg {
    /// As it stands.
    Lit(String),
    /// A path relative to the root, handed over absolute.
    Path(Utf8PathBuf),
    /// `flag=` and a path relative to the root, handed over absolute.
    FlagPath(String, Utf8PathBuf),
    /// The path of a tool.
    Tool(Tool),
    /// `PATH` with the folders of these tools in front, for a script that calls them by name.
    SearchPath(Vec<Tool>),
    /// The value of this variable of xtask's own environment; only in `env`.
    Secret(String),
    /// What a file that an earlier step wrote says at a JSON pointer.
    Later {
        /// Relative to the root.
        file: Utf8PathBuf,
        /// RFC 6901.
        pointer: String,
    },
    /// As `Later`, but a list, each element an argument of its own.
    LaterList {
        /// Relative to the root.
        file: Utf8PathBuf,
        /// RFC 6901.
        pointer: String,
    },
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Lit(text.to_owned())
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Self::Lit(text)
    }
}

impl From<Tool> for Arg {
    fn from(tool: Tool) -> Self {
        Self::Tool(tool)
    }
}

impl From<&Utf8Path> for Arg {
    fn from(path: &Utf8Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl From<&Utf8PathBuf> for Arg {
    fn from(path: &Utf8PathBuf) -> Self {
        Self::Path(path.clone())
    }
}

impl From<Utf8PathBuf> for Arg {
    fn from(path: Utf8PathBuf) -> Self {
        Self::Path(path)
    }
}

impl Command {
    /// A command without arguments, a deadline of a minute and its output in the log.
    pub fn new(tool: Tool) -> Self {
        Self {
            tool,
            args: Vec::new(),
            env: BTreeMap::new(),
            stdin: Stdin::Null,
            output: Output::Log,
            deadline: 60,
            on_failure: OnFailure::Fail,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<Arg>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds literal arguments.
    #[must_use]
    pub fn args<T: Into<Arg>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds `flag=` with an absolute path.
    #[must_use]
    pub fn flag_path(mut self, flag: &str, path: impl Into<Utf8PathBuf>) -> Self {
        self.args.push(Arg::FlagPath(flag.to_owned(), path.into()));
        self
    }

    /// Adds `flag=` with a path for a flag that takes a list, as kubectl's `--filename`. Those flags read their value as
    /// a line of CSV, in which a quote or a comma of the checkout's own path would have a meaning: so it is handed over
    /// as seen from the root, where commands run, and quoted where it has one all the same.
    #[must_use]
    pub fn list_path(self, flag: &str, path: impl AsRef<str>) -> Self {
        let path = path.as_ref();
        if path.contains(['"', ',', '\n', '\r']) {
            return self.arg(format!("{flag}=\"{}\"", path.replace('"', "\"\"")));
        }
        self.arg(format!("{flag}={path}"))
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<Arg>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// Sends standard output to a file.
    #[must_use]
    pub fn to_file(mut self, path: impl Into<Utf8PathBuf>) -> Self {
        self.output = Output::File(path.into());
        self
    }

    /// Reads standard input from a file.
    #[must_use]
    pub fn from_file(mut self, path: impl Into<Utf8PathBuf>) -> Self {
        self.stdin = Stdin::File(path.into());
        self
    }

    /// Sets the deadline in seconds.
    #[must_use]
    pub fn within(mut self, seconds: u64) -> Self {
        self.deadline = seconds;
        self
    }

    /// Lets the next step find out what came of it.
    #[must_use]
    pub fn or_look_next(mut self) -> Self {
        self.on_failure = OnFailure::LookNext;
        self
    }

    /// Runs the command again where the API server was out of reach for a moment.
    #[must_use]
    pub fn or_ask_again(mut self) -> Self {
        self.on_failure = OnFailure::AskAgain;
        self
    }

    /// Takes what an API server lists when it cannot list the groups of a dead APIService.
    #[must_use]
    pub fn or_partial(mut self) -> Self {
        self.on_failure = OnFailure::Partial;
        self
    }

    /// Says that a failure means the cluster was not reached.
    #[must_use]
    pub fn or_not_reached(mut self) -> Self {
        self.on_failure = OnFailure::NotReached;
        self
    }

    /// Reads this text on standard input.
    #[must_use]
    pub fn from_text(mut self, text: impl Into<String>) -> Self {
        self.stdin = Stdin::Text(text.into());
        self
    }

    /// Every tool the command needs.
    pub fn tools(&self) -> impl Iterator<Item = Tool> {
        let named = self.args.iter().chain(self.env.values()).flat_map(|arg| match arg {
            Arg::Tool(tool) => std::slice::from_ref(tool),
            Arg::SearchPath(tools) => tools,
            _ => &[],
        });
        std::iter::once(self.tool).chain(named.copied())
    }

    /// The command as a line of shell, run from the root with the tools on PATH.
    pub fn shell(&self) -> String {
        let mut line = self.call(&mut shell_arg);
        if let Output::File(path) = &self.output {
            write!(line, " >{}", quote(path.as_str())).expect("a string takes everything");
        }
        if self.on_failure == OnFailure::LookNext {
            line.push_str(" || :");
        }
        line
    }

    /// The command as lines of a script that stops at the first failure. What is known only while running is read
    /// first, for sh does not stop when a substitution in an argument fails; a file appears whole or not at all.
    pub fn script(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut count = 0;
        let mut call = self.call(&mut |arg| {
            let (Arg::Later { file, pointer } | Arg::LaterList { file, pointer }) = arg else {
                return shell_arg(arg);
            };
            count += 1;
            lines.push(format!(
                "later_{count}=$(xtask probe later {} {})",
                quote(file.as_str()),
                quote(pointer)
            ));
            match arg {
                // Unquoted on purpose: each line of a list is a word.
                Arg::LaterList { .. } => format!("$later_{count}"),
                _ => format!("\"$later_{count}\""),
            }
        });
        let look_next = self.on_failure == OnFailure::LookNext;
        if let Output::File(path) = &self.output {
            let beside = quote(&format!("{path}.partial"));
            let path_quoted = quote(path.as_str());
            if let Some(parent) = path.parent().filter(|parent| !parent.as_str().is_empty()) {
                lines.push(format!("mkdir -p {}", quote(parent.as_str())));
            }
            write!(call, " >{beside}").expect("a string takes everything");
            if look_next {
                lines.push(format!(
                    "if {call}; then mv {beside} {path_quoted}; else rm {beside}; fi"
                ));
            } else {
                lines.push(call);
                lines.push(format!("mv {beside} {path_quoted}"));
            }
        } else if look_next {
            lines.push(format!("{call} || :"));
        } else {
            lines.push(call);
        }
        lines
    }

    fn call(&self, word: &mut dyn FnMut(&Arg) -> String) -> String {
        let mut line = String::new();
        for (name, value) in &self.env {
            write!(line, "{name}={} ", word(value)).expect("a string takes everything");
        }
        line.push_str(self.tool.program());
        for arg in &self.args {
            line.push(' ');
            line.push_str(&word(arg));
        }
        match &self.stdin {
            Stdin::Null => line.push_str(" </dev/null"),
            Stdin::File(path) => write!(line, " <{}", quote(path.as_str())).expect("a string takes everything"),
            Stdin::Text(text) => {
                line = format!("printf %s {} | {line}", quote(text));
            }
            Stdin::Secret(name) => {
                line = format!("printf %s \"${name}\" | {line}");
            }
        }
        line
    }
}

/// Quotes one word for sh, and leaves it bare where sh would.
pub fn quote(word: &str) -> String {
    let bare = |character: char| character.is_ascii_alphanumeric() || "_@%+=:,./-".contains(character);
    if !word.is_empty() && word.chars().all(bare) {
        return word.to_owned();
    }
    shell_words::quote(word).into_owned()
}

fn shell_arg(arg: &Arg) -> String {
    match arg {
        Arg::Lit(text) => quote(text),
        Arg::Path(path) if path.is_absolute() => quote(path.as_str()),
        Arg::FlagPath(flag, path) if path.is_absolute() => format!("{}={}", quote(flag), quote(path.as_str())),
        Arg::Path(path) => format!("\"$PWD\"/{}", quote(path.as_str())),
        Arg::FlagPath(flag, path) => format!("{}=\"$PWD\"/{}", quote(flag), quote(path.as_str())),
        Arg::Tool(tool) => format!("\"$(command -v {})\"", tool.program()),
        // The script is run with the tools on PATH.
        Arg::SearchPath(_) => "\"$PATH\"".to_owned(),
        Arg::Secret(name) => format!("\"${name}\""),
        Arg::Later { file, pointer } => {
            format!("\"$(xtask probe later {} {})\"", quote(file.as_str()), quote(pointer))
        }
        // Unquoted on purpose: a list splits into words, and its elements are item folders and kinds.
        Arg::LaterList { file, pointer } => {
            format!("$(xtask probe later {} {})", quote(file.as_str()), quote(pointer))
        }
    }
}

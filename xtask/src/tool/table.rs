//! The tool table: for each program how its version is read, what is required, why it is needed, and who
//! provides it. It looks at nothing; `find` and `build` do.

use semver::VersionReq;

use crate::command::Tool;

/// One program.
#[derive(Debug)]
pub struct Row {
    /// What xtask needs it for; completes "needed to".
    pub why: &'static str,
    /// How its version is read.
    pub probe: Probe,
    /// Which versions will do.
    pub requirement: Requirement,
    /// Where it may be taken from.
    pub places: Places,
    /// Who provides it where Go cannot build it, one line each.
    pub remedies: &'static [&'static str],
}

/// A call that tells a version, and how to read it.
#[derive(Debug)]
pub struct Probe {
    /// Its arguments.
    pub arguments: &'static [&'static str],
    /// How the answer is read.
    pub reading: Reading,
}

/// How a version is read from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The first word on stdout, or else on stderr, that is a version.
    First,
    /// The last word of the first line.
    LastOfFirstLine,
    /// A JSON pointer.
    Pointer(&'static str),
    /// As `First`, but `0.0.0` stands for a build without its version set: then the flags of `deploy` tell.
    Kluctl,
    /// Its name, because two programs share it and only one of them will do.
    KislyukYq,
    /// Nothing: that it answers at all is enough.
    Answers,
    /// Nothing, and it is not even started.
    Unasked,
}

/// Which versions will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// All.
    Any,
    /// Those in a range.
    Range(&'static str),
    /// Those of the same minor version as the cluster they belong to.
    Kubernetes,
}

/// Where a tool may be taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// Its variable, then PATH, then the cache.
    All,
    /// Its variable, then the cache: on PATH another program may have its name.
    NotPath,
    /// This process's own file.
    Itself,
}

/// A Go module of `xtask/tools/`, built as one.
#[derive(Debug)]
pub struct Module {
    /// The folder's name.
    pub name: &'static str,
    /// The version it pins.
    pub version: &'static str,
    /// `go.mod`, so that an installed binary can build outside this checkout.
    pub go_mod: &'static str,
    /// `go.sum`.
    pub go_sum: &'static str,
    /// What is built from it.
    pub programs: &'static [Program],
    /// Variables set at link time, for programs that otherwise do not know their version.
    pub variables: &'static [&'static str],
    /// Measured on 2 quiet cores, each module in its turn after empty Go caches, download included.
    pub seconds: u64,
    /// Measured growth of Go's module cache, build cache and ours.
    pub mebibytes: u64,
}

/// A program of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// Which one.
    pub tool: Tool,
    /// Its package.
    pub package: &'static str,
}

const fn program(tool: Tool, package: &'static str) -> Program {
    Program { tool, package }
}

macro_rules! module {
    ($name:literal, $version:literal, $seconds:literal s, $mebibytes:literal MiB, $variables:expr, $programs:expr) => {
        Module {
            name: $name,
            version: $version,
            go_mod: include_str!(concat!("../../tools/", $name, "/go.mod")),
            go_sum: include_str!(concat!("../../tools/", $name, "/go.sum")),
            programs: $programs,
            variables: $variables,
            seconds: $seconds,
            mebibytes: $mebibytes,
        }
    };
}

/// Every module, those of the embedded cluster first: the order in which they are built.
pub static MODULES: &[Module] = &[
    module!("kubernetes", "1.35.4", 275 s, 4020 MiB, &[
        // Without these the API server calls itself `v0.0.0-master+$Format:%H$`.
        "k8s.io/component-base/version.gitVersion=v1.35.4",
        "k8s.io/component-base/version.gitMajor=1",
        "k8s.io/component-base/version.gitMinor=35",
        "k8s.io/client-go/pkg/version.gitVersion=v1.35.4",
    ], &[
        program(Tool::Kubectl, "k8s.io/kubernetes/cmd/kubectl"),
        program(Tool::KubeApiserver, "k8s.io/kubernetes/cmd/kube-apiserver"),
        program(Tool::KubeControllerManager, "k8s.io/kubernetes/cmd/kube-controller-manager"),
        program(Tool::KubeScheduler, "k8s.io/kubernetes/cmd/kube-scheduler"),
    ]),
    module!("etcd", "3.6.15", 24 s, 420 MiB, &[], &[program(Tool::Etcd, "go.etcd.io/etcd/server/v3")]),
    module!("kwok", "0.8.0", 79 s, 1240 MiB, &[], &[
        program(Tool::Kwok, "sigs.k8s.io/kwok/cmd/kwok"),
        program(Tool::Kwokctl, "sigs.k8s.io/kwok/cmd/kwokctl"),
    ]),
    module!("kluctl", "2.22.1", 153 s, 2520 MiB, &[
        "main.version=2.22.1",
    ], &[program(Tool::Kluctl, "github.com/kluctl/kluctl/v2/cmd")]),
    module!("age", "1.3.1", 3 s, 25 MiB, &[
        "main.Version=v1.3.1",
    ], &[program(Tool::Age, "filippo.io/age/cmd/age"), program(Tool::AgeKeygen, "filippo.io/age/cmd/age-keygen")]),
    module!("sops", "3.13.2", 90 s, 1650 MiB, &[], &[program(Tool::Sops, "github.com/getsops/sops/v3/cmd/sops")]),
    module!("helm", "3.21.4", 52 s, 840 MiB, &[
        "helm.sh/helm/v3/internal/version.version=v3.21.4",
    ], &[program(Tool::Helm, "helm.sh/helm/v3/cmd/helm")]),
    module!("kubeconform", "0.7.0", 3 s, 90 MiB, &[
        "main.version=v0.7.0",
    ], &[program(Tool::Kubeconform, "github.com/yannh/kubeconform/cmd/kubeconform")]),
    module!("clusterctl", "1.13.6", 77 s, 920 MiB, &[
        "sigs.k8s.io/cluster-api/version.gitVersion=v1.13.6",
    ], &[program(Tool::Clusterctl, "sigs.k8s.io/cluster-api/cmd/clusterctl")]),
    module!("capi", "1.13.4", 104 s, 1450 MiB, &[
        "sigs.k8s.io/cluster-api/version.gitVersion=v1.13.4",
    ], &[
        program(Tool::CapiCore, "sigs.k8s.io/cluster-api"),
        program(Tool::CapiBootstrap, "sigs.k8s.io/cluster-api/bootstrap/kubeadm"),
        program(Tool::CapiControlPlane, "sigs.k8s.io/cluster-api/controlplane/kubeadm"),
        program(Tool::CapiDev, "sigs.k8s.io/cluster-api/test/infrastructure/docker"),
    ]),
    module!("tofu", "1.12.6", 157 s, 2610 MiB, &[
        "github.com/opentofu/opentofu/version.dev=no",
    ], &[program(Tool::Tofu, "github.com/opentofu/opentofu/cmd/tofu")]),
    module!("actionlint", "1.7.12", 4 s, 45 MiB, &[
        "github.com/rhysd/actionlint.version=v1.7.12",
    ], &[program(Tool::Actionlint, "github.com/rhysd/actionlint/cmd/actionlint")]),
];

/// The module that a tool is built from, and the program in it.
pub fn module(tool: Tool) -> Option<(&'static Module, Program)> {
    MODULES.iter().find_map(|module| {
        let program = module.programs.iter().find(|program| program.tool == tool)?;
        Some((module, *program))
    })
}

/// The variable that names a tool's path: `XTASK_KUBE_APISERVER`.
pub fn variable(tool: Tool) -> String {
    format!("XTASK_{}", tool.program().to_ascii_uppercase().replace('-', "_"))
}

impl Module {
    /// The Go that its `go.mod` asks for.
    pub fn go_requirement(&self) -> VersionReq {
        let line = self
            .go_mod
            .lines()
            .find_map(|line| line.strip_prefix("go "))
            .expect("each committed go.mod names its Go, which a test looks at");
        VersionReq::parse(&format!(">={}", line.trim())).expect("each committed go.mod names a plain version")
    }
}

impl Requirement {
    /// The range, given the Kubernetes version of the cluster that is meant; `None` when all will do.
    pub fn range(self, kubernetes: &str) -> Option<VersionReq> {
        match self {
            Self::Any => None,
            Self::Range(text) => {
                Some(VersionReq::parse(text).expect("each range of the table parses, which a test looks at"))
            }
            Self::Kubernetes => {
                let version = super::version::word(kubernetes)?;
                VersionReq::parse(&format!("~{}.{}", version.major, version.minor)).ok()
            }
        }
    }
}

const fn ask(arguments: &'static [&'static str], reading: Reading) -> Probe {
    Probe { arguments, reading }
}

/// The row of a tool.
pub fn row(tool: Tool) -> Row {
    use Places::{All, Itself, NotPath};
    use Reading::{Answers, First, KislyukYq, Kluctl, LastOfFirstLine, Pointer, Unasked};
    use Requirement::{Any, Kubernetes, Range};

    let of = |why, probe, requirement, places, remedies| Row {
        why,
        probe,
        requirement,
        places,
        remedies,
    };
    let version = || ask(&["--version"], First);
    match tool {
        Tool::Xtask => of("run its own probes", ask(&[], Unasked), Any, Itself, &[]),
        Tool::Kluctl => of(
            "deploy stages",
            ask(&["version"], Kluctl),
            // Flags and result file of 2.22 and 2.28 are both covered.
            Range(">=2.22, <3"),
            All,
            &[
                "nix: `nix profile install nixpkgs#kluctl`",
                "macOS: `brew install kluctl/tap/kluctl`",
            ],
        ),
        Tool::Kubectl => of(
            "speak to API servers",
            ask(
                &["version", "--client", "-o", "json"],
                Pointer("/clientVersion/gitVersion"),
            ),
            Kubernetes,
            All,
            &[
                "nix: `nix profile install nixpkgs#kubectl`",
                "macOS: `brew install kubernetes-cli`",
            ],
        ),
        Tool::KubeApiserver => of(
            "be an embedded cluster's API server",
            version(),
            Kubernetes,
            All,
            KUBERNETES,
        ),
        Tool::KubeControllerManager => of(
            "run an embedded cluster's controllers",
            version(),
            Kubernetes,
            All,
            KUBERNETES,
        ),
        Tool::KubeScheduler => of(
            "schedule pods of an embedded cluster",
            version(),
            Kubernetes,
            All,
            KUBERNETES,
        ),
        Tool::Etcd => of(
            "keep an embedded cluster's objects",
            version(),
            Range(">=3.5, <4"),
            All,
            &[
                "Debian: `sudo apt-get install etcd-server`",
                "nix: `nix profile install nixpkgs#etcd`",
                "macOS: `brew install etcd`",
            ],
        ),
        Tool::Kwok => of(
            "simulate nodes and pods of an embedded cluster",
            version(),
            // The stages and the configuration file that an embedded cluster is given are those of 0.8.
            Range(">=0.8, <0.9"),
            All,
            &["nix: `nix profile install nixpkgs#kwok`", "macOS: `brew install kwok`"],
        ),
        Tool::Kwokctl => of(
            "start and stop embedded clusters",
            version(),
            Range(">=0.8, <0.9"),
            All,
            &["nix: `nix profile install nixpkgs#kwok`", "macOS: `brew install kwok`"],
        ),
        Tool::Helm => of(
            "render charts",
            ask(&["version", "--template", "{{.Version}}"], First),
            // Helm 4 renders and prints differently.
            Range(">=3.14, <4"),
            All,
            &[
                "nix: `nix profile install nixpkgs#kubernetes-helm`",
                "macOS: `brew install helm@3`",
            ],
        ),
        Tool::Sops => of(
            "encrypt and decrypt secret files",
            ask(&["--disable-version-check", "--version"], First),
            Range(">=3.9, <4"),
            All,
            &["nix: `nix profile install nixpkgs#sops`", "macOS: `brew install sops`"],
        ),
        Tool::Age => of("encrypt for recipients", version(), Range(">=1.1, <2"), All, AGE),
        Tool::AgeKeygen => of("make age identities", version(), Range(">=1.1, <2"), All, AGE),
        Tool::Kubeconform => of(
            "validate objects against schemas",
            ask(&["-v"], First),
            Range(">=0.6, <1"),
            All,
            &[
                "nix: `nix profile install nixpkgs#kubeconform`",
                "macOS: `brew install kubeconform`",
            ],
        ),
        Tool::Clusterctl => of(
            "install and move ClusterAPI",
            ask(&["version", "-o", "json"], Pointer("/clusterctl/gitVersion")),
            // The Hetzner provider's contract ends with 1.13.
            Range(">=1.10, <1.14"),
            All,
            &[
                "nix: `nix profile install nixpkgs#clusterctl`",
                "macOS: `brew install clusterctl`",
            ],
        ),
        Tool::CapiCore | Tool::CapiBootstrap | Tool::CapiControlPlane | Tool::CapiDev => of(
            "run ClusterAPI on an embedded cluster in rehearsals",
            ask(&[], Unasked),
            Any,
            NotPath,
            &[],
        ),
        Tool::Tofu => of(
            "apply the Terraform JSON",
            ask(&["version", "-json"], Pointer("/terraform_version")),
            Range(">=1.8, <2"),
            All,
            &[
                "nix: `nix profile install nixpkgs#opentofu`",
                "macOS: `brew install opentofu`",
            ],
        ),
        Tool::Actionlint => of(
            "lint hosted workflows",
            ask(&["-version"], First),
            Range(">=1.7, <2"),
            All,
            &[
                "nix: `nix profile install nixpkgs#actionlint`",
                "macOS: `brew install actionlint`",
            ],
        ),
        Tool::Nix => of(
            "evaluate and build the flake",
            ask(&["--version"], LastOfFirstLine),
            Range(">=2.8"),
            All,
            NIX,
        ),
        Tool::NixInstantiate => of(
            "evaluate Nix files",
            ask(&["--version"], LastOfFirstLine),
            Range(">=2.8"),
            All,
            NIX,
        ),
        Tool::Yq => of(
            "bring the Python and PyYAML that the renderer reads YAML with; kislyuk's yq, the other one has none",
            ask(&["--help"], KislyukYq),
            Any,
            All,
            &[
                "Debian: `sudo apt-get install yq`",
                "nix: `nix profile install nixpkgs#yq`",
                "anywhere: `pipx install yq`",
            ],
        ),
        Tool::Jq => of(
            "bring JSON into one form in the renderer",
            version(),
            Range(">=1.6, <2"),
            All,
            &[
                "Debian: `sudo apt-get install jq`",
                "nix: `nix profile install nixpkgs#jq`",
                "macOS: `brew install jq`",
            ],
        ),
        Tool::Colima => of(
            "start virtual machines",
            version(),
            // Below, a NixOS image is refused for not being one of its own.
            Range(">=0.10.2, <1"),
            All,
            &[
                "nix: `nix profile install nixpkgs#colima`",
                "macOS: `brew install colima`",
            ],
        ),
        Tool::Limactl => of(
            "read and start virtual machines",
            version(),
            // `vmOpts`, under which Rosetta is asked for, came with 2.0.
            Range(">=2.0, <3"),
            All,
            &["nix: `nix profile install nixpkgs#lima`", "macOS: `brew install lima`"],
        ),
        Tool::Clan => of(
            "install machines",
            ask(&["--help"], Answers),
            Any,
            All,
            &["enter the flake's shell: `nix develop`"],
        ),
        Tool::Go => of(
            "build tools that nothing else provides",
            ask(&["version"], First),
            Range(">=1.26, <2"),
            All,
            &[
                "Debian: a tarball of Go 1.26 or newer unpacked to /usr/local/go, with /usr/local/go/bin on PATH",
                "nix: `nix profile install nixpkgs#go`",
                "macOS: `brew install go`",
            ],
        ),
        Tool::Git => of(
            "read revisions and make worktrees",
            version(),
            Range(">=2.25, <3"),
            All,
            &[
                "Debian: `sudo apt-get install git`",
                "nix: `nix profile install nixpkgs#git`",
                "macOS: `xcode-select --install`",
            ],
        ),
        Tool::Ssh => of(
            "reach machines",
            ask(&["-V"], First),
            Any,
            All,
            &[
                "Debian: `sudo apt-get install openssh-client`",
                "nix: `nix profile install nixpkgs#openssh`",
            ],
        ),
        Tool::Cargo => of(
            "build and test this crate",
            version(),
            Range(">=1.95, <2"),
            All,
            &[
                "anywhere: `rustup toolchain install 1.95`",
                "nix: `nix profile install nixpkgs#cargo`",
            ],
        ),
        Tool::Bash => of(
            "run the renderer outside Nix",
            version(),
            // The renderer asks for `inherit_errexit`; the bash of macOS is too old.
            Range(">=4.4"),
            All,
            &[
                "Debian: `sudo apt-get install bash`",
                "nix: `nix profile install nixpkgs#bash`",
            ],
        ),
        Tool::Security => of(
            "change the keychain of macOS",
            ask(&["help"], Answers),
            Any,
            All,
            &["macOS: part of the system; it is not on other systems"],
        ),
        Tool::Sudo => of(
            "change the trust store of Linux",
            ask(&["--version"], First),
            Any,
            All,
            &["Debian: `su -c 'apt-get install sudo'`"],
        ),
    }
}

const KUBERNETES: &[&str] = &["nix: `nix profile install nixpkgs#kubernetes`"];
const AGE: &[&str] = &[
    "Debian: `sudo apt-get install age`",
    "nix: `nix profile install nixpkgs#age`",
    "macOS: `brew install age`",
];
const NIX: &[&str] = &[
    "Debian: `sudo apt-get install nix-bin`",
    "anywhere: https://nixos.org/download",
];

/// The control plane of the embedded backend, what speaks to it, and what a deploy asks besides.
pub const EMBEDDED: &[Tool] = &[
    Tool::Kubectl,
    Tool::KubeApiserver,
    Tool::KubeControllerManager,
    Tool::KubeScheduler,
    Tool::Etcd,
    Tool::Kwok,
    Tool::Kwokctl,
    Tool::Kluctl,
    Tool::AgeKeygen,
    Tool::Git,
];

/// Verbs that need tools, with those that they need on a host without a virtual machine tool; a law holds this over
/// the plans.
const BY_VERB: &[(&str, &[Tool])] = &[
    ("local-up", EMBEDDED),
    ("local-status", &[Tool::Kubectl]),
    ("rehearse", EMBEDDED),
    ("build", &[Tool::Nix]),
    (
        "capi",
        &[
            Tool::Clusterctl,
            Tool::Kubectl,
            Tool::Kluctl,
            Tool::AgeKeygen,
            Tool::Sops,
            Tool::Nix,
            Tool::Go,
            Tool::Git,
        ],
    ),
    (
        "render",
        &[
            Tool::Bash,
            Tool::NixInstantiate,
            Tool::Helm,
            Tool::Yq,
            Tool::Jq,
            Tool::Cargo,
        ],
    ),
    ("deploy", DEPLOY),
    ("diff", DEPLOY),
    ("drift", DEPLOY),
    ("prune", &[Tool::Kubectl]),
    ("rollback", DEPLOY),
    ("history", &[Tool::Kubectl]),
    ("adopt", &[Tool::Kubectl]),
    ("unlock", &[Tool::Kubectl]),
    ("image", &[Tool::Nix]),
    ("ssh", &[Tool::Limactl]),
    ("trust", &[Tool::Kubectl, Tool::Sudo]),
    ("kubectl", &[Tool::Kubectl]),
    (
        "golden",
        &[
            Tool::Git,
            Tool::Helm,
            Tool::Kubeconform,
            Tool::Kubectl,
            Tool::KubeApiserver,
            Tool::KubeControllerManager,
            Tool::KubeScheduler,
            Tool::Etcd,
            Tool::Kwok,
            Tool::Kwokctl,
        ],
    ),
    ("secrets", &[Tool::Sops, Tool::Age, Tool::AgeKeygen, Tool::Kubectl]),
    ("tools", &[Tool::Go]),
    ("generate", &[Tool::NixInstantiate, Tool::Cargo]),
    (
        "ci",
        &[
            Tool::Cargo,
            Tool::Git,
            Tool::Bash,
            Tool::Kubectl,
            Tool::KubeApiserver,
            Tool::KubeControllerManager,
            Tool::KubeScheduler,
            Tool::Etcd,
            Tool::Kwok,
            Tool::Kwokctl,
            Tool::Kluctl,
            Tool::Helm,
            Tool::Sops,
            Tool::Age,
            Tool::AgeKeygen,
            Tool::Kubeconform,
            Tool::Clusterctl,
            Tool::CapiCore,
            Tool::CapiBootstrap,
            Tool::CapiControlPlane,
            Tool::CapiDev,
            Tool::Actionlint,
            Tool::Go,
            Tool::NixInstantiate,
            Tool::Yq,
            Tool::Jq,
        ],
    ),
];

const DEPLOY: &[Tool] = &[Tool::Kubectl, Tool::Kluctl, Tool::AgeKeygen, Tool::Nix, Tool::Git];

/// What a verb needs on a host without a virtual machine tool.
pub fn for_verb(verb: &str) -> &'static [Tool] {
    BY_VERB
        .iter()
        .find(|(name, _)| *name == verb)
        .map_or(&[], |(_, tools)| *tools)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_row_has_a_range_that_parses_and_someone_who_provides_it() {
        for tool in Tool::value_variants() {
            let row = row(*tool);
            let range = row.requirement.range("1.35.4");
            assert_eq!(range.is_none(), row.requirement == Requirement::Any, "{tool:?}");
            let provided = !row.remedies.is_empty() || module(*tool).is_some() || row.places == Places::Itself;
            assert!(provided, "{tool:?} can come from nowhere");
        }
    }

    #[test]
    fn what_is_built_meets_what_is_required_and_is_really_what_the_pin_says() {
        for module in MODULES {
            let version = semver::Version::parse(module.version).unwrap();
            for program in module.programs {
                if let Some(range) = row(program.tool).requirement.range("1.35.4") {
                    assert!(range.matches(&version), "{} {version} against {range}", module.name);
                }
                assert!(
                    module.go_mod.contains(&format!("v{version}")),
                    "{} does not pin {version}",
                    module.name
                );
                assert!(
                    module.go_mod.contains(program.package),
                    "{} does not name {}",
                    module.name,
                    program.package
                );
            }
            assert!(
                module.go_requirement().matches(&semver::Version::new(1, 26, 8)),
                "{}",
                module.name
            );
            assert!(!module.go_requirement().matches(&semver::Version::new(1, 25, 9)));
            assert!(!module.go_sum.is_empty());
        }
    }

    #[test]
    fn a_tool_is_built_by_one_module_only() {
        let mut tools: Vec<Tool> = MODULES
            .iter()
            .flat_map(|module| module.programs)
            .map(|program| program.tool)
            .collect();
        let count = tools.len();
        tools.sort_unstable();
        tools.dedup();
        assert_eq!(tools.len(), count);
    }

    #[test]
    fn every_row_of_verbs_is_of_one_that_there_is_and_needs_something() {
        let command = <crate::cli::Cli as clap::CommandFactory>::command();
        for (verb, tools) in BY_VERB {
            assert!(command.find_subcommand(verb).is_some(), "`{verb}` is no verb");
            assert_eq!(for_verb(verb), *tools, "`{verb}` has two rows");
            assert!(!tools.is_empty(), "`{verb}` needs no row");
        }
    }

    #[test]
    fn kubernetes_tools_follow_the_minor_of_their_cluster() {
        let range = Requirement::Kubernetes.range("1.31.9").unwrap();
        assert!(range.matches(&semver::Version::new(1, 31, 0)));
        assert!(!range.matches(&semver::Version::new(1, 32, 0)));
        assert!(!range.matches(&semver::Version::new(1, 30, 9)));
    }

    #[test]
    fn a_path_is_given_by_a_variable_named_after_the_program() {
        assert_eq!(variable(Tool::KubeApiserver), "XTASK_KUBE_APISERVER");
        assert_eq!(variable(Tool::Kluctl), "XTASK_KLUCTL");
    }
}

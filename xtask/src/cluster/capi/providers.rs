//! The providers that xtask knows, and where their components come from: the module's own folder, pinned by its
//! sum. What is not pinned is not installed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::failure::{Failure, Result};

/// A provider as clusterctl installs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Provider {
    /// clusterctl's name: `cluster-api`, `kubeadm`, `hetzner`.
    pub name: String,
    /// What it provides.
    pub role: Role,
    /// Version with its `v`.
    pub version: String,
    /// Release series, `major.minor`, for its metadata.
    pub series: String,
    /// Contract of that series.
    pub contract: String,
    /// Image of its manager without tag; the version is the tag.
    pub image: String,
    /// Namespace it is installed in.
    pub namespace: String,
}

/// What a provider provides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The core controllers.
    Core,
    /// Bootstrap data of machines.
    Bootstrap,
    /// Control planes.
    ControlPlane,
    /// Machines and networks.
    Infrastructure,
}

impl Role {
    /// The flag of `clusterctl init`, and the name of the components file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Bootstrap => "bootstrap",
            Self::ControlPlane => "control-plane",
            Self::Infrastructure => "infrastructure",
        }
    }

    /// The type in `clusterctl.yaml` and in the inventory of a cluster.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Core => "CoreProvider",
            Self::Bootstrap => "BootstrapProvider",
            Self::ControlPlane => "ControlPlaneProvider",
            Self::Infrastructure => "InfrastructureProvider",
        }
    }
}

impl Provider {
    /// The folder in a local repository, which is also the name of its inventory entry.
    pub fn label(&self) -> String {
        match self.role {
            Role::Core => self.name.clone(),
            role => format!("{}-{}", role.name(), self.name),
        }
    }
}

/// Sums of the modules, as the pins of the tools have them.
const SUMS: [&str; 2] = [
    include_str!("../../../tools/clusterctl/go.sum"),
    include_str!("../../../tools/capi/go.sum"),
];

/// Where a provider's components are rendered from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A Go module, checked against its sum.
    Module {
        /// Module path.
        path: &'static str,
        /// Version.
        version: String,
        /// `h1:…`.
        sum: String,
    },
    /// An output of the flake: a source pinned by revision and hash.
    Flake {
        /// Attribute.
        attribute: &'static str,
    },
}

/// A provider with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// What clusterctl is told.
    pub provider: Provider,
    /// Where it comes from.
    pub origin: Origin,
    /// Kustomization below the origin's folder.
    pub folder: &'static str,
}

impl Pinned {
    /// The name of the link to the origin's folder: providers of one module share it.
    pub fn source(&self) -> String {
        match &self.origin {
            Origin::Module { path, version, .. } => format!("{}@{version}", path.replace('/', "-")),
            Origin::Flake { attribute } => (*attribute).to_owned(),
        }
    }
}

/// What xtask knows of a provider whatever its version.
struct Known {
    name: &'static str,
    role: Role,
    /// Go module; none for what only the flake has.
    module: Option<&'static str>,
    folder: &'static str,
    image: &'static str,
    namespace: &'static str,
}

const CORE: &str = "sigs.k8s.io/cluster-api";

const KNOWN: [Known; 5] = [
    Known {
        name: "cluster-api",
        role: Role::Core,
        module: Some(CORE),
        folder: "config/default",
        image: "registry.k8s.io/cluster-api/cluster-api-controller",
        namespace: "capi-system",
    },
    Known {
        name: "kubeadm",
        role: Role::Bootstrap,
        module: Some(CORE),
        folder: "bootstrap/kubeadm/config/default",
        image: "registry.k8s.io/cluster-api/kubeadm-bootstrap-controller",
        namespace: "capi-kubeadm-bootstrap-system",
    },
    Known {
        name: "kubeadm",
        role: Role::ControlPlane,
        module: Some(CORE),
        folder: "controlplane/kubeadm/config/default",
        image: "registry.k8s.io/cluster-api/kubeadm-control-plane-controller",
        namespace: "capi-kubeadm-control-plane-system",
    },
    Known {
        name: "docker",
        role: Role::Infrastructure,
        module: Some("sigs.k8s.io/cluster-api/test"),
        folder: "infrastructure/docker/config/default",
        image: "gcr.io/k8s-staging-cluster-api/capd-manager",
        namespace: "capd-system",
    },
    Known {
        name: "hetzner",
        role: Role::Infrastructure,
        module: None,
        folder: "config/default",
        image: "ghcr.io/syself/caph",
        namespace: "caph-system",
    },
];

/// Which CAPI minors and Kubernetes minors a series of the Hetzner provider covers.
const HETZNER: [(&str, std::ops::RangeInclusive<u64>, std::ops::RangeInclusive<u64>); 2] =
    [("1.0", 8..=10, 31..=34), ("1.1", 10..=13, 32..=36)];

/// The version of the in-memory provider: that of the controllers among the tools.
const REHEARSED: &str = "v1.13.4";

/// Versions with which a rehearsal replaces those of the platform config.
pub fn rehearsed() -> BTreeMap<String, String> {
    ["cluster-api", "kubeadm", "docker"]
        .map(|name| (name.to_owned(), REHEARSED.to_owned()))
        .into()
}

/// The four providers of a cluster, in the order in which they are installed.
pub fn pinned(infrastructure: &str, versions: &BTreeMap<String, String>) -> Result<Vec<Pinned>> {
    let mut problems = Vec::new();
    let mut all = Vec::new();
    for (name, role) in [
        ("cluster-api", Role::Core),
        ("kubeadm", Role::Bootstrap),
        ("kubeadm", Role::ControlPlane),
        (infrastructure, Role::Infrastructure),
    ] {
        match pin(name, role, versions) {
            Ok(pinned) => all.push(pinned),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        return Ok(all);
    }
    Err(Failure::many(
        crate::base::failure::Kind::Config,
        "the providers cannot be pinned",
        &problems,
    )
    .hinted("`clusterApi.providers` of the platform config names versions; the pins are in `xtask/tools`"))
}

fn pin(name: &str, role: Role, versions: &BTreeMap<String, String>) -> Result<Pinned, String> {
    let known = KNOWN
        .iter()
        .find(|known| known.name == name && known.role == role)
        .ok_or_else(|| format!("no {} `{name}` is known", role.kind()))?;
    let version = versions
        .get(name)
        .ok_or_else(|| format!("the platform config gives no version of `{name}`"))?;
    let parsed = semver::Version::parse(version.trim_start_matches('v'))
        .map_err(|error| format!("`{version}` of `{name}` is no version: {error}"))?;
    let origin = match known.module {
        Some(path) => Origin::Module {
            path,
            version: version.clone(),
            sum: sum(path, version).ok_or_else(|| format!("`{path}` {version} is not pinned by any `go.sum`"))?,
        },
        None => Origin::Flake {
            attribute: "cluster-api-provider-hetzner",
        },
    };
    // The Hetzner provider still speaks the older contract.
    let contract = if known.module.is_some() { "v1beta2" } else { "v1beta1" };
    Ok(Pinned {
        provider: Provider {
            name: name.to_owned(),
            role,
            version: version.clone(),
            series: format!("{}.{}", parsed.major, parsed.minor),
            contract: contract.to_owned(),
            image: known.image.to_owned(),
            namespace: known.namespace.to_owned(),
        },
        origin,
        folder: known.folder,
    })
}

fn sum(module: &str, version: &str) -> Option<String> {
    SUMS.iter().flat_map(|sums| sums.lines()).find_map(|line| {
        let mut words = line.split(' ');
        let found = words.next() == Some(module) && words.next() == Some(version);
        found.then(|| words.next().unwrap_or_default().to_owned())
    })
}

/// Why a clusterctl does not go with the core provider; none when it does. A newer one would bring objects along in
/// another way than the one that made them.
pub fn clusterctl_mismatch(clusterctl: &semver::Version, providers: &[Pinned]) -> Option<String> {
    let core = providers.iter().find(|pinned| pinned.provider.role == Role::Core)?;
    let series = format!("{}.{}", clusterctl.major, clusterctl.minor);
    (series != core.provider.series).then(|| {
        format!(
            "clusterctl {clusterctl} does not go with core {}: `XTASK_CLUSTERCTL` names another, and one that fits is built where PATH has none",
            core.provider.version
        )
    })
}

/// What does not go together among versions; empty when all do.
pub fn mismatches(versions: &BTreeMap<String, String>, infrastructure: &str, kubernetes: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let parsed = |name: &str| -> Option<semver::Version> {
        semver::Version::parse(versions.get(name)?.trim_start_matches('v')).ok()
    };
    let (Some(core), Some(kubeadm)) = (parsed("cluster-api"), parsed("kubeadm")) else {
        return vec!["versions of `cluster-api` and `kubeadm` are needed".to_owned()];
    };
    if core != kubeadm {
        problems.push(format!(
            "core {core} and kubeadm {kubeadm} are released together and differ"
        ));
    }
    let fresh = match core.minor {
        12 => core.patch >= 8,
        13 => core.patch >= 2,
        minor => minor > 13,
    };
    if !fresh {
        problems.push(format!(
            "core {core} lacks the ClusterRole `system:kubelet-api-admin` that some Kubernetes patches need (1.12.8, 1.13.2 or newer)"
        ));
    }
    if infrastructure == "hetzner" {
        let Some(hetzner) = parsed("hetzner") else {
            problems.push("the platform config gives no version of `hetzner`".to_owned());
            return problems;
        };
        let series = format!("{}.{}", hetzner.major, hetzner.minor);
        let minor = kubernetes.split('.').nth(1).and_then(|minor| minor.parse::<u64>().ok());
        match HETZNER.iter().find(|(known, ..)| *known == series) {
            None => problems.push(format!("nothing is known of series {series} of `hetzner`")),
            Some((_, cores, kubernetes_minors)) => {
                if !cores.contains(&core.minor) {
                    problems.push(format!(
                        "`hetzner` {hetzner} goes with core 1.{} to 1.{}, not {core}",
                        cores.start(),
                        cores.end()
                    ));
                }
                if !minor.is_some_and(|minor| kubernetes_minors.contains(&minor)) {
                    problems.push(format!(
                        "`hetzner` {hetzner} goes with Kubernetes 1.{} to 1.{}, not {kubernetes}",
                        kubernetes_minors.start(),
                        kubernetes_minors.end()
                    ));
                }
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(core: &str, hetzner: &str) -> BTreeMap<String, String> {
        [("cluster-api", core), ("kubeadm", core), ("hetzner", hetzner)]
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .into()
    }

    #[test]
    fn the_providers_of_the_config_are_pinned_and_go_together() {
        let versions = config("v1.13.6", "v1.1.8");
        let pinned = pinned("hetzner", &versions).unwrap();
        assert_eq!(pinned.len(), 4);
        assert!(matches!(&pinned[0].origin, Origin::Module { sum, .. } if sum.starts_with("h1:")));
        assert_eq!(mismatches(&versions, "hetzner", "1.35.4"), Vec::<String>::new());
    }

    #[test]
    fn a_version_without_a_pin_is_not_installed() {
        let failure = pinned("hetzner", &config("v1.13.5", "v1.1.8")).unwrap_err();
        assert!(
            failure
                .chain()
                .contains("`sigs.k8s.io/cluster-api` v1.13.5 is not pinned"),
            "{}",
            failure.chain()
        );
    }

    #[test]
    fn versions_that_do_not_go_together_are_all_named() {
        let problems = mismatches(&config("v1.10.7", "v1.0.7"), "hetzner", "1.35.4");
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[1].contains("not 1.35.4"), "{problems:?}");
    }

    #[test]
    fn a_clusterctl_of_another_minor_than_the_core_is_no_clusterctl() {
        let pinned = pinned("hetzner", &config("v1.13.6", "v1.1.8")).unwrap();
        assert_eq!(clusterctl_mismatch(&semver::Version::new(1, 13, 2), &pinned), None);
        let problem = clusterctl_mismatch(&semver::Version::new(1, 12, 8), &pinned).unwrap();
        assert!(
            problem.starts_with("clusterctl 1.12.8 does not go with core v1.13.6"),
            "{problem}"
        );
    }

    #[test]
    fn a_rehearsal_has_pins_for_all_four() {
        assert_eq!(pinned("docker", &rehearsed()).unwrap().len(), 4);
    }
}

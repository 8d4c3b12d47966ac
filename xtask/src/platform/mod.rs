//! The platform config: `platform.json`, as the Nix modules evaluated it.
//! No default and no fact may stand here; what Nix did not state does not exist.

mod shape;

use std::collections::BTreeMap;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::root::{PLATFORM_JSON, STATE};
use crate::base::state::is_name;
use crate::base::text::unknown;

/// How to come by platform config that can be read.
const REMEDY: &str = "`platform.json` is generated: mend `modules/platform.nix`, then `nix build .#platform`, or `git checkout -- platform.json`";

/// The schema version that this binary reads.
pub const SCHEMA: u32 = 1;

/// Everything `platform.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Platform {
    /// Always [`SCHEMA`]; another number is refused before anything else is read.
    pub schema: u32,
    /// The platform's name: prefix of discriminators and DNS owners.
    pub name: String,
    /// The DNS zone of production, for example `example.org`.
    pub domain: String,
    /// Component versions by name (`kubernetes` is the minor all clusters share).
    pub versions: BTreeMap<String, String>,
    /// The cluster a stage goes to when `--cluster` is left out.
    pub default_clusters: BTreeMap<Stage, DefaultCluster>,
    /// Clusters by name.
    pub clusters: BTreeMap<String, Cluster>,
    /// Virtual machine profiles by name.
    pub profiles: BTreeMap<String, Profile>,
    /// Hosts by name.
    pub machines: BTreeMap<String, Machine>,
    /// Age recipients and which identity the operator of an environment holds.
    pub secrets: Secrets,
    /// Local against production, a row an aspect.
    pub parity: Vec<ParityRow>,
}

/// A set of manifests that is deployed as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The platform on a local cluster.
    Local,
    /// The ClusterAPI objects that describe a workload cluster.
    Capi,
    /// The platform on a production cluster.
    Full,
}

/// What a mistake costs; decides what is asked and refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// A developer's own cluster.
    Local,
    /// A cluster other people depend on.
    Production,
}

impl Environment {
    /// As the platform config write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Production => "production",
        }
    }
}

/// What runs a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// A NixOS VM with k3s, started by Colima.
    Colima,
    /// The same VM, started by Lima alone.
    Lima,
    /// A real control plane on this host, its nodes and pods simulated by kwok.
    Embedded,
    /// A cluster that a kubeconfig leads to.
    Remote,
}

/// The Kubernetes distribution of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// k3s on NixOS.
    K3s,
    /// kubeadm nodes made by ClusterAPI.
    Kubeadm,
}

/// Where a stage goes by default, before and after a pivot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DefaultCluster {
    /// The default.
    pub cluster: String,
    /// The default once a pivot to that cluster is recorded; null where a pivot changes nothing.
    pub after_pivot: Option<String>,
}

/// One Kubernetes API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Cluster {
    /// What a mistake costs here.
    pub environment: Environment,
    /// Backends this cluster may run on, in the order in which `--backend auto` tries them.
    pub backends: Vec<Backend>,
    /// Distribution of the nodes.
    pub distribution: Distribution,
    /// UID of the `kube-system` namespace; production without one is refused, local ones are null.
    pub uid: Option<String>,
    /// Kubeconfig of this cluster alone, relative to the checkout's root, mode 0600.
    pub kubeconfig: Utf8PathBuf,
    /// Context inside that kubeconfig.
    pub context: String,
    /// Kubernetes version of an embedded control plane, for example `1.35.4`.
    pub kubernetes: String,
    /// Host name or address under which nodes reach the API.
    pub api_host: String,
    /// TCP port of the API.
    pub api_port: u16,
    /// DNS domain inside the cluster.
    pub cluster_domain: String,
    /// DNS domain under which the cluster's routes are reached.
    pub route_domain: String,
    /// IPv4 CIDR of pods.
    pub pod_cidr: String,
    /// IPv4 CIDR of services.
    pub service_cidr: String,
    /// Address of the cluster DNS service.
    pub dns_address: String,
    /// Nodes that the platform config expect.
    pub nodes: u32,
    /// Virtual machine profile of the colima and lima backends.
    pub profile: Option<String>,
    /// Machine that clan installs for this cluster.
    pub machine: Option<String>,
    /// Store to which the closures that volumes name are copied, as `nix copy --to` takes it; null where none is.
    pub closure_store: Option<String>,
    /// ClusterAPI: who makes this cluster; null for all others.
    pub cluster_api: Option<ClusterApi>,
    /// ClusterIssuer in use.
    pub issuer: String,
    /// Components switched on, in the order of their phases.
    pub components: Vec<String>,
    /// Stages this cluster may carry.
    pub stages: BTreeMap<Stage, StageOnCluster>,
}

/// What the platform config says of one (cluster, stage) pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StageOnCluster {
    /// Value of the label `kluctl.io/discriminator`, at most 63 characters.
    pub discriminator: String,
    /// Phases in order.
    pub phases: Vec<String>,
    /// The cluster that the objects describe: for stage capi the workload cluster, else null.
    pub describes: Option<String>,
    /// True when the stage may only go here once the pivot is recorded.
    pub needs_pivot: bool,
}

/// How ClusterAPI makes a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ClusterApi {
    /// Cluster that carries the objects until the pivot.
    pub bootstrap: String,
    /// Namespace of the objects.
    pub namespace: String,
    /// Infrastructure provider as clusterctl names it.
    pub infrastructure: String,
    /// Provider versions by clusterctl's name: `cluster-api`, `kubeadm`, `hetzner`.
    pub providers: BTreeMap<String, String>,
    /// Control-plane machines.
    pub control_planes: u32,
    /// Worker machines by MachineDeployment.
    pub workers: BTreeMap<String, u32>,
    /// Name and label `caph-image-name` of the node snapshot.
    pub image_name: String,
    /// Name of the SSH key at the provider.
    pub ssh_key: String,
    /// Regions of the control plane.
    pub regions: Vec<String>,
    /// How the record of the API endpoint is set.
    pub dns: DnsProvider,
}

/// Who sets the record of a control-plane endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DnsProvider {
    /// A person, told what to set.
    Manual,
    /// Cloudflare's API.
    Cloudflare,
}

/// A virtual machine of the colima and lima backends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Profile {
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in GiB.
    pub memory: u32,
    /// Disk in GiB, root disk and data disk alike.
    pub disk: u32,
    /// VM architecture; null means the host's own.
    pub arch: Option<Arch>,
    /// Whether Rosetta is asked for (aarch64 VMs on Apple Silicon only).
    pub rosetta: bool,
    /// TCP port of the API on the VM's and the host's loopback.
    pub api_port: u16,
}

/// A machine architecture, by Nix' and Linux' name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    /// 64-bit Arm.
    #[value(name = "aarch64")]
    Aarch64,
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    #[value(name = "x86_64")]
    X86_64,
}

/// A host that terranix provisions and clan installs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Machine {
    /// A machine that is not enabled has no server; turning it off destroys one.
    pub enabled: bool,
    /// Cloud provider.
    pub provider: Provider,
    /// Server type at the provider, for example `cpx31`.
    pub server_type: String,
    /// Location at the provider, for example `fsn1`.
    pub location: String,
    /// Image the server boots before clan installs it.
    pub image: String,
    /// Nix system of the host.
    pub system: String,
    /// What the machine is for.
    pub comment: String,
}

/// A cloud provider that `modules/terranix` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Hetzner Cloud.
    Hetzner,
}

/// Recipients and the secrets that must exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Secrets {
    /// Age recipients (`age1…`) by the name that rules and rotations use.
    pub recipients: BTreeMap<String, String>,
    /// Recipient whose identity the operator of a cluster holds, by cluster.
    pub operator_identities: BTreeMap<String, String>,
    /// Every secret that must exist.
    pub required: Vec<RequiredSecret>,
}

/// One secret that must exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RequiredSecret {
    /// Name that `secrets set` takes, unique.
    pub id: String,
    /// Clusters whose stage needs it; empty for a host secret.
    pub clusters: Vec<String>,
    /// Encrypted file, relative to the checkout's root.
    pub file: Utf8PathBuf,
    /// Namespace of the Secret; empty for a host secret.
    pub namespace: String,
    /// Name of the Secret.
    pub name: String,
    /// Keys inside the Secret and where their values come from.
    pub keys: BTreeMap<String, SecretSource>,
    /// Labels that the Secret carries.
    pub labels: BTreeMap<String, String>,
    /// Workloads (`kind/namespace/name`) that read it.
    pub consumers: Vec<String>,
}

/// Where the value of a secret's key comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretSource {
    /// How the value comes to be.
    pub kind: SecretKind,
    /// Variable that may hold the value when it is asked for; null for generated ones.
    pub variable: Option<String>,
    /// What a person is told when asked.
    pub description: String,
}

/// How a secret value comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretKind {
    /// 32 random bytes, printable.
    Generated,
    /// Given by a person.
    Asked,
    /// The private key of the step-ca root.
    StepCaRootKey,
    /// The private key of the step-ca intermediate.
    StepCaIntermediateKey,
    /// An SSH key pair's private half.
    SshKey,
    /// The age identity of the machine in whose folder the secret lies.
    AgeIdentity,
}

/// One row of the parity matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ParityRow {
    /// What is compared.
    pub aspect: String,
    /// Value on the local cluster.
    pub local: String,
    /// Value in production.
    pub production: String,
    /// Why they differ; null demands that they are equal.
    pub reason: Option<String>,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 3] = [Self::Local, Self::Capi, Self::Full];

    /// The name on the command line, in the platform config and in folders.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Capi => "capi",
            Self::Full => "full",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Backend {
    /// The name on the command line and in the platform config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Colima => "colima",
            Self::Lima => "lima",
            Self::Embedded => "embedded",
            Self::Remote => "remote",
        }
    }
}

impl Arch {
    /// The name that Nix, Linux and Lima use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aarch64 => "aarch64",
            Self::X86_64 => "x86_64",
        }
    }
}

impl Platform {
    /// Reads platform config: the schema version first, then everything, then what no type can say. What has not the shape of
    /// platform config is reported whole, each problem with its path.
    pub fn parse(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let version: Version = serde_json::from_str(text).map_err(|error| at(text, &error))?;
        if version.schema != SCHEMA {
            return Err(Failure::config(format!(
                "the platform config has schema {}, this xtask reads schema {SCHEMA}",
                version.schema
            ))
            .hinted("use the xtask of the same checkout: `cargo xtask` or `nix run .#xtask`"));
        }
        let platform: Self = serde_json::from_str(text).map_err(|error| match shape::problems(text) {
            problems if problems.is_empty() => at(text, &error),
            problems => Failure::many(
                Kind::Config,
                "the platform config has not the shape of platform config",
                &problems,
            )
            .hinted(REMEDY),
        })?;
        let problems = platform.problems();
        if problems.is_empty() {
            Ok(platform)
        } else {
            Err(
                Failure::many(Kind::Config, "the platform config contradicts itself", &problems)
                    .hinted("mend `modules/platform.nix`, then `nix build .#platform` and commit `platform.json`"),
            )
        }
    }

    /// The cluster of this name.
    pub fn cluster(&self, name: &str) -> Result<&Cluster> {
        self.clusters
            .get(name)
            .ok_or_else(|| unknown(Kind::Config, "cluster", name, self.clusters.keys().map(String::as_str)))
    }

    /// API ports of every profile, each once.
    pub fn api_ports(&self) -> Vec<u16> {
        let ports: std::collections::BTreeSet<u16> = self.profiles.values().map(|profile| profile.api_port).collect();
        ports.into_iter().collect()
    }

    /// The cluster that a stage goes to by default, as long as no pivot is recorded.
    pub fn default_cluster(&self, stage: Stage) -> Result<&str> {
        self.default_clusters
            .get(&stage)
            .map(|default| default.cluster.as_str())
            .ok_or_else(|| {
                Failure::config(format!(
                    "the platform config names no default cluster for stage `{stage}`"
                ))
                .hinted("name one with `--cluster`")
            })
    }

    /// What the platform config says of a stage on a cluster; a failure where the cluster does not carry it.
    pub fn stage(&self, cluster: &str, stage: Stage) -> Result<&StageOnCluster> {
        self.cluster(cluster)?.stages.get(&stage).ok_or_else(|| {
            let carriers: Vec<&str> = self
                .clusters
                .iter()
                .filter(|(_, config)| config.stages.contains_key(&stage))
                .map(|(name, _)| name.as_str())
                .collect();
            Failure::config(format!("cluster `{cluster}` does not carry stage `{stage}`"))
                .hinted(format!("stage `{stage}` goes to: {}", carriers.join(", ")))
        })
    }

    /// Names that cannot be part of a path, and paths that lead out of the checkout: folders are made and removed by
    /// them.
    fn names(&self) -> Vec<String> {
        let named = [
            ("clusters", self.clusters.keys().collect::<Vec<_>>()),
            ("profiles", self.profiles.keys().collect()),
            ("machines", self.machines.keys().collect()),
            ("secrets.recipients", self.secrets.recipients.keys().collect()),
        ];
        let names = named.into_iter().flat_map(|(place, names)| {
            let bad = names.into_iter().filter(|name| !is_name(name));
            bad.map(move |name| format!("{place}: `{name}` is no name: letters, digits and `-` between them"))
        });
        let files = self.secrets.required.iter().filter(|secret| !is_path(&secret.file));
        let files = files.map(|secret| {
            let (id, file) = (&secret.id, &secret.file);
            format!("secrets.required: the file of `{id}`, `{file}`, is no path below the checkout's root")
        });
        names.chain(files).collect()
    }

    /// Everything that is wrong though each field has its type, with the path of each.
    fn problems(&self) -> Vec<String> {
        let mut problems = self.names();
        let mut ports: BTreeMap<u16, &str> = BTreeMap::new();
        for (name, cluster) in &self.clusters {
            let path = format!("clusters.{name}");
            if cluster.backends.is_empty() {
                problems.push(format!("{path}.backends: names no backend"));
            }
            if cluster.environment == Environment::Local {
                if let Some(other) = ports.insert(cluster.api_port, name) {
                    problems.push(format!(
                        "{path}.apiPort: port {} is taken by local cluster `{other}`",
                        cluster.api_port
                    ));
                }
                if cluster.uid.is_some() {
                    problems.push(format!("{path}.uid: only production clusters commit a UID"));
                }
            }
            if !is_path(&cluster.kubeconfig)
                || !cluster.kubeconfig.starts_with(STATE)
                || cluster.kubeconfig.file_name() == Some(STATE)
            {
                problems.push(format!(
                    "{path}.kubeconfig: `{}` is not below `.xtask/`",
                    cluster.kubeconfig
                ));
            }
            if let Some(profile) = &cluster.profile
                && !self.profiles.contains_key(profile)
            {
                problems.push(format!("{path}.profile: no profile `{profile}`"));
            }
            if let Some(machine) = &cluster.machine
                && !self.machines.contains_key(machine)
            {
                problems.push(format!("{path}.machine: no machine `{machine}`"));
            }
            if let Some(api) = &cluster.cluster_api
                && !self.clusters.contains_key(&api.bootstrap)
            {
                problems.push(format!("{path}.clusterApi.bootstrap: no cluster `{}`", api.bootstrap));
            }
            for (stage, on) in &cluster.stages {
                let length = on.discriminator.len();
                if length == 0 || length > 63 {
                    problems.push(format!(
                        "{path}.stages.{stage}.discriminator: {length} characters, a label takes 1 to 63"
                    ));
                }
                for (other, twin) in cluster.stages.range(..stage) {
                    if twin.discriminator == on.discriminator {
                        problems.push(format!(
                            "{path}.stages.{stage}.discriminator: the same as that of stage `{other}`; they would prune each other"
                        ));
                    }
                }
            }
        }
        for (stage, default) in &self.default_clusters {
            for cluster in std::iter::once(&default.cluster).chain(&default.after_pivot) {
                match self.clusters.get(cluster) {
                    None => problems.push(format!("defaultClusters.{stage}: no cluster `{cluster}`")),
                    Some(config) if !config.stages.contains_key(stage) => {
                        problems.push(format!(
                            "defaultClusters.{stage}: cluster `{cluster}` does not carry the stage"
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
        problems
    }
}

/// Whether a path stays below the folder that it begins in.
fn is_path(path: &Utf8Path) -> bool {
    path.components().all(|part| matches!(part, Utf8Component::Normal(_)))
}

/// A JSON error with its place and the line it is about.
fn at(text: &str, error: &serde_json::Error) -> Failure {
    let line = text
        .lines()
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default()
        .trim();
    Failure::config(format!("{error}: `{line}`")).hinted(REMEDY)
}

/// Reads the platform config of a checkout.
pub fn config(root: &Utf8Path) -> Result<Platform> {
    let path = root.join(PLATFORM_JSON);
    let text = fs_err::read_to_string(&path).or_fail(Kind::Config, "cannot read the platform config")?;
    Platform::parse(&text).map_err(|failure| failure.context(format!("`{PLATFORM_JSON}` cannot be used")))
}

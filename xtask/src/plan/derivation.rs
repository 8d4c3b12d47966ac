//! Derivations: functions over files, as data. A `Check` is one whose result is yes or no,
//! a `Derive` writes what it finds to another file. No network, no process.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::capi::Capi;
use crate::call::kluctl::Warnings;
use crate::project::Gate;

/// Which of the served kinds are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Choose {
    /// All of which a stage can have objects.
    Every,
    /// Only kinds that the project has objects of. A server takes a third of a second for the first listing of each
    /// new CRD, and what was just deployed cannot have left orphans of a kind that it does not have.
    Own,
}

/// One of a closed list of functions over files; every path is relative to the root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Derivation {
    /// Writes the configuration of an embedded cluster, with ports that are free now.
    FreePorts {
        /// The configuration with placeholders.
        content: String,
        /// Where it goes.
        to: Utf8PathBuf,
    },
    /// Whether the kubeconfig of an embedded cluster still leads to its own control plane.
    OwnKubeconfig {
        /// The kubeconfig that everything uses.
        kubeconfig: Utf8PathBuf,
        /// The context in it.
        context: String,
        /// The one that the control plane was made with.
        own: Utf8PathBuf,
        /// Name of the cluster, for the message.
        cluster: String,
    },
    /// Copies a project, leaving out what an embedded cluster cannot hold, each named.
    EmbeddedProject {
        /// Project to copy.
        from: Utf8PathBuf,
        /// Output of `kubectl api-resources --no-headers -o wide`.
        served: Utf8PathBuf,
        /// Folder of the copy; replaced whole.
        to: Utf8PathBuf,
        /// JSON file with the names of what was left out.
        left_out: Utf8PathBuf,
    },
    /// Copies a project so that kluctl sees it alone.
    CopyProject {
        /// Project to copy.
        from: Utf8PathBuf,
        /// Table of `kubectl api-resources`.
        served: Utf8PathBuf,
        /// Folder of the copy; replaced whole.
        to: Utf8PathBuf,
    },
    /// Whether no volume of a project names a Nix closure.
    NoClosures {
        /// The project.
        project: Utf8PathBuf,
        /// Name of the cluster, for the message.
        cluster: String,
    },
    /// Which Nix closures the volumes of some phases name.
    Closures {
        /// The project.
        project: Utf8PathBuf,
        /// The phases.
        phases: Vec<String>,
        /// JSON file `{ "paths": ["/nix/store/…"] }`.
        to: Utf8PathBuf,
    },
    /// Which of the served resources to list: as one comma-separated argument, and as a path each.
    Resources {
        /// Output of `kubectl api-resources --no-headers -o wide`.
        served: Utf8PathBuf,
        /// Nothing may be decided without a list of the kinds that this project has objects of.
        project: Utf8PathBuf,
        /// Folder of the projects that were deployed before: the same for what the last of them had.
        kept: Utf8PathBuf,
        /// Which kinds are listed.
        choose: Choose,
        /// JSON file `{ "resources": "a,b", "lists": […] }`.
        to: Utf8PathBuf,
    },
    /// What differs between a project and the live objects.
    Compare {
        /// The project.
        project: Utf8PathBuf,
        /// What `EmbeddedProject` left out of it, which is never an orphan.
        left_out: Option<Utf8PathBuf>,
        /// The part that is deployed; none means all of it.
        only: Option<Only>,
        /// What a [`super::Listing`] wrote.
        listing: Utf8PathBuf,
        /// Groups of phases that go in one kluctl call.
        groups: Vec<Vec<String>>,
        /// JSON file of the type `live::Delta`.
        to: Utf8PathBuf,
    },
    /// Copies of a project what one kluctl call has to do.
    Due {
        /// The project.
        project: Utf8PathBuf,
        /// JSON file of the type `live::Delta`.
        delta: Utf8PathBuf,
        /// Phases that go in the call.
        phases: Vec<String>,
        /// Folder of the copy; replaced whole.
        to: Utf8PathBuf,
    },
    /// Shows what a deploy would change, field by field.
    Show {
        /// The project.
        project: Utf8PathBuf,
        /// What a [`super::Listing`] wrote.
        listing: Utf8PathBuf,
        /// JSON file of the type `live::Delta`.
        delta: Utf8PathBuf,
    },
    /// Whether no object of the project belongs to another stage of the cluster.
    NobodyElses {
        /// JSON file of the type `live::Delta`.
        delta: Utf8PathBuf,
        /// Discriminator whose objects may be taken.
        taken_from: Option<String>,
    },
    /// Names definitions that would be exchanged for earlier ones.
    Downgrades {
        /// The project.
        project: Utf8PathBuf,
        /// What a [`super::Listing`] wrote.
        listing: Utf8PathBuf,
        /// JSON file of the type `live::Delta`.
        delta: Utf8PathBuf,
    },
    /// Copies a project, replacing what was there.
    Take {
        /// The project.
        project: Utf8PathBuf,
        /// Where the copy goes.
        to: Utf8PathBuf,
    },
    /// Whether two comparisons found the same: what was shown is what is done.
    SameDelta {
        /// JSON file of the type `live::Delta`, as it was shown.
        shown: Utf8PathBuf,
        /// JSON file of the type `live::Delta`, looked at again.
        now: Utf8PathBuf,
    },
    /// Whether a rendered project is what was reviewed.
    Reviewed {
        /// The project.
        project: Utf8PathBuf,
        /// Folder of its golden.
        golden: Utf8PathBuf,
        /// What a difference means.
        stale: Stale,
        /// JSON file `{ "reviewed": bool, "problems": […] }`.
        to: Utf8PathBuf,
    },
    /// Whether a project is described as it was when the plan was made.
    Described {
        /// The project.
        project: Utf8PathBuf,
        /// Digest of the description.
        digest: String,
    },
    /// Whether a working tree is clean where it decides what is deployed.
    CleanTree {
        /// Output of `git status --porcelain=v1 -z`.
        status: Utf8PathBuf,
    },
    /// Copies a deployed project where `rollback` finds it, and forgets the oldest.
    Keep {
        /// The project that was deployed.
        project: Utf8PathBuf,
        /// Folder of the kept projects of this stage.
        to: Utf8PathBuf,
    },
    /// Whether a comparison found no difference.
    NothingDiffers {
        /// JSON file of the type `live::Delta`.
        delta: Utf8PathBuf,
    },
    /// Whether the cluster is the one that the facts or the first contact name.
    Fence {
        /// `kubectl get namespace kube-system -o json`.
        namespace: Utf8PathBuf,
        /// What it must be.
        expected: Fenced,
        /// Name of the cluster, for the message.
        cluster: String,
    },
    /// Whether a kluctl run did what it says.
    KluctlResult {
        /// The YAML result.
        result: Utf8PathBuf,
        /// What a warning of the API server is worth.
        warnings: Warnings,
    },
    /// The Lease that keeps other hosts out.
    Lease {
        /// What stands in it.
        content: LeaseContent,
        /// JSON file of the object.
        to: Utf8PathBuf,
    },
    /// Whether the Lease in the cluster is this run's own.
    LeaseHeld {
        /// The Lease as the cluster has it.
        lease: Utf8PathBuf,
        /// Nonce of the run.
        nonce: String,
    },
    /// Whether the Lease in the cluster has this nonce, and its holder is not alive on this host.
    LeaseAbandoned {
        /// The Lease as the cluster has it.
        lease: Utf8PathBuf,
        /// The nonce that was named.
        nonce: String,
    },
    /// The options of a delete that hits this very Lease or nothing.
    LeaseRelease {
        /// The Lease as the cluster has it.
        lease: Utf8PathBuf,
        /// JSON file of the options.
        to: Utf8PathBuf,
    },
    /// The ledger with one more entry.
    Ledger {
        /// The ConfigMap as it is, or an empty file.
        current: Utf8PathBuf,
        /// The project that was deployed.
        project: Utf8PathBuf,
        /// What was compared before the deploy.
        delta: Utf8PathBuf,
        /// The commit that was deployed from; the file is missing where there is no Git.
        revision: Utf8PathBuf,
        /// Whether the project was reviewed, as `Reviewed` wrote it; the file is missing where nothing was compared.
        review: Utf8PathBuf,
        /// What is recorded.
        entry: LedgerContent,
        /// JSON file of the object.
        to: Utf8PathBuf,
    },
    /// Picks the definitions and namespaces of a project, as one list.
    ValidityDefinitions {
        /// The project.
        project: Utf8PathBuf,
        /// JSON file of the list.
        to: Utf8PathBuf,
    },
    /// Writes every object whose kind is served into a file of its own, and names the others.
    ValidityObjects {
        /// The project.
        project: Utf8PathBuf,
        /// Output of `kubectl api-resources --no-headers -o wide`.
        served: Utf8PathBuf,
        /// Folder of the files.
        to: Utf8PathBuf,
    },
    /// Turns a server's description of its types into schemas for kubeconform.
    Schemas {
        /// What `/openapi/v2` says.
        openapi: Utf8PathBuf,
        /// Folder of the schemas.
        to: Utf8PathBuf,
    },
    /// nixpkgs' `lib` out of the crate that carries it, with the version file that it reads.
    NixpkgsLib {
        /// Output of `cargo metadata` of the package that names the crate.
        metadata: Utf8PathBuf,
        /// Folder that will hold `lib`; replaced whole.
        to: Utf8PathBuf,
    },
    /// Whether every Nix test passed.
    NixTests {
        /// Evaluation of `modules/tests`.
        result: Utf8PathBuf,
    },
    /// One that ClusterAPI needs.
    Capi(Capi),
    /// Chooses and makes the short folder of this checkout's guests, and says there what of a guest its host reaches.
    GuestHome {
        /// API ports of every guest; the same file is read for all of them.
        api_ports: Vec<u16>,
        /// JSON file with `home`, `lima` and `cache`.
        to: Utf8PathBuf,
    },
    /// Finds the one qcow2 of a build or a file, and records path, store path, digest and sizes.
    GuestImage {
        /// A qcow2, or a folder with exactly one; relative to the root, or absolute.
        from: Utf8PathBuf,
        /// SHA-256 that it must have.
        digest: Option<String>,
        /// File with the version of the kernel inside, if that is known.
        kernel: Option<Utf8PathBuf>,
        /// Architecture of the guest.
        arch: String,
        /// JSON file of the type `cluster::image::Image`.
        to: Utf8PathBuf,
    },
    /// Whether a recorded image is still the file that was recorded.
    GuestImageIntact {
        /// JSON file of the type `cluster::image::Image`.
        image: Utf8PathBuf,
    },
    /// What differs between the facts, what is saved of a guest, and the guest that runs.
    GuestCompare {
        /// What the facts ask for.
        wanted: GuestWanted,
        /// `limactl list --json`.
        listing: Utf8PathBuf,
        /// What `GuestHome` wrote.
        home: Utf8PathBuf,
        /// Image that a new guest would boot.
        image: Utf8PathBuf,
        /// What is remembered of the guest.
        record: Utf8PathBuf,
        /// JSON file of the type `cluster::guest::Drift`.
        to: Utf8PathBuf,
    },
    /// Whether the guest that runs is the one that was asked for.
    GuestFits {
        /// What the facts ask for.
        wanted: GuestWanted,
        /// `limactl list --json`.
        listing: Utf8PathBuf,
    },
    /// Whether a guest may be deleted; what is lost with it is said.
    GuestDoomed {
        /// Name of the instance.
        instance: String,
        /// `limactl list --json`.
        listing: Utf8PathBuf,
    },
    /// Whether a guest that was deleted is gone.
    GuestGone {
        /// Name of the instance.
        instance: String,
        /// `limactl list --json`.
        listing: Utf8PathBuf,
    },
    /// Remembers which image a guest boots, and whether it was made to its end.
    GuestRecord {
        /// What the facts ask for.
        wanted: GuestWanted,
        /// Image that a new guest boots.
        image: Utf8PathBuf,
        /// How far it is.
        state: GuestState,
        /// JSON file of the type `cluster::guest::Record`.
        to: Utf8PathBuf,
    },
    /// Lima's template of a guest.
    LimaTemplate {
        /// What the facts ask for.
        wanted: GuestWanted,
        /// Image that it boots.
        image: Utf8PathBuf,
        /// The template.
        to: Utf8PathBuf,
    },
    /// The kubeconfig of k3s under our own names and address; only one that carries its own authority.
    Kubeconfig {
        /// `/etc/rancher/k3s/k3s.yaml` of the guest.
        from: Utf8PathBuf,
        /// Name of its cluster, user and context.
        context: String,
        /// Port of the API on the host's loopback.
        port: u16,
        /// Kubeconfig, mode 0600.
        to: Utf8PathBuf,
    },
    /// Where a built system and its kernel lie, which disks it wants, and how ssh reaches the guests.
    GuestSystem {
        /// Link to the system.
        link: Utf8PathBuf,
        /// JSON file with `path`, `kernel`, `disks`, and `ssh` by instance.
        to: Utf8PathBuf,
    },
    /// Whether a guest booted the kernel that a system has, and has its disks.
    SystemFits {
        /// What `GuestSystem` wrote.
        system: Utf8PathBuf,
        /// JSON file with `kernel` and `disks`, as the guest says them.
        booted: Utf8PathBuf,
    },
    /// The addresses of a project's routes, and the root certificate that verifies them.
    Routes {
        /// The project.
        project: Utf8PathBuf,
        /// `kubectl get configmaps --all-namespaces -o json`.
        configmaps: Utf8PathBuf,
        /// JSON file of the type `cluster::route::Routes`.
        to: Utf8PathBuf,
    },
    /// The root certificate of the local authority, out of the ConfigMap in which it publishes it; its
    /// fingerprint is said.
    RootCertificate {
        /// `kubectl get configmaps --all-namespaces -o json`.
        from: Utf8PathBuf,
        /// PEM file.
        to: Utf8PathBuf,
    },
    /// Whether the secrets of the checkout and of a project are as they have to be.
    Secrets {
        /// Cluster that the project goes to, which may need what nobody gave yet; none where nothing is decrypted.
        cluster: Option<String>,
        /// The project.
        project: Utf8PathBuf,
    },
    /// Says by name which gates are only simulated.
    Simulated {
        /// The gates.
        gates: Vec<Gate>,
    },
}

/// How a cluster is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fenced {
    /// By the UID that the facts commit.
    Committed(String),
    /// By the UID recorded at first contact in this file; only local clusters.
    Recorded(Utf8PathBuf),
}

/// Who holds a Lease; host, pid and time are added when it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LeaseContent {
    /// Cluster, for the name of the Lease.
    pub cluster: String,
    /// Nonce of the run; only its holder releases it.
    pub nonce: String,
    /// Goal of the plan.
    pub goal: String,
}

/// What the ledger records of a deployment; actor and time are added when it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LedgerContent {
    /// Cluster, for the name of the ConfigMap.
    pub cluster: String,
    /// Stage that was deployed.
    pub stage: String,
    /// Nonce of the run.
    pub run: String,
    /// Where the project came from: `golden`, `folder` or a store path.
    pub source: String,
    /// Component or phase, when only a part was deployed.
    pub only: Option<String>,
    /// Why, in the words of who deployed.
    pub reason: Option<String>,
    /// The deployment that a rollback took up again.
    pub then: Option<Then>,
}

/// An earlier deployment, where its project came from, and whether that was reviewed: the ledger says the same of the
/// rollback to it, for the checkout that rolls back is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Then {
    /// Its run.
    pub run: String,
    /// The commit that it was made from.
    pub revision: Option<String>,
    /// SHA-256 of the `flake.lock` of then.
    pub lock: Option<String>,
    /// Whether it was equal to its golden.
    pub reviewed: Option<bool>,
}

/// A part of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Only {
    /// One component.
    Component(String),
    /// One phase.
    Phase(String),
}

impl Only {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Component(name) | Self::Phase(name) => name,
        }
    }

    /// Whether something of this component and phase belongs to the part.
    pub fn takes(&self, component: &str, phase: &str) -> bool {
        match self {
            Self::Component(name) => name == component,
            Self::Phase(name) => name == phase,
        }
    }
}

/// What a stale golden means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stale {
    /// It is shown, and the ledger marks the deployment as unreviewed.
    Shown,
    /// The run ends.
    Refused,
}

/// What starts a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Driver {
    /// Colima, over Lima.
    Colima,
    /// Lima alone.
    Lima,
}

/// What the facts ask of a guest, on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GuestWanted {
    /// What starts it.
    pub driver: Driver,
    /// Profile of the facts.
    pub profile: String,
    /// Name of Lima's instance.
    pub instance: String,
    /// `vz` or `qemu`.
    pub vm_type: String,
    /// `aarch64` or `x86_64`.
    pub arch: String,
    /// Virtual CPUs.
    pub cpus: u32,
    /// GiB of memory.
    pub memory: u32,
    /// GiB of disk.
    pub disk: u32,
    /// Whether Rosetta translates programs in it.
    pub rosetta: bool,
    /// Port of the API, on the guest's and on the host's loopback.
    pub api_port: u16,
}

/// How far a guest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GuestState {
    /// Its start began; what is there may be half of it.
    Making,
    /// It started and fits.
    Made,
    /// Its system was changed to that of this image, by a generation of NixOS.
    Switched,
}

//! From a local bootstrap cluster to a cluster that manages itself, as one plan; each part is a verb too, and a file.
//! Every step looks first whether it is done, so that a run killed anywhere is taken up again.

mod apply;
mod before;
mod clusters;
mod controllers;
mod dns;
mod pivot;
mod proof;
mod provider_preflight;
mod providers;
mod record;
mod wait;
mod whole;
mod workload;

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde_json::json;

use super::deploy::{Deploy, Mode};
use super::vm::Vm;
use super::{Source, age_key};
use crate::base::failure::{Failure, Result};
use crate::cluster::access::Access;
use crate::cluster::capi;
use crate::cluster::capi::dns::Cloudflare;
use crate::cluster::capi::providers::{self as known, Pinned};
use crate::plan::Probe;
use crate::platform::{Backend, Cluster, ClusterApi, DnsProvider, Environment, Platform, Stage};
use crate::project::StageDescription;
use crate::secrets::operator_key::OperatorKey;

pub use apply::guard_moved;

/// Seconds in which a control plane has to come up: a server, its boot and kubeadm.
const CONTROL_PLANE: u64 = 1800;

/// Seconds in which every machine has to be Running.
const MACHINES: u64 = 2400;

/// Seconds that controllers may take to answer.
const CONTROLLERS: u64 = 300;

/// Where the ClusterAPI controllers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controllers {
    /// As pods, as everywhere.
    Pods,
    /// As processes of this host, with machines in memory: for rehearsals in a network of their own.
    Processes,
}

/// One of the two management clusters.
#[derive(Debug, Clone)]
pub struct Side<'a> {
    /// How it is reached.
    pub access: Access,
    /// Its platform config.
    pub config: &'a Cluster,
    /// What runs it.
    pub backend: Backend,
    /// The identity of its operator.
    pub key: Option<OperatorKey>,
}

/// Which of the two has the machines' objects now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// The bootstrap cluster.
    Bootstrap,
    /// The workload cluster itself: the pivot is done.
    Itself,
}

/// A stage that a plan deploys.
#[derive(Debug, Clone)]
pub struct Staged {
    /// Which.
    pub stage: Stage,
    /// Its description.
    pub description: StageDescription,
    /// Where it comes from.
    pub source: Source,
}

/// Everything a bootstrap is made from.
#[derive(Debug, Clone)]
pub struct Bootstrap<'a> {
    /// Name of the workload cluster.
    pub name: &'a str,
    /// Its platform config of ClusterAPI.
    pub api: &'a ClusterApi,
    /// The bootstrap cluster.
    pub source: Side<'a>,
    /// The cluster that manages itself afterwards.
    pub target: Side<'a>,
    /// How the workload cluster is reached that the machines make; the target itself, but in a rehearsal.
    pub workload: Access,
    /// What the bootstrap cluster needs first.
    pub local: Staged,
    /// The description of the workload cluster.
    pub capi: Staged,
    /// The platform of the workload cluster.
    pub full: Staged,
    /// The providers, in the order in which they are installed.
    pub providers: Vec<Pinned>,
    /// Where their controllers run.
    pub controllers: Controllers,
    /// Machines that have to be Running.
    pub machines: u32,
    /// Workers by MachineDeployment, for a rehearsal.
    pub workers: BTreeMap<String, u32>,
    /// Secret that must go along.
    pub secret: Option<Token<'a>>,
    /// The VM that runs the bootstrap cluster; none where it is a control plane of this host.
    pub vm: Option<Vm<'a>>,
    /// Where the objects are; a part of the way that goes from one side to the other does not ask.
    pub home: Home,
    /// The record of the endpoint; none where the infrastructure gives its own.
    pub dns: Option<Dns>,
    /// Nonce of the run.
    pub nonce: &'a str,
}

/// The Secret with the provider's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// Its name.
    pub name: &'a str,
    /// Key of the token in it.
    pub key: &'a str,
    /// Variable that may hold the token.
    pub variable: &'a str,
}

/// How the record of the control-plane endpoint is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Name of the record.
    pub name: String,
    /// Port that has to answer there.
    pub port: u16,
    /// Who sets it; a person where this is none.
    pub cloudflare: Option<Cloudflare>,
}

/// Phases that the workload cluster needs at once: no node is Ready without a CNI, none has a provider ID without
/// the cloud's controller, and clusterctl brings a cert-manager of its own where there is none.
pub const FIRST: [&str; 6] = ["base", "cilium", "ccm", "dns", "storage", "cert-manager"];

/// Descriptions of the stages that a bootstrap deploys.
#[derive(Debug, Clone)]
pub struct Stages {
    /// Of the bootstrap cluster.
    pub local: StageDescription,
    /// Of the workload cluster's objects, on the bootstrap cluster.
    pub capi: StageDescription,
    /// Of the workload cluster.
    pub full: StageDescription,
}

/// Platform config of the bootstrap cluster and of the workload cluster, as a run takes them: the clusters of a rehearsal are
/// nobody's, so no UID of the platform config is theirs and nobody depends on them.
pub fn config(platform: &Platform, name: &str, controllers: Controllers) -> Result<(Cluster, Cluster)> {
    let workload = platform.cluster(name)?;
    let bootstrap = platform.cluster(&api(name, workload)?.bootstrap)?;
    let mut config = (bootstrap.clone(), workload.clone());
    if controllers == Controllers::Processes {
        for config in [&mut config.0, &mut config.1] {
            config.uid = None;
            config.environment = Environment::Local;
        }
    }
    Ok(config)
}

/// What the platform config says of how ClusterAPI makes a cluster.
pub fn api<'a>(name: &str, config: &'a Cluster) -> Result<&'a ClusterApi> {
    config
        .cluster_api
        .as_ref()
        .ok_or_else(|| Failure::config(format!("cluster `{name}` is not made by ClusterAPI")))
}

impl<'a> Bootstrap<'a> {
    /// Everything from the platform config; the platform config of the two clusters come from [`platform config`].
    pub fn of(
        platform: &'a Platform,
        name: &'a str,
        config: &'a (Cluster, Cluster),
        stages: Stages,
        controllers: Controllers,
        nonce: &'a str,
    ) -> Result<Self> {
        let api = api(name, &config.1)?;
        let rehearsal = controllers == Controllers::Processes;
        let (source, target, workload) = if rehearsal {
            let target = Access::rehearsal(name, &format!("{nonce}-target"));
            let mut workload = Access::of(name, &config.1);
            workload.folder = target.folder.join("workload");
            workload.kubeconfig = target.folder.join("workload/kubeconfig");
            (
                Access::rehearsal(&api.bootstrap, &format!("{nonce}-source")),
                target,
                workload,
            )
        } else {
            let target = Access::of(name, &config.1);
            (Access::of(&api.bootstrap, &config.0), target.clone(), target)
        };
        let source_backend = if rehearsal {
            Backend::Embedded
        } else {
            // The controllers of a real provider need real pods.
            let real = config
                .0
                .backends
                .iter()
                .copied()
                .find(|backend| *backend != Backend::Embedded);
            real.ok_or_else(|| {
                Failure::config(format!(
                    "bootstrap cluster `{}` has no backend that runs containers",
                    api.bootstrap
                ))
                .hinted("the platform config names `clusters.<name>.backends`")
            })?
        };
        let target_backend = if rehearsal { Backend::Embedded } else { Backend::Remote };
        let workers: BTreeMap<String, u32> = api
            .workers
            .keys()
            .next_back()
            .map(|worker| (worker.clone(), 2))
            .into_iter()
            .collect();
        let staged = |cluster: &str, stage: Stage, description: StageDescription| Staged {
            stage,
            description,
            source: if rehearsal {
                Source::Golden(format!("k8s/golden/{cluster}/{stage}").into())
            } else {
                Source::Built {
                    attribute: format!("k8s-manifests-{cluster}-{stage}"),
                    link: format!(".xtask/projects/{cluster}-{stage}").into(),
                }
            },
        };
        Ok(Self {
            name,
            api,
            source: Side {
                access: source,
                config: &config.0,
                backend: source_backend,
                key: age_key::of(platform, &api.bootstrap, source_backend),
            },
            target: Side {
                access: target,
                config: &config.1,
                backend: target_backend,
                key: age_key::of(platform, name, target_backend),
            },
            workload,
            local: staged(&api.bootstrap, Stage::Local, stages.local),
            capi: staged(&api.bootstrap, Stage::Capi, stages.capi),
            full: staged(name, Stage::Full, stages.full),
            providers: if rehearsal {
                known::pinned("docker", &known::rehearsed())?
            } else {
                known::pinned(&api.infrastructure, &api.providers)?
            },
            controllers,
            machines: if rehearsal {
                1 + workers.values().sum::<u32>()
            } else {
                api.control_planes + api.workers.values().sum::<u32>()
            },
            workers,
            secret: secret(platform, name),
            vm: None,
            home: Home::Bootstrap,
            dns: (!rehearsal).then(|| Dns {
                name: config.1.api_host.clone(),
                port: config.1.api_port,
                cloudflare: (api.dns == DnsProvider::Cloudflare).then(|| Cloudflare {
                    api: "https://api.cloudflare.com/client/v4".to_owned(),
                    zone: platform.domain.clone(),
                    token: "CLOUDFLARE_API_TOKEN".to_owned(),
                    deadline: 300,
                }),
            }),
            nonce,
        })
    }
}

/// The Secret that has to go along.
fn secret<'a>(platform: &'a Platform, name: &str) -> Option<Token<'a>> {
    let found = platform.secrets.required.iter().find(|secret| {
        secret.clusters.iter().any(|cluster| cluster == name) && secret.labels.contains_key(capi::MOVE)
    })?;
    let (key, variable) = found
        .keys
        .iter()
        .find_map(|(key, source)| Some((key, source.variable.as_deref()?)))?;
    Some(Token {
        name: &found.name,
        key,
        variable,
    })
}

impl Bootstrap<'_> {
    /// Words for the run.
    pub fn goal(&self, verb: &str) -> String {
        match self.controllers {
            Controllers::Pods => format!("capi {verb} {}", self.name),
            Controllers::Processes => format!("capi rehearse {}", self.name),
        }
    }

    /// Folder of files that the run hands from step to step, below that of the target: it outlives the source.
    fn work(&self, name: &str) -> Utf8PathBuf {
        work(&self.target.access).join(name)
    }

    /// What says on this host how far the pivot is.
    pub fn pivot(&self) -> Utf8PathBuf {
        pivot(&self.target.access)
    }

    /// The move may have begun.
    fn moving(&self) -> Probe {
        Probe::Exists(self.pivot())
    }

    /// The pivot is done and recorded.
    fn done(&self) -> Probe {
        Probe::Says {
            file: self.pivot(),
            pointer: "/data/pivotState".to_owned(),
            value: json!("done"),
        }
    }

    fn deploy<'b>(&'b self, side: &'b Side<'b>, staged: &'b Staged, goal: &'b str) -> Deploy<'b> {
        static USUAL: Mode = Mode::USUAL;
        Deploy {
            access: &side.access,
            config: side.config,
            backend: side.backend,
            stage: staged.stage,
            description: &staged.description,
            source: &staged.source,
            nonce: self.nonce,
            goal,
            mode: &USUAL,
            key: side.key.clone(),
        }
    }
}

fn work(target: &Access) -> Utf8PathBuf {
    target.folder.join("capi")
}

/// What says on this host how far the pivot to a cluster is.
pub fn pivot(target: &Access) -> Utf8PathBuf {
    work(target).join("pivot.json")
}

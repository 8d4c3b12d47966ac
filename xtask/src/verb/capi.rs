//! `capi`: from a bootstrap cluster to a cluster that manages itself, and each part of the way.
//! Every part that acts is a slice of the one plan of `recipe::capi`.

use std::collections::BTreeMap;

use crate::cluster::access::Access;
use crate::cluster::capi::providers;
use crate::context::{Checkout, Context};
use crate::failure::{Failure, Kind, Result};
use crate::plan::Plan;
use crate::plan::dns::Cloudflare;
use crate::platform::{Backend, Cluster, ClusterApi, DnsProvider, Environment, Stage};
use crate::recipe::capi::{Bootstrap, Controllers, Dns, Side, Staged};
use crate::recipe::rehearse::Keep;
use crate::recipe::{self as recipes, Source};
use crate::run::{Lock, PlanArgs, carry_out, nonce};

use super::capi_status::{Asked, show};
use super::local_up::golden;

/// Parts of the way, and the whole.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Arguments {
    /// From nothing to a cluster that manages itself, as one plan
    Bootstrap(Acting),
    /// Install the pinned providers on the bootstrap cluster
    Init(Acting),
    /// Deploy the Secret and stage capi to the bootstrap cluster
    Apply(Acting),
    /// Wait for the first address, the record and the control plane
    Wait(Acting),
    /// Set the record of the endpoint, or say which, and wait until it leads there
    Dns(Acting),
    /// Fetch the kubeconfig of the workload cluster and use it
    Kubeconfig(Acting),
    /// Check, back up and move the objects, and see that the target takes over
    Move(Acting),
    /// Show the tree of the cluster, what is waited for, and where its objects live
    Status(Looking),
    /// Remove the bootstrap cluster, once the pivot is done
    Down(Acting),
    /// The whole way with real controllers, two embedded clusters and machines in memory
    Rehearse(Rehearsing),
}

/// Which cluster, and how the plan is carried out.
#[derive(Debug, Clone, clap::Args)]
pub struct Acting {
    /// Workload cluster of the facts; the default is the only one that ClusterAPI makes
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// Which cluster, and how it is shown.
#[derive(Debug, Clone, clap::Args)]
pub struct Looking {
    /// Workload cluster of the facts; the default is the only one that ClusterAPI makes
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A rehearsal.
#[derive(Debug, Clone, clap::Args)]
pub struct Rehearsing {
    #[command(flatten)]
    pub acting: Acting,
    /// Keep the clusters for a look, and for `--resume` after a failure
    #[arg(long)]
    pub keep: bool,
}

/// The workload cluster that is meant, with its facts.
struct Chosen<'a> {
    name: &'a str,
    facts: &'a Cluster,
    api: &'a ClusterApi,
    bootstrap: &'a Cluster,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let checkout = context.checkout()?;
    if let Arguments::Status(looking) = arguments {
        return status(context, &checkout, looking).map(|()| 0);
    }
    let (verb, acting, controllers) = match arguments {
        Arguments::Bootstrap(acting) => ("bootstrap", acting, Controllers::Pods),
        Arguments::Init(acting) => ("init", acting, Controllers::Pods),
        Arguments::Apply(acting) => ("apply", acting, Controllers::Pods),
        Arguments::Wait(acting) => ("wait", acting, Controllers::Pods),
        Arguments::Dns(acting) => ("dns", acting, Controllers::Pods),
        Arguments::Kubeconfig(acting) => ("kubeconfig", acting, Controllers::Pods),
        Arguments::Move(acting) => ("move", acting, Controllers::Pods),
        Arguments::Status(_) => return Ok(0),
        Arguments::Down(acting) => ("down", acting, Controllers::Pods),
        Arguments::Rehearse(rehearsing) => ("rehearse", &rehearsing.acting, Controllers::Processes),
    };
    let keep = match arguments {
        Arguments::Rehearse(rehearsing) if rehearsing.keep => Keep::Cluster,
        _ => Keep::Nothing,
    };
    let chosen = choose(&checkout, acting.cluster.as_deref())?;
    let nonce = nonce();
    let mut facts = (chosen.bootstrap.clone(), chosen.facts.clone());
    if controllers == Controllers::Processes {
        // The clusters of a rehearsal are nobody's: no UID of the facts is theirs.
        facts.0.uid = None;
        facts.1.uid = None;
        facts.1.environment = Environment::Local;
        if acting.plan.dry_run.is_none() {
            only_loopback()?;
        }
    }
    let bootstrap = bootstrap(&checkout, &chosen, &facts, controllers, &nonce)?;
    let problems = providers::mismatches(
        versions(&bootstrap),
        &bootstrap_infrastructure(&bootstrap),
        &chosen.facts.kubernetes,
    );
    if !problems.is_empty() {
        return Err(Failure::many(
            Kind::Preflight,
            "the versions of the facts do not go together",
            &problems,
        )
        .hinted("change `clusterApi.providers` in `modules/platform.nix`"));
    }
    if verb == "bootstrap" && !acting.plan.resume && acting.plan.dry_run.is_none() {
        not_yet(&checkout, &bootstrap)?;
    }
    let plan = plan(verb, &bootstrap, keep);
    let lock = match controllers {
        Controllers::Pods => Lock::Host(format!("capi-{}", chosen.name)),
        Controllers::Processes => Lock::None,
    };
    carry_out(context, &checkout, &format!("capi-{verb}"), plan, &acting.plan, &lock)?;
    Ok(0)
}

fn status(context: &Context, checkout: &Checkout, looking: &Looking) -> Result<()> {
    let chosen = choose(checkout, looking.cluster.as_deref())?;
    let target = Access::of(chosen.name, chosen.facts);
    let asked = Asked {
        name: chosen.name,
        namespace: &chosen.api.namespace,
        machines: chosen.api.control_planes + chosen.api.workers.values().sum::<u32>(),
        bootstrap: Access::of(&chosen.api.bootstrap, chosen.bootstrap),
        pivot: &recipes::capi::pivot(&target),
        target,
        kubernetes: &chosen.facts.kubernetes,
    };
    show(context, &checkout.root, &asked, looking.json)
}

fn plan(verb: &str, bootstrap: &Bootstrap<'_>, keep: Keep) -> Plan {
    let choices = vec![
        format!(
            "workload cluster `{}`: {} control plane machines, {} workers",
            bootstrap.name,
            bootstrap.api.control_planes,
            bootstrap.api.workers.values().sum::<u32>()
        ),
        format!(
            "bootstrap cluster `{}` on backend {}",
            bootstrap.source.access.cluster,
            bootstrap.source.backend.name()
        ),
    ];
    let goal = bootstrap.goal(verb);
    let mut plan = match verb {
        "bootstrap" => return bootstrap.plan(choices),
        "rehearse" => return bootstrap.rehearsal(choices, keep),
        _ => bootstrap.empty(verb, choices),
    };
    match verb {
        "init" => {
            plan.steps = bootstrap.provider_steps();
            plan.steps.extend(bootstrap.init_steps("source", &bootstrap.source));
        }
        "apply" => {
            let steps = bootstrap.apply_steps(&goal);
            plan.steps = steps.steps;
            plan.finally = steps.finally;
        }
        "wait" => plan.steps = bootstrap.wait_steps(),
        "dns" => {
            plan.steps = bootstrap
                .dns
                .as_ref()
                .map(|dns| bootstrap.dns_steps(dns))
                .unwrap_or_default()
        }
        "kubeconfig" => {
            plan.steps = bootstrap.provider_steps();
            plan.steps.extend(bootstrap.kubeconfig_steps());
        }
        "move" => {
            plan.steps = bootstrap.provider_steps();
            plan.steps.extend(bootstrap.move_steps());
        }
        _ => plan.steps = bootstrap.source_down(),
    }
    plan
}

fn choose<'a>(checkout: &'a Checkout, given: Option<&'a str>) -> Result<Chosen<'a>> {
    let platform = &checkout.platform;
    let made: Vec<&str> = platform
        .clusters
        .iter()
        .filter(|(_, facts)| facts.cluster_api.is_some())
        .map(|(name, _)| name.as_str())
        .collect();
    let name = match (given, made.as_slice()) {
        (Some(name), _) => name,
        (None, [name]) => name,
        (None, _) => {
            return Err(
                Failure::config("ClusterAPI makes several clusters, or none; which is meant")
                    .hinted(format!("name one with `--cluster`: {}", made.join(", "))),
            );
        }
    };
    let facts = platform.cluster(name)?;
    let api = facts.cluster_api.as_ref().ok_or_else(|| {
        Failure::config(format!("cluster `{name}` is not made by ClusterAPI"))
            .hinted(format!("those that are: {}", made.join(", ")))
    })?;
    let bootstrap = platform.cluster(&api.bootstrap)?;
    Ok(Chosen {
        name,
        facts,
        api,
        bootstrap,
    })
}

fn staged(checkout: &Checkout, cluster: &str, stage: Stage, controllers: Controllers) -> Result<Staged> {
    let (source, description, _) = golden(checkout, cluster, stage)?;
    let source = match controllers {
        Controllers::Processes => source,
        Controllers::Pods => Source::Built {
            attribute: format!("k8s-manifests-{cluster}-{stage}"),
            link: format!(".xtask/projects/{cluster}-{stage}").into(),
        },
    };
    Ok(Staged {
        stage,
        description,
        source,
    })
}

fn bootstrap<'a>(
    checkout: &'a Checkout,
    chosen: &Chosen<'a>,
    facts: &'a (Cluster, Cluster),
    controllers: Controllers,
    nonce: &'a str,
) -> Result<Bootstrap<'a>> {
    let (name, api) = (chosen.name, chosen.api);
    let rehearsal = controllers == Controllers::Processes;
    let (source, target, workload) = if rehearsal {
        let target = Access::rehearsal(name, &format!("{nonce}-target"));
        let mut workload = Access::of(name, chosen.facts);
        workload.folder = target.folder.join("workload");
        workload.kubeconfig = target.folder.join("workload/kubeconfig");
        (
            Access::rehearsal(&api.bootstrap, &format!("{nonce}-source")),
            target,
            workload,
        )
    } else {
        let target = Access::of(name, chosen.facts);
        (Access::of(&api.bootstrap, chosen.bootstrap), target.clone(), target)
    };
    let source_backend = if rehearsal {
        Backend::Embedded
    } else {
        // The controllers of a real provider need real pods.
        let real = chosen
            .bootstrap
            .backends
            .iter()
            .copied()
            .find(|backend| *backend != Backend::Embedded);
        real.ok_or_else(|| {
            Failure::config(format!(
                "bootstrap cluster `{}` has no backend that runs containers",
                api.bootstrap
            ))
            .hinted("the facts name `clusters.<name>.backends`")
        })?
    };
    let pinned = if rehearsal {
        providers::pinned("docker", &providers::rehearsed())?
    } else {
        providers::pinned(&api.infrastructure, &api.providers)?
    };
    let workers: BTreeMap<String, u32> = api
        .workers
        .keys()
        .next_back()
        .map(|worker| (worker.clone(), 2))
        .into_iter()
        .collect();
    let machines = if rehearsal {
        1 + workers.values().sum::<u32>()
    } else {
        api.control_planes + api.workers.values().sum::<u32>()
    };
    Ok(Bootstrap {
        name,
        api,
        source: Side {
            access: source,
            facts: &facts.0,
            backend: source_backend,
        },
        target: Side {
            access: target,
            facts: &facts.1,
            backend: if rehearsal { Backend::Embedded } else { Backend::Remote },
        },
        workload,
        local: staged(checkout, &api.bootstrap, Stage::Local, controllers)?,
        capi: staged(checkout, &api.bootstrap, Stage::Capi, controllers)?,
        full: staged(checkout, name, Stage::Full, controllers)?,
        providers: pinned,
        controllers,
        machines,
        workers,
        secret: secret(checkout, name),
        dns: (!rehearsal).then(|| Dns {
            name: chosen.facts.api_host.clone(),
            port: chosen.facts.api_port,
            cloudflare: (api.dns == DnsProvider::Cloudflare).then(|| Cloudflare {
                api: "https://api.cloudflare.com/client/v4".to_owned(),
                zone: checkout.platform.domain.clone(),
                token: "CLOUDFLARE_API_TOKEN".to_owned(),
                deadline: 300,
            }),
        }),
        nonce,
    })
}

/// The Secret that has to go along, with the variable that may hold its value.
fn secret<'a>(checkout: &'a Checkout, name: &str) -> Option<(&'a str, &'a str)> {
    let required = &checkout.platform.secrets.required;
    let found = required.iter().find(|secret| {
        secret.clusters.iter().any(|cluster| cluster == name) && secret.labels.contains_key(crate::cluster::capi::MOVE)
    })?;
    let variable = found.keys.values().find_map(|source| source.variable.as_deref())?;
    Some((found.name.as_str(), variable))
}

fn versions<'a>(bootstrap: &'a Bootstrap<'_>) -> &'a BTreeMap<String, String> {
    &bootstrap.api.providers
}

fn bootstrap_infrastructure(bootstrap: &Bootstrap<'_>) -> String {
    bootstrap.api.infrastructure.clone()
}

/// A second bootstrap of a cluster that exists is refused.
fn not_yet(checkout: &Checkout, bootstrap: &Bootstrap<'_>) -> Result<()> {
    let pivot = checkout.path(bootstrap.pivot());
    if !pivot.exists() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "a bootstrap of `{}` is recorded in `{}`: a second one would build a second cluster",
        bootstrap.name,
        bootstrap.pivot()
    ))
    .hinted("if it was cut off: `cargo xtask capi bootstrap --resume`")
    .hinted("if the cluster is gone for good, remove the record first"))
}

/// A rehearsal's controllers listen on all interfaces, so there may be none but loopback.
fn only_loopback() -> Result<()> {
    // Not `/sys`, which shows the network of whoever mounted it.
    let text = fs_err::read_to_string("/proc/self/net/dev").map_err(|error| {
        Failure::preflight(format!("cannot tell which network this is: {error}")).hinted("a rehearsal needs Linux")
    })?;
    let others: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim())
        .filter(|name| *name != "lo")
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(Failure::preflight(format!(
        "the controllers of a rehearsal listen on every interface, and here there are {}",
        others.join(", ")
    ))
    .hinted("`unshare --net --pid --fork --mount-proc sh -c 'ip link set lo up && cargo xtask capi rehearse'`"))
}

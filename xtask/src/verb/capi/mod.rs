//! `capi`: from a bootstrap cluster to a cluster that manages itself, and each part of the way.
//! Every part that acts is a slice of the one plan of `recipe::capi`.

pub mod status;

use crate::base::failure::{Failure, Kind, Result};
use crate::cluster::access::Access;
use crate::cluster::capi::{self, providers};
use crate::command::Tool;
use crate::context::{Checkout, Context};
use crate::platform::{Backend, Cluster, ClusterApi, Stage};
use crate::recipe as recipes;
use crate::recipe::capi::{Bootstrap, Controllers, Home, Stages};
use crate::recipe::rehearse::Keep;
use crate::run::{Lock, PlanArgs, carry_out, nonce};
use crate::tool::{Lookup, Outcome};

use super::capi::status::{Asked, show};
use super::local_up;
use crate::setup::source::golden;
use crate::setup::vm::{self, Setup};

/// Parts of the way, and the whole.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Arguments {
    /// From nothing to a cluster that manages itself, as one plan
    #[command(after_help = "Examples:
  cargo xtask capi bootstrap --dry-run
  cargo xtask capi bootstrap --resume")]
    Bootstrap(Acting),
    /// Install the pinned providers on the bootstrap cluster
    #[command(after_help = "Examples:
  cargo xtask capi init
  cargo xtask capi init --dry-run")]
    Init(Acting),
    /// Deploy the Secret and stage capi to the bootstrap cluster
    #[command(after_help = "Examples:
  cargo xtask capi apply
  cargo xtask capi apply --dry-run=shell")]
    Apply(Acting),
    /// Wait for the first address, the record and the control plane
    #[command(after_help = "Examples:
  cargo xtask capi wait
  cargo xtask capi wait --cluster vanixiets")]
    Wait(Acting),
    /// Set the record of the endpoint, or say which, and wait until it leads there
    #[command(after_help = "Examples:
  cargo xtask capi dns
  cargo xtask capi dns --dry-run")]
    Dns(Acting),
    /// Fetch the kubeconfig of the workload cluster and use it
    #[command(after_help = "Examples:
  cargo xtask capi kubeconfig
  cargo xtask capi kubeconfig --cluster vanixiets")]
    Kubeconfig(Acting),
    /// Check, back up and move the objects, and see that the target takes over
    #[command(after_help = "Examples:
  cargo xtask capi move
  cargo xtask capi move --dry-run")]
    Move(Acting),
    /// Show the tree of the cluster, what is waited for, and where its objects live
    #[command(after_help = "Examples:
  cargo xtask capi status
  cargo xtask capi status --json")]
    Status(Looking),
    /// Remove the bootstrap cluster, once the pivot is done
    #[command(after_help = "Examples:
  cargo xtask capi down
  cargo xtask capi down --dry-run")]
    Down(Acting),
    /// The whole way with real controllers, two embedded clusters and machines in memory
    #[command(after_help = "Examples:
  cargo xtask capi rehearse
  cargo xtask capi rehearse --keep")]
    Rehearse(Rehearsing),
}

/// Which cluster, and how the plan is carried out.
#[derive(Debug, Clone, clap::Args)]
pub struct Acting {
    /// Workload cluster of the platform config; the default is the only one that ClusterAPI makes
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// Which cluster, and how it is shown.
#[derive(Debug, Clone, clap::Args)]
pub struct Looking {
    /// Workload cluster of the platform config; the default is the only one that ClusterAPI makes
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

/// The workload cluster that is meant, with its platform config.
struct Chosen<'a> {
    name: &'a str,
    config: &'a Cluster,
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
    let config = recipes::capi::config(&checkout.platform, chosen.name, controllers)?;
    if controllers == Controllers::Processes && acting.plan.dry_run.is_none() {
        room(acting)?;
    }
    let stages = Stages {
        local: golden(&checkout, &chosen.api.bootstrap, Stage::Local)?.1,
        capi: golden(&checkout, &chosen.api.bootstrap, Stage::Capi)?.1,
        full: golden(&checkout, chosen.name, Stage::Full)?.1,
    };
    let mut bootstrap = Bootstrap::of(&checkout.platform, chosen.name, &config, stages, controllers, &nonce)?;
    let problems = providers::mismatches(
        &chosen.api.providers,
        &chosen.api.infrastructure,
        &chosen.config.kubernetes,
    );
    if !problems.is_empty() {
        return Err(Failure::many(
            Kind::Preflight,
            "the versions of the platform config does not go together",
            &problems,
        )
        .hinted("change `clusterApi.providers` in `modules/platform.nix`"));
    }
    let mut lacks = Vec::new();
    if verb == "bootstrap" && acting.plan.dry_run.is_none() {
        if !acting.plan.resume {
            not_yet(&checkout, &bootstrap, chosen.config)?;
        }
        match local_up::real_backend(context, &checkout, &bootstrap.source.access, bootstrap.source.config)? {
            Ok(backend) => bootstrap.source.backend = backend,
            Err(reasons) => lacks.extend(reasons),
        }
    }
    if is_done(&checkout, &bootstrap) {
        bootstrap.home = Home::Itself;
    }
    let access = bootstrap.source.access.clone();
    let setup = match controllers {
        Controllers::Processes => None,
        Controllers::Pods => {
            if verb == "down" {
                // As `local-down` has it: what this checkout does not remember is no virtual machine.
                let existing = vm::existing(&checkout, &access)?;
                bootstrap.source.backend = existing.unwrap_or(Backend::Embedded);
            }
            let driver = vm::driver(bootstrap.source.backend);
            driver
                .map(|driver| Setup::of(&checkout, &access.cluster, bootstrap.source.config, driver))
                .transpose()?
        }
    };
    bootstrap.vm = setup.as_ref().map(|setup| setup.vm(&access));
    if let (Some(setup), "bootstrap", None, Home::Bootstrap) = (&setup, verb, acting.plan.dry_run, bootstrap.home)
        && lacks.is_empty()
        && let Err(failure) = setup.preflight(context, &checkout, &access)
    {
        lacks.push(failure.chain());
    }
    let plan = bootstrap.part(verb, keep);
    if acting.plan.dry_run.is_none() {
        lacks.extend(no_kubeconfig(&checkout, &bootstrap, verb));
        let toolbox = context.toolbox(&chosen.config.kubernetes);
        let tools = plan.tools();
        lacks.extend(toolbox.lacks(&tools));
        if tools.contains(&Tool::Clusterctl)
            && let [
                Lookup {
                    outcome: Outcome::Found(found),
                    ..
                },
            ] = toolbox.look(&[Tool::Clusterctl]).as_slice()
            && let Some(version) = &found.version
        {
            lacks.extend(providers::clusterctl_mismatch(version, &bootstrap.providers));
        }
        if !lacks.is_empty() {
            let goal = &plan.goal;
            return Err(Failure::many(
                Kind::Preflight,
                format!("`{goal}` cannot run here; nothing was changed"),
                &lacks,
            )
            .hinted("what works on any Linux with a network of its own: `cargo xtask capi rehearse`"));
        }
    }
    let lock = match controllers {
        // A bootstrap changes its bootstrap cluster as `local-up` and `deploy` do.
        Controllers::Pods => Lock::Hosts(vec![format!("capi-{}", chosen.name), access.cluster.clone()]),
        Controllers::Processes => Lock::None,
    };
    carry_out(context, &checkout, &format!("capi-{verb}"), plan, &acting.plan, &lock)?;
    Ok(0)
}

/// Whether this host has recorded the pivot as done.
fn is_done(checkout: &Checkout, bootstrap: &Bootstrap<'_>) -> bool {
    crate::base::files::later(&checkout.root, &bootstrap.pivot(), "/data/pivotState").is_ok_and(|state| state == "done")
}

/// Kubeconfigs that a part of the way needs, and that only an earlier part makes.
fn no_kubeconfig(checkout: &Checkout, bootstrap: &Bootstrap<'_>, verb: &str) -> Vec<String> {
    if matches!(verb, "bootstrap" | "rehearse" | "down") {
        return Vec::new();
    }
    let (source, target) = (&bootstrap.source.access, &bootstrap.target.access);
    let done = bootstrap.home == Home::Itself;
    let mut lacks = Vec::new();
    if done && verb == "move" {
        return lacks;
    }
    // The record follows the machines wherever their objects are.
    let only_target = done && verb == "dns";
    if !only_target && !checkout.path(&source.kubeconfig).is_file() {
        let why = if done {
            format!(
                "`{}` has moved into itself, and this part of the way is behind it",
                bootstrap.name
            )
        } else {
            "`cargo xtask capi bootstrap` makes it and goes the whole way".to_owned()
        };
        lacks.push(format!(
            "no kubeconfig of bootstrap cluster `{}` at `{}`: {why}",
            source.cluster, source.kubeconfig
        ));
    }
    if (only_target || verb == "move") && !checkout.path(&target.kubeconfig).is_file() {
        lacks.push(format!(
            "no kubeconfig of `{}` at `{}`: `cargo xtask capi kubeconfig` fetches it",
            target.cluster, target.kubeconfig
        ));
    }
    lacks
}

fn status(context: &Context, checkout: &Checkout, looking: &Looking) -> Result<()> {
    let chosen = choose(checkout, looking.cluster.as_deref())?;
    let target = Access::of(chosen.name, chosen.config);
    let asked = Asked {
        name: chosen.name,
        namespace: &chosen.api.namespace,
        machines: chosen.api.control_planes + chosen.api.workers.values().sum::<u32>(),
        bootstrap: Access::of(&chosen.api.bootstrap, chosen.bootstrap),
        pivot: &recipes::capi::pivot(&target),
        target,
        kubernetes: &chosen.config.kubernetes,
    };
    show(context, &checkout.root, &asked, looking.json)
}

fn choose<'a>(checkout: &'a Checkout, given: Option<&'a str>) -> Result<Chosen<'a>> {
    let platform = &checkout.platform;
    let made: Vec<&str> = platform
        .clusters
        .iter()
        .filter(|(_, config)| config.cluster_api.is_some())
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
    let config = platform.cluster(name)?;
    let api = config.cluster_api.as_ref().ok_or_else(|| {
        Failure::config(format!("cluster `{name}` is not made by ClusterAPI"))
            .hinted(format!("those that are: {}", made.join(", ")))
    })?;
    let bootstrap = platform.cluster(&api.bootstrap)?;
    Ok(Chosen {
        name,
        config,
        api,
        bootstrap,
    })
}

/// A second bootstrap of a cluster that exists is refused: one whose move is recorded here, or that the platform config knows
/// though nothing of its bootstrap is here.
fn not_yet(checkout: &Checkout, bootstrap: &Bootstrap<'_>, config: &Cluster) -> Result<()> {
    let pivot = checkout.path(bootstrap.pivot());
    if !pivot.exists() {
        let (Some(uid), false) = (&config.uid, checkout.path(&bootstrap.source.access.folder).exists()) else {
            return Ok(());
        };
        return Err(Failure::refused(format!(
            "the platform config knows `{}` by UID `{uid}`, and its bootstrap was not begun here: a second one would build a second cluster",
            bootstrap.name
        ))
        .hinted(format!("if it lives: `cargo xtask capi status --cluster {}`", bootstrap.name))
        .hinted(format!(
            "if it is gone for good, take `clusters.{}.uid` out of the platform config first",
            bootstrap.name
        )));
    }
    Err(Failure::refused(format!(
        "a bootstrap of `{}` is recorded in `{}`: a second one would build a second cluster",
        bootstrap.name,
        bootstrap.pivot()
    ))
    .hinted("if it was cut off: `cargo xtask capi bootstrap --resume`")
    .hinted("if the cluster is gone for good, remove the record first"))
}

/// What a rehearsal needs of its host, every problem at once: its controllers listen on all interfaces, so there may
/// be none but loopback, and on ports that nobody chooses, so they have to be free.
fn room(acting: &Acting) -> Result<()> {
    let mut problems: Vec<String> = others_than_loopback()?.into_iter().collect();
    // A run that is taken up again may find its own.
    if !acting.plan.resume {
        let taken: Vec<String> = capi::ports()
            .into_iter()
            .filter(|port| std::net::TcpListener::bind(("0.0.0.0", *port)).is_err())
            .map(|port| port.to_string())
            .collect();
        if !taken.is_empty() {
            problems.push(format!(
                "the controllers need ports that are in use: {}",
                taken.join(", ")
            ));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::many(
        Kind::Preflight,
        "a rehearsal cannot run here; nothing was made",
        &problems,
    )
    .hinted("`unshare --net --pid --fork --mount-proc sh -c 'ip link set lo up && cargo xtask capi rehearse'`"))
}

fn others_than_loopback() -> Result<Option<String>> {
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
    Ok((!others.is_empty()).then(|| {
        format!(
            "the controllers listen on every interface, and here there are {}",
            others.join(", ")
        )
    }))
}

//! `local-up`: from nothing to a local cluster that holds its stage.

use crate::base::failure::{Failure, Kind, Result};
use crate::base::ui::Status;
use crate::cluster::access::Access;
use crate::cluster::vm::host::{self, Host};
use crate::context::{Checkout, Context};
use crate::platform::{Backend, Cluster, Environment, Stage};
use crate::project::StageDescription;
use crate::recipe::deploy::{Deploy, Mode};
use crate::recipe::{local_up, routes};
use crate::run::{Lock, PlanArgs, carry_out, nonce};
use crate::setup::source;
use crate::setup::vm::{self, Setup};

/// Bring a local cluster up and deploy its stage
#[derive(Debug, Clone, clap::Args)]
#[command(
    visible_alias = "up",
    after_help = "Examples:
  cargo xtask local-up
  cargo xtask local-up --backend colima --dry-run"
)]
pub struct Arguments {
    /// Cluster of the platform config; the default is the one of stage local
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// What runs the cluster; `auto` takes the first that this host can run
    #[arg(long, value_name = "BACKEND", default_value = "auto")]
    pub backend: BackendChoice,
    /// Where the project comes from: `nix`, `render` (the modules rendered here), `golden`, or the folder of a rendered
    /// project; the default is the first of them that works here
    // Scripts of before say `--from-folder`.
    #[arg(long, value_name = "SOURCE", alias = "from-folder")]
    pub source: Option<source::Choice>,
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// What runs the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BackendChoice {
    /// The first of the list in the platform config that this host can run.
    Auto,
    /// A NixOS VM started by Colima.
    Colima,
    /// A NixOS VM started by Lima.
    Lima,
    /// A control plane on this host, pods simulated.
    Embedded,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let name = local_cluster(&checkout, arguments.cluster.as_deref())?;
    let config = checkout.platform.cluster(&name)?;
    let access = Access::of(&name, config);
    let (backend, why) = choose_backend(context, &checkout, &access, config, arguments.backend)?;
    let setup = match vm::driver(backend) {
        None => None,
        Some(driver) => Some(Setup::of(&checkout, &name, config, driver)?),
    };
    if let Some(setup) = &setup {
        match setup.preflight(context, &checkout, &access) {
            // A plan can be printed for a host that cannot run it; what is missing is said all the same.
            Err(failure) if arguments.plan.dry_run.is_some() => context.ui.status(Status::Warning, failure.chain()),
            other => other?,
        }
    }
    let (source, description, from) = source::choose(
        context,
        &checkout,
        (&name, Stage::Local),
        backend,
        arguments.source.as_ref(),
    )?;
    let nonce = nonce();
    let goal = local_up::goal(&name);
    let deploy = Deploy {
        access: &access,
        config,
        backend,
        stage: Stage::Local,
        description: &description,
        source: &source,
        nonce: &nonce,
        goal: &goal,
        mode: &Mode::USUAL,
        key: crate::recipe::age_key::of(&checkout.platform, &name, backend),
    };
    let mut choices = vec![
        format!("cluster `{name}`, stage `local`"),
        format!("backend `{}`: {why}", backend.name()),
        from,
    ];
    if let Some(setup) = &setup {
        choices.extend(vm_choices(setup, &description));
    }
    let vm = setup.as_ref().map(|setup| setup.vm(&access));
    let plan = local_up::plan(&deploy, vm.as_ref(), choices);
    carry_out(context, &checkout, "local-up", plan, &arguments.plan, &Lock::Host(name))
}

/// What a person should know of the VM.
fn vm_choices(setup: &Setup, description: &StageDescription) -> Vec<String> {
    let wanted = &setup.wanted;
    let mut choices = vec![format!(
        "VM `{}` on {}: {}, {} CPUs, {} GiB of memory, {} GiB of disk, API on 127.0.0.1:{}",
        wanted.instance,
        setup.host.words(),
        wanted.vm_type,
        wanted.cpus,
        wanted.memory,
        wanted.disk,
        wanted.api_port
    )];
    if let Some(image) = &setup.image {
        choices.push(format!("image `{}`, recorded", image.path));
    }
    choices.push(format!(
        "of the VM this host reaches, on loopback alone, the API on port {} and routes on 80 and 443",
        wanted.api_port
    ));
    if !setup.host.low_ports && routes::any(description) {
        choices.push(
            "but 80 and 443 are root's on this host, so no route is reached: `sudo sysctl net.ipv4.ip_unprivileged_port_start=80`, then `local-down` and `local-up`"
                .to_owned(),
        );
    }
    let known = setup.image.as_ref().is_some_and(|image| image.kernel.is_some());
    if wanted.rosetta && setup.image.is_some() && !known {
        choices
            .push("the kernel in the image is not known, so Rosetta is judged by a program that runs in it".to_owned());
    }
    choices
}

/// The local cluster that is meant: the named one, or the default of stage local.
pub fn local_cluster(checkout: &Checkout, given: Option<&str>) -> Result<String> {
    let platform = &checkout.platform;
    let name = match given {
        Some(name) => name.to_owned(),
        None => platform.default_cluster(Stage::Local)?.to_owned(),
    };
    let config = platform.cluster(&name)?;
    if config.environment != Environment::Local {
        let local: Vec<&str> = platform
            .clusters
            .iter()
            .filter(|(_, config)| config.environment == Environment::Local)
            .map(|(name, _)| name.as_str())
            .collect();
        return Err(Failure::new(
            Kind::Refused,
            format!("cluster `{name}` is production, this verb is for local ones"),
        )
        .hinted(format!("local clusters: {}", local.join(", "))));
    }
    Ok(name)
}

/// The backend, and the reason in words.
fn choose_backend(
    context: &Context,
    checkout: &Checkout,
    access: &Access,
    config: &Cluster,
    choice: BackendChoice,
) -> Result<(Backend, String)> {
    let wanted = match choice {
        BackendChoice::Auto => None,
        BackendChoice::Colima => Some(Backend::Colima),
        BackendChoice::Lima => Some(Backend::Lima),
        BackendChoice::Embedded => Some(Backend::Embedded),
    };
    if let Some(backend) = wanted {
        if !config.backends.contains(&backend) {
            let names: Vec<&str> = config.backends.iter().map(|backend| backend.name()).collect();
            return Err(Failure::config(format!(
                "cluster `{}` may not run on backend `{}`",
                access.cluster,
                backend.name()
            ))
            .hinted(format!("the platform config allows: {}", names.join(", "))));
        }
        vm::refuse_second(checkout, access, backend)?;
        return Ok((backend, format!("asked for; {}", what_it_is(backend))));
    }
    if let Some(backend) = vm::existing(checkout, access)? {
        return Ok((backend, "this cluster runs on it already".to_owned()));
    }
    let mut passed = Vec::new();
    for backend in &config.backends {
        match why_not(context, checkout, *backend)? {
            None => {
                let mut why = what_it_is(*backend).to_owned();
                for reason in passed {
                    why = format!("{why}; {reason}");
                }
                return Ok((*backend, why));
            }
            Some(reason) => passed.push(format!("not `{}`: {reason}", backend.name())),
        }
    }
    let failure = Failure::preflight(format!("cluster `{}` can run on no backend here", access.cluster));
    Err(passed.into_iter().fold(failure, Failure::hinted))
}

/// The backend of a cluster that has to run real pods: the one that it runs on, or the first that this host can run;
/// else why not, a sentence a backend.
pub(super) fn real_backend(
    context: &Context,
    checkout: &Checkout,
    access: &Access,
    config: &Cluster,
) -> Result<std::result::Result<Backend, Vec<String>>> {
    match vm::existing(checkout, access)? {
        None => {}
        Some(Backend::Embedded) => {
            return Ok(Err(vec![format!(
                "cluster `{0}` is embedded here, where no pod is real: `cargo xtask local-down --delete --cluster {0}` first",
                access.cluster
            )]));
        }
        Some(backend) => return Ok(Ok(backend)),
    }
    let mut reasons = Vec::new();
    for backend in config.backends.iter().filter(|backend| **backend != Backend::Embedded) {
        match why_not(context, checkout, *backend)? {
            None => return Ok(Ok(*backend)),
            Some(reason) => reasons.push(format!(
                "bootstrap cluster `{}` cannot run on `{}`: {reason}",
                access.cluster,
                backend.name()
            )),
        }
    }
    Ok(Err(reasons))
}

fn what_it_is(backend: Backend) -> &'static str {
    match backend {
        Backend::Colima => "k3s in a NixOS VM, started by Colima",
        Backend::Lima => "k3s in a NixOS VM, started by Lima",
        Backend::Embedded => "a real control plane on this host; nodes and pods are simulated",
        Backend::Remote => "a cluster elsewhere",
    }
}

/// Why this host cannot run a backend; none when it can. Tools decide, what else is missing is preflight's to say:
/// whoever installed Colima wants a VM, and is told what keeps it from running.
fn why_not(context: &Context, checkout: &Checkout, backend: Backend) -> Result<Option<String>> {
    let Some(driver) = vm::driver(backend) else {
        return Ok((backend == Backend::Remote).then(|| "it is no local one".to_owned()));
    };
    let missing: Vec<&str> = context
        .toolbox("")
        .look(&vm::tools(driver))
        .into_iter()
        .filter(|lookup| !matches!(lookup.outcome, crate::tool::Outcome::Found(_)))
        .map(|lookup| lookup.tool.program())
        .collect();
    if !missing.is_empty() {
        return Ok(Some(format!("no {} here", missing.join(" and no "))));
    }
    let host = Host::observe(&host::vms_folder(&checkout.root)?)?;
    Ok(host.root.then(|| "Lima does not run as root".to_owned()))
}

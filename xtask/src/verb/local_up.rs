//! `local-up`: from nothing to a local cluster that holds its stage.

use camino::Utf8PathBuf;

use crate::cluster::access::Access;
use crate::context::{Checkout, Context};
use crate::failure::{Failure, Kind, Result};
use crate::platform::{Backend, Environment, Stage};
use crate::project::StageDescription;
use crate::recipe::deploy::{Deploy, Mode};
use crate::recipe::{Source, local_up};
use crate::run::{Lock, PlanArgs, carry_out, nonce};

/// Bring a local cluster up and deploy its stage
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Cluster of the facts; the default is the one of stage local
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// What runs the cluster; `auto` takes the first that this host can run
    #[arg(long, value_name = "BACKEND", default_value = "auto")]
    pub backend: BackendChoice,
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// What runs the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BackendChoice {
    /// The first of the facts' list that this host can run.
    Auto,
    /// A NixOS guest started by Colima.
    Colima,
    /// A NixOS guest started by Lima.
    Lima,
    /// A control plane on this host, pods simulated.
    Embedded,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let name = local_cluster(&checkout, arguments.cluster.as_deref())?;
    let facts = checkout.platform.cluster(&name)?;
    let (backend, why) = choose_backend(arguments.backend, &facts.backends)?;
    let access = Access::of(&name, facts);
    let (source, description, from) = golden(&checkout, &name, Stage::Local)?;
    let nonce = nonce();
    let goal = local_up::goal(&name);
    let deploy = Deploy {
        access: &access,
        facts,
        backend,
        stage: Stage::Local,
        description: &description,
        source: &source,
        nonce: &nonce,
        goal: &goal,
        mode: &Mode::USUAL,
    };
    let choices = vec![
        format!("cluster `{name}`, stage `local`"),
        format!("backend `{}`: {why}", backend.name()),
        format!("source {from}"),
    ];
    let plan = local_up::plan(&deploy, choices);
    carry_out(context, &checkout, "local-up", plan, &arguments.plan, &Lock::Host(name))
}

/// The local cluster that is meant: the named one, or the default of stage local.
pub fn local_cluster(checkout: &Checkout, given: Option<&str>) -> Result<String> {
    let platform = &checkout.platform;
    let name = match given {
        Some(name) => name.to_owned(),
        None => platform.default_cluster(Stage::Local)?.to_owned(),
    };
    let facts = platform.cluster(&name)?;
    if facts.environment != Environment::Local {
        let local: Vec<&str> = platform
            .clusters
            .iter()
            .filter(|(_, facts)| facts.environment == Environment::Local)
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
pub fn choose_backend(choice: BackendChoice, allowed: &[Backend]) -> Result<(Backend, String)> {
    let wanted = match choice {
        BackendChoice::Auto => None,
        BackendChoice::Colima => Some(Backend::Colima),
        BackendChoice::Lima => Some(Backend::Lima),
        BackendChoice::Embedded => Some(Backend::Embedded),
    };
    match wanted {
        Some(Backend::Embedded) | None if allowed.contains(&Backend::Embedded) => Ok((
            Backend::Embedded,
            "a real control plane on this host; nodes and pods are simulated".to_owned(),
        )),
        _ => {
            let names: Vec<&str> = allowed.iter().map(|backend| backend.name()).collect();
            Err(Failure::config("no backend of the facts can be had on this host")
                .hinted(format!("the facts allow: {}", names.join(", "))))
        }
    }
}

/// The golden of a stage with its description and words for where it is.
pub fn golden(checkout: &Checkout, cluster: &str, stage: Stage) -> Result<(Source, StageDescription, String)> {
    checkout.platform.stage(cluster, stage)?;
    let path = Utf8PathBuf::from(format!("k8s/golden/{cluster}/{stage}"));
    if !checkout.path(&path).join("stage.json").is_file() {
        return Err(Failure::new(
            Kind::Stale,
            format!("there is no golden for stage `{stage}` of cluster `{cluster}`"),
        )
        .hinted("render and bless one: `cargo xtask golden bless`, or restore it: `git checkout -- k8s/golden`"));
    }
    let description = StageDescription::read(&checkout.path(&path))?;
    let from = format!("`{path}`: the reviewed golden");
    Ok((Source::Golden(path), description, from))
}

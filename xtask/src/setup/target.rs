//! What a deploying verb is about: the cluster, the stage, and where its project comes from.
//! It chooses and refuses; it changes nothing.

use camino::{Utf8Path, Utf8PathBuf};

use super::source::{self, Choice};
use crate::base::failure::{Failure, Kind, Result};
use crate::base::ui::{Answer, Status};
use crate::call::plugins::Plugins;
use crate::cluster::access::Access;
use crate::context::{Checkout, Context};
use crate::plan::Plan;
use crate::platform::{Backend, Cluster, Environment, Platform, Stage};
use crate::project::StageDescription;
use crate::recipe::Source;

/// Which stage of which cluster.
#[derive(Debug, Clone, clap::Args)]
pub struct StageArgs {
    /// Stage; may be left out where the cluster has only one
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<Stage>,
    /// Cluster of the platform config; the default is that of the stage, or of stage local without one
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
}

/// Which stage of which cluster, from where.
#[derive(Debug, Clone, clap::Args)]
pub struct TargetArgs {
    #[command(flatten)]
    pub stage: StageArgs,
    /// Where the project comes from: `nix`, `render` (the modules rendered here), `golden`, or the folder of a rendered
    /// project; the default is `nix`, and on an embedded cluster the first of them that works here
    // Scripts of before say `--from-folder`.
    #[arg(long, value_name = "SOURCE", alias = "from-folder")]
    pub source: Option<Choice>,
}

impl StageArgs {
    /// The stage that is meant: the given one, else the only one of the cluster.
    pub fn stage(&self, platform: &Platform) -> Result<Stage> {
        if let Some(stage) = self.stage {
            return Ok(stage);
        }
        let name = match &self.cluster {
            Some(name) => name,
            None => platform.default_cluster(Stage::Local)?,
        };
        let stages: Vec<Stage> = platform.cluster(name)?.stages.keys().copied().collect();
        match stages.as_slice() {
            [only] => Ok(*only),
            [] => Err(Failure::config(format!("cluster `{name}` has no stage"))
                .hinted("add one to the cluster in `modules/platform.nix`")),
            several => {
                let names: Vec<String> = several.iter().map(|stage| format!("`--stage {stage}`")).collect();
                Err(Failure::new(
                    Kind::Usage,
                    format!("cluster `{name}` has {} stages, and none was named", several.len()),
                )
                .hinted(format!("name one: {}", names.join(", "))))
            }
        }
    }
}

/// What was chosen.
pub struct Target<'a> {
    /// Name of the cluster.
    pub name: String,
    /// Its platform config.
    pub config: &'a Cluster,
    /// How it is reached.
    pub access: Access,
    /// What runs it.
    pub backend: Backend,
    /// The stage.
    pub stage: Stage,
    /// Where the project comes from.
    pub source: Source,
    /// Its description.
    pub description: StageDescription,
    /// Its golden.
    pub golden: Utf8PathBuf,
    /// What was chosen and why, a sentence each.
    pub choices: Vec<String>,
}

/// A stage and its cluster: the named one, or the default, with words for the choice.
pub fn cluster<'a>(checkout: &'a Checkout, given: &StageArgs) -> Result<(String, &'a Cluster, Stage, String)> {
    let platform = &checkout.platform;
    let stage = given.stage(platform)?;
    let (name, why) = match &given.cluster {
        Some(name) => (name.clone(), String::new()),
        None => (
            default_cluster(checkout, stage)?,
            format!(" (the default of stage `{stage}`)"),
        ),
    };
    let config = platform.cluster(&name)?;
    if config.environment == Environment::Production && stage == Stage::Local {
        return Err(Failure::refused(format!(
            "stage `local` never goes to production, and cluster `{name}` is"
        ))
        .hinted("stages of this cluster: ".to_owned() + &names(config)));
    }
    platform.stage(&name, stage)?;
    let only = if given.stage.is_none() {
        " (the only one of the cluster)"
    } else {
        ""
    };
    let words = format!("cluster `{name}`{why}, stage `{stage}`{only}");
    Ok((name, config, stage, words))
}

/// The default cluster of a stage: another one once a pivot to it is recorded on this host.
fn default_cluster(checkout: &Checkout, stage: Stage) -> Result<String> {
    let platform = &checkout.platform;
    if let Some(after) = platform
        .default_clusters
        .get(&stage)
        .and_then(|default| default.after_pivot.as_ref())
    {
        let record = crate::recipe::capi::pivot(&Access::of(after, platform.cluster(after)?));
        if crate::base::files::later(&checkout.root, &record, "/data/pivotState").is_ok_and(|state| state == "done") {
            return Ok(after.clone());
        }
    }
    Ok(platform.default_cluster(stage)?.to_owned())
}

fn names(config: &Cluster) -> String {
    config
        .stages
        .keys()
        .map(|stage| stage.name())
        .collect::<Vec<_>>()
        .join(", ")
}

/// What runs a cluster now: what this checkout has made it with, else what the platform config names.
pub fn backend(checkout: &Checkout, access: &Access, config: &Cluster) -> Backend {
    if config.environment == Environment::Local
        && let Ok(Some(backend)) = super::vm::existing(checkout, access)
    {
        return backend;
    }
    let real = config.backends.iter().find(|backend| **backend != Backend::Embedded);
    real.copied().unwrap_or(Backend::Embedded)
}

/// Chooses everything.
pub fn choose<'a>(context: &Context, checkout: &'a Checkout, arguments: &TargetArgs) -> Result<Target<'a>> {
    with(checkout, &arguments.stage, |name, stage, backend| {
        source::choose(context, checkout, (name, stage), backend, arguments.source.as_ref())
    })
}

/// Chooses everything but the source, which is asked for with the cluster, the stage and the backend that were chosen.
pub fn with<'a>(
    checkout: &'a Checkout,
    asked: &StageArgs,
    source: impl FnOnce(&str, Stage, Backend) -> Result<source::Chosen>,
) -> Result<Target<'a>> {
    let (name, config, stage, words) = cluster(checkout, asked)?;
    let access = Access::of(&name, config);
    let backend = backend(checkout, &access, config);
    let golden = Utf8PathBuf::from(format!("k8s/golden/{name}/{stage}"));
    let mut choices = vec![words];
    let (source, description, choice) = source(&name, stage, backend)?;
    choices.push(choice);
    Ok(Target {
        name,
        config,
        access,
        backend,
        stage,
        source,
        description,
        golden,
        choices,
    })
}

/// Everything that keeps a plan from running here, in one report, before anything is changed.
pub fn preflight(
    context: &Context,
    checkout: &Checkout,
    name: &str,
    config: &Cluster,
    plan: &Plan,
    stage: Option<Stage>,
) -> Result<()> {
    let access = Access::of(name, config);
    let production = config.environment == Environment::Production;
    let kubeconfig = checkout.path(&access.kubeconfig);
    let mut lacks = Vec::new();
    let mut refused = Vec::new();
    if kubeconfig.is_file() {
        lacks.extend(wrong_mode(&kubeconfig)?);
        if production {
            refused.extend(insecure(&kubeconfig, &access.kubeconfig)?);
        }
    } else if production {
        lacks.push(format!(
            "no kubeconfig of cluster `{name}` at `{}`: whoever made the cluster has one; put it there with mode 0600",
            access.kubeconfig
        ));
    } else {
        lacks.push(format!(
            "no kubeconfig of cluster `{name}` at `{}`: `cargo xtask local-up --cluster {name}` brings it up",
            access.kubeconfig
        ));
    }
    if production && config.uid.is_none() {
        let lack = format!(
            "the platform config commits no UID for production cluster `{name}`: `cargo xtask adopt --cluster {name}` reads and records it"
        );
        refused.push(lack);
    }
    let kubernetes = checkout.platform.versions.get("kubernetes").map_or("", String::as_str);
    lacks.extend(context.toolbox(kubernetes).lacks(&plan.tools()));
    if lacks.is_empty() && refused.is_empty() {
        return agree_to_plugins(context, checkout, &access);
    }
    let kind = if lacks.is_empty() {
        Kind::Refused
    } else {
        Kind::Preflight
    };
    lacks.extend(refused);
    let failure = Failure::many(
        kind,
        format!("`{}` cannot run here; nothing was changed", plan.goal),
        &lacks,
    );
    Err(match stage {
        Some(stage) if kind == Kind::Preflight => {
            failure.hinted(format!("what works here: `cargo xtask rehearse --stage {stage}`"))
        }
        _ => failure,
    })
}

/// Names the programs that a kubeconfig has its reader start, and asks for them once: they are whatever the author of
/// the file wrote into it.
fn agree_to_plugins(context: &Context, checkout: &Checkout, access: &Access) -> Result<()> {
    let (name, kubeconfig) = (&access.cluster, &access.kubeconfig);
    if !checkout.path(kubeconfig).is_file() {
        return Ok(());
    }
    let Some(plugins) = Plugins::unagreed(&checkout.root, kubeconfig)? else {
        return Ok(());
    };
    for program in &plugins.programs {
        context
            .ui
            .status(Status::Warning, format!("`{kubeconfig}` starts {program}"));
    }
    if !context.command.yes {
        if !context.ui.can_ask() {
            return Err(plugins.refused(kubeconfig).hinted(
                "answer it once on a terminal, or with `--yes`; `cargo xtask adopt` has that flag for a local cluster",
            ));
        }
        if context.ui.ask(&format!("May the kubeconfig of `{name}` start this?"))? != Answer::Yes {
            return Err(plugins.refused(kubeconfig).hinted("you answered no"));
        }
    }
    plugins.agree(&checkout.root, kubeconfig)
}

fn wrong_mode(kubeconfig: &Utf8Path) -> Result<Option<String>> {
    use std::os::unix::fs::PermissionsExt;

    let mode = fs_err::metadata(kubeconfig)?.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0)
        .then(|| format!("`{kubeconfig}` may be read by others (mode {mode:04o}): `chmod 600 {kubeconfig}`")))
}

/// Why an address of a kubeconfig cannot be trusted to be the cluster's.
fn insecure(kubeconfig: &Utf8Path, name: &Utf8Path) -> Result<Vec<String>> {
    let text = fs_err::read_to_string(kubeconfig)?;
    let config = crate::base::formats::yaml::read_one(&text)
        .map_err(|error| Failure::config(format!("`{kubeconfig}` cannot be read: {error}")))?;
    let mut problems = Vec::new();
    for cluster in config
        .get("clusters")
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten()
    {
        if cluster
            .pointer("/cluster/insecure-skip-tls-verify")
            .and_then(serde_json::Value::as_bool)
            == Some(true)
        {
            problems.push(format!(
                "`{name}` turns the verification of the API server's certificate off"
            ));
        }
        let server = cluster.pointer("/cluster/server").and_then(serde_json::Value::as_str);
        if let Some(server) = server.filter(|server| !server.starts_with("https://")) {
            problems.push(format!(
                "`{name}` reaches the API server without encryption (`{server}`), so anybody could answer"
            ));
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_may_be_left_out_where_the_cluster_has_only_one() {
        let platform = Platform::parse(include_str!("../../../platform.json")).unwrap();
        let stage = |stage: Option<Stage>, cluster: Option<&str>| {
            StageArgs {
                stage,
                cluster: cluster.map(ToOwned::to_owned),
            }
            .stage(&platform)
        };
        assert_eq!(stage(None, None).unwrap(), Stage::Local);
        assert_eq!(stage(None, Some("hetzner")).unwrap(), Stage::Full);
        assert_eq!(stage(Some(Stage::Capi), Some("k3s-capi")).unwrap(), Stage::Capi);
        let failure = stage(None, Some("k3s-capi")).unwrap_err();
        assert_eq!(failure.kind, Kind::Usage);
        assert_eq!(failure.hints, ["name one: `--stage local`, `--stage capi`"]);
    }
}

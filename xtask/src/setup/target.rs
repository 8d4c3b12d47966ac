//! What a deploying verb is about: the cluster, the stage, and where its project comes from.
//! It chooses and refuses; it changes nothing.

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::failure::{Failure, Kind, Result};
use crate::base::root::STATE;
use crate::base::ui::{Answer, Status};
use crate::call::plugins::Plugins;
use crate::cluster::access::Access;
use crate::command::{Command, Tool};
use crate::context::{Checkout, Context};
use crate::golden::provenance::Record;
use crate::plan::Plan;
use crate::platform::{Backend, Cluster, Environment, Platform, Stage};
use crate::project::StageDescription;
use crate::recipe::Source;
use crate::run::exec::Runner;
use crate::tool::Outcome;

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
    /// Take a rendered project made elsewhere instead of building it
    // Scripts of before say `--from-folder`.
    #[arg(long, value_name = "DIR", alias = "from-folder")]
    pub source: Option<Utf8PathBuf>,
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
    let (name, config, stage, words) = cluster(checkout, &arguments.stage)?;
    let access = Access::of(&name, config);
    let backend = backend(checkout, &access, config);
    let golden = Utf8PathBuf::from(format!("k8s/golden/{name}/{stage}"));
    let mut choices = vec![words];
    let (source, description, choice) =
        source(context, checkout, (&name, stage), backend, arguments.source.as_deref())?;
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

/// A project says whose it is; another's is never deployed.
/// Where the project of a stage comes from on a backend, its description, and words for the choice.
pub fn source(
    context: &Context,
    checkout: &Checkout,
    (name, stage): (&str, Stage),
    backend: Backend,
    from_folder: Option<&Utf8Path>,
) -> Result<(Source, StageDescription, String)> {
    let environment = checkout.platform.cluster(name)?.environment;
    let (source, description, choice) = match from_folder {
        Some(folder) => {
            let folder = relative(checkout, folder)?;
            let source = if checkout.path(&folder).join("source.json").is_file() {
                Source::golden(folder.clone(), backend, environment)?
            } else {
                Source::Folder(folder.clone())
            };
            let description = StageDescription::read(&checkout.path(&folder))?;
            (
                source,
                description,
                format!("source `{folder}`: a rendered project, as told"),
            )
        }
        None if backend == Backend::Embedded => {
            let (source, description, from) = super::target::golden(checkout, name, stage)?;
            (source, description, format!("source {from}"))
        }
        None => {
            let attribute = format!("k8s-manifests-{name}-{stage}");
            let golden = Utf8PathBuf::from(format!("k8s/golden/{name}/{stage}"));
            let (description, from) = described(context, checkout, name, stage, &golden)?;
            let choice = format!("source `.#{attribute}`, built by Nix; described {from}");
            let link = Utf8Path::new(STATE).join("projects").join(format!("{name}-{stage}"));
            (Source::Built { attribute, link }, description, choice)
        }
    };
    check_description(&description, checkout, name, stage)?;
    context.reads_project(source.folder());
    Ok((source, description, choice))
}

fn check_description(found: &StageDescription, checkout: &Checkout, cluster: &str, stage: Stage) -> Result<()> {
    let config = checkout.platform.cluster(cluster)?;
    let on = checkout.platform.stage(cluster, stage)?;
    let mut problems = Vec::new();
    if found.cluster != cluster || found.stage != stage {
        problems.push(format!(
            "it is stage `{}` of cluster `{}`, not stage `{stage}` of `{cluster}`",
            found.stage, found.cluster
        ));
    }
    if found.environment != config.environment {
        problems.push("it was rendered for another environment".to_owned());
    }
    if found.discriminator != on.discriminator {
        problems.push(format!(
            "its discriminator is `{}`, the platform config says `{}`",
            found.discriminator, on.discriminator
        ));
    }
    if found.items.is_empty() {
        problems.push("it has no item: an empty rendering would leave everything orphaned".to_owned());
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::many(
        Kind::Refused,
        "the project is not for this cluster and stage; nothing was changed",
        &problems,
    )
    .hinted("name the cluster and stage that it was rendered for, or render it anew"))
}

/// The description of a stage that Nix will build: the golden's when it was blessed from today's modules, else
/// evaluated when Nix can, else the golden's all the same.
fn described(
    context: &Context,
    checkout: &Checkout,
    cluster: &str,
    stage: Stage,
    golden: &Utf8Path,
) -> Result<(StageDescription, String)> {
    let folder = checkout.path(golden);
    if is_current(&checkout.root, &folder)? {
        // What Nix would say, without the second that asking costs.
        return Ok((
            StageDescription::read(&folder)?,
            "by its golden, which is of today's modules".to_owned(),
        ));
    }
    let toolbox = context.toolbox("");
    let has_nix = toolbox
        .look(&[Tool::Nix])
        .iter()
        .any(|lookup| matches!(lookup.outcome, Outcome::Found(_)));
    if has_nix {
        let tools = toolbox.ensure(&[Tool::Nix])?;
        let runner = Runner::new(&checkout.root, &context.ui, &tools, &context.interrupt);
        let command = Command::new(Tool::Nix)
            .args([
                "eval",
                "--extra-experimental-features",
                "nix-command flakes",
                "--no-write-lock-file",
                "--json",
            ])
            .arg(format!(".#stages.{cluster}-{stage}"))
            .within(300);
        if let Some(bytes) = runner.answer(&command)? {
            let name = format!(".#stages.{cluster}-{stage}");
            let description = StageDescription::parse(&String::from_utf8_lossy(&bytes), &name)
                .map_err(|failure| failure.hinted("use the xtask of the same checkout"))?;
            return Ok((description, "as the flake evaluates".to_owned()));
        }
    }
    if folder.join("stage.json").is_file() {
        let why = if has_nix {
            "Nix cannot evaluate it here"
        } else {
            "there is no Nix here"
        };
        return Ok((StageDescription::read(&folder)?, format!("by its golden, for {why}")));
    }
    Err(Failure::preflight(format!(
        "stage `{stage}` of cluster `{cluster}` can be neither evaluated nor read from a golden; nothing was changed"
    ))
    .hinted("with Nix on PATH the flake is evaluated")
    .hinted("a project that was rendered elsewhere is taken with `--source DIR`")
    .hinted(format!("a reviewed golden belongs in `{golden}`")))
}

/// Whether a golden was blessed from the modules as they are now.
fn is_current(root: &Utf8Path, golden: &Utf8Path) -> Result<bool> {
    let record = golden.join("source.json");
    if !record.is_file() || !golden.join("stage.json").is_file() {
        return Ok(false);
    }
    Ok(Record::read(&fs_err::read_to_string(record)?)? == Record::of(root)?)
}

/// A path relative to the root where it can be, for plans are the same on every host.
fn relative(checkout: &Checkout, path: &Utf8Path) -> Result<Utf8PathBuf> {
    let absolute = crate::base::root::absolute(path)?;
    let absolute = absolute.canonicalize_utf8().map_err(|error| {
        Failure::config(format!("`{path}` cannot be used: {error}")).hinted("it must be a rendered stage project")
    })?;
    let root = checkout.root.canonicalize_utf8()?;
    Ok(absolute
        .strip_prefix(&root)
        .map_or_else(|_| absolute.clone(), Utf8Path::to_owned))
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

//! Where the project of a stage comes from: what Nix builds, what the renderer makes of today's modules here, the reviewed
//! golden, or a folder. It chooses, says what it chose and what of an edit is not in it; it deploys nothing.

use std::convert::Infallible;
use std::str::FromStr;

use camino::{Utf8Path, Utf8PathBuf};

use super::rendering;
use super::revision::Git;
use crate::base::failure::{Failure, Kind, Result};
use crate::base::root::STATE;
use crate::base::text::plural;
use crate::base::ui::Status;
use crate::command::{Command, Tool};
use crate::context::{Checkout, Context};
use crate::golden::provenance::{Age, Record};
use crate::platform::{Backend, Stage};
use crate::project::StageDescription;
use crate::recipe::Source;
use crate::run::exec::Runner;
use crate::tool::Outcome;

/// What `--source` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// What Nix builds of the flake.
    Nix,
    /// What the renderer makes of the modules on this host.
    Render,
    /// The reviewed golden.
    Golden,
    /// A rendered project.
    Folder(Utf8PathBuf),
}

impl FromStr for Choice {
    type Err = Infallible;

    /// Three words are sources; everything else is a folder, also one of such a name as `./nix`.
    fn from_str(text: &str) -> std::result::Result<Self, Infallible> {
        Ok(match text {
            "nix" => Self::Nix,
            "render" => Self::Render,
            "golden" => Self::Golden,
            folder => Self::Folder(folder.into()),
        })
    }
}

/// A source with the description of its project, and words for the choice.
pub type Chosen = (Source, StageDescription, String);

/// Where the project of a stage comes from on a backend, its description, and words for the choice. A warning is said
/// for each edit that is not in it.
pub fn choose(
    context: &Context,
    checkout: &Checkout,
    (name, stage): (&str, Stage),
    backend: Backend,
    choice: Option<&Choice>,
) -> Result<Chosen> {
    let looking = Looking {
        context,
        checkout,
        name,
        stage,
        backend,
    };
    let chosen = match choice {
        Some(Choice::Folder(folder)) => looking.folder(folder)?,
        Some(Choice::Golden) => looking.asked_golden()?,
        Some(Choice::Render) => looking.rendered()?,
        Some(Choice::Nix) => looking.built()?,
        None if backend == Backend::Embedded => looking.embedded()?,
        None => looking.built()?,
    };
    let (source, description, _) = &chosen;
    check_description(description, checkout, name, stage)?;
    context.reads_project(source.folder());
    Ok(chosen)
}

/// The stage that a source is looked for, and the cluster that gets it.
struct Looking<'a> {
    context: &'a Context,
    checkout: &'a Checkout,
    name: &'a str,
    stage: Stage,
    backend: Backend,
}

impl Looking<'_> {
    /// A project that was rendered elsewhere.
    fn folder(&self, folder: &Utf8Path) -> Result<Chosen> {
        let folder = relative(self.checkout, folder)?;
        let environment = self.checkout.platform.cluster(self.name)?.environment;
        let source = if self.checkout.path(&folder).join("source.json").is_file() {
            Source::golden(folder.clone(), self.backend, environment)?
        } else {
            Source::Folder(folder.clone())
        };
        let description = StageDescription::read(&self.checkout.path(&folder))?;
        let words = format!("source `{folder}`: a rendered project, as told");
        Ok((source, description, words))
    }

    /// The golden, because it was asked for.
    fn asked_golden(&self) -> Result<Chosen> {
        let environment = self.checkout.platform.cluster(self.name)?.environment;
        Source::golden(golden_path(self.name, self.stage), self.backend, environment)?;
        let verb = self.context.command.verb.as_str();
        let stage = match verb {
            "local-up" => String::new(),
            _ => format!(" --stage {}", self.stage),
        };
        self.golden(&format!("`cargo xtask {verb}{stage} --cluster {}` takes it", self.name))
    }

    /// The golden; of one that is older than the checkout it is said what brings the edit there.
    fn golden(&self, remedy: &str) -> Result<Chosen> {
        let (source, description, from) = golden(self.checkout, self.name, self.stage)?;
        let words = match Age::of(&self.checkout.root, &self.checkout.path(source.folder()))? {
            Age::Today => format!("source {from}, which is of today's modules"),
            Age::Unknown => format!("source {from}"),
            Age::Older => {
                self.context.ui.status(
                    Status::Warning,
                    format!(
                        "the golden is not of today's modules and secrets: what was edited since is not in it; {remedy}"
                    ),
                );
                format!("source {from}, which is older than the modules")
            }
        };
        Ok((source, description, words))
    }

    /// What the renderer makes of today's modules.
    fn rendered(&self) -> Result<Chosen> {
        let golden = golden_path(self.name, self.stage);
        let made = rendering::make(self.context, self.checkout, self.name, self.stage, &golden)?;
        let environment = self.checkout.platform.cluster(self.name)?.environment;
        let source = Source::rendered(made.project, made.rendering, self.backend, environment)?;
        for changed in &made.changed {
            self.context.ui.status(
                Status::Warning,
                format!("{changed}; its source cannot be had here, so that is not deployed: `--source nix` or `--source DIR` has it"),
            );
        }
        let words = if made.components.is_empty() {
            "source `render`: today's modules".to_owned()
        } else {
            format!(
                "source `render`: today's modules; upstream's objects of {} are the golden's, their sources cannot be had here",
                made.components.join(", ")
            )
        };
        Ok((source, made.description, words))
    }

    /// What an embedded cluster gets without being told: what today's modules say, as far as this host can say it.
    fn embedded(&self) -> Result<Chosen> {
        if let Some(description) = evaluated(self.context, self.checkout, (self.name, self.stage), Reach::Here)? {
            return Ok(self.build(description, "as the flake evaluates"));
        }
        let folder = self.checkout.path(golden_path(self.name, self.stage));
        if Age::of(&self.checkout.root, &folder)? != Age::Older && folder.join("stage.json").is_file() {
            return self.golden("");
        }
        match rendering::why_not(self.context, self.checkout) {
            None => self.rendered(),
            Some(reason) => self.golden(&format!(
                "it cannot be rendered here, {reason}: `cargo xtask doctor --for render` says what helps"
            )),
        }
    }

    /// What Nix builds.
    fn built(&self) -> Result<Chosen> {
        let (description, from) = self.described()?;
        Ok(self.build(description, &from))
    }

    fn build(&self, description: StageDescription, from: &str) -> Chosen {
        let attribute = format!("k8s-manifests-{}-{}", self.name, self.stage);
        let words = format!("source `.#{attribute}`, built by Nix; described {from}");
        let link = Utf8Path::new(STATE)
            .join("projects")
            .join(format!("{}-{}", self.name, self.stage));
        self.name_untracked();
        (Source::Built { attribute, link }, description, words)
    }

    /// Names what Nix does not see: of a checkout with Git a flake has what Git tracks, and nothing else.
    fn name_untracked(&self) {
        let list = Command::new(Tool::Git)
            .args(["ls-files", "--others", "--exclude-standard", "-z", "--"])
            .args(Record::FOLDERS)
            .within(30);
        // Without Git there is nothing that it could leave out.
        let Ok(Some(listed)) = Git::of(self.context, self.checkout).and_then(|git| git.ask(&list)) else {
            return;
        };
        let listed = String::from_utf8_lossy(&listed);
        let files: Vec<&str> = listed.split_terminator('\0').collect();
        if let [first, ..] = files.as_slice() {
            let count = plural(files.len(), "file");
            self.context.ui.status(
                Status::Warning,
                format!("{count} that Git does not track, and so Nix does not see, for example `{first}`: `git add --intent-to-add {}`", Record::FOLDERS.join(" ")),
            );
        }
    }

    /// The description of a stage that Nix will build: the golden's when it was blessed from today's modules, else
    /// evaluated when Nix can, else the golden's all the same.
    fn described(&self) -> Result<(StageDescription, String)> {
        let (cluster, stage) = (self.name, self.stage);
        let golden = golden_path(cluster, stage);
        let folder = self.checkout.path(&golden);
        if folder.join("stage.json").is_file() && Age::of(&self.checkout.root, &folder)? == Age::Today {
            // What Nix would say, without the second that asking costs.
            return Ok((
                StageDescription::read(&folder)?,
                "by its golden, which is of today's modules".to_owned(),
            ));
        }
        if let Some(description) = evaluated(self.context, self.checkout, (self.name, self.stage), Reach::Anywhere)? {
            return Ok((description, "as the flake evaluates".to_owned()));
        }
        if folder.join("stage.json").is_file() {
            let why = if has_nix(self.context) {
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
}

fn has_nix(context: &Context) -> bool {
    let found = context.toolbox("").look(&[Tool::Nix]);
    found.iter().any(|lookup| matches!(lookup.outcome, Outcome::Found(_)))
}

/// The description that the flake evaluates to; none where there is no Nix, no flake, or it cannot be evaluated.
pub fn evaluated(
    context: &Context,
    checkout: &Checkout,
    (cluster, stage): (&str, Stage),
    reach: Reach,
) -> Result<Option<StageDescription>> {
    if (reach == Reach::Here && !checkout.path(FLAKE).is_file()) || !has_nix(context) {
        return Ok(None);
    }
    let tools = context.toolbox("").ensure(&[Tool::Nix])?;
    let runner = Runner::new(&checkout.root, &context.ui, &tools, &context.interrupt);
    let attribute = format!(".#stages.{cluster}-{stage}");
    let mut command = Command::new(Tool::Nix)
        .args([
            "eval",
            "--extra-experimental-features",
            "nix-command flakes",
            "--no-write-lock-file",
            "--json",
        ])
        .arg(attribute.as_str())
        .within(300);
    if reach == Reach::Here {
        command = command.arg("--offline");
    }
    let Some(bytes) = runner.answer(&command)? else {
        return Ok(None);
    };
    let description = StageDescription::parse(&String::from_utf8_lossy(&bytes), &attribute)
        .map_err(|failure| failure.hinted("use the xtask of the same checkout"))?;
    Ok(Some(description))
}

/// How far Nix goes for the inputs of the flake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To the store of this host: a host without a network has its answer in a second, and not in ten.
    Here,
    /// To wherever they are.
    Anywhere,
}

/// The file that makes a checkout a flake.
const FLAKE: &str = "flake.nix";

/// The golden of a stage, relative to the root.
pub fn golden_path(cluster: &str, stage: Stage) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("k8s/golden/{cluster}/{stage}"))
}

/// A project says whose it is; another's is never deployed.
pub fn check_description(found: &StageDescription, checkout: &Checkout, cluster: &str, stage: Stage) -> Result<()> {
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

/// The golden of a stage with its description and words for where it is.
pub fn golden(checkout: &Checkout, cluster: &str, stage: Stage) -> Result<(Source, StageDescription, String)> {
    checkout.platform.stage(cluster, stage)?;
    let path = golden_path(cluster, stage);
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
    use crate::platform::Environment;

    #[test]
    fn three_words_are_sources_and_everything_else_is_a_folder() {
        let choice = |text: &str| text.parse::<Choice>().unwrap();
        assert_eq!(choice("nix"), Choice::Nix);
        assert_eq!(choice("render"), Choice::Render);
        assert_eq!(choice("golden"), Choice::Golden);
        assert_eq!(choice("./nix"), Choice::Folder("./nix".into()));
        assert_eq!(choice("result"), Choice::Folder("result".into()));
    }

    #[test]
    fn what_a_golden_completed_goes_to_an_embedded_cluster_only_and_a_whole_rendering_anywhere() {
        let source = |project: &str, backend, environment| {
            Source::rendered(project.into(), "rendering".into(), backend, environment)
        };
        assert!(source("project", Backend::Embedded, Environment::Local).is_ok());
        for (backend, environment) in [
            (Backend::Lima, Environment::Local),
            (Backend::Remote, Environment::Production),
            (Backend::Embedded, Environment::Production),
        ] {
            assert_eq!(source("project", backend, environment).unwrap_err().kind, Kind::Refused);
            assert!(source("rendering", backend, environment).is_ok());
        }
    }
}

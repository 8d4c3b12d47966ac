//! Saved plans: a plan with what it was made from, so that it can be reviewed in one place and applied in another.
//! No path and no secret of the first place is in it. What has moved since makes it stale. Nothing of a file is ever
//! carried out: the host that applies it makes the plan again, which has to be equal.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::command_line::CommandLine;
use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::formats::json::sha256;
use crate::command::Arg;
use crate::live::{compare, history, ownership};
use crate::plan::{Node, Plan, Section};
use crate::project::ObjectRef;
use crate::recipe::Source;
use crate::tool::Tools;

/// The schema version of a saved plan.
const SCHEMA: u32 = 5;

/// Flags of a verb that are not what its plan is made from.
const NOT_SAVED: [&str; 7] = ["plan", "save-plan", "dry-run", "explain", "resume", "from", "yes"];

/// Differences between two plans that a message shows.
const SHOWN: usize = 20;

/// What a plan was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Stamp {
    /// SHA-256 of `flake.lock`; empty when there is none.
    pub lock: String,
    /// Digest of the stage's golden; empty when there is none.
    pub golden: String,
    /// SHA-256 of `platform.json`.
    pub config: String,
    /// Digest of the project.
    pub project: String,
    /// Versions of the tools.
    pub tools: BTreeMap<String, String>,
    /// UID of the cluster.
    pub cluster: String,
    /// Of each live object of the stage, a digest of what kluctl manages; never a resourceVersion, for a status
    /// moves that all the time.
    pub live: BTreeMap<String, String>,
}

/// Where a stamp is read from.
pub struct Inputs<'a> {
    /// The checkout.
    pub root: &'a Utf8Path,
    /// The golden's folder, relative to the root.
    pub golden: &'a Utf8Path,
    /// The project, relative to the root.
    pub project: &'a Utf8Path,
    /// The `kube-system` object.
    pub namespace: &'a Utf8Path,
    /// The listing of every stage.
    pub listing: &'a Utf8Path,
    /// The stage's own discriminator.
    pub discriminator: &'a str,
    /// Tools of the plan.
    pub tools: &'a Tools,
}

/// A plan with its stamp, as one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Saved {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// Nonce of the run that made it. Who applies it puts a nonce of his own in its place, so that of two who apply
    /// the same plan at once only one holds the Lease.
    pub nonce: String,
    /// The verb that made it with its flags, from which it is made again.
    pub command: CommandLine,
    /// The cluster.
    pub cluster: String,
    /// The stage.
    pub stage: String,
    /// The plan.
    pub plan: Plan,
    /// What it was made from.
    pub stamp: Stamp,
    /// The project, relative to the root.
    pub project: camino::Utf8PathBuf,
}

impl Stamp {
    /// Reads the files that a plan was made from, with its project where that is known; nothing is said of tools and cluster.
    pub fn of_files(root: &Utf8Path, golden: &Utf8Path, project: Option<&Utf8Path>) -> Result<Self> {
        let file = |path: &str| -> Result<String> {
            match fs_err::read(root.join(path)) {
                Ok(bytes) => Ok(sha256(bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
                Err(error) => Err(error.into()),
            }
        };
        let folder = |path: &Utf8Path| -> Result<String> {
            let path = root.join(path);
            if path.is_dir() {
                history::digest(&path)
            } else {
                Ok(String::new())
            }
        };
        Ok(Self {
            lock: file("flake.lock")?,
            golden: folder(golden)?,
            config: file(crate::base::root::PLATFORM_JSON)?,
            project: project.map_or(Ok(String::new()), folder)?,
            tools: BTreeMap::new(),
            cluster: String::new(),
            live: BTreeMap::new(),
        })
    }

    /// Reads everything a plan was made from.
    pub fn observe(inputs: &Inputs<'_>) -> Result<Self> {
        let json = |path: &Utf8Path| -> Result<Value> {
            let text = fs_err::read_to_string(inputs.root.join(path))?;
            serde_json::from_str(&text).or_fail(Kind::Unexpected, format!("`{path}` is no JSON"))
        };
        let uid = json(inputs.namespace)?;
        Ok(Self {
            tools: versions(inputs.tools),
            cluster: uid
                .pointer("/metadata/uid")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            live: live(&json(inputs.listing)?, inputs.discriminator),
            ..Self::of_files(inputs.root, inputs.golden, Some(inputs.project))?
        })
    }

    /// What moved between this stamp and a later one, a sentence each.
    pub fn moved(&self, now: &Self) -> Vec<String> {
        let mut moved = Vec::new();
        let mut one = |what: &str, then: &str, now: &str| {
            if then != now {
                moved.push(format!("{what}: was {}, is {}", short(then), short(now)));
            }
        };
        one("flake.lock", &self.lock, &now.lock);
        one("golden", &self.golden, &now.golden);
        one("platform config (platform.json)", &self.config, &now.config);
        one("project", &self.project, &now.project);
        one("cluster UID", &self.cluster, &now.cluster);
        for (tool, version) in &self.tools {
            one(
                &format!("version of `{tool}`"),
                version,
                now.tools.get(tool).map_or("", String::as_str),
            );
        }
        for (object, digest) in &self.live {
            match now.live.get(object) {
                Some(found) if found == digest => {}
                Some(_) => moved.push(format!("live object {object}: was changed")),
                None => moved.push(format!("live object {object}: is gone")),
            }
        }
        for object in now.live.keys().filter(|object| !self.live.contains_key(*object)) {
            moved.push(format!("live object {object}: is new"));
        }
        moved
    }
}

/// Versions of tools, by the name of their program.
pub fn versions(tools: &Tools) -> BTreeMap<String, String> {
    tools
        .iter()
        .filter_map(|(tool, found)| Some((tool.program().to_owned(), found.version.as_ref()?.to_string())))
        .collect()
}

fn short(digest: &str) -> String {
    match digest.get(..12) {
        _ if digest.is_empty() => "missing".to_owned(),
        Some(start) if digest.len() > 40 => start.to_owned(),
        _ => format!("`{digest}`"),
    }
}

/// Digests of what kluctl manages of every listed object of a stage.
fn live(listing: &Value, discriminator: &str) -> BTreeMap<String, String> {
    let items = listing.get("items").and_then(Value::as_array).into_iter().flatten();
    items
        .filter(|object| compare::discriminator(object) == discriminator)
        .map(|object| {
            let reference = ObjectRef::of(object);
            let group = reference.group().to_owned();
            let name = if group.is_empty() {
                reference.to_string()
            } else {
                format!("{reference} ({group})")
            };
            (name, ownership::state(object))
        })
        .collect()
}

impl Saved {
    /// A plan of a command line with its stamp; refused when a path in it means something on this host alone.
    pub fn new(
        nonce: &str,
        command: &CommandLine,
        (cluster, stage): (&str, &str),
        plan: Plan,
        project: &Utf8Path,
        stamp: Stamp,
    ) -> Result<Self> {
        let absolute = plan
            .commands()
            .into_iter()
            .flat_map(|command| command.args.iter().chain(command.env.values()))
            .find_map(|arg| match arg {
                Arg::Path(path) | Arg::FlagPath(_, path) if path.is_absolute() => Some(path.clone()),
                _ => None,
            });
        if let Some(path) = absolute.or_else(|| project.is_absolute().then(|| project.to_owned())) {
            return Err(Failure::config(format!(
                "a saved plan is applied elsewhere, and `{path}` is a path of this host"
            ))
            .hinted("put the folder into the checkout, and name it from there"));
        }
        let mut command = command.clone();
        command
            .flags
            .retain(|flag, _| !NOT_SAVED.iter().any(|name| flag.strip_prefix("--") == Some(name)));
        // It was named from where the command was typed.
        if let Some(source) = command.flags.get_mut("--source")
            && !source.iter().all(|value| Source::WORDS.contains(&value.as_str()))
        {
            *source = vec![project.to_string()];
        }
        Ok(Self {
            schema: SCHEMA,
            nonce: nonce.to_owned(),
            command,
            cluster: cluster.to_owned(),
            stage: stage.to_owned(),
            plan,
            stamp,
            project: project.to_owned(),
        })
    }

    /// Writes it, beside and renamed.
    pub fn write(&self, path: &Utf8Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("a plan is plain data");
        crate::base::files::write(path, text.as_bytes(), 0o600)
    }

    /// Reads one: its schema first, then all of it.
    pub fn read(path: &Utf8Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let text = fs_err::read_to_string(path).or_fail(Kind::Config, "the saved plan cannot be read")?;
        let unreadable = |error: serde_json::Error| {
            Failure::config(format!("`{path}` is no saved plan: {error}")).hinted(PLAN_AGAIN)
        };
        let version: Version = serde_json::from_str(&text).map_err(unreadable)?;
        if version.schema != SCHEMA {
            return Err(Failure::config(format!(
                "`{path}` has schema {}, this xtask reads schema {SCHEMA}",
                version.schema
            ))
            .hinted("use the xtask that wrote it, or plan again"));
        }
        serde_json::from_str(&text).map_err(unreadable)
    }

    /// The arguments that the plan was made from, for the verb that makes it again.
    pub fn arguments<A: clap::Args>(&self, root: &Utf8Path) -> Result<A> {
        let unusable =
            |why: String| Failure::config(format!("the saved plan cannot be made again: {why}")).hinted(PLAN_AGAIN);
        let verb = A::augment_args(clap::Command::new("saved").no_binary_name(true));
        let mut words = Vec::new();
        for (flag, values) in &self.command.flags {
            let name = flag.strip_prefix("--").filter(|name| !NOT_SAVED.contains(name));
            let argument = name.and_then(|name| verb.get_arguments().find(|known| known.get_long() == Some(name)));
            let Some(argument) = argument else {
                return Err(unusable(format!("`{flag}` is no flag of `{}`", self.command.verb)));
            };
            if !argument.get_action().takes_values() {
                words.push(flag.clone());
                continue;
            }
            for value in values {
                if flag == "--source" && !Source::WORDS.contains(&value.as_str()) {
                    let below = Utf8Path::new(value);
                    let is_below = |part| matches!(part, camino::Utf8Component::Normal(_));
                    if !below.components().all(is_below) {
                        return Err(unusable(format!("`{value}` is not in the checkout")));
                    }
                    words.push(format!("{flag}={}", root.join(below)));
                } else {
                    words.push(format!("{flag}={value}"));
                }
            }
        }
        let matches = verb.try_get_matches_from(words);
        matches
            .and_then(|matches| A::from_arg_matches(&matches))
            .map_err(|error| unusable(error.to_string()))
    }

    /// Refuses when another command line is given with the plan than it was made from.
    pub fn check_command(&self, given: &CommandLine) -> Result<()> {
        for (flag, values) in &given.flags {
            let aside = ["--stage", "--cluster"].contains(&flag.as_str())
                || flag.strip_prefix("--").is_some_and(|name| NOT_SAVED.contains(&name));
            if !aside && self.command.flags.get(flag) != Some(values) {
                return Err(Failure::config(format!(
                    "the saved plan was not made with `{flag} {}`",
                    values.join(" ")
                ))
                .hinted("a saved plan is applied as it is; leave the flag out, or plan again"));
            }
        }
        Ok(())
    }

    /// Refuses when the plan is not the one that was made now, under this nonce, from the same inputs.
    pub fn check_plan(&self, made: &Plan, nonce: &str) -> Result<()> {
        let differs = differences(&self.plan_under(nonce)?, made)?;
        if differs.is_empty() {
            return Ok(());
        }
        let mut shown: Vec<String> = differs.iter().take(SHOWN).cloned().collect();
        if differs.len() > SHOWN {
            shown.push(format!("and {} more", differs.len() - SHOWN));
        }
        Err(Failure::many(
            Kind::Refused,
            format!(
                "the saved plan is not what `{}` plans here from the same inputs; nothing was run. What differs",
                self.command.verb
            ),
            &shown,
        )
        .hinted("it was edited, or made by another xtask or for another kind of host")
        .hinted(PLAN_AGAIN))
    }

    /// The plan under the nonce of the run that applies it. A nonce is 12 hexadecimal digits that mean nothing else,
    /// so it is exchanged wherever it is written.
    fn plan_under(&self, nonce: &str) -> Result<Plan> {
        if self.nonce.len() != nonce.len() || !self.nonce.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Failure::config(format!("`{}` is no nonce of a saved plan", self.nonce)).hinted(PLAN_AGAIN));
        }
        let own = serde_json::to_string(&self.plan).expect("a plan is plain data");
        serde_json::from_str(&own.replace(&self.nonce, nonce)).or_fail(Kind::Unexpected, "cannot take the plan up")
    }

    /// Refuses when a file that the plan was made from has moved; a project that is still to be built is not looked at.
    pub fn check_files(&self, now: Stamp, built: Built) -> Result<()> {
        self.check(&Stamp {
            project: match built {
                Built::Before => now.project,
                Built::Later => self.stamp.project.clone(),
            },
            tools: self.stamp.tools.clone(),
            cluster: self.stamp.cluster.clone(),
            live: self.stamp.live.clone(),
            ..now
        })
    }

    /// Refuses when a tool has another version.
    pub fn check_tools(&self, now: BTreeMap<String, String>) -> Result<()> {
        self.check(&Stamp {
            tools: now,
            ..self.stamp.clone()
        })
    }

    /// Refuses when anything but a tool has moved.
    pub fn check_state(&self, now: Stamp) -> Result<()> {
        self.check(&Stamp {
            tools: self.stamp.tools.clone(),
            ..now
        })
    }

    /// Refuses when anything moved.
    pub fn check(&self, now: &Stamp) -> Result<()> {
        let moved = self.stamp.moved(now);
        if moved.is_empty() {
            return Ok(());
        }
        Err(Failure::many(
            Kind::Refused,
            "the saved plan is stale; nothing was changed. What moved",
            &moved,
        )
        .hinted(PLAN_AGAIN))
    }
}

/// What to do about a plan that cannot be applied.
const PLAN_AGAIN: &str = "plan and review again: `--save-plan`";

/// Whether the project of a plan is there before the plan is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Built {
    /// It is.
    Before,
    /// Nix builds it.
    Later,
}

/// What a verb does with its plan.
#[derive(Debug, Clone, PartialEq)]
pub enum Use {
    /// It is carried out, or printed.
    Now,
    /// It is saved to this file.
    Save(camino::Utf8PathBuf),
    /// It is carried out, or printed, if it is the one that was saved.
    Apply(Box<Saved>),
}

/// What tells two plans apart, a sentence each; what was chosen and why is words alone.
fn differences(saved: &Plan, made: &Plan) -> Result<Vec<String>> {
    let own = |node: Node<'_>| -> Result<Value> {
        let value = match node {
            Node::Step(step) => serde_json::to_value(step),
            Node::Section(section) => serde_json::to_value(Section {
                items: Vec::new(),
                ..section.clone()
            }),
        };
        value.or_fail(Kind::Unexpected, "cannot write a step")
    };
    let all = |plan: &Plan| -> Result<Vec<(String, Value)>> {
        plan.placed()
            .into_iter()
            .map(|placed| Ok((placed.path.clone(), own(placed.node)?)))
            .collect()
    };
    let (saved_steps, made_steps) = (all(saved)?, all(made)?);
    let mut differs = Vec::new();
    for (path, value) in &saved_steps {
        match made_steps.iter().find(|(other, _)| other == path) {
            None => differs.push(format!("`{path}`: only the saved plan has it")),
            Some((_, other)) if other != value => {
                let fields: Vec<String> = value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .filter(|(field, value)| other.get(field) != Some(value))
                    .map(|(field, _)| format!("`{field}`"))
                    .collect();
                differs.push(format!("`{path}`: {} is another", fields.join(", ")));
            }
            Some(_) => {}
        }
    }
    for (path, _) in &made_steps {
        if !saved_steps.iter().any(|(other, _)| other == path) {
            differs.push(format!("`{path}`: the saved plan lacks it"));
        }
    }
    let aside = |plan: &Plan| Plan {
        choices: Vec::new(),
        ..plan.clone()
    };
    if differs.is_empty() && aside(saved) != aside(made) {
        differs.push("the goal, the target or the order of the steps".to_owned());
    }
    Ok(differs)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use serde_json::json;

    use super::*;
    use crate::cli::Cli;
    use crate::plan::{Action, Effect, Step};

    fn stamp() -> Stamp {
        Stamp {
            lock: "a".repeat(64),
            golden: "b".repeat(64),
            config: "c".repeat(64),
            project: "d".repeat(64),
            tools: BTreeMap::from([("kluctl".to_owned(), "2.22.1".to_owned())]),
            cluster: "uid".to_owned(),
            live: BTreeMap::from([("ConfigMap/n/x".to_owned(), "e".repeat(64))]),
        }
    }

    fn line(words: &str) -> CommandLine {
        let words = std::iter::once("xtask").chain(words.split_whitespace());
        let command = Cli::command();
        let matches = command.clone().try_get_matches_from(words).unwrap();
        CommandLine::of(&command, &matches)
    }

    fn step(id: &str, path: &str) -> Step {
        let action = Action::Remove { path: path.into() };
        Step::new(id, "Remove it", "A test wants it.", Effect::Local, action)
    }

    fn plan(nonce: &str) -> Plan {
        let mut plan = Plan::new("deploy");
        plan.choices = vec!["no Nix here".to_owned()];
        let section = Section::new("part", "Do it", "A test wants it.");
        plan.sections.push(
            section
                .with(step("identity.check", nonce).guarding())
                .with(step("a.do", ".xtask/a")),
        );
        plan.finally
            .push(Section::new("after", "Do it", "A test wants it.").with(step("b.do", ".xtask/b")));
        plan
    }

    fn saved(words: &str) -> Saved {
        Saved::new(
            "a1a1a1a1a1a1",
            &line(words),
            ("c", "local"),
            plan("a1a1a1a1a1a1"),
            "projects/p".into(),
            stamp(),
        )
        .unwrap()
    }

    #[test]
    fn a_plan_is_the_one_that_is_made_again_or_what_differs_is_named() {
        let nonce = "b2b2b2b2b2b2";
        let check = |change: &dyn Fn(&mut Saved)| {
            let mut saved = saved("deploy --stage local");
            change(&mut saved);
            let mut made = plan(nonce);
            made.choices.clear();
            saved.check_plan(&made, nonce)
        };
        // Of two who apply one plan each has a nonce of its own.
        check(&|_| {}).unwrap();
        type Change = fn(&mut Saved);
        let edits: [(&str, Change); 6] = [
            ("`part/a.do`: `action` is another", |saved| {
                saved.plan.sections[0].items[1] = step("a.do", "/outside").into();
            }),
            ("`part/evil.do`: only the saved plan has it", |saved| {
                saved.plan.sections[0].push(step("evil.do", "x"));
            }),
            ("`part/identity.check`: the saved plan lacks it", |saved| {
                saved.plan.sections[0].items.remove(0);
            }),
            ("`part`: `unless` is another", |saved| {
                saved.plan.sections[0].unless = Some(crate::plan::Probe::Exists("x".into()));
            }),
            ("the order of the steps", |saved| saved.plan.sections[0].items.reverse()),
            ("the order of the steps", |saved| {
                let finally = saved.plan.finally.remove(0);
                saved.plan.sections.push(finally);
            }),
        ];
        for (said, edit) in edits {
            let failure = check(&edit).unwrap_err();
            assert_eq!(failure.kind, Kind::Refused);
            assert!(failure.chain().contains(said), "{}", failure.chain());
        }
        let failure = check(&|saved| saved.nonce = "e".to_owned()).unwrap_err();
        assert_eq!(failure.kind, Kind::Config);
    }

    #[test]
    fn a_command_line_is_read_again_and_no_other_is_given_with_it() {
        let words = "prune --stage local --cluster=c --source ../p --allow-delete Secret/n/s --allow-delete=Namespace/n \
                     --save-plan plan.json";
        let saved = saved(words);
        let read: crate::verb::prune::Arguments = saved.arguments("/root".into()).unwrap();
        let folder = crate::setup::source::Choice::Folder("/root/projects/p".into());
        assert_eq!(read.target.source, Some(folder));
        let rendered: crate::verb::prune::Arguments =
            self::saved("prune --stage local --source render --save-plan plan.json")
                .arguments("/root".into())
                .unwrap();
        assert_eq!(rendered.target.source, Some(crate::setup::source::Choice::Render));
        assert_eq!(read.target.stage.cluster.as_deref(), Some("c"));
        assert_eq!(read.allow_delete, ["Namespace/n", "Secret/n/s"]);
        assert_eq!(read.saved.save_plan, None);
        saved
            .check_command(&line("prune --stage local --plan x --dry-run"))
            .unwrap();
        let other = line("prune --plan x --allow-delete Namespace/other");
        assert_eq!(saved.check_command(&other).unwrap_err().kind, Kind::Config);
        for (flag, value) in [
            ("--yes", "true"),
            ("--only", "x"),
            ("--source", "../p"),
            ("--source", "/p"),
            ("<X>", "x"),
        ] {
            let mut edited = saved.clone();
            edited.command.flags.insert(flag.to_owned(), vec![value.to_owned()]);
            let read = edited.arguments::<crate::verb::prune::Arguments>("/root".into());
            assert_eq!(read.unwrap_err().kind, Kind::Config, "{flag}={value}");
        }
    }

    #[test]
    fn each_input_that_moves_is_named() {
        type Change = (&'static str, fn(&mut Stamp));
        let changes: [Change; 7] = [
            ("flake.lock", |stamp| stamp.lock.clear()),
            ("golden", |stamp| stamp.golden.clear()),
            ("platform config", |stamp| stamp.config.clear()),
            ("project", |stamp| stamp.project.clear()),
            ("cluster UID", |stamp| stamp.cluster = "other".to_owned()),
            ("version of `kluctl`", |stamp| stamp.tools.clear()),
            ("live object ConfigMap/n/x: is gone", |stamp| stamp.live.clear()),
        ];
        for (name, change) in changes {
            let mut now = stamp();
            change(&mut now);
            let moved = stamp().moved(&now);
            assert_eq!(moved.len(), 1, "{moved:?}");
            assert!(moved[0].starts_with(name), "{moved:?}");
        }
        assert!(stamp().moved(&stamp()).is_empty());
    }

    #[test]
    fn a_status_does_not_move_the_live_digest_and_an_edit_does() {
        let object = |fields: Value, status: &str| {
            json!({"items": [{"kind": "Deployment", "apiVersion": "apps/v1", "status": {"x": status}, "metadata": {
                "name": "x", "namespace": "n", "uid": "u", "resourceVersion": status, "labels": {"kluctl.io/discriminator": "d"},
                "managedFields": [{"manager": "kluctl", "operation": "Apply", "fieldsV1": fields}]}}]})
        };
        let before = live(&object(json!({"f:spec": {"f:a": {}, "f:b": {}}}), "1"), "d");
        assert_eq!(
            before,
            live(&object(json!({"f:spec": {"f:b": {}, "f:a": {}}}), "2"), "d")
        );
        assert_ne!(before, live(&object(json!({"f:spec": {"f:a": {}}}), "1"), "d"));
    }
}

//! What is true of every plan, and each plan as a person reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::OnceLock;

use serde_json::Value;
use xtask::cluster::embedded::EndProcesses;
use xtask::command::{Arg, Command, Stdin, Tool};
use xtask::plan::{Action, Effect, Node, Placed, Plan, Probe, Reasons, Step, Task};
use xtask::platform::{DnsProvider, Platform};
use xtask::project::StageDescription;
use xtask::recipe::catalogue::{Descriptions, plans};

use crate::support::{program, repository};

fn platform() -> Platform {
    Platform::parse(&fs_err::read_to_string(repository().join("platform.json")).unwrap()).unwrap()
}

fn every_plan() -> &'static [(String, Plan)] {
    static PLANS: OnceLock<Vec<(String, Plan)>> = OnceLock::new();
    PLANS.get_or_init(make_every_plan)
}

fn make_every_plan() -> Vec<(String, Plan)> {
    let platform = platform();
    let mut descriptions = Descriptions::new();
    for (name, config) in &platform.clusters {
        for stage in config.stages.keys() {
            let golden = repository().join(format!("k8s/golden/{name}/{stage}"));
            descriptions.insert((name.clone(), *stage), StageDescription::read(&golden).unwrap());
        }
    }
    let mut plans = plans(&platform, &descriptions);
    plans.push(on_paper(&platform, &descriptions));
    plans.push(by_hand(&platform, &descriptions));
    assert!(plans.len() > 30, "{}", plans.len());
    plans
}

/// A cluster that nobody has built: three control planes and fifty workers in two regions.
fn on_paper(platform: &Platform, descriptions: &Descriptions) -> (String, Plan) {
    let mut large = platform.clone();
    let cluster = large.clusters.get_mut("vanixiets").unwrap();
    cluster.nodes = 53;
    let api = cluster.cluster_api.as_mut().unwrap();
    api.control_planes = 3;
    api.regions = vec!["hel1".to_owned(), "fsn1".to_owned()];
    api.workers = [("workers-x86".to_owned(), 40), ("workers-arm64".to_owned(), 10)].into();
    let mut plans = plans(&large, descriptions).into_iter();
    let (_, plan) = plans.find(|(name, _)| name == "capi-bootstrap-vanixiets").unwrap();
    ("capi-bootstrap-on-paper".to_owned(), plan)
}

/// A cluster whose record a person sets.
fn by_hand(platform: &Platform, descriptions: &Descriptions) -> (String, Plan) {
    let mut manual = platform.clone();
    let cluster = manual.clusters.get_mut("vanixiets").unwrap();
    cluster.cluster_api.as_mut().unwrap().dns = DnsProvider::Manual;
    let mut plans = plans(&manual, descriptions).into_iter();
    let (_, plan) = plans.find(|(name, _)| name == "capi-dns-vanixiets").unwrap();
    ("capi-dns-by-hand".to_owned(), plan)
}

/// Asks every step of every plan and reports all that break the law.
fn every_step(law: impl Fn(&Plan, usize, &Step) -> Result<(), String>) {
    let mut broken = Vec::new();
    for (name, plan) in every_plan() {
        for (index, (path, step)) in steps(plan).into_iter().enumerate() {
            if let Err(why) = law(plan, index, step) {
                broken.push(format!("{name}: {path}: {why}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Every step with its path, in order.
fn steps(plan: &Plan) -> Vec<(String, &Step)> {
    plan.placed()
        .into_iter()
        .filter_map(|placed| match placed.node {
            Node::Step(step) => Some((placed.path, step)),
            Node::Section(_) => None,
        })
        .collect()
}

/// Asks every section and step of every plan and reports all that break the law.
fn every_place(law: impl Fn(&Plan, &Placed<'_>) -> Result<(), String>) {
    let mut broken = Vec::new();
    for (name, plan) in every_plan() {
        for placed in plan.placed() {
            if let Err(why) = law(plan, &placed) {
                broken.push(format!("{name}: {}: {why}", placed.path));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Whether the probe of a section around it, or its own, says that a step is done.
fn is_known_to_be_done(placed: &Placed<'_>, step: &Step) -> bool {
    step.unless.is_some() || placed.above.iter().any(|section| section.unless.is_some())
}

fn every_command(law: impl Fn(&Command) -> Result<(), String>) {
    every_place(|_, placed| {
        let commands = match placed.node {
            Node::Step(step) => step.commands(),
            Node::Section(section) => section.unless.iter().flat_map(Probe::commands).collect(),
        };
        commands.into_iter().try_for_each(&law)
    });
}

fn holds(condition: bool, why: impl std::fmt::Display) -> Result<(), String> {
    if condition { Ok(()) } else { Err(why.to_string()) }
}

fn literals(command: &Command) -> Vec<String> {
    command
        .args
        .iter()
        .filter_map(|arg| match arg {
            Arg::Lit(text) => Some(text.clone()),
            _ => None,
        })
        .collect()
}

/// Whether a command changes nothing, by the words it is called with.
fn reads(command: &Command) -> bool {
    let words = literals(command);
    let words: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| !word.starts_with('-'))
        .collect();
    match command.tool {
        Tool::Kubectl => matches!(
            words.as_slice(),
            ["get" | "api-resources" | "wait" | "version", ..]
                | ["config", "get-contexts", ..]
                | ["rollout", "status", ..]
        ),
        Tool::Git => matches!(
            words.first(),
            Some(&("status" | "rev-parse" | "ls-files" | "show" | "diff"))
        ),
        Tool::Xtask => matches!(words.as_slice(), ["golden", "check", ..]),
        Tool::Limactl => matches!(
            words.as_slice(),
            ["list", ..]
                | ["shell", "/", _, "date", ..]
                | ["shell", "/", _, "sudo", "sh", xtask::cluster::vm::WRITTEN]
                | ["shell", "/", _, "sh", xtask::cluster::vm::BOOTED]
        ),
        Tool::Nix => words.contains(&"eval"),
        _ => false,
    }
}

#[test]
fn every_recipe_is_in_the_catalogue() {
    let folder = repository().join("xtask/src/recipe");
    let catalogue = fs_err::read_to_string(folder.join("catalogue.rs")).unwrap();
    for entry in fs_err::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        // A recipe that is long is a folder, one file a part.
        let files = walkdir::WalkDir::new(&path).into_iter().map(Result::unwrap);
        let text: String = files
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| fs_err::read_to_string(entry.path()).unwrap())
            .collect();
        if name != "catalogue" && text.contains("-> Plan {") {
            assert!(
                catalogue.contains(&format!("{name}::")),
                "recipe `{name}` is not in the catalogue"
            );
        }
    }
}

#[test]
fn ids_are_unique_and_name_a_thing_and_what_is_done_with_it() {
    every_place(|plan, placed| {
        let same = plan.placed().iter().filter(|other| other.path == placed.path).count();
        holds(same == 1, "the path is not unique")?;
        let Node::Step(step) = placed.node else { return Ok(()) };
        let parts: Vec<&str> = step.id.split('.').collect();
        let word = |word: &str| {
            !word.is_empty()
                && word
                    .chars()
                    .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-')
        };
        holds(
            parts.len() == 2 && parts.iter().all(|part| word(part)),
            "the id is not `noun.verb`",
        )?;
        holds(
            !step.title.is_empty() && !step.title.ends_with('.'),
            "the title is no title",
        )?;
        holds(step.why.ends_with('.'), "the reason is no sentence")
    });
}

#[test]
fn a_section_has_a_word_for_an_id_and_a_title_that_says_what_was_done() {
    every_place(|plan, placed| {
        let Node::Section(section) = placed.node else {
            return Ok(());
        };
        let letters = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        holds(
            !section.id.is_empty() && section.id.chars().all(letters),
            "the id is no word",
        )?;
        holds(
            !section.title.is_empty() && !section.title.ends_with('.'),
            "the title is no title",
        )?;
        holds(section.why.ends_with('.'), "the reason is no sentence")?;
        holds(!section.items.is_empty(), "nothing is in it")?;
        let (past, rest) = section.past();
        holds(
            past.len() <= 11 && !rest.is_empty(),
            format!("`{past}` is no word before a line"),
        )?;
        // `ci` says of a group that it passed, or not.
        holds(
            plan.goal == "ci" || PAST.contains(&past.as_str()),
            format!("is `{past}` English?"),
        )
    });
}

/// What sections say when they are done.
const PAST: [&str; 38] = [
    "Applied",
    "Backed",
    "Brought",
    "Built",
    "Checked",
    "Compared",
    "Completed",
    "Created",
    "Deleted",
    "Deployed",
    "Evaluated",
    "Fetched",
    "Gave",
    "Installed",
    "Kept",
    "Linted",
    "Listed",
    "Loaded",
    "Locked",
    "Made",
    "Moved",
    "Prepared",
    "Recorded",
    "Rehearsed",
    "Removed",
    "Rendered",
    "Restarted",
    "Scaled",
    "Set",
    "Showed",
    "Started",
    "Stopped",
    "Switched",
    "Took",
    "Trusted",
    "Validated",
    "Verified",
    "Waited",
];

#[test]
fn a_condition_stands_on_the_section_that_it_is_about() {
    every_place(|_, placed| {
        let Node::Section(section) = placed.node else {
            return Ok(());
        };
        let conditions: Vec<Option<&Probe>> = section
            .items
            .iter()
            .map(|item| match item {
                xtask::plan::Item::Step(step) => step.unless.as_ref(),
                xtask::plan::Item::Section(section) => section.unless.as_ref(),
            })
            .collect();
        let copied = conditions
            .windows(3)
            .any(|three| three[0].is_some() && three.iter().all(|one| *one == three[0]));
        holds(!copied, "three in a row have the same condition")
    });
}

#[test]
fn every_plan_fits_on_a_screen() {
    for (name, plan) in every_plan() {
        let text = plan.text(Reasons::Omitted);
        assert!(text.lines().count() <= 40, "{name}:\n{text}");
        assert!(text.lines().count() > plan.sections.len(), "{name}:\n{text}");
    }
}

#[test]
fn every_command_that_talks_to_a_cluster_names_it() {
    every_command(|command| {
        let words = literals(command);
        let flag = |name: &str| {
            command.args.iter().any(|arg| match arg {
                Arg::Lit(text) => text.starts_with(&format!("{name}=")) && text.len() > name.len() + 1,
                Arg::FlagPath(flag, _) => flag == name,
                _ => false,
            })
        };
        match command.tool {
            Tool::Kubectl => {
                holds(flag("--kubeconfig"), "kubectl without kubeconfig")?;
                // The context itself is what these two are about.
                let about_contexts = words.first().is_some_and(|word| word == "config");
                holds(flag("--context") || about_contexts, "kubectl without context")
            }
            Tool::Kluctl => {
                holds(command.env.contains_key("KUBECONFIG"), "kluctl without kubeconfig")?;
                holds(flag("--context"), "kluctl without context")
            }
            Tool::Kwokctl => {
                holds(flag("--name"), "kwokctl without a name")?;
                holds(
                    !command.env.contains_key("KWOK_WORKDIR"),
                    "its folder is below its home",
                )
            }
            tool if tool.speaks_to_clusters() => holds(
                flag("--kubeconfig") || command.env.contains_key("KUBECONFIG"),
                "no kubeconfig",
            ),
            _ => Ok(()),
        }?;
        let own_home = command.tool.speaks_to_clusters() || command.tool == Tool::Kwokctl;
        holds(
            !own_home || command.env.contains_key("HOME"),
            "it reads the user's own home",
        )
    });
}

#[test]
fn every_wait_ends_and_only_reads() {
    every_step(|_, _, step| {
        if let Action::Wait { until, deadline, every } = &step.action {
            holds(*deadline > 0 && *deadline <= 3600, "the deadline makes no sense")?;
            holds(*every >= 1 && every < deadline, "the interval makes no sense")?;
            holds(
                until.commands().into_iter().all(reads),
                "it waits by changing something",
            )?;
            holds(step.effect == Effect::Read, "a wait has another effect than to read")?;
        }
        Ok(())
    });
    every_command(|command| holds(command.deadline > 0, "no deadline"));
}

#[test]
fn what_is_asked_and_what_only_reads_changes_nothing() {
    every_step(|_, _, step| match &step.action {
        Action::Run(command) if step.effect == Effect::Read => holds(reads(command), "it says that it only reads"),
        Action::Write { .. } | Action::Remove { .. } | Action::Do(Task::EndProcesses(_)) => {
            holds(step.effect > Effect::Read, "it says that it only reads")
        }
        _ => Ok(()),
    });
    every_place(|_, placed| {
        let probe = match placed.node {
            Node::Step(step) => &step.unless,
            Node::Section(section) => &section.unless,
        };
        let commands: Vec<&Command> = probe.iter().flat_map(Probe::commands).collect();
        holds(commands.into_iter().all(reads), "its probe changes something")
    });
}

#[test]
fn a_remote_step_is_known_to_be_done_or_converges() {
    every_place(|_, placed| {
        let Node::Step(step) = placed.node else { return Ok(()) };
        let converges = match &step.action {
            Action::Run(command) => {
                let words = literals(command);
                let has = |word: &str| words.contains(&word.to_owned());
                // Nix copies what the other store does not have.
                command.tool == Tool::Kubectl && has("apply") && has("--server-side")
                    || command.tool == Tool::Nix && has("copy")
            }
            // It asks what is there, and writes only what is not.
            Action::Do(Task::SetRecord(_)) => true,
            // It looks what runs, and ends that.
            Action::Do(Task::EndProcesses(_)) => true,
            _ => false,
        };
        // Creating a Lease that is there fails, and the next step looks whose it is.
        // A backup pauses and unpauses, and comes to the same each time.
        let exempt = matches!(step.id.as_str(), "capi.move" | "lease.take" | "backup.write");
        holds(
            step.effect < Effect::Remote || is_known_to_be_done(placed, step) || converges || exempt,
            "it would be done twice",
        )
    });
}

/// Whether a step may end a run because of what it found, before anything is lost.
fn can_refuse(action: &Action) -> bool {
    let Action::Do(task) = action else { return false };
    matches!(
        task,
        Task::CheckClusterIdentity(_)
            | Task::CheckSecrets(_)
            | Task::CleanTree(_)
            | Task::DescriptionUnchanged(_)
            | Task::DiffUnchanged(_)
            | Task::DistinctClusters(_)
            | Task::KluctlResult(_)
            | Task::LeaseAbandoned(_)
            | Task::LeaseHeld(_)
            | Task::MoveDone(_)
            | Task::MovePossible(_)
            | Task::MovePreflight(_)
            | Task::NoClosures(_)
            | Task::NoForeignObjects(_)
            | Task::NothingDiffers(_)
            | Task::OwnKubeconfig(_)
            | Task::PivotDone(_)
            | Task::PruneUnchanged(_)
            | Task::Reviewed(_)
            | Task::StageAllowed(_)
            | Task::VmCompare(_)
            | Task::VmDeletion(_)
            | Task::VmFits(_)
            | Task::VmImageIntact(_)
            | Task::VmSystemFits(_)
    )
}

#[test]
fn nothing_is_destroyed_but_by_the_verbs_for_it_and_after_a_check() {
    for (name, plan) in every_plan() {
        let steps: Vec<&Step> = plan.steps().collect();
        for (index, step) in steps.iter().enumerate() {
            if step.effect == Effect::Destroy {
                // A VM that no longer fits the platform config is made anew: said, with what is lost, and asked.
                let brings_up = name.starts_with("local-up-") || name.starts_with("capi-bootstrap-");
                let recreated = step.id == "vm.recreate" && brings_up;
                assert!(
                    recreated
                        || [
                            "prune-",
                            "unlock-",
                            "capi-bootstrap-",
                            "capi-down-",
                            "capi-rehearse-",
                            "local-down-delete-",
                        ]
                        .iter()
                        .any(|verb| name.starts_with(verb)),
                    "{name} destroys: {}",
                    step.id
                );
                let checked = steps[..index].iter().any(|step| can_refuse(&step.action));
                assert!(checked, "{name}: nothing is checked before {}", step.id);
            }
        }
        assert!(
            plan.finally.iter().all(|section| section.effect() < Effect::Destroy),
            "{name} destroys at its end"
        );
    }
}

#[test]
fn whatever_changes_a_cluster_of_the_config_has_looked_which_it_is() {
    every_step(|plan, index, step| {
        // These act on this host alone, or are verbs of ours with guards of their own.
        let elsewhere = matches!(
            &step.action,
            Action::Run(command)
                if matches!(command.tool, Tool::Xtask | Tool::Colima | Tool::Limactl | Tool::Sudo | Tool::Security)
        );
        if step.effect >= Effect::Remote && index < plan.steps().count() && !elsewhere {
            let known = plan
                .steps()
                .take(index)
                .any(|step| step.id == "identity.check" && step.guard);
            holds(known, "no identity check before it")?;
        }
        Ok(())
    });
}

#[test]
fn secrets_are_never_arguments() {
    every_command(|command| {
        holds(
            !command.args.iter().any(|arg| matches!(arg, Arg::Secret(_))),
            "a secret is an argument",
        )
    });
    for (name, plan) in every_plan() {
        let text = serde_json::to_string(plan).unwrap();
        assert!(!text.contains("AGE-SECRET-KEY-"), "{name}");
    }
}

#[test]
fn every_tool_is_in_the_table() {
    every_command(|command| {
        command.tools().try_for_each(|tool| {
            let row = xtask::tool::table::row(tool);
            holds(!row.why.is_empty(), format!("nothing says why {tool:?} is needed"))
        })
    });
}

#[test]
fn doctor_names_every_tool_that_a_plan_of_the_verb_starts() {
    let command = <xtask::cli::Cli as clap::CommandFactory>::command();
    let verbs: Vec<&str> = xtask::cli::shown(&command).map(clap::Command::get_name).collect();
    for (name, plan) in every_plan() {
        // A VM, and what is built for a real cluster, are asked after where they are chosen.
        if name.ends_with("-colima") || name.ends_with("-lima") {
            continue;
        }
        let verb = match name.split_once('-') {
            Some(("validate", _)) => "golden",
            Some(("resync", _)) => "secrets",
            Some(("rebuild", _)) => "rollback",
            _ => verbs
                .iter()
                .filter(|verb| name == **verb || name.starts_with(&format!("{verb}-")))
                .max_by_key(|verb| verb.len())
                .unwrap_or_else(|| panic!("{name} is no verb's")),
        };
        let known = xtask::tool::table::for_verb(verb);
        // Of the parts of `capi`, only the rehearsal starts controllers and control planes.
        if !name.starts_with("capi-rehearse-") {
            // The VM of a bootstrap is asked after where it is chosen, too.
            let vms = [Tool::Colima, Tool::Limactl];
            for tool in plan.tools().into_iter().filter(|tool| !vms.contains(tool)) {
                assert!(
                    known.contains(&tool),
                    "`doctor --for {verb}` does not name {tool:?}, which {name} starts"
                );
            }
        }
    }
}

#[test]
fn every_path_is_relative_to_the_root() {
    fn paths(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    if let (true, Value::String(text)) = (
                        matches!(key.as_str(), "path" | "file" | "to" | "from" | "folder"),
                        value,
                    ) {
                        into.push(text.clone());
                    }
                    paths(value, into);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| paths(value, into)),
            _ => {}
        }
    }
    every_step(|_, _, step| {
        let mut found = Vec::new();
        paths(&serde_json::to_value(step).unwrap(), &mut found);
        found
            .iter()
            .try_for_each(|path| holds(!path.starts_with('/') && !path.contains(".."), format!("`{path}`")))
    });
}

#[test]
fn what_is_removed_or_ended_is_below_our_own_folder() {
    every_step(|_, _, step| match &step.action {
        Action::Remove { path } | Action::Do(Task::EndProcesses(EndProcesses { folder: path })) => holds(
            path.starts_with(".xtask/") && path.components().count() > 2,
            format!("`{path}`"),
        ),
        _ => Ok(()),
    });
}

#[test]
fn what_is_read_later_was_written_by_an_earlier_step() {
    every_step(|plan, index, step| {
        let before: BTreeSet<String> = plan
            .all_steps()
            .take(index)
            .map(|step| serde_json::to_string(step).unwrap())
            .collect();
        step.commands().into_iter().try_for_each(|command| {
            let files = command.args.iter().filter_map(|arg| match arg {
                Arg::Later { file, .. } | Arg::LaterList { file, .. } => Some(file),
                _ => None,
            });
            let stdin = match &command.stdin {
                Stdin::File(file) => Some(file),
                _ => None,
            };
            files.chain(stdin).try_for_each(|file| {
                let text = format!("\"{file}\"");
                // What lies elsewhere is no run's, but a person's.
                holds(
                    !file.starts_with(".xtask") || before.iter().any(|step| step.contains(&text)),
                    format!("no step has written `{file}`"),
                )
            })
        })
    });
}

#[test]
fn the_shell_form_is_shell() {
    for (name, plan) in every_plan() {
        let mut child = program("/bin/sh")
            .arg("-n")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(plan.shell().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn a_plan_is_the_same_when_made_again_and_when_read_back() {
    for ((name, plan), (_, again)) in every_plan().iter().zip(make_every_plan()) {
        assert_eq!(*plan, again, "{name}");
        let text = serde_json::to_string(plan).unwrap();
        assert_eq!(xtask::run::journal::parse_plan(&text).unwrap(), *plan, "{name}");
    }
}

/// A text without what only tells its plan from one of the same kind: names of clusters, contexts, stages, phases and
/// secrets, and numbers.
struct Names(Vec<String>);

impl Names {
    fn of(platform: &Platform) -> Self {
        let mut names: BTreeSet<String> = ["local", "capi", "full"].map(ToOwned::to_owned).into();
        for (name, config) in &platform.clusters {
            names.extend([name.clone(), config.context.clone()]);
            for stage in config.stages.keys() {
                let golden = repository().join(format!("k8s/golden/{name}/{stage}"));
                names.extend(StageDescription::read(&golden).unwrap().phases);
            }
        }
        for secret in &platform.secrets.required {
            names.extend([secret.id.clone(), secret.name.clone(), secret.namespace.clone()]);
            let consumers = secret.consumers.iter().flat_map(|consumer| consumer.split('/'));
            names.extend(consumers.map(str::to_lowercase));
            let file = secret.file.file_name().and_then(|name| name.split('.').next());
            names.extend(file.map(ToOwned::to_owned));
        }
        names.extend(
            platform
                .secrets
                .recipients
                .iter()
                .flat_map(|(name, key)| [name.clone(), key.clone()]),
        );
        names.retain(|name| name.len() > 2);
        let mut names: Vec<String> = names.into_iter().collect();
        // A name may be the beginning of another.
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        Self(names)
    }

    fn without(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for name in &self.0 {
            text = text.replace(name, "NAME");
        }
        let mut plain = String::new();
        for character in text.chars() {
            match character {
                '0'..='9' if plain.ends_with('#') => {}
                '0'..='9' => plain.push('#'),
                ' ' if plain.ends_with(' ') => {}
                other => plain.push(other),
            }
        }
        while plain.contains("NAME, NAME") {
            plain = plain.replace("NAME, NAME", "NAME");
        }
        plain
    }
}

/// How far a line is indented.
fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Puts a plan's lines behind those of the same verb. A section that was there before, but for names, is one line that
/// says where: so a step that is added changes the lines of that step alone.
fn fold(lines: &[&str], plan: &str, names: &Names, seen: &mut BTreeMap<String, String>, into: &mut String) {
    let mut index = 0;
    while index < lines.len() {
        let line = lines[index];
        let inner = lines[index + 1..]
            .iter()
            .take_while(|inner| indent(inner) > indent(line))
            .count();
        let block = &lines[index..=index + inner];
        let dedented: Vec<&str> = block.iter().map(|inner| &inner[indent(line)..]).collect();
        let word = line.trim_start().split(' ').next().unwrap_or_default();
        let is_section = indent(line) > 0 && word.ends_with(':') && block.len() > 3;
        match seen.get(&names.without(&dedented.join("\n"))).filter(|_| is_section) {
            Some(place) => writeln!(into, "{line} [as in {place}]").unwrap(),
            None => {
                into.push_str(line);
                into.push('\n');
                if is_section {
                    seen.insert(names.without(&dedented.join("\n")), plan.to_owned());
                }
                fold(&lines[index + 1..=index + inner], plan, names, seen, into);
            }
        }
        index += inner + 1;
    }
}

#[test]
fn every_plan_reads_as_its_golden() {
    let folder = repository().join("xtask/tests/plans");
    let names = Names::of(&platform());
    let verbs = [
        "capi",
        "ci",
        "deploy",
        "generate",
        "image",
        "local-down",
        "local-up",
        "prune",
        "rebuild",
        "rehearse",
        "resync",
        "rollback",
        "trust",
        "validate",
    ];
    let mut goldens: BTreeMap<&str, (String, BTreeMap<String, String>)> = BTreeMap::new();
    for (name, plan) in every_plan() {
        let verb = verbs.iter().find(|verb| name.starts_with(**verb)).unwrap();
        let (golden, seen) = goldens.entry(verb).or_default();
        writeln!(golden, "== {name}").unwrap();
        let text = plan.full(Reasons::Omitted);
        fold(&text.lines().collect::<Vec<_>>(), name, &names, seen, golden);
    }
    let expected: BTreeSet<String> = goldens.keys().map(|verb| format!("{verb}.txt")).collect();
    for (verb, (golden, _)) in goldens {
        let path = folder.join(format!("{verb}.txt"));
        snapbox::assert_data_eq!(
            golden,
            snapbox::Data::read_from(path.as_std_path(), Some(snapbox::data::DataFormat::Text)).raw()
        );
    }
    let found: BTreeSet<String> = folder
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_owned())
        .collect();
    assert_eq!(found, expected, "a golden without a plan, or a plan without a golden");
}

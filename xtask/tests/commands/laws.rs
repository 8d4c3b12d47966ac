//! What is true of every plan, and each plan as a person reads it.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;

use serde_json::Value;
use xtask::plan::{Action, Arg, Command, Derivation, Effect, Plan, Reasons, Stdin, Step, Tool};
use xtask::platform::{DnsProvider, Platform};
use xtask::project::StageDescription;
use xtask::recipe::catalogue::{Descriptions, plans};

use crate::support::{program, repository};

fn platform() -> Platform {
    Platform::parse(&fs_err::read_to_string(repository().join("platform.json")).unwrap()).unwrap()
}

fn every_plan() -> Vec<(String, Plan)> {
    let platform = platform();
    let mut descriptions = Descriptions::new();
    for (name, facts) in &platform.clusters {
        for stage in facts.stages.keys() {
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
        for (index, step) in plan.all_steps().enumerate() {
            if let Err(why) = law(&plan, index, step) {
                broken.push(format!("{name}: {}: {why}", step.id));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn every_command(law: impl Fn(&Step, &Command) -> Result<(), String>) {
    every_step(|_, _, step| step.commands().into_iter().try_for_each(|command| law(step, command)));
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
    every_step(|plan, _, step| {
        let same = plan.all_steps().filter(|other| other.id == step.id).count();
        holds(same == 1, "the id is not unique")?;
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
fn every_command_that_talks_to_a_cluster_names_it() {
    every_command(|_, command| {
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
    every_command(|_, command| holds(command.deadline > 0, "no deadline"));
}

#[test]
fn what_is_asked_and_what_only_reads_changes_nothing() {
    every_step(|_, _, step| {
        if let Some(probe) = &step.unless {
            holds(probe.commands().into_iter().all(reads), "its probe changes something")?;
        }
        match &step.action {
            Action::Run(command) if step.effect == Effect::Read => holds(reads(command), "it says that it only reads"),
            Action::Write { .. } | Action::Remove { .. } | Action::End { .. } => {
                holds(step.effect > Effect::Read, "it says that it only reads")
            }
            _ => Ok(()),
        }
    });
}

#[test]
fn a_remote_step_is_known_to_be_done_or_converges() {
    every_step(|_, _, step| {
        let converges = match &step.action {
            Action::Run(command) => {
                let words = literals(command);
                let has = |word: &str| words.contains(&word.to_owned());
                // Nix copies what the other store does not have.
                command.tool == Tool::Kubectl && has("apply") && has("--server-side")
                    || command.tool == Tool::Nix && has("copy")
            }
            // It asks what is there, and writes only what is not.
            Action::SetRecord { .. } => true,
            _ => false,
        };
        // Creating a Lease that is there fails, and the next step looks whose it is.
        // A backup pauses and unpauses, and comes to the same each time.
        let exempt =
            matches!(step.id.as_str(), "capi.move" | "lease.take" | "backup.write") || step.id.ends_with("-lease.take");
        holds(
            step.effect < Effect::Remote || step.unless.is_some() || converges || exempt,
            "it would be done twice",
        )
    });
}

#[test]
fn nothing_is_destroyed_but_by_the_verbs_for_it_and_after_a_check() {
    for (name, plan) in every_plan() {
        for (index, step) in plan.steps.iter().enumerate() {
            if step.effect == Effect::Destroy {
                // A guest that no longer fits the facts is made anew: said, with what is lost, and asked.
                let recreated = step.id == "guest.recreate" && name.starts_with("local-up-");
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
                let checked = plan.steps[..index].iter().any(|step| {
                    matches!(
                        step.action,
                        Action::Check(_) | Action::Derive(Derivation::GuestCompare { .. })
                    )
                });
                assert!(checked, "{name}: nothing is checked before {}", step.id);
            }
        }
        assert!(
            plan.finally.iter().all(|step| step.effect < Effect::Destroy),
            "{name} destroys at its end"
        );
    }
}

#[test]
fn whatever_changes_a_cluster_of_the_facts_has_looked_which_it_is() {
    every_step(|plan, index, step| {
        // These act on this host alone, or are verbs of ours with guards of their own.
        let elsewhere = matches!(
            &step.action,
            Action::Run(command)
                if matches!(command.tool, Tool::Xtask | Tool::Colima | Tool::Limactl | Tool::Sudo | Tool::Security)
        );
        if step.effect >= Effect::Remote && index < plan.steps.len() && !elsewhere {
            let fenced = plan.steps[..index]
                .iter()
                .any(|step| (step.id == "fence.check" || step.id.ends_with("-fence.check")) && step.guard);
            holds(fenced, "no fence before it")?;
        }
        Ok(())
    });
}

#[test]
fn secrets_are_never_arguments() {
    every_command(|_, command| {
        holds(
            !command.args.iter().any(|arg| matches!(arg, Arg::Secret(_))),
            "a secret is an argument",
        )
    });
    for (name, plan) in every_plan() {
        let text = serde_json::to_string(&plan).unwrap();
        assert!(!text.contains("AGE-SECRET-KEY-"), "{name}");
    }
}

#[test]
fn every_tool_is_in_the_table() {
    every_command(|_, command| {
        command.tools().try_for_each(|tool| {
            let row = xtask::tool::table::row(tool);
            holds(!row.why.is_empty(), format!("nobody says why {tool:?} is needed"))
        })
    });
}

#[test]
fn doctor_names_every_tool_that_a_plan_of_the_verb_starts() {
    let verbs: Vec<&str> = xtask::tool::table::verbs().collect();
    for (name, plan) in every_plan() {
        // A guest, and what is built for a real cluster, are asked after where they are chosen.
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
        let known = xtask::tool::table::for_verb(verb).unwrap();
        // Of the parts of `capi`, only the rehearsal starts controllers and control planes.
        if !name.starts_with("capi-rehearse-") {
            for tool in plan.tools() {
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
        Action::Remove { path } | Action::End { folder: path } => holds(
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
                    format!("nobody has written `{file}`"),
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
    for ((name, plan), (_, again)) in every_plan().into_iter().zip(every_plan()) {
        assert_eq!(plan, again, "{name}");
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(xtask::run::journal::parse_plan(&text).unwrap(), plan, "{name}");
    }
}

#[test]
fn every_plan_reads_as_its_golden() {
    let folder = repository().join("xtask/tests/plans");
    let plans = every_plan();
    let mut expected: BTreeSet<String> = BTreeSet::new();
    for (name, plan) in &plans {
        expected.insert(format!("{name}.txt"));
        let path = folder.join(format!("{name}.txt"));
        snapbox::assert_data_eq!(
            plan.text(Reasons::Shown),
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

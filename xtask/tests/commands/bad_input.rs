//! Everything a person or a machine can get wrong, each with its exit code and what to do about it.

use std::process::Stdio;

use camino::Utf8Path;
use serde_json::{Value, json};

use crate::fakes::Fakes;
use crate::support::{Checkout, Ran, finish, program, write};

fn fails(ran: &Ran, code: i32, parts: &[&str]) {
    assert_eq!(ran.code, Some(code), "{ran}");
    for part in parts {
        assert!(ran.stderr.contains(part), "`{part}` is not said: {ran}");
    }
    assert!(!ran.stderr.contains("panicked"), "{ran}");
}

#[test]
fn names_that_nobody_knows_are_refused_with_the_nearest_that_somebody_does() {
    let fakes = Fakes::new();
    fails(&fakes.run(&["local-upp"]), 2, &["local-up"]);
    fails(&fakes.run(&["rehearse", "--stage", "locale"]), 2, &["local"]);
    fails(
        &fakes.run(&["local-up", "--cluster", "k3s-dve"]),
        3,
        &["k3s-dev", "hint:"],
    );
    fails(
        &fakes.run(&["local-up", "--from", "phase-base.deplo"]),
        3,
        &["did you mean `phase-base.deploy`", "--dry-run=full"],
    );
    fails(&fakes.run(&["local-up", "--backend", "colina"]), 2, &["colima"]);
    fails(
        &fakes.run(&["deploy", "--cluster", "k3s-capi"]),
        2,
        &["2 stages", "`--stage local`, `--stage capi`"],
    );
    fails(
        &fakes.run(&["local-up", "--cluster", "hetzner"]),
        8,
        &["production", "k3s-dev"],
    );
    assert_eq!(fakes.calls(), Vec::<String>::new());
}

#[test]
fn a_folder_that_is_no_checkout_is_said_with_the_ways_to_name_one() {
    let checkout = Checkout::tiny();
    let at = |folder: &std::path::Path| {
        let mut command = checkout.command(&["local-up"]);
        command.current_dir(folder);
        finish(command.spawn().unwrap())
    };
    fails(&at("/".as_ref()), 3, &["no checkout", "--root", "XTASK_ROOT"]);
    // Not below the usual folder, where somebody may have left platform config.
    let flake = tempfile::Builder::new().tempdir_in("/var/tmp").unwrap();
    fs_err::write(flake.path().join("flake.nix"), "{ }").unwrap();
    fails(&at(flake.path()), 3, &["platform.json", "nix build .#platform"]);
    fails(
        &checkout.run(&["local-up", "--root", "/nowhere"]),
        3,
        &["/nowhere", "platform.json"],
    );
}

#[test]
fn a_checkout_is_found_from_below_by_flag_and_by_variable() {
    let fakes = Fakes::new();
    let below = fakes.checkout.root.join("a/b");
    fs_err::create_dir_all(&below).unwrap();
    let wanted = fakes.checkout.ok(&["env"]).stdout;
    let run = |change: &dyn Fn(&mut std::process::Command) -> &mut std::process::Command, arguments: &[&str]| {
        let mut command = fakes.command(arguments);
        change(&mut command);
        let ran = finish(command.spawn().unwrap());
        assert_eq!((ran.code, &ran.stdout), (Some(0), &wanted), "{ran}");
    };
    run(&|command| command.current_dir(&below), &["env"]);
    let root = fakes.checkout.root.to_string();
    run(&|command| command.current_dir("/"), &["env", "--root", &root]);
    run(&|command| command.current_dir("/").env("XTASK_ROOT", &root), &["env"]);
}

fn config(checkout: &Checkout, change: impl Fn(&mut Value)) {
    let path = checkout.root.join("platform.json");
    let mut config: Value = serde_json::from_str(&fs_err::read_to_string(&path).unwrap()).unwrap();
    change(&mut config);
    fs_err::write(path, config.to_string()).unwrap();
}

#[test]
fn config_that_cannot_be_used_are_named_with_their_place() {
    let checkout = Checkout::tiny();
    let path = checkout.root.join("platform.json");
    let whole = fs_err::read_to_string(&path).unwrap();

    fs_err::write(&path, &whole[..whole.len() / 2]).unwrap();
    fails(&checkout.run(&["local-up"]), 3, &["platform.json", "EOF"]);
    fs_err::write(&path, "").unwrap();
    fails(&checkout.run(&["local-up"]), 3, &["platform.json"]);

    fs_err::write(&path, &whole).unwrap();
    config(&checkout, |config| config["schema"] = 2.into());
    fails(&checkout.run(&["local-up"]), 3, &["schema 2", "schema 1"]);

    fs_err::write(&path, &whole).unwrap();
    config(&checkout, |config| {
        config["clusters"]["k3s-dev"]["colour"] = "blue".into();
    });
    fails(&checkout.run(&["local-up"]), 3, &["colour"]);
}

#[test]
fn config_that_contradict_themselves_are_all_reported_at_once() {
    let checkout = Checkout::tiny();
    config(&checkout, |config| {
        let port = config["clusters"]["k3s-dev"]["apiPort"].clone();
        config["clusters"]["k3s-capi"]["apiPort"] = port;
        config["clusters"]["k3s-dev"]["profile"] = "none".into();
        config["clusters"]["k3s-dev"]["kubeconfig"] = "/etc/kubernetes/admin.conf".into();
    });
    fails(
        &checkout.run(&["local-up"]),
        3,
        &[
            "apiPort",
            "clusters.k3s-dev.profile",
            "clusters.k3s-dev.kubeconfig",
            "modules/platform.nix",
        ],
    );
}

#[test]
fn a_golden_that_is_missing_or_broken_is_named() {
    let fakes = Fakes::new();
    let golden = fakes.checkout.golden("k3s-dev");
    fs_err::write(golden.join("02-app/02.yaml"), "{").unwrap();
    fails(&fakes.run(&["local-up"]), 3, &["02-app/02.yaml"]);
    fs_err::write(golden.join("stage.json"), json!({"schema": 99}).to_string()).unwrap();
    fails(&fakes.run(&["local-up"]), 3, &["stage.json", "schema 99"]);
    fs_err::remove_dir_all(&golden).unwrap();
    fails(&fakes.run(&["local-up"]), 4, &["no golden", "golden bless"]);
}

#[test]
fn a_record_of_a_run_that_was_tampered_with_is_never_taken_for_nothing_done() {
    let fakes = Fakes::new();
    fakes.answers(&["kluctl *deploy => 1 no"]);
    assert_eq!(fakes.run(&["local-up"]).code, Some(6));
    let run = fakes.checkout.newest_run("local-up");
    let journal = fs_err::read_to_string(run.join("journal.jsonl")).unwrap();
    let plan = fs_err::read_to_string(run.join("plan.json")).unwrap();
    let damaged = |journal: &str, plan: &str, parts: &[&str]| {
        fs_err::write(run.join("journal.jsonl"), journal).unwrap();
        fs_err::write(run.join("plan.json"), plan).unwrap();
        let calls = fakes.settled();
        fails(&fakes.run(&["local-up", "--resume"]), 3, parts);
        assert_eq!(fakes.settled(), calls, "something was called");
    };
    damaged("", &plan, &["empty", "hint:"]);
    damaged(
        &journal.replacen("\"version\":2", "\"version\":3", 1),
        &plan,
        &["version 3", "byte 0"],
    );
    damaged(&journal.replacen("started", "strated", 1), &plan, &["byte"]);
    damaged(
        &journal.replace("identity.check", "identity.skip"),
        &plan,
        &["identity.skip"],
    );
    damaged(
        &journal.replacen("\"version\":2", "\"version\":1", 1),
        &plan,
        &["version 1", "hint:"],
    );
    damaged(&journal, "", &["plan.json"]);
    damaged(&journal, &plan[..plan.len() / 2], &["plan.json"]);
    damaged(
        &journal,
        &plan.replacen("\"schema\": 3", "\"schema\": 7", 1),
        &["schema 7"],
    );
    // As an xtask wrote it whose plans were flat.
    let flat = r#"{"schema": 1, "goal": "local-up k3s-dev", "choices": [], "target": null, "steps": [], "finally": [], "next": null}"#;
    damaged(
        &journal,
        flat,
        &["the plan has schema 1, this xtask reads schema 3", "plan again"],
    );
    fakes.made();
    // A last line that was cut off is what a crash leaves.
    fs_err::write(run.join("plan.json"), &plan).unwrap();
    fs_err::write(run.join("journal.jsonl"), &journal[..journal.len() - 5]).unwrap();
    fakes.answers(&["kluctl *deploy => 1 no"]);
    let resumed = fakes.run(&["local-up", "--resume"]);
    fails(&resumed, 6, &["Resuming the unfinished run"]);
}

#[test]
fn without_a_home_and_with_an_unwritable_cache_the_remedy_is_said() {
    let checkout = Checkout::tiny();
    let mut command = checkout.command(&["local-up"]);
    command
        .env_remove("HOME")
        .env_remove("XTASK_TOOL_CACHE")
        .env("PATH", "");
    fails(&finish(command.spawn().unwrap()), 5, &["HOME", "XTASK_TOOL_CACHE"]);
    let file = checkout.base().join("a-file");
    write(&file, "");
    let mut command = checkout.command(&["tools", "build", "age"]);
    command.env("XTASK_TOOL_CACHE", file.join("cache"));
    let ran = finish(command.spawn().unwrap());
    assert_ne!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.contains("a-file") && ran.stderr.contains("hint:"), "{ran}");
}

#[test]
fn long_paths_with_spaces_quotes_and_dollars_are_paths() {
    let name = format!("it's a \"$(touch owned)\" {}", "x".repeat(180));
    let plain = Fakes::new();
    plain.answers(&["kluctl *deploy => 1 no"]);
    let mut fakes = Fakes::new();
    // The Lease is read back from where the run wrote it.
    let lease = |fakes: &Fakes| {
        format!(
            "kubectl *get lease => 0 @{}/.xtask/clusters/k3s-dev/lease-wanted.json",
            fakes.checkout.root
        )
    };
    let odd = fakes.checkout.base().join(&name);
    fs_err::rename(&fakes.checkout.root, &odd).unwrap();
    fakes.checkout.root = odd;
    fakes.answers(&["kluctl *deploy => 1 no", &lease(&fakes)]);
    assert_eq!(plain.run(&["local-up"]).code, Some(6));
    let ran = fakes.run(&["local-up"]);
    assert_eq!(ran.code, Some(6), "{ran}");
    let as_in_plain =
        |calls: Vec<String>| -> Vec<String> { calls.into_iter().map(|call| call.replace(&name, "checkout")).collect() };
    let (served, others) = fakes.settled();
    assert_eq!((as_in_plain(served), as_in_plain(others)), plain.settled());
    assert!(!fakes.checkout.root.join("owned").exists());
}

#[test]
fn a_reader_that_goes_away_and_a_closed_stdin_are_fine() {
    let checkout = Checkout::tiny();
    let mut command = checkout.command(&["local-up", "--dry-run=json"]);
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let ran = finish(child);
    assert!(!ran.stderr.contains("panicked"), "{ran}");
    let script = format!("exec '{}' local-up --dry-run <&- >&-", crate::support::XTASK);
    let mut shell = program("/bin/sh");
    shell
        .args(["-c", &script])
        .current_dir(&checkout.root)
        .stderr(Stdio::piped());
    let ran = finish(shell.spawn().unwrap());
    assert!(!ran.stderr.contains("panicked"), "{ran}");
}

#[test]
fn a_golden_that_is_older_than_the_modules_is_named_by_every_verb_that_takes_it() {
    let fakes = Fakes::new();
    fakes.made();
    let root = &fakes.checkout.root;
    write(&root.join(".xtask/clusters/k3s-dev/embedded.json"), "{}");
    let record = fakes.checkout.golden("k3s-dev").join("source.json");
    write(&root.join("modules/platform.nix"), "{ }\n");
    let verbs: [&[&str]; 4] = [
        &["local-up", "--dry-run"],
        &["deploy", "--stage", "local", "--dry-run"],
        &["diff", "--stage", "local"],
        &["drift", "--stage", "local"],
    ];
    let said = "the golden is not of today's modules and secrets";
    for (modules, older) in [("0", true), (of_today(root).as_str(), false)] {
        let lock = "";
        write(
            &record,
            &json!({"schema": 1, "modules": modules, "lock": lock}).to_string(),
        );
        for verb in verbs {
            fakes.answers(&[]);
            let ran = fakes.run(verb);
            assert_eq!(ran.stderr.contains(said), older, "{verb:?}: {ran}");
            assert_eq!(
                ran.stderr.contains("`cargo xtask doctor --for render`"),
                older,
                "{verb:?}: {ran}"
            );
            let asked = fakes.run(&[verb, &["--source", "golden"]].concat());
            let same = format!("`cargo xtask {}", verb[0]);
            assert_eq!(asked.stderr.contains(&same), older, "{verb:?}: {asked}");
        }
    }
    // What is not there to be rendered is no source.
    let ran = fakes.run(&["local-up", "--source", "render", "--dry-run"]);
    assert_eq!(ran.code, Some(5), "{ran}");
    assert!(ran.stderr.contains("`modules/default.nix`"), "{ran}");
}

/// What a golden records of the modules of a checkout.
fn of_today(root: &Utf8Path) -> String {
    let record = xtask::golden::provenance::Record::of(root).unwrap();
    record.modules
}

#[test]
fn the_flag_of_before_for_a_source_still_names_it() {
    let fakes = Fakes::new();
    for verb in [["local-up"].as_slice(), &["deploy", "--stage", "local"]] {
        let ran = fakes.run(&[verb, &["--from-folder", "nowhere", "--dry-run"]].concat());
        let now = fakes.run(&[verb, &["--source", "nowhere", "--dry-run"]].concat());
        assert!(ran.stderr.contains("nowhere"), "{ran}");
        assert_eq!((ran.code, ran.stderr), (now.code, now.stderr));
    }
}

#[test]
fn a_project_that_is_more_than_data_is_refused_before_anything_is_written() {
    for (file, from, to, said) in [
        (
            "deployment.yaml",
            r#""after 01-"#,
            r#""{{ cycler.__init__.__globals__.os.popen('true').read() }} after 01-"#,
            "`message`",
        ),
        (
            "deployment.yaml",
            "{\"deployments\"",
            "{\"vars\":[{\"http\":{\"url\":\"http://127.0.0.1\"}}],\"deployments\"",
            "`vars`",
        ),
        (
            "deployment.yaml",
            "{\"deployments\"",
            "{\"overrideNamespace\":\"kube-system\",\"deployments\"",
            "`overrideNamespace`",
        ),
        (
            "stage.json",
            "\"directory\":\"01-",
            "\"directory\":\"../01-",
            "the directory `../01-",
        ),
        (".templateignore", "*", "", "`*`"),
    ] {
        let fakes = Fakes::new();
        let path = fakes.checkout.golden("k3s-dev").join(file);
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        write(&path, &text.replacen(from, to, 1));
        fails(&fakes.run(&["local-up"]), 3, &[said, "hint:"]);
        assert_eq!(fakes.calls(), [""; 0], "a tool was started for {file}");
        let golden = fakes.checkout.root.join("k8s/golden/k3s-dev/local");
        let source = ["local-up", "--source", golden.as_str()];
        fails(&fakes.run(&source), 3, &[said]);
        fails(
            &fakes.run(&["golden", "check", "--alone", "--cluster", "k3s-dev"]),
            4,
            &[said],
        );
    }
}

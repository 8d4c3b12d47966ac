//! Whole runs as a person sees them: what is printed, line by line, with the code that comes out. The tools are fakes
//! that print what the real ones print; the words, their order and their number are what is looked at here.
//!
//! `SNAPSHOTS=overwrite cargo test --test commands seen` takes them anew.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::fakes::Fakes;
use crate::support::{Ran, XTASK, repository, write};

/// The reviewed stage as a project of its own: where it came from is not what is looked at.
const GOLDEN: &str = "k8s/golden/k3s-dev/local";

/// Holds a run to its snapshot.
#[track_caller]
fn seen(name: &str, fakes: &Fakes, words: &[&str], ran: &Ran) {
    let code = ran.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    let mut text = format!("$ cargo xtask {}\n", words.join(" "));
    for (stream, said) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        if !said.is_empty() {
            write!(text, "-- {stream}\n{said}").unwrap();
        }
    }
    writeln!(text, "-- exits with {code}").unwrap();
    let path = repository().join("xtask/tests/snapshots").join(format!("{name}.txt"));
    snapbox::assert_data_eq!(
        steadied(&text, fakes),
        snapbox::Data::read_from(path.as_std_path(), Some(snapbox::data::DataFormat::Text)).raw()
    );
}

/// The text without what another host, folder or moment makes different.
fn steadied(text: &str, fakes: &Fakes) -> String {
    let text = text
        .replace(fakes.checkout.base().as_str(), "[FOLDER]")
        .replace(XTASK, "[XTASK]")
        .replace(env!("CARGO_PKG_VERSION"), "[VERSION]");
    let mut out = String::new();
    // Which sections took long enough to be named is the host's affair.
    for line in text.lines().filter(|line| !line.starts_with("        Time ")) {
        let words: Vec<String> = line.split(' ').map(steady_word).collect();
        out.push_str(words.join(" ").trim_end());
        out.push('\n');
    }
    out
}

fn steady_word(word: &str) -> String {
    let bare = word.trim_matches(|char: char| "(),`;:".contains(char));
    let is_time = |text: &str| {
        text.contains('.') && text.chars().all(|char| char.is_ascii_digit() || char == '.') && text.len() < 8
    };
    if !bare.is_empty() && is_time(bare) && bare.split('.').count() == 2 {
        return word.replace(bare, "[N]");
    }
    // A run's folder: number, time, verb, process.
    if let Some((before, run)) = word.split_once(".xtask/runs/") {
        let end = run.find(['/', '`', ')']).unwrap_or(run.len());
        return format!("{before}.xtask/runs/[RUN]{}", &run[end..]);
    }
    if let Some((before, port)) = word.split_once("127.0.0.1:") {
        let end = port.find(|char: char| !char.is_ascii_digit()).unwrap_or(port.len());
        return format!("{before}127.0.0.1:[PORT]{}", &port[end..]);
    }
    word.to_owned()
}

/// A listing in which one object is other, and what is answered with it before a deploy and after.
fn once_other(fakes: &Fakes, name: &str, change: impl Fn(&mut Value)) -> [String; 3] {
    let base = fakes.checkout.base();
    let mut listing: Value = serde_json::from_str(&fs_err::read_to_string(base.join("listing.json")).unwrap()).unwrap();
    change(&mut listing["items"]);
    let path = base.join(format!("{name}.json"));
    write(&path, &listing.to_string());
    let once = format!("once kubectl *proxy --unix-socket= => serve @{path}");
    [
        once.clone(),
        once,
        format!("kubectl *proxy --unix-socket= => serve @{base}/listing.json"),
    ]
}

fn answers(fakes: &Fakes, lines: &[String]) {
    fakes.answers(&lines.iter().map(String::as_str).collect::<Vec<_>>());
}

/// A ConfigMap to which a person added a value and a label with `kubectl edit`, and whose other value a person took.
fn edited(items: &mut Value) {
    let items = items.as_array_mut().unwrap();
    let map = items.iter_mut().find(|item| item["kind"] == "ConfigMap").unwrap();
    map["data"] = json!({"colour": "red", "greeting": "by hand"});
    map["metadata"]["labels"]["team"] = "red".into();
    map["metadata"]["managedFields"] = json!([
        {"manager": "kluctl", "operation": "Apply", "fieldsV1": {"f:metadata": {"f:annotations": {}, "f:labels": {"f:kluctl.io/discriminator": {}}}, "f:data": {"f:other": {}}}},
        {"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-02T03:04:05Z",
            "fieldsV1": {"f:metadata": {"f:labels": {"f:team": {}}}, "f:data": {"f:greeting": {}, "f:colour": {}}}},
    ]);
}

#[test]
fn local_up_the_first_time_and_again() {
    let fakes = Fakes::new();
    let ran = fakes.run(&["local-up"]);
    seen("local-up-first", &fakes, &["local-up"], &ran);
    let base = fakes.checkout.base();
    fakes.made();
    fakes.answers(&[&format!("kubectl *proxy --unix-socket= => serve @{base}/listing.json")]);
    let ran = fakes.run(&["local-up"]);
    seen("local-up-again", &fakes, &["local-up"], &ran);
}

#[test]
fn deploy_after_a_hand_edit() {
    let fakes = Fakes::new();
    fakes.made();
    answers(&fakes, &once_other(&fakes, "edited", edited));
    let words = ["deploy", "--stage", "local", "--source", GOLDEN];
    let ran = fakes.run(&words);
    seen("deploy-after-a-hand-edit", &fakes, &words, &ran);
}

#[test]
fn deploy_of_another_content() {
    let fakes = Fakes::new();
    fakes.made();
    let other = once_other(&fakes, "other", |items| {
        let map = items
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .find(|item| item["kind"] == "ConfigMap")
            .unwrap();
        map["metadata"]["annotations"][xtask::project::DIGEST] = "0".repeat(64).into();
        map["data"] = json!({"greeting": "old"});
        let labels = json!({"f:kluctl.io/discriminator": {}});
        let annotations = json!({format!("f:{}", xtask::project::DIGEST): {}});
        map["metadata"]["managedFields"] = json!([{"manager": "kluctl", "operation": "Apply", "fieldsV1": {
            "f:metadata": {"f:annotations": annotations, "f:labels": labels}, "f:data": {"f:greeting": {}}}}]);
    });
    answers(&fakes, &other);
    let words = ["deploy", "--stage", "local", "--source", GOLDEN];
    let ran = fakes.run(&words);
    seen("deploy-of-another-content", &fakes, &words, &ran);
}

#[test]
fn deploy_that_kluctl_fails() {
    let fakes = Fakes::new();
    fakes.made();
    fakes.answers(&["kluctl *deploy => 1 admission webhook \"policy\" denied the request: no limits"]);
    let words = ["deploy", "--stage", "local", "--source", GOLDEN];
    let ran = fakes.run(&words);
    seen("deploy-that-kluctl-fails", &fakes, &words, &ran);
    let fakes = Fakes::new();
    fakes.made();
    fakes.answers(&["kluctl *deploy => 1 admission webhook \"policy\" denied the request: no limits"]);
    let ran = fakes.finish(&words, &[("GITHUB_ACTIONS", "true")]);
    seen("deploy-that-kluctl-fails-on-a-github-runner", &fakes, &words, &ran);
}

#[test]
fn diff_and_drift_after_a_hand_edit() {
    for verb in ["diff", "drift"] {
        let fakes = Fakes::new();
        fakes.made();
        answers(&fakes, &once_other(&fakes, "edited", edited));
        let words = [verb, "--stage", "local", "--source", GOLDEN];
        let ran = fakes.run(&words);
        seen(&format!("{verb}-after-a-hand-edit"), &fakes, &words, &ran);
    }
}

#[test]
fn local_status_of_a_cluster_that_never_came_up() {
    let fakes = Fakes::new();
    let ran = fakes.run(&["local-status"]);
    seen("local-status-never-up", &fakes, &["local-status"], &ran);
}

#[test]
fn local_up_without_tools() {
    let fakes = Fakes::new();
    for tool in ["kluctl", "kwokctl", "etcd"] {
        fs_err::remove_file(fakes.checkout.base().join("bin").join(tool)).unwrap();
    }
    let words = ["local-up", "--offline"];
    let ran = fakes.run(&words);
    seen("local-up-without-tools", &fakes, &words, &ran);
}

#[test]
fn golden_check_of_a_golden_that_is_other() {
    let fakes = Fakes::new();
    let golden = fakes.checkout.golden("k3s-dev");
    let copy = fakes.checkout.root.join("projects/rendered");
    for entry in walkdir::WalkDir::new(&golden) {
        let entry = entry.unwrap();
        let to = copy.as_std_path().join(entry.path().strip_prefix(&golden).unwrap());
        if entry.file_type().is_dir() {
            fs_err::create_dir_all(to).unwrap();
        } else {
            fs_err::copy(entry.path(), to).unwrap();
        }
    }
    let file = walkdir::WalkDir::new(&copy)
        .into_iter()
        .map(Result::unwrap)
        .find(|entry| {
            entry.file_type().is_file() && fs_err::read_to_string(entry.path()).unwrap().contains("\"ConfigMap\"")
        })
        .unwrap();
    let mut object: Value = serde_json::from_str(&fs_err::read_to_string(file.path()).unwrap()).unwrap();
    object["data"] = json!({"greeting": "another"});
    fs_err::write(file.path(), object.to_string()).unwrap();
    let words = [
        "golden",
        "check",
        "--stage",
        "local",
        "--cluster",
        "k3s-dev",
        "--source",
        "projects/rendered",
    ];
    let ran = fakes.run(&words);
    seen("golden-check-of-another-content", &fakes, &words, &ran);
}

#[test]
fn doctor_where_tools_are_missing() {
    let fakes = Fakes::new();
    fs_err::remove_file(fakes.checkout.base().join("bin/kluctl")).unwrap();
    let ran = fakes.run(&["doctor"]);
    seen("doctor", &fakes, &["doctor"], &ran);
}

//! Checkouts that a stranger prepared: what lies in the folder of our own state, and what a config and a kubeconfig
//! name, reaches nothing outside and starts nothing that was not agreed to.

use camino::Utf8PathBuf;
use serde_json::{Value, json};

use crate::fakes::Fakes;
use crate::support::{Checkout, Ran, finish, program, write};

/// A folder beside the checkout that no run has any business in.
fn victim(checkout: &Checkout) -> Utf8PathBuf {
    let victim = checkout.base().join("victim");
    for index in 0..40 {
        write(&victim.join(format!("2026-{index:02}/data")), "theirs");
    }
    victim
}

fn is_whole(victim: &Utf8PathBuf) -> bool {
    let names = victim.read_dir_utf8().unwrap();
    names
        .map(|entry| fs_err::read_to_string(entry.unwrap().path().join("data")).unwrap_or_default())
        .filter(|text| text == "theirs")
        .count()
        == 40
}

fn refuses(ran: &Ran, code: i32, words: &str) {
    assert_eq!(ran.code, Some(code), "{ran}");
    assert!(ran.stderr.contains(words), "`{words}` is not said: {ran}");
    assert!(ran.stderr.contains("hint:"), "{ran}");
}

fn git(checkout: &Checkout, words: &[&str]) {
    let mut command = program("/usr/bin/env");
    command
        .args(["git", "-c", "user.name=a", "-c", "user.email=a@example.org"])
        .args(words)
        .current_dir(&checkout.root)
        .env("HOME", checkout.base().join("home"))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let ran = finish(command.spawn().unwrap());
    assert_eq!(ran.code, Some(0), "{words:?}: {ran}");
}

/// Commits what a stranger put into the state folder, and makes the checkout what a clone of it is.
fn cloned(checkout: &Checkout) {
    git(checkout, &["init", "--quiet"]);
    git(checkout, &["add", "--force", "."]);
    git(checkout, &["commit", "--quiet", "--message=x"]);
    fs_err::remove_dir_all(checkout.root.join(".xtask")).unwrap();
    git(checkout, &["checkout", "--", "."]);
}

#[test]
fn a_link_that_was_committed_as_the_folder_of_runs_costs_nobody_a_file() {
    let fakes = Fakes::new();
    let victim = victim(&fakes.checkout);
    let state = fakes.checkout.root.join(".xtask");
    fs_err::os::unix::fs::symlink("../../victim", state.join("runs")).unwrap();
    cloned(&fakes.checkout);
    refuses(&fakes.run(&["local-down"]), 8, "files of it are tracked");
    assert!(is_whole(&victim));
    // The same from an archive, where no Git tells.
    fs_err::remove_dir_all(fakes.checkout.root.join(".git")).unwrap();
    refuses(&fakes.run(&["local-down"]), 8, "`.xtask/runs` is a link");
    assert!(is_whole(&victim));
}

#[test]
fn a_state_that_came_with_the_checkout_is_neither_believed_nor_carried_out() {
    let fakes = Fakes::new();
    let victim = victim(&fakes.checkout);
    let state = fakes.checkout.root.join(".xtask");
    let marker = json!({"write": ["../victim/new"], "remove": ["../victim/2026-00/data"]});
    write(&state.join("secrets/transaction/commit.json"), &marker.to_string());
    write(&state.join("secrets/transaction/new/../victim/new"), "mine");
    let planted = json!({
        "goal": "local-up k3s-dev",
        "sections": [{"id": "x", "items": [{"step": {"action": {"remove": {"path": victim}}}}]}],
    });
    write(&state.join("runs/000001-x-local-up-1/plan.json"), &planted.to_string());
    write(
        &state.join("clusters/k3s-dev/kept/local/order.json"),
        r#"["../../../../../victim"]"#,
    );
    cloned(&fakes.checkout);
    let verbs: [&[&str]; 5] = [
        &["local-up", "--resume"],
        &["local-down"],
        &["secrets", "init"],
        &["history"],
        &["clean", "--runs", "--yes"],
    ];
    for verb in verbs {
        refuses(&fakes.run(verb), 8, "files of it are tracked");
    }
    fs_err::remove_dir_all(fakes.checkout.root.join(".git")).unwrap();
    for verb in verbs {
        refuses(&fakes.run(verb), 8, "no xtask made");
    }
    assert!(is_whole(&victim));
    assert_eq!(fakes.calls(), Vec::<String>::new());
}

#[test]
fn a_name_of_the_config_that_leads_elsewhere_is_refused_where_it_is_read() {
    let fakes = Fakes::new();
    let victim = victim(&fakes.checkout);
    let path = fakes.checkout.root.join("platform.json");
    let config: Value = serde_json::from_str(&fs_err::read_to_string(&path).unwrap()).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut config = config.clone();
        change(&mut config);
        write(&path, &config.to_string());
        fakes.run(&["local-down"])
    };
    let name = "../../../victim";
    let ran = with(&|config| {
        let mut text = config.to_string();
        text = text.replace("\"k3s-dev\"", &format!("\"{name}\""));
        *config = serde_json::from_str(&text).unwrap();
    });
    refuses(&ran, 3, &format!("clusters: `{name}` is no name"));
    for kubeconfig in ["../victim", ".xtask/../../victim", ".xtask", "/etc/passwd"] {
        let ran = with(&|config| config["clusters"]["k3s-dev"]["kubeconfig"] = kubeconfig.into());
        refuses(&ran, 3, "is not below `.xtask/`");
    }
    let ran = with(&|config| config["secrets"]["required"][0]["file"] = "../victim/2026-00/data".into());
    refuses(&ran, 3, "no path below the checkout's root");
    assert!(is_whole(&victim));
}

#[test]
fn a_program_that_a_kubeconfig_starts_is_named_and_agreed_to_before_anything_reads_the_file() {
    let fakes = Fakes::new();
    fakes.made();
    write(&fakes.checkout.root.join(".xtask/clusters/k3s-dev/embedded.json"), "{}");
    let path = fakes.checkout.root.join(".xtask/kubeconfigs/k3s-dev.yaml");
    let mut config: Value = serde_json::from_str(&fs_err::read_to_string(&path).unwrap()).unwrap();
    config["users"] = json!([{"name": "u", "user": {"exec": {"command": "/tmp/theirs", "args": ["--now"]}}}]);
    write(&path, &config.to_string());
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs_err::set_permissions(&path, mode).unwrap();
    let started = || fakes.calls().into_iter().any(|call| call.starts_with("kubectl"));
    for verb in [
        &["history"][..],
        &["diff"],
        &["deploy"],
        &["kubectl", "--", "get", "pods"],
        &["unlock", "--id", "0"],
        &["local-up"],
    ] {
        refuses(&fakes.run(verb), 8, "`/tmp/theirs --now` for its user `u`");
        assert!(!started(), "{verb:?}: {:?}", fakes.calls());
    }
    // Agreed to once, and said.
    let adopted = fakes.run(&["adopt", "--cluster", "k3s-dev", "--yes"]);
    assert_eq!(adopted.code, Some(0), "{adopted}");
    assert!(adopted.stderr.contains("`/tmp/theirs --now`"), "{adopted}");
    assert!(started());
    let again = fakes.run(&["history"]);
    assert_eq!(again.code, Some(0), "{again}");
    assert!(!again.stderr.contains("/tmp/theirs"), "{again}");
    write(&path, &config.to_string().replace("--now", "--later"));
    refuses(&fakes.run(&["history"]), 8, "`/tmp/theirs --later`");
}

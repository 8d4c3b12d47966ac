//! ClusterAPI with its real controllers: two embedded clusters and machines in memory, in a network that has only
//! loopback, for the controllers listen on every interface. Each test starts itself anew in such a network, whose
//! process namespace ends everything with it.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets the unforeseen has to end, with the place in its words"
)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other test targets share it")]
mod support;

mod crashes;
mod mortal;
mod target;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use camino::Utf8Path;
use serde_json::Value;

use support::{Checkout, Ran, program, repository};

/// Set inside the network of a test.
const INSIDE: &str = "XTASK_TEST_NETWORK";

/// What an undisturbed run may take.
const LIMIT: Duration = Duration::from_secs(240);

/// A program of each tool that the run needs: Go builds what this host has not.
const TOOLS: [&str; 6] = ["kluctl", "kubectl", "etcd", "kwokctl", "clusterctl", "capi-core"];

/// One test at a time: each measures how long it takes, and two share the cores of a small machine.
static ALONE: Mutex<()> = Mutex::new(());

/// Starts the test anew in a network of its own; true when this is it.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    // A test that failed has no part in the next.
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // While there is a network: inside there is none.
    let built = program(support::XTASK)
        .args(["tools", "build"])
        .args(TOOLS)
        .status()
        .unwrap();
    assert!(built.success(), "the tools cannot be had");
    for module in [
        "sigs.k8s.io/cluster-api@v1.13.4",
        "sigs.k8s.io/cluster-api/test@v1.13.4",
    ] {
        let fetched = program("go")
            .args(["mod", "download", module])
            .env("GOFLAGS", "-mod=mod")
            .status()
            .unwrap();
        assert!(fetched.success(), "`{module}` cannot be had");
    }
    let modules = program("go").args(["env", "GOMODCACHE"]).output().unwrap().stdout;
    let mut command = program("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let ended = command
        .args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"])
        .arg("ip link set lo up && exec \"$@\"")
        .arg("sh")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "yes")
        .env("GOMODCACHE", String::from_utf8(modules).unwrap().trim())
        .status()
        .unwrap();
    assert!(ended.success(), "inside its own network the test failed");
    false
}

/// A checkout with the reviewed goldens.
fn checkout() -> Checkout {
    let mut checkout = Checkout::tiny();
    let from = repository().join("k8s/golden");
    for (cluster, stage) in [("k3s-capi", "local"), ("k3s-capi", "capi"), ("vanixiets", "full")] {
        copy(
            &from.join(cluster).join(stage),
            &checkout.root.join("k8s/golden").join(cluster).join(stage),
        );
    }
    let modules = std::env::var("GOMODCACHE").unwrap();
    checkout.variables.insert("GOMODCACHE".into(), modules);
    checkout.variables.insert("GOPROXY".into(), "off".into());
    checkout
}

fn copy(from: &Utf8Path, to: &Utf8Path) {
    if to.exists() {
        fs_err::remove_dir_all(to).unwrap();
    }
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let path = Utf8Path::from_path(entry.path()).unwrap();
        let there = to.join(path.strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs_err::create_dir_all(there).unwrap();
        } else {
            fs_err::copy(path, there).unwrap();
        }
    }
}

/// Steps of the newest run that did something, in order, as often as they did.
fn done(checkout: &Checkout) -> Vec<String> {
    journal(checkout)
        .into_iter()
        .filter(|line| line["state"] == "done")
        .map(|line| line["step"].as_str().unwrap().to_owned())
        .collect()
}

/// The journal of the newest run, a value a line.
fn journal(checkout: &Checkout) -> Vec<Value> {
    let journal = checkout.newest_run("capi-rehearse").join("journal.jsonl");
    fs_err::read_to_string(journal)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The ten steps of the newest run that took longest.
fn slowest(checkout: &Checkout) -> Vec<(String, Duration)> {
    let lines = journal(checkout);
    let at = |line: &Value| humantime::parse_rfc3339(line["time"].as_str().unwrap()).unwrap();
    let mut steps: Vec<(String, Duration)> = lines
        .windows(2)
        .map(|pair| {
            let took = at(&pair[1]).duration_since(at(&pair[0])).unwrap_or_default();
            (pair[1]["step"].as_str().unwrap().to_owned(), took)
        })
        .collect();
    steps.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
    steps.truncate(10);
    steps
}

/// Says what a run cost, for whoever reads the log of the tests.
#[expect(
    clippy::print_stderr,
    reason = "a ratio and a duration are results that a passing test has, too"
)]
fn say(words: &str) {
    eprintln!("{words}");
}

fn times(done: &[String], step: &str) -> usize {
    done.iter().filter(|path| support::is(path, step)).count()
}

/// From nothing to a cluster that manages itself, and everything gone again.
fn undisturbed() -> Ran {
    let checkout = checkout();
    let ran = checkout.ok(&["capi", "rehearse", "--yes"]);
    assert!(ran.stderr.lines().count() <= 40, "{ran}");
    let done = done(&checkout);
    for step in [
        "workload.answer",
        "machines.run",
        "backup.write",
        "capi.move",
        "move.check",
        "target.reconcile",
        "source.empty",
        "remove/down/cluster.remove",
        "workers.run",
        "sweep-target/down/cluster.remove",
    ] {
        assert_eq!(times(&done, step), 1, "{step}: {ran}");
    }
    assert_eq!(
        times(&done, "remnants.delete"),
        0,
        "an undisturbed move leaves nothing: {ran}"
    );
    assert_eq!(checkout.processes(), [], "something runs on");
    say(&format!(
        "undisturbed: {:?}, the limit is {LIMIT:?}; the slowest steps:",
        ran.took
    ));
    for (step, took) in slowest(&checkout) {
        say(&format!("  {:>6.1} s {step}", took.as_secs_f64()));
    }
    assert!(ran.took < LIMIT, "took {:?}, the limit is {LIMIT:?}", ran.took);
    ran
}

#[test]
fn a_cluster_is_made_moved_into_another_and_scaled_there_by_the_real_controllers() {
    if inside("a_cluster_is_made_moved_into_another_and_scaled_there_by_the_real_controllers") {
        undisturbed();
    }
}

#[test]
fn a_pivot_that_is_killed_behind_every_step_and_inside_the_move_comes_to_the_same_end() {
    if inside("a_pivot_that_is_killed_behind_every_step_and_inside_the_move_comes_to_the_same_end") {
        crashes::try_them_all();
    }
}

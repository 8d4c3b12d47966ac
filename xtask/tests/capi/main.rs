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

use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use support::{Checkout, Ran, program, repository, write};

/// Set inside the network of a test.
const INSIDE: &str = "XTASK_TEST_NETWORK";

/// What the run may take.
const LIMIT: Duration = Duration::from_secs(240);

/// Starts the test anew in a network of its own; true when this is it.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    // While there is a network: inside there is none.
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
    checkout.variables.insert("HCLOUD_TOKEN".into(), "not-a-token".into());
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
    let journal = checkout.newest_run("capi-rehearse").join("journal.jsonl");
    fs_err::read_to_string(journal)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["state"] == "done")
        .map(|line| line["step"].as_str().unwrap().to_owned())
        .collect()
}

fn times(done: &[String], step: &str) -> usize {
    done.iter().filter(|name| *name == step).count()
}

#[test]
fn a_cluster_is_made_moved_into_another_and_scaled_there_by_the_real_controllers() {
    if !inside("a_cluster_is_made_moved_into_another_and_scaled_there_by_the_real_controllers") {
        return;
    }
    let checkout = checkout();
    let ran = checkout.ok(&["capi", "rehearse", "--yes"]);
    let done = done(&checkout);
    for step in [
        "workload.answer",
        "machines.run",
        "backup.write",
        "capi.move",
        "move.check",
        "target.reconcile",
        "source.empty",
        "source-cluster.remove",
        "workers.run",
        "sweep-target-cluster.remove",
    ] {
        assert_eq!(times(&done, step), 1, "{step}: {ran}");
    }
    assert_eq!(
        times(&done, "leftovers.delete"),
        0,
        "an undisturbed move leaves nothing: {ran}"
    );
    assert_eq!(checkout.processes(), [], "something runs on");
    eprintln!("took {:?}", ran.took);
    assert!(ran.took < LIMIT, "took {:?}, the limit is {LIMIT:?}", ran.took);
}

/// A clusterctl that dies by SIGKILL when the real one says the next of the words in a file, then no more of it.
fn mortal(checkout: &mut Checkout) -> Utf8PathBuf {
    let real = checkout.ok(&["tools", "path", "clusterctl"]).stdout.trim().to_owned();
    let folder = checkout.base().join("mortal");
    let words = folder.join("words");
    let script = format!(
        r#"#!/bin/sh
word=$(head -n 1 {words} 2>/dev/null)
case "$word" in
"$1:"* | "$2:"* | "$3:"*) ;;
*) exec {real} "$@" ;;
esac
word=${{word#*:}}
mkfifo {folder}/said.$$
{real} "$@" 2>{folder}/said.$$ &
child=$!
while read -r line; do
  echo "$line" >&2
  case "$line" in
  *"$word"*)
    sed -i 1d {words}
    kill -9 $child
    kill -9 $$
    ;;
  esac
done <{folder}/said.$$
wait $child
"#
    );
    let path = folder.join("clusterctl");
    write(&path, &script);
    fs_err::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    checkout.variables.insert("XTASK_CLUSTERCTL".into(), path.into_string());
    words
}

fn on_target(checkout: &Checkout, arguments: &[&str]) -> Value {
    let folder = checkout.root.join(".xtask/rehearsals");
    let kubeconfig = folder
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap().into_path())
        .find(|path| path.as_str().ends_with("-target"))
        .unwrap()
        .join("kubeconfig");
    let kubectl = checkout.ok(&["tools", "path", "kubectl"]).stdout.trim().to_owned();
    let answer = program(kubectl)
        .arg(format!("--kubeconfig={kubeconfig}"))
        .args(arguments)
        .arg("--output=json")
        .output()
        .unwrap();
    serde_json::from_slice(&answer.stdout).unwrap()
}

fn killed(ran: &Ran, what: &str) {
    assert_eq!(ran.signal, Some(9), "{what}: the run was to be killed: {ran}");
}

#[test]
fn a_pivot_that_is_killed_on_its_way_comes_to_the_same_end() {
    if !inside("a_pivot_that_is_killed_on_its_way_comes_to_the_same_end") {
        return;
    }
    let mut checkout = checkout();
    let words = mortal(&mut checkout);
    let mut first = true;
    let mut run = |checkout: &Checkout, crash: &str| {
        let mut command = checkout.command(&["capi", "rehearse", "--yes", "--keep"]);
        if !std::mem::take(&mut first) {
            command.arg("--resume");
        }
        if !crash.is_empty() {
            command.env("XTASK_CRASH", crash);
        }
        let started = Instant::now();
        let ran = support::finish(command.spawn().unwrap());
        eprintln!(
            "{crash}: {:?}, {:?} after {:?}",
            ran.code,
            ran.signal,
            started.elapsed()
        );
        ran
    };
    for crash in [
        "acted:source-providers.init",
        "acted:capi-phase-capi.deploy",
        "started:machines.run",
    ] {
        killed(&run(&checkout, crash), crash);
    }
    // Inside clusterctl: in the backup, before pausing, before creating, before deleting, while deleting, and
    // before unpausing. The run ends, and the next one finds out what was left.
    for word in [
        "move:Saving files to",
        "move:Moving Cluster API objects",
        "move:Creating objects in the target cluster",
        "move:Deleting objects from the source cluster",
    ] {
        write(&words, &format!("{word}\n"));
        let ran = run(&checkout, "");
        assert_eq!(ran.code, Some(6), "{word}: {ran}");
        assert!(
            fs_err::read_to_string(&words).unwrap().is_empty(),
            "{word} was never said: {ran}"
        );
    }
    write(&words, "move:Deleting Machine=\n");
    let ran = run(&checkout, "acted:leftovers.delete");
    assert_eq!(ran.code, Some(6), "{ran}");
    killed(&run(&checkout, "acted:leftovers.delete"), "while completing");
    for crash in [
        "acted:target.unpause",
        "acted:target.reconcile",
        "acted:record-ended-target.apply",
        "acted:source-cluster.stop",
    ] {
        killed(&run(&checkout, crash), crash);
    }
    let ran = run(&checkout, "");
    assert_eq!(ran.code, Some(0), "{ran}");

    let machines = on_target(&checkout, &["get", "machines.cluster.x-k8s.io", "-n", "vanixiets"]);
    let machines = machines["items"].as_array().unwrap();
    assert_eq!(
        machines.len(),
        4,
        "one control plane, two workers, one more: {machines:#?}"
    );
    assert!(machines.iter().all(|machine| machine["status"]["phase"] == "Running"));
    let cluster = on_target(
        &checkout,
        &["get", "clusters.cluster.x-k8s.io", "vanixiets", "-n", "vanixiets"],
    );
    assert_eq!(cluster["spec"]["paused"], Value::Null, "nothing stays paused");
    let secret = on_target(&checkout, &["get", "secret", "hetzner", "-n", "vanixiets"]);
    assert_eq!(secret["data"]["hcloud"], "bm90LWEtdG9rZW4=", "the token went along");
    let ledger = on_target(&checkout, &["get", "configmap", "xtask-vanixiets", "-n", "kube-system"]);
    assert_eq!(ledger["data"]["pivotState"], "done");
    let identities: Value = serde_json::from_str(ledger["data"]["pivotIdentities"].as_str().unwrap()).unwrap();
    assert_eq!(identities["source"], serde_json::json!({}), "nothing is on the source");
    assert!(identities["target"].as_object().unwrap().len() > 20, "{identities}");
}

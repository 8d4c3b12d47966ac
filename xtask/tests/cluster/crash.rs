//! kill -9 at every boundary of every step and around every call of a tool, then `--resume`: the same end state,
//! nothing done twice. The cases are made from the plan itself.

use serde_json::Value;

use crate::support::{Checkout, Ran, until, write};

/// The tools that a deploy calls, wrapped so that they can kill the run that calls them.
const WRAPPED: [&str; 3] = ["kubectl", "kluctl", "kwokctl"];

/// A program that stands before a tool. When the step of `$CASE` runs, it kills the run that called it: before it
/// hands on, after the tool is done, or while the tool goes on alone.
fn wrap(checkout: &mut Checkout, tool: &str) {
    let real = checkout.ok(&["tools", "path", tool]).stdout.trim().to_owned();
    let folder = checkout.base().join("wrapped");
    let path = folder.join(tool);
    let script = format!(
        r#"#!/bin/sh
step=$(sed -n '$s/.*"step":"\([^"]*\)".*"started".*/\1/p' "$(ls -d {runs}/*/journal.jsonl | tail -n 1)" 2>/dev/null)
if [ -n "$CASE" ] && [ -e {folder}/armed ] && [ "$CASE" = "$step" ]; then
  case $POINT in
  before) rm {folder}/armed; kill -9 $PPID; exit 1 ;;
  within) rm {folder}/armed; kill -9 $PPID; exec {real} "$@" ;;
  after) {real} "$@"; status=$?; rm {folder}/armed; kill -9 $PPID; exit $status ;;
  esac
fi
exec {real} "$@"
"#,
        runs = checkout.root.join(".xtask/runs"),
    );
    write(&path, &script);
    fs_err::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let name = format!("XTASK_{}", tool.to_uppercase());
    checkout.variables.insert(name, path.into_string());
}

fn plan(checkout: &Checkout) -> Value {
    serde_json::from_str(&checkout.ok(&["local-up", "--dry-run=json"]).stdout).unwrap()
}

/// Every step with whether it runs a tool and whether it only reads.
fn steps(plan: &Value) -> Vec<(String, bool, bool)> {
    ["steps", "finally"]
        .iter()
        .flat_map(|part| plan[part].as_array().unwrap())
        .map(|step| {
            (
                step["id"].as_str().unwrap().to_owned(),
                step["action"].get("run").is_some(),
                step["effect"] == "read",
            )
        })
        .collect()
}

/// What must be the same after every case, and what must have happened once.
fn end_state(checkout: &Checkout) -> (Vec<String>, usize, bool) {
    let list = checkout.get(
        "k3s-dev",
        &[
            "namespaces,serviceaccounts,configmaps,services,deployments",
            "-A",
            "--selector=kluctl.io/discriminator=vanixiets-k3s-dev-local",
        ],
    );
    let objects = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| {
            format!(
                "{}/{} generation {}",
                object["kind"], object["metadata"]["name"], object["metadata"]["generation"]
            )
        })
        .collect();
    let ledger = checkout.get(
        "k3s-dev",
        &["configmap", "-n", "kube-system", "--ignore-not-found", "xtask-k3s-dev"],
    );
    let entries: Vec<Value> = serde_json::from_str(ledger["data"]["local"].as_str().unwrap_or("[]")).unwrap();
    let leases = checkout.get("k3s-dev", &["leases", "-n", "kube-system"]);
    let held = leases["items"]
        .as_array()
        .unwrap()
        .iter()
        .any(|lease| lease["metadata"]["name"] == "xtask-k3s-dev");
    (objects, entries.len(), held)
}

/// Takes everything that a deploy wrote away, and keeps the cluster.
fn reset(checkout: &Checkout) {
    checkout.kubectl("k3s-dev", &["delete", "namespace", "tiny", "--ignore-not-found"]);
    checkout.kubectl(
        "k3s-dev",
        &[
            "delete",
            "-n",
            "kube-system",
            "configmap/xtask-k3s-dev",
            "lease/xtask-k3s-dev",
            "--ignore-not-found",
        ],
    );
}

fn killed(ran: &Ran) {
    assert_eq!(ran.signal, Some(9), "the run was to be killed: {ran}");
}

#[test]
fn a_deploy_that_is_killed_anywhere_is_finished_by_resume_and_does_nothing_twice() {
    let mut checkout = Checkout::tiny();
    checkout.ok(&["local-up"]);
    let wanted = end_state(&checkout);
    assert_eq!((wanted.0.len(), wanted.1, wanted.2), (5, 1, false), "{wanted:?}");
    for tool in WRAPPED {
        wrap(&mut checkout, tool);
    }
    let steps = steps(&plan(&checkout));
    let mut cases: Vec<(String, &str)> = Vec::new();
    // The cluster is there in these cases, so its own steps are fresh; they have their own test.
    for (step, runs, reads) in steps
        .iter()
        .filter(|(step, ..)| !step.starts_with("cluster.") && step != "node.create")
    {
        cases.push((step.clone(), "started"));
        if !reads {
            cases.push((step.clone(), "acted"));
        }
        if *runs && !reads {
            cases.extend(["before", "within", "after"].map(|point| (step.clone(), point)));
        }
    }
    assert!(cases.len() > 30, "{cases:?}");
    for (step, point) in cases {
        eprintln!("case {point} {step}");
        reset(&checkout);
        write(&checkout.base().join("wrapped/armed"), "");
        let mut command = checkout.command(&["local-up"]);
        if matches!(point, "started" | "acted") {
            command.env("XTASK_CRASH", format!("{point}:{step}"));
        } else {
            command.env("CASE", &step).env("POINT", point);
        }
        killed(&crate::support::finish(command.spawn().unwrap()));
        let resumed = checkout.ok(&["local-up", "--resume"]);
        assert!(resumed.stderr.contains("up the unfinished run"), "{resumed}");
        assert_eq!(end_state(&checkout), wanted, "{point} {step}: {resumed}");
        until("no child is left", || {
            checkout
                .processes()
                .iter()
                .all(|(_, line)| line.contains("/kwok/clusters/"))
        });
    }
    checkout.ok(&["local-down"]);
}

//! kill -9 at every boundary of every step and around every call of a tool, then `--resume`: the same end state,
//! nothing done twice. The cases are made from the plan and from what a whole run of it did.

use std::collections::BTreeSet;

use camino::Utf8Path;
use serde_json::Value;

use crate::support::{Checkout, finish, is, tiny_objects, until, write};

/// Where a run is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// The step is in the journal and has done nothing.
    Started,
    /// The step has done its work, and the journal does not know.
    Acted,
    /// The tool was called and has done nothing.
    Before,
    /// The tool goes on alone.
    Within,
    /// The tool has done its work.
    After,
}

/// A step of a plan, by its path.
#[derive(Debug, Clone)]
struct Step {
    id: String,
    tool: Option<String>,
    reads: bool,
}

impl Step {
    /// Started is what another step's end was, so nothing is tried twice.
    fn points(&self) -> &'static [Point] {
        match (&self.tool, self.reads) {
            (_, true) => &[Point::Started],
            (Some(_), false) => &[Point::Before, Point::Within, Point::After],
            (None, false) => &[Point::Started, Point::Acted],
        }
    }
}

/// Puts a program before each tool of the plan. When the step of `$CASE` calls it, it kills the run that called.
fn wrap(checkout: &mut Checkout, tools: &BTreeSet<String>) {
    let folder = checkout.base().join("wrapped");
    let passed = ("XTASK_PASS_ENV".to_owned(), "CASE,POINT".to_owned());
    checkout.variables.extend([passed]);
    for tool in tools {
        let real = checkout.ok(&["tools", "path", tool]).stdout.trim().to_owned();
        let script = format!(
            r#"#!/bin/sh
if [ -e {folder}/armed ] && tail -n 1 "$(ls -d {runs}/*/journal.jsonl | tail -n 1)" | grep -q "\"$CASE\",\"state\":\"started\""; then
  rm {folder}/armed
  case $POINT in
  Before) kill -9 $PPID; exit 1 ;;
  Within) kill -9 $PPID; exec {real} "$@" ;;
  After) {real} "$@"; status=$?; kill -9 $PPID; exit $status ;;
  esac
fi
exec {real} "$@"
"#,
            runs = checkout.root.join(".xtask/runs"),
        );
        let path = folder.join(tool);
        write(&path, &script);
        fs_err::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        checkout
            .variables
            .insert(format!("XTASK_{}", tool.to_uppercase()), path.into_string());
    }
}

fn steps(plan: &Value) -> Vec<Step> {
    crate::support::steps(plan)
        .into_iter()
        .map(|(path, step)| Step {
            id: path,
            tool: step["action"]["run"]["tool"].as_str().map(ToOwned::to_owned),
            reads: step["effect"] == "read",
        })
        .collect()
}

fn plan(checkout: &Checkout, cluster: &str) -> Vec<Step> {
    let printed = checkout
        .ok(&["local-up", "--cluster", cluster, "--dry-run=json"])
        .stdout;
    steps(&serde_json::from_str(&printed).unwrap())
}

/// Steps that a run began, as its journal has them.
fn began(run: &Utf8Path) -> BTreeSet<String> {
    fs_err::read_to_string(run.join("journal.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["state"] == "started")
        .map(|line| line["step"].as_str().unwrap().to_owned())
        .collect()
}

/// Objects with their generation, entries of the deployment history, and whether a Lease is held.
fn end_state(checkout: &Checkout, cluster: &str) -> (Vec<String>, usize, bool) {
    let list = checkout.get(
        cluster,
        &["serviceaccounts,configmaps,services,deployments,leases", "-A"],
    );
    let mut objects = Vec::new();
    let mut entries = 0;
    let mut held = false;
    for object in list["items"].as_array().unwrap() {
        let name = object["metadata"]["name"].as_str().unwrap();
        let ours = name == format!("xtask-{cluster}");
        if ours && object["kind"] == "Lease" {
            held = true;
        } else if ours {
            let text = object["data"]["local"].as_str().unwrap();
            entries = serde_json::from_str::<Vec<Value>>(text).unwrap().len();
        } else if name == "web" {
            objects.push(format!("{} {}", object["kind"], object["metadata"]["generation"]));
        }
    }
    (objects, entries, held)
}

/// Runs `local-up` until it is killed at a point of a step, then again with `--resume` to its end.
fn kill_and_resume(checkout: &Checkout, cluster: &str, step: &Step, point: Point) {
    let mut command = checkout.command(&["local-up", "--cluster", cluster]);
    match point {
        Point::Started | Point::Acted => {
            let point = format!("{point:?}").to_lowercase();
            command.env("XTASK_CRASH", format!("{point}:{}", step.id));
        }
        _ => {
            write(&checkout.base().join("wrapped/armed"), "");
            command.env("CASE", &step.id).env("POINT", format!("{point:?}"));
        }
    }
    let killed = finish(command.spawn().unwrap());
    assert_eq!(
        killed.signal,
        Some(9),
        "{point:?} {step:?} was to kill the run: {killed}"
    );
    let resumed = checkout.ok(&["local-up", "--cluster", cluster, "--resume"]);
    assert!(
        resumed.stderr.contains("Resuming the unfinished run"),
        "{point:?} {step:?}: {resumed}"
    );
    until("nothing but the cluster runs", || {
        checkout
            .processes()
            .iter()
            .all(|(_, line)| line.contains("/.kwok/clusters/"))
    });
}

/// One half of the cases of a deploy onto a cluster that is up; the two halves run side by side.
fn deploys(cluster: &str, half: usize) {
    let mut checkout = Checkout::tiny();
    // Objects of a namespace that stays, so that a case is quickly undone.
    let objects: Vec<_> = tiny_objects()
        .into_iter()
        .skip(1)
        .map(|(item, phase, mut object)| {
            object["metadata"]["namespace"] = "default".into();
            (item, phase, object)
        })
        .collect();
    checkout.stage(cluster, &objects);
    let reset = |checkout: &Checkout| {
        let ours = format!("xtask-{cluster}");
        checkout.kubectl(
            cluster,
            &[
                "delete",
                "--ignore-not-found",
                "deploy/web",
                "svc/web",
                "cm/web",
                "sa/web",
            ],
        );
        checkout.kubectl(
            cluster,
            &[
                "delete",
                "--ignore-not-found",
                "-n",
                "kube-system",
                &format!("cm/{ours}"),
                &format!("lease/{ours}"),
            ],
        );
    };
    checkout.ok(&["local-up", "--cluster", cluster]);
    let wanted = end_state(&checkout, cluster);
    assert_eq!((wanted.0.len(), wanted.1, wanted.2), (4, 1, false), "{wanted:?}");

    reset(&checkout);
    checkout.ok(&["local-up", "--cluster", cluster]);
    let done = began(&checkout.newest_run("local-up"));
    let steps: Vec<Step> = plan(&checkout, cluster)
        .into_iter()
        .filter(|step| done.contains(&step.id))
        .collect();
    for needed in ["lease.take", "phase-base.deploy", "history.write", "lease.release"] {
        assert!(
            steps.iter().any(|step| is(&step.id, needed)),
            "{needed} is no step: {steps:?}"
        );
    }
    wrap(
        &mut checkout,
        &steps.iter().filter_map(|step| step.tool.clone()).collect(),
    );
    let cases = steps
        .iter()
        .flat_map(|step| step.points().iter().map(move |point| (step, *point)));
    for (step, point) in cases.skip(half).step_by(2) {
        reset(&checkout);
        kill_and_resume(&checkout, cluster, step, point);
        assert_eq!(end_state(&checkout, cluster), wanted, "{point:?} {step:?}");
    }
    checkout.ok(&["local-down", "--cluster", cluster]);
}

#[test]
fn a_deploy_that_is_killed_anywhere_is_finished_by_resume_and_does_nothing_twice() {
    deploys("k3s-dev", 0);
}

#[test]
fn a_deploy_that_is_killed_anywhere_else_is_finished_by_resume_and_does_nothing_twice() {
    deploys("k3s-capi", 1);
}

#[test]
fn a_cluster_whose_making_is_killed_anywhere_comes_up_by_resume() {
    let cluster = "k3s-dev";
    let mut checkout = Checkout::tiny();
    checkout.ok(&["local-up"]);
    let done = began(&checkout.newest_run("local-up"));
    let wanted = checkout.get(cluster, &["nodes"])["items"].as_array().unwrap().len();
    let steps: Vec<Step> = plan(&checkout, cluster)
        .into_iter()
        .filter(|step| done.contains(&step.id))
        .filter(|step| step.id.starts_with("cluster/") && !is(&step.id, "work.clear"))
        .collect();
    for needed in ["cluster.create", "kube-controller-manager.start"] {
        assert!(
            steps.iter().any(|step| is(&step.id, needed)),
            "{needed} is no step: {steps:?}"
        );
    }
    wrap(
        &mut checkout,
        &steps.iter().filter_map(|step| step.tool.clone()).collect(),
    );
    for step in &steps {
        for point in step.points() {
            checkout.ok(&["local-down"]);
            kill_and_resume(&checkout, cluster, step, *point);
            assert_eq!(
                checkout.get(cluster, &["nodes"])["items"].as_array().unwrap().len(),
                wanted
            );
            // One control plane, however often it was begun.
            let servers = checkout.processes();
            assert_eq!(
                servers.iter().filter(|(_, line)| line.contains("/bin/etcd ")).count(),
                1,
                "{servers:?}"
            );
        }
    }
    checkout.ok(&["local-down"]);
    assert_eq!(checkout.processes(), Vec::new());
}

#[test]
fn a_cluster_whose_end_is_killed_anywhere_is_gone_after_resume() {
    let checkout = Checkout::tiny();
    let printed = checkout.ok(&["local-down", "--dry-run=json"]).stdout;
    let steps = steps(&serde_json::from_str(&printed).unwrap());
    assert!(steps.iter().any(|step| is(&step.id, "cluster.stop")), "{steps:?}");
    for step in &steps {
        for point in step.points() {
            checkout.ok(&["local-up"]);
            let mut command = checkout.command(&["local-down"]);
            let word = format!("{point:?}").to_lowercase();
            command.env("XTASK_CRASH", format!("{word}:{}", step.id));
            let killed = finish(command.spawn().unwrap());
            assert_eq!(
                killed.signal,
                Some(9),
                "{point:?} {step:?} was to kill the run: {killed}"
            );
            checkout.ok(&["local-down", "--resume"]);
            assert_eq!(checkout.processes(), [], "{point:?} {step:?}");
            for left in [".xtask/clusters/k3s-dev", ".xtask/kubeconfigs/k3s-dev.yaml"] {
                assert!(
                    !checkout.root.join(left).exists(),
                    "{point:?} {step:?}: {left} is there"
                );
            }
        }
    }
}

#[test]
fn a_rehearsal_that_is_killed_behind_every_step_ends_well_by_resume_and_leaves_nothing() {
    let checkout = Checkout::tiny();
    let known = checkout.base().join("known");
    let mut kills = 0;
    loop {
        let mut command = checkout.command(&["rehearse", "--stage", "local"]);
        if kills > 0 {
            command.arg("--resume");
        }
        command.env("XTASK_CRASH", format!("next:{known}"));
        let ran = finish(command.spawn().unwrap());
        match (ran.code, ran.signal) {
            (Some(0), _) => break,
            (_, Some(9)) => kills += 1,
            _ => panic!("neither killed nor done: {ran}"),
        }
    }
    let behind = fs_err::read_to_string(&known).unwrap();
    assert_eq!(kills, behind.lines().count());
    for step in ["cluster.create", "phase-base.deploy", "lease.release"] {
        assert!(behind.lines().any(|line| line.ends_with(step)), "{step}: {behind}");
    }
    assert_eq!(checkout.processes(), []);
    let clusters = checkout.root.join(".xtask/clusters");
    let left: Vec<_> = clusters
        .read_dir_utf8()
        .map_or_else(|_| Vec::new(), |entries| entries.flatten().collect());
    assert!(left.is_empty(), "{left:?}");
}

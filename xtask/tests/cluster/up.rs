//! A local cluster from nothing, again with nothing to do, and down.

use serde_json::Value;

use crate::support::Checkout;

fn versions(list: &Value) -> Vec<(String, String)> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| {
            let text = |pointer: &str| object.pointer(pointer).unwrap().as_str().unwrap().to_owned();
            (
                text("/kind") + "/" + &text("/metadata/name"),
                text("/metadata/resourceVersion"),
            )
        })
        .collect()
}

#[test]
fn a_cluster_comes_up_stays_as_it_is_and_goes_down() {
    let checkout = Checkout::tiny();
    let first = checkout.ok(&["local-up"]);
    assert!(
        first
            .stderr
            .contains("cargo xtask kubectl --cluster k3s-dev get pods -A"),
        "{first}"
    );
    let kinds = ["namespaces,serviceaccounts,configmaps,services,deployments", "-A"];
    let before = versions(&checkout.get("k3s-dev", &kinds));
    let lines = |ran: &crate::support::Ran| ran.stderr.lines().count();
    assert!(first.stderr.contains("5 objects to create"), "{first}");
    assert!(lines(&first) <= 25, "{first}");
    let second = checkout.ok(&["local-up"]);
    assert!(second.stderr.contains("5 objects are as they should be"), "{second}");
    assert!(second.stderr.contains("nothing to change"), "{second}");
    assert!(lines(&second) <= 8, "{second}");
    let quiet = checkout.ok(&["local-up", "--quiet"]);
    assert_eq!(lines(&quiet), 1, "{quiet}");
    let steps = checkout.ok(&["local-up", "-v"]);
    assert!(steps.stderr.contains("deploy/compare/stage.list"), "{steps}");
    assert_eq!(before, versions(&checkout.get("k3s-dev", &kinds)));

    // Also what no pid file names any more.
    let folder = checkout
        .root
        .join(".xtask/clusters/k3s-dev/home/.kwok/clusters/embedded");
    for name in ["kube-scheduler", "etcd"] {
        fs_err::remove_file(folder.join(format!("pids/{name}.pid"))).unwrap();
    }
    checkout.ok(&["local-down"]);
    assert_eq!(checkout.processes(), Vec::new());
    assert!(!checkout.root.join(".xtask/clusters/k3s-dev").exists());
    checkout.ok(&["local-down"]);
}

#[test]
fn what_a_hand_changed_is_repaired_alone_and_what_another_manager_took_is_named() {
    let checkout = Checkout::tiny();
    checkout.ok(&["local-up"]);
    let kinds = ["namespaces,serviceaccounts,configmaps,services,deployments", "-A"];
    let before = versions(&checkout.get("k3s-dev", &kinds));
    let colour =
        |checkout: &Checkout| checkout.get("k3s-dev", &["configmap", "web", "-n", "tiny"])["data"]["colour"].clone();

    checkout.kubectl(
        "k3s-dev",
        &[
            "patch",
            "configmap",
            "web",
            "-n",
            "tiny",
            "--patch",
            r#"{"data":{"colour":"red"}}"#,
        ],
    );
    assert_eq!(colour(&checkout), "red");
    let repaired = checkout.ok(&["local-up"]);
    assert!(repaired.stderr.contains("1 of 5 objects differ"), "{repaired}");
    assert_eq!(colour(&checkout), "blue");
    // The deployment history is ours; of the stage exactly one object moved.
    let moved: Vec<String> = versions(&checkout.get("k3s-dev", &kinds))
        .into_iter()
        .filter(|version| !before.contains(version))
        .map(|(name, _)| name)
        .filter(|name| !name.contains("xtask-"))
        .collect();
    assert_eq!(moved, ["ConfigMap/web"]);

    let taken = checkout.base().join("taken.json");
    let content = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web","namespace":"tiny"},"data":{"colour":"green"}}"#;
    crate::support::write(&taken, content);
    checkout.kubectl(
        "k3s-dev",
        &[
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=another-operator",
            "--filename",
            taken.as_str(),
        ],
    );
    let refused = checkout.run(&["local-up"]);
    assert_eq!(refused.code, Some(6), "{refused}");
    for part in ["ConfigMap/tiny/web", "another-operator"] {
        assert!(refused.stderr.contains(part), "{part}: {refused}");
    }
    assert_eq!(colour(&checkout), "green");
    checkout.ok(&["local-down"]);
}

#[test]
fn the_status_names_what_is_wrong_and_local_up_mends_it() {
    let checkout = Checkout::tiny();
    let never = checkout.run(&["local-status"]);
    assert_eq!(never.code, Some(10), "{never}");
    assert!(never.stdout.contains("never brought up"), "{never}");
    checkout.ok(&["local-up"]);
    let healthy: Value = serde_json::from_str(&checkout.ok(&["local-status", "--json"]).stdout).unwrap();
    assert_eq!(healthy["healthy"], true, "{healthy}");
    assert_eq!(healthy["backend"], "embedded");
    assert_eq!(healthy["nodes"]["node-000000"], "Ready");
    assert_eq!(healthy["components"]["app"], serde_json::json!([]));

    let logs = checkout.run(&["kubectl", "--", "logs", "-n", "tiny", "deployment/web"]);
    assert_eq!(logs.code, Some(5), "{logs}");
    assert!(logs.stderr.contains("simulated"), "{logs}");
    let missing = checkout.run(&["kubectl", "--", "get", "configmap", "nobody", "-n", "tiny"]);
    assert_eq!(missing.code, Some(1), "kubectl's own status is ours: {missing}");

    // One that died, and one that was never started.
    for recorded in [true, false] {
        let (pid, _) = checkout
            .processes()
            .into_iter()
            .find(|(_, line)| line.contains("/bin/kube-scheduler "))
            .unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        if !recorded {
            let folder = checkout
                .root
                .join(".xtask/clusters/k3s-dev/home/.kwok/clusters/embedded");
            fs_err::remove_file(folder.join("pids/kube-scheduler.pid")).unwrap();
        }
        crate::support::until("the scheduler is dead", || {
            checkout.run(&["local-status"]).code == Some(10)
        });
        let sick = checkout.run(&["local-status"]);
        assert!(sick.stdout.contains("`kube-scheduler` is not running"), "{sick}");
        assert!(sick.stderr.contains("local-up"), "{sick}");
        checkout.ok(&["local-up"]);
        checkout.ok(&["local-status"]);
    }

    // Nothing of it went to where a person's own kubectl and kluctl look.
    for name in [".kube", ".kluctl", ".cache", ".colima", ".lima", ".kwok"] {
        assert!(!checkout.base().join("home").join(name).exists(), "~/{name} is there");
    }
    checkout.ok(&["local-down"]);
}

/// Lets a command run as a user who is nobody here, of our own group, where we may choose: a host on which all users
/// share a group is the harder case.
fn as_another_user(command: &mut std::process::Command) -> &mut std::process::Command {
    use std::os::unix::process::CommandExt;

    if rustix::process::geteuid().is_root() {
        command.uid(65534);
    }
    command
}

#[cfg(target_os = "linux")]
#[test]
fn another_user_of_the_host_reads_nothing_of_a_control_plane_and_no_setting_opens_one_more_port() {
    use std::os::unix::fs::PermissionsExt;

    let mut checkout = Checkout::tiny();
    for (name, value) in [
        ("ETCD_LISTEN_METRICS_URLS", "http://0.0.0.0:23811"),
        ("SOPS_AGE_KEY", "canary-of-a-test"),
        ("HCLOUD_TOKEN", "canary-of-a-test"),
        ("AWS_SECRET_ACCESS_KEY", "canary-of-a-test"),
    ] {
        checkout.variables.insert(name.into(), value.into());
    }
    checkout.ok(&["local-up"]);

    // Exactly the listeners that the documentation lists, on loopback alone.
    let documented = fs_err::read_to_string(crate::support::repository().join("docs/architecture.md")).unwrap();
    let mut listening = Vec::new();
    for (pid, line) in checkout.processes() {
        let program = line.split(' ').next().unwrap().rsplit('/').next().unwrap().to_owned();
        let environment = fs_err::read_to_string(format!("/proc/{pid}/environ")).unwrap();
        assert!(!environment.contains("canary"), "{program} has a token: {environment}");
        for address in crate::support::listeners_of(pid) {
            assert!(address.ip().is_loopback(), "{program} listens on {address}");
            assert!(
                documented.contains(&format!("| `{program}` |")),
                "{program} is not documented"
            );
            listening.push((program.clone(), address.port()));
        }
    }
    listening.sort();
    let programs: Vec<&str> = listening.iter().map(|(program, _)| program.as_str()).collect();
    assert_eq!(programs, ["etcd", "etcd", "kube-apiserver"]);

    // Where the folders above the checkout let everybody in.
    let open = |path: &camino::Utf8Path, mode| {
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(&checkout.base(), 0o755);
    let elsewhere = tempfile::Builder::new().tempdir().unwrap();
    let elsewhere = camino::Utf8Path::from_path(elsewhere.path()).unwrap();
    open(elsewhere, 0o777);
    let kubectl = elsewhere.join("kubectl");
    fs_err::copy(checkout.ok(&["tools", "path", "kubectl"]).stdout.trim(), &kubectl).unwrap();
    open(&kubectl, 0o755);
    // The first key of all, as etcd's gateway would be asked for it.
    let range = elsewhere.join("range.json");
    crate::support::write(&range, r#"{"key":"AA==","range_end":"AA==","limit":1}"#);
    open(&range, 0o644);
    for (program, port) in &listening {
        for scheme in ["http", "https"] {
            for question in [
                &["get", "--raw=/version"][..],
                &["get", "--raw=/metrics"],
                &["get", "--raw=/members"],
                &["get", "--raw=/api/v1/secrets"],
                &["create", "--raw=/v3/kv/range", &format!("--filename={range}")],
            ] {
                let mut asked = crate::support::program(&kubectl);
                asked
                    .args(question)
                    .arg(format!("--server={scheme}://127.0.0.1:{port}"))
                    .arg("--insecure-skip-tls-verify")
                    .args(["--username=x", "--password=x", "--request-timeout=10s"])
                    .env_clear()
                    .env("HOME", elsewhere);
                let answer = as_another_user(&mut asked).output().unwrap();
                assert!(
                    !answer.status.success() && answer.stdout.is_empty(),
                    "{program} answers {scheme} {question:?}: {}",
                    String::from_utf8_lossy(&answer.stdout)
                );
            }
        }
    }
    // The keys that would open them.
    if rustix::process::geteuid().is_root() {
        for file in [
            ".xtask/kubeconfigs/k3s-dev.yaml",
            ".xtask/clusters/k3s-dev/home/.kwok/clusters/embedded/pki/admin.key",
            ".xtask/clusters/k3s-dev/home/.kwok/clusters/embedded/kubeconfig.yaml",
            ".xtask/clusters/k3s-dev/home/.kwok/clusters/embedded/etcd",
        ] {
            let path = checkout.root.join(file);
            assert!(path.exists(), "{path}");
            let mut asked = crate::support::program("ls");
            let answer = as_another_user(asked.arg("-d").arg(path.join("."))).output().unwrap();
            let mut read = crate::support::program("cat");
            let content = as_another_user(read.arg(&path)).output().unwrap();
            assert!(
                !answer.status.success() && !content.status.success(),
                "{file} is read by another user"
            );
        }
    }
    checkout.ok(&["local-down"]);
}

/// A Deployment as the tiny stage has one, of another name.
fn workload(name: &str) -> Value {
    let labels = serde_json::json!({"app": name});
    serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "tiny"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "a", "image": "registry.example/a:1.0.0"}]}}}})
}

#[test]
fn the_status_asks_after_what_was_deployed_also_when_later_runs_only_looked() {
    let checkout = Checkout::tiny();
    let golden = checkout.golden("k3s-dev");
    checkout.ok(&["local-up"]);
    let project = checkout.root.join("projects/deployed");
    let mut objects = crate::support::tiny_objects();
    objects.retain(|(_, _, object)| object["kind"] != "Service");
    checkout.stage("k3s-dev", &objects);
    crate::support::copy_folder(&golden, &project);
    checkout.ok(&["local-up", "--source", "projects/deployed"]);
    // What nobody has deployed yet.
    let elsewhere = workload("elsewhere");
    objects.push(("02-app", "apps", elsewhere));
    checkout.stage("k3s-dev", &objects);
    checkout.ok(&["local-status"]);
    let pruned = checkout.ok(&["prune", "--stage=local", "--source=projects/deployed", "--yes"]);
    assert!(pruned.stderr.contains("Service"), "{pruned}");
    checkout.ok(&["local-status"]);
    checkout.ok(&["local-down"]);
}

#[test]
fn a_deploy_whose_etcd_dies_ends_within_the_longest_wait_as_a_missed_deadline() {
    let mut checkout = Checkout::tiny();
    checkout.ok(&["local-up"]);
    let mut objects = crate::support::tiny_objects();
    // kluctl waits for it: on a node that is not there it never becomes ready.
    let mut waiting = workload("waiting");
    waiting["spec"]["template"]["spec"]["nodeSelector"] = serde_json::json!({"no": "such"});
    objects.push(("02-app", "apps", waiting));
    checkout.stage("k3s-dev", &objects);
    checkout.variables.insert("XTASK_MAX_WAIT".into(), "20".into());
    let started = std::time::Instant::now();
    let child = checkout.command(&["local-up"]).spawn().unwrap();
    let process = |part: &str| checkout.processes().into_iter().find(|(_, line)| line.contains(part));
    crate::support::until("kluctl deploys", || process("/kluctl deploy").is_some());
    let (pid, _) = process("/bin/etcd ").unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let ran = crate::support::finish(child);
    assert_eq!(ran.code, Some(7), "{ran}");
    assert!(ran.stderr.contains("the API server "), "{ran}");
    assert!(started.elapsed().as_secs() < 150, "{ran}");
    checkout.variables.remove("XTASK_MAX_WAIT");
    // It is started again, and what was cut off is finished.
    checkout.stage("k3s-dev", &crate::support::tiny_objects());
    checkout.ok(&["local-up"]);
    checkout.ok(&["local-down"]);
}

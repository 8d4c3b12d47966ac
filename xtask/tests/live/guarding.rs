//! Fence, lock, saved plans, and what keeps a deploy from running.

use std::process::Stdio;

use serde_json::json;

use crate::Test;
use crate::world::{For, World, child, config, finish, item, namespace, rename_context};

pub(crate) const TESTS: &[Test] = &[
    (
        "another_cluster_behind_the_right_name_is_refused_before_any_write",
        other_cluster,
    ),
    ("adopt_is_the_only_way_to_accept_a_new_uid", adopt),
    ("a_project_of_another_cluster_or_stage_is_refused", other_project),
    ("kubectl_passes_the_fence_too", kubectl_fence),
    ("each_way_not_to_reach_a_cluster_has_its_own_words", not_reached),
    ("a_lease_of_another_host_ends_nine_and_names_its_holder", foreign_lease),
    ("a_dead_holder_is_reported_and_unlocked_only_by_its_id", dead_holder),
    ("two_deploys_at_once_on_one_host_end_nine_for_the_second", two_at_once),
    (
        "a_saved_plan_is_applied_as_it_was_reviewed_and_refused_once_something_moved",
        saved_plan,
    ),
    ("rollback_deploys_the_kept_project_without_nix", rollback),
];

fn small(world: &World, name: &'static str, value: &str) -> String {
    world.project(
        name,
        For::Dev,
        &[item(
            "base",
            "base",
            vec![namespace(name), config(name, "x", json!({"a": value}))],
        )],
    )
}

/// Runs with the kubeconfig of `dev` replaced, and puts it back.
fn with_kubeconfig(world: &World, text: &str, test: impl FnOnce()) {
    let path = ".xtask/kubeconfigs/dev.yaml";
    let own = fs_err::read_to_string(world.root.join(path)).unwrap();
    world.write_private(path, text);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
    world.write_private(path, &own);
    outcome.unwrap();
}

fn twins_as_dev(world: &World) -> String {
    let twin = fs_err::read_to_string(world.root.join(".xtask/kubeconfigs/twin.yaml")).unwrap();
    rename_context(&twin, "twin", "dev")
}

fn other_cluster(world: &World) {
    let project = small(world, "fence", "1");
    let before = world.versions(For::Twin);
    with_kubeconfig(world, &twins_as_dev(world), || {
        for verb in ["deploy", "prune"] {
            world
                .verb(verb, For::Dev, &project, &["--yes"])
                .ends(8)
                .says("this is not cluster `dev`")
                .says("cargo xtask adopt --cluster dev");
        }
        world.verb("diff", For::Dev, &project, &[]).ends(8);
        world.run(&["history", "--stage", "local"]).ends(8);
        world.run(&["unlock", "--cluster", "dev", "--id", "x", "--yes"]).ends(8);
    });
    assert_eq!(before, world.versions(For::Twin), "the other cluster was written to");
}

fn adopt(world: &World) {
    let project = small(world, "adopt", "1");
    let record = world.root.join(".xtask/clusters/dev/uid.json");
    let own = fs_err::read_to_string(&record).unwrap();
    with_kubeconfig(world, &twins_as_dev(world), || {
        world
            .run(&["adopt", "--cluster", "dev"])
            .ends(8)
            .says("`--yes` answers this prompt");
        assert_eq!(own, fs_err::read_to_string(&record).unwrap());
        world.run(&["adopt", "--cluster", "dev", "--yes"]).ends(0);
        world.verb("diff", For::Dev, &project, &[]).ends(0);
    });
    // The cluster of before is now the other one.
    world.deploy(For::Dev, &project).ends(8);
    world.run(&["adopt", "--cluster", "dev", "--yes"]).ends(0);
    world
        .run(&["adopt", "--cluster", "dev"])
        .ends(0)
        .says("known by this UID already");
    world.verb("diff", For::Dev, &project, &[]).ends(0);
}

fn other_project(world: &World) {
    let twins = world.project("twins", For::Twin, &[item("base", "base", vec![namespace("twins")])]);
    world
        .verb("deploy", For::Dev, &twins, &["--yes"])
        .ends(8)
        .says("of cluster `twin`");
    let empty = world.project("empty", For::Dev, &[]);
    world
        .verb("deploy", For::Dev, &empty, &["--yes"])
        .ends(8)
        .says("it has no item");
}

fn kubectl_fence(world: &World) {
    with_kubeconfig(world, &twins_as_dev(world), || {
        world
            .try_kubectl(For::Dev, &["get", "nodes"])
            .ends(8)
            .says("this is not cluster `dev`");
        world.try_kubectl(For::Dev, &["config", "get-contexts"]).ends(0);
    });
}

fn not_reached(world: &World) {
    let project = small(world, "reach", "1");
    let own = fs_err::read_to_string(world.root.join(".xtask/kubeconfigs/dev.yaml")).unwrap();
    let server = own
        .lines()
        .find(|line| line.trim_start().starts_with("server:"))
        .unwrap()
        .to_owned();
    let indent = &server[..server.len() - server.trim_start().len()];
    let cases = [
        (
            own.replace(&server, &format!("{indent}server: https://127.0.0.1:1")),
            5,
            "nobody answers",
        ),
        (own.replace("name: dev\n", "name: other\n"), 5, "no such context"),
    ];
    for (text, code, words) in cases {
        with_kubeconfig(world, &text, || {
            world
                .verb("deploy", For::Dev, &project, &["--yes"])
                .ends(code)
                .says(words)
                .says("nothing was changed");
        });
    }
    let exec = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: dev\nclusters:\n- name: dev\n  cluster:\n    insecure-skip-tls-verify: true\n{}\n\
         contexts:\n- name: dev\n  context: {{cluster: dev, user: dev}}\nusers:\n- name: dev\n  user:\n    exec:\n      \
         apiVersion: client.authentication.k8s.io/v1\n      command: no-such-plugin\n      interactiveMode: Never\n",
        format_args!("    {}", server.trim_start())
    );
    with_kubeconfig(world, &exec, || {
        world
            .verb("deploy", For::Dev, &project, &["--yes"])
            .ends(5)
            .says("credential plugin");
    });
    let nobody = exec.replace(
        "    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: no-such-plugin\n      interactiveMode: Never\n",
        "    token: nobody\n",
    );
    with_kubeconfig(world, &nobody, || {
        world
            .verb("deploy", For::Dev, &project, &["--yes"])
            .ends(5)
            .says("does not take these credentials");
    });
    let without = "    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: no-such-plugin\n      interactiveMode: Never\n";
    with_kubeconfig(world, &exec.replace(without, "    {}\n"), || {
        world
            .verb("deploy", For::Dev, &project, &["--yes"])
            .ends(5)
            .says("has no credentials");
    });
    // An account without any right.
    let token = world.kubectl(For::Dev, &["create", "token", "default", "--namespace=default"]);
    let rightless = exec.replace(without, &format!("    token: {}\n", token.trim()));
    with_kubeconfig(world, &rightless, || {
        world
            .verb("deploy", For::Dev, &project, &["--yes"])
            .ends(8)
            .says("`kube-system` may not be read");
    });
}

fn lease(host: &str, pid: u32, started: &str) -> String {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "xtask-dev", "namespace": "kube-system", "annotations": {
            "vanixiets.dev/nonce": "aabbcc", "vanixiets.dev/goal": "deploy local to dev",
            "vanixiets.dev/pid": pid.to_string(), "vanixiets.dev/started": started}},
        "spec": {"holderIdentity": host, "acquireTime": "2026-01-01T00:00:00.000000Z"},
    })
    .to_string()
}

fn foreign_lease(world: &World) {
    let project = small(world, "foreign-lease", "1");
    world.write("projects/lease.json", &lease("elsewhere", 1, ""));
    world.kubectl(For::Dev, &["create", "--filename=projects/lease.json"]);
    world
        .deploy(For::Dev, &project)
        .ends(9)
        .says("host `elsewhere`, pid 1, since 2026-01-01T00:00:00.000000Z, doing `deploy local to dev`")
        .says("unlock --id aabbcc");
    world
        .try_kubectl(For::Dev, &["get", "namespace", "foreign-lease"])
        .ends(1);
    let unlock = ["unlock", "--cluster", "dev", "--id"];
    world
        .run(&[&unlock[..], &["ffffff", "--yes"]].concat())
        .ends(8)
        .says("the lock's id is not `ffffff`");
    world
        .run(&[&unlock[..], &["aabbcc"]].concat())
        .ends(8)
        .says("`--yes` answers this prompt");
    world.kubectl(For::Dev, &["get", "lease", "xtask-dev", "--namespace=kube-system"]);
    world.run(&[&unlock[..], &["aabbcc", "--yes"]].concat()).ends(0);
    world.deploy(For::Dev, &project).ends(0);
}

fn dead_holder(world: &World) {
    let project = small(world, "dead", "1");
    let host = xtask::live::lease::host();
    // Our own pid is alive, but it did not begin then.
    world.write("projects/lease.json", &lease(&host, std::process::id(), "1"));
    world.kubectl(For::Dev, &["create", "--filename=projects/lease.json"]);
    world
        .deploy(For::Dev, &project)
        .ends(9)
        .says("its process is gone from this host");
    world
        .run(&["unlock", "--cluster", "dev", "--id", "aabbcc", "--yes"])
        .ends(0);
    world.deploy(For::Dev, &project).ends(0);
}

fn two_at_once(world: &World) {
    let gates = json!([{
        "id": "base.later", "component": "base", "phase": "base", "needs": "api", "timeoutSeconds": 60,
        "object": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "twice", "name": "later"},
        "condition": {"type": "exists"},
    }]);
    let items = [item(
        "base",
        "base",
        vec![namespace("twice"), config("twice", "x", json!({"a": "1"}))],
    )];
    let project = world.project_with_gates("twice", For::Dev, &items, &gates);
    let mut first = world.command();
    first
        .args(["deploy", "--stage", "local", "--from-folder", &project])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let first = first.spawn().unwrap();
    // It holds its lock until the gate holds; nothing of it is waited for by time.
    let holder = world.root.join(".xtask/locks/dev.json");
    while !fs_err::read_to_string(&holder).is_ok_and(|text| text.contains(&first.id().to_string())) {
        std::thread::yield_now();
    }
    world
        .deploy(For::Dev, &project)
        .ends(9)
        .says(&format!("pid {}", first.id()))
        .says("doing `deploy local to dev`");
    while world
        .try_kubectl(For::Dev, &["create", "configmap", "later", "--namespace=twice"])
        .code
        != 0
    {}
    let output = first.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn saved_plan(world: &World) {
    let project = small(world, "saved", "1");
    world
        .verb("deploy", For::Dev, &project, &["--save-plan", "projects/plan.json"])
        .ends(0);
    let text = fs_err::read_to_string(world.root.join("projects/plan.json")).unwrap();
    assert!(
        !text.contains(world.root.as_str()),
        "a path of this host stands in the plan"
    );
    world.try_kubectl(For::Dev, &["get", "namespace", "saved"]).ends(1);
    let apply = ["deploy", "--stage", "local", "--plan", "projects/plan.json"];
    // A lock file that appears is a moved input.
    world.write("flake.lock", "{}");
    world.run(&apply).ends(8).says("flake.lock: was missing");
    fs_err::remove_file(world.root.join("flake.lock")).unwrap();
    small(world, "saved", "2");
    world.run(&apply).ends(8).says("project: was");
    small(world, "saved", "1");
    world.run(&apply).ends(0);
    assert_eq!(world.object(For::Dev, "configmap", "saved", "x")["data"]["a"], "1");
    // The cluster holds now what the plan was to bring.
    world.run(&apply).ends(8).says("live object ConfigMap/saved/x: is new");
}

fn rollback(world: &World) {
    for value in ["1", "2"] {
        let project = small(world, "back", value);
        world.deploy(For::Dev, &project).ends(0);
    }
    fs_err::remove_dir_all(world.root.join("projects/back")).unwrap();
    let mut command = world.command();
    // Neither Nix nor Go is there, only the tools of a deploy.
    let bin = world.root.join(".xtask/bin");
    fs_err::create_dir_all(&bin).unwrap();
    for tool in ["kubectl", "kluctl", "git"] {
        let path = which(world, tool);
        if !bin.join(tool).exists() {
            std::os::unix::fs::symlink(path, bin.join(tool)).unwrap();
        }
    }
    command
        .env("PATH", bin.as_str())
        .args(["rollback", "--stage", "local", "--reason", "it broke"]);
    finish(&mut command).ends(0);
    assert_eq!(world.object(For::Dev, "configmap", "back", "x")["data"]["a"], "1");
    let history = world.run(&["history", "--stage", "local", "--json"]).ends(0).json();
    let entries = history.as_array().unwrap();
    let last = entries.last().unwrap();
    assert_eq!(last["rolledBackTo"], entries[entries.len() - 3]["run"]);
    assert_eq!(last["reason"], "it broke");
    // A kept project that somebody changed is not what was deployed.
    let digest = entries[entries.len() - 2]["digest"].as_str().unwrap();
    world.write(&format!(".xtask/clusters/dev/kept/local/{digest}/extra.yaml"), "{}");
    world
        .run(&["rollback", "--stage", "local"])
        .ends(8)
        .says("is not what was deployed");
    fs_err::remove_dir_all(world.root.join(format!(".xtask/clusters/dev/kept/local/{digest}"))).unwrap();
    world
        .run(&["rollback", "--stage", "local"])
        .ends(5)
        .says("was not kept on this host");
    world
        .run(&["rollback", "--stage", "local", "--to", "99"])
        .ends(3)
        .says("none of age 99");
}

/// Where a tool is: on PATH, or built by us.
fn which(world: &World, tool: &str) -> String {
    if tool == "git" {
        let output = child("sh").args(["-c", "command -v git"]).output().unwrap();
        return String::from_utf8(output.stdout).unwrap().trim().to_owned();
    }
    world.run(&["tools", "path", tool]).ends(0).stdout.trim().to_owned()
}

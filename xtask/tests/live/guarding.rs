//! Identity check, lock, saved plans, and what keeps a deploy from running.

use std::process::Stdio;

use serde_json::json;
use xtask::verb::kubectl::{FLAGS, Flag};

use crate::Test;
use crate::world::{For, World, config_map, finish, item, namespace, rename_context};

pub(crate) const TESTS: &[Test] = &[
    (
        "another_cluster_behind_the_right_name_is_refused_before_any_write",
        other_cluster,
    ),
    (
        "a_first_contact_with_a_cluster_that_another_checkout_has_is_refused_until_it_is_adopted",
        first_contact,
    ),
    ("adopt_is_the_only_way_to_accept_a_new_uid", adopt),
    ("a_project_of_another_cluster_or_stage_is_refused", other_project),
    (
        "a_local_cluster_that_leads_to_production_is_never_taken_for_it",
        local_to_production,
    ),
    ("kubectl_passes_the_fence_too", kubectl_identity_check),
    (
        "another_checkout_waits_for_the_lease_of_a_living_run_and_explains_that_of_a_dead_one",
        two_checkouts,
    ),
    ("each_way_not_to_reach_a_cluster_has_its_own_words", not_reached),
    ("a_lease_of_another_host_ends_nine_and_names_its_holder", foreign_lease),
    ("a_dead_holder_is_reported_and_unlocked_only_by_its_id", dead_holder),
    ("two_deploys_at_once_on_one_host_end_nine_for_the_second", two_at_once),
    (
        "a_saved_plan_is_applied_as_it_was_reviewed_and_refused_once_something_moved",
        saved_plan,
    ),
    ("each_input_of_a_saved_plan_that_moved_is_named", moved_inputs),
];

fn small(world: &World, name: &'static str, value: &str) -> String {
    world.project(
        name,
        For::Dev,
        &[item(
            "base",
            "base",
            vec![namespace(name), config_map(name, "x", json!({"a": value}))],
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
    let project = small(world, "identity check", "1");
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

fn first_contact(world: &World) {
    let project = small(world, "first-contact", "1");
    world.deploy(For::Dev, &project).ends(0);
    let before = world.versions(For::Dev);
    let (_folder, other) = elsewhere(world, For::Dev);
    // A clone with this kubeconfig, which never met the cluster.
    let record = other.join(".xtask/clusters/dev/uid.json");
    fs_err::remove_file(&record).unwrap();
    let deploy = ["deploy", "--stage", "local", "--source", &project, "--yes"];
    for verb in [&deploy[..], &["diff", "--stage", "local", "--source", &project]] {
        run_in(world, &other, verb)
            .ends(8)
            .says("it is somebody's already")
            .says(world.root.as_str());
        assert!(!record.exists(), "what was refused is known");
    }
    assert_eq!(before, world.versions(For::Dev), "the cluster was written to");
    run_in(world, &other, &["adopt", "--cluster", "dev", "--yes"]).ends(0);
    run_in(world, &other, &deploy).ends(0);
    // The same where this checkout forgot its own first contact, and the kubeconfig was exchanged meanwhile.
    let record = world.root.join(".xtask/clusters/dev/uid.json");
    let own = fs_err::read_to_string(&record).unwrap();
    with_kubeconfig(world, &twins_as_dev(world), || {
        fs_err::remove_file(&record).unwrap();
        let before = world.versions(For::Twin);
        world.deploy(For::Dev, &project).ends(8);
        assert_eq!(before, world.versions(For::Twin), "the other cluster was written to");
    });
    world.write(".xtask/clusters/dev/uid.json", &own);
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

fn local_to_production(world: &World) {
    let project = small(world, "leads", "1");
    let prod = fs_err::read_to_string(world.root.join(".xtask/kubeconfigs/prod.yaml")).unwrap();
    let record = world.root.join(".xtask/clusters/dev/uid.json");
    let own = fs_err::read_to_string(&record).unwrap();
    let before = world.versions(For::Production);
    fs_err::remove_file(&record).unwrap();
    with_kubeconfig(world, &rename_context(&prod, "prod", "dev"), || {
        world
            .verb("deploy", For::Dev, &project, &["--yes"])
            .ends(8)
            .says("which the platform config commits to production cluster `prod`");
        world
            .run(&["adopt", "--cluster", "dev", "--yes"])
            .ends(8)
            .says("production cluster `prod`");
    });
    // A first contact with what another local cluster was recorded as is none either.
    with_kubeconfig(world, &twins_as_dev(world), || {
        world
            .verb("deploy", For::Dev, &project, &["--yes"])
            .ends(8)
            .says("which is that of cluster `twin`");
    });
    assert!(!record.exists(), "a refused contact was recorded");
    fs_err::write(&record, own).unwrap();
    assert_eq!(before, world.versions(For::Production), "production was written to");
}

fn kubectl_identity_check(world: &World) {
    for flag in ["--context=twin", "--server=https://127.0.0.1:1", "-As"] {
        world
            .try_kubectl(For::Dev, &["get", "nodes", flag])
            .ends(8)
            .says("past the identity check");
    }
    // A file that is called like a verb which speaks to no cluster.
    world
        .try_kubectl(For::Dev, &["--kubeconfig", "config", "delete", "namespace", "default"])
        .ends(8)
        .says("past the identity check");
    world
        .try_kubectl(
            For::Dev,
            &["config", "set", "clusters.dev.server", "https://127.0.0.1:1"],
        )
        .ends(8)
        .says("which xtask writes");
    // Every flag that kubectl itself takes before its verb is known, with or without a value.
    let options = world.kubectl(For::Dev, &["options"]);
    let listed: Vec<(&str, &str)> = options
        .lines()
        .filter_map(|line| line.trim().strip_suffix(':')?.split_once('='))
        .filter(|(names, _)| names.starts_with('-'))
        .flat_map(|(names, value)| names.split(", ").map(move |name| (name, value)))
        .collect();
    assert!(listed.len() > 25, "{options}");
    for (name, value) in listed {
        let known = FLAGS.iter().find(|(flag, _)| *flag == name).map(|(_, is)| *is);
        let switch = ["true", "false"].contains(&value);
        match known {
            Some(Flag::Switch) => assert!(switch, "{name} takes a value"),
            Some(Flag::Value) => assert!(!switch, "{name} takes no value"),
            Some(Flag::Decides) => {}
            None => panic!("kubectl has a flag that is not known: {name}"),
        }
    }
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
            "no server answers",
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
        .says("unlock --cluster dev --id aabbcc");
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
    let host = xtask::base::host::host();
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
        vec![namespace("twice"), config_map("twice", "x", json!({"a": "1"}))],
    )];
    let project = world.project_with_gates("twice", For::Dev, &items, &gates);
    let mut first = world.command();
    first
        .args(["deploy", "--stage", "local", "--source", &project])
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
    let shown = world.run(&[apply.as_slice(), &["--dry-run=full"]].concat()).ends(0);
    assert!(shown.stdout.contains("identity.check"), "{}", shown.stdout);
    edited_plans(world, &text, &apply);
    world.write("projects/plan.json", &text);
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

/// Nothing of a plan that somebody edited is run, not even what only looks; what was edited is named.
fn edited_plans(world: &World, text: &str, apply: &[&str]) {
    let victim = world.root.join("victim");
    world.write("victim/file", "x");
    let remove = json!({"step": {"id": "evil.do", "title": "Remove it", "why": "A test wants it.", "effect": "local",
        "guard": false, "unless": null, "target": null, "action": {"remove": {"path": victim}}}});
    let edit = |change: &dyn Fn(&mut Vec<serde_json::Value>)| {
        let mut saved: serde_json::Value = serde_json::from_str(text).unwrap();
        change(saved["plan"]["sections"][0]["items"].as_array_mut().unwrap());
        world.write("projects/plan.json", &saved.to_string());
        world.run(apply).ends(8)
    };
    edit(&|items| items.insert(0, remove.clone())).says("`deploy/evil.do`: only the saved plan has it");
    edit(&|items| items.retain(|item| item["section"]["id"] != "identity"))
        .says("`deploy/identity/identity.check`: the saved plan lacks it");
    edit(&|items| {
        for item in items {
            if item["section"]["id"] == "identity" {
                item["section"]["items"][0]["step"]["action"]["run"]["tool"] = json!("bash");
            }
        }
    })
    .says("`deploy/identity/identity.read`: `action` is another");
    assert!(victim.join("file").exists());
    fs_err::remove_dir_all(&victim).unwrap();
}

/// A second checkout with the same platform config and kubeconfigs, as another host has one.
pub(crate) fn elsewhere(world: &World, part: For) -> (tempfile::TempDir, camino::Utf8PathBuf) {
    let folder = tempfile::Builder::new().prefix("xtask-elsewhere-").tempdir().unwrap();
    let root = camino::Utf8Path::from_path(folder.path()).unwrap().join("a checkout");
    fs_err::create_dir(&root).unwrap();
    xtask::base::state::check(&root).unwrap();
    for path in [
        "platform.json",
        ".gitignore",
        // It has had its first contact.
        &format!(".xtask/clusters/{}/uid.json", part.cluster()),
        &format!(".xtask/kubeconfigs/{}.yaml", part.cluster()),
        "modules/platform.nix",
    ] {
        let to = root.join(path);
        fs_err::create_dir_all(to.parent().unwrap()).unwrap();
        fs_err::copy(world.root.join(path), to).unwrap();
    }
    for tree in ["projects", "k8s"] {
        xtask::project::copy(&world.root.join(tree), &root.join(tree)).unwrap();
    }
    (folder, root)
}

fn run_in(world: &World, root: &camino::Utf8Path, args: &[&str]) -> crate::world::Run {
    let mut command = world.command();
    command.current_dir(root).env("XTASK_ROOT", root).args(args);
    finish(&mut command)
}

fn two_checkouts(world: &World) {
    let gates = json!([{
        "id": "base.later", "component": "base", "phase": "base", "needs": "api", "timeoutSeconds": 120,
        "object": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "hosts", "name": "later"},
        "condition": {"type": "exists"},
    }]);
    let items = [item(
        "base",
        "base",
        vec![namespace("hosts"), config_map("hosts", "x", json!({"a": "1"}))],
    )];
    let project = world.project_with_gates("hosts", For::Dev, &items, &gates);
    // One plan, saved here and applied in two places at once: whoever is second has a nonce of his own.
    world
        .verb("deploy", For::Dev, &project, &["--save-plan", "projects/hosts.json"])
        .ends(0);
    let (_folder, other) = elsewhere(world, For::Dev);
    let apply = ["deploy", "--stage", "local", "--plan", "projects/hosts.json"];
    let mut first = world.command();
    first.args(apply).stdout(Stdio::null()).stderr(Stdio::null());
    let mut first = first.spawn().unwrap();
    let leased = || {
        world.try_kubectl(
            For::Dev,
            &["get", "lease", "xtask-dev", "--namespace=kube-system", "--output=json"],
        )
    };
    while leased().code != 0
        || world
            .try_kubectl(For::Dev, &["get", "configmap", "x", "--namespace=hosts"])
            .code
            != 0
    {}
    // The saved plan is stale by now; a plan made now meets the Lease.
    let again = ["deploy", "--stage", "local", "--source", &project, "--yes"];
    run_in(world, &other, &apply)
        .ends(8)
        .says("live object ConfigMap/hosts/x: is new");
    small(world, "hosts-too", "1");
    xtask::project::copy(
        &world.root.join("projects/hosts-too"),
        &other.join("projects/hosts-too"),
    )
    .unwrap();
    let other_stage = ["deploy", "--stage", "local", "--source", "projects/hosts-too", "--yes"];
    run_in(world, &other, &other_stage)
        .ends(9)
        .says(&format!("pid {}", first.id()))
        .says("doing `deploy local to dev`");
    first.kill().unwrap();
    first.wait().unwrap();
    let dead = run_in(world, &other, &other_stage)
        .ends(9)
        .says("its process is gone from this host");
    let id = dead.stderr.split("unlock --cluster dev --id ").nth(1).unwrap()[..12].to_owned();
    run_in(world, &other, &["unlock", "--cluster", "dev", "--id", &id, "--yes"]).ends(0);
    world.kubectl(For::Dev, &["create", "configmap", "later", "--namespace=hosts"]);
    run_in(world, &other, &again).ends(0);
    assert_ne!(leased().code, 0, "the Lease was given back");
}

fn moved_inputs(world: &World) {
    let project = small(world, "inputs", "1");
    world.deploy(For::Dev, &project).ends(0);
    let project = small(world, "inputs", "2");
    world
        .verb("deploy", For::Dev, &project, &["--save-plan", "projects/inputs.json"])
        .ends(0);
    let apply = || {
        world
            .run(&["deploy", "--stage", "local", "--plan", "projects/inputs.json"])
            .ends(8)
    };
    // A golden.
    world.write("k8s/golden/dev/local/more.txt", "x");
    apply().says("golden: was");
    fs_err::remove_file(world.root.join("k8s/golden/dev/local/more.txt")).unwrap();
    // The platform config.
    let config = fs_err::read_to_string(world.root.join("platform.json")).unwrap();
    world.write("platform.json", &format!("{config}\n"));
    apply().says("platform config (platform.json): was");
    world.write("platform.json", &config);
    // A tool.
    let real = world.path_of_kubectl();
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in version) {real} \"$@\" | sed 's/v1\\.35\\.4/v1.35.3/' ;; *) exec {real} \"$@\" ;; esac\n"
    );
    world.write("projects/kubectl", &script);
    let wrapper = world.root.join("projects/kubectl");
    fs_err::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = world.command();
    command
        .env("XTASK_KUBECTL", &wrapper)
        .args(["deploy", "--stage", "local", "--plan", "projects/inputs.json"]);
    finish(&mut command)
        .ends(8)
        .says("version of `kubectl`: was `1.35.4`, is `1.35.3`");
    // The cluster, adopted since.
    with_kubeconfig(world, &twins_as_dev(world), || {
        apply().says("this is not cluster `dev`");
    });
    // A live object that the plan touches.
    let patch = r#"{"data":{"a":"edited"}}"#;
    world.kubectl(
        For::Dev,
        &[
            "patch",
            "configmap",
            "x",
            "--namespace=inputs",
            "--type=merge",
            "--patch",
            patch,
        ],
    );
    apply().says("live object ConfigMap/inputs/x: was changed");
    // No half of it can be had.
    for flag in ["--resume", "--from=stage.list"] {
        world
            .run(&["deploy", "--stage", "local", "--plan", "projects/inputs.json", flag])
            .ends(2);
    }
    world.write("projects/inputs.json", r#"{"schema": 1, "verb": "deploy"}"#);
    world
        .run(&["deploy", "--stage", "local", "--plan", "projects/inputs.json"])
        .ends(3)
        .says("has schema 1");
}

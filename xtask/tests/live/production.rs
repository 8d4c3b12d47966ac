//! A second control plane that plays production: a committed UID, a rendered project, prompts and guards.

use serde_json::json;

use crate::Test;
use crate::terminal::Session;
use crate::world::{For, World, child, config_map, finish, item, namespace, rename_context};

pub(crate) const TESTS: &[Test] = &[
    ("production_deploys_what_is_reviewed_and_committed_and_asks", reviewed),
    ("a_wrong_production_cluster_is_refused_even_with_yes", wrong),
    ("a_bare_machine_is_told_every_lack_at_once", bare),
    ("mutating_kubectl_asks_in_production", kubectl),
    (
        "a_gate_waits_for_a_condition_of_the_generation_that_is_deployed",
        conditions,
    ),
    ("a_prune_of_production_needs_its_name_or_a_saved_plan", prune),
    ("a_person_at_a_terminal_is_asked_and_told_and_types_the_name", asked),
];

fn project(world: &World, value: &str) -> String {
    world.project(
        "prod",
        For::Production,
        &[item(
            "base",
            "base",
            vec![namespace("prod"), config_map("prod", "x", json!({"a": value}))],
        )],
    )
}

fn reviewed(world: &World) {
    let folder = project(world, "1");
    let deploy = |more: &[&str]| world.verb("deploy", For::Production, &folder, more);
    deploy(&["--yes"]).ends(4).says("is not what was reviewed");
    // Wherever a run begins, what is not reviewed or not committed does not pass.
    deploy(&["--yes", "--from", "phase-base.narrow"])
        .ends(4)
        .says("is not what was reviewed");
    world.bless(For::Production, &folder);
    world
        .verb("deploy", For::Production, &folder, &[])
        .ends(8)
        .says("+ ConfigMap/prod/x")
        .says("`--yes` answers this prompt");
    world
        .try_kubectl(For::Production, &["get", "namespace", "prod"])
        .ends(1);
    world.write("modules/new.nix", "{ }\n");
    deploy(&["--yes"]).ends(8).says("`modules/new.nix`");
    deploy(&["--yes", "--from", "phase-base.narrow"])
        .ends(8)
        .says("`modules/new.nix`");
    fs_err::remove_file(world.root.join("modules/new.nix")).unwrap();
    // What Git knows and what was edited since is no better.
    world.write("modules/platform.nix", "{ edited = true; }\n");
    deploy(&["--yes"]).ends(8).says("`modules/platform.nix`");
    world.write("modules/platform.nix", "{ }\n");
    deploy(&["--yes"]).ends(0);
    let history = world.run(&["history", "--stage", "full", "--json"]).ends(0).json();
    assert_eq!(history["deployments"][0]["reviewed"], true);
    assert_eq!(history["deployments"][0]["source"], "folder");
    let before = world.versions(For::Production);
    world
        .verb("deploy", For::Production, &folder, &[])
        .ends(0)
        .says("2 objects are as they should be");
    assert_eq!(before, world.versions(For::Production));
    // A golden is no project for a real cluster.
    world
        .verb("deploy", For::Production, "k8s/golden/prod/full", &["--yes"])
        .ends(8)
        .says("a golden goes to an embedded local cluster only");
}

fn wrong(world: &World) {
    let folder = project(world, "2");
    let deploy = || world.verb("deploy", For::Production, &folder, &["--yes"]);
    let path = ".xtask/kubeconfigs/prod.yaml";
    let own = fs_err::read_to_string(world.root.join(path)).unwrap();
    let dev = fs_err::read_to_string(world.root.join(".xtask/kubeconfigs/dev.yaml")).unwrap();
    let before = world.versions(For::Dev);
    world.write_private(path, &rename_context(&dev, "dev", "prod"));
    deploy().ends(8).says("this is not cluster `prod`");
    world
        .run(&["adopt", "--cluster", "prod", "--yes"])
        .ends(8)
        .says("a production cluster is adopted by a person");
    world.write_private(
        path,
        &own.replace("    server:", "    insecure-skip-tls-verify: true\n    server:"),
    );
    deploy().ends(8).says("turns the verification");
    let server = own.lines().find(|line| line.contains("server: https://")).unwrap();
    world.write_private(path, &own.replace(server, &server.replace("https://", "http://")));
    deploy().ends(8).says("without encryption");
    world.write_private(path, &own);
    assert_eq!(before, world.versions(For::Dev), "the wrong cluster was written to");
    world
        .run(&["deploy", "--stage", "local", "--cluster", "prod", "--yes"])
        .ends(8)
        .says("stage `local` never goes to production");
    // Production without a committed UID.
    let config = fs_err::read_to_string(world.root.join("platform.json")).unwrap();
    let mut without: serde_json::Value = serde_json::from_str(&config).unwrap();
    without["clusters"]["prod"]["uid"] = serde_json::Value::Null;
    world.write("platform.json", &without.to_string());
    deploy().ends(8).says("cargo xtask adopt --cluster prod");
    world.write("platform.json", &config);
}

fn bare(world: &World) {
    let path = world.root.join(".xtask/kubeconfigs/prod.yaml");
    let own = fs_err::read_to_string(&path).unwrap();
    fs_err::remove_file(&path).unwrap();
    let run = |more: &[&str]| {
        let mut command = world.command();
        command
            .env("PATH", "/nonexistent")
            .args(["deploy", "--stage", "full"])
            .args(more);
        finish(&mut command)
    };
    run(&[])
        .ends(5)
        .says("no kubeconfig of cluster `prod`")
        .says("`nix`, needed to")
        .says("cargo xtask rehearse --stage full");
    run(&["--dry-run"])
        .ends(0)
        .prints("cluster `prod` (the default of stage `full`), stage `full`")
        .prints("Lock the cluster for this run");
    world.write_private(".xtask/kubeconfigs/prod.yaml", &own);
}

fn kubectl(world: &World) {
    let get = ["kubectl", "--cluster", "prod", "--", "get", "nodes"];
    world.run(&get).ends(0);
    let create = ["kubectl", "--cluster", "prod", "--", "create", "namespace", "by-hand"];
    world.run(&create).ends(8).says("may change production cluster `prod`");
    world
        .try_kubectl(For::Production, &["get", "namespace", "by-hand"])
        .ends(1);
}

/// Stands in for a controller: sets the status of `Certificate.t-cert.example.org/cond/c`, step by step, and looks meanwhile whether the
/// phase behind the gate has begun. Returns what it saw, once it has let the gate hold.
fn controller(kubectl: &str, kubeconfig: &str) -> bool {
    let run = |args: &[&str]| {
        let output = child(kubectl)
            .arg(format!("--kubeconfig={kubeconfig}"))
            .args(["--context=prod", "--namespace=cond"])
            .args(args)
            .env("KUBERC", "off")
            .output()
            .unwrap();
        output.status.success()
    };
    let get = ["get", "certificates.t-cert.example.org", "c"];
    while !run(&get) {}
    let set = |sub: bool, patch: &str| {
        let mut args = vec![
            "patch",
            "certificates.t-cert.example.org",
            "c",
            "--type=merge",
            "--patch",
            patch,
        ];
        if sub {
            args.push("--subresource=status");
        }
        assert!(run(&args), "{patch}");
    };
    let condition = |status: &str, generation: u32| {
        format!(
            r#"{{"status":{{"conditions":[{{"type":"Ready","status":"{status}","reason":"Why","message":"m","observedGeneration":{generation}}}]}}}}"#
        )
    };
    let mut early = false;
    let mut look = || {
        // Long enough for a gate that is looked at every second.
        for _ in 0..8 {
            early |= run(&["get", "configmap", "late"]);
        }
    };
    // No condition at all, then another, then a false one.
    look();
    set(
        true,
        r#"{"status":{"conditions":[{"type":"Issuing","status":"True"}]}}"#,
    );
    look();
    set(true, &condition("False", 1));
    look();
    // The object moves on while it is waited for, and the status is of what it was.
    set(false, r#"{"spec":{"moved":true}}"#);
    set(true, &condition("True", 1));
    look();
    set(true, &condition("True", 2));
    early
}

fn conditions(world: &World) {
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "certificates.t-cert.example.org", "annotations": {"kluctl.io/skip-delete": "true"}},
        "spec": {"group": "t-cert.example.org", "scope": "Namespaced",
            "names": {"kind": "Certificate", "plural": "certificates", "singular": "certificate", "listKind": "CertificateList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    });
    let certificate = json!({"apiVersion": "t-cert.example.org/v1", "kind": "Certificate",
        "metadata": {"name": "c", "namespace": "cond"}, "spec": {"a": 1}});
    let gates = |seconds: u32| {
        json!([{
            "id": "certs.ready", "component": "certs", "phase": "certs", "needs": "controller", "timeoutSeconds": seconds,
            "object": {"apiVersion": "t-cert.example.org/v1", "kind": "Certificate", "namespace": "cond", "name": "c"},
            "condition": {"type": "condition", "condition": "Ready", "status": "True"},
        }])
    };
    let items = [
        item("base", "base", vec![namespace("cond")]),
        item("crds", "base", vec![definition]).waiting(),
        item("certs", "certs", vec![certificate]),
        item("late", "late", vec![config_map("cond", "late", json!({"a": "1"}))]),
    ];
    let deploy = |seconds: u32| {
        let project = world.project_with_gates("cond", For::Production, &items, &gates(seconds));
        world.deploy(For::Production, &project)
    };
    deploy(2)
        .ends(7)
        .says("gate `certs.ready`: Certificate.t-cert.example.org/cond/c has no condition `Ready` yet");
    world
        .try_kubectl(For::Production, &["get", "configmap", "late", "--namespace=cond"])
        .ends(1);
    let kubectl = world.path_of_kubectl();
    let kubeconfig = world.root.join(".xtask/kubeconfigs/prod.yaml").into_string();
    let controller = std::thread::spawn(move || controller(&kubectl, &kubeconfig));
    let run = deploy(120);
    let early = controller.join().unwrap();
    run.ends(0);
    assert!(!early, "the phase behind the gate began before it held");
    world.kubectl(For::Production, &["get", "configmap", "late", "--namespace=cond"]);
}

/// Enough objects that one of them is a small part, with or without one to prune.
fn thin(world: &World, more: bool) -> String {
    let mut objects = vec![namespace("thin")];
    objects.extend((0..20).map(|index| config_map("thin", &format!("c{index}"), json!({"a": "1"}))));
    if more {
        objects.push(config_map("thin", "gone", json!({})));
    }
    world.project("thin", For::Production, &[item("base", "base", objects)])
}

fn prune(world: &World) {
    world.deploy(For::Production, &thin(world, true)).ends(0);
    let project = thin(world, false);
    world.deploy(For::Production, &project).ends(0);
    let before = world.versions(For::Production);
    // Whatever else is left there, no flag answers for the cluster's name.
    world
        .verb("prune", For::Production, &project, &["--yes"])
        .ends(8)
        .says("--save-plan");
    assert_eq!(before, world.versions(For::Production));
    world
        .verb(
            "prune",
            For::Production,
            &project,
            &["--save-plan", "projects/thin.json"],
        )
        .ends(0);
    world
        .run(&["prune", "--stage", "full", "--plan", "projects/thin.json"])
        .ends(0);
    world
        .try_kubectl(For::Production, &["get", "configmap", "gone", "--namespace=thin"])
        .ends(1);
    world.kubectl(For::Production, &["get", "configmap", "c0", "--namespace=thin"]);
}

fn asked(world: &World) {
    let session = |verb: &str, project: &str| {
        let mut command = world.command();
        command.args([verb, "--stage", "full", "--cluster", For::Production.cluster()]);
        Session::of(command.args(["--source", project]))
    };
    let project = thin(world, true);
    world.bless(For::Production, &project);
    let before = world.versions(For::Production);
    let mut deploy = session("deploy", &project);
    deploy.sees("[y]es/[N]o/[e]xplain");
    deploy.types("e");
    deploy.sees("because: ");
    deploy.types("");
    let (code, shown) = deploy.ends();
    assert_eq!(code, Some(8), "{shown}");
    assert_eq!(before, world.versions(For::Production));
    let mut deploy = session("deploy", &project);
    deploy.sees("[y]es/[N]o/[e]xplain");
    deploy.types("y");
    let (code, shown) = deploy.ends();
    assert_eq!(code, Some(0), "{shown}");

    let project = thin(world, false);
    world.bless(For::Production, &project);
    world
        .verb("deploy", For::Production, &project, &["--yes"])
        .ends(0)
        .says("ConfigMap/thin/gone is no longer in the project");
    for (name, ends) in [("yes", 8), (For::Production.cluster(), 0)] {
        let mut prune = session("prune", &project);
        prune.sees("[y]es/[N]o/[e]xplain");
        prune.types("y");
        prune.sees("to go on: ");
        prune.types(name);
        let (code, shown) = prune.ends();
        assert_eq!(code, Some(ends), "{shown}");
        let left = world.try_kubectl(For::Production, &["get", "configmap", "gone", "--namespace=thin"]);
        left.ends(i32::from(ends == 0));
    }
}

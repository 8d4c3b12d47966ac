//! Rollbacks: what was kept, what is rebuilt, and what is refused.

use serde_json::{Value, json};

use crate::Test;
use crate::world::{For, World, child, config_map, finish, item, namespace, write_project};

pub(crate) const TESTS: &[Test] = &[
    ("rollback_deploys_the_kept_project_without_nix", kept),
    (
        "a_project_that_was_not_kept_is_rebuilt_from_its_revision_or_refused",
        rebuilt,
    ),
    (
        "a_rollback_names_the_definitions_that_it_exchanges_and_what_it_leaves",
        definitions,
    ),
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

fn golden(world: &World, value: &str) {
    let folder = world.root.join("k8s/golden/dev/local");
    fs_err::remove_dir_all(&folder).unwrap();
    let objects = vec![config_map("default", "greeting", json!({"a": value}))];
    write_project(&folder, For::Dev, &[item("base", "base", objects)], &json!([]));
}

fn forget(world: &World) {
    fs_err::remove_dir_all(world.root.join(".xtask/clusters/dev/kept/local")).unwrap();
}

fn history(world: &World) -> Vec<Value> {
    let history = world.run(&["history", "--stage", "local", "--json"]).ends(0).json();
    history["deployments"].as_array().unwrap().clone()
}

fn rebuilt(world: &World) {
    let deploy = || world.run(&["deploy", "--stage", "local"]).ends(0);
    let greeting = || world.object(For::Dev, "configmap", "default", "greeting")["data"]["a"].clone();
    let committed = |value: &str| {
        golden(world, value);
        world.commit(value);
        deploy();
    };
    committed("2");
    committed("3");
    let wanted = history(world)[history(world).len() - 2].clone();
    forget(world);
    world
        .run(&["rollback", "--stage", "local", "--dry-run"])
        .ends(0)
        .prints("Build the project of");
    world.run(&["rollback", "--stage", "local"]).ends(0);
    assert_eq!(greeting(), "2");
    let last = history(world).last().unwrap().clone();
    for same in ["revision", "digest"] {
        assert_eq!(last[same], wanted[same], "{same}");
    }
    assert_eq!(last["rolledBackTo"], wanted["run"]);
    let worktrees = child("git")
        .current_dir(&world.root)
        .args(["worktree", "list"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&worktrees.stdout).lines().count(),
        1,
        "a worktree was left"
    );
    // What was deployed from a dirty tree is in no revision.
    golden(world, "dirty");
    deploy();
    golden(world, "4");
    world.commit("4");
    deploy();
    forget(world);
    world
        .run(&["rollback", "--stage", "local"])
        .ends(8)
        .says("does not give what was deployed");
    assert_eq!(greeting(), "4");
}

fn definitions(world: &World) {
    let with = |versions: &[&str], more: bool| {
        let versions: Vec<Value> = versions
            .iter()
            .map(|name| {
                json!({"name": name, "served": true, "storage": *name == "v1", "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true}}})
            })
            .collect();
        let mut objects = vec![
            namespace("kinds"),
            json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "kinds.r.example.org", "annotations": {"kluctl.io/skip-delete": "true"}},
                "spec": {"group": "r.example.org", "scope": "Namespaced", "versions": versions,
                    "names": {"kind": "Kind", "plural": "kinds", "singular": "kind", "listKind": "KindList"}},
            }),
        ];
        if more {
            objects.push(config_map("kinds", "newer", json!({})));
        }
        world.project("kinds", For::Dev, &[item("base", "base", objects)])
    };
    world.deploy(For::Dev, &with(&["v1"], false)).ends(0);
    world.deploy(For::Dev, &with(&["v1", "v2"], true)).ends(0);
    world
        .run(&["rollback", "--stage", "local"])
        .ends(0)
        .says("CustomResourceDefinition/kinds.r.example.org is exchanged for its earlier definition (version v2 would go)")
        .says("- ConfigMap/kinds/newer (orphaned");
    world.kubectl(For::Dev, &["get", "configmap", "newer", "--namespace=kinds"]);
}

fn kept(world: &World) {
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
    let entries = history["deployments"].as_array().unwrap();
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

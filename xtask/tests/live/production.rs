//! A second control plane that plays production: a committed UID, a rendered project, prompts and guards.

use serde_json::json;

use crate::Test;
use crate::world::{For, World, config, finish, item, namespace, rename_context};

pub(crate) const TESTS: &[Test] = &[
    ("production_deploys_what_is_reviewed_and_committed_and_asks", reviewed),
    ("a_wrong_production_cluster_is_refused_even_with_yes", wrong),
    ("a_bare_machine_is_told_every_lack_at_once", bare),
    ("mutating_kubectl_asks_in_production", kubectl),
];

fn project(world: &World, value: &str) -> String {
    world.project(
        "prod",
        For::Production,
        &[item(
            "base",
            "base",
            vec![namespace("prod"), config("prod", "x", json!({"a": value}))],
        )],
    )
}

fn reviewed(world: &World) {
    let folder = project(world, "1");
    world
        .deploy(For::Production, &folder)
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
    world.deploy(For::Production, &folder).ends(8).says("`modules/new.nix`");
    fs_err::remove_file(world.root.join("modules/new.nix")).unwrap();
    world.deploy(For::Production, &folder).ends(0);
    let history = world.run(&["history", "--stage", "full", "--json"]).ends(0).json();
    assert_eq!(history[0]["reviewed"], true);
    assert_eq!(history[0]["source"], "folder");
    let before = world.versions(For::Twin);
    world
        .verb("deploy", For::Production, &folder, &[])
        .ends(0)
        .says("2 objects are as they should be");
    assert_eq!(before, world.versions(For::Twin));
    // A golden is no project for a real cluster.
    world
        .verb("deploy", For::Production, "k8s/golden/prod/full", &["--yes"])
        .ends(8)
        .says("a golden goes to an embedded local cluster only");
}

fn wrong(world: &World) {
    let folder = project(world, "2");
    let path = ".xtask/kubeconfigs/prod.yaml";
    let own = fs_err::read_to_string(world.root.join(path)).unwrap();
    let dev = fs_err::read_to_string(world.root.join(".xtask/kubeconfigs/dev.yaml")).unwrap();
    let before = world.versions(For::Dev);
    world.write_private(path, &rename_context(&dev, "dev", "prod"));
    world
        .deploy(For::Production, &folder)
        .ends(8)
        .says("this is not cluster `prod`");
    world
        .run(&["adopt", "--cluster", "prod", "--yes"])
        .ends(8)
        .says("a production cluster is adopted by a person");
    world.write_private(
        path,
        &own.replace("    server:", "    insecure-skip-tls-verify: true\n    server:"),
    );
    world
        .deploy(For::Production, &folder)
        .ends(8)
        .says("turns the verification");
    world.write_private(path, &own);
    assert_eq!(before, world.versions(For::Dev), "the wrong cluster was written to");
    world
        .run(&["deploy", "--stage", "local", "--cluster", "prod", "--yes"])
        .ends(8)
        .says("stage `local` never goes to production");
    // Production without a committed UID.
    let facts = fs_err::read_to_string(world.root.join("platform.json")).unwrap();
    let mut without: serde_json::Value = serde_json::from_str(&facts).unwrap();
    without["clusters"]["prod"]["uid"] = serde_json::Value::Null;
    world.write("platform.json", &without.to_string());
    world
        .deploy(For::Production, &folder)
        .ends(8)
        .says("cargo xtask adopt --cluster prod");
    world.write("platform.json", &facts);
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
        .prints("lease.take");
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

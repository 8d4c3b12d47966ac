//! Prune on a real API server.

use serde_json::json;

use crate::Test;
use crate::world::{For, World, config_map, finish, item, namespace};

pub(crate) const TESTS: &[Test] = &[
    ("prune_deletes_what_it_showed_and_keeps_what_is_protected", prune),
    ("a_namespace_goes_only_by_its_name_and_shows_what_goes_along", cascade),
    (
        "prune_is_refused_before_a_clean_deploy_and_when_most_of_a_stage_would_go",
        refused,
    ),
    (
        "resume_deletes_nothing_that_this_command_line_and_project_did_not_show",
        resumed_otherwise,
    ),
];

fn many(namespace: &str) -> Vec<serde_json::Value> {
    (0..40)
        .map(|index| config_map(namespace, &format!("m{index}"), json!({"a": "1"})))
        .collect()
}

fn prune(world: &World) {
    let with = |more: Vec<serde_json::Value>| {
        let mut objects = vec![namespace("prune")];
        objects.extend(many("prune"));
        objects.extend(more);
        world.project("prune", For::Twin, &[item("base", "base", objects)])
    };
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "prune"}, "data": {"a": "Yg=="}});
    let mut keep = config_map("prune", "keep", json!({}));
    keep["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
    let project = with(vec![
        config_map("prune", "gone", json!({})),
        config_map("prune", "shared", json!({})),
        keep,
        secret,
    ]);
    world.deploy(For::Twin, &project).ends(0);
    // An object that a controller copied carries the label, but kluctl never applied it.
    let mut copy = config_map("prune", "copy", json!({}));
    copy["metadata"]["labels"] = json!({"kluctl.io/discriminator": For::Twin.discriminator()});
    world.write("projects/copy.json", &copy.to_string());
    world.kubectl(For::Twin, &["create", "--filename=projects/copy.json"]);
    let project = with(vec![config_map("prune", "shared", json!({}))]);
    world
        .deploy(For::Twin, &project)
        .ends(0)
        .says("ConfigMap/prune/gone is no longer in the project");
    let before = world.versions(For::Twin);
    let uid = world.object(For::Twin, "configmap", "prune", "gone")["metadata"]["uid"]
        .as_str()
        .unwrap()
        .to_owned();
    world
        .verb("prune", For::Twin, &project, &["--dry-run"])
        .ends(0)
        .says(&format!("- ConfigMap/prune/gone (uid {uid})"))
        .says("Secret/prune/s stays: takes data or objects along")
        .says("ConfigMap/prune/keep stays: is annotated `helm.sh/resource-policy: keep`")
        .says("ConfigMap/prune/copy stays: kluctl never applied it");
    world
        .verb("prune", For::Twin, &project, &[])
        .ends(8)
        .says("`--yes` answers this prompt");
    assert_eq!(before, world.versions(For::Twin), "a declined prune wrote something");
    world
        .verb(
            "prune",
            For::Twin,
            &project,
            &["--allow-delete", "Secret/prune/*", "--yes"],
        )
        .ends(3);
    world
        .verb(
            "prune",
            For::Twin,
            &project,
            &["--allow-delete", "Secret/prune/s", "--save-plan", "projects/prune.json"],
        )
        .ends(0);
    // Made anew under the same name, it is another object: the saved plan is stale, and a new one is needed.
    world.kubectl(For::Twin, &["delete", "secret", "s", "--namespace=prune"]);
    world
        .run(&["prune", "--stage", "local", "--plan", "projects/prune.json"])
        .ends(8)
        .says("live object Secret/prune/s: is gone");
    world.verb("prune", For::Twin, &project, &["--yes"]).ends(0);
    let after = world.versions(For::Twin);
    // What the cluster was brought up with is in no project here, so that the first prune of all takes it along.
    let gone: Vec<&String> = before
        .keys()
        .filter(|name| !after.contains_key(*name) && *name != "ConfigMap/default/greeting")
        .collect();
    assert_eq!(gone, ["ConfigMap/prune/gone", "Secret/prune/s"]);
    world
        .verb("prune", For::Twin, &project, &["--yes"])
        .ends(0)
        .says("nothing to delete");
}

fn resumed_otherwise(world: &World) {
    let with = |name: &str, more: Vec<serde_json::Value>| {
        let mut objects = vec![namespace("resumed")];
        objects.extend(many("resumed"));
        objects.extend(more);
        world.project(name, For::Twin, &[item("base", "base", objects)])
    };
    let state = || vec![namespace("abuse"), config_map("abuse", "state", json!({}))];
    let mut whole = vec![config_map("resumed", "old", json!({}))];
    whole.extend(state());
    let before = with("resumed", whole);
    crate::faults::alone(world, &before);
    let removed = with("removed", vec![config_map("resumed", "old", json!({}))]);
    world.deploy(For::Twin, &removed).ends(0);
    let folder = |name: &str| format!("projects/{name}");
    let mut killed = world.command();
    killed.env("XTASK_CRASH", "acted:lease.check").args([
        "prune",
        "--stage=local",
        "--cluster=twin",
        "--source",
        &folder("removed"),
        "--allow-delete=Namespace/abuse",
        "--yes",
    ]);
    assert_eq!(finish(&mut killed).code, -1, "it was to be killed");
    let prune =
        |project: &str, more: &[&str]| world.verb("prune", For::Twin, &folder(project), &[&["--yes"], more].concat());
    // The same project under another command line, and the other way round.
    prune("removed", &["--resume"])
        .ends(8)
        .says("`--allow-delete`: it was `Namespace/abuse`, now it is not given");
    // The removal was a mistake: it is reverted, and another object goes.
    let id =
        world.object(For::Twin, "lease", "kube-system", "xtask-twin")["metadata"]["annotations"]["vanixiets.dev/nonce"]
            .as_str()
            .unwrap()
            .to_owned();
    world
        .run(&["unlock", "--cluster", "twin", "--id", &id, "--yes"])
        .ends(0);
    world.deploy(For::Twin, &folder("resumed")).ends(0);
    with("reverted", state());
    world.deploy(For::Twin, &folder("reverted")).ends(0);
    prune("reverted", &["--resume"])
        .ends(8)
        .says("- ConfigMap/resumed/old")
        .says("`--source`: it was `projects/removed`, now it is `projects/reverted`");
    world.kubectl(For::Twin, &["get", "configmap", "state", "--namespace=abuse"]);
    // A run of the same project is not the same when the project has changed since.
    with("removed", state());
    prune("removed", &["--resume", "--allow-delete=Namespace/abuse"]).ends(3);
    prune("reverted", &[]).ends(0);
    world.kubectl(For::Twin, &["get", "configmap", "state", "--namespace=abuse"]);
}

fn cascade(world: &World) {
    let with = |more: Vec<serde_json::Value>| {
        let mut objects = vec![namespace("prune")];
        objects.extend(many("prune"));
        objects.extend(more);
        world.project("cascade", For::Twin, &[item("base", "base", objects)])
    };
    world
        .deploy(
            For::Twin,
            &with(vec![namespace("cascade"), config_map("cascade", "x", json!({}))]),
        )
        .ends(0);
    world.kubectl(For::Twin, &["create", "configmap", "by-hand", "--namespace=cascade"]);
    let project = with(Vec::new());
    world.deploy(For::Twin, &project).ends(0);
    world
        .verb("prune", For::Twin, &project, &["--yes"])
        .ends(0)
        .says("Namespace/cascade stays");
    world
        .verb(
            "prune",
            For::Twin,
            &project,
            &["--yes", "--allow-delete", "Namespace/cascade"],
        )
        .ends(0)
        .says("takes along ConfigMap/cascade/by-hand");
    world.try_kubectl(For::Twin, &["get", "namespace", "cascade"]).ends(1);
}

fn refused(world: &World) {
    let small = world.project(
        "small",
        For::Twin,
        &[item(
            "base",
            "base",
            vec![namespace("prune"), config_map("prune", "new", json!({}))],
        )],
    );
    world
        .verb("prune", For::Twin, &small, &["--yes"])
        .ends(8)
        .says("only a clean deploy is pruned");
    world.deploy(For::Twin, &small).ends(0);
    world
        .verb("prune", For::Twin, &small, &["--yes"])
        .ends(8)
        .says("more than 20 %")
        .says("--save-plan");
    world
        .verb("prune", For::Twin, &small, &["--save-plan", "projects/large.json"])
        .ends(0);
    world
        .run(&[
            "prune",
            "--stage",
            "local",
            "--cluster",
            "dev",
            "--plan",
            "projects/large.json",
        ])
        .ends(3)
        .says("--cluster twin");
    // What was saved was reviewed: it is applied without a terminal, and nothing but it.
    world
        .run(&["prune", "--stage", "local", "--plan", "projects/large.json"])
        .ends(0);
    world.kubectl(
        For::Twin,
        &["get", "configmap", "keep", "new", "copy", "--namespace=prune"],
    );
    world
        .try_kubectl(For::Twin, &["get", "configmap", "m0", "--namespace=prune"])
        .ends(1);
}

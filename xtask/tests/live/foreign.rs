//! Fields that people and tools have beside the project, on a real API server.

use serde_json::{Value, json};

use crate::Test;
use crate::world::{For, World, config_map, item, namespace};

/// The tests, by name.
pub(crate) const TESTS: &[Test] = &[
    (
        "what_a_person_added_is_named_and_taken_back_where_it_is_asked_for",
        added,
    ),
    (
        "a_field_that_leaves_the_project_and_stays_is_a_failure_with_its_remedy",
        staying,
    ),
    ("a_default_may_stay_and_what_the_server_keeps_may_not", kept),
];

fn deployment(namespace: &str, spec: Value) -> Value {
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": {"metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "a", "image": "a"}]}}}});
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

fn added(world: &World) {
    let project = world.project(
        "added",
        For::Twin,
        &[item(
            "base",
            "base",
            vec![
                namespace("added"),
                config_map("added", "x", json!({"a": "1"})),
                deployment("added", json!({"replicas": 0})),
            ],
        )],
    );
    world.deploy(For::Twin, &project).ends(0);
    world.verb("drift", For::Twin, &project, &["--exit-code"]).ends(0);
    let on = ["--namespace=added"];
    let by_hand: [&[&str]; 5] = [
        &["label", "configmap", "x", "team=red"],
        &["patch", "configmap", "x", r#"--patch={"data":{"debug":"true"}}"#],
        &["set", "env", "deployment/a", "DEBUG=1"],
        &[
            "patch",
            "deployment",
            "a",
            r#"--patch={"spec":{"template":{"spec":{"nodeSelector":{"disk":"fast"}}}}}"#,
        ],
        &["rollout", "restart", "deployment/a"],
    ];
    for args in by_hand {
        world.kubectl(For::Twin, &[args, &on].concat());
    }
    world
        .deploy(For::Twin, &project)
        .ends(0)
        .says("2 objects have fields that others added");
    let mut drift = world
        .verb("drift", For::Twin, &project, &["--exit-code"])
        .ends(4)
        .says("2 objects of 3 drifted")
        .prints("`deploy --reset ConfigMap/added/x` takes it away");
    for words in [
        "metadata.labels.team (`kubectl-label` at ",
        "data.debug (`kubectl-patch` at ",
        "spec.template.spec.containers[name=a].env (`kubectl-set` at ",
        "spec.template.spec.nodeSelector (`kubectl-patch` at ",
    ] {
        drift = drift.prints(words);
    }
    assert!(!drift.stdout.contains("restartedAt"), "{}", drift.stdout);
    let json = world.verb("drift", For::Twin, &project, &["--json"]).ends(0).json();
    assert_eq!(json["foreign"][0]["fields"].as_array().unwrap().len(), 2, "{json}");

    world
        .deploy_with(For::Twin, &project, &["--reset", "ConfigMap/added/y"])
        .ends(3)
        .says("`ConfigMap/added/y` is no object of the project");
    let names = ["--reset", "ConfigMap/added/x", "--reset", "Deployment/added/a"];
    world
        .verb("deploy", For::Twin, &project, &names)
        .ends(8)
        .says("cancelled before step");
    world
        .deploy_with(For::Twin, &project, &names)
        .ends(0)
        .says("2 objects belong to the project alone now");
    let map = world.object(For::Twin, "configmap", "added", "x");
    assert_eq!(map["data"], json!({"a": "1"}));
    assert_eq!(map["metadata"]["labels"].get("team"), None, "{map}");
    let pods = &world.object(For::Twin, "deployment", "added", "a")["spec"]["template"]["spec"];
    assert_eq!(pods["containers"][0].get("env"), None, "{pods}");
    assert_eq!(pods.get("nodeSelector"), None, "{pods}");
    world.verb("drift", For::Twin, &project, &["--exit-code"]).ends(0);
}

fn staying(world: &World) {
    let debug = json!([{"name": "DEBUG", "value": "1"}]);
    let with = |data: Value, env: Option<&Value>| {
        let mut workload = deployment("staying", json!({"replicas": 0}));
        if let Some(env) = env {
            workload["spec"]["template"]["spec"]["containers"][0]["env"] = env.clone();
        }
        vec![config_map("staying", "x", data), workload]
    };
    world.kubectl(For::Twin, &["create", "namespace", "staying"]);
    for (verb, object) in ["apply", "create"]
        .into_iter()
        .zip(with(json!({"keep": "1", "debug": "true"}), Some(&debug)))
    {
        world.write("projects/by-hand.json", &object.to_string());
        world.kubectl(For::Twin, &[verb, "--filename=projects/by-hand.json"]);
    }
    let project = |name: &str, data: Value, env: Option<&Value>| {
        let mut objects = with(data, env);
        objects.insert(0, namespace("staying"));
        world.project(name, For::Twin, &[item("base", "base", objects)])
    };
    let before = project("staying-1", json!({"keep": "1", "debug": "true"}), Some(&debug));
    world.deploy(For::Twin, &before).ends(0);
    let after = project("staying-2", json!({"keep": "1"}), None);
    let failed = world
        .deploy(For::Twin, &after)
        .ends(6)
        .says("ConfigMap/staying/x: data.debug: `kubectl-client-side-apply` has it, too, since ")
        .says("Deployment/staying/a: spec.template.spec.containers[name=a].env: `kubectl-create` has it, too, since ");
    world
        .verb("diff", For::Twin, &after, &[])
        .ends(0)
        .prints("data.debug (`kubectl-client-side-apply` at ");
    // What the failure says to do, done.
    let names = " --reset ConfigMap/staying/x --reset Deployment/staying/a` takes back";
    failed.says(names);
    world
        .deploy_with(For::Twin, &after, &["--reset", "ConfigMap/staying/x"])
        .ends(0);
    assert_eq!(
        world.object(For::Twin, "configmap", "staying", "x")["data"],
        json!({"keep": "1"})
    );
    world
        .deploy_with(For::Twin, &after, &["--reset", "Deployment/staying/a"])
        .ends(0);
    let object = world.object(For::Twin, "deployment", "staying", "a");
    assert_eq!(
        object["spec"]["template"]["spec"]["containers"][0].get("env"),
        None,
        "{object}"
    );
}

fn kept(world: &World) {
    let service = |address: Value| {
        let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "kept"},
            "spec": {"selector": {"app": "a"}, "ports": [{"port": 80, "protocol": "TCP"}]}});
        if !address.is_null() {
            service["spec"]["clusterIP"] = address;
        }
        service
    };
    let project = |name: &str, address: Value, spec: Value| {
        let objects = vec![namespace("kept"), service(address), deployment("kept", spec)];
        world.project(name, For::Twin, &[item("base", "base", objects)])
    };
    let before = project("kept-1", json!("None"), json!({"replicas": 1, "paused": true}));
    world.deploy(For::Twin, &before).ends(0);
    // One replica is what a Deployment has that says nothing.
    let default = project("kept-2", json!("None"), json!({}));
    world.deploy(For::Twin, &default).ends(0);
    let after = project("kept-3", Value::Null, json!({}));
    world
        .deploy(For::Twin, &after)
        .ends(6)
        .says("Service/kept/s: spec.clusterIP: no manager has it, the API server keeps it")
        .says("only a new object is without it");
    world.kubectl(For::Twin, &["delete", "service", "s", "--namespace=kept"]);
    world.deploy(For::Twin, &after).ends(0);
    let address = &world.object(For::Twin, "service", "kept", "s")["spec"]["clusterIP"];
    assert_ne!(address, "None");
}

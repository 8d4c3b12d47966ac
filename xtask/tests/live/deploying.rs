//! Deploys, the no-op oracle, diff and drift.

use serde_json::{Value, json};

use crate::Test;
use crate::world::{For, World, config, item, namespace};

pub(crate) const TESTS: &[Test] = &[
    ("a_crd_and_its_custom_resource_go_through_in_one_pass", crd_and_resource),
    ("a_second_deploy_writes_nothing_at_all", no_op),
    (
        "quantities_defaults_list_maps_and_empty_values_are_no_difference",
        no_false_positives,
    ),
    ("a_hand_edit_is_found_shown_and_mended_alone", hand_edit),
    (
        "a_removed_field_and_a_foreign_owner_of_one_leaf_are_found",
        removed_and_foreign,
    ),
    (
        "a_field_removed_from_the_project_is_removed_from_the_cluster",
        removed_from_project,
    ),
    ("only_a_part_is_deployed_and_the_ledger_says_so", only_a_part),
    (
        "a_lost_field_ends_with_the_object_the_field_and_the_manager",
        lost_field,
    ),
    (
        "an_object_that_is_being_deleted_is_never_taken_for_deployed",
        terminating,
    ),
    ("a_missed_gate_is_a_missed_deadline", missed_gate),
    ("diff_masks_secrets_and_its_code_tells_a_difference", diff_masks),
];

fn definition(group: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("things.{group}"), "annotations": {"kluctl.io/skip-delete": "true"}},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things", "singular": "thing", "listKind": "ThingList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    })
}

fn crd_and_resource(world: &World) {
    let project = world.project(
        "crd",
        For::Dev,
        &[
            item("base", "base", vec![namespace("crd")]),
            item("crds", "base", vec![definition("t.example.org")]).waiting(),
            item(
                "things",
                "things",
                vec![json!({
                    "apiVersion": "t.example.org/v1", "kind": "Thing",
                    "metadata": {"name": "one", "namespace": "crd"}, "spec": {"a": 1},
                })],
            ),
        ],
    );
    world.deploy(For::Dev, &project).ends(0);
    assert_eq!(
        world.object(For::Dev, "things.t.example.org", "crd", "one")["spec"]["a"],
        1
    );
    world
        .deploy(For::Dev, &project)
        .ends(0)
        .says("3 objects are as they should be");
}

fn no_op(world: &World) {
    let project = world.project(
        "no-op",
        For::Dev,
        &[item(
            "base",
            "base",
            vec![namespace("no-op"), config("no-op", "a", json!({"k": "v"}))],
        )],
    );
    world.deploy(For::Dev, &project).ends(0);
    let before = world.versions(For::Dev);
    assert!(
        before.contains_key("ConfigMap/kube-system/xtask-dev"),
        "the first deploy wrote its ledger entry"
    );
    world
        .deploy(For::Dev, &project)
        .ends(0)
        .says("2 objects are as they should be");
    assert_eq!(before, world.versions(For::Dev));
    assert!(
        !before.contains_key("Lease/kube-system/xtask-dev"),
        "the Lease was given back"
    );
}

fn no_false_positives(world: &World) {
    let labels = json!({"app": "q"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "q", "namespace": "values"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {
                "containers": [{
                    "name": "q", "image": "example.org/q:1",
                    "ports": [{"containerPort": 80}, {"containerPort": 81, "protocol": "UDP", "name": "u"}],
                    "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": 2}},
                    "env": [{"name": "A", "value": ""}, {"name": "B", "value": "1"}],
                    "securityContext": {}, "volumeMounts": [{"name": "e", "mountPath": "/e"}],
                }],
                "volumes": [{"name": "e", "emptyDir": {}}],
                "nodeSelector": {},
            }},
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "q", "namespace": "values"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 80, "name": "t"}, {"port": 81, "protocol": "UDP", "name": "u"}]},
    });
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "values"},
        "spec": {"hard": {"pods": 10, "requests.cpu": "0.5"}},
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "q", "namespace": "values"},
        "type": "Opaque", "data": {"a": "Yg=="},
    });
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "t-values"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}],
    });
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "q", "namespace": "values"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 80}]}]},
    });
    let project = world.project(
        "values",
        For::Dev,
        &[item(
            "base",
            "base",
            vec![namespace("values"), deployment, service, quota, secret, role, policy],
        )],
    );
    world.deploy(For::Dev, &project).ends(0);
    world
        .verb("diff", For::Dev, &project, &["--exit-code"])
        .ends(4)
        // What other tests left is orphaned; of this project nothing differs.
        .says("0 objects of 7 would change");
}

fn hand_edit(world: &World) {
    let project = world.project(
        "edit",
        For::Dev,
        &[
            item(
                "base",
                "base",
                vec![namespace("edit"), config("edit", "one", json!({"a": "1"}))],
            ),
            item("other", "base", vec![config("edit", "two", json!({"a": "1"}))]),
        ],
    );
    world.deploy(For::Dev, &project).ends(0);
    let patch = r#"{"data":{"a":"edited"}}"#;
    world.kubectl(
        For::Dev,
        &[
            "patch",
            "configmap",
            "one",
            "--namespace=edit",
            "--type=merge",
            "--patch",
            patch,
            "--field-manager=kubectl-somebody",
        ],
    );
    let before = world.versions(For::Dev);
    world
        .verb("diff", For::Dev, &project, &[])
        .ends(0)
        .prints("~ ConfigMap/edit/one")
        .prints(r#"data.a: "edited" -> "1" [taken by `kubectl-somebody`"#);
    world
        .run(&["drift", "--stage", "local", "--exit-code"])
        .ends(4)
        .prints("[taken by `kubectl-somebody` at 2");
    assert_eq!(before, world.versions(For::Dev), "diff and drift wrote something");
    world.deploy(For::Dev, &project).ends(0);
    let after = world.versions(For::Dev);
    let moved: Vec<&String> = after
        .iter()
        .filter(|(name, version)| before.get(*name) != Some(version))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(moved, ["ConfigMap/edit/one", "ConfigMap/kube-system/xtask-dev"]);
    assert_eq!(world.object(For::Dev, "configmap", "edit", "one")["data"]["a"], "1");
}

fn removed_and_foreign(world: &World) {
    let project = world.project(
        "foreign",
        For::Dev,
        &[item(
            "base",
            "base",
            vec![
                namespace("foreign"),
                config("foreign", "removed", json!({"a": "1", "b": "2"})),
                config("foreign", "taken", json!({"a": "1", "b": "2"})),
                config("foreign", "shared", json!({"a": "1"})),
            ],
        )],
    );
    world.deploy(For::Dev, &project).ends(0);
    let patch = r#"[{"op":"remove","path":"/data/b"}]"#;
    world.kubectl(
        For::Dev,
        &[
            "patch",
            "configmap",
            "removed",
            "--namespace=foreign",
            "--type=json",
            "--patch",
            patch,
        ],
    );
    let apply = |name: &str, data: Value| {
        let path = format!("projects/{name}.apply.json");
        world.write(&path, &config("foreign", name, data).to_string());
        world.kubectl(
            For::Dev,
            &[
                "apply",
                "--server-side",
                "--force-conflicts",
                "--field-manager=kubectl-other",
                "--filename",
                &path,
            ],
        );
    };
    // The same value by another manager's apply is shared, and taken by force when it is another one.
    apply("taken", json!({"b": "3"}));
    apply("shared", json!({"a": "1"}));
    let report = world.verb("diff", For::Dev, &project, &["--json"]).ends(0).json();
    let changed: Vec<&str> = report["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["object"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(changed, ["removed", "taken"], "{report}");
    assert_eq!(report["changes"][0]["fields"][0]["path"], "data.b");
    assert_eq!(
        report["changes"][1]["fields"][0]["owners"][0]["manager"],
        "kubectl-other"
    );
    world.deploy(For::Dev, &project).ends(0);
    assert_eq!(
        world.object(For::Dev, "configmap", "foreign", "removed")["data"]["b"],
        "2"
    );
    assert_eq!(
        world.object(For::Dev, "configmap", "foreign", "taken")["data"]["b"],
        "2"
    );
}

fn removed_from_project(world: &World) {
    let with = |data: Value| {
        world.project(
            "shrink",
            For::Dev,
            &[item(
                "base",
                "base",
                vec![namespace("shrink"), config("shrink", "x", data)],
            )],
        )
    };
    let project = with(json!({"a": "1", "b": "2"}));
    world.deploy(For::Dev, &project).ends(0);
    let project = with(json!({"a": "1"}));
    world
        .verb("diff", For::Dev, &project, &[])
        .ends(0)
        .prints(r#"data.b: "2" -> (removed)"#);
    world.deploy(For::Dev, &project).ends(0);
    assert_eq!(
        world.object(For::Dev, "configmap", "shrink", "x")["data"],
        json!({"a": "1"})
    );
}

fn only_a_part(world: &World) {
    let project = world.project(
        "only",
        For::Dev,
        &[
            item(
                "base",
                "base",
                vec![namespace("only"), config("only", "one", json!({"a": "1"}))],
            ),
            item("other", "late", vec![config("only", "two", json!({"a": "1"}))]),
        ],
    );
    world
        .verb("deploy", For::Dev, &project, &["--only", "bse"])
        .ends(3)
        .says("did you mean `base`?");
    world
        .verb(
            "deploy",
            For::Dev,
            &project,
            &["--only", "base", "--reason", "a part first"],
        )
        .ends(0);
    world
        .try_kubectl(For::Dev, &["get", "configmap", "two", "--namespace=only"])
        .ends(1);
    let history = world.run(&["history", "--stage", "local", "--json"]).ends(0).json();
    let last = history.as_array().unwrap().last().unwrap();
    assert_eq!(last["only"], "base");
    assert_eq!(last["reason"], "a part first");
    assert_eq!(last["objects"], 2);
    assert!(
        last["revision"].as_str().is_some_and(|revision| revision.len() == 40),
        "{last}"
    );
    assert!(last["tools"]["kluctl"].is_string(), "{last}");
    world.deploy(For::Dev, &project).ends(0);
    world.kubectl(For::Dev, &["get", "configmap", "two", "--namespace=only"]);
}

fn lost_field(world: &World) {
    let project = |value: &str| {
        world.project(
            "lost",
            For::Dev,
            &[item(
                "base",
                "base",
                vec![namespace("lost"), config("lost", "x", json!({"a": value}))],
            )],
        )
    };
    world.deploy(For::Dev, &project("1")).ends(0);
    world.write(
        "projects/lost.json",
        &config("lost", "x", json!({"a": "theirs"})).to_string(),
    );
    world.kubectl(
        For::Dev,
        &[
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=clusterctl",
            "--filename=projects/lost.json",
        ],
    );
    world
        .deploy(For::Dev, &project("2"))
        .ends(6)
        .says("ConfigMap/lost/x")
        .says("clusterctl")
        .says("data.a")
        .says("--field-manager=kluctl");
    assert_eq!(world.object(For::Dev, "configmap", "lost", "x")["data"]["a"], "theirs");
    assert!(
        !world.versions(For::Dev).contains_key("Lease/kube-system/xtask-dev"),
        "a failed run gives its Lease back"
    );
    world.kubectl(For::Dev, &["delete", "namespace", "lost"]);
}

fn terminating(world: &World) {
    let project = world.project(
        "going",
        For::Dev,
        &[item(
            "base",
            "base",
            vec![namespace("going"), config("going", "x", json!({"a": "1"}))],
        )],
    );
    world.deploy(For::Dev, &project).ends(0);
    let patch = |finalizers: &str| {
        let patch = format!(r#"{{"metadata":{{"finalizers":{finalizers}}}}}"#);
        world.kubectl(
            For::Dev,
            &[
                "patch",
                "configmap",
                "x",
                "--namespace=going",
                "--type=merge",
                "--patch",
                &patch,
            ],
        );
    };
    patch(r#"["t.example.org/held"]"#);
    world.kubectl(
        For::Dev,
        &["delete", "configmap", "x", "--namespace=going", "--wait=false"],
    );
    let run = world.deploy(For::Dev, &project).says("ConfigMap/going/x");
    assert!([6, 7].contains(&run.code), "{}", run.stderr);
    patch("[]");
    world.deploy(For::Dev, &project).ends(0);
    assert_eq!(
        world.object(For::Dev, "configmap", "going", "x")["data"],
        json!({"a": "1"})
    );
}

fn missed_gate(world: &World) {
    let gates = json!([{
        "id": "base.never", "component": "base", "phase": "base", "needs": "api", "timeoutSeconds": 2,
        "object": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "gate", "name": "never"},
        "condition": {"type": "exists"},
    }]);
    let items = [item(
        "base",
        "base",
        vec![namespace("gate"), config("gate", "x", json!({"a": "1"}))],
    )];
    let project = world.project_with_gates("gate", For::Dev, &items, &gates);
    world
        .deploy(For::Dev, &project)
        .ends(7)
        .says("gate `base.never`: ConfigMap/gate/never does not exist yet");
    world.kubectl(For::Dev, &["create", "configmap", "never", "--namespace=gate"]);
    world.deploy(For::Dev, &project).ends(0);
}

fn diff_masks(world: &World) {
    let secret = |value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "mask"}, "type": "Opaque", "data": {"p": value}});
    let with = |value: &str| {
        world.project(
            "mask",
            For::Dev,
            &[item("base", "base", vec![namespace("mask"), secret(value)])],
        )
    };
    let project = with("b2xk");
    world
        .verb("diff", For::Dev, &project, &["--exit-code"])
        .ends(4)
        .prints("+ Secret/mask/s");
    world.deploy(For::Dev, &project).ends(0);
    let project = with("bmV3");
    let run = world
        .verb("diff", For::Dev, &project, &["--exit-code"])
        .ends(4)
        .prints("data.p: ");
    assert!(
        !run.stdout.contains("b2xk") && !run.stdout.contains("bmV3"),
        "{}",
        run.stdout
    );
    let json = world
        .verb("diff", For::Dev, &project, &["--json"])
        .ends(0)
        .prints("*****");
    assert!(
        !json.stdout.contains("b2xk") && !json.stdout.contains("bmV3"),
        "{}",
        json.stdout
    );
}

//! Deploys, the no-op oracle, diff and drift.

use serde_json::{Value, json};

use crate::Test;
use crate::world::{For, World, config_map, finish, item, namespace};

pub(crate) const TESTS: &[Test] = &[
    ("a_crd_and_its_custom_resource_go_through_in_one_pass", crd_and_resource),
    ("a_second_deploy_writes_nothing_at_all", no_op),
    ("a_hand_edit_is_found_shown_and_mended_alone", hand_edit),
    (
        "a_removed_field_and_a_foreign_owner_of_one_leaf_are_found",
        removed_and_foreign,
    ),
    (
        "a_field_removed_from_the_project_is_removed_from_the_cluster",
        removed_from_project,
    ),
    ("only_a_part_is_deployed_and_the_history_says_so", only_a_part),
    (
        "a_lost_field_ends_with_the_object_the_field_and_the_manager",
        lost_field,
    ),
    (
        "an_object_that_is_being_deleted_is_never_taken_for_deployed",
        terminating,
    ),
    ("a_missed_gate_is_a_missed_deadline", missed_gate),
    (
        "a_workload_that_is_not_ready_in_time_is_a_missed_deadline_with_its_events",
        not_ready,
    ),
    (
        "a_field_that_cannot_change_ends_with_the_object_and_the_field",
        immutable,
    ),
    ("nothing_is_taken_from_another_stage_unless_that_is_said", another_stage),
    ("a_stage_that_was_rendered_empty_is_refused", empty),
    (
        "a_reason_that_would_not_fit_into_the_history_is_refused_before_anything",
        long_reason,
    ),
];

/// Tests with plain Secrets, which no golden may hold, and of what production has a test of its own for.
pub(crate) const LOCAL: &[Test] = &[
    (
        "quantities_defaults_list_maps_and_empty_values_are_no_difference",
        no_false_positives,
    ),
    ("diff_masks_secrets_and_its_code_tells_a_difference", diff_masks),
    (
        "names_and_folders_with_characters_of_a_shell_are_names_and_folders",
        odd_names,
    ),
    ("a_dead_apiservice_is_named_where_it_hurts", dead_apiservice),
    (
        "an_object_that_goes_into_a_namespace_that_is_going_is_not_taken_for_deployed",
        going_namespace,
    ),
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
        world.on(),
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
    world.deploy(world.on(), &project).ends(0);
    assert_eq!(
        world.object(world.on(), "things.t.example.org", "crd", "one")["spec"]["a"],
        1
    );
    world
        .deploy(world.on(), &project)
        .ends(0)
        .says("3 objects are as they should be");
}

fn no_op(world: &World) {
    let project = world.project(
        "no-op",
        world.on(),
        &[item(
            "base",
            "base",
            vec![namespace("no-op"), config_map("no-op", "a", json!({"k": "v"}))],
        )],
    );
    world.deploy(world.on(), &project).ends(0);
    let before = world.versions(world.on());
    assert!(
        before.contains_key(&world.own("ConfigMap")),
        "the first deploy wrote its deployment history entry"
    );
    world
        .deploy(world.on(), &project)
        .ends(0)
        .says("2 objects are as they should be");
    assert_eq!(before, world.versions(world.on()));
    assert!(!before.contains_key(&world.own("Lease")), "the Lease was given back");
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
    let plain = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "p", "namespace": "values"},
        "type": "Opaque", "stringData": {"a": "b"},
    });
    let project = world.project(
        "values",
        world.on(),
        &[item(
            "base",
            "base",
            vec![
                namespace("values"),
                deployment,
                service,
                quota,
                secret,
                plain,
                role,
                policy,
            ],
        )],
    );
    world.deploy(world.on(), &project).ends(0);
    world
        .verb("diff", world.on(), &project, &["--exit-code"])
        .ends(4)
        // What other tests left is orphaned; of this project nothing differs.
        .says("0 objects of 8 would change");
}

fn hand_edit(world: &World) {
    let project = world.project(
        "edit",
        world.on(),
        &[
            item(
                "base",
                "base",
                vec![namespace("edit"), config_map("edit", "one", json!({"a": "1"}))],
            ),
            item("other", "base", vec![config_map("edit", "two", json!({"a": "1"}))]),
        ],
    );
    world.deploy(world.on(), &project).ends(0);
    let patch = r#"{"data":{"a":"edited"}}"#;
    world.kubectl(
        world.on(),
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
    let before = world.versions(world.on());
    world
        .verb("diff", world.on(), &project, &[])
        .ends(0)
        .prints("~ ConfigMap/edit/one")
        .prints(r#"data.a: "edited" -> "1" [taken by `kubectl-somebody`"#);
    world
        .run(&["drift", "--stage", world.on().stage(), "--exit-code"])
        .ends(4)
        .prints("[taken by `kubectl-somebody` at 2");
    assert_eq!(before, world.versions(world.on()), "diff and drift wrote something");
    world.deploy(world.on(), &project).ends(0);
    let after = world.versions(world.on());
    let moved: Vec<&String> = after
        .iter()
        .filter(|(name, version)| before.get(*name) != Some(version))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(moved, ["ConfigMap/edit/one", &world.own("ConfigMap")]);
    assert_eq!(world.object(world.on(), "configmap", "edit", "one")["data"]["a"], "1");
}

fn removed_and_foreign(world: &World) {
    let project = world.project(
        "foreign",
        world.on(),
        &[item(
            "base",
            "base",
            vec![
                namespace("foreign"),
                config_map("foreign", "removed", json!({"a": "1", "b": "2"})),
                config_map("foreign", "taken", json!({"a": "1", "b": "2"})),
                config_map("foreign", "shared", json!({"a": "1"})),
            ],
        )],
    );
    world.deploy(world.on(), &project).ends(0);
    let patch = r#"[{"op":"remove","path":"/data/b"}]"#;
    world.kubectl(
        world.on(),
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
        world.write(&path, &config_map("foreign", name, data).to_string());
        world.kubectl(
            world.on(),
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
    let report = world.verb("diff", world.on(), &project, &["--json"]).ends(0).json();
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
    world.deploy(world.on(), &project).ends(0);
    assert_eq!(
        world.object(world.on(), "configmap", "foreign", "removed")["data"]["b"],
        "2"
    );
    assert_eq!(
        world.object(world.on(), "configmap", "foreign", "taken")["data"]["b"],
        "2"
    );
}

fn removed_from_project(world: &World) {
    let with = |data: Value| {
        world.project(
            "shrink",
            world.on(),
            &[item(
                "base",
                "base",
                vec![namespace("shrink"), config_map("shrink", "x", data)],
            )],
        )
    };
    let project = with(json!({"a": "1", "b": "2"}));
    world.deploy(world.on(), &project).ends(0);
    let project = with(json!({"a": "1"}));
    world
        .verb("diff", world.on(), &project, &[])
        .ends(0)
        .prints(r#"data.b: "2" -> (removed)"#);
    world.deploy(world.on(), &project).ends(0);
    assert_eq!(
        world.object(world.on(), "configmap", "shrink", "x")["data"],
        json!({"a": "1"})
    );
}

fn only_a_part(world: &World) {
    let project = world.project(
        "only",
        world.on(),
        &[
            item(
                "base",
                "base",
                vec![namespace("only"), config_map("only", "one", json!({"a": "1"}))],
            ),
            item("other", "late", vec![config_map("only", "two", json!({"a": "1"}))]),
        ],
    );
    world
        .verb("deploy", world.on(), &project, &["--only", "bse"])
        .ends(3)
        .says("did you mean `base`?");
    world
        .deploy_with(world.on(), &project, &["--only", "base", "--reason", "a part first"])
        .ends(0);
    world
        .try_kubectl(world.on(), &["get", "configmap", "two", "--namespace=only"])
        .ends(1);
    let history = world
        .run(&["history", "--stage", world.on().stage(), "--json"])
        .ends(0)
        .json();
    let last = history["deployments"].as_array().unwrap().last().unwrap();
    assert_eq!(last["only"], "base");
    assert_eq!(last["reason"], "a part first");
    assert_eq!(last["objects"], 2);
    assert!(
        last["revision"].as_str().is_some_and(|revision| revision.len() == 40),
        "{last}"
    );
    assert!(last["tools"]["kluctl"].is_string(), "{last}");
    world.deploy(world.on(), &project).ends(0);
    world.kubectl(world.on(), &["get", "configmap", "two", "--namespace=only"]);
}

fn lost_field(world: &World) {
    let project = |value: &str, annotations: Value| {
        let mut object = config_map("lost", "x", json!({"a": value, "ours": "1"}));
        object["metadata"]["annotations"] = annotations;
        world.project(
            "lost",
            world.on(),
            &[item("base", "base", vec![namespace("lost"), object])],
        )
    };
    let live = || world.object(world.on(), "configmap", "lost", "x")["data"].clone();
    world.deploy(world.on(), &project("1", json!({}))).ends(0);
    world.write(
        "projects/lost.json",
        &config_map("lost", "x", json!({"a": "theirs", "more": "theirs"})).to_string(),
    );
    world.kubectl(
        world.on(),
        &[
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=clusterctl",
            "--filename=projects/lost.json",
        ],
    );
    world
        .deploy(world.on(), &project("2", json!({})))
        .ends(6)
        .says("ConfigMap/lost/x")
        .says("clusterctl")
        .says("data.a")
        .says("`kluctl.io/force-apply-field: <JSON path>`")
        .says("`kluctl.io/ignore-conflicts-field`");
    assert_eq!(live(), json!({"a": "theirs", "ours": "1", "more": "theirs"}));
    assert!(
        !world.versions(world.on()).contains_key(&world.own("Lease")),
        "a failed run gives its Lease back"
    );
    // Both ways out do what they say, and leave the rest of the object alone.
    world
        .deploy(
            world.on(),
            &project("2", json!({"kluctl.io/ignore-conflicts-field": "data.a"})),
        )
        .ends(0);
    assert_eq!(live(), json!({"a": "theirs", "ours": "1", "more": "theirs"}));
    world
        .deploy(
            world.on(),
            &project("2", json!({"kluctl.io/force-apply-field": "data.a"})),
        )
        .ends(0);
    assert_eq!(live(), json!({"a": "2", "ours": "1", "more": "theirs"}));
    world.kubectl(world.on(), &["delete", "namespace", "lost"]);
}

fn terminating(world: &World) {
    let project = world.project(
        "going",
        world.on(),
        &[item(
            "base",
            "base",
            vec![namespace("going"), config_map("going", "x", json!({"a": "1"}))],
        )],
    );
    world.deploy(world.on(), &project).ends(0);
    let patch = |finalizers: &str| {
        let patch = format!(r#"{{"metadata":{{"finalizers":{finalizers}}}}}"#);
        world.kubectl(
            world.on(),
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
        world.on(),
        &["delete", "configmap", "x", "--namespace=going", "--wait=false"],
    );
    let run = world.deploy(world.on(), &project).says("ConfigMap/going/x");
    assert!([6, 7].contains(&run.code), "{}", run.stderr);
    patch("[]");
    world.deploy(world.on(), &project).ends(0);
    assert_eq!(
        world.object(world.on(), "configmap", "going", "x")["data"],
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
        vec![namespace("gate"), config_map("gate", "x", json!({"a": "1"}))],
    )];
    let project = world.project_with_gates("gate", world.on(), &items, &gates);
    world
        .deploy(world.on(), &project)
        .ends(7)
        .says("gate `base.never`: ConfigMap/gate/never does not exist yet")
        .says("    ConfigMap/gate/never does not exist");
    world.kubectl(world.on(), &["create", "configmap", "never", "--namespace=gate"]);
    world.deploy(world.on(), &project).ends(0);
}

fn diff_masks(world: &World) {
    let secret = |value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "mask"}, "type": "Opaque", "data": {"p": value}});
    let with = |value: &str| {
        world.project(
            "mask",
            world.on(),
            &[item("base", "base", vec![namespace("mask"), secret(value)])],
        )
    };
    let project = with("b2xk");
    world
        .verb("diff", world.on(), &project, &["--exit-code"])
        .ends(4)
        .prints("+ Secret/mask/s");
    world.deploy(world.on(), &project).ends(0);
    let project = with("bmV3");
    let run = world
        .verb("diff", world.on(), &project, &["--exit-code"])
        .ends(4)
        .prints("data.p: ");
    assert!(
        !run.stdout.contains("b2xk") && !run.stdout.contains("bmV3"),
        "{}",
        run.stdout
    );
    let json = world
        .verb("diff", world.on(), &project, &["--json"])
        .ends(0)
        .prints("*****");
    assert!(
        !json.stdout.contains("b2xk") && !json.stdout.contains("bmV3"),
        "{}",
        json.stdout
    );
}

fn not_ready(world: &World) {
    let labels = json!({"app": "stuck"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "stuck", "namespace": "stuck"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"nodeSelector": {"no": "such"}, "containers": [{"name": "c", "image": "example.org/c:1"}]},
        }},
    });
    let items = |wait: bool| {
        let item = item("base", "base", vec![namespace("stuck"), deployment.clone()]);
        [if wait { item.waiting() } else { item }]
    };
    let run = |project: &str| {
        let part = world.on();
        if part == For::Production {
            world.bless(part, project);
        }
        let mut command = world.command();
        command.env("XTASK_MAX_WAIT", "4").args([
            "deploy",
            "--yes",
            "--stage",
            part.stage(),
            "--cluster",
            part.cluster(),
            "--source",
            project,
        ]);
        finish(&mut command)
            .ends(7)
            .says("Deployment/stuck/stuck: Available=False")
            .says("is placed on no node (Unschedulable")
            .says("Warning FailedScheduling of Pod stuck-")
    };
    // kluctl waits for it, then a gate does.
    run(&world.project("stuck", world.on(), &items(true))).says("timed out while waiting for readiness");
    let gates = json!([{
        "id": "base.ready", "component": "base", "phase": "base", "needs": "kubelet", "timeoutSeconds": 60,
        "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "stuck", "name": "stuck"},
        "condition": {"type": "podsReady"},
    }]);
    run(&world.project_with_gates("stuck", world.on(), &items(false), &gates))
        .says("gate `base.ready`: Deployment/stuck/stuck has 0 of 1 pods ready");
    world.kubectl(world.on(), &["delete", "namespace", "stuck"]);
}

fn immutable(world: &World) {
    let project = |value: &str| {
        let mut fixed = config_map("fixed", "x", json!({"a": value}));
        fixed["immutable"] = json!(true);
        world.project(
            "fixed",
            world.on(),
            &[item("base", "base", vec![namespace("fixed"), fixed])],
        )
    };
    world.deploy(world.on(), &project("1")).ends(0);
    world
        .deploy(world.on(), &project("2"))
        .ends(6)
        .says("ConfigMap/fixed/x")
        .says("field is immutable")
        .says("cannot be changed in place");
    // The documented way out.
    world.kubectl(world.on(), &["delete", "configmap", "x", "--namespace=fixed"]);
    world.deploy(world.on(), &project("2")).ends(0);
    assert_eq!(world.object(world.on(), "configmap", "fixed", "x")["data"]["a"], "2");
}

fn another_stage(world: &World) {
    let project = world.project(
        "moved",
        world.on(),
        &[item(
            "base",
            "base",
            vec![namespace("moved"), config_map("moved", "x", json!({"a": "1"}))],
        )],
    );
    world.deploy(world.on(), &project).ends(0);
    let label = ["label", "--overwrite", "--namespace=moved", "configmap", "x"];
    world.kubectl(world.on(), &[&label[..], &["kluctl.io/discriminator=t-other"]].concat());
    let before = world.versions(world.on());
    world
        .deploy(world.on(), &project)
        .ends(8)
        .says("ConfigMap/moved/x belongs to stage `t-other`");
    world
        .verb("diff", world.on(), &project, &[])
        .ends(0)
        .prints("! ConfigMap/moved/x (base, belongs to stage `t-other`)");
    world
        .deploy_with(world.on(), &project, &["--take-from", "t-else"])
        .ends(8);
    assert_eq!(before, world.versions(world.on()), "a refused deploy wrote something");
    world
        .deploy_with(world.on(), &project, &["--take-from", "t-other"])
        .ends(0);
    world
        .deploy(world.on(), &project)
        .ends(0)
        .says("2 objects are as they should be");
}

fn empty(world: &World) {
    let project = world.project("void", world.on(), &[item("base", "base", Vec::new())]);
    for verb in ["deploy", "prune"] {
        world
            .verb(verb, world.on(), &project, &["--yes"])
            .ends(8)
            .says("rendered empty");
    }
}

fn long_reason(world: &World) {
    let project = world.project("reason", world.on(), &[item("base", "base", vec![namespace("reason")])]);
    let reason = "x".repeat(501);
    world
        .verb("deploy", world.on(), &project, &["--yes", "--reason", &reason])
        .ends(3)
        .says("the deployment history keeps 500");
}

fn odd_names(world: &World) {
    let role = |name: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
        })
    };
    let odd = "odd:role $(touch pwned); `touch pwned` 'x'";
    let with = |roles: Vec<Value>| {
        let mut objects = vec![namespace("odd")];
        objects.extend((0..20).map(|index| config_map("odd", &format!("c{index}"), json!({"a": "1"}))));
        objects.extend(roles);
        let folder = world.project("odd", world.on(), &[item("base", "base", objects)]);
        let strange = format!("{folder} $(touch pwned) 'q'");
        let (from, to) = (world.root.join(&folder), world.root.join(&strange));
        if to.exists() {
            fs_err::remove_dir_all(&to).unwrap();
        }
        fs_err::rename(from, to).unwrap();
        strange
    };
    let project = with(vec![role(odd)]);
    world
        .deploy_with(world.on(), &project, &["--reason", "$(touch pwned) `touch pwned`"])
        .ends(0);
    world.kubectl(world.on(), &["get", "clusterrole", odd]);
    world
        .verb("deploy", world.on(), &project, &["--only", "$(touch pwned)"])
        .ends(3);
    assert!(!world.root.join("pwned").exists(), "a shell has read a name");
}

fn going_namespace(world: &World) {
    let project = |more: bool| {
        let mut objects = vec![namespace("leaving"), config_map("leaving", "x", json!({"a": "1"}))];
        if more {
            objects.push(config_map("leaving", "late", json!({"a": "1"})));
        }
        world.project("leaving", world.on(), &[item("base", "base", objects)])
    };
    world.deploy(world.on(), &project(false)).ends(0);
    let patch = |finalizers: &str| {
        let patch = format!(r#"{{"metadata":{{"finalizers":{finalizers}}}}}"#);
        world.kubectl(
            world.on(),
            &[
                "patch",
                "configmap",
                "x",
                "--namespace=leaving",
                "--type=merge",
                "--patch",
                &patch,
            ],
        );
    };
    patch(r#"["t.example.org/held"]"#);
    world.kubectl(world.on(), &["delete", "namespace", "leaving", "--wait=false"]);
    // The namespace controller says what holds it when it comes round to it.
    let held = [
        "wait",
        "--for=condition=NamespaceFinalizersRemaining",
        "--timeout=120s",
        "namespace/leaving",
    ];
    world.kubectl(world.on(), &held);
    let run = world.deploy(world.on(), &project(true));
    assert!([6, 7].contains(&run.code), "{}", run.stderr);
    let run = run.says("Namespace/leaving (base, is being deleted: held by kubernetes");
    run.says("t.example.org/held");
    patch("[]");
    let gone = ["wait", "--for=delete", "--timeout=120s", "namespace/leaving"];
    world.kubectl(world.on(), &gone);
}

/// Its service does not exist, so that the API server has nobody to dial.
fn dead_apiservice(world: &World) {
    let part = For::Twin;
    let with = |more: Vec<Value>| {
        let mut objects = vec![namespace("haunted-by")];
        objects.extend((0..20).map(|index| config_map("haunted-by", &format!("c{index}"), json!({"a": "1"}))));
        objects.extend(more);
        world.project("haunted", part, &[item("base", "base", objects)])
    };
    world.deploy(part, &with(vec![namespace("haunted")])).ends(0);
    world.write(
        "projects/dead.json",
        &json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": "v1beta1.dead.example.org"},
            "spec": {"group": "dead.example.org", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
                "service": {"name": "nobody", "namespace": "default"}, "insecureSkipTLSVerify": true},
        })
        .to_string(),
    );
    world.kubectl(part, &["create", "--filename=projects/dead.json"]);
    let project = with(vec![config_map("haunted-by", "more", json!({}))]);
    // A deploy may be what brings its backend back.
    world.deploy(part, &project).ends(0);
    let mut command = world.command();
    command.env("XTASK_MAX_WAIT", "8").args([
        "prune",
        "--yes",
        "--stage",
        part.stage(),
        "--cluster",
        part.cluster(),
        "--source",
        &project,
        "--allow-delete",
        "Namespace/haunted",
    ]);
    let run = finish(&mut command);
    world.kubectl(part, &["delete", "apiservice", "v1beta1.dead.example.org"]);
    // The tests of pruning want to be told of their own objects alone.
    world.kubectl(
        part,
        &["delete", "namespace", "haunted", "haunted-by", "--ignore-not-found"],
    );
    run.ends(7)
        .says("NamespaceDeletionDiscoveryFailure")
        .says("dead.example.org/v1beta1")
        .says("kubectl get apiservices");
}

//! What is refused before the first write, what is only told, and what is left to others.

use serde_json::{Value, json};

use crate::Test;
use crate::world::{For, World, config_map, item, namespace};

pub(crate) const TESTS: &[Test] = &[
    (
        "what_would_be_deleted_or_taken_for_another_is_refused_before_the_first_write",
        unsound,
    ),
    ("a_warning_of_the_api_server_is_told_and_nothing_fails_of_it", warned),
    (
        "a_field_that_is_left_to_another_manager_is_no_difference_while_it_is_there",
        left_alone,
    ),
    (
        "a_kind_of_others_that_cannot_be_listed_is_named_and_passed_over",
        unlisted,
    ),
    (
        "every_spelling_of_a_protecting_annotation_protects_and_a_group_is_part_of_a_name",
        protected,
    ),
];

fn annotated(mut object: Value, annotations: Value) -> Value {
    object["metadata"]["annotations"] = annotations;
    object
}

fn unsound(world: &World) {
    let job = |name: &str, annotations: Value| {
        annotated(
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "unsound"},
                "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}}}),
            annotations,
        )
    };
    let items = [
        item(
            "base",
            "base",
            vec![namespace("unsound"), config_map("unsound", "first", json!({}))],
        ),
        item(
            "apps",
            "apps",
            vec![
                job("test", json!({"helm.sh/hook": "test"})),
                job("migrate", json!({"argocd.argoproj.io/hook": "PreSync"})),
                annotated(
                    config_map("unsound", "gone", json!({})),
                    json!({"kluctl.io/delete": "true"}),
                ),
                config_map("unsound", "first", json!({"other": "content"})),
                config_map("", "nowhere", json!({})),
                json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": [],
                    "metadata": {"name": "unsound", "namespace": "unsound"}}),
                json!({"apiVersion": "apps/v1", "kind": "Deploymnt", "metadata": {"name": "a", "namespace": "unsound"}}),
                json!({"apiVersion": "policy/v1beta1", "kind": "PodSecurityPolicy", "metadata": {"name": "old"}}),
            ],
        ),
    ];
    let project = world.project("unsound", For::Twin, &items);
    let mut run = world.deploy(For::Twin, &project).ends(8).says("nothing was changed");
    for words in [
        "Job/unsound/test: annotation `helm.sh/hook`",
        "Job/unsound/migrate: annotation `argocd.argoproj.io/hook`",
        "ConfigMap/unsound/gone: annotation `kluctl.io/delete`",
        "ConfigMap/unsound/first: is there 2 times",
        "ConfigMap/nowhere: its kind stands in a namespace",
        "ClusterRole/unsound/unsound: its kind stands in no namespace",
        "Deploymnt/unsound/a: there is no kind `Deploymnt` of `apps/v1`",
        "PodSecurityPolicy/old: there is no kind",
    ] {
        run = run.says(words);
    }
    let none = world.kubectl(
        For::Twin,
        &["get", "namespace", "unsound", "--ignore-not-found", "--output=name"],
    );
    assert_eq!(none.trim(), "", "something was written");
}

fn warned(world: &World) {
    // A label of nodes that was renamed long ago, and still works.
    let workload = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "warned"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": {
            "metadata": {"labels": {"app": "a"}},
            "spec": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}, "containers": [{"name": "a", "image": "a"}]}}}});
    let project = world.project(
        "warned",
        For::Twin,
        &[item("base", "base", vec![namespace("warned"), workload])],
    );
    world
        .deploy(For::Twin, &project)
        .ends(0)
        .says("Deployment/warned/a: spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated")
        .says("1 warning of the API server");
    world.deploy(For::Twin, &project).ends(0).says("as they should be");
}

fn left_alone(world: &World) {
    let shared = annotated(
        config_map("left", "shared", json!({"a": "ours", "b": "ours"})),
        json!({"kluctl.io/ignore-conflicts-field": "data.b"}),
    );
    let project = world.project(
        "left",
        For::Twin,
        &[item("base", "base", vec![namespace("left"), shared])],
    );
    world.deploy(For::Twin, &project).ends(0);
    let theirs = config_map("left", "shared", json!({"b": "theirs"}));
    world.write("projects/theirs.json", &theirs.to_string());
    world.kubectl(
        For::Twin,
        &[
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=their-operator",
            "--filename=projects/theirs.json",
        ],
    );
    world.deploy(For::Twin, &project).ends(0).says("as they should be");
    for (verb, words) in [
        ("diff", "0 objects of 2 would change"),
        ("drift", "0 objects of 2 drifted"),
    ] {
        world
            .verb(verb, For::Twin, &project, &[])
            .ends(0)
            .says(words)
            .prints("ConfigMap/left/shared: data.b left alone");
    }
    let data = &world.object(For::Twin, "configmap", "left", "shared")["data"];
    assert_eq!(*data, json!({"a": "ours", "b": "theirs"}));
    // What nobody has any more is no longer left to anybody.
    world.kubectl(
        For::Twin,
        &[
            "patch",
            "configmap",
            "shared",
            "--namespace=left",
            "--type=json",
            "--patch=[{\"op\":\"remove\",\"path\":\"/data/b\"}]",
        ],
    );
    world.deploy(For::Twin, &project).ends(0);
    let data = &world.object(For::Twin, "configmap", "left", "shared")["data"];
    assert_eq!(*data, json!({"a": "ours", "b": "ours"}));
}

fn unlisted(world: &World) {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let mut definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.t-conversion.example.org"},
        "spec": {
            "group": "t-conversion.example.org", "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
            "versions": [
                {"name": "v1", "served": true, "storage": false, "schema": schema},
                {"name": "v1alpha1", "served": true, "storage": true, "schema": schema},
            ],
        },
    });
    let widget = json!({"apiVersion": "t-conversion.example.org/v1alpha1", "kind": "Widget", "metadata": {"name": "w",
        "namespace": "default", "labels": {"kluctl.io/discriminator": "of-somebody-else"}}});
    let path = "projects/conversion.json";
    world.write(path, &definition.to_string());
    world.kubectl(For::Twin, &["apply", "--filename=projects/conversion.json"]);
    let name = "customresourcedefinition/widgets.t-conversion.example.org";
    world.kubectl(
        For::Twin,
        &["wait", "--for=condition=Established", "--timeout=60s", name],
    );
    world.write("projects/widget.json", &widget.to_string());
    let start = std::time::Instant::now();
    while world
        .try_kubectl(For::Twin, &["create", "--filename=projects/widget.json"])
        .code
        != 0
    {
        assert!(start.elapsed().as_secs() < 60, "the kind is never served");
    }
    // From now on nothing of the other version can be read.
    definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://127.0.0.1:1/convert"}}});
    world.write(path, &definition.to_string());
    world.kubectl(For::Twin, &["apply", "--filename=projects/conversion.json"]);
    let start = std::time::Instant::now();
    while world
        .try_kubectl(
            For::Twin,
            &["get", "widgets.v1.t-conversion.example.org", "--namespace=default"],
        )
        .code
        == 0
    {
        assert!(start.elapsed().as_secs() < 60, "it is still converted");
    }

    let objects = vec![namespace("unlisted"), config_map("unlisted", "a", json!({}))];
    let project = world.project("unlisted", For::Twin, &[item("base", "base", objects.clone())]);
    world
        .deploy(For::Twin, &project)
        .ends(0)
        .says("/apis/t-conversion.example.org/v1/widgets")
        .says("goes on without them");
    world
        .verb("diff", For::Twin, &project, &[])
        .ends(0)
        .says("0 objects of 2 would change");
    // With an object of its own nothing may be decided without the list.
    let own = json!({"apiVersion": "t-conversion.example.org/v1", "kind": "Widget", "metadata": {"name": "own", "namespace": "unlisted"}});
    let with = [objects, vec![own]].concat();
    let project = world.project("unlisted", For::Twin, &[item("base", "base", with)]);
    world.deploy(For::Twin, &project).ends(6).says("conversion webhook for");
    world.kubectl(For::Twin, &["delete", "--wait=false", name]);
}

fn protected(world: &World) {
    let keep = |name: &str, annotation: &str, value: &str| {
        annotated(config_map("protect", name, json!({})), json!({annotation: value}))
    };
    let rest = (0..20).map(|index| config_map("protect", &format!("r{index}"), json!({})));
    let mut objects = vec![namespace("protect")];
    objects.extend(rest);
    let without = world.project("protect", For::Twin, &[item("base", "base", objects.clone())]);
    objects.extend([
        keep("capital", "kluctl.io/skip-delete", "True"),
        keep("unread", "kluctl.io/skip-delete", "yes"),
        keep("helm", "helm.sh/resource-policy", " Keep "),
        keep(
            "argo",
            "argocd.argoproj.io/sync-options",
            "ServerSideApply=true, Delete=false",
        ),
        keep("not-kept", "kluctl.io/skip-delete", "F"),
    ]);
    let with = world.project("protect-all", For::Twin, &[item("base", "base", objects)]);
    crate::faults::alone(world, &with);
    world.deploy(For::Twin, &without).ends(0);
    world
        .verb("prune", For::Twin, &without, &["--yes"])
        .ends(0)
        .says("ConfigMap/protect/capital stays: is annotated `kluctl.io/skip-delete: True`; only by name")
        .says("ConfigMap/protect/unread stays: is annotated `kluctl.io/skip-delete: yes`")
        .says("ConfigMap/protect/helm stays: is annotated `helm.sh/resource-policy:  Keep `")
        .says("ConfigMap/protect/argo stays: is annotated `argocd.argoproj.io/sync-options:")
        .says("- ConfigMap/protect/not-kept (uid");
    let left = world.kubectl(
        For::Twin,
        &["get", "configmaps", "--namespace=protect", "--output=name"],
    );
    for name in ["capital", "unread", "helm", "argo"] {
        assert!(left.contains(&format!("configmap/{name}")), "{name} is gone:\n{left}");
    }
    assert!(!left.contains("configmap/not-kept"), "{left}");
}

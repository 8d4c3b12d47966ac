//! A stage of a thousand objects, made up: definitions, custom resources and ordinary objects in twenty namespaces.
//! It writes files, for us, for kluctl alone and for kubectl; it measures nothing.

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use xtask::golden::object::digest_of;
use xtask::project::{DIGEST, enclose};

use crate::of;

const NAMESPACES: usize = 20;
const DEFINITIONS: usize = 5;
/// Items of ordinary objects; a platform has a dozen components.
const ITEMS: usize = 10;
/// Objects in all.
pub(crate) const OBJECTS: usize = 1_000;

/// The folders of one stage.
pub(crate) struct Stage {
    /// A project as the renderer writes it: an item a component, an object a file.
    pub(crate) project: Utf8PathBuf,
    /// A project as easykubenix writes it: namespaces and definitions, then one list.
    pub(crate) one_list: Utf8PathBuf,
    /// What `kubectl apply` takes: namespaces and definitions, then the rest.
    pub(crate) first: Utf8PathBuf,
    pub(crate) rest: Utf8PathBuf,
}

/// Writes the stage of a cluster.
pub(crate) fn write(folder: &Utf8Path, cluster: &str, discriminator: &str) -> Result<Stage> {
    let stage = Stage {
        project: folder.join("project"),
        one_list: folder.join("one-list"),
        first: folder.join("kubectl/first"),
        rest: folder.join("kubectl/rest"),
    };
    let items = items();
    let mut described = Vec::new();
    let mut deployments = Vec::new();
    let mut lists = [Vec::new(), Vec::new()];
    for (index, (name, phase, objects)) in items.iter().enumerate() {
        let directory = format!("{:02}-{name}", index + 1);
        let early = *phase != "apps";
        described.push(json!({"directory": directory, "component": name, "phase": phase, "waitReadiness": early, "barrier": early}));
        deployments.push(json!({"path": directory, "waitReadiness": early,
            "tags": [format!("phase-{phase}"), format!("component-{name}"), format!("item-{directory}")]}));
        if early {
            deployments.push(json!({"barrier": true}));
        }
        for (rank, object) in objects.iter().enumerate() {
            let mut object = object.clone();
            object["metadata"]["annotations"]["vanixiets.dev/source"] = "native".into();
            let digest = digest_of(&object);
            object["metadata"]["annotations"][DIGEST] = digest.into();
            let file = format!("{rank:04}.yaml");
            put(&stage.project.join(&directory).join(&file), &object)?;
            let plain = if early { &stage.first } else { &stage.rest };
            put(&plain.join(format!("{directory}-{file}")), &object)?;
            lists[usize::from(!early)].push(object);
        }
    }
    put(
        &stage.project.join("stage.json"),
        &json!({
            "schema": 1, "cluster": cluster, "stage": "local", "environment": "local", "discriminator": discriminator,
            "phases": ["base", "crds", "apps"], "items": described, "gates": [], "charts": [],
        }),
    )?;
    put(
        &stage.project.join("deployment.yaml"),
        &json!({"deployments": deployments}),
    )?;
    let [early, late] = lists;
    put(&stage.one_list.join("prio-10/list.yaml"), &list(early))?;
    put(&stage.one_list.join("default/easykubenix.yaml"), &list(late))?;
    put(
        &stage.one_list.join("deployment.yaml"),
        &json!({"deployments": [{"path": "prio-10", "waitReadiness": true}, {"barrier": true}, {"path": "default"}]}),
    )?;
    for project in [&stage.project, &stage.one_list] {
        put(&project.join(".kluctl.yaml"), &json!({"discriminator": discriminator}))?;
        fs_err::write(project.join(".templateignore"), "*\n")?;
        // As ours: kluctl looks at the repository around a project, and refuses one whose origin is a path.
        enclose(project).map_err(of)?;
    }
    Ok(stage)
}

/// Writes a golden of one object, to bring a cluster up with.
pub(crate) fn write_small(folder: &Utf8Path, cluster: &str, discriminator: &str) -> Result<()> {
    let mut object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench-00",
        "annotations": {"kluctl.io/skip-delete": "true", "vanixiets.dev/source": "native"}}});
    let digest = digest_of(&object);
    object["metadata"]["annotations"][DIGEST] = digest.into();
    put(&folder.join("01-base/0000.yaml"), &object)?;
    put(
        &folder.join("stage.json"),
        &json!({
            "schema": 1, "cluster": cluster, "stage": "local", "environment": "local", "discriminator": discriminator,
            "phases": ["base"], "gates": [], "charts": [],
            "items": [{"directory": "01-base", "component": "base", "phase": "base", "waitReadiness": false, "barrier": true}],
        }),
    )?;
    put(
        &folder.join("deployment.yaml"),
        &json!({"deployments": [{"path": "01-base", "tags": ["phase-base", "component-base", "item-01-base"]}]}),
    )?;
    put(&folder.join(".kluctl.yaml"), &json!({"discriminator": discriminator}))?;
    fs_err::write(folder.join(".templateignore"), "*\n")?;
    Ok(())
}

fn put(path: &Utf8Path, value: &Value) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent)?;
    }
    fs_err::write(path, value.to_string())?;
    Ok(())
}

fn list(items: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn items() -> Vec<(String, &'static str, Vec<Value>)> {
    let namespace = |index: usize| format!("bench-{:02}", index % NAMESPACES);
    let namespaces = (0..NAMESPACES)
        .map(|index| {
            json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": namespace(index), "annotations": {"kluctl.io/skip-delete": "true"}}})
        })
        .collect();
    let definitions = (0..DEFINITIONS).map(definition).collect();
    let mut items: Vec<(String, &'static str, Vec<Value>)> = vec![
        ("namespaces".to_owned(), "base", namespaces),
        ("definitions".to_owned(), "crds", definitions),
    ];
    items.extend((0..ITEMS).map(|item| (format!("app-{item:02}"), "apps", Vec::new())));
    for index in 0..OBJECTS - NAMESPACES - DEFINITIONS {
        items[2 + index % ITEMS]
            .2
            .push(ordinary(index, &namespace(index / ITEMS)));
    }
    items
}

fn definition(index: usize) -> Value {
    let kind = format!("Bench{index}");
    let lower = kind.to_lowercase();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{lower}s.bench.example.org"), "annotations": {"kluctl.io/skip-delete": "true"}},
        "spec": {
            "group": "bench.example.org", "scope": "Namespaced",
            "names": {"kind": kind, "plural": format!("{lower}s"), "singular": lower, "listKind": format!("{kind}List")},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}],
        },
    })
}

/// No object that makes a controller work: what is measured is the way to the API server.
fn ordinary(index: usize, namespace: &str) -> Value {
    let name = format!("o{index:04}");
    let metadata = json!({"name": name, "namespace": namespace, "labels": {"app": name}});
    match index % 6 {
        0 => json!({"apiVersion": "bench.example.org/v1", "kind": format!("Bench{}", index / 6 % DEFINITIONS),
            "metadata": metadata, "spec": {"a": index, "list": ["x", "y"]}}),
        1 => json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        2 => json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata,
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]}),
        3 => json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "example.org/c:1", "ports": [{"containerPort": 80}],
                    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}]}}}}),
        4 => json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"clusterIP": "None", "selector": {"app": name}, "ports": [{"port": 80, "name": "http"}]}}),
        _ => json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
            "data": {"a": format!("value {index}"), "b": "x".repeat(200)}}),
    }
}

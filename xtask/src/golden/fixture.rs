//! Rendered projects for tests, as the renderer makes them: one object a file, digests, a description.
//! The objects are made up here; no chart's text stands in them.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};

use super::object::{DIGEST, Object, SOURCE, digest_of};
use super::provenance::Record;
use crate::base::formats::json;

/// A folder that goes away with the test, holding a rendering, a golden and a checkout.
pub(crate) struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("golden-").tempdir().unwrap();
        let fixture = Self { folder };
        fs_err::create_dir_all(fixture.root().join("modules")).unwrap();
        fs_err::write(fixture.root().join("modules/a.nix"), "{ }\n").unwrap();
        fs_err::write(fixture.root().join("flake.lock"), "{}\n").unwrap();
        fixture
    }

    /// One that holds a rendering of a small platform.
    pub(crate) fn rendered() -> Self {
        let fixture = Self::new();
        fixture.project(&small_platform());
        fixture
    }

    pub(crate) fn root(&self) -> Utf8PathBuf {
        Utf8Path::from_path(self.folder.path()).unwrap().join("checkout")
    }

    pub(crate) fn rendering(&self) -> Utf8PathBuf {
        Utf8Path::from_path(self.folder.path()).unwrap().join("k3s-dev-local")
    }

    pub(crate) fn golden(&self) -> Utf8PathBuf {
        self.root().join("k8s/golden/k3s-dev/local")
    }

    pub(crate) fn record(&self) -> Record {
        Record::of(&self.root()).unwrap()
    }

    /// Writes a rendering that holds these objects: `(item, rank, object)`.
    pub(crate) fn project(&self, objects: &[(&str, u8, Value)]) {
        let root = self.rendering();
        if root.exists() {
            fs_err::remove_dir_all(&root).unwrap();
        }
        fs_err::create_dir_all(&root).unwrap();
        let mut items: Vec<&str> = objects.iter().map(|(item, ..)| *item).collect();
        items.dedup();
        let items: Vec<Value> = items
            .into_iter()
            .map(|item| {
                json!({"directory": item, "component": &item[3..], "phase": "base", "waitReadiness": false, "barrier": false})
            })
            .collect();
        let description = json!({
            "schema": 1, "cluster": "k3s-dev", "stage": "local", "environment": "local", "discriminator": "demo-local",
            "phases": ["base"], "items": items, "gates": [], "charts": [],
        });
        fs_err::write(root.join("stage.json"), description.to_string()).unwrap();
        fs_err::write(root.join(".kluctl.yaml"), r#"{"discriminator":"demo-local"}"#).unwrap();
        let deployments: Vec<Value> = items.iter().map(|item| json!({"path": item["directory"]})).collect();
        fs_err::write(
            root.join("deployment.yaml"),
            json!({"deployments": deployments}).to_string(),
        )
        .unwrap();
        fs_err::write(root.join(".templateignore"), "*\n").unwrap();
        for (item, rank, object) in objects {
            self.object(item, *rank, object.clone());
        }
    }

    /// Writes one rendered object and returns its path below the rendering.
    pub(crate) fn object(&self, item: &str, rank: u8, object: Value) -> Utf8PathBuf {
        let object = digested(object);
        let identity = Object::new(object.clone()).unwrap().identity;
        let namespace = if identity.namespace.is_empty() {
            "_"
        } else {
            &identity.namespace
        };
        let name = format!(
            "{rank:02}-{}.{namespace}.{}",
            identity.kind.to_lowercase(),
            identity.name
        );
        let name: String = name.chars().take(200).collect();
        let path = Utf8Path::new(item).join(format!("{name}.yaml"));
        let content = if identity.kind == "SopsSecret" {
            json!({"apiVersion": "v1", "kind": "List", "items": [object]})
        } else {
            object
        };
        self.write(&path, &format!("{}\n", json::canonical(&content)));
        path
    }

    /// Writes a file of the rendering.
    pub(crate) fn write(&self, path: &Utf8Path, content: &str) {
        let path = self.rendering().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, content).unwrap();
    }
}

/// The object with its digest.
pub(crate) fn digested(mut object: Value) -> Value {
    let digest = digest_of(&object);
    object["metadata"]["annotations"][DIGEST] = digest.into();
    object
}

/// A namespace, a definition and a workload of upstream's, one resource and one setting of our own, one secret.
pub(crate) fn small_platform() -> Vec<(&'static str, u8, Value)> {
    let upstream = json!({ SOURCE: "chart" });
    vec![
        (
            "10-namespaces",
            5,
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}),
        ),
        (
            "20-widgets",
            10,
            json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "widgets.demo.example", "annotations": upstream},
                "spec": {
                    "group": "demo.example", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
                    "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                        "type": "object", "description": "A widget, at length.",
                        "properties": {"spec": {"type": "object", "required": ["size"],
                            "properties": {"size": {"type": "integer", "minimum": 1}}}},
                    }}}],
                },
            }),
        ),
        (
            "20-widgets",
            40,
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "widgets", "namespace": "demo", "annotations": upstream, "labels": {"app": "widgets"}},
                "spec": {
                    "replicas": 1, "selector": {"matchLabels": {"app": "widgets"}},
                    "template": {"metadata": {"labels": {"app": "widgets"}}, "spec": {"containers": [
                        {"name": "widgets", "image": "registry.example/widgets:1.2.3", "args": ["--verbose"]},
                    ]}},
                },
            }),
        ),
        (
            "20-widgets",
            30,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "demo"},
                   "data": {"enabled": "no", "mode": "0644", "script": "#!/bin/sh\necho on\n"}}),
        ),
        (
            "30-first",
            80,
            json!({"apiVersion": "demo.example/v1", "kind": "Widget", "metadata": {"name": "first", "namespace": "demo"}, "spec": {"size": 3}}),
        ),
        (
            "30-first",
            80,
            json!({"apiVersion": "isindir.github.com/v1alpha3", "kind": "SopsSecret", "metadata": {"name": "token", "namespace": "demo"},
                   "spec": {"secretTemplates": [{"name": "token", "stringData": {"token": "ENC[AES256_GCM,data:AAAA,type:str]"}}]},
                   "sops": {"mac": "ENC[AES256_GCM,data:BBBB,type:str]"}}),
        ),
    ]
}

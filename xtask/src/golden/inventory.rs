//! What a project holds, as data: its objects, and the images that they run.
//! It reads goldens and renderings alike and compares nothing.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use serde::Serialize;
use serde_json::Value;

use super::folder;
use super::normalize::{self, Role};
use super::object::{Object, Origin};
use super::summary;
use crate::base::failure::{Failure, Result};

/// One object of a project.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Cluster of the golden.
    pub cluster: String,
    /// Stage of the golden.
    pub stage: String,
    /// File, relative to the golden.
    pub file: String,
    /// `group/version`, or `version`.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Whether the golden keeps it whole.
    pub origin: Origin,
    /// Digest of the complete rendered object.
    pub digest: Option<String>,
    /// Images that it names.
    pub images: Vec<String>,
}

/// Every object of a project, in the order of its files.
pub fn objects(project: &Utf8Path, pair: &super::pairs::Pair) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for file in folder::scan(project)? {
        if Role::of(&file.path) != Role::Objects {
            continue;
        }
        let path = project.join(&file.path);
        let text = fs_err::read_to_string(&path)?;
        let manifest = normalize::read(&text).map_err(|reason| {
            Failure::config(format!("`{path}` cannot be read: {reason}")).hinted("`cargo xtask golden check` says more")
        })?;
        entries.extend(manifest.objects.iter().map(|object| Entry {
            cluster: pair.cluster.clone(),
            stage: pair.stage.to_string(),
            file: file.path.to_string(),
            api_version: object.value["apiVersion"].as_str().unwrap_or_default().to_owned(),
            kind: object.identity.kind.clone(),
            namespace: object.identity.namespace.clone(),
            name: object.identity.name.clone(),
            origin: object.origin(),
            digest: object.digest().map(str::to_owned),
            images: images(object).into_iter().collect(),
        }));
    }
    Ok(entries)
}

/// Who uses each image: objects by image, over all entries.
pub fn by_image(entries: &[Entry]) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in entries {
        for image in &entry.images {
            let group = entry.api_version.split_once('/').map_or("", |(group, _)| group);
            let object = crate::project::name_of(group, &entry.kind, &entry.namespace, &entry.name);
            let user = format!("{}-{} {object}", entry.cluster, entry.stage);
            found.entry(image.clone()).or_default().insert(user);
        }
    }
    found
}

/// Every image that an object names: in the pods it makes, in fields called `image` of custom resources, in pods
/// that stand in config files, and in what a digest says of those.
pub fn images(object: &Object) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // A definition describes fields called `image`; it runs none.
    if object.identity.kind != "CustomResourceDefinition" {
        walk(&object.value, &mut found);
    }
    found
}

fn walk(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, member) in map {
                match member {
                    Value::String(image) if key == "image" => {
                        if is_reference(image) {
                            found.insert(image.clone());
                        }
                    }
                    Value::String(text) if text.contains("image") => found.extend(summary::images_in(text)),
                    other => walk(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
        _ => {}
    }
}

/// Whether a text can be an image reference.
fn is_reference(text: &str) -> bool {
    !text.is_empty() && !text.contains([' ', '\n', '{', '$']) && text.contains([':', '/', '@'])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_are_found_in_pods_files_and_digests_alike() {
        let object = Object::new(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
            "data": {
                "pod.yaml": "spec:\n  containers:\n  - image: \"busybox:1.37\"\n    name: a\n",
                "script": "sha256:abc (4 lines) image: registry.example/helper:2",
                "image": "an image is worth a thousand words",
            },
            "spec": {"template": {"spec": {"containers": [{"name": "x", "image": "registry.example/x@sha256:00"}]}}},
        }))
        .unwrap();
        let found: Vec<String> = images(&object).into_iter().collect();
        assert_eq!(
            found,
            [
                "busybox:1.37",
                "registry.example/helper:2",
                "registry.example/x@sha256:00"
            ]
        );
    }
}

//! Nix closures that volumes of a project name: nix-csi mounts what the node's store or its cache has, and builds
//! nothing. It reads a project; who copies them is the plan's business.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::failure::{Failure, Kind, Result};
use crate::call::Caller;
use crate::project::{ObjectRef, Project};

/// Whether no volume of a project names a Nix closure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NoClosures {
    /// The project.
    pub project: Utf8PathBuf,
    /// Name of the cluster, for the message.
    pub cluster: String,
}

impl NoClosures {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        check_none(&on.root.join(&self.project), &self.cluster)
    }
}

/// Which Nix closures the volumes of some phases name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FindClosures {
    /// The project.
    pub project: Utf8PathBuf,
    /// The phases.
    pub phases: Vec<String>,
    /// JSON file `{ "paths": ["/nix/store/…"] }`.
    pub to: Utf8PathBuf,
}

impl FindClosures {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let found = named(&Project::read(&on.root.join(&self.project))?, Some(&self.phases));
        let paths: Vec<&String> = found.keys().collect();
        on.write_json(&self.to, &json!({"paths": paths}))
    }
}

/// Driver of the volumes, whose attributes are store paths by Nix system.
const DRIVER: &str = "nix.csi.store";

/// What a store path begins with.
const STORE: &str = "/nix/store/";

/// The closures that the objects of these phases name, with the objects that name each.
pub fn named(project: &Project, phases: Option<&[String]>) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (item, object) in project.objects() {
        if phases.is_none_or(|phases| phases.contains(&item.phase)) {
            walk(&object.value, &object.reference(), &mut found);
        }
    }
    found
}

fn walk(value: &Value, of: &ObjectRef, found: &mut BTreeMap<String, BTreeSet<String>>) {
    match value {
        Value::Object(map) => {
            if map.get("driver").and_then(Value::as_str) == Some(DRIVER)
                && let Some(attributes) = map.get("volumeAttributes").and_then(Value::as_object)
            {
                // Other attributes are expressions or flake references, which the driver builds itself.
                for path in attributes.values().filter_map(Value::as_str) {
                    if path.starts_with(STORE) {
                        found.entry(path.to_owned()).or_default().insert(of.to_string());
                    }
                }
            }
            map.values().for_each(|member| walk(member, of, found));
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, of, found)),
        _ => {}
    }
}

/// Refuses a project that names closures where the platform config names no store to copy them to: its pods would never start.
pub fn check_none(folder: &Utf8Path, cluster: &str) -> Result<()> {
    let found = named(&Project::read(folder)?, None);
    if found.is_empty() {
        return Ok(());
    }
    let problems: Vec<String> = found
        .iter()
        .map(|(path, objects)| {
            let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
            format!("`{path}`, of {}", objects.join(", "))
        })
        .collect();
    Err(Failure::many(
        Kind::Preflight,
        format!(
            "volumes name Nix closures, and the platform config names no store of `{cluster}` to copy them to; nothing was changed"
        ),
        &problems,
    )
    .hinted(format!(
        "set `clusters.{cluster}.closureStore` in `modules/platform.nix`, for example to `ssh-ng://root@HOST`"
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn closures_are_found_wherever_a_volume_stands() {
        let of =
            ObjectRef::of(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "b"}}));
        let volume = |attributes: Value| json!({"csi": {"driver": DRIVER, "volumeAttributes": attributes}});
        let deep = json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {"volumes": [
            volume(json!({"x86_64-linux": "/nix/store/a-one", "aarch64-linux": "/nix/store/b-one"})),
            volume(json!({"nixExpr": "import <nixpkgs> { }"})),
            {"csi": {"driver": "another.csi", "volumeAttributes": {"path": "/nix/store/c-other"}}},
            {"name": "x", "configMap": {"name": "/nix/store/d-other"}},
        ]}}}}}});
        let mut found = BTreeMap::new();
        walk(&deep, &of, &mut found);
        let paths: Vec<&String> = found.keys().collect();
        assert_eq!(paths, ["/nix/store/a-one", "/nix/store/b-one"]);
    }
}

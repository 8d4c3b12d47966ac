//! A copy of a stage project for an embedded cluster, without what that cluster cannot hold.
//! Plan, no-op and journal use the copy; each thing left out is named.

use std::collections::BTreeSet;

use camino::Utf8Path;
use serde_json::{Value, json};

use crate::failure::{Failure, Result};
use crate::live::resources::{self, Resource};
use crate::project::{Item, Object, ObjectRef, Project};

/// Copies a project and returns what was left out or changed, a sentence each.
pub fn copy(from: &Utf8Path, served: &Utf8Path, to: &Utf8Path) -> Result<Vec<String>> {
    let project = Project::read(from)?;
    project.refuse_empty()?;
    let served = resources::parse(&fs_err::read_to_string(served)?)?;
    let defined = defined_kinds(&project);
    let mut notes = Vec::new();
    let beside = Utf8Path::new(&format!("{to}.new")).to_owned();
    if beside.exists() {
        fs_err::remove_dir_all(&beside)?;
    }
    fs_err::create_dir_all(&beside)?;

    let mut description = project.description.clone();
    let mut kept: Vec<Item> = Vec::new();
    for item in &project.items {
        let folder = beside.join(&item.item.directory);
        let mut written = 0;
        for object in &item.objects {
            if let Some(value) = adapt(object, &served, &defined, &mut notes) {
                fs_err::create_dir_all(&folder)?;
                // Objects of one List get files of their own, in their order; a lone SopsSecret stays in a List,
                // or kluctl would decrypt it.
                let name = format!("{written:04}-{}", object.file);
                let content = if object.value.pointer("/sops").is_some() {
                    json!({"apiVersion": "v1", "kind": "List", "items": [value]})
                } else {
                    value
                };
                let text = serde_json::to_string(&content).expect("plain data");
                fs_err::write(folder.join(name), text)?;
                written += 1;
            }
        }
        if written > 0 {
            kept.push(item.item.clone());
        } else {
            notes.push(format!("item `{}` has nothing left", item.item.directory));
        }
    }
    if kept.is_empty() {
        return Err(Failure::config(format!(
            "`{from}` has no object that an embedded cluster can hold"
        )));
    }
    description.items = kept;
    write_deployment(from, &beside, &description.items)?;
    let text = serde_json::to_string_pretty(&description).expect("plain data");
    fs_err::write(beside.join("stage.json"), text)?;
    for name in [".kluctl.yaml", ".templateignore"] {
        fs_err::copy(from.join(name), beside.join(name))?;
    }
    if to.exists() {
        fs_err::remove_dir_all(to)?;
    }
    fs_err::rename(&beside, to)?;
    Ok(notes)
}

/// Kinds that the project's own CRDs define, as (group, kind).
fn defined_kinds(project: &Project) -> BTreeSet<(String, String)> {
    project
        .objects()
        .filter(|(_, object)| object.reference().kind == "CustomResourceDefinition")
        .filter_map(|(_, object)| {
            let text = |pointer: &str| {
                object
                    .value
                    .pointer(pointer)
                    .and_then(Value::as_str)
                    .map(ToOwned::to_owned)
            };
            Some((text("/spec/group")?, text("/spec/names/kind")?))
        })
        .collect()
}

/// The object as an embedded cluster takes it, or none with the reason noted.
fn adapt(
    object: &Object,
    served: &[Resource],
    defined: &BTreeSet<(String, String)>,
    notes: &mut Vec<String>,
) -> Option<Value> {
    let reference = object.reference();
    if reference.kind == "APIService" {
        notes.push(format!("{reference}: nothing answers on its ClusterIP"));
        return None;
    }
    if !resources::serves(served, &reference)
        && !defined.contains(&(reference.group().to_owned(), reference.kind.clone()))
    {
        notes.push(format!(
            "{reference}: nobody serves {}, its operator would define it",
            api_of(&reference)
        ));
        return None;
    }
    let mut value = object.value.clone();
    if reference.kind == "CustomResourceDefinition"
        && value.pointer("/spec/conversion/strategy").and_then(Value::as_str) == Some("Webhook")
    {
        value["spec"]["conversion"] = json!({"strategy": "None"});
        notes.push(format!("{reference}: conversion webhook, taken off"));
    }
    Some(value)
}

fn api_of(reference: &ObjectRef) -> String {
    format!("{} of {}", reference.kind, reference.api_version)
}

/// Writes `deployment.yaml` without the items that are gone; barriers and everything else stay.
fn write_deployment(from: &Utf8Path, to: &Utf8Path, kept: &[Item]) -> Result<()> {
    let path = from.join("deployment.yaml");
    let text = fs_err::read_to_string(&path)?;
    let mut deployment = crate::golden::yaml::read_one(&text)
        .map_err(|error| Failure::config(format!("`{path}` cannot be read: {error}")))?;
    if let Some(items) = deployment.get_mut("deployments").and_then(Value::as_array_mut) {
        items.retain(|item| {
            item.get("path")
                .and_then(Value::as_str)
                .is_none_or(|path| kept.iter().any(|item| item.directory == path))
        });
    }
    fs_err::write(
        to.join("deployment.yaml"),
        serde_json::to_string_pretty(&deployment).expect("plain data"),
    )?;
    Ok(())
}

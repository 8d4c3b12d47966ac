//! Secret files of a project: today's put into an earlier project, and who can read them.
//! Nothing is decrypted; an encrypted file says for whom it is.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde_json::{Value, json};

use crate::failure::{Failure, Kind, Result};
use crate::project::{self, Object, ObjectRef, Project};

/// Copies an earlier project, with the encrypted objects of today's. Returns what could not be taken from today.
pub fn overlay(earlier: &Utf8Path, today: &Utf8Path, to: &Utf8Path) -> Result<Vec<String>> {
    let now = Project::read(today)?;
    let todays: BTreeMap<_, &Value> = now
        .objects()
        .filter(|(_, object)| is_encrypted(object))
        .map(|(_, object)| (object.reference().identity(), &object.value))
        .collect();
    let mut notes = Vec::new();
    let then = Project::read(earlier)?;
    project::replace(to, |beside| {
        project::copy(earlier, beside)?;
        for item in &then.items {
            let mut files: BTreeMap<&str, Vec<&Object>> = BTreeMap::new();
            for object in &item.objects {
                files.entry(object.file.as_str()).or_default().push(object);
            }
            for (file, objects) in files {
                if !objects.iter().any(|object| is_encrypted(object)) {
                    continue;
                }
                let items: Vec<Value> = objects
                    .iter()
                    .map(|object| match todays.get(&object.reference().identity()) {
                        Some(value) if is_encrypted(object) => (*value).clone(),
                        None if is_encrypted(object) => {
                            notes.push(format!(
                                "{} has no file today, the earlier one is taken",
                                object.reference()
                            ));
                            object.value.clone()
                        }
                        _ => object.value.clone(),
                    })
                    .collect();
                // Alone in a file kluctl would decrypt it and apply it in plaintext.
                let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
                let path = beside.join(&item.item.directory).join(file);
                fs_err::remove_file(&path)?;
                fs_err::write(path, list.to_string())?;
            }
        }
        Ok(())
    })?;
    Ok(notes)
}

fn is_encrypted(object: &Object) -> bool {
    object.value.get("sops").is_some()
}

/// Refuses a project with a secret that today's key of the cluster cannot read.
pub fn check_recipient(project: &Project, recipient: &str) -> Result<()> {
    let problems: Vec<String> = project
        .objects()
        .filter(|(_, object)| is_encrypted(object))
        .filter(|(_, object)| !recipients(&object.value).any(|found| found == recipient))
        .map(|(_, object)| {
            let reference: ObjectRef = object.reference();
            format!("{reference} is not encrypted for `{recipient}`")
        })
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::many(
        Kind::Refused,
        "today's key cannot decrypt every secret of that project; nothing was changed",
        &problems,
    )
    .hinted("leave `--with-secrets` out: today's secret files are then taken"))
}

fn recipients(value: &Value) -> impl Iterator<Item = &str> {
    let direct = value.pointer("/sops/age").and_then(Value::as_array);
    let groups = value.pointer("/sops/key_groups").and_then(Value::as_array);
    let grouped = groups
        .into_iter()
        .flatten()
        .filter_map(|group| group.get("age").and_then(Value::as_array));
    direct
        .into_iter()
        .chain(grouped)
        .flatten()
        .filter_map(|key| key.get("recipient").and_then(Value::as_str))
}

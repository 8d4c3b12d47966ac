//! Secret files of a project: today's put into an earlier project, and who can read them.
//! Nothing is decrypted; an encrypted file says for whom it is.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde_json::{Value, json};

use crate::base::failure::{Failure, Kind, Result};
use crate::project::{self, DIGEST, Object, ObjectRef, Project};

/// Group, kind, namespace and name of an object.
pub type Identity = (String, String, String, String);

/// The encrypted objects of a project.
pub fn encrypted(project: &Project) -> BTreeMap<Identity, Value> {
    project
        .objects()
        .filter(|(_, object)| is_encrypted(object))
        .map(|(_, object)| (object.reference().identity(), object.value.clone()))
        .collect()
}

/// The encrypted object of a file of the checkout, as the renderer would write it.
pub fn of_file(path: &Utf8Path) -> Result<(Identity, Value)> {
    let text = fs_err::read_to_string(path)?;
    let mut value = crate::base::formats::yaml::read_one(&text)
        .map_err(|error| Failure::config(format!("`{path}` cannot be read: {error}")))?;
    if value.get("sops").is_none() {
        return Err(
            Failure::refused(format!("`{path}` is not encrypted; nothing was changed"))
                .hinted("`cargo xtask secrets check` says what is wrong with it"),
        );
    }
    drop_nulls(&mut value);
    let digest = crate::golden::object::digest_of(&value);
    if value.pointer("/metadata/annotations").is_none() {
        value["metadata"]["annotations"] = json!({});
    }
    value["metadata"]["annotations"][DIGEST] = digest.into();
    Ok((ObjectRef::of(&value).identity(), value))
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Copies an earlier project, with the encrypted objects of today. Returns what could not be taken from today.
pub fn overlay(earlier: &Utf8Path, todays: &BTreeMap<Identity, Value>, to: &Utf8Path) -> Result<Vec<String>> {
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
                        Some(value) if is_encrypted(object) => value.clone(),
                        None if is_encrypted(object) => {
                            notes.push(format!(
                                "{} has no file today, that of then is taken",
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

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;

    fn sealed(name: &str, value: &str, recipient: &str) -> Value {
        json!({"apiVersion": "isindir.github.com/v1alpha3", "kind": "SopsSecret",
            "metadata": {"name": name, "namespace": "n"}, "spec": {"value": value},
            "sops": {"mac": "x", "age": [{"recipient": recipient}]}})
    }

    fn project(folder: &Utf8Path, secrets: &[Value]) {
        let item = folder.join("01-secrets");
        fs_err::create_dir_all(&item).unwrap();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": secrets});
        fs_err::write(item.join("00.yaml"), list.to_string()).unwrap();
        let description = json!({
            "schema": 1, "cluster": "c", "stage": "full", "environment": "production", "discriminator": "d",
            "phases": ["base"], "gates": [], "charts": [],
            "items": [{"directory": "01-secrets", "component": "secrets", "phase": "base", "waitReadiness": false,
                "barrier": false}],
        });
        fs_err::write(folder.join("stage.json"), description.to_string()).unwrap();
    }

    #[test]
    fn a_rollback_takes_the_secret_files_of_today_and_names_those_that_are_gone() {
        let folder = tempfile::TempDir::new().unwrap();
        let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        let then = root.join("then");
        project(&then, &[sealed("kept", "old", "a"), sealed("gone", "old", "a")]);
        let file = root.join("kept.enc.yaml");
        let mut today = sealed("kept", "new", "b");
        today["sops"]["kms"] = Value::Null;
        fs_err::write(&file, today.to_string()).unwrap();
        let (identity, value) = of_file(&file).unwrap();
        assert!(value.pointer("/metadata/annotations/vanixiets.dev~1digest").is_some());
        let to = root.join("to");
        let notes = overlay(&then, &[(identity, value)].into(), &to).unwrap();
        assert_eq!(
            notes,
            ["SopsSecret.isindir.github.com/n/gone has no file today, that of then is taken"]
        );
        let found = Project::read(&to).unwrap();
        let values: Vec<&Value> = found
            .objects()
            .map(|(_, object)| &object.value["spec"]["value"])
            .collect();
        assert_eq!(values, ["new", "old"]);
        // Alone in a file kluctl would decrypt it.
        let text = fs_err::read_to_string(to.join("01-secrets/00.yaml")).unwrap();
        assert!(text.contains(r#""kind":"List""#), "{text}");
        // Today's key reads what is of today, and not what is of then.
        let failure = check_recipient(&found, "b").unwrap_err();
        assert_eq!(failure.kind, Kind::Refused);
        assert!(
            failure
                .chain()
                .contains("SopsSecret.isindir.github.com/n/gone is not encrypted for `b`"),
            "{}",
            failure.chain()
        );
        assert!(
            !failure.chain().contains("SopsSecret.isindir.github.com/n/kept"),
            "{}",
            failure.chain()
        );
    }

    #[test]
    fn a_file_in_plain_text_is_never_taken() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = Utf8PathBuf::from_path_buf(folder.path().join("x.enc.yaml")).unwrap();
        fs_err::write(&file, r#"{"kind": "SopsSecret", "metadata": {"name": "x"}}"#).unwrap();
        assert_eq!(of_file(&file).unwrap_err().kind, Kind::Refused);
    }
}

//! Stage projects as folders: written from what was read and changed, copied, and put in place whole.

use camino::Utf8Path;
use serde_json::{Value, json};

use super::Project;
use crate::base::failure::{Failure, Result};

impl Project {
    /// Writes the project, which was read from `from` and changed, to `to`: an object a file, in their order.
    ///
    /// # Errors
    ///
    /// What reading `from` or writing a file says.
    pub fn write(&self, from: &Utf8Path, to: &Utf8Path) -> Result<()> {
        for item in &self.items {
            let folder = to.join(&item.item.directory);
            fs_err::create_dir_all(&folder)?;
            for (index, object) in item.objects.iter().enumerate() {
                // Objects of one List get files of their own; a lone SopsSecret stays in a List, or kluctl would
                // decrypt it and apply it in plaintext.
                let content = if object.value.get("sops").is_some() {
                    json!({"apiVersion": "v1", "kind": "List", "items": [object.value]})
                } else {
                    object.value.clone()
                };
                fs_err::write(folder.join(format!("{index:04}-{}", object.file)), content.to_string())?;
            }
        }
        let path = from.join("deployment.yaml");
        let mut deployment = crate::base::formats::yaml::read_one(&fs_err::read_to_string(&path)?)
            .map_err(|error| Failure::config(format!("`{path}` cannot be read: {error}")))?;
        // Barriers and everything else stay; items that are gone do not.
        if let Some(items) = deployment.get_mut("deployments").and_then(Value::as_array_mut) {
            items.retain(|item| {
                item.get("path")
                    .and_then(Value::as_str)
                    .is_none_or(|path| self.items.iter().any(|item| item.item.directory == path))
            });
        }
        let pretty = |value| serde_json::to_string_pretty(value).expect("plain data");
        fs_err::write(to.join("deployment.yaml"), pretty(&deployment))?;
        let description = serde_json::to_string_pretty(&self.description).expect("plain data");
        fs_err::write(to.join("stage.json"), description)?;
        for name in [".kluctl.yaml", ".templateignore"] {
            fs_err::copy(from.join(name), to.join(name))?;
        }
        Ok(())
    }
}

/// Fills a new folder beside `to`, and puts it in its place: `to` is the old one or the new one, never a part.
///
/// # Errors
///
/// Those of `fill`, and what making, removing or renaming a folder says.
pub fn replace(to: &Utf8Path, fill: impl FnOnce(&Utf8Path) -> Result<()>) -> Result<()> {
    let beside = Utf8Path::new(&format!("{to}.new")).to_owned();
    if beside.exists() {
        fs_err::remove_dir_all(&beside)?;
    }
    fs_err::create_dir_all(&beside)?;
    fill(&beside)?;
    if to.exists() {
        fs_err::remove_dir_all(to)?;
    }
    Ok(fs_err::rename(&beside, to)?)
}

/// Copies a project, following a link at its root; folders are made anew, for those of a store are read-only.
///
/// # Errors
///
/// What reading or writing a file says; a file whose name is not UTF-8.
pub fn copy(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    let from = from.canonicalize_utf8()?;
    for entry in walkdir::WalkDir::new(&from).sort_by_file_name() {
        let entry = entry.map_err(|error| Failure::unexpected(format!("cannot read `{from}`: {error}")))?;
        let path = Utf8Path::from_path(entry.path())
            .ok_or_else(|| Failure::config(format!("`{}` is not UTF-8", entry.path().display())))?;
        let target = to.join(path.strip_prefix(&from).expect("it was found below"));
        if entry.file_type().is_dir() {
            fs_err::create_dir_all(&target)?;
        } else {
            fs_err::copy(path, &target)?;
        }
    }
    Ok(())
}

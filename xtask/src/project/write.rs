//! Stage projects as folders: written from what was read and changed, copied, and put in place whole.

use camino::Utf8Path;
use serde_json::json;

use super::{Project, form};
use crate::base::failure::{Failure, Result};

impl Project {
    /// Writes the project to a folder: an object a file, in their order, and what kluctl reads beside them, which is
    /// made from the description and never copied.
    ///
    /// # Errors
    ///
    /// What writing a file says.
    pub fn write(&self, to: &Utf8Path) -> Result<()> {
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
        for (name, content) in form::kluctl_files(&self.description, &self.conflict_rules) {
            fs_err::write(to.join(name), content)?;
        }
        let description = serde_json::to_string_pretty(&self.description).expect("plain data");
        Ok(fs_err::write(to.join("stage.json"), description)?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_made_from_the_description_and_can_be_read_again() {
        let folder = tempfile::TempDir::new().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let (from, to) = (Utf8Path::from_path(&from).unwrap(), Utf8Path::from_path(&to).unwrap());
        let item = |name: &str, barrier: bool| {
            fs_err::create_dir_all(from.join(name)).unwrap();
            let object =
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "{{ b }}"}});
            fs_err::write(from.join(name).join("10.yaml"), object.to_string()).unwrap();
            json!({"directory": name, "component": "x", "phase": "base", "waitReadiness": false, "barrier": barrier})
        };
        let items = [item("01-a", false), item("02-b", true), item("03-c", false)];
        let description = json!({"schema": 1, "cluster": "c", "stage": "local", "environment": "local",
            "discriminator": "d", "phases": ["base"], "gates": [], "charts": [], "items": items});
        fs_err::write(from.join("stage.json"), description.to_string()).unwrap();
        let mut project = Project::read(from).unwrap();
        project.retain_items(|item| item.item.directory != "02-b");
        project.write(to).unwrap();

        let read = |name: &str| fs_err::read_to_string(to.join(name)).unwrap();
        assert_eq!(read(".templateignore"), "*\n");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&read(".kluctl.yaml")).unwrap(),
            json!({"discriminator": "d"})
        );
        let again = Project::read(to).unwrap();
        assert_eq!(again.description, project.description);
        assert_eq!(again.objects().count(), 2);
        // What stood behind the barrier of the item that is gone still does.
        let entries: serde_json::Value = serde_json::from_str(&read("deployment.yaml")).unwrap();
        let entries = entries["deployments"].as_array().unwrap().clone();
        let words: Vec<&str> = entries
            .iter()
            .map(|entry| entry["path"].as_str().unwrap_or("|"))
            .collect();
        assert_eq!(words, ["01-a", "|", "03-c"]);
    }
}

//! Several files changed together or not at all, also when the machine goes down in between.
//! It knows nothing of secrets; what it is given is written as it is.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::root::STATE;

/// The subject of the host lock under which such a change is made.
pub(crate) const LOCK: &str = "secrets";

/// New contents by path relative to the root; none removes the file.
#[derive(Debug, Default, Clone)]
pub struct Transaction {
    files: BTreeMap<Utf8PathBuf, Option<Vec<u8>>>,
}

/// What stands in the marker: from then on the change goes forward, whatever happens.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    write: Vec<Utf8PathBuf>,
    remove: Vec<Utf8PathBuf>,
}

fn folder(root: &Utf8Path) -> Utf8PathBuf {
    root.join(STATE).join("secrets/transaction")
}

impl Transaction {
    /// Will write a file.
    pub fn write(&mut self, path: impl Into<Utf8PathBuf>, content: impl Into<Vec<u8>>) {
        self.files.insert(path.into(), Some(content.into()));
    }

    /// Will remove a file.
    pub fn remove(&mut self, path: impl Into<Utf8PathBuf>) {
        self.files.insert(path.into(), None);
    }

    /// What a file will hold, if this changes it.
    pub fn content(&self, path: &Utf8Path) -> Option<&[u8]> {
        self.files.get(path)?.as_deref()
    }

    /// Paths that change, in order.
    pub fn paths(&self) -> impl Iterator<Item = &Utf8PathBuf> {
        self.files.keys()
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Does all of it, or fails with every file as it was.
    pub fn commit(&self, root: &Utf8Path) -> Result<()> {
        let folder = folder(root);
        self.stage(root, &folder)
            .map_err(|failure| unwritable(failure).hinted("nothing was changed"))?;
        match apply(root, &folder) {
            Ok(()) => Ok(fs_err::remove_dir_all(&folder)?),
            Err(failure) => {
                let undone = self.undo(root, &folder);
                let failure = match undone {
                    Ok(()) => unwritable(failure).hinted("every file is as it was"),
                    Err(undo) => failure.hinted(format!(
                        "taking it back failed too ({}); the old files are in `{folder}/old`",
                        undo.chain()
                    )),
                };
                Err(failure)
            }
        }
    }

    fn stage(&self, root: &Utf8Path, folder: &Utf8Path) -> Result<()> {
        if folder.exists() {
            fs_err::remove_dir_all(folder)?;
        }
        let mut marker = Marker {
            write: Vec::new(),
            remove: Vec::new(),
        };
        for (path, content) in &self.files {
            let before = root.join(path);
            if before.exists() {
                crate::base::files::write(&folder.join("old").join(path), &fs_err::read(&before)?, 0o644)?;
            }
            match content {
                Some(content) => {
                    crate::base::files::write(&folder.join("new").join(path), content, 0o644)?;
                    marker.write.push(path.clone());
                }
                None => marker.remove.push(path.clone()),
            }
        }
        let text = serde_json::to_string(&marker).or_fail(Kind::Unexpected, "cannot write the marker")?;
        crate::base::files::write(&folder.join("commit.json"), text.as_bytes(), 0o644)
    }

    fn undo(&self, root: &Utf8Path, folder: &Utf8Path) -> Result<()> {
        for path in self.files.keys() {
            let old = folder.join("old").join(path);
            let target = root.join(path);
            if old.exists() {
                let old = fs_err::read(old)?;
                if fs_err::read(&target).ok().as_ref() != Some(&old) {
                    crate::base::files::write(&target, &old, 0o644)?;
                }
            } else if target.exists() {
                fs_err::remove_file(target)?;
            }
        }
        Ok(fs_err::remove_dir_all(folder)?)
    }
}

/// What keeps a change from being written is the person's to mend, and nothing is changed.
fn unwritable(mut failure: Failure) -> Failure {
    failure.kind = Kind::Preflight;
    failure
}

fn apply(root: &Utf8Path, folder: &Utf8Path) -> Result<()> {
    let text = fs_err::read_to_string(folder.join("commit.json"))?;
    let marker: Marker = serde_json::from_str(&text)
        .map_err(|error| Failure::config(format!("`{folder}/commit.json` cannot be read: {error}")))?;
    let targets =
        |paths: &[Utf8PathBuf]| -> Result<Vec<Utf8PathBuf>> { paths.iter().map(|path| inside(root, path)).collect() };
    let (write, remove) = (targets(&marker.write)?, targets(&marker.remove)?);
    for (path, target) in marker.write.iter().zip(write) {
        crate::base::files::write(&target, &fs_err::read(folder.join("new").join(path))?, 0o644)?;
    }
    for path in remove.iter().filter(|path| path.exists()) {
        fs_err::remove_file(path)?;
    }
    Ok(())
}

/// Whether a change was cut off, or goes on.
pub fn is_pending(root: &Utf8Path) -> bool {
    folder(root).exists()
}

/// A path of a marker as a path of the checkout: one that leads out of it, by `..` or over a link, was written by
/// somebody else.
fn inside(root: &Utf8Path, path: &Utf8Path) -> Result<Utf8PathBuf> {
    let foreign =
        || {
            Failure::refused(format!(
            "the marker of a cut-off change names `{path}`, which is not a path of this checkout; nothing of it is done"
        ))
        .hinted(format!("`{}` is not what this xtask wrote: look at it, then remove it", folder(root)))
        };
    let mut whole = root.to_owned();
    for part in path.components() {
        let camino::Utf8Component::Normal(name) = part else {
            return Err(foreign());
        };
        whole.push(name);
        if fs_err::symlink_metadata(&whole).is_ok_and(|metadata| metadata.is_symlink()) {
            return Err(foreign());
        }
    }
    Ok(whole)
}

/// Finishes a change that was cut off after its marker was written, and forgets one that was cut off before. True
/// when something was finished.
pub fn recover(root: &Utf8Path) -> Result<bool> {
    let folder = folder(root);
    if !folder.exists() {
        return Ok(false);
    }
    let finished = folder.join("commit.json").exists();
    if finished {
        apply(root, &folder)?;
    }
    fs_err::remove_dir_all(&folder)?;
    Ok(finished)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        (folder, path)
    }

    #[test]
    fn all_files_change_or_none_does() {
        let (_keep, root) = root();
        fs_err::write(root.join("a"), "old").unwrap();
        // A folder stands where the second file should go.
        fs_err::create_dir_all(root.join("b/in-the-way")).unwrap();
        let mut change = Transaction::default();
        change.write("a", "new");
        change.write("b", "new");
        assert_eq!(change.commit(&root).unwrap_err().kind, Kind::Preflight);
        assert_eq!(fs_err::read_to_string(root.join("a")).unwrap(), "old");
    }

    #[test]
    fn a_change_that_was_cut_off_is_finished_by_the_next() {
        let (_keep, root) = root();
        fs_err::write(root.join("gone"), "old").unwrap();
        let mut change = Transaction::default();
        change.write("a/b", "new");
        change.remove("gone");
        change.stage(&root, &folder(&root)).unwrap();
        assert!(recover(&root).unwrap());
        assert_eq!(fs_err::read_to_string(root.join("a/b")).unwrap(), "new");
        assert!(!root.join("gone").exists());
        assert!(!recover(&root).unwrap());
    }

    #[test]
    fn a_marker_that_somebody_wrote_reaches_nothing_outside_of_the_checkout() {
        let (_keep, base) = root();
        let root = base.join("checkout");
        fs_err::create_dir_all(&root).unwrap();
        fs_err::create_dir(base.join("victim")).unwrap();
        fs_err::write(base.join("victim/data"), "theirs").unwrap();
        std::os::unix::fs::symlink(base.join("victim"), root.join("link")).unwrap();
        for path in ["../victim/data", "link/data", base.join("victim/data").as_str()] {
            for marker in [
                serde_json::json!({"write": [], "remove": [path]}),
                serde_json::json!({"write": [path], "remove": []}),
            ] {
                crate::base::files::write(&folder(&root).join("new/x"), b"x", 0o644).unwrap();
                crate::base::files::write(&folder(&root).join("commit.json"), marker.to_string().as_bytes(), 0o644)
                    .unwrap();
                assert_eq!(recover(&root).unwrap_err().kind, Kind::Refused, "{marker}");
                assert_eq!(fs_err::read_to_string(base.join("victim/data")).unwrap(), "theirs");
            }
        }
    }

    #[test]
    fn a_change_that_was_cut_off_before_its_marker_never_was() {
        let (_keep, root) = root();
        crate::base::files::write(&folder(&root).join("new/a"), b"new", 0o644).unwrap();
        assert!(!recover(&root).unwrap());
        assert!(!root.join("a").exists());
    }
}

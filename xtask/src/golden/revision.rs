//! What Git prints about goldens, read: trees, blobs and changed paths. It starts no process.

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::failure::{Failure, Result};

/// A file of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Name of the blob.
    pub blob: String,
    /// Path below the folder in which Git ran.
    pub path: Utf8PathBuf,
}

/// Reads `git ls-tree -r -z`.
pub fn listing(output: &[u8]) -> Result<Vec<Listed>> {
    let mut files = Vec::new();
    for entry in output.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
        let text = std::str::from_utf8(entry).map_err(|_| Failure::config("a path in the revision is not UTF-8"))?;
        let (head, path) = text.split_once('\t').ok_or_else(|| unexpected(text))?;
        let blob = head.split(' ').nth(2).ok_or_else(|| unexpected(text))?;
        files.push(Listed {
            blob: blob.to_owned(),
            path: path.into(),
        });
    }
    Ok(files)
}

fn unexpected(text: &str) -> Failure {
    Failure::unexpected(format!("git printed `{text}`, which is no entry of a tree"))
}

/// Writes the blobs that `git cat-file --batch` printed, in the order of `files`, into a folder made anew.
pub fn materialise(files: &[Listed], blobs: &[u8], below: &Utf8Path, folder: &Utf8Path) -> Result<()> {
    if folder.exists() {
        fs_err::remove_dir_all(folder)?;
    }
    fs_err::create_dir_all(folder)?;
    let mut rest = blobs;
    for file in files {
        let end = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or_else(|| unexpected(&file.blob))?;
        let head = String::from_utf8_lossy(&rest[..end]);
        let size: usize = head
            .split(' ')
            .nth(2)
            .and_then(|size| size.parse().ok())
            .ok_or_else(|| unexpected(&head))?;
        let content = rest.get(end + 1..end + 1 + size).ok_or_else(|| unexpected(&head))?;
        let relative = file.path.strip_prefix(below).unwrap_or(&file.path);
        if relative.components().any(|part| part.as_str() == "..") {
            return Err(unexpected(file.path.as_str()));
        }
        let path = folder.join(relative);
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        fs_err::write(&path, content)?;
        rest = rest.get(end + 2 + size..).unwrap_or_default();
    }
    Ok(())
}

/// Reads the paths of `git status --porcelain=v1 -z --no-renames`, which stand from the repository's root.
pub fn changed(output: &[u8]) -> Vec<Utf8PathBuf> {
    output
        .split(|byte| *byte == 0)
        .filter(|entry| entry.len() > 3)
        .map(|entry| Utf8PathBuf::from(String::from_utf8_lossy(&entry[3..]).into_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_and_its_blobs_become_files() {
        let files =
            listing(b"100644 blob aaaa\tk8s/golden/c/s/x y.yaml\x00100644 blob bbbb\tk8s/golden/c/s/10-a/z.yaml\0")
                .unwrap();
        assert_eq!(files[0].path, "k8s/golden/c/s/x y.yaml");
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap().join("against");
        materialise(
            &files,
            b"aaaa blob 4\na\nb\n\nbbbb blob 0\n\n",
            Utf8Path::new("k8s/golden/c/s"),
            &folder,
        )
        .unwrap();
        assert_eq!(fs_err::read_to_string(folder.join("x y.yaml")).unwrap(), "a\nb\n");
        assert_eq!(fs_err::read_to_string(folder.join("10-a/z.yaml")).unwrap(), "");
        assert!(materialise(&files, b"aaaa blob 400\na", Utf8Path::new("k8s"), &folder).is_err());
    }

    #[test]
    fn changed_paths_are_read_with_spaces_and_all() {
        assert_eq!(
            changed(b" M a b.yaml\0?? c\0D  d/e.yaml\0"),
            ["a b.yaml", "c", "d/e.yaml"]
        );
    }
}

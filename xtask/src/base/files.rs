//! Files of ours: written beside and renamed, removed, and read at a JSON pointer.
//! It knows no format but JSON.

use camino::Utf8Path;

use crate::base::failure::{Failure, Result};

/// Writes elsewhere and renames, so that a reader sees the old file or the new one.
pub fn write(path: &Utf8Path, content: &[u8], mode: u32) -> Result<()> {
    use std::io::Write;

    fs_err::create_dir_all(path.parent().unwrap_or(Utf8Path::new(".")))?;
    let part = crate::base::part::of(path);
    let written = fs_err::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .options_mode(mode)
        .open(&part)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs_err::rename(&part, path));
    if written.is_err() {
        let _nothing_to_lose = fs_err::remove_file(&part);
    }
    Ok(written?)
}

/// Bytes that the disk has left where a path is, or will be; none where that cannot be told.
pub(crate) fn free_bytes(path: &Utf8Path) -> Option<u64> {
    let there = path.ancestors().find(|folder| folder.exists())?;
    let disk = rustix::fs::statvfs(there.as_std_path()).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Sets the mode a file is created with.
trait OptionsMode {
    fn options_mode(&mut self, mode: u32) -> &mut Self;
}

impl OptionsMode for fs_err::OpenOptions {
    fn options_mode(&mut self, mode: u32) -> &mut Self {
        use std::os::unix::fs::OpenOptionsExt;
        self.options_mut().mode(mode);
        self
    }
}

/// Removes a file or a folder with all that is in it; absent is fine.
pub(crate) fn remove(path: &Utf8Path) -> Result<()> {
    let removed = fs_err::symlink_metadata(path).and_then(|metadata| {
        if metadata.is_dir() {
            fs_err::remove_dir_all(path)
        } else {
            fs_err::remove_file(path)
        }
    });
    match removed {
        // Somebody else may have been faster.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => Ok(removed?),
    }
}

/// What a JSON file says at a pointer.
pub fn later(root: &Utf8Path, file: &Utf8Path, pointer: &str) -> Result<serde_json::Value> {
    let path = root.join(file);
    let text = fs_err::read_to_string(&path)?;
    let value: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| Failure::unexpected(format!("`{file}`, written by an earlier step, is no JSON: {error}")))?;
    value.pointer(pointer).cloned().ok_or_else(|| {
        Failure::unexpected(format!(
            "`{file}`, written by an earlier step, has nothing at `{pointer}`"
        ))
    })
}

/// A JSON value as an argument: a string bare, anything else as JSON.
pub fn text_of(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_mode_that_was_asked_for_also_where_another_one_stood() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("below/file");
        for mode in [0o644, 0o600, 0o700, 0o600] {
            write(&path, b"x", mode).unwrap();
            let found = fs_err::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(format!("{found:o}"), format!("{mode:o}"));
        }
    }
}

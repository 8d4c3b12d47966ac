//! A folder of files as it lies on disk: paths, and what kind of file each is.
//! It reads no content, and follows no link inside the folder.

use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::failure::{Failure, Kind, Result, ResultExt};

/// One file below a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Path relative to the folder.
    pub path: Utf8PathBuf,
    /// What it is.
    pub form: Form,
}

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A plain file.
    Plain,
    /// A plain file that may be executed.
    Executable,
    /// A symbolic link.
    Symlink,
    /// A socket, a device, a pipe.
    Other,
}

/// Every file below a folder, sorted by path; empty when the folder does not exist.
pub fn scan(root: &Utf8Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    if fs_err::symlink_metadata(root).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return Ok(files);
    }
    // A rendered project is often reached over a link (`result`); below it nothing is followed.
    let root = root
        .canonicalize_utf8()
        .or_fail(Kind::Config, format!("cannot reach the folder `{root}`"))?;
    for entry in walkdir::WalkDir::new(&root).min_depth(1) {
        let entry = entry.or_fail(Kind::Unexpected, format!("cannot read the folder `{root}`"))?;
        let form = match entry.file_type() {
            kind if kind.is_dir() => continue,
            kind if kind.is_symlink() => Form::Symlink,
            kind if kind.is_file() => {
                let metadata = entry.metadata();
                let metadata = metadata.or_fail(Kind::Unexpected, format!("cannot read the folder `{root}`"))?;
                if metadata.permissions().mode() & 0o111 == 0 {
                    Form::Plain
                } else {
                    Form::Executable
                }
            }
            _ => Form::Other,
        };
        let below = entry.path().strip_prefix(&root).expect("a walk stays below its root");
        let Some(path) = Utf8Path::from_path(below) else {
            return Err(
                Failure::config(format!("a file name in `{root}` is not UTF-8: `{}`", below.display()))
                    .hinted("rename or remove it"),
            );
        };
        files.push(File {
            path: path.to_owned(),
            form,
        });
    }
    // By bytes, not by components: that is what everything here compares by, and much cheaper.
    files.sort_unstable_by(|left, right| left.path.as_str().cmp(right.path.as_str()));
    Ok(files)
}

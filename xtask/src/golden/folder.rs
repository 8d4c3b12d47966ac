//! A folder of files as it lies on disk: paths, what kind of file each is, and what the system says of its bytes.
//! It reads no content that nobody asks for, and follows no link inside the folder.

use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};

use crate::failure::{Failure, Kind, Result, ResultExt};

/// One file below a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Path relative to the folder.
    pub path: Utf8PathBuf,
    /// What it is.
    pub form: Form,
    /// What the system says of its bytes; equal stats mean equal bytes, but for a change within one clock tick.
    pub stat: Stat,
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

/// What changes whenever a file's bytes do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Stat {
    /// Device and inode.
    pub identity: (u64, u64),
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change of content, in nanoseconds.
    pub modified: i128,
    /// Time of the last change of anything, in nanoseconds; nobody can set it.
    pub changed: i128,
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
    descend(&root, Utf8Path::new(""), &mut files)?;
    files.sort_unstable_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

fn descend(root: &Utf8Path, below: &Utf8Path, files: &mut Vec<File>) -> Result<()> {
    for entry in fs_err::read_dir(root.join(below))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(
                Failure::config(format!("a file name in `{}` is not UTF-8", root.join(below)))
                    .hinted("rename or remove it"),
            );
        };
        let path = below.join(name);
        let kind = entry.file_type()?;
        if kind.is_dir() {
            descend(root, &path, files)?;
            continue;
        }
        let metadata = entry.metadata()?;
        let form = if kind.is_symlink() {
            Form::Symlink
        } else if !kind.is_file() {
            Form::Other
        } else if metadata.mode() & 0o111 != 0 {
            Form::Executable
        } else {
            Form::Plain
        };
        let stat = Stat {
            identity: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
            changed: i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec()),
        };
        files.push(File { path, form, stat });
    }
    Ok(())
}

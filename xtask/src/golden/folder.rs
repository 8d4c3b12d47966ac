//! A folder of files as it lies on disk: paths, what kind of file each is, and what the system says of its bytes.
//! It reads no content that nobody asks for, and follows no link inside the folder.

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{AtFlags, Dir, FileType, statat};

use crate::base::failure::{Failure, Kind, Result, ResultExt};

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
    pub modified: i64,
    /// Time of the last change of anything, in nanoseconds; nobody can set it.
    pub changed: i64,
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
    // By bytes, not by components: that is what everything here compares by, and much cheaper.
    files.sort_unstable_by(|left, right| left.path.as_str().cmp(right.path.as_str()));
    Ok(files)
}

fn descend(root: &Utf8Path, below: &Utf8Path, files: &mut Vec<File>) -> Result<()> {
    let folder = root.join(below);
    let failed = |error: rustix::io::Errno| {
        Failure::unexpected(std::io::Error::from(error)).context(format!("cannot read the folder `{folder}`"))
    };
    // Straight from the system: thousands of entries cost half of what they do with a path and a handle each.
    let handle = fs_err::File::open(folder.as_std_path())?;
    let entries = Dir::read_from(handle.file()).map_err(failed)?;
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().to_str() else {
            return Err(
                Failure::config(format!("a file name in `{folder}` is not UTF-8")).hinted("rename or remove it")
            );
        };
        if matches!(name, "." | "..") {
            continue;
        }
        let found = statat(handle.file(), entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let mut path = String::with_capacity(below.as_str().len() + 1 + name.len());
        if !below.as_str().is_empty() {
            path.push_str(below.as_str());
            path.push('/');
        }
        path.push_str(name);
        let path = Utf8PathBuf::from(path);
        let form = match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => {
                folders.push(path);
                continue;
            }
            FileType::Symlink => Form::Symlink,
            FileType::RegularFile if found.st_mode & 0o111 != 0 => Form::Executable,
            FileType::RegularFile => Form::Plain,
            _ => Form::Other,
        };
        files.push(File {
            path,
            form,
            stat: Stat::of(&found),
        });
    }
    folders.iter().try_for_each(|folder| descend(root, folder, files))
}

impl Stat {
    #[expect(
        clippy::cast_sign_loss,
        clippy::unnecessary_cast,
        reason = "the fields have another width on each system; none is negative"
    )]
    fn of(found: &rustix::fs::Stat) -> Self {
        const SECOND: i64 = 1_000_000_000;
        Self {
            identity: (found.st_dev as u64, found.st_ino as u64),
            size: found.st_size as u64,
            modified: found.st_mtime as i64 * SECOND + found.st_mtime_nsec as i64,
            changed: found.st_ctime as i64 * SECOND + found.st_ctime_nsec as i64,
        }
    }
}

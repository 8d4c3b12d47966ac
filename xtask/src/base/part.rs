//! Files and folders that are not whole yet: where they are written before they are renamed to their place, and how
//! those are cleaned up that a killed run left.
//! They lie below the checkout's own state, under the id of the process that writes them, so that nothing which judges
//! a folder of the checkout ever meets one.

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::failure::Result;
use crate::base::root::STATE;

/// Folder of what is not whole yet, below the state of a checkout.
const PARTS: &str = "parts";

/// A name for what will be renamed to a path: below the state of the checkout that the path is in, else beside it.
pub(crate) fn of(path: &Utf8Path) -> Utf8PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);

    let parts = path
        .ancestors()
        .skip(1)
        .map(|folder| folder.join(STATE))
        .find(|state| is_folder(state))
        .map(|state| state.join(PARTS))
        .filter(|parts| is_folder(parts) || fs_err::create_dir(parts).is_ok() || is_folder(parts))
        // What is renamed stays on its disk.
        .filter(|parts| disk(parts).is_some() && disk(parts) == path.parent().and_then(disk));
    match parts {
        Some(parts) => parts.join(format!(
            "{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        )),
        None => beside(path),
    }
}

/// A name beside a path.
fn beside(path: &Utf8Path) -> Utf8PathBuf {
    path.with_file_name(format!(
        ".{}.{}",
        path.file_name().unwrap_or("file"),
        std::process::id()
    ))
}

/// Removes what runs left that are gone; whether it can be removed decides nothing else.
pub(crate) fn sweep(root: &Utf8Path) -> Result<()> {
    let parts = root.join(STATE).join(PARTS);
    if !is_folder(&parts) {
        return Ok(());
    }
    for entry in fs_err::read_dir(&parts)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let writer = name.split('-').next().and_then(|pid| pid.parse().ok());
        let writes = writer
            .and_then(rustix::process::Pid::from_raw)
            .is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH));
        if !writes {
            let _next_time = if entry.file_type()?.is_dir() {
                fs_err::remove_dir_all(entry.path())
            } else {
                fs_err::remove_file(entry.path())
            };
        }
    }
    Ok(())
}

fn disk(path: &Utf8Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;

    fs_err::metadata(path).ok().map(|metadata| metadata.dev())
}

/// Whether a path is a folder itself, and no link to one.
fn is_folder(path: &Utf8Path) -> bool {
    fs_err::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_lies_in_the_state_of_its_checkout_and_goes_with_its_writer() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let target = root.join("k8s/secrets/a.yaml");
        assert_eq!(of(&target).parent(), target.parent(), "there is no state to write in");
        fs_err::create_dir(root.join(STATE)).unwrap();
        fs_err::create_dir_all(root.join("k8s/secrets")).unwrap();
        let part = of(&target);
        assert!(part.starts_with(root.join(STATE).join(PARTS)), "{part}");
        assert_ne!(part, of(&target), "two parts have one name");
        fs_err::write(&part, "half").unwrap();
        // No process has this id: Linux ends at 2^22, others before.
        let dead = part.with_file_name("8388607-0");
        fs_err::create_dir(&dead).unwrap();
        fs_err::write(dead.join("x"), "half").unwrap();
        sweep(root).unwrap();
        assert!(part.exists() && !dead.exists());
    }
}

//! The folder of everything xtask keeps in a checkout, judged before anything in it is believed. A checkout may be a
//! stranger's: what Git, an archive or another user put there is not what an earlier run has left.
//! It knows no file of it but the marker.

use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::time::SystemTime;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::base::failure::{Failure, Kind, Result};
use crate::base::git_index;
use crate::base::root::STATE;

/// The marker: it says which folder it was made for, and neither a clone nor a copy is that folder.
const MARKER: &str = "marker.json";

/// What a person puts there before the first run.
const GIVEN: &str = "kubeconfigs";

/// Links below the folder itself that we make: what Nix built stays a link into its store.
const LINKS: &str = "image-";

/// A label and a host name take no more characters.
const LONGEST_NAME: usize = 63;

/// How many paths are named.
const NAMED: usize = 5;

/// What stands in the marker.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Marker {
    /// Number of the folder on its disk, which goes with it when the checkout is renamed.
    inode: u64,
    /// When it was made, in nanoseconds, for numbers are used again; none where the disk does not keep that.
    born: Option<u128>,
}

impl Marker {
    fn of(metadata: &std::fs::Metadata) -> Self {
        let born = metadata.created().ok();
        let born = born.and_then(|born| born.duration_since(SystemTime::UNIX_EPOCH).ok());
        Self {
            inode: metadata.ino(),
            born: born.map(|since| since.as_nanos()),
        }
    }
}

/// Refuses a state folder that no xtask made for this user in this checkout; makes one where there is none.
pub fn check(root: &Utf8Path) -> Result<()> {
    let tracked = git_index::tracked_below(root, STATE)?;
    if !tracked.is_empty() {
        return Err(Failure::many(
            Kind::Refused,
            format!("`{STATE}` is xtask's own and never in Git, but files of it are tracked; nothing of it was read"),
            &tracked[..tracked.len().min(NAMED)],
        )
        .hinted(format!(
            "whoever committed them may want xtask to act on them: look, then `git rm -r --cached {STATE}`, commit, and \
             remove the folder"
        )));
    }
    let folder = root.join(STATE);
    let metadata = match fs_err::symlink_metadata(&folder) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            make(&folder);
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    if !metadata.is_dir() {
        return Err(
            Failure::refused(format!("`{folder}` is not a folder itself; nothing of it was read"))
                .hinted("remove it; a bigger disk is given to the whole checkout, not to a link in it"),
        );
    }
    let me = rustix::process::geteuid().as_raw();
    if metadata.uid() != me {
        return Err(Failure::refused(format!(
            "`{folder}` belongs to user {}, and this is user {me}; nothing of it was read",
            metadata.uid()
        ))
        .hinted("run xtask as the user who owns the checkout, or in a checkout of your own"));
    }
    let mode = metadata.permissions().mode() & 0o777;
    let marked = is_marked(&folder, &metadata);
    if mode & 0o022 != 0 && (marked || !is_untouched(&folder)?) {
        return Err(Failure::refused(format!(
            "`{folder}` may be written by others (mode {mode:04o}); nothing of it was read"
        ))
        .hinted(format!("see that all of it is yours, then `chmod 700 {folder}`")));
    }
    for entry in fs_err::read_dir(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_symlink() && !name.starts_with(LINKS) {
            return Err(Failure::refused(format!(
                "`{STATE}/{name}` is a link, and xtask makes none there; nothing behind it was read or removed"
            ))
            .hinted(format!(
                "look where it leads, then remove the link: `rm {folder}/{name}`"
            )));
        }
    }
    // Whoever found it there before the marker sees the marker of a run that was just faster.
    if marked || is_untouched(&folder)? || is_marked(&folder, &metadata) {
        if !marked {
            // What a person made may be open to others; what is put into it from now on is not.
            let private = std::fs::Permissions::from_mode(0o700);
            let _not_kept_either = fs_err::set_permissions(&folder, private);
            mark(&folder, &metadata);
        }
        return Ok(());
    }
    Err(Failure::refused(format!(
        "no xtask made `{folder}` where it is: it came with an archive or a copy, or from an xtask that left no marker; \
         nothing of it was read"
    ))
    .hinted(format!(
        "look at it and remove it (`rm -r {folder}`); kubeconfigs may stay in `{STATE}/{GIVEN}`"
    ))
    .hinted("`cargo xtask local-down` then ends what still runs of an embedded cluster"))
}

/// A path of the checkout, which leads nowhere else: none of the folders on its way is a link, and no part is `..`.
/// An absolute path is not one of the checkout, and is as the recipe says.
pub(crate) fn inside(root: &Utf8Path, path: &Utf8Path) -> Result<Utf8PathBuf> {
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    let foreign = |why: &str| {
        Failure::refused(format!("`{path}` {why}; nothing there was changed")).hinted(format!(
            "it should be a path of the checkout `{root}`, with folders alone on its way"
        ))
    };
    let mut whole = root.to_owned();
    let mut parts = path
        .components()
        .filter(|part| *part != Utf8Component::CurDir)
        .peekable();
    while let Some(part) = parts.next() {
        let Utf8Component::Normal(name) = part else {
            return Err(foreign("leads out of the checkout"));
        };
        whole.push(name);
        // The last one is replaced or removed itself.
        if parts.peek().is_some() && fs_err::symlink_metadata(&whole).is_ok_and(|metadata| metadata.is_symlink()) {
            return Err(foreign(&format!("leads over the link `{whole}`")));
        }
    }
    Ok(whole)
}

/// Whether a name is one that can be part of a path, of a label and of a command line.
pub fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    name.len() <= LONGEST_NAME
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// Makes the folder with its marker. Where that cannot be, nothing can be kept either, and who wants to says so.
fn make(folder: &Utf8Path) {
    let made = std::fs::DirBuilder::new().mode(0o700).create(folder);
    if made.is_ok()
        && let Ok(metadata) = fs_err::symlink_metadata(folder)
    {
        mark(folder, &metadata);
    }
}

/// Writes the marker; a disk that takes none takes nothing that would need it.
fn mark(folder: &Utf8Path, metadata: &std::fs::Metadata) {
    let text = serde_json::to_string(&Marker::of(metadata)).expect("plain data");
    let part = folder.join(format!(".marker.{}", std::process::id()));
    let _not_kept_either = fs_err::write(&part, text).and_then(|()| fs_err::rename(&part, folder.join(MARKER)));
}

fn is_marked(folder: &Utf8Path, metadata: &std::fs::Metadata) -> bool {
    fs_err::read_to_string(folder.join(MARKER))
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        == Some(Marker::of(metadata))
}

/// Whether nothing is there but what a person puts there: kubeconfigs, which are judged by themselves.
fn is_untouched(folder: &Utf8Path) -> Result<bool> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let given = name == GIVEN && entry.file_type()?.is_dir();
        if !given && !name.starts_with(".marker.") {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().canonicalize().unwrap()).unwrap();
        let root = path.join("checkout");
        fs_err::create_dir(&root).unwrap();
        (folder, root)
    }

    fn refused(root: &Utf8Path) -> String {
        let failure = check(root).unwrap_err();
        assert_eq!(failure.kind, Kind::Refused);
        failure.chain()
    }

    #[test]
    fn a_state_that_a_run_has_made_is_believed_and_goes_with_its_checkout() {
        let (_keep, root) = root();
        check(&root).unwrap();
        let mode = fs_err::metadata(root.join(STATE)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "others may look into it");
        fs_err::create_dir(root.join(STATE).join("runs")).unwrap();
        check(&root).unwrap();
        let renamed = root.with_file_name("renamed");
        fs_err::rename(&root, &renamed).unwrap();
        check(&renamed).unwrap();
    }

    #[test]
    fn a_state_that_no_run_has_made_is_refused_but_for_kubeconfigs() {
        let (_keep, root) = root();
        let state = root.join(STATE);
        fs_err::create_dir_all(state.join("kubeconfigs")).unwrap();
        fs_err::write(state.join("kubeconfigs/prod.yaml"), "").unwrap();
        check(&root).unwrap();
        // The same folder as a copy or an archive has it.
        let copy = root.with_file_name("copy");
        fs_err::create_dir_all(copy.join(STATE)).unwrap();
        fs_err::copy(state.join(MARKER), copy.join(STATE).join(MARKER)).unwrap();
        assert!(refused(&copy).contains("no xtask made"));
        fs_err::remove_file(copy.join(STATE).join(MARKER)).unwrap();
        fs_err::create_dir(copy.join(STATE).join("runs")).unwrap();
        assert!(refused(&copy).contains("no xtask made"));
    }

    #[test]
    fn a_link_is_refused_as_the_state_and_in_it() {
        let (_keep, root) = root();
        let victim = root.with_file_name("victim");
        fs_err::create_dir(&victim).unwrap();
        std::os::unix::fs::symlink(&victim, root.join(STATE)).unwrap();
        assert!(refused(&root).contains("not a folder itself"));
        fs_err::remove_file(root.join(STATE)).unwrap();
        check(&root).unwrap();
        std::os::unix::fs::symlink(&victim, root.join(STATE).join("runs")).unwrap();
        assert!(refused(&root).contains("`.xtask/runs` is a link"));
        assert_eq!(
            fs_err::read_dir(&victim).unwrap().count(),
            0,
            "something was written there"
        );
    }

    #[test]
    fn a_state_that_others_may_write_is_refused() {
        let (_keep, root) = root();
        check(&root).unwrap();
        let open = std::fs::Permissions::from_mode(0o770);
        fs_err::set_permissions(root.join(STATE), open).unwrap();
        assert!(refused(&root).contains("may be written by others"));
    }

    #[test]
    fn a_path_of_the_checkout_leads_nowhere_else() {
        let (_keep, root) = root();
        let victim = root.with_file_name("victim");
        fs_err::create_dir(&victim).unwrap();
        std::os::unix::fs::symlink(&victim, root.join("link")).unwrap();
        for path in ["../victim/x", "a/../../victim", "link/x", "link/deeper/x"] {
            let failure = inside(&root, Utf8Path::new(path)).unwrap_err();
            assert_eq!(failure.kind, Kind::Refused, "{path}");
        }
        for path in ["link", "a/b", "./a"] {
            assert!(inside(&root, Utf8Path::new(path)).is_ok(), "{path}");
        }
    }

    #[test]
    fn a_name_is_no_path_and_no_flag() {
        for name in ["k3s-dev", "a", "0", "node_1.example"] {
            assert!(is_name(name), "{name}");
        }
        let long = "a".repeat(64);
        for name in ["", ".", "..", "../x", "a/b", "-a", "a-", "a b", "a\n", "é", &long] {
            assert!(!is_name(name), "{name}");
        }
    }
}

//! Which files Git tracks below a folder, read from its index. It starts no process and changes nothing: the checkout
//! may be one that a stranger made, and its state is judged before anything else is read.

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::failure::{Failure, Result};

/// Bytes of an entry before its object name: times, device, inode, mode, owner and size.
const STAT: usize = 40;

/// Set in the flags of an entry that has two more bytes of them.
const EXTENDED: u16 = 0x4000;

/// Bytes of a SHA-1 and of a SHA-256.
const SHA1: usize = 20;
const SHA256: usize = 32;

/// Paths that Git tracks at or below a name in a checkout, from the checkout's root; none where there is no Git.
///
/// A file system may not tell `A` from `a`, so that neither does this.
pub(crate) fn tracked_below(root: &Utf8Path, name: &str) -> Result<Vec<String>> {
    let Some(top) = root.ancestors().find(|folder| folder.join(".git").exists()) else {
        return Ok(Vec::new());
    };
    let git = git_folder(top)?;
    let hash = hash_length(&git);
    let below = root.strip_prefix(top).unwrap_or(Utf8Path::new("")).join(name);
    let mut found = Vec::new();
    let mut next = Some(git.join("index"));
    while let Some(path) = next.take() {
        let bytes = match fs_err::read(&path) {
            Ok(bytes) => bytes,
            // Nothing was ever added.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
            Err(error) => return Err(error.into()),
        };
        let index = read(&bytes, hash).ok_or_else(|| {
            Failure::config(format!(
                "`{path}` is not an index that this xtask reads, so nothing says what Git tracks"
            ))
            .hinted("`git update-index --index-version 2` writes it anew")
        })?;
        found.extend(index.paths.into_iter().filter(|path| is_below(path, below.as_str())));
        // An index may be split in two; the second part has no third.
        next = index.shared.map(|name| git.join(format!("sharedindex.{name}")));
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn is_below(path: &str, folder: &str) -> bool {
    let (path, folder) = (path.to_ascii_lowercase(), folder.to_ascii_lowercase());
    path.strip_prefix(&folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The folder that `.git` is, or that it names in a worktree.
fn git_folder(top: &Utf8Path) -> Result<Utf8PathBuf> {
    let path = top.join(".git");
    if path.is_dir() {
        return Ok(path);
    }
    let text = fs_err::read_to_string(&path)?;
    let named = text.trim().strip_prefix("gitdir:").map(str::trim);
    named.map(|named| top.join(named)).ok_or_else(|| {
        Failure::config(format!("`{path}` names no Git folder, so nothing says what Git tracks"))
            .hinted("`git status` says what is wrong with it")
    })
}

/// How long an object name of this repository is.
fn hash_length(git: &Utf8Path) -> usize {
    let common = fs_err::read_to_string(git.join("commondir")).unwrap_or_default();
    let config = fs_err::read_to_string(git.join(common.trim()).join("config")).unwrap_or_default();
    let sha256 = config.lines().any(|line| {
        line.split_once('=').is_some_and(|(key, value)| {
            key.trim().eq_ignore_ascii_case("objectformat") && value.trim().eq_ignore_ascii_case("sha256")
        })
    });
    if sha256 { SHA256 } else { SHA1 }
}

/// What an index says.
#[derive(Debug, Default)]
struct Index {
    paths: Vec<String>,
    /// Name of the other part of a split index.
    shared: Option<String>,
}

/// Reads an index of version 2, 3 or 4; none where it is none of these.
fn read(bytes: &[u8], hash: usize) -> Option<Index> {
    let version = match bytes.get(..8)? {
        [b'D', b'I', b'R', b'C', 0, 0, 0, version @ 2..=4] => *version,
        _ => return None,
    };
    let count = u32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?);
    let mut index = Index::default();
    let mut at = 12;
    let mut last = Vec::new();
    for _ in 0..count {
        let begin = at;
        at += STAT + hash;
        let flags = u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?);
        at += if version >= 3 && flags & EXTENDED != 0 { 4 } else { 2 };
        if version == 4 {
            // The path is that of the entry before it, less so many bytes, with others behind.
            let (less, read) = varint(bytes.get(at..)?)?;
            at += read;
            last.truncate(last.len().checked_sub(less)?);
        } else {
            last.clear();
        }
        let length = bytes.get(at..)?.iter().position(|byte| *byte == 0)?;
        last.extend_from_slice(&bytes[at..at + length]);
        at += length + 1;
        if version < 4 {
            at = begin + (at - begin).next_multiple_of(8);
        }
        index.paths.push(String::from_utf8_lossy(&last).into_owned());
    }
    // Extensions follow, and the checksum of it all.
    while at + 8 + hash <= bytes.len() {
        let length = u32::from_be_bytes(bytes.get(at + 4..at + 8)?.try_into().ok()?) as usize;
        let content = bytes.get(at + 8..at + 8 + length)?;
        if bytes.get(at..at + 4)? == b"link" {
            let name = content.get(..hash)?;
            let hex = || name.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            index.shared = name.iter().any(|byte| *byte != 0).then(hex);
        }
        at += 8 + length;
    }
    Some(index)
}

/// A number as Git writes those of variable length, and how many bytes it takes.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = usize::from(bytes.first()? & 0x7f);
    let mut read = 1;
    while bytes.get(read - 1)? & 0x80 != 0 {
        let byte = *bytes.get(read)?;
        value = value.checked_add(1)?.checked_mul(128)? + usize::from(byte & 0x7f);
        read += 1;
    }
    Some((value, read))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(root: &Utf8Path, words: &[&str]) {
        let home = root.parent().unwrap();
        duct::cmd("git", words)
            .dir(root)
            .env("HOME", home)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdout_null()
            .stderr_null()
            .run()
            .unwrap_or_else(|error| panic!("git {words:?}: {error}"));
    }

    #[test]
    fn what_git_tracks_is_found_in_every_form_of_its_index() {
        let forms: [&[&[&str]]; 5] = [
            &[&["init"]],
            &[&["init"], &["update-index", "--index-version", "4"]],
            &[&["init", "--object-format=sha256"]],
            &[&["init"], &["update-index", "--split-index"]],
            &[&["init"], &["add", "--intent-to-add", "--force", "other/c"]],
        ];
        for form in forms {
            let folder = tempfile::Builder::new().tempdir().unwrap();
            let root = Utf8Path::from_path(folder.path()).unwrap().join("top");
            for file in [".state/runs/a", ".stated/b", ".zz", "other/c", "sub/.state/x"] {
                fs_err::create_dir_all(root.join(file).parent().unwrap()).unwrap();
                fs_err::write(root.join(file), file).unwrap();
            }
            git(&root, form[0]);
            let found = |root: &Utf8Path| tracked_below(root, ".state").unwrap();
            assert!(found(&root).is_empty(), "nothing was added: {form:?}");
            git(&root, &["add", ".stated/b", ".zz"]);
            for words in &form[1..] {
                git(&root, words);
            }
            assert!(found(&root).is_empty(), "{form:?}: {:?}", found(&root));
            git(&root, &["add", "--force", "."]);
            for words in &form[1..] {
                git(&root, words);
            }
            assert_eq!(found(&root), [".state/runs/a"], "{form:?}");
            assert_eq!(found(&root.join("sub")), ["sub/.state/x"], "{form:?}");
            assert_eq!(tracked_below(&root, ".STATE").unwrap(), [".state/runs/a"], "{form:?}");
        }
    }

    #[test]
    fn an_index_that_is_cut_off_is_no_index() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap().join("top");
        fs_err::create_dir(&root).unwrap();
        fs_err::write(root.join("a"), "a").unwrap();
        git(&root, &["init"]);
        git(&root, &["add", "a"]);
        let index = root.join(".git/index");
        let whole = fs_err::read(&index).unwrap();
        fs_err::write(&index, &whole[..40]).unwrap();
        assert!(tracked_below(&root, ".state").is_err());
    }
}

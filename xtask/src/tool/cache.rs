//! The per-user cache of what Go built: its folders, its stamps, and what makes an entry good enough to use.
//! It builds nothing; an entry without a whole stamp does not exist for it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::table::Module;
use crate::base::failure::{Failure, Result};

/// The schema version of a stamp.
const SCHEMA: u32 = 1;

/// What stands beside the programs of an entry, written last.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Stamp {
    schema: u32,
    module: String,
    version: String,
    /// Digest of everything that decides the programs.
    key: String,
    /// The same without the Go that built them: what a host without Go compares.
    source: String,
    go: String,
    programs: Vec<ProgramStamp>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ProgramStamp {
    program: String,
    size: u64,
    sha256: String,
}

/// The folder of the cache.
pub(super) fn folder(environment: &BTreeMap<OsString, OsString>) -> Result<Utf8PathBuf> {
    let get = |name: &str| {
        environment
            .get(OsStr::new(name))
            .filter(|value| !value.is_empty())
            .map(|value| value.to_str().map(Utf8PathBuf::from))
    };
    let absolute = |name: &str, path: Option<Utf8PathBuf>| match path {
        Some(path) if path.is_absolute() => Ok(path),
        Some(path) => Err(Failure::preflight(format!("`{name}={path}` must be an absolute path"))
            .hinted("`XTASK_TOOL_CACHE=/a/folder/of/yours` says where built tools are kept")),
        None => Err(Failure::preflight(format!("`{name}` is not UTF-8"))
            .hinted("`XTASK_TOOL_CACHE=/a/folder/of/yours` says where built tools are kept")),
    };
    if let Some(path) = get("XTASK_TOOL_CACHE") {
        return absolute("XTASK_TOOL_CACHE", path);
    }
    const NAME: &str = "vanixiets-xtask/tools";
    if let Some(path) = get("XDG_CACHE_HOME") {
        return Ok(absolute("XDG_CACHE_HOME", path)?.join(NAME));
    }
    let Some(home) = get("HOME") else {
        return Err(
            Failure::preflight("there is no folder for built tools: `HOME` is not set")
                .hinted("set `XTASK_TOOL_CACHE=/a/folder/of/yours`, or `HOME`"),
        );
    };
    let home = absolute("HOME", home)?;
    Ok(if cfg!(target_os = "macos") {
        home.join("Library/Caches").join(NAME)
    } else {
        home.join(".cache").join(NAME)
    })
}

/// Digest of everything that decides what a module's programs are, but the Go that builds them.
pub(super) fn source(module: &Module) -> String {
    let mut parts = vec![
        // Counted up when the recipe in `build` changes in a way that changes what comes out.
        "recipe 1",
        module.name,
        module.version,
        module.go_mod,
        module.go_sum,
        std::env::consts::OS,
        std::env::consts::ARCH,
    ];
    parts.extend(module.variables);
    for program in module.programs {
        parts.extend([program.tool.program(), program.package]);
    }
    digest(&parts)
}

/// Digest of everything that decides what a module's programs are.
pub(super) fn key(module: &Module, go: &str) -> String {
    digest(&[&source(module), go])
}

/// The folder of a module's entry.
pub(super) fn entry_folder(cache: &Utf8Path, module: &Module, go: &str) -> Utf8PathBuf {
    // 64 bits tell apart the few entries that a folder ever holds; the stamp has them all.
    cache.join(format!("{}-{}", module.name, &key(module, go)[..16]))
}

/// The folder of a module's good entry: the one that this Go built, or where there is no Go that could
/// build, one that another Go built from the same pin.
pub(super) fn entry(cache: &Utf8Path, module: &Module, go: Option<&str>) -> Option<Utf8PathBuf> {
    if let Some(go) = go {
        let folder = entry_folder(cache, module, go);
        let stamp = stamp(&folder, module)?;
        return (stamp.key == key(module, go)).then_some(folder);
    }
    entries(cache, module)
        .into_iter()
        .find(|folder| stamp(folder, module).is_some())
}

/// The folders of a module's entries, by any Go.
fn entries(cache: &Utf8Path, module: &Module) -> Vec<Utf8PathBuf> {
    let mut folders: Vec<Utf8PathBuf> = cache
        .read_dir_utf8()
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.into_path()))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.starts_with(&format!("{}-", module.name)))
        })
        .collect();
    folders.sort();
    folders
}

/// Programs of this module's entries whose bytes are not those that were built: what is passed over on the way.
pub(super) fn altered(cache: &Utf8Path, module: &Module, go: Option<&str>) -> Vec<Utf8PathBuf> {
    let folders = match go {
        Some(go) => vec![entry_folder(cache, module, go)],
        None => entries(cache, module),
    };
    let mut altered = Vec::new();
    for folder in folders {
        let Some(stamp) = written(&folder, module) else {
            continue;
        };
        let known = stamp.programs.iter().filter(|known| has_size(&folder, known));
        altered.extend(
            known
                .filter(|known| !is_as_built(&folder, known))
                .map(|known| folder.join("bin").join(&known.program)),
        );
    }
    altered
}

/// The stamp of an entry, if that is whole: written to its end, for this pin, every program with the bytes that were
/// built.
fn stamp(folder: &Utf8Path, module: &Module) -> Option<Stamp> {
    let stamp = written(folder, module)?;
    let all = module.programs.iter().all(|program| {
        stamp.programs.iter().any(|known| {
            known.program == program.tool.program() && has_size(folder, known) && is_as_built(folder, known)
        })
    });
    all.then_some(stamp)
}

/// The stamp of an entry, if that was written to its end and for this pin.
fn written(folder: &Utf8Path, module: &Module) -> Option<Stamp> {
    let text = fs_err::read(folder.join("stamp.json")).ok()?;
    let stamp: Stamp = serde_json::from_slice(&text).ok()?;
    let ours = stamp.schema == SCHEMA && stamp.module == module.name && stamp.source == source(module);
    ours.then_some(stamp)
}

fn has_size(folder: &Utf8Path, known: &ProgramStamp) -> bool {
    fs_err::metadata(folder.join("bin").join(&known.program))
        .is_ok_and(|metadata| metadata.is_file() && metadata.len() == known.size)
}

/// Whether a program has the digest of its stamp. A file that had it is remembered by what the kernel says of it, and
/// hashed again when any of that differs.
fn is_as_built(folder: &Utf8Path, known: &ProgramStamp) -> bool {
    let path = folder.join("bin").join(&known.program);
    let Ok(now) = FileState::of(&path) else {
        return false;
    };
    let memory = folder.join(format!("{}.hashed.json", known.program));
    let remembered = fs_err::read(&memory)
        .ok()
        .and_then(|text| serde_json::from_slice::<Hashed>(&text).ok());
    if remembered.is_some_and(|hashed| hashed.state == now && hashed.sha256 == known.sha256) {
        return true;
    }
    // The file must not change between the look and the digest.
    let as_built = file_digest(&path).is_ok_and(|digest| digest == known.sha256)
        && FileState::of(&path).is_ok_and(|after| after == now);
    if as_built {
        remember(&memory, now, &known.sha256);
    }
    as_built
}

/// What the kernel says of a file. No user sets the time of its last change, which is another as soon as bytes, mode
/// or name are; the times of a copy from elsewhere are never those of the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct FileState {
    device: u64,
    inode: u64,
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl FileState {
    fn of(path: &Utf8Path) -> std::io::Result<Self> {
        use std::os::unix::fs::MetadataExt;

        let metadata = fs_err::metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// That a file had a digest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Hashed {
    state: FileState,
    sha256: String,
}

/// Remembers a digest. Where nothing can be written, as in a folder that a runner shares, it is hashed each time.
fn remember(memory: &Utf8Path, state: FileState, sha256: &str) {
    let hashed = Hashed {
        state,
        sha256: sha256.to_owned(),
    };
    let text = serde_json::to_vec(&hashed).expect("numbers and a digest are JSON");
    let _hashed_again = crate::base::files::write(memory, &text, 0o600);
}

/// Whether the bytes of an entry's program are still the ones that were built.
pub(super) fn is_unaltered(folder: &Utf8Path, module: &Module, program: &str) -> Result<bool> {
    let Some(stamp) = stamp(folder, module) else {
        return Ok(false);
    };
    match stamp.programs.iter().find(|known| known.program == program) {
        Some(known) => Ok(file_digest(&folder.join("bin").join(program))? == known.sha256),
        None => Ok(false),
    }
}

/// Where Go keeps what it compiles and downloads when the person has no folder for that.
pub(super) fn go_folder(cache: &Utf8Path) -> Utf8PathBuf {
    cache.join("go")
}

/// How folders begin that a build of this module fills.
pub(super) fn half_prefix(module: &Module) -> String {
    format!(".building-{}-", module.name)
}

/// Everything in the folder that is ours, and nothing else that may lie there.
pub(super) fn ours(cache: &Utf8Path, modules: &[Module]) -> Result<Vec<Utf8PathBuf>> {
    let entries = match cache.read_dir_utf8() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.into_path();
        let is_ours = path.file_name().is_some_and(|name| {
            name == "go"
                || modules.iter().any(|module| {
                    let key = name.strip_prefix(module.name).and_then(|rest| rest.strip_prefix('-'));
                    key.is_some_and(|key| key.len() == 16 && key.bytes().all(|byte| byte.is_ascii_hexdigit()))
                        || name.starts_with(&half_prefix(module))
                        || name.strip_suffix(".log") == Some(module.name)
                })
        });
        if is_ours {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Bytes of a file, or of all files in a folder.
pub(super) fn size(path: &Utf8Path) -> u64 {
    walkdir::WalkDir::new(path)
        .sort_by_file_name()
        .into_iter()
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|metadata| metadata.len())
        .sum()
}

/// Writes the stamp into a folder whose programs are complete, everything on disk before it returns.
pub(super) fn seal(folder: &Utf8Path, module: &Module, go: &str) -> Result<()> {
    let mut programs = Vec::new();
    for program in module.programs {
        let path = folder.join("bin").join(program.tool.program());
        let file = fs_err::File::open(&path)?;
        file.sync_all()?;
        programs.push(ProgramStamp {
            program: program.tool.program().to_owned(),
            size: file.metadata()?.len(),
            sha256: file_digest(&path)?,
        });
    }
    let stamp = Stamp {
        schema: SCHEMA,
        module: module.name.to_owned(),
        version: module.version.to_owned(),
        key: key(module, go),
        source: source(module),
        go: go.to_owned(),
        programs,
    };
    let text = serde_json::to_vec_pretty(&stamp).expect("a stamp of strings and numbers is JSON");
    let path = folder.join("stamp.json");
    fs_err::write(&path, text)?;
    fs_err::File::open(&path)?.sync_all()?;
    fs_err::File::open(folder.join("bin"))?.sync_all()?;
    Ok(fs_err::File::open(folder)?.sync_all()?)
}

fn file_digest(path: &Utf8Path) -> Result<String> {
    let mut file = fs_err::File::open(path)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(format!("{:x}", hash.finalize()));
        }
        hash.update(&chunk[..count]);
    }
}

/// Digest of parts that cannot run into each other.
pub(super) fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    format!("{:x}", hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<OsString, OsString> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn the_folder_is_the_users_choice_then_the_hosts_custom() {
        let given = [("XTASK_TOOL_CACHE", "/a b"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(folder(&environment(&given)).unwrap(), "/a b");
        assert_eq!(folder(&environment(&given[1..])).unwrap(), "/x/vanixiets-xtask/tools");
        let home = folder(&environment(&given[2..])).unwrap();
        assert!(
            home.starts_with("/h") && home.ends_with("vanixiets-xtask/tools"),
            "{home}"
        );
    }

    #[test]
    fn without_a_home_the_variable_to_set_is_named() {
        for variables in [&[][..], &[("HOME", "")], &[("XTASK_TOOL_CACHE", "relative")]] {
            let failure = folder(&environment(variables)).unwrap_err();
            assert_eq!(failure.kind, crate::base::failure::Kind::Preflight);
            assert!(
                failure.hints.iter().any(|hint| hint.contains("XTASK_TOOL_CACHE")),
                "{failure:?}"
            );
        }
    }

    #[test]
    fn parts_of_a_key_cannot_run_into_each_other() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_ne!(digest(&["a", ""]), digest(&["a"]));
    }

    #[test]
    fn another_go_makes_another_key() {
        let module = &super::super::table::MODULES[0];
        assert_ne!(
            key(module, "go version go1.26.8 linux/amd64"),
            key(module, "go version go1.26.9 linux/amd64")
        );
    }
}

//! What a golden was made from: digests of the module sources and of the lock file.
//! It reads the checkout and asks no Git and no Nix, so that any machine can say that a golden is older.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::base::failure::{Failure, Result};
use crate::base::formats::json;

/// The schema version of `source.json`.
const SCHEMA: u32 = 1;

/// `source.json` of a golden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Record {
    /// Always 1.
    schema: u32,
    /// Digest over path and content of every module source.
    pub modules: String,
    /// Digest of the lock file; empty when there is none.
    pub lock: String,
}

/// The lock file.
const LOCK: &str = "flake.lock";

/// Files and folders that decide nothing of what is rendered: tests, hosts, servers, applications, and the outputs of
/// the flake that are about none of it. What is not known here counts, also a component of such a name.
const BESIDE: [&str; 12] = [
    "modules/tests",
    "modules/k8s/testing",
    "modules/nixos",
    "modules/machines",
    "modules/terranix",
    "modules/apps",
    "modules/options-doc.nix",
    "modules/generated.nix",
    "modules/flake/shell.nix",
    "modules/flake/xtask.nix",
    "modules/flake/checks.nix",
    "modules/flake/image.nix",
];

/// Names of files that are tests wherever they stand.
const TESTS: [&str; 2] = ["tests.nix", "testing.nix"];

/// Whether a golden is of what the checkout holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// It was blessed from the modules and secrets as they are.
    Today,
    /// They were edited since.
    Older,
    /// It does not say what it is of.
    Unknown,
}

impl Age {
    /// The age of the golden in a folder, by its own record.
    pub fn of(root: &Utf8Path, golden: &Utf8Path) -> Result<Self> {
        let text = match fs_err::read_to_string(golden.join(super::problem::RECORD)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::Unknown),
            Err(error) => return Err(error.into()),
        };
        // One that a merge has broken is of nothing that the checkout holds.
        let is_of_today = match Record::read(&text) {
            Ok(record) => record == Record::of(root)?,
            Err(_) => false,
        };
        Ok(if is_of_today { Self::Today } else { Self::Older })
    }
}

impl Record {
    /// Folders whose files decide what is rendered: modules, and the encrypted files that are wrapped into manifests.
    pub const FOLDERS: [&str; 2] = ["modules", "k8s/secrets"];

    /// What the checkout holds now.
    pub fn of(root: &Utf8Path) -> Result<Self> {
        let mut paths: Vec<Utf8PathBuf> = Vec::new();
        for folder in Self::FOLDERS.into_iter().filter(|folder| root.join(folder).is_dir()) {
            let counts = |entry: &walkdir::DirEntry| {
                let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
                let is_test = entry.file_type().is_file() && TESTS.iter().any(|name| entry.file_name() == *name);
                !is_test && BESIDE.iter().all(|beside| path != *beside)
            };
            for entry in walkdir::WalkDir::new(root.join(folder))
                .into_iter()
                .filter_entry(counts)
            {
                let entry = entry.map_err(|error| Failure::unexpected(format!("cannot read `{folder}`: {error}")))?;
                if entry.file_type().is_dir() {
                    continue;
                }
                let path = Utf8Path::from_path(entry.path())
                    .ok_or_else(|| Failure::config(format!("`{}` is not UTF-8", entry.path().display())))?;
                paths.push(path.strip_prefix(root).expect("it was found below").to_owned());
            }
        }
        paths.sort_unstable();
        let mut digest = Sha256::new();
        for path in paths {
            let content = match fs_err::read(root.join(&path)) {
                Ok(content) => content,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            // Lengths stand between the parts, so that no two lists of files give the same bytes.
            digest.update((path.as_str().len() as u64).to_le_bytes());
            digest.update(path.as_str());
            digest.update((content.len() as u64).to_le_bytes());
            digest.update(&content);
        }
        let lock = match fs_err::read(root.join(LOCK)) {
            Ok(content) => json::sha256(content),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            schema: SCHEMA,
            modules: format!("{:x}", digest.finalize()),
            lock,
        })
    }

    /// The text of `source.json`.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("strings and a number are JSON");
        text.push('\n');
        text
    }

    /// Reads the text of `source.json`.
    pub fn read(text: &str) -> Result<Self> {
        let record: Self =
            serde_json::from_str(text).map_err(|error| Failure::config(format!("`source.json`: {error}")))?;
        if record.schema == SCHEMA {
            Ok(record)
        } else {
            Err(Failure::config(format!(
                "`source.json` has schema {}, {SCHEMA} is known",
                record.schema
            )))
        }
    }
}

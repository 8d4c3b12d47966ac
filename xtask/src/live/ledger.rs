//! The ledger: the last deployments of each stage, kept in the cluster they went to.

use std::time::SystemTime;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Delta, lease};
use crate::failure::{Failure, Kind, Result};
use crate::plan::LedgerContent;

/// Deployments of a stage that are kept.
const KEPT: usize = 20;

/// One deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// RFC 3339, UTC.
    pub time: String,
    /// Nonce of the run.
    pub run: String,
    /// `user@host`.
    pub actor: String,
    /// Where the project came from.
    pub source: String,
    /// Digest over every file of the project.
    pub digest: String,
    /// Objects of the project.
    pub objects: usize,
    /// Objects that differed before the deploy.
    pub changed: usize,
    /// Component or phase, when only a part was deployed.
    pub only: Option<String>,
}

/// The ConfigMap with one more entry.
pub fn append(current: &str, project: &Utf8Path, delta: &Delta, content: &LedgerContent) -> Result<Value> {
    let mut entries = entries(current, &content.stage)?;
    // A resumed run writes its entry once.
    entries.retain(|entry| entry.run != content.run);
    entries.push(Entry {
        time: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        run: content.run.clone(),
        actor: format!(
            "{}@{}",
            std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned()),
            lease::host()
        ),
        source: content.source.clone(),
        digest: digest(project)?,
        objects: delta.objects,
        changed: delta.differences.len(),
        only: content.only.clone(),
    });
    let first = entries.len().saturating_sub(KEPT);
    let text = serde_json::to_string(&entries[first..]).expect("plain data");
    Ok(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": lease::name(&content.cluster), "namespace": lease::NAMESPACE},
        "data": {content.stage.clone(): text},
    }))
}

/// The entries of a stage, oldest first; none when there is no ledger yet.
pub fn entries(current: &str, stage: &str) -> Result<Vec<Entry>> {
    if current.trim().is_empty() {
        return Ok(Vec::new());
    }
    let unreadable = |error: serde_json::Error| {
        Failure::new(Kind::Step, format!("the ledger in the cluster cannot be read: {error}"))
    };
    let object: Value = serde_json::from_str(current).map_err(unreadable)?;
    match object
        .get("data")
        .and_then(|data| data.get(stage))
        .and_then(Value::as_str)
    {
        None => Ok(Vec::new()),
        Some(text) => serde_json::from_str(text).map_err(unreadable),
    }
}

/// SHA-256 over the names and contents of every file of a project.
pub fn digest(project: &Utf8Path) -> Result<String> {
    let mut hash = Sha256::new();
    for entry in walkdir::WalkDir::new(project).sort_by_file_name() {
        let entry = entry.map_err(|error| Failure::unexpected(format!("cannot read `{project}`: {error}")))?;
        if entry.file_type().is_file() {
            let name = entry
                .path()
                .strip_prefix(project)
                .unwrap_or(entry.path())
                .to_string_lossy()
                .into_owned();
            let content = fs_err::read(entry.path())?;
            hash.update(format!("{}:{name}:{}:", name.len(), content.len()));
            hash.update(&content);
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

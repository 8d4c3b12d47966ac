//! The deployment history: the last deployments of each stage, kept in the cluster they went to.

use std::collections::BTreeMap;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::review::Review;
use super::{Delta, lease};
use crate::base::failure::{Failure, Kind, Result};
use crate::call::Caller;

/// The deployment history with one more entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RecordDeployment {
    /// The ConfigMap as it is, or an empty file.
    pub current: Utf8PathBuf,
    /// The project that was deployed.
    pub project: Utf8PathBuf,
    /// What was compared before the deploy.
    pub delta: Utf8PathBuf,
    /// The commit that was deployed from; the file is missing where there is no Git.
    pub revision: Utf8PathBuf,
    /// Whether the project was reviewed, as `Reviewed` wrote it; the file is missing where nothing was compared.
    pub review: Utf8PathBuf,
    /// What is recorded.
    pub entry: HistoryContent,
    /// JSON file of the object.
    pub to: Utf8PathBuf,
}

impl RecordDeployment {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let observed = Observed {
            checkout: lease::place(on.root),
            revision: on.text_if_any(&self.revision)?.map(|text| text.trim().to_owned()),
            reviewed: on
                .text_if_any(&self.review)?
                .and_then(|text| serde_json::from_str::<Review>(&text).ok())
                .map(|review| review.reviewed),
            lock: on
                .text_if_any(Utf8Path::new("flake.lock"))?
                .map(crate::base::formats::json::sha256),
            tools: on
                .tools
                .iter()
                .filter_map(|(tool, found)| Some((tool.program().to_owned(), found.version.as_ref()?.to_string())))
                .collect(),
        };
        let object = append(
            &on.text(&self.current)?,
            &on.root.join(&self.project),
            &on.read::<Delta>(&self.delta)?,
            &self.entry,
            observed,
        )?;
        on.write_json(&self.to, &object)
    }
}

/// Copies a deployed project where `rollback` finds it, and forgets the oldest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ArchiveProject {
    /// The project that was deployed.
    pub project: Utf8PathBuf,
    /// Folder of the archived projects of this stage.
    pub to: Utf8PathBuf,
}

impl ArchiveProject {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        keep(&on.root.join(&self.project), &on.root.join(&self.to))?;
        Ok(())
    }
}

/// What the history records of a deployment; actor and time are added when it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HistoryContent {
    /// Cluster, for the name of the ConfigMap.
    pub cluster: String,
    /// Stage that was deployed.
    pub stage: String,
    /// Nonce of the run.
    pub run: String,
    /// Where the project came from: `golden`, `folder` or a store path.
    pub source: String,
    /// Component or phase, when only a part was deployed.
    pub only: Option<String>,
    /// Why, in the words of who deployed.
    pub reason: Option<String>,
    /// The deployment that a rollback went back to.
    pub then: Option<RollbackOf>,
}

/// An earlier deployment, where its project came from, and whether that was reviewed: the history says the same of the
/// rollback to it, for the checkout that rolls back is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RollbackOf {
    /// Its run.
    pub run: String,
    /// The commit that it was made from.
    pub revision: Option<String>,
    /// SHA-256 of the `flake.lock` of then.
    pub lock: Option<String>,
    /// Whether it was equal to its golden.
    pub reviewed: Option<bool>,
}

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
    /// The CI run, where there was one.
    #[serde(default)]
    pub ci: Option<String>,
    /// Why, in the words of who deployed.
    #[serde(default)]
    pub reason: Option<String>,
    /// The commit that was deployed from.
    #[serde(default)]
    pub revision: Option<String>,
    /// SHA-256 of `flake.lock`.
    #[serde(default)]
    pub lock: Option<String>,
    /// Where the project came from.
    pub source: String,
    /// The path of the project, when Nix built it.
    #[serde(default)]
    pub store_path: Option<String>,
    /// Digest over every file of the project.
    pub digest: String,
    /// Whether the project was equal to its golden; none where nothing was compared.
    #[serde(default)]
    pub reviewed: Option<bool>,
    /// Objects of the project, or of the part that was deployed.
    pub objects: usize,
    /// Objects that differed before the deploy.
    pub changed: usize,
    /// Component or phase, when only a part was deployed.
    pub only: Option<String>,
    /// Run whose deployment was taken up again.
    #[serde(default)]
    pub rolled_back_to: Option<String>,
    /// Versions of the tools that did it.
    #[serde(default)]
    pub tools: BTreeMap<String, String>,
}

/// What is observed when an entry is written.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The commit that was deployed from.
    pub revision: Option<String>,
    /// Whether the project was equal to its golden.
    pub reviewed: Option<bool>,
    /// SHA-256 of `flake.lock`.
    pub lock: Option<String>,
    /// Versions of the tools.
    pub tools: BTreeMap<String, String>,
    /// The checkout that deployed, and its host.
    pub checkout: String,
}

/// The ConfigMap with one more entry.
pub fn append(
    current: &str,
    project: &Utf8Path,
    delta: &Delta,
    content: &HistoryContent,
    observed: Observed,
) -> Result<Value> {
    let mut entries = entries(current, &content.stage)?;
    let observed = match &content.then {
        None => observed,
        Some(then) => Observed {
            revision: then.revision.clone(),
            reviewed: then.reviewed,
            lock: then.lock.clone(),
            ..observed
        },
    };
    // A resumed run writes its entry once.
    entries.retain(|entry| entry.run != content.run);
    entries.push(Entry {
        time: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        run: content.run.clone(),
        actor: actor(),
        ci: ci_run(),
        reason: content.reason.clone(),
        revision: observed.revision,
        lock: observed.lock,
        source: content.source.clone(),
        store_path: fs_err::canonicalize(project)
            .ok()
            .and_then(|path| path.to_str().map(ToOwned::to_owned))
            .filter(|path| path.starts_with("/nix/store/")),
        digest: digest(project)?,
        reviewed: observed.reviewed,
        objects: delta.objects,
        changed: delta.differences.len(),
        only: content.only.clone(),
        rolled_back_to: content.then.as_ref().map(|then| then.run.clone()),
        tools: observed.tools,
    });
    let first = entries.len().saturating_sub(KEPT);
    let text = serde_json::to_string(&entries[first..]).expect("plain data");
    Ok(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": lease::name(&content.cluster), "namespace": lease::NAMESPACE,
            "annotations": {lease::CHECKOUT: observed.checkout},
        },
        "data": {content.stage.clone(): text},
    }))
}

/// `user@host`; in a hosted workflow the person who started it.
fn actor() -> String {
    let user = ["GITHUB_ACTOR", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    format!("{user}@{}", crate::base::host::host())
}

/// The run of a hosted workflow, as an address where it is known.
fn ci_run() -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (
        variable("GITHUB_SERVER_URL"),
        variable("GITHUB_REPOSITORY"),
        variable("GITHUB_RUN_ID"),
    ) {
        (Some(server), Some(repository), Some(run)) => Some(format!("{server}/{repository}/actions/runs/{run}")),
        (_, _, Some(run)) => Some(run),
        _ => variable("CI_JOB_URL").or_else(|| variable("BUILD_URL")),
    }
}

/// Projects of a stage that are kept on this host.
const KEPT_PROJECTS: usize = 5;

/// Copies a project to `to/<digest>` and forgets all but the newest; returns the digest.
pub fn keep(project: &Utf8Path, to: &Utf8Path) -> Result<String> {
    let digest = digest(project)?;
    let order_path = to.join("order.json");
    let mut order: Vec<String> = match fs_err::read_to_string(&order_path) {
        Ok(text) => serde_json::from_str(&text).unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    // What is no digest was written by somebody else, and is no folder of ours to forget.
    order.retain(|kept| is_digest(kept));
    let place = to.join(&digest);
    if !place.exists() {
        crate::project::replace(&place, |beside| crate::project::copy(project, beside))?;
    }
    order.retain(|kept| *kept != digest);
    order.push(digest.clone());
    while order.len() > KEPT_PROJECTS {
        let old = to.join(order.remove(0));
        if old.exists() {
            fs_err::remove_dir_all(&old)?;
        }
    }
    let text = serde_json::to_string(&order).expect("plain data");
    crate::base::files::write(&order_path, text.as_bytes(), 0o600)?;
    Ok(digest)
}

/// The entries of a stage, oldest first; none when there is no deployment history yet.
pub fn entries(current: &str, stage: &str) -> Result<Vec<Entry>> {
    if current.trim().is_empty() {
        return Ok(Vec::new());
    }
    let unreadable = |error: serde_json::Error| {
        Failure::new(
            Kind::Step,
            format!("the deployment history in the cluster cannot be read: {error}"),
        )
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
    // A link to a store path is followed; links inside a project are none of its files.
    let project = &project.canonicalize_utf8()?;
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
    Ok(format!("{:x}", hash.finalize()))
}

/// Whether a name is a digest as [`digest`] makes them.
fn is_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The newest of the projects that are kept in a folder; none where none is.
pub fn newest_kept(folder: &Utf8Path) -> Result<Option<Utf8PathBuf>> {
    let Ok(text) = fs_err::read_to_string(folder.join("order.json")) else {
        return Ok(None);
    };
    let order: Vec<String> = serde_json::from_str(&text)
        .map_err(|error| Failure::config(format!("`{folder}/order.json` cannot be read: {error}")))?;
    let newest = order
        .last()
        .filter(|kept| is_digest(kept))
        .map(|digest| folder.join(digest));
    Ok(newest.filter(|folder| folder.is_dir()))
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;

    fn content(run: &str) -> HistoryContent {
        HistoryContent {
            cluster: "c".into(),
            stage: "full".into(),
            run: run.into(),
            source: "nix".into(),
            only: None,
            reason: None,
            then: None,
        }
    }

    fn delta() -> Delta {
        Delta {
            foreign: Vec::new(),
            fresh: false,
            objects: 1,
            groups: Vec::new(),
            more_kinds: false,

            differences: Vec::new(),
            left_alone: Vec::new(),
            orphans: Vec::new(),
        }
    }

    fn project(folder: &tempfile::TempDir, text: &str) -> Utf8PathBuf {
        let path = Utf8PathBuf::from_path_buf(folder.path().join("project")).unwrap();
        fs_err::create_dir_all(&path).unwrap();
        fs_err::write(path.join("x"), text).unwrap();
        path
    }

    #[test]
    fn the_last_twenty_deployments_are_kept_and_a_resumed_run_writes_one() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = project(&folder, "x");
        let mut current = String::new();
        for run in (0..25).chain([24]) {
            let next = append(
                &current,
                &path,
                &delta(),
                &content(&format!("run-{run}")),
                Observed::default(),
            );
            current = next.unwrap().to_string();
        }
        let kept = entries(&current, "full").unwrap();
        assert_eq!(kept.len(), KEPT);
        assert_eq!((kept[0].run.as_str(), kept[KEPT - 1].run.as_str()), ("run-5", "run-24"));
        // At its largest it fits into an object of a mebibyte, for three stages.
        let mut long = content("run-25");
        long.reason = Some("é".repeat(500));
        let text = append(&current, &path, &delta(), &long, Observed::default()).unwrap();
        assert!(text.to_string().len() * 3 < 300_000);
    }

    #[test]
    fn a_rollback_is_of_the_revision_that_it_goes_back_to() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut back = content("b");
        back.then = Some(RollbackOf {
            run: "a".into(),
            revision: Some("then".into()),
            lock: None,
            reviewed: Some(true),
        });
        let observed = Observed {
            revision: Some("now".into()),
            lock: Some("now".into()),
            ..Observed::default()
        };
        let text = append("", &project(&folder, "x"), &delta(), &back, observed).unwrap();
        let entry = entries(&text.to_string(), "full").unwrap().remove(0);
        assert_eq!(entry.revision.as_deref(), Some("then"));
        assert_eq!((entry.lock, entry.reviewed), (None, Some(true)));
        assert_eq!(entry.rolled_back_to.as_deref(), Some("a"));
    }

    #[test]
    fn an_order_that_somebody_wrote_reaches_no_folder_but_those_that_are_kept() {
        let folder = tempfile::TempDir::new().unwrap();
        let base = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        let (to, victim) = (base.join("kept"), base.join("victim"));
        fs_err::create_dir_all(&to).unwrap();
        fs_err::create_dir(&victim).unwrap();
        fs_err::write(victim.join("stage.json"), "theirs").unwrap();
        let planted: Vec<&str> = ["../victim", victim.as_str()].repeat(KEPT_PROJECTS);
        fs_err::write(to.join("order.json"), serde_json::to_string(&planted).unwrap()).unwrap();
        assert_eq!(newest_kept(&to).unwrap(), None, "it is taken for a project of ours");
        let digest = keep(&project(&folder, "1"), &to).unwrap();
        assert!(victim.join("stage.json").exists(), "a folder of somebody else is gone");
        assert_eq!(newest_kept(&to).unwrap(), Some(to.join(digest)));
    }

    #[test]
    fn the_last_five_projects_are_kept_and_one_that_comes_again_is_the_newest() {
        let folder = tempfile::TempDir::new().unwrap();
        let to = Utf8PathBuf::from_path_buf(folder.path().join("kept")).unwrap();
        let digests: Vec<String> = ["1", "2", "3", "4", "5", "2", "6"]
            .iter()
            .map(|text| keep(&project(&folder, text), &to).unwrap())
            .collect();
        let order: Vec<String> = serde_json::from_str(&fs_err::read_to_string(to.join("order.json")).unwrap()).unwrap();
        assert_eq!(
            order,
            [&digests[2], &digests[3], &digests[4], &digests[1], &digests[6]].map(Clone::clone)
        );
        for digest in &order {
            assert_eq!(super::digest(&to.join(digest)).unwrap(), *digest);
        }
        assert!(!to.join(&digests[0]).exists());
    }
}

//! The (cluster, stage) pairs of the platform config, where the golden of each lies, and where its rendering lies in a folder.
//! It reads folders and descriptions, and renders nothing.

use std::collections::BTreeMap;
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};

use super::object::Identity;
use super::problem::Problem;
use super::resolve::Comparison;
use crate::base::failure::{Failure, Kind, Result};
use crate::platform::{Platform, Stage};
use crate::project::StageDescription;

/// Folder of all goldens, relative to the root.
pub const GOLDENS: &str = "k8s/golden";

/// One stage on one cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// Cluster of the platform config.
    pub cluster: String,
    /// Stage that the cluster carries.
    pub stage: Stage,
}

impl fmt::Display for Pair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.cluster, self.stage)
    }
}

impl Pair {
    /// Where the golden lies, relative to the root.
    pub fn golden(&self) -> Utf8PathBuf {
        Utf8Path::new(GOLDENS).join(&self.cluster).join(self.stage.name())
    }
}

/// The pairs that are meant: all of the platform config, or those of one stage, one cluster, or both.
pub fn chosen(platform: &Platform, cluster: Option<&str>, stage: Option<Stage>) -> Result<Vec<Pair>> {
    if let Some(name) = cluster {
        match stage {
            Some(stage) => drop(platform.stage(name, stage)?),
            None => drop(platform.cluster(name)?),
        }
    }
    let pairs: Vec<Pair> = platform
        .clusters
        .iter()
        .filter(|(name, _)| cluster.is_none_or(|cluster| cluster == name.as_str()))
        .flat_map(|(name, summary)| {
            summary.stages.keys().map(|stage| Pair {
                cluster: name.clone(),
                stage: *stage,
            })
        })
        .filter(|pair| stage.is_none_or(|stage| stage == pair.stage))
        .collect();
    if pairs.is_empty() {
        return Err(Failure::config(
            "no cluster of the platform config carries such a stage",
        ));
    }
    Ok(pairs)
}

/// Folders below `k8s/golden` that belong to no pair of the platform config, relative to the root.
pub fn strays(root: &Utf8Path, platform: &Platform) -> Result<Vec<Utf8PathBuf>> {
    let known: Vec<Utf8PathBuf> = chosen(platform, None, None)?.iter().map(Pair::golden).collect();
    let mut found: Vec<Utf8PathBuf> = super::folder::scan(&root.join(GOLDENS))?
        .into_iter()
        .map(|file| Utf8Path::new(GOLDENS).join(file.path))
        .filter(|path| !known.iter().any(|golden| path.starts_with(golden)))
        .map(|path| path.components().take(4).collect())
        .collect();
    found.dedup();
    Ok(found)
}

/// Finds the renderings of pairs below a folder: `<cluster>-<stage>` folders, or one project itself.
/// Pairs without one are left out when none was named on the command line.
pub fn renderings(folder: &Utf8Path, pairs: &[Pair], named: Named) -> Result<BTreeMap<Pair, Utf8PathBuf>> {
    if folder.join("stage.json").is_file() {
        let description = StageDescription::read(folder)?;
        let pair = Pair {
            cluster: description.cluster,
            stage: description.stage,
        };
        if !pairs.contains(&pair) {
            return Err(Failure::config(format!(
                "`{folder}` holds `{pair}`, which is not asked for"
            )));
        }
        return Ok(BTreeMap::from([(pair, folder.to_owned())]));
    }
    let mut found = BTreeMap::new();
    for pair in pairs {
        let project = folder.join(pair.to_string());
        if project.join("stage.json").is_file() {
            let description = StageDescription::read(&project)?;
            if description.cluster != pair.cluster || description.stage != pair.stage {
                return Err(Failure::config(format!(
                    "`{project}` says that it is `{}-{}`",
                    description.cluster, description.stage
                )));
            }
            found.insert(pair.clone(), project);
        } else if named == Named::Yes {
            return Err(Failure::config(format!("no rendered project in `{project}`")));
        }
    }
    if found.is_empty() {
        return Err(Failure::new(Kind::Config, format!("no rendered project in `{folder}`"))
            .hinted("give a folder that holds `stage.json`, or `<cluster>-<stage>` folders that do"));
    }
    Ok(found)
}

/// Whether pairs were named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// By `--stage` or `--cluster`.
    Yes,
    /// All of the platform config is meant.
    No,
}

/// Adds a problem for each object that two stages of one cluster have: each deploy would take it from the other,
/// and prune it with the other.
pub fn find_shared(comparisons: &mut BTreeMap<Pair, Comparison>) {
    let mut owners: BTreeMap<(String, Identity), Vec<Pair>> = BTreeMap::new();
    for (pair, comparison) in comparisons.iter() {
        for identity in comparison.objects.keys() {
            owners
                .entry((pair.cluster.clone(), identity.clone()))
                .or_default()
                .push(pair.clone());
        }
    }
    for ((_, identity), pairs) in owners.into_iter().filter(|(_, pairs)| pairs.len() > 1) {
        for pair in &pairs {
            let others = pairs
                .iter()
                .filter(|other| *other != pair)
                .map(|other| format!("`{other}`"))
                .collect();
            let comparison = comparisons
                .get_mut(pair)
                .expect("owners were found among the comparisons");
            comparison.problems.push(Problem::Shared {
                object: identity.clone(),
                others,
            });
        }
    }
}

//! Where the objects of a move are: on the source, on the target, on both or on neither, and what that means.
//! Objects are told by group, kind, namespace and name; their UIDs are recorded, for they change on the way.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::look::{flag, items, kind, text};
use crate::base::failure::{Failure, Kind, Result};
use crate::base::ui::Status;
use crate::call::Caller;
use crate::project::ObjectRef;

/// Which objects a backup has: what a move has to bring over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MoveGraph {
    /// Folder of `clusterctl move --to-directory`.
    pub backup: Utf8PathBuf,
    /// JSON file of the type [`Graph`].
    pub to: Utf8PathBuf,
}

impl MoveGraph {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let mut objects = Vec::new();
        for entry in fs_err::read_dir(on.root.join(&self.backup))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let text = fs_err::read_to_string(&path)?;
            let object = crate::base::formats::yaml::read_one(&text)
                .map_err(|error| Failure::new(Kind::Step, format!("`{}` cannot be read: {error}", path.display())))?;
            objects.push(object);
        }
        let graph = Graph::of(&objects);
        if graph.clusters() != 1 {
            return Err(Failure::new(
                Kind::Step,
                format!(
                    "the backup has {} Clusters among {} objects, one is expected",
                    graph.clusters(),
                    objects.len()
                ),
            )
            .hinted("clusterctl moves nothing and exits with code 0 in a namespace without a Cluster"));
        }
        on.write_json(&self.to, &graph)?;
        on.ui
            .status(Status::Checked, format!("{} objects have to move", graph.objects.len()));
        Ok(())
    }
}

/// Where the objects of a graph are now, and what that means for the move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LocateObjects {
    /// What has to move.
    pub graph: Utf8PathBuf,
    /// What the source has of it.
    pub source: Utf8PathBuf,
    /// What the target has of it.
    pub target: Utf8PathBuf,
    /// JSON file of the type [`Located`].
    pub to: Utf8PathBuf,
    /// JSON list of what may be deleted from the source, for the target has it.
    pub remnants: Utf8PathBuf,
}

impl LocateObjects {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let graph: Graph = on.read(&self.graph)?;
        let source = on.read_or_null(&self.source)?;
        let located = graph.locate(&source, &on.read_or_null(&self.target)?);
        on.write_json(&self.remnants, &remnants(&located, &source))?;
        on.write_json(&self.to, &located)?;
        on.ui.status(Status::Checked, located.reason);
        Ok(())
    }
}

/// Whether a move can go on from here: nothing is lost, nothing of two clusters is mixed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MovePossible {
    /// What `LocateObjects` wrote.
    pub located: Utf8PathBuf,
}

impl MovePossible {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let located: Located = on.read(&self.located)?;
        match located.place {
            Place::Lost => Err(Failure::many(Kind::Step, located.reason, &located.missing)
                .hinted("nothing more is deleted; the backup has every object: `clusterctl move --from-directory`")),
            Place::Twice => Err(Failure::refused(located.reason).hinted(
                "pause the Cluster on the side that is wrong before anything else: `kubectl patch cluster NAME --type=merge -p '{\"spec\":{\"paused\":true}}'`",
            )),
            _ => Ok(()),
        }
    }
}

/// Whether everything is on the target and nothing on the source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MoveDone {
    /// What `LocateObjects` wrote.
    pub located: Utf8PathBuf,
}

impl MoveDone {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let located: Located = on.read(&self.located)?;
        if located.place == Place::Moved && !located.unpause_target {
            return Ok(());
        }
        let what = if located.unpause_target {
            "the target's Cluster is still paused".to_owned()
        } else {
            located.reason
        };
        Err(Failure::many(
            Kind::Step,
            format!("the move is not done, whatever clusterctl said: {what}"),
            &located.missing,
        )
        .hinted("`--resume` looks again, and completes it or begins it anew"))
    }
}

/// What a move has to bring over: kind and name, with the UID it has on the source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// UIDs by object.
    pub objects: BTreeMap<String, String>,
}

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Everything is on the source, nothing on the target.
    Before,
    /// Everything is on the source, something on the target: the creation was cut off, or not yet followed by
    /// the deletion.
    Created,
    /// Everything is on the target, something still on the source.
    Deleting,
    /// Everything is on the target, nothing on the source.
    Moved,
    /// Both sides have a Cluster that is not paused: two sets of controllers would fight over the machines.
    Twice,
    /// Something is on neither side, or gone from the source before it was on the target.
    Lost,
}

/// Where everything is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Located {
    /// What it comes to.
    pub place: Place,
    /// That in a sentence.
    pub reason: String,
    /// UIDs on the source, by object.
    pub source: BTreeMap<String, String>,
    /// UIDs on the target, by object.
    pub target: BTreeMap<String, String>,
    /// Objects that are on neither side, or not where they should be.
    pub missing: Vec<String>,
    /// Whether the source's Cluster stands paused though the move has to begin anew.
    pub unpause_source: bool,
    /// Whether the target's Cluster stands paused though everything is there.
    pub unpause_target: bool,
    /// Whether `clusterctl move` has something to do.
    pub move_on: bool,
}

impl Graph {
    /// Of the objects of a backup.
    pub fn of<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Self {
        Self {
            objects: uids(objects.into_iter()),
        }
    }

    /// How many Clusters it has: a move without one moves nothing, and clusterctl calls that success.
    pub fn clusters(&self) -> usize {
        self.objects
            .keys()
            .filter(|name| name.starts_with("Cluster.cluster.x-k8s.io/"))
            .count()
    }

    /// Where its objects are.
    pub fn locate(&self, source: &Value, target: &Value) -> Located {
        let here = self.known(source);
        let there = self.known(target);
        let missing_there: Vec<String> = self.without(&there);
        let missing_here: Vec<String> = self.without(&here);
        let paused_here = paused(source);
        let paused_there = paused(target);
        let total = self.objects.len();
        let (place, missing) = if here.len() == total && there.is_empty() {
            (Place::Before, Vec::new())
        } else if paused_here == Some(false) && paused_there == Some(false) {
            (Place::Twice, Vec::new())
        } else if here.len() == total {
            (Place::Created, missing_there)
        } else if missing_there.is_empty() {
            (if here.is_empty() { Place::Moved } else { Place::Deleting }, Vec::new())
        } else {
            let neither = missing_here.into_iter().filter(|name| missing_there.contains(name));
            let neither: Vec<String> = neither.collect();
            (Place::Lost, if neither.is_empty() { missing_there } else { neither })
        };
        let reason = match place {
            Place::Before => format!("all {total} objects are on the source, none on the target"),
            Place::Created => format!(
                "all {total} objects are on the source and {} on the target: the move was cut off while it created them, and begins anew",
                there.len()
            ),
            Place::Deleting => format!(
                "all {total} objects are on the target and {} still on the source: the move was cut off while it deleted them, and is completed",
                here.len()
            ),
            Place::Moved => format!("all {total} objects are on the target, none on the source"),
            Place::Twice => {
                "both clusters have the Cluster and neither is paused: two sets of controllers own the same machines"
                    .to_owned()
            }
            Place::Lost => format!(
                "{} of {total} objects are on the source and {} on the target, and {} are not where they are needed",
                here.len(),
                there.len(),
                missing.len()
            ),
        };
        let again = matches!(place, Place::Before | Place::Created);
        Located {
            place,
            reason,
            missing,
            unpause_source: again && paused_here == Some(true),
            unpause_target: place == Place::Moved && paused_there == Some(true),
            move_on: again,
            source: here,
            target: there,
        }
    }

    /// Objects of a listing that belong to the graph and are not on their way out without having been moved.
    fn known(&self, list: &Value) -> BTreeMap<String, String> {
        let mut found = uids(items(list).iter());
        found.retain(|name, _| self.objects.contains_key(name));
        found
    }

    fn without(&self, found: &BTreeMap<String, String>) -> Vec<String> {
        self.objects
            .keys()
            .filter(|name| !found.contains_key(*name))
            .cloned()
            .collect()
    }
}

/// What may be deleted from the source: what the target has too, children before their owners, the Cluster last.
pub(super) fn remnants(located: &Located, source: &Value) -> Value {
    let mut objects: Vec<&Value> = items(source)
        .iter()
        .filter(|object| {
            let name = identity(object);
            located.place == Place::Deleting && located.source.contains_key(&name) && located.target.contains_key(&name)
        })
        .collect();
    objects.sort_by_key(|object| (rank(kind(object)), identity(object)));
    let bare: Vec<Value> = objects
        .into_iter()
        .map(|object| {
            let reference = ObjectRef::of(object);
            json!({"apiVersion": reference.api_version, "kind": reference.kind,
                "metadata": {"name": reference.name, "namespace": reference.namespace}})
        })
        .collect();
    json!({"apiVersion": "v1", "kind": "List", "items": bare})
}

fn rank(kind: &str) -> u8 {
    match kind {
        "Cluster" => 3,
        "MachineDeployment" | "KubeadmControlPlane" => 2,
        "MachineSet" => 1,
        _ => 0,
    }
}

fn uids<'a>(objects: impl Iterator<Item = &'a Value>) -> BTreeMap<String, String> {
    objects
        .map(|object| (identity(object), text(object, "/metadata/uid").to_owned()))
        .collect()
}

/// `Kind.group/namespace/name`: a version is no part of it.
fn identity(object: &Value) -> String {
    let reference = ObjectRef::of(object);
    let kind = match reference.group() {
        "" => reference.kind.clone(),
        group => format!("{}.{group}", reference.kind),
    };
    format!("{kind}/{}/{}", reference.namespace, reference.name)
}

/// Whether the Cluster of a listing is paused; none when there is no Cluster.
fn paused(list: &Value) -> Option<bool> {
    items(list)
        .iter()
        .find(|item| kind(item) == "Cluster")
        .map(|cluster| flag(cluster, "/spec/paused"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, paused: bool) -> Value {
        json!({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": kind,
            "metadata": {"name": "x", "namespace": "n", "uid": kind}, "spec": {"paused": paused}})
    }

    fn list(kinds: &[&str], paused: bool) -> Value {
        json!({"items": kinds.iter().map(|kind| object(kind, paused)).collect::<Vec<_>>()})
    }

    fn place(source: &[&str], source_paused: bool, target: &[&str], target_paused: bool) -> Located {
        let all = list(&["Cluster", "Machine"], false);
        Graph::of(items(&all)).locate(&list(source, source_paused), &list(target, target_paused))
    }

    #[test]
    fn a_move_killed_after_pausing_begins_anew_unpaused() {
        let found = place(&["Cluster", "Machine"], true, &[], false);
        assert_eq!(
            (found.place, found.unpause_source, found.move_on),
            (Place::Before, true, true)
        );
    }

    #[test]
    fn a_move_killed_while_creating_begins_anew() {
        let found = place(&["Cluster", "Machine"], true, &["Cluster"], true);
        assert_eq!(
            (found.place, found.unpause_source, found.move_on),
            (Place::Created, true, true)
        );
        assert_eq!(found.missing, ["Machine.cluster.x-k8s.io/n/x"]);
    }

    #[test]
    fn a_move_killed_while_deleting_is_completed_and_not_begun_anew() {
        let found = place(&["Cluster"], true, &["Cluster", "Machine"], true);
        assert_eq!(
            (found.place, found.unpause_source, found.move_on),
            (Place::Deleting, false, false)
        );
        let left = remnants(&found, &list(&["Cluster"], true));
        assert_eq!(left["items"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_move_killed_before_unpausing_leaves_only_that() {
        let found = place(&[], false, &["Cluster", "Machine"], true);
        assert_eq!(
            (found.place, found.unpause_target, found.move_on),
            (Place::Moved, true, false)
        );
    }

    #[test]
    fn what_the_target_does_not_have_is_never_deleted_from_the_source() {
        let found = place(&["Cluster"], true, &["Cluster"], true);
        assert_eq!(found.place, Place::Lost);
        assert_eq!(found.missing, ["Machine.cluster.x-k8s.io/n/x"]);
        assert_eq!(remnants(&found, &list(&["Cluster"], true))["items"], json!([]));
    }

    #[test]
    fn a_source_that_came_back_after_the_move_is_seen() {
        let found = place(&["Cluster", "Machine"], false, &["Cluster", "Machine"], false);
        assert_eq!((found.place, found.move_on), (Place::Twice, false));
    }

    #[test]
    fn a_backup_without_a_cluster_has_nothing_to_move() {
        assert_eq!(Graph::of(&[object("Machine", false)]).clusters(), 0);
        assert_eq!(Graph::of(&[object("Cluster", false)]).clusters(), 1);
    }
}

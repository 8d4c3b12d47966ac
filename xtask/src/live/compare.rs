//! What differs between a project and the live objects: the no-op oracle.
//! An object is fresh iff its digest annotation is equal, every rendered leaf is owned by kluctl's apply,
//! and it is not terminating. Values are never compared.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::conflicts::LeftTo;
use super::foreign::{self, Foreign, LeavingField};
use super::{listing, ownership, protect};
use crate::base::failure::{Failure, Kind, Result};
use crate::base::text::plural;
use crate::base::ui::{Status, Ui};
use crate::call::Caller;
use crate::project::form::ConflictRule;
use crate::project::named::Named;
use crate::project::{self, Identity, Object, ObjectRef, Project, digest_of};

/// Orphans that every comparison of a run names.
const SHOWN_ORPHANS: usize = 5;

/// What differs between a project and the live objects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Compare {
    /// The project.
    pub project: Utf8PathBuf,
    /// What `EmbeddedProject` left out of it, which is never an orphan.
    pub left_out: Option<Utf8PathBuf>,
    /// The part that is deployed; none means all of it.
    pub only: Option<Only>,
    /// What `ListObjects` wrote.
    pub listing: Utf8PathBuf,
    /// Groups of phases that go in one kluctl call.
    pub groups: Vec<Vec<String>>,
    /// Names of objects that are brought back to what the project says, without what others added.
    pub reset: Vec<String>,
    /// JSON file of the type [`Delta`].
    pub to: Utf8PathBuf,
}

impl Compare {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let left_out: Vec<ObjectRef> = match &self.left_out {
            Some(file) => on.read(file)?,
            None => Vec::new(),
        };
        let left_out = left_out.iter().map(ObjectRef::identity).collect();
        let project = Project::read(&on.root.join(&self.project))?;
        project.refuse_empty()?;
        let mut comparison = Comparison::of(&project).resetting(reset(&project, &self.reset)?);
        listing::read_file(on, &self.listing, |object| {
            comparison.see(&object);
            None
        })?;
        let delta = comparison.conclude(&left_out, self.only.as_ref(), &self.groups);
        delta.tell(on.ui);
        on.write_json(&self.to, &delta)
    }
}

/// The objects of a project that are named to be reset.
fn reset(project: &Project, names: &[String]) -> Result<BTreeSet<Identity>> {
    let objects: Vec<ObjectRef> = project.objects().map(|(_, object)| object.reference()).collect();
    let named = Named::among(&objects.iter().collect::<Vec<_>>(), names);
    let problems: Vec<String> = named
        .unknown
        .iter()
        .map(|name| format!("{name} is no object of the project"))
        .chain(named.ambiguous)
        .collect();
    if !problems.is_empty() {
        return Err(Failure::many(
            Kind::Config,
            "`--reset` takes exact names of objects; nothing was changed",
            &problems,
        )
        .hinted("`cargo xtask drift` names the objects that others changed: `KIND/NAMESPACE/NAME`"));
    }
    Ok(named.found.iter().map(|object| object.identity()).collect())
}

/// Copies of a project what one kluctl call has to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PartialProject {
    /// The project.
    pub project: Utf8PathBuf,
    /// JSON file of the type [`Delta`].
    pub delta: Utf8PathBuf,
    /// Phases that go in the call.
    pub phases: Vec<String>,
    /// Folder of the copy; replaced whole.
    pub to: Utf8PathBuf,
}

impl PartialProject {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let from = on.root.join(&self.project);
        let due = on.read::<Delta>(&self.delta)?.due(Project::read(&from)?, &self.phases);
        project::replace(&on.root.join(&self.to), |beside| {
            due.write(beside)?;
            project::enclose(beside)
        })
    }
}

/// Whether no object of the project belongs to another stage of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NoForeignObjects {
    /// JSON file of the type [`Delta`].
    pub delta: Utf8PathBuf,
    /// Discriminator whose objects may be taken.
    pub taken_from: Option<String>,
}

impl NoForeignObjects {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let delta: Delta = on.read(&self.delta)?;
        let others: Vec<String> = delta
            .of_others(self.taken_from.as_deref())
            .map(|difference| format!("{} {}", difference.object, difference.why))
            .collect();
        if others.is_empty() {
            return Ok(());
        }
        Err(Failure::many(
            Kind::Refused,
            "the project has objects that belong to another stage of this cluster; nothing was changed",
            &others,
        )
        .hinted("two stages that share an object take it from each other at every deploy: leave it to one of them")
        .hinted("if it moved here, or the discriminator was renamed on purpose: `--take-from DISCRIMINATOR`, once"))
    }
}

/// Whether two comparisons found the same: what was shown is what is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DiffUnchanged {
    /// JSON file of the type [`Delta`], as it was shown.
    pub shown: Utf8PathBuf,
    /// JSON file of the type [`Delta`], looked at again.
    pub now: Utf8PathBuf,
}

impl DiffUnchanged {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let shown: Delta = on.read(&self.shown)?;
        if shown.asks_the_same(&on.read(&self.now)?) {
            return Ok(());
        }
        Err(
            Failure::refused("the cluster changed between what was shown and the Lease; nothing was changed")
                .hinted("run the same command again: it shows what differs now"),
        )
    }
}

/// Whether a comparison found no difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NothingDiffers {
    /// JSON file of the type [`Delta`].
    pub delta: Utf8PathBuf,
}

impl NothingDiffers {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let delta: Delta = on.read(&self.delta)?;
        let problems: Vec<String> = delta
            .differences
            .iter()
            .map(|difference| format!("{} {}", difference.object, difference.why))
            .collect();
        if problems.is_empty() {
            return Ok(());
        }
        // What is being deleted comes to rest by itself, or somebody has to look why not.
        let only_going = delta
            .differences
            .iter()
            .all(|difference| matches!(difference.why, Why::Terminating { .. }));
        let kind = if only_going { Kind::Timeout } else { Kind::Step };
        let failure = Failure::many(kind, "the cluster does not hold what was deployed", &problems);
        Err(if only_going {
            failure.hinted("a finalizer holds them: `kubectl get … --output=yaml` names it; then deploy again")
        } else {
            failure
        })
    }
}

/// A part of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Only {
    /// One component.
    Component(String),
    /// One phase.
    Phase(String),
}

impl Only {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Component(name) | Self::Phase(name) => name,
        }
    }

    /// Whether something of this component and phase belongs to the part.
    pub fn takes(&self, component: &str, phase: &str) -> bool {
        match self {
            Self::Component(name) => name == component,
            Self::Phase(name) => name == phase,
        }
    }
}

/// The result of a comparison, as `delta.json` and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Delta {
    /// Nothing differs and nothing is orphaned.
    pub fresh: bool,
    /// Objects of the project.
    pub objects: usize,
    /// One for each group of phases, in order.
    pub groups: Vec<GroupDelta>,
    /// Every object that differs.
    pub differences: Vec<Difference>,
    /// What other managers have of objects of the project, and are meant to have.
    pub left_alone: Vec<LeftAlone>,
    /// What people and tools have beside the project.
    pub foreign: Vec<Foreign>,
    /// Whether kinds may be served afterwards that are not served now: a definition is among them, or an object is
    /// missing, whose kind an operator may define on its way.
    pub more_kinds: bool,
    /// Live objects of the stage that the project no longer has.
    pub orphans: Vec<Orphan>,
}

/// What one kluctl call has to do; [`Delta::due`] is the project that it gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GroupDelta {
    /// No object of the group differs.
    pub fresh: bool,
    /// Arguments that limit what kluctl takes for orphans to the items that differ: it describes each one at length.
    /// By tag, for it takes a directory filter relative to the Git repository that the project happens to lie in.
    pub arguments: Vec<String>,
}

/// Fields of an object that are left to another manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LeftAlone {
    /// The object.
    pub object: ObjectRef,
    /// Paths of its fields.
    pub fields: Vec<String>,
}

/// An object that a deploy would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Difference {
    /// The object.
    pub object: ObjectRef,
    /// Component it belongs to.
    pub component: String,
    /// Item folder it stands in.
    pub directory: String,
    /// Why it is not fresh.
    pub why: Why,
    /// What kluctl has of it and the project no longer does.
    pub leaving: Vec<LeavingField>,
}

/// Why an object is not fresh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Why {
    /// The cluster does not have it.
    Missing,
    /// The project has another content.
    Changed,
    /// Somebody else took these fields.
    Taken {
        /// Paths of the fields.
        fields: Vec<String>,
        /// Managers that own something of the object, with the time of their last change.
        managers: Vec<(String, String)>,
    },
    /// Others added these fields, and it is to be reset.
    Reset {
        /// Paths of the fields.
        fields: Vec<String>,
    },
    /// It is being deleted.
    Terminating {
        /// What holds it.
        held: Vec<String>,
    },
    /// It belongs to another stage, or to this one under an earlier name.
    OfStage {
        /// Discriminator that it carries.
        discriminator: String,
    },
}

/// A live object that the project no longer has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Orphan {
    /// The object.
    pub object: ObjectRef,
    /// Its UID, so that only this very object is ever deleted.
    pub uid: String,
    /// Whether kluctl applied it; copies made by others carry the label too.
    pub managed: bool,
    /// Whether another object owns it.
    pub owned: bool,
    /// The annotation for which it is never deleted.
    pub kept: Option<String>,
    /// The annotation for which it is deleted only by its exact name.
    pub by_name: Option<String>,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// A digest of what kluctl manages of it.
    pub state: String,
    /// Its resourceVersion, where only a change of the object moves that.
    pub version: Option<String>,
}

impl std::fmt::Display for Why {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => formatter.write_str("is missing"),
            Self::Changed => formatter.write_str("has another content"),
            Self::Reset { fields } => write!(formatter, "has fields that others added: {}", fields.join(", ")),
            Self::Terminating { held } if held.is_empty() => formatter.write_str("is being deleted"),
            Self::Terminating { held } => write!(formatter, "is being deleted: {}", held.join("; ")),
            Self::OfStage { discriminator } => write!(formatter, "belongs to stage `{discriminator}`"),
            Self::Taken { fields, managers } => {
                write!(formatter, "was edited: {}", fields.join(", "))?;
                if let Some((manager, time)) = managers.last() {
                    write!(formatter, " (last by `{manager}` at {time})")?;
                }
                Ok(())
            }
        }
    }
}

/// Compares a project with live objects that carry any discriminator, one after the other, so that none has to stay in
/// memory: what another stage has is no orphan of this one, and not to be taken from it by accident.
#[derive(Debug)]
pub struct Comparison<'a> {
    project: &'a Project,
    rendered: BTreeMap<Identity, &'a Value>,
    own: BTreeMap<Identity, Found>,
    /// Discriminators of what other stages have.
    elsewhere: BTreeMap<Identity, String>,
    left_alone: Vec<LeftAlone>,
    foreign: Vec<Foreign>,
    leaving: BTreeMap<Identity, Vec<LeavingField>>,
    reset: BTreeSet<Identity>,
}

/// An object of the stage in the cluster.
#[derive(Debug)]
enum Found {
    /// The project has it, too.
    Rendered(Option<Why>),
    /// The project does not have it.
    Left(Orphan),
}

impl<'a> Comparison<'a> {
    /// A comparison that has seen no live object yet.
    pub fn of(project: &'a Project) -> Self {
        let rendered = project.objects();
        Self {
            project,
            rendered: rendered
                .map(|(_, object)| (object.reference().identity(), &object.value))
                .collect(),
            own: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            left_alone: Vec::new(),
            foreign: Vec::new(),
            leaving: BTreeMap::new(),
            reset: BTreeSet::new(),
        }
    }

    /// The same, but these objects differ where others added something to them.
    pub fn resetting(mut self, reset: BTreeSet<Identity>) -> Self {
        self.reset = reset;
        self
    }

    /// Takes a live object note of.
    pub fn see(&mut self, live: &Value) {
        let identity = ObjectRef::of(live).identity();
        let rendered = self.rendered.get(&identity);
        if discriminator(live) == self.project.description.discriminator {
            let found = match rendered {
                Some(rendered) => {
                    let (mut why, fields) = why_not_fresh(rendered, live, &self.project.conflict_rules);
                    let foreign = foreign::fields(rendered, live);
                    let managers = match self.reset.contains(&identity) {
                        true => foreign::managers(live),
                        false => Vec::new(),
                    };
                    let going = matches!(why, Some(Why::Terminating { .. }));
                    if !managers.is_empty() && !going {
                        let all = || {
                            managers
                                .iter()
                                .map(|manager| format!("what `{manager}` wrote"))
                                .collect()
                        };
                        let named: Vec<String> = foreign.iter().map(|field| field.path.clone()).collect();
                        why = Some(Why::Reset {
                            fields: if named.is_empty() { all() } else { named },
                        });
                    } else if !foreign.is_empty() {
                        self.foreign.push(Foreign {
                            object: ObjectRef::of(live),
                            fields: foreign,
                        });
                    }
                    if why == Some(Why::Changed) {
                        self.leaving.insert(identity.clone(), foreign::leaving(rendered, live));
                    }
                    if !fields.is_empty() {
                        self.left_alone.push(LeftAlone {
                            object: ObjectRef::of(live),
                            fields,
                        });
                    }
                    Found::Rendered(why)
                }
                None => Found::Left(orphan(live)),
            };
            self.own.insert(identity, found);
        } else if rendered.is_some() {
            self.elsewhere.insert(identity, discriminator(live).to_owned());
        }
    }

    /// What differs, for the whole project or a part of it. What was left out of the project is no orphan.
    pub fn conclude(mut self, left_out: &BTreeSet<Identity>, only: Option<&Only>, groups: &[Vec<String>]) -> Delta {
        let mut differences = Vec::new();
        let mut objects = 0;
        for (item, object) in self.project.objects() {
            if only.is_some_and(|only| !only.takes(&item.component, &item.phase)) {
                continue;
            }
            objects += 1;
            let reference = object.reference();
            let identity = reference.identity();
            let why = match (self.own.get(&identity), self.elsewhere.get(&identity)) {
                (Some(Found::Rendered(why)), _) => why.clone(),
                (_, Some(discriminator)) => Some(Why::OfStage {
                    discriminator: discriminator.clone(),
                }),
                (_, None) => Some(Why::Missing),
            };
            if let Some(why) = why {
                differences.push(Difference {
                    object: reference,
                    component: item.component.clone(),
                    directory: item.directory.clone(),
                    leaving: self.leaving.remove(&identity).unwrap_or_default(),
                    why,
                });
            }
        }
        let orphans = self
            .own
            .into_iter()
            .filter_map(|(identity, found)| match found {
                Found::Left(orphan) if !left_out.contains(&identity) => Some(orphan),
                _ => None,
            })
            .collect();
        Delta {
            fresh: differences.is_empty(),
            objects,
            groups: by_group(self.project, &differences, groups),
            more_kinds: differences.iter().any(|difference| {
                difference.why == Why::Missing
                    || matches!(
                        difference.object.kind.as_str(),
                        "CustomResourceDefinition" | "APIService"
                    )
            }),
            differences,
            left_alone: self.left_alone,
            foreign: self.foreign,
            orphans,
        }
    }
}

/// Which groups of phases have something to do.
fn by_group(project: &Project, differences: &[Difference], groups: &[Vec<String>]) -> Vec<GroupDelta> {
    groups
        .iter()
        .map(|phases| {
            let arguments: Vec<String> = project
                .description
                .items
                .iter()
                .filter(|item| phases.contains(&item.phase))
                .filter(|item| {
                    differences
                        .iter()
                        .any(|difference| difference.directory == item.directory)
                })
                .map(|item| format!("--include-tag=item-{}", item.directory))
                .collect();
            GroupDelta {
                fresh: arguments.is_empty(),
                arguments,
            }
        })
        .collect()
}

/// The stage that a live object belongs to; empty when it belongs to none.
pub fn discriminator(live: &Value) -> &str {
    live.pointer("/metadata/labels/kluctl.io~1discriminator")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Why an object is unhealthy, and which of its fields are left to others.
fn why_not_fresh(rendered: &Value, live: &Value, rules: &[ConflictRule]) -> (Option<Why>, Vec<String>) {
    if live.pointer("/metadata/deletionTimestamp").is_some() {
        let held = super::diagnostics::going(live);
        return (Some(Why::Terminating { held }), Vec::new());
    }
    let lost = ownership::lost_leaves(rendered, live);
    let (fields, left) = LeftTo::of(rendered, rules).settle(rendered, live, lost);
    let digest = digest_of(rendered);
    if digest.is_none() || digest != digest_of(live) {
        return (Some(Why::Changed), left);
    }
    let why = (!fields.is_empty()).then(|| Why::Taken {
        fields,
        managers: ownership::other_managers(live),
    });
    (why, left)
}

impl Orphan {
    /// Whether `prune` may take it: applied by kluctl, and nobody's child. Copies that a controller made of a
    /// labelled object (Endpoints, EndpointSlices, what `clusterctl move` brought) carry the label too.
    pub fn is_left(&self) -> bool {
        self.managed && !self.owned
    }
}

impl Delta {
    /// Whether two comparisons ask for the same work. Who else wrote an object, and what controllers copied in
    /// between, moves all the time and changes nothing of it.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        let work = |delta: &Self| -> Vec<(ObjectRef, &'static str, Vec<String>)> {
            let one = |difference: &Difference| {
                let (why, fields) = match &difference.why {
                    Why::Missing => ("missing", Vec::new()),
                    Why::Changed => ("changed", Vec::new()),
                    Why::Terminating { .. } => ("terminating", Vec::new()),
                    Why::OfStage { discriminator } => ("of stage", vec![discriminator.clone()]),
                    Why::Taken { fields, .. } => ("taken", fields.clone()),
                    Why::Reset { fields } => ("reset", fields.clone()),
                };
                (difference.object.clone(), why, fields)
            };
            delta.differences.iter().map(one).collect()
        };
        let left = |delta: &Self| -> Vec<String> { delta.left().map(|orphan| orphan.uid.clone()).collect() };
        work(self) == work(other) && left(self) == left(other)
    }

    /// The part of a project that one kluctl call gets: what differs in these phases. Of an item that kluctl waits for
    /// it gets all, for it waits only for what it applies.
    pub fn due(&self, mut project: Project, phases: &[String]) -> Project {
        let differs: BTreeSet<Identity> = self.differences.iter().map(|one| one.object.identity()).collect();
        let is_due = |object: &Object| differs.contains(&object.reference().identity());
        project.retain_items(|item| {
            if !phases.contains(&item.item.phase) || !item.objects.iter().any(is_due) {
                return false;
            }
            if !item.item.wait_readiness {
                item.objects.retain(is_due);
            }
            true
        });
        project
    }

    /// Objects that belong to another stage, other than to the one that they may be taken from.
    pub fn of_others<'a>(&'a self, taken_from: Option<&'a str>) -> impl Iterator<Item = &'a Difference> {
        self.differences.iter().filter(move |difference| {
            matches!(&difference.why, Why::OfStage { discriminator } if Some(discriminator.as_str()) != taken_from)
        })
    }

    /// Says what was found, and the first orphans by name.
    fn tell(&self, ui: &Ui) {
        let objects = plural(self.objects, "object");
        let differ = self.differences.len();
        let missing = self.differences.iter().filter(|one| one.why == Why::Missing).count();
        if self.fresh {
            let are = if self.objects == 1 { "is as it" } else { "are as they" };
            ui.status(Status::Fresh, format!("{objects} {are} should be"));
        } else if missing == differ {
            ui.status(Status::Stale, format!("{} to create", plural(missing, "object")));
        } else {
            ui.status(Status::Stale, format!("{differ} of {objects} differ"));
        }
        if !self.foreign.is_empty() {
            ui.status(
                Status::Warning,
                format!(
                    "{} fields that others added and the project does not have (`drift` names them)",
                    match self.foreign.len() {
                        1 => "1 object has".to_owned(),
                        several => format!("{several} objects have"),
                    }
                ),
            );
        }
        for orphan in self.left().take(SHOWN_ORPHANS) {
            ui.status(
                Status::Warning,
                format!(
                    "{} is no longer in the project (`prune` shows and removes)",
                    orphan.object
                ),
            );
        }
        let more = self.left().count().saturating_sub(SHOWN_ORPHANS);
        if more > 0 {
            ui.status(
                Status::Warning,
                format!("and {} more are no longer in the project", plural(more, "object")),
            );
        }
    }

    /// Orphans that `prune` may take.
    pub fn left(&self) -> impl Iterator<Item = &Orphan> {
        self.orphans.iter().filter(|orphan| orphan.is_left())
    }
}

fn orphan(live: &Value) -> Orphan {
    Orphan {
        object: ObjectRef::of(live),
        uid: live
            .pointer("/metadata/uid")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        managed: ownership::is_managed(live),
        owned: live
            .pointer("/metadata/ownerReferences")
            .and_then(Value::as_array)
            .is_some_and(|owners| !owners.is_empty()),
        kept: protect::keeps(live),
        by_name: protect::only_by_name(live),
        terminating: live.pointer("/metadata/deletionTimestamp").is_some(),
        state: ownership::state(live),
        version: ownership::steady_version(live).map(ToOwned::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn delta(managers: &str, copies: usize, fields: &[&str]) -> Delta {
        let object = |kind: &str, name: &str| ObjectRef {
            api_version: "v1".into(),
            kind: kind.into(),
            namespace: "n".into(),
            name: name.into(),
        };
        Delta {
            fresh: false,
            objects: 1,
            groups: Vec::new(),
            more_kinds: false,
            left_alone: Vec::new(),
            foreign: Vec::new(),
            differences: vec![Difference {
                leaving: Vec::new(),
                object: object("ConfigMap", "x"),
                component: "x".into(),
                directory: "01-x".into(),
                why: Why::Taken {
                    fields: fields.iter().map(ToString::to_string).collect(),
                    managers: vec![(managers.to_owned(), "t".to_owned())],
                },
            }],
            orphans: (0..copies)
                .map(|copy| Orphan {
                    object: object("Endpoints", &copy.to_string()),
                    uid: copy.to_string(),
                    managed: false,
                    owned: false,
                    kept: None,
                    by_name: None,
                    terminating: false,
                    state: String::new(),
                    version: None,
                })
                .collect(),
        }
    }

    fn config(name: &str, digest: &str, stage: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n", "uid": name,
            "annotations": {crate::project::DIGEST: digest}, "labels": {"kluctl.io/discriminator": stage},
            "managedFields": [{"manager": "kluctl", "operation": "Apply", "fieldsV1": {"f:metadata": {
                "f:annotations": {format!("f:{}", crate::project::DIGEST): {}}, "f:labels": {"f:kluctl.io/discriminator": {}}}}}]}})
    }

    fn project(objects: &[Value]) -> Project {
        let description = json!({"schema": 1, "cluster": "c", "stage": "local", "environment": "local",
            "discriminator": "mine", "phases": ["base"], "gates": [], "charts": [], "items": [{"directory": "01-x",
            "component": "x", "phase": "base", "waitReadiness": false, "barrier": false}]});
        let description: crate::project::StageDescription = serde_json::from_value(description).unwrap();
        let objects = objects
            .iter()
            .map(|value| crate::project::Object {
                file: String::new(),
                value: value.clone(),
            })
            .collect();
        Project {
            items: vec![crate::project::ItemObjects {
                item: description.items[0].clone(),
                objects,
            }],
            description,
            conflict_rules: Vec::new(),
        }
    }

    #[test]
    fn each_object_is_judged_as_it_passes_and_what_was_left_out_is_no_orphan() {
        let names = ["fresh", "changed", "missing", "theirs"];
        let project = project(&names.map(|name| config(name, "new", "mine")));
        let mut comparison = Comparison::of(&project);
        for live in [
            config("fresh", "new", "mine"),
            config("changed", "old", "mine"),
            config("theirs", "new", "other"),
            config("left", "new", "mine"),
            config("left-out", "new", "mine"),
            config("of-others", "new", "other"),
        ] {
            comparison.see(&live);
        }
        let left_out = ObjectRef::of(&config("left-out", "new", "mine")).identity();
        let groups = [vec!["base".to_owned()], vec!["apps".to_owned()]];
        let delta = comparison.conclude(&BTreeSet::from([left_out]), None, &groups);
        let found: Vec<_> = delta
            .differences
            .iter()
            .map(|one| (one.object.name.as_str(), &one.why))
            .collect();
        let discriminator = "other".to_owned();
        let expected = [
            ("changed", &Why::Changed),
            ("missing", &Why::Missing),
            ("theirs", &Why::OfStage { discriminator }),
        ];
        assert_eq!(found, expected);
        let orphans: Vec<_> = delta.orphans.iter().map(|orphan| orphan.uid.as_str()).collect();
        assert_eq!((delta.objects, orphans), (4, vec!["left"]));
        let fresh: Vec<bool> = delta.groups.iter().map(|group| group.fresh).collect();
        assert_eq!(fresh, [false, true]);
        assert!(delta.more_kinds, "the kind of what is missing may not be served yet");
        let mut repair = Comparison::of(&project);
        for name in names {
            repair.see(&config(name, if name == "changed" { "old" } else { "new" }, "mine"));
        }
        let repair = repair.conclude(&BTreeSet::new(), None, &groups);
        assert_eq!((repair.differences.len(), repair.more_kinds), (1, false));
        let due = |project: &Project, phase: &str| -> Vec<String> {
            let due = delta.due(project.clone(), &[phase.to_owned()]);
            assert_eq!(due.description.items.len(), due.items.len());
            due.objects().map(|(_, object)| object.reference().name).collect()
        };
        assert_eq!(due(&project, "base"), ["changed", "missing", "theirs"]);
        assert_eq!(due(&project, "apps"), Vec::<String>::new());
        let mut waiting = project.clone();
        waiting.items[0].item.wait_readiness = true;
        assert_eq!(due(&waiting, "base"), names, "kluctl waits only for what it applies");
    }

    #[test]
    fn what_controllers_do_in_between_is_no_other_work_and_another_field_is() {
        let shown = delta("a", 0, &["data.a"]);
        assert!(shown.asks_the_same(&delta("b", 2, &["data.a"])));
        assert!(!shown.asks_the_same(&delta("a", 0, &["data.a", "data.b"])));
    }
}

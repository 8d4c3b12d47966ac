//! What differs between a project and the live objects: the no-op oracle.
//! An object is fresh iff its digest annotation is equal, every rendered leaf is owned by kluctl's apply,
//! and it is not terminating. Values are never compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ownership;
use crate::plan::Only;
use crate::project::{ObjectRef, Project, digest_of};

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
    /// Live objects of the stage that the project no longer has.
    pub orphans: Vec<Orphan>,
}

/// What one kluctl call has to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GroupDelta {
    /// No object of the group differs.
    pub fresh: bool,
    /// Arguments that limit kluctl to the items that differ; by tag, for kluctl takes a directory filter relative
    /// to the Git repository that the project happens to lie in.
    pub arguments: Vec<String>,
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
    /// Whether it is annotated `helm.sh/resource-policy: keep`.
    pub policy_keep: bool,
    /// Whether it is annotated `kluctl.io/skip-delete`.
    pub skip_delete: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
}

impl std::fmt::Display for Why {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => formatter.write_str("is missing"),
            Self::Changed => formatter.write_str("has another content"),
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

/// Compares a project, or a part of it, with a listing of everything that carries any discriminator: what another stage
/// has is no orphan of this one, and not to be taken from it by accident. What the whole project has is never an orphan.
pub fn compare(
    project: &Project,
    whole: &Project,
    only: Option<&Only>,
    listing: &Value,
    groups: &[Vec<String>],
) -> Delta {
    let none = Vec::new();
    let items = listing.get("items").and_then(Value::as_array).unwrap_or(&none);
    let (own, others): (Vec<&Value>, Vec<&Value>) = items
        .iter()
        .partition(|object| discriminator(object) == project.description.discriminator);
    let mut live: BTreeMap<_, &Value> = own
        .into_iter()
        .map(|object| (ObjectRef::of(object).identity(), object))
        .collect();
    let elsewhere: BTreeMap<_, &Value> = others
        .into_iter()
        .map(|object| (ObjectRef::of(object).identity(), object))
        .collect();

    let mut differences = Vec::new();
    let mut objects = 0;
    for (item, object) in project.objects() {
        if only.is_some_and(|only| !only.takes(&item.component, &item.phase)) {
            continue;
        }
        objects += 1;
        let reference = object.reference();
        let identity = reference.identity();
        let why = match (live.get(&identity), elsewhere.get(&identity)) {
            (Some(found), _) => why_not_fresh(&object.value, found),
            (None, Some(found)) => Some(Why::OfStage {
                discriminator: discriminator(found).to_owned(),
            }),
            (None, None) => Some(Why::Missing),
        };
        if let Some(why) = why {
            differences.push(Difference {
                object: reference,
                component: item.component.clone(),
                directory: item.directory.clone(),
                why,
            });
        }
    }
    for (_, object) in project.objects().chain(whole.objects()) {
        live.remove(&object.reference().identity());
    }
    let orphans: Vec<Orphan> = live.into_values().map(orphan).collect();
    let groups = groups
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
        .collect();
    Delta {
        fresh: differences.is_empty(),
        objects,
        groups,
        differences,
        orphans,
    }
}

/// The stage that a live object belongs to; empty when it belongs to none.
pub fn discriminator(live: &Value) -> &str {
    live.pointer("/metadata/labels/kluctl.io~1discriminator")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn why_not_fresh(rendered: &Value, live: &Value) -> Option<Why> {
    if live.pointer("/metadata/deletionTimestamp").is_some() {
        return Some(Why::Terminating {
            held: super::evidence::going(live),
        });
    }
    let digest = digest_of(rendered);
    if digest.is_none() || digest != digest_of(live) {
        return Some(Why::Changed);
    }
    let fields = ownership::lost_leaves(rendered, live);
    (!fields.is_empty()).then(|| Why::Taken {
        fields,
        managers: ownership::other_managers(live),
    })
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
                };
                (difference.object.clone(), why, fields)
            };
            delta.differences.iter().map(one).collect()
        };
        let left = |delta: &Self| -> Vec<String> { delta.left().map(|orphan| orphan.uid.clone()).collect() };
        work(self) == work(other) && left(self) == left(other)
    }

    /// Objects that belong to another stage, other than to the one that they may be taken from.
    pub fn of_others<'a>(&'a self, taken_from: Option<&'a str>) -> impl Iterator<Item = &'a Difference> {
        self.differences.iter().filter(move |difference| {
            matches!(&difference.why, Why::OfStage { discriminator } if Some(discriminator.as_str()) != taken_from)
        })
    }

    /// Orphans that `prune` may take.
    pub fn left(&self) -> impl Iterator<Item = &Orphan> {
        self.orphans.iter().filter(|orphan| orphan.is_left())
    }
}

fn orphan(live: &Value) -> Orphan {
    let annotation = |name: &str| {
        live.get("metadata")
            .and_then(|metadata| metadata.get("annotations"))
            .and_then(|annotations| annotations.get(name))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
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
        policy_keep: annotation("helm.sh/resource-policy") == "keep",
        skip_delete: annotation("kluctl.io/skip-delete") == "true",
        terminating: live.pointer("/metadata/deletionTimestamp").is_some(),
    }
}

#[cfg(test)]
mod tests {
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
            differences: vec![Difference {
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
                    policy_keep: false,
                    skip_delete: false,
                    terminating: false,
                })
                .collect(),
        }
    }

    #[test]
    fn what_controllers_do_in_between_is_no_other_work_and_another_field_is() {
        let shown = delta("a", 0, &["data.a"]);
        assert!(shown.asks_the_same(&delta("b", 2, &["data.a"])));
        assert!(!shown.asks_the_same(&delta("a", 0, &["data.a", "data.b"])));
    }
}

//! What prune may take: a pure choice from a comparison, with a reason for everything that stays.
//! It deletes nothing; what it chose is shown, and then deleted by exactly these UIDs.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compare::{Delta, Orphan};
use crate::base::failure::{Failure, Kind, Result};
use crate::project::ObjectRef;
use crate::project::resources::Resource;

/// Namespaces that belong to every cluster.
const SYSTEM: [&str; 4] = ["kube-system", "default", "kube-public", "kube-node-lease"];

/// Kinds that take data or other objects along: only by their exact name.
const BY_NAME: [&str; 5] = [
    "Namespace",
    "CustomResourceDefinition",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "Secret",
];

/// Kinds that hold state; many of them at once need a person's word.
const STATEFUL: [&str; 6] = [
    "Namespace",
    "CustomResourceDefinition",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "StatefulSet",
    "Secret",
];

/// Stateful objects that may go without the cluster's name being typed.
const STATEFUL_LIMIT: usize = 10;

/// Percent of a stage that may go without the cluster's name being typed.
const PERCENT_LIMIT: usize = 20;

/// An object that is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Doomed {
    /// The object.
    pub object: ObjectRef,
    /// Its UID: nothing else is ever deleted.
    pub uid: String,
    /// Where the API server has it.
    pub path: String,
    /// What goes along, a sentence each.
    pub along: Vec<String>,
}

/// An object that stays though the project no longer has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Kept {
    /// The object.
    pub object: ObjectRef,
    /// Why.
    pub why: String,
}

/// What goes and what stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Choice {
    /// In the order of deletion.
    pub doomed: Vec<Doomed>,
    /// What stays.
    pub kept: Vec<Kept>,
}

/// Chooses from the orphans of a comparison. `allowed` holds exact names, `KIND/namespace/name` or `KIND/name`.
pub fn choose(delta: &Delta, resources: &[Resource], allowed: &[String]) -> Result<Choice> {
    if delta.objects == 0 {
        return Err(Failure::refused("the project has no object, so everything would go")
            .hinted("an empty rendering is a fault of the rendering; look at it first"));
    }
    if !delta.differences.is_empty() {
        return Err(Failure::refused(format!(
            "{} objects of the project are not as they should be; only a clean deploy is pruned",
            delta.differences.len()
        ))
        .hinted("deploy the same project first"));
    }
    let allowed: BTreeSet<&str> = allowed.iter().map(String::as_str).collect();
    let mut used = BTreeSet::new();
    let mut choice = Choice::default();
    for orphan in &delta.orphans {
        let name = orphan.object.to_string();
        let named = allowed.contains(name.as_str());
        if named {
            used.insert(name.clone());
        }
        match stays(orphan, named).map_or_else(|| path(&orphan.object, resources), Err) {
            Ok(path) => choice.doomed.push(Doomed {
                object: orphan.object.clone(),
                uid: orphan.uid.clone(),
                path: format!("{path}/{}", segment(&orphan.object.name)),
                along: Vec::new(),
            }),
            Err(why) => choice.kept.push(Kept {
                object: orphan.object.clone(),
                why,
            }),
        }
    }
    let unknown: Vec<String> = allowed
        .iter()
        .filter(|name| !used.contains(**name))
        .map(|name| format!("`{name}`"))
        .collect();
    if !unknown.is_empty() {
        return Err(Failure::many(
            Kind::Config,
            "`--allow-delete` names what prune would not touch",
            &unknown,
        )
        .hinted("it takes exact names, `KIND/namespace/name` or `KIND/name`, as the tree shows them"));
    }
    choice
        .doomed
        .sort_by_key(|doomed| (order(&doomed.object), doomed.object.clone()));
    Ok(choice)
}

/// Why an orphan stays; none when it may go.
fn stays(orphan: &Orphan, named: bool) -> Option<String> {
    let object = &orphan.object;
    let kind = object.kind.as_str();
    if kind == "Namespace" && object.group().is_empty() && SYSTEM.contains(&object.name.as_str()) {
        return Some("belongs to every cluster".to_owned());
    }
    if orphan.owned {
        return Some("another object owns it".to_owned());
    }
    if !orphan.managed {
        return Some("kluctl never applied it: a controller copied it".to_owned());
    }
    if orphan.policy_keep {
        return Some("is annotated `helm.sh/resource-policy: keep`".to_owned());
    }
    if orphan.uid.is_empty() {
        return Some("has no UID".to_owned());
    }
    if orphan.terminating {
        return Some("is being deleted already".to_owned());
    }
    if named {
        return None;
    }
    if BY_NAME.contains(&kind) {
        return Some(format!(
            "takes data or objects along; only by name: `--allow-delete {object}`"
        ));
    }
    orphan
        .skip_delete
        .then(|| format!("is annotated `kluctl.io/skip-delete`; only by name: `--allow-delete {object}`"))
}

/// The API path of the collection an object stands in, or why there is none.
fn path(object: &ObjectRef, resources: &[Resource]) -> Result<String, String> {
    let Some(resource) = resources
        .iter()
        .find(|resource| resource.kind == object.kind && resource.group() == object.group())
    else {
        return Err("its kind is not served any more".to_owned());
    };
    let root = if resource.group().is_empty() { "api" } else { "apis" };
    let namespace = if resource.namespaced {
        format!("/namespaces/{}", object.namespace)
    } else {
        String::new()
    };
    Ok(format!("/{root}/{}{namespace}/{}", resource.api_version, resource.name))
}

/// A name as a segment of a path: names of roles may hold almost anything, and `?` would begin a query.
fn segment(name: &str) -> String {
    name.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("a string takes everything");
        }
        text
    })
}

/// Deletion goes against the order of creation, with what could block others first.
fn order(object: &ObjectRef) -> u8 {
    match object.kind.as_str() {
        "APIService" | "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => 0,
        "Deployment" | "StatefulSet" | "DaemonSet" | "Job" | "CronJob" | "ReplicaSet" | "Pod" => 2,
        "Service" | "Ingress" | "NetworkPolicy" | "HorizontalPodAutoscaler" | "PodDisruptionBudget" => 3,
        "ConfigMap" | "Secret" => 4,
        "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding" | "ServiceAccount" => 5,
        "PersistentVolumeClaim" => 6,
        "PersistentVolume" | "StorageClass" => 7,
        "CustomResourceDefinition" => 8,
        "Namespace" => 9,
        // Custom resources, while their controllers still run.
        _ => 1,
    }
}

impl Choice {
    /// Whether an object takes others along, so that everything has to be listed to show them.
    pub fn has_cascades(&self) -> bool {
        self.doomed.iter().any(|doomed| {
            matches!(
                doomed.object.kind.as_str(),
                "Namespace" | "CustomResourceDefinition" | "PersistentVolumeClaim"
            )
        })
    }

    /// Adds what goes along, from a listing of everything; refuses a namespace that holds another stage's objects.
    pub fn add_cascades(&mut self, everything: &Value, definitions: &Value, discriminator: &str) -> Result<()> {
        let items: Vec<&Value> = list(everything).collect();
        let mut refused = Vec::new();
        for doomed in &mut self.doomed {
            let object = &doomed.object;
            match object.kind.as_str() {
                "Namespace" => {
                    for item in items
                        .iter()
                        .filter(|item| text(item, "/metadata/namespace") == object.name)
                    {
                        let label = item
                            .pointer("/metadata/labels/kluctl.io~1discriminator")
                            .and_then(Value::as_str);
                        if label.is_some_and(|label| label != discriminator) {
                            refused.push(format!(
                                "{object} holds {} of stage `{}`",
                                ObjectRef::of(item),
                                label.unwrap_or_default()
                            ));
                        }
                        doomed.along.push(describe(item, &items));
                    }
                }
                "CustomResourceDefinition" => {
                    let Some(definition) = list(definitions).find(|item| text(item, "/metadata/name") == object.name)
                    else {
                        continue;
                    };
                    let (group, kind) = (text(definition, "/spec/group"), text(definition, "/spec/names/kind"));
                    let of_kind = |item: &&&Value| {
                        let found = ObjectRef::of(item);
                        found.kind == kind && found.group() == group
                    };
                    doomed
                        .along
                        .extend(items.iter().filter(of_kind).map(|item| describe(item, &items)));
                }
                "PersistentVolumeClaim" => {
                    let claim = items
                        .iter()
                        .find(|item| ObjectRef::of(item).identity() == object.identity());
                    doomed.along.extend(claim.and_then(|claim| volume(claim, &items)));
                }
                _ => {}
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        Err(
            Failure::many(Kind::Refused, "a namespace is in use by another stage", &refused)
                .hinted("move those objects first; a namespace takes everything in it along"),
        )
    }

    /// Why a person has to type the cluster's name; none when the choice is small.
    pub fn why_typed(&self, objects: usize) -> Option<String> {
        let count = self.doomed.len();
        let whole = objects + count;
        if count * 100 > PERCENT_LIMIT * whole {
            return Some(format!(
                "{count} of {whole} objects would go, more than {PERCENT_LIMIT} %"
            ));
        }
        let stateful = self
            .doomed
            .iter()
            .filter(|doomed| STATEFUL.contains(&doomed.object.kind.as_str()))
            .count();
        (stateful > STATEFUL_LIMIT)
            .then(|| format!("{stateful} objects with state would go, more than {STATEFUL_LIMIT}"))
    }

    /// The tree for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for doomed in &self.doomed {
            writeln!(text, "- {} (uid {})", doomed.object, doomed.uid).expect("a string takes everything");
            for along in &doomed.along {
                writeln!(text, "    takes along {along}").expect("a string takes everything");
            }
        }
        for kept in &self.kept {
            writeln!(text, "  {} stays: {}", kept.object, kept.why).expect("a string takes everything");
        }
        text
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.get("items").and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn describe(item: &Value, items: &[&Value]) -> String {
    let object = ObjectRef::of(item);
    if object.kind == "PersistentVolumeClaim"
        && let Some(volume) = volume(item, items)
    {
        return format!("{object}, with {volume}");
    }
    object.to_string()
}

/// The volume behind a claim, and what becomes of its data.
fn volume(claim: &Value, items: &[&Value]) -> Option<String> {
    let name = text(claim, "/spec/volumeName");
    if name.is_empty() {
        return None;
    }
    let policy = items
        .iter()
        .find(|item| ObjectRef::of(item).kind == "PersistentVolume" && text(item, "/metadata/name") == name)
        .map_or("unknown", |volume| text(volume, "/spec/persistentVolumeReclaimPolicy"));
    Some(format!("PersistentVolume/{name} (reclaim policy {policy})"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [(&str, &str, bool); 8] = [
        ("v1", "ConfigMap", true),
        ("v1", "Secret", true),
        ("v1", "Namespace", false),
        ("v1", "PersistentVolumeClaim", true),
        ("v1", "PersistentVolume", false),
        ("apps/v1", "Deployment", true),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", false),
        ("v1", "ServiceAccount", true),
    ];

    fn resources() -> Vec<Resource> {
        KINDS
            .iter()
            .map(|(version, kind, namespaced)| Resource {
                name: format!("{}s", kind.to_lowercase()),
                api_version: (*version).to_owned(),
                namespaced: *namespaced,
                kind: (*kind).to_owned(),
                verbs: Vec::new(),
            })
            .collect()
    }

    fn orphans() -> impl Strategy<Value = Vec<Orphan>> {
        let name = prop_oneof![Just("kube-system".to_owned()), Just("default".to_owned()), "[a-c]"];
        let one = (0..KINDS.len(), name, any::<[bool; 5]>());
        prop::collection::vec(one, 0..12).prop_map(|parts| {
            let mut orphans: Vec<Orphan> = parts
                .into_iter()
                .enumerate()
                .map(|(index, (kind, name, [managed, owned, keep, skip, terminating]))| {
                    let (version, kind, namespaced) = KINDS[kind];
                    Orphan {
                        object: ObjectRef {
                            api_version: version.to_owned(),
                            kind: kind.to_owned(),
                            namespace: if namespaced { "n".to_owned() } else { String::new() },
                            name,
                        },
                        uid: format!("uid-{index}"),
                        managed,
                        owned,
                        policy_keep: keep,
                        skip_delete: skip,
                        terminating,
                    }
                })
                .collect();
            orphans.sort_by_key(|orphan| orphan.object.clone());
            orphans.dedup_by_key(|orphan| orphan.object.clone());
            orphans
        })
    }

    fn delta(orphans: Vec<Orphan>) -> Delta {
        Delta {
            fresh: true,
            objects: 100,
            groups: Vec::new(),
            more_kinds: false,
            differences: Vec::new(),
            orphans,
        }
    }

    proptest! {
        #[test]
        fn what_is_deleted_is_shown_and_protected_kinds_go_only_by_their_exact_name(
            orphans in orphans(),
            picks in prop::collection::vec(any::<bool>(), 12),
        ) {
            let allowed: Vec<String> = orphans
                .iter()
                .zip(&picks)
                .filter(|(_, pick)| **pick)
                .map(|(orphan, _)| orphan.object.to_string())
                .collect();
            let choice = choose(&delta(orphans.clone()), &resources(), &allowed).unwrap();
            let shown = choice.text();
            prop_assert_eq!(choice.doomed.len() + choice.kept.len(), orphans.len());
            for doomed in &choice.doomed {
                let orphan = orphans.iter().find(|orphan| orphan.uid == doomed.uid).unwrap();
                prop_assert_eq!(&orphan.object, &doomed.object);
                let shown_line = format!("- {} (uid {})", doomed.object, doomed.uid);
                prop_assert!(shown.contains(&shown_line));
                prop_assert!(orphan.managed && !orphan.owned && !orphan.policy_keep && !orphan.terminating);
                let kind = doomed.object.kind.as_str();
                prop_assert!(!(kind == "Namespace" && SYSTEM.contains(&doomed.object.name.as_str())));
                if BY_NAME.contains(&kind) || orphan.skip_delete {
                    prop_assert!(allowed.contains(&doomed.object.to_string()));
                }
            }
            // The deletes of the plan are the shown ones, in number and UID, and nothing else.
            let access = crate::cluster::access::Access::rehearsal("c", "0");
            let steps = crate::recipe::prune::deletes(&access, &choice.doomed);
            let deletes: Vec<&crate::plan::Command> = steps
                .iter()
                .filter(|step| step.effect == crate::plan::Effect::Destroy)
                .flat_map(|step| match &step.action {
                    crate::plan::Action::Run(command) => vec![command],
                    _ => Vec::new(),
                })
                .collect();
            prop_assert_eq!(deletes.len(), choice.doomed.len());
            for (command, doomed) in deletes.iter().zip(&choice.doomed) {
                let line = command.shell();
                prop_assert!(line.contains(&format!("--raw={}", doomed.path)), "{}", line);
                let precondition = format!(r#""preconditions":{{"uid":"{}"}}"#, doomed.uid);
                prop_assert!(line.contains(&precondition), "{}", line);
            }
        }
    }

    #[test]
    fn a_name_stays_one_segment_of_a_path() {
        assert_eq!(segment("system:node"), "system%3Anode");
        assert_eq!(segment("a?b#c $(x)/é"), "a%3Fb%23c%20%24%28x%29%2F%C3%A9");
        assert_eq!(segment("plain-1.2"), "plain-1.2");
    }

    #[test]
    fn an_empty_rendering_and_an_unclean_deploy_are_refused() {
        let mut empty = delta(Vec::new());
        empty.objects = 0;
        assert_eq!(choose(&empty, &[], &[]).unwrap_err().kind, Kind::Refused);
        let mut unclean = delta(Vec::new());
        unclean.differences.push(super::super::compare::Difference {
            object: ObjectRef {
                api_version: "v1".into(),
                kind: "ConfigMap".into(),
                namespace: "n".into(),
                name: "x".into(),
            },
            component: "x".into(),
            directory: "01-x".into(),
            why: super::super::compare::Why::Missing,
        });
        assert_eq!(choose(&unclean, &[], &[]).unwrap_err().kind, Kind::Refused);
    }

    #[test]
    fn a_name_that_matches_nothing_is_an_error_and_not_a_wildcard() {
        let failure = choose(&delta(Vec::new()), &resources(), &["Namespace/*".to_owned()]).unwrap_err();
        assert_eq!(failure.kind, Kind::Config);
    }
}

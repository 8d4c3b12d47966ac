//! What prune may take: a pure choice from a comparison, with a reason for everything that stays.
//! It deletes nothing; what it chose is shown, and then deleted by exactly these UIDs.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use camino::Utf8PathBuf;
use percent_encoding::utf8_percent_encode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compare::{Delta, Orphan};
use super::protect;
use crate::base::failure::{Failure, Kind, Result};
use crate::base::http::RESERVED;
use crate::call::Caller;
use crate::project::named::Named;
use crate::project::resources::{self, Resource};
use crate::project::{Identity, ObjectRef};

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

/// Kinds that come and go by themselves in a namespace that is in use.
const PASSING: [&str; 8] = [
    "ControllerRevision",
    "EndpointSlice",
    "Endpoints",
    "Event",
    "Job",
    "Lease",
    "Pod",
    "ReplicaSet",
];

/// Stateful objects that may go without the cluster's name being typed.
const STATEFUL_LIMIT: usize = 10;

/// Percent of a stage that may go without the cluster's name being typed.
const PERCENT_LIMIT: usize = 20;

/// Whether prune would still choose what was shown, chosen again from a comparison under the Lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PruneUnchanged {
    /// What was shown.
    pub shown: Vec<Deletion>,
    /// Exact names of protected objects that may go.
    pub allowed: Vec<String>,
    /// JSON file of the type [`Delta`], looked at again.
    pub now: Utf8PathBuf,
    /// What the API server serves, as kubectl lists it.
    pub served: Utf8PathBuf,
    /// Listings of everything and of every definition, where something takes others along.
    pub cascades: Option<(Utf8PathBuf, Utf8PathBuf)>,
    /// Discriminator of the stage.
    pub discriminator: String,
}

impl PruneUnchanged {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let served = resources::parse(&on.text(&self.served)?)?;
        let delta: Delta = on.read(&self.now)?;
        // A name that is no orphan's any more is no mistake of who typed it.
        let allowed: Vec<String> = self
            .allowed
            .iter()
            .filter(|name| delta.orphans.iter().any(|orphan| orphan.object.to_string() == **name))
            .cloned()
            .collect();
        let mut choice = choose(&delta, &served, &allowed)?;
        if let Some((everything, definitions)) = &self.cascades {
            choice.add_cascades(
                &on.read_or_null(everything)?,
                &on.read_or_null(definitions)?,
                &self.discriminator,
            )?;
        }
        check_unchanged(&self.shown, &choice)
    }
}

/// An object that is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Deletion {
    /// The object.
    pub object: ObjectRef,
    /// Its UID: nothing else is ever deleted.
    pub uid: String,
    /// Where the API server has it.
    pub path: String,
    /// A digest of what kluctl manages of it: changed since it was shown, it stays.
    pub state: String,
    /// Its resourceVersion, where only a change of the object moves that; it stands in the delete.
    pub version: Option<String>,
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
    pub deletions: Vec<Deletion>,
    /// What stays.
    pub kept: Vec<Kept>,
}

/// Chooses from the orphans of a comparison. `allowed` holds exact names, as the tree shows them: with the group where
/// it shows one. A name without its group does where only one object can be meant.
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
    let named = named(&delta.orphans, allowed)?;
    let mut choice = Choice::default();
    for orphan in &delta.orphans {
        let named = named.contains(&orphan.object.identity());
        match stays(orphan, named).map_or_else(|| path(&orphan.object, resources), Err) {
            Ok(path) => choice.deletions.push(Deletion {
                object: orphan.object.clone(),
                uid: orphan.uid.clone(),
                path: format!("{path}/{}", segment(&orphan.object.name)),
                state: orphan.state.clone(),
                version: orphan.version.clone(),
                along: Vec::new(),
            }),
            Err(why) => choice.kept.push(Kept {
                object: orphan.object.clone(),
                why,
            }),
        }
    }
    choice
        .deletions
        .sort_by_key(|deletion| (order(&deletion.object), deletion.object.clone()));
    Ok(choice)
}

/// The orphans that a person named. A name that fits none, or several, is an error with what it could mean.
fn named(orphans: &[Orphan], allowed: &[String]) -> Result<BTreeSet<Identity>> {
    let objects: Vec<&ObjectRef> = orphans.iter().map(|orphan| &orphan.object).collect();
    let named = Named::among(&objects, allowed);
    if !named.ambiguous.is_empty() {
        return Err(Failure::many(
            Kind::Config,
            "`--allow-delete` names several objects; nothing was deleted",
            &named.ambiguous,
        )
        .hinted("say the group: `KIND.GROUP/NAMESPACE/NAME`"));
    }
    if !named.unknown.is_empty() {
        return Err(Failure::many(
            Kind::Config,
            "`--allow-delete` names what prune would not touch",
            &named.unknown,
        )
        .hinted("it takes exact names, `KIND/NAMESPACE/NAME`, `KIND.GROUP/NAMESPACE/NAME` or without the namespace, as the tree shows them"));
    }
    Ok(named.found.iter().map(|object| object.identity()).collect())
}

/// Refuses when what is chosen now is not what was shown: an object that the project has again or that somebody changed
/// stays, and so does one that would take more along.
pub fn check_unchanged(shown: &[Deletion], now: &Choice) -> Result<()> {
    let mut moved = Vec::new();
    for one in shown {
        let Some(found) = now.deletions.iter().find(|found| found.uid == one.uid) else {
            moved.push(format!("{} is no longer one to delete", one.object));
            continue;
        };
        if (&found.object, &found.state, &found.version) != (&one.object, &one.state, &one.version) {
            moved.push(format!("{} was changed", one.object));
        }
        let more = found.along.iter().filter(|along| {
            let passing = PASSING.iter().any(|kind| along.starts_with(&format!("{kind}/")));
            !passing && !one.along.contains(along)
        });
        moved.extend(more.map(|along| format!("{} would also take along {along}", one.object)));
    }
    if moved.is_empty() {
        return Ok(());
    }
    Err(Failure::many(
        Kind::Refused,
        "the cluster changed between what was shown and the Lease; nothing was deleted",
        &moved,
    )
    .hinted("run the same command again: it shows what would be deleted now"))
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
    if let Some(annotation) = &orphan.kept {
        return Some(format!("is annotated `{annotation}`"));
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
        .by_name
        .as_ref()
        .map(|annotation| format!("is annotated `{annotation}`; only by name: `--allow-delete {object}`"))
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
    utf8_percent_encode(name, RESERVED).to_string()
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
        self.deletions.iter().any(|deletion| {
            matches!(
                deletion.object.kind.as_str(),
                "Namespace" | "CustomResourceDefinition" | "PersistentVolumeClaim"
            )
        })
    }

    /// Adds what goes along, from a listing of everything; refuses a namespace that holds another stage's objects.
    pub fn add_cascades(&mut self, everything: &Value, definitions: &Value, discriminator: &str) -> Result<()> {
        let items: Vec<&Value> = list(everything).collect();
        let mut refused = Vec::new();
        for deletion in &mut self.deletions {
            let object = &deletion.object;
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
                        deletion.along.push(describe(item, &items));
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
                    deletion
                        .along
                        .extend(items.iter().filter(of_kind).map(|item| describe(item, &items)));
                }
                "PersistentVolumeClaim" => {
                    let claim = items
                        .iter()
                        .find(|item| ObjectRef::of(item).identity() == object.identity());
                    deletion.along.extend(claim.and_then(|claim| volume(claim, &items)));
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
        let count = self.deletions.len();
        let whole = objects + count;
        if count * 100 > PERCENT_LIMIT * whole {
            return Some(format!(
                "{count} of {whole} objects would go, more than {PERCENT_LIMIT} %"
            ));
        }
        let stateful = self
            .deletions
            .iter()
            .filter(|deletion| STATEFUL.contains(&deletion.object.kind.as_str()))
            .count();
        (stateful > STATEFUL_LIMIT)
            .then(|| format!("{stateful} objects with state would go, more than {STATEFUL_LIMIT}"))
    }

    /// The tree for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for deletion in &self.deletions {
            writeln!(text, "- {} (uid {})", deletion.object, deletion.uid).expect("a string takes everything");
            for along in &deletion.along {
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
    let protected = protect::keeps(item).or_else(|| protect::only_by_name(item));
    let protected = protected.map_or_else(String::new, |annotation| format!(", which is annotated `{annotation}`"));
    if object.kind == "PersistentVolumeClaim"
        && let Some(volume) = volume(item, items)
    {
        return format!("{object}{protected}, with {volume}");
    }
    format!("{object}{protected}")
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
                        kept: keep.then(|| "helm.sh/resource-policy: keep".to_owned()),
                        by_name: skip.then(|| "kluctl.io/skip-delete: true".to_owned()),
                        terminating,
                        state: format!("state-{index}"),
                        version: None,
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
            foreign: Vec::new(),
            fresh: true,
            objects: 100,
            groups: Vec::new(),
            more_kinds: false,
            differences: Vec::new(),
            left_alone: Vec::new(),
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
            prop_assert_eq!(choice.deletions.len() + choice.kept.len(), orphans.len());
            for deletion in &choice.deletions {
                let orphan = orphans.iter().find(|orphan| orphan.uid == deletion.uid).unwrap();
                prop_assert_eq!(&orphan.object, &deletion.object);
                let shown_line = format!("- {} (uid {})", deletion.object, deletion.uid);
                prop_assert!(shown.contains(&shown_line));
                prop_assert!(orphan.managed && !orphan.owned && orphan.kept.is_none() && !orphan.terminating);
                let kind = deletion.object.kind.as_str();
                prop_assert!(!(kind == "Namespace" && SYSTEM.contains(&deletion.object.name.as_str())));
                if BY_NAME.contains(&kind) || orphan.by_name.is_some() {
                    prop_assert!(allowed.contains(&deletion.object.to_string()));
                }
            }
            // The deletes of the plan are the shown ones, in number and UID, and nothing else.
            let access = crate::cluster::access::Access::rehearsal("c", "0");
            let steps = crate::recipe::prune::deletes(&access, &choice.deletions);
            let deletes: Vec<&crate::command::Command> = steps
                .steps()
                .into_iter()
                .filter(|step| step.effect == crate::plan::Effect::Destroy)
                .flat_map(|step| match &step.action {
                    crate::plan::Action::Run(command) => vec![command],
                    _ => Vec::new(),
                })
                .collect();
            prop_assert_eq!(deletes.len(), choice.deletions.len());
            for (command, deletion) in deletes.iter().zip(&choice.deletions) {
                let line = command.shell();
                prop_assert!(line.contains(&format!("--raw={}", deletion.path)), "{}", line);
                let precondition = format!(r#""preconditions":{{"uid":"{}"}}"#, deletion.uid);
                prop_assert!(line.contains(&precondition), "{}", line);
            }
        }
    }

    #[test]
    fn what_was_changed_or_takes_more_along_since_it_was_shown_is_refused() {
        let deletion = |state: &str, along: &[&str]| Deletion {
            object: ObjectRef {
                api_version: "v1".into(),
                kind: "Namespace".into(),
                namespace: String::new(),
                name: "x".into(),
            },
            uid: "u".into(),
            path: "/api/v1/namespaces/x".into(),
            state: state.into(),
            version: None,
            along: along.iter().map(ToString::to_string).collect(),
        };
        let check = |now: Vec<Deletion>| {
            let now = Choice {
                deletions: now,
                kept: Vec::new(),
            };
            check_unchanged(&[deletion("a", &["ConfigMap/x/c"])], &now).map_err(|failure| failure.chain())
        };
        assert_eq!(check(vec![deletion("a", &["Pod/x/p"])]), Ok(()));
        for (now, words) in [
            (Vec::new(), "is no longer one to delete"),
            (vec![deletion("b", &[])], "was changed"),
            (
                vec![deletion("a", &["PersistentVolumeClaim/x/d"])],
                "also take along PersistentVolumeClaim/x/d",
            ),
        ] {
            let said = check(now).unwrap_err();
            assert!(said.contains(words), "{said}");
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
            leaving: Vec::new(),
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
    fn a_name_never_means_two_objects() {
        let orphan = |api_version: &str, kind: &str| Orphan {
            object: ObjectRef {
                api_version: api_version.into(),
                kind: kind.into(),
                namespace: "n".into(),
                name: "a".into(),
            },
            uid: format!("{api_version}-{kind}"),
            managed: true,
            owned: false,
            kept: None,
            by_name: Some("kluctl.io/skip-delete: true".into()),
            terminating: false,
            state: String::new(),
            version: None,
        };
        let resources: Vec<Resource> = [
            ("cluster.x-k8s.io/v1beta2", "Cluster"),
            ("postgresql.cnpg.io/v1", "Cluster"),
            ("serving.knative.dev/v1", "Service"),
            ("v1", "Service"),
        ]
        .into_iter()
        .map(|(api_version, kind)| Resource {
            name: "x".into(),
            api_version: api_version.into(),
            namespaced: true,
            kind: kind.into(),
            verbs: Vec::new(),
        })
        .collect();
        let all = || {
            let all = resources
                .iter()
                .map(|resource| orphan(&resource.api_version, &resource.kind));
            delta(all.collect())
        };
        let deletion = |name: &str| {
            let choice = choose(&all(), &resources, &[name.to_owned()])?;
            Ok::<_, Failure>(
                choice
                    .deletions
                    .into_iter()
                    .map(|deletion| deletion.uid)
                    .collect::<Vec<_>>(),
            )
        };
        let failure = deletion("Cluster/n/a").unwrap_err();
        assert_eq!(failure.kind, Kind::Config);
        for name in ["Cluster.cluster.x-k8s.io/n/a", "Cluster.postgresql.cnpg.io/n/a"] {
            assert!(failure.chain().contains(name), "{}", failure.chain());
            assert_eq!(deletion(name).unwrap().len(), 1);
        }
        assert_eq!(
            deletion("Service/n/a").unwrap(),
            ["v1-Service"],
            "the core group has no name"
        );
        assert_eq!(
            deletion("Service.serving.knative.dev/n/a").unwrap(),
            ["serving.knative.dev/v1-Service"]
        );
        let shown = choose(&all(), &resources, &[]).unwrap().text();
        assert!(
            shown.contains("--allow-delete Cluster.postgresql.cnpg.io/n/a`"),
            "{shown}"
        );
        let one = delta(vec![orphan("postgresql.cnpg.io/v1", "Cluster")]);
        let choice = choose(&one, &resources, &["Cluster/n/a".to_owned()]).unwrap();
        assert_eq!(choice.deletions.len(), 1, "only one can be meant");
    }

    #[test]
    fn a_name_that_matches_nothing_is_an_error_and_not_a_wildcard() {
        let failure = choose(&delta(Vec::new()), &resources(), &["Namespace/*".to_owned()]).unwrap_err();
        assert_eq!(failure.kind, Kind::Config);
    }

    #[test]
    fn what_holds_others_goes_after_what_it_holds() {
        let orphan = |index: usize, (version, kind, namespaced): (&str, &str, bool)| Orphan {
            object: ObjectRef {
                api_version: version.to_owned(),
                kind: kind.to_owned(),
                namespace: if namespaced { "n".to_owned() } else { String::new() },
                name: "a".to_owned(),
            },
            uid: format!("uid-{index}"),
            managed: true,
            owned: false,
            kept: None,
            by_name: None,
            terminating: false,
            state: String::new(),
            version: None,
        };
        let orphans: Vec<Orphan> = KINDS
            .into_iter()
            .enumerate()
            .map(|(index, kind)| orphan(index, kind))
            .collect();
        let allowed: Vec<String> = orphans.iter().map(|orphan| orphan.object.to_string()).collect();
        let choice = choose(&delta(orphans), &resources(), &allowed).unwrap();
        let kinds: Vec<&str> = choice
            .deletions
            .iter()
            .map(|deletion| deletion.object.kind.as_str())
            .collect();
        assert_eq!(
            kinds,
            [
                "Deployment",
                "ConfigMap",
                "Secret",
                "ServiceAccount",
                "PersistentVolumeClaim",
                "PersistentVolume",
                "CustomResourceDefinition",
                "Namespace",
            ]
        );
    }
}

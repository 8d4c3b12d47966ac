//! The truth of a kluctl run: its YAML result read as failures, for it exits 0 with lost fields and skipped objects.
//! Messages and keys are those of kluctl 2.22 and 2.28.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::text::plural;
use crate::base::ui::{Status, Verbosity};
use crate::call::Caller;
use crate::project::ObjectRef;

/// Whether a kluctl run did what it says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KluctlResult {
    /// The YAML result.
    pub result: Utf8PathBuf,
    /// What a warning of the API server is worth.
    pub warnings: Warnings,
}

impl KluctlResult {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let value = crate::base::formats::yaml::read_one(&on.text(&self.result)?).or_fail(
            Kind::Step,
            "kluctl's result cannot be read, so nothing is known of what it did",
        )?;
        let notes = judge(&value, self.warnings)?;
        let shown = match on.ui.verbosity() {
            Verbosity::Quiet | Verbosity::Normal => SHOWN_WARNINGS,
            Verbosity::Steps | Verbosity::Tools => notes.len(),
        };
        for note in notes.iter().take(shown) {
            on.ui.status(Status::Warning, note);
        }
        if !notes.is_empty() {
            let count = plural(notes.len(), "warning");
            let all = if notes.len() > shown { " (`-v` shows each)" } else { "" };
            on.ui.status(
                Status::Warning,
                format!("{count} of the API server; everything was applied{all}"),
            );
        }
        on.ui.status(Status::Checked, plural(applied(&value), "object"));
        Ok(())
    }
}

/// Warnings of an API server that a run shows; `-v` shows all of them.
const SHOWN_WARNINGS: usize = 3;

/// The words of a warning that kluctl gave up a field (2.22.1 and 2.28.2).
const LOST: &str = "as we lost field ownership";

/// Words of an API server that refuses to change a field, by kind of object (1.31 to 1.36).
const IMMUTABLE: [&str; 13] = [
    "immutable",
    // StatefulSet: "updates to statefulset spec for fields other than …"
    "are forbidden",
    "is forbidden: only",
    "cannot change",
    "cannot be changed",
    "can not be changed",
    "may not be changed",
    "may not change",
    "must not be changed",
    "may not be updated",
    "cannot be updated",
    // A claim that would shrink, and the class of one that is bound.
    "can not be less than",
    "is immutable after creation",
];

/// The words of an error that an object was not ready in time (2.22.1 and 2.28.2).
const NOT_READY: &str = "while waiting for readiness of";

/// The words of an API server behind the version and the kind that it deprecates (1.19 to 1.36, built-in or not).
const DEPRECATED: &str = " is deprecated";

/// How many objects kluctl has applied.
pub fn applied(result: &Value) -> usize {
    let objects = list(result, "compactedObjects").chain(list(result, "objects"));
    objects
        .filter(|object| object.get("applied").is_some_and(|applied| !applied.is_null()))
        .count()
}

/// How far a deploy is, by what it has printed (2.22 and 2.28): objects of the items that it has come to, and all of them.
/// Only for people: nothing is judged by it.
pub fn progress(printed: &str) -> Option<(usize, usize)> {
    let number = |line: &str, before: &str, after: &str| -> Option<usize> {
        line.rsplit_once(before)?.1.strip_suffix(after)?.parse().ok()
    };
    let all = printed
        .lines()
        .find_map(|line| number(line, "Getting ", " additional remote objects"))?;
    let begun = printed
        .lines()
        .filter_map(|line| number(line, ": Applying ", " objects"))
        .sum();
    Some((begun, all))
}

/// What a warning of the API server is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Warnings {
    /// It is shown and counted.
    Shown,
    /// It fails the run.
    Denied,
}

/// Reads a result. Errors, lost fields and objects that were applied to while terminating are failures; every other
/// warning is returned: of the API server or one of its webhooks, and the object is applied all the same.
pub fn judge(result: &Value, warnings: Warnings) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    for error in list(result, "errors") {
        problems.push(describe(error));
    }
    for warning in list(result, "warnings") {
        let message = warning.get("message").and_then(Value::as_str).unwrap_or_default();
        if is_of_a_listing(warning, result) {
            continue;
        }
        if message.contains(LOST) || warnings == Warnings::Denied {
            problems.push(describe(warning));
        } else {
            notes.push(describe(warning));
        }
    }
    for object in list(result, "compactedObjects").chain(list(result, "objects")) {
        if body(object, "applied").is_some_and(|applied| applied.pointer("/metadata/deletionTimestamp").is_some()) {
            problems.push(format!(
                "{}: was applied to while it is being deleted",
                reference(object)
            ));
        }
    }
    // One object is asked about several times.
    notes.sort_unstable();
    notes.dedup();
    if problems.is_empty() {
        return Ok(notes);
    }
    let immutable = problems.iter().any(|problem| cannot_change(problem));
    let lost = problems.iter().any(|problem| problem.contains(LOST));
    let failure = Failure::many(
        if not_ready(result).is_empty() {
            Kind::Step
        } else {
            Kind::Timeout
        },
        "kluctl did not do everything that it was asked to",
        &problems,
    );
    let failure = if immutable {
        failure.hinted(
            "that field cannot be changed in place: give the object another name, or, where nothing is lost with it, \
             delete it (`cargo xtask kubectl --cluster CLUSTER -- delete …`) and deploy again",
        )
    } else {
        failure
    };
    Err(if lost {
        failure
            .hinted(
                "a field is owned by another manager; stop that manager from writing it, and take the field back: \
                 annotate the object in its component with `kluctl.io/force-apply-field: <JSON path>` and deploy",
            )
            .hinted(
                "when the other manager is right, take the field out of the component, or annotate the object with \
                     `kluctl.io/ignore-conflicts-field`",
            )
    } else {
        failure
    })
}

/// Whether a warning is about no object of ours: kluctl lists every kind that the API server has, also those of
/// which the project has no object, and is told of each that is deprecated (`v1 Endpoints` since Kubernetes 1.33).
fn is_of_a_listing(warning: &Value, result: &Value) -> bool {
    let message = warning.get("message").and_then(Value::as_str).unwrap_or_default();
    let Some((version, kind)) = message
        .split_once(DEPRECATED)
        .and_then(|(subject, _)| subject.split_once(' '))
    else {
        return false;
    };
    let is_one = |object: &Value| {
        let object = reference(object);
        object.api_version == version && object.kind == kind
    };
    // With more words before it, the sentence is about something else.
    !kind.contains(' ')
        && !names_object(warning)
        && !list(result, "compactedObjects")
            .chain(list(result, "objects"))
            .any(is_one)
}

/// Whether the API server refused to change a field in place.
fn cannot_change(problem: &str) -> bool {
    let said = problem.to_lowercase();
    // What RBAC, a quota or an admission webhook forbids is not for want of a change.
    let refused = [
        "(forbidden)",
        "is forbidden: user",
        "exceeded quota",
        "admission webhook",
    ];
    IMMUTABLE.iter().any(|words| said.contains(words)) && !refused.iter().any(|words| said.contains(words))
}

/// Objects that were not ready in time.
pub fn not_ready(result: &Value) -> Vec<ObjectRef> {
    list(result, "errors")
        .filter(|error| {
            error
                .get("message")
                .and_then(Value::as_str)
                .is_some_and(|message| message.contains(NOT_READY))
        })
        .map(reference)
        .collect()
}

fn list<'a>(result: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    result.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// A body of an object: as it stands, below `full`, or there as JSON text, by the version of kluctl. A delta says
/// nothing by itself.
fn body(object: &Value, name: &str) -> Option<Value> {
    let found = object.get(name)?;
    match found.get("full").unwrap_or(found) {
        Value::String(text) => serde_json::from_str(text).ok(),
        value => Some(value.clone()),
    }
}

fn names_object(entry: &Value) -> bool {
    entry
        .pointer("/ref/name")
        .and_then(Value::as_str)
        .is_some_and(|name| !name.is_empty())
}

fn reference(entry: &Value) -> ObjectRef {
    let text = |key: &str| {
        entry
            .pointer(&format!("/ref/{key}"))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (group, version) = (text("group"), text("version"));
    ObjectRef {
        api_version: if group.is_empty() {
            version
        } else {
            format!("{group}/{version}")
        },
        kind: text("kind"),
        namespace: text("namespace"),
        name: text("name"),
    }
}

fn describe(entry: &Value) -> String {
    let message = entry
        .get("message")
        .and_then(Value::as_str)
        .unwrap_or("it gave no message");
    if names_object(entry) {
        format!("{}: {message}", reference(entry))
    } else {
        message.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_warning_takes_nothing_away_and_fails_only_where_it_is_denied() {
        let reference = json!({"group": "argoproj.io", "version": "v1alpha1", "kind": "Application", "name": "shop", "namespace": "argocd"});
        let message = "metadata.finalizers: \"x\": prefer a domain-qualified finalizer name";
        let result =
            json!({"warnings": [{"ref": reference, "message": message}, {"ref": reference, "message": message}]});
        let said = format!("Application.argoproj.io/argocd/shop: {message}");
        assert_eq!(judge(&result, Warnings::Shown).unwrap(), vec![said.clone()]);
        let failure = judge(&result, Warnings::Denied).unwrap_err();
        assert!(
            failure.kind == Kind::Step && failure.chain().contains(&said),
            "{}",
            failure.chain()
        );
    }

    #[test]
    fn progress_is_what_was_come_to_of_all_objects() {
        assert_eq!(progress("Loading kluctl project\n"), None);
        let printed = "Getting 169 additional remote objects\n01-a: Initializing\n01-a: Applying 6 objects\n\
                       Waiting on barrier: after 01-a\n02-b: Applying 26 objects\n";
        assert_eq!(progress(printed), Some((32, 169)));
    }

    #[test]
    fn a_lost_field_is_a_failure_that_names_object_and_manager() {
        let result = json!({"warnings": [{
            "ref": {"version": "v1", "kind": "ConfigMap", "name": "x", "namespace": "n"},
            "message": "conflict with \"clusterctl\". Not updating field '.data.b' as we lost field ownership",
        }]});
        let failure = judge(&result, Warnings::Shown).unwrap_err();
        assert_eq!(failure.kind, Kind::Step);
        assert!(failure.chain().contains("ConfigMap/n/x: conflict with \"clusterctl\""));
    }

    #[test]
    fn an_object_that_was_applied_to_while_it_goes_is_a_failure_in_every_shape() {
        let object = json!({"kind": "ConfigMap", "metadata": {"name": "x", "deletionTimestamp": "t"}});
        let reference = json!({"version": "v1", "kind": "ConfigMap", "name": "x"});
        for result in [
            json!({"objects": [{"ref": reference, "applied": object}]}),
            json!({"compactedObjects": [{"ref": reference, "applied": {"full": object}}]}),
            json!({"compactedObjects": [{"ref": reference, "applied": {"full": object.to_string()}}]}),
        ] {
            let failure = judge(&result, Warnings::Shown).unwrap_err();
            assert!(
                failure
                    .chain()
                    .contains("ConfigMap/x: was applied to while it is being deleted")
            );
        }
    }

    #[test]
    fn an_object_that_was_not_ready_in_time_is_a_missed_deadline() {
        let result = json!({"errors": [{
            "ref": {"group": "apps", "version": "v1", "kind": "Deployment", "name": "x", "namespace": "n"},
            "message": "timed out while waiting for readiness of n/Deployment/x",
        }]});
        assert_eq!(judge(&result, Warnings::Shown).unwrap_err().kind, Kind::Timeout);
        assert_eq!(not_ready(&result)[0].to_string(), "Deployment/n/x");
    }

    #[test]
    fn a_deprecated_kind_is_told_only_where_the_project_has_an_object_of_it() {
        let endpoints = "v1 Endpoints is deprecated in v1.33+; use x";
        let docker = "infrastructure.cluster.x-k8s.io/v1beta2 DockerCluster is deprecated";
        let field = "spec.template.spec.x is deprecated since v1.30; use y";
        let listed = |message: &str| json!({"ref": {"name": ""}, "message": message});
        let judged = |objects: Value| {
            let warnings = [endpoints, docker, field].map(listed);
            judge(&json!({"warnings": warnings, "objects": objects}), Warnings::Shown).unwrap()
        };
        assert_eq!(judged(json!([])), [field]);
        let object = |version: &str, kind: &str| json!({"ref": {"group": "infrastructure.cluster.x-k8s.io", "version": version, "kind": kind, "name": "x"}});
        assert_eq!(
            judged(json!([
                object("v1beta1", "DockerCluster"),
                object("v1beta2", "DevCluster")
            ])),
            [field]
        );
        assert_eq!(judged(json!([object("v1beta2", "DockerCluster")])), [docker, field]);
        // Told about an object, it is about that object.
        let about = json!({"ref": {"version": "v1", "kind": "Endpoints", "name": "x"}, "message": endpoints});
        let failure = judge(&json!({"warnings": [about]}), Warnings::Denied).unwrap_err();
        assert!(failure.chain().contains("Endpoints/x: v1 Endpoints is deprecated"));
    }

    #[test]
    fn a_field_that_cannot_be_changed_has_its_remedy_however_the_server_says_it() {
        let failure = |message: &str| {
            let reference = json!({"version": "v1", "kind": "X", "name": "x"});
            judge(
                &json!({"errors": [{"ref": reference, "message": message}]}),
                Warnings::Shown,
            )
            .unwrap_err()
        };
        let remedy = |message: &str| {
            failure(message)
                .hints
                .iter()
                .any(|hint| hint.contains("cannot be changed in place"))
        };
        for message in [
            "Job.batch \"x\" is invalid: spec.template: Invalid value: {}: field is immutable",
            "StatefulSet.apps \"x\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals' are forbidden",
            "Service \"x\" is invalid: spec.clusterIPs[0]: Invalid value: [\"None\"]: may not change once set",
            "RoleBinding.rbac.authorization.k8s.io \"x\" is invalid: roleRef: Invalid value: {}: cannot change roleRef",
            "StorageClass.storage.k8s.io \"x\" is invalid: parameters: Forbidden: updates to parameters are forbidden.",
            "PriorityClass.scheduling.k8s.io \"x\" is invalid: value: Forbidden: may not be changed in an update.",
            "PersistentVolumeClaim \"x\" is invalid: spec.resources.requests.storage: Forbidden: field can not be less than status.capacity",
        ] {
            assert!(remedy(message), "{message}");
        }
        for message in [
            "configmaps \"x\" is forbidden: User \"u\" cannot patch resource",
            "admission webhook \"w\" denied the request: changes are forbidden",
            "pods \"x\" is forbidden: exceeded quota: q",
            "Deployment.apps \"x\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ] {
            assert!(!remedy(message), "{message}");
        }
    }

    #[test]
    fn an_error_in_a_run_that_ended_zero_is_a_failure() {
        let result = json!({"errors": [{"ref": {"version": "v1", "kind": "Secret", "name": "x"}, "message": "no"}]});
        assert!(judge(&result, Warnings::Shown).is_err());
    }
}

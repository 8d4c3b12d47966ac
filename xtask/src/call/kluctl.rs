//! The truth of a kluctl run: its YAML result read as failures, for it exits 0 with lost fields and skipped objects.
//! Messages and keys are those of kluctl 2.22 and 2.28.

use serde_json::Value;

use crate::base::failure::{Failure, Kind, Result};
use crate::project::ObjectRef;

/// The words of a warning that kluctl gave up a field (2.22.1 and 2.28.2).
const LOST: &str = "as we lost field ownership";

/// The word of an API server that refuses to change a field (1.31 to 1.36).
const IMMUTABLE: &str = "immutable";

/// The words of an error that an object was not ready in time (2.22.1 and 2.28.2).
const NOT_READY: &str = "while waiting for readiness of";

/// A warning of kluctl's own listings that is about no object of ours (2.22 on Kubernetes 1.33 and newer).
const ENDPOINTS: &str = "v1 Endpoints is deprecated";

/// Reads a result. Errors, lost fields and objects that were applied to while terminating are failures;
/// warnings that concern no object of the run are returned.
pub fn judge(result: &Value) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    for error in list(result, "errors") {
        problems.push(describe(error));
    }
    for warning in list(result, "warnings") {
        let message = warning.get("message").and_then(Value::as_str).unwrap_or_default();
        if message.contains(ENDPOINTS) {
            continue;
        }
        if message.contains(LOST) || names_object(warning) {
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
    if problems.is_empty() {
        return Ok(notes);
    }
    let immutable = problems.iter().any(|problem| problem.contains(IMMUTABLE));
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
                "a field is owned by another manager; stop that manager from writing it, or hand the field over: \
                     `kubectl apply --server-side --force-conflicts --field-manager=kluctl`",
            )
            .hinted(
                "when the other manager is right, take the field out of the component, or annotate the object with \
                     `kluctl.io/ignore-conflicts-field`",
            )
    } else {
        failure
    })
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
    fn a_lost_field_is_a_failure_that_names_object_and_manager() {
        let result = json!({"warnings": [{
            "ref": {"version": "v1", "kind": "ConfigMap", "name": "x", "namespace": "n"},
            "message": "conflict with \"clusterctl\". Not updating field '.data.b' as we lost field ownership",
        }]});
        let failure = judge(&result).unwrap_err();
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
            let failure = judge(&result).unwrap_err();
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
        assert_eq!(judge(&result).unwrap_err().kind, Kind::Timeout);
        assert_eq!(not_ready(&result)[0].to_string(), "Deployment/n/x");
    }

    #[test]
    fn the_deprecation_of_endpoints_is_nobodys_fault() {
        let result =
            json!({"warnings": [{"ref": {"name": ""}, "message": "v1 Endpoints is deprecated in v1.33+; use x"}]});
        assert_eq!(judge(&result).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn an_error_in_a_run_that_ended_zero_is_a_failure() {
        let result = json!({"errors": [{"ref": {"version": "v1", "kind": "Secret", "name": "x"}, "message": "no"}]});
        assert!(judge(&result).is_err());
    }
}

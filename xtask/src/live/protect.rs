//! Annotations that protect a live object from being deleted, read as those read them who gave them their meaning.
//! What cannot be read protects; what is deleted for want of a letter never comes back.

use serde_json::Value;

/// The annotation for which an object is never deleted, as it stands there; Helm's policy, which Helm lowers and trims.
pub fn keeps(live: &Value) -> Option<String> {
    let name = "helm.sh/resource-policy";
    let value = annotation(live, name)?;
    // Helm knows one policy; an empty one says nothing.
    (!value.trim().is_empty()).then(|| format!("{name}: {value}"))
}

/// The annotation for which an object is deleted only by its exact name, as it stands there.
pub fn only_by_name(live: &Value) -> Option<String> {
    let kluctl = "kluctl.io/skip-delete";
    if let Some(value) = annotation(live, kluctl)
        && parse_bool(value) != Some(false)
    {
        return Some(format!("{kluctl}: {value}"));
    }
    let argo = "argocd.argoproj.io/sync-options";
    let value = annotation(live, argo)?;
    let protects = value.split(',').any(|option| {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let key = key.trim().to_lowercase();
        // `confirm` waits for a person, which is no yes either.
        ["prune", "delete"].contains(&key.as_str()) && parse_bool(value.trim()) != Some(true)
    });
    protects.then(|| format!("{argo}: {value}"))
}

/// A yes or no as `strconv.ParseBool` of Go reads it, which kluctl uses; none where it is neither.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn annotation<'a>(live: &'a Value, name: &str) -> Option<&'a str> {
    live.get("metadata")?.get("annotations")?.get(name)?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(name: &str, value: &str) -> Value {
        json!({"metadata": {"annotations": {name: value}}})
    }

    #[test]
    fn every_spelling_that_its_owner_reads_as_keep_keeps_and_so_does_what_nobody_can_read() {
        for value in ["true", "True", "TRUE", "t", "T", "1", "yes", " true", ""] {
            let found = only_by_name(&with("kluctl.io/skip-delete", value));
            assert_eq!(found, Some(format!("kluctl.io/skip-delete: {value}")));
        }
        for value in ["false", "False", "f", "0"] {
            assert_eq!(only_by_name(&with("kluctl.io/skip-delete", value)), None, "{value}");
        }
        for value in ["keep", "Keep", " keep ", "KEEP\n", "retain"] {
            assert!(keeps(&with("helm.sh/resource-policy", value)).is_some(), "{value}");
        }
        assert_eq!(keeps(&with("helm.sh/resource-policy", " ")), None);
        let argo = |value: &str| only_by_name(&with("argocd.argoproj.io/sync-options", value)).is_some();
        for value in [
            "Prune=false",
            "Delete=false",
            "Validate=false, Prune=False",
            "ServerSideApply=true,Delete=confirm",
            "Prune=",
        ] {
            assert!(argo(value), "{value}");
        }
        for value in ["Prune=true", "ServerSideApply=true", "PruneLast=true", ""] {
            assert!(!argo(value), "{value}");
        }
        assert_eq!(keeps(&json!({})), None);
        assert_eq!(only_by_name(&json!({"metadata": {"annotations": null}})), None);
    }
}

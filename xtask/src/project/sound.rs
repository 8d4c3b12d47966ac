//! What a project has to be before anything of it may be written: each object once and whole, with its digest, and
//! without what would make kluctl delete it, leave it out or take it for another.
//! It looks at the project alone; what an API server serves is `live`'s.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde_json::Value;

use super::{Object, ObjectRef, Project};
use crate::base::failure::{Failure, Kind, Result};

/// The file in which a renderer that lacks sources lists what it left out.
pub const SKIPPED: &str = "skipped.json";

/// Annotations with which an object does something else than to be there, each with what to do instead.
/// They are all that kluctl 2.22 looks at and that makes it delete, rename, move or leave out an object
/// (`hooks_util.go`, `apply_utils.go`, `deployment_collection.go`, kustomize's `factory.go`), and the hooks of Argo CD,
/// which deletes them as well. What only protects (`kluctl.io/skip-delete`), waits (`wait-readiness`, `is-ready`),
/// settles conflicts (`force-apply`, `ignore-conflicts`) or hides lines of kluctl's own differences (`ignore-diff`)
/// is not among them.
const REFUSED: [(&str, &str); 7] = [
    (
        "helm.sh/hook",
        "kluctl deletes a hook before it makes it anew, at every deploy",
    ),
    (
        "kluctl.io/hook",
        "kluctl deletes a hook before it makes it anew, at every deploy",
    ),
    ("argocd.argoproj.io/hook", "Argo CD deletes a hook that it has run"),
    ("kluctl.io/delete", "kluctl deletes the object instead of applying it"),
    (
        "kluctl.io/helm-install-namespace",
        "kluctl takes the annotation off and may move the object to another namespace",
    ),
    (
        "config.kubernetes.io/local-config",
        "kustomize, which kluctl runs over each item, leaves the object out",
    ),
    (
        "internal.config.kubernetes.io/",
        "kustomize, which kluctl runs over each item, acts on it and may give the object another name",
    ),
];

/// Why an annotation may not be on an object of a project; none for others.
pub fn refused_annotation(name: &str, value: &Value) -> Option<&'static str> {
    let (_, why) = REFUSED.into_iter().find(|(refused, _)| {
        let Some(rest) = name.strip_prefix(refused) else {
            return false;
        };
        // `helm.sh/hook-weight` goes with `helm.sh/hook`; `kluctl.io/delete-…` is none of kluctl's.
        rest.is_empty() || refused.ends_with('/') || (refused.ends_with("hook") && rest.starts_with('-'))
    })?;
    // The one value with which kustomize keeps the object.
    let kept = name == "config.kubernetes.io/local-config" && value == "false";
    (!kept).then_some(why)
}

/// What an object that is whole says that it must not say.
pub fn faults(object: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
    for (name, value) in annotations.into_iter().flatten() {
        if let Some(why) = refused_annotation(name, value) {
            faults.push(format!("annotation `{name}`: {why}"));
        }
    }
    // Kustomize takes every such kind for a list of what is below `items`.
    if object
        .get("kind")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.ends_with("List"))
    {
        faults.push(
            "kustomize, which kluctl runs over each item, takes a kind that ends in `List` for a list and leaves the \
             object out"
                .to_owned(),
        );
    }
    faults
}

/// What is wrong with one object, whatever stands beside it.
pub fn object_problems(object: &Value) -> Vec<String> {
    let reference = ObjectRef::of(object);
    let absent: Vec<&str> = [
        ("apiVersion", &reference.api_version),
        ("kind", &reference.kind),
        ("metadata.name", &reference.name),
    ]
    .into_iter()
    .filter_map(|(field, value)| value.is_empty().then_some(field))
    .collect();
    if !absent.is_empty() {
        return vec![format!("{reference}: has no {}", absent.join(", no "))];
    }
    let faults = faults(object).into_iter();
    faults.map(|fault| format!("{reference}: {fault}")).collect()
}

/// Everything that is wrong with a project by itself.
pub fn problems(project: &Project) -> Vec<String> {
    let mut problems = Vec::new();
    let mut places: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for (item, object) in project.objects() {
        problems.extend(object_problems(&object.value));
        let reference = object.reference();
        if reference.name.is_empty() {
            continue;
        }
        if object.digest().is_none_or(str::is_empty) {
            problems.push(format!(
                "{reference}: has no digest (annotation `{}`), so no change of it would ever be noticed",
                super::DIGEST
            ));
        }
        let place = place(&item.directory, object);
        places
            .entry(reference.identity())
            .or_insert_with(|| vec![reference.to_string()])
            .push(place);
    }
    for (name, places) in places.into_values().filter_map(|mut words| {
        let name = words.remove(0);
        (words.len() > 1).then_some((name, words))
    }) {
        problems.push(format!(
            "{name}: is there {} times, and the last would win: {}",
            places.len(),
            places.join(", ")
        ));
    }
    problems
}

fn place(directory: &str, object: &Object) -> String {
    format!("`{directory}/{}`", object.file)
}

/// What a rendering says that it left out.
pub fn left_out_problems(folder: &Utf8Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let skipped = folder.join(SKIPPED);
    if skipped.exists() {
        let text = fs_err::read_to_string(&skipped)?;
        let left_out: Vec<String> = match serde_json::from_str::<Value>(&text) {
            Ok(Value::Array(list)) => list.iter().map(words).collect(),
            _ => vec![text.trim().to_owned()],
        };
        if !left_out.is_empty() {
            problems.push(format!(
                "the rendering left charts or manifests out, whose objects would be taken for orphans: {}",
                left_out.join(", ")
            ));
        }
    }
    Ok(problems)
}

fn words(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// All problems of a project as one failure.
pub fn judge(problems: &[String]) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    let hooks = problems.iter().any(|problem| problem.contains(": annotation `"));
    let failure = Failure::many(
        Kind::Refused,
        "the project cannot be deployed as it is; nothing was changed",
        problems,
    );
    Err(if hooks {
        failure.hinted(
            "take such annotations off where the object is made: what has to run once is a Job whose name has the \
             digest of what it does; what has to go is taken away by `prune`",
        )
    } else {
        failure.hinted("mend the rendering, then run the same command again")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Item, ItemObjects, StageDescription};
    use super::*;

    fn object(name: &str, annotations: Value) -> Value {
        let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n",
            "annotations": {super::super::DIGEST: "d"}}});
        for (key, value) in annotations.as_object().unwrap() {
            object["metadata"]["annotations"][key] = value.clone();
        }
        object
    }

    fn project(objects: &[Value]) -> Project {
        let description = json!({"schema": 1, "cluster": "c", "stage": "local", "environment": "local",
            "discriminator": "d", "phases": ["base"], "gates": [], "charts": [], "items": [{"directory": "01-x",
            "component": "x", "phase": "base", "waitReadiness": false, "barrier": false}]});
        let description: StageDescription = serde_json::from_value(description).unwrap();
        let item: Item = description.items[0].clone();
        Project {
            description,
            conflict_rules: Vec::new(),
            items: vec![ItemObjects {
                item,
                objects: objects
                    .iter()
                    .map(|value| Object {
                        file: "a.yaml".to_owned(),
                        value: value.clone(),
                    })
                    .collect(),
            }],
        }
    }

    #[test]
    fn what_mends_annotations_is_said_where_an_annotation_is_wrong_and_nowhere_else() {
        let hints = |problem: &str| judge(&[problem.to_owned()]).unwrap_err().hints.join("\n");
        let hook = object("x", json!({"helm.sh/hook": "test"}));
        assert!(hints(&object_problems(&hook)[0]).contains("take such annotations off"));
        let bare = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "n"}});
        assert!(hints(&problems(&project(&[bare]))[0]).starts_with("mend the rendering"));
    }

    #[test]
    fn every_annotation_that_deletes_moves_or_leaves_out_is_refused_and_no_other() {
        for (name, value) in [
            ("helm.sh/hook", "test"),
            ("helm.sh/hook", "pre-install,pre-upgrade"),
            ("helm.sh/hook-weight", "5"),
            ("helm.sh/hook-delete-policy", "before-hook-creation"),
            ("kluctl.io/hook", "post-deploy"),
            ("kluctl.io/hook-wait", "false"),
            ("kluctl.io/hook-timeout", "5m"),
            ("kluctl.io/delete", "true"),
            ("kluctl.io/delete", "yes"),
            ("argocd.argoproj.io/hook", "PreSync"),
            ("argocd.argoproj.io/hook-delete-policy", "HookSucceeded"),
            ("kluctl.io/helm-install-namespace", "x"),
            ("config.kubernetes.io/local-config", "true"),
            ("config.kubernetes.io/local-config", ""),
            ("internal.config.kubernetes.io/needsHashSuffix", "enabled"),
        ] {
            let found = problems(&project(&[object("a", json!({name: value}))]));
            assert_eq!(found.len(), 1, "{name}: {found:?}");
            assert!(
                found[0].contains("ConfigMap/n/a") && found[0].contains(name),
                "{found:?}"
            );
            assert_eq!(judge(&found).unwrap_err().kind, Kind::Refused);
        }
        for (name, value) in [
            ("kluctl.io/skip-delete", "true"),
            ("kluctl.io/is-ready", "true"),
            ("kluctl.io/ignore-conflicts-field", "data.a"),
            ("kluctl.io/force-apply", "true"),
            ("helm.sh/resource-policy", "keep"),
            ("helm.sh/chart", "x"),
            ("argocd.argoproj.io/sync-wave", "1"),
            ("config.kubernetes.io/local-config", "false"),
            ("example.org/helm.sh-hook", "x"),
        ] {
            assert_eq!(
                problems(&project(&[object("a", json!({name: value}))])),
                [""; 0],
                "{name}"
            );
        }
    }

    #[test]
    fn all_that_is_wrong_with_objects_is_said_at_once() {
        let mut undigested = object("b", json!({}));
        undigested["metadata"]["annotations"] = json!({});
        let unnamed = json!({"apiVersion": "v1", "kind": "Job", "metadata": {"generateName": "x-"}});
        let list = json!({"apiVersion": "x.example/v1", "kind": "AllowList", "metadata": {"name": "l",
            "annotations": {super::super::DIGEST: "d"}}});
        let found = problems(&project(&[
            object("a", json!({})),
            object("a", json!({"x": "y"})),
            undigested,
            unnamed,
            list,
        ]));
        for words in [
            "ConfigMap/n/a: is there 2 times",
            "ConfigMap/n/b: has no digest",
            "has no metadata.name",
            "AllowList.x.example/l: kustomize",
        ] {
            assert!(
                found.iter().any(|problem| problem.contains(words)),
                "no `{words}` in {found:?}"
            );
        }
        assert_eq!(found.len(), 4, "{found:?}");
    }

    #[test]
    fn what_a_rendering_left_out_is_named() {
        let folder = tempfile::TempDir::new().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        assert_eq!(left_out_problems(folder).unwrap(), [""; 0]);
        fs_err::write(folder.join(SKIPPED), r#"["chart cilium"]"#).unwrap();
        let found = left_out_problems(folder).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("chart cilium"), "{found:?}");
    }
}

//! The summary of an object of upstream text: what a reviewer must see, and digests of the rest.
//! It stays an object that the API server takes, and holds no upstream prose, script or schema.

use serde_json::{Map, Value, json};

use crate::base::formats::json as text;

/// Values of this length or less stay; longer ones and those of several lines become digests.
/// It is the length of an image reference with a digest (`registry/path:tag@sha256:…`), and some to spare.
const SHORT: usize = 160;

/// The summary of one object. Applied to summary it changes nothing but digests of digests, so it is applied once.
pub fn summary(object: &Value) -> Value {
    let mut out = Map::new();
    for key in ["apiVersion", "kind", "type", "immutable"] {
        copy(&mut out, object, key);
    }
    if let Some(metadata) = object.get("metadata") {
        out.insert("metadata".into(), metadata_summary(metadata));
    }
    let group = object
        .get("apiVersion")
        .and_then(Value::as_str)
        .and_then(|version| version.split_once('/'))
        .map_or("", |(group, _)| group);
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    let spec = object.get("spec");
    match (group, kind) {
        ("apps", "Deployment" | "DaemonSet" | "StatefulSet" | "ReplicaSet")
        | ("batch", "Job" | "CronJob")
        | ("", "Pod" | "ReplicationController") => {
            if let Some(spec) = spec {
                let spec = match kind {
                    "Pod" => pod_summary(spec),
                    "CronJob" => cron_summary(spec),
                    _ => workload_summary(spec),
                };
                out.insert("spec".into(), spec);
            }
        }
        ("", "ConfigMap") => {
            config_summary(&mut out, object);
        }
        // Data never comes this far: a Secret with data is refused before.
        ("", "Secret") => {}
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            if let Some(spec) = spec {
                out.insert("spec".into(), definition_summary(spec));
            }
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy") => {
            if let Some(spec) = spec {
                out.insert("spec".into(), policy_summary(kind, spec));
            }
        }
        // Rules, bindings, services, webhooks and all that is short by nature stay whole, without certificates.
        _ if crate::project::is_builtin(group) => whole_into(&mut out, object, Prose::Kept),
        // A custom resource: its definition in the golden takes anything, so long texts may become digests.
        _ => whole_into(&mut out, object, Prose::Digested),
    }
    Value::Object(out)
}

/// Whether long texts of an object stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prose {
    Kept,
    Digested,
}

fn whole_into(out: &mut Map<String, Value>, object: &Value, prose: Prose) {
    let Some(object) = object.as_object() else { return };
    for (key, value) in object {
        if !out.contains_key(key) && key != "status" {
            out.insert(key.clone(), trimmed(value, prose));
        }
    }
}

fn trimmed(value: &Value, prose: Prose) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            // Certificates are injected or public; either way they are no fact a person reads.
            .filter(|(key, _)| *key != "caBundle")
            .map(|(key, member)| (key.clone(), trimmed(member, prose)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(|item| trimmed(item, prose)).collect::<Vec<_>>().into(),
        Value::String(string) if prose == Prose::Digested && is_long(string) => digest(string).into(),
        other => other.clone(),
    }
}

fn is_long(string: &str) -> bool {
    string.len() > SHORT || string.trim_end_matches('\n').contains('\n')
}

/// What stands for a long text: its digest and how long it was, so that a reviewer sees growth.
fn digest(string: &str) -> String {
    let lines = string.lines().count();
    let images = images_in(string);
    let mut out = format!(
        "sha256:{} ({lines} {})",
        text::sha256(string),
        if lines == 1 { "line" } else { "lines" }
    );
    for image in images {
        out.push_str(" image: ");
        out.push_str(&image);
    }
    out
}

/// Images that a text names as `image: …`: pods in config files are run like any other.
pub(crate) fn images_in(string: &str) -> Vec<String> {
    let mut images: Vec<String> = string
        .match_indices("image")
        .filter_map(|(place, word)| {
            // The whole key, bare or quoted: `image:`, `"image":`, but neither `imagePullPolicy:` nor `myimage:`.
            let before = string[..place].chars().next_back();
            if before.is_some_and(|before| !matches!(before, ' ' | '\n' | '\t' | '"' | '\'' | '{' | ',')) {
                return None;
            }
            let rest = string[place + word.len()..]
                .trim_start_matches(['"', '\''])
                .strip_prefix(':')?;
            let image = rest.lines().next()?.trim_start().trim_start_matches(['"', '\'']);
            let image = image.split([' ', '"', '\'', ',', '}']).next()?;
            (image.contains([':', '/']) && !image.contains(['{', '$'])).then(|| image.to_owned())
        })
        .collect();
    images.sort();
    images.dedup();
    images
}

fn copy(out: &mut Map<String, Value>, from: &Value, key: &str) {
    if let Some(value) = from.get(key) {
        out.insert(key.into(), value.clone());
    }
}

fn copy_all(from: &Value, keys: &[&str]) -> Map<String, Value> {
    let mut out = Map::new();
    for key in keys {
        copy(&mut out, from, key);
    }
    out
}

/// Identity, labels, finalizers and annotations; long annotations are digests.
fn metadata_summary(metadata: &Value) -> Value {
    let mut out = copy_all(metadata, &["name", "namespace", "labels", "finalizers"]);
    if let Some(annotations) = metadata.get("annotations").and_then(Value::as_object) {
        let annotations: Map<String, Value> = annotations
            .iter()
            .map(|(key, value)| (key.clone(), trimmed(value, Prose::Digested)))
            .collect();
        if !annotations.is_empty() {
            out.insert("annotations".into(), annotations.into());
        }
    }
    out.into()
}

fn cron_summary(spec: &Value) -> Value {
    let mut out = copy_all(spec, &["schedule", "timeZone", "concurrencyPolicy", "suspend"]);
    if let Some(job) = spec.get("jobTemplate") {
        let mut template = Map::new();
        if let Some(metadata) = job.get("metadata") {
            template.insert("metadata".into(), metadata_summary(metadata));
        }
        if let Some(spec) = job.get("spec") {
            template.insert("spec".into(), workload_summary(spec));
        }
        out.insert("jobTemplate".into(), template.into());
    }
    out.into()
}

fn workload_summary(spec: &Value) -> Value {
    let mut out = copy_all(
        spec,
        &[
            "replicas",
            "selector",
            "serviceName",
            "podManagementPolicy",
            "completions",
            "parallelism",
            // Short, and summary in their own right: class, size and modes of what is stored.
            "volumeClaimTemplates",
        ],
    );
    if let Some(template) = spec.get("template") {
        let mut pod = Map::new();
        if let Some(metadata) = template.get("metadata") {
            pod.insert("metadata".into(), metadata_summary(metadata));
        }
        if let Some(spec) = template.get("spec") {
            pod.insert("spec".into(), pod_summary(spec));
        }
        out.insert("template".into(), pod.into());
    }
    out.into()
}

fn pod_summary(spec: &Value) -> Value {
    let mut out = copy_all(
        spec,
        &[
            "serviceAccountName",
            "hostNetwork",
            "hostPID",
            "hostIPC",
            "restartPolicy",
            "nodeSelector",
            "priorityClassName",
            "runtimeClassName",
            "imagePullSecrets",
        ],
    );
    for key in ["initContainers", "containers"] {
        if let Some(containers) = spec.get(key).and_then(Value::as_array) {
            let containers: Vec<Value> = containers.iter().map(container_summary).collect();
            out.insert(key.into(), containers.into());
        }
    }
    if let Some(volumes) = spec.get("volumes").and_then(Value::as_array) {
        let volumes: Vec<Value> = volumes.iter().map(volume_summary).collect();
        out.insert("volumes".into(), volumes.into());
    }
    out.into()
}

fn container_summary(container: &Value) -> Value {
    // The restart policy of an init container decides whether it is one.
    let mut out = copy_all(container, &["name", "image", "ports", "restartPolicy"]);
    let security = container.get("securityContext");
    if security.and_then(|context| context.get("privileged")) == Some(&Value::Bool(true)) {
        out.insert("securityContext".into(), json!({"privileged": true}));
    }
    out.into()
}

/// A volume by name and by what it is made of; items, modes and options go into the digest.
fn volume_summary(volume: &Value) -> Value {
    let mut out = copy_all(volume, &["name", "hostPath", "persistentVolumeClaim", "emptyDir"]);
    for (key, name) in [
        ("configMap", "name"),
        ("secret", "secretName"),
        ("csi", "driver"),
        ("image", "reference"),
    ] {
        if let Some(source) = volume.get(key) {
            out.insert(key.into(), copy_all(source, &[name]).into());
        }
    }
    if out.len() < 2
        && let Some(volume) = volume.as_object()
    {
        // Any other source is rare; it stays as it is, for a volume without a source would be an empty directory.
        out.extend(volume.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    out.into()
}

/// Settings stay, files become digests.
fn config_summary(out: &mut Map<String, Value>, object: &Value) {
    if let Some(data) = object.get("data").and_then(Value::as_object) {
        let data: Map<String, Value> = data
            .iter()
            .map(|(key, value)| (key.clone(), trimmed(value, Prose::Digested)))
            .collect();
        out.insert("data".into(), data.into());
    }
    if let Some(data) = object.get("binaryData").and_then(Value::as_object) {
        let data: Map<String, Value> = data
            .iter()
            .map(|(key, value)| {
                let value = value.as_str().unwrap_or_default();
                // The API server takes only base64 here.
                (key.clone(), text::base64(digest(value).as_bytes()).into())
            })
            .collect();
        out.insert("binaryData".into(), data.into());
    }
}

/// Names and versions; each schema becomes one that takes anything and says which schema it stands for.
fn definition_summary(spec: &Value) -> Value {
    let mut out = copy_all(spec, &["group", "names", "scope"]);
    if let Some(versions) = spec.get("versions").and_then(Value::as_array) {
        let versions: Vec<Value> = versions.iter().map(version_summary).collect();
        out.insert("versions".into(), versions.into());
    }
    if let Some(conversion) = spec.get("conversion") {
        out.insert("conversion".into(), trimmed(conversion, Prose::Digested));
    }
    out.into()
}

fn version_summary(version: &Value) -> Value {
    let mut out = copy_all(version, &["name", "served", "storage", "deprecated", "subresources"]);
    let schema = version.pointer("/schema/openAPIV3Schema").unwrap_or(&Value::Null);
    let digest = text::sha256(text::canonical(schema));
    out.insert(
        "schema".into(),
        json!({"openAPIV3Schema": {
            "type": "object",
            "description": format!("stands for the schema sha256:{digest}"),
            "x-kubernetes-preserve-unknown-fields": true,
        }}),
    );
    out.into()
}

/// What a policy matches; each expression becomes one that holds, with the digest of what it stands for.
fn policy_summary(kind: &str, spec: &Value) -> Value {
    let mut out = copy_all(
        spec,
        &["failurePolicy", "paramKind", "matchConstraints", "reinvocationPolicy"],
    );
    if kind == "MutatingAdmissionPolicy" {
        // A mutation has no harmless stand-in, so it stays.
        copy(&mut out, spec, "mutations");
        copy(&mut out, spec, "variables");
        copy(&mut out, spec, "matchConditions");
        return out.into();
    }
    let stand_in = |rule: &Value| {
        let digest = text::sha256(text::canonical(rule));
        json!({"expression": "true", "message": format!("stands for the rule sha256:{digest}")})
    };
    if let Some(rules) = spec.get("validations").and_then(Value::as_array) {
        out.insert(
            "validations".into(),
            rules.iter().map(stand_in).collect::<Vec<_>>().into(),
        );
    }
    if let Some(rules) = spec.get("auditAnnotations").and_then(Value::as_array) {
        let rules: Vec<Value> = rules
            .iter()
            .map(|rule| {
                let mut out = copy_all(rule, &["key"]);
                let digest = text::sha256(text::canonical(rule));
                out.insert("valueExpression".into(), format!("'sha256:{digest}'").into());
                out.into()
            })
            .collect();
        out.insert("auditAnnotations".into(), rules.into());
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(value: &Value, all: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.values().for_each(|value| leaves(value, all)),
            Value::Array(items) => items.iter().for_each(|value| leaves(value, all)),
            Value::String(string) => all.push(string.clone()),
            _ => {}
        }
    }

    #[test]
    fn a_workload_keeps_what_a_reviewer_must_see() {
        let summary = summary(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "a", "namespace": "b", "labels": {"app": "a"}, "annotations": {"note": "x\ny"}},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "a"}},
                "strategy": {"type": "Recreate"},
                "template": {
                    "metadata": {"labels": {"app": "a"}},
                    "spec": {
                        "serviceAccountName": "a",
                        "containers": [{
                            "name": "a", "image": "registry.example/a:1", "args": ["--x"],
                            "ports": [{"containerPort": 80}], "securityContext": {"privileged": true, "runAsUser": 0},
                        }],
                        "volumes": [
                            {"name": "config", "configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}},
                            {"name": "nfs", "nfs": {"server": "s", "path": "/p"}},
                        ],
                    },
                },
            },
        }));
        assert_eq!(
            summary["spec"],
            json!({
                "replicas": 2,
                "selector": {"matchLabels": {"app": "a"}},
                "template": {
                    "metadata": {"labels": {"app": "a"}},
                    "spec": {
                        "serviceAccountName": "a",
                        "containers": [{
                            "name": "a", "image": "registry.example/a:1", "ports": [{"containerPort": 80}],
                            "securityContext": {"privileged": true},
                        }],
                        "volumes": [{"name": "config", "configMap": {"name": "c"}}, {"name": "nfs", "nfs": {"server": "s", "path": "/p"}}],
                    },
                },
            })
        );
        assert!(
            summary["metadata"]["annotations"]["note"]
                .as_str()
                .unwrap()
                .starts_with("sha256:")
        );
    }

    #[test]
    fn files_of_a_config_map_become_digests_that_still_name_their_images() {
        let summary = summary(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
            "data": {"flag": "true", "pod.yaml": "spec:\n  containers:\n  - image: busybox:1.37\n    name: a\n"},
            "binaryData": {"b": "AAAA"},
        }));
        assert_eq!(summary["data"]["flag"], "true");
        let file = summary["data"]["pod.yaml"].as_str().unwrap();
        assert!(
            file.starts_with("sha256:") && file.ends_with("(4 lines) image: busybox:1.37"),
            "{file}"
        );
        assert!(
            summary["binaryData"]["b"]
                .as_str()
                .unwrap()
                .starts_with(&text::base64(b"sha256"))
        );
    }

    #[test]
    fn a_definition_keeps_names_and_versions_and_takes_anything() {
        let definition = |description: &str| {
            summary(&json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "as.example.org", "annotations": {"api-approved.kubernetes.io": "unapproved, test"}},
                "spec": {
                    "group": "example.org", "scope": "Namespaced", "names": {"kind": "A", "plural": "as"},
                    "versions": [{
                        "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                        "additionalPrinterColumns": [{"name": "x", "type": "string", "jsonPath": ".spec.x"}],
                        "schema": {"openAPIV3Schema": {"type": "object", "description": description}},
                    }],
                },
            }))
        };
        let one = definition("Upstream prose.");
        assert_eq!(
            one["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-preserve-unknown-fields"],
            true
        );
        assert_eq!(one["spec"]["versions"][0]["subresources"], json!({"status": {}}));
        assert_eq!(
            one["metadata"]["annotations"]["api-approved.kubernetes.io"],
            "unapproved, test"
        );
        let mut all = Vec::new();
        leaves(&one, &mut all);
        assert!(!all.iter().any(|leaf| leaf.contains("prose")));
        assert_ne!(one, definition("Other prose."));
    }

    #[test]
    fn webhooks_and_services_stay_without_certificates() {
        let summary = summary(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "a"},
            "webhooks": [{"name": "a.example.org", "clientConfig": {"caBundle": "AAAA", "service": {"name": "a", "namespace": "b"}}}],
        }));
        assert_eq!(
            summary["webhooks"][0]["clientConfig"],
            json!({"service": {"name": "a", "namespace": "b"}})
        );
    }

    #[test]
    fn long_texts_of_a_custom_resource_become_digests() {
        let summary = summary(&json!({
            "apiVersion": "example.org/v1", "kind": "A", "metadata": {"name": "a"},
            "spec": {"script": "#!/bin/sh\necho\n", "mode": "fast"}, "data": {"x": "y"}, "status": {"ready": true},
        }));
        assert!(summary["spec"]["script"].as_str().unwrap().starts_with("sha256:"));
        assert_eq!(summary["spec"]["mode"], "fast");
        assert_eq!(summary["data"], json!({"x": "y"}));
        assert_eq!(summary.get("status"), None);
    }

    #[test]
    fn a_policy_keeps_what_it_matches_and_holds() {
        let summary = summary(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "a"},
            "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": []}, "variables": [{"name": "x", "expression": "1"}],
                     "validations": [{"expression": "variables.x == 2", "message": "Prose."}]},
        }));
        assert_eq!(summary["spec"]["validations"][0]["expression"], "true");
        assert_eq!(summary["spec"].get("variables"), None);
    }
}

//! One object of the API as it stands in a manifest: who it is, where it comes from, which digest it carries.
//! It judges single objects; what a set of them means is `resolve`'s.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::formats::json;

/// Annotation with the digest of the complete rendered object, without this annotation.
pub const DIGEST: &str = "vanixiets.dev/digest";

/// Annotation that marks an object of upstream text (`chart` or `manifest`), which goldens keep as a summary.
pub const SOURCE: &str = "vanixiets.dev/source";

/// What etcd takes in one request by default; the API server stores no larger object.
const LARGEST: usize = 1_572_864;

/// What the API server takes in the annotations of one object.
const ANNOTATIONS: usize = 256 * 1024;

/// Who an object is to the API, whatever the version it is written in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = crate::project::name_of(&self.group, &self.kind, &self.namespace, &self.name);
        formatter.write_str(&name)
    }
}

/// Whether a golden keeps an object whole or as a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Written by our modules: kept whole.
    Native,
    /// Rendered from upstream's text: kept as a summary and a digest.
    Upstream,
}

/// One object of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Who it is.
    pub identity: Identity,
    /// What it says.
    pub value: Value,
}

impl Object {
    /// Takes a value that claims to be an object.
    pub fn new(value: Value) -> Result<Self, String> {
        let text = |parent: Option<&Value>, key: &str| {
            parent
                .and_then(|parent| parent.get(key)?.as_str())
                .unwrap_or_default()
                .to_owned()
        };
        let (root, metadata) = (Some(&value), value.get("metadata"));
        let kind = text(root, "kind");
        let version = text(root, "apiVersion");
        let name = text(metadata, "name");
        if kind.is_empty() || version.is_empty() {
            return Err("a document without `apiVersion` and `kind`".into());
        }
        if name.is_empty() {
            return Err(format!("{kind} without `metadata.name`"));
        }
        let group = version
            .split_once('/')
            .map_or(String::new(), |(group, _)| group.to_owned());
        let identity = Identity {
            group,
            kind,
            namespace: text(metadata, "namespace"),
            name,
        };
        Ok(Self { identity, value })
    }

    /// The value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.value.get("metadata")?.get("annotations")?.get(name)?.as_str()
    }

    /// The digest that the object carries.
    pub fn digest(&self) -> Option<&str> {
        self.annotation(DIGEST)
    }

    /// Whether a golden keeps it whole.
    pub fn origin(&self) -> Origin {
        match self.annotation(SOURCE) {
            Some("chart" | "manifest") => Origin::Upstream,
            _ => Origin::Native,
        }
    }

    /// What is wrong with the object by itself, before any server is asked.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = crate::project::sound::faults(&self.value);
        let Identity { namespace, name, .. } = &self.identity;
        if name.len() > 253 {
            faults.push(format!("its name has {} characters, 253 is the most", name.len()));
        }
        if namespace.len() > 63 {
            faults.push(format!(
                "its namespace has {} characters, 63 is the most",
                namespace.len()
            ));
        }
        let annotations: usize = self
            .value
            .pointer("/metadata/annotations")
            .and_then(Value::as_object)
            .map_or(0, |map| {
                map.iter()
                    .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
                    .sum()
            });
        if annotations > ANNOTATIONS {
            faults.push(format!(
                "its annotations have {annotations} bytes, {ANNOTATIONS} is the most"
            ));
        }
        faults
    }
}

/// The digest that belongs into an object's annotation: of the line that `jq -cS` prints for the object without
/// that annotation, its newline included, because that is the file that the renderer hashes.
pub fn digest_of(value: &Value) -> String {
    json::sha256(digested(value))
}

/// What the digest is made of.
pub(crate) fn digested(value: &Value) -> String {
    let mut line = json::canonical_without(value, &["metadata", "annotations", DIGEST]);
    line.push('\n');
    line
}

/// Bytes that a digest was made of, if the text that an object was read from proves it: a renderer writes the canonical
/// form, and without the annotation that is what it digested. None tells nothing, the text may be written otherwise.
pub(crate) fn proven_by(text: &str, digest: &str) -> Option<usize> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let annotation = format!("\"{DIGEST}\":\"{digest}\"");
    let (mut before, mut after) = text.split_once(&annotation)?;
    // Where it stands alone, the object of the annotations goes with it.
    if let (Some(head), Some(tail)) = (before.strip_suffix("\"annotations\":{"), after.strip_prefix('}')) {
        (before, after) = (head, tail);
    }
    match (after.strip_prefix(','), before.strip_suffix(',')) {
        (Some(tail), _) => after = tail,
        (None, Some(head)) => before = head,
        (None, None) => return None,
    }
    (json::sha256_of(&[before, after, "\n"]) == digest).then_some(before.len() + after.len() + 1)
}

/// What is wrong with an object's size.
pub(crate) fn too_large(bytes: usize) -> Option<String> {
    (bytes > LARGEST).then(|| format!("it has {bytes} bytes, the API server stores at most {LARGEST}"))
}

/// The objects of documents: lists are opened, also lists in lists, in the order in which they stand.
pub fn open(documents: Vec<Value>) -> Result<Vec<Object>, String> {
    let mut objects = Vec::with_capacity(documents.len());
    for document in documents {
        open_into(&mut objects, document)?;
    }
    Ok(objects)
}

fn open_into(objects: &mut Vec<Object>, document: Value) -> Result<(), String> {
    if !crate::project::is_list(&document) {
        objects.push(Object::new(document)?);
        return Ok(());
    }
    let Value::Object(mut map) = document else {
        return Err("a document that is no mapping".into());
    };
    match map.remove("items") {
        Some(Value::Array(items)) => {
            for (index, item) in items.into_iter().enumerate() {
                if item.is_null() {
                    return Err(format!("item {} of the list is null", index + 1));
                }
                open_into(objects, item)?;
            }
            Ok(())
        }
        None | Some(Value::Null) => Ok(()),
        Some(_) => Err("`items` of a list is no list".into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config_map(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "a"}})
    }

    #[test]
    fn a_canonical_text_proves_its_digest_and_any_other_text_nothing() {
        for annotations in [
            json!({}),
            json!({"a": "b"}),
            json!({"a": "b", "zz": "c"}),
            json!({"zz": "c"}),
        ] {
            let mut value = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": DIGEST},
                "metadata": {"name": "x", "annotations": annotations}});
            let line = digested(&value);
            let digest = digest_of(&value);
            value["metadata"]["annotations"][DIGEST] = digest.clone().into();
            let text = json::canonical(&value);
            assert_eq!(proven_by(&text, &digest), Some(line.len()), "{text}");
            assert_eq!(proven_by(&format!("{text}\n"), &digest), Some(line.len()));
            assert_eq!(proven_by(&text.replace("\"x\"", "\"y\""), &digest), None);
            assert_eq!(proven_by(&serde_json::to_string_pretty(&value).unwrap(), &digest), None);
            assert_eq!(proven_by(&text, &"0".repeat(64)), None);
        }
    }

    #[test]
    fn lists_in_lists_are_opened_in_order() {
        let list = |items: Value| json!({"apiVersion": "v1", "kind": "List", "items": items});
        let objects = open(vec![
            list(json!([
                config_map("a"),
                list(json!([config_map("b")])),
                list(json!(null))
            ])),
            config_map("c"),
        ])
        .unwrap();
        let names: Vec<&str> = objects.iter().map(|object| object.identity.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(
            open(vec![list(json!([config_map("a"), null]))]).unwrap_err(),
            "item 2 of the list is null"
        );
        assert!(open(vec![list(json!({}))]).is_err());
    }

    #[test]
    fn a_kind_that_ends_in_list_is_an_object_when_it_has_a_name() {
        let value = json!({"apiVersion": "x.example/v1", "kind": "AllowList", "metadata": {"name": "a"}, "items": []});
        assert_eq!(
            open(vec![value]).unwrap()[0].identity.to_string(),
            "AllowList.x.example/a"
        );
    }

    #[test]
    fn one_kind_in_two_groups_is_two_objects() {
        let of = |version: &str| {
            Object::new(json!({"apiVersion": version, "kind": "Cluster", "metadata": {"name": "a", "namespace": "b"}}))
                .unwrap()
                .identity
        };
        assert_ne!(of("cluster.x-k8s.io/v1beta2"), of("postgresql.cnpg.io/v1"));
        assert_eq!(of("cluster.x-k8s.io/v1beta2"), of("cluster.x-k8s.io/v1beta1"));
    }

    #[test]
    fn the_digest_does_not_see_itself() {
        let mut value = config_map("a");
        let digest = digest_of(&value);
        value["metadata"]["annotations"] = json!({ DIGEST: digest });
        assert_eq!(digest_of(&value), digest);
        value["data"] = json!({"a": "b"});
        assert_ne!(digest_of(&value), digest);
    }

    #[test]
    fn names_and_annotations_have_the_servers_limits() {
        let faults = |value: Value| Object::new(value).unwrap().faults();
        assert!(faults(config_map(&"n".repeat(253))).is_empty());
        assert_eq!(faults(config_map(&"n".repeat(254))).len(), 1);
        let mut value = config_map("a");
        value["metadata"]["annotations"] = json!({"a": "x".repeat(ANNOTATIONS + 1)});
        assert_eq!(faults(value).len(), 1);
        assert!(too_large(LARGEST).is_none());
        assert!(too_large(LARGEST + 1).is_some());
    }
}

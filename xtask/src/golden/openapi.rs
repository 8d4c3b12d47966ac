//! An API server's own description of its types, turned into the schemas that kubeconform reads.
//! It turns values into values; who fetched the description and who reads the schemas is no matter here.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::base::failure::Result;
use crate::call::Caller;

/// Turns a server's description of its types into schemas for kubeconform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServerSchemas {
    /// What `/openapi/v2` says.
    pub openapi: Utf8PathBuf,
    /// Folder of the schemas.
    pub to: Utf8PathBuf,
}

impl ServerSchemas {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        for (path, schema) in schemas(&on.read(&self.openapi)?) {
            on.write_json(&self.to.join(path), &schema)?;
        }
        Ok(())
    }
}

/// Where kubeconform finds the schema of an object, below a folder: its template for [`file`].
pub const TEMPLATE: &str = "{{ .Group }}/{{ .ResourceKind }}_{{ .ResourceAPIVersion }}.json";

/// Where the schema of a kind lies. kubeconform calls the core group by its version.
pub fn file(group: &str, version: &str, kind: &str) -> Utf8PathBuf {
    let group = if group.is_empty() { version } else { group };
    Utf8PathBuf::from(format!("{group}/{}_{version}.json", kind.to_lowercase()))
}

/// The schema of every kind in `/openapi/v2`, strict: a field that the server does not know is an error.
pub fn schemas(description: &Value) -> BTreeMap<Utf8PathBuf, Value> {
    let empty = Map::new();
    let definitions = description
        .get("definitions")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let strict: BTreeMap<&str, Value> = definitions
        .iter()
        .map(|(name, definition)| (name.as_str(), special(name).unwrap_or_else(|| strict(definition))))
        .collect();
    let mut found = BTreeMap::new();
    for (name, definition) in definitions {
        let kinds = definition
            .get("x-kubernetes-group-version-kind")
            .and_then(Value::as_array);
        for kind in kinds.into_iter().flatten() {
            let text = |key: &str| kind.get(key).and_then(Value::as_str).unwrap_or_default();
            let path = file(text("group"), text("version"), text("kind"));
            let mut schema = strict[name.as_str()].clone();
            let needed = closure(&strict, &schema);
            if let Some(schema) = schema.as_object_mut() {
                let needed: Map<String, Value> = needed
                    .into_iter()
                    .map(|name| (name.to_owned(), strict[name].clone()))
                    .collect();
                if !needed.is_empty() {
                    schema.insert("definitions".into(), needed.into());
                }
            }
            found.insert(path, schema);
        }
    }
    found
}

/// Types whose JSON is wider than version 2 of the description can say.
fn special(name: &str) -> Option<Value> {
    match name {
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => Some(json!({"type": ["integer", "string"]})),
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => Some(json!({"type": ["number", "string"]})),
        // Any JSON at all.
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON"
        | "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool"
        | "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray"
        | "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray" => Some(json!({})),
        _ => None,
    }
}

/// A type without prose, that refuses fields it does not name.
fn strict(schema: &Value) -> Value {
    let Some(schema) = schema.as_object() else {
        return schema.clone();
    };
    let holds = |key: &str| schema.get(key) == Some(&Value::Bool(true));
    let mut out = Map::new();
    for (key, value) in schema {
        let value = match key.as_str() {
            "properties" => value
                .as_object()
                .map(|properties| {
                    properties
                        .iter()
                        .map(|(name, inner)| (name.clone(), strict(inner)))
                        .collect::<Map<_, _>>()
                        .into()
                })
                .unwrap_or_default(),
            "items" | "additionalProperties" => strict(value),
            // Formats are the server's to judge; some of them kubeconform's library reads differently.
            "description" | "default" | "format" => continue,
            extension if extension.starts_with("x-") => continue,
            _ => value.clone(),
        };
        out.insert(key.clone(), value);
    }
    if holds("x-kubernetes-int-or-string") {
        out.insert("type".into(), json!(["integer", "string"]));
    }
    let closed = schema.contains_key("properties")
        && !schema.contains_key("additionalProperties")
        && !holds("x-kubernetes-preserve-unknown-fields")
        && !holds("x-kubernetes-embedded-resource");
    if closed {
        out.insert("additionalProperties".into(), false.into());
    }
    out.into()
}

/// Names of every definition that a schema refers to, directly or not.
fn closure<'a>(definitions: &'a BTreeMap<&str, Value>, schema: &Value) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open = Vec::new();
    references(schema, &mut open);
    while let Some(name) = open.pop() {
        if let Some((name, definition)) = definitions.get_key_value(name.as_str())
            && found.insert(*name)
        {
            references(definition, &mut open);
        }
    }
    found
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, member) in map {
                match member {
                    Value::String(target) if key == "$ref" => {
                        found.extend(target.strip_prefix("#/definitions/").map(str::to_owned));
                    }
                    other => references(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Value {
        json!({"definitions": {
            "io.k8s.api.core.v1.Thing": {
                "description": "Prose.", "type": "object", "required": ["spec"],
                "properties": {"spec": {"$ref": "#/definitions/io.k8s.api.core.v1.ThingSpec"}, "metadata": {"type": "object"}},
                "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Thing"}],
            },
            "io.k8s.api.core.v1.ThingSpec": {
                "type": "object",
                "properties": {
                    "port": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.util.intstr.IntOrString"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "description": {"type": "string", "format": "byte"},
                },
            },
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
            "org.example.v1.Free": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {"type": "string"}},
                "x-kubernetes-group-version-kind": [{"group": "example.org", "version": "v1", "kind": "Free"}],
            },
            "unused": {"type": "object"},
        }})
    }

    #[test]
    fn each_kind_has_a_schema_of_its_own_that_refuses_unknown_fields() {
        let found = schemas(&description());
        let thing = &found[&Utf8PathBuf::from("v1/thing_v1.json")];
        assert_eq!(thing["additionalProperties"], false);
        let definitions = thing["definitions"].as_object().unwrap();
        assert_eq!(definitions.len(), 2, "what is needed and nothing else");
        let spec = &definitions["io.k8s.api.core.v1.ThingSpec"];
        assert_eq!(spec["additionalProperties"], false);
        assert_eq!(
            spec["properties"]["labels"],
            json!({"type": "object", "additionalProperties": {"type": "string"}})
        );
        assert_eq!(
            spec["properties"]["description"],
            json!({"type": "string"}),
            "a field called description stays"
        );
        assert_eq!(
            definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"],
            json!({"type": ["integer", "string"]})
        );
    }

    #[test]
    fn what_takes_anything_still_does() {
        let found = schemas(&description());
        let free = &found[&Utf8PathBuf::from("example.org/free_v1.json")];
        assert_eq!(free.get("additionalProperties"), None);
    }
}

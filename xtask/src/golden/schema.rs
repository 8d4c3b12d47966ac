//! Custom resources against the schemas of their definitions, before those schemas become digests.
//! It knows the structural subset that the API server itself demands of a definition; rules (CEL) are the server's.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::object::{Identity, Object};

/// The schemas of a stage's definitions.
#[derive(Debug, Default)]
pub struct Schemas {
    kinds: HashMap<(String, String), Definition>,
}

#[derive(Debug)]
struct Definition {
    namespaced: bool,
    /// Schema by version; only those that are served.
    versions: HashMap<String, Value>,
}

/// Errors of one object that are told before the rest is only counted.
const TOLD: usize = 10;

impl Schemas {
    /// Adds a definition; anything else is passed over.
    pub fn add(&mut self, object: &Object) {
        let Identity { group, kind, .. } = &object.identity;
        if group != "apiextensions.k8s.io" || kind != "CustomResourceDefinition" {
            return;
        }
        let text = |pointer: &str| {
            object
                .value
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let versions = object.value.pointer("/spec/versions").and_then(Value::as_array);
        let versions = versions
            .into_iter()
            .flatten()
            .filter(|version| version.get("served") == Some(&Value::Bool(true)))
            .filter_map(|version| {
                let name = version.get("name")?.as_str()?.to_owned();
                let schema = version
                    .pointer("/schema/openAPIV3Schema")
                    .cloned()
                    .unwrap_or(Value::Null);
                Some((name, schema))
            })
            .collect();
        let definition = Definition {
            namespaced: text("/spec/scope") == "Namespaced",
            versions,
        };
        self.kinds.insert(
            (text("/spec/group").to_owned(), text("/spec/names/kind").to_owned()),
            definition,
        );
    }

    /// Whether a definition of the object's kind is here.
    pub fn knows(&self, identity: &Identity) -> bool {
        self.kinds
            .contains_key(&(identity.group.clone(), identity.kind.clone()))
    }

    /// What is wrong with a custom resource; empty also when its definition is not here.
    pub fn check(&self, object: &Object) -> Vec<String> {
        let identity = &object.identity;
        let Some(definition) = self.kinds.get(&(identity.group.clone(), identity.kind.clone())) else {
            return Vec::new();
        };
        let version = object
            .value
            .get("apiVersion")
            .and_then(Value::as_str)
            .and_then(|version| version.split_once('/'))
            .map_or("", |(_, version)| version);
        let Some(schema) = definition.versions.get(version) else {
            let mut served: Vec<&str> = definition.versions.keys().map(String::as_str).collect();
            served.sort_unstable();
            return vec![format!("version `{version}` is not served, only {}", served.join(", "))];
        };
        let mut errors = Vec::new();
        match (definition.namespaced, identity.namespace.is_empty()) {
            (true, true) => errors.push("it needs a namespace".into()),
            (false, false) => errors.push("it is cluster-scoped but has a namespace".into()),
            _ => {}
        }
        if let (Value::Object(map), Value::Object(schema)) = (&object.value, schema) {
            let mut checker = Checker {
                errors,
                path: String::new(),
            };
            checker.object(map, schema, Level::Root);
            errors = checker.errors;
        }
        let count = errors.len();
        errors.truncate(TOLD);
        if count > TOLD {
            errors.push(format!("and {} more", crate::base::text::plural(count - TOLD, "error")));
        }
        errors
    }
}

/// Whether fields are those of an object itself, which have types of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Inner,
}

struct Checker {
    errors: Vec<String>,
    path: String,
}

fn is(schema: &Map<String, Value>, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if is_integer(number) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_integer(number: &serde_json::Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|double| double.fract() == 0.0)
}

impl Checker {
    fn error(&mut self, message: impl AsRef<str>) {
        let place = if self.path.is_empty() { "." } else { &self.path };
        self.errors.push(format!("{place}: {}", message.as_ref()));
    }

    fn below(&mut self, segment: &str, inside: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if !self.path.is_empty() && !segment.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(segment);
        inside(self);
        self.path.truncate(length);
    }

    fn value(&mut self, value: &Value, schema: &Map<String, Value>) {
        if value.is_null() {
            // The server drops a null unless the field is nullable; the renderer drops it everywhere.
            if !is(schema, "nullable") {
                self.error("null, and not nullable");
            }
            return;
        }
        if is(schema, "x-kubernetes-int-or-string") {
            if !matches!(value, Value::String(_)) && type_name(value) != "integer" {
                self.error(format!("a {}, an integer or a string is expected", type_name(value)));
            }
        } else if let Some(wanted) = schema.get("type").and_then(Value::as_str) {
            let found = type_name(value);
            if found != wanted && !(wanted == "number" && found == "integer") {
                self.error(format!(
                    "{} {found}, {} {wanted} is expected",
                    article(found),
                    article(wanted)
                ));
                return;
            }
        }
        self.limits(value, schema);
        match value {
            Value::Object(map) if is(schema, "x-kubernetes-embedded-resource") => self.object(map, schema, Level::Root),
            Value::Object(map) => self.object(map, schema, Level::Inner),
            Value::Array(items) => self.array(items, schema),
            _ => {}
        }
        self.junctors(value, schema);
    }

    fn limits(&mut self, value: &Value, schema: &Map<String, Value>) {
        if let Some(values) = schema.get("enum").and_then(Value::as_array)
            && !values.iter().any(|one| crate::base::formats::json::same(one, value))
        {
            let values: Vec<String> = values.iter().map(crate::base::formats::json::canonical).collect();
            self.error(format!(
                "{} is none of {}",
                crate::base::formats::json::canonical(value),
                values.join(", ")
            ));
        }
        let limit = |key: &str| schema.get(key).and_then(Value::as_f64);
        match value {
            Value::Number(number) => {
                let number = number.as_f64().expect("a JSON number is a double, an i64 or a u64");
                if let Some(least) = limit("minimum") {
                    let exclusive = is(schema, "exclusiveMinimum");
                    if number < least || (exclusive && number == least) {
                        self.error(format!("{number} is below the minimum {least}"));
                    }
                }
                if let Some(most) = limit("maximum") {
                    let exclusive = is(schema, "exclusiveMaximum");
                    if number > most || (exclusive && number == most) {
                        self.error(format!("{number} is above the maximum {most}"));
                    }
                }
            }
            Value::String(string) => {
                let length = string.chars().count() as f64;
                self.size("characters", length, limit("minLength"), limit("maxLength"));
            }
            Value::Array(items) => self.size("items", items.len() as f64, limit("minItems"), limit("maxItems")),
            Value::Object(map) => self.size(
                "properties",
                map.len() as f64,
                limit("minProperties"),
                limit("maxProperties"),
            ),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn size(&mut self, what: &str, found: f64, least: Option<f64>, most: Option<f64>) {
        if least.is_some_and(|least| found < least) {
            self.error(format!("{found} {what}, {} is the least", least.unwrap_or_default()));
        }
        if most.is_some_and(|most| found > most) {
            self.error(format!("{found} {what}, {} is the most", most.unwrap_or_default()));
        }
    }

    fn object(&mut self, map: &Map<String, Value>, schema: &Map<String, Value>, level: Level) {
        for name in schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            // A default fills in what is missing before the server looks.
            let default = schema
                .get("properties")
                .and_then(|properties| properties.get(name))
                .is_some_and(|property| property.get("default").is_some());
            if !map.contains_key(name) && !default {
                self.error(format!("`{name}` is required"));
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        let anything = is(schema, "x-kubernetes-preserve-unknown-fields") || others == Some(&Value::Bool(true));
        for (key, value) in map {
            if level == Level::Root && matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
                continue;
            }
            let inner = properties
                .and_then(|properties| properties.get(key))
                .or(others)
                .and_then(Value::as_object);
            self.below(key, |checker| match inner {
                Some(inner) => checker.value(value, inner),
                None if anything => {}
                None => checker.error("unknown field"),
            });
        }
    }

    fn array(&mut self, items: &[Value], schema: &Map<String, Value>) {
        if let Some(inner) = schema.get("items").and_then(Value::as_object) {
            for (index, item) in items.iter().enumerate() {
                self.below(&format!("[{index}]"), |checker| checker.value(item, inner));
            }
        }
        match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("map") => {
                let keys: Vec<&str> = schema
                    .get("x-kubernetes-list-map-keys")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                let of =
                    |item: &Value| -> Vec<Option<Value>> { keys.iter().map(|key| item.get(*key).cloned()).collect() };
                self.unique(items, &of);
            }
            Some("set") => self.unique(items, &|item: &Value| vec![Some(item.clone())]),
            _ => {}
        }
    }

    fn unique(&mut self, items: &[Value], key: &dyn Fn(&Value) -> Vec<Option<Value>>) {
        let mut seen: Vec<Vec<Option<Value>>> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let key = key(item);
            if seen.contains(&key) {
                self.below(&format!("[{index}]"), |checker| {
                    checker.error("stands twice in the list");
                });
            } else {
                seen.push(key);
            }
        }
    }

    /// `oneOf`, `anyOf`, `allOf` and `not`, inside which a structural schema only limits values.
    fn junctors(&mut self, value: &Value, schema: &Map<String, Value>) {
        let branches = |key: &str| {
            schema
                .get(key)
                .and_then(Value::as_array)
                .map(Vec::as_slice)
                .unwrap_or_default()
        };
        for branch in branches("allOf") {
            if !holds(value, branch) {
                self.error("does not fit all of what `allOf` asks");
            }
        }
        let any = branches("anyOf");
        if !any.is_empty() && !any.iter().any(|branch| holds(value, branch)) {
            self.error("fits none of the alternatives of `anyOf`");
        }
        let one = branches("oneOf");
        let fitting = one.iter().filter(|branch| holds(value, branch)).count();
        if !one.is_empty() && fitting != 1 {
            self.error(format!(
                "fits {fitting} of the alternatives of `oneOf`, exactly one is allowed"
            ));
        }
        if schema.get("not").is_some_and(|branch| holds(value, branch)) {
            self.error("fits what `not` forbids");
        }
    }
}

/// Whether a value fits a schema inside a junctor, where unknown fields are no matter.
fn holds(value: &Value, schema: &Value) -> bool {
    let Some(schema) = schema.as_object() else {
        return schema != &Value::Bool(false);
    };
    let mut open = schema.clone();
    open.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
    if let Some(properties) = open.get_mut("properties").and_then(Value::as_object_mut) {
        let Some(map) = value.as_object() else {
            return !schema.contains_key("type") && !schema.contains_key("required");
        };
        let fits = properties
            .iter()
            .all(|(key, inner)| map.get(key).is_none_or(|member| holds(member, inner)));
        if !fits {
            return false;
        }
        properties.values_mut().for_each(|inner| {
            *inner = serde_json::json!({"x-kubernetes-preserve-unknown-fields": true, "nullable": true});
        });
    }
    let mut checker = Checker {
        errors: Vec::new(),
        path: String::new(),
    };
    checker.value(value, &open);
    checker.errors.is_empty()
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schemas() -> Schemas {
        let mut schemas = Schemas::default();
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "as.example.org"},
            "spec": {
                "group": "example.org", "scope": "Namespaced", "names": {"kind": "A", "plural": "as"},
                "versions": [
                    {"name": "v0", "served": false, "storage": false, "schema": {"openAPIV3Schema": {"type": "object"}}},
                    {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {
                            "type": "object",
                            "required": ["mode", "filled"],
                            "properties": {
                                "mode": {"type": "string", "enum": ["fast", "slow"]},
                                "filled": {"type": "string", "default": "x"},
                                "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                                "count": {"type": "integer", "minimum": 1, "maximum": 3},
                                "names": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string", "maxLength": 3}},
                                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                                "either": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                                           "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
                                "maybe": {"type": "string", "nullable": true},
                            },
                        }},
                    }}},
                ],
            },
        });
        schemas.add(&Object::new(definition).unwrap());
        schemas
    }

    fn check(version: &str, spec: Value) -> Vec<String> {
        let value = json!({"apiVersion": format!("example.org/{version}"), "kind": "A",
            "metadata": {"name": "a", "namespace": "b", "labels": {"x": "y"}}, "spec": spec});
        schemas().check(&Object::new(value).unwrap())
    }

    #[test]
    fn a_resource_that_fits_has_no_errors() {
        let spec = json!({
            "mode": "fast", "port": "http", "count": 3, "names": ["a", "b"], "free": {"x": {"y": 1}},
            "labels": {"any": "thing"}, "either": {"a": "x"}, "maybe": null,
        });
        assert_eq!(check("v1", spec), Vec::<String>::new());
        assert_eq!(
            check("v1", json!({"mode": "slow", "port": 80, "count": 1.0})),
            Vec::<String>::new()
        );
    }

    #[test]
    fn every_error_names_its_path() {
        let errors = check(
            "v1",
            json!({
                "mode": "quick", "port": 1.5, "count": 4, "names": ["a", "a", "long", 1], "typo": 1,
                "labels": {"any": 1}, "either": {"a": "x", "b": "y"}, "free": [],
            }),
        );
        assert_eq!(
            errors,
            [
                "spec.mode: \"quick\" is none of \"fast\", \"slow\"",
                "spec.port: a number, an integer or a string is expected",
                "spec.port: fits none of the alternatives of `anyOf`",
                "spec.count: 4 is above the maximum 3",
                "spec.names[2]: 4 characters, 3 is the most",
                "spec.names[3]: an integer, a string is expected",
                "spec.names[1]: stands twice in the list",
                "spec.typo: unknown field",
                "spec.labels.any: an integer, a string is expected",
                "spec.either: fits 2 of the alternatives of `oneOf`, exactly one is allowed",
                "and 1 error more",
            ]
        );
        assert_eq!(check("v1", json!({})), ["spec: `mode` is required"]);
        assert_eq!(
            check("v1", json!({"mode": null})),
            ["spec.mode: null, and not nullable"]
        );
        assert_eq!(check("v0", json!({})), ["version `v0` is not served, only v1"]);
    }

    #[test]
    fn scope_is_part_of_the_definition() {
        let value =
            json!({"apiVersion": "example.org/v1", "kind": "A", "metadata": {"name": "a"}, "spec": {"mode": "fast"}});
        assert_eq!(schemas().check(&Object::new(value).unwrap()), ["it needs a namespace"]);
        let other = json!({"apiVersion": "example.com/v1", "kind": "A", "metadata": {"name": "a"}});
        assert!(!schemas().knows(&Object::new(other).unwrap().identity));
    }
}

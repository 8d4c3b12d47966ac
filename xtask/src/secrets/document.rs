//! The plain document of a secret, before sops encrypts it.
//! It is built in memory and handed to sops; nothing here writes a file.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::platform::RequiredSecret;

/// The document of a secret of the platform config.
pub fn of(secret: &RequiredSecret, values: &BTreeMap<String, String>) -> Value {
    if secret.clusters.is_empty() {
        return json!(values);
    }
    let stem = secret
        .file
        .file_name()
        .unwrap_or_default()
        .trim_end_matches(".enc.yaml");
    sops_secret(stem, &secret.namespace, &secret.name, &secret.labels, values)
}

/// A SopsSecret that makes one Secret.
pub fn sops_secret(
    own_name: &str,
    namespace: &str,
    name: &str,
    labels: &BTreeMap<String, String>,
    values: &BTreeMap<String, String>,
) -> Value {
    let mut template = Map::new();
    template.insert("name".into(), json!(name));
    if !labels.is_empty() {
        template.insert("labels".into(), json!(labels));
    }
    template.insert("stringData".into(), json!(values));
    json!({
        "apiVersion": "isindir.github.com/v1alpha3",
        "kind": "SopsSecret",
        "metadata": {"name": own_name, "namespace": namespace},
        "spec": {"secretTemplates": [template]},
    })
}

/// The value of a key in a decrypted document.
pub fn value<'a>(document: &'a Value, key: &str) -> Option<&'a str> {
    let template = document.pointer("/spec/secretTemplates/0/stringData");
    template.unwrap_or(document).get(key)?.as_str()
}

/// Sets keys in a decrypted document, which keeps all else.
pub fn set(document: &mut Value, values: &BTreeMap<String, String>) {
    let data = match document.pointer_mut("/spec/secretTemplates/0") {
        Some(Value::Object(template)) => template.entry("stringData").or_insert_with(|| json!({})),
        _ => document,
    };
    if let Value::Object(data) = data {
        for (key, value) in values {
            data.insert(key.clone(), json!(value));
        }
    }
}

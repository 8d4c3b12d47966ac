//! Plain secrets in manifests: what must never be rendered, let alone committed.
//! It names the place and never the value.

use std::fmt::Write as _;

use serde_json::Value;

use super::object::Object;

/// A secret that stands open in an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The field, as a path.
    pub field: String,
    /// What stands there, without its value.
    pub what: &'static str,
}

/// Cheap signs of key material; a text without any of them needs no closer look.
const SIGNS: [&str; 8] = [
    "PRIVATE KEY-----",
    "AGE-SECRET-KEY-1",
    // `PRIVATE KEY` in base64, at each of the three places of a group.
    "UFJJVkFURSBLRVkt",
    "BSSVZBVEUgS0VZLS",
    "QUklWQVRFIEtFWS0",
    // `AGE-SECRET-KEY-` likewise.
    "QUdFLVNFQ1JFVC1LRVkt",
    "FHRS1TRUNSRVQtS0VZL",
    "BR0UtU0VDUkVULUtFWS",
];

/// Every plain secret of an object.
pub fn find(object: &Object) -> Vec<Finding> {
    let mut findings = Vec::new();
    let identity = &object.identity;
    if identity.kind == "Secret" && identity.group.is_empty() {
        for field in ["data", "stringData"] {
            let filled = object
                .value
                .get(field)
                .and_then(Value::as_object)
                .is_some_and(|data| !data.is_empty());
            if filled {
                findings.push(Finding {
                    field: field.into(),
                    what: "a Secret with data",
                });
            }
        }
    }
    if identity.kind == "SopsSecret" {
        templates(&object.value, &mut findings);
    }
    walk(&object.value, &mut String::new(), &mut findings);
    findings
}

/// Values of a SopsSecret that sops has not encrypted.
fn templates(value: &Value, findings: &mut Vec<Finding>) {
    let templates = value.pointer("/spec/secretTemplates").and_then(Value::as_array);
    for (index, template) in templates.into_iter().flatten().enumerate() {
        for field in ["data", "stringData"] {
            for (key, value) in template.get(field).and_then(Value::as_object).into_iter().flatten() {
                // sops leaves an empty string as it is.
                if value
                    .as_str()
                    .is_some_and(|value| !value.is_empty() && !value.starts_with("ENC["))
                {
                    findings.push(Finding {
                        field: format!("spec.secretTemplates[{index}].{field}.{key}"),
                        what: "a value that sops has not encrypted",
                    });
                }
            }
        }
    }
}

fn walk(value: &Value, path: &mut String, findings: &mut Vec<Finding>) {
    let length = path.len();
    match value {
        Value::Object(map) => {
            for (key, member) in map {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                walk(member, path, findings);
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                write!(path, "[{index}]").expect("a string takes everything");
                walk(item, path, findings);
                path.truncate(length);
            }
        }
        Value::String(string) => {
            if let Some(what) = key_material(string) {
                findings.push(Finding {
                    field: path.clone(),
                    what,
                });
            }
        }
        _ => {}
    }
}

/// What key material a text holds. A mere mention (`-----BEGIN PRIVATE KEY-----…` in prose) is none.
fn key_material(string: &str) -> Option<&'static str> {
    if string.len() < 32 || !SIGNS.iter().any(|sign| string.contains(sign)) {
        return None;
    }
    let body = |rest: &str, least: usize, fits: fn(u8) -> bool| {
        rest.replace("\\n", "")
            .bytes()
            .filter(|byte| !byte.is_ascii_whitespace())
            .take(least)
            .filter(|byte| fits(*byte))
            .count()
            == least
    };
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    for (place, sign) in string.match_indices("PRIVATE KEY-----") {
        if string[..place].ends_with("ENCRYPTED ") {
            continue;
        }
        if body(&string[place + sign.len()..], 32, base64) {
            return Some("a private key");
        }
    }
    for (place, sign) in string.match_indices("AGE-SECRET-KEY-1") {
        if body(&string[place + sign.len()..], 20, |byte| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit()
        }) {
            return Some("an age identity");
        }
    }
    // In base64 prose is rare; the sign itself decides.
    SIGNS[2..5]
        .iter()
        .any(|sign| string.contains(sign))
        .then_some("a private key in base64")
        .or_else(|| {
            SIGNS[5..]
                .iter()
                .any(|sign| string.contains(sign))
                .then_some("an age identity in base64")
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::formats::json::base64;

    fn found(value: Value) -> Vec<(String, &'static str)> {
        find(&Object::new(value).unwrap())
            .into_iter()
            .map(|finding| (finding.field, finding.what))
            .collect()
    }

    fn config(value: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": value}})
    }

    fn pem() -> String {
        let dashes = "-----";
        format!(
            "{dashes}BEGIN EC PRIVATE KEY{dashes}\n{}\n{dashes}END EC PRIVATE KEY{dashes}\n",
            "MHcCAQEE".repeat(8)
        )
    }

    #[test]
    fn key_material_is_found_wherever_it_stands() {
        let age = format!("AGE-SECRET-{}1{}", "KEY-", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L".repeat(2));
        assert_eq!(found(config(&pem())), [("data.k".to_owned(), "a private key")]);
        assert_eq!(
            found(config(&pem().replace('\n', "\\n"))),
            [("data.k".to_owned(), "a private key")]
        );
        assert_eq!(found(config(&age)), [("data.k".to_owned(), "an age identity")]);
        for shift in ["", "x", "xx"] {
            assert_eq!(
                found(config(&base64(format!("{shift}{}", pem()).as_bytes()))),
                [("data.k".to_owned(), "a private key in base64")]
            );
            assert_eq!(
                found(config(&base64(format!("{shift}{age}").as_bytes()))),
                [("data.k".to_owned(), "an age identity in base64")]
            );
        }
    }

    #[test]
    fn prose_about_keys_is_no_key() {
        assert_eq!(
            found(config(
                "paste what begins with -----BEGIN PRIVATE KEY----- and nothing else, please, into this field"
            )),
            []
        );
        assert_eq!(
            found(config(
                "the operator reads AGE-SECRET-KEY-1... from its volume, never from a ConfigMap"
            )),
            []
        );
    }

    #[test]
    fn a_secret_with_data_and_an_open_sops_value_are_found() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"k": "eA=="}});
        assert_eq!(found(secret), [("data".to_owned(), "a Secret with data")]);
        let empty =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "type": "Opaque", "data": {}});
        assert_eq!(found(empty), []);
        let sops = json!({"apiVersion": "isindir.github.com/v1alpha3", "kind": "SopsSecret", "metadata": {"name": "a"},
            "spec": {"secretTemplates": [{"name": "x", "stringData": {"a": "ENC[AES256_GCM,data:x]", "b": "open", "c": ""}}]}});
        assert_eq!(
            found(sops),
            [(
                "spec.secretTemplates[0].stringData.b".to_owned(),
                "a value that sops has not encrypted"
            )]
        );
    }
}

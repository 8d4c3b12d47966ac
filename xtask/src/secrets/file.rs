//! Encrypted files as they lie on the disk: who can read one, and what in it is not encrypted.
//! No key is needed and nothing is decrypted.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use regex_lite::Regex;
use serde_json::{Map, Value};

use crate::base::formats::yaml;

/// An encrypted file, seen from outside.
#[derive(Debug, Clone)]
pub struct Encrypted {
    /// The document without sops' metadata.
    pub document: Value,
    /// Everybody who can read it.
    pub recipients: BTreeSet<String>,
    /// Key groups; one unless shares are needed.
    pub groups: usize,
    /// How many groups are needed to decrypt.
    pub threshold: Option<u64>,
    /// Only below keys with this ending values are encrypted.
    pub encrypted_suffix: Option<String>,
    /// When it was last changed, RFC 3339.
    pub modified: Option<String>,
    /// Whether it has a message authentication code.
    pub has_mac: bool,
    /// Whether the code covers only what is encrypted.
    pub mac_only_encrypted: bool,
    selection: Selection,
}

/// Which values sops was told to encrypt.
#[derive(Debug, Clone)]
enum Selection {
    EncryptedSuffix(String),
    EncryptedRegex(Regex),
    UnencryptedSuffix(String),
    UnencryptedRegex(Regex),
    All,
}

impl Encrypted {
    /// Reads a file; the error says in words why it is none that sops encrypted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut documents = yaml::read(text).map_err(|error| format!("cannot be read: {error}"))?;
        if documents.len() != 1 {
            return Err(format!(
                "has {} documents, sops files of this project have one",
                documents.len()
            ));
        }
        let Value::Object(mut map) = documents.remove(0) else {
            return Err("is no mapping".into());
        };
        let Some(Value::Object(sops)) = map.remove("sops") else {
            return Err("is not encrypted: it has no sops metadata".into());
        };
        let text = |key: &str| sops.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
        let regex = |key: &str| -> Result<Option<Regex>, String> {
            text(key)
                .map(|text| Regex::new(&text).map_err(|error| format!("its `{key}` cannot be read: {error}")))
                .transpose()
        };
        let selection = if let Some(suffix) = text("encrypted_suffix").filter(|suffix| !suffix.is_empty()) {
            Selection::EncryptedSuffix(suffix)
        } else if let Some(regex) = regex("encrypted_regex")? {
            Selection::EncryptedRegex(regex)
        } else if let Some(regex) = regex("unencrypted_regex")? {
            Selection::UnencryptedRegex(regex)
        } else if let Some(suffix) = text("unencrypted_suffix").filter(|suffix| !suffix.is_empty()) {
            Selection::UnencryptedSuffix(suffix)
        } else {
            Selection::All
        };
        let mut recipients = BTreeSet::new();
        let mut groups = usize::from(collect(&sops, &mut recipients));
        for group in sops.get("key_groups").and_then(Value::as_array).into_iter().flatten() {
            groups += usize::from(group.as_object().is_some_and(|group| collect(group, &mut recipients)));
        }
        Ok(Self {
            document: Value::Object(map),
            recipients,
            groups,
            threshold: sops
                .get("shamir_threshold")
                .and_then(Value::as_u64)
                .filter(|threshold| *threshold > 0),
            encrypted_suffix: text("encrypted_suffix").filter(|suffix| !suffix.is_empty()),
            modified: text("lastmodified"),
            has_mac: text("mac").is_some_and(|mac| is_encrypted(&mac)),
            mac_only_encrypted: sops.get("mac_only_encrypted") == Some(&Value::Bool(true)),
            selection,
        })
    }

    /// Paths of values that should be encrypted and are not, with what is wrong.
    pub fn clear_values(&self) -> Vec<(String, &'static str)> {
        let mut found = Vec::new();
        self.walk(&self.document, &mut String::new(), self.selection.begin(), &mut found);
        found
    }

    fn walk(&self, value: &Value, path: &mut String, encrypted: bool, found: &mut Vec<(String, &'static str)>) {
        let length = path.len();
        match value {
            Value::Object(map) => {
                for (key, member) in map {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                    self.walk(member, path, self.selection.after(encrypted, key), found);
                    path.truncate(length);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    write!(path, "[{index}]").expect("a string takes everything");
                    self.walk(item, path, encrypted, found);
                    path.truncate(length);
                }
            }
            Value::Null => {}
            _ if !encrypted => {}
            Value::String(text) if is_encrypted(text) => {}
            // A label without a value is a mark, not a secret.
            Value::String(text) if text.is_empty() && (path.contains(".labels.") || path.contains(".annotations.")) => {
            }
            Value::String(text) if text.is_empty() => {
                found.push((path.clone(), "is empty, and sops leaves an empty value in clear"));
            }
            Value::String(_) | Value::Number(_) | Value::Bool(_) => found.push((path.clone(), "is not encrypted")),
        }
    }

    /// Keys of the Secrets that a SopsSecret makes, or of a plain file: they are never encrypted.
    pub fn keys(&self) -> BTreeSet<String> {
        let templates = self.document.pointer("/spec/secretTemplates").and_then(Value::as_array);
        match templates {
            Some(templates) => templates
                .iter()
                .flat_map(|template| ["stringData", "data"].map(|field| template.get(field)))
                .flatten()
                .filter_map(Value::as_object)
                .flat_map(|data| data.keys().cloned())
                .collect(),
            None => self
                .document
                .as_object()
                .into_iter()
                .flat_map(|map| map.keys().cloned())
                .collect(),
        }
    }
}

impl Selection {
    fn begin(&self) -> bool {
        matches!(self, Self::UnencryptedSuffix(_) | Self::UnencryptedRegex(_) | Self::All)
    }

    /// Whether values below a key are encrypted, given whether they were above it.
    fn after(&self, before: bool, key: &str) -> bool {
        match self {
            Self::EncryptedSuffix(suffix) => before || key.ends_with(suffix.as_str()),
            Self::EncryptedRegex(regex) => before || regex.is_match(key),
            Self::UnencryptedSuffix(suffix) => before && !key.ends_with(suffix.as_str()),
            Self::UnencryptedRegex(regex) => before && !regex.is_match(key),
            Self::All => true,
        }
    }
}

/// Whether a text is a value that sops encrypted.
pub fn is_encrypted(text: &str) -> bool {
    text.starts_with("ENC[AES256_GCM,data:") && text.ends_with(']') && text.contains(",tag:")
}

/// Whether a document at the top of a file is what kluctl takes for a SOPS file.
pub fn has_metadata(document: &Value) -> bool {
    document
        .get("sops")
        .is_some_and(|sops| sops.get("mac").is_some() || sops.get("lastmodified").is_some())
}

fn collect(group: &Map<String, Value>, recipients: &mut BTreeSet<String>) -> bool {
    let before = recipients.len();
    for key in group.get("age").and_then(Value::as_array).into_iter().flatten() {
        recipients.extend(key.get("recipient").and_then(Value::as_str).map(ToOwned::to_owned));
    }
    for kind in ["pgp", "kms", "gcp_kms", "hckms", "azure_kv", "hc_vault"] {
        let keys = group.get(kind).and_then(Value::as_array).into_iter().flatten();
        recipients.extend(keys.map(|key| format!("{kind}:{}", first_text(key))));
    }
    recipients.len() > before
}

fn first_text(key: &Value) -> &str {
    ["fp", "arn", "resource_id", "key_id", "vault_url", "vault_address"]
        .iter()
        .find_map(|name| key.get(name).and_then(Value::as_str))
        .unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]";

    fn file(body: &str, sops: &str) -> Encrypted {
        Encrypted::parse(&format!(
            "{body}sops:\n  age:\n  - recipient: age1x\n    enc: x\n  mac: {VALUE}\n  lastmodified: x\n{sops}"
        ))
        .unwrap()
    }

    #[test]
    fn clear_and_empty_values_are_found_where_sops_should_have_encrypted() {
        let file = file(
            &format!(
                "kind: SopsSecret\nspec:\n  secretTemplates:\n  - name: {VALUE}\n    stringData: {{a: open, b: '', c: 7, d: '{VALUE}'}}\n"
            ),
            "  encrypted_suffix: Templates\n",
        );
        let paths: Vec<String> = file
            .clear_values()
            .into_iter()
            .map(|(path, what)| format!("{path} {what}"))
            .collect();
        assert_eq!(
            paths,
            [
                "spec.secretTemplates[0].stringData.a is not encrypted",
                "spec.secretTemplates[0].stringData.b is empty, and sops leaves an empty value in clear",
                "spec.secretTemplates[0].stringData.c is not encrypted"
            ]
        );
        assert_eq!(file.keys().into_iter().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    }

    #[test]
    fn without_a_selection_everything_has_to_be_encrypted() {
        assert_eq!(
            file("a: x\nb_unencrypted: y\n", "  unencrypted_suffix: _unencrypted\n")
                .clear_values()
                .len(),
            1
        );
        assert_eq!(file("a: x\nb_unencrypted: y\n", "").clear_values().len(), 2);
    }

    #[test]
    fn groups_and_their_threshold_are_seen() {
        let text = format!(
            "a: {VALUE}\nsops:\n  shamir_threshold: 2\n  key_groups:\n  - age: [{{recipient: age1x}}]\n  - age: [{{recipient: age1y}}]\n  mac: {VALUE}\n"
        );
        let file = Encrypted::parse(&text).unwrap();
        assert_eq!((file.groups, file.threshold, file.recipients.len()), (2, Some(2), 2));
    }

    #[test]
    fn a_plain_file_is_told_from_an_encrypted_one() {
        assert!(Encrypted::parse("a: b\n").unwrap_err().contains("not encrypted"));
        assert!(Encrypted::parse("a: [\n").unwrap_err().contains("cannot be read"));
    }
}

//! `secrets list`: what there is, who reads it, since when. Names, places and recipients, and never a value.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use camino::Utf8PathBuf;
use serde::Serialize;

use super::check::is_secret;
use super::file::Encrypted;
use super::rules::Rules;
use super::{FOLDER, scan};
use crate::base::failure::Result;
use crate::base::text::plural;
use crate::context::Checkout;
use crate::platform::{RequiredSecret, SecretKind};

/// One secret.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Name in the platform config; none for a file that the platform config does not know.
    id: Option<String>,
    file: Utf8PathBuf,
    /// Whether the file is there.
    exists: bool,
    /// Whether it is one that sops encrypted.
    encrypted: bool,
    clusters: Vec<String>,
    namespace: Option<String>,
    name: Option<String>,
    /// Keys, with how each value comes to be where the platform config says it.
    keys: BTreeMap<String, Option<SecretKind>>,
    /// The rule that decides who reads it.
    rule: Option<String>,
    /// Who can read it, by name in the platform config.
    readers: Vec<Reader>,
    /// When it was last changed, RFC 3339.
    modified: Option<String>,
    /// Whole days since then.
    days: Option<u64>,
    /// Workloads that read the value.
    consumers: Vec<String>,
}

/// One who can read a file.
#[derive(Debug, Clone, Serialize)]
struct Reader {
    /// Name in the platform config; none for somebody whom they do not know.
    name: Option<String>,
    recipient: String,
}

/// Every secret of the platform config, and every other file below the folder of secrets.
pub fn of(checkout: &Checkout) -> Result<Vec<Listed>> {
    let secrets = &checkout.platform.secrets;
    let rules = Rules::of(&checkout.root)?;
    let others = scan::files(&checkout.root)?.into_iter().filter(|path| {
        path.starts_with(FOLDER) && is_secret(path) && secrets.required.iter().all(|secret| secret.file != *path)
    });
    let known = secrets
        .required
        .iter()
        .map(|secret| (secret.file.clone(), Some(secret)));
    Ok(known
        .chain(others.map(|path| (path, None)))
        .map(|(path, secret)| one(checkout, rules.as_ref(), path, secret))
        .collect())
}

fn one(checkout: &Checkout, rules: Option<&Rules>, path: Utf8PathBuf, secret: Option<&RequiredSecret>) -> Listed {
    let text = fs_err::read_to_string(checkout.path(&path)).ok();
    let exists = text.is_some();
    let file = text.and_then(|text| Encrypted::parse(&text).ok());
    let names: BTreeMap<&str, &str> = checkout
        .platform
        .secrets
        .recipients
        .iter()
        .map(|(name, one)| (one.as_str(), name.as_str()))
        .collect();
    let mut readers: Vec<Reader> = file
        .iter()
        .flat_map(|file| &file.recipients)
        .map(|one| Reader {
            name: names.get(one.as_str()).map(|name| (*name).to_owned()),
            recipient: one.clone(),
        })
        .collect();
    readers.sort_by(|left, right| left.name.cmp(&right.name));
    let at = |pointer: &str| {
        let value = file.as_ref()?.document.pointer(pointer)?.as_str()?;
        Some(value.to_owned())
    };
    let keys = match secret {
        Some(secret) => secret
            .keys
            .iter()
            .map(|(key, source)| (key.clone(), Some(source.kind)))
            .collect(),
        None => file.iter().flat_map(Encrypted::keys).map(|key| (key, None)).collect(),
    };
    let modified = file.as_ref().and_then(|file| file.modified.clone());
    Listed {
        id: secret.map(|secret| secret.id.clone()),
        exists,
        encrypted: file.is_some(),
        clusters: secret.iter().flat_map(|secret| secret.clusters.clone()).collect(),
        namespace: match secret {
            Some(secret) => Some(secret.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            None => at("/metadata/namespace"),
        },
        name: secret.map(|secret| secret.name.clone()),
        keys,
        rule: rules
            .and_then(|rules| rules.first_match(&path))
            .and_then(|(_, rule)| rule.path_regex.clone()),
        readers,
        days: modified.as_deref().and_then(days_since),
        modified,
        consumers: secret.iter().flat_map(|secret| secret.consumers.clone()).collect(),
        file: path,
    }
}

/// The same for people.
pub fn table(listed: &[Listed]) -> String {
    let mut text = format_row("SECRET", "AGE", "READERS", "KEYS", "FILE");
    for one in listed {
        let readers: Vec<&str> = one
            .readers
            .iter()
            .map(|reader| reader.name.as_deref().unwrap_or(&reader.recipient))
            .collect();
        let keys: Vec<&str> = one.keys.keys().map(String::as_str).collect();
        let age = match one.days {
            _ if !one.exists => "not given".to_owned(),
            _ if !one.encrypted => "in clear!".to_owned(),
            Some(days) => plural(usize::try_from(days).unwrap_or(usize::MAX), "day"),
            None => "unknown".to_owned(),
        };
        text.push_str(&format_row(
            one.id.as_deref().unwrap_or("(not in the platform config)"),
            &age,
            &readers.join(","),
            &keys.join(","),
            one.file.as_str(),
        ));
    }
    text
}

fn format_row(id: &str, age: &str, readers: &str, keys: &str, file: &str) -> String {
    let mut row = String::new();
    writeln!(row, "{id:<24} {age:>9}  {readers:<22} {keys:<34} {file}").expect("a string takes everything");
    row
}

/// Whole days since a time in RFC 3339.
fn days_since(time: &str) -> Option<u64> {
    let then = humantime::parse_rfc3339(time).ok()?;
    let passed = std::time::SystemTime::now().duration_since(then).unwrap_or_default();
    Some(passed.as_secs() / 86_400)
}

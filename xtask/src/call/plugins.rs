//! Programs that a kubeconfig has its reader start: whatever its author wrote there runs as the person who reads it, so
//! that each is agreed to once before anything is given the file. What was agreed to is kept in the state of the
//! checkout.
//! It starts nothing and asks nobody.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::files;
use crate::base::formats::json::sha256;
use crate::base::formats::yaml;
use crate::base::root::STATE;

/// Keys of a user by which kubectl starts a program, or did.
const KEYS: [&str; 2] = ["exec", "auth-provider"];

/// What a text has to hold so that a key of it can be one of [`KEYS`]: the word itself, an escape or a tag.
const SIGNS: [&str; 4] = ["exec", "auth-provider", "\\", "!"];

/// The programs of one kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugins {
    /// Each with its user, for people.
    pub programs: Vec<String>,
    /// Of everything that decides what is started.
    digest: String,
}

/// Refuses a kubeconfig whose programs were not agreed to; one that is missing starts none.
pub(crate) fn check(root: &Utf8Path, kubeconfig: &Utf8Path) -> Result<()> {
    match Plugins::unagreed(root, kubeconfig)? {
        None => Ok(()),
        Some(plugins) => Err(plugins
            .refused(kubeconfig)
            .hinted("`cargo xtask history` or any deploying verb asks for it on a terminal, once")),
    }
}

/// Where it stands what was agreed to, by kubeconfig.
fn record() -> Utf8PathBuf {
    Utf8Path::new(STATE).join("plugins.json")
}

fn agreed(root: &Utf8Path) -> BTreeMap<Utf8PathBuf, String> {
    fs_err::read_to_string(root.join(record()))
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

impl Plugins {
    /// What a kubeconfig starts that was not agreed to.
    pub fn unagreed(root: &Utf8Path, kubeconfig: &Utf8Path) -> Result<Option<Self>> {
        let text = match fs_err::read_to_string(root.join(kubeconfig)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(plugins) = Self::of(&text, kubeconfig)? else {
            return Ok(None);
        };
        Ok((agreed(root).get(kubeconfig) != Some(&plugins.digest)).then_some(plugins))
    }

    /// What the text of a kubeconfig starts; none where it starts nothing.
    fn of(text: &str, kubeconfig: &Utf8Path) -> Result<Option<Self>> {
        if !SIGNS.iter().any(|sign| text.contains(sign)) {
            return Ok(None);
        }
        let config = yaml::read_one(text).map_err(|error| {
            Failure::config(format!(
                "`{kubeconfig}` cannot be read, so nothing says what it starts: {error}"
            ))
            .hinted("put the kubeconfig of the cluster there again")
        })?;
        let mut programs = Vec::new();
        let mut decides = Vec::new();
        for user in config.get("users").and_then(Value::as_array).into_iter().flatten() {
            for key in KEYS {
                let Some(plugin) = user
                    .get("user")
                    .and_then(|user| user.get(key))
                    .filter(|plugin| !plugin.is_null())
                else {
                    continue;
                };
                programs.push(format!("{} for its user `{}`", words(plugin), text_at(user, "name")));
                decides.push(plugin.to_string());
            }
        }
        let digest = sha256(decides.join("\n"));
        Ok((!programs.is_empty()).then_some(Self { programs, digest }))
    }

    /// Writes down that these may be started, until the kubeconfig has others.
    pub fn agree(&self, root: &Utf8Path, kubeconfig: &Utf8Path) -> Result<()> {
        let mut agreed = agreed(root);
        agreed.insert(kubeconfig.to_owned(), self.digest.clone());
        let text =
            serde_json::to_string_pretty(&agreed).or_fail(Kind::Unexpected, "cannot write what was agreed to")?;
        files::write(&root.join(record()), text.as_bytes(), 0o600)
    }

    /// The failure of one who would start them.
    pub fn refused(&self, kubeconfig: &Utf8Path) -> Failure {
        Failure::many(
            Kind::Refused,
            format!("`{kubeconfig}` starts programs that were not agreed to; none was started"),
            &self.programs,
        )
    }
}

/// The command line of a plugin.
fn words(plugin: &Value) -> String {
    let command = match plugin.get("command").and_then(Value::as_str) {
        Some(command) => command,
        None => plugin
            .pointer("/config/cmd-path")
            .and_then(Value::as_str)
            .unwrap_or_else(|| plugin.get("name").and_then(Value::as_str).unwrap_or("unknown")),
    };
    let args = plugin.get("args").and_then(Value::as_array).into_iter().flatten();
    let line: Vec<&str> = std::iter::once(command).chain(args.filter_map(Value::as_str)).collect();
    format!("`{}`", shell_words::join(line))
}

fn text_at<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITH: &str = "users:\n- name: admin\n  user:\n    exec: {command: aws, args: [eks, get-token, \"a b\"]}\n";

    #[test]
    fn what_a_kubeconfig_starts_is_named_and_agreed_to_once_for_each_content() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let path = Utf8Path::new("kubeconfig");
        let put = |text: &str| fs_err::write(root.join(path), text).unwrap();
        assert!(check(root, path).is_ok(), "it is not there");
        put("users: [{name: a, user: {token: x}}]");
        assert!(check(root, path).is_ok(), "it starts nothing");
        put(WITH);
        let failure = check(root, path).unwrap_err();
        assert_eq!(failure.kind, Kind::Refused);
        let chain = failure.chain();
        assert!(
            chain.contains("`aws eks get-token 'a b'` for its user `admin`"),
            "{chain}"
        );
        Plugins::unagreed(root, path)
            .unwrap()
            .unwrap()
            .agree(root, path)
            .unwrap();
        assert!(check(root, path).is_ok(), "it was agreed to");
        put(&WITH.replace("aws", "./aws"));
        assert_eq!(check(root, path).unwrap_err().kind, Kind::Refused);
        // What was agreed to for one kubeconfig says nothing of another.
        fs_err::write(root.join("other"), WITH).unwrap();
        assert_eq!(check(root, Utf8Path::new("other")).unwrap_err().kind, Kind::Refused);
    }

    #[test]
    fn a_plugin_is_found_however_it_is_written() {
        let found = |text: &str| Plugins::of(text, Utf8Path::new("k"));
        for text in [
            WITH,
            r#"{"users": [{"name": "u", "user": {"\u0065xec": {"command": "x"}}}]}"#,
            "users: [{name: u, user: {auth-provider: {name: gcp, config: {cmd-path: x}}}}]",
        ] {
            assert!(found(text).unwrap().is_some(), "{text}");
        }
        assert!(found("users: [exec").is_err(), "what cannot be read says nothing");
        assert!(found("clusters: [{name: exec}]").unwrap().is_none());
    }
}

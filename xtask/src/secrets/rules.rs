//! The rules of `.sops.yaml`: which recipients a path demands. The first rule that matches decides, as in sops.
//! It reads and writes the rules; whether a file obeys them is `check`'s question.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use regex_lite::Regex;
use serde_json::{Map, Value, json};

use super::{FOLDER, RULES};
use crate::base::failure::{Failure, Result};
use crate::base::formats::yaml;

/// What stands at the head of a `.sops.yaml` of ours.
const HEAD: &str = "\
# Who can read which secret: the first rule that matches a path decides, and every recipient of a rule can read alone.
# Names stand in the platform config. `cargo xtask secrets rotate` changes this file together with every secret.
";

/// Every rule, in order.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Rules in the order in which sops tries them.
    pub rules: Vec<Rule>,
    /// The whole document, for what is not ours to change.
    document: Value,
}

/// One creation rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Regular expression over the path relative to `.sops.yaml`; none matches every path.
    pub path_regex: Option<String>,
    /// Recipients of each key group.
    pub groups: Vec<BTreeSet<String>>,
    /// How many groups are needed to decrypt.
    pub threshold: Option<u64>,
    /// Only below keys with this ending values are encrypted.
    pub encrypted_suffix: Option<String>,
    /// Kinds of keys other than age that the rule names.
    pub foreign: Vec<String>,
    /// Line of the file on which it begins, where that can be told.
    pub line: Option<usize>,
    regex: Option<Regex>,
}

impl Rule {
    /// Whether the rule matches a path.
    pub fn matches(&self, path: &Utf8Path) -> bool {
        self.regex.as_ref().is_none_or(|regex| regex.is_match(path.as_str()))
    }

    /// Everybody who can read what the rule governs.
    pub fn recipients(&self) -> BTreeSet<String> {
        self.groups.iter().flatten().cloned().collect()
    }

    /// How a message names it.
    pub fn name(&self) -> String {
        match &self.path_regex {
            Some(regex) => format!("the rule `{regex}`"),
            None => "the rule without `path_regex`".to_owned(),
        }
    }
}

impl Rules {
    /// Reads the rules of a checkout; none when there is no `.sops.yaml`.
    pub fn of(root: &Utf8Path) -> Result<Option<Self>> {
        let path = root.join(RULES);
        if !path.exists() {
            return Ok(None);
        }
        Self::parse(&fs_err::read_to_string(path)?).map(Some)
    }

    /// Reads rules.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |what: String| {
            Failure::config(format!("`{RULES}` cannot be used: {what}"))
                .hinted(format!("mend it by hand, or restore it: `git checkout -- {RULES}`"))
        };
        let document = yaml::read_one(text).map_err(|error| bad(error.to_string()))?;
        let Some(raw) = document.get("creation_rules").and_then(Value::as_array) else {
            return Err(bad("it has no list `creation_rules`".into()));
        };
        let lines = lines_of_rules(text);
        // Rules in another style than a list of blocks have no lines of their own.
        let line = |index: usize| lines.get(index).copied().filter(|_| lines.len() == raw.len());
        let mut rules = Vec::new();
        for (index, rule) in raw.iter().enumerate() {
            let place = match line(index) {
                Some(line) => format!("rule {}, line {line}", index + 1),
                None => format!("rule {}", index + 1),
            };
            let mut rule = read_rule(rule).map_err(|what| bad(format!("{place}: {what}")))?;
            rule.line = line(index);
            rules.push(rule);
        }
        Ok(Self { rules, document })
    }

    /// The rules that a platform with these recipients begins with.
    pub fn first(all: &BTreeMap<String, String>, groups: &Groups) -> Self {
        let of = |names: &BTreeSet<String>| -> Vec<&String> { names.iter().filter_map(|name| all.get(name)).collect() };
        let mut rules = vec![
            json!({"path_regex": pattern("local"), "encrypted_suffix": "Templates",
                "key_groups": [{"age": of(&groups.everybody)}]}),
            json!({"path_regex": pattern("production"), "encrypted_suffix": "Templates",
                "key_groups": [{"age": of(&groups.production)}]}),
            json!({"path_regex": pattern("shared"), "encrypted_suffix": "Templates",
                "key_groups": [{"age": of(&groups.everybody)}]}),
        ];
        for machine in &groups.machines {
            let mut names = groups.production.clone();
            names.insert(machine.clone());
            rules.push(json!({"path_regex": pattern(&format!("hosts/{machine}")),
                "key_groups": [{"age": of(&names)}]}));
        }
        let document = json!({"creation_rules": rules});
        let text = yaml::write(&document);
        Self::parse(&text).expect("rules that were just written can be read")
    }

    /// The text of `.sops.yaml`.
    pub fn text(&self) -> String {
        format!("{HEAD}{}", yaml::write(&self.document))
    }

    /// The first rule that matches a path, with its place.
    pub fn first_match(&self, path: &Utf8Path) -> Option<(usize, &Rule)> {
        self.rules.iter().enumerate().find(|(_, rule)| rule.matches(path))
    }

    /// The same rules with other recipients: `change` is given each rule's place and recipients.
    pub fn with_recipients(&self, mut change: impl FnMut(usize, &Rule) -> BTreeSet<String>) -> Self {
        let mut document = self.document.clone();
        let raw = document
            .get_mut("creation_rules")
            .and_then(Value::as_array_mut)
            .expect("rules were read from this list");
        for (index, (rule, raw)) in self.rules.iter().zip(raw).enumerate() {
            let wanted = change(index, rule);
            if wanted == rule.recipients() {
                continue;
            }
            let map = raw.as_object_mut().expect("a rule was read from a mapping");
            map.remove("age");
            map.insert("key_groups".into(), json!([{"age": wanted}]));
        }
        Self::parse(&yaml::write(&document)).expect("rules that were just written can be read")
    }
}

/// Who belongs to the rules that a platform begins with.
#[derive(Debug, Clone, Default)]
pub struct Groups {
    /// Names that read what production has.
    pub production: BTreeSet<String>,
    /// Names that read what everybody may.
    pub everybody: BTreeSet<String>,
    /// Machines with secrets of their own.
    pub machines: BTreeSet<String>,
}

fn pattern(folder: &str) -> String {
    format!("^{FOLDER}/{folder}/[^/]+[.]enc[.]yaml$")
}

fn read_rule(rule: &Value) -> Result<Rule, String> {
    let Some(map) = rule.as_object() else {
        return Err("not a mapping".into());
    };
    let path_regex = text_at(map, "path_regex")?;
    let regex = match &path_regex {
        None => None,
        Some(text) if text.is_empty() => None,
        Some(text) => Some(Regex::new(text).map_err(|error| format!("`path_regex` cannot be read: {error}"))?),
    };
    let mut foreign = Vec::new();
    let mut groups = Vec::new();
    if let Some(raw) = map.get("key_groups") {
        let Some(raw) = raw.as_array() else {
            return Err("`key_groups` is no list".into());
        };
        for group in raw {
            let Some(group) = group.as_object() else {
                return Err("a key group is no mapping".into());
            };
            foreign.extend(group.keys().filter(|key| *key != "age").cloned());
            groups.push(recipients(group.get("age"))?);
        }
    } else {
        for kind in [
            "pgp",
            "kms",
            "gcp_kms",
            "hckms",
            "azure_keyvault",
            "hc_vault_transit_uri",
            "hc_vault_uris",
        ] {
            if map.contains_key(kind) {
                foreign.push(kind.to_owned());
            }
        }
        groups.push(recipients(map.get("age"))?);
    }
    Ok(Rule {
        regex,
        path_regex,
        groups,
        threshold: map.get("shamir_threshold").and_then(Value::as_u64),
        encrypted_suffix: text_at(map, "encrypted_suffix")?,
        foreign,
        line: None,
    })
}

/// Lines on which the entries of `creation_rules` begin, from one.
fn lines_of_rules(text: &str) -> Vec<usize> {
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .skip_while(|(_, line)| !line.starts_with("creation_rules:"))
        .skip(1);
    let mut indent = None;
    let mut found = Vec::new();
    for (number, line) in lines.by_ref() {
        let body = line.trim_start();
        let depth = line.len() - body.len();
        if body.is_empty() || body.starts_with('#') {
            continue;
        }
        let is_entry = body == "-" || body.starts_with("- ");
        match indent {
            None if is_entry => indent = Some(depth),
            // Another key of the file, or what is no list of blocks.
            None => break,
            Some(indent) if depth < indent || (depth == indent && !is_entry) => break,
            Some(_) => {}
        }
        if is_entry && indent == Some(depth) {
            found.push(number);
        }
    }
    found
}

fn text_at(map: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("`{key}` is no text")),
    }
}

/// A list, or names with commas between, as sops takes both; lists of lists come from anchors.
fn recipients(value: Option<&Value>) -> Result<BTreeSet<String>, String> {
    let mut all = BTreeSet::new();
    match value {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => {
            all.extend(
                text.split(',')
                    .map(str::trim)
                    .filter(|one| !one.is_empty())
                    .map(ToOwned::to_owned),
            );
        }
        Some(Value::Array(items)) => {
            for item in items {
                all.extend(recipients(Some(item))?);
            }
        }
        Some(_) => return Err("`age` is no list of recipients".into()),
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Rules {
        Rules::parse(text).unwrap()
    }

    #[test]
    fn the_first_rule_that_matches_decides_and_a_rule_without_a_pattern_matches_everything() {
        let rules = rules(
            "creation_rules:\n- path_regex: ^a/\n  age: age1x, age1y\n- path_regex: ^a/b\n  age: age1z\n- age: age1w\n",
        );
        assert_eq!(rules.first_match("a/b".into()).unwrap().0, 0);
        assert_eq!(rules.first_match("c".into()).unwrap().0, 2);
        assert_eq!(
            rules.rules[0].recipients(),
            BTreeSet::from(["age1x".into(), "age1y".into()])
        );
    }

    #[test]
    fn a_rule_is_known_by_the_line_on_which_it_begins() {
        let text = "# head\nkeys:\n- &a age1x\ncreation_rules:\n  # first\n  - path_regex: ^a\n    key_groups:\n      - age:\n          - *a\n  - age: age1y\nstores: {}\n";
        let lines: Vec<Option<usize>> = rules(text).rules.iter().map(|rule| rule.line).collect();
        assert_eq!(lines, [Some(6), Some(10)]);
        assert_eq!(rules("creation_rules: [{age: age1x}]\n").rules[0].line, None);
    }

    #[test]
    fn anchors_and_lists_of_recipients_are_read_as_sops_reads_them() {
        let rules = rules(
            "keys:\n- &admin age1x\n- &dev age1y\ncreation_rules:\n- path_regex: ^a\n  key_groups:\n  - age: [*admin, *dev]\n  - age:\n    - age1z\n",
        );
        assert_eq!(rules.rules[0].groups.len(), 2);
        assert_eq!(
            rules.rules[0].groups[0],
            BTreeSet::from(["age1x".into(), "age1y".into()])
        );
    }

    #[test]
    fn a_file_that_does_not_parse_is_named_with_its_line() {
        let failure = Rules::parse("creation_rules:\n- path_regex: [\n").unwrap_err();
        assert!(failure.chain().contains("line"), "{}", failure.chain());
        let failure = Rules::parse("creation_rules:\n- path_regex: (\n").unwrap_err();
        assert!(failure.chain().contains("rule 1"), "{}", failure.chain());
    }

    #[test]
    fn other_recipients_leave_the_rest_of_the_file_alone() {
        let before = rules(
            "stores: {yaml: {indent: 2}}\ncreation_rules:\n- path_regex: ^a\n  encrypted_suffix: T\n  age: age1x\n",
        );
        let after = before.with_recipients(|_, _| BTreeSet::from(["age1y".to_owned()]));
        assert_eq!(after.rules[0].recipients(), BTreeSet::from(["age1y".to_owned()]));
        assert_eq!(after.rules[0].encrypted_suffix.as_deref(), Some("T"));
        assert!(after.text().contains("indent"));
    }
}

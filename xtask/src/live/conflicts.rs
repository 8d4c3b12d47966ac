//! Fields that a rendered object leaves to another manager on purpose, by kluctl's annotations and the project's
//! `conflictResolution`: no comparison counts them. What another manager no longer has is no longer left to it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::project::ObjectRef;
use crate::project::form::{ConflictAction, ConflictRule};

/// What of a rendered object is left to other managers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftTo {
    /// Every field of it.
    all: bool,
    /// Leaves, as `leaves` writes them.
    leaves: BTreeSet<String>,
}

impl LeftTo {
    /// What a rendered object leaves to others.
    pub fn of(rendered: &Value, rules: &[ConflictRule]) -> Self {
        let mut left = Self::default();
        let annotations = rendered.pointer("/metadata/annotations").and_then(Value::as_object);
        let mut add = |path: &str| {
            for place in matches(rendered, path) {
                leaves(place.1, &place.0, &mut left.leaves);
            }
        };
        for (name, value) in annotations.into_iter().flatten() {
            let Some(value) = value.as_str() else { continue };
            if name == "kluctl.io/ignore-conflicts" {
                left.all |= super::protect::parse_bool(value) == Some(true);
            }
            // `kluctl.io/ignore-conflicts-field`, or several with a number behind.
            let rest = name.strip_prefix("kluctl.io/ignore-conflicts-field");
            if rest.is_some_and(|rest| {
                rest.is_empty()
                    || rest
                        .strip_prefix('-')
                        .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
            }) {
                add(value);
            }
        }
        if !rules.is_empty() {
            let object = ObjectRef::of(rendered);
            let leaves_to_others = |rule: &&ConflictRule| rule.action == ConflictAction::Ignore && rule.is_for(&object);
            for rule in rules.iter().filter(leaves_to_others) {
                rule.paths.iter().for_each(|path| add(path));
            }
        }
        left
    }

    /// Splits lost fields into those that count and those that are left to others: these the live object still has.
    pub fn settle(&self, rendered: &Value, live: &Value, lost: Vec<String>) -> (Vec<String>, Vec<String>) {
        if !self.all && self.leaves.is_empty() {
            return (lost, Vec::new());
        }
        let (mut all, mut there) = (BTreeSet::new(), BTreeSet::new());
        leaves(rendered, "", &mut all);
        leaves(live, "", &mut there);
        let (mut counts, mut left) = (Vec::new(), Vec::new());
        for path in lost {
            let below: Vec<&String> = all.iter().filter(|leaf| is_at_or_below(leaf, &path)).collect();
            let (ours, theirs): (Vec<&String>, Vec<&String>) = below.iter().partition(|leaf| {
                let named = self.all || self.leaves.contains(**leaf);
                let exists = there.iter().any(|other| is_at_or_below(other, leaf));
                !(named && exists)
            });
            if theirs.is_empty() {
                counts.push(path);
            } else {
                counts.extend(ours.into_iter().cloned());
                left.extend(theirs.into_iter().cloned());
            }
        }
        (counts, left)
    }
}

fn is_at_or_below(leaf: &str, path: &str) -> bool {
    leaf.strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with('['))
}

/// Paths of everything below a value that has nothing below itself, as a comparison writes them.
fn leaves(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                leaves(value, &child(path, key), found);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (index, value) in list.iter().enumerate() {
                leaves(value, &format!("{path}[{index}]"), found);
            }
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

fn child(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// One step of a JSON path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Key(String),
    Index(usize),
    Any,
    /// Whatever is below, at any depth.
    Below,
    /// Elements whose field has this value.
    Where(String, Value),
}

/// Every place of an object that a JSON path names, in the notation that kluctl takes: `$` may be left out. A path that
/// cannot be read names nothing; kluctl itself ends with an error of it.
fn matches<'a>(object: &'a Value, path: &str) -> Vec<(String, &'a Value)> {
    let Some(parts) = parts(path) else { return Vec::new() };
    let mut found = vec![(String::new(), object)];
    for part in parts {
        let mut next = Vec::new();
        for (path, value) in found {
            step(&part, &path, value, &mut next);
        }
        found = next;
    }
    found
}

fn step<'a>(part: &Part, path: &str, value: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    match (part, value) {
        (Part::Key(key), Value::Object(map)) => {
            found.extend(map.get(key).map(|value| (child(path, key), value)));
        }
        (Part::Index(index), Value::Array(list)) => {
            found.extend(list.get(*index).map(|value| (format!("{path}[{index}]"), value)));
        }
        (Part::Where(key, wanted), Value::Array(list)) => {
            for (index, value) in list.iter().enumerate() {
                if value.get(key) == Some(wanted) {
                    found.push((format!("{path}[{index}]"), value));
                }
            }
        }
        (Part::Any | Part::Below, _) => {
            if *part == Part::Below {
                found.push((path.to_owned(), value));
            }
            let below: Vec<(String, &Value)> = match value {
                Value::Object(map) => map.iter().map(|(key, value)| (child(path, key), value)).collect(),
                Value::Array(list) => {
                    let list = list.iter().enumerate();
                    list.map(|(index, value)| (format!("{path}[{index}]"), value)).collect()
                }
                _ => Vec::new(),
            };
            for (path, value) in below {
                if *part == Part::Below {
                    step(part, &path, value, found);
                } else {
                    found.push((path, value));
                }
            }
        }
        _ => {}
    }
}

fn parts(path: &str) -> Option<Vec<Part>> {
    let mut rest = path.trim();
    rest = rest.strip_prefix('$').unwrap_or(rest);
    let mut parts = Vec::new();
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let end = closing(inner)?;
            parts.push(bracket(inner[..end].trim())?);
            rest = &inner[end + 1..];
            continue;
        }
        if let Some(after) = rest.strip_prefix("..") {
            parts.push(Part::Below);
            rest = after;
            if rest.starts_with('[') {
                continue;
            }
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        match &rest[..end] {
            "" => return None,
            "*" => parts.push(Part::Any),
            key => parts.push(Part::Key(key.to_owned())),
        }
        rest = &rest[end..];
    }
    (!parts.is_empty()).then_some(parts)
}

/// Where the bracket ends; one in quotes is text.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (index, character) in text.char_indices() {
        match (quote, character) {
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            (None, ']') => return Some(index),
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Option<Part> {
    let quoted = |text: &str| {
        let text = text.trim();
        let inner = ['"', '\'']
            .into_iter()
            .find_map(|mark| text.strip_prefix(mark)?.strip_suffix(mark));
        inner.map(ToOwned::to_owned)
    };
    if text == "*" {
        return Some(Part::Any);
    }
    if let Some(key) = quoted(text) {
        return Some(Part::Key(key));
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|text| text.strip_suffix(')')) {
        let (field, value) = filter.split_once("==")?;
        let key = field.trim().strip_prefix("@.")?.trim().to_owned();
        let value = match quoted(value) {
            Some(text) => Value::String(text),
            None => serde_json::from_str(value.trim()).ok()?,
        };
        return Some(Part::Where(key, value));
    }
    text.parse().ok().map(Part::Index)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(annotations: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "n",
            "annotations": annotations}, "spec": {"replicas": 1, "paused": false, "template": {"spec": {"containers": [
            {"name": "web", "image": "x", "env": [{"name": "A", "value": "1"}]}, {"name": "side", "image": "y"}]}}}})
    }

    fn named(path: &str) -> Vec<String> {
        let object = deployment(json!({"a.b/c": "d"}));
        matches(&object, path).into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn a_path_is_read_in_every_notation_that_people_use() {
        assert_eq!(named("spec.replicas"), ["spec.replicas"]);
        assert_eq!(named("$.spec.replicas"), ["spec.replicas"]);
        assert_eq!(named("$['spec'][\"replicas\"]"), ["spec.replicas"]);
        assert_eq!(named("metadata.annotations[\"a.b/c\"]"), ["metadata.annotations.a.b/c"]);
        let images = [
            "spec.template.spec.containers[0].image",
            "spec.template.spec.containers[1].image",
        ];
        assert_eq!(named("spec.template.spec.containers[*].image"), images);
        assert_eq!(named("$..image"), images);
        assert_eq!(
            named("spec.template.spec.containers[?(@.name==\"side\")].image"),
            images[1..]
        );
        assert_eq!(named("spec.template.spec.containers[1].image"), images[1..]);
        for path in ["", "$", "spec.", "spec[", "spec.nothing", "spec[?(x)]"] {
            assert_eq!(named(path), [""; 0], "{path}");
        }
    }

    #[test]
    fn only_what_is_named_and_what_somebody_else_has_is_left_alone() {
        let lost = || vec!["spec.replicas".to_owned(), "spec.paused".to_owned()];
        let field = "kluctl.io/ignore-conflicts-field";
        let settle = |annotations: Value, live: &Value| {
            let rendered = deployment(annotations);
            LeftTo::of(&rendered, &[]).settle(&rendered, live, lost())
        };
        let live = json!({"spec": {"replicas": 5, "paused": true}});
        let (counts, left) = settle(json!({field: "spec.replicas"}), &live);
        assert_eq!(
            (counts, left),
            (vec!["spec.paused".to_owned()], vec!["spec.replicas".to_owned()])
        );
        let (counts, left) = settle(
            json!({format!("{field}-1"): "spec.replicas", format!("{field}-2"): "$.spec.paused"}),
            &live,
        );
        assert_eq!((counts.len(), left.len()), (0, 2));
        let (counts, _) = settle(json!({"kluctl.io/ignore-conflicts": "True"}), &live);
        assert!(counts.is_empty());
        let (counts, _) = settle(json!({"kluctl.io/ignore-conflicts": "yes"}), &live);
        assert_eq!(counts, lost(), "kluctl does not read it as a yes");
        let (counts, _) = settle(json!({"kluctl.io/ignore-conflicts-fields": "spec.replicas"}), &live);
        assert_eq!(counts, lost(), "no annotation of kluctl's");
        // Nobody has it any more: a deploy brings it back.
        let (counts, _) = settle(json!({field: "spec.replicas"}), &json!({"spec": {"paused": true}}));
        assert_eq!(counts, lost());
    }

    #[test]
    fn of_a_field_that_was_lost_whole_the_leaves_count_that_are_not_left_to_others() {
        let rendered = json!({"metadata": {"annotations": {"kluctl.io/ignore-conflicts-field": "data.b"}},
            "data": {"a": "1", "b": "2"}});
        let (counts, left) = LeftTo::of(&rendered, &[]).settle(&rendered, &rendered, vec!["data".to_owned()]);
        assert_eq!((counts, left), (vec!["data.a".to_owned()], vec!["data.b".to_owned()]));
    }

    #[test]
    fn rules_of_the_project_are_for_the_objects_that_they_name() {
        let rules = [
            json!({"kind": "Deployment", "group": "apps", "fieldPath": ["spec.replicas"], "action": "ignore"}),
            json!({"kind": "Deployment", "fieldPath": "spec.paused", "action": "force-apply"}),
            json!({"kind": "StatefulSet", "fieldPath": "spec.paused", "action": "ignore"}),
        ];
        let rules = rules.map(|rule| ConflictRule::read(&rule).unwrap());
        let rendered = deployment(json!({}));
        let lost = vec!["spec.replicas".to_owned(), "spec.paused".to_owned()];
        let (counts, left) = LeftTo::of(&rendered, &rules).settle(&rendered, &rendered, lost);
        assert_eq!(
            (counts, left),
            (vec!["spec.paused".to_owned()], vec!["spec.replicas".to_owned()])
        );
    }
}

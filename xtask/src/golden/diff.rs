//! Differences: field by field between two values, line by line between two texts.
//! It compares and writes text; it reads no file and prints nothing.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};
use similar::TextDiff;

use crate::base::formats::json;

/// Fields shown of one object before the rest is only counted.
const SHOWN: usize = 12;

/// Width at which a value is cut: one line of a terminal beside its path.
const WIDTH: usize = 96;

/// One field that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Path of the field; `.` is the value itself.
    pub field: String,
    /// What stands in the golden; none when it is new.
    pub old: Option<Value>,
    /// What was rendered; none when it is gone.
    pub new: Option<Value>,
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = &self.field;
        match (&self.old, &self.new) {
            (None, Some(new)) => write!(formatter, "+ {field}: {}", short(new)),
            (Some(old), None) => write!(formatter, "- {field}: {}", short(old)),
            (Some(Value::String(old)), Some(Value::String(new))) if old.contains('\n') || new.contains('\n') => {
                write!(formatter, "~ {field}:")?;
                for line in lines(old, new, 1)
                    .lines()
                    .filter(|line| !line.starts_with("@@"))
                    .take(SHOWN)
                {
                    write!(formatter, "\n    {line}")?;
                }
                Ok(())
            }
            (Some(old), Some(new)) => {
                let (old, new) = from_difference(&text(old), &text(new));
                write!(formatter, "~ {field}: {} -> {}", cut(&old), cut(&new))
            }
            (None, None) => write!(formatter, "  {field}"),
        }
    }
}

/// Every field in which two values differ, in the order of the paths.
pub fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare(&mut String::new(), old, new, &mut found);
    found
}

/// Changes for people: the first few, and how many more there are.
pub fn summary(changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes.iter().take(SHOWN) {
        text.push_str(&change.to_string());
        text.push('\n');
    }
    if changes.len() > SHOWN {
        writeln!(
            text,
            "… and {} more",
            crate::base::text::plural(changes.len() - SHOWN, "field")
        )
        .expect("a string takes everything");
    }
    text
}

fn compare(path: &mut String, old: &Value, new: &Value, found: &mut Vec<Change>) {
    if json::same(old, new) {
        return;
    }
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => compare_maps(path, old, new, found),
        (Value::Array(old), Value::Array(new)) => compare_lists(path, old, new, found),
        _ => found.push(Change {
            field: place(path),
            old: Some(old.clone()),
            new: Some(new.clone()),
        }),
    }
}

fn place(path: &str) -> String {
    if path.is_empty() { ".".into() } else { path.into() }
}

fn one_sided(path: &str, old: Option<&Value>, new: Option<&Value>) -> Change {
    Change {
        field: place(path),
        old: old.cloned(),
        new: new.cloned(),
    }
}

/// Runs `inside` with a segment at the end of the path.
fn below(path: &mut String, segment: &str, inside: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push_str(segment);
    inside(path);
    path.truncate(length);
}

fn member(path: &str, key: &str) -> String {
    let plain = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'$'));
    match (plain, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!(".{key}"),
        (false, _) => format!("[{key:?}]"),
    }
}

fn compare_maps(path: &mut String, old: &Map<String, Value>, new: &Map<String, Value>, found: &mut Vec<Change>) {
    let mut keys: Vec<&String> = old
        .keys()
        .chain(new.keys().filter(|key| !old.contains_key(*key)))
        .collect();
    keys.sort_unstable();
    for key in keys {
        let segment = member(path, key);
        below(path, &segment, |path| match (old.get(key), new.get(key)) {
            (Some(old), Some(new)) => compare(path, old, new, found),
            (old, new) => found.push(one_sided(path, old, new)),
        });
    }
}

/// The names of a list's elements, when each has one of its own: containers, ports, volumes, webhooks.
fn names(items: &[Value]) -> Option<Vec<&str>> {
    let names: Vec<&str> = items
        .iter()
        .map(|item| item.get("name")?.as_str())
        .collect::<Option<_>>()?;
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    (sorted.len() == names.len()).then_some(names)
}

fn compare_lists(path: &mut String, old: &[Value], new: &[Value], found: &mut Vec<Change>) {
    if let (Some(old_names), Some(new_names)) = (names(old), names(new)) {
        let before = found.len();
        for (name, old) in old_names.iter().zip(old) {
            below(path, &format!("[{name}]"), |path| {
                match new_names.iter().position(|other| other == name) {
                    Some(place) => compare(path, old, &new[place], found),
                    None => found.push(one_sided(path, Some(old), None)),
                }
            });
        }
        for (name, new) in new_names.iter().zip(new) {
            if !old_names.contains(name) {
                below(path, &format!("[{name}]"), |path| {
                    found.push(one_sided(path, None, Some(new)));
                });
            }
        }
        if found.len() == before {
            found.push(Change {
                field: format!("{} (order)", place(path)),
                old: Some(old_names.join(", ").into()),
                new: Some(new_names.join(", ").into()),
            });
        }
        return;
    }
    for index in 0..old.len().max(new.len()) {
        below(path, &format!("[{index}]"), |path| {
            match (old.get(index), new.get(index)) {
                (Some(old), Some(new)) => compare(path, old, new, found),
                (old, new) => found.push(one_sided(path, old, new)),
            }
        });
    }
}

fn short(value: &Value) -> String {
    cut(&text(value))
}

/// A value on one line.
fn text(value: &Value) -> String {
    match value {
        Value::String(string) if !string.is_empty() && !string.contains(['\n', '\r']) => string.clone(),
        other => json::canonical(other),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= WIDTH {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(WIDTH).collect();
    cut.push('…');
    cut
}

/// Two long texts from shortly before where they differ, so that cutting them does not hide the difference.
fn from_difference(old: &str, new: &str) -> (String, String) {
    const BEFORE: usize = 24;
    let same = old.chars().zip(new.chars()).take_while(|(old, new)| old == new).count();
    if same <= WIDTH / 2 {
        return (old.to_owned(), new.to_owned());
    }
    let tail = |text: &str| format!("…{}", text.chars().skip(same - BEFORE).collect::<String>());
    (tail(old), tail(new))
}

/// Differing lines of two texts with `context` lines around them; empty when they are equal.
pub fn lines(old: &str, new: &str, context: usize) -> String {
    TextDiff::from_lines(old, new)
        .unified_diff()
        .context_radius(context)
        .to_string()
}

/// A unified diff with file names in its head; empty when the texts are equal.
pub fn unified(old_name: &str, old: &str, new_name: &str, new: &str) -> String {
    TextDiff::from_lines(old, new)
        .unified_diff()
        .context_radius(3)
        .header(old_name, new_name)
        .to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(old: &Value, new: &Value) -> Vec<String> {
        changes(old, new).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn fields_are_named_by_path_and_list_elements_by_name() {
        let old =
            json!({"spec": {"replicas": 1, "containers": [{"name": "a", "image": "x:1"}, {"name": "b"}], "gone": [1]}});
        let new = json!({"spec": {"replicas": 2, "containers": [{"name": "c"}, {"name": "a", "image": "x:2"}], "a.b/c": true}});
        assert_eq!(
            shown(&old, &new),
            [
                "+ spec[\"a.b/c\"]: true",
                "~ spec.containers[a].image: x:1 -> x:2",
                "- spec.containers[b]: {\"name\":\"b\"}",
                "+ spec.containers[c]: {\"name\":\"c\"}",
                "- spec.gone: [1]",
                "~ spec.replicas: 1 -> 2",
            ]
        );
    }

    #[test]
    fn equal_values_have_no_changes_however_their_keys_stand() {
        assert_eq!(changes(&json!({"a": 1, "b": 2.0}), &json!({"b": 2, "a": 1.0})), []);
    }

    #[test]
    fn another_order_is_a_change_that_says_so() {
        let of = |names: [&str; 2]| json!({"l": names.map(|name| json!({"name": name}))});
        assert_eq!(shown(&of(["a", "b"]), &of(["b", "a"])), ["~ l (order): a, b -> b, a"]);
        assert_eq!(shown(&json!([1, 2]), &json!([1, 3, 4])), ["~ [1]: 2 -> 3", "+ [2]: 4"]);
    }

    #[test]
    fn texts_of_several_lines_show_their_lines() {
        let change = &shown(&json!({"s": "a\nb\nc\n"}), &json!({"s": "a\nB\nc\n"}))[0];
        assert!(change.contains("    -b\n    +B"), "{change}");
    }

    #[test]
    fn a_difference_far_behind_in_a_long_text_is_still_seen() {
        let of = |word: &str| json!({"s": format!("{}{word}{}", "x".repeat(500), "y".repeat(500))});
        let change = &shown(&of("old"), &of("new"))[0];
        assert!(
            change.contains("xxxold") && change.contains("xxxnew") && change.len() < 400,
            "{change}"
        );
    }

    #[test]
    fn a_long_list_of_changes_is_counted() {
        let of = |value: u32| Value::Object((0..40).map(|index| (format!("k{index}"), value.into())).collect());
        assert!(summary(&changes(&of(1), &of(2))).ends_with("… and 28 fields more\n"));
    }
}

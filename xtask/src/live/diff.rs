//! What a deploy would change, object by object and field by field, for people and programs.
//! Whether something differs is the oracle's to say (`compare`); here values are only looked at to be shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compare::{Delta, LeftAlone, Why};
use super::foreign::Foreign;
use super::listing;
use super::ownership::{self, KLUCTL};
use crate::base::failure::Result;
use crate::call::Caller;
use crate::project::{ObjectRef, Project};

/// Lines of a difference that a run shows; `diff` shows all.
const SHOWN_LINES: usize = 60;

/// Shows what a deploy would change, field by field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ShowDiff {
    /// The project.
    pub project: Utf8PathBuf,
    /// What `ListObjects` wrote.
    pub listing: Utf8PathBuf,
    /// JSON file of the type [`Delta`].
    pub delta: Utf8PathBuf,
}

impl ShowDiff {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let project = Project::read(&on.root.join(&self.project))?;
        let delta: Delta = on.read(&self.delta)?;
        let differs: BTreeSet<_> = delta.differences.iter().map(|one| one.object.identity()).collect();
        let listing = listing::read_file(on, &self.listing, |object| {
            differs.contains(&ObjectRef::of(&object).identity()).then_some(object)
        })?;
        on.ui.text(report(&project, &listing, &delta).text(SHOWN_LINES));
        Ok(())
    }
}

/// Characters of a value that are shown.
const SHOWN: usize = 100;

/// New objects that a run names one by one; more are counted by component, and `diff` names them all.
const ADDED: usize = 20;

/// What stands for a secret value.
const MASK: &str = "*****";

/// Everything a deploy would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Nothing differs.
    pub fresh: bool,
    /// Objects of the project.
    pub objects: usize,
    /// Objects that differ.
    pub changes: Vec<Change>,
    /// Fields that other managers have and are meant to have; no deploy touches them.
    pub left_alone: Vec<LeftAlone>,
    /// Fields that people and tools added and the project does not have; a deploy takes them away only where it is told
    /// to.
    pub foreign: Vec<Foreign>,
    /// Live objects of the stage that the project no longer has; `prune` removes them.
    pub orphans: Vec<ObjectRef>,
}

/// One object that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The object.
    pub object: ObjectRef,
    /// Component it belongs to.
    pub component: String,
    /// What a deploy does to it.
    pub what: What,
    /// Why it is unhealthy.
    pub why: Why,
    /// Its fields that differ.
    pub fields: Vec<Field>,
}

/// What a deploy does to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum What {
    /// It is made.
    Add,
    /// It gets another content.
    Change,
    /// Its content is the same, but somebody else took fields of it.
    Mend,
    /// What others added to it is taken away.
    Reset,
    /// It is taken from another stage.
    Take,
    /// Nothing can be done to it while it is being deleted.
    Terminating,
}

impl What {
    /// What a person is told of the object.
    pub fn words(self) -> &'static str {
        match self {
            Self::Add => "new",
            Self::Change => "changed",
            Self::Mend => "fields of it were taken by somebody else",
            Self::Reset => "others added to it",
            Self::Take => "another stage has it",
            Self::Terminating => "it is being deleted",
        }
    }
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// Path, as people write it.
    pub path: String,
    /// Value in the cluster; none where there is none.
    pub live: Option<Value>,
    /// Value of the project; none where the project no longer has it.
    pub wanted: Option<Value>,
    /// Who owns the field now, when it is not kluctl, with the time of the last change.
    pub owners: Vec<Owner>,
}

/// A field manager.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// Its name.
    pub manager: String,
    /// When it last wrote the object.
    pub time: String,
}

/// Looks at every object that a comparison found.
pub fn report(project: &Project, listing: &Value, delta: &Delta) -> Report {
    let live: BTreeMap<_, &Value> = listing
        .get("items")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|object| (ObjectRef::of(object).identity(), object))
        .collect();
    let rendered: BTreeMap<_, &Value> = project
        .objects()
        .map(|(_, object)| (object.reference().identity(), &object.value))
        .collect();
    let changes = delta
        .differences
        .iter()
        .map(|difference| {
            let identity = difference.object.identity();
            let what = match difference.why {
                Why::Missing => What::Add,
                Why::Changed => What::Change,
                Why::Taken { .. } => What::Mend,
                Why::Reset { .. } => What::Reset,
                Why::Terminating { .. } => What::Terminating,
                Why::OfStage { .. } => What::Take,
            };
            let fields = match (what, rendered.get(&identity), live.get(&identity)) {
                (What::Change | What::Mend | What::Take | What::Reset, Some(wanted), Some(found)) => {
                    fields(wanted, found)
                }
                _ => Vec::new(),
            };
            Change {
                object: difference.object.clone(),
                component: difference.component.clone(),
                what,
                why: difference.why.clone(),
                fields,
            }
        })
        .collect();
    Report {
        fresh: delta.fresh,
        objects: delta.objects,
        changes,
        left_alone: delta.left_alone.clone(),
        foreign: delta.foreign.clone(),
        orphans: delta.left().map(|orphan| orphan.object.clone()).collect(),
    }
}

/// Fields that differ between a rendered and a live object, or that somebody else owns.
pub fn fields(rendered: &Value, live: &Value) -> Vec<Field> {
    let mut walk = Walk {
        secret: rendered.get("kind").and_then(Value::as_str) == Some("Secret"),
        fields: Vec::new(),
    };
    let sets = Sets::of(live);
    for (key, value) in rendered.as_object().into_iter().flatten() {
        match key.as_str() {
            "apiVersion" | "kind" | "status" => {}
            "metadata" => {
                let sets = sets.field("metadata");
                for part in ["labels", "annotations", "finalizers", "ownerReferences"] {
                    let found = live.get("metadata").and_then(|metadata| metadata.get(part));
                    walk.value(value.get(part), found, &sets.field(part), &format!("metadata.{part}"));
                }
            }
            key => walk.value(Some(value), live.get(key), &sets.field(key), key),
        }
    }
    for key in sets.own_fields() {
        if rendered.get(&key).is_none() && key != "metadata" {
            walk.value(None, live.get(&key), &sets.field(&key), &key);
        }
    }
    let mut fields = walk.fields;
    // The digest changes with everything else and tells a person nothing.
    fields.retain(|field| {
        !field.path.trim_end_matches(']').ends_with(crate::project::DIGEST) || !field.owners.is_empty()
    });
    fields
}

struct Walk {
    secret: bool,
    fields: Vec<Field>,
}

impl Walk {
    fn value(&mut self, wanted: Option<&Value>, live: Option<&Value>, sets: &Sets<'_>, path: &str) {
        match wanted {
            Some(Value::Object(map)) if !map.is_empty() && !sets.is_leaf() => {
                for (key, value) in map {
                    let below = sets.field(key);
                    self.value(
                        Some(value),
                        live.and_then(|live| live.get(key)),
                        &below,
                        &join(path, key),
                    );
                }
                for key in sets.own_fields().into_iter().filter(|key| !map.contains_key(key)) {
                    let found = live.and_then(|live| live.get(&key));
                    self.value(None, found, &sets.field(&key), &join(path, &key));
                }
            }
            Some(Value::Array(list)) if !list.is_empty() && sets.has_elements() => self.list(list, live, sets, path),
            None if !sets.own_fields().is_empty() => {
                for key in sets.own_fields() {
                    let found = live.and_then(|live| live.get(&key));
                    self.value(None, found, &sets.field(&key), &join(path, &key));
                }
            }
            _ => self.leaf(wanted, live, sets, path),
        }
    }

    fn list(&mut self, list: &[Value], live: Option<&Value>, sets: &Sets<'_>, path: &str) {
        let none = Vec::new();
        let found = live.and_then(Value::as_array).unwrap_or(&none);
        let mut matched = Vec::new();
        for (index, (element, key)) in list.iter().zip(sets.element_keys(list)).enumerate() {
            let there = match &key {
                Some(key) => found.iter().find(|candidate| ownership::is_element(key, candidate)),
                None => found.get(index),
            };
            let below = key.as_ref().map_or_else(Sets::default, |key| sets.below(key));
            self.value(Some(element), there, &below, &format!("{path}[{index}]"));
            matched.extend(key);
        }
        for key in sets.own_elements().into_iter().filter(|key| !matched.contains(key)) {
            let there = found.iter().find(|candidate| ownership::is_element(&key, candidate));
            let shown = key.split_once(':').map_or(key.as_str(), |(_, shown)| shown);
            self.leaf(None, there, &sets.below(&key), &format!("{path}[{shown}]"));
        }
    }

    fn leaf(&mut self, wanted: Option<&Value>, live: Option<&Value>, sets: &Sets<'_>, path: &str) {
        let owners = if sets.own.is_some() || wanted.is_none_or(ownership::is_empty) {
            Vec::new()
        } else {
            sets.owners()
        };
        let same = match (wanted, live) {
            (Some(wanted), Some(live)) => same(wanted, live),
            (Some(wanted), None) => ownership::is_empty(wanted),
            (None, None) => true,
            // What is left below are kluctl's own labels.
            (None, Some(_)) => !sets.is_leaf(),
        };
        if same && (owners.is_empty() || sets.own.is_some()) {
            return;
        }
        let masked = self.secret && (path.starts_with("data") || path.starts_with("stringData"));
        let shown = |value: Option<&Value>| {
            value.map(|value| {
                if masked {
                    Value::String(MASK.to_owned())
                } else {
                    value.clone()
                }
            })
        };
        self.fields.push(Field {
            path: path.to_owned(),
            live: shown(live),
            wanted: shown(wanted),
            owners,
        });
    }
}

fn join(path: &str, key: &str) -> String {
    if key.contains(['.', '/']) {
        format!("{path}[{key}]")
    } else {
        format!("{path}.{key}")
    }
}

/// Whether two values say the same to a person: the API server writes quantities and ports its own way, and fills in
/// defaults.
fn same(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => wanted.iter().all(|(key, value)| {
            live.get(key)
                .map_or_else(|| ownership::is_empty(value), |found| same(value, found))
        }),
        (Value::Array(wanted), Value::Array(live)) => {
            wanted.len() == live.len() && wanted.iter().zip(live).all(|(wanted, live)| same(wanted, live))
        }
        _ if wanted == live => true,
        _ => match (quantity(wanted), quantity(live)) {
            (Some(wanted), Some(live)) => (wanted - live).abs() <= f64::EPSILON * wanted.abs(),
            _ => false,
        },
    }
}

/// The number behind a Kubernetes quantity.
fn quantity(value: &Value) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 13] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("", 1.0),
    ];
    let text = crate::base::files::text_of(value);
    SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some(text.strip_suffix(suffix)?.parse::<f64>().ok()? * factor))
}

/// The sets of owned fields at one place of an object: kluctl's, and everybody else's.
#[derive(Debug, Clone, Default)]
struct Sets<'a> {
    own: Option<&'a Value>,
    others: Vec<(&'a str, &'a str, &'a Value)>,
}

impl<'a> Sets<'a> {
    fn of(live: &'a Value) -> Self {
        let mut sets = Self::default();
        let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
        for entry in entries.into_iter().flatten() {
            let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
            let Some(fields) = entry.get("fieldsV1") else { continue };
            // Nothing of a status is compared; but `kubectl scale` takes a field of the spec through a subresource.
            if text("subresource") == "status" {
                continue;
            }
            let applied = text("manager") == KLUCTL && text("operation") == "Apply";
            if applied && text("subresource").is_empty() {
                sets.own = Some(fields);
            } else {
                sets.others.push((text("manager"), text("time"), fields));
            }
        }
        sets
    }

    fn field(&self, key: &str) -> Self {
        self.below(&format!("f:{key}"))
    }

    /// The sets below a key; a set that is a leaf owns everything below itself.
    fn below(&self, key: &str) -> Self {
        let step = |set: &'a Value| if is_leaf(set) { Some(set) } else { set.get(key) };
        Self {
            own: self.own.and_then(step),
            others: self
                .others
                .iter()
                .filter_map(|(manager, time, set)| Some((*manager, *time, step(set)?)))
                .collect(),
        }
    }

    fn is_leaf(&self) -> bool {
        self.own.is_some_and(is_leaf)
    }

    fn keys(&self, prefixes: &[&str]) -> Vec<String> {
        let set = self.own.and_then(Value::as_object);
        set.into_iter()
            .flat_map(|set| set.keys())
            .filter(|key| prefixes.iter().any(|prefix| key.starts_with(prefix)))
            .cloned()
            .collect()
    }

    /// Names of the fields that kluctl owns here, without the labels and annotations that it adds by itself.
    fn own_fields(&self) -> Vec<String> {
        let keys = self.keys(&["f:"]);
        keys.into_iter()
            .map(|key| key[2..].to_owned())
            .filter(|key| !key.starts_with("kluctl.io/"))
            .collect()
    }

    fn own_elements(&self) -> Vec<String> {
        self.keys(&["k:", "v:"])
    }

    /// Whether anybody owns single elements of this list.
    fn has_elements(&self) -> bool {
        let sets = self.own.into_iter().chain(self.others.iter().map(|(_, _, set)| *set));
        sets.filter_map(Value::as_object)
            .any(|set| set.keys().any(|key| key.starts_with("k:") || key.starts_with("v:")))
    }

    /// The key under which each element of a list stands in anybody's set, kluctl's first.
    fn element_keys(&self, list: &[Value]) -> Vec<Option<String>> {
        let sets = self.own.into_iter().chain(self.others.iter().map(|(_, _, set)| *set));
        let mut keys: Vec<&str> = Vec::new();
        for key in sets.filter_map(Value::as_object).flat_map(|set| set.keys()) {
            if !keys.contains(&key.as_str()) {
                keys.push(key);
            }
        }
        let found = ownership::assign(list, &keys);
        found.into_iter().map(|key| key.map(ToOwned::to_owned)).collect()
    }

    fn owners(&self) -> Vec<Owner> {
        let mut owners: Vec<Owner> = self
            .others
            .iter()
            .map(|(manager, time, _)| Owner {
                manager: (*manager).to_owned(),
                time: (*time).to_owned(),
            })
            .collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }
}

fn is_leaf(set: &Value) -> bool {
    set.as_object().is_none_or(|set| set.keys().all(|key| key == "."))
}

impl Report {
    /// The report for people, at most so many lines of it.
    pub fn text(&self, limit: usize) -> String {
        let mut lines = Vec::new();
        let added = self.changes.iter().filter(|change| change.what == What::Add).count();
        let gathered = limit < usize::MAX && added > ADDED;
        if gathered {
            let mut by_component: BTreeMap<&str, usize> = BTreeMap::new();
            for change in self.changes.iter().filter(|change| change.what == What::Add) {
                *by_component.entry(&change.component).or_default() += 1;
            }
            let components: Vec<String> = by_component
                .iter()
                .map(|(component, count)| format!("{component} {count}"))
                .collect();
            lines.push(format!(
                "+ {} of {}: {}",
                crate::base::text::plural(added, "object"),
                crate::base::text::plural(components.len(), "component"),
                components.join(", ")
            ));
        }
        for change in &self.changes {
            if gathered && change.what == What::Add {
                continue;
            }
            let sign = match change.what {
                What::Add => '+',
                What::Change | What::Mend | What::Reset => '~',
                What::Terminating | What::Take => '!',
            };
            let note = match &change.why {
                Why::Terminating { .. } | Why::OfStage { .. } | Why::Reset { .. } => format!(", {}", change.why),
                _ => String::new(),
            };
            lines.push(format!("{sign} {} ({}{note})", change.object, change.component));
            lines.extend(change.fields.iter().map(|field| format!("    {}", field.line())));
        }
        lines.extend(self.left_alone.iter().map(|left| {
            format!(
                "  {}: {} left alone, as its annotation says",
                left.object,
                left.fields.join(", ")
            )
        }));
        for foreign in &self.foreign {
            lines.push(format!(
                "  {}: added by others, the project does not have it (`deploy --reset {0}` takes it away)",
                foreign.object
            ));
            lines.extend(foreign.fields.iter().map(|field| format!("    {field}")));
        }
        lines.extend(
            self.orphans
                .iter()
                .map(|orphan| format!("- {orphan} (orphaned; `prune` removes it)")),
        );
        let more = lines.len().saturating_sub(limit);
        lines.truncate(limit);
        let mut text = String::new();
        for line in lines {
            writeln!(text, "{line}").expect("a string takes everything");
        }
        if more > 0 {
            writeln!(text, "… and {more} more lines; `diff` shows all").expect("a string takes everything");
        }
        text
    }
}

impl Field {
    fn line(&self) -> String {
        let mut line = match (&self.live, &self.wanted) {
            (Some(live), Some(wanted)) if live == wanted => format!("{}: {}", self.path, short(wanted)),
            (Some(live), Some(wanted)) => format!("{}: {} -> {}", self.path, short(live), short(wanted)),
            (None, Some(wanted)) => format!("{}: (none) -> {}", self.path, short(wanted)),
            (Some(live), None) => format!("{}: {} -> (removed)", self.path, short(live)),
            (None, None) => self.path.clone(),
        };
        for owner in &self.owners {
            write!(line, " [taken by `{}` at {}]", owner.manager, owner.time).expect("a string takes everything");
        }
        line
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN {
        return text;
    }
    let cut: String = text.chars().take(SHOWN).collect();
    format!("{cut}…")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(rendered: Value, live: Value) -> Vec<String> {
        fields(&rendered, &live).iter().map(Field::line).collect()
    }

    #[test]
    fn a_changed_a_new_a_removed_and_a_taken_field_are_told_apart() {
        let rendered = json!({"kind": "ConfigMap", "data": {"a": "2", "b": "1", "d": "x"}});
        let live = json!({"kind": "ConfigMap", "data": {"a": "1", "c": "3", "d": "y"}, "metadata": {"managedFields": [
            {"manager": "kluctl", "operation": "Apply", "fieldsV1": {"f:data": {"f:a": {}, "f:c": {}}}},
            {"manager": "kubectl-edit", "operation": "Update", "time": "T", "fieldsV1": {"f:data": {"f:d": {}}}},
        ]}});
        assert_eq!(
            lines(rendered, live),
            [
                r#"data.a: "1" -> "2""#,
                r#"data.b: (none) -> "1""#,
                r#"data.d: "y" -> "x" [taken by `kubectl-edit` at T]"#,
                r#"data.c: "3" -> (removed)"#,
            ]
        );
    }

    #[test]
    fn who_scaled_is_named_and_who_wrote_the_status_is_not() {
        let rendered = json!({"kind": "Deployment", "spec": {"minReadySeconds": 9, "replicas": 1}});
        let live = json!({"kind": "Deployment", "spec": {"minReadySeconds": 9, "replicas": 0}, "metadata": {"managedFields": [
            {"manager": "kluctl", "operation": "Apply", "fieldsV1": {"f:spec": {"f:minReadySeconds": {}}}},
            {"manager": "kubectl", "operation": "Update", "subresource": "scale", "time": "T", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "time": "U", "fieldsV1": {"f:status": {}}},
        ]}});
        assert_eq!(
            ownership::other_managers(&live),
            [("kubectl".to_owned(), "T".to_owned())]
        );
        assert_eq!(
            lines(rendered, live),
            ["spec.replicas: 0 -> 1 [taken by `kubectl` at T]"]
        );
    }

    #[test]
    fn labels_that_kluctl_adds_by_itself_are_no_removed_fields() {
        let live = json!({"kind": "ConfigMap", "metadata": {"labels": {"kluctl.io/discriminator": "x"}, "managedFields": [
            {"manager": "kluctl", "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels": {"f:kluctl.io/discriminator": {}}}}},
        ]}});
        assert_eq!(lines(json!({"kind": "ConfigMap"}), live.clone()), Vec::<String>::new());
        assert_eq!(
            lines(json!({"kind": "ConfigMap", "metadata": {"labels": {}}}), live),
            Vec::<String>::new()
        );
    }

    #[test]
    fn secret_values_are_masked_on_both_sides() {
        let rendered = json!({"kind": "Secret", "data": {"password": "bmV3"}});
        let live = json!({"kind": "Secret", "data": {"password": "b2xk"}, "metadata": {"managedFields": [
            {"manager": "kluctl", "operation": "Apply", "fieldsV1": {"f:data": {"f:password": {}}}},
        ]}});
        assert_eq!(lines(rendered, live), [r#"data.password: "*****""#]);
        let rendered = json!({"kind": "Secret", "stringData": {"password": "new", "list": {"of": "none"}}});
        let live = json!({"kind": "Secret", "stringData": {"password": "old"}});
        let shown = lines(rendered.clone(), live.clone());
        assert_eq!(shown.len(), 2, "{shown:?}");
        assert!(shown.iter().all(|line| line.contains(MASK)), "{shown:?}");
        let written = serde_json::to_string(&fields(&rendered, &live)).unwrap();
        assert!(
            !["new", "old", "none"].iter().any(|value| written.contains(value)),
            "{written}"
        );
    }

    #[test]
    fn quantities_and_defaults_are_no_difference_to_show() {
        assert!(same(&json!("1000m"), &json!("1")));
        assert!(same(&json!("1024Mi"), &json!("1Gi")));
        assert!(same(&json!(10), &json!("10")));
        assert!(same(&json!({"a": 1}), &json!({"a": 1, "default": true})));
        assert!(!same(&json!("1"), &json!("2")));
        assert!(!same(&json!("true"), &json!("false")));
    }
}

//! What a rollback does to definitions of kinds: an earlier one may not know what stored objects have by now.
//! It only tells; whether a stored version may go is the API server's to say.

use serde_json::Value;

use super::compare::{Delta, Why};
use crate::project::{ObjectRef, Project};

/// Definitions that would be exchanged for earlier ones, a sentence each.
pub fn downgrades(project: &Project, listing: &Value, delta: &Delta) -> Vec<String> {
    let items = listing.get("items").and_then(Value::as_array);
    let items: Vec<&Value> = items.into_iter().flatten().collect();
    delta
        .differences
        .iter()
        .filter(|difference| difference.object.kind == "CustomResourceDefinition" && difference.why == Why::Changed)
        .filter_map(|difference| {
            let identity = difference.object.identity();
            let live = items.iter().find(|item| ObjectRef::of(item).identity() == identity)?;
            let (_, then) = project
                .objects()
                .find(|(_, object)| object.reference().identity() == identity)?;
            let (now, then) = (versions(live), versions(&then.value));
            let gone: Vec<&str> = now.iter().filter(|name| !then.contains(*name)).copied().collect();
            let words = if gone.is_empty() {
                format!("versions {}", now.join(", "))
            } else {
                format!("version {} would go", gone.join(", "))
            };
            Some(format!(
                "{} is exchanged for its earlier definition ({words}): fields that it does not know are lost when \
                 their objects are written again",
                difference.object
            ))
        })
        .collect()
}

fn versions(definition: &Value) -> Vec<&str> {
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
    versions
        .into_iter()
        .flatten()
        .filter_map(|version| version.get("name").and_then(Value::as_str))
        .collect()
}

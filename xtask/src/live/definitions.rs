//! What a rollback does to definitions of kinds: an earlier one may not know what stored objects have by now.
//! It only tells; whether a stored version may go is the API server's to say.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compare::{Delta, Why};
use super::listing;
use crate::base::failure::Result;
use crate::base::ui::Status;
use crate::call::Caller;
use crate::project::{ObjectRef, Project};

/// Names definitions that would be exchanged for earlier ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ShowDowngrades {
    /// The project.
    pub project: Utf8PathBuf,
    /// What `ListObjects` wrote.
    pub listing: Utf8PathBuf,
    /// JSON file of the type [`Delta`].
    pub delta: Utf8PathBuf,
}

impl ShowDowngrades {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let project = Project::read(&on.root.join(&self.project))?;
        let listing = listing::read_file(on, &self.listing, |object| {
            (ObjectRef::of(&object).kind == "CustomResourceDefinition").then_some(object)
        })?;
        for note in downgrades(&project, &listing, &on.read(&self.delta)?) {
            on.ui.status(Status::Warning, note);
        }
        Ok(())
    }
}

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

//! A copy of a stage project for an embedded cluster, without what that cluster cannot hold.
//! Plan, no-op and journal use the copy; each thing left out is named.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::failure::{Failure, Result};
use crate::base::ui::Status;
use crate::call::Caller;
use crate::project::kinds::Kinds;
use crate::project::resources;
use crate::project::{self, Object, ObjectRef, Project};

/// Copies a project, leaving out what an embedded cluster cannot hold, each named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EmbeddedProject {
    /// Project to copy.
    pub from: Utf8PathBuf,
    /// Output of `kubectl api-resources --no-headers -o wide`.
    pub served: Utf8PathBuf,
    /// Folder of the copy; replaced whole.
    pub to: Utf8PathBuf,
    /// JSON file with the names of what was left out.
    pub left_out: Utf8PathBuf,
}

impl EmbeddedProject {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let path = |path: &Utf8Path| on.root.join(path);
        let adapted = copy(&path(&self.from), &path(&self.served), &path(&self.to))?;
        for note in adapted.notes {
            on.ui.status(Status::Skipped, note);
        }
        on.write_json(&self.left_out, &adapted.left_out)
    }
}

/// What a copy lacks, and what was changed in it.
#[derive(Debug)]
struct Adapted {
    /// A sentence for each thing that was left out or changed.
    notes: Vec<String>,
    /// Every object that was left out.
    left_out: Vec<ObjectRef>,
}

/// Copies a project without what an embedded cluster cannot hold.
fn copy(from: &Utf8Path, served: &Utf8Path, to: &Utf8Path) -> Result<Adapted> {
    let mut project = Project::read(from)?;
    project.refuse_empty()?;
    let served = resources::parse(&fs_err::read_to_string(served)?)?;
    crate::project::kinds::check_project(from, &project, &served)?;
    let kinds = Kinds::of(&project, &served);
    let (mut notes, mut left_out) = (Vec::new(), Vec::new());
    for item in &mut project.items {
        item.objects.retain_mut(|object| {
            let stays = adapt(object, &kinds, &mut notes);
            if !stays {
                left_out.push(object.reference());
            }
            stays
        });
    }
    project.retain_items(|item| {
        if item.objects.is_empty() {
            notes.push(format!("item `{}` has nothing left", item.item.directory));
        }
        !item.objects.is_empty()
    });
    if project.items.is_empty() {
        return Err(Failure::config(format!(
            "`{from}` has no object that an embedded cluster can hold"
        )));
    }
    project::replace(to, |beside| {
        project.write(beside)?;
        project::enclose(beside)
    })?;
    Ok(Adapted { notes, left_out })
}

/// Makes an object what an embedded cluster takes, and says whether it takes it; each change is noted.
fn adapt(object: &mut Object, kinds: &Kinds<'_>, notes: &mut Vec<String>) -> bool {
    let reference = object.reference();
    if reference.kind == "APIService" {
        notes.push(format!("{reference}: nothing answers on its ClusterIP"));
        return false;
    }
    if !kinds.defines(&reference) {
        notes.push(format!(
            "{reference}: {} is not served, its operator would define it",
            api_of(&reference)
        ));
        return false;
    }
    let value = &mut object.value;
    if reference.kind == "CustomResourceDefinition"
        && value.pointer("/spec/conversion/strategy").and_then(Value::as_str) == Some("Webhook")
    {
        value["spec"]["conversion"] = json!({"strategy": "None"});
        notes.push(format!("{reference}: conversion webhook, taken off"));
    }
    true
}

fn api_of(reference: &ObjectRef) -> String {
    format!("{} of {}", reference.kind, reference.api_version)
}

//! The objects of a project in the order and form in which an API server can be asked about each of them.
//! It asks no server itself.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::failure::Result;
use crate::base::ui::Status;
use crate::call::Caller;
use crate::project::resources::{self, Resource};
use crate::project::{Object, ObjectRef, Project};

/// Picks the definitions and namespaces of a project, as one list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ValidityDefinitions {
    /// The project.
    pub project: Utf8PathBuf,
    /// JSON file of the list.
    pub to: Utf8PathBuf,
}

impl ValidityDefinitions {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let project = Project::read(&on.root.join(&self.project))?;
        on.write_json(&self.to, &definitions(&project))
    }
}

/// Writes every object whose kind is served into a file of its own, and names the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ValidityObjects {
    /// The project.
    pub project: Utf8PathBuf,
    /// Output of `kubectl api-resources --no-headers -o wide`.
    pub served: Utf8PathBuf,
    /// Folder of the files.
    pub to: Utf8PathBuf,
}

impl ValidityObjects {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let folder = on.root.join(&self.project);
        let project = Project::read(&folder)?;
        let served = resources::parse(&on.text(&self.served)?)?;
        crate::project::kinds::check_project(&folder, &project, &served)?;
        for object in objects(&project, &served, &on.root.join(&self.to))? {
            on.ui.status(
                Status::Skipped,
                format!("{object}: no definition of its kind is in the golden or the server"),
            );
        }
        Ok(())
    }
}

/// What must really be there before the rest can be tried: definitions and namespaces, as one list.
/// Definitions convert nothing, for nothing answers where their webhooks would be.
pub fn definitions(project: &Project) -> Value {
    let items: Vec<Value> = project
        .objects()
        .filter(|(_, object)| {
            let reference = object.reference();
            matches!(
                (reference.group(), reference.kind.as_str()),
                ("apiextensions.k8s.io", "CustomResourceDefinition") | ("", "Namespace")
            )
        })
        .map(|(_, object)| {
            let mut value = object.value.clone();
            if let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut)
                && spec.contains_key("conversion")
            {
                spec.insert("conversion".into(), json!({"strategy": "None"}));
            }
            value
        })
        .collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// Writes each object that the server can be asked about into a file of its own, and returns the others.
pub fn objects(project: &Project, served: &[Resource], folder: &Utf8Path) -> Result<Vec<ObjectRef>> {
    let mut left_out = Vec::new();
    for (index, (_, object)) in project.objects().enumerate() {
        if is_served(object, served) {
            let text = object.value.to_string();
            crate::base::files::write(&folder.join(format!("{index:05}.json")), text.as_bytes(), 0o600)?;
        } else {
            left_out.push(object.reference());
        }
    }
    Ok(left_out)
}

fn is_served(object: &Object, served: &[Resource]) -> bool {
    let reference = object.reference();
    served.iter().any(|resource| resource.kind == reference.kind && resource.api_version == reference.api_version)
        // An older version of a kind may be served without being the one that discovery prefers.
        || served.iter().any(|resource| resource.kind == reference.kind && resource.group() == reference.group())
}

//! The objects of a project in the order and form in which an API server can be asked about each of them.
//! It asks no server itself.

use camino::Utf8Path;
use serde_json::{Value, json};

use crate::base::failure::Result;
use crate::project::resources::Resource;
use crate::project::{Object, ObjectRef, Project};

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

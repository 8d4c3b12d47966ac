//! Normal form: from the text of a rendered file to the text its golden should have.
//! It decides nothing about problems; a text that cannot be read is an error that says why.

use serde_json::{Map, Value, json};

use super::object::{self, Identity, Object, Origin};
use super::summary::summary;
use crate::base::failure::Failure;
use crate::base::formats::{json as text, yaml};

/// First line of every YAML file of a golden.
pub const HEADER: &str = "# Made by `cargo xtask golden bless`: review it, do not edit it.\n";

/// What a file of a project is, by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// One or several objects.
    Objects,
    /// A YAML file of kluctl's own.
    Project,
    /// A JSON file of ours.
    Description,
    /// Anything else: compared as it is.
    Text,
}

impl Role {
    /// The role of a file at this path of a project.
    pub fn of(path: &camino::Utf8Path) -> Self {
        let depth = path.components().count();
        match (depth, path.file_name(), path.extension()) {
            (_, Some(".kluctl.yaml" | ".kluctl.yml" | "deployment.yaml" | "deployment.yml"), _) => Self::Project,
            (1, _, Some("json")) => Self::Description,
            (1, _, _) => Self::Text,
            (_, _, Some("yaml" | "yml" | "json")) => Self::Objects,
            _ => Self::Text,
        }
    }
}

/// How the objects of a file stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// One object alone.
    Single,
    /// A `kind: List`, which keeps kluctl from decrypting a SopsSecret.
    List,
    /// Several documents.
    Documents,
    /// Nothing.
    Empty,
}

/// A manifest as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// How the objects stand together.
    pub frame: Frame,
    /// The objects, sorted by identity.
    pub objects: Vec<Object>,
}

/// Reads a manifest of objects.
pub fn read(content: &str) -> Result<Manifest, String> {
    let documents = yaml::read(content).map_err(|error| error.to_string())?;
    let frame = match documents.as_slice() {
        [] => Frame::Empty,
        [one]
            if one
                .get("kind")
                .and_then(Value::as_str)
                .is_some_and(|kind| kind == "List") =>
        {
            Frame::List
        }
        [_] => Frame::Single,
        _ => Frame::Documents,
    };
    let mut objects = object::open(documents)?;
    if objects.len() > 1 {
        objects.sort_by(|left, right| left.identity.cmp(&right.identity));
    }
    Ok(Manifest { frame, objects })
}

/// The normal form of one object: whole when it is our own, summary when it is upstream's.
pub fn normal(object: &Object) -> std::borrow::Cow<'_, Value> {
    match object.origin() {
        Origin::Native => std::borrow::Cow::Borrowed(&object.value),
        Origin::Upstream => std::borrow::Cow::Owned(summary(&object.value)),
    }
}

/// The text that the golden of a rendered manifest has.
pub fn write(manifest: &Manifest) -> String {
    let mut out = String::from(HEADER);
    match manifest.frame {
        Frame::Empty => {}
        Frame::Single => {
            for object in &manifest.objects {
                yaml::write_into(&mut out, &normal(object));
            }
        }
        Frame::List => {
            let items: Vec<Value> = manifest
                .objects
                .iter()
                .map(|object| normal(object).into_owned())
                .collect();
            yaml::write_into(&mut out, &json!({"apiVersion": "v1", "kind": "List", "items": items}));
        }
        Frame::Documents => {
            for (index, object) in manifest.objects.iter().enumerate() {
                if index > 0 {
                    out.push_str("---\n");
                }
                yaml::write_into(&mut out, &normal(object));
            }
        }
    }
    out
}

/// The value of a file that holds no objects.
pub fn read_plain(role: Role, content: &str) -> Result<Value, String> {
    match role {
        Role::Description => text::read(content.trim_start_matches('\u{feff}')).map_err(|error| error.to_string()),
        Role::Project => yaml::read_one(content).map_err(|error| error.to_string()),
        Role::Objects | Role::Text => Ok(Value::String(content.to_owned())),
    }
}

/// The text that the golden of such a file has.
pub fn write_plain(role: Role, value: &Value) -> String {
    match (role, value) {
        (Role::Description, value) => {
            let mut out =
                serde_json::to_string_pretty(&sorted(value)).expect("a value without a map of other keys is JSON");
            out.push('\n');
            out
        }
        (Role::Objects | Role::Text, Value::String(content)) => content.clone(),
        (_, value) => {
            let mut out = String::from(HEADER);
            yaml::write_into(&mut out, value);
            out
        }
    }
}

/// The text that the golden should have at a path of a project, from the rendered file.
///
/// # Errors
///
/// A file that cannot be read, or is no manifest.
pub fn of_file(path: &camino::Utf8Path, rendered: &camino::Utf8Path) -> Result<String, Failure> {
    let content = fs_err::read_to_string(rendered)?;
    let text = match Role::of(path) {
        Role::Objects => read(&content).map(|manifest| write(&manifest)),
        role => read_plain(role, &content).map(|value| write_plain(role, &value)),
    };
    text.map_err(|reason| Failure::config(format!("`{rendered}` cannot be read: {reason}")))
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => text::sorted(map)
            .into_iter()
            .map(|(key, member)| (key.to_owned(), sorted(member)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(sorted).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

/// A rendered file in full, for people: as YAML where it is one, else as it stands.
pub fn full_text(path: &camino::Utf8Path, content: &[u8]) -> String {
    let text = String::from_utf8_lossy(content).into_owned();
    let documents = match Role::of(path) {
        Role::Text => return text,
        Role::Objects | Role::Project | Role::Description => yaml::read(&text),
    };
    match documents {
        Ok(documents) => {
            let documents: Vec<String> = documents.iter().map(yaml::write).collect();
            documents.join("---\n")
        }
        Err(_) => text,
    }
}

/// The identities of objects, in their order.
pub fn identities(objects: &[Object]) -> Vec<Identity> {
    objects.iter().map(|object| object.identity.clone()).collect()
}

//! A `List` of live objects, read an object at a time, so that of thousands only that stays in memory which
//! somebody asks for. It keeps and drops; what an object means is for others to say.

use std::borrow::Cow;
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::history;
use crate::base::failure;
use crate::call::{Caller, unreadable};
use crate::project::{ObjectRef, Project, resources};

/// Which of the served kinds are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Choose {
    /// All of which a stage can have objects.
    Every,
    /// Only kinds that the project has objects of. A server takes a third of a second for the first listing of each
    /// new CRD, and what was just deployed cannot have left orphans of a kind that it does not have.
    Own,
}

/// Which of the served resources to list: as one comma-separated argument, and as a path each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ListableResources {
    /// Output of `kubectl api-resources --no-headers -o wide`.
    pub served: Utf8PathBuf,
    /// Nothing may be decided without a list of the kinds that this project has objects of.
    pub project: Utf8PathBuf,
    /// Folder of the projects that were deployed before: the same for what the last of them had.
    pub kept: Utf8PathBuf,
    /// Which kinds are listed.
    pub choose: Choose,
    /// JSON file `{ "resources": "a,b", "lists": […] }`.
    pub to: Utf8PathBuf,
}

impl ListableResources {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> failure::Result<()> {
        let mut resources = resources::parse(&on.text(&self.served)?)?;
        let project = Project::read(&on.root.join(&self.project))?;
        let mut objects: Vec<ObjectRef> = project.objects().map(|(_, object)| object.reference()).collect();
        if self.choose == Choose::Own {
            resources.retain(|resource| objects.iter().any(|object| resource.serves(object)));
        }
        // What an earlier deployment brought may be orphaned now, and has to be seen.
        if let Some(earlier) = history::newest_kept(&on.root.join(&self.kept))? {
            let earlier = Project::read(&earlier)?;
            objects.extend(earlier.objects().map(|(_, object)| object.reference()));
        }
        on.write_json(
            &self.to,
            &json!({
                "resources": resources::listable(&resources),
                "lists": resources::lists(&resources, &objects),
            }),
        )
    }
}

/// Reads a listing's text: each object as `keep` gives it back, or without it.
///
/// # Errors
///
/// Text that is no JSON object, or whose `items` are no list.
pub fn read(text: &str, keep: impl FnMut(Value) -> Option<Value>) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let items = Listing(keep).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(json!({ "items": items }))
}

/// The same of a file that `ListObjects` wrote.
pub fn read_file(on: &Caller<'_>, path: &Utf8Path, keep: impl FnMut(Value) -> Option<Value>) -> failure::Result<Value> {
    read(&on.text(path)?, keep).map_err(|error| unreadable(path, &error))
}

struct Listing<F>(F);

impl<'de, F: FnMut(Value) -> Option<Value>> DeserializeSeed<'de> for Listing<F> {
    type Value = Vec<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Value>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(Value) -> Option<Value>> Visitor<'de> for Listing<F> {
    type Value = Vec<Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a listing")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Vec<Value>, A::Error> {
        let mut items = Vec::new();
        while let Some(key) = access.next_key::<Cow<'de, str>>()? {
            if key == "items" {
                items = access.next_value_seed(Items(&mut self.0))?;
            } else {
                access.next_value::<IgnoredAny>()?;
            }
        }
        Ok(items)
    }
}

struct Items<'a, F>(&'a mut F);

impl<'de, F: FnMut(Value) -> Option<Value>> DeserializeSeed<'de> for Items<'_, F> {
    type Value = Vec<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Value>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(Value) -> Option<Value>> Visitor<'de> for Items<'_, F> {
    type Value = Vec<Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Vec<Value>, A::Error> {
        let mut items = Vec::new();
        while let Some(object) = access.next_element()? {
            items.extend((self.0)(object));
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_kept_stays_of_a_listing() {
        let text =
            r#"{"kind": "List", "items": [{"kind": "A", "n": 1}, {"kind": "B"}], "metadata": {"resourceVersion": ""}}"#;
        let kept = read(text, |object| (object["kind"] == "A").then_some(object)).unwrap();
        assert_eq!(kept, json!({"items": [{"kind": "A", "n": 1}]}));
        assert!(read(r#"{"items": {}}"#, Some).is_err());
        assert!(read(r#"{"items": []} x"#, Some).is_err());
        assert!(read("[]", Some).is_err());
    }
}

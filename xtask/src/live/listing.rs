//! A `List` of live objects, read an object at a time, so that of thousands only that stays in memory which
//! somebody asks for. It keeps and drops; what an object means is for others to say.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

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

//! What keeps a text from being platform config, all of it at once: serde by itself stops at the first problem.
//! It knows no field: the derived code asks for what each place has to hold, and where the text holds something else,
//! the problem is noted and reading goes on with an empty value. What was read is thrown away.

use std::cell::RefCell;

use serde::Deserialize;
use serde::de::value::{Error, StrDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::Platform;
use crate::base::text::nearest;

/// Everything that has not the shape of [`Platform`], each with its path; nothing when the text is no JSON.
pub(super) fn problems(text: &str) -> Vec<String> {
    let Ok(config) = serde_json::from_str::<Value>(text) else {
        return Vec::new();
    };
    let problems = RefCell::new(Vec::new());
    let read = Platform::deserialize(Place {
        given: Given::Value(&config),
        path: String::new(),
        problems: &problems,
    });
    let mut problems = problems.into_inner();
    if let Err(error) = read {
        problems.push(error.to_string());
    }
    problems
}

/// What the text has in a place.
#[derive(Clone, Copy)]
enum Given<'a> {
    Value(&'a Value),
    /// The key of a map.
    Key(&'a str),
    /// A field that is left out.
    Missing,
    /// Something else than what is asked for, which has been noted.
    Noted,
}

/// A place in the text, read as what its type asks for.
struct Place<'a> {
    given: Given<'a>,
    /// Keys and indexes that lead here, separated by dots.
    path: String,
    problems: &'a RefCell<Vec<String>>,
}

impl<'a> Place<'a> {
    fn note(&self, problem: &str) {
        let path = if self.path.is_empty() { "the file" } else { &self.path };
        self.problems.borrow_mut().push(format!("{path}: {problem}"));
    }

    /// Notes that the place holds something else, unless that is known.
    fn note_other(&self, expected: &str) {
        match self.given {
            Given::Value(value @ (Value::Object(_) | Value::Array(_))) => {
                let kind = if value.is_object() { "an object" } else { "a list" };
                self.note(&format!("{kind} is not {expected}"));
            }
            Given::Value(value) => self.note(&format!("`{value}` is not {expected}")),
            Given::Key(key) => self.note(&format!("`{key}` is not {expected}")),
            Given::Missing => self.note("is missing"),
            Given::Noted => {}
        }
    }

    fn inside(&self, key: &str, given: Given<'a>) -> Self {
        let path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        Self {
            given,
            path,
            problems: self.problems,
        }
    }

    fn text(&self) -> Option<&'a str> {
        match self.given {
            Given::Value(value) => value.as_str(),
            Given::Key(key) => Some(key),
            Given::Missing | Given::Noted => None,
        }
    }

    fn value(&self) -> &'a Value {
        match self.given {
            Given::Value(value) => value,
            _ => &Value::Null,
        }
    }

    fn integer<T: TryFrom<u64>>(&self, most: u64) -> Option<T> {
        let number = self.value().as_u64();
        if number.is_none() {
            self.note_other("a whole number");
        }
        let fits = T::try_from(number?);
        if fits.is_err() {
            self.note_other(&format!("at most {most}"));
        }
        fits.ok()
    }
}

impl<'de> Deserializer<'de> for Place<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let value = self.value().clone();
        value.deserialize_any(visitor).map_err(|error| {
            self.note(&error.to_string());
            Error::custom("the rest was not read")
        })
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let given = self.value().as_bool();
        if given.is_none() {
            self.note_other("true or false");
        }
        visitor.visit_bool(given.unwrap_or_default())
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u16(self.integer(u16::MAX.into()).unwrap_or_default())
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u32(self.integer(u32::MAX.into()).unwrap_or_default())
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let given = self.text();
        if given.is_none() {
            self.note_other("a string");
        }
        visitor.visit_str(given.unwrap_or_default())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value().is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let given = self.value().as_array();
        if given.is_none() {
            self.note_other("a list");
        }
        let items = given.into_iter().flatten().enumerate();
        visitor.visit_seq(Items(
            items.map(|(index, item)| self.inside(&index.to_string(), Given::Value(item))),
        ))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let given = self.value().as_object();
        if given.is_none() {
            self.note_other("an object");
        }
        let members = given.into_iter().flatten().map(|(key, value)| {
            let of_key = Place {
                given: Given::Key(key),
                path: self.path.clone(),
                problems: self.problems,
            };
            (of_key, self.inside(key, Given::Value(value)))
        });
        visitor.visit_map(Members { members, open: None })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let given = self.value().as_object();
        if given.is_none() {
            self.note_other("an object");
        }
        for key in given.into_iter().flat_map(serde_json::Map::keys) {
            if !fields.contains(&key.as_str()) {
                let meant = nearest(key, fields.iter().copied()).map(|name| format!("; did you mean `{name}`?"));
                self.inside(key, Given::Noted)
                    .note(&format!("unknown field{}", meant.unwrap_or_default()));
            }
        }
        let members = fields.iter().map(|field| {
            let given = match given.map(|given| given.get(*field)) {
                Some(Some(value)) => Given::Value(value),
                Some(None) => Given::Missing,
                None => Given::Noted,
            };
            let of_key = Place {
                given: Given::Key(field),
                path: self.path.clone(),
                problems: self.problems,
            };
            (of_key, self.inside(field, given))
        });
        visitor.visit_map(Members { members, open: None })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let given = self.text().filter(|text| variants.contains(text));
        if given.is_none() {
            let known: Vec<String> = variants.iter().map(|name| format!("`{name}`")).collect();
            self.note_other(&format!("one of {}", known.join(", ")));
        }
        let variant: StrDeserializer<'_, Error> = given.unwrap_or(variants[0]).into_deserializer();
        visitor.visit_enum(variant)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct ignored_any
    }
}

struct Items<I>(I);

impl<'de, 'a, I: Iterator<Item = Place<'a>>> SeqAccess<'de> for Items<I> {
    type Error = Error;

    fn next_element_seed<T: serde::de::DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|place| seed.deserialize(place)).transpose()
    }
}

struct Members<'a, I> {
    members: I,
    /// The value that belongs to the key that was read last.
    open: Option<Place<'a>>,
}

impl<'de, 'a, I: Iterator<Item = (Place<'a>, Place<'a>)>> MapAccess<'de> for Members<'a, I> {
    type Error = Error;

    fn next_key_seed<K: serde::de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.members.next() else {
            return Ok(None);
        };
        self.open = Some(value);
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: serde::de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let place = self.open.take().expect("serde reads a value behind each key");
        seed.deserialize(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed() -> Value {
        let root = camino::Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        serde_json::from_str(&fs_err::read_to_string(root.join("platform.json")).unwrap()).unwrap()
    }

    #[test]
    fn the_committed_config_have_the_shape() {
        assert_eq!(problems(&committed().to_string()), Vec::<String>::new());
    }

    #[test]
    fn every_problem_is_told_at_once_with_its_path() {
        let mut config = committed();
        config["colour"] = "red".into();
        config["defaultClusters"]["lcoal"] = serde_json::json!({"cluster": "k3s-dev", "afterPivot": null});
        config["machines"] = serde_json::json!([]);
        let cluster = &mut config["clusters"]["k3s-dev"];
        cluster["apiPort"] = 70_000.into();
        cluster["nodes"] = "two".into();
        cluster["environment"] = "staging".into();
        cluster["backends"][0] = "docker".into();
        cluster["podCIDR"] = "10.0.0.0/8".into();
        cluster.as_object_mut().unwrap().remove("issuer");
        // A field that may be null may also be left out.
        cluster.as_object_mut().unwrap().remove("machine");
        cluster["stages"]["local"]["needsPivot"] = "no".into();
        config["profiles"]["k3s-dev"]["arch"] = "riscv".into();
        config["profiles"]["k3s-dev"]["cpus"] = Value::Null;
        config["secrets"] = "none".into();
        assert_eq!(
            problems(&config.to_string()),
            [
                "colour: unknown field",
                "defaultClusters: `lcoal` is not one of `local`, `capi`, `full`",
                "clusters.k3s-dev.podCIDR: unknown field; did you mean `podCidr`?",
                "clusters.k3s-dev.environment: `\"staging\"` is not one of `local`, `production`",
                "clusters.k3s-dev.backends.0: `\"docker\"` is not one of `colima`, `lima`, `embedded`, `remote`",
                "clusters.k3s-dev.apiPort: `70000` is not at most 65535",
                "clusters.k3s-dev.nodes: `\"two\"` is not a whole number",
                "clusters.k3s-dev.issuer: is missing",
                "clusters.k3s-dev.stages.local.needsPivot: `\"no\"` is not true or false",
                "profiles.k3s-dev.cpus: `null` is not a whole number",
                "profiles.k3s-dev.arch: `\"riscv\"` is not one of `aarch64`, `x86_64`",
                "machines: a list is not an object",
                "secrets: `\"none\"` is not an object",
            ]
        );
        let failure = Platform::parse(&config.to_string()).unwrap_err();
        assert!(failure.chain().contains("riscv"), "{}", failure.chain());
    }

    #[test]
    fn a_file_of_another_kind_is_one_problem_and_an_empty_one_lacks_every_field() {
        assert_eq!(problems("[1]"), ["the file: a list is not an object"]);
        let missing = problems("{}");
        assert_eq!(missing.len(), 10, "{missing:?}");
        assert_eq!(missing[0], "schema: is missing");
    }

    #[test]
    fn what_serde_takes_has_no_problem_and_what_it_refuses_has_one() {
        // One of each: every place of the types, and no more.
        let mut whole = committed();
        thin(&mut whole);
        let mut pointers = Vec::new();
        every_pointer(&whole, "", &mut pointers);
        for pointer in pointers {
            for other in [Value::Null, "x".into(), (-1).into(), 1.5.into(), serde_json::json!({})] {
                let mut config = whole.clone();
                *config.pointer_mut(&pointer).unwrap() = other.clone();
                let refused = serde_json::from_value::<Platform>(config.clone()).is_err();
                let told = problems(&config.to_string());
                assert_eq!(refused, !told.is_empty(), "{pointer} is {other}: {told:?}");
            }
        }
    }

    fn thin(value: &mut Value) {
        match value {
            Value::Object(map) => {
                if let Some(Value::Object(clusters)) = map.get_mut("clusters") {
                    clusters.retain(|name, _| name == "hetzner");
                }
                map.values_mut().for_each(thin);
            }
            Value::Array(items) => {
                items.truncate(1);
                items.iter_mut().for_each(thin);
            }
            _ => {}
        }
    }

    fn every_pointer(value: &Value, at: &str, pointers: &mut Vec<String>) {
        pointers.push(at.to_owned());
        let members: Vec<(String, &Value)> = match value {
            Value::Object(map) => map
                .iter()
                .map(|(key, member)| (key.replace('~', "~0").replace('/', "~1"), member))
                .collect(),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| (index.to_string(), item))
                .collect(),
            _ => return,
        };
        for (key, member) in members {
            every_pointer(member, &format!("{at}/{key}"), pointers);
        }
    }
}

//! JSON as programs exchange it: read with duplicates refused, and in the canonical form that a digest is made of.
//! It knows nothing of Kubernetes, and never guesses: what cannot be read is an error.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};
use sha2::{Digest as _, Sha256};

/// Bytes that the text of most objects fits in, so that it is written without being moved.
const TYPICAL: usize = 8 << 10;

/// Reads one JSON value; a key that stands twice in an object is an error.
pub fn read(text: &str) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Builds a [`Value`] and refuses a duplicate key, where serde_json's own lets the last one win.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| de::Error::custom(format!("`{value}` is not a number of JSON")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let value = access.next_value_seed(Self)?;
            match map.entry(key) {
                Entry::Vacant(entry) => drop(entry.insert(value)),
                Entry::Occupied(entry) => {
                    return Err(de::Error::custom(format!("key `{}` stands twice", entry.key())));
                }
            }
        }
        Ok(Value::Object(map))
    }
}

/// The canonical form: keys sorted by bytes, no whitespace, as `jq -cS .` prints it.
pub fn canonical(value: &Value) -> String {
    let mut text = String::with_capacity(TYPICAL);
    write_canonical(&mut text, value, &[]);
    text
}

/// The canonical form without the member at `path`; an object of the path that becomes empty goes with it.
pub fn canonical_without(value: &Value, path: &[&str]) -> String {
    let mut text = String::with_capacity(TYPICAL);
    write_canonical(&mut text, value, path);
    text
}

/// Whether nothing is left of a value once the member at `path` is taken out.
fn only_holds(value: &Value, path: &[&str]) -> bool {
    match (value, path) {
        (_, []) => true,
        (Value::Object(map), [key, rest @ ..]) => {
            map.is_empty() || (map.len() == 1 && map.get(*key).is_some_and(|member| only_holds(member, rest)))
        }
        _ => false,
    }
}

fn write_canonical(text: &mut String, value: &Value, without: &[&str]) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => write_number(text, number),
        Value::String(string) => write_string(text, string),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_canonical(text, item, &[]);
            }
            text.push(']');
        }
        Value::Object(map) => {
            text.push('{');
            let mut first = true;
            for (key, member) in sorted(map) {
                let inner = match without {
                    [head, rest @ ..] if *head == key => {
                        if only_holds(member, rest) {
                            continue;
                        }
                        rest
                    }
                    _ => &[],
                };
                if !first {
                    text.push(',');
                }
                first = false;
                write_string(text, key);
                text.push(':');
                write_canonical(text, member, inner);
            }
            text.push('}');
        }
    }
}

/// Members in the order of their keys' bytes, which is the order of their code points.
pub(crate) fn sorted(map: &Map<String, Value>) -> Vec<(&str, &Value)> {
    let mut members: Vec<(&str, &Value)> = map.iter().map(|(key, value)| (key.as_str(), value)).collect();
    if !members.is_sorted_by(|left, right| left.0 <= right.0) {
        members.sort_unstable_by(|left, right| left.0.cmp(right.0));
    }
    members
}

/// A string as jq writes it: what JSON demands is escaped, and DEL too; everything else stands as it is.
pub(crate) fn write_string(text: &mut String, string: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    text.push('"');
    let mut from = 0;
    for (index, byte) in string.bytes().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\t' => "\\t",
            b'\r' => "\\r",
            0x08 => "\\b",
            0x0c => "\\f",
            0..=0x1f | 0x7f => "",
            _ => continue,
        };
        text.push_str(&string[from..index]);
        if short.is_empty() {
            text.push_str("\\u00");
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        } else {
            text.push_str(short);
        }
        from = index + 1;
    }
    text.push_str(&string[from..]);
    text.push('"');
}

/// The largest integer up to which every one is exact in a double.
const EXACT: u64 = 1 << 53;

/// A number as jq writes it after arithmetic: exact integers in full, everything else as a double.
pub(crate) fn write_number(text: &mut String, number: &Number) {
    use fmt::Write as _;
    if let Some(integer) = number.as_i64()
        && integer.unsigned_abs() <= EXACT
    {
        write!(text, "{integer}").expect("a string takes everything");
        return;
    }
    let double = number.as_f64().expect("a JSON number is a double, an i64 or a u64");
    if double == double.trunc() && double.abs() <= EXACT as f64 && !(double == 0.0 && double.is_sign_negative()) {
        write!(text, "{}", double as i64).expect("a string takes everything");
        return;
    }
    // Shortest digits that read back the same, then C's placement of the point.
    let scientific = format!("{double:e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("LowerExp writes an exponent");
    let exponent: i32 = exponent.parse().expect("LowerExp writes a number behind the e");
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let count = i32::try_from(digits.len()).expect("a double has at most 17 digits");
    let point = exponent + 1;
    text.push_str(sign);
    if point <= -4 || point > count + 15 {
        text.push_str(&digits[..1]);
        if count > 1 {
            text.push('.');
            text.push_str(&digits[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(text, "e{sign}{:02}", exponent.unsigned_abs()).expect("a string takes everything");
    } else if point <= 0 {
        text.push_str("0.");
        for _ in 0..-point {
            text.push('0');
        }
        text.push_str(&digits);
    } else if point >= count {
        text.push_str(&digits);
        for _ in 0..point - count {
            text.push('0');
        }
    } else {
        let (whole, fraction) = digits.split_at(usize::try_from(point).expect("checked to be positive"));
        text.push_str(whole);
        text.push('.');
        text.push_str(fraction);
    }
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    format!("{:x}", Sha256::digest(bytes.as_ref()))
}

/// SHA-256 of texts that follow each other.
pub(crate) fn sha256_of(parts: &[&str]) -> String {
    let digest = parts
        .iter()
        .fold(Sha256::new(), |digest, part| digest.chain_update(part));
    format!("{:x}", digest.finalize())
}

/// Bytes in base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Whether two values are the same to the API: members in any order, `1.0` and `1` alike.
pub fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => same_number(left, right),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, left)| right.get(key).is_some_and(|right| same(left, right)))
        }
        (left, right) => left == right,
    }
}

fn same_number(left: &Number, right: &Number) -> bool {
    if left == right {
        return true;
    }
    let mut texts = (String::new(), String::new());
    write_exact(&mut texts.0, left);
    write_exact(&mut texts.1, right);
    texts.0 == texts.1
}

/// A number for people and for comparison: integers in full, whatever their size.
pub(crate) fn write_exact(text: &mut String, number: &Number) {
    use fmt::Write as _;
    if number.is_i64() || number.is_u64() {
        write!(text, "{number}").expect("a string takes everything");
    } else {
        write_number(text, number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `jq -cS .` (1.6) prints for the value beside it.
    const JQ: [(&str, &str); 24] = [
        (
            r#"{"a":"x\u007fy\u0001\u00e9\u2028\ud83d\ude00</>&\/\b\f","\u00e9":1,"z":2,"\ud83d\ude00":3,"\uffff":4}"#,
            "{\"a\":\"x\\u007fy\\u0001é\u{2028}😀</>&/\\b\\f\",\"z\":2,\"é\":1,\"\u{ffff}\":4,\"😀\":3}",
        ),
        (r#"{"b":{"d":[],"c":{}},"a":null}"#, r#"{"a":null,"b":{"c":{},"d":[]}}"#),
        ("10000000000000000", "1e+16"),
        ("1000000000000000", "1000000000000000"),
        ("12345678901234567", "12345678901234568"),
        ("9223372036854775807", "9223372036854776000"),
        ("9223372036854775808", "9223372036854776000"),
        ("100000000000000000000", "1e+20"),
        ("1234567890123456e5", "123456789012345600000"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("0.000123", "0.000123"),
        ("123e-7", "1.23e-05"),
        ("0.1e-6", "1e-07"),
        ("1.5e300", "1.5e+300"),
        ("5e-324", "5e-324"),
        ("123456.789e3", "123456789"),
        ("-5", "-5"),
        ("-0.5", "-0.5"),
        ("3.0", "3"),
        ("1e3", "1000"),
        ("0.1", "0.1"),
        ("1234.5", "1234.5"),
        ("-0.0", "-0"),
    ];

    #[test]
    fn the_canonical_form_is_what_jq_prints() {
        for (given, expected) in JQ {
            assert_eq!(canonical(&read(given).unwrap()), expected, "{given}");
        }
    }

    #[test]
    fn what_is_left_out_takes_its_empty_parents_along() {
        let without = |text| canonical_without(&read(text).unwrap(), &["metadata", "annotations", "d"]);
        assert_eq!(
            without(r#"{"metadata":{"name":"x","annotations":{"d":"1"}}}"#),
            r#"{"metadata":{"name":"x"}}"#
        );
        assert_eq!(
            without(r#"{"metadata":{"name":"x","annotations":{}}}"#),
            r#"{"metadata":{"name":"x"}}"#
        );
        assert_eq!(
            without(r#"{"metadata":{"annotations":{"d":"1","e":"2"}},"d":1}"#),
            r#"{"d":1,"metadata":{"annotations":{"e":"2"}}}"#
        );
    }

    #[test]
    fn a_duplicate_key_is_refused_at_any_depth() {
        let error = read(r#"{"a":[{"b":1,"b":1}]}"#).unwrap_err().to_string();
        assert!(error.contains("key `b` stands twice"), "{error}");
        assert!(read(r#"{"a":1} {"b":2}"#).is_err());
    }

    #[test]
    fn a_number_is_the_same_however_it_is_written() {
        let value = |text| read(text).unwrap();
        assert!(same(&value(r#"{"a":1.0,"b":[1e3]}"#), &value(r#"{"b":[1000],"a":1}"#)));
        assert!(!same(&value("9223372036854775807"), &value("9223372036854775806")));
        assert!(!same(&value("1"), &value("\"1\"")));
        assert!(!same(&value(r#"{"a":null}"#), &value("{}")));
    }

    #[test]
    fn sha256_is_the_published_one() {
        assert_eq!(
            sha256("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}

//! YAML, read as the API server reads it and written so that nobody can misread it; the only file that knows YAML.
//! It knows nothing of Kubernetes; bytes come in and values go out, or the other way round.
//!
//! The API server turns YAML into JSON with go-yaml, which resolves plain scalars by YAML 1.1 and some rules of its
//! own: `no` and `y` are booleans, `0644` is 420, `1e3` is 1000, and `12:30:45` and `2024-01-01` stay strings.
//! Stricter than it on purpose: keys that are no strings, booleans or integers, and tags for sets and binary data.

use std::collections::HashMap;
use std::fmt::Write as _;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, options};
use serde_json::{Map, Number, Value};

use super::json;

/// Depth at which nesting is refused: serde_json's own limit, so that both readers take the same documents.
const DEPTH: usize = 128;

/// What aliases may add to a text, in nodes and bytes: generous for people, far below what exhausts memory.
const ALIASED: usize = 4 * 1024 * 1024;

/// Why a text is not YAML that the API server would take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Line, from one; zero when the error is of no line.
    pub line: usize,
    /// What is wrong: lower case, no final period.
    pub message: String,
}

impl std::fmt::Display for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.line == 0 {
            formatter.write_str(&self.message)
        } else {
            write!(formatter, "line {}: {}", self.line, self.message)
        }
    }
}

impl std::error::Error for Error {}

/// Reads every document of a text; empty ones are left out. JSON is YAML and is read by the faster reader.
pub fn read(text: &str) -> Result<Vec<Value>, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with('{') {
        match json::read(text) {
            Ok(value) => return Ok(vec![value]),
            // A flow mapping of YAML may begin the same way; a duplicate or too deep key is wrong in both.
            Err(error) if error.is_data() => {
                return Err(Error {
                    line: error.line(),
                    message: error.to_string(),
                });
            }
            Err(_) => {}
        }
    }
    Reader::new(text).documents()
}

/// Reads a text that must hold exactly one document.
pub fn read_one(text: &str) -> Result<Value, Error> {
    let mut documents = read(text)?;
    match (documents.pop(), documents.is_empty()) {
        (Some(value), true) => Ok(value),
        (None, _) => Err(Error {
            line: 0,
            message: "empty, one document is expected".into(),
        }),
        (Some(_), false) => Err(Error {
            line: 0,
            message: "several documents, one is expected".into(),
        }),
    }
}

struct Reader<'input> {
    parser: Parser<'input, granit_parser::StrInput<'input>>,
    /// Anchored values with their weight.
    anchors: HashMap<usize, (Value, usize)>,
    /// What aliases have added so far.
    aliased: usize,
    line: usize,
}

/// The key under which YAML 1.1 merges mappings.
const MERGE: &str = "<<";

impl<'input> Reader<'input> {
    fn new(text: &'input str) -> Self {
        let options: Options = options! {
            emit_comments: false,
            // The API server's reader takes long plain keys up to the same limit.
            simple_key_max_lookahead: 1024,
        };
        Self {
            parser: Parser::new_from_str_with_options(text, options),
            anchors: HashMap::new(),
            aliased: 0,
            line: 0,
        }
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, Error> {
        Err(Error {
            line: self.line,
            message: message.into(),
        })
    }

    fn next(&mut self) -> Result<(Event<'input>, Span), Error> {
        match self.parser.next() {
            Some(Ok((event, span))) => {
                self.line = span.start.line();
                Ok((event, span))
            }
            Some(Err(error)) => Err(Error {
                line: error.marker().line(),
                message: error.info().to_owned(),
            }),
            None => self.error("the text ends too early"),
        }
    }

    fn documents(mut self) -> Result<Vec<Value>, Error> {
        let mut documents = Vec::new();
        loop {
            let (event, _) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(documents),
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) => {
                    // Anchors do not outlive their document.
                    self.anchors.clear();
                    let (event, _) = self.next()?;
                    if matches!(event, Event::DocumentEnd) {
                        continue;
                    }
                    let (value, _) = self.value(event, 0)?;
                    if !value.is_null() {
                        documents.push(value);
                    }
                }
                other => return self.error(format!("unexpected {other:?}")),
            }
        }
    }

    /// The value that begins with this event, and its weight in nodes and bytes.
    fn value(&mut self, event: Event<'input>, depth: usize) -> Result<(Value, usize), Error> {
        if depth >= DEPTH {
            return self.error(format!("nested deeper than {DEPTH} levels"));
        }
        let (value, weight, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(&text, style, tag.as_deref())?;
                (value, 1 + text.len(), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "seq")?;
                let mut items = Vec::new();
                let mut weight = 1;
                loop {
                    let (event, _) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    let (item, inner) = self.value(event, depth + 1)?;
                    weight += inner;
                    items.push(item);
                }
                (Value::Array(items), weight, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "map")?;
                let (map, weight) = self.mapping(depth)?;
                (Value::Object(map), weight, anchor)
            }
            Event::Alias(id) => {
                let Some((value, weight)) = self.anchors.get(&id).cloned() else {
                    return self.error("an alias refers to the value it stands in");
                };
                self.aliased += weight;
                if self.aliased > ALIASED {
                    return self.error("aliases make the document too large");
                }
                return Ok((value, weight));
            }
            other => return self.error(format!("unexpected {other:?}")),
        };
        if anchor != 0 {
            // The copy that the anchor holds counts as well.
            self.aliased += weight;
            if self.aliased > ALIASED {
                return self.error("anchors make the document too large");
            }
            self.anchors.insert(anchor, (value.clone(), weight));
        }
        Ok((value, weight))
    }

    fn mapping(&mut self, depth: usize) -> Result<(Map<String, Value>, usize), Error> {
        let mut map = Map::new();
        let mut merges: Vec<Value> = Vec::new();
        let mut weight = 1;
        loop {
            let (event, _) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let line = self.line;
            let merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, _) if text == MERGE);
            let (key, inner) = self.value(event, depth + 1)?;
            weight += inner;
            let key = match self.key(key) {
                Ok(key) => key,
                Err(mut error) => {
                    error.line = line;
                    return Err(error);
                }
            };
            let (event, _) = self.next()?;
            let (value, inner) = self.value(event, depth + 1)?;
            weight += inner;
            if merge {
                merges.push(value);
            } else if map.contains_key(&key) {
                return Err(Error {
                    line,
                    message: format!("key `{key}` stands twice"),
                });
            } else {
                map.insert(key, value);
            }
        }
        // Strictly read, a merge adds keys; one that would replace a key is a duplicate.
        for merged in merges {
            let sources = match merged {
                Value::Array(items) => items,
                other => vec![other],
            };
            for source in sources {
                let Value::Object(source) = source else {
                    return self.error("only a mapping can be merged with `<<`");
                };
                for (key, value) in source {
                    if map.contains_key(&key) {
                        return self.error(format!("key `{key}` stands twice, once through `<<`"));
                    }
                    map.insert(key, value);
                }
            }
        }
        Ok((map, weight))
    }

    /// A key as JSON has it: the text of a number or boolean, as the API server makes it.
    fn key(&self, key: Value) -> Result<String, Error> {
        match key {
            Value::String(key) => Ok(key),
            Value::Bool(key) => Ok(key.to_string()),
            Value::Number(key) if key.is_i64() => Ok(key.to_string()),
            // The API server rounds such a key to single precision, or refuses it.
            Value::Number(key) => self.error(format!(
                "the key `{key}` is a number that is no integer of 64 bits, quote it"
            )),
            Value::Null => self.error("a key is null"),
            Value::Array(_) | Value::Object(_) => self.error("a key is a list or a mapping"),
        }
    }

    fn refuse_tag(&self, tag: Option<&granit_parser::Tag>, own: &str) -> Result<(), Error> {
        match tag {
            None => Ok(()),
            Some(tag) if tag.is_yaml_core_schema_tag(own) => Ok(()),
            Some(tag) => self.error(format!("tag `{tag}` is not taken here")),
        }
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&granit_parser::Tag>) -> Result<Value, Error> {
        let Some(tag) = tag else {
            return if style == ScalarStyle::Plain {
                self.plain(text)
            } else {
                Ok(Value::String(text.to_owned()))
            };
        };
        // A tag of one's own means to the API server only that nothing is resolved; `!` alone means the same.
        if tag.is_yaml_core_schema_tag("str") || tag.handle() == "!" || tag.to_string() == "!" {
            return Ok(Value::String(text.to_owned()));
        }
        let resolved = self.plain(text)?;
        let fits = match &resolved {
            Value::Null => tag.is_yaml_core_schema_tag("null"),
            Value::Bool(_) => tag.is_yaml_core_schema_tag("bool"),
            Value::Number(number) => {
                (tag.is_yaml_core_schema_tag("int") && !number.is_f64()) || tag.is_yaml_core_schema_tag("float")
            }
            _ => false,
        };
        if fits {
            Ok(resolved)
        } else {
            self.error(format!("`{text}` does not fit its tag `{tag}`"))
        }
    }

    fn plain(&self, text: &str) -> Result<Value, Error> {
        match resolve(text) {
            Resolved::Value(value) => Ok(value),
            Resolved::Nowhere => self.error(format!("`{text}` is a number that JSON does not have")),
        }
    }
}

/// What a plain scalar means.
#[derive(Debug, PartialEq)]
enum Resolved {
    Value(Value),
    /// An infinity or no number at all: JSON has none, and the API server refuses it.
    Nowhere,
}

/// Resolves a plain scalar as go-yaml (v2, as sigs.k8s.io/yaml keeps it) does.
fn resolve(text: &str) -> Resolved {
    let string = || Resolved::Value(Value::String(text.to_owned()));
    let Some(first) = text.bytes().next() else {
        return Resolved::Value(Value::Null);
    };
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Resolved::Value(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Resolved::Value(Value::Bool(false));
        }
        "~" | "null" | "Null" | "NULL" => return Resolved::Value(Value::Null),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf"
        | "-.INF" => return Resolved::Nowhere,
        _ => {}
    }
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return string();
    }
    let plain = text.replace('_', "");
    if first != b'.'
        && let Some(number) = integer(&plain)
    {
        return Resolved::Value(Value::Number(number));
    }
    if is_float(&plain)
        && let Some(number) = plain.parse::<f64>().ok().and_then(Number::from_f64)
    {
        return Resolved::Value(Value::Number(number));
    }
    // Also what is too large for a double: it stays the text that it was.
    string()
}

/// An integer in Go's base-0 notation: `0x`, `0o` or a leading zero, `0b`, with a sign.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if digits.is_empty() || !digits.bytes().all(|byte| char::from(byte).is_digit(radix)) {
        return None;
    }
    let value = u128::from_str_radix(digits, radix).ok()?;
    if negative {
        let value = i128::try_from(value).ok()?.checked_neg()?;
        i64::try_from(value).ok().map(Number::from)
    } else {
        u64::try_from(value).ok().map(Number::from)
    }
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`, go-yaml's notion of a float.
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(place) => (&text[..place], Some(&text[place + 1..])),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    mantissa && exponent
}

/// Writes one document in normal form: keys sorted, block style, every string safe under YAML 1.1 and 1.2.
pub fn write(value: &Value) -> String {
    let mut text = String::new();
    write_into(&mut text, value);
    text
}

/// Like [`write`], at the end of a text that a new line begins.
pub fn write_into(text: &mut String, value: &Value) {
    match value {
        Value::Object(map) if !map.is_empty() => write_map(text, map, 0, Place::Line),
        Value::Array(items) if !items.is_empty() => write_list(text, items, 0, Place::Line),
        other => {
            write_leaf(text, other, 1);
            text.push('\n');
        }
    }
}

/// Where a block begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the start of a line, which still needs its indent.
    Line,
    /// Behind `- `, where the indent already stands.
    Dash,
}

fn indent(text: &mut String, depth: usize) {
    const SPACES: &str = "                                                                ";
    let mut left = depth * 2;
    while left > 0 {
        let some = left.min(SPACES.len());
        text.push_str(&SPACES[..some]);
        left -= some;
    }
}

fn write_map(text: &mut String, map: &Map<String, Value>, depth: usize, place: Place) {
    for (index, (key, value)) in json::sorted(map).into_iter().enumerate() {
        if index > 0 || place == Place::Line {
            indent(text, depth);
        }
        if key.len() > 1000 {
            // A simple key may have 1,024 characters at most.
            text.push_str("? ");
            write_quoted(text, key);
            text.push('\n');
            indent(text, depth);
        } else {
            write_key(text, key);
        }
        text.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                write_map(text, inner, depth + 1, Place::Line);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                // As kubectl writes it: the dash stands below the key's first letter.
                write_list(text, items, depth, Place::Line);
            }
            leaf => {
                text.push(' ');
                write_leaf(text, leaf, depth + 1);
                text.push('\n');
            }
        }
    }
}

fn write_list(text: &mut String, items: &[Value], depth: usize, place: Place) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 || place == Place::Line {
            indent(text, depth);
        }
        text.push_str("- ");
        match item {
            Value::Object(inner) if !inner.is_empty() => write_map(text, inner, depth + 1, Place::Dash),
            Value::Array(inner) if !inner.is_empty() => write_list(text, inner, depth + 1, Place::Dash),
            leaf => {
                write_leaf(text, leaf, depth + 1);
                text.push('\n');
            }
        }
    }
}

fn write_key(text: &mut String, key: &str) {
    if is_plain(key) {
        text.push_str(key);
    } else {
        write_quoted(text, key);
    }
}

/// A scalar or an empty collection; `depth` is where the lines of a block would stand.
fn write_leaf(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => json::write_exact(text, number),
        Value::String(string) if is_plain(string) => text.push_str(string),
        Value::String(string) if is_literal(string) => write_literal(text, string, depth),
        Value::String(string) => write_quoted(text, string),
        Value::Array(_) => text.push_str("[]"),
        Value::Object(_) => text.push_str("{}"),
    }
}

/// Whether a string may stand bare: it begins with a letter or `/`, holds nothing that any YAML gives a meaning,
/// and is no word that some YAML reads as a boolean, a null or a number.
fn is_plain(string: &str) -> bool {
    let bytes = string.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !(first.is_ascii_alphabetic() || *first == b'/') || matches!(last, b':' | b' ') || bytes.len() > 1000 {
        return false;
    }
    let mut previous = b' ';
    for &byte in bytes {
        let fine = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'_' | b'.' | b'/' | b'@' | b'+' | b'=' | b'(' | b')' | b'~' | b'^' | b'$' | b';'
            )
            || (byte == b':' && previous != b' ')
            || (byte == b' ' && previous != b':');
        if !fine {
            return false;
        }
        previous = byte;
    }
    if bytes.len() > 5 {
        return true;
    }
    const WORDS: [&str; 11] = [
        "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf",
    ];
    !WORDS.iter().any(|word| string.eq_ignore_ascii_case(word))
}

/// Whether a string of several lines may stand as a literal block: every character is visible or a line break.
fn is_literal(string: &str) -> bool {
    // A first line that is empty or begins with a space would need an indentation indicator.
    string.contains('\n')
        && !string.starts_with([' ', '\n', '\t'])
        && string.chars().all(|character| match character {
            '\n' => true,
            // Tabs are fine inside, but a line of tabs alone is not told from an empty one by every reader.
            '\t' => true,
            '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => false,
            other => !other.is_control(),
        })
        && string
            .split('\n')
            .all(|line| line.is_empty() || !line.trim_matches([' ', '\t']).is_empty())
}

fn write_literal(text: &mut String, string: &str, depth: usize) {
    let body = string.trim_end_matches('\n');
    text.push_str(match string.len() - body.len() {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in body.split('\n') {
        text.push('\n');
        if !line.is_empty() {
            indent(text, depth);
            text.push_str(line);
        }
    }
    // The caller ends the last line; `|+` keeps every further one.
    for _ in 1..string.len() - body.len() {
        text.push('\n');
    }
}

/// A double-quoted string: JSON's escapes, and those for what YAML would read as a line break or refuse.
fn write_quoted(text: &mut String, string: &str) {
    let special = |character: char| {
        matches!(
            character,
            '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
    };
    if !string.chars().any(special) {
        json::write_string(text, string);
        return;
    }
    let mut quoted = String::new();
    json::write_string(&mut quoted, string);
    for character in quoted.chars() {
        if special(character) {
            write!(text, "\\u{:04x}", u32::from(character)).expect("a string takes everything");
        } else {
            text.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn one(text: &str) -> Value {
        read_one(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    fn refused(text: &str) -> String {
        match read(text) {
            Ok(value) => panic!("{text:?} was read as {value:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn plain_scalars_mean_what_the_api_server_takes_them_for() {
        for (text, expected) in [
            ("no", json!(false)),
            ("No", json!(false)),
            ("nO", json!("nO")),
            ("y", json!(true)),
            ("on", json!(true)),
            ("~", json!(null)),
            ("null", json!(null)),
            ("0644", json!(420)),
            ("0o644", json!(420)),
            ("012", json!(10)),
            ("08", json!(8.0)),
            ("0x1F", json!(31)),
            ("0b101", json!(5)),
            ("1_000", json!(1000)),
            ("1e3", json!(1000.0)),
            ("1e-3", json!(0.001)),
            (".5", json!(0.5)),
            ("1.", json!(1.0)),
            ("+1", json!(1)),
            ("-0", json!(0)),
            ("12:30:45", json!("12:30:45")),
            ("2024-01-01", json!("2024-01-01")),
            ("2024-01-01T00:00:00Z", json!("2024-01-01T00:00:00Z")),
            ("9223372036854775807", json!(9_223_372_036_854_775_807_i64)),
            ("9223372036854775808", json!(9_223_372_036_854_775_808_u64)),
            ("18446744073709551616", json!(18_446_744_073_709_551_616.0)),
            ("1.0", json!(1.0)),
            ("1.2.3", json!("1.2.3")),
            ("0xZZ", json!("0xZZ")),
            ("1e", json!("1e")),
            ("_1", json!("_1")),
            ("1e400", json!("1e400")),
            (".1_5", json!(0.15)),
            ("!own 12", json!("12")),
            ("-", json!("-")),
            ("'no'", json!("no")),
            ("\"0644\"", json!("0644")),
            ("!!str 0644", json!("0644")),
            ("!!int 12", json!(12)),
            ("!!float 1", json!(1)),
        ] {
            // `-` alone begins a list where a value stands, so it is asked of the resolver itself.
            let value = if text == "-" {
                match resolve(text) {
                    Resolved::Value(value) => value,
                    Resolved::Nowhere => panic!("`-` is a string"),
                }
            } else {
                one(&format!("a: {text}"))["a"].clone()
            };
            assert_eq!(value, expected, "{text}");
        }
        assert!(json::same(&one("a: 1.0"), &one("a: 1")));
    }

    /// Documents with what `sigs.k8s.io/yaml` 1.6.0, the API server's reader, made of each; null where it refused.
    const ORACLE: &str = include_str!("sigs-yaml.json");

    #[test]
    fn documents_read_as_the_api_servers_own_reader_read_them() {
        let oracle: Vec<(String, Option<String>)> = serde_json::from_str(ORACLE).unwrap();
        assert!(oracle.len() > 390);
        for (text, expected) in oracle {
            match (read_one(&text), expected) {
                (Ok(value), Some(expected)) => {
                    let expected = json::read(&expected).unwrap();
                    assert!(json::same(&value, &expected), "{text:?}: {value} against {expected}");
                }
                (Err(_), None) => {}
                (read, expected) => panic!("{text:?}: {read:?} against {expected:?}"),
            }
        }
    }

    #[test]
    fn numbers_that_json_lacks_are_refused() {
        for text in [".inf", "-.INF", ".nan"] {
            assert!(refused(&format!("a: {text}")).contains("JSON does not have"), "{text}");
        }
    }

    #[test]
    fn duplicate_keys_are_refused_with_their_line() {
        assert_eq!(refused("a: 1\nb: 2\na: 1\n"), "line 3: key `a` stands twice");
        assert_eq!(refused("true: 1\nyes: 2\n"), "line 2: key `true` stands twice");
        assert!(refused(r#"{"a": {"b": 1, "b": 1}}"#).contains("key `b` stands twice"));
        assert!(refused("{a: 1, a: 2}").contains("key `a` stands twice"));
    }

    #[test]
    fn keys_become_the_texts_that_json_has() {
        assert_eq!(
            one("1: a\nyes: b\n-0x10: c\n"),
            json!({"1": "a", "true": "b", "-16": "c"})
        );
        for key in ["1.5", "1e3", "9223372036854775808"] {
            assert!(refused(&format!("{key}: a")).contains("quote it"), "{key}");
        }
        assert!(refused("~: a").contains("key is null"));
        assert!(refused("[a]: b").contains("list or a mapping"));
    }

    #[test]
    fn anchors_and_merge_keys_are_followed() {
        let text = "base: &base {a: 1, b: 2}\nother: &other {c: 4}\n\
                    one:\n  <<: *base\n  d: 9\nmany:\n  <<: [*base, *other]\nlist: [*base]\n";
        let value = one(text);
        assert_eq!(value["one"], json!({"a": 1, "b": 2, "d": 9}));
        assert_eq!(value["many"], json!({"a": 1, "b": 2, "c": 4}));
        assert_eq!(value["list"], json!([{"a": 1, "b": 2}]));
        let twice = "base: &base {a: 1}\none: {<<: *base, a: 2}";
        assert!(refused(twice).contains("key `a` stands twice, once through"));
        assert!(refused("a: {<<: 1}").contains("only a mapping"));
        assert!(!refused("a: *nowhere").is_empty());
        assert!(refused("a: &a [*a]").contains("it stands in"));
    }

    #[test]
    fn a_billion_laughs_are_cut_short() {
        let mut text = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
        for level in 1..12 {
            let previous = format!("*a{}", level - 1);
            writeln!(text, "a{level}: &a{level} [{}]", [previous.as_str(); 9].join(", ")).unwrap();
        }
        assert!(refused(&text).contains("too large"));
    }

    #[test]
    fn depth_is_bounded_but_a_hundred_levels_are_read() {
        for (open, close) in [("[", "]"), ("{a: ", "}"), ("{\"a\":", "}")] {
            let deep = |levels: usize| format!("a: {}1{}", open.repeat(levels), close.repeat(levels));
            assert!(read(&deep(100)).is_ok(), "{open}");
            assert!(!refused(&deep(200)).is_empty(), "{open}");
            assert!(!refused(&deep(100_000)).is_empty(), "{open}");
            let deep = |levels: usize| format!("{}1{}", open.repeat(levels), close.repeat(levels));
            assert!(read(&deep(100)).is_ok(), "{open}");
            assert!(!refused(&deep(100_000)).is_empty(), "{open}");
        }
        assert!(!refused(&"- ".repeat(100_000)).is_empty());
    }

    #[test]
    fn documents_may_be_empty_and_lines_may_end_in_any_way() {
        assert_eq!(
            read("---\n---\na: 1\n---\n# nothing\n...\n---\nb: 2\n").unwrap(),
            vec![json!({"a": 1}), json!({"b": 2})]
        );
        assert_eq!(read("---").unwrap(), Vec::<Value>::new());
        assert_eq!(read("").unwrap(), Vec::<Value>::new());
        assert_eq!(
            one("\u{feff}a: 1\r\nb: |\r\n  x\r\n  y\r\n"),
            json!({"a": 1, "b": "x\ny\n"})
        );
        assert_eq!(one("\u{feff}{\"a\": 1}"), json!({"a": 1}));
        assert!(read_one("a: 1\n---\nb: 1").is_err());
    }

    #[test]
    fn strings_that_some_yaml_would_misread_are_quoted() {
        for string in [
            "no",
            "NO",
            "yes",
            "y",
            "N",
            "on",
            "off",
            "True",
            "null",
            "~",
            "",
            " ",
            "a ",
            " a",
            "0644",
            "1e3",
            "1_000",
            "12:30:45",
            "2024-01-01",
            "1.0",
            ".5",
            "-",
            "- a",
            "a: b",
            "a #b",
            "a:",
            "&a",
            "*a",
            "!a",
            "%a",
            "@a",
            "`a",
            "{a",
            "[a",
            "a, b",
            "|",
            ">",
            "<<",
            "=",
            "?",
            "? a",
            "0x1f",
            "0o17",
            "+1",
            ".inf",
            "NaN",
            "---",
            "...",
            "tab\there",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\u{7f}",
            "\r\n",
            "a\n ",
            "\n",
            "a\n\n\n",
            "  a\nb",
            "\ta\n",
            "a\n\t\nb",
            "\u{ffff}",
            "😀",
            "key: |\n  x\n",
        ] {
            let value = json!({ string: string, "list": [string, [string]], "deep": {"er": string} });
            let text = write(&value);
            assert_eq!(
                read_one(&text).unwrap_or_else(|error| panic!("{string:?}: {error}\n{text}")),
                value,
                "{text}"
            );
        }
        assert_eq!(write(&json!({"a": "no"})), "a: \"no\"\n");
        assert_eq!(write(&json!({"a": "quay.io/x/y:v1.2"})), "a: quay.io/x/y:v1.2\n");
    }

    #[test]
    fn the_normal_form_sorts_keys_and_reads_well() {
        let value = json!({
            "b": [{"y": 1, "x": [1, [2]]}, "s"],
            "a": {"script": "#!/bin/sh\necho a\n\n  b\n", "empty": {}, "none": []},
        });
        let expected = "a:\n  empty: {}\n  none: []\n  script: |\n    #!/bin/sh\n    echo a\n\n      b\n\
                        b:\n- x:\n  - 1\n  - - 2\n  \"y\": 1\n- s\n";
        assert_eq!(write(&value), expected);
        assert_eq!(one(expected), value);
    }

    #[test]
    fn a_key_too_long_for_a_simple_one_survives() {
        let key = "k".repeat(5000);
        let value = json!({ key.as_str(): {key.as_str(): [1]}, "a": [{key.as_str(): "v"}] });
        assert_eq!(one(&write(&value)), value);
    }

    fn any_string() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[-+.:0-9eExob_,#&*!|>'\"%@`{}\\[\\] a\t\n\r~?<=]{0,12}",
            "[a-z \n]{0,20}",
            prop::sample::select(vec!["no", "y", "0644", "1e3", "12:30:45", "~", "a: b", "\n\n", "<<"])
                .prop_map(String::from),
        ]
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            prop::num::f64::NORMAL.prop_map(Value::from),
            any_string().prop_map(Value::String),
        ];
        leaf.prop_recursive(5, 48, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::vec((any_string(), inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(members in prop::collection::vec((any_string(), any_value()), 1..5)) {
            let value = Value::Object(members.into_iter().collect());
            let text = write(&value);
            let back = read_one(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
            prop_assert!(json::same(&back, &value), "{text}");
            prop_assert_eq!(write(&back), text);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in any_string(), more in "[-a-z:{}\\[\\]&*<|> \n\"']{0,60}") {
            let _read = (read(&text), read(&more));
        }
    }
}

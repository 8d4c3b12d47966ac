//! Covers values that a child was given in whatever it says: a tool that echoes its token must not put it into a log or
//! a message. It knows no plan; it is given values and bytes.

use percent_encoding::utf8_percent_encode;

use crate::base::http::RESERVED;

/// What stands in the place of a value, whatever its length.
const COVER: &str = "[hidden]";

/// Bytes below which a value is none: to hide every `ok` would say more than it hides.
const LEAST: usize = 6;

/// Values, in every form that a tool could give them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redactor {
    /// Longest first: a value inside another must not leave the rest of it open.
    forms: Vec<Vec<u8>>,
}

impl Redactor {
    /// A redactor over these values. Each line of one counts for itself too: logs are lines.
    pub(crate) fn over<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut forms = Vec::new();
        for value in values {
            let whole = value.trim_end_matches(['\n', '\r']);
            for text in std::iter::once(whole).chain(whole.lines()) {
                forms.extend(forms_of(text));
            }
        }
        forms.sort_by(|left, right| right.len().cmp(&left.len()).then_with(|| left.cmp(right)));
        forms.dedup();
        Self { forms }
    }

    /// Whether there is anything to cover.
    pub(crate) fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// A text without the values.
    pub(crate) fn cover(&self, text: &str) -> String {
        let mut stream = Stream::new(self);
        let mut bytes = stream.push(text.as_bytes());
        bytes.extend(stream.end());
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn form_at(&self, bytes: &[u8]) -> Option<&Vec<u8>> {
        self.forms.iter().find(|form| bytes.starts_with(form))
    }

    /// Whether what comes next could still make this a form.
    fn may_become(&self, bytes: &[u8]) -> bool {
        self.forms
            .iter()
            .any(|form| form.len() > bytes.len() && form.starts_with(bytes))
    }
}

/// The same over bytes that come piece by piece; a value may lie across two of them.
pub(crate) struct Stream<'a> {
    redactor: &'a Redactor,
    held: Vec<u8>,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(redactor: &'a Redactor) -> Self {
        Self {
            redactor,
            held: Vec::new(),
        }
    }

    /// What can be said of what came so far.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.redactor.is_empty() {
            return bytes.to_vec();
        }
        self.held.extend_from_slice(bytes);
        self.drain(End::NotYet)
    }

    /// The rest, when nothing more comes.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        self.drain(End::Reached)
    }

    fn drain(&mut self, end: End) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.held.len());
        let mut place = 0;
        while place < self.held.len() {
            let rest = &self.held[place..];
            if end == End::NotYet && self.redactor.may_become(rest) {
                break;
            }
            match self.redactor.form_at(rest) {
                Some(form) => {
                    out.extend_from_slice(COVER.as_bytes());
                    place += form.len();
                }
                None => {
                    out.push(rest[0]);
                    place += 1;
                }
            }
        }
        self.held.drain(..place);
        out
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    Reached,
}

/// A value as it is, inside JSON, inside a URL, and in base64 wherever in a group of three it begins.
fn forms_of(value: &str) -> Vec<Vec<u8>> {
    if value.len() < LEAST {
        return Vec::new();
    }
    let json = serde_json::to_string(value).unwrap_or_default();
    let url: Vec<&str> = utf8_percent_encode(value, RESERVED).collect();
    // An escape is a part of its own.
    let lower = url.iter().map(|part| match part.strip_prefix('%') {
        Some(_) => part.to_ascii_lowercase(),
        None => (*part).to_owned(),
    });
    let (url, lower) = (url.concat(), lower.collect::<String>());
    let json = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
    let mut forms: Vec<String> = vec![
        value.to_owned(),
        json.to_owned(),
        // As Go writes JSON by default.
        json.replace('&', "\\u0026")
            .replace('<', "\\u003c")
            .replace('>', "\\u003e"),
        url.replace("%20", "+"),
        url,
        lower,
    ];
    for before in 0..3 {
        let skip = (3 - before) % 3;
        // Only whole groups are the value's alone; what shares one with its surroundings differs each time.
        let inner = value.as_bytes().get(skip..).unwrap_or_default();
        let inner = &inner[..inner.len() / 3 * 3];
        let text = crate::base::formats::json::base64(inner);
        forms.push(text.replace('+', "-").replace('/', "_"));
        forms.push(text);
    }
    forms
        .into_iter()
        .filter(|form| form.len() >= LEAST)
        .map(String::into_bytes)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::formats::json::base64;

    const VALUE: &str = "pa55/\"word+of&the=test";

    #[test]
    fn a_value_is_covered_in_every_form_and_nothing_else_is() {
        let redactor = Redactor::over([VALUE]);
        assert_eq!(redactor.cover(&format!("token={VALUE}!")), "token=[hidden]!");
        let json = serde_json::json!({ "token": VALUE }).to_string();
        assert_eq!(redactor.cover(&json), r#"{"token":"[hidden]"}"#);
        assert_eq!(redactor.cover(&json.replace('&', "\\u0026")), r#"{"token":"[hidden]"}"#);
        assert_eq!(
            redactor.cover("?t=pa55%2F%22word%2Bof%26the%3Dtest&u=pa55%2f%22word%2bof%26the%3dtest"),
            "?t=[hidden]&u=[hidden]"
        );
        for before in ["", "x", "xy"] {
            let covered = redactor.cover(&base64(format!("{before}{VALUE}").as_bytes()));
            assert!(covered.contains(COVER) && covered.len() < 20, "{covered}");
        }
        assert_eq!(redactor.cover("pa55/ is no value"), "pa55/ is no value");
    }

    #[test]
    fn a_value_that_comes_in_two_pieces_is_covered_and_every_line_of_a_key_is() {
        let redactor = Redactor::over([VALUE, "first-line-of-key\nsecond-line-of-key\n"]);
        let mut stream = Stream::new(&redactor);
        let mut said = Vec::new();
        for byte in format!("a {VALUE} b second-line-of-key c pa55").bytes() {
            said.extend(stream.push(&[byte]));
        }
        said.extend(stream.end());
        assert_eq!(String::from_utf8(said).unwrap(), "a [hidden] b [hidden] c pa55");
    }

    #[test]
    fn a_longer_value_is_covered_before_the_one_inside_it() {
        let redactor = Redactor::over(["secret", "secret-and-more"]);
        assert_eq!(redactor.cover("secret-and-more secret"), "[hidden] [hidden]");
        assert!(Redactor::over(["ab"]).is_empty());
    }
}

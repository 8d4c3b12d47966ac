//! Command lines as the real tools read them: what a command does not know ends the call.

use std::collections::BTreeMap;

/// What a command was called with.
#[derive(Debug, Default)]
pub(crate) struct Given {
    flags: BTreeMap<String, String>,
    /// Everything that is no flag.
    pub(crate) words: Vec<String>,
}

impl Given {
    /// `--flag value`, `--flag=value`, `-f` for the long name it stands for, and words; behind `--` all are words.
    pub(crate) fn read(words: &[String], valued: &[&str], bare: &[&str]) -> Result<Self, String> {
        let mut given = Self::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            if word == "--" {
                given.words.extend(rest.cloned());
                break;
            }
            let long = |short: &str| match short {
                "p" => "profile",
                "f" => "force",
                "d" => "data",
                "j" => "json",
                "y" => "tty",
                other => panic!("fake: -{other}"),
            };
            let flag = match (word.strip_prefix("--"), word.strip_prefix('-')) {
                (Some(flag), _) => flag,
                (None, Some(short)) => long(short),
                (None, None) => {
                    given.words.push(word.clone());
                    continue;
                }
            };
            let (flag, value) = match flag.split_once('=') {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => (flag, None),
            };
            let value = if bare.contains(&flag) {
                value.unwrap_or_else(|| "true".to_owned())
            } else if valued.contains(&flag) {
                value
                    .or_else(|| rest.next().cloned())
                    .ok_or(format!("flag needs an argument: --{flag}"))?
            } else {
                return Err(format!("unknown flag: --{flag}"));
            };
            given.flags.insert(flag.to_owned(), value);
        }
        Ok(given)
    }

    pub(crate) fn text(&self, flag: &str) -> Option<&str> {
        self.flags.get(flag).map(String::as_str)
    }

    pub(crate) fn number(&self, flag: &str) -> Option<u64> {
        self.text(flag).map(|value| value.parse().unwrap())
    }

    pub(crate) fn on(&self, flag: &str) -> bool {
        self.text(flag) == Some("true")
    }
}

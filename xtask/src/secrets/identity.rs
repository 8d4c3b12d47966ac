//! Age identities: where they are looked for, in which order, and what is taken for one.
//! A private key never leaves this type but into the environment or the standard input of sops and age.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::failure::{Failure, Result};

/// Where identities come from, the first that is there wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `SOPS_AGE_KEY`, the identities themselves.
    Variable,
    /// The file that `SOPS_AGE_KEY_FILE` names.
    NamedFile(Utf8PathBuf),
    /// The file that sops reads by itself.
    OwnFile(Utf8PathBuf),
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable => formatter.write_str("`SOPS_AGE_KEY`"),
            Self::NamedFile(path) => write!(formatter, "`{path}` (`SOPS_AGE_KEY_FILE`)"),
            Self::OwnFile(path) => write!(formatter, "`{path}`"),
        }
    }
}

/// The variables that decide where identities are looked for.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `SOPS_AGE_KEY_FILE`.
    pub key_file: Option<Utf8PathBuf>,
    /// Whether `SOPS_AGE_KEY` is set and not empty.
    pub has_key: bool,
    /// `XDG_CONFIG_HOME`.
    pub config: Option<Utf8PathBuf>,
    /// `HOME`.
    pub home: Option<Utf8PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let path = |name: &str| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.is_empty())
                .map(Utf8PathBuf::from)
        };
        Self {
            key_file: path("SOPS_AGE_KEY_FILE"),
            has_key: std::env::var("SOPS_AGE_KEY").is_ok_and(|key| !key.trim().is_empty()),
            config: path("XDG_CONFIG_HOME"),
            home: path("HOME"),
        }
    }

    /// The file that sops reads without being told.
    pub fn own_file(&self) -> Option<Utf8PathBuf> {
        let config = self.config.clone().or_else(|| {
            let below = if cfg!(target_os = "macos") {
                "Library/Application Support"
            } else {
                ".config"
            };
            self.home.as_ref().map(|home| home.join(below))
        })?;
        Some(config.join("sops/age/keys.txt"))
    }

    /// Where identities are looked for: `SOPS_AGE_KEY`, else `SOPS_AGE_KEY_FILE`, else sops' own file.
    pub fn place(&self) -> Option<Place> {
        if self.has_key {
            return Some(Place::Variable);
        }
        match &self.key_file {
            Some(path) => Some(Place::NamedFile(path.clone())),
            None => self.own_file().map(Place::OwnFile),
        }
    }
}

/// Private keys; deliberately neither `Debug` nor `Serialize`.
#[derive(Clone, Default)]
pub struct Identities {
    keys: Vec<Key>,
    /// Where they were found; none when there was nothing.
    pub place: Option<Place>,
}

#[derive(Clone)]
struct Key {
    text: String,
    recipient: String,
}

impl Identities {
    /// Identities with the recipient of each, in the same order.
    pub fn new(texts: Vec<String>, recipients: Vec<String>, place: Option<Place>) -> Result<Self> {
        if texts.len() != recipients.len() {
            return Err(Failure::unexpected(
                "age-keygen named another number of recipients than it was given identities",
            ));
        }
        let keys = texts
            .into_iter()
            .zip(recipients)
            .map(|(text, recipient)| Key { text, recipient })
            .collect();
        Ok(Self { keys, place })
    }

    /// No identity; `place` is where one was looked for.
    pub fn none(place: Option<Place>) -> Self {
        Self {
            keys: Vec::new(),
            place,
        }
    }

    /// Their recipients.
    pub fn recipients(&self) -> BTreeSet<String> {
        self.keys.iter().map(|key| key.recipient.clone()).collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// All of them, as sops reads them from `SOPS_AGE_KEY`.
    pub(crate) fn expose(&self) -> String {
        self.keys.iter().map(|key| format!("{}\n", key.text)).collect()
    }

    /// The one with this recipient, alone.
    pub(crate) fn only(&self, recipient: &str) -> Option<Self> {
        let key = self.keys.iter().find(|key| key.recipient == recipient)?;
        Some(Self {
            keys: vec![key.clone()],
            place: self.place.clone(),
        })
    }
}

/// What a file of keys holds.
#[derive(Default)]
pub struct Keys {
    /// Native identities, in order.
    pub native: Vec<String>,
    /// What is none, a sentence each that says the line and never what stands there.
    pub passed_over: Vec<String>,
}

/// Reads a file of keys as age and sops do, with identities of other kinds in it: those of plugins, of newer kinds,
/// recipients, SSH keys. What is no native identity is passed over by name, for the others are still good.
pub fn read(text: &str) -> Keys {
    let mut keys = Keys::default();
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if is_native(line) {
            keys.native.push(line.to_owned());
            continue;
        }
        keys.passed_over
            .push(format!("line {}: {}", index + 1, what_else(line)));
        if line.starts_with("-----BEGIN") {
            // A key of several lines is one thing.
            let _rest = lines.by_ref().find(|(_, line)| line.trim().starts_with("-----END"));
        }
    }
    keys
}

fn is_native(line: &str) -> bool {
    let body = line.strip_prefix("AGE-SECRET-KEY-1").unwrap_or_default();
    body.len() == 58
        && body
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// What a line is that is no native identity, without anything that it says.
fn what_else(line: &str) -> String {
    let upper = line.to_ascii_uppercase();
    if let Some(rest) = upper.strip_prefix("AGE-PLUGIN-") {
        // Up to the last `-` it is the name of the program, and after it what only that one understands.
        return match rest.rsplit_once("-1") {
            Some((plugin, _)) if plugin.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => {
                format!("an identity of the plugin `age-plugin-{}`", plugin.to_lowercase())
            }
            _ => "an identity of a plugin".to_owned(),
        };
    }
    let what = if upper.starts_with("AGE-SECRET-KEY-PQ-") {
        "a post-quantum identity"
    } else if upper.starts_with("AGE-SECRET-KEY-1") {
        "an identity that is cut or misspelt"
    } else if upper.starts_with("AGE-SECRET-KEY-") {
        "an identity of a kind that is not known"
    } else if line.starts_with("age1") {
        "a recipient, which is the public half of an identity"
    } else if line.starts_with("-----BEGIN AGE ENCRYPTED") || line.starts_with("age-encryption.org/") {
        "identities that are encrypted with a passphrase; `age --decrypt` gives them"
    } else if line.starts_with("-----BEGIN") || line.starts_with("ssh-") {
        "an SSH key; `ssh-to-age -private-key -i KEY` makes an identity of it"
    } else {
        "no identity"
    };
    what.to_owned()
}

/// Private identities in a text that holds nothing else, in order; comments, blank lines and Windows line ends are no
/// part of them. `place` is for messages, which never hold what the line says.
pub fn parse(text: &str, place: &impl std::fmt::Display) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with("-----BEGIN") || line.starts_with("ssh-") {
            return Err(
                Failure::preflight(format!("{place} holds an SSH key, not an age identity")).hinted(
                    "convert it: `ssh-to-age -private-key -i KEY`, or make an identity: `cargo xtask secrets init`",
                ),
            );
        }
        if line.starts_with("age1") {
            return Err(Failure::preflight(format!(
                "{place} holds a recipient on line {}, not an identity",
                index + 1
            ))
            .hinted("an identity begins with `AGE-SECRET-KEY-`; the recipient is its public half"));
        }
        if !is_native(line) {
            return Err(
                Failure::preflight(format!("line {} of {place} is no age identity", index + 1))
                    .hinted("every line is a comment or an identity as `age-keygen` prints it"),
            );
        }
        found.push(line.to_owned());
    }
    Ok(found)
}

/// Refuses a place inside the checkout: what lies there is committed sooner or later.
pub fn refuse_inside(path: &Utf8Path, root: &Utf8Path) -> Result<()> {
    let real = |path: &Utf8Path| {
        path.ancestors().find_map(|ancestor| {
            ancestor.canonicalize_utf8().ok().map(|real| {
                let rest = path.strip_prefix(ancestor).unwrap_or(Utf8Path::new(""));
                if rest.as_str().is_empty() {
                    real
                } else {
                    real.join(rest)
                }
            })
        })
    };
    match (real(path), real(root)) {
        (Some(path), Some(root)) if path.starts_with(&root) => Err(Failure::refused(format!(
            "identities at `{path}` would lie inside the checkout"
        ))
        .hinted("keep them where sops looks by itself: unset `SOPS_AGE_KEY_FILE` and run again")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(letter: char) -> String {
        format!("AGE-SECRET-{}1{}", "KEY-", letter.to_string().repeat(58))
    }

    #[test]
    fn several_identities_comments_and_windows_line_ends_are_read() {
        let text = format!("\u{feff}# created\r\n{}\r\n\r\n{}", key('Q'), key('P'));
        assert_eq!(parse(&text, &"x").unwrap(), [key('Q'), key('P')]);
    }

    #[test]
    fn what_is_no_native_identity_is_passed_over_by_line_and_kind_and_the_others_are_used() {
        let text = format!(
            "#       Serial: 1, Slot: 1\r\nAGE-PLUGIN-YUBIKEY-1QQPSYQYYQGP\n{}\nAGE-SECRET-KEY-PQ-1QQQQ\nage1xyz\n\
             -----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\nhello\n{}\n\
             AGE-PLUGIN-FIDO2-HMAC-1QQDEQ\n{}\n",
            key('Q'),
            &key('R')[..60],
            key('P')
        );
        let keys = read(&text);
        assert_eq!(keys.native, [key('Q'), key('P')]);
        assert_eq!(
            keys.passed_over,
            [
                "line 2: an identity of the plugin `age-plugin-yubikey`",
                "line 4: a post-quantum identity",
                "line 5: a recipient, which is the public half of an identity",
                "line 6: an SSH key; `ssh-to-age -private-key -i KEY` makes an identity of it",
                "line 9: no identity",
                "line 10: an identity that is cut or misspelt",
                "line 11: an identity of the plugin `age-plugin-fido2-hmac`",
            ]
        );
        assert!(read("# nothing\n\n").native.is_empty());
    }

    #[test]
    fn what_is_no_identity_is_named_by_line_and_never_by_content() {
        let secret = key('Q').to_lowercase();
        let failure = parse(&format!("# x\n{secret}\n"), &"keys.txt").unwrap_err();
        assert!(failure.chain().contains("line 2 of keys.txt"), "{}", failure.chain());
        assert!(!failure.chain().contains(&secret[20..]));
        let failure = parse("-----BEGIN OPENSSH PRIVATE KEY-----\n", &"k").unwrap_err();
        assert!(failure.chain().contains("SSH key"));
    }

    #[test]
    fn the_variable_goes_before_the_named_file_and_that_before_the_own_one() {
        let mut around = Surroundings {
            home: Some("/home/a".into()),
            ..Default::default()
        };
        assert!(matches!(around.place(), Some(Place::OwnFile(path)) if path.as_str().ends_with("sops/age/keys.txt")));
        around.config = Some("/c".into());
        assert_eq!(around.place(), Some(Place::OwnFile("/c/sops/age/keys.txt".into())));
        around.key_file = Some("/k".into());
        assert_eq!(around.place(), Some(Place::NamedFile("/k".into())));
        around.has_key = true;
        assert_eq!(around.place(), Some(Place::Variable));
    }
}

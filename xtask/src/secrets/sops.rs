//! The SOPS client at which secrets are worked on: the checkout, its lock, and sops and age told exactly what to use.
//! Neither tool reads the user's own settings; values pass through memory only.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use super::RULES;
use super::identity::{self, Identities, Place, Surroundings};
use crate::base::failure::{Failure, Kind, Result};
use crate::base::formats::{json, yaml};
use crate::base::lock::HostLock;
use crate::base::process::redact::Redactor;
use crate::base::root::STATE;
use crate::base::transaction;
use crate::base::ui::{Status, Ui};
use crate::call::Caller;
use crate::command::{Arg, Command, Tool};
use crate::context::{Checkout, Context};
use crate::tool::Tools;

/// The SOPS client.
pub struct SopsClient<'a> {
    /// Where things are said.
    pub ui: &'a Ui,
    /// The checkout that is worked on.
    pub checkout: &'a Checkout,
    /// Tokens that were handed in, by the variable that the platform config names for each.
    pub handed: BTreeMap<String, String>,
    context: &'a Context,
    tools: Tools,
}

/// Keeps a second change of secrets away; goes with its holder.
pub struct Held {
    _lock: HostLock,
}

impl<'a> SopsClient<'a> {
    /// Finds sops and age.
    pub fn open(context: &'a Context, checkout: &'a Checkout) -> Result<Self> {
        let kubernetes = checkout.platform.versions.get("kubernetes").map_or("", String::as_str);
        let tools = context.toolbox(kubernetes).ensure(&[Tool::Sops, Tool::AgeKeygen])?;
        Ok(Self {
            ui: &context.ui,
            checkout,
            handed: BTreeMap::new(),
            context,
            tools,
        })
    }

    /// Takes the lock for a change, and finishes a change that a crash cut off.
    pub fn hold(&self, goal: &str) -> Result<Held> {
        let lock = HostLock::take(&self.checkout.root, transaction::LOCK, goal)?;
        if transaction::recover(&self.checkout.root)? {
            self.ui.status(
                Status::Using,
                "up a change of secrets that was cut off; it is complete now",
            );
        }
        Ok(Held { _lock: lock })
    }

    fn caller(&self) -> Caller<'_> {
        Caller::new(
            &self.checkout.root,
            self.ui,
            &self.tools,
            &self.context.interrupt,
            |_, variable| {
                Err(Failure::unexpected(format!(
                    "`{variable}` is asked for where secrets are worked on, and no command there takes one"
                )))
            },
        )
    }

    /// The identities of this person or runner; none where there is no file of them.
    pub fn identities(&self) -> Result<Identities> {
        self.identities_at(Surroundings::of_process().place())
    }

    fn identities_at(&self, place: Option<Place>) -> Result<Identities> {
        load(&self.caller(), place)
    }

    /// Private identities with the recipient of each.
    pub fn with_recipients(&self, texts: Vec<String>, place: Option<Place>) -> Result<Identities> {
        with_recipients(&self.caller(), texts, place)
    }

    /// A new identity, with its text for a file of keys.
    pub fn new_identity(&self) -> Result<(String, Identities)> {
        new_identity(&self.caller())
    }

    /// The encrypted text of a document for the recipients that a folder's rules choose for a path.
    pub fn encrypt(&self, rules: &Utf8Path, path: &Utf8Path, document: &Value) -> Result<String> {
        let command = sops(rules)
            .args([
                "encrypt",
                "--input-type=yaml",
                "--output-type=yaml",
                "--filename-override",
            ])
            .arg(Arg::Path(rules.join(path)));
        let plain = yaml::write(document);
        match self.caller().feed(&command, plain.as_bytes(), &[])? {
            Ok(bytes) => {
                String::from_utf8(bytes).map_err(|_| Failure::unexpected("sops wrote something that is not UTF-8"))
            }
            Err(tail) => {
                // sops could quote what it was given.
                let mut values = Vec::new();
                leaves(document, &mut values);
                let redactor = Redactor::over(values);
                let tail: Vec<String> = tail.iter().map(|line| redactor.cover(line)).collect();
                Err(said(&format!("cannot encrypt `{path}`"), &tail))
            }
        }
    }

    /// What a file holds.
    pub fn decrypt(&self, path: &Utf8Path, identities: &Identities) -> Result<Value> {
        decrypt(&self.caller(), path, identities)
    }

    /// Makes a file of a folder readable for exactly those whom the folder's rules name.
    pub fn update_keys(&self, folder: &Utf8Path, path: &Utf8Path, identities: &Identities) -> Result<()> {
        let command = sops(folder)
            .args(["updatekeys", "--yes"])
            .arg(Arg::Path(folder.join(path)));
        self.change(&command, path, identities)
    }

    /// Encrypts every value of a file anew, under a new data key.
    pub fn new_data_key(&self, folder: &Utf8Path, path: &Utf8Path, identities: &Identities) -> Result<()> {
        let command = sops(folder)
            .args(["rotate", "--in-place"])
            .arg(Arg::Path(folder.join(path)));
        self.change(&command, path, identities)
    }

    fn change(&self, command: &Command, path: &Utf8Path, identities: &Identities) -> Result<()> {
        match self
            .caller()
            .feed(command, b"", &[("SOPS_AGE_KEY", identities.expose())])?
        {
            Ok(_) => Ok(()),
            Err(tail) => Err(cannot_read(path, identities, &tail)),
        }
    }

    /// Opens a file in the person's editor, through sops; sops' exit status.
    pub fn edit(&self, path: &Utf8Path, editor: &str, identities: &Identities) -> Result<u8> {
        let own = crate::base::process::current_exe()?;
        let shim = format!("{} secrets run-editor", crate::command::quote(own.as_str()));
        let command = sops(Utf8Path::new(""))
            .env("SOPS_EDITOR", shim)
            .env("XTASK_EDITOR", editor)
            .env("HOME", std::env::var("HOME").unwrap_or_default())
            .arg("edit")
            .arg(Arg::Path(path.to_owned()));
        self.caller()
            .hand_over(&command, &[("SOPS_AGE_KEY", identities.expose())])
    }
}

/// Every text of a document.
fn leaves<'a>(document: &'a Value, into: &mut Vec<&'a str>) {
    match document {
        Value::String(text) => into.push(text),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, into)),
        Value::Object(map) => map.values().for_each(|member| leaves(member, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// sops with the rules of a folder, and nothing of the user's.
fn sops(folder: &Utf8Path) -> Command {
    let home = Utf8Path::new(STATE).join("secrets/home");
    Command::new(Tool::Sops)
        .arg("--config")
        .arg(Arg::Path(folder.join(RULES)))
        .env("HOME", home.clone())
        .env("XDG_CONFIG_HOME", home)
        .env("SOPS_DISABLE_VERSION_CHECK", "1")
}

/// What a file of the checkout holds, in memory.
pub(crate) fn decrypt(caller: &Caller<'_>, path: &Utf8Path, identities: &Identities) -> Result<Value> {
    let command = sops(Utf8Path::new(""))
        .args(["decrypt", "--input-type=yaml", "--output-type=json"])
        .arg(Arg::Path(path.to_owned()));
    match caller.feed(&command, b"", &[("SOPS_AGE_KEY", identities.expose())])? {
        Ok(bytes) => {
            let text =
                String::from_utf8(bytes).map_err(|_| Failure::unexpected("sops wrote something that is not UTF-8"))?;
            // serde's message could quote what it could not read.
            json::read(&text).map_err(|_| Failure::unexpected(format!("what sops decrypted from `{path}` is no JSON")))
        }
        Err(tail) => Err(cannot_read(path, identities, &tail)),
    }
}

/// The identities at a place; none where there is no file.
pub(crate) fn load(caller: &Caller<'_>, place: Option<Place>) -> Result<Identities> {
    let Some(place) = place else {
        return Ok(Identities::default());
    };
    let text = match &place {
        Place::Variable => std::env::var("SOPS_AGE_KEY").unwrap_or_default(),
        Place::NamedFile(path) | Place::OwnFile(path) => match fs_err::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Identities::default()),
            Err(error) => return Err(Failure::preflight(format!("{place} cannot be read: {}", error.kind()))),
        },
    };
    let keys = identity::read(&text);
    for words in &keys.passed_over {
        pass_over(caller, format!("{place}, {words}: passed over"));
    }
    if let Ok(identities) = with_recipients(caller, keys.native.clone(), Some(place.clone())) {
        return Ok(identities);
    }
    // One of them has a slip that only age sees; the others are still good.
    let mut good = Vec::new();
    for (index, text) in keys.native.into_iter().enumerate() {
        match with_recipients(caller, vec![text.clone()], None) {
            Ok(_) => good.push(text),
            Err(_) => pass_over(
                caller,
                format!(
                    "{place}, identity {} in it: age does not take it, a character may be lost",
                    index + 1
                ),
            ),
        }
    }
    with_recipients(caller, good, Some(place))
}

/// Names what is passed over, once in a run: identities are looked for by several steps.
fn pass_over(caller: &Caller<'_>, words: String) {
    static NAMED: std::sync::Mutex<BTreeSet<String>> = std::sync::Mutex::new(BTreeSet::new());
    let mut named = NAMED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if named.insert(words.clone()) {
        caller.ui.status(Status::Warning, words);
    }
}

/// Private identities with the recipient of each, which age itself says.
pub(crate) fn with_recipients(caller: &Caller<'_>, texts: Vec<String>, place: Option<Place>) -> Result<Identities> {
    if texts.is_empty() {
        return Ok(Identities::none(place));
    }
    let command = Command::new(Tool::AgeKeygen).arg("-y");
    let text = texts.iter().map(|text| format!("{text}\n")).collect::<String>();
    match caller.feed(&command, text.as_bytes(), &[])? {
        Ok(bytes) => {
            let recipients = String::from_utf8_lossy(&bytes).lines().map(ToOwned::to_owned).collect();
            Identities::new(texts, recipients, place)
        }
        // age quotes the line that it cannot read, and that is a private key with a slip in it.
        Err(_) => Err(Failure::preflight(match place {
            Some(place) => format!("age does not take what {place} holds for an identity"),
            None => "age does not take this for an identity".to_owned(),
        })
        .hinted("a character may be lost; an identity is a whole line as `age-keygen` prints it")),
    }
}

/// A new identity, with its text for a file of keys.
pub(crate) fn new_identity(caller: &Caller<'_>) -> Result<(String, Identities)> {
    let command = Command::new(Tool::AgeKeygen);
    match caller.feed(&command, b"", &[])? {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let texts = identity::parse(&text, &"the output of age-keygen")?;
            Ok((text, with_recipients(caller, texts, None)?))
        }
        Err(tail) => Err(said("cannot make an age identity", &tail)),
    }
}

fn said(what: &str, tail: &[String]) -> Failure {
    let lines: Vec<&str> = tail
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty())
        .collect();
    Failure::new(Kind::Step, format!("{what}: {}", lines.join("\n    ")))
}

/// Why sops could not read a file, with what can be done about it.
fn cannot_read(path: &Utf8Path, identities: &Identities, tail: &[String]) -> Failure {
    let all = tail.join("\n");
    if all.contains("MAC mismatch")
        || all.contains("message authentication failed")
        || all.contains("Could not decrypt value")
    {
        return Failure::new(
            Kind::Step,
            format!("`{path}` was changed by other than sops: its authentication code does not fit"),
        )
        .hinted(format!("restore it: git checkout -- {path}"));
    }
    if all.contains("Failed to get the data key")
        || all.contains("no identity matched")
        || all.contains("no master key")
    {
        let held = identities.recipients();
        let failure = Failure::preflight(format!("`{path}` is encrypted to others"));
        let failure = match &identities.place {
            Some(place) if !held.is_empty() => failure.hinted(format!(
                "{place} holds {}",
                held.into_iter().collect::<Vec<_>>().join(", ")
            )),
            _ => failure.hinted("there is no identity: set `SOPS_AGE_KEY`, or `cargo xtask secrets init` makes one"),
        };
        return failure
            .hinted("`cargo xtask secrets list` says who can read it; one of them adds you: `secrets rotate --add`");
    }
    said(&format!("sops cannot work on `{path}`"), tail)
}

/// A path as the command line gave it, relative to the root.
pub fn relative(root: &Utf8Path, given: &Utf8Path) -> Utf8PathBuf {
    given.strip_prefix(root).unwrap_or(given).to_owned()
}

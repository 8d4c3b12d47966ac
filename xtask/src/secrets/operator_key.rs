//! Finds the one identity that a cluster's operator gets, and hands it to kubectl on standard input. Where nothing
//! decrypts, that is a new one: a person's own stays out of a store that is not needed.
//! It is in no file, argument, log, journal or message; people see its recipient.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::identity::{Identities, Surroundings};
use super::{KEY, OPERATOR, PENDING, SECRET, sops};
use crate::base::failure::{Failure, Kind, Result};
use crate::base::formats::json::base64;
use crate::base::ui::Status;
use crate::call::Caller;
use crate::cluster::vm::trust::decode;
use crate::command::{Command, Tool};

/// Looks which identity a cluster's operator has, in memory, and writes down what was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FindOperatorKey {
    /// Whose identity it should be.
    pub key: OperatorKey,
    /// Reads the Secret, prints nothing when there is none.
    pub read: Command,
    /// JSON file `{ "right": bool, "pending": bool }`: whether it has it, and whether it still has to take it up.
    pub to: Utf8PathBuf,
}

impl FindOperatorKey {
    /// Carries the task out, again where the API server was out of reach for a moment.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        on.patiently(&self.read, || {
            let (live, pending) = live_key(on, &self.read)?;
            let right = self.key.is_right(&live);
            on.write_json(&self.to, &Found { right, pending })
        })
    }
}

/// Puts the identity that the platform config names into a cluster, from memory, unless it is there; the private key is in no
/// plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PutOperatorKey {
    /// Whose identity.
    pub key: OperatorKey,
    /// Reads the Secret, prints nothing when there is none.
    pub read: Command,
    /// Makes the Secret that it reads on standard input.
    pub put: Command,
    /// Writes it in the place of one that is there, so that nothing of that one stays.
    pub replace: Command,
    /// What `FindOperatorKey` wrote, as it is then.
    pub to: Utf8PathBuf,
}

/// Whose identity a cluster gets, as far as a plan may know it: by its recipient. No private key and no path of this
/// host is in a plan; both are found while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OperatorKey {
    /// Name in the platform config.
    pub name: String,
    /// Its recipient.
    pub recipient: String,
    /// Which identity the cluster gets.
    pub choice: IdentityChoice,
}

/// Which identity a cluster gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum IdentityChoice {
    /// The one that is named; where it is not found, the step fails before anything is written.
    Named,
    /// A new identity, made for this cluster alone, also where the one that is named is found: nothing decrypts there.
    ThrowAway,
}

/// What the cluster has.
enum Live {
    Nothing,
    /// Something that is no single age identity.
    Unusable,
    Recipient(String),
}

/// What was found of it, for the steps that come after.
#[derive(Debug, Clone, Copy, Serialize)]
struct Found {
    /// It is the identity that the platform config names; or, where a throw-away one is right, any other.
    right: bool,
    /// The operator has yet to take it up.
    pending: bool,
}

impl PutOperatorKey {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let key = &self.key;
        let (before, pending) = live_key(on, &self.read)?;
        if key.is_right(&before) {
            // A run that was cut off put it there and could not say so.
            return on.write_json(&self.to, &Found { right: true, pending });
        }
        let (identity, words) = match key.choice {
            IdentityChoice::Named => {
                let Some(identity) = key.identity(on)? else {
                    return Err(key.not_found(on)?);
                };
                let place = identity.place.as_ref().map(ToString::to_string).unwrap_or_default();
                (identity, format!("`{}` ({}) from {place}", key.name, key.recipient))
            }
            IdentityChoice::ThrowAway => {
                let (_, identity) = sops::new_identity(on)?;
                let recipient: Vec<String> = identity.recipients().into_iter().collect();
                let words = format!(
                    "a throw-away identity ({}), for nothing is decrypted on this cluster",
                    recipient.join("")
                );
                (identity, words)
            }
        };
        let exchanged = !matches!(before, Live::Nothing);
        let secret = manifest(&identity, exchanged);
        let text = serde_json::to_vec(&secret).map_err(|_| Failure::unexpected("cannot write the Secret"))?;
        let write = if exchanged { &self.replace } else { &self.put };
        match on.feed(write, &text, &[])? {
            Ok(_) => {
                on.ui.status(Status::Using, format!("the operator's identity: {words}"));
                on.write_json(
                    &self.to,
                    &Found {
                        right: true,
                        pending: exchanged,
                    },
                )
            }
            // What kubectl complains of could quote what it was given.
            Err(tail) => Err(Failure::new(
                Kind::Step,
                format!("cannot write Secret `{OPERATOR}/{SECRET}`: {}", last(&tail, &identity)),
            )),
        }
    }
}

impl OperatorKey {
    /// Tells which recipient an identity has.
    pub const TOOL: Tool = Tool::AgeKeygen;

    fn is_right(&self, live: &Live) -> bool {
        match live {
            Live::Recipient(recipient) => match self.choice {
                IdentityChoice::Named => *recipient == self.recipient,
                IdentityChoice::ThrowAway => *recipient != self.recipient,
            },
            Live::Nothing | Live::Unusable => false,
        }
    }

    fn identity(&self, on: &Caller<'_>) -> Result<Option<Identities>> {
        Ok(sops::load(on, Surroundings::of_process().place())?.only(&self.recipient))
    }

    fn not_found(&self, on: &Caller<'_>) -> Result<Failure> {
        let around = Surroundings::of_process();
        let place = around.place();
        let found = sops::load(on, place.clone())?.recipients();
        let failure = Failure::preflight(format!(
            "the identity `{}` ({}) was not found",
            self.name, self.recipient
        ));
        let failure = match place {
            Some(place) if found.is_empty() => failure.hinted(format!("{place} holds none")),
            Some(place) => failure.hinted(format!(
                "{place} holds {}",
                found.into_iter().collect::<Vec<_>>().join(", ")
            )),
            None => failure,
        };
        Ok(failure.hinted("set `SOPS_AGE_KEY` or `SOPS_AGE_KEY_FILE`, in this order of precedence, or put it into sops' own file of keys"))
    }
}

/// The identity that the cluster has, and whether its operator has yet to take it up.
fn live_key(on: &Caller<'_>, read: &Command) -> Result<(Live, bool)> {
    let printed = match on.feed(read, b"", &[])? {
        Ok(printed) => printed,
        // What could not be read is not nothing: an operator would go on with another identity than the Secret's.
        Err(tail) => {
            return Err(Failure::new(
                Kind::Step,
                format!(
                    "cannot read Secret `{OPERATOR}/{SECRET}`: {}",
                    tail.last().map_or("kubectl says nothing", String::as_str)
                ),
            )
            .hinted("the credentials of the kubeconfig need `get` and `patch` on Secrets of that namespace"));
        }
    };
    if printed.iter().all(u8::is_ascii_whitespace) {
        return Ok((Live::Nothing, false));
    }
    let secret: Value = serde_json::from_slice(&printed)
        .map_err(|_| Failure::unexpected("kubectl printed a Secret that is no JSON"))?;
    let annotations = secret.pointer("/metadata/annotations");
    let pending = annotations.and_then(|all| all.get(PENDING)).is_some();
    Ok((identity_in(on, &secret), pending))
}

fn identity_in(on: &Caller<'_>, secret: &Value) -> Live {
    let data = secret.get("data").and_then(Value::as_object);
    // The operator's folder has a file a key, and one identity is all that it may find there.
    let text = data
        .filter(|data| data.len() == 1)
        .and_then(|data| data.get(KEY))
        .and_then(Value::as_str)
        .and_then(decode)
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(text) = text else {
        return Live::Unusable;
    };
    let Ok(texts) = super::identity::parse(&text, &"the Secret") else {
        return Live::Unusable;
    };
    if texts.len() != 1 {
        return Live::Unusable;
    }
    let Ok(identity) = sops::with_recipients(on, texts, None) else {
        return Live::Unusable;
    };
    identity
        .recipients()
        .into_iter()
        .next()
        .map_or(Live::Unusable, Live::Recipient)
}

fn manifest(identity: &Identities, exchanged: bool) -> Value {
    let annotations = if exchanged {
        json!({PENDING: "pending"})
    } else {
        json!({})
    };
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": SECRET, "namespace": OPERATOR, "annotations": annotations},
        "data": {KEY: base64(identity.expose().as_bytes())},
    })
}

/// The last line of a complaint, unless it holds what must not be shown.
fn last(tail: &[String], identity: &Identities) -> String {
    let text = identity.expose();
    let encoded = base64(text.as_bytes());
    match tail.last() {
        Some(line) if !line.contains(text.trim()) && !line.contains(&encoded) && !line.contains("AGE-SECRET") => {
            line.clone()
        }
        _ => "kubectl's words are not shown, they hold the key".to_owned(),
    }
}

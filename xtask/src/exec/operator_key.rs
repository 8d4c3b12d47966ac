//! Finds the one identity that a cluster's operator gets, and hands it to kubectl on standard input.
//! It is in no file, argument, log, journal or message; people see its recipient.

use camino::Utf8Path;
use serde::Serialize;
use serde_json::{Value, json};

use super::Runner;
use crate::base::failure::{Failure, Kind, Result};
use crate::base::files::write;
use crate::base::formats::json::base64;
use crate::base::ui::Word;
use crate::cluster::vm::trust::decode;
use crate::plan::{Command, OperatorKey, Otherwise};
use crate::secrets::identity::{Identities, Surroundings};
use crate::secrets::sops;
use crate::secrets::{KEY, OPERATOR, PENDING, SECRET};

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
    /// It is the identity that the facts name; or, where that is not at hand and need not be, any one.
    right: bool,
    /// The operator has yet to take it up.
    pending: bool,
}

impl Runner<'_> {
    /// Looks which identity the cluster has, and writes down what was found.
    pub(super) fn look_for_key(&self, key: &OperatorKey, read: &Command, to: &Utf8Path) -> Result<()> {
        let (live, pending) = self.live_key(read)?;
        let right = self.is_right(key, &live)?;
        self.found(to, Found { right, pending })
    }

    /// Puts the identity in, unless it is there.
    pub(super) fn put_operator_key(
        &self,
        key: &OperatorKey,
        read: &Command,
        put: &Command,
        replace: &Command,
        to: &Utf8Path,
    ) -> Result<()> {
        let (before, pending) = self.live_key(read)?;
        if self.is_right(key, &before)? {
            // A run that was cut off put it there and could not say so.
            return self.found(to, Found { right: true, pending });
        }
        let (identity, words) = match self.identity_of(key)? {
            Some(identity) => {
                let place = identity.place.as_ref().map(ToString::to_string).unwrap_or_default();
                (identity, format!("`{}` ({}) from {place}", key.name, key.recipient))
            }
            None if key.otherwise == Otherwise::ThrowAway => {
                let (_, identity) = sops::new_identity(self)?;
                let recipient: Vec<String> = identity.recipients().into_iter().collect();
                let words = format!(
                    "a throw-away identity ({}), for `{}` is not at hand and nothing is decrypted on this cluster",
                    recipient.join(""),
                    key.name
                );
                (identity, words)
            }
            None => return Err(self.not_at_hand(key)?),
        };
        let exchanged = !matches!(before, Live::Nothing);
        let secret = manifest(&identity, exchanged);
        let text = serde_json::to_vec(&secret).map_err(|_| Failure::unexpected("cannot write the Secret"))?;
        let write = if exchanged { replace } else { put };
        match self.feed(write, &text, &[])? {
            Ok(_) => {
                let word = if matches!(key.otherwise, Otherwise::ThrowAway) && !words.starts_with('`') {
                    Word::Warning
                } else {
                    Word::Taking
                };
                self.ui.status(word, format!("the operator's identity: {words}"));
                self.found(
                    to,
                    Found {
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

    fn is_right(&self, key: &OperatorKey, live: &Live) -> Result<bool> {
        Ok(match live {
            Live::Recipient(recipient) if *recipient == key.recipient => true,
            Live::Recipient(_) => key.otherwise == Otherwise::ThrowAway && self.identity_of(key)?.is_none(),
            Live::Nothing | Live::Unusable => false,
        })
    }

    fn found(&self, to: &Utf8Path, found: Found) -> Result<()> {
        let text = serde_json::to_vec(&found).map_err(|_| Failure::unexpected("cannot write what was found"))?;
        write(&self.root.join(to), &text, 0o600)
    }

    fn identity_of(&self, key: &OperatorKey) -> Result<Option<Identities>> {
        Ok(sops::load(self, Surroundings::of_process().place())?.only(&key.recipient))
    }

    fn not_at_hand(&self, key: &OperatorKey) -> Result<Failure> {
        let around = Surroundings::of_process();
        let place = around.place();
        let found = sops::load(self, place.clone())?.recipients();
        let failure = Failure::preflight(format!(
            "the identity `{}` ({}) is not at hand",
            key.name, key.recipient
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

    /// The identity that the cluster has, and whether its operator has yet to take it up.
    fn live_key(&self, read: &Command) -> Result<(Live, bool)> {
        let printed = match self.feed(read, b"", &[])? {
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
        Ok((self.identity_in(&secret), pending))
    }

    fn identity_in(&self, secret: &Value) -> Live {
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
        let Ok(texts) = crate::secrets::identity::parse(&text, &"the Secret") else {
            return Live::Unusable;
        };
        if texts.len() != 1 {
            return Live::Unusable;
        }
        let Ok(identity) = sops::with_recipients(self, texts, None) else {
            return Live::Unusable;
        };
        identity
            .recipients()
            .into_iter()
            .next()
            .map_or(Live::Unusable, Live::Recipient)
    }
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

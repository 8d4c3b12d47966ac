//! Finds a token by its variable: in the environment, or else in the checkout's own encrypted secrets.
//! The value stays in memory; it is in no plan, file, argument or message.

use std::collections::BTreeMap;

use super::identity::Surroundings;
use super::{document, sops};
use crate::base::failure::{Failure, Result};
use crate::call::Caller;
use crate::platform::RequiredSecret;

/// The token that a variable names.
pub fn find(caller: &Caller<'_>, variable: &str) -> Result<String> {
    if let Some(value) = given(variable)? {
        return Ok(value);
    }
    let platform = crate::platform::config(caller.root)?;
    // A secret of a host may hold the token of another project under the same variable.
    let secrets: Vec<(&RequiredSecret, &String)> = platform
        .secrets
        .required
        .iter()
        .filter(|secret| !secret.clusters.is_empty())
        .flat_map(|secret| secret.keys.iter().map(move |(key, source)| (secret, key, source)))
        .filter(|(.., source)| source.variable.as_deref() == Some(variable))
        .map(|(secret, key, _)| (secret, key))
        .collect();
    let identities = sops::load(caller, Surroundings::of_process().place())?;
    let mut values: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (secret, key) in secrets
        .iter()
        .filter(|(secret, _)| caller.root.join(&secret.file).exists())
    {
        let decrypted = sops::decrypt(caller, &secret.file, &identities)?;
        if let Some(value) = document::value(&decrypted, key) {
            values.entry(value.to_owned()).or_default().push(&secret.id);
        }
    }
    let mut values = values.into_iter();
    match (values.next(), values.next()) {
        (Some((value, _)), None) => Ok(value),
        (None, _) => {
            let ids: Vec<&str> = secrets.iter().map(|(secret, _)| secret.id.as_str()).collect();
            let failure = Failure::preflight(format!(
                "variable `{variable}` is not set, and no secret of the checkout holds its value"
            ))
            .hinted(format!("export `{variable}` and run again"));
            Err(match ids.first() {
                Some(id) => failure.hinted(format!("or keep it encrypted: `cargo xtask secrets set {id}`")),
                None => failure,
            })
        }
        (Some((_, one)), Some((_, other))) => Err(Failure::preflight(format!(
            "variable `{variable}` is not set, and secrets {} and {} of the checkout hold different values of it",
            one.join(", "),
            other.join(", ")
        ))
        .hinted(format!("export `{variable}` to say which is meant"))),
    }
}

/// A token from the environment, without the newline that a shell or a clipboard put at its end.
fn given(variable: &str) -> Result<Option<String>> {
    let value = std::env::var(variable).unwrap_or_default();
    let token = value.trim_end_matches(['\n', '\r']);
    if token.trim() != token || token.chars().any(char::is_control) {
        return Err(Failure::preflight(format!(
            "variable `{variable}` has a blank at an end or a control character inside, which no token has"
        ))
        .hinted(format!("export `{variable}` as it was issued, and run again")));
    }
    Ok(Some(token.to_owned()).filter(|token| !token.is_empty()))
}

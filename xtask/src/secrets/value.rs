//! Values: how each comes to be, by the kind that the platform config names.
//! A value is never printed; what a person is told is a description and a public half.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Read};

use camino::Utf8PathBuf;

use super::sops::SopsClient;
use super::{identity, pki, ssh};
use crate::base::failure::{Failure, Kind, Result};
use crate::base::ui::Status;
use crate::platform::{Platform, RequiredSecret, SecretKind, SecretSource};

/// Bytes of a generated value; 256 bits are out of reach for ever.
const BYTES: usize = 32;

/// A printable random value.
pub fn random() -> Result<String> {
    let mut bytes = [0_u8; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Failure::unexpected(format!("no randomness: {error}")))?;
    Ok(crate::base::formats::json::base64(&bytes)
        .replace('+', "-")
        .replace('/', "_")
        .replace('=', ""))
}

/// What was made for a secret: its values, and public files that belong to them.
#[derive(Default)]
pub struct Made {
    /// Values by key.
    pub values: BTreeMap<String, String>,
    /// Public files (certificates, public halves), relative to the root.
    pub public: Vec<(Utf8PathBuf, String)>,
    /// The recipient of a machine's new identity.
    pub recipient: Option<String>,
}

/// Where the values come from that a person gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// A named variable, else a prompt.
    VariableOrPrompt,
    /// Standard input, whole.
    Stdin,
}

/// Makes values for these keys of a secret. None when a value has to be asked for and nobody can answer.
pub fn make(
    sops_client: &SopsClient<'_>,
    secret: &RequiredSecret,
    keys: &[&str],
    given: Given,
) -> Result<Option<Made>> {
    let mut made = Made::default();
    let mut authority = None;
    for key in keys {
        let source = &secret.keys[*key];
        let value = if given == Given::Stdin {
            from_stdin(sops_client, source)?
        } else {
            match source.kind {
                SecretKind::Asked => match ask(sops_client, secret, key, source)? {
                    Some(value) => value,
                    None => return Ok(None),
                },
                SecretKind::Generated => random()?,
                SecretKind::SshKey => {
                    let pair = ssh::generate(&format!("{}@{}", secret.name, sops_client.checkout.platform.name))?;
                    made.public.push((public_half(secret), pair.public));
                    pair.private
                }
                SecretKind::AgeIdentity => {
                    let (text, identity) = sops_client.new_identity()?;
                    made.recipient = identity.recipients().into_iter().next();
                    text
                }
                SecretKind::StepCaRootKey | SecretKind::StepCaIntermediateKey => {
                    if authority.is_none() {
                        authority = Some(pki::generate(&sops_client.checkout.platform.name, pki::today())?);
                    }
                    let authority = authority.as_ref().expect("it was just made");
                    if source.kind == SecretKind::StepCaRootKey {
                        authority.root_key.clone()
                    } else {
                        authority.intermediate_key.clone()
                    }
                }
            }
        };
        if source.kind == SecretKind::AgeIdentity && given == Given::Stdin {
            let texts = identity::parse(&value, &"standard input")?;
            made.recipient = sops_client
                .with_recipients(texts, None)?
                .recipients()
                .into_iter()
                .next();
        }
        made.values.insert((*key).to_owned(), value);
    }
    if let Some(authority) = authority {
        let folder = pki::folder(&sops_client.checkout.root);
        made.public
            .push((folder.join(pki::ROOT_CERTIFICATE), authority.root_certificate));
        made.public.push((
            folder.join(pki::INTERMEDIATE_CERTIFICATE),
            authority.intermediate_certificate,
        ));
    }
    Ok(Some(made))
}

/// Whether both keys of the authority are in this secret, or none: one alone cannot be made.
pub fn authority_is_whole(secret: &RequiredSecret, keys: &[&str]) -> bool {
    let has = |kind: SecretKind| keys.iter().any(|key| secret.keys[*key].kind == kind);
    has(SecretKind::StepCaRootKey) == has(SecretKind::StepCaIntermediateKey)
}

/// The public half of an SSH key lies beside its secret.
fn public_half(secret: &RequiredSecret) -> Utf8PathBuf {
    let name = secret
        .file
        .file_name()
        .unwrap_or_default()
        .trim_end_matches(".enc.yaml");
    secret.file.with_file_name(format!("{name}.pub"))
}

fn ask(
    sops_client: &SopsClient<'_>,
    secret: &RequiredSecret,
    key: &str,
    source: &SecretSource,
) -> Result<Option<String>> {
    if let Some(name) = &source.variable
        && let Some(value) = sops_client
            .handed
            .get(name)
            .cloned()
            .or_else(|| std::env::var(name).ok())
        && !value.trim().is_empty()
    {
        let value = clean(sops_client, &value, &format!("`{name}`"))?;
        sops_client
            .ui
            .status(Status::Using, format!("`{}` of `{}` from `{name}`", key, secret.id));
        return Ok(Some(value));
    }
    match sops_client.ui.read_secret(&format!(
        "{} ({}, key {key}; empty to leave it out): ",
        source.description, secret.id
    ))? {
        Some(line) if line.is_empty() => Ok(None),
        Some(line) => clean(sops_client, &line, "what was typed").map(Some),
        None => Ok(None),
    }
}

fn from_stdin(sops_client: &SopsClient<'_>, source: &SecretSource) -> Result<String> {
    let mut bytes = Vec::new();
    // A mebibyte is what an object of Kubernetes may hold.
    std::io::stdin().lock().take(1 << 20).read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(|_| Failure::new(Kind::Usage, "standard input is not UTF-8"))?;
    match source.kind {
        // Keys are files of several lines and keep their last newline.
        SecretKind::SshKey
        | SecretKind::StepCaRootKey
        | SecretKind::StepCaIntermediateKey
        | SecretKind::AgeIdentity => {
            if text.trim().is_empty() {
                return Err(Failure::new(Kind::Usage, "standard input is empty"));
            }
            Ok(text)
        }
        SecretKind::Asked | SecretKind::Generated => clean(sops_client, &text, "standard input"),
    }
}

/// Tokens from standard input, `VARIABLE=VALUE` a line, as a file of an environment has them.
pub fn handed(platform: &Platform, input: impl BufRead) -> Result<BTreeMap<String, String>> {
    let known: BTreeSet<&str> = platform
        .secrets
        .required
        .iter()
        .flat_map(|secret| secret.keys.values())
        .filter_map(|source| source.variable.as_deref())
        .collect();
    let mut all = BTreeMap::new();
    for (index, line) in input.lines().enumerate() {
        // The line itself may hold a token, so no message quotes it.
        let line = line.map_err(|_| Failure::new(Kind::Usage, "standard input is not UTF-8"))?;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line.strip_prefix("export ").unwrap_or(line).split_once('=');
        let Some((name, value)) = pair.filter(|(name, _)| known.contains(name.trim())) else {
            let known: Vec<&str> = known.into_iter().collect();
            return Err(Failure::new(
                Kind::Usage,
                format!(
                    "line {} of standard input gives no variable of the platform config",
                    index + 1
                ),
            )
            .hinted(format!("a line is VARIABLE=VALUE, with one of: {}", known.join(", "))));
        };
        let quoted = |quote: char| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
        let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
        all.insert(name.trim().to_owned(), value.to_owned());
    }
    Ok(all)
}

/// One line from standard input for each of several keys.
pub fn lines_from_stdin(sops_client: &SopsClient<'_>, count: usize) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for line in std::io::stdin().lock().lines().take(count) {
        lines.push(clean(sops_client, &line?, "standard input")?);
    }
    if lines.len() < count {
        return Err(Failure::new(
            Kind::Usage,
            format!("standard input has {} of {count} values", lines.len()),
        ));
    }
    Ok(lines)
}

/// A token as it was meant: without the newline that a shell, an editor or a clipboard put at its end.
fn clean(sops_client: &SopsClient<'_>, value: &str, place: &str) -> Result<String> {
    let trimmed = value.trim_end_matches(['\n', '\r']);
    if trimmed.len() < value.len() && !place.starts_with("standard") {
        sops_client.ui.status(
            Status::Warning,
            format!("{place} ends with a newline; it was taken off"),
        );
    }
    if trimmed.is_empty() {
        return Err(Failure::new(Kind::Usage, format!("{place} is empty")));
    }
    if trimmed.trim() != trimmed {
        return Err(Failure::new(
            Kind::Usage,
            format!("{place} begins or ends with a blank, which no token does"),
        )
        .hinted("copy it again, without what stands around it"));
    }
    if trimmed.chars().any(char::is_control) {
        return Err(Failure::new(
            Kind::Usage,
            format!("{place} has a newline or a control character inside"),
        )
        .hinted("give one value, on one line"));
    }
    Ok(trimmed.to_owned())
}

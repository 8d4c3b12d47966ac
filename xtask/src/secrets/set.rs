//! `secrets set` and `secrets new`: a value given or made anew, a file made.
//! It lists who reads the value; restarting them is a plan of its own.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::document;
use super::rules::Rules;
use super::sops::SopsClient;
use super::value::{self, Given};
use super::{RULES, init};
use crate::base::failure::{Failure, Kind, Result};
use crate::base::text::unknown;
use crate::base::transaction::Transaction;
use crate::base::ui::Status;
use crate::platform::{Platform, RequiredSecret, SecretKind};

/// What is set.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Only these keys; empty for all.
    pub keys: Vec<String>,
    /// Whether generated values are made anew.
    pub renewal: Renewal,
    /// Where values come from.
    pub given: Given,
}

/// Whether values that nobody has to give are made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// They are kept.
    Keep,
    /// They are made anew.
    Regenerate,
}

/// The secret of this name.
pub fn named<'a>(platform: &'a Platform, id: &str) -> Result<&'a RequiredSecret> {
    let required = &platform.secrets.required;
    required
        .iter()
        .find(|secret| secret.id == id || secret.file == id)
        .ok_or_else(|| {
            unknown(
                Kind::Config,
                "secret",
                id,
                required.iter().map(|secret| secret.id.as_str()),
            )
        })
}

/// Sets values of a secret of the platform config.
pub fn set(sops_client: &SopsClient<'_>, id: &str, wanted: &Wanted) -> Result<()> {
    let secret = named(&sops_client.checkout.platform, id)?;
    let _held = sops_client.hold(&format!("secrets set {}", secret.id))?;
    let root = &sops_client.checkout.root;
    let rules = rules_for(root, &secret.file)?;
    for key in &wanted.keys {
        if !secret.keys.contains_key(key) {
            return Err(unknown(
                Kind::Config,
                "key",
                key,
                secret.keys.keys().map(String::as_str),
            ));
        }
    }
    let chosen: Vec<&str> = secret
        .keys
        .keys()
        .map(String::as_str)
        .filter(|key| wanted.keys.is_empty() || wanted.keys.iter().any(|wanted| wanted == key))
        .collect();
    let exists = root.join(&secret.file).exists();
    let made_by_us: Vec<&str> = chosen
        .iter()
        .copied()
        .filter(|key| secret.keys[*key].kind != SecretKind::Asked)
        .collect();
    if exists && wanted.renewal == Renewal::Keep && wanted.given != Given::Stdin && !made_by_us.is_empty() {
        return Err(Failure::refused(format!(
            "key `{}` of `{}` is generated, and has a value",
            made_by_us.join("`, `"),
            secret.id
        ))
        .hinted(format!(
            "a new value: cargo xtask secrets set {} --regenerate",
            secret.id
        )));
    }
    if wanted.given == Given::Stdin && chosen.len() > 1 {
        return Err(Failure::new(
            Kind::Usage,
            format!("`{}` has several keys, standard input gives one", secret.id),
        )
        .hinted(format!("name it: --key {}", chosen.join(" or --key "))));
    }
    if wanted.given != Given::Stdin && !value::authority_is_whole(secret, &chosen) {
        return Err(Failure::refused("the keys of the local authority are made together").hinted("leave `--key` out"));
    }
    let Some(made) = value::make(sops_client, secret, &chosen, wanted.given)? else {
        return Err(Failure::refused(format!("no value for secret `{}`", secret.id)).hinted(ways(secret)));
    };
    let document = if exists && chosen.len() < secret.keys.len() {
        let mut document = sops_client.decrypt(&secret.file, &sops_client.identities()?)?;
        document::set(&mut document, &made.values);
        document
    } else {
        document::of(secret, &made.values)
    };
    let mut change = Transaction::default();
    if let Some(new) = &made.recipient {
        return machine(sops_client, secret, new, &document, &rules);
    }
    change.write(
        secret.file.clone(),
        sops_client.encrypt(Utf8Path::new(""), &secret.file, &document)?,
    );
    for (path, text) in made.public {
        change.write(path, text);
    }
    change.commit(root)?;
    for path in change.paths() {
        sops_client.ui.status(Status::Done, path);
    }
    tell_consumers(sops_client, secret, exists);
    Ok(())
}

/// A machine with a new identity: its recipient changes in rules and platform config, and every file it reads is encrypted to
/// the new one.
fn machine(
    sops_client: &SopsClient<'_>,
    secret: &RequiredSecret,
    new: &str,
    document: &serde_json::Value,
    rules: &Rules,
) -> Result<()> {
    let root = &sops_client.checkout.root;
    let name = secret.file.parent().and_then(Utf8Path::file_name).unwrap_or_default();
    let Some(old) = sops_client.checkout.platform.secrets.recipients.get(name) else {
        return Err(
            Failure::config(format!("the platform config has no recipient `{name}`"))
                .hinted(format!("name it: secrets.recipients.{name} = \"{new}\";")),
        );
    };
    let rules = rules.with_recipients(|_, rule| {
        rule.recipients()
            .into_iter()
            .map(|one| if one == *old { new.to_owned() } else { one })
            .collect()
    });
    let mut change = Transaction::default();
    init::replace_in_config(root, &[(old.clone(), new.to_owned())], &mut change)?;
    super::rotate::reencrypt(sops_client, &rules, super::rotate::How::Recipients, &mut change)?;
    change.write(RULES, rules.text());
    let folder = super::rotate::staged(sops_client, &rules)?;
    change.write(
        secret.file.clone(),
        sops_client.encrypt(&folder, &secret.file, document)?,
    );
    change.commit(root)?;
    for path in change.paths() {
        sops_client.ui.status(Status::Done, path);
    }
    sops_client.ui.status(
        Status::Next,
        format!("install the machine's new identity: cargo xtask machine install {name}"),
    );
    Ok(())
}

fn ways(secret: &RequiredSecret) -> String {
    let variables: Vec<&str> = secret
        .keys
        .values()
        .filter_map(|source| source.variable.as_deref())
        .collect();
    match variables.first() {
        Some(variable) => format!(
            "type it on a terminal, export `{variable}`, or pipe it: cargo xtask secrets set {} --stdin",
            secret.id
        ),
        None => format!(
            "type it on a terminal, or pipe it: cargo xtask secrets set {} --stdin",
            secret.id
        ),
    }
}

fn tell_consumers(sops_client: &SopsClient<'_>, secret: &RequiredSecret, replaced: bool) {
    let ui = sops_client.ui;
    if secret.clusters.is_empty() {
        return;
    }
    for consumer in &secret.consumers {
        ui.status(
            Status::Next,
            format!(
                "`{consumer}` reads it{}",
                if replaced {
                    ", and keeps the old value until it is restarted"
                } else {
                    ""
                }
            ),
        );
    }
    ui.status(
        Status::Next,
        "the goldens carry the encrypted file: cargo xtask golden bless, review, commit, deploy",
    );
    for cluster in &secret.clusters {
        ui.status(
            Status::Next,
            format!(
                "then: cargo xtask secrets resync {} --cluster {cluster} (waits until Healthy, restarts who reads it)",
                secret.id
            ),
        );
    }
}

/// What `secrets new` makes.
#[derive(Debug, Clone)]
pub struct New {
    /// The file.
    pub file: Utf8PathBuf,
    /// Namespace of the Secret; none for a host's file.
    pub namespace: Option<String>,
    /// Name of the Secret.
    pub name: Option<String>,
    /// Keys, whose values are typed or read from standard input, a line each.
    pub keys: Vec<String>,
    /// Where values come from.
    pub given: Given,
}

/// Makes a file that the platform config does not know yet.
pub fn new(sops_client: &SopsClient<'_>, wanted: &New) -> Result<()> {
    let _held = sops_client.hold(&format!("secrets new {}", wanted.file))?;
    let root = &sops_client.checkout.root;
    let file = &wanted.file;
    if root.join(file).exists() {
        return Err(
            Failure::refused(format!("`{file}` exists")).hinted(format!("change it: cargo xtask secrets edit {file}"))
        );
    }
    let rules = rules_for(root, file)?;
    let (_, rule) = rules.first_match(file).expect("`rules_for` looked");
    let values: Vec<String> = match wanted.given {
        Given::Stdin => value::lines_from_stdin(sops_client, wanted.keys.len())?,
        Given::VariableOrPrompt => {
            let mut typed = Vec::new();
            for key in &wanted.keys {
                match sops_client.ui.read_secret(&format!("value of `{key}`: "))? {
                    Some(value) if !value.is_empty() => typed.push(value),
                    _ => {
                        return Err(Failure::refused(format!("no value for secret `{key}`"))
                            .hinted("type it on a terminal, or pipe a line for each key: --stdin"));
                    }
                }
            }
            typed
        }
    };
    let values: BTreeMap<String, String> = wanted.keys.iter().cloned().zip(values).collect();
    let document = match (&wanted.namespace, &wanted.name) {
        (Some(namespace), Some(name)) => {
            let stem = file.file_name().unwrap_or_default().trim_end_matches(".enc.yaml");
            document::sops_secret(stem, namespace, name, &BTreeMap::new(), &values)
        }
        (None, None) if rule.encrypted_suffix.is_none() => serde_json::json!(values),
        _ => {
            return Err(Failure::new(
                Kind::Usage,
                format!("`{file}` is a SopsSecret's file: `--namespace` and `--name` are needed"),
            )
            .hinted("a host's file, below `k8s/secrets/hosts/<machine>`, has neither"));
        }
    };
    let mut change = Transaction::default();
    change.write(file.clone(), sops_client.encrypt(Utf8Path::new(""), file, &document)?);
    change.commit(root)?;
    sops_client.ui.status(Status::Done, file);
    sops_client.ui.status(
        Status::Next,
        format!("name it in `secrets.required` of the platform config, or in a component's `secrets`: \"{file}\""),
    );
    Ok(())
}

/// The rules, which have to have one for a path.
pub fn rules_for(root: &Utf8Path, path: &Utf8Path) -> Result<Rules> {
    let rules = Rules::of(root)?.ok_or_else(|| {
        Failure::new(Kind::Stale, format!("there is no `{RULES}`")).hinted("cargo xtask secrets init")
    })?;
    if rules.first_match(path).is_none() {
        return Err(Failure::refused(format!("no rule of `{RULES}` matches `{path}`, so its readers are not decided"))
            .hinted("secrets lie in `k8s/secrets/{local,production,shared}/NAME.enc.yaml`, and those of a machine in `k8s/secrets/hosts/MACHINE`"));
    }
    Ok(rules)
}

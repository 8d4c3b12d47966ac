//! `secrets init`: an identity for who has none, and every required secret that is missing.
//! Nothing that exists is overwritten, unless a checkout is taken over, which is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};

use super::identity::{self, Identities, Place, Surroundings};
use super::rules::{Groups, Rules};
use super::sops::SopsClient;
use super::value::{self, Given, Made};
use super::{FOLDER, RULES, document, scan};
use crate::base::failure::{Failure, Kind, Result};
use crate::base::root::{PLATFORM_JSON, STATE};
use crate::base::text::plural;
use crate::base::transaction::Transaction;
use crate::base::ui::{Answer, Status};
use crate::platform::{Environment, Platform, RequiredSecret, SecretKind};

/// Names that a platform without recipients begins with, as the rules of secrets speak of them.
const FIRST_NAMES: [&str; 3] = ["admin", "ci", "dev"];

/// Whether a checkout whose secrets nobody here can read becomes one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeOver {
    /// Only after a question.
    Ask,
    /// It was said on the command line.
    Yes,
}

/// Recipients by name, old and new, and the private halves that were made.
struct Crew {
    names: BTreeMap<String, String>,
    /// Old recipient, new recipient.
    replaced: Vec<(String, String)>,
    /// Lines for the file of keys.
    lines: String,
    /// Private halves of machines, which lie in the machines' own secrets only.
    machines: BTreeMap<String, (String, String)>,
}

/// Runs the verb.
pub fn run(sops_client: &SopsClient<'_>, take_over: TakeOver) -> Result<()> {
    let _held = sops_client.hold("secrets init")?;
    let root = &sops_client.checkout.root;
    let platform = &sops_client.checkout.platform;
    let (identities, place, mut lines) = own_identity(sops_client)?;
    let known: BTreeSet<String> = platform.secrets.recipients.values().cloned().collect();
    let held: Vec<&str> = platform
        .secrets
        .recipients
        .iter()
        .filter(|(_, recipient)| identities.recipients().contains(*recipient))
        .map(|(name, _)| name.as_str())
        .collect();
    let mut change = Transaction::default();
    let crew = if known.is_empty() {
        Some(new_crew(sops_client, &identities)?)
    } else if held.is_empty() {
        // The identity is kept whatever comes next: somebody has to be told its recipient.
        keep_lines(&place, &lines)?;
        lines.clear();
        agree(sops_client, &identities, take_over)?;
        Some(new_crew(sops_client, &identities)?)
    } else {
        sops_client
            .ui
            .status(Status::Checked, format!("you hold {}", held.join(", ")));
        None
    };
    let rules = match &crew {
        Some(crew) => {
            lines.push_str(&crew.lines);
            take(sops_client, crew, &mut change)?
        }
        None => match Rules::of(root)? {
            Some(rules) => rules,
            None => first_rules(platform, &platform.secrets.recipients),
        },
    };
    let old = fs_err::read_to_string(root.join(RULES)).unwrap_or_default();
    if old != rules.text() && (crew.is_some() || old.is_empty()) {
        change.write(RULES, rules.text());
    }
    make_missing(sops_client, &rules, crew.as_ref(), &mut change)?;
    // Keys first: a file encrypted to an identity that was never written could not be read by anybody.
    keep_lines(&place, &lines)?;
    if change.is_empty() {
        sops_client
            .ui
            .status(Status::Fresh, "every secret that can be made is there");
        return Ok(());
    }
    change.commit(root)?;
    for path in change.paths() {
        sops_client.ui.status(Status::Done, path);
    }
    if crew.is_some() {
        tell_new_owner(sops_client, &place);
    }
    Ok(())
}

/// The identities of whoever runs this, a new one if there is none, and where the file of keys is.
fn own_identity(sops_client: &SopsClient<'_>) -> Result<(Identities, Option<Utf8PathBuf>, String)> {
    let around = Surroundings::of_process();
    let file = match around.place() {
        None => {
            return Err(
                Failure::preflight("neither `HOME` nor `XDG_CONFIG_HOME` says where identities are kept")
                    .hinted("set `SOPS_AGE_KEY_FILE` to a file outside the checkout"),
            );
        }
        Some(Place::Variable) => around.key_file.clone().or_else(|| around.own_file()),
        Some(Place::NamedFile(path) | Place::OwnFile(path)) => Some(path),
    };
    if let Some(file) = &file {
        identity::refuse_inside(file, &sops_client.checkout.root)?;
    }
    let identities = sops_client.identities()?;
    if !identities.is_empty() {
        return Ok((identities, file, String::new()));
    }
    let (text, identity) = sops_client.new_identity()?;
    let recipient: Vec<String> = identity.recipients().into_iter().collect();
    sops_client.ui.status(
        Status::Done,
        format!(
            "a new age identity for you: {} (in `{}`)",
            recipient.join(", "),
            file.as_deref().unwrap_or(Utf8Path::new("?"))
        ),
    );
    Ok((identity, file, text))
}

/// Appends identities to the file of keys, private to its owner.
fn keep_lines(file: &Option<Utf8PathBuf>, lines: &str) -> Result<()> {
    let (Some(file), false) = (file, lines.is_empty()) else {
        return Ok(());
    };
    append(file, lines).map_err(|failure| {
        Failure::preflight(format!("identities cannot be kept in `{file}`: {}", failure.chain()))
            .hinted("nothing was changed; set `SOPS_AGE_KEY_FILE` to a file outside the checkout that can be written")
    })
}

fn append(file: &Utf8Path, lines: &str) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    // A link stays one: whoever keeps dotfiles elsewhere has the file there.
    let file = &file.canonicalize_utf8().unwrap_or_else(|_| file.to_owned());
    if let Some(folder) = file.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut text = match fs_err::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(lines);
    crate::base::files::write(file, text.as_bytes(), 0o600)
}

/// Asks whether the checkout becomes one's own, and says what else can be done.
fn agree(sops_client: &SopsClient<'_>, identities: &Identities, take_over: TakeOver) -> Result<()> {
    let platform = &sops_client.checkout.platform;
    let names: Vec<&str> = platform.secrets.recipients.keys().map(String::as_str).collect();
    let own: Vec<String> = identities.recipients().into_iter().collect();
    let count = platform
        .secrets
        .required
        .iter()
        .filter(|secret| sops_client.checkout.path(&secret.file).exists())
        .count();
    let words = format!(
        "you hold none of the identities that read this checkout's secrets ({}); taking it over makes identities of \
         your own for each of these names and new values for {}, whose present values are lost to this checkout",
        names.join(", "),
        plural(count, "secret")
    );
    if take_over == TakeOver::Yes {
        sops_client.ui.status(Status::Warning, words);
        return Ok(());
    }
    if sops_client.ui.can_ask() {
        loop {
            match sops_client.ui.ask(&format!("{words}. Take it over?"))? {
                Answer::Yes => return Ok(()),
                Answer::No => break,
                Answer::Explain => sops_client.ui.text(
                    "A fork or a trial is taken over: the secrets of others are of no use in it. In a team's checkout \
                     say no, and let a person who holds one of the identities add you.",
                ),
            }
        }
    }
    Err(Failure::refused(words)
        .hinted("a fork or a trial of your own: cargo xtask secrets init --take-over")
        .hinted(format!(
            "a team's checkout: let a holder run `cargo xtask secrets rotate --add NAME={} --folder local --folder shared`",
            own.join(",")
        )))
}

/// New recipients for every name of the platform. What its holder has already stands for local clusters' operators.
fn new_crew(sops_client: &SopsClient<'_>, identities: &Identities) -> Result<Crew> {
    let platform = &sops_client.checkout.platform;
    let mut old = platform.secrets.recipients.clone();
    if old.is_empty() {
        old.extend(FIRST_NAMES.iter().map(|name| ((*name).to_owned(), String::new())));
        for machine in machines_with_secrets(platform) {
            old.insert(machine, String::new());
        }
    }
    let groups = groups(platform, &old);
    let own = identities.recipients().into_iter().next();
    let mut crew = Crew {
        names: BTreeMap::new(),
        replaced: Vec::new(),
        lines: String::new(),
        machines: BTreeMap::new(),
    };
    let mut own_used = false;
    for (name, before) in &old {
        let is_local = groups.everybody.contains(name) && !groups.production.contains(name);
        let recipient = match &own {
            Some(own) if is_local && !own_used => {
                own_used = true;
                own.clone()
            }
            _ => {
                let (text, identity) = sops_client.new_identity()?;
                let recipient = identity.recipients().into_iter().next().unwrap_or_default();
                if groups.machines.contains(name) {
                    crew.machines.insert(name.clone(), (text, recipient.clone()));
                } else {
                    write!(crew.lines, "# {name} of {}\n{text}", platform.name).expect("a string takes everything");
                }
                recipient
            }
        };
        if !before.is_empty() {
            crew.replaced.push((before.clone(), recipient.clone()));
        }
        crew.names.insert(name.clone(), recipient);
    }
    Ok(crew)
}

fn machines_with_secrets(platform: &Platform) -> BTreeSet<String> {
    let hosts = Utf8Path::new(FOLDER).join("hosts");
    platform
        .secrets
        .required
        .iter()
        .filter_map(|secret| secret.file.strip_prefix(&hosts).ok()?.components().next())
        .map(|name| name.as_str().to_owned())
        .collect()
}

/// Who belongs to which rule, from what the platform config says of clusters and machines.
fn groups(platform: &Platform, names: &BTreeMap<String, String>) -> Groups {
    let is_local = |cluster: &String| {
        platform
            .clusters
            .get(cluster)
            .is_some_and(|config| config.environment == Environment::Local)
    };
    let machines: BTreeSet<String> = names
        .keys()
        .filter(|name| platform.machines.contains_key(*name) || machines_with_secrets(platform).contains(*name))
        .cloned()
        .collect();
    let operators = &platform.secrets.operator_identities;
    let local_only = |name: &String| {
        if operators.is_empty() {
            return name == "dev";
        }
        let mut clusters = operators
            .iter()
            .filter(|(_, held)| *held == name)
            .map(|(cluster, _)| cluster)
            .peekable();
        clusters.peek().is_some() && clusters.all(is_local)
    };
    let everybody: BTreeSet<String> = names.keys().filter(|name| !machines.contains(*name)).cloned().collect();
    let production = everybody.iter().filter(|name| !local_only(name)).cloned().collect();
    Groups {
        production,
        everybody,
        machines,
    }
}

fn first_rules(platform: &Platform, names: &BTreeMap<String, String>) -> Rules {
    Rules::first(names, &groups(platform, names))
}

/// Puts the new recipients into rules and platform config, and takes away what only the old ones could read.
fn take(sops_client: &SopsClient<'_>, crew: &Crew, change: &mut Transaction) -> Result<Rules> {
    let root = &sops_client.checkout.root;
    let rules = match Rules::of(root)? {
        Some(rules) => {
            let mapped = |one: &String| {
                crew.replaced
                    .iter()
                    .find(|(old, _)| old == one)
                    .map(|(_, new)| new.clone())
            };
            // A recipient that the platform config does not name belongs to nobody here.
            rules.with_recipients(|_, rule| rule.recipients().iter().filter_map(mapped).collect())
        }
        None => first_rules(&sops_client.checkout.platform, &crew.names),
    };
    replace_in_config(root, &crew.replaced, change)?;
    if crew.replaced.is_empty() {
        let lines: Vec<String> = crew
            .names
            .iter()
            .map(|(name, recipient)| format!("  {name} = \"{recipient}\";"))
            .collect();
        sops_client.ui.status(
            Status::Next,
            "put the recipients into your platform config, and build `platform.json` again:",
        );
        sops_client
            .ui
            .text(format!("secrets.recipients = {{\n{}\n}};", lines.join("\n")));
    }
    let mut removed = Vec::new();
    for path in scan::files(root)?
        .into_iter()
        .filter(|path| path.starts_with(FOLDER) && path.as_str().contains(".enc."))
    {
        let keep = Utf8Path::new(STATE).join("secrets/replaced").join(&path);
        crate::base::files::write(&root.join(keep), &fs_err::read(root.join(&path))?, 0o600)?;
        change.remove(path.clone());
        removed.push(path);
    }
    if !removed.is_empty() {
        sops_client.ui.status(
            Status::Warning,
            format!(
                "{} of the former owners are replaced; as they were they lie in `{STATE}/secrets/replaced`",
                plural(removed.len(), "file")
            ),
        );
        for path in removed.iter().filter(|path| {
            sops_client
                .checkout
                .platform
                .secrets
                .required
                .iter()
                .all(|secret| secret.file != **path)
        }) {
            sops_client.ui.status(
                Status::Removed,
                format!("`{path}`: the platform config does not know it, so it cannot be made anew"),
            );
        }
    }
    Ok(rules)
}

/// Exchanges recipients wherever the platform config states them: in `platform.json` and in the Nix files it comes from.
pub fn replace_in_config(root: &Utf8Path, replaced: &[(String, String)], change: &mut Transaction) -> Result<()> {
    for path in scan::files(root)? {
        if path != PLATFORM_JSON && path.extension() != Some("nix") {
            continue;
        }
        let Ok(before) = fs_err::read_to_string(root.join(&path)) else {
            continue;
        };
        let after = replaced
            .iter()
            .fold(before.clone(), |text, (old, new)| text.replace(old.as_str(), new));
        if after != before {
            change.write(path, after);
        }
    }
    Ok(())
}

/// Makes every required secret that is missing, as far as its values can be had.
fn make_missing(
    sops_client: &SopsClient<'_>,
    rules: &Rules,
    crew: Option<&Crew>,
    change: &mut Transaction,
) -> Result<()> {
    let root = &sops_client.checkout.root;
    let mut rules = rules.clone();
    let mut later = Vec::new();
    let mut pending: Vec<(&RequiredSecret, Made)> = Vec::new();
    for secret in &sops_client.checkout.platform.secrets.required {
        let exists = root.join(&secret.file).exists() && crew.is_none();
        if exists {
            continue;
        }
        if rules.first_match(&secret.file).is_none() {
            return Err(
                Failure::new(Kind::Stale, format!("no rule of `{RULES}` matches `{}`", secret.file))
                    .hinted("add a rule for its folder; docs/secrets.md shows how"),
            );
        }
        let keys: Vec<&str> = secret.keys.keys().map(String::as_str).collect();
        if !value::authority_is_whole(secret, &keys) {
            return Err(Failure::config(format!(
                "secret `{}` has one key of the local authority without the other",
                secret.id
            ))
            .hinted("state `step-ca-root-key` and `step-ca-intermediate-key` in one secret: they are made together"));
        }
        let machine = secret.file.parent().and_then(Utf8Path::file_name).unwrap_or_default();
        let is_identity = secret
            .keys
            .values()
            .any(|source| source.kind == SecretKind::AgeIdentity);
        let made = match crew.and_then(|crew| crew.machines.get(machine)) {
            Some((text, _)) if is_identity => {
                let values = secret.keys.keys().map(|key| (key.clone(), text.clone())).collect();
                Some(Made {
                    values,
                    ..Default::default()
                })
            }
            _ => value::make(sops_client, secret, &keys, Given::VariableOrPrompt)?,
        };
        let Some(made) = made else {
            later.push(secret);
            continue;
        };
        if let Some(new) = &made.recipient {
            rules = new_machine(sops_client, secret, machine, new, &rules, change)?;
        }
        for (path, text) in &made.public {
            if root.join(path).exists() {
                sops_client.ui.status(
                    Status::Warning,
                    format!("`{path}` is replaced: it belonged to a key that is not here"),
                );
            }
            change.write(path.clone(), text.clone());
        }
        pending.push((secret, made));
    }
    // Only now are all recipients known.
    let folder = Utf8Path::new(STATE).join("secrets/rules");
    crate::base::files::write(&root.join(&folder).join(RULES), rules.text().as_bytes(), 0o600)?;
    for (secret, made) in pending {
        let text = sops_client.encrypt(&folder, &secret.file, &document::of(secret, &made.values))?;
        change.write(secret.file.clone(), text);
    }
    for secret in later {
        sops_client.ui.status(
            Status::Skipped,
            format!(
                "`{}` was not given; later: cargo xtask secrets set {}",
                secret.id, secret.id
            ),
        );
    }
    Ok(())
}

/// A machine's new identity takes the place of the recipient that the platform config had for it.
fn new_machine(
    sops_client: &SopsClient<'_>,
    secret: &RequiredSecret,
    machine: &str,
    new: &str,
    rules: &Rules,
    change: &mut Transaction,
) -> Result<Rules> {
    let root = &sops_client.checkout.root;
    let Some(old) = sops_client.checkout.platform.secrets.recipients.get(machine) else {
        sops_client.ui.status(
            Status::Next,
            format!("name the machine in the platform config: secrets.recipients.{machine} = \"{new}\";"),
        );
        return Ok(rules.clone());
    };
    let others = scan::files(root)?.into_iter().any(|path| {
        path != secret.file
            && path.starts_with(FOLDER)
            && path.as_str().contains(".enc.")
            && rules
                .first_match(&path)
                .is_some_and(|(_, rule)| rule.recipients().contains(old))
    });
    if others {
        return Err(Failure::new(
            Kind::Stale,
            format!(
                "`{}` is missing, and other files are encrypted to `{machine}`",
                secret.file
            ),
        )
        .hinted(format!("restore it: git checkout -- {}", secret.file))
        .hinted(format!(
            "or give the machine a new identity: cargo xtask secrets set {} --regenerate",
            secret.id
        )));
    }
    let replaced = [(old.clone(), new.to_owned())];
    replace_in_config(root, &replaced, change)?;
    let rules = rules.with_recipients(|_, rule| {
        rule.recipients()
            .into_iter()
            .map(|one| if one == *old { new.to_owned() } else { one })
            .collect()
    });
    change.write(RULES, rules.text());
    Ok(rules)
}

fn tell_new_owner(sops_client: &SopsClient<'_>, place: &Option<Utf8PathBuf>) {
    let place = place.as_deref().unwrap_or(Utf8Path::new("your file of keys"));
    sops_client.ui.status(
        Status::Next,
        format!("keep the identity `admin` of `{place}` offline, and give `ci` to your CI as `SOPS_AGE_KEY`"),
    );
    sops_client.ui.status(
        Status::Next,
        "render and bless the goldens again, they carry the encrypted files: cargo xtask golden bless",
    );
}

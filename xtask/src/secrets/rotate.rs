//! `secrets rotate`: recipients added and removed, data keys made anew; every file and the rules change together.
//! A removed recipient still knows what it could read: this says so and cannot mend it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};

use super::file::Encrypted;
use super::rules::Rules;
use super::sops::SopsClient;
use super::{FOLDER, RULES, init, scan};
use crate::base::failure::{Failure, Kind, Result};
use crate::base::root::{PLATFORM_JSON, STATE};
use crate::base::text::plural;
use crate::base::transaction::Transaction;
use crate::base::ui::Status;

/// What changes.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Names or recipients that go.
    pub remove: Vec<String>,
    /// `NAME=RECIPIENT` that come.
    pub add: Vec<String>,
    /// Folders (`local`, `production`, …) whose rules a new name joins.
    pub to: Vec<String>,
    /// Whether every value is encrypted anew under a new data key.
    pub data_key: bool,
}

/// What is done to each file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Its recipients become those of its rule.
    Recipients,
    /// The same, and its values are encrypted anew.
    DataKey,
}

/// Runs the verb.
pub fn run(sops_client: &SopsClient<'_>, wanted: &Wanted) -> Result<()> {
    let _held = sops_client.hold("secrets rotate")?;
    let root = &sops_client.checkout.root;
    let rules = Rules::of(root)?.ok_or_else(|| {
        Failure::new(Kind::Stale, format!("there is no `{RULES}`")).hinted("cargo xtask secrets init")
    })?;
    let plan = Moves::of(sops_client, wanted)?;
    let after = plan.apply(&rules, &wanted.to)?;
    for (index, rule) in after.rules.iter().enumerate() {
        if rule.recipients().is_empty() {
            return Err(Failure::refused(format!(
                "no recipient could read the files of {} any more",
                rules.rules[index].name()
            ))
            .hinted("add another recipient in the same call: --add NAME=RECIPIENT"));
        }
    }
    let mut change = Transaction::default();
    let how = if wanted.data_key { How::DataKey } else { How::Recipients };
    reencrypt(sops_client, &after, how, &mut change)?;
    let files = change.paths().count();
    plan.state_in_config(sops_client, &mut change)?;
    if after.text() != fs_err::read_to_string(root.join(RULES))? && !plan.is_empty() {
        change.write(RULES, after.text());
    }
    if change.is_empty() {
        sops_client.ui.status(
            Status::Fresh,
            "every file is readable for those whom its rule names, and for no other",
        );
        return Ok(());
    }
    change.commit(root)?;
    for path in change.paths() {
        sops_client.ui.status(Status::Done, path);
    }
    sops_client.ui.status(
        Status::Done,
        format!("{} encrypted to those whom the rules name", plural(files, "file")),
    );
    if !plan.gone.is_empty() {
        sops_client.ui.status(
            Status::Warning,
            "whoever was removed still knows every value that was readable before, also from Git's history: replace \
             those that matter (`cargo xtask secrets set NAME --regenerate`)",
        );
    }
    for (name, _) in &plan.come {
        let clusters: Vec<&str> = sops_client
            .checkout
            .platform
            .secrets
            .operator_identities
            .iter()
            .filter(|(_, held)| *held == name)
            .map(|(cluster, _)| cluster.as_str())
            .collect();
        if !clusters.is_empty() {
            sops_client.ui.status(
                Status::Next,
                format!(
                    "the operators of {} hold `{name}`: the next deploy gives them the new identity",
                    clusters.join(", ")
                ),
            );
        }
    }
    sops_client.ui.status(
        Status::Next,
        "the goldens carry the encrypted files: cargo xtask golden bless, review, commit, deploy",
    );
    Ok(())
}

/// Who goes and who comes.
struct Moves {
    /// Recipients that go, with their name.
    gone: Vec<(Option<String>, String)>,
    /// Names and recipients that come.
    come: Vec<(String, String)>,
}

impl Moves {
    fn of(sops_client: &SopsClient<'_>, wanted: &Wanted) -> Result<Self> {
        let known = &sops_client.checkout.platform.secrets.recipients;
        let mut gone = Vec::new();
        for one in &wanted.remove {
            match known.get(one) {
                Some(recipient) => gone.push((Some(one.clone()), recipient.clone())),
                None if one.starts_with("age1") => {
                    let name = known
                        .iter()
                        .find(|(_, recipient)| *recipient == one)
                        .map(|(name, _)| name.clone());
                    gone.push((name, one.clone()));
                }
                None => {
                    return Err(crate::base::text::unknown(
                        Kind::Config,
                        "recipient",
                        one,
                        known.keys().map(String::as_str),
                    ));
                }
            }
        }
        let mut come = Vec::new();
        for one in &wanted.add {
            let Some((name, recipient)) = one.split_once('=') else {
                return Err(Failure::new(Kind::Usage, format!("`{one}` is no `NAME=RECIPIENT`")));
            };
            let body = recipient.strip_prefix("age1").unwrap_or_default();
            if body.len() != 58
                || !body
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            {
                let failure = Failure::new(Kind::Usage, format!("what `{name}` should get is no age recipient"));
                return Err(if recipient.starts_with("AGE-SECRET") {
                    failure.hinted("that is a private identity; give its recipient, which `age-keygen -y` prints")
                } else if recipient.starts_with("ssh-") {
                    failure.hinted("convert an SSH key with `ssh-to-age`")
                } else {
                    failure.hinted("a recipient begins with `age1` and has 62 characters")
                });
            }
            if let Some(before) = known.get(name)
                && before != recipient
                && !gone.iter().any(|(_, gone)| gone == before)
            {
                return Err(
                    Failure::refused(format!("the platform config knows `{name}` as {before}"))
                        .hinted(format!("replace it: --remove {name} --add {one}")),
                );
            }
            come.push((name.to_owned(), recipient.to_owned()));
        }
        Ok(Self { gone, come })
    }

    fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.come.is_empty()
    }

    /// The rules afterwards. Who comes under a name that goes takes its places; another joins the rules of `to`.
    fn apply(&self, rules: &Rules, to: &[String]) -> Result<Rules> {
        let takes_over = |name: &str| {
            self.gone
                .iter()
                .find(|(gone, _)| gone.as_deref() == Some(name))
                .map(|(_, old)| old)
        };
        for (name, _) in &self.come {
            if takes_over(name).is_none() && to.is_empty() {
                return Err(Failure::new(Kind::Usage, format!("which secrets may `{name}` read?"))
                    .hinted("name folders of k8s/secrets: --folder local --folder shared"));
            }
        }
        let probe = |folder: &String| Utf8PathBuf::from(format!("{FOLDER}/{folder}/name.enc.yaml"));
        for folder in to {
            if rules.first_match(&probe(folder)).is_none() {
                return Err(Failure::config(format!(
                    "no rule of `{RULES}` governs `{FOLDER}/{folder}`"
                )));
            }
        }
        Ok(rules.with_recipients(|index, rule| {
            let before = rule.recipients();
            let mut after: BTreeSet<String> = before
                .iter()
                .filter(|one| !self.gone.iter().any(|(_, gone)| gone == *one))
                .cloned()
                .collect();
            for (name, recipient) in &self.come {
                let joins = match takes_over(name) {
                    Some(old) => before.contains(old),
                    None => to.iter().any(|folder| {
                        rules
                            .first_match(&probe(folder))
                            .is_some_and(|(first, _)| first == index)
                    }),
                };
                if joins {
                    after.insert(recipient.clone());
                }
            }
            after
        }))
    }

    /// The same in the platform config: exchanged recipients in the Nix files and in `platform.json`, lines added and removed.
    fn state_in_config(&self, sops_client: &SopsClient<'_>, change: &mut Transaction) -> Result<()> {
        let root = &sops_client.checkout.root;
        let mut replaced = Vec::new();
        let mut dropped = Vec::new();
        for (name, old) in &self.gone {
            let Some(name) = name else { continue };
            match self.come.iter().find(|(new, _)| new == name) {
                Some((_, new)) => replaced.push((old.clone(), new.clone())),
                None => dropped.push((name.clone(), old.clone())),
            }
        }
        init::replace_in_config(root, &replaced, change)?;
        let fresh: Vec<&(String, String)> = self
            .come
            .iter()
            .filter(|(name, _)| !sops_client.checkout.platform.secrets.recipients.contains_key(name))
            .collect();
        if dropped.is_empty() && fresh.is_empty() {
            return Ok(());
        }
        for (name, _) in &dropped {
            if let Some((cluster, _)) = sops_client
                .checkout
                .platform
                .secrets
                .operator_identities
                .iter()
                .find(|(_, held)| *held == name)
            {
                return Err(
                    Failure::refused(format!("the operator of cluster `{cluster}` holds `{name}`"))
                        .hinted(format!("give it another: --remove {name} --add {name}=RECIPIENT")),
                );
            }
        }
        let current = |change: &Transaction, path: &Utf8Path| -> Result<String> {
            match change.content(path) {
                Some(content) => Ok(String::from_utf8_lossy(content).into_owned()),
                None => Ok(fs_err::read_to_string(root.join(path))?),
            }
        };
        let mut config: serde_json::Value = serde_json::from_str(&current(change, Utf8Path::new(PLATFORM_JSON))?)
            .map_err(|error| Failure::config(format!("`{PLATFORM_JSON}` cannot be read: {error}")))?;
        if let Some(map) = config
            .pointer_mut("/secrets/recipients")
            .and_then(serde_json::Value::as_object_mut)
        {
            for (name, _) in &dropped {
                map.shift_remove(name);
            }
            for (name, recipient) in &fresh {
                map.insert((*name).clone(), serde_json::json!(recipient));
            }
            map.sort_keys();
        }
        let text = serde_json::to_string_pretty(&config).map_err(|error| Failure::unexpected(error.to_string()))?;
        change.write(PLATFORM_JSON, format!("{text}\n"));
        let source = self.nix_source(sops_client)?;
        match source {
            Some(path) => {
                let mut text = current(change, &path)?;
                for (_, old) in &dropped {
                    text = text
                        .lines()
                        .filter(|line| !line.contains(old.as_str()))
                        .map(|line| format!("{line}\n"))
                        .collect();
                }
                for (name, recipient) in fresh {
                    text = insert_recipient(&text, name, recipient);
                }
                change.write(path, text);
            }
            None => sops_client.ui.status(
                Status::Next,
                "no Nix file states `secrets.recipients`: change your platform config likewise",
            ),
        }
        Ok(())
    }

    /// The Nix file that states the recipients: the one that has one of them.
    fn nix_source(&self, sops_client: &SopsClient<'_>) -> Result<Option<Utf8PathBuf>> {
        let recipients = &sops_client.checkout.platform.secrets.recipients;
        Ok(scan::files(&sops_client.checkout.root)?
            .into_iter()
            .filter(|path| path.extension() == Some("nix"))
            .find(|path| {
                fs_err::read_to_string(sops_client.checkout.path(path)).is_ok_and(|text| {
                    text.contains("recipients = {") && recipients.values().any(|one| text.contains(one.as_str()))
                })
            }))
    }
}

/// Puts a line behind `recipients = {`, indented as its neighbour.
fn insert_recipient(text: &str, name: &str, recipient: &str) -> String {
    let mut out = String::new();
    let mut done = false;
    for line in text.lines() {
        out.push_str(line);
        out.push('\n');
        if !done && line.trim_end().ends_with("recipients = {") {
            let indent = line.len() - line.trim_start().len() + 2;
            writeln!(out, "{:indent$}{name} = \"{recipient}\";", "").expect("a string takes everything");
            done = true;
        }
    }
    out
}

/// A folder with these rules, where files are encrypted before they take their places.
pub fn staged(sops_client: &SopsClient<'_>, rules: &Rules) -> Result<Utf8PathBuf> {
    let folder = Utf8Path::new(STATE).join("secrets/rotation");
    let path = sops_client.checkout.path(&folder);
    if path.exists() {
        fs_err::remove_dir_all(&path)?;
    }
    crate::base::files::write(&path.join(RULES), rules.text().as_bytes(), 0o600)?;
    Ok(folder)
}

/// Encrypts every file to those whom the rules name, beside; what came of it goes into the change. The first file that
/// fails ends it, and nothing was changed.
pub fn reencrypt(sops_client: &SopsClient<'_>, rules: &Rules, how: How, change: &mut Transaction) -> Result<()> {
    let root = &sops_client.checkout.root;
    if let Some(link) = scan::links(root).first() {
        return Err(Failure::config(format!(
            "`{link}` is a link, and what is behind it would stay as it is; nothing was changed"
        ))
        .hinted("`cargo xtask secrets check` shows every link and what to do about it"));
    }
    let folder = staged(sops_client, rules)?;
    let identities = sops_client.identities()?;
    for path in scan::files(root)?
        .into_iter()
        .filter(|path| path.starts_with(FOLDER) && path.as_str().ends_with(".enc.yaml"))
    {
        let Some((_, rule)) = rules.first_match(&path) else {
            return Err(
                Failure::new(Kind::Stale, format!("no rule of `{RULES}` matches `{path}`"))
                    .hinted("`cargo xtask secrets check` shows everything that is wrong"),
            );
        };
        let before = fs_err::read_to_string(root.join(&path))?;
        let file = Encrypted::parse(&before).map_err(|what| {
            Failure::new(Kind::Stale, format!("`{path}` {what}"))
                .hinted("`cargo xtask secrets check` shows everything that is wrong")
        })?;
        let stale = file.recipients != rule.recipients() || file.groups != 1;
        if !stale && how == How::Recipients {
            continue;
        }
        if identities.is_empty() {
            return Err(
                Failure::preflight("encrypting to others needs an identity that can read the files")
                    .hinted("set `SOPS_AGE_KEY` or `SOPS_AGE_KEY_FILE`, or restore your file of keys"),
            );
        }
        crate::base::files::write(&root.join(&folder).join(&path), before.as_bytes(), 0o600)?;
        if stale {
            sops_client.update_keys(&folder, &path, &identities)?;
        }
        if how == How::DataKey {
            sops_client.new_data_key(&folder, &path, &identities)?;
        }
        let after = fs_err::read_to_string(root.join(&folder).join(&path))?;
        let seen =
            Encrypted::parse(&after).map_err(|what| Failure::unexpected(format!("after sops, `{path}` {what}")))?;
        if seen.recipients != rule.recipients() {
            return Err(Failure::new(
                Kind::Step,
                format!("sops left `{path}` with other recipients than its rule demands"),
            ));
        }
        change.write(path, after);
    }
    fs_err::remove_dir_all(root.join(&folder))?;
    Ok(())
}

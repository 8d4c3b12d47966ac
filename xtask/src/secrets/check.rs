//! What is wrong with the secrets of a checkout, all of it at once; no private key is needed.
//! It changes nothing and starts nothing; every problem names the command that mends it.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::file::{Encrypted, has_metadata};
use super::rules::{Rule, Rules};
use super::{FOLDER, RULES, scan};
use crate::base::failure::{Failure, Kind, Result};
use crate::base::formats::yaml;
use crate::base::text::plural;
use crate::call::Caller;
use crate::platform::{Environment, Platform, RequiredSecret, SecretKind};

/// Whether the secrets of the checkout and of a project are as they have to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CheckSecrets {
    /// Cluster that the project goes to, which may need secrets that have no value yet; none where nothing is
    /// decrypted.
    pub cluster: Option<String>,
    /// The project.
    pub project: Utf8PathBuf,
}

impl CheckSecrets {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let platform = crate::platform::config(on.root)?;
        let mut problems = problems(on.root, &platform)?;
        problems.extend(project_problems(&on.root.join(&self.project), &self.project)?);
        judge(&problems, self.cluster.as_deref())
    }
}

/// An empty file of this name keeps a folder, and the rule for it, until its first secret comes.
const KEEP: &str = ".gitkeep";

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The file, relative to the checkout.
    pub file: Utf8PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// The command, or the act, that mends it.
    pub mend: String,
    /// What it stops.
    pub stops: Stops,
}

/// What a problem stops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Stops {
    /// Every deploy, and CI.
    Everything,
    /// Deploys to these clusters: they need what nobody gave yet. A host's secret stops none.
    Clusters(BTreeSet<String>),
}

impl Problem {
    fn new(file: impl AsRef<Utf8Path>, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            file: file.as_ref().to_owned(),
            what: what.into(),
            mend: mend.into(),
            stops: Stops::Everything,
        }
    }

    /// Whether it stops a deploy to this cluster; without one, whether it makes the checkout itself wrong.
    pub fn stops(&self, cluster: Option<&str>) -> bool {
        match &self.stops {
            Stops::Everything => true,
            Stops::Clusters(clusters) => cluster.is_some_and(|cluster| clusters.contains(cluster)),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "`{}`: {}\nmend: {}", self.file, self.what, self.mend)
    }
}

/// Problems that stop a deploy to a cluster (without one: that make the checkout wrong), as one failure of exit
/// code 4.
pub fn judge(problems: &[Problem], cluster: Option<&str>) -> Result<()> {
    let stopping: Vec<String> = problems
        .iter()
        .filter(|problem| problem.stops(cluster))
        .map(ToString::to_string)
        .collect();
    if stopping.is_empty() {
        return Ok(());
    }
    let summary = format!("{} with secrets", plural(stopping.len(), "problem"));
    Err(Failure::many(Kind::Stale, summary, &stopping).hinted("docs/secrets.md explains who reads what, and why"))
}

/// Everything that is wrong with the secrets of a checkout.
pub fn problems(root: &Utf8Path, platform: &Platform) -> Result<Vec<Problem>> {
    let files = scan::files(root)?;
    let mut problems: Vec<Problem> = scan::links(root).into_iter().map(linked).collect();
    plain(root, &files, &mut problems);
    let secrets: Vec<&Utf8PathBuf> = files.iter().filter(|path| is_secret(path)).collect();
    let rules = match Rules::of(root) {
        Ok(Some(rules)) => rules,
        Ok(None) if secrets.is_empty() && platform.secrets.required.is_empty() => return Ok(sorted(problems)),
        Ok(None) => {
            problems.push(Problem::new(
                RULES,
                "there is none, so sops cannot tell who reads what",
                "cargo xtask secrets init",
            ));
            return Ok(sorted(problems));
        }
        Err(failure) => {
            problems.push(Problem::new(
                RULES,
                failure.chain(),
                format!("git checkout -- {RULES}, or mend it by hand"),
            ));
            return Ok(sorted(problems));
        }
    };
    let names = Names::of(platform);
    of_rules(&rules, &files, platform, &names, &mut problems);
    for path in secrets {
        of_file(root, path, &rules, &names, platform, &mut problems)?;
    }
    of_policy(&rules, platform, &names, &mut problems);
    missing(root, platform, &mut problems);
    for golden in files.iter().filter(|path| path.starts_with("k8s/golden")) {
        lone(&root.join(golden), golden, &mut problems)?;
    }
    Ok(sorted(problems))
}

/// Everything that is wrong with a rendered project: secrets in plain text, and SopsSecrets that kluctl would
/// decrypt. `shown` is how the project is called in messages.
pub fn project_problems(project: &Utf8Path, shown: &Utf8Path) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for path in scan::files(project)? {
        let text = String::from_utf8_lossy(&fs_err::read(project.join(&path))?).into_owned();
        for finding in scan::find(&text) {
            let mend = "move the value into a secret (`cargo xtask secrets new`) and render again";
            problems.push(Problem::new(
                shown.join(&path),
                format!("line {} has {} in plain text", finding.line, finding.what),
                mend,
            ));
        }
        lone(&project.join(&path), &shown.join(&path), &mut problems)?;
    }
    Ok(sorted(problems))
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    problems
}

/// Whether a path is one that has to be encrypted.
pub(super) fn is_secret(path: &Utf8Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    if path.starts_with(FOLDER) {
        return name != KEEP && !name.ends_with(".md") && !name.ends_with(".pub");
    }
    // Examples that tests read are no secrets; the search for key material looks through them all the same.
    let example = |part: &str| matches!(part, "testing" | "fixture" | "fixtures" | "tests");
    name.contains(".enc.") && !path.components().any(|part| example(part.as_str()))
}

/// Names of recipients, for messages.
struct Names<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Names<'a> {
    fn of(platform: &'a Platform) -> Self {
        Self(
            platform
                .secrets
                .recipients
                .iter()
                .map(|(name, recipient)| (recipient.as_str(), name.as_str()))
                .collect(),
        )
    }

    fn name(&self, recipient: &str) -> String {
        match self.0.get(recipient) {
            Some(name) => format!("{name} ({recipient})"),
            None => format!("{recipient} (no recipient of the platform config)"),
        }
    }

    fn list<'r>(&self, recipients: impl IntoIterator<Item = &'r String>) -> String {
        recipients
            .into_iter()
            .map(|one| self.name(one))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// A link where secrets stand.
fn linked(link: Utf8PathBuf) -> Problem {
    let mend = format!("replace `{link}` by the files that it leads to");
    Problem::new(
        link,
        "is a link, so what is behind it is neither checked nor encrypted to others when they change",
        mend,
    )
}

/// Private keys and tokens in plain text, anywhere.
fn plain(root: &Utf8Path, files: &[Utf8PathBuf], problems: &mut Vec<Problem>) {
    for path in files {
        // A file that cannot be read is no secret that leaks; whoever needs it will say so.
        let Ok(bytes) = fs_err::read(root.join(path)) else {
            continue;
        };
        for finding in scan::find(&String::from_utf8_lossy(&bytes)) {
            problems.push(Problem::new(
                path,
                format!("line {} has {} in plain text", finding.line, finding.what),
                "take it out of the file and out of Git's history, and replace it where it is valid: it is known now",
            ));
        }
    }
}

fn of_rules(rules: &Rules, files: &[Utf8PathBuf], platform: &Platform, names: &Names<'_>, problems: &mut Vec<Problem>) {
    let mut add = |what: String, mend: &str| problems.push(Problem::new(RULES, what, mend));
    let edit = "edit `.sops.yaml`, then `cargo xtask secrets rotate --sync`";
    for (index, rule) in rules.rules.iter().enumerate() {
        let name = match rule.line {
            Some(line) => format!("line {line}: {}", rule.name()),
            None => rule.name(),
        };
        let governs = |path: &Utf8Path| rules.first_match(path).is_some_and(|(first, _)| first == index);
        if catches_all(rule) {
            add(
                format!("{name} matches every path, so a misfiled secret gets its recipients"),
                "give it a `path_regex` of its own folder",
            );
        }
        let used = files.iter().any(|path| {
            // A kept folder stands for the secrets that will lie in it.
            governs(path) && is_secret(path)
                || path.file_name() == Some(KEEP)
                    && path
                        .parent()
                        .is_some_and(|folder| governs(&folder.join("name.enc.yaml")))
        }) || platform.secrets.required.iter().any(|secret| governs(&secret.file));
        if !used {
            let shadow = files
                .iter()
                .filter(|path| is_secret(path) && rule.matches(path))
                .find_map(|path| rules.first_match(path));
            match shadow {
                Some((_, earlier)) => add(
                    format!(
                        "{name} is never reached: {} stands before it and matches its files",
                        earlier.name()
                    ),
                    "put the narrower rule first, or remove one",
                ),
                None => add(
                    format!("{name} governs no file"),
                    "remove the rule, or keep its folder with an empty `.gitkeep`",
                ),
            }
        }
        if !rule.foreign.is_empty() {
            add(
                format!("{name} names keys that are not age's: {}", rule.foreign.join(", ")),
                edit,
            );
        }
        let recipients = rule.recipients();
        if recipients.is_empty() {
            add(
                format!("{name} names no recipient, so its files could not be read"),
                edit,
            );
        }
        if rule.groups.len() > 1 {
            add(
                format!(
                    "{name} has {} key groups: a share of each would be needed, and no single recipient could read it",
                    rule.groups.len()
                ),
                "put all recipients into one entry of `key_groups`, then `cargo xtask secrets rotate --sync`",
            );
        }
        if let Some(threshold) = rule.threshold
            && threshold > rule.groups.len() as u64
        {
            add(
                format!(
                    "{name} demands {threshold} of {}, which can never be met",
                    plural(rule.groups.len(), "key group")
                ),
                "remove `shamir_threshold`",
            );
        }
        for recipient in &recipients {
            if let Some(why) = malformed(recipient) {
                add(format!("{name} names `{recipient}`, {why}"), edit);
            } else if !names.0.contains_key(recipient.as_str()) {
                add(
                    format!("{name} names {recipient}, whom the platform config does not know"),
                    &format!(
                        "cargo xtask secrets rotate --remove {recipient}, or name it in `secrets.recipients` of the platform config"
                    ),
                );
            }
        }
    }
}

/// Why a text is no age recipient that the project takes.
fn malformed(recipient: &str) -> Option<&'static str> {
    if recipient.starts_with("ssh-") {
        return Some("an SSH key: convert it with `ssh-to-age`, or make an identity with `age-keygen`");
    }
    if recipient.starts_with("AGE-SECRET-KEY-") {
        return Some("a private identity; its recipient begins with `age1`");
    }
    let body = recipient.strip_prefix("age1").unwrap_or_default();
    (body.len() != 58
        || !body
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
    .then_some("which is no age recipient")
}

/// A rule that takes whatever nothing else takes.
fn catches_all(rule: &Rule) -> bool {
    [
        "no/such/folder/name.txt",
        "x.enc.yaml",
        "k8s/secrets/elsewhere/name.enc.yaml",
    ]
    .iter()
    .all(|path| rule.matches(Utf8Path::new(path)))
}

fn of_file(
    root: &Utf8Path,
    path: &Utf8Path,
    rules: &Rules,
    names: &Names<'_>,
    platform: &Platform,
    problems: &mut Vec<Problem>,
) -> Result<()> {
    let matched = rules.first_match(path);
    if matched.is_none() {
        problems.push(Problem::new(
            path,
            format!("no rule of `{RULES}` matches it, so its readers are not decided"),
            format!("git mv {path} into one of the folders of `{RULES}`, then `cargo xtask secrets rotate --sync`"),
        ));
    }
    let required = platform.secrets.required.iter().find(|secret| secret.file == path);
    let Ok(text) = String::from_utf8(fs_err::read(root.join(path))?) else {
        problems.push(Problem::new(path, "is not UTF-8", format!("git checkout -- {path}")));
        return Ok(());
    };
    let file = match Encrypted::parse(&text) {
        Ok(file) => file,
        Err(what) => {
            let mend = match required {
                Some(secret) => format!("remove it and make it again: cargo xtask secrets set {}", secret.id),
                None => format!("cargo xtask secrets edit {path}, or remove it"),
            };
            problems.push(Problem::new(path, what, mend));
            return Ok(());
        }
    };
    let mut add = |what: String, mend: String| problems.push(Problem::new(path, what, mend));
    let edit = || format!("cargo xtask secrets edit {path}");
    let sync = || "cargo xtask secrets rotate --sync".to_owned();
    for (field, what) in file.clear_values() {
        add(
            format!("`{field}` {what}"),
            match required {
                Some(secret) => format!(
                    "cargo xtask secrets set {}; what stood there in clear is known now",
                    secret.id
                ),
                None => edit(),
            },
        );
    }
    if !file.has_mac {
        add(
            "has no message authentication code: a changed value would go unseen".into(),
            format!("git checkout -- {path}, or set its values again"),
        );
    }
    if file.mac_only_encrypted {
        add(
            "its authentication code covers only encrypted values, so names could be exchanged".into(),
            edit(),
        );
    }
    if file.recipients.is_empty() {
        add(
            "has no recipient".into(),
            format!("git checkout -- {path}, or set its values again"),
        );
    }
    if file.groups > 1 {
        add(
            format!("has {} key groups: a share of each is needed to read it", file.groups),
            sync(),
        );
    }
    if let Some(threshold) = file.threshold
        && threshold > file.groups as u64
    {
        add(
            format!(
                "demands {threshold} of {}, which can never be met",
                plural(file.groups, "key group")
            ),
            sync(),
        );
    }
    if let Some((index, rule)) = matched {
        let wanted = rule.recipients();
        let missing: Vec<&String> = wanted.difference(&file.recipients).collect();
        let extra: Vec<&String> = file.recipients.difference(&wanted).collect();
        let place = match rule.line {
            Some(line) => format!("{} (`{RULES}:{line}`)", rule.name()),
            None => format!("{} (rule {} of `{RULES}`)", rule.name(), index + 1),
        };
        if !missing.is_empty() && !file.recipients.is_empty() {
            add(
                format!("{place} demands recipients that it lacks: {}", names.list(missing)),
                sync(),
            );
        }
        if !extra.is_empty() {
            add(
                format!(
                    "{place} does not name recipients that can read it: {}",
                    names.list(extra)
                ),
                "cargo xtask secrets rotate --sync; they still know the values until those are replaced".into(),
            );
        }
        if rule.encrypted_suffix != file.encrypted_suffix {
            let say = |suffix: &Option<String>| {
                suffix
                    .as_deref()
                    .map_or("everything".to_owned(), |suffix| format!("keys ending in `{suffix}`"))
            };
            add(
                format!(
                    "encrypts {}, {place} demands {}",
                    say(&file.encrypted_suffix),
                    say(&rule.encrypted_suffix)
                ),
                match required {
                    Some(secret) => format!("cargo xtask secrets set {}", secret.id),
                    None => edit(),
                },
            );
        }
    }
    if let Some(secret) = required {
        for what in differs(secret, &file) {
            add(
                what,
                format!("cargo xtask secrets set {}, or mend the platform config", secret.id),
            );
        }
    }
    Ok(())
}

/// Where a file is not what the platform config says of it.
fn differs(secret: &RequiredSecret, file: &Encrypted) -> Vec<String> {
    let mut found = Vec::new();
    let keys = file.keys();
    for key in secret.keys.keys().filter(|key| !keys.contains(*key)) {
        found.push(format!(
            "the platform config requires key `{key}` of it, which it does not have"
        ));
    }
    if secret.clusters.is_empty() {
        return found;
    }
    let text = |pointer: &str| {
        file.document
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    if text("/kind") != "SopsSecret" {
        found.push("the platform config requires a SopsSecret there".into());
    } else if text("/metadata/namespace") != secret.namespace {
        found.push(format!(
            "stands in namespace `{}`, the platform config requires `{}`",
            text("/metadata/namespace"),
            secret.namespace
        ));
    }
    found
}

/// What the platform config imply about rules: operators can read what they decrypt, developers cannot read production.
fn of_policy(rules: &Rules, platform: &Platform, names: &Names<'_>, problems: &mut Vec<Problem>) {
    let secrets = &platform.secrets;
    let local = |cluster: &String| {
        platform
            .clusters
            .get(cluster)
            .is_some_and(|config| config.environment == Environment::Local)
    };
    let recipient_of = |cluster: &String| {
        secrets
            .operator_identities
            .get(cluster)
            .and_then(|name| secrets.recipients.get(name))
    };
    // Identities that lie in local clusters only: whoever runs one can read them.
    let exposed: BTreeSet<&String> = secrets
        .operator_identities
        .iter()
        .filter(|(_, name)| {
            secrets
                .operator_identities
                .iter()
                .all(|(cluster, other)| other != *name || local(cluster))
        })
        .filter_map(|(_, name)| secrets.recipients.get(name))
        .collect();
    let is_local = |secret: &RequiredSecret| !secret.clusters.is_empty() && secret.clusters.iter().all(local);
    let rule_of = |secret: &RequiredSecret| rules.first_match(&secret.file).map(|(_, rule)| rule.recipients());
    let in_production: BTreeSet<String> = secrets
        .required
        .iter()
        .filter(|secret| secret.clusters.iter().any(|cluster| !local(cluster)))
        .filter_map(&rule_of)
        .flatten()
        .collect();
    let edit = "edit `.sops.yaml`, then `cargo xtask secrets rotate --sync`";
    let mut told = BTreeSet::new();
    for secret in &secrets.required {
        let Some((index, rule)) = rules.first_match(&secret.file) else {
            continue;
        };
        let recipients = rule.recipients();
        let mut add = |what: String| {
            if told.insert((index, what.clone())) {
                problems.push(Problem::new(RULES, what, edit));
            }
        };
        for cluster in secret.clusters.iter().filter(|cluster| has_operator(platform, cluster)) {
            match recipient_of(cluster) {
                Some(recipient) if !recipients.contains(recipient) => add(format!(
                    "the operator of cluster `{cluster}` holds {}, whom {} does not name",
                    names.name(recipient),
                    rule.name()
                )),
                _ => {}
            }
        }
        if !is_local(secret) {
            for recipient in recipients.iter().filter(|recipient| exposed.contains(recipient)) {
                add(format!(
                    "{} lets {} read secrets of production, whose identity lies in local clusters",
                    rule.name(),
                    names.name(recipient)
                ));
            }
        }
        let lacking: Vec<&String> = in_production
            .iter()
            .filter(|one| !recipients.contains(*one) && !exposed.contains(one))
            .collect();
        if !lacking.is_empty() {
            add(format!(
                "{} leaves out who may read production: {}",
                rule.name(),
                names.list(lacking)
            ));
        }
    }
}

fn has_operator(platform: &Platform, cluster: &str) -> bool {
    platform
        .clusters
        .get(cluster)
        .is_some_and(|config| config.components.iter().any(|component| component == super::OPERATOR))
}

/// Required secrets that do not exist. One that a person has to give stops only the clusters that need it.
fn missing(root: &Utf8Path, platform: &Platform, problems: &mut Vec<Problem>) {
    for secret in &platform.secrets.required {
        if root.join(&secret.file).exists() {
            continue;
        }
        let asked = secret.keys.values().any(|source| source.kind == SecretKind::Asked);
        if asked {
            let variables: Vec<&str> = secret
                .keys
                .values()
                .filter_map(|source| source.variable.as_deref())
                .collect();
            let mut problem = Problem::new(
                &secret.file,
                format!("secret `{}` was not given yet", secret.id),
                format!(
                    "cargo xtask secrets set {} (asks, or takes {})",
                    secret.id,
                    variables.join(", ")
                ),
            );
            problem.stops = Stops::Clusters(secret.clusters.iter().cloned().collect());
            problems.push(problem);
        } else {
            problems.push(Problem::new(
                &secret.file,
                format!("secret `{}` does not exist", secret.id),
                "cargo xtask secrets init",
            ));
        }
    }
}

/// A SOPS file that kluctl would decrypt and apply in plain text.
fn lone(path: &Utf8Path, shown: &Utf8Path, problems: &mut Vec<Problem>) -> Result<()> {
    if !matches!(path.extension(), Some("yaml" | "yml" | "json")) {
        return Ok(());
    }
    let Ok(text) = String::from_utf8(fs_err::read(path)?) else {
        return Ok(());
    };
    // Cheap, and what kluctl looks for itself.
    if !text.contains("sops") {
        return Ok(());
    }
    // Whether the file can be read at all is the golden check's and kluctl's question.
    let Ok(documents) = yaml::read(&text) else {
        return Ok(());
    };
    if documents.iter().any(has_metadata) {
        problems.push(Problem::new(
            shown,
            "stands alone with its sops metadata at the top, so kluctl would decrypt it and apply the plain text",
            "name the file in the component's `secrets`, which wraps it into a `kind: List`, and render again",
        ));
    }
    Ok(())
}

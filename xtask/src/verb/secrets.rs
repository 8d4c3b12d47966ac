//! `secrets`: encrypted files made, checked, changed and rotated.
//! It prints names, places and recipients, and never a value.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde_json::json;

use crate::cluster::access::Access;
use crate::cluster::embedded;
use crate::context::{Checkout, Context};
use crate::failure::{Failure, Kind, Result};
use crate::golden::yaml;
use crate::recipe::resync;
use crate::run::{Lock, PlanArgs, carry_out, nonce};
use crate::secrets::desk::{Desk, relative};
use crate::secrets::file::Encrypted;
use crate::secrets::rules::Rules;
use crate::secrets::set::{self, Renewal};
use crate::secrets::value::Given;
use crate::secrets::{check, init, rotate};
use crate::ui::{Word, plural};

/// Encrypted files: make, check, change and rotate them
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Arguments {
    /// Make an identity for who has none, and every secret that is missing
    Init(Init),
    /// Find everything that is wrong, without any private key
    Check(Check),
    /// Open a file in your editor, decrypted
    Edit(Edit),
    /// Give a secret of the facts a new value
    Set(Set),
    /// Make an encrypted file that the facts do not know yet
    New(New),
    /// Add or remove recipients everywhere, or make new data keys
    Rotate(Rotate),
    /// Have a cluster take up a changed secret: wait until Healthy, restart who reads it
    Resync(Resync),
    /// List secrets with their keys and readers, never a value
    List(List),
    /// Runs the editor for sops and looks at what it saved
    #[command(hide = true)]
    RunEditor(RunEditor),
}

/// Arguments of `secrets init`.
#[derive(Debug, Clone, clap::Args)]
pub struct Init {
    /// Make a checkout whose secrets you cannot read your own: new identities, new values
    #[arg(long)]
    pub take_over: bool,
}

/// Arguments of `secrets check`.
#[derive(Debug, Clone, clap::Args)]
pub struct Check {
    /// Also fail for what a deploy to this cluster needs and nobody gave yet
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Also look through this rendered project
    #[arg(long, value_name = "DIR")]
    pub project: Vec<Utf8PathBuf>,
    /// Print problems as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `secrets edit`.
#[derive(Debug, Clone, clap::Args)]
pub struct Edit {
    /// The encrypted file, or the name of a secret
    #[arg(value_name = "FILE")]
    pub file: Utf8PathBuf,
}

/// Arguments of `secrets set`.
#[derive(Debug, Clone, clap::Args)]
pub struct Set {
    /// Secret of the facts
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Only this key
    #[arg(long, value_name = "KEY")]
    pub key: Vec<String>,
    /// Make generated values anew
    #[arg(long, conflicts_with = "stdin")]
    pub regenerate: bool,
    /// Read the value from standard input
    #[arg(long)]
    pub stdin: bool,
}

/// Arguments of `secrets new`.
#[derive(Debug, Clone, clap::Args)]
pub struct New {
    /// The file to make, below `k8s/secrets`
    #[arg(value_name = "FILE")]
    pub file: Utf8PathBuf,
    /// Namespace of the Secret
    #[arg(long, value_name = "NAMESPACE", requires = "name")]
    pub namespace: Option<String>,
    /// Name of the Secret
    #[arg(long, value_name = "NAME", requires = "namespace")]
    pub name: Option<String>,
    /// Key of a value
    #[arg(long, value_name = "KEY", required = true)]
    pub key: Vec<String>,
    /// Read the values from standard input, a line each
    #[arg(long)]
    pub stdin: bool,
}

/// Arguments of `secrets rotate`.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = true)]
pub struct Rotate {
    /// Take a recipient out of every rule, by name or by itself
    #[arg(long, value_name = "NAME|RECIPIENT")]
    pub remove: Vec<String>,
    /// Put a recipient in; in the place of a removed one of the same name, or `--to`
    #[arg(long, value_name = "NAME=RECIPIENT")]
    pub add: Vec<String>,
    /// Folder of k8s/secrets whose files a new name may read
    #[arg(long, value_name = "FOLDER", requires = "add")]
    pub to: Vec<String>,
    /// Encrypt every value anew under a new data key
    #[arg(long)]
    pub data_key: bool,
    /// Only make every file obey the rules as they stand
    #[arg(long, conflicts_with_all = ["remove", "add", "data_key"])]
    pub sync: bool,
}

/// Arguments of `secrets resync`.
#[derive(Debug, Clone, clap::Args)]
pub struct Resync {
    /// Secret of the facts
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Cluster of the facts
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: String,
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// Arguments of `secrets list`.
#[derive(Debug, Clone, clap::Args)]
pub struct List {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `secrets run-editor`.
#[derive(Debug, Clone, clap::Args)]
pub struct RunEditor {
    /// The decrypted file that sops made
    #[arg(value_name = "FILE")]
    pub file: Utf8PathBuf,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    if let Arguments::RunEditor(arguments) = arguments {
        return run_editor(arguments);
    }
    let checkout = context.checkout()?;
    let desk = || Desk::open(context, &checkout);
    let given = |stdin: bool| if stdin { Given::Stdin } else { Given::VariableOrPrompt };
    match arguments {
        Arguments::Init(arguments) => {
            let take_over = if arguments.take_over {
                init::TakeOver::Yes
            } else {
                init::TakeOver::Ask
            };
            init::run(&desk()?, take_over)?;
        }
        Arguments::Check(arguments) => run_check(context, &checkout, arguments)?,
        Arguments::Edit(arguments) => edit(&desk()?, arguments)?,
        Arguments::Set(arguments) => {
            let wanted = set::Wanted {
                keys: arguments.key.clone(),
                renewal: if arguments.regenerate {
                    Renewal::Regenerate
                } else {
                    Renewal::Keep
                },
                given: given(arguments.stdin),
            };
            set::set(&desk()?, &arguments.name, &wanted)?;
        }
        Arguments::New(arguments) => {
            let wanted = set::New {
                file: relative(&checkout.root, &arguments.file),
                namespace: arguments.namespace.clone(),
                name: arguments.name.clone(),
                keys: arguments.key.clone(),
                given: given(arguments.stdin),
            };
            set::new(&desk()?, &wanted)?;
        }
        Arguments::Rotate(arguments) => {
            let wanted = rotate::Wanted {
                remove: arguments.remove.clone(),
                add: arguments.add.clone(),
                to: arguments.to.clone(),
                data_key: arguments.data_key,
            };
            rotate::run(&desk()?, &wanted)?;
        }
        Arguments::Resync(arguments) => resync(context, &checkout, arguments)?,
        Arguments::List(arguments) => list(context, &checkout, arguments)?,
        Arguments::RunEditor(_) => {}
    }
    Ok(0)
}

fn run_check(context: &Context, checkout: &Checkout, arguments: &Check) -> Result<()> {
    let ui = &context.ui;
    if let Some(cluster) = &arguments.cluster {
        checkout.platform.cluster(cluster)?;
    }
    let mut problems = check::problems(&checkout.root, &checkout.platform)?;
    for project in &arguments.project {
        problems.extend(check::project_problems(&checkout.path(project), project)?);
    }
    let cluster = arguments.cluster.as_deref();
    if arguments.json {
        ui.json(&problems)?;
    }
    for problem in problems.iter().filter(|problem| !problem.stops(cluster)) {
        ui.status(Word::Warning, problem.to_string());
    }
    check::judge(&problems, cluster)?;
    let required = &checkout.platform.secrets.required;
    let there = required
        .iter()
        .filter(|secret| checkout.path(&secret.file).exists())
        .count();
    ui.status(
        Word::Checked,
        format!(
            "{} of the facts, and every file of the checkout",
            plural(there, "secret")
        ),
    );
    Ok(())
}

fn resync(context: &Context, checkout: &Checkout, arguments: &Resync) -> Result<()> {
    let name = &arguments.cluster;
    let facts = checkout.platform.cluster(name)?;
    let secret = set::named(&checkout.platform, &arguments.name)?;
    if !secret.clusters.contains(name) {
        return Err(
            Failure::config(format!("cluster `{name}` does not need `{}`", secret.id))
                .hinted(format!("it is needed by: {}", secret.clusters.join(", "))),
        );
    }
    let access = Access::of(name, facts);
    if checkout.path(embedded::marker(&access)).exists() {
        return Err(Failure::preflight(format!(
            "nothing decrypts on cluster `{name}`: its operator is only simulated"
        ))
        .hinted("a virtual machine runs the operator: `cargo xtask local-up --backend colima`"));
    }
    let plan = resync::plan(&access, facts, secret, &nonce());
    carry_out(
        context,
        checkout,
        "secrets-resync",
        plan,
        &arguments.plan,
        &Lock::Host(name.clone()),
    )
}

fn edit(desk: &Desk<'_>, arguments: &Edit) -> Result<()> {
    let checkout = desk.checkout;
    let path = match checkout
        .platform
        .secrets
        .required
        .iter()
        .find(|secret| secret.id == arguments.file)
    {
        Some(secret) => secret.file.clone(),
        None => relative(&checkout.root, &arguments.file),
    };
    set::rules_for(&checkout.root, &path)?;
    let before = fs_err::read(checkout.path(&path)).map_err(|error| {
        Failure::config(format!("`{path}` cannot be read: {}", error.kind()))
            .hinted("`cargo xtask secrets list` shows what there is; `secrets new` makes one")
    })?;
    let _held = desk.hold(&format!("secrets edit {path}"))?;
    let identities = desk.identities()?;
    // Says in our words who can read it, before an editor opens.
    drop(desk.decrypt(&path, &identities)?);
    let editor = ["SOPS_EDITOR", "VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
        .unwrap_or_else(|| "vi".to_owned());
    let status = desk.edit(&path, &editor, &identities)?;
    let unchanged = fs_err::read(checkout.path(&path))? == before;
    match status {
        // sops' own code for a file that was left as it was.
        200 => desk.ui.status(Word::Fresh, format!("`{path}` is as it was")),
        0 if unchanged => desk.ui.status(Word::Fresh, format!("`{path}` is as it was")),
        0 => {
            desk.ui.status(Word::Done, &path);
            let problems = check::problems(&checkout.root, &checkout.platform)?;
            let own: Vec<_> = problems.into_iter().filter(|problem| problem.file == path).collect();
            check::judge(&own, None)?;
        }
        code => {
            let failure = Failure::new(
                Kind::Step,
                format!("the editor `{editor}` or sops failed with exit status {code}"),
            );
            return Err(if unchanged {
                failure.hinted(format!("`{path}` is as it was"))
            } else {
                failure.hinted(format!("look at what changed: git diff {path}"))
            });
        }
    }
    Ok(())
}

/// The editor, and then a look at what it saved: sops would ask again for ever where nobody can answer.
fn run_editor(arguments: &RunEditor) -> Result<u8> {
    let editor = std::env::var("XTASK_EDITOR").unwrap_or_else(|_| "vi".to_owned());
    let status = crate::exec::run_editor(&editor, &arguments.file)?;
    if status != 0 {
        return Ok(status);
    }
    let text = fs_err::read_to_string(&arguments.file)?;
    match yaml::read_one(&text) {
        Ok(_) => Ok(0),
        // On a terminal sops itself shows the mistake and opens the editor again.
        Err(_) if std::io::IsTerminal::is_terminal(&std::io::stdin()) => Ok(0),
        // The message could quote what was typed; the line is enough.
        Err(error) => Err(Failure::new(
            Kind::Step,
            format!("what the editor saved is no YAML (line {})", error.line),
        )),
    }
}

fn list(context: &Context, checkout: &Checkout, arguments: &List) -> Result<()> {
    let names: BTreeMap<&str, &str> = checkout
        .platform
        .secrets
        .recipients
        .iter()
        .map(|(name, one)| (one.as_str(), name.as_str()))
        .collect();
    let rules = Rules::of(&checkout.root)?;
    let mut rows = Vec::new();
    for secret in &checkout.platform.secrets.required {
        let text = fs_err::read_to_string(checkout.path(&secret.file)).ok();
        let file = text.and_then(|text| Encrypted::parse(&text).ok());
        let readers: Vec<String> = file
            .iter()
            .flat_map(|file| &file.recipients)
            .map(|one| {
                names
                    .get(one.as_str())
                    .map_or_else(|| one.clone(), |name| (*name).to_owned())
            })
            .collect();
        let rule = rules.as_ref().and_then(|rules| rules.first_match(&secret.file));
        rows.push(json!({
            "id": secret.id,
            "file": secret.file,
            "clusters": secret.clusters,
            "namespace": secret.namespace,
            "name": secret.name,
            "keys": secret.keys.iter().map(|(key, source)| (key.clone(), json!(source.kind))).collect::<serde_json::Map<_, _>>(),
            "exists": file.is_some(),
            "readers": readers,
            "rule": rule.and_then(|(_, rule)| rule.path_regex.clone()),
            "modified": file.as_ref().and_then(|file| file.modified.clone()),
            "days": file.as_ref().and_then(|file| file.modified.as_deref()).and_then(days_since),
            "consumers": secret.consumers,
        }));
    }
    if arguments.json {
        return context.ui.json(&rows);
    }
    let mut text = String::new();
    for row in &rows {
        let line = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let joined = |value: &serde_json::Value| match value {
            serde_json::Value::Array(items) => items
                .iter()
                .filter_map(|item| item.as_str())
                .collect::<Vec<_>>()
                .join(","),
            serde_json::Value::Object(map) => map.keys().map(String::as_str).collect::<Vec<_>>().join(","),
            _ => String::new(),
        };
        let state = match (row["exists"].as_bool(), row["days"].as_u64()) {
            (Some(true), Some(days)) => plural(usize::try_from(days).unwrap_or(usize::MAX), "day"),
            (Some(true), None) => "there".to_owned(),
            _ => "not given".to_owned(),
        };
        text.push_str(&format_row(
            &line("id"),
            &state,
            &joined(&row["readers"]),
            &joined(&row["keys"]),
            &line("file"),
        ));
    }
    context.ui.data(text)
}

fn format_row(id: &str, state: &str, readers: &str, keys: &str, file: &str) -> String {
    format!("{id:<24} {state:>9}  {readers:<22} {keys:<34} {file}\n")
}

/// Whole days since a time in RFC 3339.
fn days_since(time: &str) -> Option<u64> {
    let then = humantime::parse_rfc3339(time).ok()?;
    let passed = std::time::SystemTime::now().duration_since(then).unwrap_or_default();
    Some(passed.as_secs() / 86_400)
}

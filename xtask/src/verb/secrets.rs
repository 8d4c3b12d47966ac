//! `secrets`: encrypted files made, checked, changed and rotated.
//! It prints names, places and recipients, and never a value.

use camino::Utf8PathBuf;

use crate::base::failure::{Failure, Result};
use crate::base::text::plural;
use crate::base::ui::Status;
use crate::cluster::access::Access;
use crate::cluster::embedded;
use crate::context::{Checkout, Context};
use crate::recipe::resync;
use crate::run::{Lock, PlanArgs, carry_out, nonce};
use crate::secrets::set::{self, Renewal};
use crate::secrets::sops::{SopsClient, relative};
use crate::secrets::value::{self, Given};
use crate::secrets::{check, edit, init, list, rotate};

/// Encrypted files: make, check, change and rotate them
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Arguments {
    /// Make an identity for who has none, and every secret that is missing
    #[command(after_help = "Examples:
  cargo xtask secrets init
  cargo xtask secrets init --take-over")]
    Init(Init),
    /// Find everything that is wrong, without any private key
    #[command(after_help = "Examples:
  cargo xtask secrets check
  cargo xtask secrets check --cluster hetzner --json")]
    Check(Check),
    /// Open a file in your editor, decrypted
    #[command(after_help = "Examples:
  cargo xtask secrets edit argocd-redis-local
  cargo xtask secrets edit k8s/secrets/local/argocd-redis.enc.yaml")]
    Edit(Edit),
    /// Give a secret of the platform config a new value
    #[command(after_help = "Examples:
  cargo xtask secrets set tofu-cloudflare
  cargo xtask secrets set step-ca-keys --regenerate")]
    Set(Set),
    /// Make an encrypted file that the platform config does not know yet
    #[command(after_help = "Examples:
  cargo xtask secrets new k8s/secrets/local/mail.enc.yaml --key password
  cargo xtask secrets new k8s/secrets/local/mail.enc.yaml --namespace mail --name smtp --key user --key password")]
    New(New),
    /// Add or remove recipients everywhere, or make new data keys
    #[command(after_help = "Examples:
  cargo xtask secrets rotate --data-key
  cargo xtask secrets rotate --remove admin")]
    Rotate(Rotate),
    /// Have a cluster take up a changed secret: wait until Healthy, restart who reads it
    #[command(after_help = "Examples:
  cargo xtask secrets resync argocd-redis-local --cluster k3s-dev
  cargo xtask secrets resync argocd-redis-production --cluster hetzner --dry-run")]
    Resync(Resync),
    /// List secrets with their keys and readers, never a value
    #[command(
        visible_alias = "ls",
        after_help = "Examples:
  cargo xtask secrets list
  cargo xtask secrets list --json"
    )]
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
    /// Read tokens from standard input, VARIABLE=VALUE a line
    #[arg(long)]
    pub stdin: bool,
}

/// Arguments of `secrets check`.
#[derive(Debug, Clone, clap::Args)]
pub struct Check {
    /// Also fail for what a deploy to this cluster needs and that is not there yet
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Also look through the rendered project in this folder
    #[arg(long, value_name = "SOURCE")]
    pub source: Vec<Utf8PathBuf>,
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
    /// Secret of the platform config
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
    /// Put a recipient in; in the place of a removed one of the same name, or of `--folder`
    #[arg(long, value_name = "NAME=RECIPIENT")]
    pub add: Vec<String>,
    /// Folder of k8s/secrets whose files a new name may read
    #[arg(long, value_name = "FOLDER", requires = "add")]
    pub folder: Vec<String>,
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
    /// Secret of the platform config
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Cluster of the platform config
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
        return edit::run_editor(&arguments.file);
    }
    let checkout = context.checkout()?;
    let sops_client = || SopsClient::open(context, &checkout);
    let given = |stdin: bool| if stdin { Given::Stdin } else { Given::VariableOrPrompt };
    match arguments {
        Arguments::Init(arguments) => {
            let take_over = if arguments.take_over {
                init::TakeOver::Yes
            } else {
                init::TakeOver::Ask
            };
            let mut sops_client = sops_client()?;
            if arguments.stdin {
                sops_client.handed = value::handed(&checkout.platform, std::io::stdin().lock())?;
            }
            init::run(&sops_client, take_over)?;
        }
        Arguments::Check(arguments) => run_check(context, &checkout, arguments)?,
        Arguments::Edit(arguments) => edit::run(&sops_client()?, &arguments.file)?,
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
            set::set(&sops_client()?, &arguments.name, &wanted)?;
        }
        Arguments::New(arguments) => {
            let wanted = set::New {
                file: relative(&checkout.root, &arguments.file),
                namespace: arguments.namespace.clone(),
                name: arguments.name.clone(),
                keys: arguments.key.clone(),
                given: given(arguments.stdin),
            };
            set::new(&sops_client()?, &wanted)?;
        }
        Arguments::Rotate(arguments) => {
            let wanted = rotate::Wanted {
                remove: arguments.remove.clone(),
                add: arguments.add.clone(),
                to: arguments.folder.clone(),
                data_key: arguments.data_key,
            };
            rotate::run(&sops_client()?, &wanted)?;
        }
        Arguments::Resync(arguments) => resync(context, &checkout, arguments)?,
        Arguments::List(arguments) => {
            let listed = list::of(&checkout)?;
            if arguments.json {
                context.ui.json(1, &serde_json::json!({"secrets": listed}))?;
            } else {
                context.ui.data(list::table(&listed))?;
            }
        }
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
    for project in &arguments.source {
        problems.extend(check::project_problems(&checkout.path(project), project)?);
    }
    let cluster = arguments.cluster.as_deref();
    if arguments.json {
        ui.json(1, &serde_json::json!({"problems": problems}))?;
    }
    for problem in problems.iter().filter(|problem| !problem.stops(cluster)) {
        ui.status(Status::Warning, problem.to_string());
    }
    check::judge(&problems, cluster)?;
    let required = &checkout.platform.secrets.required;
    let there = required
        .iter()
        .filter(|secret| checkout.path(&secret.file).exists())
        .count();
    ui.status(
        Status::Checked,
        format!(
            "{} of the platform config, and every file of the checkout",
            plural(there, "secret")
        ),
    );
    Ok(())
}

fn resync(context: &Context, checkout: &Checkout, arguments: &Resync) -> Result<()> {
    let name = &arguments.cluster;
    let config = checkout.platform.cluster(name)?;
    let secret = set::named(&checkout.platform, &arguments.name)?;
    if !secret.clusters.contains(name) {
        return Err(
            Failure::config(format!("cluster `{name}` does not need `{}`", secret.id))
                .hinted(format!("it is needed by: {}", secret.clusters.join(", "))),
        );
    }
    let access = Access::of(name, config);
    if checkout.path(embedded::marker(&access)).exists() {
        return Err(Failure::preflight(format!(
            "nothing decrypts on cluster `{name}`: its operator is only simulated"
        ))
        .hinted("a virtual machine runs the operator: `cargo xtask local-up --backend colima`"));
    }
    let plan = resync::plan(&access, config, secret, &nonce());
    carry_out(
        context,
        checkout,
        "secrets-resync",
        plan,
        &arguments.plan,
        &Lock::Host(name.clone()),
    )
}

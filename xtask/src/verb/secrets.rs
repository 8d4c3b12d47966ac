//! `secrets`: encrypted files made, checked, changed and rotated.
//! It prints names, places and recipients, and never a value.

use camino::Utf8PathBuf;

use crate::context::Context;
use crate::failure::Result;
use crate::secrets::check;
use crate::ui::{Word, plural};

/// Encrypted files: make, check, change and rotate them
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Arguments {
    /// Find everything that is wrong, without any private key
    Check(Check),
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

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    match arguments {
        Arguments::Check(arguments) => check(context, arguments).map(|()| 0),
    }
}

fn check(context: &Context, arguments: &Check) -> Result<()> {
    let checkout = context.checkout()?;
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
    let secrets = plural(checkout.platform.secrets.required.len() - missing(&checkout), "secret");
    ui.status(
        Word::Checked,
        format!("{secrets} of the facts, and every file of the checkout"),
    );
    Ok(())
}

fn missing(checkout: &crate::context::Checkout) -> usize {
    let required = &checkout.platform.secrets.required;
    required
        .iter()
        .filter(|secret| !checkout.path(&secret.file).exists())
        .count()
}

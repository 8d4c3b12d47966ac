//! `adopt`: accepts the cluster that a kubeconfig leads to as the one of the platform config.
//! It is the only way to accept a new UID, and it asks.

use serde_json::json;

use crate::base::failure::{Failure, Result};
use crate::base::root::PLATFORM_JSON;
use crate::base::ui::{Answer, Status};
use crate::cluster::access::Access;
use crate::context::Context;
use crate::live::identity;
use crate::plan::{Plan, Section};
use crate::platform::Environment;
use crate::recipe::guard;
use crate::run::{look, nonce};
use crate::setup::target;

/// Accept a new or rebuilt cluster: record its UID as the right one
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask adopt --cluster k3s-dev
  cargo xtask adopt --cluster hetzner")]
pub struct Arguments {
    /// Cluster of the platform config
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: String,
    /// Answer the prompt with yes; a production cluster's name is always typed
    #[arg(long)]
    pub yes: bool,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let name = &arguments.cluster;
    let config = checkout.platform.cluster(name)?;
    let access = Access::of(name, config).looking(&nonce());
    let mut plan = Plan::new(format!("adopt {name}"));
    plan.sections.push(
        Section::new(
            "identity",
            "Read which cluster this is",
            "Its UID is what it is known by.",
        )
        .with(guard::read(&access))
        .with(guard::list_records(&access)),
    );
    // A missing UID is what adopt is for.
    let mut known = config.clone();
    known.uid.get_or_insert_with(String::new);
    target::preflight(context, &checkout, name, &known, &plan, None)?;
    let found = look(context, &checkout, &plan.sections, &access.work())
        .and_then(|_| crate::base::files::later(&checkout.root, &guard::found(&access), "/metadata/uid"));
    let claims = identity::claims(&checkout.root, &guard::records(&access), name);
    fs_err::remove_dir_all(checkout.path(access.work()))?;
    let found = crate::base::files::text_of(&found?);
    identity::check_nobody_elses(&checkout.root, name, &found)?;
    let record = checkout.path(guard::record(&access));
    let before = match config.environment {
        Environment::Production => config.uid.clone(),
        Environment::Local => crate::base::files::later(&checkout.root, &guard::record(&access), "/uid")
            .ok()
            .map(|uid| crate::base::files::text_of(&uid)),
    };
    if before.as_deref() == Some(found.as_str()) {
        context.ui.status(
            Status::Fresh,
            format!("`{name}` is known by this UID already ({found})"),
        );
        return Ok(());
    }
    context.ui.text(format!(
        "cluster `{name}`: `{}` leads to UID {found}, known so far: {}",
        access.kubeconfig,
        before.as_deref().unwrap_or("none")
    ));
    // What makes it somebody else's is for the person to know who says that it is this one.
    for claim in claims? {
        context.ui.status(Status::Warning, claim);
    }
    ask(context, name, config.environment, arguments.yes)?;
    match config.environment {
        Environment::Local => {
            let text = serde_json::to_string_pretty(&json!({"uid": found})).expect("plain data");
            crate::base::files::write(&record, text.as_bytes(), 0o600)?;
            context.ui.status(Status::Wrote, guard::record(&access).as_str());
        }
        Environment::Production => {
            let path = checkout.path(PLATFORM_JSON);
            let mut value: serde_json::Value = serde_json::from_str(&fs_err::read_to_string(&path)?)
                .map_err(|error| Failure::config(format!("`{PLATFORM_JSON}` is no JSON: {error}")))?;
            value["clusters"][name.as_str()]["uid"] = json!(found);
            let mut text = serde_json::to_string_pretty(&value).expect("plain data");
            text.push('\n');
            crate::base::files::write(&path, text.as_bytes(), 0o644)?;
            context.ui.status(Status::Wrote, PLATFORM_JSON);
            context.ui.status(
                Status::Next,
                format!(
                    "say the same in `modules/platform.nix`, review and commit both: clusters.{name}.uid = \"{found}\";"
                ),
            );
        }
    }
    Ok(())
}

fn ask(context: &Context, name: &str, environment: Environment, yes: bool) -> Result<()> {
    let refused =
        |reason: &str| Failure::refused(format!("the new UID was not accepted: {reason}; nothing was changed"));
    if environment == Environment::Production {
        if !context.ui.can_ask() {
            return Err(refused("there is no terminal to type the cluster's name on")
                .hinted("a production cluster is adopted by a person"));
        }
        return match context.ui.read_line(&format!("Type `{name}` to accept it: "))? {
            Some(line) if line == name => Ok(()),
            _ => Err(refused("the cluster's name was not typed")),
        };
    }
    if yes {
        return Ok(());
    }
    if !context.ui.can_ask() {
        return Err(refused("there is no terminal to ask on").hinted("`--yes` answers this prompt"));
    }
    match context.ui.ask("Accept it?")? {
        Answer::Yes => Ok(()),
        Answer::No | Answer::Explain => Err(refused("you answered no")),
    }
}

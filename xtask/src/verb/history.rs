//! `history`: the deployments of a stage, from the deployment history in its cluster.

use crate::base::failure::Result;
use crate::base::ui::Status;
use crate::cluster::access::Access;
use crate::context::{Checkout, Context};
use crate::live::history::{self, Entry};
use crate::plan::{Action, Effect, Plan, Section, Step};
use crate::platform::{Cluster, Stage};
use crate::recipe::guard;
use crate::run::{look, nonce};
use crate::setup::target::{self, StageArgs};

/// List the deployments of a stage
#[derive(Debug, Clone, clap::Args)]
#[command(
    visible_alias = "log",
    after_help = "Examples:
  cargo xtask history
  cargo xtask history --stage full --cluster hetzner --json"
)]
pub struct Arguments {
    #[command(flatten)]
    pub stage: StageArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let (name, config, stage, _) = target::cluster(&checkout, &arguments.stage)?;
    let entries = entries(context, &checkout, &name, config, stage)?;
    if arguments.json {
        return context.ui.json(1, &serde_json::json!({"deployments": entries}));
    }
    if entries.is_empty() {
        context
            .ui
            .status(Status::Fresh, format!("stage `{stage}` was never deployed to `{name}`"));
        return Ok(());
    }
    let mut text = String::new();
    for (age, entry) in entries.iter().rev().enumerate() {
        text.push_str(&line(age, entry));
        text.push('\n');
    }
    context.ui.data(text)
}

/// One deployment on a line; the age is what `rollback --to` takes.
fn line(age: usize, entry: &Entry) -> String {
    let revision = entry.revision.as_deref().unwrap_or("no revision");
    let mut words = vec![
        format!("{age:>2}"),
        entry.time.clone(),
        entry.run.clone(),
        entry.actor.clone(),
        revision.chars().take(12).collect(),
        format!("{} of {} objects", entry.changed, entry.objects),
        entry.source.clone(),
    ];
    match entry.reviewed {
        Some(true) => words.push("reviewed".to_owned()),
        Some(false) => words.push("unreviewed".to_owned()),
        None => {}
    }
    words.extend(entry.only.iter().map(|only| format!("only {only}")));
    words.extend(entry.rolled_back_to.iter().map(|run| format!("rolled back to {run}")));
    words.extend(entry.ci.clone());
    words.extend(entry.reason.iter().map(|reason| format!("\"{reason}\"")));
    words.join("  ")
}

/// The deployment history's entries of a stage, oldest first.
pub fn entries(
    context: &Context,
    checkout: &Checkout,
    name: &str,
    config: &Cluster,
    stage: Stage,
) -> Result<Vec<Entry>> {
    let access = Access::of(name, config).looking(&nonce());
    let current = access.work().join("history-current.json");
    let mut plan = Plan::new(format!("history {stage} of {name}"));
    let history = Section::new(
        "history",
        "Read the deployment history",
        "It keeps the last deployments of each stage.",
    );
    plan.sections.push(guard::section(&access, config));
    plan.sections.push(history.with(Step::new(
        "history.read",
        "Read the deployment history",
        "It keeps the last deployments of each stage.",
        Effect::Read,
        Action::Run(guard::history_get(&access).to_file(&current)),
    )));
    target::preflight(context, checkout, name, config, &plan, None)?;
    let outcome = look(context, checkout, &plan.sections, &access.work()).and_then(|_| {
        let text = fs_err::read_to_string(checkout.path(&current))?;
        history::entries(&text, stage.name())
    });
    let folder = checkout.path(access.work());
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    outcome
}

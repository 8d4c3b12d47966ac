//! `rehearse`: a stage tried on a cluster that lives only as long as the trial.

use camino::Utf8Path;

use super::local_up::golden;
use crate::cluster::access::Access;
use crate::context::{Checkout, Context};
use crate::failure::{Failure, Result};
use crate::journal::Journal;
use crate::platform::{Backend, Stage};
use crate::recipe::deploy::{Deploy, Mode};
use crate::recipe::rehearse::{self, Keep};
use crate::run::{Lock, PlanArgs, carry_out, nonce};

/// Deploy the committed golden of a stage to an ephemeral embedded cluster, twice
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Stage to rehearse
    #[arg(long, value_name = "STAGE")]
    pub stage: Stage,
    /// Cluster whose golden is taken; the default is the stage's default cluster
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Keep the cluster for a look
    #[arg(long)]
    pub keep: bool,
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let platform = &checkout.platform;
    let name = match &arguments.cluster {
        Some(name) => name.clone(),
        None => platform.default_cluster(arguments.stage)?.to_owned(),
    };
    // The cluster of a rehearsal is nobody's: no UID of the facts is its own.
    let mut facts = platform.cluster(&name)?.clone();
    facts.uid = None;
    let nonce = nonce();
    let access = Access::rehearsal(&name, &nonce);
    let (source, description, from) = golden(&checkout, &name, arguments.stage)?;
    let goal = format!("rehearse {name} {}", arguments.stage);
    let deploy = Deploy {
        access: &access,
        facts: &facts,
        backend: Backend::Embedded,
        stage: arguments.stage,
        description: &description,
        source: &source,
        nonce: &nonce,
        goal: &goal,
        mode: &Mode::USUAL,
        key: crate::recipe::age_key::of(platform, &name, Backend::Embedded),
    };
    let choices = vec![
        format!(
            "stage `{}` of cluster `{name}`, on an ephemeral embedded cluster",
            arguments.stage
        ),
        format!("source {from}"),
    ];
    let keep = if arguments.keep { Keep::Cluster } else { Keep::Nothing };
    let plan = rehearse::plan(&deploy, choices, keep);
    let outcome = carry_out(context, &checkout, "rehearse", plan, &arguments.plan, &Lock::None);
    outcome.map_err(|failure| gather(failure, &checkout, &rehearse::evidence(&access)))
}

/// Puts the plan, the journal and the logs of a failed rehearsal beside what its cluster said.
fn gather(failure: Failure, checkout: &Checkout, evidence: &Utf8Path) -> Failure {
    let folder = checkout.path(evidence);
    let Some(run) = Journal::of_process(&checkout.root) else {
        return failure;
    };
    let copied = fs_err::create_dir_all(&folder).and_then(|()| {
        for entry in fs_err::read_dir(&run)? {
            let entry = entry?;
            fs_err::copy(entry.path(), folder.as_std_path().join(entry.file_name()))?;
        }
        Ok(())
    });
    match copied {
        Ok(()) => failure.hinted(format!("all that is worth a look or an upload: {evidence}")),
        Err(error) => failure.hinted(format!("what happened could not be gathered: {error}; look in {run}")),
    }
}

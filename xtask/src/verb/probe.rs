//! `probe`: the questions and functions of plans, for printed scripts; hidden from the list of verbs.
//! It is the same code that a run uses.

use camino::Utf8PathBuf;

use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::files::{later, text_of};
use crate::context::Context;
use crate::plan::{Action, Effect, Probe, Step};
use crate::run::exec::Runner;

/// What printed scripts ask.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Arguments {
    /// Whether a probe holds now: exit 0 or 1
    Holds {
        /// The probe as JSON.
        probe: String,
    },
    /// Carry out an action that is not a tool
    Action {
        /// The action as JSON.
        action: String,
    },
    /// Print what a file says at a JSON pointer; the elements of a list a line each
    Later {
        /// Relative to the root.
        file: Utf8PathBuf,
        /// RFC 6901.
        pointer: String,
    },
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let checkout = context.checkout()?;
    match arguments {
        Arguments::Later { file, pointer } => {
            let value = later(&checkout.root, file, pointer)?;
            let text = match &value {
                serde_json::Value::Array(values) => values.iter().map(text_of).collect::<Vec<_>>().join("\n"),
                other => text_of(other),
            };
            context.ui.data(text)?;
            Ok(0)
        }
        Arguments::Holds { probe } => {
            let probe: Probe = serde_json::from_str(probe).or_fail(Kind::Usage, "no probe")?;
            let runner_tools = context.toolbox(kubernetes(&checkout)).ensure(&probe.tools())?;
            let runner = Runner::new(&checkout.root, &context.ui, &runner_tools, &context.interrupt);
            Ok(u8::from(!runner.holds(&probe)?))
        }
        Arguments::Action { action } => {
            let action: Action = serde_json::from_str(action).or_fail(Kind::Usage, "no action")?;
            if matches!(action, Action::Run(_)) {
                return Err(
                    Failure::new(Kind::Usage, "a tool is run as itself, not through `probe`")
                        .hinted("`--dry-run=shell` prints the command"),
                );
            }
            let step = Step::new("probe.act", "Act", "A printed script asked.", Effect::Local, action);
            let runner_tools = context.toolbox(kubernetes(&checkout)).ensure(&step.tools())?;
            let runner = Runner::new(&checkout.root, &context.ui, &runner_tools, &context.interrupt);
            // Nothing but a tool writes a log.
            runner.act(&step, camino::Utf8Path::new("/dev/null"))?;
            Ok(0)
        }
    }
}

fn kubernetes(checkout: &crate::context::Checkout) -> &str {
    checkout.platform.versions.get("kubernetes").map_or("", String::as_str)
}

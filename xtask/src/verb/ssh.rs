//! `ssh`: a shell or a command in a VM; the exit status of the command becomes ours.

use crate::base::failure::Result;
use crate::cluster::access::Access;
use crate::context::Context;
use crate::platform::{Environment, Stage};
use crate::setup::vm::{self, Setup};

/// Open a shell in a VM, or run a command there
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask ssh
  cargo xtask ssh sudo journalctl --unit=k3s")]
pub struct Arguments {
    /// Profile of the VM; the default is that of the cluster of stage local
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// Command and its arguments; without one, a shell
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let checkout = context.checkout()?;
    let platform = &checkout.platform;
    let name = match &arguments.profile {
        None => platform.default_cluster(Stage::Local)?.to_owned(),
        Some(profile) => platform
            .clusters
            .iter()
            .find(|(_, config)| config.environment == Environment::Local && config.profile.as_ref() == Some(profile))
            .map(|(name, _)| name.clone())
            .ok_or_else(|| {
                crate::base::text::unknown(
                    crate::base::failure::Kind::Config,
                    "profile",
                    profile,
                    platform.profiles.keys().map(String::as_str),
                )
            })?,
    };
    let config = platform.cluster(&name)?;
    let access = Access::of(&name, config);
    let setup = Setup::of(&checkout, &name, config, vm::running(&checkout, &name)?)?;
    let tools = context
        .toolbox(&config.kubernetes)
        .ensure(&[crate::command::Tool::Limactl])?;
    setup.must_run(context, &checkout, &tools, &name)?;
    let ssh = setup.vm(&access).ssh(&arguments.command);
    let runner = crate::run::exec::Runner::new(&checkout.root, &context.ui, &tools, &context.interrupt);
    runner.become_tool(&ssh).map(|never| match never {})
}

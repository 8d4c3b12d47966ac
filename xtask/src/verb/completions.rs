//! `completions`: what a shell needs to complete this command line. It installs nothing.

use clap::Command;
use clap_complete::Shell;

use crate::base::failure::Result;
use crate::context::Context;

/// Print the script with which a shell completes `xtask`
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask completions bash
  cargo xtask completions fish")]
pub struct Arguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Runs the verb. A shell completes by the name of the binary, so it is `xtask` and not `cargo xtask`.
pub fn run(context: &Context, arguments: &Arguments, command: Command) -> Result<()> {
    let mut command = command.bin_name("xtask");
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "xtask", &mut script);
    context.ui.data(String::from_utf8_lossy(&script))
}

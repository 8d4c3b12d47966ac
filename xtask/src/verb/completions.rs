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
pub fn run(context: &Context, arguments: &Arguments, command: &Command) -> Result<()> {
    let mut command = without_hidden(command).bin_name("xtask");
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "xtask", &mut script);
    context.ui.data(String::from_utf8_lossy(&script))
}

/// The command line without its hidden verbs, which clap would complete as well: plans and sops start those.
fn without_hidden(command: &Command) -> Command {
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let mut kept = Command::new(command.get_name().to_owned())
        .visible_aliases(command.get_visible_aliases().map(str::to_owned).collect::<Vec<_>>())
        .disable_help_subcommand(true)
        .disable_version_flag(command.is_disable_version_flag_set() || command.get_version().is_none())
        .args(command.get_arguments().cloned())
        .subcommands(verbs.map(without_hidden));
    if let Some(version) = command.get_version() {
        kept = kept.version(version.to_owned());
    }
    if let Some(about) = command.get_about() {
        kept = kept.about(about.clone());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_complete_verbs_aliases_and_flags_and_nothing_hidden() {
        let command = <crate::cli::Cli as clap::CommandFactory>::command();
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut without_hidden(&command), "xtask", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["local-up", "status", "save-plan", "offline", "rotate"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
            for word in ["probe", "run-editor"] {
                assert!(!script.contains(word), "{shell}: {word}");
            }
        }
    }
}

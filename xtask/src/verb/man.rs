//! `man`: the manual pages, one for each verb, made from the command line itself.

use camino::Utf8PathBuf;
use clap::Command;

use crate::base::failure::Result;
use crate::base::text::plural;
use crate::base::ui::Word;
use crate::context::Context;

/// Print the manual page, or write those of all verbs into a folder
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask man
  cargo xtask man --to ~/.local/share/man/man1")]
pub struct Arguments {
    /// Write `xtask.1`, `xtask-deploy.1` and so on into this folder
    #[arg(long, value_name = "DIR")]
    pub to: Option<Utf8PathBuf>,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments, command: Command) -> Result<()> {
    let mut command = command.bin_name("xtask");
    command.build();
    let Some(folder) = &arguments.to else {
        return context.ui.data(page(command)?);
    };
    fs_err::create_dir_all(folder)?;
    let mut commands = vec![command];
    let mut written = 0;
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned());
        let name = command
            .get_display_name()
            .unwrap_or_else(|| command.get_name())
            .to_owned();
        fs_err::write(folder.join(format!("{name}.1")), page(command)?)?;
        written += 1;
    }
    context
        .ui
        .status(Word::Wrote, format!("{} into {folder}", plural(written, "page")));
    Ok(())
}

fn page(command: Command) -> Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

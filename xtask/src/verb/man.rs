//! `man`: the manual pages, one for each verb, made from the command line itself.

use camino::Utf8PathBuf;
use clap::Command;

use crate::base::failure::Result;
use crate::base::text::plural;
use crate::base::ui::Status;
use crate::context::Context;

/// Print the manual page, or write those of all verbs into a folder
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask man
  cargo xtask man ~/.local/share/man/man1")]
pub struct Arguments {
    /// Folder for `xtask.1`, `xtask-deploy.1` and so on; without it, the page of xtask is printed
    #[arg(value_name = "DIR")]
    pub folder: Option<Utf8PathBuf>,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments, command: Command) -> Result<()> {
    let mut command = command.bin_name("xtask");
    command.build();
    let Some(folder) = &arguments.folder else {
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
        .status(Status::Wrote, format!("{} into {folder}", plural(written, "page")));
    Ok(())
}

/// A page. Examples stand as they are typed, a line each, which clap's own section would fill to paragraphs.
fn page(command: Command) -> Result<String> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let has_verbs = command.get_subcommands().any(|verb| !verb.is_hide_set());
    let manual = clap_mangen::Man::new(command);
    let mut page = Vec::new();
    manual.render_title(&mut page)?;
    manual.render_name_section(&mut page)?;
    manual.render_synopsis_section(&mut page)?;
    manual.render_description_section(&mut page)?;
    manual.render_options_section(&mut page)?;
    if has_verbs {
        manual.render_subcommands_section(&mut page)?;
    }
    Ok(String::from_utf8_lossy(&page).into_owned() + &examples(&help))
}

/// The section of examples, as roff; nothing for a page without one. What was installed is called without cargo.
fn examples(help: &str) -> String {
    let lines: Vec<String> = help
        .lines()
        .skip_while(|line| *line != "Examples:")
        .skip(1)
        .map(|line| {
            let line = line.trim().replace("cargo xtask", "xtask");
            line.replace('\\', "\\e").replace('-', "\\-")
        })
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_each_example_on_a_line_of_its_own_and_no_hidden_verb() {
        let verb = Command::new("do")
            .after_help("Examples:\n  cargo xtask do --a 'b\\c'\n  cargo xtask do")
            .subcommand(Command::new("secret").hide(true));
        let page = page(verb).unwrap();
        assert!(
            page.ends_with(".SH EXAMPLES\n.nf\nxtask do \\-\\-a 'b\\ec'\nxtask do\n.fi\n"),
            "{page}"
        );
        assert!(!page.contains("secret") && !page.contains("SUBCOMMANDS"), "{page}");
        assert_eq!(examples("Nothing"), "");
    }
}

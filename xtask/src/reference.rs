//! `docs/cli.md`: the reference of the command line, made from the command line itself.
//! It writes nothing; `generate` does.

use std::fmt::Write as _;

use clap::CommandFactory;

use crate::base::failure::Kind;
use crate::cli::Cli;

/// The whole page.
pub fn page() -> String {
    let mut text = String::from(
        "<!-- Made by `cargo xtask generate`; do not edit. -->\n\n# Command line\n\n\
         Every verb as its `--help` prints it, then the exit codes.\n",
    );
    let mut command = Cli::command();
    command.build();
    section(&mut text, &mut command, "cargo xtask", 2);
    text.push_str("\n## Exit codes\n\n| code | kind | meaning | what to do |\n| --- | --- | --- | --- |\n");
    text.push_str("| 0 | – | done, or nothing to do | |\n");
    for kind in Kind::ALL {
        writeln!(
            text,
            "| {} | {} | {} | {} |",
            kind.exit_code(),
            kind.heading(),
            kind.meaning(),
            kind.remedy()
        )
        .expect("a string takes everything");
    }
    text
}

fn section(text: &mut String, command: &mut clap::Command, name: &str, level: usize) {
    let heading = "#".repeat(level.min(4));
    // A fixed width, so that the page does not depend on the terminal it was made in.
    let help = command.clone().term_width(100).render_help().to_string();
    write!(text, "\n{heading} `{name}`\n\n```text\n{}\n```\n", trimmed(&help)).expect("a string takes everything");
    let children: Vec<String> = command
        .get_subcommands()
        .filter(|child| !child.is_hide_set() && child.get_name() != "help")
        .map(|child| child.get_name().to_owned())
        .collect();
    for child in children {
        if let Some(found) = command.find_subcommand_mut(&child) {
            section(text, found, &format!("{name} {child}"), level + 1);
        }
    }
}

fn trimmed(help: &str) -> String {
    help.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
        .trim_end()
        .to_owned()
}

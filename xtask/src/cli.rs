//! The command line: every verb with its flags, and which code a run ends with.

use std::process::ExitCode;

use anstream::ColorChoice;
use camino::Utf8PathBuf;
use clap::{Parser, Subcommand, ValueEnum};

use crate::base::failure::Result;
use crate::base::ui::{Ui, Verbosity};
use crate::context::Context;
use crate::verb;

/// Takes a k3s/NixOS platform from nothing to running, as typed, reviewed, resumable plans
#[derive(Debug, Parser)]
#[command(
    name = "xtask",
    bin_name = "cargo xtask",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What every verb understands.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of every verb")]
pub struct Global {
    /// Checkout to work in; the default is the nearest folder upwards with `platform.json`
    #[arg(long, global = true, value_name = "DIR", env = "XTASK_ROOT", hide_env_values = true)]
    pub root: Option<Utf8PathBuf>,
    /// Keep every socket on loopback, also those of tools; whatever would leave it is a failure
    #[arg(long, global = true, env = "XTASK_OFFLINE", hide_env_values = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub offline: bool,
    /// Whether there is colour; `auto` looks at the terminal, `NO_COLOR`, `CLICOLOR` and `CLICOLOR_FORCE`
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: clap::ColorChoice,
    /// Tell every step; twice: also what its tool prints
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Tell only the result and failures
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// Every verb.
#[derive(Debug, Subcommand)]
pub enum Verb {
    LocalUp(verb::local_up::Arguments),
    LocalDown(verb::local_down::Arguments),
    LocalStatus(verb::local_status::Arguments),
    Rehearse(verb::rehearse::Arguments),
    Build(verb::build::Arguments),
    /// Make a cluster with ClusterAPI, and move it into itself
    #[command(subcommand)]
    Capi(verb::capi::Arguments),
    Render(verb::render::Arguments),
    Deploy(verb::deploy::Arguments),
    Diff(verb::diff::Arguments),
    /// Show what others changed since the last deploy, and who
    Drift(verb::diff::Arguments),
    Prune(verb::prune::Arguments),
    Rollback(verb::rollback::Arguments),
    History(verb::history::Arguments),
    Adopt(verb::adopt::Arguments),
    Unlock(verb::unlock::Arguments),
    /// Build, take or switch the disk of guests, or load a container image into one
    #[command(subcommand)]
    Image(verb::image::Arguments),
    Ssh(verb::ssh::Arguments),
    /// Trust the root certificate of a local cluster on this host, or no longer
    #[command(subcommand)]
    Trust(verb::trust::Arguments),
    Kubectl(verb::kubectl::Arguments),
    Env(verb::env::Arguments),
    /// Compare reviewed manifests with what the modules render, or accept it
    #[command(subcommand)]
    Golden(verb::golden::Arguments),
    /// Encrypted files: make, check, change and rotate them
    #[command(subcommand)]
    Secrets(verb::secrets::Arguments),
    /// List, prebuild or locate tools
    #[command(subcommand)]
    Tools(crate::tool::verb::ToolsVerb),
    Doctor(crate::tool::verb::DoctorArgs),
    Clean(verb::clean::Arguments),
    Generate(verb::generate::Arguments),
    Ci(verb::ci::Arguments),
    /// Ask what plans ask; for printed scripts
    #[command(subcommand, hide = true)]
    Probe(verb::probe::Arguments),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    leave_no_core();
    colour_of_help(std::env::args()).write_global();
    let cli = Cli::parse();
    let verbosity = Verbosity::asked(cli.global.quiet, cli.global.verbose);
    let ui = Ui::from_environment(choice(cli.global.color), verbosity);
    match dispatch(&ui, cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            ui.failure(&failure);
            ExitCode::from(failure.kind.exit_code())
        }
    }
}

/// What `--color` says, for help and for errors of the command line: those are printed before it is read.
fn colour_of_help(arguments: impl Iterator<Item = String>) -> ColorChoice {
    let words: Vec<String> = arguments.take_while(|word| word != "--").collect();
    let next = words.iter().skip(1).map(String::as_str).chain([""]);
    let given = words.iter().zip(next).find_map(|(word, next)| match word.as_str() {
        "--color" => Some(next),
        word => word.strip_prefix("--color="),
    });
    given
        .and_then(|word| clap::ColorChoice::from_str(word, false).ok())
        .map_or(ColorChoice::Auto, choice)
}

fn choice(color: clap::ColorChoice) -> ColorChoice {
    match color {
        clap::ColorChoice::Auto => ColorChoice::Auto,
        clap::ColorChoice::Always => ColorChoice::Always,
        clap::ColorChoice::Never => ColorChoice::Never,
    }
}

/// Neither this process nor what it starts leaves a core file: it would hold every value that passed through memory.
fn leave_no_core() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = Rlimit {
        current: Some(0),
        // A person who goes on in a shell of a child may want cores of his own.
        maximum: getrlimit(Resource::Core).maximum,
    };
    let _nothing_forbids_to_want_less = setrlimit(Resource::Core, limit);
}

fn dispatch(ui: &Ui, cli: Cli) -> Result<u8> {
    if cli.global.offline {
        crate::base::offline::stay_on_loopback();
    }
    let context = Context::new(ui.clone(), cli.global.root)?;
    match &cli.verb {
        Verb::LocalUp(arguments) => verb::local_up::run(&context, arguments).map(done),
        Verb::LocalDown(arguments) => verb::local_down::run(&context, arguments).map(done),
        Verb::LocalStatus(arguments) => verb::local_status::run(&context, arguments).map(done),
        Verb::Render(arguments) => verb::render::run(&context, arguments).map(done),
        Verb::Build(arguments) => verb::build::run(&context, arguments).map(done),
        Verb::Clean(arguments) => verb::clean::run(&context, arguments).map(done),
        Verb::Generate(arguments) => verb::generate::run(&context, arguments).map(done),
        Verb::Ci(arguments) => verb::ci::run(&context, arguments).map(done),
        Verb::Rehearse(arguments) => verb::rehearse::run(&context, arguments).map(done),
        Verb::Capi(arguments) => verb::capi::run(&context, arguments),
        Verb::Deploy(arguments) => verb::deploy::run(&context, arguments).map(done),
        Verb::Diff(arguments) => verb::diff::run(&context, arguments, verb::diff::View::Everything),
        Verb::Drift(arguments) => verb::diff::run(&context, arguments, verb::diff::View::Foreign),
        Verb::Prune(arguments) => verb::prune::run(&context, arguments).map(done),
        Verb::Rollback(arguments) => verb::rollback::run(&context, arguments).map(done),
        Verb::History(arguments) => verb::history::run(&context, arguments).map(done),
        Verb::Adopt(arguments) => verb::adopt::run(&context, arguments).map(done),
        Verb::Unlock(arguments) => verb::unlock::run(&context, arguments).map(done),
        Verb::Image(arguments) => verb::image::run(&context, arguments).map(done),
        Verb::Ssh(arguments) => verb::ssh::run(&context, arguments),
        Verb::Trust(arguments) => verb::trust::run(&context, arguments).map(done),
        Verb::Kubectl(arguments) => verb::kubectl::run(&context, arguments),
        Verb::Env(arguments) => verb::env::run(&context, arguments).map(done),
        Verb::Golden(arguments) => verb::golden::run(&context, arguments).map(done),
        Verb::Secrets(arguments) => verb::secrets::run(&context, arguments),
        Verb::Tools(arguments) => crate::tool::verb::tools(&toolbox(&context), ui, arguments).map(done),
        Verb::Doctor(arguments) => crate::tool::verb::doctor(&toolbox(&context), ui, arguments).map(done),
        Verb::Probe(arguments) => verb::probe::run(&context, arguments),
    }
}

/// Tools can be looked for and built before there is a readable checkout; then any version will do.
fn toolbox(context: &Context) -> crate::tool::Toolbox {
    let kubernetes = context
        .checkout()
        .ok()
        .and_then(|checkout| checkout.platform.versions.get("kubernetes").cloned())
        .unwrap_or_default();
    context.toolbox(&kubernetes)
}

fn done((): ()) -> u8 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_colour_of_help_is_read_wherever_it_stands_before_what_belongs_to_a_tool() {
        for (line, wanted) in [
            ("xtask --color=always --help", ColorChoice::Always),
            ("xtask deploy --color never --help", ColorChoice::Never),
            ("xtask --help", ColorChoice::Auto),
            ("xtask --color", ColorChoice::Auto),
            ("xtask kubectl -- --color=always", ColorChoice::Auto),
        ] {
            let words = line.split(' ').map(ToOwned::to_owned);
            assert_eq!(colour_of_help(words), wanted, "{line}");
        }
    }

    #[test]
    fn no_two_flags_of_a_verb_have_one_name() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}

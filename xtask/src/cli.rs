//! The command line: every verb with its flags, and which code a run ends with.

use std::fmt::Write as _;
use std::process::ExitCode;

use anstream::ColorChoice;
use camino::Utf8PathBuf;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::base::command_line::CommandLine;
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
    disable_help_subcommand = true,
    subcommand_value_name = "VERB",
    help_template = overview()
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
    #[command(after_help = "Examples:
  cargo xtask drift
  cargo xtask drift --stage full --cluster hetzner --json")]
    Drift(verb::diff::Arguments),
    Prune(verb::prune::Arguments),
    Rollback(verb::rollback::Arguments),
    History(verb::history::Arguments),
    Adopt(verb::adopt::Arguments),
    Unlock(verb::unlock::Arguments),
    /// Build, take or switch the disk of a VM, or load an image into it
    #[command(subcommand)]
    Image(verb::image::Arguments),
    Ssh(verb::ssh::Arguments),
    /// Trust the root certificate of a local cluster, or no longer
    #[command(subcommand)]
    Trust(verb::trust::Arguments),
    Kubectl(verb::kubectl::Arguments),
    Env(verb::env::Arguments),
    /// Compare goldens with what the modules render, or accept it
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
    Explain(verb::explain::Arguments),
    Completions(verb::completions::Arguments),
    Man(verb::man::Arguments),
    /// Ask what plans ask; for printed scripts
    #[command(subcommand, hide = true)]
    Probe(verb::probe::Arguments),
}

/// Verbs by what a person wants to do, as `--help` lists them.
const GROUPS: [(&str, &[&str]); 9] = [
    (
        "Start",
        &["local-up", "local-down", "local-status", "doctor", "explain"],
    ),
    ("Deploy", &["build", "render", "diff", "deploy", "prune", "rehearse"]),
    ("Inspect", &["drift", "history", "kubectl", "env"]),
    ("Recover", &["rollback", "adopt", "unlock"]),
    ("Secrets", &["secrets"]),
    ("Goldens", &["golden"]),
    ("VMs", &["image", "ssh", "trust"]),
    ("Production", &["capi"]),
    ("Maintain", &["ci", "generate", "clean", "tools", "completions", "man"]),
];

/// The overview that `--help` prints: every verb with its first line, in groups.
fn overview() -> String {
    let verbs = Verb::augment_subcommands(clap::Command::new("xtask"));
    let mut text = String::from("{about-with-newline}\n{usage-heading} {usage}\n");
    for (group, names) in GROUPS {
        write!(text, "\n{group}:\n").expect("a string takes everything");
        for name in names {
            let verb = verbs.find_subcommand(name);
            let about = verb.and_then(clap::Command::get_about).map(ToString::to_string);
            writeln!(text, "  {name:<14}{}", about.unwrap_or_default()).expect("a string takes everything");
        }
    }
    let short: Vec<String> = verbs
        .get_subcommands()
        .flat_map(|verb| {
            verb.get_visible_aliases()
                .map(move |alias| format!("{alias} ({})", verb.get_name()))
        })
        .collect();
    write!(text, "\nShort forms: {}\n", short.join(", ")).expect("a string takes everything");
    text.push_str(
        "\nOptions of every verb:\n{options}\n\n\
         `cargo xtask VERB --help` has the options and examples of a verb.\n\
         `cargo xtask explain WORD` has the meaning of a word.\n",
    );
    text
}

/// The verbs that a person is told of.
pub fn shown(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set())
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    leave_no_core();
    colour_of_help(std::env::args()).write_global();
    let command = Cli::command();
    let matches = command.clone().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let verbosity = Verbosity::asked(cli.global.quiet, cli.global.verbose);
    let ui = Ui::from_environment(choice(cli.global.color), verbosity);
    match dispatch(&ui, cli, CommandLine::of(&command, &matches)) {
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

fn dispatch(ui: &Ui, cli: Cli, command: CommandLine) -> Result<u8> {
    if cli.global.offline {
        crate::base::offline::stay_on_loopback();
    }
    let context = Context::new(ui.clone(), cli.global.root, command)?;
    match &cli.verb {
        Verb::LocalUp(arguments) => verb::local_up::run(&context, arguments).map(done),
        Verb::LocalDown(arguments) => verb::local_down::run(&context, arguments).map(done),
        Verb::LocalStatus(arguments) => verb::local_status::run(&context, arguments).map(done),
        Verb::Render(arguments) => verb::render::run(&context, arguments).map(done),
        Verb::Build(arguments) => verb::build::run(&context, arguments).map(done),
        Verb::Clean(arguments) => verb::clean::run(&context, arguments).map(done),
        Verb::Generate(arguments) => verb::generate::run(&context, arguments).map(done),
        Verb::Explain(arguments) => verb::explain::run(&context, arguments, &Cli::command()).map(done),
        Verb::Completions(arguments) => verb::completions::run(&context, arguments, &Cli::command()).map(done),
        Verb::Man(arguments) => verb::man::run(&context, arguments, Cli::command()).map(done),
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
        Verb::Doctor(arguments) => {
            let command = Cli::command();
            let verbs: Vec<&str> = shown(&command).map(clap::Command::get_name).collect();
            crate::tool::verb::doctor(&toolbox(&context), ui, arguments, &verbs).map(done)
        }
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
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_stands_in_one_group_and_on_one_line_of_a_small_terminal() {
        let command = Cli::command();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let mut verbs: Vec<&str> = shown(&command).map(clap::Command::get_name).collect();
        grouped.sort_unstable();
        verbs.sort_unstable();
        assert_eq!(grouped, verbs);
        for verb in shown(&command) {
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && about.len() <= 64, "`{}`: {about}", verb.get_name());
        }
    }

    /// Every verb that acts, with the words that lead to it.
    fn leaves(command: &clap::Command, above: &str, found: &mut Vec<(String, clap::Command)>) {
        for verb in shown(command) {
            let path = format!("{above} {}", verb.get_name());
            if verb.has_subcommands() {
                leaves(verb, &path, found);
            } else {
                found.push((path, verb.clone()));
            }
        }
    }

    #[test]
    fn every_verb_has_examples_and_the_command_line_takes_each_for_that_verb() {
        let mut verbs = Vec::new();
        leaves(&Cli::command(), "cargo xtask", &mut verbs);
        assert!(verbs.len() > 40, "{verbs:?}");
        for (path, verb) in verbs {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> = help
                .lines()
                .skip_while(|line| *line != "Examples:")
                .skip(1)
                .map(str::trim)
                .collect();
            assert!(examples.len() >= 2, "`{path}` has {} examples", examples.len());
            for example in examples {
                assert!(
                    example == path || example.starts_with(&format!("{path} ")),
                    "`{example}` is no example of `{path}`"
                );
                let words = shell_words::split(example).unwrap();
                if let Err(error) = Cli::command().try_get_matches_from(&words[1..]) {
                    panic!("`{example}`: {error}");
                }
            }
        }
    }

    #[test]
    fn a_flag_takes_the_same_kind_of_value_at_every_verb() {
        let mut verbs = Vec::new();
        leaves(&Cli::command(), "cargo xtask", &mut verbs);
        let mut seen: std::collections::BTreeMap<String, (String, String)> = std::collections::BTreeMap::new();
        for (path, verb) in &verbs {
            for argument in verb
                .get_arguments()
                .filter(|argument| argument.get_action().takes_values())
            {
                let Some(flag) = argument.get_long() else { continue };
                let value = format!("{:?}", argument.get_value_names());
                let (known, first) = seen
                    .entry(flag.to_owned())
                    .or_insert_with(|| (value.clone(), path.clone()));
                assert_eq!(*known, value, "`--{flag}` of `{first}` and of `{path}`");
            }
        }
        assert!(seen.len() > 20, "{seen:?}");
    }

    #[test]
    fn what_belongs_to_kubectl_is_handed_on_with_and_without_dashes() {
        for (line, cluster, wanted) in [
            ("kubectl get pods -A", None, "get pods -A"),
            ("kubectl -- get pods -A", None, "get pods -A"),
            (
                "kubectl --cluster a get pods --cluster b",
                Some("a"),
                "get pods --cluster b",
            ),
            ("kubectl --cluster a -- -n x get pods", Some("a"), "-n x get pods"),
            ("kubectl -n x get pods", None, "-n x get pods"),
            ("kubectl exec pod -- ls --color -v", None, "exec pod -- ls --color -v"),
            ("kubectl -- exec pod -- ls", None, "exec pod -- ls"),
            (
                "k get pods --offline --yes -q -vv",
                None,
                "get pods --offline --yes -q -vv",
            ),
            ("kubectl", None, ""),
        ] {
            let cli = Cli::try_parse_from(["xtask"].into_iter().chain(line.split(' '))).unwrap();
            let Verb::Kubectl(arguments) = cli.verb else {
                panic!("`{line}` is another verb")
            };
            assert_eq!(arguments.arguments.join(" "), wanted, "{line}");
            assert_eq!(arguments.cluster.as_deref(), cluster, "{line}");
            assert!(!arguments.yes && !cli.global.offline && !cli.global.quiet, "{line}");
        }
    }
}

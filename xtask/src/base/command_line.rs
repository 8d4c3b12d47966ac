//! A command line as clap understood it, so that two of them can be compared whatever their order and spelling.
//! It knows no verb.

use std::collections::BTreeMap;

use clap::parser::ValueSource;
use serde::{Deserialize, Serialize};

/// Flags that change nothing of what a run does: where it begins, who agrees, how it is shown, and which spelling of
/// the checkout was given.
const ASIDE: [&str; 8] = ["color", "offline", "quiet", "resume", "root", "verbose", "yes", "from"];

/// A verb with its flags, as clap understood them: their order and spelling say nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CommandLine {
    /// The verb, with the verb below it where there is one.
    pub verb: String,
    /// Values by flag.
    pub flags: BTreeMap<String, Vec<String>>,
    /// Whether prompts are answered with yes, which changes nothing of what is asked for.
    #[serde(skip)]
    pub yes: bool,
}

impl CommandLine {
    /// Reads what clap understood of a command line.
    pub fn of(command: &clap::Command, matches: &clap::ArgMatches) -> Self {
        let mut read = Self::default();
        let (mut command, mut matches) = (command, matches);
        loop {
            read.take(command, matches);
            let Some((name, below)) = matches.subcommand() else {
                return read;
            };
            let Some(found) = command.find_subcommand(name) else {
                return read;
            };
            if !read.verb.is_empty() {
                read.verb.push(' ');
            }
            read.verb.push_str(name);
            (command, matches) = (found, below);
        }
    }

    fn take(&mut self, command: &clap::Command, matches: &clap::ArgMatches) {
        self.yes |= matches!(matches.try_get_one::<bool>("yes"), Ok(Some(true)));
        for id in matches.ids() {
            let name = id.as_str();
            // Groups have ids, too.
            let Some(argument) = command.get_arguments().find(|argument| argument.get_id() == id) else {
                continue;
            };
            let given = matches!(
                matches.value_source(name),
                Some(ValueSource::CommandLine | ValueSource::EnvVariable)
            );
            if !given || ASIDE.contains(&name) {
                continue;
            }
            let flag = match argument.get_long() {
                Some(long) => format!("--{long}"),
                None => format!("<{}>", name.to_uppercase()),
            };
            let mut values: Vec<String> = matches
                .get_raw(name)
                .into_iter()
                .flatten()
                .map(|value| value.to_string_lossy().into_owned())
                .collect();
            if argument.get_long().is_some() {
                // Which of several is first says nothing.
                values.sort_unstable();
            }
            self.flags.insert(flag, values);
        }
    }
}

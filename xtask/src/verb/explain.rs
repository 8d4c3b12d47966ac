//! `explain`: the meaning of an exit code, of a word of `docs/glossary.md`, or of a component of this checkout.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use clap::Command;

use crate::base::failure::{Kind, Result};
use crate::base::text::{plural, unknown};
use crate::context::{Checkout, Context};
use crate::project::StageDescription;

/// Explain an exit code, a word of the glossary or a component
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask explain 5
  cargo xtask explain saved plan
  cargo xtask explain cilium")]
pub struct Arguments {
    /// What to explain; without it, everything that can be explained is listed
    #[arg(value_name = "CODE|WORD|COMPONENT")]
    pub subject: Vec<String>,
}

/// The glossary, as it stands in the documentation.
const GLOSSARY: &str = include_str!("../../../docs/glossary.md");

/// A code above this one is that of a process that a signal ended.
const SIGNALLED: i32 = 128;

/// Words with their meanings.
fn glossary() -> impl Iterator<Item = (&'static str, &'static str)> + Clone {
    GLOSSARY
        .split("\n## ")
        .skip(1)
        .filter_map(|part| part.split_once('\n'))
        .map(|(word, meaning)| (word.trim(), meaning.trim()))
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments, command: &Command) -> Result<()> {
    // Words and codes are explained anywhere, components where there is a checkout.
    let checkout = context.checkout().ok();
    let components = checkout.as_ref().map(components).unwrap_or_default();
    if arguments.subject.is_empty() {
        return context.ui.data(everything(&components));
    }
    let subject = arguments.subject.join(" ");
    let mut parts: Vec<String> = Vec::new();
    parts.extend(code(&subject));
    parts.extend(word(&subject));
    parts.extend(verb(&subject, command));
    if let (Some(checkout), Some(places)) = (&checkout, components.get(subject.as_str())) {
        parts.push(component(checkout, &subject, places));
    }
    if parts.is_empty() {
        let known = glossary()
            .map(|(word, _)| word)
            .chain(components.keys().map(String::as_str));
        return Err(
            unknown(Kind::Usage, "explanation of", &subject, known).hinted("exit codes are explained by their number")
        );
    }
    context.ui.data(parts.join("\n"))
}

/// Everything that can be explained, a kind a paragraph.
fn everything(components: &BTreeMap<String, Vec<StageDescription>>) -> String {
    let codes: Vec<String> = Kind::ALL.iter().map(|kind| kind.exit_code().to_string()).collect();
    let words: Vec<&str> = glossary().map(|(word, _)| word).collect();
    let mut text = format!("Exit codes: 0, {}\n\nWords: {}\n", codes.join(", "), words.join(", "));
    if !components.is_empty() {
        let names: Vec<&str> = components.keys().map(String::as_str).collect();
        writeln!(text, "\nComponents: {}", names.join(", ")).expect("a string takes everything");
    }
    text
}

/// The meaning of an exit code, given as its number or as the word of its message.
fn code(subject: &str) -> Option<String> {
    if subject == "0" {
        return Some("Exit code 0: done, or nothing to do\n".to_owned());
    }
    let number: Option<i32> = subject.parse().ok();
    let kind = match number {
        Some(number) => Kind::of_exit_code(number),
        None => Kind::ALL
            .into_iter()
            .find(|kind| kind.heading() == subject.to_lowercase()),
    };
    match (kind, number) {
        (Some(kind), _) => Some(format!(
            "Exit code {} ({}): {}\nWhat to do: {}\n",
            kind.exit_code(),
            kind.heading(),
            kind.meaning(),
            kind.remedy()
        )),
        (None, Some(number)) if number > SIGNALLED => Some(format!(
            "Exit code {number}: xtask does not end with it; a shell says so of a process that signal {} ended\n",
            number - SIGNALLED
        )),
        _ => None,
    }
}

/// The meaning of a word of the glossary, in the singular or the plural.
fn word(subject: &str) -> Option<String> {
    let subject = subject.to_lowercase();
    let (word, meaning) = glossary().find(|(word, _)| {
        let word = word.to_lowercase();
        word == subject || subject.strip_suffix('s') == Some(&word)
    })?;
    Some(format!("{word}: {meaning}\n"))
}

/// What a verb does; its help says the rest.
fn verb(subject: &str, command: &Command) -> Option<String> {
    let mut found = command;
    for name in subject.split(' ') {
        found = found.find_subcommand(name).filter(|verb| !verb.is_hide_set())?;
    }
    let about = found.get_about()?;
    Some(format!(
        "cargo xtask {subject}: {about}\nOptions and examples: `cargo xtask {subject} --help`\n"
    ))
}

/// Every component with the stages that have it, as the goldens say.
fn components(checkout: &Checkout) -> BTreeMap<String, Vec<StageDescription>> {
    let mut found: BTreeMap<String, Vec<StageDescription>> = BTreeMap::new();
    for (cluster, config) in &checkout.platform.clusters {
        for stage in config.stages.keys() {
            // A stage that has no golden yet has nothing to say.
            let Ok(description) = StageDescription::read(&checkout.path(format!("k8s/golden/{cluster}/{stage}")))
            else {
                continue;
            };
            let names: BTreeSet<&str> = description.items.iter().map(|item| item.component.as_str()).collect();
            for name in names {
                found.entry(name.to_owned()).or_default().push(description.clone());
            }
        }
    }
    found
}

/// What a component is for, where it is deployed, and what is waited for.
fn component(checkout: &Checkout, name: &str, stages: &[StageDescription]) -> String {
    let folder = format!("modules/k8s/{name}");
    // The first line of the module says what it is for.
    let purpose = fs_err::read_to_string(checkout.path(&folder).join("default.nix"))
        .ok()
        .and_then(|text| Some(text.lines().next()?.strip_prefix("# ")?.to_owned()));
    let mut text = match &purpose {
        Some(purpose) => format!("Component {name}: {purpose}\n"),
        None => format!("Component {name}\n"),
    };
    let mut line = |left: String, right: String| {
        writeln!(text, "  {left:<24} {right}").expect("a string takes everything");
    };
    if checkout.path(&folder).is_dir() {
        line("module".to_owned(), folder);
    }
    let mut charts = BTreeSet::new();
    for description in stages {
        let phases: BTreeSet<&str> = description
            .items
            .iter()
            .filter(|item| item.component == name)
            .map(|item| item.phase.as_str())
            .collect();
        let gates: Vec<&str> = description
            .gates
            .iter()
            .filter(|gate| gate.component == name)
            .map(|gate| gate.id.as_str())
            .collect();
        let waits = if gates.is_empty() {
            "no gate".to_owned()
        } else {
            format!("{}: {}", plural(gates.len(), "gate"), gates.join(", "))
        };
        line(
            format!("{} {}", description.cluster, description.stage),
            format!("phase {}, {waits}", phases.into_iter().collect::<Vec<_>>().join(", ")),
        );
        charts.extend(
            description
                .charts
                .iter()
                .filter(|chart| chart.component == name)
                .map(|chart| chart.source.clone()),
        );
    }
    for chart in charts {
        line("chart".to_owned(), chart);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_glossary_is_in_order_and_says_something_of_every_word() {
        let words: Vec<&str> = glossary().map(|(word, _)| word).collect();
        assert!(words.len() > 50, "{words:?}");
        let mut sorted = words.clone();
        sorted.sort_by_key(|word| word.to_lowercase());
        sorted.dedup();
        assert_eq!(words, sorted);
        for (word, meaning) in glossary() {
            assert!(meaning.len() > 20 && meaning.ends_with('.'), "{word}: {meaning}");
        }
    }

    #[test]
    fn a_code_is_known_by_number_and_by_word_and_a_word_in_singular_and_plural() {
        assert_eq!(code("5"), code("Preflight"));
        assert!(code("5").unwrap().contains("nothing was changed"));
        assert!(code("0").is_some());
        assert!(code("137").unwrap().contains("signal 9"));
        assert_eq!(code("42"), None);
        assert_eq!(word("Goldens"), word("golden"));
        assert!(word("cluster identity check").is_some());
        assert_eq!(word("nonsense"), None);
    }
}

//! `ci`: the one test command, on a person's machine and in the hosted workflow alike.
//! A group that cannot run is named; with `CI=true` it is a failure, never a skip.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;

use crate::base::failure::{Failure, Kind, Result};
use crate::base::text::{plural, seconds, unknown};
use crate::base::ui::Status;
use crate::call::kluctl::Warnings;
use crate::command::Tool;
use crate::context::Context;
use crate::plan::{Action, Plan, Step};
use crate::recipe::ci;
use crate::run::exec::Runner;
use crate::run::journal::{End, Journal, State};
use crate::tool::Outcome;

/// Run every check
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask ci
  cargo xtask ci --list")]
pub struct Arguments {
    /// Print the groups with their commands, and run nothing
    #[arg(long)]
    pub list: bool,
    /// Only these groups
    #[arg(value_name = "GROUP")]
    pub groups: Vec<String>,
    /// Fail where the API server of a rehearsal warns of something
    #[arg(long)]
    pub deny_warnings: bool,
    /// Write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<Utf8PathBuf>,
}

/// What became of a group.
struct Verdict {
    group: String,
    elapsed: Duration,
    failure: Option<String>,
}

/// Runs the verb. A group that fails does not keep the others from running; the exit code is that of the first.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let ui = &context.ui;
    let warnings = if arguments.deny_warnings {
        Warnings::Denied
    } else {
        Warnings::Shown
    };
    let plan = chosen(ci::plan(&checkout.platform, warnings), &arguments.groups)?;
    if arguments.list {
        let mut text = String::new();
        for (group, step) in steps(&plan) {
            let what = match &step.action {
                Action::Run(command) => command.shell(),
                _ => step.title.clone(),
            };
            writeln!(text, "{group:<32} {what}").expect("a string takes everything");
        }
        return ui.data(text);
    }
    let kubernetes = checkout.platform.versions.get("kubernetes").map_or("", String::as_str);
    let toolbox = context.toolbox(kubernetes);
    let (plan, left_out) = runnable(plan, &toolbox);
    let in_ci = std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false");
    if in_ci && !left_out.is_empty() {
        return Err(Failure::many(
            Kind::Preflight,
            "groups cannot run, and in CI none is skipped",
            &left_out,
        )
        .hinted("`cargo xtask doctor` shows the remedy for each tool"));
    }
    let tools = toolbox.ensure(&plan.tools())?;
    let mut journal = Journal::begin(&checkout.root, "ci", &plan)?;
    let runner = Runner::new(&checkout.root, ui, &tools, &context.interrupt);
    let mut verdicts: Vec<Verdict> = Vec::new();
    let mut failures: Vec<Failure> = Vec::new();
    for (index, (group, step)) in steps(&plan).enumerate() {
        let path = format!("{group}/{}", step.id);
        if verdicts
            .last()
            .is_some_and(|verdict| verdict.group == group && verdict.failure.is_some())
        {
            continue;
        }
        if context.interrupt.is_set() {
            failures.insert(0, Failure::new(Kind::Interrupted, "interrupted"));
            break;
        }
        if verdicts.last().is_none_or(|verdict| verdict.group != group) {
            verdicts.push(Verdict {
                group: group.to_owned(),
                elapsed: Duration::ZERO,
                failure: None,
            });
        }
        let verdict = verdicts.last_mut().expect("one was just pushed");
        ui.status(Status::Running, format!("{group}: {}", step.title));
        ui.progress(format!("{group}: {}", step.title));
        journal.record(&path, State::Started)?;
        let started = Instant::now();
        let log = journal.log_path(index, &path);
        let failed = runner.act(step, &log).err();
        ui.clear_progress();
        verdict.elapsed += started.elapsed();
        let state = failed
            .as_ref()
            .map_or(State::Done, |failure| State::Failed(failure.chain()));
        journal.record(&path, state)?;
        match failed {
            None => ui.status(
                Status::Done,
                format!("{group}: {} ({})", step.title, seconds(started.elapsed())),
            ),
            Some(failed) => {
                verdict.failure = Some(failed.chain());
                let failed = if log.exists() {
                    failed.hinted(format!("the whole log: {log}"))
                } else {
                    failed
                };
                let failed = failed
                    .context(format!("group `{group}` failed"))
                    .hinted(format!("alone: `cargo xtask ci {group}`"));
                ui.status(Status::Failed, failed.chain());
                failures.push(failed);
            }
        }
    }
    let end = if failures.is_empty() {
        End::Success
    } else {
        End::Failure
    };
    journal.record("run", State::Ended(end))?;
    if let Some(path) = &arguments.junit {
        let path = crate::base::root::absolute(path)?;
        crate::base::files::write(&path, junit(&verdicts, &left_out).as_bytes(), 0o644)?;
    }
    for reason in &left_out {
        ui.status(Status::Skipped, reason);
    }
    let passed = verdicts.iter().filter(|verdict| verdict.failure.is_none()).count();
    ui.status(
        if failures.is_empty() {
            Status::Done
        } else {
            Status::Failed
        },
        format!(
            "{passed} of {} passed, {} not run for lack of a tool",
            plural(plan.sections.len(), "group"),
            left_out.len()
        ),
    );
    one(failures)
}

/// One failure of all, of the first one's kind.
fn one(mut failures: Vec<Failure>) -> Result<()> {
    if failures.len() < 2 {
        return failures.pop().map_or(Ok(()), Err);
    }
    let chains: Vec<String> = failures.iter().map(Failure::chain).collect();
    let all = Failure::many(failures[0].kind, format!("{} groups failed", chains.len()), &chains);
    Err(failures
        .iter()
        .flat_map(|failure| &failure.hints)
        .fold(all, |all, hint| all.hinted(hint)))
}

/// Every step with the name of its group, which is a section.
fn steps(plan: &Plan) -> impl Iterator<Item = (&str, &Step)> {
    let sections = plan.sections.iter();
    sections.flat_map(|section| section.steps().into_iter().map(|step| (section.id.as_str(), step)))
}

/// The plan with the named groups only.
fn chosen(mut plan: Plan, groups: &[String]) -> Result<Plan> {
    if groups.is_empty() {
        return Ok(plan);
    }
    let known = || plan.sections.iter().map(|section| section.id.as_str());
    for group in groups {
        if !known().any(|name| name == group) {
            let names: Vec<&str> = known().collect();
            return Err(unknown(Kind::Usage, "group", group, names.iter().copied()));
        }
    }
    plan.sections.retain(|section| groups.contains(&section.id));
    Ok(plan)
}

/// Leaves out the groups whose tools nothing on this host provides, with the reason of each.
fn runnable(mut plan: Plan, toolbox: &crate::tool::Toolbox) -> (Plan, Vec<String>) {
    let mut missing: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for section in &plan.sections {
        let tools: Vec<Tool> = section
            .commands()
            .into_iter()
            .flat_map(|command| command.tools().collect::<Vec<_>>())
            .filter(|tool| *tool != Tool::Xtask)
            .collect();
        for lookup in toolbox.look(&tools) {
            if matches!(lookup.outcome, Outcome::Missing | Outcome::Refused(_)) {
                missing
                    .entry(section.id.clone())
                    .or_default()
                    .insert(lookup.tool.program());
            }
        }
    }
    plan.sections.retain(|section| !missing.contains_key(&section.id));
    let left_out = missing
        .into_iter()
        .map(|(group, tools)| {
            let tools: Vec<String> = tools.into_iter().map(|tool| format!("`{tool}`")).collect();
            format!(
                "group `{group}` needs {}, which nothing here provides (`cargo xtask doctor` says how to get it)",
                tools.join(", ")
            )
        })
        .collect();
    (plan, left_out)
}

/// A test case a group; those that could not run are skipped ones, by their reason.
fn junit(verdicts: &[Verdict], left_out: &[String]) -> String {
    let failures = verdicts.iter().filter(|verdict| verdict.failure.is_some()).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"ci\" tests=\"{}\" failures=\"{failures}\" skipped=\"{}\">\n",
        verdicts.len() + left_out.len(),
        left_out.len()
    );
    for verdict in verdicts {
        write!(
            text,
            "  <testcase name=\"{}\" time=\"{:.3}\"",
            escape(&verdict.group),
            verdict.elapsed.as_secs_f64()
        )
        .expect("a string takes everything");
        match &verdict.failure {
            None => text.push_str("/>\n"),
            Some(failure) => {
                write!(text, ">\n    <failure>{}</failure>\n  </testcase>\n", escape(failure))
                    .expect("a string takes everything");
            }
        }
    }
    for reason in left_out {
        // The reason begins with the group's name.
        let group = reason.split('`').nth(1).unwrap_or(reason);
        writeln!(
            text,
            "  <testcase name=\"{}\">\n    <skipped message=\"{}\"/>\n  </testcase>",
            escape(group),
            escape(reason)
        )
        .expect("a string takes everything");
    }
    text.push_str("</testsuite>\n");
    text
}

/// XML text; characters that XML 1.0 cannot hold become U+FFFD.
fn escape(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\n' | '\t' => character.to_string(),
            character if character.is_control() => '\u{fffd}'.to_string(),
            character => character.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_failures_are_one_that_names_each_and_ends_with_the_first_ones_code() {
        assert!(one(Vec::new()).is_ok());
        let first = Failure::new(Kind::Timeout, "slow")
            .context("group `a` failed")
            .hinted("look at a");
        let second = Failure::new(Kind::Step, "broken")
            .context("group `b` failed")
            .hinted("look at b");
        let both = one(vec![first, second]).unwrap_err();
        assert_eq!(both.kind, Kind::Timeout);
        for part in ["2 groups failed", "group `a` failed: slow", "group `b` failed: broken"] {
            assert!(both.chain().contains(part), "{}", both.chain());
        }
        assert_eq!(both.hints, ["look at a", "look at b"]);
    }

    #[test]
    fn a_failure_with_markup_stays_one_test_case() {
        let text = junit(
            &[Verdict {
                group: "unit".into(),
                elapsed: Duration::from_millis(1500),
                failure: Some("a < b & \u{1b}[31m".into()),
            }],
            &["group `nix-tests` needs `nix`".to_owned()],
        );
        assert!(text.contains("tests=\"2\" failures=\"1\" skipped=\"1\""));
        assert!(text.contains("<testcase name=\"nix-tests\">"));
        assert!(text.contains("<failure>a &lt; b &amp; \u{fffd}[31m</failure>"));
    }
}

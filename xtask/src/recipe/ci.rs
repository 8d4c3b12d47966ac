//! Everything that `ci` runs, group by group: what is cheap first, what needs a cluster last.

use crate::plan::{Action, Command, Effect, Plan, Step, Tool};
use crate::platform::Platform;

/// The goal of the plan.
pub const GOAL: &str = "ci";

/// Every group of checks, a step each.
pub fn plan(platform: &Platform) -> Plan {
    let mut plan = Plan::new(GOAL);
    plan.steps = vec![
        group(
            "format",
            "Check the format of the crate",
            "One format, and no diff about it.",
            120,
            cargo(["fmt", "--check"]),
        ),
        group(
            "lint",
            "Lint with warnings denied",
            "A warning that nobody must mend is noise.",
            1800,
            cargo([
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--",
                "--deny",
                "warnings",
            ]),
        ),
        group(
            "unit",
            "Run unit, law and fake-tool tests",
            "They need no wrapped tool.",
            1800,
            cargo(["test", "--workspace", "--locked"]),
        ),
        group(
            "generated",
            "Check that generated files are current",
            "A page that is made from code must say what the code says.",
            300,
            xtask(["generate", "--check"]),
        ),
        group(
            "installed",
            "Run the installed binary outside cargo, with an empty PATH",
            "`nix run` starts it without cargo and without our environment.",
            60,
            xtask(["local-up", "--dry-run=json"]).env("PATH", "").env("CARGO", ""),
        ),
    ];
    for (name, cluster) in &platform.clusters {
        for stage in cluster.stages.keys() {
            plan.steps.push(group(
                &format!("rehearse-{name}-{stage}"),
                &format!("Rehearse stage {stage} of {name}"),
                "The golden deploys to a real API server, and a second deploy writes nothing.",
                900,
                xtask(["rehearse"])
                    .arg(format!("--stage={stage}"))
                    .arg(format!("--cluster={name}")),
            ));
        }
    }
    plan
}

fn group(id: &str, title: &str, why: &str, seconds: u64, command: Command) -> Step {
    Step::new(
        &format!("{id}.check"),
        title,
        why,
        Effect::Local,
        Action::Run(command.within(seconds)),
    )
}

fn cargo<const N: usize>(args: [&str; N]) -> Command {
    Command::new(Tool::Cargo).args(args)
}

fn xtask<const N: usize>(args: [&str; N]) -> Command {
    Command::new(Tool::Xtask).args(args)
}

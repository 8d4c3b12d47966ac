//! Everything that `ci` runs, group by group: what is cheap first, what needs a cluster last.

use super::nix;
use crate::call::kluctl::Warnings;
use crate::command::{Arg, Command, Tool};
use crate::plan::{Action, Effect, Plan, Section, Step};
use crate::platform::Platform;

/// The goal of the plan.
pub const GOAL: &str = "ci";

/// Test targets that run the real tools on real API servers.
const REAL: [(&str, &str, &str); 5] = [
    (
        "live",
        "Deploy, diff, prune and roll back on two clusters",
        "What a verb says is held against what the server has.",
    ),
    (
        "secrets",
        "Encrypt, rotate and hand over secrets",
        "The real sops and age, and nothing that leaks.",
    ),
    (
        "vms",
        "Bring VMs up and down",
        "The tools of VMs are fakes that hold state; the API server behind them is real.",
    ),
    (
        "cluster",
        "Kill runs at every step, and resume",
        "A run that was cut off ends where an undisturbed one does.",
    ),
    (
        "capi",
        "Bootstrap a cluster with ClusterAPI and move it into itself",
        "The real controllers and clusterctl; only machines are in memory.",
    ),
];

/// Every group of checks, a section each.
pub fn plan(platform: &Platform, warnings: Warnings) -> Plan {
    let mut plan = Plan::new(GOAL);
    plan.sections = vec![
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
            "A warning that stays is noise.",
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
            cargo([
                "test",
                "--package=xtask",
                "--locked",
                "--lib",
                "--bins",
                "--test=commands",
                "--test=vm_scripts",
            ]),
        )
        .after(fakes("unit")),
        group(
            "nix-files",
            "Check the format and the dead code of every Nix file",
            "The same as `nixfmt --check` and `deadnix --fail`, from their libraries.",
            900,
            cargo(["test", "--locked", "--package", "xtask", "--test", "nix_files"]),
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
    plan.sections.push(group(
        "secrets",
        "Check every secret and every rule, without a private key",
        "Who reads what is decided in one file, and nothing lies open anywhere.",
        60,
        xtask(["secrets", "check"]),
    ));
    plan.sections.push(group(
        "workflow",
        "Lint the hosted workflow",
        "A workflow that does not parse runs nothing.",
        60,
        Command::new(Tool::Actionlint).arg(".github/workflows/ci.yml"),
    ));
    plan.sections.push(nix::tests("nix-tests"));
    plan.sections.push(group(
        "nix-renderer",
        "Test the renderer",
        "A chart, manifests and a secret of our own, and every error that a build can end with.",
        600,
        Command::new(Tool::Bash).arg("modules/k8s/render-tests.sh").env(
            "PATH",
            Arg::SearchPath(vec![Tool::Helm, Tool::Jq, Tool::NixInstantiate, Tool::Yq]),
        ),
    ));
    let rendered = nix::render("nix-render", platform, &nix::pairs(platform));
    plan.sections.push(
        rendered.with(Step::new(
            "nix-render.compare",
            "Compare what was rendered with the goldens",
            "A module that was edited and not blessed is found; charts without a source here are named.",
            Effect::Read,
            Action::Run(
                xtask(["golden", "check"])
                    .flag_path("--source", nix::renderings_path())
                    .within(300),
            ),
        )),
    );
    plan.sections.push(group(
        "validity",
        "Have an API server and kubeconform judge every object of every golden",
        "A field that no server knows would be dropped in silence.",
        1200,
        xtask(["golden", "validate"]),
    ));
    for (target, title, why) in REAL {
        let section = group(
            &format!("real-{target}"),
            title,
            why,
            // The slowest takes a fifth of this on two free cores.
            2400,
            cargo(["test", "--package=xtask", "--locked"]).arg(format!("--test={target}")),
        );
        plan.sections.push(if target == "vms" {
            section.after(fakes("real-vms"))
        } else {
            section
        });
    }
    for (name, cluster) in &platform.clusters {
        for stage in cluster.stages.keys() {
            let rehearsal = xtask(["rehearse"])
                .arg(format!("--stage={stage}"))
                .arg(format!("--cluster={name}"));
            plan.sections.push(group(
                &format!("rehearse-{name}-{stage}"),
                &format!("Rehearse stage {stage} of {name}"),
                "The golden deploys to a real API server, and a second deploy writes nothing.",
                900,
                match warnings {
                    Warnings::Shown => rehearsal,
                    Warnings::Denied => rehearsal.arg("--deny-warnings"),
                },
            ));
        }
    }
    plan
}

fn group(id: &str, title: &str, why: &str, seconds: u64, command: Command) -> Section {
    Section::new(id, title, why).with(Step::new(
        &format!("{id}.check"),
        title,
        why,
        Effect::Local,
        Action::Run(command.within(seconds)),
    ))
}

/// Builds the fake tools, which are examples so that nobody installs them. `group` is the first part of the id.
fn fakes(group: &str) -> Step {
    Step::new(
        &format!("{group}.build"),
        "Build the fake tools",
        "They are examples, and no test target builds those.",
        Effect::Local,
        Action::Run(cargo(["build", "--package=xtask", "--locked", "--examples"]).within(1800)),
    )
}

fn cargo<const N: usize>(args: [&str; N]) -> Command {
    Command::new(Tool::Cargo).args(args)
}

fn xtask<const N: usize>(args: [&str; N]) -> Command {
    Command::new(Tool::Xtask).args(args)
}

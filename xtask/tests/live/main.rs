//! Deployments on real API servers with the real kluctl: one run of all tests shares three embedded control planes,
//! which are taken down whatever happens. Arguments are parts of test names, as with libtest.

#![expect(clippy::unwrap_used, reason = "these are tests, though libtest does not run them")]

mod closures;
mod deploying;
mod faults;
mod guarding;
mod production;
mod proxy;
mod pruning;
mod rolling;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use world::{For, STANDING, World, report};

/// A test: its name is a sentence.
pub(crate) type Test = (&'static str, fn(&World));

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let local = [
        deploying::TESTS,
        deploying::LOCAL,
        guarding::TESTS,
        pruning::TESTS,
        rolling::TESTS,
        faults::TESTS,
        production::TESTS,
        closures::TESTS,
    ];
    // What is true of a developer's cluster has to be true of production.
    let all = local
        .concat()
        .into_iter()
        .map(|(name, test)| (name.to_owned(), For::Dev, test))
        .chain(
            deploying::TESTS
                .iter()
                .map(|(name, test)| (format!("{name}_in_production"), For::Production, *test)),
        );
    let tests: Vec<Chosen> = all
        .filter(|(name, _, _)| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str())))
        .collect();
    if std::env::args().any(|argument| argument == "--list") {
        for (name, _, _) in &tests {
            print(&format!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    if tests.is_empty() {
        return ExitCode::SUCCESS;
    }
    let world = World::new();
    let failed = match catch_unwind(AssertUnwindSafe(|| {
        for part in STANDING {
            world.up(part);
        }
        world.make_production();
    })) {
        Ok(()) => tests.iter().filter(|test| !passes(&world, test)).count(),
        Err(_) => 1,
    };
    drop(world);
    report(&format!("{} tests, {failed} failed", tests.len()));
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A test that is to run: its name, the cluster that it is for, and what it does.
type Chosen = (String, For, fn(&World));

fn passes(world: &World, (name, part, test): &Chosen) -> bool {
    world.go_on(*part);
    let started = Instant::now();
    let passed = catch_unwind(AssertUnwindSafe(|| test(world))).is_ok();
    let verdict = if passed { "ok" } else { "FAILED" };
    report(&format!(
        "test {name} ... {verdict} ({:.1} s)",
        started.elapsed().as_secs_f64()
    ));
    passed
}

#[expect(clippy::print_stdout, reason = "the list of tests is data")]
fn print(text: &str) {
    println!("{text}");
}

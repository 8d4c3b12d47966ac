//! Deployments on real API servers with the real kluctl: one run of all tests shares three embedded control planes,
//! which are taken down whatever happens. Arguments are parts of test names, as with libtest.

#![expect(clippy::unwrap_used, reason = "these are tests, though libtest does not run them")]

mod closures;
mod deploying;
mod faults;
mod foreign;
mod guarding;
mod production;
mod proxy;
mod pruning;
mod rolling;
#[path = "../support/terminal.rs"]
#[expect(dead_code, reason = "other test targets share it")]
mod terminal;
mod truth;
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
        truth::TESTS,
        faults::TESTS,
        foreign::TESTS,
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
    let failures = match caught(|| {
        for part in STANDING {
            world.up(part);
        }
        world.make_production();
    }) {
        Ok(()) => tests.iter().filter_map(|test| failure(&world, test)).collect(),
        Err(said) => vec![("the clusters of all tests".to_owned(), said)],
    };
    drop(world);
    // At the end once more: who reads a log begins there.
    for (name, said) in &failures {
        report(&format!("FAILED {name}: {said}"));
    }
    report(&format!("{} tests, {} failed", tests.len(), failures.len()));
    if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A test that is to run: its name, the cluster that it is for, and what it does.
type Chosen = (String, For, fn(&World));

/// Runs a test; its name and what it said when it failed.
fn failure(world: &World, (name, part, test): &Chosen) -> Option<(String, String)> {
    world.go_on(*part);
    let started = Instant::now();
    let ended = caught(|| test(world));
    let verdict = if ended.is_ok() { "ok" } else { "FAILED" };
    report(&format!(
        "test {name} ... {verdict} ({:.1} s)",
        started.elapsed().as_secs_f64()
    ));
    Some((name.clone(), ended.err()?))
}

/// The message of a panic, when there is one.
fn caught(work: impl FnOnce()) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast_ref::<&str>().unwrap_or(&"a panic without a message")).to_owned(),
    })
}

#[expect(clippy::print_stdout, reason = "the list of tests is data")]
fn print(text: &str) {
    println!("{text}");
}

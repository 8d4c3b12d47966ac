//! kill -9 of the run behind each step that changes anything, and of clusterctl at each place of a move; each time
//! `--resume`. The cases are made from the plan.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::mortal::{self, PLACES, WHILE_DELETING};
use crate::support::{self, Checkout, processes_naming, write};
use crate::target::{self, side};

/// What a run that was killed and taken up again may take, by that of one that was left alone.
const RATIO: f64 = 1.10;

/// What one crash cost.
struct Crash {
    at: String,
    /// From the start of the run that took it up until it went on behind the crash.
    again: Duration,
}

/// Runs until nothing is left to be killed behind.
pub(crate) fn try_them_all() {
    let alone = crate::undisturbed().took;
    let mut checkout = crate::checkout();
    let places = mortal::clusterctl(&mut checkout);
    let plan: Value =
        serde_json::from_str(&checkout.ok(&["capi", "rehearse", "--keep", "--dry-run=json"]).stdout).unwrap();
    let steps = support::steps(&plan);
    let place = |name: &str| steps.iter().position(|(path, _)| support::is(path, name)).unwrap();
    // What only reads, and what only makes or removes files of the run that the next one makes again whatever it
    // finds, leaves the world as it was: to be killed behind it is to be killed behind the step before it.
    let leaves_it = |step: &Value| {
        let made_again = ["derive", "remove"]
            .iter()
            .any(|action| step["action"].get(action).is_some())
            // But a record is what a run looks at to know how far it is.
            && !step["id"].as_str().unwrap().starts_with("record-");
        step["effect"] == "read" || (step["effect"] == "local" && made_again)
    };
    let known = checkout.base().join("known");
    let reads: Vec<String> = steps
        .iter()
        .filter(|(_, step)| leaves_it(step))
        .map(|(path, _)| path.clone())
        .collect();
    write(&known, &(reads.join("\n") + "\n"));

    let mut crashes: Vec<Crash> = Vec::new();
    let mut last: Option<String> = None;
    let mut restarted = false;
    loop {
        let before = places.left().len();
        let mut command = checkout.command(&["capi", "rehearse", "--yes", "--keep"]);
        if last.is_some() {
            command.arg("--resume");
        }
        command.env("XTASK_CRASH", format!("next:{known}"));
        let started = SystemTime::now();
        let ran = support::finish(command.spawn().unwrap());
        if let Some(at) = last.take() {
            let behind = place(&at);
            crashes.push(Crash {
                again: until_behind(&checkout, started, |step| {
                    steps
                        .iter()
                        .position(|(path, _)| path == step)
                        .is_some_and(|index| index > behind)
                }),
                at,
            });
        }
        let died = places.left().len() < before;
        if died {
            let (_, word) = PLACES[PLACES.len() - before];
            crate::say(&format!("clusterctl was killed at `{word}` after {:?}", ran.took));
            if word.starts_with("Deleting objects") {
                end_the_control_plane(&checkout);
                restarted = true;
            }
        }
        // Where clusterctl dies the run goes on until it knows what became of it, and may be killed behind a step there.
        match (ran.code, ran.signal) {
            (Some(0), _) => break,
            (_, Some(9)) => {
                let text = fs_err::read_to_string(&known).unwrap();
                last = text.lines().last().map(ToOwned::to_owned);
            }
            (Some(6), _) if died => {
                let backup = before == PLACES.len();
                last = Some(if backup { "backup.write" } else { "capi.move" }.to_owned());
            }
            _ => panic!("neither killed nor done: {ran}"),
        }
    }
    assert!(restarted, "the source was to be restarted in the midst of the move");
    for place in places.left() {
        assert!(
            place.ends_with(WHILE_DELETING),
            "clusterctl was never killed at `{place}`"
        );
        crate::say(&format!(
            "clusterctl was killed while deleting at the place before `{place}`"
        ));
    }
    assert!(crashes.len() > 40, "{} crashes", crashes.len());

    target::is_whole(&checkout);
    target::has_a_status(&checkout);
    target::is_not_bootstrapped_again(&checkout);

    crashes.sort_by_key(|crash| crash.again);
    let ratio = |crash: &Crash| 1.0 + crash.again.as_secs_f64() / alone.as_secs_f64();
    let worst = crashes.last().unwrap();
    let middle = &crashes[crashes.len() / 2];
    let most = &crashes[crashes.len() * 9 / 10];
    crate::say(&format!(
        "{} crashes; killed once and taken up again, by {alone:?} left alone: {:.3} in the middle, {:.3} for nine of ten, {:.3} at worst (behind `{}`); the limit is {RATIO}",
        crashes.len(),
        ratio(middle),
        ratio(most),
        ratio(worst),
        worst.at
    ));
    for crash in crashes.iter().rev().take(5) {
        crate::say(&format!(
            "  {:.3} behind `{}`: {:?}",
            ratio(crash),
            crash.at,
            crash.again
        ));
    }
    // All are within the limit on a quiet host, and are printed for who measures. A test is no benchmark: on a busy
    // one the time of a crash is the host's, and only most of them together say something of resuming.
    assert!(ratio(middle) <= RATIO, "behind `{}`: {:.3}", middle.at, ratio(middle));
}

/// How long a run took until it began a step that the crash kept from the earlier one.
fn until_behind(checkout: &Checkout, started: SystemTime, behind: impl Fn(&str) -> bool) -> Duration {
    let lines = crate::journal(checkout);
    let first = lines.iter().find_map(|line| {
        let time: SystemTime = humantime::parse_rfc3339(line["time"].as_str()?).ok()?;
        // A journal's time has milliseconds only.
        let own = time + Duration::from_millis(1) > started && line["step"] != "run";
        (own && behind(line["step"].as_str()?)).then_some(time)
    });
    first
        .and_then(|time| time.duration_since(started).ok())
        .unwrap_or_default()
}

/// Ends the control plane of the source, as a restart of its machine would.
fn end_the_control_plane(checkout: &Checkout) {
    let folder = side(checkout, "source");
    for _ in 0..50 {
        let alive: Vec<(i32, String)> = processes_naming(folder.as_str())
            .into_iter()
            .filter(|(_, line)| line.contains(folder.as_str()))
            .collect();
        if alive.is_empty() {
            return;
        }
        for (pid, _) in alive {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

//! Runs the command of a step: it shows how far the tool is, and when the tool fails, what the tool itself names as the
//! cause comes first. A tool that waits for an API server which is gone is ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use camino::Utf8Path;

use super::Runner;
use crate::base::failure::{Failure, Kind, Result};
use crate::base::process::{Ended, Outcome};
use crate::base::text::{plural, seconds};
use crate::base::ui::{Status, Verbosity};
use crate::call::process::{judge, longest_wait};
use crate::call::{kluctl, kubectl, nix};
use crate::command::{Arg, Command, OnFailure, Tool};

impl Runner<'_> {
    /// Runs a command; kluctl with a watch that shows how far it is, and ends it once its API server has been out of
    /// reach for too long: it would wait for five minutes, and not say for what.
    fn start_shown(&self, command: &Command, log: &Utf8Path) -> Result<Outcome> {
        let Some(ready) = readiness(command) else {
            return self.start(command, Some(log));
        };
        let (outcome, lost) = self.start_watched(command, Some(log), |ended| self.watch(log, &ready, ended))?;
        match lost.flatten() {
            Some(lost) => Err(lost),
            None => Ok(outcome),
        }
    }

    /// Until the command has ended; a failure where its API server was out of reach for too long.
    fn watch(&self, log: &Utf8Path, ready: &Command, ended: &AtomicBool) -> Option<Failure> {
        let limit = longest_wait().map_or(OUT_OF_REACH, |limit| Duration::from_secs(limit).min(OUT_OF_REACH));
        let (mut asked, mut lost) = (Instant::now(), None::<Instant>);
        loop {
            std::thread::sleep(Duration::from_millis(200));
            if ended.load(Ordering::SeqCst) {
                return None;
            }
            if self.ui.has_spinner() {
                let printed = fs_err::read(log).unwrap_or_default();
                if let Some((begun, all)) = kluctl::progress(&String::from_utf8_lossy(&printed)) {
                    self.ui
                        .progress(format!("Deploy: {begun} of {}", plural(all, "object")));
                }
            }
            if asked.elapsed() < ASKED_EVERY {
                continue;
            }
            let reason = self.unready(ready);
            asked = Instant::now();
            match reason {
                None => lost = None,
                Some(reason) => {
                    let waited = lost.get_or_insert(asked).elapsed();
                    if waited >= limit {
                        return Some(unreachable(
                            &format!(
                                "the API server did not answer for {} during the deploy",
                                seconds(waited)
                            ),
                            &reason,
                        ));
                    }
                }
            }
        }
    }

    /// Why an API server is not ready; none when it is, or cannot be asked.
    fn unready(&self, ready: &Command) -> Option<String> {
        let outcome = self.capture(ready).ok()?;
        match outcome.ended {
            Ended::Code(0) | Ended::Interrupted | Ended::Dismissed => None,
            Ended::Deadline => Some(format!("it gave no answer in {} s", ready.deadline)),
            Ended::Code(_) | Ended::Signal(_) => Some(outcome.tail.last().cloned().unwrap_or_default()),
        }
    }

    pub(super) fn run_command(&self, command: &Command, log: &Utf8Path) -> Result<()> {
        let done = self.run_patiently(command, log);
        // What kluctl says of a server that is gone depends on the call that it was in.
        let lost = match (&done, readiness(command)) {
            (Err(failure), Some(ready)) if failure.kind == Kind::Step && speaks_of_reach(failure) => {
                self.unready(&ready)
            }
            _ => None,
        };
        match (done, lost) {
            (Err(failure), Some(reason)) => {
                let lost = unreachable("the API server stopped answering during the deploy", &reason);
                Err(failure.hints.iter().fold(
                    Failure {
                        kind: lost.kind,
                        error: failure.error.context(lost.chain()),
                        hints: lost.hints,
                        command: failure.command,
                    },
                    |failure, hint| failure.hinted(hint),
                ))
            }
            (done, _) => done,
        }
    }

    fn run_patiently(&self, command: &Command, log: &Utf8Path) -> Result<()> {
        self.patiently(command, || {
            let outcome = self.start_shown(command, log)?;
            if let Err(failure) = judge(command, &outcome) {
                return Err(explained(command, log, &outcome, self.with_result(command, failure)));
            }
            let dead = outcome.tail.iter().find(|line| line.contains(kubectl::DEAD_GROUPS));
            if let Some(line) = dead.filter(|_| command.on_failure == OnFailure::Partial) {
                self.ui
                    .status(Status::Warning, format!("an APIService is dead; {line}"));
            }
            Ok(())
        })
    }

    /// What a result file that kluctl wrote says of a failure: its log only says that there was one.
    fn with_result(&self, command: &Command, failure: Failure) -> Failure {
        let result = command.args.iter().find_map(|arg| match arg {
            Arg::Lit(text) => Some(self.root.join(text.strip_prefix("--output-format=yaml=")?)),
            _ => None,
        });
        let result = result
            .and_then(|path| fs_err::read_to_string(path).ok())
            .and_then(|text| crate::base::formats::yaml::read_one(&text).ok());
        let Some((value, said)) = result.and_then(|value| {
            let said = kluctl::judge(&value, kluctl::Warnings::Shown).err()?;
            Some((value, said))
        }) else {
            return failure;
        };
        // A tool that ended because of its own deadline has missed one.
        let kind = if said.kind == Kind::Timeout {
            Kind::Timeout
        } else {
            failure.kind
        };
        let mut words = said.chain();
        for line in self.diagnostics(command, &kluctl::not_ready(&value)) {
            words.push_str("\n    ");
            words.push_str(&line);
        }
        // What kluctl itself names as the cause comes first and alone; what it printed around it is in the log.
        let printed = failure.chain();
        let around = match printed.split_once(", its last lines:") {
            Some((ended, _)) if self.ui.verbosity() < Verbosity::Steps => {
                format!("{ended}; `-v` shows what it printed")
            }
            _ => printed,
        };
        let cause = Failure::new(kind, words);
        let hints = said.hints.iter().chain(&failure.hints);
        hints.fold(cause, |cause, hint| cause.hinted(hint)).hinted(around)
    }
}

/// How long an API server may be out of reach while kluctl deploys: one that is restarted is back within a minute.
const OUT_OF_REACH: Duration = Duration::from_secs(90);

/// How often it is asked; a deploy that takes less time is not disturbed.
const ASKED_EVERY: Duration = Duration::from_secs(5);

/// Asks the API server that kluctl is told whether it is ready; none for other tools.
fn readiness(command: &Command) -> Option<Command> {
    if command.tool != Tool::Kluctl {
        return None;
    }
    let Some(Arg::Path(kubeconfig)) = command.env.get("KUBECONFIG") else {
        return None;
    };
    let context = command
        .args
        .iter()
        .find(|arg| matches!(arg, Arg::Lit(text) if text.starts_with("--context=")))?;
    let mut ask = Command::new(Tool::Kubectl)
        .flag_path("--kubeconfig", kubeconfig)
        .arg(context.clone())
        .args(["get", "--raw=/readyz"])
        .env("KUBERC", "off")
        .within(10);
    for name in ["HOME", "KUBECACHEDIR"] {
        if let Some(value) = command.env.get(name) {
            ask.env.insert(name.to_owned(), value.clone());
        }
    }
    Some(ask)
}

/// Whether a failure may be one of a server that was not reached, or that did not reach its store.
fn speaks_of_reach(failure: &Failure) -> bool {
    let said = format!("{}\n{}", failure.chain(), failure.hints.join("\n"));
    let late = ["etcdserver", "deadline exceeded", "timed out"];
    kubectl::blip(&said).is_some() || late.iter().any(|words| said.contains(words))
}

/// The failure of who lost its API server.
fn unreachable(what: &str, reason: &str) -> Failure {
    let reason = if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    };
    Failure::new(Kind::Timeout, format!("{what}{reason}"))
        .hinted("look whether it still runs: `cargo xtask local-status`; `local-up` starts a local one again")
}

/// Puts what an error of Nix means before its other hints.
fn explained(command: &Command, log: &Utf8Path, outcome: &Outcome, mut failure: Failure) -> Failure {
    if matches!(command.tool, Tool::Nix | Tool::NixInstantiate) && matches!(outcome.ended, Ended::Code(_)) {
        let said = fs_err::read(log).unwrap_or_default();
        let hints = nix::explain(&String::from_utf8_lossy(&said), &outcome.tail);
        failure.hints.splice(0..0, hints);
    }
    failure
}

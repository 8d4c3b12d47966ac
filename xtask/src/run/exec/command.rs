//! Runs the command of a step: it shows how far the tool is, and when the tool fails, what the tool itself names as the
//! cause comes first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use camino::Utf8Path;

use super::Runner;
use crate::base::failure::{Failure, Kind, Result};
use crate::base::process::{Ended, Outcome};
use crate::base::text::plural;
use crate::base::ui::{Status, Verbosity};
use crate::call::process::judge;
use crate::call::{kluctl, kubectl, nix};
use crate::command::{Arg, Command, OnFailure, Tool};

impl Runner<'_> {
    /// Runs a command, and shows how far it is where what it prints says so.
    fn start_watched(&self, command: &Command, log: &Utf8Path) -> Result<Outcome> {
        if command.tool != Tool::Kluctl || !self.ui.has_spinner() {
            return self.start(command, Some(log));
        }
        let (ui, ended) = (self.ui, AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::SeqCst) {
                    let printed = fs_err::read(log).unwrap_or_default();
                    if let Some((begun, all)) = kluctl::progress(&String::from_utf8_lossy(&printed)) {
                        ui.progress(format!("Deploy: {begun} of {}", plural(all, "object")));
                    }
                    std::thread::sleep(Duration::from_millis(200));
                }
            });
            let outcome = self.start(command, Some(log));
            ended.store(true, Ordering::SeqCst);
            outcome
        })
    }

    pub(super) fn run_command(&self, command: &Command, log: &Utf8Path) -> Result<()> {
        self.patiently(command, || {
            let outcome = self.start_watched(command, log)?;
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

/// Puts what an error of Nix means before its other hints.
fn explained(command: &Command, log: &Utf8Path, outcome: &Outcome, mut failure: Failure) -> Failure {
    if matches!(command.tool, Tool::Nix | Tool::NixInstantiate) && matches!(outcome.ended, Ended::Code(_)) {
        let said = fs_err::read(log).unwrap_or_default();
        let hints = nix::explain(&String::from_utf8_lossy(&said), &outcome.tail);
        failure.hints.splice(0..0, hints);
    }
    failure
}

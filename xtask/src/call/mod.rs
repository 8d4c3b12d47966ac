//! What a step has to work with: the checkout's files, the tools, secrets by name, and the person who is told.
//! It knows no plan and no cluster.

pub mod kluctl;
pub mod kubectl;
pub mod list;
pub mod nix;
pub mod plugins;
pub mod process;

use std::io::ErrorKind;

use camino::Utf8Path;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::base::failure::{Failure, Result};
use crate::base::files::write;
use crate::base::process::Interrupt;
use crate::base::state;
use crate::base::ui::Ui;
use crate::tool::Tools;

/// Finds the secret that a variable names, without printing it.
pub type SecretSource = fn(&Caller<'_>, &str) -> Result<String>;

/// Calls tools and reads and writes files, in one checkout. Every task of a plan is handed one.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The checkout's root; every relative path starts here.
    pub root: &'a Utf8Path,
    /// Where things are said.
    pub ui: &'a Ui,
    /// Where tools are.
    pub tools: &'a Tools,
    /// Ctrl-C.
    pub interrupt: &'a Interrupt,
    /// Where a tool that a task starts appends its standard error.
    pub log: Option<&'a Utf8Path>,
    secrets: SecretSource,
}

impl<'a> Caller<'a> {
    /// A caller without a log.
    pub fn new(
        root: &'a Utf8Path,
        ui: &'a Ui,
        tools: &'a Tools,
        interrupt: &'a Interrupt,
        secrets: SecretSource,
    ) -> Self {
        Self {
            root,
            ui,
            tools,
            interrupt,
            log: None,
            secrets,
        }
    }

    /// The same, but tools append their standard error to a file.
    #[must_use]
    pub fn logging_to(self, log: &'a Utf8Path) -> Self {
        Self { log: Some(log), ..self }
    }

    /// The value of the secret that a variable names.
    pub fn secret(&self, variable: &str) -> Result<String> {
        (self.secrets)(self, variable)
    }

    /// The text of a file.
    pub fn text(&self, path: &Utf8Path) -> Result<String> {
        Ok(fs_err::read_to_string(self.root.join(path))?)
    }

    /// The text of a file that may be missing.
    pub fn text_if_any(&self, path: &Utf8Path) -> Result<Option<String>> {
        match fs_err::read_to_string(self.root.join(path)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What a JSON file holds that an earlier step wrote.
    pub fn read<T: DeserializeOwned>(&self, path: &Utf8Path) -> Result<T> {
        serde_json::from_str(&self.text(path)?).map_err(|error| unreadable(path, &error))
    }

    /// The same of a file that is empty where a tool found nothing, as with `kubectl get --ignore-not-found`: that is
    /// `null`.
    pub fn read_or_null(&self, path: &Utf8Path) -> Result<Value> {
        let text = self.text(path)?;
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|error| unreadable(path, &error))
    }

    /// Writes a file, beside and renamed.
    pub fn write(&self, path: &Utf8Path, content: &[u8], mode: u32) -> Result<()> {
        write(&state::inside(self.root, path)?, content, mode)
    }

    /// Writes a JSON file for later steps.
    pub fn write_json(&self, path: &Utf8Path, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::unexpected(format!("cannot write `{path}`: {error}")))?;
        self.write(path, text.as_bytes(), 0o600)
    }
}

/// Why a file that an earlier step wrote cannot be read.
pub(crate) fn unreadable(path: &Utf8Path, error: &serde_json::Error) -> Failure {
    Failure::unexpected(format!("`{path}`, written by an earlier step, cannot be read: {error}"))
}

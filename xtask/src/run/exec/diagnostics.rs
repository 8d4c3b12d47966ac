//! Gathers what happened to objects that missed a deadline. It only reads, and what cannot be read is left out: the
//! deadline is the failure, and nothing here may hide it.

use serde_json::Value;

use super::Runner;
use crate::command::{Command, diagnostics::questions};
use crate::live::diagnostics;
use crate::project::ObjectRef;

/// Objects that are asked about; who has more of them has one cause.
const OBJECTS: usize = 3;

impl Runner<'_> {
    /// What is known of these objects, asked where `asked` looked in vain.
    pub(super) fn diagnostics(&self, asked: &Command, objects: &[ObjectRef]) -> Vec<String> {
        let mut lines = Vec::new();
        for object in objects.iter().take(OBJECTS) {
            let Some(questions) = questions(asked, object) else {
                continue;
            };
            // Nothing found prints nothing.
            let json = |command: &Command| match self.answer(command) {
                Ok(Some(bytes)) => serde_json::from_slice(&bytes).unwrap_or(Value::Null),
                _ => Value::Null,
            };
            let found = json(&questions.object);
            let around = json(&questions.around);
            let logs = match questions.logs.as_ref().map(|command| self.answer(command)) {
                Some(Ok(Some(bytes))) => String::from_utf8_lossy(&bytes).into_owned(),
                _ => String::new(),
            };
            lines.extend(diagnostics::lines(object, &found, &around, &logs));
        }
        lines
    }
}

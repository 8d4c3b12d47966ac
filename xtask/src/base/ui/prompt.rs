//! What a person is asked on a terminal: yes or no, a line, a secret. Ctrl-C ends a prompt and the run with it.
//! Without a terminal nobody is asked, and nobody has agreed.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::clean::sanitise;
use super::{Prompts, Ui};
use crate::base::failure::{Failure, Kind, Result};

/// How long a prompt waits before it looks whether somebody pressed Ctrl-C.
const GLANCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// What a person answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Go on.
    Yes,
    /// Stop; also what no terminal answers.
    No,
    /// Print the plan with its reasons, then ask again.
    Explain,
}

impl Answer {
    /// What a typed line means; what is neither yes nor a question is no.
    fn of(line: &str) -> Self {
        match line.trim().to_lowercase().as_str() {
            "y" | "yes" => Self::Yes,
            "e" | "explain" => Self::Explain,
            _ => Self::No,
        }
    }
}

impl Ui {
    /// Lets this flag end a prompt.
    pub fn on_interrupt(&self, interrupt: &Arc<AtomicBool>) {
        let _the_first_is_the_process = self.shared.interrupt.set(Arc::clone(interrupt));
    }

    /// Whether a prompt could be answered.
    pub fn can_ask(&self) -> bool {
        self.shared.prompts == Prompts::Ask
    }

    /// Asks `question [y]es/[N]o/[e]xplain`. Without a terminal, or at its end, the answer is no.
    pub fn ask(&self, question: &str) -> Result<Answer> {
        let line = self.read_line(&format!("{question} [y]es/[N]o/[e]xplain "))?;
        Ok(line.map_or(Answer::No, |line| Answer::of(&line)))
    }

    /// Asks for a line of text. None without a terminal or at the end of the input.
    pub fn read_line(&self, question: &str) -> Result<Option<String>> {
        if !self.can_ask() {
            return Ok(None);
        }
        self.clear_progress();
        self.write_stderr(&sanitise(question));
        self.wait_for_a_line()?;
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line)?;
        Ok((read > 0).then(|| line.trim().to_owned()))
    }

    /// Asks for a secret: what is typed is not shown. None without a terminal or at the end of the input.
    pub fn read_secret(&self, question: &str) -> Result<Option<String>> {
        if !self.can_ask() {
            return Ok(None);
        }
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).map_err(std::io::Error::from)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // Without silence nothing is read: a value must not stay on the screen.
        tcsetattr(&stdin, OptionalActions::Flush, &silent).map_err(std::io::Error::from)?;
        let line = self.read_line(question);
        let _the_terminal_went_away = tcsetattr(&stdin, OptionalActions::Flush, &before);
        self.write_stderr("\n");
        line
    }

    /// Waits until a line can be read; an interrupt is a failure, so that nothing goes on as if it were answered.
    fn wait_for_a_line(&self) -> Result<()> {
        let stdin = std::io::stdin();
        loop {
            let interrupted = self.shared.interrupt.get();
            if interrupted.is_some_and(|flag| flag.load(Ordering::SeqCst)) {
                self.write_stderr("\n");
                return Err(Failure::new(Kind::Interrupted, "interrupted while it was asked")
                    .hinted("nothing was changed after the question"));
            }
            let mut descriptors = [PollFd::new(&stdin, PollFlags::IN)];
            match poll(&mut descriptors, Some(&GLANCE)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(std::io::Error::from(error).into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yes_is_yes_however_it_is_written_and_anything_else_is_no() {
        for (lines, wanted) in [
            (["y", "Y", "yes", "Yes", "YES", " y "].as_slice(), Answer::Yes),
            (&["e", "E", "Explain"], Answer::Explain),
            (&["", "n", "No", "ye", "yes please", "true", "1"], Answer::No),
        ] {
            for line in lines {
                assert_eq!(Answer::of(line), wanted, "`{line}`");
            }
        }
    }
}

//! A terminal with a person at it, for tests of prompts.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

/// How long a person waits for words; a run may have much to do before it says them.
const PATIENCE: Duration = Duration::from_secs(60);

/// A run on a terminal of its own.
pub(crate) struct Session {
    child: Child,
    person: std::fs::File,
    terminal: std::fs::File,
    shown: Arc<Mutex<String>>,
}

impl Session {
    pub(crate) fn of(command: &mut Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let terminal = fs_err::OpenOptions::new()
            .read(true)
            .write(true)
            .open(name)
            .unwrap()
            .into_parts()
            .0;
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let child = command
            .env("TERM", "xterm")
            // Where these tests run nobody is asked; at this terminal somebody is.
            .env_remove("CI")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let person = std::fs::File::from(master);
        let shown = Arc::new(Mutex::new(String::new()));
        let mut reader = person.try_clone().unwrap();
        let written = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = reader.read(&mut buffer) {
                written
                    .lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self {
            child,
            person,
            terminal,
            shown,
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Waits until these words were shown.
    pub(crate) fn sees(&self, words: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.shown().contains(words) {
            assert!(Instant::now() < end, "`{words}` was never shown: {}", self.shown());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn types(&mut self, line: &str) {
        self.person.write_all(line.as_bytes()).unwrap();
        self.person.write_all(b"\r").unwrap();
    }

    pub(crate) fn echoes(&self) -> bool {
        tcgetattr(&self.terminal)
            .unwrap()
            .local_modes
            .contains(LocalModes::ECHO)
    }

    pub(crate) fn ends(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        // The last words may still be on their way through the terminal.
        self.person.flush().unwrap();
        (code, self.shown())
    }
}

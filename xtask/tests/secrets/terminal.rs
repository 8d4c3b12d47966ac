//! A person at a terminal: prompts, Ctrl-C, the editor.

use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use super::*;

/// A run on a terminal of its own.
struct Session {
    child: Child,
    person: std::fs::File,
    terminal: std::fs::File,
    shown: Arc<Mutex<String>>,
}

impl Session {
    fn of(checkout: &Checkout, arguments: &[&str]) -> Self {
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
        let child = checkout
            .command(arguments)
            .env("TERM", "xterm")
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

    fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    fn sees(&self, words: &str) {
        support::until(words, || self.shown().contains(words));
    }

    fn types(&mut self, line: &str) {
        self.person.write_all(line.as_bytes()).unwrap();
        self.person.write_all(b"\r").unwrap();
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.terminal)
            .unwrap()
            .local_modes
            .contains(LocalModes::ECHO)
    }

    fn ends(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        // The last words may still be on their way through the terminal.
        self.person.flush().unwrap();
        (code, self.shown())
    }
}

#[test]
fn a_token_that_is_typed_is_not_shown_and_reaches_its_file() {
    let checkout = taken_over();
    let mut session = Session::of(&checkout, &["secrets", "set", "hetzner"]);
    session.sees("Hetzner Cloud token");
    support::until("the terminal is silent", || !session.echoes());
    session.types("typed-token-0123456789");
    session.sees("Done");
    let (code, shown) = session.ends();
    assert_eq!(code, Some(0), "{shown}");
    assert!(!shown.contains("typed-token"), "{shown}");
    let document = decrypted(
        &checkout,
        "k8s/secrets/production/hetzner.enc.yaml",
        &identity(&checkout, Some("admin")),
    )
    .unwrap();
    assert_eq!(
        document.pointer("/spec/secretTemplates/0/stringData/hcloud").unwrap(),
        "typed-token-0123456789"
    );
}

#[test]
fn the_first_ctrl_c_at_a_prompt_ends_the_run_with_nothing_made_and_the_terminal_as_it_was() {
    let checkout = Checkout::tiny();
    let before = contents(&checkout.root);
    let mut session = Session::of(&checkout, &["secrets", "init"]);
    session.sees("Take it over?");
    session.types("y");
    session.sees("Cloudflare token");
    support::until("the terminal is silent", || !session.echoes());
    let pid = rustix::process::Pid::from_child(&session.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    session.sees("interrupted");
    assert!(session.echoes(), "the terminal stays silent");
    let (code, shown) = session.ends();
    assert_eq!(code, Some(130), "{shown}");
    assert_eq!(before, contents(&checkout.root));
}

#[test]
fn the_editor_has_the_terminal() {
    let mut checkout = taken_over();
    let editor = editor(
        &checkout,
        "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] || exit 9\nprintf 'which value? '\nread -r value\nsed -i \"s/auth: .*/auth: $value/\" \"$1\"",
    );
    checkout.variables.insert("EDITOR".into(), editor);
    let mut session = Session::of(&checkout, &["secrets", "edit", "argocd-redis-local"]);
    session.sees("which value?");
    session.types("by-hand");
    session.sees("Done");
    let (code, shown) = session.ends();
    assert_eq!(code, Some(0), "{shown}");
    let document = decrypted(&checkout, cluster::REDIS, &identity(&checkout, None)).unwrap();
    assert_eq!(
        document.pointer("/spec/secretTemplates/0/stringData/auth").unwrap(),
        "by-hand"
    );
}

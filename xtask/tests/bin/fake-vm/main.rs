//! Stands in for `colima`, `limactl`, `lima`, `nix` and `sudo` in whole runs: it keeps state as the real ones do,
//! refuses the flags that they refuse on the host it plays, and exits with code 0 where they exit with code 0 without having done anything.
//! Which host, versions and faults, a JSON file says that `FAKE_VM` names. It is never installed.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what it prints is what it plays, and a broken world has to end its test"
)]

mod colima;
mod flags;
mod forward;
mod lima;
mod nix;
mod vm;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Deserialize;

/// The world that is played.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Config {
    /// Calls are appended here, a line each.
    log: PathBuf,
    /// `linux` or `macos`.
    os: String,
    arch: String,
    colima: String,
    lima: String,
    /// The kubeconfig in the VM, by instance.
    #[serde(default)]
    kubeconfig: BTreeMap<String, PathBuf>,
    /// What listens in a VM: address, port, and where a connection is answered.
    #[serde(default)]
    listens: BTreeMap<String, Vec<(String, u16, String)>>,
    /// Folder of projects by attribute, for `nix build`.
    #[serde(default)]
    projects: BTreeMap<String, PathBuf>,
    /// Words that turn a fault on, some with a number behind `=`.
    #[serde(default)]
    faults: Vec<String>,
}

const GIB: u64 = 1 << 30;

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().collect();
    let name = Path::new(&words.remove(0))
        .file_name()
        .expect("a program has a name")
        .to_string_lossy()
        .into_owned();
    if words.first().is_some_and(|word| word == forward::WORD) {
        forward::serve(&words[1..]);
    }
    let config = std::env::var("FAKE_VM").expect("FAKE_VM names the configuration");
    let config: Config = serde_json::from_str(&fs_err::read_to_string(config).unwrap()).unwrap();
    let version = words.iter().any(|word| word == "--version");
    if !version {
        config.note(&name, &words);
    }
    let code = match (name.as_str(), version) {
        ("colima", true) => say(&format!("colima version {}", config.colima)),
        ("limactl", true) => say(&format!("limactl version {}", config.lima)),
        ("nix", true) => say("nix (Nix) 2.30.1"),
        ("colima", false) => colima::run(&config, &words),
        ("limactl", false) => lima::run(&config, &words),
        ("nix", false) => nix::run(&config, &words),
        ("sudo" | "security", _) => 0,
        _ => die("fake: no such program"),
    };
    ExitCode::from(code)
}

/// A word as a person would type it.
fn quote(word: &str) -> String {
    let bare = |character: char| character.is_ascii_alphanumeric() || "_@%+=:,./-".contains(character);
    if word.chars().all(bare) {
        word.to_owned()
    } else {
        shell_words::quote(word).into_owned()
    }
}

fn say(text: &str) -> u8 {
    println!("{text}");
    0
}

fn die(text: &str) -> u8 {
    eprintln!("{text}");
    1
}

fn fatal(text: &str) -> u8 {
    die(&format!("time=\"2026-01-01T00:00:00Z\" level=fatal msg={text:?}"))
}

fn warn(text: &str) {
    eprintln!("time=\"2026-01-01T00:00:00Z\" level=warning msg={text:?}");
}

impl Config {
    fn note(&self, name: &str, words: &[String]) {
        let mut log = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap();
        let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
        writeln!(log, "{name} {}", words.join(" ")).unwrap();
    }

    fn fault(&self, name: &str) -> Option<u64> {
        self.faults.iter().find_map(|fault| match fault.split_once('=') {
            Some((known, number)) if known == name => number.parse().ok(),
            None if fault == name => Some(1),
            _ => None,
        })
    }

    /// A fault that happens once in a world.
    fn once(&self, name: &str) -> bool {
        let mark = self.log.with_extension(name);
        if self.fault(name).is_none() || mark.exists() {
            return false;
        }
        fs_err::write(mark, "").unwrap();
        true
    }
}

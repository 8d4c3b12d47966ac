//! Secrets with the real sops and age, in checkouts and with identities of the tests' own.
//! Tools that are not there are built first, as in any run.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets the unforeseen has to end, with the place in its words"
)]

#[path = "../support/terminal.rs"]
mod session;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other test targets share it")]
mod support;

mod cluster;
mod files;
mod sweep;
mod terminal;
mod tokens;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};

use support::{Checkout, Ran, repository, write};

/// A checkout of the platform config' own platform that the test has taken over, so that it can read every secret.
fn taken_over() -> Checkout {
    let checkout = Checkout::tiny();
    write(
        &checkout.root.join("modules/platform.nix"),
        &fs_err::read_to_string(repository().join("modules/platform.nix")).unwrap(),
    );
    checkout.ok(&["secrets", "init", "--take-over"]);
    checkout
}

/// The file of keys of a checkout's home.
fn keys(checkout: &Checkout) -> Utf8PathBuf {
    checkout.base().join("home/.config/sops/age/keys.txt")
}

/// The identity that stands behind a comment in the file of keys; without one, the first.
fn identity(checkout: &Checkout, name: Option<&str>) -> String {
    let text = fs_err::read_to_string(keys(checkout)).unwrap();
    let after = match name {
        Some(name) => text.split_once(&format!("# {name} of")).unwrap().1.to_owned(),
        None => text,
    };
    after
        .lines()
        .find(|line| line.starts_with("AGE-SECRET-KEY-"))
        .unwrap()
        .to_owned()
}

/// Runs the binary with something on standard input.
fn fed(checkout: &Checkout, arguments: &[&str], input: &str) -> Ran {
    let mut child = checkout
        .command(arguments)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    support::finish(child)
}

/// What the real sops decrypts a file to, as JSON, with one identity alone.
fn decrypted(checkout: &Checkout, file: &str, identity: &str) -> Option<serde_json::Value> {
    let sops = checkout.ok(&["tools", "path", "sops"]).stdout.trim().to_owned();
    let output = support::program(sops)
        .args(["decrypt", "--output-type=json"])
        .arg(checkout.root.join(file))
        .env_clear()
        .env("HOME", checkout.base().join("nobody"))
        .env("SOPS_AGE_KEY", identity)
        .env("SOPS_DISABLE_VERSION_CHECK", "1")
        .output()
        .unwrap();
    output
        .status
        .success()
        .then(|| serde_json::from_slice(&output.stdout).unwrap())
}

/// Every file of a checkout with its content, less what xtask keeps for itself.
fn contents(root: &Utf8Path) -> BTreeMap<Utf8PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir_utf8().unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() == ".xtask" {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.into_path());
            } else {
                all.insert(entry.path().to_owned(), fs_err::read(entry.path()).unwrap());
            }
        }
    }
    all
}

/// An editor of the test's own.
fn editor(checkout: &Checkout, script: &str) -> String {
    let path = checkout.base().join("editor");
    fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.into_string()
}

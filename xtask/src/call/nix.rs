//! What Nix comes to: nixpkgs' `lib` put in place, the verdict of the Nix tests, and what its errors mean.
//! It starts nothing; the commands are in plans.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::ui::Status;
use crate::call::Caller;

/// nixpkgs' `lib` out of the crate that carries it, with the version file that it reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NixpkgsLib {
    /// Output of `cargo metadata` of the package that names the crate.
    pub metadata: Utf8PathBuf,
    /// Folder that will hold `lib`; replaced whole.
    pub to: Utf8PathBuf,
}

impl NixpkgsLib {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        place_library(&on.text(&self.metadata)?, &on.root.join(&self.to))
    }
}

/// Whether every Nix test passed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NixTests {
    /// Evaluation of `modules/tests`.
    pub result: Utf8PathBuf,
}

impl NixTests {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let (passed, not_run) = judge_tests(&on.read(&self.result)?)?;
        on.ui.status(Status::Checked, format!("{passed} Nix tests"));
        for name in not_run {
            on.ui.status(Status::Skipped, name);
        }
        Ok(())
    }
}

/// The crate that carries nixpkgs' `lib`, and where in it.
const CRATE: &str = "nixdoc";
const FIXTURES: &str = "src/tests/fixtures";

/// The version of that `lib`, which it reads from a file that the crate leaves out.
const VERSION: &str = "24.05";

/// A file beside the placed `lib` that names the folder it was copied from, which names the crate's version.
const PLACED: &str = ".placed";

/// Copies nixpkgs' `lib` out of the crate's folder, as `cargo metadata` names it.
pub fn place_library(metadata: &str, to: &Utf8Path) -> Result<()> {
    let metadata = cargo_metadata::MetadataCommand::parse(metadata)
        .or_fail(Kind::Unexpected, "cannot read what `cargo metadata` printed")?;
    let package = metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == CRATE)
        .ok_or_else(|| Failure::unexpected(format!("`cargo metadata` names no crate `{CRATE}`")))?;
    let from = package
        .manifest_path
        .parent()
        .map(|folder| folder.join(FIXTURES))
        .ok_or_else(|| Failure::unexpected("a manifest without a folder"))?;
    let mark = to.join(PLACED);
    if fs_err::read_to_string(&mark).is_ok_and(|placed| placed == from.as_str()) {
        return Ok(());
    }
    crate::project::replace(to, |beside| {
        copy_library(&from, &beside.join("lib"))?;
        fs_err::write(beside.join(".version"), VERSION)?;
        Ok(fs_err::write(beside.join(PLACED), from.as_str())?)
    })
}

fn copy_library(from: &Utf8Path, library: &Utf8Path) -> Result<()> {
    for entry in walkdir::WalkDir::new(from).sort_by_file_name() {
        let entry = entry.map_err(|error| Failure::unexpected(format!("cannot read `{from}`: {error}")))?;
        let path = Utf8Path::from_path(entry.path())
            .ok_or_else(|| Failure::unexpected(format!("`{}` is not UTF-8", entry.path().display())))?;
        let target = library.join(path.strip_prefix(from).unwrap_or(path));
        if entry.file_type().is_dir() {
            fs_err::create_dir_all(&target)?;
        } else {
            fs_err::copy(path, &target)?;
        }
    }
    Ok(())
}

/// Reads the result of `modules/tests`: how many passed, and which could not run; failures as one failure.
pub fn judge_tests(result: &Value) -> Result<(u64, Vec<String>)> {
    let unreadable =
        || Failure::unexpected("`modules/tests` evaluated to something else than {count, failures, notRun}");
    let count = result.get("count").and_then(Value::as_u64).ok_or_else(unreadable)?;
    let failures = result
        .get("failures")
        .and_then(Value::as_array)
        .ok_or_else(unreadable)?;
    let not_run = result.get("notRun").and_then(Value::as_array).ok_or_else(unreadable)?;
    if count == 0 {
        return Err(Failure::new(Kind::Stale, "no Nix test was found")
            .hinted("tests are files called `tests.nix` below modules, images and templates"));
    }
    if failures.is_empty() {
        return Ok((count, not_run.iter().map(crate::base::files::text_of).collect()));
    }
    let problems: Vec<String> = failures
        .iter()
        .map(|failure| serde_json::to_string_pretty(failure).unwrap_or_else(|_| failure.to_string()))
        .collect();
    Err(Failure::many(
        Kind::Stale,
        format!("{} of {count} Nix tests fail", problems.len()),
        &problems,
    )
    .hinted("mend the module, or the test when it is the test that is wrong"))
}

/// What a message of Nix means and what to do; the texts are those of Nix 2.8 and 2.28.
const MEANINGS: [(&str, &str); 12] = [
    (
        "'allow-import-from-derivation' is disabled",
        "something is read while evaluating that would have to be built first; the plugin never does that, so look at \
         what your own modules import or read (`helm`, `importyaml` and `manifest*` of easykubenix do it)",
    ),
    (
        "infinite recursion",
        "an option is defined by what it defines, often through `config` in `imports` or in a condition around it; \
         the same command with `--show-trace` prints the way there",
    ),
    (
        "max-call-depth exceeded",
        "a function calls itself without end; the same command with `--show-trace` prints the way there",
    ),
    (
        "unable to download",
        "a pinned source is not in the store and cannot be downloaded; build once where there is a network, or take \
         a project that was rendered there (`--source DIR`)",
    ),
    (
        "hash mismatch in fixed-output derivation",
        "the source is not the one that was pinned; find out why it changed before you take the new hash",
    ),
    (
        "but I am a",
        "this host cannot build for that system; give Nix a builder that can (`builders` in nix.conf)",
    ),
    (
        "required system or feature not available",
        "this host cannot build for that system; give Nix a builder that can (`builders` in nix.conf)",
    ),
    (
        "lock file changes",
        "flake.lock does not fit flake.nix: `nix flake lock`, review and commit it",
    ),
    (
        "does not provide attribute",
        "the flake has no such output; `platform.json` may be older than the modules: `cargo xtask generate`",
    ),
    (
        "-source/",
        "a flake sees only what Git tracks: `git add` a file that is new",
    ),
    (
        "No space left on device",
        "the disk of the Nix store is full: `nix-collect-garbage` frees what nothing needs",
    ),
    (
        "cannot connect to socket",
        "the Nix daemon does not answer: `systemctl start nix-daemon`, or on a Mac restart it",
    ),
];

/// What an error of Nix means, from the whole of what it said; and its first line, which thousands of others may
/// have pushed out of sight.
pub fn explain(said: &str, shown: &[String]) -> Vec<String> {
    let mut lines = said.lines();
    let Some(first) = lines.find(|line| line.starts_with("error:")) else {
        return Vec::new();
    };
    let error: Vec<&str> = std::iter::once(first).chain(lines).collect();
    let mut hints = Vec::new();
    let meaning = MEANINGS.iter().find(|(text, _)| {
        error.iter().any(|line| match *text {
            // A path into the flake's own source says nothing unless something is missing there.
            "-source/" => {
                line.contains(text) && (line.contains("No such file or directory") || line.contains("does not exist"))
            }
            _ => line.contains(text),
        })
    });
    if let Some((_, meaning)) = meaning {
        hints.push((*meaning).to_owned());
    }
    if !shown.iter().any(|line| line == first) {
        hints.push(format!(
            "{} lines came before; the error begins: {first}",
            error.len() - shown.len().min(error.len())
        ));
    }
    hints
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::json;

    use super::*;

    fn hints(said: &str) -> Vec<String> {
        let shown: Vec<String> = said.lines().map(ToOwned::to_owned).collect();
        explain(said, &shown[shown.len().saturating_sub(20)..])
    }

    #[test]
    fn what_nix_says_is_said_again_as_what_to_do() {
        for (said, part) in [
            (
                "error: cannot build '/nix/store/x-ifd.drv' during evaluation because the option 'allow-import-from-derivation' is disabled\n(use '--show-trace' to show detailed location information)",
                "would have to be built first",
            ),
            (
                "error: infinite recursion encountered\n\n       at /nix/store/x-source/flake.nix:5:22:",
                "defined by what it defines",
            ),
            (
                "error: stack overflow (possible infinite recursion)",
                "defined by what it defines",
            ),
            ("error: stack overflow; max-call-depth exceeded", "calls itself"),
            (
                "warning: error: unable to download 'http://h/x': Couldn't resolve host name (6); retrying in 316 ms\nerror: unable to download 'http://h/x': Couldn't resolve host name (6)",
                "cannot be downloaded",
            ),
            (
                "error: hash mismatch in fixed-output derivation '/nix/store/x-fixed.drv':\n         specified: sha256-a\n            got:    sha256-b",
                "find out why",
            ),
            (
                "error: a 'aarch64-linux' with features {} is required to build '/nix/store/x-m.drv', but I am a 'x86_64-linux' with features {kvm}",
                "give Nix a builder",
            ),
            (
                "error: flake 'path:.' does not provide attribute 'packages.x86_64-linux.x', 'legacyPackages.x86_64-linux.x' or 'x'",
                "cargo xtask generate",
            ),
            (
                "error: getting status of '/nix/store/x-source/new.nix': No such file or directory",
                "`git add`",
            ),
            (
                "error:\n       … while calling the 'import' builtin\n       error: path '/nix/store/x-source/new.nix' does not exist",
                "`git add`",
            ),
        ] {
            let hints = hints(said);
            assert!(hints.len() == 1 && hints[0].contains(part), "{said}: {hints:?}");
        }
    }

    #[test]
    fn an_error_of_thousands_of_lines_still_shows_where_it_begins() {
        let mut said = "building '/nix/store/x.drv'...\nerror: cluster `c`, stage `local`:\n".to_owned();
        for problem in 0..4000 {
            writeln!(said, "       - problem {problem}").expect("a string takes everything");
        }
        let hints = hints(&said);
        assert_eq!(
            hints,
            ["3981 lines came before; the error begins: error: cluster `c`, stage `local`:"]
        );
        assert!(explain("warning: Git tree is dirty", &[]).is_empty());
    }

    #[test]
    fn a_failing_nix_test_is_a_failure_and_so_is_having_none() {
        let failing = json!({"count": 2, "failures": [{"name": "x", "expected": 1, "found": 2}], "notRun": []});
        assert!(
            judge_tests(&failing)
                .unwrap_err()
                .chain()
                .contains("1 of 2 Nix tests fail")
        );
        assert!(judge_tests(&json!({"count": 0, "failures": [], "notRun": []})).is_err());
        let good = json!({"count": 2, "failures": [], "notRun": ["y"]});
        assert_eq!(judge_tests(&good).unwrap(), (2, vec!["y".to_owned()]));
    }
}

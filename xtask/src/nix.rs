//! What Nix evaluations come to: nixpkgs' `lib` put in place, and the verdict of the Nix tests.
//! It starts nothing; the commands are in plans.

use camino::Utf8Path;
use serde_json::Value;

use crate::failure::{Failure, Kind, Result, ResultExt};

/// The crate that carries nixpkgs' `lib`, and where in it.
const CRATE: &str = "nixdoc";
const FIXTURES: &str = "src/tests/fixtures";

/// The version of that `lib`, which it reads from a file that the crate leaves out.
const VERSION: &str = "24.05";

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
    let library = to.join("lib");
    if to.exists() {
        fs_err::remove_dir_all(to)?;
    }
    for entry in walkdir::WalkDir::new(&from).sort_by_file_name() {
        let entry = entry.map_err(|error| Failure::unexpected(format!("cannot read `{from}`: {error}")))?;
        let path = Utf8Path::from_path(entry.path())
            .ok_or_else(|| Failure::unexpected(format!("`{}` is not UTF-8", entry.path().display())))?;
        let target = library.join(path.strip_prefix(&from).unwrap_or(path));
        if entry.file_type().is_dir() {
            fs_err::create_dir_all(&target)?;
        } else {
            fs_err::copy(path, &target)?;
        }
    }
    Ok(fs_err::write(to.join(".version"), VERSION)?)
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
        return Ok((count, not_run.iter().map(crate::exec::text_of).collect()));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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

//! House rules that no compiler holds: module docs, the direction of knowledge, who starts processes, who prints.
//! Runs as a test and in `ci`; it only reads.

mod rooms;

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::failure::{Failure, Kind, Result};

/// A rule that some file breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// File, relative to the root.
    pub file: Utf8PathBuf,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// What a recipe may not name: it is a pure function.
const IMPURE: [&str; 3] = ["fs_err", "std::env", "SystemTime"];

/// What leads out of this process, or may.
const SOCKETS: [&str; 4] = ["TcpStream", "UdpSocket", "to_socket_addrs", "ureq::"];

/// Who may name it: those that ask `base::offline` first, so that `--offline` is kept, one that looks at ports of loopback
/// alone, one that knows Unix sockets alone, and this file.
const MAY_CONNECT: [&str; 7] = [
    "cluster/capi/dns.rs",
    "base/http/mod.rs",
    "base/http/unix.rs",
    "run/exec/probe.rs",
    "run/exec/route.rs",
    "setup/vm.rs",
    "tidy/mod.rs",
];

/// Checks every source file of the crate.
pub fn breaches(root: &Utf8Path) -> Result<Vec<Breach>> {
    let source = root.join("xtask/src");
    let mut breaches = Vec::new();
    let mut files = BTreeMap::new();
    for entry in walkdir::WalkDir::new(&source).sort_by_file_name() {
        let entry = entry.map_err(|error| Failure::unexpected(format!("cannot look into `{source}`: {error}")))?;
        let Ok(path) = Utf8PathBuf::from_path_buf(entry.path().to_owned()) else {
            continue;
        };
        if path.extension() != Some("rs") {
            continue;
        }
        let name = path.strip_prefix(&source).unwrap_or(&path).to_owned();
        let text = fs_err::read_to_string(&path)?;
        check_file(&name, &text, &mut breaches);
        if !name.as_str().ends_with("tests.rs") {
            let module = rooms::module_of(name.as_str());
            let named = rooms::named(&module, code_of(&text));
            for (line, problem) in rooms::climbing(&module, &named) {
                breaches.push(Breach {
                    file: name.clone(),
                    problem: format!("line {line}: {problem}"),
                });
            }
            files.insert(module, named);
        }
    }
    for circle in rooms::circles(&files) {
        let members: Vec<String> = circle.iter().map(|module| module.join("::")).collect();
        breaches.push(Breach {
            file: format!("{}.rs", circle[0].join("/")).into(),
            problem: format!("these modules know each other: {}", members.join(", ")),
        });
    }
    Ok(breaches)
}

/// All breaches as one failure.
pub fn check(root: &Utf8Path) -> Result<()> {
    let problems: Vec<String> = breaches(root)?
        .iter()
        .map(|breach| format!("xtask/src/{}: {}", breach.file, breach.problem))
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    // Each line says what would be right.
    Err(Failure::many(Kind::Stale, "house rules are broken", &problems))
}

fn check_file(name: &Utf8Path, text: &str, breaches: &mut Vec<Breach>) {
    let mut breach = |problem: String| {
        breaches.push(Breach {
            file: name.to_owned(),
            problem,
        });
    };
    if !text.starts_with("//!") {
        breach("begins without `//!`: one sentence on what the module is for, then what it must not do".to_owned());
    }
    let code = code_of(text);
    if name.starts_with("recipe") {
        for word in IMPURE {
            for (index, _) in code.lines().enumerate().filter(|(_, line)| knows(line, word)) {
                breach(format!(
                    "line {}: names `{word}`; a recipe is a pure function: no I/O, no clock, no environment",
                    index + 1
                ));
            }
        }
    }
    let starts = code
        .lines()
        .any(|line| line.contains("duct::cmd") && !line.trim_start().starts_with("//"));
    let may_start = ["base/process/", "tool/", "tidy/"]
        .iter()
        .any(|folder| name.as_str().starts_with(folder));
    if starts && !may_start {
        breach(
            "starts a process; describe it as `crate::command::Command`, run it through `call` or `base::process`"
                .to_owned(),
        );
    }
    let connects = code.lines().any(|line| SOCKETS.iter().any(|word| knows(line, word)));
    if connects && !MAY_CONNECT.contains(&name.as_str()) {
        breach("opens a socket; only probes and DNS do, after they have asked `base::offline`".to_owned());
    }
    let yaml = code.contains("granit_parser");
    if yaml && !["base/formats/yaml.rs", "tidy/mod.rs"].contains(&name.as_str()) {
        breach("knows YAML; `base/formats/yaml.rs` reads and writes it".to_owned());
    }
}

/// The code of a file without its tests, which may look further than what they test.
fn code_of(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn knows(line: &str, word: &str) -> bool {
    !line.trim_start().starts_with("//") && line.contains(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_keeps_its_house_rules() {
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the crate has a parent folder");
        assert_eq!(breaches(root).unwrap(), []);
    }

    #[test]
    fn a_recipe_that_looks_at_the_clock_is_found() {
        let mut found = Vec::new();
        check_file(
            Utf8Path::new("recipe/x.rs"),
            "//! x\nlet now = SystemTime::now();\n",
            &mut found,
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].problem.starts_with("line 2: names `SystemTime`"));
    }

    #[test]
    fn a_socket_that_nobody_asked_for_is_found() {
        let mut found = Vec::new();
        check_file(
            Utf8Path::new("live/x.rs"),
            "//! x\nlet stream = TcpStream::connect(address);\n",
            &mut found,
        );
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn a_module_without_its_sentence_is_found() {
        let mut found = Vec::new();
        check_file(Utf8Path::new("x.rs"), "fn x() {}\n", &mut found);
        assert_eq!(found.len(), 1);
    }
}

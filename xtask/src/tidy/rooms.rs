//! The order of the rooms, read from the paths in the code: a room knows those below it and no other, and no two
//! modules know each other. It reads text and resolves nothing that `use` does not say.

use std::collections::{BTreeMap, BTreeSet};

/// The rooms, from the ground up. `tidy` itself stands beside them: it looks at their text only.
pub(crate) const ROOMS: [&str; 17] = [
    "base", "platform", "project", "command", "tool", "call", "context", "golden", "live", "cluster", "secrets",
    "plan", "recipe", "run", "setup", "verb", "cli",
];

/// A path of modules below the crate, as `["live", "compare"]`.
type Module = Vec<String>;

/// What one file names of the crate: the module, and the line.
pub(crate) struct Named {
    path: Module,
    line: usize,
}

/// The module that a file below `src` is.
pub(crate) fn module_of(file: &str) -> Module {
    let mut parts: Module = file.trim_end_matches(".rs").split('/').map(ToOwned::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// Every path into the crate that the code of a module names, absolute; comments and tests are left out.
pub(crate) fn named(module: &[String], code: &str) -> Vec<Named> {
    let mut found = Vec::new();
    let lines: Vec<&str> = code
        .lines()
        .map(|line| if line.trim_start().starts_with("//") { "" } else { line })
        .collect();
    let text = lines.join("\n");
    for (at, word) in text.match_indices("::") {
        let start = text[..at]
            .rfind(|letter: char| !is_word(letter))
            .map_or(0, |before| before + 1);
        let first = &text[start..at];
        let begins = !text[..start].ends_with("::") && matches!(first, "crate" | "super");
        if !begins {
            continue;
        }
        let base = match first {
            "crate" => Module::new(),
            _ => module[..module.len().saturating_sub(1)].to_vec(),
        };
        let line = text[..at].matches('\n').count() + 1;
        for path in leaves(&text[at + word.len()..]) {
            let mut whole = base.clone();
            for part in path {
                if part == "super" {
                    whole.pop();
                } else {
                    whole.push(part);
                }
            }
            found.push(Named { path: whole, line });
        }
    }
    found
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The paths of a tree as `use` writes it: `a::{b, c::d}` are `a::b` and `a::c::d`.
fn leaves(tree: &str) -> Vec<Module> {
    let tree = tree.trim_start();
    if let Some(inner) = tree.strip_prefix('{') {
        let mut all = Vec::new();
        let (mut depth, mut from) = (0usize, 0usize);
        for (at, letter) in inner.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => {
                    all.extend(leaves(&inner[from..at]));
                    break;
                }
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    all.extend(leaves(&inner[from..at]));
                    from = at + 1;
                }
                _ => {}
            }
        }
        return all;
    }
    let end = tree.find(|letter: char| !is_word(letter)).unwrap_or(tree.len());
    let (word, rest) = tree.split_at(end);
    if word.is_empty() {
        return Vec::new();
    }
    let mut all: Vec<Module> = match rest.strip_prefix("::") {
        Some(rest) => leaves(rest),
        None => Vec::new(),
    };
    if all.is_empty() {
        all.push(Module::new());
    }
    for path in &mut all {
        if word != "self" {
            path.insert(0, word.to_owned());
        }
    }
    all
}

/// What climbs: a line of a file that names a room above its own.
pub(crate) fn climbing(module: &[String], named: &[Named]) -> Vec<(usize, String)> {
    let place = |room: &str| ROOMS.iter().position(|known| *known == room);
    let Some(own) = module.first().and_then(|room| place(room)) else {
        return Vec::new();
    };
    let mut found: Vec<(usize, String)> = named
        .iter()
        .filter_map(|named| {
            let room = named.path.first()?;
            (place(room)? > own).then(|| {
                (
                    named.line,
                    format!(
                        "names `crate::{room}`, a room above `{}`; see the order in `tidy/rooms.rs`",
                        module[0]
                    ),
                )
            })
        })
        .collect();
    found.dedup();
    found
}

/// Circles of modules, each as the list of its members. A module and those inside it are one for this.
pub(crate) fn circles(files: &BTreeMap<Module, Vec<Named>>) -> Vec<Vec<Module>> {
    let mut arrows: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
    for (module, names) in files {
        for named in names {
            // The longest module that the path begins with: what follows is an item.
            let target = (1..=named.path.len())
                .rev()
                .find_map(|length| files.get_key_value(&named.path[..length]))
                .map(|(target, _)| target);
            if let Some(target) = target.filter(|target| !target.starts_with(module) && !module.starts_with(target)) {
                arrows.entry(module).or_default().insert(target);
            }
        }
    }
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        arrows.keys().map(|module| (*module, reach(module, &arrows))).collect();
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for (module, from_here) in &reached {
        if !from_here.contains(module) || seen.contains(module) {
            continue;
        }
        let members: Vec<Module> = from_here
            .iter()
            .filter(|other| reached.get(*other).is_some_and(|back| back.contains(module)))
            .map(|member| (*member).clone())
            .collect();
        seen.extend(from_here.iter().filter(|other| members.contains(other)).copied());
        circles.push(members);
    }
    circles
}

fn reach<'a>(from: &Module, arrows: &BTreeMap<&'a Module, BTreeSet<&'a Module>>) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut todo: Vec<&Module> = arrows.get(from).into_iter().flatten().copied().collect();
    while let Some(module) = todo.pop() {
        if reached.insert(module) {
            todo.extend(arrows.get(module).into_iter().flatten());
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(module: &str, code: &str) -> Vec<String> {
        named(&module_of(module), code)
            .iter()
            .map(|named| named.path.join("::"))
            .collect()
    }

    #[test]
    fn every_leaf_of_a_use_is_a_path_and_comments_are_none() {
        assert_eq!(
            paths(
                "live/compare.rs",
                "use crate::base::{failure::Failure, text};\n// crate::verb::x\nuse super::lease::{self, host};\n"
            ),
            [
                "base::failure::Failure",
                "base::text",
                "live::lease",
                "live::lease::host"
            ]
        );
    }

    #[test]
    fn a_room_that_names_one_above_it_is_found_also_in_the_middle_of_a_line() {
        let module = module_of("live/compare.rs");
        let climbs = climbing(&module, &named(&module, "//! x\nlet x = crate::verb::deploy::run();\n"));
        assert_eq!(climbs.len(), 1);
        assert_eq!(climbs[0].0, 2);
        assert!(climbing(&module, &named(&module, "use crate::base::text;\n")).is_empty());
    }

    #[test]
    fn two_modules_that_know_each_other_are_a_circle_and_a_parent_with_its_child_is_none() {
        let files: BTreeMap<Module, Vec<Named>> = [
            ("live/mod.rs", "use crate::live::compare::Delta;"),
            ("live/compare.rs", "use super::lease::x; use super::Other;"),
            ("live/lease.rs", "use crate::live::compare::y;"),
        ]
        .map(|(file, code)| {
            let module = module_of(file);
            let names = named(&module, code);
            (module, names)
        })
        .into();
        let circles = circles(&files);
        assert_eq!(circles.len(), 1);
        assert_eq!(circles[0].len(), 2, "{circles:?}");
    }
}

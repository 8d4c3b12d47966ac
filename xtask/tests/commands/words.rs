//! One word for one thing: what a person reads says the words of `docs/glossary.md`, and not those that they replaced.

use walkdir::WalkDir;

use crate::support::repository;

/// What is no longer said, and what is said instead.
const REPLACED: [(&str, &str); 25] = [
    ("not as it should be", "unhealthy"),
    ("at hand", "available"),
    ("blast radius", "what is deleted with it"),
    ("derivation of the plan", "task"),
    ("desk", "SOPS client"),
    ("doomed", "deletion"),
    ("end 0", "exit with code 0"),
    ("ends 0", "exits with code 0"),
    ("evidence", "diagnostics"),
    ("facts", "platform config, or summary of a golden"),
    ("fence", "cluster identity check"),
    ("guest", "VM"),
    ("guests", "VMs"),
    ("leftover", "orphaned process"),
    ("leftovers", "orphaned processes"),
    ("ledger", "deployment history"),
    ("nobody", "no user, no recipient, no controller: who"),
    ("somebody", "another user, another run: who"),
    ("stands for", "is"),
    ("survey", "preflight of the provider"),
    ("taking up", "resuming"),
    ("upper bound", "what was measured, and where"),
    ("veil", "redactor"),
    ("was not agreed to", "cancelled"),
    ("who would rather", "who wants"),
];

/// Where a replaced word is part of another name, or is meant as anybody would mean it.
const MEANT: [&str; 6] = [
    // The maxim of the project.
    "owns facts and content",
    // Lima's names for its own parts.
    "lima-guest",
    "guest agent",
    "guestagent",
    "nixos/lima-guest",
    // The user of an image, as `/etc/passwd` calls it.
    "build-users-group = nobody",
];

/// The replaced words of a text, each with its line.
fn replaced(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut plain = line.to_lowercase();
        for meant in MEANT {
            plain = plain.replace(meant, "");
        }
        for (word, instead) in REPLACED {
            let bounded = plain.match_indices(word).any(|(at, _)| {
                let apart = |side: Option<char>| side.is_none_or(|char| !char.is_alphanumeric());
                apart(plain[..at].chars().next_back()) && apart(plain[at + word.len()..].chars().next())
            });
            if bounded {
                found.push(format!("{}: `{word}` (say: {instead}): {}", number + 1, line.trim()));
            }
        }
    }
    found
}

/// `docs/cli.md` is every help text, `docs/options.md` every description of the Nix side.
#[test]
fn docs_help_and_plans_say_the_words_of_the_glossary() {
    let root = repository();
    let mut found = Vec::new();
    let mut read = 0;
    for folder in ["README.md", "docs", "xtask/tests/plans", "xtask/tests/snapshots"] {
        for entry in WalkDir::new(root.join(folder)) {
            // The folder of snapshots is there once the first was taken.
            let Ok(entry) = entry else { continue };
            if !entry.file_type().is_file() {
                continue;
            }
            read += 1;
            let text = fs_err::read_to_string(entry.path()).unwrap();
            let path = entry.path().strip_prefix(&root).unwrap().display().to_string();
            found.extend(replaced(&text).into_iter().map(|line| format!("{path}:{line}")));
        }
    }
    assert!(read > 30, "{read} files");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_replaced_word_is_found_as_a_word_and_not_within_another() {
    assert_eq!(replaced("A fence, then the ledgers").len(), 1);
    assert_eq!(replaced("Nobody is asked.").len(), 1);
    assert!(replaced("Nix owns facts and content; modules/nixos/lima-guest; defences; artifacts").is_empty());
}

//! Versions as tools print them: read leniently, compared strictly.
//! It starts nothing; `find` does.

use semver::{Op, Prerelease, Version, VersionReq};

/// Words after which a version is not yet the release it names. Any other suffix is a vendor's
/// (`-eks-1a2b3c4`, `-gke.100`, `p1`) and counts as the release.
const EARLY: [&str; 5] = ["alpha", "beta", "rc", "pre", "dev"];

/// Reads one word as a version: `v1.35.4+k3s1`, `go1.26.8`, `jq-1.6`, `OpenSSH_9.2p1`, `2.30.0pre2025`.
/// At least major and minor must be there; a number alone is more often a date or a commit.
pub fn word(text: &str) -> Option<Version> {
    let start = text.find(|character: char| character.is_ascii_digit())?;
    let (prefix, rest) = text.split_at(start);
    if !prefix
        .chars()
        .all(|character| character.is_ascii_alphabetic() || matches!(character, '-' | '_' | '('))
    {
        return None;
    }
    let (major, rest) = number(rest)?;
    let (minor, rest) = number(rest.strip_prefix('.')?)?;
    let (patch, rest) = match rest.strip_prefix('.').and_then(number) {
        Some((patch, rest)) => (patch, rest),
        None => (0, rest),
    };
    let mut version = Version::new(major, minor, patch);
    let suffix = rest.trim_start_matches(['-', '.', '~', '_']).to_ascii_lowercase();
    if let Some(early) = EARLY.iter().find(|early| suffix.starts_with(**early)) {
        version.pre = Prerelease::new(early).expect("each word of the list is a valid identifier");
    }
    Some(version)
}

/// The first word of a text that reads as a version.
pub fn first(text: &str) -> Option<Version> {
    text.split_whitespace().find_map(word)
}

/// The last word of the first line that has any: a Nix distribution prints its own version before Nix's.
pub fn last_word_of_first_line(text: &str) -> Option<Version> {
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    word(line.split_whitespace().next_back()?)
}

/// A version inside JSON. Text before the first `{` is a banner and skipped.
pub fn at_pointer(text: &str, pointer: &str) -> Option<Version> {
    let json = text.get(text.find('{')?..)?;
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<serde_json::Value>();
    let value = values.next()?.ok()?;
    word(value.pointer(pointer)?.as_str()?)
}

/// Whether a version meets a requirement. A pre-release counts as older than its release but, unlike in
/// Cargo's reading, is not shut out of a range that lies around it.
pub fn fits(requirement: &VersionReq, version: &Version) -> bool {
    if requirement.matches(version) {
        return true;
    }
    if version.pre.is_empty() {
        return false;
    }
    let release = Version::new(version.major, version.minor, version.patch);
    let begins_there = requirement.comparators.iter().any(|comparator| {
        let lower = Version::new(
            comparator.major,
            comparator.minor.unwrap_or(0),
            comparator.patch.unwrap_or(0),
        );
        !matches!(comparator.op, Op::Less | Op::LessEq) && lower == release
    });
    !begins_there && requirement.matches(&release)
}

fn number(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    fn requirement(text: &str) -> VersionReq {
        VersionReq::parse(text).unwrap()
    }

    #[test]
    fn lines_of_real_tools_are_read() {
        for (line, expected) in [
            ("2.22.1\n", "2.22.1"),
            ("Kubernetes v1.35.4\n", "1.35.4"),
            ("Kubernetes v1.31.1+k3s1\n", "1.31.1"),
            (
                "etcd Version: 3.6.15\nGit SHA: Not provided\nGo Version: go1.26.8\n",
                "3.6.15",
            ),
            ("kwok version v0.8.0 go1.26.8 (linux/amd64)\n", "0.8.0"),
            ("v3.21.4+g1a2b3c4", "3.21.4"),
            ("sops 3.13.2 (latest)\n", "3.13.2"),
            ("git version 2.39.5 (Apple Git-154)\n", "2.39.5"),
            ("go version go1.26.8 linux/amd64\n", "1.26.8"),
            ("go version go1.27rc1 linux/arm64\n", "1.27.0-rc"),
            ("go version devel go1.27-abcdef linux/arm64\n", "1.27.0"),
            ("jq-1.7.1-apple\n", "1.7.1"),
            ("jq-1.6", "1.6.0"),
            ("OpenSSH_9.2p1 Debian-2+deb12u6, OpenSSL 3.0.19 27 Jan 2026\n", "9.2.0"),
            (
                "colima version 0.8.1\ngit commit: 96598cc5b64e5e9e1e64891642b91edc8ac49d16\n",
                "0.8.1",
            ),
            ("limactl version 1.0.6\n", "1.0.6"),
            ("cargo 1.95.0 (f2d3ce0bd 2026-03-21)\n", "1.95.0"),
            (
                "1.7.12\ninstalled by building from source\nbuilt with go1.26.8 compiler for linux/amd64\n",
                "1.7.12",
            ),
            ("OpenTofu v1.12.6\non linux_amd64\n", "1.12.6"),
        ] {
            assert_eq!(first(line), Some(version(expected)), "{line}");
        }
    }

    #[test]
    fn a_nix_distribution_does_not_hide_the_version_of_nix() {
        assert_eq!(
            last_word_of_first_line("nix (Some Nix 3.8.5) 2.30.1\n"),
            Some(version("2.30.1"))
        );
        assert_eq!(last_word_of_first_line("nix (Nix) 2.8.0"), Some(version("2.8.0")));
        assert_eq!(
            last_word_of_first_line("nix (Nix) 2.31.0pre20250712_b1245123"),
            Some(version("2.31.0-pre"))
        );
        assert_eq!(last_word_of_first_line("\n"), None);
    }

    #[test]
    fn a_banner_before_json_is_skipped_and_text_after_it_ignored() {
        let pointer = "/clientVersion/gitVersion";
        let json = r#"{"clientVersion":{"gitVersion":"v1.32.4-dispatcher"}}"#;
        assert_eq!(at_pointer(json, pointer), Some(version("1.32.4")));
        assert_eq!(
            at_pointer(&format!("W1123 banner\n{json}\nmore"), pointer),
            Some(version("1.32.4"))
        );
        assert_eq!(at_pointer("{", pointer), None);
        assert_eq!(at_pointer("", pointer), None);
    }

    #[test]
    fn what_is_no_version_is_not_taken_for_one() {
        for text in [
            "",
            "development",
            "(unknown)",
            "amd64",
            "20250712",
            "https://x/1.2",
            "v",
            "1.",
            "k8s.io",
        ] {
            assert_eq!(word(text), None, "{text}");
        }
    }

    #[test]
    fn a_newer_major_is_not_too_old() {
        assert!(fits(&requirement(">=2.4"), &version("3.0.0")));
        assert!(!fits(&requirement(">=2.22, <3"), &version("3.0.0")));
    }

    #[test]
    fn a_pre_release_is_older_than_its_release_and_newer_than_the_one_before() {
        assert!(fits(&requirement(">=2.8"), &version("2.31.0-pre")));
        assert!(!fits(&requirement(">=1.26"), &version("1.26.0-rc")));
        assert!(!fits(&requirement(">=2.22, <3"), &version("3.0.0-beta")));
        assert!(fits(&requirement(">=1.26"), &version("1.27.0-rc")));
    }

    proptest! {
        #[test]
        fn any_prefix_and_vendor_suffix_keeps_the_numbers(
            major in 0u64..1000, minor in 0u64..1000, patch in 0u64..1000,
            prefix in "(v|go|jq-|OpenSSH_|)", suffix in "(|\\+k3s1|-eks-1a2b|-gke\\.100|\\.7|p1|,)",
        ) {
            prop_assert_eq!(
                word(&format!("{prefix}{major}.{minor}.{patch}{suffix}")),
                Some(Version::new(major, minor, patch))
            );
        }

        #[test]
        fn no_text_makes_the_readers_panic(text in "\\PC{0,80}") {
            let read = (first(&text), last_word_of_first_line(&text), at_pointer(&text, "/a"));
            if let Some(version) = read.0 {
                prop_assert!(text.contains(&version.major.to_string()) || text.contains('0'));
            }
        }

        #[test]
        fn a_release_fits_a_range_exactly_when_it_lies_inside(minor in 0u64..40, low in 0u64..20, size in 1u64..20) {
            let range = requirement(&format!(">=1.{low}, <1.{}", low + size));
            prop_assert_eq!(fits(&range, &Version::new(1, minor, 0)), minor >= low && minor < low + size);
        }
    }
}

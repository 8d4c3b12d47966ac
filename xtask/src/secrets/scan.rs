//! Key material and tokens in plain text, wherever in a checkout they stand.
//! It names file, line and kind, and never the value.

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::failure::Result;

/// Folders that hold nothing of a checkout's own: Git's, cargo's and ours, and links to what was built.
const SKIPPED: [&str; 5] = [".git", "target", ".xtask", ".direnv", "node_modules"];

/// A plain secret in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Line, from one.
    pub line: usize,
    /// What stands there.
    pub what: &'static str,
}

/// Signs of key material in base64, at each of the three places of a group.
const BASE64_SIGNS: [&str; 6] = [
    "UFJJVkFURSBLRVkt",
    "BSSVZBVEUgS0VZLS",
    "QUklWQVRFIEtFWS0",
    "QUdFLVNFQ1JFVC1LRVkt",
    "FHRS1TRUNSRVQtS0VZL",
    "BR0UtU0VDUkVULUtFWS",
];

/// Every file of a checkout, relative to it, sorted; links are not followed.
pub fn files(root: &Utf8Path) -> Result<Vec<Utf8PathBuf>> {
    let mut found = Vec::new();
    let walk = walkdir::WalkDir::new(root)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| {
            let name = entry.file_name().to_string_lossy();
            entry.depth() == 0
                || !(SKIPPED.contains(&name.as_ref()) || (entry.depth() == 1 && name.starts_with("result")))
        });
    for entry in walk {
        let entry = entry.map_err(std::io::Error::from)?;
        if !entry.file_type().is_file() {
            continue;
        }
        if let Some(path) = Utf8Path::from_path(entry.path())
            && let Ok(path) = path.strip_prefix(root)
        {
            found.push(path.to_owned());
        }
    }
    Ok(found)
}

/// Links where secrets stand: whatever is behind one is neither read nor encrypted anew.
pub fn links(root: &Utf8Path) -> Vec<Utf8PathBuf> {
    let folder = Utf8Path::new(super::FOLDER);
    let above = folder.ancestors().filter(|path| !path.as_str().is_empty());
    let mut found: Vec<Utf8PathBuf> = above
        .filter(|path| root.join(path).is_symlink())
        .map(Utf8Path::to_owned)
        .collect();
    let walk = walkdir::WalkDir::new(root.join(folder))
        .min_depth(1)
        .sort_by_file_name();
    found.extend(
        walk.into_iter()
            .flatten()
            .filter(walkdir::DirEntry::path_is_symlink)
            .filter_map(|entry| Some(Utf8Path::from_path(entry.path())?.strip_prefix(root).ok()?.to_owned())),
    );
    found
}

/// Every plain secret of a text.
pub fn find(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Certificates and age's own armour are base64 too, in lines as long as a token; so are the lines of a key, which
    // is told once.
    let mut armour = false;
    let mut offset = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if line.contains("-----BEGIN ") {
            armour = true;
        }
        let what = private_key(text, offset, line)
            .or_else(|| {
                (!armour && !line.contains("ENC[AES256_GCM,"))
                    .then(|| token(line))
                    .flatten()
            })
            .or_else(|| in_base64(line));
        if let Some(what) = what {
            findings.push(Finding { line: index + 1, what });
        }
        if line.contains("-----END ") {
            armour = false;
        }
        offset += line.len();
    }
    findings
}

/// A PEM key with its body; the mention of one is none.
fn private_key(text: &str, offset: usize, line: &str) -> Option<&'static str> {
    const END: &str = "PRIVATE KEY-----";
    for (place, _) in line.match_indices(END) {
        let before = &line[..place];
        if before.ends_with("ENCRYPTED ")
            || before
                .rfind("-----BEGIN ")
                .is_none_or(|begin| before[begin..].len() > 30)
        {
            continue;
        }
        let rest = &text[offset + place + END.len()..];
        let body = rest
            .get(..rest.floor_char_boundary(200))
            .unwrap_or_default()
            .replace("\\n", "");
        let mut body = body.bytes().filter(|byte| !byte.is_ascii_whitespace());
        let is_body = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        if (0..32).all(|_| body.next().is_some_and(is_body)) {
            return Some("a private key");
        }
    }
    None
}

/// A text of letters and digits that has the form of a known token.
fn token(line: &str) -> Option<&'static str> {
    let bytes = line.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let mut start = 0;
    while start < bytes.len() {
        if !is_word(bytes[start]) {
            start += 1;
            continue;
        }
        let end = bytes[start..]
            .iter()
            .position(|byte| !is_word(*byte))
            .map_or(bytes.len(), |length| start + length);
        let is_base64 = |place: Option<usize>| {
            place
                .and_then(|place| bytes.get(place))
                .is_some_and(|byte| b"+/=".contains(byte))
        };
        let part_of_base64 =
            is_base64(start.checked_sub(1).filter(|place| bytes[*place] != b'=')) || is_base64(Some(end));
        if let Some(what) = kind_of(&line[start..end], &line[end..], line, part_of_base64) {
            return Some(what);
        }
        start = end;
    }
    None
}

fn kind_of(word: &str, after: &str, line: &str, part_of_base64: bool) -> Option<&'static str> {
    if word.len() < 20 {
        return None;
    }
    if let Some(place) = word.find("AGE-SECRET-KEY-1") {
        let body = &word[place + "AGE-SECRET-KEY-1".len()..];
        return (body.len() >= 40
            && body
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()))
        .then_some("an age identity");
    }
    let all = |text: &str, fits: fn(u8) -> bool| text.bytes().all(fits);
    if ["ghp_", "gho_", "ghu_", "ghs_", "ghr_"]
        .iter()
        .any(|head| word.starts_with(head))
    {
        return (word.len() == 40 && all(&word[4..], |byte| byte.is_ascii_alphanumeric())).then_some("a GitHub token");
    }
    if word.starts_with("github_pat_") && word.len() > 60 {
        return Some("a GitHub token");
    }
    if word.len() >= 67
        && word.starts_with("K10")
        && after.starts_with("::")
        && all(&word[3..67], |byte| byte.is_ascii_hexdigit())
    {
        return Some("a k3s token");
    }
    if part_of_base64 {
        return None;
    }
    if word.len() == 20
        && word.starts_with("AKIA")
        && all(word, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    {
        return Some("an AWS access key");
    }
    let mixed = word.bytes().any(|byte| byte.is_ascii_uppercase())
        && word.bytes().any(|byte| (b'g'..=b'z').contains(&byte))
        && word.bytes().filter(u8::is_ascii_digit).count() >= 3;
    if word.len() == 64 && mixed && all(word, |byte| byte.is_ascii_alphanumeric()) {
        return Some("a token with the form of Hetzner's");
    }
    let lower = || line.to_ascii_lowercase();
    if word.len() == 40 && mixed && (lower().contains("cloudflare") || lower().contains("cf_api")) {
        return Some("a token with the form of Cloudflare's");
    }
    None
}

/// Key material inside base64: a sign in a run that is long enough to hold more than the sign.
fn in_base64(line: &str) -> Option<&'static str> {
    let sign = BASE64_SIGNS.iter().position(|sign| line.contains(sign))?;
    let is_base64 = |character: char| character.is_ascii_alphanumeric() || "+/=".contains(character);
    line.split(|character| !is_base64(character))
        .any(|run| run.len() >= 64 && run.contains(BASE64_SIGNS[sign]))
        .then_some(if sign < 3 {
            "a private key in base64"
        } else {
            "an age identity in base64"
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::formats::json::base64;

    fn pem() -> String {
        let dashes = "-----";
        format!(
            "{dashes}BEGIN EC PRIVATE KEY{dashes}\n{}\n{dashes}END EC PRIVATE KEY{dashes}\n",
            "MHcCAQEE".repeat(8)
        )
    }

    fn age() -> String {
        format!("AGE-SECRET-{}1{}", "KEY-", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L".repeat(2))
    }

    fn whats(text: &str) -> Vec<&'static str> {
        find(text).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn keys_and_tokens_are_found_in_every_form_they_are_pasted_in() {
        assert_eq!(whats(&format!("x\n{}", pem())), ["a private key"]);
        assert_eq!(
            whats(&format!("k: \"{}\"", pem().replace('\n', "\\n"))),
            ["a private key"]
        );
        assert_eq!(whats(&format!("# created\n{}\n", age())), ["an age identity"]);
        assert_eq!(whats(&base64(pem().as_bytes())), ["a private key in base64"]);
        assert_eq!(
            whats(&base64(format!("x{}", age()).as_bytes())),
            ["an age identity in base64"]
        );
        assert_eq!(
            whats(&format!("t = \"gh{}_{}\"", 'p', "aB3".repeat(12))),
            ["a GitHub token"]
        );
        assert_eq!(
            whats(&format!("token={}", "aBzK9xQ2".repeat(8))),
            ["a token with the form of Hetzner's"]
        );
        assert_eq!(
            whats(&format!("cloudflare: {}", "aBzK9xQ2".repeat(5))),
            ["a token with the form of Cloudflare's"]
        );
        assert_eq!(
            whats(&format!("K10{}::server:x", "0123abcd".repeat(8))),
            ["a k3s token"]
        );
    }

    #[test]
    fn digests_certificates_and_prose_are_none() {
        let line = "aBzK9xQ2".repeat(8);
        for text in [
            &format!("sha256-{}=", "aBzK9xQ2".repeat(5)),
            &"0123456789abcdef".repeat(4),
            &format!("-----BEGIN CERTIFICATE-----\n{line}\n-----END CERTIFICATE-----\n"),
            &format!("    -----BEGIN AGE ENCRYPTED FILE-----\n    {line}\n    -----END AGE ENCRYPTED FILE-----\n"),
            "paste what begins with -----BEGIN PRIVATE KEY----- and nothing else, please, into this field\n",
            "the operator reads AGE-SECRET-KEY-1... from its volume\n",
        ] {
            assert_eq!(whats(text), [] as [&str; 0], "{text}");
        }
    }
}

//! Foreign text made safe to show: what tools, manifests and names of others hold must neither move the cursor, nor
//! turn a line around, nor fill the screen, nor give the runner of a hosted workflow a command.
//! It knows no terminal; it takes text and returns text.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Characters of a line that are shown. The longest command of a plan has a tenth of this; a line of ten megabytes is
/// no message.
const LINE_LIMIT: usize = 16 * 1024;

/// Foreign text for a terminal: no escape sequences, no carriage returns, no marks of direction, no endless lines, and
/// nothing that the runner of a hosted workflow would obey.
pub(crate) fn sanitise(text: &str) -> String {
    inert(&cut(&printable(text)))
}

/// The same text without a command for the runner of a hosted workflow. It reads `::error …::` at the beginning of a
/// line, and `##[error]` anywhere in it (`ActionCommand.cs` of the runner).
pub(crate) fn inert(text: &str) -> String {
    if !text.contains("::") && !text.contains("##[") {
        return text.to_owned();
    }
    text.split('\n')
        .map(|line| {
            let line = line.replace("##[", "## [");
            if line.trim_start().starts_with("::") {
                line.replacen("::", ": :", 1)
            } else {
                line
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// The same value as JSON that a terminal and a runner only show: what could act stands inside strings alone, and is
/// escaped there. No line of it begins with `::`.
pub(crate) fn inert_json(json: &str) -> Cow<'_, str> {
    if is_harmless(json) {
        return Cow::Borrowed(json);
    }
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        let hashes = character == '[' && safe.ends_with("##");
        if character != '\n' && (hashes || character.is_control() || is_invisible(character)) {
            write!(safe, "\\u{:04x}", u32::from(character)).expect("a string takes everything");
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// Whether there is nothing to escape, by a look at bytes; a plan is hundreds of kilobytes of harmless ones. Marks and
/// upper controls begin with one of four bytes.
fn is_harmless(json: &str) -> bool {
    let suspect = |byte: u8| (byte < b' ' && byte != b'\n') || matches!(byte, 0x7f | 0xc2 | 0xd8 | 0xe2 | 0xef);
    // Without a way out in the middle, many bytes are looked at at once.
    !json.bytes().fold(false, |found, byte| found | suspect(byte)) && !json.contains("##[")
}

/// What of a text can be seen.
fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\u{1b}' => skip_sequence(&mut rest),
            '\n' | '\t' => clean.push(character),
            character if character.is_control() || is_invisible(character) => {}
            character => clean.push(character),
        }
    }
    clean
}

/// Marks that turn a line around, hide in it or break it where no newline is.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

/// Leaves out what follows an escape character. A sequence that nobody ends takes no more than its line.
fn skip_sequence(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match rest.peek() {
        Some('[') => {
            rest.next();
            while let Some(inner) = rest.next_if(|inner| *inner != '\n' && *inner != '\u{1b}') {
                if ('\u{40}'..='\u{7e}').contains(&inner) {
                    break;
                }
            }
        }
        // Titles, links and device strings end with a bell or with a sequence of their own.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(inner) = rest.next_if(|inner| *inner != '\n') {
                if matches!(inner, '\u{07}' | '\u{9c}') {
                    break;
                }
                if inner == '\u{1b}' {
                    rest.next_if_eq(&'\\');
                    break;
                }
            }
        }
        // A character set is chosen by one more character.
        Some('(' | ')') => {
            rest.next();
            rest.next_if(|inner| *inner != '\n');
        }
        // Two characters in all: the cursor goes up, the screen is reset.
        Some(inner) if inner.is_ascii_graphic() => {
            rest.next();
        }
        _ => {}
    }
}

/// Lines of a length that somebody reads; what is left out is counted.
fn cut(text: &str) -> String {
    if text.len() <= LINE_LIMIT {
        return text.to_owned();
    }
    text.split('\n')
        .map(|line| match line.char_indices().nth(LINE_LIMIT) {
            None => line.to_owned(),
            Some((end, _)) => format!(
                "{} [cut: {} more characters]",
                &line[..end],
                line[end..].chars().count()
            ),
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_move_the_cursor_or_speak_to_the_runner() {
        assert_eq!(sanitise("a\u{1b}[31mb\u{1b}]0;t\u{07}c\r\u{202e}d\u{1b}(Be"), "abcde");
        assert_eq!(sanitise("x\n::error::y"), "x\n: :error::y");
        assert_eq!(sanitise("x\n \t::error::y"), "x\n \t: :error::y");
        assert_eq!(sanitise("x ##[error]y"), "x ## [error]y");
        // What was taken out may not leave a command behind.
        assert_eq!(sanitise("\u{200b}::error::y"), ": :error::y");
        assert_eq!(sanitise("#\u{1b}[0m#[error]y"), "## [error]y");
        assert_eq!(sanitise(":\u{202e}:error::y"), ": :error::y");
    }

    #[test]
    fn a_link_or_a_title_hides_nothing_of_what_follows_it() {
        assert_eq!(
            sanitise("see \u{1b}]8;;https://a.example\u{1b}\\this\u{1b}]8;;\u{1b}\\ page"),
            "see this page"
        );
        assert_eq!(sanitise("a\u{1b}]0;never ended\nb"), "a\nb");
        assert_eq!(sanitise("a\u{1b}[never\nb\u{1b}"), "aever\nb");
        assert_eq!(sanitise("a\u{1b}P1$q\u{1b}\\b\u{1b}Mc"), "abc");
    }

    #[test]
    fn a_line_of_ten_megabytes_is_cut_and_counted() {
        let line = "\u{e9}".repeat(10_000_000);
        let shown = sanitise(&format!("before\n{line}\nafter"));
        assert!(shown.len() < 3 * LINE_LIMIT, "{}", shown.len());
        assert!(shown.starts_with("before\n"));
        assert!(
            shown.ends_with("[cut: 9983616 more characters]\nafter"),
            "{}",
            &shown[shown.len() - 60..]
        );
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({"a": "##[error]x\u{202e}\u{9b}31m\u{7f}##[[", "b": [1], "\u{feff}": "\u{61c}"});
        let written = serde_json::to_string_pretty(&value).unwrap();
        let text = inert_json(&written);
        assert!(
            !text.contains("##[") && !text.contains(['\u{202e}', '\u{9b}', '\u{7f}']),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        assert!(matches!(inert_json(r#"{"né": [[1]]}"#), Cow::Borrowed(_)));
        let quotes = r#"{"a": "“so” ﬁ ؟"}"#;
        assert_eq!(inert_json(quotes), quotes);
    }
}

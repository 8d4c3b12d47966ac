//! Words for people: plurals, durations, sizes, and the nearest known name to one that is not known.
//! It prints nothing.

use std::time::Duration;

use crate::base::failure::{Failure, Kind};

/// `1 object`, `2 objects`.
pub fn plural(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("{count} {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

/// A duration for people: `0.4 s`, `12 s`, `3 min 05 s`.
pub fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    if whole < 10 {
        format!("{:.1} s", duration.as_secs_f64())
    } else if whole < 120 {
        format!("{whole} s")
    } else {
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

/// A size for people, in binary units.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{count} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// The known name nearest to a mistyped one, if any is near enough to be meant.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::levenshtein(given, name), name))
        .filter(|(distance, name)| *distance <= name.len().max(given.len()) / 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// An unknown name as a failure: what was given, what exists, what was probably meant.
pub fn unknown<'a>(kind: Kind, what: &str, given: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Failure {
    let names: Vec<&str> = known.clone().into_iter().collect();
    let failure = Failure::new(kind, format!("no {what} `{given}`"));
    let failure = match nearest(given, known) {
        Some(name) => failure.hinted(format!("did you mean `{name}`?")),
        None => failure,
    };
    failure.hinted(format!("known: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_finds_the_one_that_was_meant() {
        assert_eq!(nearest("lcoal", ["local", "capi", "full"]), Some("local"));
        assert_eq!(nearest("zzzzzz", ["local", "capi", "full"]), None);
    }

    #[test]
    fn durations_and_sizes_read_like_a_person_says_them() {
        assert_eq!(seconds(Duration::from_millis(420)), "0.4 s");
        assert_eq!(seconds(Duration::from_secs(185)), "3 min 05 s");
        assert_eq!(bytes(1536), "1.5 KiB");
    }
}

//! A golden by itself, where nothing can be rendered: whether it is readable, in order, free of secrets,
//! true to the digests it carries, and as old as the checkout. It cannot say whether it is what would be rendered.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::folder::{File, Form};
use super::normalize::{self, Role};
use super::object::{self, Identity, Origin};
use super::problem::{Disguise, Problem, RECORD, Side};
use super::provenance::Record;
use super::resolve::{Comparison, disguise_of, form_problems, merge_marker, older, read_text, scan_golden};
use super::secret;
use crate::base::failure::Result;
use crate::project::StageDescription;

/// The file that describes a stage.
const DESCRIPTION: &str = "stage.json";

/// Judges a golden without a rendering.
pub fn judge(golden: &Utf8Path, record: &Record) -> Result<Comparison> {
    let files = scan_golden(golden)?;
    let mut comparison = Comparison::default();
    if files.is_empty() {
        comparison.problems.push(Problem::Absent);
        return Ok(comparison);
    }
    let mut places: BTreeMap<Identity, Vec<Utf8PathBuf>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.path != RECORD) {
        match judge_file(golden, file, &mut comparison.problems) {
            Some(objects) => {
                for identity in objects {
                    places.entry(identity).or_default().push(file.path.clone());
                }
            }
            None => continue,
        }
    }
    for (object, paths) in places {
        if let [path] = paths.as_slice() {
            comparison.objects.insert(object, path.clone());
        } else {
            comparison.problems.push(Problem::Duplicate { object, paths });
        }
    }
    // What cannot be read as JSON was named as such.
    if let Some(text) = read_text(&golden.join(DESCRIPTION)).ok().filter(|text| is_json(text)) {
        match StageDescription::parse(&text, DESCRIPTION) {
            Ok(description) => comparison.problems.extend(form_problems(golden, &description)?),
            Err(failure) => comparison.problems.push(Problem::Invalid {
                path: DESCRIPTION.into(),
                object: None,
                reason: failure.chain(),
            }),
        }
    }
    comparison.problems.extend(older(golden, &files, record));
    Ok(comparison)
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn judge_file(golden: &Utf8Path, file: &File, problems: &mut Vec<Problem>) -> Option<Vec<Identity>> {
    let path = &file.path;
    let mut disguised = |disguise: Disguise| {
        problems.push(Problem::Disguised {
            path: path.clone(),
            disguise,
            content: None,
        });
    };
    match file.form {
        Form::Symlink => disguised(Disguise::Symlink),
        Form::Other => disguised(Disguise::Special),
        Form::Executable => disguised(Disguise::Executable),
        Form::Plain => {}
    }
    if matches!(file.form, Form::Symlink | Form::Other) {
        return None;
    }
    let unreadable = |reason: String| Problem::Unreadable {
        path: path.clone(),
        side: Side::Golden,
        reason,
        content: None,
    };
    let text = match read_text(&golden.join(path)) {
        Ok(text) => text,
        Err(reason) => {
            problems.push(unreadable(reason));
            return None;
        }
    };
    if let Some(line) = merge_marker(&text) {
        problems.push(Problem::MergeMarker {
            path: path.clone(),
            line,
        });
        return None;
    }
    if let Some(disguise) = disguise_of(&text) {
        problems.push(Problem::Disguised {
            path: path.clone(),
            disguise,
            content: None,
        });
    }
    let role = Role::of(path);
    if role != Role::Objects {
        if let Err(reason) = normalize::read_plain(role, &text) {
            problems.push(unreadable(reason));
        }
        return None;
    }
    let manifest = match normalize::read(&text) {
        Ok(manifest) => manifest,
        Err(reason) => {
            problems.push(unreadable(reason));
            return None;
        }
    };
    for object in &manifest.objects {
        for secret::Finding { field, what } in secret::find(object) {
            problems.push(Problem::Secret {
                path: path.clone(),
                side: Side::Golden,
                object: object.identity.clone(),
                field,
                what,
                fix: None,
            });
        }
        // Only of an object that stands whole can the digest be made again.
        let wrong = match (object.digest(), object.origin()) {
            (None, _) => Some("it carries no digest"),
            (Some(digest), Origin::Native) if digest != object::digest_of(&object.value) => {
                Some("its digest is of another object: it was edited by hand")
            }
            _ => None,
        };
        if let Some(reason) = wrong {
            problems.push(Problem::Invalid {
                path: path.clone(),
                object: Some(object.identity.clone()),
                reason: reason.to_owned(),
            });
        }
    }
    Some(normalize::identities(&manifest.objects))
}

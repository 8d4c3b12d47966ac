//! Two renderings of the same sources: equal, or the object and the field that differ.
//! It knows nothing of goldens; what differs here can never be one.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use super::diff::{self, Change};
use super::folder;
use super::normalize::{self, Role};
use super::object::{Identity, Object};
use super::problem::Problem;
use crate::base::failure::Result;

/// Everything in which two renderings differ.
pub fn compare(first: &Utf8Path, second: &Utf8Path) -> Result<Vec<Problem>> {
    let left = contents(first)?;
    let right = contents(second)?;
    let mut problems = Vec::new();
    let paths = left.keys().chain(right.keys().filter(|path| !left.contains_key(*path)));
    for path in paths {
        match (left.get(path), right.get(path)) {
            (Some(one), Some(other)) if one == other => {}
            (Some(one), Some(other)) => differing(path, one, other, &mut problems),
            (one, other) => problems.push(Problem::Nondeterministic {
                path: path.clone(),
                object: None,
                changes: vec![Change {
                    field: "file".into(),
                    old: one.map(|_| Value::String("rendered".into())),
                    new: other.map(|_| Value::String("rendered".into())),
                }],
            }),
        }
    }
    Ok(problems)
}

fn contents(folder: &Utf8Path) -> Result<BTreeMap<Utf8PathBuf, Vec<u8>>> {
    folder::scan(folder)?
        .into_iter()
        .map(|file| {
            let content = fs_err::read(folder.join(&file.path))?;
            Ok((file.path, content))
        })
        .collect()
}

fn differing(path: &Utf8Path, one: &[u8], other: &[u8], problems: &mut Vec<Problem>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (one, other) = (text(one), text(other));
    let mut report = |object: Option<Identity>, changes: Vec<Change>| {
        problems.push(Problem::Nondeterministic {
            path: path.to_owned(),
            object,
            changes,
        });
    };
    let role = Role::of(path);
    if role == Role::Objects
        && let (Ok(one), Ok(other)) = (normalize::read(&one), normalize::read(&other))
    {
        let find = |objects: &[Object], identity: &Identity| {
            objects
                .iter()
                .find(|object| object.identity == *identity)
                .map(|object| object.value.clone())
                .unwrap_or_default()
        };
        let mut found = false;
        let both = one.objects.iter().chain(&other.objects).map(|object| &object.identity);
        for identity in both.collect::<std::collections::BTreeSet<_>>() {
            let mut changes = diff::changes(&find(&one.objects, identity), &find(&other.objects, identity));
            // The digest follows from the field that is meant; alone it would be no field at all.
            if changes.len() > 1 {
                changes.retain(|change| !change.field.contains(super::object::DIGEST));
            }
            if !changes.is_empty() {
                found = true;
                report(Some(identity.clone()), changes);
            }
        }
        if found {
            return;
        }
    }
    let values = (normalize::read_plain(role, &one), normalize::read_plain(role, &other));
    let changes = match values {
        (Ok(one), Ok(other)) if role != Role::Objects && one != other => diff::changes(&one, &other),
        // Equal values in other bytes: another order of keys, other newlines.
        _ => diff::changes(&Value::String(one), &Value::String(other)),
    };
    report(None, changes);
}

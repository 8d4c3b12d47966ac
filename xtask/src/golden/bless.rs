//! Accepts a rendering as the golden: applies every fix, then looks again.
//! It refuses while anything stands that no fix mends, and while it would bury what a person changed.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use super::partial::Unjudged;
use super::problem::{Fix, Problem};
use super::provenance::Record;
use super::resolve::{self, Comparison};
use crate::base::failure::{Failure, Kind, Result};
use crate::base::text::plural;

/// What a bless did.
#[derive(Debug)]
pub struct Blessed {
    /// Fixes in the order in which they were applied; empty when the golden was right already.
    pub fixes: Vec<Fix>,
    /// Objects that the golden holds now.
    pub objects: usize,
    /// Objects of these that stayed as they were, because they could not be rendered.
    pub unverified: usize,
    /// What could not be rendered, with what speaks against the objects that stayed.
    pub unjudged: Vec<Unjudged>,
}

/// Makes the golden what was rendered, all of it or nothing: the new one is made whole, looked at, and exchanged for the
/// old one. `edited` are paths of the golden that hold changes which neither Git nor a bless knows; `remember` is handed
/// the new golden before it takes its place.
pub fn bless(
    rendered: &Utf8Path,
    golden: &Utf8Path,
    record: &Record,
    edited: &BTreeSet<Utf8PathBuf>,
    remember: impl FnOnce(&Utf8Path) -> Result<()>,
) -> Result<Blessed> {
    let comparison = resolve::compare(rendered, golden, record)?;
    refuse(&comparison, golden, edited)?;
    let fixes = order(comparison.problems.iter().filter_map(Problem::fix).collect());
    if let Some(folder) = golden.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let next = crate::base::part::of(golden);
    let made = make(&next, golden, &fixes).and_then(|()| resolve::compare(rendered, &next, record));
    let blessed = made.and_then(|again| {
        judge(&again)?;
        remember(&next)?;
        if !fixes.is_empty() {
            exchange(&next, golden)?;
        }
        Ok(Blessed {
            fixes,
            objects: again.objects.len() + again.unverified.len(),
            unverified: again.unverified.len(),
            unjudged: again.unjudged.unwrap_or_default(),
        })
    });
    // What is left there is the old golden, or what could not be made.
    let removed = fs_err::remove_dir_all(&next);
    let blessed = blessed?;
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(blessed),
    }
}

/// Makes a golden with these fixes; what they leave alone is the very file of the old one.
fn make(next: &Utf8Path, golden: &Utf8Path, fixes: &[Fix]) -> Result<()> {
    fs_err::create_dir_all(next)?;
    if golden.exists() {
        for entry in walkdir::WalkDir::new(golden).min_depth(1) {
            let entry = entry.map_err(std::io::Error::from)?;
            let below = entry.path().strip_prefix(golden).expect("it was found below");
            let to = next.as_std_path().join(below);
            if entry.file_type().is_dir() {
                fs_err::create_dir(to)?;
            } else {
                fs_err::hard_link(entry.path(), to)?;
            }
        }
    }
    fixes.iter().try_for_each(|fix| {
        fix.execute(next)
            .map_err(|failure| failure.context(format!("cannot {fix}")))
    })
}

/// Puts a folder in the place of another; what was there is where the new one was.
fn exchange(next: &Utf8Path, golden: &Utf8Path) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};

    if !golden.exists() {
        return Ok(fs_err::rename(next, golden)?);
    }
    match renameat_with(
        CWD,
        next.as_std_path(),
        CWD,
        golden.as_std_path(),
        RenameFlags::EXCHANGE,
    ) {
        Ok(()) => Ok(()),
        // A file system that cannot exchange gets two renames: between them there is no golden, and never a mixed one.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            let old = crate::base::part::of(golden);
            fs_err::rename(golden, &old)?;
            fs_err::rename(next, golden)?;
            Ok(fs_err::rename(&old, next)?)
        }
        Err(error) => Err(Failure::unexpected(format!(
            "cannot exchange `{golden}` for the new one: {error}"
        ))),
    }
}

/// A new golden that is still not what was rendered never takes the place of the old one.
fn judge(again: &Comparison) -> Result<()> {
    if again.problems.is_empty() {
        Ok(())
    } else {
        let left: Vec<String> = again.problems.iter().map(ToString::to_string).collect();
        Err(Failure::many(
            Kind::Unexpected,
            format!("{} left after blessing", plural(left.len(), "problem")),
            &left,
        )
        .hinted("this is a bug of `golden bless`, or something else wrote to the golden meanwhile"))
    }
}

/// What is in the way is removed before anything is written; one path is written once and removed once.
fn order(fixes: Vec<Fix>) -> Vec<Fix> {
    let mut removals = Vec::new();
    let mut gone: BTreeSet<Utf8PathBuf> = fixes
        .iter()
        .filter_map(|fix| match fix {
            Fix::Move { from, .. } => Some(from.clone()),
            _ => None,
        })
        .collect();
    let mut writes: Vec<Fix> = Vec::new();
    let mut seen = BTreeSet::new();
    for fix in fixes {
        match &fix {
            Fix::Remove { path } => {
                if gone.insert(path.clone()) {
                    removals.push(fix);
                }
            }
            Fix::Write { path, .. } | Fix::Rewrite { path, .. } | Fix::Move { to: path, .. } => {
                if seen.insert(path.clone()) {
                    writes.push(fix);
                }
            }
        }
    }
    removals.extend(writes);
    removals
}

fn refuse(comparison: &Comparison, golden: &Utf8Path, edited: &BTreeSet<Utf8PathBuf>) -> Result<()> {
    let completed = comparison.unjudged.is_some() && golden.exists();
    if !comparison.skipped.is_empty() && !completed {
        let failure = Failure::many(
            Kind::Refused,
            "the rendering is not complete, so it cannot become a golden; left out",
            &comparison.skipped,
        );
        return Err(if comparison.unjudged.is_some() {
            failure.hinted("there is no golden yet whose objects of these could stay: make the first one with Nix")
        } else {
            failure
                .hinted("render with the charts' sources, for example with Nix")
                .hinted("or bless what `cargo xtask render` makes: it says what it is part of")
        });
    }
    let unfixable: Vec<String> = comparison
        .problems
        .iter()
        .filter(|problem| problem.fix().is_none())
        .map(ToString::to_string)
        .collect();
    if !unfixable.is_empty() {
        return Err(Failure::many(
            Kind::Refused,
            format!("{} that blessing cannot mend", plural(unfixable.len(), "problem")),
            &unfixable,
        )
        .hinted("mend the modules (or resolve the merge), then bless again"));
    }
    let buried: Vec<String> = comparison
        .problems
        .iter()
        .filter_map(Problem::fix)
        .flat_map(|fix| match fix {
            Fix::Write { path, .. } | Fix::Rewrite { path, .. } | Fix::Remove { path } => vec![path],
            Fix::Move { from, to, .. } => vec![from, to],
        })
        .filter(|path| edited.contains(path))
        .map(|path| golden.join(path).into_string())
        .collect();
    if buried.is_empty() {
        Ok(())
    } else {
        Err(Failure::many(
            Kind::Refused,
            "uncommitted changes in the golden that no bless made would be lost",
            &buried,
        )
        .hinted("commit them, or throw them away with `git checkout -- PATH`, then bless again"))
    }
}

//! Accepts a rendering as the golden: applies every fix, then looks again.
//! It refuses while anything stands that no fix mends, and while it would bury what a person changed.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

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
}

/// Makes the golden what was rendered. `edited` are paths of the golden that hold changes which neither Git nor a
/// bless knows.
pub fn bless(
    rendered: &Utf8Path,
    golden: &Utf8Path,
    record: &Record,
    edited: &BTreeSet<Utf8PathBuf>,
) -> Result<Blessed> {
    let comparison = resolve::compare(rendered, golden, record)?;
    refuse(&comparison, golden, edited)?;
    let fixes = order(comparison.problems.iter().filter_map(Problem::fix).collect());
    for fix in &fixes {
        fix.execute(golden)
            .map_err(|failure| failure.context(format!("cannot {fix}")))?;
    }
    let again = resolve::compare(rendered, golden, record)?;
    if again.problems.is_empty() {
        Ok(Blessed {
            fixes,
            objects: again.objects.len(),
        })
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
    if !comparison.skipped.is_empty() {
        return Err(Failure::many(
            Kind::Refused,
            "the rendering is not complete, so it cannot become a golden; left out",
            &comparison.skipped,
        )
        .hinted("render with the charts' sources, for example with Nix"));
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

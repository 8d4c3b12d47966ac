//! Objects by the names that a person types: exact, with the group where the tree shows it, or without it where only one
//! object can be meant.

use super::ObjectRef;

/// What names mean among some objects.
#[derive(Debug, Default)]
pub struct Named<'a> {
    /// The objects that are named.
    pub found: Vec<&'a ObjectRef>,
    /// Names that fit none, a quoted word each.
    pub unknown: Vec<String>,
    /// Names that fit several, a sentence each.
    pub ambiguous: Vec<String>,
}

impl<'a> Named<'a> {
    /// Looks each name up.
    pub fn among(objects: &[&'a ObjectRef], names: &[String]) -> Self {
        let mut named = Self::default();
        for name in names {
            let fits = |of: &dyn Fn(&ObjectRef) -> String| -> Vec<&'a ObjectRef> {
                let objects = objects.iter().copied();
                objects.filter(|object| of(object) == *name).collect()
            };
            let exact = fits(&ObjectRef::full_name);
            let shown = fits(&|object| object.to_string());
            let candidates = if !exact.is_empty() {
                exact
            } else if !shown.is_empty() {
                shown
            } else {
                fits(&ObjectRef::short_name)
            };
            match candidates.as_slice() {
                [] => named.unknown.push(format!("`{name}`")),
                [one] => named.found.push(*one),
                several => {
                    let names: Vec<String> = several
                        .iter()
                        .map(|object| format!("`{}`", object.full_name()))
                        .collect();
                    named.ambiguous.push(format!("`{name}` may be {}", names.join(" or ")));
                }
            }
        }
        named
    }
}

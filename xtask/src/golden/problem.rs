//! What can be wrong between a rendering and its golden, and what mends it.
//! A problem says and a fix does; neither looks for anything.

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};

use super::diff::{self, Change};
use super::normalize;
use super::object::Identity;
use crate::base::failure::{Failure, Kind, Result, ResultExt};

/// Which of the two a problem is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What the modules render.
    Rendered,
    /// What is committed.
    Golden,
}

impl Side {
    fn word(self) -> &'static str {
        match self {
            Self::Rendered => "rendering",
            Self::Golden => "golden",
        }
    }
}

/// How a golden's file is not what it should be, whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disguise {
    /// A symbolic link.
    Symlink,
    /// A file that may be executed.
    Executable,
    /// Lines end in CR LF.
    CarriageReturns,
    /// The text begins with a byte-order mark.
    ByteOrderMark,
    /// A socket, a device, a pipe.
    Special,
}

impl Disguise {
    fn sentence(self) -> &'static str {
        match self {
            Self::Symlink => "is a symbolic link",
            Self::Executable => "is executable",
            Self::CarriageReturns => "has other newlines than LF",
            Self::ByteOrderMark => "begins with a byte-order mark",
            Self::Special => "is no file",
        }
    }
}

/// One thing that is wrong. Paths are relative to the golden's or the rendering's folder.
#[derive(Debug, Clone, PartialEq)]
pub enum Problem {
    /// Rendered, but not in the golden.
    Missing {
        path: Utf8PathBuf,
        objects: Vec<Identity>,
        content: String,
    },
    /// In the golden, but other than rendered.
    Stale {
        path: Utf8PathBuf,
        parts: Vec<StalePart>,
        content: String,
    },
    /// In the golden, but no longer rendered.
    Orphan { path: Utf8PathBuf, objects: Vec<Identity> },
    /// An object stands in a file other than the one it is rendered to.
    Misplaced {
        path: Utf8PathBuf,
        wanted: Utf8PathBuf,
        objects: Vec<Identity>,
        content: String,
    },
    /// The golden's objects again, in a file that nothing is rendered to.
    Again {
        path: Utf8PathBuf,
        wanted: Utf8PathBuf,
        object: Identity,
    },
    /// One object in several places of a rendering.
    Duplicate { object: Identity, paths: Vec<Utf8PathBuf> },
    /// One object in two stages of one cluster: each deploy would take it from the other.
    Shared { object: Identity, others: Vec<String> },
    /// A file cannot be read, or is no manifest; content is what a golden should hold.
    Unreadable {
        path: Utf8PathBuf,
        side: Side,
        reason: String,
        content: Option<String>,
    },
    /// A golden's file is not a plain file of plain text.
    Disguised {
        path: Utf8PathBuf,
        disguise: Disguise,
        content: Option<String>,
    },
    /// A merge has left its marks in a golden.
    MergeMarker { path: Utf8PathBuf, line: usize },
    /// A secret stands open.
    Secret {
        path: Utf8PathBuf,
        side: Side,
        object: Identity,
        field: String,
        what: &'static str,
        fix: Option<Fix>,
    },
    /// Two renderings of the same sources differ.
    Nondeterministic {
        path: Utf8PathBuf,
        object: Option<Identity>,
        changes: Vec<Change>,
    },
    /// An object that the API server would refuse.
    Invalid {
        path: Utf8PathBuf,
        object: Option<Identity>,
        reason: String,
    },
    /// The golden was made from other sources than the checkout holds.
    Older { recorded: bool, content: String },
    /// There is no golden at all, and nothing to make one from.
    Absent,
    /// Says the same, but not in normal form: worth a word, never a failure.
    Untidy {
        path: Utf8PathBuf,
        /// The rendered file, which the normal form is made from when it is wanted.
        rendered: Utf8PathBuf,
    },
}

/// What differs inside one stale file.
#[derive(Debug, Clone, PartialEq)]
pub enum StalePart {
    /// The file is no manifest of objects: its own fields.
    File(Vec<Change>),
    /// An object whose fields differ.
    Changed(Identity, Vec<Change>),
    /// An object that only the rendering has.
    Added(Identity),
    /// An object that only the golden has.
    Gone(Identity),
}

/// What mends a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fix {
    /// Write this file.
    Write { path: Utf8PathBuf, content: String },
    /// Write the normal form of a rendered file.
    Rewrite { path: Utf8PathBuf, rendered: Utf8PathBuf },
    /// Remove this file.
    Remove { path: Utf8PathBuf },
    /// Write one file and remove the other.
    Move {
        from: Utf8PathBuf,
        to: Utf8PathBuf,
        content: String,
    },
}

/// The file in which a golden records what it was made from.
pub const RECORD: &str = "source.json";

impl Problem {
    /// What mends it; none when a person must.
    pub fn fix(&self) -> Option<Fix> {
        let write = |path: &Utf8PathBuf, content: &String| {
            Some(Fix::Write {
                path: path.clone(),
                content: content.clone(),
            })
        };
        match self {
            Self::Missing { path, content, .. } | Self::Stale { path, content, .. } => write(path, content),
            Self::Untidy { path, rendered } => Some(Fix::Rewrite {
                path: path.clone(),
                rendered: rendered.clone(),
            }),
            Self::Unreadable {
                path,
                content: Some(content),
                ..
            }
            | Self::Disguised {
                path,
                content: Some(content),
                ..
            } => write(path, content),
            Self::Secret { fix, .. } => fix.clone(),
            Self::Older { content, .. } => write(&RECORD.into(), content),
            Self::Orphan { path, .. } | Self::Again { path, .. } => Some(Fix::Remove { path: path.clone() }),
            Self::Misplaced {
                path, wanted, content, ..
            } => Some(Fix::Move {
                from: path.clone(),
                to: wanted.clone(),
                content: content.clone(),
            }),
            Self::Duplicate { .. }
            | Self::Shared { .. }
            | Self::Unreadable { content: None, .. }
            | Self::Disguised { content: None, .. }
            | Self::Absent
            | Self::MergeMarker { .. }
            | Self::Nondeterministic { .. }
            | Self::Invalid { .. } => None,
        }
    }

    /// Whether it makes a check fail. What is only untidy says the same as what was rendered.
    pub fn fails(&self) -> bool {
        !matches!(self, Self::Untidy { .. })
    }

    /// The problem's name in JSON and in counts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Stale { .. } => "stale",
            Self::Orphan { .. } => "orphan",
            Self::Misplaced { .. } => "misplaced",
            Self::Again { .. } | Self::Duplicate { .. } => "duplicate",
            Self::Shared { .. } => "shared",
            Self::Unreadable { .. } => "unreadable",
            Self::Disguised { .. } => "disguised",
            Self::MergeMarker { .. } => "merge marker",
            Self::Secret { .. } => "plaintext secret",
            Self::Nondeterministic { .. } => "nondeterministic",
            Self::Invalid { .. } => "invalid",
            Self::Older { .. } => "older",
            Self::Absent => "missing",
            Self::Untidy { .. } => "untidy",
        }
    }
}

fn list(objects: &[Identity]) -> String {
    match objects {
        [] => String::new(),
        [one] => format!(": {one}"),
        [one, rest @ ..] => format!(": {one} and {} more", rest.len()),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indented = |text: &str| text.trim_end().replace('\n', "\n  ");
        match self {
            Self::Missing { path, objects, .. } => write!(formatter, "missing `{path}`{}", list(objects)),
            Self::Stale { path, parts, .. } => {
                write!(formatter, "stale `{path}`")?;
                for part in parts {
                    match part {
                        StalePart::File(changes) => write!(formatter, "\n  {}", indented(&diff::summary(changes)))?,
                        StalePart::Changed(object, changes) => {
                            write!(formatter, ": {object}\n  {}", indented(&diff::summary(changes)))?;
                        }
                        StalePart::Added(object) => write!(formatter, "\n  + {object}")?,
                        StalePart::Gone(object) => write!(formatter, "\n  - {object}")?,
                    }
                }
                Ok(())
            }
            Self::Orphan { path, objects } => write!(formatter, "orphan `{path}`{}", list(objects)),
            Self::Misplaced {
                path, wanted, objects, ..
            } => {
                write!(
                    formatter,
                    "misplaced `{path}`{}\n  belongs into `{wanted}`",
                    list(objects)
                )
            }
            Self::Again { path, wanted, object } => {
                write!(formatter, "duplicate `{path}`: {object} stands in `{wanted}` already")
            }
            Self::Duplicate { object, paths } => {
                let paths: Vec<String> = paths.iter().map(|path| format!("`{path}`")).collect();
                write!(formatter, "duplicate {object}: rendered to {}", paths.join(" and "))
            }
            Self::Shared { object, others } => {
                write!(
                    formatter,
                    "shared {object}: also in {}, on the same cluster",
                    others.join(" and ")
                )
            }
            Self::Unreadable { path, side, reason, .. } => {
                write!(formatter, "unreadable `{path}` in the {}: {reason}", side.word())
            }
            Self::Disguised { path, disguise, .. } => write!(formatter, "`{path}` {}", disguise.sentence()),
            Self::MergeMarker { path, line } => write!(formatter, "merge marker in `{path}`, line {line}"),
            Self::Secret {
                path,
                side,
                object,
                field,
                what,
                ..
            } => write!(
                formatter,
                "plaintext secret in the {}, `{path}`: {object}, {field} holds {what}",
                side.word()
            ),
            Self::Nondeterministic { path, object, changes } => {
                write!(formatter, "nondeterministic `{path}`")?;
                if let Some(object) = object {
                    write!(formatter, ": {object}")?;
                }
                write!(formatter, "\n  {}", indented(&diff::summary(changes)))
            }
            Self::Invalid { path, object, reason } => match object {
                Some(object) => write!(formatter, "invalid `{path}`: {object}: {reason}"),
                None => write!(formatter, "invalid `{path}`: {reason}"),
            },
            Self::Older { recorded: true, .. } => {
                formatter.write_str("older than the checkout: modules or lock file have changed since it was blessed")
            }
            Self::Older { recorded: false, .. } => {
                write!(
                    formatter,
                    "without `{RECORD}`: nothing says which sources the golden was made from"
                )
            }
            Self::Absent => formatter.write_str("there is no golden"),
            Self::Untidy { path, .. } => write!(formatter, "`{path}` says the same, but not in normal form"),
        }
    }
}

impl fmt::Display for Fix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { path, .. } | Self::Rewrite { path, .. } => write!(formatter, "write `{path}`"),
            Self::Remove { path } => write!(formatter, "remove `{path}`"),
            Self::Move { from, to, .. } => write!(formatter, "move `{from}` to `{to}`"),
        }
    }
}

impl Fix {
    /// Does it, below the golden's folder.
    pub fn execute(&self, golden: &Utf8Path) -> Result<()> {
        match self {
            Self::Write { path, content } => write_beside(&golden.join(path), content),
            Self::Rewrite { path, rendered } => write_beside(&golden.join(path), &normalize::of_file(path, rendered)?),
            Self::Remove { path } => remove(golden, path),
            Self::Move { from, to, content } => {
                write_beside(&golden.join(to), content)?;
                remove(golden, from)
            }
        }
    }
}

/// Writes a file beside the old one and renames it: whoever reads sees the old text or the new, never a part.
pub fn write_beside(path: &Utf8Path, content: &str) -> Result<()> {
    let folder = path
        .parent()
        .ok_or_else(|| Failure::unexpected(format!("`{path}` has no folder")))?;
    fs_err::create_dir_all(folder)?;
    // A folder where a file belongs is left to a person.
    if fs_err::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        return Err(Failure::config(format!("`{path}` is a folder, a file is expected")).hinted("remove it"));
    }
    let mut file = tempfile::Builder::new()
        .prefix(".bless-")
        .permissions(std::fs::Permissions::from_mode(0o644))
        .tempfile_in(folder)
        .or_fail(Kind::Unexpected, format!("cannot write in `{folder}`"))?;
    // Not synced one by one: after a power cut Git has the old text, and thousands of syncs take minutes.
    file.write_all(content.as_bytes())
        .or_fail(Kind::Unexpected, format!("cannot write beside `{path}`"))?;
    // The umask may have taken more than a committed file should lose.
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(0o644))
        .or_fail(Kind::Unexpected, format!("cannot write beside `{path}`"))?;
    file.persist(path)
        .or_fail(Kind::Unexpected, format!("cannot rename to `{path}`"))?;
    Ok(())
}

/// Removes a file and the folders that are empty without it.
fn remove(golden: &Utf8Path, path: &Utf8Path) -> Result<()> {
    let whole = golden.join(path);
    match fs_err::remove_file(&whole) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        other => other?,
    }
    for folder in path
        .ancestors()
        .skip(1)
        .take_while(|folder| !folder.as_str().is_empty())
    {
        if fs_err::remove_dir(golden.join(folder)).is_err() {
            break;
        }
    }
    Ok(())
}

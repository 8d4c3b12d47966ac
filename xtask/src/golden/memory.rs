//! What an earlier check found equal, so that the next one reads only files that changed since.
//! It trusts what Git's index trusts: a file with the same inode, size and times, last changed well before it was
//! read, holds the same bytes. It remembers nothing that had a problem, and nothing of another build of xtask.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};

use super::folder::{File, Form, Stat};
use super::object::Identity;
use crate::base::failure::Result;
use crate::base::formats::json;

/// How long before it was read a file must have changed last, so that no later change can hide in the same tick of
/// a coarse clock; Git waits for the same reason.
const SETTLED: Duration = Duration::from_secs(2);

/// Separates identities on a line, and their parts; neither can stand in a name of the API.
const UNIT: char = '\u{1f}';
const PART: char = '\u{1e}';

/// A folder of ours in which one golden's memory is kept.
#[derive(Debug, Clone)]
pub struct Memory {
    folder: Utf8PathBuf,
    /// Changes with everything that decides a verdict beside the files.
    key: String,
    now: SystemTime,
}

/// A path at which both sides were found equal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) path: Utf8PathBuf,
    pub(crate) left: Stat,
    pub(crate) right: Stat,
    /// Whether definitions or custom resources stand here, which are judged together.
    pub(crate) judged: bool,
    pub(crate) objects: Vec<Identity>,
}

impl Memory {
    /// The memory in this folder, for these two sides, at this time.
    pub fn new(folder: &Utf8Path, rendered: &Utf8Path, golden: &Utf8Path, now: SystemTime) -> Self {
        // Another build may judge otherwise, and a version number alone does not tell builds apart.
        let build = std::env::current_exe()
            .and_then(fs_err::metadata)
            .map(|metadata| {
                use std::os::unix::fs::MetadataExt;
                format!(
                    "{}:{}:{}:{}",
                    metadata.dev(),
                    metadata.ino(),
                    metadata.size(),
                    metadata.mtime_nsec()
                )
            })
            .unwrap_or_default();
        let key = json::sha256(format!(
            "{}\n{build}\n{rendered}\n{golden}\n",
            env!("CARGO_PKG_VERSION")
        ));
        Self {
            folder: folder.to_owned(),
            key,
            now,
        }
    }

    /// Whether nothing at all has changed since a check that found no problem; then the number of its objects.
    pub(crate) fn nothing_changed(&self, left: &[File], right: &[File]) -> Option<usize> {
        let text = fs_err::read_to_string(self.folder.join("whole")).ok()?;
        let (digest, objects) = text.trim_end().split_once(' ')?;
        if digest != self.digest(left, right) {
            return None;
        }
        objects.parse().ok()
    }

    /// What was found equal, sorted by path; nothing when there is no memory, or one of other things.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let Ok(text) = fs_err::read_to_string(self.folder.join("seen")) else {
            return Vec::new();
        };
        let mut lines = text.split('\n');
        if lines.next() != Some(&self.key) {
            return Vec::new();
        }
        // A memory that was cut short has no last line.
        let mut found = Vec::new();
        for line in lines {
            if line == "end" {
                return found;
            }
            match read_line(line) {
                Some(seen) => found.push(seen),
                None => break,
            }
        }
        Vec::new()
    }

    /// Remembers what was found equal, and that nothing else was found when `whole` holds the number of objects.
    pub(crate) fn remember(&self, seen: &[Seen], whole: Option<usize>, left: &[File], right: &[File]) -> Result<()> {
        let mut text = format!("{}\n", self.key);
        for seen in seen
            .iter()
            .filter(|seen| self.is_settled(&seen.left) && self.is_settled(&seen.right))
        {
            write_line(&mut text, seen);
        }
        text.push_str("end\n");
        crate::base::files::write(&self.folder.join("seen"), text.as_bytes(), 0o644)?;
        let settled = left.iter().chain(right).all(|file| self.is_settled(&file.stat));
        let path = self.folder.join("whole");
        match whole {
            Some(objects) if settled => {
                let text = format!("{} {objects}\n", self.digest(left, right));
                crate::base::files::write(&path, text.as_bytes(), 0o644)
            }
            _ => match fs_err::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            },
        }
    }

    /// False also for a file from the future: a clock that went back tells nothing.
    fn is_settled(&self, stat: &Stat) -> bool {
        let Ok(now) = self.now.duration_since(SystemTime::UNIX_EPOCH) else {
            return false;
        };
        let latest = stat.changed.max(stat.modified);
        i128::try_from(now.as_nanos()).is_ok_and(|now| now - i128::from(latest) > SETTLED.as_nanos() as i128)
    }

    fn digest(&self, left: &[File], right: &[File]) -> String {
        // Both sides at once: with the listing this is all that an unchanged golden costs.
        let (left, right) = std::thread::scope(|scope| {
            let right = scope.spawn(|| digest_of(right));
            (digest_of(left), right.join().expect("hashing never panics"))
        });
        json::sha256(format!("{}\n{left}\n{right}\n", self.key))
    }
}

/// The digest of everything the system says of a folder's files.
fn digest_of(files: &[File]) -> String {
    let mut bytes = Vec::with_capacity(files.len() * 128);
    for file in files {
        bytes.push(match file.form {
            Form::Plain => b'p',
            Form::Executable => b'x',
            Form::Symlink => b'l',
            Form::Other => b'o',
        });
        bytes.extend_from_slice(file.path.as_str().as_bytes());
        bytes.push(0);
        let Stat {
            identity: (device, inode),
            size,
            modified,
            changed,
        } = file.stat;
        bytes.extend_from_slice(&device.to_le_bytes());
        bytes.extend_from_slice(&inode.to_le_bytes());
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(&modified.to_le_bytes());
        bytes.extend_from_slice(&changed.to_le_bytes());
    }
    json::sha256(bytes)
}

fn write_stat(text: &mut String, stat: &Stat) {
    let Stat {
        identity: (device, inode),
        size,
        modified,
        changed,
    } = stat;
    write!(text, "{device:x},{inode:x},{size:x},{modified:x},{changed:x}").expect("a string takes everything");
}

fn read_stat(text: &str) -> Option<Stat> {
    let mut parts = text.split(',');
    let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
    let stat = Stat {
        identity: (number()?, number()?),
        size: number()?,
        modified: number()?.cast_signed(),
        changed: number()?.cast_signed(),
    };
    Some(stat)
}

fn write_line(text: &mut String, seen: &Seen) {
    let strange = |text: &str| text.contains(char::is_control);
    let objects = seen
        .objects
        .iter()
        .flat_map(|identity| [&identity.group, &identity.kind, &identity.namespace, &identity.name]);
    if strange(seen.path.as_str()) || objects.into_iter().any(|part| strange(part)) {
        return;
    }
    text.push_str(seen.path.as_str());
    text.push('\t');
    write_stat(text, &seen.left);
    text.push('\t');
    write_stat(text, &seen.right);
    text.push_str(if seen.judged { "\tj" } else { "\t-" });
    for Identity {
        group,
        kind,
        namespace,
        name,
    } in &seen.objects
    {
        write!(text, "{UNIT}{group}{PART}{kind}{PART}{namespace}{PART}{name}").expect("a string takes everything");
    }
    text.push('\n');
}

fn read_line(line: &str) -> Option<Seen> {
    let mut columns = line.split('\t');
    let path = columns.next()?;
    let left = read_stat(columns.next()?)?;
    let right = read_stat(columns.next()?)?;
    let mut rest = columns.next()?.split(UNIT);
    let judged = rest.next()? == "j";
    let objects = rest
        .map(|unit| {
            let mut parts = unit.split(PART).map(str::to_owned);
            Some(Identity {
                group: parts.next()?,
                kind: parts.next()?,
                namespace: parts.next()?,
                name: parts.next()?,
            })
        })
        .collect::<Option<_>>()?;
    Some(Seen {
        path: path.into(),
        left,
        right,
        judged,
        objects,
    })
}

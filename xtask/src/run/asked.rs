//! What a run was asked for: its verb with every flag, and digests of what it reads. `--resume` goes on with a run of
//! the same command line and the same inputs, and with no other.
//! It reads the command line and the inputs; it decides nothing about a cluster.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::base::command_line::CommandLine;
use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::formats::json::sha256;
use crate::base::root::{PLATFORM_JSON, STATE};
use crate::golden::provenance::Record;
use crate::live::history;

/// The file of a run with what it was asked for.
const FILE: &str = "asked.json";

/// The schema version of that file.
const SCHEMA: u32 = 1;

/// What a run was asked for, with the nonce that its Lease has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Asked {
    /// Always [`SCHEMA`].
    schema: u32,
    /// Nonce of the run.
    pub nonce: String,
    /// The command line.
    command: CommandLine,
    /// Digests of what is read, by name.
    inputs: BTreeMap<String, String>,
}

impl Asked {
    /// What is asked now: the command line, the config, the lock file, and the rendered projects that are read.
    pub fn now(
        root: &Utf8Path,
        nonce: &str,
        command: &CommandLine,
        projects: impl IntoIterator<Item = Utf8PathBuf>,
    ) -> Result<Self> {
        let file = |name: &str| -> Result<String> {
            match fs_err::read(root.join(name)) {
                Ok(bytes) => Ok(sha256(bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
                Err(error) => Err(error.into()),
            }
        };
        let mut inputs = BTreeMap::new();
        for name in [PLATFORM_JSON, "flake.lock"] {
            inputs.insert(format!("`{name}`"), file(name)?);
        }
        for project in projects {
            if project.starts_with(STATE) {
                // What Nix builds is known by what it is built from: the link shows what was built before.
                inputs.insert("the modules".to_owned(), Record::of(root)?.modules);
            } else if root.join(&project).is_dir() {
                inputs.insert(
                    format!("the project `{project}`"),
                    history::digest(&root.join(&project))?,
                );
            }
        }
        Ok(Self {
            schema: SCHEMA,
            nonce: nonce.to_owned(),
            command: command.clone(),
            inputs,
        })
    }

    /// Writes it into the folder of a run.
    pub fn write(&self, run: &Utf8Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("it is plain data");
        crate::base::files::write(&run.join(FILE), text.as_bytes(), 0o600)
    }

    /// Reads it from the folder of a run.
    pub fn read(run: &Utf8Path) -> Result<Self> {
        let path = run.join(FILE);
        let hint = "start over without `--resume`; `cargo xtask clean --runs` removes old runs";
        let text = fs_err::read_to_string(&path)
            .or_fail(Kind::Config, format!("nothing says what the run `{run}` was asked for"))
            .map_err(|failure| failure.hinted(hint))?;
        let asked: Self = serde_json::from_str(&text)
            .map_err(|error| Failure::config(format!("`{path}` cannot be read: {error}")).hinted(hint))?;
        let nonce = &asked.nonce;
        if asked.schema != SCHEMA || nonce.len() != 12 || !nonce.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Failure::config(format!("`{path}` is not what this xtask writes")).hinted(hint));
        }
        Ok(asked)
    }

    /// Refuses a run that was asked for something else than is asked now.
    pub fn check(&self, now: &Self, run: &Utf8Path) -> Result<()> {
        let differs = self.differs(now);
        if differs.is_empty() {
            return Ok(());
        }
        Err(Failure::many(
            Kind::Refused,
            format!("`--resume` goes on with the run `{run}`, which was asked for something else; nothing was changed"),
            &differs,
        )
        .hinted("give the command line and the project of that run, or start over without `--resume`"))
    }

    /// What differs between a run and what is asked now, a sentence each.
    fn differs(&self, now: &Self) -> Vec<String> {
        let mut differs = Vec::new();
        if self.command.verb != now.command.verb {
            differs.push(format!(
                "the verb: it was `{}`, now it is `{}`",
                self.command.verb, now.command.verb
            ));
        }
        let flags = self.command.flags.keys().chain(now.command.flags.keys());
        for flag in flags.collect::<std::collections::BTreeSet<_>>() {
            match (self.command.flags.get(flag), now.command.flags.get(flag)) {
                (Some(then), Some(now)) if then == now => {}
                (Some(then), Some(now)) => differs.push(format!(
                    "`{flag}`: it was `{}`, now it is `{}`",
                    then.join("`, `"),
                    now.join("`, `")
                )),
                (Some(then), None) => {
                    differs.push(format!("`{flag}`: it was `{}`, now it is not given", then.join("`, `")));
                }
                (None, Some(now)) => {
                    differs.push(format!("`{flag}`: it was not given, now it is `{}`", now.join("`, `")));
                }
                (None, None) => {}
            }
        }
        let inputs = self.inputs.keys().chain(now.inputs.keys());
        for name in inputs.collect::<std::collections::BTreeSet<_>>() {
            if self.inputs.get(name) != now.inputs.get(name) {
                differs.push(format!("{name} has another content"));
            }
        }
        differs
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn line(words: &str) -> CommandLine {
        let words = std::iter::once("xtask").chain(words.split_whitespace());
        let command = Cli::command();
        let matches = command.clone().try_get_matches_from(words).unwrap();
        CommandLine::of(&command, &matches)
    }

    fn asked(words: &str) -> Asked {
        Asked {
            schema: SCHEMA,
            nonce: "0123456789ab".to_owned(),
            command: line(words),
            inputs: BTreeMap::from([("the project `p`".to_owned(), "a".to_owned())]),
        }
    }

    #[test]
    fn every_flag_of_a_verb_that_changes_what_is_done_is_named_when_it_differs() {
        let then = asked("prune --stage local --allow-delete Namespace/a --allow-delete Secret/n/s --yes");
        let same = asked("prune --resume --allow-delete Secret/n/s --allow-delete=Namespace/a --stage=local");
        assert!(then.differs(&same).is_empty(), "{:?}", then.differs(&same));
        for (words, differs) in [
            ("deploy --stage local", "the verb"),
            (
                "prune --stage local",
                "`--allow-delete`: it was `Namespace/a`, `Secret/n/s`, now it is not given",
            ),
            (
                "prune --stage capi --allow-delete Namespace/a --allow-delete Secret/n/s",
                "`--stage`",
            ),
            (
                "prune --stage local --cluster k3s-capi --allow-delete Namespace/a --allow-delete Secret/n/s",
                "`--cluster`: it was not given, now it is `k3s-capi`",
            ),
        ] {
            let found = then.differs(&asked(words));
            assert!(found.iter().any(|one| one.contains(differs)), "{words}: {found:?}");
        }
        assert_ne!(line("capi init"), line("capi down"));
    }

    #[test]
    fn another_project_or_config_is_named() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        fs_err::create_dir(root.join("p")).unwrap();
        let now = || Asked::now(root, "0123456789ab", &line("prune --stage local"), ["p".into()]).unwrap();
        let then = now();
        fs_err::write(root.join("p/a.yaml"), "a").unwrap();
        fs_err::write(root.join(PLATFORM_JSON), "{}").unwrap();
        let found = then.differs(&now());
        assert_eq!(
            found,
            [
                "`platform.json` has another content",
                "the project `p` has another content"
            ]
        );
        let failure = then.check(&now(), root).unwrap_err();
        assert_eq!(failure.kind, Kind::Refused);
        then.write(root).unwrap();
        assert_eq!(Asked::read(root).unwrap(), then);
    }
}

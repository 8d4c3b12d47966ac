//! A clusterctl that dies by SIGKILL when the real one says the next of some words, and is the real one otherwise.

use camino::Utf8PathBuf;

use crate::support::{Checkout, write};

/// Said once some are gone. A move that was killed late at the place before has some gone already, and is completed
/// without clusterctl, which then never says it.
pub(crate) const WHILE_DELETING: &str = "Deleting Machine=";

/// Where it dies: inside the backup, and at each place of a move.
pub(crate) const PLACES: [(&str, &str); 5] = [
    // The source is paused while it is saved.
    ("--to-directory", "Saving files to"),
    // Nothing is paused yet.
    ("--to-kubeconfig", "Moving Cluster API objects"),
    ("--to-kubeconfig", "Creating Machine="),
    // Everything is created, and nothing deleted; or, where the kill comes late, the first object.
    ("--to-kubeconfig", "Deleting objects from the source cluster"),
    ("--to-kubeconfig", WHILE_DELETING),
];

/// The places at which it has not died yet, a line each.
pub(crate) struct Places(Utf8PathBuf);

impl Places {
    pub(crate) fn left(&self) -> Vec<String> {
        let text = fs_err::read_to_string(&self.0).unwrap();
        text.lines().map(ToOwned::to_owned).collect()
    }
}

/// Puts it in the place of the real one.
pub(crate) fn clusterctl(checkout: &mut Checkout) -> Places {
    let real = checkout.ok(&["tools", "path", "clusterctl"]).stdout.trim().to_owned();
    let folder = checkout.base().join("mortal");
    let places = folder.join("places");
    let script = format!(
        r#"#!/bin/sh
place=$(head -n 1 {places})
call=${{place%%:*}}
word=${{place#*:}}
case "$place|$*" in
"|"*) exec {real} "$@" ;;
*"|"*"$call"*) ;;
*) exec {real} "$@" ;;
esac
mkfifo {folder}/said.$$
{real} "$@" 2>{folder}/said.$$ &
child=$!
while read -r line; do
  echo "$line" >&2
  case "$line" in
  *"$word"*)
    kill -9 $child
    sed -i 1d {places}
    kill -9 $$
    ;;
  esac
done <{folder}/said.$$
wait $child
"#
    );
    let lines: Vec<String> = PLACES.iter().map(|(call, word)| format!("{call}:{word}\n")).collect();
    write(&places, &lines.concat());
    let path = folder.join("clusterctl");
    write(&path, &script);
    fs_err::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    checkout.variables.insert("XTASK_CLUSTERCTL".into(), path.into_string());
    Places(places)
}

//! Volumes that name Nix closures: what they name is in the store before the phase that mounts it.
//! A bare machine has no Nix; the one here takes what the real one takes, and refuses what it refuses.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::Test;
use crate::world::{For, World, finish, item, namespace};

pub(crate) const TESTS: &[Test] = &[(
    "closures_are_in_the_store_before_the_phase_that_mounts_them",
    before_the_phase,
)];

const CLOSURE: &str = "/nix/store/0c1nwmbi0fzpnzlrhqlnsvv5hzz1hfhi-hello-2.12";
const STORE: &str = "ssh-ng://root@127.0.0.1";

/// `nix copy` as far as a deploy uses it; fails while a file `broken` stands beside it.
const NIX: &str = r#"#!/bin/sh
set -eu
here=$(dirname "$0")
[ "$*" != --version ] || { echo "nix (Nix) 2.28.3"; exit 0; }
[ "$1 $2" = "--extra-experimental-features nix-command flakes" ] || { echo "error: experimental Nix feature 'nix-command' is disabled" >&2; exit 1; }
shift 2
[ "$1 $2" = "copy --to" ] || { echo "error: '$1' is not a recognised command" >&2; exit 1; }
case "$3" in *://*) ;; *) echo "error: don't know how to open Nix store '$3'" >&2; exit 1 ;; esac
store=$3
shift 3
for path in "$@"; do
  case "$path" in /nix/store/*) ;; *) echo "error: path '$path' is not in the Nix store" >&2; exit 1 ;; esac
done
[ ! -e "$here/broken" ] || { echo "error: cannot connect to '$store'" >&2; exit 1; }
echo "$store $*" >> "$here/copied"
"#;

fn job() -> Value {
    let volume =
        json!({"name": "nix", "csi": {"driver": "nix.csi.store", "volumeAttributes": {"x86_64-linux": CLOSURE}}});
    let pod = json!({"restartPolicy": "Never", "volumes": [volume], "containers": [{"name": "a", "image": "example.org/a:1"}]});
    json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "mounts", "namespace": "closures"},
        "spec": {"schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": {"spec": {"template": {"spec": pod}}}}})
}

fn before_the_phase(world: &World) {
    let items = [
        item("base", "base", vec![namespace("closures")]),
        item("late", "late", vec![job()]),
    ];
    let folder = world.project("closures", For::Production, &items);
    let exists = || {
        let found = world.kubectl(
            For::Production,
            &["get", "cronjobs", "--all-namespaces", "--output=name"],
        );
        found.contains("mounts")
    };
    world
        .deploy(For::Production, &folder)
        .ends(5)
        .says(CLOSURE)
        .says("of CronJob/closures/mounts")
        .says("clusters.prod.closureStore");
    assert!(!exists());

    let config = fs_err::read_to_string(world.root.join("platform.json")).unwrap();
    let mut with: Value = serde_json::from_str(&config).unwrap();
    with["clusters"]["prod"]["closureStore"] = json!(STORE);
    world.write("platform.json", &with.to_string());
    world.commit("a store");
    let tools = world.root.join(".xtask/closures");
    world.write(".xtask/closures/nix", NIX);
    fs_err::set_permissions(tools.join("nix"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let deploy = || {
        let mut command = world.command();
        command.env("XTASK_NIX", tools.join("nix")).args([
            "deploy",
            "--stage=full",
            "--cluster=prod",
            "--source",
            &folder,
            "--yes",
        ]);
        finish(&mut command)
    };
    world.write(".xtask/closures/broken", "");
    deploy().ends(6).says("cannot connect to");
    assert!(!exists(), "it was deployed without its closure");
    fs_err::remove_file(tools.join("broken")).unwrap();
    deploy().ends(0);
    assert!(exists());
    let copied = fs_err::read_to_string(tools.join("copied")).unwrap();
    assert_eq!(copied, format!("{STORE} {CLOSURE}\n"));
    // Nothing differs, so nothing is copied.
    deploy().ends(0).says("as they should be");
    assert_eq!(fs_err::read_to_string(tools.join("copied")).unwrap(), copied);
    world.write("platform.json", &config);
    world.commit("no store");
}

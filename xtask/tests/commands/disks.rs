//! A checkout on a disk that cannot be written, or has no room.

use std::process::Command;

use crate::fakes::Fakes;
use crate::support::{Ran, XTASK, finish, program};

const GOLDEN: &str = "k8s/golden/k3s-dev/local";

/// A run of the binary behind a script of mounts that only it sees; none where we may not mount.
fn mounted(fakes: &Fakes, mounts: &str, arguments: &[&str], after: &str) -> Option<Ran> {
    if !rustix::process::geteuid().is_root() || !camino::Utf8Path::new("/usr/bin/unshare").exists() {
        return None;
    }
    let usual = fakes.command(&[]);
    let script = format!(
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin; cd {root}; set -e; XTASK={XTASK}; {mounts}; PATH={bin}; set +e; {XTASK} {}; code=$?; \
         PATH=/usr/bin:/bin; {after}; exit $code",
        shell_words::join(arguments),
        root = fakes.checkout.root,
        bin = fakes.checkout.variables["PATH"],
    );
    let mut command: Command = program("/usr/bin/unshare");
    command
        .args(["--mount", "/bin/sh", "-c", &script])
        .env_clear()
        .envs(usual.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    Some(finish(command.spawn().unwrap()))
}

#[test]
fn a_checkout_that_cannot_be_written_is_not_ready_and_no_bug() {
    use std::os::unix::fs::PermissionsExt;

    let fakes = Fakes::new();
    // The state is there, as it is wherever something was done before.
    fakes.checkout.ok(&["local-down"]);
    fakes.made();
    let root = &fakes.checkout.root;
    let kubeconfig = root.join(".xtask/kubeconfigs/k3s-dev.yaml");
    fs_err::set_permissions(kubeconfig, std::fs::Permissions::from_mode(0o600)).unwrap();
    for arguments in [
        &["history", "--stage", "local"][..],
        &["diff", "--stage", "local", "--source", GOLDEN],
        &["drift", "--stage", "local", "--source", GOLDEN],
        &["prune", "--stage", "local", "--source", GOLDEN, "--yes"],
        &["rollback", "--stage", "local", "--yes"],
        &["kubectl", "--", "get", "configmaps"],
        &["local-up"],
        &["local-down"],
    ] {
        let ran = mounted(
            &fakes,
            "mount --bind . . && mount -o remount,ro,bind . && cd .",
            arguments,
            ":",
        )
        .unwrap_or_else(|| {
            let mode = |mode| std::fs::Permissions::from_mode(mode);
            for folder in [root.join(".xtask"), root.clone()] {
                fs_err::set_permissions(folder, mode(0o500)).unwrap();
            }
            let ran = fakes.run(arguments);
            for folder in [root.clone(), root.join(".xtask")] {
                fs_err::set_permissions(folder, mode(0o700)).unwrap();
            }
            ran
        });
        assert_eq!(ran.code, Some(5), "{arguments:?}: {ran}");
        assert!(ran.stderr.contains("read-only mount"), "{arguments:?}: {ran}");
    }
}

#[test]
fn a_disk_without_room_is_named_before_a_control_plane_is_made() {
    let fakes = Fakes::new();
    let small = "mkdir -p .xtask && mount -t tmpfs -o size=2m,mode=700 tmpfs .xtask";
    let Some(ran) = mounted(&fakes, small, &["local-up"], ":") else {
        return;
    };
    assert_eq!(ran.code, Some(5), "{ran}");
    assert!(ran.stderr.contains("the disk is full: only "), "{ran}");
    assert!(fakes.calls().iter().all(|call| !call.starts_with("kwokctl")), "{ran}");
}

#[test]
fn local_down_makes_room_on_a_disk_that_has_none() {
    let fakes = Fakes::new();
    let full = "mkdir -p .xtask && mount -t tmpfs -o size=1m,mode=700 tmpfs .xtask && $XTASK local-down \
                && mkdir -p .xtask/clusters/k3s-dev/home && { cat /dev/zero >.xtask/clusters/k3s-dev/home/fill || :; }";
    let after = "test ! -e .xtask/clusters/k3s-dev || echo it is still there >&2";
    let Some(ran) = mounted(&fakes, full, &["local-down"], after) else {
        return;
    };
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.contains("this run is not recorded"), "{ran}");
    assert!(!ran.stderr.contains("it is still there"), "{ran}");
}

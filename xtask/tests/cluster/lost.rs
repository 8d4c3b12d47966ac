//! What outlives its run or its folder: the lock of a killed run, and the processes of a control plane whose checkout
//! was cleaned, renamed or removed.

use camino::Utf8Path;

use crate::support::{Checkout, finish, tiny_objects};

fn is_locked(checkout: &Checkout) -> bool {
    let leases = checkout.get("k3s-dev", &["leases", "--namespace=kube-system"]);
    let mut names = leases["items"].as_array().unwrap().iter();
    names.any(|lease| lease["metadata"]["name"] == "xtask-k3s-dev")
}

/// Runs `local-up` until it dies at a point of a step.
fn killed(checkout: &Checkout, point: &str) {
    let mut command = checkout.command(&["local-up"]);
    command.env("XTASK_CRASH", point);
    let ran = finish(command.spawn().unwrap());
    assert_eq!(ran.signal, Some(9), "{point} was to kill the run: {ran}");
    assert!(is_locked(checkout), "{point}");
}

/// Writes the stage with another content.
fn changed(checkout: &Checkout, colour: &str) {
    let objects: Vec<_> = tiny_objects()
        .into_iter()
        .map(|(item, phase, mut object)| {
            if object["kind"] == "ConfigMap" {
                object["data"]["colour"] = colour.into();
            }
            (item, phase, object)
        })
        .collect();
    checkout.stage("k3s-dev", &objects);
}

#[test]
fn the_lock_of_a_dead_run_of_this_checkout_is_taken_away_by_the_next_and_said() {
    let checkout = Checkout::tiny();
    checkout.ok(&["local-up"]);
    let said = "a dead run of this checkout held the lock, which is taken away: host";
    // Something is left to do, nothing is left to do, and the Lease was taken but not read back.
    for (index, point) in ["acted:lease.read", "started:lease.release", "acted:lease.take"]
        .iter()
        .enumerate()
    {
        changed(&checkout, &format!("colour {index}"));
        killed(&checkout, point);
        let next = checkout.ok(&["local-up"]);
        assert!(next.stderr.contains(said), "{point}: {next}");
        assert!(next.stderr.contains("doing `local-up"), "{point}: {next}");
        assert!(!is_locked(&checkout), "{point}");
        let again = checkout.ok(&["local-up"]);
        assert!(again.stderr.contains("nothing to change"), "{point}: {again}");
        assert!(!again.stderr.contains(said), "{point}: {again}");
    }
    // Another verb of the same checkout, too.
    changed(&checkout, "last");
    killed(&checkout, "acted:lease.check");
    let other = checkout.ok(&["deploy", "--stage", "local"]);
    assert!(other.stderr.contains(said), "{other}");
    assert!(!is_locked(&checkout));
    checkout.ok(&["local-down"]);
}

fn control_plane(checkout: &Checkout) -> usize {
    let processes = checkout.processes();
    processes
        .iter()
        .filter(|(_, line)| line.contains("/.kwok/clusters/"))
        .count()
}

#[test]
fn a_control_plane_whose_state_was_cleaned_or_whose_checkout_was_renamed_is_ended_by_local_down() {
    let mut checkout = Checkout::tiny();
    let up = |checkout: &Checkout| {
        checkout.ok(&["local-up"]);
        assert_eq!(control_plane(checkout), 5, "{:?}", checkout.processes());
    };
    up(&checkout);
    // What `git clean -fdx` does.
    fs_err::remove_dir_all(checkout.root.join(".xtask")).unwrap();
    let down = checkout.ok(&["local-down"]);
    assert!(down.stderr.contains("5 processes"), "{down}");
    assert_eq!(control_plane(&checkout), 0);

    up(&checkout);
    let renamed = checkout.base().join("renamed");
    let rename = |checkout: &mut Checkout, to: &Utf8Path| {
        fs_err::rename(&checkout.root, to).unwrap();
        to.clone_into(&mut checkout.root);
    };
    rename(&mut checkout, &renamed);
    let down = checkout.ok(&["local-down"]);
    assert!(down.stderr.contains("5 processes"), "{down}");
    assert_eq!(control_plane(&checkout), 0);

    // Renamed and cleaned.
    up(&checkout);
    let again = checkout.base().join("renamed again");
    rename(&mut checkout, &again);
    fs_err::remove_dir_all(checkout.root.join(".xtask")).unwrap();
    checkout.ok(&["local-down"]);
    assert_eq!(control_plane(&checkout), 0);
    checkout.ok(&["local-down"]);
}

#[test]
fn what_runs_of_a_checkout_that_was_removed_is_named_and_left_alone() {
    let (removed, other) = (Checkout::tiny(), Checkout::tiny());
    removed.ok(&["local-up"]);
    fs_err::remove_dir_all(&removed.root).unwrap();
    let down = other.ok(&["local-down"]);
    assert!(down.stderr.contains("is gone, and what ran in it goes on"), "{down}");
    assert!(down.stderr.contains(removed.root.as_str()), "{down}");
    assert!(control_plane(&removed) > 0, "it was ended by somebody else's checkout");
}

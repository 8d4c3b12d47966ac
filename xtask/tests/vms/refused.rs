//! What keeps a VM from running, said before anything is started; no control plane is needed to say it.

use serde_json::{Value, json};

use crate::NOTHING;
use crate::world::World;

#[test]
fn everything_that_keeps_a_vm_from_running_is_said_at_once_before_anything_starts() {
    let mut world = World::linux();
    world.host["cores"] = json!(2);
    world.host["memory"] = json!(4_u64 << 30);
    world.host["freeDisk"] = json!(10_u64 << 30);
    world.host["kvm"] = json!(false);
    world.host["qemu"] = json!(false);
    fs_err::remove_file(world.path("bin/lima")).unwrap();
    world.host["root"] = json!(true);
    let taken = std::net::TcpListener::bind(format!("127.0.0.1:{}", world.port("k3s-dev"))).unwrap();
    let port = world.port("k3s-dev");
    let run = world.up("k3s-dev", "colima", &[]).ends(5);
    for words in [
        "asks for 4 CPUs, this host has 2",
        "asks for 8.0 GiB of memory, this host has 4.0 GiB",
        "asks for a disk of 60.0 GiB, 10.0 GiB are free",
        "`/dev/kvm` cannot be opened",
        "`qemu-system-x86_64` and `qemu-img` are not on PATH",
        "Colima needs `lima` beside `limactl`",
        "Lima does not run as root",
        &format!("port {port} of the host is taken"),
    ] {
        assert!(run.stderr.contains(words), "no `{words}` in:\n{}", run.stderr);
    }
    assert_eq!(world.calls(), NOTHING);
    assert!(!world.path("home/.xtask-vm").exists());
    drop(taken);
}

#[test]
fn tools_that_are_missing_or_too_old_are_named_with_what_is_needed() {
    let mut world = World::linux();
    world.fake["colima"] = json!("0.10.1");
    world
        .up("k3s-dev", "colima", &[])
        .ends(5)
        .says(">=0.10.2")
        .says("0.10.1");
    fs_err::remove_file(world.path("bin/limactl")).unwrap();
    world
        .up("k3s-dev", "colima", &[])
        .ends(5)
        .says("`limactl`")
        .says("`colima`");

    // Whoever asked for none gets what needs none.
    let plan = world.up("k3s-dev", "auto", &["--dry-run"]).ends(0);
    assert!(
        plan.stdout.contains("backend `embedded`") && plan.stdout.contains("not `lima`: no limactl here"),
        "{}",
        plan.stdout
    );
}

#[test]
fn another_architecture_is_refused_and_never_emulated() {
    let mut world = World::mac();
    world.platform["profiles"]["k3s-dev"]["arch"] = json!("x86_64");
    world
        .up("k3s-dev", "colima", &[])
        .ends(8)
        .says("the VM is x86_64 and this host is macOS 15.5 on aarch64")
        .says("vz boots the host's own architecture only");
    let mut world = World::linux();
    world.platform["profiles"]["k3s-dev"]["arch"] = json!("aarch64");
    world
        .up("k3s-dev", "lima", &[])
        .ends(8)
        .says("QEMU would emulate it without KVM");

    // Asked for vz, and an emulator runs: nobody else says so.
    let mut world = World::linux();
    world.fake["faults"] = json!(["emulated"]);
    world.tell_mac();
    world.up("k3s-dev", "colima", &[]).ends(8).says("it would be emulated");
}

#[test]
fn a_mac_needs_a_builder_or_an_image_from_elsewhere() {
    let mut world = World::mac();
    world
        .up("k3s-dev", "colima", &[])
        .ends(5)
        .says("no builder for aarch64-linux with kvm")
        .says("nix.linux-builder")
        .says("cargo xtask image use FILE");
    world.image();
    world
        .run(&["image", "use", "nixos.qcow2", "--sha256", "00"])
        .ends(8)
        .says("it was not taken");
    world.run(&["image", "use", "nixos.qcow2"]).ends(0);
    world.platform["profiles"]["k3s-dev"]["rosetta"] = json!(true);
    let plan = world.up("k3s-dev", "colima", &["--dry-run=json"]).ends(0);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let steps = crate::support::steps(&plan);
    let (_, create) = steps.iter().find(|(_, step)| step["id"] == "vm.create").unwrap();
    let words: Vec<&str> = create["action"]["run"]["args"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|arg| arg["lit"].as_str())
        .collect();
    assert_eq!(
        words.join(" "),
        "start --profile k3s-dev --template=false --arch aarch64 --vm-type vz --vz-rosetta --cpus 4 --memory 8 --disk 60 --root-disk 60 --runtime none --mount none --mount-type virtiofs --binfmt=false --activate=false --ssh-config=false --port-forwarder ssh --disk-image --force-disk-image"
    );
    assert!(steps.iter().any(|(_, step)| step["id"] == "rosetta.try"));

    // Rosetta and its kernel.
    world.host["rosetta"] = json!(false);
    world
        .up("k3s-dev", "colima", &[])
        .ends(5)
        .says("softwareupdate --install-rosetta");
}

#[test]
fn a_profile_with_an_odd_name_is_refused_first() {
    let mut world = World::linux();
    let profile = world.platform["profiles"]["k3s-dev"].clone();
    world.platform["profiles"]["k3s dev;x"] = profile;
    world.platform["clusters"]["k3s-dev"]["profile"] = json!("k3s dev;x");
    world
        .up("k3s-dev", "colima", &[])
        .ends(3)
        .says("profiles: `k3s dev;x` is no name");
}

#[test]
fn a_folder_of_vms_that_is_too_long_or_cannot_be_written_is_refused_first() {
    let mut world = World::linux();
    world.vm_home = Some(format!("/tmp/{}", "x".repeat(70)));
    world
        .up("k3s-dev", "colima", &[])
        .ends(5)
        .says("is too long: its sockets would have 1")
        .says("XTASK_VM_HOME=/short/path");
    world.vm_home = Some(world.path("checkout/platform.json/vms").into_string());
    world
        .up("k3s-dev", "colima", &[])
        .ends(5)
        .says("cannot be written")
        .says("XTASK_VM_HOME=/short/path");
    world.vm_home = Some("vms".to_owned());
    world
        .up("k3s-dev", "colima", &[])
        .ends(3)
        .says("must be an absolute path");
    assert_eq!(world.calls(), NOTHING);
}

#[test]
fn a_verb_for_a_vm_that_was_never_made_says_so() {
    let world = World::linux();
    fs_err::write(world.path("checkout/image.tar"), "no archive").unwrap();
    for words in [["ssh"].as_slice(), &["image", "switch"]] {
        world
            .run(words)
            .ends(5)
            .says("cluster `k3s-dev` runs in no VM of this checkout");
    }
    world
        .run(&["image", "load", "image.tar"])
        .ends(3)
        .says("is no archive of a container image");
    world
        .run(&["image", "use", "image.tar"])
        .ends(3)
        .says("is no qcow2 image");
    world
        .run(&["image", "use", "missing.qcow2"])
        .ends(3)
        .says("there is nothing at");
    world.run(&["local-down"]).ends(0);
    assert_eq!(world.calls(), NOTHING);
}

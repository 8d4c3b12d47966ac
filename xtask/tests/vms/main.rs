//! VMs, from nothing to a deployed stage and back, against fakes of `colima` and `limactl` that hold state;
//! behind the VM's port stands a real API server.

#![expect(clippy::unwrap_used, reason = "a test ends where it did not foresee something")]

mod fake;
mod mac;
mod real;
mod refused;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other test targets share it")]
mod support;
mod world;

use serde_json::{Value, json};
use world::{Plane, World};

const DEV: &str = "colima-k3s-dev";

/// A start of Colima on Linux, without the image.
fn start(cpus: u32, disk: u32) -> String {
    format!(
        "colima start --profile k3s-dev --template=false --arch x86_64 --cpus {cpus} --memory 8 --disk {disk} --root-disk {disk} --runtime none --mount none --mount-type 9p --binfmt=false --activate=false --ssh-config=false --port-forwarder ssh"
    )
}

const STOP: &str = "colima stop --profile k3s-dev";
const DELETE: &str = "colima delete --profile k3s-dev --force --data";
const NOTHING: [&str; 0] = [];

fn image_path(world: &World, arch: &str) -> String {
    let text = fs_err::read_to_string(world.path(&format!("checkout/.xtask/image-{arch}.json"))).unwrap();
    let image: Value = serde_json::from_str(&text).unwrap();
    image["path"].as_str().unwrap().replace(world.path("").as_str(), "W/")
}

#[test]
fn vms_live_on_this_host_with_a_real_api_server_behind_their_ports() {
    let plane = Plane::start();
    a_vm_lives_from_nothing_through_every_change_to_its_end(&plane);
    lima_alone_takes_the_same_road_with_a_template_of_ours(&plane);
    a_start_that_failed_half_way_is_swept_and_begun_again(&plane);
    k3s_may_be_late_but_not_for_ever(&plane);
    a_vm_that_somebody_else_made_and_a_file_that_nobody_can_read_are_told(&plane);
    what_the_stage_serves_is_reached_by_name_and_verified(&plane);
    a_vm_is_never_taken_for_gone_because_nobody_could_look(&plane);
    a_start_that_a_person_ends_is_swept_by_the_next(&plane);
    mac::rosetta_is_tried_and_goes_when_it_is_no_longer_asked_for(&plane);
    two_vms_stand_side_by_side_and_neither_is_taken_for_the_other(&plane);
}

fn a_vm_lives_from_nothing_through_every_change_to_its_end(plane: &Plane) {
    let mut world = World::linux();
    world.behind("k3s-dev", DEV, plane);

    // From nothing.
    world
        .up("k3s-dev", "colima", &[])
        .ends(0)
        .says("`colima-k3s-dev` runs: qemu on x86_64, 4 CPUs, 8.0 GiB")
        .says("first contact");
    let create = format!(
        "{} --disk-image {} --force-disk-image",
        start(4, 60),
        image_path(&world, "x86_64")
    );
    assert_eq!(
        world.calls(),
        [
            "nix build --extra-experimental-features 'nix-command flakes' --no-write-lock-file --print-build-logs '.#k3s-local-image' --out-link W/checkout/.xtask/image-x86_64",
            "nix --extra-experimental-features 'nix-command flakes' eval --raw '.#nixosConfigurations.k3s-local-x86_64.config.boot.kernelPackages.kernel.version'",
            create.as_str(),
        ]
    );
    let kubeconfig = ".xtask/kubeconfigs/k3s-dev.yaml";
    assert_eq!(world.mode(kubeconfig), 0o600);
    let text = fs_err::read_to_string(world.path("checkout").join(kubeconfig)).unwrap();
    let server = format!("https://127.0.0.1:{}", world.port("k3s-dev"));
    assert!(
        text.contains(&server) && text.contains("current-context: k3s-dev"),
        "{text}"
    );
    let thing = world
        .run(&["kubectl", "--", "get", "configmap", "thing-vm", "--output=name"])
        .ends(0);
    assert_eq!(thing.stdout.trim(), "configmap/thing-vm");
    assert_eq!(world.instance(DEV).unwrap()["disk"], json!(60_u64 << 30));
    // Not the kubelet, and not what k3s keeps to itself.
    let reached = format!("127.0.0.1:{}", world.port("k3s-dev"));
    assert_eq!(world.instance(DEV).unwrap()["reached"], json!([reached]));
    assert!(!world.path("home/.colima").exists() && !world.path("home/.lima").exists());

    // Again: nothing is called, nothing is deployed.
    world
        .up("k3s-dev", "auto", &[])
        .ends(0)
        .says("this cluster runs on it already")
        .says("1 object is as it should be");
    assert_eq!(world.calls(), NOTHING);
    let status = world.run(&["local-status"]).ends(0);
    assert!(status.stdout.contains("colima-k3s-dev, Running"), "{}", status.stdout);

    // More CPUs: a restart, the same VM.
    world.platform["profiles"]["k3s-dev"]["cpus"] = json!(5);
    let status = world.run(&["local-status"]).ends(10);
    assert!(
        status
            .stdout
            .contains("cpus: config 5, saved profile 4, VM 4: `local-up` stops and starts the VM"),
        "{}",
        status.stdout
    );
    world.up("k3s-dev", "colima", &[]).ends(0);
    assert_eq!(world.calls(), [STOP, &start(5, 60)]);
    assert_eq!(world.instance(DEV).unwrap()["cpus"], 5);

    // A larger disk: Colima grows none of these, so it is kept and said.
    world.platform["profiles"]["k3s-dev"]["disk"] = json!(70);
    world
        .up("k3s-dev", "colima", &[])
        .ends(0)
        .says("disk: config 70, saved profile 60, VM 60: kept");
    assert_eq!(world.calls(), NOTHING);

    // A smaller disk and another image: only with a new VM, and not unasked.
    world.platform["profiles"]["k3s-dev"]["disk"] = json!(50);
    world
        .up("k3s-dev", "colima", &[])
        .ends(8)
        .says("cancelled before step `vm.recreate`")
        .says("Delete VM `colima-k3s-dev` with its cluster and every volume in it");
    assert_eq!(world.calls(), NOTHING);
    world.platform["profiles"]["k3s-dev"]["disk"] = json!(60);
    world.fake["faults"] = json!(["image=2"]);
    world.run(&["image", "build"]).ends(0);
    world.calls();
    world.up("k3s-dev", "colima", &[]).ends(8).says("image: config ");
    assert_eq!(world.calls(), NOTHING);
    let anew = world.up("k3s-dev", "colima", &["--yes"]).ends(0);
    assert!(
        anew.stderr.contains("first contact"),
        "a new VM holds a new cluster\n{}",
        anew.stderr
    );
    let create = format!(
        "{} --disk-image {} --force-disk-image",
        start(5, 60),
        image_path(&world, "x86_64")
    );
    assert_eq!(world.calls(), [DELETE, create.as_str()]);

    // A VM of another architecture, perhaps moved here from another host.
    world.tamper(DEV, "arch", json!("aarch64"));
    world
        .up("k3s-dev", "colima", &[])
        .ends(8)
        .says("arch: config x86_64, saved profile x86_64, VM aarch64: `local-up` asks, deletes the VM")
        .says("cancelled before step `vm.recreate`");
    world.tamper(DEV, "arch", json!("x86_64"));
    assert_eq!(world.calls(), NOTHING);

    // A VM whose settings Lima cannot read: nothing is known of it, so nothing is done to it.
    world.tamper(DEV, "unread", json!("yaml: line 7: did not find expected key"));
    let status = world.run(&["local-status"]).ends(10);
    assert!(
        status.stdout.contains("did not find expected key") && status.stdout.contains("lima.yaml"),
        "{}",
        status.stdout
    );
    assert!(!status.stdout.contains("makes it anew"), "{}", status.stdout);
    world
        .up("k3s-dev", "colima", &["--yes"])
        .ends(5)
        .says("Lima cannot inspect VM `colima-k3s-dev`")
        .says("did not find expected key")
        .says("nothing was changed");
    world
        .run(&["ssh", "--", "date", "+%s"])
        .ends(5)
        .says("cannot inspect VM");
    // Lima does not look whether it is protected; the file is looked for.
    let protected = world.vms().join("_lima").join(DEV).join("protected");
    fs_err::write(&protected, "").unwrap();
    world
        .run(&["local-down", "--delete", "--yes"])
        .ends(8)
        .says("is protected; nothing was deleted");
    fs_err::remove_file(&protected).unwrap();
    assert_eq!(world.calls(), NOTHING);
    world.tamper(DEV, "unread", Value::Null);

    // An image that is broken by now is noticed while the old VM is still there.
    let image = world.path(image_path(&world, "x86_64").trim_start_matches("W/"));
    world.platform["profiles"]["k3s-dev"]["disk"] = json!(50);
    world.host["freeDisk"] = json!(20_u64 << 30);
    world
        .up("k3s-dev", "colima", &["--yes"])
        .ends(5)
        .says("asks for a disk of 50.0 GiB, 20.0 GiB are free")
        .says("nothing was changed");
    world.host["freeDisk"] = json!(500_u64 << 30);
    let whole = fs_err::read(&image).unwrap();
    fs_err::write(&image, &whole[..20]).unwrap();
    world.up("k3s-dev", "colima", &["--yes"]).ends(8).says("image.check");
    fs_err::write(&image, whole).unwrap();
    world.platform["profiles"]["k3s-dev"]["disk"] = json!(60);
    assert_eq!(world.calls(), NOTHING);

    // A reboot, and a host process that died.
    world.reboot();
    let status = world.run(&["local-status"]).ends(10);
    assert!(
        status
            .stdout
            .contains("is stopped; `local-up` starts it, its data is kept"),
        "{}",
        status.stdout
    );
    let again = world.up("k3s-dev", "colima", &[]).ends(0);
    assert!(
        !again.stderr.contains("first contact"),
        "the same VM holds the same cluster
{}",
        again.stderr
    );
    assert_eq!(world.calls(), [start(5, 60)]);
    world.reboot();
    world.tamper(DEV, "status", json!("Broken"));
    world.up("k3s-dev", "colima", &[]).ends(0);
    assert_eq!(world.calls(), [format!("{STOP} --force"), start(5, 60)]);

    // Asleep: the clock stood still.
    world.tamper(DEV, "behind", json!(900));
    world.up("k3s-dev", "colima", &["-v"]).ends(0).says("clock.set");
    assert_eq!(world.instance(DEV).unwrap()["behind"], 0);
    world.calls();

    // Commands in it keep their status.
    world.run(&["ssh", "--", "exit", "7"]).ends(7);
    world.run(&["ssh", "--profile", "k3s-dev", "--", "date", "+%s"]).ends(0);
    world
        .run(&["ssh", "--profile", "nothing"])
        .ends(3)
        .says("no profile `nothing`");
    let mut archive = vec![0_u8; 600];
    archive[257..262].copy_from_slice(b"ustar");
    fs_err::write(world.path("checkout/image.tar"), archive).unwrap();
    world.run(&["image", "load", "image.tar"]).ends(0);
    fs_err::write(world.path("checkout/image.tar"), "no archive").unwrap();
    world
        .run(&["image", "load", "image.tar"])
        .ends(3)
        .says("is no archive of a container image");

    a_new_system_reaches_a_running_vm_without_a_new_vm(&mut world);
    the_root_certificate_is_trusted_only_when_asked(&mut world);

    // Down keeps it, delete asks.
    world.run(&["local-down"]).ends(0);
    assert_eq!(world.calls(), [STOP]);
    world
        .run(&["ssh", "--", "date"])
        .ends(5)
        .says("is stopped, not running");
    let mut archive = vec![0_u8; 600];
    archive[257..262].copy_from_slice(b"ustar");
    fs_err::write(world.path("checkout/image.tar"), archive).unwrap();
    for words in [["image", "load", "image.tar"].as_slice(), &["image", "switch"]] {
        world.run(words).ends(5).says("is stopped, not running");
    }
    world.run(&["local-down"]).ends(0);
    assert_eq!(world.calls(), NOTHING);
    world.run(&["local-down", "--delete"]).ends(8).says("vm.delete");
    assert!(world.instance(DEV).is_some());
    world.fake["faults"] = json!(["deleteNothing"]);
    world
        .run(&["local-down", "--delete", "--yes"])
        .ends(6)
        .says("is still there after it was deleted");
    world.fake["faults"] = json!([]);
    world.calls();
    world.run(&["local-down", "--delete", "--yes"]).ends(0);
    assert_eq!(world.calls(), [DELETE]);
    assert!(world.instance(DEV).is_none());
    assert!(!world.path("checkout/.xtask/kubeconfigs/k3s-dev.yaml").exists());
}

fn a_new_system_reaches_a_running_vm_without_a_new_vm(world: &mut World) {
    world.fake["faults"] = json!(["image=3", "otherKernel"]);
    world.run(&["image", "build"]).ends(0);
    world
        .run(&["image", "switch"])
        .ends(8)
        .says("nothing was switched")
        .says("make the VM anew");
    world.fake["faults"] = json!(["image=3", "otherDisks"]);
    world
        .run(&["image", "switch"])
        .ends(8)
        .says("the VM has the disks \"/dev/vda1 /;\", the new system wants \"/dev/disk/by-label/nixos /;")
        .says("nothing was switched");
    let calls = world.calls();
    assert!(!calls.iter().any(|call| call.starts_with("nix copy")), "{calls:?}");
    world.fake["faults"] = json!(["image=3"]);
    world.run(&["image", "switch"]).ends(0);
    world.calls();
    world.up("k3s-dev", "colima", &[]).ends(0);
    assert_eq!(world.calls(), NOTHING, "the VM has the system of the new image");
}

fn the_root_certificate_is_trusted_only_when_asked(world: &mut World) {
    let host = world.host["system"].take();
    world.host["system"] = json!({"macos": {"major": 15, "minor": 5}});
    world
        .run(&["trust", "install"])
        .ends(5)
        .says("publishes no root certificate");
    let certificate = "--from-literal=root_ca.crt=-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let create = ["kubectl", "--", "create", "configmap", "root", certificate];
    world.run(&create).ends(0);
    world.calls();
    world
        .run(&["trust", "install"])
        .ends(0)
        .says("$ security add-trusted-cert -r trustRoot -p ssl")
        .says("2C:F2:4D:BA:5F:B0:A3:0E");
    let certificate = "W/checkout/.xtask/clusters/k3s-dev/root_ca.crt";
    assert_eq!(
        world.calls().last().unwrap(),
        &format!("security add-trusted-cert -r trustRoot -p ssl {certificate}")
    );
    world.run(&["trust", "remove"]).ends(0);
    assert_eq!(
        world.calls().last().unwrap(),
        &format!("security remove-trusted-cert {certificate}")
    );
    world.run(&["kubectl", "--", "delete", "configmap", "root"]).ends(0);
    world.host["system"] = host;
}

fn two_vms_stand_side_by_side_and_neither_is_taken_for_the_other(plane: &Plane) {
    let other = Plane::start();
    let mut world = World::linux();
    world.behind("k3s-dev", DEV, plane);
    world.behind("k3s-capi", "colima-k3s-capi", &other);
    world.up("k3s-dev", "colima", &[]).ends(0);
    world.up("k3s-capi", "colima", &[]).ends(0);
    let read =
        |name: &str| fs_err::read_to_string(world.path(&format!("checkout/.xtask/kubeconfigs/{name}.yaml"))).unwrap();
    let (dev, capi) = (read("k3s-dev"), read("k3s-capi"));
    // Of each VM its own API and no more, also where the next port of one is the API of the other.
    let reached = |instance: &str| world.instance(instance).unwrap()["reached"].clone();
    let (first, second) = (world.port("k3s-dev"), world.port("k3s-capi"));
    assert_eq!(second, first + 1);
    assert_eq!(reached(DEV), json!([format!("127.0.0.1:{first}")]));
    assert_eq!(reached("colima-k3s-capi"), json!([format!("127.0.0.1:{second}")]));
    assert!(dev.contains("current-context: k3s-dev") && capi.contains("current-context: k3s-capi"));
    let authority = |text: &str| {
        text.lines()
            .find(|line| line.contains("certificate-authority-data"))
            .unwrap()
            .to_owned()
    };
    assert_ne!(authority(&dev), authority(&capi));

    // The port of one leads to the other: its authority did not sign that server.
    world.reboot();
    let there = world.fake["listens"]["colima-k3s-capi"][0][2].clone();
    world.fake["listens"][DEV][0][2] = there;
    world
        .up("k3s-dev", "colima", &[])
        .ends(8)
        .says("an API server answers there that this cluster's own authority did not sign")
        .says("nothing was written");

    // A second backend under the same cluster would claim its kubeconfig and port.
    world
        .up("k3s-dev", "embedded", &[])
        .ends(8)
        .says("runs on backend `colima` already");
}

fn lima_alone_takes_the_same_road_with_a_template_of_ours(plane: &Plane) {
    let mut world = World::linux();
    world.behind("k3s-dev", "k3s-dev", plane);
    fs_err::remove_file(world.path("bin/colima")).unwrap();
    world
        .up("k3s-dev", "auto", &[])
        .ends(0)
        .says("not `colima`: no colima here")
        .says("`k3s-dev` runs: qemu on x86_64");
    let calls = world.calls();
    assert_eq!(
        calls.last().unwrap(),
        "limactl start --tty=false --name k3s-dev W/checkout/.xtask/clusters/k3s-dev/lima.yaml"
    );
    let template = fs_err::read_to_string(world.path("checkout/.xtask/clusters/k3s-dev/lima.yaml")).unwrap();
    let template: Value = serde_json::from_str(&template).unwrap();
    assert_eq!(template["mounts"], json!([]));
    assert_eq!(
        template["portForwards"],
        json!([{
            "guestIP": "0.0.0.0", "guestIPMustBeZero": true, "guestPort": world.port("k3s-dev"),
            "hostIP": "127.0.0.1", "hostPort": world.port("k3s-dev"), "proto": "tcp",
        }])
    );

    // Lima grows a disk.
    world.platform["profiles"]["k3s-dev"]["disk"] = json!(70);
    world.platform["profiles"]["k3s-dev"]["memory"] = json!(10);
    world.up("k3s-dev", "auto", &[]).ends(0);
    assert_eq!(
        world.calls(),
        [
            "limactl stop k3s-dev",
            "limactl edit --tty=false --set '.cpus = 4 | .memory = \"10GiB\" | .disk = \"70GiB\"' k3s-dev",
            "limactl start --tty=false k3s-dev",
        ]
    );
    world.run(&["local-down", "--delete", "--yes"]).ends(0);
    assert_eq!(world.calls(), ["limactl delete --force k3s-dev"]);
}

fn a_start_that_failed_half_way_is_swept_and_begun_again(plane: &Plane) {
    let mut world = World::linux();
    world.behind("k3s-dev", DEV, plane);
    world.fake["faults"] = json!(["startFailsEarly"]);
    world.up("k3s-dev", "colima", &[]).ends(6).says("vm.create` failed");
    assert!(
        world.vms().join("k3s-dev/colima.yaml").exists(),
        "its file is left behind"
    );
    world.fake["faults"] = json!(["startFailsHalfWay"]);
    world.up("k3s-dev", "colima", &[]).ends(6);
    assert!(world.instance(DEV).is_some());
    world.calls();
    let status = world.run(&["local-status"]).ends(10);
    assert!(status.stdout.contains("never came to its end"), "{}", status.stdout);
    world
        .up("k3s-dev", "colima", &["--resume", "-v"])
        .ends(0)
        .says("vm.sweep");
    assert_eq!(world.calls()[0], DELETE);
    world.run(&["local-down", "--delete", "--yes"]).ends(0);

    // Only a folder of Lima's is left, of which it knows nothing.
    world.fake["faults"] = json!(["startLeavesAFolder"]);
    world.up("k3s-dev", "colima", &[]).ends(6);
    world.calls();
    world.up("k3s-dev", "colima", &["-v"]).ends(0).says("vm.sweep");
    assert_eq!(world.calls()[0], DELETE);
    world.run(&["local-down", "--delete", "--yes"]).ends(0);

    // Where Colima looks for qemu is its own affair; what it says is shown.
    world.fake["faults"] = json!(["noQemuImg"]);
    world
        .up("k3s-dev", "colima", &[])
        .ends(6)
        .says("vm.create` failed")
        .says("qemu-img not found, run 'brew install qemu' to install");
}

fn k3s_may_be_late_but_not_for_ever(plane: &Plane) {
    let mut world = World::linux();
    world.behind("k3s-dev", DEV, plane);
    world.max_wait = "30";
    // No address is asked for either: the API is reached through the host's loopback.
    world.fake["faults"] = json!(["kubeconfigLate=1", "clockBehind=4000", "addressEmpty"]);
    world.up("k3s-dev", "colima", &[]).ends(0);
    world.max_wait = "1";
    world.reboot();
    let kubeconfig = world.fake["kubeconfig"].take();
    world.fake["kubeconfig"] = json!({});
    world
        .up("k3s-dev", "colima", &[])
        .ends(7)
        .says("k3s.wait` did not hold")
        .says("k3s is activating and has written no kubeconfig");
    fs_err::remove_file(world.path("checkout/.xtask/kubeconfigs/k3s-dev.yaml")).unwrap();
    let status = world.run(&["local-status"]).ends(10);
    assert!(status.stdout.contains("has no kubeconfig yet"), "{}", status.stdout);
    world.fake["kubeconfig"] = kubeconfig;
    world.fake["faults"] = json!([]);
    world.reboot();
    world.fake["listens"] = json!({});
    world
        .up("k3s-dev", "colima", &[])
        .ends(7)
        .says("cluster.answer` did not hold");
    world.fake["faults"] = json!(["sshFails"]);
    world
        .up("k3s-dev", "colima", &[])
        .ends(7)
        .says("Connection reset by peer");
}

fn a_vm_that_somebody_else_made_and_a_file_that_nobody_can_read_are_told(plane: &Plane) {
    let mut world = World::linux();
    world.behind("k3s-dev", DEV, plane);
    world.up("k3s-dev", "colima", &[]).ends(0);
    world.calls();
    fs_err::write(world.vms().join("k3s-dev/colima.yaml"), "cpu: [\n").unwrap();
    fs_err::remove_file(world.path("checkout/.xtask/clusters/k3s-dev/vm.json")).unwrap();
    world
        .up("k3s-dev", "colima", &[])
        .ends(0)
        .says("colima.yaml: config readable")
        .says("image: config")
        .says("this checkout did not make the VM");
    assert_eq!(world.calls(), NOTHING);
    fs_err::write(world.vms().join("k3s-dev/colima.yaml"), "cpu: 4\nruntime: docker\n").unwrap();
    world
        .up("k3s-dev", "colima", &[])
        .ends(8)
        .says("runtime: config none, VM docker");
    assert_eq!(world.calls(), NOTHING);
}

fn what_the_stage_serves_is_reached_by_name_and_verified(plane: &Plane) {
    let mut world = World::linux();
    world.behind("k3s-dev", DEV, plane);
    // The API server itself stands behind the route: it ends TLS under this authority.
    world.serve("k3s-dev", "localhost", plane);
    let address = format!("https://localhost:{}", world.port("k3s-dev"));
    world
        .up("k3s-dev", "colima", &["-v"])
        .ends(0)
        .says(&format!("{address}, to be verified by the local authority's root"))
        .says("route.wait");

    // Under a root that did not sign it, it is not reached, whoever else would be content with it.
    world.publish_another_root("k3s-dev");
    world.max_wait = "1";
    world
        .up("k3s-dev", "colima", &[])
        .ends(7)
        .says("route.wait` did not hold")
        .says(&format!("`{address}` is not reached"))
        .says("UnknownIssuer");
    // A name that leads nowhere is told with what mends it.
    world.serve("k3s-dev", "nowhere.invalid", plane);
    world
        .up("k3s-dev", "colima", &[])
        .ends(7)
        .says("`127.0.0.1 nowhere.invalid` in /etc/hosts mends it");

    // Where the ports are root's, nothing is promised.
    world.host["lowPorts"] = json!(false);
    let plan = world.up("k3s-dev", "colima", &["--dry-run"]).ends(0);
    assert!(!plan.stdout.contains("route.wait"), "{}", plan.stdout);
    assert!(
        plan.stdout.contains("80 and 443 are root's on this host"),
        "{}",
        plan.stdout
    );
}

fn a_vm_is_never_taken_for_gone_because_nobody_could_look(plane: &Plane) {
    let mut world = World::linux();
    world.behind("k3s-dev", DEV, plane);
    world.up("k3s-dev", "colima", &[]).ends(0);
    world.calls();
    let record = world.path("checkout/.xtask/clusters/k3s-dev/uid.json");
    world.fake["faults"] = json!(["listFails"]);
    world
        .up("k3s-dev", "colima", &["--yes"])
        .ends(5)
        .says("nothing is known of the VMs");
    world
        .run(&["local-down"])
        .ends(6)
        .says("nothing is known of VM `colima-k3s-dev`")
        .says("nothing was done to it");
    world
        .run(&["local-down", "--delete", "--yes"])
        .ends(6)
        .says("vm.observe` failed");
    world.run(&["local-status"]).ends(5);
    world.run(&["ssh", "--", "date", "+%s"]).ends(5);
    assert_eq!(world.calls(), NOTHING);
    assert!(record.is_file(), "its cluster is still known");
    world.fake["faults"] = json!([]);
    world.up("k3s-dev", "colima", &[]).ends(0);
    assert_eq!(world.calls(), NOTHING);
}

fn a_start_that_a_person_ends_is_swept_by_the_next(plane: &Plane) {
    let mut world = World::linux();
    world.behind("k3s-dev", DEV, plane);
    world.fake["faults"] = json!(["startHangs"]);
    let run = world
        .interrupt_when_called("colima start", "k3s-dev", "colima")
        .ends(130);
    run.says("interrupted");
    assert!(world.instance(DEV).is_some(), "half of it is there");
    world.calls();
    world.up("k3s-dev", "colima", &[]).ends(0).says("never came to its end");
    assert_eq!(world.calls()[0], DELETE);
}

//! The fakes are what the real tools are: each row is one that was seen of a real one, or read in its source.

use serde_json::{Value, json};

use crate::world::World;

/// A call of a fake, what state its VM is in before, and what comes of it.
struct Row {
    before: Option<&'static str>,
    faults: &'static [&'static str],
    call: &'static str,
    code: i32,
    says: &'static str,
    /// State after it; none when there is no VM.
    after: Option<&'static str>,
}

const LINUX: &str = "colima start -p k3s-dev --template=false --arch x86_64 --cpus 4 --memory 8 --disk 60 --root-disk 60 --runtime none --mount none --mount-type 9p --binfmt=false --activate=false --ssh-config=false --port-forwarder ssh";

/// Rows about the state of one VM.
fn rows() -> Vec<Row> {
    let row = |before: &'static str, call, code, says, after: &'static str| Row {
        before: Some(before).filter(|state| !state.is_empty()),
        faults: &[],
        call,
        code,
        says,
        after: Some(after).filter(|state| !state.is_empty()),
    };
    let (stopped, running, broken, none) = ("Stopped", "Running", "Broken", "");
    vec![
        row(
            stopped,
            "colima status -p k3s-dev",
            1,
            "colima [profile=k3s-dev] is not running",
            stopped,
        ),
        row(
            none,
            "colima status k3s-dev",
            1,
            "colima [profile=k3s-dev] is not running",
            none,
        ),
        row(
            running,
            "colima status k3s-dev --json",
            0,
            r#""driver":"QEMU""#,
            running,
        ),
        row(
            none,
            "colima list -p k3s-dev",
            1,
            "error retrieving instances: exit status 1",
            none,
        ),
        row(none, "colima list --json", 0, "", none),
        row(
            running,
            "colima list --json",
            0,
            r#"{"name":"k3s-dev","status":"Running","arch":"x86_64","cpus":4,"#,
            running,
        ),
        row(
            stopped,
            "colima ssh -p k3s-dev -- exit 7",
            1,
            "colima [profile=k3s-dev] not running",
            stopped,
        ),
        row(running, "colima ssh -p k3s-dev -- exit 7", 1, "exit status 7", running),
        row(
            running,
            "limactl shell --workdir / colima-k3s-dev exit 7",
            7,
            "",
            running,
        ),
        row(
            stopped,
            "limactl shell --workdir / colima-k3s-dev exit 7",
            1,
            "instance `colima-k3s-dev` is stopped",
            stopped,
        ),
        row(
            none,
            "limactl shell --workdir / colima-k3s-dev exit 7",
            1,
            "instance `colima-k3s-dev` does not exist",
            none,
        ),
        row(running, LINUX, 0, "already running, ignoring", running),
        row(stopped, LINUX, 0, "", running),
        row(broken, LINUX, 1, "error starting vm: error at 'starting'", broken),
        row(stopped, "colima stop -p k3s-dev", 0, "not running", stopped),
        row(none, "colima stop -p k3s-dev", 0, "not running", none),
        row(none, "colima stop -p k3s-dev -f", 1, "error stopping vm", none),
        row(broken, "colima stop k3s-dev", 1, "error stopping vm", broken),
        row(broken, "colima stop k3s-dev --force", 0, "", stopped),
        row(
            running,
            "colima delete k3s-dev",
            0,
            "are you sure you want to delete colima [profile=k3s-dev] and all settings? [y/N] ",
            running,
        ),
        row(running, "colima delete -p k3s-dev -f -d", 0, "", none),
        row(none, "colima delete k3s-dev -f", 0, "", none),
        row(none, "limactl list --json", 0, "No instance found.", none),
        row(
            running,
            "limactl list --json colima-k3s-dev",
            0,
            r#""vmType":"qemu""#,
            running,
        ),
        row(
            none,
            "limactl list --json colima-k3s-dev",
            1,
            "No instance matching colima-k3s-dev found.",
            none,
        ),
        row(
            broken,
            "limactl stop colima-k3s-dev",
            1,
            "expected status `Running`, got `Broken`",
            broken,
        ),
        row(broken, "limactl stop --force colima-k3s-dev", 0, "", stopped),
        row(
            none,
            "limactl delete --force colima-k3s-dev",
            0,
            "Ignoring non-existent instance",
            none,
        ),
        row(
            running,
            "limactl delete colima-k3s-dev",
            1,
            "expected status `Stopped`, got `Running`",
            running,
        ),
        row(
            running,
            "limactl edit --tty=false --set '.cpus = 2' colima-k3s-dev",
            1,
            "cannot edit a running instance",
            running,
        ),
        row(stopped, "limactl start --tty=false colima-k3s-dev", 0, "", running),
        row(
            running,
            "limactl start --tty=false colima-k3s-dev",
            0,
            "is already running",
            running,
        ),
        row(
            none,
            "colima start -p k3s-dev --disk-image https://example.org/a.qcow2",
            1,
            "remote URLs not supported",
            none,
        ),
        row(
            none,
            "colima start -p k3s-dev --runtime none --disk-image IMAGE",
            1,
            "hash failure: SHA512 checksum mismatch",
            none,
        ),
        row(
            none,
            "colima start -p k3s-dev --runtime none --root-disk 1 --disk-image IMAGE --force-disk-image",
            1,
            "disk shrinking is not supported",
            none,
        ),
        row(
            none,
            "colima start -p k3s-dev --vm-type vz",
            1,
            "unknown flag: --vm-type",
            none,
        ),
        row(
            none,
            "colima start -p k3s-dev --vz-rosetta",
            1,
            "unknown flag: --vz-rosetta",
            none,
        ),
        row(
            none,
            "colima start -p k3s-dev --image-path IMAGE",
            1,
            "unknown flag: --image-path",
            none,
        ),
        Row {
            faults: &["noQemuImg"],
            ..row(
                none,
                "colima start -p k3s-dev",
                1,
                "qemu-img not found, run 'brew install qemu' to install",
                none,
            )
        },
    ]
}

#[test]
fn the_fakes_answer_and_end_as_the_real_tools_were_seen_to() {
    let mut wrong = Vec::new();
    for row in rows() {
        let mut world = World::linux();
        world.fake["faults"] = json!(row.faults);
        world.vm_in(row.before);
        let image = world.image();
        let run = world.fake_call(&row.call.replace("IMAGE", image.as_str()));
        let after = world.state();
        let said = format!("{}{}", run.stdout, run.stderr);
        if run.code != row.code || !said.contains(row.says) || after.as_deref() != row.after {
            wrong.push(format!(
                "`{}` on {:?}: {} and {after:?}, {said}",
                row.call, row.before, run.code
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_start_writes_its_file_first_and_drops_what_cannot_be_changed() {
    let world = World::linux();
    world.vm_in(Some("Stopped"));
    let file = world.vms().join("k3s-dev/colima.yaml");
    let saved = || -> Value { serde_json::from_str(&fs_err::read_to_string(&file).unwrap()).unwrap() };
    // Another runtime, mounts over another protocol, and another architecture.
    let changed = LINUX
        .replace("x86_64", "aarch64")
        .replace("--runtime none", "--runtime docker")
        .replace("9p", "virtiofs");
    let run = world.fake_call(&changed);
    assert_eq!(run.code, 0);
    for name in ["architecture", "runtime", "volume mount type"] {
        let warning = format!("'{name}' cannot be updated after initial setup, discarded");
        assert!(run.stderr.contains(&warning), "{}", run.stderr);
    }
    assert_eq!(saved()["runtime"], "none");

    // It runs: the file says one thing, the VM is another.
    world.fake_call(&LINUX.replace("--cpus 4", "--cpus 6"));
    assert_eq!(saved()["cpu"], 6);
    assert_eq!(world.instance("colima-k3s-dev").unwrap()["cpus"], 4);
    world.fake_call("colima stop k3s-dev");

    // A smaller disk is ignored, and without a runtime a larger one too.
    let run = world.fake_call(&LINUX.replace("60", "50"));
    assert!(
        run.stderr.contains("disk size cannot be reduced, ignoring..."),
        "{}",
        run.stderr
    );
    world.fake_call("colima stop k3s-dev");
    let run = world.fake_call(&LINUX.replace("60", "70"));
    assert!(run.stderr.contains("unable to resize disk: "), "{}", run.stderr);
    assert_eq!(world.instance("colima-k3s-dev").unwrap()["disk"], 60_u64 << 30);
    world.fake_call("colima stop k3s-dev");

    // A file that nobody can read is replaced, with what the flags do not say at its default.
    fs_err::write(&file, "cpu: [\n").unwrap();
    let run = world.fake_call("colima start k3s-dev --runtime none --disk 60");
    assert!(run.stderr.contains("reverting to default settings"), "{}", run.stderr);
    assert_eq!(world.instance("colima-k3s-dev").unwrap()["cpus"], 2);
}

#[test]
fn the_first_boot_takes_the_root_disk_and_the_second_the_other() {
    let world = World::linux();
    world.vm_in(None);
    let image = world.image();
    let create = format!("colima start -p k3s-dev --runtime none --disk 60 --disk-image {image} --force-disk-image");
    assert_eq!(world.fake_call(&create).code, 0);
    assert_eq!(world.instance("colima-k3s-dev").unwrap()["disk"], 20_u64 << 30);
    world.fake_call("colima stop k3s-dev");
    world.fake_call("colima start k3s-dev");
    assert_eq!(world.instance("colima-k3s-dev").unwrap()["disk"], 60_u64 << 30);
    let saved = fs_err::read_to_string(world.vms().join("k3s-dev/colima.yaml")).unwrap();
    let saved: Value = serde_json::from_str(&saved).unwrap();
    assert_eq!(saved["mounts"], "~:w", "what is left out mounts the user's home");
}

#[test]
fn flags_are_those_of_the_host_and_the_version_that_is_played() {
    let forced = "colima start -p k3s-dev --force-disk-image";
    let mut world = World::linux();
    world.vm_in(None);
    world.fake["colima"] = json!("0.10.1");
    assert!(
        world
            .fake_call(forced)
            .stderr
            .contains("unknown flag: --force-disk-image")
    );
    let mut world = World::mac();
    world.vm_in(None);
    let image = world.image();
    let start = format!("colima start -p k3s-dev --vm-type vz --vz-rosetta --disk-image {image} --force-disk-image");
    // The architecture that vz cannot boot is emulated instead, and Colima says that it is vz.
    assert_eq!(world.fake_call(&format!("{start} --arch x86_64")).code, 0);
    let instance = world.instance("colima-k3s-dev").unwrap();
    assert_eq!(
        (&instance["vmType"], &instance["rosetta"]),
        (&json!("qemu"), &json!(false))
    );
    let status = world.fake_call("colima status k3s-dev --json");
    assert!(
        status.stdout.contains("macOS Virtualization.Framework"),
        "{}",
        status.stdout
    );
    // An Intel Mac has vz and no Rosetta.
    world.fake["arch"] = json!("x86_64");
    assert!(world.fake_call(&start).stderr.contains("unknown flag: --vz-rosetta"));
}

//! The scripts of the local VM, run against the disk that Lima would bring and fake tools that write down what they were told.
//! No user, mount or service of this machine is touched: every path is below a folder of the test.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests stand outside of test functions, where both are allowed"
)]

use camino::{Utf8Path, Utf8PathBuf};
use duct::cmd;

/// A disk, a PATH and a root, in a folder that goes with it.
struct Vm {
    folder: tempfile::TempDir,
}

/// What a script did.
struct Outcome {
    code: i32,
    output: String,
    calls: Vec<String>,
}

impl Vm {
    fn new(env: &str, user_data: &str) -> Self {
        let vm = Self {
            folder: tempfile::Builder::new().prefix("guest-").tempdir().unwrap(),
        };
        for folder in ["bin", "disk", "root/run"] {
            fs_err::create_dir_all(vm.path(folder)).unwrap();
        }
        fs_err::write(vm.path("disk/lima.env"), env).unwrap();
        fs_err::write(vm.path("disk/meta-data"), "instance-id: whole\n").unwrap();
        // The real disk holds YAML; what `yq` makes of it is JSON.
        fs_err::write(vm.path("disk/user-data"), user_data).unwrap();
        for name in ["useradd", "usermod", "mount"] {
            vm.tool(name, &format!("echo {name} \"$@\" >>\"$CALLS\""));
        }
        vm.tool("yq", "cat \"$3\"");
        vm.tool("id", "exit 1");
        vm.tool("mountpoint", "exit 1");
        vm.tool("runuser", "echo runuser \"$1\" \"$2\" >>\"$CALLS\"; exec bash -s");
        vm
    }

    fn path(&self, below: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.folder.path())
            .expect("temporary folders of tests have UTF-8 names")
            .join(below)
    }

    fn tool(&self, name: &str, body: &str) {
        self.script(&format!("bin/{name}"), body);
    }

    fn script(&self, file: &str, body: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(file);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, format!("#!/bin/bash\n{body}\n")).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self, script: &str) -> Outcome {
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let output = cmd!("bash", root.join("modules/nixos/lima-guest").join(script))
            .env(
                "PATH",
                format!("{}:{}", self.path("bin"), std::env::var("PATH").unwrap()),
            )
            .env("CIDATA", self.path("disk"))
            .env("GUEST_ROOT", self.path("root"))
            .env("CALLS", self.path("calls"))
            .stderr_to_stdout()
            .stdout_capture()
            .unchecked()
            .run()
            .unwrap();
        let calls = fs_err::read_to_string(self.path("calls")).unwrap_or_default();
        Outcome {
            code: output.status.code().unwrap(),
            output: String::from_utf8(output.stdout)
                .unwrap()
                .replace(self.path("").as_str(), "/"),
            calls: calls
                .lines()
                .map(|line| line.replace(self.path("").as_str(), "/"))
                .collect(),
        }
    }

    fn read(&self, below: &str) -> String {
        fs_err::read_to_string(self.path(below)).unwrap()
    }
}

const ENV: &str = "\
LIMA_CIDATA_NAME=colima-k3s-dev
LIMA_CIDATA_USER=dev
LIMA_CIDATA_UID=501
LIMA_CIDATA_HOME=/home/dev.guest
LIMA_CIDATA_COMMENT=A name with $(touch $GUEST_ROOT/run/executed) spaces
LIMA_CIDATA_VSOCK_PORT=2222
LIMA_CIDATA_VIRTIO_PORT=
LIMA_CIDATA_IID=iid-1
";

/// Whether the scripts can run here; on a machine without `jq` that is said, in CI it is a failure.
fn has_jq() -> bool {
    let found = cmd!("jq", "--version")
        .stdout_null()
        .stderr_null()
        .unchecked()
        .run()
        .is_ok();
    assert!(
        found || std::env::var_os("CI").is_none(),
        "`jq` is needed and not on PATH"
    );
    if !found {
        println!("not run: `jq` is not on PATH");
    }
    found
}

#[test]
fn a_boot_makes_the_user_installs_the_keys_and_signals_the_host() {
    if !has_jq() {
        return;
    }
    let vm = Vm::new(
        ENV,
        r#"{"users": [{"name": "dev", "ssh-authorized-keys": ["ssh-ed25519 A a@b", "ssh-rsa B c"]}]}"#,
    );

    let outcome = vm.run("init.sh");

    assert_eq!((outcome.code, outcome.output.as_str()), (0, ""));
    assert_eq!(
        outcome.calls,
        [
            "useradd --uid 501 --home-dir /home/dev.guest --create-home --shell /run/current-system/sw/bin/bash dev",
            "usermod --append --groups wheel dev",
        ]
    );
    assert_eq!(
        vm.read("root/etc/ssh/authorized_keys.d/dev"),
        "ssh-ed25519 A a@b\nssh-rsa B c\n"
    );
    assert_eq!(vm.read("root/run/lima-ssh-ready"), "iid-1\n");
    assert_eq!(vm.read("root/run/lima-boot-done"), "iid-1\n");
}

#[test]
fn values_of_the_host_are_text_and_never_run() {
    if !has_jq() {
        return;
    }
    let vm = Vm::new(ENV, r#"{"users": [{}]}"#);

    vm.run("init.sh");

    assert!(!vm.path("root/run/executed").exists());
}

#[test]
fn a_second_boot_keeps_the_user_and_takes_the_new_keys() {
    if !has_jq() {
        return;
    }
    let vm = Vm::new(ENV, r#"{"users": [{"ssh-authorized-keys": ["ssh-ed25519 NEW"]}]}"#);
    vm.tool("id", "echo 501");
    fs_err::create_dir_all(vm.path("root/etc/ssh/authorized_keys.d")).unwrap();
    fs_err::write(vm.path("root/etc/ssh/authorized_keys.d/dev"), "ssh-ed25519 OLD\n").unwrap();

    let outcome = vm.run("init.sh");

    assert_eq!(outcome.calls, ["usermod --append --groups wheel dev"]);
    assert_eq!(vm.read("root/etc/ssh/authorized_keys.d/dev"), "ssh-ed25519 NEW\n");
}

#[test]
fn a_host_before_lima_2_1_gets_its_whole_meta_data_back() {
    if !has_jq() {
        return;
    }
    let vm = Vm::new(
        "LIMA_CIDATA_USER=dev\nLIMA_CIDATA_UID=501\n",
        r#"{"users": [{"homedir": "/home/dev.linux"}]}"#,
    );

    let outcome = vm.run("init.sh");

    assert!(
        outcome.calls[0].contains("--home-dir /home/dev.linux "),
        "{:?}",
        outcome.calls
    );
    assert_eq!(vm.read("root/run/lima-ssh-ready"), "instance-id: whole\n");
    assert_eq!(vm.read("root/run/lima-boot-done"), "instance-id: whole\n");
}

#[test]
fn mounts_are_made_where_nothing_is_mounted_and_a_failed_one_does_not_end_the_boot() {
    if !has_jq() {
        return;
    }
    let vm = Vm::new(ENV, "");
    let [first, second] = ["mnt/with space", "mnt/rosetta"].map(|below| vm.path(below));
    fs_err::write(
        vm.path("disk/user-data"),
        format!(
            r#"{{"users": [{{}}], "mounts": [["mount0", "{first}", "virtiofs", "ro,nofail", "0", "0"], ["vz-rosetta", "{second}", "virtiofs", "defaults", "0", "0"]]}}"#
        ),
    )
    .unwrap();
    vm.tool("mount", "echo mount \"$@\" >>\"$CALLS\"; [[ $5 != vz-rosetta ]]");

    let outcome = vm.run("init.sh");

    assert_eq!(outcome.code, 0);
    assert_eq!(
        outcome.calls[2..],
        [
            "mount -t virtiofs -o ro,nofail mount0 /mnt/with space",
            "mount -t virtiofs -o defaults vz-rosetta /mnt/rosetta"
        ]
    );
    assert_eq!(outcome.output, "not mounted: vz-rosetta on /mnt/rosetta\n");
    assert_eq!(vm.read("root/run/lima-boot-done"), "iid-1\n");
}

#[test]
fn scripts_of_the_host_get_their_parameters_and_a_failed_one_is_reported() {
    if !has_jq() {
        return;
    }
    let vm = Vm::new(ENV, r#"{"users": [{}]}"#);
    fs_err::write(vm.path("disk/param.env"), "PARAM_greeting=hello there\n").unwrap();
    vm.script(
        "disk/provision.system/00",
        "echo \"system $PARAM_greeting\" >>\"$CALLS\"; exit 3",
    );
    vm.script("disk/provision.user/00", "echo user >>\"$CALLS\"");

    let outcome = vm.run("init.sh");

    assert_eq!(outcome.code, 0);
    assert_eq!(
        outcome.calls[2..],
        ["system hello there", "runuser --login dev", "user"]
    );
    assert_eq!(outcome.output, "failed: /disk/provision.system/00\n");
    assert_eq!(vm.read("root/run/lima-boot-done"), "iid-1\n");
}

#[test]
fn the_agent_gets_the_options_that_it_knows_and_that_have_a_value() {
    let vm = Vm::new(ENV, "");
    let agent = |help: &str| {
        vm.script(
            "disk/lima-guestagent",
            &format!("if [[ $2 == --help ]]; then echo '{help}'; else echo agent \"$@\" >>\"$CALLS\"; fi"),
        );
    };

    agent("--vsock-port int --virtio-port string --socket-owner int");
    assert_eq!(
        vm.run("agent.sh").calls,
        ["agent daemon --vsock-port 2222 --socket-owner 501"]
    );

    // Before Lima 2.1.3 the socket had no owner.
    agent("--vsock-port int");
    assert_eq!(vm.run("agent.sh").calls[1..], ["agent daemon --vsock-port 2222"]);
}

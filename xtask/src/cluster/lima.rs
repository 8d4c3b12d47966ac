//! Lima's command lines and its template of our guest; also what every guest is asked through, Colima's too.

use serde_json::{Value, json};

use super::guest;
use crate::plan::{Arg, Command, Driver, GuestWanted, Tool};

/// Seconds for a first boot: Lima itself gives up after ten minutes.
const START: u64 = 900;

fn limactl() -> Command {
    Command::new(Tool::Limactl).env(
        "LIMA_HOME",
        Arg::Later {
            file: guest::home_file(),
            pointer: "/lima".to_owned(),
        },
    )
}

/// Every instance of this checkout, a JSON object a line; none is no failure.
pub fn list() -> Command {
    limactl().args(["list", "--json"]).within(60)
}

/// One instance as one JSON object; a failure when there is none.
pub fn list_one(instance: &str) -> Command {
    limactl().args(["list", "--json", instance]).within(60)
}

/// A command in the guest; its exit status is kept, its words are quoted by Lima.
pub fn shell(instance: &str) -> Command {
    limactl().args(["shell", "--workdir", "/", instance]).within(60)
}

/// Makes the guest of a template and starts it.
pub fn create(wanted: &GuestWanted, template: Arg) -> Command {
    debug_assert!(wanted.driver == Driver::Lima, "a guest of Lima's");
    limactl()
        .args(["start", "--tty=false", "--name", &wanted.instance])
        .arg(template)
        .within(START)
}

/// Sets what may change in a stopped guest; the disk only grows.
pub fn set(wanted: &GuestWanted) -> Command {
    let mut settings = format!(
        ".cpus = {} | .memory = \"{}GiB\" | .disk = \"{}GiB\"",
        wanted.cpus, wanted.memory, wanted.disk
    );
    if wanted.vm_type == "vz" {
        settings.push_str(if wanted.rosetta {
            " | .vmOpts.vz.rosetta.enabled = true"
        } else {
            " | .vmOpts.vz.rosetta.enabled = false"
        });
    }
    limactl()
        .args(["edit", "--tty=false", "--set", &settings])
        .arg(wanted.instance.as_str())
}

/// Starts a guest that exists.
pub fn start(wanted: &GuestWanted) -> Command {
    limactl().args(["start", "--tty=false", &wanted.instance]).within(START)
}

/// Stops it; its disk stays.
pub fn stop(wanted: &GuestWanted) -> Command {
    limactl().args(["stop", &wanted.instance]).within(180)
}

/// What mends a broken instance.
pub fn stop_hard(wanted: &GuestWanted) -> Command {
    limactl().args(["stop", "--force", &wanted.instance]).within(120)
}

/// Deletes it with its disk.
pub fn delete(wanted: &GuestWanted) -> Command {
    limactl().args(["delete", "--force", &wanted.instance]).within(180)
}

/// The template of a guest that boots an image. Lima reads YAML, which JSON is.
pub fn template(wanted: &GuestWanted, image: &str) -> Value {
    let mut template = json!({
        "vmType": wanted.vm_type,
        "arch": wanted.arch,
        "images": [{"location": image, "arch": wanted.arch}],
        "cpus": wanted.cpus,
        "memory": format!("{}GiB", wanted.memory),
        "disk": format!("{}GiB", wanted.disk),
        "mounts": [],
        "containerd": {"system": false, "user": false},
        "portForwards": [{"guestPort": wanted.api_port, "hostIP": "127.0.0.1", "hostPort": wanted.api_port}],
    });
    if wanted.rosetta {
        // NixOS registers the interpreter itself; Lima's script is for other systems.
        template["vmOpts"] = json!({"vz": {"rosetta": {"enabled": true, "binfmt": false}}});
    }
    template
}

/// What every instance of this checkout is given before its own settings. Colima would forward everything that
/// listens in the guest to every address of the host; here it is the host's loopback alone, and neither the
/// kubelet nor what DHCP listens on is forwarded at all.
pub fn overrides() -> Value {
    let ignored = |port: u16, proto: &str| json!({"guestIP": "0.0.0.0", "guestIPMustBeZero": false, "guestPort": port, "proto": proto, "ignore": true});
    json!({"portForwards": [
        ignored(68, "udp"),
        ignored(10250, "tcp"),
        {
            "guestIP": "0.0.0.0",
            "guestIPMustBeZero": false,
            "guestPortRange": [1, 65535],
            "hostIP": "127.0.0.1",
            "hostPortRange": [1, 65535],
            "proto": "tcp",
        },
    ]})
}

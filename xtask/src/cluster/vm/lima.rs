//! Lima's command lines and its template of our VM; also what every VM is asked through, Colima's too.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::image::Image;
use super::{Driver, VmRequirements};
use crate::base::failure::Result;
use crate::call::Caller;
use crate::cluster::vm;
use crate::command::{Arg, Command, Tool};

/// Lima's template of a VM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LimaTemplate {
    /// What the platform config asks for.
    pub wanted: VmRequirements,
    /// Image that it boots.
    pub image: Utf8PathBuf,
    /// The template.
    pub to: Utf8PathBuf,
}

impl LimaTemplate {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let image = Image::read(&on.root.join(&self.image))?;
        on.write_json(&self.to, &template(&self.wanted, image.path.as_str()))
    }
}

/// Seconds for a first boot: Lima itself gives up after ten minutes.
const START: u64 = 900;

fn limactl() -> Command {
    Command::new(Tool::Limactl).env(
        "LIMA_HOME",
        Arg::Later {
            file: vm::home_file(),
            pointer: "/lima".to_owned(),
        },
    )
}

/// Every instance of this checkout, a JSON object a line; none is no failure.
pub fn list() -> Command {
    limactl().args(["list", "--json"]).within(60)
}

/// A command in the VM; its exit status is kept, its words are quoted by Lima.
pub fn shell(instance: &str) -> Command {
    limactl().args(["shell", "--workdir", "/", instance]).within(60)
}

/// Makes the VM of a template and starts it.
pub fn create(wanted: &VmRequirements, template: Arg) -> Command {
    debug_assert!(wanted.driver == Driver::Lima, "a VM of Lima's");
    limactl()
        .args(["start", "--tty=false", "--name", &wanted.instance])
        .arg(template)
        .within(START)
}

/// Sets what may change in a stopped VM; the disk only grows.
pub fn set(wanted: &VmRequirements) -> Command {
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

/// Starts a VM that exists.
pub fn start(wanted: &VmRequirements) -> Command {
    limactl().args(["start", "--tty=false", &wanted.instance]).within(START)
}

/// Stops it; its disk stays.
pub fn stop(wanted: &VmRequirements) -> Command {
    limactl().args(["stop", &wanted.instance]).within(180)
}

/// What mends a broken instance.
pub fn stop_hard(wanted: &VmRequirements) -> Command {
    limactl().args(["stop", "--force", &wanted.instance]).within(120)
}

/// Deletes it with its disk.
pub fn delete(wanted: &VmRequirements) -> Command {
    limactl().args(["delete", "--force", &wanted.instance]).within(180)
}

/// The template of a VM that boots an image. Lima reads YAML, which JSON is.
pub fn template(wanted: &VmRequirements, image: &str) -> Value {
    let mut template = json!({
        "vmType": wanted.vm_type,
        "arch": wanted.arch,
        "images": [{"location": image, "arch": wanted.arch}],
        "cpus": wanted.cpus,
        "memory": format!("{}GiB", wanted.memory),
        "disk": format!("{}GiB", wanted.disk),
        "mounts": [],
        "containerd": {"system": false, "user": false},
        "portForwards": [reached(wanted.api_port)],
    });
    if wanted.rosetta {
        // NixOS registers the interpreter itself; Lima's script is for other systems.
        template["vmOpts"] = json!({"vz": {"rosetta": {"enabled": true, "binfmt": false}}});
    }
    template
}

/// Ports of the Gateway's listeners, by which a browser finds a route without being told one.
const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// What is reached of a VM: what listens on all of its addresses at this port, on the host's loopback.
fn reached(port: u16) -> Value {
    json!({
        "guestIP": "0.0.0.0",
        // What listens on the VM's own loopback is its own affair, also at the same port.
        "guestIPMustBeZero": true,
        "guestPort": port,
        "hostIP": "127.0.0.1",
        "hostPort": port,
        "proto": "tcp",
    })
}

/// What every instance of this checkout is given before its own settings; the first rule that fits decides.
/// Colima would forward everything that listens in the VM to every address of the host, and Lima what listens on
/// the VM's loopback to the host's. Both would let two VMs take each other's ports: k3s keeps the API server
/// itself on the port after its own, on loopback, and that is the port of the next cluster.
pub fn overrides(api_ports: &[u16]) -> Value {
    let mut rules: Vec<Value> = api_ports
        .iter()
        .chain([&HTTP, &HTTPS])
        .map(|port| reached(*port))
        .collect();
    rules.push(json!({
        "guestIP": "0.0.0.0",
        "guestIPMustBeZero": false,
        "guestPortRange": [1, 65535],
        "proto": "any",
        "ignore": true,
    }));
    json!({ "portForwards": rules })
}

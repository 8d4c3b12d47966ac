//! Colima's command lines, by host and profile. Its exit codes and its own status are not trusted:
//! what became of a VM is read from `limactl list --json`.

use super::host::System;
use super::{Driver, VmRequirements};
use crate::cluster::vm;
use crate::command::{Arg, Command, Tool};
use crate::platform::Arch;

/// Seconds for a first boot: Lima itself gives up after ten minutes.
const START: u64 = 900;

/// The name that Colima gives Lima's instance of a profile.
pub fn instance(profile: &str) -> String {
    format!("colima-{profile}")
}

fn colima() -> Command {
    let at = |pointer: &str| Arg::Later {
        file: vm::home_file(),
        pointer: pointer.to_owned(),
    };
    Command::new(Tool::Colima)
        // It calls `limactl` and asks for `lima` by name: those that were found, wherever that was.
        .env("PATH", Arg::SearchPath(vec![Tool::Limactl]))
        .env("COLIMA_HOME", at("/home"))
        .env("COLIMA_CACHE_HOME", at("/cache"))
}

/// What a start is given beside the profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// A new VM boots this image.
    Image(Arg),
    /// A VM that exists keeps its disk.
    Disk,
}

/// `colima start` with everything that decides what it does; nothing is left to its file or its defaults.
pub fn start(wanted: &VmRequirements, system: System, boot: Boot) -> Command {
    debug_assert!(wanted.driver == Driver::Colima, "a VM of Colima's");
    let mut command = colima()
        .args(["start", "--profile", &wanted.profile])
        // Else a new profile copies the user's template.
        .arg("--template=false")
        .args(["--arch", &wanted.arch]);
    // Elsewhere the flags do not exist, and an unknown flag ends the call.
    let mount_type = match system {
        System::Macos { .. } => {
            command = command.args(["--vm-type", "vz"]);
            if wanted.rosetta {
                command = command.arg("--vz-rosetta");
            } else if boot == Boot::Disk && wanted.arch == Arch::Aarch64.name() {
                // Unsaid it would stay as it was; only Apple Silicon has the flag.
                command = command.arg("--vz-rosetta=false");
            }
            "virtiofs"
        }
        System::Linux => "9p",
    };
    let disk = wanted.disk.to_string();
    command = command
        .args(["--cpus", &wanted.cpus.to_string()])
        .args(["--memory", &wanted.memory.to_string()])
        // Without a runtime the first boot takes one and later boots the other.
        .args(["--disk", &disk, "--root-disk", &disk])
        .args(["--runtime", "none", "--mount", "none", "--mount-type", mount_type])
        .args(["--binfmt=false", "--activate=false", "--ssh-config=false"])
        // The other forwarder would take UDP port 68 of the host.
        .args(["--port-forwarder", "ssh"]);
    if let Boot::Image(path) = boot {
        command = command.arg("--disk-image").arg(path).arg("--force-disk-image");
    }
    command.within(START)
}

/// `colima stop`; the disk stays.
pub fn stop(wanted: &VmRequirements) -> Command {
    colima().args(["stop", "--profile", &wanted.profile]).within(180)
}

/// What mends a broken instance.
pub fn stop_hard(wanted: &VmRequirements) -> Command {
    colima()
        .args(["stop", "--profile", &wanted.profile, "--force"])
        .within(120)
}

/// `colima delete`; without `--force` and a terminal it deletes nothing and exits with code 0.
pub fn delete(wanted: &VmRequirements) -> Command {
    colima()
        .args(["delete", "--profile", &wanted.profile, "--force", "--data"])
        .within(180)
}

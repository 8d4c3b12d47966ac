//! What of the host decides how a VM can run here: system, architecture, cores, memory, helpers.
//! It looks and decides nothing; a file can stand in for the look, so that another host can be planned for.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::formats::json;
use crate::platform::Arch;

/// Variable with a JSON file of [`Host`] that is taken instead of a look at this host.
pub const VARIABLE: &str = "XTASK_HOST";

/// Variable with the folder of all VMs, instead of the one below the user's home.
pub const HOME_VARIABLE: &str = "XTASK_VM_HOME";

/// What a VM needs to know of its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Host {
    /// The operating system.
    pub system: System,
    /// The processor, not that of a translated process.
    pub arch: Arch,
    /// Logical cores.
    pub cores: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes that are free where VMs are kept.
    pub free_disk: u64,
    /// Whether `/dev/kvm` can be opened; only Linux has it.
    pub kvm: bool,
    /// Whether qemu for the host's architecture and `qemu-img` are on PATH.
    pub qemu: bool,
    /// Whether a user may listen on ports below 1024 of loopback.
    pub low_ports: bool,
    /// Whether Rosetta's daemon runs; only Apple Silicon has it.
    pub rosetta: bool,
    /// Whether this process is root; Lima refuses to run as root.
    pub root: bool,
}

/// The operating system of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum System {
    /// Any Linux.
    Linux,
    /// macOS, with its version.
    Macos {
        /// For example 15.
        major: u32,
        /// For example 5.
        minor: u32,
    },
}

impl Host {
    /// This host, or the one that [`VARIABLE`] describes.
    pub fn observe(vms: &Utf8Path) -> Result<Self> {
        match std::env::var(VARIABLE) {
            Ok(path) if !path.is_empty() => Self::read(Utf8Path::new(&path)),
            _ => Self::look(vms),
        }
    }

    fn read(path: &Utf8Path) -> Result<Self> {
        let text = fs_err::read_to_string(path)?;
        serde_json::from_str(&text).or_fail(Kind::Config, format!("`{VARIABLE}={path}` does not describe a host"))
    }

    fn look(vms: &Utf8Path) -> Result<Self> {
        let arch = arch()?;
        let emulator = match arch {
            Arch::Aarch64 => "qemu-system-aarch64",
            Arch::X86_64 => "qemu-system-x86_64",
        };
        Ok(Self {
            system: system()?,
            arch,
            cores: std::thread::available_parallelism()
                .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
            memory: memory()?,
            free_disk: free_disk(vms),
            kvm: kvm(),
            qemu: on_path(emulator) && on_path("qemu-img"),
            low_ports: low_ports(),
            rosetta: rosetta(),
            root: rustix::process::geteuid().is_root(),
        })
    }

    /// Words for people: `macOS 15.5 on aarch64`.
    pub fn words(&self) -> String {
        match self.system {
            System::Linux => format!("Linux on {}", self.arch.name()),
            System::Macos { major, minor } => format!("macOS {major}.{minor} on {}", self.arch.name()),
        }
    }
}

/// The folder of this checkout's VMs. Unix sockets lie in it, whose paths may have about 100 characters, so it
/// is short: a hash of the root below a folder of the user's home. Another checkout has another.
pub fn vms_folder(root: &Utf8Path) -> Result<Utf8PathBuf> {
    let given = std::env::var(HOME_VARIABLE).unwrap_or_default();
    if !given.is_empty() {
        let path = Utf8PathBuf::from(given);
        return if path.is_absolute() {
            Ok(path)
        } else {
            Err(Failure::config(format!(
                "`{HOME_VARIABLE}={path}` must be an absolute path"
            )))
        };
    }
    let home = std::env::var("HOME").unwrap_or_default();
    if !home.starts_with('/') {
        return Err(
            Failure::preflight("`HOME` names no absolute folder, so VMs have no place")
                .hinted(format!("name one: `{HOME_VARIABLE}=/short/path`")),
        );
    }
    let hash = &json::sha256(root.as_str())[..8];
    Ok(Utf8Path::new(&home).join(".xtask-vm").join(hash))
}

#[cfg(target_os = "macos")]
fn system() -> Result<System> {
    let text = crate::base::process::ask_system("/usr/bin/sw_vers", &["-productVersion"])
        .ok_or_else(|| Failure::unexpected("`sw_vers` does not tell the version of macOS"))?;
    let mut numbers = text.trim().split('.').map(|part| part.parse().unwrap_or(0));
    Ok(System::Macos {
        major: numbers.next().unwrap_or(0),
        minor: numbers.next().unwrap_or(0),
    })
}

#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "on macOS the version may be unknown")]
fn system() -> Result<System> {
    Ok(System::Linux)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn system() -> Result<System> {
    Err(Failure::preflight("VMs run on Linux and macOS only").hinted("use `--backend embedded`"))
}

fn arch() -> Result<Arch> {
    // A process translated by Rosetta sees x86_64 on a machine that is not.
    #[cfg(target_os = "macos")]
    if crate::base::process::ask_system("/usr/sbin/sysctl", &["-n", "hw.optional.arm64"])
        .is_some_and(|text| text.trim() == "1")
    {
        return Ok(Arch::Aarch64);
    }
    match std::env::consts::ARCH {
        "aarch64" => Ok(Arch::Aarch64),
        "x86_64" => Ok(Arch::X86_64),
        other => {
            Err(Failure::preflight(format!("there is no VM for architecture `{other}`"))
                .hinted("use `--backend embedded`"))
        }
    }
}

#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it may be unknown")]
fn memory() -> Result<u64> {
    let information = rustix::system::sysinfo();
    Ok(information
        .totalram
        .saturating_mul(u64::from(information.mem_unit.max(1))))
}

#[cfg(not(target_os = "linux"))]
fn memory() -> Result<u64> {
    crate::base::process::ask_system("/usr/sbin/sysctl", &["-n", "hw.memsize"])
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| Failure::unexpected("`sysctl hw.memsize` does not tell the memory of this host"))
}

#[cfg(target_os = "linux")]
fn kvm() -> bool {
    fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok()
}

#[cfg(not(target_os = "linux"))]
fn kvm() -> bool {
    false
}

#[cfg(target_os = "macos")]
fn rosetta() -> bool {
    // As Colima asks.
    crate::base::process::ask_system("/usr/bin/pgrep", &["oahd"]).is_some()
}

#[cfg(not(target_os = "macos"))]
fn rosetta() -> bool {
    false
}

/// Free bytes where the folder is or will be.
fn free_disk(folder: &Utf8Path) -> u64 {
    folder
        .ancestors()
        .find_map(|folder| rustix::fs::statvfs(folder.as_std_path()).ok())
        .map_or(0, |information| {
            information.f_bavail.saturating_mul(information.f_frsize)
        })
}

#[cfg(target_os = "linux")]
fn low_ports() -> bool {
    // A kernel without the setting keeps them for root.
    let first = fs_err::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    first.is_ok_and(|text| text.trim().parse().is_ok_and(|first: u16| first <= 80))
}

#[cfg(not(target_os = "linux"))]
fn low_ports() -> bool {
    // Lima listens for loopback on every address there, which needs no root, and turns others away.
    true
}

/// Whether a program is on PATH.
pub fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

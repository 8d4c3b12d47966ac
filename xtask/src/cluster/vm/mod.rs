//! VMs: what the platform config asks for against what Lima says is there, and what a kubeconfig of k3s becomes.
//! Pure functions over text; only `limactl list --json` says what a VM is, no exit code and no status line.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::access::Access;

use super::vm::image::Image;
use crate::base::failure::{Failure, Kind, Result};
use crate::base::root::STATE;
use crate::base::text::bytes;
use crate::platform::{Arch, Profile};
use host::{Host, System};

const GIB: u64 = 1 << 30;

/// Characters that a path of a Unix socket may have, with its end: on macOS 104, on Linux 108.
const SOCKET_MACOS: usize = 104;
const SOCKET_LINUX: usize = 108;

/// What Lima appends to a socket's name while it makes it.
const SOCKET_NAME: &str = "ssh.sock.1234567890123456";

/// A program for x86_64 Linux that ends with status 42, in base64; it needs nothing of the VM.
pub(crate) const AMD64: &str = "f0VMRgIBAQAAAAAAAAAAAAIAPgABAAAAeABAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAEAAOAABAAAAAAAAAAEAAAAFAAAAAAAAAAAAAAAAAEAAAAAAAAAAQAAAAAAAhAAAAAAAAACEAAAAAAAAAAAQAAAAAAAAuDwAAAC/KgAAAA8F";

/// Where the folder of this checkout's VMs is written down.
pub fn home_file() -> Utf8PathBuf {
    Utf8Path::new(STATE).join("vms.json")
}

/// What is remembered of a cluster's VM.
pub fn record_path(access: &Access) -> Utf8PathBuf {
    access.folder.join("vm.json")
}

/// What starts a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Driver {
    /// Colima, over Lima.
    Colima,
    /// Lima alone.
    Lima,
}

/// What the platform config asks of a VM, on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VmRequirements {
    /// What starts it.
    pub driver: Driver,
    /// Profile of the platform config.
    pub profile: String,
    /// Name of Lima's instance.
    pub instance: String,
    /// `vz` or `qemu`.
    pub vm_type: String,
    /// `aarch64` or `x86_64`.
    pub arch: String,
    /// Virtual CPUs.
    pub cpus: u32,
    /// GiB of memory.
    pub memory: u32,
    /// GiB of disk.
    pub disk: u32,
    /// Whether Rosetta translates programs in it.
    pub rosetta: bool,
    /// Port of the API, on the VM's and on the host's loopback.
    pub api_port: u16,
}

/// How far a VM is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VmState {
    /// Its start began; what is there may be half of it.
    Making,
    /// It started and fits.
    Made,
    /// Its system was changed to that of this image, by a generation of NixOS.
    Switched,
}

/// What the platform config asks of a VM on this host.
pub fn wanted(driver: Driver, name: &str, profile: &Profile, host: &Host) -> VmRequirements {
    let macos = matches!(host.system, System::Macos { .. });
    VmRequirements {
        driver,
        profile: name.to_owned(),
        instance: match driver {
            Driver::Colima => colima::instance(name),
            Driver::Lima => name.to_owned(),
        },
        vm_type: if macos { "vz" } else { "qemu" }.to_owned(),
        arch: profile.arch.unwrap_or(host.arch).name().to_owned(),
        cpus: profile.cpus,
        memory: profile.memory,
        disk: profile.disk,
        // Another host has no Rosetta to ask for; the platform config is shared by all of them.
        rosetta: profile.rosetta && macos && host.arch == Arch::Aarch64,
        api_port: profile.api_port,
    }
}

/// One instance as Lima lists it; what is not read here is ignored. Lima leaves out what it could not find out, and
/// writes the zero value of some of it: neither is a value, so nothing is decided from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// `Running`, `Stopped`, `Broken`, `Uninitialized`, `Installing`; empty where Lima does not say.
    pub status: String,
    /// `vz` or `qemu`: what runs, not what was asked for.
    pub vm_type: Option<String>,
    /// `aarch64` or `x86_64`.
    pub arch: Option<String>,
    /// Virtual CPUs.
    pub cpus: Option<u32>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes.
    pub disk: Option<u64>,
    /// Whether a person forbade to delete it; Lima does not look before it has read the instance's settings.
    pub protected: Option<bool>,
    /// Where Lima keeps it.
    pub folder: Option<Utf8PathBuf>,
    /// What Lima says is wrong with it.
    pub errors: Vec<String>,
}

/// What Lima may call the state of an instance; a newer one may have others.
const STATES: [&str; 5] = ["Running", "Stopped", "Broken", "Uninitialized", "Installing"];

/// Ways to run a virtual machine that Lima has; a newer one may have others.
const VM_TYPES: [&str; 4] = ["qemu", "vz", "wsl2", "krunkit"];

/// Architectures that Lima knows.
const ARCHITECTURES: [&str; 6] = ["x86_64", "aarch64", "armv7l", "ppc64le", "riscv64", "s390x"];

impl Instance {
    /// Reads a line of the listing; none where it names no instance.
    fn read(line: &Value) -> Option<Self> {
        let name = line["name"].as_str().filter(|name| !name.is_empty())?;
        let word = |key: &str, known: &[&str]| {
            let said = line[key].as_str()?.trim().to_lowercase();
            known.contains(&said.as_str()).then_some(said)
        };
        let number = |key: &str| {
            let value = &line[key];
            // A large number may be written with an exponent.
            let float = value
                .as_f64()
                .filter(|number| number.fract() == 0.0 && (1.0..9e15).contains(number));
            value
                .as_u64()
                .or(float.map(|number| number as u64))
                .filter(|number| *number > 0)
        };
        let errors = line["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        Some(Self {
            name: name.to_owned(),
            status: line["status"].as_str().unwrap_or_default().to_owned(),
            vm_type: word("vmType", &VM_TYPES),
            arch: word("arch", &ARCHITECTURES),
            cpus: number("cpus").and_then(|number| u32::try_from(number).ok()),
            memory: number("memory"),
            disk: number("disk"),
            protected: line["protected"].as_bool(),
            folder: line["dir"].as_str().filter(|folder| !folder.is_empty()).map(Into::into),
            errors: errors.iter().filter_map(error_words).collect(),
        })
    }

    /// Whether it runs.
    pub fn running(&self) -> bool {
        self.status == "Running"
    }

    /// What Lima does not say of it.
    pub fn unknown(&self) -> Vec<&'static str> {
        [
            ("vmType", self.vm_type.is_none()),
            ("arch", self.arch.is_none()),
            ("cpus", self.cpus.is_none()),
            ("memory", self.memory.is_none()),
            ("disk", self.disk.is_none()),
        ]
        .into_iter()
        .filter_map(|(field, absent)| absent.then_some(field))
        .collect()
    }

    /// Refuses an instance that Lima could not inspect: what it would take for its settings and its state is unknown.
    pub fn inspected(&self) -> Result<()> {
        let unknown = self.unknown();
        let state = if self.status.is_empty() {
            "Lima does not say in which state it is".to_owned()
        } else if !STATES.contains(&self.status.as_str()) {
            format!(
                "Lima says that it is `{}`, which this version does not know",
                self.status
            )
        } else if (self.status == "Broken" || !self.errors.is_empty()) && !unknown.is_empty() {
            format!(
                "Lima says that it is `{}`, and nothing of {}",
                self.status,
                unknown.join(", ")
            )
        } else {
            return Ok(());
        };
        let said = if self.errors.is_empty() {
            String::new()
        } else {
            format!("; it says: {}", self.errors.join("; "))
        };
        let folder = self
            .folder
            .as_ref()
            .map_or_else(|| "its folder".to_owned(), |folder| format!("`{folder}`"));
        Err(Failure::preflight(format!(
            "Lima cannot inspect VM `{}`: {state}{said}; nothing was changed",
            self.name
        ))
        .hinted(format!("its disk and its settings (`lima.yaml`) are in {folder}: put right what Lima names, then run the same command again"))
        .hinted("`LIMA_HOME=<folder of all VMs>/_lima limactl list` says it at more length")
        .hinted("only if nothing in it is needed any more: `cargo xtask local-down --delete`"))
    }
}

/// An error as Lima lists it: words, or the fields of what its language calls an error.
fn error_words(error: &Value) -> Option<String> {
    if let Some(words) = error.as_str() {
        return Some(words.trim().to_owned()).filter(|words| !words.is_empty());
    }
    let fields = error.as_object()?;
    let words: Vec<String> = ["Op", "Path", "Msg", "Err", "message"]
        .into_iter()
        .filter_map(|key| match fields.get(key)? {
            Value::String(words) => Some(words.clone()),
            // What the operating system calls it; 2 is a file that is not there.
            Value::Number(number) if key == "Err" => {
                let code = i32::try_from(number.as_i64()?).ok()?;
                Some(std::io::Error::from_raw_os_error(code).to_string())
            }
            Value::Object(inner) => error_words(&Value::Object(inner.clone())),
            _ => None,
        })
        .collect();
    Some(words.join(" ")).filter(|words| !words.is_empty())
}

/// The instances in a listing: a JSON object a line.
pub fn instances(listing: &str) -> Result<Vec<Instance>> {
    let unreadable = |line: &str, why: &str| {
        Failure::new(
            Kind::Step,
            format!("`limactl list --json` printed a line that is no instance: {why}: `{line}`"),
        )
        .hinted("nothing is known of the VMs, so nothing was done to them; try `limactl list` yourself")
    };
    listing
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let value: Value = serde_json::from_str(line).map_err(|error| unreadable(line, &error.to_string()))?;
            Instance::read(&value).ok_or_else(|| unreadable(line, "it has no name"))
        })
        .collect()
}

/// The instance of this name.
pub fn instance(listing: &str, name: &str) -> Result<Option<Instance>> {
    Ok(instances(listing)?.into_iter().find(|instance| instance.name == name))
}

/// What is remembered of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Record {
    /// What starts it.
    pub driver: Driver,
    /// Name of Lima's instance.
    pub instance: String,
    /// How far it is.
    pub state: VmState,
    /// Image that it booted, or was switched to; none for a VM that somebody else made.
    pub image: Option<Image>,
    /// Whether it was started with Rosetta.
    pub rosetta: bool,
}

impl Record {
    /// Reads a record; none where there is none.
    pub fn read(path: &Utf8Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let text = fs_err::read_to_string(path)?;
        serde_json::from_str(&text).map(Some).map_err(|error| {
            Failure::config(format!("`{path}` is no record of a VM: {error}"))
                .hinted("remove it: the VM is then taken for one that another program made, its data is kept")
        })
    }

    /// The record of a VM in a new state, given what was remembered before.
    pub fn next(wanted: &VmRequirements, state: VmState, image: Option<Image>, before: Option<Self>) -> Self {
        Self {
            driver: wanted.driver,
            instance: wanted.instance.clone(),
            state: match state {
                VmState::Making => VmState::Making,
                VmState::Made | VmState::Switched => VmState::Made,
            },
            image: match state {
                VmState::Making | VmState::Switched => image,
                VmState::Made => before.and_then(|before| before.image),
            },
            rosetta: wanted.rosetta,
        }
    }
}

/// What has to be done about a field that differs; ordered by what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Then {
    /// Lima does not say what the VM has: nothing is decided from it.
    Unknown,
    /// It stays as it is: nothing short of another VM changes it, and it is not worth one.
    Kept,
    /// The next start writes it anew.
    Rewritten,
    /// The VM is stopped and started.
    Restart,
    /// The VM is deleted and made anew, once that was agreed to.
    Recreate,
}

impl Then {
    /// What `local-up` would do, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Unknown => "Lima does not say it, so nothing is decided from it",
            Self::Kept => "kept; only a new VM has it (`local-down --delete`, then `local-up`)",
            Self::Rewritten => "the next start writes it anew",
            Self::Restart => "`local-up` stops and starts the VM; its data is kept",
            Self::Recreate => "`local-up` asks, deletes the VM with its data, and makes it anew",
        }
    }
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Field {
    /// Its name.
    pub field: String,
    /// What the platform config asks for.
    pub config: String,
    /// What is saved of the profile, if anything.
    pub saved: Option<String>,
    /// What the VM has.
    pub vm: String,
    /// What follows.
    pub then: Then,
}

impl Field {
    /// The field in one line.
    pub fn words(&self) -> String {
        let saved = self
            .saved
            .as_ref()
            .map_or_else(String::new, |saved| format!(", saved profile {saved}"));
        format!(
            "{}: config {}{saved}, VM {}: {}",
            self.field,
            self.config,
            self.vm,
            self.then.words()
        )
    }
}

/// What differs between the platform config, the saved profile and the VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Drift {
    /// Whether there is a VM.
    pub exists: bool,
    /// What Lima says of it; empty when there is none.
    pub status: String,
    /// Whether it runs.
    pub running: bool,
    /// Whether Lima calls it broken.
    pub broken: bool,
    /// Whether a start that this checkout began never came to its end.
    pub half_made: bool,
    /// Whether it must be stopped and started.
    pub restart: bool,
    /// Whether it must be deleted and made anew.
    pub recreate: bool,
    /// Every field that differs.
    pub fields: Vec<Field>,
}

/// What is saved of a profile beside the VM.
#[derive(Debug, Clone, PartialEq)]
pub enum Saved {
    /// Nothing, or the backend saves nothing.
    None,
    /// A file that no parser reads; Colima would replace it with defaults.
    Unreadable(String),
    /// The file.
    Profile(Value),
}

/// What Colima saved of a profile.
pub fn saved(home: &Utf8Path, wanted: &VmRequirements) -> Result<Saved> {
    let path = home.join(&wanted.profile).join("colima.yaml");
    if wanted.driver == Driver::Lima || !path.exists() {
        return Ok(Saved::None);
    }
    let text = String::from_utf8_lossy(&fs_err::read(&path)?).into_owned();
    Ok(match crate::base::formats::yaml::read_one(&text) {
        Ok(Value::Object(profile)) => Saved::Profile(Value::Object(profile)),
        Ok(_) => Saved::Unreadable("not a mapping".to_owned()),
        Err(error) => Saved::Unreadable(error.to_string()),
    })
}

/// Compares the platform config with what is saved and with what Lima lists.
pub fn compare(
    wanted: &VmRequirements,
    instance: Option<&Instance>,
    saved: &Saved,
    image: Option<&Image>,
    record: Option<&Record>,
) -> Drift {
    let Some(instance) = instance else {
        // A start that failed before there was an instance leaves its file; existence is what Lima says.
        return Drift {
            exists: false,
            status: String::new(),
            running: false,
            broken: false,
            half_made: false,
            restart: false,
            recreate: false,
            fields: Vec::new(),
        };
    };
    let half_made = record.is_some_and(|record| record.state == VmState::Making);
    let mut fields = Vec::new();
    let mut differs = |field: &str, config: String, key: Option<&str>, vm: Option<String>, then: Then| {
        let saved = match (saved, key) {
            (Saved::Profile(profile), Some(key)) => profile.get(key).map(crate::base::files::text_of),
            _ => None,
        };
        let Some(vm) = vm else {
            fields.push(Field {
                field: field.to_owned(),
                config,
                saved,
                vm: "unknown".to_owned(),
                then: Then::Unknown,
            });
            return;
        };
        if config != vm {
            fields.push(Field {
                field: field.to_owned(),
                config,
                saved,
                vm,
                then,
            });
        } else if let Some(saved) = saved.filter(|saved| *saved != config) {
            fields.push(Field {
                field: field.to_owned(),
                config,
                saved: Some(saved),
                vm,
                then: Then::Rewritten,
            });
        }
    };
    let gib = |bytes: u64| {
        if bytes.is_multiple_of(GIB) {
            (bytes / GIB).to_string()
        } else {
            format!("{:.1}", bytes as f64 / GIB as f64)
        }
    };
    differs(
        "arch",
        wanted.arch.clone(),
        Some("arch"),
        instance.arch.clone(),
        Then::Recreate,
    );
    // Off macOS Colima's file has a type of its own making.
    let vm_key = (wanted.vm_type == "vz").then_some("vmType");
    differs(
        "vmType",
        wanted.vm_type.clone(),
        vm_key,
        instance.vm_type.clone(),
        Then::Recreate,
    );
    differs(
        "cpus",
        wanted.cpus.to_string(),
        Some("cpu"),
        instance.cpus.map(|cpus| cpus.to_string()),
        Then::Restart,
    );
    differs(
        "memory",
        wanted.memory.to_string(),
        Some("memory"),
        instance.memory.map(gib),
        Then::Restart,
    );
    let disk = if instance.disk.is_some_and(|disk| disk > u64::from(wanted.disk) * GIB) {
        Then::Recreate
    } else {
        match wanted.driver {
            // Without a runtime Colima grows a data disk that is not there, and leaves this one.
            Driver::Colima => Then::Kept,
            Driver::Lima => Then::Restart,
        }
    };
    differs(
        "disk",
        wanted.disk.to_string(),
        Some("disk"),
        instance.disk.map(gib),
        disk,
    );
    if let Saved::Profile(profile) = saved {
        let runtime = profile
            .get("runtime")
            .map_or("docker", |value| value.as_str().unwrap_or("docker"));
        differs(
            "runtime",
            "none".to_owned(),
            None,
            Some(runtime.to_owned()),
            Then::Recreate,
        );
    }
    if let Saved::Unreadable(why) = saved {
        fields.push(Field {
            field: "colima.yaml".to_owned(),
            config: "readable".to_owned(),
            saved: Some(why.clone()),
            vm: "unchanged".to_owned(),
            then: Then::Rewritten,
        });
    }
    match record {
        Some(record) => {
            if record.rosetta != wanted.rosetta {
                let word = |on: bool| if on { "on" } else { "off" }.to_owned();
                fields.push(Field {
                    field: "rosetta".to_owned(),
                    config: word(wanted.rosetta),
                    saved: None,
                    vm: word(record.rosetta),
                    then: Then::Restart,
                });
            }
            if let (Some(image), Some(booted)) = (image, &record.image)
                && image.digest != booted.digest
            {
                fields.push(Field {
                    field: "image".to_owned(),
                    config: short(image),
                    saved: None,
                    vm: short(booted),
                    then: Then::Recreate,
                });
            }
        }
        None => fields.push(Field {
            field: "image".to_owned(),
            config: image.map_or_else(|| "none recorded".to_owned(), short),
            saved: None,
            vm: "unknown, for this checkout did not make the VM".to_owned(),
            then: Then::Kept,
        }),
    }
    let worst = fields.iter().map(|field| field.then).max();
    let recreate = worst == Some(Then::Recreate) && !half_made;
    Drift {
        exists: true,
        status: instance.status.clone(),
        running: instance.running(),
        broken: instance.status == "Broken",
        half_made,
        restart: fields.iter().any(|field| field.then == Then::Restart) && !recreate,
        recreate,
        fields,
    }
}

fn short(image: &Image) -> String {
    image.digest.chars().take(12).collect()
}

/// Checks that the VM that runs is the one that was asked for; `start` exits with code 0 with another.
pub fn fits(wanted: &VmRequirements, instance: Option<&Instance>) -> Result<String> {
    let Some(instance) = instance else {
        return Err(Failure::new(
            Kind::Step,
            format!("there is no instance `{}` after its start", wanted.instance),
        ));
    };
    if !instance.running() {
        return Err(Failure::new(
            Kind::Step,
            format!("`{}` is `{}` after its start", wanted.instance, instance.status),
        ));
    }
    let differs = |said: &Option<String>, wanted: &str| said.as_deref().is_some_and(|said| said != wanted);
    let or_unknown = |said: Option<String>| said.unwrap_or_else(|| "unknown".to_owned());
    let vm_type = or_unknown(instance.vm_type.clone());
    let arch = or_unknown(instance.arch.clone());
    if differs(&instance.vm_type, &wanted.vm_type) || differs(&instance.arch, &wanted.arch) {
        return Err(Failure::refused(format!(
            "the VM runs as {vm_type} on {arch}, asked for was {} on {}: it would be emulated, which is many times slower",
            wanted.vm_type, wanted.arch
        ))
        .hinted("take it down with `cargo xtask local-down --delete`, and leave `arch` of the profile to the host"));
    }
    let memory = u64::from(wanted.memory) * GIB;
    let cpus = or_unknown(instance.cpus.map(|cpus| cpus.to_string()));
    let has = or_unknown(instance.memory.map(bytes));
    if instance.cpus.is_some_and(|cpus| cpus != wanted.cpus) || instance.memory.is_some_and(|has| has != memory) {
        return Err(Failure::new(
            Kind::Step,
            format!(
                "the VM has {cpus} CPUs and {has} after its start, asked for were {} and {}",
                wanted.cpus,
                bytes(memory)
            ),
        )
        .hinted("run the same command again; if that changes nothing, `cargo xtask local-status` names each field"));
    }
    Ok(format!(
        "`{}` runs: {vm_type} on {arch}, {cpus} CPUs, {has}",
        wanted.instance
    ))
}

/// What is lost with a VM; one that a person protected is refused. Lima says nothing of the protection of a VM
/// that it cannot inspect, so the caller looks for the file that is the protection.
pub fn deletion(instance: &Instance, file: Protection) -> Result<String> {
    let protected = instance.protected == Some(true) || file == Protection::On;
    if protected {
        return Err(
            Failure::refused(format!("VM `{}` is protected; nothing was deleted", instance.name))
                .hinted("whoever protected it meant it; `limactl unprotect` takes that back"),
        );
    }
    let state = if instance.status.is_empty() {
        "in an unknown state".to_owned()
    } else {
        instance.status.to_lowercase()
    };
    let disk = instance
        .disk
        .map_or_else(|| "its disk".to_owned(), |disk| format!("its disk of {}", bytes(disk)));
    let cannot = if instance.inspected().is_ok() {
        ""
    } else {
        "; Lima cannot inspect it, and what is in it is unknown"
    };
    Ok(format!(
        "`{}` is {state}, and {disk} holds the cluster{cannot}",
        instance.name
    ))
}

/// Whether the file is there with which a person forbids that a VM is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// It is.
    On,
    /// It is not.
    Off,
}

impl Protection {
    /// Looks for it.
    pub fn look(instance: &Instance) -> Self {
        let file = instance.folder.as_ref().map(|folder| folder.join("protected"));
        match file {
            Some(file) if file.symlink_metadata().is_ok() => Self::On,
            _ => Self::Off,
        }
    }
}

/// The kubeconfig of k3s with our own names and the address on the host's loopback. What has no authority of its
/// own, or would not verify it, is refused.
pub fn kubeconfig(k3s: &Value, context: &str, port: u16) -> Result<Value> {
    let refused = |why: &str| {
        Failure::refused(format!("the kubeconfig of the VM {why}; nothing was written"))
            .hinted("look at it: `cargo xtask ssh sudo cat /etc/rancher/k3s/k3s.yaml`")
    };
    let one = |list: &str| match k3s.get(list).and_then(Value::as_array).map(Vec::as_slice) {
        Some([one]) => Ok(one),
        _ => Err(refused(&format!("does not have exactly one of `{list}`"))),
    };
    let cluster = &one("clusters")?["cluster"];
    let user = &one("users")?["user"];
    one("contexts")?;
    if cluster["insecure-skip-tls-verify"].as_bool() == Some(true) {
        return Err(refused("turns the check of the server off"));
    }
    let authority = cluster["certificate-authority-data"]
        .as_str()
        .filter(|data| !data.is_empty())
        .ok_or_else(|| refused("carries no authority of its own"))?;
    let mut own = serde_json::Map::new();
    for key in ["client-certificate-data", "client-key-data", "token"] {
        if let Some(value) = user[key].as_str() {
            own.insert(key.to_owned(), json!(value));
        }
    }
    if own.is_empty() {
        return Err(refused("carries no identity of its own"));
    }
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority-data": authority,
        }}],
        "users": [{"name": context, "user": own}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }))
}

/// Whether k3s has written its kubeconfig; a line for the shell of the VM's root, that says why it has not.
pub const WRITTEN: &str = "test -s /etc/rancher/k3s/k3s.yaml || { echo \"k3s is $(systemctl is-active k3s) and has written no kubeconfig; 'cargo xtask ssh sudo journalctl --unit=k3s' says why\" >&2; exit 1; }";

/// The lines of an `fstab` that decide whether a system boots from a VM's disk: device and place, a line each.
pub fn disks(fstab: &str) -> String {
    let mut text = String::new();
    for line in fstab.lines() {
        let mut words = line.split_whitespace();
        if let (Some(device), Some(point @ ("/" | "/boot"))) = (words.next(), words.next()) {
            text.push_str(device);
            text.push(' ');
            text.push_str(point);
            text.push(';');
        }
    }
    text
}

/// The same of the system that runs in a VM, and its kernel, as JSON; a line for its shell.
pub const BOOTED: &str = "disks=$(while read -r device point rest; do case $point in /|/boot) printf '%s %s;' \"$device\" \"$point\";; esac; done </run/current-system/etc/fstab) && printf '{\"kernel\":\"%s\",\"disks\":\"%s\"}' \"$(readlink -f /run/booted-system/kernel)\" \"$disks\"";

/// Everything that decides whether a VM can run here.
#[derive(Debug, Clone)]
pub struct Preflight<'a> {
    /// The host.
    pub host: &'a Host,
    /// The VM.
    pub wanted: &'a VmRequirements,
    /// Where VMs are kept.
    pub home: &'a Utf8Path,
    /// The VM as Lima lists it.
    pub instance: Option<&'a Instance>,
    /// Bytes that become free with the VM that is there, where it is deleted to be made anew; none where it is kept.
    pub replaced: Option<u64>,
    /// Whether the port of the API is free on the host's loopback.
    pub port_free: bool,
    /// Image that a new VM would boot.
    pub image: Option<&'a Image>,
    /// Why no image can be built here, when there is none and it cannot.
    pub no_builder: Option<String>,
    /// Whether Lima's wrapper `lima` is beside `limactl`, or on PATH; Colima asks for it.
    pub lima_wrapper: bool,
}

/// What keeps a VM from running here, all at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    /// Guards: nothing but other platform config helps.
    pub refused: Vec<String>,
    /// What the host lacks.
    pub unready: Vec<String>,
}

impl Problems {
    /// Everything as one failure; none is fine. A guard weighs more than what can be mended.
    pub fn into_result(self, profile: &str) -> Result<()> {
        let kind = if self.refused.is_empty() {
            Kind::Preflight
        } else {
            Kind::Refused
        };
        let all: Vec<String> = self.refused.into_iter().chain(self.unready).collect();
        if all.is_empty() {
            return Ok(());
        }
        Err(Failure::many(
            kind,
            format!("profile `{profile}` cannot run on this host; nothing was changed"),
            &all,
        )
        .hinted("`--backend embedded` runs the control plane without a VM; its pods are simulated"))
    }
}

impl Preflight<'_> {
    /// Looks at everything.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        self.emulation(&mut problems);
        self.rosetta(&mut problems);
        let running = self.instance.is_some_and(Instance::running);
        // What a new VM needs is looked at before the old one is touched.
        let made = self.instance.is_none() || self.replaced.is_some();
        self.size(running && !made, &mut problems);
        self.helpers(&mut problems);
        self.place(&mut problems);
        if !running && !self.port_free {
            problems.unready.push(format!(
                "port {port} of the host is taken, and the API of the VM is reached there\nsee who holds it: `lsof -nP -iTCP:{port} -sTCP:LISTEN`, or give profile `{}` another `apiPort`",
                self.wanted.profile,
                port = self.wanted.api_port,
            ));
        }
        if made {
            if let Some(image) = self.image {
                if image.arch != self.wanted.arch {
                    problems.refused.push(format!(
                        "the recorded image is for {}, the VM is {}",
                        image.arch, self.wanted.arch
                    ));
                }
                if image.virtual_size > u64::from(self.wanted.disk) * GIB {
                    problems.refused.push(format!(
                        "the image has a disk of {}, the profile of {} GiB: disks do not shrink",
                        bytes(image.virtual_size),
                        self.wanted.disk
                    ));
                }
            } else if let Some(why) = &self.no_builder {
                problems.unready.push(why.clone());
            }
        }
        problems
    }

    fn emulation(&self, problems: &mut Problems) {
        if self.wanted.arch == self.host.arch.name() {
            return;
        }
        let vz = if self.wanted.vm_type == "vz" {
            "vz boots the host's own architecture only, and Colima would silently take QEMU instead"
        } else {
            "QEMU would emulate it without KVM"
        };
        problems.refused.push(format!(
            "the VM is {} and this host is {}: {vz}, many times slower\nset `arch = null` in the profile; for amd64 containers on Apple Silicon there is `rosetta = true`, a real {} VM needs such a host",
            self.wanted.arch,
            self.host.words(),
            self.wanted.arch
        ));
    }

    fn rosetta(&self, problems: &mut Problems) {
        let System::Macos { major, minor } = self.host.system else {
            return;
        };
        if major < 13 {
            problems
                .unready
                .push(format!("macOS {major}.{minor}: vz needs macOS 13 or newer"));
        }
        if !self.wanted.rosetta {
            return;
        }
        if !self.host.rosetta {
            problems.unready.push(
                "the profile asks for Rosetta, which is not installed\n`softwareupdate --install-rosetta`".to_owned(),
            );
        }
        let kernel = self
            .image
            .and_then(|image| image.kernel.as_deref())
            .and_then(kernel_version);
        if let Some((kernel_major, kernel_minor)) = kernel
            && (kernel_major, kernel_minor) >= (6, 11)
            && major < 26
        {
            problems.unready.push(format!(
                "Rosetta of macOS {major}.{minor} fails on Linux {kernel_major}.{kernel_minor}: before macOS 26 the kernel must be older than 6.11\nbuild the image with `rosetta = true` in the profile, which takes Linux 6.6, or update macOS"
            ));
        }
    }

    fn size(&self, running: bool, problems: &mut Problems) {
        if running {
            return;
        }
        if self.host.cores < self.wanted.cpus {
            problems.unready.push(format!(
                "the profile asks for {} CPUs, this host has {}",
                self.wanted.cpus, self.host.cores
            ));
        }
        let memory = u64::from(self.wanted.memory) * GIB;
        if self.host.memory < memory {
            problems.unready.push(format!(
                "the profile asks for {} of memory, this host has {}",
                bytes(memory),
                bytes(self.host.memory)
            ));
        }
        let disk = u64::from(self.wanted.disk) * GIB;
        let made = self.instance.is_none() || self.replaced.is_some();
        if made && self.host.free_disk.saturating_add(self.replaced.unwrap_or_default()) < disk {
            let with = match self.replaced {
                Some(old) => format!(", and {} with the VM that would be deleted", bytes(old)),
                None => String::new(),
            };
            problems.unready.push(format!(
                "the profile asks for a disk of {}, {} are free below `{}`{with}",
                bytes(disk),
                bytes(self.host.free_disk),
                self.home
            ));
        }
    }

    fn helpers(&self, problems: &mut Problems) {
        if self.host.root {
            problems
                .unready
                .push("Lima does not run as root; run as a user of yours".to_owned());
        }
        if self.wanted.driver == Driver::Colima && !self.lima_wrapper {
            problems.unready.push(
                "Colima needs `lima` beside `limactl` on PATH\nmacOS: `brew install lima`; nix: `nix profile install nixpkgs#lima`"
                    .to_owned(),
            );
        }
        if self.host.system == System::Linux {
            if !self.host.qemu {
                problems.unready.push(format!(
                    "`qemu-system-{}` and `qemu-img` are not on PATH\nDebian: `sudo apt-get install qemu-system qemu-utils ovmf`; nix: `nix profile install nixpkgs#qemu`",
                    self.host.arch.name()
                ));
            }
            if !self.host.kvm {
                problems.unready.push(
                    "`/dev/kvm` cannot be opened, so QEMU would emulate the VM\n`sudo usermod -aG kvm \"$USER\"` and log in again, or turn virtualisation on in the firmware"
                        .to_owned(),
                );
            }
        }
    }

    fn place(&self, problems: &mut Problems) {
        let limit = match self.host.system {
            System::Macos { .. } => SOCKET_MACOS,
            System::Linux => SOCKET_LINUX,
        };
        let socket = self.home.join("_lima").join(&self.wanted.instance).join(SOCKET_NAME);
        let length = socket.as_str().len();
        if length >= limit {
            problems.unready.push(format!(
                "the folder of VMs `{}` is too long: its sockets would have {length} characters, fewer than {limit} are allowed\nname a shorter one: `{}=/short/path`",
                self.home,
                host::HOME_VARIABLE
            ));
        }
        let writable = self
            .home
            .ancestors()
            .find(|folder| folder.exists())
            .is_some_and(|folder| {
                folder.is_dir() && rustix::fs::access(folder.as_std_path(), rustix::fs::Access::WRITE_OK).is_ok()
            });
        if !writable {
            problems.unready.push(format!(
                "the folder of VMs `{}` cannot be written\nname another: `{}=/short/path`",
                self.home,
                host::HOME_VARIABLE
            ));
        }
    }
}

/// Major and minor of a kernel's version.
fn kernel_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// A profile's name is part of file names, socket paths and command lines of three tools.
pub fn check_name(profile: &str) -> Result<()> {
    let good = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
    let whole = !profile.is_empty()
        && profile.len() <= 32
        && profile.chars().all(good)
        && !profile.starts_with('-')
        && !profile.ends_with('-');
    // Colima gives these names a meaning of their own.
    if whole && !["default", "colima"].contains(&profile) && !profile.starts_with("colima-") {
        return Ok(());
    }
    Err(Failure::config(format!("`{profile}` cannot be the name of a profile"))
        .hinted("1 to 32 of `a-z0-9-`, beginning and ending with a letter or digit, and none of Colima's own (`default`, `colima`, `colima-…`)"))
}

pub mod colima;
pub mod host;
pub mod image;
pub mod lima;
pub mod route;
pub mod tasks;
#[cfg(test)]
mod tests;
pub mod trust;

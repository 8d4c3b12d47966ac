//! `colima`: profiles over Lima's instances. Its file is written before anything is looked at, what cannot be changed
//! is dropped with a warning, and 0 says little.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::flags::Given;
use crate::vm::{self, Instance, load};
use crate::{Config, GIB, die, fatal, forward, lima, say, warn};

/// Settings of a profile, as `colima.yaml` has them; a profile's last good boot has a copy beside its instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    cpu: u64,
    memory: u64,
    disk: u64,
    root_disk: u64,
    arch: String,
    runtime: String,
    vm_type: String,
    rosetta: bool,
    mount_type: String,
    mounts: String,
}

/// Where a profile's things are.
struct Place {
    profile: String,
    /// Lima's instance.
    name: String,
    /// What it is called to people.
    display: String,
    /// The folder of its file.
    folder: PathBuf,
    /// Lima's home.
    lima: PathBuf,
}

impl Place {
    fn of(home: &Path, profile: &str) -> Self {
        let lima = home.join("_lima");
        if ["", "colima", "default"].contains(&profile) {
            return Self {
                profile: "default".to_owned(),
                name: "colima".to_owned(),
                display: "colima".to_owned(),
                folder: home.join("default"),
                lima,
            };
        }
        let profile = profile.strip_prefix("colima-").unwrap_or(profile);
        Self {
            profile: profile.to_owned(),
            name: format!("colima-{profile}"),
            display: format!("colima [profile={profile}]"),
            folder: home.join(profile),
            lima,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.join("colima.yaml")
    }

    fn state_file(&self) -> PathBuf {
        self.lima.join(&self.name).join("colima.yaml")
    }

    fn instance(&self) -> Option<Instance> {
        load(&self.lima, &self.name)
    }

    fn save(&self, instance: &Instance) {
        instance.save(&self.lima, &self.name);
    }
}

/// A file that is missing, or that no parser reads, is none.
fn read(path: &Path) -> Option<Settings> {
    serde_json::from_str(&fs_err::read_to_string(path).ok()?).ok()
}

fn write(path: &Path, settings: &Settings) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, serde_json::to_string_pretty(settings).unwrap()).unwrap();
}

/// Whether a version is at least another.
fn at_least(version: &str, wanted: [u32; 3]) -> bool {
    let numbers: Vec<u32> = version.split('.').map(|part| part.parse().unwrap_or(0)).collect();
    numbers.as_slice() >= wanted.as_slice()
}

/// The flags that this host and this version have: with a value, and without.
fn start_flags(config: &Config) -> (Vec<&'static str>, Vec<&'static str>) {
    let mut valued = vec![
        "profile",
        "arch",
        "cpus",
        "memory",
        "disk",
        "root-disk",
        "runtime",
        "mount",
        "mount-type",
        "port-forwarder",
        "disk-image",
    ];
    let mut bare = vec!["template", "binfmt", "activate", "ssh-config", "save-config"];
    if at_least(&config.colima, [0, 10, 2]) {
        bare.push("force-disk-image");
    }
    if config.os == "macos" {
        valued.push("vm-type");
        bare.push("network-address");
        if config.arch == "aarch64" {
            bare.push("vz-rosetta");
        }
    }
    (valued, bare)
}

pub(crate) fn run(config: &Config, words: &[String]) -> u8 {
    // A folder that does not exist is ignored, and the user's own is taken.
    let home = PathBuf::from(std::env::var("COLIMA_HOME").expect("COLIMA_HOME is set"));
    assert!(
        home.is_dir(),
        "fake: COLIMA_HOME does not exist, the user's own profiles would be used"
    );
    assert!(
        std::env::var_os("LIMA_HOME").is_none(),
        "fake: LIMA_HOME would be taken instead of the one below COLIMA_HOME"
    );
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).exists());
    if !has("lima") || !has("limactl") {
        return die("Error: dependency check failed for VM: lima not found, run 'brew install lima' to install");
    }
    let (valued, bare) = start_flags(config);
    let (valued, bare): (&[&str], &[&str]) = match words[0].as_str() {
        "start" => (&valued, &bare),
        "stop" => (&["profile"], &["force"]),
        "delete" => (&["profile"], &["force", "data"]),
        "list" | "status" => (&["profile"], &["json"]),
        "ssh" | "version" => (&["profile"], &[]),
        other => return die(&format!("unknown command {other:?} for \"colima\"")),
    };
    let given = match Given::read(&words[1..], valued, bare) {
        Ok(given) => given,
        Err(error) => return die(&format!("Usage:\n  colima {} [flags]\n\nError: {error}", words[0])),
    };
    // The flag wins over the word, and what is run in a VM is no profile.
    let word = (words[0] != "ssh").then(|| given.words.first()).flatten();
    let named = given.text("profile").or(word.map(String::as_str));
    let place = Place::of(&home, named.unwrap_or_default());
    match words[0].as_str() {
        "start" => start(config, &place, &given),
        "stop" => stop(&place, &given),
        "delete" => delete(config, &place, &given),
        "list" => list(config, &home, named.is_some().then_some(&place)),
        "status" => status(&place),
        "ssh" => ssh(config, &place, &given.words),
        _ => say(&format!("colima version {}", config.colima)),
    }
}

fn stop(place: &Place, given: &Given) -> u8 {
    match place.instance() {
        Some(mut instance) if instance.status != "Stopped" => {
            if instance.status == "Broken" && !given.on("force") {
                return fatal("error stopping vm: exit status 1");
            }
            instance.end();
            place.save(&instance);
            0
        }
        None if given.on("force") => fatal("error stopping vm: exit status 1"),
        _ => {
            warn("not running");
            0
        }
    }
}

fn delete(config: &Config, place: &Place, given: &Given) -> u8 {
    if !given.on("force") {
        // Without a terminal the answer is the end of the input, and that is no.
        print!(
            "are you sure you want to delete {} and all settings? [y/N] ",
            place.display
        );
        return 0;
    }
    if config.fault("deleteNothing").is_some() {
        return 0;
    }
    if let Some(mut instance) = place.instance() {
        instance.end();
    }
    for folder in [place.lima.join(&place.name), place.folder.clone()] {
        let _absent_is_fine = fs_err::remove_dir_all(folder);
    }
    0
}

fn list(config: &Config, home: &Path, only: Option<&Place>) -> u8 {
    if let Some(place) = only
        && place.instance().is_none()
    {
        return fatal("error retrieving instances: exit status 1");
    }
    let lima = home.join("_lima");
    for entry in fs_err::read_dir(&lima).into_iter().flatten() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let Some(profile) = name.strip_prefix("colima-") else {
            continue;
        };
        if only.is_some_and(|place| place.profile != profile) {
            continue;
        }
        let listed = lima::listed(config, &lima, &name);
        let mut line = serde_json::Map::new();
        line.insert("name".to_owned(), profile.into());
        for key in ["status", "arch", "cpus", "memory", "disk"] {
            // Every key is left out when it is empty; of the type of machine nothing is said at all.
            let empty = |value: &serde_json::Value| value.is_null() || value == "" || value == 0;
            if !empty(&listed[key]) {
                line.insert(key.to_owned(), listed[key].clone());
            }
        }
        if let Some(settings) = read(&lima.join(&name).join("colima.yaml")) {
            line.insert("runtime".to_owned(), settings.runtime.into());
        }
        println!("{}", serde_json::Value::Object(line));
    }
    0
}

fn status(place: &Place) -> u8 {
    let Some(instance) = place.instance().filter(|instance| instance.status == "Running") else {
        return fatal(&format!("{} is not running", place.display));
    };
    let Some(settings) = read(&place.state_file()) else {
        return fatal("error retrieving current runtime: empty value");
    };
    let driver = match settings.vm_type.as_str() {
        "vz" => "macOS Virtualization.Framework",
        _ => "QEMU",
    };
    say(&serde_json::json!({
        "display_name": place.display, "driver": driver, "arch": instance.arch, "runtime": settings.runtime,
        "mount_type": settings.mount_type, "kubernetes": false, "cpu": instance.cpus, "memory": instance.memory,
        "disk": instance.disk,
    })
    .to_string())
}

fn ssh(config: &Config, place: &Place, words: &[String]) -> u8 {
    if place.instance().is_none_or(|instance| instance.status != "Running") {
        return fatal(&format!("{} not running", place.display));
    }
    match vm::shell(config, &place.lima, &place.name, words) {
        0 => 0,
        // Whatever it was.
        status => fatal(&format!("exit status {status}")),
    }
}

/// What the flags ask for; what they leave open stays as it was.
fn asked(config: &Config, given: &Given, before: Option<&Settings>) -> Settings {
    let text = |flag: &str, before: Option<&String>, default: &str| {
        given
            .text(flag)
            .or(before.map(String::as_str))
            .unwrap_or(default)
            .to_owned()
    };
    let number = |flag: &str, before: Option<u64>, default: u64| given.number(flag).or(before).unwrap_or(default);
    let vm_type = if config.os == "macos" {
        text("vm-type", before.map(|before| &before.vm_type), "vz")
    } else {
        "qemu".to_owned()
    };
    let mount_type = if vm_type == "vz" { "virtiofs" } else { "sshfs" };
    Settings {
        cpu: number("cpus", before.map(|before| before.cpu), 2),
        memory: number("memory", before.map(|before| before.memory), 2),
        disk: number("disk", before.map(|before| before.disk), 100),
        root_disk: number("root-disk", before.map(|before| before.root_disk), 20),
        // What is no architecture is the host's, without a word.
        arch: match text("arch", before.map(|before| &before.arch), &config.arch).as_str() {
            "amd" | "amd64" | "x86" | "x64" | "x86_64" => "x86_64".to_owned(),
            "arm" | "arm64" | "m1" | "aarch64" => "aarch64".to_owned(),
            _ => config.arch.clone(),
        },
        runtime: text("runtime", before.map(|before| &before.runtime), "docker"),
        rosetta: given
            .text("vz-rosetta")
            .map_or_else(|| before.is_some_and(|before| before.rosetta), |value| value == "true"),
        mount_type: text("mount-type", before.map(|before| &before.mount_type), mount_type),
        mounts: text("mount", before.map(|before| &before.mounts), "~:w"),
        vm_type,
    }
}

/// Drops what cannot be changed any more, with a warning each.
fn keep_fixed(settings: &mut Settings, fixed: &Settings) {
    let keep = |name: &str, value: &mut String, fixed: &String| {
        if value != fixed {
            warn(&format!("'{name}' cannot be updated after initial setup, discarded"));
            value.clone_from(fixed);
        }
    };
    keep("architecture", &mut settings.arch, &fixed.arch);
    keep("virtual machine type", &mut settings.vm_type, &fixed.vm_type);
    keep("runtime", &mut settings.runtime, &fixed.runtime);
    keep("volume mount type", &mut settings.mount_type, &fixed.mount_type);
}

fn start(config: &Config, place: &Place, given: &Given) -> u8 {
    if let Some(image) = given.text("disk-image") {
        if image.starts_with("http") {
            return fatal(
                "error in config: cannot use diskImage: remote URLs not supported, only local files can be specified",
            );
        }
        assert!(
            Path::new(image).is_absolute(),
            "fake: neither ~ nor a relative path is expanded"
        );
    }
    let file = place.file();
    let before = read(&file);
    if before.is_none() && file.exists() {
        warn("config load failed: could not load config from file: yaml: line 1: did not find expected node content");
        warn("reverting to default settings");
    }
    let mut settings = asked(config, given, before.as_ref());
    if settings.vm_type == "qemu" && config.fault("noQemuImg").is_some() {
        return fatal(
            "error in config: cannot use vmType: 'qemu', error: qemu-img not found, run 'brew install qemu' to install",
        );
    }
    let booted = read(&place.state_file());
    if let Some(fixed) = &booted {
        keep_fixed(&mut settings, fixed);
    }
    if given.text("save-config") != Some("false") {
        write(&file, &settings);
    }
    match place.instance() {
        Some(instance) if instance.status == "Running" => {
            warn("already running, ignoring");
            0
        }
        Some(instance) if instance.status == "Broken" => fatal("error starting vm: error at 'starting': exit status 1"),
        Some(instance) => resume(config, place, settings, booted.as_ref(), instance),
        None => create(config, place, given, &settings),
    }
}

fn resume(
    config: &Config,
    place: &Place,
    mut settings: Settings,
    booted: Option<&Settings>,
    mut instance: Instance,
) -> u8 {
    if let Some(booted) = booted {
        if settings.disk < booted.disk {
            warn("disk size cannot be reduced, ignoring...");
            settings.disk = booted.disk;
        } else if settings.disk > booted.disk && settings.runtime == "none" {
            // Without a runtime there is no such disk.
            warn("unable to resize disk: exit status 1");
            settings.disk = booted.disk;
        }
    }
    // Without a runtime a later boot takes what the first did not.
    let disk = settings.disk * GIB;
    if disk < instance.disk {
        return fatal("error starting vm: error at 'starting': disk shrinking is not supported");
    }
    instance.disk = disk;
    instance.cpus = settings.cpu;
    instance.memory = settings.memory * GIB;
    instance.rosetta = settings.rosetta && instance.vm_type == "vz";
    instance.boot(config, &place.lima, &place.name);
    place.save(&instance);
    write(&place.state_file(), &settings);
    0
}

fn create(config: &Config, place: &Place, given: &Given, settings: &Settings) -> u8 {
    let failed = |why: &str| fatal(&format!("error starting vm: error at 'creating and starting': {why}"));
    let Some(image) = given.text("disk-image") else {
        return failed("no route to the image");
    };
    if !given.on("force-disk-image") {
        return failed(
            "disk image must be downloaded from 'https://github.com/abiosoft/colima-core/releases/download/v0.10.4/ubuntu-none.raw.gz', hash failure: SHA512 checksum mismatch",
        );
    }
    warn("unable to validate disk image, but continuing as requested...");
    if config.fault("startFailsEarly").is_some() {
        return failed("exit status 1");
    }
    let native = settings.arch == config.arch && config.fault("emulated").is_none();
    let vz = settings.vm_type == "vz" && native;
    if !vz && settings.vm_type == "vz" && config.fault("noQemuImg").is_some() {
        return failed(&format!(
            "qemu is required to emulate {}: qemu-img not found",
            settings.arch
        ));
    }
    let mut instance = Instance {
        status: "Stopped".to_owned(),
        // Nobody says that it is an emulator now.
        vm_type: if vz { "vz" } else { "qemu" }.to_owned(),
        arch: settings.arch.clone(),
        cpus: settings.cpu,
        memory: settings.memory * GIB,
        // The first boot takes the root disk.
        disk: settings.root_disk * GIB,
        image: image.to_owned(),
        rosetta: settings.rosetta && vz,
        port_forwards: forward::of_colima(),
        ..Instance::default()
    };
    if vm::virtual_size(image) > instance.disk {
        return failed("disk shrinking is not supported");
    }
    if config.once("startHangs") {
        place.save(&instance);
        std::thread::sleep(std::time::Duration::from_secs(60));
    }
    if config.once("startFailsHalfWay") {
        place.save(&instance);
        return failed("exit status 1");
    }
    if config.once("startLeavesAFolder") {
        fs_err::create_dir_all(place.lima.join(&place.name)).unwrap();
        return failed("exit status 1");
    }
    instance.boot(config, &place.lima, &place.name);
    place.save(&instance);
    write(&place.state_file(), settings);
    0
}

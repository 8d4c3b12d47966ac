//! Stands in for `colima`, `limactl`, `lima`, `nix` and `sudo` in whole runs: it keeps state as the real ones do,
//! refuses the flags that they refuse on the host it plays, and ends 0 where they end 0 without having done anything.
//! Which host, versions and faults, a JSON file says that `FAKE_VM` names. It is never installed.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "what it prints is what it plays, and a broken world has to end its test"
)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Config {
    /// Calls are appended here, a line each.
    log: PathBuf,
    /// `linux` or `macos`.
    os: String,
    arch: String,
    colima: String,
    lima: String,
    /// The kubeconfig in the guest, by instance.
    #[serde(default)]
    kubeconfig: BTreeMap<String, PathBuf>,
    /// Where the host's port of an instance leads: `LISTEN` to `TARGET`.
    #[serde(default)]
    forward: BTreeMap<String, (String, String)>,
    /// Folder of projects by attribute, for `nix build`.
    #[serde(default)]
    projects: BTreeMap<String, PathBuf>,
    /// Words that turn a fault on, some with a number behind `=`.
    #[serde(default)]
    faults: Vec<String>,
}

/// An instance, as Lima keeps it in a folder of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Instance {
    status: String,
    vm_type: String,
    arch: String,
    cpus: u64,
    memory: u64,
    disk: u64,
    image: String,
    pid: Option<u32>,
    boots: u32,
    /// Seconds that its clock is behind.
    behind: u64,
    /// Times that its kubeconfig was asked for.
    asked: u32,
}

const GIB: u64 = 1 << 30;

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().collect();
    let name = Path::new(&words.remove(0))
        .file_name()
        .expect("a program has a name")
        .to_string_lossy()
        .into_owned();
    if words.first().is_some_and(|word| word == "__forward") {
        forward(&words[1], &words[2]);
    }
    let config = std::env::var("FAKE_VM").expect("FAKE_VM names the configuration");
    let config: Config = serde_json::from_str(&fs_err::read_to_string(config).unwrap()).unwrap();
    let version = words.iter().any(|word| word == "--version");
    if !version {
        let mut log = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&config.log)
            .unwrap();
        writeln!(
            log,
            "{name} {}",
            words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
        )
        .unwrap();
    }
    let code = match (name.as_str(), version) {
        ("colima", true) => say(&format!("colima version {}", config.colima)),
        ("limactl", true) => say(&format!("limactl version {}", config.lima)),
        ("nix", true) => say("nix (Nix) 2.30.1"),
        ("colima", false) => colima(&config, &words),
        ("limactl", false) => limactl(&config, &words),
        ("nix", false) => nix(&config, &words),
        ("sudo" | "security", _) => 0,
        _ => die("fake: no such program"),
    };
    ExitCode::from(code)
}

/// A word as a person would type it.
fn quote(word: &str) -> String {
    let bare = |character: char| character.is_ascii_alphanumeric() || "_@%+=:,./-".contains(character);
    if word.chars().all(bare) {
        word.to_owned()
    } else {
        shell_words::quote(word).into_owned()
    }
}

fn say(text: &str) -> u8 {
    println!("{text}");
    0
}

fn die(text: &str) -> u8 {
    eprintln!("{text}");
    1
}

fn fatal(text: &str) -> u8 {
    die(&format!("time=\"2026-01-01T00:00:00Z\" level=fatal msg={text:?}"))
}

fn warn(text: &str) {
    eprintln!("time=\"2026-01-01T00:00:00Z\" level=warning msg={text:?}");
}

impl Config {
    fn fault(&self, name: &str) -> Option<u64> {
        self.faults.iter().find_map(|fault| match fault.split_once('=') {
            Some((known, number)) if known == name => number.parse().ok(),
            None if fault == name => Some(1),
            _ => None,
        })
    }

    /// A fault that happens once in a world.
    fn once(&self, name: &str) -> bool {
        let mark = self.log.with_extension(name);
        if self.fault(name).is_none() || mark.exists() {
            return false;
        }
        fs_err::write(mark, "").unwrap();
        true
    }
}

fn lima_home() -> PathBuf {
    PathBuf::from(std::env::var("LIMA_HOME").expect("LIMA_HOME is set: else the user's own would be used"))
}

fn state_path(home: &Path, instance: &str) -> PathBuf {
    home.join(instance).join("fake.json")
}

fn load(home: &Path, instance: &str) -> Option<Instance> {
    let text = fs_err::read_to_string(state_path(home, instance)).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

fn save(home: &Path, name: &str, instance: &Instance) {
    let path = state_path(home, name);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, serde_json::to_string(instance).unwrap()).unwrap();
}

fn end_forward(instance: &mut Instance) {
    if let Some(pid) = instance
        .pid
        .take()
        .and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()))
    {
        let _gone_already = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Boots: the host's port then leads to the guest, unless something else has it, which only a log tells.
fn boot(config: &Config, name: &str, instance: &mut Instance) {
    instance.status = "Running".to_owned();
    instance.boots += 1;
    instance.asked = 0;
    if instance.boots == 1 {
        instance.behind = config.fault("clockBehind").unwrap_or(0);
    }
    if let Some((listen, target)) = config.forward.get(name)
        && within_a_second(|| TcpListener::bind(listen).is_ok())
    {
        #[expect(
            clippy::disallowed_methods,
            clippy::zombie_processes,
            reason = "it plays the host agent, which outlives the call that starts it"
        )]
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["__forward", listen, target])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        instance.pid = Some(child.id());
        assert!(
            within_a_second(|| TcpStream::connect(listen).is_ok()),
            "fake: nothing forwards"
        );
    }
}

/// A process that was killed a moment ago may hold its port for another moment.
fn within_a_second(holds: impl Fn() -> bool) -> bool {
    (0..50).any(|_| {
        holds() || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            false
        }
    })
}

/// Hands connections on, until it is killed.
fn forward(listen: &str, target: &str) -> ! {
    let listener = TcpListener::bind(listen).unwrap();
    loop {
        let Ok((near, _)) = listener.accept() else { continue };
        let Ok(far) = TcpStream::connect(target) else { continue };
        let (mut near_in, mut far_out) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let (mut near_out, mut far_in) = (near, far);
        std::thread::spawn(move || {
            let _closed = std::io::copy(&mut near_in, &mut far_out);
            let _closed = far_out.shutdown(std::net::Shutdown::Write);
        });
        std::thread::spawn(move || {
            let _closed = std::io::copy(&mut far_in, &mut near_out);
            let _closed = near_out.shutdown(std::net::Shutdown::Write);
        });
    }
}

/// `--flag value`, `--flag=value` and bare words, of flags that the host knows.
fn flags(words: &[String], valued: &[&str], bare: &[&str]) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let Some(flag) = word.strip_prefix("--") else {
            found.insert(format!("word{}", found.len()), word.clone());
            continue;
        };
        let (flag, value) = match flag.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (flag, None),
        };
        if bare.contains(&flag) {
            found.insert(flag.to_owned(), value.unwrap_or_else(|| "true".to_owned()));
        } else if valued.contains(&flag) {
            let value = value
                .or_else(|| rest.next().cloned())
                .ok_or(format!("flag needs an argument: --{flag}"))?;
            found.insert(flag.to_owned(), value);
        } else {
            return Err(format!("unknown flag: --{flag}"));
        }
    }
    Ok(found)
}

const START_VALUED: [&str; 10] = [
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
];

fn colima(config: &Config, words: &[String]) -> u8 {
    // A folder that does not exist is ignored, and the user's own is taken.
    let home = PathBuf::from(std::env::var("COLIMA_HOME").expect("COLIMA_HOME is set"));
    assert!(
        home.is_dir(),
        "fake: COLIMA_HOME does not exist, the user's own profiles would be used"
    );
    for program in ["lima", "limactl"] {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|folder| folder.join(program).exists()) {
            return die("Error: dependency check failed for VM: lima not found, run 'brew install lima' to install");
        }
    }
    let lima = home.join("_lima");
    let mut valued = START_VALUED.to_vec();
    let mut bare = vec!["template", "binfmt", "activate", "ssh-config", "force-disk-image"];
    valued.push("disk-image");
    if config.os == "macos" {
        valued.push("vm-type");
        if config.arch == "aarch64" {
            bare.push("vz-rosetta");
        }
    }
    let (valued, bare): (&[&str], &[&str]) = match words[0].as_str() {
        "start" => (&valued, &bare),
        "stop" => (&["profile"], &["force"]),
        "delete" => (&["profile"], &["force", "data"]),
        other => return die(&format!("unknown command {other:?} for \"colima\"")),
    };
    let given = match flags(&words[1..], valued, bare) {
        Ok(given) => given,
        Err(error) => return die(&format!("Usage:\n  colima {}\n\nError: {error}", words[0])),
    };
    let profile = given.get("profile").cloned().unwrap_or_else(|| "default".to_owned());
    let name = format!("colima-{profile}");
    match words[0].as_str() {
        "start" => colima_start(config, &home, &lima, &profile, &name, &given),
        "stop" => match load(&lima, &name) {
            Some(mut instance) if instance.status != "Stopped" => {
                if instance.status == "Broken" && !given.contains_key("force") {
                    return fatal("error stopping vm: exit status 1");
                }
                end_forward(&mut instance);
                instance.status = "Stopped".to_owned();
                save(&lima, &name, &instance);
                0
            }
            None if given.contains_key("force") => fatal("error stopping vm: exit status 1"),
            _ => {
                warn("not running");
                0
            }
        },
        _ => {
            if !given.contains_key("force") {
                print!("are you sure you want to delete colima [profile={profile}] and all settings? [y/N] ");
                return 0;
            }
            if config.fault("deleteNothing").is_some() {
                return 0;
            }
            if let Some(mut instance) = load(&lima, &name) {
                end_forward(&mut instance);
                fs_err::remove_dir_all(lima.join(&name)).unwrap();
            }
            let _absent_is_fine = fs_err::remove_dir_all(home.join(&profile));
            0
        }
    }
}

fn colima_start(
    config: &Config,
    home: &Path,
    lima: &Path,
    profile: &str,
    name: &str,
    given: &BTreeMap<String, String>,
) -> u8 {
    let text = |flag: &str, default: &str| given.get(flag).cloned().unwrap_or_else(|| default.to_owned());
    let number = |flag: &str, default: u64| given.get(flag).map_or(default, |value| value.parse().unwrap());
    let before = load(lima, name);
    let mut arch = text("arch", &config.arch);
    let (cpus, memory) = (number("cpus", 2), number("memory", 2));
    let mut disk = number("disk", 100);
    if let Some(image) = given.get("disk-image") {
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
    if let Some(before) = &before {
        if before.arch != arch {
            warn("'architecture' cannot be updated after initial setup, discarded");
            arch.clone_from(&before.arch);
        }
        if before.disk > disk * GIB {
            warn("disk size cannot be reduced, ignoring...");
            disk = before.disk / GIB;
        }
    }
    let vz = config.os == "macos" && text("vm-type", "vz") == "vz";
    // Its file is written before anything is started.
    fs_err::create_dir_all(home.join(profile)).unwrap();
    fs_err::write(
        home.join(profile).join("colima.yaml"),
        format!(
            "cpu: {cpus}\nmemory: {memory}\ndisk: {disk}\narch: {arch}\nruntime: {}\nvmType: {}\nmountType: {}\n",
            text("runtime", "docker"),
            if vz { "vz" } else { "qemu" },
            text("mount-type", "sshfs"),
        ),
    )
    .unwrap();
    match before {
        Some(before) if before.status == "Running" => {
            warn("already running, ignoring");
            0
        }
        Some(before) if before.status == "Broken" => fatal("error starting vm: error at 'starting': exit status 1"),
        Some(mut before) => {
            before.cpus = cpus;
            before.memory = memory * GIB;
            // Without a runtime a data disk would grow that is not there.
            if disk * GIB > before.disk {
                warn("unable to resize disk: no such disk");
            }
            boot(config, name, &mut before);
            save(lima, name, &before);
            0
        }
        None => {
            let Some(image) = given.get("disk-image") else {
                return fatal("error starting vm: error at 'creating and starting': no route to the image");
            };
            if !given.contains_key("force-disk-image") {
                return fatal(
                    "error starting vm: error at 'creating and starting': disk image must be downloaded from 'https://github.com/abiosoft/colima-core/releases/download/v0.10.4/ubuntu-none.raw.gz', hash failure: SHA512 checksum mismatch",
                );
            }
            if config.fault("startFailsEarly").is_some() {
                return fatal("error starting vm: error at 'creating and starting': exit status 1");
            }
            let mut instance = Instance {
                status: "Stopped".to_owned(),
                // Nobody says that it is an emulator now.
                vm_type: if vz && arch == config.arch { "vz" } else { "qemu" }.to_owned(),
                arch,
                cpus,
                memory: memory * GIB,
                // The first boot takes the root disk.
                disk: number("root-disk", 20) * GIB,
                image: image.clone(),
                pid: None,
                boots: 0,
                behind: 0,
                asked: 0,
            };
            if config.fault("emulated").is_some() {
                instance.vm_type = "qemu".to_owned();
            }
            if config.once("startFailsHalfWay") {
                save(lima, name, &instance);
                return fatal("error starting vm: error at 'creating and starting': exit status 1");
            }
            boot(config, name, &mut instance);
            save(lima, name, &instance);
            0
        }
    }
}

fn limactl(config: &Config, words: &[String]) -> u8 {
    let home = lima_home();
    match words[0].as_str() {
        "list" => list(&home, &words[1..]),
        "shell" => shell(config, &home, &words[1..]),
        "start" => lima_start(config, &home, &words[1..]),
        "stop" | "delete" | "edit" => {
            let given = match flags(&words[1..], &["set"], &["force", "tty"]) {
                Ok(given) => given,
                Err(error) => return fatal(&error),
            };
            let name = given.iter().find(|(key, _)| key.starts_with("word")).unwrap().1;
            let Some(mut instance) = load(&home, name) else {
                if words[0] == "delete" && given.contains_key("force") {
                    return 0;
                }
                return fatal(&format!("instance {name:?} does not exist"));
            };
            match words[0].as_str() {
                "edit" => {
                    if instance.status == "Running" {
                        return fatal("cannot edit a running instance");
                    }
                    edit(&mut instance, &given["set"]);
                }
                "stop" => {
                    if instance.status != "Running" && !given.contains_key("force") {
                        return fatal(&format!("expected status \"Running\", got {:?}", instance.status));
                    }
                    end_forward(&mut instance);
                    instance.status = "Stopped".to_owned();
                }
                _ => {
                    end_forward(&mut instance);
                    fs_err::remove_dir_all(home.join(name)).unwrap();
                    return 0;
                }
            }
            save(&home, name, &instance);
            0
        }
        other => fatal(&format!("unknown command {other:?} for \"limactl\"")),
    }
}

fn gib(value: &serde_json::Value) -> u64 {
    value.as_str().unwrap().trim_end_matches("GiB").parse::<u64>().unwrap() * GIB
}

fn edit(instance: &mut Instance, set: &str) {
    for part in set.split(" | ") {
        let (key, value) = part.split_once(" = ").unwrap();
        match key {
            ".cpus" => instance.cpus = value.parse().unwrap(),
            ".memory" => instance.memory = gib(&serde_json::from_str(value).unwrap()),
            ".disk" => instance.disk = gib(&serde_json::from_str(value).unwrap()),
            other => assert!(other.starts_with(".vmOpts."), "fake: {other}"),
        }
    }
}

fn lima_start(config: &Config, home: &Path, words: &[String]) -> u8 {
    let given = match flags(words, &["name"], &["tty"]) {
        Ok(given) => given,
        Err(error) => return fatal(&error),
    };
    let word = given.iter().find(|(key, _)| key.starts_with("word")).unwrap().1;
    let name = given.get("name").unwrap_or(word);
    let mut instance = match load(home, name) {
        Some(instance) => instance,
        None if given.contains_key("name") => {
            let template: serde_json::Value = serde_json::from_str(&fs_err::read_to_string(word).unwrap()).unwrap();
            let arch = template["arch"].as_str().unwrap();
            if template["vmType"] == "vz" && arch != config.arch {
                return fatal(&format!("unsupported arch: `{arch}`"));
            }
            Instance {
                status: "Stopped".to_owned(),
                vm_type: template["vmType"].as_str().unwrap().to_owned(),
                arch: arch.to_owned(),
                cpus: template["cpus"].as_u64().unwrap(),
                memory: gib(&template["memory"]),
                disk: gib(&template["disk"]),
                image: template["images"][0]["location"].as_str().unwrap().to_owned(),
                pid: None,
                boots: 0,
                behind: 0,
                asked: 0,
            }
        }
        None => return fatal(&format!("instance {name:?} does not exist")),
    };
    if instance.status != "Running" {
        boot(config, name, &mut instance);
        save(home, name, &instance);
    }
    0
}

fn list(home: &Path, words: &[String]) -> u8 {
    assert_eq!(words[0], "--json");
    let mut names: Vec<String> = fs_err::read_dir(home)
        .map(|entries| {
            entries
                .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
                .collect()
        })
        .unwrap_or_default();
    names.retain(|name| !name.starts_with('_'));
    names.sort();
    if let Some(wanted) = words.get(1) {
        names.retain(|name| name == wanted);
        if names.is_empty() {
            eprintln!("level=warning msg=\"No instance matching {wanted} found.\"");
            return fatal("unmatched instances");
        }
    }
    for name in names {
        let Some(instance) = load(home, &name) else { continue };
        let folder = home.join(&name);
        println!(
            "{}",
            json!({
                "name": name, "hostname": format!("lima-{name}"), "status": instance.status, "dir": folder,
                "vmType": instance.vm_type, "arch": instance.arch, "cpus": instance.cpus,
                "memory": instance.memory, "disk": instance.disk, "config": {}, "sshAddress": "127.0.0.1",
                "protected": false, "limaVersion": "2.2.0",
            })
        );
    }
    0
}

fn shell(config: &Config, home: &Path, words: &[String]) -> u8 {
    assert_eq!(
        words[..2],
        ["--workdir", "/"],
        "fake: else the host's folder is looked for in the guest"
    );
    let name = &words[2];
    let Some(mut instance) = load(home, name) else {
        return fatal(&format!("instance {name:?} does not exist"));
    };
    if instance.status != "Running" {
        return fatal(&format!(
            "instance {name:?} is stopped, run `limactl start {name}` to start the instance"
        ));
    }
    if config.fault("sshFails").is_some() {
        eprintln!("kex_exchange_identification: read: Connection reset by peer");
        return 255;
    }
    let words: Vec<&str> = words[3..].iter().map(String::as_str).collect();
    match words.as_slice() {
        ["date", "+%s"] => {
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_secs();
            say(&(now - instance.behind).to_string())
        }
        ["sudo", "hwclock", "--hctosys"] => {
            instance.behind = 0;
            save(home, name, &instance);
            0
        }
        ["sudo", "test", "-s", "/etc/rancher/k3s/k3s.yaml"] => {
            instance.asked += 1;
            save(home, name, &instance);
            let late = config.fault("kubeconfigLate").unwrap_or(0);
            u8::from(u64::from(instance.asked) <= late || !config.kubeconfig.contains_key(name))
        }
        ["sudo", "cat", "/etc/rancher/k3s/k3s.yaml"] => say(&fs_err::read_to_string(&config.kubeconfig[name]).unwrap()),
        ["sudo", "k3s", "ctr", "images", "import", "-"] => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).unwrap();
            say(&format!("imported {} bytes", bytes.len()))
        }
        ["sh", "-c", line] if line.contains("base64 -d") => u8::from(config.fault("rosettaFails").is_some()),
        ["sh", "-c", line] if line.contains("/run/booted-system/kernel") => {
            let kernel = match config.fault("otherKernel") {
                None => config.log.with_extension("system").join("kernel"),
                Some(_) => PathBuf::from("/nix/store/other/bzImage"),
            };
            say(&json!({"kernel": kernel}).to_string())
        }
        [
            "sudo",
            "nix-env",
            "--profile",
            "/nix/var/nix/profiles/system",
            "--set",
            _,
        ]
        | [
            "sudo",
            "/nix/var/nix/profiles/system/bin/switch-to-configuration",
            "switch",
        ] => 0,
        ["exit", number] => number.parse().unwrap(),
        other => die(&format!("fake: nothing in the guest for {other:?}")),
    }
}

fn nix(config: &Config, words: &[String]) -> u8 {
    let words: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| {
            ![
                "--extra-experimental-features",
                "nix-command flakes",
                "--no-write-lock-file",
            ]
            .contains(word)
        })
        .collect();
    match words.as_slice() {
        ["build", attribute, "--out-link", link] => {
            let attribute = attribute.trim_start_matches(".#");
            let target = match config.projects.get(attribute) {
                Some(project) => project.clone(),
                None if attribute.ends_with("k3s-local-image") => {
                    let folder = config
                        .log
                        .with_extension(format!("image{}", config.fault("image").unwrap_or(0)));
                    fs_err::create_dir_all(&folder).unwrap();
                    let mut content = b"QFI\xfb\0\0\0\x03".to_vec();
                    content.resize(24, 0);
                    content.extend((4 * GIB).to_be_bytes());
                    content.extend(config.fault("image").unwrap_or(0).to_be_bytes());
                    fs_err::write(folder.join("nixos.qcow2"), content).unwrap();
                    folder
                }
                None if attribute.ends_with("system.build.toplevel") => {
                    let folder = config.log.with_extension("system");
                    fs_err::create_dir_all(&folder).unwrap();
                    fs_err::write(folder.join("kernel"), "").unwrap();
                    folder
                }
                None => return die(&format!("error: flake does not provide attribute '{attribute}'")),
            };
            // As Nix does.
            fs_err::create_dir_all(Path::new(link).parent().unwrap()).unwrap();
            let _absent_is_fine = fs_err::remove_file(link);
            std::os::unix::fs::symlink(target, link).unwrap();
            0
        }
        ["copy", "--no-check-sigs", "--to", to, _] => {
            assert!(to.starts_with("ssh-ng://lima-"), "fake: {to}");
            let options = std::env::var("NIX_SSHOPTS").unwrap();
            assert!(
                options.starts_with("-F ") && options.ends_with("/ssh.config"),
                "fake: {options}"
            );
            0
        }
        ["eval", "--json", _] => die("error: the fake evaluates nothing"),
        ["eval", "--raw", _] => {
            print!("6.12.30");
            0
        }
        [.., "show-config", "--json"] => say(r#"{"builders":{"value":""}}"#),
        other => die(&format!("fake: nix {other:?}")),
    }
}

//! A VM: what is kept of it, what its boot does, and what commands in it answer.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Config, GIB, die, fatal, forward, nix, say};

/// An instance, as Lima keeps it in a folder of its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Instance {
    pub(crate) status: String,
    pub(crate) vm_type: String,
    pub(crate) arch: String,
    pub(crate) cpus: u64,
    pub(crate) memory: u64,
    pub(crate) disk: u64,
    pub(crate) image: String,
    pub(crate) rosetta: bool,
    /// Rules of its own.
    pub(crate) port_forwards: Vec<Value>,
    /// What is reached from the host, since its last boot.
    pub(crate) reached: Vec<String>,
    pub(crate) pid: Option<u32>,
    pub(crate) boots: u32,
    /// Seconds that its clock is behind.
    pub(crate) behind: u64,
    /// Times that its kubeconfig was asked for.
    pub(crate) asked: u32,
    /// Why Lima cannot read its settings; it then says nothing of them.
    #[serde(default)]
    pub(crate) unread: Option<String>,
}

fn state_path(home: &Path, instance: &str) -> PathBuf {
    home.join(instance).join("fake.json")
}

pub(crate) fn load(home: &Path, instance: &str) -> Option<Instance> {
    let text = fs_err::read_to_string(state_path(home, instance)).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

impl Instance {
    pub(crate) fn save(&self, home: &Path, name: &str) {
        let path = state_path(home, name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, serde_json::to_string(self).unwrap()).unwrap();
    }

    /// Stops it, however it is.
    pub(crate) fn end(&mut self) {
        self.status = "Stopped".to_owned();
        self.reached.clear();
        let pid = self.pid.take();
        if let Some(pid) = pid.and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())) {
            let _gone_already = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    /// Boots it.
    pub(crate) fn boot(&mut self, config: &Config, home: &Path, name: &str) {
        self.status = "Running".to_owned();
        self.boots += 1;
        self.asked = 0;
        if self.boots == 1 {
            self.behind = config.fault("clockBehind").unwrap_or(0);
        }
        let mut rules = forward::overrides(home);
        rules.extend(self.port_forwards.iter().cloned());
        (self.reached, self.pid) = forward::begin(config, name, &rules);
    }
}

/// Bytes of the disk that an image has, as its header says.
pub(crate) fn virtual_size(image: &str) -> u64 {
    let bytes = fs_err::read(image).unwrap();
    assert_eq!(&bytes[..4], b"QFI\xfb", "fake: no qcow2");
    u64::from_be_bytes(bytes[24..32].try_into().unwrap())
}

/// GiB as Lima's files write it.
pub(crate) fn gib(value: &Value) -> u64 {
    value.as_str().unwrap().trim_end_matches("GiB").parse::<u64>().unwrap() * GIB
}

/// A command in the VM.
pub(crate) fn shell(config: &Config, home: &Path, name: &str, words: &[String]) -> u8 {
    let Some(mut instance) = load(home, name) else {
        return fatal(&format!(
            "instance `{name}` does not exist, run `limactl create {name}` to create a new instance"
        ));
    };
    if instance.status != "Running" {
        return fatal(&format!(
            "instance `{name}` is stopped, run `limactl start {name}` to start the instance"
        ));
    }
    if config.fault("sshFails").is_some() {
        eprintln!("kex_exchange_identification: read: Connection reset by peer");
        return 255;
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
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
            instance.save(home, name);
            0
        }
        ["sudo", "sh", "-c", line] if line.starts_with("test -s /etc/rancher/k3s/k3s.yaml || ") => {
            instance.asked += 1;
            instance.save(home, name);
            let late = config.fault("kubeconfigLate").unwrap_or(0);
            if u64::from(instance.asked) > late && config.kubeconfig.contains_key(name) {
                return 0;
            }
            die("k3s is activating and has written no kubeconfig")
        }
        ["sudo", "cat", "/etc/rancher/k3s/k3s.yaml"] => say(&fs_err::read_to_string(&config.kubeconfig[name]).unwrap()),
        ["sudo", "k3s", "ctr", "images", "import", "-"] => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).unwrap();
            say(&format!("imported {} bytes", bytes.len()))
        }
        ["sh", "-c", line] if line.contains("base64 -d") => {
            u8::from(!instance.rosetta || config.fault("rosettaFails").is_some())
        }
        ["sh", "-c", line] if line.contains("/run/booted-system/kernel") => {
            let system = config.log.with_extension("system");
            let kernel = match config.fault("otherKernel") {
                None => system.join("kernel"),
                Some(_) => PathBuf::from("/nix/store/other/bzImage"),
            };
            let disks = match config.fault("otherDisks") {
                None => nix::DISKS,
                Some(_) => "/dev/vda1 /;",
            };
            say(&json!({"kernel": kernel, "disks": disks}).to_string())
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
        other => die(&format!("fake: nothing in the VM for {other:?}")),
    }
}

//! `limactl`: instances in `LIMA_HOME`, and the one list that tells the truth about them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::flags::Given;
use crate::vm::{self, Instance, gib, load};
use crate::{Config, fatal, warn};

fn home() -> PathBuf {
    PathBuf::from(std::env::var("LIMA_HOME").expect("LIMA_HOME is set: else the user's own would be used"))
}

pub(crate) fn run(config: &Config, words: &[String]) -> u8 {
    let home = home();
    let (valued, bare): (&[&str], &[&str]) = match words[0].as_str() {
        "list" => return list(config, &home, &words[1..]),
        "shell" => {
            assert_eq!(
                words[1..3],
                ["--workdir", "/"],
                "fake: else the host's folder is looked for in the VM"
            );
            return vm::shell(config, &home, &words[3], &words[4..]);
        }
        "start" => (&["name"], &["tty"]),
        "stop" | "delete" => (&[], &["force"]),
        "edit" => (&["set"], &["tty"]),
        other => return fatal(&format!("unknown command {other:?} for \"limactl\"")),
    };
    let given = match Given::read(&words[1..], valued, bare) {
        Ok(given) => given,
        Err(error) => return fatal(&error),
    };
    match words[0].as_str() {
        "start" => start(config, &home, &given),
        "stop" => stop(&home, &given),
        "edit" => edit(&home, &given),
        _ => delete(&home, &given),
    }
}

fn missing(name: &str) -> u8 {
    fatal(&format!(
        "instance `{name}` does not exist, run `limactl create {name}` to create a new instance"
    ))
}

fn stop(home: &Path, given: &Given) -> u8 {
    let name = &given.words[0];
    let Some(mut instance) = load(home, name) else {
        return missing(name);
    };
    if instance.status != "Running" && !given.on("force") {
        return fatal(&format!(
            "expected status `Running`, got `{}` (maybe use `limactl stop -f`?)",
            instance.status
        ));
    }
    instance.end();
    instance.save(home, name);
    0
}

fn delete(home: &Path, given: &Given) -> u8 {
    let name = &given.words[0];
    let Some(mut instance) = load(home, name) else {
        warn(&format!("Ignoring non-existent instance `{name}`"));
        return 0;
    };
    if instance.status != "Stopped" && !given.on("force") {
        return fatal(&format!("expected status `Stopped`, got `{}`", instance.status));
    }
    instance.end();
    fs_err::remove_dir_all(home.join(name)).unwrap();
    0
}

fn edit(home: &Path, given: &Given) -> u8 {
    let name = &given.words[0];
    let Some(mut instance) = load(home, name) else {
        return fatal(&format!("instance `{name}` not found"));
    };
    if instance.status == "Running" {
        return fatal("cannot edit a running instance");
    }
    for part in given.text("set").unwrap().split(" | ") {
        let (key, value) = part.split_once(" = ").unwrap();
        match key {
            ".cpus" => instance.cpus = value.parse().unwrap(),
            ".memory" => instance.memory = gib(&serde_json::from_str(value).unwrap()),
            ".disk" => {
                let disk = gib(&serde_json::from_str(value).unwrap());
                if disk < instance.disk {
                    return fatal("disk shrinking is not supported");
                }
                instance.disk = disk;
            }
            ".vmOpts.vz.rosetta.enabled" => instance.rosetta = value == "true",
            other => panic!("fake: {other}"),
        }
    }
    instance.save(home, name);
    0
}

fn start(config: &Config, home: &Path, given: &Given) -> u8 {
    let word = &given.words[0];
    let name = given.text("name").unwrap_or(word);
    let mut instance = match load(home, name) {
        Some(_) if given.text("name").is_some() => return fatal(&format!("instance `{name}` already exists")),
        Some(instance) => instance,
        None if given.text("name").is_some() => match create(config, word) {
            Ok(instance) => instance,
            Err(error) => return fatal(&error),
        },
        None => return missing(name),
    };
    if instance.status == "Running" {
        eprintln!("level=info msg=\"The instance `{name}` is already running.\"");
        return 0;
    }
    instance.boot(config, home, name);
    instance.save(home, name);
    0
}

/// An instance of a template.
fn create(config: &Config, template: &str) -> Result<Instance, String> {
    let template: Value = serde_json::from_str(&fs_err::read_to_string(template).unwrap()).unwrap();
    let arch = template["arch"].as_str().unwrap();
    if template["vmType"] == "vz" && arch != config.arch {
        return Err(format!("unsupported arch: `{arch}`"));
    }
    let image = template["images"][0]["location"].as_str().unwrap();
    let disk = gib(&template["disk"]);
    if vm::virtual_size(image) > disk {
        return Err("disk shrinking is not supported".to_owned());
    }
    Ok(Instance {
        status: "Stopped".to_owned(),
        vm_type: template["vmType"].as_str().unwrap().to_owned(),
        arch: arch.to_owned(),
        cpus: template["cpus"].as_u64().unwrap(),
        memory: gib(&template["memory"]),
        disk,
        image: image.to_owned(),
        rosetta: template["vmOpts"]["vz"]["rosetta"]["enabled"] == true,
        port_forwards: template["portForwards"].as_array().cloned().unwrap_or_default(),
        ..Instance::default()
    })
}

/// Names of what is there; a folder alone is enough for Lima.
fn names(home: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs_err::read_dir(home)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('_'))
        .collect();
    names.sort();
    names
}

/// What Lima lists of an instance.
pub(crate) fn listed(config: &Config, home: &Path, name: &str) -> Value {
    let folder = home.join(name);
    let Some(instance) = load(home, name) else {
        // Half of an instance: nothing is known but that it is broken.
        return json!({
            "name": name, "hostname": "", "status": "Broken", "dir": folder, "vmType": "", "arch": "",
            "protected": false, "limaVersion": "", "errors": [{"Op": "open", "Path": folder.join("lima.yaml"), "Err": 2}],
        });
    };
    if let Some(why) = &instance.unread {
        // Its settings cannot be read: neither its state nor its protection is looked at.
        return json!({
            "name": name, "hostname": format!("lima-{name}"), "status": "", "dir": folder, "vmType": "", "arch": "",
            "protected": false, "limaVersion": "", "errors": [why],
        });
    }
    let mut line = json!({
        "name": name, "hostname": format!("lima-{name}"), "status": instance.status, "dir": folder,
        "vmType": instance.vm_type, "arch": instance.arch, "cpus": instance.cpus, "memory": instance.memory,
        "disk": instance.disk, "network": [{"lima": "user-v2", "interface": "lima0"}], "sshLocalPort": 50022,
        "sshConfigFile": folder.join("ssh.config"), "config": {}, "sshAddress": "127.0.0.1",
        "protected": false, "limaVersion": config.lima,
    });
    if instance.status != "Running" || config.fault("addressEmpty").is_some() {
        line.as_object_mut().unwrap().remove("sshAddress");
    }
    line
}

fn list(config: &Config, home: &Path, words: &[String]) -> u8 {
    assert_eq!(words[0], "--json");
    if config.fault("listFails").is_some() {
        return fatal("unable to load instance: input/output error");
    }
    let mut names = names(home);
    if let Some(wanted) = words.get(1) {
        names.retain(|name| name == wanted);
        if names.is_empty() {
            warn(&format!("No instance matching {wanted} found."));
            return fatal("unmatched instances");
        }
    } else if names.is_empty() {
        warn("No instance found. Run `limactl create` to create an instance.");
    }
    for name in names {
        println!("{}", listed(config, home, &name));
    }
    0
}

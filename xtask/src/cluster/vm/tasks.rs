//! Tasks about VMs: their folder, comparison with the platform config, kubeconfig and system.
//! They start nothing; what Lima said is in the files that they read.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::image::Image;
use super::{Driver, Protection, Record, Saved, VmRequirements, VmState, host};
use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::files::write;
use crate::base::ui::Status;
use crate::call::Caller;
use crate::cluster::vm;

/// Chooses and makes the short folder of this checkout's VMs, and says there what of a VM its host reaches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VmHome {
    /// API ports of every VM; the same file is read for all of them.
    pub api_ports: Vec<u16>,
    /// JSON file with `home`, `lima` and `cache`.
    pub to: Utf8PathBuf,
}

impl VmHome {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        on.write_json(&self.to, &make_home(on.root, &self.api_ports)?)
    }
}

/// What differs between the platform config, what is saved of a VM, and the VM that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VmCompare {
    /// What the platform config asks for.
    pub wanted: VmRequirements,
    /// `limactl list --json`.
    pub listing: Utf8PathBuf,
    /// What `VmHome` wrote.
    pub home: Utf8PathBuf,
    /// Image that a new VM would boot.
    pub image: Utf8PathBuf,
    /// What is remembered of the VM.
    pub record: Utf8PathBuf,
    /// JSON file of the type [`vm::Drift`].
    pub to: Utf8PathBuf,
}

impl VmCompare {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let wanted = &self.wanted;
        let saved = saved_profile(on, &self.home, wanted)?;
        let image = image_if_any(on, &self.image)?;
        let record = Record::read(&on.root.join(&self.record))?;
        let instance = vm::instance(&on.text(&self.listing)?, &wanted.instance)?;
        let drift = vm::compare(wanted, instance.as_ref(), &saved, image.as_ref(), record.as_ref());
        // What this checkout began and never ended is swept by its own record, whatever Lima finds of it.
        if let Some(instance) = instance.filter(|_| !drift.half_made) {
            instance.inspected()?;
        }
        for field in &drift.fields {
            on.ui.status(Status::Stale, field.words());
        }
        if drift.half_made {
            on.ui.status(
                Status::Stale,
                format!("an earlier start of `{}` never came to its end", wanted.instance),
            );
        }
        on.write_json(&self.to, &drift)
    }
}

/// Whether the VM that runs is the one that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VmFits {
    /// What the platform config asks for.
    pub wanted: VmRequirements,
    /// `limactl list --json`.
    pub listing: Utf8PathBuf,
}

impl VmFits {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let instance = vm::instance(&on.text(&self.listing)?, &self.wanted.instance)?;
        let note = vm::fits(&self.wanted, instance.as_ref())?;
        on.ui.status(Status::Checked, note);
        Ok(())
    }
}

/// Whether a VM may be deleted; what is lost with it is said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VmDeletion {
    /// Name of the instance.
    pub instance: String,
    /// `limactl list --json`.
    pub listing: Utf8PathBuf,
}

impl VmDeletion {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        if let Some(found) = vm::instance(&on.text(&self.listing)?, &self.instance)? {
            on.ui
                .status(Status::Checked, vm::deletion(&found, Protection::look(&found))?);
        }
        Ok(())
    }
}

/// Whether a VM that was deleted is gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VmGone {
    /// Name of the instance.
    pub instance: String,
    /// `limactl list --json`.
    pub listing: Utf8PathBuf,
}

impl VmGone {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        match vm::instance(&on.text(&self.listing)?, &self.instance)? {
            None => Ok(()),
            Some(left) => Err(Failure::new(
                Kind::Step,
                format!(
                    "`{}` is still there after it was deleted, and is `{}`",
                    self.instance, left.status
                ),
            )
            .hinted("end what uses it, then run the same command again")),
        }
    }
}

/// Remembers which image a VM boots, and whether it was made to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VmRecord {
    /// What the platform config asks for.
    pub wanted: VmRequirements,
    /// Image that a new VM boots.
    pub image: Utf8PathBuf,
    /// How far it is.
    pub state: VmState,
    /// JSON file of the type [`Record`].
    pub to: Utf8PathBuf,
}

impl VmRecord {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let before = Record::read(&on.root.join(&self.to))?;
        let image = image_if_any(on, &self.image)?;
        on.write_json(&self.to, &Record::next(&self.wanted, self.state, image, before))
    }
}

/// The kubeconfig of k3s under our own names and address; only one that carries its own authority.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VmKubeconfig {
    /// `/etc/rancher/k3s/k3s.yaml` of the VM.
    pub from: Utf8PathBuf,
    /// Name of its cluster, user and context.
    pub context: String,
    /// Port of the API on the host's loopback.
    pub port: u16,
    /// Kubeconfig, mode 0600.
    pub to: Utf8PathBuf,
}

impl VmKubeconfig {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let value = crate::base::formats::yaml::read_one(&on.text(&self.from)?)
            .or_fail(Kind::Step, "the kubeconfig of the VM cannot be read")?;
        let own = vm::kubeconfig(&value, &self.context, self.port)?;
        on.write(&self.to, crate::base::formats::yaml::write(&own).as_bytes(), 0o600)
    }
}

/// Where a built system and its kernel lie, which disks it wants, and how ssh reaches the VMs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VmSystem {
    /// Link to the system.
    pub link: Utf8PathBuf,
    /// JSON file with `path`, `kernel`, `disks`, and `ssh` by instance.
    pub to: Utf8PathBuf,
}

impl VmSystem {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let path = on.root.join(&self.link).canonicalize_utf8()?;
        let kernel = path.join("kernel").canonicalize_utf8()?;
        let disks = vm::disks(&fs_err::read_to_string(path.join("etc/fstab"))?);
        let home = host::vms_folder(on.root)?;
        let mut ssh = serde_json::Map::new();
        for instance in fs_err::read_dir(home.join("_lima"))? {
            let name = instance?.file_name().to_string_lossy().into_owned();
            if !name.starts_with('_') {
                let file = home.join("_lima").join(&name).join("ssh.config");
                ssh.insert(name, json!(format!("-F {}", crate::command::quote(file.as_str()))));
            }
        }
        on.write_json(
            &self.to,
            &json!({"path": path, "kernel": kernel, "disks": disks, "ssh": ssh}),
        )
    }
}

/// Whether a VM booted the kernel that a system has, and has its disks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VmSystemFits {
    /// What `VmSystem` wrote.
    pub system: Utf8PathBuf,
    /// JSON file with `kernel` and `disks`, as the VM says them.
    pub booted: Utf8PathBuf,
}

impl VmSystemFits {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let (new, old): (Value, Value) = (on.read(&self.system)?, on.read(&self.booted)?);
        let why = if new["kernel"] != old["kernel"] {
            format!(
                "the VM runs kernel {}, the new system has {}",
                old["kernel"], new["kernel"]
            )
        } else if new["disks"] != old["disks"] {
            format!(
                "the VM has the disks {}, the new system wants {}",
                old["disks"], new["disks"]
            )
        } else {
            return Ok(());
        };
        Err(Failure::refused(format!("{why}; nothing was switched"))
            .hinted("make the VM anew with the new image: `cargo xtask image build`, then `cargo xtask local-up`"))
    }
}

/// Makes the folder of this checkout's VMs with what every instance is given; what `home_file` says of it.
fn make_home(root: &Utf8Path, api_ports: &[u16]) -> Result<Value> {
    use std::os::unix::fs::DirBuilderExt;

    let home = host::vms_folder(root)?;
    // Colima ignores a folder that does not exist and takes the user's own.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(home.join("_lima/_config"))
        .or_fail(Kind::Preflight, format!("cannot make the folder of VMs `{home}`"))
        .map_err(|failure| failure.hinted(format!("name another: `{}=/short/path`", host::HOME_VARIABLE)))?;
    let overrides = serde_json::to_string_pretty(&super::lima::overrides(api_ports)).expect("plain data");
    write(
        &home.join("_lima/_config/override.yaml"),
        format!("# Written by `cargo xtask local-up`.\n{overrides}\n").as_bytes(),
        0o600,
    )?;
    Ok(json!({"home": home, "lima": home.join("_lima"), "cache": home.join("cache")}))
}

fn saved_profile(on: &Caller<'_>, home: &Utf8Path, wanted: &VmRequirements) -> Result<Saved> {
    if wanted.driver == Driver::Lima {
        return Ok(Saved::None);
    }
    let home: Value = on.read(home)?;
    vm::saved(Utf8Path::new(home["home"].as_str().unwrap_or_default()), wanted)
}

fn image_if_any(on: &Caller<'_>, record: &Utf8Path) -> Result<Option<Image>> {
    let path = on.root.join(record);
    if path.exists() {
        Image::read(&path).map(Some)
    } else {
        Ok(None)
    }
}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use crate::base::process::ask_system;
    use crate::base::process::{Ended, Input, Interrupt, Process, Stdout};

    #[test]
    fn what_a_program_of_the_system_says_is_read_and_a_failure_is_nothing() {
        let said = ask_system("/bin/echo", &["15.5"]);
        assert_eq!(said.as_deref().map(str::trim), Some("15.5"));
        assert_eq!(ask_system("/bin/false", &[]), None);
        assert_eq!(ask_system("/no/such/program", &[]), None);
    }

    #[test]
    fn the_program_that_tries_rosetta_runs_and_ends_as_it_says() {
        let folder = tempfile::Builder::new().tempdir().unwrap();
        let program = camino::Utf8Path::from_path(folder.path()).unwrap().join("amd64");
        let bytes = crate::cluster::vm::trust::decode(crate::cluster::vm::AMD64).unwrap();
        fs_err::write(&program, bytes).unwrap();
        fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let outcome = Process {
            program,
            args: Vec::new(),
            env: std::collections::BTreeMap::new(),
            directory: "/".into(),
            stdin: Input::Null,
            stdout: Stdout::Log,
            log: None,
            partial: None,
            note: None,
            redactor: crate::base::process::redact::Redactor::default(),
            deadline: std::time::Duration::from_secs(10),
        }
        .run(&Interrupt::default())
        .unwrap();
        assert_eq!(outcome.ended, Ended::Code(42));
    }
}

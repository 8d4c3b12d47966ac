//! What the verbs about VMs share: the host, the profile, what Lima lists, and what keeps a VM from running.
//! It changes nothing but the folder of this checkout's VMs.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::failure::{Failure, Kind, Result};
use crate::cluster::access::Access;
use crate::cluster::embedded;
use crate::cluster::vm::host::{self, Host, System};
use crate::cluster::vm::image::{self, Image};
use crate::cluster::vm::lima;
use crate::cluster::vm::tasks::VmHome;
use crate::cluster::vm::{self, Driver, Instance, Preflight, Record, VmRequirements};
use crate::command::Tool;
use crate::context::{Checkout, Context};
use crate::platform::{Arch, Backend, Cluster};
use crate::recipe::vm::{ImageStep, Vm};
use crate::run::exec::Runner;
use crate::tool::Tools;

/// The VM of a cluster, on this host.
pub struct Setup {
    /// The host.
    pub host: Host,
    /// Where this checkout's VMs are kept.
    pub home: Utf8PathBuf,
    /// API ports of every profile of the platform config.
    pub api_ports: Vec<u16>,
    /// What the platform config asks for.
    pub wanted: VmRequirements,
    /// Architecture of the VM.
    pub arch: Arch,
    /// Image that a new VM would boot.
    pub image: Option<Image>,
}

impl Setup {
    /// Looks at the host and at what is recorded.
    pub fn of(checkout: &Checkout, cluster: &str, config: &Cluster, driver: Driver) -> Result<Self> {
        let name = config.profile.as_ref().ok_or_else(|| {
            Failure::config(format!("cluster `{cluster}` has no profile, so it has no VM"))
                .hinted("a local cluster gets one with `profile` in `modules/platform.nix`")
        })?;
        vm::check_name(name)?;
        let profile = &checkout.platform.profiles[name];
        let home = host::vms_folder(&checkout.root)?;
        let host = Host::observe(&home)?;
        let wanted = vm::wanted(driver, name, profile, &host);
        let arch = profile.arch.unwrap_or(host.arch);
        let record = checkout.path(image::record_path(arch));
        let image = if record.exists() {
            Some(Image::read(&record)?)
        } else {
            None
        };
        Ok(Self {
            host,
            home,
            api_ports: checkout.platform.api_ports(),
            wanted,
            arch,
            image,
        })
    }

    /// The VM for recipes.
    pub fn vm<'a>(&'a self, access: &'a Access) -> Vm<'a> {
        Vm {
            access,
            api_ports: &self.api_ports,
            wanted: &self.wanted,
            system: self.host.system,
            arch: self.arch,
            host_arch: self.host.arch,
            low_ports: self.host.low_ports,
            image: if self.image.is_some() {
                ImageStep::Recorded
            } else {
                ImageStep::Build
            },
        }
    }

    /// The instance as Lima lists it.
    pub fn instance(&self, context: &Context, checkout: &Checkout, tools: &Tools) -> Result<Option<Instance>> {
        // Without the folder there is no VM, and a question must not make one.
        if !self.home.join("_lima").is_dir() {
            return Ok(None);
        }
        let runner = Runner::new(&checkout.root, &context.ui, tools, &context.interrupt);
        let home = VmHome {
            api_ports: self.api_ports.clone(),
            to: vm::home_file(),
        };
        home.run(&runner)?;
        let listing = runner.answer(&lima::list())?.ok_or_else(|| {
            Failure::preflight("`limactl list` fails, so nothing is known of the VMs")
                .hinted("run it yourself and look at what it says")
        })?;
        vm::instance(&String::from_utf8_lossy(&listing), &self.wanted.instance)
    }

    /// Refuses a VM that does not run, for verbs that work in one.
    pub fn must_run(&self, context: &Context, checkout: &Checkout, tools: &Tools, cluster: &str) -> Result<()> {
        let status = match self.instance(context, checkout, tools)? {
            Some(instance) if instance.running() => return Ok(()),
            Some(instance) => {
                instance.inspected()?;
                instance.status.to_lowercase()
            }
            None => "gone".to_owned(),
        };
        Err(
            Failure::preflight(format!("VM `{}` is {status}, not running", self.wanted.instance))
                .hinted(format!("`cargo xtask local-up --cluster {cluster}` starts it")),
        )
    }

    /// What becomes free with a VM that would be deleted to be made anew; none where it is kept.
    fn replaced(&self, checkout: &Checkout, access: &Access, instance: &Instance) -> Result<Option<u64>> {
        let saved = vm::saved(&self.home, &self.wanted)?;
        let record = Record::read(&checkout.path(vm::record_path(access)))?;
        let drift = vm::compare(
            &self.wanted,
            Some(instance),
            &saved,
            self.image.as_ref(),
            record.as_ref(),
        );
        if !drift.half_made {
            instance.inspected()?;
        }
        let anew = drift.recreate || drift.half_made;
        Ok(anew.then(|| taken(&self.home.join("_lima").join(&self.wanted.instance))))
    }

    /// Reports everything that keeps the VM from running here, before anything is started.
    pub fn preflight(&self, context: &Context, checkout: &Checkout, access: &Access) -> Result<()> {
        let tools = tools(self.wanted.driver);
        let found = context.toolbox("").ensure(&tools);
        let (instance, missing) = match &found {
            Ok(found) => (self.instance(context, checkout, found)?, None),
            Err(failure) => (None, Some(failure)),
        };
        let replaced = match &instance {
            Some(instance) => self.replaced(checkout, access, instance)?,
            None => None,
        };
        let needs_image = self.image.is_none() && (instance.is_none() || replaced.is_some());
        let beside = found
            .as_ref()
            .ok()
            .and_then(|found| found.path(Tool::Limactl).ok())
            .and_then(Utf8Path::parent)
            .is_some_and(|folder| folder.join("lima").is_file());
        let mut problems = Preflight {
            host: &self.host,
            wanted: &self.wanted,
            home: &self.home,
            instance: instance.as_ref(),
            replaced,
            port_free: port_free(self.wanted.api_port),
            image: self.image.as_ref(),
            no_builder: if needs_image {
                no_builder(context, checkout, &self.host, self.arch)
            } else {
                None
            },
            lima_wrapper: beside || host::on_path("lima"),
        }
        .problems();
        if let Some(failure) = missing {
            problems.unready.insert(0, failure.chain());
        }
        problems.into_result(&self.wanted.profile)
    }
}

/// Bytes that the files of a folder take on their disk; an image has holes.
fn taken(folder: &Utf8Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;

    let mut sum = 0;
    for entry in fs_err::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        sum += if metadata.is_dir() {
            Utf8PathBuf::from_path_buf(entry.path()).map_or(0, |inner| taken(&inner))
        } else {
            // Always in units of this size, whatever the file system's own are.
            metadata.blocks() * 512
        };
    }
    sum
}

/// Whether nothing has a port of loopback. Asked twice: on macOS one that somebody holds on every address can be bound
/// on loopback all the same.
fn port_free(port: u16) -> bool {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let answered = TcpStream::connect_timeout(&at, std::time::Duration::from_secs(1)).is_ok();
    !answered && TcpListener::bind(at).is_ok()
}

/// Tools that start a VM.
pub fn tools(driver: Driver) -> Vec<Tool> {
    match driver {
        Driver::Colima => vec![Tool::Colima, Tool::Limactl],
        Driver::Lima => vec![Tool::Limactl],
    }
}

/// The driver of a backend; none for those without a VM.
pub fn driver(backend: Backend) -> Option<Driver> {
    match backend {
        Backend::Colima => Some(Driver::Colima),
        Backend::Lima => Some(Driver::Lima),
        Backend::Embedded | Backend::Remote => None,
    }
}

/// What a cluster runs on already, as far as this checkout knows.
pub fn existing(checkout: &Checkout, access: &Access) -> Result<Option<Backend>> {
    if checkout.path(embedded::marker(access)).exists() {
        return Ok(Some(Backend::Embedded));
    }
    Ok(
        Record::read(&checkout.path(vm::record_path(access)))?.map(|record| match record.driver {
            Driver::Colima => Backend::Colima,
            Driver::Lima => Backend::Lima,
        }),
    )
}

/// The VM that a cluster has, for verbs that work in one.
pub fn running(checkout: &Checkout, cluster: &str) -> Result<Driver> {
    let config = checkout.platform.cluster(cluster)?;
    let access = Access::of(cluster, config);
    existing(checkout, &access)?.and_then(driver).ok_or_else(|| {
        Failure::preflight(format!("cluster `{cluster}` runs in no VM of this checkout")).hinted(format!(
            "`cargo xtask local-up --cluster {cluster} --backend colima` makes one"
        ))
    })
}

/// Why no image can be built here; none when it can.
pub fn no_builder(context: &Context, checkout: &Checkout, host: &Host, arch: Arch) -> Option<String> {
    let instead = "or take one that was built elsewhere: `cargo xtask image use FILE`";
    let Ok(tools) = context.toolbox("").ensure(&[Tool::Nix]) else {
        return Some(format!(
            "there is no image yet, and no Nix to build one\ninstall Nix, {instead}"
        ));
    };
    if host.system == System::Linux && host.arch == arch {
        return None;
    }
    let runner = Runner::new(&checkout.root, &context.ui, &tools, &context.interrupt);
    let settings = crate::command::Command::new(Tool::Nix).args([
        "--extra-experimental-features",
        "nix-command",
        "show-config",
        "--json",
    ]);
    let builders = runner
        .answer(&settings)
        .ok()
        .flatten()
        .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
        .and_then(|value| value["builders"]["value"].as_str().map(ToOwned::to_owned))
        .unwrap_or_default();
    if builds(&builders, arch) {
        return None;
    }
    let system = format!("{}-linux", arch.name());
    Some(format!(
        "there is no image yet, and no builder for {system} with kvm to build one\n\
         with nix-darwin: `nix.linux-builder = {{ enable = true; supportedFeatures = [ \"kvm\" \"benchmark\" \"big-parallel\" ]; }};`\n\
         by hand: `nix run nixpkgs#darwin.linux-builder`, and in /etc/nix/nix.conf\n  builders = ssh-ng://builder@linux-builder {system} /etc/nix/builder_ed25519 4 - kvm,benchmark,big-parallel\n{instead}"
    ))
}

/// Whether one of Nix' builders has the system and kvm. `@FILE` names a file with more lines.
fn builds(builders: &str, arch: Arch) -> bool {
    builders.split([';', '\n']).map(str::trim).any(|line| {
        if let Some(file) = line.strip_prefix('@') {
            return fs_err::read_to_string(file).is_ok_and(|text| builds(&text, arch));
        }
        let mut words = line.split_whitespace();
        let systems = words.nth(1).unwrap_or_default();
        // Key, jobs and speed stand between the systems and the features.
        let features = words.nth(3).unwrap_or_default();
        systems
            .split(',')
            .any(|system| system == format!("{}-linux", arch.name()))
            && features.split(',').any(|feature| feature == "kvm")
    })
}

/// Refuses a second backend under one cluster: both would claim its kubeconfig and its port.
pub fn refuse_second(checkout: &Checkout, access: &Access, backend: Backend) -> Result<()> {
    match existing(checkout, access)? {
        Some(other) if other != backend => Err(Failure::new(
            Kind::Refused,
            format!(
                "cluster `{}` runs on backend `{}` already; nothing was changed",
                access.cluster,
                other.name()
            ),
        )
        .hinted(format!(
            "take that one down first: `cargo xtask local-down --cluster {}{}`",
            access.cluster,
            if other == Backend::Embedded { "" } else { " --delete" }
        ))),
        _ => Ok(()),
    }
}

/// A path as a person gave it, absolute.
pub fn absolute(checkout: &Checkout, path: &Utf8Path) -> Result<Utf8PathBuf> {
    let from = std::env::var("PWD").map_or_else(|_| checkout.root.clone(), Utf8PathBuf::from);
    Ok(from.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builder_counts_only_with_the_system_and_kvm() {
        let line = |features: &str| format!("ssh-ng://b aarch64-linux,armv7l-linux /key 4 1 {features}");
        assert!(builds(&line("big-parallel,kvm"), Arch::Aarch64));
        assert!(!builds(&line("big-parallel"), Arch::Aarch64));
        assert!(!builds(&line("kvm"), Arch::X86_64));
        assert!(!builds("", Arch::Aarch64));
        assert!(builds(
            &format!("ssh://a x86_64-linux ; {}", line("kvm")),
            Arch::Aarch64
        ));
    }
}

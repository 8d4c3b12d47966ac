//! The sections that bring a VM with k3s up, take it down, and delete it; the same for Colima and Lima.
//! What has to be done is decided while running, by comparing the platform config with what Lima lists.

use camino::Utf8PathBuf;
use serde_json::json;

use crate::cluster::access::Access;
use crate::cluster::vm::colima::{self, Boot};
use crate::cluster::vm::host::System;
use crate::cluster::vm::image::VmImageIntact;
use crate::cluster::vm::lima::LimaTemplate;
use crate::cluster::vm::tasks::{
    VmCompare, VmDeletion, VmFits, VmGone, VmHome, VmKubeconfig, VmRecord, VmSystem, VmSystemFits,
};
use crate::cluster::vm::{self, Driver, VmRequirements, VmState, image, lima};
use crate::command::{Arg, Command};
use crate::plan::{Action, Effect, Probe, Section, Step, VmIs};
use crate::platform::Arch;

/// Seconds for k3s to write its kubeconfig and for its API to answer, on a slow host's first boot.
const K3S: u64 = 300;

/// Seconds that the clocks of VM and host may be apart: tokens and certificates are judged by both.
const CLOCK: u64 = 30;

/// A VM and where it stands.
#[derive(Debug, Clone)]
pub struct Vm<'a> {
    /// The cluster that runs in it.
    pub access: &'a Access,
    /// API ports of every profile, this one's among them.
    pub api_ports: &'a [u16],
    /// What the platform config asks for.
    pub wanted: &'a VmRequirements,
    /// The host's operating system, which decides what flags there are.
    pub system: System,
    /// Architecture of the VM, for its image.
    pub arch: Arch,
    /// Architecture of the host, for which the flake's plain attribute is.
    pub host_arch: Arch,
    /// Whether a user of this host may listen on the ports of http and https.
    pub low_ports: bool,
    /// Whether an image has to be built first.
    pub image: ImageStep,
}

/// Where the image comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageStep {
    /// It was built or taken before.
    Recorded,
    /// Nix builds it; a host without Nix has another road, `image use`.
    Build,
}

impl Vm<'_> {
    fn work(&self, name: &str) -> Utf8PathBuf {
        self.access.work().join(name)
    }

    fn record(&self) -> Utf8PathBuf {
        vm::record_path(self.access)
    }

    fn shell(&self) -> Command {
        lima::shell(&self.wanted.instance)
    }

    /// A line of shell in the VM.
    fn line(&self, line: &str) -> Command {
        self.shell().args(["sh", "-c", line])
    }

    fn is(&self, is: VmIs) -> Probe {
        Probe::Vm {
            list: lima::list(),
            instance: self.wanted.instance.clone(),
            is,
        }
    }

    fn exists(&self) -> Probe {
        self.is(VmIs::There)
    }

    fn runs(&self) -> Probe {
        self.is(VmIs::Running)
    }

    fn stop_command(&self) -> Command {
        match self.wanted.driver {
            Driver::Colima => colima::stop(self.wanted),
            Driver::Lima => lima::stop(self.wanted),
        }
    }

    fn delete_command(&self) -> Command {
        match self.wanted.driver {
            Driver::Colima => colima::delete(self.wanted),
            Driver::Lima => lima::delete(self.wanted),
        }
    }

    fn stop_hard_command(&self) -> Command {
        match self.wanted.driver {
            Driver::Colima => colima::stop_hard(self.wanted),
            Driver::Lima => lima::stop_hard(self.wanted),
        }
    }

    fn home(&self) -> Step {
        Step::new(
            "home.make",
            "Make the folder of this checkout's VMs",
            "The user's own virtual machines live elsewhere and are never touched.",
            Effect::Local,
            Action::task(VmHome {
                api_ports: self.api_ports.to_vec(),
                to: vm::home_file(),
            }),
        )
    }

    fn observe(&self, id: &str, listing: &str) -> Step {
        Step::new(
            id,
            "List this checkout's VMs",
            "Only Lima's own list says what there is; exit codes and status lines mislead.",
            Effect::Read,
            Action::Run(lima::list().to_file(self.work(listing))),
        )
    }

    fn compare(&self, id: &str, listing: &str, to: &str) -> Step {
        Step::new(
            id,
            "Compare the VM with the platform config",
            "What differs decides whether it is kept, restarted or made anew.",
            Effect::Read,
            Action::task(VmCompare {
                wanted: self.wanted.clone(),
                listing: self.work(listing),
                home: vm::home_file(),
                image: image::record_path(self.arch),
                record: self.record(),
                to: self.work(to),
            }),
        )
    }

    fn note(&self, id: &str, state: VmState) -> Step {
        Step::new(
            id,
            match state {
                VmState::Making => "Remember which image the VM boots",
                VmState::Made => "Remember that the VM was made",
                VmState::Switched => "Remember which image the VM was switched to",
            },
            "A start that was cut off is told from a VM that only stands still, and another image from this one.",
            Effect::Local,
            Action::task(VmRecord {
                wanted: self.wanted.clone(),
                image: image::record_path(self.arch),
                state,
                to: self.record(),
            }),
        )
    }

    /// After it the VM runs as the platform config asks, and its API server answers under its own authority.
    pub fn up(&self) -> Section {
        let instance = &self.wanted.instance;
        let mut section = Section::new(
            "cluster",
            format!("Start VM `{instance}` with k3s in it"),
            "Everything else speaks to its API server.",
        )
        .with(self.home());
        let part = |id: &str, title: &str, why: &str, steps: Vec<Step>| Section::new(id, title, why).with_all(steps);
        section.push(part(
            "look",
            "Compare what is there of the VM with the platform config",
            "What a new VM needs is made and looked at before an old one is deleted.",
            vec![
                self.observe("vm.observe", "vms.ndjson"),
                self.compare("vm.compare", "vms.ndjson", "vm.json"),
            ],
        ));
        if self.image == ImageStep::Build {
            let needless = Probe::Any(vec![Probe::Exists(image::record_path(self.arch)), self.kept()]);
            section.push(super::image::build(self.arch, self.host_arch).unless(needless));
        }
        section
            .with(part(
                "settle",
                "Prepare what is there of the VM",
                "A start begins from a VM that is stopped, or from none.",
                self.settle_steps(),
            ))
            .with(self.make_section())
            .with(
                Step::new(
                    "vm.start",
                    format!("Start VM `{instance}`"),
                    "After a stop, a crash or a reboot its disk is still there.",
                    Effect::Local,
                    Action::Run(self.start_command()),
                )
                .unless(self.runs()),
            )
            .with(part(
                "check",
                "Check that the VM is what was asked for",
                "A start exits with code 0 when it ignored a flag.",
                self.check_steps(),
            ))
            .with(part(
                "kubeconfig",
                "Fetch the kubeconfig of k3s",
                "It has the authority by which the API server is known.",
                self.kubeconfig_steps(),
            ))
    }

    fn start_command(&self) -> Command {
        match self.wanted.driver {
            Driver::Colima => colima::start(self.wanted, self.system, Boot::Disk),
            Driver::Lima => lima::start(self.wanted),
        }
    }

    fn says(&self, pointer: &str, value: bool) -> Probe {
        Probe::Says {
            file: self.work("vm.json"),
            pointer: pointer.to_owned(),
            value: json!(value),
        }
    }

    /// Whether there is a VM that is neither swept nor made anew.
    fn kept(&self) -> Probe {
        Probe::Not(Box::new(Probe::Any(vec![
            self.is(VmIs::Gone),
            self.says("/halfMade", true),
            self.says("/recreate", true),
        ])))
    }

    /// Brings a VM that is there into a state that a start can begin from; what a new one boots is looked at before
    /// the old one is deleted.
    fn settle_steps(&self) -> Vec<Step> {
        let says = |pointer: &str, value: bool| self.says(pointer, value);
        let instance = &self.wanted.instance;
        let mut steps = vec![
            Step::new(
                "image.check",
                "Check that the image is the one that was recorded",
                "A copy that was cut off boots half, and no tool would say why.",
                Effect::Read,
                Action::task(VmImageIntact {
                    image: image::record_path(self.arch),
                }),
            )
            .unless(self.kept()),
            Step::new(
                "vm.sweep",
                format!("Remove what a broken start left of `{instance}`"),
                "This checkout began it and nothing ever ran in it.",
                Effect::Local,
                Action::Run(self.delete_command()),
            )
            .unless(says("/halfMade", false)),
            Step::new(
                "vm.recreate",
                format!("Delete VM `{instance}` with its cluster and every volume in it, to make it anew"),
                "What differs from the platform config cannot be changed in a VM that exists.",
                Effect::Destroy,
                Action::Run(self.delete_command()),
            )
            .unless(says("/recreate", false))
            // A plan that is about another cluster may bring this one up.
            .changing(&self.access.cluster, false),
            Step::new(
                "vm.unbreak",
                format!("End what is left of the broken VM `{instance}`"),
                "Its host process died; the disk is whole.",
                Effect::Local,
                Action::Run(self.stop_hard_command()),
            )
            .unless(Probe::Any(vec![says("/broken", false), self.is(VmIs::Gone)])),
            Step::new(
                "vm.stop",
                format!("Stop VM `{instance}`"),
                "CPUs and memory change with a start only; the data stays.",
                Effect::Local,
                Action::Run(self.stop_command()),
            )
            .unless(Probe::Any(vec![
                says("/restart", false),
                Probe::Not(Box::new(self.runs())),
            ])),
        ];
        if self.wanted.driver == Driver::Lima {
            steps.push(
                Step::new(
                    "vm.set",
                    "Set CPUs, memory and disk",
                    "Lima keeps them in a file of the instance.",
                    Effect::Local,
                    Action::Run(lima::set(self.wanted)),
                )
                .unless(Probe::Any(vec![says("/restart", false), self.is(VmIs::Gone)])),
            );
        }
        steps
    }

    fn make_section(&self) -> Section {
        let image = image::record_path(self.arch);
        let instance = &self.wanted.instance;
        let mut steps = vec![
            Step::new(
                "identity.forget",
                "Forget the cluster of a VM that is gone",
                "A new VM holds a new cluster, known by a new UID.",
                Effect::Local,
                Action::Remove {
                    path: self.access.folder.join("uid.json"),
                },
            ),
            self.note("vm.begin", VmState::Making),
        ];
        let path = Arg::Later {
            file: image.clone(),
            pointer: "/path".to_owned(),
        };
        let create = match self.wanted.driver {
            Driver::Colima => colima::start(self.wanted, self.system, Boot::Image(path)),
            Driver::Lima => {
                let template = self.access.folder.join("lima.yaml");
                steps.push(Step::new(
                    "vm.configure",
                    "Write Lima's template of the VM",
                    "It says everything that decides how the VM runs.",
                    Effect::Local,
                    Action::task(LimaTemplate {
                        wanted: self.wanted.clone(),
                        image,
                        to: template.clone(),
                    }),
                ));
                lima::create(self.wanted, Arg::Path(template))
            }
        };
        steps.push(Step::new(
            "vm.create",
            format!(
                "Make VM `{instance}`: {} CPUs, {} GiB of memory, {} GiB of disk",
                self.wanted.cpus, self.wanted.memory, self.wanted.disk
            ),
            "It boots a copy of the image, which grows to the profile's disk.",
            Effect::Local,
            Action::Run(create),
        ));
        Section::new("make", format!("Make VM `{instance}`"), "It boots from the image.")
            .with_all(steps)
            .unless(self.exists())
    }

    fn check_steps(&self) -> Vec<Step> {
        let clock = Probe::Clock {
            command: self.shell().args(["date", "+%s"]),
            within: CLOCK,
        };
        let mut steps = vec![
            self.observe("vm.look", "vms-started.ndjson"),
            Step::new(
                "vm.judge",
                "Check that the VM is what was asked for",
                "A start exits with code 0 when it ignored a flag, and when it took an emulator.",
                Effect::Read,
                Action::task(VmFits {
                    wanted: self.wanted.clone(),
                    listing: self.work("vms-started.ndjson"),
                }),
            ),
            self.note("vm.end", VmState::Made),
        ];
        if self.wanted.rosetta {
            steps.push(Step::new(
                "rosetta.try",
                "Run a program for x86_64 in the VM",
                "Rosetta is asked for, and a kernel that it does not know lets every such program fail.",
                Effect::Local,
                Action::Run(self.line(&format!(
                    "file=$(mktemp) && printf %s {} | base64 -d >\"$file\" && chmod 700 \"$file\" && {{ \"$file\"; status=$?; rm \"$file\"; test \"$status\" = 42; }}",
                    vm::AMD64
                ))),
            ));
        }
        steps.push(
            Step::new(
                "clock.set",
                "Set the VM's clock",
                "It stands still while the host sleeps, and certificates are then not valid yet.",
                Effect::Local,
                Action::Run(self.shell().args(["sudo", "hwclock", "--hctosys"]).or_look_next()),
            )
            .unless(clock.clone()),
        );
        steps.push(Step::new(
            "clock.wait",
            "Wait until the VM's clock is right",
            "Tokens and certificates are judged by it.",
            Effect::Read,
            Action::Wait {
                until: clock,
                deadline: 60,
                every: 2,
            },
        ));
        steps
    }

    fn kubeconfig_steps(&self) -> Vec<Step> {
        let raw = self.work("k3s.yaml");
        vec![
            Step::new(
                "k3s.wait",
                "Wait until k3s has written its kubeconfig",
                "It comes before the API, and long before a node is ready, for which the stage has to be deployed.",
                Effect::Read,
                Action::Wait {
                    until: Probe::Succeeds(self.shell().args(["sudo", "sh", "-c", vm::WRITTEN]).within(30)),
                    deadline: K3S,
                    every: 2,
                },
            ),
            Step::new(
                "kubeconfig.fetch",
                "Fetch the kubeconfig as the VM's root",
                "No other user can read it there.",
                Effect::Local,
                Action::Run(
                    self.shell()
                        .args(["sudo", "cat", "/etc/rancher/k3s/k3s.yaml"])
                        .to_file(&raw)
                        .within(30),
                ),
            ),
            Step::new(
                "kubeconfig.write",
                format!("Write `{}`", self.access.kubeconfig),
                "A file of this cluster alone, with this VM's own authority, mode 0600.",
                Effect::Local,
                Action::task(VmKubeconfig {
                    from: raw.clone(),
                    context: self.access.context.clone(),
                    port: self.wanted.api_port,
                    to: self.access.kubeconfig.clone(),
                }),
            ),
            Step::new(
                "kubeconfig.clean",
                "Remove the fetched copy",
                "One copy of a private key is enough.",
                Effect::Local,
                Action::Remove { path: raw },
            ),
            Step::new(
                "cluster.answer",
                "Wait until the API server is ready",
                "It must be this VM's: one under another authority is refused.",
                Effect::Read,
                Action::Wait {
                    until: Probe::Succeeds(self.access.kubectl().args(["get", "--raw=/readyz"]).within(10)),
                    deadline: K3S,
                    every: 1,
                },
            ),
        ]
    }

    /// Stops the VM; its data stays.
    pub fn down(&self) -> Section {
        let stopped = Probe::Any(vec![self.is(VmIs::Gone), self.is(VmIs::Stopped)]);
        let steps = [
            self.home(),
            Step::new(
                "vm.stop",
                format!("Stop VM `{}`", self.wanted.instance),
                "Its disk stays, and with it the cluster.",
                Effect::Local,
                Action::Run(self.stop_command().or_look_next()),
            )
            .unless(stopped.clone()),
            Step::new(
                "vm.end",
                format!("End what is left of VM `{}`", self.wanted.instance),
                "A VM whose host process died is broken, and does not stop by itself.",
                Effect::Local,
                Action::Run(self.stop_hard_command()),
            )
            .unless(stopped.clone()),
            Step::new(
                "vm.rest",
                "Wait until the VM is stopped",
                "Only Lima's own list says so.",
                Effect::Read,
                Action::Wait {
                    until: stopped,
                    deadline: 60,
                    every: 1,
                },
            ),
        ];
        Section::new(
            "down",
            format!("Stop VM `{}`", self.wanted.instance),
            "Its disk stays, and with it the cluster.",
        )
        .with_all(steps)
    }

    /// Deletes the VM with its data, and looks that it is gone.
    pub fn delete(&self) -> Section {
        let gone = self.is(VmIs::Gone);
        let steps = [
            self.home(),
            self.observe("vm.observe", "vms-before.ndjson"),
            Step::new(
                "vm.weigh",
                "Look what is lost with the VM",
                "A VM that a person protected is left alone, and nothing is deleted unseen.",
                Effect::Read,
                Action::task(VmDeletion {
                    instance: self.wanted.instance.clone(),
                    listing: self.work("vms-before.ndjson"),
                }),
            ),
            Step::new(
                "vm.delete",
                format!(
                    "Delete VM `{}` with its cluster and every volume in it",
                    self.wanted.instance
                ),
                "It was asked for; nothing in it can be had back.",
                Effect::Destroy,
                Action::Run(self.delete_command()),
            )
            .unless(gone)
            .changing(&self.access.cluster, false),
            self.observe("vm.look", "vms.ndjson"),
            Step::new(
                "vm.judge",
                "Check that the VM is gone",
                "A delete can exit with code 0 and delete nothing.",
                Effect::Read,
                Action::task(VmGone {
                    instance: self.wanted.instance.clone(),
                    listing: self.work("vms.ndjson"),
                }),
            ),
            Step::new(
                "kubeconfig.remove",
                format!("Remove `{}`", self.access.kubeconfig),
                "It leads nowhere now, and soon perhaps to another cluster on the same port.",
                Effect::Local,
                Action::Remove {
                    path: self.access.kubeconfig.clone(),
                },
            ),
            Step::new(
                "cluster.remove",
                format!("Remove `{}`", self.access.folder),
                "What is remembered of a cluster goes with it.",
                Effect::Local,
                Action::Remove {
                    path: self.access.folder.clone(),
                },
            ),
        ];
        Section::new(
            "down",
            format!("Delete VM `{}`", self.wanted.instance),
            "It was asked for; nothing in it can be had back.",
        )
        .with_all(steps)
    }

    /// Brings an archive of container images into the VM.
    pub fn load(&self, archive: Utf8PathBuf) -> Section {
        let import = Step::new(
            "image.import",
            format!("Import `{archive}` into containerd of `{}`", self.wanted.instance),
            "A pod finds an image there before it asks a registry; importing one twice changes nothing.",
            Effect::Local,
            Action::Run(
                self.shell()
                    .args(["sudo", "k3s", "ctr", "images", "import", "-"])
                    .from_file(archive)
                    .within(900),
            ),
        );
        Section::new(
            "load",
            format!("Load an archive of images into VM `{}`", self.wanted.instance),
            "A pod finds an image there before it asks a registry.",
        )
        .with(self.home())
        .with(import)
    }

    /// Makes the running VM what the flake describes now, as a generation of NixOS.
    pub fn switch(&self) -> Section {
        let link = Utf8PathBuf::from(format!("{}.system", image::link_path(self.arch)));
        let system = self.work("system.json");
        let path = || Arg::Later {
            file: system.clone(),
            pointer: "/path".to_owned(),
        };
        let booted = self.work("booted.json");
        let mut steps = vec![
            self.home(),
            Step::new(
                "system.build",
                "Build the VM's system",
                "What the modules describe now.",
                Effect::Local,
                Action::Run(
                    super::nix_build(
                        &format!(
                            "nixosConfigurations.k3s-local-{}.config.system.build.toplevel",
                            self.arch.name()
                        ),
                        link.as_str(),
                    )
                    .within(7200),
                ),
            ),
            Step::new(
                "system.find",
                "Read which kernel and which disks the new system has",
                "Neither changes without a boot.",
                Effect::Read,
                Action::task(VmSystem {
                    link: link.clone(),
                    to: system.clone(),
                }),
            ),
        ];
        steps.push(Step::new(
            "system.ask",
            "Ask the VM for its kernel and its disks",
            "With another kernel the modules of the new system would not load, with other disks it would not boot.",
            Effect::Read,
            Action::Run(self.line(vm::BOOTED).to_file(&booted)),
        ));
        steps.push(Step::new(
            "system.judge",
            "Compare kernels and disks",
            "A VM that needs others is made anew.",
            Effect::Read,
            Action::task(VmSystemFits {
                system: system.clone(),
                booted,
            }),
        ));
        steps.push(Step::new(
            "system.copy",
            "Copy the system into the VM",
            "Only what the VM does not have yet.",
            Effect::Local,
            Action::Run(
                super::nix_with(&["copy", "--no-check-sigs", "--to"])
                    .arg(format!("ssh-ng://lima-{}", self.wanted.instance))
                    .arg(path())
                    .env(
                        "NIX_SSHOPTS",
                        Arg::Later {
                            file: system.clone(),
                            pointer: format!("/ssh/{}", self.wanted.instance),
                        },
                    )
                    .within(3600),
            ),
        ));
        steps.push(Step::new(
            "system.set",
            "Make it the newest generation",
            "The next boot takes it, and an older one can be booted instead.",
            Effect::Local,
            Action::Run(
                self.shell()
                    .args(["sudo", "nix-env", "--profile", "/nix/var/nix/profiles/system", "--set"])
                    .arg(path())
                    .within(120),
            ),
        ));
        steps.push(Step::new(
            "system.switch",
            "Switch the running VM to it",
            "Services that changed are restarted; the data of k3s stays.",
            Effect::Local,
            Action::Run(
                self.shell()
                    .args([
                        "sudo",
                        "/nix/var/nix/profiles/system/bin/switch-to-configuration",
                        "switch",
                    ])
                    .within(600),
            ),
        ));
        steps.push(
            self.note("vm.note", VmState::Switched)
                .unless(Probe::Not(Box::new(Probe::Exists(image::record_path(self.arch))))),
        );
        Section::new(
            "switch",
            format!("Switch VM `{}` to what the flake describes now", self.wanted.instance),
            "Services that changed are restarted; the data of k3s stays.",
        )
        .with_all(steps)
    }

    /// A command in the VM, for people.
    pub fn ssh(&self, words: &[String]) -> Command {
        self.shell().args(words.iter().map(String::as_str))
    }
}

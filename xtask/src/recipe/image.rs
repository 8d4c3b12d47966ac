//! Images of VMs: built by Nix, or taken from a file, and recorded.

use camino::Utf8PathBuf;

use super::{nix_build, nix_with};
use crate::cluster::vm::image::{VmImage, link_path, record_path};
use crate::plan::{Action, Effect, Plan, Section, Step};
use crate::platform::Arch;

/// Seconds for a build that has to compile nothing but may have much to fetch.
const BUILD: u64 = 7200;

/// Builds the image of an architecture and records it.
pub fn build_plan(arch: Arch, host: Arch) -> Plan {
    let mut plan = Plan::new(format!("image build {}", arch.name()));
    plan.choices.push(format!("VM architecture `{}`", arch.name()));
    plan.sections.push(build(arch, host));
    plan.next = Some("cargo xtask local-up".to_owned());
    plan
}

/// Builds the image and records it.
pub fn build(arch: Arch, host: Arch) -> Section {
    let attribute = if arch == host {
        "k3s-local-image".to_owned()
    } else {
        format!("packages.{}-linux.k3s-local-image", arch.name())
    };
    let kernel = Utf8PathBuf::from(format!("{}.kernel", link_path(arch)));
    let steps = [
        Step::new(
            "image.build",
            format!("Build `.#{attribute}`"),
            "The disk from which VMs boot; building it runs a virtual machine of Nix' own.",
            Effect::Local,
            Action::Run(nix_build(&attribute, link_path(arch).as_str()).within(BUILD)),
        ),
        Step::new(
            "kernel.ask",
            "Ask which kernel is in it",
            "Rosetta fails on kernels that are newer than its macOS.",
            Effect::Read,
            Action::Run(
                nix_with(&["eval", "--raw"])
                    .arg(format!(
                        ".#nixosConfigurations.k3s-local-{}.config.boot.kernelPackages.kernel.version",
                        arch.name()
                    ))
                    .to_file(&kernel)
                    .within(600),
            ),
        ),
        Step::new(
            "image.record",
            "Find and record the image",
            "Store path, digest and size are what a VM is known by.",
            Effect::Local,
            Action::task(VmImage {
                from: link_path(arch),
                digest: None,
                kernel: Some(kernel),
                arch: arch.name().to_owned(),
                to: record_path(arch),
            }),
        ),
    ];
    Section::new(
        "image",
        format!("Build the image of VMs on {}", arch.name()),
        "The disk from which VMs boot.",
    )
    .with_all(steps)
}

/// Records an image that was built elsewhere.
pub fn take(from: Utf8PathBuf, digest: Option<String>, arch: Arch) -> Plan {
    let mut plan = Plan::new(format!("image use {from}"));
    plan.choices.push(format!("VM architecture `{}`", arch.name()));
    plan.sections.push(
        Section::new(
            "image",
            "Take an image that was built elsewhere",
            "A host without Nix builds none.",
        )
        .with(Step::new(
            "image.record",
            format!("Find and record the image in `{from}`"),
            "Store path, digest and size are what a VM is known by.",
            Effect::Local,
            Action::task(VmImage {
                from,
                digest,
                kernel: None,
                arch: arch.name().to_owned(),
                to: record_path(arch),
            }),
        )),
    );
    plan.next = Some("cargo xtask local-up".to_owned());
    plan
}

//! `image`: the disk of VMs, and container images in them.

use camino::Utf8PathBuf;

use super::local_up::local_cluster;
use crate::base::failure::{Failure, Result};
use crate::cluster::access::Access;
use crate::cluster::vm::host::{self, Host};
use crate::cluster::vm::image::archive_at;
use crate::command::Tool;
use crate::context::{Checkout, Context};
use crate::plan::{Plan, Section};
use crate::platform::Arch;
use crate::recipe;
use crate::recipe::vm::Vm;
use crate::run::{Lock, PlanArgs, carry_out};
use crate::setup::vm::{self, Setup, absolute};

/// What to do with images.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Arguments {
    /// Build the NixOS image of the local VMs, and record it
    #[command(after_help = "Examples:
  cargo xtask image build
  cargo xtask image build --arch aarch64")]
    Build {
        /// Architecture of the VM; the default is this host's own
        #[arg(long, value_name = "ARCH")]
        arch: Option<Arch>,
        #[command(flatten)]
        plan: PlanArgs,
    },
    /// Take an image that was built elsewhere
    #[command(after_help = "Examples:
  cargo xtask image use result/nixos.qcow2
  cargo xtask image use nixos.qcow2 --arch x86_64")]
    Use {
        /// A qcow2 file, or a folder or store path with exactly one
        #[arg(value_name = "FILE|STORE-PATH")]
        image: Utf8PathBuf,
        /// SHA-256 that the file must have
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
        /// Architecture of the VM; the default is this host's own
        #[arg(long, value_name = "ARCH")]
        arch: Option<Arch>,
        #[command(flatten)]
        plan: PlanArgs,
    },
    /// Switch a running VM to what the flake describes now; its data stays
    #[command(after_help = "Examples:
  cargo xtask image switch
  cargo xtask image switch --cluster k3s-capi --dry-run")]
    Switch {
        /// Cluster of the platform config; the default is the one of stage local
        #[arg(long, value_name = "CLUSTER")]
        cluster: Option<String>,
        #[command(flatten)]
        plan: PlanArgs,
    },
    /// Import an archive of a container image into a VM
    #[command(after_help = "Examples:
  cargo xtask image load app.tar
  cargo xtask image load app.tar --cluster k3s-dev")]
    Load {
        /// An OCI or Docker archive, or a store path of one
        #[arg(value_name = "IMAGE.tar|STORE-PATH")]
        archive: Utf8PathBuf,
        /// Cluster of the platform config; the default is the one of stage local
        #[arg(long, value_name = "CLUSTER")]
        cluster: Option<String>,
        #[command(flatten)]
        plan: PlanArgs,
    },
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    match arguments {
        Arguments::Build { arch, plan } => {
            let host = Host::observe(&host::vms_folder(&checkout.root)?)?;
            let arch = arch.unwrap_or(host.arch);
            if plan.dry_run.is_none()
                && let Some(why) = vm::no_builder(context, &checkout, &host, arch)
            {
                return Err(Failure::preflight(why));
            }
            let steps = recipe::image::build_plan(arch, host.arch);
            carry_out(
                context,
                &checkout,
                "image",
                steps,
                plan,
                &Lock::Host("image".to_owned()),
            )
        }
        Arguments::Use {
            image,
            sha256,
            arch,
            plan,
        } => {
            let host = Host::observe(&host::vms_folder(&checkout.root)?)?;
            let from = absolute(&checkout, image)?;
            let steps = recipe::image::take(from, sha256.clone(), arch.unwrap_or(host.arch));
            carry_out(
                context,
                &checkout,
                "image",
                steps,
                plan,
                &Lock::Host("image".to_owned()),
            )
        }
        Arguments::Switch { cluster, plan } => {
            let name = local_cluster(&checkout, cluster.as_deref())?;
            let goal = format!("image switch {name}");
            in_vm(context, &checkout, &name, plan, &goal, |vm| vm.switch())
        }
        Arguments::Load { archive, cluster, plan } => {
            let name = local_cluster(&checkout, cluster.as_deref())?;
            let archive = archive_at(&absolute(&checkout, archive)?)?;
            let goal = format!("image load {archive}");
            in_vm(context, &checkout, &name, plan, &goal, |vm| vm.load(archive))
        }
    }
}

/// Carries out steps in a VM that runs.
fn in_vm(
    context: &Context,
    checkout: &Checkout,
    cluster: &str,
    arguments: &PlanArgs,
    goal: &str,
    section: impl FnOnce(&Vm<'_>) -> Section,
) -> Result<()> {
    let config = checkout.platform.cluster(cluster)?;
    let access = Access::of(cluster, config);
    let setup = Setup::of(checkout, cluster, config, vm::running(checkout, cluster)?)?;
    if arguments.dry_run.is_none() {
        let tools = context.toolbox(&config.kubernetes).ensure(&[Tool::Limactl])?;
        setup.must_run(context, checkout, &tools, cluster)?;
    }
    let mut plan = Plan::new(goal);
    plan.choices.push(format!("VM `{}`", setup.wanted.instance));
    plan.sections.push(section(&setup.vm(&access)));
    carry_out(
        context,
        checkout,
        "image",
        plan,
        arguments,
        &Lock::Host(cluster.to_owned()),
    )
}

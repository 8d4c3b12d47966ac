//! `trust`: the root certificate of a local cluster in the trust store of this host.

use super::local_up::local_cluster;
use crate::base::failure::{Failure, Result};
use crate::cluster::access::Access;
use crate::cluster::vm::host::{self, Host, System};
use crate::context::Context;
use crate::plan::Reasons;
use crate::recipe::trust::{self, Change, Store};
use crate::run::{Lock, PlanArgs, carry_out};

/// What to do with the root certificate.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Arguments {
    /// Trust the root certificate of a local cluster on this host
    #[command(after_help = "Examples:
  cargo xtask trust install
  cargo xtask trust install --dry-run")]
    Install(Options),
    /// No longer trust it
    #[command(after_help = "Examples:
  cargo xtask trust remove
  cargo xtask trust remove --cluster k3s-dev")]
    Remove(Options),
}

/// Which cluster.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Cluster of the platform config; the default is the one of stage local
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// Runs the verb; what it will do is printed first.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let (options, change) = match arguments {
        Arguments::Install(options) => (options, Change::Install),
        Arguments::Remove(options) => (options, Change::Remove),
    };
    let name = local_cluster(&checkout, options.cluster.as_deref())?;
    let access = Access::of(&name, checkout.platform.cluster(&name)?);
    let host = Host::observe(&host::vms_folder(&checkout.root)?)?;
    let store = store(&host)?;
    let certificate = checkout.path(trust::certificate(&access));
    if change == Change::Remove && store == Store::Keychain && !certificate.is_file() {
        return Err(Failure::preflight(format!(
            "there is no `{}`, so nothing says which certificate to remove",
            trust::certificate(&access)
        ))
        .hinted("remove it in Keychain Access by its name"));
    }
    if change == Change::Install && !checkout.path(&access.kubeconfig).is_file() {
        return Err(Failure::preflight(format!(
            "cluster `{name}` is not up, and its root certificate is asked of it"
        ))
        .hinted(format!("`cargo xtask local-up --cluster {name}`")));
    }
    let plan = trust::plan(&access, store, change);
    if options.plan.dry_run.is_none() {
        context.ui.text(plan.full(Reasons::Shown));
    }
    carry_out(context, &checkout, "trust", plan, &options.plan, &Lock::Host(name))
}

fn store(host: &Host) -> Result<Store> {
    if matches!(host.system, System::Macos { .. }) {
        return Ok(Store::Keychain);
    }
    let has = |folder: &str| camino::Utf8Path::new(folder).is_dir();
    if has("/usr/local/share/ca-certificates") {
        return Ok(Store::Debian);
    }
    if has("/etc/pki/ca-trust/source/anchors") {
        return Ok(Store::Fedora);
    }
    Err(
        Failure::preflight("no trust store that can be changed by a file was found on this host")
            .hinted("on NixOS state it: `security.pki.certificateFiles = [ ./root_ca.crt ];`"),
    )
}

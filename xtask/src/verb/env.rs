//! `env`: what a shell, k9s or an IDE needs to reach a cluster.

use serde_json::json;

use crate::base::failure::Result;
use crate::cluster::access::Access;
use crate::command::quote;
use crate::context::Context;
use crate::platform::Stage;

/// Print what a shell, k9s or an IDE needs to reach a cluster
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask env
  cargo xtask env --cluster hetzner --json")]
pub struct Arguments {
    /// Cluster of the platform config; the default is the one of stage local
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb. The lines are for `eval "$(cargo xtask env)"`.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let name = match &arguments.cluster {
        Some(name) => name.clone(),
        None => checkout.platform.default_cluster(Stage::Local)?.to_owned(),
    };
    let access = Access::of(&name, checkout.platform.cluster(&name)?);
    let kubeconfig = checkout.path(&access.kubeconfig);
    let cache = checkout.path(access.folder.join("kubectl-cache"));
    let exists = kubeconfig.is_file();
    if arguments.json {
        return context.ui.json(
            1,
            &json!({
                "cluster": name,
                "context": access.context,
                "kubeconfig": kubeconfig,
                "exists": exists,
                "environment": {"KUBECONFIG": kubeconfig, "KUBECACHEDIR": cache},
            }),
        );
    }
    if !exists {
        context.ui.status(
            crate::base::ui::Status::Warning,
            format!("cluster `{name}` has no kubeconfig yet; `cargo xtask local-up --cluster {name}` makes it"),
        );
    }
    context.ui.data(format!(
        "export KUBECONFIG={}\nexport KUBECACHEDIR={}\n# context: {}\n",
        quote(kubeconfig.as_str()),
        quote(cache.as_str()),
        access.context
    ))
}

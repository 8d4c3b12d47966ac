//! `kubectl`: the right kubectl with a cluster's own kubeconfig and context.
//! It changes no argument; on simulated pods it says which verbs cannot work.

use crate::cluster::access::Access;
use crate::cluster::embedded;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::plan::Tool;
use crate::platform::Stage;

/// Run kubectl with a cluster's own kubeconfig and context
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Cluster of the facts; the default is the one of stage local
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Arguments of kubectl
    #[arg(last = true, value_name = "ARG")]
    pub arguments: Vec<String>,
}

/// Verbs that need a kubelet and a container.
const NEEDS_CONTAINER: [&str; 6] = ["logs", "exec", "attach", "cp", "port-forward", "debug"];

/// Runs the verb; kubectl's exit status becomes ours.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let checkout = context.checkout()?;
    let name = match &arguments.cluster {
        Some(name) => name.clone(),
        None => checkout.platform.default_cluster(Stage::Local)?.to_owned(),
    };
    let facts = checkout.platform.cluster(&name)?;
    let access = Access::of(&name, facts);
    if !checkout.path(&access.kubeconfig).is_file() {
        return Err(
            Failure::preflight(format!("cluster `{name}` has no kubeconfig at `{}`", access.kubeconfig))
                .hinted(format!("bring it up: `cargo xtask local-up --cluster {name}`")),
        );
    }
    let verb = arguments
        .arguments
        .iter()
        .find(|argument| !argument.starts_with('-'))
        .map_or("", String::as_str);
    if NEEDS_CONTAINER.contains(&verb) && checkout.path(embedded::marker(&access)).exists() {
        return Err(Failure::preflight(format!("`kubectl {verb}` needs a container, and the pods of `{name}` are simulated"))
            .hinted("the embedded backend runs a real control plane only; a virtual machine runs containers: `cargo xtask local-up --backend colima`"));
    }
    let tools = context.toolbox(&facts.kubernetes).ensure(&[Tool::Kubectl])?;
    let command = access.kubectl().args(arguments.arguments.iter().map(String::as_str));
    crate::exec::pass_through(&checkout.root, &tools, &command)
}

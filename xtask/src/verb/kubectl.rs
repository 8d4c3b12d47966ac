//! `kubectl`: the right kubectl with a cluster's own kubeconfig and context.
//! It changes no argument; the fence stands before it, and in production what changes something is asked for.

use crate::base::failure::{Failure, Result};
use crate::base::ui::Answer;
use crate::cluster::access::Access;
use crate::cluster::embedded;
use crate::command::Tool;
use crate::context::{Checkout, Context};
use crate::plan::Plan;
use crate::platform::{Cluster, Environment, Stage};
use crate::recipe::guard;
use crate::run::{look, nonce};

/// Run kubectl with a cluster's own kubeconfig and context
#[derive(Debug, Clone, clap::Args)]
#[command(
    visible_alias = "k",
    after_help = "Examples:
  cargo xtask kubectl get pods -A
  cargo xtask kubectl --cluster hetzner -- get nodes -o wide"
)]
pub struct Arguments {
    /// Cluster of the platform config; the default is the one of stage local
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Answer the prompt of a changing verb in production with yes
    #[arg(long)]
    pub yes: bool,
    /// Arguments of kubectl; options before its first word are xtask's own, `--` hands on all that follows
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARG")]
    pub arguments: Vec<String>,
}

/// Verbs that need a kubelet and a container.
const NEEDS_CONTAINER: [&str; 6] = ["logs", "exec", "attach", "cp", "port-forward", "debug"];

/// Verbs that speak to no cluster.
const LOCAL: [&str; 6] = ["", "help", "config", "completion", "kustomize", "options"];

/// Verbs that change nothing in a cluster; every other is taken for one that does.
const READS: [&str; 12] = [
    "get",
    "describe",
    "explain",
    "logs",
    "top",
    "events",
    "api-resources",
    "api-versions",
    "cluster-info",
    "version",
    "diff",
    "wait",
];

/// Flags that decide which cluster is spoken to: the facts have decided that, and the fence has looked.
const DECIDED: [&str; 8] = [
    "--kubeconfig",
    "--context",
    "--cluster",
    "--server",
    "-s",
    "--insecure-skip-tls-verify",
    "--certificate-authority",
    "--tls-server-name",
];

/// Other flags that may stand before the verb and take the next argument as their value (`kubectl options`).
const WITH_VALUE: [&str; 21] = [
    "-n",
    "--namespace",
    "-v",
    "--v",
    "--vmodule",
    "--as",
    "--as-group",
    "--as-uid",
    "--as-user-extra",
    "--cache-dir",
    "--client-certificate",
    "--client-key",
    "--kuberc",
    "--log-flush-frequency",
    "--password",
    "--profile",
    "--profile-output",
    "--request-timeout",
    "--token",
    "--user",
    "--username",
];

/// kubectl's verb, however many flags stand before it; empty when there is none.
fn verb_of(arguments: &[String]) -> &str {
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if !word.starts_with('-') {
            return word;
        }
        if WITH_VALUE.contains(&word) {
            words.next();
        }
    }
    ""
}

/// A flag that would lead kubectl past the fence. What stands after `--` belongs to a program in a container.
fn past_the_fence(arguments: &[String]) -> Option<&str> {
    arguments
        .iter()
        .map(String::as_str)
        .take_while(|word| *word != "--")
        .find(|word| {
            let name = word.split_once('=').map_or(*word, |(name, _)| name);
            // `-s` may have its value in the same word.
            DECIDED.contains(&name) || (word.starts_with("-s") && !word.starts_with("--"))
        })
}

/// Refuses any other cluster than the one of the facts.
fn fence(context: &Context, checkout: &Checkout, name: &str, facts: &Cluster) -> Result<()> {
    let access = Access::of(name, facts).looking(&nonce());
    let mut plan = Plan::new(format!("kubectl --cluster {name}"));
    plan.sections.push(guard::section(&access, facts));
    crate::setup::target::preflight(context, checkout, name, facts, &plan, None)?;
    // The sentence that the fence held is not what somebody asked kubectl for.
    let outcome = look(&context.quiet(), checkout, &plan.sections, &access.work());
    let folder = checkout.path(access.work());
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    outcome.map(drop)
}

fn agree(context: &Context, name: &str, verb: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    let refused = |reason: &str| {
        Failure::refused(format!(
            "`kubectl {verb}` may change production cluster `{name}`, and {reason}; nothing was changed"
        ))
    };
    if !context.ui.can_ask() {
        return Err(refused("there is no terminal to ask on")
            .hinted("`--yes`, before the first word of kubectl's, answers this prompt"));
    }
    match context.ui.ask(&format!(
        "`kubectl {verb}` may change production cluster `{name}`. Proceed?"
    ))? {
        Answer::Yes => Ok(()),
        Answer::No | Answer::Explain => Err(refused("the answer was no")),
    }
}

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
    let verb = verb_of(&arguments.arguments);
    if !LOCAL.contains(&verb)
        && let Some(flag) = past_the_fence(&arguments.arguments)
    {
        return Err(Failure::refused(format!(
            "`{flag}` would lead kubectl past the fence of cluster `{name}`; nothing was changed"
        ))
        .hinted("name the cluster before the first word of kubectl's: `cargo xtask kubectl --cluster CLUSTER get …`"));
    }
    if NEEDS_CONTAINER.contains(&verb) && checkout.path(embedded::marker(&access)).exists() {
        return Err(Failure::preflight(format!("`kubectl {verb}` needs a container, and the pods of `{name}` are simulated"))
            .hinted("the embedded backend runs a real control plane only; a virtual machine runs containers: `cargo xtask local-up --backend colima`"));
    }
    let tools = context.toolbox(&facts.kubernetes).ensure(&[Tool::Kubectl])?;
    if !LOCAL.contains(&verb) {
        fence(context, &checkout, &name, facts)?;
    }
    // `auth reconcile` writes, what else `auth` does not.
    let asks_only = verb == "auth" && !arguments.arguments.iter().any(|word| word == "reconcile");
    let reads = LOCAL.contains(&verb) || READS.contains(&verb) || asks_only;
    if facts.environment == Environment::Production && !reads {
        agree(context, &name, verb, arguments.yes)?;
    }
    let command = access.kubectl().args(arguments.arguments.iter().map(String::as_str));
    let runner = crate::run::exec::Runner::new(&checkout.root, &context.ui, &tools, &context.interrupt);
    runner.become_tool(&command).map(|never| match never {})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(ToOwned::to_owned).collect()
    }

    #[test]
    fn a_namespace_that_is_called_like_a_verb_is_not_taken_for_one() {
        for (line, verb) in [
            ("get pods", "get"),
            ("-n get delete pod x", "delete"),
            ("--namespace config delete pod x", "delete"),
            ("--namespace=config -v 6 apply -f x", "apply"),
            ("-A", ""),
        ] {
            assert_eq!(verb_of(&words(line)), verb, "{line}");
        }
    }

    #[test]
    fn no_flag_leads_past_the_fence() {
        for line in [
            "get pods --context=other",
            "--kubeconfig /x get pods",
            "delete pod x -s https://127.0.0.1:1",
            "delete pod x -shttps://127.0.0.1:1",
        ] {
            assert!(past_the_fence(&words(line)).is_some(), "{line}");
        }
        for line in [
            "get pods --show-labels -n x",
            "create clusterrolebinding x --clusterrole=view --user=somebody",
            "exec pod -- psql --server=x -s",
        ] {
            assert_eq!(past_the_fence(&words(line)), None, "{line}");
        }
    }
}

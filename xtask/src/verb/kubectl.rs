//! `kubectl`: the right kubectl with a cluster's own kubeconfig and context.
//! It changes no argument and hands on only what it understood; the identity check stands before it, and in production
//! what changes something is asked for.

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

/// The words behind `config` that only read: the kubeconfig of a cluster is xtask's to write.
const CONFIG_READS: [&str; 5] = ["view", "current-context", "get-contexts", "get-clusters", "get-users"];

/// What a flag of kubectl is to xtask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// It decides which cluster is spoken to, or brings such flags along: the platform config has decided that.
    Decides,
    /// It takes the next word as its value, or what follows `=`.
    Value,
    /// It has no value, or one behind `=`.
    Switch,
}

/// The flags that every verb of kubectl has, which are those that may stand before the verb (`kubectl options` of
/// 1.31 to 1.36).
pub const FLAGS: [(&str, Flag); 32] = [
    ("--as", Flag::Value),
    ("--as-group", Flag::Value),
    ("--as-uid", Flag::Value),
    ("--as-user-extra", Flag::Value),
    ("--cache-dir", Flag::Value),
    ("--certificate-authority", Flag::Decides),
    ("--client-certificate", Flag::Value),
    ("--client-key", Flag::Value),
    ("--cluster", Flag::Decides),
    ("--context", Flag::Decides),
    ("--disable-compression", Flag::Switch),
    ("--insecure-skip-tls-verify", Flag::Decides),
    ("--kubeconfig", Flag::Decides),
    // Its aliases and defaults add flags that nobody sees here.
    ("--kuberc", Flag::Decides),
    ("--log-flush-frequency", Flag::Value),
    ("--match-server-version", Flag::Switch),
    ("--namespace", Flag::Value),
    ("-n", Flag::Value),
    ("--password", Flag::Value),
    ("--profile", Flag::Value),
    ("--profile-output", Flag::Value),
    ("--request-timeout", Flag::Value),
    ("--server", Flag::Decides),
    ("-s", Flag::Decides),
    ("--tls-server-name", Flag::Decides),
    ("--token", Flag::Value),
    ("--user", Flag::Value),
    ("--username", Flag::Value),
    ("--v", Flag::Value),
    ("-v", Flag::Value),
    ("--vmodule", Flag::Value),
    ("--warnings-as-errors", Flag::Switch),
];

/// Flags without a value that may stand before the verb beside those of [`FLAGS`].
const SWITCHES: [&str; 2] = ["--help", "-h"];

/// Letters that take what stands behind them in the same word as their value, with every verb that has them; `-f` does
/// with every verb but `logs`.
const SHORT_WITH_VALUE: [char; 7] = ['c', 'k', 'l', 'L', 'n', 'o', 'v'];

fn flag_of(name: &str) -> Option<Flag> {
    FLAGS
        .into_iter()
        .find_map(|(flag, is)| (flag == name).then_some(is))
        .or_else(|| SWITCHES.contains(&name).then_some(Flag::Switch))
}

/// Whether a word holds a flag that decides which cluster is spoken to; also the last of several letters in one word.
fn decides(word: &str, follows: bool) -> bool {
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    if word.starts_with("--") {
        return flag_of(name) == Some(Flag::Decides);
    }
    let Some(letters) = word.strip_prefix('-') else {
        return false;
    };
    letters
        .chars()
        .take_while(|letter| letter.is_ascii_alphabetic() && !SHORT_WITH_VALUE.contains(letter))
        .take_while(|letter| *letter != 'f' || follows)
        .any(|letter| letter == 's')
}

/// kubectl's verb and the words behind it, however many flags stand before it; no verb is an empty one.
/// What decides the cluster is refused wherever it stands, and so is what may hide the verb from us.
fn understood<'a>(arguments: &'a [String], cluster: &str) -> Result<(&'a str, &'a [String])> {
    let refused = |flag: &str, why: &str| {
        Failure::refused(format!("`{flag}` {why}; nothing was changed")).hinted(
            "name the cluster before the first word of kubectl's, and give flags behind its verb: `cargo xtask \
             kubectl --cluster CLUSTER get pods …`",
        )
    };
    // What stands after a verb's `--` belongs to a program in a container.
    let own = arguments.iter().take_while(|word| *word != "--");
    let follows = own.clone().any(|word| word == "logs");
    if let Some(flag) = own.clone().find(|word| decides(word, follows)) {
        let why = format!("would lead kubectl past the identity check of cluster `{cluster}`");
        return Err(refused(flag, &why));
    }
    let mut index = 0;
    while let Some(word) = arguments.get(index).map(String::as_str) {
        if !word.starts_with('-') || word == "-" {
            return Ok((word, &arguments[index + 1..]));
        }
        let (name, value) = word
            .split_once('=')
            .map_or((word, None), |(name, value)| (name, Some(value)));
        // A short flag may have its value in the same word.
        let in_one = !word.starts_with("--") && word.len() > 2;
        let name = if in_one { word.get(..2).unwrap_or(word) } else { name };
        match flag_of(name) {
            Some(Flag::Value) if value.is_none() && !in_one => index += 2,
            Some(Flag::Value) => index += 1,
            Some(Flag::Switch) if !in_one => index += 1,
            _ => {
                return Err(refused(
                    word,
                    "stands before kubectl's verb, and kubectl may take the next word for its value",
                ));
            }
        }
    }
    Ok(("", &[]))
}

/// Refuses any other cluster than the one of the platform config.
fn identity_check(context: &Context, checkout: &Checkout, name: &str, config: &Cluster) -> Result<()> {
    let access = Access::of(name, config).looking(&nonce());
    let mut plan = Plan::new(format!("kubectl --cluster {name}"));
    plan.sections.push(guard::section(&access, config));
    crate::setup::target::preflight(context, checkout, name, config, &plan, None)?;
    // The sentence that the identity check held is not what somebody asked kubectl for.
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
        Answer::No | Answer::Explain => Err(refused("you answered no")),
    }
}

/// Runs the verb; kubectl's exit status becomes ours.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let checkout = context.checkout()?;
    let name = match &arguments.cluster {
        Some(name) => name.clone(),
        None => checkout.platform.default_cluster(Stage::Local)?.to_owned(),
    };
    let config = checkout.platform.cluster(&name)?;
    let access = Access::of(&name, config);
    if !checkout.path(&access.kubeconfig).is_file() {
        return Err(
            Failure::preflight(format!("cluster `{name}` has no kubeconfig at `{}`", access.kubeconfig))
                .hinted(format!("bring it up: `cargo xtask local-up --cluster {name}`")),
        );
    }
    let (verb, rest) = understood(&arguments.arguments, &name)?;
    if verb == "config"
        && let Some(word) = rest.iter().find(|word| !word.starts_with('-'))
        && !CONFIG_READS.contains(&word.as_str())
    {
        return Err(Failure::refused(format!(
            "`kubectl config {word}` would change the kubeconfig of `{name}`, which xtask writes; nothing was changed"
        ))
        .hinted(format!(
            "it is `{}`; use a kubeconfig of your own for contexts of your own",
            access.kubeconfig
        )));
    }
    if NEEDS_CONTAINER.contains(&verb) && checkout.path(embedded::marker(&access)).exists() {
        return Err(Failure::preflight(format!("`kubectl {verb}` needs a container, and the pods of `{name}` are simulated"))
            .hinted("the embedded backend runs a real control plane only; a virtual machine runs containers: `cargo xtask local-up --backend colima`"));
    }
    let tools = context.toolbox(&config.kubernetes).ensure(&[Tool::Kubectl])?;
    if !LOCAL.contains(&verb) {
        identity_check(context, &checkout, &name, config)?;
    }
    // `auth reconcile` writes, what else `auth` does not.
    let asks_only = verb == "auth" && !rest.iter().any(|word| word == "reconcile");
    let reads = LOCAL.contains(&verb) || READS.contains(&verb) || asks_only;
    if config.environment == Environment::Production && !reads {
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
    fn a_namespace_or_a_file_that_is_called_like_a_verb_is_not_taken_for_one() {
        for (line, verb) in [
            ("get pods", "get"),
            ("-n get delete pod x", "delete"),
            ("-nget delete pod x", "delete"),
            ("--namespace config delete pod x", "delete"),
            ("--namespace=config -v 6 apply -f x", "apply"),
            ("--disable-compression get pods", "get"),
            ("--help", ""),
        ] {
            assert_eq!(understood(&words(line), "c").unwrap().0, verb, "{line}");
        }
        // kubectl takes the word behind a flag that it does not know for its value.
        for line in [
            "-A get delete",
            "--all-namespaces get delete",
            "--grace-period 0 get pods",
        ] {
            assert!(understood(&words(line), "c").is_err(), "{line}");
        }
    }

    #[test]
    fn no_flag_leads_past_the_identity_check() {
        for line in [
            "get pods --context=other",
            "--kubeconfig /x get pods",
            // A kubeconfig may be called like a verb that speaks to no cluster.
            "--kubeconfig config delete pod x",
            "--kuberc options delete pod x",
            "config view --kubeconfig=/x",
            "delete pod x -s https://127.0.0.1:1",
            "delete pod x -shttps://127.0.0.1:1",
            "get pods -As https://127.0.0.1:1",
            "get pods -wAshttps://127.0.0.1:1",
            "logs -fs https://127.0.0.1:1 pod",
        ] {
            let failure = understood(&words(line), "c").unwrap_err();
            assert_eq!(failure.kind, crate::base::failure::Kind::Refused, "{line}");
        }
        for line in [
            "get pods --show-labels -n x",
            "get pods -nsystem -ojsonpath=x -lapp=s",
            "apply -fservices.yaml",
            "create clusterrolebinding x --clusterrole=view --user=somebody",
            "patch pod x -p {\"spec\":1}",
            "exec pod -- psql --server=x -s",
        ] {
            assert!(understood(&words(line), "c").is_ok(), "{line}");
        }
    }
}

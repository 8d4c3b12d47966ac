//! `capi status`: the tree of a cluster that ClusterAPI makes, what is waited for, and where its objects live.
//! It only looks; a cluster that is unhealthy is exit 10.

use std::fmt::Write as _;

use camino::Utf8Path;
use serde_json::Value;

use crate::base::failure::{Failure, Kind, Result};
use crate::cluster::access::Access;
use crate::cluster::capi::status::{Seen, Status, judge};
use crate::command::Tool;
use crate::context::Context;
use crate::run::exec::Runner;

/// What is asked for.
pub(crate) struct Asked<'a> {
    /// The workload cluster.
    pub(crate) name: &'a str,
    /// Namespace of its objects.
    pub(crate) namespace: &'a str,
    /// Machines that it should have.
    pub(crate) machines: u32,
    /// The bootstrap cluster.
    pub(crate) bootstrap: Access,
    /// The workload cluster itself.
    pub(crate) target: Access,
    /// The record of the pivot on this host.
    pub(crate) pivot: &'a Utf8Path,
    /// Kubernetes version, for kubectl.
    pub(crate) kubernetes: &'a str,
}

/// Looks at both sides and prints what it saw.
pub(crate) fn show(context: &Context, root: &Utf8Path, asked: &Asked<'_>, json: bool) -> Result<()> {
    let tools = context.toolbox(asked.kubernetes).ensure(&[Tool::Kubectl])?;
    let runner = Runner::new(root, &context.ui, &tools, &context.interrupt);
    let look = |access: &Access| -> Result<Seen> {
        if !root.join(&access.kubeconfig).is_file() {
            return Ok(Err(format!("there is no kubeconfig at `{}`", access.kubeconfig)));
        }
        let list = access
            .kubectl()
            .args(["get", "cluster-api", "--output=json", "--request-timeout=10s"])
            .arg(format!("--namespace={}", asked.namespace))
            .within(20);
        runner.read_json(&list)
    };
    let recorded = crate::base::files::later(root, asked.pivot, "/data/pivotState").is_ok_and(|state| state == "done");
    let status = judge(
        asked.name,
        asked.machines,
        &look(&asked.bootstrap)?,
        &look(&asked.target)?,
        recorded,
    );
    if json {
        context.ui.json(1, &status)?;
    } else {
        context.ui.data(text(&status))?;
    }
    if status.healthy {
        return Ok(());
    }
    let failure = Failure::new(Kind::Unhealthy, format!("cluster `{}` is unhealthy", asked.name));
    let never = [&asked.bootstrap, &asked.target]
        .iter()
        .all(|access| !root.join(&access.kubeconfig).is_file());
    // Elsewhere the lines that say what is waited for also say what to do.
    Err(if never {
        failure
            .hinted("nothing of it is on this host: `cargo xtask capi bootstrap` makes it")
            .hinted(format!(
                "a cluster that lives already is looked at with its kubeconfig in `{}`",
                asked.target.kubeconfig
            ))
    } else {
        failure
    })
}

fn text(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |words: String| writeln!(text, "{words}").expect("a string takes everything");
    line(format!(
        "{}: objects {}, pivot {}",
        status.cluster,
        status.place(),
        if status.pivot_recorded {
            "recorded"
        } else {
            "not recorded"
        }
    ));
    for (name, side) in [("bootstrap", &status.bootstrap), ("target", &status.target)] {
        match &side.silent {
            Some(reason) => line(format!("{name}: {reason}")),
            None => line(format!("{name}:")),
        }
        for root in side.tree.as_array().into_iter().flatten() {
            branch(root, 1, &mut line);
        }
    }
    for reason in &status.waiting {
        line(format!("waiting: {reason}"));
    }
    line(format!(
        "the bootstrap cluster {} be deleted",
        if status.bootstrap_may_go { "may" } else { "may not" }
    ));
    text
}

fn branch(object: &Value, depth: usize, line: &mut impl FnMut(String)) {
    let word = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let paused = object.get("paused") == Some(&Value::Bool(true));
    line(format!(
        "{}{}/{} {}{}",
        "  ".repeat(depth),
        word("kind"),
        word("name"),
        word("phase"),
        if paused { " paused" } else { "" }
    ));
    for condition in object.get("conditions").and_then(Value::as_array).into_iter().flatten() {
        let word = |key: &str| condition.get(key).and_then(Value::as_str).unwrap_or_default();
        line(format!(
            "{}- {}={} {}",
            "  ".repeat(depth + 1),
            word("type"),
            word("status"),
            word("reason")
        ));
    }
    for child in object.get("children").and_then(Value::as_array).into_iter().flatten() {
        branch(child, depth + 1, line);
    }
}

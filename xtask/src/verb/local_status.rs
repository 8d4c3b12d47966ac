//! `local-status`: what runs a local cluster, and per component ready or why not.
//! It only looks; a cluster that is not as it should be is exit 10.

use std::collections::BTreeMap;

use serde::Serialize;

use super::local_up::{golden, local_cluster};
use crate::cluster::access::Access;
use crate::cluster::embedded;
use crate::context::Context;
use crate::exec::Runner;
use crate::failure::{Failure, Kind, Result};
use crate::live::gate;
use crate::plan::Tool;
use crate::platform::{Backend, Stage};
use crate::project::{Gate, GateCondition, GateNeeds, Project};
use crate::ui::Word;

/// Show what runs a local cluster, and per component ready or why not
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Cluster of the facts; the default is the one of stage local
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What is seen of a cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    cluster: String,
    backend: &'static str,
    kubeconfig: String,
    context: String,
    /// The API server's version; none when it does not answer.
    kubernetes: Option<String>,
    /// Whether every part is as it should be.
    healthy: bool,
    /// What is wrong with the cluster itself.
    problems: Vec<String>,
    /// Node names with `Ready` or what is wrong.
    nodes: BTreeMap<String, String>,
    /// Components with why they are not ready; an empty list is ready.
    components: BTreeMap<String, Vec<String>>,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let name = local_cluster(&checkout, arguments.cluster.as_deref())?;
    let facts = checkout.platform.cluster(&name)?;
    let access = Access::of(&name, facts);
    let mut status = Status {
        cluster: name.clone(),
        backend: Backend::Embedded.name(),
        kubeconfig: checkout.path(&access.kubeconfig).into_string(),
        context: access.context.clone(),
        kubernetes: None,
        healthy: false,
        problems: Vec::new(),
        nodes: BTreeMap::new(),
        components: BTreeMap::new(),
    };
    if checkout.path(embedded::marker(&access)).exists() {
        status.problems = embedded::dead_processes(&checkout.path(embedded::folder(&access)))?;
        let tools = context.toolbox(&facts.kubernetes).ensure(&[Tool::Kubectl])?;
        let runner = Runner {
            root: &checkout.root,
            ui: &context.ui,
            tools: &tools,
            interrupt: &context.interrupt,
        };
        if status.problems.is_empty() {
            look(&runner, &access, &checkout, &mut status)?;
        }
    } else {
        status.problems.push("was never brought up".to_owned());
    }
    status.healthy = status.problems.is_empty()
        && status.nodes.values().all(|state| state == "Ready")
        && status.components.values().all(Vec::is_empty);
    if arguments.json {
        context.ui.json(&status)?;
    } else {
        print(context, &status)?;
    }
    if status.healthy {
        Ok(())
    } else {
        Err(
            Failure::new(Kind::Unhealthy, format!("cluster `{name}` is not as it should be"))
                .hinted(format!("`cargo xtask local-up --cluster {name}` mends what it can")),
        )
    }
}

fn look(runner: &Runner<'_>, access: &Access, checkout: &crate::context::Checkout, status: &mut Status) -> Result<()> {
    match runner.read_json(&access.kubectl().args(["version", "--output=json"]).within(15))? {
        Ok(version) => {
            status.kubernetes = version
                .pointer("/serverVersion/gitVersion")
                .and_then(|value| value.as_str())
                .map(ToOwned::to_owned);
        }
        Err(reason) => {
            status.problems.push(reason);
            return Ok(());
        }
    }
    match runner.read_json(&access.kubectl().args(["get", "nodes", "--output=json"]).within(15))? {
        Ok(nodes) => {
            for node in nodes
                .get("items")
                .and_then(|items| items.as_array())
                .into_iter()
                .flatten()
            {
                let name = node
                    .pointer("/metadata/name")
                    .and_then(|name| name.as_str())
                    .unwrap_or_default();
                let ready = gate::open_gates(&[nodes_ready()], &serde_json::json!({"items": [node]}));
                let state = ready.into_iter().next().unwrap_or_else(|| "Ready".to_owned());
                status.nodes.insert(name.to_owned(), state);
            }
        }
        Err(reason) => status.problems.push(reason),
    }
    // What was deployed last, else what would be deployed.
    let deployed = checkout.path(access.work().join("project"));
    let folder = if deployed.join("stage.json").is_file() {
        deployed
    } else {
        let (source, _, _) = golden(checkout, &access.cluster, Stage::Local)?;
        checkout.path(source.folder())
    };
    let project = Project::read(&folder)?;
    let mut gates: Vec<Gate> = project
        .description
        .gates
        .iter()
        .filter(|gate| gate::can_hold(gate, true))
        .cloned()
        .collect();
    gates.extend(workload_gates(&project));
    let command = access
        .kubectl()
        .args(["get", "--all-namespaces", "--output=json", "--ignore-not-found"])
        .arg(gate::resources(&gates).join(","))
        .within(30);
    for item in &project.description.items {
        status.components.entry(item.component.clone()).or_default();
    }
    match runner.read_json(&command)? {
        Ok(list) => {
            for gate in &gates {
                let open = gate::open_gates(std::slice::from_ref(gate), &list);
                let known = status.components.entry(gate.component.clone()).or_default();
                known.extend(open.into_iter().map(|reason| {
                    reason
                        .split_once("`: ")
                        .map_or(reason.clone(), |(_, rest)| rest.to_owned())
                }));
                known.sort_unstable();
                known.dedup();
            }
        }
        Err(reason) => status.problems.push(reason),
    }
    Ok(())
}

/// One gate for each workload of the project.
fn workload_gates(project: &Project) -> Vec<Gate> {
    project
        .objects()
        .filter(|(_, object)| {
            matches!(
                object.reference().kind.as_str(),
                "Deployment" | "StatefulSet" | "DaemonSet"
            )
        })
        .map(|(item, object)| Gate {
            id: object.reference().to_string(),
            component: item.component.clone(),
            phase: item.phase.clone(),
            needs: GateNeeds::Kubelet,
            object: object.reference(),
            condition: GateCondition::PodsReady,
            timeout_seconds: 0,
        })
        .collect()
}

fn nodes_ready() -> Gate {
    Gate {
        id: "node".to_owned(),
        component: String::new(),
        phase: String::new(),
        needs: GateNeeds::Kubelet,
        object: crate::project::ObjectRef {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            namespace: String::new(),
            name: String::new(),
        },
        condition: GateCondition::NodesReady,
        timeout_seconds: 0,
    }
}

fn print(context: &Context, status: &Status) -> Result<()> {
    use std::fmt::Write as _;

    let mut text = String::new();
    let mut line = |left: &str, right: &str| {
        writeln!(text, "{left:<28} {right}").expect("a string takes everything");
    };
    line("cluster", &status.cluster);
    line("backend", status.backend);
    line("kubernetes", status.kubernetes.as_deref().unwrap_or("does not answer"));
    for problem in &status.problems {
        line("problem", problem);
    }
    for (node, state) in &status.nodes {
        line(&format!("node {node}"), state);
    }
    for (component, reasons) in &status.components {
        line(component, if reasons.is_empty() { "ready" } else { &reasons[0] });
        for reason in reasons.iter().skip(1) {
            line("", reason);
        }
    }
    context.ui.data(text)?;
    if status.healthy {
        context
            .ui
            .status(Word::Done, "healthy; pods of an embedded cluster are simulated");
    }
    Ok(())
}

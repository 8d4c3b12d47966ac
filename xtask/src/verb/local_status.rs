//! `local-status`: what runs a local cluster, and per component ready or why not.
//! It only looks; a cluster that is unhealthy is exit 10.

use std::collections::BTreeMap;

use serde::Serialize;

use super::local_up::local_cluster;
use crate::base::failure::{Failure, Kind, Result};
use crate::base::ui::Status;
use crate::cluster::access::Access;
use crate::cluster::embedded;
use crate::cluster::vm::{Driver, Field, Record, Then, compare, record_path, saved};
use crate::command::Tool;
use crate::context::Context;
use crate::live::gate;
use crate::live::history::newest_kept;
use crate::platform::{Backend, Stage};
use crate::project::{Gate, GateCondition, GateNeeds, Project};
use crate::recipe::deploy;
use crate::recipe::local_up::project_file;
use crate::run::exec::Runner;
use crate::setup::source::golden;
use crate::setup::target::{self, StageArgs, TargetArgs};
use crate::setup::vm::{self, Setup};

/// Show what runs a local cluster, and which components are ready
#[derive(Debug, Clone, clap::Args)]
#[command(
    visible_alias = "status",
    after_help = "Examples:
  cargo xtask local-status
  cargo xtask local-status --cluster k3s-capi --json"
)]
pub struct Arguments {
    /// Cluster of the platform config; the default is the one of stage local
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Objects that are not deployed and shown by name.
const SHOWN: usize = 20;

/// What is seen of a cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterStatus {
    cluster: String,
    /// What runs it; `none` before it was brought up.
    backend: &'static str,
    kubeconfig: String,
    context: String,
    /// The API server's version; none when it does not answer.
    kubernetes: Option<String>,
    /// Its VM; none on a backend without one.
    vm: Option<VmStatus>,
    /// Whether every part is healthy.
    healthy: bool,
    /// What is wrong with the cluster itself.
    problems: Vec<String>,
    /// Node names with `Ready` or what is wrong.
    nodes: BTreeMap<String, String>,
    /// Components with why they are not ready; an empty list is ready.
    components: BTreeMap<String, Vec<String>>,
    /// What `local-up` would bring to the cluster: edits that are not deployed yet, and what somebody else changed.
    not_deployed: Vec<String>,
}

/// What is seen of a VM.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VmStatus {
    instance: String,
    /// As Lima says it; `Gone` when there is none.
    status: String,
    /// Where the API is reached; nothing of the VM is reached from elsewhere.
    api: String,
    /// Every field that differs between the platform config, the saved profile and the VM.
    drift: Vec<Field>,
}

/// Runs the verb.
pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let checkout = context.checkout()?;
    let name = local_cluster(&checkout, arguments.cluster.as_deref())?;
    let config = checkout.platform.cluster(&name)?;
    let access = Access::of(&name, config);
    let mut status = ClusterStatus {
        cluster: name.clone(),
        backend: "none",
        kubeconfig: checkout.path(&access.kubeconfig).into_string(),
        context: access.context.clone(),
        kubernetes: None,
        vm: None,
        healthy: false,
        problems: Vec::new(),
        nodes: BTreeMap::new(),
        components: BTreeMap::new(),
        not_deployed: Vec::new(),
    };
    let backend = vm::existing(&checkout, &access)?;
    if let Some(backend) = backend {
        status.backend = backend.name();
        match vm::driver(backend) {
            None => status.problems = embedded::stopped_components(&checkout.path(embedded::folder(&access)))?,
            Some(driver) => look_at_vm(context, &checkout, &access, driver, &mut status)?,
        }
        if status.problems.is_empty() {
            let tools = context.toolbox(&config.kubernetes).ensure(&[Tool::Kubectl])?;
            let runner = Runner::new(&checkout.root, &context.ui, &tools, &context.interrupt);
            look(&runner, &access, &checkout, &mut status)?;
        }
    } else {
        status.problems.push("was never brought up".to_owned());
    }
    status.healthy = status.problems.is_empty()
        && status.nodes.values().all(|state| state == "Ready")
        && status.components.values().all(Vec::is_empty);
    // To a VM goes only what Nix builds, and a first build takes longer than a look may.
    if backend == Some(Backend::Embedded) && status.problems.is_empty() {
        match not_deployed(context, &checkout, &name) {
            Ok(found) => status.not_deployed = found,
            // The state of the cluster is told all the same.
            Err(failure) if failure.kind == Kind::Interrupted => return Err(failure),
            Err(failure) => context.ui.status(
                Status::Warning,
                format!("what is not deployed yet cannot be told: {}", failure.chain()),
            ),
        }
    }
    if arguments.json {
        context.ui.json(1, &status)?;
    } else {
        print(context, &status)?;
    }
    if status.healthy {
        Ok(())
    } else {
        Err(Failure::new(Kind::Unhealthy, format!("cluster `{name}` is unhealthy"))
            .hinted(format!("`cargo xtask local-up --cluster {name}` repairs what it can")))
    }
}

/// What a deploy of today's modules would change, a line an object.
fn not_deployed(context: &Context, checkout: &crate::context::Checkout, name: &str) -> Result<Vec<String>> {
    let asked = TargetArgs {
        stage: StageArgs {
            stage: Some(Stage::Local),
            cluster: Some(name.to_owned()),
        },
        source: None,
    };
    let context = context.quiet();
    let target = target::choose(&context, checkout, &asked)?;
    let report = super::diff::report(&context, checkout, &target)?;
    let mut lines: Vec<String> = report
        .changes
        .iter()
        .map(|change| format!("{} ({}): {}", change.object, change.component, change.what.words()))
        .collect();
    lines.extend(report.orphans.iter().map(|object| {
        format!("{object}: no longer in the stage, `cargo xtask prune --stage local --cluster {name}` removes it")
    }));
    Ok(lines)
}

/// Compares the VM with the platform config; what `local-up` would restart or make anew is a problem, what it leaves is not.
fn look_at_vm(
    context: &Context,
    checkout: &crate::context::Checkout,
    access: &Access,
    driver: Driver,
    status: &mut ClusterStatus,
) -> Result<()> {
    let config = checkout.platform.cluster(&access.cluster)?;
    let setup = Setup::of(checkout, &access.cluster, config, driver)?;
    let tools = context.toolbox(&config.kubernetes).ensure(&[Tool::Limactl])?;
    let instance = setup.instance(context, checkout, &tools)?;
    let saved = saved(&setup.home, &setup.wanted)?;
    let record = Record::read(&checkout.path(record_path(access)))?;
    let drift = compare(
        &setup.wanted,
        instance.as_ref(),
        &saved,
        setup.image.as_ref(),
        record.as_ref(),
    );
    let name = &setup.wanted.instance;
    if !drift.exists {
        status.problems.push(format!(
            "VM `{name}` is gone; `local-up` makes it anew, with a new cluster"
        ));
    } else if drift.half_made {
        status.problems.push(format!(
            "the start of VM `{name}` never came to its end; `local-up` makes it anew"
        ));
    } else if let Some(failure) = instance.as_ref().and_then(|instance| instance.inspected().err()) {
        status.problems.push(failure.chain());
        status.problems.extend(failure.hints);
    } else if drift.broken {
        status.problems.push(format!(
            "VM `{name}` is broken; `local-up` ends what is left of it and starts it, its data is kept"
        ));
    } else if !drift.running {
        status.problems.push(format!(
            "VM `{name}` is {}; `local-up` starts it, its data is kept",
            drift.status.to_lowercase()
        ));
    }
    let grave = drift.fields.iter().filter(|field| field.then >= Then::Restart);
    status.problems.extend(grave.map(Field::words));
    status.vm = Some(VmStatus {
        instance: name.clone(),
        status: if drift.exists { drift.status } else { "Gone".to_owned() },
        api: format!("https://127.0.0.1:{}", setup.wanted.api_port),
        drift: drift.fields,
    });
    Ok(())
}

fn look(
    runner: &Runner<'_>,
    access: &Access,
    checkout: &crate::context::Checkout,
    status: &mut ClusterStatus,
) -> Result<()> {
    if !checkout.path(&access.kubeconfig).is_file() {
        status.problems.push(format!(
            "cluster `{}` has no kubeconfig yet; `local-up` fetches it once k3s has written it",
            access.cluster
        ));
        return Ok(());
    }
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
    let project = match deployed(access, checkout)? {
        Some(project) => project,
        None => {
            let (source, _, _) = golden(checkout, &access.cluster, Stage::Local)?;
            Project::read(&checkout.path(source.folder()))?
        }
    };
    let mut gates: Vec<Gate> = project
        .description
        .gates
        .iter()
        .filter(|gate| gate::can_hold(gate, status.vm.is_none()))
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
    // Without a workload and without a gate there is nothing to ask for.
    let list = if gates.is_empty() {
        Ok(serde_json::Value::Null)
    } else {
        runner.read_json(&command)?
    };
    match list {
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

/// The project of the run that began to apply one last, else the one that was deployed last; none where there is
/// neither. What a run only looked at, or refused, is in no cluster.
fn deployed(access: &Access, checkout: &crate::context::Checkout) -> Result<Option<Project>> {
    let work = checkout.path(access.work());
    // Each call of kluctl gets one of these, under the Lease.
    let begun = work.read_dir_utf8().is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().starts_with(deploy::DUE))
    });
    let noted = crate::base::files::later(&checkout.root, &project_file(access), "/folder").ok();
    let noted = noted
        .as_ref()
        .and_then(|folder| folder.as_str())
        .map(|folder| checkout.path(folder));
    let folders = [
        begun.then(|| work.join("project")),
        newest_kept(&checkout.path(deploy::kept(access, Stage::Local)))?,
        noted,
    ];
    for folder in folders.into_iter().flatten() {
        if folder.join("stage.json").is_file() {
            let project = Project::read(&folder)?;
            if project.description.stage == Stage::Local {
                return Ok(Some(project));
            }
        }
    }
    Ok(None)
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

fn print(context: &Context, status: &ClusterStatus) -> Result<()> {
    use std::fmt::Write as _;

    let mut text = String::new();
    let mut line = |left: &str, right: &str| {
        writeln!(text, "{left:<28} {right}").expect("a string takes everything");
    };
    line("cluster", &status.cluster);
    line("backend", status.backend);
    line("kubernetes", status.kubernetes.as_deref().unwrap_or("does not answer"));
    if let Some(vm) = &status.vm {
        line("vm", &format!("{}, {}", vm.instance, vm.status));
        line("api", &format!("{}, from this host alone", vm.api));
        for field in vm.drift.iter().filter(|field| field.then < Then::Restart) {
            line("drift", &field.words());
        }
    }
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
    for (index, object) in status.not_deployed.iter().take(SHOWN).enumerate() {
        line(if index == 0 { "not deployed" } else { "" }, object);
    }
    if status.not_deployed.len() > SHOWN {
        line(
            "",
            &format!("and {} more: `cargo xtask diff`", status.not_deployed.len() - SHOWN),
        );
    }
    context.ui.data(text)?;
    if !status.not_deployed.is_empty() {
        context.ui.status(
            Status::Next,
            format!("cargo xtask local-up --cluster {}", status.cluster),
        );
    }
    if status.healthy {
        let words = if status.vm.is_some() {
            "healthy"
        } else {
            "healthy; pods of an embedded cluster are simulated"
        };
        context.ui.status(Status::Done, words);
    }
    Ok(())
}

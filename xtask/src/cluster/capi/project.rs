//! Stage projects changed for ClusterAPI: with in-memory infrastructure in the place of the real one, and parts.
//! A copy is written; the project it is made from is only read.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::failure::{Failure, Result};
use crate::base::ui::Status;
use crate::call::Caller;
use crate::golden::object::digest_of;
use crate::project::{self, DIGEST, Project};

/// Copies a capi project with in-memory infrastructure in the place of the real one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct InMemoryProject {
    /// The project.
    pub from: Utf8PathBuf,
    /// Control-plane machines.
    pub control_planes: u32,
    /// Workers by MachineDeployment; others get none.
    pub workers: BTreeMap<String, u32>,
    /// Folder of the copy; replaced whole.
    pub to: Utf8PathBuf,
}

impl InMemoryProject {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let (from, to) = (on.root.join(&self.from), on.root.join(&self.to));
        for note in in_memory(&from, self.control_planes, &self.workers, &to)? {
            on.ui.status(Status::Checked, note);
        }
        Ok(())
    }
}

/// Copies a project with some phases alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProjectPart {
    /// The project.
    pub from: Utf8PathBuf,
    /// The phases.
    pub phases: Vec<String>,
    /// Folder of the copy; replaced whole.
    pub to: Utf8PathBuf,
}

impl ProjectPart {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        part(&on.root.join(&self.from), &self.phases, &on.root.join(&self.to))
    }
}

const INFRASTRUCTURE: &str = "infrastructure.cluster.x-k8s.io";

/// How long a machine of a rehearsal takes to start.
const STARTUP: &str = "3s";

/// Copies a capi project whose infrastructure is in memory, and returns what was changed, a sentence each.
fn in_memory(
    from: &Utf8Path,
    control_planes: u32,
    workers: &BTreeMap<String, u32>,
    to: &Utf8Path,
) -> Result<Vec<String>> {
    let mut project = Project::read(from)?;
    let mut notes = Vec::new();
    for item in &mut project.items {
        item.objects.retain_mut(|object| {
            let reference = object.reference();
            let kept = adapt(&mut object.value, control_planes, workers);
            if !kept {
                notes.push(format!("{reference}: nothing like it is in memory"));
            } else if object.reference() != reference {
                notes.push(format!("{reference}: {} in its place", object.reference().kind));
            }
            kept
        });
    }
    project.description.gates.clear();
    project::replace(to, |beside| project.write(beside))?;
    Ok(notes)
}

/// Copies a project with these phases alone.
fn part(from: &Utf8Path, phases: &[String], to: &Utf8Path) -> Result<()> {
    let mut project = Project::read(from)?;
    let description = part_of(&project.description, phases);
    project.retain_items(|item| phases.contains(&item.item.phase));
    if project.items.is_empty() {
        return Err(Failure::config(format!(
            "`{from}` has no item in {}",
            phases.join(", ")
        )));
    }
    project.description = description;
    project::replace(to, |beside| project.write(beside))
}

/// The description of a project with these phases alone.
pub fn part_of(whole: &crate::project::StageDescription, phases: &[String]) -> crate::project::StageDescription {
    let mut part = whole.clone();
    part.phases.retain(|phase| phases.contains(phase));
    part.retain_items(|item| phases.contains(&item.phase));
    part.gates.retain(|gate| phases.contains(&gate.phase));
    part
}

fn adapt(object: &mut Value, control_planes: u32, workers: &BTreeMap<String, u32>) -> bool {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    match object["kind"].as_str().unwrap_or_default() {
        "HetznerCluster" => {
            become_dev(object, "DevCluster", json!({"backend": {"inMemory": {}}}));
            // The in-memory provider writes into the map, and does not make one.
            object["metadata"]["annotations"]["vanixiets.dev/infrastructure"] = "in-memory".into();
        }
        "HCloudMachineTemplate" => {
            let takes = json!({"provisioning": {"startupDuration": STARTUP}});
            let backend = json!({"inMemory": {"vm": takes, "node": takes, "apiServer": takes, "etcd": takes}});
            become_dev(
                object,
                "DevMachineTemplate",
                json!({"template": {"spec": {"backend": backend}}}),
            );
        }
        "Cluster" => object["spec"]["infrastructureRef"]["kind"] = "DevCluster".into(),
        "KubeadmControlPlane" => {
            object["spec"]["replicas"] = control_planes.into();
            object["spec"]["machineTemplate"]["spec"]["infrastructureRef"]["kind"] = "DevMachineTemplate".into();
        }
        "MachineDeployment" => {
            let own = workers.iter().find(|(worker, _)| name.ends_with(worker.as_str()));
            object["spec"]["replicas"] = own.map_or(0, |(_, count)| *count).into();
            let spec = &mut object["spec"]["template"]["spec"];
            spec["infrastructureRef"]["kind"] = "DevMachineTemplate".into();
            if let Some(spec) = spec.as_object_mut() {
                spec.remove("failureDomain");
            }
        }
        // What heals a machine through its provider's API has nothing to call.
        "HCloudRemediationTemplate" => return false,
        "MachineHealthCheck" => {
            if let Some(remediation) = object["spec"]["remediation"].as_object_mut() {
                remediation.remove("templateRef");
            }
        }
        _ => return true,
    }
    let digest = digest_of(object);
    object["metadata"]["annotations"][DIGEST] = digest.into();
    true
}

fn become_dev(object: &mut Value, kind: &str, spec: Value) {
    object["apiVersion"] = format!("{INFRASTRUCTURE}/v1beta2").into();
    object["kind"] = kind.into();
    object["spec"] = spec;
}

//! What a capi stage will ask its provider for, read from the objects that will be deployed.
//! It asks nobody.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::look::{kind, text};
use crate::base::failure::{Failure, Result};
use crate::call::Caller;
use crate::project::Project;

/// What a capi project will ask its provider for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ReadRequirements {
    /// The project.
    pub project: Utf8PathBuf,
    /// JSON file of the type [`Requirements`].
    pub to: Utf8PathBuf,
}

impl ReadRequirements {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        on.write_json(&self.to, &of(&on.root.join(&self.project))?)
    }
}

/// What has to be there before the first machine is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Requirements {
    /// Name by which the provider labels what belongs to the cluster.
    pub cluster: String,
    /// Regions, by name.
    pub regions: BTreeSet<String>,
    /// SSH keys, by name.
    pub ssh_keys: BTreeSet<String>,
    /// Server types with the image of each; a pool without machines needs neither.
    pub machines: BTreeSet<Machine>,
}

/// A kind of machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Machine {
    /// Server type.
    pub server_type: String,
    /// Name or label of its image.
    pub image: String,
}

/// Reads it from a project.
fn of(project: &Utf8Path) -> Result<Requirements> {
    let read = Project::read(project)?;
    let objects: Vec<&Value> = read
        .items
        .iter()
        .flat_map(|item| &item.objects)
        .map(|object| &object.value)
        .collect();
    from(&objects).ok_or_else(|| {
        Failure::config(format!("`{project}` has no HetznerCluster")).hinted("is it the capi stage of this cluster?")
    })
}

fn from(objects: &[&Value]) -> Option<Requirements> {
    let cluster = objects.iter().find(|object| kind(object) == "HetznerCluster")?;
    // Where the machines of a pool come from, by the template that it refers to.
    let templates: Vec<&str> = objects
        .iter()
        .filter_map(|object| match kind(object) {
            "KubeadmControlPlane" => Some(text(object, "/spec/machineTemplate/spec/infrastructureRef/name")),
            "MachineDeployment" if object.pointer("/spec/replicas") != Some(&Value::from(0)) => {
                Some(text(object, "/spec/template/spec/infrastructureRef/name"))
            }
            _ => None,
        })
        .collect();
    let machines = objects
        .iter()
        .filter(|object| kind(object) == "HCloudMachineTemplate" && templates.contains(&text(object, "/metadata/name")))
        .map(|object| Machine {
            server_type: text(object, "/spec/template/spec/type").to_owned(),
            image: text(object, "/spec/template/spec/imageName").to_owned(),
        })
        // An image that a command makes from an address is nobody's to look for.
        .filter(|machine| !machine.image.is_empty())
        .collect();
    let names = |pointer: &str, of: fn(&Value) -> Option<&str>| -> BTreeSet<String> {
        let list = cluster.pointer(pointer).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(of)
            .map(ToOwned::to_owned)
            .collect()
    };
    Some(Requirements {
        cluster: text(cluster, "/metadata/name").to_owned(),
        regions: names("/spec/controlPlaneRegions", Value::as_str),
        ssh_keys: names("/spec/sshKeys/hcloud", |key| key.get("name").and_then(Value::as_str)),
        machines,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reviewed_stage_says_what_it_needs_and_an_empty_pool_needs_nothing() {
        let golden = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/golden/k3s-capi/capi");
        let wanted = of(&golden).unwrap();
        assert_eq!(wanted.cluster, "vanixiets");
        assert_eq!(wanted.regions, ["hel1".to_owned()].into());
        assert_eq!(wanted.ssh_keys, ["vanixiets".to_owned()].into());
        let types: Vec<&str> = wanted
            .machines
            .iter()
            .map(|machine| machine.server_type.as_str())
            .collect();
        assert_eq!(types, ["cx23", "cx33"], "the pool of cax11 has no machine");
        assert!(wanted.machines.iter().all(|machine| machine.image == "2505-x86"));
    }
}

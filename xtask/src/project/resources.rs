//! What an API server serves, from `kubectl api-resources -o wide`: kinds with their group, version and verbs.

use serde::{Deserialize, Serialize};

use crate::base::failure::{Failure, Result};
use crate::project::ObjectRef;

/// One served resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Plural name.
    pub name: String,
    /// `group/version`, or `version` for the core group.
    pub api_version: String,
    /// Whether its objects stand in namespaces.
    pub namespaced: bool,
    /// Kind.
    pub kind: String,
    /// Verbs it takes.
    pub verbs: Vec<String>,
}

impl Resource {
    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Whether an object is of this kind, in whatever version.
    pub fn serves(&self, object: &ObjectRef) -> bool {
        self.kind == object.kind && self.group() == object.group()
    }

    /// As `kubectl get` takes it: `deployments.apps`, `pods`.
    pub fn argument(&self) -> String {
        match self.group() {
            "" => self.name.clone(),
            group => format!("{}.{group}", self.name),
        }
    }
}

/// Reads the table. Short names may be missing, so columns are counted from `NAMESPACED`, which is
/// `true` or `false` (kubectl 1.35, `--no-headers -o wide`).
pub fn parse(table: &str) -> Result<Vec<Resource>> {
    let mut resources = Vec::new();
    for line in table.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(at) = words
            .iter()
            .position(|word| matches!(*word, "true" | "false"))
            .filter(|at| *at >= 2)
        else {
            return Err(Failure::unexpected(format!(
                "`kubectl api-resources` printed an unexpected line: `{line}`"
            )));
        };
        let (Some(kind), Some(verbs)) = (words.get(at + 1), words.get(at + 2)) else {
            return Err(Failure::unexpected(format!(
                "`kubectl api-resources` printed an unexpected line: `{line}`"
            )));
        };
        resources.push(Resource {
            name: words[0].to_owned(),
            api_version: words[at - 1].to_owned(),
            namespaced: words[at] == "true",
            kind: (*kind).to_owned(),
            verbs: verbs.split(',').map(ToOwned::to_owned).collect(),
        });
    }
    if resources.is_empty() {
        return Err(Failure::unexpected("`kubectl api-resources` printed nothing"));
    }
    Ok(resources)
}

/// Where an API server lists all objects of a resource, in every namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct List {
    /// Path below the server's address.
    pub path: String,
    /// Its objects' `apiVersion`, which a list of them says once.
    pub api_version: String,
    /// Their kind.
    pub kind: String,
    /// Whether nothing may be decided without it.
    pub need: Need,
}

/// Whether a list can be gone without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Need {
    /// The stage has objects of the kind, or had: without the list nothing is known of them.
    Needed,
    /// No object of the stage is known to be of the kind; where it cannot be listed, that is said.
    PassedOver,
}

/// The resources that a stage can have objects of. What cannot be created is no object of a stage, and Events would
/// only cost time.
fn creatable(resources: &[Resource]) -> Vec<&Resource> {
    let mut found: Vec<&Resource> = resources
        .iter()
        .filter(|resource| {
            ["list", "create", "patch"]
                .iter()
                .all(|verb| resource.verbs.iter().any(|has| has == verb))
        })
        .filter(|resource| resource.kind != "Event")
        .collect();
    found.sort_by_key(|resource| resource.argument());
    found
}

/// The resources that a stage can have objects of, as one argument of `kubectl get`.
pub fn listable(resources: &[Resource]) -> String {
    let arguments: Vec<String> = creatable(resources).into_iter().map(Resource::argument).collect();
    arguments.join(",")
}

/// The same as a list to ask for each; those are needed whose kind one of these objects has.
pub fn lists(resources: &[Resource], objects: &[ObjectRef]) -> Vec<List> {
    let list = |resource: &Resource| List {
        path: format!(
            "/{}/{}/{}",
            if resource.group().is_empty() { "api" } else { "apis" },
            resource.api_version,
            resource.name
        ),
        api_version: resource.api_version.clone(),
        kind: resource.kind.clone(),
        need: if objects.iter().any(|object| resource.serves(object)) {
            Need::Needed
        } else {
            Need::PassedOver
        },
    };
    creatable(resources).into_iter().map(list).collect()
}

/// Whether an object's kind is served, in whatever version.
pub fn serves(resources: &[Resource], object: &ObjectRef) -> bool {
    resources.iter().any(|resource| resource.serves(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
componentstatuses   cs   v1   false   ComponentStatus   get,list
events   ev   v1   true   Event   create,delete,deletecollection,get,list,patch,update,watch
pods   po   v1   true   Pod   create,delete,deletecollection,get,list,patch,update,watch   all
tokenreviews      authentication.k8s.io/v1   false   TokenReview   create
deployments   deploy   apps/v1   true   Deployment   create,delete,deletecollection,get,list,patch,update,watch   all
";

    #[test]
    fn a_missing_short_name_does_not_move_the_columns() {
        let resources = parse(TABLE).unwrap();
        assert_eq!(resources[3].kind, "TokenReview");
        assert_eq!(resources[4].argument(), "deployments.apps");
    }

    #[test]
    fn only_what_a_stage_can_create_is_listed() {
        let resources = parse(TABLE).unwrap();
        assert_eq!(listable(&resources), "deployments.apps,pods");
        let pod = ObjectRef::of(&serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}));
        let lists = lists(&resources, &[pod]);
        let found: Vec<(&str, Need)> = lists.iter().map(|list| (list.path.as_str(), list.need)).collect();
        assert_eq!(
            found,
            [
                ("/apis/apps/v1/deployments", Need::PassedOver),
                ("/api/v1/pods", Need::Needed)
            ]
        );
    }

    #[test]
    fn a_line_of_another_kind_is_an_error_not_a_guess() {
        assert!(parse("error: the server is down").is_err());
        assert!(parse("").is_err());
    }
}

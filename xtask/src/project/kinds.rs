//! The kinds of a project against what there is: an API server, the project's own definitions, and the operators that
//! the project brings. What none of them defines is no kind, and what stands in a namespace is theirs to say.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde_json::Value;

use crate::base::failure::Result;
use crate::project::resources::Resource;
use crate::project::{ObjectRef, Project, sound};

/// Refuses a project that cannot be deployed as it is, with everything that is wrong with it.
pub fn check_project(folder: &Utf8Path, project: &Project, served: &[Resource]) -> Result<()> {
    project.refuse_empty()?;
    let mut problems = sound::left_out_problems(folder)?;
    problems.extend(sound::problems(project));
    problems.extend(Kinds::of(project, served).problems(project));
    sound::judge(&problems)
}

/// Components whose operators bring definitions of their own, with the group of these and of those below it.
const OPERATORS: [(&str, &str); 2] = [("cilium", "cilium.io"), ("cluster-api", "cluster.x-k8s.io")];

/// Where the objects of a kind stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Cluster,
    Namespaced,
}

/// Who defines the kinds of a project.
#[derive(Debug)]
pub struct Kinds<'a> {
    served: &'a [Resource],
    /// Scope and versions of what the project's own definitions define, by group and kind.
    defined: BTreeMap<(String, String), (Scope, Vec<String>)>,
    /// Groups that operators of the project define kinds of.
    operated: Vec<&'static str>,
}

impl<'a> Kinds<'a> {
    /// The kinds of a project on a server.
    pub fn of(project: &Project, served: &'a [Resource]) -> Self {
        let mut defined = BTreeMap::new();
        for (_, object) in project.objects() {
            let reference = object.reference();
            if reference.kind != "CustomResourceDefinition" || reference.group() != "apiextensions.k8s.io" {
                continue;
            }
            let text = |pointer: &str| object.value.pointer(pointer).and_then(Value::as_str);
            let (Some(group), Some(kind)) = (text("/spec/group"), text("/spec/names/kind")) else {
                continue;
            };
            let scope = match text("/spec/scope") {
                Some("Cluster") => Scope::Cluster,
                _ => Scope::Namespaced,
            };
            let versions = object.value.pointer("/spec/versions").and_then(Value::as_array);
            let versions = versions
                .into_iter()
                .flatten()
                .filter(|version| version["served"] != false)
                .filter_map(|version| version["name"].as_str().map(ToOwned::to_owned))
                .collect();
            defined.insert((group.to_owned(), kind.to_owned()), (scope, versions));
        }
        let operated = OPERATORS
            .into_iter()
            .filter(|(component, _)| {
                project
                    .description
                    .items
                    .iter()
                    .any(|item| item.component == *component)
            })
            .map(|(_, group)| group)
            .collect();
        Self {
            served,
            defined,
            operated,
        }
    }

    fn definition(&self, object: &ObjectRef) -> Option<&(Scope, Vec<String>)> {
        self.defined.get(&(object.group().to_owned(), object.kind.clone()))
    }

    /// Whether the server or the project itself defines an object's kind.
    pub fn defines(&self, object: &ObjectRef) -> bool {
        crate::project::resources::serves(self.served, object) || self.definition(object).is_some()
    }

    /// Whether an operator of the project defines an object's kind, once it runs.
    pub fn is_operated(&self, object: &ObjectRef) -> bool {
        self.operated.iter().any(|group| {
            let own = object.group();
            own == *group || own.strip_suffix(group).is_some_and(|rest| rest.ends_with('.'))
        })
    }

    fn scope(&self, object: &ObjectRef) -> Option<Scope> {
        // The project's own definition is what will be there.
        if let Some((scope, _)) = self.definition(object) {
            return Some(*scope);
        }
        let served = self.served.iter().find(|resource| resource.serves(object))?;
        Some(if served.namespaced {
            Scope::Namespaced
        } else {
            Scope::Cluster
        })
    }

    /// What is wrong with the kinds of a project's objects.
    pub fn problems(&self, project: &Project) -> Vec<String> {
        project
            .objects()
            .filter_map(|(_, object)| self.problem(&object.reference()))
            .collect()
    }

    fn problem(&self, object: &ObjectRef) -> Option<String> {
        // Said already, as an object that is not whole.
        if object.kind.is_empty() || object.api_version.is_empty() {
            return None;
        }
        if !self.defines(object) {
            return (!self.is_operated(object)).then(|| {
                format!(
                    "{object}: there is no kind `{}` of `{}`: neither the API server nor a definition of the project \
                     has it, and no operator of the project is known to bring it",
                    object.kind, object.api_version
                )
            });
        }
        if let Some((_, versions)) = self.definition(object) {
            let version = object.api_version.rsplit('/').next().unwrap_or_default();
            if !versions.is_empty() && !versions.iter().any(|served| served == version) {
                return Some(format!(
                    "{object}: its definition in the project serves {}, not `{version}`",
                    versions.join(", ")
                ));
            }
        }
        match (self.scope(object)?, object.namespace.is_empty()) {
            (Scope::Cluster, false) => Some(format!(
                "{object}: its kind stands in no namespace, and it names `{}`: take `metadata.namespace` off",
                object.namespace
            )),
            (Scope::Namespaced, true) => Some(format!(
                "{object}: its kind stands in a namespace, and it names none: say `metadata.namespace`"
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::project::{Item, ItemObjects, Object, StageDescription};

    fn project(component: &str, objects: &[Value]) -> Project {
        let description = json!({"schema": 1, "cluster": "c", "stage": "local", "environment": "local",
            "discriminator": "d", "phases": ["base"], "gates": [], "charts": [], "items": [{"directory": "01-x",
            "component": component, "phase": "base", "waitReadiness": false, "barrier": false}]});
        let description: StageDescription = serde_json::from_value(description).unwrap();
        let item: Item = description.items[0].clone();
        let objects = objects.iter().map(|value| Object {
            file: "a.yaml".to_owned(),
            value: value.clone(),
        });
        Project {
            items: vec![ItemObjects {
                item,
                objects: objects.collect(),
            }],
            description,
            conflict_rules: Vec::new(),
        }
    }

    fn object(api_version: &str, kind: &str, namespace: &str) -> Value {
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a", "namespace": namespace}})
    }

    fn served() -> Vec<Resource> {
        crate::project::resources::parse(
            "configmaps cm v1 true ConfigMap create,get,list,patch\n\
             clusterroles rbac.authorization.k8s.io/v1 false ClusterRole create,get,list,patch\n\
             deployments deploy apps/v1 true Deployment create,get,list,patch\n",
        )
        .unwrap()
    }

    fn found(component: &str, objects: &[Value]) -> Vec<String> {
        let (project, served) = (project(component, objects), served());
        Kinds::of(&project, &served).problems(&project)
    }

    #[test]
    fn a_kind_that_nobody_defines_is_an_error_and_one_of_a_named_operator_is_not() {
        for (api_version, kind) in [
            ("apps/v1", "Deploymnt"),
            ("extensions/v1beta1", "Deployment"),
            ("policy/v1beta1", "PodSecurityPolicy"),
            ("x.example/v1", "Thing"),
            ("notcilium.io/v2", "CiliumNode"),
        ] {
            let problems = found("cilium", &[object(api_version, kind, "n")]);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(
                problems[0].contains(&format!("no kind `{kind}` of `{api_version}`")),
                "{problems:?}"
            );
        }
        for (component, api_version) in [
            ("cilium", "cilium.io/v2"),
            ("cluster-api", "cluster.x-k8s.io/v1beta2"),
            ("cluster-api", "infrastructure.cluster.x-k8s.io/v1beta1"),
        ] {
            assert_eq!(found(component, &[object(api_version, "Any", "n")]), [""; 0]);
            assert_eq!(
                found("x", &[object(api_version, "Any", "n")]).len(),
                1,
                "it is not in the project"
            );
        }
    }

    #[test]
    fn a_definition_of_the_project_says_scope_and_versions() {
        let definition = |scope: &str| {
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "things.x.example"}, "spec": {"group": "x.example", "scope": scope,
                "names": {"kind": "Thing"}, "versions": [{"name": "v1", "served": true}, {"name": "v0", "served": false}]}})
        };
        let of = |scope: &str, api_version: &str, namespace: &str| {
            let mut problems = found("x", &[definition(scope), object(api_version, "Thing", namespace)]);
            problems.retain(|problem| problem.starts_with("Thing.x.example/"));
            problems
        };
        assert_eq!(of("Namespaced", "x.example/v1", "n"), [""; 0]);
        assert_eq!(of("Cluster", "x.example/v1", ""), [""; 0]);
        assert!(of("Cluster", "x.example/v1", "n")[0].contains("stands in no namespace"));
        assert!(of("Namespaced", "x.example/v1", "")[0].contains("stands in a namespace"));
        assert!(of("Namespaced", "x.example/v0", "n")[0].contains("serves v1, not `v0`"));
    }

    #[test]
    fn a_namespace_is_where_the_server_says_that_it_belongs() {
        let problems = found(
            "x",
            &[
                object("rbac.authorization.k8s.io/v1", "ClusterRole", "n"),
                object("v1", "ConfigMap", ""),
                object("v1", "ConfigMap", "n"),
                object("rbac.authorization.k8s.io/v1", "ClusterRole", ""),
            ],
        );
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}

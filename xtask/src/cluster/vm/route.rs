//! Routes of a local cluster: the addresses under which a browser of this host finds what a project serves.
//! Pure functions over objects; `run` asks the addresses.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::trust;
use crate::base::failure::{Kind, Result};
use crate::base::ui::Status;
use crate::call::Caller;
use crate::project::{ObjectRef, Project};

/// The addresses of a project's routes, and the root certificate that verifies them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FindRoutes {
    /// The project.
    pub project: Utf8PathBuf,
    /// `kubectl get configmaps --all-namespaces -o json`.
    pub configmaps: Utf8PathBuf,
    /// JSON file of the type [`Routes`].
    pub to: Utf8PathBuf,
}

impl FindRoutes {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let project = Project::read(&on.root.join(&self.project))?;
        let objects: Vec<&Value> = project.objects().map(|(_, object)| &object.value).collect();
        let addresses = addresses(&objects);
        let published: Value = on.read(&self.configmaps)?;
        let root = match trust::certificate(&published) {
            Ok(pem) => Some(pem.to_owned()),
            // A cluster whose issuer is a public one publishes none.
            Err(failure) if failure.kind == Kind::Preflight => None,
            Err(failure) => return Err(failure),
        };
        let verified = if root.is_some() {
            "the local authority's root"
        } else {
            "the authorities of the public web"
        };
        for address in &addresses {
            on.ui
                .status(Status::Checked, format!("{address}, to be verified by {verified}"));
        }
        on.write_json(&self.to, &Routes { addresses, root })
    }
}

/// What is asked, and by which certificate an answer is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Routes {
    /// `https://<host>`, each once.
    pub addresses: Vec<String>,
    /// PEM of the local authority's root; none where the authorities of the public web are meant.
    pub root: Option<String>,
}

/// The addresses of every listener of a Gateway that ends TLS and that an HTTPRoute attaches to.
pub fn addresses(objects: &[&Value]) -> Vec<String> {
    let of_kind = |kind: &'static str| {
        objects
            .iter()
            .filter(move |object| object["kind"] == kind && group(object) == "gateway.networking.k8s.io")
    };
    let mut found = Vec::new();
    for gateway in of_kind("Gateway") {
        let gateway_is = ObjectRef::of(gateway);
        let attached = |listener: &Value| {
            of_kind("HTTPRoute").any(|route| {
                let route_is = ObjectRef::of(route);
                list(&route["spec"]["parentRefs"]).iter().any(|parent| {
                    let namespace = parent["namespace"].as_str().unwrap_or(&route_is.namespace);
                    namespace == gateway_is.namespace
                        && parent["name"] == gateway_is.name.as_str()
                        && parent["sectionName"] == listener["name"]
                })
            })
        };
        for listener in list(&gateway["spec"]["listeners"]) {
            let Some(host) = listener["hostname"].as_str() else {
                continue;
            };
            if listener["protocol"] != "HTTPS" || !attached(listener) {
                continue;
            }
            found.push(match listener["port"].as_u64() {
                Some(443) | None => format!("https://{host}"),
                Some(port) => format!("https://{host}:{port}"),
            });
        }
    }
    found.sort();
    found.dedup();
    found
}

fn group(object: &Value) -> &str {
    object["apiVersion"]
        .as_str()
        .and_then(|version| version.split_once('/'))
        .map_or("", |(group, _)| group)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_ends_tls_and_has_a_route_behind_it_has_an_address() {
        let listener = |name: &str, host: &str, port: u16, protocol: &str| json!({"name": name, "hostname": host, "port": port, "protocol": protocol});
        let route = |name: &str, section: &str, namespace: Value| {
            json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {"parentRefs": [{"name": "main", "namespace": namespace, "sectionName": section}]},
            })
        };
        let objects = [
            json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
                "metadata": {"name": "main", "namespace": "gateway-system"},
                "spec": {"listeners": [
                    listener("http-a", "a.example", 80, "HTTP"),
                    listener("https-a", "a.example", 443, "HTTPS"),
                    listener("https-b", "b.example", 8443, "HTTPS"),
                    listener("https-idle", "idle.example", 443, "HTTPS"),
                    listener("https-elsewhere", "elsewhere.example", 443, "HTTPS"),
                ]},
            }),
            route("a", "https-a", json!("gateway-system")),
            route("plain", "http-a", json!("gateway-system")),
            route("b", "https-b", json!("gateway-system")),
            // Without a namespace it means a Gateway of its own.
            route("elsewhere", "https-elsewhere", Value::Null),
            json!({"apiVersion": "other/v1", "kind": "Gateway", "metadata": {}, "spec": {}}),
        ];
        assert_eq!(
            addresses(&objects.iter().collect::<Vec<_>>()),
            ["https://a.example", "https://b.example:8443"]
        );
    }
}

//! The local repository that clusterctl installs from: modules of providers, their components, its configuration.
//! What is in it was pinned; nothing is downloaded here.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::look::text;
use super::providers::Provider;
use crate::base::failure::{Failure, Kind, Result};
use crate::base::ui::Status;
use crate::call::Caller;

/// Whether a downloaded module has the pinned sum; links its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProviderModule {
    /// Output of `go mod download -json`.
    pub download: Utf8PathBuf,
    /// The pin, as `go.sum` has it.
    pub sum: String,
    /// Link to the module's folder.
    pub link: Utf8PathBuf,
}

impl ProviderModule {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let module = on.read_or_null(&self.download)?;
        let found = text(&module, "/Sum");
        if found != self.sum {
            return Err(Failure::new(
                Kind::Preflight,
                format!(
                    "module `{}` {} has sum `{found}`, pinned is `{}`",
                    text(&module, "/Path"),
                    text(&module, "/Version"),
                    self.sum
                ),
            )
            .hinted("it was changed on the way: nothing of it is used; `go clean -modcache` and look at the proxy"));
        }
        let folder = Utf8Path::new(text(&module, "/Dir"));
        if !folder.is_dir() {
            return Err(Failure::preflight(format!(
                "the module's folder `{folder}` is not there"
            )));
        }
        let link = on.root.join(&self.link);
        if let Some(parent) = link.parent() {
            fs_err::create_dir_all(parent)?;
        }
        if fs_err::symlink_metadata(&link).is_ok() {
            fs_err::remove_file(&link)?;
        }
        Ok(fs_err::os::unix::fs::symlink(folder, &link)?)
    }
}

/// Makes a provider's part of the local repository: its components as clusterctl reads them, JSON documents one after
/// another, and their metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProviderComponents {
    /// Output of `kubectl kustomize`.
    pub rendered: Utf8PathBuf,
    /// The provider.
    pub provider: Provider,
    /// How it is changed.
    pub fit: Fit,
    /// The local repository.
    pub repository: Utf8PathBuf,
}

impl ProviderComponents {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let Self {
            rendered,
            provider,
            fit,
            repository,
        } = self;
        let documents = crate::base::formats::yaml::read(&on.text(rendered)?)
            .map_err(|error| Failure::new(Kind::Step, format!("`{rendered}` cannot be read: {error}")))?;
        let mut managers = 0;
        let mut left = Vec::new();
        let mut out = String::new();
        for mut document in documents {
            managers += set_image(&mut document, provider);
            if *fit == Fit::Embedded && !fit_embedded(&mut document) {
                left.push(crate::project::ObjectRef::of(&document).to_string());
                continue;
            }
            out.push_str("---\n");
            out.push_str(&document.to_string());
            out.push('\n');
        }
        if managers != 1 {
            return Err(Failure::new(
                Kind::Step,
                format!("`{rendered}` has {managers} containers called `manager`, one is expected"),
            ));
        }
        let folder = repository.join(provider.label()).join(&provider.version);
        on.write(
            &folder.join(format!("{}-components.yaml", provider.role.name())),
            out.as_bytes(),
            0o644,
        )?;
        on.write(&folder.join("metadata.yaml"), metadata(provider).as_bytes(), 0o644)?;
        if !left.is_empty() {
            on.ui.status(
                Status::Checked,
                format!("{}: without {}", provider.label(), left.join(", ")),
            );
        }
        Ok(())
    }
}

/// How components are changed on their way into the local repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// Nothing but the image.
    Cluster,
    /// Without webhooks and conversion: on an embedded cluster nothing answers on a ClusterIP.
    Embedded,
}

/// Writes `clusterctl.yaml` for a local repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ClusterctlConfiguration {
    /// Every provider.
    pub providers: Vec<Provider>,
    /// The local repository.
    pub repository: Utf8PathBuf,
    /// The file.
    pub to: Utf8PathBuf,
}

impl ClusterctlConfiguration {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let text = configuration(&self.providers, &on.root.join(&self.repository));
        on.write(&self.to, text.as_bytes(), 0o600)
    }
}

/// Gives the manager the image of the release: a source folder names a build of its own.
fn set_image(document: &mut Value, provider: &Provider) -> usize {
    let Some(containers) = document
        .pointer_mut("/spec/template/spec/containers")
        .and_then(Value::as_array_mut)
    else {
        return 0;
    };
    let mut managers = 0;
    for container in containers {
        if container.get("name").and_then(Value::as_str) == Some("manager") {
            container["image"] = format!("{}:{}", provider.image, provider.version).into();
            container["imagePullPolicy"] = "IfNotPresent".into();
            managers += 1;
        }
    }
    managers
}

/// Takes away what an embedded cluster cannot hold; false when that is all of the object.
fn fit_embedded(document: &mut Value) -> bool {
    let api = text(document, "/apiVersion").to_owned();
    let kind = text(document, "/kind").to_owned();
    if kind.ends_with("WebhookConfiguration") || api.starts_with("cert-manager.io/") {
        return false;
    }
    if kind == "CustomResourceDefinition" && document.pointer("/spec/conversion").is_some() {
        document["spec"]["conversion"] = json!({"strategy": "None"});
    }
    true
}

fn metadata(provider: &Provider) -> String {
    let (major, minor) = provider.series.split_once('.').unwrap_or((&provider.series, "0"));
    format!(
        "apiVersion: clusterctl.cluster.x-k8s.io/v1alpha3\nkind: Metadata\nreleaseSeries:\n- major: {major}\n  minor: {minor}\n  contract: {}\n",
        provider.contract
    )
}

fn configuration(providers: &[Provider], repository: &Utf8Path) -> String {
    let listed: Vec<Value> = providers
        .iter()
        .map(|provider| {
            json!({"name": provider.name, "type": provider.role.kind(), "url": format!(
                "file://{repository}/{}/{}/{}-components.yaml",
                provider.label(), provider.version, provider.role.name()
            )})
        })
        .collect();
    // cert-manager is the stage's own: should it not answer, clusterctl must not fetch another.
    let configuration = json!({
        "providers": listed,
        "cert-manager": {"url": format!("file://{repository}/cert-manager/v0.0.0/cert-manager.yaml"), "version": "v0.0.0", "timeout": "1m"},
    });
    format!("{configuration:#}\n")
}

#[cfg(test)]
mod tests {
    use super::super::providers::Role;
    use super::*;

    #[test]
    fn a_manager_gets_the_image_of_the_release_and_an_embedded_cluster_no_webhook() {
        let provider = Provider {
            name: "cluster-api".into(),
            role: Role::Core,
            version: "v1.2.3".into(),
            series: "1.2".into(),
            contract: "v1beta2".into(),
            image: "registry.example/core".into(),
            namespace: "x".into(),
        };
        let mut deployment =
            json!({"spec": {"template": {"spec": {"containers": [{"name": "manager", "image": "main"}]}}}});
        assert_eq!(set_image(&mut deployment, &provider), 1);
        assert_eq!(
            deployment["spec"]["template"]["spec"]["containers"][0]["image"],
            "registry.example/core:v1.2.3"
        );
        assert!(!fit_embedded(&mut json!({"kind": "ValidatingWebhookConfiguration"})));
        let mut crd = json!({"kind": "CustomResourceDefinition", "spec": {"conversion": {"strategy": "Webhook"}}});
        assert!(fit_embedded(&mut crd));
        assert_eq!(crd["spec"]["conversion"], json!({"strategy": "None"}));
    }
}

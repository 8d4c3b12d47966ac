//! The providers: a local repository of what is pinned, and clusterctl installs from it on either side.
//! Nothing is asked of a network but the pinned sources themselves.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;

use super::{Bootstrap, CONTROLLERS, Controllers, Side};
use crate::cluster::access::Access;
use crate::cluster::capi::providers::{Origin, Pinned};
use crate::cluster::capi::{self, ClusterctlConfiguration, Fit, Provider, ProviderComponents, ProviderModule, Want};
use crate::command::{Command, Tool};
use crate::plan::{Action, Effect, Probe, Section, Step};
use crate::recipe::nix_build;

impl Bootstrap<'_> {
    /// The local repository of pinned providers, and clusterctl's configuration for it.
    pub(super) fn provide(&self) -> Section {
        let fit = match self.controllers {
            Controllers::Pods => Fit::Cluster,
            Controllers::Processes => Fit::Embedded,
        };
        let repository = self.work("repository");
        let mut steps = Vec::new();
        let mut fetched: Vec<String> = Vec::new();
        for pinned in &self.providers {
            let source = pinned.source();
            let link = self.work("sources").join(&source);
            if !fetched.contains(&source) {
                steps.extend(self.fetch_steps(pinned, &link));
                fetched.push(source);
            }
            let label = pinned.provider.label();
            let rendered = self.work("rendered").join(format!("{label}.yaml"));
            steps.push(Step::new(
                &format!("provider-{label}.render"),
                format!("Render the components of `{label}` {}", pinned.provider.version),
                "From the pinned source itself: a release's file could be replaced, a sum cannot.",
                Effect::Local,
                Action::Run(
                    self.source
                        .access
                        .kubectl()
                        .arg("kustomize")
                        .arg(link.join(pinned.folder))
                        .to_file(&rendered)
                        .within(120),
                ),
            ));
            steps.push(Step::new(
                &format!("provider-{label}.place"),
                format!("Place `{label}` in the local repository"),
                "clusterctl installs from there and asks no network.",
                Effect::Local,
                Action::task(ProviderComponents {
                    rendered,
                    provider: pinned.provider.clone(),
                    fit,
                    repository: repository.clone(),
                }),
            ));
        }
        steps.push(Step::new(
            "providers.configure",
            "Write `clusterctl.yaml`",
            "It names the pinned providers and no other.",
            Effect::Local,
            Action::task(ClusterctlConfiguration {
                providers: self.providers.iter().map(|pinned| pinned.provider.clone()).collect(),
                repository,
                to: self.configuration(),
            }),
        ));
        let placed = self.work("providers-placed.json");
        let by_this_run = Probe::Says {
            file: placed.clone(),
            pointer: "/run".to_owned(),
            value: json!(self.nonce),
        };
        steps.push(Step::new(
            "providers.note",
            "Note that this run has placed the providers",
            "Rendering them is most of what a run does that is taken up again.",
            Effect::Local,
            Action::Write {
                path: placed,
                content: format!("{}\n", json!({"run": self.nonce})),
                mode: 0o600,
            },
        ));
        Section::new(
            "providers",
            "Make the local repository of pinned providers",
            "clusterctl installs from there and asks no network.",
        )
        .with_all(steps)
        .unless(by_this_run)
    }

    pub(super) fn fetch_steps(&self, pinned: &Pinned, link: &Utf8Path) -> Vec<Step> {
        let label = pinned.provider.label();
        match &pinned.origin {
            Origin::Module { path, version, sum } => {
                let download = self.work("sources").join(format!("{label}.json"));
                vec![
                    Step::new(
                        &format!("provider-{label}.fetch"),
                        format!("Fetch module `{path}` {version}"),
                        "It has the components' own sources.",
                        Effect::Local,
                        Action::Run(
                            Command::new(Tool::Go)
                                .args(["mod", "download", "-json"])
                                .arg(format!("{path}@{version}"))
                                // The sum is checked by the next step, against the pin.
                                .env("GOSUMDB", "off")
                                .env("GOFLAGS", "-mod=mod")
                                .env("GOTOOLCHAIN", "local")
                                .to_file(&download)
                                .within(600),
                        ),
                    ),
                    Step::new(
                        &format!("provider-{label}.check"),
                        format!("Check the sum of `{path}` {version}"),
                        "What is not the pinned bytes is not installed.",
                        Effect::Local,
                        Action::task(ProviderModule {
                            download,
                            sum: sum.clone(),
                            link: link.to_owned(),
                        }),
                    ),
                ]
            }
            Origin::Flake { attribute } => vec![Step::new(
                &format!("provider-{label}.fetch"),
                format!("Build `.#{attribute}`"),
                "Its source is an input of the flake, pinned by revision and hash.",
                Effect::Local,
                Action::Run(nix_build(attribute, link.as_str())),
            )],
        }
    }

    /// Installs the providers: all in one call where there is none, and each that is missing where a call was cut
    /// off between two, for clusterctl refuses one that is there.
    pub(super) fn install(&self, prefix: &str, side: &Side<'_>) -> Section {
        let access = &side.access;
        let all: Vec<&Provider> = self.providers.iter().map(|pinned| &pinned.provider).collect();
        let any = Probe::Any(all.iter().map(|provider| self.installed(access, provider)).collect());
        let versions: Vec<String> = all
            .iter()
            .map(|provider| format!("{} {}", provider.label(), provider.version))
            .collect();
        let first = Step::new(
            &format!("{prefix}-providers.init"),
            format!("Install {} on `{}`", versions.join(", "), access.cluster),
            "Versions are explicit, and the same on both sides.",
            Effect::Remote,
            Action::Run(self.init(access, &all)),
        )
        .unless(any);
        let mut missing = Vec::new();
        for provider in all {
            let installed = self.installed(access, provider);
            let label = provider.label();
            missing.push(
                Section::new(
                    &label,
                    format!("Install `{label}`, should it be missing"),
                    "An installation that was cut off between two providers goes on with the next.",
                )
                .with(Step::new(
                    &format!("{prefix}-{label}.settle"),
                    "Wait until the namespace of clusterctl's trial is gone",
                    "While it is terminating, clusterctl takes cert-manager for missing and would install another.",
                    Effect::Read,
                    Action::Wait {
                        until: Probe::Not(Box::new(Probe::Prints {
                            command: access
                                .kubectl()
                                .args([
                                    "get",
                                    "namespace",
                                    "cert-manager-test",
                                    "--ignore-not-found",
                                    "--output=json",
                                ])
                                .within(30),
                            pointer: "/kind".to_owned(),
                            value: json!("Namespace"),
                        })),
                        deadline: 120,
                        every: 1,
                    },
                ))
                .with(Step::new(
                    &format!("{prefix}-{label}.init"),
                    format!("Install `{label}`, should it be missing"),
                    "An installation that was cut off between two providers goes on with the next.",
                    Effect::Remote,
                    Action::Run(self.init(access, &[provider])),
                ))
                .unless(installed),
            );
        }
        Section::new(
            &format!("{prefix}-install"),
            format!("Install the providers on `{}`", access.cluster),
            "Versions are explicit, and the same on both sides.",
        )
        .with(first)
        .with_all(missing)
    }

    pub(super) fn init(&self, access: &Access, providers: &[&Provider]) -> Command {
        let init = capi::clusterctl(access, &self.configuration())
            .arg("init")
            .flag_path("--kubeconfig", &access.kubeconfig)
            .arg(format!("--kubeconfig-context={}", access.context))
            .args(capi::init_flags(providers))
            .within((CONTROLLERS + 60) * providers.len() as u64);
        match self.controllers {
            Controllers::Pods => init
                .arg("--wait-providers")
                .arg(format!("--wait-provider-timeout={CONTROLLERS}")),
            Controllers::Processes => init,
        }
    }

    pub(super) fn installed(&self, access: &Access, provider: &Provider) -> Probe {
        Probe::Capi {
            command: access
                .kubectl()
                .args(["get", "providers.clusterctl.cluster.x-k8s.io", "--output=json"])
                .arg(format!("--namespace={}", provider.namespace))
                .within(30),
            want: Want::Provider(provider.clone()),
        }
    }

    pub(super) fn configuration(&self) -> Utf8PathBuf {
        self.work("clusterctl.yaml")
    }
}

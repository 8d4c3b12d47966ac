//! From a local bootstrap cluster to a cluster that manages itself, as one plan; each part is a verb too.
//! Every step looks first whether it is done, so that a run killed anywhere is taken up again.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;

use super::deploy::{Deploy, Mode, Steps};
use super::rehearse::Keep;
use super::{Source, age_key, embedded, guard, nix_build};
use crate::cluster::access::Access;
use crate::cluster::capi::providers::{self, Origin, Pinned};
use crate::cluster::{capi, embedded as host};
use crate::failure::{Failure, Result};
use crate::live::lease;
use crate::plan::capi::{Capi, Fit, Pivot, PivotState, Provider, Want};
use crate::plan::dns::{Cloudflare, Record};
use crate::plan::{Action, Command, Derivation, Effect, OperatorKey, Plan, Probe, Stdin, Step, Target, Tool};
use crate::platform::{Backend, Cluster, ClusterApi, DnsProvider, Environment, Platform, Stage};
use crate::project::StageDescription;

/// Seconds in which a control plane has to come up: a server, its boot and kubeadm.
const CONTROL_PLANE: u64 = 1800;

/// Seconds in which every machine has to be Running.
const MACHINES: u64 = 2400;

/// Seconds that others may keep the record of the endpoint.
const TTL: u32 = 60;

/// Seconds that controllers may take to answer.
const CONTROLLERS: u64 = 300;

/// Where the ClusterAPI controllers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controllers {
    /// As pods, as everywhere.
    Pods,
    /// As processes of this host, with machines in memory: for rehearsals in a network of their own.
    Processes,
}

/// One of the two management clusters.
#[derive(Debug, Clone)]
pub struct Side<'a> {
    /// How it is reached.
    pub access: Access,
    /// Its facts.
    pub facts: &'a Cluster,
    /// What runs it.
    pub backend: Backend,
    /// The identity of its operator.
    pub key: Option<OperatorKey>,
}

/// A stage that a plan deploys.
#[derive(Debug, Clone)]
pub struct Staged {
    /// Which.
    pub stage: Stage,
    /// Its description.
    pub description: StageDescription,
    /// Where it comes from.
    pub source: Source,
}

/// Everything a bootstrap is made from.
#[derive(Debug, Clone)]
pub struct Bootstrap<'a> {
    /// Name of the workload cluster.
    pub name: &'a str,
    /// Its facts of ClusterAPI.
    pub api: &'a ClusterApi,
    /// The bootstrap cluster.
    pub source: Side<'a>,
    /// The cluster that manages itself afterwards.
    pub target: Side<'a>,
    /// How the workload cluster is reached that the machines make; the target itself, but in a rehearsal.
    pub workload: Access,
    /// What the bootstrap cluster needs first.
    pub local: Staged,
    /// The description of the workload cluster.
    pub capi: Staged,
    /// The platform of the workload cluster.
    pub full: Staged,
    /// The providers, in the order in which they are installed.
    pub providers: Vec<Pinned>,
    /// Where their controllers run.
    pub controllers: Controllers,
    /// Machines that have to be Running.
    pub machines: u32,
    /// Workers by MachineDeployment, for a rehearsal.
    pub workers: BTreeMap<String, u32>,
    /// Secret that must go along, and the variable that holds its value.
    pub secret: Option<(&'a str, &'a str)>,
    /// The record of the endpoint; none where the infrastructure gives its own.
    pub dns: Option<Dns>,
    /// Nonce of the run.
    pub nonce: &'a str,
}

/// How the record of the control-plane endpoint is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Name of the record.
    pub name: String,
    /// Port that has to answer there.
    pub port: u16,
    /// Who sets it; a person where this is none.
    pub cloudflare: Option<Cloudflare>,
}

/// Phases that the workload cluster needs at once: no node is Ready without a CNI, none has a provider ID without
/// the cloud's controller, and clusterctl brings a cert-manager of its own where there is none.
pub const FIRST: [&str; 6] = ["base", "cilium", "ccm", "dns", "storage", "cert-manager"];

/// Descriptions of the stages that a bootstrap deploys.
#[derive(Debug, Clone)]
pub struct Stages {
    /// Of the bootstrap cluster.
    pub local: StageDescription,
    /// Of the workload cluster's objects, on the bootstrap cluster.
    pub capi: StageDescription,
    /// Of the workload cluster.
    pub full: StageDescription,
}

/// Facts of the bootstrap cluster and of the workload cluster, as a run takes them: the clusters of a rehearsal are
/// nobody's, so no UID of the facts is theirs and nobody depends on them.
pub fn facts(platform: &Platform, name: &str, controllers: Controllers) -> Result<(Cluster, Cluster)> {
    let workload = platform.cluster(name)?;
    let bootstrap = platform.cluster(&api(name, workload)?.bootstrap)?;
    let mut facts = (bootstrap.clone(), workload.clone());
    if controllers == Controllers::Processes {
        for facts in [&mut facts.0, &mut facts.1] {
            facts.uid = None;
            facts.environment = Environment::Local;
        }
    }
    Ok(facts)
}

/// What the facts say of how ClusterAPI makes a cluster.
pub fn api<'a>(name: &str, facts: &'a Cluster) -> Result<&'a ClusterApi> {
    facts
        .cluster_api
        .as_ref()
        .ok_or_else(|| Failure::config(format!("cluster `{name}` is not made by ClusterAPI")))
}

impl<'a> Bootstrap<'a> {
    /// Everything from the facts; the facts of the two clusters come from [`facts`].
    pub fn of(
        platform: &'a Platform,
        name: &'a str,
        facts: &'a (Cluster, Cluster),
        stages: Stages,
        controllers: Controllers,
        nonce: &'a str,
    ) -> Result<Self> {
        let api = api(name, &facts.1)?;
        let rehearsal = controllers == Controllers::Processes;
        let (source, target, workload) = if rehearsal {
            let target = Access::rehearsal(name, &format!("{nonce}-target"));
            let mut workload = Access::of(name, &facts.1);
            workload.folder = target.folder.join("workload");
            workload.kubeconfig = target.folder.join("workload/kubeconfig");
            (
                Access::rehearsal(&api.bootstrap, &format!("{nonce}-source")),
                target,
                workload,
            )
        } else {
            let target = Access::of(name, &facts.1);
            (Access::of(&api.bootstrap, &facts.0), target.clone(), target)
        };
        let source_backend = if rehearsal {
            Backend::Embedded
        } else {
            // The controllers of a real provider need real pods.
            let real = facts
                .0
                .backends
                .iter()
                .copied()
                .find(|backend| *backend != Backend::Embedded);
            real.ok_or_else(|| {
                Failure::config(format!(
                    "bootstrap cluster `{}` has no backend that runs containers",
                    api.bootstrap
                ))
                .hinted("the facts name `clusters.<name>.backends`")
            })?
        };
        let target_backend = if rehearsal { Backend::Embedded } else { Backend::Remote };
        let workers: BTreeMap<String, u32> = api
            .workers
            .keys()
            .next_back()
            .map(|worker| (worker.clone(), 2))
            .into_iter()
            .collect();
        let staged = |cluster: &str, stage: Stage, description: StageDescription| Staged {
            stage,
            description,
            source: if rehearsal {
                Source::Golden(format!("k8s/golden/{cluster}/{stage}").into())
            } else {
                Source::Built {
                    attribute: format!("k8s-manifests-{cluster}-{stage}"),
                    link: format!(".xtask/projects/{cluster}-{stage}").into(),
                }
            },
        };
        Ok(Self {
            name,
            api,
            source: Side {
                access: source,
                facts: &facts.0,
                backend: source_backend,
                key: age_key::of(platform, &api.bootstrap, source_backend),
            },
            target: Side {
                access: target,
                facts: &facts.1,
                backend: target_backend,
                key: age_key::of(platform, name, target_backend),
            },
            workload,
            local: staged(&api.bootstrap, Stage::Local, stages.local),
            capi: staged(&api.bootstrap, Stage::Capi, stages.capi),
            full: staged(name, Stage::Full, stages.full),
            providers: if rehearsal {
                providers::pinned("docker", &providers::rehearsed())?
            } else {
                providers::pinned(&api.infrastructure, &api.providers)?
            },
            controllers,
            machines: if rehearsal {
                1 + workers.values().sum::<u32>()
            } else {
                api.control_planes + api.workers.values().sum::<u32>()
            },
            workers,
            secret: secret(platform, name),
            dns: (!rehearsal).then(|| Dns {
                name: facts.1.api_host.clone(),
                port: facts.1.api_port,
                cloudflare: (api.dns == DnsProvider::Cloudflare).then(|| Cloudflare {
                    api: "https://api.cloudflare.com/client/v4".to_owned(),
                    zone: platform.domain.clone(),
                    token: "CLOUDFLARE_API_TOKEN".to_owned(),
                    deadline: 300,
                }),
            }),
            nonce,
        })
    }

    /// The plan of a verb: the whole way, or a part of it.
    pub fn part(&self, verb: &str, keep: Keep) -> Plan {
        let choices = vec![
            format!(
                "workload cluster `{}`: {} control plane machines, {} workers, regions {}",
                self.name,
                self.api.control_planes,
                self.api.workers.values().sum::<u32>(),
                self.api.regions.join(", ")
            ),
            format!(
                "bootstrap cluster `{}` on backend {}",
                self.source.access.cluster,
                self.source.backend.name()
            ),
        ];
        let goal = self.goal(verb);
        let mut plan = match verb {
            "bootstrap" => return self.plan(choices),
            "rehearse" => return self.rehearsal(choices, keep),
            _ => self.empty(verb, choices),
        };
        let fence = |prefix: &str, side: &Side<'_>| {
            guard::steps(&side.access, side.facts)
                .into_iter()
                .map(|step| step.of(prefix))
                .collect::<Vec<_>>()
        };
        plan.steps = fence("source", &self.source);
        match verb {
            "init" => {
                plan.steps.extend(self.provider_steps());
                plan.steps.extend(self.init_steps("source", &self.source));
            }
            "apply" => {
                let steps = self.apply_steps(&goal);
                plan.steps.extend(steps.steps);
                plan.finally = steps.finally;
            }
            "wait" => plan.steps.extend(self.wait_steps()),
            "dns" => plan.steps.extend(self.dns.iter().flat_map(|dns| self.dns_steps(dns))),
            "kubeconfig" => {
                plan.steps.extend(self.provider_steps());
                plan.steps.extend(self.kubeconfig_steps());
            }
            "move" => {
                plan.steps.extend(fence("target", &self.target));
                plan.steps.extend(self.provider_steps());
                plan.steps.extend(self.move_steps());
            }
            _ => {
                // It may be gone already, and nothing but its end is asked for.
                let gone = Probe::Not(Box::new(Probe::Exists(self.source.access.kubeconfig.clone())));
                let fence = std::mem::take(&mut plan.steps).into_iter();
                plan.steps = fence.map(|step| step.unless(gone.clone())).collect();
                plan.steps.extend(self.source_down());
            }
        }
        plan
    }
}

/// The Secret that has to go along, with the variable that may hold its value.
fn secret<'a>(platform: &'a Platform, name: &str) -> Option<(&'a str, &'a str)> {
    let found = platform.secrets.required.iter().find(|secret| {
        secret.clusters.iter().any(|cluster| cluster == name) && secret.labels.contains_key(capi::MOVE)
    })?;
    let variable = found.keys.values().find_map(|source| source.variable.as_deref())?;
    Some((found.name.as_str(), variable))
}

impl Bootstrap<'_> {
    /// Words for the run.
    pub fn goal(&self, verb: &str) -> String {
        match self.controllers {
            Controllers::Pods => format!("capi {verb} {}", self.name),
            Controllers::Processes => format!("capi rehearse {}", self.name),
        }
    }

    /// Folder of files that the run hands from step to step, below that of the target: it outlives the source.
    fn work(&self, name: &str) -> Utf8PathBuf {
        work(&self.target.access).join(name)
    }

    /// What says on this host how far the pivot is.
    pub fn pivot(&self) -> Utf8PathBuf {
        pivot(&self.target.access)
    }

    fn configuration(&self) -> Utf8PathBuf {
        self.work("clusterctl.yaml")
    }

    /// The move may have begun.
    fn moving(&self) -> Probe {
        Probe::Exists(self.pivot())
    }

    /// The pivot is done and recorded.
    fn done(&self) -> Probe {
        Probe::Says {
            file: self.pivot(),
            pointer: "/data/pivotState".to_owned(),
            value: json!("done"),
        }
    }

    fn deploy<'b>(&'b self, side: &'b Side<'b>, staged: &'b Staged, goal: &'b str) -> Deploy<'b> {
        Deploy {
            access: &side.access,
            facts: side.facts,
            backend: side.backend,
            stage: staged.stage,
            description: &staged.description,
            source: &staged.source,
            nonce: self.nonce,
            goal,
            mode: &Mode::USUAL,
            key: side.key.clone(),
        }
    }

    /// The whole way, from nothing to a cluster that manages itself.
    pub fn plan(&self, choices: Vec<String>) -> Plan {
        let goal = self.goal("bootstrap");
        let mut plan = self.empty("bootstrap", choices);
        let mut finally = Vec::new();
        let mut keep = |prefix: &str, steps: Steps| {
            finally.extend(steps.finally.into_iter().map(|step| step.of(prefix)));
            steps.steps.into_iter().map(|step| step.of(prefix)).collect::<Vec<_>>()
        };

        // Until the move begins.
        let mut first = self.source_up();
        first.extend(keep("local", self.deploy(&self.source, &self.local, &goal).steps()));
        first.extend(self.provider_steps());
        first.extend(self.init_steps("source", &self.source));
        first.extend(self.controllers_up("source", &self.source));
        let apply = self.apply_steps(&goal);
        first.extend(keep("capi", apply));
        first.extend(self.wait_steps());
        first.extend(self.kubeconfig_steps());
        let target_up = self.target_up();
        let base = self.base_steps(&goal);
        let mut before: Vec<Step> = first.into_iter().map(|step| step.or_when(self.moving())).collect();
        // A rehearsal's clusters may have to be started again at any time.
        before.extend(target_up);
        let base = keep("base", base);
        before.extend(base.into_iter().map(|step| step.or_when(self.moving())));
        before.push(self.heal_step("pause.heal").or_when(self.moving()));
        before.push(
            self.machines_step("machines.run", &self.source, "Wait until every machine is Running")
                .or_when(self.moving()),
        );
        before.extend(
            self.init_steps("target", &self.target)
                .into_iter()
                .map(|step| step.or_when(self.moving())),
        );
        plan.steps.extend(before);
        plan.steps.extend(self.move_steps());
        plan.steps.extend(self.source_down());
        plan.steps.extend(keep("full", self.full_steps(&goal)));
        plan.finally = finally;
        plan.next = Some(format!("cargo xtask capi status --cluster {}", self.name));
        plan
    }

    /// The whole way, then one worker more, then the end of everything.
    pub fn rehearsal(&self, choices: Vec<String>, keep: Keep) -> Plan {
        let mut plan = self.plan(choices);
        if let Some((deployment, count)) = self.workers.iter().next() {
            plan.steps
                .extend(self.scale_steps(&format!("{}-{deployment}", self.name), count + 1));
        }
        match keep {
            Keep::Nothing => plan.finally.extend(self.sweep_steps()),
            Keep::Cluster => {
                for (name, side) in [("source", &self.source), ("target", &self.target)] {
                    plan.finally.push(super::rehearse::note_kept(&side.access).of(name));
                }
            }
        }
        plan.next = None;
        plan
    }

    /// A plan for this workload cluster, without steps.
    pub fn empty(&self, verb: &str, choices: Vec<String>) -> Plan {
        let mut plan = Plan::new(self.goal(verb));
        plan.choices = choices;
        plan.target = Some(Target {
            cluster: self.name.to_owned(),
            production: self.controllers == Controllers::Pods,
        });
        plan
    }

    /// The bootstrap cluster, up.
    pub fn source_up(&self) -> Vec<Step> {
        if self.source.backend == Backend::Embedded {
            return embedded::up(&self.source.access, self.source.facts)
                .into_iter()
                .map(|step| step.of("source"))
                .collect();
        }
        vec![Step::new(
            "source.up",
            format!("Bring `{}` up with its stage", self.source.access.cluster),
            "Somebody has to make the first machines; the verb finds out itself what is left to do.",
            Effect::Local,
            Action::Run(
                Command::new(Tool::Xtask)
                    .args(["local-up", "--yes"])
                    .arg(format!("--cluster={}", self.source.access.cluster))
                    .arg(format!("--backend={}", self.source.backend.name()))
                    .within(3600),
            ),
        )]
    }

    fn target_up(&self) -> Vec<Step> {
        if self.target.backend != Backend::Embedded {
            return Vec::new();
        }
        embedded::up(&self.target.access, self.target.facts)
            .into_iter()
            .map(|step| step.of("target"))
            .collect()
    }

    /// The local repository of pinned providers, and clusterctl's configuration for it.
    pub fn provider_steps(&self) -> Vec<Step> {
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
                Action::Derive(Derivation::Capi(Capi::Components {
                    rendered,
                    provider: pinned.provider.clone(),
                    fit,
                    repository: repository.clone(),
                })),
            ));
        }
        steps.push(Step::new(
            "providers.configure",
            "Write `clusterctl.yaml`",
            "It names the pinned providers and no other.",
            Effect::Local,
            Action::Derive(Derivation::Capi(Capi::Configuration {
                providers: self.providers.iter().map(|pinned| pinned.provider.clone()).collect(),
                repository,
                to: self.configuration(),
            })),
        ));
        steps
    }

    fn fetch_steps(&self, pinned: &Pinned, link: &Utf8Path) -> Vec<Step> {
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
                        Action::Derive(Derivation::Capi(Capi::Module {
                            download,
                            sum: sum.clone(),
                            link: link.to_owned(),
                        })),
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
    pub fn init_steps(&self, prefix: &str, side: &Side<'_>) -> Vec<Step> {
        let access = &side.access;
        let all: Vec<&Provider> = self.providers.iter().map(|pinned| &pinned.provider).collect();
        let any = Probe::Any(all.iter().map(|provider| self.installed(access, provider)).collect());
        let versions: Vec<String> = all
            .iter()
            .map(|provider| format!("{} {}", provider.label(), provider.version))
            .collect();
        let mut steps = vec![
            Step::new(
                &format!("{prefix}-providers.init"),
                format!("Install {} on `{}`", versions.join(", "), access.cluster),
                "Versions are explicit, and the same on both sides.",
                Effect::Remote,
                Action::Run(self.init(access, &all)),
            )
            .unless(any),
        ];
        for provider in all {
            let installed = self.installed(access, provider);
            let label = provider.label();
            steps.push(
                Step::new(
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
                )
                .unless(installed.clone()),
            );
            steps.push(
                Step::new(
                    &format!("{prefix}-{label}.init"),
                    format!("Install `{label}`, should it be missing"),
                    "An installation that was cut off between two providers goes on with the next.",
                    Effect::Remote,
                    Action::Run(self.init(access, &[provider])),
                )
                .unless(installed),
            );
        }
        steps
    }

    fn init(&self, access: &Access, providers: &[&Provider]) -> Command {
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

    fn installed(&self, access: &Access, provider: &Provider) -> Probe {
        Probe::Capi {
            command: access
                .kubectl()
                .args(["get", "providers.clusterctl.cluster.x-k8s.io", "--output=json"])
                .arg(format!("--namespace={}", provider.namespace))
                .within(30),
            want: Want::Provider(provider.clone()),
        }
    }

    /// Starts the controllers of a side as processes; in pods they start themselves.
    fn controllers_up(&self, prefix: &str, side: &Side<'_>) -> Vec<Step> {
        if self.controllers == Controllers::Pods {
            return Vec::new();
        }
        let access = &side.access;
        let folder = capi::controllers(access);
        let mut steps = vec![Step::new(
            &format!("{prefix}-controllers.point"),
            "Give the controllers a kubeconfig of their own",
            "Its path is what tells their processes from others.",
            Effect::Local,
            Action::Run(
                access
                    .kubectl()
                    .args(["config", "view", "--raw", "--minify", "--flatten"])
                    .to_file(capi::controllers_kubeconfig(access)),
            ),
        )];
        let pki = host::folder(access).join("pki");
        let mut answers = Vec::new();
        for (name, port, command) in capi::managers(access, &pki) {
            steps.push(Step::new(
                &format!("{prefix}-{name}.start"),
                format!("Start `{name}` for `{}`", access.cluster),
                "The real controllers; only their machines are in memory.",
                Effect::Local,
                Action::Serve {
                    folder: folder.clone(),
                    name: name.to_owned(),
                    command,
                },
            ));
            answers.push(Probe::Answers {
                address: format!("127.0.0.1:{port}"),
                page: "/readyz".to_owned(),
            });
        }
        answers.push(Probe::Alive(folder));
        steps.push(Step::new(
            &format!("{prefix}-controllers.answer"),
            "Wait until the controllers answer",
            "What is applied before them nobody looks at.",
            Effect::Read,
            Action::Wait {
                until: Probe::All(answers),
                deadline: 120,
                every: 1,
            },
        ));
        steps
    }

    fn controllers_down(&self, side: &Side<'_>, id: &str) -> Option<Step> {
        (self.controllers == Controllers::Processes).then(|| {
            Step::new(
                id,
                format!("End the controllers of `{}`", side.access.cluster),
                "The machines in memory are theirs, and so are their ports.",
                Effect::Local,
                Action::End {
                    folder: capi::controllers(&side.access),
                },
            )
        })
    }

    /// The Secret and stage capi, guarded.
    pub fn apply_steps(&self, goal: &str) -> Steps {
        let access = &self.source.access;
        let mut steps = guard_moved(access, self.name, &self.workload, &self.work("guard"));
        if let Some((secret, variable)) = self.secret {
            steps.extend(self.secret_steps(secret, variable));
        }
        let mut staged = self.capi.clone();
        if self.controllers == Controllers::Processes {
            let project = self.work("project");
            steps.push(Step::new(
                "project.imitate",
                "Copy stage capi with machines in memory",
                "Cluster, control plane and workers are those of the stage; only the provider is another.",
                Effect::Local,
                Action::Derive(Derivation::Capi(Capi::InMemory {
                    from: self.capi.source.folder(),
                    control_planes: 1,
                    workers: self.workers.clone(),
                    to: project.clone(),
                })),
            ));
            staged.source = Source::Folder(project);
            staged.description.gates.clear();
        }
        let deploy = self.deploy(&self.source, &staged, goal).steps();
        steps.extend(deploy.steps);
        Steps {
            steps,
            finally: deploy.finally,
        }
    }

    fn secret_steps(&self, secret: &str, variable: &str) -> Vec<Step> {
        let access = &self.source.access;
        let namespace = format!("--namespace={}", self.api.namespace);
        let get = |what: &str| {
            access
                .kubectl()
                .args(["get", what, "--output=json", "--ignore-not-found"])
                .within(30)
        };
        let mut create = access
            .kubectl()
            .args(["create", "secret", "generic", secret, "--from-file=hcloud=/dev/stdin"])
            .arg(namespace.as_str());
        create.stdin = Stdin::Secret(variable.to_owned());
        let there = Probe::Prints {
            command: get("secret").arg(secret).arg(namespace.as_str()),
            pointer: "/metadata/name".to_owned(),
            value: json!(secret),
        };
        vec![
            Step::new(
                "namespace.create",
                format!("Make namespace `{}`", self.api.namespace),
                "The Secret stands there before the stage.",
                Effect::Remote,
                Action::Run(
                    access
                        .kubectl()
                        .args(["create", "namespace"])
                        .arg(self.api.namespace.as_str()),
                ),
            )
            .unless(Probe::Prints {
                command: get("namespace").arg(self.api.namespace.as_str()),
                pointer: "/metadata/name".to_owned(),
                value: json!(self.api.namespace),
            }),
            Step::new(
                "secret.create",
                format!("Create Secret `{secret}` from `{variable}`"),
                "The provider's token; it is read from the environment and written nowhere else.",
                Effect::Remote,
                Action::Run(create),
            )
            .unless(there),
            Step::new(
                "secret.label",
                format!("Label Secret `{secret}` so that it goes along"),
                "A move leaves behind what nobody owns, and the target would have no token.",
                Effect::Remote,
                Action::Run(
                    access
                        .kubectl()
                        .args(["label", "secret", secret, "--overwrite"])
                        .arg(format!("{}=", capi::MOVE))
                        .arg(namespace.as_str()),
                ),
            )
            .unless(Probe::Prints {
                command: get("secret").arg(secret).arg(namespace.as_str()),
                pointer: format!("/metadata/labels/{}", capi::MOVE.replace('/', "~1")),
                value: json!(""),
            }),
        ]
    }

    /// `kubectl get` of everything of ClusterAPI in the namespace.
    fn list(&self, access: &Access) -> Command {
        access
            .kubectl()
            .arg("get")
            .arg("clusters.cluster.x-k8s.io,machines.cluster.x-k8s.io")
            .args(["--output=json", "--ignore-not-found"])
            .arg(format!("--namespace={}", self.api.namespace))
            .within(30)
    }

    /// Waits for the first address, has the record set, waits for the control plane.
    pub fn wait_steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(dns) = &self.dns {
            steps.push(Step::new(
                "address.wait",
                "Wait until the first control-plane machine has an address",
                "The other machines join by the name of the endpoint, which has to lead there.",
                Effect::Read,
                Action::Wait {
                    until: Probe::Capi {
                        command: self.list(&self.source.access),
                        want: Want::Address,
                    },
                    deadline: CONTROL_PLANE,
                    every: 5,
                },
            ));
            steps.extend(self.dns_steps(dns));
        }
        steps.push(Step::new(
            "control-plane.wait",
            "Wait until the control plane is initialised",
            "There is no kubeconfig and no API before.",
            Effect::Read,
            Action::Wait {
                until: Probe::Capi {
                    command: self.list(&self.source.access),
                    want: Want::ControlPlane,
                },
                deadline: CONTROL_PLANE,
                every: if self.controllers == Controllers::Processes {
                    1
                } else {
                    5
                },
            },
        ));
        steps
    }

    /// Sets the record of the endpoint, or has a person set it, and waits until it leads there.
    pub fn dns_steps(&self, dns: &Dns) -> Vec<Step> {
        let machines = self.work("control-plane.json");
        let address = self.work("address.json");
        let record = Record {
            name: dns.name.clone(),
            address: address.clone(),
            ttl: TTL,
        };
        let set = match &dns.cloudflare {
            Some(at) => Step::new(
                "record.set",
                format!("Set the record of `{}` in zone `{}`", dns.name, at.zone),
                "The first machine has an address, and nobody else can know it.",
                Effect::Remote,
                Action::SetRecord {
                    record: record.clone(),
                    at: at.clone(),
                },
            ),
            None => Step::new(
                "record.tell",
                format!("Say which record `{}` needs", dns.name),
                "A person sets it, as the facts have it.",
                Effect::Read,
                Action::Check(Derivation::Capi(Capi::Tell(record.clone()))),
            ),
        };
        vec![
            Step::new(
                "address.list",
                "List the control-plane machines",
                "The record leads to the first that has an address.",
                Effect::Read,
                Action::Run(self.list(&self.source.access).to_file(&machines)),
            ),
            Step::new(
                "address.choose",
                "Choose the address of the endpoint",
                "The external one; machines elsewhere have to reach it.",
                Effect::Read,
                Action::Derive(Derivation::Capi(Capi::Address { machines, to: address })),
            ),
            set,
            Step::new(
                "record.resolve",
                format!("Wait until `{}` leads there", dns.name),
                "An old address may be kept by others for as long as its TTL; joining machines would ask it.",
                Effect::Read,
                Action::Wait {
                    until: Probe::Resolves(record),
                    // A person needs longer than an interface.
                    deadline: if dns.cloudflare.is_some() { 900 } else { 3600 },
                    every: 5,
                },
            ),
            Step::new(
                "endpoint.answer",
                format!("Wait until port {} answers there", dns.port),
                "The name leads to a machine that may still boot.",
                Effect::Read,
                Action::Wait {
                    until: Probe::Listens {
                        at: format!("{}:{}", dns.name, dns.port),
                    },
                    deadline: CONTROL_PLANE,
                    every: 5,
                },
            ),
        ]
    }

    /// Fetches the kubeconfig of the workload cluster and uses it.
    pub fn kubeconfig_steps(&self) -> Vec<Step> {
        let access = &self.source.access;
        let workload = &self.workload;
        let mut steps = vec![
            Step::new(
                "kubeconfig.fetch",
                format!("Fetch the kubeconfig of `{}`", self.name),
                "It stands in a Secret beside the Cluster; extracted too early it would lead nowhere.",
                Effect::Local,
                Action::Run(
                    capi::clusterctl(access, &self.configuration())
                        .args(["get", "kubeconfig"])
                        .arg(self.name)
                        .arg(format!("--namespace={}", self.api.namespace))
                        .flag_path("--kubeconfig", &access.kubeconfig)
                        .arg(format!("--kubeconfig-context={}", access.context))
                        .to_file(&workload.kubeconfig),
                ),
            ),
            Step::new(
                "workload.answer",
                format!("Wait until `{}` answers", self.name),
                "Everything after this speaks to it.",
                Effect::Read,
                Action::Wait {
                    until: Probe::Succeeds(workload.kubectl().args(["get", "nodes"]).within(20)),
                    deadline: 600,
                    every: 2,
                },
            ),
        ];
        let here = self.work("source-kube-system.json");
        let there = self.work("workload-kube-system.json");
        // The API server of a rehearsal's machines is in memory and has no `kube-system` of its own.
        if self.controllers == Controllers::Pods {
            for (name, access, file) in [("source", access, &here), ("workload", workload, &there)] {
                steps.push(Step::new(
                    &format!("{name}-uid.read"),
                    format!("Read the UID of `{}`", access.cluster),
                    "A cluster is known by the UID of its kube-system.",
                    Effect::Read,
                    Action::Run(
                        access
                            .kubectl()
                            .args(["get", "namespace", "kube-system", "--output=json"])
                            .to_file(file),
                    ),
                ));
            }
            steps.push(Step::new(
                "workload.tell",
                "Check that the kubeconfig leads to another cluster",
                "A wrong record would lead back to the bootstrap cluster or to somebody else's.",
                Effect::Read,
                Action::Check(Derivation::Capi(Capi::Elsewhere {
                    one: here,
                    other: there,
                })),
            ));
        }
        steps
    }

    /// What the workload cluster needs before anything else can run on it.
    fn base_steps(&self, goal: &str) -> Steps {
        let phases: Vec<String> = self
            .full
            .description
            .phases
            .iter()
            .filter(|phase| FIRST.contains(&phase.as_str()))
            .cloned()
            .collect();
        let project = self.work("base");
        let staged = Staged {
            stage: self.full.stage,
            description: capi::part_of(&self.full.description, &phases),
            source: Source::Folder(project.clone()),
        };
        let mut steps = Vec::new();
        if let Source::Built { attribute, link } = &self.full.source {
            steps.push(Step::new(
                "project.fetch",
                format!("Build `.#{attribute}`"),
                "Its first phases are needed at once.",
                Effect::Local,
                Action::Run(nix_build(attribute, link.as_str())),
            ));
        }
        steps.push(Step::new(
            "project.part",
            format!("Take {} of stage full", phases.join(", ")),
            "No node is Ready without a CNI, and health checks reboot nodes that are not.",
            Effect::Local,
            Action::Derive(Derivation::Capi(Capi::Part {
                from: self.full.source.folder(),
                phases,
                to: project,
            })),
        ));
        let deploy = self.deploy(&self.target, &staged, goal);
        // Its operator comes with the rest.
        let deploy = Deploy { key: None, ..deploy }.steps();
        steps.extend(deploy.steps);
        Steps {
            steps,
            finally: deploy.finally,
        }
    }

    fn full_steps(&self, goal: &str) -> Steps {
        self.deploy(&self.target, &self.full, goal).steps()
    }

    /// Waits until every machine is Running on a side.
    fn machines_step(&self, id: &str, side: &Side<'_>, title: &str) -> Step {
        Step::new(
            id,
            format!("{title} on `{}`", side.access.cluster),
            "A move is refused while a machine has no node, and a status never moves along: one that is there was written by the controllers that look at it now.",
            Effect::Read,
            Action::Wait {
                until: Probe::Capi {
                    command: self.list(&side.access),
                    want: Want::Running {
                        machines: self.machines,
                    },
                },
                deadline: if self.controllers == Controllers::Processes {
                    180
                } else {
                    MACHINES
                },
                every: if self.controllers == Controllers::Processes {
                    1
                } else {
                    5
                },
            },
        )
    }

    /// From the preflight to the proof that the target's controllers have taken over.
    pub fn move_steps(&self) -> Vec<Step> {
        let mut steps = vec![self.heal_step("pause.clear").or_when(self.moving())];
        steps.extend(
            self.preflight_steps()
                .into_iter()
                .map(|step| step.or_when(self.moving())),
        );
        steps.extend(self.backup_steps().into_iter().map(|step| step.or_when(self.moving())));
        steps.extend(self.record_steps("begun", PivotState::Started, None));
        steps.extend(self.controllers_down(&self.source, "source-controllers.end"));
        steps.extend(self.locate_steps("begin"));
        steps.push(self.unpause("source", &self.source, "begin", "/unpauseSource"));
        steps.push(Step::new(
            "move.allow",
            "Check that the move can go on from here",
            "Nothing is deleted that the target does not have, and no machine may have two masters.",
            Effect::Read,
            Action::Check(Derivation::Capi(Capi::Movable {
                located: self.work("located-begin.json"),
            })),
        ));
        steps.push(
            Step::new(
                "capi.move",
                format!(
                    "Move `{}` from `{}` to `{}`",
                    self.name, self.source.access.cluster, self.target.access.cluster
                ),
                "It pauses the source, creates on the target, deletes on the source, and unpauses the target.",
                Effect::Remote,
                Action::Run(
                    self.clusterctl_move()
                        .flag_path("--to-kubeconfig", &self.target.access.kubeconfig)
                        .arg(format!("--to-kubeconfig-context={}", self.target.access.context))
                        .arg("--v=1")
                        .within(900)
                        .or_look_next(),
                ),
            )
            .unless(Probe::Not(Box::new(self.says("begin", "/moveOn", json!(true))))),
        );
        steps.extend(self.locate_steps("moved"));
        steps.extend(self.complete_steps());
        steps.extend(self.locate_steps("left"));
        steps.push(self.unpause("target", &self.target, "left", "/unpauseTarget"));
        steps.extend(self.locate_steps("done"));
        steps.push(Step::new(
            "move.check",
            "Check that everything is on the target and nothing on the source",
            "clusterctl ends 0 also when it has moved nothing; only the objects count.",
            Effect::Read,
            Action::Check(Derivation::Capi(Capi::Moved {
                located: self.work("located-done.json"),
            })),
        ));
        steps.extend(self.controllers_up("target", &self.target));
        steps.push(self.machines_step(
            "target.reconcile",
            &self.target,
            "Wait until the controllers have taken every machine over",
        ));
        steps.push(self.emptied());
        // In this order: the record on this host says that both clusters have theirs.
        steps.extend(self.record_steps("ended", PivotState::Done, Some("done")));
        steps.into_iter().map(|step| step.or_when(self.done())).collect()
    }

    fn clusterctl_move(&self) -> Command {
        let access = &self.source.access;
        capi::clusterctl(access, &self.configuration())
            .arg("move")
            .arg(format!("--namespace={}", self.api.namespace))
            .flag_path("--kubeconfig", &access.kubeconfig)
            .arg(format!("--kubeconfig-context={}", access.context))
    }

    fn says(&self, round: &str, pointer: &str, value: serde_json::Value) -> Probe {
        Probe::Says {
            file: self.work(&format!("located-{round}.json")),
            pointer: pointer.to_owned(),
            value,
        }
    }

    fn preflight_steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut files = Vec::new();
        for (name, side, more) in [("source", &self.source, ""), ("target", &self.target, ",nodes")] {
            let file = self.work(&format!("preflight-{name}.json"));
            let mut get = side.access.kubectl().arg("get");
            get = get.arg(format!("cluster-api,providers.clusterctl.cluster.x-k8s.io{more}"));
            steps.push(Step::new(
                &format!("{name}-objects.list"),
                format!("List what `{}` has of ClusterAPI", side.access.cluster),
                "Every check looks at one listing, and finds all problems at once.",
                Effect::Read,
                Action::Run(
                    get.args(["--all-namespaces", "--output=json", "--ignore-not-found"])
                        .to_file(&file)
                        .within(60),
                ),
            ));
            files.push(file);
        }
        let secrets = self.work("preflight-secrets.json");
        let mut names = Vec::new();
        if let Some((secret, _)) = self.secret {
            names.push(secret.to_owned());
        }
        steps.push(Step::new(
            "secrets.list",
            "List the Secrets that go along",
            "By their label, without their values.",
            Effect::Read,
            Action::Run(
                self.source
                    .access
                    .kubectl()
                    .args(["get", "secrets", "--output=name"])
                    .arg(format!("--selector={}", capi::MOVE))
                    .arg(format!("--namespace={}", self.api.namespace))
                    .to_file(&secrets),
            ),
        ));
        steps.push(Step::new(
            "move.preflight",
            "Check everything that a move needs",
            "clusterctl's own dry run looks at none of it, and a move that fails half-way leaves clusters paused.",
            Effect::Read,
            Action::Check(Derivation::Capi(Capi::Preflight {
                namespace: self.api.namespace.clone(),
                secrets: names,
                labelled: secrets,
                source: files[0].clone(),
                target: files[1].clone(),
                ours: self.work("pausing"),
            })),
        ));
        steps
    }

    /// The state of the source as files: a backup, and the list of what has to move.
    fn backup_steps(&self) -> Vec<Step> {
        let backup = self.backup();
        vec![
            Step::new(
                "pause.note",
                "Note that this run pauses the source",
                "A backup pauses it for a moment; killed there, the next run may unpause it.",
                Effect::Local,
                Action::Write {
                    path: self.work("pausing"),
                    content: format!("{}\n", self.nonce),
                    mode: 0o600,
                },
            ),
            Step::new(
                "backup.clear",
                "Remove a backup that was cut off",
                "An old object must not be taken for one of now.",
                Effect::Local,
                Action::Remove { path: backup.clone() },
            ),
            Step::new(
                "backup.make",
                "Make the folder of the backup",
                "clusterctl wants it to be there; it holds keys.",
                Effect::Local,
                Action::Write {
                    path: backup.join("objects/.keep"),
                    content: String::new(),
                    mode: 0o600,
                },
            ),
            Step::new(
                "backup.write",
                "Write every object that will move to files",
                "What is lost on the way can be restored, and it says exactly what has to arrive.",
                Effect::Remote,
                Action::Run(
                    self.clusterctl_move()
                        .flag_path("--to-directory", backup.join("objects"))
                        .within(300),
                ),
            ),
            Step::new(
                "graph.read",
                "Read what has to move",
                "clusterctl moves nothing and ends 0 where there is no Cluster.",
                Effect::Read,
                Action::Derive(Derivation::Capi(Capi::Graph {
                    backup: backup.join("objects"),
                    to: self.work("graph.json"),
                })),
            ),
        ]
    }

    fn backup(&self) -> Utf8PathBuf {
        self.work("backup")
    }

    /// Unpauses the source where a backup of this plan was cut off; a pause of somebody else is left alone.
    fn heal_step(&self, id: &str) -> Step {
        let access = &self.source.access;
        let not_ours = Probe::Not(Box::new(Probe::Exists(self.work("pausing"))));
        let not_paused = Probe::Not(Box::new(self.is_paused(access)));
        Step::new(
            id,
            "Unpause the source, should an earlier backup have been cut off",
            "A paused Cluster is looked at by nobody, and clusterctl refuses to move it.",
            Effect::Remote,
            Action::Run(self.patch_paused(access)),
        )
        .unless(Probe::Any(vec![not_ours, not_paused]))
    }

    fn is_paused(&self, access: &Access) -> Probe {
        Probe::Prints {
            command: access
                .kubectl()
                .args([
                    "get",
                    "clusters.cluster.x-k8s.io",
                    self.name,
                    "--output=json",
                    "--ignore-not-found",
                ])
                .arg(format!("--namespace={}", self.api.namespace))
                .within(30),
            pointer: "/spec/paused".to_owned(),
            value: json!(true),
        }
    }

    fn patch_paused(&self, access: &Access) -> Command {
        access
            .kubectl()
            .args(["patch", "clusters.cluster.x-k8s.io", self.name, "--type=merge"])
            .arg("--patch={\"spec\":{\"paused\":null}}")
            .arg(format!("--namespace={}", self.api.namespace))
    }

    fn unpause(&self, name: &str, side: &Side<'_>, round: &str, pointer: &str) -> Step {
        Step::new(
            &format!("{name}.unpause"),
            format!("Unpause `{}` on `{}`", self.name, side.access.cluster),
            "A move that was cut off leaves it paused, and nobody would look at it again.",
            Effect::Remote,
            Action::Run(self.patch_paused(&side.access)),
        )
        .unless(Probe::Not(Box::new(self.says(round, pointer, json!(true)))))
    }

    /// Looks where every object of the graph is.
    fn locate_steps(&self, round: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut files = Vec::new();
        for (name, side) in [("source", &self.source), ("target", &self.target)] {
            let file = self.work(&format!("located-{round}-{name}.json"));
            steps.push(Step::new(
                &format!("{round}-{name}.look"),
                format!("Look which of the objects `{}` has", side.access.cluster),
                "Only the objects say how far a move is.",
                Effect::Read,
                Action::Run(
                    side.access
                        .kubectl()
                        .args(["get", "--output=json", "--ignore-not-found", "--filename"])
                        .arg(self.backup().join("objects"))
                        .to_file(&file)
                        .within(120),
                ),
            ));
            files.push(file);
        }
        steps.push(Step::new(
            &format!("{round}.locate"),
            "Compare the two sides by identity",
            "What is on neither side is lost, what is on both is half-moved.",
            Effect::Read,
            Action::Derive(Derivation::Capi(Capi::Locate {
                graph: self.work("graph.json"),
                source: files[0].clone(),
                target: files[1].clone(),
                to: self.work(&format!("located-{round}.json")),
                leftovers: self.work(&format!("leftovers-{round}.json")),
            })),
        ));
        steps
    }

    /// Completes a move that was cut off while it deleted: what the target has is taken from the source.
    fn complete_steps(&self) -> Vec<Step> {
        let access = &self.source.access;
        let leftovers = self.work("leftovers-moved.json");
        let not_needed = Probe::Not(Box::new(self.says("moved", "/place", json!("deleting"))));
        let on = |verb: &str| {
            access
                .kubectl()
                .arg(verb)
                .arg("--filename")
                .arg(leftovers.clone())
                .within(120)
        };
        let steps = [
            Step::new(
                "leftovers.mark",
                "Mark what is left on the source as moved",
                "As clusterctl does, so that no webhook forbids the deletion.",
                Effect::Remote,
                Action::Run(
                    on("annotate")
                        .arg("--overwrite")
                        .arg(format!("{}=", capi::DELETE_FOR_MOVE))
                        .or_look_next(),
                ),
            ),
            Step::new(
                "leftovers.delete",
                "Delete it from the source",
                "The target has every object of it; the machines belong to the target now.",
                Effect::Remote,
                Action::Run(on("delete").args(["--ignore-not-found", "--wait=false"])),
            ),
            Step::new(
                "leftovers.release",
                "Take its finalizers off",
                "No controller may carry the deletion out: it would delete the machines themselves.",
                Effect::Remote,
                Action::Run(
                    on("patch")
                        .args(["--type=merge", "--patch={\"metadata\":{\"finalizers\":null}}"])
                        .or_look_next(),
                ),
            ),
        ];
        steps.into_iter().map(|step| step.unless(not_needed.clone())).collect()
    }

    fn emptied(&self) -> Step {
        Step::new(
            "source.empty",
            "Check that the source has no Cluster and no Machine",
            "Its controllers would make a second cluster of what is left.",
            Effect::Read,
            Action::Wait {
                until: Probe::Capi {
                    command: self.list(&self.source.access),
                    want: Want::Nothing,
                },
                deadline: 60,
                every: 1,
            },
        )
    }

    /// Records how far the pivot is: in both clusters, and on this host. `begun` comes first here and last there.
    fn record_steps(&self, id: &str, state: PivotState, round: Option<&str>) -> Vec<Step> {
        let file = self.work(&format!("record-{id}.json"));
        let pivot = Pivot {
            cluster: self.name.to_owned(),
            from: self.source.access.cluster.clone(),
            to: self.target.access.cluster.clone(),
            run: self.nonce.to_owned(),
            state,
        };
        let located = round.map(|round| self.work(&format!("located-{round}.json")));
        let record = |id: &str, title: &str, to: &Utf8Path| {
            Step::new(
                id,
                title,
                "A run on another host, or after this one, has to know where the objects are.",
                Effect::Local,
                Action::Derive(Derivation::Capi(Capi::Record {
                    pivot: pivot.clone(),
                    located: located.clone(),
                    to: to.to_owned(),
                })),
            )
        };
        let mut steps = vec![record(
            &format!("record-{id}.write"),
            "Write the record of the pivot",
            &file,
        )];
        for (name, side) in [("source", &self.source), ("target", &self.target)] {
            let object = Utf8PathBuf::from(format!("{file}.{name}"));
            steps.push(Step::new(
                &format!("record-{id}-{name}.apply"),
                format!("Record it in `{}`", side.access.cluster),
                "The ledger of both clusters says where the objects are.",
                Effect::Remote,
                Action::Run(
                    side.access
                        .kubectl()
                        .args([
                            "apply",
                            "--server-side",
                            "--force-conflicts",
                            "--field-manager=xtask-pivot",
                        ])
                        .arg("--filename")
                        .arg(object)
                        .within(30),
                ),
            ));
        }
        steps.push(record(
            &format!("record-{id}.keep"),
            "Keep the record on this host",
            &self.pivot(),
        ));
        steps
    }

    /// Removes the bootstrap cluster, once the pivot is done.
    pub fn source_down(&self) -> Vec<Step> {
        let access = &self.source.access;
        let check = Step::new(
            "pivot.check",
            "Check that the pivot is done and recorded",
            "The bootstrap cluster is the only other place that has the objects.",
            Effect::Read,
            Action::Check(Derivation::Capi(Capi::Pivoted { record: self.pivot() })),
        );
        let mut steps = vec![check];
        if self.source.backend == Backend::Embedded {
            let down = embedded::down(access).into_iter().map(|step| step.of("source"));
            steps.extend(down.map(|mut step| {
                if step.id == "source-cluster.stop" {
                    step.effect = Effect::Destroy;
                }
                step
            }));
        } else {
            steps.push(
                Step::new(
                    "source.remove",
                    format!("Remove the bootstrap cluster `{}`", access.cluster),
                    "Its objects are on the target, whose controllers have looked at them.",
                    Effect::Destroy,
                    Action::Run(
                        Command::new(Tool::Xtask)
                            .args(["local-down", "--delete", "--yes"])
                            .arg(format!("--cluster={}", access.cluster))
                            .within(900),
                    ),
                )
                .unless(Probe::Not(Box::new(Probe::Exists(access.kubeconfig.clone())))),
            );
        }
        steps
    }

    /// The steps that show that the target's controllers do what they are told: one worker more.
    pub fn scale_steps(&self, deployment: &str, to: u32) -> Vec<Step> {
        let access = &self.target.access;
        vec![
            Step::new(
                "workers.scale",
                format!("Scale `{deployment}` to {to}"),
                "A target that only looks right would not carry it out.",
                Effect::Remote,
                Action::Run(
                    access
                        .kubectl()
                        .args(["scale", "machinedeployments.cluster.x-k8s.io", deployment])
                        .arg(format!("--replicas={to}"))
                        .arg(format!("--namespace={}", self.api.namespace)),
                ),
            )
            .unless(Probe::Prints {
                command: access
                    .kubectl()
                    .args([
                        "get",
                        "machinedeployments.cluster.x-k8s.io",
                        deployment,
                        "--output=json",
                    ])
                    .arg(format!("--namespace={}", self.api.namespace))
                    .within(30),
                pointer: "/spec/replicas".to_owned(),
                value: json!(to),
            }),
            Step::new(
                "workers.run",
                "Wait until the new machine is Running",
                "That is the proof.",
                Effect::Read,
                Action::Wait {
                    until: Probe::Capi {
                        command: self.list(access),
                        want: Want::Running {
                            machines: self.machines + 1,
                        },
                    },
                    deadline: 120,
                    every: 1,
                },
            ),
        ]
    }

    /// Ends everything of a rehearsal.
    pub fn sweep_steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (name, side) in [("source", &self.source), ("target", &self.target)] {
            steps.extend(self.controllers_down(side, &format!("sweep-{name}-controllers.end")));
            steps.extend(
                embedded::down(&side.access)
                    .into_iter()
                    .map(|step| step.of(&format!("sweep-{name}"))),
            );
        }
        steps
    }
}

fn work(target: &Access) -> Utf8PathBuf {
    target.folder.join("capi")
}

/// What says on this host how far the pivot to a cluster is.
pub fn pivot(target: &Access) -> Utf8PathBuf {
    work(target).join("pivot.json")
}

/// The steps that refuse stage capi on a cluster whose objects have moved away.
pub fn guard_moved(access: &Access, describes: &str, workload: &Access, work: &Utf8Path) -> Vec<Step> {
    let record = work.join("record.json");
    let clusters = work.join("clusters.json");
    let steps = [
        Step::new(
            "pivot.read",
            "Read whether a pivot is recorded",
            "Its ledger says where the objects are.",
            Effect::Read,
            Action::Run(
                access
                    .kubectl()
                    .args(["get", "configmap", "--ignore-not-found", "--output=json"])
                    .arg(lease::name(&access.cluster))
                    .arg(format!("--namespace={}", lease::NAMESPACE))
                    .to_file(&record),
            ),
        ),
        Step::new(
            "workload.read",
            format!("Ask `{describes}` whether it manages itself"),
            "A record can be lost; the Cluster on the other side cannot be overlooked.",
            Effect::Read,
            Action::Run(
                workload
                    .kubectl()
                    .args([
                        "get",
                        "clusters.cluster.x-k8s.io",
                        "--all-namespaces",
                        "--output=json",
                        "--ignore-not-found",
                    ])
                    .arg("--request-timeout=5s")
                    .to_file(&clusters)
                    .within(10)
                    .or_look_next(),
            ),
        )
        .unless(Probe::Not(Box::new(Probe::Exists(workload.kubeconfig.clone())))),
        Step::new(
            "pivot.guard",
            format!("Check that `{describes}` has not moved away"),
            "Deployed again where it came from, it would be built a second time.",
            Effect::Read,
            Action::Check(Derivation::Capi(Capi::Guard {
                cluster: access.cluster.clone(),
                describes: describes.to_owned(),
                record,
                elsewhere: Some(clusters),
            })),
        ),
    ];
    steps.into_iter().map(Step::guarding).collect()
}

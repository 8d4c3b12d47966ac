//! Every plan that the platform config can lead to: each recipe with every stage, cluster and backend it is for.
//! The laws and the goldens of plans are held over this list, so a recipe that is not here is not tested.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::capi::{Bootstrap, Controllers, Stages};
use super::deploy::{Deploy, Mode};
use super::rebuild::Rebuild;
use super::rehearse::{At, Keep};
use super::trust::{Change, Store};
use super::validate::Validate;
use super::vm::{ImageStep, Vm};
use super::{Parts, Source, age_key, ci, image, local_down, local_up, nix, prune, rehearse, resync, trust, validate};
use crate::call::kluctl::Warnings;
use crate::cluster::access::Access;
use crate::cluster::vm::colima;
use crate::cluster::vm::host::System;
use crate::cluster::vm::{Driver, VmRequirements};
use crate::live::history::RollbackOf;
use crate::live::prune::{Choice, Deletion};
use crate::plan::{Plan, Target};
use crate::platform::{Arch, Backend, Cluster, Environment, Platform, Stage};
use crate::project::{ObjectRef, StageDescription};

/// Stands for the nonce of a run.
const NONCE: &str = "0123456789ab";

/// Stage descriptions by cluster and stage.
pub type Descriptions = BTreeMap<(String, Stage), StageDescription>;

/// Every plan with a name for it.
pub fn plans(platform: &Platform, descriptions: &Descriptions) -> Vec<(String, Plan)> {
    let mut plans = vec![
        ("ci".to_owned(), ci::plan(platform, Warnings::Shown)),
        ("generate".to_owned(), nix::generated()),
        ("image-build".to_owned(), image::build_plan(Arch::Aarch64, Arch::X86_64)),
        (
            "image-use".to_owned(),
            image::take(Utf8PathBuf::from("images/nixos.qcow2"), None, Arch::X86_64),
        ),
    ];
    let api_ports = platform.api_ports();
    for (name, config) in &platform.clusters {
        let access = Access::of(name, config);
        if config.environment == Environment::Local {
            plans.push((format!("local-down-{name}"), local_down::plan(&access)));
            for (change, word) in [(Change::Install, "install"), (Change::Remove, "remove")] {
                plans.push((
                    format!("trust-{word}-{name}"),
                    trust::plan(&access, Store::Debian, change),
                ));
            }
        }
        for stage in config.stages.keys() {
            let Some(description) = descriptions.get(&(name.clone(), *stage)) else {
                continue;
            };
            let golden = Source::Golden(Utf8PathBuf::from(format!("k8s/golden/{name}/{stage}")));
            let built = Source::Built {
                attribute: format!("k8s-manifests-{name}-{stage}"),
                link: Utf8PathBuf::from(format!(".xtask/projects/{name}-{stage}")),
            };
            let mode = Mode::USUAL;
            let earlier = Mode {
                then: Some(RollbackOf {
                    run: "ba9876543210".to_owned(),
                    revision: Some("1111111111111111111111111111111111111111".to_owned()),
                    lock: None,
                    reviewed: Some(true),
                }),
                ..Mode::USUAL
            };
            let kept = Source::Folder(Utf8PathBuf::from(format!(".xtask/clusters/{name}/rollback/{stage}")));
            let of = |access, backend, source| Deploy {
                access,
                config,
                backend,
                stage: *stage,
                description,
                source,
                nonce: NONCE,
                goal: "the goal",
                mode: &mode,
                key: age_key::of(platform, name, backend),
            };
            for backend in &config.backends {
                let source = if *backend == Backend::Embedded { &golden } else { &built };
                let deploy = of(&access, *backend, source);
                let word = backend.name();
                if config.environment == Environment::Local && *stage == Stage::Local {
                    let wanted = vm_wanted(platform, config, *backend);
                    let vm = wanted.as_ref().map(|wanted| vm(&access, &api_ports, wanted));
                    plans.push((
                        format!("local-up-{name}-{word}"),
                        local_up::plan(&deploy, vm.as_ref(), Vec::new()),
                    ));
                    plans.extend(vm.iter().flat_map(|vm| vm_plans(vm, word)));
                }
                plans.push((
                    format!("deploy-{name}-{stage}-{word}"),
                    of_parts(name, config, deploy.parts()),
                ));
            }
            let real = config.backends.iter().find(|backend| **backend != Backend::Embedded);
            if let (Some(backend), Stage::Full) = (real, stage) {
                let stored = Cluster {
                    closure_store: Some("ssh-ng://root@store.example".to_owned()),
                    ..config.clone()
                };
                let deploy = Deploy {
                    config: &stored,
                    ..of(&access, *backend, &built)
                };
                plans.push((
                    format!("deploy-{name}-{stage}-closures"),
                    of_parts(name, &stored, deploy.parts()),
                ));
            }
            if let Some(backend) = real {
                let deploy = Deploy {
                    mode: &earlier,
                    ..of(&access, *backend, &kept)
                };
                plans.push((
                    format!("rollback-{name}-{stage}"),
                    of_parts(name, config, deploy.parts()),
                ));
            }
            let rebuild = Rebuild {
                access: &access,
                stage: *stage,
                revision: "1111111111111111111111111111111111111111",
                nonce: NONCE,
                to: Utf8Path::new(".xtask/clusters/c/rebuilt/2222"),
            };
            for source in ["nix", "golden"] {
                if let Some(parts) = rebuild.parts(source) {
                    plans.push((
                        format!("rebuild-{name}-{stage}-{source}"),
                        of_parts(name, config, parts),
                    ));
                }
            }
            let trial = Access::rehearsal(name, NONCE);
            let mut nobodys = config.clone();
            nobodys.uid = None;
            let deploy = Deploy {
                config: &nobodys,
                ..of(&trial, Backend::Embedded, &golden)
            };
            for (keep, word) in [(Keep::Nothing, ""), (Keep::Cluster, "-keep")] {
                plans.push((
                    format!("rehearse-{name}-{stage}{word}"),
                    rehearse::plan(&deploy, Vec::new(), At::Present, keep),
                ));
            }
            let then = Source::Golden(rehearse::worktree(&trial).join(golden.folder()));
            plans.push((
                format!("rehearse-{name}-{stage}-rev"),
                rehearse::plan(
                    &Deploy {
                        source: &then,
                        ..deploy.clone()
                    },
                    Vec::new(),
                    At::Commit("0123456789abcdef0123456789abcdef01234567"),
                    Keep::Nothing,
                ),
            ));
            let real = real.copied().unwrap_or(Backend::Embedded);
            let source = if real == Backend::Embedded { &golden } else { &built };
            let prune = prune::parts(&of(&access, real, source), &deletions(), &["Namespace/old".to_owned()]);
            plans.push((format!("prune-{name}-{stage}"), of_parts(name, config, prune)));
            plans.push((
                format!("validate-{name}-{stage}"),
                validate::plan(&Validate {
                    access: &trial,
                    config,
                    project: golden.folder(),
                    definitions: &[],
                    goal: "the goal",
                }),
            ));
        }
        for secret in platform
            .secrets
            .required
            .iter()
            .filter(|secret| secret.clusters.contains(name))
        {
            plans.push((
                format!("resync-{}-{name}", secret.id),
                resync::plan(&access, config, secret, NONCE),
            ));
        }
    }
    plans.extend(capi_plans(platform, descriptions));
    plans
}

/// Two objects that prune deletes, one of which takes others along.
fn deletions() -> Choice {
    let one = |kind: &str, namespace: &str, path: &str, version: Option<&str>| Deletion {
        object: ObjectRef {
            api_version: "v1".to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: "old".to_owned(),
        },
        uid: "11111111-2222-3333-4444-555555555555".to_owned(),
        path: path.to_owned(),
        state: String::new(),
        version: version.map(ToOwned::to_owned),
        along: Vec::new(),
    };
    Choice {
        deletions: vec![
            one(
                "ConfigMap",
                "default",
                "/api/v1/namespaces/default/configmaps/old",
                Some("42"),
            ),
            one("Namespace", "", "/api/v1/namespaces/old", None),
        ],
        kept: Vec::new(),
    }
}

/// A plan of these parts for a cluster.
fn of_parts(name: &str, config: &Cluster, parts: Parts) -> Plan {
    let mut plan = Plan::new("the goal");
    plan.target = Some(Target {
        cluster: name.to_owned(),
        production: config.environment == Environment::Production,
    });
    plan.sections.push(parts.section);
    plan.finally.push(parts.finally);
    plan
}

/// What ClusterAPI makes, part by part and as a whole.
fn capi_plans(platform: &Platform, descriptions: &Descriptions) -> Vec<(String, Plan)> {
    let mut plans = Vec::new();
    for (name, config) in &platform.clusters {
        let Some(api) = &config.cluster_api else { continue };
        let of = |cluster: &str, stage| descriptions.get(&(cluster.to_owned(), stage)).cloned();
        let (Some(local), Some(capi), Some(full)) = (
            of(&api.bootstrap, Stage::Local),
            of(&api.bootstrap, Stage::Capi),
            of(name, Stage::Full),
        ) else {
            continue;
        };
        let stages = Stages { local, capi, full };
        for (controllers, verbs) in [
            (
                Controllers::Pods,
                [
                    "bootstrap",
                    "init",
                    "apply",
                    "wait",
                    "dns",
                    "kubeconfig",
                    "move",
                    "down",
                ]
                .as_slice(),
            ),
            (Controllers::Processes, &["rehearse"]),
        ] {
            let Ok(config) = super::capi::config(platform, name, controllers) else {
                continue;
            };
            let Ok(mut bootstrap) = Bootstrap::of(platform, name, &config, stages.clone(), controllers, NONCE) else {
                continue;
            };
            let access = bootstrap.source.access.clone();
            let api_ports = platform.api_ports();
            let wanted = vm_wanted(platform, &config.0, bootstrap.source.backend);
            bootstrap.vm = wanted.as_ref().map(|wanted| vm(&access, &api_ports, wanted));
            for verb in verbs {
                plans.push((format!("capi-{verb}-{name}"), bootstrap.part(verb, Keep::Nothing)));
            }
        }
    }
    plans
}

/// What else is done to a VM.
fn vm_plans(vm: &Vm<'_>, driver: &str) -> Vec<(String, Plan)> {
    let cluster = &vm.access.cluster;
    let of = |goal: &str, section: crate::plan::Section| {
        let mut plan = Plan::new(format!("{goal} {cluster}"));
        plan.sections.push(section);
        (format!("{}-{cluster}-{driver}", goal.replace(' ', "-")), plan)
    };
    vec![
        (
            format!("local-down-{cluster}-{driver}"),
            local_down::vm(vm, local_down::Keep::Data),
        ),
        (
            format!("local-down-delete-{cluster}-{driver}"),
            local_down::vm(vm, local_down::Keep::Nothing),
        ),
        of("image switch", vm.switch()),
        of("image load", vm.load(Utf8PathBuf::from("images/application.tar"))),
    ]
}

fn vm<'a>(access: &'a Access, api_ports: &'a [u16], wanted: &'a VmRequirements) -> Vm<'a> {
    Vm {
        access,
        api_ports,
        wanted,
        system: System::Linux,
        arch: Arch::X86_64,
        host_arch: Arch::X86_64,
        low_ports: true,
        image: ImageStep::Build,
    }
}

/// The VM of a cluster on a Linux host of one architecture; none on backends without one.
fn vm_wanted(platform: &Platform, config: &Cluster, backend: Backend) -> Option<VmRequirements> {
    let driver = match backend {
        Backend::Colima => Driver::Colima,
        Backend::Lima => Driver::Lima,
        Backend::Embedded | Backend::Remote => return None,
    };
    let name = config.profile.as_ref()?;
    let profile = platform.profiles.get(name)?;
    Some(VmRequirements {
        driver,
        profile: name.clone(),
        instance: match driver {
            Driver::Colima => colima::instance(name),
            Driver::Lima => name.clone(),
        },
        vm_type: "qemu".to_owned(),
        arch: Arch::X86_64.name().to_owned(),
        cpus: profile.cpus,
        memory: profile.memory,
        disk: profile.disk,
        rosetta: false,
        api_port: profile.api_port,
    })
}

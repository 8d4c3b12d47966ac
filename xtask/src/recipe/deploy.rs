//! The steps that bring a stage onto a cluster: fence, listing, comparison, Lease, phases with their gates,
//! verification, ledger, release. What is equal is not written.

use camino::Utf8PathBuf;
use serde_json::json;

use super::Source;
use crate::cluster::access::Access;
use crate::live::{gate, lease};
use crate::plan::{Action, Arg, Command, Derivation, Effect, Fenced, LeaseContent, LedgerContent, Probe, Step, Tool};
use crate::platform::{Backend, Cluster, Stage};
use crate::project::{Gate, StageDescription};

/// Seconds kluctl may wait for one object; 120 s failed on loaded machines, 300 s held.
const READINESS: u64 = 300;

/// Everything a deploy is made from.
#[derive(Debug, Clone)]
pub struct Deploy<'a> {
    /// How the cluster is reached.
    pub access: &'a Access,
    /// Facts of the cluster.
    pub facts: &'a Cluster,
    /// What runs it.
    pub backend: Backend,
    /// Stage that is deployed.
    pub stage: Stage,
    /// Description of the project.
    pub description: &'a StageDescription,
    /// Where the project comes from.
    pub source: &'a Source,
    /// Nonce of the run.
    pub nonce: &'a str,
    /// Words for the Lease.
    pub goal: &'a str,
}

/// Steps of a deploy, and those that always run.
pub struct Steps {
    /// In order.
    pub steps: Vec<Step>,
    /// Also after a failure.
    pub finally: Vec<Step>,
}

impl Deploy<'_> {
    fn embedded(&self) -> bool {
        self.backend == Backend::Embedded
    }

    fn work(&self, name: &str) -> Utf8PathBuf {
        self.access.work().join(name)
    }

    /// The project as this cluster gets it.
    fn project(&self) -> Utf8PathBuf {
        if self.embedded() {
            self.work("project")
        } else {
            self.source.folder()
        }
    }

    /// Gates that this backend can hold, and those that are only simulated.
    fn gates(&self) -> (Vec<Gate>, Vec<Gate>) {
        self.description
            .gates
            .iter()
            .cloned()
            .partition(|gate| gate::can_hold(gate, self.embedded()))
    }

    /// Phases that go in one kluctl call: a phase with a gate that can hold ends a group. On an embedded cluster
    /// no controller waits for another, kluctl's own barriers keep the order, and one call is faster than many;
    /// its gates are held once everything is there.
    fn groups(&self, gates: &[Gate]) -> Vec<Vec<String>> {
        if self.embedded() {
            return vec![self.description.phases.clone()];
        }
        let mut groups: Vec<Vec<String>> = Vec::new();
        let mut open = false;
        for phase in &self.description.phases {
            match groups.last_mut() {
                Some(group) if open => group.push(phase.clone()),
                _ => groups.push(vec![phase.clone()]),
            }
            open = !gates.iter().any(|gate| gate.phase == *phase);
        }
        groups
    }

    fn fenced(&self) -> Fenced {
        match &self.facts.uid {
            Some(uid) => Fenced::Committed(uid.clone()),
            None => Fenced::Recorded(self.access.folder.join("uid.json")),
        }
    }

    fn get_gates(&self, gates: &[Gate]) -> Command {
        self.access
            .kubectl()
            .args(["get", "--all-namespaces", "--output=json", "--ignore-not-found"])
            .arg(gate::resources(gates).join(","))
            .within(30)
    }

    /// The plan's steps.
    pub fn steps(&self) -> Steps {
        let (gates, simulated) = self.gates();
        let groups = self.groups(&gates);
        let delta = self.work("delta.json");
        // A run that was killed after it deployed still has a ledger to write and a Lease to give back.
        let fresh = Probe::All(vec![
            Probe::Says {
                file: delta.clone(),
                pointer: "/fresh".to_owned(),
                value: json!(true),
            },
            Probe::Not(Box::new(self.lease_ours())),
        ]);

        let mut steps = vec![self.fence_read(), self.fence_check()];
        steps.extend(self.source_steps());
        if !simulated.is_empty() {
            steps.push(Step::new(
                "gates.simulate",
                format!("Name the {} gates that are only simulated", simulated.len()),
                "No controller of the stage runs on an embedded cluster; what cannot hold is not passed over in silence.",
                Effect::Read,
                Action::Check(Derivation::Simulated { gates: simulated }),
            ));
        }
        steps.extend(self.compare_steps("stage", &groups));
        steps.extend(self.lease_steps(&fresh));
        for (index, group) in groups.iter().enumerate() {
            steps.extend(self.group_steps(index, group, &gates, &delta));
        }
        if !gates.is_empty() {
            let deadline = longest(&gates);
            steps.push(Step::new(
                "stage.hold",
                format!("Wait until all {} gates of the stage hold", gates.len()),
                "A stage that was ready once may not be ready now, also when nothing had to be deployed.",
                Effect::Read,
                Action::Wait {
                    until: Probe::Gates {
                        command: self.get_gates(&gates),
                        gates,
                    },
                    deadline,
                    every: 1,
                },
            ));
        }
        // Kinds that the deploy has defined were not served when the run began.
        let look_again = [self.api_list("served"), self.api_choose("served", Some(self.project()))];
        let verify = look_again.into_iter().chain(self.compare_steps("verify", &groups));
        steps.extend(verify.map(|step| step.unless(fresh.clone())));
        steps.push(
            Step::new(
                "verify.judge",
                "Check that nothing differs any more",
                "Done is said only of a cluster that holds what was deployed.",
                Effect::Read,
                Action::Check(Derivation::NothingDiffers {
                    delta: self.work("delta-verify.json"),
                }),
            )
            .unless(fresh.clone()),
        );
        steps.extend(self.ledger_steps(&fresh));
        Steps {
            steps,
            finally: self.release_steps(),
        }
    }

    /// Lists and compares once more, for a rehearsal's second look.
    pub fn again(&self) -> Vec<Step> {
        let (gates, _) = self.gates();
        self.compare_steps("again", &self.groups(&gates))
    }

    fn fence_read(&self) -> Step {
        Step::new(
            "fence.read",
            "Read the UID of kube-system",
            "A cluster is known by it, not by a name.",
            Effect::Read,
            Action::Run(
                self.access
                    .kubectl()
                    .args(["get", "namespace", "kube-system", "--output=json"])
                    .to_file(self.work("kube-system.json"))
                    .within(30),
            ),
        )
        .guarding()
    }

    fn fence_check(&self) -> Step {
        Step::new(
            "fence.check",
            format!("Check that this is `{}`", self.access.cluster),
            "Nothing is ever written to another cluster.",
            Effect::Read,
            Action::Check(Derivation::Fence {
                namespace: self.work("kube-system.json"),
                expected: self.fenced(),
                cluster: self.access.cluster.clone(),
            }),
        )
        .guarding()
    }

    fn source_steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Source::Built { attribute, link } = self.source {
            steps.push(Step::new(
                "project.build",
                format!("Build `.#{attribute}`"),
                "The project is what the flake renders now.",
                Effect::Local,
                Action::Run(
                    Command::new(Tool::Nix)
                        .args([
                            "build",
                            "--extra-experimental-features",
                            "nix-command flakes",
                            "--no-write-lock-file",
                        ])
                        .arg(format!(".#{attribute}"))
                        .arg("--out-link")
                        .arg(link)
                        .within(3600),
                ),
            ));
        }
        steps.push(self.api_list("api"));
        if self.embedded() {
            steps.push(Step::new(
                "project.adapt",
                "Copy the project without what an embedded cluster cannot hold",
                "Nothing answers on a ClusterIP there, so no APIService and no conversion webhook may be applied.",
                Effect::Local,
                Action::Derive(Derivation::EmbeddedProject {
                    from: self.source.folder(),
                    served: self.work("served.txt"),
                    to: self.project(),
                }),
            ));
        }
        steps.push(self.api_choose("api", None));
        steps
    }

    fn api_list(&self, name: &str) -> Step {
        Step::new(
            &format!("{name}.list"),
            "Ask what the API server serves",
            "One unknown kind would make a whole listing fail.",
            Effect::Read,
            Action::Run(
                self.access
                    .kubectl()
                    .args(["api-resources", "--no-headers", "--output=wide", "--cached=false"])
                    .to_file(self.work("served.txt"))
                    .within(60),
            ),
        )
    }

    fn api_choose(&self, name: &str, project: Option<Utf8PathBuf>) -> Step {
        Step::new(
            &format!("{name}.choose"),
            "Choose the kinds to list",
            "What cannot be created is no object of a stage.",
            Effect::Read,
            Action::Derive(Derivation::Resources {
                served: self.work("served.txt"),
                project,
                to: self.work("resources.json"),
            }),
        )
    }

    /// Lists everything with the stage's label and compares. `name` tells the comparisons of a plan apart.
    fn compare_steps(&self, name: &str, groups: &[Vec<String>]) -> Vec<Step> {
        let suffix = if name == "stage" {
            String::new()
        } else {
            format!("-{name}")
        };
        let listing = self.work(&format!("listing{suffix}.json"));
        vec![
            Step::new(
                &format!("{name}.list"),
                "List what the stage has in the cluster",
                "One listing is what every comparison and every guard looks at.",
                Effect::Read,
                Action::Run(
                    self.access
                        .kubectl()
                        .arg("get")
                        .arg(Arg::Later {
                            file: self.work("resources.json"),
                            pointer: "/resources".to_owned(),
                        })
                        .args(["--all-namespaces", "--show-managed-fields", "--output=json"])
                        .arg(format!(
                            "--selector=kluctl.io/discriminator={}",
                            self.description.discriminator
                        ))
                        .to_file(&listing)
                        .within(120),
                ),
            ),
            Step::new(
                &format!("{name}.compare"),
                "Compare it with the project",
                "By digest and field ownership; values come back changed and say nothing.",
                Effect::Read,
                Action::Derive(Derivation::Compare {
                    project: self.project(),
                    listing,
                    groups: groups.to_vec(),
                    to: self.work(&format!("delta{suffix}.json")),
                }),
            ),
        ]
    }

    fn lease_get(&self) -> Command {
        self.access
            .kubectl()
            .args(["get", "lease", "--ignore-not-found", "--output=json"])
            .arg(format!("--namespace={}", lease::NAMESPACE))
            .arg(lease::name(&self.access.cluster))
            .within(30)
    }

    /// Whether the Lease that was last read is this run's.
    fn lease_ours(&self) -> Probe {
        Probe::Says {
            file: self.work("lease-held.json"),
            pointer: lease::NONCE_POINTER.to_owned(),
            value: json!(self.nonce),
        }
    }

    fn lease_steps(&self, fresh: &Probe) -> Vec<Step> {
        let wanted = self.work("lease.json");
        let held = self.work("lease-held.json");
        let look = Step::new(
            "lease.look",
            "Look who holds the cluster's Lease",
            "A run that was cut off may hold it, and is not over before it gives it back.",
            Effect::Read,
            Action::Run(self.lease_get().to_file(&held)),
        );
        let steps = [
            Step::new(
                "lease.write",
                "Write the Lease of this run",
                "It says who holds the cluster, since when and for what.",
                Effect::Local,
                Action::Derive(Derivation::Lease {
                    content: LeaseContent {
                        cluster: self.access.cluster.clone(),
                        nonce: self.nonce.to_owned(),
                        goal: self.goal.to_owned(),
                    },
                    to: wanted.clone(),
                }),
            ),
            Step::new(
                "lease.take",
                "Take the cluster's Lease",
                "Creating it is the atomic step that keeps other hosts out.",
                Effect::Remote,
                Action::Run(
                    self.access
                        .kubectl()
                        .args(["create", "--filename"])
                        .arg(wanted)
                        .within(30)
                        .or_look_next(),
                ),
            ),
            Step::new(
                "lease.read",
                "Read the Lease back",
                "Only what the cluster says counts.",
                Effect::Read,
                Action::Run(self.lease_get().to_file(&held)),
            ),
            Step::new(
                "lease.check",
                "Check that the Lease is ours",
                "Somebody else may have been first.",
                Effect::Read,
                Action::Check(Derivation::LeaseHeld {
                    lease: held,
                    nonce: self.nonce.to_owned(),
                }),
            ),
        ];
        let steps = steps.into_iter().map(|step| step.unless(fresh.clone()));
        std::iter::once(look).chain(steps).map(Step::guarding).collect()
    }

    fn group_steps(&self, index: usize, phases: &[String], gates: &[Gate], delta: &Utf8PathBuf) -> Vec<Step> {
        let fresh = Probe::Says {
            file: delta.clone(),
            pointer: format!("/groups/{index}/fresh"),
            value: json!(true),
        };
        let result = self.work(&format!("result-{index}.yaml"));
        let names = phases.join(", ");
        let first = &phases[0];
        // One object may take READINESS; a call holds several phases.
        let timeout = READINESS * (phases.len() as u64 + 1);
        let deploy = self
            .access
            .kluctl("deploy")
            .args(["--yes", "--abort-on-error", "--write-command-result=false"])
            .arg(format!("--readiness-timeout={READINESS}s"))
            .arg(format!("--timeout={timeout}s"))
            .flag_path("--project-dir", self.project())
            .flag_path("--output-format=yaml", &result)
            .arg(Arg::LaterList {
                file: delta.clone(),
                pointer: format!("/groups/{index}/arguments"),
            })
            .within(timeout + 60);
        let mut steps = vec![
            Step::new(
                &format!("result-{first}.clear"),
                "Remove the result of an earlier call",
                "kluctl writes none when it cannot load or connect, and an old one must not be read.",
                Effect::Local,
                Action::Remove { path: result.clone() },
            ),
            Step::new(
                &format!("phase-{first}.deploy"),
                format!("Deploy {names}"),
                "Only the items that differ; kluctl keeps the order and waits for workloads and CRDs.",
                Effect::Remote,
                Action::Run(deploy),
            ),
            Step::new(
                &format!("phase-{first}.judge"),
                format!("Read what became of {names}"),
                "kluctl ends 0 with lost fields and skipped objects.",
                Effect::Read,
                Action::Check(Derivation::KluctlResult { result }),
            ),
        ];
        let own: Vec<Gate> = gates
            .iter()
            .filter(|gate| phases.contains(&gate.phase))
            .cloned()
            .collect();
        // With one group `stage.hold` comes next and looks at the same gates.
        if !own.is_empty() && own.len() < gates.len() {
            let deadline = longest(&own);
            steps.push(Step::new(
                &format!("phase-{first}.hold"),
                format!(
                    "Wait for {}",
                    own.iter().map(|gate| gate.id.as_str()).collect::<Vec<_>>().join(", ")
                ),
                "The next phase needs it, and kluctl does not judge it.",
                Effect::Read,
                Action::Wait {
                    until: Probe::Gates {
                        command: self.get_gates(&own),
                        gates: own,
                    },
                    deadline,
                    every: 1,
                },
            ));
        }
        steps.into_iter().map(|step| step.unless(fresh.clone())).collect()
    }

    fn ledger_steps(&self, fresh: &Probe) -> Vec<Step> {
        let current = self.work("ledger-current.json");
        let next = self.work("ledger.json");
        let steps = [
            Step::new(
                "ledger.read",
                "Read the ledger",
                "It keeps the last deployments of each stage.",
                Effect::Read,
                Action::Run(
                    self.access
                        .kubectl()
                        .args(["get", "configmap", "--ignore-not-found", "--output=json"])
                        .arg(format!("--namespace={}", lease::NAMESPACE))
                        .arg(lease::name(&self.access.cluster))
                        .to_file(&current)
                        .within(30),
                ),
            ),
            Step::new(
                "ledger.add",
                "Add this deployment",
                "Who, when, from what, with how many changes.",
                Effect::Local,
                Action::Derive(Derivation::Ledger {
                    current,
                    project: self.project(),
                    delta: self.work("delta.json"),
                    entry: LedgerContent {
                        cluster: self.access.cluster.clone(),
                        stage: self.stage.name().to_owned(),
                        run: self.nonce.to_owned(),
                        source: self.source.name().to_owned(),
                        only: None,
                    },
                    to: next.clone(),
                }),
            ),
            Step::new(
                "ledger.write",
                "Write the ledger",
                "History, rollback and drift read it.",
                Effect::Remote,
                Action::Run(
                    self.access
                        .kubectl()
                        .args(["apply", "--server-side", "--force-conflicts"])
                        // A manager a stage: one apply must not take away what another stage wrote.
                        .arg(format!("--field-manager=xtask-{}", self.stage))
                        .arg("--filename")
                        .arg(next)
                        .within(30),
                ),
            ),
        ];
        steps.into_iter().map(|step| step.unless(fresh.clone())).collect()
    }

    /// Gives the Lease back, if it is ours; a run that never took it has nothing to give.
    fn release_steps(&self) -> Vec<Step> {
        let held = self.work("lease-held.json");
        let options = self.work("lease-release.json");
        // Taking it may have been cut off before it was read back.
        let never_wanted = Probe::Not(Box::new(Probe::Exists(self.work("lease.json"))));
        let not_ours = Probe::Not(Box::new(self.lease_ours()));
        vec![
            Step::new(
                "lease.find",
                "Look whether the Lease is ours",
                "Only what the cluster says counts.",
                Effect::Read,
                Action::Run(self.lease_get().to_file(&held)),
            )
            .unless(never_wanted.clone()),
            Step::new(
                "lease.aim",
                "Aim at this very Lease",
                "A delete by name could hit the Lease of somebody who came after us.",
                Effect::Local,
                Action::Derive(Derivation::LeaseRelease {
                    lease: held,
                    to: options.clone(),
                }),
            )
            .unless(Probe::Any(vec![never_wanted.clone(), not_ours.clone()])),
            Step::new(
                "lease.release",
                "Give the Lease back",
                "The next run must not find a lock without a holder.",
                Effect::Remote,
                Action::Run(
                    self.access
                        .kubectl()
                        .arg("delete")
                        .arg(format!(
                            "--raw=/apis/coordination.k8s.io/v1/namespaces/{}/leases/{}",
                            lease::NAMESPACE,
                            lease::name(&self.access.cluster)
                        ))
                        .arg("--filename")
                        .arg(options)
                        .within(30),
                ),
            )
            .unless(Probe::Any(vec![never_wanted, not_ours])),
        ]
    }
}

fn longest(gates: &[Gate]) -> u64 {
    gates.iter().map(|gate| gate.timeout_seconds).max().unwrap_or(READINESS)
}

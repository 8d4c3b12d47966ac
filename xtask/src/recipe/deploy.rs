//! The section that brings a stage onto a cluster: identity check, listing, comparison, Lease, phases with their gates,
//! verification, deployment history, release. What is equal is not written.

use camino::Utf8PathBuf;
use serde_json::json;

use super::{Parts, Source, closures};
use crate::call::kluctl::{KluctlResult, Warnings};
use crate::call::list::ListObjects;
use crate::cluster::access::Access;
use crate::cluster::embedded::EmbeddedProject;
use crate::command::{Arg, Command, Tool};
use crate::live::compare::{Compare, DiffUnchanged, NoForeignObjects, NothingDiffers, Only, PartialProject};
use crate::live::definitions::ShowDowngrades;
use crate::live::diff::ShowDiff;
use crate::live::gate::{self, SimulatedGates};
use crate::live::history::{ArchiveProject, HistoryContent, RecordDeployment, RollbackOf};
use crate::live::listing::Choose;
use crate::live::listing::ListableResources;
use crate::live::project::{DescriptionUnchanged, EncloseProject};
use crate::live::reset::{FieldsLeft, TakeFieldsBack};
use crate::live::review::{CleanTree, Reviewed, Stale};
use crate::plan::{Action, Effect, Probe, Section, Step};
use crate::platform::{Backend, Cluster, Environment, Stage};
use crate::project::{Gate, StageDescription};
use crate::secrets::check::CheckSecrets;
use crate::secrets::operator_key::OperatorKey;

/// Seconds kluctl may wait for one object; 120 s failed on loaded machines, 300 s held.
const READINESS: u64 = 300;

/// Everything a deploy is made from.
#[derive(Debug, Clone)]
pub struct Deploy<'a> {
    /// How the cluster is reached.
    pub access: &'a Access,
    /// Platform config of the cluster.
    pub config: &'a Cluster,
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
    /// What makes this deploy another than the usual one.
    pub mode: &'a Mode,
    /// The identity of the cluster's operator; none where nothing is decrypted.
    pub key: Option<OperatorKey>,
}

/// What makes a deploy another than the usual one; the default is the whole stage, not compared with a golden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mode {
    /// Deploy this part alone.
    pub only: Option<Only>,
    /// Compare the project with the golden in this folder first.
    pub golden: Option<Utf8PathBuf>,
    /// Why, in the words of who deploys; goes to the deployment history.
    pub reason: Option<String>,
    /// Deployment that is taken up again.
    pub then: Option<RollbackOf>,
    /// Discriminator of a stage that objects may be taken from.
    pub take_from: Option<String>,
    /// Names of objects that are brought back to what the project says, without what others added.
    pub reset: Vec<String>,
    /// What a warning of the API server is worth.
    pub warnings: Warnings,
}

impl Default for Mode {
    fn default() -> Self {
        Self::USUAL
    }
}

impl Mode {
    /// The usual one.
    pub const USUAL: Self = Self {
        only: None,
        golden: None,
        reason: None,
        then: None,
        take_from: None,
        reset: Vec::new(),
        warnings: Warnings::Shown,
    };
}

impl Deploy<'_> {
    fn embedded(&self) -> bool {
        self.backend == Backend::Embedded
    }

    fn work(&self, name: &str) -> Utf8PathBuf {
        self.access.work().join(name)
    }

    /// The project as this cluster gets it: always a copy, so that what was compared is what is deployed.
    pub fn project(&self) -> Utf8PathBuf {
        self.work("project")
    }

    /// What the copy lacks; on a real cluster it lacks nothing.
    fn left_out(&self) -> Option<Utf8PathBuf> {
        self.embedded().then(|| self.work("left-out.json"))
    }

    fn production(&self) -> bool {
        self.config.environment == Environment::Production
    }

    /// Gates that this backend can hold, and those that are only simulated.
    fn gates(&self) -> (Vec<Gate>, Vec<Gate>) {
        self.description
            .gates
            .iter()
            .filter(|gate| {
                self.mode
                    .only
                    .as_ref()
                    .is_none_or(|only| only.takes(&gate.component, &gate.phase))
            })
            .cloned()
            .partition(|gate| gate::can_hold(gate, self.embedded()))
    }

    /// Phases that go in one kluctl call: a phase with a gate that can hold ends a group. On an embedded cluster
    /// no controller waits for another, kluctl's own barriers keep the order, and one call is faster than many;
    /// its gates are held once everything is there.
    fn groups(&self, gates: &[Gate]) -> Vec<Vec<String>> {
        let phases: Vec<&String> = self
            .description
            .phases
            .iter()
            .filter(|phase| {
                self.mode.only.as_ref().is_none_or(|only| {
                    let items = &self.description.items;
                    items
                        .iter()
                        .any(|item| item.phase == **phase && only.takes(&item.component, &item.phase))
                })
            })
            .collect();
        if self.embedded() {
            return vec![phases.into_iter().cloned().collect()];
        }
        let mut groups: Vec<Vec<String>> = Vec::new();
        let mut open = false;
        for phase in phases {
            match groups.last_mut() {
                Some(group) if open => group.push(phase.clone()),
                _ => groups.push(vec![phase.clone()]),
            }
            open = !gates.iter().any(|gate| gate.phase == *phase);
        }
        groups
    }

    fn get_gates(&self, gates: &[Gate]) -> Command {
        self.access
            .kubectl()
            .args(["get", "--all-namespaces", "--output=json", "--ignore-not-found"])
            .arg(gate::resources(gates).join(","))
            .within(30)
    }

    /// The deploy as a section, and what gives its Lease back.
    pub fn parts(&self) -> Parts {
        let (gates, simulated) = self.gates();
        let groups = self.groups(&gates);
        let delta = self.work("delta.json");
        // A run that was killed after it deployed still has a deployment history to write and a Lease to give back.
        let fresh = Probe::All(vec![
            Probe::Says {
                file: delta.clone(),
                pointer: "/fresh".to_owned(),
                value: json!(true),
            },
            Probe::Not(Box::new(super::guard::ours(self.access, self.nonce))),
        ]);

        let mut section = Section::new(
            "deploy",
            format!("Deploy stage {} to `{}`", self.stage, self.access.cluster),
            "What differs from the project is brought to it, and nothing else is touched.",
        )
        .with(super::guard::section(self.access, self.config));
        // A rehearsal of a production stage goes to nobody's cluster.
        // What a rollback deploys was made from another revision, whatever the tree is like now.
        if self.production() && !self.embedded() && self.mode.then.is_none() {
            section.push(self.tree_section());
        }
        section.push(self.project_section(simulated));
        section.push(
            Section::new(
                "compare",
                "Compare the cluster with the project",
                "What is equal is not written.",
            )
            .with_all(self.compare_steps("stage", &groups)),
        );
        section.push(self.show_section(&delta).unless(fresh.clone()));
        section.push(self.lock_section(&groups, &delta).unless(fresh.clone()));
        if !self.mode.reset.is_empty() {
            section.push(self.reset_section().unless(fresh.clone()));
        }
        if let Some(key) = &self.key {
            section.push(super::age_key::section(self.access, key, self.nonce));
        }
        let mut apply = Section::new(
            "apply",
            match groups.len() {
                1 => "Deploy every phase".to_owned(),
                count => format!("Deploy the phases in {count} groups"),
            },
            "Each group needs what those before it brought.",
        );
        for index in 0..groups.len() {
            self.group_section(&mut apply, index, &groups, &gates, &delta);
        }
        section.push(apply);
        if !gates.is_empty() {
            let deadline = longest(&gates);
            section.push(
                Section::new("ready", "Wait until the stage is ready", "Applied is not yet ready.").with(Step::new(
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
                )),
            );
        }
        section.push(self.verify_section(&groups, &delta).unless(fresh.clone()));
        section.push(self.history_section().unless(fresh));
        Parts {
            section,
            finally: super::guard::give_back(self.access, self.nonce),
        }
    }

    /// Brings the project here, checks it, and makes the copy that is deployed.
    fn project_section(&self, simulated: Vec<Gate>) -> Section {
        let mut steps = vec![self.revision_step()];
        steps.extend(self.source_steps());
        // Pods of an embedded cluster are simulated, and mount nothing.
        if !self.embedded() && self.config.closure_store.is_none() {
            steps.push(closures::check(&self.project(), &self.access.cluster));
        }
        steps.extend(self.review_step());
        steps.push(Step::new(
            "secrets.check",
            "Check the secrets of the checkout and of the project",
            "Nothing in plain text, nothing that kluctl would decrypt, no reader who should not be one.",
            Effect::Read,
            Action::task(CheckSecrets {
                // What stage local needs is generated; the provider's token, which a bootstrap cluster needs too,
                // is wanted by stage capi only.
                cluster: (!self.embedded() && self.stage != Stage::Local).then(|| self.access.cluster.clone()),
                project: self.source.folder(),
            }),
        ));
        if !simulated.is_empty() {
            steps.push(Step::new(
                "gates.simulate",
                format!("Name the {} gates that are only simulated", simulated.len()),
                "No controller of the stage runs on an embedded cluster; what cannot hold is not passed over in silence.",
                Effect::Read,
                Action::task(SimulatedGates { gates: simulated }),
            ));
        }
        Section::new(
            "project",
            "Prepare the project",
            "What was checked and compared is what is deployed.",
        )
        .with_all(steps)
    }

    fn show_section(&self, delta: &Utf8PathBuf) -> Section {
        let mut section = Section::new(
            "show",
            "Show what would change",
            "It can be agreed to only when it was shown.",
        )
        .with(Step::new(
            "stage.own",
            "Check that nothing is taken from another stage",
            "kluctl takes over silently what another stage has, and that one takes it back.",
            Effect::Read,
            Action::task(NoForeignObjects {
                delta: delta.clone(),
                taken_from: self.mode.take_from.clone(),
            }),
        ))
        .with(Step::new(
            "stage.show",
            "Show what would change",
            "What was not shown cannot be agreed to.",
            Effect::Read,
            Action::task(ShowDiff {
                project: self.project(),
                listing: self.work("listing.json"),
                delta: delta.clone(),
            }),
        ));
        if self.mode.then.is_some() {
            section.push(Step::new(
                "definition.show",
                "Name the definitions that would be exchanged for earlier ones",
                "Stored objects may have what an earlier definition does not know.",
                Effect::Read,
                Action::task(ShowDowngrades {
                    project: self.project(),
                    listing: self.work("listing.json"),
                    delta: delta.clone(),
                }),
            ));
        }
        section
    }

    /// Takes the Lease, and looks that the cluster is still as it was shown.
    fn lock_section(&self, groups: &[Vec<String>], delta: &Utf8PathBuf) -> Section {
        Section::new(
            "lock",
            "Lock the cluster for this run",
            "Two deploys at once would overwrite each other.",
        )
        .with_all(super::guard::take(self.access, self.nonce, self.goal))
        .with_all(self.compare_steps("held", groups))
        .with(Step::new(
            "held.judge",
            "Check that the cluster is as it was shown",
            "Another run may have changed it before the Lease was ours.",
            Effect::Read,
            Action::task(DiffUnchanged {
                shown: delta.clone(),
                now: self.work("delta-held.json"),
            }),
        ))
    }

    /// Takes back what others added to the objects that are named; the deploy behind it takes it away.
    fn reset_section(&self) -> Section {
        Section::new(
            "reset",
            format!("Take back what others added to {}", self.mode.reset.join(", ")),
            "A field that another manager has stays, whatever is applied.",
        )
        .with(Step::new(
            "fields.take",
            "Make kluctl the only manager of these objects",
            "What was added is gone with the deploy that follows.",
            Effect::Destroy,
            Action::task(TakeFieldsBack {
                delta: self.work("delta-held.json"),
                listing: self.work("listing-held.json"),
                replace: self
                    .access
                    .kubectl()
                    .args(["replace", "--field-manager=xtask", "--filename=-"])
                    .within(60),
            }),
        ))
    }

    fn verify_section(&self, groups: &[Vec<String>], delta: &Utf8PathBuf) -> Section {
        let no_more_kinds = Probe::Says {
            file: delta.clone(),
            pointer: "/moreKinds".to_owned(),
            value: json!(false),
        };
        Section::new(
            "verify",
            "Verify that nothing differs any more",
            "Done is said only of a cluster that holds what was deployed.",
        )
        .with(
            Section::new(
                "kinds",
                "List the kinds that were not served before",
                "Kinds that the deploy has brought were not served when the run began.",
            )
            .with(self.api_list("served"))
            .with(self.api_choose("served", Choose::Own))
            .unless(no_more_kinds),
        )
        .with_all(self.compare_steps("verify", groups))
        .with(Step::new(
            "verify.judge",
            "Check that nothing differs any more",
            "Done is said only of a cluster that holds what was deployed.",
            Effect::Read,
            Action::task(NothingDiffers {
                delta: self.work("delta-verify.json"),
            }),
        ))
        .with(Step::new(
            "verify.fields",
            "Check that what left the project has left the cluster",
            "A field that another manager has, too, stays, though kluctl says that it is gone.",
            Effect::Read,
            Action::task(FieldsLeft {
                project: self.project(),
                before: delta.clone(),
                listing: self.work("listing-verify.json"),
                look: self
                    .access
                    .kubectl()
                    .args(["create", "--dry-run=server", "--output=json", "--filename=-"])
                    .within(60),
                reset: format!(
                    "cargo xtask deploy --stage {} --cluster {}",
                    self.stage, self.access.cluster
                ),
            }),
        ))
    }

    /// Lists and compares once more, for a rehearsal's second look.
    pub fn again(&self) -> Vec<Step> {
        let (gates, _) = self.gates();
        self.compare_steps("again", &self.groups(&gates))
    }

    /// Everything up to the first comparison: it writes nothing but files of this host.
    pub fn look(&self) -> Vec<Section> {
        let (gates, _) = self.gates();
        vec![
            super::guard::section(self.access, self.config),
            Section::new(
                "project",
                "Prepare the project",
                "What is compared is what would be deployed.",
            )
            .with_all(self.source_steps()),
            Section::new(
                "compare",
                "Compare the cluster with the project",
                "What is equal is not written.",
            )
            .with_all(self.compare_steps("stage", &self.groups(&gates))),
        ]
    }

    /// The same comparison once more, under the Lease; what Nix builds was built for the first.
    pub fn held(&self) -> Vec<Step> {
        let (gates, _) = self.gates();
        let mut steps = self.source_steps();
        steps.retain(|step| !matches!(&step.action, Action::Run(command) if command.tool == Tool::Nix));
        steps.extend(self.compare_steps("held", &self.groups(&gates)));
        steps
    }

    /// Production gets what is committed, and nothing else.
    pub fn tree_section(&self) -> Section {
        let status = self.work("status.txt");
        let steps = [
            Step::new(
                "tree.read",
                "Ask Git what is not committed",
                "What production runs must be found again in the history.",
                Effect::Read,
                Action::Run(
                    Command::new(Tool::Git)
                        .args([
                            "status",
                            "--porcelain=v1",
                            "-z",
                            "--no-renames",
                            "--untracked-files=all",
                        ])
                        .to_file(&status),
                ),
            ),
            Step::new(
                "tree.check",
                "Check that everything is committed",
                "A dirty tree cannot be reviewed, and cannot be rolled back to.",
                Effect::Read,
                Action::task(CleanTree { status }),
            ),
        ];
        Section::new(
            "tree",
            "Check that everything is committed",
            "What production runs must be found again in the history.",
        )
        .with_all(steps)
    }

    fn revision_step(&self) -> Step {
        Step::new(
            "revision.read",
            "Ask Git for the revision",
            "The deployment history names it.",
            Effect::Read,
            Action::Run(
                Command::new(Tool::Git)
                    .args(["rev-parse", "HEAD"])
                    .to_file(self.work("revision.txt"))
                    // A checkout without Git can deploy; its deployment history entry then names no revision.
                    .or_look_next(),
            ),
        )
    }

    fn review_step(&self) -> Option<Step> {
        let golden = self.mode.golden.as_ref()?;
        Some(Step::new(
            "golden.check",
            "Compare the project with what was reviewed",
            "Production gets what was reviewed; a local cluster may get more, and its deployment history says so.",
            Effect::Read,
            Action::task(Reviewed {
                project: self.source.reviewed(),
                golden: golden.clone(),
                stale: if self.production() {
                    Stale::Refused
                } else {
                    Stale::Shown
                },
                to: self.work("review.json"),
            }),
        ))
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
        if !matches!(self.source, Source::Golden(_)) {
            steps.push(Step::new(
                "project.check",
                "Check that the project is described as planned",
                "The plan's phases and gates are those of the description it was made from.",
                Effect::Read,
                Action::task(DescriptionUnchanged {
                    project: self.source.folder(),
                    digest: self.description.digest(),
                }),
            ));
        }
        steps.push(self.api_list("api"));
        steps.push(if let Some(left_out) = self.left_out() {
            Step::new(
                "project.adapt",
                "Copy the project without what an embedded cluster cannot hold",
                "Nothing answers on a ClusterIP there, so no APIService and no conversion webhook may be applied.",
                Effect::Local,
                Action::task(EmbeddedProject {
                    from: self.source.folder(),
                    served: self.work("served.txt"),
                    to: self.project(),
                    left_out,
                }),
            )
        } else {
            Step::new(
                "project.copy",
                "Copy the project",
                "What was compared is what is deployed, and kluctl looks at no repository around it.",
                Effect::Local,
                Action::task(EncloseProject {
                    from: self.source.folder(),
                    served: self.work("served.txt"),
                    to: self.project(),
                }),
            )
        });
        steps.push(self.api_choose("api", Choose::Every));
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
                    .within(60)
                    .or_partial(),
            ),
        )
    }

    fn api_choose(&self, name: &str, choose: Choose) -> Step {
        Step::new(
            &format!("{name}.choose"),
            "Choose the kinds to list",
            "What cannot be created is no object of a stage.",
            Effect::Read,
            Action::task(ListableResources {
                served: self.work("served.txt"),
                project: self.project(),
                kept: kept(self.access, self.stage),
                choose,
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
        let socket = self.work("api/socket");
        vec![
            Step::new(
                &format!("{name}.list"),
                "List what the stages have in the cluster",
                "One listing is what every comparison and every guard looks at.",
                Effect::Read,
                Action::task(ListObjects {
                    proxy: self
                        .access
                        .kubectl()
                        .arg("proxy")
                        // Below the root, where it starts: a path of a socket must be short.
                        .arg(format!("--unix-socket={socket}"))
                        .arg("--reject-methods=^(POST|PUT|PATCH|DELETE)$")
                        .arg("--append-server-path")
                        .within(120)
                        .or_ask_again(),
                    socket,
                    of: self.work("resources.json"),
                    // Every stage's, so that none takes from another what it has.
                    label: "kluctl.io/discriminator".to_owned(),
                    to: listing.clone(),
                }),
            ),
            Step::new(
                &format!("{name}.compare"),
                "Compare it with the project",
                "By digest and field ownership; values come back changed and say nothing.",
                Effect::Read,
                Action::task(Compare {
                    project: self.project(),
                    left_out: self.left_out(),
                    only: self.mode.only.clone(),
                    listing,
                    groups: groups.to_vec(),
                    reset: self.mode.reset.clone(),
                    to: self.work(&format!("delta{suffix}.json")),
                }),
            ),
        ]
    }

    /// Adds what deploys a group of phases, and the wait for its gates.
    fn group_section(
        &self,
        apply: &mut Section,
        index: usize,
        groups: &[Vec<String>],
        gates: &[Gate],
        delta: &Utf8PathBuf,
    ) {
        let phases = &groups[index];
        let is_fresh = |index: usize| Probe::Says {
            file: delta.clone(),
            pointer: format!("/groups/{index}/fresh"),
            value: json!(true),
        };
        let fresh = is_fresh(index);
        let due = self.work(&format!("{DUE}{index}"));
        let result = self.work(&format!("result-{index}.yaml"));
        let names = match phases.as_slice() {
            [first, .., last] if phases.len() > 3 => format!("{} phases, {first} to {last}", phases.len()),
            few => few.join(", "),
        };
        let first = &phases[0];
        // One object may take READINESS; a call holds several phases.
        let timeout = READINESS * (phases.len() as u64 + 1);
        let deploy = self
            .access
            .kluctl("deploy")
            .args(["--yes", "--abort-on-error", "--write-command-result=false"])
            .arg(format!("--readiness-timeout={READINESS}s"))
            .arg(format!("--timeout={timeout}s"))
            .flag_path("--project-dir", &due)
            .list_path("--output-format", format!("yaml={result}"))
            .arg(Arg::LaterList {
                file: delta.clone(),
                pointer: format!("/groups/{index}/arguments"),
            })
            .within(timeout + 60)
            // What was applied before is applied once more, which changes nothing.
            .or_ask_again();
        let mut steps = vec![Step::new(
            &format!("result-{first}.clear"),
            "Remove the result of an earlier call",
            "kluctl writes none when it cannot load or connect, and an old one must not be read.",
            Effect::Local,
            Action::Remove { path: result.clone() },
        )];
        if let (false, Some(store)) = (self.embedded(), &self.config.closure_store) {
            steps.extend(closures::copy(
                &self.project(),
                phases,
                first,
                store,
                &self.access.work(),
            ));
        }
        steps.extend([
            Step::new(
                &format!("phase-{first}.narrow"),
                format!("Copy what differs in {names}"),
                "kluctl applies all that it is given, one object after the other.",
                Effect::Local,
                Action::task(PartialProject {
                    project: self.project(),
                    delta: delta.clone(),
                    phases: phases.clone(),
                    to: due,
                }),
            ),
            Step::new(
                &format!("phase-{first}.deploy"),
                format!("Deploy {names}"),
                "Only what differs; kluctl keeps the order and waits for workloads and CRDs.",
                Effect::Remote,
                Action::Run(deploy),
            ),
            Step::new(
                &format!("phase-{first}.judge"),
                format!("Read what became of {names}"),
                "kluctl exits with code 0 with lost fields and skipped objects.",
                Effect::Read,
                Action::task(KluctlResult {
                    result,
                    warnings: self.mode.warnings,
                }),
            ),
        ]);
        apply.push(
            Section::new(
                first,
                format!("Deploy {names}"),
                "Only what differs; kluctl keeps the order and waits for workloads and CRDs.",
            )
            .with_all(steps)
            .unless(fresh),
        );
        let own: Vec<Gate> = gates
            .iter()
            .filter(|gate| phases.contains(&gate.phase))
            .cloned()
            .collect();
        // After the last group `stage.hold` comes next, and looks at every gate.
        let behind: Vec<Probe> = (index + 1..groups.len()).map(is_fresh).collect();
        if !own.is_empty() && !behind.is_empty() {
            let deadline = longest(&own);
            apply.push(
                Step::new(
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
                )
                // An earlier run may have deployed this and missed the gate: only when nothing behind it differs is
                // there nobody to hold back.
                .unless(Probe::All(behind)),
            );
        }
    }

    fn history_section(&self) -> Section {
        let current = self.work("history-current.json");
        let next = self.work("history.json");
        let steps = [
            Step::new(
                "history.read",
                "Read the deployment history",
                "It keeps the last deployments of each stage.",
                Effect::Read,
                Action::Run(super::guard::history_get(self.access).to_file(&current)),
            ),
            Step::new(
                "history.add",
                "Add this deployment",
                "Who, when, from what, with how many changes.",
                Effect::Local,
                Action::task(RecordDeployment {
                    current,
                    project: self.source.folder(),
                    delta: self.work("delta.json"),
                    revision: self.work("revision.txt"),
                    review: self.work("review.json"),
                    entry: HistoryContent {
                        cluster: self.access.cluster.clone(),
                        stage: self.stage.name().to_owned(),
                        run: self.nonce.to_owned(),
                        source: self.source.name().to_owned(),
                        only: self.mode.only.as_ref().map(|only| only.name().to_owned()),
                        reason: self.mode.reason.clone(),
                        then: self.mode.then.clone(),
                    },
                    to: next.clone(),
                }),
            ),
            Step::new(
                "history.write",
                "Write the deployment history",
                "History, rollback and drift read it.",
                Effect::Remote,
                Action::Run(
                    self.access
                        .kubectl()
                        // The server validates it; kubectl would fetch its whole OpenAPI to learn that.
                        .args(["apply", "--server-side", "--force-conflicts", "--validate=false"])
                        // A manager a stage: one apply must not take away what another stage wrote.
                        .arg(format!("--field-manager=xtask-{}", self.stage))
                        .list_path("--filename", next)
                        .within(30)
                        .or_ask_again(),
                ),
            ),
            Step::new(
                "project.keep",
                "Keep the project for a rollback",
                "A rollback must not need Nix or a network.",
                Effect::Local,
                Action::task(ArchiveProject {
                    project: self.source.folder(),
                    to: kept(self.access, self.stage),
                }),
            ),
        ];
        Section::new(
            "record",
            "Record the deployment",
            "History, rollback and drift read it.",
        )
        .with_all(steps)
    }
}

/// How the folders in the work folder begin that a call of kluctl gets: what differs, and is applied now.
pub const DUE: &str = "due-";

/// Where the deployed projects of a stage are kept.
pub fn kept(access: &Access, stage: Stage) -> Utf8PathBuf {
    access.folder.join("kept").join(stage.name())
}

fn longest(gates: &[Gate]) -> u64 {
    gates.iter().map(|gate| gate.timeout_seconds).max().unwrap_or(READINESS)
}

//! The Secret and stage capi on the bootstrap cluster, and the guard that refuses them once they have moved away.
//! It waits for no machine.

use camino::Utf8Path;
use serde_json::json;

use super::{Bootstrap, Controllers, Token, pivot};
use crate::cluster::access::Access;
use crate::cluster::capi::{self, InMemoryProject, StageAllowed};
use crate::command::Stdin;
use crate::live::lease;
use crate::plan::{Action, Effect, Probe, Section, Step};
use crate::recipe::{Parts, Source};

impl Bootstrap<'_> {
    /// The Secret and stage capi, guarded.
    pub(super) fn apply(&self, goal: &str) -> Parts {
        let access = &self.source.access;
        let mut section = Section::new(
            "capi",
            format!("Apply the description of `{}` to `{}`", self.name, access.cluster),
            "Its controllers make the machines of what stage capi describes.",
        )
        .with(guard_moved(
            access,
            self.name,
            &self.workload,
            &self.work("guard"),
            self.nonce,
        ));
        if let Some(secret) = &self.secret {
            section.push(self.secret_section(secret));
        }
        let mut staged = self.capi.clone();
        if self.controllers == Controllers::Processes {
            let project = self.work("project");
            section.push(Step::new(
                "project.imitate",
                "Copy stage capi with machines in memory",
                "Cluster, control plane and workers are those of the stage; only the provider is another.",
                Effect::Local,
                Action::task(InMemoryProject {
                    from: self.capi.source.folder(),
                    control_planes: 1,
                    workers: self.workers.clone(),
                    to: project.clone(),
                }),
            ));
            staged.source = Source::Folder(project);
            staged.description.gates.clear();
        }
        let deploy = self.deploy(&self.source, &staged, goal).parts();
        Parts {
            section: section.with(deploy.section),
            finally: deploy.finally.named("source-lease"),
        }
    }

    fn secret_section(&self, token: &Token<'_>) -> Section {
        let (secret, variable) = (token.name, token.variable);
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
            .args(["create", "secret", "generic", secret])
            .arg(format!("--from-file={}=/dev/stdin", token.key))
            .arg(namespace.as_str());
        // A rehearsal calls no provider, and asks nobody for a token that could.
        let (from, why) = match self.controllers {
            Controllers::Pods => (
                format!("`{variable}`"),
                "The provider's token, from the environment or the checkout's secrets; it is written nowhere else.",
            ),
            Controllers::Processes => (
                "a word".to_owned(),
                "It has to go along like the provider's token, which machines in memory do not need.",
            ),
        };
        create.stdin = match self.controllers {
            Controllers::Pods => Stdin::Secret(variable.to_owned()),
            Controllers::Processes => Stdin::Text("rehearsed".to_owned()),
        };
        let there = Probe::Prints {
            command: get("secret").arg(secret).arg(namespace.as_str()),
            pointer: "/metadata/name".to_owned(),
            value: json!(secret),
        };
        let steps = [
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
                format!("Create Secret `{secret}` from {from}"),
                why,
                Effect::Remote,
                Action::Run(create),
            )
            .unless(there),
            Step::new(
                "secret.label",
                format!("Label Secret `{secret}` so that it goes along"),
                "A move leaves behind what has no owner, and the target would have no token.",
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
        ];
        Section::new(
            "token",
            "Create the Secret with the provider's token",
            "The machines' controller signs in with it, here and where it goes.",
        )
        .with_all(steps)
    }
}

/// The steps that refuse stage capi on a cluster whose objects have moved away, or have not moved to it yet.
pub fn guard_moved(access: &Access, describes: &str, workload: &Access, work: &Utf8Path, run: &str) -> Section {
    let record = work.join("record.json");
    let clusters = work.join("clusters.json");
    let steps = [
        Step::new(
            "pivot.read",
            "Read whether a pivot is recorded",
            "Its deployment history says where the objects are.",
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
            "workload.forget",
            "Remove an earlier answer",
            "What a cluster said once it may not say now.",
            Effect::Local,
            Action::Remove { path: clusters.clone() },
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
            format!("Check that `{}` is where `{describes}` has its objects", access.cluster),
            "Deployed where they are not, they would be built a second time.",
            Effect::Read,
            Action::task(StageAllowed {
                cluster: access.cluster.clone(),
                describes: describes.to_owned(),
                record,
                here: pivot(workload),
                elsewhere: clusters,
                run: run.to_owned(),
            }),
        ),
    ];
    Section::new(
        "pivot",
        format!("Check that the objects of `{describes}` have not moved"),
        "Deployed where they are not, they would be built a second time.",
    )
    .with_all(steps.map(Step::guarding))
}

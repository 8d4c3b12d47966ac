//! Every object of a golden or rendering put before a real API server, strictly and without keeping it, and before kubeconform.

use crate::cluster::access::Access;
use crate::command::{Command, Tool};
use crate::golden::openapi::{self, ServerSchemas};
use crate::golden::validity::{ValidityDefinitions, ValidityObjects};
use crate::plan::{Action, Effect, Plan, Section, Step, Target};
use crate::platform::Cluster;
use camino::Utf8PathBuf;

use super::embedded;

/// What is validated, and where.
pub struct Validate<'a> {
    /// The ephemeral cluster.
    pub access: &'a Access,
    /// Platform config of the cluster whose golden it is: its version and its service addresses matter.
    pub config: &'a Cluster,
    /// The golden or rendering, relative to the root.
    pub project: Utf8PathBuf,
    /// Manifests of further definitions.
    pub definitions: &'a [Utf8PathBuf],
    /// What the run is for.
    pub goal: &'a str,
}

/// Brings an ephemeral control plane up, asks it about every object, tears it down.
pub fn plan(validate: &Validate<'_>) -> Plan {
    let access = validate.access;
    let work = access.work();
    let mut plan = Plan::new(validate.goal);
    plan.choices = vec![format!(
        "project `{}`, on an ephemeral embedded cluster",
        validate.project
    )];
    plan.target = Some(Target {
        cluster: access.cluster.clone(),
        production: false,
    });
    plan.sections.push(embedded::up(access, validate.config));
    let mut definitions = Section::new(
        "definitions",
        "Apply the definitions of the project",
        "Custom resources can be tried only where their kinds are served.",
    );
    if !validate.definitions.is_empty() {
        let apply = validate
            .definitions
            .iter()
            .fold(strictly(access).arg("--recursive").within(300), |command, path| {
                command.list_path("--filename", path)
            });
        definitions.push(Step::new(
            "definition.bring",
            "Apply definitions that no stage brings",
            "Without them resources of their kinds could not be tried.",
            Effect::Local,
            Action::Run(apply),
        ));
    }
    let objects = work.join("objects");
    let schemas = work.join("schemas");
    definitions.extend([
        Step::new(
            "definition.pick",
            "Pick the definitions and namespaces of the project",
            "Custom resources can be tried only where their kinds are served.",
            Effect::Local,
            Action::task(ValidityDefinitions {
                project: validate.project.clone(),
                to: work.join("definitions.json"),
            }),
        ),
        Step::new(
            "definition.apply",
            "Apply them",
            "The cluster lives only as long as this run.",
            Effect::Local,
            Action::Run(
                strictly(access)
                    .list_path("--filename", work.join("definitions.json"))
                    .within(300),
            ),
        ),
        Step::new(
            "definition.await",
            "Wait until the definitions are served",
            "A definition is served a moment after it was applied.",
            Effect::Read,
            Action::Run(
                access
                    .kubectl()
                    .args(["wait", "--for=condition=Established", "--all", "--timeout=60s"])
                    .arg("customresourcedefinitions.apiextensions.k8s.io")
                    .within(90)
                    // A project may have no definition at all; then there is nothing to wait for.
                    .or_look_next(),
            ),
        ),
    ]);
    plan.sections.push(definitions);
    plan.sections.push(
        Section::new(
            "objects",
            "Validate every object",
            "An unknown field, a wrong type or a broken rule is an error.",
        )
        .with_all([
            Step::new(
                "api.list",
                "Ask what the API server serves",
                "Objects of unknown kinds are named, not guessed at.",
                Effect::Read,
                Action::Run(
                    access
                        .kubectl()
                        .args(["api-resources", "--no-headers", "--output=wide", "--cached=false"])
                        .to_file(work.join("served.txt")),
                ),
            ),
            Step::new(
                "object.pick",
                "Pick the objects that the server knows",
                "Kinds whose definitions another stage brings cannot be tried here.",
                Effect::Local,
                Action::task(ValidityObjects {
                    project: validate.project.clone(),
                    served: work.join("served.txt"),
                    to: objects.clone(),
                }),
            ),
            Step::new(
                "object.try",
                "Have the server judge every object, strictly and without keeping it",
                "An unknown field, a wrong type or a broken rule is an error.",
                Effect::Local,
                Action::Run(
                    strictly(access)
                        .args(["--dry-run=server", "--output=name"])
                        .list_path("--filename", &objects)
                        // What went well goes elsewhere: the log is left to what did not.
                        .to_file(work.join("tried.txt"))
                        .within(600),
                ),
            ),
            Step::new(
                "schema.get",
                "Get the server's own description of its types",
                "Schemas of another version would judge by other rules.",
                Effect::Read,
                Action::Run(
                    access
                        .kubectl()
                        .args(["get", "--raw=/openapi/v2"])
                        .to_file(work.join("openapi.json")),
                ),
            ),
            Step::new(
                "schema.write",
                "Turn it into schemas for kubeconform",
                "A second judge, which knows nothing of the server's code.",
                Effect::Local,
                Action::task(ServerSchemas {
                    openapi: work.join("openapi.json"),
                    to: schemas.clone(),
                }),
            ),
            Step::new(
                "object.conform",
                "Have kubeconform judge every object",
                "What both let pass is valid; what one refuses is looked at.",
                Effect::Local,
                Action::Run(
                    Command::new(Tool::Kubeconform)
                        .args(["-strict", "-summary", "-output=text"])
                        .flag_path("-schema-location", schemas.join(openapi::TEMPLATE))
                        .arg(objects)
                        .within(300),
                ),
            ),
        ]),
    );
    plan.finally.push(embedded::down(access));
    plan
}

fn strictly(access: &Access) -> Command {
    access
        .kubectl()
        .args(["apply", "--server-side", "--force-conflicts", "--validate=strict"])
        .arg("--field-manager=xtask-validate")
}

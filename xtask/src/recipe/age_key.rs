//! The steps that put the operator's identity into a cluster before the operator comes, and make a running operator
//! take a new one up. The private key is in none of them.

use serde_json::json;

use crate::cluster::access::Access;
use crate::command::Command;
use crate::plan::{Action, Effect, Probe, Section, Step};
use crate::platform::{Backend, Platform};
use crate::secrets::operator_key::{FindOperatorKey, IdentityChoice, OperatorKey, PutOperatorKey};
use crate::secrets::{OPERATOR, PENDING, SECRET};

use super::resync::AWAITED;

/// The resource that the operator turns into Secrets.
const SOPS_SECRETS: &str = "sopssecrets.isindir.github.com";

/// Seconds that the operator may take to come back.
const RESTART: u64 = 120;

/// The identity of a cluster's operator; none where no operator decrypts or the platform config names nobody.
pub fn of(platform: &Platform, cluster: &str, backend: Backend) -> Option<OperatorKey> {
    let config = platform.clusters.get(cluster)?;
    config.components.iter().find(|component| *component == OPERATOR)?;
    let name = platform.secrets.operator_identities.get(cluster)?;
    Some(OperatorKey {
        name: name.clone(),
        recipient: platform.secrets.recipients.get(name)?.clone(),
        // No operator runs on the embedded backend that could decrypt.
        choice: match backend {
            Backend::Embedded => IdentityChoice::ThrowAway,
            Backend::Colima | Backend::Lima | Backend::Remote => IdentityChoice::Named,
        },
    })
}

/// The section; nothing in it is done on a cluster that has the right identity already.
pub fn section(access: &Access, key: &OperatorKey, nonce: &str) -> Section {
    let get = |what: &str| access.kubectl().arg("get").arg(what).within(30);
    let in_namespace = |command: Command| command.arg(format!("--namespace={OPERATOR}"));
    let found = access.work().join("operator-key.json");
    let identity = match key.choice {
        IdentityChoice::Named => format!("the identity `{}` ({})", key.name, key.recipient),
        IdentityChoice::ThrowAway => "a throw-away identity".to_owned(),
    };
    let says = |pointer: &str| Probe::Says {
        file: found.clone(),
        pointer: pointer.to_owned(),
        value: json!(true),
    };
    let settled = Probe::Not(Box::new(says("/pending")));
    let lacks = |command: Command| Probe::Not(Box::new(Probe::Succeeds(command)));
    let workload = format!("deployment/{OPERATOR}");
    let no_operator = Probe::Any(vec![
        settled.clone(),
        lacks(in_namespace(get("deployment").arg(OPERATOR))),
    ]);
    let no_secrets = Probe::Any(vec![
        settled.clone(),
        lacks(get("customresourcedefinition").arg(SOPS_SECRETS)),
    ]);
    let statuses = access.work().join("sopssecrets.json");
    let none_listed = Probe::Says {
        file: statuses.clone(),
        pointer: "/items".to_owned(),
        value: json!([]),
    };
    let steps = [
        Step::new(
            "age-key.look",
            format!("Look whether the operator has {identity}"),
            "One that is there stays; a run that was cut off may have exchanged it.",
            Effect::Read,
            // What is found is written down, and never the key.
            Action::task(FindOperatorKey {
                key: key.clone(),
                read: read(access),
                to: found.clone(),
            }),
        ),
        Step::new(
            "age-key.namespace",
            format!("Create namespace `{OPERATOR}`"),
            "The operator's identity has to be there before the operator.",
            Effect::Remote,
            Action::Run(access.kubectl().args(["create", "namespace", OPERATOR]).within(30)),
        )
        .unless(Probe::Any(vec![
            says("/right"),
            Probe::Succeeds(get("namespace").arg(OPERATOR)),
        ])),
        Step::new(
            "age-key.put",
            format!("Put {identity} into Secret `{SECRET}`"),
            match key.choice {
                IdentityChoice::Named => {
                    "One identity and no other of this host's; from `SOPS_AGE_KEY`, else `SOPS_AGE_KEY_FILE`, else sops' own file."
                }
                IdentityChoice::ThrowAway => {
                    "Nothing is decrypted on the embedded backend, so no identity of a person lies in its store."
                }
            },
            Effect::Remote,
            Action::task(PutOperatorKey {
                key: key.clone(),
                read: read(access),
                put: access
                    .kubectl()
                    .args(["apply", "--server-side", "--force-conflicts", "--field-manager=xtask", "--filename=-"])
                    .within(30),
                replace: access
                    .kubectl()
                    .args(["replace", "--field-manager=xtask", "--filename=-"])
                    .within(30),
                to: found.clone(),
            }),
        )
        .unless(says("/right")),
        Step::new(
            "operator.restart",
            "Restart the operator with its new identity",
            "It reads its key when it starts.",
            Effect::Remote,
            Action::Run(in_namespace(access.kubectl().args(["rollout", "restart"]).arg(workload.as_str())).within(30)),
        )
        .unless(no_operator.clone()),
        Step::new(
            "operator.wait",
            "Wait until no operator with the old identity is left",
            "What it says of a secret counts for nothing. One that does not come back is the stage's to mend.",
            Effect::Read,
            Action::Run(
                in_namespace(access.kubectl().args(["rollout", "status"]).arg(workload.as_str()))
                    .arg(format!("--timeout={RESTART}s"))
                    .within(RESTART + 30)
                    .or_look_next(),
            ),
        )
        .unless(no_operator),
        Step::new(
            "sopssecrets.list",
            "List every SopsSecret with nothing said of it",
            "The operator overwrites what it said before, and says nothing when it begins anew.",
            Effect::Read,
            Action::Run(
                access
                    .kubectl()
                    .args(["get", SOPS_SECRETS, "--all-namespaces"])
                    .arg(format!("--output=go-template={}", without_status()))
                    .within(60)
                    .to_file(&statuses),
            ),
        )
        .unless(no_secrets.clone()),
        Step::new(
            "sopssecrets.forget",
            "Take back what was said of every SopsSecret",
            "A Healthy of the time before the exchange would pass for one of today.",
            Effect::Remote,
            Action::Run(
                access
                    .kubectl()
                    .args(["replace", "--subresource=status"])
                    .list_path("--filename", &statuses)
                    .within(60),
            ),
        )
        .unless(Probe::Any(vec![no_secrets.clone(), none_listed.clone()])),
        Step::new(
            "operator.resync",
            "Make the operator look at every SopsSecret again",
            "What it could not decrypt before, it only tries again when something changes.",
            Effect::Remote,
            Action::Run(
                access
                    .kubectl()
                    .args(["annotate", SOPS_SECRETS, "--all", "--all-namespaces", "--overwrite"])
                    .arg(format!("vanixiets.dev/resync={nonce}"))
                    .within(60),
            ),
        )
        .unless(Probe::Any(vec![no_secrets, none_listed])),
        Step::new(
            "operator.settle",
            "Record that the operator has its new identity",
            "A run that is cut off before this restarts it once more.",
            Effect::Remote,
            Action::Run(in_namespace(access.kubectl().args(["annotate", "secret", SECRET]).arg(format!("{PENDING}-"))).within(30)),
        )
        .unless(settled),
    ];
    Section::new(
        "operator",
        "Give the operator its identity",
        "It has to be there before the operator, which decrypts with it.",
    )
    .with_all(steps)
}

/// A template for kubectl that prints every SopsSecret of a list, each with a status that no step has written yet.
fn without_status() -> String {
    let head = r#"{"apiVersion":"v1","kind":"List","items":[{{range $index, $one := .items}}{{if $index}},{{end}}"#;
    let one = r#"{"apiVersion":"{{$one.apiVersion}}","kind":"{{$one.kind}}","metadata":{"name":"{{$one.metadata.name}}","namespace":"{{$one.metadata.namespace}}"},"#;
    format!("{head}{one}\"status\":{}}}{{{{end}}}}]}}", json!({"message": AWAITED}))
}

/// Reads the Secret; what it prints stays in memory.
fn read(access: &Access) -> Command {
    access
        .kubectl()
        .args(["get", "secret", SECRET, "--ignore-not-found", "--output=json"])
        .arg(format!("--namespace={OPERATOR}"))
        .within(30)
        .or_ask_again()
}

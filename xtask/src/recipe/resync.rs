//! A changed secret taken up: the operator looks again, and who reads the value is restarted.

use serde_json::json;

use crate::cluster::access::Access;
use crate::plan::{Action, Effect, Plan, Probe, Section, Step, Target};
use crate::platform::{Cluster, Environment, RequiredSecret};

/// What the status says until the operator has looked again.
pub(super) const AWAITED: &str = "not looked at since the change";

/// Seconds that a SopsSecret may take to become Healthy, and a workload to come back.
const DEADLINE: u64 = 300;

/// The plan for one secret on one cluster.
pub fn plan(access: &Access, config: &Cluster, secret: &RequiredSecret, nonce: &str) -> Plan {
    let mut plan = Plan::new(format!("secrets resync {} on {}", secret.id, access.cluster));
    plan.target = Some(Target {
        cluster: access.cluster.clone(),
        production: config.environment == Environment::Production,
    });
    plan.sections.push(super::guard::section(access, config));
    let mut resync = Section::new(
        "secret",
        format!("Make the operator read SopsSecret `{}` again", secret.id),
        "What it could not decrypt before, it only tries again when something changes.",
    );
    let mut restart = Section::new(
        "consumers",
        "Restart who reads the value",
        "They read the old value when they started.",
    );
    let own = secret
        .file
        .file_name()
        .unwrap_or_default()
        .trim_end_matches(".enc.yaml");
    let namespace = format!("--namespace={}", secret.namespace);
    let get = |namespace: &str, what: &str| {
        access
            .kubectl()
            .args(["get", "--ignore-not-found", "--output=json", namespace, what])
            .within(30)
    };
    let sops_secret = format!("sopssecrets.isindir.github.com/{own}");
    let asked = Probe::Prints {
        command: get(&namespace, &sops_secret),
        pointer: "/metadata/annotations/vanixiets.dev~1resync".to_owned(),
        value: json!(nonce),
    };
    resync.push(
        Step::new(
            "secret.forget",
            format!("Take back what was said of SopsSecret `{}/{own}`", secret.namespace),
            "Its Healthy is of the value before: the operator says nothing when it begins anew.",
            Effect::Remote,
            Action::Run(
                access
                    .kubectl()
                    .args([
                        "patch",
                        &namespace,
                        &sops_secret,
                        "--subresource=status",
                        "--type=merge",
                    ])
                    .arg(format!("--patch={}", json!({"status": {"message": AWAITED}}))),
            ),
        )
        .unless(asked.clone()),
    );
    resync.push(
        Step::new(
            "secret.resync",
            format!(
                "Make the operator look at SopsSecret `{}/{own}` again",
                secret.namespace
            ),
            "What it could not decrypt before, it only tries again when something changes.",
            Effect::Remote,
            Action::Run(
                access
                    .kubectl()
                    .args(["annotate", "--overwrite", &namespace, &sops_secret])
                    .arg(format!("vanixiets.dev/resync={nonce}")),
            ),
        )
        .unless(asked),
    );
    resync.push(Step::new(
        "secret.hold",
        "Wait until it is Healthy",
        "Before that the Secret may hold the old value.",
        Effect::Read,
        Action::Run(
            access
                .kubectl()
                .args(["wait", "--for=jsonpath={.status.message}=Healthy", &namespace])
                .arg(format!("--timeout={DEADLINE}s"))
                .arg(sops_secret.as_str())
                .within(DEADLINE + 30),
        ),
    ));
    for (index, consumer) in secret.consumers.iter().enumerate() {
        let mut parts = consumer.splitn(3, '/');
        let (Some(kind), Some(namespace), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let workload = format!("{}/{name}", kind.to_lowercase());
        let namespace = format!("--namespace={namespace}");
        // As `rollout restart` does it, but with a mark that tells whether it was done.
        let mark = json!({"spec": {"template": {"metadata": {"annotations": {"vanixiets.dev/restart": nonce}}}}});
        restart.push(
            Step::new(
                &format!("consumer-{index}.restart"),
                format!("Restart `{consumer}`"),
                "It read the old value when it started.",
                Effect::Remote,
                Action::Run(
                    access
                        .kubectl()
                        .args(["patch", &namespace, &workload, "--type=merge"])
                        .arg(format!("--patch={mark}")),
                ),
            )
            .unless(Probe::Prints {
                command: get(&namespace, &workload),
                pointer: "/spec/template/metadata/annotations/vanixiets.dev~1restart".to_owned(),
                value: json!(nonce),
            }),
        );
        restart.push(Step::new(
            &format!("consumer-{index}.wait"),
            format!("Wait until `{consumer}` is back"),
            "The next one may need it.",
            Effect::Read,
            Action::Run(
                access
                    .kubectl()
                    .args(["rollout", "status", &namespace, &workload])
                    .arg(format!("--timeout={DEADLINE}s"))
                    .within(DEADLINE + 30),
            ),
        ));
    }
    plan.sections.push(resync);
    if !restart.items.is_empty() {
        plan.sections.push(restart);
    }
    plan
}

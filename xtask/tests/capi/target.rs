//! What the target of a pivot is like afterwards, asked with the real kubectl and with our own verbs.

use camino::Utf8PathBuf;
use serde_json::{Value, json};

use crate::support::{Checkout, finish, program};

/// The folder of one side of the rehearsal that was kept.
pub(crate) fn side(checkout: &Checkout, name: &str) -> Utf8PathBuf {
    let folder = checkout.root.join(".xtask/rehearsals");
    folder
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap().into_path())
        .find(|path| path.as_str().ends_with(&format!("-{name}")))
        .expect("the side is there")
}

fn kubectl(checkout: &Checkout, arguments: &[&str]) -> String {
    let kubectl = checkout.ok(&["tools", "path", "kubectl"]).stdout.trim().to_owned();
    let answer = program(kubectl)
        .arg(format!("--kubeconfig={}/kubeconfig", side(checkout, "target")))
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        answer.status.success(),
        "kubectl {arguments:?}: {}",
        String::from_utf8_lossy(&answer.stderr)
    );
    String::from_utf8(answer.stdout).unwrap()
}

fn get(checkout: &Checkout, arguments: &[&str]) -> Value {
    let mut all = vec!["get", "--output=json"];
    all.extend(arguments);
    serde_json::from_str(&kubectl(checkout, &all)).unwrap()
}

/// One control plane, two workers and the one that was made there: all Running, nothing twice, nothing paused, the
/// token gone along, the pivot in the deployment history with every identity.
pub(crate) fn is_whole(checkout: &Checkout) {
    let machines = get(checkout, &["machines.cluster.x-k8s.io", "-n", "vanixiets"]);
    let machines = machines["items"].as_array().unwrap();
    assert_eq!(
        machines.len(),
        4,
        "one control plane, two workers, one more: {machines:#?}"
    );
    assert!(machines.iter().all(|machine| machine["status"]["phase"] == "Running"));
    let cluster = get(checkout, &["clusters.cluster.x-k8s.io", "vanixiets", "-n", "vanixiets"]);
    assert_eq!(cluster["spec"]["paused"], Value::Null, "nothing stays paused");
    let secret = get(checkout, &["secret", "hetzner", "-n", "vanixiets"]);
    assert_eq!(secret["data"]["hcloud"], "cmVoZWFyc2Vk", "the Secret went along");

    let history = get(checkout, &["configmap", "xtask-vanixiets", "-n", "kube-system"]);
    assert_eq!(history["data"]["pivotState"], "done");
    let identities: Value = serde_json::from_str(history["data"]["pivotIdentities"].as_str().unwrap()).unwrap();
    assert_eq!(identities["source"], json!({}), "nothing is on the source");
    let names = |side: &str| -> Vec<String> { identities[side].as_object().unwrap().keys().cloned().collect() };
    assert_eq!(names("before"), names("target"), "what was there before is there now");
    assert!(names("target").len() > 20, "{identities}");
    // The machines are those of before: none was made anew on the way.
    let moved = names("before").into_iter().filter_map(|name| {
        let name = name.strip_prefix("Machine.cluster.x-k8s.io/vanixiets/")?;
        Some(name.to_owned())
    });
    let moved: Vec<String> = moved.collect();
    assert_eq!(moved.len(), 3, "{moved:?}");
    for name in moved {
        assert!(
            machines.iter().any(|machine| machine["metadata"]["name"] == name),
            "{name}"
        );
    }
}

/// `capi status` of the cluster that the target now is, as if it were that of the platform config.
pub(crate) fn has_a_status(checkout: &Checkout) {
    let config: Value =
        serde_json::from_str(&fs_err::read_to_string(checkout.root.join("platform.json")).unwrap()).unwrap();
    let config = &config["clusters"]["vanixiets"];
    let target = side(checkout, "target");
    let kubeconfig = checkout.root.join(config["kubeconfig"].as_str().unwrap());
    fs_err::create_dir_all(kubeconfig.parent().unwrap()).unwrap();
    fs_err::copy(target.join("kubeconfig"), &kubeconfig).unwrap();
    let path = checkout.ok(&["tools", "path", "kubectl"]).stdout.trim().to_owned();
    let rename = |arguments: &[&str]| {
        let ran = program(&path)
            .arg(format!("--kubeconfig={kubeconfig}"))
            .arg("config")
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    };
    let context = rename(&["current-context"]);
    rename(&["rename-context", &context, config["context"].as_str().unwrap()]);

    let unrecorded = checkout.run(&["capi", "status"]);
    assert_eq!(unrecorded.code, Some(10), "{unrecorded}");
    assert!(unrecorded.stdout.contains("pivot is not recorded"), "{unrecorded}");

    let record = checkout.root.join(".xtask/clusters/vanixiets/capi/pivot.json");
    fs_err::create_dir_all(record.parent().unwrap()).unwrap();
    fs_err::copy(target.join("capi/pivot.json"), record).unwrap();
    let healthy = checkout.ok(&["capi", "status", "--json"]);
    let status: Value = serde_json::from_str(&healthy.stdout).unwrap();
    assert_eq!(status["lives"], "target", "{healthy}");
    assert_eq!(status["bootstrapMayGo"], true, "{healthy}");
    assert_eq!(status["waiting"], json!([]), "{healthy}");
    let tree = &status["target"]["tree"][0];
    assert_eq!((&tree["kind"], &tree["name"]), (&json!("Cluster"), &json!("vanixiets")));
    assert!(!tree["children"].as_array().unwrap().is_empty(), "{healthy}");

    kubectl(
        checkout,
        &[
            "patch",
            "clusters.cluster.x-k8s.io",
            "vanixiets",
            "-n",
            "vanixiets",
            "--type=merge",
            "--patch={\"spec\":{\"paused\":true}}",
        ],
    );
    let paused = checkout.run(&["capi", "status"]);
    assert_eq!(paused.code, Some(10), "{paused}");
    assert!(paused.stdout.contains("is paused"), "{paused}");
    assert!(
        paused.stdout.contains("the bootstrap cluster may not be deleted"),
        "{paused}"
    );
}

/// A second bootstrap of the cluster is refused, for its move is recorded.
pub(crate) fn is_not_bootstrapped_again(checkout: &Checkout) {
    let again = finish(checkout.command(&["capi", "bootstrap", "--yes"]).spawn().unwrap());
    assert_eq!(again.code, Some(8), "{again}");
    assert!(again.stderr.contains("would build a second cluster"), "{again}");
}

//! Secrets on a real API server: the round trip, the trap, and the search for what leaks.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::*;
use support::{program, tiny_objects};

/// Values that must be found nowhere: each in every form that something could give it.
pub(crate) fn forms(value: &str) -> Vec<String> {
    let base64 = |bytes: &[u8]| {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks_exact(3) {
            let bits = u32::from(chunk[0]) << 16 | u32::from(chunk[1]) << 8 | u32::from(chunk[2]);
            for shift in [18, 12, 6, 0] {
                text.push(char::from(LETTERS[(bits >> shift & 63) as usize]));
            }
        }
        text
    };
    let url: String = value
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    let json = serde_json::to_string(value).unwrap();
    let json = json[1..json.len() - 1].to_owned();
    // Go writes `&`, `<` and `>` of JSON so; some write the hexadecimal digits of URLs in lower case.
    let go = json
        .replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e");
    let lower = url
        .split('%')
        .enumerate()
        .map(|(index, part)| match (index, part.get(..2)) {
            (1.., Some(digits)) => format!("%{}{}", digits.to_lowercase(), &part[2..]),
            _ => part.to_owned(),
        })
        .collect();
    let mut all = vec![value.to_owned(), url, lower, json, go];
    // Wherever it begins inside a group of three, in both alphabets.
    for skip in 0..3 {
        let text = base64(&value.as_bytes()[skip..]);
        all.push(text.replace('+', "-").replace('/', "_"));
        all.push(text);
    }
    all.sort();
    all.dedup();
    all
}

/// The local secret that the tests deploy.
pub(crate) const REDIS: &str = "k8s/secrets/local/argocd-redis.enc.yaml";

/// What a file of a checkout says, encrypted as it is.
fn document(checkout: &Checkout, file: &str) -> Value {
    let text = fs_err::read_to_string(checkout.root.join(file)).unwrap();
    xtask::base::formats::yaml::read_one(&text).unwrap()
}

/// The golden of k3s-dev with a secret in a list, as the renderer writes it, and the operator that would decrypt it.
pub(crate) fn stage_with_secret(checkout: &Checkout) {
    let mut objects = tiny_objects();
    objects.push((
        "01-base",
        "base",
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}}),
    ));
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "sopssecrets.isindir.github.com"},
        "spec": {
            "group": "isindir.github.com", "scope": "Namespaced",
            "names": {"kind": "SopsSecret", "plural": "sopssecrets"},
            "versions": [{"name": "v1alpha3", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    let operator = "sops-secrets-operator";
    let labels = json!({"app": operator});
    objects.push((
        "01-base",
        "base",
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": operator}}),
    ));
    objects.push((
        "01-operator",
        "base",
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": operator, "namespace": operator},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
                "spec": {"containers": [{"name": "operator", "image": "registry.example/operator:1.0.0"}]}}}}),
    ));
    objects.sort_by_key(|(item, _, _)| *item);
    objects.push(("08-crds", "secrets", crd));
    objects.push(("09-secrets", "secrets", document(checkout, REDIS)));
    checkout.stage("k3s-dev", &objects);
    // As the renderer does: inside a list.
    let folder = checkout.golden("k3s-dev").join("09-secrets");
    for file in folder.read_dir_utf8().unwrap() {
        let path = file.unwrap().into_path();
        let text = fs_err::read_to_string(&path).unwrap();
        let object: Value = xtask::base::formats::yaml::read_one(&text).unwrap();
        if object["kind"] == "SopsSecret" {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": [object]});
            fs_err::write(&path, list.to_string()).unwrap();
        }
    }
}

#[test]
fn a_secret_reaches_the_cluster_encrypted_and_leaves_no_trace_anywhere_else() {
    let mut checkout = taken_over();
    let canary = "canary/\"of+the&test=1234567890";
    let ran = fed(&checkout, &["secrets", "set", "argocd-redis-local", "--stdin"], canary);
    assert_eq!(ran.code, Some(0), "{ran}");
    checkout
        .variables
        .insert("HCLOUD_TOKEN".into(), "hcloud-canary/0987654321+x".into());
    checkout.ok(&["secrets", "set", "hetzner"]);
    let dev = identity(&checkout, None);
    let document = document(&checkout, REDIS);
    stage_with_secret(&checkout);

    // Arguments of every process are looked at as long as the run goes on.
    let done = AtomicBool::new(false);
    let (ran, arguments) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::SeqCst) {
                for entry in fs_err::read_dir("/proc").unwrap().flatten() {
                    if let Ok(line) = fs_err::read(entry.path().join("cmdline")) {
                        seen.insert(String::from_utf8_lossy(&line).into_owned());
                    }
                }
                // The shortest child lives longer; without a rest the watch would take a whole core.
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            seen
        });
        let ran = checkout.run(&["local-up"]);
        done.store(true, Ordering::SeqCst);
        (ran, watch.join().unwrap())
    });
    assert_eq!(ran.code, Some(0), "{ran}");
    let plan = checkout.ok(&["local-up", "--dry-run=json"]);

    // Still encrypted, byte for byte; and with the identity that the config names it is what was given.
    let live = checkout.get("k3s-dev", &["sopssecret", "argocd-redis", "--namespace=argocd"]);
    assert_eq!(live["spec"], document["spec"]);
    assert_eq!(live["sops"], document["sops"]);
    let secret = checkout.get(
        "k3s-dev",
        &["secret", "sops-age-key-file", "--namespace=sops-secrets-operator"],
    );
    let held = held(&checkout, &secret);
    assert_eq!(held.trim().lines().count(), 1, "exactly one identity");
    assert_ne!(
        held.trim(),
        dev,
        "a person's identity is in a cluster where nothing decrypts"
    );
    let again = json!({"apiVersion": live["apiVersion"], "kind": live["kind"],
        "metadata": {"name": "argocd-redis", "namespace": "argocd"}, "spec": live["spec"], "sops": live["sops"]});
    fs_err::write(checkout.root.join("live.json"), again.to_string()).unwrap();
    assert!(
        decrypted(&checkout, "live.json", &held).is_none(),
        "a throw-away one opens nothing"
    );
    let plain = decrypted(&checkout, "live.json", &dev).unwrap();
    assert_eq!(
        plain.pointer("/spec/secretTemplates/0/stringData/auth").unwrap(),
        canary
    );

    // The identity and both values, in every form, in everything that was said or written.
    let history = checkout.kubectl("k3s-dev", &["get", "configmaps,leases", "-A", "-o", "json"]);
    let said = [&ran.stdout, &ran.stderr, &plan.stdout, &plan.stderr, &history].map(|text| text.as_bytes().to_vec());
    let said = said.into_iter().chain(arguments.into_iter().map(String::into_bytes));
    let mut written = contents(&checkout.root);
    // With the cluster's own store, which holds what its Secrets hold.
    let mut folders = vec![checkout.root.join(".xtask")];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir_utf8().unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.into_path());
            } else if entry.file_type().unwrap().is_file() {
                written.insert(entry.path().to_owned(), fs_err::read(entry.path()).unwrap());
            }
        }
    }
    let all: Vec<(String, Vec<u8>)> = said
        .map(|bytes| ("what was said".to_owned(), bytes))
        .chain(written.into_iter().map(|(path, bytes)| (path.into_string(), bytes)))
        .collect();
    assert!(all.len() > 60, "only {} artefacts were looked at", all.len());
    // The search finds what is there: the cluster's own Secret holds its identity in base64, and the store holds that.
    let live_key = secret.to_string();
    assert!(forms(held.trim()).iter().any(|form| live_key.contains(form)));
    let stored = |form: &String| {
        let mut of_etcd = all.iter().filter(|(place, _)| place.contains("/etcd/"));
        of_etcd.any(|(_, bytes)| String::from_utf8_lossy(bytes).contains(form))
    };
    assert!(forms(held.trim()).iter().any(stored), "the store was not looked at");
    for value in [canary, "hcloud-canary/0987654321+x", dev.as_str()] {
        for form in forms(value) {
            for (place, bytes) in &all {
                assert!(
                    !String::from_utf8_lossy(bytes).contains(&form),
                    "{place} holds a canary"
                );
            }
        }
    }

    // Alone in a file of the golden it stops the deploy before anything is written.
    let place = checkout.golden("k3s-dev").join("01-base/80-alone.yaml");
    let text = fs_err::read_to_string(checkout.root.join(REDIS)).unwrap();
    write(&place, &text);
    let ran = checkout.run(&["local-up"]);
    assert_eq!(ran.code, Some(8), "{ran}");
    // Also where it has a name and a digest of its own.
    let own = "metadata:\n    annotations:\n        vanixiets.dev/digest: own\n    name: alone";
    let alone = text.replacen("metadata:\n    name: argocd-redis", own, 1);
    assert_ne!(alone, text);
    write(&place, &alone);
    let ran = checkout.run(&["local-up"]);
    assert_eq!(ran.code, Some(4), "{ran}");
    checkout.ok(&["local-down"]);
}

/// What the operator would read from its Secret.
fn held(checkout: &Checkout, secret: &Value) -> String {
    let path = checkout.base().join("held.b64");
    fs_err::write(&path, secret["data"]["key"].as_str().unwrap()).unwrap();
    String::from_utf8(program("base64").arg("--decode").arg(&path).output().unwrap().stdout).unwrap()
}

const OPERATOR_KEY: [&str; 3] = ["secret", "sops-age-key-file", "--namespace=sops-secrets-operator"];
const OPERATOR: [&str; 3] = [
    "deployment",
    "sops-secrets-operator",
    "--namespace=sops-secrets-operator",
];
const SOPS_SECRET: [&str; 3] = ["sopssecret", "argocd-redis", "--namespace=argocd"];

#[test]
fn an_exchanged_identity_reaches_the_operator_and_what_it_said_before_counts_no_more() {
    let checkout = taken_over();
    stage_with_secret(&checkout);
    checkout.ok(&["local-up"]);
    let old = identity(&checkout, None);
    let first = held(&checkout, &checkout.get("k3s-dev", &OPERATOR_KEY));
    assert_ne!(first.trim(), old);
    // As the operator would have left it.
    let mut healthy = vec!["patch"];
    healthy.extend(SOPS_SECRET);
    healthy.extend([
        "--subresource=status",
        "--type=merge",
        r#"--patch={"status":{"message":"Healthy"}}"#,
    ]);
    checkout.kubectl("k3s-dev", &healthy);

    // What somebody else put beside it goes along.
    let mut more = vec!["patch"];
    more.extend(OPERATOR_KEY);
    more.extend(["--type=merge", r#"--patch={"data":{"more.txt":"bW9yZQ=="}}"#]);
    checkout.kubectl("k3s-dev", &more);

    // As on a cluster whose operator decrypts, by the step that would do it there: the one that is named.
    let plan: Value = serde_json::from_str(&checkout.ok(&["local-up", "--dry-run=json"]).stdout).unwrap();
    let steps = support::steps(&plan);
    let (_, put) = steps.iter().find(|(path, _)| support::is(path, "age-key.put")).unwrap();
    let action = put["action"].to_string();
    assert!(action.contains(r#""choice":"throwAway""#), "{action}");
    let named = action.replace(r#""choice":"throwAway""#, r#""choice":"named""#);
    let ran = checkout.ok(&["probe", "action", &named]);
    assert!(
        ran.stderr.contains("`dev` (age1") && !ran.stderr.contains("AGE-SECRET"),
        "{ran}"
    );
    assert_eq!(held(&checkout, &checkout.get("k3s-dev", &OPERATOR_KEY)).trim(), old);

    // So it would be where an earlier run put it, and a person's identity does not stay there.
    let ran = checkout.ok(&["local-up"]);
    assert!(
        ran.stderr.contains("a throw-away identity (age1") && !ran.stderr.contains("AGE-SECRET"),
        "{ran}"
    );

    let secret = checkout.get("k3s-dev", &OPERATOR_KEY);
    let now = held(&checkout, &secret);
    assert!(
        now.trim() != old && now != first && now.lines().count() == 1,
        "one identity, a new one"
    );
    let names: Vec<&String> = secret["data"].as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(
        secret["metadata"]["annotations"].get("vanixiets.dev/restart-operator"),
        None
    );
    let operator = checkout.get("k3s-dev", &OPERATOR);
    let restarted = &operator["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"];
    assert!(restarted.is_string(), "{operator}");
    let live = checkout.get("k3s-dev", &SOPS_SECRET);
    assert!(
        live["metadata"]["annotations"]["vanixiets.dev/resync"].is_string(),
        "{live}"
    );
    // No operator runs here that could say it anew.
    assert_eq!(live["status"]["message"], "not looked at since the change");
    assert_eq!(live["spec"], document(&checkout, REDIS)["spec"]);

    // A third run finds all of it done.
    checkout.ok(&["local-up"]);
    assert_eq!(secret, checkout.get("k3s-dev", &OPERATOR_KEY));
    assert_eq!(
        operator["metadata"]["generation"],
        checkout.get("k3s-dev", &OPERATOR)["metadata"]["generation"]
    );
    checkout.ok(&["local-down"]);
}

/// Makes the control plane of k3s-dev the production cluster `hetzner`: its kubeconfig, and its UID in the platform config.
fn make_production(checkout: &Checkout) {
    let path = checkout.root.join("platform.json");
    let mut config: Value = serde_json::from_str(&fs_err::read_to_string(&path).unwrap()).unwrap();
    config["clusters"]["hetzner"]["uid"] =
        checkout.get("k3s-dev", &["namespace", "kube-system"])["metadata"]["uid"].clone();
    let hetzner = &config["clusters"]["hetzner"];
    let kubeconfig = checkout.root.join(hetzner["kubeconfig"].as_str().unwrap());
    let context = hetzner["context"].as_str().unwrap();
    fs_err::copy(checkout.root.join(".xtask/kubeconfigs/k3s-dev.yaml"), &kubeconfig).unwrap();
    let kubectl = checkout.ok(&["tools", "path", "kubectl"]).stdout.trim().to_owned();
    let renamed = program(kubectl)
        .arg(format!("--kubeconfig={kubeconfig}"))
        .args(["config", "rename-context", "k3s-dev", context])
        .output()
        .unwrap();
    assert!(renamed.status.success());
    fs_err::write(path, config.to_string()).unwrap();
}

#[test]
fn who_reads_a_changed_secret_is_restarted_once_the_operator_has_looked_again_and_not_before() {
    let checkout = taken_over();
    stage_with_secret(&checkout);
    checkout.ok(&["local-up"]);
    make_production(&checkout);
    let workload = |kind: &str, name: &str| {
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "argocd"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "a", "image": "registry.example/a:1.0.0"}]}}}})
    };
    let workloads = [
        ("Deployment", "argocd-redis"),
        ("Deployment", "argocd-repo-server"),
        ("Deployment", "argocd-server"),
        ("StatefulSet", "argocd-application-controller"),
    ];
    let items: Vec<Value> = workloads.iter().map(|(kind, name)| workload(kind, name)).collect();
    let list = checkout.base().join("workloads.json");
    fs_err::write(
        &list,
        json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string(),
    )
    .unwrap();
    checkout.kubectl("k3s-dev", &["apply", &format!("--filename={list}")]);
    // The test stands in for the operator, which has said this of the value before.
    let say = |message: &str| {
        let patch = format!("--patch={}", json!({"status": {"message": message}}));
        let mut arguments = vec!["patch"];
        arguments.extend(SOPS_SECRET);
        arguments.extend(["--subresource=status", "--type=merge", patch.as_str()]);
        checkout.kubectl("k3s-dev", &arguments);
    };
    say("Healthy");
    let restarted = || {
        workloads
            .iter()
            .filter(|(kind, name)| {
                let live = checkout.get("k3s-dev", &[&kind.to_lowercase(), name, "--namespace=argocd"]);
                live["spec"]["template"]["metadata"]["annotations"]["vanixiets.dev/restart"].is_string()
            })
            .count()
    };
    let resync = ["secrets", "resync", "argocd-redis-production", "--cluster=hetzner"];
    assert_eq!(checkout.run(&resync).code, Some(8), "production is asked for");
    let child = checkout.command(&[&resync[..], &["--yes"]].concat()).spawn().unwrap();
    support::until("the operator is told to look again", || {
        checkout.get("k3s-dev", &SOPS_SECRET)["metadata"]["annotations"]["vanixiets.dev/resync"].is_string()
    });
    assert_eq!(
        checkout.get("k3s-dev", &SOPS_SECRET)["status"]["message"],
        "not looked at since the change"
    );
    assert_eq!(restarted(), 0, "somebody was restarted with the old value");
    say("Healthy");
    let ran = support::finish(child);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(restarted(), 4, "{ran}");
    checkout.ok(&["local-down"]);
}

#[test]
fn a_newcomer_without_an_identity_gets_a_cluster_and_is_told_that_its_own_is_a_throw_away_one() {
    let checkout = Checkout::tiny();
    let ran = checkout.ok(&["local-up"]);
    assert!(ran.stderr.contains("a throw-away identity (age1"), "{ran}");
    let secret = checkout.get("k3s-dev", &OPERATOR_KEY);
    assert_eq!(held(&checkout, &secret).trim().lines().count(), 1);
    assert!(
        !keys(&checkout).exists(),
        "nothing is kept for a person who asked for nothing"
    );
    checkout.ok(&["local-up"]);
    assert_eq!(secret, checkout.get("k3s-dev", &OPERATOR_KEY));
    checkout.ok(&["local-down"]);
}

#[test]
fn a_sops_secret_alone_in_a_file_is_decrypted_by_kluctl_and_refused_by_the_check() {
    let checkout = taken_over();
    let file = fs_err::read_to_string(checkout.root.join(REDIS)).unwrap();
    // What kluctl does with it: rendered, not applied, with the key available.
    let project = checkout.base().join("trap");
    write(&project.join(".kluctl.yaml"), "discriminator: trap\n");
    write(&project.join("deployment.yaml"), "deployments:\n- path: item\n");
    write(&project.join("item/alone.yaml"), &file);
    let kluctl = checkout.ok(&["tools", "path", "kluctl"]).stdout.trim().to_owned();
    let rendered = project.join("out");
    let output = program(kluctl)
        .args(["render", "--no-update-check", "--offline-kubernetes", "--project-dir"])
        .arg(&project)
        .args(["--render-output-dir"])
        .arg(&rendered)
        .env_clear()
        .env("HOME", checkout.base().join("home"))
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("KLUCTL_BASE_TMP_DIR", checkout.base().join("kluctl"))
        .env("SOPS_AGE_KEY", identity(&checkout, None))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plain = decrypted(&checkout, REDIS, &identity(&checkout, None)).unwrap();
    let value = plain
        .pointer("/spec/secretTemplates/0/stringData/auth")
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned();
    let shows = contents(&rendered)
        .values()
        .any(|bytes| String::from_utf8_lossy(bytes).contains(&value));
    assert!(
        shows,
        "kluctl left it encrypted: the trap is gone, and with it the reason for the list"
    );

    let ran = checkout.run(&["secrets", "check", "--source", project.as_str()]);
    assert_eq!(ran.code, Some(4), "{ran}");
    assert!(ran.stderr.contains("alone.yaml`: stands alone"), "{ran}");
}

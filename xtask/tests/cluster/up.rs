//! A local cluster from nothing, again with nothing to do, and down.

use serde_json::Value;

use crate::support::Checkout;

fn versions(list: &Value) -> Vec<(String, String)> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| {
            let text = |pointer: &str| object.pointer(pointer).unwrap().as_str().unwrap().to_owned();
            (
                text("/kind") + "/" + &text("/metadata/name"),
                text("/metadata/resourceVersion"),
            )
        })
        .collect()
}

#[test]
fn a_cluster_comes_up_stays_as_it_is_and_goes_down() {
    let checkout = Checkout::tiny();
    let first = checkout.ok(&["local-up"]);
    assert!(
        first
            .stderr
            .contains("cargo xtask kubectl --cluster k3s-dev -- get pods -A"),
        "{first}"
    );
    let kinds = ["namespaces,serviceaccounts,configmaps,services,deployments", "-A"];
    let before = versions(&checkout.get("k3s-dev", &kinds));
    let second = checkout.ok(&["local-up"]);
    assert!(second.stderr.contains("5 objects are as they should be"), "{second}");
    assert_eq!(before, versions(&checkout.get("k3s-dev", &kinds)));

    checkout.ok(&["local-down"]);
    assert_eq!(checkout.processes(), Vec::new());
    assert!(!checkout.root.join(".xtask/clusters/k3s-dev").exists());
    checkout.ok(&["local-down"]);
}

//! From an edit of the modules to the running cluster, on a host that has no nixpkgs: `nix-instantiate` alone.

use camino::Utf8Path;
use serde_json::Value;

use crate::support::{Checkout, Ran, copy_folder, repository};

/// A checkout with the modules of this one and the golden of its local stage.
fn with_modules() -> Checkout {
    let mut checkout = Checkout::named("edited");
    // Cargo has nixpkgs' `lib` where its home is, and a run of a test has a home of its own.
    let home = std::env::home_dir().unwrap();
    for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        let path = std::env::var(name).unwrap_or_else(|_| home.join(folder).to_str().unwrap().to_owned());
        checkout.variables.insert(name.to_owned(), path);
    }
    let copy = |folder: &str| {
        let to = checkout.root.join(folder);
        if to.exists() {
            fs_err::remove_dir_all(&to).unwrap();
        }
        copy_folder(&repository().join(folder), &to);
    };
    for folder in [
        "modules",
        "k8s/secrets",
        "k8s/golden/k3s-dev/local",
        "xtask/tools/nixpkgs-lib",
    ] {
        copy(folder);
    }
    fs_err::copy(repository().join("flake.lock"), checkout.root.join("flake.lock")).unwrap();
    checkout
}

/// Replaces a text of a file, once.
fn edit(file: &Utf8Path, from: &str, to: &str) {
    let text = fs_err::read_to_string(file).unwrap();
    assert_eq!(text.matches(from).count(), 1, "`{from}` in `{file}`");
    fs_err::write(file, text.replace(from, to)).unwrap();
}

fn hostnames(checkout: &Checkout) -> Vec<String> {
    let gateway = checkout.get("k3s-dev", &["gateway", "main-gateway", "-n", "gateway-system"]);
    let listeners = gateway["spec"]["listeners"].as_array().unwrap();
    listeners
        .iter()
        .filter_map(|listener| listener["hostname"].as_str().map(ToOwned::to_owned))
        .collect()
}

/// What `local-status` lists as not deployed, and the whole run.
fn not_deployed(checkout: &Checkout) -> (Vec<String>, Ran) {
    let ran = checkout.ok(&["local-status", "--json"]);
    let status: Value = serde_json::from_str(&ran.stdout).unwrap();
    (serde_json::from_value(status["notDeployed"].clone()).unwrap(), ran)
}

#[test]
fn an_edited_hostname_reaches_the_running_cluster_with_one_command_and_is_blessed() {
    let checkout = with_modules();
    let config = checkout.root.join("modules/platform.nix");
    let first = checkout.ok(&["local-up"]);
    assert!(first.stderr.contains("which is of today's modules"), "{first}");
    let known = |name: &str| hostnames(&checkout).iter().any(|hostname| hostname.starts_with(name));
    assert!(known("whoami.") && !known("hello."));

    edit(&config, "\"whoami.${routes.local}\"", "\"hello.${routes.local}\"");

    // Asked for, the golden is deployed all the same, and what is not in it is said.
    let golden = checkout.ok(&["local-up", "--source", "golden"]);
    assert!(golden.stderr.contains("nothing to change"), "{golden}");
    assert!(
        golden.stderr.contains("not of today's modules")
            && golden.stderr.contains("`cargo xtask local-up --cluster k3s-dev`"),
        "{golden}"
    );
    let (status, said) = not_deployed(&checkout);
    assert!(
        status.len() == 1 && status[0].contains("main-gateway (gateway): changed"),
        "{status:?}: {said}"
    );
    let differs = checkout.run(&["diff", "--exit-code"]);
    assert_eq!(differs.code, Some(4), "{differs}");

    let second = checkout.ok(&["local-up"]);
    for part in ["source `render`", "cilium", "1 of 169 objects differ"] {
        assert!(second.stderr.contains(part), "{part}: {second}");
    }
    assert!(known("hello.") && !known("whoami."));
    let third = checkout.ok(&["local-up"]);
    assert!(third.stderr.contains("nothing to change"), "{third}");
    assert_eq!(not_deployed(&checkout).0, Vec::<String>::new());

    // A value of a chart cannot be rendered here: it is named, and what is there of it stays.
    let cilium = checkout.root.join("modules/k8s/cilium/default.nix");
    edit(&cilium, "tunnelProtocol = \"geneve\"", "tunnelProtocol = \"vxlan\"");
    let chart = checkout.ok(&["diff"]);
    assert!(chart.stderr.contains("`values.tunnelProtocol` changed"), "{chart}");
    edit(&cilium, "tunnelProtocol = \"vxlan\"", "tunnelProtocol = \"geneve\"");

    // An error of the modules is told, and nothing is deployed in their place.
    edit(&config, "\"hello.${routes.local}\";", "\"hello.${routes.local}\" }");
    let wrong = checkout.run(&["local-up"]);
    assert_eq!(wrong.code, Some(3), "{wrong}");
    assert!(
        wrong.stderr.contains("syntax error") && wrong.stderr.contains("platform.nix"),
        "{wrong}"
    );
    edit(&config, "\"hello.${routes.local}\" }", "\"hello.${routes.local}\";");

    let one = ["--stage", "local", "--cluster", "k3s-dev"];
    let check = checkout.run(&[["golden", "check"].as_slice(), &one].concat());
    assert_eq!(check.code, Some(4), "{check}");
    let blessed = checkout.ok(&[["golden", "bless"].as_slice(), &one].concat());
    for part in ["main-gateway.yaml", "120 objects not judged", "chart `cilium`"] {
        assert!(blessed.stderr.contains(part), "{part}: {blessed}");
    }
    checkout.ok(&[["golden", "check"].as_slice(), &one].concat());
    checkout.ok(&[["golden", "check", "--alone"].as_slice(), &one].concat());
    let last = checkout.ok(&["local-up"]);
    assert!(last.stderr.contains("which is of today's modules"), "{last}");
    assert!(last.stderr.contains("nothing to change"), "{last}");
    checkout.ok(&["local-down", "--delete"]);
}

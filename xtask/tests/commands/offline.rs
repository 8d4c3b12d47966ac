//! `--offline`: whatever would leave loopback is a failure before it does.

use crate::fakes::Fakes;
use crate::support::{Ran, finish, program, write};

fn kubeconfig(server: &str) -> String {
    serde_json::json!({
        "current-context": "k3s-dev",
        "contexts": [{"name": "k3s-dev", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
    })
    .to_string()
}

#[test]
fn a_cluster_elsewhere_is_refused_before_any_tool_is_told_of_it() {
    let fakes = Fakes::new();
    fakes.made();
    let path = fakes.checkout.root.join(".xtask/kubeconfigs/k3s-dev.yaml");
    let get = ["kubectl", "--", "get", "pods"];
    for (server, offline, code) in [
        ("https://127.0.0.1:6443", true, 0),
        ("https://[::1]:6443", true, 0),
        ("https://10.0.0.1:6443", false, 0),
        ("https://10.0.0.1:6443", true, 8),
        ("https://api.example.org:6443", true, 8),
    ] {
        write(&path, &kubeconfig(server));
        fs_err::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fakes.answers(&["kubectl *get pods => 0 pods"]);
        let variables: &[(&str, &str)] = if offline { &[("XTASK_OFFLINE", "1")] } else { &[] };
        let ran = fakes.finish(&get, variables);
        assert_eq!(ran.code, Some(code), "{server}: {ran}");
        if code == 8 {
            assert!(ran.stderr.contains(server) && ran.stderr.contains("--offline"), "{ran}");
            assert_eq!(fakes.calls(), Vec::<String>::new());
        }
    }
}

#[test]
fn a_tool_is_told_to_stay_on_loopback_and_so_is_the_go_that_builds_one() {
    let fakes = Fakes::new();
    let bin = fakes.checkout.base().join("bin");
    let seen = fakes.checkout.base().join("seen");
    // A Go that says what it was told, and builds nothing.
    let script = format!(
        "#!/bin/sh\ncase $1 in\nversion) echo go version go1.26.8 linux/amd64 ;;\nenv) echo '{{\"GOPROXY\":\"https://proxy.example.org\"}}' ;;\n\
         *) echo \"$GOPROXY $https_proxy $XTASK_OFFLINE\" >'{seen}'; echo 'module lookup disabled by GOPROXY=off'; exit 1 ;;\nesac\n"
    );
    write(&bin.join("go"), &script);
    fs_err::set_permissions(bin.join("go"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let build = |flags: &[&str]| -> (Ran, String) {
        let words: Vec<&str> = flags.iter().copied().chain(["tools", "build", "helm"]).collect();
        let ran = fakes.run(&words);
        assert_eq!(ran.code, Some(5), "{ran}");
        (ran, fs_err::read_to_string(&seen).unwrap())
    };
    assert_eq!(build(&[]).1.trim(), "https://proxy.example.org");
    let (ran, told) = build(&["--offline"]);
    assert_eq!(told.trim(), "off http://127.0.0.1:9 true");
    assert!(ran.stderr.contains("leave `--offline` out"), "{ran}");
}

#[test]
fn nothing_is_said_of_it_where_it_was_not_asked_for() {
    let fakes = Fakes::new();
    // An empty variable, as CI systems set them, asks for nothing.
    for value in ["", "0", "false"] {
        let ran = fakes.finish(&["env"], &[("XTASK_OFFLINE", value)]);
        assert_eq!(ran.code, Some(0), "{value}: {ran}");
    }
    let ran = finish(
        program(crate::support::XTASK)
            .args(["env", "--offline=yes"])
            .current_dir(&fakes.checkout.root)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap(),
    );
    assert_eq!(ran.code, Some(2), "{ran}");
}

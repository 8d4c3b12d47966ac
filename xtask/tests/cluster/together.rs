//! Two at once, in a network of their own, after a crash of everything, and with another's kubeconfig.

use std::collections::BTreeSet;

use crate::support::{Checkout, Ran, XTASK, build_tools, finish, program};

#[test]
fn two_rehearsals_and_two_clusters_go_on_at_once_and_leave_each_other_alone() {
    let checkout = Checkout::tiny();
    let start = |arguments: &[&str]| checkout.command(arguments).spawn().unwrap();
    let runs = [
        start(&["rehearse", "--stage", "local"]),
        start(&["rehearse", "--stage", "local"]),
        start(&["local-up"]),
        start(&["local-up", "--cluster", "k3s-capi"]),
    ];
    for run in runs {
        let ran = finish(run);
        assert_eq!(ran.code, Some(0), "{ran}");
    }
    // The rehearsals are gone, the clusters are two.
    let servers = checkout.processes();
    assert_eq!(
        servers.iter().filter(|(_, line)| line.contains("/bin/etcd ")).count(),
        2,
        "{servers:?}"
    );
    checkout.ok(&["local-down"]);
    assert_eq!(
        checkout.get("k3s-capi", &["namespace", "tiny"])["metadata"]["name"],
        "tiny"
    );

    // A kubeconfig of another cluster is refused, and nothing is changed.
    checkout.ok(&["local-up"]);
    let own = checkout.root.join(".xtask/kubeconfigs/k3s-dev.yaml");
    let other = fs_err::read_to_string(checkout.root.join(".xtask/kubeconfigs/k3s-capi.yaml")).unwrap();
    let kept = fs_err::read_to_string(&own).unwrap();
    let before = checkout.processes();
    for content in [other.clone(), other.replace("k3s-capi", "k3s-dev")] {
        fs_err::write(&own, content).unwrap();
        let ran = checkout.run(&["local-up"]);
        assert_eq!(ran.code, Some(8), "{ran}");
        assert!(ran.stderr.contains("k3s-dev") && ran.stderr.contains("hint:"), "{ran}");
        assert_eq!(checkout.processes(), before, "the healthy cluster was touched");
    }
    fs_err::write(&own, kept).unwrap();

    // As after a reboot: everything is dead, and comes back with what it held.
    for (pid, line) in checkout.processes() {
        if line.contains("/k3s-dev/home/.kwok/") {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
    }
    let uid = |ran: &Checkout| ran.get("k3s-dev", &["namespace", "tiny"])["metadata"]["uid"].clone();
    let ran = checkout.ok(&["local-up"]);
    assert!(ran.stderr.contains("5 objects are as they should be"), "{ran}");
    let first = uid(&checkout);

    // An API server whose etcd died first does not end by itself.
    let etcd = checkout
        .processes()
        .into_iter()
        .find(|(_, line)| line.contains("/k3s-dev/home/.kwok/") && line.contains("/bin/etcd "))
        .unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(etcd.0).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    checkout.ok(&["local-up"]);
    assert_eq!(uid(&checkout), first);
    checkout.ok(&["local-down"]);
    checkout.ok(&["local-down", "--cluster", "k3s-capi"]);
    assert_eq!(checkout.processes(), Vec::new());
}

#[test]
fn a_rehearsal_that_fails_leaves_one_folder_and_nothing_else() {
    let checkout = Checkout::tiny();
    let mut objects = crate::support::tiny_objects();
    // No API server takes a port of this number.
    objects[3].2["spec"]["ports"][0]["port"] = 70_000.into();
    checkout.stage("k3s-dev", &objects);
    let ran = checkout.run(&["rehearse", "--stage", "local"]);
    assert_eq!(ran.code, Some(6), "{ran}");
    let failed = checkout.root.join(".xtask/failed");
    let folders: Vec<_> = failed
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap().into_path())
        .collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    for file in ["plan.json", "journal.jsonl", "events.json", "objects.json"] {
        assert!(folders[0].join(file).is_file(), "{file} is missing: {ran}");
    }
    assert!(ran.stderr.contains(".xtask/failed/"), "{ran}");
    // It is worth uploading, so the identity that the cluster had is nowhere in it, as it is or in base64.
    let journal = fs_err::read_to_string(folders[0].join("journal.jsonl")).unwrap();
    assert!(journal.contains(r#"/age-key.put","state":"done""#), "{journal}");
    for file in walkdir::WalkDir::new(&folders[0]).into_iter().map(Result::unwrap) {
        if file.file_type().is_file() {
            let text = String::from_utf8_lossy(&fs_err::read(file.path()).unwrap()).into_owned();
            for secret in ["AGE-SECRET-KEY", "QUdFLVNFQ1JFVC1LRVkt"] {
                assert!(!text.contains(secret), "{secret} in {}", file.path().display());
            }
        }
    }
    assert_eq!(checkout.processes(), Vec::new());
    assert_eq!(
        checkout.root.join(".xtask/rehearsals").read_dir_utf8().unwrap().count(),
        0
    );
}

/// Git as a person would run it, in the folder around the checkout: the root is then a folder of the repository.
fn git(checkout: &Checkout, words: &[&str]) -> String {
    let ran = finish(
        program("git")
            .args(["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"])
            .args(["-c", "init.defaultBranch=main"])
            .args(words)
            .current_dir(checkout.base())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap(),
    );
    assert_eq!(ran.code, Some(0), "git {words:?}: {ran}");
    ran.stdout
}

fn rehearsals(checkout: &Checkout) -> Vec<String> {
    let folder = checkout.root.join(".xtask/rehearsals");
    if !folder.exists() {
        return Vec::new();
    }
    let entries = folder.read_dir_utf8().unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_owned()).collect()
}

#[test]
fn an_earlier_commit_is_rehearsed_from_a_worktree_that_leaves_no_trace() {
    let checkout = Checkout::tiny();
    crate::support::write(&checkout.base().join(".gitignore"), "/home\n.xtask\n");
    git(&checkout, &["init", "--quiet"]);
    git(&checkout, &["add", "--all"]);
    git(&checkout, &["commit", "--quiet", "--message=Good"]);
    let good = git(&checkout, &["rev-parse", "HEAD"]).trim().to_owned();
    let mut objects = crate::support::tiny_objects();
    objects[3].2["spec"]["ports"][0]["port"] = 70_000.into();
    checkout.stage("k3s-dev", &objects);
    fs_err::remove_dir_all(checkout.golden("k3s-capi")).unwrap();
    git(&checkout, &["add", "--all"]);
    git(&checkout, &["commit", "--quiet", "--message=Bad"]);
    // Not even what is committed, but what stands in the folder, is the present state.
    fs_err::remove_dir_all(checkout.golden("k3s-dev")).unwrap();
    let before = git(&checkout, &["status", "--porcelain"]);

    assert_eq!(checkout.run(&["rehearse", "--stage", "local"]).code, Some(4));
    let ran = checkout.ok(&["rehearse", "--stage", "local", "--rev", "HEAD~1"]);
    assert!(ran.stderr.contains(&good), "{ran}");
    for (revision, cluster, code, words) in [
        ("HEAD", "k3s-dev", 6, "phase-base.deploy"),
        ("HEAD", "k3s-capi", 4, "has no golden"),
        ("no-such", "k3s-dev", 3, "no revision `no-such`"),
        ("--help-me", "k3s-dev", 2, "--help-me"),
    ] {
        let revision = format!("--rev={revision}");
        let ran = checkout.run(&["rehearse", "--stage=local", "--cluster", cluster, &revision]);
        assert_eq!(ran.code, Some(code), "{ran}");
        assert!(ran.stderr.contains(words), "{words}: {ran}");
    }
    assert_eq!(rehearsals(&checkout), Vec::<String>::new());
    assert_eq!(git(&checkout, &["worktree", "list"]).lines().count(), 1);
    assert_eq!(git(&checkout, &["status", "--porcelain"]), before);
    assert_eq!(checkout.processes(), Vec::new());
}

#[test]
fn what_a_killed_rehearsal_left_is_ended_by_the_next_and_one_that_was_kept_is_not() {
    let checkout = Checkout::tiny();
    let kept = checkout.ok(&["rehearse", "--stage", "local", "--keep"]);
    assert!(kept.stderr.contains("clean --rehearsals"), "{kept}");
    let stays = rehearsals(&checkout);
    assert_eq!(stays.len(), 1);

    let mut command = checkout.command(&["rehearse", "--stage", "local"]);
    command.env("XTASK_CRASH", "acted:cluster.mark");
    let killed = finish(command.spawn().unwrap());
    assert_eq!(killed.signal, Some(9), "{killed}");
    let mut left = rehearsals(&checkout);
    left.retain(|name| !stays.contains(name));
    assert_eq!(left.len(), 1, "{left:?}");

    let child = checkout.command(&["rehearse", "--stage", "local"]).spawn().unwrap();
    crate::support::until("another one goes on, and what the killed one left is gone", || {
        let all = rehearsals(&checkout);
        all.len() == 2
            && !all.contains(&left[0])
            && checkout
                .processes()
                .iter()
                .filter(|(_, line)| line.contains("/bin/etcd "))
                .count()
                == 2
    });
    // One that goes on is never touched, also by who cleans up.
    let cleaned = checkout.ok(&["clean", "--rehearsals", "--yes"]);
    assert!(cleaned.stderr.contains(&stays[0]), "{cleaned}");
    let next = finish(child);
    assert_eq!(next.code, Some(0), "{next}");
    let removed = format!("{}, which a killed rehearsal left", left[0]);
    assert!(next.stderr.contains(&removed), "{next}");
    assert_eq!(rehearsals(&checkout), Vec::<String>::new());
    assert_eq!(checkout.processes(), Vec::new());
}

#[test]
fn a_rehearsal_that_is_interrupted_is_torn_down_all_the_same() {
    let checkout = Checkout::tiny();
    let child = checkout.command(&["rehearse", "--stage", "local"]).spawn().unwrap();
    crate::support::until("kluctl runs", || {
        checkout
            .processes()
            .iter()
            .any(|(_, line)| line.contains("kluctl deploy"))
    });
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let ran = finish(child);
    assert_eq!(ran.code, Some(130), "{ran}");
    assert_eq!(rehearsals(&checkout), Vec::<String>::new());
    assert_eq!(checkout.processes(), Vec::new());
}

#[test]
fn the_installed_binary_needs_no_cargo_no_home_and_no_path() {
    let checkout = Checkout::named("it's a \"checkout\" $(of mine)");
    let installed = checkout.base().join("installed/xtask");
    fs_err::create_dir_all(installed.parent().unwrap()).unwrap();
    fs_err::copy(XTASK, &installed).unwrap();
    let git = finish(
        program("/bin/sh")
            .args(["-c", "command -v git"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let run = |words: &[&str]| {
        let mut command = program(&installed);
        command
            .args(words)
            .args(["--root", checkout.root.as_str()])
            .current_dir("/")
            .env_clear()
            .env("PATH", "")
            .env("XTASK_GIT", git.stdout.trim())
            .env("XTASK_TOOL_CACHE", crate::support::tool_cache())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let ran = finish(command.spawn().unwrap());
        assert_eq!(ran.code, Some(0), "{words:?}: {ran}");
        ran
    };
    run(&["local-up"]);
    run(&["local-status"]);
    run(&["rehearse", "--stage", "local"]);
    run(&["local-down"]);
    assert_eq!(checkout.processes(), Vec::new());
    assert!(!checkout.root.join("of").exists());
}

/// Runs a script where there is no network but `lo`.
fn alone(checkout: &Checkout, script: &str) -> Ran {
    inside(checkout, "--net", &format!("ip link set lo up\n{script}"))
}

/// Runs a script in a namespace of its own, as its root.
fn inside(checkout: &Checkout, namespace: &str, script: &str) -> Ran {
    let mut command = program("unshare");
    command.arg(namespace);
    // A person who is not root becomes root of a namespace of their own.
    if !rustix::process::getuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let ours = checkout.command(&[]);
    command
        .args(["/bin/sh", "-euc", script])
        .current_dir(&checkout.root)
        .env_clear()
        .envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let child = command
        .spawn()
        .expect("`unshare` of util-linux makes a network of its own: install it");
    finish(child)
}

#[test]
fn everything_works_where_there_is_nothing_but_loopback() {
    build_tools(&["kluctl", "kubectl", "etcd", "kwokctl"]);
    let checkout = Checkout::tiny();
    let ran = alone(
        &checkout,
        &format!(
            "'{XTASK}' --offline local-up\n'{XTASK}' --offline rehearse --stage local\n\
             '{XTASK}' --offline kubectl -- get pods -A\n'{XTASK}' --offline local-down"
        ),
    );
    assert_eq!(
        ran.code,
        Some(0),
        "a network namespace is needed, as root or with user namespaces \
         (`sysctl kernel.unprivileged_userns_clone=1`): {ran}"
    );
    assert!(ran.stdout.contains("web-"), "{ran}");
}

#[test]
fn a_folder_for_temporary_files_that_is_tiny_and_runs_nothing_is_no_matter() {
    build_tools(&["kluctl", "kubectl", "etcd", "kwokctl"]);
    let mut checkout = Checkout::tiny();
    let folder = checkout.base().join("tmp");
    fs_err::create_dir(&folder).unwrap();
    checkout.variables.insert("TMPDIR".into(), folder.to_string());
    let script = format!(
        "mount -t tmpfs -o size=4k,noexec tmpfs '{folder}'\n'{XTASK}' local-up\n'{XTASK}' local-up\n'{XTASK}' local-down"
    );
    let ran = inside(&checkout, "--mount", &script);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.contains("5 objects are as they should be"), "{ran}");
}

#[test]
fn a_port_that_is_taken_after_it_was_chosen_is_exchanged_for_another() {
    let mut checkout = Checkout::tiny();
    let kwokctl = checkout.ok(&["tools", "path", "kwokctl"]).stdout.trim().to_owned();
    let folder = checkout.base().join("taken");
    let config = checkout.root.join(".xtask/clusters/k3s-dev/kwokctl.yaml");
    // The first time it waits until somebody listens on the API server's port.
    let script = format!(
        r#"#!/bin/sh
case "$*" in
*"create cluster"*)
  if [ ! -e {folder}/tried ]; then
    touch {folder}/tried
    sed -n 's/.*kubeApiserverPort: //p' {config} >{folder}/port.new
    mv {folder}/port.new {folder}/port
    while [ ! -e {folder}/bound ]; do sleep 0.05; done
  fi
  ;;
esac
exec {kwokctl} "$@"
"#
    );
    let path = folder.join("kwokctl");
    crate::support::write(&path, &script);
    fs_err::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    checkout.variables.insert("XTASK_KWOKCTL".into(), path.into_string());
    let somebody = std::thread::spawn(move || {
        crate::support::until("a port is chosen", || folder.join("port").exists());
        let port: u16 = fs_err::read_to_string(folder.join("port"))
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).unwrap();
        crate::support::write(&folder.join("bound"), "");
        (listener, port)
    });
    checkout.ok(&["local-up"]);
    let (_listener, port) = somebody.join().unwrap();
    let journal = fs_err::read_to_string(checkout.newest_run("local-up").join("journal.jsonl")).unwrap();
    assert!(journal.contains("second.create\",\"state\":\"done\""), "{journal}");
    let kubeconfig = fs_err::read_to_string(checkout.root.join(".xtask/kubeconfigs/k3s-dev.yaml")).unwrap();
    assert!(!kubeconfig.contains(&format!("127.0.0.1:{port}")), "{kubeconfig}");
    checkout.ok(&["local-down"]);
    assert_eq!(checkout.processes(), []);
}

/// Addresses of IPv4 and IPv6 sockets by inode, local and remote, as the kernel prints them.
fn sockets() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = fs_err::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            found.push((fields[9].to_owned(), fields[1].to_owned(), fields[2].to_owned()));
        }
    }
    found
}

/// Whether an address is of loopback, or is nobody's because nothing is connected.
fn is_loopback(address: &str, remote: bool) -> bool {
    let (host, port) = address.split_once(':').unwrap();
    let unconnected = remote && port == "0000" && host.chars().all(|digit| digit == '0');
    let mapped = host.strip_prefix("0000000000000000FFFF0000").unwrap_or(host);
    unconnected || (mapped.len() == 8 && mapped.ends_with("7F")) || host == "00000000000000000000000001000000"
}

#[test]
fn no_process_listens_on_or_connects_to_anything_but_loopback() {
    for verb in [&["local-up"][..], &["rehearse", "--stage", "local"]] {
        watch_sockets(verb);
    }
}

fn watch_sockets(verb: &[&str]) {
    let checkout = Checkout::tiny();
    let mut child = checkout.command(verb).spawn().unwrap();
    let mut seen = BTreeSet::new();
    let mut elsewhere = BTreeSet::new();
    let mut look = |checkout: &Checkout| {
        let sockets = sockets();
        for (pid, line) in checkout.processes() {
            for entry in fs_err::read_dir(format!("/proc/{pid}/fd"))
                .into_iter()
                .flatten()
                .flatten()
            {
                let Ok(target) = fs_err::read_link(entry.path()) else {
                    continue;
                };
                let Some(inode) = target
                    .to_str()
                    .and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']'))
                else {
                    continue;
                };
                for (_, local, remote) in sockets.iter().filter(|(found, ..)| found == inode) {
                    seen.insert(local.clone());
                    if !is_loopback(local, false) || !is_loopback(remote, true) {
                        elsewhere.insert(format!("{local} {remote}: {line}"));
                    }
                }
            }
        }
    };
    while child.try_wait().unwrap().is_none() {
        look(&checkout);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    look(&checkout);
    let ran = finish(child);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(seen.len() > 5, "no socket was seen at all: {seen:?}");
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
    checkout.ok(&["local-down"]);
}

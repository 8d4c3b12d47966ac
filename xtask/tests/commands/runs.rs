//! Whole runs against fake tools: what is called, what is said, which code comes out, and that nothing stays behind.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::fakes::Fakes;
use crate::support::{finish, program, until};

#[test]
fn a_tool_that_fails_is_exit_6_with_its_last_lines_and_the_way_on() {
    let fakes = Fakes::new();
    fakes.answers(&["kluctl *deploy => 1 admission webhook denied the request"]);
    let ran = fakes.run(&["local-up"]);
    assert_eq!(ran.code, Some(6), "{ran}");
    for part in [
        "phase-base.deploy",
        "admission webhook denied the request",
        "exit status 1",
        "--resume",
        "--from deploy/apply/base/phase-base.deploy",
        "the whole log",
    ] {
        assert!(ran.stderr.contains(part), "{part}: {ran}");
    }
    assert!(ran.stdout.is_empty(), "{ran}");
}

#[test]
fn a_run_that_begins_behind_a_deploy_that_was_not_done_is_refused() {
    for step in ["history.read", "verify.judge", "stage.hold"] {
        let fakes = Fakes::new();
        let ran = fakes.run(&["local-up", "--from", step]);
        assert_eq!(ran.code, Some(8), "{ran}");
        assert!(
            ran.stderr
                .contains("`--from` would pass over `deploy/apply/base/phase-base.deploy`"),
            "{ran}"
        );
        assert!(!ran.stderr.contains("Done"), "{ran}");
        let calls = fakes.calls();
        let said = |words: &str| calls.iter().any(|call| call.contains(words));
        assert!(!said("kluctl deploy") && said("get namespace kube-system"), "{calls:?}");
    }
}

#[test]
fn an_error_of_nix_is_explained_with_its_last_lines_and_its_log() {
    let fakes = Fakes::new().with("nix");
    let error = fakes.checkout.base().join("error.txt");
    let problems: String = (0..4000).map(|n| format!("       - problem {n}\n")).collect();
    for (said, parts) in [
        (
            format!("error: cluster `k3s-dev`, stage `local`:\n{problems}"),
            ["- problem 3999", "the error begins: error: cluster `k3s-dev`"],
        ),
        (
            "error: cannot build '/nix/store/x.drv' during evaluation because the option \
             'allow-import-from-derivation' is disabled"
                .to_owned(),
            ["is disabled", "would have to be built first"],
        ),
        (
            "error: infinite recursion encountered".to_owned(),
            ["infinite recursion encountered", "--show-trace"],
        ),
        (
            "error: unable to download 'https://h/x.tgz': Couldn't resolve host name (6)".to_owned(),
            ["https://h/x.tgz", "cannot be downloaded"],
        ),
    ] {
        fs_err::write(&error, said).unwrap();
        fakes.answers(&[&format!("nix *build => 1 @{error}")]);
        for arguments in [
            ["golden", "check", "--stage=local", "--cluster=k3s-dev"].as_slice(),
            &["build", "--stage=local"],
        ] {
            let ran = fakes.run(arguments);
            assert_eq!(ran.code, Some(6), "{ran}");
            for part in parts
                .iter()
                .chain(&["ended with exit status 1", "the whole log: ", ".xtask/"])
            {
                assert!(ran.stderr.contains(part), "{part}: {ran}");
            }
            assert!(!ran.stderr.contains("- problem 3000\n"), "{ran}");
            assert!(ran.stderr.lines().count() < 40, "{ran}");
        }
    }
}

#[test]
fn both_command_lines_of_kluctl_are_spoken() {
    for version in ["2.22.1", "2.28.2"] {
        let fakes = Fakes::new();
        let ran = fakes.finish(&["local-up"], &[("FAKE_KLUCTL", version)]);
        let calls = fakes.calls();
        let deploy = calls
            .iter()
            .find(|call| call.starts_with("kluctl deploy"))
            .expect("kluctl is called");
        for part in ["/work/due-0 ", "--include-tag=item-01-base --include-tag=item-02-app"] {
            assert!(deploy.contains(part), "{part}: {deploy}");
        }
        assert!(!ran.stderr.contains("unknown flag"), "{ran}");
        assert_eq!(ran.code, Some(0), "{ran}");
    }
}

#[test]
fn a_tool_that_cannot_be_used_is_told_as_what_it_did() {
    for (answer, code, part) in [
        ("die", 6, "was ended by signal 9"),
        ("garbage", 6, "\u{fffd}\u{fffd} broken"),
        ("flood", 6, "exit status 1"),
    ] {
        let fakes = Fakes::new();
        fakes.answers(&[&format!("kluctl *deploy => {answer}")]);
        let ran = fakes.run(&["local-up"]);
        assert_eq!(ran.code, Some(code), "{answer}: {ran}");
        assert!(ran.stderr.contains(part), "{answer}: {ran}");
        assert!(
            !ran.stderr.contains('\u{1b}'),
            "an escape of a tool reaches the terminal: {ran}"
        );
        assert!(ran.stderr.len() < 100_000, "{answer} floods the terminal too");
        until("nothing is left", || fakes.left().is_empty());
    }
}

/// A `local-up` for which SIGHUP is what it is by itself (`default`), or what `nohup` makes of it (`ignore`), however
/// these tests were started.
fn local_up(fakes: &Fakes, hangup: &str) -> Command {
    let plain = fakes.command(&["local-up"]);
    if !cfg!(target_os = "linux") {
        return plain;
    }
    let mut command = program("/usr/bin/env");
    command
        .arg(format!("--{hangup}-signal=HUP"))
        .arg(plain.get_program())
        .args(plain.get_args())
        .env_clear()
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(folder) = plain.get_current_dir() {
        command.current_dir(folder);
    }
    command
}

/// A `local-up` of which the deploy hangs.
fn hanging(fakes: &Fakes, command: &mut Command) -> Child {
    fakes.answers(&["kluctl *deploy => hang"]);
    let child = command.spawn().unwrap();
    until("kluctl is called", || {
        fakes.calls().iter().any(|call| call.starts_with("kluctl deploy"))
    });
    until("its child runs", || {
        fakes
            .checkout
            .processes()
            .iter()
            .any(|(_, line)| line.contains("fake-tool"))
    });
    child
}

#[test]
fn the_first_ctrl_c_and_a_closed_terminal_end_the_tool_and_its_children_and_give_the_lease_back() {
    // A terminal that is closed says so itself, and through its shell.
    for signals in [[Signal::INT].as_slice(), &[Signal::HUP, Signal::HUP]] {
        let fakes = Fakes::new();
        let child = hanging(&fakes, &mut local_up(&fakes, "default"));
        for signal in signals {
            kill_process(Pid::from_child(&child), *signal).unwrap();
            std::thread::sleep(Duration::from_millis(50));
        }
        let ran = finish(child);
        assert_eq!(ran.code, Some(130), "{signals:?}: {ran}");
        assert!(ran.stderr.contains("--resume"), "{ran}");
        // What always runs did run.
        let journal = fs_err::read_to_string(fakes.checkout.newest_run("local-up").join("journal.jsonl")).unwrap();
        assert!(journal.contains("\"lease/lease.find\",\"state\":\"done\""), "{journal}");
        until("nothing is left", || fakes.left().is_empty());
    }
}

#[test]
#[cfg(target_os = "linux")]
fn under_nohup_a_closed_terminal_ends_nothing() {
    let fakes = Fakes::new();
    let mut child = hanging(&fakes, &mut local_up(&fakes, "ignore"));
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert!(child.try_wait().unwrap().is_none(), "it ended with its terminal");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(finish(child).code, Some(130));
    until("nothing is left", || fakes.left().is_empty());
}

#[test]
fn a_listing_whose_proxy_fails_is_told_and_one_that_never_answers_ends_with_ctrl_c() {
    let fakes = Fakes::new();
    fakes.answers(&["kubectl *proxy => 1 no such thing"]);
    let ran = fakes.run(&["local-up"]);
    assert_eq!(ran.code, Some(6), "{ran}");
    for part in ["stage.list", "no such thing"] {
        assert!(ran.stderr.contains(part), "{part}: {ran}");
    }
    assert!(
        !ran.stderr.contains("--reject-methods"),
        "a long command is for who asks: {ran}"
    );
    let fakes = Fakes::new();
    fakes.answers(&["kubectl *proxy => 1 no such thing"]);
    let asked = fakes.run(&["local-up", "-v"]);
    assert!(asked.stderr.contains("--reject-methods"), "{asked}");
    let fakes = Fakes::new();
    fakes.answers(&["kubectl *proxy => hang"]);
    let child = fakes.command(&["local-up"]).spawn().unwrap();
    until("the proxy is called", || {
        fakes.calls().iter().any(|call| call.contains(" proxy "))
    });
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ran = finish(child);
    assert_eq!(ran.code, Some(130), "{ran}");
    until("nothing is left", || fakes.left().is_empty());
}

#[test]
fn the_second_ctrl_c_stops_at_once_and_takes_a_deaf_tool_along() {
    let fakes = Fakes::new();
    fakes.answers(&["kluctl *deploy => deaf"]);
    let mut child = fakes.command(&["local-up"]).spawn().unwrap();
    until("kluctl's child runs", || {
        fakes
            .checkout
            .processes()
            .iter()
            .any(|(_, line)| line.contains("fake-tool"))
    });
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).unwrap();
    let asked = Instant::now();
    // Two that arrive as one are one, so it is asked again until it goes.
    until("the run ends", || {
        let _gone = kill_process(pid, Signal::INT);
        child.try_wait().unwrap().is_some()
    });
    let ran = finish(child);
    assert_eq!(ran.code, Some(130), "{ran}");
    assert!(asked.elapsed() < Duration::from_secs(5), "it waited for the deaf tool");
    until("nothing is left", || fakes.left().is_empty());
}

#[test]
fn the_second_ctrl_c_stops_at_once_also_while_the_last_steps_run() {
    let fakes = Fakes::new();
    // The Lease is read twice: after it was taken, and at the end.
    let wanted = format!("{}/.xtask/clusters/k3s-dev/lease-wanted.json", fakes.checkout.root);
    fakes.answers(&[
        "kluctl *deploy => hang",
        &format!("once kubectl *get lease => 0 @{wanted}"),
        "kubectl *get lease => deaf",
    ]);
    let child = fakes.command(&["local-up"]).spawn().unwrap();
    until("something hangs", || {
        fakes
            .checkout
            .processes()
            .iter()
            .any(|(_, line)| line.contains("fake-tool"))
    });
    let pid = Pid::from_child(&child);
    let asked = Instant::now();
    kill_process(pid, Signal::INT).unwrap();
    until("a last step or the end", || {
        let calls = fakes.calls();
        calls.iter().filter(|call| call.contains("get lease")).count() >= 2
    });
    until("the last step hangs", || {
        fakes
            .checkout
            .processes()
            .iter()
            .any(|(_, line)| line.contains("fake-tool"))
    });
    kill_process(pid, Signal::INT).unwrap();
    let ran = finish(child);
    assert_eq!(ran.code, Some(130), "{ran}");
    assert!(asked.elapsed() < Duration::from_secs(9), "it waited for the deaf tool");
    until("nothing is left", || fakes.left().is_empty());
}

#[test]
fn on_a_full_disk_nothing_is_begun_whose_plan_cannot_be_kept() {
    let fakes = Fakes::new();
    let runs = fakes.checkout.root.join(".xtask/runs");
    fs_err::create_dir_all(&runs).unwrap();
    let mut command = program("unshare");
    // A person who is not root becomes root of a namespace of their own.
    if !rustix::process::getuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--mount", "sh", "-c"])
        .arg("mount -t tmpfs -o size=8k tmpfs \"$0\" && exec \"$@\"")
        .args([runs.as_str(), "env", "-i"])
        .args(
            fakes
                .checkout
                .variables
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        )
        .args([crate::support::XTASK, "local-up"])
        .current_dir(&fakes.checkout.root)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let ran = finish(command.spawn().unwrap());
    assert_eq!(ran.code, Some(6), "{ran}");
    for part in ["No space left", "free some disk space"] {
        assert!(ran.stderr.contains(part), "{part}: {ran}");
    }
    assert_eq!(fakes.calls(), Vec::<String>::new(), "something was called");
}

#[test]
fn a_signal_to_kubectl_reaches_kubectl() {
    let fakes = Fakes::new();
    fakes.made();
    fakes.answers(&["kubectl *completion => stay"]);
    let child = fakes.command(&["kubectl", "--", "completion", "bash"]).spawn().unwrap();
    until("kubectl is called", || !fakes.calls().is_empty());
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let ran = finish(child);
    assert_eq!(ran.signal, Some(15), "{ran}");
    until("nothing is left", || fakes.left().is_empty());
}

#[test]
fn the_printed_script_makes_the_same_calls_as_the_run() {
    let fakes = Fakes::new();
    fakes.answers(&["kluctl *deploy => 1 no"]);
    let script = fakes.checkout.ok(&["local-up", "--dry-run=shell"]).stdout;
    assert_eq!(fakes.calls(), Vec::<String>::new(), "a dry run calls nothing that acts");
    let ran = fakes.run(&["local-up"]);
    let wanted = fakes.settled();
    assert!(wanted.1.len() > 15, "{wanted:?}");

    fs_err::remove_dir_all(fakes.checkout.root.join(".xtask")).unwrap();
    fakes.answers(&["kluctl *deploy => 1 no"]);
    let path = fakes.checkout.base().join("script.sh");
    fs_err::write(&path, script).unwrap();
    let mut command = program("/bin/sh");
    let path_of_tools = format!("{}:/usr/bin:/bin", fakes.checkout.base().join("bin"));
    command
        .arg(path)
        .current_dir(&fakes.checkout.root)
        .env_clear()
        .envs(&fakes.checkout.variables)
        .env("PATH", path_of_tools)
        .env("HOME", fakes.checkout.base().join("home"))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let printed = finish(command.spawn().unwrap());
    assert_ne!(printed.code, Some(0), "{printed}");
    assert_eq!(fakes.settled(), wanted, "the run: {ran}\nthe script: {printed}");
}

#[test]
fn those_who_clean_up_at_once_wait_for_each_other_and_miss_nothing() {
    let fakes = Fakes::new();
    let all = fakes.checkout.root.join(".xtask/rehearsals");
    let names: Vec<String> = (0..40).map(|n| format!("{n:012x}")).collect();
    for name in &names {
        for file in ["etcd/log", "kwok/log", "work/log"] {
            crate::support::write(&all.join(name).join(file), "what is left\n");
        }
    }
    let clean = || fakes.command(&["clean", "--rehearsals", "--yes"]).spawn().unwrap();
    let ran: Vec<_> = [clean(), clean(), clean()].into_iter().map(finish).collect();
    for one in &ran {
        assert_eq!(one.code, Some(0), "{one}");
    }
    assert_eq!(all.read_dir_utf8().unwrap().count(), 0);
    for name in &names {
        let said = ran.iter().filter(|one| one.stderr.contains(name.as_str())).count();
        assert_eq!(said, 1, "`{name}` is removed once: {}", ran[0]);
    }
}

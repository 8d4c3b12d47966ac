//! Finding and building with fake programs: every way in which a tool can be absent, wrong or half built.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::Utf8Path;

use super::fake::{self, Fake, GO};
use super::find::{Origin, Outcome};
use super::{Toolbox, cache, table};
use crate::base::failure::{Failure, Kind};
use crate::command::Tool;

/// Everything a person is told.
fn told(failure: &Failure) -> String {
    format!("{}\n{}", failure.chain(), failure.hints.join("\n"))
}

fn entries(fake: &Fake) -> Vec<String> {
    let mut names: Vec<String> = fs_err::read_dir(fake.cache())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn found_version(toolbox: &Toolbox, tool: Tool) -> String {
    match &toolbox.look(&[tool])[0].outcome {
        Outcome::Found(found) => found.version.as_ref().map(ToString::to_string).unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fitting_tool_on_path_is_taken_and_nothing_is_built() {
    let fake = Fake::new();
    fake.go(GO, "");
    let path = fake.program("etcd", "echo 'etcd Version: 3.5.30'");
    let found = fake.toolbox(&[]).ensure_one(Tool::Etcd).unwrap();
    assert_eq!((found.path, found.origin), (path, Origin::Path));
    assert_eq!(fake.builds(), [""; 0]);
}

#[test]
fn a_wrong_version_on_path_is_named_and_passed_over() {
    let fake = Fake::new();
    fake.go(GO, "");
    let wrong = fake.program(
        "kubectl",
        r#"echo '{"clientVersion":{"gitVersion":"v1.32.4-dispatcher"}}'"#,
    );
    let toolbox = fake.toolbox(&[]);
    let lookup = &toolbox.look(&[Tool::Kubectl])[0];
    assert!(matches!(lookup.outcome, Outcome::Buildable(_)), "{lookup:?}");
    assert_eq!(lookup.passed[0].path, wrong);
    assert!(lookup.passed[0].reason.contains("1.32.4"), "{lookup:?}");
    let found = toolbox.ensure_one(Tool::Kubectl).unwrap();
    assert_eq!(found.origin, Origin::Cache);
    assert!(found.path.starts_with(fake.cache()));
}

#[test]
fn a_second_program_on_path_is_taken_when_the_first_is_wrong() {
    let fake = Fake::new();
    fake.program("etcd", "echo 'etcd Version: 2.3.8'");
    let second = fake.elsewhere("etcd", "echo 'etcd Version: 3.6.1'");
    let path = format!("relative:{}:{}", fake.bin(), second.parent().unwrap());
    let found = fake.toolbox(&[("PATH", &path)]).ensure_one(Tool::Etcd).unwrap();
    assert_eq!(found.path, second);
}

#[test]
fn a_variable_wins_and_a_wrong_one_is_an_error_and_not_passed_over() {
    let fake = Fake::new();
    fake.go(GO, "");
    fake.program("etcd", "echo 'etcd Version: 3.6.1'");
    let right = fake.elsewhere("right", "echo 'etcd Version: 3.5.9'");
    let wrong = fake.elsewhere("wrong", "echo 'etcd Version: 2.3.8'");
    let found = fake
        .toolbox(&[("XTASK_ETCD", right.as_str())])
        .ensure_one(Tool::Etcd)
        .unwrap();
    assert_eq!((found.path, found.origin), (right, Origin::Variable));
    for (value, reason) in [
        (wrong.as_str(), "is version 2.3.8"),
        ("/nonexistent/etcd", "not an executable"),
        ("etcd", "absolute"),
    ] {
        let failure = fake
            .toolbox(&[("XTASK_ETCD", value)])
            .ensure(&[Tool::Etcd])
            .unwrap_err();
        assert_eq!(failure.kind, Kind::Preflight);
        assert!(told(&failure).contains(reason), "{}", told(&failure));
        assert!(told(&failure).contains("XTASK_ETCD"), "{}", told(&failure));
    }
    assert_eq!(fake.builds(), [""; 0]);
}

#[test]
fn kluctl_without_a_version_is_known_by_its_flags() {
    for (help, expected) in [
        (
            "--discriminator string --kubeconfig file --write-command-result",
            "2.28.0",
        ),
        ("--readiness-timeout --write-command-result", "2.22.0"),
    ] {
        let fake = Fake::new();
        fake.program(
            "kluctl",
            &format!("if [ \"$1\" = version ]; then echo 0.0.0; else echo '{help}'; fi"),
        );
        assert_eq!(found_version(&fake.toolbox(&[]), Tool::Kluctl), expected);
    }
    let fake = Fake::new();
    fake.program(
        "kluctl",
        "if [ \"$1\" = version ]; then echo 0.0.0; else echo nothing; fi",
    );
    assert!(matches!(
        fake.toolbox(&[]).look(&[Tool::Kluctl])[0].outcome,
        Outcome::Buildable(_)
    ));
}

#[test]
fn the_other_yq_is_not_taken() {
    let fake = Fake::new();
    fake.program(
        "yq",
        "echo 'yq is a portable command-line data file processor (like jq)'",
    );
    let toolbox = fake.toolbox(&[]);
    assert!(matches!(toolbox.look(&[Tool::Yq])[0].outcome, Outcome::Missing));
    fake.program("yq", "echo 'usage: yq [options] <jq filter> [input file...]'");
    assert!(matches!(toolbox.look(&[Tool::Yq])[0].outcome, Outcome::Found(_)));
}

#[test]
fn a_program_that_fails_or_tells_nothing_is_passed_over_with_its_own_words() {
    for (body, reason) in [
        (
            "echo 'cannot open shared object' >&2; exit 127",
            "cannot open shared object",
        ),
        ("echo hello", "no version that can be read"),
        ("kill -9 $$", "signal"),
    ] {
        let fake = Fake::new();
        fake.program("etcd", body);
        let lookup = &fake.toolbox(&[]).look(&[Tool::Etcd])[0];
        assert!(lookup.passed[0].reason.contains(reason), "{lookup:?}");
    }
}

#[test]
fn no_setting_of_the_user_reaches_a_version_probe() {
    let fake = Fake::new();
    let seen = fake.root().join("seen");
    let body = format!("env >{}; echo 2.22.1", shell_words::quote(seen.as_str()));
    fake.program("kluctl", &body);
    let variables = [
        ("KLUCTL_TARGET", "x"),
        ("KUBECONFIG", "/home/of/user/config"),
        ("HOME", "/home/of/user"),
    ];
    assert_eq!(found_version(&fake.toolbox(&variables), Tool::Kluctl), "2.22.1");
    let seen = fs_err::read_to_string(seen).unwrap();
    assert!(
        !seen.contains("KLUCTL_TARGET") && !seen.contains("/home/of/user"),
        "{seen}"
    );
    assert!(seen.contains("KLUCTL_NO_UPDATE_CHECK=true"), "{seen}");
}

#[test]
fn every_missing_tool_is_reported_at_once_with_its_remedy() {
    let fake = Fake::new();
    let failure = fake
        .toolbox(&[])
        .ensure(&[Tool::Kluctl, Tool::Etcd, Tool::Nix, Tool::Jq])
        .unwrap_err();
    assert_eq!(failure.kind, Kind::Preflight);
    let told = told(&failure);
    for part in [
        "`kluctl`",
        "`etcd`",
        "`nix`",
        "`jq`",
        "`go`",
        "apt-get install jq",
        "nix-bin",
        "brew install go",
        "XTASK_",
    ] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    assert!(!fake.cache().exists());
}

#[test]
fn a_host_with_nix_is_told_of_the_flakes_shell() {
    let fake = Fake::new();
    let hint = "nix develop";
    assert!(!told(&fake.toolbox(&[]).ensure(&[Tool::Etcd]).unwrap_err()).contains(hint));
    fake.program("nix", "echo 'nix (Nix) 2.30.1'");
    assert!(told(&fake.toolbox(&[]).ensure(&[Tool::Etcd]).unwrap_err()).contains(hint));
}

#[test]
fn nothing_is_built_when_another_tool_cannot_be_had() {
    let fake = Fake::new();
    fake.go(GO, "");
    let failure = fake.toolbox(&[]).ensure(&[Tool::Etcd, Tool::Nix]).unwrap_err();
    assert!(
        told(&failure).contains("`nix`") && !told(&failure).contains("`etcd`"),
        "{}",
        told(&failure)
    );
    assert_eq!(fake.builds(), [""; 0]);
}

#[test]
fn a_module_is_built_once_and_found_afterwards() {
    let fake = Fake::new();
    fake.go(GO, "");
    let tools = fake
        .toolbox(&[])
        .ensure(&[Tool::Kwok, Tool::Kwokctl, Tool::Etcd])
        .unwrap();
    assert_eq!(
        fake.builds(),
        [
            "build etcd go.etcd.io/etcd/server/v3",
            "build kwok sigs.k8s.io/kwok/cmd/kwok",
            "build kwokctl sigs.k8s.io/kwok/cmd/kwokctl"
        ]
    );
    assert_eq!(tools.version(Tool::Kwokctl).unwrap().to_string(), "0.8.0");
    assert!(tools.path(Tool::Kwok).unwrap().is_file());
    assert_eq!(tools.path(Tool::Helm).unwrap_err().kind, Kind::Unexpected);
    fake.toolbox(&[]).ensure(&[Tool::Kwok, Tool::Etcd]).unwrap();
    assert_eq!(fake.builds().len(), 3);
    let names = entries(&fake);
    assert!(!names.iter().any(|name| name.starts_with(".building")), "{names:?}");
}

#[test]
fn the_committed_pin_is_built_and_the_hosts_go_settings_are_left_behind() {
    let fake = Fake::new();
    fake.go(GO, "");
    fs_err::write(
        fake.root().join("goenv"),
        r#"{"GOPROXY":"https://mirror.example","GOSUMDB":"","GOCACHE":"/the cache","GOMODCACHE":"/modules"}"#,
    )
    .unwrap();
    let variables = [
        ("GOFLAGS", "-mod=vendor -tags=x"),
        ("GOOS", "plan9"),
        ("GOARCH", "mips"),
        ("GOROOT", "/wrong"),
        ("GOTOOLCHAIN", "go1.99.0"),
        ("GOEXPERIMENT", "x"),
        ("GO111MODULE", "off"),
        ("CGO_CFLAGS", "-x"),
        ("GIT_DIR", "/repository"),
        ("HTTPS_PROXY", "http://proxy.example:8080"),
    ];
    fake.toolbox(&variables).ensure(&[Tool::Age]).unwrap();
    let environment = fs_err::read_to_string(fake.root().join("environment")).unwrap();
    let lines: Vec<&str> = environment.lines().collect();
    for expected in [
        "GOFLAGS=",
        "GOENV=off",
        "GOTOOLCHAIN=local",
        "GOWORK=off",
        "CGO_ENABLED=0",
        "GOPROXY=https://mirror.example",
        "GOCACHE=/the cache",
        "GOMODCACHE=/modules",
        "HTTPS_PROXY=http://proxy.example:8080",
    ] {
        assert!(lines.contains(&expected), "{expected} is not in\n{environment}");
    }
    for name in [
        "GOOS=",
        "GOARCH=",
        "GOROOT=",
        "GOEXPERIMENT=",
        "GO111MODULE=",
        "CGO_CFLAGS=",
        "GIT_DIR=",
    ] {
        assert!(
            !lines.iter().any(|line| line.starts_with(name)),
            "{name} is in\n{environment}"
        );
    }
    let module = table::module(Tool::Age).unwrap().0;
    assert_eq!(
        fs_err::read_to_string(fake.root().join("go.mod")).unwrap(),
        module.go_mod
    );
    assert_eq!(
        fs_err::read_to_string(fake.root().join("go.sum")).unwrap(),
        module.go_sum
    );
}

#[test]
fn without_a_home_go_keeps_its_own_caches_beside_the_tools() {
    let fake = Fake::new();
    fake.go(GO, "");
    fs_err::write(fake.root().join("goenv"), r#"{"GOCACHE":"off","GOMODCACHE":""}"#).unwrap();
    fake.toolbox(&[]).ensure(&[Tool::Kubeconform]).unwrap();
    let environment = fs_err::read_to_string(fake.root().join("environment")).unwrap();
    for name in ["GOCACHE", "GOMODCACHE"] {
        assert!(
            environment.contains(&format!("\n{name}={}", fake.cache())),
            "{environment}"
        );
    }
}

#[test]
fn without_a_home_and_a_cache_the_failure_says_what_to_set() {
    let fake = Fake::new();
    fake.go(GO, "");
    let failure = fake
        .toolbox(&[("XTASK_TOOL_CACHE", "")])
        .ensure(&[Tool::Etcd])
        .unwrap_err();
    assert_eq!(failure.kind, Kind::Preflight);
    assert!(told(&failure).contains("XTASK_TOOL_CACHE"), "{}", told(&failure));
}

#[test]
fn a_go_that_is_too_old_is_named_with_its_version() {
    let fake = Fake::new();
    fake.go("go version go1.19.8 linux/amd64", "");
    let failure = fake.toolbox(&[]).ensure(&[Tool::Etcd]).unwrap_err();
    assert_eq!(failure.kind, Kind::Preflight);
    assert!(told(&failure).contains("is version 1.19.8"), "{}", told(&failure));
    assert!(told(&failure).contains(">=1.26"), "{}", told(&failure));
    assert_eq!(fake.builds(), [""; 0]);
}

#[test]
fn a_go_that_is_too_old_for_one_module_only_still_builds_the_others() {
    let fake = Fake::new();
    fake.go("go version go1.26.0 linux/amd64", "");
    let failure = fake.toolbox(&[]).ensure(&[Tool::Etcd, Tool::Tofu]).unwrap_err();
    assert!(
        told(&failure).contains("`tofu`") && !told(&failure).contains("`etcd`"),
        "{}",
        told(&failure)
    );
    assert!(told(&failure).contains(">=1.26.6"), "{}", told(&failure));
    assert_eq!(fake.builds(), [""; 0]);
    fake.toolbox(&[]).ensure(&[Tool::Etcd]).unwrap();
}

#[test]
fn what_was_built_before_serves_a_host_without_go() {
    let fake = Fake::new();
    let go = fake.go(GO, "");
    fake.toolbox(&[]).ensure(&[Tool::Etcd]).unwrap();
    fs_err::remove_file(go).unwrap();
    assert_eq!(fake.toolbox(&[]).ensure_one(Tool::Etcd).unwrap().origin, Origin::Cache);
    fake.go("go version go1.19.8 linux/amd64", "");
    assert_eq!(fake.toolbox(&[]).ensure_one(Tool::Etcd).unwrap().origin, Origin::Cache);
}

#[test]
fn another_go_builds_again() {
    let fake = Fake::new();
    fake.go(GO, "");
    fake.toolbox(&[]).ensure(&[Tool::Etcd]).unwrap();
    fake.go("go version go1.26.9 linux/amd64", "");
    fake.toolbox(&[]).ensure(&[Tool::Etcd]).unwrap();
    assert_eq!(fake.builds().len(), 2);
}

#[test]
fn a_cluster_of_another_minor_is_not_given_what_is_pinned() {
    let fake = Fake::new();
    fake.go(GO, "");
    let interrupted = Arc::new(AtomicBool::new(false));
    fake.toolbox(&[]).ensure(&[Tool::KubeApiserver]).unwrap();
    let failure = fake
        .toolbox_for("1.31.2", &[], &interrupted)
        .ensure(&[Tool::KubeApiserver])
        .unwrap_err();
    assert!(told(&failure).contains("~1.31"), "{}", told(&failure));
    assert_eq!(fake.builds().len(), 4);
}

#[test]
fn an_entry_whose_stamp_or_program_is_broken_is_never_used_and_is_built_again() {
    type Break = (&'static str, fn(&Utf8Path));
    let breaks: [Break; 6] = [
        ("stamp gone", |entry| {
            fs_err::remove_file(entry.join("stamp.json")).unwrap();
        }),
        ("stamp cut", |entry| {
            fs_err::write(entry.join("stamp.json"), "{\"schema\":1,").unwrap();
        }),
        ("stamp of a later schema", |entry| {
            let text = fs_err::read_to_string(entry.join("stamp.json")).unwrap();
            fs_err::write(entry.join("stamp.json"), text.replace("\"schema\": 1", "\"schema\": 2")).unwrap();
        }),
        ("program gone", |entry| {
            fs_err::remove_file(entry.join("bin/etcd")).unwrap();
        }),
        ("program cut", |entry| {
            fs_err::write(entry.join("bin/etcd"), "").unwrap();
        }),
        ("program a folder", |entry| {
            fs_err::remove_file(entry.join("bin/etcd")).unwrap();
            fs_err::create_dir(entry.join("bin/etcd")).unwrap();
        }),
    ];
    for (name, break_it) in breaks {
        let fake = Fake::new();
        fake.go(GO, "");
        let module = table::module(Tool::Etcd).unwrap().0;
        let built = fake.toolbox(&[]).ensure_one(Tool::Etcd).unwrap();
        break_it(&cache::entry_folder(&fake.cache(), module, GO));
        assert!(cache::entry(&fake.cache(), module, Some(GO)).is_none(), "{name}");
        assert!(cache::entry(&fake.cache(), module, None).is_none(), "{name}");
        let again = fake.toolbox(&[]).ensure_one(Tool::Etcd).unwrap();
        assert_eq!(again, built, "{name}");
        assert_eq!(fake.builds().len(), 2, "{name}");
    }
}

#[test]
fn a_program_of_the_right_size_with_other_bytes_is_seen_by_its_digest() {
    let fake = Fake::new();
    fake.go(GO, "");
    let module = table::module(Tool::Etcd).unwrap().0;
    let path = fake.toolbox(&[]).ensure_one(Tool::Etcd).unwrap().path;
    let entry = cache::entry_folder(&fake.cache(), module, GO);
    assert!(cache::is_unaltered(&entry, module, "etcd").unwrap());
    let text = fs_err::read_to_string(&path).unwrap();
    fs_err::write(&path, text.replace("3.6.15", "9.9.99")).unwrap();
    assert!(!cache::is_unaltered(&entry, module, "etcd").unwrap());
}

#[test]
fn a_program_that_was_altered_in_place_is_built_again_and_never_started() {
    let fake = Fake::new();
    fake.go(GO, "");
    let path = fake.toolbox(&[]).ensure_one(Tool::Etcd).unwrap().path;
    // Asked once more: it is remembered and not hashed.
    assert_eq!(fake.toolbox(&[]).ensure_one(Tool::Etcd).unwrap().path, path);
    let text = fs_err::read_to_string(&path).unwrap();
    let written = fs_err::metadata(&path).unwrap().modified().unwrap();
    let changed = text.replace("3.6.15", "9.9.99");
    assert_eq!(text.len(), changed.len());
    fs_err::write(&path, changed).unwrap();
    // Also where the time of the change is put back.
    let file = fs_err::OpenOptions::new().write(true).open(&path).unwrap();
    file.into_file().set_modified(written).unwrap();

    // Without a Go that could build it again it is refused, and said why.
    let go = fake.bin().join("go");
    fs_err::rename(&go, fake.root().join("go")).unwrap();
    let failure = fake.toolbox(&[]).ensure(&[Tool::Etcd]).unwrap_err();
    assert!(
        told(&failure).contains("is not what was built: its digest differs"),
        "{failure:?}"
    );
    fs_err::rename(fake.root().join("go"), &go).unwrap();
    assert_eq!(fake.toolbox(&[]).ensure_one(Tool::Etcd).unwrap().path, path);
    assert_eq!(fs_err::read_to_string(&path).unwrap(), text);
    assert_eq!(fake.builds().len(), 2);
}

#[test]
fn what_was_hashed_is_hashed_again_only_when_the_kernel_says_another_thing_of_it() {
    let fake = Fake::new();
    fake.go(GO, "");
    let module = table::module(Tool::Etcd).unwrap().0;
    let path = fake.toolbox(&[]).ensure_one(Tool::Etcd).unwrap().path;
    let entry = cache::entry_folder(&fake.cache(), module, GO);
    let memory = entry.join("etcd.hashed.json");
    let remembered = || fs_err::metadata(&memory).map(|metadata| std::os::unix::fs::MetadataExt::ino(&metadata));
    let good = || cache::entry(&fake.cache(), module, Some(GO)).is_some();
    assert!(good());
    let first = remembered().unwrap();
    assert!(good());
    assert_eq!(remembered().unwrap(), first, "hashed once");
    // A copy of the same bytes, as out of the cache of a runner.
    let copy = path.with_file_name("copy");
    fs_err::copy(&path, &copy).unwrap();
    fs_err::rename(&copy, &path).unwrap();
    assert!(good());
    let text = fs_err::read_to_string(&memory).unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&fs_err::metadata(&path).unwrap());
    assert!(text.contains(&format!("\"inode\":{inode},")), "{text}");
    // A memory that somebody damaged is none.
    fs_err::write(&memory, "{").unwrap();
    assert!(good());
}

#[test]
fn a_program_that_is_asked_for_its_version_gets_no_token_and_no_key() {
    let fake = Fake::new();
    let quoted = shell_words::quote(fake.root().as_str()).into_owned();
    fake.program("kubectl", &format!("env >{quoted}/kubectl.env; echo '{{}}'; exit 1"));
    fake.go(GO, "");
    let tokens = [
        ("SOPS_AGE_KEY", "canary-age"),
        ("HCLOUD_TOKEN", "canary-hcloud"),
        ("GITHUB_TOKEN", "canary-github"),
        ("AWS_SECRET_ACCESS_KEY", "canary-aws"),
        ("CLOUD_CREDENTIALS_OF_TOMORROW", "canary-unknown"),
        ("LC_TIME", "kept"),
    ];
    fake.toolbox(&tokens).ensure(&[Tool::Kubectl]).unwrap();
    let candidate = fs_err::read_to_string(fake.root().join("kubectl.env")).unwrap();
    let build = fs_err::read_to_string(fake.root().join("environment")).unwrap();
    for environment in [candidate, build] {
        assert!(
            environment.contains("LC_") && !environment.contains("canary"),
            "{environment}"
        );
    }
}

#[test]
fn a_build_that_fails_shows_gos_last_lines_its_log_and_what_to_do() {
    for (says, hint) in [
        ("write /c/x: no space left on device", "free some disk space"),
        ("module lookup disabled by GOPROXY=off", "the module proxy is off"),
        ("dial tcp: lookup proxy.example: no such host", "cannot be reached"),
        ("verifying module: checksum mismatch", "not what was reviewed"),
        ("open /m/x: permission denied", "GOMODCACHE"),
        ("pkg/x.go:1:1: syntax error", "or provide it"),
    ] {
        let fake = Fake::new();
        fake.go(
            GO,
            &format!("echo 'go: downloading x'; echo '{says}' >&2; echo half >\"$out\"; exit 1"),
        );
        let failure = fake.toolbox(&[]).ensure(&[Tool::Etcd]).unwrap_err();
        assert_eq!(failure.kind, Kind::Preflight);
        let told = told(&failure);
        let log = fake.cache().join("etcd.log");
        for part in [says, hint, log.as_str(), "XTASK_ETCD"] {
            assert!(told.contains(part), "{part} is not in\n{told}");
        }
        assert!(!failure.chain().contains("downloading"), "{told}");
        assert!(fs_err::read_to_string(log).unwrap().contains("$ go build"));
        let names = entries(&fake);
        assert_eq!(names, ["etcd.lock", "etcd.log"], "{says}");
    }
}

#[test]
fn what_was_built_but_does_not_run_is_not_kept() {
    let fake = Fake::new();
    fake.go(
        GO,
        "printf '#!/bin/sh\\nexit 3\\n' >\"$out\"; chmod 755 \"$out\"; exit 0",
    );
    let failure = fake.toolbox(&[]).ensure(&[Tool::Etcd]).unwrap_err();
    assert!(told(&failure).contains("noexec"), "{}", told(&failure));
    assert_eq!(entries(&fake), ["etcd.lock", "etcd.log"]);
}

#[test]
fn a_cache_folder_that_cannot_be_made_is_a_clear_failure() {
    let fake = Fake::new();
    fake.go(GO, "");
    let file = fake.root().join("file");
    fs_err::write(&file, "").unwrap();
    let inside = file.join("cache");
    let failure = fake
        .toolbox(&[("XTASK_TOOL_CACHE", inside.as_str())])
        .ensure(&[Tool::Etcd])
        .unwrap_err();
    assert_eq!(failure.kind, Kind::Preflight);
    assert!(told(&failure).contains(file.as_str()), "{}", told(&failure));
    assert!(told(&failure).contains("XTASK_TOOL_CACHE"), "{}", told(&failure));
}

#[test]
fn what_a_dead_builder_left_is_swept_and_never_used() {
    let fake = Fake::new();
    fake.go(GO, "");
    let half = fake.cache().join(".building-etcd-1");
    fs_err::create_dir_all(half.join("bin")).unwrap();
    fs_err::write(half.join("bin/etcd"), "half").unwrap();
    fs_err::write(half.join("rest"), "").unwrap();
    let found = fake.toolbox(&[]).ensure_one(Tool::Etcd).unwrap();
    let entry = found.path.parent().unwrap().parent().unwrap();
    assert!(!half.exists());
    assert!(!entry.join("rest").exists());
    assert!(fs_err::read_to_string(&found.path).unwrap().contains("3.6.15"));
}

#[test]
fn an_interrupted_build_ends_go_with_its_children_and_leaves_nothing_half() {
    let fake = Fake::new();
    let pids = fake.root().join("pids");
    let quoted = shell_words::quote(pids.as_str()).into_owned();
    // The word after it is written is what the interrupter waits for.
    fake.go(
        GO,
        &format!("echo half >\"$out\"; sleep 600 & echo $! $$ >{quoted}; wait"),
    );
    let interrupted = Arc::new(AtomicBool::new(false));
    let toolbox = fake.toolbox_for("1.35.4", &[], &interrupted);
    let failure = std::thread::scope(|scope| {
        let building = scope.spawn(|| toolbox.ensure(&[Tool::Etcd]));
        while fs_err::read_to_string(&pids)
            .unwrap_or_default()
            .split_whitespace()
            .count()
            < 2
        {
            std::thread::yield_now();
        }
        interrupted.store(true, Ordering::Relaxed);
        building.join().unwrap().unwrap_err()
    });
    assert_eq!(failure.kind, Kind::Interrupted);
    for pid in fs_err::read_to_string(&pids).unwrap().split_whitespace() {
        assert!(fake::goes_away(pid), "process {pid} is still there");
    }
    assert_eq!(entries(&fake), ["etcd.lock", "etcd.log"]);
    // The next one begins anew.
    fake.go(GO, "");
    fake.toolbox(&[]).ensure(&[Tool::Etcd]).unwrap();
}

/// How often this process has a file open; enough for any caller where there is no /proc to ask.
fn openings(path: &Utf8Path) -> usize {
    let Ok(files) = fs_err::read_dir("/proc/self/fd") else {
        return usize::MAX;
    };
    files
        .filter_map(|file| fs_err::read_link(file.ok()?.path()).ok())
        .filter(|target| target == path.as_std_path())
        .count()
}

#[test]
fn of_two_builders_one_waits_and_takes_what_the_other_built() {
    let fake = Fake::new();
    // The build lasts until both builders have come to the lock.
    let root = shell_words::quote(fake.root().as_str()).into_owned();
    fake.go(GO, &format!("while [ ! -e {root}/go-on ]; do sleep 0.01; done"));
    let first = fake.toolbox(&[]);
    let second = fake.toolbox(&[]);
    let lock = fake.cache().join("etcd.lock");
    std::thread::scope(|scope| {
        let one = scope.spawn(|| first.ensure_one(Tool::Etcd).unwrap());
        while fake.builds().is_empty() {
            std::thread::yield_now();
        }
        let holder = fs_err::read_to_string(&lock).unwrap();
        assert_eq!(holder.trim(), format!("process {}", std::process::id()));
        let two = scope.spawn(|| second.ensure_one(Tool::Etcd).unwrap());
        while openings(&lock) < 2 {
            std::thread::yield_now();
        }
        fs_err::write(fake.root().join("go-on"), "").unwrap();
        assert_eq!(one.join().unwrap(), two.join().unwrap());
    });
    assert_eq!(fake.builds().len(), 1);
}

#[test]
fn a_builder_that_waits_can_be_interrupted() {
    let fake = Fake::new();
    fake.go(GO, "");
    fs_err::create_dir_all(fake.cache()).unwrap();
    let lock = fs_err::File::create(fake.cache().join("etcd.lock"))
        .unwrap()
        .into_file();
    lock.lock().unwrap();
    let interrupted = Arc::new(AtomicBool::new(true));
    let failure = fake
        .toolbox_for("1.35.4", &[], &interrupted)
        .ensure(&[Tool::Etcd])
        .unwrap_err();
    assert_eq!(failure.kind, Kind::Interrupted);
    assert_eq!(fake.builds(), [""; 0]);
    drop(lock);
}

#[test]
fn a_cache_that_can_only_be_read_still_serves() {
    let fake = Fake::new();
    fake.go(GO, "");
    let built = fake.toolbox(&[]).ensure_one(Tool::Etcd).unwrap();
    let read_only = std::fs::Permissions::from_mode(0o555);
    fs_err::set_permissions(fake.cache(), read_only).unwrap();
    let again = fake.toolbox(&[]).ensure_one(Tool::Etcd);
    fs_err::set_permissions(fake.cache(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(again.unwrap(), built);
}

#[test]
fn forgetting_removes_what_is_ours_and_nothing_else_and_not_under_a_builder() {
    let fake = Fake::new();
    fake.go(GO, "");
    let toolbox = fake.toolbox(&[]);
    toolbox.forget().unwrap();
    toolbox.ensure(&[Tool::Etcd]).unwrap();
    let foreign = ["etcd-notes", "photos", "etcd-0123456789abcdefg"];
    for name in foreign {
        fs_err::create_dir(fake.cache().join(name)).unwrap();
    }
    let kept = toolbox.kept().unwrap();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.iter().all(|(_, size)| *size > 0), "{kept:?}");
    let lock = fs_err::File::create(fake.cache().join("kluctl.lock"))
        .unwrap()
        .into_file();
    lock.lock().unwrap();
    assert_eq!(toolbox.forget().unwrap_err().kind, Kind::Locked);
    assert_eq!(toolbox.kept().unwrap(), kept);
    // Closing alone would not do while a process that another test starts still has the descriptor.
    lock.unlock().unwrap();
    toolbox.forget().unwrap();
    assert_eq!(toolbox.kept().unwrap(), []);
    for name in foreign {
        assert!(fake.cache().join(name).exists(), "{name}");
    }
}

//! What a bootstrap with ClusterAPI meets: records that lead elsewhere, endpoints that never answer, providers that
//! refuse (at servers of the test's own on loopback), second runs, parts without what comes before them.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fakes::Fakes;
use crate::support::{Checkout, Ran, copy_folder, finish, repository, until, write};

fn act(checkout: &Checkout, action: &Value) -> Ran {
    finish(
        checkout
            .command(&["probe", "action", &action.to_string()])
            .spawn()
            .unwrap(),
    )
}

fn fails(ran: &Ran, code: i32, parts: &[&str]) {
    assert_eq!(ran.code, Some(code), "{ran}");
    for part in parts {
        assert!(ran.stderr.contains(part), "`{part}` is not said: {ran}");
    }
}

#[test]
fn a_record_that_leads_elsewhere_is_a_missed_deadline_that_says_where() {
    let checkout = Checkout::tiny();
    write(
        &checkout.root.join(".xtask/address.json"),
        &json!({"address": "192.0.2.1"}).to_string(),
    );
    let record = json!({"name": "localhost", "address": ".xtask/address.json", "ttl": 60});
    let ran = act(
        &checkout,
        &json!({"wait": {"until": {"resolves": record}, "deadline": 1, "every": 1}}),
    );
    fails(&ran, 7, &["`localhost` leads to 127.0.0.1, not to 192.0.2.1"]);
}

#[test]
fn an_endpoint_that_never_answers_is_a_missed_deadline_that_names_it() {
    let checkout = Checkout::tiny();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = act(
        &checkout,
        &json!({"wait": {"until": {"listens": {"at": closed.to_string()}}, "deadline": 1, "every": 1}}),
    );
    fails(&ran, 7, &[&format!("`{closed}` does not answer")]);
}

#[test]
fn a_host_that_slept_through_a_deadline_looks_once_more_before_it_gives_up() {
    let checkout = Checkout::tiny();
    let wait = json!({"wait": {"until": {"exists": ".xtask/there"}, "deadline": 2, "every": 1}});
    let child = checkout
        .command(&["probe", "action", &wait.to_string()])
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let started = Instant::now();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    write(&checkout.root.join(".xtask/there"), "");
    until("the deadline", || started.elapsed() > Duration::from_secs(4));
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let ran = finish(child);
    assert_eq!(ran.code, Some(0), "{ran}");
}

/// Answers every request with this status and body until the test ends.
fn provider(status: u16, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            let text = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            reader.get_mut().write_all(text.as_bytes()).unwrap();
        }
    });
    api
}

fn preflight(hetzner: &str, cloudflare: &str) -> Value {
    json!({"do": {"providerPreflight": {
        "requirements": ".xtask/wanted.json",
        "hetzner": {"api": hetzner, "token": "HCLOUD_TOKEN", "deadline": 1},
        "zone": {"name": "api.zone.example",
            "at": {"api": cloudflare, "zone": "zone.example", "token": "CLOUDFLARE_API_TOKEN", "deadline": 1}},
    }}})
}

/// A checkout whose fake sops and age-keygen know nothing, for no test here decrypts anything.
fn checkout() -> Checkout {
    let mut checkout = Checkout::tiny();
    let wanted = json!({"cluster": "c", "regions": ["hel1"], "sshKeys": ["key"],
        "machines": [{"serverType": "cx23", "image": "node"}]});
    write(&checkout.root.join(".xtask/wanted.json"), &wanted.to_string());
    for (tool, says) in [("SOPS", "sops 3.13.2"), ("AGE_KEYGEN", "v1.3.1")] {
        let path = checkout.base().join("bin").join(tool.to_lowercase());
        write(&path, &format!("#!/bin/sh\necho '{says}'\n"));
        fs_err::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        checkout.variables.insert(format!("XTASK_{tool}"), path.into_string());
    }
    checkout
}

#[test]
fn what_provider_and_zone_lack_is_one_report_before_anything_is_made_and_no_token_is_in_it() {
    let mut checkout = checkout();
    checkout
        .variables
        .insert("HCLOUD_TOKEN".into(), "canary-of-hetzner".into());
    checkout
        .variables
        .insert("CLOUDFLARE_API_TOKEN".into(), "canary-of-cloudflare".into());
    let hetzner = provider(403, r#"{"error": {"message": "insufficient permissions"}}"#);
    let cloudflare = provider(200, r#"{"success": true, "result": []}"#);
    let ran = act(&checkout, &preflight(&hetzner, &cloudflare));
    fails(
        &ran,
        5,
        &[
            "`c` cannot be made; nothing was created",
            "answered 403: insufficient permissions",
            "`HCLOUD_TOKEN` needs Read & Write",
            "the token sees no zone `zone.example`",
        ],
    );
    assert!(!format!("{ran}").contains("canary"), "{ran}");
}

#[test]
fn tokens_that_nobody_has_are_both_named_with_how_to_give_them() {
    let ran = act(&checkout(), &preflight("http://127.0.0.1:9", "http://127.0.0.1:9"));
    fails(
        &ran,
        5,
        &[
            "`HCLOUD_TOKEN` is not set",
            "`CLOUDFLARE_API_TOKEN` is not set",
            "export",
        ],
    );
}

/// A checkout in which every part of the way can be planned.
fn planned() -> Fakes {
    let fakes = Fakes::new();
    for folder in ["k3s-capi/capi", "vanixiets/full"] {
        let golden = format!("k8s/golden/{folder}");
        copy_folder(&repository().join(&golden), &fakes.checkout.root.join(&golden));
    }
    fakes
}

#[test]
fn a_second_run_of_the_same_cluster_is_locked_out_and_told_by_whom() {
    let fakes = planned();
    let locks = fakes.checkout.root.join(".xtask/locks");
    fs_err::create_dir_all(&locks).unwrap();
    write(
        &locks.join("capi-vanixiets.json"),
        r#"{"pid": 4242, "since": "2026-01-01T00:00:00Z", "goal": "capi bootstrap vanixiets"}"#,
    );
    let held = fs_err::File::create(locks.join("capi-vanixiets.lock")).unwrap();
    rustix::fs::flock(held.file(), rustix::fs::FlockOperation::LockExclusive).unwrap();
    fails(
        &fakes.run(&["capi", "down", "--yes"]),
        9,
        &["pid 4242", "capi bootstrap vanixiets"],
    );
}

#[test]
fn the_bootstrap_cluster_is_not_removed_before_the_pivot_is_recorded() {
    let fakes = planned();
    fails(
        &fakes.run(&["capi", "down", "--yes"]),
        8,
        &["no pivot is recorded as done", "capi status"],
    );
}

#[test]
fn a_part_of_the_way_without_what_comes_before_it_says_everything_that_is_missing_at_once() {
    let ran = planned().run(&["capi", "move", "--yes"]);
    fails(
        &ran,
        5,
        &[
            "nothing was changed",
            "no kubeconfig of bootstrap cluster `k3s-capi`",
            "no kubeconfig of `vanixiets`",
            "clusterctl",
        ],
    );
}

#[test]
fn a_cluster_that_the_config_know_is_not_bootstrapped_a_second_time_from_another_host() {
    let fakes = planned();
    let config = fakes.checkout.root.join("platform.json");
    let mut platform: Value = serde_json::from_str(&fs_err::read_to_string(&config).unwrap()).unwrap();
    platform["clusters"]["vanixiets"]["uid"] = "11111111-2222-3333-4444-555555555555".into();
    fs_err::write(&config, platform.to_string()).unwrap();
    fails(
        &fakes.run(&["capi", "bootstrap", "--yes"]),
        8,
        &["11111111", "would build a second cluster", "hint:"],
    );
}

#[test]
fn a_status_of_nothing_is_unhealthy_and_says_how_to_begin() {
    let ran = planned().run(&["capi", "status", "--json"]);
    fails(&ran, 10, &["capi bootstrap"]);
    let status: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&status["lives"], &status["healthy"]),
        (&json!("unknown"), &json!(false))
    );
    assert_eq!(status["bootstrapMayGo"], false);
}

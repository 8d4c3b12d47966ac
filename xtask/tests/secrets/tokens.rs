//! A token that no variable holds, taken from the checkout's own secrets by a step that speaks to a provider: at a
//! server of the test's own on loopback.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;

const CANARY: &str = "canary-of-cloudflare";

/// A zone without records on loopback, and the tokens that its requests carried.
fn zone() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&tokens);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let line = line.trim_end().to_owned();
                if line.is_empty() {
                    break;
                }
                lines.push(line);
            }
            let token = lines
                .iter()
                .find_map(|line| line.strip_prefix("authorization: Bearer "));
            seen.lock().unwrap().extend(token.map(ToOwned::to_owned));
            let result = if lines[0].starts_with("GET /zones?") {
                json!([{"id": "z"}])
            } else {
                json!([])
            };
            let body = json!({"success": true, "result": result}).to_string();
            let text = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            reader.get_mut().write_all(text.as_bytes()).unwrap();
        }
    });
    (api, tokens)
}

fn set_record(checkout: &Checkout, api: &str) -> Ran {
    let action = json!({"do": {"setRecord": {
        "record": {"name": "api.zone.example", "address": ".xtask/address.json", "ttl": 60},
        "at": {"api": api, "zone": "zone.example", "token": "CLOUDFLARE_API_TOKEN", "deadline": 5},
    }}});
    checkout.run(&["probe", "action", &action.to_string()])
}

#[test]
fn a_token_that_no_variable_holds_is_taken_from_the_secrets_of_the_checkout_and_two_are_refused() {
    let mut checkout = taken_over();
    write(
        &checkout.root.join(".xtask/address.json"),
        r#"{"address": "192.0.2.1"}"#,
    );
    let (api, tokens) = zone();

    let nothing = set_record(&checkout, &api);
    assert_eq!(nothing.code, Some(5), "{nothing}");
    for part in [
        "`CLOUDFLARE_API_TOKEN` is not set",
        "secrets set cert-manager-cloudflare",
    ] {
        assert!(nothing.stderr.contains(part), "`{part}` is not said: {nothing}");
    }
    assert!(tokens.lock().unwrap().is_empty());

    let ran = fed(
        &checkout,
        &["secrets", "set", "cert-manager-cloudflare", "--stdin"],
        CANARY,
    );
    assert_eq!(ran.code, Some(0), "{ran}");
    let ran = set_record(&checkout, &api);
    assert_eq!(ran.code, Some(0), "{ran}");
    let seen = tokens.lock().unwrap().clone();
    assert!(seen.len() == 3 && seen.iter().all(|token| token == CANARY), "{seen:?}");
    assert!(!format!("{ran}").contains(CANARY), "{ran}");

    let ran = fed(
        &checkout,
        &["secrets", "set", "external-dns-cloudflare", "--stdin"],
        "another",
    );
    assert_eq!(ran.code, Some(0), "{ran}");
    let two = set_record(&checkout, &api);
    assert_eq!(two.code, Some(5), "{two}");
    assert!(
        two.stderr.contains("cert-manager-cloudflare") && two.stderr.contains("external-dns-cloudflare"),
        "{two}"
    );
    assert!(!format!("{two}").contains(CANARY), "{two}");

    checkout
        .variables
        .insert("CLOUDFLARE_API_TOKEN".into(), "of-the-environment".into());
    let ran = set_record(&checkout, &api);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(tokens.lock().unwrap().last().unwrap(), "of-the-environment");
}

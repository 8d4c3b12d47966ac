//! Sets the record of a control-plane endpoint through Cloudflare's interface, and looks where a name leads.
//! The token goes into one header and nowhere else.

use std::net::{IpAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use serde_json::{Value, json};

use super::Interrupt;
use crate::failure::{Failure, Kind, Result};
use crate::plan::dns::{Cloudflare, Record};
use crate::ui::seconds;

/// Longest answer that is read.
const ANSWER: u64 = 1 << 20;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(20);

/// How long is waited when an overloaded interface does not say for how long.
const BACK_OFF: Duration = Duration::from_secs(5);

/// Where a record has to lead.
pub(super) fn address(root: &Utf8Path, record: &Record) -> Result<IpAddr> {
    let found = super::later(root, &record.address, "/address")?;
    let text = super::text_of(&found);
    text.parse()
        .map_err(|error| Failure::unexpected(format!("`{text}` is no address: {error}")))
}

/// Sets the record so that it leads to the address alone; returns what was done. Set already, nothing is written.
pub(super) fn set(
    to: &Cloudflare,
    token: &str,
    name: &str,
    address: IpAddr,
    ttl: u32,
    interrupt: &Interrupt,
) -> Result<String> {
    if name != to.zone && !name.ends_with(&format!(".{}", to.zone)) {
        return Err(Failure::config(format!("`{name}` does not lie in zone `{}`", to.zone))
            .hinted("the facts name both: `domain` and the cluster's `apiHost`"));
    }
    crate::network::allow(
        crate::network::host_of(&to.api),
        &format!("set a record through `{}`", to.api),
    )?;
    let api = Api {
        agent: ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST))
            .build()
            .into(),
        to,
        token,
        end: Instant::now() + Duration::from_secs(to.deadline),
        interrupt,
    };
    let zones = api.ask("GET", &format!("/zones?name={}", to.zone), None)?;
    let zone = match zones.as_array().map(Vec::as_slice) {
        Some([zone]) => zone.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(),
        _ => {
            return Err(
                Failure::new(Kind::Step, format!("the token sees no zone `{}`, or several", to.zone))
                    .hinted("is it the zone of the facts, and has the token Zone:Read on it?"),
            );
        }
    };
    let records = format!("/zones/{zone}/dns_records");
    let found = api.ask("GET", &format!("{records}?type=A&name={name}"), None)?;
    let found = found.as_array().cloned().unwrap_or_default();
    let wanted = json!({"type": "A", "name": name, "content": address.to_string(), "ttl": ttl, "proxied": false});
    let id = |record: &Value| record.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    // One record is kept; others of the name would lead half of all clients elsewhere.
    let same = found
        .iter()
        .find(|record| record.get("content") == Some(&json!(address.to_string())));
    let kept = same.or(found.first());
    for record in &found {
        if kept.is_some_and(|kept| id(kept) != id(record)) {
            api.ask("DELETE", &format!("{records}/{}", id(record)), None)?;
        }
    }
    let as_wanted = |record: &Value| {
        ["content", "ttl", "proxied"]
            .iter()
            .all(|key| record.get(key) == wanted.get(key))
    };
    match kept {
        Some(record) if as_wanted(record) => Ok(format!("`{name}` leads to {address} already")),
        Some(record) => {
            api.ask("PUT", &format!("{records}/{}", id(record)), Some(&wanted))?;
            Ok(format!("`{name}` now leads to {address}"))
        }
        None => {
            api.ask("POST", &records, Some(&wanted))?;
            Ok(format!("`{name}` was made and leads to {address}"))
        }
    }
}

/// One conversation with the interface.
struct Api<'a> {
    agent: ureq::Agent,
    to: &'a Cloudflare,
    token: &'a str,
    end: Instant,
    interrupt: &'a Interrupt,
}

impl Api<'_> {
    /// The `result` of an answer. An overloaded interface is asked again when it says, until the deadline.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let address = format!("{}{path}", self.to.api);
        loop {
            let (status, wait, text) = self.request(method, &address, body)?;
            let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
            match status {
                200..=299 => return Ok(answer.get("result").cloned().unwrap_or(Value::Null)),
                429 | 500..=599 => {
                    let wait = wait.unwrap_or(BACK_OFF);
                    if Instant::now() + wait > self.end {
                        return Err(Failure::new(
                            Kind::Timeout,
                            format!(
                                "`{method} {path}` was answered {status}, and it would be {} until the next try",
                                seconds(wait)
                            ),
                        )
                        .hinted("nothing was changed by this call; `--resume` tries again"));
                    }
                    self.interrupt.sleep(wait);
                    if self.interrupt.is_set() {
                        return Err(Failure::new(Kind::Interrupted, "interrupted"));
                    }
                }
                _ => {
                    let said = answer
                        .pointer("/errors/0/message")
                        .and_then(Value::as_str)
                        .unwrap_or("it gives no reason")
                        .to_owned();
                    let failure = Failure::new(Kind::Step, format!("`{method} {path}` was answered {status}: {said}"));
                    return Err(if matches!(status, 401 | 403) {
                        failure.hinted(format!(
                            "the token in `{}` needs DNS:Edit and Zone:Read on `{}`",
                            self.to.token, self.to.zone
                        ))
                    } else {
                        failure
                    });
                }
            }
        }
    }

    fn request(&self, method: &str, address: &str, body: Option<&Value>) -> Result<(u16, Option<Duration>, String)> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(address)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json");
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(Kind::Step, format!("`{}` cannot be reached: {error}", self.to.api))
        };
        let answered = match body {
            Some(body) => self
                .agent
                .run(request.body(body.to_string()).map_err(|error| failed(&error))?),
            None => self.agent.run(request.body(()).map_err(|error| failed(&error))?),
        };
        let mut response = answered.map_err(|error| failed(&error))?;
        let wait = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let status = response.status().as_u16();
        let text = response
            .body_mut()
            .with_config()
            .limit(ANSWER)
            .read_to_string()
            .map_err(|error| failed(&error))?;
        Ok((status, wait, text))
    }
}

/// Whether something listens at `host:port`.
pub(super) fn listens(at: &str) -> Result<(), std::io::Error> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "it has no address");
    for socket in at.to_socket_addrs()? {
        match std::net::TcpStream::connect_timeout(&socket, Duration::from_secs(3)) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Why a name does not lead to this address alone; none when it does.
pub(super) fn leads_elsewhere(name: &str, address: IpAddr) -> Option<String> {
    let found: Vec<IpAddr> = match (name, 0).to_socket_addrs() {
        Ok(found) => found.map(|found| found.ip()).filter(IpAddr::is_ipv4).collect(),
        Err(error) => return Some(format!("`{name}` does not resolve yet: {error}")),
    };
    if found.iter().all(|found| *found == address) && !found.is_empty() {
        return None;
    }
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    Some(format!("`{name}` leads to {}, not to {address}", found.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;

    /// A server of our own on loopback: answers in turn, and gives back what it was asked.
    fn serve(answers: Vec<(u16, &'static str, String)>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for (status, header, body) in answers {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream);
                let mut first = String::new();
                reader.read_line(&mut first).unwrap();
                let mut length = 0;
                let mut authorized = false;
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    let line = line.trim_end().to_ascii_lowercase();
                    if line.is_empty() {
                        break;
                    }
                    authorized |= line == "authorization: bearer token-of-a-test";
                    if let Some(value) = line.strip_prefix("content-length: ") {
                        length = value.parse().unwrap();
                    }
                }
                assert!(authorized, "a request came without the token");
                let mut content = vec![0; length];
                reader.read_exact(&mut content).unwrap();
                asked.push(format!(
                    "{} {}",
                    first.trim_end().trim_end_matches(" HTTP/1.1"),
                    String::from_utf8(content).unwrap()
                ));
                let answer = format!(
                    "HTTP/1.1 {status} X\r\n{header}content-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
            }
            asked
        });
        (api, server)
    }

    fn result(value: Value) -> (u16, &'static str, String) {
        (200, "", json!({"success": true, "result": value}).to_string())
    }

    fn set_on(api: String, deadline: u64) -> Result<String> {
        let to = Cloudflare {
            api,
            zone: "zone.example".into(),
            token: "TOKEN".into(),
            deadline,
        };
        let address = "192.0.2.1".parse().unwrap();
        set(
            &to,
            "token-of-a-test",
            "api.zone.example",
            address,
            60,
            &Interrupt::default(),
        )
    }

    #[test]
    fn a_record_that_is_missing_is_made() {
        let (api, server) = serve(vec![result(json!([{"id": "z"}])), result(json!([])), result(json!({}))]);
        set_on(api, 10).unwrap();
        let asked = server.join().unwrap();
        assert_eq!(asked[0], "GET /zones?name=zone.example ");
        assert_eq!(asked[1], "GET /zones/z/dns_records?type=A&name=api.zone.example ");
        assert!(asked[2].starts_with("POST /zones/z/dns_records {"), "{asked:?}");
        assert!(asked[2].contains(r#""content":"192.0.2.1""#), "{asked:?}");
    }

    #[test]
    fn a_record_that_is_right_is_not_written_and_a_second_one_goes() {
        let right = json!({"id": "a", "content": "192.0.2.1", "ttl": 60, "proxied": false});
        let wrong = json!({"id": "b", "content": "192.0.2.9", "ttl": 60, "proxied": false});
        let (api, server) = serve(vec![
            result(json!([{"id": "z"}])),
            result(json!([wrong, right])),
            result(json!({})),
        ]);
        assert!(set_on(api, 10).unwrap().contains("already"));
        assert_eq!(server.join().unwrap()[2], "DELETE /zones/z/dns_records/b ");
    }

    #[test]
    fn a_token_without_rights_is_told_which_it_needs() {
        let refused = json!({"success": false, "errors": [{"message": "Authentication error"}]});
        let (api, server) = serve(vec![(403, "", refused.to_string())]);
        let failure = set_on(api, 10).unwrap_err();
        server.join().unwrap();
        assert_eq!(failure.kind, Kind::Step);
        assert!(
            failure.chain().contains("403: Authentication error"),
            "{}",
            failure.chain()
        );
        assert!(failure.hints[0].contains("DNS:Edit"), "{:?}", failure.hints);
    }

    #[test]
    fn an_overloaded_interface_is_asked_again_when_it_says() {
        let (api, server) = serve(vec![
            (429, "retry-after: 1\r\n", "{}".into()),
            result(json!([{"id": "z"}])),
            result(json!([])),
            result(json!({})),
        ]);
        let started = Instant::now();
        set_on(api, 10).unwrap();
        assert!(started.elapsed() >= Duration::from_secs(1), "it was asked too early");
        assert_eq!(server.join().unwrap().len(), 4);
    }

    #[test]
    fn an_interface_that_is_overloaded_for_longer_than_the_deadline_is_a_timeout() {
        let (api, server) = serve(vec![(429, "retry-after: 600\r\n", "{}".into())]);
        assert_eq!(set_on(api, 10).unwrap_err().kind, Kind::Timeout);
        server.join().unwrap();
    }

    #[test]
    fn a_zone_that_the_token_does_not_see_is_no_zone() {
        let (api, server) = serve(vec![result(json!([]))]);
        let failure = set_on(api, 10).unwrap_err();
        server.join().unwrap();
        assert!(
            failure.chain().contains("no zone `zone.example`"),
            "{}",
            failure.chain()
        );
    }

    #[test]
    fn a_name_outside_its_zone_is_refused_before_anything_is_asked() {
        let to = Cloudflare {
            api: "http://127.0.0.1:1".into(),
            zone: "other.example".into(),
            token: "TOKEN".into(),
            deadline: 1,
        };
        let failure = set(
            &to,
            "t",
            "api.zone.example",
            "192.0.2.1".parse().unwrap(),
            60,
            &Interrupt::default(),
        )
        .unwrap_err();
        assert_eq!(failure.kind, Kind::Config);
    }

    #[test]
    fn a_name_that_leads_elsewhere_says_where() {
        assert_eq!(leads_elsewhere("localhost", "127.0.0.1".parse().unwrap()), None);
        let wrong = leads_elsewhere("localhost", "192.0.2.1".parse().unwrap()).unwrap();
        assert_eq!(wrong, "`localhost` leads to 127.0.0.1, not to 192.0.2.1");
    }
}

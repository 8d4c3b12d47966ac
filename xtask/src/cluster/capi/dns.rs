//! Sets the record of a control-plane endpoint through Cloudflare's interface, and looks where a name leads.
//! It chooses no address: where a record has to lead stands in a file of the run.

use std::net::{IpAddr, ToSocketAddrs};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::look::text;
use crate::base::failure::{Failure, Kind, Result};
use crate::base::http::{Api, query};
use crate::base::process::Interrupt;
use crate::base::ui::Status;
use crate::call::Caller;

/// Sets a record through Cloudflare's interface; a record that is right is left alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SetRecord {
    /// The record.
    pub record: Record,
    /// Where it stands.
    pub at: Cloudflare,
}

impl SetRecord {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let Self { record, at } = self;
        let address = address(on.root, record)?;
        let token = on.secret(&at.token)?;
        let done = set(at, &token, &record.name, address, record.ttl, on.interrupt)?;
        on.ui.status(Status::Checked, done);
        Ok(())
    }
}

/// Tells a person which record to set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AskForRecord {
    /// The record.
    pub record: Record,
}

impl AskForRecord {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let Record { name, address, ttl } = &self.record;
        let address = on.read_or_null(address)?;
        on.ui.status(
            Status::Checked,
            format!("set this record: {name}. {ttl} IN A {}", text(&address, "/address")),
        );
        Ok(())
    }
}

/// An A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Record {
    /// Its name.
    pub name: String,
    /// JSON file `{ "address": "…" }` that says where it has to lead.
    pub address: Utf8PathBuf,
    /// Seconds that others may keep it.
    pub ttl: u32,
}

/// Cloudflare's interface to a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Cloudflare {
    /// Base address of the interface.
    pub api: String,
    /// Name of the zone.
    pub zone: String,
    /// Variable that holds the token.
    pub token: String,
    /// Seconds for all tries together.
    pub deadline: u64,
}

/// Where a record has to lead.
pub(crate) fn address(root: &Utf8Path, record: &Record) -> Result<IpAddr> {
    let found = crate::base::files::later(root, &record.address, "/address")?;
    let text = crate::base::files::text_of(&found);
    text.parse()
        .map_err(|error| Failure::unexpected(format!("`{text}` is no address: {error}")))
}

/// Sets the record so that it leads to the address alone; returns what was done. Set already, nothing is written.
fn set(to: &Cloudflare, token: &str, name: &str, address: IpAddr, ttl: u32, interrupt: &Interrupt) -> Result<String> {
    if let Some(outside) = outside(to, name) {
        return Err(
            Failure::config(outside).hinted("the platform config names both: `domain` and the cluster's `apiHost`")
        );
    }
    let api = conversation(to, token, interrupt);
    let records = records(&api, to)?;
    let found = of_name(&api, &records, name)?;
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

fn conversation<'a>(to: &'a Cloudflare, token: &'a str, interrupt: &'a Interrupt) -> Api<'a> {
    let rights = format!(
        "the token in `{}` needs DNS:Edit and Zone:Read on `{}`",
        to.token, to.zone
    );
    Api::new(&to.api, token, rights, to.deadline, interrupt)
}

/// The path of a zone's records.
fn records(api: &Api<'_>, to: &Cloudflare) -> Result<String> {
    let zones = api.ask("GET", &format!("/zones?name={}", query(&to.zone)), None)?;
    let zones = zones.get("result").and_then(Value::as_array).map(Vec::as_slice);
    match zones {
        Some([zone]) => {
            let id = zone.get("id").and_then(Value::as_str).unwrap_or_default();
            // Cloudflare says what the token may do; where it does not say, the first write shows it.
            let permissions = zone.get("permissions").and_then(Value::as_array);
            if permissions.is_some_and(|all| !all.contains(&json!("#dns_records:edit"))) {
                return Err(Failure::new(
                    Kind::Step,
                    format!("the token in `{}` may not edit the records of `{}`", to.token, to.zone),
                )
                .hinted("it needs DNS:Edit and Zone:Read there"));
            }
            Ok(format!("/zones/{id}/dns_records"))
        }
        _ => Err(
            Failure::new(Kind::Step, format!("the token sees no zone `{}`, or several", to.zone))
                .hinted("is it the zone of the platform config, and has the token Zone:Read on it?"),
        ),
    }
}

/// The A records of a name. Another kind of record for it would lead some of its readers elsewhere, and is nobody's
/// to remove but a person's.
fn of_name(api: &Api<'_>, records: &str, name: &str) -> Result<Vec<Value>> {
    let found = api.ask("GET", &format!("{records}?name={}", query(name)), None)?;
    let found = found
        .get("result")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let kind = |record: &Value| {
        record
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let others: Vec<String> = found
        .iter()
        .filter(|record| ["AAAA", "CNAME"].contains(&kind(record).as_str()))
        .map(|record| {
            let content = record.get("content").and_then(Value::as_str).unwrap_or_default();
            format!(
                "`{name}` has a record {} {content}, which leads elsewhere",
                kind(record)
            )
        })
        .collect();
    if others.is_empty() {
        return Ok(found.into_iter().filter(|record| kind(record) == "A").collect());
    }
    Err(
        Failure::many(Kind::Step, "the record of the endpoint cannot be set", &others)
            .hinted("remove it at the provider of the zone: the endpoint is one A record"),
    )
}

/// Everything that would keep a record from being set, a sentence each, or why that cannot be said; it asks and
/// changes nothing.
pub(super) fn obstacles(to: &Cloudflare, token: &str, name: &str, interrupt: &Interrupt) -> Result<Vec<String>> {
    if let Some(outside) = outside(to, name) {
        return Ok(vec![outside]);
    }
    let api = conversation(to, token, interrupt);
    records(&api, to).and_then(|records| of_name(&api, &records, name))?;
    Ok(Vec::new())
}

fn outside(to: &Cloudflare, name: &str) -> Option<String> {
    let inside = name == to.zone || name.ends_with(&format!(".{}", to.zone));
    (!inside).then(|| format!("`{name}` does not lie in zone `{}`", to.zone))
}

/// Whether something listens at `host:port`.
pub(crate) fn listens(at: &str) -> Result<(), std::io::Error> {
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
pub(crate) fn leads_elsewhere(name: &str, address: IpAddr) -> Option<String> {
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
    use std::time::Instant;

    use super::*;
    use crate::base::http::server::{Answer, Server, TOKEN, serve as serve_by};

    /// Answers in turn.
    fn serve(answers: Vec<Answer>) -> Server {
        serve_by(move |_, before| answers[before].clone())
    }

    fn result(value: Value) -> Answer {
        (200, "", json!({"success": true, "result": value}).to_string())
    }

    fn set_on(api: &str, deadline: u64) -> Result<String> {
        let to = Cloudflare {
            api: api.to_owned(),
            zone: "zone.example".into(),
            token: "TOKEN".into(),
            deadline,
        };
        let address = "192.0.2.1".parse().unwrap();
        set(&to, TOKEN, "api.zone.example", address, 60, &Interrupt::default())
    }

    #[test]
    fn a_record_that_is_missing_is_made() {
        let server = serve(vec![result(json!([{"id": "z"}])), result(json!([])), result(json!({}))]);
        set_on(&server.api, 10).unwrap();
        let asked = server.asked();
        assert_eq!(asked[0], "GET /zones?name=zone.example ");
        assert_eq!(asked[1], "GET /zones/z/dns_records?name=api.zone.example ");
        assert!(asked[2].starts_with("POST /zones/z/dns_records {"), "{asked:?}");
        assert!(asked[2].contains(r#""content":"192.0.2.1""#), "{asked:?}");
    }

    #[test]
    fn a_record_that_is_right_is_not_written_and_a_second_one_goes() {
        let right = json!({"id": "a", "type": "A", "content": "192.0.2.1", "ttl": 60, "proxied": false});
        let wrong = json!({"id": "b", "type": "A", "content": "192.0.2.9", "ttl": 60, "proxied": false});
        let server = serve(vec![
            result(json!([{"id": "z"}])),
            result(json!([wrong, right])),
            result(json!({})),
        ]);
        assert!(set_on(&server.api, 10).unwrap().contains("already"));
        assert_eq!(server.asked()[2], "DELETE /zones/z/dns_records/b ");
    }

    #[test]
    fn a_token_without_rights_is_told_which_it_needs() {
        let refused = json!({"success": false, "errors": [{"message": "Authentication error"}]});
        let server = serve(vec![(403, "", refused.to_string())]);
        let failure = set_on(&server.api, 10).unwrap_err();
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
        let server = serve(vec![
            (429, "retry-after: 1\r\n", "{}".into()),
            result(json!([{"id": "z"}])),
            result(json!([])),
            result(json!({})),
        ]);
        let started = Instant::now();
        set_on(&server.api, 10).unwrap();
        assert!(started.elapsed() >= Duration::from_secs(1), "it was asked too early");
        assert_eq!(server.asked().len(), 4);
    }

    #[test]
    fn an_interface_that_is_overloaded_for_longer_than_the_deadline_is_a_timeout() {
        let server = serve(vec![(429, "retry-after: 600\r\n", "{}".into())]);
        assert_eq!(set_on(&server.api, 10).unwrap_err().kind, Kind::Timeout);
    }

    #[test]
    fn a_zone_that_the_token_does_not_see_is_no_zone() {
        let server = serve(vec![result(json!([]))]);
        let failure = set_on(&server.api, 10).unwrap_err();
        assert!(
            failure.chain().contains("no zone `zone.example`"),
            "{}",
            failure.chain()
        );
    }

    #[test]
    fn a_token_that_may_only_read_is_told_before_anything_is_written() {
        let zone = json!([{"id": "z", "permissions": ["#zone:read", "#dns_records:read"]}]);
        let server = serve(vec![result(zone)]);
        let failure = set_on(&server.api, 10).unwrap_err();
        assert!(failure.chain().contains("may not edit"), "{}", failure.chain());
        assert_eq!(server.asked().len(), 1);
    }

    #[test]
    fn a_record_of_another_kind_is_named_and_left_alone() {
        let old = json!({"id": "a", "type": "AAAA", "content": "2001:db8::1"});
        let server = serve(vec![result(json!([{"id": "z"}])), result(json!([old]))]);
        let failure = set_on(&server.api, 10).unwrap_err();
        assert!(failure.chain().contains("AAAA 2001:db8::1"), "{}", failure.chain());
        assert!(server.asked().iter().all(|asked| asked.starts_with("GET ")));
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

//! Asks a provider's interface over HTTP that speaks JSON. The token goes into one header and nowhere else.
//! It knows no provider; what an answer means is the caller's business.

pub mod unix;

use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::process::Interrupt;
use crate::base::failure::{Failure, Kind, Result};
use crate::base::offline;
use crate::base::text::seconds;

/// What does not stand for itself in a part of an address (RFC 3986, section 2.3).
pub(crate) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Longest answer that is read.
const ANSWER: u64 = 4 << 20;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(20);

/// How long is waited when an overloaded interface does not say for how long: a floor, for who hammers it is
/// locked out for longer.
const BACK_OFF: Duration = Duration::from_secs(5);

/// One conversation with an interface.
pub(crate) struct Api<'a> {
    agent: ureq::Agent,
    base: &'a str,
    token: &'a str,
    rights: String,
    end: Instant,
    interrupt: &'a Interrupt,
}

impl<'a> Api<'a> {
    /// A conversation that ends `deadline` seconds from now; `rights` says what a refused token lacks.
    pub(crate) fn new(base: &'a str, token: &'a str, rights: String, deadline: u64, interrupt: &'a Interrupt) -> Self {
        Self {
            agent: ureq::Agent::config_builder()
                .http_status_as_error(false)
                .timeout_global(Some(REQUEST))
                .build()
                .into(),
            base,
            token,
            rights,
            end: Instant::now() + Duration::from_secs(deadline),
            interrupt,
        }
    }

    /// What the interface answers. An overloaded one is asked again when it says, until the deadline; what was sent
    /// and may have been carried out is not sent twice.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        offline::allow(offline::host_of(self.base), &format!("ask `{}`", self.base))?;
        let address = format!("{}{path}", self.base);
        loop {
            let (status, wait, text) = self.request(method, &address, body)?;
            let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
            match status {
                200..=299 => return Ok(answer),
                429 => self.pause(method, path, status, wait)?,
                500..=599 if method != "POST" => self.pause(method, path, status, wait)?,
                _ => {
                    let failure = Failure::new(
                        Kind::Step,
                        format!("`{method} {path}` was answered {status}: {}", reason(&answer)),
                    );
                    return Err(if matches!(status, 401 | 403) {
                        failure.hinted(&self.rights)
                    } else {
                        failure
                    });
                }
            }
        }
    }

    fn pause(&self, method: &str, path: &str, status: u16, wait: Option<Duration>) -> Result<()> {
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
        Ok(())
    }

    fn request(&self, method: &str, address: &str, body: Option<&Value>) -> Result<(u16, Option<Duration>, String)> {
        offline::allow(offline::host_of(self.base), &format!("ask `{}`", self.base))?;
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(address)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json");
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(Kind::Step, format!("`{}` cannot be reached: {error}", self.base))
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

/// Why a request was refused: Cloudflare lists errors, Hetzner has one.
fn reason(answer: &Value) -> &str {
    ["/errors/0/message", "/error/message"]
        .iter()
        .find_map(|pointer| answer.pointer(pointer)?.as_str())
        .unwrap_or("it gives no reason")
}

/// A value as it may stand in a query.
pub(crate) fn query(value: &str) -> String {
    utf8_percent_encode(value, RESERVED).to_string()
}

/// A server of our own on loopback, for tests: it answers by method and path, and keeps what it was asked.
#[cfg(test)]
pub(crate) mod server {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    /// The token that every request has to carry.
    pub(crate) const TOKEN: &str = "token-of-a-test";

    /// Status, header lines that end in CRLF, body.
    pub(crate) type Answer = (u16, &'static str, String);

    /// Where it listens, and what it was asked: `METHOD path body`, one a request.
    pub(crate) struct Server {
        pub(crate) api: String,
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Server {
        /// Requests in their order.
        pub(crate) fn asked(&self) -> Vec<String> {
            self.asked.lock().unwrap().clone()
        }
    }

    /// Answers requests until the test ends; `answer` gets `METHOD path` and how many requests came before.
    pub(crate) fn serve(answer: impl Fn(&str, usize) -> Answer + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
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
                    authorized |= line == format!("authorization: bearer {TOKEN}");
                    if let Some(value) = line.strip_prefix("content-length: ") {
                        length = value.parse().unwrap();
                    }
                }
                let mut content = vec![0; length];
                reader.read_exact(&mut content).unwrap();
                let request = first.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
                let before = seen.lock().unwrap().len();
                let (status, header, body) = if authorized {
                    answer(&request, before)
                } else {
                    (
                        401,
                        "",
                        r#"{"error":{"message":"the request came without the token"}}"#.to_owned(),
                    )
                };
                seen.lock()
                    .unwrap()
                    .push(format!("{request} {}", String::from_utf8(content).unwrap()));
                let text = format!(
                    "HTTP/1.1 {status} X\r\n{header}content-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                reader.get_mut().write_all(text.as_bytes()).unwrap();
            }
        });
        Server { api, asked }
    }
}

#[cfg(test)]
mod tests {
    use super::server::{TOKEN, serve};
    use super::*;

    fn ask(base: &str, method: &str, deadline: u64) -> Result<Value> {
        let interrupt = Interrupt::default();
        Api::new(base, TOKEN, "rights".into(), deadline, &interrupt).ask(method, "/x", None)
    }

    #[test]
    fn what_may_have_been_carried_out_is_not_sent_twice() {
        let server = serve(|_, _| (500, "", "{}".into()));
        assert_eq!(ask(&server.api, "POST", 60).unwrap_err().kind, Kind::Step);
        assert_eq!(server.asked().len(), 1);
    }

    #[test]
    fn an_interface_that_does_not_say_how_long_is_left_alone_for_five_seconds() {
        let server = serve(|_, before| (if before == 0 { 503 } else { 200 }, "", "{}".into()));
        let started = Instant::now();
        ask(&server.api, "GET", 60).unwrap();
        assert!(started.elapsed() >= BACK_OFF);
        assert_eq!(server.asked().len(), 2);
    }

    #[test]
    fn a_refused_token_is_told_what_it_lacks() {
        let server = serve(|_, _| (403, "", r#"{"error":{"message":"insufficient permissions"}}"#.into()));
        let failure = ask(&server.api, "GET", 60).unwrap_err();
        assert!(failure.chain().contains("403: insufficient permissions"));
        assert_eq!(failure.hints, ["rights"]);
    }

    #[test]
    fn a_query_holds_any_value() {
        assert_eq!(query("caph-image-name==a b"), "caph-image-name%3D%3Da%20b");
    }
}

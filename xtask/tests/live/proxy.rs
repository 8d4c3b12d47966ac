//! A proxy of our own on loopback between the tools and an API server: it counts, and does what a bad network does.
//! `kubectl proxy` stands behind it and holds the credentials, so that everything here is plain HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::world::{For, World, child};

/// The path below which everything is served, as by those who serve many clusters at one address.
const BELOW: &str = "/clusters/one";

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is passed on.
    Pass,
    /// 429, to be asked again after a second.
    TooMany,
    /// 500.
    Broken,
    /// The connection is reset after the server has done what it was asked.
    Lost,
    /// The connection is reset before anything is done.
    Reset,
    /// The answer comes a byte at a time.
    Slow,
}

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) at: Instant,
}

impl Asked {
    pub(crate) fn writes(&self) -> bool {
        self.method != "GET" && self.method != "HEAD"
    }
}

type Judge = Box<dyn FnMut(&Asked) -> Fate + Send>;

/// The proxy; it ends with what stands behind it.
pub(crate) struct Proxy {
    port: u16,
    behind: Child,
    asked: Arc<Mutex<Vec<Asked>>>,
    judge: Arc<Mutex<Judge>>,
}

impl Proxy {
    pub(crate) fn before(world: &World, part: For) -> Self {
        let kubectl = world.path_of_kubectl();
        let mut behind = child(&kubectl)
            .arg(format!(
                "--kubeconfig={}/.xtask/kubeconfigs/{}.yaml",
                world.root,
                part.cluster()
            ))
            .arg(format!("--context={}", part.cluster()))
            .args(["proxy", "--port=0", "--address=127.0.0.1"])
            .env("KUBERC", "off")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(behind.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let upstream = line.trim().rsplit(' ').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            behind,
            asked: Arc::default(),
            judge: Arc::new(Mutex::new(Box::new(|_| Fate::Pass))),
        };
        let (asked, judge) = (Arc::clone(&proxy.asked), Arc::clone(&proxy.judge));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (asked, judge, upstream) = (Arc::clone(&asked), Arc::clone(&judge), upstream.clone());
                std::thread::spawn(move || {
                    // A client that goes away is none of the proxy's business.
                    let _gone = serve(&stream, &upstream, &asked, &judge);
                });
            }
        });
        proxy
    }

    /// A kubeconfig that leads through the proxy.
    pub(crate) fn kubeconfig(&self, context: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {context}\nclusters:\n- name: {context}\n  cluster:\n    \
             server: http://127.0.0.1:{}{BELOW}\ncontexts:\n- name: {context}\n  context: {{cluster: {context}, user: \
             {context}}}\nusers:\n- name: {context}\n  user: {{}}\n",
            self.port
        )
    }

    /// Decides over requests from now on, and forgets those of before.
    pub(crate) fn judge(&self, judge: impl FnMut(&Asked) -> Fate + Send + 'static) {
        *self.judge.lock().unwrap() = Box::new(judge);
        self.asked.lock().unwrap().clear();
    }

    /// Every request since then.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _gone = self.behind.kill();
        let _reaped = self.behind.wait();
    }
}

/// One request a connection: the head says so to both sides.
fn serve(client: &TcpStream, upstream: &str, asked: &Mutex<Vec<Asked>>, judge: &Mutex<Judge>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    let mut length = 0;
    let mut chunked = false;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line == "\r\n" {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        chunked |= lower.starts_with("transfer-encoding: chunked");
        if !lower.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    // A body whose length nobody knew is handed on as it came, up to the empty chunk.
    while chunked && !body.ends_with(b"0\r\n\r\n") {
        let mut byte = [0];
        reader.read_exact(&mut byte)?;
        body.push(byte[0]);
    }
    if !head.contains(&format!(" {BELOW}/")) {
        return refuse(client, "404 Not Found", "", "NotFound", 404);
    }
    let head = head.replacen(BELOW, "", 1);
    let mut words = head.split(' ');
    let request = Asked {
        method: words.next().unwrap_or_default().to_owned(),
        path: words.next().unwrap_or_default().to_owned(),
        at: Instant::now(),
    };
    asked.lock().unwrap().push(request.clone());
    let fate = (judge.lock().unwrap())(&request);
    let mut client = client;
    match fate {
        Fate::Reset => return client.shutdown(Shutdown::Both),
        Fate::TooMany => {
            return refuse(
                client,
                "429 Too Many Requests",
                "Retry-After: 1\r\n",
                "TooManyRequests",
                429,
            );
        }
        Fate::Broken => return refuse(client, "500 Internal Server Error", "", "InternalError", 500),
        Fate::Pass | Fate::Lost | Fate::Slow => {}
    }
    let mut server = TcpStream::connect(upstream)?;
    server.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
    server.write_all(&body)?;
    if fate == Fate::Slow {
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        for byte in answer {
            client.write_all(&[byte])?;
            std::thread::sleep(Duration::from_millis(20));
        }
        return Ok(());
    }
    if fate == Fate::Lost {
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        return client.shutdown(Shutdown::Both);
    }
    std::io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Both)
}

fn refuse(mut client: &TcpStream, status: &str, headers: &str, reason: &str, code: u16) -> std::io::Result<()> {
    let body = format!(
        r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"by the proxy","reason":"{reason}","code":{code}}}"#
    );
    client.write_all(
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    )?;
    client.shutdown(Shutdown::Both)
}

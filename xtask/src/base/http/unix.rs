//! HTTP over a Unix socket, as ureq speaks it over everything else. It knows nobody who answers there.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

/// Bytes that one answer may have.
const ANSWER: u64 = 512 << 20;

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// For how long to wait until the next try, where it says so.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) text: String,
}

/// Whoever asks at one socket. It waits without limit: who answers there is a child with a deadline of its own.
pub(crate) struct Client(ureq::Agent);

impl Client {
    /// Keeps this many connections open.
    pub(crate) fn of(socket: &Utf8Path, connections: usize) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .proxy(None)
            .build();
        Self(ureq::Agent::with_parts(config, Door(socket.to_owned()), Nowhere))
    }

    /// Asks for what stands at a path, with its query.
    pub(crate) fn get(&self, path: &str) -> std::io::Result<Answer> {
        let mut response = self
            .0
            .get(format!("http://localhost{path}"))
            .call()
            .map_err(Error::into_io)?;
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        Ok(Answer {
            status: response.status().as_u16(),
            retry_after,
            text: response
                .body_mut()
                .with_config()
                .limit(ANSWER)
                .read_to_string()
                .map_err(Error::into_io)?,
        })
    }
}

#[derive(Debug)]
struct Door(Utf8PathBuf);

impl Connector for Door {
    type Out = Socket;

    fn connect(&self, details: &ConnectionDetails<'_>, _chained: Option<()>) -> Result<Option<Socket>, Error> {
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Socket {
            stream: UnixStream::connect(&self.0)?,
            buffers,
        }))
    }
}

/// No name is looked up.
#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut none = self.empty();
        none.push(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
        Ok(none)
    }
}

#[derive(Debug)]
struct Socket {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        Ok(self.stream.write_all(&self.buffers.output()[..amount])?)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        loop {
            match self.stream.read(self.buffers.input_append_buf()) {
                Ok(amount) => {
                    self.buffers.input_appended(amount);
                    return Ok(amount > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn is_open(&mut self) -> bool {
        true
    }
}

//! Whether this process may leave loopback: `--offline` says no, for it and for every tool it starts.
//! It opens no socket; whoever does asks here first.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::failure::{Failure, Result};

/// One for the process, as its sockets are.
static OFFLINE: AtomicBool = AtomicBool::new(false);

/// Where nothing listens: a tool that asks a proxy for a way out is refused at once, on loopback.
const NOWHERE: &str = "http://127.0.0.1:9";

/// From now on everything but loopback is a failure.
pub fn stay_on_loopback() {
    OFFLINE.store(true, Ordering::SeqCst);
}

/// Whether everything but loopback is a failure.
pub fn is_offline() -> bool {
    OFFLINE.load(Ordering::SeqCst)
}

/// Lets a connection to this host go on; `what` completes "this would". A name that is no address would have to be
/// resolved, and that alone is a socket.
pub fn allow(host: &str, what: &str) -> Result<()> {
    if !is_offline() || is_loopback(host) {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "this would {what}, and `--offline` keeps every socket on loopback"
    ))
    .hinted("leave `--offline` out, and `XTASK_OFFLINE` unset, where the network may be used"))
}

/// Whether a host of an address or a URL is this one's loopback.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The host of a URL or of `host:port`.
pub fn host_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let rest = rest.split(['/', '?']).next().unwrap_or(rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    match rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((inner, _)) => inner,
        None => rest.rsplit_once(':').map_or(rest, |(host, _)| host),
    }
}

/// Variables that keep a tool on loopback: each asks a proxy that is not there, Go and Nix are told outright. None
/// where the network may be used.
pub fn variables() -> Vec<(&'static str, String)> {
    if !is_offline() {
        return Vec::new();
    }
    let mut variables = Vec::new();
    for name in [
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ] {
        variables.push((name, NOWHERE.to_owned()));
    }
    for name in ["no_proxy", "NO_PROXY"] {
        variables.push((name, "127.0.0.1,::1,localhost".to_owned()));
    }
    let nix = std::env::var("NIX_CONFIG").unwrap_or_default();
    variables.push((
        "NIX_CONFIG",
        format!("{nix}\nsubstitute = false\ndownload-attempts = 1\n"),
    ));
    variables.push(("GOPROXY", "off".to_owned()));
    // Our own verbs, where a plan calls them.
    variables.push(("XTASK_OFFLINE", "true".to_owned()));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_from_its_scheme_port_and_path() {
        for (address, host) in [
            ("https://127.0.0.1:6443", "127.0.0.1"),
            ("https://[::1]:6443/api", "::1"),
            ("https://user@api.example.org:6443/x?y", "api.example.org"),
            ("api.example.org:443", "api.example.org"),
            ("api.example.org", "api.example.org"),
        ] {
            assert_eq!(host_of(address), host);
        }
    }

    #[test]
    fn only_loopback_is_loopback() {
        for host in ["127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "0.0.0.0",
            "::",
            "10.0.0.1",
            "127.0.0.1.example.org",
            "localhost.example.org",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}

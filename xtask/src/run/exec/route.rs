//! Asks the routes of a local cluster as a browser of this host would: by name, and verified.
//! It reads no answer but its status, and asks no proxy.

use std::net::ToSocketAddrs;
use std::time::Duration;

use camino::Utf8Path;

use crate::base::failure::{Failure, Kind, Result, ResultExt};
use crate::base::offline;
use crate::cluster::vm::route::Routes;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(5);

/// Why routes are not reached, one reason an address; empty when each is.
pub(super) fn unreached(file: &Utf8Path) -> Result<Vec<String>> {
    let routes: Routes = serde_json::from_str(&fs_err::read_to_string(file)?)
        .or_fail(Kind::Unexpected, format!("`{file}` describes no routes"))?;
    let mut tls = ureq::tls::TlsConfig::builder();
    if let Some(root) = &routes.root {
        let root = ureq::tls::Certificate::from_pem(root.as_bytes())
            .map_err(|error| Failure::config(format!("the root certificate cannot be used: {error}")))?;
        tls = tls.root_certs(ureq::tls::RootCerts::new_with_certs(&[root]));
    }
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        // The cluster is behind this host's own loopback.
        .proxy(None)
        .timeout_global(Some(REQUEST))
        .tls_config(tls.build())
        .build()
        .into();
    let mut reasons = Vec::new();
    for address in &routes.addresses {
        offline::allow(offline::host_of(address), &format!("ask `{address}`"))?;
        reasons.extend(why_not(&agent, address));
    }
    Ok(reasons)
}

fn why_not(agent: &ureq::Agent, address: &str) -> Option<String> {
    let host = offline::host_of(address);
    // Which port is asked for decides nothing.
    if !(host, 443)
        .to_socket_addrs()
        .is_ok_and(|mut found| found.next().is_some())
    {
        return Some(format!(
            "`{host}` has no address here: many routers drop answers with loopback addresses; `127.0.0.1 {host}` in /etc/hosts mends it"
        ));
    }
    match agent.get(address).call() {
        Ok(answer) => match answer.status().as_u16() {
            // No backend yet, or no route.
            status @ (404 | 500..) => Some(format!("`{address}` is answered {status}")),
            _ => None,
        },
        Err(error) => Some(format!("`{address}` is not reached: {error}")),
    }
}

//! Asks probes. Asking only reads, and what cannot be asked does not hold.

use std::time::Duration;

use camino::Utf8Path;

use super::Runner;
use crate::base::failure::{Failure, Kind, Result};
use crate::base::files::later;
use crate::base::offline;
use crate::base::process::Ended;
use crate::call::Caller;
use crate::cluster::capi::dns;
use crate::command::Command;
use crate::plan::{Probe, VmIs};

/// What a look at the world found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whether the probe holds.
    pub holds: bool,
    /// Why it does not, the most telling first.
    pub reasons: Vec<String>,
}

impl Seen {
    fn yes() -> Self {
        Self {
            holds: true,
            reasons: Vec::new(),
        }
    }

    fn no(reason: impl Into<String>) -> Self {
        Self {
            holds: false,
            reasons: vec![reason.into()],
        }
    }

    fn from(holds: bool, reason: impl FnOnce() -> String) -> Self {
        if holds { Self::yes() } else { Self::no(reason()) }
    }
}

impl Runner<'_> {
    /// Whether a probe holds now.
    pub fn holds(&self, probe: &Probe) -> Result<bool> {
        Ok(self.look(probe)?.holds)
    }

    /// Whether a probe holds now, and if not why.
    pub fn look(&self, probe: &Probe) -> Result<Seen> {
        Ok(match probe {
            Probe::Exists(path) => Seen::from(self.root.join(path).exists(), || format!("`{path}` does not exist")),
            Probe::Says { file, pointer, value } => {
                let said = says(self.root, file, pointer);
                Seen::from(said.as_ref() == Some(value), || {
                    format!("`{file}` does not say `{value}` at `{pointer}`")
                })
            }
            Probe::Succeeds(command) => match self.ask(command)? {
                Ok(_) => Seen::yes(),
                Err(reason) => Seen::no(reason),
            },
            Probe::Prints {
                command,
                pointer,
                value,
            } => match self.read_json(command)? {
                Ok(printed) => Seen::from(printed.pointer(pointer) == Some(value), || {
                    format!("`{}` does not print `{value}` at `{pointer}`", command.tool.program())
                }),
                Err(reason) => Seen::no(reason),
            },
            Probe::Gone {
                command,
                pointer,
                value,
            } => match self.ask(command)? {
                Ok(printed) => {
                    let here = serde_json::from_slice::<serde_json::Value>(&printed)
                        .ok()
                        .filter(|object| object.pointer(pointer).and_then(serde_json::Value::as_str) == Some(value));
                    match here {
                        None => Seen::yes(),
                        Some(object) => Seen {
                            holds: false,
                            reasons: std::iter::once(format!("`{value}` is still there"))
                                .chain(crate::live::diagnostics::going(&object))
                                .collect(),
                        },
                    }
                }
                Err(reason) => Seen::no(reason),
            },
            Probe::Gates { command, gates } => match self.read_json(command)? {
                Ok(list) => {
                    let reasons = crate::live::gate::open_gates(gates, &list);
                    Seen {
                        holds: reasons.is_empty(),
                        reasons,
                    }
                }
                Err(reason) => Seen::no(reason),
            },
            Probe::Capi { command, want } => match self.ask(command)? {
                Ok(bytes) => {
                    // Nothing found and `--ignore-not-found` print nothing at all.
                    let list = if bytes.trim_ascii().is_empty() {
                        serde_json::Value::Null
                    } else {
                        serde_json::from_slice(&bytes)
                            .map_err(|error| Failure::unexpected(format!("kubectl printed no JSON: {error}")))?
                    };
                    let reasons = crate::cluster::capi::open_wants(want, &list);
                    Seen {
                        holds: reasons.is_empty(),
                        reasons,
                    }
                }
                Err(reason) => Seen::no(reason),
            },
            Probe::Resolves(record) => {
                offline::allow(&record.name, &format!("look up `{}`", record.name))?;
                let elsewhere = dns::leads_elsewhere(&record.name, dns::address(self.root, record)?);
                Seen::from(elsewhere.is_none(), || elsewhere.unwrap_or_default())
            }
            Probe::Listens { at } => {
                offline::allow(offline::host_of(at), &format!("connect to `{at}`"))?;
                match dns::listens(at) {
                    Ok(()) => Seen::yes(),
                    Err(error) => Seen::no(format!("`{at}` does not answer: {error}")),
                }
            }
            Probe::Answers { address, page } => {
                offline::allow(offline::host_of(address), &format!("connect to `{address}`"))?;
                let answer = answer_of(address, page);
                Seen::from(matches!(answer, Ok(200)), || match answer {
                    Ok(code) => format!("`{address}{page}` answers {code}"),
                    Err(error) => format!("`{address}` does not answer: {error}"),
                })
            }
            Probe::Vm { list, instance, is } => match self.ask(list)? {
                Ok(listing) => vm_is(&String::from_utf8_lossy(&listing), instance, *is)?,
                Err(reason) => {
                    return Err(
                        Failure::new(Kind::Step, format!("nothing is known of VM `{instance}`: {reason}")).hinted(
                            "nothing was done to it; see what `limactl list` says, then run the same command again",
                        ),
                    );
                }
            },
            Probe::Clock { command, within } => match self.ask(command)? {
                Ok(bytes) => near(&String::from_utf8_lossy(&bytes), *within),
                Err(reason) => Seen::no(reason),
            },
            Probe::Routes(file) => {
                let reasons = super::route::unreached(&self.root.join(file))?;
                Seen {
                    holds: reasons.is_empty(),
                    reasons,
                }
            }
            Probe::Alive(folder) => {
                let dead = crate::cluster::embedded::dead_processes(&self.root.join(folder))?;
                Seen {
                    holds: dead.is_empty(),
                    reasons: dead,
                }
            }
            Probe::All(probes) => {
                let mut reasons = Vec::new();
                for probe in probes {
                    let seen = self.look(probe)?;
                    if !seen.holds {
                        reasons.extend(seen.reasons);
                        break;
                    }
                }
                Seen {
                    holds: reasons.is_empty(),
                    reasons,
                }
            }
            Probe::Any(probes) => {
                let mut reasons = Vec::new();
                let mut holds = false;
                for probe in probes {
                    let seen = self.look(probe)?;
                    if seen.holds {
                        holds = true;
                        break;
                    }
                    reasons.extend(seen.reasons);
                }
                Seen { holds, reasons }
            }
            Probe::Not(probe) => {
                let seen = self.look(probe)?;
                Seen::from(!seen.holds, || "still holds".to_owned())
            }
        })
    }
}

impl Caller<'_> {
    /// Runs a command that only reads: what it printed, or why it failed. An interrupt is a failure.
    fn ask(&self, command: &Command) -> Result<Result<Vec<u8>, String>> {
        let outcome = self.capture(command)?;
        Ok(match outcome.ended {
            Ended::Code(0) => Ok(outcome.captured),
            Ended::Interrupted => return Err(Failure::new(Kind::Interrupted, "interrupted")),
            _ => Err(format!(
                "`{}` failed: {}",
                command.tool.program(),
                outcome.tail.last().map_or("it said nothing", String::as_str)
            )),
        })
    }

    /// Runs a command that only reads: the JSON it printed, or why it failed.
    pub fn read_json(&self, command: &Command) -> Result<Result<serde_json::Value, String>> {
        Ok(self.ask(command)?.and_then(|bytes| {
            serde_json::from_slice(&bytes)
                .map_err(|error| format!("`{}` printed no JSON: {error}", command.tool.program()))
        }))
    }
}

/// Whether a VM is as asked, by Lima's listing of all.
fn vm_is(listing: &str, name: &str, is: VmIs) -> Result<Seen> {
    let found = crate::cluster::vm::instance(listing, name)?;
    let status = found.as_ref().map(|instance| instance.status.as_str());
    let holds = match is {
        VmIs::There => found.is_some(),
        VmIs::Gone => found.is_none(),
        VmIs::Running => status == Some("Running"),
        VmIs::Stopped => status == Some("Stopped"),
    };
    let errors = found
        .as_ref()
        .map(|instance| instance.errors.as_slice())
        .unwrap_or_default();
    let said = if errors.is_empty() {
        String::new()
    } else {
        format!(", and Lima says: {}", errors.join("; "))
    };
    Ok(Seen::from(holds, || match status {
        None => format!("there is no VM `{name}`"),
        Some("") => format!("Lima says nothing of the state of VM `{name}`{said}"),
        Some(status) => format!("VM `{name}` is `{status}`{said}"),
    }))
}

/// The status code of a plain HTTP answer.
fn answer_of(address: &str, page: &str) -> Result<u16, ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(2)))
        .build()
        .into();
    Ok(agent.get(format!("http://{address}{page}")).call()?.status().as_u16())
}

fn near(printed: &str, within: u64) -> Seen {
    let here = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |duration| duration.as_secs());
    match printed.trim().parse::<u64>() {
        Ok(there) => Seen::from(there.abs_diff(here) <= within, || {
            let side = if there < here { "behind" } else { "ahead of" };
            format!("its clock is {} s {side} this host's", there.abs_diff(here))
        }),
        Err(_) => Seen::no(format!("`{}` is no time", printed.trim())),
    }
}

fn says(root: &Utf8Path, file: &Utf8Path, pointer: &str) -> Option<serde_json::Value> {
    later(root, file, pointer).ok()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::answer_of;

    #[test]
    fn a_page_is_judged_by_its_own_status_and_nothing_else_is_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            ["200 OK", "503 No", "302 Found\r\nlocation: /elsewhere"].map(|status| {
                let mut reader = BufReader::new(listener.accept().unwrap().0);
                let mut lines = Vec::new();
                while lines.last().is_none_or(|line: &String| line != "\r\n") {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    lines.push(line);
                }
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
                lines.swap_remove(0)
            })
        });
        assert_eq!(
            [200, 503, 302].map(|_| answer_of(&address, "/healthz").unwrap()),
            [200, 503, 302]
        );
        assert_eq!(server.join().unwrap(), ["GET /healthz HTTP/1.1\r\n"; 3]);
        assert!(answer_of(&address, "/healthz").is_err(), "nothing listens any more");
    }
}

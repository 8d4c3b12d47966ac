//! What a VM's host forwards, by Lima's rules: the first that fits what listens in the VM decides.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::Config;

/// First word of the process that hands connections on.
pub(crate) const WORD: &str = "__forward";

/// The rules that Colima writes into each VM's file: what listens everywhere in the VM listens everywhere on
/// the host.
pub(crate) fn of_colima() -> Vec<Value> {
    vec![
        json!({"guestIP": "0.0.0.0", "guestIPMustBeZero": true, "hostIP": "0.0.0.0", "proto": "tcp"}),
        json!({"guestIP": "127.0.0.1", "hostIP": "127.0.0.1", "proto": "tcp"}),
    ]
}

/// What comes before the rules of every instance below a home.
pub(crate) fn overrides(home: &Path) -> Vec<Value> {
    let Ok(text) = fs_err::read_to_string(home.join("_config/override.yaml")) else {
        return Vec::new();
    };
    let text: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let value: Value = serde_json::from_str(&text).unwrap();
    value["portForwards"].as_array().cloned().unwrap_or_default()
}

/// Where on the host a listener of the VM is reached; none where it is not.
fn host_address(rules: &[Value], ip: &str, port: u16) -> Option<(String, u16)> {
    let everywhere = ip == "0.0.0.0" || ip == "::";
    for rule in rules {
        let vm_ip = rule["guestIP"].as_str().unwrap_or("127.0.0.1");
        let exact = rule["guestIPMustBeZero"].as_bool().unwrap_or(vm_ip == "0.0.0.0");
        let bounds = |one: &str, range: &str| match (rule[one].as_u64(), rule[range].as_array()) {
            (Some(port), _) => Some((port, port)),
            (None, Some(range)) => Some((range[0].as_u64().unwrap(), range[1].as_u64().unwrap())),
            (None, None) => None,
        };
        let (first, last) = bounds("guestPort", "guestPortRange").unwrap_or((1, 65535));
        let fits = everywhere || ip == vm_ip || (vm_ip == "0.0.0.0" && !exact);
        if !fits || !(first..=last).contains(&u64::from(port)) || rule["proto"] == "udp" {
            continue;
        }
        if rule["ignore"] == true {
            if everywhere && vm_ip != "0.0.0.0" {
                continue;
            }
            return None;
        }
        let (host_first, _) = bounds("hostPort", "hostPortRange").unwrap_or((first, last));
        let host_port = u16::try_from(u64::from(port) + host_first - first).unwrap();
        return Some((rule["hostIP"].as_str().unwrap_or("127.0.0.1").to_owned(), host_port));
    }
    None
}

/// Begins to forward what listens in the VM. Where the host's port is taken, only a log would tell. What is
/// forwarded, and the process that does it.
pub(crate) fn begin(config: &Config, name: &str, rules: &[Value]) -> (Vec<String>, Option<u32>) {
    let mut rules = rules.to_vec();
    // Lima's own last rule.
    rules.push(json!({"guestIP": "127.0.0.1"}));
    let (mut open, mut pairs) = (Vec::new(), Vec::new());
    for (ip, port, target) in config.listens.get(name).into_iter().flatten() {
        let Some((host_ip, host_port)) = host_address(&rules, ip, *port) else {
            continue;
        };
        // No test opens a port of this machine to others; that it would is told.
        let listen = format!("127.0.0.1:{host_port}");
        if within_a_second(|| TcpListener::bind(&listen).is_ok()) {
            open.push(format!("{host_ip}:{host_port}"));
            pairs.extend([listen, target.clone()]);
        }
    }
    if pairs.is_empty() {
        return (open, None);
    }
    #[expect(
        clippy::disallowed_methods,
        clippy::zombie_processes,
        reason = "it plays the host agent, which outlives the call that starts it"
    )]
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .arg(WORD)
        .args(&pairs)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    for listen in pairs.iter().step_by(2) {
        assert!(
            within_a_second(|| TcpStream::connect(listen).is_ok()),
            "fake: nothing forwards {listen}"
        );
    }
    (open, Some(child.id()))
}

/// A process that was killed a moment ago may hold its port for another moment.
fn within_a_second(holds: impl Fn() -> bool) -> bool {
    (0..50).any(|_| {
        holds() || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            false
        }
    })
}

/// Hands connections on, pair by pair of addresses, until it is killed.
pub(crate) fn serve(pairs: &[String]) -> ! {
    let threads: Vec<_> = pairs
        .chunks(2)
        .map(|pair| {
            let listener = TcpListener::bind(&pair[0]).unwrap();
            let target = pair[1].clone();
            std::thread::spawn(move || accept(&listener, &target))
        })
        .collect();
    for thread in threads {
        let _never = thread.join();
    }
    unreachable!("they accept for ever")
}

fn accept(listener: &TcpListener, target: &str) {
    loop {
        let Ok((near, _)) = listener.accept() else { continue };
        let Ok(far) = TcpStream::connect(target) else { continue };
        let (mut near_in, mut far_out) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let (mut near_out, mut far_in) = (near, far);
        std::thread::spawn(move || {
            let _closed = std::io::copy(&mut near_in, &mut far_out);
            let _closed = far_out.shutdown(std::net::Shutdown::Write);
        });
        std::thread::spawn(move || {
            let _closed = std::io::copy(&mut far_in, &mut near_out);
            let _closed = near_out.shutdown(std::net::Shutdown::Write);
        });
    }
}

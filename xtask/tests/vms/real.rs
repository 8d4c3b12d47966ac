//! A real VM, where a person asks for one and the host can carry it: minutes, gigabytes, and a build by Nix.

use std::io::Write;

use crate::world::Run;

/// The variable that asks for it.
const ASKED: &str = "XTASK_TEST_VM";

/// Why no real VM is tried here; none when it is.
fn why_not() -> Option<String> {
    let asked = std::env::var(ASKED).unwrap_or_default();
    let programs: &[&str] = match asked.as_str() {
        "lima" => &["limactl", "qemu-img", "nix"],
        "colima" => &["colima", "lima", "limactl", "qemu-img", "nix"],
        _ => return Some(format!("`{ASKED}=lima` or `{ASKED}=colima` asks for it")),
    };
    if !cfg!(target_os = "linux") {
        return Some("it is for Linux with KVM".to_owned());
    }
    if fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_err()
    {
        return Some("`/dev/kvm` cannot be opened".to_owned());
    }
    if rustix::process::geteuid().is_root() {
        return Some("Lima does not run as root".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    programs
        .iter()
        .find(|program| !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
        .map(|program| format!("no `{program}` on PATH"))
}

fn xtask(words: &[&str]) -> Run {
    #[expect(clippy::disallowed_methods, reason = "the binary itself is what is tried")]
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(words)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn a_real_vm_comes_up_and_goes_where_a_person_asks_for_one() {
    if let Some(reason) = why_not() {
        // Past the test harness, which would keep it to itself.
        writeln!(std::io::stderr(), "a real VM was not tried: {reason}").unwrap();
        return;
    }
    let backend = std::env::var(ASKED).unwrap();
    // The smaller stage: Gateway API, Cilium, DNS and cert-manager.
    let cluster = ["--cluster", "k3s-capi"];
    let up = [["local-up", "--backend", &backend].as_slice(), &cluster].concat();
    xtask(&up).ends(0);
    xtask(&["ssh", "--profile", "k3s-capi", "--", "test", "-e", "/etc/NIXOS"]).ends(0);
    xtask(&[["local-status"].as_slice(), &cluster].concat()).ends(0);
    xtask(&up).ends(0).says("are as they should be");
    xtask(&[["local-down", "--delete", "--yes"].as_slice(), &cluster].concat()).ends(0);
}

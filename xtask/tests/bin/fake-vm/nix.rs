//! `nix`: builds an image and a system that are files with the right heads, and copies nothing.

use std::path::Path;

use crate::{Config, GIB, die, say};

/// The disks of the system that it builds, as a VM that has them says it.
pub(crate) const DISKS: &str = "/dev/disk/by-label/nixos /;/dev/disk/by-label/ESP /boot;";

pub(crate) fn run(config: &Config, words: &[String]) -> u8 {
    let words: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| {
            ![
                "--extra-experimental-features",
                "nix-command flakes",
                "--no-write-lock-file",
                "--print-build-logs",
            ]
            .contains(word)
        })
        .collect();
    match words.as_slice() {
        ["build", attribute, "--out-link", link] => build(config, attribute.trim_start_matches(".#"), link),
        ["copy", "--no-check-sigs", "--to", to, _] => {
            assert!(to.starts_with("ssh-ng://lima-"), "fake: {to}");
            let options = std::env::var("NIX_SSHOPTS").unwrap();
            assert!(
                options.starts_with("-F ") && options.ends_with("/ssh.config"),
                "fake: {options}"
            );
            0
        }
        ["eval", "--json", _] => die("error: the fake evaluates nothing"),
        ["eval", "--raw", _] => {
            print!("6.12.30");
            0
        }
        [.., "show-config", "--json"] => say(r#"{"builders":{"value":""}}"#),
        other => die(&format!("fake: nix {other:?}")),
    }
}

fn build(config: &Config, attribute: &str, link: &str) -> u8 {
    let target = match config.projects.get(attribute) {
        Some(project) => project.clone(),
        None if attribute.ends_with("k3s-local-image") => {
            let number = config.fault("image").unwrap_or(0);
            let folder = config.log.with_extension(format!("image{number}"));
            fs_err::create_dir_all(&folder).unwrap();
            let mut content = b"QFI\xfb\0\0\0\x03".to_vec();
            content.resize(24, 0);
            content.extend((4 * GIB).to_be_bytes());
            content.extend(number.to_be_bytes());
            fs_err::write(folder.join("nixos.qcow2"), content).unwrap();
            folder
        }
        None if attribute.ends_with("system.build.toplevel") => {
            let folder = config.log.with_extension("system");
            fs_err::create_dir_all(&folder).unwrap();
            fs_err::write(folder.join("kernel"), "").unwrap();
            fs_err::create_dir_all(folder.join("etc")).unwrap();
            let fstab = DISKS.replace(';', " auto x-initrd.mount 0 1\n");
            fs_err::write(
                folder.join("etc/fstab"),
                format!("# made by Nix\n{fstab}tmpfs /tmp tmpfs - 0 0\n"),
            )
            .unwrap();
            folder
        }
        None => return die(&format!("error: flake does not provide attribute '{attribute}'")),
    };
    // As Nix does.
    fs_err::create_dir_all(Path::new(link).parent().unwrap()).unwrap();
    let _absent_is_fine = fs_err::remove_file(link);
    std::os::unix::fs::symlink(target, link).unwrap();
    0
}

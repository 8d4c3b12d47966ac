//! The root certificate of a local cluster in the host's trust store, only when a person asks.

use camino::Utf8PathBuf;

use crate::cluster::access::Access;
use crate::cluster::vm::trust::RootCertificate;
use crate::command::{Command, Tool};
use crate::plan::{Action, Effect, Plan, Section, Step};

/// How a host trusts a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// The keychain of the user, on macOS.
    Keychain,
    /// `/usr/local/share/ca-certificates`, on Debian and its kin.
    Debian,
    /// `/etc/pki/ca-trust/source/anchors`, on Fedora and its kin.
    Fedora,
}

/// Whether the certificate is put in or taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It becomes trusted.
    Install,
    /// It is no longer trusted.
    Remove,
}

/// Where the certificate is kept.
pub fn certificate(access: &Access) -> Utf8PathBuf {
    access.folder.join("root_ca.crt")
}

impl Store {
    fn file(self, access: &Access) -> String {
        let folder = match self {
            Self::Debian => "/usr/local/share/ca-certificates",
            Self::Fedora | Self::Keychain => "/etc/pki/ca-trust/source/anchors",
        };
        format!("{folder}/xtask-{}.crt", access.cluster)
    }

    fn commands(self, change: Change, access: &Access) -> Vec<Command> {
        let path = certificate(access);
        let sudo = |words: &[&str]| Command::new(Tool::Sudo).args(words.iter().copied());
        match (self, change) {
            (Self::Keychain, Change::Install) => vec![
                // The user's own domain: no administrator is needed, and nobody else is touched.
                Command::new(Tool::Security)
                    .args(["add-trusted-cert", "-r", "trustRoot", "-p", "ssl"])
                    .arg(path),
            ],
            (Self::Keychain, Change::Remove) => {
                vec![Command::new(Tool::Security).arg("remove-trusted-cert").arg(path)]
            }
            (Self::Debian | Self::Fedora, change) => {
                let file = self.file(access);
                let first = match change {
                    Change::Install => sudo(&["install", "-m", "0644"]).arg(path).arg(file),
                    Change::Remove => sudo(&["rm", "-f", &file]),
                };
                let refresh = match self {
                    Self::Debian => sudo(&["update-ca-certificates"]),
                    _ => sudo(&["update-ca-trust", "extract"]),
                };
                vec![first, refresh]
            }
        }
    }
}

/// Trusts the root certificate of the cluster's authority, or no longer.
pub fn plan(access: &Access, store: Store, change: Change) -> Plan {
    let (verb, title) = match change {
        Change::Install => ("install", "Trust the root certificate"),
        Change::Remove => ("remove", "Remove the root certificate"),
    };
    let mut plan = Plan::new(format!("trust {verb} {}", access.cluster));
    plan.choices.push(match store {
        Store::Keychain => "the keychain of this user".to_owned(),
        Store::Debian | Store::Fedora => format!("`{}`, for every user of this host", store.file(access)),
    });
    let mut section = Section::new(
        "trust",
        title,
        "Browsers and tools of this host accept what the authority signs, for as long as it is there.",
    );
    if change == Change::Install {
        let listing = access.work().join("configmaps.json");
        section.push(Step::new(
            "certificate.list",
            "List what the cluster publishes",
            "The authority publishes its root in a ConfigMap.",
            Effect::Read,
            Action::Run(
                access
                    .kubectl()
                    .args(["get", "configmaps", "--all-namespaces", "--output=json"])
                    .to_file(&listing),
            ),
        ));
        section.push(Step::new(
            "certificate.read",
            "Read the root certificate",
            "Its fingerprint is shown, so that it can be compared.",
            Effect::Local,
            Action::task(RootCertificate {
                from: listing,
                to: certificate(access),
            }),
        ));
    }
    for (index, command) in store.commands(change, access).into_iter().enumerate() {
        let id = if index == 0 {
            format!("trust.{verb}")
        } else {
            "trust.refresh".to_owned()
        };
        section.push(Step::new(
            &id,
            title,
            "Browsers and tools of this host then accept what the authority signs, for as long as it is there.",
            Effect::Local,
            Action::Run(command.within(300)),
        ));
    }
    plan.sections.push(section);
    plan
}

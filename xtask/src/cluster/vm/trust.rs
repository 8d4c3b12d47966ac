//! The root certificate of the local authority: read from what it publishes in its cluster.
//! It changes no trust store; recipes name the commands that do.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::base::failure::{Failure, Result};
use crate::base::ui::Status;
use crate::call::Caller;

/// The root certificate of the local authority, out of the ConfigMap in which it publishes it; its fingerprint is said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RootCertificate {
    /// `kubectl get configmaps --all-namespaces -o json`.
    pub from: Utf8PathBuf,
    /// PEM file.
    pub to: Utf8PathBuf,
}

impl RootCertificate {
    /// Carries the task out.
    pub fn run(&self, on: &Caller<'_>) -> Result<()> {
        let object: Value = on.read(&self.from)?;
        let pem = certificate(&object)?;
        on.ui.status(
            Status::Checked,
            format!("root certificate, SHA-256 of it {}", fingerprint(pem)?),
        );
        on.write(&self.to, pem.as_bytes(), 0o644)
    }
}

/// Key under which the local authority publishes its root, in a ConfigMap of its own; that of Kubernetes itself
/// has another.
const KEY: &str = "root_ca.crt";

/// The one root certificate in a list of ConfigMaps.
pub fn certificate(list: &Value) -> Result<&str> {
    let mut found: Vec<&str> = list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|object| object["data"][KEY].as_str())
        .collect();
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [pem] => der(pem).map(|_| *pem),
        [] => der("").map(|_| ""),
        many => Err(Failure::refused(format!(
            "the cluster publishes {} different root certificates; none was taken",
            many.len()
        ))
        .hinted(format!("look at the ConfigMaps with the key `{KEY}`"))),
    }
}

/// SHA-256 of the certificate, as browsers and keychains show it.
pub fn fingerprint(pem: &str) -> Result<String> {
    let bytes: Vec<String> = Sha256::digest(der(pem)?)
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    Ok(bytes.join(":"))
}

/// The bytes between the first pair of marks.
fn der(pem: &str) -> Result<Vec<u8>> {
    let none = || {
        Failure::preflight("the cluster publishes no root certificate")
            .hinted("the local authority publishes it once it is deployed: `cargo xtask local-up`")
    };
    let (_, rest) = pem.split_once("-----BEGIN CERTIFICATE-----").ok_or_else(none)?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----").ok_or_else(none)?;
    decode(body).filter(|bytes| !bytes.is_empty()).ok_or_else(none)
}

/// Reads base64 that may be broken into lines, with padding or without.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let text: String = text.split_ascii_whitespace().collect();
    ENGINE.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\naGVs\nbG8=\n-----END CERTIFICATE-----\n";

    #[test]
    fn the_root_certificate_is_found_and_its_fingerprint_is_that_of_its_bytes() {
        let list = json!({"items": [
            {"data": {"ca.crt": "of Kubernetes"}},
            {"data": {"root_ca.crt": PEM, "intermediate_ca.crt": "other"}},
        ]});
        assert_eq!(certificate(&list).unwrap(), PEM);
        assert!(fingerprint(PEM).unwrap().starts_with("2C:F2:4D:BA:5F:B0:A3:0E"));
    }

    #[test]
    fn no_certificate_and_two_of_them_are_both_refused() {
        for list in [json!({}), json!({"items": [{"data": {"root_ca.crt": "x"}}]})] {
            assert!(certificate(&list).unwrap_err().chain().contains("no root certificate"));
        }
        let other = PEM.replace("aGVs", "aGVt");
        let two = json!({"items": [{"data": {"root_ca.crt": PEM}}, {"data": {"root_ca.crt": other}}]});
        assert!(certificate(&two).unwrap_err().chain().contains("2 different"));
    }
}

//! The local certificate authority: a root and an intermediate for step-ca, as `step certificate create` makes them.
//! Keys leave it only as values to encrypt; certificates are public and committed.

use camino::{Utf8Path, Utf8PathBuf};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, date_time_ymd,
};

use crate::failure::{Failure, Result};

/// Years for which the root is valid.
const ROOT_YEARS: i32 = 10;

/// Years for which the intermediate is valid.
const INTERMEDIATE_YEARS: i32 = 5;

/// File of the root certificate, below [`folder`].
pub const ROOT_CERTIFICATE: &str = "root_ca.crt";

/// File of the intermediate certificate, below [`folder`].
pub const INTERMEDIATE_CERTIFICATE: &str = "intermediate_ca.crt";

/// Two keys and their certificates, PEM.
pub struct Authority {
    /// Private key of the root.
    pub root_key: String,
    /// Certificate of the root.
    pub root_certificate: String,
    /// Private key of the intermediate.
    pub intermediate_key: String,
    /// Certificate of the intermediate, signed by the root.
    pub intermediate_certificate: String,
}

/// Where a checkout has the certificates: beside the component if it is the checkout's own.
pub fn folder(root: &Utf8Path) -> Utf8PathBuf {
    let own = Utf8PathBuf::from("modules/k8s/step-ca");
    if root.join(&own).is_dir() { own } else { "pki".into() }
}

/// A new authority of an organisation, valid from `today` (year, month, day) on.
pub fn generate(organisation: &str, today: (i32, u8, u8)) -> Result<Authority> {
    let failed = |error: rcgen::Error| Failure::unexpected(format!("cannot make a certificate: {error}"));
    let key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed);
    let params = |name: &str, paths: u8, years: i32| {
        let mut params = CertificateParams::default();
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, organisation);
        subject.push(DnType::CommonName, format!("{organisation} Local {name}"));
        params.distinguished_name = subject;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(paths));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = paths == 0;
        let (year, month, day) = today;
        // The 29th of February does not come every year.
        let until = if (month, day) == (2, 29) { 28 } else { day };
        params.not_before = date_time_ymd(year, month, day);
        params.not_after = date_time_ymd(year + years, month, until);
        params
    };
    let root = CertifiedIssuer::self_signed(params("Root CA", 1, ROOT_YEARS), key()?).map_err(failed)?;
    let intermediate_key = key()?;
    let intermediate = params("Intermediate CA", 0, INTERMEDIATE_YEARS)
        .signed_by(&intermediate_key, &root)
        .map_err(failed)?;
    Ok(Authority {
        root_certificate: root.pem(),
        root_key: root.key().serialize_pem(),
        intermediate_certificate: intermediate.pem(),
        intermediate_key: intermediate_key.serialize_pem(),
    })
}

/// Today, by the system's clock.
pub fn today() -> (i32, u8, u8) {
    let text = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
    (
        part(0..4).parse().unwrap_or(2026),
        part(5..7).parse().unwrap_or(1),
        part(8..10).parse().unwrap_or(1),
    )
}

//! The local certificate authority: a root and an intermediate for step-ca, as `step certificate create` makes them.
//! Keys leave it only as values to encrypt; certificates are public and committed.

use camino::{Utf8Path, Utf8PathBuf};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, date_time_ymd,
};

use crate::base::failure::{Failure, Result};

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{ExtendedKeyUsagePurpose, Issuer};
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, UnixTime};
    use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};

    use super::*;

    /// 2026-02-28, noon.
    const BEGIN: u64 = 1_772_280_000;
    const DAY: u64 = 86_400;

    fn parameters(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2050, 1, 1);
        params
    }

    /// Signs as step-ca does: with the intermediate's key and in its name.
    fn intermediate(authority: &Authority) -> Issuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "example");
        params
            .distinguished_name
            .push(DnType::CommonName, "example Local Intermediate CA");
        Issuer::new(params, KeyPair::from_pem(&authority.intermediate_key).unwrap())
    }

    fn verify(
        authority: &Authority,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        at: u64,
    ) -> Result<(), Error> {
        let root = CertificateDer::from_pem_slice(authority.root_certificate.as_bytes()).unwrap();
        let mut chain = vec![CertificateDer::from_pem_slice(authority.intermediate_certificate.as_bytes()).unwrap()];
        chain.extend(between.iter().cloned());
        EndEntityCert::try_from(leaf)
            .unwrap()
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &[anchor_from_trusted_cert(&root).unwrap()],
                &chain,
                UnixTime::since_unix_epoch(Duration::from_secs(at)),
                KeyUsage::server_auth(),
                None,
                None,
            )
            .map(|_| ())
    }

    #[test]
    fn a_leaf_of_the_intermediate_is_trusted_through_the_root_for_five_years() {
        let authority = generate("example", (2026, 2, 28)).unwrap();
        let leaf = parameters("leaf")
            .signed_by(&KeyPair::generate().unwrap(), &intermediate(&authority))
            .unwrap();
        verify(&authority, leaf.der(), &[], BEGIN).unwrap();
        // To the day before five years are over, and not to the day after.
        verify(&authority, leaf.der(), &[], BEGIN + 1825 * DAY).unwrap();
        let error = verify(&authority, leaf.der(), &[], BEGIN + 1828 * DAY).unwrap_err();
        assert!(matches!(error, Error::CertExpired { .. }), "{error:?}");
        let other = generate("example", (2026, 2, 28)).unwrap();
        verify(&other, leaf.der(), &[], BEGIN).unwrap_err();
    }

    #[test]
    fn nothing_below_the_intermediate_may_sign() {
        let authority = generate("example", (2026, 2, 28)).unwrap();
        let mut params = parameters("too deep");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let deep = params.signed_by(&key, &intermediate(&authority)).unwrap();
        let leaf = parameters("leaf")
            .signed_by(&KeyPair::generate().unwrap(), &Issuer::new(params, key))
            .unwrap();
        let error = verify(&authority, leaf.der(), &[deep.der().clone()], BEGIN).unwrap_err();
        assert!(matches!(error, Error::PathLenConstraintViolated), "{error:?}");
    }

    #[test]
    fn both_certificates_say_whose_they_are_and_until_when() {
        let holds = |pem: &str, what: &[u8]| {
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            der.windows(what.len()).any(|window| window == what)
        };
        // Of a leap day, which does not come again in ten years.
        let authority = generate("example", (2028, 2, 29)).unwrap();
        for (pem, name, until) in [
            (&authority.root_certificate, "example Local Root CA", "380228000000Z"),
            (
                &authority.intermediate_certificate,
                "example Local Intermediate CA",
                "330228000000Z",
            ),
        ] {
            assert!(holds(pem, name.as_bytes()), "{name}");
            assert!(holds(pem, b"280229000000Z") && holds(pem, until.as_bytes()), "{until}");
            // prime256v1, and ecdsa-with-SHA256.
            assert!(holds(pem, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]));
            assert!(holds(pem, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]));
        }
        // Basic constraints of an authority: path length 1, and 0.
        let constraints = |length: u8| [0x30, 0x06, 0x01, 0x01, 0xff, 0x02, 0x01, length];
        assert!(holds(&authority.root_certificate, &constraints(1)));
        assert!(holds(&authority.intermediate_certificate, &constraints(0)));
    }
}

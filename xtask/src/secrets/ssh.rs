//! Ed25519 SSH keys in OpenSSH's own form.
//! The key itself comes from ring; this only writes it down.

use crate::base::failure::{Failure, Result};
use crate::base::formats::json::base64;

/// A key pair.
pub struct Pair {
    /// The private half, as ssh reads it from a file.
    pub private: String,
    /// The public half, one line.
    pub public: String,
}

/// A new key pair. The comment is public.
pub fn generate(comment: &str) -> Result<Pair> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)
        .map_err(|error| Failure::unexpected(format!("cannot make an Ed25519 key: {error}")))?;
    let document = key.serialize_der();
    // RFC 8410: the seed is an octet string inside an octet string.
    const SEED: [u8; 4] = [0x04, 0x22, 0x04, 0x20];
    let seed = document
        .windows(SEED.len())
        .position(|window| window == SEED)
        .and_then(|place| document.get(place + SEED.len()..place + SEED.len() + 32))
        .ok_or_else(|| Failure::unexpected("an Ed25519 key without a seed"))?;
    let mut check = [0_u8; 4];
    getrandom::fill(&mut check).map_err(|error| Failure::unexpected(format!("no randomness: {error}")))?;
    Ok(write(seed, key.public_key_raw(), check, comment))
}

fn write(seed: &[u8], public: &[u8], check: [u8; 4], comment: &str) -> Pair {
    const KIND: &[u8] = b"ssh-ed25519";
    let mut blob = Vec::new();
    string(&mut blob, KIND);
    string(&mut blob, public);

    let mut inner = Vec::new();
    // Twice the same number: how ssh tells a wrong password.
    inner.extend(check);
    inner.extend(check);
    inner.extend(&blob);
    string(&mut inner, &[seed, public].concat());
    string(&mut inner, comment.as_bytes());
    let padding = (8 - inner.len() % 8) % 8;
    inner.extend((1..=padding).map(|number| number as u8));

    let mut whole = b"openssh-key-v1\0".to_vec();
    string(&mut whole, b"none");
    string(&mut whole, b"none");
    string(&mut whole, b"");
    whole.extend(1_u32.to_be_bytes());
    string(&mut whole, &blob);
    string(&mut whole, &inner);

    let armour = base64(&whole);
    let mut private = String::from("-----BEGIN OPENSSH PRIVATE KEY-----\n");
    let mut rest = armour.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(70));
        private.push_str(line);
        private.push('\n');
        rest = after;
    }
    private.push_str("-----END OPENSSH PRIVATE KEY-----\n");
    Pair {
        private,
        public: format!("ssh-ed25519 {} {comment}\n", base64(&blob)),
    }
}

fn string(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    into.extend(bytes);
}

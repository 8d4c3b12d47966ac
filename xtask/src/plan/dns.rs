//! The record of a control-plane endpoint, as data: what it is, where it stands, who sets it.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// An A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Record {
    /// Its name.
    pub name: String,
    /// JSON file `{ "address": "…" }` that says where it has to lead.
    pub address: Utf8PathBuf,
    /// Seconds that others may keep it.
    pub ttl: u32,
}

/// Cloudflare's interface to a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Cloudflare {
    /// Base address of the interface.
    pub api: String,
    /// Name of the zone.
    pub zone: String,
    /// Variable that holds the token.
    pub token: String,
    /// Seconds for all tries together.
    pub deadline: u64,
}

//! What has to be there outside of every cluster before the first machine is made, as data.
//! `exec` asks for it; nothing here knows an interface.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::dns::Cloudflare;

/// Everything that is looked at, at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Survey {
    /// JSON file of the type `cluster::capi::Wanted`: what the stage will ask the provider for.
    pub wanted: Utf8PathBuf,
    /// The provider of the machines.
    pub hetzner: Hetzner,
    /// The zone of the endpoint's record; none where a person sets it.
    pub zone: Option<Zone>,
}

/// Hetzner Cloud's interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Hetzner {
    /// Base address of the interface.
    pub api: String,
    /// Variable that holds the token.
    pub token: String,
    /// Seconds for all tries together.
    pub deadline: u64,
}

/// The zone in which a record will be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Zone {
    /// Where it stands.
    pub at: Cloudflare,
    /// Name of the record.
    pub name: String,
}

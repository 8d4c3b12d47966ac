//! The identity that a cluster's operator decrypts with, as far as a plan may know it: by its recipient.
//! No private key and no path of this host stands in a plan; both are found while it runs.

use serde::{Deserialize, Serialize};

use super::Tool;

/// Whose identity a cluster gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OperatorKey {
    /// Name in the facts.
    pub name: String,
    /// Its recipient.
    pub recipient: String,
    /// What happens where the identity is not at hand.
    pub otherwise: Otherwise,
}

impl OperatorKey {
    /// Tells which recipient an identity has.
    pub const TOOL: Tool = Tool::AgeKeygen;
}

/// What happens where an identity is not at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Otherwise {
    /// The step fails before anything is written.
    Refuse,
    /// A new identity is made for this cluster alone, and it is said; only where nothing decrypts anyway.
    ThrowAway,
}

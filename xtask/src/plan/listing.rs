//! A listing of many kinds, as data: one proxy that only reads, and a request a kind.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::Command;

/// Lists objects of many kinds over one connection: `kubectl get` of sixty kinds looks each of them up in its cache
/// anew, and takes three times as long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Listing {
    /// `kubectl proxy`, which is ended once everything is read; it holds the credentials.
    pub proxy: Command,
    /// The socket that it makes, named in its arguments, in a folder of its own; relative to the root.
    pub socket: Utf8PathBuf,
    /// JSON file whose `lists` are of the type `live::resources::List`.
    pub of: Utf8PathBuf,
    /// Label that the objects have.
    pub label: String,
    /// JSON file of a `List` of them, with their managed fields.
    pub to: Utf8PathBuf,
}

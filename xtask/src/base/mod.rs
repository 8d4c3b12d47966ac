//! The ground floor: what every other room stands on, and what knows nothing of clusters, plans or tools.

pub mod command_line;
pub mod failure;
pub mod files;
pub mod formats;
pub(crate) mod git_index;
pub mod host;
pub mod http;
pub mod lock;
pub(crate) mod lock_file;
pub mod offline;
pub(crate) mod part;
pub mod process;
pub mod root;
pub mod state;
pub mod text;
pub mod transaction;
pub mod ui;

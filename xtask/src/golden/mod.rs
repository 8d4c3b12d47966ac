//! Goldens: reviewed manifests, compared with what the modules render, and blessed.
//! It renders nothing and talks to no cluster; a folder of rendered manifests comes in from elsewhere.

pub mod object;
pub mod schema;
pub mod secret;

pub mod bless;
pub mod diff;
pub mod folder;
pub mod inventory;
pub mod openapi;
pub mod pairs;
pub mod partial;
pub mod problem;
pub mod resolve;
pub mod revision;
pub mod validity;

#[cfg(test)]
mod fixture;
pub mod normalize;
pub mod offline;
pub mod provenance;
pub mod reproducible;
pub mod summary;
#[cfg(test)]
mod tests;

//! Goldens: reviewed manifests, compared with what the modules render, and blessed.
//! It renders nothing and talks to no cluster; a folder of rendered manifests comes in from elsewhere.

pub mod json;
pub mod yaml;

pub mod facts;
pub mod normal;
pub mod object;
pub mod schema;
pub mod secret;

pub mod alone;
pub mod bless;
pub mod inventory;
pub mod openapi;
pub mod pairs;
pub mod revision;
pub mod twice;
pub mod validity;
pub mod diff;
pub mod folder;
pub mod problem;
pub mod record;
pub mod resolve;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

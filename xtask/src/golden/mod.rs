//! Goldens: reviewed manifests, compared with what the modules render, and blessed.

pub mod json;
pub mod yaml;

//! JSON and YAML, read as strictly as the API server reads them.
//! Nothing here knows what an object means.

pub mod json;
pub mod yaml;

//! What runs a cluster, one file a backend, and the commands that speak to one.
//! A backend describes; `recipe` puts it in order and `run` carries it out.

pub mod access;
pub mod capi;
pub mod embedded;
pub mod vm;

//! What runs a cluster, one file a backend, and the commands that speak to one.
//! A backend describes; `recipe` puts it in order and `exec` runs it.

pub mod access;
pub mod capi;
pub mod colima;
pub mod embedded;
pub mod guest;
pub mod host;
pub mod image;
pub mod lima;
pub mod route;
pub mod trust;

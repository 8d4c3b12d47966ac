//! The library behind the binary, in reading order.

pub mod platform;
pub mod project;

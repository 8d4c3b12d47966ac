//! The library behind the binary, in reading order.

pub mod failure;
pub mod platform;
pub mod project;
pub mod ui;

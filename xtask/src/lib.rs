//! The library behind the binary, in reading order.

pub mod failure;
pub mod golden;
pub mod platform;
pub mod project;
pub mod ui;

//! One file a tool: what its answers and its errors mean.

pub mod kluctl;
pub mod kubectl;
pub mod nix;

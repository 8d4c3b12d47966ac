//! The live side of a stage: what a cluster holds, compared with what a project says.
//! It reads listings and decides; it talks to no cluster itself.

pub mod closures;
pub mod compare;
pub mod conflicts;
pub mod definitions;
pub mod diagnostics;
pub mod diff;
pub mod foreign;
pub mod gate;
pub mod history;
pub mod identity;
pub mod lease;
pub mod listing;
pub mod ownership;
pub mod project;
pub mod protect;
pub mod prune;
pub mod reset;
pub mod review;
pub mod secrets;

pub use compare::{Delta, Difference, Why};

//! The live side of a stage: what a cluster holds, compared with what a project says.
//! It reads listings and decides; it talks to no cluster itself.

pub mod closures;
pub mod compare;
pub mod definitions;
pub mod diff;
pub mod evidence;
pub mod fence;
pub mod gate;
pub mod kluctl;
pub mod lease;
pub mod ledger;
pub mod listing;
pub mod ownership;
pub mod prune;
pub mod reach;
pub mod resources;
pub mod review;
pub mod secrets;

pub use compare::{Delta, Difference, Why};

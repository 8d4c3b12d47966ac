//! Tests with the real tools on real embedded clusters; each makes its own checkout and takes it down.
//! Tools that are not there are built first, as in any run.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets the unforeseen has to end, with the place in its words"
)]

#[path = "../support/mod.rs"]
mod support;

mod crash;
mod edit;
mod lost;
mod together;
mod up;

//! Tests that need no wrapped tool: laws and goldens of plans, whole runs against fake tools, bad input.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets the unforeseen has to end, with the place in its words"
)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other test targets share it")]
mod support;

mod bad_input;
mod bootstrap;
mod disks;
mod fakes;
mod laws;
mod offline;
mod runs;
mod seen;
mod state;
mod words;

//! Verbs, one file each: what the command line asks for, turned into a plan or into data.

pub mod build;
pub mod capi;
pub mod ci;
pub mod clean;
pub mod env;
pub mod generate;
pub mod golden;
pub mod kubectl;
pub mod local_down;
pub mod local_status;
pub mod local_up;
pub mod probe;
pub mod rehearse;

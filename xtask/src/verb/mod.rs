//! Verbs, one file each: what the command line asks for, turned into a plan or into data.

pub mod adopt;
pub mod build;
pub mod capi;
pub mod ci;
pub mod clean;
pub mod deploy;
pub mod diff;
pub mod env;
pub mod generate;
pub mod golden;
pub mod history;
pub mod image;
pub mod kubectl;
pub mod local_down;
pub mod local_status;
pub mod local_up;
pub mod probe;
pub mod prune;
pub mod rehearse;
pub mod render;
pub mod rollback;
pub mod secrets;
pub mod ssh;
pub mod trust;
pub mod unlock;

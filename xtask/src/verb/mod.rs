//! Verbs, one file each: what the command line asks for, turned into a plan or into data.

pub mod env;
pub mod golden;
pub mod kubectl;
pub mod local_down;
pub mod local_up;
pub mod probe;
pub mod rehearse;

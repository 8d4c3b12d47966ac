//! The library behind the binary, from the command line down to what everything stands on.

pub mod cli;
pub mod reference;
pub mod verb;

pub mod setup;

pub mod run;

pub mod plan;
pub mod recipe;

pub mod command;

pub mod cluster;
pub mod secrets;

pub mod golden;
pub mod live;

pub mod call;
pub mod context;
pub mod tool;

pub mod platform;
pub mod project;

pub mod base;

pub mod tidy;

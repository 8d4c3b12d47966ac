//! The library behind the binary, in reading order.

pub mod cli;
pub mod context;
pub mod reference;
pub mod verb;

pub mod platform;
pub mod project;

pub mod command;
pub mod plan;
pub mod recipe;
pub mod run;

pub mod cluster;
pub mod golden;
pub mod live;
pub mod secrets;

pub mod call;
pub mod exec;
pub mod tool;

pub mod base;
pub mod setup;
pub mod tidy;

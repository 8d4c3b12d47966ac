//! The library behind the binary, in reading order.

pub mod cli;
pub mod context;
pub mod reference;
pub mod verb;

pub mod platform;
pub mod project;
pub mod root;

pub mod plan;
pub mod recipe;
pub mod run;
pub mod stamp;

pub mod cluster;
pub mod golden;
pub mod live;
pub mod nix;
pub mod secrets;

pub mod exec;
pub mod journal;
pub mod network;
pub mod tool;

pub mod failure;
pub mod tidy;
pub mod ui;

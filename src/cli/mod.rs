//! The command line: options, `--check`, and the commands that speak to a server.

pub mod check;
pub mod client;
pub mod options;
mod port_owner;
pub mod reload;

//! Wires options, configuration, logging and the server together.
#![forbid(unsafe_code)]

fn main() {}

//! Sockets, readiness and time: the only layer that touches the operating system's network.

pub mod wheel;

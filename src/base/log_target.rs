//! Kinds of log lines that can be switched on and off, or come in floods: the targets that they are
//! logged with.

/// Connections that come and go (`logConnections`).
pub const CONNECTIONS: &str = "websock::connections";

/// Requests that are refused, clients that are turned away or break rules: with the address of whoever
/// it was. In a flood only so many a second are written, and the rest is counted.
pub const REFUSALS: &str = "websock::refusals";

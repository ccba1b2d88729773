//! One connection as a state machine: bytes and instants in, events and bytes out.

use std::time::Duration;

/// Names one connection for as long as the server runs: a slot and the generation that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// Index in the server's table.
    pub slot: u32,
    /// Counts the connections that this slot has held.
    pub generation: u32,
}

/// What one connection may use. Each field has its key in websock.ini.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest message, in bytes, fragments together (`maxMessageSize`).
    pub max_message_bytes: usize,
    /// Most fragments of one message (`maxFragments`).
    pub max_fragments: u32,
    /// Most bytes that wait for a peer to read them, beyond one message (`maxQueue`).
    pub max_queue_bytes: usize,
    /// Most control frames per second (`maxControlFrames`).
    pub max_control_frames_per_second: u32,
    /// Most data messages per second (`maxMessages`); 0 switches the limit off.
    pub max_messages_per_second: u32,
    /// From accept to the end of the handshake (`handshakeTimeout`).
    pub handshake_timeout: Duration,
    /// Silence after which a web client is pinged (`pingInterval`); zero switches pings off.
    pub ping_interval: Duration,
    /// Silence after a ping that ends a web client (`pongTimeout`).
    pub pong_timeout: Duration,
    /// From our close frame to the end of the connection (`closeTimeout`).
    pub close_timeout: Duration,
    /// An unfinished message must gain `min_progress_bytes` in each such time (`stallTimeout`).
    pub stall_timeout: Duration,
    /// See `stall_timeout` (`minProgress`), in bytes.
    pub min_progress_bytes: usize,
}

//! What a connection may use, and what the calls of one turn share.

use std::time::Duration;

use super::output::BufferPool;
use crate::base::time::MonotonicTime;
use crate::protocol::traffic::Traffic;

/// What one connection may use. Each field has its key in websock.ini.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest message, in bytes, fragments together (`maxMessageSize`).
    pub max_message_bytes: usize,
    /// Longest message of a web client, in bytes; not over `max_message_bytes` (`maxWebMessage`).
    pub max_web_message_bytes: usize,
    /// Most fragments of one message (`maxFragments`).
    pub max_fragments: u32,
    /// Most bytes that wait for a peer to read them, beyond one message, with what it costs to keep
    /// them in pieces (`maxQueue`).
    pub max_queue_bytes: usize,
    /// Most control frames per second (`maxControlFrames`).
    pub max_control_frames_per_second: u32,
    /// Most data messages per second (`maxMessages`); 0 switches the limit off.
    pub max_messages_per_second: u32,
    /// From accept to the end of the handshake (`handshakeTimeout`).
    pub handshake_timeout: Duration,
    /// From an HTTP response to the next request (`keepAliveTimeout`).
    pub keep_alive_timeout: Duration,
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

impl Limits {
    /// Longest body that holds a message of a web client in JSON, in bytes: each of its bytes may
    /// need a backslash there.
    pub fn max_posted_bytes(&self) -> usize {
        let message_bytes = self.max_web_message_bytes.min(self.max_message_bytes);
        message_bytes
            .saturating_mul(2)
            .saturating_add(POSTED_EXTRA_BYTES)
    }
}

/// What stands around the message: names, uuid and secret, and blanks.
const POSTED_EXTRA_BYTES: usize = 1 << 10;

impl Default for Limits {
    /// The values of the shipped websock.ini, which gives the reason for each.
    fn default() -> Self {
        Self {
            max_message_bytes: 16 << 20,
            max_web_message_bytes: 16 << 20,
            max_fragments: 1_000_000,
            max_queue_bytes: 8 << 20,
            max_control_frames_per_second: 1000,
            max_messages_per_second: 0,
            handshake_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(60),
            ping_interval: Duration::from_secs(30),
            pong_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(30),
            min_progress_bytes: 1024,
        }
    }
}

/// What the calls of one turn of the loop share. The loop owns it.
#[derive(Debug)]
pub struct TurnContext {
    /// The time, taken once per turn.
    pub now: MonotonicTime,
    /// What a connection may use.
    pub limits: Limits,
    /// Spare buffers.
    pub pool: BufferPool,
    /// Bytes that may still be inflated for the connection that is being read; what its peer has
    /// sent behind them has to wait for its next turn.
    pub inflate_budget_bytes: usize,
    /// What has come and gone since the start. A message that is lent is counted by whoever gets it,
    /// so that the fast path writes nothing.
    pub traffic: Traffic,
}

impl TurnContext {
    /// The first turn, at `now`.
    pub fn new(now: MonotonicTime, limits: Limits) -> Self {
        Self {
            now,
            limits,
            pool: BufferPool::default(),
            inflate_budget_bytes: usize::MAX,
            traffic: Traffic::default(),
        }
    }
}

//! One connection as a state machine: bytes and instants in, events and bytes out.
//!
//! Owns the order of things on one connection: head, upgrade, frames, messages, close handshake,
//! deadlines, and the queue of what leaves. Knows nothing of sockets, of other connections, of JSON.
//! There are four kinds of calls: arrivals ([`Connection::receive`], [`Connection::receive_payload`],
//! [`Connection::handle_timeout`], [`Connection::handle_eof`]), commands ([`Connection::accept`],
//! [`Connection::reject`], [`Connection::send`], [`Connection::close`]), things to do
//! ([`Connection::output`], [`Connection::consume_output`], [`Connection::shrink_input`]) and
//! questions.
//!
//! [`SlotMap`] is for those who keep something for each connection.
//!
//! An idle open connection owns no heap memory, but for what was agreed about compression.

mod compression;
mod conn_id;
mod connection;
mod deadlines;
mod event;
mod event_stream;
mod handover;
mod inbound;
mod limits;
pub mod output;
mod payload_buffer;
mod php_framing;
mod rate;
mod receiving;
mod sending;
mod spare_buffers;
mod state;

pub use self::conn_id::ConnId;
pub use self::connection::{AfterResponse, Connection, Expectation};
pub use self::deadlines::PING_PAYLOAD;
pub use self::event::{Event, Message, Outgoing, SendError, Text, TimedOut};
pub use self::event_stream::{PostError, event_of};
pub use self::limits::{Limits, TurnContext};
pub use self::php_framing::PhpFraming;
pub use self::state::{EventIds, Keepalive};
pub use crate::base::slot_map::{CHUNK_SLOTS, SlotMap};
pub use crate::base::time::MonotonicTime;

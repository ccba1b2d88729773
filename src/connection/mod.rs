//! One connection as a state machine: bytes and instants in, events and bytes out.
//!
//! Owns the order of things on one connection: head, upgrade, frames, messages, close handshake,
//! deadlines, and the queue of what leaves. Knows nothing of sockets, of other connections, of JSON.
//! There are four kinds of calls: arrivals ([`Connection::receive`], [`Connection::receive_room`],
//! [`Connection::handle_timeout`], [`Connection::handle_eof`]), commands ([`Connection::accept`],
//! [`Connection::reject`], [`Connection::send`], [`Connection::close`]), things to do
//! ([`Connection::output`], [`Connection::consume_output`], [`Connection::settle_input`]) and
//! questions.
//!
//! [`BySlot`] is for those who keep something for each connection.
//!
//! An idle open connection owns no heap memory, but for what was agreed about compression.

mod by_slot;
mod codec;
mod deadlines;
mod event;
mod inbound;
mod limits;
mod moment;
pub mod output;
mod pace;
mod rate;
mod receiving;
mod room;
mod sending;
mod state;

pub use self::by_slot::{BySlot, CHUNK_SLOTS};
pub use self::deadlines::PING_PAYLOAD;
pub use self::event::{Event, Message, Outgoing, SendError, Text};
pub use self::limits::{Limits, Turn};
pub use self::moment::Moment;
pub use self::pace::Framing;

use self::codec::Codec;
use self::inbound::Inbound;
use self::output::Output;
use self::pace::Pace;
use self::rate::Rate;
use self::state::{Asked, Heading, Receiving, State};
use crate::protocol::body::{BodyLength, BodyReader};
use crate::protocol::close::CloseCode;
use crate::protocol::error::Rejection;
use crate::protocol::handshake::Upgrade;

/// Names one connection for as long as the server runs: a slot and the generation that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// Index in the server's table.
    pub slot: u32,
    /// Counts the connections of the server, so that no two that a slot holds one after the other
    /// have the same.
    pub generation: u32,
}

/// Whether a quiet peer is asked for a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keepalive {
    /// Pings, and an end to a peer that does not answer.
    Pings,
    /// None here: the peer cannot answer while it works (contract 5.2).
    None,
}

/// Whether a client waits to be told that its body is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// It sends the body at once.
    None,
    /// `Expect: 100-continue` (RFC 9110 §10.1.1).
    Continue,
}

/// What becomes of a connection once an HTTP response has left (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterResponse {
    /// Another request may follow.
    KeepAlive,
    /// It is closed.
    Close,
}

/// RFC 9110 §15.2.1.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// One connection, from accept to its end.
#[derive(Debug)]
pub struct Connection {
    state: State,
    inbound: Option<Box<Inbound>>,
    output: Output,
    /// Compression, if it was agreed on.
    codec: Option<Box<Codec>>,
    /// Frames that have to keep a shape and a distance.
    pace: Option<Box<Pace>>,
    control_rate: Rate,
    message_rate: Rate,
}

impl Connection {
    /// A connection that was accepted at `turn.now`.
    pub fn new(turn: &Turn<'_>) -> Self {
        let deadline = turn.now + turn.limits.handshake_timeout;
        Self {
            state: State::Connecting { deadline },
            inbound: None,
            output: Output::default(),
            codec: None,
            pace: None,
            control_rate: Rate::default(),
            message_rate: Rate::default(),
        }
    }

    // ---- arrivals

    /// Takes bytes from the front of `input` until something has come of them. Has to be called
    /// until it returns `None`; then all of `input` is consumed.
    pub fn receive<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        turn: &mut Turn<'_>,
    ) -> Option<Event<'a>> {
        if input.is_empty() {
            return None;
        }
        match &mut self.state {
            State::Connecting { .. } | State::Heading(_) => self.receive_head(input, turn),
            State::Resting { .. } => {
                self.state = State::Connecting {
                    deadline: turn.now + turn.limits.handshake_timeout,
                };
                self.receive_head(input, turn)
            }
            State::Receiving(_) => self.receive_body(input, turn),
            State::Deciding { .. } | State::Answering => None,
            State::Open { since, asked, .. } => {
                (*since, *asked) = (turn.now, Asked::No);
                self.receive_frames(input, turn)
            }
            State::Closing { .. } => self.receive_frames(input, turn),
            State::Draining { .. } | State::Closed { .. } | State::Gone => {
                *input = &mut [];
                None
            }
        }
    }

    /// The peer will send nothing more. What waits for it is still sent.
    pub fn handle_eof(&mut self, turn: &mut Turn<'_>) -> Option<Event<'static>> {
        let was_open = self.is_open();
        match self.state {
            State::Closed { .. } | State::Gone => {}
            _ => {
                self.state = State::Closed {
                    deadline: turn.now + turn.limits.close_timeout,
                }
            }
        }
        self.forget_input();
        was_open.then_some(Event::Lost)
    }

    // ---- commands

    /// Answers a head with the 101 (RFC 6455 §4.2.2): from now on frames flow, compressed if
    /// `upgrade` has agreed on it.
    pub fn accept(
        &mut self,
        upgrade: &Upgrade,
        framing: Framing,
        keepalive: Keepalive,
        turn: &mut Turn<'_>,
    ) {
        debug_assert!(matches!(self.state, State::Deciding { .. }));
        self.pace = Pace::new(framing);
        self.codec = upgrade.agreed().map(|agreed| Box::new(Codec::new(agreed)));
        self.state = State::Open {
            since: turn.now,
            asked: Asked::No,
            keepalive,
        };
        let padded_len = self.pace.as_ref().and_then(|pace| pace.opening_len());
        self.output
            .append(turn.pool, |out| upgrade.write_response(padded_len, out));
    }

    /// Answers a head with an HTTP response and ends the connection.
    pub fn reject(&mut self, rejection: Rejection, turn: &mut Turn<'_>) {
        self.output
            .append(turn.pool, |out| rejection.write_response(out));
        self.state = State::Draining {
            deadline: turn.now + turn.limits.close_timeout,
        };
    }

    /// Answers a head by waiting for the body that it announces, at most `max_message_bytes`
    /// (RFC 9112 §6). [`Event::Body`] follows, unless the body is empty and returned at once.
    ///
    /// The head is still to be answered if this fails.
    pub fn expect_body(
        &mut self,
        length: BodyLength,
        expectation: Expectation,
        turn: &mut Turn<'_>,
    ) -> Result<Option<Vec<u8>>, Rejection> {
        debug_assert!(matches!(self.state, State::Deciding { .. }));
        let mut body = BodyReader::new(length, turn.limits.max_message_bytes)?;
        if let (_, Some(body)) = body.push(&[])? {
            self.state = State::Answering;
            return Ok(Some(body));
        }
        if expectation == Expectation::Continue {
            self.output
                .append(turn.pool, |out| out.extend_from_slice(CONTINUE));
        }
        self.state = State::Receiving(Box::new(Receiving {
            body,
            judged: turn.now,
            progress: 0,
        }));
        Ok(None)
    }

    /// Answers a plain HTTP request with the response that `write` writes; does nothing if the
    /// connection has ended since.
    pub fn respond(
        &mut self,
        after: AfterResponse,
        write: impl FnOnce(&mut Vec<u8>),
        turn: &mut Turn<'_>,
    ) {
        if !matches!(self.state, State::Deciding { .. } | State::Answering) {
            return;
        }
        self.output.append(turn.pool, write);
        self.state = match after {
            AfterResponse::KeepAlive => State::Resting {
                deadline: turn.now + turn.limits.keep_alive_timeout,
            },
            AfterResponse::Close => State::Draining {
                deadline: turn.now + turn.limits.close_timeout,
            },
        };
    }

    /// Begins the close handshake (RFC 6455 §7.1.2); does nothing unless the connection is open.
    pub fn close(&mut self, code: CloseCode, reason: &str, turn: &mut Turn<'_>) {
        if !self.is_open() {
            return;
        }
        self.push_close(Some((code, reason)), turn.pool);
        self.state = State::Closing {
            deadline: turn.now + turn.limits.close_timeout,
        };
    }

    /// Ends the connection at once; what waits is dropped.
    pub fn abort(&mut self) {
        self.state = State::Gone;
        self.forget_input();
        self.drop_output();
    }

    /// Drops what waits to leave.
    pub fn drop_output(&mut self) {
        self.output.clear();
        if let Some(pace) = &mut self.pace {
            pace.clear();
        }
    }

    // ---- questions

    /// Base-2 logarithm of the window that messages to this peer may be compressed with; `None`:
    /// they must not be compressed.
    pub fn window_bits(&self) -> Option<u8> {
        self.codec.as_ref().map(|codec| codec.window_bits())
    }

    /// Whether messages flow.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether the handshake is still to come.
    pub fn is_pending(&self) -> bool {
        matches!(
            self.state,
            State::Connecting { .. }
                | State::Heading(_)
                | State::Deciding { .. }
                | State::Receiving(_)
                | State::Answering
                | State::Resting { .. }
        )
    }

    /// Whether the sending side is to be shut down, all having been said and sent.
    pub fn is_said(&self) -> bool {
        matches!(self.state, State::Draining { .. }) && self.output.is_empty()
    }

    /// Whether nothing has come yet.
    pub fn is_untouched(&self) -> bool {
        matches!(self.state, State::Connecting { .. })
    }

    /// Whether the connection was ended without regard to what waits.
    pub fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    /// Whether the connection is to be dropped.
    pub fn is_finished(&self) -> bool {
        match self.state {
            State::Closed { .. } => self.output.is_empty(),
            State::Gone => true,
            _ => false,
        }
    }

    /// Bytes of memory that would be free without this connection: [`held_bytes`](Self::held_bytes)
    /// and its share of what several connections send.
    pub fn pinned_bytes(&self) -> usize {
        self.held_bytes() - self.output.held_bytes() + self.output.pinned_bytes()
    }

    /// Bytes of heap memory that this connection alone holds.
    pub fn held_bytes(&self) -> usize {
        let head = match &self.state {
            State::Heading(heading) => size_of::<Heading>() + heading.head.capacity(),
            State::Receiving(receiving) => size_of::<Receiving>() + receiving.body.held_bytes(),
            _ => 0,
        };
        let inbound = self.inbound.as_ref().map_or(0, |i| i.held_bytes());
        let codec = self.codec.as_ref().map_or(0, |codec| codec.held_bytes());
        let pace = self.pace.as_ref().map_or(0, |pace| pace.held_bytes());
        head + self.output.held_bytes() + inbound + codec + pace
    }
}

//! [`Connection`]: its parts, what the application decides about it, and what it tells about itself.

use super::compression::Compression;
use super::event::Event;
use super::inbound::Inbound;
use super::limits::{Limits, TurnContext};
use super::output::Output;
use super::php_framing::{PhpFramer, PhpFraming};
use super::rate::Rate;
use super::state::{Keepalive, Liveness, ReadingBody, ReadingHead, State};
use crate::base::MonotonicTime;
use crate::protocol::body::{BodyLength, BodyReader};
use crate::protocol::close_code::CloseCode;
use crate::protocol::error::Rejection;
use crate::protocol::handshake::Upgrade;
use crate::protocol::http::BodyPart;

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
    pub(super) state: State,
    pub(super) inbound: Option<Box<Inbound>>,
    pub(super) output: Output,
    /// Compression, if it was agreed on.
    pub(super) compression: Option<Box<Compression>>,
    /// Frames that have to keep a shape and a distance.
    pub(super) php_framer: Option<Box<PhpFramer>>,
    pub(super) control_rate: Rate,
    pub(super) message_rate: Rate,
    /// What a response to the latest request carries.
    pub(super) response_part: BodyPart,
}

impl Connection {
    /// A connection that was accepted at `context.now`.
    pub fn new(context: &TurnContext) -> Self {
        let deadline = context.now + context.limits.handshake_timeout;
        Self {
            state: State::Connecting { deadline },
            inbound: None,
            output: Output::default(),
            compression: None,
            php_framer: None,
            control_rate: Rate::default(),
            message_rate: Rate::default(),
            response_part: BodyPart::Sent,
        }
    }

    // ---- arrivals

    /// Takes bytes from the front of `input` until something has come of them. Has to be called
    /// until it returns `None`.
    ///
    /// What is left of `input` then cannot be taken yet and has to be given again: behind a request
    /// that is not answered ([`is_awaiting`](Self::is_awaiting)), or because
    /// [`TurnContext::inflate_budget_bytes`] is spent.
    pub fn receive<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        context: &mut TurnContext,
    ) -> Option<Event<'a>> {
        if input.is_empty() {
            return None;
        }
        match &mut self.state {
            State::Connecting { .. } | State::ReadingHead(_) => self.receive_head(input, context),
            State::KeepAlive { .. } => {
                self.state = State::Connecting {
                    deadline: context.now + context.limits.handshake_timeout,
                };
                self.receive_head(input, context)
            }
            State::ReadingBody(_) => self.receive_body(input, context),
            State::AwaitingDecision { .. } | State::AwaitingResponse => None,
            State::Open { liveness, .. } => {
                *liveness = Liveness::Heard(context.now);
                self.receive_frames(input, context)
            }
            State::Closing { .. } => self.receive_frames(input, context),
            State::Streaming { .. }
            | State::Draining { .. }
            | State::Closed { .. }
            | State::Aborted { .. } => {
                *input = &mut [];
                None
            }
        }
    }

    /// The peer will send nothing more. What waits for it is still sent.
    pub fn handle_eof(&mut self, context: &mut TurnContext) -> Option<Event<'static>> {
        let was_open = self.is_open();
        match self.state {
            State::Closed { .. } | State::Aborted { .. } => {}
            _ => {
                self.state = State::Closed {
                    deadline: context.now + context.limits.close_timeout,
                    heard: self.last_heard(&context.limits),
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
        framing: PhpFraming,
        keepalive: Keepalive,
        context: &mut TurnContext,
    ) {
        debug_assert!(matches!(self.state, State::AwaitingDecision { .. }));
        self.php_framer = PhpFramer::new(framing);
        self.compression = upgrade
            .agreed()
            .map(|agreed| Box::new(Compression::new(agreed)));
        self.state = State::Open {
            liveness: Liveness::Heard(context.now),
            keepalive,
        };
        let padded_len = self
            .php_framer
            .as_ref()
            .and_then(|php_framer| php_framer.opening_len());
        self.output.append(&mut context.pool, |out| {
            upgrade.write_response(padded_len, out)
        });
    }

    /// Answers a head with an HTTP response and ends the connection.
    pub fn reject(&mut self, rejection: Rejection, context: &mut TurnContext) {
        let part = self.response_part;
        self.output.append(&mut context.pool, |out| {
            rejection.write_response(part, out);
        });
        self.state = State::Draining {
            deadline: context.now + context.limits.close_timeout,
            heard: None,
        };
    }

    /// Answers a head by waiting for the body that it announces, at most `max_bytes`
    /// (RFC 9112 §6). [`Event::Body`] follows, unless the body is empty and returned at once.
    ///
    /// The head is still to be answered if this fails.
    pub fn expect_body(
        &mut self,
        (length, max_bytes): (BodyLength, usize),
        expectation: Expectation,
        context: &mut TurnContext,
    ) -> Result<Option<Vec<u8>>, Rejection> {
        debug_assert!(matches!(self.state, State::AwaitingDecision { .. }));
        let mut body = BodyReader::new(length, max_bytes)?;
        if let (_, Some(body)) = body.push(&[])? {
            self.state = State::AwaitingResponse;
            return Ok(Some(body));
        }
        if expectation == Expectation::Continue {
            self.output
                .append(&mut context.pool, |out| out.extend_from_slice(CONTINUE));
        }
        self.state = State::ReadingBody(Box::new(ReadingBody {
            body,
            judged: context.now,
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
        context: &mut TurnContext,
    ) {
        if !matches!(
            self.state,
            State::AwaitingDecision { .. } | State::AwaitingResponse
        ) {
            return;
        }
        self.output.append(&mut context.pool, write);
        // What follows is another request, and may be refused before it says what it is.
        self.response_part = BodyPart::Sent;
        self.state = match after {
            AfterResponse::KeepAlive => State::KeepAlive {
                deadline: context.now + context.limits.keep_alive_timeout,
            },
            AfterResponse::Close => State::Draining {
                deadline: context.now + context.limits.close_timeout,
                heard: None,
            },
        };
    }

    /// Begins the close handshake (RFC 6455 §7.1.2), or ends a stream of events with one that says
    /// the same; does nothing unless the connection is open.
    pub fn close(&mut self, code: CloseCode, reason: &str, context: &mut TurnContext) {
        if !self.is_open() {
            return;
        }
        self.push_close(Some((code, reason)), context);
        let deadline = context.now + context.limits.close_timeout;
        let heard = self.last_heard(&context.limits);
        self.state = match self.state {
            // Nobody answers it.
            State::Streaming { .. } => State::Draining { deadline, heard },
            _ => State::Closing { deadline, heard },
        };
    }

    /// Ends the connection at once; what waits is dropped.
    pub fn abort(&mut self) {
        self.state = self.state.aborted();
        self.forget_input();
        self.drop_output();
    }

    /// Drops what waits to leave.
    pub fn drop_output(&mut self) {
        self.output.clear();
        if let Some(php_framer) = &mut self.php_framer {
            php_framer.clear();
        }
    }

    // ---- questions

    /// Base-2 logarithm of the window that messages to this peer may be compressed with; `None`:
    /// they must not be compressed.
    pub fn window_bits(&self) -> Option<u8> {
        self.compression
            .as_ref()
            .map(|compression| compression.window_bits())
    }

    /// Longest message that is taken from this peer, in bytes.
    pub(super) fn max_message_bytes(&self, limits: &Limits) -> usize {
        match self.state {
            State::Open {
                keepalive: Keepalive::Pings,
                ..
            } => limits.max_web_message_bytes.min(limits.max_message_bytes),
            _ => limits.max_message_bytes,
        }
    }

    /// When the peer was heard last, if messages flow or have flowed; `None` also if it is not pinged,
    /// as it may listen without a word.
    pub fn last_heard(&self, limits: &Limits) -> Option<MonotonicTime> {
        self.state.heard(limits.ping_interval)
    }

    /// Whether messages flow.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. } | State::Streaming { .. })
    }

    /// Whether nothing more is received before the application has answered a request.
    pub fn is_awaiting(&self) -> bool {
        matches!(
            self.state,
            State::AwaitingDecision { .. } | State::AwaitingResponse
        )
    }

    /// Whether a plain HTTP request was answered and no other has begun.
    pub fn is_keeping_alive(&self) -> bool {
        matches!(self.state, State::KeepAlive { .. })
    }

    /// Whether a request is whole, and its response is still to come.
    pub fn awaits_response(&self) -> bool {
        matches!(self.state, State::AwaitingResponse)
    }

    /// Whether the handshake is still to come.
    pub fn is_pending(&self) -> bool {
        matches!(
            self.state,
            State::Connecting { .. }
                | State::ReadingHead(_)
                | State::AwaitingDecision { .. }
                | State::ReadingBody(_)
                | State::AwaitingResponse
                | State::KeepAlive { .. }
        )
    }

    /// Whether the sending side is to be shut down, all having been said and sent.
    pub fn is_drained(&self) -> bool {
        matches!(self.state, State::Draining { .. }) && self.output.is_empty()
    }

    /// Whether nothing has come yet.
    pub fn is_untouched(&self) -> bool {
        matches!(self.state, State::Connecting { .. })
    }

    /// Whether the connection was ended without regard to what waits.
    pub fn is_aborted(&self) -> bool {
        matches!(self.state, State::Aborted { .. })
    }

    /// Whether the connection is to be dropped.
    pub fn is_finished(&self) -> bool {
        match self.state {
            State::Closed { .. } => self.output.is_empty(),
            State::Aborted { .. } => true,
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
            State::ReadingHead(reading) => size_of::<ReadingHead>() + reading.head.capacity(),
            State::ReadingBody(receiving) => size_of::<ReadingBody>() + receiving.body.held_bytes(),
            _ => 0,
        };
        let inbound = self.inbound.as_ref().map_or(0, |i| i.held_bytes());
        let compression = self
            .compression
            .as_ref()
            .map_or(0, |compression| compression.held_bytes());
        let php_framer = self
            .php_framer
            .as_ref()
            .map_or(0, |php_framer| php_framer.held_bytes());
        head + self.output.held_bytes() + inbound + compression + php_framer
    }
}

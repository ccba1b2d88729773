//! One connection as a state machine: bytes and instants in, events and bytes out.
//!
//! Owns the order of things on one connection: head, upgrade, frames, messages, close handshake,
//! deadlines, and the queue of what leaves. Knows nothing of sockets, of other connections, of JSON.
//! There are four kinds of calls: arrivals ([`Connection::receive`], [`Connection::handle_timeout`],
//! [`Connection::handle_eof`]), commands ([`Connection::accept`], [`Connection::reject`],
//! [`Connection::send`], [`Connection::close`]), things to do ([`Connection::output`],
//! [`Connection::consume_output`]) and questions.
//!
//! An idle open connection owns no heap memory, but for what was agreed about compression.

mod codec;
mod inbound;
pub mod output;
mod pace;
mod rate;
mod state;

use std::borrow::Cow;
use std::io::IoSlice;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use self::codec::Codec;
use self::inbound::{Inbound, check_order};
use self::output::{BufferPool, Output};
pub use self::pace::Framing;
use self::pace::Pace;
use self::rate::Rate;
use self::state::State;
use crate::protocol::close::{self, CloseCode};
use crate::protocol::error::{Rejection, Violation};
use crate::protocol::frame::{self, Header, Opcode, Role, Rsv1};
use crate::protocol::handshake::Upgrade;
use crate::protocol::http::{MAX_HEAD_BYTES, find_head};
use crate::protocol::message::{Assembler, MessageKind, MessageLimits};
use crate::protocol::{mask, utf8};

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
    /// Most bytes that wait for a peer to read them, beyond one message, with what it costs to keep
    /// them in pieces (`maxQueue`).
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

impl Default for Limits {
    /// The values of the shipped websock.ini, which gives the reason for each.
    fn default() -> Self {
        Self {
            max_message_bytes: 16 << 20,
            max_fragments: 1_000_000,
            max_queue_bytes: 8 << 20,
            max_control_frames_per_second: 1000,
            max_messages_per_second: 0,
            handshake_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(30),
            pong_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(30),
            min_progress_bytes: 1024,
        }
    }
}

/// What every call of one turn of the loop may use.
#[derive(Debug)]
pub struct Turn<'a> {
    /// The time, taken once per turn.
    pub now: Instant,
    /// What a connection may use.
    pub limits: &'a Limits,
    /// Spare buffers.
    pub pool: &'a mut BufferPool,
}

/// Whether a quiet peer is asked for a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keepalive {
    /// Pings, and an end to a peer that does not answer.
    Pings,
    /// None here: the peer cannot answer while it works (contract 5.2).
    None,
}

/// A complete data message. Its text has been checked.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// UTF-8 text.
    Text(Cow<'a, str>),
    /// Any bytes.
    Binary(Cow<'a, [u8]>),
}

impl Message<'_> {
    /// The payload.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The buffer it was gathered in, if it was, to be used again.
    pub fn into_buffer(self) -> Option<Vec<u8>> {
        match self {
            Self::Text(Cow::Owned(text)) => Some(text.into_bytes()),
            Self::Binary(Cow::Owned(bytes)) => Some(bytes),
            Self::Text(Cow::Borrowed(_)) | Self::Binary(Cow::Borrowed(_)) => None,
        }
    }

    /// What it carries.
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
        }
    }
}

/// What an arrival has brought about.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole request head: [`Connection::accept`] or [`Connection::reject`] has to follow before
    /// anything else is received.
    Head(Cow<'a, [u8]>),
    /// The request was refused here; the answer is on its way.
    Refused(Rejection),
    /// A message.
    Message(Message<'a>),
    /// The peer's close frame came, with its code if it gave one. It has been answered.
    Closed(Option<CloseCode>),
    /// The peer broke a rule; the close frame that says so is on its way.
    Failed(Violation),
    /// The peer is gone without a close frame, or did not answer in time (recorded as 1006).
    Lost,
}

/// A frame to send, encoded without mask: the whole frame, and the length of its header.
#[derive(Clone, Debug)]
pub enum Outgoing<'a> {
    /// Bytes that are copied.
    Copied(&'a [u8]),
    /// A range of bytes that several connections send.
    Shared(&'a Rc<Vec<u8>>, Range<usize>),
}

impl Outgoing<'_> {
    fn frame(&self) -> &[u8] {
        match self {
            Self::Copied(frame) => frame,
            Self::Shared(bytes, range) => bytes.get(range.clone()).unwrap_or_default(),
        }
    }
}

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The connection is not open.
    NotOpen,
    /// The queue is at its limit (`maxQueue`).
    QueueFull,
}

/// One connection, from accept to its end.
#[derive(Debug)]
pub struct Connection {
    state: State,
    inbound: Option<Box<Inbound>>,
    output: Output,
    /// Compression, if it was agreed on.
    codec: Option<Box<Codec>>,
    pace: Pace,
    keepalive: Keepalive,
    control_rate: Rate,
    message_rate: Rate,
}

impl Connection {
    /// A connection that was accepted at `turn.now`.
    pub fn new(turn: &Turn<'_>) -> Self {
        let deadline = turn.now + turn.limits.handshake_timeout;
        Self {
            state: State::Connecting {
                head: Vec::new(),
                deadline,
            },
            inbound: None,
            output: Output::default(),
            codec: None,
            pace: Pace::new(Framing::Stream),
            keepalive: Keepalive::None,
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
            State::Connecting { .. } => self.receive_head(input, turn),
            State::Deciding { .. } => None,
            State::Open { heard, pinged } => {
                (*heard, *pinged) = (turn.now, None);
                self.receive_frames(input, turn)
            }
            State::Closing { .. } => self.receive_frames(input, turn),
            State::Draining { .. } | State::Closed { .. } | State::Gone => {
                *input = &mut [];
                None
            }
        }
    }

    /// Does what is due at `turn.now`; harmless if early.
    pub fn handle_timeout(&mut self, turn: &mut Turn<'_>) -> Option<Event<'static>> {
        if self
            .next_deadline(turn.limits)
            .is_none_or(|due| due > turn.now)
        {
            return None;
        }
        match self.state {
            State::Connecting { .. } | State::Deciding { .. } => {
                self.reject(Rejection::Timeout, turn);
                Some(Event::Refused(Rejection::Timeout))
            }
            State::Open { heard, pinged } => self.handle_open_timeout(heard, pinged, turn),
            State::Closing { .. } | State::Draining { .. } | State::Closed { .. } => {
                self.abort();
                Some(Event::Lost)
            }
            State::Gone => None,
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
        self.keepalive = keepalive;
        self.codec = upgrade.agreed().map(|agreed| Box::new(Codec::new(agreed)));
        self.state = State::Open {
            heard: turn.now,
            pinged: None,
        };
        let padded_len = self.pace.opening_len();
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

    /// Queues a frame as it is. A compressed one must be for a peer whose
    /// [`window_bits`](Self::window_bits) are no fewer, and must not refer to messages before it.
    pub fn send(&mut self, outgoing: &Outgoing<'_>, turn: &mut Turn<'_>) -> Result<(), SendError> {
        if let Some(codec) = &mut self.codec
            && frame::is_compressed(outgoing.frame())
        {
            codec.forget_context();
        }
        self.queue(outgoing, turn)
    }

    /// Queues a frame for this peer alone: compressed if that was agreed on, if the message is not
    /// below the threshold, and if it gets shorter; else as it is.
    pub fn send_deflated(
        &mut self,
        outgoing: &Outgoing<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<(), SendError> {
        let is_open = self.is_open();
        let codec = self.codec.as_mut().filter(|_| is_open);
        let Some(codec) = codec.filter(|codec| codec.is_worthwhile(outgoing.frame())) else {
            return self.queue(outgoing, turn);
        };
        let mut deflated = turn.pool.take();
        if !codec.deflate_frame(outgoing.frame(), turn.pool, &mut deflated) {
            turn.pool.give(deflated);
            return self.queue(outgoing, turn);
        }
        let queued = self.queue(&Outgoing::Copied(&deflated), turn);
        if let (Err(_), Some(codec)) = (queued, &mut self.codec) {
            codec.forget_context();
        }
        turn.pool.give(deflated);
        queued
    }

    fn queue(&mut self, outgoing: &Outgoing<'_>, turn: &mut Turn<'_>) -> Result<(), SendError> {
        if !self.is_open() {
            return Err(SendError::NotOpen);
        }
        let len = outgoing.frame().len();
        if !self.output.is_empty() && self.output.weight() + len > turn.limits.max_queue_bytes {
            return Err(SendError::QueueFull);
        }
        if self.pace.reshapes() {
            self.push_reshaped(outgoing.frame());
            return Ok(());
        }
        match outgoing {
            Outgoing::Copied(frame) => {
                self.output
                    .append(turn.pool, |out| out.extend_from_slice(frame));
            }
            Outgoing::Shared(bytes, range) => self.output.push_shared(bytes, range.clone()),
        }
        Ok(())
    }

    /// Lends the end of the output queue to whoever encodes frames for this connection, so that no
    /// byte is copied twice. `None` if its frames need a shape of their own, if they may have to be
    /// compressed, or if it is not open;
    /// [`return_output`](Self::return_output) has to follow before any other call.
    pub fn lend_output(&mut self, pool: &mut BufferPool) -> Option<Vec<u8>> {
        let lends = self.is_open() && !self.pace.reshapes() && self.codec.is_none();
        lends.then(|| self.output.take_tail(pool))
    }

    /// See [`lend_output`](Self::lend_output).
    pub fn return_output(&mut self, tail: Vec<u8>, pool: &mut BufferPool) {
        self.output.put_tail(tail, pool);
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
        self.output.clear();
    }

    /// Drops what waits to leave.
    pub fn drop_output(&mut self) {
        self.output.clear();
    }

    // ---- things to do

    /// Bytes that may leave now, in at most `slices.len()` pieces; returns how many pieces.
    pub fn output<'a>(&'a self, slices: &mut [IoSlice<'a>], now: Instant) -> usize {
        if self.output.is_empty() || !self.pace.is_due(now) {
            return 0;
        }
        if self.pace.is_paced() || self.output.is_one_piece() {
            slices[0] = IoSlice::new(self.output.front());
            return 1;
        }
        self.output.fill_slices(slices)
    }

    /// Removes bytes that have left at `now`.
    ///
    /// While more waits behind them, a peer that takes bytes shows that it lives: it cannot answer
    /// a ping that it has not reached yet.
    pub fn consume_output(&mut self, byte_count: usize, now: Instant, pool: &mut BufferPool) {
        if let State::Open {
            pinged: Some(pinged),
            ..
        } = &mut self.state
            && byte_count < self.output.len()
        {
            *pinged = now;
        }
        if self.output.consume(byte_count, pool) > 0 {
            self.pace.frame_left(now);
        }
    }

    /// Gives back memory that is not needed while the peer does not read.
    pub fn settle_output(&mut self, pool: &mut BufferPool) {
        self.output.settle(pool);
    }

    // ---- questions

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn next_deadline(&self, limits: &Limits) -> Option<Instant> {
        match self.state {
            State::Connecting { deadline, .. }
            | State::Deciding { deadline }
            | State::Closing { deadline }
            | State::Draining { deadline }
            | State::Closed { deadline } => Some(deadline),
            State::Open { heard, pinged } => {
                let alive = self.keepalive_deadline(heard, pinged, limits);
                let stalled = self
                    .inbound
                    .as_ref()
                    .map(|i| i.judged + limits.stall_timeout);
                alive.into_iter().chain(stalled).min()
            }
            State::Gone => None,
        }
    }

    /// When output that is held back for a moment may leave (contract 6.1, 6.3).
    pub fn next_write(&self) -> Option<Instant> {
        if self.output.is_empty() {
            None
        } else {
            self.pace.next_write()
        }
    }

    /// Bytes that wait to leave.
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Base-2 logarithm of the window that messages to this peer may be compressed with; `None`:
    /// they must not be compressed.
    pub fn window_bits(&self) -> Option<u8> {
        self.codec.as_ref().map(|codec| codec.window_bits())
    }

    /// Whether so much waits to leave that the peer is not to be read until it has taken some of it
    /// (back-pressure on echo loops).
    pub fn is_congested(&self, limits: &Limits) -> bool {
        self.output.len() > limits.max_queue_bytes / 2
    }

    /// Whether messages flow.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether a request head has been handed out and not been answered.
    pub fn is_deciding(&self) -> bool {
        matches!(self.state, State::Deciding { .. })
    }

    /// Whether the handshake is still to come.
    pub fn is_pending(&self) -> bool {
        matches!(
            self.state,
            State::Connecting { .. } | State::Deciding { .. }
        )
    }

    /// Whether the sending side is to be shut down, all having been said and sent.
    pub fn is_said(&self) -> bool {
        matches!(self.state, State::Draining { .. }) && self.output.is_empty()
    }

    /// Whether nothing has come yet.
    pub fn is_untouched(&self) -> bool {
        matches!(&self.state, State::Connecting { head, .. } if head.is_empty())
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

    /// Bytes of heap memory that this connection alone holds.
    pub fn held_bytes(&self) -> usize {
        let head = match &self.state {
            State::Connecting { head, .. } => head.capacity(),
            _ => 0,
        };
        let inbound = self.inbound.as_ref().map_or(0, |i| i.held_bytes());
        let codec = self.codec.as_ref().map_or(0, |codec| codec.held_bytes());
        head + self.output.held_bytes() + inbound + codec
    }

    // ---- the head

    fn receive_head<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        turn: &mut Turn<'_>,
    ) -> Option<Event<'a>> {
        let State::Connecting { head, deadline } = &mut self.state else {
            return None;
        };
        let deadline = *deadline;
        let searched = head.len();
        let found = if head.is_empty() {
            find_head(input, 0)
        } else {
            head.extend_from_slice(&input[..input.len().min(MAX_HEAD_BYTES + 1 - searched)]);
            find_head(head, searched)
        };
        match found {
            Ok(Some(len)) => {
                let in_front = std::mem::take(head);
                self.state = State::Deciding { deadline };
                let taken = take(input, len - searched);
                Some(Event::Head(whole_head(in_front, taken, len)))
            }
            Ok(None) => {
                if searched == 0 {
                    head.extend_from_slice(input);
                }
                *input = &mut [];
                None
            }
            Err(rejection) => {
                *input = &mut [];
                self.reject(rejection, turn);
                Some(Event::Refused(rejection))
            }
        }
    }

    // ---- frames

    fn receive_frames<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        turn: &mut Turn<'_>,
    ) -> Option<Event<'a>> {
        while !input.is_empty() {
            match self.next_frame(input, turn) {
                Ok(None) => {}
                Ok(Some(Event::Message(_))) if !self.is_open() => {}
                Ok(Some(event)) => return Some(event),
                Err(violation) => return self.fail(violation, input, turn),
            }
        }
        self.settle_message(turn.pool);
        None
    }

    /// Gives back memory that an unfinished message does not need while it waits.
    fn settle_message(&mut self, pool: &mut BufferPool) {
        let message = self
            .inbound
            .as_mut()
            .and_then(|inbound| inbound.message.as_mut());
        if let Some(buffer) = message.and_then(Assembler::settle) {
            pool.give(buffer);
        }
    }

    /// One step: completes a header, or a frame, or takes in what there is.
    fn next_frame<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        turn: &mut Turn<'_>,
    ) -> Result<Option<Event<'a>>, Violation> {
        let rsv1 = self.rsv1();
        let Some(inbound) = &mut self.inbound else {
            return self.next_whole_frame(input, false, turn);
        };
        if inbound.frame.is_some() {
            return self.continue_frame(input, turn);
        }
        if inbound.has_kept_header() {
            let Some((header, taken)) = inbound.complete_header(input, rsv1)? else {
                *input = &mut [];
                return Ok(None);
            };
            take(input, taken);
            return self.begin_frame(header, input, turn);
        }
        let is_message_begun = inbound.message.is_some();
        self.next_whole_frame(input, is_message_begun, turn)
    }

    /// The usual case: a header at the front of `input`, with its payload behind it.
    fn next_whole_frame<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        is_message_begun: bool,
        turn: &mut Turn<'_>,
    ) -> Result<Option<Event<'a>>, Violation> {
        let Some((header, len)) = Header::parse(input, Role::Server, self.rsv1())? else {
            self.inbound_mut(turn.now).keep_header(input);
            *input = &mut [];
            return Ok(None);
        };
        take(input, len);
        let is_whole = header.fin && header.payload_len <= input.len() as u64;
        if !is_whole || is_message_begun || header.opcode.is_control() || header.rsv1 {
            return self.begin_frame(header, input, turn);
        }
        check_order(header.opcode, is_message_begun)?;
        self.count_message(turn)?;
        if header.payload_len > turn.limits.max_message_bytes as u64 {
            return Err(Violation::MessageTooBig);
        }
        let payload = take(input, header.payload_len as usize);
        mask::apply(header.masking_key, 0, payload);
        whole_message(header.opcode, payload).map(Some)
    }

    /// Judges a frame whose payload is not at hand as a whole, or is not a whole message.
    fn begin_frame<'a>(
        &mut self,
        header: Header,
        input: &mut &'a mut [u8],
        turn: &mut Turn<'_>,
    ) -> Result<Option<Event<'a>>, Violation> {
        let is_message_begun = self.inbound.as_ref().is_some_and(|i| i.message.is_some());
        check_order(header.opcode, is_message_begun)?;
        if header.opcode.is_control() {
            self.count_control(turn)?;
        } else {
            if header.opcode != Opcode::Continuation {
                self.count_message(turn)?;
            }
            let limits = MessageLimits {
                max_bytes: turn.limits.max_message_bytes,
                max_fragments: turn.limits.max_fragments,
            };
            let begun = self.inbound_mut(turn.now).message.take();
            let mut message = begun.unwrap_or_else(|| self.begin_message(&header, turn.pool));
            message.begin_fragment(&header, limits)?;
            self.inbound_mut(turn.now).message = Some(message);
        }
        self.inbound_mut(turn.now).begin(header);
        self.continue_frame(input, turn)
    }

    /// Where the message of this first header is gathered.
    fn begin_message(&mut self, header: &Header, pool: &mut BufferPool) -> Assembler {
        let is_open = self.is_open();
        let kind = match header.opcode {
            Opcode::Text => MessageKind::Text,
            _ => MessageKind::Binary,
        };
        match &mut self.codec {
            Some(codec) if header.rsv1 && is_open => {
                let inflater = codec.take_inflater(pool);
                Assembler::with_inflater(kind, pool.take(), inflater)
            }
            // Once our close frame is out nobody reads messages: their bytes are let pass.
            _ if header.rsv1 => Assembler::with_buffer(MessageKind::Binary, pool.take()),
            _ => Assembler::with_buffer(kind, pool.take()),
        }
    }

    fn end_message(
        &mut self,
        mut message: Assembler,
        pool: &mut BufferPool,
    ) -> Result<Event<'static>, Violation> {
        if let (Some(inflater), Some(codec)) = (message.end_inflating()?, &mut self.codec) {
            codec.give_inflater(inflater, pool);
        }
        gathered_message(message)
    }

    /// Takes payload of the frame that has begun; acts on it once it is complete.
    fn continue_frame<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        turn: &mut Turn<'_>,
    ) -> Result<Option<Event<'a>>, Violation> {
        let Some(inbound) = &mut self.inbound else {
            return Ok(None);
        };
        let len = inbound.missing().min(input.len() as u64) as usize;
        let Some(header) = inbound.push(take(input, len))? else {
            return Ok(None);
        };
        let event = if header.opcode.is_control() {
            let payload = std::mem::take(&mut inbound.control);
            self.drop_inbound_if_done();
            self.handle_control(header.opcode, &payload, turn)?
        } else if header.fin {
            let message = inbound.message.take();
            self.drop_inbound_if_done();
            message
                .map(|message| self.end_message(message, turn.pool))
                .transpose()?
        } else {
            None
        };
        Ok(event)
    }

    fn handle_control(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        turn: &mut Turn<'_>,
    ) -> Result<Option<Event<'static>>, Violation> {
        match opcode {
            Opcode::Close => {
                let parsed = close::parse(payload)?.map(|(code, _)| code);
                self.handle_close(parsed, turn);
                Ok(Some(Event::Closed(parsed)))
            }
            Opcode::Ping if self.is_open() => {
                // §5.5.3: only the latest of several pings needs its pong; a peer that pings and
                // does not read gets none while its queue is full.
                if self.output.weight() <= turn.limits.max_queue_bytes {
                    self.push_control(Opcode::Pong, payload, turn.pool);
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// RFC 6455 §5.5.1: a close frame is answered by one with the same code, once.
    fn handle_close(&mut self, code: Option<CloseCode>, turn: &mut Turn<'_>) {
        if self.is_open() {
            self.push_close(code.map(|code| (code, "")), turn.pool);
        }
        self.forget_input();
        self.state = State::Closed {
            deadline: turn.now + turn.limits.close_timeout,
        };
    }

    /// RFC 6455 §7.1.7: says what was wrong and stops listening.
    fn fail<'a>(
        &mut self,
        violation: Violation,
        input: &mut &'a mut [u8],
        turn: &mut Turn<'_>,
    ) -> Option<Event<'a>> {
        *input = &mut [];
        let was_open = self.is_open();
        self.break_off(violation, turn);
        was_open.then_some(Event::Failed(violation))
    }

    fn break_off(&mut self, violation: Violation, turn: &mut Turn<'_>) {
        if self.is_open() {
            self.push_close(
                Some((violation.close_code(), violation.reason())),
                turn.pool,
            );
        }
        self.forget_input();
        self.state = State::Draining {
            deadline: turn.now + turn.limits.close_timeout,
        };
    }

    // ---- deadlines

    fn keepalive_deadline(
        &self,
        heard: Instant,
        pinged: Option<Instant>,
        limits: &Limits,
    ) -> Option<Instant> {
        match (self.keepalive, pinged) {
            (Keepalive::None, _) => None,
            (Keepalive::Pings, Some(pinged)) => Some(pinged + limits.pong_timeout),
            (Keepalive::Pings, None) if limits.ping_interval.is_zero() => None,
            (Keepalive::Pings, None) => Some(heard + limits.ping_interval),
        }
    }

    fn handle_open_timeout(
        &mut self,
        heard: Instant,
        pinged: Option<Instant>,
        turn: &mut Turn<'_>,
    ) -> Option<Event<'static>> {
        let is_congested = self.is_congested(turn.limits);
        if let Some(inbound) = &mut self.inbound
            && inbound.judged + turn.limits.stall_timeout <= turn.now
        {
            // What is not read cannot advance.
            if inbound.progress < turn.limits.min_progress_bytes && !is_congested {
                self.break_off(Violation::MessageStalled, turn);
                return Some(Event::Failed(Violation::MessageStalled));
            }
            (inbound.judged, inbound.progress) = (turn.now, 0);
        }
        let due = self.keepalive_deadline(heard, pinged, turn.limits)?;
        if due > turn.now {
            return None;
        }
        if pinged.is_some() {
            self.abort();
            return Some(Event::Lost);
        }
        self.state = State::Open {
            heard,
            pinged: Some(turn.now),
        };
        self.push_control(Opcode::Ping, PING_PAYLOAD, turn.pool);
        None
    }

    // ---- output

    fn push_close(&mut self, payload: Option<(CloseCode, &str)>, pool: &mut BufferPool) {
        let mut bytes = Vec::new();
        if let Some((code, reason)) = payload {
            close::write(code, reason, &mut bytes);
        }
        self.push_control(Opcode::Close, &bytes, pool);
    }

    fn push_control(&mut self, opcode: Opcode, payload: &[u8], pool: &mut BufferPool) {
        if self.pace.is_paced() {
            let mut bytes = Vec::new();
            frame::encode(opcode, payload, &mut bytes);
            self.output.push_segment(bytes);
        } else {
            self.output
                .append(pool, |out| frame::encode(opcode, payload, out));
        }
    }

    fn push_reshaped(&mut self, plain_frame: &[u8]) {
        let reshaped = self.pace.reshape(plain_frame);
        if self.pace.take_opening() {
            // The 101 and the first frame may leave together (contract 6, table).
            let mut pool = BufferPool::default();
            self.output
                .append(&mut pool, |out| out.extend_from_slice(&reshaped));
        } else {
            self.output.push_segment(reshaped);
        }
    }

    // ---- small things

    fn count_control(&mut self, turn: &Turn<'_>) -> Result<(), Violation> {
        let limit = turn.limits.max_control_frames_per_second;
        let counted = self.control_rate.count(limit, turn.now);
        if counted {
            Ok(())
        } else {
            Err(Violation::TooManyControlFrames)
        }
    }

    fn count_message(&mut self, turn: &Turn<'_>) -> Result<(), Violation> {
        let limit = turn.limits.max_messages_per_second;
        let counted = limit == 0 || self.message_rate.count(limit, turn.now);
        if counted {
            Ok(())
        } else {
            Err(Violation::TooManyMessages)
        }
    }

    /// RSV1 has a meaning only where compression was agreed on (RFC 7692 §6).
    fn rsv1(&self) -> Rsv1 {
        if self.codec.is_some() {
            Rsv1::MarksCompressed
        } else {
            Rsv1::Forbidden
        }
    }

    /// Nothing more is received and no message is sent: frees what only those need.
    fn forget_input(&mut self) {
        self.inbound = None;
        self.codec = None;
    }

    fn inbound_mut(&mut self, now: Instant) -> &mut Inbound {
        self.inbound
            .get_or_insert_with(|| Box::new(Inbound::new(now)))
    }

    fn drop_inbound_if_done(&mut self) {
        if self
            .inbound
            .as_ref()
            .is_some_and(|inbound| inbound.is_done())
        {
            self.inbound = None;
        }
    }
}

/// Payload of the server's own pings (contract 5.2).
pub const PING_PAYLOAD: &[u8] = br#"{"opcode":"PING"}"#;

/// The head as it came in one piece, or as it was gathered.
fn whole_head<'a>(mut gathered: Vec<u8>, in_one_piece: &'a [u8], len: usize) -> Cow<'a, [u8]> {
    if gathered.is_empty() {
        return Cow::Borrowed(in_one_piece);
    }
    gathered.truncate(len);
    Cow::Owned(gathered)
}

/// Splits `len` bytes off the front of `input`.
fn take<'a>(input: &mut &'a mut [u8], len: usize) -> &'a mut [u8] {
    let all = std::mem::take(input);
    let (front, rest) = all.split_at_mut(len.min(all.len()));
    *input = rest;
    front
}

fn whole_message<'a>(opcode: Opcode, payload: &'a [u8]) -> Result<Event<'a>, Violation> {
    let message = if opcode == Opcode::Text {
        Message::Text(Cow::Borrowed(
            utf8::check(payload).ok_or(Violation::InvalidUtf8)?,
        ))
    } else {
        Message::Binary(Cow::Borrowed(payload))
    };
    Ok(Event::Message(message))
}

fn gathered_message(message: Assembler) -> Result<Event<'static>, Violation> {
    let (kind, bytes) = message.finish()?;
    let message = match kind {
        MessageKind::Binary => Message::Binary(Cow::Owned(bytes)),
        MessageKind::Text => {
            let text = String::from_utf8(bytes).map_err(|_| Violation::InvalidUtf8)?;
            Message::Text(Cow::Owned(text))
        }
    };
    Ok(Event::Message(message))
}

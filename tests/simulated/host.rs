//! The near end: one connection of the crate alone. The loop around it is tested in `turns`.

use std::io::IoSlice;
use std::time::Duration;

use websock::api::{BodyPart, Response};
use websock::connection::{
    AfterResponse, Connection, Event, Expectation, Keepalive, Limits, Message, MonotonicTime,
    Outgoing, PhpFraming, SendError, TurnContext,
};
use websock::protocol::body::BodyLength;
use websock::protocol::close_code::CloseCode;
use websock::protocol::error::{Rejection, Violation};
use websock::protocol::extension::CompressionSettings;
use websock::protocol::handshake::Upgrade;
use websock::protocol::http::Request;

use crate::client::{self, Said, read_server};

/// An [`Event`] that owns what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Head(Vec<u8>),
    Body(Vec<u8>),
    Refused(Rejection),
    Text(String),
    Binary(Vec<u8>),
    Closed(Option<u16>),
    Failed(Violation),
    Lost,
    PingSent,
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event.message() {
            Some(Message::Text(text)) => return Self::Text(text.as_str().to_owned()),
            Some(Message::Binary(bytes)) => return Self::Binary(bytes.to_owned()),
            None => {}
        }
        match event {
            Event::Head(head) => Self::Head(head.into_owned()),
            Event::Body(body) => Self::Body(body),
            Event::Refused(rejection) => Self::Refused(rejection),
            Event::Message(_) | Event::AssembledMessage(_) => unreachable!("a message"),
            Event::Closed(code) => Self::Closed(code.map(CloseCode::as_u16)),
            Event::Failed(violation) => Self::Failed(violation),
            Event::Lost | Event::TimedOut(_) => Self::Lost,
            Event::PingSent => Self::PingSent,
        }
    }
}

/// What is done with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Listen,
    Echo,
    /// There are none: requests have bodies, and are answered by [`Host::respond`].
    Requests,
}

/// One connection with its share of a server: the clock, the limits, the spare buffers.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) connection: Connection,
    pub(crate) context: TurnContext,
    pub(crate) service: Service,
    /// How a good request is answered.
    pub(crate) framing: PhpFraming,
    pub(crate) keepalive: Keepalive,
    /// The body that waits for a response.
    pub(crate) body: Option<Vec<u8>>,
    /// What has come of the input, first to last.
    pub(crate) seen: Vec<Seen>,
    /// Everything that has left, and the length and time of each write.
    pub(crate) wire: Vec<u8>,
    pub(crate) writes: Vec<(usize, MonotonicTime)>,
}

impl Host {
    /// A connection that has just been accepted.
    pub(crate) fn new(limits: Limits) -> Self {
        let now = MonotonicTime::START;
        let context = TurnContext::new(now, limits);
        let connection = Connection::new(&context);
        Self {
            connection,
            context,
            service: Service::Echo,
            framing: PhpFraming::Stream,
            keepalive: Keepalive::Pings,
            body: None,
            seen: Vec::new(),
            wire: Vec::new(),
            writes: Vec::new(),
        }
    }

    /// A connection on which frames flow: its 101 has left, and nothing is remembered of it.
    pub(crate) fn open_with(limits: Limits) -> Self {
        Self::new(limits).opened()
    }

    /// The same with the limits of the shipped ini.
    pub(crate) fn open() -> Self {
        Self::open_with(Limits::default())
    }

    /// The connection after its handshake.
    pub(crate) fn opened(mut self) -> Self {
        self.feed(&client::request(""));
        self.drain();
        assert!(self.connection.is_open());
        self.seen.clear();
        self
    }

    /// Takes in bytes as one read of the loop does, and acts on what comes of them.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let mut buffer = bytes.to_vec();
        let mut input = buffer.as_mut_slice();
        for _ in 0..=2 * bytes.len() + 2 {
            let before = input.len();
            let event = self.connection.receive(&mut input, &mut self.context);
            assert!(input.len() <= before, "more is left than was given");
            let Some(event) = event else {
                let may_wait = self.connection.is_awaiting();
                assert!(
                    input.is_empty() || may_wait,
                    "nothing came of it, and bytes are left"
                );
                return;
            };
            let seen = Seen::from(event);
            self.act(&seen);
            self.seen.push(seen);
        }
        panic!("more events than bytes");
    }

    /// Takes in the pieces one after the other.
    pub(crate) fn feed_all<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) {
        pieces.into_iter().for_each(|piece| self.feed(piece));
    }

    fn act(&mut self, seen: &Seen) {
        match seen {
            Seen::Head(head) => {
                let decided = Request::parse(head).and_then(|request| self.decide(&request));
                decided.unwrap_or_else(|rejection| self.reject(rejection));
            }
            Seen::Body(body) => self.body = Some(body.clone()),
            Seen::Text(text) if self.service == Service::Echo => {
                self.send(client::TEXT, text.as_bytes()).unwrap();
            }
            Seen::Binary(bytes) if self.service == Service::Echo => {
                self.send(client::BINARY, bytes).unwrap();
            }
            _ => {}
        }
    }

    fn decide(&mut self, request: &Request<'_>) -> Result<(), Rejection> {
        if self.service == Service::Requests {
            return self.await_body(request);
        }
        let upgrade = Upgrade::check(request)?.negotiate(request, &CompressionSettings::default());
        self.accept(&upgrade);
        Ok(())
    }

    fn await_body(&mut self, request: &Request<'_>) -> Result<(), Rejection> {
        let length = BodyLength::of(request)?;
        self.body = self.call(|connection, turn| {
            connection.expect_body(
                (length, turn.limits.max_message_bytes),
                Expectation::None,
                turn,
            )
        })?;
        Ok(())
    }

    /// Answers the request whose body has come.
    pub(crate) fn respond(&mut self, response: &Response) {
        assert!(self.body.take().is_some(), "nobody has asked");
        self.call(|connection, turn| {
            let write = |out: &mut Vec<u8>| response.write(BodyPart::Sent, Some("close"), out);
            connection.respond(AfterResponse::Close, write, turn);
        });
    }

    fn accept(&mut self, upgrade: &Upgrade) {
        assert!(self.connection.is_pending());
        let (framing, keepalive) = (self.framing, self.keepalive);
        self.call(|connection, turn| connection.accept(upgrade, framing, keepalive, turn));
        assert!(!self.connection.is_pending());
    }

    /// Calls the connection with the turn that it needs.
    pub(crate) fn call<T>(&mut self, f: impl FnOnce(&mut Connection, &mut TurnContext) -> T) -> T {
        f(&mut self.connection, &mut self.context)
    }

    pub(crate) fn reject(&mut self, rejection: Rejection) {
        self.call(|connection, turn| connection.reject(rejection, turn));
    }

    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) -> Result<(), SendError> {
        let frame = client::server_frame(opcode, payload);
        self.send_frame(&Outgoing::Copied(&frame))
    }

    pub(crate) fn send_frame(&mut self, outgoing: &Outgoing<'_>) -> Result<(), SendError> {
        self.call(|connection, turn| match outgoing {
            Outgoing::Copied(_) => connection.send_deflated(outgoing, turn),
            Outgoing::Shared(..) => connection.send(outgoing, turn),
        })
    }

    pub(crate) fn close(&mut self, code: CloseCode, reason: &str) {
        self.call(|connection, turn| connection.close(code, reason, turn));
    }

    pub(crate) fn eof(&mut self) {
        if let Some(event) = self.call(Connection::handle_eof) {
            self.seen.push(event.into());
        }
    }

    // ---- time

    /// Moves the clock, and calls when something is due at the new time; what came of it.
    pub(crate) fn advance(&mut self, by: Duration) -> Option<Seen> {
        self.context.now += by;
        self.expire()
    }

    /// Calls if something is due, as the wheel does.
    pub(crate) fn expire(&mut self) -> Option<Seen> {
        let due = self.connection.next_deadline(&self.context.limits)?;
        if due > self.context.now {
            return None;
        }
        let seen = self.call(Connection::handle_timeout).map(Seen::from);
        let seen = seen.filter(|seen| *seen != Seen::PingSent);
        self.seen.extend(seen.clone());
        let next = self.connection.next_deadline(&self.context.limits);
        assert!(next.is_none_or(|next| next > self.context.now), "still due");
        seen
    }

    /// How long it is until something is due.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        let due = self.connection.next_deadline(&self.context.limits)?;
        Some(due - self.context.now)
    }

    // ---- output

    /// Writes everything that may leave now.
    pub(crate) fn drain(&mut self) {
        while self.write(usize::MAX) > 0 {}
    }

    /// One write of at most `most` bytes; how many left.
    pub(crate) fn write(&mut self, most: usize) -> usize {
        let mut slices = [IoSlice::new(&[]); 16];
        let count = self.connection.output(&mut slices, self.context.now);
        let pieces: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
        assert!(count == 0 || !pieces.is_empty(), "pieces without bytes");
        let len = pieces.len().min(most);
        if len > 0 {
            self.wire.extend_from_slice(&pieces[..len]);
            self.writes.push((len, self.context.now));
            self.connection
                .consume_output(len, self.context.now, &mut self.context.pool);
        }
        len
    }

    /// Writes everything that waits, moving the clock where a gap has to be kept.
    pub(crate) fn drain_with_time(&mut self) {
        for _ in 0..100_000 {
            self.drain();
            let Some(next) = self.connection.next_write() else {
                return;
            };
            assert!(next > self.context.now, "output is due and does not come");
            self.context.now = next;
        }
        panic!("output without end");
    }

    /// What the peer has been told so far: the legal stream that has left.
    #[track_caller]
    pub(crate) fn said(&mut self) -> Said {
        self.drain();
        read_server(&self.wire)
    }

    /// No header, frame or message is unfinished: all that is held is what waits to leave.
    #[track_caller]
    pub(crate) fn expect_nothing_unfinished(&mut self) {
        self.drain();
        self.expect_idle();
    }

    /// Nothing is unfinished and nothing waits: no memory is held.
    #[track_caller]
    pub(crate) fn expect_idle(&self) {
        assert_eq!(self.connection.output_len(), 0);
        assert_eq!(self.connection.held_bytes(), 0);
    }
}

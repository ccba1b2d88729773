//! One connection played by hand, as the server's loop plays it, with checks on the way.

use std::io::IoSlice;
use std::rc::Rc;
use std::time::Duration;

use websock::api::{BodyPart, Response};
use websock::base::SharedBytes;
use websock::connection::output::BufferPool;
use websock::connection::{
    AfterResponse, Connection, Event, Expectation, MonotonicTime, Outgoing, PhpFraming, SendError,
    TurnContext,
};
use websock::protocol::body::BodyLength;
use websock::protocol::close_code::CloseCode;
use websock::protocol::error::Rejection;
use websock::protocol::frame::{self, Opcode};
use websock::protocol::handshake::Upgrade;
use websock::protocol::http::{MAX_HEAD_BYTES, Request, head_len};

use super::script::{Answers, LONGEST_SENT, Ownership, Setting};
use super::stream::{Answer, Heard};

/// What a run has shown, in one form for all ways of cutting.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// In order.
    pub events: Vec<String>,
    /// What the peer has read, and what it should have.
    pub heard: Heard,
}

/// One connection with its share of a server.
pub struct Stage<'a> {
    setting: &'a Setting,
    read_target: ReadTarget,
    connection: Connection,
    context: TurnContext,
    /// Frames that may be waiting to leave.
    frame_count: usize,
    received_bytes: usize,
    /// What is not taken in before earlier requests are answered and the answers read.
    unread: Vec<u8>,
    /// Whether the peer's end comes behind that.
    ends: bool,
    /// The request whose body is awaited.
    exchange: Option<Exchange>,
    /// The latest request was HEAD.
    is_head: bool,
    /// A body that is to be answered in a step of its own.
    unanswered: Option<Vec<u8>>,
    /// What has come of it so far.
    pub outcome: Outcome,
}

/// How the peer's bytes come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ReadTarget {
    /// To be copied.
    Lent,
    /// Payload of long messages where it stays.
    InPlace,
}

/// How a request will be answered.
#[derive(Clone, Copy)]
struct Exchange {
    after: AfterResponse,
    part: BodyPart,
}

impl<'a> Stage<'a> {
    /// A connection that has just been accepted.
    pub fn new(setting: &'a Setting, read_target: ReadTarget) -> Self {
        let mut pool = BufferPool::default();
        pool.give(vec![0xFF; setting.spare_bytes]);
        let now = MonotonicTime::START;
        let mut context = TurnContext::new(now, setting.limits);
        context.pool = pool;
        let connection = Connection::new(&context);
        Self {
            setting,
            read_target,
            connection,
            context,
            frame_count: 0,
            received_bytes: 0,
            unread: Vec::new(),
            ends: false,
            exchange: None,
            is_head: false,
            unanswered: None,
            outcome: Outcome::default(),
        }
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut Connection, &mut TurnContext) -> T) -> T {
        call(&mut self.connection, &mut self.context)
    }

    // ---- arrivals

    /// The peer's bytes arrive.
    pub fn receive(&mut self, piece: &[u8]) {
        if self.ends {
            return;
        }
        self.frame_count += piece.len().div_ceil(6);
        self.received_bytes += piece.len();
        self.unread.extend_from_slice(piece);
        self.go_on();
    }

    /// Takes in what has come, as far as the loop does.
    fn go_on(&mut self) {
        if self.is_held() {
            return;
        }
        let mut bytes = std::mem::take(&mut self.unread);
        let mut input = bytes.as_mut_slice();
        while !self.is_held() {
            self.fill_room(&mut input);
            let before = input.len();
            let event = self.call(|connection, turn| connection.receive(&mut input, turn));
            assert!(input.len() <= before);
            let Some(event) = event else {
                assert!(input.is_empty(), "{} bytes are left", input.len());
                break;
            };
            self.handle(event);
        }
        self.unread = input.to_vec();
        if self.ends && self.unread.is_empty() && !self.is_held() {
            let event = self.call(Connection::handle_eof);
            event.into_iter().for_each(|event| self.handle(event));
        }
    }

    /// Bytes of a message's payload go to where they stay, if there is room for them.
    fn fill_room(&mut self, input: &mut &mut [u8]) {
        while self.read_target == ReadTarget::InPlace
            && !input.is_empty()
            && let Some(room) = self.connection.payload_buffer(1, 1000)
        {
            // Memory follows what has come, not what a header announces.
            assert!(room.len() <= 1000.min(self.received_bytes));
            let len = room.len().min(input.len());
            let (piece, rest) = std::mem::take(input).split_at_mut(len);
            room[..len].copy_from_slice(piece);
            *input = rest;
            let event = self.call(|connection, turn| connection.receive_payload(len, turn));
            event.into_iter().for_each(|event| self.handle(event));
        }
    }

    /// Whether a request is still to be answered, or so much waits that no other is to be read.
    fn is_held(&self) -> bool {
        let limits = &self.setting.limits;
        let is_congested = self.connection.is_pending() && self.connection.is_congested(limits);
        is_congested || self.unanswered.is_some()
    }

    fn handle(&mut self, event: Event<'_>) {
        self.frame_count += 1;
        self.outcome.events.push(match &event {
            Event::Head(head) => format!("Head({})", head.escape_ascii()),
            _ => match event.message() {
                Some(message) => format!("{message:?}"),
                None => format!("{event:?}"),
            },
        });
        match event {
            Event::Head(head) => self.decide(&head),
            Event::Body(body) => self.handle_body(body),
            Event::Refused(rejection) => self.expect_refusal(rejection),
            Event::Lost | Event::TimedOut(_) => {
                self.outcome.heard.was_aborted |= self.connection.is_aborted();
            }
            Event::Message(_)
            | Event::AssembledMessage(_)
            | Event::Closed(_)
            | Event::Failed(_)
            | Event::PingSent => {}
        }
    }

    // ---- requests

    fn decide(&mut self, head: &[u8]) {
        assert_eq!(head_len(head, 0), Some(head.len()));
        // Blanks before it make it another word.
        let line = head.iter().position(|byte| !b"\r\n".contains(byte));
        let line = head.get(line.unwrap_or_default()..).unwrap_or_default();
        self.is_head = line.starts_with(b"HEAD ");
        let result = Request::parse(head).and_then(|request| {
            if request.has_token("Upgrade", "websocket") || request.method() == "PRI" {
                self.accept(&request)
            } else {
                self.await_body(&request)
            }
        });
        if let Err(rejection) = result {
            self.call(|connection, turn| connection.reject(rejection, turn));
            self.expect_refusal(rejection);
        }
    }

    fn accept(&mut self, request: &Request<'_>) -> Result<(), Rejection> {
        let Setting {
            framing, keepalive, ..
        } = *self.setting;
        let mut upgrade = Upgrade::check(request)?;
        // Only those who read a stream can be sent what is compressed.
        if framing == PhpFraming::Stream {
            upgrade = upgrade.negotiate(request, &self.setting.compression);
        }
        self.call(|connection, turn| connection.accept(&upgrade, framing, keepalive, turn));
        self.expect(101, Some(Vec::new()));
        Ok(())
    }

    fn await_body(&mut self, request: &Request<'_>) -> Result<(), Rejection> {
        let length = BodyLength::of(request)?;
        let is_persistent = request.is_http_1_1() && !request.has_token("Connection", "close");
        self.exchange = Some(Exchange {
            after: if is_persistent {
                AfterResponse::KeepAlive
            } else {
                AfterResponse::Close
            },
            part: match request.method() {
                "HEAD" => BodyPart::LeftOut,
                _ => BodyPart::Sent,
            },
        });
        let expectation = match request.header("Expect") {
            Some(_) if request.is_http_1_1() => Expectation::Continue,
            Some(_) | None => Expectation::None,
        };
        let body = self.call(|connection, turn| {
            connection.expect_body((length, turn.limits.max_message_bytes), expectation, turn)
        })?;
        match body {
            Some(body) => self.handle_body(body),
            None if expectation == Expectation::Continue => self.expect(100, Some(Vec::new())),
            None => {}
        }
        Ok(())
    }

    fn handle_body(&mut self, body: Vec<u8>) {
        match self.setting.answers {
            Answers::AtOnce => self.respond(body),
            Answers::Later => self.unanswered = Some(body),
        }
    }

    /// Answers the body that has come, if one has.
    pub fn answer_late(&mut self) {
        if let Some(body) = self.unanswered.take() {
            self.respond(body);
            self.go_on();
        }
    }

    /// The response has the body of the request.
    fn respond(&mut self, body: Vec<u8>) {
        let Exchange { after, part } = self.exchange.take().expect("a request");
        let response = Response::with_body(200, "text/plain", body.clone().into());
        let close = (after == AfterResponse::Close).then_some("close");
        self.call(|connection, turn| {
            connection.respond(after, |out| response.write(part, close, out), turn);
        });
        self.expect(200, (part == BodyPart::Sent).then_some(body));
        // What follows is another request, and may be refused before it says what it is.
        self.is_head = false;
    }

    fn expect_refusal(&mut self, rejection: Rejection) {
        let body = format!("{}\n", rejection.reason()).into_bytes();
        let body = Some(body).filter(|_| !self.is_head);
        self.expect(rejection.status(), body);
    }

    fn expect(&mut self, status: u16, body: Option<Vec<u8>>) {
        let answers = &mut self.outcome.heard.answers;
        answers.push(Answer { status, body });
    }

    /// Time passes; what is due is done.
    pub fn wait(&mut self, time: Duration) {
        self.context.now += time;
        let limits = &self.setting.limits;
        let is_due = self
            .connection
            .next_deadline(limits)
            .is_some_and(|due| due <= self.context.now);
        let event = self.call(Connection::handle_timeout);
        assert!(is_due || event.is_none(), "early, but {event:?}");
        let next = self.connection.next_deadline(limits);
        assert!(
            next.is_none_or(|due| due > self.context.now),
            "a deadline stays due"
        );
        self.frame_count += 1;
        event.into_iter().for_each(|event| self.handle(event));
        // What was held may have nobody any more who answers it.
        self.go_on();
    }

    // ---- commands

    /// Sends a message, compressed if that was agreed on.
    pub fn send(&mut self, opcode: Opcode, payload: &[u8], ownership: Ownership) {
        let mut bytes = Vec::new();
        frame::encode(opcode, payload, &mut bytes);
        let limits = &self.setting.limits;
        let waiting = self.connection.output_len();
        let was_open = self.connection.is_open();
        let result = match ownership {
            Ownership::Copied => self
                .call(|connection, turn| connection.send_deflated(&Outgoing::Copied(&bytes), turn)),
            Ownership::Shared => {
                let shared = Rc::new(SharedBytes::from(self.shared_form(bytes)));
                let all = 0..shared.len();
                self.call(|connection, turn| connection.send(&Outgoing::Shared(&shared, all), turn))
            }
        };
        // Pieces cost something as well.
        let most = waiting + 64 * self.frame_count;
        match result {
            Ok(()) => assert!(was_open && waiting <= limits.max_queue_bytes + 8192),
            Err(SendError::NotOpen) => assert!(!was_open),
            Err(SendError::EventWanted) => panic!("these are frames"),
            Err(SendError::QueueFull) => assert!(was_open && most > limits.max_queue_bytes),
        }
        if result.is_ok() {
            self.frame_count += 1;
            self.outcome.heard.sent.push((opcode, payload.to_vec()));
        }
    }

    /// What a broadcast of this frame looks like for the peer.
    fn shared_form(&mut self, plain: Vec<u8>) -> Vec<u8> {
        let compression = self.setting.compression;
        let mut deflated = Vec::new();
        match self.connection.window_bits() {
            Some(bits) if plain.len() >= frame::frame_len(compression.threshold_bytes) => {
                let deflater = self.context.pool.deflater(bits, compression.level);
                deflater.deflate_frame(&plain, &mut deflated);
            }
            Some(_) | None => {}
        }
        if deflated.is_empty() { plain } else { deflated }
    }

    /// The peer takes up to `len` bytes.
    pub fn read(&mut self, mut len: usize) {
        while len > 0 {
            let mut slices = [IoSlice::new(&[]); 4];
            let count = self.connection.output(&mut slices, self.context.now);
            let bytes: Vec<u8> = slices[..count]
                .iter()
                .flat_map(|slice| slice.iter().copied())
                .take(len)
                .collect();
            if bytes.is_empty() {
                break;
            }
            let before = self.connection.output_len();
            self.connection
                .consume_output(bytes.len(), self.context.now, &mut self.context.pool);
            // The next frame may have been padded for its turn.
            let left = before - bytes.len();
            let padded = left + self.padding();
            assert!((left..=padded).contains(&self.connection.output_len()));
            len -= bytes.len();
            self.outcome.heard.bytes.extend(bytes);
        }
        if self.connection.output_len() == 0 {
            self.frame_count = 0;
        }
        self.connection.shrink_output(&mut self.context.pool);
        self.go_on();
    }

    /// Begins the close handshake.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        self.call(|connection, turn| connection.close(code, reason, turn));
        self.frame_count += 1;
    }

    /// The peer ends its side.
    pub fn end(&mut self) {
        self.ends = true;
        self.go_on();
    }

    // ---- what must hold

    /// Memory, as the server leaves it at the end of a turn: 32 times the unfinished message, as
    /// its buffer may have been used before; twice the unfinished head; twice what waits, with some
    /// room per frame; what is small anyway. With compression a message may become a thousand times
    /// what has arrived, and inflaters and a deflater may be held.
    pub fn check(&mut self) {
        self.connection.shrink_output(&mut self.context.pool);
        self.connection.shrink_input(&mut self.context.pool);
        let limits = &self.setting.limits;
        let waiting = self.connection.output_len();
        let most_waiting = limits.max_queue_bytes + LONGEST_SENT + self.padding();
        assert!(waiting <= most_waiting, "{waiting} bytes wait");
        let inflated = match self.connection.window_bits() {
            Some(_) => CODEC_BYTES + 2 * limits.max_message_bytes.min(1100 * self.received_bytes),
            None => 0,
        };
        let allowed = inflated
            + 32 * self.received_bytes.min(limits.max_message_bytes)
            + 2 * self.received_bytes.min(MAX_HEAD_BYTES + 1)
            + 2 * waiting
            + 128 * self.frame_count
            + (40 << 10);
        let held = self.connection.held_bytes();
        assert!(held <= allowed, "{held} bytes held, {allowed} allowed");
        if self.connection.is_finished() {
            assert!(
                held < 256 || waiting > 0,
                "finished, but holds {held} bytes"
            );
        }
    }

    /// Most bytes by which a frame may grow for its peer.
    fn padding(&self) -> usize {
        match self.setting.framing {
            PhpFraming::Padded => 8192,
            PhpFraming::Spaced => 1024,
            PhpFraming::Stream | PhpFraming::Records => 0,
        }
    }

    /// All requests are answered, and the peer reads all, with time for what is paced.
    pub fn drain(&mut self) {
        let most = 2 * self.connection.output_len() + 2 * self.frame_count + self.unread.len() + 10;
        for _ in 0..most {
            self.answer_late();
            self.read(usize::MAX);
            match self.connection.next_write() {
                Some(due) if due > self.context.now => self.context.now = due,
                Some(_) => {}
                // Room has been made for what was not read yet.
                None if self.is_held() || self.connection.output_len() > 0 => {}
                None => break,
            }
        }
        assert_eq!(self.connection.output_len(), 0, "some output never leaves");
        assert!(self.unread.is_empty(), "some input is never read");
    }
}

/// Two inflaters and the largest deflater.
const CODEC_BYTES: usize = 400_000;

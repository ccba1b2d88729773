//! The oracle for a whole connection: bytes and clock steps in, events and output out.

use std::io::IoSlice;
use std::rc::Rc;
use std::time::{Duration, Instant};

use websock::connection::output::BufferPool;
use websock::connection::{
    Connection, Event, Framing, Keepalive, Limits, Outgoing, SendError, Turn,
};
use websock::protocol::close::{self, CloseCode};
use websock::protocol::frame::{self, Header, Opcode, Role, Rsv1};
use websock::protocol::handshake::Upgrade;
use websock::protocol::http::{MAX_HEAD_BYTES, Request, head_len};

use super::oracles::{Script, answer_len};

/// One script, played three times: with all bytes between two other steps in one piece, in two
/// pieces, and byte by byte. The events and the output have to be the same, the output a legal
/// server's, memory within what the limits and the bytes on hand allow, and every deadline in the
/// future once it has been served.
pub fn connection(bytes: &[u8]) {
    let mut script = Script(bytes);
    let setting = Setting::of(&mut script);
    let cut = script.byte();
    let steps = steps(&mut script);
    let whole = play(&setting, &steps, |bytes| vec![bytes]);
    legal_output(&setting, &whole);
    let halves = play(&setting, &steps, |bytes| {
        let (left, right) = bytes.split_at(bytes.len() * usize::from(cut) / 256);
        vec![left, right]
    });
    assert_eq!(halves, whole, "cut at {cut}/256");
    let bytewise = play(&setting, &steps, |bytes| bytes.chunks(1).collect());
    assert_eq!(bytewise, whole, "byte by byte");
}

/// What the first bytes of the script decide.
struct Setting {
    limits: Limits,
    framing: Framing,
    keepalive: Keepalive,
    /// A buffer that another connection has left behind.
    spare_bytes: usize,
}

impl Setting {
    fn of(script: &mut Script<'_>) -> Self {
        let (first, second) = (script.byte(), script.byte());
        let small = Limits {
            max_message_bytes: 300,
            max_fragments: 4,
            max_queue_bytes: 600,
            max_control_frames_per_second: 5,
            max_messages_per_second: 7,
            handshake_timeout: Duration::from_secs(1),
            keep_alive_timeout: Duration::from_secs(1),
            ping_interval: Duration::from_secs(3),
            pong_timeout: Duration::from_secs(2),
            close_timeout: Duration::from_secs(1),
            stall_timeout: Duration::from_secs(2),
            min_progress_bytes: 20,
        };
        Self {
            limits: if first & 1 == 0 {
                small
            } else {
                Limits::default()
            },
            framing: match first >> 1 & 3 {
                0 => Framing::Padded,
                1 => Framing::Spaced,
                2 => Framing::Records,
                _ => Framing::Stream,
            },
            keepalive: if first & 8 == 0 {
                Keepalive::Pings
            } else {
                Keepalive::None
            },
            spare_bytes: if second & 1 == 0 { 0 } else { 400_000 },
        }
    }
}

enum Step {
    /// The peer sends.
    Bytes(Vec<u8>),
    /// Time passes.
    Wait(Duration),
    /// We send a message.
    Send(Opcode, Vec<u8>, Ownership),
    /// The peer reads.
    Read(usize),
    /// We close.
    Close(CloseCode, String),
    /// The peer ends its side.
    Eof,
}

#[derive(Clone, Copy)]
enum Ownership {
    Copied,
    Shared,
}

fn steps(script: &mut Script<'_>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    while !script.is_empty() {
        let step = next_step(script);
        match (steps.last_mut(), step) {
            (Some(Step::Bytes(bytes)), Step::Bytes(more)) => bytes.extend(more),
            (_, step) => steps.push(step),
        }
    }
    steps
}

fn next_step(script: &mut Script<'_>) -> Step {
    match script.byte() % 16 {
        0 | 1 => Step::Bytes(GOOD_HEAD.as_bytes().to_vec()),
        2 | 3 => {
            let len = script.byte();
            Step::Bytes(script.bytes(usize::from(len)).to_vec())
        }
        4..=8 => Step::Bytes(next_frame(script)),
        9 => Step::Wait(Duration::from_millis(u64::from(script.byte()).pow(2))),
        10 | 11 => next_send(script),
        12 | 13 => Step::Read(usize::from(script.byte()) * 8),
        14 => {
            let number = u16::from_be_bytes([script.byte(), script.byte()]);
            let len = script.byte();
            let reason = String::from_utf8_lossy(script.bytes(usize::from(len))).into_owned();
            Step::Close(
                CloseCode::from_wire(number).unwrap_or(CloseCode::GOING_AWAY),
                reason,
            )
        }
        _ => Step::Eof,
    }
}

/// A masked frame whose header fits its payload; the flags may be anything.
fn next_frame(script: &mut Script<'_>) -> Vec<u8> {
    let (first, len) = (script.byte(), usize::from(script.byte()));
    let len = if len < 200 { len } else { (len - 199) * 40 };
    let key = script.key();
    let mut payload = script.bytes(len.min(250)).to_vec();
    payload.resize(len, b'x');
    let mut bytes = Vec::new();
    frame::encode_masked(Opcode::Text, key, &payload, &mut bytes);
    bytes[0] = first;
    bytes
}

fn next_send(script: &mut Script<'_>) -> Step {
    let (kind, len) = (script.byte(), usize::from(script.byte()));
    let ownership = if kind & 1 == 0 {
        Ownership::Copied
    } else {
        Ownership::Shared
    };
    if kind & 2 == 0 {
        let text = String::from_utf8_lossy(script.bytes(len)).into_owned();
        Step::Send(Opcode::Text, text.into_bytes(), ownership)
    } else {
        Step::Send(Opcode::Binary, script.bytes(len).to_vec(), ownership)
    }
}

/// What a run has shown, in one form for all ways of cutting.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    events: Vec<String>,
    /// What the peer has read.
    read: Vec<u8>,
    /// What was accepted for sending, as (opcode, payload).
    sent: Vec<(Opcode, Vec<u8>)>,
    was_aborted: bool,
}

fn play(setting: &Setting, steps: &[Step], cut: impl Fn(&[u8]) -> Vec<&[u8]>) -> Outcome {
    let mut stage = Stage::new(setting);
    for step in steps {
        match step {
            Step::Bytes(bytes) => cut(bytes)
                .into_iter()
                .for_each(|piece| stage.receive(piece)),
            Step::Wait(time) => stage.wait(*time),
            Step::Send(opcode, payload, ownership) => stage.send(*opcode, payload, *ownership),
            Step::Read(len) => stage.read(*len),
            Step::Close(code, reason) => stage.close(*code, reason),
            Step::Eof => stage.end(),
        }
        stage.check();
    }
    stage.drain();
    stage.outcome
}

struct Stage<'a> {
    setting: &'a Setting,
    connection: Connection,
    pool: BufferPool,
    now: Instant,
    /// Frames that may be waiting to leave.
    frame_count: usize,
    received_bytes: usize,
    outcome: Outcome,
}

impl<'a> Stage<'a> {
    fn new(setting: &'a Setting) -> Self {
        let mut pool = BufferPool::default();
        pool.give(Vec::with_capacity(setting.spare_bytes));
        let now = Instant::now();
        let connection = Connection::new(&Turn {
            now,
            limits: &setting.limits,
            pool: &mut pool,
        });
        let outcome = Outcome {
            events: Vec::new(),
            read: Vec::new(),
            sent: Vec::new(),
            was_aborted: false,
        };
        Self {
            setting,
            connection,
            pool,
            now,
            frame_count: 0,
            received_bytes: 0,
            outcome,
        }
    }

    fn receive(&mut self, piece: &[u8]) {
        let mut bytes = piece.to_vec();
        let mut input = bytes.as_mut_slice();
        let turn = &mut Turn {
            now: self.now,
            limits: &self.setting.limits,
            pool: &mut self.pool,
        };
        loop {
            let before = input.len();
            let event = self.connection.receive(&mut input, turn);
            assert!(input.len() <= before);
            let Some(event) = event else { break };
            self.frame_count += 1;
            self.outcome.events.push(format!("{event:?}"));
            if let Event::Head(head) = event {
                assert_eq!(head_len(&head, 0), Some(head.len()));
                match Request::parse(&head).and_then(|request| Upgrade::check(&request)) {
                    Ok(upgrade) => {
                        let Setting {
                            framing, keepalive, ..
                        } = *self.setting;
                        self.connection.accept(&upgrade, framing, keepalive, turn);
                    }
                    Err(rejection) => self.connection.reject(rejection, turn),
                }
            }
        }
        assert!(input.is_empty(), "{} bytes are left", input.len());
        self.frame_count += piece.len().div_ceil(6);
        self.received_bytes += piece.len();
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        let limits = &self.setting.limits;
        let is_due = self
            .connection
            .next_deadline(limits)
            .is_some_and(|due| due <= self.now);
        let turn = &mut Turn {
            now: self.now,
            limits,
            pool: &mut self.pool,
        };
        let event = self.connection.handle_timeout(turn);
        assert!(is_due || event.is_none(), "early, but {event:?}");
        let next = self.connection.next_deadline(limits);
        assert!(
            next.is_none_or(|due| due > self.now),
            "a deadline stays due"
        );
        self.frame_count += 1;
        self.outcome.was_aborted |= matches!(event, Some(Event::Lost));
        self.outcome
            .events
            .extend(event.map(|event| format!("{event:?}")));
    }

    fn send(&mut self, opcode: Opcode, payload: &[u8], ownership: Ownership) {
        let mut bytes = Vec::new();
        frame::encode(opcode, payload, &mut bytes);
        let limits = &self.setting.limits;
        let waiting = self.connection.output_len();
        let was_open = self.connection.is_open();
        let turn = &mut Turn {
            now: self.now,
            limits,
            pool: &mut self.pool,
        };
        let result = match ownership {
            Ownership::Copied => self.connection.send(&Outgoing::Copied(&bytes), turn),
            Ownership::Shared => {
                let end = bytes.len();
                let shared = Rc::new(bytes.clone());
                self.connection
                    .send(&Outgoing::Shared(&shared, 0..end), turn)
            }
        };
        // Pieces cost something as well.
        let most = waiting + 64 * self.frame_count;
        match result {
            Ok(()) => assert!(was_open && waiting <= limits.max_queue_bytes + 8192),
            Err(SendError::NotOpen) => assert!(!was_open),
            Err(SendError::QueueFull) => assert!(was_open && most > limits.max_queue_bytes),
        }
        if result.is_ok() {
            self.frame_count += 1;
            self.outcome.sent.push((opcode, payload.to_vec()));
        }
    }

    /// The peer takes up to `len` bytes.
    fn read(&mut self, mut len: usize) {
        while len > 0 {
            let mut slices = [IoSlice::new(&[]); 4];
            let count = self.connection.output(&mut slices, self.now);
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
                .consume_output(bytes.len(), self.now, &mut self.pool);
            // The next frame may have been padded for its turn.
            let left = before - bytes.len();
            let padded = left + self.padding();
            assert!((left..=padded).contains(&self.connection.output_len()));
            len -= bytes.len();
            self.outcome.read.extend(bytes);
        }
        if self.connection.output_len() == 0 {
            self.frame_count = 0;
        }
        self.connection.settle_output(&mut self.pool);
    }

    fn close(&mut self, code: CloseCode, reason: &str) {
        let turn = &mut Turn {
            now: self.now,
            limits: &self.setting.limits,
            pool: &mut self.pool,
        };
        self.connection.close(code, reason, turn);
        self.frame_count += 1;
    }

    fn end(&mut self) {
        let turn = &mut Turn {
            now: self.now,
            limits: &self.setting.limits,
            pool: &mut self.pool,
        };
        let event = self.connection.handle_eof(turn);
        self.outcome
            .events
            .extend(event.map(|event| format!("{event:?}")));
    }

    /// Memory, as the server leaves it at the end of a turn: 32 times the unfinished message, as
    /// its buffer may have been used before; twice the unfinished head; twice what waits, with some
    /// room per frame; what is small anyway.
    fn check(&mut self) {
        self.connection.settle_output(&mut self.pool);
        let limits = &self.setting.limits;
        let waiting = self.connection.output_len();
        let most_waiting = limits.max_queue_bytes + LONGEST_SENT + self.padding();
        assert!(waiting <= most_waiting, "{waiting} bytes wait");
        let allowed = 32 * self.received_bytes.min(limits.max_message_bytes)
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
            Framing::Padded => 8192,
            Framing::Spaced => 1024,
            Framing::Stream | Framing::Records => 0,
        }
    }

    /// The peer reads all, with time for what is paced.
    fn drain(&mut self) {
        let most = 2 * self.connection.output_len() + 2 * self.frame_count + 10;
        for _ in 0..most {
            self.read(usize::MAX);
            match self.connection.next_write() {
                Some(due) if due > self.now => self.now = due,
                _ => break,
            }
        }
        assert_eq!(self.connection.output_len(), 0, "some output never leaves");
    }
}

/// An HTTP answer, then frames that a client may get, in the order in which they were accepted,
/// and nothing behind a close frame.
fn legal_output(setting: &Setting, outcome: &Outcome) {
    let mut rest = outcome.read.as_slice();
    if rest.is_empty() {
        return;
    }
    let Some(len) = answer_len(rest) else {
        assert!(
            outcome.was_aborted,
            "half an answer: {:?}",
            String::from_utf8_lossy(rest)
        );
        return;
    };
    let is_open = rest.starts_with(b"HTTP/1.1 101 ");
    rest = &rest[len..];
    assert!(is_open || rest.is_empty(), "bytes behind a refusal");
    let mut messages = Vec::new();
    let mut is_closed = false;
    while !rest.is_empty() {
        assert!(!is_closed, "bytes behind the close frame");
        let header = Header::parse(rest, Role::Client, Rsv1::Forbidden);
        let whole = header.expect("a legal header").and_then(|(header, start)| {
            let end = start + header.payload_len as usize;
            Some((header, rest.get(start..end)?, end))
        });
        let Some((header, payload, end)) = whole else {
            assert!(outcome.was_aborted, "half a frame");
            break;
        };
        assert!(header.fin, "a fragment");
        match header.opcode {
            Opcode::Text | Opcode::Binary => messages.push((header.opcode, payload.to_vec())),
            Opcode::Close => {
                close::parse(payload).expect("a legal close payload");
                is_closed = true;
            }
            Opcode::Ping => assert_eq!(setting.keepalive, Keepalive::Pings),
            Opcode::Pong => {}
            Opcode::Continuation => panic!("{header:?}"),
        }
        rest = &rest[end..];
    }
    assert!(messages.len() <= outcome.sent.len());
    for ((opcode, got), (sent_opcode, sent)) in messages.iter().zip(&outcome.sent) {
        assert_eq!(opcode, sent_opcode);
        let padding = got.strip_prefix(sent.as_slice()).expect("what was sent");
        let may_pad = *opcode == Opcode::Text && setting.framing != Framing::Stream;
        assert!(padding.is_empty() || may_pad && padding.iter().all(|byte| *byte == b' '));
    }
    assert!(
        outcome.was_aborted || messages.len() == outcome.sent.len(),
        "a message is missing"
    );
}

/// A request that is upgraded.
pub const GOOD_HEAD: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// Longest frame that a script lets us send, and as much again for an answer and a close frame.
const LONGEST_SENT: usize = 2048;

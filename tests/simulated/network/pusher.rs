//! A script that pushes by HTTP, both ends of its connection: requests in random pieces, one behind
//! the other or before the last one is answered.

use std::collections::HashMap;
use std::time::Duration;

use websock::api::Batch;
use websock::api::{Form, Outcome, PushError};
use websock::connection::{Connection, MonotonicTime, Outgoing, SendError};
use websock::protocol::packet::{Packet, Verb};

use super::LIMITS;
use super::link::Link;
use super::pair::{End, MOST_BYTES, Pair, flush};
use super::peer::Habit;
use crate::client::{TEXT, server_frame};
use crate::host::{Host, Seen, Service};
use crate::random::Random;

pub(super) struct Pusher {
    name: usize,
    habit: Habit,
    host: Host,
    up: Link,
    down: Link,
    end: Option<End>,
    is_jolted: bool,
    /// When it speaks next, and when the link is cut.
    next_at: MonotonicTime,
    resets_at: Option<MonotonicTime>,
    pushes_left: usize,
    packet_count: usize,
    has_ended: bool,
    /// The packets of each whole request that is on its way.
    asked: Vec<Vec<String>>,
    /// What the server has answered.
    given: Vec<Given>,
    /// Status and body of each whole response that has come, and what has come of the next one.
    heard: Vec<(u16, String)>,
    unread: Vec<u8>,
}

/// An answer, as the server has given it.
struct Given {
    status: u16,
    /// With how many queues took each.
    packets: Vec<(String, usize)>,
}

impl std::fmt::Debug for Pusher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pusher")
            .field("name", &self.name)
            .field("habit", &self.habit)
            .field("asked", &self.asked.len())
            .field("given", &self.given.len())
            .field("heard", &self.heard)
            .finish_non_exhaustive()
    }
}

impl Pusher {
    pub(super) fn new(name: usize, now: MonotonicTime, random: &mut Random) -> Self {
        use Habit as H;
        let mut host = Host::new(LIMITS);
        host.context.now = now;
        host.connection = host.call(|_, turn| Connection::new(turn));
        host.service = Service::Requests;
        let habits = [
            H::Honest,
            H::Honest,
            H::HalfClose,
            H::Reset,
            H::Stall,
            H::Deaf,
        ];
        Self {
            name,
            habit: random.pick(&habits),
            host,
            up: Link::default(),
            down: Link::default(),
            end: None,
            is_jolted: false,
            next_at: now + pause(random),
            resets_at: None,
            pushes_left: random.between(1, 12),
            packet_count: 0,
            has_ended: false,
            asked: Vec::new(),
            given: Vec::new(),
            heard: Vec::new(),
            unread: Vec::new(),
        }
    }

    pub(super) fn jolt(&mut self) {
        self.is_jolted = true;
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.host.connection.held_bytes()
    }

    pub(super) fn wire(&self) -> Vec<u8> {
        self.host.wire.clone()
    }

    pub(super) fn is_over(&self) -> bool {
        let hears = self.end == Some(End::Orderly) && self.reads();
        self.end.is_some() && !(hears && self.down.is_busy())
    }

    fn reads(&self) -> bool {
        self.habit != Habit::Deaf
    }

    // ---- the server's end

    /// What has arrived, unless a push is still to be answered or the answers are not read; then
    /// what is due.
    pub(super) fn turn(&mut self, now: MonotonicTime, pairs: &mut [Pair], random: &mut Random) {
        self.host.context.now = now;
        if self.end.is_some() {
            return;
        }
        if self.resets_at.is_some_and(|at| at <= now) {
            self.host.connection.abort();
            self.end = Some(End::Reset);
            return;
        }
        self.answer(pairs, random);
        while self.host.body.is_none() && !self.host.connection.is_congested(&LIMITS) {
            let Some(packet) = self.up.arrived(now) else {
                break;
            };
            if packet.is_empty() {
                self.host.eof();
            }
            self.host.feed(&packet);
            self.answer(pairs, random);
        }
        self.host.expire();
        let reads = self.reads();
        if flush(&mut self.host, &mut self.down, reads, random) {
            self.end = Some(End::Orderly);
        }
        self.check();
    }

    /// Answers all that has come; now and then it takes until the next turn.
    fn answer(&mut self, pairs: &mut [Pair], random: &mut Random) {
        while !random.chance(20)
            && let Some(body) = self.host.body.clone()
        {
            let mut batch = Batch::new(body, Form::Json).expect("it was sent so");
            let mut packets = Vec::new();
            loop {
                let index = batch.next_index();
                let Some(packet) = batch.next_packet().map(str::to_owned) else {
                    break;
                };
                let outcome = deliver(&packet, pairs);
                batch.note(index, outcome);
                let delivered = match outcome {
                    Outcome::Queued { delivered, .. } => delivered,
                    Outcome::Refused(_) => 0,
                };
                packets.push((packet, delivered));
            }
            let response = batch.response();
            let status = response.status();
            self.given.push(Given { status, packets });
            self.host.respond(&response);
        }
    }

    fn check(&self) {
        let connection = &self.host.connection;
        let held = connection.held_bytes();
        assert!(held <= MOST_BYTES, "{held} bytes held by {self:?}");
        let due = connection.next_deadline(&LIMITS);
        assert!(
            due.is_none_or(|due| due > self.host.context.now),
            "{self:?}"
        );
        if self.is_whole() {
            let is_refused = |seen: &Seen| matches!(seen, Seen::Refused(_) | Seen::Lost);
            assert!(!self.host.seen.iter().any(is_refused), "{self:?}");
        }
    }

    // ---- the far end

    pub(super) fn far_end(&mut self, now: MonotonicTime, random: &mut Random, pair_count: usize) {
        if self.end == Some(End::Reset) {
            return;
        }
        while self.reads()
            && let Some(packet) = self.down.arrived(now)
        {
            self.hear(&packet);
        }
        if self.has_ended {
            self.up.end(now, random);
        } else if self.pushes_left > 0 && self.next_at <= now {
            self.push(now, random, pair_count);
        }
    }

    fn hear(&mut self, packet: &[u8]) {
        self.has_ended |= packet.is_empty();
        self.unread.extend_from_slice(packet);
        while let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(self.unread[..end + 4].to_vec()).unwrap();
            let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
            assert!(head.starts_with("HTTP/1.1 "), "{head}");
            let length = head.split_once("\r\nContent-Length: ");
            let length = length.map_or("0", |(_, rest)| rest.split("\r\n").next().unwrap());
            let whole = end + 4 + length.parse::<usize>().unwrap();
            if whole > self.unread.len() {
                return;
            }
            let body = String::from_utf8(self.unread[end + 4..whole].to_vec()).unwrap();
            self.unread.drain(..whole);
            let closes = head.contains("\r\nConnection: close\r\n");
            assert!(!closes || self.unread.is_empty(), "bytes behind {head}");
            if status != 100 {
                self.heard.push((status, body));
            }
        }
    }

    /// One request, of which a stalling script leaves the end out.
    fn push(&mut self, now: MonotonicTime, random: &mut Random, pair_count: usize) {
        self.pushes_left -= 1;
        self.next_at = now + pause(random);
        let count = random.pick(&[1, 1, 1, 3]);
        let packets: Vec<String> = (0..count)
            .map(|_| self.packet(random, pair_count))
            .collect();
        let body = match &packets[..] {
            [packet] if random.chance(80) => packet.clone(),
            _ => format!("[{}]", packets.join(", ")),
        };
        let bytes = request(&body, self.pushes_left == 0, random);
        if self.pushes_left > 0 {
            self.up.send(&bytes, now, random);
            return self.asked.push(packets);
        }
        match self.habit {
            Habit::Stall => {
                let len = random.below(bytes.len());
                return self.up.send(&bytes[..len], now, random);
            }
            Habit::Reset => self.resets_at = Some(now + pause(random)),
            _ => {}
        }
        self.up.send(&bytes, now, random);
        self.asked.push(packets);
        if self.habit == Habit::HalfClose {
            self.up.end(now, random);
        }
    }

    fn packet(&mut self, random: &mut Random, pair_count: usize) -> String {
        self.packet_count += 1;
        let to = random.below(pair_count);
        let opcode = random.pick(&["feedback", "feedback", "broadcast"]);
        let filling = "p".repeat(random.pick(&[0, 10, 200, 3000]));
        let (name, at) = (self.name, self.packet_count);
        format!(r#"{{"opcode":"{opcode}","uuid":"{to}","message":"{name} {at} {filling}"}}"#)
    }

    // ---- what must hold

    /// Whether nothing that it has asked for may be missing. To end its side is its right.
    fn is_whole(&self) -> bool {
        matches!(self.habit, Habit::Honest | Habit::HalfClose) && !self.is_jolted
    }

    /// Every push that was taken is one that was sent, in order, and has exactly one answer.
    pub(super) fn check_end(&self) {
        assert!(self.end.is_some(), "{self:?} is still there");
        assert!(self.given.len() <= self.asked.len(), "{self:?}");
        for (given, asked) in self.given.iter().zip(&self.asked) {
            assert!(given.packets.iter().map(|(packet, _)| packet).eq(asked));
        }
        let refusals = self.heard.get(self.given.len()..).unwrap_or_default();
        assert!(
            refusals.iter().all(|(status, _)| *status == 408),
            "{self:?}"
        );
        for ((status, body), given) in self.heard.iter().zip(&self.given) {
            let sum: usize = given.packets.iter().map(|(_, delivered)| delivered).sum();
            let start = format!("{{\"delivered\":{sum}");
            assert!(
                *status == given.status && body.starts_with(&start),
                "{body}"
            );
        }
        if self.is_whole() {
            assert_eq!(
                self.given.len(),
                self.asked.len(),
                "{self:?} is not answered"
            );
            assert_eq!(self.heard.len(), self.given.len(), "{self:?} has not heard");
            assert_eq!(self.unread, b"", "half an answer");
        }
    }
}

/// What the answers say was delivered has come into that many queues and no other, and out of each
/// that nothing is missing of, once.
pub(super) fn check_deliveries(pushers: &[Pusher], pairs: &[Pair]) {
    let mut queued: HashMap<&str, usize> = HashMap::new();
    for pair in pairs {
        let of_pushes = |texts: &'_ [String]| -> Vec<String> {
            let pushed = texts.iter().filter(|text| text.starts_with('{'));
            pushed.cloned().collect()
        };
        for text in pair.queued.iter().filter(|text| text.starts_with('{')) {
            *queued.entry(text).or_default() += 1;
        }
        if pair.is_whole() {
            assert_eq!(of_pushes(&pair.peer.texts), of_pushes(&pair.queued));
        }
    }
    for (packet, delivered) in pushers
        .iter()
        .flat_map(|pusher| &pusher.given)
        .flat_map(|given| &given.packets)
    {
        assert_eq!(queued.remove(packet.as_str()).unwrap_or(0), *delivered);
    }
    assert!(queued.is_empty(), "nobody has pushed {queued:?}");
}

/// Hands a packet to whom it is for.
fn deliver(packet: &str, pairs: &mut [Pair]) -> Outcome {
    let parsed = Packet::parse(packet).expect("it was sent so");
    let frame = server_frame(TEXT, packet.as_bytes());
    let receivers = match parsed.verb {
        Verb::Broadcast => pairs,
        _ => {
            let to: usize = parsed.uuid.parse().unwrap();
            &mut pairs[to..=to]
        }
    };
    let (mut delivered, mut full) = (0, 0);
    for pair in receivers {
        match pair.queue(&Outgoing::Copied(&frame), packet) {
            Ok(()) => delivered += 1,
            Err(SendError::QueueFull) => full += 1,
            Err(SendError::NotOpen) => {}
        }
    }
    match parsed.verb {
        Verb::Feedback if delivered + full == 0 => Outcome::Refused(PushError::Nobody),
        _ => Outcome::Queued { delivered, full },
    }
}

fn request(body: &str, is_last: bool, random: &mut Random) -> Vec<u8> {
    let mut head = "POST /push HTTP/1.1\r\nHost: a\r\n".to_owned();
    if random.chance(20) {
        head += "Expect: 100-continue\r\n";
    }
    if is_last {
        head += "Connection: close\r\n";
    }
    if random.chance(60) {
        return format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
    }
    let mut bytes = (head + "Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in random.split(body.as_bytes(), 4) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend([&chunk, b"\r\n".as_slice()].concat());
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// Shorter than any deadline, and often none, so that requests are pipelined.
fn pause(random: &mut Random) -> Duration {
    Duration::from_millis(random.pick(&[0, 0, 50, 400, 1500]))
}

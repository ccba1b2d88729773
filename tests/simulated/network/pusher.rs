//! A script that pushes by HTTP: requests in random pieces, one behind the other or before the last
//! one is answered.

use std::collections::HashMap;
use std::time::Duration;

use websock::connection::MonotonicTime;

use super::pair::{Line, Pair};
use super::peer::{Habit, Kind};
use crate::random::Random;
use crate::server::Server;

pub(super) struct Pusher {
    name: usize,
    habit: Habit,
    pub(super) line: Line,
    /// When it speaks next, and when the link is cut.
    next_at: MonotonicTime,
    resets_at: Option<MonotonicTime>,
    pushes_left: usize,
    packet_count: usize,
    has_ended: bool,
    /// The packets of each request that is on its way, the last of which may never be whole.
    asked: Vec<Vec<String>>,
    /// Status and body of each whole response that has come, and what has come of the next one.
    heard: Vec<(u16, String)>,
    unread: Vec<u8>,
}

impl std::fmt::Debug for Pusher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pusher")
            .field("name", &self.name)
            .field("habit", &self.habit)
            .field("asked", &self.asked.len())
            .field("heard", &self.heard)
            .finish_non_exhaustive()
    }
}

impl Pusher {
    pub(super) fn new(name: usize, server: &Server, random: &mut Random) -> Self {
        use Habit as H;
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
            line: Line::new(server, "127.0.0.1", random),
            next_at: server.system.time() + pause(random),
            resets_at: None,
            pushes_left: random.between(1, 12),
            packet_count: 0,
            has_ended: false,
            asked: Vec::new(),
            heard: Vec::new(),
            unread: Vec::new(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.line.is_over(self.reads())
    }

    fn reads(&self) -> bool {
        self.habit != Habit::Deaf
    }

    /// Breaks the connection if its time has come.
    pub(super) fn break_off(&mut self, now: MonotonicTime) {
        if self.resets_at.is_some_and(|at| at <= now) && !self.line.is_reset() {
            self.line.reset();
        }
    }

    // ---- the far end

    /// As [`Line::collect`].
    pub(super) fn collect(&mut self, now: MonotonicTime, random: &mut Random) -> bool {
        self.line.collect(now, self.reads(), random)
    }

    pub(super) fn far_end(&mut self, now: MonotonicTime, random: &mut Random, pair_count: usize) {
        if self.line.is_reset() {
            return;
        }
        while self.reads()
            && let Some(packet) = self.line.arrived(now)
        {
            self.hear(&packet);
        }
        if self.has_ended {
            self.line.up.end(now, random);
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
        self.asked.push(packets);
        let up = &mut self.line.up;
        if self.pushes_left > 0 {
            return up.send(&bytes, now, random);
        }
        match self.habit {
            Habit::Stall => {
                let len = random.below(bytes.len());
                return up.send(&bytes[..len], now, random);
            }
            Habit::Reset => self.resets_at = Some(now + pause(random)),
            _ => {}
        }
        up.send(&bytes, now, random);
        if self.habit == Habit::HalfClose {
            up.end(now, random);
        }
    }

    fn packet(&mut self, random: &mut Random, pair_count: usize) -> String {
        self.packet_count += 1;
        let to = random.below(pair_count);
        let opcode = random.pick(&["feedback", "feedback", "broadcast"]);
        let filling = "p".repeat(random.pick(&[0, 10, 200, 3000]));
        let (name, at) = (self.name, self.packet_count);
        format!(r#"{{"opcode":"{opcode}","ident":"peer-{to}","message":"{name} {at} {filling}"}}"#)
    }

    // ---- what must hold

    /// Whether nothing that it has asked for may be missing. To end its side is its right.
    fn is_whole(&self) -> bool {
        matches!(self.habit, Habit::Honest | Habit::HalfClose) && !self.line.is_jolted
    }

    /// Every push has one answer at most, in order.
    pub(super) fn check_end(&self) {
        assert!(self.line.is_gone(), "{self:?} is still there");
        for (at, (status, _)) in self.heard.iter().enumerate() {
            let is_last = at + 1 == self.heard.len() && !self.is_whole();
            let is_fine = matches!(status, 200 | 404 | 503) || is_last && *status == 408;
            assert!(is_fine, "{self:?}");
        }
        // Of a request that is not whole, it may be told.
        assert!(self.heard.len() <= self.asked.len() + 1, "{self:?}");
        if self.is_whole() {
            assert_eq!(self.heard.len(), self.asked.len(), "{self:?} has not heard");
            assert_eq!(self.unread, b"", "half an answer");
        }
    }

    /// Each packet that was answered, and into how many queues it is said to have come.
    fn answers(&self) -> Vec<(&str, usize)> {
        let mut answers = Vec::new();
        for (packets, (status, body)) in self.asked.iter().zip(&self.heard) {
            if *status == 408 {
                break;
            }
            let answer: serde_json::Value = serde_json::from_str(body).unwrap();
            let sum = answer["delivered"].as_u64().unwrap();
            let counts: Vec<usize> = match answer.get("results") {
                Some(results) => {
                    let results = results.as_array().unwrap().iter();
                    let counts = results.map(|result| result["delivered"].as_u64().unwrap());
                    counts.map(|count| count as usize).collect()
                }
                None => vec![sum as usize],
            };
            assert_eq!(counts.len(), packets.len(), "{body}");
            assert_eq!(counts.iter().sum::<usize>(), sum as usize);
            answers.extend(packets.iter().map(String::as_str).zip(counts));
        }
        answers
    }
}

/// What the answers say was delivered has come to that many and no others; to those of whom nothing
/// is missing, for certain.
pub(super) fn check_deliveries(pushers: &[Pusher], pairs: &[Pair]) {
    let mut heard: HashMap<&str, usize> = HashMap::new();
    for pair in pairs {
        for text in pair.peer.others_texts.iter().filter(|text| is_pushed(text)) {
            *heard.entry(text).or_default() += 1;
        }
    }
    let are_broken = |pair: &&Pair| pair.peer.kind == Kind::Web && !pair.is_whole();
    let broken = pairs.iter().filter(are_broken).count();
    let answers = pushers.iter().flat_map(Pusher::answers);
    for (packet, delivered) in answers {
        let count = heard.get(packet).copied().unwrap_or(0);
        assert!(count <= delivered, "{packet:.80}: {count} of {delivered}");
        let may_lack = match packet.contains(r#""opcode":"broadcast""#) {
            true => broken,
            false => {
                let is_it = |pair: &&Pair| packet.contains(&format!("\"{}\"", pair.peer.ident()));
                let to = pairs.iter().find(is_it).expect("it was sent so");
                usize::from(!to.is_whole())
            }
        };
        assert!(
            count + may_lack >= delivered,
            "{packet:.80}: {count} of {delivered}"
        );
    }
    let asked = pushers
        .iter()
        .flat_map(|pusher| pusher.asked.iter().flatten());
    for packet in asked {
        heard.remove(packet.as_str());
    }
    assert!(heard.is_empty(), "nobody has pushed {heard:?}");
}

/// Whether a text that somebody has heard was pushed by HTTP.
fn is_pushed(text: &str) -> bool {
    text.contains(r#","ident":"peer-"#)
}

fn request(body: &str, is_last: bool, random: &mut Random) -> Vec<u8> {
    let mut head = "POST /push HTTP/1.1\r\nHost: localhost\r\n\
                    Content-Type: application/json\r\n"
        .to_owned();
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

//! A far end with a habit: what it sends when, and what it makes of the answers.

use std::collections::HashSet;
use std::time::Duration;

use websock::connection::MonotonicTime;
use websock::protocol::error::Violation;

use super::link::Link;
use crate::client::{self, CLOSE, CONTINUATION, PING, PONG, Reader, TEXT, fragment, frame};
use crate::codec::{Codec, OFFERS};
use crate::random::Random;
use crate::server::{NEXT, request_to};

/// How a peer behaves once it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// Keeps to the rules, reads, answers, closes.
    Honest,
    /// The link is cut at some point.
    Reset,
    /// Ends its sending side at some point, without a close frame.
    HalfClose,
    /// Stops for good in the middle of a message.
    Stall,
    /// Sends, and never reads.
    Deaf,
    /// Opens, reads, and never says anything.
    Silent,
    /// A byte of its head at a time.
    Drip,
    /// Any bytes at some point.
    Garbage,
}

/// What it is to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A page that speaks the dialogue.
    Web,
    /// A script on the same machine that reads as deployed ones do, or from elsewhere, or a stream.
    Script(Frames),
    /// A page without dialogue.
    Raw,
}

/// How a script wants its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frames {
    Padded,
    Spaced,
    Stream,
}

pub(super) struct Peer {
    pub(super) habit: Habit,
    pub(super) kind: Kind,
    pub(super) name: usize,
    /// The parameters with which it offers permessage-deflate.
    offer: Option<&'static str>,
    codec: Option<Codec>,
    reader: Reader,
    /// The text messages that have arrived without padding: answers to its own, and what others
    /// have sent.
    pub(super) own_texts: Vec<String>,
    pub(super) others_texts: Vec<String>,
    has_heard_ready: bool,
    answered: usize,
    is_opened: bool,
    is_closed: bool,
    has_ended: bool,
    /// Steps until it does what its habit is.
    patience: usize,
    resets_at: Option<MonotonicTime>,
    messages_left: usize,
    pub(super) sent: Vec<String>,
    pings_sent: Vec<Vec<u8>>,
    /// The server closed it for its full queue.
    pub(super) is_cut: bool,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("name", &self.name)
            .field("habit", &self.habit)
            .field("kind", &self.kind)
            .field("sent", &self.sent.len())
            .field("heard", &(self.own_texts.len(), self.others_texts.len()))
            .field("frames", &self.reader.said.frames.len())
            .finish_non_exhaustive()
    }
}

impl Peer {
    pub(super) fn new(name: usize, kind: Kind, random: &mut Random) -> Self {
        use Habit as H;
        let habit = match random.below(100) {
            0..50 => H::Honest,
            50..58 => H::Reset,
            58..65 => H::HalfClose,
            65..73 => H::Stall,
            73..80 => H::Deaf,
            80..87 => H::Silent,
            87..93 => H::Drip,
            _ => H::Garbage,
        };
        let is_script = matches!(kind, Kind::Script(_));
        Self {
            habit,
            kind,
            name,
            // Scripts do not, as what is padded is not compressed.
            offer: (!is_script && random.chance(60)).then(|| random.pick(&OFFERS)),
            codec: None,
            reader: Reader::default(),
            own_texts: Vec::new(),
            others_texts: Vec::new(),
            has_heard_ready: false,
            answered: 0,
            is_opened: false,
            is_closed: false,
            has_ended: false,
            patience: random.between(1, 120),
            resets_at: None,
            messages_left: random.below(25),
            sent: Vec::new(),
            pings_sent: Vec::new(),
            is_cut: false,
        }
    }

    /// One that hears all broadcasts and says nothing.
    pub(super) fn witness(name: usize, kind: Kind, random: &mut Random) -> Self {
        Self {
            habit: Habit::Honest,
            patience: usize::MAX,
            messages_left: 0,
            ..Self::new(name, kind, random)
        }
    }

    pub(super) fn ip(&self) -> &'static str {
        match self.kind {
            Kind::Web | Kind::Raw => "192.0.2.1",
            Kind::Script(Frames::Padded | Frames::Stream) => "127.0.0.1",
            Kind::Script(Frames::Spaced) => "203.0.113.1",
        }
    }

    /// What a script can reach it by.
    pub(super) fn ident(&self) -> String {
        format!("peer-{}", self.name)
    }

    pub(super) fn is_open(&self) -> bool {
        self.reader.said.status() == 101
    }

    /// What these messages are answered, in order.
    pub(super) fn answers_to(&self, accepted: &[String]) -> Vec<String> {
        let mut answers = Vec::new();
        for text in accepted {
            if self.kind != Kind::Raw {
                answers.push(NEXT.to_owned());
            }
            if is_echo(text) {
                answers.push(text.clone());
            }
        }
        answers
    }

    /// What others have sent comes once, and only to whom it is for.
    pub(super) fn check_others(&self) {
        let known: HashSet<&String> = self.others_texts.iter().collect();
        assert_eq!(known.len(), self.others_texts.len(), "twice to {self:?}");
        for text in &self.others_texts {
            let is_for_it = match self.kind {
                Kind::Web if is_broadcast(text) => !text.starts_with("all "),
                Kind::Raw if is_broadcast(text) => text.starts_with("all "),
                _ => text.contains(&format!("\"{}\"", self.ident())),
            };
            assert!(is_for_it, "{text:.80} to {self:?}");
        }
        let dialogue = self.kind != Kind::Raw;
        let is_fine = !dialogue || self.has_heard_ready || self.own_texts.is_empty();
        assert!(is_fine, "no ready for {self:?}");
    }

    /// The broadcasts of others that it has heard.
    pub(super) fn broadcasts(&self) -> Vec<&String> {
        let texts = self.others_texts.iter();
        texts.filter(|text| is_broadcast(text)).collect()
    }

    /// Whether a broadcast is its own.
    pub(super) fn has_sent(&self, broadcast: &String) -> bool {
        self.sent.contains(broadcast)
    }

    pub(super) fn reads(&self) -> bool {
        self.habit != Habit::Deaf
    }

    pub(super) fn resets(&self, now: MonotonicTime) -> bool {
        self.resets_at.is_some_and(|at| at <= now)
    }

    /// Whether it may be told that it has broken this rule.
    pub(super) fn may_break(&self, violation: Violation) -> bool {
        match self.habit {
            Habit::Garbage => true,
            Habit::Stall => violation == Violation::MessageStalled,
            Habit::Honest
            | Habit::Reset
            | Habit::HalfClose
            | Habit::Deaf
            | Habit::Silent
            | Habit::Drip => false,
        }
    }

    /// Every ping has got its pong, in order; with it, the connection closed as it should.
    pub(super) fn check_whole(&self) {
        let pongs = self.reader.said.payloads(PONG);
        assert!(
            self.pings_sent
                .iter()
                .map(Vec::as_slice)
                .take(pongs.len())
                .eq(pongs)
        );
        assert_eq!(self.reader.said.rest, 0, "a frame was cut off for {self:?}");
        assert!(self.reader.is_closed(), "no close frame for {self:?}");
    }

    pub(super) fn hear(&mut self, packet: &[u8]) {
        let known = self.reader.said.frames.len();
        self.reader.read(packet);
        if self.codec.is_none() && self.reader.said.status() == 101 {
            self.codec = Codec::of(&self.reader.said.head);
        }
        let fresh: Vec<client::Frame> = self.reader.said.frames[known..].to_vec();
        for frame in &fresh {
            if frame.opcode == TEXT {
                let text = match &mut self.codec {
                    Some(codec) if frame.is_compressed => codec.inflate(&frame.payload),
                    _ => String::from_utf8(frame.payload.clone()).unwrap(),
                };
                self.keep(text.trim_end());
            }
            if frame.opcode == CLOSE {
                self.is_cut |= frame.close_reason().contains("maxQueue");
            }
        }
        if packet.is_empty() {
            self.has_ended = true;
        }
    }

    fn keep(&mut self, text: &str) {
        if self.kind != Kind::Raw && !self.has_heard_ready {
            assert!(text.starts_with(r#"{"opcode":"ready""#), "{text}");
            self.has_heard_ready = true;
        } else if text == NEXT || is_echo(text) {
            self.own_texts.push(text.to_owned());
        } else {
            self.others_texts.push(text.to_owned());
        }
    }

    pub(super) fn act(&mut self, now: MonotonicTime, up: &mut Link, random: &mut Random) {
        if self.has_ended {
            return up.end(now, random);
        }
        if !self.is_opened {
            return self.open(now, up, random);
        }
        self.answer(now, up, random);
        if self.habit == Habit::Deaf && !self.is_closed {
            return self.talk(now, up, random);
        }
        if self.reader.said.status() != 101 || self.is_closed || self.habit == Habit::Silent {
            return;
        }
        self.patience = self.patience.saturating_sub(1);
        if self.patience == 0 && self.habit != Habit::Honest {
            return self.misbehave(now, up, random);
        }
        if random.chance(30) {
            self.talk(now, up, random);
        }
        if self.patience == 0 && self.messages_left == 0 && random.chance(5) {
            up.send(&client::close(1000, "done"), now, random);
            self.is_closed = true;
        }
    }

    fn open(&mut self, now: MonotonicTime, up: &mut Link, random: &mut Random) {
        let extension = |offer| format!("Sec-WebSocket-Extensions: permessage-deflate{offer}\r\n");
        let mut headers = self.offer.map_or_else(String::new, extension);
        headers += &format!("X-Peer: {}\r\nIdent: {}\r\n", self.name, self.ident());
        let path = match self.kind {
            Kind::Web => "/web",
            Kind::Raw => "/raw",
            Kind::Script(frames) => {
                headers += "Client-Type: php\r\n";
                if frames == Frames::Stream {
                    headers += "X-Websock-Frames: stream\r\n";
                }
                "/php"
            }
        };
        let head = request_to(path, &headers);
        if self.habit == Habit::Drip {
            let at = self.patience % head.len();
            self.patience += 1;
            return up.send(&head[at..=at], now, random);
        }
        up.send(&head, now, random);
        self.is_opened = true;
    }

    /// Answers pings and the close frame; not inside a frame that was left unfinished.
    fn answer(&mut self, now: MonotonicTime, up: &mut Link, random: &mut Random) {
        if self.is_closed && matches!(self.habit, Habit::Stall | Habit::Garbage) {
            return;
        }
        let fresh: Vec<client::Frame> = self.reader.said.frames[self.answered..].to_vec();
        self.answered = self.reader.said.frames.len();
        for heard in fresh {
            if heard.opcode == PING && self.habit != Habit::Silent {
                up.send(&frame(PONG, &heard.payload), now, random);
            }
            if heard.opcode == CLOSE && !self.is_closed {
                self.is_closed = true;
                up.send(&frame(CLOSE, &heard.payload), now, random);
            }
        }
    }

    /// One message, in fragments with pings between them.
    fn talk(&mut self, now: MonotonicTime, up: &mut Link, random: &mut Random) {
        if self.messages_left == 0 {
            return;
        }
        self.messages_left -= 1;
        let len = random.pick(&[0, 1, 20, 50, 50, 60, 120, 125, 126, 200, 1000, LONG]);
        let (name, at, filling) = (self.name, self.sent.len(), "ä".repeat(len));
        let is_broadcast = random.chance(15);
        let text = match (self.kind, is_broadcast) {
            (Kind::Raw, true) => format!("all {name} {at} {filling}."),
            (Kind::Raw, false) => format!("echo {name} {at} {filling}."),
            (_, is_broadcast) => {
                let opcode = if is_broadcast { "broadcast" } else { "echo" };
                format!(r#"{{"opcode":"{opcode}","from":{name},"n":{at},"x":"{filling}"}}"#)
            }
        };
        let codec = self.codec.as_mut().filter(|_| random.chance(80));
        let (first, payload) = match codec {
            Some(codec) => (0x40 | TEXT, codec.deflate(&text)),
            None => (TEXT, text.clone().into_bytes()),
        };
        let most = random.pick(&[1, 1, 2, 5]);
        let parts = random.split(&payload, most);
        for (at, part) in parts.iter().enumerate() {
            let opcode = if at == 0 { first } else { CONTINUATION };
            up.send(&fragment(at + 1 == parts.len(), opcode, part), now, random);
            if random.chance(20) {
                let len = random.below(126);
                let payload = random.bytes(len);
                up.send(&frame(PING, &payload), now, random);
                self.pings_sent.push(payload);
            }
        }
        self.sent.push(text);
    }

    fn misbehave(&mut self, now: MonotonicTime, up: &mut Link, random: &mut Random) {
        match self.habit {
            Habit::Reset => {
                let delay = random.below(300) as u64;
                self.resets_at = Some(now + Duration::from_millis(delay));
            }
            Habit::HalfClose => up.end(now, random),
            Habit::Stall => {
                let rsv1 = u8::from(self.codec.is_some()) << 6;
                let input = [
                    // Stored blocks may begin like this.
                    fragment(false, rsv1 | client::BINARY, b"\x00\xff\xff\x00\x00finish"),
                    client::promise(0x80, 30_000),
                    vec![b'x'; 20],
                ]
                .concat();
                let len = random.between(1, input.len());
                up.send(&input[..len], now, random);
            }
            Habit::Garbage => {
                let len = random.between(1, 500);
                up.send(&random.bytes(len), now, random);
                // What follows is read as garbage or not at all.
                up.send(&[0xFF; 20], now, random);
            }
            Habit::Honest | Habit::Deaf | Habit::Silent | Habit::Drip => {}
        }
        // From now on it listens and says nothing.
        self.is_closed = true;
    }
}

/// Characters of the longest message.
const LONG: usize = 9000;

fn is_echo(text: &str) -> bool {
    text.starts_with(r#"{"opcode":"echo""#) || text.starts_with("echo ")
}

fn is_broadcast(text: &str) -> bool {
    text.starts_with(r#"{"opcode":"broadcast""#) || text.starts_with("all ")
}

//! Long messages, whole and in fragments, compressed and not, with control frames in between, and
//! mistakes at their end: what comes of them, and in which order, is the same however they are cut and
//! whatever a turn has time for.

use std::time::Duration;

use crate::client::{self, BINARY, CONTINUATION, PING, PONG, TEXT};
use crate::random::Random;
use crate::server::{Client, NEXT, Server, settings};

/// Around each share that the loop takes, and each length from which it does something else.
const LENGTHS: [usize; 16] = [
    0, 1, 125, 1_000, 16_384, 40_000, 65_400, 65_536, 98_304, 131_072, 196_608, 262_144, 262_145,
    400_000, 1_048_576, 1_300_000,
];

/// What a sender says, and what comes of it.
struct Script {
    bytes: Vec<u8>,
    /// What the sender hears, and what another does.
    expected: [Vec<String>; 2],
}

impl Script {
    fn of(random: &mut Random, sender: &mut Client) -> Self {
        let mut script = Self {
            bytes: Vec::new(),
            expected: [Vec::new(), Vec::new()],
        };
        for number in 0..random.between(2, 6) {
            match random.below(8) {
                0 => script.control(random),
                _ => script.message(number, random, sender),
            }
        }
        script.end(random, sender);
        script
    }

    fn control(&mut self, random: &mut Random) {
        let payload = "p".repeat(random.below(126));
        match random.chance(70) {
            true => {
                self.bytes.extend(client::frame(PING, payload.as_bytes()));
                self.expected[0].push(format!("pong {payload}"));
            }
            false => self.bytes.extend(client::frame(PONG, payload.as_bytes())),
        }
    }

    fn message(&mut self, number: usize, random: &mut Random, sender: &mut Client) {
        let text = text(number, random);
        let pongs = self.frames(&text, random, sender);
        let said = &mut self.expected[0];
        said.extend(pongs);
        said.push(NEXT.to_owned());
        match text.contains(r#""opcode":"echo""#) {
            true => said.push(text),
            false => self.expected[1].push(text),
        }
    }

    /// The frames of a message; what comes of the pings between them.
    fn frames(&mut self, text: &str, random: &mut Random, sender: &mut Client) -> Vec<String> {
        let codec = sender.codec.as_mut().filter(|_| random.chance(50));
        let opcode = random.pick(&[TEXT, TEXT, BINARY]);
        let (first, payload) = match codec {
            Some(codec) => (0x40 | opcode, codec.deflate(text)),
            None => (opcode, text.as_bytes().to_vec()),
        };
        let mut pieces = match random.chance(50) {
            true => random.split(&payload, 5),
            false => vec![payload],
        };
        if random.chance(30) {
            let at = random.below(pieces.len() + 1);
            pieces.insert(at, Vec::new());
        }
        let mut pongs = Vec::new();
        let last = pieces.len().saturating_sub(1);
        for (at, piece) in pieces.iter().enumerate() {
            let fin = if at == last { 0x80 } else { 0 };
            let opcode = if at == 0 { first } else { CONTINUATION };
            self.bytes
                .extend(client::frame_with(fin | opcode, random.key(), piece));
            if at != last && random.chance(30) {
                self.bytes.extend(client::frame(PING, b"between"));
                pongs.push("pong between".to_owned());
            }
        }
        pongs
    }

    /// All goes on, or ends, in one of many ways; nothing behind that is heard.
    fn end(&mut self, random: &mut Random, sender: &mut Client) {
        let before = self.bytes.len();
        let mut text = text(99, random);
        let code = match random.below(7) {
            0 => 1000,
            1 => {
                text = text.replace("\"x\":\"", "\"x\":\"\u{1}");
                1007
            }
            2 => 1002,
            3 => 1007,
            4 => 1009,
            _ => return,
        };
        match code {
            1000 => self.bytes.extend(client::close(1000, "")),
            1002 => self.bytes.extend(client::frame(0x3, b"")),
            1009 => self.bytes.extend(client::promise(0x82, 1 << 40)),
            _ if text.contains('\u{1}') => {
                let pongs = self.frames(&text, random, sender);
                self.expected[0].extend(pongs);
                self.expected[0].push(NEXT.to_owned());
            }
            _ => {
                // The last byte of the last character is missing.
                let cut = [text.as_bytes(), b"\xE2\x82"].concat();
                self.bytes.extend(client::frame(TEXT, &cut));
            }
        }
        assert!(self.bytes.len() > before);
        self.expected[0].push(format!("close {code}"));
        self.bytes.extend(client::text(r#"{"opcode":"broadcast"}"#));
    }
}

/// A packet that is echoed, or goes to somebody else, of one of many lengths.
fn text(number: usize, random: &mut Random) -> String {
    let opcode = random.pick(&["echo", "broadcast", "feedback"]);
    let len = random.pick(&LENGTHS);
    let filling = random.pick(&[r"\u00e4\n", "größe ", "x", r#"",{"#]);
    let mut filling = filling.repeat(len / filling.len());
    if filling.contains('"') {
        filling = filling.replace('"', "'");
    }
    let jitter = " ".repeat(random.below(9));
    format!(r#"{{"opcode":"{opcode}",{jitter}"ident":"7","x":"{filling}","n":{number}}}"#)
}

/// How a sender's bytes come and the others' are taken.
struct Course {
    pieces: Vec<usize>,
    write_cost: Duration,
    capacity: usize,
    most_ready: usize,
    /// The sender ends its side behind the last byte.
    ends: bool,
}

fn run(seed: u64, course: &Course) -> ([Vec<String>; 2], [Vec<String>; 2]) {
    let random = &mut Random::new(seed);
    let mut settings = settings();
    settings.compression.is_on = random.chance(70);
    settings.compression.keeps_context = random.chance(50);
    settings.limits.max_queue_bytes = 64 << 20;
    let mut server = Server::new(&settings);
    let end = server.connect_with("192.0.2.1", course.capacity);
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let mut sender = server.open_on(end, "/web", offer);
    let end = server.connect_with("192.0.2.2", course.capacity);
    let mut receiver = server.open_on(end, "/web", "Ident: 7\r\n");
    let script = Script::of(random, &mut sender);
    server.system.let_writes_take(course.write_cost);
    server.system.let_waits_tell(course.most_ready);
    let (mut sent, mut step, mut heard) = (0, 0, [Vec::new(), Vec::new()]);
    for _ in 0..100_000 {
        let len = course.pieces[step % course.pieces.len()];
        step += 1;
        let most = script.bytes.len().min(sent + len);
        let offered = sender.end.offer(&script.bytes[sent..most]);
        sent += offered;
        if course.ends && sent == script.bytes.len() {
            sender.end.end();
        }
        server.turn();
        heard[0].extend(sender.heard());
        heard[1].extend(receiver.heard());
        let is_over = sent == script.bytes.len() || sender.end.has_ended();
        let is_idle = server.event_loop.next_wait() != Some(Duration::ZERO);
        if is_over && is_idle && !server.system.is_ready() {
            return (heard, script.expected);
        }
    }
    panic!("it does not come to rest");
}

fn brief(texts: &[String]) -> Vec<&str> {
    texts.iter().map(|t| t.get(..40).unwrap_or(t)).collect()
}

#[test]
fn long_messages_come_to_the_same_in_the_same_order_however_they_are_cut() {
    let seeds = std::env::var("SIM_SEEDS").map_or(6, |n| n.parse().expect("a number"));
    let first = std::env::var("SIM_SEED").map_or(0, |n| n.parse().expect("a number"));
    for seed in first..first + seeds {
        let mut random = Random::new(seed ^ 0xABCD);
        for course in 0..5 {
            let course = Course {
                pieces: match course {
                    0 => vec![8 << 20],
                    _ => {
                        let most = random.pick(&[700, 20_000, 140_000, 300_000]);
                        (0..7).map(|_| random.between(1, most)).collect()
                    }
                },
                write_cost: Duration::from_micros(random.pick(&[0, 40, 900])),
                capacity: random.pick(&[5_000, 70_000, 4 << 20]),
                most_ready: random.pick(&[1, 64]),
                ends: random.chance(40),
            };
            let (heard, expected) = run(seed, &course);
            for (who, heard, expected) in [
                ("sender", &heard[0], &expected[0]),
                ("receiver", &heard[1], &expected[1]),
            ] {
                assert!(
                    heard == expected,
                    "SIM_SEED={seed}, {:?}: the {who} hears {:?}, not {:?}",
                    course.pieces,
                    brief(heard),
                    brief(expected)
                );
            }
        }
    }
}

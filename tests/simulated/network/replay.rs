//! Pages that vanish and come back at any moment, over restarts of the server with and without a
//! word, where what is kept for them has room and where it has none (protocol.md §9).
//!
//! What holds for each of them: what it is told is complete and in order, or it is told of a gap;
//! nothing comes twice.

use std::time::Duration;

use serde_json::Value;
use websock::connection::MonotonicTime;
use websock::net::ServerSettings;
use websock::ops::signals::Signal;
use websock::registry::ReplaySettings;

use super::LIMITS;
use super::pair::Line;
use crate::client::{self, CLOSE, PING, PONG, Reader, TEXT};
use crate::random::Random;
use crate::server::{Server, push, request_to, settings};

const STEPS: usize = 150;
const PAGES: usize = 6;
const TIME_OF_DAY: Duration = Duration::from_secs(1_800_000_000);

/// What has come to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Message(u64),
    Gap,
}

/// What a page says when it comes back.
struct Claim {
    uuid: String,
    secret: String,
    cursor: String,
}

#[derive(Default)]
struct Page {
    conn: Option<Conn>,
    claim: Option<Claim>,
    told: Vec<Told>,
    /// All that was said to it.
    said: Vec<u64>,
}

struct Conn {
    line: Line,
    reader: Reader,
    read_count: usize,
    /// Nothing reaches it, and nothing that it says.
    is_dead: bool,
    /// It has said who it was, and has no answer.
    awaits_resumed: bool,
}

impl Page {
    fn connect(&mut self, server: &Server, random: &mut Random) {
        let mut line = Line::new(server, "192.0.2.1", random);
        let request = request_to("/web?resume=1", "");
        line.up.send(&request, server.system.time(), random);
        self.conn = Some(Conn {
            line,
            reader: Reader::default(),
            read_count: 0,
            is_dead: false,
            awaits_resumed: false,
        });
    }

    /// Reads what has come; whether the connection goes on.
    fn hear(&mut self, now: MonotonicTime, random: &mut Random) -> bool {
        let Some(conn) = &mut self.conn else {
            return true;
        };
        while let Some(packet) = conn.line.arrived(now) {
            if packet.is_empty() {
                return false;
            }
            conn.reader.read(&packet);
            if conn.reader.said.status() == 503 {
                return false;
            }
        }
        let frames = conn.reader.said.frames[conn.read_count..].to_vec();
        conn.read_count += frames.len();
        for frame in frames {
            match frame.opcode {
                PING => {
                    let pong = client::frame(PONG, &frame.payload);
                    conn.line.up.send(&pong, now, random);
                }
                CLOSE => return false,
                TEXT => {
                    let packet = serde_json::from_slice(&frame.payload).unwrap();
                    let answer = hear_packet(&packet, conn, &mut self.claim, &mut self.told);
                    if let Some(answer) = answer {
                        let text = client::text(&answer);
                        conn.line.up.send(&text, now, random);
                    }
                }
                other => panic!("opcode {other}"),
            }
        }
        true
    }

    /// What has come, between gaps, is what was said, one after the other.
    fn check(&self) {
        let (mut place, mut is_anywhere) = (0, true);
        for told in &self.told {
            let Told::Message(number) = *told else {
                is_anywhere = true;
                continue;
            };
            let rest = &self.said[place..];
            let ahead = rest.iter().position(|said| *said == number);
            let ahead =
                ahead.unwrap_or_else(|| panic!("{number} is there twice, or late: {self:?}"));
            assert!(
                ahead == 0 || is_anywhere,
                "before {number} some is missing: {self:?}"
            );
            (place, is_anywhere) = (place + ahead + 1, false);
        }
        assert_eq!(place, self.said.len(), "the last is missing: {self:?}");
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "said {:?}, told {:?}", self.said, self.told)
    }
}

fn hear_packet(
    packet: &Value,
    conn: &mut Conn,
    claim: &mut Option<Claim>,
    told: &mut Vec<Told>,
) -> Option<String> {
    let text = |key: &str| packet[key].as_str().unwrap_or_default().to_owned();
    match packet["opcode"].as_str()? {
        "ready" => {
            if let Some(Claim {
                uuid,
                secret,
                cursor,
            }) = claim
            {
                conn.awaits_resumed = true;
                return Some(format!(
                    r#"{{"opcode":"resume","uuid":"{uuid}","secret":"{secret}","cursor":"{cursor}"}}"#
                ));
            }
            *claim = Some(Claim {
                uuid: text("uuid"),
                secret: text("resume"),
                cursor: text("cursor"),
            });
        }
        "resumed" => {
            conn.awaits_resumed = false;
            *claim = Some(Claim {
                uuid: text("uuid"),
                secret: text("resume"),
                cursor: text("cursor"),
            });
            if !packet["gap"].is_null() {
                assert_eq!(packet["replayed"], 0);
                told.push(Told::Gap);
            }
        }
        // It is among what is replayed.
        "broadcast" | "feedback" if conn.awaits_resumed => {}
        "broadcast" | "feedback" => {
            told.push(Told::Message(packet["n"].as_u64()?));
            let (claim, cursor) = (claim.as_mut()?, text("cursor"));
            check_order(&claim.cursor, &cursor);
            claim.cursor = cursor;
        }
        "next" | "restart" => {}
        other => panic!("{other}"),
    }
    None
}

/// Behind a gap, which has the cursor of then, comes nothing of what was before it, either.
fn check_order(before: &str, cursor: &str) {
    let parsed = |text: &str| {
        let (epoch, number) = text.split_once('.').expect("a cursor");
        let number = u64::from_str_radix(number, 16).expect("a number");
        (epoch.to_owned(), number)
    };
    let (before, after) = (parsed(before), parsed(cursor));
    assert!(
        before.0 == after.0 && before.1 < after.1,
        "{after:?} comes behind {before:?}"
    );
}

struct World {
    random: Random,
    settings: ServerSettings,
    server: Server,
    pages: Vec<Page>,
    /// Connections of which only the server does not know that they are dead.
    ghosts: Vec<Line>,
    count: u64,
    crash_count: usize,
    is_roomy: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let is_roomy = random.chance(50);
        let replay = match is_roomy {
            true => ReplaySettings {
                max_messages: 1000,
                time: Duration::from_secs(3600),
                max_bytes: 1 << 20,
            },
            false => ReplaySettings {
                max_messages: random.pick(&[1, 3, 1000]),
                time: Duration::from_secs(random.pick(&[2, 8, 3600])),
                max_bytes: random.pick(&[1000, 4000, 1 << 20]),
            },
        };
        let settings = ServerSettings {
            limits: LIMITS,
            replay,
            ..settings()
        };
        Self {
            server: Server::new(&settings),
            random,
            settings,
            pages: (0..PAGES).map(|_| Page::default()).collect(),
            ghosts: Vec::new(),
            count: 0,
            crash_count: 0,
            is_roomy,
        }
    }

    fn step(&mut self, is_calm: bool) {
        let millis = self.random.between(1, super::MOST_MILLIS) as u64;
        self.server.advance(Duration::from_millis(millis));
        let now = self.server.system.time();
        for page in &mut self.pages {
            if let Some(conn) = page.conn.as_mut().filter(|conn| !conn.is_dead) {
                while conn.line.deliver(now) {
                    self.server.turn();
                }
            }
        }
        self.server.settle();
        for index in 0..self.pages.len() {
            let page = &mut self.pages[index];
            if let Some(conn) = page.conn.as_mut().filter(|conn| !conn.is_dead) {
                while conn.line.collect(now, true, &mut self.random) {
                    self.server.settle();
                }
                if !page.hear(now, &mut self.random) {
                    page.conn = None;
                }
            }
            self.disturb(index, is_calm);
        }
        if self.random.chance(if is_calm { 5 } else { 40 }) {
            self.say();
        }
        if !is_calm && self.random.chance(2) {
            self.restart();
        }
    }

    fn disturb(&mut self, index: usize, is_calm: bool) {
        let (random, page) = (&mut self.random, &mut self.pages[index]);
        match &mut page.conn {
            None if random.chance(30) => page.connect(&self.server, random),
            Some(conn) if conn.is_dead && random.chance(20) => {
                // It gives up, and the server does not hear of it.
                self.ghosts.extend(page.conn.take().map(|conn| conn.line));
            }
            Some(conn) if !is_calm && random.chance(4) => conn.is_dead = true,
            Some(conn) if !is_calm && random.chance(4) => {
                conn.line.reset();
                page.conn = None;
            }
            _ => {}
        }
    }

    /// A push to everybody, or to one page.
    fn say(&mut self) {
        self.count += 1;
        let n = self.count;
        let index = self.random.below(PAGES * 2);
        // Whoever is about to be told of a gap may have another name by then.
        let is_sure = |page: &&Page| page.conn.as_ref().is_none_or(|conn| !conn.awaits_resumed);
        let page = self.pages.get(index).filter(is_sure);
        let claim = page.and_then(|page| page.claim.as_ref());
        match claim.map(|claim| claim.uuid.clone()) {
            None => {
                self.ask(&format!(r#"{{"opcode":"broadcast","n":{n}}}"#));
                self.pages.iter_mut().for_each(|page| page.said.push(n));
            }
            Some(uuid) => {
                let packet = format!(r#"{{"opcode":"feedback","uuid":"{uuid}","n":{n}}}"#);
                if self.ask(&packet) != 404 {
                    self.pages[index].said.push(n);
                }
            }
        }
    }

    fn ask(&mut self, packet: &str) -> u16 {
        let answer = self.server.ask(&push(packet), "127.0.0.1");
        let status = answer.split(' ').nth(1).unwrap();
        status.parse().unwrap()
    }

    fn restart(&mut self) {
        let is_told = self.random.chance(70);
        if is_told {
            self.server.system.signal(Signal::Stop);
            while !self.server.event_loop.is_done() {
                self.server.advance(Duration::from_millis(100));
            }
        }
        let now = self.server.system.time();
        let kept = self
            .server
            .event_loop
            .app_mut()
            .kept_state(now, TIME_OF_DAY);
        self.server = Server::new(&self.settings);
        self.server.system.jump_to(now);
        self.pages.iter_mut().for_each(|page| page.conn = None);
        self.ghosts.clear();
        match kept.filter(|_| is_told) {
            Some(kept) => {
                let app = self.server.event_loop.app_mut();
                app.restore(&kept, now, TIME_OF_DAY)
                    .expect("it was written so");
            }
            None => self.crash_count += 1,
        }
    }

    /// Whether any page was told of a gap.
    fn run(&mut self) -> bool {
        (0..STEPS).for_each(|_| self.step(false));
        for page in &mut self.pages {
            // Those who are dead give up.
            self.ghosts
                .extend(page.conn.take_if(|conn| conn.is_dead).map(|conn| conn.line));
        }
        (0..STEPS).for_each(|_| self.step(true));
        self.count += 1;
        self.ask(&format!(r#"{{"opcode":"broadcast","n":{}}}"#, self.count));
        self.pages
            .iter_mut()
            .for_each(|page| page.said.push(self.count));
        for _ in 0..STEPS {
            let now = self.server.system.time() + Duration::from_millis(50);
            self.server.system.jump_to(now);
            self.server.settle();
            for page in &mut self.pages {
                let conn = page.conn.as_mut().expect("nothing disturbs it");
                while conn.line.deliver(now) {}
                self.server.settle();
                while conn.line.collect(now, true, &mut self.random) {
                    self.server.settle();
                }
                assert!(page.hear(now, &mut self.random), "it stays");
            }
        }
        self.pages.iter().for_each(Page::check);
        let has_gap = self.pages.iter().any(|page| page.told.contains(&Told::Gap));
        assert!(
            !has_gap || !self.is_roomy || self.crash_count > 0,
            "a gap for no reason: {:?}",
            self.pages
        );
        has_gap
    }
}

#[test]
fn pages_that_come_back_have_missed_nothing_or_are_told() {
    let seeds = match super::number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..super::number("SIM_SEEDS").unwrap_or(60),
    };
    let count = seeds.end - seeds.start;
    let mut gap_count = 0;
    for seed in seeds {
        let result = std::panic::catch_unwind(|| World::new(seed).run());
        gap_count += u64::from(result.unwrap_or_else(|panic| {
            eprintln!("repeat with: SIM_SEED={seed} cargo test --test simulated replay");
            std::panic::resume_unwind(panic)
        }));
    }
    assert!(
        count < 50 || (count / 10..count).contains(&gap_count),
        "{gap_count} have gaps"
    );
}

//! Dozens of connections at once over a network that splits, delays and resets, on a clock that
//! jumps; all of it repeated by a seed.
//!
//! One step of a simulation is one turn of the loop: what has arrived is received, what is due is
//! handled, everybody is flushed. Then the far ends act.

mod link;
mod peer;

use std::rc::Rc;
use std::time::{Duration, Instant};

use websock::connection::{Framing, Keepalive, Limits, Outgoing, SendError};
use websock::protocol::close::CloseCode;
use websock::protocol::error::Violation;

use self::link::Link;
use self::peer::{Habit, Peer};
use crate::client::{TEXT, server_frame};
use crate::host::{Host, Seen, Service};
use crate::random::Random;

const LIMITS: Limits = Limits {
    max_message_bytes: 40_000,
    max_fragments: 100,
    max_queue_bytes: 60_000,
    max_control_frames_per_second: 200,
    max_messages_per_second: 0,
    handshake_timeout: Duration::from_secs(3),
    keep_alive_timeout: Duration::from_secs(60),
    ping_interval: Duration::from_secs(4),
    pong_timeout: Duration::from_secs(3),
    close_timeout: Duration::from_secs(2),
    stall_timeout: Duration::from_secs(3),
    min_progress_bytes: 64,
};

/// Longest normal step; a packet takes as long at most.
const MOST_MILLIS: usize = 120;

/// What a connection may hold, as in the attack suite.
const MOST_BYTES: usize = LIMITS.max_message_bytes + 2 * LIMITS.max_queue_bytes + 20_000;

const STEPS: usize = 250;

/// Both ends of one connection, and what lies between.
struct Pair {
    host: Host,
    peer: Peer,
    up: Link,
    down: Link,
    /// Data frames that the server has queued, in order.
    queued: Vec<String>,
    /// Handled events.
    handled: usize,
    /// Messages at the far end that have been compared.
    checked: usize,
    end: Option<End>,
    /// The server may have lost it for good reason: the clock has jumped.
    is_jolted: bool,
    born: Instant,
    /// When it left the open state, or was born if it never opened.
    last_open: Instant,
}

/// How a connection went, as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Dropped after all had been said and sent.
    Orderly,
    /// The link was reset.
    Reset,
}

struct Network {
    random: Random,
    now: Instant,
    pairs: Vec<Pair>,
    jumps: bool,
    broadcast_count: usize,
}

impl Network {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let jumps = random.chance(40);
        let now = Instant::now();
        let count = random.between(12, 40);
        let pairs = (0..count)
            .map(|at| Pair::new(at, now, &mut random))
            .collect();
        Self {
            random,
            now,
            pairs,
            jumps,
            broadcast_count: 0,
        }
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            self.step();
        }
        // Shutdown: everybody is told, and nobody outlives the deadline.
        for pair in &mut self.pairs {
            pair.host.close(CloseCode::GOING_AWAY, "shutdown");
        }
        for _ in 0..STEPS {
            if self.pairs.iter().all(Pair::is_over) {
                break;
            }
            self.step();
        }
        self.now += LIMITS.handshake_timeout + LIMITS.close_timeout;
        for _ in 0..4 {
            self.now += LIMITS.close_timeout;
            self.pairs
                .iter_mut()
                .for_each(|pair| pair.turn(self.now, &mut self.random));
        }
        let held: usize = self
            .pairs
            .iter()
            .map(|p| p.host.connection.held_bytes())
            .sum();
        assert_eq!(held, 0, "memory is still held");
        self.pairs.iter().for_each(Pair::check_end);
    }

    fn step(&mut self) {
        let mut millis = self.random.between(1, MOST_MILLIS);
        if self.jumps && self.random.chance(2) {
            millis = self.random.between(1000, 20_000);
            self.pairs.iter_mut().for_each(|pair| pair.is_jolted = true);
        }
        self.now += Duration::from_millis(millis as u64);
        for pair in &mut self.pairs {
            pair.turn(self.now, &mut self.random);
        }
        if self.random.chance(15) {
            self.broadcast();
        }
        for pair in &mut self.pairs {
            pair.flush(&mut self.random);
            pair.far_end(self.now, &mut self.random);
            pair.check();
        }
    }

    /// Up to three frames, encoded once, to all that are open.
    fn broadcast(&mut self) {
        let count = self.random.between(1, 3);
        let texts: Vec<String> = (0..count)
            .map(|at| {
                let len = self.random.below(300);
                format!(
                    "broadcast {} {}.",
                    self.broadcast_count + at,
                    "b".repeat(len)
                )
            })
            .collect();
        self.broadcast_count += count;
        let frames: Vec<Vec<u8>> = texts
            .iter()
            .map(|t| server_frame(TEXT, t.as_bytes()))
            .collect();
        let shared = Rc::new(frames.concat());
        for pair in &mut self.pairs {
            let mut start = 0;
            for (text, frame) in texts.iter().zip(&frames) {
                let range = start..start + frame.len();
                start = range.end;
                pair.queue(&Outgoing::Shared(&shared, range), text);
            }
        }
    }
}

impl Pair {
    fn new(at: usize, now: Instant, random: &mut Random) -> Self {
        let mut host = Host::new(LIMITS);
        host.now = now;
        host.connection = host.call(|_, turn| websock::connection::Connection::new(turn));
        host.service = Service::Listen;
        let framing = [Framing::Padded, Framing::Spaced, Framing::Records];
        (host.framing, host.keepalive) = if random.chance(75) {
            (Framing::Stream, Keepalive::Pings)
        } else {
            (random.pick(&framing), Keepalive::None)
        };
        let answers_late = host.keepalive == Keepalive::None;
        Self {
            host,
            peer: Peer::new(at, answers_late, random),
            up: Link::default(),
            down: Link::default(),
            queued: Vec::new(),
            handled: 0,
            checked: 0,
            end: None,
            is_jolted: false,
            born: now,
            last_open: now,
        }
    }

    /// The first half of a turn: what has arrived, then what is due.
    fn turn(&mut self, now: Instant, random: &mut Random) {
        self.host.now = now;
        if self.end.is_some() {
            return;
        }
        if self.peer.resets(now) {
            self.host.connection.abort();
            self.end = Some(End::Reset);
            return;
        }
        // A peer that does not take its output is not read (back-pressure).
        while !self.host.connection.is_congested(&LIMITS) {
            let Some(packet) = self.up.arrived(now) else {
                break;
            };
            if packet.is_empty() {
                self.host.eof();
            }
            self.host.feed(&packet);
            self.handle_events();
        }
        self.host.expire();
        self.handle_events();
        self.flush(random);
    }

    /// Echoes what is new.
    fn handle_events(&mut self) {
        let fresh: Vec<Seen> = self.host.seen[self.handled..].to_vec();
        self.handled = self.host.seen.len();
        for seen in fresh {
            match seen {
                Seen::Text(text) => {
                    let frame = server_frame(TEXT, text.as_bytes());
                    self.queue(&Outgoing::Copied(&frame), &text);
                    self.peer.accepted.push(text);
                }
                Seen::Failed(violation) => {
                    let is_stall = violation == Violation::MessageStalled;
                    let is_expected = self.is_jolted && is_stall || self.peer.may_break(violation);
                    assert!(is_expected, "{violation:?} by {:?}", self.peer);
                }
                Seen::Lost => self.expect_loss(),
                Seen::Head(_)
                | Seen::Body(_)
                | Seen::Refused(_)
                | Seen::Closed(_)
                | Seen::Binary(_) => {}
            }
        }
    }

    fn queue(&mut self, outgoing: &Outgoing<'_>, text: &str) {
        let waiting = self.host.connection.output_len();
        match self.host.send_frame(outgoing) {
            Ok(()) => self.queued.push(text.to_owned()),
            Err(SendError::NotOpen) => assert!(!self.host.connection.is_open()),
            Err(SendError::QueueFull) => {
                let room = text.len() + 10 + MOST_PIECE_COST;
                assert!(
                    waiting + room > LIMITS.max_queue_bytes / 2,
                    "{waiting} wait"
                );
                self.peer.is_cut = true;
                self.host
                    .close(CloseCode::POLICY_VIOLATION, "output over maxQueue");
            }
        }
    }

    fn expect_loss(&self) {
        let is_expected = self.is_jolted || self.peer.may_be_lost() || self.peer.is_cut;
        assert!(is_expected, "{:?} was lost", self.peer);
    }

    /// Writes as much as the network takes now.
    fn flush(&mut self, random: &mut Random) {
        if self.end.is_some() {
            return;
        }
        let start = self.host.wire.len();
        let mut room = self.down.room(self.peer.reads());
        while room > 0 {
            let written = self.host.write(room);
            room -= written;
            if written == 0 {
                break;
            }
        }
        if self.host.connection.output_len() > 0 {
            self.host
                .call(|connection, turn| connection.settle_output(turn.pool));
        }
        let bytes = self.host.wire[start..].to_vec();
        self.down.send(&bytes, self.host.now, random);
        let connection = &self.host.connection;
        if connection.is_said() || connection.is_finished() {
            self.down.end(self.host.now, random);
        }
        if connection.is_finished() {
            self.end = Some(End::Orderly);
        }
    }

    fn far_end(&mut self, now: Instant, random: &mut Random) {
        if self.end == Some(End::Reset) {
            return;
        }
        while self.peer.reads() {
            let Some(packet) = self.down.arrived(now) else {
                break;
            };
            self.peer.hear(&packet);
        }
        self.peer.act(now, &mut self.up, random);
    }

    /// Whether both ends know all that they will.
    fn is_over(&self) -> bool {
        let hears = self.end == Some(End::Orderly) && self.peer.reads();
        self.end.is_some() && !(hears && self.down.is_busy())
    }

    // ---- what must hold

    fn check(&mut self) {
        let connection = &self.host.connection;
        let held = connection.held_bytes();
        assert!(held <= MOST_BYTES, "{held} bytes held by {:?}", self.peer);
        let now = self.host.now;
        if self.end.is_some() {
            return assert_eq!(held, 0);
        }
        let due = connection.next_deadline(&LIMITS);
        assert!(due.is_none_or(|due| due > now), "outlives its deadline");
        if connection.is_open() {
            self.last_open = now;
        }
        let step = Duration::from_millis(MOST_MILLIS as u64);
        if connection.is_pending() {
            assert!(now < self.born + LIMITS.handshake_timeout + step || self.is_jolted);
        } else if !connection.is_open() {
            // Closing, then Draining or Closed: each with its own time.
            let most = LIMITS.handshake_timeout + LIMITS.close_timeout * 3 + step * 3;
            assert!(
                now < self.last_open + most || self.is_jolted,
                "{:?}",
                self.peer
            );
        }
        let texts = &self.peer.texts;
        for at in std::mem::replace(&mut self.checked, texts.len())..texts.len() {
            assert_eq!(texts.get(at), self.queued.get(at), "not what was queued");
        }
    }

    fn check_end(&self) {
        assert!(self.end.is_some(), "{:?} is still there", self.peer);
        let peer = &self.peer;
        let said = &peer.texts;
        assert!(self.queued.starts_with(said));
        let is_whole = peer.habit == Habit::Honest && !self.is_jolted && !peer.is_cut;
        if is_whole {
            assert_eq!(*said, self.queued, "{peer:?} has not got everything");
            let echoes: Vec<&String> = said.iter().filter(|t| t.starts_with("echo ")).collect();
            assert_eq!(echoes, peer.accepted.iter().collect::<Vec<_>>());
            assert_eq!(peer.sent, peer.accepted, "a message got lost on its way in");
            peer.check_whole();
        }
    }
}

/// What a waiting piece may count beyond its bytes, padding included.
const MOST_PIECE_COST: usize = 8192 + 64;

fn run(seed: u64) {
    let result = std::panic::catch_unwind(|| Network::new(seed).run());
    if let Err(panic) = result {
        eprintln!("repeat with: SIM_SEED={seed} cargo test --test simulated network");
        std::panic::resume_unwind(panic);
    }
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value} is no number")),
    )
}

#[test]
fn network_of_honest_and_hostile_peers_keeps_its_promises() {
    match number("SIM_SEED") {
        Some(seed) => run(seed),
        None => (0..number("SIM_SEEDS").unwrap_or(250)).for_each(run),
    }
}

#[test]
fn a_seed_repeats_its_network() {
    let trace = |seed| {
        let mut network = Network::new(seed);
        network.run();
        let wires = network.pairs.iter().map(|pair| pair.host.wire.clone());
        wires.collect::<Vec<_>>()
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}

//! Dozens of connections at once over a network that splits, delays and resets, on a clock that
//! jumps; all of it repeated by a seed.
//!
//! One step of a simulation is one turn of the loop: what has arrived is received, what is due is
//! handled, everybody is flushed. Then the far ends act.

mod link;
mod pair;
mod peer;
mod pusher;

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use websock::connection::{Limits, MonotonicTime, Outgoing};
use websock::protocol::close_code::CloseCode;
use websock::protocol::deflate::Deflater;
use websock::protocol::extension::{CompressionSettings, Context};

use self::pair::Pair;
use self::pusher::Pusher;
use crate::client::{TEXT, server_frame};
use crate::random::Random;

const LIMITS: Limits = Limits {
    max_message_bytes: 40_000,
    max_web_message_bytes: 40_000,
    max_fragments: 100,
    max_queue_bytes: 60_000,
    max_control_frames_per_second: 200,
    max_messages_per_second: 0,
    handshake_timeout: Duration::from_secs(3),
    keep_alive_timeout: Duration::from_secs(4),
    ping_interval: Duration::from_secs(4),
    pong_timeout: Duration::from_secs(3),
    close_timeout: Duration::from_secs(2),
    stall_timeout: Duration::from_secs(3),
    min_progress_bytes: 64,
};

/// Longest normal step; a packet takes as long at most.
const MOST_MILLIS: usize = 120;

const STEPS: usize = 250;

struct Network {
    random: Random,
    now: MonotonicTime,
    pairs: Vec<Pair>,
    pushers: Vec<Pusher>,
    compression: CompressionSettings,
    jumps: bool,
    broadcast_count: usize,
}

impl Network {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let jumps = random.chance(40);
        let now = MonotonicTime::START;
        let count = random.between(12, 40);
        let compression = CompressionSettings {
            is_on: random.chance(70),
            threshold_bytes: random.pick(&[0, 50, 200]),
            keeps_context: random.chance(50),
            level: random.pick(&[1, 2, 6]),
        };
        let pairs = (0..count)
            .map(|at| Pair::new(at, now, compression, &mut random))
            .collect();
        let pushers = (0..random.below(6))
            .map(|at| Pusher::new(at, now, &mut random))
            .collect();
        Self {
            random,
            now,
            pairs,
            pushers,
            compression,
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
            let are_done = self.pushers.iter().all(Pusher::is_over);
            if are_done && self.pairs.iter().all(Pair::is_over) {
                break;
            }
            self.step();
        }
        self.now += LIMITS.handshake_timeout + LIMITS.close_timeout;
        for _ in 0..4 {
            self.now += LIMITS.close_timeout;
            self.turns();
        }
        let held: usize = self
            .pairs
            .iter()
            .map(|p| p.host.connection.held_bytes())
            .chain(self.pushers.iter().map(Pusher::held_bytes))
            .sum();
        assert_eq!(held, 0, "memory is still held");
        self.pairs.iter().for_each(Pair::check_end);
        self.pushers.iter().for_each(Pusher::check_end);
        pusher::check_deliveries(&self.pushers, &self.pairs);
    }

    /// The first half of a turn of the loop.
    fn turns(&mut self) {
        for pair in &mut self.pairs {
            pair.turn(self.now, &mut self.random);
        }
        for pusher in &mut self.pushers {
            pusher.turn(self.now, &mut self.pairs, &mut self.random);
        }
    }

    fn step(&mut self) {
        let mut millis = self.random.between(1, MOST_MILLIS);
        if self.jumps && self.random.chance(2) {
            millis = self.random.between(1000, 20_000);
            self.pairs.iter_mut().for_each(|pair| pair.is_jolted = true);
            self.pushers.iter_mut().for_each(Pusher::jolt);
        }
        self.now += Duration::from_millis(millis as u64);
        self.turns();
        if self.random.chance(15) {
            self.broadcast();
        }
        for pair in &mut self.pairs {
            pair.flush(&mut self.random);
            pair.far_end(self.now, &mut self.random);
            pair.check();
        }
        for pusher in &mut self.pushers {
            pusher.far_end(self.now, &mut self.random, self.pairs.len());
        }
    }

    /// Up to three frames, encoded once, and compressed once for each size of window, to all that
    /// are open.
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
        let mut forms: Vec<Form> = Vec::new();
        for pair in &mut self.pairs {
            let bits = pair.host.connection.window_bits();
            if let Some(bits) = bits.filter(|bits| forms.iter().all(|form| form.bits != *bits)) {
                forms.push(Form::new(bits, &self.compression, &frames));
            }
            let form = forms.iter().find(|form| Some(form.bits) == bits);
            let mut start = 0;
            for (at, (text, frame)) in texts.iter().zip(&frames).enumerate() {
                let range = start..start + frame.len();
                start = range.end;
                let outgoing = form
                    .and_then(|form| form.frame(at))
                    .unwrap_or(Outgoing::Shared(&shared, range));
                // Who is cut for it is noted there.
                let _ = pair.queue(&outgoing, text);
            }
        }
    }
}

/// Frames that were compressed for one size of window.
struct Form {
    bits: u8,
    bytes: Rc<Vec<u8>>,
    /// Empty for those that got no shorter.
    ranges: Vec<Range<usize>>,
}

impl Form {
    fn new(bits: u8, compression: &CompressionSettings, frames: &[Vec<u8>]) -> Self {
        let mut deflater = Deflater::new(bits, compression.level, Context::Dropped);
        let mut bytes = Vec::new();
        let mut ranges = Vec::new();
        for frame in frames {
            let start = bytes.len();
            if frame.len() > compression.threshold_bytes {
                deflater.deflate_frame(frame, &mut bytes);
            }
            ranges.push(start..bytes.len());
        }
        Self {
            bits,
            bytes: Rc::new(bytes),
            ranges,
        }
    }

    fn frame(&self, at: usize) -> Option<Outgoing<'_>> {
        let range = self.ranges[at].clone();
        (!range.is_empty()).then_some(Outgoing::Shared(&self.bytes, range))
    }
}

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
        let pushers = network.pushers.iter().map(Pusher::wire);
        let pairs = network.pairs.iter().map(|pair| pair.host.wire.clone());
        pairs.chain(pushers).collect::<Vec<_>>()
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}

//! Dozens of connections at once over a network that splits, delays and resets, on a clock that
//! jumps; all of it repeated by a seed. The server is the real loop with the built-in resources and
//! one without dialogue; pages, scripts and pushes talk to it and through it to each other.
//!
//! In a step time passes, what has arrived goes to the server packet by packet, and the far ends
//! hear and act.

mod link;
mod pair;
mod peer;
mod pusher;
mod records;
mod replay;

use std::time::Duration;

use websock::app::{Resource, Standard};
use websock::connection::Limits;
use websock::net::ServerSettings;
use websock::ops::signals::Signal;
use websock::protocol::extension::CompressionSettings;

use self::pair::Pair;
use self::peer::{Frames, Habit, Kind, Peer};
use self::pusher::Pusher;
use self::records::{Raw, Recording, Records};
use crate::random::Random;
use crate::server::{Server, settings};

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
    server: Server,
    records: Records,
    /// The first one is the witness: it hears every broadcast.
    pairs: Vec<Pair>,
    pushers: Vec<Pusher>,
    jumps: bool,
}

impl Network {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let jumps = random.chance(40);
        // With a dialogue `ready` is never compressed: its uuid is no number of the seed's.
        let is_raw = random.chance(25);
        let settings = ServerSettings {
            limits: LIMITS,
            compression: CompressionSettings {
                is_on: random.chance(70),
                threshold_bytes: random.pick(if is_raw { &[0, 50] } else { &[100, 200] }),
                keeps_context: random.chance(50),
                level: random.pick(&[1, 2, 6]),
            },
            ..settings()
        };
        let records = Records::default();
        let resources: [(&str, Box<dyn Resource>); 3] = [
            ("/web", Recording::new(&records, Box::new(Standard::new()))),
            ("/php", Recording::new(&records, Box::new(Standard::new()))),
            ("/raw", Recording::new(&records, Box::new(Raw))),
        ];
        let mut network = Self {
            server: Server::with_resources(&settings, resources),
            random,
            records,
            pairs: Vec::new(),
            pushers: Vec::new(),
            jumps,
        };
        network.populate(if is_raw { Kind::Raw } else { Kind::Web });
        // What takes long goes on in later turns, and a turn does not see everybody.
        let (random, system) = (&mut network.random, &network.server.system);
        system.let_writes_take(Duration::from_micros(random.pick(&[0, 0, 30, 700])));
        system.let_waits_tell(random.pick(&[usize::MAX, 64, 5, 1]));
        network
    }

    /// The witness comes before all others.
    fn populate(&mut self, kind: Kind) {
        let witness = Peer::witness(0, kind, &mut self.random);
        self.add(witness);
        for _ in 0..STEPS {
            if self.pairs[0].peer.is_open() {
                break;
            }
            self.step();
        }
        for name in 1..self.random.between(12, 40) {
            let kind = match self.random.below(100) {
                _ if kind == Kind::Raw => Kind::Raw,
                0..55 => Kind::Web,
                55..75 => Kind::Raw,
                _ => {
                    let frames = [Frames::Padded, Frames::Spaced, Frames::Stream];
                    Kind::Script(self.random.pick(&frames))
                }
            };
            let peer = Peer::new(name, kind, &mut self.random);
            self.add(peer);
        }
        for name in 0..self.random.below(6) {
            let pusher = Pusher::new(name, &self.server, &mut self.random);
            self.pushers.push(pusher);
        }
    }

    fn add(&mut self, peer: Peer) {
        let pair = Pair::new(peer, &self.server, &mut self.random);
        self.pairs.push(pair);
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            self.step();
        }
        self.step_until(|network| network.pushers.iter().all(Pusher::is_over));
        // Shutdown: everybody is told, and nobody outlives the deadline.
        self.server.system.signal(Signal::Stop);
        self.step_until(|network| {
            let mut pairs = network.pairs.iter();
            network.pushers.iter().all(Pusher::is_over) && pairs.all(Pair::is_over)
        });
        self.server
            .advance(LIMITS.handshake_timeout * 2 + LIMITS.close_timeout * 4);
        self.check_end();
    }

    fn step_until(&mut self, is_done: impl Fn(&Self) -> bool) {
        for _ in 0..STEPS {
            if is_done(self) {
                return;
            }
            self.step();
        }
    }

    fn step(&mut self) {
        let mut millis = self.random.between(1, MOST_MILLIS);
        if self.jumps && self.random.chance(2) {
            millis = self.random.between(1000, 20_000);
            self.pairs.iter_mut().for_each(|p| p.line.is_jolted = true);
            self.pushers
                .iter_mut()
                .for_each(|p| p.line.is_jolted = true);
        }
        self.server.advance(Duration::from_millis(millis as u64));
        self.deliver();
        self.collect();
        let now = self.server.system.time();
        let pair_count = self.pairs.len();
        for pair in &mut self.pairs {
            pair.far_end(now, &mut self.random);
            pair.check(now, &self.records);
        }
        for pusher in &mut self.pushers {
            pusher.far_end(now, &mut self.random, pair_count);
        }
        let most = (pair_count + self.pushers.len()) * MOST_BYTES;
        let held = self.server.event_loop.held_bytes();
        assert!(held <= most, "{held} bytes are held");
    }

    /// What has arrived goes to the server, a packet of each connection at a time; often a turn
    /// comes in between.
    fn deliver(&mut self) {
        let now = self.server.system.time();
        self.pairs.iter_mut().for_each(|pair| pair.break_off(now));
        self.pushers.iter_mut().for_each(|p| p.break_off(now));
        loop {
            let pairs = self.pairs.iter_mut().map(|pair| &mut pair.line);
            let pushers = self.pushers.iter_mut().map(|pusher| &mut pusher.line);
            let lines = pairs.chain(pushers);
            let count = lines
                .map(|line| usize::from(line.deliver(now)))
                .sum::<usize>();
            if count == 0 {
                return self.server.settle();
            }
            if self.random.chance(60) {
                self.server.turn();
            }
        }
    }

    /// What the server sends goes on its way, until it has nothing more or the ways are full.
    fn collect(&mut self) {
        let now = self.server.system.time();
        loop {
            let mut count = 0;
            for pair in &mut self.pairs {
                count += usize::from(pair.collect(now, &mut self.random));
            }
            for pusher in &mut self.pushers {
                count += usize::from(pusher.collect(now, &mut self.random));
            }
            self.server.settle();
            if count == 0 {
                return;
            }
        }
    }

    // ---- what must hold

    fn check_end(&self) {
        let event_loop = &self.server.event_loop;
        assert_eq!(event_loop.link_count(), 0, "somebody is still there");
        assert_eq!(event_loop.held_bytes(), 0, "memory is still held");
        assert!(event_loop.is_done());
        for pair in &self.pairs {
            pair.check_end(&self.records);
        }
        self.pushers.iter().for_each(Pusher::check_end);
        pusher::check_deliveries(&self.pushers, &self.pairs);
        self.check_broadcasts();
    }

    /// Everybody hears broadcasts in the same order, and while it is there, every one.
    fn check_broadcasts(&self) {
        let witness = &self.pairs[0];
        if !witness.is_whole() {
            return;
        }
        let all = witness.peer.broadcasts();
        let is_of_it = |pair: &&Pair| pair.is_whole() && pair.peer.kind == witness.peer.kind;
        for pair in self.pairs[1..].iter().filter(is_of_it) {
            let peer = &pair.peer;
            let heard = peer.broadcasts();
            let others: Vec<&String> = all
                .iter()
                .copied()
                .filter(|text| !peer.has_sent(text))
                .collect();
            let start = others.iter().position(|text| heard.first() == Some(text));
            let start = start.unwrap_or(0);
            let expected = others.get(start..start + heard.len());
            assert!(expected == Some(&heard[..]), "{peer:?} has missed some");
        }
    }

    /// How many honest peers there were, and of how many nothing may be missing.
    fn count_whole(&self) -> (usize, usize) {
        let honest = |pair: &&Pair| pair.peer.habit == Habit::Honest;
        let whole = |pair: &&Pair| pair.is_whole();
        let pairs = || self.pairs.iter();
        (
            pairs().filter(honest).count(),
            pairs().filter(whole).count(),
        )
    }
}

/// What a connection may hold, as in the attack suite, and besides if compression was agreed on: two
/// inflaters and a deflater.
const MOST_BYTES: usize = LIMITS.max_message_bytes + 2 * LIMITS.max_queue_bytes + 20_000 + 400_000;

fn run(seed: u64) -> (usize, usize) {
    let result = std::panic::catch_unwind(|| {
        let mut network = Network::new(seed);
        network.run();
        network.count_whole()
    });
    result.unwrap_or_else(|panic| {
        eprintln!("repeat with: SIM_SEED={seed} cargo test --test simulated network");
        std::panic::resume_unwind(panic)
    })
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
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(250),
    };
    let (mut honest, mut whole) = (0, 0);
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let counts = run(seed);
        honest += counts.0;
        whole += counts.1;
    }
    assert!(
        count < 100 || whole * 3 > honest,
        "only of {whole} among {honest} honest peers everything is known"
    );
}

#[test]
fn a_seed_repeats_its_network() {
    let trace = |seed| {
        let mut network = Network::new(seed);
        network.run();
        let pushers = network.pushers.iter().map(|pusher| &pusher.line);
        let lines = network.pairs.iter().map(|pair| &pair.line).chain(pushers);
        // Uuids are new each time.
        lines.map(|line| line.wire.len()).collect::<Vec<_>>()
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}

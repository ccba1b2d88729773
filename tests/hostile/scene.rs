//! The stage of each attack: a server, honest clients in the background, and what it used before.
//!
//! That the honest are served is shown step by step, not at the end: an attack says of each of its
//! events that it has happened ([`Scene::step`]), and between two events in a row of
//! [`EVENTS_PER_ECHO`] lies an honest echo. And no echo may take long: not by the clock, which says
//! nothing on a busy machine, but beside a [`Neighbour`] that nobody attacks.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::harness::{Conn, PATIENCE, Request, Server, connect};

/// A server under attack.
pub(crate) struct Scene {
    pub(crate) server: Server,
    honest: JoinHandle<()>,
    progress: Arc<Progress>,
    /// Events of the attack so far.
    events: AtomicU64,
    before: Usage,
}

/// What the server's process uses.
#[derive(Clone, Copy, Debug)]
struct Usage {
    descriptors: usize,
    resident_bytes: usize,
}

/// How much more memory may be resident after an attack than before it: spare buffers that the
/// server keeps on purpose (4 MiB), and what the allocator has not given back to the system.
const MEMORY_MARGIN: usize = 12 << 20;

/// After so many events of an attack it waits until an honest client has got one more echo.
const EVENTS_PER_ECHO: u64 = 20;

/// Most steps of the neighbour during one honest echo, and as many more as the server's loop has waited
/// milliseconds for the processor: the neighbour sleeps, and so hardly waits for it. A step takes at
/// least a millisecond, and as much longer as the machine is busy. The worst of all attacks comes to
/// about 200, over TLS and without optimization.
const NEIGHBOUR_STEPS_PER_ECHO: u64 = 1000;

impl Scene {
    /// Starts a server with this ini text.
    #[track_caller]
    pub(crate) fn start(ini: &str) -> Self {
        Self::with(Server::start(&format!("{QUIET_KEY}\n{ini}")))
    }

    /// On a server that was started with [`QUIET_KEY`].
    #[track_caller]
    pub(crate) fn with(server: Server) -> Self {
        warm_up(&server);
        let before = Usage::of(&server);
        let progress = Arc::<Progress>::default();
        let (client, shared) = (honest_client(&server), Arc::clone(&progress));
        let waits = server.loop_waits();
        let honest = thread::spawn(move || be_honest(client, &shared, &waits));
        Self {
            server,
            honest,
            progress,
            events: AtomicU64::new(0),
            before,
        }
    }

    /// One more event of the attack has happened. Waits now and then until an honest client has
    /// been served, so that at most [`EVENTS_PER_ECHO`] events lie between two echoes.
    #[track_caller]
    pub(crate) fn step(&self) {
        let events = 1 + self.events.fetch_add(1, Ordering::Relaxed);
        if events.is_multiple_of(EVENTS_PER_ECHO) {
            self.expect_echo();
        }
    }

    /// An honest client gets an echo that it had not got at the last call.
    #[track_caller]
    fn expect_echo(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut echoes = self.progress.lock();
        while echoes.count == echoes.expected_count {
            let has_failed = self.honest.is_finished();
            assert!(!has_failed, "the honest client was not served, as it says");
            let is_late = Instant::now() > deadline;
            assert!(!is_late, "no honest echo within {PATIENCE:?} of the attack");
            echoes = self.progress.wait(echoes);
        }
        echoes.expected_count = echoes.count;
    }

    /// The attackers are gone: everything is as before.
    #[track_caller]
    pub(crate) fn end(self) {
        self.end_keeping(MEMORY_MARGIN);
    }

    /// As [`end`](Self::end), after an attack that has filled `memoryLimit`: of so many bytes the
    /// allocator may have kept parts for itself, as what was freed lay between what was not.
    #[track_caller]
    pub(crate) fn end_keeping(self, margin: usize) {
        let events = self.events.load(Ordering::Relaxed);
        assert!(events > 0, "an attack without an event");
        self.expect_echo();
        self.progress.is_over.store(true, Ordering::Release);
        self.honest.join().expect("honest clients were served");
        let (before, deadline) = (self.before, Instant::now() + PATIENCE);
        loop {
            let now = Usage::of(&self.server);
            if now.is_back_at(before, margin) {
                break;
            }
            assert!(Instant::now() < deadline, "{now:?} after {before:?}");
            thread::park_timeout(Duration::from_millis(20));
        }
        expect_quiet(&self.server);
    }

    /// Waits until the server has closed all connections that were made since the beginning.
    #[track_caller]
    pub(crate) fn wait_until_gone(&self) {
        let deadline = Instant::now() + PATIENCE;
        // The honest client stays.
        while Usage::of(&self.server).descriptors > self.before.descriptors + 1 {
            assert!(Instant::now() < deadline, "connections stay open");
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// What became of memory so far, in bytes beyond what was resident before.
    pub(crate) fn grown_bytes(&self) -> usize {
        let now = Usage::of(&self.server).resident_bytes;
        now.saturating_sub(self.before.resident_bytes)
    }
}

/// What the honest client tells the attack, and the other way round.
#[derive(Default)]
struct Progress {
    echoes: Mutex<Echoes>,
    changed: Condvar,
    is_over: AtomicBool,
}

#[derive(Default)]
struct Echoes {
    count: u64,
    /// As it was when the attack last looked.
    expected_count: u64,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, Echoes> {
        self.echoes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an echo, or for a moment in which the honest client may have failed.
    fn wait<'a>(&self, echoes: MutexGuard<'a, Echoes>) -> MutexGuard<'a, Echoes> {
        let moment = Duration::from_millis(20);
        let waited = self.changed.wait_timeout(echoes, moment);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Asks for one echo after the other until the attack is over.
fn be_honest(mut client: Conn, progress: &Progress, waits: &impl Fn() -> u64) {
    let neighbour = Neighbour::start();
    while !progress.is_over.load(Ordering::Acquire) {
        let (before, waited_before) = (neighbour.step_count(), waits());
        client.round_trip();
        let steps = neighbour.step_count() - before;
        let waited = waits().saturating_sub(waited_before);
        assert!(
            steps <= NEIGHBOUR_STEPS_PER_ECHO + waited,
            "an honest client waited for its echo while a neighbour got {steps}, and the server \
             waited {waited} ms for the processor"
        );
        progress.lock().count += 1;
        progress.changed.notify_all();
    }
    client.close();
}

/// Two threads that pass a byte to and fro at their leisure: what any peer gets done on this
/// machine while the server is under attack.
struct Neighbour {
    step_count: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Neighbour {
    fn start() -> Self {
        let (mut near, mut far) = UnixStream::pair().expect("a pair of sockets");
        let neighbour = Self {
            step_count: Arc::default(),
            is_over: Arc::default(),
        };
        thread::spawn(move || {
            let mut byte = [0];
            while far.read_exact(&mut byte).is_ok() && far.write_all(&byte).is_ok() {}
        });
        let step_count = Arc::clone(&neighbour.step_count);
        let is_over = Arc::clone(&neighbour.is_over);
        thread::spawn(move || {
            let mut byte = [0];
            while !is_over.load(Ordering::Relaxed) {
                thread::park_timeout(Duration::from_millis(1));
                near.write_all(&byte).expect("the other end is there");
                near.read_exact(&mut byte).expect("the other end is there");
                step_count.fetch_add(1, Ordering::Relaxed);
            }
        });
        neighbour
    }

    fn step_count(&self) -> u64 {
        self.step_count.load(Ordering::Relaxed)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
impl Usage {
    fn is_back_at(self, before: Self, margin: usize) -> bool {
        self.descriptors <= before.descriptors
            && self.resident_bytes <= before.resident_bytes + margin
    }

    fn of(server: &Server) -> Self {
        Self {
            descriptors: server.descriptor_count(),
            resident_bytes: server.resident_bytes(),
        }
    }
}

/// A client that gets no broadcasts and nothing padded.
#[track_caller]
pub(crate) fn honest_client(server: &Server) -> Conn {
    connect(server).open(
        &Request::to("/php")
            .with("Client-Type", "php")
            .with("X-Websock-Frames", "stream"),
    )
}

/// Has the server touch what it keeps for later: table, registry, buffers.
#[track_caller]
fn warm_up(server: &Server) {
    let mut conns: Vec<Conn> = (0..50).map(|_| server.web()).collect();
    let long = format!(r#"{{"opcode":"echo","pad":"{}"}}"#, "p".repeat(60_000));
    for conn in &mut conns {
        conn.send_text(&long);
        conn.expect_next();
        conn.expect_text(&long);
    }
    conns.into_iter().for_each(Conn::close);
}

/// In the second after which it ends a silent HTTP connection, a server that has nothing to do uses
/// next to no time.
#[track_caller]
fn expect_quiet(server: &Server) {
    // What the attack has left is done first, which takes its time beside other work.
    let deadline = Instant::now() + PATIENCE;
    let mut ticks = u64::MAX;
    while ticks != server.cpu_ticks() {
        assert!(Instant::now() < deadline, "it goes on and on");
        ticks = server.cpu_ticks();
        thread::park_timeout(Duration::from_millis(50));
    }
    let mut client = connect(server);
    client.send_bytes(b"GET /push HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.read_response().status(), 405);
    let before = server.cpu_ticks();
    client.expect_eof();
    let ticks = server.cpu_ticks() - before;
    assert!(ticks < 10, "{ticks} ticks of 10 ms in an idle second");
}

/// What [`expect_quiet`] takes its second from; and no pings, which clients that a test does not look
/// at for a while would have in front of what it expects.
pub(crate) const QUIET_KEY: &str = "keepAliveTimeout=1\npingInterval=3600";

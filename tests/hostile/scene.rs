//! The stage of each attack: a server, honest clients in the background, and what it used before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::harness::{Conn, PATIENCE, Request, Server, connect};

/// A server under attack.
pub(crate) struct Scene {
    pub(crate) server: Server,
    honest: JoinHandle<u64>,
    is_over: Arc<AtomicBool>,
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

/// Least echoes that the honest clients must have got during an attack: it did not go on beside a
/// standing server only because it was short.
const LEAST_ECHOES: u64 = 20;

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
        let is_over = Arc::<AtomicBool>::default();
        let (mut client, seen) = (honest_client(&server), Arc::clone(&is_over));
        let honest = thread::spawn(move || {
            let mut echoes = 0;
            // One more after the attack is over.
            while !seen.load(Ordering::Acquire) || echoes < LEAST_ECHOES {
                client.round_trip();
                echoes += 1;
            }
            client.close();
            echoes
        });
        Self {
            server,
            honest,
            is_over,
            before,
        }
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
        self.is_over.store(true, Ordering::Release);
        let echoes = self.honest.join().expect("honest clients were served");
        assert!(echoes >= LEAST_ECHOES, "{echoes} echoes");
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

    /// What became of memory so far, in bytes beyond what was resident before.
    pub(crate) fn grown_bytes(&self) -> usize {
        let now = Usage::of(&self.server).resident_bytes;
        now.saturating_sub(self.before.resident_bytes)
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
    let mut client = connect(server);
    client.send_bytes(b"GET /push HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.read_response().status(), 405);
    let before = server.cpu_ticks();
    client.expect_eof();
    let ticks = server.cpu_ticks() - before;
    assert!(ticks < 10, "{ticks} ticks of 10 ms in an idle second");
}

/// What [`expect_quiet`] takes its second from.
pub(crate) const QUIET_KEY: &str = "keepAliveTimeout=1";

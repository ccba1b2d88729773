//! A line to a server, which can be cut and mended.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

/// How a connection ends for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Not at all: it still stands there, and nobody reads it.
    Unnoticed,
    Noticed,
}

/// A line; the client's end always notices.
pub(crate) struct Line {
    pub(crate) address: SocketAddr,
    state: Shared,
}

type Shared = Arc<Mutex<State>>;

#[derive(Default)]
struct State {
    is_cut: bool,
    /// Of the connections that come next: behind how many bytes to the client each is cut.
    limits: Vec<(usize, End)>,
    /// Both ends of each connection.
    ends: Vec<(TcpStream, TcpStream)>,
    /// The server's ends of those that were cut stay open.
    dead: Vec<TcpStream>,
}

impl Line {
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Shared::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("a client");
                if !lock(&shared).is_cut
                    && let Ok(server) = TcpStream::connect(server)
                {
                    carry(client, server, &shared);
                }
            }
        });
        Self { address, state }
    }

    pub(crate) fn cut(&self, end: End) {
        let mut state = lock(&self.state);
        state.is_cut = true;
        for (client, server) in std::mem::take(&mut state.ends) {
            let _ = client.shutdown(Shutdown::Both);
            if end == End::Noticed {
                let _ = server.shutdown(Shutdown::Both);
            }
            state.dead.push(server);
        }
    }

    pub(crate) fn mend(&self) {
        lock(&self.state).is_cut = false;
    }

    /// The same, but the next connections are cut behind so many bytes.
    pub(crate) fn mend_for(&self, limits: &[(usize, End)]) {
        let mut state = lock(&self.state);
        state.is_cut = false;
        state.limits = limits.to_vec();
    }
}

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().expect("no thread has panicked")
}

fn carry(client: TcpStream, server: TcpStream, shared: &Shared) {
    let mut state = lock(shared);
    let limit = state.limits.pop();
    pump(&client, &server, usize::MAX);
    let (max, end) = limit.unwrap_or((usize::MAX, End::Unnoticed));
    let [ends, kept] = [(); 2].map(|()| {
        let clone = |end: &TcpStream| end.try_clone().expect("another handle");
        (clone(&client), clone(&server))
    });
    state.ends.push(kept);
    drop(state);
    let pumped = pump(&server, &client, max);
    thread::spawn(move || {
        let is_cut = pumped.join().expect("no thread has panicked");
        let _ = ends.0.shutdown(Shutdown::Both);
        if !is_cut || end == End::Noticed {
            let _ = ends.1.shutdown(Shutdown::Both);
        }
    });
}

/// Carries at most `max` bytes from one end to the other; whether it was cut then.
fn pump(from: &TcpStream, to: &TcpStream, max: usize) -> thread::JoinHandle<bool> {
    let [mut from, mut to] = [from, to].map(|end| end.try_clone().expect("another handle"));
    thread::spawn(move || {
        let mut left = max;
        let mut buffer = [0; 4_096];
        while left > 0 {
            let len = left.min(buffer.len());
            let Ok(count @ 1..) = from.read(&mut buffer[..len]) else {
                return false;
            };
            // What the other end does not take is lost, as on a dead line.
            let _ = to.write_all(&buffer[..count]);
            left -= count;
        }
        true
    })
}

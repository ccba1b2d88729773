//! What the suite needs to talk to a running server: the process ([`Server`]), a client that shares
//! no code with the crate ([`Conn`], [`frame`]), requests and responses.
//!
//! Nothing here sleeps. Each wait is for an event and has a deadline of [`PATIENCE`]; that
//! something does *not* arrive is shown by what arrives instead ([`Conn::round_trip`]).

pub(crate) mod client;
pub(crate) mod events;
pub(crate) mod frame;
pub(crate) mod http;
pub(crate) mod php;
pub(crate) mod redis;
pub(crate) mod server;
pub(crate) mod tls;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

pub(crate) use client::Conn;
pub(crate) use http::Request;
pub(crate) use server::Server;

/// How long any one wait may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Opens a connection to the server; nothing is sent yet.
#[track_caller]
pub(crate) fn connect(server: &Server) -> Conn {
    connect_to(server.address())
}

/// What a suite's servers and clients speak below WebSocket: `crate::WIRE` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Plain,
    Tls,
}

/// The one place where a test's client dials.
#[track_caller]
pub(crate) fn connect_to(address: SocketAddr) -> Conn {
    let stream = TcpStream::connect(address).expect("the server accepts");
    // What a test sends in pieces is to leave in pieces.
    stream.set_nodelay(true).expect("TCP_NODELAY");
    match crate::WIRE {
        Wire::Plain => Conn::new(Box::new(stream)),
        Wire::Tls => Conn::new(Box::new(tls::TlsTransport::connect(stream))),
    }
}

/// A TCP connection from this address of the machine, such as another one of 127.0.0.0/8.
#[track_caller]
pub(crate) fn dial_from(ip: Ipv4Addr, server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let own = SocketAddr::from((ip, 0));
    socket
        .bind(&own.into())
        .expect("an address of this machine");
    let address = server.address().into();
    socket.connect(&address).expect("the server accepts");
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).expect("TCP_NODELAY");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Opens a connection over a Unix socket.
#[track_caller]
pub(crate) fn connect_to_file(path: &Path) -> Conn {
    let stream = UnixStream::connect(path).expect("the server accepts");
    Conn::new(Box::new(stream))
}

/// A number that no other call of this run returns.
pub(crate) fn unique_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(100_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Waits until `condition` holds. For what the operating system has no event for, as the content of
/// a file; all else waits for its own event.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Bytes as a person reads them in a failed assertion.
pub(crate) fn readable(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(300)];
    let more = if bytes.len() > head.len() { "…" } else { "" };
    format!("{} bytes: {}{more}", bytes.len(), head.escape_ascii())
}

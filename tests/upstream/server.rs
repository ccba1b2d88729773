//! A server on a thread, which does with each connection what a test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Accepts as long as the test runs and has `serve` do with each connection what it likes, on a
/// thread of its own. `serve` is told which connection it is, from 0.
pub(crate) fn start(serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (Ok(stream), serve) = (stream, Arc::clone(&serve)) else {
                return;
            };
            let patience = Some(Duration::from_secs(60));
            stream.set_read_timeout(patience).expect("a timeout");
            stream.set_write_timeout(patience).expect("a timeout");
            thread::spawn(move || serve(number, stream));
        }
    });
    address
}

/// The head of the next request; empty if none comes.
pub(crate) fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.extend(byte),
            _ => return String::new(),
        }
    }
    String::from_utf8(head).expect("ASCII")
}

/// Writes as far as the other end takes it; whether it took all.
pub(crate) fn write(stream: &mut impl Write, bytes: impl AsRef<[u8]>) -> bool {
    stream.write_all(bytes.as_ref()).is_ok()
}

/// Waits until the other end has closed.
pub(crate) fn await_end(stream: &mut impl Read) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).is_ok_and(|len| len > 0) {}
}

/// 200 with this body.
pub(crate) fn answer(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

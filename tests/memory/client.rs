//! A server on a thread of this process, and clients of it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use websock::app::Standard;
use websock::net::{Endpoint, Security, Server, ServerSettings};

/// A client that knows just enough: it writes masked frames and counts bytes.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn open(address: SocketAddr, header: &str) -> Self {
        let mut client = Self::connect(address, "/web", header);
        client.skip(HEAD_LEN + READY_LEN);
        client
    }

    /// The handshake, of which nothing has been read.
    pub(crate) fn connect(address: SocketAddr, target: &str, header: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).expect("a timeout");
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{header}\r\n"
        );
        stream.write_all(request.as_bytes()).expect("a request");
        Self(stream)
    }

    /// Sends a text with a mask of zeros.
    pub(crate) fn send(&mut self, text: &str) {
        let mut frame = vec![0x81];
        match text.len() {
            len @ 0..=125 => frame.push(0x80 | len as u8),
            len => {
                frame.push(0x80 | 126);
                frame.extend((len as u16).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.0.write_all(&frame).expect("the server reads");
    }

    /// Reads exactly so many bytes, in pieces that are not long: what this process allocates matters.
    pub(crate) fn skip(&mut self, len: usize) {
        let mut piece = [0; 32 << 10];
        let mut left = len;
        while left > 0 {
            let len = left.min(piece.len());
            let read = self.0.read_exact(&mut piece[..len]);
            read.expect("the server answers");
            left -= len;
        }
    }

    /// Reads a message of less than 64 KiB.
    pub(crate) fn read_text(&mut self) -> String {
        let mut header = [0; 4];
        self.0.read_exact(&mut header[..2]).expect("a header");
        let mut len = usize::from(header[1]);
        if len == 126 {
            self.0.read_exact(&mut header[2..]).expect("a length");
            len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        }
        let mut text = vec![0; len];
        self.0.read_exact(&mut text).expect("a payload");
        String::from_utf8(text).expect("a text")
    }
}

/// Length of the 101 without extension, of the frame of `ready`, and of `next`.
pub(crate) const HEAD_LEN: usize = 129;
pub(crate) const READY_LEN: usize = 2 + 64;
pub(crate) const NEXT_LEN: usize = 2 + 26;

/// Has `run` run a server on a thread of its own while `drive` uses it, to its end.
pub(crate) fn serve<T: Send + 'static>(
    run: impl FnOnce(Server) -> T + Send + 'static,
    drive: impl FnOnce(SocketAddr),
) -> T {
    let (address_out, address_in) = channel();
    let server = thread::spawn(move || {
        let endpoint = Endpoint::tcp("127.0.0.1", 0, Security::Plain);
        let mut server = Server::bind(ServerSettings::default(), &[endpoint]).expect("a free port");
        server.add_resource(Some("/web"), Box::new(Standard::new()));
        address_out
            .send(server.addresses()[0])
            .expect("it is waited for");
        run(server)
    });
    drive(address_in.recv().expect("the server has started"));
    kill_process(getpid(), Signal::TERM).expect("a signal to ourselves");
    server.join().expect("the server ends")
}

//! A web client of the generator: as little as the measurements need.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use websock::protocol::frame::{self, Header, Opcode, Role, Rsv1};

/// An open connection to `/web`.
pub(crate) struct Client {
    socket: TcpStream,
    input: Vec<u8>,
    ping_count: usize,
}

impl Client {
    /// Connects, upgrades and waits for `ready`.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        socket.write_all(REQUEST).unwrap();
        let mut input = Vec::new();
        while !input.ends_with(b"\"}") {
            let mut chunk = [0; 512];
            let len = socket.read(&mut chunk).unwrap();
            assert_ne!(
                len,
                0,
                "closed before ready: {}",
                String::from_utf8_lossy(&input)
            );
            input.extend_from_slice(&chunk[..len]);
        }
        socket.set_nonblocking(true).unwrap();
        Self {
            socket: TcpStream::from_std(socket),
            input: Vec::new(),
            ping_count: 0,
        }
    }

    /// For the poll.
    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Pings answered so far.
    pub(crate) fn ping_count(&self) -> usize {
        self.ping_count
    }

    /// Reads what is there and answers pings.
    pub(crate) fn answer_pings(&mut self) {
        while let Some((opcode, payload)) = self.next_frame() {
            if opcode == Opcode::Ping {
                self.ping_count += 1;
                self.send(Opcode::Pong, &payload);
            }
        }
    }

    /// Shows that the server still serves this client.
    pub(crate) fn expect_echo(&mut self) {
        self.send(Opcode::Text, ECHO);
        loop {
            match self.next_frame() {
                Some((Opcode::Text, payload)) if payload == ECHO => return,
                Some((Opcode::Close, payload)) => panic!("closed: {payload:?}"),
                Some(_) => {}
                None => std::thread::yield_now(),
            }
        }
    }

    fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut bytes = Vec::new();
        frame::encode_masked(opcode, [1, 2, 3, 4], payload, &mut bytes);
        self.socket.write_all(&bytes).unwrap();
    }

    fn next_frame(&mut self) -> Option<(Opcode, Vec<u8>)> {
        loop {
            let header = Header::parse(&self.input, Role::Client, Rsv1::Forbidden).unwrap();
            if let Some((header, start)) = header {
                let end = start + header.payload_len as usize;
                if self.input.len() >= end {
                    let payload = self.input[start..end].to_vec();
                    self.input.drain(..end);
                    return Some((header.opcode, payload));
                }
            }
            let mut chunk = [0; 512];
            match self.socket.read(&mut chunk) {
                Ok(0) => panic!("the server has closed"),
                Ok(len) => self.input.extend_from_slice(&chunk[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

const REQUEST: &[u8] = b"GET /web HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

const ECHO: &[u8] = br#"{"opcode":"echo","message":"still there"}"#;

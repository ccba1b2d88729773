//! A web client of the generator: as little as the measurements need.

use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;
use websock::protocol::frame::{self, Header, Opcode, Role, Rsv1};

use crate::server::Server;
use crate::wire::Wire;

/// An open connection to `/web`.
pub(crate) struct Client {
    wire: Wire,
    input: Vec<u8>,
    ping_count: usize,
}

impl Client {
    /// Connects, upgrades and waits for `ready`.
    pub(crate) fn open(server: &Server) -> Self {
        let is_ready = |answer: &[u8]| answer.ends_with(b"\"}");
        Self {
            wire: Wire::open(server.address(), server.security(), REQUEST, is_ready),
            input: Vec::new(),
            ping_count: 0,
        }
    }

    /// For the poll.
    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        self.wire.socket()
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
        self.wire.write_all(&bytes).unwrap();
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
            match self.wire.read(&mut chunk) {
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

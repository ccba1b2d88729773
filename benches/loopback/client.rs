//! A web client of the generator: as little as the measurements need.

use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;
use websock::protocol::frame::{self, Header, Opcode, Role, Rsv1};

use crate::rows;
use crate::server::Server;
use crate::wire::Wire;

/// A connection to `/web`, or one that pushes.
pub(crate) struct Client {
    wire: Wire,
    input: Vec<u8>,
    ping_count: usize,
    source: AddressSource,
    /// The last read has shown that no more is there.
    is_drained: bool,
}

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressSource {
    /// Frames.
    WebSocket,
    /// Requests to `/push`, each with its response.
    Push,
}

impl Client {
    /// Connects, upgrades and waits for `ready`.
    pub(crate) fn open(server: &Server) -> Self {
        Self::open_as(server, "")
    }

    /// The same with these header lines.
    pub(crate) fn open_as(server: &Server, headers: &str) -> Self {
        let is_ready = |answer: &[u8]| answer.ends_with(b"\"}");
        let request = rows::opening(headers);
        Self::connect(server, AddressSource::WebSocket, &request, is_ready)
    }

    /// The same as a script that buffers properly.
    pub(crate) fn open_script(server: &Server) -> Self {
        Self::open_as(server, rows::SCRIPT_HEADERS)
    }

    /// Connects to push.
    pub(crate) fn open_pushing(server: &Server) -> Self {
        Self::connect(server, AddressSource::Push, &[], |_| true)
    }

    fn connect(
        server: &Server,
        source: AddressSource,
        request: &[u8],
        is_ready: impl Fn(&[u8]) -> bool,
    ) -> Self {
        Self {
            wire: Wire::open(server.address(), server.security(), request, is_ready),
            input: Vec::new(),
            ping_count: 0,
            source,
            is_drained: false,
        }
    }

    /// Sends a packet its source.
    pub(crate) fn send_packet(&mut self, packet: &str) {
        match self.source {
            AddressSource::WebSocket => self.send(Opcode::Text, packet.as_bytes()),
            AddressSource::Push => self.wire.write_all(&rows::push_request(packet)).unwrap(),
        }
    }

    /// Reads what is there: answers pings, takes the responses to what was pushed, and hands out
    /// texts.
    pub(crate) fn receive(&mut self, mut on_text: impl FnMut(&str)) {
        if self.source == AddressSource::Push {
            while self.read_more() {}
            let responses = self.input.len() / rows::PUSHED.len();
            for response in self
                .input
                .drain(..responses * rows::PUSHED.len())
                .as_slice()
                .chunks(rows::PUSHED.len())
            {
                assert_eq!(response, rows::PUSHED.as_bytes(), "not delivered");
            }
            return;
        }
        while let Some((opcode, payload)) = self.next_frame() {
            match opcode {
                Opcode::Ping => self.send(Opcode::Pong, &payload),
                Opcode::Text => on_text(std::str::from_utf8(&payload).unwrap()),
                _ => {}
            }
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
            if !self.read_more() {
                return None;
            }
        }
    }

    /// Whether there was something.
    fn read_more(&mut self) -> bool {
        if std::mem::take(&mut self.is_drained) {
            return false;
        }
        let mut chunk = [0; 4096];
        match self.wire.read(&mut chunk) {
            Ok(0) => panic!("the server has closed"),
            Ok(len) => {
                self.input.extend_from_slice(&chunk[..len]);
                self.is_drained = len < chunk.len() && self.wire.reads_all();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("{error}"),
        }
        true
    }
}

const ECHO: &[u8] = br#"{"opcode":"echo","message":"still there"}"#;

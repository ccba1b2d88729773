//! Exchanges over many connections at once, driven as fast as the other end answers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use websock::protocol::frame::{self, Header, Opcode, Role, Rsv1};

use crate::server::Server;
use crate::wire::{PATIENCE, Wire};

/// One connection of the load.
pub(crate) struct Flow {
    wire: Wire,
    /// What is sent for each exchange; empty: it only receives.
    request: Vec<u8>,
    response: Response,
    unsent: Vec<u8>,
    begun: VecDeque<Instant>,
}

impl Flow {
    /// Connects; `opening` is sent and `opening_len` bytes are read before the load begins.
    pub(crate) fn open(server: &Server, opening: &[u8], opening_len: usize) -> Self {
        Self::open_read(server, opening, opening_len).0
    }

    /// The same, and what was read.
    pub(crate) fn open_read(
        server: &Server,
        opening: &[u8],
        opening_len: usize,
    ) -> (Self, Vec<u8>) {
        Self::open_until(server, opening, |answer| answer.len() >= opening_len)
    }

    /// The same until what was read is enough.
    pub(crate) fn open_until(
        server: &Server,
        opening: &[u8],
        is_enough: impl Fn(&[u8]) -> bool,
    ) -> (Self, Vec<u8>) {
        let read = RefCell::new(Vec::new());
        let is_read = |answer: &[u8]| {
            answer.clone_into(&mut read.borrow_mut());
            is_enough(answer)
        };
        let flow = Self {
            wire: Wire::open(server.address(), server.security(), opening, is_read),
            request: Vec::new(),
            response: Response::Bytes {
                len: 0,
                received: 0,
            },
            unsent: Vec::new(),
            begun: VecDeque::new(),
        };
        (flow, read.into_inner())
    }

    /// What an exchange sends and how many bytes it gets.
    pub(crate) fn exchanging(self, request: Vec<u8>, response_len: usize) -> Self {
        let response = Response::Bytes {
            len: response_len,
            received: 0,
        };
        Self {
            request,
            response,
            ..self
        }
    }

    /// It sends nothing; each frame that it gets ends an exchange, however long it is.
    pub(crate) fn receiving_frames(self) -> Self {
        let response = Response::Frames {
            header: Vec::new(),
            left: 0,
        };
        Self { response, ..self }
    }

    /// Ends the connection as a browser does, and waits for the server to do so.
    pub(crate) fn close(mut self) {
        let mut bytes = Vec::new();
        frame::encode_masked(Opcode::Close, [0; 4], &[3, 232], &mut bytes);
        self.wire.write_all(&bytes).unwrap();
        while !matches!(self.wire.read(&mut [0; 64]), Ok(0)) {
            std::thread::yield_now();
        }
    }

    /// Begins so many exchanges with one write.
    fn begin(&mut self, count: usize) {
        let now = Instant::now();
        for _ in 0..count {
            self.begun.push_back(now);
            self.unsent.extend_from_slice(&self.request);
        }
        self.write();
    }

    fn write(&mut self) {
        match self.wire.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            flushed => flushed.unwrap(),
        }
        while !self.unsent.is_empty() {
            match self.wire.write(&self.unsent) {
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Reads all there is; the exchanges that this completes.
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        let mut completed = 0;
        loop {
            match self.wire.read(buffer) {
                Ok(0) => panic!("the server has closed"),
                Ok(len) => {
                    completed += self.response.completed_by(&buffer[..len]);
                    if len < buffer.len() && self.wire.reads_all() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        completed
    }
}

/// What an exchange brings back.
enum Response {
    /// So many bytes.
    Bytes { len: usize, received: usize },
    /// A frame. `header`: the part of its header that has come, `left`: bytes of its payload that
    /// have not.
    Frames { header: Vec<u8>, left: usize },
}

impl Response {
    /// How many exchanges are over with these bytes.
    fn completed_by(&mut self, mut bytes: &[u8]) -> usize {
        let (header, left) = match self {
            Self::Bytes { len, received } => {
                *received += bytes.len();
                let completed = *received / *len;
                *received %= *len;
                return completed;
            }
            Self::Frames { header, left } => (header, left),
        };
        let mut completed = 0;
        while let Some((&first, rest)) = bytes.split_first() {
            if *left > 0 {
                let len = bytes.len().min(*left);
                bytes = &bytes[len..];
                *left -= len;
                completed += usize::from(*left == 0);
                continue;
            }
            header.push(first);
            bytes = rest;
            if let Some((head, _)) = Header::parse(header, Role::Client, Rsv1::Forbidden).unwrap() {
                header.clear();
                *left = head.payload_len as usize;
                completed += usize::from(*left == 0);
            }
        }
        completed
    }
}

/// Who begins the next exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Each connection by itself, with so many under way.
    Each(usize),
    /// The first connection, with so many under way, each of which is over when all the others
    /// have got it.
    First(usize),
}

/// What a load has shown.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) operations: usize,
    pub(crate) seconds: f64,
    pub(crate) server_cpu: Duration,
    /// Of the exchanges that one connection begins and ends, in order of length.
    pub(crate) latencies: Vec<Duration>,
}

/// Drives `flows` for `duration`, and at least until one exchange has been completed. An operation is a completed exchange; with [`Pace::First`], a
/// delivery to one of the others.
pub(crate) fn drive(
    flows: &mut [Flow],
    pace: Pace,
    duration: Duration,
    server: &Server,
) -> Outcome {
    let mut poll = Poll::new().unwrap();
    for (index, flow) in flows.iter_mut().enumerate() {
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(flow.wire.socket(), Token(index), interest)
            .unwrap();
    }
    match pace {
        Pace::Each(depth) => flows.iter_mut().for_each(|flow| flow.begin(depth)),
        Pace::First(depth) => flows[0].begin(depth),
    }
    let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; 1 << 20]);
    let (mut operations, mut latencies, mut delivered) = (0, Vec::new(), 0);
    let receivers = flows.len() - 1;
    let (began, cpu_before) = (Instant::now(), server.cpu_time());
    while began.elapsed() < duration || latencies.is_empty() {
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(!events.is_empty(), "the server has stopped answering");
        for event in &events {
            let index = event.token().0;
            flows[index].write();
            let completed = flows[index].read(&mut buffer);
            match pace {
                Pace::Each(_) => {
                    operations += completed;
                    if completed > 0 && !flows[index].request.is_empty() {
                        let begun = flows[index].begun.drain(..completed);
                        latencies.extend(begun.map(|at| at.elapsed()));
                        flows[index].begin(completed);
                    }
                }
                Pace::First(_) if index == 0 => {}
                Pace::First(_) => {
                    operations += completed;
                    delivered += completed;
                    let over = delivered / receivers;
                    if over > 0 {
                        delivered %= receivers;
                        let begun = flows[0].begun.drain(..over);
                        latencies.extend(begun.map(|at| at.elapsed()));
                        flows[0].begin(over);
                    }
                }
            }
        }
    }
    let server_cpu = server.cpu_time() - cpu_before;
    latencies.sort_unstable();
    Outcome {
        operations,
        seconds: began.elapsed().as_secs_f64(),
        server_cpu,
        latencies,
    }
}

impl Outcome {
    /// Server CPU time per operation, in microseconds.
    pub(crate) fn cpu_micros(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / self.operations as f64
    }

    /// The latency that so many of 100 exchanges do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        percentile(&self.latencies, percent)
    }
}

/// What so many of 100 do not exceed, of figures in order.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

/// What so many of 1,000 do not exceed, of figures in order.
pub(crate) fn permille(sorted: &[Duration], permille: usize) -> Duration {
    let index = (sorted.len() * permille / 1000).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

//! [`Crowd`]: clients under load, on one thread. Each of them checks the order of all that it gets.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::harness::{Request, frame};

/// What there is of each kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Pages that echo.
    pub(crate) page_count: usize,
    /// Deployed scripts, which echo and send each a feedback to a page of its own.
    pub(crate) script_count: usize,
    /// How long each rests before it sends again.
    pub(crate) rest: Duration,
    /// How long each broadcaster does.
    pub(crate) broadcast_rest: Duration,
}

/// Clients that send and check until they are told to stop.
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<Report, String>>,
}

#[derive(Default)]
struct Shared {
    is_stopping: AtomicBool,
    /// Some pages do not read.
    has_deaf: AtomicBool,
    /// The next broadcast is a long one.
    wants_long: AtomicBool,
    long_count: AtomicU64,
    answer_count: AtomicU64,
}

/// What was checked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) echo_count: u64,
    pub(crate) broadcast_count: u64,
    pub(crate) feedback_count: u64,
}

impl Crowd {
    /// Connects everybody; comes back when all have been answered once.
    pub(crate) fn gather(address: SocketAddr, size: Size) -> Self {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || Engine::new(address, size, of_thread)?.run());
        let crowd = Self { shared, thread };
        crowd.wait_for_answers(2 * (size.page_count + size.script_count) as u64);
        crowd
    }

    /// Waits until so many more echoes have come back.
    #[track_caller]
    pub(crate) fn wait_for_answers(&self, count: u64) {
        let wanted = self.shared.answer_count.load(Ordering::Relaxed) + count;
        self.wait(|shared| shared.answer_count.load(Ordering::Relaxed) >= wanted);
    }

    /// A long broadcast begins to leave, and some do not read it.
    #[track_caller]
    pub(crate) fn begin_long_broadcast(&self) {
        let before = self.shared.long_count.load(Ordering::Relaxed);
        self.shared.has_deaf.store(true, Ordering::Relaxed);
        self.shared.wants_long.store(true, Ordering::Relaxed);
        self.wait(|shared| shared.long_count.load(Ordering::Relaxed) > before);
    }

    /// All read again.
    pub(crate) fn end_long_broadcast(&self) {
        self.shared.has_deaf.store(false, Ordering::Relaxed);
    }

    /// Nobody sends any more; comes back when all that was sent has arrived, and all have left.
    #[track_caller]
    pub(crate) fn leave(self) -> Report {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        let report = self.thread.join().expect("it does not panic");
        report.unwrap_or_else(|reason| panic!("{reason}"))
    }

    #[track_caller]
    fn wait(&self, is_done: impl Fn(&Shared) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_done(&self.shared) {
            assert!(
                !self.thread.is_finished(),
                "the crowd has ended: see its error"
            );
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

struct Engine {
    poll: Poll,
    clients: Vec<Client>,
    shared: Arc<Shared>,
    rest: Duration,
    broadcast_rest: Duration,
    report: Report,
    /// Broadcasts that each broadcaster has sent.
    broadcasts: [u64; BROADCASTERS],
    next_broadcast: Instant,
}

struct Client {
    stream: TcpStream,
    kind: Kind,
    input: Vec<u8>,
    output: Vec<u8>,
    uuid: String,
    /// What has to come, in this order; broadcasts and feedback may come in between.
    expected: VecDeque<Expected>,
    sent_count: u64,
    feedback_count: u64,
    next_send: Instant,
    /// Last number of each broadcaster, and of the script that sends feedback.
    heard: HashMap<String, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Page,
    Script { page: usize },
    Broadcaster { number: usize },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    Upgrade,
    Ready,
    Next,
    Echo(u64),
}

impl Engine {
    fn new(address: SocketAddr, size: Size, shared: Arc<Shared>) -> Result<Self, String> {
        let poll = Poll::new().map_err(|error| error.to_string())?;
        let broadcasters = (0..BROADCASTERS).map(|number| Kind::Broadcaster { number });
        let pages = (0..size.page_count).map(|_| Kind::Page);
        let scripts = (0..size.script_count).map(|index| Kind::Script {
            page: BROADCASTERS + index % size.page_count,
        });
        let mut clients = Vec::new();
        for kind in broadcasters.chain(pages).chain(scripts) {
            let is_deaf = kind == Kind::Page && clients.len() < BROADCASTERS + DEAF_PAGES;
            let stream = dial(address, is_deaf).map_err(|error| error.to_string())?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            let token = Token(clients.len());
            let registered = poll.registry().register(&mut stream, token, interest);
            registered.map_err(|error| error.to_string())?;
            let request = match kind {
                Kind::Script { .. } => Request::php("/php"),
                Kind::Page | Kind::Broadcaster { .. } => Request::to("/web"),
            };
            clients.push(Client {
                stream,
                kind,
                input: Vec::new(),
                output: request.bytes(),
                uuid: String::new(),
                expected: VecDeque::from([Expected::Upgrade, Expected::Ready]),
                sent_count: 0,
                feedback_count: 0,
                next_send: Instant::now(),
                heard: HashMap::new(),
            });
        }
        Ok(Self {
            poll,
            clients,
            shared,
            rest: size.rest,
            broadcast_rest: size.broadcast_rest,
            report: Report::default(),
            broadcasts: [0; BROADCASTERS],
            next_broadcast: Instant::now() + size.broadcast_rest,
        })
    }

    fn run(mut self) -> Result<Report, String> {
        let mut events = Events::with_capacity(1024);
        let mut was_deaf = false;
        let mut deadline = None;
        loop {
            let polled = self.poll.poll(&mut events, Some(Duration::from_millis(5)));
            match polled {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(error.to_string());
                }
                _ => {}
            }
            let is_deaf = self.shared.has_deaf.load(Ordering::Relaxed);
            for event in &events {
                self.read(event.token().0, is_deaf)?;
                self.write(event.token().0)?;
            }
            if was_deaf && !is_deaf {
                (0..self.clients.len()).try_for_each(|index| self.read(index, false))?;
            }
            was_deaf = is_deaf;
            if !self.shared.is_stopping.load(Ordering::Relaxed) {
                self.send()?;
                continue;
            }
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
            match self.missing() {
                None => return Ok(self.report),
                Some(missing) if deadline < Instant::now() => return Err(missing),
                Some(_) => {}
            }
        }
    }

    /// What has not arrived yet.
    fn missing(&self) -> Option<String> {
        for (index, client) in self.clients.iter().enumerate() {
            if let Some(expected) = client.expected.front() {
                return Some(format!("client {index} still waits for {expected:?}"));
            }
            if let Kind::Script { page } = client.kind {
                let from = format!("s{index}");
                let heard = self.clients[page].heard.get(&from).copied().unwrap_or(0);
                if heard != client.feedback_count {
                    return Some(format!("client {page} has heard {heard} of {from}"));
                }
                continue;
            }
            for (number, sent) in self.broadcasts.iter().enumerate() {
                let from = format!("b{number}");
                let heard = client.heard.get(&from).copied().unwrap_or(0);
                if client.kind != (Kind::Broadcaster { number }) && heard != *sent {
                    return Some(format!(
                        "client {index} has heard {heard} of {from}, not {sent}"
                    ));
                }
            }
        }
        None
    }

    // ---- out

    fn send(&mut self) -> Result<(), String> {
        let now = Instant::now();
        for index in 0..self.clients.len() {
            let client = &self.clients[index];
            if client.uuid.is_empty() || client.next_send > now || !client.expected.is_empty() {
                continue;
            }
            let number = client.feedback_count + 1;
            match client.kind {
                Kind::Page => {
                    // Several behind each other, so that some wait in the kernel.
                    self.echo(index, 3);
                }
                Kind::Script { page } => {
                    let uuid = self.clients[page].uuid.clone();
                    if uuid.is_empty() {
                        continue;
                    }
                    let feedback = format!(
                        r#"{{"opcode":"feedback","uuid":"{uuid}","from":"s{index}","number":{number}}}"#
                    );
                    let client = &mut self.clients[index];
                    client.feedback_count = number;
                    client.output.extend(frame::text(&feedback));
                    client.expected.push_back(Expected::Next);
                    self.echo(index, 1);
                }
                Kind::Broadcaster { .. } => continue,
            }
            self.clients[index].next_send = now + self.rest;
            self.write(index)?;
        }
        let are_ready = self.clients.iter().all(|client| !client.uuid.is_empty());
        if are_ready && self.next_broadcast <= now {
            self.next_broadcast = now + self.broadcast_rest;
            for number in 0..BROADCASTERS {
                self.broadcast(number)?;
            }
        }
        Ok(())
    }

    fn echo(&mut self, index: usize, count: usize) {
        let client = &mut self.clients[index];
        for _ in 0..count {
            client.sent_count += 1;
            let number = client.sent_count;
            let text = "x".repeat(number as usize * 7 % 300);
            let packet = format!(r#"{{"opcode":"echo","number":{number},"text":"{text}"}}"#);
            client.output.extend(frame::text(&packet));
            client.expected.push_back(Expected::Next);
            client.expected.push_back(Expected::Echo(number));
        }
    }

    fn broadcast(&mut self, number: usize) -> Result<(), String> {
        let is_long = number == 0 && self.shared.wants_long.swap(false, Ordering::Relaxed);
        let text = "y".repeat(if is_long { LONG_BYTES } else { 20 });
        self.broadcasts[number] += 1;
        let count = self.broadcasts[number];
        let packet = format!(
            r#"{{"opcode":"broadcast","from":"b{number}","number":{count},"text":"{text}"}}"#
        );
        let client = &mut self.clients[number];
        client.output.extend(frame::text(&packet));
        client.expected.push_back(Expected::Next);
        self.write(number)
    }

    fn write(&mut self, index: usize) -> Result<(), String> {
        let client = &mut self.clients[index];
        while !client.output.is_empty() {
            match client.stream.write(&client.output) {
                Ok(count) => drop(client.output.drain(..count)),
                Err(error) if is_not_now(&error) => break,
                Err(error) => return Err(format!("client {index} cannot send: {error}")),
            }
        }
        Ok(())
    }

    // ---- in

    fn read(&mut self, index: usize, is_deaf: bool) -> Result<(), String> {
        let is_page = self.clients[index].kind == Kind::Page;
        if is_deaf && is_page && index < BROADCASTERS + DEAF_PAGES {
            return Ok(());
        }
        let mut buffer = [0; 65_536];
        loop {
            let client = &mut self.clients[index];
            match client.stream.read(&mut buffer) {
                Ok(0) => {
                    let missing = self.missing();
                    return Err(format!("client {index} has been dropped; {missing:?}"));
                }
                Ok(count) => client.input.extend(&buffer[..count]),
                Err(error) if is_not_now(&error) => break,
                Err(error) => return Err(format!("client {index} has lost its server: {error}")),
            }
        }
        self.take_frames(index)
    }

    fn take_frames(&mut self, index: usize) -> Result<(), String> {
        let mut input = std::mem::take(&mut self.clients[index].input);
        let mut at = 0;
        if self.clients[index].expected.front() == Some(&Expected::Upgrade) {
            let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
                self.clients[index].input = input;
                return Ok(());
            };
            if !input.starts_with(b"HTTP/1.1 101 ") {
                return Err(format!("client {index} is not let in"));
            }
            at = end + 4;
            self.clients[index].expected.pop_front();
        }
        while let Some((payload_at, len)) = whole_frame(&input[at..]) {
            let (first, payload) = (input[at], &input[at + payload_at..at + len]);
            if first == 0x81 {
                self.check(index, payload, len)?;
            } else if first == 0x89 {
                let pong = frame::masked(frame::FIN | frame::PONG, payload);
                self.clients[index].output.extend(pong);
                self.write(index)?;
            } else {
                return Err(format!("client {index} gets a frame {first:#x}"));
            }
            at += len;
        }
        input.drain(..at);
        self.clients[index].input = input;
        Ok(())
    }

    /// One packet. Its frame is so long.
    fn check(&mut self, index: usize, payload: &[u8], len: usize) -> Result<(), String> {
        let (packet, is_long) = without_long_text(payload);
        let packet: Value = serde_json::from_slice(&packet)
            .map_err(|error| format!("client {index} gets no JSON: {error}"))?;
        let number = packet["number"].as_u64().unwrap_or(0);
        let client = &mut self.clients[index];
        let step = match (client.kind, client.expected.front()) {
            (Kind::Script { .. }, Some(Expected::Ready)) => 1024,
            (Kind::Script { .. }, _) => 8192,
            _ => 1,
        };
        if !len.is_multiple_of(step) {
            return Err(format!("script {index} gets a frame of {len} bytes"));
        }
        let got = match packet["opcode"].as_str().unwrap_or_default() {
            "ready" => {
                client.uuid = packet["uuid"].as_str().unwrap_or_default().to_owned();
                Expected::Ready
            }
            "next" => Expected::Next,
            "echo" => {
                self.report.echo_count += 1;
                self.shared.answer_count.fetch_add(1, Ordering::Relaxed);
                Expected::Echo(number)
            }
            opcode @ ("broadcast" | "feedback") => {
                match opcode {
                    "broadcast" => self.report.broadcast_count += 1,
                    _ => self.report.feedback_count += 1,
                }
                if is_long {
                    self.shared.long_count.fetch_add(1, Ordering::Relaxed);
                }
                let from = packet["from"].as_str().unwrap_or_default();
                let last = client.heard.entry(from.to_owned()).or_default();
                if number != *last + 1 {
                    return Err(format!("client {index}: {from} says {number} after {last}"));
                }
                *last = number;
                return Ok(());
            }
            other => return Err(format!("client {index} gets {other}")),
        };
        match client.expected.pop_front() {
            Some(expected) if expected == got => Ok(()),
            expected => Err(format!(
                "client {index} gets {got:?} instead of {expected:?}"
            )),
        }
    }
}

/// One that will be deaf for a while has little room in its kernel.
fn dial(address: SocketAddr, is_deaf: bool) -> std::io::Result<std::net::TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if is_deaf {
        socket.set_recv_buffer_size(4096)?;
    }
    socket.connect(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The packet without its text, if that is long, and whether it is. What is not checked of it is so
/// by the length of the frame.
fn without_long_text(payload: &[u8]) -> (Vec<u8>, bool) {
    let is_long = payload.len() > LONG_BYTES;
    let text_at = payload
        .windows(8)
        .take(200)
        .position(|eight| eight == b"\"text\":\"");
    match text_at.filter(|_| is_long) {
        Some(at) => ([&payload[..at + 8], b"\"}"].concat(), true),
        None => (payload.to_vec(), false),
    }
}

/// Where the payload begins, and the frame's length, if all of it is there.
fn whole_frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (payload_at, len) = match bytes.get(1)? {
        126 => (
            4,
            u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        ),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        len => (2, u64::from(*len)),
    };
    let len = payload_at + len as usize;
    (bytes.len() >= len).then_some((payload_at, len))
}

fn is_not_now(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Pages that broadcast.
const BROADCASTERS: usize = 2;

/// Pages that do not read for a while.
const DEAF_PAGES: usize = 8;

/// More than the kernel takes for one who does not read.
const LONG_BYTES: usize = 256 << 10;

const PATIENCE: Duration = Duration::from_secs(60);

//! What goes on while tails are measured.

use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use websock::protocol::deflate::Deflater;
use websock::protocol::extension::Context;
use websock::protocol::frame;

use crate::rows;
use crate::server::Server;
use crate::tails::drain;
use crate::wire::{NEXT_LEN, Security, Wire};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// A broadcast of 1 KiB goes to 10,000 tabs every second.
    Broadcast,
    /// 50 clients echo 1 MiB, one message under way each.
    LongEcho,
    /// 500 full TLS handshakes a second arrive.
    Handshakes,
    /// 1,000 slow readers are over half of `maxQueue`.
    SlowReaders,
    /// Four clients send compressed messages of 16 MB, one after the other.
    Compressed,
}

/// How much of everything there is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scale {
    Full,
    /// Enough to show that it works.
    Test,
}

impl Scale {
    fn of(self, full: usize, test: usize) -> usize {
        match self {
            Self::Full => full,
            Self::Test => test,
        }
    }
}

impl Load {
    pub(crate) const ALL: [Self; 5] = [
        Self::Broadcast,
        Self::LongEcho,
        Self::Handshakes,
        Self::SlowReaders,
        Self::Compressed,
    ];

    /// In tables.
    pub(crate) fn letter(self) -> char {
        match self {
            Self::Broadcast => 'a',
            Self::LongEcho => 'b',
            Self::Handshakes => 'c',
            Self::SlowReaders => 'd',
            Self::Compressed => 'e',
        }
    }

    /// Above the plot.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Broadcast => "(a) 1 KiB to 10,000 tabs every second",
            Self::LongEcho => "(b) 50 clients echo 1 MiB",
            Self::Handshakes => "(c) 500 TLS handshakes a second",
            Self::SlowReaders => "(d) 1,000 slow readers",
            Self::Compressed => "(e) compressed messages of 16 MB come in",
        }
    }

    pub(crate) fn security(self) -> Security {
        match self {
            Self::Handshakes => Security::Tls,
            Self::Broadcast | Self::LongEcho | Self::SlowReaders | Self::Compressed => {
                Security::Plain
            }
        }
    }

    pub(crate) fn is_compressed(self) -> bool {
        self == Self::Compressed
    }

    /// What websock is started with.
    pub(crate) fn ini_lines(self) -> &'static str {
        match self {
            Self::SlowReaders => "loglevel=warn\npingInterval=0\nmaxQueue=1M\n",
            Self::Compressed => "loglevel=warn\npingInterval=0\ncompression=on\n",
            Self::Broadcast | Self::LongEcho | Self::Handshakes => {
                "loglevel=warn\npingInterval=0\n"
            }
        }
    }

    /// Goes on until `is_over`. `is_under_way` is set when it has begun.
    pub(crate) fn run(
        self,
        server: &Server,
        scale: Scale,
        is_under_way: &AtomicBool,
        is_over: &AtomicBool,
    ) {
        let signals = (is_under_way, is_over);
        match self {
            Self::Broadcast => broadcast(server, scale.of(10_000, 200), signals),
            Self::LongEcho => {
                let len = scale.of(1 << 20, 1 << 17);
                echo(server, scale.of(50, 3), len, signals);
            }
            Self::Handshakes => handshakes(server, scale.of(500, 50), signals),
            Self::SlowReaders => slow_readers(server, scale.of(1_000, 10), signals),
            Self::Compressed => compressed(server, scale.of(16_000_000, 1 << 20), signals),
        }
    }
}

type Signals<'a> = (&'a AtomicBool, &'a AtomicBool);

fn begin((is_under_way, _): Signals<'_>) {
    is_under_way.store(true, Ordering::Release);
}

fn goes_on((_, is_over): Signals<'_>) -> bool {
    !is_over.load(Ordering::Acquire)
}

fn open(server: &Server, headers: &str) -> Wire {
    let opening = rows::opening(headers);
    let is_ready = |answer: &[u8]| answer.ends_with(b"\"}");
    Wire::open(server.address(), server.security(), &opening, is_ready)
}

fn packet(opcode: &str, len: usize) -> Vec<u8> {
    let text = "x".repeat(len);
    format!(r#"{{"opcode":"{opcode}","message":"{text}"}}"#).into_bytes()
}

/// Sends as much as goes; whether all has left.
fn send(wire: &mut Wire, bytes: &[u8], sent: &mut usize) -> bool {
    while *sent < bytes.len() {
        match wire.write(&bytes[*sent..]) {
            Ok(len) => *sent += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("{error}"),
        }
    }
    true
}

/// Somebody who receives what comes, in the order of events.
fn watched(wires: &mut [Wire]) -> Poll {
    let poll = Poll::new().unwrap();
    for (at, wire) in wires.iter_mut().enumerate() {
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(wire.socket(), Token(at), interest)
            .unwrap();
    }
    poll
}

/// A signal ends a wait early, which does no harm.
fn wait(poll: &mut Poll, events: &mut Events, time: Duration) {
    match poll.poll(events, Some(time)) {
        Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(),
        waited => waited.unwrap(),
    }
}

fn broadcast(server: &Server, tab_count: usize, signals: Signals<'_>) {
    let mut wires: Vec<Wire> = (0..=tab_count).map(|_| open(server, "")).collect();
    let frame = rows::masked(&packet("broadcast", 1 << 10));
    let mut poll = watched(&mut wires);
    let mut events = Events::with_capacity(1024);
    begin(signals);
    let mut due = Instant::now();
    while goes_on(signals) {
        if due <= Instant::now() {
            wires[0].write_all(&frame).unwrap();
            due += Duration::from_secs(1);
        }
        wait(&mut poll, &mut events, Duration::from_millis(5));
        for event in &events {
            drain(&mut wires[event.token().0]);
        }
    }
}

fn echo(server: &Server, count: usize, len: usize, signals: Signals<'_>) {
    let packet = packet("echo", len);
    let response_len = NEXT_LEN + frame::frame_len(packet.len());
    exchange(
        server,
        count,
        ("", &rows::masked(&packet)),
        response_len,
        signals,
    );
}

fn compressed(server: &Server, len: usize, signals: Signals<'_>) {
    let mut deflated = Vec::new();
    let mut deflater = Deflater::new(15, 2, Context::Dropped);
    assert!(deflater.deflate(&prose(len), &mut deflated));
    let mut frame = rows::masked(&deflated);
    frame[0] |= RSV1;
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n";
    exchange(server, 4, (offer, &frame), NEXT_LEN, signals);
}

/// A packet for nobody, of words in no order: it gets to about a fifth of its length.
fn prose(len: usize) -> Vec<u8> {
    let mut text = br#"{"opcode":"feedback","uuid":"nobody","message":""#.to_vec();
    let words = [
        "order", "shipped", "basket", "page", "customer", "total", "1999", "Berlin",
    ];
    let mut state = 1_u64;
    while text.len() < len - 20 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        text.extend_from_slice(words[(state >> 61) as usize].as_bytes());
        text.push(if state >> 40 & 15 == 0 {
            b'a' + (state >> 50 & 15) as u8
        } else {
            b' '
        });
    }
    text.extend_from_slice(br#""}"#);
    text
}

/// Each of `count` clients sends its request again when it has its answer.
fn exchange(
    server: &Server,
    count: usize,
    (headers, request): (&str, &[u8]),
    response_len: usize,
    signals: Signals<'_>,
) {
    let mut wires: Vec<Wire> = (0..count).map(|_| open(server, headers)).collect();
    let mut states = vec![(0, 0); count];
    let mut poll = watched(&mut wires);
    let mut events = Events::with_capacity(1024);
    begin(signals);
    while goes_on(signals) {
        wait(&mut poll, &mut events, Duration::from_millis(50));
        for event in &events {
            let at = event.token().0;
            let (sent, received) = &mut states[at];
            *received += drain(&mut wires[at]);
            if *received >= response_len {
                (*sent, *received) = (0, *received - response_len);
            }
            send(&mut wires[at], request, sent);
        }
    }
}

fn handshakes(server: &Server, per_second: usize, signals: Signals<'_>) {
    let count = AtomicU64::new(0);
    let interval = Duration::from_secs_f64(HANDSHAKE_THREADS as f64 / per_second as f64);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..HANDSHAKE_THREADS {
            scope.spawn(|| {
                let mut due = Instant::now();
                while goes_on(signals) {
                    if let Some(rest) = due.checked_duration_since(Instant::now()) {
                        std::thread::sleep(rest);
                    }
                    open(server, "");
                    count.fetch_add(1, Ordering::Relaxed);
                    due = (due + interval).max(Instant::now() - interval);
                }
            });
        }
        begin(signals);
    });
    let rate = count.into_inner() as f64 / began.elapsed().as_secs_f64();
    if rate < 0.8 * per_second as f64 {
        eprintln!("only {rate:.0} handshakes a second");
    }
}

/// They are filled up to three quarters of a megabyte each; from then on each takes a little every
/// second, and one more message goes to all.
fn slow_readers(server: &Server, count: usize, signals: Signals<'_>) {
    let opening = rows::opening("");
    let is_ready = |answer: &[u8]| answer.ends_with(b"\"}");
    let open_slow = |_| Wire::open_slow(server.address(), &opening, is_ready);
    let mut readers: Vec<Wire> = (0..count).map(open_slow).collect();
    let mut speaker = open(server, "");
    let long = rows::masked(&packet("broadcast", 16 << 10));
    for _ in 0..48 {
        let mut sent = 0;
        while !send(&mut speaker, &long, &mut sent) {
            std::thread::yield_now();
        }
        while drain(&mut speaker) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let short = rows::masked(&packet("broadcast", 4 << 10));
    begin(signals);
    let (mut at, mut due) = (0, Instant::now());
    while goes_on(signals) {
        let mut chunk = [0; 4096];
        if let Err(error) = std::io::Read::read(&mut readers[at], &mut chunk) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
        }
        at = (at + 1) % count;
        if at == 0 {
            speaker.write_all(&short).unwrap();
            drain(&mut speaker);
        }
        due += Duration::from_secs(1) / count as u32;
        if let Some(rest) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(rest);
        }
    }
}

const HANDSHAKE_THREADS: usize = 10;
const RSV1: u8 = 0x40;

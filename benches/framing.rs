//! What the codec costs, from memory to memory, beside two peers and a plain copy.
//!
//! `cargo bench --bench framing` takes a few minutes; a word behind `--` picks benches by name, and
//! `-- --test` runs each once. Every result is compared with what it has to be before it is timed.
//!
//! - `websock` is this crate, `tungstenite` and `fastwebsockets` are the peers with their own
//!   defaults, `memcpy` copies as many bytes: no codec that moves its input is faster.
//! - A peer is left out where it has no such function of its own: tungstenite keeps its unmasking to
//!   itself, fastwebsockets leaves HTTP to hyper, and neither knows the packets.
//! - Throughput counts payload bytes. Times are the thread's CPU time, so that what else the machine
//!   does matters little.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use fastwebsockets::{FragmentCollector, Payload};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::Bytes;
use tungstenite::handshake::machine::TryParse as _;
use tungstenite::handshake::server as tungstenite_server;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use websock::connection::output::BufferPool;
use websock::connection::{
    Connection, Event, Keepalive, Limits, MonotonicTime, PhpFraming, TurnContext,
};
use websock::protocol::frame::{self, MAX_HEADER_BYTES, Opcode};
use websock::protocol::handshake::Upgrade;
use websock::protocol::http::{self, Request};
use websock::protocol::packet::{Packet, Verb};
use websock::protocol::{mask, utf8};

/// Where the three forms of a length change (RFC 6455 §5.2), and sizes between and beyond.
const SIZES: [usize; 8] = [64, 125, 126, 1024, 16 << 10, 65_535, 65_536, 1 << 20];

/// Sizes where no header's form matters.
const ROUND_SIZES: [usize; 4] = [64, 1024, 16 << 10, 1 << 20];

/// What the server reads at once, and the least that it reads to where a long message stays.
const READ_BUFFER_BYTES: usize = 128 << 10;
const LEAST_ROOM_BYTES: usize = 96 << 10;

const FRAGMENT_BYTES: usize = 4 << 10;

/// ASCII is ASCII still under this key, so that a text may be unmasked in place again and again.
const KEY: [u8; 4] = [0x01, 0x02, 0x03, 0x04];

fn main() {
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .sample_size(20)
        .nresamples(2_000)
        .without_plots()
        .configure_from_args();
    encode(&mut criterion);
    decode(&mut criterion, "decode binary", Opcode::Binary);
    decode(&mut criterion, "decode text", Opcode::Text);
    unmask(&mut criterion);
    check_utf8(&mut criterion, "utf8 ascii", "x");
    check_utf8(&mut criterion, "utf8 mixed", "Grüße, κόσμε, 世界, 🌍! ");
    reassembly(&mut criterion);
    handshake(&mut criterion, "handshake smallest", SMALLEST_HEAD);
    handshake(&mut criterion, "handshake browser", BROWSER_HEAD);
    packet(&mut criterion, "packet plain", "all of it plain text ");
    packet(&mut criterion, "packet escaped", r"\u00fcber \/ \u4e16 ");
    criterion.final_summary();
}

// ---- encode: payload → whole frame of a server, in a buffer that is there

fn encode(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("encode");
    for size in SIZES {
        let payload = ascii(size);
        let shared = Bytes::from(payload.clone());
        let mut out = Vec::with_capacity(size + MAX_HEADER_BYTES);
        let websock = |out: &mut Vec<u8>| frame::encode(Opcode::Binary, black_box(&payload), out);
        let tungstenite = |out: &mut Vec<u8>| {
            let opcode = OpCode::Data(Data::Binary);
            let frame = tungstenite::protocol::frame::Frame::message(shared.clone(), opcode, true);
            frame.format(out).expect("a vector takes all");
        };
        // It fills a vector that is long enough already, and returns what it has filled.
        let fastwebsockets = |out: &mut Vec<u8>| {
            let payload = Payload::Borrowed(black_box(&payload));
            fastwebsockets::Frame::binary(payload).write(out).len()
        };
        let expected = [header_of(0x82, size), payload.clone()].concat();
        assert_eq!(written(websock), expected);
        assert_eq!(written(tungstenite), expected);
        let mut filled = Vec::new();
        let len = fastwebsockets(&mut filled);
        assert_eq!(filled[..len], expected);

        group.throughput(Throughput::Bytes(size as u64));
        run(&mut group, "websock", size, || rewrite(&mut out, websock));
        run(&mut group, "tungstenite", size, || {
            rewrite(&mut out, tungstenite)
        });
        run(&mut group, "fastwebsockets", size, || {
            fastwebsockets(&mut filled)
        });
        run(&mut group, "memcpy", size, || {
            rewrite(&mut out, |out| out.extend_from_slice(black_box(&payload)));
        });
    }
    group.finish();
}

/// The header of an unmasked frame, from the text of RFC 6455 §5.2.
fn header_of(first: u8, payload_len: usize) -> Vec<u8> {
    let long = (payload_len as u64).to_be_bytes();
    match payload_len {
        0..126 => vec![first, payload_len as u8],
        126..65_536 => vec![first, 126, long[6], long[7]],
        _ => [&[first, 127], long.as_slice()].concat(),
    }
}

fn written(write: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn rewrite(out: &mut Vec<u8>, write: impl Fn(&mut Vec<u8>)) {
    out.clear();
    write(out);
    black_box(out);
}

// ---- decode: bytes → whole messages, unmasked and, if text, checked

fn decode(criterion: &mut Criterion<CpuTime>, name: &str, opcode: Opcode) {
    let mut group = criterion.benchmark_group(name);
    for size in SIZES {
        let payload = ascii(size);
        let mut frame = Vec::new();
        frame::encode_masked(opcode, KEY, &payload, &mut frame);
        let stream = Stream::of(&frame);
        group.throughput(Throughput::Bytes((stream.message_count * size) as u64));
        decoders(&mut group, &stream, &payload);

        let (mut ours, mut bytes) = (Decoder::new(Stream::of(&[])), stream.bytes.clone());
        run(&mut group, "websock, in place", size, || {
            assert_eq!(ours.receive_all(&mut bytes, |_| {}), stream.message_count);
        });
    }
    group.finish();
}

fn reassembly(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("reassembly");
    for size in [16 << 10, 65_535, 65_536, 1 << 20] {
        let payload = ascii(size);
        let stream = Stream::of(&fragmented(&payload));
        group.throughput(Throughput::Bytes((stream.message_count * size) as u64));
        decoders(&mut group, &stream, &payload);
    }
    group.finish();
}

/// The message as a client sends it in fragments of 4 KiB.
fn fragmented(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let fragment_count = payload.len().div_ceil(FRAGMENT_BYTES);
    for (i, fragment) in payload.chunks(FRAGMENT_BYTES).enumerate() {
        let start = out.len();
        let opcode = if i == 0 {
            Opcode::Binary
        } else {
            Opcode::Continuation
        };
        frame::encode_masked(opcode, KEY, fragment, &mut out);
        if i + 1 < fragment_count {
            out[start] &= 0x7F;
        }
    }
    out
}

/// Each reads the stream from memory as from a socket, one round of it per iteration.
fn decoders(group: &mut BenchmarkGroup<'_, CpuTime>, stream: &Stream, payload: &[u8]) {
    let size = payload.len();
    let is_expected = |bytes: &[u8]| assert!(bytes == payload, "{size} bytes read wrong");

    let mut ours = Decoder::new(stream.clone());
    ours.read_round(is_expected);
    run(group, "websock", size, || {
        ours.read_round(|bytes| {
            black_box(bytes);
        });
    });

    let role = tungstenite::protocol::Role::Server;
    let mut peer = tungstenite::WebSocket::from_raw_socket(stream.clone(), role, None);
    for _ in 0..stream.message_count {
        is_expected(&peer.read().expect("a message").into_data());
    }
    run(group, "tungstenite", size, || {
        for _ in 0..stream.message_count {
            black_box(peer.read().expect("a message"));
        }
    });

    let role = fastwebsockets::Role::Server;
    let peer = fastwebsockets::WebSocket::after_handshake(stream.clone(), role);
    let mut peer = FragmentCollector::new(peer);
    let mut read_round = |take: &dyn Fn(&[u8])| {
        ready(async {
            for _ in 0..stream.message_count {
                take(&peer.read_frame().await.expect("a message").payload);
            }
        });
    };
    read_round(&is_expected);
    run(group, "fastwebsockets", size, || {
        read_round(&|bytes| {
            black_box(bytes);
        });
    });

    let mut copy = vec![0; stream.bytes.len()];
    run(group, "memcpy", size, || {
        black_box(&mut copy).copy_from_slice(black_box(&stream.bytes))
    });
}

/// Our end of a connection that has been upgraded, with the server's read buffer.
struct Decoder {
    connection: Connection,
    context: TurnContext,
    stream: Stream,
    buffer: Vec<u8>,
}

impl Decoder {
    fn new(stream: Stream) -> Self {
        let mut context = TurnContext::new(MonotonicTime::START, Limits::default());
        let turn = &mut context;
        let mut connection = Connection::new(turn);
        let mut head = SMALLEST_HEAD.as_bytes().to_vec();
        let head = connection.receive(&mut head.as_mut_slice(), turn);
        let Some(Event::Head(head)) = head else {
            panic!("no head: {head:?}")
        };
        let upgrade = Request::parse(&head).and_then(|request| Upgrade::check(&request));
        let upgrade = upgrade.expect("a good request");
        connection.accept(&upgrade, PhpFraming::Stream, Keepalive::Pings, turn);
        Self {
            connection,
            context,
            stream,
            buffer: vec![0; READ_BUFFER_BYTES],
        }
    }

    /// Reads until every message of the stream has come once.
    fn read_round(&mut self, mut take: impl FnMut(&[u8])) {
        let mut missing = self.stream.message_count;
        while missing > 0 {
            missing -= self.read_into_message(&mut take);
            let mut buffer = std::mem::take(&mut self.buffer);
            let len = self.stream.read(&mut buffer).expect("memory can be read");
            missing -= self.receive_all(&mut buffer[..len], &mut take);
            self.buffer = buffer;
        }
    }

    /// As long as a long message has room for what comes next; the number of messages that end so.
    fn read_into_message(&mut self, mut take: impl FnMut(&[u8])) -> usize {
        let mut message_count = 0;
        while let Some(room) = self
            .connection
            .payload_buffer(LEAST_ROOM_BYTES, READ_BUFFER_BYTES)
        {
            let len = self.stream.read(room).expect("memory can be read");
            let turn = &mut self.context;
            if let Some(event) = self.connection.receive_payload(len, turn) {
                message_count += take_message(event, &mut self.context.pool, &mut take);
            }
        }
        message_count
    }

    fn receive_all(&mut self, mut input: &mut [u8], mut take: impl FnMut(&[u8])) -> usize {
        let turn = &mut self.context;
        let mut message_count = 0;
        while let Some(event) = self.connection.receive(&mut input, turn) {
            message_count += take_message(event, &mut turn.pool, &mut take);
        }
        message_count
    }
}

/// The event has to be a message; one.
fn take_message(event: Event<'_>, pool: &mut BufferPool, take: &mut impl FnMut(&[u8])) -> usize {
    let Some(message) = event.message() else {
        panic!("no message: {event:?}")
    };
    take(message.as_bytes());
    if let Event::AssembledMessage(gathered) = event {
        pool.give(gathered.into_bytes());
    }
    1
}

/// The same messages again and again; what is written is dropped.
#[derive(Clone)]
struct Stream {
    bytes: Vec<u8>,
    at: usize,
    message_count: usize,
}

impl Stream {
    /// About 64 KiB of messages per round, at least one.
    fn of(message: &[u8]) -> Self {
        let message_count = ((64 << 10) / message.len().max(1)).max(1);
        Self {
            bytes: message.repeat(message_count),
            at: 0,
            message_count,
        }
    }

    fn next(&mut self, most: usize) -> &[u8] {
        let start = self.at;
        let end = self.bytes.len().min(start + most);
        self.at = end % self.bytes.len();
        &self.bytes[start..end]
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = self.next(buf.len());
        buf[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buf.put_slice(self.next(buf.remaining()));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs what never has to wait, as reading from memory.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("memory made a reader wait"),
    }
}

// ---- unmask: one payload in place

fn unmask(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("unmask");
    for size in SIZES {
        let plain = ascii(size);
        let masked: Vec<u8> = (0..)
            .zip(&plain)
            .map(|(i, byte)| byte ^ KEY[i % 4])
            .collect();
        let (mut a, mut b) = (masked.clone(), masked.clone());
        mask::apply(KEY, 0, &mut a);
        fastwebsockets::unmask(&mut b, KEY);
        assert!(a == plain && b == plain, "{size} bytes unmasked wrong");

        group.throughput(Throughput::Bytes(size as u64));
        run(&mut group, "websock", size, || {
            mask::apply(KEY, 0, black_box(&mut a))
        });
        run(&mut group, "fastwebsockets", size, || {
            fastwebsockets::unmask(black_box(&mut b), KEY)
        });
        run(&mut group, "memcpy", size, || {
            black_box(&mut a).copy_from_slice(black_box(&masked))
        });
    }
    group.finish();
}

// ---- utf8: one text, judged

fn check_utf8(criterion: &mut Criterion<CpuTime>, name: &str, sample: &str) {
    let mut group = criterion.benchmark_group(name);
    for size in ROUND_SIZES {
        let text = filled("", sample, size);
        let bytes = text.as_bytes();
        let opcode = OpCode::Data(Data::Text);
        let tungstenite =
            tungstenite::protocol::frame::Frame::message(Bytes::from(text.clone()), opcode, true);
        let fastwebsockets = fastwebsockets::Frame::text(Payload::Borrowed(bytes));
        let in_pieces = || {
            let mut validator = utf8::Validator::default();
            let mut pieces = black_box(bytes).chunks(FRAGMENT_BYTES);
            pieces
                .try_for_each(|piece| validator.feed(piece))
                .and_then(|()| validator.finish())
        };
        assert_eq!(utf8::check(bytes), Some(text.as_str()));
        assert_eq!(in_pieces(), Ok(()));
        assert!(tungstenite.to_text().is_ok() && fastwebsockets.is_utf8());

        group.throughput(Throughput::Bytes(size as u64));
        run(&mut group, "websock", size, || {
            utf8::check(black_box(bytes)).is_some()
        });
        run(&mut group, "websock, in pieces", size, in_pieces);
        run(&mut group, "tungstenite", size, || {
            black_box(&tungstenite).to_text().is_ok()
        });
        run(&mut group, "fastwebsockets", size, || {
            black_box(&fastwebsockets).is_utf8()
        });
        let mut copy = vec![0; size];
        run(&mut group, "memcpy", size, || {
            black_box(&mut copy).copy_from_slice(black_box(bytes))
        });
    }
    group.finish();
}

// ---- handshake: request head → 101

fn handshake(criterion: &mut Criterion<CpuTime>, name: &str, head: &str) {
    let mut group = criterion.benchmark_group(name);
    let size = head.len();
    let mut out = Vec::with_capacity(2 * size);
    let websock = |out: &mut Vec<u8>| {
        let bytes = black_box(head.as_bytes());
        let len = http::head_len(bytes, 0).expect("a whole head");
        let request = Request::parse(&bytes[..len]).expect("a head");
        Upgrade::check(&request)
            .expect("an upgrade")
            .write_response(None, out);
    };
    let tungstenite = |out: &mut Vec<u8>| {
        let parsed = tungstenite_server::Request::try_parse(black_box(head.as_bytes()));
        let (_, request) = parsed.expect("a head").expect("a whole head");
        let response = tungstenite_server::create_response(&request).expect("an upgrade");
        tungstenite_server::write_response(out, &response).expect("a vector takes all");
    };
    for answer in [written(websock), written(tungstenite)] {
        let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 101 "), "{answer}");
        assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"));
        assert!(answer.ends_with("\r\n\r\n"));
    }

    group.throughput(Throughput::Bytes(size as u64));
    run(&mut group, "websock", size, || rewrite(&mut out, websock));
    run(&mut group, "tungstenite", size, || {
        rewrite(&mut out, tungstenite)
    });
    run(&mut group, "memcpy", size, || {
        rewrite(&mut out, |out| {
            out.extend_from_slice(black_box(head.as_bytes()))
        });
    });
    group.finish();
}

/// RFC 6455 §1.3, without what is optional.
const SMALLEST_HEAD: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// What Chrome sends.
const BROWSER_HEAD: &str = "GET /web HTTP/1.1\r\nHost: www.example.com:8080\r\n\
    Connection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/142.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\nOrigin: https://www.example.com\r\nSec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: de-DE,de;q=0.9,en;q=0.8\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

// ---- packet: text → verb and fields, the whole of it validated

fn packet(criterion: &mut Criterion<CpuTime>, name: &str, sample: &str) {
    let mut group = criterion.benchmark_group(name);
    for size in ROUND_SIZES {
        let start = r#"{"opcode":"feedback","ident":"job-4711","message":""#;
        let text = filled(start, sample, size - 2) + "\"}";
        let packet = Packet::parse(&text).expect("a packet");
        assert_eq!((packet.verb, text.len()), (Verb::Feedback, size));
        let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(document["opcode"], "feedback");

        group.throughput(Throughput::Bytes(size as u64));
        run(&mut group, "websock", size, || {
            Packet::parse(black_box(&text)).is_ok()
        });
        run(&mut group, "serde_json document", size, || {
            serde_json::from_str::<serde_json::Value>(black_box(&text)).is_ok()
        });
        let mut copy = vec![0; size];
        run(&mut group, "memcpy", size, || {
            black_box(&mut copy).copy_from_slice(black_box(text.as_bytes()));
        });
    }
    group.finish();
}

// ---- what all have in common

/// CPU time of this thread.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("it is positive")
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn run<T>(
    group: &mut BenchmarkGroup<'_, CpuTime>,
    who: &str,
    size: usize,
    mut work: impl FnMut() -> T,
) {
    group.bench_function(BenchmarkId::new(who, size), |bencher| {
        bencher.iter(&mut work)
    });
}

fn ascii(size: usize) -> Vec<u8> {
    (b'a'..=b'p').cycle().take(size).collect()
}

/// `start`, then as many whole samples as fit, then blanks.
fn filled(start: &str, sample: &str, size: usize) -> String {
    let count = (size - start.len()) / sample.len();
    let text = start.to_owned() + &sample.repeat(count);
    let blank_count = size - text.len();
    text + &" ".repeat(blank_count)
}

//! What is long is freed so that its memory goes back to the system, whatever becomes of it: the
//! allocator of the C library keeps what follows otherwise.
//!
//! Without the counting allocator of `tests/memory`, which makes nothing smaller where it is.

#[path = "../memory/client.rs"]
mod client;

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use client::{Client, HEAD_LEN, NEXT_LEN, serve};
use websock::net::Server;

/// Long enough for glibc to have a mapping of its own for it, and for what it grows through.
const LONG: usize = 3 << 19;

/// Whether glibc has mappings of their own for buffers that are a little shorter, so that they go back
/// to the system when they are freed. Freeing a longer one has an end to that, unless it is made small
/// before.
fn has_mappings() -> bool {
    let mut buffer: Vec<u8> = Vec::with_capacity(1 << 20);
    let place = buffer.as_ptr() as usize;
    buffer.shrink_to(1000);
    // Behind its header, on a page.
    place % 4096 == 16
}

/// Writes what is long in pieces that are not.
fn send_long(client: &mut Client, start: &[u8], len: usize) {
    client.0.write_all(start).expect("the server reads");
    let piece = [b'0'; 32 << 10];
    let mut left = len;
    while left > 0 {
        let len = left.min(piece.len());
        client.0.write_all(&piece[..len]).expect("the server reads");
        left -= len;
    }
}

/// A text of this length with a mask of zeros: digits, behind and before these.
fn send_long_text(client: &mut Client, (before, behind): (&str, &str), sent: usize) {
    let mut start = vec![0x81, 0xFF];
    start.extend(((before.len() + LONG + behind.len()) as u64).to_be_bytes());
    start.extend([0; 4]);
    start.extend(before.bytes());
    send_long(client, &start, sent);
    if sent == LONG {
        client
            .0
            .write_all(behind.as_bytes())
            .expect("the server reads");
    }
}

fn push_long(address: SocketAddr, (before, behind): (&str, &str), sent: usize) {
    let mut client = Client(TcpStream::connect(address).expect("the server accepts"));
    let len = before.len() + LONG + behind.len();
    let head = format!(
        "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {len}\r\n\r\n{before}"
    );
    send_long(&mut client, head.as_bytes(), sent);
    if sent == LONG {
        client
            .0
            .write_all(behind.as_bytes())
            .expect("the server reads");
        client.skip(20);
    }
}

const BROADCAST: (&str, &str) = (r#"{"opcode":"broadcast","pad":""#, "\"}");
const ECHO: (&str, &str) = (r#"{"opcode":"echo","pad":""#, "\"}");

/// What clients do so that something long is dropped, by its name.
fn burst(name: &str, address: SocketAddr) {
    let mut client = Client::open(address, "");
    match name {
        "a queue that nobody reads" => {
            for _ in 0..4 {
                send_long_text(&mut client, ECHO, LONG);
            }
        }
        "half a message" => send_long_text(&mut client, ECHO, LONG - 1),
        "chunks that are joined" => {
            client.send("bufferON");
            send_long_text(&mut client, ECHO, LONG);
            client.send("bufferOFF");
            client.skip(3 * NEXT_LEN + LONG / 2);
        }
        "chunks that are not" => {
            client.send("bufferON");
            send_long_text(&mut client, ECHO, LONG);
            client.skip(2 * NEXT_LEN);
        }
        "a body" => push_long(address, BROADCAST, LONG),
        "a body that is no JSON" => push_long(address, ("{", "{"), LONG),
        "half a body" => push_long(address, BROADCAST, LONG - 1),
        "what is kept" => {
            let mut tab = Client::connect(address, "/web?resume=1", "");
            tab.skip(HEAD_LEN);
            tab.read_text();
            for _ in 0..15 {
                send_long_text(&mut client, BROADCAST, LONG);
                client.skip(NEXT_LEN);
                tab.skip(LONG + 50);
            }
        }
        "what waits for a script" => {
            let script = Client::connect(address, "/web", "Client-Type: php\r\nIdent: a\r\n");
            let feedback = (r#"{"opcode":"feedback","ident":"a","pad":""#, "\"}");
            for _ in 0..3 {
                send_long_text(&mut client, feedback, LONG);
                client.skip(NEXT_LEN);
            }
            drop(script);
        }
        other => panic!("{other}"),
    }
}

const BURSTS: [&str; 9] = [
    "a queue that nobody reads",
    "half a message",
    "chunks that are joined",
    "chunks that are not",
    "a body",
    "a body that is no JSON",
    "half a body",
    "what is kept",
    "what waits for a script",
];

/// Each in a process of its own, as what one of them spoils is spoilt for all.
#[test]
fn what_is_long_goes_back_to_the_system_whatever_becomes_of_it() {
    if let Ok(name) = std::env::var(BURST_KEY) {
        assert!(has_mappings(), "before anything has happened");
        let run = |mut server: Server| server.run().expect("it runs");
        serve(run, |address| {
            burst(&name, address);
            // Long work goes on at least a step in each of the turns that this takes.
            let mut client = Client::open(address, "");
            for _ in 0..500 {
                client.send(r#"{"opcode":"echo"}"#);
                client.skip(NEXT_LEN + 2 + 17);
            }
            assert!(has_mappings(), "{name}");
        });
        return;
    }
    let this = std::env::current_exe().expect("this program");
    for name in BURSTS {
        let output = Command::new(&this)
            .args([
                "--exact",
                "what_is_long_goes_back_to_the_system_whatever_becomes_of_it",
            ])
            .env(BURST_KEY, name)
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{name}: {said}"
        );
    }
}

const BURST_KEY: &str = "WEBSOCK_TEST_BURST";

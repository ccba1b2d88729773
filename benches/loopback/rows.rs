//! The rows: what is sent, over how many connections, and what comes back.

use std::time::{Duration, Instant};

use websock::protocol::frame::{self, Opcode};

use crate::load::{Flow, Outcome, Pace, drive};
use crate::server::{Kind, Server};
use crate::sources;
use crate::users;
use crate::wire::NEXT_LEN;
use crate::wire::Security;

/// One measurement.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) run: Box<dyn Fn(Duration) -> Outcome>,
}

/// All rows but `idle`, in the order in which they are printed.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (connections, depth, len) in [
        (64, 1, 64),
        (64, 16, 64),
        (16, 1, 16 << 10),
        (4, 1, 1 << 20),
    ] {
        for kind in [Kind::Tcp, Kind::Raw, Kind::Websock] {
            let name = format!("echo-{}-{connections}x{depth}-{len}", kind.name());
            rows.push(row(name, move |time| {
                echo(&Server::start(kind), kind, connections, depth, len, time)
            }));
        }
    }
    for (connections, len) in [(64, 64), (16, 16 << 10)] {
        rows.push(row(
            format!("echo-tls-{connections}x1-{len}"),
            move |time| {
                let server = Server::start_program(Security::Tls, QUIET);
                echo(&server, Kind::Websock, connections, 1, len, time)
            },
        ));
    }
    for depth in [1, 16] {
        rows.push(row(format!("broadcast-1000x{depth}-128"), move |time| {
            broadcast(1000, depth, time)
        }));
    }
    rows.push(row("feedback-tcp-8".to_owned(), |time| relay(8, time)));
    for clients in [1000, 10_000] {
        rows.push(row(format!("feedback-8-among-{clients}"), move |time| {
            feedback(8, clients, time)
        }));
    }
    for scripts in [1, 16] {
        let name = |way: &str| format!("{way}-{scripts}-among-1000");
        rows.push(row(name("feedback"), move |time| {
            feedback(scripts, 1000, time)
        }));
        rows.push(row(name("push"), move |time| push(scripts, 1000, time)));
    }
    for to in [To::Ident, To::Uuid, To::User] {
        let name = |way: &str| format!("signin-{way}-{}-8-among-1000", to.name());
        rows.push(row(name("feedback"), move |time| {
            to_signed_in(to, Way::Script, time)
        }));
        rows.push(row(name("push"), move |time| {
            to_signed_in(to, Way::Push, time)
        }));
    }
    for (name, security) in [
        ("connect", Security::Plain),
        ("connect-tls", Security::Tls),
        ("connect-tls-resumed", Security::TlsResumed),
    ] {
        rows.push(row(name.to_owned(), move |time| connect(security, 0, time)));
    }
    use sources::Kind::{File, Redis, Token, Url};
    for kind in [Token, File, Redis, Url] {
        rows.push(row(
            format!("connect-signin-{}", kind.name()),
            move |time| connect_signed_in(kind, time),
        ));
    }
    rows
}

fn row(name: String, run: impl Fn(Duration) -> Outcome + 'static) -> Row {
    Row {
        name,
        run: Box::new(run),
    }
}

pub(crate) fn echo(
    server: &Server,
    kind: Kind,
    connections: usize,
    depth: usize,
    len: usize,
    time: Duration,
) -> Outcome {
    let flow = || match kind {
        Kind::Tcp | Kind::Relay => {
            let request = vec![b'x'; frame::frame_len(len) + 4];
            let response_len = request.len();
            Flow::open(server, &[], 0).exchanging(request, response_len)
        }
        Kind::Raw => {
            let flow = Flow::open(server, &opening(""), HEAD_LEN);
            flow.exchanging(masked(&vec![b'x'; len]), frame::frame_len(len))
        }
        Kind::Websock => {
            let packet = packet("echo", "", len);
            let response_len = NEXT_LEN + frame::frame_len(packet.len());
            page(server, "").exchanging(masked(packet.as_bytes()), response_len)
        }
    };
    let mut flows: Vec<Flow> = (0..connections).map(|_| flow()).collect();
    drive(&mut flows, Pace::Each(depth), time, server)
}

pub(crate) fn broadcast(receivers: usize, depth: usize, time: Duration) -> Outcome {
    let server = Server::start(Kind::Websock);
    let mut pages = pages(&server, receivers);
    broadcast_to(&server, &mut pages, depth, time)
}

/// One more page sends to all of `pages`, which stay open.
pub(crate) fn broadcast_to(
    server: &Server,
    pages: &mut Vec<Flow>,
    depth: usize,
    time: Duration,
) -> Outcome {
    let packet = packet("broadcast", "", 128);
    let mut flows = vec![page(server, "").exchanging(masked(packet.as_bytes()), NEXT_LEN)];
    let frame_len = frame::frame_len(packet.len());
    flows.extend(
        pages
            .drain(..)
            .map(|page| page.exchanging(Vec::new(), frame_len)),
    );
    let outcome = drive(&mut flows, Pace::First(depth), time, server);
    pages.extend(flows.drain(1..));
    outcome
}

/// So many pages that do nothing yet.
pub(crate) fn pages(server: &Server, count: usize) -> Vec<Flow> {
    (0..count).map(|_| page(server, "")).collect()
}

/// Each script sends to a page of its own; the exchange is over with the script's `next`.
pub(crate) fn feedback(scripts: usize, clients: usize, time: Duration) -> Outcome {
    let server = Server::start(Kind::Websock);
    let _others = pages(&server, clients - scripts);
    feedback_on(&server, scripts, time)
}

/// The same beside whoever else is there.
pub(crate) fn feedback_on(server: &Server, scripts: usize, time: Duration) -> Outcome {
    let mut flows = Vec::new();
    for number in 0..scripts {
        let packet = packet("feedback", &format!("page{number}"), 64);
        let script = script(server);
        flows.push(script.exchanging(masked(packet.as_bytes()), NEXT_LEN));
        let page = page(server, &format!("Ident: page{number}\r\n"));
        flows.push(page.exchanging(Vec::new(), frame::frame_len(packet.len())));
    }
    expect_half(drive(&mut flows, Pace::Each(1), time, server))
}

/// The bytes of [`feedback`] over bare TCP.
fn relay(scripts: usize, time: Duration) -> Outcome {
    let server = Server::start(Kind::Relay);
    let mut flows = Vec::new();
    for number in 0..scripts {
        let packet = packet("feedback", &format!("page{number}"), 64);
        let script = Flow::open(&server, &[], 0);
        flows.push(script.exchanging(masked(packet.as_bytes()), NEXT_LEN));
        let page = Flow::open(&server, &[], 0);
        flows.push(page.exchanging(Vec::new(), frame::frame_len(packet.len())));
    }
    expect_half(drive(&mut flows, Pace::Each(1), time, &server))
}

/// The same over HTTP with connections that are kept: an exchange is over with its response.
pub(crate) fn push(scripts: usize, clients: usize, time: Duration) -> Outcome {
    let server = Server::start(Kind::Websock);
    let _others = pages(&server, clients - scripts);
    push_on(&server, scripts, time)
}

/// The same beside whoever else is there.
pub(crate) fn push_on(server: &Server, scripts: usize, time: Duration) -> Outcome {
    let mut flows = Vec::new();
    for number in 0..scripts {
        let packet = packet("feedback", &format!("page{number}"), 64);
        let flow = Flow::open(server, &[], 0);
        flows.push(flow.exchanging(push_request(&packet), PUSHED.len()));
        let page = page(server, &format!("Ident: page{number}\r\n"));
        flows.push(page.exchanging(Vec::new(), frame::frame_len(packet.len())));
    }
    expect_half(drive(&mut flows, Pace::Each(1), time, server))
}

/// How a receiver is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Ident,
    Uuid,
    User,
}

impl To {
    /// As part of a row's name.
    fn name(self) -> &'static str {
        match self {
            Self::Ident => "ident",
            Self::Uuid => "uuid",
            Self::User => "user",
        }
    }
}

/// By what a packet comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Script,
    Push,
}

/// Feedback to one of 1,000 pages that have all signed in, each as a user of its own: what naming it
/// by its user costs beside by uuid.
fn to_signed_in(to: To, way: Way, time: Duration) -> Outcome {
    let ini = format!("{QUIET}{}", users::AUTH_KEY_LINE);
    let server = Server::start_program(Security::Plain, &ini);
    let senders = 8;
    let others: Vec<Flow> = (senders..1000)
        .map(|number| user_page(&server, number).0)
        .collect();
    let mut flows = Vec::new();
    for number in 0..senders {
        let (page, uuid) = user_page(&server, number);
        let receiver = match to {
            To::Ident => format!(r#""ident":"{}""#, users::id(number)),
            To::Uuid => format!(r#""uuid":"{uuid}""#),
            To::User => format!(r#""user":"{}""#, users::id(number)),
        };
        let packet = format!(r#"{{"opcode":"feedback",{receiver},"message":"xxxxxxxx"}}"#);
        flows.push(match way {
            Way::Script => script(&server).exchanging(masked(packet.as_bytes()), NEXT_LEN),
            Way::Push => {
                Flow::open(&server, &[], 0).exchanging(push_request(&packet), PUSHED.len())
            }
        });
        flows.push(page.exchanging(Vec::new(), frame::frame_len(packet.len())));
    }
    let outcome = expect_half(drive(&mut flows, Pace::Each(1), time, &server));
    drop(others);
    outcome
}

/// The page of a user who has signed in, under that id as its ident, too; its uuid.
fn user_page(server: &Server, number: usize) -> (Flow, String) {
    let ident = format!("Ident: {}\r\n", users::id(number));
    let headers = format!("{ident}{}", users::cookie(number));
    let (flow, answer) = Flow::open_read(server, &opening(&headers), HEAD_LEN + READY_LEN);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let uuid = answer
        .split(r#""uuid":""#)
        .nth(1)
        .and_then(|rest| rest.get(..36));
    (flow, uuid.expect("ready has a uuid").to_owned())
}

/// A packet as a request to `/push`.
pub(crate) fn push_request(packet: &str) -> Vec<u8> {
    format!(
        "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{packet}",
        packet.len()
    )
    .into_bytes()
}

/// Half of the completed exchanges were the receivers' ends of the others.
pub(crate) fn expect_half(outcome: Outcome) -> Outcome {
    let operations = outcome.latencies.len();
    assert!(
        operations > 0 && outcome.operations >= operations,
        "not delivered"
    );
    Outcome {
        operations,
        ..outcome
    }
}

/// Connect, upgrade, `ready`, close frame, end; one after the other, `others` being open.
pub(crate) fn connect(security: Security, others: usize, time: Duration) -> Outcome {
    let server = Server::start_program(security, QUIET);
    let _others = pages(&server, others);
    connect_to(&server, |_| String::new(), time)
}

/// The same, where each is asked about first.
fn connect_signed_in(kind: sources::Kind, time: Duration) -> Outcome {
    let source = sources::Source::start(kind);
    let ini = format!("{QUIET}{}", source.ini_lines());
    let server = Server::start_program(Security::Plain, &ini);
    connect_to(&server, |number| source.cookie(number), time)
}

/// `headers`: header lines of the client with this number.
pub(crate) fn connect_to(
    server: &Server,
    headers: impl Fn(usize) -> String,
    time: Duration,
) -> Outcome {
    let (began, cpu_before) = (Instant::now(), server.cpu_time());
    let mut latencies = Vec::new();
    while began.elapsed() < time || latencies.is_empty() {
        let start = Instant::now();
        let flow = page(server, &headers(latencies.len()));
        latencies.push(start.elapsed());
        flow.close();
    }
    latencies.sort_unstable();
    Outcome {
        operations: latencies.len(),
        seconds: began.elapsed().as_secs_f64(),
        server_cpu: server.cpu_time() - cpu_before,
        latencies,
    }
}

/// A page's connection, `ready` read.
fn page(server: &Server, headers: &str) -> Flow {
    page_as(server, false, headers)
}

/// A script's, which buffers properly.
pub(crate) fn script(server: &Server) -> Flow {
    page(server, SCRIPT_HEADERS)
}

/// A page's that has opted in or not: `ready` differs in length.
pub(crate) fn page_as(server: &Server, is_opted_in: bool, headers: &str) -> Flow {
    let query = if is_opted_in { "?resume=1" } else { "" };
    let request = opening_at(&format!("/web{query}"), headers);
    Flow::open_until(server, &request, |answer| answer.ends_with(b"\"}")).0
}

/// What makes a connection that of a script which buffers properly.
pub(crate) const SCRIPT_HEADERS: &str = "Client-Type: php\r\nX-Websock-Frames: stream\r\n";

pub(crate) fn opening(headers: &str) -> Vec<u8> {
    opening_at("/web", headers)
}

pub(crate) fn opening_at(path: &str, headers: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
    .into_bytes()
}

/// A packet of about `len` bytes.
pub(crate) fn packet(opcode: &str, ident: &str, len: usize) -> String {
    let ident = if ident.is_empty() {
        String::new()
    } else {
        format!(r#""ident":"{ident}","#)
    };
    let frame = format!(r#"{{"opcode":"{opcode}",{ident}"message":""}}"#).len();
    let text = "x".repeat(len.saturating_sub(frame));
    format!(r#"{{"opcode":"{opcode}",{ident}"message":"{text}"}}"#)
}

pub(crate) fn masked(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode_masked(Opcode::Text, [1, 2, 3, 4], payload, &mut bytes);
    bytes
}

/// What the program is started with, but for its address.
pub(crate) const QUIET: &str = "loglevel=warn\n";

/// Length of the 101, of the frames of `ready` and `next`.
pub(crate) const HEAD_LEN: usize = 129;
pub(crate) const READY_LEN: usize = 66;

/// The response to a push that has reached one client.
pub(crate) const PUSHED: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
    X-Content-Type-Options: nosniff\r\nContent-Length: 16\r\n\r\n{\"delivered\":1}\n";

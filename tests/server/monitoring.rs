//! `/ready`, `/metrics` and `/status`: who is told, and that what is counted is what has happened.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::SystemTime;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rustix::process::Signal;

use crate::harness::events::{self, EVENT_SOURCE, Events};
use crate::harness::frame::{close_payload, masked, unmasked};
use crate::harness::http::Response;
use crate::harness::{Conn, Request, Server, connect, connect_to, connect_to_file, eventually};

const TOKEN: &str = "0123456789abcdef";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Sends a request head, and a body if there is one; reads the whole answer.
#[track_caller]
fn ask_by(conn: &mut Conn, line: &str, headers: &str, body: &str) -> Response {
    let length = match body {
        "" => String::new(),
        body => format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        ),
    };
    let head = format!("{line} HTTP/1.1\r\n{headers}{length}\r\n{body}");
    conn.send_bytes(head.as_bytes());
    conn.read_response()
}

#[track_caller]
fn ask(server: &Server, line: &str, headers: &str) -> Response {
    ask_by(&mut connect(server), line, headers, "")
}

const LOCAL: &str = "Host: localhost\r\n";
const OUTSIDE: &str = "Host: localhost\r\nX-Forwarded-For: 198.51.100.1\r\n";

/// What a server counts, asked on a connection of its own that stays.
struct Figures {
    conn: Conn,
    last: BTreeMap<String, f64>,
}

impl Figures {
    /// Starts a server with a Unix socket for its status.
    #[track_caller]
    fn start(ini: &str) -> (Server, Self) {
        let server = Server::start(&format!("status=unix:{{dir}}/status.sock\n{ini}"));
        server.wait_for_log("Status and metrics: unix:");
        let conn = connect_to_file(&socket_of(&server));
        let mut figures = Self {
            conn,
            last: BTreeMap::new(),
        };
        figures.take();
        (server, figures)
    }

    #[track_caller]
    fn take(&mut self) -> BTreeMap<String, f64> {
        let response = ask_by(&mut self.conn, "GET /metrics", LOCAL, "");
        assert_eq!(response.status(), 200, "{response:?}");
        let lines = response.body.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        };
        let now: BTreeMap<String, f64> = lines.map(sample).collect();
        std::mem::replace(&mut self.last, now)
    }

    /// What has been counted since the last time, but for what asking for it brings about.
    #[track_caller]
    fn grown(&mut self) -> BTreeMap<String, i64> {
        let before = self.take();
        let change = |(name, now): (&String, &f64)| {
            let before = before.get(name).copied().unwrap_or(0.0);
            (name.clone(), (now - before) as i64)
        };
        let is_of_asking = |name: &str| {
            let own = [
                "process_",
                "websock_network_",
                "websock_turn_",
                "websock_memory_",
            ];
            own.iter().any(|prefix| name.starts_with(prefix))
        };
        let grown = self.last.iter().map(change);
        grown
            .filter(|(name, change)| *change != 0 && !is_of_asking(name))
            .collect()
    }

    /// Waits until so many clients have gone, and says what has been counted meanwhile.
    #[track_caller]
    fn expect(&mut self, what: &str, expected: &[(&str, i64)]) {
        let expected: BTreeMap<String, i64> = expected
            .iter()
            .map(|(name, count)| (format!("websock_{name}"), *count))
            .collect();
        assert_eq!(self.grown(), expected, "{what}");
    }

    #[track_caller]
    fn value(&mut self, name: &str) -> f64 {
        self.take();
        *self.last.get(name).unwrap_or_else(|| panic!("no {name}"))
    }
}

fn socket_of(server: &Server) -> PathBuf {
    server.directory().join("status.sock")
}

/// Sends a message and reads its `next`, and nothing else.
#[track_caller]
fn say(conn: &mut Conn, message: &str) {
    conn.send_text(message);
    conn.expect_next();
}

/// A client on `/web`, with its end: nothing but what happens in between is to be seen.
const CLIENT: [(&str, i64); 2] = [
    ("connections_accepted_total", 1),
    ("clients_opened_total{kind=\"web\"}", 1),
];

const READY_LEN: i64 = 64;
const NEXT_LEN: i64 = 26;

// promise: counters are what has happened, exactly
#[test]
fn messages_and_frames_are_counted_however_they_come() {
    let (server, mut figures) = Figures::start("");
    let mut conn = server.web();
    let opened = [
        CLIENT[0],
        CLIENT[1],
        ("connections{kind=\"web\"}", 1),
        ("messages_sent_total{opcode=\"text\"}", 1),
        ("messages_sent_bytes_total{opcode=\"text\"}", READY_LEN),
        ("frames_sent_total{opcode=\"text\"}", 1),
    ];
    figures.expect("a client opens", &opened);

    let echo = r#"{"opcode":"echo","message":"ä"}"#;
    let len = echo.len() as i64;
    say(&mut conn, echo);
    conn.expect_text(echo);
    let text = [
        ("messages_received_total{opcode=\"text\"}", 1),
        ("messages_received_bytes_total{opcode=\"text\"}", len),
        ("frames_received_total{opcode=\"text\"}", 1),
        ("messages_sent_total{opcode=\"text\"}", 2),
        ("messages_sent_bytes_total{opcode=\"text\"}", NEXT_LEN + len),
        ("frames_sent_total{opcode=\"text\"}", 2),
    ];
    figures.expect("one frame", &text);

    // Three fragments, a ping between them, and a message that comes byte by byte.
    let (one, rest) = echo.split_at(9);
    let (two, three) = rest.split_at(9);
    conn.send_bytes(&masked(0x01, one.as_bytes()));
    conn.send_bytes(&masked(0x00, two.as_bytes()));
    conn.send_ping(b"12");
    conn.send_bytes(&masked(0x80, three.as_bytes()));
    conn.expect_pong(b"12");
    conn.expect_next();
    conn.expect_text(echo);
    let fragments = [
        ("frames_received_total{opcode=\"continuation\"}", 2),
        ("frames_received_total{opcode=\"ping\"}", 1),
        ("frames_sent_total{opcode=\"pong\"}", 1),
    ];
    figures.expect("fragments", &[&text[..], &fragments].concat());

    for byte in masked(0x82, b"ping") {
        conn.send_bytes(&[byte]);
    }
    conn.expect_next();
    conn.send_pong(b"unasked");
    conn.send_ping(b"seen");
    conn.expect_pong(b"seen");
    let mut grown = figures.grown();
    let handled = grown.remove("websock_frames_received_total{opcode=\"ping\"}");
    assert_eq!(
        handled,
        grown.remove("websock_frames_sent_total{opcode=\"pong\"}")
    );
    let expected = [
        ("websock_messages_received_total{opcode=\"binary\"}", 1),
        (
            "websock_messages_received_bytes_total{opcode=\"binary\"}",
            4,
        ),
        ("websock_frames_received_total{opcode=\"binary\"}", 1),
        ("websock_frames_received_total{opcode=\"pong\"}", 1),
        ("websock_messages_sent_total{opcode=\"text\"}", 1),
        (
            "websock_messages_sent_bytes_total{opcode=\"text\"}",
            NEXT_LEN,
        ),
        ("websock_frames_sent_total{opcode=\"text\"}", 1),
    ];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(grown, BTreeMap::from(expected));
}

// promise: counters are what has happened, exactly
#[test]
fn bytes_on_the_wire_are_counted_both_ways() {
    let (server, mut figures) = Figures::start("");
    let (received, sent) = (
        "websock_network_received_bytes_total",
        "websock_network_sent_bytes_total",
    );
    let request = format!("GET /metrics HTTP/1.1\r\n{LOCAL}\r\n").len() as f64;
    // A request counts once it has been read, so the next one tells of it.
    let before = figures.value(received);
    assert_eq!(figures.value(received) - before, request);
    let before = figures.value(received);
    let mut conn = server.web();
    let upgrade = Request::to("/web").bytes().len();
    let echo = r#"{"opcode":"echo"}"#;
    let frame = masked(0x81, echo.as_bytes());
    conn.send_bytes(&frame);
    conn.expect_next();
    conn.expect_text(echo);
    let grown = figures.value(received) - before;
    assert_eq!(grown, request + (upgrade + frame.len()) as f64);

    let before = figures.value(sent);
    let response = {
        figures.take();
        figures.last[sent] - before
    };
    assert!(response > 1_000.0, "{response}");
    let before = figures.value(sent);
    conn.send_bytes(&frame);
    conn.expect_next();
    conn.expect_text(echo);
    let answers = (2 + NEXT_LEN) as f64 + (2 + echo.len()) as f64;
    let grown = figures.value(sent) - before - answers;
    // The response before may be some digits longer or shorter.
    assert!((grown - response).abs() < 100.0, "{grown} {response}");
}

// promise: counters are what has happened, exactly
#[test]
fn deliveries_count_queues_and_pushes_their_responses() {
    let (server, mut figures) = Figures::start("");
    let mut pages = [server.web(), server.web(), server.web()];
    let mut named = server.web_named("till-7");
    figures.take();
    let broadcast = r#"{"opcode":"broadcast"}"#;
    let len = broadcast.len() as i64;
    say(&mut pages[0], broadcast);
    pages[1].expect_text(broadcast);
    pages[2].expect_text(broadcast);
    named.expect_text(broadcast);
    figures.expect(
        "a broadcast",
        &[
            ("deliveries_total{to=\"many\",result=\"queued\"}", 3),
            ("messages_received_total{opcode=\"text\"}", 1),
            ("messages_received_bytes_total{opcode=\"text\"}", len),
            ("frames_received_total{opcode=\"text\"}", 1),
            ("messages_sent_total{opcode=\"text\"}", 4),
            (
                "messages_sent_bytes_total{opcode=\"text\"}",
                3 * len + NEXT_LEN,
            ),
            ("frames_sent_total{opcode=\"text\"}", 4),
        ],
    );
    let mut conn = connect(&server);
    figures.take();
    let feedback = r#"{"opcode":"feedback","ident":"till-7"}"#;
    let nobody = r#"{"opcode":"feedback","ident":"till-8"}"#;
    for (body, status) in [(feedback, 200), (nobody, 404), ("{", 400)] {
        let response = ask_by(&mut conn, "POST /push", LOCAL, body);
        assert_eq!(response.status(), status, "{response:?}");
    }
    named.expect_text(feedback);
    let mut other = connect(&server);
    let response = ask_by(&mut other, "POST /push", OUTSIDE, feedback);
    assert_eq!(response.status(), 403);
    assert_eq!(ask(&server, "GET /push", LOCAL).status(), 405);
    let proxy = "Scripts are not allowed through a proxy unless trustedProxies names it";
    let mut grown = figures.grown();
    grown.retain(|name, _| !name.starts_with("websock_connections"));
    let len = feedback.len() as i64;
    let refused = format!("refusals_total{{code=\"403\",reason=\"{proxy}\"}}");
    let expected = [
        ("deliveries_total{to=\"one\",result=\"queued\"}", 1),
        ("messages_sent_total{opcode=\"text\"}", 1),
        ("messages_sent_bytes_total{opcode=\"text\"}", len),
        ("frames_sent_total{opcode=\"text\"}", 1),
        ("push_responses_total{status=\"200\"}", 1),
        ("push_responses_total{status=\"400\"}", 1),
        ("push_responses_total{status=\"403\"}", 1),
        ("push_responses_total{status=\"404\"}", 1),
        ("push_responses_total{status=\"405\"}", 1),
        (&refused, 1),
    ];
    let expected = expected.map(|(name, count)| (format!("websock_{name}"), count));
    assert_eq!(grown, BTreeMap::from(expected));
}

// promise: counters are what has happened, exactly
// promise: reasons have the same words in figures, log and close frame
#[test]
fn each_client_that_goes_is_counted_once_under_the_reason_of_its_close_frame() {
    let (server, mut figures) =
        Figures::start("maxFragments=2\nmaxControlFrames=2\nmaxMessageSize=1K");
    let large = masked(0x81, &[b'x'; 1025]);
    let frames = |first: &[u8], count: usize| first.repeat(count);
    for (bytes, code) in [
        (unmasked(0x81, b"a"), 1002),
        (masked(0xC1, b"a"), 1002),
        (masked(0x83, b"a"), 1002),
        (masked(0x09, b"a"), 1002),
        (masked(0x80, b"a"), 1002),
        (masked(0x88, b"a"), 1002),
        (masked(0x88, &close_payload(1005, b"")), 1002),
        (masked(0x81, b"\xFF"), 1007),
        (large, 1009),
        (
            [masked(0x01, b"a"), masked(0x00, b"b"), masked(0x00, b"c")].concat(),
            1009,
        ),
        (frames(&masked(0x8A, b""), 3), 1008),
        (masked(0x81, b"no JSON"), 1007),
        (masked(0x81, br#"{"opcode":"quit"}"#), 1000),
    ] {
        let mut conn = server.web();
        figures.take();
        conn.send_bytes(&bytes);
        let reason = conn.expect_close_perhaps_behind_next(code);
        let reason = reason.split(':').next().unwrap_or_default().to_owned();
        let grown = figures.grown();
        let closings: Vec<_> = grown
            .iter()
            .filter(|(name, _)| name.contains("closings"))
            .collect();
        let name = format!("websock_closings_total{{code=\"{code}\",reason=\"{reason}\"}}");
        assert_eq!(closings, [(&name, &1)], "{reason}");
        assert_eq!(grown["websock_connections{kind=\"web\"}"], -1, "{reason}");
        // What the client does then changes nothing.
        drop(conn);
        let after = figures.grown();
        assert!(
            !after.keys().any(|name| name.contains("closings")),
            "{after:?}"
        );
        if code != 1000 && !reason.contains("JSON") {
            server.wait_for_log(&reason);
        }
    }
}

// promise: counters are what has happened, exactly
#[test]
fn clients_that_leave_are_counted_by_how_they_do() {
    let (server, mut figures) = Figures::start("pingInterval=3\npongTimeout=1");
    let closed = |code: &str| {
        format!("websock_closings_total{{code=\"{code}\",reason=\"closed by the client\"}}")
    };
    let lost = "websock_closings_total{code=\"1006\",reason=\"lost\"}";
    let no_pong =
        "websock_closings_total{code=\"1006\",reason=\"did not answer in time: over pongTimeout\"}";
    let mut total = 0.0;
    // No code makes a series of its own but those of RFC 6455.
    for (code, shown) in [
        (1000, "1000"),
        (1001, "1001"),
        (3000, "3000"),
        (3123, "3000"),
        (4999, "4000"),
    ] {
        let mut conn = server.web();
        let before = figures.last.get(&closed(shown)).copied().unwrap_or(0.0);
        conn.send_close(code, "");
        conn.expect_close(code);
        conn.expect_end();
        assert_eq!(figures.value(&closed(shown)), before + 1.0, "{code}");
        total += 1.0;
    }
    let mut conn = server.web();
    conn.send_bytes(&masked(0x88, b""));
    drop(conn.read_to_end());
    assert_eq!(figures.value(&closed("1005")), 1.0);
    server.web().reset();
    eventually("a reset counts", || figures.value(lost) == 1.0);
    let mut silent = server.web();
    silent.expect_ping();
    silent.expect_end();
    assert_eq!(figures.value(no_pong), 1.0);
    let all = figures
        .last
        .iter()
        .filter(|(name, _)| name.contains("closings"));
    assert_eq!(all.map(|(_, count)| count).sum::<f64>(), total + 3.0);
    assert_eq!(
        figures.last["websock_clients_opened_total{kind=\"web\"}"],
        total + 3.0
    );
    assert_eq!(figures.last["websock_connections{kind=\"web\"}"], 0.0);
}

// promise: counters are what has happened, exactly
// protocol.md 9.9
#[test]
fn who_reads_a_stream_of_events_counts_as_a_web_client() {
    let (server, mut figures) = Figures::start("");
    let open = "websock_connections{kind=\"web\"}";
    let mut events = Events::open(&server, "/sse", EVENT_SOURCE);
    assert_eq!(figures.value(open), 1.0);
    events.round_trip(&server);
    let closed = "websock_closings_total{code=\"1005\",reason=\"closed by the client\"}";
    events.conn.shut_down_write();
    events.conn.expect_end();
    eventually("it has gone", || figures.value(open) == 0.0);
    assert_eq!(figures.value(closed), 1.0);
    let refused = "websock_refusals_total{code=\"403\",\
                   reason=\"no stream of events has this uuid and secret\"}";
    let wrong = events::body(&events.uuid, &events.secret, "ping");
    assert_eq!(events::post(&server, &wrong, "").status(), 403);
    assert_eq!(figures.value(refused), 1.0);
    let opened = "websock_clients_opened_total{kind=\"web\"}";
    assert_eq!(figures.last[opened], 1.0);
}

// promise: reasons have the same words in figures, log and close frame
#[test]
fn refusals_are_counted_under_the_words_of_the_log() {
    let (server, mut figures) =
        Figures::start("allowedOrigins=https://shop.example\nmaxPerIP=1\nallowedIP=192.0.2.1");
    let origin = |request: Request| request.with("Origin", "https://shop.example");
    let _first = connect(&server).open(&origin(Request::to("/web")));
    figures.take();
    for (request, code, words) in [
        (Request::to("/web"), 403, "The origin is not allowed"),
        (
            origin(Request::to("/web").without("Sec-WebSocket-Key")),
            400,
            "Sec-WebSocket-Key is missing",
        ),
        (
            Request::php("/php"),
            403,
            "Client-Type php is not allowed from this address",
        ),
        (
            origin(Request::to("/web")),
            1008,
            "Too many connections from",
        ),
    ] {
        let mut conn = connect(&server);
        conn.send_bytes(&request.bytes());
        let response = conn.read_response();
        if code < 1000 {
            assert_eq!(response.status(), code, "{words}");
        }
        let grown = figures.grown();
        let refused: Vec<_> = grown
            .iter()
            .filter(|(name, _)| name.contains("refusals"))
            .collect();
        let [(name, 1)] = refused.as_slice() else {
            panic!("{words}: {grown:?}");
        };
        assert!(name.contains(&format!("code=\"{code}\"")), "{name}");
        let (_, reason) = name.split_once("reason=\"").expect("a reason");
        let reason = reason.trim_end_matches("\"}");
        assert!(reason.starts_with(words), "{reason}");
        server.wait_for_log(reason);
    }
}

// promise: /ready tells load balancers whether to send anybody
#[test]
fn ready_is_no_while_newcomers_are_turned_away() {
    let server = Server::start("maxClients=2");
    let ready = |line: &str| {
        let mut conn = connect(&server);
        conn.send_bytes(format!("{line}\r\n\r\n").as_bytes());
        if line.starts_with("HEAD") {
            conn.shut_down_write();
            return Response::parse(&conn.read_to_end()).status();
        }
        conn.read_response().status()
    };
    let lines = [
        "GET /ready HTTP/1.0",
        "HEAD /ready HTTP/1.0",
        "GET /ready?drain=404 HTTP/1.0",
    ];
    let one = server.web();
    assert_eq!(lines.map(ready), [200; 3]);
    let two = server.web();
    assert_eq!(
        lines.map(ready),
        [503; 3],
        "404 is for a server that drains"
    );
    let response = ask(&server, "GET /ready", LOCAL);
    assert_eq!(
        response.body,
        "maxClients is reached: newcomers are turned away\n"
    );
    assert_eq!(ask(&server, "GET /health", LOCAL).status(), 200);
    two.close();
    assert_eq!(lines.map(ready), [200; 3]);
    one.close();
    assert_eq!(ready("PUT /ready HTTP/1.0"), 405);
    assert_eq!(ask(&server, "GET /ready", OUTSIDE).status(), 403);
}

// promise: /ready tells load balancers whether to send anybody
#[test]
fn a_server_that_is_about_to_stop_is_not_ready_and_is_well() {
    let (server, _) = Figures::start("drainDelay=60");
    let page = server.web();
    let status = |line: &str| ask(&server, line, LOCAL).status();
    assert_eq!(status("GET /ready"), 200);
    server.signal(Signal::TERM);
    eventually("/ready changes", || status("GET /ready") == 503);
    assert_eq!(status("GET /ready?drain=404"), 404);
    assert_eq!(status("GET /health"), 200);
    let mut conn = connect_to_file(&socket_of(&server));
    let metrics = ask_by(&mut conn, "GET /metrics", LOCAL, "").body;
    assert!(metrics.contains("\nwebsock_ready 0\n"), "{metrics}");
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0));
    drop(page);
}

// promise: figures are told where push is allowed, and on addresses of their own
#[test]
fn figures_are_told_to_those_who_may_push_and_to_nobody_else() {
    let server = Server::start("allowedOrigins=https://shop.example");
    let elsewhere = Server::start("allowedIP=192.0.2.1");
    let trusting = Server::start("trustedProxies=127.0.0.1\nallowedIP=192.0.2.1,127.0.0.1");
    let token = Server::start(&format!("pushToken={TOKEN}"));
    let bearer = format!("Host: evil.example\r\nAuthorization: Bearer {TOKEN}\r\n");
    let web = Server::start("adress=ws://127.0.0.1:0 web");
    let scripts = Server::start("adress=ws://127.0.0.1:0 scripts");
    let evil = "Host: evil.example\r\n";
    let page = "Host: localhost\r\nOrigin: https://evil.example\r\n";
    let shop = "Host: localhost\r\nOrigin: https://shop.example\r\n";
    let own_page = "Host: localhost:80\r\nOrigin: http://localhost:80\r\n";
    let inside = "Host: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n";
    for path in [
        "/metrics",
        "/status",
        "/status.json",
        "/status.js",
        "/status.css",
    ] {
        for (name, server, headers, status) in [
            ("loopback", &server, LOCAL, 200),
            ("a proxy that is not trusted", &server, OUTSIDE, 403),
            ("Via", &server, "Host: localhost\r\nVia: 1.1 a\r\n", 403),
            ("another name (DNS rebinding)", &server, evil, 403),
            ("a page of another site", &server, page, 403),
            ("a page that may push", &server, shop, 403),
            ("the page itself", &server, own_page, 200),
            ("another address", &elsewhere, LOCAL, 403),
            ("a proxy for somebody outside", &trusting, OUTSIDE, 403),
            ("a proxy for somebody inside", &trusting, inside, 200),
            ("without the token", &token, LOCAL, 200),
            ("another name, with the token", &token, &bearer, 200),
            ("another name, without it", &token, evil, 403),
            ("a listener for pages", &web, LOCAL, 403),
            ("a listener for scripts", &scripts, LOCAL, 200),
        ] {
            let response = ask(server, &format!("GET {path}"), headers);
            assert_eq!(response.status(), status, "{name}: {path} {response:?}");
            let is_shared = response.header("Access-Control-Allow-Origin").is_some();
            assert!(!is_shared, "{name}: {path}");
        }
    }
    let response = ask(&server, "GET /status", LOCAL);
    let policy = response
        .header("Content-Security-Policy")
        .expect("a policy");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(
        !policy.contains("unsafe") && !policy.contains("ws:"),
        "{policy}"
    );
    assert_eq!(ask(&server, "POST /metrics", LOCAL).status(), 405);
}

// promise: figures are told where push is allowed, and on addresses of their own
#[test]
fn an_address_for_the_status_tells_it_to_everybody_and_does_nothing_else() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("its address");
    drop(free);
    let server = Server::start(&format!(
        "status=http://{address}\nallowedIP=192.0.2.1\ndemo=on\npushToken={TOKEN}"
    ));
    server.wait_for_log(&format!("Status and metrics: http://{address}/status"));
    let own = format!("Host: {address}\r\n");
    for (line, headers, status) in [
        ("GET /metrics", own.as_str(), 200),
        ("GET /status", LOCAL, 200),
        ("GET /status.json", &own, 200),
        ("GET /ready", "Host: pod-7\r\n", 200),
        ("GET /health", "Host: pod-7\r\n", 200),
        ("GET /metrics", "Host: evil.example\r\n", 403),
        ("GET /metrics", OUTSIDE, 403),
        ("GET /", LOCAL, 403),
        ("GET /websock.js", LOCAL, 403),
        ("GET /users/7", LOCAL, 403),
        ("GET /nothing", LOCAL, 403),
        ("OPTIONS /push", LOCAL, 403),
    ] {
        let response = ask_by(&mut connect_to(address), line, headers, "");
        assert_eq!(response.status(), status, "{line} {headers}: {response:?}");
    }
    let bearer = format!("{LOCAL}Authorization: Bearer {TOKEN}\r\n");
    let body = r#"{"opcode":"broadcast"}"#;
    let push = ask_by(&mut connect_to(address), "POST /push", &bearer, body);
    assert_eq!(push.status(), 403);
    for request in [
        Request::to("/web"),
        Request::php(&format!("/php?token={TOKEN}")),
    ] {
        assert_eq!(connect_to(address).request(&request).status(), 403);
    }
}

// promise: figures are told where push is allowed, and on addresses of their own
#[test]
fn a_connection_is_closed_from_the_status_page_with_the_token_only() {
    let (server, mut figures) = Figures::start(&format!("pushToken={TOKEN}"));
    let mut page = server.web();
    let mut other = server.web();
    let status = ask_by(
        &mut figures.conn,
        "GET /status.json?address=127.0.0.1",
        LOCAL,
        "",
    )
    .body;
    assert!(status.contains(r#""canClose":true"#), "{status}");
    let clients: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let clients = clients["audience"]["clients"].as_array().expect("clients");
    assert_eq!(clients.len(), 2);
    let id = clients[0]["id"].as_str().expect("an id");
    let body = format!(r#"{{"id":"{id}"}}"#);
    let bearer = |token: &str| format!("{LOCAL}Authorization: Bearer {token}\r\n");
    let query = format!("POST /status/close?token={TOKEN}");
    let page_of = |origin: &str| format!("{}Origin: {origin}\r\n", bearer(TOKEN));
    for (line, headers, body, code) in [
        ("POST /status/close", LOCAL, body.as_str(), 401),
        (query.as_str(), LOCAL, &body, 401),
        (
            "POST /status/close",
            &bearer("fedcba9876543210"),
            &body,
            401,
        ),
        (
            "POST /status/close",
            &page_of("https://evil.example"),
            &body,
            403,
        ),
        ("POST /status/close", &bearer(TOKEN), "{}", 400),
        (
            "POST /status/close",
            &bearer(TOKEN),
            r#"{"id":"900-1"}"#,
            404,
        ),
        (
            "POST /status/close",
            &page_of("http://localhost"),
            &body,
            200,
        ),
        ("POST /status/close", &bearer(TOKEN), &body, 404),
    ] {
        let mut conn = connect(&server);
        let response = ask_by(&mut conn, line, headers, body);
        assert_eq!(
            response.status(),
            code,
            "{line} {headers} {body}: {response:?}"
        );
    }
    assert_eq!(page.expect_close(1008), "closed by the administrator");
    other.round_trip();
    let closed = "websock_closings_total{code=\"1008\",reason=\"closed by the administrator\"}";
    assert_eq!(figures.value(closed), 1.0);
    let without = Server::start("");
    let mut conn = connect(&without);
    let response = ask_by(&mut conn, "POST /status/close", &bearer(TOKEN), &body);
    assert_eq!(response.status(), 403);
    assert!(
        response.body.contains("only if pushToken is set"),
        "{response:?}"
    );
}

// promise: figures are told where push is allowed, and on addresses of their own
#[test]
fn users_and_their_tabs_are_shown() {
    let (server, mut figures) = Figures::start(&format!("authKey={SECRET}\ndemo=off"));
    let claims = |user: &str| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let exp = since.expect("a clock that runs").as_secs() + 600;
        serde_json::json!({"sub": user, "exp": exp, "aud": "websock"})
    };
    let tab = |user: &str| {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let token = encode(
            &Header::new(Algorithm::HS256),
            &claims(user),
            &key.expect("a key"),
        );
        let cookie = format!("websock_token={}", token.expect("a token"));
        server.open(&Request::to("/web").with("Cookie", &cookie))
    };
    let mut tabs = [tab("Jürgen"), tab("Jürgen"), tab("<b>7</b>")];
    let _anonymous = server.web();
    assert_eq!(figures.value("websock_users"), 2.0);
    let ask = |conn: &mut Conn, query: &str| {
        let line = format!("GET /status.json{query}");
        let body = ask_by(conn, &line, LOCAL, "").body;
        let status: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        status["audience"].clone()
    };
    let all = ask(&mut figures.conn, "");
    assert_eq!(all["userCount"], 2);
    assert_eq!(
        (&all["users"][0]["name"], &all["users"][0]["count"]),
        (&"Jürgen".into(), &2.into())
    );
    assert_eq!(all["clientCount"], 4);
    let his = ask(&mut figures.conn, "?user=J%C3%BCrgen");
    assert_eq!(his["clientCount"], 2);
    assert_eq!(his["clients"][0]["user"], "Jürgen");
    assert_eq!(ask(&mut figures.conn, "?user=nobody")["clientCount"], 0);
    tabs.iter_mut().for_each(Conn::round_trip);
}

// promise: the last warnings of the log are on the status page
#[test]
fn the_status_has_the_last_warnings_as_they_were_logged() {
    let (server, mut figures) = Figures::start("maxQueue=64K");
    let mut deaf = server.web();
    let broadcast = format!(
        r#"{{"opcode":"broadcast","message":"{}"}}"#,
        "x".repeat(60_000)
    );
    let mut speaker = server.web();
    // The kernel takes some megabytes before the queue grows.
    eventually("a queue is full", || {
        say(&mut speaker, &broadcast);
        server
            .log_lines()
            .iter()
            .any(|line| line.contains("maxQueue"))
    });
    let line = server.wait_for_log("maxQueue");
    let status = ask_by(&mut figures.conn, "GET /status.json", LOCAL, "").body;
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let log = status["log"].as_array().expect("lines");
    assert!(
        log.iter().any(|shown| shown.as_str() == Some(&line)),
        "{log:?}"
    );
    let full = "websock_deliveries_total{to=\"many\",result=\"full\"}";
    assert_eq!(figures.value(full), 1.0);
    let closed =
        "websock_closings_total{code=\"1008\",reason=\"more than maxQueue bytes wait to be read\"}";
    assert_eq!(figures.last[closed], 1.0);
    assert!(figures.last["websock_queue_longest_bytes"] > 60_000.0);
    deaf.wait_for_answer();
}

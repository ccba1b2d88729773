//! Streams of events for those who cannot speak WebSocket (protocol.md 9.9).

use rustix::process::Signal;

use crate::harness::client::NEXT;
use crate::harness::events::{
    EVENT_SOURCE, Event, Events, body, parse, post, post_request, request,
};
use crate::harness::http::Response;
use crate::harness::{Conn, Request, Server, connect, eventually};

/// Sends a request and reads the whole answer, which has a length.
#[track_caller]
pub(crate) fn ask(server: &Server, request: &str) -> Response {
    let mut conn = connect(server);
    conn.send_bytes(request.as_bytes());
    if request.starts_with("HEAD ") {
        let answer = conn.read_to_end();
        assert!(answer.ends_with(b"\r\n\r\n"), "a body for HEAD");
        return Response::parse(&answer);
    }
    conn.read_response()
}

/// Reads a stream that does not let anybody in: what it says, its `retry` first, until it ends.
#[track_caller]
pub(crate) fn turned_away(server: &Server, request: &str) -> (u64, Vec<Event>) {
    let mut conn = connect(server);
    conn.send_bytes(request.as_bytes());
    let head = conn.read_head();
    assert_eq!(head.status(), 200, "{head:?}");
    assert_eq!(head.header("Content-Type"), Some("text/event-stream"));
    let rest = String::from_utf8(conn.read_to_end()).expect("UTF-8");
    let blocks = rest
        .strip_suffix("\n\n")
        .expect("whole events")
        .split("\n\n");
    let events = blocks.map(|block| parse(block.as_bytes()));
    let mut events: Vec<Event> = events.collect();
    let retry = events.remove(0).retry.expect("when to come back");
    (retry, events)
}

pub(crate) fn message(data: &str) -> Event {
    Event {
        data: Some(data.to_owned()),
        ..Event::default()
    }
}

pub(crate) fn closing(code: u16, reason: &str) -> Event {
    Event {
        name: "close".to_owned(),
        ..message(&format!(r#"{{"code":{code},"reason":"{reason}"}}"#))
    }
}

/// Pushes a packet; the status and what the answer says.
#[track_caller]
pub(crate) fn push(server: &Server, packet: &str) -> (u16, String) {
    let len = packet.len();
    let response = ask(
        server,
        &format!(
            "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {len}\r\n\r\n{packet}"
        ),
    );
    (response.status(), response.body.trim_end().to_owned())
}

// protocol.md 9.9
#[test]
fn a_stream_is_a_response_that_goes_on_and_ready_comes_first() {
    let server = Server::start("");
    for request in [
        request("/sse", EVENT_SOURCE),
        // curl -N
        request("/sse?a=b", "User-Agent: curl/8\r\nAccept: */*\r\n"),
        request("/sse", ""),
        "GET /sse HTTP/1.0\r\n\r\n".to_owned(),
        "GET /sse HTTP/1.0\r\nConnection: keep-alive\r\nHost: a\r\n\r\n".to_owned(),
        request(
            "/sse",
            "Connection: close\r\nClient-Type: php\r\nIdent: a\r\n",
        ),
    ] {
        let mut events = Events::begin(connect(&server), &request);
        let header = |name| events.head.header(name);
        assert_eq!(header("Content-Type"), Some("text/event-stream"));
        assert_eq!(header("Cache-Control"), Some("no-store, no-transform"));
        assert_eq!(header("X-Accel-Buffering"), Some("no"));
        assert_eq!(header("Connection"), Some("close"));
        for other in [
            "Content-Length",
            "Transfer-Encoding",
            "Access-Control-Allow-Origin",
        ] {
            assert_eq!(header(other), None, "{request}");
        }
        let (uuid, secret) = (&events.uuid, &events.secret);
        let expected = format!(r#"{{"opcode":"ready","uuid":"{uuid}","send":"{secret}"}}"#);
        assert_eq!(events.ready, expected);
        assert_eq!(secret.len(), 32, "128 bits in hexadecimal");
        events.round_trip(&server);
    }
    server.wait_for_log("ClientType:sse");
}

// protocol.md 9.9
#[test]
fn feedback_and_broadcasts_reach_a_stream_as_they_reach_a_page() {
    let server = Server::start("");
    let (mut one, mut other) = (
        Events::open(&server, "/sse", EVENT_SOURCE),
        Events::open(&server, "/sse", ""),
    );
    let (mut page, mut script) = (server.web(), server.php());
    let feedback = format!(r#"{{"opcode":"feedback","uuid":"{}","n":1}}"#, one.uuid);
    assert_eq!(push(&server, &feedback), (200, r#"{"delivered":1}"#.into()));
    one.expect_text(&feedback);
    for sender in [&mut page, &mut script] {
        sender.send_for_next(&feedback);
        one.expect_text(&feedback);
    }
    let broadcast = r#"{"opcode":"broadcast","message":"ä€😀"}"#;
    let delivered = (200, r#"{"delivered":3}"#.to_owned());
    assert_eq!(push(&server, broadcast), delivered);
    page.expect_text(broadcast);
    page.send_for_next(broadcast);
    for stream in [&mut one, &mut other] {
        stream.expect_text(broadcast);
        stream.expect_text(broadcast);
    }
    let last = one.uuid.clone();
    one.conn.reset();
    eventually("the stream has gone", || {
        push(
            &server,
            &format!(r#"{{"opcode":"feedback","uuid":"{last}"}}"#),
        )
        .0 == 404
    });
    other.round_trip(&server);
}

// protocol.md 9.9
#[test]
fn line_ends_in_a_packet_are_blanks_and_nothing_in_it_passes_for_a_field() {
    let server = Server::start("");
    let mut events = Events::open(&server, "/sse", EVENT_SOURCE);
    let uuid = events.uuid.clone();
    for gap in ["\n", "\r\n", "\r", "\n\n", "\r\r\n\n"] {
        let fields = format!("{gap}event: close{gap}id: evil{gap}retry: 1{gap}data: x{gap}{gap}");
        // Blanks between the parts of JSON may be line ends; in its texts they cannot be.
        let packet = format!(r#"{{"opcode":"feedback",{gap}"uuid":"{uuid}","x":{gap}1{gap}}}"#);
        assert_eq!(push(&server, &packet).0, 200);
        let event = events.read();
        assert_eq!((&*event.name, &event.retry), ("", &None));
        let data: serde_json::Value =
            serde_json::from_str(&event.data.expect("data")).expect("JSON");
        assert_eq!(data["x"], 1);
        let hostile = serde_json::json!({"opcode": "feedback", "uuid": uuid, "x": fields});
        assert_eq!(push(&server, &hostile.to_string()).0, 200);
        let event = events.read();
        assert_eq!((&*event.name, &event.retry), ("", &None));
        let data: serde_json::Value =
            serde_json::from_str(&event.data.expect("data")).expect("JSON");
        assert_eq!(data["x"], fields);
    }
    let mut other = Events::open(&server, "/sse", EVENT_SOURCE);
    let long = |receiver: &str| {
        let (pad, gap) = ("x".repeat(100_000), "\n".repeat(1000));
        format!(r#"{{"opcode":{receiver},"x":"{pad}",{gap}"y":1}}"#)
    };
    // To several, and to one.
    let broadcast = long(r#""broadcast""#);
    assert_eq!(
        push(&server, &broadcast),
        (200, r#"{"delivered":2}"#.into())
    );
    for stream in [&mut events, &mut other] {
        let text = stream.read_text("a long one");
        assert!(text == broadcast.replace('\n', " "), "{} bytes", text.len());
    }
    let feedback = long(&format!(r#""feedback","uuid":"{uuid}""#));
    assert_eq!(push(&server, &feedback).0, 200);
    assert!(events.read_text("a long one") == feedback.replace('\n', " "));
    events.round_trip(&server);
}

// protocol.md 9.9
#[test]
fn long_texts_come_whole_and_in_order() {
    let server = Server::start("");
    let mut streams: Vec<Events> = (0..3)
        .map(|_| Events::open(&server, "/sse", EVENT_SOURCE))
        .collect();
    let packets: Vec<String> = [1, 1000, 1024, 20_000, 70_000, 3, 400_000, 0]
        .iter()
        .map(|len| format!(r#"{{"opcode":"broadcast","x":"{}"}}"#, "y".repeat(*len)))
        .collect();
    for packet in &packets {
        assert_eq!(push(&server, packet), (200, r#"{"delivered":3}"#.into()));
    }
    for stream in &mut streams {
        for packet in &packets {
            let text = stream.read_text("a broadcast");
            assert!(
                text == *packet,
                "{} bytes, not {}",
                text.len(),
                packet.len()
            );
        }
        stream.round_trip(&server);
    }
}

// protocol.md 9.9
#[test]
fn a_comment_is_the_heartbeat() {
    let server = Server::start("pingInterval=100ms\npongTimeout=100ms");
    let mut events = Events::open(&server, "/sse", EVENT_SOURCE);
    for _ in 0..4 {
        assert_eq!(events.read(), Event::default());
    }
    events.round_trip(&server);
    let silent = Server::start("pingInterval=0");
    let mut events = Events::open(&silent, "/sse", EVENT_SOURCE);
    events.round_trip(&silent);
}

// protocol.md 9.9
#[test]
fn other_methods_and_types_are_told_what_is_right() {
    let server = Server::start("");
    for (line, headers, status) in [
        ("GET /sse HTTP/1.1", "Accept: text/html\r\n", 406),
        (
            "GET /sse HTTP/1.1",
            "Accept: text/event-stream;q=0\r\n",
            406,
        ),
        ("HEAD /sse HTTP/1.1", "Accept: application/json\r\n", 406),
        ("POST /sse HTTP/1.1", "Content-Length: 0\r\n", 405),
        ("PUT /sse HTTP/1.1", "", 405),
        ("OPTIONS /sse HTTP/1.1", "", 204),
        ("GET /sse/ HTTP/1.1", "", 400),
        ("GET /SSE HTTP/1.1", "", 400),
        ("GET /sse HTTP/1.1", "Host: b\r\n", 400),
        ("GET /sse HTTP/1.1", "Transfer-Encoding: gzip\r\n", 501),
        ("HEAD /sse HTTP/1.1", "Connection: close\r\n", 200),
    ] {
        let mut head = format!("{line}\r\nHost: localhost\r\n{headers}\r\n");
        if line.starts_with("HEAD") && status != 200 {
            head = head.replace("Accept", "Connection: close\r\nAccept");
        }
        let response = ask(&server, &head);
        assert_eq!(response.status(), status, "{line} {headers}");
        match status {
            405 => assert_eq!(response.header("Allow"), Some("GET, HEAD, OPTIONS")),
            200 => {
                let content_type = response.header("Content-Type");
                assert_eq!(content_type, Some("text/event-stream"));
                assert_eq!(response.header("Content-Length"), None);
            }
            _ => {}
        }
    }
    // Nobody was let in.
    let mut page = server.web();
    page.send_for_next(r#"{"opcode":"broadcast"}"#);
    let delivered = push(&server, r#"{"opcode":"broadcast"}"#);
    assert_eq!(delivered, (200, r#"{"delivered":1}"#.into()));
}

// protocol.md 9.9
// protocol.md 1.6
#[test]
fn origins_are_those_of_pages_but_for_one_that_is_missing() {
    let open = Server::start("");
    let named = Server::start("allowedOrigins=https://shop.example,http://localhost");
    let cookie = Server::start("authUrl=http://127.0.0.1:9/\nauthTimeout=100ms");
    for (name, server, headers, expected) in [
        (
            "any",
            &open,
            "Origin: https://a.example\r\n",
            Ok("https://a.example"),
        ),
        ("none", &open, "", Ok("")),
        ("empty", &open, "Origin:\r\n", Ok("")),
        ("null", &open, "Origin: null\r\n", Ok("null")),
        ("own", &open, "Sec-Fetch-Site: same-origin\r\n", Ok("")),
        ("typed in", &open, "Sec-Fetch-Site: none\r\n", Ok("")),
        (
            "foreign image",
            &open,
            "Sec-Fetch-Site: cross-site\r\n",
            Err(403),
        ),
        (
            "sibling image",
            &open,
            "Sec-Fetch-Site: same-site\r\n",
            Err(403),
        ),
        (
            "named",
            &named,
            "Origin: https://shop.example\r\n",
            Ok("https://shop.example"),
        ),
        (
            "in capitals",
            &named,
            "Origin: HTTPS://SHOP.example\r\n",
            Ok("HTTPS://SHOP.example"),
        ),
        ("none", &named, "", Ok("")),
        (
            "foreign",
            &named,
            "Origin: https://shop.example.evil\r\n",
            Err(403),
        ),
        ("null", &named, "Origin: null\r\n", Err(403)),
        (
            "foreign",
            &cookie,
            "Origin: https://a.example\r\n",
            Err(403),
        ),
    ] {
        let request = request("/sse", &format!("{EVENT_SOURCE}{headers}"));
        match expected {
            Ok(shared) => {
                let events = Events::begin(connect(server), &request);
                let header = |header| events.head.header(header).unwrap_or_default();
                assert_eq!(header("Access-Control-Allow-Origin"), shared, "{name}");
                let (credentials, vary) = match shared {
                    "" => ("", ""),
                    _ => ("true", "Origin"),
                };
                assert_eq!(header("Access-Control-Allow-Credentials"), credentials);
                assert_eq!(header("Vary"), vary, "{name}");
            }
            Err(status) => assert_eq!(ask(server, &request).status(), status, "{name}"),
        }
    }
    for (origin, status) in [("https://shop.example", 204), ("https://evil.example", 403)] {
        let response = ask(
            &named,
            &format!(
                "OPTIONS /sse HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n\
                 Access-Control-Request-Method: GET\r\n\
                 Access-Control-Request-Headers: last-event-id\r\n\r\n"
            ),
        );
        assert_eq!(response.status(), status);
        if status == 204 {
            let header = |name| response.header(name);
            assert_eq!(header("Access-Control-Allow-Methods"), Some("GET"));
            assert_eq!(header("Access-Control-Allow-Credentials"), Some("true"));
            let headers = header("Access-Control-Allow-Headers").unwrap_or_default();
            assert!(headers.contains("Last-Event-ID"), "{headers}");
        }
    }
}

// protocol.md 9.9
// protocol.md 1.11
#[test]
fn limits_count_streams_and_who_finds_no_place_is_told_when_to_come_back() {
    for (ini, reason, code) in [
        ("maxClients=2", "Too many connections", 1013),
        ("maxPerIP=2", "Too many connections from: 127.0.0.1", 1008),
    ] {
        let server = Server::start(ini);
        let page = server.web();
        let stream = Events::open(&server, "/sse", EVENT_SOURCE);
        let (retry, events) = turned_away(&server, &request("/sse", EVENT_SOURCE));
        assert!((6000..=9000).contains(&retry), "{retry}");
        let packet = format!(r#"{{"opcode":"close","error":"{reason}"}}"#);
        assert_eq!(events, [message(&packet), closing(code, reason)]);
        // A program is told by a status.
        let response = ask(&server, &request("/sse", "Accept: */*\r\n"));
        assert_eq!(response.status(), 503);
        assert!(response.body.contains(reason), "{response:?}");
        let after = response.header("Retry-After").expect("when to come back");
        assert!(after.parse::<u32>().expect("seconds") > 0);
        let head = request("/sse", EVENT_SOURCE).replace("GET", "HEAD");
        let head = head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        assert_eq!(ask(&server, &head).status(), 503);
        let mut conn = connect(&server);
        conn.upgrade(&Request::to("/web"));
        conn.expect_text(&packet);
        // Its place is free when it has gone, by either kind.
        stream.conn.reset();
        eventually("a place", || {
            let mut conn = connect(&server);
            conn.send_bytes(request("/sse", "Accept: */*\r\n").as_bytes());
            conn.wait_for_answer().starts_with(b"HTTP/1.1 200")
        });
        drop(page);
    }
}

// protocol.md 9.9
// protocol.md 12.1
#[test]
fn at_the_end_streams_are_told_by_their_last_event() {
    let server = Server::start("drainSpread=100ms");
    let mut told = Events::open(&server, "/sse?user=1", EVENT_SOURCE);
    let mut other = Events::open(&server, "/sse", EVENT_SOURCE);
    server.signal(Signal::TERM);
    other.expect_close(1001, "the server is stopping");
    let packet = told.read_text("a restart");
    assert!(
        packet.starts_with(r#"{"opcode":"restart","after":"#),
        "{packet}"
    );
    told.expect_close(1012, "the server restarts");
    assert_eq!(server.wait_exit().code(), Some(0));
}

// protocol.md 9.9
// protocol.md 12.2
#[test]
fn while_the_server_ends_newcomers_are_told_when_to_come_back() {
    let server = Server::start("shutdownTimeout=10s");
    // It does not leave.
    let mut staying = server.web();
    server.signal(Signal::TERM);
    staying.expect_close(1001);
    let (retry, events) = turned_away(&server, &request("/sse", EVENT_SOURCE));
    assert!((3000..=6000).contains(&retry), "{retry}");
    assert_eq!((&*events[1].name, events.len()), ("close", 2));
    let response = ask(&server, &request("/sse", ""));
    assert_eq!(response.status(), 503);
    assert_eq!(response.header("Retry-After"), Some("2"));
    staying.read_to_end_answering(1001);
    assert_eq!(server.wait_exit().code(), Some(0));
}

// protocol.md 9.9
#[test]
fn a_stream_that_is_not_read_is_cut_at_max_queue() {
    let server = Server::start("maxQueue=1M");
    let mut deaf = Events::open(&server, "/sse", EVENT_SOURCE);
    let mut reader = server.web();
    let packet = format!(r#"{{"opcode":"broadcast","x":"{}"}}"#, "x".repeat(100_000));
    let mut count = 0;
    let full = r#"{"delivered":1}"#;
    while push(&server, &packet).1 != full {
        reader.expect_text(&packet);
        count += 1;
        assert!(count < 1000, "it is never cut");
    }
    reader.expect_text(&packet);
    server.wait_for_log("closed: more than maxQueue waits to be sent to it");
    // What has been queued comes whole.
    for _ in 0..count {
        assert!(deaf.read_text("a broadcast") == packet);
    }
    deaf.expect_close(1008, "more than maxQueue bytes wait to be read");
}

// protocol.md 9.9
#[test]
fn what_a_client_sends_on_its_stream_is_thrown_away() {
    let server = Server::start("");
    let mut events = Events::open(&server, "/sse", "Content-Length: 5\r\n");
    events.conn.send_bytes(b"hello");
    events.conn.send_bytes(request("/sse", "").as_bytes());
    events.conn.send_bytes(&vec![0; 300_000]);
    events.round_trip(&server);
    let uuid = events.uuid.clone();
    events.conn.shut_down_write();
    eventually("it has gone", || {
        push(
            &server,
            &format!(r#"{{"opcode":"feedback","uuid":"{uuid}"}}"#),
        )
        .0 == 404
    });
}

// protocol.md 9.10
#[test]
fn what_a_page_sends_is_handled_as_by_a_websocket_and_answered_over_the_stream() {
    let server = Server::start("");
    let mut events = Events::open(&server, "/sse", EVENT_SOURCE);
    let mut page = server.web();
    let echo = r#"{"opcode":"echo","message":"ä\"\\n"}"#;
    assert_eq!(events.send(&server, echo).status(), 204);
    events.expect_text(NEXT);
    events.expect_text(echo);
    // Everybody else gets it.
    let broadcast = r#"{"opcode":"broadcast","message":1}"#;
    assert_eq!(events.send(&server, broadcast).status(), 204);
    events.expect_text(NEXT);
    page.expect_text(broadcast);
    let feedback = format!(r#"{{"opcode":"feedback","uuid":"{}"}}"#, page.uuid);
    events.send(&server, &feedback);
    events.expect_text(NEXT);
    page.expect_text(&feedback);
    for nothing in ["ping", r#"{"opcode":"uuid","message":"me"}"#, "[1]", "{}"] {
        events.send(&server, nothing);
        events.expect_text(NEXT);
    }
    for chunk in ["bufferON", r#"{"opcode":"ec"#, r#"ho"}"#, "bufferOFF"] {
        events.send(&server, chunk);
        events.expect_text(NEXT);
    }
    events.expect_text(r#"{"opcode":"echo"}"#);
    events.send(&server, r#"{"opcode":"quit"}"#);
    events.expect_text(NEXT);
    events.expect_close(1000, "quit");
    let mut events = Events::open(&server, "/sse", EVENT_SOURCE);
    events.send(&server, "{");
    events.expect_text(NEXT);
    events.expect_close(1007, "not JSON: error at byte 0");
}

// protocol.md 9.10
#[test]
fn a_wrong_secret_is_told_as_a_wrong_uuid_is() {
    let server = Server::start("");
    let mut events = Events::open(&server, "/sse", EVENT_SOURCE);
    let mut other = Events::open(&server, "/sse", EVENT_SOURCE);
    let page = server.web();
    let (uuid, secret) = (&events.uuid, &events.secret);
    let unknown = "00000000-0000-4000-8000-000000000000";
    let echo = r#"{"opcode":"echo"}"#;
    let mut answers = Vec::new();
    for (uuid, secret) in [
        (&**uuid, ""),
        (uuid, "x"),
        (uuid, &*other.secret),
        (uuid, &secret[..21]),
        (uuid, &format!("{secret}=")),
        (unknown, secret),
        ("", secret),
        (&page.uuid, secret),
        (&page.uuid, ""),
    ] {
        let response = post(&server, &body(uuid, secret, echo), "");
        answers.push(format!("{response:?}"));
        assert_eq!(response.status(), 403);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    events.round_trip(&server);
    other.round_trip(&server);
    // It ends with its stream.
    let gone = body(&events.uuid, &events.secret, echo);
    events.conn.reset();
    eventually("it has gone", || post(&server, &gone, "").status() == 403);
    let line = server.wait_for_log("refused: 403 no stream of events has this uuid and secret");
    assert!(line.contains("127.0.0.1"), "{line}");
    assert!(!line.contains(&other.secret), "{line}");
}

// protocol.md 9.10
#[test]
fn bodies_that_are_none_are_told_so() {
    let server = Server::start("");
    let events = Events::open(&server, "/sse", EVENT_SOURCE);
    for (content, status) in [
        ("", 400),
        ("{", 400),
        ("[]", 400),
        (r#"{"uuid":"a","secret":"b"}"#, 400),
        (r#"{"uuid":"a","secret":"b","message":{}}"#, 400),
        (r#"{"uuid":"a","secret":"b","message":"c"}"#, 403),
    ] {
        assert_eq!(post(&server, content, "").status(), status, "{content}");
    }
    let whole = body(&events.uuid, &events.secret, "ping");
    for (request, status) in [
        (request("/send", ""), 405),
        ("POST /send HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n".into(), 415),
        (post_request(&whole, "Content-Encoding: gzip\r\n"), 415),
        (post_request(&whole, "Expect: 100\r\n"), 417),
    ] {
        assert_eq!(ask(&server, &request).status(), status, "{request}");
    }
}

// protocol.md 9.10
#[test]
fn a_message_may_be_as_long_as_a_pages_and_no_longer() {
    let server = Server::start("maxWebMessage=5000");
    let mut events = Events::open(&server, "/sse", EVENT_SOURCE);
    let packet = |len: usize| {
        let rest = len - r#"{"opcode":"echo","x":""}"#.len();
        // Each of its bytes takes two in the body.
        format!(r#"{{"opcode":"echo","x":"{}"}}"#, r"\\".repeat(rest / 2))
    };
    for len in [4998, 5000] {
        let packet = packet(len);
        assert_eq!(packet.len(), len);
        assert_eq!(events.send(&server, &packet).status(), 204);
        events.expect_text(NEXT);
        events.expect_text(&packet);
    }
    assert_eq!(events.send(&server, &packet(5002)).status(), 413);
    assert_eq!(
        events.send(&server, &format!("{} ", packet(5000))).status(),
        413
    );
    // Nobody reads so much for a stranger.
    let mut conn = connect(&server);
    let long = post_request(&" ".repeat(11_025), "");
    let head = &long[..long.len() - 11_025];
    conn.send_bytes(head.as_bytes());
    assert_eq!(conn.read_response().status(), 413);
    events.round_trip(&server);
}

// protocol.md 9.10
// protocol.md 8.11
#[test]
fn web_sends_and_max_messages_hold_for_what_is_sent_for_a_stream() {
    let server = Server::start("webSends=echo\nmaxMessages=20");
    let mut events = Events::open(&server, "/sse?user=1", EVENT_SOURCE);
    let mut page = server.web();
    events.send(&server, r#"{"opcode":"broadcast"}"#);
    events.expect_text(NEXT);
    let told = events.read_text("an error");
    assert!(told.starts_with(r#"{"opcode":"error","#), "{told}");
    page.round_trip();
    let mut sent = 1;
    let last = loop {
        if events.send(&server, "ping").status() != 204 {
            break None;
        }
        sent += 1;
        let event = events.read();
        if event.name == "close" {
            break event.data;
        }
        assert_eq!(event.data.as_deref(), Some(NEXT));
        assert!(sent < 10_000, "no limit");
    };
    let data = last.expect("the stream is closed first");
    assert!(data.starts_with(r#"{"code":1008,"#), "{data}");
    assert!(sent >= 20, "{sent}");
    page.round_trip();
}

// protocol.md 9.10
#[test]
fn pages_of_other_origins_may_send_where_they_may_read() {
    let named = Server::start("allowedOrigins=https://shop.example");
    let open = Server::start("");
    let preflight = |origin: &str| {
        format!(
            "OPTIONS /send HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: POST\r\n\
             Access-Control-Request-Headers: content-type\r\n\r\n"
        )
    };
    for (server, origin, is_allowed) in [
        (&named, "https://shop.example", true),
        (&named, "https://evil.example", false),
        (&named, "null", false),
        (&open, "https://any.example", true),
    ] {
        let asked = ask(server, &preflight(origin));
        let mut events = Events::open(server, "/sse", EVENT_SOURCE);
        let body = body(&events.uuid, &events.secret, "ping");
        let sent = post(server, &body, &format!("Origin: {origin}\r\n"));
        if !is_allowed {
            assert_eq!((asked.status(), sent.status()), (403, 403), "{origin}");
            continue;
        }
        assert_eq!((asked.status(), sent.status()), (204, 204), "{origin}");
        events.expect_text(NEXT);
        let methods = asked.header("Access-Control-Allow-Methods");
        assert_eq!(methods, Some("POST"));
        let headers = asked
            .header("Access-Control-Allow-Headers")
            .unwrap_or_default();
        assert!(headers.contains("Content-Type"), "{headers}");
        for response in [&asked, &sent] {
            let allowed = response.header("Access-Control-Allow-Origin");
            assert_eq!(allowed, Some(origin));
        }
        let wrong = post(
            server,
            &body.replace(&events.secret, "x"),
            &format!("Origin: {origin}\r\n"),
        );
        assert_eq!(wrong.status(), 403);
        let allowed = wrong.header("Access-Control-Allow-Origin");
        assert_eq!(allowed, Some(origin), "the page may read why");
    }
}

// protocol.md 9.9
#[test]
fn a_stream_may_follow_other_requests_on_its_connection() {
    let server = Server::start("");
    let mut conn = connect(&server);
    let unknown = body("a", "b", "ping");
    conn.send_bytes(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(conn.read_response().status(), 200);
    conn.send_bytes(post_request(&unknown, "").as_bytes());
    assert_eq!(conn.read_response().status(), 403);
    let mut events = Events::begin(conn, &request("/sse", EVENT_SOURCE));
    events.round_trip(&server);
    // It takes its place among clients, for good.
    let echo = r#"{"opcode":"broadcast"}"#;
    assert_eq!(push(&server, echo), (200, r#"{"delivered":1}"#.into()));
    events.expect_text(echo);
}

// protocol.md 9.10
#[test]
fn a_page_may_keep_its_connection_for_what_it_sends() {
    let server = Server::start("");
    let mut events = Events::open(&server, "/sse", EVENT_SOURCE);
    let mut conn: Conn = connect(&server);
    let sent: String = (0..20)
        .map(|n| {
            let echo = format!(r#"{{"opcode":"echo","n":{n}}}"#);
            post_request(&body(&events.uuid, &events.secret, &echo), "")
        })
        .collect();
    conn.send_bytes(sent.as_bytes());
    for n in 0..20 {
        assert_eq!(conn.read_response().status(), 204);
        events.expect_text(NEXT);
        events.expect_text(&format!(r#"{{"opcode":"echo","n":{n}}}"#));
    }
}

/// What stands behind an event of a stream that has opted in.
fn cursor_of(event: &Event) -> String {
    let data = event.data.as_deref().expect("a packet");
    let packet: serde_json::Value = serde_json::from_str(data).expect("JSON");
    let cursor = packet["cursor"].as_str().expect("a cursor").to_owned();
    assert!(
        data.ends_with(&format!(r#","cursor":"{cursor}"}}"#)),
        "{data}"
    );
    assert_eq!(event.id.as_deref(), Some(&*cursor), "{data}");
    cursor
}

/// Opens a stream that has opted in, behind this event.
#[track_caller]
fn resume(server: &Server, target: &str, headers: &str) -> (Events, String) {
    let events = Events::open(server, target, &format!("{EVENT_SOURCE}{headers}"));
    let ready: serde_json::Value = serde_json::from_str(&events.ready).expect("JSON");
    assert_eq!(ready.get("resume"), None, "it proves nothing");
    let cursor = ready["cursor"].as_str().expect("a cursor").to_owned();
    (events, cursor)
}

fn broadcast(number: u32) -> String {
    format!(r#"{{"opcode":"broadcast","number":{number}}}"#)
}

/// The number and the cursor of the next event.
#[track_caller]
fn read_number(events: &mut Events) -> (u64, String) {
    let event = events.read();
    let cursor = cursor_of(&event);
    let packet: serde_json::Value =
        serde_json::from_str(&event.data.expect("a packet")).expect("JSON");
    (packet["number"].as_u64().expect("a number"), cursor)
}

// protocol.md 9.9
#[test]
fn a_stream_that_comes_back_by_its_last_event_misses_nothing() {
    let server = Server::start("");
    let (mut events, mut last) = resume(&server, "/sse?resume=1", "");
    // Nothing has come before the first loss; then after each one.
    for round in 0..4 {
        let uuid = events.uuid.clone();
        events.conn.reset();
        eventually("it has gone", || {
            push(
                &server,
                &format!(r#"{{"opcode":"feedback","uuid":"{uuid}"}}"#),
            )
            .0 == 404
        });
        for number in 0..round {
            push(&server, &broadcast(number));
        }
        let id = format!("Last-Event-ID: {last}\r\n");
        let (mut back, cursor) = resume(&server, "/sse?resume=1&since=old", &id);
        assert_eq!(
            cursor, last,
            "where it was, so that a second loss costs nothing"
        );
        assert_ne!(back.uuid, uuid, "a cursor proves no tab");
        for number in 0..round {
            let (read, cursor) = read_number(&mut back);
            assert_eq!(read, u64::from(number));
            assert_ne!(cursor, last);
        }
        // Live ones follow; what is its own has no cursor.
        push(&server, &broadcast(100));
        assert_eq!(read_number(&mut back).0, 100);
        let own = broadcast(101);
        assert_eq!(back.send(&server, &own).status(), 204);
        assert_eq!(back.read(), message(NEXT));
        push(&server, &broadcast(102));
        let (read, cursor) = read_number(&mut back);
        assert_eq!(read, 102);
        last = cursor;
        back.round_trip(&server);
        events = back;
    }
}

// protocol.md 9.9
#[test]
fn the_last_event_may_stand_in_the_query_and_the_header_counts() {
    let server = Server::start("");
    let (events, before) = resume(&server, "/sse?resume=1", "");
    push(&server, &broadcast(1));
    drop(events);
    let by_query = format!("/sse?resume=1&lastEventId={before}");
    let since = format!("/sse?resume=1&since={before}");
    for (target, headers) in [
        (&*by_query, ""),
        (&since, ""),
        (&format!("{by_query}&since=x"), ""),
        (&since, "Last-Event-ID:\r\n"),
        (
            "/sse?resume=1&since=x",
            &format!("Last-Event-ID: {before}\r\n"),
        ),
    ] {
        let (mut back, cursor) = resume(&server, target, headers);
        assert_eq!(cursor, before, "{target}");
        let (number, last) = read_number(&mut back);
        assert_eq!(number, 1, "{target} {headers}");
        let header = format!("Last-Event-ID: {last}\r\n");
        let (mut up_to_date, _) = resume(&server, target, &header);
        up_to_date.round_trip(&server);
    }
    // Nobody who has not opted in has ids, and whatever a sender calls a cursor is none.
    let header = format!("{EVENT_SOURCE}Last-Event-ID: {before}\r\n");
    let mut plain = Events::open(&server, "/sse", &header);
    assert!(!plain.ready.contains("cursor"), "{}", plain.ready);
    let forged = r#"{"opcode":"broadcast","cursor":"forged"}"#;
    push(&server, forged);
    assert_eq!(plain.read(), message(forged));
}

// protocol.md 9.9
// protocol.md 9.4
#[test]
fn what_cannot_be_filled_is_told_as_a_gap_with_a_cursor_of_its_own() {
    let server = Server::start("replaySize=3");
    let (events, before) = resume(&server, "/sse?resume=1", "");
    let expect_gap = |id: &str, gap: &str| {
        let header = format!("Last-Event-ID: {id}\r\n");
        let (mut back, cursor) = resume(&server, "/sse?resume=1", &header);
        let event = back.read();
        assert_eq!(cursor_of(&event), cursor);
        let data = event.data.expect("a packet");
        let expected = format!(r#"{{"opcode":"gap","gap":"{gap}","cursor":"{cursor}"}}"#);
        assert_eq!(data, expected, "{id}");
        back.round_trip(&server);
        cursor
    };
    for garbage in ["x", "0", "-1", ".", "%00", &"f".repeat(4000), "\"}", "a,b"] {
        expect_gap(garbage, "unknown");
    }
    // Bytes that are no text, too: else their sender would take it that nothing was missed.
    let mut head = request("/sse?resume=1", "Last-Event-ID: \u{ff}x\r\n").into_bytes();
    let at = head
        .iter()
        .position(|byte| *byte >= 0x80)
        .expect("it is there");
    head.remove(at);
    let mut conn = connect(&server);
    conn.send_bytes(&head);
    conn.read_head();
    let told = conn.read_through(b"\"gap\":\"unknown\"", "a gap");
    assert!(told.starts_with(b"retry: "));
    let (epoch, _) = before.split_once('.').expect("two parts");
    expect_gap(&format!("{epoch}.ffffffffffffffff"), "unknown");
    expect_gap(&format!("{epoch}.10000000000000000"), "unknown");
    expect_gap("0123456789abcdef.0", "restart");
    for number in 0..3 {
        push(&server, &broadcast(number));
    }
    let header = format!("Last-Event-ID: {before}\r\n");
    let (mut back, _) = resume(&server, "/sse?resume=1", &header);
    for number in 0..3 {
        assert_eq!(read_number(&mut back).0, number);
    }
    push(&server, &broadcast(3));
    expect_gap(&before, "overflow");
    drop(events);
}

// protocol.md 9.9
// protocol.md 9.2
#[test]
fn more_than_a_queue_holds_is_replayed_to_a_stream() {
    let server = Server::start("maxQueue=256K");
    let (events, before) = resume(&server, "/sse?resume=1", "");
    drop(events);
    let pad = "p".repeat(100_000);
    for number in 0..20 {
        push(
            &server,
            &format!(r#"{{"opcode":"broadcast","number":{number},"pad":"{pad}"}}"#),
        );
    }
    let header = format!("Last-Event-ID: {before}\r\n");
    let (mut back, _) = resume(&server, "/sse?resume=1", &header);
    for number in 0..20 {
        assert_eq!(read_number(&mut back).0, number);
    }
    back.round_trip(&server);
}

// protocol.md 9.9
// protocol.md 9.7
#[test]
fn a_stream_misses_nothing_over_a_restart() {
    let server = Server::start("stateDir={dir}/state\ndrainSpread=0\ncloseTimeout=100ms");
    let (mut events, before) = resume(&server, "/sse?resume=1", "");
    push(&server, &broadcast(1));
    let (_, last) = read_number(&mut events);
    let (other, _) = resume(&server, "/sse?resume=1", "");
    push(&server, &broadcast(2));
    let server = server.start_again(Signal::TERM);
    push(&server, &broadcast(3));
    drop((events, other));
    for (id, expected) in [(&before, &[1, 2, 3][..]), (&last, &[2, 3])] {
        let header = format!("Last-Event-ID: {id}\r\n");
        let (mut back, _) = resume(&server, "/sse?resume=1", &header);
        for number in expected {
            assert_eq!(read_number(&mut back).0, *number);
        }
        back.round_trip(&server);
    }
}

//! Push over plain HTTP, and the demo page.

use crate::harness::frame::masked;
use crate::harness::http::Response;
use crate::harness::{Conn, Request, Server, Wire, connect};
use websock::protocol::error::Rejection;

const NOBODY: &str = "{\"delivered\":0,\"error\":\"nobody has this uuid or ident\"}\n";

/// A request with these header lines and this body, which is JSON unless they say otherwise.
fn request(headers: &str, body: &str) -> Vec<u8> {
    let content_type = if headers.contains("Content-Type") {
        ""
    } else {
        "Content-Type: application/json\r\n"
    };
    untyped(&format!("{content_type}{headers}"), body)
}

/// A request with these header lines alone and this body.
fn untyped(headers: &str, body: &str) -> Vec<u8> {
    let len = body.len();
    format!(
        "POST /push HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {len}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends and reads one exchange.
#[track_caller]
fn exchange(conn: &mut Conn, bytes: &[u8]) -> Response {
    conn.send_bytes(bytes);
    conn.read_response()
}

/// One push on a connection of its own.
#[track_caller]
fn push(server: &Server, body: &str) -> (u16, String) {
    let response = exchange(&mut connect(server), &request("", body));
    assert_eq!(response.header("Content-Type"), Some("application/json"));
    (response.status(), response.body)
}

fn delivered(count: usize) -> (u16, String) {
    (200, format!("{{\"delivered\":{count}}}\n"))
}

// promise: push answers as packaging/openapi.yaml says
#[test]
fn feedback_reaches_the_page_with_the_uuid_or_ident_byte_by_byte_as_sent() {
    let server = Server::start("");
    let mut page = server.web_named("printer");
    for body in [
        format!(r#"{{"opcode":"feedback","uuid":"{}","n":1.10}}"#, page.uuid),
        "{\n \"opcode\": \"feedback\",\n \"ident\": \"printer\", \"n\": 9007199254740993}\n"
            .to_owned(),
    ] {
        assert_eq!(push(&server, &body), delivered(1));
        page.expect_text(&body);
    }
    for body in [
        r#"{"opcode":"feedback","uuid":"8367a0a4-7b9c-4a3e-9f53-6b1c2d3e4f50"}"#,
        r#"{"opcode":"feedback","ident":"else"}"#,
    ] {
        assert_eq!(push(&server, body), (404, NOBODY.to_owned()));
    }
    let (status, answer) = push(&server, r#"{"opcode":"feedback"}"#);
    assert_eq!(status, 404);
    assert!(answer.contains("needs a uuid or an ident"), "{answer}");
    page.round_trip();
}

// promise: push answers as packaging/openapi.yaml says
#[test]
fn a_broadcast_reaches_every_page_and_no_script_and_says_how_many() {
    let server = Server::start("");
    let body = r#"{"opcode":"broadcast","message":"to all"}"#;
    assert_eq!(push(&server, body), delivered(0));
    let mut pages = [server.web(), server.web(), server.web()];
    let mut script = server.php();
    assert_eq!(push(&server, body), delivered(3));
    pages.iter_mut().for_each(|page| page.expect_text(body));
    script.round_trip();
}

// promise: push answers as packaging/openapi.yaml says
#[test]
fn a_script_that_waits_by_its_ident_is_reached_in_the_shape_it_needs() {
    let server = Server::start("");
    let mut script = server.php_named("receiver");
    let body = r#"{"opcode":"feedback","ident":"receiver"}"#;
    assert_eq!(push(&server, body), delivered(1));
    let frame = script.read_frame();
    // protocol.md 6.1 and 6.2: over TLS a record does what the blanks do.
    let wire_len = match crate::WIRE {
        Wire::Plain => 8192,
        Wire::Tls => 2 + body.len(),
    };
    assert_eq!(frame.wire_len, wire_len);
}

// promise: push answers as packaging/openapi.yaml says
#[test]
fn arrays_and_lines_are_answered_packet_by_packet() {
    let server = Server::start("");
    let mut page = server.web_named("page");
    let one = r#"{"opcode":"feedback","ident":"page","n":1}"#;
    let (nobody, bad) = (
        r#"{"opcode":"feedback","ident":"x"}"#,
        r#"{"opcode":"quit"}"#,
    );
    let results = "{\"delivered\":1,\"results\":[{\"delivered\":1},\
         {\"delivered\":0,\"error\":\"nobody has this uuid or ident\"},\
         {\"delivered\":0,\"error\":\"opcode must be feedback, broadcast or logout\"}]}\n";
    assert_eq!(
        push(&server, &format!(" [{one}, {nobody},{bad} ]")),
        (200, results.to_owned())
    );
    page.expect_text(one);
    let lines = request(
        "Content-Type: application/x-ndjson\r\n",
        &format!("{one}\n\n{nobody}\n{bad}\n"),
    );
    let response = exchange(&mut connect(&server), &lines);
    assert_eq!((response.status(), response.body.as_str()), (200, results));
    page.expect_text(one);

    let broken = format!("{one}\nnonsense\n");
    let broken = request("Content-Type: application/x-ndjson\r\n", &broken);
    let response = exchange(&mut connect(&server), &broken);
    assert!(
        response.body.contains("invalid JSON at byte 1"),
        "{response:?}"
    );
    page.expect_text(one);
}

// promise: push answers as packaging/openapi.yaml says
#[test]
fn what_is_wrong_has_its_status() {
    let server = Server::start("maxMessageSize=100K");
    let packet = r#"{"opcode":"broadcast"}"#;
    let chunked = |headers: &str, body: &str| {
        format!("POST /push HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{headers}\r\n{body}")
            .replace("Host: a", "Host: 127.0.0.1")
    };
    let line = |text: &str| text.as_bytes().to_vec();
    for (name, bytes, status, text) in [
        ("JSON with position", request("", "{\"a\":}"), 400, "byte 5"),
        ("array", request("", "[{}"), 400, "line 1 column 3"),
        ("UTF-8", request("", "x"), 400, "byte 0"),
        (
            "opcode",
            request("", r#"{"opcode":"echo"}"#),
            400,
            "feedback, broadcast or logout",
        ),
        (
            "type",
            request("Content-Type: text/plain\r\n", packet),
            415,
            "application/json",
        ),
        ("no type", untyped("", packet), 415, "application/json"),
        (
            "two types",
            request(
                "Content-Type: text/plain\r\nContent-Type: application/json\r\n",
                packet,
            ),
            415,
            "once",
        ),
        (
            "form",
            request(
                "Content-Type: application/x-www-form-urlencoded\r\n",
                packet,
            ),
            415,
            "json",
        ),
        (
            "coding",
            request("Content-Encoding: gzip\r\n", packet),
            415,
            "not encoded",
        ),
        (
            "origin",
            request("Origin: https://evil.example\r\n", packet),
            403,
            "allowedOrigins",
        ),
        (
            "method",
            line("GET /push HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            405,
            "POST",
        ),
        (
            "host",
            String::from_utf8(request("", ""))
                .expect("ASCII")
                .replace("localhost", "evil.example")
                .into_bytes(),
            403,
            "Host",
        ),
        (
            "no host",
            line("POST /push HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
            400,
            "Host",
        ),
        (
            "large",
            chunked("Content-Length: 102401\r\n", "").into_bytes(),
            413,
            "maxMessageSize",
        ),
        (
            "large chunk",
            chunked("Transfer-Encoding: chunked\r\n", "19001\r\n").into_bytes(),
            413,
            "maxMessageSize",
        ),
        (
            "chunk",
            chunked("Transfer-Encoding: chunked\r\n", "zz\r\n").into_bytes(),
            400,
            "chunks",
        ),
        (
            "length",
            line("POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1x\r\n\r\n"),
            400,
            "Content-Length",
        ),
        (
            "both lengths",
            chunked("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "").into_bytes(),
            400,
            "Content-Length",
        ),
        (
            "transfer coding",
            chunked("Transfer-Encoding: gzip\r\n", "").into_bytes(),
            501,
            "chunks",
        ),
        (
            "expectation",
            request("Expect: a-miracle\r\n", packet),
            417,
            "100-continue",
        ),
        ("empty", request("", ""), 400, "empty"),
    ] {
        let mut conn = connect(&server);
        let response = exchange(&mut conn, &bytes);
        assert_eq!(response.status(), status, "{name}: {response:?}");
        assert!(response.body.contains(text), "{name}: {response:?}");
    }
    let allowed = exchange(
        &mut connect(&server),
        b"PUT /push HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    assert_eq!(allowed.header("Allow"), Some("POST, OPTIONS"));
}

// promise: push answers as packaging/openapi.yaml says
#[test]
fn head_and_options_are_answered_without_a_body() {
    let server = Server::start("");
    let mut conn = connect(&server);
    conn.send_bytes(
        b"HEAD /push HTTP/1.1\r\nHost: localhost\r\n\r\nOPTIONS /push HTTP/1.1\r\nHost: localhost\r\n\
          Connection: close\r\n\r\n",
    );
    let answers = String::from_utf8(conn.read_to_end()).expect("ASCII");
    let (head, options) = answers.split_once("\r\n\r\n").expect("two responses");
    assert!(
        head.starts_with("HTTP/1.1 405 ") && head.contains("Allow: POST, OPTIONS"),
        "{head}"
    );
    assert!(
        options.starts_with("HTTP/1.1 204 ") && options.ends_with("\r\n\r\n"),
        "{options}"
    );
    assert!(!options.contains("Content-Length"), "{options}");
}

// protocol.md 1.5
#[test]
fn a_refusal_of_head_has_no_body_either() {
    let server = Server::start("");
    for (request, status, rejection) in [
        (
            "HEAD /web HTTP/1.1\r\nHost: a\r\nUpgrade: websocket",
            405,
            Rejection::Method,
        ),
        ("HEAD /nope HTTP/1.1\r\nHost: a", 405, Rejection::Method),
        (
            "HEAD /web HTTP/1.0\r\nUpgrade: websocket",
            400,
            Rejection::HttpVersion,
        ),
        ("HEAD /push HTTP/1.1\r\nHost: a:b", 400, Rejection::Host),
        ("HEAD / HTTP/1.1\r\nHost : a", 400, Rejection::Malformed),
    ] {
        let mut conn = connect(&server);
        conn.send_bytes(format!("{request}\r\n\r\n").as_bytes());
        let answer = String::from_utf8(conn.read_to_end()).expect("ASCII");
        let start = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&start), "{request}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{request}: {answer}");
        let length = format!("Content-Length: {}\r\n", rejection.reason().len() + 1);
        assert!(answer.contains(&length), "{request}: {answer}");
    }
}

// promise: push answers as packaging/openapi.yaml says
#[test]
fn a_thousand_pushes_on_one_connection_arrive_in_order() {
    let server = Server::start("");
    let mut page = server.web_named("page");
    let mut conn = connect(&server);
    for number in 0..1000 {
        let body = format!(r#"{{"opcode":"feedback","ident":"page","n":{number}}}"#);
        let response = exchange(&mut conn, &request("", &body));
        assert_eq!((response.status(), response.body), delivered(1));
        assert_eq!(
            response
                .headers
                .iter()
                .find(|(name, _)| name == "Connection"),
            None
        );
        page.expect_text(&body);
    }
}

// promise: push answers as packaging/openapi.yaml says
#[test]
fn pipelined_pushes_are_answered_in_order_and_an_upgrade_may_follow() {
    let server = Server::start("");
    let mut page = server.web_named("page");
    let mut conn = connect(&server);
    let body = |number: usize| format!(r#"{{"opcode":"feedback","ident":"page","n":{number}}}"#);
    let mut bytes: Vec<u8> = (0..300).flat_map(|n| request("", &body(n))).collect();
    bytes.extend(Request::to("/web").bytes());
    conn.send_bytes(&bytes);
    for number in 0..300 {
        assert_eq!(conn.read_response().status(), 200);
        page.expect_text(&body(number));
    }
    assert_eq!(conn.read_response().status(), 101);
    conn.expect_ready();
    conn.round_trip();
}

// promise: the work of one turn is bounded
#[test]
fn a_request_behind_a_push_of_several_turns_waits_and_is_answered() {
    let server = Server::start("");
    let mut conn = connect(&server);
    let lines = "{}\n".repeat(5000);
    let long = request("Content-Type: application/x-ndjson\r\n", &lines);
    let short = request("", "{}");
    conn.send_bytes(&[long, short.clone(), short].concat());
    let response = conn.read_response();
    assert_eq!(response.body.matches("\"error\"").count(), 5000);
    for _ in 0..2 {
        assert_eq!(conn.read_response().status(), 400);
    }
}

// promise: push answers as packaging/openapi.yaml says
#[test]
fn bodies_may_come_in_drips_in_chunks_and_after_100_continue() {
    let server = Server::start("");
    let mut page = server.web_named("page");
    let body = r#"{"opcode":"feedback","ident":"page"}"#;
    let mut conn = connect(&server);
    for byte in request("", body) {
        conn.send_bytes(&[byte]);
    }
    assert_eq!(conn.read_response().status(), 200);
    page.expect_text(body);

    let (front, back) = body.split_at(7);
    let chunks = format!(
        "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{front}\r\n{:X};x=y\r\n{back}\r\n0\r\nTrailer: z\r\n\r\n",
        front.len(),
        back.len()
    );
    assert_eq!(exchange(&mut conn, chunks.as_bytes()).status(), 200);
    page.expect_text(body);

    let whole = request("Expect: 100-continue\r\n", body);
    let (head, rest) = whole.split_at(whole.len() - body.len());
    conn.send_bytes(head);
    let expected = b"HTTP/1.1 100 Continue\r\n\r\n";
    conn.expect_bytes(expected);
    assert_eq!(exchange(&mut conn, rest).status(), 200);
    page.expect_text(body);
}

// promise: push answers as packaging/openapi.yaml says
#[test]
fn http_1_0_is_answered_and_closed() {
    let server = Server::start("");
    let body = r#"{"opcode":"broadcast"}"#;
    let bytes = format!(
        "POST /push HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut conn = connect(&server);
    // Without Host it may be meant for anybody: only a token would do.
    let response = exchange(&mut conn, bytes.as_bytes());
    assert_eq!(response.status(), 403);
    let bytes = bytes.replace("HTTP/1.0\r\n", "HTTP/1.0\r\nHost: localhost\r\n");
    let mut conn = connect(&server);
    let response = exchange(&mut conn, bytes.as_bytes());
    assert_eq!(response.header("Connection"), Some("close"));
    assert_eq!(response.body, "{\"delivered\":0}\n");
    conn.shut_down_write();
    conn.expect_eof();
}

// promise: push answers as packaging/openapi.yaml says
#[test]
fn http_1_0_goes_on_where_it_asks_for_that() {
    let server = Server::start("");
    let body = r#"{"opcode":"broadcast"}"#;
    let asking = String::from_utf8(request("Connection: Keep-Alive\r\n", body)).expect("ASCII");
    let asking = asking.replace("HTTP/1.1", "HTTP/1.0");
    let mut conn = connect(&server);
    for _ in 0..3 {
        let response = exchange(&mut conn, asking.as_bytes());
        assert_eq!(response.header("Connection"), Some("keep-alive"));
        assert_eq!(response.body, "{\"delivered\":0}\n");
    }
    let last = asking.replace("Connection: Keep-Alive\r\n", "");
    let response = exchange(&mut conn, last.as_bytes());
    assert_eq!(response.header("Connection"), Some("close"));
    conn.shut_down_write();
    conn.expect_eof();
}

// promise: push answers as packaging/openapi.yaml says
#[test]
fn with_a_push_token_it_is_needed_everywhere() {
    let server = Server::start("pushToken=0123456789abcdef-token");
    let mut page = server.web_named("page");
    let body = r#"{"opcode":"feedback","ident":"page"}"#;
    for headers in [
        "",
        "Authorization: Bearer 0123456789abcdef-tokeN\r\n",
        "Authorization: Basic eDp5\r\n",
    ] {
        let response = exchange(&mut connect(&server), &request(headers, body));
        assert_eq!(response.status(), 401);
        assert_eq!(
            response.header("WWW-Authenticate"),
            Some("Bearer realm=\"websock\"")
        );
    }
    let good = request("Authorization: Bearer 0123456789abcdef-token\r\n", body);
    assert_eq!(exchange(&mut connect(&server), &good).status(), 200);
    page.expect_text(body);

    let response = connect(&server).request(&Request::php("/php"));
    assert_eq!(response.status(), 401);
    assert_eq!(
        response.header("WWW-Authenticate"),
        Some("Bearer realm=\"websock\"")
    );
    let mut script = server.open(&Request::php("/php?token=0123456789abcdef-token"));
    script.round_trip();
    let shown = server.log_lines().concat();
    assert!(
        !shown.contains("0123456789abcdef"),
        "the token is in the log"
    );
}

// promise: push answers as packaging/openapi.yaml says
#[test]
fn pages_of_an_allowed_origin_may_push() {
    let server = Server::start("allowedOrigins=https://shop.example");
    let body = r#"{"opcode":"broadcast"}"#;
    let port = server.address().port();
    for (origin, status) in [
        ("https://shop.example".to_owned(), 200),
        ("https://shop.example.evil".to_owned(), 403),
        ("null".to_owned(), 403),
        (format!("http://127.0.0.1:{port}"), 200),
    ] {
        let bytes = request(&format!("Origin: {origin}\r\n"), body);
        let bytes = String::from_utf8(bytes).expect("ASCII");
        let bytes = bytes.replace("Host: localhost", &format!("Host: 127.0.0.1:{port}"));
        let response = exchange(&mut connect(&server), bytes.as_bytes());
        assert_eq!(response.status(), status, "{origin}");
        // What is same-origin needs no permission to be read.
        let shared = (origin == "https://shop.example").then_some(origin.as_str());
        assert_eq!(response.header("Access-Control-Allow-Origin"), shared);
        assert_eq!(response.header("Vary"), shared.map(|_| "Origin"));
    }
}

// promise: push answers as packaging/openapi.yaml says
#[test]
fn a_receiver_whose_queue_is_full_is_503() {
    let server = Server::start("maxQueue=64K\ncloseTimeout=60");
    let deaf = server.web_named("deaf");
    let pad = "p".repeat(200_000);
    let body = format!(r#"{{"opcode":"feedback","ident":"deaf","pad":"{pad}"}}"#);
    let mut conn = connect(&server);
    let status = loop {
        match exchange(&mut conn, &request("", &body)).status() {
            200 => {}
            status => break status,
        }
    };
    assert_eq!(status, 503);
    assert_eq!(
        exchange(&mut conn, &request("", &body)).status(),
        404,
        "it is gone by now"
    );
    drop(deaf);
}

/// Order instead of time: others are served before a large batch is done.
// promise: push answers as packaging/openapi.yaml says
#[test]
fn a_large_batch_does_not_go_before_everybody_else() {
    let server = Server::start("maxQueue=512M\nmemoryLimit=1G");
    let mut pages: Vec<Conn> = (0..50).map(|_| server.web()).collect();
    let packet = r#"{"opcode":"broadcast"}"#;
    let lines = format!("{packet}\n").repeat(10_000);
    let batch = request("Content-Type: application/x-ndjson\r\n", &lines);
    let mut honest = server.php();
    let mut conn = connect(&server);
    conn.send_bytes(&batch);
    // Round trips go on while it is worked off, and there is time for some.
    let mut count = 0;
    while !conn.has_answer() {
        honest.send_text(r#"{"opcode":"none"}"#);
        honest.expect_next();
        count += 1;
    }
    assert!(count >= 3, "{count} round trips beside the batch");
    let response = conn.read_response();
    assert!(
        response.body.starts_with("{\"delivered\":500000,"),
        "{:.60}",
        response.body
    );
    for _ in 0..10_000 {
        pages[49].expect_text(packet);
    }
}

// promise: the demo page works where it is switched on
#[test]
fn the_demo_page_is_there_only_where_the_ini_has_it() {
    for (ini, status) in [("", 400), ("demo=true", 200)] {
        let server = Server::start(ini);
        let response = exchange(&mut connect(&server), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(response.status(), status);
        if status == 200 {
            let policy = response
                .header("Content-Security-Policy")
                .expect("a policy");
            assert!(policy.starts_with("default-src 'none'"), "{policy}");
            assert!(!policy.contains("unsafe"), "{policy}");
        }
        let script = exchange(
            &mut connect(&server),
            b"GET /websock.js HTTP/1.1\r\nHost: a\r\n\r\n",
        );
        assert_eq!(script.status(), 200);
        assert_eq!(
            script.header("Content-Type"),
            Some("text/javascript; charset=utf-8")
        );
    }
}

// promise: the demo page works where it is switched on
#[test]
fn a_demo_job_reports_to_the_page_from_0_to_100_percent() {
    let server = Server::start("demo=true");
    let mut page = server.web();
    let job = |uuid: &str, headers: &str| {
        let body = format!(r#"{{"uuid":"{uuid}"}}"#);
        let bytes = String::from_utf8(request(headers, &body)).expect("ASCII");
        bytes.replace("POST /push", "POST /demo/job").into_bytes()
    };
    let mut conn = connect(&server);
    let foreign = exchange(
        &mut conn,
        &job(&page.uuid, "Origin: http://evil.example\r\n"),
    );
    assert_eq!(foreign.status(), 403);
    let mut conn = connect(&server);
    assert_eq!(exchange(&mut conn, &job("nobody", "")).status(), 404);
    conn.send_bytes(&job(&page.uuid, ""));
    conn.expect_bytes(b"HTTP/1.1 204 No Content\r\n\r\n");
    for step in 0..=20 {
        let text = page.read_text("a report");
        assert!(
            text.contains(&format!(r#""percent":{}}}"#, step * 5)),
            "{text}"
        );
    }
    page.round_trip();
}

// promise: push answers as packaging/openapi.yaml says
#[test]
fn a_websocket_on_the_push_path_is_an_unknown_resource() {
    let server = Server::start("");
    let mut conn = connect(&server);
    assert_eq!(conn.request(&Request::to("/push")).status(), 101);
    conn.expect_text(r#"{"opcode":"close","error":"no resource /push"}"#);
    conn.expect_close(1008);
    // Nothing is read as a request any more.
    let _ = conn.try_send_bytes(&masked(0x88, b""));
    conn.expect_end();
}

// promise: the curl line of the demo page works on the server's own machine
#[test]
fn the_demo_page_learns_how_push_is_reached_from_this_machine() {
    let server = Server::start("demo=on");
    let port = server.address().port();
    let ask = |server: &Server, host: &str| {
        let bytes = format!("GET /demo/push-address HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let response = exchange(&mut connect(server), bytes.as_bytes());
        assert_eq!(response.status(), 200);
        response.body
    };
    let own = ask(&server, &format!("localhost:{port}"));
    let expected = format!("://localhost:{port}/push\",\"token\":false}}\n");
    assert!(own.starts_with("{\"url\":\"http"), "{own}");
    assert!(own.ends_with(&expected), "{own}");
    // By a name that push would not take, the line names one that it does.
    let foreign = ask(&server, &format!("demo.example:{port}"));
    assert_eq!(foreign, own);
    let server = Server::start("demo=on\npushToken=0123456789abcdef-token");
    let with_token = ask(&server, "demo.example:81");
    let expected = "://demo.example:81/push\",\"token\":true}\n";
    assert!(with_token.ends_with(expected), "{with_token}");
}

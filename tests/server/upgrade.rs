//! From the request to the 101, or to its refusal (protocol.md 1).

use std::net::Ipv4Addr;

use crate::harness::client::NEXT;
use crate::harness::frame::{self, FIN, TEXT};
use crate::harness::http::{KEY, Response};
use crate::harness::{Conn, Request, Server, connect, unique_number};

/// A packet that a client gets back as it is.
const ECHO: &str = r#"{"opcode":"echo","message":"first"}"#;

/// The request gets this status in a complete response and nothing else; the server lives on.
#[track_caller]
pub(crate) fn expect_refusal(server: &Server, request: &Request, status: u16) -> Response {
    let mut conn = connect(server);
    let response = conn.request(request);
    assert_eq!(response.status(), status, "{request:?}\n{response:?}");
    expect_complete(&response);
    conn.expect_eof();
    server.web().round_trip();
    response
}

#[track_caller]
fn expect_complete(response: &Response) {
    assert_eq!(response.header("Connection"), Some("close"), "{response:?}");
    let reason = response.body.trim_end_matches(['\r', '\n']);
    assert!(
        !reason.is_empty() && !reason.contains('\n'),
        "one line of reason: {response:?}"
    );
}

/// The request gets the 101, then this `close` packet, close frame and the end.
#[track_caller]
pub(crate) fn expect_turned_away(mut conn: Conn, request: &Request, error: &str, code: u16) {
    conn.upgrade(request);
    conn.expect_text(&format!(r#"{{"opcode":"close","error":"{error}"}}"#));
    conn.expect_close_and_end(code);
}

// protocol.md 1.1
#[test]
fn the_three_resources_are_there() {
    let server = Server::start("");
    for path in ["/", "/web", "/php"] {
        server.open(&Request::to(path)).round_trip();
        server.open(&Request::php(path)).round_trip();
    }
}

// protocol.md 1.1
// protocol.md 1.10
#[test]
fn paths_are_compared_exactly() {
    let server = Server::start("");
    for path in [
        "/Web", "/WEB", "/web/", "/we", "/webx", "//", "/./web", "/php/",
    ] {
        let error = format!("no resource {path}");
        expect_turned_away(connect(&server), &Request::to(path), &error, 1008);
    }
}

// protocol.md 1.1
#[test]
fn a_query_is_no_part_of_the_path() {
    let server = Server::start("");
    for target in [
        "/?x=1",
        "/web?x=1",
        "/web?",
        "/web?a=/nope&b=?",
        "/php?token=a%20b",
    ] {
        server.open(&Request::to(target)).round_trip();
    }
    let nope = Request::to("/nope?x=/web");
    expect_turned_away(connect(&server), &nope, "no resource /nope", 1008);
}

// protocol.md 1.2
#[test]
fn the_101_has_the_bytes_that_php_clients_compare() {
    let server = Server::start("");
    let response = connect(&server).upgrade(&Request::to("/"));
    assert_eq!(response.status_line, "HTTP/1.1 101 Switching Protocols");
    let first_three = &response.headers[..3];
    for (name, value) in [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ] {
        assert!(
            first_three.contains(&(name.into(), value.into())),
            "{name}: {value} among the first three of {response:?}"
        );
        assert_eq!(response.header(name), Some(value));
    }
    assert_eq!(response.header("Content-Length"), None);
}

// protocol.md 1.2
#[test]
fn each_key_gets_its_own_answer() {
    let server = Server::start("");
    for key in [
        "AAAAAAAAAAAAAAAAAAAAAA==",
        "/////////////////////w==",
        "x3JJHMbDL1EzLkh9GBhXDw==",
    ] {
        // Checked by upgrade().
        connect(&server).upgrade(&Request::to("/").set("Sec-WebSocket-Key", key));
    }
}

// protocol.md 1.3
#[test]
fn the_case_of_names_and_tokens_does_not_matter() {
    let server = Server::start("");
    let mut request = Request::to("/web");
    for (name, value) in &mut request.headers {
        *name = name.to_uppercase();
        if name != "SEC-WEBSOCKET-KEY" {
            *value = value.to_uppercase();
        }
    }
    server.open(&request).round_trip();
    for (name, _) in &mut request.headers {
        *name = name.to_lowercase();
    }
    server.open(&request).round_trip();
}

// protocol.md 1.3
#[test]
fn upgrade_and_connection_are_lists_of_tokens() {
    let server = Server::start("");
    for value in [
        "keep-alive, Upgrade",
        "upgrade,keep-alive",
        "a ,\tuPgRaDe\t, b",
    ] {
        server
            .open(&Request::to("/web").set("Connection", value))
            .round_trip();
    }
    for value in ["h2c, WebSocket", "websocket, foo/1"] {
        server
            .open(&Request::to("/web").set("Upgrade", value))
            .round_trip();
    }
    for value in ["keep-alive", "Upgraded", "not-upgrade", "Up grade"] {
        expect_refusal(&server, &Request::to("/web").set("Connection", value), 400);
    }
}

// protocol.md 1.3
#[test]
fn of_two_unknown_headers_the_last_one_counts() {
    let server = Server::start("");
    let two = Request::to("/web")
        .with("Ident", "first")
        .with("IDENT", "last");
    let mut receiver = server.open(&two);
    let mut sender = server.web();
    sender.send_for_next(r#"{"opcode":"feedback","ident":"first"}"#);
    let packet = r#"{"opcode":"feedback","ident":"last"}"#;
    sender.send_for_next(packet);
    receiver.expect_text(packet);
}

// protocol.md 1.3
#[test]
fn lines_may_end_in_bare_line_feeds() {
    let server = Server::start("");
    let mut request = Request::to("/web");
    request.line_end = "\n";
    server.open(&request).round_trip();

    let mixed = String::from_utf8(Request::to("/web").bytes()).expect("ASCII");
    let mut conn = connect(&server);
    conn.send_bytes(mixed.replacen("\r\n", "\n", 3).as_bytes());
    assert_eq!(conn.read_response().status(), 101);
    conn.expect_ready();
    conn.round_trip();
}

// protocol.md 1.3
#[test]
fn a_request_may_come_byte_by_byte() {
    let server = Server::start("");
    let mut witness = server.web();
    let mut conn = connect(&server);
    for byte in Request::to("/web").bytes() {
        conn.send_bytes(&[byte]);
        witness.wait_until_handled();
    }
    assert_eq!(conn.read_response().status(), 101);
    conn.expect_ready();
    conn.round_trip();
}

// protocol.md 1.3
#[test]
fn a_request_may_be_split_at_each_point() {
    let server = Server::start("");
    let mut witness = server.web();
    let bytes = Request::to("/web?x=1").bytes();
    for split in 1..bytes.len() {
        let mut conn = connect(&server);
        conn.send_bytes(&bytes[..split]);
        witness.wait_until_handled();
        conn.send_bytes(&bytes[split..]);
        assert_eq!(conn.read_response().status(), 101, "split at {split}");
        conn.expect_ready();
    }
}

// protocol.md 1.3
#[test]
fn bytes_behind_the_head_belong_to_the_first_frame() {
    let server = Server::start("");
    let head = Request::to("/web").bytes();
    let frame = frame::text(ECHO);
    let mut witness = server.web();
    for frame_bytes_with_head in [1, 2, 5, 6, 7, frame.len()] {
        let mut conn = connect(&server);
        let (with_head, later) = frame.split_at(frame_bytes_with_head);
        conn.send_bytes(&[&head, with_head].concat());
        witness.wait_until_handled();
        conn.send_bytes(later);
        assert_eq!(conn.read_response().status(), 101);
        conn.expect_ready();
        conn.expect_next();
        conn.expect_text(ECHO);
        conn.round_trip();
    }
}

// protocol.md 1.3
#[test]
fn bytes_behind_a_split_head_belong_to_the_first_frame() {
    let server = Server::start("");
    let mut witness = server.web();
    let head = Request::to("/web").bytes();
    let (begin, end) = head.split_at(head.len() - 3);
    let mut conn = connect(&server);
    conn.send_bytes(begin);
    witness.wait_until_handled();
    conn.send_bytes(&[end, &frame::text(ECHO)].concat());
    assert_eq!(conn.read_response().status(), 101);
    conn.expect_ready();
    conn.expect_next();
    conn.expect_text(ECHO);
}

// protocol.md 1.4
#[test]
fn a_head_of_8191_bytes_is_fine() {
    let server = Server::start("");
    for len in [8190, 8191] {
        let request = Request::to("/web").filled_to(len);
        assert_eq!(request.bytes().len(), len);
        server.open(&request).round_trip();
    }
    let mut feeds = Request::to("/web");
    feeds.line_end = "\n";
    server.open(&feeds.filled_to(8191)).round_trip();
}

// protocol.md 1.4
#[test]
fn bytes_behind_the_head_do_not_count_for_its_limit() {
    let server = Server::start("");
    let head = Request::to("/web").filled_to(8191).bytes();
    let mut conn = connect(&server);
    conn.send_bytes(&[head, frame::text(ECHO)].concat());
    assert_eq!(conn.read_response().status(), 101);
    conn.expect_ready();
    conn.expect_next();
    conn.expect_text(ECHO);
}

// protocol.md 1.4
#[test]
fn a_head_of_8192_bytes_is_431() {
    let server = Server::start("");
    expect_refusal(&server, &Request::to("/web").filled_to(8192), 431);
}

// protocol.md 1.4
#[test]
fn a_head_that_has_not_ended_after_8192_bytes_is_431() {
    let server = Server::start("");
    let mut witness = server.web();
    let endless = Request::to("/web").filled_to(9000).bytes();
    let mut conn = connect(&server);
    conn.send_bytes(&endless[..4000]);
    witness.wait_until_handled();
    conn.send_bytes(&endless[4000..8192]);
    let response = conn.read_response();
    assert_eq!(response.status(), 431);
    expect_complete(&response);
    conn.expect_eof();

    let mut far_too_long = connect(&server);
    far_too_long.send_bytes(&Request::to("/web").filled_to(16_384).bytes());
    assert_eq!(far_too_long.read_response().status(), 431);
    far_too_long.expect_end();
}

// protocol.md 1.5
#[test]
fn what_is_no_websocket_request_is_400() {
    let server = Server::start("");
    let request = || Request::to("/web");
    let table = [
        request().without("Upgrade"),
        request().set("Upgrade", "h2c"),
        request().set("Upgrade", ""),
        request().without("Connection"),
        request().set("Connection", "keep-alive"),
        request().without("Host"),
        request().set("Host", ""),
        request().without("Sec-WebSocket-Key"),
        request().set("Sec-WebSocket-Key", ""),
        request().set("Sec-WebSocket-Key", "not base64 at all!!!!!!!"),
        // 15 and 17 bytes, and 16 without their padding.
        request().set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAA"),
        request().set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAAA="),
        request().set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA"),
        request().with_line("GET /web HTTP/1.0"),
        request().with_line("GET /web HTTP/0.9"),
        request().with_line("GET /web"),
        request().with_line("GET"),
        request().with_line("hello"),
        Request {
            headers: vec![("Host".into(), "localhost".into())],
            ..request()
        },
    ];
    for bad in &table {
        expect_refusal(&server, bad, 400);
    }
}

// protocol.md 1.5
#[test]
fn a_header_line_without_colon_is_400() {
    let server = Server::start("");
    let head = String::from_utf8(Request::to("/web").bytes()).expect("ASCII");
    let mut conn = connect(&server);
    conn.send_bytes(head.replace("Host: localhost", "Host localhost").as_bytes());
    let response = conn.read_response();
    assert_eq!(response.status(), 400);
    expect_complete(&response);
    conn.expect_eof();
}

// protocol.md 1.5
#[test]
fn other_methods_are_405_with_allow() {
    let server = Server::start("");
    for method in ["POST", "PUT", "DELETE", "get"] {
        let request = Request::to("/web").with_line(&format!("{method} /web HTTP/1.1"));
        let response = expect_refusal(&server, &request, 405);
        let allow = response.header("Allow").unwrap_or_default();
        assert!(allow.split(',').any(|m| m.trim() == "GET"), "{response:?}");
    }
}

// protocol.md 1.5
#[test]
fn other_versions_are_426_and_told_which_one() {
    let server = Server::start("");
    let versions = ["12", "14", "8", "", "1 3", "thirteen", "013"];
    let wrong = versions.map(|v| Request::to("/web").set("Sec-WebSocket-Version", v));
    let missing = [Request::to("/web").without("Sec-WebSocket-Version")];
    for request in wrong.iter().chain(&missing) {
        let response = expect_refusal(&server, request, 426);
        assert_eq!(response.header("Sec-WebSocket-Version"), Some("13"));
    }
}

// protocol.md 1.6
#[test]
fn origin_may_be_absent_empty_or_any() {
    let server = Server::start("");
    server.open(&Request::to("/web")).round_trip();
    for origin in ["", "null", "https://example.org"] {
        server
            .open(&Request::to("/web").with("Origin", origin))
            .round_trip();
    }
}

// protocol.md 1.6
#[test]
fn with_allowed_origins_others_are_403() {
    let server = Server::start("allowedOrigins=https://example.org, http://localhost:8080");
    let from = |origin: &str| Request::to("/web").with("Origin", origin);
    let mut admitted = [
        server.open(&from("https://example.org")),
        server.open(&from("http://localhost:8080")),
        // Scripts have no origin.
        server.php(),
    ];
    let strangers = [
        "http://example.org",
        "https://example.org:8443",
        "https://www.example.org",
        "https://example.org.evil.com",
        "null",
        "",
    ];
    let missing = [Request::to("/web")];
    for request in strangers.map(from).iter().chain(&missing) {
        let mut conn = connect(&server);
        let response = conn.request(request);
        assert_eq!(response.status(), 403, "{request:?}");
        expect_complete(&response);
        conn.expect_eof();
    }
    for conn in &mut admitted {
        conn.round_trip();
    }
}

// protocol.md 1.7
#[test]
fn scripts_from_an_address_that_is_not_allowed_are_403() {
    let server = Server::start("allowedIP=10.0.0.1");
    expect_refusal(&server, &Request::php("/php"), 403);
    expect_refusal(&server, &Request::php("/web"), 403);
    server.web().round_trip();
}

// protocol.md 1.7
#[test]
fn scripts_from_a_listed_address_or_network_come_in() {
    for list in ["127.0.0.1", "10.0.0.1, 127.0.0.0/8"] {
        let server = Server::start(&format!("allowedIP={list}"));
        server.php().round_trip();
    }
}

// protocol.md 1.7
#[test]
fn scripts_from_loopback_and_from_the_listened_address_come_in_by_default() {
    Server::start("").php().round_trip();
    let ip = own_address();
    Server::start(&format!("adress=ws://{ip}:0"))
        .php()
        .round_trip();
    let server = Server::start(&format!("adress=ws://{ip}:0\nallowedIP=127.0.0.1"));
    expect_refusal(&server, &Request::php("/php"), 403);
}

/// An IPv4 address of this machine that is not loopback, from the kernel's table of its own.
#[track_caller]
fn own_address() -> Ipv4Addr {
    let table = std::fs::read_to_string("/proc/net/fib_trie").expect("the kernel's table");
    // An address of this machine is a line of its own, and the next one says what it is.
    let lines = table.lines().zip(table.lines().skip(1));
    let own = lines.filter(|(_, kind)| kind.trim() == "/32 host LOCAL");
    own.filter_map(|(address, _)| address.trim().strip_prefix("|-- ")?.parse().ok())
        .find(|ip: &Ipv4Addr| !ip.is_loopback())
        .expect("an address beside loopback; `ip address add 192.0.2.1/32 dev lo` gives one")
}

/// Headers by which a peer that is no trusted proxy may claim to be somebody else.
const CLAIMS: [&str; 3] = ["X-Forwarded-For", "X-Real-IP", "Client-IP"];

// protocol.md 1.8
#[test]
fn a_claimed_address_lets_no_script_in() {
    let server = Server::start("allowedIP=10.0.0.1");
    for header in CLAIMS {
        expect_refusal(&server, &Request::php("/php").with(header, "10.0.0.1"), 403);
    }
}

// protocol.md 1.8
// protocol.md 1.11
#[test]
fn a_claimed_address_is_no_way_around_max_per_ip() {
    let server = Server::start("maxPerIP=1");
    let mut first = server.web();
    for header in CLAIMS {
        let request = Request::to("/web").with(header, "8.8.8.8");
        let error = "Too many connections from: 127.0.0.1";
        expect_turned_away(connect(&server), &request, error, 1008);
    }
    first.round_trip();
}

// protocol.md 1.9
#[test]
fn an_ident_is_trimmed_and_belongs_to_either_kind_of_client() {
    let server = Server::start("");
    let mut sender = server.web();
    for request in [Request::to("/web"), Request::php("/php")] {
        let ident = format!("till {}", unique_number());
        let mut named = server.open(&request.with("Ident", &format!("  \t{ident} \t ")));
        let packet = format!(r#"{{"opcode":"feedback","ident":"{ident}"}}"#);
        sender.send_for_next(&packet);
        named.expect_text(&packet);
        sender.send_for_next(&format!(r#"{{"opcode":"feedback","ident":" {ident}"}}"#));
        named.round_trip();
    }
}

// protocol.md 1.9
#[test]
fn an_empty_ident_is_none() {
    let server = Server::start("");
    let mut nameless = [
        server.web_named(""),
        server.web_named("   "),
        server.php_named(""),
        server.php_named("\t"),
    ];
    let mut sender = server.web();
    for ident in ["", " ", "   ", "\\t"] {
        sender.send_for_next(&format!(r#"{{"opcode":"feedback","ident":"{ident}"}}"#));
    }
    for conn in &mut nameless {
        conn.round_trip();
    }
}

// protocol.md 1.10
#[test]
fn an_unknown_path_is_told_in_a_packet_and_a_close_frame() {
    let server = Server::start("");
    expect_turned_away(
        connect(&server),
        &Request::to("/nope"),
        "no resource /nope",
        1008,
    );
    expect_turned_away(
        connect(&server),
        &Request::php("/nope"),
        "no resource /nope",
        1008,
    );
}

// protocol.md 1.10
#[test]
fn a_path_cannot_break_out_of_the_packet_that_names_it() {
    let server = Server::start("");
    for path in [
        r#"/"x"#,
        r#"/a","opcode":"ready"#,
        r"/b\",
        "/%22",
        "/\u{e9}",
    ] {
        let mut conn = connect(&server);
        conn.upgrade(&Request::to(path));
        let packet = serde_json::json!({
            "opcode": "close",
            "error": format!("no resource {path}"),
        });
        conn.expect_json(&packet.to_string());
        conn.expect_close_and_end(1008);
    }
    server.web().round_trip();
}

// protocol.md 1.10
#[test]
fn a_path_as_long_as_the_head_allows_is_answered_too() {
    let server = Server::start("");
    let path = format!("/{}", "p".repeat(7_000));
    let error = format!("no resource {path}");
    expect_turned_away(connect(&server), &Request::to(&path), &error, 1008);
}

const TOO_MANY: &str = "Too many connections";

// protocol.md 1.11
#[test]
fn over_max_clients_everybody_is_turned_away_with_1013() {
    let server = Server::start("maxClients=3");
    let mut web = server.web();
    let mut php = server.php();
    let third = server.web();
    for request in [Request::to("/web"), Request::php("/php"), Request::to("/")] {
        expect_turned_away(connect(&server), &request, TOO_MANY, 1013);
    }
    third.close();
    let fourth = server.php();
    expect_turned_away(connect(&server), &Request::to("/web"), TOO_MANY, 1013);
    web.round_trip();
    php.round_trip();
    drop(fourth);
}

// protocol.md 1.11
#[test]
fn over_max_per_ip_web_clients_are_turned_away_with_1008() {
    let server = Server::start("maxPerIP=2");
    let error = "Too many connections from: 127.0.0.1";
    let turn_away = || expect_turned_away(connect(&server), &Request::to("/web"), error, 1008);
    let mut first = server.web();
    let second = server.open(&Request::to("/"));
    turn_away();
    turn_away();
    second.close();
    let mut second = server.web();
    turn_away();
    first.round_trip();
    second.round_trip();
}

// protocol.md 1.11
#[test]
fn scripts_do_not_count_for_max_per_ip() {
    let server = Server::start("maxPerIP=1");
    let mut scripts = [server.php(), server.php(), server.php()];
    let mut web = server.web();
    let mut another = server.php();
    for script in &mut scripts {
        script.round_trip();
    }
    web.round_trip();
    another.round_trip();
}

// protocol.md 1.11
#[test]
fn a_place_is_free_again_however_its_holder_has_gone() {
    let server = Server::start("maxPerIP=1");
    let error = "Too many connections from: 127.0.0.1";
    type AddressSource = (&'static str, fn(Conn));
    let ways: [AddressSource; 4] = [
        ("close frame", Conn::close),
        ("reset", Conn::reset),
        ("end of stream", drop),
        ("quit", |mut conn| {
            conn.send_text(r#"{"opcode":"quit"}"#);
            conn.expect_next();
            conn.expect_close_and_end(1000);
        }),
    ];
    for (how, go) in ways {
        let conn = server.web();
        expect_turned_away(connect(&server), &Request::to("/web"), error, 1008);
        go(conn);
        // A reset and an end are noticed when the server comes to it.
        crate::harness::eventually(how, || {
            let mut next = connect(&server);
            next.upgrade(&Request::to("/web"));
            next.read_text("ready or a close packet").contains("ready")
        });
        // The one that came in has been dropped, so the place comes free once more.
        crate::harness::eventually(how, || {
            let mut php = server.php();
            php.wait_until_handled();
            let mut next = connect(&server);
            next.upgrade(&Request::to("/web"));
            let came_in = next.read_text("ready or a close packet").contains("ready");
            if came_in {
                next.close();
            }
            came_in
        });
    }
}

// protocol.md 1.12
#[test]
fn unknown_extensions_and_subprotocols_are_not_echoed() {
    let server = Server::start("");
    let request = Request::to("/web")
        .with(
            "Sec-WebSocket-Extensions",
            "x-webkit-deflate-frame, foo; bar=1; baz=\"q\"",
        )
        .with("Sec-WebSocket-Protocol", "chat, superchat")
        .with("X-Something-Else", "1");
    let mut conn = connect(&server);
    let response = conn.upgrade(&request);
    assert_eq!(response.header("Sec-WebSocket-Extensions"), None);
    assert_eq!(response.header("Sec-WebSocket-Protocol"), None);
    assert_eq!(response.header("X-Something-Else"), None);
    conn.expect_ready();
    conn.round_trip();
}

// protocol.md 1.2
// protocol.md 2.1
#[test]
fn ready_follows_the_101_without_a_word_from_the_client() {
    let server = Server::start("");
    let mut conn = connect(&server);
    conn.upgrade(&Request::to("/web").set("Sec-WebSocket-Key", KEY));
    conn.expect_ready();
    conn.send_bytes(&frame::masked(FIN | TEXT, b"{}"));
    conn.expect_text(NEXT);
}

// protocol.md 1.12
#[test]
fn of_the_subprotocols_that_a_client_asks_for_the_first_known_one_is_chosen() {
    let server = Server::start("subprotocols=chat, v1.example");
    for (asked, chosen) in [
        ("chat", Some("chat")),
        ("v1.example", Some("v1.example")),
        ("v1.example, chat", Some("v1.example")),
        ("foo ,chat,v1.example", Some("chat")),
        ("Chat", None),
        ("chatter", None),
        ("foo", None),
        ("", None),
    ] {
        for request in [Request::to("/web"), Request::php("/php")] {
            let mut conn = connect(&server);
            let request = request.with("Sec-WebSocket-Protocol", asked);
            let response = conn.upgrade(&request);
            let answer = response.header("Sec-WebSocket-Protocol");
            assert_eq!(answer, chosen, "{request:?}");
            conn.expect_ready();
        }
    }
    let two_lines = Request::to("/web")
        .with("Sec-WebSocket-Protocol", "foo")
        .with("Sec-WebSocket-Protocol", "v1.example, chat");
    let response = connect(&server).upgrade(&two_lines);
    let answer = response.header("Sec-WebSocket-Protocol");
    assert_eq!(answer, Some("v1.example"));
    let response = connect(&server).upgrade(&Request::to("/web"));
    assert_eq!(response.header("Sec-WebSocket-Protocol"), None);
}

// protocol.md 1.9
#[test]
fn an_ident_longer_than_max_ident_is_400() {
    for (ini, most) in [("", 128), ("maxIdent=5", 5), ("maxIdent=1K", 1024)] {
        let server = Server::start(ini);
        for request in [Request::to("/web"), Request::php("/php")] {
            for len in [most - 1, most] {
                let ident = "i".repeat(len);
                let mut conn = server.open(&request.clone().with("Ident", &ident));
                let to_oneself = format!(r#"{{"opcode":"feedback","ident":"{ident}"}}"#);
                conn.send_text(&to_oneself);
                conn.expect_next();
                conn.expect_text(&to_oneself);
                // The next one of that ident is not to be the second.
                conn.shut_down_write();
                conn.read_to_end();
            }
            for ident in ["i".repeat(most + 1), "9".repeat(4000)] {
                let response = connect(&server).request(&request.clone().with("Ident", &ident));
                expect_complete(&response);
                assert_eq!(response.status(), 400);
                assert!(response.body.contains("maxIdent"), "{response:?}");
            }
        }
    }
}

// protocol.md 1.9
#[test]
fn an_ident_that_is_no_text_is_400() {
    let server = Server::start("");
    let head = Request::to("/web").with("Ident", "M?ller").bytes();
    let place = head.windows(6).position(|six| six == b"M?ller");
    let mut head = head;
    head[place.expect("the ident") + 1] = 0xfc;
    let mut conn = connect(&server);
    conn.send_bytes(&head);
    let response = conn.read_response();
    expect_complete(&response);
    assert_eq!(response.status(), 400);
    assert!(response.body.contains("UTF-8"), "{response:?}");
}

//! Who is at the other end of a proxy (protocol.md 1.7, 1.8, 1.11).

use crate::harness::{Request, Server, connect};
use crate::upgrade::{expect_refusal, expect_turned_away};

/// Headers that proxies add, and what they say.
const TRACES: [(&str, &str); 7] = [
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Forwarded-Proto", "https"),
    ("Forwarded", "for=127.0.0.1"),
    ("Forwarded", "for=\u{fc}"),
    ("X-Real-IP", "127.0.0.1"),
    ("Client-IP", "127.0.0.1"),
    ("Via", "1.1 proxy"),
];

fn script(header: &str, value: &str) -> Request {
    Request::php("/php").with(header, value)
}

// protocol.md 1.7
// protocol.md 1.8
#[test]
fn a_script_through_an_unknown_proxy_is_refused_and_the_log_names_the_key() {
    let server = Server::start("");
    for (header, value) in TRACES {
        let response = expect_refusal(&server, &script(header, value), 403);
        assert!(response.body.contains("trustedProxies"), "{response:?}");
    }
    server.wait_for_log("set trustedProxies=127.0.0.1");
    let told = server.log_lines().into_iter();
    let told = told.filter(|line| line.contains("set trustedProxies"));
    assert_eq!(told.count(), 1, "a flood of them is told once");
}

// protocol.md 1.8
#[test]
fn a_push_through_an_unknown_proxy_is_refused() {
    let server = Server::start("");
    let push = Request::to("/push")
        .with_line("POST /push HTTP/1.1")
        .without("Upgrade")
        .set("Connection", "close")
        .with("Content-Type", "application/json")
        .with("Content-Length", "2");
    for (header, value) in TRACES {
        expect_refusal(&server, &push.clone().with(header, value), 403);
    }
    server.wait_for_log("set trustedProxies=127.0.0.1");
}

// protocol.md 1.8
#[test]
fn web_clients_come_through_an_unknown_proxy() {
    let server = Server::start("");
    for (header, value) in TRACES {
        let request = Request::to("/web").with(header, value);
        server.open(&request).round_trip();
    }
}

// protocol.md 1.7
// protocol.md 1.8
#[test]
fn a_script_behind_a_trusted_proxy_is_judged_by_its_own_address() {
    let server = Server::start("trustedProxies=127.0.0.1, 10.0.0.0/8\nallowedIP=192.0.2.7");
    for (header, value) in [
        ("X-Forwarded-For", "192.0.2.7"),
        ("X-Forwarded-For", "1.1.1.1, 192.0.2.7, 10.1.2.3"),
        ("Forwarded", "for=192.0.2.7;proto=https"),
    ] {
        server.open(&script(header, value)).round_trip();
    }
    server.wait_for_log("is 192.0.2.7, forwarded by 127.0.0.1");
    for (header, value) in [
        ("X-Forwarded-For", "192.0.2.8"),
        ("X-Forwarded-For", "192.0.2.7, 192.0.2.8"),
        ("X-Forwarded-For", "192.0.2.7, unknown"),
        ("Forwarded", "for=192.0.2.8"),
        ("Via", "1.1 proxy"),
    ] {
        expect_refusal(&server, &script(header, value), 403);
    }
    // Directly from the proxy's machine: by the address that it has.
    expect_refusal(&server, &Request::php("/php"), 403);
}

// protocol.md 1.8
#[test]
fn two_headers_that_disagree_let_no_script_in() {
    let server = Server::start("trustedProxies=127.0.0.1");
    let request = script("X-Forwarded-For", "192.0.2.8").with("Forwarded", "for=127.0.0.1");
    expect_refusal(&server, &request, 403);
    let local = script("X-Forwarded-For", "127.0.0.1").with("Forwarded", "for=127.0.0.1");
    server.open(&local).round_trip();
}

// protocol.md 1.8
// protocol.md 1.11
#[test]
fn behind_a_trusted_proxy_each_address_has_places_of_its_own() {
    let server = Server::start("trustedProxies=127.0.0.1\nmaxPerIP=1");
    let from = |ip| Request::to("/web").with("X-Forwarded-For", ip);
    let mut first = server.open(&from("192.0.2.7"));
    let mut second = server.open(&from("2001:db8::7"));
    let error = "Too many connections from: 192.0.2.7";
    expect_turned_away(connect(&server), &from("192.0.2.7"), error, 1008);
    second.round_trip();
    first.round_trip();
    first.close();
    second.wait_until_handled();
    server.open(&from("192.0.2.7")).round_trip();
}

// protocol.md 1.8
#[test]
fn each_request_of_a_proxys_connection_has_its_own_address() {
    let server = Server::start("trustedProxies=127.0.0.1");
    let mut conn = connect(&server);
    let push = |ip: &str| {
        format!(
            "POST /push HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {ip}\r\n\
             Content-Type: application/json\r\nContent-Length: 22\r\n\r\n{{\"opcode\":\"broadcast\"}}"
        )
    };
    conn.send_bytes(push("127.0.0.1").as_bytes());
    assert_eq!(conn.read_response().status(), 200);
    conn.send_bytes(push("192.0.2.7").as_bytes());
    assert_eq!(conn.read_response().status(), 403);
}

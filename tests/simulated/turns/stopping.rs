//! SIGTERM: everybody is told, and nobody outlives the deadline (protocol.md 5.5).

use std::time::Duration;

use websock::ops::signals::Signal;

use crate::client;
use crate::server::{Server, request_to, settings};

#[test]
fn everybody_is_told_and_the_server_ends_with_the_last_of_them() {
    let mut settings = settings();
    settings.compression.is_on = true;
    let mut server = Server::new(&settings);
    let mut clients = [
        server.open("192.0.2.1"),
        server.open_compressed("192.0.2.1"),
        server.open_at("/echo", "", "192.0.2.1"),
        server.open_php("a", "127.0.0.1"),
    ];
    server.advance(Duration::from_millis(10));
    let silent = server.connect("192.0.2.1");
    let resting = server.connect("192.0.2.1");
    resting.send(b"GET /websock.js HTTP/1.1\r\nHost: a\r\n\r\n");
    server.settle();
    server.system.signal(Signal::Stop);
    server.settle();
    assert!(resting.closed().is_some());
    let late = server.ask(&late_handshake(), "192.0.2.1");
    assert!(late.starts_with("HTTP/1.1 503 "), "{late}");
    assert!(late.contains("\r\nRetry-After: "), "{late}");
    for client in &mut clients {
        assert!(!server.event_loop.is_done());
        assert_eq!(client.heard(), ["close 1001"]);
        client.end.send(&client::close(1001, ""));
        server.settle();
        assert!(client.end.closed().is_some());
    }
    assert!(silent.closed().is_some());
    let later = server.connect("192.0.2.1");
    assert!(later.closed().is_some(), "nobody is taken any more");
    assert!(server.event_loop.is_done());
    assert_eq!(server.event_loop.held_bytes(), 0);
}

#[test]
fn who_does_not_answer_is_cut_at_the_deadline_and_by_a_second_signal() {
    for has_second in [false, true] {
        let mut server = Server::new(&settings());
        let end = server.connect_with("192.0.2.1", 2000);
        let deaf = server.open_on(end, "/echo", "");
        deaf.end.offer(&client::text(&"x".repeat(1900)));
        server.settle();
        deaf.end.offer(&client::text(&"x".repeat(1900)));
        server.settle();
        server.system.signal(Signal::Stop);
        server.settle();
        let wait = server.event_loop.next_wait().unwrap();
        assert!(wait <= Duration::from_secs(6), "{wait:?}");
        server.advance(Duration::from_secs(4));
        assert!(!server.event_loop.is_done());
        if has_second {
            server.system.signal(Signal::Stop);
            server.turn();
        } else {
            server.advance(Duration::from_secs(2));
        }
        assert!(server.event_loop.is_done());
    }
}

#[test]
fn messages_before_the_end_still_leave() {
    let mut server = Server::new(&settings());
    let mut client = server.open_at("/echo", "", "192.0.2.1");
    client.say("last words");
    server.system.signal(Signal::Stop);
    client.say("after the signal");
    server.settle();
    let heard = client.heard();
    assert_eq!(heard[0], "last words");
    assert_eq!(heard.last().unwrap(), "close 1001");
}

fn late_handshake() -> String {
    String::from_utf8(request_to("/web", "")).unwrap()
}

//! One of several servers (protocol.md §11) is another process from then on.

use rustix::process::Signal;

use crate::fleet::Fleet;
use crate::harness::redis::Redis;
use crate::harness::{Request, connect_to, eventually};

const SECRET: &str = "a secret that is the same at all servers";

/// What signs in user 42, with this key until the year 2100.
const KEY: &str = "a secret of thirty-two bytes or more";
const TOKEN: &str = concat!(
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
    "eyJzdWIiOiI0MiIsImV4cCI6NDEwMjQ0NDgwMCwiYXVkIjoid2Vic29jayJ9.",
    "2HTyoUyDqc3AsFiZMj4gt7jsZFxRWVR4DuKfcErdNqQ"
);

/// Servers around one Redis.
fn start(redis: &Redis, more: &str) -> Fleet {
    let address = redis.address();
    let fleet = Fleet::start(&format!(
        "backplane=redis://{address}\nbackplaneSecret={SECRET}\n{more}"
    ));
    fleet.run.wait_for_log("backplane: connected");
    fleet
}

/// How often this was published.
fn published_count(redis: &Redis, text: &str) -> usize {
    let state = redis.state();
    let payloads = state.published.iter().map(|(_, payload)| payload);
    let has_text = |payload: &&Vec<u8>| {
        let mut parts = payload.windows(text.len());
        parts.any(|part| part == text.as_bytes())
    };
    payloads.filter(has_text).count()
}

// protocol.md 11.2, 11.3
#[test]
fn what_is_for_a_page_comes_once_while_the_process_before_still_ends() {
    let redis = Redis::start();
    let mut fleet = start(&redis, "takeoverTime=0");
    let other = start(&redis, "");
    let mut page = fleet.web();
    let mut sender = other.web();
    // It is not done, and does not answer when it is told to go: so long the old process stays.
    let mut laggard = fleet.web();
    laggard.send_bytes(&[0x81, 0xFE, 1]);
    page.round_trip();
    let successor = fleet.successor();
    successor.wait_for_log("connections taken over from process");
    successor.wait_for_log("backplane: connected");
    let predecessor = std::mem::replace(&mut fleet.run, successor);
    for n in 0..3 {
        let packet = format!(r#"{{"opcode":"feedback","uuid":"{}","n":{n}}}"#, page.uuid);
        sender.send_for_next(&packet);
        page.expect_text(&packet);
        assert_eq!(redis.subscriber_count("websock:b"), 3, "it is there");
    }
    laggard.expect_close(1001);
    drop(laggard);
    assert!(predecessor.wait_exit().success());
    // Nor has the old process sent it on.
    assert_eq!(published_count(&redis, &page.uuid), 3);
    page.round_trip();
}

// protocol.md 11.3
#[test]
fn what_is_for_an_ident_arrives_though_others_are_asked_still_who_has_it() {
    let redis = Redis::start();
    let mut fleet = start(&redis, "backplaneTimeout=2s");
    let other = start(&redis, "");
    let named = Request::to("/web").with("Ident", "shop");
    let mut page = fleet.open(&named);
    let mut sender = fleet.web();
    let _later = other.open(&named);
    eventually("subscriptions", || {
        redis.subscriber_count("websock:i:shop") == 2
    });
    other.run.signal(Signal::STOP);
    let packet = r#"{"opcode":"feedback","ident":"shop","n":1}"#;
    sender.send_for_next(packet);
    fleet.replace();
    page.expect_text(packet);
    page.round_trip();
    other.run.signal(Signal::CONT);
}

// protocol.md 9.8, 11.5
#[test]
fn what_was_said_to_a_user_before_it_was_heard_is_a_gap_at_the_next_process_too() {
    let redis = Redis::start();
    let mut fleet = start(&redis, &format!("authKey={KEY}"));
    let cookie = format!("websock_token={TOKEN}");
    let cursor = |fleet: &Fleet| {
        let mut conn = connect_to(fleet.address);
        conn.send_bytes(b"GET /position HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let body = conn.read_response().body;
        body.split('"').nth(3).expect("a cursor").to_owned()
    };
    let before = cursor(&fleet);
    let resuming = |fleet: &Fleet, more: &str| {
        let mut conn = connect_to(fleet.address);
        let target = format!("/web?resume=1{more}");
        conn.upgrade(&Request::to(&target).with("Cookie", &cookie));
        conn.read_text("ready");
        conn
    };
    let mut first = resuming(&fleet, "");
    eventually("a subscription", || {
        redis.subscriber_count("websock:u:42") == 1
    });
    let behind = cursor(&fleet);
    fleet.replace();
    fleet.run.wait_for_log("backplane: connected");
    first.round_trip();
    for (since, is_told) in [(before, true), (behind, false)] {
        let mut page = resuming(&fleet, &format!("&since={since}"));
        if is_told {
            let gap = page.read_text("a gap");
            assert!(gap.contains(r#""gap":"backplane""#), "{gap}");
        }
        page.round_trip();
    }
}

// protocol.md 11.4, 12.1
#[test]
fn a_push_that_waits_for_others_is_answered_by_a_process_that_ends() {
    for is_taken_over in [true, false] {
        let redis = Redis::start();
        let mut fleet = start(&redis, "backplaneTimeout=2s\ntakeoverTime=0");
        let other = start(&redis, "");
        other.run.signal(Signal::STOP);
        let mut pusher = connect_to(fleet.address);
        let packet = r#"{"opcode":"broadcast","n":1}"#;
        pusher.send_bytes(
            format!(
                "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{packet}",
                packet.len()
            )
            .as_bytes(),
        );
        eventually("it to be sent", || published_count(&redis, packet) == 1);
        match is_taken_over {
            true => drop(fleet.replace()),
            false => fleet.run.signal(Signal::TERM),
        }
        let response = pusher.read_response();
        let answer = r#"{"delivered":0,"nodes":{"asked":1,"answered":0}}"#;
        assert_eq!((response.status(), response.body.trim_end()), (200, answer));
        pusher.expect_eof();
        other.run.signal(Signal::CONT);
    }
}

// protocol.md 11.3, 12.1
#[test]
fn what_is_for_an_ident_elsewhere_is_sent_before_a_server_ends() {
    let redis = Redis::start();
    let fleet = start(&redis, "backplaneTimeout=10s\nshutdownTimeout=20s");
    let other = start(&redis, "");
    let mut page = other.open(&Request::to("/web").with("Ident", "shop"));
    let mut sender = fleet.web();
    eventually("a subscription", || {
        redis.subscriber_count("websock:i:shop") == 1
    });
    other.run.signal(Signal::STOP);
    let packet = r#"{"opcode":"feedback","ident":"shop","n":1}"#;
    sender.send_for_next(packet);
    fleet.run.signal(Signal::TERM);
    sender.expect_close(1001);
    drop(sender);
    eventually("nobody is let in any more", || {
        std::net::TcpStream::connect(fleet.address).is_err()
    });
    other.run.signal(Signal::CONT);
    page.expect_text(packet);
    assert!(fleet.run.wait_exit().success());
}

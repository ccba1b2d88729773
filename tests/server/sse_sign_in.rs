//! Who reads a stream of events (protocol.md 9.9): found out as for web clients.

use crate::harness::events::{EVENT_SOURCE, Events, post, request};
use crate::harness::{Server, connect, eventually};
use crate::sign_in::{NOT_SIGNED_IN, Sessions};
use crate::sign_in_asking::{Application, header, response};
use crate::sse::{ask, closing, message, push, turned_away};
use crate::users::{KEY, token};

/// What an `EventSource` sends whose cookie is this.
fn with_cookie(cookie: &str) -> String {
    format!("{EVENT_SOURCE}Cookie: {cookie}\r\n")
}

/// The user that a stream's `ready` names.
fn user_of(events: &Events) -> Option<String> {
    let ready: serde_json::Value = serde_json::from_str(&events.ready).expect("JSON");
    Some(ready.get("user")?.as_str().expect("a text").to_owned())
}

#[track_caller]
fn expect_no(server: &Server, target: &str, headers: &str) {
    let response = ask(server, &request(target, headers));
    assert_eq!(response.status(), 401, "{response:?}");
    assert!(response.header("WWW-Authenticate").is_some());
    assert!(response.body.contains("not signed in"), "{response:?}");
}

// protocol.md 9.9
// protocol.md 8.1
#[test]
fn a_session_says_who_reads_a_stream_and_a_logout_ends_it() {
    let sessions = Sessions::new("sse");
    sessions.sign_in("one", "42");
    let ini = format!(
        "[jsauth]\nrequire=true\nssp={}\n[websocketserver]\nuserKey=user\n",
        { sessions.0.display() }
    );
    let server = Server::start(&ini);
    let mut events = Events::open(&server, "/sse?user=1", &with_cookie("PHPSESSID=one"));
    assert_eq!(user_of(&events).as_deref(), Some("42"));
    let mut plain = Events::open(&server, "/sse", &with_cookie("PHPSESSID=one"));
    assert_eq!(user_of(&plain), None, "it has not opted in");
    let packet = r#"{"opcode":"feedback","user":"42","x":1}"#;
    assert_eq!(push(&server, packet), (200, r#"{"delivered":2}"#.into()));
    events.expect_text(packet);
    plain.expect_text(packet);
    let here = ask(&server, "GET /users/42 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(here.body, "{\"user\":\"42\",\"tabs\":2}\n");
    expect_no(&server, "/sse", EVENT_SOURCE);
    expect_no(&server, "/sse", &with_cookie("PHPSESSID=two"));
    // Whatever page may read at all may read why.
    let shared = format!("{EVENT_SOURCE}Origin: http://localhost:1\r\n");
    let refused = ask(&server, &request("/sse", &shared));
    let allowed = refused.header("Access-Control-Allow-Origin");
    assert_eq!(
        (refused.status(), allowed),
        (401, Some("http://localhost:1"))
    );
    let logout = r#"{"opcode":"logout","user":"42"}"#;
    assert_eq!(push(&server, logout), (200, r#"{"closed":2}"#.into()));
    for stream in [&mut events, &mut plain] {
        stream.expect_text(r#"{"opcode":"close","error":"logged out"}"#);
        stream.expect_close(4401, "logged out");
    }
}

// protocol.md 9.9
// protocol.md 8.6
#[test]
fn who_is_not_known_is_told_to_come_back() {
    let application = Application::answering(|head| {
        let cookie = header(head, "Cookie");
        Some(match cookie {
            Some("user=7") => response("200 OK", "", r#"{"user":"7"}"#),
            Some("user=no") => response("403 Forbidden", "", ""),
            _ => response("503 Service Unavailable", "Retry-After: 30\r\n", ""),
        })
    });
    let server = Server::start(&application.ini());
    let events = Events::open(&server, "/sse?user=1", &with_cookie("user=7"));
    assert_eq!(user_of(&events).as_deref(), Some("7"));
    expect_no(&server, "/sse", &with_cookie("user=no"));
    let undecided = "it could not be found out who you are: try again";
    let (retry, told) = turned_away(&server, &request("/sse", &with_cookie("a=b")));
    assert!((31_000..=34_000).contains(&retry), "{retry}");
    let packet = format!(r#"{{"opcode":"close","error":"{undecided}"}}"#);
    assert_eq!(told, [message(&packet), closing(1013, undecided)]);
    let response = ask(&server, &request("/sse", "Cookie: c=d\r\n"));
    assert_eq!(response.status(), 503);
    let after = response.header("Retry-After").expect("a time");
    assert!(
        (1..=30).contains(&after.parse::<u32>().expect("seconds")),
        "{after}"
    );
}

// protocol.md 9.9
// protocol.md 8.5
#[test]
fn a_token_comes_by_its_cookie_and_never_as_a_first_message() {
    let server = Server::start(&format!("authKey={KEY}\n"));
    let cookie = with_cookie(&format!("websock_token={}", token("me")));
    let mut events = Events::open(&server, "/sse?user=1", &cookie);
    assert_eq!(user_of(&events).as_deref(), Some("me"));
    events.round_trip(&server);
    expect_no(&server, "/sse", &with_cookie("websock_token=x"));
    let response = ask(&server, &request("/sse?auth=1", &cookie));
    assert_eq!(response.status(), 400);
    assert!(response.body.contains("websock_token"), "{response:?}");
}

// protocol.md 9.9
// protocol.md 8.7
#[test]
fn who_reads_a_stream_is_asked_about_again_and_comes_back_by_a_ticket() {
    let sessions = Sessions::new("sse-recheck");
    sessions.sign_in("one", "42");
    let server = Server::start(&format!(
        "authRecheck=1s\nauthIdle=close\n{}",
        sessions.ini()
    ));
    let mut events = Events::open(&server, "/sse?user=1", &with_cookie("PHPSESSID=one"));
    let ready: serde_json::Value = serde_json::from_str(&events.ready).expect("JSON");
    let ticket = ready["ticket"].as_str().expect("a ticket");
    let target = format!("/sse?user=1&ticket={ticket}");
    let back = Events::open(&server, &target, &with_cookie("PHPSESSID=one"));
    assert_eq!(user_of(&back).as_deref(), Some("42"));
    sessions.remove("one");
    assert_eq!(events.read_text("the end"), NOT_SIGNED_IN);
    events.expect_close(4401, "not signed in");
    // What it has sent by is worth nothing any more.
    let gone = crate::harness::events::body(&events.uuid, &events.secret, "ping");
    assert_eq!(post(&server, &gone, "").status(), 403);
}

// protocol.md 9.9
#[test]
fn a_client_that_goes_while_it_is_asked_about_leaves_nothing() {
    let application = Application::answering(|_| None);
    let server = Server::start(&format!("authTimeout=300ms\n{}", application.ini()));
    for number in 0..20 {
        let mut conn = connect(&server);
        conn.send_bytes(request("/sse", &with_cookie("a=b")).as_bytes());
        if number == 0 {
            eventually("it is asked about", || !application.heads().is_empty());
        }
        conn.reset();
    }
    let (_, told) = turned_away(&server, &request("/sse", &with_cookie("c=d")));
    assert_eq!(told.len(), 2);
    let (status, answer) = push(&server, r#"{"opcode":"broadcast"}"#);
    assert_eq!((status, &*answer), (200, r#"{"delivered":0}"#));
}

// protocol.md 9.9
// protocol.md 9.5
#[test]
fn what_was_said_to_a_user_waits_for_that_user_and_for_nobody_else() {
    let server = Server::start(&format!("authKey={KEY}\n"));
    let of = |user: &str| with_cookie(&format!("websock_token={}", token(user)));
    let mut events = Events::open(&server, "/sse?resume=1", &of("me"));
    let ready: serde_json::Value = serde_json::from_str(&events.ready).expect("JSON");
    let before = ready["cursor"].as_str().expect("a cursor").to_owned();
    let packet = |number| format!(r#"{{"opcode":"feedback","user":"me","number":{number}}}"#);
    assert_eq!(push(&server, &packet(1)).0, 200);
    let live = events.read();
    assert!(live.id.is_some(), "{live:?}");
    let uuid = events.uuid.clone();
    events.conn.reset();
    eventually("it has gone", || {
        push(
            &server,
            &format!(r#"{{"opcode":"feedback","uuid":"{uuid}"}}"#),
        )
        .0 == 404
    });
    assert_eq!(
        push(&server, &packet(2)),
        (202, r#"{"delivered":0,"queued":1}"#.into())
    );
    push(&server, r#"{"opcode":"broadcast","number":3}"#);
    let behind = |user: &str, id: &str| {
        let headers = format!("{}Last-Event-ID: {id}\r\n", of(user));
        let mut events = Events::open(&server, "/sse?resume=1", &headers);
        let mut numbers = Vec::new();
        loop {
            let data = events.read_text("a packet");
            let packet: serde_json::Value = serde_json::from_str(&data).expect("JSON");
            match packet["number"].as_u64() {
                Some(number) => numbers.push(number),
                None => {
                    assert_eq!(packet["opcode"], "gap", "{packet}");
                    return numbers;
                }
            }
            if numbers.last() == Some(&3) {
                events.round_trip(&server);
                return numbers;
            }
        }
    };
    assert_eq!(behind("me", &before), [1, 2, 3]);
    assert_eq!(behind("me", live.id.as_deref().expect("an id")), [2, 3]);
    assert!(
        behind("you", &before).is_empty(),
        "a gap is never filled in part"
    );
}

// protocol.md 9.6
// protocol.md 9.9
#[test]
fn a_stream_that_has_come_back_is_no_longer_waited_for() {
    let server = Server::start(&format!("authKey={KEY}\n"));
    let cookie = with_cookie(&format!("websock_token={}", token("me")));
    let mut streams: Vec<Events> = (0..2)
        .map(|_| Events::open(&server, "/sse?resume=1", &cookie))
        .collect();
    let to_me = r#"{"opcode":"feedback","user":"me"}"#;
    let mut last = String::new();
    for _ in 0..3 {
        assert_eq!(push(&server, to_me), (200, r#"{"delivered":2}"#.into()));
        for stream in &mut streams {
            last = stream.read().id.expect("an id");
        }
        let uuids: Vec<_> = streams.iter().map(|stream| stream.uuid.clone()).collect();
        streams.drain(..).for_each(|stream| stream.conn.reset());
        for uuid in uuids {
            let to_it = format!(r#"{{"opcode":"feedback","uuid":"{uuid}"}}"#);
            eventually("it has gone", || push(&server, &to_it).0 == 404);
        }
        for back in 0..2 {
            let queued = r#","queued":"#;
            let (status, answer) = push(&server, to_me);
            let expected = match back {
                0 => (202, format!(r#"{{"delivered":0{queued}2}}"#)),
                _ => (200, format!(r#"{{"delivered":1{queued}1}}"#)),
            };
            assert_eq!((status, answer), expected);
            let headers = format!("{cookie}Last-Event-ID: {last}\r\n");
            streams.push(Events::open(&server, "/sse?resume=1", &headers));
        }
        // One has missed one, and got the other live.
        for stream in &mut streams {
            (0..2).for_each(|_| assert!(stream.read().id.is_some()));
        }
    }
}

//! Streams of events, and what is sent for them: never read, opened in storms, guessed, never ended.

use crate::harness::client::NEXT;
use crate::harness::events::{EVENT_SOURCE, Events, body, post, post_by, post_request, request};
use crate::harness::{Conn, connect, eventually};
use crate::scene::{Scene, honest_client};

fn echo(len: usize) -> String {
    format!(r#"{{"opcode":"echo","pad":"{}"}}"#, "p".repeat(len))
}

#[test]
fn those_who_never_read_their_stream_are_cut_whoever_fills_it() {
    // A quarter of memoryLimit may be spare buffers, which are no leak.
    let scene = Scene::start("maxQueue=256K\ncloseTimeout=1\nmemoryLimit=24M");
    let server = &scene.server;
    let mut deaf: Vec<Events> = (0..10)
        .map(|_| Events::open(server, "/sse", EVENT_SOURCE))
        .collect();
    let mut reader = Events::open(server, "/sse", EVENT_SOURCE);
    let mut sender = honest_client(server);
    for number in 0..100 {
        let pad = "p".repeat(128 << 10);
        let packet = format!(r#"{{"opcode":"broadcast","number":{number},"pad":"{pad}"}}"#);
        sender.send_text(&packet);
        sender.expect_next();
        reader.expect_text(&packet);
        scene.step();
    }
    server.wait_for_log("maxQueue");
    for stream in &mut deaf {
        assert!(stream.conn.read_to_end().len() > 128 << 10);
    }
    // The same by their own hand: what comes back is what fills them.
    let greedy = Events::open(server, "/sse", EVENT_SOURCE);
    let long = body(&greedy.uuid, &greedy.secret, &echo(100 << 10));
    let mut count = 0;
    while post(server, &long, "").status() == 204 {
        count += 1;
        // Its queue, and what the kernel takes.
        assert!(count < 300, "it is cut too late");
        scene.step();
    }
    assert!(scene.grown_bytes() < 24 << 20, "{}", scene.grown_bytes());
    drop((deaf, reader, sender, greedy));
    scene.end();
}

#[test]
fn storms_of_streams_that_come_and_go_leave_nothing() {
    let scene = Scene::start("maxClients=200");
    let server = &scene.server;
    let long_id = "c".repeat(7000);
    for round in 0..60 {
        let conns: Vec<Conn> = (0..20)
            .map(|number| {
                let mut conn = connect(server);
                let headers = match number % 4 {
                    0 => format!("{EVENT_SOURCE}Last-Event-ID: {long_id}\r\n"),
                    1 => format!("{EVENT_SOURCE}Last-Event-ID: {number}-\u{e4}\"}}\r\n"),
                    2 => format!("{EVENT_SOURCE}Last-Event-ID: a\r\nLast-Event-ID: b\r\n"),
                    _ => String::new(),
                };
                let query = if number % 2 == 0 {
                    "?resume=1"
                } else {
                    "?user=1&since=%00"
                };
                conn.send_bytes(request(&format!("/sse{query}"), &headers).as_bytes());
                if (round + number) % 3 > 0 {
                    let head = conn.read_head();
                    assert_eq!(head.status(), 200, "{head:?}");
                }
                scene.step();
                conn
            })
            .collect();
        for (number, conn) in conns.into_iter().enumerate() {
            match (round + number) % 2 {
                0 => conn.reset(),
                _ => drop(conn),
            }
        }
        eventually("there is room again", || {
            let mut conn = connect(server);
            conn.send_bytes(request("/sse", "").as_bytes());
            conn.wait_for_answer().starts_with(b"HTTP/1.1 200")
        });
    }
    scene.end();
}

#[test]
fn guesses_at_secrets_are_all_wrong_and_harm_nobody() {
    let scene = Scene::start("");
    let server = &scene.server;
    let mut victim = Events::open(server, "/sse", EVENT_SOURCE);
    let own = Events::open(server, "/sse", EVENT_SOURCE);
    let mut conn = connect(server);
    for number in 0..600 {
        let mut secret = victim.secret.clone().into_bytes();
        let at = number % secret.len();
        secret[at] = if secret[at] == b'A' { b'B' } else { b'A' };
        // Some bits of the last letter mean nothing in base64; in a secret they do.
        let guess = match number % 4 {
            0 => String::from_utf8(secret).expect("ASCII"),
            1 => victim.secret[..at].to_owned(),
            2 => format!("{}{}", victim.secret, "A".repeat(at + 1)),
            _ => own.secret.clone(),
        };
        let packet = r#"{"opcode":"broadcast","message":"forged"}"#;
        conn.send_bytes(post_request(&body(&victim.uuid, &guess, packet), "").as_bytes());
        assert_eq!(conn.read_response().status(), 403);
        scene.step();
    }
    // Nothing has come, and nobody has been closed.
    victim.round_trip(server);
    drop((victim, own, conn));
    scene.end();
}

#[test]
fn bodies_that_never_end_are_given_up_and_giants_are_refused() {
    let scene = Scene::start("stallTimeout=1\nmaxWebMessage=64K\nmemoryLimit=64M");
    let server = &scene.server;
    let mut stuck: Vec<Conn> = (0..100)
        .map(|number| {
            let mut conn = connect(server);
            let request = post_request(&" ".repeat(100_000), "");
            conn.send_bytes(&request.as_bytes()[..request.len() - 100_000 + number]);
            scene.step();
            conn
        })
        .collect();
    for conn in &mut stuck {
        assert_eq!(conn.read_response().status(), 408);
        scene.step();
    }
    for len in [200_000, 1 << 30, usize::MAX >> 1] {
        let mut conn = connect(server);
        let head = format!(
            "POST /send HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Content-Length: {len}\r\n\r\n"
        );
        conn.send_bytes(head.as_bytes());
        assert_eq!(conn.read_response().status(), 413, "{len}");
        scene.step();
    }
    // JSON that would be large in memory, and deep.
    for content in [
        "[".repeat(100_000),
        format!("{{\"x\":{}", "[0,".repeat(30_000)),
    ] {
        assert_eq!(post_by(connect(server), &content, "").status(), 400);
        scene.step();
    }
    drop(stuck);
    scene.end();
}

#[test]
fn what_a_reader_sends_on_its_stream_costs_what_bytes_cost() {
    let scene = Scene::start("");
    let server = &scene.server;
    let mut events = Events::open(server, "/sse", EVENT_SOURCE);
    let junk = vec![b'x'; 1 << 16];
    for _ in 0..500 {
        events.conn.send_bytes(&junk);
        scene.step();
    }
    assert_eq!(events.send(server, "ping").status(), 204);
    events.expect_text(NEXT);
    assert!(scene.grown_bytes() < 16 << 20, "{}", scene.grown_bytes());
    drop(events);
    scene.end();
}

//! Requests that never come to their end.

use crate::harness::{Conn, Request, connect, readable};
use crate::scene::Scene;

#[test]
fn five_hundred_half_requests_are_ended_with_408_while_others_go_on() {
    let scene = Scene::start("handshakeTimeout=1");
    let request = Request::to("/web").bytes();
    let mut attackers: Vec<Conn> = (0..500).map(|_| connect(&scene.server)).collect();
    for (index, conn) in attackers.iter_mut().enumerate() {
        conn.send_bytes(&request[..index % request.len().min(100)]);
        scene.step();
    }
    // They drip on until the server has had enough of them.
    for conn in &mut attackers {
        if !conn.has_answer() {
            let _ = conn.try_send_bytes(b"X");
        }
        scene.step();
    }
    let mut missed = 0;
    for conn in &mut attackers {
        let answer = conn.read_to_end();
        missed += usize::from(!answer.starts_with(b"HTTP/1.1 408 "));
        // A reset, for the byte that came behind the end, may overtake a few answers.
        assert!(missed <= 10, "{missed} got no 408: {}", readable(&answer));
        scene.step();
    }
    drop(attackers);
    scene.end();
}

#[test]
fn those_beyond_max_pending_get_503_until_a_handshake_has_ended() {
    let scene = Scene::start("maxPending=20\nhandshakeTimeout=60");
    let server = &scene.server;
    let request = Request::to("/web").bytes();
    let (start, rest) = request.split_at(30);
    let mut pending: Vec<Conn> = (0..20).map(|_| connect(server)).collect();
    pending.iter_mut().for_each(|conn| conn.send_bytes(start));
    let mut missed = 0;
    for _ in 0..30 {
        let mut newcomer = connect(server);
        let answer = newcomer.wait_for_answer();
        missed += usize::from(!answer.starts_with(b"HTTP/1.1 503 "));
        // A reset may overtake a few answers.
        assert!(missed <= 3, "newcomers are not refused");
        scene.step();
    }
    server.wait_for_log("maxPending reached");
    // Who is in goes on, and makes room.
    let mut first = pending.swap_remove(0);
    first.send_bytes(rest);
    assert_eq!(first.read_response().status(), 101);
    first.expect_ready();
    let mut newcomer = connect(server);
    newcomer.send_bytes(&request);
    assert_eq!(newcomer.read_response().status(), 101);
    drop((pending, first, newcomer));
    scene.end();
}

#[test]
fn a_byte_at_a_time_does_not_prolong_a_handshake() {
    let scene = Scene::start("handshakeTimeout=1");
    let mut conn = connect(&scene.server);
    conn.send_bytes(b"GET /web HTTP/1.1\r\nX: ");
    let mut sent = 0;
    while !conn.has_answer() {
        conn.send_bytes(b"x");
        sent += 1;
        assert!(sent < 8000, "the head would be too large by now");
        scene.step();
    }
    assert_eq!(conn.read_response().status(), 408);
    drop(conn);
    scene.end();
}

#[test]
fn bodies_that_do_not_come_are_ended_with_408() {
    let scene = Scene::start("stallTimeout=1");
    let mut attackers: Vec<Conn> = (0..100).map(|_| connect(&scene.server)).collect();
    for conn in &mut attackers {
        conn.send_bytes(
            b"POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
              Content-Length: 9999999\r\n\r\n{",
        );
        scene.step();
    }
    for conn in &mut attackers {
        assert_eq!(conn.read_response().status(), 408);
        scene.step();
    }
    drop(attackers);
    scene.end();
}

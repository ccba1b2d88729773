//! Clients that die in the middle of something.

use crate::harness::frame::{FIN, TEXT, masked};
use crate::harness::{Conn, Request, connect};
use crate::scene::Scene;

/// Ends a connection: by a reset, or in order.
fn die(conn: Conn, index: usize) {
    if index.is_multiple_of(2) {
        conn.reset();
    } else {
        drop(conn);
    }
}

#[test]
fn deaths_in_mid_handshake_leave_nothing() {
    let scene = Scene::start("");
    let request = Request::to("/web").bytes();
    for round in 0..2000 {
        let mut conn = connect(&scene.server);
        conn.send_bytes(&request[..round % request.len()]);
        die(conn, round);
        scene.step();
    }
    scene.end();
}

#[test]
fn deaths_in_mid_frame_and_mid_message_leave_nothing() {
    let scene = Scene::start("");
    let long = masked(FIN | TEXT, &vec![b'x'; 100_000]);
    for round in 0..600 {
        let mut conn = scene.server.web();
        match round % 3 {
            // In the header, or early in the payload.
            0 => conn.send_bytes(&long[..1 + round % 20]),
            1 => conn.send_bytes(&long[..90_000]),
            // Between the fragments of a message.
            _ => conn.send_bytes(&masked(TEXT, &vec![b'x'; 50_000])),
        }
        die(conn, round);
        scene.step();
    }
    scene.end();
}

#[test]
fn deaths_with_output_waiting_leave_nothing() {
    let scene = Scene::start("");
    let echo = format!(r#"{{"opcode":"echo","pad":"{}"}}"#, "p".repeat(200_000));
    for round in 0..300 {
        let mut conn = scene.server.web();
        conn.send_text(&echo);
        conn.send_text(&echo);
        die(conn, round);
        scene.step();
    }
    scene.end();
}

// A failed write used to throw away what the peer had sent before.
#[test]
fn what_a_script_sent_before_it_went_without_reading_still_arrives() {
    let scene = Scene::start("");
    for _ in 0..5 {
        let mut receiver = scene.server.web_named("page");
        let mut script = connect(&scene.server).open(&Request::php("/php"));
        let packet =
            |number| format!(r#"{{"opcode":"feedback","ident":"page","number":{number}}}"#);
        let all: Vec<u8> = (0..1000)
            .flat_map(|number| crate::harness::frame::text(&packet(number)))
            .collect();
        script.send_bytes(&all);
        // Its replies are unread: the system says so with a reset.
        drop(script);
        for number in 0..1000 {
            receiver.expect_text(&packet(number));
            scene.step();
        }
        receiver.close();
    }
    scene.end();
}

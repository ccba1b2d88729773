//! Everything larger than it may be, and giants that are only announced.

use std::panic::AssertUnwindSafe;

use crate::harness::frame::{
    CLOSE, CONTINUATION, FIN, LengthForm, PING, TEXT, masked, masked_as, text,
};
use crate::harness::{Conn, Request, connect, eventually};
use crate::scene::Scene;

#[test]
fn oversized_heads_are_431_wherever_their_bytes_are() {
    let scene = Scene::start("");
    let long = "x".repeat(9000);
    let many = "X: y\r\n".repeat(2000);
    for head in [
        format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("{long} / HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{long}: x\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{many}\r\n"),
        long,
    ] {
        for _ in 0..20 {
            let mut conn = connect(&scene.server);
            let _ = conn.try_send_bytes(head.as_bytes());
            assert_eq!(conn.read_response().status(), 431);
            scene.step();
        }
    }
    scene.end();
}

#[test]
fn oversized_frames_and_messages_are_closed_with_their_code() {
    let scene = Scene::start("maxMessageSize=100K\nmaxChunks=3");
    let fragment = masked(CONTINUATION, &[b'x'; 60_000]);
    let chunks = [text("bufferON"), text("chunk").repeat(5)].concat();
    for (code, bytes) in [
        (
            1009,
            masked_as(FIN | TEXT, LengthForm::SixtyFour, 102_401, b"x"),
        ),
        (
            1009,
            masked_as(FIN | TEXT, LengthForm::SixtyFour, u64::MAX >> 1, b"x"),
        ),
        (
            1002,
            masked_as(FIN | TEXT, LengthForm::SixtyFour, u64::MAX, b"x"),
        ),
        (1009, [masked(TEXT, b"x"), fragment.repeat(2)].concat()),
        (
            1002,
            masked_as(FIN | PING, LengthForm::Sixteen, 126, &[b'x'; 126]),
        ),
        (
            1002,
            masked_as(FIN | CLOSE, LengthForm::Sixteen, 126, &[b'x'; 126]),
        ),
        (1009, chunks),
    ] {
        for _ in 0..10 {
            let mut conn = scene.server.web();
            let _ = conn.try_send_bytes(&bytes);
            conn.skip_texts();
            conn.expect_close(code);
            scene.step();
        }
    }
    scene.end();
}

#[test]
fn a_thousand_announced_giants_take_no_memory() {
    let scene = Scene::start("maxMessageSize=64M\nmemoryLimit=64M\nmaxQueue=1M");
    let mut giants: Vec<Conn> = (0..1000).map(|_| scene.server.web()).collect();
    let beginning = masked_as(FIN | TEXT, LengthForm::SixtyFour, 60 << 20, &[b'x'; 1000]);
    for conn in &mut giants {
        conn.send_bytes(&beginning);
        scene.step();
    }
    let mut witness = scene.server.web();
    witness.wait_until_handled();
    assert!(
        scene.grown_bytes() < 16 << 20,
        "{} bytes",
        scene.grown_bytes()
    );
    drop((giants, witness));
    scene.end();
}

#[test]
fn a_thousand_half_sent_giants_stay_within_the_memory_limit() {
    let scene = Scene::start("maxMessageSize=16M\nmemoryLimit=32M\nmaxQueue=1M");
    let payload = vec![b'x'; 128 << 10];
    let beginning = masked_as(FIN | TEXT, LengthForm::SixtyFour, 10 << 20, &payload);
    // A second time, since what the first leaves with the allocator is used again by the next.
    for _ in 0..2 {
        // What those before have sent may still be read, and held, until they are seen to have gone.
        scene.wait_until_gone();
        eventually("newcomers are taken", || {
            // Over TLS a refusal is an end in the handshake, which a client panics at.
            let taken = || {
                connect(&scene.server)
                    .request(&Request::to("/web"))
                    .status()
            };
            std::panic::catch_unwind(AssertUnwindSafe(taken)).is_ok_and(|status| status == 101)
        });
        let mut giants: Vec<Conn> = (0..1000).map(|_| scene.server.web()).collect();
        for conn in &mut giants {
            // Some are cut for the others.
            let _ = conn.try_send_bytes(&beginning);
            let grown = scene.grown_bytes();
            assert!(grown < 96 << 20, "{grown} bytes");
            scene.step();
        }
        scene.server.wait_for_log("memoryLimit reached");
    }
    // Twice memoryLimit, as websock.ini has it.
    scene.end_keeping(64 << 20);
}

#[test]
fn half_a_giant_that_does_not_go_on_is_ended() {
    let scene = Scene::start("stallTimeout=1");
    let mut giants: Vec<Conn> = (0..20).map(|_| scene.server.web()).collect();
    for conn in &mut giants {
        conn.send_bytes(&masked_as(
            FIN | TEXT,
            LengthForm::SixtyFour,
            5 << 20,
            &[b'x'; 100_000],
        ));
        scene.step();
    }
    for conn in &mut giants {
        let reason = conn.expect_close(1008);
        assert!(reason.contains("stallTimeout"), "{reason}");
    }
    drop(giants);
    scene.end();
}

#[test]
fn oversized_bodies_are_413() {
    let scene = Scene::start("maxMessageSize=100K");
    for request in [
        "Content-Length: 102401\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n19001\r\n",
    ] {
        for _ in 0..20 {
            let mut conn = connect(&scene.server);
            conn.send_bytes(b"POST /push HTTP/1.1\r\nHost: localhost\r\n");
            conn.send_bytes(b"Content-Type: application/json\r\n");
            conn.send_bytes(request.as_bytes());
            assert_eq!(conn.read_response().status(), 413);
            scene.step();
        }
    }
    let mut conn = connect(&scene.server);
    let _ = conn.try_send_bytes(&Request::to("/push").bytes());
    drop(conn);
    scene.end();
}

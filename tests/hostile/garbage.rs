//! Bytes that are no WebSocket at all.

use crate::harness::frame::unmasked;
use crate::harness::{connect, readable};
use crate::scene::Scene;

/// Bytes that look random and are the same in each run.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(|_| byte()).collect()
}

#[test]
fn garbage_instead_of_a_request_is_refused() {
    let scene = Scene::start("handshakeTimeout=1");
    for seed in 0..300 {
        let mut conn = connect(&scene.server);
        // A first byte of 0x16 is TLS, which has its own test.
        let mut bytes = noise(seed, 10_000);
        bytes[0] |= 0x40;
        let _ = conn.try_send_bytes(&bytes);
        let answer = conn.read_to_end();
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{seed}: {}",
            readable(&answer)
        );
        scene.step();
    }
    scene.end();
}

#[test]
fn garbage_instead_of_frames_ends_that_connection_only() {
    let scene = Scene::start("stallTimeout=1");
    for seed in 0..300 {
        let mut conn = scene.server.web();
        let _ = conn.try_send_bytes(&noise(seed, 5000));
        // Without more to come, whatever was begun stays unfinished: it ends either way.
        conn.shut_down_write();
        conn.read_to_end();
        scene.step();
    }
    scene.end();
}

#[test]
fn other_protocols_on_the_plain_port_are_told_or_closed() {
    let client_hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3][..], &noise(1, 500)].concat();
    let scene = Scene::start("");
    for (name, bytes, expected) in [
        (
            "HTTP/2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            &b"HTTP/1.1 400 "[..],
        ),
        (
            "SSH",
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(),
            b"HTTP/1.1 400 ",
        ),
        (
            "SMTP",
            b"EHLO example.org\r\n\r\n".to_vec(),
            b"HTTP/1.1 400 ",
        ),
        ("TLS", client_hello, b""),
    ] {
        for _ in 0..50 {
            let mut conn = connect(&scene.server);
            let _ = conn.try_send_bytes(&bytes);
            let answer = conn.read_to_end();
            assert!(
                answer.starts_with(expected) && answer.is_empty() == expected.is_empty(),
                "{name}: {}",
                readable(&answer)
            );
            scene.step();
        }
    }
    scene.server.wait_for_log("speaks TLS");
    scene.end();
}

#[test]
fn a_server_on_the_other_end_is_refused() {
    let scene = Scene::start("");
    for _ in 0..100 {
        let mut conn = scene.server.web();
        conn.send_bytes(&unmasked(0x81, b"{}"));
        conn.expect_close_and_end(1002);
        scene.step();
    }
    scene.end();
}

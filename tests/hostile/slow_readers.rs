//! Subscribers that never read, under a storm of messages.

use crate::harness::{Conn, Request, connect};
use crate::scene::{Scene, honest_client};

fn broadcast(number: usize, len: usize) -> String {
    let pad = "p".repeat(len);
    format!(r#"{{"opcode":"broadcast","number":{number},"pad":"{pad}"}}"#)
}

#[test]
fn those_who_never_read_are_cut_at_max_queue_and_delay_nobody() {
    let scene = Scene::start("maxQueue=256K\ncloseTimeout=1");
    let server = &scene.server;
    let mut deaf: Vec<Conn> = (0..20).map(|_| server.web()).collect();
    let mut reader = server.web();
    let mut sender = honest_client(server);
    // 24 MiB: beyond their queues and what the kernel keeps for them.
    for number in 0..192 {
        let packet = broadcast(number, 128 << 10);
        sender.send_text(&packet);
        sender.expect_next();
        reader.expect_text(&packet);
        scene.step();
    }
    server.wait_for_log("maxQueue");
    // Everyone gets what was queued before the cut, and the reason if it still fits.
    for conn in &mut deaf {
        let bytes = conn.read_to_end();
        assert!(bytes.len() > 128 << 10, "{} bytes", bytes.len());
    }
    sender.round_trip();
    drop((deaf, reader, sender));
    scene.end();
}

#[test]
fn one_who_reads_again_in_time_learns_why_it_was_closed() {
    let scene = Scene::start("maxQueue=256K\ncloseTimeout=60");
    let server = &scene.server;
    let mut deaf = server.web();
    let mut sender = honest_client(server);
    let mut sent = 0;
    while !server
        .log_lines()
        .iter()
        .any(|line| line.contains("maxQueue"))
    {
        sender.send_text(&broadcast(sent, 64 << 10));
        sender.expect_next();
        sender.round_trip();
        sent += 1;
        assert!(sent < 2000, "never cut");
        scene.step();
    }
    let mut number = 0;
    let reason = loop {
        let frame = deaf.read_frame();
        if frame.opcode == crate::harness::frame::CLOSE {
            assert_eq!(frame.payload[..2], 1008_u16.to_be_bytes());
            break String::from_utf8(frame.payload[2..].to_vec()).expect("UTF-8");
        }
        assert_eq!(frame.payload, broadcast(number, 64 << 10).as_bytes());
        number += 1;
    };
    assert!(reason.contains("maxQueue"), "{reason}");
    assert!((1..sent).contains(&number), "{number} of {sent} broadcasts");
    drop((deaf, sender));
    scene.end();
}

#[test]
fn at_the_memory_limit_the_largest_queue_goes_first_and_newcomers_get_503() {
    let scene = Scene::start("maxQueue=8M\nmemoryLimit=16M\ncloseTimeout=60");
    let server = &scene.server;
    let mut modest = connect(server).open(&Request::to("/web").with("Ident", "modest"));
    let deaf: Vec<Conn> = (0..4)
        .map(|n| server.web_named(&format!("deaf{n}")))
        .collect();
    let mut sender = honest_client(server);
    let to = |ident: &str, len: usize| {
        let pad = "p".repeat(len);
        format!(r#"{{"opcode":"feedback","ident":"{ident}","pad":"{pad}"}}"#)
    };
    sender.send_text(&to("modest", 100));
    sender.expect_next();
    let mut was_refused = false;
    for round in 0..400 {
        sender.send_text(&to(&format!("deaf{}", round % 4), 256 << 10));
        sender.expect_next();
        if !was_refused {
            let mut newcomer = connect(server);
            let _ = newcomer.try_send_bytes(&Request::to("/web").bytes());
            was_refused = newcomer.wait_for_answer().starts_with(b"HTTP/1.1 503 ");
        }
        scene.step();
    }
    assert!(was_refused, "nobody was refused while memory was scarce");
    server.wait_for_log("memoryLimit reached");
    assert!(
        scene.grown_bytes() < 64 << 20,
        "{} bytes",
        scene.grown_bytes()
    );
    // Whoever holds little is not touched.
    modest.expect_text(&to("modest", 100));
    modest.round_trip();
    drop((modest, deaf, sender));
    // Twice memoryLimit, as websock.ini has it.
    scene.end_keeping(32 << 20);
}

#[test]
fn an_echo_loop_that_never_reads_is_not_read_either() {
    let scene = Scene::start("maxQueue=64K");
    let mut deaf = scene.server.web();
    let frames = crate::harness::frame::text(&format!(
        r#"{{"opcode":"echo","pad":"{}"}}"#,
        "p".repeat(1000)
    ));
    let frames = frames.repeat(100);
    let mut witness = honest_client(&scene.server);
    // It is not closed, as its own messages wait at its own end.
    let (mut refused, mut sent) = (0, 0);
    for _ in 0..20_000 {
        let count = deaf.send_available(&frames[sent..]);
        let count = count.expect("the connection stays");
        sent = (sent + count) % frames.len();
        refused = if count == 0 { refused + 1 } else { 0 };
        if refused == 50 {
            break;
        }
        witness.round_trip();
        scene.step();
    }
    assert_eq!(refused, 50, "the server read without end");
    assert!(
        scene.grown_bytes() < 8 << 20,
        "{} bytes",
        scene.grown_bytes()
    );
    drop((deaf, witness));
    scene.end();
}

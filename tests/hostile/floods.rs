//! More of everything than anybody needs.

use std::io;

use crate::harness::frame::{CONTINUATION, FIN, PING, TEXT, masked, text};
use crate::harness::{Conn, Request, Wire, connect};
use crate::scene::{Scene, honest_client};

/// Sends `frames` over and over while a witness is served. An error if the server ends the
/// connection before `rounds` are over.
#[track_caller]
fn flood(scene: &Scene, conn: &mut Conn, frames: &[u8], rounds: usize) -> io::Result<()> {
    let mut witness = honest_client(&scene.server);
    let mut sent = 0;
    for _ in 0..rounds {
        let available = conn.send_available(&frames[sent..]);
        witness.round_trip();
        scene.step();
        sent = (sent + available?) % frames.len();
    }
    Ok(())
}

#[test]
fn a_flood_of_pings_ends_at_max_control_frames() {
    let scene = Scene::start("maxControlFrames=200");
    let mut attacker = scene.server.web();
    let pings = masked(FIN | PING, b"ping").repeat(5000);
    // Behind its close frame the server may end the connection, or only read no more.
    let _ = flood(&scene, &mut attacker, &pings, 300);
    scene.server.wait_for_log("maxControlFrames");
    attacker.read_to_end();
    drop(attacker);
    scene.end();
}

#[test]
fn a_flood_of_tiny_fragments_delays_nobody_and_ends_at_max_fragments() {
    let scene = Scene::start("maxFragments=100000");
    let mut attacker = scene.server.web();
    attacker.send_bytes(&masked(TEXT, b"x"));
    let fragments = masked(CONTINUATION, b"x").repeat(10_000);
    let _ = flood(&scene, &mut attacker, &fragments, 2000);
    scene.server.wait_for_log("maxFragments");
    attacker.read_to_end();
    drop(attacker);
    scene.end();
}

#[test]
fn a_flood_of_tiny_messages_delays_nobody() {
    let scene = Scene::start("");
    let mut attacker = scene.server.web();
    let messages = text("{}").repeat(10_000);
    flood(&scene, &mut attacker, &messages, 500).expect("it is not closed for it");
    (0..1000).for_each(|_| attacker.expect_next());
    attacker.reset();
    scene.end();
}

/// Order instead of time: what was sent after a flood's first share comes back before its end.
#[test]
fn ten_thousand_frames_in_one_segment_do_not_go_before_everybody_else() {
    let scene = Scene::start("");
    let mut honest = scene.server.web_named("honest");
    let mut flooder = scene.server.web();
    let mut frames = text("{}").repeat(10_000);
    frames.extend(text(
        r#"{"opcode":"feedback","ident":"honest","flood":"over"}"#,
    ));
    // Both are there when the server looks: the flood first.
    scene.server.signal(rustix::process::Signal::STOP);
    flooder.send_bytes(&frames);
    honest.send_text(r#"{"opcode":"echo","honest":1}"#);
    scene.server.signal(rustix::process::Signal::CONT);
    honest.expect_next();
    honest.expect_text(r#"{"opcode":"echo","honest":1}"#);
    honest.expect_text(r#"{"opcode":"feedback","ident":"honest","flood":"over"}"#);
    scene.step();
    drop((honest, flooder));
    scene.end();
}

const BROADCAST: &str = r#"{"opcode":"broadcast","n":1}"#;

#[test]
fn a_storm_of_broadcasts_leaves_room_for_an_echo() {
    let scene = Scene::start("");
    let mut audience: Vec<Conn> = (0..300).map(|_| scene.server.web()).collect();
    let mut honest = scene.server.web();
    let mut storm = scene.server.web_named("storm");
    let mut frames = text(BROADCAST).repeat(2000);
    frames.extend(text(r#"{"opcode":"feedback","ident":"storm","over":true}"#));
    // Both wait when the server looks: the storm may have its say for one turn, no longer.
    scene.server.signal(rustix::process::Signal::STOP);
    storm.send_bytes(&frames);
    honest.send_text(r#"{"opcode":"echo","honest":1}"#);
    scene.server.signal(rustix::process::Signal::CONT);
    let texts = std::iter::repeat_with(|| honest.read_text("a broadcast or next"));
    let before = texts.take_while(|text| text == BROADCAST).count();
    // A turn's 65,536 deliveries to 302 clients, and the broadcast that goes beyond them.
    assert!(before <= 65_536 / 302 + 1, "{before} broadcasts came first");
    honest.expect_text(r#"{"opcode":"echo","honest":1}"#);
    // The storm was not over by then: its last `next` comes later than this.
    for conn in audience.iter_mut().take(3) {
        for _ in 0..2000 {
            conn.expect_text(BROADCAST);
            scene.step();
        }
    }
    drop((audience, storm, honest));
    scene.end();
}

#[test]
fn fifty_thousand_connects_and_disconnects_leave_nothing() {
    // Over TLS each has a handshake, which costs as much as many connects.
    let rounds = match crate::WIRE {
        Wire::Plain => 12_500,
        Wire::Tls => 500,
    };
    let scene = Scene::start("maxPending=100000");
    let (stage, address) = (&scene, scene.server.address());
    std::thread::scope(|scope| {
        for worker in 0..4_usize {
            scope.spawn(move || {
                let request = Request::to("/web").bytes();
                for round in 0..rounds {
                    let mut conn = crate::harness::connect_to(address);
                    // Every second one dies with something said.
                    if (round + worker).is_multiple_of(2) {
                        let _ = conn.try_send_bytes(&request);
                    }
                    // A reset, so that the system has the port back at once.
                    conn.reset();
                    stage.step();
                }
            });
        }
    });
    scene.end();
}

#[test]
fn a_flood_of_pushes_that_are_not_read_is_bounded() {
    let scene = Scene::start("maxQueue=64K");
    let mut attacker = connect(&scene.server);
    let body = r#"{"opcode":"broadcast","n":1}"#;
    let push = format!(
        "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let pushes = push.repeat(1000).into_bytes();
    let mut refused = 0;
    let mut sent = 0;
    let mut witness = honest_client(&scene.server);
    for _ in 0..20_000 {
        let count = attacker
            .send_available(&pushes[sent..])
            .expect("it stays open");
        sent = (sent + count) % pushes.len();
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
    drop((attacker, witness));
    scene.end();
}

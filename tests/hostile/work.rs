//! Work that attackers give the server: others are served in between.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;
use zlib_rs::{Deflate, DeflateFlush};

use crate::harness::frame::{FIN, RSV1, TEXT, masked};
use crate::harness::{Conn, Request, Server};

/// A JSON object of about `len` bytes without a known opcode, in a compressed frame.
fn giant(len: usize) -> Vec<u8> {
    let packet = format!(r#"{{"pad":"{}"}}"#, "p".repeat(len));
    let mut out = vec![0; len / 2 + 1000];
    let mut deflate = Deflate::new(9, false, 15);
    deflate
        .compress(packet.as_bytes(), &mut out, DeflateFlush::SyncFlush)
        .expect("all can be compressed");
    out.truncate(deflate.total_out() as usize - 4);
    masked(FIN | RSV1 | TEXT, &out)
}

/// Gives the server, while it is stopped, so many whole giants of `len` bytes by each of `senders`,
/// and lets it go on; how many echoes an honest client has had when each of them was answered.
#[track_caller]
fn echoes_before_answers(sender_count: usize, giants_each: usize, len: usize) -> Vec<usize> {
    let server = Server::start("compression=on\nmaxMessageSize=32M\npingInterval=3600");
    let offer = Request::to("/web").with(
        "Sec-WebSocket-Extensions",
        "permessage-deflate; client_no_context_takeover",
    );
    let mut senders: Vec<Conn> = (0..sender_count).map(|_| server.open(&offer)).collect();
    let mut honest = server.web();
    let giants = giant(len).repeat(giants_each);
    let (echo_count, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        server.signal(Signal::STOP);
        senders.iter_mut().for_each(|conn| conn.send_bytes(&giants));
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                honest.round_trip();
                echo_count.fetch_add(1, Ordering::Relaxed);
            }
        });
        server.signal(Signal::CONT);
        let mut answers = Vec::new();
        for _ in 0..giants_each {
            for conn in &mut senders {
                conn.expect_next();
                answers.push(echo_count.load(Ordering::Relaxed));
            }
        }
        is_over.store(true, Ordering::Relaxed);
        answers
    })
}

/// A giant used to be inflated and checked in one turn, however long that took.
#[test]
fn honest_echoes_get_through_while_a_giant_is_inflated() {
    let answers = echoes_before_answers(1, 1, 16 << 20);
    assert!(answers[0] >= 5, "{} echoes", answers[0]);
}

/// Those of many connections used to be done in one turn.
#[test]
fn honest_echoes_get_through_between_the_giants_of_many_connections() {
    let answers = echoes_before_answers(12, 2, 4 << 20);
    let served = answers.windows(2).filter(|two| two[0] < two[1]).count();
    // Which of the two threads of this test runs first is the system's choice, each time.
    assert!(
        served >= answers.len() / 2,
        "echoes that had come before each answer to a giant: {answers:?}"
    );
}

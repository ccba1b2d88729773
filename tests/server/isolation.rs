//! One bad peer costs one connection. What is shown is order: the honest client's answers come while
//! the other is in its state, and that one's answer comes after.

use rustix::process::Signal;

use crate::harness::frame::{self, BINARY, FIN, LengthForm, TEXT, masked, masked_as};
use crate::harness::{Conn, Request, Server, connect, eventually};

const ECHO: &str = r#"{"opcode":"echo","message":"from the slow one"}"#;

/// The honest client is served as if it were alone.
#[track_caller]
fn expect_served(honest: &mut Conn) {
    for _ in 0..50 {
        honest.round_trip();
    }
}

// promise: one bad peer costs one connection
#[test]
fn a_client_that_stalls_in_mid_frame_delays_nobody() {
    let server = Server::start("");
    let mut honest = server.web();
    let bytes = frame::text(ECHO);
    for stalled_after in [1, 2, 4, 6, 7, bytes.len() - 1] {
        let mut stalled = server.web();
        stalled.send_bytes(&bytes[..stalled_after]);
        expect_served(&mut honest);
        stalled.send_bytes(&bytes[stalled_after..]);
        stalled.expect_next();
        stalled.expect_text(ECHO);
    }
}

// promise: one bad peer costs one connection
#[test]
fn a_client_that_stalls_in_its_request_delays_nobody() {
    let server = Server::start("");
    let mut honest = server.web();
    let bytes = Request::to("/web").bytes();
    let mut silent = connect(&server);
    for stalled_after in [1, 20, bytes.len() - 1] {
        let mut stalled = connect(&server);
        stalled.send_bytes(&bytes[..stalled_after]);
        expect_served(&mut honest);
        server.web().round_trip();
        stalled.send_bytes(&bytes[stalled_after..]);
        assert_eq!(stalled.read_response().status(), 101);
        stalled.expect_ready();
    }
    silent.upgrade(&Request::to("/web"));
    silent.expect_ready();
}

// promise: one bad peer costs one connection
#[test]
fn a_client_that_dies_in_mid_frame_delays_nobody_and_is_cleared_away() {
    let server = Server::start("maxClients=2");
    let mut honest = server.web();
    let deaths: [fn(Conn); 3] = [Conn::reset, drop, |mut conn| {
        conn.shut_down_write();
        conn.read_to_end();
    }];
    for die in deaths {
        for begun in [
            frame::text(ECHO)[..5].to_vec(),
            masked(TEXT, b"{\"opcode\":"),
            masked_as(FIN | BINARY, LengthForm::SixtyFour, 10 << 20, &[0; 1000]),
        ] {
            let mut dying = open_when_there_is_room(&server);
            dying.send_bytes(&begun);
            honest.wait_until_handled();
            die(dying);
            expect_served(&mut honest);
        }
    }
    open_when_there_is_room(&server).round_trip();
}

/// Opens a connection as soon as the server has noticed that the one before has gone.
#[track_caller]
fn open_when_there_is_room(server: &Server) -> Conn {
    let mut opened = None;
    eventually("there is room again", || {
        let mut conn = connect(server);
        conn.upgrade(&Request::to("/web"));
        let came_in = conn.read_text("ready or a close packet").contains("ready");
        opened = came_in.then_some(conn);
        came_in
    });
    opened.expect("eventually returns only then")
}

// promise: one bad peer costs one connection
#[test]
fn a_client_that_dies_in_its_request_delays_nobody() {
    let server = Server::start("");
    let mut honest = server.web();
    for len in [0, 1, 50] {
        for die in [Conn::reset as fn(Conn), drop] {
            let mut dying = connect(&server);
            dying.send_bytes(&Request::to("/web").bytes()[..len]);
            honest.wait_until_handled();
            die(dying);
            expect_served(&mut honest);
        }
    }
}

// promise: one bad peer costs one connection
#[test]
fn a_client_that_sends_byte_by_byte_delays_nobody() {
    let server = Server::start("");
    let mut honest = server.web();
    let mut slow = connect(&server);
    for byte in Request::to("/web").bytes() {
        slow.send_bytes(&[byte]);
        honest.round_trip();
    }
    assert_eq!(slow.read_response().status(), 101);
    slow.expect_ready();
    for byte in frame::text(ECHO) {
        slow.send_bytes(&[byte]);
        honest.round_trip();
    }
    slow.expect_next();
    slow.expect_text(ECHO);
}

// promise: one bad peer costs one connection
#[test]
fn a_client_that_echoes_and_never_reads_delays_nobody() {
    let server = Server::start("");
    let mut honest = server.web();
    let mut deaf = server.web();
    let packet = format!(r#"{{"opcode":"echo","pad":"{}"}}"#, "p".repeat(100_000));
    let frames = frame::text(&packet).repeat(20);
    let mut sent = 0;
    // 64 MiB, or as much as the server takes from one that does not read.
    for _ in 0..400 {
        let count = deaf.send_available(&frames[sent..]);
        sent = (sent + count.expect("it is not closed for it")) % frames.len();
        honest.round_trip();
    }
    expect_served(&mut honest);
    // It was served, too, as far as its queue goes.
    deaf.expect_next();
    deaf.expect_text(&packet);
}

// promise: one bad peer costs one connection
#[test]
fn a_receiver_that_never_reads_delays_neither_sender_nor_other_receivers() {
    let server = Server::start("maxQueue=64K\ncloseTimeout=60");
    let mut deaf = [
        server.web(),
        server.web_named("deaf"),
        server.php_named("deaf script"),
    ];
    let mut receiver = server.web();
    let mut sender = server.web();
    let pad = "p".repeat(256 << 10);
    // 12 MiB for each, which is more than the queue and the system's buffers hold.
    for number in 0..48 {
        let packet = format!(r#"{{"opcode":"broadcast","number":{number},"pad":"{pad}"}}"#);
        sender.send_text(&packet);
        sender.expect_next();
        receiver.expect_text(&packet);
        let packet = format!(r#"{{"opcode":"feedback","ident":"deaf script","pad":"{pad}"}}"#);
        sender.send_text(&packet);
        sender.expect_next();
    }
    sender.round_trip();
    receiver.round_trip();
    // What they can still read is whole and in order, as far as it goes.
    let packet = format!(r#"{{"opcode":"broadcast","number":0,"pad":"{pad}"}}"#);
    deaf[0].expect_text(&packet);
}

// promise: one bad peer costs one connection
#[test]
fn a_flood_of_small_frames_delays_nobody_for_ever() {
    let server = Server::start("");
    let mut honest = server.web();
    let mut flood = server.web();
    let frames = masked(FIN | TEXT, b"{}").repeat(10_000);
    let mut sent = 0;
    for _ in 0..100 {
        let count = flood.send_available(&frames[sent..]);
        sent = (sent + count.expect("it is not closed for it")) % frames.len();
        honest.round_trip();
    }
    (0..1000).for_each(|_| flood.expect_next());
}

// promise: connections that end leave nothing behind
#[test]
fn running_out_of_descriptors_is_survived() {
    let server = Server::start_with_descriptors(40, "maxPending=1000");
    let mut honest = server.web();
    let request = Request::to("/web").bytes();
    let crowd = |count: usize| -> Vec<Conn> {
        let conns = (0..count).map(|_| {
            let mut conn = connect(&server);
            // The server may have refused it already.
            let _ = conn.try_send_bytes(&request);
            conn
        });
        conns.collect()
    };
    // More than there are descriptors, so most of them cannot be accepted now; and all at once, so
    // that a server which refuses them does not come to the end of them in one go either.
    server.signal(Signal::STOP);
    let mut first = crowd(350);
    server.signal(Signal::CONT);
    expect_served(&mut honest);

    // Some go. Those that wait are served or refused without anybody new knocking.
    let waiting = first.split_off(40);
    drop(first);
    for mut conn in waiting {
        conn.shut_down_write();
        conn.read_to_end();
    }
    expect_served(&mut honest);

    // And everything is as before.
    for _ in 0..3 {
        eventually("the server takes somebody new", || {
            let mut conn = connect(&server);
            let is_in = conn.try_send_bytes(&request).is_ok()
                && conn.wait_for_answer().starts_with(b"HTTP/1.1 101 ");
            if is_in {
                conn.read_response();
                conn.expect_ready();
                conn.round_trip();
            }
            is_in
        });
        drop(crowd(60));
        expect_served(&mut honest);
    }
}

// promise: connections that end leave nothing behind
#[test]
fn what_was_meant_for_a_closed_connection_never_reaches_its_successor() {
    let server = Server::start("");
    let mut witness = server.web_named("witness");
    for round in 0..40 {
        let old_packet = format!(r#"{{"opcode":"echo","old":{round}}}"#);
        let mut old: Vec<Conn> = (0..8).map(|_| server.web_named("place")).collect();
        let uuids: Vec<String> = old.iter().map(|conn| conn.uuid.clone()).collect();
        // In one batch for the server: messages, ends and resets of the old, requests of the new.
        server.signal(Signal::STOP);
        for (index, mut conn) in old.drain(..).enumerate() {
            conn.send_bytes(&frame::text(&old_packet).repeat(5));
            match index % 3 {
                0 => conn.reset(),
                1 => drop(conn),
                _ => {
                    conn.send_bytes(&masked(FIN | frame::CLOSE, b""));
                    drop(conn);
                }
            }
        }
        let mut new: Vec<Conn> = (0..8).map(|_| connect(&server)).collect();
        for conn in &mut new {
            conn.send_bytes(&Request::to("/web").bytes());
        }
        server.signal(Signal::CONT);
        for (conn, uuid) in new.iter_mut().zip(&uuids) {
            assert_eq!(conn.read_response().status(), 101);
            conn.expect_ready();
            witness.send_text(&format!(r#"{{"opcode":"feedback","uuid":"{uuid}"}}"#));
            witness.expect_next();
        }
        witness.wait_until_handled();
        for conn in &mut new {
            conn.round_trip();
        }
    }
}

// promise: connections that end leave nothing behind
#[test]
fn a_thousand_connects_and_disconnects_leave_nothing_behind() {
    let server = Server::start("maxClients=20\nmaxPerIP=10");
    let mut honest = server.web();
    for round in 0..100 {
        let conns: Vec<Conn> = (0..10).map(|_| connect(&server)).collect();
        for (index, mut conn) in conns.into_iter().enumerate() {
            match (round + index) % 4 {
                0 => conn.reset(),
                1 => conn.send_bytes(&Request::to("/web").bytes()[..30]),
                2 => conn.send_bytes(&Request::to("/web").bytes()),
                _ => drop(conn),
            }
        }
        honest.round_trip();
    }
    let mut conns: Vec<Conn> = (0..9).map(|_| open_when_there_is_room(&server)).collect();
    for conn in &mut conns {
        conn.round_trip();
    }
}

// promise: the work of one turn is bounded
#[test]
fn an_audience_that_one_turn_does_not_reach_gets_everything_in_order_and_goodbye_at_the_end() {
    // So many may take longer to open than it is to a ping.
    let server = Server::start("pingInterval=0");
    let mut audience: Vec<Conn> = (0..1500).map(|_| server.web()).collect();
    let mut sender = server.web();
    let packet = |number: usize| format!(r#"{{"opcode":"broadcast","number":{number}}}"#);
    // One alone, which may take several turns, and a storm.
    sender.send_text(&packet(0));
    sender.expect_next();
    for conn in &mut audience {
        conn.expect_text(&packet(0));
    }
    let storm: Vec<u8> = (1..=40).flat_map(|n| frame::text(&packet(n))).collect();
    sender.send_bytes(&storm);
    (1..=40).for_each(|_| sender.expect_next());
    server.signal(Signal::TERM);
    for conn in &mut audience {
        (1..=40).for_each(|number| conn.expect_text(&packet(number)));
        conn.expect_close(1001);
    }
    sender.expect_close(1001);
}

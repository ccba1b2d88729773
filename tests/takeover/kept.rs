//! What clients keep when the process behind their connection is another one.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::{Pid, Signal, kill_process};
use websock::protocol::deflate::Deflater;
use websock::protocol::extension::Context;

use crate::fleet::Fleet;
use crate::harness::client::NEXT;
use crate::harness::events::{self, Event, Events};
use crate::harness::frame::{self, FIN, RSV1, TEXT};
use crate::harness::php::PhpStream;
use crate::harness::{Conn, Request, connect_to, connect_to_file};

fn ident(path: &str, ident: &str) -> Request {
    Request::to(path).with("Ident", ident)
}

#[track_caller]
fn feedback(from: &mut Conn, to: &str, text: &str) -> String {
    let packet = format!(r#"{{"opcode":"feedback",{to},"text":"{text}"}}"#);
    from.send_for_next(&packet);
    packet
}

#[test]
fn names_and_the_order_of_opening() {
    let mut fleet = Fleet::start("");
    let mut late = connect_to(fleet.address);
    let mut first = fleet.open(&ident("/web", "42"));
    let mut second = fleet.open(&ident("/web", "42"));
    let mut named = fleet.open(&Request::to("/"));
    named.send_for_next(r#"{"opcode":"uuid","message":"Jane Doe"}"#);
    let mut script = fleet.open(&Request::php("/php").with("X-Websock-Frames", "stream"));
    // It came first and opens last: slots are not in the order of opening.
    late.upgrade(&ident("/web", "42"));
    late.expect_ready();
    for _ in 0..2 {
        fleet.replace();
        for to in [r#""ident":"42""#, r#""ident":42"#] {
            let packet = feedback(&mut script, to, "for one");
            first.expect_json(&packet);
        }
        let packet = feedback(&mut script, r#""uuid":"Jane Doe""#, "for one");
        named.expect_json(&packet);
        let packet = r#"{"opcode":"broadcast","text":"for all pages"}"#;
        second.send_for_next(packet);
        for receiver in [&mut first, &mut named, &mut late] {
            receiver.expect_json(packet);
        }
        [&mut first, &mut second, &mut named, &mut late, &mut script]
            .into_iter()
            .for_each(Conn::round_trip);
    }
    first.close();
    let packet = feedback(&mut script, r#""ident":"42""#, "for the next");
    second.expect_json(&packet);
}

#[test]
fn streams_of_events_and_who_may_send_for_them() {
    let mut fleet = Fleet::start("pingInterval=200ms");
    let stream = |fleet: &Fleet, target: &str| {
        let request = events::request(target, events::EVENT_SOURCE);
        Events::begin(connect_to(fleet.address), &request)
    };
    let mut first = stream(&fleet, "/sse");
    let mut told = stream(&fleet, "/sse?resume=1");
    let framing = Request::php("/php").with("X-Websock-Frames", "stream");
    let mut script = fleet.open(&framing);
    for number in 0..3 {
        let old = fleet.replace();
        old.wait_for_log("connections handed over");
        let packet = format!(r#"{{"opcode":"broadcast","number":{number}}}"#);
        script.send_for_next(&packet);
        first.expect_text(&packet);
        let event = told.read_event();
        assert!(
            event
                .data
                .is_some_and(|data| data.starts_with(packet.trim_end_matches('}')))
        );
        let last = event.id.expect("a cursor");
        for stream in [&mut first, &mut told] {
            let echo = format!(r#"{{"opcode":"echo","number":{number}}}"#);
            let body = events::body(&stream.uuid, &stream.secret, &echo);
            let response = events::post_by(connect_to(fleet.address), &body, "");
            assert_eq!(response.status(), 204);
            stream.expect_text(NEXT);
            stream.expect_text(&echo);
        }
        let wrong = events::body(&first.uuid, &told.secret, "ping");
        let response = events::post_by(connect_to(fleet.address), &wrong, "");
        assert_eq!(response.status(), 403);
        // Whoever is lost now resumes behind a number that another process has given.
        let resumed = format!("/sse?resume=1&lastEventId={last}");
        assert!(stream(&fleet, &resumed).ready.contains(&last));
        // It lives on with its heartbeat.
        let comment = first.read();
        assert_eq!(comment, Event::default());
    }
    fleet.run.signal(Signal::TERM);
    first.expect_close(1001, "the server is stopping");
    assert!(told.read_text("a restart").contains("restart"));
}

#[test]
fn a_message_waits_for_its_end_and_nobody_else_for_it() {
    let mut fleet = Fleet::start("takeoverTime=1h");
    let mut uploading = fleet.web();
    let mut other = fleet.web();
    let packet = format!(r#"{{"opcode":"echo","text":"{}"}}"#, "x".repeat(70_000));
    let (begun, rest) = packet.as_bytes().split_at(100);
    let fragments = [frame::masked(TEXT, begun), frame::masked(FIN, rest)].concat();
    let (begun, rest) = fragments.split_at(fragments.len() - 10);
    uploading.send_bytes(begun);
    other.round_trip();
    let successor = fleet.successor();
    fleet.run.wait_for_log("takes over");
    for _ in 0..50 {
        other.round_trip();
    }
    let is_served_by_the_old = successor.log_lines();
    assert!(
        !is_served_by_the_old
            .iter()
            .any(|line| line.contains("taken over"))
    );
    uploading.send_bytes(rest);
    uploading.expect_next();
    uploading.expect_json(&packet);
    let old = fleet.succeed(successor);
    old.wait_for_log("2 connections handed over");
    uploading.round_trip();
    other.round_trip();
}

#[test]
fn who_is_not_done_in_time_is_told_to_go() {
    let mut fleet = Fleet::start("takeoverTime=0");
    let mut uploading = fleet.web();
    let mut collecting = fleet.web();
    let mut other = fleet.web();
    uploading.send_bytes(&[0x81, 0xFE, 1]);
    collecting.send_text("bufferON");
    collecting.expect_next();
    other.round_trip();
    let old = fleet.replace();
    old.wait_for_log("1 connections handed over");
    uploading.expect_close(1001);
    collecting.expect_close(1001);
    other.round_trip();
    fleet.web().round_trip();
}

#[test]
fn a_broadcast_that_is_on_its_way_arrives_once() {
    let mut fleet = Fleet::start("takeoverTime=1h\nmaxQueue=64M\nmemoryLimit=128M");
    let mut deaf = fleet.web();
    let mut sender = fleet.web();
    let packet = |number| {
        let text = "x".repeat(1 << 20);
        format!(r#"{{"opcode":"broadcast","number":{number},"text":"{text}"}}"#)
    };
    // More than the kernel takes for one who does not read.
    for number in 0..16 {
        sender.send_for_next(&packet(number));
    }
    let successor = fleet.successor();
    fleet.run.wait_for_log("takes over");
    sender.send_for_next(&packet(16));
    for number in 0..17 {
        deaf.expect_json(&packet(number));
    }
    fleet.succeed(successor);
    sender.send_for_next(&packet(17));
    deaf.expect_json(&packet(17));
    deaf.round_trip();
}

#[test]
fn deployed_scripts_get_frames_in_their_shape() {
    let mut fleet = Fleet::start("");
    let mut script = PhpStream::connect(fleet.address);
    let head = Request::php("/php").bytes();
    script.write(&head);
    assert_eq!(script.fread(1024).len(), 1024);
    assert_eq!(script.fread(1024).len(), 1024);
    for _ in 0..3 {
        fleet.replace();
        script.write(&frame::text(r#"{"opcode":"echo","a":1}"#));
        for expected in [
            r#"{"opcode":"next","fyi":""}"#,
            r#"{"opcode":"echo","a":1}"#,
        ] {
            assert_eq!(script.read_message(8192).trim_end(), expected);
        }
    }
}

#[test]
fn a_kept_http_connection_and_one_that_has_said_nothing() {
    let mut fleet = Fleet::start("");
    let mut page = fleet.web();
    let mut pushing = connect_to(fleet.address);
    let mut silent = connect_to(fleet.address);
    let body = r#"{"opcode":"broadcast"}"#;
    let request = format!(
        "POST /push HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    for _ in 0..3 {
        pushing.send_bytes(request.as_bytes());
        assert_eq!(pushing.read_response().status(), 200);
        page.expect_json(body);
        fleet.replace();
    }
    silent.upgrade(&Request::to("/web"));
    silent.expect_ready();
    silent.round_trip();
}

#[test]
fn sockets_of_files_stay_until_the_last_one_ends() {
    let mut fleet = Fleet::start("adress=ws://127.0.0.1:0,unix:{dir}/socket");
    let file = fleet.directory.path.join("socket");
    let control = fleet.control_path();
    let mode = fs::metadata(&control)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut conn = connect_to_file(&file).open(&Request::to("/web"));
    for _ in 0..3 {
        fleet.replace();
        conn.round_trip();
        connect_to_file(&file)
            .open(&Request::to("/web"))
            .round_trip();
    }
    fleet.run.signal(Signal::TERM);
    conn.expect_close(1001);
    assert!(fleet.run.wait_exit().success());
    assert!(!file.exists() && !control.exists());
}

#[test]
fn another_ini_holds_from_then_on() {
    let mut fleet = Fleet::start("adress=ws://127.0.0.1:0,unix:{dir}/old");
    let mut first = fleet.web();
    let mut second = connect_to_file(&fleet.directory.path.join("old")).open(&Request::to("/web"));
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        free.local_addr().expect("an address").port()
    };
    fleet.rewrite(&format!(
        "adress=ws://127.0.0.1:0,ws://127.0.0.1:{port},unix:{{dir}}/new\nmaxClients=2\nwebSends=echo"
    ));
    fleet.replace();
    assert!(!fleet.directory.path.join("old").exists());
    for conn in [&mut first, &mut second] {
        conn.round_trip();
        conn.send_for_next(r#"{"opcode":"broadcast"}"#);
        conn.round_trip();
    }
    // They count, but are not turned away.
    let mut third = connect_to(([127, 0, 0, 1], port).into());
    third.upgrade(&Request::to("/web"));
    third.expect_json(r#"{"opcode":"close","error":"Too many connections"}"#);
    third.expect_close(1013);
    second.close();
    first.round_trip();
    let file = fleet.directory.path.join("new");
    connect_to_file(&file)
        .open(&Request::to("/web"))
        .round_trip();
}

#[test]
fn clients_with_tls_are_told_to_go_and_the_others_stay() {
    let directory = crate::harness::server::Directory::new();
    let identity = crate::harness::tls::write_identity(&directory.path);
    let mut fleet = Fleet::start(&format!(
        "adress=ws://127.0.0.1:0,wss://127.0.0.1:0\n{identity}"
    ));
    let mut plain = fleet.web();
    let address = fleet.run.wait_for_addresses(2)[1];
    let stream = std::net::TcpStream::connect(address).expect("the server accepts");
    let transport = crate::harness::tls::TlsTransport::connect(stream);
    let mut encrypted = Conn::new(Box::new(transport)).open(&Request::to("/web"));
    encrypted.round_trip();
    fleet.replace();
    encrypted.expect_close(1001);
    plain.round_trip();
}

/// What they said from then on would reach only those who are still there.
#[test]
fn clients_with_tls_are_told_at_once_and_come_back_spread() {
    let directory = crate::harness::server::Directory::new();
    let identity = crate::harness::tls::write_identity(&directory.path);
    let mut fleet = Fleet::start(&format!(
        "adress=ws://127.0.0.1:0,wss://127.0.0.1:0\ndrainSpread=1h\n{identity}"
    ));
    let mut plain = fleet.web();
    let address = fleet.run.wait_for_addresses(2)[1];
    let mut encrypted: Vec<Conn> = (0..3)
        .map(|_| {
            let stream = std::net::TcpStream::connect(address).expect("the server accepts");
            let transport = crate::harness::tls::TlsTransport::connect(stream);
            let mut conn = Conn::new(Box::new(transport));
            conn.upgrade(&Request::to("/web?resume=1"));
            conn.read_text("ready");
            conn
        })
        .collect();
    fleet.replace();
    for conn in &mut encrypted {
        conn.send_text(r#"{"opcode":"broadcast","from":"a server that is not here any more"}"#);
        let restart = conn.read_text("when to come back");
        assert!(
            restart.starts_with(r#"{"opcode":"restart","after":"#),
            "{restart}"
        );
        conn.expect_close(1012);
    }
    plain.round_trip();
}

#[test]
fn sigusr2_starts_a_successor() {
    let fleet = Fleet::start("");
    let mut conn = fleet.web();
    fleet.run.signal(Signal::USR2);
    // It has the same standard output.
    let line = fleet.run.wait_for_log("is started as process");
    let (_, pid) = line.rsplit_once(' ').expect("its number");
    let pid = Pid::from_raw(pid.parse().expect("a number")).expect("a process");
    fleet
        .run
        .wait_for_log("1 connections taken over from process");
    conn.round_trip();
    kill_process(pid, Signal::TERM).expect("it runs");
    conn.expect_close(1001);
    fleet.run.wait_exit();
    assert!(!fleet.control_path().exists());
}

#[test]
fn who_somebody_is_and_that_this_is_asked_again() {
    let sessions = crate::harness::server::Directory::new();
    let sign_in = |id: &str, content: &str| {
        fs::write(sessions.path.join(format!("sess_{id}")), content).expect("a session");
    };
    let mut fleet = Fleet::start(&format!(
        "sessions={}\nuserKey=user\nauthRecheck=1\npingInterval=0",
        sessions.path.display()
    ));
    sign_in("one", "user|s:2:\"42\";");
    sign_in("two", "user|s:2:\"43\";");
    let page = |id: &str| Request::to("/web").with("Cookie", &format!("PHPSESSID={id}"));
    let (mut one, mut two) = (fleet.open(&page("one")), fleet.open(&page("two")));
    let mut second_tab = fleet.open(&page("one"));
    let mut anonymous = fleet.web();
    let mut script = fleet.open(&Request::php("/php").with("X-Websock-Frames", "stream"));
    for _ in 0..2 {
        fleet.replace();
        let packet = feedback(&mut script, r#""user":"42""#, "for both tabs");
        one.expect_json(&packet);
        second_tab.expect_json(&packet);
    }
    // Nobody says so but the session itself.
    sign_in("one", "cart|i:1;");
    for tab in [&mut one, &mut second_tab] {
        tab.expect_json(r#"{"opcode":"close","error":"not signed in"}"#);
        tab.expect_close(4401);
    }
    two.round_trip();
    script.send_text(r#"{"opcode":"logout","user":"43"}"#);
    two.expect_json(r#"{"opcode":"close","error":"logged out"}"#);
    two.expect_close(4401);
    anonymous.round_trip();
}

#[test]
fn the_time_for_what_is_under_way_follows_a_reload() {
    let mut fleet = Fleet::start("takeoverTime=1h");
    let mut uploading = fleet.web();
    uploading.send_bytes(&[0x81, 0xFE, 1]);
    fleet.rewrite("takeoverTime=0");
    fleet.run.signal(Signal::HUP);
    fleet.run.wait_for_log("Settings read again: 1 change");
    fleet.replace();
    uploading.expect_close(1001);
}

#[test]
fn what_compressed_messages_refer_to() {
    let mut fleet = Fleet::start("compression=on\ncompressionThreshold=1K");
    let offer = Request::to("/web").with("Sec-WebSocket-Extensions", "permessage-deflate");
    let mut page = fleet.open(&offer);
    let mut deflater = Deflater::new(15, 6, Context::Kept);
    // Nothing in it repeats but the whole.
    let mut number = 1_u64;
    let words = std::iter::repeat_with(|| {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        format!("{number:016x}")
    });
    let text: String = words.take(50).collect();
    let packet = format!(r#"{{"opcode":"echo","text":"{text}"}}"#);
    let mut lens = Vec::new();
    for _ in 0..4 {
        let mut payload = Vec::new();
        assert!(deflater.deflate(packet.as_bytes(), &mut payload));
        lens.push(payload.len());
        page.send_bytes(&frame::masked(FIN | RSV1 | TEXT, &payload));
        page.expect_next();
        page.expect_text(&packet);
        fleet.replace();
    }
    assert!(
        lens[0] > 400 && lens[1..].iter().all(|len| *len < 40),
        "{lens:?}"
    );
}

//! Nothing is lost while away (protocol.md 9), end to end: `websock listen --resume` and a script
//! that pushes, with a server that is stopped, killed and started again, and a line that is cut.

use std::fmt::Display;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use rustix::process::Signal;
use websock::client::{Client, ClientSettings, Error, Message, Push, Receipt};

use crate::harness::server::{Directory, Run, binary};
use crate::harness::{PATIENCE, Server, eventually};
use crate::line::{End, Line};
use crate::{address, text};

/// A page that comes back, and its uuid.
fn listen(address: impl Display) -> (Run, String) {
    let mut listen = Command::new(binary());
    let url = format!("ws://{address}/web");
    listen.args(["listen", "--resume", "--url", &url]);
    let listener = Run::start(listen);
    let line = listener.wait_for_stderr("listening as ");
    let uuid = line.trim_start_matches("listening as ").to_owned();
    (listener, uuid)
}

/// A message for one page or for all, by turns.
fn packet(number: u32, uuid: &str) -> String {
    if number.is_multiple_of(2) {
        format!(r#"{{"opcode":"broadcast","message":{number}}}"#)
    } else {
        format!(r#"{{"opcode":"feedback","uuid":"{uuid}","message":{number}}}"#)
    }
}

/// Pushes once there is a server; how often there was none is told to `refused`.
fn push(server: SocketAddr, packet: &str, refused: impl Fn()) -> Receipt {
    let mut receipt = None;
    eventually("the server takes a push", || {
        let connected = Push::connect(&format!("ws://{server}/php"), &ClientSettings::script());
        match connected {
            Ok(mut push) => receipt = Some(push.send(packet).expect("it is taken")),
            Err(Error::Connect(..)) => refused(),
            Err(error) => panic!("{error}"),
        }
        receipt.is_some()
    });
    receipt.expect("it was taken")
}

/// Pushes messages of these numbers; each stands in a queue, waits, or is for all.
fn push_all(server: SocketAddr, numbers: impl Iterator<Item = u32>, uuid: &str) {
    for number in numbers {
        let receipt = push(server, &packet(number, uuid), || {});
        let is_safe = number.is_multiple_of(2) || receipt.delivered + receipt.queued == 1;
        assert!(is_safe, "{number}: {receipt:?}");
    }
}

/// Waits for the message `last`; then all of them are there, once and in order.
#[track_caller]
fn expect_all(listener: &Run, last: u32) {
    let of = |line: &str| {
        let (_, rest) = line.split_once(r#""message":"#)?;
        rest.split(',').next()?.parse::<u32>().ok()
    };
    listener.wait_for_line("the last message", |line| of(line) == Some(last));
    let lines = listener.log_lines();
    let numbers: Vec<_> = lines.iter().filter_map(|line| of(line)).collect();
    assert_eq!(
        numbers,
        (1..=last).collect::<Vec<_>>(),
        "{}",
        listener.stderr()
    );
}

/// Where the server keeps what it knows, and the ini text for that.
fn with_state() -> (Directory, String) {
    let state = Directory::new();
    let ini = format!("stateDir={}\n", state.path.display());
    (state, ini)
}

// protocol.md 9.6
// protocol.md 9.7
#[test]
fn a_server_that_is_stopped_and_started_again_loses_nothing() {
    let (_state, ini) = with_state();
    let server = Server::start(&ini);
    let place = server.address();
    let (listener, uuid) = listen(place);
    push_all(place, 1..=3, &uuid);
    listener.wait_for_lines("message", 3);
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0));
    let (refused, refusals) = mpsc::channel();
    let script = thread::spawn(move || {
        for number in 4..=10 {
            let _ = push(place, &packet(number, &uuid), || {
                let _ = refused.send(());
            });
        }
    });
    refusals.recv_timeout(PATIENCE).expect("nobody is there");
    let _again = Server::start(&format!("adress=ws://{place}\n{ini}"));
    script.join().expect("all are pushed");
    expect_all(&listener, 10);
    let stderr = listener.stderr();
    assert!(stderr.contains("resumed: "), "{stderr}");
    assert!(!stderr.contains("gap: "), "{stderr}");
    assert_eq!(stderr.matches("listening as ").count(), 1, "{stderr}");
}

// protocol.md 9.7
#[test]
fn what_a_server_cannot_know_any_more_is_told() {
    for end in [Signal::KILL, Signal::TERM] {
        // What a crash leaves behind is no help, nor is an end that writes nothing.
        let (_state, with_state) = with_state();
        let ini = if end == Signal::KILL { &with_state } else { "" };
        let server = Server::start(ini);
        let place = server.address();
        let (listener, uuid) = listen(place);
        push_all(place, 1..=1, &uuid);
        listener.wait_for_lines("message", 1);
        server.signal(end);
        server.wait_exit();
        let _again = Server::start(&format!("adress=ws://{place}\n{ini}"));
        listener.wait_for_stderr("gap: restart");
        eventually("it has another uuid", || {
            listener.stderr().matches("listening as ").count() == 2
        });
        let stderr = listener.stderr();
        let uuid = stderr.rsplit("listening as ").next().expect("a uuid");
        push_all(place, 2..=3, uuid.trim());
        expect_all(&listener, 3);
    }
}

// protocol.md 9.7
#[test]
fn a_server_that_hands_over_keeps_what_is_missed_and_whoever_is_there() {
    let folder = Directory::new();
    let control = folder.path.join("control");
    let ini = format!("takeoverSocket={}", control.display());
    let server = Server::start(&ini);
    let place = server.address();
    let line = Line::to(place);
    let (present, present_uuid) = listen(place);
    let (away, away_uuid) = listen(line.address);
    push_all(place, [1, 2].into_iter(), &away_uuid);
    away.wait_for_lines("message", 2);
    present.wait_for_lines("message", 1);
    line.cut(End::Noticed);
    push_all(place, 3..=4, &away_uuid);
    let mut successor = Command::new(binary());
    let file = folder.write_ini(&format!("adress=ws://{place}\n{ini}"));
    successor.arg("-i").arg(file).arg("--takeover");
    let successor = Run::start(successor);
    assert_eq!(server.wait_exit().code(), Some(0));
    push_all(place, 5..=6, &away_uuid);
    push_all(place, [7].into_iter(), &present_uuid);
    present.wait_for_log(r#""message":7"#);
    line.mend();
    away.wait_for_stderr("resumed: 4 messages");
    expect_all(&away, 6);
    assert_eq!(present.stderr().lines().count(), 1, "{}", present.stderr());
    drop(successor);
}

// protocol.md 9.3
// protocol.md 9.6
#[test]
fn a_network_that_is_off_for_a_while_loses_nothing() {
    for end in [End::Unnoticed, End::Noticed] {
        let server = Server::start("");
        let line = Line::to(server.address());
        let (listener, uuid) = listen(line.address);
        push_all(server.address(), 1..=2, &uuid);
        listener.wait_for_lines("message", 2);
        line.cut(end);
        if end == End::Noticed {
            server.wait_for_log("Connection closed to socket");
            let receipt = push(server.address(), &packet(3, &uuid), || {});
            assert_eq!((receipt.delivered, receipt.queued), (0, 1));
        } else {
            push_all(server.address(), 3..=3, &uuid);
        }
        push_all(server.address(), 4..=12, &uuid);
        line.mend();
        expect_all(&listener, 12);
        listener.wait_for_stderr("resumed: 10 messages");
        // Again, with nothing missed.
        line.cut(end);
        line.mend();
        listener.wait_for_stderr("resumed: 0 messages");
        push_all(server.address(), 13..=14, &uuid);
        expect_all(&listener, 14);
    }
}

// protocol.md 9.2
// protocol.md 9.4
#[test]
fn one_message_too_many_is_a_gap_and_one_less_is_none() {
    for (count, told) in [(4, "resumed: 4 messages"), (5, "gap: overflow")] {
        let server = Server::start("replaySize=4");
        let line = Line::to(server.address());
        let (listener, uuid) = listen(line.address);
        push_all(server.address(), 2..=2, &uuid);
        listener.wait_for_lines("message", 1);
        line.cut(End::Unnoticed);
        // All of them for everybody.
        push_all(
            server.address(),
            (2..2 + count).map(|number| 2 * number),
            &uuid,
        );
        line.mend();
        listener.wait_for_stderr(told);
        push_all(server.address(), [100].into_iter(), &uuid);
        listener.wait_for_log(r#""message":100"#);
        let lines = listener.log_lines().len() as u32;
        // The first, the last, and those in between or none of them.
        assert_eq!(lines, if count == 4 { 6 } else { 2 }, "{told}");
    }
}

// protocol.md 9.3
#[test]
fn who_reads_too_little_is_closed_and_then_gets_the_rest() {
    let server = Server::start("maxQueue=64K\nreplaySize=1000\nreplayMemory=64M");
    let settings = ClientSettings {
        resume: true,
        ..ClientSettings::page()
    };
    let mut page = Client::connect(&address(&server, "/web"), &settings).expect("it connects");
    let pad = "x".repeat(50_000);
    let (mut sent, mut behind) = (0, 0);
    // Until what is not read fills the kernel's buffers, and then the queue.
    eventually("the page is closed", || {
        sent += 1;
        let uuid = page.uuid();
        let packet = format!(r#"{{"opcode":"feedback","uuid":"{uuid}","n":{sent},"pad":"{pad}"}}"#);
        let receipt = push(server.address(), &packet, || {});
        // And then far more than the queue holds.
        behind += receipt.queued;
        behind == 200
    });
    let mut received = 0;
    loop {
        match page.receive(Some(PATIENCE)) {
            Ok(message) => {
                let Some(Message::Text(text)) = message else {
                    panic!("not within {PATIENCE:?}: {} of {sent}", received + 1);
                };
                received += 1;
                assert!(text.contains(&format!(r#""n":{received},"#)), "{received}");
            }
            Err(Error::Closed { code: 1008, .. } | Error::Ended | Error::Lost(_)) => {
                let resumed = page.reconnect().expect("it resumes");
                assert_eq!(resumed.gap, None, "behind {received} of {sent}");
            }
            Err(error) => panic!("{error}"),
        }
        if received == sent {
            break;
        }
    }
}

/// Receives messages of these numbers, and comes back as often as it takes.
#[track_caller]
fn receive_all(page: &mut Client, numbers: impl Iterator<Item = u32>, what: &str) {
    for number in numbers {
        loop {
            match page.receive(Some(PATIENCE)) {
                Ok(Some(Message::Text(text))) => {
                    let wanted = format!(r#""message":{number},"#);
                    assert!(text.contains(&wanted), "{what}: {text}, not {number}");
                    break;
                }
                Ok(other) => panic!("{what}: {other:?}, not {number}"),
                Err(_) => eventually("the page comes back", || match page.reconnect() {
                    Ok(resumed) => {
                        assert_eq!(resumed.gap, None, "{what}, behind {number}");
                        true
                    }
                    Err(_) => false,
                }),
            }
        }
    }
}

// protocol.md 9.3
#[test]
fn a_line_that_is_cut_behind_any_byte_loses_and_doubles_nothing() {
    // Behind the whole answer to the upgrade, `ready`, `next`, `resumed` and the messages.
    const LONGEST: usize = 1_000;
    let server = Server::start("maxPerIP=10000\nmaxClients=10000");
    let line = Line::to(server.address());
    let settings = ClientSettings {
        resume: true,
        ..ClientSettings::page()
    };
    let url = format!("ws://{}/web", line.address);
    let mut page = Client::connect(&url, &settings).expect("it connects");
    let uuid = page.uuid().to_owned();
    let mut sent = 0;
    for len in (0..LONGEST).step_by(STEP) {
        for (end, times) in [(End::Unnoticed, 1), (End::Noticed, 2), (End::Unnoticed, 3)] {
            line.cut(end);
            push_all(server.address(), sent + 1..=sent + 3, &uuid);
            line.mend_for(&vec![(len, end); times]);
            let what = format!("{times} times behind {len} bytes");
            receive_all(&mut page, sent + 1..=sent + 3, &what);
            sent += 3;
            assert_eq!(page.uuid(), uuid);
        }
    }
}

/// Every how many bytes; a number without a common divisor with what is sent.
const STEP: usize = 7;

// protocol.md 9.8
#[test]
fn what_comes_between_a_position_and_the_connection_comes_first() {
    let server = Server::start("");
    let mut script =
        Push::connect(&address(&server, "/php"), &ClientSettings::script()).expect("it connects");
    let mut settings = ClientSettings {
        since: script.position().expect("a position"),
        ..ClientSettings::page()
    };
    for number in [2, 4] {
        script.send(&packet(number, "")).expect("it is taken");
    }
    let mut page = Client::connect(&address(&server, "/web"), &settings).expect("it connects");
    for number in [2, 4] {
        let packet = packet(number, "");
        let packet = packet.trim_end_matches('}');
        let text = text(&mut page);
        assert!(text.starts_with(packet), "{text}");
    }
    settings.since = "no-position".to_owned();
    let mut page = Client::connect(&address(&server, "/web"), &settings).expect("it connects");
    let gap = text(&mut page);
    assert!(
        gap.starts_with(r#"{"opcode":"gap","gap":"unknown""#),
        "{gap}"
    );
}

//! Pages that come back at an awkward moment (protocol.md §9).

use rustix::process::Signal;

use crate::harness::frame::TEXT;
use crate::harness::{Request, Server, eventually};
use crate::replay::Tab;
use crate::users::push;

fn to(uuid: &str, number: u32) -> String {
    format!(r#"{{"opcode":"feedback","uuid":"{uuid}","n":{number}}}"#)
}

// protocol.md 9.3
#[test]
fn a_goodbye_says_nothing_of_whether_the_answer_was_heard() {
    let server = Server::start("");
    let lost = Tab::open(&server).lose();
    eventually("it is away", || push(&server, &to(&lost.uuid, 1)).0 == 202);
    // A page is shut while the answer is on its way to it, and shown again.
    for _ in 0..2 {
        let mut tab = lost.expect_missed(&server, 1);
        tab.expect(&to(&lost.uuid, 1));
        tab.conn.send_close(1001, "");
        tab.conn.expect_close_and_end(1001);
    }
    let mut tab = lost.expect_missed(&server, 1);
    tab.expect(&to(&lost.uuid, 1));
    tab.conn.round_trip();
}

// protocol.md 9.3
// protocol.md 9.7
#[test]
fn more_broadcasts_of_its_own_than_are_kept_are_not_missed_after_a_restart() {
    let ini = "replaySize=3\nstateDir={dir}/state\ndrainSpread=0\ncloseTimeout=100ms";
    let server = Server::start(ini);
    let mut away = Tab::open(&server);
    let mut tab = Tab::open(&server);
    let mut say = |number: u32| {
        let packet = format!(r#"{{"opcode":"broadcast","n":{number}}}"#);
        tab.conn.send_for_next(&packet);
        packet
    };
    for number in 0..6 {
        let packet = say(number);
        if number == 0 {
            away.expect(&packet);
        }
    }
    let (away, claim) = (away.lose(), tab.claim());
    let server = server.start_again(Signal::TERM);
    let mut tab = claim.expect_missed(&server, 0);
    // It goes on with them.
    for number in 6..12 {
        let packet = format!(r#"{{"opcode":"broadcast","n":{number}}}"#);
        tab.conn.send_for_next(&packet);
    }
    let claim = tab.claim();
    let server = server.start_again(Signal::TERM);
    claim.expect_missed(&server, 0).conn.round_trip();
    assert_eq!(away.come_back(&server).gap.as_deref(), Some("overflow"));
}

// protocol.md 9.3
// protocol.md 9.4
#[test]
fn what_is_dropped_of_what_came_before_resumed_is_a_gap() {
    let server = Server::start("replaySize=1");
    let request = Request::to("/web?resume=1").with("Ident", "printer");
    let to_ident = |number| format!(r#"{{"opcode":"feedback","ident":"printer","n":{number}}}"#);
    for (count, gap) in [(1, None), (2, Some("overflow"))] {
        let lost = Tab::open_as(&server, &request).lose();
        eventually("it is away", || push(&server, &to(&lost.uuid, 0)).0 == 202);
        let mut tab = Tab::open_as(&server, &request);
        // It is found by its ident, and has not said yet who it is.
        for number in 1..=count {
            assert_eq!(push(&server, &to_ident(number)).0, 200);
            tab.expect(&to_ident(number));
        }
        let back = lost.come_back_on(tab);
        assert_eq!(back.gap.as_deref(), gap, "{count}");
        back.tab.conn.reset();
        eventually("it is away", || push(&server, &to_ident(9)).0 == 202);
    }
}

/// Text that does not get shorter.
fn noise(len: usize) -> String {
    let mut state = 0x2545_f491_u32;
    let letters = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        char::from(
            b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
                [(state >> 8) as usize % 64],
        )
    });
    letters.take(len).collect()
}

// protocol.md 9.3
#[test]
fn more_than_a_queue_holds_is_replayed_whatever_form_it_takes() {
    let server = Server::start("maxQueue=256K\ncompression=on");
    let target = "/web?resume=1";
    let pad = noise(100_000);
    let requests = [
        Request::to(target),
        Request::to(target).with("Sec-WebSocket-Extensions", "permessage-deflate"),
        Request::php("/php?resume=1"),
    ];
    for (index, request) in requests.into_iter().enumerate() {
        let request = request.with("Ident", &format!("i{index}"));
        let lost = Tab::open_as(&server, &request).lose();
        for number in 0..20 {
            let packet =
                format!(r#"{{"opcode":"feedback","ident":"i{index}","n":{number},"pad":"{pad}"}}"#);
            eventually("it is kept", || push(&server, &packet).0 == 202);
        }
        let mut back = lost.come_back_as(&server, &request);
        assert_eq!((back.gap, back.replayed), (None, 20), "{request:?}");
        for number in 0..20 {
            let frame = back.tab.conn.read_frame();
            assert_eq!(
                (frame.fin, frame.opcode),
                (true, TEXT),
                "{number} {request:?}"
            );
        }
        back.tab.conn.round_trip();
    }
}

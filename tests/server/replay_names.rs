//! Pages that come back to a name that another has taken meanwhile, and those who have listened
//! without a word (protocol.md 2.9, 9.2, 9.3).

use rustix::process::Signal;

use crate::harness::{Request, Server, connect, eventually};
use crate::replay::Tab;
use crate::users::push;

// protocol.md 2.9
// protocol.md 9.3
// protocol.md 9.4
#[test]
fn a_page_whose_name_another_has_chosen_meanwhile_is_told_a_gap() {
    let server = Server::start("");
    let choose = r#"{"opcode":"uuid","message":"kiosk"}"#;
    for has_opted_in in [false, true] {
        let mut tab = Tab::open_as(&server, &Request::to("/?resume=1"));
        tab.conn.send_for_next(choose);
        let mut lost = tab.lose();
        let to_tab = r#"{"opcode":"feedback","uuid":"kiosk"}"#;
        eventually("it is away", || push(&server, to_tab).0 == 202);
        let mut other = connect(&server);
        other.upgrade(&Request::to(match has_opted_in {
            true => "/?resume=1",
            false => "/",
        }));
        other.read_text("ready");
        other.send_for_next(choose);
        for uuid in ["kiosk", &lost.uuid.clone()] {
            uuid.clone_into(&mut lost.uuid);
            let back = lost.come_back(&server);
            assert_eq!((back.gap.as_deref(), back.replayed), (Some("unknown"), 0));
            assert_ne!(back.tab.uuid, "kiosk", "that is another's");
            assert_ne!(back.tab.uuid, lost.uuid);
            assert_eq!(push(&server, to_tab).0, 200);
            other.read_text("what is for its name");
        }
        other.close();
    }
}

/// A client that has opted in and called itself `name`; it knows its first uuid.
#[track_caller]
fn open_named(server: &Server, request: &Request, name: &str) -> Tab {
    let mut tab = Tab::open_as(server, request);
    choose(&mut tab, name);
    tab
}

#[track_caller]
fn choose(tab: &mut Tab, name: &str) {
    let packet = format!(r#"{{"opcode":"uuid","message":"{name}"}}"#);
    tab.conn.send_for_next(&packet);
}

fn to(uuid: &str, message: u32) -> String {
    format!(r#"{{"opcode":"feedback","uuid":"{uuid}","message":{message}}}"#)
}

// protocol.md 2.9
// protocol.md 9.3
// protocol.md 9.6
#[test]
fn a_page_that_has_chosen_a_name_comes_back_by_the_uuid_that_it_was_told() {
    let server = Server::start("");
    let page = Request::to("/?resume=1");
    for knows_its_name in [false, true] {
        let tab = open_named(&server, &page, "kiosk");
        let first = tab.uuid.clone();
        let mut lost = tab.lose();
        eventually("it is away", || push(&server, &to("kiosk", 0)).0 == 202);
        assert_eq!(push(&server, &to("kiosk", 1)).0, 202);
        assert_eq!(push(&server, &to(&first, 2)).0, 404, "that is nobody's");
        if knows_its_name {
            "kiosk".clone_into(&mut lost.uuid);
        }
        let back = lost.come_back_as(&server, &page);
        assert_eq!((back.gap, back.tab.uuid.as_str()), (None, "kiosk"));
        let mut tab = back.tab;
        // Those before it was seen to be away are among them.
        for _ in 1..back.replayed {
            tab.expect(&to("kiosk", 0));
        }
        tab.expect(&to("kiosk", 1));
        assert_eq!(push(&server, &to("kiosk", 3)).0, 200);
        tab.expect(&to("kiosk", 3));

        // By what `resumed` has said, after one more name, while the old connection still stands.
        choose(&mut tab, "counter");
        let back = tab.claim().come_back_as(&server, &page);
        assert_eq!((back.gap, back.replayed), (None, 0));
        assert_eq!(back.tab.uuid, "counter");
        tab.conn.expect_close_and_end(4409);
        assert_eq!(push(&server, &to("counter", 4)).0, 200);
        assert_eq!(push(&server, &to("kiosk", 4)).0, 404);
    }
}

// protocol.md 9.3
#[test]
fn whoever_chooses_the_uuid_that_a_page_was_told_neither_stops_it_nor_becomes_it() {
    let server = Server::start("");
    let page = Request::to("/?resume=1");
    let lost = open_named(&server, &page, "kiosk").lose();
    let mut other = open_named(&server, &page, &lost.uuid);
    let mut claim = other.claim();
    lost.uuid.clone_into(&mut claim.uuid);
    let back = lost.come_back_as(&server, &page);
    assert_eq!((back.gap, back.tab.uuid.as_str()), (None, "kiosk"));
    assert_eq!(push(&server, &to(&lost.uuid, 1)).0, 200);
    other.expect(&to(&lost.uuid, 1));
    drop(other);
    let other = claim.come_back_as(&server, &page);
    assert_eq!((other.gap, other.tab.uuid), (None, lost.uuid));
}

// protocol.md 9.3
#[test]
fn a_script_comes_back_by_either_uuid_and_a_wrong_secret_by_none() {
    let server = Server::start("");
    let script = Request::to("/?resume=1").with("Client-Type", "php");
    for knows_its_name in [false, true] {
        let mut lost = open_named(&server, &script, "job").lose();
        if knows_its_name {
            "job".clone_into(&mut lost.uuid);
        }
        let mut thief = lost.clone();
        thief.secret = "0".repeat(32);
        let back = thief.come_back_as(&server, &script);
        assert_eq!(back.gap.as_deref(), Some("unknown"));
        assert_ne!(back.tab.uuid, "job");
        let back = lost.come_back_as(&server, &script);
        assert_eq!((back.gap, back.tab.uuid.as_str()), (None, "job"));
        let mut tab = back.tab;
        choose(&mut tab, "other job");
    }
}

// protocol.md 9.3
// protocol.md 9.7
#[test]
fn a_name_that_was_chosen_outlives_the_server_with_the_uuid_that_was_told() {
    let page = Request::to("/?resume=1");
    let server = Server::start("stateDir={dir}/state\ndrainSpread=0\ncloseTimeout=100ms");
    let away = open_named(&server, &page, "kiosk").lose();
    eventually("it is away", || push(&server, &to("kiosk", 0)).0 == 202);
    let connected = open_named(&server, &page, "counter");
    let claim = connected.claim();
    let server = server.start_again(Signal::TERM);
    for (name, lost) in [("kiosk", away), ("counter", claim)] {
        assert_eq!(push(&server, &to(name, 1)).0, 202);
        let back = lost.come_back_as(&server, &page);
        assert_eq!((back.gap, back.tab.uuid.as_str()), (None, name));
        assert!(back.replayed > 0);
    }
}

// protocol.md 9.2
#[test]
fn who_listens_without_a_word_for_longer_than_replay_time_misses_nothing_when_its_line_breaks() {
    // Scripts are never pinged, pages are not where it is off.
    let script = Request::to("/?resume=1").with("Client-Type", "php");
    for (ini, request) in [
        ("replayTime=3s\npingInterval=500ms\npongTimeout=5", script),
        ("replayTime=3s\npingInterval=0", Request::to("/?resume=1")),
    ] {
        let server = Server::start(ini);
        // That of a page that has spoken as long ago is over.
        let silent = Tab::open_as(&server, &request);
        let spent = Tab::open(&server).lose();
        let to_spent = format!(r#"{{"opcode":"feedback","uuid":"{}"}}"#, spent.uuid);
        eventually("its time is over", || push(&server, &to_spent).0 == 404);
        let lost = silent.lose();
        server.wait_for_lines("Connection closed to socket", 2);
        let back = lost.come_back_as(&server, &request);
        assert_eq!((back.gap, back.replayed), (None, 0), "{ini}");
    }
}

//! Pages that come back to a name that another has taken meanwhile, and those who have listened
//! without a word (protocol.md 2.9, 9.2, 9.3).

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
        tab.uuid = "kiosk".to_owned();
        let lost = tab.lose();
        let to_tab = r#"{"opcode":"feedback","uuid":"kiosk"}"#;
        eventually("it is away", || push(&server, to_tab).0 == 202);
        let mut other = connect(&server);
        other.upgrade(&Request::to(match has_opted_in {
            true => "/?resume=1",
            false => "/",
        }));
        other.read_text("ready");
        other.send_for_next(choose);
        let back = lost.come_back(&server);
        assert_eq!((back.gap.as_deref(), back.replayed), (Some("unknown"), 0));
        assert_ne!(back.tab.uuid, "kiosk", "that is another's");
        assert_eq!(push(&server, to_tab).0, 200);
        other.read_text("what is for its name");
        other.close();
    }
}

// protocol.md 9.2
#[test]
fn who_listens_without_a_word_for_longer_than_replay_time_misses_nothing_when_its_line_breaks() {
    // Scripts are never pinged, pages are not where it is off.
    let script = Request::to("/?resume=1").with("Client-Type", "php");
    for (ini, request) in [
        (
            "replayTime=200ms\npingInterval=100ms\npongTimeout=5",
            script,
        ),
        (
            "replayTime=200ms\npingInterval=0",
            Request::to("/?resume=1"),
        ),
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

//! Pages that come back to a name that another has taken meanwhile (protocol.md 2.9, 9.3).

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

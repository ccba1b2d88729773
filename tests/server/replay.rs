//! Nothing is lost while a page is away: cursors, `resume`, gaps, and what is kept (protocol.md §9).

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Conn, Request, Server, connect, eventually};
use crate::users::{ask, push, request};

/// A page that has opted in, and where it stands.
pub(crate) struct Tab {
    pub(crate) conn: Conn,
    pub(crate) uuid: String,
    pub(crate) cursor: String,
    pub(crate) secret: String,
}

/// How a page comes back.
pub(crate) struct Return {
    pub(crate) tab: Tab,
    pub(crate) replayed: u64,
    pub(crate) gap: Option<String>,
}

impl Tab {
    #[track_caller]
    pub(crate) fn open(server: &Server) -> Self {
        Self::open_as(server, &Request::to("/web?resume=1"))
    }

    #[track_caller]
    pub(crate) fn open_as(server: &Server, request: &Request) -> Self {
        let mut conn = connect(server);
        conn.upgrade(request);
        let ready = json(&conn.read_text("ready"));
        assert_eq!(ready["opcode"], "ready");
        let text = |key: &str| ready[key].as_str().expect(key).to_owned();
        Self {
            uuid: text("uuid"),
            cursor: text("cursor"),
            secret: text("resume"),
            conn,
        }
    }

    /// The next message, which has a cursor as its last key: what stands before it.
    #[track_caller]
    pub(crate) fn read(&mut self) -> String {
        let text = self.conn.read_text("a message with a cursor");
        let (message, cursor) = text.rsplit_once(r#","cursor":""#).expect("a cursor");
        self.cursor = cursor
            .strip_suffix(r#""}"#)
            .expect("the last key")
            .to_owned();
        format!("{message}}}")
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, message: &str) {
        assert_eq!(self.read(), message);
    }

    /// The connection is gone without a word, and the server has seen it.
    #[track_caller]
    pub(crate) fn lose(self) -> Lost {
        let Self {
            mut conn,
            uuid,
            cursor,
            secret,
        } = self;
        conn.shut_down_write();
        conn.read_to_end();
        Lost {
            uuid,
            cursor,
            secret,
        }
    }

    pub(crate) fn claim(&self) -> Lost {
        Lost {
            uuid: self.uuid.clone(),
            cursor: self.cursor.clone(),
            secret: self.secret.clone(),
        }
    }
}

/// What a page knows whose connection is gone.
#[derive(Clone)]
pub(crate) struct Lost {
    pub(crate) uuid: String,
    pub(crate) cursor: String,
    pub(crate) secret: String,
}

impl Lost {
    pub(crate) fn packet(&self) -> String {
        let Self {
            uuid,
            cursor,
            secret,
        } = self;
        format!(r#"{{"opcode":"resume","uuid":"{uuid}","secret":"{secret}","cursor":"{cursor}"}}"#)
    }

    #[track_caller]
    pub(crate) fn come_back(&self, server: &Server) -> Return {
        self.come_back_as(server, &Request::to("/web?resume=1"))
    }

    #[track_caller]
    pub(crate) fn come_back_as(&self, server: &Server, request: &Request) -> Return {
        self.come_back_on(Tab::open_as(server, request))
    }

    #[track_caller]
    pub(crate) fn come_back_on(&self, mut tab: Tab) -> Return {
        say(&mut tab.conn, &self.packet());
        let text = tab.conn.read_text("resumed");
        let resumed = json(&text);
        let value = |key: &str| resumed[key].as_str().expect(key).to_owned();
        let (uuid, cursor, secret) = (value("uuid"), value("cursor"), value("resume"));
        let gap = resumed["gap"].as_str().map(str::to_owned);
        let replayed = resumed["replayed"].as_u64().expect("a number");
        let shown = gap
            .as_ref()
            .map_or("null".to_owned(), |gap| format!(r#""{gap}""#));
        assert_eq!(
            text,
            format!(
                r#"{{"opcode":"resumed","uuid":"{uuid}","replayed":{replayed},"gap":{shown},"cursor":"{cursor}","resume":"{secret}"}}"#
            )
        );
        (tab.uuid, tab.cursor, tab.secret) = (uuid, cursor, secret);
        Return { tab, replayed, gap }
    }

    /// Comes back without a gap, with so many messages to follow.
    #[track_caller]
    pub(crate) fn expect_missed(&self, server: &Server, count: u64) -> Tab {
        let back = self.come_back(server);
        assert_eq!((back.gap, back.replayed), (None, count));
        assert_eq!(back.tab.uuid, self.uuid, "it is the old one");
        assert_eq!(back.tab.cursor, self.cursor, "as it was before");
        assert_ne!(back.tab.secret, self.secret, "a new one");
        back.tab
    }
}

/// Sends a message and reads its `next`.
#[track_caller]
fn say(conn: &mut Conn, text: &str) {
    conn.send_text(text);
    conn.expect_next();
}

#[track_caller]
pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

fn feedback(uuid: &str, n: u32) -> String {
    format!(r#"{{"opcode":"feedback","uuid":"{uuid}","n":{n}}}"#)
}

fn to_all(n: u32) -> String {
    format!(r#"{{"opcode":"broadcast","n":{n}}}"#)
}

/// Pushes until it is kept for a page that is away, as the server sees it gone only then.
#[track_caller]
fn push_until_kept(server: &Server, body: &str) {
    eventually("the server sees that a page has gone", || {
        match push(server, body) {
            (202, answer) => {
                assert_eq!(answer, "{\"delivered\":0,\"queued\":1}\n");
                true
            }
            _ => false,
        }
    });
}

/// Waits until the server has seen that the connection of a page is gone.
#[track_caller]
fn wait_until_away(server: &Server, count: usize) {
    let lines = server.wait_for_lines("Connection closed to socket", count);
    assert!(lines.len() >= count);
}

// protocol.md 9.1
#[test]
fn who_opts_in_gets_a_cursor_with_each_message_and_nobody_else_notices() {
    let server = Server::start("");
    let mut plain = server.web();
    let mut tab = Tab::open(&server);
    let mut other = Tab::open(&server);
    assert_eq!(tab.secret.len(), 32, "128 bits");
    assert_ne!(tab.secret, other.secret);
    assert_eq!(tab.cursor, other.cursor, "nothing was said in between");
    let before = tab.cursor.clone();

    let (status, _) = push(&server, &to_all(1));
    assert_eq!(status, 200);
    plain.expect_text(&to_all(1));
    tab.expect(&to_all(1));
    other.expect(&to_all(1));
    assert_ne!(tab.cursor, before);
    assert_eq!(tab.cursor, other.cursor);

    // To itself, too, but an echo is its own.
    let text = feedback(&tab.uuid, 2);
    say(&mut tab.conn, &text);
    tab.expect(&text);
    let echo = r#"{"opcode":"echo","n":3}"#;
    say(&mut tab.conn, echo);
    tab.conn.expect_text(echo);
    // It wins over a key of that name, and stands in an object that has no other key.
    let text = format!(
        r#"{{"opcode":"feedback","uuid":"{}","cursor":"mine"}}"#,
        tab.uuid
    );
    assert_eq!(
        push(&server, &text),
        (200, "{\"delivered\":1}\n".to_owned())
    );
    tab.expect(&text);
    let spaced = format!(
        " {{ \"opcode\" : \"feedback\", \"uuid\" : \"{}\" }} \n",
        tab.uuid
    );
    assert_eq!(push(&server, &spaced).0, 200);
    let expected = format!(
        " {{ \"opcode\" : \"feedback\", \"uuid\" : \"{}\"}}",
        tab.uuid
    );
    tab.expect(&expected);
}

// protocol.md 9.3
#[test]
fn a_page_that_comes_back_gets_what_it_has_missed_in_order_and_then_what_comes() {
    let server = Server::start("");
    let mut tab = Tab::open(&server);
    push(&server, &to_all(1));
    tab.expect(&to_all(1));
    let lost = tab.lose();
    push_until_kept(&server, &feedback(&lost.uuid, 2));
    push(&server, &to_all(3));
    push_until_kept(&server, &feedback(&lost.uuid, 4));
    let mut tab = lost.expect_missed(&server, 3);
    tab.expect(&feedback(&lost.uuid, 2));
    tab.expect(&to_all(3));
    tab.expect(&feedback(&lost.uuid, 4));
    // It has its old name.
    assert_eq!(
        push(&server, &feedback(&lost.uuid, 5)),
        (200, "{\"delivered\":1}\n".to_owned())
    );
    tab.expect(&feedback(&lost.uuid, 5));
    // And again, with nothing received since.
    let lost = tab.lose();
    push_until_kept(&server, &feedback(&lost.uuid, 6));
    let mut tab = lost.expect_missed(&server, 1);
    tab.expect(&feedback(&lost.uuid, 6));
    tab.conn.round_trip();
}

// protocol.md 9.3
#[test]
fn a_page_that_had_received_nothing_before_it_was_lost_misses_nothing() {
    let server = Server::start("");
    let lost = Tab::open(&server).lose();
    push_until_kept(&server, &feedback(&lost.uuid, 1));
    let mut tab = lost.expect_missed(&server, 1);
    tab.expect(&feedback(&lost.uuid, 1));
    tab.conn.round_trip();
    // A second loss before anything of that was read costs nothing.
    let lost = lost_with(tab.lose(), &lost.cursor);
    wait_until_away(&server, 2);
    let mut tab = lost.expect_missed(&server, 1);
    tab.expect(&feedback(&lost.uuid, 1));
}

// protocol.md 9.3
#[test]
fn an_answer_that_was_lost_may_be_asked_for_until_the_tab_says_something() {
    let server = Server::start("");
    let lost = Tab::open(&server).lose();
    push_until_kept(&server, &feedback(&lost.uuid, 1));
    // Each time the connection stands, and the page knows nothing of it.
    let mut standing: Vec<Tab> = Vec::new();
    for _ in 0..3 {
        let tab = lost.expect_missed(&server, 1);
        if let Some(mut before) = standing.pop() {
            before.expect(&feedback(&lost.uuid, 1));
            before.conn.expect_close_and_end(4409);
        }
        standing.push(tab);
    }
    let mut tab = standing.pop().expect("the last one");
    tab.expect(&feedback(&lost.uuid, 1));
    tab.conn.round_trip();
    let back = lost.come_back(&server);
    assert_eq!(
        back.gap.as_deref(),
        Some("unknown"),
        "it has heard the answer"
    );
    assert_ne!(back.tab.uuid, lost.uuid);
    // Nobody has taken its place.
    tab.conn.round_trip();
}

fn lost_with(lost: Lost, cursor: &str) -> Lost {
    Lost {
        cursor: cursor.to_owned(),
        ..lost
    }
}

// protocol.md 9.3
#[test]
fn a_page_that_comes_back_at_once_misses_nothing_and_ends_its_old_connection() {
    let server = Server::start("");
    let mut old = Tab::open(&server);
    let mut tab = old.claim().expect_missed(&server, 0);
    let reason = old.conn.expect_close_and_end(4409);
    assert_eq!(reason, "another connection goes on in its place");
    assert_eq!(push(&server, &feedback(&tab.uuid, 1)).0, 200);
    tab.expect(&feedback(&tab.uuid.clone(), 1));
    tab.conn.round_trip();
}

// protocol.md 9.3
#[test]
fn a_broadcast_of_its_own_is_not_among_what_a_page_has_missed() {
    let server = Server::start("");
    let mut tab = Tab::open(&server);
    let mut other = Tab::open(&server);
    let before = tab.cursor.clone();
    say(&mut tab.conn, &to_all(1));
    other.expect(&to_all(1));
    say(&mut other.conn, &to_all(2));
    tab.expect(&to_all(2));
    let lost = lost_with(tab.lose(), &before);
    wait_until_away(&server, 1);
    let mut tab = lost.expect_missed(&server, 1);
    tab.expect(&to_all(2));
    tab.conn.round_trip();
}

// protocol.md 9.3
#[test]
fn a_resume_that_is_not_first_or_not_asked_for_gets_next_only() {
    let server = Server::start("");
    let lost = Tab::open(&server).lose();
    let mut plain = server.web();
    say(&mut plain, &lost.packet());
    plain.round_trip();
    let mut late = Tab::open(&server);
    say(&mut late.conn, r#"{"opcode":"unknown"}"#);
    say(&mut late.conn, &lost.packet());
    late.conn.round_trip();
    let mut tab = lost.expect_missed(&server, 0);
    say(&mut tab.conn, &lost.packet());
    tab.conn.round_trip();
}

// protocol.md 9.4
#[test]
fn what_cannot_be_filled_is_said() {
    let server = Server::start("replaySize=3");
    let gap_of = |lost: &Lost| {
        let mut back = lost.come_back(&server);
        assert_eq!(back.replayed, 0);
        // The cursor is a good one.
        back.tab.conn.round_trip();
        (back.gap.unwrap_or_default(), back.tab)
    };
    // Wrong secret, another's uuid, a cursor that is none.
    let tab = Tab::open(&server);
    let other = Tab::open(&server);
    for claim in [
        Lost {
            secret: "0".repeat(32),
            ..tab.claim()
        },
        Lost {
            secret: String::new(),
            ..tab.claim()
        },
        Lost {
            secret: other.secret.clone(),
            ..tab.claim()
        },
        Lost {
            uuid: other.uuid.clone(),
            ..tab.claim()
        },
    ] {
        let (gap, back) = gap_of(&claim);
        assert_eq!(gap, "unknown");
        assert_ne!(back.uuid, claim.uuid, "its own");
    }
    // The secret was right: the name is the old one.
    let epoch = tab.cursor.split('.').next().expect("an epoch");
    for cursor in [
        "",
        "0",
        "nonsense",
        &format!("{epoch}.ffff"),
        &format!("{epoch}.-1"),
    ] {
        let tab = Tab::open(&server);
        let (gap, back) = gap_of(&lost_with(tab.claim(), cursor));
        assert_eq!((gap.as_str(), back.uuid), ("unknown", tab.uuid), "{cursor}");
    }
    // Of another server.
    let (gap, back) = gap_of(&lost_with(tab.claim(), "0123456789abcdef.1"));
    assert_eq!((gap.as_str(), &back.uuid), ("restart", &tab.uuid));
    // A used secret.
    assert_eq!(gap_of(&tab.claim()).0, "unknown");
    // A uuid that is nobody's.
    let unknown = "0b3e6a9e-6f1f-4a58-9d3b-0d2f2b8f1c11";
    let nobody = Lost {
        uuid: unknown.to_owned(),
        ..other.claim()
    };
    assert_eq!(gap_of(&nobody).0, "expired");
    // As many as are kept, and one more.
    let lost = Tab::open(&server).lose();
    for n in 1..=3 {
        push_until_kept(&server, &feedback(&lost.uuid, n));
    }
    let mut tab = lost.expect_missed(&server, 3);
    (1..=3).for_each(|n| tab.expect(&feedback(&lost.uuid, n)));
    let lost = tab.lose();
    for n in 1..=4 {
        push_until_kept(&server, &feedback(&lost.uuid, n));
    }
    let (gap, mut tab) = gap_of(&lost);
    assert_eq!((gap.as_str(), &tab.uuid), ("overflow", &lost.uuid));
    // What comes now is not missed.
    assert_eq!(push(&server, &feedback(&tab.uuid, 5)).0, 200);
    tab.expect(&feedback(&lost.uuid, 5));
}

// protocol.md 9.2
// protocol.md 9.4
#[test]
fn what_was_kept_is_gone_after_replay_time() {
    // Long enough to be pushed to in between on a busy machine.
    let server = Server::start("replayTime=3s");
    let lost = Tab::open(&server).lose();
    push_until_kept(&server, &feedback(&lost.uuid, 1));
    eventually("it is forgotten", || {
        push(&server, &feedback(&lost.uuid, 2)).0 == 404
    });
    let back = lost.come_back(&server);
    assert_eq!(back.gap.as_deref(), Some("expired"));
    assert_ne!(back.tab.uuid, lost.uuid);
}

// protocol.md 9.6
#[test]
fn a_push_to_somebody_who_is_away_is_queued_and_told_so() {
    let server = Server::start("");
    let mut here = Tab::open(&server);
    let lost = Tab::open_as(&server, &Request::to("/web?resume=1").with("Ident", "42")).lose();
    push_until_kept(&server, &feedback(&lost.uuid, 1));
    let by_ident = r#"{"opcode":"feedback","ident":42,"n":2}"#;
    assert_eq!(
        push(&server, by_ident),
        (202, "{\"delivered\":0,\"queued\":1}\n".to_owned())
    );
    let batch = format!(
        "[{},{},{}]",
        feedback(&lost.uuid, 3),
        feedback(&here.uuid, 1),
        feedback("nobody", 1)
    );
    assert_eq!(
        push(&server, &batch),
        (
            200,
            concat!(
                r#"{"delivered":1,"queued":1,"results":[{"delivered":0,"queued":1},"#,
                r#"{"delivered":1},{"delivered":0,"error":"nobody has this uuid or ident"}]}"#,
                "\n"
            )
            .to_owned()
        )
    );
    here.expect(&feedback(&here.uuid.clone(), 1));
    let mut tab = lost.expect_missed(&server, 3);
    tab.expect(&feedback(&lost.uuid, 1));
    tab.expect(by_ident);
    tab.expect(&feedback(&lost.uuid, 3));
    // Who has not opted in is gone when it is gone.
    let plain = server.web();
    let uuid = plain.uuid.clone();
    drop(plain);
    eventually("it is gone", || push(&server, &feedback(&uuid, 1)).0 == 404);
}

/// A server with users, and a page of one of them that has opted in.
fn start_with_users() -> Server {
    Server::start("authKey=a secret of thirty-two bytes or more\n")
}

// protocol.md 9.5
#[test]
fn another_user_or_none_comes_back_as_somebody_unknown() {
    let server = start_with_users();
    let target = "/web?resume=1";
    let tab = |user: &str| match user {
        "" => Request::to(target),
        user => request(target, user),
    };
    for (was, is) in [("1", "2"), ("1", ""), ("", "1")] {
        let lost = Tab::open_as(&server, &tab(was)).lose();
        push_until_kept(&server, &feedback(&lost.uuid, 1));
        let mut back = lost.come_back_as(&server, &tab(is));
        assert_eq!(back.gap.as_deref(), Some("unknown"), "{was} {is}");
        assert_ne!(back.tab.uuid, lost.uuid);
        back.tab.conn.round_trip();
        // The one that it belongs to can still have it.
        let mut back = lost.come_back_as(&server, &tab(was));
        assert_eq!((back.gap, back.replayed), (None, 1));
        back.tab.expect(&feedback(&lost.uuid, 1));
    }
}

// protocol.md 9.3
// protocol.md 9.6
#[test]
fn what_is_said_to_a_user_waits_for_those_of_its_tabs_that_are_away() {
    let server = start_with_users();
    let opted_in = request("/web?resume=1", "42");
    let mut here = Tab::open_as(&server, &opted_in);
    let mut plain = server.open(&request("/web", "42"));
    let lost = Tab::open_as(&server, &opted_in).lose();
    push_until_kept(&server, &feedback(&lost.uuid, 0));
    let to_user = |n: u32| format!(r#"{{"opcode":"feedback","user":"42","n":{n}}}"#);
    assert_eq!(
        push(&server, &to_user(1)),
        (200, "{\"delivered\":2,\"queued\":1}\n".to_owned())
    );
    here.expect(&to_user(1));
    plain.expect_text(&to_user(1));
    let mut back = lost.come_back_as(&server, &opted_in);
    assert_eq!((back.gap, back.replayed), (None, 2));
    back.tab.expect(&feedback(&lost.uuid, 0));
    back.tab.expect(&to_user(1));
    // With nobody there it is queued for both.
    let (one, other) = (here.lose(), back.tab.lose());
    plain.close();
    push_until_kept(&server, &feedback(&one.uuid, 2));
    push_until_kept(&server, &feedback(&other.uuid, 2));
    assert_eq!(
        push(&server, &to_user(3)),
        (202, "{\"delivered\":0,\"queued\":2}\n".to_owned())
    );
    for lost in [one, other] {
        let mut back = lost.come_back_as(&server, &opted_in);
        assert_eq!((back.gap, back.replayed), (None, 2));
        back.tab.expect(&feedback(&lost.uuid, 2));
        back.tab.expect(&to_user(3));
    }
}

#[track_caller]
fn position(server: &Server) -> String {
    let (status, body) = ask(server, "GET", "/position", "");
    assert_eq!(status, 200);
    let cursor = json(&body)["cursor"].as_str().expect("a cursor").to_owned();
    assert_eq!(body, format!("{{\"cursor\":\"{cursor}\"}}\n"));
    cursor
}

// protocol.md 9.8
#[test]
fn a_page_misses_nothing_between_being_made_and_connecting() {
    let server = start_with_users();
    let cursor = position(&server);
    let to_user = |n: u32| format!(r#"{{"opcode":"feedback","user":"42","n":{n}}}"#);
    push(&server, &to_all(1));
    // Nobody is there, and that is said.
    assert_eq!(push(&server, &to_user(2)).0, 404);
    assert_eq!(push(&server, r#"{"opcode":"feedback","user":"7"}"#).0, 404);
    push(&server, &to_all(3));
    let target = format!("/web?resume=1&since={cursor}");
    let mut tab = Tab::open_as(&server, &request(&target, "42"));
    assert_eq!(tab.cursor, cursor, "as it was before");
    tab.expect(&to_all(1));
    tab.expect(&to_user(2));
    tab.expect(&to_all(3));
    tab.conn.round_trip();
    // A loss before anything of that was read costs nothing.
    let lost = lost_with(tab.lose(), &cursor);
    let mut back = lost.come_back_as(&server, &request("/web?resume=1", "42"));
    assert_eq!((back.gap, back.replayed), (None, 3));
    back.tab.expect(&to_all(1));
    // Without a user there are the broadcasts.
    let mut tab = Tab::open_as(&server, &Request::to(&target));
    tab.expect(&to_all(1));
    tab.expect(&to_all(3));
    tab.conn.round_trip();
}

// protocol.md 9.8
#[test]
fn a_page_whose_position_is_gone_is_told_so() {
    let server = Server::start("replaySize=2");
    let cursor = position(&server);
    (0..3).for_each(|n| drop(push(&server, &to_all(n))));
    let epoch = cursor.split('.').next().expect("an epoch");
    for (since, gap) in [
        (cursor.as_str(), "overflow"),
        ("", "unknown"),
        ("x", "unknown"),
        (&format!("{epoch}.fff"), "unknown"),
        ("0123456789abcdef.0", "restart"),
    ] {
        let target = format!("/web?resume=1&since={since}");
        let mut tab = Tab::open_as(&server, &Request::to(&target));
        let now = tab.cursor.clone();
        tab.conn.expect_text(&format!(
            r#"{{"opcode":"gap","gap":"{gap}","cursor":"{now}"}}"#
        ));
        tab.conn.round_trip();
        push(&server, &to_all(9));
        tab.expect(&to_all(9));
    }
}

const READ_AGAIN: &str = "Settings read again";

/// A page that is away, for which so many messages of so many bytes are kept.
#[track_caller]
fn away_with(server: &Server, count: u32, len: usize) -> Lost {
    let lost = Tab::open(server).lose();
    for n in 0..count {
        let text =
            feedback(&lost.uuid, n).replace("}", &format!(r#","x":"{}"}}"#, "x".repeat(len)));
        push_until_kept(server, &text);
    }
    lost
}

// promise: a reload of replaySize, replayTime and replayMemory takes effect
#[test]
fn what_is_kept_follows_a_reload() {
    let server = Server::start("replaySize=3\nreplayMemory=1M");
    away_with(&server, 3, 50_000).expect_missed(&server, 3);
    server.reload("replaySize=2\nreplayMemory=1M", READ_AGAIN);
    let lost = away_with(&server, 3, 1);
    assert_eq!(lost.come_back(&server).gap.as_deref(), Some("overflow"));
    let lost = away_with(&server, 2, 50_000);
    server.reload("replaySize=2\nreplayMemory=64K", READ_AGAIN);
    assert_eq!(lost.come_back(&server).gap.as_deref(), Some("overflow"));
    let lost = away_with(&server, 1, 1);
    server.reload("replaySize=2\nreplayMemory=64K\nreplayTime=0", READ_AGAIN);
    eventually("it is forgotten", || {
        push(&server, &feedback(&lost.uuid, 2)).0 == 404
    });
    // Nobody can opt in.
    server.open(&Request::to("/web?resume=1")).round_trip();
}

const KEEPING: &str = "stateDir={dir}/state\ndrainSpread=0\ncloseTimeout=100ms";

// protocol.md 9.7
#[test]
fn a_restart_loses_nothing() {
    let server = Server::start(KEEPING);
    let mut tab = Tab::open(&server);
    push(&server, &to_all(1));
    tab.expect(&to_all(1));
    let away = Tab::open(&server).lose();
    push_until_kept(&server, &feedback(&away.uuid, 2));
    let position = position(&server);
    push(&server, &to_all(3));
    tab.expect(&to_all(3));
    let mut other = Tab::open(&server);
    say(&mut other.conn, &to_all(4));
    let server = server.start_again(Signal::TERM);
    // Nobody has come back yet.
    push(&server, &to_all(5));
    assert_eq!(
        push(&server, &feedback(&tab.uuid, 6)),
        (202, "{\"delivered\":0,\"queued\":1}\n".to_owned())
    );
    let mut tab = tab.claim().expect_missed(&server, 3);
    tab.expect(&to_all(4));
    tab.expect(&to_all(5));
    tab.expect(&feedback(&tab.uuid.clone(), 6));
    let mut back = away.expect_missed(&server, 4);
    back.expect(&feedback(&away.uuid, 2));
    (3..=5).for_each(|n| back.expect(&to_all(n)));
    // Its own is not among them.
    let mut other = other.claim().expect_missed(&server, 1);
    other.expect(&to_all(5));
    let target = format!("/web?resume=1&since={position}");
    let mut page = Tab::open_as(&server, &Request::to(&target));
    (3..=5).for_each(|n| page.expect(&to_all(n)));
    // And once more, with nothing said in between.
    let claim = other.claim();
    let server = server.start_again(Signal::TERM);
    claim.expect_missed(&server, 0).conn.round_trip();
}

// protocol.md 9.7
// protocol.md 9.4
#[test]
fn a_crash_is_told_as_a_restart_and_what_was_read_is_not_read_twice() {
    let server = Server::start(KEEPING);
    let lost = Tab::open(&server).claim();
    let server = server.start_again(Signal::KILL);
    assert_eq!(lost.come_back(&server).gap.as_deref(), Some("restart"));
    // What the first stop has left is not believed after a crash later.
    let lost = Tab::open(&server).claim();
    let server = server.start_again(Signal::TERM).start_again(Signal::KILL);
    assert_eq!(lost.come_back(&server).gap.as_deref(), Some("restart"));
    // Without a place to keep it.
    let server = Server::start("");
    let lost = Tab::open(&server).claim();
    let server = server.start_again(Signal::TERM);
    assert_eq!(lost.come_back(&server).gap.as_deref(), Some("restart"));
}

/// A tab, and the file that a server has written at its end.
fn stopped(server: Server) -> (Server, Lost, PathBuf) {
    let tab = Tab::open(&server);
    let claim = tab.lose();
    server.signal(Signal::TERM);
    server.wait_exit();
    let file = server.directory().join("state/replay");
    assert_eq!(
        fs::metadata(&file)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    (server, claim, file)
}

// protocol.md 9.7
#[test]
fn a_file_that_is_not_as_it_was_written_is_not_believed() {
    type Spoiler = (&'static str, fn(&Path));
    let spoilers: [Spoiler; 7] = [
        ("it is cut off or was changed", |file| {
            let bytes = fs::read(file).expect("read");
            fs::write(file, &bytes[..bytes.len() - 1]).expect("written");
        }),
        ("it is cut off or was changed", |file| {
            let mut bytes = fs::read(file).expect("read");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(file, bytes).expect("written");
        }),
        ("it was not written by websock", |file| {
            fs::write(file, "#!/bin/sh\n").expect("written");
        }),
        ("another version of websock has written it", |file| {
            let mut bytes = fs::read(file).expect("read");
            bytes[15] = b'2';
            fs::write(file, bytes).expect("written");
        }),
        ("it is longer than anything that is kept", |file| {
            let opened = fs::OpenOptions::new().write(true).open(file);
            opened.expect("opened").set_len(4 << 30).expect("a length");
        }),
        ("Too many levels of symbolic links", |file| {
            fs::rename(file, file.with_extension("moved")).expect("moved");
            symlink(file.with_extension("moved"), file).expect("a link");
        }),
        ("with mode 0600", |file| {
            fs::set_permissions(file, fs::Permissions::from_mode(0o644)).expect("a mode");
        }),
    ];
    for (told, spoil) in spoilers {
        let (server, claim, file) = stopped(Server::start(KEEPING));
        spoil(&file);
        let server = server.start_with_what_is_left();
        let line = server.wait_for_log("is not used");
        assert!(line.contains(told), "{line}");
        assert_eq!(claim.come_back(&server).gap.as_deref(), Some("restart"));
        assert!(!file.exists(), "it is not looked at again");
    }
}

// protocol.md 9.7
#[test]
fn what_is_older_than_replay_time_is_not_used() {
    let (server, claim, _) = stopped(Server::start("stateDir={dir}/state\nreplayTime=2s"));
    // The next one is started only when it is.
    let written = SystemTime::now();
    eventually("it is older", || {
        written
            .elapsed()
            .is_ok_and(|age| age > Duration::from_secs(2))
    });
    let server = server.start_with_what_is_left();
    server.wait_for_log("it is older than replayTime");
    assert_eq!(claim.come_back(&server).gap.as_deref(), Some("restart"));
}

// protocol.md 9.3
// protocol.md 9.2
#[test]
fn what_went_into_a_connection_that_was_dead_is_not_lost() {
    let server = Server::start("");
    let mut dead = Tab::open(&server);
    push(&server, &to_all(1));
    dead.expect(&to_all(1));
    // It takes them, and nobody reads them; what has no cursor comes in between.
    for n in 2..=4 {
        assert_eq!(push(&server, &feedback(&dead.uuid, n)).0, 200);
        dead.conn.send_text(r#"{"opcode":"echo"}"#);
    }
    let mut tab = dead.claim().expect_missed(&server, 3);
    (2..=4).for_each(|n| tab.expect(&feedback(&dead.uuid, n)));
    tab.conn.round_trip();
}

// protocol.md 9.2
#[test]
fn a_page_that_was_idle_for_long_can_be_lost_for_a_moment() {
    let server = Server::start("replayTime=3s\npingInterval=400ms");
    let mut tab = Tab::open(&server);
    // Longer than replayTime, with nothing but pings.
    for _ in 0..10 {
        let payload = tab.conn.expect_ping();
        tab.conn.send_pong(&payload);
    }
    let mut other = Tab::open(&server);
    other.conn.answer_pings();
    let claim = tab.claim();
    tab.conn.reset();
    let mut again = Tab::open(&server);
    again.conn.answer_pings();
    let back = claim.come_back_on(again);
    assert_eq!((back.gap, back.replayed), (None, 0));
    other.conn.round_trip();
}

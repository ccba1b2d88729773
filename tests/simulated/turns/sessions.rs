//! Sessions that helper threads read: each is asked for once, waited for asleep, and handed over in a
//! later turn, a turn's share at a time.

use std::sync::Arc;
use std::time::Duration;

use websock::app::sign_in::SessionStore;
use websock::net::ServerSettings;
use websock::protocol::php_session::{SessionFolder, SessionOutcome, StoredSession, Unreadable};

use crate::client;
use crate::server::{Client, Server, request_to, settings};

const SIGNED_IN: &str = "allowconnect|b:1;user_id|i:42;";

/// The shipped settings, with sessions that have to let everybody in.
fn with_sessions() -> ServerSettings {
    let mut settings = settings();
    let folder = SessionFolder::parse("/var/lib/php/sessions").unwrap();
    settings.sign_in.require = true;
    settings.sign_in.sessions.store = Some(SessionStore::Folder(Arc::new(folder)));
    settings.sign_in.sessions.key = "allowconnect".to_owned();
    settings
}

/// Somebody who has sent the opening request with this session.
fn knock(server: &mut Server, id: &str) -> Client {
    let client = Client::new(server.connect("192.0.2.1"));
    let cookie = format!("Cookie: PHPSESSID={id}\r\n");
    client.end.send(&request_to("/web", &cookie));
    server.settle();
    client
}

fn stored(content: impl Into<Vec<u8>>) -> StoredSession {
    StoredSession {
        bytes: content.into().into(),
        age: Duration::from_secs(1),
    }
}

#[track_caller]
fn expect_ready(client: &mut Client) {
    let heard = client.heard();
    assert!(heard[0].starts_with(r#"{"opcode":"ready""#), "{heard:?}");
}

// protocol.md 8.2
#[test]
fn a_session_is_asked_for_once_and_waited_for_asleep() {
    let mut server = Server::new(&with_sessions());
    let mut client = knock(&mut server, "a,b-C9");
    let (call, file) = server.system.asked_session().unwrap();
    assert_eq!(file.id.as_str(), "a,b-C9");
    assert_eq!(file.folder.path().to_str(), Some("/var/lib/php/sessions"));
    server.advance(Duration::from_millis(500));
    assert!(server.system.asked_session().is_none());
    assert_eq!(client.end.waiting_len(), 0);
    let found = SessionOutcome::Found(stored(SIGNED_IN));
    server.system.answer_session(call, found.clone());
    server.settle();
    expect_ready(&mut client);
    // What comes twice, or was never asked for, is nobody's.
    server.system.answer_session(call, found);
    server.settle();
    assert_eq!(client.heard(), [""; 0]);
    assert!(server.system.asked_session().is_none());
}

// protocol.md 8.2
#[test]
fn a_locked_session_is_asked_for_again_by_the_wheel() {
    let mut server = Server::new(&with_sessions());
    let mut client = knock(&mut server, "new");
    let mut times = 0;
    for content in ["", "", "allow", ""] {
        let (call, _) = server.system.asked_session().unwrap();
        let locked = SessionOutcome::Locked(stored(content));
        server.system.answer_session(call, locked);
        server.settle();
        // Not at once: the loop sleeps meanwhile.
        assert!(server.system.asked_session().is_none());
        assert_eq!(client.end.waiting_len(), 0);
        server.advance(Duration::from_millis(400));
        times += 1;
    }
    assert_eq!(times, 4);
    let (call, _) = server.system.asked_session().unwrap();
    let found = SessionOutcome::Found(stored(SIGNED_IN));
    server.system.answer_session(call, found);
    server.settle();
    expect_ready(&mut client);
}

#[test]
fn a_turn_takes_up_its_share_of_sessions() {
    let mut server = Server::new(&with_sessions());
    let mut clients: Vec<Client> = (0..30)
        .map(|number| knock(&mut server, &format!("id{number}")))
        .collect();
    let mut honest = knock(&mut server, "honest");
    // Each is as long as is walked through in about a millisecond.
    let filler = "x".repeat(300 << 10);
    let long = format!("{SIGNED_IN}filler|s:{}:\"{filler}\";", filler.len());
    let mut asked: Vec<_> = std::iter::from_fn(|| server.system.asked_session()).collect();
    assert_eq!(asked.len(), 31);
    let (call, _) = asked.pop().unwrap();
    let found = SessionOutcome::Found(stored(SIGNED_IN));
    server.system.answer_session(call, found);
    server.settle();
    expect_ready(&mut honest);
    for (call, _) in asked {
        let found = SessionOutcome::Found(stored(long.as_str()));
        server.system.answer_session(call, found);
    }
    honest.say(r#"{"opcode":"echo","n":1}"#);
    server.turn();
    assert_eq!(honest.heard().len(), 2, "next and the echo");
    let answered = clients.iter().filter(|c| c.end.waiting_len() > 0).count();
    assert!((1..10).contains(&answered), "{answered} of 30 in one turn");
    assert_eq!(server.event_loop.next_wait(), Some(Duration::ZERO));
    server.settle();
    clients.iter_mut().for_each(expect_ready);
}

#[test]
fn who_has_gone_meanwhile_is_not_answered() {
    let mut server = Server::new(&with_sessions());
    let gone = knock(&mut server, "gone");
    let (call, _) = server.system.asked_session().unwrap();
    gone.end.reset();
    server.settle();
    let found = SessionOutcome::Found(stored(SIGNED_IN));
    server.system.answer_session(call, found);
    server.settle();
    assert_eq!(server.event_loop.link_count(), 0);
}

// protocol.md 8.2, 8.6
#[test]
fn what_cannot_be_read_is_not_a_no() {
    for (outcome, status) in [
        (SessionOutcome::Unreadable(Unreadable::Permission), 503),
        (SessionOutcome::Unreadable(Unreadable::Busy), 503),
        (SessionOutcome::Found(stored("allowconnect|b:")), 503),
        (SessionOutcome::Found(stored("\0\0\0\x02\x14")), 503),
        (SessionOutcome::Missing, 101),
        (SessionOutcome::Found(stored("")), 101),
        (SessionOutcome::Found(stored("allowconnect|b:0;")), 101),
    ] {
        let mut server = Server::new(&with_sessions());
        let client = knock(&mut server, "a");
        let (call, _) = server.system.asked_session().unwrap();
        server.system.answer_session(call, outcome.clone());
        server.settle();
        let answer = client.end.take(usize::MAX);
        let said = String::from_utf8_lossy(&answer);
        let start = format!("HTTP/1.1 {status} ");
        assert!(said.starts_with(&start), "{outcome:?}: {said}");
        // Nobody is let in by any of these.
        assert!(!said.contains("\"ready\""), "{outcome:?}");
        if status == 101 {
            let said = client::read_server(&answer);
            assert_eq!(said.close().0, Some(4401), "{outcome:?}");
        }
    }
}

//! Those who are here: asked about again, signed out, and coming back by a ticket (protocol.md 8.7).

use std::fs;
use std::time::{Duration, SystemTime};

use crate::harness::{Conn, Request, Server, connect, eventually};
use crate::sign_in::{NOT_SIGNED_IN, Sessions, expect_no, user_of, with_session};

#[track_caller]
fn expect_signed_out(conn: &mut Conn) {
    conn.expect_text(NOT_SIGNED_IN);
    conn.expect_close_and_end(4401);
}

// protocol.md 8.7
#[test]
fn who_is_no_longer_signed_in_or_somebody_else_is_sent_away() {
    let sessions = Sessions::new("recheck");
    let server = Server::start(&format!(
        "{}authRecheck=1\npingInterval=0\n",
        sessions.ini()
    ));
    for id in ["stays", "leaves", "changes", "ends", "breaks"] {
        sessions.sign_in(id, "42");
    }
    let open = |id: &str| user_of(&server, &with_session(id)).0;
    let (mut stays, mut breaks) = (open("stays"), open("breaks"));
    let mut second_tab = open("leaves");
    let (mut leaves, mut changes, mut ends) = (open("leaves"), open("changes"), open("ends"));
    let mut anonymous = server.web();
    sessions.remove("leaves");
    sessions.sign_in("changes", "43");
    sessions.put("ends", "cart|i:1;");
    // In one step: an empty one could be understood.
    sessions.put("broken", "user|s:2:\"4");
    fs::rename(sessions.file("broken"), sessions.file("breaks")).expect("moved");
    for conn in [&mut leaves, &mut second_tab, &mut changes, &mut ends] {
        expect_signed_out(conn);
    }
    // It is asked again, and not known: stays. So do those who never had a name.
    eventually("a session that cannot be understood", || {
        server
            .log_lines()
            .iter()
            .any(|line| line.contains("sessions could not be understood"))
    });
    for conn in [&mut stays, &mut breaks, &mut anonymous] {
        conn.round_trip();
    }
}

// protocol.md 8.7
#[test]
fn a_session_that_was_swept_away_keeps_its_tabs_unless_they_are_to_go() {
    for (idle, stays) in [("keep", true), ("close", false)] {
        let sessions = Sessions::new("swept");
        let ini = format!(
            "{}authRecheck=1\nsessionMaxAge=5\nauthIdle={idle}\npingInterval=0\n",
            sessions.ini()
        );
        let server = Server::start(&ini);
        for id in ["idle", "logout"] {
            sessions.sign_in(id, "42");
        }
        let (mut idle, _) = user_of(&server, &with_session("idle"));
        let (mut logout, _) = user_of(&server, &with_session("logout"));
        eventually("the session to be too old", || {
            // A script uses the other one.
            let used = fs::File::options()
                .write(true)
                .open(sessions.file("logout"));
            let used = used.and_then(|file| file.set_modified(SystemTime::now()));
            used.expect("it is there");
            let found = fs::metadata(sessions.file("idle")).and_then(|found| found.modified());
            let age = found.expect("it is there").elapsed().expect("it has been");
            age > Duration::from_secs(5)
        });
        sessions.remove("idle");
        sessions.remove("logout");
        expect_signed_out(&mut logout);
        match stays {
            // What was asked about the other has been asked about this one, too, or will be.
            true => idle.round_trip(),
            false => expect_signed_out(&mut idle),
        }
    }
}

/// The ticket of `ready`.
#[track_caller]
fn ticket_of(server: &Server, request: &Request) -> String {
    let mut conn = connect(server);
    conn.upgrade(request);
    let ready: serde_json::Value = serde_json::from_str(&conn.read_text("ready")).expect("JSON");
    ready["ticket"].as_str().expect("a ticket").to_owned()
}

fn with_ticket(id: &str, ticket: &str) -> Request {
    let cookie = format!("PHPSESSID={id}");
    Request::to(&format!("/web?user=1&ticket={ticket}")).with("Cookie", &cookie)
}

// promise: whoever was signed in comes back after a restart without a question, which follows
#[test]
fn a_ticket_stands_for_an_answer_until_that_can_be_asked_for() {
    let sessions = Sessions::new("ticket");
    let state = Sessions::new("state");
    let ini = format!(
        "{}authRecheck=1\nstateDir={}/state\n[jsauth]\nrequire=true\n",
        sessions.ini(),
        state.0.display()
    );
    sessions.sign_in("one", "42");
    sessions.sign_in("two", "43");
    let ticket = ticket_of(&Server::start(&ini), &with_session("one"));
    let server = Server::start(&ini);
    // The session cannot be read: only the ticket says who it is.
    sessions.put("one", "user|s:");
    let (mut back, user) = user_of(&server, &with_ticket("one", &ticket));
    assert_eq!(user.as_deref(), Some("42"));
    back.round_trip();
    // The question follows.
    sessions.put("one", "");
    expect_signed_out(&mut back);
    // From then on the ticket is worth nothing, and it never was for another visitor.
    expect_no(&server, &with_ticket("one", &ticket));
    let (_, user) = user_of(&server, &with_ticket("two", &ticket));
    assert_eq!(user.as_deref(), Some("43"));
    expect_no(&server, &with_ticket("none", &ticket));
    let (mut anonymous, mut two) = (connect(&server), String::new());
    anonymous.upgrade(&Request::to("/web?user=1&ticket=x"));
    two.push_str(&anonymous.read_text("a refusal"));
    assert_eq!(two, NOT_SIGNED_IN);
}

// promise: a ticket is worth nothing after a logout
#[test]
fn a_logout_ends_tickets() {
    let sessions = Sessions::new("ticket-logout");
    let server = Server::start(&format!("{}[jsauth]\nrequire=true\n", sessions.ini()));
    let mut script = server.open(&Request::php("/php"));
    for (id, user, logout) in [
        ("one", "42", r#"{"opcode":"logout","user":"42"}"#),
        ("two", "43", r#"{"opcode":"logout","session":"two"}"#),
    ] {
        sessions.sign_in(id, user);
        let ticket = ticket_of(&server, &with_session(id));
        sessions.remove(id);
        let (mut tab, _) = user_of(&server, &with_ticket(id, &ticket));
        script.send_for_next(logout);
        tab.expect_text(r#"{"opcode":"close","error":"logged out"}"#);
        tab.expect_close_and_end(4401);
        expect_no(&server, &with_ticket(id, &ticket));
    }
}

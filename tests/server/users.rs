//! Users: what reaches them, what ends them, who is told of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::harness::http::Response;
use crate::harness::{Conn, Request, Server, connect, eventually};
use crate::sign_in::{NOT_SIGNED_IN, Sessions, user_of, with_session};
use crate::sign_in_asking::{Application, response};

pub(crate) const KEY: &str = "a secret of thirty-two bytes or more";

/// A server to which a page signs in by a token, with these lines in its ini.
fn start(ini: &str) -> Server {
    Server::start(&format!("authKey={KEY}\n{ini}"))
}

/// A token that says `user` for longer than any test takes.
pub(crate) fn token(user: &str) -> String {
    let claims = format!(r#"{{"sub":"{user}","exp":4102444800,"aud":"websock"}}"#);
    let [head, claims] =
        [r#"{"alg":"HS256","typ":"JWT"}"#, &claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = format!("{head}.{claims}");
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// What a page of this user sends to connect.
pub(crate) fn request(target: &str, user: &str) -> Request {
    Request::to(target).with("Cookie", &format!("websock_token={}", token(user)))
}

/// A page of this user.
fn tab(server: &Server, user: &str) -> Conn {
    server.open(&request("/web", user))
}

/// A page that has opted in, of this user or (empty) of nobody; its `ready` says so.
#[track_caller]
fn told_tab(server: &Server, user: &str) -> Conn {
    let target = "/web?user=1";
    let mut conn = connect(server);
    conn.upgrade(&match user {
        "" => Request::to(target),
        user => request(target, user),
    });
    let ready = conn.read_text("ready");
    let rest = ready.strip_prefix(r#"{"opcode":"ready","uuid":""#);
    let (uuid, rest) = rest.expect("ready").split_at(36);
    conn.uuid = uuid.to_owned();
    let expected = match user {
        "" => r#""}"#.to_owned(),
        user => format!(r#"","user":"{user}"}}"#),
    };
    assert_eq!(rest, expected, "behind the uuid");
    conn
}

/// One request on a connection of its own.
#[track_caller]
pub(crate) fn ask(server: &Server, method: &str, path: &str, body: &str) -> (u16, String) {
    let response = response_to(server, method, path, body);
    (response.status(), response.body)
}

#[track_caller]
fn response_to(server: &Server, method: &str, path: &str, body: &str) -> Response {
    let mut conn = connect(server);
    let len = body.len();
    conn.send_bytes(
        format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {len}\r\n\r\n{body}"
        )
        .as_bytes(),
    );
    conn.read_response()
}

/// The same by HEAD, whose response has no body.
#[track_caller]
fn status_of_head(server: &Server, path: &str) -> u16 {
    let mut conn = connect(server);
    let head = format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    conn.send_bytes(head.as_bytes());
    let answer = conn.read_to_end();
    assert!(answer.ends_with(b"\r\n\r\n"), "{answer:?}");
    Response::parse(&answer).status()
}

#[track_caller]
pub(crate) fn push(server: &Server, body: &str) -> (u16, String) {
    ask(server, "POST", "/push", body)
}

fn ok(body: &str) -> (u16, String) {
    (200, format!("{body}\n"))
}

/// The end of somebody who was logged out.
#[track_caller]
fn expect_logged_out(conn: &mut Conn) {
    conn.expect_text(r#"{"opcode":"close","error":"logged out"}"#);
    assert_eq!(conn.expect_close_and_end(4401), "logged out");
}

// protocol.md 8.8
#[test]
fn ready_names_the_user_to_those_who_have_asked_for_it_and_to_nobody_else() {
    let server = start("");
    told_tab(&server, "42");
    told_tab(&server, "");
    // These read the `ready` that everybody gets.
    tab(&server, "42").round_trip();
    server.open(&request("/web?user=0", "42")).round_trip();
    server.web().round_trip();
    server.open(&Request::php("/php?user=1")).round_trip();
}

// protocol.md 8.8
#[test]
fn a_user_in_ready_is_escaped_as_json_wants_it() {
    let server = start("");
    let mut conn = connect(&server);
    conn.upgrade(&request("/web?user=1", r#"a\"\\b\u00e9"#));
    let ready = conn.read_text("ready");
    assert!(
        ready.ends_with("\",\"user\":\"a\\\"\\\\b\u{e9}\"}"),
        "{ready}"
    );
}

// protocol.md 8.9
#[test]
fn a_feedback_to_a_user_reaches_all_open_tabs_and_nobody_else() {
    let server = start("");
    let mut tabs = [
        tab(&server, "42"),
        told_tab(&server, "42"),
        server.open(&request("/php", "42")),
    ];
    let mut others = [tab(&server, "420"), server.web(), server.php()];
    let mut script = server.php();
    let long = "x".repeat(70_000);
    for user in [r#""42""#, "42", r#""\u0034\u0032""#] {
        for message in ["short", &long] {
            let packet = format!(r#"{{"opcode":"feedback","user":{user},"message":"{message}"}}"#);
            assert_eq!(push(&server, &packet), ok(r#"{"delivered":3}"#));
            tabs.iter_mut().for_each(|tab| tab.expect_text(&packet));
            script.send_for_next(&packet);
            tabs.iter_mut().for_each(|tab| tab.expect_text(&packet));
        }
    }
    tabs.iter_mut()
        .chain(&mut others)
        .for_each(Conn::round_trip);

    let packet = r#"{"opcode":"feedback","user":"42"}"#;
    let mut tabs = Vec::from(tabs);
    for count in [2, 1] {
        tabs.remove(0).close();
        let delivered = format!(r#"{{"delivered":{count}}}"#);
        assert_eq!(push(&server, packet), ok(&delivered));
        tabs.iter_mut().for_each(|tab| tab.expect_text(packet));
    }
    tabs.remove(0).close();
    let none = "{\"delivered\":0,\"error\":\"this user has no open tab\"}\n";
    assert_eq!(push(&server, packet), (404, none.to_owned()));
    script.send_for_next(packet);
}

// protocol.md 8.9
#[test]
fn what_is_no_user_is_told_so() {
    let server = start("");
    let mut tabs = [
        tab(&server, "42"),
        tab(&server, "1e3"),
        tab(&server, "null"),
    ];
    for user in [
        r#""""#,
        "null",
        "true",
        "[42]",
        r#"{"id":42}"#,
        "42.0",
        "1e3",
        "1E3",
    ] {
        let packet = format!(r#"{{"opcode":"feedback","user":{user}}}"#);
        let (status, body) = push(&server, &packet);
        assert_eq!(status, 404, "{packet}: {body}");
        assert!(body.contains("or a user: it has none"), "{packet}: {body}");
    }
    let long = format!(
        r#"{{"opcode":"feedback","user":"{}"}}"#,
        "4".repeat(1 << 16)
    );
    assert_eq!(push(&server, &long).0, 404);
    for user in [r#""042""#, "-42", "420", r#"" 42""#, r#""42 ""#] {
        let packet = format!(r#"{{"opcode":"feedback","user":{user}}}"#);
        assert_eq!(push(&server, &packet).0, 404, "{packet}");
    }
    tabs.iter_mut().for_each(Conn::round_trip);
}

// protocol.md 8.9
#[test]
fn a_packet_that_names_a_uuid_or_an_ident_goes_where_it_always_went() {
    let server = start("webSends=feedback");
    let mut tab = tab(&server, "42");
    let mut page = server.web_named("printer");
    let uuid = page.uuid.clone();
    let uuid = format!(r#""uuid":"{uuid}""#);
    for receiver in [uuid.as_str(), r#""ident":"printer""#] {
        let packet = format!(r#"{{"opcode":"feedback",{receiver},"user":"42"}}"#);
        assert_eq!(push(&server, &packet), ok(r#"{"delivered":1}"#));
        page.expect_text(&packet);
    }
    for receiver in [r#""uuid":"gone""#, r#""ident":"gone""#, r#""ident":7"#] {
        let packet = format!(r#"{{"opcode":"feedback",{receiver},"user":"42"}}"#);
        let (status, body) = push(&server, &packet);
        assert_eq!(status, 404, "{packet}");
        assert!(
            body.contains("nobody has this uuid or ident"),
            "{packet}: {body}"
        );
    }
    for receiver in [r#""uuid":"""#, r#""ident":null"#, r#""uuid":7,"ident":"""#] {
        let packet = format!(r#"{{"opcode":"feedback",{receiver},"user":"42"}}"#);
        assert_eq!(push(&server, &packet), ok(r#"{"delivered":1}"#), "{packet}");
        tab.expect_text(&packet);
    }
}

const NOT_ALLOWED: &str = r#"{"opcode":"error","error":"this page may not send such packets: webSends does not allow them"}"#;

// protocol.md 8.9
#[test]
fn a_page_sends_to_a_user_only_where_web_sends_is_set_and_holds_feedback() {
    let packet = r#"{"opcode":"feedback","user":"42","n":1}"#;
    for (ini, by_user, by_anonymous) in [
        ("", false, false),
        ("webSends=php", false, false),
        ("webSends=echo,broadcast", false, false),
        ("webSends=echo,feedback", true, true),
        ("webSends=user:echo,feedback anonymous:echo", true, false),
        ("webSends=user:echo anonymous:echo,feedback", false, true),
    ] {
        let server = start(ini);
        let mut tabs = [tab(&server, "42"), tab(&server, "42")];
        for (sender, is_allowed) in [("7", by_user), ("", by_anonymous)] {
            let mut page = told_tab(&server, sender);
            page.send_text(packet);
            page.expect_next();
            if is_allowed {
                tabs.iter_mut().for_each(|tab| tab.expect_text(packet));
            } else {
                page.expect_text(NOT_ALLOWED);
            }
        }
        // Who has not opted in is told nothing.
        let mut page = server.web();
        page.send_text(packet);
        page.expect_next();
        page.send_ping(b"no more");
        page.expect_pong(b"no more");
    }
}

// protocol.md 8.9
#[test]
fn a_page_that_sends_to_its_own_user_gets_it_behind_next() {
    let server = start("webSends=echo,feedback");
    let mut tabs = [tab(&server, "42"), tab(&server, "42"), tab(&server, "42")];
    let packet = r#"{"opcode":"feedback","user":42}"#;
    let [sender, others @ ..] = &mut tabs;
    sender.send_text(packet);
    sender.expect_next();
    sender.expect_text(packet);
    others.iter_mut().for_each(|tab| tab.expect_text(packet));
    tabs.iter_mut().for_each(Conn::round_trip);
}

// protocol.md 8.11
#[test]
fn web_sends_tells_users_from_anonymous_pages() {
    let server = start("webSends=user:broadcast anonymous:echo");
    let mut user = told_tab(&server, "42");
    let mut page = told_tab(&server, "");
    let (echo, broadcast) = (r#"{"opcode":"echo"}"#, r#"{"opcode":"broadcast"}"#);
    user.send_text(broadcast);
    user.expect_next();
    page.expect_text(broadcast);
    user.send_text(echo);
    user.expect_next();
    user.expect_text(NOT_ALLOWED);
    page.send_text(echo);
    page.expect_next();
    page.expect_text(echo);
    page.send_text(broadcast);
    page.expect_next();
    page.expect_text(NOT_ALLOWED);
}

// protocol.md 8.10
#[test]
fn a_logout_by_push_closes_all_tabs_of_the_user_and_says_how_many() {
    let server = start("");
    for logout in [
        r#"{"opcode":"logout","user":"42"}"#,
        r#"{"opcode":"logout","user":42}"#,
    ] {
        let mut tabs: Vec<Conn> = (0..20).map(|_| tab(&server, "42")).collect();
        let mut others = [tab(&server, "7"), server.web(), server.php()];
        assert_eq!(push(&server, logout), ok(r#"{"closed":20}"#));
        tabs.iter_mut().for_each(expect_logged_out);
        assert_eq!(push(&server, logout), ok(r#"{"closed":0}"#));
        others.iter_mut().for_each(Conn::round_trip);
        // Whoever signs in now is let in.
        let packet = r#"{"opcode":"feedback","user":"42"}"#;
        let mut tab = tab(&server, "42");
        assert_eq!(push(&server, packet), ok(r#"{"delivered":1}"#));
        tab.expect_text(packet);
        tab.close();
    }
}

// protocol.md 8.10
#[test]
fn a_logout_by_a_script_gets_next_as_every_message_does() {
    let server = start("");
    let mut tabs = [tab(&server, "42"), tab(&server, "42")];
    let mut other = tab(&server, "7");
    let mut script = server.php();
    script.send_for_next(r#"{"opcode":"logout","user":"42"}"#);
    tabs.iter_mut().for_each(expect_logged_out);
    for nobody in [
        r#"{"opcode":"logout"}"#,
        r#"{"opcode":"logout","user":"","session":""}"#,
        r#"{"opcode":"logout","user":null,"session":7}"#,
        r#"{"opcode":"logout","session":"7"}"#,
        r#"{"opcode":"logout","uuid":"7"}"#,
    ] {
        script.send_for_next(nobody);
    }
    other.round_trip();
}

// protocol.md 8.10
#[test]
fn a_page_logs_nobody_out() {
    let server = start("webSends=echo,broadcast,feedback");
    let mut tab = tab(&server, "42");
    let logout = r#"{"opcode":"logout","user":"42"}"#;
    server.web().send_for_next(logout);
    tab.send_for_next(logout);
    let mut told = told_tab(&server, "42");
    told.send_text(logout);
    told.expect_next();
    told.expect_text(
        r#"{"opcode":"error","error":"a page may not log users out: only scripts and push may"}"#,
    );
    told.round_trip();
    tab.round_trip();
}

// protocol.md 8.10
#[test]
fn a_batch_mixes_feedbacks_and_logouts_in_their_order() {
    let server = start("");
    let mut tabs = [tab(&server, "42"), tab(&server, "42")];
    let (one, out) = (
        r#"{"opcode":"feedback","user":"42","n":1}"#,
        r#"{"opcode":"logout","user":"42"}"#,
    );
    let batch = format!(r#"[{one},{out},{one},{out},{{"opcode":"logout"}}]"#);
    let none = r#"{"delivered":0,"error":"this user has no open tab"}"#;
    let nobody = r#"{"delivered":0,"error":"logout needs a user or a session: it has neither"}"#;
    let results = format!(
        r#"{{"delivered":2,"closed":2,"results":[{{"delivered":2}},{{"closed":2}},{none},{{"closed":0}},{nobody}]}}"#
    );
    assert_eq!(push(&server, &batch), ok(&results));
    for tab in &mut tabs {
        tab.expect_text(one);
        expect_logged_out(tab);
    }
    assert_eq!(
        push(&server, r#"{"opcode":"logout"}"#),
        (404, format!("{nobody}\n"))
    );
}

// protocol.md 10.5
#[test]
fn who_is_here_is_told_by_id() {
    let server = start("");
    let _tabs = [
        tab(&server, "42"),
        tab(&server, "42"),
        tab(&server, "j.d@x y/z"),
    ];
    let _anonymous = server.web();
    for (path, expected) in [
        ("/users/42", ok(r#"{"user":"42","tabs":2}"#)),
        ("/users/%34%32?x=1", ok(r#"{"user":"42","tabs":2}"#)),
        (
            "/users/j.d%40x%20y%2Fz",
            ok(r#"{"user":"j.d@x y/z","tabs":1}"#),
        ),
        ("/users/j.d@x%20y/z", ok(r#"{"user":"j.d@x y/z","tabs":1}"#)),
        (
            "/users/7",
            (
                404,
                "{\"user\":\"7\",\"tabs\":0,\"error\":\"this user has no open tab\"}\n".into(),
            ),
        ),
    ] {
        assert_eq!(ask(&server, "GET", path, ""), expected, "{path}");
        assert_eq!(status_of_head(&server, path), expected.0, "{path}");
    }
    for (path, status) in [("/users/", 400), ("/users/%ff", 400), ("/users", 405)] {
        assert_eq!(ask(&server, "GET", path, "").0, status, "{path}");
    }
    let long = format!("/users/{}", "4".repeat(7000));
    assert_eq!(ask(&server, "GET", &long, "").0, 404);
    let users = r#"{"users":[{"user":"42","tabs":2},{"user":"j.d@x y/z","tabs":1}]}"#;
    let list = r#"[42, "7", "j.d@x y\/z"]"#;
    assert_eq!(ask(&server, "POST", "/users", list), ok(users));
    assert_eq!(ask(&server, "POST", "/users", "[]"), ok(r#"{"users":[]}"#));
    for (body, status) in [("", 400), ("{}", 400), ("[1.5]", 400), ("[\"\"]", 400)] {
        let (answered, body) = ask(&server, "POST", "/users", body);
        assert_eq!(answered, status, "{body}");
        assert!(body.contains("list of users' ids"), "{body}");
    }
    let many = format!("[{}]", vec!["42"; 10_001].join(","));
    assert_eq!(ask(&server, "POST", "/users", &many).0, 413);
}

// protocol.md 10.5
#[test]
fn who_is_here_is_told_to_those_only_who_may_push() {
    let server = start("pushToken=0123456789abcdef");
    for (path, method) in [("/users/42", "GET"), ("/users", "POST")] {
        assert_eq!(ask(&server, method, path, "[]").0, 401, "{path}");
    }
    let server = start("allowedIP=10.0.0.1");
    for (path, method) in [("/users/42", "GET"), ("/users", "POST")] {
        assert_eq!(ask(&server, method, path, "[]").0, 403, "{path}");
    }
    assert_eq!(status_of_head(&server, "/users/42"), 403);
    let server = start("");
    for (path, method) in [("/users/42", "GET"), ("/users", "POST")] {
        let mut conn = connect(&server);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"
        );
        conn.send_bytes(head.as_bytes());
        let response = conn.read_response();
        assert_eq!(response.status(), 403, "{response:?}");
        assert_eq!(response.header("Access-Control-Allow-Origin"), None);
    }
}

// protocol.md 8.10
#[test]
fn a_logout_by_session_closes_the_tabs_of_that_session_only() {
    let sessions = Sessions::new("logout");
    let server = Server::start(&sessions.ini());
    for (id, user) in [("one", "42"), ("two", "42"), ("three", "7")] {
        sessions.sign_in(id, user);
    }
    let open = |id: &str| user_of(&server, &with_session(id)).0;
    let mut ended = [open("one"), open("one")];
    let mut others = [open("two"), open("three"), server.web()];
    for (id, closed) in [("four", 0), ("ONE", 0), ("one", 2), ("one", 0)] {
        let packet = format!(r#"{{"opcode":"logout","session":"{id}"}}"#);
        assert_eq!(
            push(&server, &packet),
            ok(&format!(r#"{{"closed":{closed}}}"#))
        );
    }
    ended.iter_mut().for_each(expect_logged_out);
    others.iter_mut().for_each(Conn::round_trip);
    // Where both are named, both are logged out.
    let both = r#"{"opcode":"logout","user":"42","session":"three"}"#;
    assert_eq!(push(&server, both), ok(r#"{"closed":2}"#));
    let [two, three, anonymous] = &mut others;
    expect_logged_out(two);
    expect_logged_out(three);
    anonymous.round_trip();
}

// protocol.md 8.10
#[test]
fn an_answer_that_a_logout_has_overtaken_lets_nobody_in() {
    for logout in [
        r#"{"opcode":"logout","user":"42"}"#,
        r#"{"opcode":"logout","user":"1","session":"two"}"#,
    ] {
        let (go_on, may_answer) = mpsc::channel();
        let may_answer = Mutex::new(may_answer);
        let is_first = AtomicBool::new(true);
        let application = Application::answering(move |_| {
            if !is_first.swap(false, Ordering::SeqCst) {
                return Some(response("401 Unauthorized", "", ""));
            }
            let waiting = may_answer.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.recv().ok()?;
            Some(response("200 OK", "", r#"{"user":"42"}"#))
        });
        let sessions = Sessions::new("overtaken");
        let ini = format!("{}{}authTimeout=30\n", sessions.ini(), application.ini());
        let server = Server::start(&ini);
        let mut page = connect(&server);
        page.send_bytes(&with_session("two").bytes());
        eventually("the question", || application.heads().len() == 1);
        assert_eq!(push(&server, logout), ok(r#"{"closed":0}"#));
        // Whoever comes now would share the old answer.
        let mut late = connect(&server);
        late.send_bytes(&with_session("two").bytes());
        server.php().wait_until_handled();
        go_on.send(()).expect("the application waits");
        for page in [&mut page, &mut late] {
            assert_eq!(page.read_response().status(), 101);
            page.expect_text(NOT_SIGNED_IN);
            page.expect_close_and_end(4401);
        }
        assert_eq!(application.heads().len(), 2, "it was asked anew");
    }
}

// protocol.md 8.10
#[test]
fn a_token_that_a_logout_has_overtaken_lets_nobody_in() {
    let server = start("");
    let mut page = connect(&server);
    page.upgrade(&Request::to("/web?auth=1"));
    assert_eq!(
        push(&server, r#"{"opcode":"logout","user":"42"}"#),
        ok(r#"{"closed":0}"#)
    );
    page.send_text(&format!(r#"{{"opcode":"auth","token":"{}"}}"#, token("42")));
    page.expect_next();
    page.expect_text(NOT_SIGNED_IN);
    page.expect_close_and_end(4401);
}

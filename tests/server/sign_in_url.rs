//! A URL of the application says who it is (protocol.md 8.4, 8.6, 8.12).

use crate::harness::{Request, Server, connect, eventually};
use crate::sign_in::{NOT_SIGNED_IN, Sessions, expect_no, expect_unknown, user_of, with_session};
use crate::sign_in_asking::{Application, header, response};

/// Yes, by the value of the cookie `user`; no without one.
fn by_cookie() -> Application {
    Application::answering(|head| {
        let user = header(head, "Cookie").and_then(|cookie| cookie.strip_prefix("user="));
        Some(match user {
            Some(user) => response("200 OK", "", &format!(r#"{{"user":"{user}"}}"#)),
            None => response("403 Forbidden", "", "no"),
        })
    })
}

fn with_cookie(value: &str) -> Request {
    Request::to("/web?user=1").with("Cookie", value)
}

// protocol.md 8.4
#[test]
fn yes_no_and_not_known_are_three_answers() {
    let table: &[(&str, String, &str)] = &[
        ("text", response("200 OK", "", r#"{"user":"42"}"#), "42"),
        ("integer", response("200 OK", "", r#"{"user":42}"#), "42"),
        (
            "all",
            response(
                "200 OK",
                "",
                r#"{"user":"a b","expire":3600,"rooms":["r"],"info":{"x":1}}"#,
            ),
            "a b",
        ),
        (
            "header",
            response("200 OK", "X-Websock-User: 42\r\n", ""),
            "42",
        ),
        (
            "anonymous",
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            "anonymous",
        ),
        ("401", response("401 Unauthorized", "", ""), "no"),
        (
            "403",
            response("403 Forbidden", "", r#"{"user":"42"}"#),
            "no",
        ),
        ("no-user", response("200 OK", "", "{}"), "?"),
        ("empty-user", response("200 OK", "", r#"{"user":""}"#), "?"),
        ("null-user", response("200 OK", "", r#"{"user":null}"#), "?"),
        ("float-user", response("200 OK", "", r#"{"user":4.2}"#), "?"),
        ("true-user", response("200 OK", "", r#"{"user":true}"#), "?"),
        (
            "list-user",
            response("200 OK", "", r#"{"user":["42"]}"#),
            "?",
        ),
        (
            "empty-header",
            response("200 OK", "X-Websock-User: \r\n", r#"{"user":"42"}"#),
            "?",
        ),
        (
            "expired",
            response("200 OK", "", r#"{"user":"42","expire":0}"#),
            "?",
        ),
        (
            "odd-expire",
            response("200 OK", "", r#"{"user":"42","expire":"soon"}"#),
            "?",
        ),
        (
            "odd-rooms",
            response("200 OK", "", r#"{"user":"42","rooms":"all"}"#),
            "?",
        ),
        (
            "html",
            response("200 OK", "Content-Type: text/html\r\n", "<h1>42</h1>"),
            "?",
        ),
        ("empty", response("200 OK", "", ""), "?"),
        (
            "redirect",
            response("302 Found", "Location: /login\r\n", ""),
            "?",
        ),
        ("missing", response("404 Not Found", "", ""), "?"),
        ("broken", response("500 Oh", "", r#"{"user":"42"}"#), "?"),
        (
            "long",
            response(
                "200 OK",
                "",
                &format!(r#"{{"user":"42","x":"{}"}}"#, "y".repeat(8192)),
            ),
            "?",
        ),
        (
            "endless",
            "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n{".to_owned(),
            "?",
        ),
        ("no-http", "hello\r\n\r\n".to_owned(), "?"),
    ];
    let answers: Vec<_> = table
        .iter()
        .map(|(name, text, _)| (*name, text.clone()))
        .collect();
    let application = Application::answering(move |head| {
        let name = header(head, "Cookie")?.strip_prefix("name=")?;
        answers
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, text)| text.clone())
    });
    // Only the last one is waited for.
    let server = Server::start(&format!("{}authTimeout=3s\n", application.ini()));
    for (name, _, expected) in table {
        let request = with_cookie(&format!("name={name}"));
        match *expected {
            "no" => expect_no(&server, &request),
            "?" => drop(expect_unknown(&server, &request)),
            "anonymous" => assert_eq!(user_of(&server, &request).1, None, "{name}"),
            user => assert_eq!(
                user_of(&server, &request).1.as_deref(),
                Some(user),
                "{name}"
            ),
        }
    }
    // No answer at all.
    expect_unknown(&server, &with_cookie("name=silent"));
}

// protocol.md 8.4
// protocol.md 8.6
#[test]
fn the_time_that_the_application_asks_for_is_passed_on_and_kept() {
    let application = Application::answering(|_| {
        Some(response(
            "503 Service Unavailable",
            "Retry-After: 37\r\n",
            "",
        ))
    });
    let server = Server::start(&application.ini());
    assert_eq!(expect_unknown(&server, &with_cookie("a=1")), "37");
    let after: u32 = expect_unknown(&server, &with_cookie("a=2"))
        .parse()
        .expect("a number");
    assert!((30..=37).contains(&after), "{after}");
    assert_eq!(application.heads().len(), 1, "it was left alone");
}

// protocol.md 8.4
#[test]
fn the_question_holds_what_the_application_needs_and_nothing_else() {
    let application = by_cookie();
    let ini = format!(
        "{}authHeaders=X-Shop\ntrustedProxies=127.0.0.1\n",
        application.ini()
    );
    let server = Server::start(&ini);
    let request = Request::to("/web?user=1&x=y")
        .set("Host", "shop.example:8096")
        .with("Origin", "https://shop.example")
        .with("Cookie", "user=42")
        .with("User-Agent", "Browser/1")
        .with("Accept-Language", "de")
        .with("Authorization", "Basic secret")
        .with("X-Shop", "7")
        .with("X-Other", "8")
        .with("X-Forwarded-For", "192.0.2.7")
        .with("X-Forwarded-Proto", "https");
    assert_eq!(user_of(&server, &request).1.as_deref(), Some("42"));
    let heads = application.heads();
    let [head] = heads.as_slice() else {
        panic!("{heads:?}");
    };
    assert!(head.starts_with("GET /who.php?x=1 HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("Host", "shop.example"),
        ("Cookie", "user=42"),
        ("User-Agent", "Browser/1"),
        ("Accept-Language", "de"),
        ("Origin", "https://shop.example"),
        ("X-Shop", "7"),
        ("X-Forwarded-For", "192.0.2.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Original-URI", "/web?user=1&x=y"),
        ("Accept", "application/json"),
    ] {
        assert_eq!(header(head, name), Some(value), "{name}: {head}");
    }
    assert_eq!(head.lines().count(), 12, "{head}");
}

// protocol.md 8.4
#[test]
fn visitors_with_the_same_cookies_share_one_question() {
    let application = by_cookie();
    let server = Server::start(&application.ini());
    for _ in 0..3 {
        assert_eq!(
            user_of(&server, &with_cookie("user=42")).1.as_deref(),
            Some("42")
        );
        expect_no(&server, &with_cookie("nobody"));
    }
    assert_eq!(
        user_of(&server, &with_cookie("user=43")).1.as_deref(),
        Some("43")
    );
    let asked = application.heads().len();
    // A no is kept for two seconds only.
    assert!((3..=4).contains(&asked), "{asked} questions");
    // A logout drops what is kept.
    let mut script = server.open(&Request::php("/php"));
    script.send_for_next(r#"{"opcode":"logout","user":"42"}"#);
    user_of(&server, &with_cookie("user=42"));
    assert_eq!(application.heads().len(), asked + 1);
}

// protocol.md 8.4
#[test]
fn no_more_than_auth_concurrency_are_asked_at_a_time() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier};

    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    // Each answer waits for another question, so that two are always under way together.
    let pair = Barrier::new(2);
    let application = Application::answering(move |head| {
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        pair.wait();
        running.fetch_sub(1, Ordering::SeqCst);
        let user = header(head, "Cookie")?.strip_prefix("user=")?;
        Some(response("200 OK", "", &format!(r#"{{"user":"{user}"}}"#)))
    });
    let server = Server::start(&format!(
        "{}authConcurrency=2\nauthTimeout=30\n",
        application.ini()
    ));
    let mut all: Vec<_> = (0..50)
        .map(|number| {
            let mut conn = connect(&server);
            conn.send_bytes(&with_cookie(&format!("user={number}")).bytes());
            conn
        })
        .collect();
    for (number, conn) in all.iter_mut().enumerate() {
        assert_eq!(conn.read_response().status(), 101);
        let ready = conn.read_text("ready");
        assert!(ready.contains(&format!(r#","user":"{number}""#)), "{ready}");
    }
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

// protocol.md 8.6
#[test]
fn a_session_that_is_there_decides_and_one_that_is_gone_goes_on_to_the_url() {
    let sessions = Sessions::new("order");
    let application = Application::answering(|_| Some(response("200 OK", "", r#"{"user":"url"}"#)));
    let ini = format!(
        "{}{}[jsauth]\nrequire=true\n",
        sessions.ini(),
        application.ini()
    );
    let server = Server::start(&ini);
    sessions.sign_in("in", "42");
    sessions.put("out", "cart|i:1;");
    sessions.put("cut", "user|s:2:");
    assert_eq!(
        user_of(&server, &with_session("in")).1.as_deref(),
        Some("42")
    );
    expect_no(&server, &with_session("out"));
    expect_unknown(&server, &with_session("cut"));
    assert_eq!(application.heads().len(), 0);
    assert_eq!(
        user_of(&server, &with_session("gone")).1.as_deref(),
        Some("url")
    );
    assert_eq!(
        user_of(&server, &Request::to("/web?user=1")).1.as_deref(),
        Some("url")
    );
}

// protocol.md 8.4
// protocol.md 8.7
#[test]
fn it_is_asked_again_when_the_answer_expires() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    let count = AtomicUsize::new(0);
    let application = Application::answering(move |_| {
        Some(match count.fetch_add(1, Ordering::SeqCst) {
            0 => response("200 OK", "", r#"{"user":"42","expire":0.3}"#),
            1 => response("500 Oh", "", ""),
            2 => response("200 OK", "", r#"{"user":"42","expire":0.3}"#),
            _ => response("403 Forbidden", "", ""),
        })
    });
    let server = Server::start(&format!(
        "{}authRecheck=1\npingInterval=0\n",
        application.ini()
    ));
    let (mut conn, user) = user_of(&server, &with_cookie("a=b"));
    assert_eq!(user.as_deref(), Some("42"));
    conn.expect_text(NOT_SIGNED_IN);
    conn.expect_close_and_end(4401);
    assert_eq!(application.heads().len(), 4);
}

// protocol.md 8.6
#[test]
fn a_url_that_nobody_answers_turns_nobody_away_and_lets_nobody_in() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    let server = Server::start(&format!("authUrl=http://{address}/\nauthTimeout=300ms\n"));
    expect_unknown(&server, &with_cookie("a=b"));
    // Those who need no sign-in go on.
    server.open(&Request::php("/php")).round_trip();
    let mut gone = connect(&server);
    gone.send_bytes(&with_cookie("c=d").bytes());
    gone.reset();
    server.open(&Request::php("/php")).round_trip();
}

// protocol.md 8.12
#[test]
fn pages_of_other_hosts_may_not_use_cookies() {
    let application = by_cookie();
    let server = Server::start(&application.ini());
    let named = Server::start(&format!(
        "{}allowedOrigins=https://a.example\n",
        application.ini()
    ));
    let proxied = Server::start(&format!("{}trustedProxies=127.0.0.1\n", application.ini()));
    let page = |origin: &str| {
        Request::to("/web?user=1")
            .set("Host", "shop.example:8096")
            .with("Cookie", "user=42")
            .with("Origin", origin)
    };
    for origin in [
        "http://shop.example",
        "https://shop.example:9000",
        "https://SHOP.example",
        "",
    ] {
        assert_eq!(
            user_of(&server, &page(origin)).1.as_deref(),
            Some("42"),
            "{origin}"
        );
    }
    for origin in [
        "https://evil.example",
        "https://shop.example.evil.example",
        "https://notshop.example",
        "https://example",
        "null",
        "file://",
        "shop.example",
        "https://shop.example@evil.example",
    ] {
        assert_eq!(
            connect(&server).request(&page(origin)).status(),
            403,
            "{origin}"
        );
    }
    let forwarded = |host: &str| page("https://www.example").with("X-Forwarded-Host", host);
    assert_eq!(
        connect(&server).request(&forwarded("www.example")).status(),
        403
    );
    let with_hop = forwarded("www.example").with("X-Forwarded-For", "192.0.2.7");
    assert_eq!(user_of(&proxied, &with_hop).1.as_deref(), Some("42"));
    let other = forwarded("other.example").with("X-Forwarded-For", "192.0.2.7");
    assert_eq!(connect(&proxied).request(&other).status(), 403);
    assert_eq!(
        user_of(&named, &page("https://a.example")).1.as_deref(),
        Some("42")
    );
    assert_eq!(
        connect(&named)
            .request(&page("https://shop.example"))
            .status(),
        403
    );
}

// promise: a newcomer who goes while it is asked about leaves nothing behind
#[test]
fn who_goes_before_the_answer_is_forgotten() {
    let application = Application::answering(|_| None);
    let server = Server::start(&format!(
        "{}authTimeout=200ms\nmaxPending=3\n",
        application.ini()
    ));
    for round in 0..4 {
        let mut conns: Vec<_> = (0..3).map(|_| connect(&server)).collect();
        for (number, conn) in conns.iter_mut().enumerate() {
            conn.send_bytes(&with_cookie(&format!("user={round}-{number}")).bytes());
        }
        for conn in conns {
            conn.reset();
        }
        eventually("they are gone", || {
            let ended = server.log_lines();
            let ended = ended
                .iter()
                .filter(|line| line.contains("Connection closed to socket"));
            ended.count() >= 3 * (round + 1)
        });
    }
}

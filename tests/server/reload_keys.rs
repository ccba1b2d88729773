//! Every key that a reload can change: what it does before, and what it does afterwards.
//!
//! A case starts a server with the first value, looks, has it read the second one, and looks again.
//! The look is made with a connection from before the reload, or with one that comes then, as the
//! key's row in docs/configuration.md promises. Where the first value shows by nothing happening,
//! only the second look is made: without the reload it would wait in vain.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, SystemTime};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rustix::process::Signal;
use serde_json::json;

use crate::harness::client::NEXT;
use crate::harness::frame::{self, BINARY, FIN, LengthForm, TEXT, masked, masked_as};
use crate::harness::{Conn, PATIENCE, Request, Server, connect, eventually};
use crate::sign_in::{Sessions, expect_no, user_of, with_session};
use crate::sign_in_asking::{Application, header, response};

/// What a look has found.
type Look = fn(&Server, &mut Conn) -> String;

/// One key with two values, further lines, and what is found with each; `None`: not looked at.
type Case = (
    &'static str,
    [&'static str; 2],
    &'static str,
    Look,
    [Option<&'static str>; 2],
);

const READ: &str = "Settings read again";

#[track_caller]
fn check(cases: &[Case]) {
    for (key, values, more, look, expected) in cases {
        let ini = |value: &str| format!("{more}\n{key}={value}");
        let server = Server::start(&ini(values[0]));
        // Both stand before the reload.
        let mut conns = [0, 1].map(|_| server.open(&Request::to("/web?user=1")));
        if let Some(expected) = expected[0] {
            assert_eq!(look(&server, &mut conns[0]), expected, "{key} before");
        }
        server.reload(&ini(values[1]), READ);
        if let Some(expected) = expected[1] {
            assert_eq!(look(&server, &mut conns[1]), expected, "{key} afterwards");
        }
    }
}

fn status(server: &Server, request: &Request) -> String {
    connect(server).request(request).status().to_string()
}

/// A header of the 101.
fn agreed(server: &Server, request: &Request, name: &str) -> String {
    let response = connect(server).request(request);
    assert_eq!(response.status(), 101);
    response.header(name).unwrap_or("none").to_owned()
}

fn http(server: &Server, head: &str) -> (u16, String) {
    let mut conn = connect(server);
    conn.send_bytes(format!("{head}\r\n\r\n").as_bytes());
    let response = conn.read_response();
    (response.status(), response.body)
}

fn push(server: &Server, host: &str, packet: &str) -> String {
    let len = packet.len();
    let head = format!(
        "POST /push HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Content-Length: {len}\r\n\r\n{packet}"
    );
    let mut conn = connect(server);
    conn.send_bytes(head.as_bytes());
    conn.read_response().status().to_string()
}

/// Sends bytes; the code that the connection is closed with, or `open` if a message comes back.
fn closed_by(conn: &mut Conn, bytes: &[u8]) -> String {
    let _ = conn.try_send_bytes(bytes);
    loop {
        let frame = conn.read_frame();
        match frame.opcode {
            frame::CLOSE => {
                let code = u16::from_be_bytes([frame.payload[0], frame.payload[1]]);
                return code.to_string();
            }
            TEXT if frame.payload.starts_with(br#"{"opcode":"echo""#) => return "open".into(),
            _ => {}
        }
    }
}

fn echo(len: usize) -> String {
    format!(r#"{{"opcode":"echo","message":"{}"}}"#, "x".repeat(len))
}

/// How many of four web clients that come together get `ready`.
fn come_in(server: &Server, _: &mut Conn) -> String {
    let mut conns: Vec<Conn> = (0..4).map(|_| connect(server)).collect();
    let mut count = 0;
    for conn in &mut conns {
        conn.upgrade(&Request::to("/web"));
        count += usize::from(conn.read_text("ready or close").contains("ready"));
    }
    conns.into_iter().for_each(Conn::reset);
    count.to_string()
}

// promise: a reload of each key takes effect
#[test]
fn who_may_come_in() {
    check(&[
        (
            "maxClients",
            ["4", "5"],
            "",
            come_in,
            [Some("2"), Some("3")],
        ),
        ("maxPerIP", ["3", "5"], "", come_in, [Some("1"), Some("3")]),
        // Those who came while the limit was off count as well.
        ("maxPerIP", ["0", "3"], "", come_in, [Some("4"), Some("1")]),
        (
            "maxPending",
            ["1", "5"],
            "",
            |server, _| {
                let silent = connect(server);
                let answer = http(server, "GET /health HTTP/1.1\r\nHost: localhost").0;
                silent.reset();
                answer.to_string()
            },
            [Some("503"), Some("200")],
        ),
        (
            "allowedIP",
            ["", "192.0.2.1"],
            "",
            |server, _| status(server, &Request::php("/php")),
            [Some("101"), Some("403")],
        ),
        (
            "allowedOrigins",
            ["", "https://a.example"],
            "",
            |server, _| {
                status(
                    server,
                    &Request::to("/").with("Origin", "https://b.example"),
                )
            },
            [Some("101"), Some("403")],
        ),
        (
            "ownNames",
            ["", "push.example"],
            "",
            |server, _| push(server, "push.example", r#"{"opcode":"broadcast"}"#),
            [Some("403"), Some("200")],
        ),
        (
            "maxIdent",
            ["5", "6"],
            "",
            |server, _| status(server, &Request::to("/web").with("Ident", "abcdef")),
            [Some("400"), Some("101")],
        ),
        (
            "subprotocols",
            ["", "chat"],
            "",
            |server, _| {
                let request = Request::to("/web").with("Sec-WebSocket-Protocol", "chat");
                agreed(server, &request, "Sec-WebSocket-Protocol")
            },
            [Some("none"), Some("chat")],
        ),
        (
            "trustedProxies",
            ["", "127.0.0.1"],
            "",
            |server, _| {
                let forwarded = Request::php("/php").with("X-Forwarded-For", "127.0.0.9");
                status(server, &forwarded)
            },
            [Some("403"), Some("101")],
        ),
        (
            "pushToken",
            ["", "0123456789abcdef"],
            "",
            |server, _| push(server, "localhost", r#"{"opcode":"broadcast"}"#),
            [Some("200"), Some("401")],
        ),
        (
            "demo",
            ["off", "on"],
            "",
            |server, _| {
                http(server, "GET / HTTP/1.1\r\nHost: localhost")
                    .0
                    .to_string()
            },
            [Some("400"), Some("200")],
        ),
        (
            "phpPadding",
            ["on", "off"],
            "",
            |server, _| {
                let padding = agreed(server, &Request::php("/php"), "X-Websock-Padding");
                (padding != "none").to_string()
            },
            [Some("true"), Some("false")],
        ),
        (
            "webSends",
            ["echo,broadcast,feedback", "echo"],
            "",
            |_, conn| {
                conn.send_text(r#"{"opcode":"broadcast"}"#);
                conn.send_text(r#"{"opcode":"echo","n":1}"#);
                // The other connection's broadcast may have come before.
                while conn.read_text("next") != NEXT {}
                let told = conn.read_text("an error, or the next next");
                told.contains("error").to_string()
            },
            [Some("false"), Some("true")],
        ),
    ]);
}

// promise: a reload of each key takes effect
#[test]
fn what_messages_may_use() {
    check(&[
        (
            "maxMessageSize",
            ["1K", "2K"],
            "",
            |_, conn| closed_by(conn, &frame::text(&echo(1500))),
            [Some("1009"), Some("open")],
        ),
        (
            "maxWebMessage",
            ["1K", "2K"],
            "",
            |_, conn| closed_by(conn, &frame::text(&echo(1500))),
            [Some("1009"), Some("open")],
        ),
        (
            "maxFragments",
            ["2", "9"],
            "",
            |_, conn| {
                let text = echo(1);
                let (first, rest) = text.split_at(5);
                let (second, third) = rest.split_at(5);
                let frames = [
                    masked(TEXT, first.as_bytes()),
                    masked(0, second.as_bytes()),
                    masked(FIN, third.as_bytes()),
                ];
                closed_by(conn, &frames.concat())
            },
            [Some("1009"), Some("open")],
        ),
        (
            "maxChunks",
            ["1", "9"],
            "",
            |_, conn| {
                let text = echo(1);
                let (first, rest) = text.split_at(5);
                let (second, third) = rest.split_at(5);
                let chunks = ["bufferON", first, second, third, "bufferOFF"];
                closed_by(conn, &chunks.map(frame::text).concat())
            },
            [Some("1009"), Some("open")],
        ),
        (
            "maxControlFrames",
            ["9", "1000"],
            "",
            |_, conn| {
                let pings = masked(FIN | frame::PING, b"").repeat(50);
                closed_by(conn, &[pings, frame::text(&echo(1))].concat())
            },
            [Some("1008"), Some("open")],
        ),
        (
            "maxMessages",
            ["9", "0"],
            "",
            |_, conn| {
                let texts = frame::text(r#"{"opcode":"unknown"}"#).repeat(50);
                closed_by(conn, &[texts, frame::text(&echo(1))].concat())
            },
            [Some("1008"), Some("open")],
        ),
        (
            "memoryLimit",
            ["1M", "64M"],
            "maxMessageSize=600K\nmaxQueue=600K",
            |server, _| {
                let text = echo(500_000);
                let frame = frame::text(&text);
                let (most, rest) = frame.split_at(490_000);
                let mut conns: Vec<Conn> = (0..3).map(|_| server.web()).collect();
                let mut is_whole = true;
                for conn in &mut conns {
                    is_whole &= conn.try_send_bytes(most).is_ok();
                }
                for conn in &mut conns {
                    is_whole &= conn.try_send_bytes(rest).is_ok();
                }
                let mut answered = 0;
                for conn in &mut conns {
                    answered += usize::from(!conn.wait_for_answer().is_empty());
                }
                let all = is_whole && answered == 3;
                all.to_string()
            },
            [Some("false"), Some("true")],
        ),
    ]);
}

// promise: a reload of each key takes effect
#[test]
fn how_much_waits_for_who_does_not_read() {
    let server = Server::start("maxQueue=64K");
    let packet = |uuid: &str| {
        let filling = "x".repeat(60_000);
        format!(r#"{{"opcode":"feedback","uuid":"{uuid}","message":"{filling}"}}"#)
    };
    let taken = |conn: &Conn| {
        let packet = packet(&conn.uuid);
        let mut count = 0;
        while push(&server, "localhost", &packet) == "200" {
            count += 1;
        }
        count
    };
    let (first, second) = (server.web(), server.web());
    let before = taken(&first);
    server.reload("maxQueue=32M", READ);
    let afterwards = taken(&second);
    // 32 MiB are more than 500 such packets.
    assert!(
        afterwards > before + 250,
        "{before} packets before, {afterwards} afterwards"
    );
}

// promise: a reload of each key takes effect
#[test]
fn compression() {
    const OFFER: &str = "permessage-deflate; client_max_window_bits";
    fn offering() -> Request {
        Request::to("/web").with("Sec-WebSocket-Extensions", OFFER)
    }
    /// The frame by which a long echo comes back.
    fn answer(server: &Server, len: usize) -> frame::Frame {
        let mut conn = server.open(&offering());
        let words: String = (0..len).map(|n| format!("word {} ", n * n)).collect();
        conn.send_text(&format!(r#"{{"opcode":"echo","message":"{words}"}}"#));
        conn.read_frame();
        conn.read_frame()
    }
    check(&[
        (
            "compression",
            ["off", "on"],
            "",
            |server, _| {
                let agreed = agreed(server, &offering(), "Sec-WebSocket-Extensions");
                agreed.starts_with("permessage-deflate").to_string()
            },
            [Some("false"), Some("true")],
        ),
        (
            "compressionThreshold",
            ["1G", "0"],
            "compression=on",
            |server, _| answer(server, 100).rsv1.to_string(),
            [Some("false"), Some("true")],
        ),
        (
            "compressionContext",
            ["off", "on"],
            "compression=on",
            |server, _| {
                let agreed = agreed(server, &offering(), "Sec-WebSocket-Extensions");
                agreed.contains("server_no_context_takeover").to_string()
            },
            [Some("true"), Some("false")],
        ),
    ]);
    let server = Server::start("compression=on\ncompressionLevel=1");
    let fast = answer(&server, 2_000).payload.len();
    server.reload("compression=on\ncompressionLevel=9", READ);
    let small = answer(&server, 2_000).payload.len();
    assert!(small < fast, "{fast} bytes at level 1, {small} at 9");
}

/// Waits for the connection to be cut or closed, answering nothing.
fn end_of(conn: &mut Conn) -> String {
    conn.read_to_end();
    "ended".to_owned()
}

// promise: a reload of each key takes effect
#[test]
fn times() {
    check(&[
        (
            "handshakeTimeout",
            ["1h", "50ms"],
            "",
            |server, _| {
                let mut silent = connect(server);
                silent.read_response().status().to_string()
            },
            [None, Some("408")],
        ),
        (
            "keepAliveTimeout",
            ["1h", "50ms"],
            "",
            |server, _| {
                let mut conn = connect(server);
                conn.send_bytes(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
                conn.read_response();
                end_of(&mut conn)
            },
            [None, Some("ended")],
        ),
        // Those who are here are pinged, though their timers were set for an hour.
        (
            "pingInterval",
            ["1h", "50ms"],
            "",
            |_, conn| {
                conn.expect_ping();
                "pinged".to_owned()
            },
            [None, Some("pinged")],
        ),
        (
            "pongTimeout",
            ["1h", "50ms"],
            "pingInterval=50ms",
            |_, conn| end_of(conn),
            [None, Some("ended")],
        ),
        (
            "closeTimeout",
            ["1h", "50ms"],
            "",
            |_, conn| {
                conn.send_text(r#"{"opcode":"quit"}"#);
                conn.expect_next();
                conn.expect_close(1000);
                end_of(conn)
            },
            [None, Some("ended")],
        ),
        (
            "stallTimeout",
            ["1h", "50ms"],
            "",
            |_, conn| closed_by(conn, &masked(TEXT, b"half of it")),
            [None, Some("1008")],
        ),
        (
            "minProgress",
            ["1", "1G"],
            "stallTimeout=300ms",
            |_, conn| {
                // A drop now and then is progress enough for the first value.
                let mut bytes =
                    masked_as(FIN | BINARY, LengthForm::shortest(1 << 20), 1 << 20, b"x");
                let deadline = std::time::Instant::now() + PATIENCE;
                while !conn.has_answer() && std::time::Instant::now() < deadline {
                    let _ = conn.send_available(&bytes);
                    bytes = vec![b'x'];
                }
                conn.read_frame().opcode.to_string()
            },
            [None, Some("8")],
        ),
        (
            "shutdownTimeout",
            ["1h", "0"],
            "closeTimeout=1h",
            |server, _| ended(server),
            [None, Some("0")],
        ),
        (
            "drainDelay",
            ["1h", "0"],
            "shutdownTimeout=0",
            |server, _| ended(server),
            [None, Some("0")],
        ),
        (
            "drainSpread",
            ["1h", "0"],
            "shutdownTimeout=0",
            |server, _| ended(server),
            [None, Some("0")],
        ),
    ]);
}

/// Exit code after SIGTERM.
fn ended(server: &Server) -> String {
    server.signal(Signal::TERM);
    server.wait_exit().code().unwrap_or(-1).to_string()
}

fn log_text(server: &Server, name: &str) -> String {
    fs::read_to_string(server.directory().join(name)).unwrap_or_default()
}

// promise: a reload of each key takes effect
#[test]
fn the_log() {
    check(&[
        (
            "logfile",
            ["{dir}/one.log", "{dir}/two.log"],
            "",
            |server, _| {
                let text = format!("from {}", server.web().local_addr());
                let is_in = |name| log_text(server, name).contains(&text);
                eventually("a line in one of them", || {
                    is_in("one.log") || is_in("two.log")
                });
                is_in("two.log").to_string()
            },
            [Some("false"), Some("true")],
        ),
        (
            "loglevel",
            ["info", "debug"],
            "",
            |server, conn| {
                conn.send_close(4567, "");
                conn.expect_close(4567);
                server.web().close();
                server.wait_for_log("closes with 4567");
                "told".to_owned()
            },
            [None, Some("told")],
        ),
        (
            "logConnections",
            ["on", "off"],
            "",
            |server, _| {
                let text = format!("New client connecting from {}", server.web().local_addr());
                // What is told behind it in any case.
                server.signal(Signal::USR1);
                server.wait_for_log("Status: ");
                server
                    .log_lines()
                    .iter()
                    .any(|line| line.contains(&text))
                    .to_string()
            },
            [None, Some("false")],
        ),
        (
            "logFormat",
            ["text", "json"],
            "",
            |server, _| {
                server.signal(Signal::USR1);
                let line = server.wait_for_log("Status: ");
                line.starts_with('{').to_string()
            },
            [None, Some("true")],
        ),
        (
            "logSummary",
            ["0", "1s"],
            "",
            |server, _| {
                server.wait_for_log("Since the last summary");
                "told".to_owned()
            },
            [None, Some("told")],
        ),
        (
            "logMaxSize",
            ["0", "4K"],
            "logfile={dir}/websock.log",
            |server, _| {
                eventually("a moved file", || {
                    server.web().close();
                    server.directory().join("websock.log.1").exists()
                });
                "moved".to_owned()
            },
            [None, Some("moved")],
        ),
    ]);

    let server = Server::start("logfile={dir}/websock.log\nlogMaxSize=4K\nlogKeep=1");
    let moved = |number: u32| {
        server
            .directory()
            .join(format!("websock.log.{number}"))
            .exists()
    };
    let log = || {
        eventually("a moved file", || {
            server.web().close();
            moved(1)
        })
    };
    log();
    assert!(!moved(2));
    server.reload("logfile={dir}/websock.log\nlogMaxSize=4K\nlogKeep=3", READ);
    eventually("three moved files", || {
        server.web().close();
        moved(3)
    });
}

// promise: a reload of each key takes effect
#[test]
fn the_console() {
    let server = Server::start("logfile={dir}/websock.log");
    let count = || server.log_lines().len();
    server.web().close();
    let file = server.directory().join("websock.ini");
    let text = fs::read_to_string(&file).expect("the ini file");
    fs::write(&file, text.replace("console=true", "console=off")).expect("written");
    server.signal(Signal::HUP);
    eventually("it is told in the file", || {
        log_text(&server, "websock.log").contains(READ)
    });
    let before = count();
    for _ in 0..5 {
        server.web().close();
    }
    let last = format!("from {}", server.web().local_addr());
    eventually("lines in the file", || {
        log_text(&server, "websock.log").contains(&last)
    });
    assert_eq!(count(), before, "nothing more on the console");
    fs::write(&file, text).expect("written");
    server.signal(Signal::HUP);
    eventually("the change is told where the log went until then", || {
        log_text(&server, "websock.log").contains("Changed: console=true, was off")
    });
    server.wait_for_log(READ);
    let text = format!("from {}", server.web().local_addr());
    server.wait_for_log(&text);
}

// promise: a reload of each key takes effect
#[test]
fn who_is_asked_about_how() {
    fn token(secret: &str) -> String {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let end = since.expect("a clock").as_secs() + 600;
        let claims = json!({"sub": "42", "exp": end, "aud": "websock"});
        let key = EncodingKey::from_secret(secret.as_bytes()).expect("a key");
        encode(&Header::new(Algorithm::HS256), &claims, &key).expect("a token")
    }
    const ONE: &str = "0123456789abcdef0123456789abcdef";
    const TWO: &str = "fedcba9876543210fedcba9876543210";
    let with_token = |secret: &str| {
        Request::to("/web?user=1").with("Cookie", &format!("websock_token={}", token(secret)))
    };
    let server = Server::start(&format!("authKey={ONE}"));
    assert_eq!(user_of(&server, &with_token(ONE)).1.as_deref(), Some("42"));
    server.reload(&format!("authKey={TWO}"), READ);
    expect_no(&server, &with_token(ONE));
    assert_eq!(user_of(&server, &with_token(TWO)).1.as_deref(), Some("42"));
    server.web();
    server.reload(&format!("authKey={TWO}\n[jsauth]\nrequire=true"), READ);
    expect_no(&server, &Request::to("/web"));
    let log = server.log_lines().join("\n");
    assert!(!log.contains(ONE) && !log.contains(TWO), "{log}");

    let sessions = Sessions::new("reload");
    let folder = sessions.0.display();
    let start = format!("sessions={folder}\n");
    sessions.put("one", "a|s:1:\"1\";b|s:1:\"2\";yes|b:1;no|b:0;");
    sessions.put("other", "a|s:1:\"3\";yes|b:1;");
    let request = with_session("one").with("Cookie", "OTHER=other");
    let is = |ini: &str, user: Option<&str>| {
        server_of(&start, ini, |server| {
            assert_eq!(user_of(server, &request).1.as_deref(), user, "{ini}");
        });
    };
    is("userKey=b", Some("2"));
    is("userKey=a\n[jsauth]\ncookie_name=OTHER", Some("3"));
    is("userKey=a\n[jsauth]\nkey=no", None);
    let old = SystemTime::now() - Duration::from_secs(600);
    let file = fs::File::options().write(true).open(sessions.file("one"));
    let file = file.expect("the session");
    file.set_modified(old).expect("an older time");
    is("userKey=a\nsessionMaxAge=60", None);
    is("userKey=a\nsessionMaxAge=3600", Some("1"));
    // A script has it locked: nobody is waited for any more.
    file.lock().expect("a lock");
    is("userKey=a\nsessionWait=0", Some("1"));
}

/// Starts with sign-in by the variable `a`, and looks after a reload of `ini`.
#[track_caller]
fn server_of(start: &str, ini: &str, look: impl Fn(&Server)) {
    let server = Server::start(&format!("{start}userKey=a\nsessionWait=1m"));
    server.reload(&format!("{start}sessionWait=1m\n{ini}"), READ);
    look(&server);
}

// promise: a reload of each key takes effect
#[test]
fn who_stays_is_asked_about_again_as_the_new_file_has_it() {
    for (before, after) in [
        (
            "authRecheck=0\nauthIdle=close",
            "authRecheck=1\nauthIdle=close",
        ),
        (
            "authRecheck=24h\nauthIdle=close",
            "authRecheck=1\nauthIdle=close",
        ),
        (
            "authRecheck=1\nauthIdle=keep",
            "authRecheck=1\nauthIdle=close",
        ),
    ] {
        let sessions = Sessions::new("reload-recheck");
        sessions.sign_in("one", "42");
        let server = Server::start(&format!("{}{before}", sessions.ini()));
        let (mut conn, user) = user_of(&server, &with_session("one"));
        assert_eq!(user.as_deref(), Some("42"));
        sessions.remove("one");
        server.reload(&format!("{}{after}", sessions.ini()), READ);
        loop {
            let frame = conn.read_frame();
            if frame.opcode == frame::CLOSE {
                assert_eq!(frame.payload[..2], 4401_u16.to_be_bytes(), "{before}");
                break;
            }
        }
    }
}

// promise: a reload of each key takes effect
#[test]
fn the_application_is_asked_as_the_new_file_has_it() {
    let application = Application::answering(|head| {
        let user = header(head, "X-Shop").unwrap_or("nobody");
        Some(response("200 OK", "", &format!(r#"{{"user":"{user}"}}"#)))
    });
    let ini = application.ini();
    let request = Request::to("/web?user=1")
        .with("Cookie", "a=b")
        .with("X-Shop", "7");
    let server = Server::start(&ini);
    assert_eq!(user_of(&server, &request).1.as_deref(), Some("nobody"));
    server.reload(&format!("{ini}authHeaders=X-Shop"), READ);
    assert_eq!(user_of(&server, &request).1.as_deref(), Some("7"));

    let deaf = Application::answering(|_| None);
    let ini = format!("{}handshakeTimeout=1m\n", deaf.ini());
    let server = Server::start(&format!("{ini}authTimeout=1m"));
    server.reload(&format!("{ini}authTimeout=50ms"), READ);
    assert_eq!(status(&server, &request), "503");
}

/// Keys whose reload is looked at elsewhere: a file, and one of its tests.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "certFile",
        "tests/tls/renewal.rs",
        "other_files_are_taken_up_by_a_reload",
    ),
    (
        "pkFile",
        "tests/tls/renewal.rs",
        "other_files_are_taken_up_by_a_reload",
    ),
    (
        "takeoverTime",
        "tests/takeover/kept.rs",
        "the_time_for_what_is_under_way_follows_a_reload",
    ),
    (
        "backplaneTimeout",
        "tests/server/backplane.rs",
        "how_long_and_how_much_waits_follows_a_reload",
    ),
    (
        "backplaneQueue",
        "tests/server/backplane.rs",
        "how_long_and_how_much_waits_follows_a_reload",
    ),
    (
        "replaySize",
        "tests/server/replay.rs",
        "what_is_kept_follows_a_reload",
    ),
    (
        "replayTime",
        "tests/server/replay.rs",
        "what_is_kept_follows_a_reload",
    ),
    (
        "replayMemory",
        "tests/server/replay.rs",
        "what_is_kept_follows_a_reload",
    ),
];

// promise: a reload of each key takes effect
#[test]
fn every_key_that_a_reload_changes_is_looked_at() {
    let package = env!("CARGO_MANIFEST_DIR");
    let read = |file: &str| fs::read_to_string(format!("{package}/{file}")).expect("a file");
    let docs = read("docs/configuration.md");
    let own = read("tests/server/reload_keys.rs");
    let mut keys = BTreeSet::new();
    for line in docs.lines() {
        let is_row = ["| at once |", "| for newcomers |"]
            .iter()
            .any(|row| line.starts_with(row));
        if is_row {
            keys.extend(line.split('`').skip(1).step_by(2));
        }
    }
    assert!(keys.len() > 40, "only {keys:?}");
    for key in keys {
        let elsewhere = ELSEWHERE.iter().find(|(name, ..)| *name == key);
        match elsewhere {
            Some((_, file, test)) => {
                assert!(
                    read(file).contains(&format!("fn {test}()")),
                    "{file}: {test}"
                );
            }
            None => {
                let is_a_case =
                    own.contains(&format!("\"{key}\",")) || own.contains(&format!("{key}="));
                assert!(is_a_case, "{key} is looked at nowhere");
            }
        }
    }
}

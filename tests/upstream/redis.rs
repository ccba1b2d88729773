//! The server as a client of Redis. Only `run.sh` runs these: `cargo test` needs nothing but Rust.

#[expect(dead_code, reason = "shared with the tests that speak HTTP")]
mod driver;
mod redis_server;

use std::time::Duration;

use websock::upstream::redis::{ErrorKind, Request, Value};
use websock::upstream::{CallError, Settings, Target};

use crate::driver::Driver;
use crate::redis_server::RedisServer;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Too short to wait for what never comes.
const SHORT: Duration = Duration::from_millis(500);

fn driver(url: &str) -> Driver {
    Driver::with(Target::redis(url).expect("a URL"), Settings::redis())
}

/// Asks and waits for the answer.
fn ask(driver: &mut Driver, request: Request) -> Result<Vec<Value>, CallError> {
    let id = driver.begin_call(request, PATIENCE);
    let answer = driver.next_answer();
    assert_eq!(answer.call, id);
    answer.into_redis()
}

/// Asks with a deadline that is missed: why there is no answer.
fn ask_in_vain(driver: &mut Driver, request: Request) -> CallError {
    driver.begin_call(request, SHORT);
    driver.next_answer().into_redis().expect_err("no answer")
}

fn session(id: &str) -> Request {
    let lock = format!("{id}_LOCK");
    Request::new("EXISTS", &[lock.as_bytes()]).then("GET", &[id.as_bytes()])
}

fn bytes(text: &str) -> Value {
    Value::Bytes(text.into())
}

#[test]
fn a_session_and_its_lock_are_looked_up_in_one_call() {
    let server = RedisServer::start("sessions", &[]);
    for url in [server.unix(), server.tcp()] {
        let mut driver = driver(&url);
        assert_eq!(
            ask(&mut driver, session("nobody")),
            Ok(vec![Value::Integer(0), Value::Nil])
        );
        let written = Request::new("SET", &[b"some", b"user|i:42;"]);
        assert_eq!(ask(&mut driver, written), Ok(vec![bytes("OK")]));
        assert_eq!(
            ask(&mut driver, session("some")),
            Ok(vec![Value::Integer(0), bytes("user|i:42;")])
        );
        let locked = Request::new("SET", &[b"some_LOCK", b"x"]);
        assert_eq!(ask(&mut driver, locked), Ok(vec![bytes("OK")]));
        assert_eq!(
            ask(&mut driver, session("some")),
            Ok(vec![Value::Integer(1), bytes("user|i:42;")])
        );
        let unlocked = Request::new("DEL", &[b"some", b"some_LOCK"]);
        assert_eq!(ask(&mut driver, unlocked), Ok(vec![Value::Integer(2)]));
        assert_eq!(driver.upstream().counts().connected, 1);
    }
}

#[test]
fn ten_thousand_calls_are_answered_in_their_order() {
    let server = RedisServer::start("many", &[]);
    let settings = Settings {
        max_queued_calls: 20_000,
        ..Settings::redis()
    };
    let target = Target::redis(&server.unix()).expect("a URL");
    let mut driver = Driver::with(target, settings);
    let count = |driver: &mut Driver| {
        let calls: Vec<_> = (0..10_000)
            .map(|number: u32| {
                let text = number.to_string();
                driver.begin_call(Request::new("ECHO", &[text.as_bytes()]), PATIENCE)
            })
            .collect();
        for (number, call) in calls.into_iter().enumerate() {
            let answer = driver.next_answer();
            assert_eq!(answer.call, call);
            assert_eq!(answer.into_redis(), Ok(vec![bytes(&number.to_string())]));
        }
    };
    count(&mut driver);
    count(&mut driver);
    assert_eq!(driver.upstream().counts().connected, 1);
}

#[test]
fn users_and_passwords_are_checked() {
    let shop = ["--user", "shop", "on", ">pa:ss/", "~S:*", "+get", "+exists"];
    let acl = [&["--requirepass", "secret"][..], &shop].concat();
    let server = RedisServer::start("acl", &acl);
    let socket = server.unix();
    for (query, expected) in [
        ("?password=secret", Ok(())),
        ("?user=default&password=secret", Ok(())),
        ("?user=shop&password=pa:ss/", Ok(())),
        ("", Err(ErrorKind::PasswordMissing)),
        ("?password=wrong", Err(ErrorKind::PasswordWrong)),
        (
            "?user=nobody&password=secret",
            Err(ErrorKind::PasswordWrong),
        ),
        (
            "?user=shop&password=pa:ss/&database=1",
            Err(ErrorKind::Forbidden),
        ),
    ] {
        let mut driver = driver(&format!("{socket}{query}"));
        match expected {
            Ok(()) => {
                let expected = vec![Value::Integer(0), Value::Nil];
                assert_eq!(ask(&mut driver, session("S:a")), Ok(expected), "{query}");
            }
            Err(kind) => {
                let error = ask_in_vain(&mut driver, session("S:a"));
                assert_eq!(error, CallError::Rejected(kind), "{query}");
                assert_eq!(driver.upstream().counts().connected, 0);
            }
        }
    }
    let forbidden = vec![Value::Error(ErrorKind::Forbidden); 2];
    let mut driver = driver(&format!("{socket}?user=shop&password=pa:ss/"));
    assert_eq!(ask(&mut driver, session("T:a")), Ok(forbidden));
}

#[test]
fn redis_killed_and_started_again_is_found_again() {
    let mut server = RedisServer::start("restarted", &[]);
    for url in [server.unix(), server.tcp()] {
        let mut driver = driver(&url);
        for _ in 0..3 {
            let empty = Ok(vec![Value::Integer(0), Value::Nil]);
            assert_eq!(ask(&mut driver, session("a")), empty);
            server.kill();
            let error = ask_in_vain(&mut driver, session("a"));
            assert_eq!(error, CallError::Refused);
            server.start_again();
        }
    }
}

//! The server as a client of Redis. Only `run.sh` runs these: `cargo test` needs nothing but Rust.

mod redis_driver;
mod redis_server;

use websock::net::RootsSource;
use websock::upstream::redis::{ErrorKind, Request, SubscriberEvent, Value};
use websock::upstream::{CallError, Settings};

use crate::redis_driver::RedisDriver;
use crate::redis_server::{RedisServer, free_port};

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
        let mut driver = RedisDriver::new(&url);
        assert_eq!(
            driver.ask(session("nobody")),
            Ok(vec![Value::Integer(0), Value::Nil])
        );
        let written = Request::new("SET", &[b"some", b"user|i:42;"]);
        assert_eq!(driver.ask(written), Ok(vec![bytes("OK")]));
        assert_eq!(
            driver.ask(session("some")),
            Ok(vec![Value::Integer(0), bytes("user|i:42;")])
        );
        let locked = Request::new("SET", &[b"some_LOCK", b"x"]);
        assert_eq!(driver.ask(locked), Ok(vec![bytes("OK")]));
        assert_eq!(
            driver.ask(session("some")),
            Ok(vec![Value::Integer(1), bytes("user|i:42;")])
        );
        let unlocked = Request::new("DEL", &[b"some", b"some_LOCK"]);
        assert_eq!(driver.ask(unlocked), Ok(vec![Value::Integer(2)]));
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
    let mut driver = RedisDriver::with(&server.unix(), settings, RootsSource::System);
    let count = |driver: &mut RedisDriver| {
        let calls: Vec<_> = (0..10_000)
            .map(|number: u32| {
                let text = number.to_string();
                driver.begin(Request::new("ECHO", &[text.as_bytes()]))
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
        let mut driver = RedisDriver::new(&format!("{socket}{query}"));
        match expected {
            Ok(()) => {
                let expected = vec![Value::Integer(0), Value::Nil];
                assert_eq!(driver.ask(session("S:a")), Ok(expected), "{query}");
            }
            Err(kind) => {
                let error = driver.ask_in_vain(session("S:a"));
                assert_eq!(error, CallError::Rejected(kind), "{query}");
                assert_eq!(driver.upstream().counts().connected, 0);
            }
        }
    }
    let forbidden = vec![Value::Error(ErrorKind::Forbidden); 2];
    let mut driver = RedisDriver::new(&format!("{socket}?user=shop&password=pa:ss/"));
    assert_eq!(driver.ask(session("T:a")), Ok(forbidden));
}

#[test]
fn redis_killed_and_started_again_is_found_again() {
    let mut server = RedisServer::start("restarted", &[]);
    for url in [server.unix(), server.tcp()] {
        let mut driver = RedisDriver::new(&url);
        for _ in 0..3 {
            let empty = Ok(vec![Value::Integer(0), Value::Nil]);
            assert_eq!(driver.ask(session("a")), empty);
            server.kill();
            let error = driver.ask_in_vain(session("a"));
            assert_eq!(error, CallError::Refused);
            server.start_again();
        }
    }
}

fn subscribed(channel: &str) -> SubscriberEvent {
    let channel = channel.into();
    SubscriberEvent::Subscribed { channel }
}

fn message(channel: &str, payload: &str) -> SubscriberEvent {
    SubscriberEvent::Message {
        channel: channel.into(),
        payload: payload.into(),
    }
}

fn publish(channel: &str, payload: &str) -> Request {
    Request::new("PUBLISH", &[channel.as_bytes(), payload.as_bytes()])
}

#[test]
fn what_is_published_is_counted_and_comes_in_order() {
    let server = RedisServer::start("pubsub", &["--requirepass", "secret"]);
    let url = format!("{}?password=secret", server.unix());
    let mut driver = RedisDriver::new(&url);
    assert_eq!(driver.ask(publish("a", "x")), Ok(vec![Value::Integer(0)]));
    driver.add_subscriber(&url);
    assert_eq!(driver.next_event(), SubscriberEvent::Ready);
    driver.subscribe(&["a", "b"]);
    let events = [subscribed("a"), subscribed("b"), SubscriberEvent::Ready];
    assert_eq!([(); 3].map(|()| driver.next_event()), events);
    assert_eq!(driver.ask(publish("a", "1")), Ok(vec![Value::Integer(1)]));
    assert_eq!(driver.next_event(), message("a", "1"));
    for number in 0..2000 {
        driver.begin(publish(["a", "b"][number % 2], &number.to_string()));
    }
    for number in 0..2000 {
        let expected = message(["a", "b"][number % 2], &number.to_string());
        assert_eq!(driver.next_event(), expected);
        assert_eq!(
            driver.next_answer().into_redis(),
            Ok(vec![Value::Integer(1)])
        );
    }
    driver.unsubscribe(&["a"]);
    assert_eq!(driver.next_event(), SubscriberEvent::Ready);
    assert_eq!(driver.ask(publish("a", "x")), Ok(vec![Value::Integer(0)]));
    let long = "x".repeat(4 << 20);
    assert_eq!(driver.ask(publish("b", &long)), Ok(vec![Value::Integer(1)]));
    assert_eq!(driver.next_event(), message("b", &long));
}

#[test]
fn ten_thousand_channels_are_subscribed_to_again_after_a_restart() {
    let mut server = RedisServer::start("again", &[]);
    let mut driver = RedisDriver::new(&server.unix());
    driver.add_subscriber(&server.unix());
    let names: Vec<_> = (0..10_000).map(|number| format!("c{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    driver.subscribe(&names);
    for _ in 0..2 {
        let mut count = 0;
        loop {
            match driver.next_event() {
                SubscriberEvent::Subscribed { .. } => count += 1,
                SubscriberEvent::Ready if count > 0 => break,
                SubscriberEvent::Ready => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(count, names.len());
        let channels = Request::new("PUBSUB", &[b"NUMSUB", b"c0", b"c9999"]);
        let counted = vec![
            bytes("c0"),
            Value::Integer(1),
            bytes("c9999"),
            Value::Integer(1),
        ];
        assert_eq!(driver.ask(channels), Ok(vec![Value::Array(counted)]));
        server.kill();
        assert_eq!(driver.next_event(), SubscriberEvent::Lost);
        server.start_again();
    }
}

#[test]
fn connections_that_redis_ends_are_there_again() {
    let server = RedisServer::start("ended", &[]);
    let mut driver = RedisDriver::new(&server.tcp());
    driver.add_subscriber(&server.tcp());
    driver.subscribe(&["a"]);
    let mut other = RedisDriver::new(&server.unix());
    for round in 0..20 {
        while driver.next_event() != subscribed("a") {}
        let text = round.to_string();
        assert_eq!(driver.ask(publish("a", &text)), Ok(vec![Value::Integer(1)]));
        while driver.next_event() != message("a", &text) {}
        for kind in ["normal", "pubsub"] {
            let arguments = [&b"KILL"[..], b"TYPE", kind.as_bytes(), b"SKIPME", b"yes"];
            let killed = other.ask(Request::new("CLIENT", &arguments));
            assert_eq!(killed, Ok(vec![Value::Integer(1)]));
        }
    }
}

#[test]
fn a_node_number_is_claimed_once_and_runs_out() {
    let server = RedisServer::start("claimed", &[]);
    let mut driver = RedisDriver::new(&server.unix());
    let claim = |driver: &mut RedisDriver, who: &[u8]| {
        driver.ask(Request::new(
            "SET",
            &[b"node:1", who, b"NX", b"PX", b"60000"],
        ))
    };
    assert_eq!(claim(&mut driver, b"a"), Ok(vec![bytes("OK")]));
    assert_eq!(claim(&mut driver, b"b"), Ok(vec![Value::Nil]));
    let renew = Request::new("GET", &[b"node:1"]).then("PEXPIRE", &[b"node:1", b"60000"]);
    assert_eq!(driver.ask(renew), Ok(vec![bytes("a"), Value::Integer(1)]));
    let free = Request::new("PEXPIRE", &[b"node:1", b"-1"]);
    assert_eq!(driver.ask(free), Ok(vec![Value::Integer(1)]));
    assert_eq!(claim(&mut driver, b"b"), Ok(vec![bytes("OK")]));
}

#[test]
fn tls_is_spoken_with_whom_the_file_vouches_for() {
    let server = RedisServer::start_with_tls("tls");
    let roots = RootsSource::File(server.file("ca.pem"));
    let url = server.tls();
    let mut driver = RedisDriver::with(&url, Settings::redis(), roots.clone());
    let empty = Ok(vec![Value::Integer(0), Value::Nil]);
    assert_eq!(driver.ask(session("a")), empty);
    driver.add_subscriber_with(&url, roots);
    driver.subscribe(&["a"]);
    while driver.next_event() != subscribed("a") {}
    let long = "x".repeat(1 << 20);
    assert_eq!(driver.ask(publish("a", &long)), Ok(vec![Value::Integer(1)]));
    while driver.next_event() != message("a", &long) {}

    let other = RootsSource::File(server.file("other.pem"));
    let none = RootsSource::File(server.file("nobody.pem"));
    for roots in [other, none] {
        let mut driver = RedisDriver::with(&url, Settings::redis(), roots);
        let error = driver.ask_in_vain(session("a"));
        assert_eq!(error, CallError::TlsFailed);
    }
}

#[test]
fn cluster_mode_is_refused() {
    // Else the port of its bus is 10,000 above, where there may be none that is free.
    let bus = free_port().to_string();
    let options = ["--cluster-enabled", "yes", "--cluster-port", &bus];
    let server = RedisServer::start("cluster", &options);
    let mut driver = RedisDriver::new(&server.unix());
    let error = driver.ask_in_vain(session("a"));
    assert_eq!(error, CallError::Rejected(ErrorKind::Cluster));
    assert!(error.to_string().contains("cluster mode"), "{error}");
}

#[test]
fn a_replica_takes_no_changes_and_one_without_master_answers_nothing() {
    let options = [
        "--replicaof",
        "127.0.0.1",
        "1",
        "--replica-serve-stale-data",
        "no",
    ];
    let server = RedisServer::start("replica", &options);
    let mut driver = RedisDriver::new(&server.unix());
    let error = driver.ask_in_vain(session("a"));
    assert_eq!(error, CallError::Rejected(ErrorKind::ReadOnly));
    let server = RedisServer::start("stale", &options[..3]);
    let mut driver = RedisDriver::new(&server.unix());
    let refused = Ok(vec![Value::Error(ErrorKind::ReadOnly)]);
    assert_eq!(driver.ask(Request::new("SET", &[b"a", b"b"])), refused);
    assert_eq!(
        driver.upstream().link_count(),
        0,
        "another one may be the master"
    );
}

#[test]
fn a_full_redis_says_so() {
    let options = ["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"];
    let server = RedisServer::start("full", &options);
    let mut driver = RedisDriver::new(&server.unix());
    let long = "x".repeat(2 << 20);
    let mut set = || driver.ask(Request::new("SET", &[b"a", long.as_bytes()]));
    drop(set());
    assert_eq!(set(), Ok(vec![Value::Error(ErrorKind::OutOfMemory)]));
}

#[test]
fn a_server_that_has_all_its_clients_says_so() {
    let server = RedisServer::start("clients", &["--maxclients", "1"]);
    let mut first = RedisDriver::new(&server.unix());
    assert_eq!(
        first.ask(Request::new("PING", &[])),
        Ok(vec![bytes("PONG")])
    );
    let mut second = RedisDriver::new(&server.unix());
    let error = second.ask_in_vain(session("a"));
    assert_eq!(error, CallError::Rejected(ErrorKind::TooManyClients));
}

#[test]
fn a_redis_that_loads_its_data_is_not_asked_before_it_has() {
    let mut server = RedisServer::start("loading", &["--rdbcompression", "no"]);
    let mut driver = RedisDriver::new(&server.unix());
    let value = "x".repeat(4096);
    for number in 0..100 {
        let set = Request::new("SET", &[number.to_string().as_bytes(), value.as_bytes()]);
        assert_eq!(driver.ask(set), Ok(vec![bytes("OK")]));
    }
    let saved = driver.ask(Request::new("SAVE", &[]));
    assert_eq!(saved, Ok(vec![bytes("OK")]));
    server.kill();
    // It answers between two keys only.
    let interval = "--loading-process-events-interval-bytes";
    server.add_options(&["--key-load-delay", "20000", interval, "1024"]);
    server.start_again();
    let errors = std::iter::repeat_with(|| driver.ask_in_vain(Request::new("PING", &[])));
    let not_ready = CallError::Rejected(ErrorKind::NotReady);
    let mut before = errors.take_while(|error| *error != not_ready);
    assert!(before.all(|error| matches!(error, CallError::Refused | CallError::Closed)));
    let loaded = driver.ask(Request::new("DBSIZE", &[]));
    assert_eq!(loaded, Ok(vec![Value::Integer(100)]));
}

#[test]
fn sentinel_names_the_master_before_and_after_a_failover() {
    let mut master = RedisServer::start("master", &[]);
    let replica = master.start_replica("follower");
    let sentinel = RedisServer::start_sentinel("sentinel", &master);
    let url = format!("redis+sentinel://127.0.0.1:1,{}/shop", sentinel.address());
    let mut driver = RedisDriver::new(&url);
    driver.add_subscriber(&url);
    driver.subscribe(&["a"]);
    while driver.next_event() != subscribed("a") {}
    let info = |driver: &mut RedisDriver, section: &str| {
        let values = driver.ask(Request::new("INFO", &[section.as_bytes()]));
        let text = values.expect("an answer").remove(0);
        String::from_utf8_lossy(text.as_bytes().expect("a text")).into_owned()
    };
    // The Sentinel hears of the replica by asking the master, once a second at first.
    while !info(&mut driver, "replication").contains("state=online") {}
    let mut watcher = RedisDriver::new(&format!("redis://{}", replica.address()));
    while !info(&mut watcher, "replication").contains("master_link_status:up") {}
    let mut asked = RedisDriver::new(&format!("redis://{}", sentinel.address()));
    while !info(&mut asked, "sentinel").contains("slaves=1") {}

    let port = |driver: &mut RedisDriver| {
        let server = info(driver, "server");
        let line = server.lines().find(|line| line.starts_with("tcp_port:"));
        format!("127.0.0.1:{}", &line.expect("a port")["tcp_port:".len()..])
    };
    assert_eq!(port(&mut driver), master.address());
    master.kill();
    while driver.next_event() != SubscriberEvent::Lost {}
    while driver.next_event() != subscribed("a") {}
    assert_eq!(port(&mut driver), replica.address());
    assert_eq!(driver.ask(publish("a", "x")), Ok(vec![Value::Integer(1)]));
    assert_eq!(driver.next_event(), SubscriberEvent::Ready);
    assert_eq!(driver.next_event(), message("a", "x"));
    let nobody = format!("redis+sentinel://{}/nobody", sentinel.address());
    let error = RedisDriver::new(&nobody).ask_in_vain(session("a"));
    assert_eq!(error, CallError::Rejected(ErrorKind::UnknownMaster));
}

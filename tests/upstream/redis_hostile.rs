//! Servers that speak RESP as none should, on the real loop: whatever they do, a call ends by its
//! deadline, once, and the next server is asked as if nothing had been.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use websock::net::RootsSource;
use websock::upstream::redis::{ErrorKind, Request, SubscriberEvent, Value};
use websock::upstream::{CallError, Settings};

use crate::redis_driver::RedisDriver;
use crate::server::{await_end, start, write};

/// Lets in whoever comes, and then says this, however much of it is taken.
fn says(words: &'static str) -> SocketAddr {
    start(move |_, mut stream| {
        let_in(&mut stream);
        await_bytes(&mut stream);
        write(&mut stream, words);
        await_end(&mut stream);
    })
}

fn let_in(stream: &mut TcpStream) {
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(b"PING\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => said.extend(byte),
            _ => return,
        }
    }
    write(stream, "+OK\r\n$0\r\n\r\n+PONG\r\n");
}

/// Waits until something comes.
fn await_bytes(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    let _: Result<usize, _> = stream.read(&mut buffer);
}

fn driver(address: SocketAddr) -> RedisDriver {
    let settings = Settings {
        late_answer_timeout: Duration::from_millis(100),
        ..Settings::redis()
    };
    RedisDriver::with(&format!("redis://{address}"), settings, RootsSource::System)
}

fn get() -> Request {
    Request::new("GET", &[b"a"])
}

#[test]
fn what_is_no_answer_is_none() {
    for (words, expected) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", CallError::Malformed),
        (
            "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
            CallError::TooLarge,
        ),
        ("$9223372036854775807\r\n", CallError::TooLarge),
        ("*9223372036854775807\r\n", CallError::TooLarge),
        ("$3\r\nabcde", CallError::Malformed),
        (":99999999999999999999\r\n", CallError::Malformed),
        ("%1\r\n+a\r\n+b\r\n", CallError::Malformed),
        (">3\r\n$7\r\nmessage\r\n", CallError::Malformed),
        // It stops in the middle.
        ("$10\r\nabc", CallError::Timeout),
        ("", CallError::Timeout),
    ] {
        let mut driver = driver(says(words));
        assert_eq!(driver.ask_in_vain(get()), expected, "{words:?}");
        let counts = driver.upstream().counts();
        assert_eq!((counts.failed, counts.answered), (1, 0), "{words:?}");
    }
}

#[test]
fn an_answer_in_single_bytes_is_one() {
    let address = start(|_, mut stream| {
        stream.set_nodelay(true).expect("a socket");
        let_in(&mut stream);
        await_bytes(&mut stream);
        for byte in b"*2\r\n$3\r\na\r\n\r\n-READONLY x\r\n" {
            write(&mut stream, [*byte]);
        }
        await_end(&mut stream);
    });
    let values = vec![
        Value::Bytes(b"a\r\n".to_vec()),
        Value::Error(ErrorKind::ReadOnly),
    ];
    assert_eq!(driver(address).ask(get()), Ok(vec![Value::Array(values)]));
}

#[test]
fn values_without_end_end_the_connection() {
    let address = start(|_, mut stream| {
        let_in(&mut stream);
        await_bytes(&mut stream);
        let flood = "+mine\r\n".repeat(10_000);
        while write(&mut stream, &flood) {}
    });
    let mut driver = driver(address);
    for _ in 0..3 {
        let mine = Value::Bytes(b"mine".to_vec());
        assert_eq!(driver.ask(get()), Ok(vec![mine]));
    }
    assert!(driver.upstream().counts().unsolicited >= 2);
}

#[test]
fn a_value_without_end_is_skipped_and_never_kept() {
    let address = start(|_, mut stream| {
        let_in(&mut stream);
        await_bytes(&mut stream);
        write(&mut stream, "$40000000\r\n");
        let piece = [b'x'; 1 << 16];
        for _ in 0..40_000_000 / piece.len() {
            write(&mut stream, piece);
        }
        write(&mut stream, &piece[..40_000_000 % piece.len()]);
        write(&mut stream, "\r\n+next\r\n");
        await_end(&mut stream);
    });
    let mut driver = driver(address);
    let (long, next) = (driver.begin(get()), driver.begin(get()));
    let answer = driver.next_answer();
    assert_eq!(
        (answer.call, answer.into_redis()),
        (long, Err(CallError::TooLarge))
    );
    let answer = driver.next_answer();
    let value = Value::Bytes(b"next".to_vec());
    assert_eq!((answer.call, answer.into_redis()), (next, Ok(vec![value])));
}

#[test]
fn who_answers_before_being_asked_is_not_believed() {
    let address = start(|number, mut stream| {
        let_in(&mut stream);
        if number == 0 {
            write(&mut stream, "+somebody's\r\n");
        }
        await_bytes(&mut stream);
        write(&mut stream, "+mine\r\n");
        await_end(&mut stream);
    });
    let mine = Value::Bytes(b"mine".to_vec());
    let mut driver = driver(address);
    let values = driver.ask(get()).expect("an answer");
    // Whether its question had left when it came is the kernel's matter.
    let hasty = Value::Bytes(b"somebody's".to_vec());
    assert!(values == [mine] || values == [hasty], "{values:?}");
}

#[test]
fn a_subscriber_survives_a_flood_and_whoever_breaks_off() {
    let address = start(|number, mut stream| {
        let_in(&mut stream);
        await_bytes(&mut stream);
        write(&mut stream, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
        for count in 0..20_000 {
            let text = format!("{number}:{count}");
            let message = format!(
                "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n${}\r\n{text}\r\n",
                text.len()
            );
            write(&mut stream, message);
        }
        match number {
            0 => {}
            1 => drop(write(&mut stream, "*3\r\n$7\r\nmes")),
            2 => drop(write(&mut stream, "+OK\r\n")),
            _ => await_end(&mut stream),
        }
    });
    let mut driver = driver(address);
    driver.add_subscriber(&format!("redis://{address}"));
    driver.subscribe(&["a"]);
    for number in 0..4 {
        // There may be nothing to subscribe to yet.
        while driver.next_event()
            != (SubscriberEvent::Subscribed {
                channel: b"a".to_vec(),
            })
        {}
        let mut count = 0;
        while count < 20_000 {
            if let SubscriberEvent::Message { payload, .. } = driver.next_event() {
                assert_eq!(payload, format!("{number}:{count}").as_bytes());
                count += 1;
            }
        }
        if number < 3 {
            while driver.next_event() != SubscriberEvent::Lost {}
        }
    }
}

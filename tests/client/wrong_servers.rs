//! Servers that say something else, or nothing, or cut what they say.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use websock::client::{Client, ClientSettings, Dialogue, Message};

use crate::harness::frame::unmasked;
use crate::harness::http::accept_of;

const READY: &str = r#"{"opcode":"ready","uuid":"8367a0a4-7b9c-4a3e-9f53-6b1c2d3e4f50"}"#;

/// A server for one connection, which reads the request and goes on as told.
fn server(then: impl FnOnce(TcpStream, &str) + Send + 'static) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("ws://{}/web", listener.local_addr().expect("it is bound"));
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a request");
            request.push(byte[0]);
        }
        let request = String::from_utf8(request).expect("ASCII");
        let key = request.split("Sec-WebSocket-Key: ").nth(1).expect("a key");
        then(
            stream,
            &accept_of(key.split("\r\n").next().expect("a line")),
        );
    });
    (address, thread)
}

fn switching(accept: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

fn settings() -> ClientSettings {
    ClientSettings {
        timeout: Duration::from_secs(5),
        ..ClientSettings::page()
    }
}

#[test]
fn everything_in_one_segment_and_everything_in_single_bytes() {
    for step in [usize::MAX, 1] {
        let (address, thread) = server(move |mut stream, accept| {
            let frames: Vec<u8> = (0..20)
                .flat_map(|n| unmasked(0x81, format!("{n}").as_bytes()))
                .collect();
            let bytes = [switching(accept), unmasked(0x81, READY.as_bytes()), frames].concat();
            for piece in bytes.chunks(step.min(bytes.len())) {
                stream.write_all(piece).expect("it is read");
            }
            let _ = stream.read(&mut [0; 100]);
        });
        let mut client = Client::connect(&address, &settings()).expect("it connects");
        for number in 0..20 {
            let message = client
                .receive(Some(Duration::from_secs(10)))
                .expect("it stays");
            assert_eq!(message, Some(Message::Text(number.to_string())));
        }
        drop(client);
        thread.join().expect("the server ends");
    }
}

/// What a client says of a server that answers with these bytes and then ends, or stays silent.
fn complaint(answer: impl Fn(&str) -> Vec<u8> + Send + 'static, ends: Ends) -> String {
    let (address, thread) = server(move |mut stream, accept| {
        stream.write_all(&answer(accept)).expect("it is read");
        if ends == Ends::No {
            // Until the client has had enough.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let connected = Client::connect(&address, &settings());
    let outcome = connected.and_then(|mut client| client.receive(Some(Duration::from_secs(10))));
    let error = outcome.expect_err("a wrong server").to_string();
    thread.join().expect("the server ends");
    error
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Yes,
    No,
}

#[test]
fn each_wrong_server_is_named() {
    let with_ready = |accept: &str, rest: Vec<u8>| {
        [switching(accept), unmasked(0x81, READY.as_bytes()), rest].concat()
    };
    type Answer = Box<dyn Fn(&str) -> Vec<u8> + Send>;
    let cases: Vec<(Answer, Ends, &str)> = vec![
        (
            Box::new(|_| b"SSH-2.0-OpenSSH\r\n".to_vec()),
            Ends::Yes,
            "no web server",
        ),
        (
            Box::new(|_| vec![0x15, 3, 1, 0, 2, 2, 70]),
            Ends::Yes,
            "no web server",
        ),
        (
            Box::new(|_| {
                b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 11\r\n\r\nnginx says\n".to_vec()
            }),
            Ends::Yes,
            "502: nginx says",
        ),
        (
            Box::new(|_| b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
            Ends::Yes,
            "200: OK",
        ),
        (
            Box::new(|_| switching("wrong")),
            Ends::Yes,
            "Sec-WebSocket-Accept",
        ),
        (
            Box::new(|_| b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n".to_vec()),
            Ends::Yes,
            "Upgrade is not websocket",
        ),
        (
            Box::new(|_| Vec::new()),
            Ends::Yes,
            "ended without a close frame",
        ),
        (
            Box::new(|_| Vec::new()),
            Ends::No,
            "no answer to the upgrade in time",
        ),
        (Box::new(switching), Ends::No, "no ready in time"),
        (
            Box::new(|accept| [switching(accept), unmasked(0x81, b"welcome")].concat()),
            Ends::Yes,
            "does not say ready",
        ),
        (
            Box::new(move |a| with_ready(a, unmasked(0x83, b""))),
            Ends::Yes,
            "reserved opcode",
        ),
        (
            Box::new(move |a| with_ready(a, unmasked(0x81, b"\xff"))),
            Ends::Yes,
            "UTF-8",
        ),
        (
            Box::new(move |a| with_ready(a, unmasked(0x88, b"\x03\xf1too long"))),
            Ends::Yes,
            "closed by the server: 1009 too long",
        ),
        (
            Box::new(move |a| with_ready(a, unmasked(0x88, b"\x03\xf4it restarts"))),
            Ends::Yes,
            "closed by the server: 1012 it restarts: connect again in a moment",
        ),
        (
            Box::new(move |a| with_ready(a, vec![0x81, 0x7F, 0xFF])),
            Ends::Yes,
            "top bit",
        ),
        (
            Box::new(move |a| with_ready(a, vec![0x81, 0x7F, 0, 0, 1, 0, 0, 0, 0, 0])),
            Ends::No,
            "maxMessageSize",
        ),
    ];
    for (answer, ends, expected) in cases {
        let error = complaint(answer, ends);
        assert!(
            error.contains(expected),
            "expected {expected:?} in {error:?}"
        );
    }
}

#[test]
fn the_servers_death_in_the_middle_is_an_error() {
    let (address, thread) = server(|mut stream, accept| {
        let bytes = [switching(accept), unmasked(0x81, READY.as_bytes())].concat();
        stream.write_all(&bytes).expect("it is read");
        let _ = stream.read(&mut [0; 10]);
    });
    let mut client = Client::connect(&address, &settings()).expect("it connects");
    let error = client.send("{}").expect_err("it is dead").to_string();
    assert!(error.contains("connection"), "{error}");
    thread.join().expect("the server ends");
}

#[test]
fn nobody_there_and_no_such_host_are_told_apart() {
    let settings = ClientSettings {
        dialogue: Dialogue::None,
        ..settings()
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    for (address, expected) in [
        (format!("ws://{address}"), "nobody listens"),
        ("ws://no-such-host.invalid".to_owned(), "is not known"),
        ("localhost:8096".to_owned(), "is no address"),
    ] {
        let error = Client::connect(&address, &settings)
            .expect_err(&address)
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_server_that_falls_silent_is_given_up_and_one_that_answers_is_not() {
    let with_pings = ClientSettings {
        ping_interval: Duration::from_millis(20),
        pong_timeout: Duration::from_secs(3),
        ..settings()
    };
    let (address, thread) = server(|mut stream, accept| {
        let bytes = [switching(accept), unmasked(0x81, READY.as_bytes())].concat();
        stream.write_all(&bytes).expect("it is read");
        // Two pings, masked and empty, are answered, the third is not.
        let mut ping = [0; 6];
        for answer in [Some(()), Some(()), None] {
            stream.read_exact(&mut ping).expect("a ping");
            assert_eq!(ping[..2], [0x89, 0x80]);
            if answer.is_some() {
                stream.write_all(&unmasked(0x8A, b"")).expect("it is read");
            }
        }
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mut client = Client::connect(&address, &with_pings).expect("it connects");
    let error = client.receive(None).expect_err("it is dead").to_string();
    assert!(error.contains("does not answer a ping"), "{error}");
    drop(client);
    thread.join().expect("the server ends");
}

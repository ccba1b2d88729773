//! What `POST /push` and `GET /position` can answer (protocol.md 9.6, 9.8, 11.4, 11.5), as
//! `websock::client::Push` and `websock send` understand it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::thread::{self, JoinHandle};

use websock::client::{ClientSettings, Error, Nodes, Push};

use crate::harness::server::binary;

/// A server that gives each of these answers to one request, and the requests that it got.
fn server(answers: Vec<(u16, &'static str)>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("ws://{}/php", listener.local_addr().expect("it is bound"));
    let thread = thread::spawn(move || {
        let answer = |(status, body): (u16, &str)| {
            let (stream, _) = listener.accept().expect("a client");
            let mut reader = BufReader::new(&stream);
            let mut request = String::new();
            while !request.ends_with("\r\n\r\n") {
                reader.read_line(&mut request).expect("a request");
            }
            let length = request.split("Content-Length: ").nth(1);
            let length = length.and_then(|rest| rest.split("\r\n").next());
            let length = length.map_or(0, |length| length.parse().expect("a number"));
            let mut content = vec![0; length];
            reader.read_exact(&mut content).expect("a body");
            let len = body.len();
            let head = format!("HTTP/1.1 {status} So\r\nContent-Length: {len}");
            write!(&stream, "{head}\r\nConnection: close\r\n\r\n{body}").expect("it is read");
            request.split("\r\n").next().unwrap_or_default().to_owned()
        };
        answers.into_iter().map(answer).collect()
    });
    (address, thread)
}

const PACKET: &str = r#"{"opcode":"feedback","uuid":"U"}"#;

#[test]
fn each_answer_to_a_push_is_understood() {
    let nodes = |asked, answered| Some(Nodes { asked, answered });
    let table = [
        (202, r#"{"delivered":0,"queued":1}"#, (0, 1, None, false)),
        (
            200,
            r#"{"delivered":2,"nodes":{"asked":3,"answered":2}}"#,
            (2, 0, nodes(3, 2), false),
        ),
        (200, r#"{"delivered":2,"partial":true}"#, (2, 0, None, true)),
        (
            504,
            r#"{"delivered":0,"error":"no answer","nodes":{"asked":1,"answered":0}}"#,
            (0, 0, nodes(1, 0), false),
        ),
    ];
    let (address, thread) = server(table.iter().map(|(s, body, _)| (*s, *body)).collect());
    let mut push = Push::connect(&address, &ClientSettings::script()).expect("it connects");
    for (_, body, (delivered, queued, nodes, is_partial)) in table {
        let receipt = push.send(PACKET).expect(body);
        assert_eq!(receipt.delivered, delivered, "{body}");
        assert_eq!(receipt.queued, queued, "{body}");
        assert_eq!(receipt.nodes, nodes, "{body}");
        assert_eq!(receipt.is_partial, is_partial, "{body}");
        assert_eq!(receipt.error.is_some(), body.contains("error"), "{body}");
    }
    thread.join().expect("the server ends");
}

#[test]
fn a_position_is_a_cursor_and_nothing_else_is_one() {
    let (address, thread) = server(vec![
        (200, r#"{"cursor":"e-4"}"#),
        (404, "There is no /position.\n"),
        (200, "{}"),
    ]);
    let mut push = Push::connect(&address, &ClientSettings::script()).expect("it connects");
    assert_eq!(push.position().expect("a cursor"), "e-4");
    for status in [404, 200] {
        let refused = push.position().expect_err("no cursor");
        assert!(
            matches!(refused, Error::NoPush(s, _) if s == status),
            "{refused}"
        );
    }
    let requests = thread.join().expect("the server ends");
    assert_eq!(requests, ["GET /position HTTP/1.1"; 3]);
}

#[test]
fn what_waits_has_not_failed_and_what_others_have_not_said_is_told() {
    for (status, body, code, stdout, stderr) in [
        (
            202,
            r#"{"delivered":0,"queued":1}"#,
            0,
            "delivered to 0, queued for 1\n",
            "",
        ),
        (
            200,
            r#"{"delivered":1,"nodes":{"asked":3,"answered":2},"partial":true}"#,
            0,
            "delivered to 1\n",
            "websock: 2 of 3 other servers have answered in time\n\
             websock: other servers could not be told: their backplane is away\n",
        ),
        (
            504,
            r#"{"delivered":0,"error":"no answer from the receiver's server"}"#,
            1,
            "delivered to 0\n",
            "websock: no answer from the receiver's server\n",
        ),
    ] {
        let (address, thread) = server(vec![(status, body)]);
        let output = Command::new(binary())
            .args(["send", "--uuid", "U", "hi", "--url", &address])
            .output()
            .expect("the program starts");
        assert_eq!(String::from_utf8_lossy(&output.stdout), stdout, "{body}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), stderr, "{body}");
        assert_eq!(output.status.code(), Some(code), "{body}");
        let requests = thread.join().expect("the server ends");
        assert_eq!(requests, ["POST /push HTTP/1.1"]);
    }
}

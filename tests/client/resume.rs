//! Coming back (protocol.md 9): `Client::reconnect` and `websock listen --resume`, against servers
//! that play their part by heart.

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tungstenite::WebSocket;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::CloseFrame;
use websock::client::{Client, ClientSettings, Error, Resumed};

use crate::harness::server::{Run, binary};
use crate::text;

/// A client's connection, and what it has asked for.
struct Page {
    socket: WebSocket<TcpStream>,
    target: String,
}

impl Page {
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().expect("a client");
        let timeout = Some(Duration::from_secs(10));
        stream.set_read_timeout(timeout).expect("a socket");
        let mut target = String::new();
        #[expect(clippy::result_large_err, reason = "so the callback's type is")]
        let note = |request: &Request, response: Response| {
            target = request.uri().to_string();
            Ok(response)
        };
        let socket = tungstenite::accept_hdr(stream, note).expect("a handshake");
        Self { socket, target }
    }

    fn say(&mut self, text: &str) {
        self.socket.send(text.into()).expect("it is read");
    }

    #[track_caller]
    fn expect(&mut self, text: &str) {
        let message = self.socket.read().expect("a message");
        assert_eq!(message.to_text().expect("a text"), text);
    }

    /// Greets a client that may resume.
    fn greet(&mut self, uuid: &str, cursor: u32, secret: &str) {
        self.say(&format!(
            r#"{{"opcode":"ready","uuid":"{uuid}","cursor":"e-{cursor}","resume":"{secret}"}}"#
        ));
    }

    /// Expects that `uuid` resumes, and says `resumed`, with what stands behind the opcode.
    #[track_caller]
    fn resume(&mut self, [uuid, secret, cursor]: [&str; 3], answer: &str) {
        self.expect(&format!(
            r#"{{"opcode":"resume","uuid":"{uuid}","secret":"{secret}","cursor":"{cursor}"}}"#
        ));
        self.say(r#"{"opcode":"next","fyi":""}"#);
        self.say(&format!(r#"{{"opcode":"resumed",{answer}}}"#));
    }

    /// Ends it with a close code, and waits until the client has answered.
    fn close(mut self, code: u16) {
        let reason = "so it is".into();
        let code = code.into();
        self.socket
            .close(Some(CloseFrame { code, reason }))
            .expect("it is sent");
        while self.socket.read().is_ok() {}
    }
}

/// A server that does this, and the address of its pages.
fn server(script: impl FnOnce(&TcpListener) + Send + 'static) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("ws://{}/web", listener.local_addr().expect("it is bound"));
    (address, thread::spawn(move || script(&listener)))
}

fn broadcast(number: u32) -> String {
    format!(r#"{{"opcode":"broadcast","message":{number},"cursor":"e-{number}"}}"#)
}

fn resuming() -> ClientSettings {
    ClientSettings {
        resume: true,
        timeout: Duration::from_secs(10),
        ..ClientSettings::page()
    }
}

#[track_caller]
fn expect_end(client: &mut Client) {
    let end = client.receive(Some(Duration::from_secs(10)));
    assert!(
        matches!(end, Err(Error::Ended | Error::Lost(_))),
        "it went on: {end:?}"
    );
}

fn whole(replayed: u64) -> Resumed {
    let gap = None;
    Resumed { replayed, gap }
}

#[test]
fn what_was_missed_comes_once_and_in_order() {
    let (address, thread) = server(|listener| {
        let mut page = Page::accept(listener);
        assert_eq!(page.target, "/web?resume=1");
        page.greet("OLD", 1, "S1");
        page.say(&broadcast(2));
        drop(page);
        let mut page = Page::accept(listener);
        page.greet("NEW", 4, "S9");
        // A page that is new gets what is sent now; who then resumes gets it in its place.
        page.say(&broadcast(5));
        page.resume(
            ["OLD", "S1", "e-2"],
            r#""uuid":"OLD","replayed":3,"gap":null,"cursor":"e-2","resume":"S2""#,
        );
        for number in 3..=6 {
            page.say(&broadcast(number));
        }
        page.expect("{}");
        page.say(r#"{"opcode":"next","fyi":""}"#);
    });
    let mut client = Client::connect(&address, &resuming()).expect("it connects");
    assert_eq!(text(&mut client), broadcast(2));
    expect_end(&mut client);
    assert_eq!(client.reconnect().expect("it resumes"), whole(3));
    assert_eq!(client.uuid(), "OLD");
    for number in 3..=6 {
        assert_eq!(text(&mut client), broadcast(number));
    }
    client.send("{}").expect("it is taken");
    thread.join().expect("the server ends");
}

#[test]
fn a_loss_in_the_middle_of_a_replay_goes_on_behind_what_has_come() {
    let (address, thread) = server(|listener| {
        let mut page = Page::accept(listener);
        page.greet("OLD", 1, "S1");
        drop(page);
        let mut page = Page::accept(listener);
        page.greet("N1", 4, "S8");
        page.say(&broadcast(5));
        page.resume(
            ["OLD", "S1", "e-1"],
            r#""uuid":"OLD","replayed":4,"gap":null,"cursor":"e-1","resume":"S2""#,
        );
        page.say(&broadcast(2));
        page.say(&broadcast(3));
        drop(page);
        let mut page = Page::accept(listener);
        page.greet("N2", 5, "S9");
        page.resume(
            ["OLD", "S2", "e-3"],
            r#""uuid":"OLD","replayed":2,"gap":null,"cursor":"e-3","resume":"S3""#,
        );
        page.say(&broadcast(4));
        page.say(&broadcast(5));
        drop(page);
        // Nothing has come since: the same place again.
        let mut page = Page::accept(listener);
        page.greet("N3", 5, "S7");
        page.resume(
            ["OLD", "S3", "e-5"],
            r#""uuid":"OLD","replayed":0,"gap":null,"cursor":"e-5","resume":"S4""#,
        );
    });
    let mut client = Client::connect(&address, &resuming()).expect("it connects");
    expect_end(&mut client);
    assert_eq!(client.reconnect().expect("it resumes"), whole(4));
    assert_eq!(text(&mut client), broadcast(2));
    assert_eq!(text(&mut client), broadcast(3));
    expect_end(&mut client);
    assert_eq!(client.reconnect().expect("it resumes"), whole(2));
    assert_eq!(text(&mut client), broadcast(4));
    assert_eq!(text(&mut client), broadcast(5));
    expect_end(&mut client);
    assert_eq!(client.reconnect().expect("it resumes"), whole(0));
    thread.join().expect("the server ends");
}

#[test]
fn an_attempt_that_fails_costs_nothing_and_a_gap_is_said() {
    let (address, thread) = server(|listener| {
        let mut page = Page::accept(listener);
        page.greet("OLD", 1, "S1");
        drop(page);
        // Lost before the answer.
        let mut page = Page::accept(listener);
        page.greet("N1", 1, "S8");
        drop(page);
        let mut page = Page::accept(listener);
        page.greet("N2", 7, "S9");
        page.say(&broadcast(8));
        page.resume(
            ["OLD", "S1", "e-1"],
            r#""uuid":"N2","replayed":0,"gap":"restart","cursor":"e-8","resume":"S9""#,
        );
        page.say(&broadcast(9));
        drop(page);
        // A server that keeps nothing.
        let mut page = Page::accept(listener);
        page.say(r#"{"opcode":"ready","uuid":"N3"}"#);
        page.say(r#"{"opcode":"broadcast","cursor":"mine"}"#);
        drop(page);
        let mut page = Page::accept(listener);
        page.greet("N4", 0, "S7");
    });
    let mut client = Client::connect(&address, &resuming()).expect("it connects");
    expect_end(&mut client);
    let lost = client.reconnect().expect_err("it is lost again");
    assert!(!lost.is_final(), "{lost}");
    let gap = |why: &str| Resumed {
        replayed: 0,
        gap: Some(why.to_owned()),
    };
    assert_eq!(client.reconnect().expect("it connects"), gap("restart"));
    assert_eq!(client.uuid(), "N2");
    assert_eq!(text(&mut client), broadcast(8));
    assert_eq!(text(&mut client), broadcast(9));
    expect_end(&mut client);
    for uuid in ["N3", "N4"] {
        assert_eq!(client.reconnect().expect("it connects"), gap("unsupported"));
        assert_eq!(client.uuid(), uuid);
    }
    thread.join().expect("the server ends");
}

#[test]
fn a_position_is_where_a_client_begins() {
    let (address, thread) = server(|listener| {
        let mut page = Page::accept(listener);
        assert_eq!(page.target, "/web?resume=1&since=e-4");
        page.greet("OLD", 4, "S1");
        page.say(&broadcast(5));
        drop(page);
        let mut page = Page::accept(listener);
        assert_eq!(page.target, "/web?resume=1");
        page.greet("NEW", 5, "S2");
        page.resume(
            ["OLD", "S1", "e-5"],
            r#""uuid":"OLD","replayed":0,"gap":null,"cursor":"e-5","resume":"S3""#,
        );
    });
    let settings = ClientSettings {
        since: "e-4".to_owned(),
        resume: false,
        ..resuming()
    };
    let mut client = Client::connect(&address, &settings).expect("it connects");
    assert_eq!(text(&mut client), broadcast(5));
    expect_end(&mut client);
    assert_eq!(client.reconnect().expect("it resumes"), whole(0));
    thread.join().expect("the server ends");
}

#[test]
fn who_listens_comes_back_says_what_came_of_it_and_ends_when_nothing_will() {
    let (address, thread) = server(|listener| {
        let mut page = Page::accept(listener);
        page.greet("OLD", 1, "S1");
        page.say(&broadcast(2));
        page.say(r#"{"opcode":"restart","after":0}"#);
        page.close(1012);
        // Full just now.
        let mut page = Page::accept(listener);
        page.say(r#"{"opcode":"close","error":"Too many connections"}"#);
        page.close(1013);
        let mut page = Page::accept(listener);
        page.greet("NEW", 3, "S9");
        page.resume(
            ["OLD", "S1", "e-2"],
            r#""uuid":"OLD","replayed":1,"gap":null,"cursor":"e-2","resume":"S2""#,
        );
        page.say(&broadcast(3));
        page.say(r#"{"opcode":"gap","gap":"backplane","cursor":"e-9"}"#);
        page.close(1001);
        let mut page = Page::accept(listener);
        page.greet("NEWER", 1, "S8");
        page.resume(
            ["OLD", "S2", "e-9"],
            r#""uuid":"NEWER","replayed":0,"gap":"overflow","cursor":"e-1","resume":"S8""#,
        );
        page.close(4409);
    });
    let mut listen = Command::new(binary());
    listen.args(["listen", "--resume", "--url", &address]);
    let listener = Run::start(listen);
    assert_eq!(listener.wait_exit().code(), Some(1));
    assert_eq!(listener.log_lines(), [broadcast(2), broadcast(3)]);
    let closed = |code: &str| format!("websock: closed by the server: {code} so it is");
    let again = ": connect again in a moment";
    let told = [
        "listening as OLD",
        &(closed("1012") + again),
        "websock: the server refuses: Too many connections",
        "resumed: 1 messages",
        "gap: backplane",
        &(closed("1001") + again),
        "gap: overflow",
        "listening as NEWER",
        &(closed("4409") + ": another connection has resumed in place of this one"),
    ];
    let stderr = listener.stderr();
    assert_eq!(stderr.lines().collect::<Vec<_>>(), told);
    thread.join().expect("the server ends");
}

#[test]
fn what_is_final_is_not_tried_again() {
    let (address, thread) = server(|listener| {
        let mut page = Page::accept(listener);
        page.greet("OLD", 1, "S1");
        page.close(1001);
        let mut page = Page::accept(listener);
        page.say(r#"{"opcode":"close","error":"not signed in"}"#);
        page.close(4401);
    });
    let mut listen = Command::new(binary());
    listen.args(["listen", "--resume", "--url", &address]);
    let listener = Run::start(listen);
    assert_eq!(listener.wait_exit().code(), Some(1));
    listener.wait_for_stderr("websock: the server refuses: not signed in");
    thread.join().expect("the server ends");
    let output = Command::new(binary())
        .args(["listen", "--resume", "--raw"])
        .output();
    let output = output.expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("--raw for others"), "{told}");
}

//! The library's client and the subcommands built on it, against the real server, against any
//! WebSocket server, and against servers that get it wrong.

mod coming_back;
mod commands;
#[expect(
    dead_code,
    unused_imports,
    reason = "the harness has what the server suite needs as well"
)]
#[path = "../server/harness/mod.rs"]
mod harness;
mod line;
mod receipts;
mod resume;
mod tls;
mod under_load;
mod wrong_servers;

use std::time::Duration;

use harness::Server;
use websock::client::{Client, ClientSettings, Dialogue, Error, Message};

/// What this suite speaks below WebSocket.
const WIRE: harness::Wire = harness::Wire::Plain;

fn address(server: &Server, path: &str) -> String {
    format!("ws://{}{path}", server.address())
}

#[track_caller]
fn text(client: &mut Client) -> String {
    match client.receive(Some(Duration::from_secs(10))) {
        Ok(Some(Message::Text(text))) => text,
        other => panic!("expected a text, got {other:?}"),
    }
}

#[test]
fn pages_and_scripts_reach_each_other() {
    let server = Server::start("");
    let mut settings = ClientSettings::page();
    settings.ident = "page".to_owned();
    let mut page = Client::connect(&address(&server, "/web"), &settings).expect("it connects");
    let mut script =
        Client::connect(&address(&server, "/php"), &ClientSettings::script()).expect("it connects");
    assert_eq!(page.uuid().len(), 36);
    let packets = [
        r#"{"opcode":"feedback","ident":"page","n":1.50}"#.to_owned(),
        format!(r#"{{"opcode":"feedback","uuid":"{}"}}"#, page.uuid()),
        r#"{"opcode":"broadcast","message":"all"}"#.to_owned(),
    ];
    for packet in &packets {
        script.send(packet).expect("it is taken");
        assert_eq!(text(&mut page), *packet);
    }
    page.send(r#"{"opcode":"echo"}"#).expect("it is taken");
    assert_eq!(text(&mut page), r#"{"opcode":"echo"}"#);
    page.close().expect("an orderly end");
    script.close().expect("an orderly end");
}

#[test]
fn what_arrives_while_next_is_awaited_is_kept_in_order() {
    let server = Server::start("");
    let mut settings = ClientSettings::page();
    settings.ident = "me".to_owned();
    let mut client = Client::connect(&address(&server, "/web"), &settings).expect("it connects");
    for number in 0..1000 {
        let packet = format!(r#"{{"opcode":"feedback","ident":"me","n":{number}}}"#);
        client.send(&packet).expect("it is taken");
    }
    for number in 0..1000 {
        let packet = format!(r#"{{"opcode":"feedback","ident":"me","n":{number}}}"#);
        assert_eq!(text(&mut client), packet);
    }
    let silence = client.receive(Some(Duration::from_millis(20)));
    assert_eq!(silence.expect("it stays"), None);
}

#[test]
fn pings_are_answered_while_waiting_and_long_messages_come_whole() {
    let server = Server::start("pingInterval=200ms\npongTimeout=3");
    let mut client =
        Client::connect(&address(&server, "/web"), &ClientSettings::page()).expect("it connects");
    // Longer than the server would wait for a pong.
    let silence = client.receive(Some(Duration::from_millis(3500)));
    assert_eq!(silence.expect("it stays"), None);
    let long = format!(r#"{{"opcode":"echo","pad":"{}"}}"#, "é".repeat(2_000_000));
    client.send(&long).expect("it is taken");
    assert!(text(&mut client) == long, "the long message differs");
}

#[test]
fn refusals_and_closes_say_why() {
    let server = Server::start("pushToken=0123456789abcdef\nmaxPerIP=1");
    let connect =
        |path: &str, settings: &ClientSettings| Client::connect(&address(&server, path), settings);
    let refused = connect("/php", &ClientSettings::script()).expect_err("no token");
    assert!(matches!(refused, Error::Status(401, _)), "{refused}");
    let mut with_token = ClientSettings::script();
    with_token.token = "0123456789abcdef".to_owned();
    connect("/php", &with_token).expect("it connects");
    let refused = connect("/nope", &ClientSettings::page()).expect_err("no resource");
    assert_eq!(refused.to_string(), "the server refuses: no resource /nope");
    let mut first = connect("/web", &ClientSettings::page()).expect("it connects");
    let refused = connect("/web", &ClientSettings::page()).expect_err("the place is taken");
    assert!(
        refused.to_string().contains("Too many connections from"),
        "{refused}"
    );
    first.send("no JSON").expect("next comes first");
    let closed = first
        .receive(Some(Duration::from_secs(10)))
        .expect_err("it is closed");
    assert!(
        matches!(&closed, Error::Closed { code: 1007, .. }),
        "{closed}"
    );
}

#[test]
fn raw_clients_talk_to_any_websocket_server() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("ws://{}/any?x", listener.local_addr().expect("it is bound"));
    let other = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        let mut peer = tungstenite::accept(stream).expect("a handshake");
        while let Ok(message) = peer.read() {
            if !message.is_close() && peer.send(message).is_err() {
                return;
            }
        }
    });
    let settings = ClientSettings {
        dialogue: Dialogue::None,
        ..ClientSettings::page()
    };
    let mut client = Client::connect(&address, &settings).expect("it connects");
    for len in [0, 125, 126, 65_535, 65_536, 300_000] {
        let message = "x".repeat(len);
        client.send(&message).expect("it is sent");
        assert!(text(&mut client) == message, "{len} bytes differ");
    }
    client.close().expect("an orderly end");
    other.join().expect("the other server ends");
}

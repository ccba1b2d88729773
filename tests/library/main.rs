//! The library as a program of one's own uses it: from the crate's root, with a handle in another
//! thread.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use websock::client::{self, ClientSettings};
use websock::{
    Client, ClientRequest, Endpoint, Handle, HandleError, PushError, Resource, Security, Server,
    ServerHandle, ServerSettings, Standard,
};

/// Tells each client what its request said.
struct Mirror;

impl Resource for Mirror {
    fn on_open(&mut self, _: Client, request: &ClientRequest<'_>, handle: &mut Handle<'_>) {
        let address = request.address().expect("it came by TCP");
        let header = request.header("Origin").unwrap_or("none");
        let (path, query) = (request.path(), request.query());
        let said = format!("{address} {path} {query} {header}");
        handle.reply(&format!(r#"{{"opcode":"mirror","said":"{said}"}}"#));
    }
}

/// A server in a thread of its own, with what stops it.
fn start() -> (SocketAddr, ServerHandle, JoinHandle<()>) {
    let (told, tells) = mpsc::channel();
    let thread = thread::spawn(move || {
        let endpoint = Endpoint::tcp("127.0.0.1", 0, Security::Plain);
        let mut server = Server::bind(ServerSettings::default(), &[endpoint]).expect("a free port");
        server.add_resource(Some("/web"), Box::new(Standard::new()));
        server.add_resource(Some("/mirror"), Box::new(Mirror));
        let address = server.addresses()[0];
        told.send((address, server.handle()))
            .expect("somebody waits");
        server.run().expect("it runs");
    });
    let (address, handle) = tells.recv().expect("it has started");
    (address, handle, thread)
}

#[test]
fn another_thread_pushes_and_learns_whom_it_has_reached_and_stops_the_server() {
    let (address, handle, thread) = start();
    let url = format!("ws://{address}/web");
    let mut page = client::Client::connect(&url, &ClientSettings::page()).expect("it is let in");
    let packet = format!(r#"{{"opcode":"feedback","uuid":"{}","n":1}}"#, page.uuid());
    assert_eq!(handle.push(packet.clone()), Ok(1));
    let heard = page
        .receive(Some(Duration::from_secs(10)))
        .expect("it is there");
    let heard = heard.expect("something has come");
    assert_eq!(heard, client::Message::Text(packet));
    assert_eq!(handle.push(r#"{"opcode":"broadcast"}"#), Ok(1));
    for (packet, error) in [
        (
            r#"{"opcode":"feedback","uuid":"nobody"}"#,
            PushError::Nobody,
        ),
        (r#"{"opcode":"feedback"}"#, PushError::NoReceiver),
        (r#"{"opcode":"echo"}"#, PushError::Opcode),
    ] {
        assert_eq!(handle.push(packet), Err(HandleError::Push(error)));
    }
    handle.stop().expect("it runs");
    thread.join().expect("it ends well");
    assert_eq!(handle.push("{}"), Err(HandleError::Stopped));
    assert_eq!(handle.stop(), Err(HandleError::Stopped));
}

#[test]
fn a_resource_sees_where_a_client_is_and_what_it_asked_for() {
    let (address, handle, thread) = start();
    let url = format!("ws://{address}/mirror?room=7");
    let settings = ClientSettings {
        origin: "https://shop.example".to_owned(),
        ..ClientSettings::page()
    };
    let mut page = client::Client::connect(&url, &settings).expect("it is let in");
    let heard = page
        .receive(Some(Duration::from_secs(10)))
        .expect("it is there");
    let Some(client::Message::Text(text)) = heard else {
        panic!("{heard:?}");
    };
    let expected = "127.0.0.1 /mirror room=7 https://shop.example";
    assert!(text.contains(expected), "{text}");
    handle.stop().expect("it runs");
    thread.join().expect("it ends well");
}

#[test]
fn a_start_that_fails_reads_well_from_main() {
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = occupied.local_addr().expect("it has one").port();
    let endpoint = Endpoint::tcp("127.0.0.1", port, Security::Plain);
    let error = Server::bind(ServerSettings::default(), &[endpoint]).err();
    let error = error.expect("the port is in use");
    assert_eq!(format!("{error:?}"), error.to_string());
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}

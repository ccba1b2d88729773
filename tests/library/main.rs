//! The library as a program of one's own uses it: from the crate's root, with a handle in another
//! thread.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use websock::client::{self, ClientSettings};
use websock::{
    Client, ClientRequest, Endpoint, Handle, HandleError, Message, PushError, Resource, Security,
    Server, ServerHandle, ServerSettings, SignInSettings, Standard, TokenKey,
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

/// Tells all tabs of a client's user who has come and gone; at a word it logs them out.
struct Desk {
    gone: mpsc::Sender<(Option<String>, usize)>,
}

impl Resource for Desk {
    fn on_open(&mut self, client: Client, _: &ClientRequest<'_>, handle: &mut Handle<'_>) {
        let Some(user) = handle.user(client.id).map(str::to_owned) else {
            return handle.reply(r#"{"opcode":"nobody"}"#);
        };
        let count = handle.feedback_to_user(&user, r#"{"opcode":"another"}"#);
        handle.reply(&format!(
            r#"{{"opcode":"tabs","user":"{user}","count":{count}}}"#
        ));
    }

    fn on_data(&mut self, client: Client, _: &Message<'_>, handle: &mut Handle<'_>) {
        let user = handle.user(client.id).unwrap_or_default().to_owned();
        let count = handle.log_out(&user);
        self.tell(Some(user), count);
    }

    fn on_close(&mut self, client: Client, handle: &mut Handle<'_>) {
        let user = handle.user(client.id).map(str::to_owned);
        let left = handle.feedback_to_user(user.as_deref().unwrap_or_default(), "{}");
        self.tell(user, left);
    }
}

impl Desk {
    fn tell(&self, user: Option<String>, count: usize) {
        // At the end of the test, nobody listens any more.
        let _ = self.gone.send((user, count));
    }
}

/// A server in a thread of its own, with what stops it.
fn start() -> (SocketAddr, ServerHandle, JoinHandle<()>) {
    start_with(ServerSettings::default(), mpsc::channel().0)
}

fn start_with(
    settings: ServerSettings,
    gone: mpsc::Sender<(Option<String>, usize)>,
) -> (SocketAddr, ServerHandle, JoinHandle<()>) {
    let (told, tells) = mpsc::channel();
    let thread = thread::spawn(move || {
        let endpoint = Endpoint::tcp("127.0.0.1", 0, Security::Plain);
        let mut server = Server::bind(settings, &[endpoint]).expect("a free port");
        server.add_resource(Some("/web"), Box::new(Standard::new()));
        server.add_resource(Some("/mirror"), Box::new(Mirror));
        server.add_resource(Some("/desk"), Box::new(Desk { gone }));
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

/// The next packet, if it is a text.
#[track_caller]
fn heard(page: &mut client::Client) -> String {
    match page.receive(Some(Duration::from_secs(10))) {
        Ok(Some(client::Message::Text(text))) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_resource_knows_users_reaches_all_their_tabs_and_logs_them_out() {
    let secret = "a secret of thirty-two bytes or more";
    let settings = ServerSettings {
        sign_in: SignInSettings {
            token_key: TokenKey::secret(secret.as_bytes()).ok(),
            ..SignInSettings::default()
        },
        ..ServerSettings::default()
    };
    let (told, gone) = mpsc::channel();
    let (address, handle, thread) = start_with(settings, told);
    let url = format!("ws://{address}/desk?user=1");
    // {"sub":"42","exp":4102444800,"aud":"websock"}
    let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
        eyJzdWIiOiI0MiIsImV4cCI6NDEwMjQ0NDgwMCwiYXVkIjoid2Vic29jayJ9.\
        2HTyoUyDqc3AsFiZMj4gt7jsZFxRWVR4DuKfcErdNqQ";
    let page = ClientSettings {
        cookie: format!("websock_token={token}"),
        ..ClientSettings::page()
    };
    let open =
        |settings: &ClientSettings| client::Client::connect(&url, settings).expect("it is let in");
    let another = r#"{"opcode":"another"}"#;
    let mut tabs = [open(&page), open(&page)];
    assert_eq!(tabs[0].user(), Some("42"));
    assert_eq!(heard(&mut tabs[0]), another);
    assert_eq!(
        heard(&mut tabs[0]),
        r#"{"opcode":"tabs","user":"42","count":1}"#
    );
    assert_eq!(heard(&mut tabs[0]), another);
    assert_eq!(heard(&mut tabs[1]), another);
    assert_eq!(
        heard(&mut tabs[1]),
        r#"{"opcode":"tabs","user":"42","count":2}"#
    );
    let mut anonymous = open(&ClientSettings::page());
    assert_eq!(anonymous.user(), None);
    assert_eq!(heard(&mut anonymous), r#"{"opcode":"nobody"}"#);
    assert_eq!(handle.push(r#"{"opcode":"feedback","user":42}"#), Ok(2));
    for packet in [
        r#"{"opcode":"feedback","user":"7"}"#,
        r#"{"opcode":"logout"}"#,
    ] {
        let error = match packet.contains("logout") {
            true => PushError::NoLogout,
            false => PushError::NoTab,
        };
        assert_eq!(handle.push(packet), Err(HandleError::Push(error)));
    }
    assert_eq!(handle.push(r#"{"opcode":"logout","user":"7"}"#), Ok(0));

    // The server may close before the `next` of this has been read.
    let _ = tabs[1].send(r#"{"opcode":"log out"}"#);
    for tab in &mut tabs {
        while tab.receive(Some(Duration::from_secs(10))).is_ok() {}
    }
    let user = Some("42".to_owned());
    let mut told = [(); 3].map(|()| gone.recv_timeout(Duration::from_secs(10)).ok());
    told.sort();
    // The logout, and two who have gone, whom nobody can be told of any more.
    assert_eq!(
        told,
        [(user.clone(), 0), (user.clone(), 0), (user, 2)].map(Some)
    );
    assert_eq!(
        handle.push(r#"{"opcode":"feedback","user":42}"#),
        Err(HandleError::Push(PushError::NoTab))
    );
    // Nobody is left who would have to answer a close frame.
    drop((tabs, anonymous));
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

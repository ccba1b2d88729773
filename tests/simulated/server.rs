//! The real event loop on a [`SimulatedSystem`], and clients of it.

use std::net::IpAddr;
use std::time::Duration;

use websock::app::peer::ListenerRole;
use websock::app::{App, Client as ClientOf, Dialogue, Handle, Resource, Standard};
use websock::connection::Message;
use websock::net::event_loop::EventLoop;
use websock::net::proxy_headers::ProxyHeaders;
use websock::net::{ListenerOptions, ProxyProtocol, Security, ServerSettings};

use crate::client::{self, CLOSE, PING, PONG, Reader, TEXT};
use crate::codec::Codec;
use crate::system::{FarEnd, SimulatedSystem};

/// A server with one plain listener, the built-in resources, and an echo without dialogue.
pub(crate) struct Server {
    pub(crate) system: SimulatedSystem,
    pub(crate) event_loop: EventLoop<SimulatedSystem>,
}

/// Sends back whatever comes.
struct Echo;

impl Resource for Echo {
    fn dialogue(&self) -> Dialogue {
        Dialogue::None
    }

    fn on_data(&mut self, _client: ClientOf, _message: &Message<'_>, handle: &mut Handle<'_>) {
        handle.echo();
    }
}

/// The shipped settings; scripts may come from loopback and from 203.0.113.0/24.
pub(crate) fn settings() -> ServerSettings {
    let mut settings = ServerSettings::default();
    let networks = ["127.0.0.0/8", "203.0.113.0/24"];
    settings.admission.allowed_ip = networks.map(|n| n.parse().unwrap()).to_vec();
    settings
}

impl Server {
    pub(crate) fn new(settings: &ServerSettings) -> Self {
        let resources: [(&str, Box<dyn Resource>); 4] = [
            ("/", Box::new(Standard::root())),
            ("/web", Box::new(Standard::new())),
            ("/php", Box::new(Standard::new())),
            ("/echo", Box::new(Echo)),
        ];
        Self::with_resources(settings, resources)
    }

    pub(crate) fn with_resources(
        settings: &ServerSettings,
        resources: impl IntoIterator<Item = (&'static str, Box<dyn Resource>)>,
    ) -> Self {
        let system = SimulatedSystem::new(1);
        let options = ListenerOptions {
            security: Security::Plain,
            role: ListenerRole::All,
            proxy_protocol: ProxyProtocol::None,
        };
        let mut event_loop = EventLoop::new(
            system.clone(),
            vec![options],
            settings.event_loop(),
            App::new(settings.app(), || Duration::from_secs(1_800_000_000)),
            ProxyHeaders::default(),
        );
        for (path, resource) in resources {
            event_loop.app_mut().add_resource(Some(path), resource);
        }
        Self { system, event_loop }
    }

    // ---- time

    pub(crate) fn turn(&mut self) {
        self.event_loop.turn().unwrap();
    }

    /// Turns for as long as there is something to do without waiting. Panics if that has no end:
    /// then the loop would keep a processor busy.
    #[track_caller]
    pub(crate) fn settle(&mut self) {
        for _ in 0..MOST_TURNS {
            let is_idle = self.event_loop.next_wait() != Some(Duration::ZERO);
            if is_idle && !self.system.is_ready() {
                return;
            }
            self.turn();
        }
        panic!("the loop does not come to rest");
    }

    /// Lets the time pass as it does for a real loop: it is woken when it has asked for it.
    #[track_caller]
    pub(crate) fn advance(&mut self, by: Duration) {
        self.settle();
        let end = self.system.time() + by;
        self.system.let_sleep_until(end);
        for _ in 0..MOST_TURNS {
            if self.system.time() >= end {
                return self.settle();
            }
            self.turn();
        }
        panic!("the loop does not sleep");
    }

    // ---- those who come

    /// Somebody who has connected and said nothing.
    pub(crate) fn connect(&self, ip: &str) -> FarEnd {
        self.connect_with(ip, 1 << 20)
    }

    /// The same, to whom no more bytes can be on their way.
    pub(crate) fn connect_with(&self, ip: &str, capacity: usize) -> FarEnd {
        let ip: IpAddr = ip.parse().unwrap();
        self.system.connect(0, ip, capacity)
    }

    /// A web client of the dialogue.
    #[track_caller]
    pub(crate) fn open(&mut self, ip: &str) -> Client {
        self.open_at("/web", "", ip)
    }

    /// A web client that compresses.
    #[track_caller]
    pub(crate) fn open_compressed(&mut self, ip: &str) -> Client {
        let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        let client = self.open_at("/web", offer, ip);
        assert!(client.codec.is_some(), "compression is off");
        client
    }

    /// A script.
    #[track_caller]
    pub(crate) fn open_php(&mut self, ident: &str, ip: &str) -> Client {
        let headers = format!("Client-Type: php\r\nIdent: {ident}\r\n");
        self.open_at("/php", &headers, ip)
    }

    #[track_caller]
    pub(crate) fn open_at(&mut self, path: &str, headers: &str, ip: &str) -> Client {
        let end = self.connect(ip);
        self.open_on(end, path, headers)
    }

    /// The handshake, up to `ready` where there is one.
    #[track_caller]
    pub(crate) fn open_on(&mut self, end: FarEnd, path: &str, headers: &str) -> Client {
        let mut client = Client::new(end);
        client.end.send(&request_to(path, headers));
        self.settle();
        let heard = client.heard();
        assert_eq!(
            client.reader.said.status(),
            101,
            "{}",
            client.reader.said.head
        );
        if path != "/echo" {
            assert!(heard[0].starts_with(r#"{"opcode":"ready""#), "{heard:?}");
        }
        client
    }

    /// What an HTTP request is answered, first line to body.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: &str, ip: &str) -> String {
        let end = self.connect(ip);
        end.offer(request.as_bytes());
        self.settle();
        String::from_utf8(end.take(usize::MAX)).unwrap()
    }
}

/// A good opening request.
pub(crate) fn request_to(path: &str, headers: &str) -> Vec<u8> {
    let request = String::from_utf8(client::request(headers)).unwrap();
    request.replacen("/chat", path, 1).into_bytes()
}

/// A push of one body.
pub(crate) fn push(body: &str) -> String {
    let len = body.len();
    format!(
        "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {len}\r\n\r\n{body}"
    )
}

/// A client, and what it has been told.
pub(crate) struct Client {
    pub(crate) end: FarEnd,
    pub(crate) codec: Option<Codec>,
    reader: Reader,
    heard_count: usize,
}

impl Client {
    pub(crate) fn new(end: FarEnd) -> Self {
        Self {
            end,
            codec: None,
            reader: Reader::default(),
            heard_count: 0,
        }
    }

    /// Takes what has come, and tells what is new: texts without padding, `ping`, `pong PAYLOAD`,
    /// `close CODE`.
    #[track_caller]
    pub(crate) fn heard(&mut self) -> Vec<String> {
        self.take(usize::MAX);
        let frames = &self.reader.said.frames[self.heard_count..];
        self.heard_count += frames.len();
        let codec = &mut self.codec;
        let heard = frames.iter().map(|frame| match frame.opcode {
            TEXT if frame.is_compressed => codec.as_mut().unwrap().inflate(&frame.payload),
            PING => "ping".to_owned(),
            PONG => format!("pong {}", String::from_utf8_lossy(&frame.payload)),
            CLOSE => format!("close {}", frame.close_code().unwrap_or(1005)),
            _ => String::from_utf8_lossy(&frame.payload)
                .trim_end()
                .to_owned(),
        });
        heard.collect()
    }

    /// Takes at most so many bytes of what has come.
    #[track_caller]
    pub(crate) fn take(&mut self, most: usize) {
        let bytes = self.end.take(most);
        self.reader.read(&bytes);
        if self.codec.is_none() && self.reader.said.status() == 101 {
            self.codec = Codec::of(&self.reader.said.head);
        }
    }

    /// Sends a text.
    #[track_caller]
    pub(crate) fn say(&self, text: &str) {
        self.end.send(&client::text(text));
    }

    /// A text frame as this client makes it.
    pub(crate) fn frame_of(&mut self, text: &str) -> Vec<u8> {
        match &mut self.codec {
            Some(codec) => {
                let payload = codec.deflate(text);
                client::frame_with(0xC0 | TEXT, client::MASK, &payload)
            }
            None => client::text(text),
        }
    }
}

/// What answers every message of the dialogue.
pub(crate) const NEXT: &str = r#"{"opcode":"next","fyi":""}"#;

/// More turns than any work here takes.
const MOST_TURNS: usize = 20_000;

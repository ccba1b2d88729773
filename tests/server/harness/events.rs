//! A reader of `text/event-stream`, by the HTML Standard §9.2.6, and what its page sends.

use super::http::Response;
use super::{Conn, Server, connect, unique_number};

/// One event, or a comment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Empty: `message`.
    pub(crate) name: String,
    /// The last `id`, if this event has one.
    pub(crate) id: Option<String>,
    /// `None`: nothing that a page sees.
    pub(crate) data: Option<String>,
    pub(crate) retry: Option<u64>,
}

/// A stream that is read.
pub(crate) struct Events {
    pub(crate) conn: Conn,
    pub(crate) head: Response,
    pub(crate) uuid: String,
    pub(crate) secret: String,
    pub(crate) ready: String,
}

/// A request for a stream with these further header lines, as a program sends it.
pub(crate) fn request(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

/// What an `EventSource` sends.
pub(crate) const EVENT_SOURCE: &str = "Accept: text/event-stream\r\nCache-Control: no-cache\r\n";

impl Events {
    /// Opens a stream and reads `ready`.
    #[track_caller]
    pub(crate) fn open(server: &Server, target: &str, headers: &str) -> Self {
        Self::begin(connect(server), &request(target, headers))
    }

    /// Sends a request and reads head and `ready`.
    #[track_caller]
    pub(crate) fn begin(mut conn: Conn, request: &str) -> Self {
        conn.send_bytes(request.as_bytes());
        let head = conn.read_head();
        assert_eq!(head.status(), 200, "{head:?}");
        let mut events = Self {
            conn,
            head,
            uuid: String::new(),
            secret: String::new(),
            ready: String::new(),
        };
        let retry = events.read().retry;
        assert!(
            retry.is_some_and(|ms| (1000..=4000).contains(&ms)),
            "{retry:?}"
        );
        let ready = events.read();
        assert_eq!(ready.name, "");
        let text = ready.data.expect("ready");
        let value: serde_json::Value = serde_json::from_str(&text).expect("ready is JSON");
        assert_eq!(value["opcode"], "ready", "{text}");
        let of = |key: &str| value[key].as_str().expect(key).to_owned();
        (events.uuid, events.secret) = (of("uuid"), of("send"));
        assert_eq!(events.uuid.len(), 36, "{text}");
        events.ready = text;
        events
    }

    /// The next event or comment.
    #[track_caller]
    pub(crate) fn read(&mut self) -> Event {
        let block = self.conn.read_through(b"\n\n", "an event");
        parse(&block)
    }

    /// The next event; comments in front of it mean nothing.
    #[track_caller]
    pub(crate) fn read_event(&mut self) -> Event {
        loop {
            let event = self.read();
            if event != Event::default() {
                return event;
            }
        }
    }

    /// The text of the next message; comments in front of it mean nothing.
    #[track_caller]
    pub(crate) fn read_text(&mut self, what: &str) -> String {
        let event = self.read_event();
        let data = event.data.expect(what);
        assert_eq!(event.name, "", "expected {what}, got {data}");
        data
    }

    #[track_caller]
    pub(crate) fn expect_text(&mut self, expected: &str) {
        assert_eq!(self.read_text(expected), expected);
    }

    /// The event of a close frame, and the end of the stream.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16, reason: &str) {
        let event = self.read_event();
        let reason = serde_json::Value::from(reason);
        let data = format!("{{\"code\":{code},\"reason\":{reason}}}");
        assert_eq!((&*event.name, event.data), ("close", Some(data)));
        self.conn.shut_down_write();
        self.conn.expect_end();
    }

    /// Sends a message for this stream.
    #[track_caller]
    pub(crate) fn send(&self, server: &Server, message: &str) -> Response {
        post(server, &body(&self.uuid, &self.secret, message), "")
    }

    /// As [`Conn::round_trip`]: shows that nothing else had been sent to this stream.
    #[track_caller]
    pub(crate) fn round_trip(&mut self, server: &Server) {
        let packet = format!(r#"{{"opcode":"echo","probe":{}}}"#, unique_number());
        assert_eq!(self.send(server, &packet).status(), 204);
        self.expect_text(super::client::NEXT);
        self.expect_text(&packet);
    }
}

/// The body of a message that is sent for a stream.
pub(crate) fn body(uuid: &str, secret: &str, message: &str) -> String {
    serde_json::json!({"uuid": uuid, "secret": secret, "message": message}).to_string()
}

/// Sends a body to `/send`, with these further header lines.
#[track_caller]
pub(crate) fn post(server: &Server, body: &str, headers: &str) -> Response {
    post_by(connect(server), body, headers)
}

/// The same on this connection.
#[track_caller]
pub(crate) fn post_by(mut conn: Conn, body: &str, headers: &str) -> Response {
    conn.send_bytes(post_request(body, headers).as_bytes());
    conn.read_response()
}

pub(crate) fn post_request(body: &str, headers: &str) -> String {
    format!(
        "POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// One block of lines, its empty line included. All three kinds of line ends count.
#[track_caller]
pub(crate) fn parse(block: &[u8]) -> Event {
    let text = std::str::from_utf8(block).expect("events are UTF-8");
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut event = Event::default();
    for line in text.trim_end_matches('\n').split('\n') {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => {}
            "event" => event.name = value.to_owned(),
            "id" => event.id = Some(value.to_owned()),
            "retry" => event.retry = Some(value.parse().expect("a number")),
            "data" => match &mut event.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => event.data = Some(value.to_owned()),
            },
            _ => panic!("an unknown field: {line:?}"),
        }
    }
    event
}

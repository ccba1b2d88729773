//! A blocking client: exactly what a test says goes out, one frame at a time comes in.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::SockRef;

use super::frame::{self, BINARY, CLOSE, FIN, Frame, PING, PONG, TEXT};
use super::http::{Request, Response, accept_of};
use super::{PATIENCE, readable, unique_number};

/// The frame that follows each message (protocol.md 2.2).
pub(crate) const NEXT: &str = r#"{"opcode":"next","fyi":""}"#;

/// A stream of bytes: TCP, TLS over it, or a Unix socket.
pub(crate) trait Transport: Send {
    /// Some bytes; 0 is the end of the stream.
    fn read_until(&mut self, deadline: Instant, buffer: &mut [u8]) -> io::Result<usize>;
    /// All of `bytes`.
    fn write_until(&mut self, deadline: Instant, bytes: &[u8]) -> io::Result<()>;
    /// As much of `bytes` as goes without waiting; may be 0.
    fn write_available(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Ends our direction, and only it.
    fn shut_down_write(&mut self) -> io::Result<()>;
    /// Ends with a reset, as a client that dies.
    fn reset(self: Box<Self>);
    fn local_addr(&self) -> SocketAddr;
}

impl Transport for TcpStream {
    fn read_until(&mut self, deadline: Instant, buffer: &mut [u8]) -> io::Result<usize> {
        self.set_read_timeout(Some(left(deadline)?))?;
        self.read(buffer)
    }

    fn write_until(&mut self, deadline: Instant, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.set_write_timeout(Some(left(deadline)?))?;
            let written = self.write(bytes)?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    fn write_available(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.set_nonblocking(true)?;
        let written = match self.write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            other => other,
        };
        self.set_nonblocking(false)?;
        written
    }

    fn shut_down_write(&mut self) -> io::Result<()> {
        self.shutdown(std::net::Shutdown::Write)
    }

    fn reset(self: Box<Self>) {
        let lingering = SockRef::from(&*self).set_linger(Some(Duration::ZERO));
        lingering.expect("SO_LINGER can be set");
    }

    fn local_addr(&self) -> SocketAddr {
        Self::local_addr(self).expect("a connected socket has an address")
    }
}

impl Transport for UnixStream {
    fn read_until(&mut self, deadline: Instant, buffer: &mut [u8]) -> io::Result<usize> {
        self.set_read_timeout(Some(left(deadline)?))?;
        self.read(buffer)
    }

    fn write_until(&mut self, deadline: Instant, bytes: &[u8]) -> io::Result<()> {
        self.set_write_timeout(Some(left(deadline)?))?;
        self.write_all(bytes)
    }

    fn write_available(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }

    fn shut_down_write(&mut self) -> io::Result<()> {
        self.shutdown(std::net::Shutdown::Write)
    }

    fn reset(self: Box<Self>) {}

    fn local_addr(&self) -> SocketAddr {
        panic!("a Unix socket has no address")
    }
}

/// What is left until `deadline`; an error once it has passed.
pub(crate) fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// Whether text frames end in blanks that are no part of the message (protocol.md 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Padding {
    None,
    Blanks,
}

/// One end of a connection.
pub(crate) struct Conn {
    transport: Box<dyn Transport>,
    /// Read from the transport, not yet asked for.
    unread: Vec<u8>,
    padding: Padding,
    /// Pings are answered when they are read, and not shown.
    answers_pings: bool,
    /// What `ready` said; empty before it.
    pub(crate) uuid: String,
}

/// Bytes out.
impl Conn {
    pub(crate) fn new(transport: Box<dyn Transport>) -> Self {
        Self {
            transport,
            unread: Vec::new(),
            padding: Padding::None,
            answers_pings: false,
            uuid: String::new(),
        }
    }

    /// From now on pings are answered when they are read, and not shown: they may come between any
    /// two frames.
    pub(crate) fn answer_pings(&mut self) {
        self.answers_pings = true;
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.transport.local_addr()
    }

    #[track_caller]
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        if let Err(error) = self.try_send_bytes(bytes) {
            panic!("the server did not take {}: {error}", readable(bytes));
        }
    }

    /// For bytes to a server that may have closed already.
    pub(crate) fn try_send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        self.transport.write_until(deadline, bytes)
    }

    /// As much as goes without waiting.
    pub(crate) fn send_available(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.transport.write_available(bytes)
    }

    #[track_caller]
    pub(crate) fn send_text(&mut self, message: &str) {
        self.send_bytes(&frame::text(message));
    }

    #[track_caller]
    pub(crate) fn send_binary(&mut self, message: &[u8]) {
        self.send_bytes(&frame::masked(FIN | BINARY, message));
    }

    #[track_caller]
    pub(crate) fn send_ping(&mut self, payload: &[u8]) {
        self.send_bytes(&frame::masked(FIN | PING, payload));
    }

    #[track_caller]
    pub(crate) fn send_pong(&mut self, payload: &[u8]) {
        self.send_bytes(&frame::masked(FIN | PONG, payload));
    }

    #[track_caller]
    pub(crate) fn send_close(&mut self, code: u16, reason: &str) {
        let payload = frame::close_payload(code, reason.as_bytes());
        self.send_bytes(&frame::masked(FIN | CLOSE, &payload));
    }

    /// Ends our direction; harmless if the server has ended the connection already.
    pub(crate) fn shut_down_write(&mut self) {
        let _ = self.transport.shut_down_write();
    }

    /// Dies: the server sees a reset.
    pub(crate) fn reset(self) {
        self.transport.reset();
    }
}

/// Upgrade.
impl Conn {
    /// Sends the request and reads the whole answer, whatever it is.
    #[track_caller]
    pub(crate) fn request(&mut self, request: &Request) -> Response {
        self.send_bytes(&request.bytes());
        self.read_response()
    }

    /// Sends the request and reads a correct 101, but nothing behind it.
    #[track_caller]
    pub(crate) fn upgrade(&mut self, request: &Request) -> Response {
        if request.is_php() {
            self.padding = Padding::Blanks;
        }
        let response = self.request(request);
        assert_eq!(response.status(), 101, "{response:?}");
        let key = request
            .headers
            .iter()
            .rfind(|(n, _)| n.eq_ignore_ascii_case("sec-websocket-key"));
        let accept = accept_of(&key.expect("a request to upgrade has a key").1);
        assert_eq!(
            response.header("Sec-WebSocket-Accept"),
            Some(accept.as_str())
        );
        response
    }

    /// Sends the request and reads 101 and `ready`.
    #[track_caller]
    pub(crate) fn open(mut self, request: &Request) -> Self {
        self.upgrade(request);
        self.expect_ready();
        self
    }

    /// The first bytes of an answer, which stay to be read; none if the connection ends first.
    pub(crate) fn wait_for_answer(&mut self) -> &[u8] {
        let deadline = Instant::now() + PATIENCE;
        while self.unread.len() < 16 && self.fill(deadline).is_ok_and(|count| count > 0) {}
        &self.unread
    }

    /// Whether the server has sent something, after a moment's wait for it.
    pub(crate) fn has_answer(&mut self) -> bool {
        let moment = Instant::now() + Duration::from_millis(1);
        !self.unread.is_empty() || self.fill(moment).is_ok_and(|count| count > 0)
    }

    /// A response head, and its body by Content-Length unless it is a 101 or 204.
    #[track_caller]
    pub(crate) fn read_response(&mut self) -> Response {
        let head_len = loop {
            let end = self.unread.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
            self.fetch("a response head");
        };
        let head: Vec<u8> = self.unread.drain(..head_len).collect();
        let mut response = Response::parse(&head);
        if matches!(response.status(), 101 | 204) {
            return response;
        }
        let len = response.header("Content-Length");
        let len = len.unwrap_or_else(|| panic!("no Content-Length: {response:?}"));
        let len: usize = len.parse().expect("Content-Length is a number");
        while self.unread.len() < len {
            self.fetch("the body of a response");
        }
        let body = self.unread.drain(..len).collect();
        response.body = String::from_utf8(body).expect("a body in UTF-8");
        response
    }
}

/// Streams of events in.
impl Conn {
    /// A response head, and nothing behind it.
    #[track_caller]
    pub(crate) fn read_head(&mut self) -> Response {
        Response::parse(&self.read_through(b"\r\n\r\n", "a response head"))
    }

    /// Everything up to `end` and with it.
    #[track_caller]
    pub(crate) fn read_through(&mut self, end: &[u8], what: &str) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        let mut searched = 0;
        loop {
            let rest = &self.unread[searched..];
            let found = rest.windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                return self.unread.drain(..searched + at + end.len()).collect();
            }
            searched = self.unread.len().saturating_sub(end.len());
            self.fetch_until(deadline, what);
        }
    }
}

/// Frames in.
impl Conn {
    /// The next frame, of any kind. Panics if there is none or the server must not send it.
    #[track_caller]
    pub(crate) fn read_frame(&mut self) -> Frame {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(frame) = frame::read(&self.unread) {
                self.unread.drain(..frame.wire_len);
                if self.answers_pings && frame.opcode == PING {
                    self.send_pong(&frame.payload);
                    continue;
                }
                return frame;
            }
            self.fetch_until(deadline, "a frame");
        }
    }

    /// Exactly these bytes come next.
    #[track_caller]
    pub(crate) fn expect_bytes(&mut self, expected: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        while self.unread.len() < expected.len() {
            self.fetch_until(deadline, &readable(expected));
        }
        let bytes: Vec<u8> = self.unread.drain(..expected.len()).collect();
        assert_eq!(readable(&bytes), readable(expected));
    }

    /// Reads exactly this many bytes and does not look at them.
    #[track_caller]
    pub(crate) fn skip_bytes(&mut self, len: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.unread.len() < len {
            self.fetch_until(deadline, "more bytes");
        }
        self.unread.drain(..len);
    }

    #[track_caller]
    fn expect_frame(&mut self, opcode: u8, what: &str) -> Frame {
        let frame = self.read_frame();
        assert_eq!(
            (frame.fin, frame.rsv1, frame.opcode),
            (true, false, opcode),
            "expected {what}, got opcode {:#x}, {}",
            frame.opcode,
            readable(&frame.payload)
        );
        frame
    }

    /// A text message in one frame; for php clients without the blanks behind it.
    #[track_caller]
    pub(crate) fn read_text(&mut self, what: &str) -> String {
        let frame = self.expect_frame(TEXT, what);
        let mut text = String::from_utf8(frame.payload).expect("text is UTF-8");
        if self.padding == Padding::Blanks {
            text.truncate(text.trim_end_matches(' ').len());
        }
        text
    }

    /// Reads text messages up to the first frame that is none.
    #[track_caller]
    pub(crate) fn skip_texts(&mut self) {
        loop {
            match frame::read(&self.unread) {
                Some(frame) if frame.opcode == TEXT => drop(self.unread.drain(..frame.wire_len)),
                Some(_) => return,
                None => self.fetch("more frames"),
            }
        }
    }

    /// Exactly these bytes as text.
    #[track_caller]
    pub(crate) fn expect_text(&mut self, expected: &str) {
        let text = self.read_text(expected);
        if text != expected {
            let (text, expected) = (text.as_bytes(), expected.as_bytes());
            panic!("expected {}\ngot {}", readable(expected), readable(text));
        }
    }

    #[track_caller]
    pub(crate) fn expect_binary(&mut self, expected: &[u8]) {
        let frame = self.expect_frame(BINARY, "a binary message");
        assert!(
            frame.payload == expected,
            "expected {}\ngot {}",
            readable(expected),
            readable(&frame.payload)
        );
    }

    /// A text message that means the same as `expected`.
    #[track_caller]
    pub(crate) fn expect_json(&mut self, expected: &str) {
        let text = self.read_text(expected);
        let parse = |text: &str| -> Value {
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
        };
        assert_eq!(parse(&text), parse(expected));
    }

    #[track_caller]
    pub(crate) fn expect_next(&mut self) {
        self.expect_text(NEXT);
    }

    /// `ready`, whose uuid is kept.
    #[track_caller]
    pub(crate) fn expect_ready(&mut self) {
        let text = self.read_text("ready");
        let uuid = text
            .strip_prefix(r#"{"opcode":"ready","uuid":""#)
            .and_then(|rest| rest.strip_suffix(r#""}"#))
            // Else there is more than the uuid.
            .filter(|uuid| uuid.len() == 36);
        self.uuid = uuid
            .unwrap_or_else(|| panic!("not ready: {text}"))
            .to_owned();
    }

    #[track_caller]
    pub(crate) fn expect_ping(&mut self) -> Vec<u8> {
        self.expect_frame(PING, "a ping").payload
    }

    #[track_caller]
    pub(crate) fn expect_pong(&mut self, payload: &[u8]) {
        let frame = self.expect_frame(PONG, "a pong");
        assert_eq!(frame.payload, payload, "payload of a pong");
    }

    /// A close frame with this code. Returns its reason.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16) -> String {
        let frame = self.expect_frame(CLOSE, &format!("a close frame {code}"));
        let [high, low, reason @ ..] = frame.payload.as_slice() else {
            panic!("expected close {code}, got one without code");
        };
        let reason = String::from_utf8(reason.to_vec()).expect("a close reason is UTF-8");
        let got = u16::from_be_bytes([*high, *low]);
        assert_eq!(got, code, "close code; its reason: {reason:?}");
        reason
    }

    /// The server closes with this code: its frame, our answer, the end of the stream.
    #[track_caller]
    pub(crate) fn expect_close_and_end(&mut self, code: u16) -> String {
        let reason = self.expect_close(code);
        let answer = frame::masked(FIN | CLOSE, &code.to_be_bytes());
        // The server is free not to wait for it.
        let _ = self.try_send_bytes(&answer);
        self.expect_end();
        reason
    }

    /// As [`Conn::expect_close_and_end`], where docs/protocol.md leaves open whether the message that
    /// was cut short got its `next`.
    #[track_caller]
    pub(crate) fn expect_close_perhaps_behind_next(&mut self, code: u16) -> String {
        while frame::read(&self.unread).is_none() {
            self.fetch("next or a close frame");
        }
        if frame::read(&self.unread).is_some_and(|frame| frame.opcode == TEXT) {
            self.expect_next();
        }
        self.expect_close_and_end(code)
    }

    /// The server ends the stream in order, and sends nothing before.
    #[track_caller]
    pub(crate) fn expect_eof(&mut self) {
        match self.read_rest() {
            (rest, Ok(())) if rest.is_empty() => {}
            (rest, Ok(())) => panic!("expected the end, got {}", readable(&rest)),
            (_, Err(error)) => panic!("expected the end in order: {error}"),
        }
    }

    /// The connection ends, in order or by a reset, and nothing is sent before.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let rest = self.read_to_end();
        assert!(rest.is_empty(), "expected the end, got {}", readable(&rest));
    }

    /// Everything up to the end of the connection, however it ends.
    #[track_caller]
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        match self.read_rest() {
            (rest, Ok(())) => rest,
            (rest, Err(error)) if is_reset(&error) => rest,
            (_, Err(error)) => panic!("expected the end: {error}"),
        }
    }

    /// Everything up to the end, however it comes; a close frame is answered with `code`.
    pub(crate) fn read_to_end_answering(&mut self, code: u16) {
        let answer = frame::masked(FIN | CLOSE, &code.to_be_bytes());
        let _ = self.try_send_bytes(&answer);
        self.shut_down_write();
        self.read_to_end();
    }

    fn read_rest(&mut self) -> (Vec<u8>, io::Result<()>) {
        let deadline = Instant::now() + PATIENCE;
        let end = loop {
            match self.fill(deadline) {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        (std::mem::take(&mut self.unread), end)
    }

    #[track_caller]
    fn fetch(&mut self, what: &str) {
        self.fetch_until(Instant::now() + PATIENCE, what);
    }

    /// More bytes into `unread`.
    #[track_caller]
    fn fetch_until(&mut self, deadline: Instant, what: &str) {
        match self.fill(deadline) {
            Ok(0) => panic!(
                "expected {what}, got the end behind {}",
                readable(&self.unread)
            ),
            Ok(_) => {}
            Err(error) => panic!(
                "expected {what}, got {error} behind {}",
                readable(&self.unread)
            ),
        }
    }

    fn fill(&mut self, deadline: Instant) -> io::Result<usize> {
        let mut buffer = [0; 65_536];
        let count = self.transport.read_until(deadline, &mut buffer)?;
        self.unread.extend(&buffer[..count]);
        Ok(count)
    }
}

/// Dialogue.
impl Conn {
    /// Sends an echo, expects it and its `next`. As both must be what comes next, it also shows
    /// that nothing else had been sent to this connection.
    #[track_caller]
    pub(crate) fn round_trip(&mut self) {
        let packet = format!(r#"{{"opcode":"echo","probe":{}}}"#, unique_number());
        self.send_text(&packet);
        self.expect_next();
        self.expect_text(&packet);
    }

    /// Comes back when the server has read and handled all that any connection had sent before, but
    /// for what takes several turns: TLS handshakes and long messages.
    ///
    /// The second echo is handled in a later turn of the server's loop than the first, which was
    /// in the same turn as those bytes, or a later one.
    #[track_caller]
    pub(crate) fn wait_until_handled(&mut self) {
        self.round_trip();
        self.round_trip();
    }

    /// Sends a message that is answered by `next`, and by nothing else.
    #[track_caller]
    pub(crate) fn send_for_next(&mut self, message: &str) {
        self.send_text(message);
        self.expect_next();
        self.round_trip();
    }

    /// Closes as a browser does: frame, the server's answer, the end.
    #[track_caller]
    pub(crate) fn close(mut self) {
        self.send_close(1000, "");
        self.expect_close(1000);
        self.expect_eof();
    }
}

fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        // The last one: TLS without close_notify.
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
    )
}

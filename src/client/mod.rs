//! A blocking client on the same protocol core: [`Client`], for scripts and for the command line.
//!
//! It reads what the server sends as strictly as the server reads its clients, answers pings while
//! it waits, and loses nothing when several frames arrive in one read.
//!
//! ```no_run
//! # fn main() -> Result<(), websock::client::Error> {
//! use websock::client::{Client, ClientSettings};
//!
//! let mut client = Client::connect("ws://localhost:8096/php", &ClientSettings::script())?;
//! client.send(r#"{"opcode":"broadcast","message":"hello"}"#)?;
//! client.close()
//! # }
//! ```

mod address;
mod diagnosis;
mod error;
mod handshake;
mod message;
mod push;
mod resume;
mod settings;
mod stream;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use self::error::Error;
pub use self::message::Message;
pub use self::push::{Nodes, Push, Receipt};
pub use self::resume::Resumed;
pub use self::settings::{ClientSettings, Dialogue, Kind};

use self::address::Address;
use self::message::{error_of, packet_of, string_of};
use self::resume::Place;
use self::stream::Stream;
use crate::base::random;
use crate::protocol::close;
use crate::protocol::close_code::CloseCode;
use crate::protocol::error::Violation;
use crate::protocol::frame::{self, Header, Opcode, Role, Rsv1};
use crate::protocol::message::{Assembler, MessageKind, MessageLimits, check_order};

/// An open connection.
#[derive(Debug)]
pub struct Client {
    address: Address,
    stream: Stream,
    settings: ClientSettings,
    uuid: String,
    user: Option<String>,
    place: Place,
    unread: Vec<u8>,
    begun: Option<Assembler>,
    liveness: Liveness,
    /// Messages that came while something else was waited for.
    waiting: VecDeque<Message>,
}

/// When the server has last been heard, or asked whether it is there.
#[derive(Clone, Copy, Debug)]
enum Liveness {
    /// It has sent something then.
    Heard(Instant),
    /// It has been silent, and was pinged then.
    Pinged(Instant),
}

impl Client {
    /// Connects to an address such as `wss://example.org/web`; with the dialogue, until `ready`.
    ///
    /// # Errors
    /// [`Error`] says at which step it failed, and what to do.
    pub fn connect(address: &str, settings: &ClientSettings) -> Result<Self, Error> {
        let address = Address::parse(address)?;
        Self::open(&address, &settings.since, settings)
    }

    fn open(address: &Address, since: &str, settings: &ClientSettings) -> Result<Self, Error> {
        let mut stream = Stream::connect(address, settings.timeout)?;
        let asks = [
            settings.is_kept().then_some(("resume", "1")),
            (!since.is_empty()).then_some(("since", since)),
        ];
        let asked = address.with_fields(asks.into_iter().flatten());
        let unread = handshake::perform(&mut stream, &asked, settings)?;
        let mut client = Self {
            address: address.clone(),
            stream,
            settings: settings.clone(),
            uuid: String::new(),
            user: None,
            place: Place::default(),
            unread,
            begun: None,
            liveness: Liveness::Heard(Instant::now()),
            waiting: VecDeque::new(),
        };
        if settings.dialogue == Dialogue::Packets {
            client.await_ready()?;
        }
        Ok(client)
    }

    /// The uuid that the server gave this connection; empty without the dialogue.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// As whom the page has signed in; `None` if nobody has, and if the address has no `?user=1`,
    /// by which the server is asked to tell.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Connects anew to the same address, behind an error, and resumes: what was missed comes next,
    /// each message once, and [`uuid`](Self::uuid) is the old one again. What cannot be filled is
    /// said. Wants [`ClientSettings::resume`]; without it, there is always a gap.
    ///
    /// When to call it is up to the caller, who waits longer after each failure, and does not at
    /// all behind an error that [is final](Error::is_final). What had arrived before is kept.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); then it can be called again, and nothing is lost by that.
    pub fn reconnect(&mut self) -> Result<Resumed, Error> {
        let mut fresh = Self::open(&self.address, "", &self.settings)?;
        let resumed = if self.place.is_kept() && fresh.place.is_kept() {
            fresh.resume(&self.place.request(&self.uuid))?
        } else {
            Resumed::unsupported()
        };
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.append(&mut fresh.waiting);
        *self = Self { waiting, ..fresh };
        Ok(resumed)
    }

    /// Asks for what an earlier connection has missed, and waits for the answer.
    fn resume(&mut self, request: &str) -> Result<Resumed, Error> {
        self.write(Opcode::Text, request.as_bytes())?;
        let deadline = Instant::now() + self.settings.timeout;
        let mut early = Vec::new();
        loop {
            let Some(message) = self.read_message(Some(deadline))? else {
                return Err(Error::Timeout("resumed"));
            };
            let packet = packet_of(&message);
            let opcode = packet
                .as_ref()
                .and_then(|packet| string_of(packet, "opcode"));
            match (opcode.as_deref(), packet) {
                (Some("next"), _) => {}
                (Some("close"), Some(packet)) => return Err(Error::Refused(error_of(&packet))),
                (Some("resumed"), Some(packet)) => {
                    let (resumed, first) = self.place.resume(&packet, early);
                    self.waiting.extend(first);
                    self.uuid = string_of(&packet, "uuid").unwrap_or_default();
                    return Ok(resumed);
                }
                _ => early.push(message),
            }
        }
    }

    /// Sends a text message; with the dialogue, until the server has answered `next`, which means
    /// that it has taken the message.
    pub fn send(&mut self, text: &str) -> Result<(), Error> {
        self.write(Opcode::Text, text.as_bytes())?;
        if self.settings.dialogue == Dialogue::None {
            return Ok(());
        }
        let deadline = Instant::now() + self.settings.timeout;
        loop {
            let Some(message) = self.read_message(Some(deadline))? else {
                return Err(Error::Timeout("next"));
            };
            let packet = packet_of(&message);
            let opcode = packet
                .as_ref()
                .and_then(|packet| string_of(packet, "opcode"));
            match (opcode.as_deref(), packet) {
                (Some("next"), _) => return Ok(()),
                (Some("close"), Some(packet)) => return Err(Error::Refused(error_of(&packet))),
                _ => self.keep(message),
            }
        }
    }

    /// The next message; `None` if there is none within `patience`, which is without end if it is
    /// `None`. With the dialogue, `next` and `ready` are not among them. Who has asked for
    /// [`ClientSettings::resume`] gets the server's `restart` and `gap` packets, too.
    pub fn receive(&mut self, patience: Option<Duration>) -> Result<Option<Message>, Error> {
        if self.waiting.is_empty() {
            let deadline = patience.map(|patience| Instant::now() + patience);
            if let Some(message) = self.read_message(deadline)? {
                self.keep(message);
            }
        }
        Ok(self.waiting.pop_front())
    }

    /// Has a message wait until it is asked for.
    fn keep(&mut self, message: Message) {
        self.place.pass(&message);
        self.waiting.push_back(message);
    }

    /// Says goodbye and waits until the server has, too (RFC 6455 §7.1.2).
    pub fn close(mut self) -> Result<(), Error> {
        let mut payload = Vec::new();
        close::write(CloseCode::NORMAL, "", &mut payload);
        self.write(Opcode::Close, &payload)?;
        let deadline = Instant::now() + self.settings.timeout;
        loop {
            match self.read_message(Some(deadline)) {
                Ok(Some(_)) => {}
                Ok(None) => return Err(Error::Timeout("the server's close frame")),
                Err(Error::Closed { code: 1000, .. } | Error::Ended) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn await_ready(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + self.settings.timeout;
        let Some(message) = self.read_message(Some(deadline))? else {
            return Err(Error::Timeout("ready"));
        };
        let packet = packet_of(&message).ok_or(Error::NoDialogue)?;
        match string_of(&packet, "opcode").as_deref() {
            Some("ready") => {
                self.uuid = string_of(&packet, "uuid").unwrap_or_default();
                self.user = string_of(&packet, "user");
                self.place = Place::of_ready(&packet);
                Ok(())
            }
            Some("close") => Err(Error::Refused(error_of(&packet))),
            Some(_) | None => Err(Error::NoDialogue),
        }
    }

    fn write(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), Error> {
        let mut bytes = Vec::new();
        frame::encode_masked(opcode, masking_key(), payload, &mut bytes);
        self.stream.write(&bytes).map_err(Error::Lost)
    }

    /// The next data message before `deadline`. Control frames are seen to on the way.
    fn read_message(&mut self, deadline: Option<Instant>) -> Result<Option<Message>, Error> {
        loop {
            while let Some((header, payload)) = self.take_frame()? {
                if let Some(message) = self.handle_frame(header, &payload)? {
                    return Ok(Some(message));
                }
            }
            let check = self.next_check();
            let until = [deadline, check].into_iter().flatten().min();
            match self.stream.read(until, &mut self.unread) {
                Ok(stream::Read::Some) => self.liveness = Liveness::Heard(Instant::now()),
                Ok(stream::Read::TimedOut) if deadline.is_some_and(|at| at <= Instant::now()) => {
                    return Ok(None);
                }
                Ok(stream::Read::TimedOut) => self.check_liveness()?,
                Ok(stream::Read::Ended) => return Err(Error::Ended),
                Err(error) => return Err(Error::Lost(error)),
            }
        }
    }

    /// When the server has to be pinged, or given up; `None`: never.
    fn next_check(&self) -> Option<Instant> {
        let ClientSettings {
            ping_interval,
            pong_timeout,
            ..
        } = self.settings;
        if ping_interval.is_zero() {
            return None;
        }
        Some(match self.liveness {
            Liveness::Heard(at) => at + ping_interval,
            Liveness::Pinged(at) => at + pong_timeout,
        })
    }

    /// Pings a server that has been silent, or gives it up. Harmless if it is too early.
    fn check_liveness(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if self.next_check().is_none_or(|at| now < at) {
            return Ok(());
        }
        match self.liveness {
            Liveness::Heard(_) => {
                self.liveness = Liveness::Pinged(now);
                self.write(Opcode::Ping, b"")
            }
            Liveness::Pinged(_) => Err(Error::Silent(
                self.settings.ping_interval + self.settings.pong_timeout,
            )),
        }
    }

    /// A whole frame off the front of what has been read.
    fn take_frame(&mut self) -> Result<Option<(Header, Vec<u8>)>, Error> {
        let parsed = Header::parse(&self.unread, Role::Client, Rsv1::Forbidden);
        let Some((header, header_len)) = parsed.map_err(|violation| self.fail(violation))? else {
            return Ok(None);
        };
        if header.payload_len > self.settings.max_message_bytes as u64 {
            return Err(self.fail(Violation::MessageTooBig));
        }
        let end = header_len + header.payload_len as usize;
        if self.unread.len() < end {
            return Ok(None);
        }
        let payload = self
            .unread
            .get(header_len..end)
            .unwrap_or_default()
            .to_vec();
        self.unread.drain(..end);
        Ok(Some((header, payload)))
    }

    fn handle_frame(&mut self, header: Header, payload: &[u8]) -> Result<Option<Message>, Error> {
        match header.opcode {
            Opcode::Ping => self.write(Opcode::Pong, payload).map(|()| None),
            Opcode::Pong => Ok(None),
            Opcode::Close => {
                // Whatever it says is answered; the connection is over.
                let _ = self.write(Opcode::Close, payload.get(..2).unwrap_or_default());
                let parsed = close::parse(payload).map_err(Error::Violation)?;
                let (code, reason) = parsed.map_or((1005, ""), |(code, r)| (code.as_u16(), r));
                let reason = reason.to_owned();
                Err(Error::Closed { code, reason })
            }
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                self.gather(&header, payload).map_err(|v| self.fail(v))
            }
        }
    }

    fn gather(&mut self, header: &Header, payload: &[u8]) -> Result<Option<Message>, Violation> {
        check_order(header.opcode, self.begun.is_some())?;
        let begin = || match header.opcode {
            Opcode::Binary => Assembler::new(MessageKind::Binary),
            _ => Assembler::new(MessageKind::Text),
        };
        let mut assembler = self.begun.take().unwrap_or_else(begin);
        let limits = MessageLimits {
            max_bytes: self.settings.max_message_bytes,
            max_fragments: u32::MAX,
        };
        assembler.begin_fragment(header, limits)?;
        assembler.push(payload)?;
        if !header.fin {
            self.begun = Some(assembler);
            return Ok(None);
        }
        let gathered = assembler.finish()?;
        Ok(Some(match gathered.kind() {
            MessageKind::Text => {
                let text = String::from_utf8(gathered.into_bytes());
                Message::Text(text.map_err(|_| Violation::InvalidUtf8)?)
            }
            MessageKind::Binary => Message::Binary(gathered.into_bytes()),
        }))
    }

    /// Tells the server which rule it broke (RFC 6455 §7.1.7).
    fn fail(&mut self, violation: Violation) -> Error {
        let mut payload = Vec::new();
        close::write(violation.close_code(), violation.reason(), &mut payload);
        let _ = self.write(Opcode::Close, &payload);
        Error::Violation(violation)
    }
}

/// Unpredictable, as RFC 6455 §5.3 wants it.
fn masking_key() -> [u8; 4] {
    let mut key = [0; 4];
    random::fill(&mut key);
    key
}

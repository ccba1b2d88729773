//! What the application is told.

use std::net::IpAddr;

use super::availability::{Availability, Goodbye};
use super::calls::{CallId, Receipt, Ticket};
use super::peer::Peer;
use super::report::Report;
use crate::base::MonotonicTime;
use crate::connection::{ConnId, Message};
use crate::protocol::error::{Rejection, Violation};
use crate::protocol::php_session::SessionOutcome;
use crate::upstream::redis::SubscriberEvent;
use crate::upstream::{Answer, UpstreamId};

/// Something that has happened on a connection, or the answer to a question.
pub enum Event<'a> {
    /// A whole request head: `Accept`, `Reject`, `ReadBody` or `Respond` has to follow, now or
    /// later.
    Request(IncomingRequest<'a>),
    /// The whole body of a request whose body was to be read; `Respond` has to follow.
    Body {
        /// The connection.
        id: ConnId,
        /// The body.
        body: Vec<u8>,
    },
    /// A request was refused before it could be handed out: too large, or too slow.
    Refused {
        /// The connection.
        id: ConnId,
        /// Where it comes from.
        peer: Peer,
        /// Why.
        rejection: Rejection,
    },
    /// A complete message.
    Message {
        /// The connection.
        id: ConnId,
        /// The message.
        message: &'a Message<'a>,
    },
    /// The page that reads this stream of events has sent a message.
    Posted {
        /// The stream.
        id: ConnId,
        /// The message.
        text: String,
    },
    /// The client broke a rule or passed a limit; `Closed` follows.
    Failed {
        /// The connection.
        id: ConnId,
        /// Where it comes from.
        peer: Peer,
        /// Which rule.
        violation: Violation,
    },
    /// The connection is no longer open, for whatever reason.
    Closed {
        /// The connection.
        id: ConnId,
        /// Where it came from.
        peer: Peer,
        /// When it was heard last, if messages have flowed and somebody has asked for a sign of life.
        heard: Option<MonotonicTime>,
    },
    /// Another thread of the program pushes a packet; `AnswerPush` has to follow.
    Push {
        /// To be named in the answer.
        ticket: Ticket,
        /// The packet.
        packet: &'a str,
    },
    /// What became of a message that was sent with a call.
    Delivered {
        /// The call.
        call: CallId,
        /// Whom it has reached.
        receipt: Receipt,
    },
    /// The server begins to end, or goes on with that.
    Availability(Availability),
    /// These clients of [`App::restart_audience`](super::App::restart_audience) are told to go, and
    /// when to come back.
    Restarting(&'a [Goodbye]),
    /// What the loop knows of itself, as it was asked; `Respond` has to follow.
    Reported {
        /// The request that it is for.
        id: ConnId,
        /// What it knows.
        report: Box<Report>,
    },
    /// What became of a call to another server.
    Answered {
        /// Who was asked.
        upstream: UpstreamId,
        /// The call, and its response or why there is none.
        answer: Answer,
    },
    /// A subscriber has been told something, or is connected or not.
    Subscriber {
        /// Which one.
        upstream: UpstreamId,
        /// What.
        event: SubscriberEvent,
    },
    /// The application has asked to go on with this connection; what is replied goes to it.
    Resumed {
        /// The connection.
        id: ConnId,
    },
    /// What became of reading a PHP session.
    SessionRead {
        /// The call that it was asked with.
        call: CallId,
        /// What it holds, or why that is not known.
        outcome: SessionOutcome,
    },
}

/// A request head, and where it comes from.
pub struct IncomingRequest<'a> {
    /// The connection.
    pub id: ConnId,
    /// The head as it came.
    pub head: &'a [u8],
    /// Where the connection comes from.
    pub peer: Peer,
    /// What is spoken below HTTP.
    pub encryption: Encryption,
    /// The address of ours that was reached; asked for only where it matters, since it is a system
    /// call. `None` on a Unix socket.
    pub local_ip: &'a dyn Fn() -> Option<IpAddr>,
}

/// Whether what is sent is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// It is: TLS.
    Tls,
    /// It is not.
    None,
}

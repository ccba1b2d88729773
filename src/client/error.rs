//! What can go wrong with a client, and what to do about it.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::base::plain;
use crate::protocol::error::Violation;

/// Why a client cannot go on; one sentence for the person who runs it.
#[derive(Debug)]
pub enum Error {
    /// The address is none.
    Address(String),
    /// The host has no address.
    Resolve(String, io::Error),
    /// Nobody answers there.
    Connect(String, io::Error),
    /// No TLS came about.
    Tls(String),
    /// The answer is no HTTP.
    NoHttp(String),
    /// The server does not upgrade: status, and what it said.
    Status(u16, String),
    /// The server takes no push from us: status, and what it said.
    NoPush(u16, String),
    /// The 101 is not for this request (RFC 6455 §4.1).
    Handshake(&'static str),
    /// The server speaks WebSocket, but not the dialogue.
    NoDialogue,
    /// The server's `close` packet.
    Refused(String),
    /// The server's close frame.
    Closed {
        /// The code; 1005 if there was none.
        code: u16,
        /// The reason.
        reason: String,
    },
    /// The server broke a rule of RFC 6455.
    Violation(Violation),
    /// What is named did not come in time.
    Timeout(&'static str),
    /// The server has said nothing for so long, not even to a ping.
    Silent(Duration),
    /// The connection ended without a close frame.
    Ended,
    /// The connection broke.
    Lost(io::Error),
}

impl Error {
    /// Whether it would be the same with the next connection: what is asked for, or who asks, is
    /// refused. All others may be over in a moment.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Address(_) | Self::Handshake(_) | Self::NoDialogue | Self::Violation(_) => true,
            // Not: too slow, too many requests, and what is wrong with the server or on the way.
            Self::Status(status, _) | Self::NoPush(status, _) => {
                matches!(status, 300..=499) && !matches!(status, 408 | 429)
            }
            Self::Refused(why) => !why.starts_with("Too many connections"),
            Self::Closed { code, .. } => FINAL_CODES.contains(code),
            Self::Resolve(..)
            | Self::Connect(..)
            | Self::Tls(_)
            | Self::NoHttp(_)
            | Self::Timeout(_)
            | Self::Silent(_)
            | Self::Ended
            | Self::Lost(_) => false,
        }
    }
}

/// Done, a rule broken by us, not signed in any more, and resumed by somebody else.
const FINAL_CODES: [u16; 7] = [1000, 1002, 1003, 1007, 1010, 4401, 4409];

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(text) => {
                write!(
                    f,
                    "{text:?} is no address: write ws://HOST:PORT/PATH or wss://HOST/PATH"
                )
            }
            Self::Resolve(host, error) => write!(f, "host {host} is not known: {}", plain(error)),
            Self::Connect(place, error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                write!(
                    f,
                    "nobody listens on {place}: is the server running, is the port right?"
                )
            }
            Self::Connect(place, error) => write!(f, "no connection to {place}: {}", plain(error)),
            Self::Tls(error) => write!(f, "no TLS: {error}"),
            Self::NoHttp(text) => write!(
                f,
                "what answers is no web server, or speaks TLS (try wss://): it says {text:?}"
            ),
            Self::Status(status, text) => write!(f, "no WebSocket there, {status}: {text}"),
            Self::NoPush(status, text) => write!(
                f,
                "the push is refused, {status}: {text}{}",
                if *status == 404 {
                    " (is the path right? For other servers use --raw)"
                } else {
                    ""
                }
            ),
            Self::Handshake(what) => write!(f, "the server's 101 is wrong: {what}"),
            Self::NoDialogue => f.write_str(
                "a WebSocket server, but it does not say ready: is the path right? \
                 For other servers use --raw",
            ),
            Self::Refused(error) => write!(f, "the server refuses: {error}"),
            Self::Closed { code, reason } => {
                let remedy = match code {
                    // It stops, restarts, or is full.
                    1001 | 1012 | 1013 => ": connect again in a moment",
                    4409 => ": another connection has resumed in place of this one",
                    _ => "",
                };
                write!(f, "closed by the server: {code} {reason}{remedy}")
            }
            Self::Violation(violation) => {
                write!(f, "the server broke a rule: {}", violation.reason())
            }
            Self::Timeout(what) => write!(f, "the server does not answer: no {what} in time"),
            Self::Silent(time) => write!(
                f,
                "the server has been silent for {time:?} and does not answer a ping: the \
                 connection is dead, connect again"
            ),
            Self::Ended => f.write_str("the connection ended without a close frame"),
            Self::Lost(error) => write!(f, "the connection broke: {}", plain(error)),
        }
    }
}

impl std::error::Error for Error {}

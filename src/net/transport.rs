//! The way bytes take to the peer.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::sync::Arc;

use rustls::ServerConfig;

use super::received::{More, Received};
use super::system::Stream;
use super::tls::TlsStream;
use crate::base::plain;

/// A connected socket.
pub(super) enum Transport<S> {
    /// The socket as it is.
    Plain(S),
    /// TLS on it.
    Tls(Box<TlsStream<S>>),
}

/// What a write has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Bytes taken.
    pub(super) len: usize,
    /// The socket takes no more for now.
    pub(super) is_blocked: bool,
}

impl<S: Stream> Transport<S> {
    /// Takes a fresh connection.
    pub(super) fn new(stream: S, tls: Option<&Arc<ServerConfig>>) -> io::Result<Self> {
        match tls {
            None => Ok(Self::Plain(stream)),
            Some(config) => Ok(Self::Tls(Box::new(TlsStream::new(
                stream,
                Arc::clone(config),
            )?))),
        }
    }

    /// Reads once. `spare` is room for what must be decrypted, at least as long as `buffer`.
    pub(super) fn read(&mut self, buffer: &mut [u8], spare: &mut [u8]) -> io::Result<Received> {
        match self {
            Self::Plain(stream) => stream.read(buffer).map(|len| Received {
                len,
                more: match len {
                    0 => More::Ended,
                    // A read that leaves room has drained the socket.
                    _ if len < buffer.len() => More::No,
                    _ => More::Maybe,
                },
            }),
            Self::Tls(stream) => stream.read(buffer, spare),
        }
    }

    /// Writes the pieces in order, as many bytes as go.
    pub(super) fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<Written> {
        let waiting: usize = pieces.iter().map(|piece| piece.len()).sum();
        let len = match (&mut *self, pieces) {
            (Self::Plain(stream), [piece]) => stream.write(piece)?,
            (Self::Plain(stream), pieces) => stream.write_vectored(pieces)?,
            (Self::Tls(stream), pieces) => stream.write(pieces)?,
        };
        let is_blocked = match self {
            Self::Plain(_) => len < waiting,
            Self::Tls(stream) => stream.has_outgoing(),
        };
        Ok(Written { len, is_blocked })
    }

    /// Sends what was taken earlier and has not left; whether some of it still waits.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(false),
            Self::Tls(stream) => {
                stream.flush()?;
                Ok(stream.has_outgoing())
            }
        }
    }

    /// Says that nothing more will be sent.
    pub(super) fn shutdown_write(&mut self) {
        self.say_goodbye();
        self.socket().shutdown_write();
    }

    /// Says in TLS that this end was meant, as far as the socket takes it.
    pub(super) fn say_goodbye(&mut self) {
        if let Self::Tls(stream) = self {
            stream.close_notify();
        }
    }

    /// The socket below what is spoken on it.
    pub(super) fn below(&mut self) -> &mut S {
        self.socket_mut()
    }

    /// Sends bytes as they are, as far as the socket takes them: to a peer that speaks no TLS.
    pub(super) fn write_plain(&mut self, bytes: &[u8]) {
        if let Err(error) = self.socket_mut().write(bytes) {
            log::debug!("refusal not sent: {}", plain(&error));
        }
    }

    /// Whether keys are still being agreed on.
    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.is_handshaking())
    }

    /// Whether a TLS handshake has begun that did not, or not yet, come to its end.
    pub(super) fn is_within_handshake(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.is_within_handshake())
    }

    /// Whether what is sent is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Bytes of memory held for what is under way.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(stream) => stream.held_bytes(),
        }
    }

    /// The address of ours that the peer has reached.
    pub(super) fn local_ip(&self) -> Option<IpAddr> {
        self.socket().local_ip()
    }

    /// Has the kernel find out within a minute that the peer's machine is gone.
    pub(super) fn keep_alive(&self) {
        self.socket().keep_alive();
    }

    /// The socket below what is spoken on it, only to be looked at.
    pub(super) fn socket(&self) -> &S {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.socket(),
        }
    }

    fn socket_mut(&mut self) -> &mut S {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.socket_mut(),
        }
    }
}

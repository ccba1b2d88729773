//! [`UpstreamLink`]: the socket of one connection to another server, with TLS on it or without.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::received::{More, Received};
use super::system::Stream;
use super::tls_client::TlsClient;
use crate::upstream::{ConnectError, LinkId, UpstreamId};

/// One connection.
pub(super) struct UpstreamLink<S> {
    /// What the system knows it by.
    pub(super) key: usize,
    /// To whom it leads.
    pub(super) upstream: UpstreamId,
    /// Which of that one's connections it is.
    pub(super) id: LinkId,
    stage: Stage,
    transport: ClientTransport<S>,
}

/// What is spoken.
pub(super) enum ClientTransport<S> {
    /// Nothing below the target's protocol.
    Plain(S),
    /// TLS.
    Tls(Box<TlsClient<S>>),
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Handshaking,
    Open,
    /// The other end takes nothing more; what it has said before is still read.
    WriteClosed,
}

/// Why a connection could not be established.
#[derive(Debug)]
pub(super) enum EstablishError {
    /// The socket could not be connected.
    Connect(io::Error),
    /// TLS could not be agreed on.
    Tls(io::Error),
}

impl<S: Stream> UpstreamLink<S> {
    /// One that is being established.
    pub(super) fn new(
        key: usize,
        (upstream, id): (UpstreamId, LinkId),
        transport: ClientTransport<S>,
    ) -> Self {
        Self {
            key,
            upstream,
            id,
            stage: Stage::Connecting,
            transport,
        }
    }

    /// Whether it is established.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::WriteClosed)
    }

    /// Goes on with establishing it, TLS included; whether that is done.
    pub(super) fn establish(&mut self) -> Result<bool, EstablishError> {
        if self.stage == Stage::Connecting {
            let socket = match &self.transport {
                ClientTransport::Plain(socket) => socket,
                ClientTransport::Tls(stream) => stream.socket(),
            };
            if !socket.is_connected().map_err(EstablishError::Connect)? {
                return Ok(false);
            }
            self.stage = Stage::Handshaking;
        }
        let is_done = match &mut self.transport {
            ClientTransport::Plain(_) => true,
            ClientTransport::Tls(stream) => stream.handshake().map_err(EstablishError::Tls)?,
        };
        if is_done {
            self.stage = Stage::Open;
        }
        Ok(is_done)
    }

    /// Reads once. It may bring nothing without having ended.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        match &mut self.transport {
            ClientTransport::Plain(socket) => socket.read(buffer).map(|len| Received {
                len,
                more: match len {
                    0 => More::Ended,
                    // Only WouldBlock shows that there is nothing more: the end may have come
                    // together with these bytes, and would not be reported again.
                    _ => More::Maybe,
                },
            }),
            ClientTransport::Tls(stream) => stream.read(buffer),
        }
    }

    /// Writes as many of the bytes as go, which may be none to send what was taken earlier.
    ///
    /// # Errors
    /// `WouldBlock` also once nothing more can be written: what can be read says why.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stage != Stage::Open {
            return Err(ErrorKind::WouldBlock.into());
        }
        match &mut self.transport {
            ClientTransport::Plain(_) if bytes.is_empty() => Ok(0),
            ClientTransport::Plain(socket) => socket.write(bytes),
            ClientTransport::Tls(stream) => stream.write(bytes),
        }
    }

    /// Nothing more can be written.
    pub(super) fn stop_writing(&mut self) {
        self.stage = Stage::WriteClosed;
    }

    /// Ends it.
    pub(super) fn close(self) {
        if let (ClientTransport::Tls(mut stream), Stage::Open) = (self.transport, self.stage) {
            stream.say_goodbye();
        }
    }
}

impl<S: Stream> ClientTransport<S> {
    /// What is spoken on this socket.
    pub(super) fn new(
        socket: S,
        tls: Option<(&Arc<ClientConfig>, ServerName<'static>)>,
    ) -> Result<Self, EstablishError> {
        let Some((config, server_name)) = tls else {
            return Ok(Self::Plain(socket));
        };
        let stream = TlsClient::new(socket, Arc::clone(config), server_name);
        let stream = stream.map_err(|error| EstablishError::Tls(io::Error::other(error)))?;
        Ok(Self::Tls(Box::new(stream)))
    }
}

impl From<&EstablishError> for ConnectError {
    fn from(error: &EstablishError) -> Self {
        match error {
            EstablishError::Connect(error) => match error.kind() {
                ErrorKind::ConnectionRefused | ErrorKind::NotFound => Self::Refused,
                _ => Self::Unreachable,
            },
            EstablishError::Tls(_) => Self::TlsFailed,
        }
    }
}

//! [`TlsClient`]: TLS as a client, over a socket that does not block.
//!
//! The session keeps its own buffers, unlike that of [`TlsStream`](super::tls::TlsStream): there
//! are few connections to other servers.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::sync::Arc;

use log::debug;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection};

use super::received::{More, Received};
use super::system::Stream;

/// A socket and the TLS session on it.
pub(super) struct TlsClient<S> {
    socket: S,
    session: ClientConnection,
}

impl<S: Stream> TlsClient<S> {
    /// Nothing is sent before [`handshake`](Self::handshake).
    pub(super) fn new(
        socket: S,
        config: Arc<ClientConfig>,
        server_name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        let session = ClientConnection::new(config, server_name)?;
        Ok(Self { socket, session })
    }

    pub(super) fn socket(&self) -> &S {
        &self.socket
    }

    /// Goes on with the handshake as far as the socket allows; whether it is complete.
    ///
    /// # Errors
    /// Those of the socket, and those of rustls inside an [`io::Error`].
    pub(super) fn handshake(&mut self) -> io::Result<bool> {
        for _ in 0..MAX_HANDSHAKE_READS {
            match self.flush() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                flushed => flushed?,
            }
            if !self.session.is_handshaking() {
                return Ok(true);
            }
            match self.receive() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                received => received.map(drop)?,
            }
        }
        let fault = rustls::Error::General("a handshake without end".to_owned());
        Err(io::Error::new(ErrorKind::InvalidData, fault))
    }

    /// Reads once from the socket at most. It may bring nothing, with [`More::Maybe`].
    ///
    /// # Errors
    /// Among others, `UnexpectedEof` if the connection has ended and TLS has not said so before:
    /// what has come may have been cut off.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        match self.session.reader().read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            read => return read.map(received),
        }
        self.receive()?;
        match self.session.reader().read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Received {
                len: 0,
                more: More::Maybe,
            }),
            read => read.map(received),
        }
    }

    /// Encrypts and sends as many of the bytes as the socket and a buffer take.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let len = self.session.writer().write(bytes)?;
        match self.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(len),
            flushed => flushed.map(|()| len),
        }
    }

    /// Says that this end was meant, as far as the socket takes it.
    pub(super) fn say_goodbye(&mut self) {
        self.session.send_close_notify();
        if let Err(error) = self.flush() {
            debug!("close_notify not sent: {error}");
        }
    }

    /// Sends what is encrypted.
    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => written.map(drop)?,
            }
        }
        Ok(())
    }

    /// Reads from the socket and decrypts; the number of encrypted bytes, 0 at the end.
    fn receive(&mut self) -> io::Result<usize> {
        let len = self.session.read_tls(&mut self.socket)?;
        if let Err(fault) = self.session.process_new_packets() {
            // The alert says what the other end has done wrong.
            if let Err(error) = self.flush() {
                debug!("alert not sent: {error}");
            }
            return Err(io::Error::new(ErrorKind::InvalidData, fault));
        }
        Ok(len)
    }
}

fn received(len: usize) -> Received {
    let more = match len {
        0 => More::Ended,
        _ => More::Maybe,
    };
    Received { len, more }
}

/// Why TLS has failed, for people. Nothing of what the other end has sent is repeated.
pub(super) fn reason_of(error: &io::Error) -> &'static str {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(fault)) => match fault {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired: have it renewed"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name: write that one in the URL"
            }
            CertificateError::UnknownIssuer => {
                "nobody here knows who signed its certificate: add that one to the roots \
                 (SSL_CERT_FILE), or have the whole chain sent"
            }
            _ => "its certificate is not valid: have it checked",
        },
        Some(rustls::Error::InvalidMessage(_)) => {
            "what answers there speaks no TLS: write http://, or another port"
        }
        Some(_) => "the two ends have no version or cipher in common, or one broke the protocol",
        None => "the connection ended in the middle: see whether that port speaks TLS",
    }
}

/// Most reads in a row that do not complete a handshake. One takes 4 KiB at least, and rustls
/// accepts 64 KiB of a message.
const MAX_HANDSHAKE_READS: usize = 64;

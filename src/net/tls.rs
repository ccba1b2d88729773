//! One TLS connection over a socket that does not block.
//!
//! The session is driven without buffers of its own: what the socket gives is decrypted into the
//! loop's buffer, what leaves is encrypted once into bytes that the socket takes. An idle
//! connection holds the session's keys and nothing else.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

use super::received::{More, Received};
use super::system::Stream;
use crate::base::plain;

/// A socket and the TLS session on it.
pub(super) struct TlsStream<S> {
    socket: S,
    session: UnbufferedServerConnection,
    /// The start of a record, or of a handshake message, whose rest has not come. The session holds
    /// offsets into these bytes: whoever calls it hands it these, or what follows them.
    incoming: Vec<u8>,
    /// Encrypted bytes that the socket has not taken, from `sent` on.
    outgoing: Vec<u8>,
    sent: usize,
    stage: Stage,
    /// The peer has said that nothing follows, or broke the protocol.
    has_ended: bool,
    /// What it did wrong, if what came before that is to be handled first.
    failure: Option<io::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has come.
    New,
    Handshaking,
    Open,
    /// The peer broke the protocol, before the session was open: it is of no more use.
    FailedHandshake,
    /// The same, later.
    Failed,
}

impl<S: Stream> TlsStream<S> {
    pub(super) fn new(socket: S, config: Arc<ServerConfig>) -> io::Result<Self> {
        let session = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Self {
            socket,
            session,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            stage: Stage::New,
            has_ended: false,
            failure: None,
        })
    }

    pub(super) fn socket(&self) -> &S {
        &self.socket
    }

    pub(super) fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Whether keys are still being agreed on, which is what costs most.
    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self.stage, Stage::New | Stage::Handshaking)
    }

    /// Whether a handshake has begun that did not, or not yet, come to its end.
    pub(super) fn is_within_handshake(&self) -> bool {
        matches!(self.stage, Stage::Handshaking | Stage::FailedHandshake)
    }

    /// Whether encrypted bytes wait for the socket to take them.
    pub(super) fn has_outgoing(&self) -> bool {
        self.sent < self.outgoing.len()
    }

    /// Bytes of memory held, the session's own not included.
    pub(super) fn held_bytes(&self) -> usize {
        self.incoming.capacity() + self.outgoing.capacity()
    }

    /// Reads once from the socket and decrypts into `plain`, which has to be longer than
    /// [`MAX_INCOMING`]; `cipher` is room for what is read, at least as long.
    pub(super) fn read(&mut self, plain: &mut [u8], cipher: &mut [u8]) -> io::Result<Received> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if self.has_ended {
            return Ok(Received {
                len: 0,
                more: More::Ended,
            });
        }
        let kept = self.incoming.len();
        let Some(room) = cipher
            .get_mut(..plain.len())
            .filter(|room| room.len() > kept)
        else {
            return Err(ErrorKind::InvalidData.into());
        };
        room[..kept].copy_from_slice(&self.incoming);
        let read = self.socket.read(&mut room[kept..])?;
        if read == 0 {
            self.has_ended = true;
            return Ok(Received {
                len: 0,
                more: More::Ended,
            });
        }
        if self.stage == Stage::New {
            // RFC 8446 §5.1: the first record is a handshake record.
            if room.first() != Some(&HANDSHAKE_RECORD) {
                return Err(io::Error::new(ErrorKind::InvalidData, NotTls));
            }
            self.stage = Stage::Handshaking;
        }
        let is_full = kept + read == room.len();
        let mut len = 0;
        let processed = self.process(&mut cipher[..kept + read], plain, &mut len);
        match processed {
            Err(error) if len > 0 => {
                self.has_ended = true;
                self.failure = Some(error);
            }
            processed => processed?,
        }
        let more = match (self.has_ended, is_full) {
            (true, _) => More::Ended,
            (false, true) => More::Maybe,
            (false, false) => More::No,
        };
        Ok(Received { len, more })
    }

    /// Encrypts the pieces into as few records as they fit in and sends them; what the socket does
    /// not take is kept, see [`has_outgoing`](Self::has_outgoing).
    pub(super) fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.flush()?;
        if self.has_outgoing() || self.stage != Stage::Open {
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = match pieces {
            [piece] => self.encrypt(&piece[..piece.len().min(BYTES_PER_WRITE)])?,
            pieces => {
                let mut joined = Vec::new();
                for piece in pieces {
                    let room = BYTES_PER_WRITE - joined.len();
                    joined.extend_from_slice(&piece[..piece.len().min(room)]);
                }
                self.encrypt(&joined)?
            }
        };
        self.flush()?;
        Ok(taken)
    }

    /// Sends what is encrypted, as far as the socket takes it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.has_outgoing() {
            match self.socket.write(&self.outgoing[self.sent..]) {
                Ok(len) => self.sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        (self.outgoing, self.sent) = (Vec::new(), 0);
        Ok(())
    }

    /// Says that nothing more will be sent (RFC 8446 §6.1).
    pub(super) fn close_notify(&mut self) {
        if self.stage != Stage::Open {
            return;
        }
        let status = self.session.process_tls_records(&mut self.incoming);
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state {
            let outgoing = &mut self.outgoing;
            let written = write_into(outgoing, 64, |room| traffic.queue_close_notify(room));
            if let Err(error) = written.and_then(|()| self.flush()) {
                log::debug!("close_notify not sent: {}", plain(&error));
            }
        }
    }

    /// Takes the session through all that `cipher` holds; what it cannot use yet is kept. `len` is how
    /// much of `plain` it has filled, also if it fails then.
    fn process(&mut self, cipher: &mut [u8], plain: &mut [u8], len: &mut usize) -> io::Result<()> {
        let mut start = 0;
        loop {
            let rest = cipher.get_mut(start..).unwrap_or_default();
            let UnbufferedStatus { discard, state } = self.session.process_tls_records(rest);
            let is_waiting = match state {
                Err(error) => {
                    start += discard;
                    self.send_alert(cipher.get_mut(start..).unwrap_or_default());
                    return Err(io::Error::new(ErrorKind::InvalidData, error));
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let payload = record.map_err(io::Error::other)?.payload;
                        let end = *len + payload.len();
                        let Some(room) = plain.get_mut(*len..end) else {
                            return Err(io::Error::other("more plaintext than ciphertext"));
                        };
                        room.copy_from_slice(payload);
                        *len = end;
                    }
                    false
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode_into(&mut self.outgoing, &mut data)?;
                    false
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    false
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.has_ended = true;
                    true
                }
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.stage = Stage::Open;
                    true
                }
                Ok(ConnectionState::BlockedHandshake) => true,
                // Early data is never offered; a state of a later rustls is no state of ours.
                Ok(_) => return Err(ErrorKind::InvalidData.into()),
            };
            start += discard;
            if is_waiting {
                break;
            }
        }
        let rest = cipher.get(start..).unwrap_or_default();
        if rest.len() > MAX_INCOMING {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "a handshake without end",
            ));
        }
        self.incoming = rest.to_vec();
        self.flush()
    }

    fn encrypt(&mut self, plain: &[u8]) -> io::Result<usize> {
        let status = self.session.process_tls_records(&mut self.incoming);
        let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state else {
            return Err(ErrorKind::BrokenPipe.into());
        };
        let room = plain.len() + (plain.len() / MAX_RECORD + 1) * RECORD_OVERHEAD;
        write_into(&mut self.outgoing, room, |room| {
            traffic.encrypt(plain, room)
        })?;
        Ok(plain.len())
    }

    /// Tells the peer what it did wrong, as far as the socket takes it at once; `rest` is what the
    /// session has not used.
    ///
    /// The session is not asked for more than it has: it would look at `rest` and fail again.
    fn send_alert(&mut self, mut rest: &mut [u8]) {
        self.has_ended = true;
        self.stage = match self.stage {
            Stage::New | Stage::Handshaking | Stage::FailedHandshake => Stage::FailedHandshake,
            Stage::Open | Stage::Failed => Stage::Failed,
        };
        self.incoming = Vec::new();
        let mut sent = Ok(());
        while self.session.wants_write() && sent.is_ok() {
            let UnbufferedStatus { discard, state } = self.session.process_tls_records(rest);
            let Ok(ConnectionState::EncodeTlsData(mut data)) = state else {
                break;
            };
            sent = encode_into(&mut self.outgoing, &mut data);
            rest = rest.get_mut(discard..).unwrap_or_default();
        }
        if let Err(error) = sent.and_then(|()| self.flush()) {
            log::debug!("alert not sent: {}", plain(&error));
        }
    }
}

/// What an error of [`TlsStream::read`] holds if the peer does not speak TLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotTls;

impl std::fmt::Display for NotTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("this port speaks TLS, the client does not")
    }
}

impl std::error::Error for NotTls {}

/// Appends what `write` writes into room for `room` bytes, or as many more as it asks for.
fn write_into(
    out: &mut Vec<u8>,
    room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> io::Result<()> {
    let start = out.len();
    out.resize(start + room, 0);
    let written = match write(&mut out[start..]) {
        Err(EncryptError::InsufficientSize(size)) => {
            out.resize(start + size.required_size, 0);
            write(&mut out[start..])
        }
        written => written,
    };
    out.truncate(start + written.as_ref().copied().unwrap_or(0));
    written.map(drop).map_err(io::Error::other)
}

fn encode_into<D>(
    out: &mut Vec<u8>,
    data: &mut rustls::unbuffered::EncodeTlsData<'_, D>,
) -> io::Result<()> {
    let start = out.len();
    let written = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(size)) => {
            out.resize(start + size.required_size, 0);
            data.encode(&mut out[start..])
        }
        written => written,
    };
    out.truncate(start + written.as_ref().copied().unwrap_or(0));
    written.map(drop).map_err(io::Error::other)
}

/// Content type of a handshake record (RFC 8446 §5.1).
pub(super) const HANDSHAKE_RECORD: u8 = 22;

/// Longest plaintext of one record, in bytes (RFC 8446 §5.1).
const MAX_RECORD: usize = 1 << 14;

/// Bytes that a record adds: header, content type, tag; more for TLS 1.2 (RFC 8446 §5.2).
const RECORD_OVERHEAD: usize = 64;

/// Most plaintext that is encrypted before the socket has to take it.
const BYTES_PER_WRITE: usize = 8 * MAX_RECORD;

/// Most bytes of unfinished records or handshake messages: rustls accepts messages of 64 KiB.
pub(super) const MAX_INCOMING: usize = 80 << 10;

//! Bytes to and from the server, plain or over TLS, with deadlines.

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::address::{Address, Security};
use super::error::Error;
use crate::ops::names;

/// A connection.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Some bytes.
    Some,
    /// None before the deadline.
    TimedOut,
    /// The other end will send nothing more.
    Ended,
}

impl Stream {
    /// Connects to the first address of the host that answers.
    pub(super) fn connect(address: &Address, timeout: Duration) -> Result<Self, Error> {
        let tcp = connect_tcp(address, timeout)?;
        let is_set = tcp
            .set_nodelay(true)
            .and_then(|()| tcp.set_write_timeout(Some(timeout)))
            .and_then(|()| tcp.set_read_timeout(Some(timeout)));
        is_set.map_err(Error::Lost)?;
        match address.security {
            Security::Plain => Ok(Self::Plain(tcp)),
            Security::Tls => connect_tls(tcp, &address.host),
        }
    }

    /// Reads what there is, or waits for some until `deadline`.
    pub(super) fn read(
        &mut self,
        deadline: Option<Instant>,
        into: &mut Vec<u8>,
    ) -> io::Result<Read> {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(Read::TimedOut);
        }
        let mut buffer = [0; 16_384];
        let result = match self {
            Self::Plain(tcp) => {
                tcp.set_read_timeout(left)?;
                tcp.read(&mut buffer)
            }
            Self::Tls(tls) => {
                tls.sock.set_read_timeout(left)?;
                tls.read(&mut buffer)
            }
        };
        match result {
            Ok(0) => Ok(Read::Ended),
            Ok(count) => {
                into.extend_from_slice(buffer.get(..count).unwrap_or_default());
                Ok(Read::Some)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(Read::TimedOut)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Read::Some),
            // Ended without close_notify.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Read::Ended),
            Err(error) => Err(error),
        }
    }

    /// Writes all of it.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.write_all(bytes),
            Self::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Tls(_) => "Tls",
        })
    }
}

fn connect_tcp(address: &Address, timeout: Duration) -> Result<TcpStream, Error> {
    let resolved = names::resolve(&address.host, address.port);
    let resolved = resolved.map_err(|error| Error::Resolve(address.host.clone(), error))?;
    let mut last = Error::Resolve(address.host.clone(), ErrorKind::NotFound.into());
    for place in resolved {
        match TcpStream::connect_timeout(&place, timeout) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = Error::Connect(place.to_string(), error),
        }
    }
    Err(last)
}

/// Trusts whom the system trusts (SSL_CERT_FILE names others).
fn connect_tls(mut tcp: TcpStream, host: &str) -> Result<Stream, Error> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(Error::Tls(
            "the system has no root certificates (ca-certificates)".into(),
        ));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|_| Error::Address(host.to_owned()))?;
    let session = ClientConnection::new(Arc::new(config), name);
    let mut session = session.map_err(|error| Error::Tls(error.to_string()))?;
    while session.is_handshaking() {
        session
            .complete_io(&mut tcp)
            .map_err(|error| Error::Tls(reason_of(&error)))?;
    }
    Ok(Stream::Tls(Box::new(StreamOwned::new(session, tcp))))
}

fn reason_of(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(fault)) => return fault_of(fault),
        Some(rustls::Error::InvalidMessage(_)) => {
            return "what answers there speaks no TLS; ws:// is meant, or another port".into();
        }
        Some(_) | None => {}
    }
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            "the server ends the connection: does that port speak TLS?".into()
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "the server does not answer".into(),
        _ => error.to_string(),
    }
}

fn fault_of(fault: &CertificateError) -> String {
    match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate has expired; renew it (certbot renew)".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the certificate is for another name: {fault}")
        }
        CertificateError::UnknownIssuer => "who signed the certificate is not known here: it is \
            self-signed, or sent without its chain (certFile should be fullchain.pem)"
            .into(),
        other => format!("the certificate is refused: {other}"),
    }
}

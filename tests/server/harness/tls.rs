//! The client's end of TLS, and the certificate that the servers of a suite get.

use std::cell::Cell;
use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, DEFAULT_VERSIONS, RootCertStore, SupportedProtocolVersion,
};
use socket2::SockRef;

use super::PATIENCE;
use super::client::{Transport, left};

/// One certificate for all servers of a run, and clients that trust nothing else.
struct Identity {
    cert: String,
    key: String,
    roots: RootCertStore,
    client: Arc<ClientConfig>,
}

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let cert = params.self_signed(&key).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a root");
    Identity {
        cert: cert.pem(),
        key: key.serialize_pem(),
        client: Arc::new(trusting(roots.clone())),
        roots,
    }
});

/// What a client that trusts `roots` is made with.
pub(crate) fn trusting(roots: RootCertStore) -> ClientConfig {
    trusting_over(roots, DEFAULT_VERSIONS)
}

/// The same with these versions of TLS only.
pub(crate) fn trusting_over(
    roots: RootCertStore,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A client that trusts the suite's certificate.
pub(crate) fn client_config() -> Arc<ClientConfig> {
    Arc::clone(&IDENTITY.client)
}

/// What trusts the suite's certificate, and nothing else.
pub(crate) fn roots() -> RootCertStore {
    IDENTITY.roots.clone()
}

/// A session of a client that wants to reach `localhost`.
pub(crate) fn session(config: Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(config, name).expect("a session")
}

/// Writes the suite's certificate into `directory`; the ini lines that name it.
pub(crate) fn write_identity(directory: &Path) -> String {
    let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    fs::write(&cert, &IDENTITY.cert).expect("a file");
    fs::write(&key, &IDENTITY.key).expect("a file");
    format!("certFile={}\npkFile={}\n", cert.display(), key.display())
}

thread_local! {
    static SERVER_IS_STOPPED: Cell<bool> = const { Cell::new(false) };
}

/// Says that the server of this test was stopped, or goes on: as long as it stands, new clients do
/// not wait for the end of their handshake, and what they send waits in the session.
pub(crate) fn server_is_stopped(is_stopped: bool) {
    SERVER_IS_STOPPED.set(is_stopped);
}

/// TLS over TCP.
pub(crate) struct TlsTransport {
    stream: TcpStream,
    session: ClientConnection,
    form: Form,
}

/// What the server's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Unknown,
    Records,
    /// A refusal that did not wait for TLS.
    Plain,
}

impl TlsTransport {
    /// Goes through the handshake. If that fails, each later call says why.
    pub(crate) fn connect(stream: TcpStream) -> Self {
        Self::connect_with(stream, client_config())
    }

    pub(crate) fn connect_with(stream: TcpStream, config: Arc<ClientConfig>) -> Self {
        let mut transport = Self::over(stream, session(config));
        let _ = transport.shake_hands(Instant::now() + PATIENCE);
        transport
    }

    /// Nothing is sent yet.
    pub(crate) fn over(stream: TcpStream, mut session: ClientConnection) -> Self {
        session.set_buffer_limit(None);
        Self {
            stream,
            session,
            form: Form::Unknown,
        }
    }

    /// What was agreed on.
    pub(crate) fn session(&self) -> &ClientConnection {
        &self.session
    }

    pub(crate) fn shake_hands(&mut self, deadline: Instant) -> io::Result<()> {
        self.flush(deadline)?;
        while self.session.is_handshaking() && self.form != Form::Plain {
            if SERVER_IS_STOPPED.get() {
                return Ok(());
            }
            self.fetch(deadline)?;
        }
        Ok(())
    }

    /// Takes one read's worth of records, and sends what they call for. What the server does not take
    /// now must not keep this end from reading: the server may wait for just that.
    fn fetch(&mut self, deadline: Instant) -> io::Result<()> {
        self.without_waiting(Self::flush_available)?;
        self.stream.set_read_timeout(Some(left(deadline)?))?;
        if self.form == Form::Unknown {
            let mut first = [0];
            self.form = match self.stream.peek(&mut first)? {
                1 if first == *b"H" => Form::Plain,
                _ => Form::Records,
            };
            if self.form == Form::Plain {
                return Ok(());
            }
        }
        let count = self.session.read_tls(&mut self.stream)?;
        let processed = self.session.process_new_packets();
        // An alert, if there is one.
        self.without_waiting(Self::flush_available)?;
        processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        if count == 0 && self.session.is_handshaking() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn flush(&mut self, deadline: Instant) -> io::Result<()> {
        while self.session.wants_write() {
            self.stream.set_write_timeout(Some(left(deadline)?))?;
            self.session.write_tls(&mut self.stream)?;
        }
        Ok(())
    }

    /// Has `act` done on a socket that takes and gives only what goes at once.
    fn without_waiting<T>(
        &mut self,
        act: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        self.stream.set_nonblocking(true)?;
        let done = act(self);
        self.stream.set_nonblocking(false)?;
        done
    }

    fn flush_available(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.stream) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                other => other?,
            };
        }
        Ok(())
    }

    fn encrypt_available(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush_available()?;
        if self.session.wants_write() {
            return Ok(0);
        }
        let count = bytes.len().min(MAX_AT_ONCE);
        self.session.writer().write_all(&bytes[..count])?;
        self.flush_available()?;
        Ok(count)
    }
}

impl Transport for TlsTransport {
    /// The end is 0 only if the server has said close_notify.
    fn read_until(&mut self, deadline: Instant, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.form == Form::Plain {
                return Transport::read_until(&mut self.stream, deadline, buffer);
            }
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.fetch(deadline)?,
                other => return other,
            }
        }
    }

    fn write_until(&mut self, deadline: Instant, bytes: &[u8]) -> io::Result<()> {
        if self.form == Form::Plain {
            return Err(ErrorKind::BrokenPipe.into());
        }
        self.shake_hands(deadline)?;
        for chunk in bytes.chunks(MAX_AT_ONCE) {
            self.session.writer().write_all(chunk)?;
            self.flush(deadline)?;
        }
        Ok(())
    }

    fn write_available(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.without_waiting(|transport| transport.encrypt_available(bytes))
    }

    /// close_notify, and the end of TCP.
    fn shut_down_write(&mut self) -> io::Result<()> {
        self.session.send_close_notify();
        self.flush(Instant::now() + PATIENCE)?;
        self.stream.shutdown(Shutdown::Write)
    }

    fn reset(self: Box<Self>) {
        let lingering = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        lingering.expect("SO_LINGER can be set");
    }

    fn local_addr(&self) -> SocketAddr {
        Transport::local_addr(&self.stream)
    }
}

/// Most bytes that are encrypted before the socket has taken those before.
const MAX_AT_ONCE: usize = 64 << 10;

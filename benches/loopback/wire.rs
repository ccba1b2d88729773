//! The generator's end of a connection, with TLS or without.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use mio::net::TcpStream;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use socket2::{Domain, Socket, Type};

/// How connections are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    Plain,
    /// TLS 1.3 with ECDSA P-256, each handshake a full one.
    Tls,
    /// The same, resumed where the server has given a ticket.
    TlsResumed,
}

/// A socket, and the TLS session on it.
pub(crate) struct Wire {
    socket: TcpStream,
    session: Option<Box<ClientConnection>>,
}

impl Wire {
    /// Connects and goes through the handshake; sends `opening` and reads until `is_read` says that
    /// its answer is whole. What comes later is not waited for.
    pub(crate) fn open(
        address: SocketAddr,
        security: Security,
        opening: &[u8],
        is_read: impl Fn(&[u8]) -> bool,
    ) -> Self {
        let socket = std::net::TcpStream::connect(address).unwrap();
        Self::open_on(socket, security, opening, is_read)
    }

    /// The same for whoever takes little at a time, so that what is sent to it waits at the server
    /// and not in the kernel.
    pub(crate) fn open_slow(
        address: SocketAddr,
        opening: &[u8],
        is_read: impl Fn(&[u8]) -> bool,
    ) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        socket.set_tcp_mss(1400).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::open_on(socket.into(), Security::Plain, opening, is_read)
    }

    fn open_on(
        socket: std::net::TcpStream,
        security: Security,
        opening: &[u8],
        is_read: impl Fn(&[u8]) -> bool,
    ) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let session = IDENTITY.session(security).map(Box::new);
        let mut blocking = Blocking { socket, session };
        blocking.write(opening);
        let mut answer = Vec::new();
        while !is_read(&answer) {
            blocking.read(&mut answer);
        }
        blocking.socket.set_nonblocking(true).unwrap();
        Self {
            socket: TcpStream::from_std(blocking.socket),
            session: blocking.session,
        }
    }

    /// For the poll.
    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Whether a read that does not fill its buffer has shown that no more is there.
    pub(crate) fn reads_all(&self) -> bool {
        self.session.is_none()
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(session) = &mut self.session else {
            return self.socket.read(buffer);
        };
        loop {
            match session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            if session.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            session.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let Some(session) = &mut self.session else {
            return self.socket.write(bytes);
        };
        let written = session.writer().write(bytes)?;
        match self.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(written),
        }
    }

    /// Sends what is encrypted.
    fn flush(&mut self) -> io::Result<()> {
        if let Some(session) = &mut self.session {
            while session.wants_write() {
                session.write_tls(&mut self.socket)?;
            }
        }
        Ok(())
    }
}

/// The same until it is open.
struct Blocking {
    socket: std::net::TcpStream,
    session: Option<Box<ClientConnection>>,
}

impl Blocking {
    fn write(&mut self, bytes: &[u8]) {
        match &mut self.session {
            None => self.socket.write_all(bytes).unwrap(),
            Some(session) => {
                session.writer().write_all(bytes).unwrap();
                while session.wants_write() || session.is_handshaking() {
                    session.complete_io(&mut self.socket).unwrap();
                }
            }
        }
    }

    fn read(&mut self, answer: &mut Vec<u8>) {
        let mut chunk = [0; 512];
        let read = match &mut self.session {
            None => self.socket.read(&mut chunk),
            Some(session) => {
                rustls::Stream::new(session.as_mut(), &mut self.socket).read(&mut chunk)
            }
        };
        let len = read.unwrap();
        assert_ne!(len, 0, "closed: {}", String::from_utf8_lossy(answer));
        answer.extend_from_slice(&chunk[..len]);
    }
}

/// A certificate of the server's for the time of this run, and who trusts it.
struct Identity {
    directory: PathBuf,
    full: Arc<ClientConfig>,
    resuming: Arc<ClientConfig>,
}

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let cert = params.self_signed(&key).unwrap();
    let directory = std::env::temp_dir().join(format!("websock-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let resuming = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut full = resuming.clone();
    full.resumption = Resumption::disabled();
    Identity {
        directory,
        full: Arc::new(full),
        resuming: Arc::new(resuming),
    }
});

impl Identity {
    fn session(&self, security: Security) -> Option<ClientConnection> {
        let config = match security {
            Security::Plain => return None,
            Security::Tls => &self.full,
            Security::TlsResumed => &self.resuming,
        };
        let name = ServerName::try_from("localhost").unwrap();
        let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
        session.set_buffer_limit(None);
        Some(session)
    }
}

/// The lines of an ini file that name the certificate.
pub(crate) fn ini_lines() -> String {
    let [cert, key] = identity_files();
    format!("certFile={}\npkFile={}\n", cert.display(), key.display())
}

/// The certificate, and its key.
pub(crate) fn identity_files() -> [PathBuf; 2] {
    ["cert.pem", "key.pem"].map(|name| IDENTITY.directory.join(name))
}

/// Removes the certificate's files.
pub(crate) fn clean_up() {
    let _ = std::fs::remove_dir_all(&IDENTITY.directory);
}

/// How long anything is waited for that is to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const NEXT_LEN: usize = 28;

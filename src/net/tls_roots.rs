//! [`TlsRoots`]: whom this server trusts as a client, the roots of the system or those of a file.
//!
//! They are many files on some systems, so a thread reads them when the first connection needs
//! them, and nobody reads them where none does.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use log::{info, warn};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::system::Waker;

/// The roots, as soon as they have been read.
pub(super) struct TlsRoots {
    waker: Waker,
    source: RootsSource,
    state: State,
}

/// Where roots come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RootsSource {
    /// The system, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    #[default]
    System,
    /// The certificates of a PEM file, and no others.
    File(PathBuf),
}

enum State {
    NotRead,
    Reading(Receiver<Option<ClientConfig>>),
    Read(Arc<ClientConfig>),
}

/// What has become of reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RootsRead {
    /// They are there.
    Done,
    /// There are none. The next connection has them looked for again.
    Failed,
}

impl TlsRoots {
    /// Nothing is read yet. The thread calls `waker` when it has.
    pub(super) fn new(waker: Waker, source: RootsSource) -> Self {
        Self {
            waker,
            source,
            state: State::NotRead,
        }
    }

    /// Where they come from.
    pub(super) fn source(&self) -> &RootsSource {
        &self.source
    }

    /// What sessions are made with; `None`: they have to be [read](Self::read) first.
    pub(super) fn config(&self) -> Option<&Arc<ClientConfig>> {
        match &self.state {
            State::Read(config) => Some(config),
            State::NotRead | State::Reading(_) => None,
        }
    }

    /// Has them read, unless that is going on; [`take_up`](Self::take_up) says what has come of it.
    ///
    /// # Errors
    /// If the system has no room for a thread.
    pub(super) fn read(&mut self) -> io::Result<()> {
        if let State::NotRead = self.state {
            let (sender, receiver) = channel();
            let waker = Arc::clone(&self.waker);
            let source = self.source.clone();
            let name = "tls-roots".to_owned();
            thread::Builder::new().name(name).spawn(move || {
                // Nobody is there to take it if the server has ended meanwhile.
                drop(sender.send(read_roots(&source)));
                waker();
            })?;
            self.state = State::Reading(receiver);
        }
        Ok(())
    }

    /// What has become of reading them, once, when it is over.
    pub(super) fn take_up(&mut self) -> Option<RootsRead> {
        let State::Reading(receiver) = &self.state else {
            return None;
        };
        match receiver.try_recv() {
            Ok(Some(config)) => {
                self.state = State::Read(Arc::new(config));
                Some(RootsRead::Done)
            }
            Err(std::sync::mpsc::TryRecvError::Empty) => None,
            Ok(None) | Err(std::sync::mpsc::TryRecvError::Disconnected) => {
                self.state = State::NotRead;
                Some(RootsRead::Failed)
            }
        }
    }
}

fn read_roots(source: &RootsSource) -> Option<ClientConfig> {
    let certificates = match source {
        RootsSource::System => read_system_roots(),
        RootsSource::File(file) => read_file(file),
    };
    let mut roots = RootCertStore::empty();
    let (used, unusable) = roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        match source {
            RootsSource::System => warn!(
                "no server can be trusted over TLS: the system has no root certificates; install \
                 them (ca-certificates) or name a file in SSL_CERT_FILE"
            ),
            RootsSource::File(file) => warn!(
                "no server can be trusted over TLS: {} has no certificates; name a PEM file that \
                 this user may read",
                file.display()
            ),
        }
        return None;
    }
    info!("{used} root certificates read, {unusable} unusable");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    match builder.with_safe_default_protocol_versions() {
        Ok(builder) => Some(builder.with_root_certificates(roots).with_no_client_auth()),
        Err(error) => {
            warn!("TLS as a client is not possible: {error}");
            None
        }
    }
}

/// Those of the system, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
fn read_system_roots() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        warn!("root certificates could not be read: {error}");
    }
    found.certs
}

fn read_file(file: &Path) -> Vec<CertificateDer<'static>> {
    let read = CertificateDer::pem_file_iter(file);
    match read.and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(certificates) => certificates,
        Err(error) => {
            warn!("root certificates could not be read: {error}");
            Vec::new()
        }
    }
}

//! Makes certificates, and clients that trust them.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SignatureAlgorithm,
};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, DEFAULT_VERSIONS, RootCertStore, SupportedProtocolVersion,
};
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::Any;

use crate::harness::server::Directory;
use crate::harness::tls::{TlsTransport, trusting_over};
use crate::harness::{Conn, Request, Server};

/// Who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let issuer = CertifiedIssuer::self_signed(authority_params("Test Root"), key());
        Self(issuer.expect("a certificate"))
    }

    /// One that signs with RSA.
    pub(crate) fn new_rsa() -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
        let issuer = CertifiedIssuer::self_signed(authority_params("Test Root"), key);
        Self(issuer.expect("a certificate"))
    }

    /// One whose certificate this one has signed.
    pub(crate) fn intermediate(&self) -> Self {
        let params = authority_params("Test Intermediate");
        let issuer = CertifiedIssuer::signed_by(params, key(), self.issuer());
        Self(issuer.expect("a certificate"))
    }

    /// The same, and its certificate has ended.
    pub(crate) fn intermediate_until(&self, (year, month, day): (i32, u8, u8)) -> Self {
        let mut params = authority_params("Test Intermediate");
        params.not_after = rcgen::date_time_ymd(year, month, day);
        let issuer = CertifiedIssuer::signed_by(params, key(), self.issuer());
        Self(issuer.expect("a certificate"))
    }

    fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.0
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `name` with a key of its own.
    pub(crate) fn issue(&self, name: &str) -> Leaf {
        self.issue_for(&params(name), &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    pub(crate) fn issue_for(
        &self,
        params: &CertificateParams,
        algorithm: &'static SignatureAlgorithm,
    ) -> Leaf {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let cert = params.signed_by(&key, self.issuer());
        let cert = cert.expect("a certificate");
        Leaf {
            pem: cert.pem(),
            der: cert.der().clone(),
            key,
        }
    }

    /// A client that trusts this authority and begins each session anew.
    pub(crate) fn client(&self) -> ClientConfig {
        self.client_over(DEFAULT_VERSIONS)
    }

    /// The same with these versions of TLS only.
    pub(crate) fn client_over(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut config = trusting_over(self.roots(), versions);
        config.resumption = Resumption::disabled();
        config
    }

    /// The same with the algorithms of this provider.
    pub(crate) fn client_by(
        &self,
        provider: CryptoProvider,
        version: &'static SupportedProtocolVersion,
    ) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_protocol_versions(&[version]);
        let builder = builder.expect("a version of TLS");
        builder
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a root");
        roots
    }
}

/// A server's certificate and its key.
pub(crate) struct Leaf {
    pub(crate) pem: String,
    pub(crate) der: CertificateDer<'static>,
    pub(crate) key: KeyPair,
}

impl Leaf {
    /// The key in PKCS #8.
    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The key as it was written before PKCS #8, with this label: the innermost of its wrapping.
    pub(crate) fn old_key_pem(&self, label: &str) -> String {
        let wrapped = self.key.serialize_der();
        // RFC 5208 §5: version, algorithm, key.
        let parts = Vec::<Any>::from_der(&wrapped).expect("a sequence");
        pem(label, parts[2].value())
    }
}

/// RFC 7468.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64);
    let lines: String = lines
        .map(|line| format!("{}\n", String::from_utf8_lossy(line)))
        .collect();
    format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

pub(crate) fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// Files with these contents in a directory of their own.
pub(crate) struct Files(Directory);

impl Files {
    pub(crate) fn new() -> Self {
        Self(Directory::new())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path.join(name)
    }

    /// Writes a file as certbot does: whole, in place of the old one.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let (file, new) = (self.path(name), self.path("new"));
        fs::write(&new, text).expect("a file");
        fs::rename(&new, &file).expect("a file in its place");
        file.display().to_string()
    }

    /// A FIFO that nobody writes to.
    pub(crate) fn fifo(&self, name: &str) -> String {
        let file = self.path(name);
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR).expect("a FIFO");
        file.display().to_string()
    }

    /// Writes both; the ini lines that name them.
    pub(crate) fn pair(&self, cert: &str, key: &str) -> String {
        format!(
            "certFile={}\npkFile={}",
            self.write("cert.pem", cert),
            self.write("key.pem", key)
        )
    }
}

/// A session with the server, or why there is none.
pub(crate) fn try_dial(
    server: &Server,
    config: ClientConfig,
    name: &str,
) -> Result<TlsTransport, String> {
    let stream = TcpStream::connect(server.address()).expect("the server accepts");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let session = ClientConnection::new(Arc::new(config), name).expect("a session");
    let mut transport = TlsTransport::over(stream, session);
    match transport.shake_hands(std::time::Instant::now() + crate::harness::PATIENCE) {
        Ok(()) => Ok(transport),
        Err(error) => Err(error.to_string()),
    }
}

#[track_caller]
pub(crate) fn dial(server: &Server, config: ClientConfig, name: &str) -> TlsTransport {
    try_dial(server, config, name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What the server has shown, its own certificate first.
pub(crate) fn shown(transport: &TlsTransport) -> Vec<CertificateDer<'static>> {
    let certificates = transport.session().peer_certificates();
    certificates.expect("certificates").to_vec()
}

/// The session carries the dialogue.
#[track_caller]
pub(crate) fn expect_dialogue(transport: TlsTransport) {
    let conn = Conn::new(Box::new(transport));
    conn.open(&Request::to("/web")).round_trip();
}

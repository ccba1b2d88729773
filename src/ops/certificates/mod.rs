//! PEM files → TLS configuration, checked, and again when the files change.

mod x509;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig, SupportedCipherSuite, version};

use crate::base::escape;
use x509::X509;

/// Where one certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// PEM file with the certificate, and behind it those that signed it (`certFile`).
    pub cert_file: PathBuf,
    /// PEM file with the private key (`pkFile`); the same file if it holds both.
    pub key_file: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug)]
pub struct TlsError {
    /// The file that is to be mended.
    pub file: PathBuf,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

impl std::error::Error for TlsError {}

/// The certificates in force, and what they were read from.
#[derive(Debug)]
pub struct Certificates {
    pairs: Vec<KeyPair>,
    stamps: Vec<Option<Stamp>>,
    config: Arc<ServerConfig>,
    expires: SystemTime,
    warnings: Vec<String>,
    descriptions: Vec<String>,
}

/// What tells that a file has been replaced.
type Stamp = (SystemTime, u64);

impl Certificates {
    /// Reads and checks all files. The first pair is used for names that no certificate has.
    pub fn load(pairs: &[KeyPair]) -> Result<Self, TlsError> {
        let stamps = stamps(pairs);
        let mut choice = Choice::default();
        let (mut warnings, mut descriptions) = (Vec::new(), Vec::new());
        let mut expires = None;
        for pair in pairs {
            let loaded = load_pair(pair, &mut warnings)?;
            expires = Some(expires.map_or(loaded.expires, |e: SystemTime| e.min(loaded.expires)));
            descriptions.push(loaded.description);
            choice.keys.push((loaded.names, Arc::new(loaded.key)));
        }
        let Some(expires) = expires else {
            return Err(TlsError {
                file: PathBuf::new(),
                reason: "no certificate".into(),
            });
        };
        let config = server_config(choice).map_err(|error| TlsError {
            file: pairs[0].cert_file.clone(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            pairs: pairs.to_vec(),
            stamps,
            config: Arc::new(config),
            expires,
            warnings,
            descriptions,
        })
    }

    /// For new connections.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// What works and should be mended.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// File, names, end of validity, signer and length of the chain of each.
    pub fn descriptions(&self) -> &[String] {
        &self.descriptions
    }

    /// Time from now until the first certificate expires.
    pub fn time_left(&self) -> Duration {
        self.expires
            .duration_since(SystemTime::now())
            .unwrap_or_default()
    }

    /// Reads the files again if one has changed since the last look; whether new ones are in force.
    /// An error leaves the old ones in force and is reported once per change.
    pub fn reload_if_changed(&mut self) -> Result<bool, TlsError> {
        let stamps = stamps(&self.pairs);
        if stamps == self.stamps {
            return Ok(false);
        }
        self.stamps = stamps;
        *self = Self::load(&self.pairs)?;
        Ok(true)
    }
}

struct LoadedPair {
    key: CertifiedKey,
    names: Vec<String>,
    expires: SystemTime,
    description: String,
}

fn load_pair(pair: &KeyPair, warnings: &mut Vec<String>) -> Result<LoadedPair, TlsError> {
    let chain = read_chain(&pair.cert_file)?;
    let key = read_key(&pair.key_file)?;
    let bad_cert = |reason: String| TlsError {
        file: pair.cert_file.clone(),
        reason,
    };
    let leaf = chain
        .first()
        .ok_or_else(|| bad_cert("holds no certificate".into()))?;
    let leaf = X509::read(leaf)
        .ok_or_else(|| bad_cert("the first certificate cannot be read: it is damaged".into()))?;
    let now = SystemTime::now();
    if now < leaf.not_before.at {
        let starts = &leaf.not_before.text;
        return Err(bad_cert(format!("is not valid before {starts}")));
    }
    if leaf.not_after.at < now {
        let ended = &leaf.not_after.text;
        return Err(bad_cert(format!(
            "has expired on {ended}; renew it (certbot renew)"
        )));
    }
    if chain.len() == 1 && leaf.issuer != leaf.subject {
        warnings.push(format!(
            "{} holds the certificate without those that signed it, so some clients will refuse it; \
             name the file that holds them all (Let's Encrypt's fullchain.pem)",
            pair.cert_file.display()
        ));
    }
    let names = leaf.dns_names;
    let description = format!(
        "{} is for {}, until {}, signed by {}, {} in the chain",
        pair.cert_file.display(),
        names.join(", "),
        leaf.not_after.text,
        escape(&leaf.issuer.to_string()),
        chain.len()
    );
    if !is_in_order(&chain) {
        warnings.push(format!(
            "{} does not hold each certificate in front of that which signed it, so some clients \
             will refuse it",
            pair.cert_file.display()
        ));
    }
    let signer = aws_lc_rs::sign::any_supported_type(&key).map_err(|error| TlsError {
        file: pair.key_file.clone(),
        reason: format!("holds a key of a kind that is not supported: {error}"),
    })?;
    let key = CertifiedKey::new(chain, signer);
    key.keys_match().map_err(|_| TlsError {
        file: pair.key_file.clone(),
        reason: format!(
            "is not the key of the certificate in {}",
            pair.cert_file.display()
        ),
    })?;
    Ok(LoadedPair {
        key,
        names,
        expires: leaf.not_after.at,
        description,
    })
}

/// RFC 5246 §7.4.2: each certifies the one in front of it.
fn is_in_order(chain: &[CertificateDer<'_>]) -> bool {
    chain.windows(2).all(|pair| {
        let (one, next) = (X509::read(&pair[0]), X509::read(&pair[1]));
        one.is_some_and(|one| next.is_some_and(|next| one.issuer == next.subject))
    })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |reason: String| TlsError {
        file: path.to_owned(),
        reason,
    };
    let text = fs::read(path).map_err(|error| fault(unreadable(&error)))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| fault(format!("is no PEM file: {error}")))?;
    if chain.is_empty() {
        return Err(fault(
            "holds no certificate (-----BEGIN CERTIFICATE-----)".into(),
        ));
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let fault = |reason: String| TlsError {
        file: path.to_owned(),
        reason,
    };
    let text = fs::read(path).map_err(|error| fault(unreadable(&error)))?;
    let contains = |part: &[u8]| memchr::memmem::find(&text, part).is_some();
    if contains(b"BEGIN ENCRYPTED PRIVATE KEY") || contains(b"Proc-Type: 4,ENCRYPTED") {
        return Err(fault(
            "the key is encrypted; decrypt it first (openssl pkey -in OLD -out NEW)".into(),
        ));
    }
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| fault("holds no private key (-----BEGIN PRIVATE KEY-----)".into()))
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("{error}; the user that runs websock must be able to read it")
        }
        _ => error.to_string(),
    }
}

fn server_config(choice: Choice) -> Result<ServerConfig, rustls::Error> {
    let mut provider = aws_lc_rs::default_provider();
    // SHA-384 takes a fifth of a handshake, SHA-256 next to nothing: it has instructions of its own.
    provider
        .cipher_suites
        .sort_by_key(|suite| !is_aes_128(suite));
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(choice));
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    // One ticket per connection: pages resume with the latest.
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// Whether this is AES-128-GCM with SHA-256, which every client has that has TLS 1.3.
fn is_aes_128(suite: &SupportedCipherSuite) -> bool {
    matches!(
        suite.suite(),
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

/// Chooses a certificate by the name that the client asks for.
#[derive(Debug, Default)]
struct Choice {
    keys: Vec<(Vec<String>, Arc<CertifiedKey>)>,
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().map(str::to_ascii_lowercase);
        let fits = |names: &[String]| {
            asked
                .as_deref()
                .is_some_and(|asked| names.iter().any(|name| matches(name, asked)))
        };
        let found = self
            .keys
            .iter()
            .find(|(names, _)| fits(names))
            .or(self.keys.first());
        found.map(|(_, key)| Arc::clone(key))
    }
}

/// Whether a certificate's name is the one asked for; a wildcard is one label (RFC 6125 §6.4.3).
fn matches(name: &str, asked: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => asked
            .split_once('.')
            .is_some_and(|(_, rest)| rest == parent),
        None => name == asked,
    }
}

fn stamps(pairs: &[KeyPair]) -> Vec<Option<Stamp>> {
    let files = pairs
        .iter()
        .flat_map(|pair| [&pair.cert_file, &pair.key_file]);
    files
        .map(|file| {
            let metadata = fs::metadata(file).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        for (name, asked, expected) in [
            ("example.org", "example.org", true),
            ("example.org", "www.example.org", false),
            ("*.example.org", "www.example.org", true),
            ("*.example.org", "a.b.example.org", false),
            ("*.example.org", "example.org", false),
        ] {
            assert_eq!(matches(name, asked), expected, "{name} {asked}");
        }
    }
}

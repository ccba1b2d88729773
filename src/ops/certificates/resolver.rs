//! Which certificate a client is shown, and what else TLS is configured with.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CipherSuite, ServerConfig, SignatureAlgorithm, SignatureScheme, SupportedCipherSuite, version,
};

/// What may be shown, and for which names.
#[derive(Debug)]
pub(super) struct Shown {
    /// Lower case, sorted; a wildcard keeps its `*.`.
    pub(super) names: Vec<String>,
    pub(super) key: Arc<CertifiedKey>,
}

/// Of several for a name, the first that a client can check is shown to it. Those for exactly
/// `default_names` stand in for names that none has.
pub(super) fn server_config(
    shown: Vec<Shown>,
    default_names: Vec<String>,
) -> Result<ServerConfig, rustls::Error> {
    let mut provider = aws_lc_rs::default_provider();
    // SHA-384 takes a fifth of a handshake, SHA-256 next to nothing: it has instructions of its own.
    provider
        .cipher_suites
        .sort_by_key(|suite| !is_aes_128(suite));
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver::new(shown, default_names)));
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

/// Chooses a certificate by the name that the client asks for and by the signatures it can check.
#[derive(Debug)]
struct Resolver {
    /// Those that cost less first.
    shown: Vec<Shown>,
    default_names: Vec<String>,
}

impl Resolver {
    fn new(mut shown: Vec<Shown>, default_names: Vec<String>) -> Self {
        // Stable. An ECDSA signature costs the server a tenth of an RSA one, so RSA is for those
        // who know nothing else.
        shown.sort_by_key(|one| one.key.key.algorithm() == SignatureAlgorithm::RSA);
        Self {
            shown,
            default_names,
        }
    }

    fn choose(&self, asked: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Shown> {
        let asked = asked.map(str::to_ascii_lowercase);
        let fits = |shown: &&Shown| {
            let asked = asked.as_deref();
            asked.is_some_and(|asked| shown.names.iter().any(|name| matches(name, asked)))
        };
        let mut fitting: Vec<_> = self.shown.iter().filter(fits).collect();
        if fitting.is_empty() {
            let stands_in = |shown: &&Shown| shown.names == self.default_names;
            fitting = self.shown.iter().filter(stands_in).collect();
        }
        let can_check = |shown: &&&Shown| shown.key.key.choose_scheme(schemes).is_some();
        // One that the client cannot check makes for the right alert.
        let found = fitting.iter().find(can_check).or(fitting.first());
        found.copied()
    }
}

impl ResolvesServerCert for Resolver {
    /// rustls has taken out of the schemes what no cipher suite of the client goes with.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.choose(hello.server_name(), hello.signature_schemes())?;
        Some(Arc::clone(&shown.key))
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

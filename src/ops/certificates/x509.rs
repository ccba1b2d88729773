//! What this server has to know of an X.509 certificate (RFC 5280). No signature is checked: that
//! is the clients' task.

use std::net::IpAddr;
use std::time::SystemTime;

use x509_cert::Certificate;
use x509_cert::certificate::Version;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::name::Name;
use x509_cert::time::Time;

/// One certificate, read.
pub(super) struct X509 {
    pub(super) subject: Name,
    pub(super) issuer: Name,
    pub(super) not_before: Date,
    pub(super) not_after: Date,
    /// DNS names in lower case; a wildcard keeps its `*.`.
    pub(super) dns_names: Vec<String>,
    /// Addresses that the certificate is for; nobody can ask for one of them by SNI.
    pub(super) addresses: Vec<IpAddr>,
    /// The subjectPublicKeyInfo, encoded.
    pub(super) public_key: Vec<u8>,
    /// It may certify others.
    pub(super) is_authority: bool,
    pub(super) is_version_3: bool,
}

/// A point in time, and how it is shown (RFC 3339).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) at: SystemTime,
    pub(super) text: String,
}

impl X509 {
    /// `None` for bytes that are no certificate. Nothing of them is kept for a message.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let fields = certificate.tbs_certificate();
        let names = fields.get_extension::<SubjectAltName>().ok().flatten();
        let names = names.map(|(_, names)| names.0).unwrap_or_default();
        let constraints = fields.get_extension::<BasicConstraints>().ok().flatten();
        let validity = fields.validity();
        Some(Self {
            subject: fields.subject().clone(),
            issuer: fields.issuer().clone(),
            not_before: date(validity.not_before),
            not_after: date(validity.not_after),
            dns_names: names.iter().filter_map(dns_name).collect(),
            addresses: names.iter().filter_map(address).collect(),
            public_key: fields.subject_public_key_info().to_der().ok()?,
            is_authority: constraints.is_some_and(|(_, constraints)| constraints.ca),
            is_version_3: fields.version() == Version::V3,
        })
    }
}

fn date(time: Time) -> Date {
    Date {
        at: time.to_system_time(),
        text: time.to_string(),
    }
}

fn dns_name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    }
}

fn address(name: &GeneralName) -> Option<IpAddr> {
    let GeneralName::IpAddress(bytes) = name else {
        return None;
    };
    let bytes = bytes.as_bytes();
    let old = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    old.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

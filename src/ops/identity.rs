//! What a proxy in front has to know of our certificate so that it takes it.

use std::fs;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The certificate as seen from a proxy.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    /// A name that it is for; a placeholder if that cannot be read.
    pub name: String,
    /// The file with those who signed it, if nobody whom the system trusts did.
    pub trusted_file: Option<PathBuf>,
}

impl Identity {
    /// Reads the certificate that is for all names that no other has.
    pub fn of(cert_file: Option<&Path>) -> Self {
        let known = cert_file.and_then(|file| read(file, &system_roots()));
        known.unwrap_or(Self {
            name: "YOUR.SITE".to_owned(),
            trusted_file: None,
        })
    }
}

fn read(file: &Path, roots: &[Vec<u8>]) -> Option<Identity> {
    let text = fs::read(file).ok()?;
    let chain = CertificateDer::pem_slice_iter(&text);
    let chain = chain.collect::<Result<Vec<_>, _>>().ok()?;
    let leaf = Certificate::from_der(chain.first()?).ok()?;
    let names = leaf.tbs_certificate().get_extension::<SubjectAltName>();
    let (_, names) = names.ok()??;
    let name = names.0.iter().find_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.as_str()),
        _ => None,
    })?;
    let last = Certificate::from_der(chain.last()?).ok()?;
    let issuer = last.tbs_certificate().issuer().to_der().ok()?;
    let is_known = roots.contains(&issuer);
    Some(Identity {
        // Any name will do for a wildcard.
        name: name.replacen('*', "websock", 1),
        trusted_file: (!is_known).then(|| file.to_owned()),
    })
}

/// The names of those whom the system trusts.
fn system_roots() -> Vec<Vec<u8>> {
    let certificates = rustls_native_certs::load_native_certs().certs;
    let subject = |der: &CertificateDer<'_>| {
        let certificate = Certificate::from_der(der).ok()?;
        certificate.tbs_certificate().subject().to_der().ok()
    };
    certificates.iter().filter_map(subject).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    #[test]
    fn the_name_and_whom_to_trust_are_read_from_the_file() {
        for (name, expected) in [("a.org", "a.org"), ("*.a.org", "websock.a.org")] {
            let CertifiedKey { cert, .. } =
                generate_simple_self_signed([name.to_owned()]).expect("a certificate");
            let file = format!("websock-identity-{}-{}", std::process::id(), name.len());
            let file = std::env::temp_dir().join(file);
            fs::write(&file, cert.pem()).expect("written");
            let found = read(&file, &[]);
            let parsed = Certificate::from_der(cert.der()).expect("DER");
            let known = read(
                &file,
                &[parsed.tbs_certificate().issuer().to_der().expect("DER")],
            );
            fs::remove_file(&file).expect("removed");
            let identity = |trusted_file| Identity {
                name: expected.to_owned(),
                trusted_file,
            };
            assert_eq!(found, Some(identity(Some(file))));
            assert_eq!(known, Some(identity(None)));
        }
        assert_eq!(Identity::of(None).name, "YOUR.SITE");
    }
}

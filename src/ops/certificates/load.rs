//! One value of `certFile` with its value of `pkFile` → the pairs that can be served. A value that
//! stands for several files gives the newest valid pair of each name and kind of key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};

use super::error::TlsError;
use super::files::{self, Kind, Matches};
use super::key_pair::{FileRole, KeyPair};
use super::pair::{Chain, Pair};
use super::pem::{self, Section};

/// What the files of a value give.
pub(super) struct Loaded {
    /// The newest first; never empty.
    pub(super) pairs: Vec<Arc<Pair>>,
    /// Of a pattern or a directory: files that could not be used.
    pub(super) unusable: Vec<TlsError>,
    /// A certificate was passed over that will be valid later.
    pub(super) awaits_validity: bool,
}

/// Reads all that `value` stands for. An error if nothing can be served; a certificate out of its
/// time can be.
pub(super) fn load(value: &KeyPair, now: SystemTime) -> Result<Loaded, TlsError> {
    let cert_files = matching(&value.cert_file, FileRole::Certificate)?;
    let key_files = matching(&value.key_file, FileRole::Key)?;
    let mut shelf = Shelf::default();
    let mut unusable = Vec::new();
    let chains = read_chains(&cert_files, &mut shelf, &mut unusable);
    let keys = read_keys(&key_files, &mut shelf, &mut unusable);
    let is_choice = [cert_files.kind, key_files.kind] != [Kind::File; 2];
    // Without a choice there is one reason why nothing can be served.
    if !is_choice && !unusable.is_empty() {
        return Err(unusable.remove(0));
    }
    let mut pairs = Vec::new();
    for chain in chains {
        match pair_up(chain, &keys, value) {
            Ok(pair) => pairs.push(pair),
            Err(None) => {}
            Err(Some(error)) if is_choice => unusable.push(error),
            Err(Some(error)) => return Err(error),
        }
    }
    let awaits_validity = pairs.iter().any(|pair| pair.lifetime.is_early(now));
    let pairs = newest_per_name(pairs, now);
    if pairs.is_empty() {
        let none = TlsError::new(
            &value.cert_file,
            FileRole::Certificate,
            "no certificate with its private key is among the files".into(),
        );
        return Err(unusable.into_iter().next().unwrap_or(none));
    }
    Ok(Loaded {
        pairs: pairs.into_iter().map(Arc::new).collect(),
        unusable,
        awaits_validity,
    })
}

fn matching(value: &Path, role: FileRole) -> Result<Matches, TlsError> {
    files::matching(value).map_err(|reason| TlsError::new(value, role, reason))
}

/// What has been read; certificates and keys may be in the same files.
#[derive(Default)]
struct Shelf {
    files: BTreeMap<PathBuf, Result<Arc<Vec<Section>>, String>>,
    byte_count: usize,
}

impl Shelf {
    fn sections(&mut self, file: &Path) -> Result<Arc<Vec<Section>>, String> {
        if let Some(known) = self.files.get(file) {
            return known.clone();
        }
        let sections = self.read(file).map(Arc::new);
        self.files.insert(file.to_owned(), sections.clone());
        sections
    }

    fn read(&mut self, file: &Path) -> Result<Vec<Section>, String> {
        if self.byte_count > MOST_BYTES {
            return Err("is not read, as the files before it are too many; name a pattern".into());
        }
        let text = files::read(file)?;
        self.byte_count += text.len();
        pem::read(&text)
    }
}

/// A private key, ready to sign, and where it is from.
struct Key {
    file: PathBuf,
    signer: Arc<dyn SigningKey>,
}

fn read_keys(files: &Matches, shelf: &mut Shelf, unusable: &mut Vec<TlsError>) -> Vec<Key> {
    let mut keys = Vec::new();
    for file in &files.files {
        let found = shelf.sections(file).and_then(|sections| {
            let of_keys = sections.iter().filter(|section| is_private_key(section));
            of_keys.map(signer).collect::<Result<Vec<_>, _>>()
        });
        let fault = match found {
            Ok(signers) if signers.is_empty() && files.kind == Kind::File => NO_KEY.into(),
            Ok(signers) => {
                let key = |signer| Key {
                    file: file.clone(),
                    signer,
                };
                keys.extend(signers.into_iter().map(key));
                continue;
            }
            Err(fault) => fault,
        };
        // Read as one with certificates, it has been told already.
        let is_told = |known: &TlsError| known.file == *file && known.reason == fault;
        if !unusable.iter().any(is_told) {
            unusable.push(TlsError::new(file, FileRole::Key, fault));
        }
    }
    keys
}

fn is_private_key(section: &Section) -> bool {
    section.label.ends_with("PRIVATE KEY")
}

/// No error of the parsers is shown: they have seen the key.
fn signer(section: &Section) -> Result<Arc<dyn SigningKey>, String> {
    if section.is_encrypted {
        let reason = "the key is encrypted; decrypt it first (openssl pkey -in OLD -out NEW)";
        return Err(reason.into());
    }
    let der = section.der.clone();
    let key: PrivateKeyDer<'static> = match section.label.as_str() {
        "PRIVATE KEY" => PrivateKeyDer::Pkcs8(der.into()),
        "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(der.into()),
        "EC PRIVATE KEY" => PrivateKeyDer::Sec1(der.into()),
        label => {
            return Err(format!(
                "holds a private key of the kind {label}; RSA, EC and PKCS #8 are known \
                 (openssl pkey -in OLD -out NEW, ssh-keygen -p -m PEM -f FILE)"
            ));
        }
    };
    aws_lc_rs::sign::any_supported_type(&key).map_err(|_| {
        format!(
            "the private key that line {} begins is damaged or of a kind that is not supported; \
             RSA of 2048 bits or more, ECDSA (P-256, P-384, P-521) and Ed25519 are",
            section.line
        )
    })
}

fn read_chains(files: &Matches, shelf: &mut Shelf, unusable: &mut Vec<TlsError>) -> Vec<Chain> {
    let mut chains = Vec::new();
    for file in &files.files {
        let found = shelf
            .sections(file)
            .and_then(|sections| read_chain(file, &sections));
        match found {
            Ok(Some(chain)) => chains.push(chain),
            // A directory holds keys and notes as well.
            Ok(None) if files.kind == Kind::Directory => {}
            Ok(None) => unusable.push(no_certificate(file)),
            Err(fault) => unusable.push(TlsError::new(file, FileRole::Certificate, fault)),
        }
    }
    chains
}

fn no_certificate(file: &Path) -> TlsError {
    let reason = "holds no certificate (-----BEGIN CERTIFICATE-----)";
    TlsError::new(file, FileRole::Certificate, reason.into())
}

fn read_chain(file: &Path, sections: &[Section]) -> Result<Option<Chain>, String> {
    let mut certificates: Vec<CertificateDer<'static>> = Vec::new();
    let mut warnings = Vec::new();
    for Section {
        label, line, der, ..
    } in sections
    {
        match label.as_str() {
            "CERTIFICATE" => certificates.push(der.clone().into()),
            "EC PARAMETERS" => {}
            other if other.ends_with("PRIVATE KEY") => {}
            other if other.ends_with(" CERTIFICATE") => {
                return Err(format!(
                    "line {line} begins a {other}, and a CERTIFICATE is wanted; convert it \
                     (openssl x509 -in OLD -out NEW)"
                ));
            }
            other => warnings.push(format!(
                "{}: line {line} begins a {other}, which is not used",
                file.display()
            )),
        }
    }
    if certificates.is_empty() {
        return Ok(None);
    }
    Chain::read(file, certificates, warnings).map(Some)
}

/// `Err(None)`: a certificate for signing others, whose key nobody has here.
fn pair_up(chain: Chain, keys: &[Key], value: &KeyPair) -> Result<Pair, Option<TlsError>> {
    let fits = |key: &&Key| {
        let public = key.signer.public_key();
        public.is_some_and(|public| public.as_ref() == chain.public_key())
    };
    let Some(key) = keys.iter().find(fits) else {
        if keys.len() == 1 && value.key_file == keys[0].file {
            let reason = format!(
                "is not the key of the certificate in {}",
                chain.file.display()
            );
            return Err(Some(TlsError::new(&keys[0].file, FileRole::Key, reason)));
        }
        if chain.is_authority() {
            return Err(None);
        }
        let reason = format!(
            "none of the private keys in {} is its key",
            value.key_file.display()
        );
        return Err(Some(TlsError::new(
            &chain.file,
            FileRole::Certificate,
            reason,
        )));
    };
    let signer = Arc::clone(&key.signer);
    let key = CertifiedKey::new(chain.certificates.clone(), signer);
    // The keys are the same, so what remains is a certificate that webpki does not take.
    key.keys_match().map_err(|_| {
        let reason = "the first certificate is none that clients take; have it issued anew";
        let error = TlsError::new(&chain.file, FileRole::Certificate, reason.into());
        Some(error)
    })?;
    Ok(Pair::new(chain, key))
}

/// Of several for the same names and the same kind of key, the newest that is valid. A certificate
/// stays if it has a name of its own.
fn newest_per_name(mut pairs: Vec<Pair>, now: SystemTime) -> Vec<Pair> {
    pairs.sort_by_key(|pair| std::cmp::Reverse(pair.rank(now)));
    let mut kept: Vec<Pair> = Vec::new();
    for pair in pairs {
        let is_covered = kept.iter().any(|newer| newer.replaces(&pair));
        if !is_covered {
            kept.push(pair);
        }
    }
    kept
}

const NO_KEY: &str = "holds no private key (-----BEGIN PRIVATE KEY-----)";

/// Of all files of one value.
const MOST_BYTES: usize = 16 << 20;

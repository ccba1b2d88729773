//! A certificate chain, its time and its names, and with its key the pair that is served.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::SignatureAlgorithm;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use super::outcome::InForce;
use super::x509::{Date, X509};
use crate::base::escape;

/// The certificates of one file, the server's own first.
pub(super) struct Chain {
    pub(super) file: PathBuf,
    pub(super) certificates: Vec<CertificateDer<'static>>,
    leaf: X509,
    lifetime: Lifetime,
    warnings: Vec<String>,
}

/// What can be served.
#[derive(Debug)]
pub(super) struct Pair {
    /// Where the certificate is from.
    pub(super) file: PathBuf,
    pub(super) key: Arc<CertifiedKey>,
    /// DNS names, lower case, sorted.
    pub(super) names: Vec<String>,
    pub(super) lifetime: Lifetime,
    /// What works and should be mended.
    pub(super) warnings: Vec<String>,
    /// File, names, end of validity, signer and length of the chain.
    pub(super) description: String,
    issued: SystemTime,
}

/// When a whole chain is valid: from the latest beginning to the earliest end.
#[derive(Debug)]
pub(super) struct Lifetime {
    starts: Bound,
    ends: Bound,
    warn_from: SystemTime,
}

/// One end of a lifetime, and whose it is.
#[derive(Clone, Debug)]
struct Bound {
    date: Date,
    /// Empty for the server's own certificate, otherwise which of the chain it is.
    whose: String,
}

impl Chain {
    /// `certificates` is not empty. The server's own has to be readable; another that is not is a
    /// warning, as it may be our reader that is too strict.
    pub(super) fn read(
        file: &Path,
        certificates: Vec<CertificateDer<'static>>,
        mut warnings: Vec<String>,
    ) -> Result<Self, String> {
        let mut read = Vec::new();
        for (number, der) in (1..).zip(&certificates) {
            match X509::read(der) {
                Some(certificate) => read.push((number, certificate)),
                None if number == 1 => {
                    return Err("the first certificate cannot be read: it is damaged".into());
                }
                None => warnings.push(format!(
                    "{}: certificate {number} of the chain cannot be read, so that some clients \
                     may refuse it",
                    file.display()
                )),
            }
        }
        let lifetime = Lifetime::of(&read);
        warnings.extend(doubts(file, &read, certificates.len()));
        let (_, leaf) = read.remove(0);
        if !leaf.is_version_3 {
            return Err(
                "the first certificate is not of X.509 version 3, and clients refuse those; have \
                 it issued anew with a subjectAltName"
                    .into(),
            );
        }
        Ok(Self {
            file: file.to_owned(),
            certificates,
            leaf,
            lifetime,
            warnings,
        })
    }

    pub(super) fn public_key(&self) -> &[u8] {
        &self.leaf.public_key
    }

    pub(super) fn is_authority(&self) -> bool {
        self.leaf.is_authority
    }
}

/// What some clients will not take.
fn doubts(file: &Path, chain: &[(usize, X509)], length: usize) -> Vec<String> {
    let file = file.display();
    let mut found = Vec::new();
    let Some((_, leaf)) = chain.first() else {
        return found;
    };
    if length == 1 && leaf.issuer != leaf.subject {
        found.push(format!(
            "{file} holds the certificate without those that signed it, so some clients will \
             refuse it; name the file that holds them all (Let's Encrypt's fullchain.pem)"
        ));
    }
    // RFC 5246 §7.4.2: each certifies the one in front of it.
    let is_in_order = chain
        .windows(2)
        .all(|pair| pair[0].1.issuer == pair[1].1.subject);
    if !is_in_order {
        found.push(format!(
            "{file} does not hold each certificate in front of that which signed it, so some \
             clients will refuse it"
        ));
    }
    if leaf.dns_names.is_empty() && leaf.addresses.is_empty() {
        found.push(format!(
            "{file}: the certificate is for no name (subjectAltName), so browsers will refuse it"
        ));
    }
    found
}

impl Pair {
    /// `key` is that of the chain.
    pub(super) fn new(chain: Chain, key: CertifiedKey) -> Self {
        let leaf = &chain.leaf;
        let mut names = leaf.dns_names.clone();
        let addresses = leaf.addresses.iter().map(ToString::to_string);
        let shown: Vec<_> = names.iter().cloned().chain(addresses).collect();
        names.sort();
        names.dedup();
        let description = format!(
            "{} is for {}, until {}, signed by {}, {} in the chain",
            chain.file.display(),
            escape(&shown.join(", ")),
            leaf.not_after.text,
            escape(&leaf.issuer.to_string()),
            chain.certificates.len()
        );
        Self {
            issued: leaf.not_before.at,
            file: chain.file,
            key: Arc::new(key),
            names,
            lifetime: chain.lifetime,
            warnings: chain.warnings,
            description,
        }
    }

    /// Higher is better: valid, issued later, valid longer, with more of its chain.
    pub(super) fn rank(&self, now: SystemTime) -> impl Ord + use<> {
        let is_valid = self.lifetime.fault(now).is_none();
        let ends = self.lifetime.ends.date.at;
        (is_valid, self.issued, ends, self.key.cert.len())
    }

    /// What others are told of it.
    pub(super) fn in_force(&self, now: SystemTime) -> InForce {
        let end = self.lifetime.ends.date.at;
        let since_1970 = end.duration_since(SystemTime::UNIX_EPOCH);
        InForce {
            file: self.file.clone(),
            name: self.names.first().cloned().unwrap_or_default(),
            not_after: since_1970.unwrap_or_default().as_secs(),
            is_broken: self.lifetime.fault(now).is_some(),
        }
    }

    /// Whether `older` is not needed beside this one: whoever could use it can use this one.
    pub(super) fn replaces(&self, older: &Self) -> bool {
        self.algorithm() == older.algorithm()
            && older.names.iter().all(|name| self.names.contains(name))
    }

    /// RSA, or a kind that costs a tenth of it and that not every client has.
    pub(super) fn algorithm(&self) -> SignatureAlgorithm {
        self.key.key.algorithm()
    }

    pub(super) fn shows_the_same_as(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

impl Lifetime {
    fn of(chain: &[(usize, X509)]) -> Self {
        let bound = |number: usize, certificate: &X509, date: &Date| Bound {
            date: date.clone(),
            whose: if number == 1 {
                String::new()
            } else {
                let subject = certificate.subject.to_string();
                format!("certificate {number} of the chain, {}, ", escape(&subject))
            },
        };
        let starts = chain
            .iter()
            .map(|(number, certificate)| bound(*number, certificate, &certificate.not_before))
            .max_by_key(|bound| bound.date.at);
        let ends = chain
            .iter()
            .map(|(number, certificate)| {
                let end = bound(*number, certificate, &certificate.not_after);
                (end, warn_from(certificate))
            })
            .min_by_key(|(bound, _)| bound.date.at);
        let (ends, warn_from) = ends.expect("a chain has its leaf");
        Self {
            starts: starts.expect("a chain has its leaf"),
            ends,
            warn_from,
        }
    }

    /// Why the chain is not valid now, to follow the name of its file.
    pub(super) fn fault(&self, now: SystemTime) -> Option<String> {
        let (starts, ends) = (&self.starts, &self.ends);
        if ends.date.at < now {
            let (whose, date) = (&ends.whose, &ends.date.text);
            return Some(if whose.is_empty() {
                format!("has expired on {date}; renew it (certbot renew)")
            } else {
                format!(
                    "{whose}has expired on {date}, so that clients refuse it; get the new chain \
                     from who signed it (certbot renew --force-renewal)"
                )
            });
        }
        (now < starts.date.at).then(|| {
            format!(
                "{}is not valid before {}; is the clock right?",
                starts.whose, starts.date.text
            )
        })
    }

    /// Whether the chain will be valid later.
    pub(super) fn is_early(&self, now: SystemTime) -> bool {
        now < self.starts.date.at
    }

    /// The time left, once a warning is due.
    pub(super) fn time_left(&self, now: SystemTime) -> Option<Duration> {
        if now < self.warn_from {
            return None;
        }
        self.ends.date.at.duration_since(now).ok()
    }

    /// Which certificate ends first, and when, to follow the name of its file.
    pub(super) fn end(&self) -> String {
        format!("{}until {}", self.ends.whose, self.ends.date.text)
    }
}

/// A third of the time that a certificate is valid for, at most three weeks: clients renew those of
/// 90 days a month before, those of 6 days two days before the end.
fn warn_from(certificate: &X509) -> SystemTime {
    let (starts, ends) = (certificate.not_before.at, certificate.not_after.at);
    let lifetime = ends.duration_since(starts).unwrap_or_default();
    ends - (lifetime / 3).min(MOST_WARNING)
}

const MOST_WARNING: Duration = Duration::from_secs(21 * 86_400);

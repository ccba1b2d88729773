//! PEM files → TLS configuration, checked, and again when the files change.
//!
//! Each value of `certFile` with its `pkFile` stands for itself: what is wrong with one keeps none
//! of the others from being taken up. What is in force stays so until something better has been
//! read. Nothing here waits for a file but [`Certificates::load`], at the start.
//!
//! No message holds a byte of a file: a private key that has got into the wrong place must not get
//! into the log as well.

mod entry;
mod error;
mod files;
mod key_pair;
mod load;
mod look;
mod outcome;
mod pair;
pub(super) mod pem;
mod resolver;
mod x509;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use log::Level;
use rustls::ServerConfig;

pub use error::TlsError;
pub use key_pair::{FileRole, KeyPair};
pub use outcome::{InForce, LookReason, Note, Outcome};

use entry::Entry;
use look::{Looker, Request};
use pair::Pair;
use resolver::Shown;

/// The certificates in force, what they were read from, and the look that is under way.
#[derive(Debug)]
pub struct Certificates {
    entries: Vec<Entry>,
    config: Arc<ServerConfig>,
    looker: Looker,
    /// Why the look that is under way was begun, and when.
    look: (LookReason, SystemTime),
    /// Asked for while another look was under way.
    next_look: Option<LookReason>,
}

impl Certificates {
    /// Reads and checks all files, and waits for it. The first entry is used for names that no
    /// certificate has. A certificate out of its time is served; [`Self::expiry_notes`] tells it.
    ///
    /// # Errors
    /// If `pairs` is empty or one of them cannot be served.
    pub fn load(pairs: &[KeyPair]) -> Result<Self, TlsError> {
        let now = SystemTime::now();
        let entries = pairs
            .iter()
            .map(|files| Entry::load(files, now))
            .collect::<Result<Vec<_>, _>>()?;
        let fault = |reason: String| {
            let file = pairs.first().map(|pair| pair.cert_file.as_path());
            TlsError::new(file.unwrap_or(Path::new("")), FileRole::Certificate, reason)
        };
        if entries.is_empty() {
            return Err(fault("no certificate".into()));
        }
        let config = config_of(&entries).map_err(|error| fault(error.to_string()))?;
        Ok(Self {
            entries,
            config: Arc::new(config),
            looker: Looker::default(),
            look: (LookReason::Timer, now),
            next_look: None,
        })
    }

    /// For new connections.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// What works and should be mended.
    pub fn warnings(&self) -> Vec<String> {
        self.entries.iter().flat_map(Entry::warnings).collect()
    }

    /// File, names, end of validity, signer and length of the chain of each.
    pub fn descriptions(&self) -> Vec<String> {
        let descriptions = self.pairs().map(|pair| pair.description.clone());
        descriptions.collect()
    }

    /// Which certificates are out of their time (errors) or soon will be (warnings).
    pub fn expiry_notes(&self) -> Vec<Note> {
        let now = SystemTime::now();
        let notes = self
            .entries
            .iter()
            .flat_map(|entry| entry.expiry_notes(now));
        notes.collect()
    }

    /// What is called from another thread when [`Self::take_result`] has something.
    pub fn set_waker(&mut self, wake: impl Fn() + Send + Sync + 'static) {
        self.looker.set_waker(wake);
    }

    /// Has the files looked at on a thread of its own. While a look is under way no other begins; a
    /// hangup is then made up for.
    pub fn request_look(&mut self, reason: LookReason) {
        if self.looker.is_under_way() {
            // What the look that is under way has read may be what the hangup is to replace.
            if reason == LookReason::Hangup {
                self.next_look = Some(reason);
            }
            return;
        }
        let now = SystemTime::now();
        let requests = self.entries.iter().map(|entry| Request {
            files: entry.files.clone(),
            seen: (reason == LookReason::Timer && !entry.has_to_be_read(now))
                .then(|| entry.seen.clone()),
        });
        self.look = (reason, now);
        if let Err(error) = self.looker.begin(requests.collect(), now) {
            log::error!("the certificates' files are not looked at: no thread: {error}");
        }
    }

    /// What the look has come to, once it is over; new certificates are then in force.
    pub fn take_result(&mut self) -> Option<Outcome> {
        let reports = self.looker.take()?;
        let (reason, now) = self.look;
        let mut outcome = Outcome::default();
        let mut has_changed = false;
        if reports.is_empty() {
            let text = "the look at the certificates' files has broken off; what is in force stays";
            outcome.failed = self.entries.len();
            outcome.notes.push(Note::new(Level::Error, text.into()));
        }
        for (entry, report) in self.entries.iter_mut().zip(reports) {
            has_changed |= entry.apply(report, reason, now, &mut outcome);
        }
        if has_changed {
            match config_of(&self.entries) {
                Ok(config) => self.config = Arc::new(config),
                Err(error) => outcome.notes.push(Note::new(
                    Level::Error,
                    format!("the old TLS configuration stays in force: {error}"),
                )),
            }
        } else if reason == LookReason::Hangup && outcome.failed == 0 {
            let text = "The certificates have not changed".into();
            outcome.notes.push(Note::new(Level::Info, text));
        }
        if let Some(reason) = self.next_look.take() {
            self.request_look(reason);
        }
        Some(outcome)
    }

    /// What is to be told from time to time: once a day which certificates end soon or have ended,
    /// and a look that does not end.
    pub fn due_notes(&mut self) -> Vec<Note> {
        let now = SystemTime::now();
        let mut notes = Vec::new();
        for entry in &mut self.entries {
            let is_due = |told| now.duration_since(told).unwrap_or(DAY) >= DAY;
            if entry.expiry_told.is_none_or(is_due) {
                let ends = entry.expiry_notes(now);
                entry.expiry_told = (!ends.is_empty()).then_some(now);
                notes.extend(ends);
            }
        }
        if self.looker.is_overdue(now) {
            let text = "reading the certificates' files takes long; new ones are not taken up \
                        until it is over (does their disk answer?)";
            notes.push(Note::new(Level::Warn, text.into()));
        }
        notes
    }

    /// Which certificates are in force.
    pub fn in_force(&self) -> Vec<InForce> {
        let now = SystemTime::now();
        self.pairs().map(|pair| pair.in_force(now)).collect()
    }

    /// How many files the last look could not take up.
    pub fn failed_count(&self) -> usize {
        self.entries.iter().map(Entry::failed_count).sum()
    }

    fn pairs(&self) -> impl Iterator<Item = &Arc<Pair>> {
        self.entries.iter().flat_map(|entry| &entry.in_force)
    }
}

fn config_of(entries: &[Entry]) -> Result<ServerConfig, rustls::Error> {
    let pairs = entries.iter().flat_map(|entry| &entry.in_force);
    let shown = pairs.map(|pair| Shown {
        names: pair.names.clone(),
        key: Arc::clone(&pair.key),
    });
    // Of a directory, the first by name: which one is newest changes with each renewal.
    let first = entries
        .first()
        .and_then(|entry| entry.in_force.iter().min_by_key(|pair| &pair.file));
    let default_names = first.map(|pair| pair.names.clone()).unwrap_or_default();
    resolver::server_config(shown.collect(), default_names)
}

const DAY: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests;

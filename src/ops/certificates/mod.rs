//! PEM files → TLS configuration, checked, and again when the files change.
//!
//! Each value of `certFile` with its `pkFile` stands for itself: what is wrong with one keeps none
//! of the others from being taken up. What is in force stays so until something better has been
//! read. Nothing here waits for a file but [`Certificates::load`], at the start.
//!
//! No message holds a byte of a file: a private key that has got into the wrong place must not get
//! into the log as well.

mod files;
mod load;
mod look;
mod pair;
mod pem;
mod resolver;
mod x509;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use log::Level;
use rustls::ServerConfig;

use load::Loaded;
use look::{Looker, Report, Request, Seen};
use pair::Pair;
use resolver::Shown;

/// Where one certificate and its key are. Each may be a file, a pattern (`*` in the file's name) or
/// a directory; of several files, the newest valid certificate of each name is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// PEM file with the certificate, and behind it those that signed it (`certFile`).
    pub cert_file: PathBuf,
    /// PEM file with the private key (`pkFile`); the same file if it holds both.
    pub key_file: PathBuf,
}

/// Whether a file is wanted for its certificate or for its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileRole {
    /// `certFile`.
    Certificate,
    /// `pkFile`.
    Key,
}

/// Why a certificate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    /// The file that is to be mended.
    pub file: PathBuf,
    /// What it is wanted for.
    pub role: FileRole,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

impl TlsError {
    fn new(file: &Path, role: FileRole, reason: String) -> Self {
        Self {
            file: file.to_owned(),
            role,
            reason,
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

impl std::error::Error for TlsError {}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// What there is to say.
    pub text: String,
}

impl Note {
    fn new(level: Level, text: String) -> Self {
        Self { level, text }
    }

    /// Writes it to the log.
    pub fn log(&self) {
        log::log!(self.level, "{}", self.text);
    }
}

/// Why the files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookReason {
    /// Some time has passed: files that look as they did are not read, unless the last attempt has
    /// failed or a certificate is out of its time.
    Timer,
    /// The administrator asks (SIGHUP): everything is read and what is still wrong is told again.
    Hangup,
}

/// What a look has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Certificates that are newly in force.
    pub taken_up: usize,
    /// Certificates that could not be taken up.
    pub failed: usize,
    /// Lines for the log, in order.
    pub notes: Vec<Note>,
}

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

/// One value of `certFile` with its value of `pkFile`.
#[derive(Debug)]
struct Entry {
    files: KeyPair,
    /// The newest first; never empty.
    in_force: Vec<Arc<Pair>>,
    seen: Seen,
    /// What went wrong with the last attempt, in the words that it was told with.
    failures: Vec<Failure>,
    /// A certificate will be valid later.
    awaits_validity: bool,
    /// When the end of a certificate was last told.
    expiry_told: Option<SystemTime>,
}

/// What keeps a file from being taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    /// Another certificate stays in force in its place.
    Kept(String),
    /// A file of a pattern or directory, without which there is enough.
    Unused(String),
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

impl Entry {
    fn load(files: &KeyPair, now: SystemTime) -> Result<Self, TlsError> {
        let request = Request {
            files: files.clone(),
            seen: None,
        };
        let Report { seen, found } = look::look(&request, now);
        let loaded = found.expect("what has not been seen is read")?;
        Ok(Self {
            files: files.clone(),
            in_force: loaded.pairs,
            seen,
            failures: loaded.unusable.iter().map(Failure::unused).collect(),
            awaits_validity: loaded.awaits_validity,
            expiry_told: None,
        })
    }

    fn warnings(&self) -> Vec<String> {
        let warnings = self.in_force.iter().flat_map(|pair| pair.warnings.clone());
        let failures = self.failures.iter().map(|failure| failure.text(""));
        warnings.chain(failures).collect()
    }

    /// A change would not be seen if it is of the time, or of who may read the directory.
    fn has_to_be_read(&self, now: SystemTime) -> bool {
        let is_faulty = |pair: &Arc<Pair>| pair.lifetime.fault(now).is_some();
        self.awaits_validity || !self.failures.is_empty() || self.in_force.iter().any(is_faulty)
    }

    /// Whether what is in force has changed.
    fn apply(
        &mut self,
        report: Report,
        reason: LookReason,
        now: SystemTime,
        outcome: &mut Outcome,
    ) -> bool {
        self.seen = report.seen;
        let (next, failures) = match report.found {
            None => return false,
            Some(Ok(loaded)) => {
                self.awaits_validity = loaded.awaits_validity;
                self.merge(loaded, now)
            }
            Some(Err(error)) => (
                self.in_force.clone(),
                vec![Failure::Kept(error.to_string())],
            ),
        };
        for failure in &failures {
            outcome.failed += 1;
            let is_known = self.failures.contains(failure);
            if !is_known {
                outcome.notes.push(failure.note(""));
            } else if reason == LookReason::Hangup {
                outcome.notes.push(failure.note("still: "));
            }
        }
        self.failures = failures;
        let is_in =
            |pairs: &[Arc<Pair>], one: &Pair| pairs.iter().any(|p| p.shows_the_same_as(one));
        let new = next.iter().filter(|pair| !is_in(&self.in_force, pair));
        let mut has_changed = next.len() != self.in_force.len();
        for pair in new {
            has_changed = true;
            outcome.taken_up += 1;
            let text = format!(
                "New certificate in force for new connections: {}",
                pair.description
            );
            outcome.notes.push(Note::new(Level::Info, text));
            let warnings = pair.warnings.iter().cloned();
            let warnings = warnings.map(|text| Note::new(Level::Warn, text));
            outcome.notes.extend(warnings);
        }
        if has_changed {
            self.in_force = next;
            self.expiry_told = None;
        }
        has_changed
    }

    /// What will be in force: what has been read, and of the old ones those that are valid while
    /// the new one in their place is not, and those whose file is unusable now.
    fn merge(&self, loaded: Loaded, now: SystemTime) -> (Vec<Arc<Pair>>, Vec<Failure>) {
        let mut next: Vec<Arc<Pair>> = Vec::new();
        let mut failures = Vec::new();
        for new in loaded.pairs {
            let is_better = |old: &&Arc<Pair>| {
                let is_in_its_place = old.file == new.file || new.replaces(old);
                is_in_its_place && old.lifetime.fault(now).is_none()
            };
            match (
                new.lifetime.fault(now),
                self.in_force.iter().find(is_better),
            ) {
                (Some(fault), Some(old)) => {
                    let text = format!("{}: {fault}", new.file.display());
                    failures.push(Failure::Kept(text));
                    next.push(Arc::clone(old));
                }
                _ => next.push(new),
            }
        }
        for unusable in &loaded.unusable {
            let is_of_it = |old: &&Arc<Pair>| old.file == unusable.file;
            let is_missed = |old: &&Arc<Pair>| !next.iter().any(|new| new.replaces(old));
            let mut olds = self.in_force.iter();
            match olds.find(|old| is_of_it(old) && is_missed(old)) {
                Some(old) => {
                    next.push(Arc::clone(old));
                    failures.push(Failure::Kept(unusable.to_string()));
                }
                None => failures.push(Failure::unused(unusable)),
            }
        }
        (next, failures)
    }

    fn expiry_notes(&self, now: SystemTime) -> Vec<Note> {
        let is_kept = |failure: &&Failure| matches!(failure, Failure::Kept(_));
        let failures = self.failures.iter().filter(is_kept);
        let cause: String = failures.map(|failure| failure.text("; ")).collect();
        let note = |pair: &Arc<Pair>| {
            let file = pair.file.display();
            if let Some(fault) = pair.lifetime.fault(now) {
                let text = format!("{file}: {fault}{cause}");
                return Some(Note::new(Level::Error, text));
            }
            let left = pair.lifetime.time_left(now)?;
            let text = format!(
                "a certificate expires in {}; renew it: {file}, {}{cause}",
                in_words(left),
                pair.lifetime.end()
            );
            Some(Note::new(Level::Warn, text))
        };
        self.in_force.iter().filter_map(note).collect()
    }
}

impl Failure {
    fn unused(error: &TlsError) -> Self {
        Self::Unused(error.to_string())
    }

    fn text(&self, before: &str) -> String {
        match self {
            Self::Kept(text) => format!("{before}the old certificate stays in force: {text}"),
            Self::Unused(text) => format!("{before}not used: {text}"),
        }
    }

    fn note(&self, before: &str) -> Note {
        let level = match self {
            Self::Kept(_) => Level::Error,
            Self::Unused(_) => Level::Warn,
        };
        Note::new(level, self.text(before))
    }
}

/// Whole days, or hours if there are fewer than two.
fn in_words(left: Duration) -> String {
    let hours = left.as_secs() / 3_600;
    if hours < 48 {
        format!("{hours} hours")
    } else {
        format!("{} days", hours / 24)
    }
}

const DAY: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests;

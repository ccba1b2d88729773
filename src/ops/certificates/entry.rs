//! One value of `certFile` with its value of `pkFile`: what is in force of it, and what a look
//! changes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use log::Level;

use super::error::TlsError;
use super::key_pair::KeyPair;
use super::load::Loaded;
use super::look::{self, Report, Request, Seen};
use super::outcome::{LookReason, Note, Outcome};
use super::pair::Pair;

/// One value of `certFile` with its value of `pkFile`.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) files: KeyPair,
    /// The newest first; never empty.
    pub(super) in_force: Vec<Arc<Pair>>,
    pub(super) seen: Seen,
    /// What went wrong with the last attempt, in the words that it was told with.
    failures: Vec<Failure>,
    /// A certificate will be valid later.
    awaits_validity: bool,
    /// When the end of a certificate was last told.
    pub(super) expiry_told: Option<SystemTime>,
}

/// What keeps a file from being taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    /// Another certificate stays in force in its place.
    Kept(String),
    /// A file of a pattern or directory, without which there is enough.
    Unused(String),
}

impl Entry {
    pub(super) fn load(files: &KeyPair, now: SystemTime) -> Result<Self, TlsError> {
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

    pub(super) fn warnings(&self) -> Vec<String> {
        let warnings = self.in_force.iter().flat_map(|pair| pair.warnings.clone());
        let failures = self.failures.iter().map(|failure| failure.text(""));
        warnings.chain(failures).collect()
    }

    /// A change would not be seen if it is of the time, or of who may read the directory.
    pub(super) fn has_to_be_read(&self, now: SystemTime) -> bool {
        let is_faulty = |pair: &Arc<Pair>| pair.lifetime.fault(now).is_some();
        self.awaits_validity || !self.failures.is_empty() || self.in_force.iter().any(is_faulty)
    }

    /// Whether what is in force has changed.
    pub(super) fn apply(
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

    /// Files that the last look could not take up.
    pub(super) fn failed_count(&self) -> usize {
        self.failures.len()
    }

    pub(super) fn expiry_notes(&self, now: SystemTime) -> Vec<Note> {
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

//! A look at the certificates' files, on a thread of its own: a disk or a network that does not
//! answer holds up that thread and nobody else.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, SystemTime};

use super::error::TlsError;
use super::files::{self, Stamp};
use super::key_pair::KeyPair;
use super::load::{Loaded, load};

/// What is to be looked at.
pub(super) struct Request {
    pub(super) files: KeyPair,
    /// Files that look like this need not be read; `None`: they are read in any case.
    pub(super) seen: Option<Seen>,
}

/// What a look has found.
pub(super) struct Report {
    pub(super) seen: Seen,
    /// `None`: as it was.
    pub(super) found: Option<Result<Loaded, TlsError>>,
}

/// How the files of `certFile` and `pkFile` looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen([Stamps; 2]);

/// The files that a value stands for, or why they cannot be known.
type Stamps = Result<Vec<(PathBuf, Option<Stamp>)>, String>;

impl Seen {
    fn of(files: &KeyPair) -> Self {
        let stamps = |value: &Path| {
            let matches = files::matching(value)?;
            let stamped = |file: PathBuf| {
                let stamp = files::stamp(&file);
                (file, stamp)
            };
            Ok(matches.files.into_iter().map(stamped).collect())
        };
        Self([stamps(&files.cert_file), stamps(&files.key_file)])
    }
}

/// Looks at once. What changes while it is read is seen by the next look, as the stamps are taken
/// before.
pub(super) fn look(request: &Request, now: SystemTime) -> Report {
    let seen = Seen::of(&request.files);
    let is_known = request.seen.as_ref() == Some(&seen);
    Report {
        found: (!is_known).then(|| load(&request.files, now)),
        seen,
    }
}

/// The thread that looks; at most one at a time.
pub(super) struct Looker {
    under_way: Option<UnderWay>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

struct UnderWay {
    reports: Receiver<Vec<Report>>,
    since: SystemTime,
    is_told: bool,
}

/// Wakes when the thread ends, however it does.
struct Waking(Arc<dyn Fn() + Send + Sync>);

impl Drop for Waking {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl Default for Looker {
    fn default() -> Self {
        Self {
            under_way: None,
            wake: Arc::new(|| {}),
        }
    }
}

impl fmt::Debug for Looker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Looker");
        shown.field("under_way", &self.under_way.is_some());
        shown.finish_non_exhaustive()
    }
}

impl Looker {
    pub(super) fn set_waker(&mut self, wake: impl Fn() + Send + Sync + 'static) {
        self.wake = Arc::new(wake);
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Begins a look; none may be under way.
    pub(super) fn begin(&mut self, requests: Vec<Request>, now: SystemTime) -> std::io::Result<()> {
        debug_assert!(!self.is_under_way(), "one look at a time");
        let (sender, reports) = mpsc::channel();
        let wake = Arc::clone(&self.wake);
        let name = "certificates".to_owned();
        thread::Builder::new().name(name).spawn(move || {
            // Dropped in the opposite order: whoever is woken finds a result or that there is none.
            let _waking = Waking(wake);
            let sender = sender;
            let reports = requests.iter().map(|request| look(request, now));
            // Whoever asked may have gone.
            let _ = sender.send(reports.collect());
        })?;
        self.under_way = Some(UnderWay {
            reports,
            since: now,
            is_told: false,
        });
        Ok(())
    }

    /// What the look has found, once it is over. A thread that has died has found nothing.
    pub(super) fn take(&mut self) -> Option<Vec<Report>> {
        let reports = match self.under_way.as_ref()?.reports.try_recv() {
            Ok(reports) => reports,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Vec::new(),
        };
        self.under_way = None;
        Some(reports)
    }

    /// Whether a look takes so long that it is to be told; once for each.
    pub(super) fn is_overdue(&mut self, now: SystemTime) -> bool {
        let Some(look) = &mut self.under_way else {
            return false;
        };
        let took = now.duration_since(look.since).unwrap_or_default();
        let is_due = took >= OVERDUE && !look.is_told;
        look.is_told |= is_due;
        is_due
    }
}

/// A look takes milliseconds.
const OVERDUE: Duration = Duration::from_secs(30);

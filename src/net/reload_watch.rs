//! Settings are read again on a thread of its own: a disk that does not answer holds up that thread
//! and nobody else.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use log::{error, info, warn};

use super::loop_settings::LoopSettings;
use super::system::Waker;
use crate::app::AppSettings;
use crate::ops::certificates::Certificates;

/// Settings that were read again and checked.
#[derive(Debug)]
pub struct NewSettings {
    /// The application's.
    pub app: AppSettings,
    /// The loop's.
    pub event_loop: LoopSettings,
    /// How long a successor waits for what is not quiescent (`takeoverTime`).
    pub takeover_patience: Duration,
    /// Those of other files than before; `None`: the files are the same.
    pub certificates: Option<Certificates>,
    /// How many keys have changed.
    pub change_count: usize,
}

/// Reads settings again, tells in the log what has changed or what is wrong, and may take its time.
/// `None`: something is wrong, and nothing is to change.
pub type ReadAgain = dyn Fn() -> Option<NewSettings> + Send + Sync;

/// How settings are read again, and the reading that is under way.
#[derive(Default)]
pub(super) struct ReloadWatch {
    read: Option<Arc<ReadAgain>>,
    under_way: Option<Receiver<Option<NewSettings>>>,
    /// Asked for while another one was under way, which may have seen the file as it was.
    is_asked_again: bool,
}

/// Wakes the loop when the thread ends, however it does.
struct Waking(Waker);

impl Drop for Waking {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl ReloadWatch {
    /// Has settings read by `read`.
    pub(super) fn read_by(&mut self, read: Arc<ReadAgain>) {
        self.read = Some(read);
    }

    /// Begins to read; whether something is under way now. At most one reading is.
    pub(super) fn begin(&mut self, waker: Waker) -> bool {
        let Some(read) = self.read.clone() else {
            return false;
        };
        if self.under_way.is_some() {
            warn!("the settings are still being read (does their disk answer?), and then again");
            self.is_asked_again = true;
            return true;
        }
        let (sender, receiver) = mpsc::channel();
        let begun = thread::Builder::new()
            .name("settings".to_owned())
            .spawn(move || {
                // Dropped in the opposite order: whoever is woken finds a result, or that there
                // is none.
                let _waking = Waking(waker);
                let sender = sender;
                // Whoever asked may have gone.
                let _ = sender.send(read());
            });
        match begun {
            Ok(_) => self.under_way = Some(receiver),
            Err(error) => error!("the settings are not read again: no thread: {error}"),
        }
        self.under_way.is_some()
    }

    /// What reading has come to, once it is over: the settings, unless they are wrong, and whether
    /// they were asked for again meanwhile.
    pub(super) fn take(&mut self) -> Option<(Option<NewSettings>, bool)> {
        let read = match self.under_way.as_ref()?.try_recv() {
            Ok(read) => read,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => {
                error!("reading the settings again has broken off: nothing changes");
                None
            }
        };
        self.under_way = None;
        Some((read, std::mem::take(&mut self.is_asked_again)))
    }
}

impl NewSettings {
    /// Says in the log that they hold.
    pub(super) fn log(&self) {
        match self.change_count {
            0 => info!("Settings read again: nothing has changed"),
            1 => info!("Settings read again: 1 change"),
            count => info!("Settings read again: {count} changes"),
        }
    }
}

impl fmt::Debug for ReloadWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ReloadWatch");
        shown.field("under_way", &self.under_way.is_some());
        shown.finish_non_exhaustive()
    }
}

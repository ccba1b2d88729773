//! The logger of the process, which stays, and the one behind it, which can change.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use log::{Log, Metadata, Record};

/// Hands records on; a clone hands them to the same logger.
#[derive(Clone, Default)]
pub(super) struct Switch(Arc<RwLock<Option<env_logger::Logger>>>);

impl Switch {
    /// Records go to this logger from now on.
    pub(super) fn set(&self, logger: env_logger::Logger) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // The one before is dropped when the lock is free again.
        let _before = current.replace(logger);
        drop(current);
    }

    fn with<T>(&self, call: impl FnOnce(&env_logger::Logger) -> T) -> Option<T> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(call)
    }
}

impl Log for Switch {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.with(|logger| logger.enabled(metadata)) == Some(true)
    }

    fn log(&self, record: &Record<'_>) {
        self.with(|logger| logger.log(record));
    }

    fn flush(&self) {
        self.with(Log::flush);
    }
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Switch")
    }
}

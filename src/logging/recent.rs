//! The last warnings and errors, kept for the status page.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use log::Level;

/// The last warnings and errors, as they were logged; all threads share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent(Arc<Mutex<VecDeque<String>>>);

impl Recent {
    /// Keeps a line, if it is of a level that is kept. No line is longer than lines are.
    pub(super) fn keep(&self, level: Level, line: impl FnOnce() -> String) {
        if level > Level::Warn {
            return;
        }
        let line = line();
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while lines.len() >= MAX_LINES {
            lines.pop_front();
        }
        lines.push_back(line.trim_end().to_owned());
    }

    /// All of them, the oldest first.
    pub(super) fn lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }
}

/// Most lines that are kept.
const MAX_LINES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_that_matter_are_kept() {
        let recent = Recent::default();
        recent.keep(Level::Info, || "nothing\n".to_owned());
        assert!(recent.lines().is_empty());
        (0..MAX_LINES + 5).for_each(|n| recent.keep(Level::Warn, || format!("{n}\n")));
        recent.keep(Level::Error, || "last".to_owned());
        let lines = recent.lines();
        assert_eq!(lines.len(), MAX_LINES);
        assert_eq!((&*lines[0], &*lines[MAX_LINES - 1]), ("6", "last"));
    }
}

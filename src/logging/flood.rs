//! [`Flood`]: lines that a hostile peer can bring about at will are written up to a number a second,
//! and counted beyond.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What has been written lately; all threads share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Flood(Arc<Mutex<Window>>);

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    written: u32,
    left_out: u64,
}

/// Whether a line is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// It is; so many were left out before it.
    Behind(u64),
    /// It is counted.
    LeftOut,
}

impl Flood {
    /// One more line at `now`.
    pub(super) fn admit(&self, now: Instant) -> Admitted {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = window
            .began
            .is_none_or(|began| now.saturating_duration_since(began) >= SECOND);
        if is_over {
            (window.began, window.written) = (Some(now), 0);
        }
        if window.written >= LINES_PER_SECOND {
            window.left_out += 1;
            return Admitted::LeftOut;
        }
        window.written += 1;
        Admitted::Behind(std::mem::take(&mut window.left_out))
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Enough to see who it is, and to have him shut out by a few lines; half a GiB a day at most.
pub(super) const LINES_PER_SECOND: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_with_the_next_line() {
        let (flood, start) = (Flood::default(), Instant::now());
        for _ in 0..LINES_PER_SECOND {
            assert_eq!(flood.admit(start), Admitted::Behind(0));
        }
        for _ in 0..1000 {
            assert_eq!(flood.admit(start + SECOND / 2), Admitted::LeftOut);
        }
        assert_eq!(flood.admit(start + SECOND), Admitted::Behind(1000));
        assert_eq!(flood.admit(start + SECOND), Admitted::Behind(0));
    }
}

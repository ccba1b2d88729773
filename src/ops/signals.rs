//! SIGTERM, SIGINT and SIGHUP, as events of the loop.

use std::io;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What the administrator asks for by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT: stop.
    Stop,
    /// SIGHUP: open the log anew.
    Hangup,
}

/// The signals that have come and not been asked for.
pub struct Signals(signal_hook_mio::v1_0::Signals);

impl Signals {
    /// Has the signals reported under `token`.
    ///
    /// # Errors
    /// If the system grants no pipe or no handler.
    pub fn register(registry: &Registry, token: Token) -> io::Result<Self> {
        let mut signals = signal_hook_mio::v1_0::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        registry.register(&mut signals, token, Interest::READABLE)?;
        Ok(Self(signals))
    }

    /// Those that have come since the last call.
    pub fn pending(&mut self) -> impl Iterator<Item = Signal> + '_ {
        self.0.pending().map(|signal| match signal {
            SIGHUP => Signal::Hangup,
            _ => Signal::Stop,
        })
    }
}

//! Signals of the administrator, as events of the loop. None of those that people send to servers
//! ends the process unasked: SIGUSR1 and SIGUSR2 do without a handler.

use std::io;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

/// What the administrator asks for by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT, SIGQUIT: stop.
    Stop,
    /// SIGHUP: read the settings and open the log anew.
    Hangup,
    /// SIGUSR1: say in the log how the server is.
    Report,
    /// SIGUSR2: start a successor, which takes over.
    Upgrade,
}

/// The signals that have come and not been asked for.
pub struct Signals(signal_hook_mio::v1_0::Signals);

impl Signals {
    /// Has the signals reported under `token`.
    ///
    /// # Errors
    /// If the system grants no pipe or no handler.
    pub fn register(registry: &Registry, token: Token) -> io::Result<Self> {
        let mut signals = signal_hook_mio::v1_0::Signals::new([
            SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2,
        ])?;
        registry.register(&mut signals, token, Interest::READABLE)?;
        Ok(Self(signals))
    }

    /// Those that have come since the last call.
    pub fn pending(&mut self) -> impl Iterator<Item = Signal> + '_ {
        self.0.pending().map(|signal| match signal {
            SIGHUP => Signal::Hangup,
            SIGUSR1 => Signal::Report,
            SIGUSR2 => Signal::Upgrade,
            _ => Signal::Stop,
        })
    }
}

//! What the operating system has to do with: signals, limits, names, certificates and sessions in
//! files.

pub mod certificates;
pub mod identity;
pub mod inherited;
pub mod names;
pub mod notify;
pub mod process;
pub mod public_key;
pub mod session_files;
pub mod signals;
pub mod state_dir;
pub mod successor;

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use log::{info, warn};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use signal_hook::consts::SIGXFSZ;

/// Has a file that may not grow any further (`ulimit -f`, LimitFSIZE) be an error of the write
/// (EFBIG) instead of the end of the process.
///
/// # Errors
/// If the system grants no handler.
pub fn survive_file_size_limit() -> io::Result<()> {
    // Any handler does. Nobody asks whether the signal has come, as the write tells.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The time of day, which may jump: since 1970, or 0 if the clock is set to a time before.
pub fn time_of_day() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}

/// How many files may be open at most once the soft limit is raised.
///
/// # Errors
/// The system's.
pub fn open_file_limit() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(hard)
}

/// Raises the soft limit of open files to the hard one, and says so if `max_clients` does not fit.
pub fn raise_open_file_limit(max_clients: usize) {
    let raised = open_file_limit().and_then(|hard| {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        Ok(hard)
    });
    match raised {
        Ok(limit) if limit < max_clients as u64 => {
            info!(
                "at most {limit} files may be open, so maxClients={max_clients} is not reached; \
                 raise the limit (LimitNOFILE, ulimit -n) to have more clients"
            );
        }
        Ok(_) => {}
        Err(error) => warn!("the open-file limit stays as it is: {error}"),
    }
}

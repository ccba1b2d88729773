//! What the operating system has to do with: signals, limits, certificates in files.

pub mod certificates;
pub mod inherited;
pub mod signals;

use log::{info, warn};

/// Raises the soft limit of open files to the hard one, and says so if `max_clients` does not fit.
pub fn raise_open_file_limit(max_clients: usize) {
    match rlimit::increase_nofile_limit(rlimit::INFINITY) {
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

//! What `--check` finds out about the machine: ports, limits, directories. Nothing is changed.

use std::fs;
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use crate::config::Config;
use crate::net::{self, Endpoint, ListenAddress};
use crate::ops;

/// One line each: what is fine is left out.
pub fn findings(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    for endpoint in config.endpoints() {
        found.extend(busy(&endpoint));
    }
    found.extend(open_files(config.admission.max_clients));
    found.extend(config.log.file.as_deref().and_then(unwritable));
    found
}

fn busy(endpoint: &Endpoint) -> Vec<String> {
    let addresses = match &endpoint.address {
        ListenAddress::Tcp { .. } => endpoint.resolve().unwrap_or_default(),
        ListenAddress::Unix(file) => return directory_fault(&file.path).into_iter().collect(),
    };
    let faults = addresses.into_iter().filter_map(|address| {
        let fault = net::try_listen(address).err()?;
        Some(format!("{fault} (this server itself, if it is running)"))
    });
    faults.collect()
}

fn directory_fault(path: &Path) -> Option<String> {
    let directory = path.parent()?;
    let reason = match access(directory, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => return None,
        Err(error) => error.desc(),
    };
    Some(format!("{}: {reason}", directory.display()))
}

/// The hard limit counts: the soft one is raised at the start.
fn open_files(max_clients: usize) -> Option<String> {
    let hard = ops::open_file_limit().ok()?;
    let needed = u64::try_from(max_clients).ok()?.saturating_add(RESERVE);
    (hard < needed).then(|| {
        format!(
            "open files are limited to {hard}, fewer than maxClients={max_clients} needs; raise \
             LimitNOFILE (systemd) or ulimit -n"
        )
    })
}

fn unwritable(log: &Path) -> Option<String> {
    let directory = log.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    // A missing one is told elsewhere.
    fs::metadata(directory).ok()?;
    let place = if log.exists() { log } else { directory };
    let error = access(place, AccessFlags::W_OK).err()?;
    let reason = error.desc();
    Some(format!(
        "{}: {reason}: the log goes to the console",
        place.display()
    ))
}

/// Descriptors that the server needs besides connections.
const RESERVE: u64 = 64;

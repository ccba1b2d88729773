//! `--check`: everything that would stop the start, and what should be looked at, without starting
//! anything. Nothing on the machine is changed.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use log::Level;
use nix::unistd::{AccessFlags, Gid, access, getegid, geteuid, getgroups};
use socket2::{Domain, SockAddr, Socket, Type};

use super::port_owner::{self, Owner};
use crate::base::plain;
use crate::client;
use crate::config::{Config, Options};
use crate::logging;
use crate::net::{self, BackplaneFault, BindError, ListenAddress, SignInTrial, SocketFile};
use crate::ops;
use crate::ops::state_dir::StateDir;

/// What `--check` has to say.
#[derive(Debug, Default)]
pub struct Findings {
    /// What would stop the start, or keep something from being as the ini has it.
    pub problems: Vec<String>,
    /// What works and should be looked at.
    pub warnings: Vec<String>,
    /// What was tried and is fine.
    pub successes: Vec<String>,
    /// What is in force, for those who want to see it; empty if it cannot be told.
    pub settings: String,
}

impl Findings {
    /// The closing line.
    pub fn verdict(&self) -> String {
        match self.problems.len() {
            0 => "fine".to_owned(),
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        }
    }
}

/// Reads everything that a start with `options` would read and looks whether it would succeed. With
/// `dial`, comes to that address of the server as a page does.
pub fn findings(options: &Options, dial: Option<&str>) -> Findings {
    let mut found = Findings::default();
    let config = match Config::load(options) {
        Ok(config) => config,
        Err(errors) => {
            let problems = errors.problems().iter().map(ToString::to_string);
            found.problems.extend(problems);
            found.warnings.extend_from_slice(errors.warnings());
            return found;
        }
    };
    found.warnings.extend_from_slice(&config.warnings);
    found.settings = config.report();
    check_certificates(&config, &mut found);
    check_listeners(&config, &mut found);
    found.warnings.extend(few_open_files(&config));
    check_log(&config, &mut found);
    check_state_dir(&config, &mut found);
    check_sign_in(&config, &mut found);
    check_backplane(&config, &mut found);
    if let Some(url) = dial {
        match connect(url, &config, &mut found.warnings) {
            Ok(()) => found.successes.push(format!("{url} answers: ready")),
            Err(problem) => found.problems.push(problem),
        }
    }
    found
}

fn check_certificates(config: &Config, found: &mut Findings) {
    match config.certificates() {
        Ok(None) => {}
        Ok(Some(certificates)) => {
            found.warnings.extend(certificates.warnings());
            for note in certificates.expiry_notes() {
                match note.level {
                    Level::Error => found.problems.push(note.text),
                    _ => found.warnings.push(note.text),
                }
            }
            for description in certificates.descriptions() {
                found.settings.push_str(&format!("; {description}\n"));
            }
        }
        Err(problem) => found.problems.push(problem.to_string()),
    }
}

fn check_listeners(config: &Config, found: &mut Findings) {
    let mut faults = Vec::new();
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for endpoint in config.endpoints() {
        if let ListenAddress::Unix(file) = &endpoint.address {
            faults.extend(socket_file_faults(file));
            continue;
        }
        match endpoint.resolve() {
            Ok(resolved) => {
                let is_localhost = resolved.len() > 1 && resolved.iter().all(is_loopback);
                for address in resolved {
                    faults.extend(twice(&address, &addresses));
                    faults.extend(listen_fault(address, is_localhost));
                    addresses.push(address);
                }
            }
            Err(error) => {
                let host = endpoint.host().unwrap_or_default();
                faults.push(Fault::Problem(format!(
                    "host {host} is not known: {}",
                    plain(&error)
                )));
            }
        }
    }
    for fault in faults {
        match fault {
            Fault::Problem(reason) => {
                let problem = config.listen_problem(reason);
                found.problems.push(problem.to_string());
            }
            Fault::Warning(reason) => found.warnings.push(reason),
        }
    }
}

/// What is wrong with a listener.
enum Fault {
    /// The start fails.
    Problem(String),
    /// It may succeed, or goes on without.
    Warning(String),
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().is_loopback()
}

/// The start would find its own socket in the way. `[::]` beside 0.0.0.0 is IPv6 alone.
fn twice(address: &SocketAddr, others: &[SocketAddr]) -> Option<Fault> {
    let is_same = |other: &&SocketAddr| {
        let is_any = address.ip().is_unspecified() || other.ip().is_unspecified();
        let is_same_family = address.is_ipv4() == other.is_ipv4();
        address.port() == other.port()
            && address.port() != 0
            && is_same_family
            && (is_any || address.ip() == other.ip())
    };
    let other = others.iter().find(is_same)?;
    let reason = format!("{address} is listened on twice, by {other} as well; one is enough");
    Some(Fault::Problem(reason))
}

/// A machine without IPv6 serves localhost on 127.0.0.1 alone.
fn listen_fault(address: SocketAddr, is_localhost: bool) -> Option<Fault> {
    let fault = net::try_listen(address).err()?;
    let is_in_use = matches!(
        &fault,
        BindError::Refused(_, error) if error.kind() == io::ErrorKind::AddrInUse
    );
    if is_in_use {
        let fault = in_use(&address.to_string(), &port_owner::of_port(address));
        return Some(fault);
    }
    Some(if is_localhost && address.is_ipv6() {
        Fault::Warning(format!("localhost is served on 127.0.0.1 only: {fault}"))
    } else {
        Fault::Problem(fault.to_string())
    })
}

/// What this server itself holds, which may be running, is free for its next start, and what
/// systemd holds is passed on.
fn in_use(what: &str, owners: &[Owner]) -> Fault {
    let other = owners.iter().find(|owner| !owner.gives_way());
    match (other, owners.first()) {
        (None, Some(own)) => Fault::Warning(format!("{what} is in use by {own}")),
        (Some(owner), _) => Fault::Problem(format!(
            "{what} is in use by {owner}: stop it, or choose another address"
        )),
        (None, None) => Fault::Problem(format!(
            "{what} is in use: stop the program that listens there, or choose another address"
        )),
    }
}

fn socket_file_faults(file: &SocketFile) -> Vec<Fault> {
    let faults = [
        file.group.as_deref().and_then(group_fault),
        place_fault(&file.path),
    ];
    faults.into_iter().flatten().collect()
}

fn group_fault(name: &str) -> Option<Fault> {
    let gid = match ops::names::group_id(name) {
        Ok(Some(gid)) => Gid::from_raw(gid),
        Ok(None) => return Some(Fault::Problem(format!("there is no group {name}"))),
        Err(error) => return Some(Fault::Problem(format!("group {name}: {}", plain(&error)))),
    };
    let is_member = geteuid().is_root()
        || getegid() == gid
        || getgroups().is_ok_and(|groups| groups.contains(&gid));
    (!is_member).then(|| {
        let reason =
            format!("the user that runs this is not in group {name}, and cannot give to it");
        Fault::Problem(reason)
    })
}

/// Whether a socket can be made under this name.
fn place_fault(path: &Path) -> Option<Fault> {
    let shown = path.display();
    let directory = path.parent().unwrap_or(Path::new("/"));
    if let Err(error) = access(directory, AccessFlags::W_OK | AccessFlags::X_OK) {
        let reason = format!("{}: {}", directory.display(), error.desc());
        return Some(Fault::Problem(reason));
    }
    let metadata = fs::symlink_metadata(path).ok()?;
    if !metadata.file_type().is_socket() {
        let reason = format!("unix:{shown}: is there and is no socket");
        return Some(Fault::Problem(reason));
    }
    match connect_file(path) {
        // It was left behind, and the start removes it.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => None,
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
            Some(Fault::Problem(format!("unix:{shown}: {}", plain(&error))))
        }
        // Who does not take us at once listens as well.
        Ok(()) | Err(_) => Some(in_use(&format!("unix:{shown}"), &port_owner::of_file(path))),
    }
}

/// Does not wait for who does not accept.
fn connect_file(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

/// The hard limit counts: the soft one is raised at the start.
fn few_open_files(config: &Config) -> Option<String> {
    let max_clients = config.server.admission.max_clients;
    let hard = ops::open_file_limit().ok()?;
    let needed = u64::try_from(max_clients).ok()?.saturating_add(RESERVE);
    (hard < needed).then(|| {
        format!(
            "open files are limited to {hard}, fewer than maxClients={max_clients} needs; raise \
             LimitNOFILE (systemd) or ulimit -n"
        )
    })
}

/// The start makes a directory that is not there.
fn check_state_dir(config: &Config, found: &mut Findings) {
    let Some(path) = config.state_dir() else {
        return;
    };
    let fault = match path.try_exists() {
        Ok(true) => StateDir::open(&path).err().map(|error| plain(&error)),
        Ok(false) => {
            let parent = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new("."));
            let denied = access(parent, AccessFlags::W_OK | AccessFlags::X_OK).err();
            denied.map(|error| format!("cannot be made in {}: {}", parent.display(), error.desc()))
        }
        Err(error) => Some(plain(&error)),
    };
    if let Some(fault) = fault {
        let problem = config.problem("stateDir", format_args!("{}: {fault}", path.display()));
        found.problems.push(problem.to_string());
    }
}

/// Tries what recognises visitors, and says what they can expect.
fn check_sign_in(config: &Config, found: &mut Findings) {
    let trial = SignInTrial::run(&config.server.sign_in);
    for (key, reason) in trial.problems {
        let key = match key {
            "sessions" if config.is_default("sessions") => "ssp",
            key => key,
        };
        found.problems.push(config.problem(key, reason).to_string());
    }
    found.warnings.extend(trial.warnings);
    found.successes.extend(trial.successes);
}

/// The start succeeds without Redis, and goes on looking for it (protocol.md 11.1).
fn check_backplane(config: &Config, found: &mut Findings) {
    let problem = |reason| config.problem("backplane", reason).to_string();
    match net::try_backplane(&config.server.backplane) {
        Some(Ok(success)) => found.successes.push(format!("backplane: {success}")),
        Some(Err(BackplaneFault::Away(reason))) => found.warnings.push(problem(format!(
            "{reason}; until it answers, this server serves its own"
        ))),
        Some(Err(BackplaneFault::Wrong(reason))) => found.problems.push(problem(reason)),
        None => {}
    }
}

/// What is no file is a mistake; a directory that is missing, as on another machine, or shut is
/// not, and the lines go to the console (protocol.md 7.4).
fn check_log(config: &Config, found: &mut Findings) {
    let Some(file) = &config.log.file else {
        return;
    };
    let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
    if let Some(fault) = logging::fault_of(&file) {
        let problem = config.problem("logfile", format_args!("{}: {fault}", file.display()));
        found.problems.push(problem.to_string());
        return;
    }
    let directory = file.parent().unwrap_or(Path::new("/"));
    let fault = if directory.is_dir() {
        let place = if file.exists() { &file } else { directory };
        let denied = access(place, AccessFlags::W_OK).err();
        denied.map(|error| format!("{}: {}", place.display(), error.desc()))
    } else {
        Some(format!("no directory {}", directory.display()))
    };
    found
        .warnings
        .extend(fault.map(|fault| format!("{fault}: the log goes to the console")));
}

/// Comes to the server as a page does, and says at which step that fails.
fn connect(url: &str, config: &Config, warnings: &mut Vec<String>) -> Result<(), String> {
    let origins = &config.server.admission.allowed_origins;
    let settings = client::ClientSettings {
        origin: origins.first().cloned().unwrap_or_default(),
        ..client::ClientSettings::page()
    };
    let dialled = client::Client::connect(url, &settings).map_err(|error| {
        let (step, advice) = error.diagnosis();
        let advice = advice.map_or_else(String::new, |advice| format!("; {advice}"));
        format!("{url} fails at {step}: {error}{advice}")
    })?;
    if let Err(error) = dialled.close() {
        warnings.push(format!("{url}: {error}"));
    }
    Ok(())
}

/// Descriptors that the server needs besides connections.
const RESERVE: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_would_be_in_each_others_way_are_found() {
        let table = [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "0.0.0.0:1", true),
            ("[::]:1", "[::1]:1", true),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("[::]:1", "0.0.0.0:1", false),
            ("[::1]:1", "127.0.0.1:1", false),
        ];
        for (one, other, expected) in table {
            let (a, b) = (one.parse().expect(one), other.parse().expect(other));
            assert_eq!(twice(&a, &[b]).is_some(), expected, "{one} {other}");
            assert_eq!(twice(&b, &[a]).is_some(), expected, "{other} {one}");
        }
    }

    #[test]
    fn the_verdict_counts_problems() {
        for (count, expected) in [(0, "fine"), (1, "1 problem"), (2, "2 problems")] {
            let found = Findings {
                problems: vec![String::new(); count],
                warnings: vec![String::new()],
                ..Findings::default()
            };
            assert_eq!(found.verdict(), expected);
        }
    }
}

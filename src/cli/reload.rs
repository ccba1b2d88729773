//! SIGHUP: the ini file is read again, and what it has changed is told and handed on.

use std::sync::{Arc, Mutex, PoisonError};

use log::{error, info, warn};

use super::options::Options;
use crate::config::{Change, Config, Effect, Errors};
use crate::logging::{Logger, Prepared};
use crate::net::ReadSettings;
use crate::ops;
use crate::ops::certificates::Certificates;

/// What a running server goes by, and what that was read from.
pub struct Reloader {
    options: Options,
    config: Mutex<Config>,
    logger: Arc<Logger>,
}

/// What was read and checked.
struct Read {
    config: Config,
    changes: Vec<Change>,
    certificates: Option<Certificates>,
    log: Option<Prepared>,
}

impl Reloader {
    /// Starts from these settings, read with these options.
    pub fn new(options: Options, config: Config, logger: Arc<Logger>) -> Self {
        Self {
            options,
            config: Mutex::new(config),
            logger,
        }
    }

    /// Reads the ini file again, and tells in the log what has changed or what is wrong. `None`:
    /// something is wrong, and nothing has changed. May wait for disks.
    pub fn read(&self) -> Option<ReadSettings> {
        let mut current = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let read = match read_again(&current, &self.options, &self.logger) {
            Ok(read) => read,
            Err(errors) => return refuse(&errors),
        };
        // These lines go where the log went until now.
        for warning in &read.config.warnings {
            warn!("{warning}");
        }
        read.changes.iter().for_each(tell);
        if let Some(log) = read.log {
            self.logger.switch_to(log);
        }
        let max_clients = read.config.server.admission.max_clients;
        if max_clients != current.server.admission.max_clients {
            ops::raise_open_file_limit(max_clients);
        }
        let in_force = read.changes.iter().filter(|c| c.effect != Effect::Restart);
        let settings = ReadSettings {
            change_count: in_force.count(),
            server: read.config.server.clone(),
            certificates: read.certificates,
        };
        *current = read.config;
        Some(settings)
    }
}

/// Everything that can fail, before anything changes.
fn read_again(current: &Config, options: &Options, logger: &Logger) -> Result<Read, Errors> {
    let (config, changes) = current.reload(options)?;
    let has_new_files =
        config.cert_files != current.cert_files || config.key_files != current.key_files;
    let certificates = match has_new_files {
        true => config.certificates()?,
        false => None,
    };
    let log = logger.prepare(&config.log);
    let log = log.map_err(|reason| config.problem("logfile", reason))?;
    Ok(Read {
        config,
        changes,
        certificates,
        log,
    })
}

fn tell(change: &Change) {
    match change.effect {
        Effect::AtOnce | Effect::Newcomers => info!("Changed: {change}"),
        Effect::Restart => warn!("Not changed: {change}"),
    }
}

fn refuse(errors: &Errors) -> Option<ReadSettings> {
    for warning in errors.warnings() {
        warn!("{warning}");
    }
    for problem in errors.problems() {
        error!("{problem}");
    }
    error!("The settings were not read again: everything stays as it was");
    None
}

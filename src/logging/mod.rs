//! Log set-up and line format, through `log` and env_logger.
//!
//! A line is `DATE; TEXT` and LF, with an RFC 2822 date in local time, as the PHP server writes
//! them (protocol.md 7.6); errors and warnings say so before their text. Lines go to the file and to
//! standard output.
//!
//! ```text
//! log::info!  →  filter, format  →  bounded channel  →  thread
//!                (the caller's thread, never waits)    (one per output: file, standard output)
//! ```
//!
//! A disk or pipe that hangs costs lines, never the event loop's time: what does not fit into the
//! channel is counted, and the count is logged when there is room again. A log that cannot be
//! written is reported on standard error and stops nothing; its lines go to standard output.
//!
//! Who logs texts that come from a peer sends them through [`escape`](crate::base::escape()); as a
//! second line of defence the whole text of a line goes through it, and what is longer than 4 KiB
//! is cut. Contents of messages are never logged.

mod file;
mod flood;
mod format;
mod line;
mod recent;
mod switch;
mod thread;

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use env_logger::Target;
use log::{Level, LevelFilter};

use crate::base::log_target::CONNECTIONS;
use crate::base::plain;

pub use self::format::LogFormat;
use file::{LogFile, Opened, complain};
use line::Layout;
use recent::Recent;
use switch::Switch;
use thread::{Lines, Output, Worker};

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Append to this file (`logfile`).
    pub file: Option<PathBuf>,
    /// Write to standard output (`console`).
    pub console: bool,
    /// Least important level that is written (`loglevel`); RUST_LOG goes over it.
    pub level: LevelFilter,
    /// Whether connections that come and go are written at `info` (`logConnections`); at `debug`
    /// they always are.
    pub connections: bool,
    /// How a line is written (`logFormat`).
    pub format: LogFormat,
    /// The file is rotated before it grows beyond this (`logMaxSize`); 0 leaves that to others.
    pub max_bytes: u64,
    /// Rotated files that are kept, 1 to 1000 (`logKeep`).
    pub keep: usize,
}

/// The running log. Lines come in through the macros of `log`; this is the handle for the rest.
#[derive(Debug)]
pub struct Logger {
    running: Mutex<Running>,
    /// What the macros of `log` lead to.
    switch: Switch,
    /// RUST_LOG.
    filters: String,
}

/// Outputs that are open and wait for [`Logger::switch_to`].
#[derive(Debug)]
pub struct Prepared {
    running: Running,
    log: env_logger::Logger,
}

/// The outputs, and the settings that they are from.
#[derive(Debug)]
struct Running {
    settings: LogSettings,
    /// One for each output: none, file, console or both.
    workers: Vec<Worker>,
    /// Whether the first of them is the file's.
    has_file: bool,
    /// Kept whatever the settings become.
    recent: Recent,
}

impl Logger {
    /// Opens the outputs, starts the writing thread and becomes the logger of the process.
    ///
    /// A file that cannot be opened is a warning on standard error, and the lines go to standard
    /// output instead (protocol.md 7.4). The level is the one of `config`; RUST_LOG goes over it, in
    /// env_logger's syntax. `Err`: no thread, or the process has a logger already.
    pub fn start(config: &LogSettings) -> io::Result<Self> {
        let filters = std::env::var("RUST_LOG").unwrap_or_default();
        let (logger, log) = Self::build(config, &filters, || Box::new(io::stdout()))?;
        log::set_max_level(log.filter());
        logger.switch.set(log);
        let switch = Box::new(logger.switch.clone());
        log::set_boxed_logger(switch).map_err(io::Error::other)?;
        Ok(logger)
    }

    /// Opens the outputs that other settings want, for [`switch_to`](Self::switch_to). `None`: those
    /// are in force already.
    ///
    /// # Errors
    /// Why the file cannot be opened.
    pub fn prepare(&self, settings: &LogSettings) -> Result<Option<Prepared>, String> {
        let is_same = self.running().settings == *settings;
        let lacks_file = settings.file.is_some() && !self.running().has_file;
        if is_same && !lacks_file {
            return Ok(None);
        }
        let opened = match settings.file.as_deref().map(file::append_to).transpose() {
            Ok(opened) => opened,
            // It could not be opened before, and nobody has asked for another one.
            Err(_) if is_same => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let stdout = || -> Box<dyn Write + Send> { Box::new(io::stdout()) };
        let kept = (self.filters.as_str(), self.running().recent.clone());
        let (running, log) =
            Running::start(settings, opened, kept, stdout).map_err(|error| plain(&error))?;
        Ok(Some(Prepared { running, log }))
    }

    /// Goes by other settings from now on. Waits until what was logged before is written where it
    /// was to go, as [`flush`](Self::flush) does.
    pub fn switch_to(&self, prepared: Prepared) {
        let Prepared { running, log } = prepared;
        let before = std::mem::replace(&mut *self.running(), running);
        let max_level = log.filter();
        self.switch.set(log);
        log::set_max_level(max_level);
        before.flush();
    }

    /// Opens the file anew under its name (SIGHUP), so that logrotate can move the old one away.
    ///
    /// Does not wait. If the file cannot be opened, the old one goes on being written.
    pub fn reopen(&self) {
        self.running().workers.iter().for_each(Worker::reopen);
    }

    /// The last warnings and errors, as they were logged, the oldest first; a hundred at most.
    pub fn recent(&self) -> Vec<String> {
        self.running().recent.lines()
    }

    /// Writes an error to the file alone, if there is one. Why a start fails is told on standard
    /// error, which does not help who looks into the log.
    pub fn record_in_file(&self, error: &dyn fmt::Display) {
        let running = self.running();
        if let Some(worker) = running.workers.first().filter(|_| running.has_file) {
            worker.log(Level::Error, &format_args!("{error}"));
        }
    }

    /// Waits until all lines logged so far are written, for at most two seconds: at exit a hanging
    /// disk must not hold the process. Dropping the logger does the same; `process::exit` does not.
    pub fn flush(&self) {
        self.running().flush();
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything but becoming the logger of the process, which a process can do only once.
    fn build(
        config: &LogSettings,
        filters: &str,
        stdout: impl Fn() -> Box<dyn Write + Send>,
    ) -> io::Result<(Self, env_logger::Logger)> {
        let opened = config.file.as_deref().and_then(open);
        let (running, log) = Running::start(config, opened, (filters, Recent::default()), stdout)?;
        let logger = Self {
            running: Mutex::new(running),
            switch: Switch::default(),
            filters: filters.to_owned(),
        };
        Ok((logger, log))
    }
}

impl Running {
    /// Starts the outputs. `opened`: the log file; if it is wanted and is not there, lines go to
    /// standard output.
    fn start(
        config: &LogSettings,
        opened: Option<Opened>,
        (filters, recent): (&str, Recent),
        stdout: impl Fn() -> Box<dyn Write + Send>,
    ) -> io::Result<(Self, env_logger::Logger)> {
        let wants_console = config.console || config.file.is_some() && opened.is_none();
        let file = opened.map(|opened| {
            let fallback: Box<dyn Write + Send> = if wants_console {
                // It has the lines anyway.
                Box::new(io::sink())
            } else {
                stdout()
            };
            Output::File(LogFile::new(
                opened,
                config.max_bytes,
                config.keep,
                fallback,
            ))
        });
        let has_file = file.is_some();
        let console = wants_console.then(|| Output::Console(BufWriter::new(stdout())));
        let in_file = Layout::of_file(config.format);
        let on_console = Layout::of_console(config.format);
        let file = file
            .map(|output| Worker::start(output, in_file))
            .transpose()?;
        let console = console
            .map(|output| Worker::start(output, on_console))
            .transpose()?;
        let workers: Vec<Worker> = file.into_iter().chain(console).collect();
        let lines = Lines::new(workers.clone(), recent.clone());
        let connections = match config.connections || config.level >= LevelFilter::Debug {
            true => config.level,
            false => config.level.min(LevelFilter::Warn),
        };
        let mut builder = env_logger::Builder::new();
        builder
            .filter_level(config.level)
            .filter_module(CONNECTIONS, connections)
            .target(Target::Pipe(Box::new(io::sink())))
            .format(move |_, record| {
                lines.log(record);
                Ok(())
            });
        if !filters.is_empty() {
            builder.parse_filters(filters);
        }
        let running = Self {
            settings: config.clone(),
            workers,
            has_file,
            recent,
        };
        Ok((running, builder.build()))
    }

    fn flush(&self) {
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        let workers = self.workers.iter();
        workers.for_each(|worker| worker.flush(deadline));
    }
}

/// The last lines of a process are those that tell why it ended.
impl Drop for Logger {
    fn drop(&mut self) {
        self.flush();
    }
}

/// What keeps `path` from being a log file, whoever may write there, for `--check`.
pub fn fault_of(path: &Path) -> Option<&'static str> {
    file::fault_of(path)
}

fn open(path: &Path) -> Option<Opened> {
    file::append_to(path)
        .inspect_err(|error| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            complain(format_args!(
                "{}: {error}; logging to the console",
                path.display()
            ));
        })
        .ok()
}

const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;

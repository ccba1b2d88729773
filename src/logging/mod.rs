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
mod line;
mod recent;
mod thread;

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use env_logger::Target;
use log::{Level, LevelFilter};

use file::{LogFile, Opened, complain};
use line::line_of;
use recent::Recent;
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
    /// The file is rotated before it grows beyond this (`logMaxSize`); 0 leaves that to others.
    pub max_bytes: u64,
    /// Rotated files that are kept, 1 to 1000 (`logKeep`).
    pub keep: usize,
}

/// The running log. Lines come in through the macros of `log`; this is the handle for the rest.
#[derive(Debug)]
pub struct Logger {
    /// One for each output: none, file, console or both.
    workers: Vec<Worker>,
    /// Whether the first of them is the file's.
    has_file: bool,
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
        log::set_boxed_logger(Box::new(log)).map_err(io::Error::other)?;
        Ok(logger)
    }

    /// Opens the file anew under its name (SIGHUP), so that logrotate can move the old one away.
    ///
    /// Does not wait. If the file cannot be opened, the old one goes on being written.
    pub fn reopen(&self) {
        self.workers.iter().for_each(Worker::reopen);
    }

    /// The last warnings and errors, as they were logged, the oldest first; a hundred at most.
    pub fn recent(&self) -> Vec<String> {
        self.recent.lines()
    }

    /// Writes an error to the file alone, if there is one. Why a start fails is told on standard
    /// error, which does not help who looks into the log.
    pub fn record_in_file(&self, error: &dyn fmt::Display) {
        if let Some(worker) = self.workers.first().filter(|_| self.has_file) {
            worker.write(line_of(Level::Error, &format_args!("{error}")).as_bytes());
        }
    }

    /// Waits until all lines logged so far are written, for at most two seconds: at exit a hanging
    /// disk must not hold the process. Dropping the logger does the same; `process::exit` does not.
    pub fn flush(&self) {
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        self.workers
            .iter()
            .for_each(|worker| worker.flush(deadline));
    }

    /// Everything but becoming the logger of the process, which a process can do only once.
    fn build(
        config: &LogSettings,
        filters: &str,
        stdout: impl Fn() -> Box<dyn Write + Send>,
    ) -> io::Result<(Self, env_logger::Logger)> {
        let opened = config.file.as_deref().and_then(open);
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
        let outputs = [file, console].into_iter().flatten();
        let workers = outputs.map(Worker::start).collect::<io::Result<Vec<_>>>()?;
        let recent = Recent::default();
        let kept = recent.clone();
        let mut builder = env_logger::Builder::new();
        builder
            .filter_level(config.level)
            .target(Target::Pipe(Box::new(Lines(workers.clone()))))
            .format(move |line, record| {
                let text = line_of(record.level(), record.args());
                kept.keep(record.level(), &text);
                line.write_all(text.as_bytes())
            });
        if !filters.is_empty() {
            builder.parse_filters(filters);
        }
        let logger = Self {
            workers,
            has_file,
            recent,
        };
        Ok((logger, builder.build()))
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

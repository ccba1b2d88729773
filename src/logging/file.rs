//! The log file: appended to line by line, reopened on demand, rotated by size.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use file_rotate::compression::Compression;
use file_rotate::suffix::AppendCount;
use file_rotate::{ContentLimit, FileRotate};

use super::complain;

/// An open log file.
///
/// file-rotate moves the full files (`log` → `log.1` → `log.2` …) but does not write the lines: it
/// drops them without a word when it cannot rename, where here the old file goes on growing.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Whole lines on their way to the file.
    waiting: Vec<u8>,
    /// Of the file's length with these, what counts towards `max_bytes`.
    byte_count: u64,
    /// 0: never rotated.
    max_bytes: u64,
    keep: usize,
    /// The last line was not written, and that has been told.
    is_failing: bool,
}

impl LogFile {
    /// Opens for appending, and creates the file but not its directory.
    pub(super) fn open(path: &Path, max_bytes: u64, keep: usize) -> io::Result<Self> {
        let file = append_to(path)?;
        Ok(Self {
            path: path.to_owned(),
            byte_count: file.metadata()?.len(),
            file,
            waiting: Vec::new(),
            max_bytes,
            keep,
            is_failing: false,
        })
    }

    /// Opens the path again; keeps the file that is open if that fails.
    pub(super) fn reopen(&mut self) {
        self.flush();
        match Self::open(&self.path, self.max_bytes, self.keep) {
            Ok(reopened) => *self = reopened,
            Err(error) => {
                complain(format_args!(
                    "{} not reopened: {error}",
                    self.path.display()
                ));
            }
        }
    }

    /// Appends one line, behind a rotation if it would make the file longer than `max_bytes`. It
    /// stands in the file once [`flush`](Self::flush) has been called.
    pub(super) fn write(&mut self, line: &[u8]) {
        let line_len = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let is_full = self.byte_count.saturating_add(line_len) > self.max_bytes;
        if self.max_bytes > 0 && self.byte_count > 0 && is_full {
            self.flush();
            self.rotate();
        }
        self.byte_count = self.byte_count.saturating_add(line_len);
        self.waiting.extend_from_slice(line);
        if self.waiting.len() >= BYTES_PER_WRITE {
            self.flush();
        }
    }

    /// Writes what waits. The first of several failures is told on standard error; every write is
    /// tried, as disks get room again.
    pub(super) fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let written = self.file.write_all(&self.waiting);
        self.waiting.clear();
        if let Err(error) = &written
            && !self.is_failing
        {
            complain(format_args!("{} not written: {error}", self.path.display()));
        }
        self.is_failing = written.is_err();
    }

    /// After a failure the file may grow by `max_bytes` again before the next attempt.
    fn rotate(&mut self) {
        self.byte_count = 0;
        // FileRotate creates the directory or panics; one that is gone is left alone here.
        let directory = self
            .path
            .parent()
            .filter(|path| !path.as_os_str().is_empty());
        if !directory.is_none_or(Path::is_dir) {
            return;
        }
        let full = FileRotate::new(
            &self.path,
            AppendCount::new(self.keep),
            ContentLimit::None,
            Compression::None,
            None,
        )
        .rotate();
        match full {
            Ok(()) => self.reopen(),
            Err(error) => complain(format_args!("{} not rotated: {error}", self.path.display())),
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Most bytes that wait, but for the line that passes it.
const BYTES_PER_WRITE: usize = 16 << 10;

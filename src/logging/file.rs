//! The log file: appended to line by line, reopened on demand, rotated by size.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::base::plain;

/// An open log file.
pub(super) struct LogFile {
    /// Absolute, as messages show it.
    path: PathBuf,
    file: File,
    kind: Kind,
    /// Whole lines on their way to the file.
    waiting: Vec<u8>,
    /// Of the file's length with these, what counts towards `max_bytes`.
    byte_count: u64,
    /// 0: never rotated.
    max_bytes: u64,
    keep: usize,
    state: State,
    /// Gets what cannot be written.
    fallback: Box<dyn Write + Send>,
}

/// Whether the file can be moved away and made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It can.
    Regular,
    /// A terminal, a pipe, /dev/null: it does not grow, and a new one under its name would be
    /// something else.
    Other,
}

/// How the last write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// All was written.
    Fine,
    /// It failed, and that has been told.
    Failing,
    /// The same, and the file ends in the middle of a line.
    Torn,
}

/// Why a file cannot be the log.
#[derive(Debug)]
pub(super) enum Unusable {
    /// Something that no log can be written to, whoever may write there.
    Kind(&'static str),
    /// It cannot be opened.
    Open(io::Error),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => f.write_str(kind),
            Self::Open(error) => write!(f, "{}", plain(error)),
        }
    }
}

impl LogFile {
    /// Has lines appended to a file that [`append_to`] has opened. What cannot be written goes to
    /// `fallback`.
    pub(super) fn new(
        opened: Opened,
        max_bytes: u64,
        keep: usize,
        fallback: Box<dyn Write + Send>,
    ) -> Self {
        let Opened {
            path,
            file,
            kind,
            byte_count,
        } = opened;
        Self {
            path,
            file,
            kind,
            waiting: Vec::new(),
            byte_count,
            max_bytes,
            keep,
            state: State::Fine,
            fallback,
        }
    }

    /// Opens the path again; keeps the file that is open if that fails.
    pub(super) fn reopen(&mut self) {
        self.flush();
        match append_to(&self.path) {
            Ok(opened) => {
                self.file = opened.file;
                self.kind = opened.kind;
                self.byte_count = opened.byte_count;
                self.state = State::Fine;
            }
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
        let rotates = self.max_bytes > 0 && self.kind == Kind::Regular;
        if rotates && self.byte_count > 0 && is_full {
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
        let mut waiting = std::mem::take(&mut self.waiting);
        let (was_fine, was_torn) = (self.state == State::Fine, self.state == State::Torn);
        if was_torn {
            // The line that did not fit ends here.
            waiting.insert(0, b'\n');
        }
        let (written, result) = write_all(&mut self.file, &waiting);
        let (before, rest) = waiting.split_at(written);
        self.state = match &result {
            Ok(()) => State::Fine,
            Err(_) if before.last().map_or(was_torn, |byte| *byte != b'\n') => State::Torn,
            Err(_) => State::Failing,
        };
        if let Err(error) = result {
            if was_fine {
                complain(format_args!(
                    "{} not written: {}; its lines go to the console",
                    self.path.display(),
                    plain(&error)
                ));
            }
            // If this fails as well, nobody is left to tell.
            let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            let _ = self.fallback.write_all(rest);
            let _ = self.fallback.flush();
        }
        waiting.clear();
        self.waiting = waiting;
    }

    /// Moves the full file away: `log` → `log.1` → `log.2` …, of which `keep` stay. A link stays
    /// where it is, and the file that it leads to is moved, in its own directory. After a failure
    /// the old file goes on growing, by `max_bytes` until the next attempt.
    fn rotate(&mut self) {
        self.byte_count = 0;
        let moved = fs::canonicalize(&self.path).and_then(|path| move_away(&path, self.keep));
        match moved {
            Ok(()) => self.reopen(),
            Err(error) => complain(format_args!(
                "{} not rotated: {}",
                self.path.display(),
                plain(&error)
            )),
        }
    }
}

fn move_away(path: &Path, keep: usize) -> io::Result<()> {
    let numbered = |number: usize| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    // Of a time when more were kept.
    let mut beyond = (keep + 1..).map(numbered);
    while beyond
        .next()
        .is_some_and(|old| fs::remove_file(old).is_ok())
    {}
    for number in (1..keep).rev() {
        match fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    fs::rename(path, numbered(1))
}

/// Like the method of that name, but says how far it has come.
fn write_all(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// A file that lines can be appended to.
#[derive(Debug)]
pub(super) struct Opened {
    path: PathBuf,
    file: File,
    kind: Kind,
    byte_count: u64,
}

/// Opens for appending, and creates the file but not its directory. Does not wait, whatever the
/// file is: opening a pipe would wait for its reader.
pub(super) fn append_to(path: &Path) -> Result<Opened, Unusable> {
    let path = std::path::absolute(path).map_err(Unusable::Open)?;
    if let Some(reason) = fs::metadata(&path).ok().and_then(|m| unusable(&m)) {
        return Err(Unusable::Kind(reason));
    }
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(&path)
        .map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENXIO) => Unusable::Kind("it is a pipe (FIFO) that nobody reads"),
            Some(_) | None => Unusable::Open(error),
        })?;
    // The log's thread may wait; what it does not write would be lost.
    let blocking = FcntlArg::F_SETFL(OFlag::O_APPEND);
    fcntl(&file, blocking).map_err(|errno| Unusable::Open(errno.into()))?;
    let metadata = file.metadata().map_err(Unusable::Open)?;
    Ok(Opened {
        path,
        kind: if metadata.is_file() {
            Kind::Regular
        } else {
            Kind::Other
        },
        byte_count: metadata.len(),
        file,
    })
}

/// What keeps `path` from being the log, whoever may write there; nothing is opened. A pipe that
/// somebody reads would do, but a look at it would end its reader.
pub(super) fn fault_of(path: &Path) -> Option<&'static str> {
    let metadata = fs::metadata(path).ok()?;
    let pipe = "it is a pipe (FIFO), which takes nothing while nobody reads it";
    let pipe = metadata.file_type().is_fifo().then_some(pipe);
    unusable(&metadata).or(pipe)
}

/// What no log is to be written to.
fn unusable(metadata: &fs::Metadata) -> Option<&'static str> {
    let file_type = metadata.file_type();
    if file_type.is_dir() {
        Some("it is a directory; a file's name is wanted")
    } else if file_type.is_socket() {
        Some("it is a socket; a file's name is wanted")
    } else if file_type.is_block_device() {
        Some("it is a block device; a file's name is wanted")
    } else {
        None
    }
}

/// Tells what keeps the log from being written. Standard error may be closed: not our trouble.
pub(super) fn complain(what: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "warning: logfile {what}");
}

/// Most bytes that wait, but for the line that passes it.
const BYTES_PER_WRITE: usize = 16 << 10;

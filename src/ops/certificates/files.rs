//! Which files a value of `certFile` or `pkFile` stands for, what tells that one has changed, and
//! reading them without ever waiting for a writer, as a FIFO would have it.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// The files that a value stands for.
pub(super) struct Matches {
    /// In the order of their names.
    pub(super) files: Vec<PathBuf>,
    pub(super) kind: Kind,
}

/// How a value names its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One file, by its name.
    File,
    /// Those whose names fit a pattern with `*`.
    Pattern,
    /// All of a directory.
    Directory,
}

/// What tells that a file has been changed or replaced: where it lies, when it was changed, how
/// long it is. The change time cannot be set back by `touch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    changed: (i64, i64),
    modified: (i64, i64),
    len: u64,
}

/// Finds the files; a name without a pattern is not looked for here.
pub(super) fn matching(value: &Path) -> Result<Matches, String> {
    let name = value.file_name().unwrap_or_default();
    let (directory, pattern, kind) = if name.as_bytes().contains(&b'*') {
        (parent_of(value), Some(name), Kind::Pattern)
    } else if fs::metadata(value).is_ok_and(|metadata| metadata.is_dir()) {
        (value, None, Kind::Directory)
    } else {
        return Ok(Matches {
            files: vec![value.to_owned()],
            kind: Kind::File,
        });
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| unreadable(&error))? {
        let entry = entry.map_err(|error| unreadable(&error))?;
        if !is_wanted(&entry.file_name(), pattern) || is_directory(&entry.path()) {
            continue;
        }
        if files.len() == MOST_FILES {
            return Err(format!(
                "stands for more than {MOST_FILES} files; name a narrower pattern"
            ));
        }
        files.push(entry.path());
    }
    if files.is_empty() {
        let reason = match kind {
            Kind::Pattern => "no file fits this pattern",
            Kind::File | Kind::Directory => "the directory holds no file",
        };
        return Err(reason.into());
    }
    files.sort();
    Ok(Matches { files, kind })
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Hidden files are left out, as a shell does it: editors and copying programs keep theirs there.
fn is_wanted(name: &OsStr, pattern: Option<&OsStr>) -> bool {
    let (name, pattern) = (name.as_bytes(), pattern.map_or(&b"*"[..], OsStr::as_bytes));
    (!name.starts_with(b".") || pattern.starts_with(b".")) && fits(name, pattern)
}

fn is_directory(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// Whether `name` fits `pattern`, where each `*` stands for any number of bytes.
fn fits(name: &[u8], pattern: &[u8]) -> bool {
    let mut parts = pattern.split(|byte| *byte == b'*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = memchr::memmem::find(rest, part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// `None` if the file cannot be seen.
pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        len: metadata.len(),
    })
}

/// Reads a regular file of at most [`MOST_BYTES`]. Others are refused before they are opened: to
/// open a device may have effects, and a FIFO would have us wait.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    expect_regular(&fs::metadata(path).map_err(|error| unreadable(&error))?)?;
    let mut options = OpenOptions::new();
    // What has taken the file's place meanwhile must not have us wait either.
    options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let file = options.open(path).map_err(|error| unreadable(&error))?;
    expect_regular(&file.metadata().map_err(|error| unreadable(&error))?)?;
    read_limited(file).map_err(|error| unreadable(&error))
}

fn expect_regular(metadata: &Metadata) -> Result<(), String> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return if metadata.len() > MOST_BYTES {
            Err(format!(
                "has {} bytes, and at most {MOST_BYTES} are read: it is no PEM file of certificates",
                metadata.len()
            ))
        } else {
            Ok(())
        };
    }
    let kind = if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(format!("is {kind}, and a regular file is wanted"))
}

/// A file that grows meanwhile is cut, and then found to be cut off.
fn read_limited(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("{error}; the user that runs websock must be able to read it")
        }
        _ => error.to_string(),
    }
}

/// A chain takes some kilobytes; all roots of a system come to a quarter of this.
const MOST_BYTES: u64 = 1 << 20;

/// Far more than a panel keeps, few enough to be read within a look.
const MOST_FILES: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asterisk_stands_for_any_number_of_bytes() {
        for (name, pattern, expected) in [
            ("a.crt", "*.crt", true),
            (".crt", "*.crt", true),
            ("a.crt.old", "*.crt", false),
            ("a.crt", "a*", true),
            ("ab.crt", "a*b*.crt", true),
            ("a.crt", "a*b*.crt", false),
            ("aba", "a*ba*a", false),
            ("abba", "a*b*a", true),
            ("ab", "ab*b", false),
            ("a", "*", true),
            ("", "*", true),
            ("a", "**", true),
            ("[a]?.crt", "[a]?.*", true),
            ("a.crt", "?.*", false),
        ] {
            assert_eq!(
                fits(name.as_bytes(), pattern.as_bytes()),
                expected,
                "{name} {pattern}"
            );
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused_before_it_is_opened() {
        for path in ["/dev/zero", "/dev/null", "/dev/tty"] {
            assert_eq!(read(Path::new(path)), Err(wanted("a device")), "{path}");
        }
        assert_eq!(read(Path::new("/proc")), Err(wanted("a directory")));
    }

    fn wanted(kind: &str) -> String {
        format!("is {kind}, and a regular file is wanted")
    }
}

//! [`SessionFolder`]: where the files of sessions lie, as PHP's `session.save_path` says it.

use std::fmt;
use std::path::{Path, PathBuf};

use super::id::SessionId;

/// A folder of session files: `/path`, `N;/path` or `N;MODE;/path`, where the first N characters of
/// an id name the folders in which its file lies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionFolder {
    path: PathBuf,
    depth: usize,
    prefix: SessionPrefix,
}

/// What the name of a session's file begins with, before the id: `sess_` with PHP's own handler.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionPrefix(String);

/// Why a text cannot be a [`SessionPrefix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPrefix;

impl SessionPrefix {
    /// Longest prefix, in bytes: enough for an id of 32 and more characters behind it.
    pub const MAX_BYTES: usize = 200;

    /// A prefix: 1 to [`MAX_BYTES`](Self::MAX_BYTES) bytes of a file's name, without control
    /// characters.
    ///
    /// # Errors
    /// It is something else, and could lead to another folder.
    pub fn parse(text: &str) -> Result<Self, BadPrefix> {
        let is_name = (1..=Self::MAX_BYTES).contains(&text.len())
            && !text
                .chars()
                .any(|c| c.is_control() || matches!(c, '/' | '\\'));
        is_name.then(|| Self(text.to_owned())).ok_or(BadPrefix)
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SessionPrefix {
    fn default() -> Self {
        Self("sess_".to_owned())
    }
}

/// Why a text names no folder of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderError {
    /// It is empty, or ends behind a `;`.
    NoPath,
    /// N is no number from 0 to [`SessionFolder::MAX_DEPTH`].
    Depth,
    /// MODE is no octal number up to 7777.
    Mode,
}

impl SessionFolder {
    /// The greatest depth.
    pub const MAX_DEPTH: usize = 32;

    /// A folder, in the notation of `session.save_path`. MODE is what PHP gives its files; nothing
    /// is done with it. Slashes behind the path are cut off.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, FolderError> {
        // As in PHP, the path is what stands behind the second semicolon, whatever it holds.
        let mut parts = text.splitn(3, ';');
        let parts = (parts.next(), parts.next(), parts.next());
        let (depth, mode, path) = match parts {
            (Some(depth), Some(mode), Some(path)) => (depth, mode, path),
            (Some(depth), Some(path), None) => (depth, "0600", path),
            (path, ..) => ("0", "0600", path.unwrap_or_default()),
        };
        let depth = decimal(depth).filter(|depth| *depth <= Self::MAX_DEPTH);
        let depth = depth.ok_or(FolderError::Depth)?;
        if !is_mode(mode) {
            return Err(FolderError::Mode);
        }
        let path = path.trim();
        let cut = match path.trim_end_matches(['/', '\\']) {
            "" if path.starts_with('/') => "/",
            cut => cut,
        };
        if cut.is_empty() {
            return Err(FolderError::NoPath);
        }
        let path = PathBuf::from(cut);
        Ok(Self {
            path,
            depth,
            prefix: SessionPrefix::default(),
        })
    }

    /// The same folder, in which the files of sessions have names that begin with `prefix`.
    #[must_use]
    pub fn with_prefix(self, prefix: SessionPrefix) -> Self {
        Self { prefix, ..self }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many characters of an id name folders.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// What the names of the files begin with.
    pub fn prefix(&self) -> &str {
        self.prefix.as_str()
    }

    /// The names that lead from this folder to the file of a session: those of folders, and last
    /// the file's. None of them leads out of it.
    ///
    /// `None` for an id that is not longer than the depth, or too long for the name of a file: PHP
    /// has no session of that name.
    pub fn names_of(&self, id: &SessionId) -> Option<Vec<String>> {
        let id = id.as_str();
        if id.len() <= self.depth || self.prefix().len() + id.len() > NAME_MAX {
            return None;
        }
        let folders = id.chars().take(self.depth).map(String::from);
        let file = std::iter::once(format!("{}{id}", self.prefix()));
        Some(folders.chain(file).collect())
    }
}

/// Longest name of a file, in bytes (limits.h).
const NAME_MAX: usize = 255;

/// Digits only.
fn decimal(text: &str) -> Option<usize> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

fn is_mode(text: &str) -> bool {
    let is_octal = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    is_octal && u16::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o7777)
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPath => f.write_str("names no folder; write /path, N;/path or N;MODE;/path"),
            Self::Depth => write!(
                f,
                "has no number from 0 to {} before the first ';'; write N;/path or N;MODE;/path \
                 as session.save_path in php.ini has it",
                SessionFolder::MAX_DEPTH
            ),
            Self::Mode => f.write_str(
                "has no octal mode such as 0600 between its semicolons; write N;MODE;/path as \
                 session.save_path in php.ini has it",
            ),
        }
    }
}

impl std::error::Error for FolderError {}

impl fmt::Display for BadPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "1 to {} bytes of a file's name are wanted, without slashes, such as sess_ (PHP) or \
             ci_session (CodeIgniter)",
            SessionPrefix::MAX_BYTES
        )
    }
}

impl std::error::Error for BadPrefix {}

#[cfg(test)]
mod tests {
    use super::*;

    // protocol.md 8.1
    #[test]
    fn folders_are_written_as_in_php_ini() {
        for (text, expected) in [
            ("/var/lib/php/sessions", Ok((0, "/var/lib/php/sessions"))),
            ("/p/", Ok((0, "/p"))),
            ("/p//", Ok((0, "/p"))),
            ("D:\\temp\\", Ok((0, "D:\\temp"))),
            ("/", Ok((0, "/"))),
            ("0;/p", Ok((0, "/p"))),
            ("2;/p", Ok((2, "/p"))),
            ("2;0660;/p", Ok((2, "/p"))),
            ("32;600;/p", Ok((32, "/p"))),
            ("1;0600;/p;q", Ok((1, "/p;q"))),
            ("33;/p", Err(FolderError::Depth)),
            ("-1;/p", Err(FolderError::Depth)),
            ("+1;/p", Err(FolderError::Depth)),
            (";/p", Err(FolderError::Depth)),
            ("/a;/p", Err(FolderError::Depth)),
            ("99999999999999999999;/p", Err(FolderError::Depth)),
            ("2;0680;/p", Err(FolderError::Mode)),
            ("2;;/p", Err(FolderError::Mode)),
            ("2;17777;/p", Err(FolderError::Mode)),
            ("", Err(FolderError::NoPath)),
            (" ", Err(FolderError::NoPath)),
            ("2;", Err(FolderError::NoPath)),
            ("2;0600;", Err(FolderError::NoPath)),
        ] {
            let parsed = SessionFolder::parse(text);
            let parts = parsed
                .as_ref()
                .map(|folder| (folder.depth(), folder.path().to_str().unwrap()))
                .map_err(|error| *error);
            assert_eq!(parts, expected, "{text}");
        }
    }

    // protocol.md 8.2
    #[test]
    fn a_file_lies_below_its_folder() {
        let names = |folder: &str, id: &str| {
            let folder = SessionFolder::parse(folder).unwrap();
            folder.names_of(&SessionId::parse(id.as_bytes()).unwrap())
        };
        let expected = ["a", "b", "sess_abcd1234"].map(str::to_owned).to_vec();
        assert_eq!(names("2;0660;/p", "abcd1234"), Some(expected));
        assert_eq!(names("/p", "a"), Some(vec!["sess_a".to_owned()]));
        assert_eq!(names("2;/p", "ab"), None);
        let expected = ["a", "b", "sess_abc"].map(str::to_owned).to_vec();
        assert_eq!(names("2;/p", "abc"), Some(expected));
    }

    // protocol.md 8.2
    #[test]
    fn a_prefix_is_part_of_a_files_name() {
        for text in ["sess_", "ci_session", "a", ".", "..", "é b"] {
            assert_eq!(SessionPrefix::parse(text).unwrap().as_str(), text);
        }
        let most = "p".repeat(SessionPrefix::MAX_BYTES);
        assert!(SessionPrefix::parse(&most).is_ok());
        for text in [
            "",
            "/",
            "../",
            "a/b",
            "a\\b",
            "a\0",
            "a\n",
            &format!("{most}p"),
        ] {
            assert_eq!(SessionPrefix::parse(text), Err(BadPrefix), "{text:?}");
        }

        let folder = SessionFolder::parse("1;/p").unwrap();
        let names = |prefix: &str, id: &str| {
            let prefix = SessionPrefix::parse(prefix).unwrap();
            let folder = folder.clone().with_prefix(prefix);
            folder.names_of(&SessionId::parse(id.as_bytes()).unwrap())
        };
        let expected = ["a", "ci_sessionabc"].map(str::to_owned).to_vec();
        assert_eq!(names("ci_session", "abc"), Some(expected));
        assert_eq!(names("..", "abc").unwrap()[1], "..abc");
        // A name of 255 bytes, and one that no file can have.
        assert!(names("sess_", &"a".repeat(250)).is_some());
        assert!(names("ci_session", &"a".repeat(245)).is_some());
        assert_eq!(names("ci_session", &"a".repeat(246)), None);
    }
}

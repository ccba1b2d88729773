//! A value as written, and where that was.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from. Ordered as problems are told: by line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Built in.
    Default,
    /// A line of an ini file, counted from 1.
    Ini {
        /// The file, as it was named.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// An ini file as a whole.
    File(PathBuf),
    /// Typed.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Ini { file, line } => write!(f, "{}, line {line}", file.display()),
            Self::File(file) => write!(f, "{}", file.display()),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// One key and its value as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key's name, as websock.ini has it.
    pub key: &'static str,
    /// Without comment and quotes, `${NAME}` replaced.
    pub value: String,
    /// Where the value comes from.
    pub origin: Origin,
}

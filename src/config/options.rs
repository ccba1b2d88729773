//! What is typed when the server is started.

use std::path::PathBuf;

/// The options, as typed. Where one is given more than once, the last one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `-i FILE`: the only ini file that is looked for.
    pub ini: Option<PathBuf>,
    /// `-adress LIST` (or `-address`): over the ini's `adress`.
    pub adress: Option<String>,
    /// `-logfile FILE`: over the ini's `logfile`.
    pub logfile: Option<String>,
    /// `-console [VALUE]`: over the ini's `console`; without a value it is `true`.
    pub console: Option<String>,
    /// `--takeover`: take over from the server that is running.
    pub takeover: bool,
}

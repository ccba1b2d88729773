//! [`LogFormat`]: the value of `logFormat`.

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Date and text, as the PHP server writes them; without the date and with a priority where
    /// standard output is the journal (sd-daemon(3)).
    #[default]
    Text,
    /// An object of JSON with `time`, `level` and `message`.
    Json,
}

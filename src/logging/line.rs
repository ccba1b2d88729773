//! A line of the log: date, level, text (protocol.md 7.6).

use std::cell::RefCell;
use std::fmt;
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use log::Level;

use super::format::LogFormat;
use crate::base::escape::Escaping;

/// How the lines of one output look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Date, level and text.
    Text,
    /// An object of JSON.
    Json,
    /// Priority and text (sd-daemon(3)): the journal has the date itself.
    Journal,
}

impl Layout {
    pub(super) fn of_file(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }

    pub(super) fn of_console(format: LogFormat) -> Self {
        match format {
            LogFormat::Text if is_journal() => Self::Journal,
            format => Self::of_file(format),
        }
    }

    /// A line as it is written, with its LF.
    pub(super) fn line(self, level: Level, text: &fmt::Arguments<'_>) -> String {
        match self {
            Self::Text => line_of(level, text),
            Self::Json => json_of(level, text),
            Self::Journal => {
                let priority = match level {
                    Level::Error => "<3>",
                    Level::Warn => "<4>",
                    Level::Info => "<6>",
                    Level::Debug | Level::Trace => "<7>",
                };
                let mut line = limit(priority.to_owned(), text);
                line.push('\n');
                line
            }
        }
    }
}

/// Whether standard output is the journal's (systemd.exec(5), `JOURNAL_STREAM`).
fn is_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let found = nix::sys::stat::fstat(std::io::stdout());
    found.is_ok_and(|found| stream == format!("{}:{}", found.st_dev, found.st_ino))
}

fn json_of(level: Level, text: &fmt::Arguments<'_>) -> String {
    let time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
    let level = level.as_str().to_ascii_lowercase();
    // The text is escaped, so that it holds no control characters.
    let text = limit(String::new(), text);
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("{{\"time\":\"{time}\",\"level\":\"{level}\",\"message\":\"{text}\"}}\n")
}

/// A line as the PHP server writes it, with its LF.
pub(super) fn line_of(level: Level, text: &fmt::Arguments<'_>) -> String {
    let mut line = date();
    line.push_str(match level {
        Level::Error => "; error: ",
        Level::Warn => "; warning: ",
        Level::Info | Level::Debug | Level::Trace => "; ",
    });
    let mut line = limit(line, text);
    line.push('\n');
    line
}

/// The text behind `line`, escaped and cut to [`MAX_TEXT_BYTES`].
fn limit(line: String, text: &fmt::Arguments<'_>) -> String {
    let mut limited = Limited {
        line,
        room: MAX_TEXT_BYTES,
        left_out: 0,
    };
    // A text whose `Display` fails ends there.
    let _ = write!(Escaping(&mut limited), "{text}");
    let Limited {
        mut line, left_out, ..
    } = limited;
    if left_out > 0 {
        let _ = write!(line, "… ({left_out} bytes more)");
    }
    line
}

/// Takes so many bytes of a text, whole characters only, and counts the rest.
struct Limited {
    line: String,
    room: usize,
    left_out: usize,
}

impl fmt::Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.floor_char_boundary(self.room);
        let (taken, rest) = text.split_at(end);
        self.line.push_str(taken);
        // Nothing may follow what was left out.
        self.room = if rest.is_empty() { self.room - end } else { 0 };
        self.left_out += rest.len();
        Ok(())
    }
}

/// PHP's date('r'): unlike RFC 2822 printers, it always has two digits for the day. Written anew
/// once in a second.
fn date() -> String {
    thread_local! {
        static LAST: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    LAST.with_borrow_mut(|(second, text)| {
        let now = Timestamp::now();
        if now.as_second() != *second {
            *second = now.as_second();
            let local = now.to_zoned_datetime(TimeZone::system());
            *text = local.strftime("%a, %d %b %Y %H:%M:%S %z").to_string();
        }
        text.clone()
    })
}

/// Longest text of a line: much more than any line needs, and short enough that a peer which names
/// itself at length fills no disk and no terminal.
pub(super) const MAX_TEXT_BYTES: usize = 4_096;

//! A line of the log: date, level, text (protocol.md 7.6).

use std::cell::RefCell;
use std::fmt;
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use log::Level;

use crate::base::escape::Escaping;

/// A line as it is written, with its LF.
pub(super) fn line_of(level: Level, text: &fmt::Arguments<'_>) -> String {
    let mut line = date();
    line.push_str(match level {
        Level::Error => "; error: ",
        Level::Warn => "; warning: ",
        Level::Info | Level::Debug | Level::Trace => "; ",
    });
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
    line.push('\n');
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

//! Text from outside, made safe to show.

use std::fmt::{self, Write as _};

/// Shows `text` with its control characters as escapes such as `\n` and `\u{1b}`, so that a peer's
/// text can neither begin a log line of its own nor command a terminal. The characters that turn
/// the direction of writing are among them. Showing it twice changes nothing more.
pub fn escape(text: &str) -> impl fmt::Display {
    Escaped(text)
}

/// The beginning of `text`, [escaped](escape()): enough to see what it was. For lines that end with
/// what matters more, such as whose text it is: a line is cut at its end.
pub fn excerpt(text: &str) -> String {
    let end = text.char_indices().nth(EXCERPT_CHARS);
    let (shown, rest) = text.split_at(end.map_or(text.len(), |(at, _)| at));
    let mark = if rest.is_empty() { "" } else { "…" };
    format!("{}{mark}", escape(shown))
}

/// Longer than any name of a host or path that people type.
const EXCERPT_CHARS: usize = 300;

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaping(f).write_str(self.0)
    }
}

/// Escapes what is written through it.
pub(crate) struct Escaping<'a, W>(pub(crate) &'a mut W);

impl<W: fmt::Write> fmt::Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, unsafe_char)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            let (plain, behind) = rest.split_at(at);
            self.0.write_str(plain)?;
            write!(self.0, "{}", unsafe_char.escape_default())?;
            rest = behind.get(unsafe_char.len_utf8()..).unwrap_or_default();
        }
        self.0.write_str(rest)
    }
}

/// Control characters, line and paragraph separator, and the bidirectional controls.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_says_where_it_was_cut() {
        let text = |count: usize| "\u{9b}".repeat(count);
        let shown = |count: usize| "\\u{9b}".repeat(count);
        assert_eq!(excerpt(""), "");
        assert_eq!(excerpt(&text(EXCERPT_CHARS)), shown(EXCERPT_CHARS));
        let cut = format!("{}…", shown(EXCERPT_CHARS));
        assert_eq!(excerpt(&text(EXCERPT_CHARS + 1)), cut);
    }
}

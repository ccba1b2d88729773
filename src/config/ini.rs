//! The text of an ini file → its entries, each with its line number.
//!
//! rust-ini tells sections, keys and values apart. Three things it does differently from PHP's
//! `parse_ini_file`, and these are done here:
//!
//! - Lines: its result has no line numbers, which every message needs, so it is given one line at
//!   a time. That also keeps a backslash at the end of a Windows path from joining two lines.
//! - Comments: it cannot do `key=value ; comment` by itself, and with its `inline-comment` feature
//!   it still takes the comment in `key= ; comment` for the value. They are cut off beforehand.
//! - Quotes: it lets a backslash swallow the closing quote, as in `'D:\logs\'`. They are taken off
//!   afterwards.

use ini::{Ini, ParseOption};

/// One `key=value` line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Counted from 1.
    pub(super) line: usize,
    /// As written, blanks trimmed; empty before the first section.
    pub(super) section: String,
    /// As written, blanks trimmed.
    pub(super) key: String,
    /// Without comment, outer blanks and outer quotes; `${NAME}` not yet replaced.
    pub(super) value: String,
    /// How the value was written.
    pub(super) spelling: Spelling,
}

/// How a value is written, on which depends what PHP's typed ini makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Bare: `false` is a boolean, `0` a number.
    Word,
    /// In quotes: a text, whatever it says.
    Quoted,
    /// A `#` stands behind it, which is a comment here and a part of the text in PHP.
    BeforeHash,
}

/// A line that is neither section, `key=value`, comment nor blank.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// Counted from 1.
    pub(super) line: usize,
    /// The line, without its comment.
    pub(super) text: String,
    /// What is wrong with it.
    pub(super) reason: &'static str,
}

/// Reads all of `text`, bad lines or not; a byte order mark is no part of it.
pub(super) fn read(text: &str) -> (Vec<Entry>, Vec<BadLine>) {
    let mut entries = Vec::new();
    let mut bad_lines = Vec::new();
    let mut section = String::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut is_in_pem = false;
    for (line, written) in (1..).zip(lines(text)) {
        // A key that somebody has pasted: its lines must not be told as wrong ones.
        if written.contains("-----BEGIN ") && !is_comment(written) {
            is_in_pem = true;
            bad_lines.push(BadLine {
                line,
                text: HIDDEN.to_owned(),
                reason: "the name of a file is wanted, not what the file holds",
            });
        }
        if is_in_pem {
            is_in_pem = !written.contains("-----END ");
            continue;
        }
        let (written, comment) = split_comment(written);
        let written = written.trim();
        match read_line(written) {
            Ok(Line::Blank) => {}
            Ok(Line::Section(name)) => section = name,
            Ok(Line::Entry(key, value, spelling)) => entries.push(Entry {
                line,
                section: section.clone(),
                key,
                value,
                spelling: if comment.starts_with('#') {
                    Spelling::BeforeHash
                } else {
                    spelling
                },
            }),
            Err(reason) => bad_lines.push(BadLine {
                line,
                text: written.to_owned(),
                reason,
            }),
        }
    }
    (entries, bad_lines)
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with([';', '#'])
}

/// Replaces each `${NAME}` in `value` by what `variable` knows for NAME.
///
/// `${NAME:-text}` gives `text` for a NAME that is not set, as in PHP 8.3. Otherwise it becomes
/// empty, as PHP does it, and its name is the second part of the result. A `${` without its `}`
/// stays.
pub(super) fn expand(
    value: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> (String, Option<String>) {
    let mut expanded = String::with_capacity(value.len());
    let mut unset = None;
    let mut rest = value;
    while let Some((before, behind)) = rest.split_once("${") {
        let Some((inside, after)) = behind.split_once('}') else {
            break;
        };
        let (name, fallback) = match inside.split_once(":-") {
            Some((name, fallback)) => (name, Some(fallback)),
            None => (inside, None),
        };
        expanded.push_str(before);
        match (variable(name), fallback) {
            (Some(text), _) => expanded.push_str(&text),
            (None, Some(text)) => expanded.push_str(text),
            (None, None) => unset = Some(name.to_owned()),
        }
        rest = after;
    }
    expanded.push_str(rest);
    (expanded, unset)
}

enum Line {
    Blank,
    Section(String),
    Entry(String, String, Spelling),
}

/// The lines of `text`. They end as PHP's scanner ends them: with LF, CRLF or a CR alone.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    // "\r\n" is left by the first split as a CR at the end, which begins no line of its own.
    text.split('\n')
        .flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// `written` holds neither comment nor outer blanks.
fn read_line(written: &str) -> Result<Line, &'static str> {
    if written.is_empty() {
        return Ok(Line::Blank);
    }
    let options = ParseOption {
        enabled_quote: false,
        enabled_escape: false,
        ..ParseOption::default()
    };
    let expected = "a line is [section], key=value or a comment behind ; or #";
    let ini = Ini::load_from_str_opt(written, options).map_err(|_| expected)?;
    let general = ini.general_section().iter().next();
    let named = ini.sections().flatten().next();
    match (general, named) {
        (Some((key, written)), None) => {
            let value = unquoted(written)?;
            let spelling = if value.len() < written.len() {
                Spelling::Quoted
            } else {
                Spelling::Word
            };
            Ok(Line::Entry(key.to_owned(), value.to_owned(), spelling))
        }
        (None, Some(name)) if written.ends_with(']') => Ok(Line::Section(name.to_owned())),
        _ => Err(expected),
    }
}

/// Takes the quotes off a value that begins with one.
fn unquoted(value: &str) -> Result<&str, &'static str> {
    let Some(quote) = value
        .chars()
        .next()
        .filter(|first| matches!(first, '\'' | '"'))
    else {
        return Ok(value);
    };
    value[1..]
        .strip_suffix(quote)
        .ok_or("a value that begins with a quote ends with the same quote")
}

/// Splits a line where its comment begins: `;` outside quotes, as PHP does it, and `#` if a blank or
/// nothing is before it. Only a quote that begins a value is one (`path=/home/o'brien ; mine` has a comment).
fn split_comment(line: &str) -> (&str, &str) {
    enum Place {
        Key,
        ValueStart,
        Quoted(char),
        Value,
    }
    let mut place = Place::Key;
    let mut before = ' ';
    for (index, c) in line.char_indices() {
        let begins_comment = c == ';' || c == '#' && (before.is_whitespace() || before == '=');
        place = match place {
            Place::Quoted(quote) if c == quote => Place::Value,
            Place::Quoted(quote) => Place::Quoted(quote),
            Place::Key | Place::ValueStart | Place::Value if begins_comment => {
                return line.split_at(index);
            }
            Place::Key if c == '=' => Place::ValueStart,
            Place::Key => Place::Key,
            Place::ValueStart if c.is_whitespace() => Place::ValueStart,
            Place::ValueStart if matches!(c, '\'' | '"') => Place::Quoted(c),
            Place::ValueStart | Place::Value => Place::Value,
        };
        before = c;
    }
    (line, "")
}

/// Stands for a line that nobody may see.
const HIDDEN: &str = "(hidden)";

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries as `line section key value`, then bad lines, joined by `|`.
    fn summary(text: &str) -> String {
        let (entries, bad_lines) = read(text);
        let entries = entries
            .iter()
            .map(|e| format!("{} {} {} {}", e.line, e.section, e.key, e.value));
        let bad_lines = bad_lines
            .iter()
            .map(|bad| format!("bad {} {}", bad.line, bad.text));
        entries.chain(bad_lines).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn lines_are_read_as_php_reads_them() {
        let table = [
            ("nothing", "", ""),
            ("plain", "a=b", "1  a b"),
            ("blanks around", "  a = b  ", "1  a b"),
            ("no value", "a=\nb =", "1  a |2  b "),
            ("single quotes", "a='b c'", "1  a b c"),
            ("double quotes", "a = \"b c\"", "1  a b c"),
            ("quotes keep blanks", "a=' b '", "1  a  b "),
            ("empty quotes", "a=''", "1  a "),
            ("quote inside", "a=o'brien", "1  a o'brien"),
            ("other quote inside", "a=\"it's\"", "1  a it's"),
            (
                "backslashes",
                r"a=D:\new\temp\x.log",
                r"1  a D:\new\temp\x.log",
            ),
            (
                "backslash at the end",
                "a=D:\\logs\\\nb=1",
                r"1  a D:\logs\|2  b 1",
            ),
            (
                "backslash before the quote",
                "a='D:\\logs\\'\nb=1",
                r"1  a D:\logs\|2  b 1",
            ),
            ("equals sign in value", "a=b=c", "1  a b=c"),
            ("colon in value", "a=ws://h:1", "1  a ws://h:1"),
            ("comment lines", "; x='y\n# x=y\n  ; z\na=b", "4  a b"),
            ("inline semicolon", "a=b ; c=d", "1  a b"),
            ("inline hash", "a=b # c", "1  a b"),
            ("semicolon without blank", "a=b;c", "1  a b"),
            ("hash without blank", "a=b#c", "1  a b#c"),
            (
                "comment instead of a value",
                "a= ; none\nb=#x",
                "1  a |2  b ",
            ),
            ("comment behind quotes", "a='b;c' ; d 'e'", "1  a b;c"),
            (
                "comment behind an apostrophe",
                "a=o'brien ; 'x'",
                "1  a o'brien",
            ),
            ("comment behind a section", "[s] ; a=b\nc=d", "2 s c d"),
            (
                "section",
                "a=1\n[s]\nb=2\n [ t ] \nc=3",
                "1  a 1|3 s b 2|5 t c 3",
            ),
            ("byte order mark", "\u{feff}a=b", "1  a b"),
            (
                "byte order mark before a section",
                "\u{feff}[s]\r\na=b\r\n",
                "2 s a b",
            ),
            ("CRLF", "a=b\r\n\r\nc='d'\r\n", "1  a b|3  c d"),
            ("CR alone", "; x\ra=b\r\rc='d'\r", "2  a b|4  c d"),
            ("no line end at the end", "a=b\rc=d", "1  a b|2  c d"),
            (
                "all line ends in one file",
                "a=1\rb=2\nc=3\r\n[s]\r\r\nd=4\n\re=5",
                "1  a 1|2  b 2|3  c 3|6 s d 4|8 s e 5",
            ),
            ("bad lines behind CR", "x\ra=1\ry", "2  a 1|bad 1 x|bad 3 y"),
            ("not ASCII", "a=größe ; schön", "1  a größe"),
            ("no equals sign", "a=1\nhello", "1  a 1|bad 2 hello"),
            ("no key", "=1", "bad 1 =1"),
            ("unfinished section", "[s\na=1", "2  a 1|bad 1 [s"),
            ("text behind a section", "[s] a=1", "bad 1 [s] a=1"),
            ("unfinished quote", "a='b\nc=d", "2  c d|bad 1 a='b"),
            ("text behind a quote", "a='b' c", "bad 1 a='b' c"),
            ("lone quote", "a='", "bad 1 a='"),
            ("all bad lines", "x\na=1\ny", "2  a 1|bad 1 x|bad 3 y"),
        ];
        for (name, text, expected) in table {
            assert_eq!(summary(text), expected, "{name}");
        }
    }

    #[test]
    fn the_spelling_of_a_value_is_kept() {
        let table = [
            ("a=false", Spelling::Word),
            ("a=", Spelling::Word),
            ("a='false'", Spelling::Quoted),
            ("a = \"0\" ; c", Spelling::Quoted),
            ("a=''", Spelling::Quoted),
            ("a=0 ; # c", Spelling::Word),
            ("a=0 # ; c", Spelling::BeforeHash),
            ("a='0' #", Spelling::BeforeHash),
        ];
        for (text, expected) in table {
            assert_eq!(read(text).0[0].spelling, expected, "{text}");
        }
    }

    #[test]
    fn variables_are_replaced() {
        let variable = |name: &str| (name == "DIR").then(|| "/var/log".to_owned());
        let table = [
            ("plain", "plain", None),
            ("${DIR}", "/var/log", None),
            ("${DIR}/a/${DIR}", "/var/log/a//var/log", None),
            ("${NONE}", "", Some("NONE")),
            ("a${NONE}b", "ab", Some("NONE")),
            ("${NONE:-/tmp}/x", "/tmp/x", None),
            ("${DIR:-/tmp}/x", "/var/log/x", None),
            ("${DIR", "${DIR", None),
            ("$DIR {}", "$DIR {}", None),
        ];
        for (value, expected, unset) in table {
            let (expanded, missing) = expand(value, &variable);
            assert_eq!(
                (expanded.as_str(), missing.as_deref()),
                (expected, unset),
                "{value}"
            );
        }
    }
}

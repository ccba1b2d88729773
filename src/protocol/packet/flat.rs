//! The usual packets, without a parser: an object of keys and plain values.
//!
//! Strings, integers, `true`, `false` and `null` are all that scripts and pages put into most
//! packets. These are read here in one pass, by words and, where strings are long, by memchr.
//! Whatever else there is, mistakes included, is left to serde_json: what is found here is what it
//! finds (`cargo bench --bench framing -- packet` for what that saves).

use memchr::memchr2;

use super::fields::Fields;

/// The fields of a flat packet; `None` says that it is none, not that it is wrong.
pub(super) fn pick(text: &str) -> Option<Fields<'_>> {
    let mut cursor = Cursor { text, at: 0 };
    let mut fields = Fields::default();
    cursor.skip_blanks();
    cursor.expect(b'{')?;
    cursor.skip_blanks();
    if cursor.peek() == Some(b'}') {
        cursor.at += 1;
    } else {
        while cursor.member(&mut fields)? {}
    }
    cursor.skip_blanks();
    (cursor.at == text.len()).then_some(fields)
}

/// A place in the text, always between characters.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Reads `"key" : value` and what follows it; whether that is another member.
    fn member(&mut self, fields: &mut Fields<'a>) -> Option<bool> {
        let key = self.string()?;
        let place = match key {
            r#""opcode""# => Some(&mut fields.opcode),
            r#""uuid""# => Some(&mut fields.uuid),
            r#""ident""# => Some(&mut fields.ident),
            r#""user""# => Some(&mut fields.user),
            r#""session""# => Some(&mut fields.session),
            r#""message""# => Some(&mut fields.message),
            // It may mean one of these.
            key if key.contains('\\') => return None,
            _ => None,
        };
        self.skip_blanks();
        self.expect(b':')?;
        self.skip_blanks();
        let value = self.value()?;
        if let Some(place) = place {
            *place = value;
        }
        self.skip_blanks();
        let is_last = match self.peek()? {
            b',' => false,
            b'}' => true,
            _ => return None,
        };
        self.at += 1;
        self.skip_blanks();
        Some(!is_last)
    }

    /// A value as it is written.
    fn value(&mut self) -> Option<&'a str> {
        match self.peek()? {
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'0'..=b'9' => self.integer(),
            _ => None,
        }
    }

    fn literal(&mut self, literal: &str) -> Option<&'a str> {
        let value = self.text.get(self.at..self.at + literal.len())?;
        (value == literal).then(|| self.at += literal.len())?;
        Some(value)
    }

    fn integer(&mut self) -> Option<&'a str> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        let digits = self.text.get(start..self.at)?;
        (digits.len() == 1 || !digits.starts_with('0')).then_some(digits)
    }

    /// A string with its quotes.
    fn string(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.expect(b'"')?;
        loop {
            self.at += plain_len(self.text.as_bytes().get(self.at..)?);
            match self.text.as_bytes().get(self.at..)? {
                [b'"', ..] => {
                    self.at += 1;
                    return self.text.get(start..self.at);
                }
                [
                    b'\\',
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                    ..,
                ] => self.at += 2,
                [b'\\', b'u', a, b, c, d, ..] if is_character([*a, *b, *c, *d]) => self.at += 6,
                _ => return None,
            }
        }
    }
}

/// Number of bytes at the front that mean themselves in a string.
pub(super) fn plain_len(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks();
    for (index, word) in words.iter().take(SHORT_WORDS).enumerate() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return index * size_of::<u64>() + special.trailing_zeros() as usize / 8;
        }
    }
    if words.len() >= SHORT_WORDS {
        let short = SHORT_WORDS * size_of::<u64>();
        return short + long_plain_len(text.get(short..).unwrap_or_default());
    }
    let is_special = |&byte: &u8| special_bytes(u64::from(byte) | BLANKS << 8) != 0;
    text.len() - rest.len() + rest.iter().take_while(|byte| !is_special(byte)).count()
}

/// The same where it is worth a call. In blocks that are still in the first cache when they are looked
/// through for the second time.
fn long_plain_len(text: &[u8]) -> usize {
    let mut len = 0;
    for block in text.chunks(BLOCK_BYTES) {
        let end = memchr2(b'"', b'\\', block).unwrap_or(block.len());
        let plain = block.get(..end).unwrap_or_default();
        // Without early exit, so that the compiler can use wide registers.
        let has_control = plain.iter().fold(false, |any, &byte| any | (byte < b' '));
        if has_control {
            return len + plain.iter().take_while(|byte| **byte >= b' ').count();
        }
        len += end;
        if end < block.len() {
            break;
        }
    }
    len
}

/// The highest bit of each quote, backslash and control character, and perhaps of bytes behind the
/// first of them.
fn special_bytes(word: u64) -> u64 {
    let equal = |byte: u8| {
        let difference = word ^ (ONES * u64::from(byte));
        difference.wrapping_sub(ONES) & !difference
    };
    let control = word.wrapping_sub(BLANKS) & !word;
    (equal(b'"') | equal(b'\\') | control) & (ONES << 7)
}

/// Whether `\u` and these digits are a character of their own: no half of a pair.
fn is_character(digits: [u8; 4]) -> bool {
    let is_surrogate = matches!(digits, [b'd' | b'D', b'8'..=b'f', ..]);
    digits.iter().all(u8::is_ascii_hexdigit) && !is_surrogate
}

const ONES: u64 = 0x0101_0101_0101_0101;
const BLANKS: u64 = ONES * b' ' as u64;

/// Words of a string that are looked at before it counts as long.
const SHORT_WORDS: usize = 4;

/// Bytes of a long string that are looked through at a time.
const BLOCK_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_the_plain_part_is_found_at_every_place_near_the_ends_of_words_and_blocks() {
        let plain = vec![b'x'; 2 * BLOCK_BYTES + 100];
        assert_eq!(plain_len(&plain), plain.len());
        let block_end = SHORT_WORDS * size_of::<u64>() + BLOCK_BYTES;
        let places = (0..100).chain(block_end - 20..block_end + 20);
        for at in places.chain(block_end + BLOCK_BYTES - 20..block_end + BLOCK_BYTES + 20) {
            for special in [b'"', b'\\', 0, b'\n', 0x1f] {
                let mut text = plain.clone();
                text[at] = special;
                assert_eq!(plain_len(&text), at, "{special:#x}");
                assert_eq!(plain_len(&text[..at]), at, "without it");
            }
        }
    }
}

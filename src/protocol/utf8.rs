//! UTF-8 across fragment and read boundaries (RFC 6455 §5.6, §8.1; RFC 3629).

/// The text cannot become valid UTF-8 any more, whatever follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUtf8;

/// `bytes` as text if they are valid UTF-8 as a whole.
pub fn check(bytes: &[u8]) -> Option<&str> {
    simdutf8::basic::from_utf8(bytes).ok()
}

/// Checks a text that arrives in pieces, and fails as soon as failure is certain.
///
/// Holds nothing but the bytes of a character that the last piece has left unfinished.
#[derive(Clone, Copy, Debug, Default)]
pub struct Validator {
    /// The first bytes of an unfinished character.
    partial: [u8; 4],
    /// How many of them there are, at most 3.
    partial_len: u8,
}

impl Validator {
    /// Checks the next piece of the text.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), InvalidUtf8> {
        let rest = self.finish_character(piece)?;
        let Err(error) = simdutf8::compat::from_utf8(rest) else {
            return Ok(());
        };
        if error.error_len().is_some() {
            return Err(InvalidUtf8);
        }
        self.keep(&rest[error.valid_up_to()..]);
        Ok(())
    }

    /// Ends the text, which must not end inside a character.
    pub fn finish(self) -> Result<(), InvalidUtf8> {
        if self.partial_len == 0 {
            Ok(())
        } else {
            Err(InvalidUtf8)
        }
    }

    /// Takes bytes of `piece` until the unfinished character is whole; returns what is left.
    fn finish_character<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], InvalidUtf8> {
        let mut rest = piece;
        while self.partial_len > 0 {
            let Some((&byte, behind)) = rest.split_first() else {
                break;
            };
            rest = behind;
            let len = usize::from(self.partial_len);
            self.partial[len] = byte;
            match std::str::from_utf8(&self.partial[..=len]) {
                Ok(_) => {
                    self.partial_len = 0;
                    return Ok(rest);
                }
                Err(error) if error.error_len().is_none() => self.partial_len += 1,
                Err(_) => return Err(InvalidUtf8),
            }
        }
        Ok(rest)
    }

    /// Keeps the bytes of an unfinished character: at most 3, as the decoder has found.
    fn keep(&mut self, bytes: &[u8]) {
        let len = bytes.len().min(3);
        self.partial[..len].copy_from_slice(&bytes[..len]);
        self.partial_len = len as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Index of the byte at which the text fails, `None` if it is valid, its length if it ends early.
    fn fails_at(text: &[u8]) -> Option<usize> {
        let mut validator = Validator::default();
        for (i, byte) in text.iter().enumerate() {
            if validator.feed(&[*byte]).is_err() {
                return Some(i);
            }
        }
        validator.finish().err().map(|_| text.len())
    }

    #[test]
    fn failure_is_seen_at_the_first_certain_byte() {
        let cases: [(&[u8], Option<usize>); 14] = [
            (b"", None),
            (b"plain", None),
            ("κόσμε €𐍈".as_bytes(), None),
            (b"\xef\xbf\xbf\xf4\x8f\xbf\xbf", None),
            (b"a\x80", Some(1)),
            (b"\xc0\xaf", Some(0)),
            (b"\xe0\x80", Some(1)),
            (b"\xed\xa0\x80", Some(1)),
            (b"\xf4\x90\x80\x80", Some(1)),
            (b"\xf5", Some(0)),
            (b"\xce", Some(1)),
            (b"\xf0\x90\x8d", Some(3)),
            (b"\xf0\x90\x8da", Some(3)),
            (b"\xff", Some(0)),
        ];
        for (text, expected) in cases {
            assert_eq!(fails_at(text), expected, "{text:?}");
        }
    }

    #[test]
    fn every_split_gives_the_verdict_of_the_whole() {
        let texts: [&[u8]; 5] = [
            "aé€𐍈z".as_bytes(),
            b"\xf0\x90\x8d\x88\xf0",
            b"ab\xe2\x28",
            b"\xed\x9f\xbf",
            b"\xc3",
        ];
        for text in texts {
            let whole = std::str::from_utf8(text).is_ok();
            assert_eq!(check(text).is_some(), whole);
            for a in 0..=text.len() {
                for b in a..=text.len() {
                    let mut validator = Validator::default();
                    let pieces = [&text[..a], &text[a..b], &text[b..]];
                    let fed = pieces.iter().try_for_each(|piece| validator.feed(piece));
                    assert_eq!(
                        fed.and_then(|()| validator.finish()).is_ok(),
                        whole,
                        "{text:?} {a} {b}"
                    );
                }
            }
        }
    }
}

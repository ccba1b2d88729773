//! Where a tab stands in all of its streams (protocol.md 9.1).

use std::fmt;

/// A place in the order of all messages that are kept: the number of the last one before it, among
/// those of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Random, and another one for each server that does not go on with the streams of the one
    /// before.
    pub(super) epoch: u64,
    /// The number of a message.
    pub(super) number: u64,
}

impl Cursor {
    /// The one of this epoch and number.
    pub fn new(epoch: u64, number: u64) -> Self {
        Self { epoch, number }
    }

    /// Behind how many messages it stands.
    pub fn number(self) -> u64 {
        self.number
    }

    /// Whose it is: servers that do not go on with each other's streams differ in it.
    pub fn epoch(self) -> u64 {
        self.epoch
    }

    /// The cursor that this text is; `None`: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, number) = text.split_once('.')?;
        let is_canonical = epoch.len() == EPOCH_LEN && (number == "0" || !number.starts_with('0'));
        let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_canonical || !is_hex(epoch) || !is_hex(number) {
            return None;
        }
        Some(Self {
            epoch: u64::from_str_radix(epoch, 16).ok()?,
            number: u64::from_str_radix(number, 16).ok()?,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{:x}", self.epoch, self.number)
    }
}

/// Digits of an epoch.
const EPOCH_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_has_one_text() {
        for (epoch, number) in [(0, 0), (1, 1), (u64::MAX, u64::MAX), (0xabc, 0x10)] {
            let cursor = Cursor { epoch, number };
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }
        for text in [
            "",
            ".",
            "0000000000000000.",
            "0000000000000000.00",
            "0000000000000000.01",
            "000000000000000.1",
            "00000000000000000.1",
            "0000000000000000.10000000000000000",
            "000000000000000A.1",
            "0000000000000000.+1",
            "+000000000000000.1",
            "0000000000000000.1 ",
            "0000000000000000",
            "0000000000000000.1.1",
            "ééééé000000.1",
        ] {
            assert_eq!(Cursor::parse(text), None, "{text:?}");
        }
    }
}

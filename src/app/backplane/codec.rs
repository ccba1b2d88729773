//! Numbers and texts of an envelope as bytes, and back.
//!
//! A number is written seven bits at a time, the lowest first, each byte but the last with its top
//! bit set (LEB128); a text is its length and its bytes.

use crate::protocol::utf8;

/// Names a message of its sender whose receipt is wanted; 0: none is.
pub(super) type CallNumber = u64;

/// What cannot be read: it is no envelope of ours, or of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadEnvelope;

/// An envelope that is being written.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(low_bits(number) | 0x80);
            number >>= 7;
        }
        self.0.push(low_bits(number));
    }

    /// A kind, and numbers.
    pub(super) fn numbers(&mut self, kind: u8, numbers: &[u64]) {
        self.0.push(kind);
        numbers.iter().for_each(|number| self.number(*number));
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// The last one needs no length.
    pub(super) fn rest(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

fn low_bits(number: u64) -> u8 {
    (number & 0x7f) as u8
}

/// An envelope that is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, BadEnvelope> {
        let (first, rest) = self.0.split_first().ok_or(BadEnvelope)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, BadEnvelope> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has one bit.
            if bits << shift >> shift != bits {
                return Err(BadEnvelope);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(BadEnvelope)
    }

    pub(super) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, BadEnvelope> {
        T::try_from(self.number()?).map_err(|_| BadEnvelope)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], BadEnvelope> {
        let len = self.small()?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(BadEnvelope)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// So many bytes as they are.
    pub(super) fn fixed<const LEN: usize>(&mut self) -> Result<[u8; LEN], BadEnvelope> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(BadEnvelope)?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, BadEnvelope> {
        utf8::check(self.bytes()?).ok_or(BadEnvelope)
    }

    /// All that is left, as a text.
    pub(super) fn rest(&mut self) -> Result<&'a str, BadEnvelope> {
        utf8::check(std::mem::take(&mut self.0)).ok_or(BadEnvelope)
    }

    /// All that is left, one by one.
    pub(super) fn all<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, BadEnvelope>,
    ) -> Result<Vec<T>, BadEnvelope> {
        let mut all = Vec::new();
        while !self.0.is_empty() {
            all.push(read(self)?);
        }
        Ok(all)
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), BadEnvelope> {
        match self.0 {
            [] => Ok(()),
            _ => Err(BadEnvelope),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(number: u64, text: String, rest: String) {
            let mut writer = Writer::default();
            writer.number(number);
            writer.bytes(text.as_bytes());
            writer.rest(rest.as_bytes());
            let mut reader = Reader(&writer.0);
            prop_assert_eq!(reader.number(), Ok(number));
            prop_assert_eq!(reader.text(), Ok(text.as_str()));
            prop_assert_eq!(reader.rest(), Ok(rest.as_str()));
            prop_assert_eq!(reader.end(), Ok(()));
        }

        #[test]
        fn nothing_that_comes_does_harm(bytes: Vec<u8>) {
            let mut reader = Reader(&bytes);
            while reader.number().is_ok() {}
            let mut reader = Reader(&bytes);
            while reader.text().is_ok_and(|text| !text.is_empty()) {}
        }
    }

    #[test]
    fn what_is_cut_or_too_large_is_refused() {
        for bytes in [
            &b""[..],
            b"\x80",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
            b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
        ] {
            assert_eq!(Reader(bytes).number(), Err(BadEnvelope), "{bytes:?}");
        }
        assert_eq!(Reader(b"\x02a").bytes(), Err(BadEnvelope));
        assert_eq!(Reader(b"\x01\xff").text(), Err(BadEnvelope));
        assert_eq!(Reader(b"\x80\x02").small::<u8>(), Err(BadEnvelope));
        let largest = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(Reader(largest).number(), Ok(u64::MAX));
    }
}

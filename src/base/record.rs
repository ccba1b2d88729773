//! [`Record`]: values with a tag each, as one program hands them to its successor, which may be of
//! another version.
//!
//! ```text
//! record = *field, 0
//! field  = tag (1 byte, not 0), length of the value (4 bytes, little endian), value
//! ```
//!
//! So nothing of it can be missing without being missed.
//!
//! A value is a number (8 bytes, little endian), text (UTF-8), bytes, or another record. A reader
//! takes the fields that it knows; then no other may be left, unless its tag is at least
//! [`OPTIONAL`]: what a later version adds and an earlier one may leave out has such a tag.

use std::fmt;
use std::time::Duration;

/// From this tag on, fields may be passed over by those who do not know them.
pub const OPTIONAL: u8 = 128;

/// A record that is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordWriter {
    bytes: Vec<u8>,
}

impl RecordWriter {
    /// Adds bytes, or a record that has been written.
    ///
    /// # Panics
    /// Never in practice: a value of 4 GiB or more.
    pub fn put(&mut self, tag: u8, value: &[u8]) {
        let len = u32::try_from(value.len()).expect("values are far shorter than 4 GiB");
        self.bytes.push(tag);
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(value);
    }

    /// Adds a number.
    pub fn put_number(&mut self, tag: u8, number: u64) {
        self.put(tag, &number.to_le_bytes());
    }

    /// Adds a number if it is there.
    pub fn put_number_if(&mut self, tag: u8, number: Option<u64>) {
        if let Some(number) = number {
            self.put_number(tag, number);
        }
    }

    /// Adds a duration, in nanoseconds.
    pub fn put_duration(&mut self, tag: u8, duration: Duration) {
        self.put_number(tag, u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// The bytes of the record.
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.push(END);
        self.bytes
    }
}

/// A record that is being read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record<'a> {
    /// Those that have not been taken.
    fields: Vec<(u8, &'a [u8])>,
}

impl<'a> Record<'a> {
    /// Finds the fields.
    ///
    /// # Errors
    /// `Cut`, if the last one is not whole or another should follow.
    pub fn parse(mut bytes: &'a [u8]) -> Result<Self, BadRecord> {
        let mut fields = Vec::new();
        while bytes != [END] {
            let (tag, rest) = bytes.split_first().ok_or(BadRecord::Cut)?;
            if *tag == END {
                return Err(BadRecord::Unknown(END));
            }
            let (len, rest) = rest.split_first_chunk().ok_or(BadRecord::Cut)?;
            let len = u32::from_le_bytes(*len) as usize;
            let (value, rest) = rest.split_at_checked(len).ok_or(BadRecord::Cut)?;
            fields.push((*tag, value));
            bytes = rest;
        }
        Ok(Self { fields })
    }

    /// Takes the first value of this tag.
    pub fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let index = self.fields.iter().position(|(found, _)| *found == tag)?;
        Some(self.fields.remove(index).1)
    }

    /// Takes all values of this tag, in their order.
    pub fn take_all(&mut self, tag: u8) -> Vec<&'a [u8]> {
        let of_tag = |(found, value): &(u8, &'a [u8])| (*found == tag).then_some(*value);
        let values = self.fields.iter().filter_map(of_tag).collect();
        self.fields.retain(|(found, _)| *found != tag);
        values
    }

    /// Takes a value that has to be there.
    ///
    /// # Errors
    /// `Missing`.
    pub fn bytes(&mut self, tag: u8) -> Result<&'a [u8], BadRecord> {
        self.take(tag).ok_or(BadRecord::Missing(tag))
    }

    /// Takes a record that has to be there.
    ///
    /// # Errors
    /// `Missing`, `Cut`.
    pub fn record(&mut self, tag: u8) -> Result<Self, BadRecord> {
        Self::parse(self.bytes(tag)?)
    }

    /// Takes a number, if it is there.
    ///
    /// # Errors
    /// `Value`, if it has another length.
    pub fn number_if(&mut self, tag: u8) -> Result<Option<u64>, BadRecord> {
        let Some(value) = self.take(tag) else {
            return Ok(None);
        };
        let bytes = value.try_into().map_err(|_| BadRecord::Value(tag))?;
        Ok(Some(u64::from_le_bytes(bytes)))
    }

    /// Takes a number that has to be there.
    ///
    /// # Errors
    /// `Missing`; `Value`, if it is none of type `T`.
    pub fn number<T: TryFrom<u64>>(&mut self, tag: u8) -> Result<T, BadRecord> {
        let number = self.number_if(tag)?.ok_or(BadRecord::Missing(tag))?;
        number.try_into().map_err(|_| BadRecord::Value(tag))
    }

    /// Takes one of two numbers that has to be there: 0 or 1.
    ///
    /// # Errors
    /// `Missing`; `Value`, if it is another one.
    pub fn flag(&mut self, tag: u8) -> Result<bool, BadRecord> {
        match self.number(tag)? {
            0_u8 => Ok(false),
            1 => Ok(true),
            _ => Err(BadRecord::Value(tag)),
        }
    }

    /// Takes a duration, if it is there.
    ///
    /// # Errors
    /// `Value`, if it is none.
    pub fn duration_if(&mut self, tag: u8) -> Result<Option<Duration>, BadRecord> {
        Ok(self.number_if(tag)?.map(Duration::from_nanos))
    }

    /// Takes a duration that has to be there.
    ///
    /// # Errors
    /// `Missing`, `Value`.
    pub fn duration(&mut self, tag: u8) -> Result<Duration, BadRecord> {
        self.number(tag).map(Duration::from_nanos)
    }

    /// Takes text, if it is there.
    ///
    /// # Errors
    /// `Value`, if it is not UTF-8.
    pub fn text_if(&mut self, tag: u8) -> Result<Option<&'a str>, BadRecord> {
        let text = self.take(tag).map(str::from_utf8).transpose();
        text.map_err(|_| BadRecord::Value(tag))
    }

    /// Takes text that has to be there.
    ///
    /// # Errors
    /// `Missing`, `Value`.
    pub fn text(&mut self, tag: u8) -> Result<&'a str, BadRecord> {
        self.text_if(tag)?.ok_or(BadRecord::Missing(tag))
    }

    /// Everything that is known has been taken.
    ///
    /// # Errors
    /// `Unknown`, if something is left that may not be passed over.
    pub fn end(self) -> Result<(), BadRecord> {
        let mut tags = self.fields.iter().map(|(tag, _)| *tag);
        match tags.find(|tag| *tag < OPTIONAL) {
            Some(tag) => Err(BadRecord::Unknown(tag)),
            None => Ok(()),
        }
    }
}

/// Ends a record, where the tag of another field could stand.
const END: u8 = 0;

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRecord {
    /// A field is not whole.
    Cut,
    /// The field of this tag is not there.
    Missing(u8),
    /// The field of this tag is not known, or is there twice.
    Unknown(u8),
    /// The value of the field of this tag is none that it may have.
    Value(u8),
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => f.write_str("a field is cut off"),
            Self::Missing(tag) => write!(f, "field {tag} is missing"),
            Self::Unknown(tag) => write!(f, "field {tag} is not known"),
            Self::Value(tag) => write!(f, "field {tag} has a wrong value"),
        }
    }
}

impl std::error::Error for BadRecord {}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let mut writer = RecordWriter::default();
        writer.put_number(1, 70_000);
        writer.put(2, "Jürgen".as_bytes());
        writer.put_duration(3, Duration::from_millis(7));
        writer.put(4, b"a");
        writer.put(4, b"");
        writer.put_number_if(5, None);
        writer.into_bytes()
    }

    #[test]
    fn what_was_put_is_taken_once() {
        let bytes = written();
        let mut record = Record::parse(&bytes).unwrap();
        assert_eq!(record.clone().number::<u16>(1), Err(BadRecord::Value(1)));
        assert_eq!(record.number(1), Ok(70_000_u64));
        assert_eq!(record.number::<u64>(1), Err(BadRecord::Missing(1)));
        assert_eq!(record.text(2), Ok("Jürgen"));
        assert_eq!(record.duration(3), Ok(Duration::from_millis(7)));
        assert_eq!(record.clone().end(), Err(BadRecord::Unknown(4)));
        assert_eq!(record.take_all(4), [b"a".as_slice(), b""]);
        assert_eq!((record.take(5), record.end()), (None, Ok(())));
    }

    #[test]
    fn a_field_that_is_not_whole_is_refused() {
        let mut bytes = written();
        for cut in 0..bytes.len() {
            let parsed = Record::parse(&bytes[..cut]);
            assert_eq!(parsed, Err(BadRecord::Cut), "at {cut}");
        }
        assert!(Record::parse(&bytes).is_ok());
        bytes.push(0);
        assert_eq!(Record::parse(&bytes), Err(BadRecord::Unknown(0)));
        let longest = [9, 0xff, 0xff, 0xff, 0xff, 0];
        assert_eq!(Record::parse(&longest), Err(BadRecord::Cut));
    }

    #[test]
    fn only_optional_fields_may_be_passed_over() {
        for (tag, ended) in [
            (OPTIONAL - 1, Err(BadRecord::Unknown(OPTIONAL - 1))),
            (OPTIONAL, Ok(())),
            (u8::MAX, Ok(())),
        ] {
            let mut writer = RecordWriter::default();
            writer.put(tag, b"x");
            let bytes = writer.into_bytes();
            assert_eq!(Record::parse(&bytes).unwrap().end(), ended);
        }
    }
}

//! What a running server and its successor say to each other (see `handing_over`).
//!
//! ```text
//! successor                             running server
//!     │ ── Hello(formats) ────────────────► │  all goes on as before
//!     │ ◄─ Offer(format) + listeners ────── │
//!     │    opens what else it needs         │
//!     │ ── Begin ─────────────────────────► │  waits until connections are quiescent, then stands still
//!     │ ◄─ State, in pieces ─────────────── │
//!     │ ◄─ Links + sockets, several times ─ │
//!     │ ◄─ End(count) ───────────────────── │
//!     │    has all in its tables            │
//!     │ ── Confirm(count) ────────────────► │
//!     │ ◄─ Commit ───────────────────────── │  lets go, and ends
//!     │    reads, writes, accepts           │
//! ```
//!
//! Either may say `Refused` instead, or hang up; then the running server goes on as if nothing had
//! been asked.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::base::{BadRecord, Record, RecordWriter};

/// The format of what is handed over, which stands for this program's records and messages. It
/// changes whenever an older reader could not do without what is new.
pub const FORMAT: u64 = 1;

/// Formats that this program reads.
pub const FORMATS: RangeInclusive<u64> = 1..=FORMAT;

/// Longest message that is taken, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 160 << 10;

/// Most sockets in one message: the kernel's `SCM_MAX_FD`.
pub const MAX_SOCKETS: usize = 253;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A successor wants to take over.
    Hello {
        /// Formats that it reads.
        formats: RangeInclusive<u64>,
        /// Its version, for people.
        version: String,
    },
    /// Nothing comes of it.
    Refused {
        /// Why, for people.
        reason: String,
    },
    /// It may; the listeners' sockets come with this, in the same order.
    Offer {
        /// The format that will be used.
        format: u64,
        /// The running server's version, for people.
        version: String,
        /// Its process.
        pid: u32,
        /// Longest time that it waits for connections to become quiescent.
        patience: Duration,
        /// What it listens on.
        listeners: Vec<ListenerState>,
    },
    /// The successor has all that it needs besides the connections.
    Begin,
    /// The next piece of what the application knows besides clients.
    State(Vec<u8>),
    /// Connections, whose sockets come with this, in the same order.
    Links(Vec<Vec<u8>>),
    /// That was all.
    End {
        /// Number of connections.
        count: u64,
    },
    /// The successor has them all.
    Confirm {
        /// Number of connections.
        count: u64,
    },
    /// They are the successor's.
    Commit,
}

/// A listening socket that is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerState {
    /// Who comes there.
    pub purpose: Purpose,
    /// Whether its file is to be removed by whoever has it last.
    pub owns_file: bool,
}

/// Who comes to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Clients, by TCP.
    Tcp,
    /// Clients, by a Unix socket.
    Unix,
    /// Successors.
    Control,
}

impl Message {
    /// The bytes of the message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut record = RecordWriter::default();
        record.put_number(KIND, self.kind());
        match self {
            Self::Hello { formats, version } => {
                record.put_number(FIRST_FORMAT, *formats.start());
                record.put_number(LAST_FORMAT, *formats.end());
                record.put(VERSION, version.as_bytes());
            }
            Self::Refused { reason } => record.put(REASON, reason.as_bytes()),
            Self::Offer {
                format,
                version,
                pid,
                patience,
                listeners,
            } => {
                record.put_number(LAST_FORMAT, *format);
                record.put(VERSION, version.as_bytes());
                record.put_number(PID, u64::from(*pid));
                record.put_duration(PATIENCE, *patience);
                for listener in listeners {
                    record.put(LISTENER, &listener.to_bytes());
                }
            }
            Self::State(piece) => record.put(PIECE, piece),
            Self::Links(links) => links.iter().for_each(|link| record.put(LINK, link)),
            Self::End { count } | Self::Confirm { count } => record.put_number(COUNT, *count),
            Self::Begin | Self::Commit => {}
        }
        record.into_bytes()
    }

    /// Reads a message.
    ///
    /// # Errors
    /// It is not understood.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadRecord> {
        let mut record = Record::parse(bytes)?;
        let message = match record.number(KIND)? {
            1_u64 => {
                let first = record.number(FIRST_FORMAT)?;
                Self::Hello {
                    formats: first..=record.number(LAST_FORMAT)?,
                    version: record.text(VERSION)?.to_owned(),
                }
            }
            2 => Self::Refused {
                reason: record.text(REASON)?.to_owned(),
            },
            3 => {
                let listeners = record.take_all(LISTENER).into_iter();
                Self::Offer {
                    format: record.number(LAST_FORMAT)?,
                    version: record.text(VERSION)?.to_owned(),
                    pid: record.number(PID)?,
                    patience: record.duration(PATIENCE)?,
                    listeners: listeners
                        .map(ListenerState::parse)
                        .collect::<Result<_, _>>()?,
                }
            }
            4 => Self::Begin,
            5 => {
                let links = record.take_all(LINK).into_iter();
                Self::Links(links.map(<[u8]>::to_vec).collect())
            }
            6 => Self::End {
                count: record.number(COUNT)?,
            },
            7 => Self::Confirm {
                count: record.number(COUNT)?,
            },
            8 => Self::Commit,
            9 => Self::State(record.bytes(PIECE)?.to_vec()),
            _ => return Err(BadRecord::Value(KIND)),
        };
        // A later version may say hello with more than is known here: it has to be told that it is
        // not understood.
        match message {
            Self::Hello { .. } | Self::Refused { .. } => {}
            _ => record.end()?,
        }
        Ok(message)
    }

    fn kind(&self) -> u64 {
        match self {
            Self::Hello { .. } => 1,
            Self::Refused { .. } => 2,
            Self::Offer { .. } => 3,
            Self::Begin => 4,
            Self::Links(_) => 5,
            Self::End { .. } => 6,
            Self::Confirm { .. } => 7,
            Self::Commit => 8,
            Self::State(_) => 9,
        }
    }
}

impl ListenerState {
    fn to_bytes(self) -> Vec<u8> {
        let mut record = RecordWriter::default();
        let purpose = match self.purpose {
            Purpose::Tcp => 0,
            Purpose::Unix => 1,
            Purpose::Control => 2,
        };
        record.put_number(PURPOSE, purpose);
        record.put_number(OWNS_FILE, u64::from(self.owns_file));
        record.into_bytes()
    }

    fn parse(bytes: &[u8]) -> Result<Self, BadRecord> {
        let mut record = Record::parse(bytes)?;
        let state = Self {
            purpose: match record.number(PURPOSE)? {
                0_u64 => Purpose::Tcp,
                1 => Purpose::Unix,
                2 => Purpose::Control,
                _ => return Err(BadRecord::Value(PURPOSE)),
            },
            owns_file: record.flag(OWNS_FILE)?,
        };
        record.end()?;
        Ok(state)
    }
}

// Those of `Hello` and `Refused` never change, in no format.
const KIND: u8 = 1;
const FIRST_FORMAT: u8 = 2;
const LAST_FORMAT: u8 = 3;
const VERSION: u8 = 4;
const REASON: u8 = 5;
const PID: u8 = 6;
const PATIENCE: u8 = 7;
const LISTENER: u8 = 8;
const LINK: u8 = 9;
const COUNT: u8 = 10;
const PIECE: u8 = 11;

const PURPOSE: u8 = 1;
const OWNS_FILE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Message> {
        let version = "0.1.0".to_owned();
        let purposes = [Purpose::Tcp, Purpose::Unix, Purpose::Control];
        vec![
            Message::Hello {
                formats: 1..=3,
                version: version.clone(),
            },
            Message::Refused {
                reason: "no".to_owned(),
            },
            Message::Offer {
                format: 2,
                version,
                pid: 77,
                patience: Duration::from_secs(3),
                listeners: purposes
                    .map(|purpose| ListenerState {
                        purpose,
                        owns_file: purpose == Purpose::Unix,
                    })
                    .to_vec(),
            },
            Message::Begin,
            Message::State(b"state".to_vec()),
            Message::Links(vec![b"one".to_vec(), Vec::new()]),
            Message::End { count: 2 },
            Message::Confirm { count: 2 },
            Message::Commit,
        ]
    }

    #[test]
    fn messages_come_back_as_they_were_and_not_if_they_are_cut() {
        for message in all() {
            let bytes = message.to_bytes();
            assert_eq!(Message::parse(&bytes), Ok(message.clone()));
            for cut in 0..bytes.len() {
                assert!(
                    Message::parse(&bytes[..cut]).is_err(),
                    "{message:?} at {cut}"
                );
            }
        }
    }

    #[test]
    fn a_greeting_of_a_later_version_is_understood() {
        let mut record = RecordWriter::default();
        record.put_number(KIND, 1);
        record.put_number(FIRST_FORMAT, 7);
        record.put_number(LAST_FORMAT, 9);
        record.put(VERSION, b"9.0.0");
        record.put(100, b"what is that?");
        let formats = match Message::parse(&record.into_bytes()) {
            Ok(Message::Hello { formats, .. }) => formats,
            other => panic!("{other:?}"),
        };
        assert_eq!(formats, 7..=9);
    }
}

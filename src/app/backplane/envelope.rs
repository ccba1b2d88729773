//! [`Envelope`]: what one server tells others, as it is published.
//!
//! ```text
//! envelope = version (1 byte), node, epoch, sequence, time, clock, kind (1 byte), body, tag (16 bytes)
//! tag      = first half of HMAC-SHA-256 over: length of the channel (4 bytes), channel, all before it
//! ```
//!
//! The tag proves that the sender knows `backplaneSecret`, and that the envelope was meant for this
//! channel. That it has not been heard before is seen by epoch and sequence
//! ([`window`](super::window)), that it is of now by an answer of its sender
//! ([`freshness`](super::freshness)).

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq as _;

pub(super) use super::codec::CallNumber;
use super::codec::{BadEnvelope, Reader, Writer};
use super::moving_body::Move;
use super::settings::BackplaneSecret;
use crate::protocol::packet::Ident;
use crate::registry::SessionDigest;

/// Who has sent an envelope: a node, from one claim of its number to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Sender {
    /// Its number.
    pub(super) node: u16,
    /// 64 random bits.
    pub(super) epoch: u64,
}

/// What one server tells others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub(super) sender: Sender,
    /// Of all that this sender has sent, from 1 on.
    pub(super) sequence: u64,
    /// By the sender's clock, in seconds since 1970.
    pub(super) sent_at: u64,
    /// By a clock of the sender's that does not jump, in microseconds.
    pub(super) clock: u64,
    pub(super) body: Body<'a>,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body<'a> {
    /// A message for the client that has this uuid.
    ToUuid {
        call: CallNumber,
        uuid: &'a str,
        text: &'a str,
    },
    /// A message for all tabs of a user.
    ToUser {
        call: CallNumber,
        user: &'a str,
        text: &'a str,
    },
    /// A message for everybody.
    Broadcast {
        call: CallNumber,
        /// Of all that this sender has told everybody, from 1 on.
        number: u64,
        text: &'a str,
    },
    /// Tabs of a user and of a session are to be closed.
    Logout {
        call: CallNumber,
        number: u64,
        user: &'a str,
        session: Option<SessionDigest>,
    },
    /// Who has this uuid or ident, and since when?
    Find {
        call: CallNumber,
        uuid: &'a str,
        ident: Ident<'a>,
    },
    /// A message for whoever has this uuid or ident at the node that has been found to have one, or,
    /// if nobody has it by now, for one who is away and may come back.
    ToFound {
        call: CallNumber,
        uuid: &'a str,
        ident: Ident<'a>,
        text: &'a str,
    },
    /// Whoever has asked in this epoch is told what became of it.
    Receipts {
        epoch: u64,
        receipts: Vec<NodeReceipt>,
    },
    /// The sender is there.
    Heartbeat(Heartbeat),
    /// The sender is there now, and not on record.
    Proof {
        /// The receiver's challenge; 0: none is known.
        answers: u64,
        /// The sender's own challenge, which it wants to have answered; 0: it has been.
        asks: u64,
    },
    /// How many tabs do these users have?
    CountTabs {
        call: CallNumber,
        users: Vec<&'a str>,
    },
    /// A tab goes from one node to another.
    Move(Move<'a>),
}

/// What a sender tells of itself from time to time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heartbeat {
    /// Of the last that it has told everybody.
    pub(super) number: u64,
    /// Messages that it has sent in all, to whomever.
    pub(super) message_count: u64,
    /// Clients that it has.
    pub(super) client_count: u64,
    /// Since its start.
    pub(super) uptime_seconds: u64,
    /// It is about to go.
    pub(super) is_leaving: bool,
    /// The sender's challenge, which it wants to have answered by all; 0: it does not.
    pub(super) asks: u64,
    /// Which streams it keeps: what the cursors of its clients begin with.
    pub(super) streams: u64,
    /// Who it was before, and how far that one was, which can tell it no more.
    pub(super) past: Past,
}

/// The same node before another process went on as it, or before it took another number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Past {
    /// 0: there was none.
    pub(super) epoch: u64,
    /// Of the last that it has told everybody, and one more for each message that may be lost.
    pub(super) number: u64,
    /// Messages that it has sent in all, those of who it was before included. So far has its
    /// successor counted when it begins.
    pub(super) message_count: u64,
}

/// What became of one call at the node that tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeReceipt {
    pub(super) call: CallNumber,
    /// Queues that took it; of a logout, tabs that were closed.
    pub(super) queued: u64,
    /// Queues that were full.
    pub(super) full: u64,
    /// Tabs that get it when they come back.
    pub(super) kept: u64,
    /// When who was looked for has opened, by the clock of the node, in microseconds; `None`: nobody
    /// was found.
    pub(super) found: Option<u64>,
    /// Nobody was found, but somebody who is away and may come back.
    pub(super) is_away: bool,
    /// Tabs of each user that was asked about.
    pub(super) tabs: Vec<u64>,
}

impl Envelope<'_> {
    /// The bytes that are published on this channel.
    pub(super) fn seal(&self, channel: &[u8], secret: &BackplaneSecret) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.0.push(VERSION);
        writer.number(self.sender.node.into());
        writer.rest(&self.sender.epoch.to_be_bytes());
        writer.number(self.sequence);
        writer.number(self.sent_at);
        writer.number(self.clock);
        self.body.write(&mut writer);
        let tag = tag(&writer.0, channel, secret);
        writer.rest(&tag);
        writer.0
    }

    /// What was published on this channel.
    ///
    /// # Errors
    /// It was not sealed with this secret, for this channel, or is of another version.
    pub(super) fn open<'a>(
        bytes: &'a [u8],
        channel: &[u8],
        secret: &BackplaneSecret,
    ) -> Result<Envelope<'a>, BadEnvelope> {
        let (signed, found) = bytes.split_last_chunk::<TAG_BYTES>().ok_or(BadEnvelope)?;
        if !bool::from(tag(signed, channel, secret).ct_eq(found)) {
            return Err(BadEnvelope);
        }
        let mut reader = Reader(signed);
        if reader.byte()? != VERSION {
            return Err(BadEnvelope);
        }
        let node = reader.small()?;
        let (epoch, rest) = reader.0.split_first_chunk().ok_or(BadEnvelope)?;
        let epoch = u64::from_be_bytes(*epoch);
        reader.0 = rest;
        Ok(Envelope {
            sender: Sender { node, epoch },
            sequence: reader.number()?,
            sent_at: reader.number()?,
            clock: reader.number()?,
            body: Body::read(reader)?,
        })
    }
}

impl<'a> Body<'a> {
    /// The call whose receipt is wanted; 0: none is.
    pub(super) fn call(&self) -> CallNumber {
        match self {
            Self::ToUuid { call, .. }
            | Self::ToUser { call, .. }
            | Self::Broadcast { call, .. }
            | Self::Logout { call, .. }
            | Self::Find { call, .. }
            | Self::ToFound { call, .. }
            | Self::CountTabs { call, .. } => *call,
            Self::Move(moved) => moved.call(),
            Self::Receipts { .. } | Self::Heartbeat(_) | Self::Proof { .. } => 0,
        }
    }

    fn write(&self, to: &mut Writer) {
        match self {
            Self::ToUuid { call, uuid, text } => to.message(TO_UUID, *call, uuid, text),
            Self::ToUser { call, user, text } => to.message(TO_USER, *call, user, text),
            Self::Broadcast { call, number, text } => {
                to.numbers(BROADCAST, &[*call, *number]);
                to.rest(text.as_bytes());
            }
            Self::Logout {
                call,
                number,
                user,
                session,
            } => {
                to.numbers(LOGOUT, &[*call, *number]);
                to.bytes(user.as_bytes());
                to.rest(session.as_ref().map_or(&[], |session| session.as_bytes()));
            }
            Self::Find { call, uuid, ident } => {
                to.numbers(FIND, &[*call]);
                to.bytes(uuid.as_bytes());
                to.ident(ident);
            }
            Self::ToFound {
                call,
                uuid,
                ident,
                text,
            } => {
                to.numbers(TO_FOUND, &[*call]);
                to.bytes(uuid.as_bytes());
                to.ident(ident);
                to.rest(text.as_bytes());
            }
            Self::Receipts { epoch, receipts } => {
                to.numbers(RECEIPTS, &[*epoch]);
                receipts.iter().for_each(|receipt| receipt.write(to));
            }
            Self::Heartbeat(beat) => to.numbers(
                HEARTBEAT,
                &[
                    beat.number,
                    beat.message_count,
                    beat.client_count,
                    beat.uptime_seconds,
                    u64::from(beat.is_leaving),
                    beat.asks,
                    beat.streams,
                    beat.past.epoch,
                    beat.past.number,
                    beat.past.message_count,
                ],
            ),
            Self::Proof { answers, asks } => to.numbers(PROOF, &[*answers, *asks]),
            Self::CountTabs { call, users } => {
                to.numbers(COUNT_TABS, &[*call]);
                users.iter().for_each(|user| to.bytes(user.as_bytes()));
            }
            Self::Move(moved) => {
                to.0.push(MOVE);
                moved.write(to);
            }
        }
    }

    fn read(mut from: Reader<'a>) -> Result<Self, BadEnvelope> {
        let from = &mut from;
        let body = match from.byte()? {
            TO_UUID => Self::ToUuid {
                call: from.number()?,
                uuid: from.text()?,
                text: from.rest()?,
            },
            TO_USER => Self::ToUser {
                call: from.number()?,
                user: from.text()?,
                text: from.rest()?,
            },
            BROADCAST => Self::Broadcast {
                call: from.number()?,
                number: from.number()?,
                text: from.rest()?,
            },
            LOGOUT => Self::Logout {
                call: from.number()?,
                number: from.number()?,
                user: from.text()?,
                session: match std::mem::take(&mut from.0) {
                    [] => None,
                    digest => Some(SessionDigest::from_bytes(
                        digest.try_into().map_err(|_| BadEnvelope)?,
                    )),
                },
            },
            FIND => Self::Find {
                call: from.number()?,
                uuid: from.text()?,
                ident: from.ident()?,
            },
            TO_FOUND => Self::ToFound {
                call: from.number()?,
                uuid: from.text()?,
                ident: from.ident()?,
                text: from.rest()?,
            },
            RECEIPTS => Self::Receipts {
                epoch: from.number()?,
                receipts: from.all(NodeReceipt::read)?,
            },
            HEARTBEAT => Self::Heartbeat(Heartbeat {
                number: from.number()?,
                message_count: from.number()?,
                client_count: from.number()?,
                uptime_seconds: from.number()?,
                is_leaving: from.number()? != 0,
                asks: from.number()?,
                streams: from.number()?,
                past: Past {
                    epoch: from.number()?,
                    number: from.number()?,
                    message_count: from.number()?,
                },
            }),
            PROOF => Self::Proof {
                answers: from.number()?,
                asks: from.number()?,
            },
            COUNT_TABS => Self::CountTabs {
                call: from.number()?,
                users: from.all(|from| from.text())?,
            },
            MOVE => Self::Move(Move::read(from)?),
            _ => return Err(BadEnvelope),
        };
        from.end()?;
        Ok(body)
    }
}

impl NodeReceipt {
    fn write(&self, to: &mut Writer) {
        to.number(self.call);
        to.number(self.queued);
        to.number(self.full);
        to.number(self.kept);
        match self.found {
            None if self.is_away => to.0.push(FOUND_AWAY),
            None => to.0.push(NOT_FOUND),
            Some(opened_at) => {
                to.0.push(FOUND);
                to.number(opened_at);
            }
        }
        to.number(self.tabs.len() as u64);
        self.tabs.iter().for_each(|count| to.number(*count));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadEnvelope> {
        let mut is_away = false;
        Ok(Self {
            call: from.number()?,
            queued: from.number()?,
            full: from.number()?,
            kept: from.number()?,
            found: match from.byte()? {
                NOT_FOUND => None,
                FOUND_AWAY => {
                    is_away = true;
                    None
                }
                FOUND => Some(from.number()?),
                _ => return Err(BadEnvelope),
            },
            is_away,
            tabs: {
                let count = from.number()?;
                // Each takes a byte at least, so that nobody makes us keep more than was sent.
                (0..count)
                    .map(|_| from.number())
                    .collect::<Result<_, _>>()?
            },
        })
    }
}

impl Writer {
    fn message(&mut self, kind: u8, call: CallNumber, receiver: &str, text: &str) {
        self.numbers(kind, &[call]);
        self.bytes(receiver.as_bytes());
        self.rest(text.as_bytes());
    }

    fn ident(&mut self, ident: &Ident<'_>) {
        let (kind, ident) = match ident {
            Ident::None => (NO_IDENT, ""),
            Ident::Text(text) => (TEXT_IDENT, text.as_ref()),
            Ident::Number(number) => (NUMBER_IDENT, *number),
        };
        self.0.push(kind);
        self.bytes(ident.as_bytes());
    }
}

impl<'a> Reader<'a> {
    fn ident(&mut self) -> Result<Ident<'a>, BadEnvelope> {
        match (self.byte()?, self.text()?) {
            (NO_IDENT, "") => Ok(Ident::None),
            (TEXT_IDENT, text) => Ok(Ident::Text(text.into())),
            (NUMBER_IDENT, number) => Ok(Ident::Number(number)),
            _ => Err(BadEnvelope),
        }
    }
}

fn tag(signed: &[u8], channel: &[u8], secret: &BackplaneSecret) -> [u8; TAG_BYTES] {
    let mut context = hmac::Context::with_key(secret.key());
    let channel_len = u32::try_from(channel.len()).unwrap_or(u32::MAX);
    context.update(&channel_len.to_be_bytes());
    context.update(channel);
    context.update(signed);
    let mut tag = [0; TAG_BYTES];
    tag.iter_mut()
        .zip(context.sign().as_ref())
        .for_each(|(to, from)| *to = *from);
    tag
}

/// Of another version nothing is read: servers of both serve their own meanwhile.
const VERSION: u8 = 3;

/// 128 bits of HMAC-SHA-256.
const TAG_BYTES: usize = 16;

const TO_UUID: u8 = 1;
const TO_USER: u8 = 2;
const BROADCAST: u8 = 3;
const LOGOUT: u8 = 4;
const FIND: u8 = 5;
const TO_FOUND: u8 = 6;
const RECEIPTS: u8 = 7;
const HEARTBEAT: u8 = 8;
const COUNT_TABS: u8 = 9;
const PROOF: u8 = 10;
const MOVE: u8 = 11;

const NO_IDENT: u8 = 0;
const TEXT_IDENT: u8 = 1;
const NUMBER_IDENT: u8 = 2;

const NOT_FOUND: u8 = 0;
const FOUND: u8 = 1;
const FOUND_AWAY: u8 = 2;

#[cfg(test)]
mod tests {
    use super::super::moving_body::tests::moves;
    use super::*;

    fn secret(text: &str) -> BackplaneSecret {
        BackplaneSecret::new(text.repeat(MIN_REPEATS).as_bytes()).expect("it is long enough")
    }

    const MIN_REPEATS: usize = 32;

    fn bodies() -> Vec<Body<'static>> {
        let receipt = NodeReceipt {
            call: 9,
            queued: 300,
            full: 1,
            kept: 2,
            found: Some(1 << 40),
            is_away: false,
            tabs: vec![1, 0, 500],
        };
        let away = NodeReceipt {
            is_away: true,
            ..NodeReceipt::default()
        };
        let (call, number) = (77, 1000);
        let text = "{\"opcode\":\"feedback\",\"t\":\"\u{20ac}\"}";
        let mut bodies = vec![
            Body::ToUuid {
                call,
                uuid: "u",
                text,
            },
            Body::ToUser {
                call: 0,
                user: "42",
                text: "",
            },
            Body::Broadcast { call, number, text },
            Body::Logout {
                call,
                number,
                user: "",
                session: Some(SessionDigest::of("s")),
            },
            Body::Logout {
                call,
                number,
                user: "42",
                session: None,
            },
            Body::Find {
                call,
                uuid: "",
                ident: Ident::Text("i".into()),
            },
            Body::Find {
                call,
                uuid: "u",
                ident: Ident::Number("4e2"),
            },
            Body::Find {
                call,
                uuid: "u",
                ident: Ident::None,
            },
            Body::ToFound {
                call,
                uuid: "u",
                ident: Ident::Text("i".into()),
                text,
            },
            Body::Receipts {
                epoch: u64::MAX,
                receipts: vec![receipt, away, NodeReceipt::default()],
            },
            Body::Heartbeat(Heartbeat {
                number,
                message_count: 1,
                client_count: 2,
                uptime_seconds: 3,
                is_leaving: true,
                asks: u64::MAX,
                streams: u64::MAX,
                past: Past {
                    epoch: u64::MAX,
                    number: 4,
                    message_count: 5,
                },
            }),
            Body::Proof {
                answers: u64::MAX,
                asks: 1,
            },
            Body::CountTabs {
                call,
                users: vec!["42", "", "a"],
            },
        ];
        bodies.extend(moves().into_iter().map(Body::Move));
        bodies
    }

    fn envelope(body: Body<'_>) -> Envelope<'_> {
        Envelope {
            sender: Sender {
                node: u16::MAX,
                epoch: 1 << 60,
            },
            sequence: 123_456,
            sent_at: 1_800_000_000,
            clock: 1 << 50,
            body,
        }
    }

    #[test]
    fn every_kind_is_read_as_it_was_written() {
        let secret = secret("a");
        for body in bodies() {
            let envelope = envelope(body);
            let bytes = envelope.seal(b"c", &secret);
            assert_eq!(Envelope::open(&bytes, b"c", &secret), Ok(envelope));
        }
    }

    #[test]
    fn nothing_else_is_let_in() {
        let (one, other) = (secret("a"), secret("b"));
        for body in bodies() {
            let bytes = envelope(body).seal(b"channel", &one);
            for (channel, secret) in [
                (&b"channel"[..], &other),
                (b"channe", &one),
                (b"channel2", &one),
                (b"", &one),
                (b"channel", &BackplaneSecret::none()),
            ] {
                assert!(Envelope::open(&bytes, channel, secret).is_err());
            }
            for len in 0..bytes.len() {
                assert!(Envelope::open(&bytes[..len], b"channel", &one).is_err());
            }
            for at in 0..bytes.len() {
                let mut spoiled = bytes.clone();
                spoiled[at] ^= 1;
                assert!(Envelope::open(&spoiled, b"channel", &one).is_err());
            }
        }
    }

    /// Whoever knows the secret may still have another version.
    #[test]
    fn what_is_signed_and_not_understood_is_refused() {
        let secret = secret("a");
        let sealed = |bytes: &[u8]| [bytes, &tag(bytes, b"c", &secret)].concat();
        let whole = envelope(Body::Broadcast {
            call: 1,
            number: 2,
            text: "t",
        });
        let whole = whole.seal(b"c", &secret);
        let signed = &whole[..whole.len() - TAG_BYTES];
        assert!(Envelope::open(&sealed(signed), b"c", &secret).is_ok());
        let mut other = signed.to_vec();
        other[0] = VERSION + 1;
        assert!(Envelope::open(&sealed(&other), b"c", &secret).is_err());
        for len in 0..signed.len() - 1 {
            let opened = sealed(&signed[..len]);
            assert!(Envelope::open(&opened, b"c", &secret).is_err(), "{len}");
        }
        let mut not_text = signed.to_vec();
        *not_text.last_mut().unwrap() = 0xff;
        assert!(Envelope::open(&sealed(&not_text), b"c", &secret).is_err());
    }
}

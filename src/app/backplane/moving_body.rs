//! What nodes tell each other of a tab that goes from one to the other (protocol.md 11.6; who says
//! what when: [`moving`](super::moving)).

use super::codec::{BadEnvelope, CallNumber, Reader, Writer};
use crate::registry::{Cursor, Gap};

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Move<'a> {
    /// A client says that it was this tab. Of its secret no more is told than is kept.
    Claim {
        call: CallNumber,
        uuid: &'a str,
        secret: [u8; 16],
        cursor: Cursor,
        user: Option<&'a str>,
        is_script: bool,
    },
    /// To such a question: nobody has that name.
    NotHere {
        call: CallNumber,
        /// Of whoever has asked.
        epoch: u64,
        /// The cursor is of here: the tab was.
        is_expired: bool,
    },
    /// To such a question: it is not the one.
    Refused { call: CallNumber, epoch: u64 },
    /// To such a question: it is.
    Given {
        call: CallNumber,
        epoch: u64,
        given: Box<GivenTab<'a>>,
    },
    /// To whoever has given it: the tab is here by now.
    Taken {
        call: CallNumber,
        /// Who has given it.
        node: u16,
        /// Of the question by which it was given.
        claim: CallNumber,
        /// What the tab is called.
        name: &'a str,
    },
    /// To that: what has come for it alone meanwhile.
    Rest {
        call: CallNumber,
        epoch: u64,
        fate: Fate,
        texts: Vec<&'a str>,
    },
}

/// A tab as it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GivenTab<'a> {
    /// What it is called.
    pub(super) name: &'a str,
    /// What it has missed, in order.
    pub(super) texts: Result<Vec<&'a str>, Gap>,
    /// All that the sender has sent up to this envelope, or told everybody, up to this number, is
    /// in it.
    pub(super) sequence: u64,
    pub(super) number: u64,
    /// How far the sender has heard others.
    pub(super) places: Vec<Place>,
}

/// How far one node has heard another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Of the other.
    pub(super) epoch: u64,
    /// The highest sequence; each bit of `heard` stands for one: the lowest for this, each further
    /// one for that before.
    pub(super) highest: u64,
    pub(super) heard: u128,
    /// The last that it has told everybody; 0: none, or not known.
    pub(super) number: u64,
}

/// What has become of a tab that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It has gone from there.
    HandedOn,
    /// The same, and something that was for it cannot be told.
    Incomplete,
    /// It is no more.
    Gone,
    /// Somebody else has got it.
    Replaced,
}

impl Fate {
    const ALL: [Self; 4] = [Self::HandedOn, Self::Incomplete, Self::Gone, Self::Replaced];
}

impl Place {
    /// Whether an envelope of this sequence was heard. What is long past was, or there would be a
    /// hole in the numbers.
    pub(super) fn has(&self, sequence: u64) -> bool {
        let Some(behind) = self.highest.checked_sub(sequence) else {
            return false;
        };
        let bit = u32::try_from(behind)
            .ok()
            .and_then(|behind| 1_u128.checked_shl(behind));
        bit.is_none_or(|bit| self.heard & bit != 0)
    }

    fn write(&self, to: &mut Writer) {
        to.rest(&self.epoch.to_be_bytes());
        to.number(self.highest);
        to.rest(&self.heard.to_be_bytes());
        to.number(self.number);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadEnvelope> {
        Ok(Self {
            epoch: u64::from_be_bytes(from.fixed()?),
            highest: from.number()?,
            heard: u128::from_be_bytes(from.fixed()?),
            number: from.number()?,
        })
    }
}

impl<'a> Move<'a> {
    /// The call to which an answer is awaited; 0: none is.
    pub(super) fn call(&self) -> CallNumber {
        match self {
            Self::Claim { call, .. } | Self::Taken { call, .. } => *call,
            Self::NotHere { .. }
            | Self::Refused { .. }
            | Self::Given { .. }
            | Self::Rest { .. } => 0,
        }
    }

    pub(super) fn write(&self, to: &mut Writer) {
        match self {
            Self::Claim {
                call,
                uuid,
                secret,
                cursor,
                user,
                is_script,
            } => {
                to.numbers(CLAIM, &[*call, cursor.epoch(), cursor.number()]);
                to.rest(secret);
                to.bytes(uuid.as_bytes());
                to.number(u64::from(*is_script));
                to.number(u64::from(user.is_some()));
                to.rest(user.unwrap_or_default().as_bytes());
            }
            Self::NotHere {
                call,
                epoch,
                is_expired,
            } => to.numbers(NOT_HERE, &[*call, *epoch, u64::from(*is_expired)]),
            Self::Refused { call, epoch } => to.numbers(REFUSED, &[*call, *epoch]),
            Self::Given { call, epoch, given } => {
                to.numbers(GIVEN, &[*call, *epoch, given.sequence, given.number]);
                to.bytes(given.name.as_bytes());
                to.number(given.places.len() as u64);
                given.places.iter().for_each(|place| place.write(to));
                to.number(given.texts.as_ref().err().map_or(0, |gap| gap_code(*gap)));
                write_texts(given.texts.as_deref().unwrap_or_default(), to);
            }
            Self::Taken {
                call,
                node,
                claim,
                name,
            } => {
                to.numbers(TAKEN, &[*call, u64::from(*node), *claim]);
                to.rest(name.as_bytes());
            }
            Self::Rest {
                call,
                epoch,
                fate,
                texts,
            } => {
                let code = Fate::ALL.iter().position(|one| one == fate);
                to.numbers(REST, &[*call, *epoch, code.unwrap_or(0) as u64]);
                write_texts(texts, to);
            }
        }
    }

    pub(super) fn read(from: &mut Reader<'a>) -> Result<Self, BadEnvelope> {
        Ok(match from.byte()? {
            CLAIM => {
                let call = from.number()?;
                let cursor = Cursor::new(from.number()?, from.number()?);
                let secret = from.fixed()?;
                let uuid = from.text()?;
                let is_script = from.number()? != 0;
                let has_user = from.number()? != 0;
                let user = from.rest()?;
                Self::Claim {
                    call,
                    uuid,
                    secret,
                    cursor,
                    user: has_user.then_some(user),
                    is_script,
                }
            }
            NOT_HERE => Self::NotHere {
                call: from.number()?,
                epoch: from.number()?,
                is_expired: from.number()? != 0,
            },
            REFUSED => Self::Refused {
                call: from.number()?,
                epoch: from.number()?,
            },
            GIVEN => read_given(from)?,
            TAKEN => Self::Taken {
                call: from.number()?,
                node: from.small()?,
                claim: from.number()?,
                name: from.rest()?,
            },
            REST => Self::Rest {
                call: from.number()?,
                epoch: from.number()?,
                fate: *Fate::ALL.get(from.small::<usize>()?).ok_or(BadEnvelope)?,
                texts: from.all(Reader::text)?,
            },
            _ => return Err(BadEnvelope),
        })
    }
}

fn read_given<'a>(from: &mut Reader<'a>) -> Result<Move<'a>, BadEnvelope> {
    let (call, epoch) = (from.number()?, from.number()?);
    let (sequence, number) = (from.number()?, from.number()?);
    let name = from.text()?;
    let place_count = from.number()?;
    // Each takes some bytes, so that nobody makes us keep more than was sent.
    let places = (0..place_count).map(|_| Place::read(from));
    let places = places.collect::<Result<_, _>>()?;
    let gap = match from.small::<usize>()? {
        0 => None,
        code => Some(*Gap::ALL.get(code - 1).ok_or(BadEnvelope)?),
    };
    let texts = from.all(Reader::text)?;
    let given = Box::new(GivenTab {
        name,
        texts: gap.map_or(Ok(texts), Err),
        sequence,
        number,
        places,
    });
    Ok(Move::Given { call, epoch, given })
}

fn gap_code(gap: Gap) -> u64 {
    let code = Gap::ALL.iter().position(|one| *one == gap);
    code.map_or(0, |code| code as u64 + 1)
}

fn write_texts(texts: &[&str], to: &mut Writer) {
    texts.iter().for_each(|text| to.bytes(text.as_bytes()));
}

const CLAIM: u8 = 1;
const NOT_HERE: u8 = 2;
const REFUSED: u8 = 3;
const GIVEN: u8 = 4;
const TAKEN: u8 = 5;
const REST: u8 = 6;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const EPOCH: u64 = u64::MAX - 1;

    /// One of each kind.
    pub(in super::super) fn moves() -> Vec<Move<'static>> {
        let (call, epoch) = (1 << 63, 7);
        let place = Place {
            epoch: EPOCH,
            highest: 300,
            heard: u128::MAX - 2,
            number: 4,
        };
        let given = |texts| {
            Box::new(GivenTab {
                name: "u",
                texts,
                sequence: 9,
                number: 2,
                places: vec![place, place],
            })
        };
        let claim = |user| Move::Claim {
            call,
            uuid: "u",
            secret: [3; 16],
            cursor: Cursor::new(5, 6),
            user,
            is_script: true,
        };
        let rest = |fate| Move::Rest {
            call,
            epoch,
            fate,
            texts: vec!["{}", ""],
        };
        let mut moves = vec![
            claim(None),
            claim(Some("")),
            claim(Some("42")),
            Move::NotHere {
                call,
                epoch,
                is_expired: true,
            },
            Move::Refused { call, epoch },
            Move::Taken {
                call,
                node: u16::MAX,
                claim: 8,
                name: "u",
            },
        ];
        moves.extend(Fate::ALL.map(rest));
        let texts = Gap::ALL.map(Err).into_iter();
        let texts = texts.chain([Ok(vec!["{}", "", "x"]), Ok(vec![])]);
        moves.extend(texts.map(|texts| Move::Given {
            call,
            epoch,
            given: given(texts),
        }));
        moves
    }

    #[test]
    fn what_was_heard_is_known_to_the_last_bit() {
        let place = Place {
            epoch: EPOCH,
            highest: 200,
            heard: 0b101,
            number: 0,
        };
        for (sequence, has) in [
            (201, false),
            (200, true),
            (199, false),
            (198, true),
            (197, false),
            (73, false),
            (72, true),
            (0, true),
            (u64::MAX, false),
        ] {
            assert_eq!(place.has(sequence), has, "{sequence}");
        }
    }
}

//! A connection goes to another process: its state as a [`Record`], and back.
//!
//! Only a quiescent one can: nothing of a request, a frame or a message has arrived without the
//! rest, and nothing waits to leave. Times are told as what has passed or is left, since each
//! process has a clock of its own. What was agreed about compression goes with it, and the end of
//! the client's messages, if the client's next one may refer to it; ours need not refer to anything,
//! so no deflater does.

use super::compression::Compression;
use super::connection::Connection;
use super::limits::TurnContext;
use super::php_framing::PhpFramer;
use super::rate::Rate;
use super::state::{EventIds, Keepalive, Liveness, State};
use crate::base::time::MonotonicTime;
use crate::base::{BadRecord, Record, RecordWriter};

impl Connection {
    /// Its state, for [`take_over`](Self::take_over); `None` unless it is quiescent.
    pub fn hand_over(&self, now: MonotonicTime) -> Option<Vec<u8>> {
        if !self.is_quiescent() {
            return None;
        }
        let mut record = RecordWriter::default();
        match self.state {
            State::Connecting { deadline } => {
                record.put_number(PHASE, CONNECTING);
                record.put_duration(LEFT, deadline - now);
            }
            State::KeepAlive { deadline } => {
                record.put_number(PHASE, KEEPING_ALIVE);
                record.put_duration(LEFT, deadline - now);
            }
            State::Open {
                liveness,
                keepalive,
            } => {
                record.put_number(PHASE, OPEN);
                match liveness {
                    Liveness::Heard(at) => record.put_duration(SILENT_FOR, now - at),
                    Liveness::Pinged(at) => record.put_duration(PINGED_AGO, now - at),
                }
                record.put_number(HAS_PINGS, u64::from(keepalive == Keepalive::Pings));
            }
            State::Streaming {
                last_comment,
                event_ids,
            } => {
                record.put_number(PHASE, STREAMING);
                record.put_duration(SILENT_FOR, now - last_comment);
                record.put_number(HAS_EVENT_IDS, u64::from(event_ids == EventIds::Cursors));
            }
            _ => return None,
        }
        for (tag, rate) in [
            (CONTROL_RATE, &self.control_rate),
            (MESSAGE_RATE, &self.message_rate),
        ] {
            record.put_duration(tag, rate.time_until_full(now));
        }
        if let Some(compression) = &self.compression {
            record.put(COMPRESSION, &compression.hand_over());
        }
        if let Some(php_framer) = &self.php_framer {
            record.put(PHP_FRAMER, &php_framer.hand_over(now));
        }
        Some(record.into_bytes())
    }

    /// The connection that another process had, at `context.now`.
    ///
    /// # Errors
    /// A record that is not understood.
    pub fn take_over(mut record: Record<'_>, context: &TurnContext) -> Result<Self, BadRecord> {
        let now = context.now;
        let mut connection = Self::new(context);
        connection.state = match record.number(PHASE)? {
            CONNECTING => State::Connecting {
                deadline: now + record.duration(LEFT)?,
            },
            KEEPING_ALIVE => State::KeepAlive {
                deadline: now + record.duration(LEFT)?,
            },
            OPEN => State::Open {
                liveness: match record.duration_if(PINGED_AGO)? {
                    Some(ago) => Liveness::Pinged(now - ago),
                    None => Liveness::Heard(now - record.duration(SILENT_FOR)?),
                },
                keepalive: match record.flag(HAS_PINGS)? {
                    true => Keepalive::Pings,
                    false => Keepalive::None,
                },
            },
            STREAMING => State::Streaming {
                last_comment: now - record.duration(SILENT_FOR)?,
                event_ids: match record.flag(HAS_EVENT_IDS)? {
                    true => EventIds::Cursors,
                    false => EventIds::None,
                },
            },
            _ => return Err(BadRecord::Value(PHASE)),
        };
        connection.control_rate = Rate::full_in(record.duration(CONTROL_RATE)?, now);
        connection.message_rate = Rate::full_in(record.duration(MESSAGE_RATE)?, now);
        if let Some(bytes) = record.take(COMPRESSION) {
            let compression = Compression::take_over(Record::parse(bytes)?)?;
            connection.compression = Some(Box::new(compression));
        }
        if let Some(bytes) = record.take(PHP_FRAMER) {
            let php_framer = PhpFramer::take_over(Record::parse(bytes)?, now)?;
            connection.php_framer = Some(Box::new(php_framer));
        }
        record.end()?;
        Ok(connection)
    }

    /// Whether nothing is under way, in neither direction, and nothing ends.
    pub fn is_quiescent(&self) -> bool {
        let is_between = matches!(
            self.state,
            State::Connecting { .. }
                | State::KeepAlive { .. }
                | State::Open { .. }
                | State::Streaming { .. }
        );
        is_between && self.inbound.is_none() && self.output_len() == 0
    }

    /// The fewest bytes that may make it quiescent: what the frame that has begun still lacks, or
    /// what the next header of its message needs at least. `None` if no message has begun.
    pub fn wanted_bytes(&self) -> Option<usize> {
        self.inbound.as_ref().map(|inbound| inbound.wanted_bytes())
    }
}

const PHASE: u8 = 1;
const LEFT: u8 = 2;
const SILENT_FOR: u8 = 3;
const PINGED_AGO: u8 = 4;
const HAS_PINGS: u8 = 5;
const CONTROL_RATE: u8 = 6;
const MESSAGE_RATE: u8 = 7;
const COMPRESSION: u8 = 8;
const PHP_FRAMER: u8 = 9;
const HAS_EVENT_IDS: u8 = 10;

/// Values of `PHASE`.
const CONNECTING: u64 = 0;
const KEEPING_ALIVE: u64 = 1;
const OPEN: u64 = 2;
const STREAMING: u64 = 3;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::connection::{Event, Limits, Outgoing, PhpFraming};
    use crate::protocol::extension::CompressionSettings;
    use crate::protocol::frame::{self, Opcode};
    use crate::protocol::handshake::Upgrade;
    use crate::protocol::http::Request;

    const HEAD: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
        Connection: upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

    fn context(now: MonotonicTime) -> TurnContext {
        TurnContext::new(now, Limits::default())
    }

    fn long_ago() -> MonotonicTime {
        MonotonicTime::START + Duration::from_secs(1000)
    }

    /// One whose request is not answered.
    fn asking() -> (Connection, TurnContext) {
        let mut context = context(long_ago());
        let mut connection = Connection::new(&context);
        let mut bytes = HEAD.as_bytes().to_vec();
        let event = connection.receive(&mut bytes.as_mut_slice(), &mut context);
        assert!(matches!(event, Some(Event::Head(_))));
        (connection, context)
    }

    fn open(framing: PhpFraming, keepalive: Keepalive) -> (Connection, TurnContext) {
        let request = Request::parse(HEAD.as_bytes()).unwrap();
        let on = CompressionSettings {
            is_on: true,
            ..CompressionSettings::default()
        };
        let upgrade = Upgrade::check(&request).unwrap();
        let upgrade = match framing {
            PhpFraming::Stream => upgrade.negotiate(&request, &on),
            _ => upgrade,
        };
        let (mut connection, mut context) = asking();
        assert_eq!(connection.hand_over(context.now), None, "no answer yet");
        connection.accept(&upgrade, framing, keepalive, &mut context);
        assert_eq!(connection.hand_over(context.now), None, "the 101 waits");
        drain(&mut connection, &mut context);
        (connection, context)
    }

    fn drain(connection: &mut Connection, context: &mut TurnContext) {
        while connection.output_len() > 0 {
            context.now += Duration::from_millis(1);
            let mut slices = [std::io::IoSlice::new(&[]); 4];
            let count = connection.output(&mut slices, context.now);
            let len = slices[..count].iter().map(|slice| slice.len()).sum();
            connection.consume_output(len, context.now, &mut context.pool);
        }
    }

    fn receive(connection: &mut Connection, context: &mut TurnContext, bytes: &[u8]) -> usize {
        let mut bytes = bytes.to_vec();
        let mut input = bytes.as_mut_slice();
        std::iter::from_fn(|| connection.receive(&mut input, context).map(drop)).count()
    }

    /// Connections in every state that can be handed over.
    fn quiescent() -> Vec<(Connection, TurnContext)> {
        let fresh = context(long_ago());
        let mut all = vec![(Connection::new(&fresh), fresh)];
        for framing in [PhpFraming::Stream, PhpFraming::Padded, PhpFraming::Spaced] {
            for keepalive in [Keepalive::Pings, Keepalive::None] {
                let (mut connection, mut context) = open(framing, keepalive);
                let mut message = Vec::new();
                frame::encode_masked(Opcode::Text, [1; 4], b"{}", &mut message);
                if framing == PhpFraming::Stream {
                    message = vec![0xC1, 0x84, 0, 0, 0, 0, 0xAA, 0xAE, 0x05, 0x00];
                }
                assert_eq!(receive(&mut connection, &mut context, &message), 1);
                let mut frames = Vec::new();
                frame::encode(Opcode::Text, b"next", &mut frames);
                connection.reply(&mut frames, &mut context).unwrap();
                drain(&mut connection, &mut context);
                all.push((connection, context));
            }
        }
        for event_ids in [EventIds::Cursors, EventIds::None] {
            let (mut stream, mut context) = asking();
            stream.stream_events(b"head", event_ids, &mut context);
            drain(&mut stream, &mut context);
            all.push((stream, context));
        }
        let (mut pinged, mut context) = open(PhpFraming::Stream, Keepalive::Pings);
        context.now += context.limits.ping_interval;
        assert!(pinged.handle_timeout(&mut context).is_some());
        drain(&mut pinged, &mut context);
        all.push((pinged, context));
        all
    }

    #[test]
    fn a_connection_is_the_same_in_another_process_with_another_clock() {
        let all = quiescent();
        assert_eq!(all.len(), 10);
        for (connection, mut before) in all {
            before.now += Duration::from_millis(1500);
            let bytes = connection.hand_over(before.now).expect("it is quiescent");
            let after = context(long_ago() + Duration::from_secs(7000));
            let record = Record::parse(&bytes).unwrap();
            let taken = Connection::take_over(record, &after).unwrap();
            assert_eq!(taken.hand_over(after.now), Some(bytes));
            assert_eq!(taken.window_bits(), connection.window_bits());
            let left = |connection: &Connection, context: &TurnContext| {
                let deadline = connection.next_deadline(&context.limits)?;
                Some(deadline - context.now)
            };
            assert_eq!(left(&taken, &after), left(&connection, &before));
        }
    }

    #[test]
    fn what_is_cut_or_changed_is_refused_or_harmless() {
        for (connection, before) in quiescent() {
            let bytes = connection.hand_over(before.now).unwrap();
            let take = |bytes: &[u8]| {
                let record = Record::parse(bytes)?;
                Connection::take_over(record, &context(long_ago()))
            };
            for cut in 0..bytes.len() {
                assert!(take(&bytes[..cut]).is_err(), "cut at {cut}");
            }
            for at in 0..bytes.len() {
                for change in [1, 0x80, 0xFF] {
                    let mut changed = bytes.clone();
                    changed[at] ^= change;
                    let _ = take(&changed);
                }
            }
        }
    }

    #[test]
    fn what_is_under_way_is_not_handed_over_and_says_what_it_lacks() {
        let (mut connection, mut context) = open(PhpFraming::Stream, Keepalive::Pings);
        let mut long = Vec::new();
        frame::encode_masked(Opcode::Text, [1; 4], &[b'x'; 300], &mut long);
        long[0] &= 0x7F;
        let mut end = Vec::new();
        frame::encode_masked(Opcode::Continuation, [2; 4], b"end", &mut end);
        let both = [long, end].concat();
        // Whatever has come, taking as much as is wanted never goes beyond the message.
        for start in 1..both.len() {
            assert_eq!(receive(&mut connection, &mut context, &both[..start]), 0);
            let mut at = start;
            while let Some(wanted) = connection.wanted_bytes() {
                assert_eq!(connection.hand_over(context.now), None);
                assert!(wanted > 0 && at + wanted <= both.len(), "{wanted} at {at}");
                receive(&mut connection, &mut context, &both[at..at + wanted]);
                at += wanted;
            }
            assert_eq!(at, both.len());
            assert!(connection.hand_over(context.now).is_some());
        }
        let frame = [0x81, 1, b'x'];
        connection
            .send(&Outgoing::Copied(&frame), &mut context)
            .unwrap();
        assert_eq!(connection.hand_over(context.now), None, "it has to leave");
        drain(&mut connection, &mut context);
        connection.handle_eof(&mut context);
        assert_eq!(connection.hand_over(context.now), None, "it ends");
    }
}

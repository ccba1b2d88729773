//! The node goes to another process: its number, and how far it has heard the others.

use super::backplane::{Backplane, Leaving};
use super::channel::NodeNumber;
use super::envelope::Past;
use super::peers::Peers;
use crate::base::{BadRecord, MonotonicTime, Record, RecordWriter};
use crate::connection::ConnId;
use crate::registry::Clients;

impl Backplane {
    /// What is known, for [`take_over`](Self::take_over); `None`: nothing that would be missed.
    pub(crate) fn hand_over(&self, now: MonotonicTime) -> Option<Vec<u8>> {
        let number = self.claim.number();
        if number == 0 && self.deaf_since.is_none() && self.gap_at.is_none() {
            return None;
        }
        let mut record = RecordWriter::default();
        if number != 0 {
            record.put_number(NUMBER, number.into());
            record.put(TOKEN, self.claim.token().as_bytes());
        }
        let epoch = self.claim.sender().epoch;
        let own = Peers::own_record(epoch, (self.sequence, self.number), now);
        for peer in self.peers.hand_over(now).chain([own]) {
            record.put(PEER, &peer);
        }
        if let Some(since) = self.deaf_since {
            record.put_duration(DEAF_FOR, now - since);
        }
        record.put_number_if(HAS_GAP, self.gap_at.map(|_| 1));
        record.put(PAST, &self.hand_over_past());
        for taking in self.routed.takings() {
            record.put(TAKING, &taking.hand_over(now));
        }
        Some(record.into_bytes())
    }

    /// Goes on as the node that another process was, with its clients.
    ///
    /// # Errors
    /// A record that is not understood.
    pub(crate) fn take_over(
        &mut self,
        mut record: Record<'_>,
        clients: &Clients,
        now: MonotonicTime,
    ) -> Result<(), BadRecord> {
        let number = record.number_if(NUMBER)?.map(NodeNumber::try_from);
        let number = number.transpose();
        let number = number.map_err(|_| BadRecord::Value(NUMBER))?;
        let token = number.map(|_| record.text(TOKEN)).transpose()?;
        let peers = record.take_all(PEER);
        let deaf_for = record.duration_if(DEAF_FOR)?.unwrap_or_default();
        let has_gap = record.number_if(HAS_GAP)?.is_some();
        let takings = record.take_all(TAKING);
        let past = record.take(PAST).map(Record::parse).transpose()?;
        record.end()?;
        let is_token =
            |token: &str| token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
        if number == Some(0) || !token.is_none_or(is_token) {
            return Err(BadRecord::Value(NUMBER));
        }
        self.peers = Peers::take_over(&peers, now)?;
        if let Some(past) = past {
            self.take_over_past(past)?;
        }
        // Nothing is heard for these clients until this process is subscribed.
        self.deaf_since = Some(now - deaf_for);
        if has_gap {
            self.note_gap(now);
        }
        if let (Some(number), Some(token)) = (number, token) {
            self.claim.take_over(number, token.to_owned());
            self.begin_to_listen();
            self.find_by_number(clients, now);
        }
        for taking in takings {
            self.go_on_taking(Record::parse(taking)?, clients, now)?;
        }
        Ok(())
    }

    /// What others are told of this one, whose epoch this is, when another goes on in its place. What
    /// Redis has not taken may never come.
    pub(super) fn become_past(&self, epoch: u64) -> Past {
        let published = self.published.values();
        let doubtful = published.filter(|published| published.is_message).count();
        let doubtful = doubtful + self.unasked_count();
        Past {
            epoch,
            number: self.number.saturating_add(doubtful as u64),
            message_count: self.message_count,
        }
    }

    /// How far this one is, for [`take_over_past`](Self::take_over_past).
    pub(crate) fn hand_over_past(&self) -> Vec<u8> {
        let past = self.become_past(self.claim.sender().epoch);
        let mut record = RecordWriter::default();
        record.put_number(EPOCH, past.epoch);
        record.put_number(LAST_NUMBER, past.number);
        record.put_number(MESSAGE_COUNT, past.message_count);
        record.into_bytes()
    }

    /// Others are told by this node how far another process was.
    ///
    /// # Errors
    /// A record that is not understood.
    pub(crate) fn take_over_past(&mut self, mut record: Record<'_>) -> Result<(), BadRecord> {
        self.past = Past {
            epoch: record.number(EPOCH)?,
            number: record.number(LAST_NUMBER)?,
            message_count: record.number(MESSAGE_COUNT)?,
        };
        // Which is where this one begins.
        self.message_count = self.past.message_count;
        record.end()
    }

    /// Another process has gone on as this node.
    pub(crate) fn be_replaced(&mut self) {
        self.leaving = Leaving::Replaced;
        self.routed.forget_takings();
        self.not_yet_taken.clear();
    }

    /// Whether another process goes on as this node.
    pub(super) fn is_replaced(&self) -> bool {
        self.leaving == Leaving::Replaced
    }

    /// How long a client has been open, in microseconds.
    pub(crate) fn age_of(&self, id: ConnId, now: MonotonicTime) -> u64 {
        let age = now - self.opened_at(id).unwrap_or(now);
        u64::try_from(age.as_micros()).unwrap_or(u64::MAX)
    }
}

const NUMBER: u8 = 1;
const TOKEN: u8 = 2;
const PEER: u8 = 3;
/// There only if not all that is for the clients was heard.
const DEAF_FOR: u8 = 4;
/// There only if something is missing, of which they have not been told yet.
const HAS_GAP: u8 = 5;
/// A tab that is here, of which the node that has given it is still to be told. Those who do not know
/// it leave that one to keep what comes for the tab.
const TAKING: u8 = 128;
/// How far this one was. Those who do not know it tell nobody of what was lost with it.
const PAST: u8 = 129;

/// Of how far one was.
const EPOCH: u8 = 1;
const LAST_NUMBER: u8 = 2;
const MESSAGE_COUNT: u8 = 3;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::moved_tab::{Taken, Taking};
    use super::*;
    use crate::app::deliveries::NOBODY;
    use crate::upstream::redis::SubscriberEvent;

    // protocol.md 11.5
    #[test]
    fn of_what_was_not_heard_before_or_meanwhile_another_process_tells_a_gap() {
        let at = |seconds: u64| MonotonicTime::START + Duration::from_secs(100 + seconds);
        // Redis is lost so long before, something is missing, and it is back so long after.
        for (lost_before, has_gap, back_after, is_told) in [
            (None, false, 1, false),
            (None, false, 5, true),
            (Some(4), false, 0, false),
            (Some(4), false, 1, true),
            (Some(60), false, 0, true),
            (None, true, 0, true),
        ] {
            let mut before = Backplane::for_test();
            before.claim.take_over(7, "0".repeat(32));
            before.handle_subscriber(SubscriberEvent::Ready, at(0));
            if let Some(seconds) = lost_before {
                before.handle_subscriber(SubscriberEvent::Lost, at(100 - seconds));
            }
            if has_gap {
                before.note_gap(at(99));
            }
            let record = before.hand_over(at(100)).unwrap();
            let mut after = Backplane::for_test();
            let record = Record::parse(&record).unwrap();
            after
                .take_over(record, &Clients::default(), at(100))
                .unwrap();
            after.handle_subscriber(SubscriberEvent::Ready, at(100 + back_after));
            let name = format!("{lost_before:?} {has_gap} {back_after}");
            assert_eq!(after.gap_at.is_some(), is_told, "{name}");
        }
    }

    // protocol.md 11.5
    #[test]
    fn a_process_that_never_heard_others_tells_the_next_one_for_how_long() {
        let at = |seconds: u64| MonotonicTime::START + Duration::from_secs(100 + seconds);
        let nobody_was_here = Backplane::for_test();
        assert!(nobody_was_here.hand_over(at(0)).is_none());
        for (seconds, is_told) in [(2, false), (4, true)] {
            let mut before = Backplane::for_test();
            before.note_deaf_since(at(0));
            let record = before.hand_over(at(seconds)).unwrap();
            let mut after = Backplane::for_test();
            let record = Record::parse(&record).unwrap();
            let clients = Clients::default();
            after.take_over(record, &clients, at(seconds)).unwrap();
            assert_eq!(after.claim.number(), 0);
            after.handle_subscriber(SubscriberEvent::Ready, at(seconds + 1));
            assert_eq!(after.gap_at.is_some(), is_told, "{seconds}");
            assert!(after.had_deaf, "others may have said something before");
        }
    }

    // protocol.md 11.6
    #[test]
    fn whoever_has_given_a_tab_is_told_by_another_process_that_it_is_here() {
        let at = |seconds: u64| MonotonicTime::START + Duration::from_secs(100 + seconds);
        let mut before = Backplane::for_test();
        before.claim.take_over(7, "0".repeat(32));
        let taking = Taking {
            client: NOBODY,
            name: "page".to_owned(),
            taken: Taken { node: 3, claim: 9 },
            is_by_name: true,
            try_count: 0,
            told_at: at(0),
            until: at(120),
        };
        before.begin_taking(taking, at(0));
        let record = before.hand_over(at(1)).unwrap();
        let mut after = Backplane::for_test();
        let record = Record::parse(&record).unwrap();
        after.take_over(record, &Clients::default(), at(1)).unwrap();
        let taking = after.routed.takings().next().unwrap();
        let Taken { node, claim } = taking.taken;
        assert_eq!((&*taking.name, node, claim), ("page", 3, 9));
        assert_eq!(taking.until, at(120));
        let channel = after.channels.of_name("page");
        assert!(after.is_anothers("page", &channel), "it is sent on");
        assert!(!taking.is_once(), "some of it may have come here");
    }
}

//! The node goes to another process: its number, and how far it has heard the others.

use super::backplane::Backplane;
use super::peers::Peers;
use crate::base::{BadRecord, MonotonicTime, Record, RecordWriter};
use crate::connection::ConnId;
use crate::registry::Clients;

impl Backplane {
    /// What is known, for [`take_over`](Self::take_over); `None`: nothing that would be missed.
    pub(crate) fn hand_over(&self) -> Option<Vec<u8>> {
        if self.claim.number() == 0 {
            return None;
        }
        let mut record = RecordWriter::default();
        record.put_number(NUMBER, self.claim.number().into());
        record.put(TOKEN, self.claim.token().as_bytes());
        for peer in self.peers.hand_over() {
            record.put(PEER, &peer);
        }
        let is_missing = !self.is_subscribed || self.gap_at.is_some();
        record.put_number_if(MISSING, is_missing.then_some(1));
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
        let number = record.number(NUMBER)?;
        let token = record.text(TOKEN)?;
        let peers = record.take_all(PEER);
        let missing: Option<u64> = record.number_if(MISSING)?;
        record.end()?;
        let is_token = token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
        if number == 0 || !is_token {
            return Err(BadRecord::Value(NUMBER));
        }
        self.peers = Peers::take_over(&peers, now)?;
        // The other process has heard all for them until now, or says that it has not.
        self.deaf_since = missing.map(|_| MonotonicTime::START);
        self.claim.take_over(number, token.to_owned());
        self.begin_to_listen();
        self.find_by_number(clients, now);
        Ok(())
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
/// There only if something of others may be missing of which nobody is told yet.
const MISSING: u8 = 4;

//! Tabs on their way from one node to another: what is known of each of them here
//! ([`moving`](super::moving)).

use std::collections::HashSet;

use super::channel::NodeNumber;
use super::envelope::{CallNumber, Sender};
use crate::app::deliveries::NOBODY;
use crate::base::{BadRecord, MonotonicTime, Record, RecordWriter, SecretDigest};
use crate::connection::ConnId;
use crate::protocol::packet::Ident;
use crate::registry::{Clients, Cursor, Gap};

/// A client here that says that it was a tab at another node.
#[derive(Clone, Debug)]
pub(crate) struct TabClaim {
    pub(crate) client: ConnId,
    /// What it is called meanwhile.
    pub(crate) own_uuid: String,
    pub(crate) uuid: String,
    pub(crate) secret: SecretDigest,
    pub(crate) cursor: Cursor,
    pub(crate) user: Option<String>,
    pub(crate) is_script: bool,
    /// What it is told if nobody has it.
    pub(crate) gap: Gap,
    /// Whether its name is asked for, and no longer the node in its uuid.
    pub(crate) is_by_name: bool,
    /// When others were asked last.
    pub(crate) asked_at: MonotonicTime,
}

/// A tab that another node has given.
pub(crate) struct ArrivedTab {
    pub(crate) claim: TabClaim,
    /// What it is called.
    pub(crate) name: String,
    pub(crate) texts: Result<Vec<String>, Gap>,
    /// What stands behind this number has come since it is here.
    pub(crate) since: u64,
    /// What of that was heard there, too.
    pub(crate) heard_there: HashSet<u64>,
    pub(super) from: Sender,
    pub(super) call: CallNumber,
}

impl TabClaim {
    pub(super) fn held_bytes(&self) -> usize {
        let user = self.user.as_ref().map_or(0, String::capacity);
        size_of::<Self>() + self.uuid.capacity() + user
    }
}

/// A tab that is here, of which the node that has given it is to be told.
#[derive(Debug)]
pub(super) struct Taking {
    pub(super) client: ConnId,
    pub(super) name: String,
    pub(super) taken: Taken,
    /// Its name leads to the node that has given it, and not its number.
    pub(super) is_by_name: bool,
    pub(super) try_count: usize,
    /// When that node was told last.
    pub(super) told_at: MonotonicTime,
    /// By then that node keeps the tab no more.
    pub(super) until: MonotonicTime,
}

/// What that node is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) node: NodeNumber,
    pub(super) claim: CallNumber,
}

impl Taking {
    /// Whether what has come to the node that has given it has not come here as well.
    pub(super) fn is_once(&self) -> bool {
        !self.is_by_name || self.try_count == 0
    }

    pub(super) fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.name.capacity()
    }

    /// For [`take_over`](Self::take_over).
    pub(super) fn hand_over(&self, now: MonotonicTime) -> Vec<u8> {
        let mut record = RecordWriter::default();
        record.put(NAME, self.name.as_bytes());
        record.put_number(NODE, self.taken.node.into());
        record.put_number(CLAIM, self.taken.claim);
        record.put_number(IS_BY_NAME, u64::from(self.is_by_name));
        record.put_duration(TIME_LEFT, self.until - now);
        record.into_bytes()
    }

    /// The same in another process, to whose clients the tab belongs.
    ///
    /// # Errors
    /// A record that is not understood.
    pub(super) fn take_over(
        mut record: Record<'_>,
        clients: &Clients,
        now: MonotonicTime,
    ) -> Result<Self, BadRecord> {
        let name = record.text(NAME)?.to_owned();
        let taking = Self {
            client: clients.find(&name, &Ident::None).unwrap_or(NOBODY),
            name,
            taken: Taken {
                node: record.number(NODE)?,
                claim: record.number(CLAIM)?,
            },
            is_by_name: record.flag(IS_BY_NAME)?,
            // It has been told before, perhaps.
            try_count: 1,
            told_at: now,
            until: now + record.duration(TIME_LEFT)?,
        };
        record.end()?;
        Ok(taking)
    }
}

const NAME: u8 = 1;
const NODE: u8 = 2;
const CLAIM: u8 = 3;
const IS_BY_NAME: u8 = 4;
const TIME_LEFT: u8 = 5;

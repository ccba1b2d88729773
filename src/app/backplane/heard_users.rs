//! Since when others are heard about each user, for a process after this one: of what was said before,
//! a page of that user that comes later is told a gap (protocol.md 11.5).

use super::backplane::Backplane;
use crate::base::{BadRecord, Record, RecordWriter};

impl Backplane {
    /// Those users that are heard, but not from the beginning, for [`go_on_hearing`](Self::go_on_hearing);
    /// of all for whom `is_wanted`.
    pub(crate) fn heard_users(&self, is_wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let start = self.channels.of_user("");
        let heard = self.interest.all_heard_from(&start);
        let wanted = heard.filter(|(user, _)| is_wanted(user));
        let written = wanted.map(|(user, since)| {
            let mut record = RecordWriter::default();
            record.put(USER, user);
            record.put_number(SINCE, since);
            record.into_bytes()
        });
        written.collect()
    }

    /// They were heard so before this process was. To be called before those are entered who are away;
    /// then [`forget_inherited`](Self::forget_inherited).
    ///
    /// # Errors
    /// A record that is not understood.
    pub(crate) fn go_on_hearing(&mut self, records: &[&[u8]]) -> Result<(), BadRecord> {
        for record in records {
            let mut record = Record::parse(record)?;
            let channel = self.channels.of_user(record.text(USER)?);
            self.interest.inherit(channel, record.number(SINCE)?);
            record.end()?;
        }
        Ok(())
    }

    /// Everybody is here who was there before.
    pub(crate) fn forget_inherited(&mut self) {
        self.interest.forget_inherited();
    }
}

const USER: u8 = 1;
const SINCE: u8 = 2;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::MonotonicTime;
    use crate::connection::ConnId;
    use crate::registry::{ClientKind, ClientUuid, Clients, Identity, UserId};

    fn client(slot: u32, user: &str, clients: &mut Clients) -> ConnId {
        let id = ConnId {
            slot,
            generation: 0,
        };
        let uuid = ClientUuid::Standard(u128::from(slot));
        clients.open(id, ClientKind::Web, uuid, "");
        let identity = Identity {
            user: UserId::new(user),
            session: None,
        };
        clients.identify(id, &identity);
        id
    }

    // protocol.md 11.5
    #[test]
    fn another_process_knows_since_when_users_are_heard() {
        let now = MonotonicTime::START + Duration::from_secs(1);
        let (mut before, mut clients) = (Backplane::for_test(), Clients::default());
        let (first, here) = (client(1, "1", &mut clients), client(2, "2", &mut clients));
        let away = client(3, "3", &mut clients);
        before.enter(first, &clients, (now, 0));
        before.enter(here, &clients, (now, 5));
        before.enter(away, &clients, (now, 7));
        let heard = before.heard_users(|_| true);
        let heard: Vec<_> = heard.iter().map(Vec::as_slice).collect();

        let mut after = Backplane::for_test();
        after.enter(first, &clients, (now, 0));
        after.enter(here, &clients, (now, 0));
        after.go_on_hearing(&heard).unwrap();
        after.expect_back(away, &clients, now);
        after.forget_inherited();
        for (user, since) in [("1", 0), ("2", 5), ("3", 7)] {
            assert_eq!(after.user_heard_from(user), Some(since), "{user}");
        }
        // Of a file are those who may come back.
        let kept = before.heard_users(|user| user == b"3");
        assert_eq!(kept.len(), 1);
        let mut after = Backplane::for_test();
        after.go_on_hearing(&[kept[0].as_slice()]).unwrap();
        after.expect_back(away, &clients, now);
        assert_eq!(after.user_heard_from("3"), Some(7));
    }
}

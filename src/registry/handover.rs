//! A client goes to another process: its kind and names as a [`Record`], and back.

use super::clients::{ClientKind, ClientUuid, Clients, MAX_IDENT_BYTES, is_name};
use super::identity::{Identity, SessionDigest, UserId};
use crate::base::{BadRecord, Record, RecordWriter};
use crate::connection::ConnId;

impl Clients {
    /// A client's kind and names, for [`take_over`](Self::take_over).
    pub fn hand_over(&self, id: ConnId) -> Option<Vec<u8>> {
        let mut record = RecordWriter::default();
        record.put_number(IS_SCRIPT, u64::from(self.kind(id)? == ClientKind::Php));
        match self.uuid(id)? {
            ClientUuid::Standard(bits) => record.put(UUID, &bits.to_be_bytes()),
            ClientUuid::Chosen(name) => record.put(NAME, name.as_bytes()),
        }
        if !self.ident(id).is_empty() {
            record.put(IDENT, self.ident(id).as_bytes());
        }
        if let Some(user) = self.user(id) {
            record.put(USER, user.as_bytes());
        }
        if let Some(session) = self.session(id) {
            record.put(SESSION, session.as_bytes());
        }
        Some(record.into_bytes())
    }

    /// Adds a client that another process has handed over, and says what it is. Their order of
    /// opening is that of these calls.
    ///
    /// # Errors
    /// A record that is not understood; nobody was added.
    pub fn take_over(
        &mut self,
        id: ConnId,
        mut record: Record<'_>,
    ) -> Result<ClientKind, BadRecord> {
        let kind = match record.flag(IS_SCRIPT)? {
            true => ClientKind::Php,
            false => ClientKind::Web,
        };
        let uuid = match record.take(UUID) {
            Some(bits) => {
                let bits = bits.try_into().map_err(|_| BadRecord::Value(UUID))?;
                ClientUuid::Standard(u128::from_be_bytes(bits))
            }
            None => ClientUuid::from_text(record.text(NAME)?),
        };
        if matches!(&uuid, ClientUuid::Chosen(name) if !is_name(name)) {
            return Err(BadRecord::Value(NAME));
        }
        let ident = record.text_if(IDENT)?.unwrap_or_default();
        if ident.len() > MAX_IDENT_BYTES {
            return Err(BadRecord::Value(IDENT));
        }
        let user = record.text_if(USER)?.map(UserId::new);
        if matches!(user, Some(None)) {
            return Err(BadRecord::Value(USER));
        }
        let session = record
            .take(SESSION)
            .map(<[u8; SessionDigest::LEN]>::try_from);
        let session = session.transpose().map_err(|_| BadRecord::Value(SESSION))?;
        record.end()?;
        self.open(id, kind, uuid, ident);
        let identity = Identity {
            user: user.flatten(),
            session: session.map(SessionDigest::from_bytes),
        };
        self.identify(id, &identity);
        Ok(kind)
    }
}

const IS_SCRIPT: u8 = 1;
const UUID: u8 = 2;
const NAME: u8 = 3;
const IDENT: u8 = 4;
const USER: u8 = 5;
const SESSION: u8 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::packet::Ident;

    fn id(slot: u32) -> ConnId {
        ConnId {
            slot,
            generation: slot,
        }
    }

    #[test]
    fn a_client_that_was_handed_over_has_its_names_and_its_place() {
        let mut before = Clients::default();
        let uuid = ClientUuid::Standard(77);
        before.open(id(5), ClientKind::Web, ClientUuid::Standard(1), "42");
        before.open(id(2), ClientKind::Php, uuid, "042");
        before.open(id(9), ClientKind::Web, ClientUuid::Standard(3), "");
        before.rename(id(9), "Jane Doe").unwrap();
        let identity = Identity {
            user: UserId::new("42"),
            session: Some(SessionDigest::of("s")),
        };
        before.identify(id(9), &identity);
        before.identify(
            id(5),
            &Identity {
                session: None,
                ..identity
            },
        );
        let mut after = Clients::default();
        for (slot, old) in [5, 2, 9].into_iter().enumerate() {
            let bytes = before.hand_over(id(old)).unwrap();
            let new = id(slot as u32);
            let kind = after.take_over(new, Record::parse(&bytes).unwrap());
            assert_eq!(kind.ok(), before.kind(id(old)));
            assert_eq!(after.hand_over(new), Some(bytes), "nothing is lost");
        }
        let number = Ident::Number("42");
        assert_eq!(before.find("", &number), Some(id(5)), "opened first");
        assert_eq!(after.find("", &number), Some(id(0)));
        assert_eq!(after.find("Jane Doe", &Ident::None), Some(id(2)));
        assert!(after.sequence(id(0)) < after.sequence(id(1)));
        assert_eq!(after.tabs_of("42").collect::<Vec<_>>(), [id(0), id(2)]);
        assert_eq!(after.session(id(2)), Some(SessionDigest::of("s")));
    }

    #[test]
    fn users_and_sessions_that_cannot_be_are_refused() {
        let mut clients = Clients::default();
        for (tag, value) in [
            (USER, &b""[..]),
            (USER, b"a\n"),
            (SESSION, &[7; SessionDigest::LEN - 1]),
            (SESSION, b""),
        ] {
            let mut record = RecordWriter::default();
            record.put_number(IS_SCRIPT, 0);
            record.put(UUID, &[1; 16]);
            record.put(tag, value);
            let bytes = record.into_bytes();
            let taken = clients.take_over(id(0), Record::parse(&bytes).unwrap());
            assert_eq!(taken, Err(BadRecord::Value(tag)), "{value:?}");
        }
        assert!(clients.is_empty());
    }

    #[test]
    fn names_that_nobody_can_have_are_refused() {
        let mut clients = Clients::default();
        let long = "x".repeat(65);
        for name in ["", "\n", "\u{e4}", &long] {
            let mut record = RecordWriter::default();
            record.put_number(IS_SCRIPT, 0);
            record.put(NAME, name.as_bytes());
            let bytes = record.into_bytes();
            let taken = clients.take_over(id(0), Record::parse(&bytes).unwrap());
            assert_eq!(taken, Err(BadRecord::Value(NAME)), "{name:?}");
        }
        assert!(clients.is_empty());
    }
}

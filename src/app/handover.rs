//! Clients go to another process: what the application knows of one as a record, and back.
//!
//! Each part is written by its owner: names by the registry, the rest of the session here. What a
//! later version adds gets a tag of its own.

use std::time::Duration;

use log::warn;

use super::peer::Peer;
use super::resource::ErrorPackets;
use super::sessions::{Chunking, Replay, Session, Sessions, turn_away};
use super::{App, Commands};
use crate::base::log_target::REFUSALS;
use crate::base::{BadRecord, MonotonicTime, Record, RecordWriter, SecretDigest, excerpt};
use crate::connection::ConnId;
use crate::protocol::close_code::CloseCode;
use crate::registry::ClientKind;

impl App {
    /// Whether nothing is kept for this connection that its next message or another answer would
    /// complete: chunks, or a request that is not answered.
    pub fn is_quiescent(&self, id: ConnId) -> bool {
        !self.requests.is_pending(id)
            && !self.sessions.is_chunking(id)
            && !self.newcomers.is_awaiting_token(id)
            && !self.sessions.is_claiming(id)
    }

    /// Where a client stands in the order of opening; `None` if it is none.
    pub fn sequence(&self, id: ConnId) -> Option<u64> {
        self.sessions.clients().sequence(id)
    }

    /// What is known of a client, for [`take_over`](Self::take_over); `None` if it is none.
    pub fn hand_over(&self, id: ConnId, now: MonotonicTime) -> Option<Vec<u8>> {
        let sign_in = self.sign_in.hand_over(id, now);
        self.sessions.hand_over(id, sign_in.as_deref(), now)
    }

    /// What is known besides clients, for [`take_over_state`](Self::take_over_state).
    pub fn hand_over_state(&self, now: MonotonicTime) -> Vec<u8> {
        let mut record = RecordWriter::default();
        record.put(SIGNED_OUT, &self.sign_in.hand_over_signed_out(now));
        let mailbox = &self.sessions.mailbox;
        if mailbox.is_active() {
            record.put(MAILBOX, &mailbox.hand_over(&self.sessions.clients, now));
        }
        let backplane = self.sessions.backplane.as_deref();
        // By the numbers of what is kept.
        let of_users = backplane.filter(|_| mailbox.is_active());
        for user in of_users.into_iter().flat_map(|b| b.heard_users(|_| true)) {
            record.put(HEARD_USER, &user);
        }
        if let Some(node) = backplane.and_then(|backplane| backplane.hand_over(now)) {
            record.put(NODE, &node);
        }
        record.into_bytes()
    }

    /// What another process knows besides clients; to be called when they have been taken over.
    ///
    /// # Errors
    /// A record that is not understood.
    pub fn take_over_state(
        &mut self,
        mut record: Record<'_>,
        now: MonotonicTime,
    ) -> Result<(), BadRecord> {
        let signed_out = record.record(SIGNED_OUT)?;
        self.sign_in.take_over_signed_out(signed_out, now)?;
        let mailbox = record.take(MAILBOX).map(Record::parse).transpose()?;
        let node = record.take(NODE).map(Record::parse).transpose()?;
        let heard_users = record.take_all(HEARD_USER);
        record.end()?;
        if let Some(backplane) = self.sessions.backplane.as_deref_mut() {
            match node {
                Some(node) => backplane.take_over(node, &self.sessions.clients, now)?,
                None => backplane.note_deaf_since(now),
            }
        }
        match mailbox {
            Some(mailbox) => self.sessions.take_over_mailbox(mailbox, &heard_users, now),
            None => Ok(()),
        }
    }

    /// Lets a client in that another process has handed over; to be called in their order of
    /// opening. Limits of numbers count it and do not keep it out. A client whose resource is not
    /// here any more is turned away as one that asks for it now (protocol.md 1.10).
    ///
    /// # Errors
    /// A record that is not understood.
    pub fn take_over(
        &mut self,
        id: ConnId,
        peer: Peer,
        mut record: Record<'_>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) -> Result<(), BadRecord> {
        let sign_in = record.take(SIGN_IN).map(Record::parse).transpose()?;
        match self.sessions.take_over(id, record, now)? {
            TakenOver::Client(kind) => {
                self.admission.enter(kind, peer);
                if let Some(record) = sign_in {
                    self.sign_in.take_over(id, record, now)?;
                }
            }
            TakenOver::NoResource(path) => {
                let error = format!("no resource {path}");
                let (slot, peer) = (id.slot, peer.name());
                warn!(target: REFUSALS, "#{slot} turned away: {} ({peer})", excerpt(&error));
                turn_away(id, &error, CloseCode::POLICY_VIOLATION, commands);
            }
        }
        Ok(())
    }

    /// Another process has this client now: nobody is told that it has gone from here.
    pub fn let_go(&mut self, id: ConnId, peer: Peer, now: MonotonicTime) {
        if let Some(kind) = self.sessions.let_go(id, now) {
            self.admission.leave(kind, peer);
        }
        self.sign_in.leave(id);
    }
}

/// What has become of a client that was handed over.
enum TakenOver {
    /// It is one here.
    Client(ClientKind),
    /// There is nothing on its path.
    NoResource(String),
}

impl Sessions {
    /// Whether it is between `bufferON` and `bufferOFF`.
    fn is_chunking(&self, id: ConnId) -> bool {
        let session = self.sessions.get(id.slot as usize);
        session.is_some_and(|session| session.chunking == Chunking::On)
    }

    fn hand_over(&self, id: ConnId, sign_in: Option<&[u8]>, now: MonotonicTime) -> Option<Vec<u8>> {
        let session = self.sessions.get(id.slot as usize)?;
        let mut record = RecordWriter::default();
        record.put(CLIENT, &self.clients.hand_over(id)?);
        if let Some(path) = self.path_of(session.resource) {
            record.put(PATH, path.as_bytes());
        }
        let wants_errors = session.error_packets == ErrorPackets::Wanted;
        record.put_number(ERROR_PACKETS, u64::from(wants_errors));
        record.put_number(RESTARTS, u64::from(session.knows_restarts));
        if let Some(sign_in) = sign_in {
            record.put(SIGN_IN, sign_in);
        }
        if let Some(digest) = self.senders.digest(id) {
            record.put(SENDER, digest.as_bytes());
        }
        if let Some(serial) = self.mailbox.serial(id.slot) {
            record.put_number(REPLAY, u64::from(serial));
            record.put_number(AWAITS_RESUME, u64::from(session.replay == Replay::First));
        }
        if let Some(backplane) = self.backplane.as_deref() {
            record.put_number(AGE_MICROS, backplane.age_of(id, now));
        }
        Some(record.into_bytes())
    }

    fn take_over(
        &mut self,
        id: ConnId,
        mut record: Record<'_>,
        now: MonotonicTime,
    ) -> Result<TakenOver, BadRecord> {
        let client = record.record(CLIENT)?;
        let path = record.text_if(PATH)?;
        let error_packets = match record.flag(ERROR_PACKETS)? {
            true => ErrorPackets::Wanted,
            false => ErrorPackets::Unknown,
        };
        let knows_restarts = record.flag(RESTARTS)?;
        let sender = record
            .take(SENDER)
            .map(<[u8; SecretDigest::LEN]>::try_from)
            .transpose();
        let sender = sender.map_err(|_| BadRecord::Value(SENDER))?;
        let serial = record.number_if(REPLAY)?.map(u32::try_from).transpose();
        let serial = serial.map_err(|_| BadRecord::Value(REPLAY))?;
        let replay = match serial {
            None => Replay::Off,
            Some(_) if record.flag(AWAITS_RESUME)? => Replay::First,
            Some(_) => Replay::Unheard,
        };
        let age = Duration::from_micros(record.number_if(AGE_MICROS)?.unwrap_or(0));
        record.end()?;
        // Who was served by the resource for all other paths is so again.
        let Some(resource) = self.find_resource(path.unwrap_or_default()) else {
            return Ok(TakenOver::NoResource(path.unwrap_or("*").to_owned()));
        };
        let kind = self.clients.take_over(id, client)?;
        let session = Session {
            resource,
            kind,
            chunking: Chunking::Off,
            error_packets,
            knows_restarts,
            replay,
        };
        self.enter(id, session, now - age);
        if let Some(digest) = sender {
            self.senders.insert(id, SecretDigest::from_bytes(digest));
        }
        if let Some(serial) = serial {
            self.taken_over.push((serial, id.slot));
        }
        Ok(TakenOver::Client(kind))
    }

    /// What was kept; those who are here already are found in it.
    fn take_over_mailbox(
        &mut self,
        record: Record<'_>,
        heard_users: &[&[u8]],
        now: MonotonicTime,
    ) -> Result<(), BadRecord> {
        self.mailbox.take_over(record, Duration::ZERO, now)?;
        for (serial, slot) in std::mem::take(&mut self.taken_over) {
            self.mailbox.take_up(serial, slot);
        }
        self.mailbox.settle();
        self.go_on_hearing(heard_users)
    }

    /// What other servers say to users is heard as it was, behind which number of each.
    pub(super) fn go_on_hearing(&mut self, heard_users: &[&[u8]]) -> Result<(), BadRecord> {
        if let Some(backplane) = self.backplane.as_deref_mut() {
            backplane.go_on_hearing(heard_users)?;
        }
        self.expect_back();
        if let Some(backplane) = self.backplane.as_deref_mut() {
            backplane.forget_inherited();
        }
        Ok(())
    }

    /// What other servers say to those who are away is to be heard here, also by their names.
    pub(super) fn expect_back(&mut self) {
        if let Some(backplane) = self.backplane.as_deref_mut() {
            for (clients, id, until) in self.mailbox.away() {
                backplane.expect_back(id, clients, until);
            }
        }
    }
}

const CLIENT: u8 = 1;
const PATH: u8 = 2;
const ERROR_PACKETS: u8 = 3;
const RESTARTS: u8 = 4;
const SIGN_IN: u8 = 5;
const SENDER: u8 = 6;
/// Those who do not know it forget what was kept, and say so by a gap.
const REPLAY: u8 = 128;
const AWAITS_RESUME: u8 = 129;
/// Those who do not know it take it for one that has just opened.
const AGE_MICROS: u8 = 130;

/// Of what is known besides clients.
const SIGNED_OUT: u8 = 1;
const MAILBOX: u8 = 128;
/// Those who do not know it take another number.
const NODE: u8 = 129;
/// Those who do not know it tell pages of no gap of what was said to their user before it was heard.
const HEARD_USER: u8 = 130;

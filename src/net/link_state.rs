//! A connection with all that the loop knows of it goes to another process, and comes from one.

use std::io;

use super::event_loop::EventLoop;
use super::link::{Flushing, Link, Reading, Standing, Writing};
use super::pending_links::Activity;
use super::proxy_protocol::HeaderReader;
use super::system::{Stream, System};
use super::transport::Transport;
use crate::app::peer::Peer;
use crate::app::{App, CurrentMessage};
use crate::base::{BadRecord, Record, RecordWriter};
use crate::connection::{Connection, MonotonicTime};

/// Whether a connection can be handed over once it is quiescent: it is not encrypted, as keys stay
/// where they are, and does not end.
pub(super) fn can_be_handed_over<S: Stream>(link: &Link<S>) -> bool {
    let connection = &link.connection;
    let goes_on = connection.is_open() || connection.is_pending();
    goes_on && !link.transport.is_encrypted()
}

/// Whether nothing is under way on a connection, here, in its queue and in the application: all that
/// its peer has sent has been done, or lies in the kernel still.
pub(super) fn is_quiescent<S: Stream>(link: &Link<S>, app: &App) -> bool {
    let is_read = matches!(
        link.reading,
        Reading::Waiting | Reading::Backlog | Reading::PutOff
    );
    let is_written = link.writing == Writing::Ready && link.flushing == Flushing::Done;
    can_be_handed_over(link)
        && is_read
        && is_written
        && !link.has_begun_input()
        && link.connection.is_quiescent()
        && app.is_quiescent(link.id)
        && link.connection.is_open() == app.sequence(link.id).is_some()
}

/// The record of a quiescent connection.
pub(super) fn hand_over<S: Stream>(
    link: &Link<S>,
    app: &App,
    now: MonotonicTime,
) -> Option<Vec<u8>> {
    let mut record = RecordWriter::default();
    record.put(PEER, &link.peer.hand_over());
    record.put(CONNECTION, &link.connection.hand_over(now)?);
    if let Some(client) = app.hand_over(link.id, now) {
        record.put(CLIENT, &client);
    }
    let expects_header = u64::from(link.expects_proxy_header());
    record.put_number(EXPECTS_PROXY_HEADER, expects_header);
    Some(record.into_bytes())
}

impl<Y: System> EventLoop<Y> {
    /// The loop does not turn yet.
    pub(super) fn refresh_time(&mut self) {
        self.context.now = self.system.now();
    }

    /// Takes what another process's application knows besides clients.
    ///
    /// # Errors
    /// A record that is not understood.
    pub(super) fn take_over_state(&mut self, bytes: &[u8]) -> io::Result<()> {
        let bad = |error: BadRecord| io::Error::new(io::ErrorKind::InvalidData, error);
        let record = Record::parse(bytes).map_err(bad)?;
        let now = self.context.now;
        self.app.take_over_state(record, now).map_err(bad)
    }

    /// Takes a connection that another process has handed over. It is not read, and nothing is
    /// written, before the next turn.
    ///
    /// # Errors
    /// A record that is not understood, or a system that has no room.
    pub(super) fn take_over_link(&mut self, mut stream: Y::Stream, bytes: &[u8]) -> io::Result<()> {
        let bad = |error: BadRecord| io::Error::new(io::ErrorKind::InvalidData, error);
        let mut record = Record::parse(bytes).map_err(bad)?;
        let peer = record.record(PEER).and_then(Peer::take_over).map_err(bad)?;
        let connection = record.record(CONNECTION).map_err(bad)?;
        let connection = Connection::take_over(connection, &self.context).map_err(bad)?;
        let client = record
            .take(CLIENT)
            .map(Record::parse)
            .transpose()
            .map_err(bad)?;
        let expects_header = record.flag(EXPECTS_PROXY_HEADER).map_err(bad)?;
        record.end().map_err(bad)?;
        if client.is_some() != connection.is_open() {
            return Err(bad(BadRecord::Missing(CLIENT)));
        }
        let id = self.links.table.next_id();
        let slot = id.slot as usize;
        self.system.watch(&mut stream, slot)?;
        let is_resting = connection.is_keeping_alive();
        let mut link = Link::new(id, connection, Transport::Plain(stream), peer);
        if client.is_some() {
            link.standing = Standing::Client;
        }
        if expects_header {
            link.expect_proxy_header(HeaderReader::default());
        }
        self.links.table.insert(link);
        match client {
            Some(client) => {
                self.commands.begin(id, CurrentMessage::Lent);
                let (app, now) = (&mut self.app, self.context.now);
                app.take_over(id, peer, client, now, &mut self.commands)
                    .map_err(bad)?;
                self.after_event(id, None);
                self.links.touch(id);
            }
            None if is_resting => self.links.pending.set(id, peer.ip, Activity::Resting),
            None => self.links.pending.set(id, peer.ip, Activity::Busy),
        }
        self.links.count_memory(slot);
        self.links.rearm(slot, &self.context, &mut self.timers);
        Ok(())
    }
}

const PEER: u8 = 1;
const CONNECTION: u8 = 2;
const CLIENT: u8 = 3;
const EXPECTS_PROXY_HEADER: u8 = 4;

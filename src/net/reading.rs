//! The first half of a turn: accept, read, receive, hand over.

use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use log::{debug, info, warn};
use mio::Token;

use super::endpoint::{ListenerOptions, ProxyProtocol, Security};
use super::proxy_protocol::HeaderReader;
use super::received::{More, Received};
use super::requests::PendingRequest;
use super::server::{Accepting, Core};
use super::socket::{Remote, Socket};
use super::table::{Link, Membership, Reading};
use super::tls::{HANDSHAKE_RECORD, MAX_INCOMING, NotTls};
use super::transport::Transport;
use crate::api::{self, Route};
use crate::app::peer::{AddressSource, ListenerRole, Peer};
use crate::app::{Audience, Decision, UpgradeRequest};
use crate::connection::{ConnId, Connection, Event, Keepalive, Message, PhpFraming, TurnContext};
use crate::protocol::error::Rejection;
use crate::protocol::handshake::Upgrade;
use crate::protocol::http::Request;
use crate::registry::clients::ClientKind;

impl Core {
    // ---- accept

    /// Accepts a turn's share of what waits at one listener.
    pub(super) fn accept(&mut self, index: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.get(index) else {
                return;
            };
            match listener.socket.accept() {
                Ok((stream, remote)) => {
                    let options = listener.options;
                    self.is_short_of_descriptors = false;
                    self.add(stream, remote, options);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if is_out_of_descriptors(&error) => return self.back_off(index, &error),
                // The connection was gone before it was taken; the next one may be fine.
                Err(error) => debug!("accept: {error}"),
            }
        }
        self.accepting = Accepting::Backlog;
    }

    /// Goes on accepting where a turn's share or a lack of descriptors had made it stop.
    pub(super) fn accept_again(&mut self) {
        let is_due = match self.accepting {
            Accepting::Waiting => false,
            Accepting::Backlog => true,
            Accepting::BackedOff(until) => until <= self.now,
        };
        if is_due {
            self.accepting = Accepting::Waiting;
            (0..self.listeners.len()).for_each(|index| self.accept(index));
        }
    }

    /// Out of descriptors: refuses some of those who wait, and tries again a little later.
    fn back_off(&mut self, index: usize, error: &io::Error) {
        // Linux reports the lack even when nobody waits, so every attempt may end here.
        if !self.is_short_of_descriptors {
            self.is_short_of_descriptors = true;
            warn!("cannot accept: {error}; raise the open-file limit (LimitNOFILE, ulimit -n)");
        }
        self.accepting = Accepting::BackedOff(self.now + ACCEPT_PAUSE);
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.get(index) else {
                return;
            };
            let mut is_empty = false;
            self.spare.lend(|| match listener.socket.accept() {
                Ok((stream, _)) => refuse(stream),
                Err(_) => is_empty = true,
            });
            if is_empty {
                return;
            }
        }
    }

    /// One line for a flood of them.
    fn warn_refusals(&mut self, address: Remote) {
        let limit = if self.is_memory_scarce() {
            "memoryLimit"
        } else {
            "maxPending"
        };
        debug!("{address} refused: {limit} reached");
        if let Some(count) = self.refusals.count(self.now) {
            warn!("{limit} reached: {count} connections refused, the last from {address}");
        }
    }

    fn add(&mut self, stream: Socket, address: Remote, options: ListenerOptions) {
        if self.pending_count >= self.settings.max_pending || self.is_memory_scarce() {
            self.warn_refusals(address);
            return refuse(stream);
        }
        if !self.may_open(address, options) {
            return;
        }
        let id = self.table.next_id();
        let token = Token(id.slot as usize);
        let tls = match (options.security, &self.certificates) {
            (Security::Plain, _) => None,
            (Security::Tls, Some(certificates)) => Some(certificates.config()),
            (Security::Tls, None) => return debug!("{address} not taken: no certificate"),
        };
        let registered = Transport::new(stream, tls).and_then(|mut transport| {
            transport.register(&self.registry, token)?;
            Ok(transport)
        });
        let transport = match registered {
            Ok(transport) => transport,
            Err(error) => return debug!("{address} not taken: {error}"),
        };
        info!(
            "New client connecting from {address} on socket #{}",
            id.slot
        );
        let peer = Peer::direct(address.ip(), options.role);
        let turn = &TurnContext {
            now: self.now,
            limits: &self.settings.limits,
            pool: &mut self.pool,
        };
        let mut link = Link::new(id, Connection::new(turn), transport, peer);
        if options.proxy_protocol == ProxyProtocol::ProxyHeader {
            link.expect_proxy_header(HeaderReader::default());
        }
        self.table.insert(link);
        self.pending_count += 1;
        self.rearm(id.slot as usize);
    }

    // ---- read

    /// Reads what the kernel has for a connection. `is_last`: it has said that nothing will follow.
    pub(super) fn read(&mut self, slot: usize, is_last: bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.read_into(slot, &mut buffer, is_last);
        self.buffer = buffer;
    }

    fn read_into(&mut self, slot: usize, buffer: &mut [u8], is_last: bool) {
        let Some(link) = self.table.slot_mut(slot) else {
            return;
        };
        match link.reading {
            // It stands in the backlog, or waits for its output to be taken.
            Reading::Backlog | Reading::Paused => return,
            Reading::Waiting => {}
        }
        if link.proxy_header().is_some() {
            return self.read_proxy_header(slot);
        }
        if link.transport.is_handshaking() {
            match self.handshake_budget.checked_sub(1) {
                Some(left) => self.handshake_budget = left,
                None => return self.put_on_backlog(slot),
            }
        }
        let read = link.transport.read(buffer, &mut self.cipher_buffer);
        match &read {
            Err(_)
            | Ok(Received {
                len: 0,
                more: More::Ended,
            }) => {}
            // Also where nothing could be decrypted yet: what is kept of it counts.
            Ok(Received { len, .. }) => self.receive(slot, &mut buffer[..*len]),
        }
        self.after_read(slot, read, is_last);
    }

    /// Where there was more than a read takes, the rest of a long message is read to where it is
    /// gathered, which saves a copy. Whether it was.
    fn read_into_message(&mut self, slot: usize) -> bool {
        let Some(link) = self.table.slot_mut(slot) else {
            return false;
        };
        let most = self.buffer.len();
        let Some(room) = link.connection.payload_buffer(LEAST_ROOM_BYTES, most) else {
            return false;
        };
        let read = link.transport.read(room, &mut self.cipher_buffer);
        let len = read.as_ref().map_or(0, |received| received.len);
        let turn = &mut TurnContext {
            now: self.now,
            limits: &self.settings.limits,
            pool: &mut self.pool,
        };
        let (id, event) = (link.id, link.connection.receive_payload(len, turn));
        if let Some(event) = event {
            self.handle_connection_event(id, event);
            // So that what it sends itself is seen in its queue.
            self.deliver();
            if self.is_output_near_limit(slot) {
                self.set_aside(slot, &[], Reading::Paused);
            }
        }
        self.finish_receiving(slot);
        self.after_read(slot, read, true);
        true
    }

    /// Whether more is to be read, and what becomes of the connection if not. `is_last`: see
    /// [`read`](Self::read).
    fn after_read(&mut self, slot: usize, read: io::Result<Received>, is_last: bool) {
        let write_closed = |link: &mut Link| link.write_closed;
        let write_closed = self.table.slot_mut(slot).is_some_and(write_closed);
        match read {
            Ok(Received {
                len: 0,
                more: More::Ended,
            }) => self.handle_eof(slot),
            // Once a read has drained the socket the kernel tells of what comes later; only the
            // end, of which it has told already, must still be read.
            Ok(Received { more: More::No, .. }) => {
                self.shrink_input(slot);
                if is_last {
                    self.put_on_backlog(slot);
                }
            }
            Ok(_) => self.put_on_backlog(slot),
            Err(error) if error.kind() == ErrorKind::WouldBlock && !write_closed => {
                self.shrink_input(slot);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => self.put_on_backlog(slot),
            Err(error) if error.get_ref().is_some_and(|inner| inner.is::<NotTls>()) => {
                self.refuse_plain(slot);
            }
            Err(error) => self.lose(slot, &error),
        }
    }

    /// Nothing more has come: an unfinished message keeps no more memory than it needs.
    fn shrink_input(&mut self, slot: usize) {
        if let Some(link) = self.table.slot_mut(slot)
            && link.connection.shrink_input(&mut self.pool)
        {
            self.count_memory(slot);
        }
    }

    /// As nginx does: plain HTTP on a TLS port gets a plain answer.
    fn refuse_plain(&mut self, slot: usize) {
        let Some(link) = self.table.slot_mut(slot) else {
            return;
        };
        let id = link.id;
        let mut response = Vec::new();
        Rejection::PlainOnTls.write_response(&mut response);
        link.transport.write_plain(&response);
        link.connection.abort();
        self.log_refusal(id, Rejection::PlainOnTls);
        self.touch(id);
    }

    /// Goes on with a connection that had more to read than its share of the last turn.
    pub(super) fn read_again(&mut self, id: ConnId) {
        let Some(link) = self.table.get_mut(id) else {
            return;
        };
        link.reading = Reading::Waiting;
        let slot = id.slot as usize;
        if self.is_pushing(slot) {
            self.push_on(id);
            if self.is_pushing(slot) {
                return;
            }
        }
        let Some(link) = self.table.get_mut(id) else {
            return;
        };
        match link.take_unread() {
            Some(mut unread) => {
                self.receive(slot, &mut unread);
                // The kernel has not been asked since; there may be more.
                self.put_on_backlog(slot);
            }
            None => {
                if !self.read_into_message(slot) {
                    self.read(slot, true);
                }
            }
        }
    }

    pub(super) fn put_on_backlog(&mut self, slot: usize) {
        let Some(link) = self.table.slot_mut(slot) else {
            return;
        };
        if link.reading == Reading::Waiting {
            link.reading = Reading::Backlog;
            self.backlog.push_back(link.id);
        }
    }

    fn handle_eof(&mut self, slot: usize) {
        let Some(link) = self.table.slot_mut(slot) else {
            return;
        };
        let id = link.id;
        let turn = &mut TurnContext {
            now: self.now,
            limits: &self.settings.limits,
            pool: &mut self.pool,
        };
        let event = link.connection.handle_eof(turn);
        if let Some(event) = event {
            debug!("#{slot}: {event:?} without a close frame");
        }
        self.ended.push(id);
        self.touch(id);
    }

    pub(super) fn lose(&mut self, slot: usize, error: &io::Error) {
        let Some(link) = self.table.slot_mut(slot) else {
            return;
        };
        debug!("#{slot}: {error}");
        link.connection.abort();
        let id = link.id;
        self.ended.push(id);
        self.touch(id);
    }

    /// Feeds input to a connection, and its messages to the application, up to the turn's share;
    /// what is left over waits in `unread`.
    fn receive(&mut self, slot: usize, mut input: &mut [u8]) {
        if self.is_tls_on_plain(slot, input) {
            return self.lose(slot, &io::Error::other("TLS spoken to a port without it"));
        }
        let mut message_budget = MESSAGES_PER_TURN;
        let mut byte_budget = MESSAGE_BYTES_PER_TURN;
        loop {
            let Some(link) = self.table.slot_mut(slot) else {
                return;
            };
            let id = link.id;
            let turn = &mut TurnContext {
                now: self.now,
                limits: &self.settings.limits,
                pool: &mut self.pool,
            };
            let Some(event) = link.connection.receive(&mut input, turn) else {
                break;
            };
            byte_budget = byte_budget.saturating_sub(event.message_len());
            self.handle_connection_event(id, event);
            message_budget -= 1;
            let is_spent = message_budget == 0
                || byte_budget == 0
                || self.outbox.frames_len() > FRAMES_BYTES_PER_TURN
                || self.outbox.broadcast_count() * self.table.len() > DELIVERIES_PER_TURN;
            // So that what it sends itself is seen in its queue.
            if self.outbox.frames_len() > self.settings.limits.max_queue_bytes / 8 {
                self.deliver();
            }
            let is_spent = is_spent || self.is_pushing(slot);
            let is_full = self.is_output_near_limit(slot);
            if is_full || is_spent {
                self.set_aside(
                    slot,
                    input,
                    if is_full {
                        Reading::Paused
                    } else {
                        Reading::Backlog
                    },
                );
                break;
            }
        }
        self.finish_receiving(slot);
    }

    /// Delivers what has come of input, and sends what waits for the peer itself.
    fn finish_receiving(&mut self, slot: usize) {
        self.deliver();
        let Some(link) = self.table.slot_mut(slot) else {
            return;
        };
        let id = link.id;
        if !link.connection.is_open() && link.membership != Membership::None {
            self.end(id);
            self.deliver();
        }
        self.flush(slot);
    }

    /// Whether packets of a request wait for the next turn; nothing behind it is looked at before.
    fn is_pushing(&mut self, slot: usize) -> bool {
        let link = self.table.slot_mut(slot);
        let pending_request = link.and_then(|link| link.pending_request());
        pending_request.is_some_and(PendingRequest::is_under_way)
    }

    /// Whether a TLS handshake arrives where a request is expected.
    fn is_tls_on_plain(&mut self, slot: usize, input: &[u8]) -> bool {
        let Some(link) = self.table.slot_mut(slot) else {
            return false;
        };
        let is_tls = link.connection.is_untouched() && input.first() == Some(&HANDSHAKE_RECORD);
        if is_tls {
            info!(
                "#{slot} speaks TLS to a port that does not: wss:// is wanted there, or ws:// by the client"
            );
        }
        is_tls
    }

    fn set_aside(&mut self, slot: usize, input: &[u8], reading: Reading) {
        let Some(link) = self.table.slot_mut(slot) else {
            return;
        };
        if !input.is_empty() {
            link.set_unread(input.to_vec());
        }
        if link.reading == Reading::Waiting && (reading == Reading::Paused || !input.is_empty()) {
            link.reading = reading;
            if reading == Reading::Backlog {
                self.backlog.push_back(link.id);
            }
        }
    }

    /// A connection whose own output is near its limit is not read (back-pressure on echo loops).
    fn is_output_near_limit(&mut self, slot: usize) -> bool {
        let limits = &self.settings.limits;
        self.table
            .slot_mut(slot)
            .is_some_and(|link| link.connection.is_congested(limits))
    }

    fn handle_connection_event(&mut self, id: ConnId, event: Event<'_>) {
        match event {
            Event::Message(message) => {
                self.handle_message(id, &message, None);
                self.deliver_close();
            }
            Event::AssembledMessage(gathered) => {
                self.handle_message(id, &(&gathered).into(), Some(gathered.as_bytes()));
                self.put_away(id, gathered.into_bytes());
                self.deliver_close();
            }
            Event::Head(head) => self.decide(id, &head),
            Event::Body(body) => self.handle_body(id, body),
            Event::Refused(rejection) => self.log_refusal(id, rejection),
            Event::Failed(violation) => {
                info!("#{} broke a rule: {}", id.slot, violation.reason());
                self.app.handle_error(id, violation, &mut self.outbox);
            }
            Event::Closed(code) => debug!("#{} closes: {code:?}", id.slot),
            Event::Lost => debug!("#{} is lost", id.slot),
        }
    }

    /// `buffer`: the message, if its buffer may go back as a part of the answer.
    fn handle_message(&mut self, id: ConnId, message: &Message<'_>, buffer: Option<&[u8]>) {
        let Some(link) = self.table.get_mut(id) else {
            return;
        };
        let own = link.connection.lend_output(&mut self.pool);
        self.outbox.lend(own, buffer);
        self.app.handle_message(id, message, &mut self.outbox);
        self.take_back_output(id);
    }

    /// An application that has closed hears nothing that follows.
    fn deliver_close(&mut self) {
        if self.outbox.closes() {
            self.deliver();
        }
    }

    pub(super) fn take_back_output(&mut self, id: ConnId) {
        if let Some(own) = self.outbox.give_back()
            && let Some(link) = self.table.get_mut(id)
        {
            link.connection.return_output(own, &mut self.pool);
        }
    }

    /// Lets a message's buffer follow the header that its connection has got for it, or keeps it
    /// for the next message.
    fn put_away(&mut self, id: ConnId, buffer: Vec<u8>) {
        let is_followed = self.outbox.is_followed();
        match self.table.get_mut(id) {
            Some(link) if is_followed => link.connection.follow_output(buffer, &mut self.pool),
            _ => self.pool.give(buffer),
        }
    }

    // ---- the opening handshake

    /// Answers a request head.
    fn decide(&mut self, id: ConnId, head: &[u8]) {
        let request = match Request::parse(head) {
            Ok(request) => request,
            Err(rejection) => return self.reject(id, rejection),
        };
        let route = api::route(&request, self.settings.demo);
        if !matches!(route, Route::None) {
            return self.serve(id, &request, route);
        }
        let peer = self.locate(id, &request);
        let Some(link) = self.table.get_mut(id) else {
            return;
        };
        let local_ip = || link.transport.local_ip();
        match self.app.decide(&request, peer, local_ip) {
            Decision::Refuse(rejection) => self.reject(id, rejection),
            Decision::Upgrade(upgrade, upgrade_request) => {
                self.store_peer(id, peer);
                self.open(id, &upgrade, &upgrade_request, peer);
            }
        }
    }

    pub(super) fn peer_of(&mut self, id: ConnId) -> Peer {
        let nobody = Peer {
            source: AddressSource::Unknown,
            ..Peer::direct(None, ListenerRole::All)
        };
        self.table.get_mut(id).map_or(nobody, |link| link.peer)
    }

    pub(super) fn reject(&mut self, id: ConnId, rejection: Rejection) {
        let Some(link) = self.table.get_mut(id) else {
            return;
        };
        let turn = &mut TurnContext {
            now: self.now,
            limits: &self.settings.limits,
            pool: &mut self.pool,
        };
        link.connection.reject(rejection, turn);
        self.log_refusal(id, rejection);
    }

    pub(super) fn log_refusal(&mut self, id: ConnId, rejection: Rejection) {
        info!(
            "#{} refused: {} {}",
            id.slot,
            rejection.status(),
            rejection.reason()
        );
        self.warn_missing_header(id, rejection);
        if rejection == Rejection::Proxy {
            self.warn_untrusted(id);
        }
    }

    fn open(
        &mut self,
        id: ConnId,
        upgrade: &Upgrade,
        upgrade_request: &UpgradeRequest<'_>,
        peer: Peer,
    ) {
        let Some(link) = self.table.get_mut(id) else {
            return;
        };
        let framing = if !wants_shape(upgrade_request, self.settings.php_padding) {
            PhpFraming::Stream
        } else if link.transport.is_encrypted() {
            PhpFraming::Records
        } else if peer.ip.is_none_or(|ip| ip.is_loopback()) {
            PhpFraming::Padded
        } else {
            PhpFraming::Spaced
        };
        let keepalive = match upgrade_request.kind {
            ClientKind::Web => Keepalive::Pings,
            ClientKind::Php => Keepalive::None,
        };
        let turn = &mut TurnContext {
            now: self.now,
            limits: &self.settings.limits,
            pool: &mut self.pool,
        };
        link.connection.accept(upgrade, framing, keepalive, turn);
        match upgrade_request.kind {
            ClientKind::Web => info!("ClientType:websocket"),
            ClientKind::Php => {
                info!("ClientType:tcp");
                link.transport.keep_alive(TCP_KEEPALIVE);
            }
        }
        match &upgrade_request.resource {
            Ok(resource) => {
                let resource = *resource;
                link.is_pending = false;
                self.pending_count -= 1;
                link.membership = match upgrade_request.kind {
                    ClientKind::Php => Membership::Apart,
                    ClientKind::Web => Membership::Member {
                        resource: Audience::Resource(resource),
                        speaks_dialogue: self.app.speaks_dialogue(resource),
                    },
                };
            }
            Err((error, _)) => info!("#{} turned away: {error}", id.slot),
        }
        let own = link.connection.lend_output(&mut self.pool);
        self.outbox.lend(own, None);
        self.app
            .handle_open(id, upgrade_request, peer, &mut self.outbox);
        self.take_back_output(id);
        self.deliver();
    }
}

/// protocol.md §6: only deployed PHP clients need frames in a shape of their own.
fn wants_shape(upgrade_request: &UpgradeRequest<'_>, php_padding: bool) -> bool {
    upgrade_request.kind == ClientKind::Php && php_padding && !upgrade_request.reads_stream
}

/// Least room in a long message's own buffer that is read into: more than an encrypted stream may
/// keep back, and worth the call.
const LEAST_ROOM_BYTES: usize = 96 << 10;
const _: () = assert!(LEAST_ROOM_BYTES > MAX_INCOMING);

/// Most connections that one listener accepts in one turn.
const ACCEPTS_PER_TURN: usize = 256;

/// How long accepting rests when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Most messages of one connection in one turn.
const MESSAGES_PER_TURN: usize = 512;

/// Most bytes of messages of one connection in one turn: more than what arrives in it, so that it
/// is reached by what is inflated only, and by a long message, which comes to its end once.
const MESSAGE_BYTES_PER_TURN: usize = 1 << 20;

/// Most bytes of frames to others that one connection brings about in one turn, before the next one
/// has its say.
const FRAMES_BYTES_PER_TURN: usize = 1 << 20;

/// Most frames that one connection's broadcasts bring into others' queues in one turn: some
/// milliseconds' work.
pub(super) const DELIVERIES_PER_TURN: usize = 1 << 16;

/// Silence after which the kernel asks a script's machine for a sign of life.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

fn is_out_of_descriptors(error: &io::Error) -> bool {
    // EMFILE and ENFILE have no ErrorKind of their own.
    matches!(error.raw_os_error(), Some(24 | 23))
}

/// Refuses a connection for which there is no room: 503, as far as the socket takes it at once.
fn refuse(mut stream: Socket) {
    let mut response = Vec::new();
    Rejection::Overloaded.write_response(&mut response);
    if let Err(error) = stream.write(&response) {
        debug!("refusal not sent: {error}");
    }
}

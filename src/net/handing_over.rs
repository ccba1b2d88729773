//! The running server hands everything to its successor: listening sockets, and every quiescent
//! plain connection with its state.
//!
//! ```text
//! Hello → Offer    nothing changes
//! Begin → Watching all goes on, until those who were not quiescent have been so, or `takeoverTime`
//!       → Pausing  nobody is read but up to the end of a message, nobody is accepted; at most
//!                  PAUSE, then back to Watching while there is time
//!       → Still    nothing happens on any connection: they go over, in messages of at most 253
//! Confirm → Commit the successor has them all: they are let go here, and the rest is told to go
//! ```
//!
//! Until `Commit` has left, whatever goes wrong leads back: readiness that the kernel has told
//! meanwhile is asked for anew, and the server goes on as if nothing had been asked. A successor that
//! stalls is given up after [`STALL`], and the loop stands still for a fifth of the time at most.

use std::io::{self, ErrorKind};
use std::time::Duration;

use log::info;

use super::asking::reason_of;
use super::control_message::{MAX_SOCKETS, Message};
use super::event_loop::EventLoop;
use super::handover::{Caller, CallerStage, Progress, Transfer};
use super::link::Writing;
use super::link_state::{self, can_be_handed_over, is_quiescent};
use super::slice::Share;
use super::system::{Readiness, System};
use crate::base::plain;
use crate::connection::ConnId;
use crate::ops::notify::Notice;

impl<Y: System> EventLoop<Y> {
    // ---- progress

    pub(super) fn begin_handover(&mut self, key: usize) {
        let now = self.context.now;
        let Some(caller) = self.handover.caller_mut(key) else {
            return;
        };
        (caller.stage, caller.deadline) = (CallerStage::Begun, None);
        info!("Process {} takes over", caller.pid);
        self.handover.progress = Progress::Watching {
            key,
            patience_ends: now + self.handover.patience,
            laggards: self.laggards(),
            next_look: now,
        };
    }

    /// Goes on with whoever is being served, and forgets callers who say nothing.
    pub(super) fn go_on_handing_over(&mut self) {
        let now = self.context.now;
        let is_late = |caller: &Caller| caller.deadline.is_some_and(|deadline| deadline <= now);
        while let Some(late) = self.handover.callers.iter().find(|caller| is_late(caller)) {
            self.refuse_caller(late.key, "it says nothing");
        }
        match &mut self.handover.progress {
            Progress::None => {}
            Progress::Watching { next_look, .. } if *next_look > now => {}
            Progress::Watching { .. } => self.watch_laggards(),
            Progress::Pausing { next_look, .. } if *next_look > now => {}
            Progress::Pausing { .. } => self.look_while_pausing(),
            Progress::Still(transfer) if transfer.deadline > now => {}
            Progress::Still(transfer) => {
                let key = transfer.key;
                self.refuse_caller(key, "it does not go on");
            }
        }
        match self.handover.next_deadline() {
            Some(at) => self.timers.set(super::timers::Timer::Handover, at),
            None => self.timers.cancel(super::timers::Timer::Handover),
        }
    }

    fn watch_laggards(&mut self) {
        let now = self.context.now;
        let Progress::Watching {
            key,
            patience_ends,
            laggards,
            next_look,
        } = &mut self.handover.progress
        else {
            return;
        };
        let (links, app) = (&self.links.table, &self.app);
        laggards.retain(|id| {
            let link = links.get(*id);
            link.is_some_and(|link| can_be_handed_over(link) && !is_quiescent(link, app))
        });
        let has_waited = laggards.is_empty() || *patience_ends <= now;
        if !has_waited || self.handover.not_before > now {
            *next_look = now + LOOK_INTERVAL;
            return;
        }
        self.handover.progress = Progress::Pausing {
            key: *key,
            patience_ends: *patience_ends,
            until: now + PAUSE,
            next_look: now,
        };
    }

    fn look_while_pausing(&mut self) {
        let now = self.context.now;
        let Progress::Pausing {
            key,
            patience_ends,
            until,
            ..
        } = self.handover.progress
        else {
            return;
        };
        let laggards = self.laggards();
        let is_over = until <= now;
        let has_all_left = laggards.is_empty() && !self.links.broadcasts.has_work();
        // What others are asked for gets its answer here as well, only later.
        let has_waited = is_over || !self.app.will_have_arrived(now);
        if (has_all_left && has_waited) || (is_over && patience_ends <= now) {
            if !has_all_left {
                // What they have asked for is carried out to its end.
                self.finish_accepted(now + PAUSE);
                self.flush_all(Share::All);
            }
            self.stand_still(key);
        } else if is_over {
            self.handover.progress = Progress::Watching {
                key,
                patience_ends,
                laggards,
                next_look: now + LOOK_INTERVAL,
            };
            self.wake_all();
        } else if let Progress::Pausing { next_look, .. } = &mut self.handover.progress {
            *next_look = now + PAUSED_LOOK_INTERVAL;
        }
    }

    /// Those who could be handed over if they were quiescent.
    fn laggards(&self) -> Vec<ConnId> {
        let links = self.links.table.iter();
        let laggards = links
            .filter(|link| can_be_handed_over(link))
            .filter(|link| !is_quiescent(link, &self.app));
        laggards.map(|link| link.id).collect()
    }

    /// From now on nothing happens on any connection.
    fn stand_still(&mut self, key: usize) {
        let now = self.context.now;
        let links = self.links.table.iter();
        let quiescent = links.filter(|link| is_quiescent(link, &self.app));
        let sequence = |id| self.app.sequence(id).unwrap_or(u64::MAX);
        let mut order: Vec<_> = quiescent.map(|link| (sequence(link.id), link.id)).collect();
        order.sort_unstable();
        let count = u32::try_from(order.len()).unwrap_or(u32::MAX);
        self.handover.progress = Progress::Still(Transfer {
            key,
            began: now,
            order: order.into_iter().map(|(_, id)| id).collect(),
            packed_count: 0,
            sent: Vec::new(),
            state: self.app.hand_over_state(now),
            sent_state_bytes: 0,
            is_complete: false,
            deadline: now + STALL,
            last_deadline: now + STILL_LIMIT + STILL_LIMIT_PER_LINK * count,
        });
        self.send_on();
    }

    /// Sends as much of what is to go as the successor takes now.
    pub(super) fn send_on(&mut self) {
        while let Progress::Still(transfer) = &self.handover.progress
            && !transfer.is_complete
        {
            let key = transfer.key;
            let sent = match transfer.state.len() > transfer.sent_state_bytes {
                true => self.send_state(),
                false => self.send_links(),
            };
            match sent {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    let reason = reason_of(&error);
                    return self.refuse_caller(key, &reason);
                }
            }
        }
    }

    /// The next piece of what the application knows besides clients.
    fn send_state(&mut self) -> io::Result<()> {
        let now = self.context.now;
        let (Progress::Still(transfer), Some(control)) =
            (&mut self.handover.progress, self.system.control())
        else {
            return Ok(());
        };
        let rest = transfer.state.get(transfer.sent_state_bytes..);
        let rest = rest.unwrap_or_default();
        let piece = rest.get(..PACKET_BYTES).unwrap_or(rest);
        let len = piece.len();
        control.send(transfer.key, &Message::State(piece.to_vec()), &[])?;
        transfer.sent_state_bytes += len;
        transfer.deadline = (now + STALL).min(transfer.last_deadline);
        Ok(())
    }

    /// The next message: connections as long as there are some, then `End`.
    fn send_links(&mut self) -> io::Result<()> {
        let now = self.context.now;
        let (Progress::Still(transfer), Some(control)) =
            (&mut self.handover.progress, self.system.control())
        else {
            return Ok(());
        };
        let (mut records, mut ids, mut streams) = (Vec::new(), Vec::new(), Vec::new());
        let (mut byte_count, mut packed_count) = (0, transfer.packed_count);
        while let Some(id) = transfer.order.get(packed_count)
            && records.len() < MAX_SOCKETS
            && byte_count < PACKET_BYTES
        {
            packed_count += 1;
            let Some(link) = self.links.table.get(*id) else {
                continue;
            };
            let record = link_state::hand_over(link, &self.app, now);
            // One that would not fit into a message stays, and is told to go.
            if let Some(record) = record.filter(|record| record.len() <= MAX_RECORD_BYTES) {
                byte_count += record.len();
                records.push(record);
                ids.push(*id);
                streams.push(link.transport.socket());
            }
        }
        let is_last = records.is_empty();
        let count = transfer.sent.len() as u64;
        let message = match is_last {
            true => Message::End { count },
            false => Message::Links(records),
        };
        control.send(transfer.key, &message, &streams)?;
        transfer.packed_count = packed_count;
        transfer.sent.extend(ids);
        transfer.is_complete = is_last;
        transfer.deadline = (now + STALL).min(transfer.last_deadline);
        Ok(())
    }

    // ---- the end

    /// The successor says that it has all connections.
    pub(super) fn confirm(&mut self, key: usize, count: u64) -> Result<(), String> {
        let Progress::Still(transfer) = &self.handover.progress else {
            return Err("nothing was handed over yet".to_owned());
        };
        if !transfer.is_complete || transfer.sent.len() as u64 != count {
            let sent_count = transfer.sent.len();
            return Err(format!("it has {count} connections, not {sent_count}"));
        }
        let pid = self.handover.caller_mut(key).map_or(0, |caller| caller.pid);
        // As long as it counts what this process says.
        self.name_main_process(pid)?;
        let sent = match self.system.control() {
            Some(control) => control.send(key, &Message::Commit, &[]),
            None => Ok(()),
        };
        if let Err(error) = sent {
            self.name_main_process(std::process::id())?;
            return Err(reason_of(&error));
        }
        self.commit(pid);
        Ok(())
    }

    /// Tells the service manager whom it has to look after.
    fn name_main_process(&mut self, pid: u32) -> Result<(), String> {
        let Some(notifier) = &mut self.manager.notifier else {
            return Ok(());
        };
        if pid == 0 {
            return Err(
                "its process has no number here, which the service manager wants".to_owned(),
            );
        }
        let named = notifier.tell_now(&[Notice::MainProcess(pid)]);
        named.map_err(|error| format!("the service manager does not listen: {}", plain(&error)))
    }

    /// Lets go of what is the successor's now, and has the rest told to go.
    fn commit(&mut self, pid: u32) {
        let progress = std::mem::replace(&mut self.handover.progress, Progress::None);
        let Progress::Still(transfer) = progress else {
            return;
        };
        let count = transfer.sent.len();
        for id in transfer.sent {
            self.let_go(id);
        }
        if let Some(control) = self.system.control() {
            control.release_listeners();
            self.handover
                .callers
                .drain(..)
                .for_each(|caller| control.hang_up(caller.key));
        }
        let (time, rest) = (self.system.now() - transfer.began, self.links.table.len());
        info!("{count} connections handed over to process {pid} within {time:?}; {rest} stay");
        self.wake_all();
        self.stop_after_handover();
    }

    fn let_go(&mut self, id: ConnId) {
        let slot = id.slot as usize;
        let Some(mut link) = self.links.take_out(slot, &mut self.timers) else {
            return;
        };
        self.app.let_go(id, link.peer, self.context.now);
        if let Some(control) = self.system.control() {
            control.unwatch(link.transport.below());
        }
    }

    /// Goes on as if nothing had been asked.
    pub(super) fn go_on_alone(&mut self) {
        let now = self.context.now;
        let progress = std::mem::replace(&mut self.handover.progress, Progress::None);
        if let Progress::Still(transfer) = progress {
            let still_time = self.system.now() - transfer.began;
            self.handover.not_before = now + still_time * 4;
        }
        self.wake_all();
    }

    /// A takeover that is under way comes to nothing.
    pub(super) fn cancel_handover(&mut self, reason: &str) {
        if let Some(key) = self.handover.active_key() {
            self.refuse_caller(key, reason);
        }
    }

    /// The kernel may have told of anybody meanwhile, and will not tell again.
    fn wake_all(&mut self) {
        self.acceptor.put_off();
        for slot in 0..self.links.table.slot_count() {
            self.links.put_on_backlog(slot);
            if let Some(link) = self.links.table.slot_mut(slot)
                && link.writing == Writing::Blocked
            {
                let id = link.id;
                self.links.touch(id);
            }
        }
    }

    // ---- what holds meanwhile

    /// How many bytes may be read from a connection now; `None`: none at all.
    pub(super) fn readable_bytes(&self, slot: usize) -> Option<usize> {
        if !self.handover.is_pausing() {
            return Some(usize::MAX);
        }
        let link = self.links.table.slot(slot)?;
        if link.transport.is_encrypted() {
            return None;
        }
        let connection = &link.connection;
        match connection.wanted_bytes() {
            Some(wanted) => Some(wanted),
            None if link.expects_proxy_header() => None,
            // What comes next belongs to what the application waits for.
            None if connection.is_open() && !self.app.is_quiescent(link.id) => {
                Some(LEAST_FRAME_BYTES)
            }
            None if connection.is_open() || connection.is_quiescent() => None,
            None => Some(usize::MAX),
        }
    }

    /// A turn in which nothing happens on any connection.
    pub(super) fn handle_while_still(&mut self, readiness: Readiness) {
        match readiness {
            Readiness::ControlListener => self.accept_callers(),
            Readiness::Caller(key) => self.handle_caller(key),
            Readiness::Signal(signal) => self.handle_signal(signal),
            // All of them are looked at afterwards.
            Readiness::Listener(_) | Readiness::Link { .. } => {}
            other => self.missed.push(other),
        }
    }
}

/// How often it is looked whether laggards have become quiescent.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The same while nobody is read.
const PAUSED_LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// Longest time that nobody is read before all is handed over, or goes on for the time being.
const PAUSE: Duration = Duration::from_millis(250);

/// How long a successor may let the loop stand still without taking anything.
const STALL: Duration = Duration::from_secs(1);

/// How long the loop may stand still in all, and in addition for each connection. Measured without
/// optimisation on a busy machine: 0.12 ms each, of which most is the successor's.
const STILL_LIMIT: Duration = Duration::from_secs(5);

const STILL_LIMIT_PER_LINK: Duration = Duration::from_micros(50);

/// The shortest frame.
const LEAST_FRAME_BYTES: usize = 2;

/// From this size on a message gets no more connections, in bytes.
const PACKET_BYTES: usize = 32 << 10;

/// Longest record of one connection: most of it is the window of 32 KiB that compression keeps.
const MAX_RECORD_BYTES: usize = 96 << 10;

const _: () = assert!(
    PACKET_BYTES + MAX_RECORD_BYTES + 8 * MAX_SOCKETS <= super::control_message::MAX_MESSAGE_BYTES
);

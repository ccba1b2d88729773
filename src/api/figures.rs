//! What the server knows of itself at one moment, by value: gathered when somebody asks.

use super::readiness::NotReady;
use crate::base::{Histogram, Tally};
use crate::protocol::traffic::Traffic;
use crate::registry::mailbox::ReplayFigures;

/// What the loop counts.
#[derive(Clone, Debug)]
pub struct LoopFigures {
    /// Why nobody new should be sent here; empty: they may.
    pub unready: Vec<NotReady>,
    /// Connections that have been accepted since the start.
    pub accepted_count: u64,
    /// Connections that have not become clients.
    pub pending_count: usize,
    /// Most of them (`maxPending`).
    pub max_pending: usize,
    /// Frames, messages and bytes.
    pub traffic: Traffic,
    /// Messages to others, by whom they were for.
    pub deliveries: Deliveries,
    /// Clients that have gone.
    pub closings: Tally<Reason>,
    /// Connections that were refused before a request had come, for want of room.
    pub refusals: Tally<Reason>,
    /// TLS handshakes that have come to nothing.
    pub failed_handshake_count: u64,
    /// What waits to be sent.
    pub queues: QueueFigures,
    /// Memory held for connections.
    pub memory: MemoryFigures,
    /// How long turns of the loop take, waiting not counted, in nanoseconds.
    pub turn_durations: Histogram,
    /// Connections that a turn has left with more to read.
    pub backlogs: Histogram,
    /// The certificates in force.
    pub certificates: Vec<CertificateFigures>,
    /// Certificates' files that the last look could not take up.
    pub failed_certificate_count: usize,
    /// What the system says of the process; `None` where it says nothing.
    pub process: Option<ProcessFigures>,
}

/// What the application counts.
#[derive(Clone, Debug)]
pub struct AppFigures {
    /// Clients that are open.
    pub open: KindCounts,
    /// Most of them (`maxClients`).
    pub max_clients: usize,
    /// Users who have a tab.
    pub user_count: usize,
    /// Clients that have been let in since the start.
    pub opened: KindCounts,
    /// Requests that were refused, and clients that were turned away.
    pub refusals: Tally<Reason>,
    /// Responses to pushes, by status.
    pub push_answers: Tally<u16>,
    /// What is kept for tabs that may come back.
    pub replay: ReplayFigures,
    /// Other servers; `None`: this one is alone.
    pub backplane: Option<BackplaneFigures>,
}

/// Several servers as one.
#[derive(Clone, Debug)]
pub struct BackplaneFigures {
    /// Whether others can be reached.
    pub is_connected: bool,
    /// This server.
    pub own: NodeFigures,
    /// Those that are heard of.
    pub peers: Vec<NodeFigures>,
    /// Channels that are subscribed to.
    pub channel_count: usize,
    /// What Redis has not confirmed, in bytes.
    pub queue_bytes: usize,
    /// Most of it (`backplaneQueue`).
    pub queue_limit_bytes: usize,
    /// Envelopes given to Redis.
    pub published_count: u64,
    /// Envelopes of others that have counted.
    pub received_count: u64,
    /// Messages that Redis has not got.
    pub lost_count: u64,
    /// Receipts for others.
    pub receipts_sent_count: u64,
    /// Receipts of others.
    pub receipts_received_count: u64,
    /// Messages whose receipts are awaited.
    pub awaited_count: usize,
    /// Messages whose receipts were not all there in time.
    pub late_count: u64,
    /// Envelopes that were not signed as they should be.
    pub forged_count: u64,
    /// Envelopes that were heard before.
    pub repeated_count: u64,
    /// Envelopes of another time.
    pub untimely_count: u64,
    /// Envelopes that were longer than the longest message here.
    pub oversized_count: u64,
    /// Envelopes whose senders have not proven that they are there.
    pub unproven_count: u64,
    /// How often pages were told that something may be missing.
    pub gap_count: u64,
    /// How often the subscription was lost.
    pub outage_count: u64,
    /// From publishing to Redis's answer, in nanoseconds.
    pub round_trips: Histogram,
}

/// One of several servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeFigures {
    /// Its number; 0: it has none yet.
    pub number: u16,
    /// Clients that it has.
    pub client_count: u64,
    /// How long it has been running.
    pub uptime_seconds: u64,
    /// How long ago it was heard.
    pub silent_seconds: u64,
}

/// Numbers of web clients and scripts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// Web clients.
    pub web: u64,
    /// Scripts.
    pub php: u64,
}

/// Why somebody was refused or a client has gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The status of the HTTP response, or the code of the close frame; 1006 where there was none.
    pub code: u16,
    /// In the words of the log and of the close frame.
    pub text: String,
}

impl Reason {
    /// With a full stop or without one, it is the same reason.
    pub fn new(code: u16, text: &str) -> Self {
        let text = text.trim_end_matches('.').to_owned();
        Self { code, text }
    }

    /// Counts one of them.
    pub fn count(tally: &mut Tally<Self>, code: u16, text: &str) {
        let text = text.trim_end_matches('.');
        match tally.count_mut(|known| known.code == code && known.text == text) {
            Some(count) => *count += 1,
            None => tally.add_new(Self::new(code, text)),
        }
    }
}

/// What became of messages to others, in queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// Of those to one receiver.
    pub to_one: QueueCounts,
    /// Of those to many.
    pub to_many: QueueCounts,
}

/// Queues that took a message, and queues that were full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// They took it.
    pub queued: u64,
    /// They were full, and their connections were closed.
    pub full: u64,
}

/// What waits to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueFigures {
    /// In all queues together, in bytes.
    pub total_bytes: usize,
    /// In the longest one.
    pub longest_bytes: usize,
    /// Most in one (`maxQueue`).
    pub limit_bytes: usize,
}

/// Memory held for connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryFigures {
    /// What is held, spare buffers included, in bytes.
    pub held_bytes: usize,
    /// Most of it (`memoryLimit`).
    pub limit_bytes: usize,
}

/// One certificate in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFigures {
    /// Its file.
    pub file: String,
    /// The first name that it is for.
    pub name: String,
    /// Its end, in seconds since 1970.
    pub not_after: u64,
}

/// What the system says of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessFigures {
    /// Processor time, in seconds.
    pub cpu_seconds: f64,
    /// Memory in RAM.
    pub resident_bytes: u64,
    /// Memory in all.
    pub virtual_bytes: u64,
    /// Open files and sockets.
    pub open_files: u64,
    /// Most of them.
    pub max_files: u64,
    /// When it was started, in seconds since 1970.
    pub start_time: f64,
}

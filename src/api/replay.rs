//! What is kept for tabs that may come back, as metrics tell it (protocol.md §9).

use super::exposition::{Exposition, Metric, counter, gauge};
use crate::registry::mailbox::{Gap, ReplayFigures};

pub(super) fn write_metrics(out: &mut Exposition, figures: &ReplayFigures) {
    let mut tabs = out.begin(&TABS);
    tabs.sample(&["connected"], figures.connected);
    tabs.sample(&["away"], figures.away);
    out.single(&STREAMS, figures.streams);
    out.single(&MESSAGES, figures.messages);
    out.single(&BYTES, figures.bytes);
    out.single(&LIMIT_BYTES, figures.limit_bytes);
    let mut resumes = out.begin(&RESUMES);
    resumes.sample(&["filled"], figures.counts.filled);
    for (gap, count) in Gap::ALL.iter().zip(figures.counts.gaps) {
        resumes.sample(&[gap.name()], count);
    }
    out.single(&REPLAYED, figures.counts.replayed);
    out.single(&DROPPED, figures.counts.dropped);
}

pub(super) static TABS: Metric = gauge(
    "websock_replay_tabs",
    "state",
    "Tabs that can come back and miss nothing.",
);
pub(super) static STREAMS: Metric = gauge(
    "websock_replay_streams",
    "",
    "Streams in which messages are kept: of tabs, of users, and of everybody.",
);
pub(super) static MESSAGES: Metric =
    gauge("websock_replay_messages", "", "Messages that are kept.");
pub(super) static BYTES: Metric = gauge(
    "websock_replay_bytes",
    "",
    "Memory for messages that are kept, and for the tabs that they are kept for.",
);
pub(super) static LIMIT_BYTES: Metric = gauge(
    "websock_replay_limit_bytes",
    "",
    "Most of it for messages and tabs that are away (replayMemory).",
);
pub(super) static RESUMES: Metric = counter(
    "websock_resumes_total",
    "outcome",
    "Tabs that have come back, by whether they were told what they had missed, or why not.",
);
pub(super) static REPLAYED: Metric = counter(
    "websock_replayed_messages_total",
    "",
    "Messages that were sent to tabs which had missed them.",
);
pub(super) static DROPPED: Metric = counter(
    "websock_replay_dropped_total",
    "",
    "Messages and tabs that were dropped before their time, for want of memory.",
);

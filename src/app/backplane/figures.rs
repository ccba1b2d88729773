//! What is counted, and what is told of the backplane.

use super::backplane::Backplane;
use super::peers::PeerState;
use crate::api::figures::{BackplaneFigures, NodeFigures};
use crate::base::MonotonicTime;

impl Backplane {
    /// What is told of it.
    pub(crate) fn figures(&self, now: MonotonicTime) -> BackplaneFigures {
        let mut peers: Vec<_> = self.peers.present(now).map(|peer| node(&peer)).collect();
        peers.sort_by_key(|peer| peer.number);
        let counts = &self.counts;
        BackplaneFigures {
            is_connected: self.is_connected(),
            own: NodeFigures {
                number: self.claim.number(),
                client_count: self.client_count() as u64,
                uptime_seconds: self.uptime(now).as_secs(),
                silent_seconds: 0,
            },
            peers,
            channel_count: self.channel_count(),
            queue_bytes: self.published_bytes,
            queue_limit_bytes: self.settings.max_queue_bytes,
            published_count: counts.published,
            received_count: counts.received,
            lost_count: counts.lost,
            receipts_sent_count: counts.receipts_sent,
            receipts_received_count: counts.receipts_received,
            awaited_count: self.routed.len(),
            late_count: counts.late,
            forged_count: counts.forged,
            repeated_count: counts.repeated,
            untimely_count: counts.untimely,
            oversized_count: counts.oversized,
            unproven_count: counts.unproven,
            gap_count: counts.gaps,
            outage_count: counts.outages,
            round_trips: counts.round_trips.clone(),
        }
    }
}

fn node(peer: &PeerState) -> NodeFigures {
    NodeFigures {
        number: peer.sender.node,
        client_count: peer.beat.client_count,
        uptime_seconds: peer.beat.uptime_seconds,
        silent_seconds: peer.silence.as_secs(),
    }
}

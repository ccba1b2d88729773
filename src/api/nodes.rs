//! Several servers as one: `GET /nodes`, and what metrics and the status page say of it (protocol.md
//! §11).

use serde_json::{Value, json};

use super::exposition::{Exposition, Metric, counter, gauge, histogram};
use super::figures::{BackplaneFigures, NodeFigures};
use super::response::Response;

/// The answer to `GET /nodes`.
pub fn response(figures: Option<&BackplaneFigures>) -> Response {
    let mut response = match figures {
        Some(figures) => Response::json(200, format!("{}\n", to_json(figures))),
        None => Response::error(404, "this server is alone: backplane is not set"),
    };
    response.add_header("Cache-Control", "no-store");
    response.add_header("Cross-Origin-Resource-Policy", "same-origin");
    response
}

/// What the status page shows.
pub(super) fn to_json(figures: &BackplaneFigures) -> Value {
    let nodes = std::iter::once(&figures.own).chain(&figures.peers);
    let nodes: Vec<Value> = nodes.map(node).collect();
    json!({
        "node": figures.own.number,
        "connected": figures.is_connected,
        "nodes": nodes,
        "channels": figures.channel_count,
        "queue": {
            "bytes": figures.queue_bytes,
            "limit": figures.queue_limit_bytes,
        },
        "published": figures.published_count,
        "received": figures.received_count,
        "lost": figures.lost_count,
        "receipts": {
            "sent": figures.receipts_sent_count,
            "received": figures.receipts_received_count,
            "awaited": figures.awaited_count,
            "late": figures.late_count,
        },
        "refused": refusals(figures).iter().map(|(_, count)| count).sum::<u64>(),
        "gaps": figures.gap_count,
        "outages": figures.outage_count,
        "roundTrips": figures.round_trips.count(),
        "roundTripSeconds": figures.round_trips.sum() as f64 / 1e9,
    })
}

fn node(node: &NodeFigures) -> Value {
    json!({
        "node": node.number,
        "clients": node.client_count,
        "uptime": node.uptime_seconds,
        "silent": node.silent_seconds,
    })
}

fn refusals(figures: &BackplaneFigures) -> [(&'static str, u64); 5] {
    [
        ("signature", figures.forged_count),
        ("repeated", figures.repeated_count),
        ("time", figures.untimely_count),
        ("size", figures.oversized_count),
        ("unproven", figures.unproven_count),
    ]
}

/// Nothing where there is no backplane.
pub(super) fn write_metrics(out: &mut Exposition, figures: Option<&BackplaneFigures>) {
    let Some(figures) = figures else {
        return;
    };
    out.single(&CONNECTED, u8::from(figures.is_connected));
    out.single(&PEERS, figures.peers.len());
    out.single(&CHANNELS, figures.channel_count);
    out.single(&QUEUE_BYTES, figures.queue_bytes);
    out.single(&QUEUE_LIMIT_BYTES, figures.queue_limit_bytes);
    out.single(&PUBLISHED, figures.published_count);
    out.single(&RECEIVED, figures.received_count);
    out.single(&LOST, figures.lost_count);
    let mut receipts = out.begin(&RECEIPTS);
    receipts.sample(&["sent"], figures.receipts_sent_count);
    receipts.sample(&["received"], figures.receipts_received_count);
    out.single(&LATE, figures.late_count);
    let mut refused = out.begin(&REFUSED);
    for (reason, count) in refusals(figures) {
        refused.sample(&[reason], count);
    }
    out.single(&GAPS, figures.gap_count);
    out.single(&OUTAGES, figures.outage_count);
    out.begin(&ROUND_TRIP).histogram(&figures.round_trips, 1e9);
}

pub(super) static CONNECTED: Metric = gauge(
    "websock_backplane_connected",
    "",
    "Whether other servers can be reached; missing without a backplane.",
);
pub(super) static PEERS: Metric = gauge(
    "websock_backplane_peers",
    "",
    "Other servers that are heard of.",
);
pub(super) static CHANNELS: Metric = gauge(
    "websock_backplane_channels",
    "",
    "Channels that are subscribed to.",
);
pub(super) static QUEUE_BYTES: Metric = gauge(
    "websock_backplane_queue_bytes",
    "",
    "Bytes that Redis has not confirmed.",
);
pub(super) static QUEUE_LIMIT_BYTES: Metric = gauge(
    "websock_backplane_queue_limit_bytes",
    "",
    "Most of them (backplaneQueue).",
);
pub(super) static PUBLISHED: Metric = counter(
    "websock_backplane_published_total",
    "",
    "Envelopes given to Redis: messages, receipts, signs of life.",
);
pub(super) static RECEIVED: Metric = counter(
    "websock_backplane_received_total",
    "",
    "Envelopes of other servers that have counted.",
);
pub(super) static LOST: Metric = counter(
    "websock_backplane_lost_total",
    "",
    "Messages for other servers that Redis has not got in time.",
);
pub(super) static RECEIPTS: Metric = counter(
    "websock_backplane_receipts_total",
    "direction",
    "Receipts for other servers, and theirs.",
);
pub(super) static LATE: Metric = counter(
    "websock_backplane_late_total",
    "",
    "Messages whose receipts were not all there within backplaneTimeout.",
);
pub(super) static REFUSED: Metric = counter(
    "websock_backplane_refused_total",
    "reason",
    "Envelopes that did not count: signed wrong, heard before, of another time, longer than \
     maxMessageSize, or of a sender that has not proved that it is there now.",
);
pub(super) static GAPS: Metric = counter(
    "websock_backplane_gaps_total",
    "",
    "How often pages were told that messages of other servers may be missing.",
);
pub(super) static OUTAGES: Metric = counter(
    "websock_backplane_outages_total",
    "",
    "How often the subscription was lost.",
);
pub(super) static ROUND_TRIP: Metric = histogram(
    "websock_backplane_round_trip_seconds",
    "From publishing to Redis's answer.",
);

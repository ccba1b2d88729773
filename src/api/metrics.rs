//! `/metrics`: every metric, and what its samples are taken from.
//!
//! Labels have few values, none of which a peer can choose.

use super::exposition::{Exposition, Metric, counter, gauge, histogram};
use super::figures::{AppFigures, LoopFigures, QueueCounts, Reason};
use super::nodes;
use super::replay;
use super::response::Response;
use crate::base::Tally;
use crate::protocol::frame::Opcode;
use crate::protocol::message::MessageKind;
use crate::protocol::traffic::Counts;

/// What the program was built from.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit, where the build has named one.
pub const COMMIT: &str = match option_env!("WEBSOCK_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// The answer to `/metrics`.
pub fn response(figures: &LoopFigures, app: &AppFigures) -> Response {
    let text = render(figures, app);
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    let mut response = Response::with_body(200, content_type, text.into_bytes().into());
    response.add_header("Cache-Control", "no-store");
    response.add_header("Cross-Origin-Resource-Policy", "same-origin");
    response
}

/// All metrics, in the order of [`METRICS`].
pub fn render(figures: &LoopFigures, app: &AppFigures) -> String {
    let mut out = Exposition::default();
    out.begin(&BUILD_INFO).sample(&[VERSION, COMMIT], 1);
    out.single(&READY, u8::from(figures.unready.is_empty()));
    write_connections(&mut out, figures, app);
    write_traffic(&mut out, figures);
    write_reasons(&mut out, figures, app);
    out.single(&QUEUE_BYTES, figures.queues.total_bytes);
    out.single(&QUEUE_LONGEST_BYTES, figures.queues.longest_bytes);
    out.single(&QUEUE_LIMIT_BYTES, figures.queues.limit_bytes);
    out.single(&MEMORY_BYTES, figures.memory.held_bytes);
    out.single(&MEMORY_LIMIT_BYTES, figures.memory.limit_bytes);
    out.begin(&TURN_DURATION)
        .histogram(&figures.turn_durations, 1e9);
    out.begin(&TURN_BACKLOG).histogram(&figures.backlogs, 1.0);
    write_certificates(&mut out, figures);
    replay::write_metrics(&mut out, &app.replay);
    nodes::write_metrics(&mut out, app.backplane.as_ref());
    write_process(&mut out, figures);
    out.into_text()
}

fn write_connections(out: &mut Exposition, figures: &LoopFigures, app: &AppFigures) {
    let mut connections = out.begin(&CONNECTIONS);
    connections.sample(&["web"], app.open.web);
    connections.sample(&["php"], app.open.php);
    connections.sample(&["pending"], figures.pending_count);
    out.single(&USERS, app.user_count);
    out.single(&CLIENTS_LIMIT, app.max_clients);
    out.single(&PENDING_LIMIT, figures.max_pending);
    out.single(&ACCEPTED, figures.accepted_count);
    let mut opened = out.begin(&OPENED);
    opened.sample(&["web"], app.opened.web);
    opened.sample(&["php"], app.opened.php);
}

fn write_traffic(out: &mut Exposition, figures: &LoopFigures) {
    let traffic = &figures.traffic;
    write_messages(out, &traffic.received, &MESSAGES_RECEIVED, &RECEIVED_BYTES);
    write_messages(out, &traffic.sent, &MESSAGES_SENT, &SENT_BYTES);
    let mut received = out.begin(&FRAMES_RECEIVED);
    for (opcode, name) in OPCODES {
        received.sample(&[name], traffic.received.frames(opcode));
    }
    let mut sent = out.begin(&FRAMES_SENT);
    // Nothing is sent in fragments.
    for (opcode, name) in &OPCODES[1..] {
        sent.sample(&[name], traffic.sent.frames(*opcode));
    }
    out.single(&NETWORK_RECEIVED_BYTES, traffic.received_bytes);
    out.single(&NETWORK_SENT_BYTES, traffic.sent_bytes);
    let mut deliveries = out.begin(&DELIVERIES);
    let of = [
        ("one", figures.deliveries.to_one),
        ("many", figures.deliveries.to_many),
    ];
    for (to, QueueCounts { queued, full }) in of {
        deliveries.sample(&[to, "queued"], queued);
        deliveries.sample(&[to, "full"], full);
    }
}

fn write_messages(
    out: &mut Exposition,
    counts: &Counts,
    messages: &'static Metric,
    bytes: &'static Metric,
) {
    let kinds = [(MessageKind::Text, "text"), (MessageKind::Binary, "binary")];
    let mut family = out.begin(messages);
    for (kind, name) in kinds {
        family.sample(&[name], counts.messages(kind));
    }
    let mut family = out.begin(bytes);
    for (kind, name) in kinds {
        family.sample(&[name], counts.message_bytes(kind));
    }
}

fn write_reasons(out: &mut Exposition, figures: &LoopFigures, app: &AppFigures) {
    write_tallies(out, &REFUSALS, &[&app.refusals, &figures.refusals]);
    write_tallies(out, &CLOSINGS, &[&figures.closings]);
    let mut answers = out.begin(&PUSH_RESPONSES);
    for (status, count) in app.push_answers.iter() {
        answers.sample(&[&status.to_string()], count);
    }
    out.single(&TLS_FAILURES, figures.failed_handshake_count);
}

fn write_tallies(out: &mut Exposition, metric: &'static Metric, tallies: &[&Tally<Reason>]) {
    let mut family = out.begin(metric);
    for (reason, count) in tallies.iter().flat_map(|tally| tally.iter()) {
        family.sample(&[&reason.code.to_string(), &reason.text], count);
    }
    let overflow = tallies.iter().map(|tally| tally.overflow()).sum::<u64>();
    family.sample(&["", "other"], overflow);
}

fn write_certificates(out: &mut Exposition, figures: &LoopFigures) {
    let mut ends = out.begin(&CERTIFICATE_END);
    let mut written: Vec<(&str, &str)> = Vec::new();
    for certificate in &figures.certificates {
        let labels = (certificate.file.as_str(), certificate.name.as_str());
        // The format allows each combination once.
        if !written.contains(&labels) {
            ends.sample(&[labels.0, labels.1], certificate.not_after);
            written.push(labels);
        }
    }
    out.single(&CERTIFICATE_FAILURES, figures.failed_certificate_count);
}

fn write_process(out: &mut Exposition, figures: &LoopFigures) {
    let Some(process) = figures.process else {
        return;
    };
    out.single(&PROCESS_CPU, process.cpu_seconds);
    out.single(&PROCESS_RESIDENT, process.resident_bytes);
    out.single(&PROCESS_VIRTUAL, process.virtual_bytes);
    out.single(&PROCESS_OPEN_FILES, process.open_files);
    out.single(&PROCESS_MAX_FILES, process.max_files);
    out.single(&PROCESS_START, process.start_time);
}

const OPCODES: [(Opcode, &str); 6] = [
    (Opcode::Continuation, "continuation"),
    (Opcode::Text, "text"),
    (Opcode::Binary, "binary"),
    (Opcode::Close, "close"),
    (Opcode::Ping, "ping"),
    (Opcode::Pong, "pong"),
];

static BUILD_INFO: Metric = gauge(
    "websock_build_info",
    "version commit",
    "Always 1; the labels say what runs.",
);
static READY: Metric = gauge("websock_ready", "", "Whether /ready says 200.");
static CONNECTIONS: Metric = gauge(
    "websock_connections",
    "kind",
    "Open connections: web clients, scripts (php), and those that have not become clients.",
);
static USERS: Metric = gauge("websock_users", "", "Users who have a tab.");
static CLIENTS_LIMIT: Metric = gauge(
    "websock_clients_limit",
    "",
    "Most web clients and scripts together (maxClients).",
);
static PENDING_LIMIT: Metric = gauge(
    "websock_pending_limit",
    "",
    "Most connections that have not become clients (maxPending).",
);
static ACCEPTED: Metric = counter(
    "websock_connections_accepted_total",
    "",
    "Connections accepted, of whatever came of them.",
);
static OPENED: Metric = counter("websock_clients_opened_total", "kind", "Clients let in.");
static MESSAGES_RECEIVED: Metric = counter(
    "websock_messages_received_total",
    "opcode",
    "Whole messages from clients.",
);
static RECEIVED_BYTES: Metric = counter(
    "websock_messages_received_bytes_total",
    "opcode",
    "Payload of these messages, uncompressed.",
);
static MESSAGES_SENT: Metric = counter(
    "websock_messages_sent_total",
    "opcode",
    "Messages queued for clients.",
);
static SENT_BYTES: Metric = counter(
    "websock_messages_sent_bytes_total",
    "opcode",
    "Payload of these messages, uncompressed.",
);
static FRAMES_RECEIVED: Metric = counter(
    "websock_frames_received_total",
    "opcode",
    "Whole frames from clients that were open, and close frames.",
);
static FRAMES_SENT: Metric = counter(
    "websock_frames_sent_total",
    "opcode",
    "Frames queued for clients.",
);
static NETWORK_RECEIVED_BYTES: Metric = counter(
    "websock_network_received_bytes_total",
    "",
    "Bytes read, frames and HTTP, decrypted.",
);
static NETWORK_SENT_BYTES: Metric = counter(
    "websock_network_sent_bytes_total",
    "",
    "Bytes written, frames and HTTP, before encryption.",
);
static DELIVERIES: Metric = counter(
    "websock_deliveries_total",
    "to result",
    "Messages to others, by queue: to one receiver or to many; queued, or the queue was full.",
);
static REFUSALS: Metric = counter(
    "websock_refusals_total",
    "code reason",
    "Requests and connections refused, and clients turned away, by status or close code.",
);
static CLOSINGS: Metric = counter(
    "websock_closings_total",
    "code reason",
    "Clients that have gone, by close code; 1006 without a close frame.",
);
static PUSH_RESPONSES: Metric = counter(
    "websock_push_responses_total",
    "status",
    "Responses to pushes over HTTP.",
);
static TLS_FAILURES: Metric = counter(
    "websock_tls_handshake_failures_total",
    "",
    "TLS handshakes that have come to nothing.",
);
static QUEUE_BYTES: Metric = gauge(
    "websock_queue_bytes",
    "",
    "Bytes that wait to be sent, in all queues.",
);
static QUEUE_LONGEST_BYTES: Metric = gauge(
    "websock_queue_longest_bytes",
    "",
    "Bytes that wait in the longest queue.",
);
static QUEUE_LIMIT_BYTES: Metric = gauge(
    "websock_queue_limit_bytes",
    "",
    "Most bytes in one queue (maxQueue).",
);
static MEMORY_BYTES: Metric = gauge(
    "websock_memory_bytes",
    "",
    "Memory held for connections, spare buffers included.",
);
static MEMORY_LIMIT_BYTES: Metric = gauge(
    "websock_memory_limit_bytes",
    "",
    "Most of it (memoryLimit).",
);
static TURN_DURATION: Metric = histogram(
    "websock_turn_duration_seconds",
    "How long a turn of the loop has taken, waiting not counted.",
);
static TURN_BACKLOG: Metric = histogram(
    "websock_turn_backlog_connections",
    "Connections with more to read than their share, at the end of a turn.",
);
static CERTIFICATE_END: Metric = gauge(
    "websock_certificate_not_after_timestamp_seconds",
    "file name",
    "When a certificate in force ends.",
);
static CERTIFICATE_FAILURES: Metric = gauge(
    "websock_certificate_failures",
    "",
    "Certificates' files that the last look could not take up.",
);
static PROCESS_CPU: Metric = counter(
    "process_cpu_seconds_total",
    "",
    "Processor time of the process.",
);
static PROCESS_RESIDENT: Metric = gauge(
    "process_resident_memory_bytes",
    "",
    "Memory of the process in RAM.",
);
static PROCESS_VIRTUAL: Metric = gauge(
    "process_virtual_memory_bytes",
    "",
    "Memory of the process in all.",
);
static PROCESS_OPEN_FILES: Metric = gauge("process_open_fds", "", "Open files and sockets.");
static PROCESS_MAX_FILES: Metric = gauge("process_max_fds", "", "Most open files and sockets.");
static PROCESS_START: Metric = gauge(
    "process_start_time_seconds",
    "",
    "When the process was started.",
);

/// Every metric, in the order in which they are written.
pub static METRICS: &[&Metric] = &[
    &BUILD_INFO,
    &READY,
    &CONNECTIONS,
    &USERS,
    &CLIENTS_LIMIT,
    &PENDING_LIMIT,
    &ACCEPTED,
    &OPENED,
    &MESSAGES_RECEIVED,
    &RECEIVED_BYTES,
    &MESSAGES_SENT,
    &SENT_BYTES,
    &FRAMES_RECEIVED,
    &FRAMES_SENT,
    &NETWORK_RECEIVED_BYTES,
    &NETWORK_SENT_BYTES,
    &DELIVERIES,
    &REFUSALS,
    &CLOSINGS,
    &PUSH_RESPONSES,
    &TLS_FAILURES,
    &QUEUE_BYTES,
    &QUEUE_LONGEST_BYTES,
    &QUEUE_LIMIT_BYTES,
    &MEMORY_BYTES,
    &MEMORY_LIMIT_BYTES,
    &TURN_DURATION,
    &TURN_BACKLOG,
    &CERTIFICATE_END,
    &CERTIFICATE_FAILURES,
    &replay::TABS,
    &replay::STREAMS,
    &replay::MESSAGES,
    &replay::BYTES,
    &replay::LIMIT_BYTES,
    &replay::RESUMES,
    &replay::REPLAYED,
    &replay::DROPPED,
    &nodes::CONNECTED,
    &nodes::PEERS,
    &nodes::CHANNELS,
    &nodes::QUEUE_BYTES,
    &nodes::QUEUE_LIMIT_BYTES,
    &nodes::PUBLISHED,
    &nodes::RECEIVED,
    &nodes::LOST,
    &nodes::RECEIPTS,
    &nodes::LATE,
    &nodes::REFUSED,
    &nodes::GAPS,
    &nodes::OUTAGES,
    &nodes::ROUND_TRIP,
    &PROCESS_CPU,
    &PROCESS_RESIDENT,
    &PROCESS_VIRTUAL,
    &PROCESS_OPEN_FILES,
    &PROCESS_MAX_FILES,
    &PROCESS_START,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::figures::{
        BackplaneFigures, CertificateFigures, Deliveries, KindCounts, NodeFigures, ProcessFigures,
    };
    use crate::base::Histogram;

    fn figures() -> LoopFigures {
        LoopFigures {
            unready: Vec::new(),
            accepted_count: 9,
            pending_count: 1,
            max_pending: 10,
            traffic: Default::default(),
            deliveries: Deliveries::default(),
            closings: Tally::of([Reason::new(1000, "quit")]),
            refusals: Tally::default(),
            failed_handshake_count: 0,
            queues: Default::default(),
            memory: Default::default(),
            turn_durations: Histogram::new(&[1_000]),
            backlogs: Histogram::new(&[0]),
            certificates: vec![
                CertificateFigures {
                    file: "/a.pem".to_owned(),
                    name: "a".to_owned(),
                    not_after: 1_700_000_000,
                };
                2
            ],
            failed_certificate_count: 0,
            process: Some(ProcessFigures::default()),
        }
    }

    fn app_figures() -> AppFigures {
        AppFigures {
            open: KindCounts::default(),
            max_clients: 5,
            user_count: 0,
            opened: KindCounts { web: 3, php: 0 },
            refusals: Tally::of([Reason::new(403, "The origin is \"not\" allowed.")]),
            push_answers: Tally::of([200]),
            replay: Default::default(),
            backplane: Some(BackplaneFigures {
                is_connected: true,
                own: NodeFigures {
                    number: 7,
                    client_count: 3,
                    uptime_seconds: 60,
                    silent_seconds: 0,
                },
                peers: Vec::new(),
                channel_count: 2,
                queue_bytes: 0,
                queue_limit_bytes: 1 << 20,
                published_count: 5,
                received_count: 4,
                lost_count: 0,
                receipts_sent_count: 1,
                receipts_received_count: 2,
                awaited_count: 0,
                late_count: 0,
                forged_count: 6,
                repeated_count: 0,
                untimely_count: 0,
                oversized_count: 0,
                unproven_count: 0,
                gap_count: 0,
                outage_count: 0,
                round_trips: Histogram::new(&[1_000]),
            }),
        }
    }

    #[test]
    fn every_metric_is_written_once_with_its_help_and_labels() {
        let text = render(&figures(), &app_figures());
        let names: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        let all: Vec<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names, all);
        let mut samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let has = |line: &str| assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        has("websock_ready 1");
        has("websock_backplane_refused_total{reason=\"signature\"} 6");
        has("websock_connections{kind=\"pending\"} 1");
        has("websock_closings_total{code=\"1000\",reason=\"quit\"} 0");
        has("websock_refusals_total{code=\"403\",reason=\"The origin is \\\"not\\\" allowed\"} 0");
        let end = "websock_certificate_not_after_timestamp_seconds";
        has(&format!("{end}{{file=\"/a.pem\",name=\"a\"}} 1700000000"));
        samples.sort_unstable();
        let count = samples.len();
        samples.dedup();
        assert_eq!(samples.len(), count, "a sample is there twice");
    }
}

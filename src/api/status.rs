//! `/status`: the page's data, as JSON.

use std::cmp::Reverse;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::figures::{AppFigures, CertificateFigures, KindCounts, LoopFigures, Reason};
use super::metrics::{COMMIT, VERSION};
use super::nodes;
use super::readiness::NotReady;
use super::response::Response;
use crate::base::Tally;
use crate::protocol::frame::Opcode;
use crate::protocol::message::MessageKind;
use crate::protocol::traffic::Counts;

/// Who is connected, as far as the page shows it.
#[derive(Debug, Default)]
pub struct Audience {
    /// Those who have most connections.
    pub addresses: Vec<Group>,
    /// How many addresses there are.
    pub address_count: usize,
    /// Those who have most tabs; empty where nobody is signed in.
    pub users: Vec<Group>,
    /// How many users there are.
    pub user_count: usize,
    /// Some of those who are asked for.
    pub clients: Vec<ClientFigures>,
    /// How many they are in all.
    pub client_count: usize,
}

/// Clients that have something in common.
#[derive(Debug)]
pub struct Group {
    /// What they have in common.
    pub name: String,
    /// How many they are.
    pub count: usize,
    /// Bytes that wait to be sent to them.
    pub queue_bytes: usize,
}

/// One client.
#[derive(Debug)]
pub struct ClientFigures {
    /// Its name for the button that closes it.
    pub id: String,
    /// Web client (`web`) or script (`php`).
    pub kind: &'static str,
    /// Where it comes from.
    pub address: String,
    /// Who it is; empty if nobody is known.
    pub user: String,
    /// The beginning of its uuid: enough to find it in the log, too little to send to it.
    pub uuid: String,
    /// Bytes that wait to be sent to it.
    pub queue_bytes: usize,
}

/// Which clients are listed one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    address: Option<String>,
    user: Option<String>,
}

impl Filter {
    /// As the query has it: `address=ADDRESS` and `user=USER`, percent-encoded. What is empty, or not
    /// UTF-8, lets all pass.
    pub fn of(query: &str) -> Self {
        let value = |name: &str| {
            let mut fields = query.split('&').filter_map(|field| field.split_once('='));
            let (_, value) = fields.find(|(known, _)| *known == name)?;
            let value = percent_decode_str(value).decode_utf8().ok()?;
            (!value.is_empty()).then(|| value.into_owned())
        };
        Self {
            address: value("address"),
            user: value("user"),
        }
    }

    /// Whether a client of this address and user is meant.
    pub fn takes(&self, address: impl FnOnce() -> String, user: &str) -> bool {
        self.user.as_deref().is_none_or(|wanted| wanted == user)
            && self
                .address
                .as_deref()
                .is_none_or(|wanted| wanted == address())
    }
}

/// What only the status page shows.
#[derive(Debug)]
pub struct Extras<'a> {
    /// Who is connected.
    pub audience: &'a Audience,
    /// The last warnings and errors of the log, the oldest first.
    pub log: &'a [String],
    /// Whether the page may close connections: `pushToken` is set.
    pub can_close: bool,
}

/// The answer to `/status.json`.
pub fn response(figures: &LoopFigures, app: &AppFigures, extras: &Extras<'_>) -> Response {
    let text = to_json(figures, app, extras).to_string();
    let mut response = Response::json(200, text);
    response.add_header("Cache-Control", "no-store");
    response.add_header("Cross-Origin-Resource-Policy", "same-origin");
    response
}

fn to_json(figures: &LoopFigures, app: &AppFigures, extras: &Extras<'_>) -> Value {
    let causes = figures.unready.iter().copied().map(NotReady::reason);
    let (traffic, deliveries) = (&figures.traffic, &figures.deliveries);
    let answers = app.push_answers.iter();
    json!({
        "version": VERSION,
        "commit": COMMIT,
        "notReady": causes.collect::<Vec<_>>(),
        "canClose": extras.can_close,
        "open": kinds(app.open),
        "opened": kinds(app.opened),
        "pending": figures.pending_count,
        "maxClients": app.max_clients,
        "maxPending": figures.max_pending,
        "accepted": figures.accepted_count,
        "received": direction(&traffic.received, traffic.received_bytes),
        "sent": direction(&traffic.sent, traffic.sent_bytes),
        "deliveries": {
            "queued": deliveries.to_one.queued + deliveries.to_many.queued,
            "full": deliveries.to_one.full + deliveries.to_many.full,
        },
        "queues": {
            "bytes": figures.queues.total_bytes,
            "longest": figures.queues.longest_bytes,
            "limit": figures.queues.limit_bytes,
        },
        "memory": {
            "bytes": figures.memory.held_bytes,
            "limit": figures.memory.limit_bytes,
        },
        "turns": figures.turn_durations.count(),
        "turnSeconds": figures.turn_durations.sum() as f64 / 1e9,
        "pushAnswers": answers
            .map(|(status, count)| json!({ "status": status, "count": count }))
            .collect::<Vec<_>>(),
        "refusals": reasons(&[&app.refusals, &figures.refusals]),
        "closings": reasons(&[&figures.closings]),
        "failedHandshakes": figures.failed_handshake_count,
        "certificates": figures.certificates.iter().map(certificate).collect::<Vec<_>>(),
        "failedCertificates": figures.failed_certificate_count,
        "backplane": app.backplane.as_ref().map(nodes::to_json),
        "process": process(figures),
        "audience": audience(extras.audience),
        "log": extras.log,
    })
}

fn kinds(counts: KindCounts) -> Value {
    json!({ "web": counts.web, "php": counts.php })
}

fn direction(counts: &Counts, bytes: u64) -> Value {
    let messages = [MessageKind::Text, MessageKind::Binary];
    let payload = messages.map(|kind| counts.message_bytes(kind));
    json!({
        "text": counts.messages(MessageKind::Text),
        "binary": counts.messages(MessageKind::Binary),
        "payloadBytes": payload.iter().sum::<u64>(),
        "close": counts.frames(Opcode::Close),
        "ping": counts.frames(Opcode::Ping),
        "pong": counts.frames(Opcode::Pong),
        "bytes": bytes,
    })
}

/// Those that have happened, the most frequent first.
fn reasons(tallies: &[&Tally<Reason>]) -> Vec<Value> {
    let all = tallies.iter().flat_map(|tally| tally.iter());
    let mut happened: Vec<_> = all.filter(|(_, count)| *count > 0).collect();
    happened.sort_by_key(|(_, count)| Reverse(*count));
    let reason = |(reason, count): (&Reason, u64)| json!({ "code": reason.code, "reason": reason.text, "count": count });
    happened.into_iter().map(reason).collect()
}

fn certificate(certificate: &CertificateFigures) -> Value {
    json!({
        "file": certificate.file,
        "name": certificate.name,
        "notAfter": certificate.not_after,
    })
}

fn process(figures: &LoopFigures) -> Value {
    figures.process.map_or(Value::Null, |process| {
        json!({
            "cpuSeconds": process.cpu_seconds,
            "residentBytes": process.resident_bytes,
            "openFiles": process.open_files,
            "maxFiles": process.max_files,
            "startTime": process.start_time,
        })
    })
}

fn audience(audience: &Audience) -> Value {
    let groups = |groups: &[Group]| {
        let group = |group: &Group| {
            json!({
                "name": group.name,
                "count": group.count,
                "queueBytes": group.queue_bytes,
            })
        };
        groups.iter().map(group).collect::<Vec<_>>()
    };
    let client = |client: &ClientFigures| {
        json!({
            "id": client.id,
            "kind": client.kind,
            "address": client.address,
            "user": client.user,
            "uuid": client.uuid,
            "queueBytes": client.queue_bytes,
        })
    };
    json!({
        "addresses": groups(&audience.addresses),
        "addressCount": audience.address_count,
        "users": groups(&audience.users),
        "userCount": audience.user_count,
        "clients": audience.clients.iter().map(client).collect::<Vec<_>>(),
        "clientCount": audience.client_count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_read_from_the_query() {
        let wanted = |address: &str, user: &str| Filter {
            address: (!address.is_empty()).then(|| address.to_owned()),
            user: (!user.is_empty()).then(|| user.to_owned()),
        };
        for (query, expected) in [
            ("", wanted("", "")),
            ("address=&user=", wanted("", "")),
            ("address=2001%3Adb8::1", wanted("2001:db8::1", "")),
            (
                "user=J%C3%BCrgen%20%26%25&address=unix",
                wanted("unix", "Jürgen &%"),
            ),
            ("user=%C3", wanted("", "")),
            ("user=100%", wanted("", "100%")),
        ] {
            assert_eq!(Filter::of(query), expected, "{query}");
        }
        let filter = Filter::of("user=a");
        assert!(filter.takes(String::new, "a") && !filter.takes(String::new, "b"));
        let filter = Filter::of("address=unix");
        assert!(filter.takes(|| "unix".to_owned(), "a") && !filter.takes(String::new, "a"));
    }
}

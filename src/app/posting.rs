//! What pages say that read a stream of events: a message in a request of its own (protocol.md 9.10).

use log::warn;

use super::admission::Admission;
use super::commands::Commands;
use super::peer::Peer;
use super::sessions::Sessions;
use crate::api::{Posted, Response};
use crate::base::log_target::REFUSALS;
use crate::protocol::packet::Ident;

/// Has the message in a body handled as if it had come by a WebSocket (protocol.md 9.10). What it
/// causes comes over the stream. `slot`: of the request.
pub(super) fn post(
    body: &[u8],
    (slot, peer): (u32, Peer),
    sessions: &Sessions,
    admission: &mut Admission,
    commands: &mut Commands,
) -> Response {
    let posted = match Posted::parse(body) {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let stream = sessions.clients().find(&posted.uuid, &Ident::None);
    if !sessions.senders.knows(stream, &posted.secret) {
        let peer = peer.name();
        admission.count_refusal(403, WRONG_SECRET);
        warn!(target: REFUSALS, "#{slot} refused: 403 {WRONG_SECRET} ({peer})");
        return Response::failure(403, WRONG_SECRET);
    }
    if posted.message.len() > sessions.max_web_message_bytes() {
        return Response::failure(413, "the message is longer than maxWebMessage");
    }
    if let Some(stream) = stream {
        commands.post(stream, posted.message);
    }
    Response::empty(204)
}

const WRONG_SECRET: &str = "no stream of events has this uuid and secret";

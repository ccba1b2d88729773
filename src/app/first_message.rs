//! Those who bring their token in their first message (protocol.md 8.5).

use log::warn;
use serde_json::Value;

use super::conversation::NEXT_PACKET;
use super::logout::NOT_SIGNED_IN;
use super::newcomers::Arrival;
use super::resource::ClientRequest;
use super::sessions::{Newcomer, Reads, turn_away};
use super::sign_in::Decision;
use super::{App, Commands};
use crate::base::MonotonicTime;
use crate::base::log_target::REFUSALS;
use crate::connection::{ConnId, Message};
use crate::protocol::close_code::CloseCode;
use crate::protocol::http::Request;
use crate::protocol::ident;
use crate::protocol::message::MessageKind;
use crate::registry::ClientKind;

impl App {
    /// The first message of somebody who is to send a token (protocol.md 8.5).
    pub(super) fn handle_first_message(
        &mut self,
        id: ConnId,
        message: &Message<'_>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let Some(arrival) = self.newcomers.take_without_token(id) else {
            return;
        };
        let Ok(request) = Request::parse(&arrival.head) else {
            return debug_assert!(false, "it was parsed before");
        };
        let peer = self.admission.locate(&request, arrival.peer);
        let resource = self.sessions.find_resource(request.path());
        if resource.is_some_and(|resource| self.sessions.speaks_dialogue(resource)) {
            commands.reply(MessageKind::Text, NEXT_PACKET.as_bytes());
        }
        let token = token_of(message).unwrap_or_default();
        let decision = self.sign_in.judge_token(id, &token, now);
        let entry = match (decision, resource) {
            (Decision::Enter(_, entry), Some(resource)) => Some((entry, resource)),
            _ => None,
        };
        let entry = entry.filter(|(entry, _)| {
            let clients = self.sessions.clients();
            !clients.was_logged_out_since(arrival.logout_stamp, &entry.identity())
        });
        let Some((entry, resource)) = entry else {
            self.leave_without_token(&arrival);
            let code = CloseCode::UNAUTHORIZED.as_u16();
            self.admission.count_refusal(code, NOT_SIGNED_IN);
            warn!(
                target: REFUSALS,
                "#{} turned away: {NOT_SIGNED_IN} ({})",
                id.slot,
                peer.name()
            );
            return turn_away(id, NOT_SIGNED_IN, CloseCode::UNAUTHORIZED, commands);
        };
        let ident = ident::of(&request, self.upgrade.max_ident_bytes).unwrap_or_default();
        let newcomer = Newcomer {
            id,
            kind: ClientKind::Web,
            resource,
            ident,
            identity: &entry.identity(),
            ticket: None,
            reads: Reads::Frames,
            request: ClientRequest {
                address: peer.ip,
                head: &request,
            },
        };
        self.enter(&newcomer, entry, now, commands);
    }

    /// Gives the place back of somebody who was let in and has not become a client.
    pub(super) fn leave_without_token(&mut self, arrival: &Arrival) {
        if let Ok(request) = Request::parse(&arrival.head) {
            let peer = self.admission.locate(&request, arrival.peer);
            self.admission.leave(ClientKind::Web, peer);
        }
    }
}

/// The token of `{"opcode":"auth","token":…}`.
fn token_of(message: &Message<'_>) -> Option<String> {
    let bytes = message.as_bytes();
    if bytes.len() > MAX_AUTH_BYTES {
        return None;
    }
    let packet: Value = serde_json::from_slice(bytes).ok()?;
    if packet.get("opcode")?.as_str() != Some("auth") {
        return None;
    }
    packet.get("token")?.as_str().map(str::to_owned)
}

/// Longest packet that brings a token, in bytes.
const MAX_AUTH_BYTES: usize = 8 << 10;

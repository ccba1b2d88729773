//! The end of signed-in clients: a packet that says why, and close code 4401 (protocol.md 8.7, 8.10).

use log::{debug, info};

use super::commands::Commands;
use crate::connection::ConnId;
use crate::protocol::close_code::CloseCode;
use crate::protocol::message::MessageKind;
use crate::protocol::packet::Packet;
use crate::registry::{Clients, Logout, SessionDigest, Speakers};

/// Whom a packet logs out. Where it names both a user and a session, both are.
pub(super) fn of_packet(packet: Packet<'_>) -> Logout<'_> {
    let session = (!packet.session.is_empty()).then(|| SessionDigest::of(&packet.session));
    Logout {
        user: packet.user,
        session,
    }
}

/// Logs out all tabs of a user or a session: those who are connected.
///
/// Whoever asks for a logout comes by here. What was found out about the user before does not count
/// from here on: [`Clients::was_logged_out_since`].
pub(super) fn log_out(
    logout: &Logout<'_>,
    clients: &mut Clients,
    speakers: &Speakers,
    commands: &mut Commands,
) -> Vec<ConnId> {
    let tabs = clients.log_out(logout);
    info!("logout: {} tabs closed", tabs.len());
    sign_off(&tabs, "logged out", speakers, commands);
    tabs
}

/// Ends clients that are not, or no longer, signed in. `speakers` speak the dialogue, so that they
/// get a packet, too.
pub(super) fn sign_off(
    tabs: &[ConnId],
    error: &'static str,
    speakers: &Speakers,
    commands: &mut Commands,
) {
    let packet = close_packet(error);
    let speaking = tabs.iter().filter(|tab| speakers.contains(tab.slot));
    let content = (MessageKind::Text, packet.as_bytes());
    commands.send_to_each(speaking.copied(), content, None);
    for tab in tabs {
        debug!("#{} signed off: {error}", tab.slot);
        commands.close(*tab, CloseCode::UNAUTHORIZED, error);
    }
}

/// protocol.md 1.10, 8.6: what stands in front of the close frame.
pub(super) fn close_packet(error: &str) -> String {
    let text = serde_json::Value::from(error);
    format!(r#"{{"opcode":"close","error":{text}}}"#)
}

/// What those are told who may not come in, or may not stay (protocol.md 8.6, 8.7).
pub(super) const NOT_SIGNED_IN: &str = "not signed in";

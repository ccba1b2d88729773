//! One pushed packet: whom it is for, and what is done about it.

use super::calls::{CallId, Recipients};
use super::commands::Commands;
use super::logout;
use super::sessions::Sessions;
use crate::api::PushError;
use crate::connection::ConnId;
use crate::protocol::message::MessageKind;
use crate::protocol::packet::{Ident, Packet, Verb};
use crate::registry::Audience;

/// What has been done about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It goes to so many queues; the call that was asked for is answered.
    Sent(usize),
    /// It was a logout, which has closed so many tabs.
    LoggedOut(usize),
}

/// Sees to one packet. What becomes of one that is sent answers the call that `ask` makes.
pub(super) fn push(
    from: ConnId,
    text: &str,
    ask: impl FnOnce(Recipients) -> CallId,
    sessions: &mut Sessions,
    commands: &mut Commands,
) -> Result<Pushed, PushError> {
    let packet = Packet::parse(text).map_err(PushError::Malformed)?;
    let content = (MessageKind::Text, text.as_bytes());
    match packet.verb {
        Verb::Feedback if packet.is_to_user() => {
            let mut tabs = sessions.clients().tabs_of(&packet.user).peekable();
            if tabs.peek().is_none() {
                return Err(PushError::NoTab);
            }
            let call = ask(Recipients::User);
            Ok(Pushed::Sent(commands.send_to_each(
                tabs,
                content,
                Some(call),
            )))
        }
        Verb::Feedback => {
            let receiver = find_receiver(&packet, sessions)?;
            let call = ask(Recipients::One);
            commands.send(receiver, content.0, content.1, Some(call));
            Ok(Pushed::Sent(1))
        }
        Verb::Broadcast => {
            let audience = Audience::Members(sessions.speakers().snapshot());
            let count = audience.len();
            commands.broadcast(from, audience, content, Some(ask(Recipients::All)));
            Ok(Pushed::Sent(count))
        }
        Verb::Logout => {
            let logout = logout::of_packet(packet);
            if logout.is_empty() {
                return Err(PushError::NoLogout);
            }
            Ok(Pushed::LoggedOut(sessions.log_out(&logout, commands)))
        }
        Verb::Echo | Verb::Quit | Verb::Uuid | Verb::Unknown => Err(PushError::Opcode),
    }
}

fn find_receiver(packet: &Packet<'_>, sessions: &Sessions) -> Result<ConnId, PushError> {
    if packet.uuid.is_empty() && packet.ident == Ident::None {
        return Err(PushError::NoReceiver);
    }
    let receiver = sessions.clients().find(&packet.uuid, &packet.ident);
    receiver.ok_or(PushError::Nobody)
}

/// The receiver of a feedback.
pub(super) fn receiver_of(text: &str, sessions: &Sessions) -> Result<ConnId, PushError> {
    let packet = Packet::parse(text).map_err(PushError::Malformed)?;
    find_receiver(&packet, sessions)
}

/// The uuid in a JSON object, if a page has it.
pub(super) fn find_page(body: &[u8], sessions: &Sessions) -> Option<String> {
    let packet = Packet::parse(str::from_utf8(body).ok()?).ok()?;
    sessions.clients().find(&packet.uuid, &Ident::None)?;
    Some(packet.uuid.into_owned())
}

//! One pushed packet: whom it is for, and what is done about it.

use super::calls::{CallId, Recipients};
use super::delivery::{Content, Delivery, Listeners, LoggedOut, Receiver, nobody_asks};
use super::logout;
use super::sessions::Sessions;
use crate::api::PushError;
use crate::connection::ConnId;
use crate::protocol::message::MessageKind;
use crate::protocol::packet::{Ident, Packet, Verb};

/// What has been done about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It goes to so many queues; the call that was asked for is answered.
    Sent(usize),
    /// It was a logout, which has closed so many tabs.
    LoggedOut(usize),
}

/// Sees to one packet. What becomes of one that is sent answers the call that `ask` makes, if it
/// makes one.
pub(super) fn push(
    from: ConnId,
    text: &str,
    ask: impl FnOnce(Recipients) -> Option<CallId>,
    delivery: &mut Delivery<'_>,
) -> Result<Pushed, PushError> {
    let packet = Packet::parse(text).map_err(PushError::Malformed)?;
    delivery.content = Content::Object;
    match packet.verb {
        Verb::Feedback => {
            let sent = delivery.feedback(Receiver::of(&packet), text.into(), ask);
            sent.map(Pushed::Sent)
        }
        Verb::Broadcast => {
            let message = (MessageKind::Text, text.as_bytes());
            let sent = delivery.broadcast(from, Listeners::Speakers, message, ask);
            Ok(Pushed::Sent(sent))
        }
        Verb::Logout => {
            let logout = logout::of_packet(packet);
            if logout.is_empty() {
                return Err(PushError::NoLogout);
            }
            Ok(match delivery.log_out(&logout, ask) {
                LoggedOut::All(count) => Pushed::LoggedOut(count),
                LoggedOut::Here(count) => Pushed::Sent(count),
            })
        }
        Verb::Echo | Verb::Quit | Verb::Uuid | Verb::Unknown => Err(PushError::Opcode),
    }
}

/// Sends the report of a demo job to its page.
pub(super) fn report(text: &str, delivery: &mut Delivery<'_>) -> Result<(), PushError> {
    let packet = Packet::parse(text).map_err(PushError::Malformed)?;
    delivery.feedback(Receiver::of(&packet), text.into(), nobody_asks)?;
    Ok(())
}

/// The uuid in a JSON object, if a page has it.
pub(super) fn find_page(body: &[u8], sessions: &Sessions) -> Option<String> {
    let packet = Packet::parse(str::from_utf8(body).ok()?).ok()?;
    sessions.clients().find(&packet.uuid, &Ident::None)?;
    Some(packet.uuid.into_owned())
}

//! The built-in resource on `/`, `/web` and `/php`: packets by their opcode (protocol.md 2.4 to 2.9).

use log::info;

use super::logout;
use super::resource::{Client, Handle, Resource};
use crate::base::log_target::CONNECTIONS;
use crate::connection::Message;
use crate::protocol::close_code::CloseCode;
use crate::protocol::packet::{self, Packet, Verb};

/// Echo, broadcast, feedback and quit.
#[derive(Clone, Copy, Debug)]
pub struct Standard {
    renaming: Renaming,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renaming {
    Allowed,
    Ignored,
}

impl Standard {
    /// The resource for `/web` and `/php`.
    pub const fn new() -> Self {
        Self {
            renaming: Renaming::Ignored,
        }
    }

    /// The resource for `/`, where a client may choose its uuid (protocol.md 2.9).
    pub const fn root() -> Self {
        Self {
            renaming: Renaming::Allowed,
        }
    }
}

impl Default for Standard {
    fn default() -> Self {
        Self::new()
    }
}

impl Resource for Standard {
    fn on_data(&mut self, client: Client, message: &Message<'_>, handle: &mut Handle<'_>) {
        let Message::Text(text) = message else {
            return refuse(client, "not JSON: not UTF-8".into(), handle);
        };
        let parsed = match text.outline() {
            Some(outline) => outline.packet(text.as_bytes()),
            None if packet::is_heartbeat(text.as_str()) => return,
            None => Packet::parse(text.as_str()),
        };
        let packet = match parsed {
            Ok(packet) => packet,
            Err(malformed) => {
                let reason = format!("not JSON: error at byte {}", malformed.position);
                return refuse(client, reason, handle);
            }
        };
        if !handle.allows(client, &packet) {
            return;
        }
        handle.send_objects();
        match packet.verb {
            Verb::Echo => handle.echo(),
            Verb::Broadcast => handle.broadcast(message),
            Verb::Feedback => handle.feedback_of(&packet, *text),
            Verb::Quit => {
                info!(target: CONNECTIONS, "QUIT; Connection closed to socket #{}", client.id.slot);
                handle.close(CloseCode::NORMAL, "quit");
            }
            Verb::Uuid if self.renaming == Renaming::Allowed => {
                if let Err(error) = handle.rename(&packet.message) {
                    info!("uuid of #{} not changed: {error}", client.id.slot);
                }
            }
            Verb::Logout => {
                handle.log_out_all(&logout::of_packet(packet));
            }
            Verb::Uuid | Verb::Unknown => {}
        }
    }
}

/// protocol.md 2.6.
fn refuse(client: Client, reason: String, handle: &mut Handle<'_>) {
    info!("jsonerror closing #{}", client.id.slot);
    handle.close(CloseCode::INVALID_PAYLOAD, reason);
}

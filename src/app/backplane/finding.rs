//! Who has an ident or a chosen name is asked of all that may have it, before a message for it is sent
//! (protocol.md 3.1, 11.3).

use super::backplane::Backplane;
use super::channel::node_of;
use super::envelope::Body;
use super::published::QUEUE_TIME;
use super::routed::{RoutedCall, Stage, Total};
use crate::app::calls::CallId;
use crate::app::commands::Commands;
use crate::base::MonotonicTime;
use crate::registry::ClientUuid;

impl Backplane {
    /// Asks all nodes, as soon as they can be asked.
    pub(super) fn begin_to_find(
        &mut self,
        call: RoutedCall,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        if self.is_connected() {
            let call = self.wait_for(call, now);
            return self.ask_who_has_it(call, now, commands);
        }
        let id = self.next_call();
        self.routed.insert(id, call, (now, QUEUE_TIME));
        self.find_when_connected(id);
    }

    fn find_when_connected(&mut self, id: CallId) {
        if let Some(call) = self.routed.get_mut(id) {
            call.publishing_count = 1;
            self.unconnected.push(id);
        }
    }

    /// Others can be asked by now, unless they are away again.
    pub(super) fn go_on_finding(
        &mut self,
        id: CallId,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        if !self.is_connected() {
            return self.find_when_connected(id);
        }
        if let Some(call) = self.routed.take(id) {
            self.routed.insert(id, call, (now, self.settings.timeout));
            self.ask_who_has_it(id, now, commands);
        }
    }

    fn ask_who_has_it(&mut self, id: CallId, now: MonotonicTime, commands: &mut Commands) {
        let Some(Stage::Find { message, .. }) = self.routed.get_mut(id).map(|call| &call.stage)
        else {
            return;
        };
        let (uuid, ident) = (message.uuid.clone(), message.ident.clone());
        // Whoever has it may have come from the node that it leads to.
        let node = match ClientUuid::from_text(&uuid) {
            ClientUuid::Standard(bits) if node_of(bits) != 0 => Some(node_of(bits)),
            ClientUuid::Standard(_) | ClientUuid::Chosen(_) => None,
        };
        let node = node.map(|node| self.channels.of_node(node));
        let name = (!uuid.is_empty()).then(|| self.channels.of_name(&uuid));
        let ident_channel = self.channels.of_ident(&ident.as_ident());
        for channel in node.into_iter().chain(name).chain(ident_channel) {
            let body = Body::Find {
                call: id.0,
                uuid: &uuid,
                ident: ident.as_ident(),
            };
            self.publish_message(channel, body, Some(id), now, commands);
        }
        self.settle(id, now, commands);
    }

    /// Nobody has it, or nobody could be asked: whoever has it misses something then.
    pub(super) fn tell_unfound(
        &mut self,
        id: CallId,
        call: RoutedCall,
        total: Total,
        now: MonotonicTime,
    ) {
        if let Some(at) = self.unconnected.iter().position(|one| *one == id) {
            self.unconnected.swap_remove(at);
            self.note_loss("Redis was away", now);
        }
        self.tell(call, total);
    }

    /// Number of messages of which nobody could be asked yet who gets them.
    pub(super) fn unasked_count(&self) -> usize {
        let is_message = |id: &&CallId| self.routed.is_message(**id);
        self.unconnected.iter().filter(is_message).count()
    }
}

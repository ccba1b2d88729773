//! How messages reach somebody again who has missed them: the same bytes for all who are told them.

use std::rc::Rc;

use super::links::Links;
use super::replayed_forms::ReplayedForms;
use super::shared_buffers::SharedBuffers;
use super::system::Stream;
use crate::base::SharedBytes;
use crate::connection::{ConnId, Connection, Outgoing, SendError, TurnContext};
use crate::protocol::extension::CompressionSettings;

impl<S: Stream> Links<S> {
    /// Queues whole frames, as they are kept, for a connection that has missed them. As all answers
    /// they have no limit here: whoever reads the peer stops while much waits for it.
    pub(super) fn replay(
        &mut self,
        to: ConnId,
        frames: &[Rc<SharedBytes>],
        settings: &CompressionSettings,
        context: &mut TurnContext,
    ) {
        self.catch_up(to.slot as usize, context);
        let Some(link) = self.table.get_mut(to) else {
            return;
        };
        let forms = &mut self.replayed_forms;
        for frame in frames {
            let place = (&mut *forms, &mut self.shared_buffers);
            let sent = replay_one(&mut link.connection, frame, place, settings, context);
            if sent.is_err() {
                self.note_sent(to, sent, context);
                return;
            }
            context.traffic.sent.add_copies(frame, 1);
        }
        self.touch(to);
    }
}

fn replay_one(
    connection: &mut Connection,
    frame: &Rc<SharedBytes>,
    (forms, buffers): (&mut ReplayedForms, &mut SharedBuffers),
    settings: &CompressionSettings,
    context: &mut TurnContext,
) -> Result<(), SendError> {
    let plain = Outgoing::Shared(frame, 0..frame.len());
    if connection.window_bits().is_some()
        && let Some(shared) = forms.of(frame, settings)
    {
        let outgoing = copied_if_small(shared.outgoing(connection, buffers, context));
        return connection.reply_frame(&outgoing, context);
    }
    match connection.reply_frame(&copied_if_small(plain), context) {
        Err(SendError::EventWanted) => match forms.of(frame, settings) {
            Some(shared) => {
                let event = shared.event(buffers, context);
                connection.reply_event(&event, frame, context)
            }
            None => connection.reply_frame(&Outgoing::Copied(frame), context),
        },
        sent => sent,
    }
}

fn copied_if_small(outgoing: Outgoing<'_>) -> Outgoing<'_> {
    match outgoing {
        Outgoing::Shared(bytes, range) if range.len() < LEAST_SHARED_BYTES => {
            Outgoing::Copied(bytes.get(range).unwrap_or_default())
        }
        Outgoing::Shared(..) | Outgoing::Copied(_) => outgoing,
    }
}

/// Frames from this size on are shared, in bytes: a piece of a queue takes up to 64 by itself.
const LEAST_SHARED_BYTES: usize = 256;

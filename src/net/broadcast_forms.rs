//! Broadcasts, compressed once for all who can read the result.

use std::ops::Range;
use std::rc::Rc;

use super::link_table::LinkTable;
use super::shared_buffers::SharedBuffers;
use crate::app::Command;
use crate::connection::{Connection, TurnContext};
use crate::protocol::extension::{CompressionSettings, SERVER_WINDOW_BITS};
use crate::protocol::frame;
use crate::registry::Audience;

/// The broadcasts of one delivery in their compressed form, all in one piece of memory. There is one
/// for all who can read the usual window; the few who have asked for less get the plain form.
#[derive(Debug, Default)]
pub(super) struct BroadcastForms {
    pub(super) frames: Option<Rc<Vec<u8>>>,
    forms: Vec<Form>,
}

#[derive(Debug)]
struct Form {
    /// Where the plain frame begins in the bytes that hold all plain ones.
    plain_start: usize,
    range: Range<usize>,
}

impl BroadcastForms {
    /// The compressed form of the broadcast whose plain frame begins at `plain_start`; `None`: it
    /// goes as it is.
    pub(super) fn form_of(&self, plain_start: usize) -> Option<(&Rc<Vec<u8>>, Range<usize>)> {
        let form = self
            .forms
            .iter()
            .find(|form| form.plain_start == plain_start)?;
        Some((self.frames.as_ref()?, form.range.clone()))
    }
}

/// Compresses the broadcasts among `commands` that are long enough and get shorter by it.
pub(super) fn compress_broadcasts<S>(
    commands: &[Command],
    frames: &[u8],
    settings: &CompressionSettings,
    (table, buffers): (&mut LinkTable<S>, &mut SharedBuffers),
    context: &mut TurnContext,
) -> BroadcastForms {
    let mut compressed = BroadcastForms::default();
    if !settings.is_on {
        return compressed;
    }
    let least_len = frame::frame_len(settings.threshold_bytes);
    let mut bytes = context.pool.take();
    for command in commands {
        let Command::Broadcast {
            audience, frame, ..
        } = command
        else {
            continue;
        };
        if frame.len() < least_len || !has_reader(table, audience) {
            continue;
        }
        let plain = frames.get(frame.clone()).unwrap_or_default();
        let start = bytes.len();
        let deflater = context.pool.deflater(SERVER_WINDOW_BITS, settings.level);
        if deflater.deflate_frame(plain, &mut bytes) {
            compressed.forms.push(Form {
                plain_start: frame.start,
                range: start..bytes.len(),
            });
        }
    }
    if bytes.is_empty() {
        context.pool.give(bytes);
    } else {
        compressed.frames = Some(buffers.wrap(bytes));
    }
    compressed
}

/// Whether some receiver reads compressed messages.
fn has_reader<S>(table: &mut LinkTable<S>, audience: &Audience) -> bool {
    audience.any(|slot| {
        let link = table.slot_mut(slot);
        link.is_some_and(|link| reads_form(&link.connection))
    })
}

/// Whether a connection can read the compressed form.
pub(super) fn reads_form(connection: &Connection) -> bool {
    connection
        .window_bits()
        .is_some_and(|bits| bits >= SERVER_WINDOW_BITS)
}

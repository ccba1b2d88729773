//! Broadcasts, compressed once for all who can read the result.

use std::ops::Range;
use std::rc::Rc;

use super::link_table::LinkTable;
use super::links::Links;
use super::system::Stream;
use crate::app::Command;
use crate::connection::TurnContext;
use crate::protocol::extension::{CompressionSettings, MAX_WINDOW_BITS};
use crate::protocol::frame;
use crate::registry::SlotSet;

/// The broadcasts of one delivery in their compressed forms: one for each window size that some of
/// their receivers have agreed on. All of them lie in one piece of memory.
#[derive(Debug, Default)]
pub(super) struct BroadcastForms {
    pub(super) frames: Option<Rc<Vec<u8>>>,
    forms: Vec<Form>,
}

#[derive(Debug)]
struct Form {
    /// Where the plain frame begins in the bytes that hold all plain ones.
    plain_start: usize,
    window_bits: u8,
    range: Range<usize>,
}

/// The forms of one broadcast, by window size.
pub(super) type Forms = [Option<Range<usize>>; MAX_WINDOW_BITS as usize + 1];

impl BroadcastForms {
    /// The forms of the broadcast whose plain frame begins at `plain_start`.
    pub(super) fn forms_of(&self, plain_start: usize) -> Forms {
        let mut forms = Forms::default();
        for form in &self.forms {
            if form.plain_start == plain_start
                && let Some(slot) = forms.get_mut(usize::from(form.window_bits))
            {
                *slot = Some(form.range.clone());
            }
        }
        forms
    }
}

/// Compresses the broadcasts among `commands` that are long enough and get shorter by it.
pub(super) fn compress_broadcasts<S: Stream>(
    commands: &[Command],
    frames: &[u8],
    settings: &CompressionSettings,
    links: &mut Links<S>,
    context: &mut TurnContext,
) -> BroadcastForms {
    let mut compressed = BroadcastForms::default();
    if !settings.is_on {
        return compressed;
    }
    let least_len = frame::frame_len(settings.threshold_bytes);
    let mut bytes = context.pool.take();
    let mut known: Option<(Rc<SlotSet>, u32)> = None;
    for command in commands {
        let Command::Broadcast { members, frame, .. } = command else {
            continue;
        };
        if frame.len() < least_len {
            continue;
        }
        let plain = frames.get(frame.clone()).unwrap_or_default();
        let windows = match &known {
            Some((known_members, windows)) if Rc::ptr_eq(known_members, members) => *windows,
            Some(_) | None => windows_of(&mut links.table, members),
        };
        known = Some((Rc::clone(members), windows));
        for window_bits in (0..=MAX_WINDOW_BITS).filter(|bits| windows & (1 << bits) != 0) {
            let start = bytes.len();
            let deflater = context.pool.deflater(window_bits, settings.level);
            if deflater.deflate_frame(plain, &mut bytes) {
                compressed.forms.push(Form {
                    plain_start: frame.start,
                    window_bits,
                    range: start..bytes.len(),
                });
            }
        }
    }
    if bytes.is_empty() {
        context.pool.give(bytes);
    } else {
        compressed.frames = Some(links.shared_buffers.wrap(bytes));
    }
    compressed
}

/// The window sizes that members have agreed on, as bits.
fn windows_of<S>(table: &mut LinkTable<S>, members: &SlotSet) -> u32 {
    let mut windows = 0;
    for slot in members.iter() {
        let bits = table
            .slot_mut(slot)
            .and_then(|link| link.connection.window_bits());
        windows |= bits.map_or(0, |bits| 1 << bits);
    }
    windows
}

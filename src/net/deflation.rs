//! Broadcasts, compressed once for all who can read the result.

use std::ops::Range;
use std::rc::Rc;

use super::server::Core;
use super::table::Table;
use crate::app::{Audience, Command};
use crate::protocol::extension::MAX_WINDOW_BITS;
use crate::protocol::frame;

/// The broadcasts of one delivery in their compressed forms: one for each window size that some of
/// their receivers have agreed on. All of them lie in one piece of memory.
#[derive(Debug, Default)]
pub(super) struct Deflated {
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

impl Deflated {
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

impl Core {
    /// Compresses the broadcasts among `commands` that are long enough and get shorter by it.
    pub(super) fn deflate_broadcasts(&mut self, commands: &[Command], frames: &[u8]) -> Deflated {
        let mut deflated = Deflated::default();
        if !self.settings.compression.is_on {
            return deflated;
        }
        let least_len = frame::frame_len(self.settings.compression.threshold_bytes);
        let level = self.settings.compression.level;
        let mut bytes = self.pool.take();
        let mut known = None;
        for command in commands {
            let Command::Broadcast {
                audience, frame, ..
            } = command
            else {
                continue;
            };
            if frame.len() < least_len {
                continue;
            }
            let plain = frames.get(frame.clone()).unwrap_or_default();
            let windows = match known {
                Some((known_audience, windows)) if known_audience == *audience => windows,
                Some(_) | None => windows_of(&mut self.table, *audience),
            };
            known = Some((*audience, windows));
            for window_bits in (0..=MAX_WINDOW_BITS).filter(|bits| windows & (1 << bits) != 0) {
                let start = bytes.len();
                let deflater = self.pool.deflater(window_bits, level);
                if deflater.deflate_frame(plain, &mut bytes) {
                    deflated.forms.push(Form {
                        plain_start: frame.start,
                        window_bits,
                        range: start..bytes.len(),
                    });
                }
            }
        }
        if bytes.is_empty() {
            self.pool.give(bytes);
        } else {
            deflated.frames = Some(self.shared_buffers.wrap(bytes));
        }
        deflated
    }
}

/// The window sizes that members of the audience have agreed on, as bits.
fn windows_of(table: &mut Table, audience: Audience) -> u32 {
    table
        .iter_mut()
        .filter(|link| link.membership.is_in(audience))
        .filter_map(|link| link.connection.window_bits())
        .fold(0, |windows, bits| windows | 1 << bits)
}

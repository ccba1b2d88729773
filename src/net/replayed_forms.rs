//! [`ReplayedForms`]: what those are sent who have missed something, compressed or as events.

use std::collections::HashMap;
use std::rc::Rc;

use super::shared_frame::SharedFrame;
use crate::base::SharedBytes;
use crate::protocol::extension::CompressionSettings;

/// The frames that were told again lately and are being sent in another form than they are kept in.
///
/// Many come back at once after a restart. So whoever is told a message while somebody else is being
/// sent it in the same form shares that, too.
#[derive(Debug, Default)]
pub(super) struct ReplayedForms {
    /// By where the frame lies, which it does for as long as it is in here.
    by_place: HashMap<*const SharedBytes, SharedFrame>,
}

impl ReplayedForms {
    /// The forms of a frame; `None`: too many others are being sent.
    pub(super) fn of(
        &mut self,
        frame: &Rc<SharedBytes>,
        settings: &CompressionSettings,
    ) -> Option<&mut SharedFrame> {
        let place = Rc::as_ptr(frame);
        if self.by_place.len() >= MAX_FORMS && !self.by_place.contains_key(&place) {
            return None;
        }
        let shared = || SharedFrame::new(Rc::clone(frame), 0..frame.len(), settings);
        Some(self.by_place.entry(place).or_insert_with(shared))
    }

    /// Forgets the forms that nobody sends any more. `SharedBuffers::reclaim` has to follow.
    pub(super) fn reclaim(&mut self) {
        if self.by_place.is_empty() {
            return;
        }
        self.by_place.retain(|_, shared| shared.is_being_sent());
        if self.by_place.is_empty() {
            self.by_place = HashMap::new();
        }
    }

    /// Bytes of memory held, but for the frames.
    pub(super) fn held_bytes(&self) -> usize {
        self.by_place.capacity() * FORMS_BYTES
    }
}

/// Most frames in other forms. Beyond, they leave as they are.
const MAX_FORMS: usize = 1024;

/// With the table's byte for each place.
const FORMS_BYTES: usize = size_of::<(*const SharedBytes, SharedFrame)>() + 1;

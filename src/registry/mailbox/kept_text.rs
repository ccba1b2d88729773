//! [`KeptText`]: a message as it is kept, which is how it is sent.

use std::ops::Deref;
use std::rc::Rc;

use crate::base::SharedBytes;
use crate::protocol::frame;
use crate::protocol::message::MessageKind;

/// A text in its frame. All who are told it again send from the same bytes.
#[derive(Clone, Debug, Default)]
pub struct KeptText {
    frame: Rc<SharedBytes>,
    /// Length of the frame's header.
    text_at: u8,
}

impl KeptText {
    /// The text that consists of these two parts.
    pub fn new(head: &[u8], tail: &[u8]) -> Self {
        let len = head.len() + tail.len();
        let mut frame = Vec::with_capacity(frame::frame_len(len));
        frame::encode_header(true, MessageKind::Text.opcode(), len, &mut frame);
        // A header has at most 14 bytes.
        let text_at = frame.len() as u8;
        frame.extend_from_slice(head);
        frame.extend_from_slice(tail);
        let frame = Rc::new(frame.into());
        Self { frame, text_at }
    }

    /// The whole frame, without a mask.
    pub fn frame(&self) -> &Rc<SharedBytes> {
        &self.frame
    }
}

impl Deref for KeptText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let text = self.frame.get(usize::from(self.text_at)..);
        text.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stands_in_a_frame_that_is_no_longer_than_it_has_to_be() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let text = vec![b'x'; len];
            for cut in [0, len / 2, len] {
                let kept = KeptText::new(&text[..cut], &text[cut..]);
                assert_eq!(*kept, *text);
                let mut frame = Vec::new();
                frame::encode(MessageKind::Text.opcode(), &text, &mut frame);
                assert_eq!(***kept.frame(), frame);
                assert_eq!(kept.frame().capacity(), frame.len());
            }
        }
    }
}

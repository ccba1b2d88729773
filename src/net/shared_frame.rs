//! [`SharedFrame`]: one frame for many, compressed once for all who can read the result.

use std::ops::Range;
use std::rc::Rc;

use super::shared_buffers::SharedBuffers;
use crate::base::SharedBytes;
use crate::connection::{Connection, Outgoing, TurnContext, event_of};
use crate::protocol::extension::{CompressionSettings, SERVER_WINDOW_BITS};
use crate::protocol::frame;

/// A frame as it is and, once somebody is to get it who can read that, compressed.
#[derive(Debug)]
pub(super) struct SharedFrame {
    frames: Rc<SharedBytes>,
    range: Range<usize>,
    form: Form,
    /// As an event, once a stream of events has wanted it.
    event: Option<Rc<SharedBytes>>,
}

/// The compressed form. There is one for all who can read the usual window; the few who have asked
/// for less get the plain form.
#[derive(Debug)]
enum Form {
    /// There is none: it is off, the frame is too short, or gets no shorter.
    None,
    /// Nobody has wanted it; the effort, when somebody does.
    Unmade(u8),
    Made(Rc<SharedBytes>),
}

impl SharedFrame {
    /// The frame that lies at `range`.
    pub(super) fn new(
        frames: Rc<SharedBytes>,
        range: Range<usize>,
        settings: &CompressionSettings,
    ) -> Self {
        let least_len = frame::frame_len(settings.threshold_bytes);
        let form = match settings.is_on && range.len() >= least_len {
            true => Form::Unmade(settings.level),
            false => Form::None,
        };
        Self {
            frames,
            range,
            form,
            event: None,
        }
    }

    /// Its length as it is, in bytes.
    pub(super) fn len(&self) -> usize {
        self.range.len()
    }

    /// As it is.
    pub(super) fn plain(&self) -> &[u8] {
        self.frames.get(self.range.clone()).unwrap_or_default()
    }

    /// The form that a connection reads.
    pub(super) fn outgoing(
        &mut self,
        connection: &Connection,
        buffers: &mut SharedBuffers,
        context: &mut TurnContext,
    ) -> Outgoing<'_> {
        if reads_form(connection) {
            if let Form::Unmade(level) = self.form {
                self.compress(level, buffers, context);
            }
            if let Form::Made(bytes) = &self.form {
                return Outgoing::Shared(bytes, 0..bytes.len());
            }
        }
        Outgoing::Shared(&self.frames, self.range.clone())
    }

    /// As an event, for a stream that cannot share it as it is.
    #[cold]
    pub(super) fn event(
        &mut self,
        buffers: &mut SharedBuffers,
        context: &mut TurnContext,
    ) -> Rc<SharedBytes> {
        if let Some(event) = &self.event {
            return Rc::clone(event);
        }
        let event = make_event(self.plain(), buffers, context);
        self.event = Some(Rc::clone(&event));
        event
    }

    /// Whether somebody is to send it in a form that was made here, besides this one and the buffers
    /// that know of it.
    pub(super) fn is_being_sent(&self) -> bool {
        let made = match &self.form {
            Form::Made(bytes) => Some(bytes),
            Form::None | Form::Unmade(_) => None,
        };
        let mut forms = made.into_iter().chain(&self.event);
        forms.any(|bytes| Rc::strong_count(bytes) > 2)
    }

    fn compress(&mut self, level: u8, buffers: &mut SharedBuffers, context: &mut TurnContext) {
        let mut bytes = context.pool.take();
        let deflater = context.pool.deflater(SERVER_WINDOW_BITS, level);
        if !deflater.deflate_frame(self.plain(), &mut bytes) {
            context.pool.give(bytes);
            self.form = Form::None;
            return;
        }
        let handle = buffers.wrap(context.pool.fit(bytes));
        self.form = Form::Made(Rc::clone(&handle));
        // It counts as memory from now on, until nobody sends from it.
        let unshared = buffers.reclaim_handle(handle);
        debug_assert!(unshared.is_none(), "it is kept here");
    }
}

/// Makes an event of a frame, which counts as memory until nobody sends from it.
pub(super) fn make_event(
    frame: &[u8],
    buffers: &mut SharedBuffers,
    context: &mut TurnContext,
) -> Rc<SharedBytes> {
    let mut bytes = context.pool.take();
    event_of(frame, &mut bytes);
    let handle = buffers.wrap(context.pool.fit(bytes));
    let event = Rc::clone(&handle);
    let unshared = buffers.reclaim_handle(handle);
    debug_assert!(unshared.is_none(), "it is kept here");
    event
}

/// Whether a connection can read the compressed form.
fn reads_form(connection: &Connection) -> bool {
    connection
        .window_bits()
        .is_some_and(|bits| bits >= SERVER_WINDOW_BITS)
}

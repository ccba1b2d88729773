//! The end of a turn for one connection: what has been queued goes to its socket.

use std::io::{ErrorKind, IoSlice};

use log::{debug, warn};

use super::link::{Link, Writing};
use super::system::{Interest, Stream, System};
use crate::base::plain;
use crate::connection::TurnContext;

/// Writes; whether something is left that the socket does not take.
pub(super) fn write<Y: System>(
    link: &mut Link<Y::Stream>,
    system: &Y,
    context: &mut TurnContext,
) -> std::io::Result<bool> {
    if link.transport.flush()? {
        return Ok(true);
    }
    loop {
        // Frames that have to keep a distance need the time of each write.
        let has_gaps = link.connection.next_write().is_some();
        let now = if has_gaps { system.now() } else { context.now };
        let mut slices = [IoSlice::new(&[]); PIECES_PER_WRITE];
        let count = link.connection.output(&mut slices, now);
        if count == 0 {
            return Ok(false);
        }
        match link.transport.write(&slices[..count]) {
            Ok(written) => {
                context.traffic.sent_bytes += written.len as u64;
                link.connection
                    .consume_output(written.len, now, &mut context.pool);
                if written.is_blocked {
                    return Ok(true);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The peer takes nothing more; what it had sent before is still read.
pub(super) fn stop_writing<S: Stream>(link: &mut Link<S>) {
    let lost = link.connection.output_len();
    debug!("#{} takes nothing more: {lost} bytes dropped", link.id.slot);
    link.writing = Writing::Closed;
    link.connection.drop_output();
}

/// Asks for WRITABLE, or no longer; whether the system does so.
pub(super) fn rewatch<Y: System>(
    link: &mut Link<Y::Stream>,
    is_blocked: bool,
    system: &mut Y,
) -> bool {
    let (writing, interest) = match (is_blocked, link.writing) {
        (true, _) => (Writing::Blocked, Interest::ReadAndWrite),
        (false, Writing::Blocked) => (Writing::Ready, Interest::Read),
        // Nothing was asked for.
        (false, _) => return true,
    };
    let slot = link.id.slot as usize;
    match system.rewatch(link.transport.below(), slot, interest) {
        Ok(()) => {
            link.writing = writing;
            true
        }
        Err(error) => {
            warn!("#{slot}: {}", plain(&error));
            false
        }
    }
}

/// Most pieces of one connection's output that leave in one write.
const PIECES_PER_WRITE: usize = 16;

//! The end of a turn for one connection: what has been queued goes to its socket.

use std::io::{ErrorKind, IoSlice};

use log::{debug, warn};

use super::link::{Link, Writing};
use super::system::{Interest, Stream, System};
use super::transport::{self, Transport};
use crate::base::plain;
use crate::connection::TurnContext;

/// What has become of the bytes that wait to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All that may leave now has left.
    All,
    /// The socket does not take the rest.
    Blocked,
    /// There are more than are written in one go.
    Share,
}

/// Writes, no more than about `most` bytes.
pub(super) fn write<Y: System>(
    link: &mut Link<Y::Stream>,
    most: usize,
    system: &Y,
    context: &mut TurnContext,
) -> std::io::Result<Progress> {
    if link.transport.flush()? {
        return Ok(Progress::Blocked);
    }
    let mut left = most;
    loop {
        // Frames that have to keep a distance need the time of each write.
        let has_gaps = link.connection.next_write().is_some();
        let now = if has_gaps { system.now() } else { context.now };
        let mut slices = [IoSlice::new(&[]); PIECES_PER_WRITE];
        let count = link.connection.output(&mut slices, now);
        if count == 0 {
            return Ok(Progress::All);
        }
        let pieces = &slices[..count];
        // A script that needs its frames whole gets only such cut as are longer than a share.
        let must_wait = left < most
            && link.connection.keeps_frames_whole()
            && left < pieces.iter().map(|piece| piece.len()).sum();
        if left == 0 || must_wait {
            return Ok(Progress::Share);
        }
        match write_up_to(&mut link.transport, pieces, left) {
            Ok(written) => {
                left = left.saturating_sub(written.len);
                context.traffic.sent_bytes += written.len as u64;
                link.connection
                    .consume_output(written.len, now, &mut context.pool);
                if written.is_blocked {
                    return Ok(Progress::Blocked);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Blocked),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes no more than `most` bytes of these pieces.
fn write_up_to<S: Stream>(
    transport: &mut Transport<S>,
    pieces: &[IoSlice<'_>],
    most: usize,
) -> std::io::Result<transport::Written> {
    let len: usize = pieces.iter().map(|piece| piece.len()).sum();
    if len <= most {
        return transport.write(pieces);
    }
    let mut cut = [IoSlice::new(&[]); PIECES_PER_WRITE];
    let (mut count, mut left) = (0, most);
    for (place, piece) in cut.iter_mut().zip(pieces) {
        if left == 0 {
            break;
        }
        let piece = piece.get(..left).unwrap_or(piece);
        *place = IoSlice::new(piece);
        left -= piece.len();
        count += 1;
    }
    transport.write(&cut[..count])
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

/// Most bytes of one connection that leave in one go: the socket of a quick reader takes megabytes,
/// for which others would wait; so many take the system less than 0.1 ms.
pub(super) const BYTES_PER_FLUSH: usize = 256 << 10;

/// The same for what others have queued for it. That is as much as there may be under way of
/// broadcasts, so that their frames are held no longer than the last member needs.
pub(super) const BYTES_PER_TURN: usize = 1 << 20;

/// Most pieces of one connection's output that leave in one write.
const PIECES_PER_WRITE: usize = 16;

//! The Unix socket by which a successor asks the running server for everything: messages that keep
//! their bounds (`SOCK_SEQPACKET`), with sockets beside them (`SCM_RIGHTS`), between processes of
//! the same user.

use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use socket2::{Domain, SockAddr, Socket, Type};

use super::control_message::{MAX_MESSAGE_BYTES, MAX_SOCKETS, Message};
use super::socket_file::{Cleanup, remove_stale};

/// Where successors ask.
#[derive(Debug)]
pub(super) struct ControlListener {
    socket: Socket,
    path: PathBuf,
    pub(super) cleanup: Cleanup,
}

impl ControlListener {
    /// Makes the file, for this user alone.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        remove_stale(path, Type::SEQPACKET)?;
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let cleanup = Cleanup::of(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            path: path.to_owned(),
            cleanup,
        })
    }

    /// One that was handed over; whoever had it still has it, so the file stays until
    /// [`Cleanup::arm`] is called.
    pub(super) fn from_descriptor(descriptor: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(descriptor);
        let address = socket.local_addr()?;
        let path = address.as_pathname().ok_or(ErrorKind::InvalidData)?;
        let (path, cleanup) = (path.to_owned(), Cleanup::later(path)?);
        Ok(Self {
            socket,
            path,
            cleanup,
        })
    }

    /// Has those who connect see this process as who listens.
    pub(super) fn claim(&mut self) -> io::Result<()> {
        self.cleanup.arm();
        self.socket.listen(BACKLOG)
    }

    /// Its file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next caller, if it is of this user.
    pub(super) fn accept(&self) -> io::Result<ControlChannel> {
        let (socket, _) = self.socket.accept()?;
        socket.set_nonblocking(true)?;
        ControlChannel::checked(socket)
    }
}

impl AsFd for ControlListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A connection between a running server and its successor.
#[derive(Debug)]
pub(super) struct ControlChannel {
    socket: Socket,
    /// The other process, as its own namespace of processes calls it; 0 if that is another one.
    pub(super) pid: u32,
}

impl ControlChannel {
    /// Asks the server whose file this is.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        socket.connect(&SockAddr::unix(path)?)?;
        Self::checked(socket)
    }

    fn checked(socket: Socket) -> io::Result<Self> {
        let peer = getsockopt(&socket, PeerCredentials)?;
        if peer.uid() != nix::unistd::geteuid().as_raw() {
            let reason = format!("process {} is of user {}", peer.pid(), peer.uid());
            return Err(io::Error::new(ErrorKind::PermissionDenied, reason));
        }
        Ok(Self {
            socket,
            pid: u32::try_from(peer.pid()).unwrap_or(0),
        })
    }

    /// How long [`receive`](Self::receive) and [`send`](Self::send) wait.
    pub(super) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(patience))?;
        self.socket.set_write_timeout(Some(patience))
    }

    /// Sends a message as a whole, with sockets, of which copies are made.
    ///
    /// # Errors
    /// `WouldBlock`: not yet. Else the other end has gone, or the system has no room.
    pub(super) fn send(&self, message: &[u8], sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(sockets)) {
            return Err(io::Error::other("too many sockets for one message"));
        }
        let flags = SendFlags::NOSIGNAL;
        let sent = sendmsg(
            &self.socket,
            &[IoSlice::new(message)],
            &mut ancillary,
            flags,
        )?;
        match sent == message.len() {
            true => Ok(()),
            false => Err(ErrorKind::WriteZero.into()),
        }
    }

    /// The next message, with the sockets that came with it.
    ///
    /// # Errors
    /// `WouldBlock`: there is none yet. `UnexpectedEof`: the other end has gone. `InvalidData`: it
    /// is none, or this process may not open so many files.
    pub(super) fn receive(&self) -> io::Result<(Message, Vec<OwnedFd>)> {
        let mut bytes = vec![0; MAX_MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let slices = &mut [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(&self.socket, slices, &mut ancillary, flags)?;
        let mut sockets = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                sockets.extend(descriptors);
            }
        }
        if received.bytes == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            let reason = "sockets were lost: raise the open-file limit (LimitNOFILE, ulimit -n)";
            return Err(io::Error::new(ErrorKind::InvalidData, reason));
        }
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Err(io::Error::new(ErrorKind::InvalidData, "it is too long"));
        }
        let message = Message::parse(bytes.get(..received.bytes).unwrap_or_default());
        let message = message.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        Ok((message, sockets))
    }
}

impl AsFd for ControlChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Room for the sockets of one message.
const ANCILLARY_BYTES: usize = rustix::cmsg_space!(ScmRights(MAX_SOCKETS));

/// Successors come one at a time.
const BACKLOG: i32 = 8;

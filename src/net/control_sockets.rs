//! [`Control`] on the real system: the control socket, its callers, and what becomes of sockets.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use log::{debug, error};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::control_channel::{ControlChannel, ControlListener};
use super::control_message::{ListenerState, Message, Purpose};
use super::mio_system::{CALLER_TOKENS, CONTROL_TOKEN, MioSystem};
use super::socket::{ListenSocket, Socket};
use super::system::Control;

impl Control<Socket> for MioSystem {
    fn accept(&mut self) -> io::Result<(usize, u32)> {
        let listener = self.control.listener.as_ref();
        let channel = listener.ok_or(ErrorKind::WouldBlock)?.accept()?;
        let (key, pid) = (self.control.called_count, channel.pid);
        let interest = Interest::READABLE | Interest::WRITABLE;
        watch(
            self.poll.registry(),
            &channel,
            Token(CALLER_TOKENS + key),
            interest,
        )?;
        self.control.called_count += 1;
        self.control.callers.insert(key, channel);
        Ok((key, pid))
    }

    fn receive(&mut self, key: usize) -> io::Result<Message> {
        let (message, _) = self.caller(key)?.receive()?;
        Ok(message)
    }

    fn send(&mut self, key: usize, message: &Message, streams: &[&Socket]) -> io::Result<()> {
        let descriptors: Vec<_> = streams.iter().map(|stream| stream.as_fd()).collect();
        self.caller(key)?.send(&message.to_bytes(), &descriptors)
    }

    fn offer(
        &mut self,
        key: usize,
        message: &dyn Fn(Vec<ListenerState>) -> Message,
    ) -> io::Result<()> {
        let (mut states, mut descriptors) = (Vec::new(), Vec::<BorrowedFd<'_>>::new());
        for listener in &self.listeners {
            let (purpose, owns_file) = match &listener.socket {
                ListenSocket::Tcp(_) => (Purpose::Tcp, false),
                ListenSocket::Unix(_, cleanup) => (Purpose::Unix, cleanup.is_some()),
            };
            states.push(ListenerState { purpose, owns_file });
            descriptors.push(listener.socket.as_fd());
        }
        if let Some(listener) = &self.control.listener {
            states.push(ListenerState {
                purpose: Purpose::Control,
                owns_file: true,
            });
            descriptors.push(listener.as_fd());
        }
        let bytes = message(states).to_bytes();
        self.caller(key)?.send(&bytes, &descriptors)
    }

    fn hang_up(&mut self, key: usize) {
        self.control.callers.remove(&key);
    }

    fn unwatch(&mut self, stream: &mut Socket) {
        if let Err(error) = self.poll.registry().deregister(stream) {
            debug!("a connection was not deregistered: {error}");
        }
    }

    fn release_listeners(&mut self) {
        for mut listener in self.listeners.drain(..) {
            listener.socket.leave_file();
            if let Err(error) = self.poll.registry().deregister(listener.socket.source()) {
                error!("a listener was not deregistered: {error}");
            }
        }
        if let Some(mut listener) = self.control.listener.take() {
            listener.cleanup.disarm();
            let descriptor = listener.as_fd().as_raw_fd();
            if let Err(error) = self.poll.registry().deregister(&mut SourceFd(&descriptor)) {
                error!("the control socket was not deregistered: {error}");
            }
        }
    }
}

impl MioSystem {
    /// Has callers reported.
    pub(super) fn watch_control(&mut self, listener: ControlListener) -> io::Result<()> {
        watch(
            self.poll.registry(),
            &listener,
            CONTROL_TOKEN,
            Interest::READABLE,
        )?;
        self.control.listener = Some(listener);
        Ok(())
    }

    /// The listeners' files, and the control socket, are this process's now.
    pub(super) fn claim_files(&mut self) -> io::Result<()> {
        for listener in &mut self.listeners {
            listener.socket.claim_file();
        }
        match &mut self.control.listener {
            Some(listener) => listener.claim(),
            None => Ok(()),
        }
    }

    fn caller(&self, key: usize) -> io::Result<&ControlChannel> {
        let caller = self.control.callers.get(&key);
        caller.ok_or(ErrorKind::NotConnected.into())
    }
}

fn watch(
    registry: &Registry,
    socket: &impl AsFd,
    token: Token,
    interest: Interest,
) -> io::Result<()> {
    let descriptor = socket.as_fd().as_raw_fd();
    registry.register(&mut SourceFd(&descriptor), token, interest)
}

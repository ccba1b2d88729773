//! A successor that the test plays: it says what a real one would, or something else.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use socket2::{Domain, SockAddr, Socket, Type};
use websock::net::control_message::{FORMATS, MAX_MESSAGE_BYTES, MAX_SOCKETS, Message};

use crate::harness::PATIENCE;

/// The successor's end of the control socket.
pub(crate) struct Played(Socket);

impl Played {
    #[track_caller]
    pub(crate) fn call(path: &Path) -> Self {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None).expect("a socket");
        let address = SockAddr::unix(path).expect("an address");
        socket.connect(&address).expect("the server listens there");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        Self(socket)
    }

    /// One that has said hello, and what it was offered.
    #[track_caller]
    pub(crate) fn greet(path: &Path) -> (Self, Message) {
        let played = Self::call(path);
        played.say(&Message::Hello {
            formats: FORMATS,
            version: "played".to_owned(),
        });
        let (offer, sockets) = played.hear().expect("an offer");
        assert!(!sockets.is_empty(), "the listening sockets come with it");
        (played, offer)
    }

    #[track_caller]
    pub(crate) fn say(&self, message: &Message) {
        self.say_bytes(&message.to_bytes());
    }

    #[track_caller]
    pub(crate) fn say_bytes(&self, bytes: &[u8]) {
        assert_eq!(self.0.send(bytes).expect("sent"), bytes.len());
    }

    /// The next message with its sockets; `None`: the server has hung up.
    #[track_caller]
    pub(crate) fn hear(&self) -> Option<(Message, Vec<OwnedFd>)> {
        let mut bytes = vec![0; MAX_MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let slices = &mut [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(&self.0, slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC);
        let received = match received {
            Ok(received) => received,
            Err(rustix::io::Errno::CONNRESET) => return None,
            Err(error) => panic!("the server does not answer: {error}"),
        };
        let mut sockets = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                sockets.extend(descriptors);
            }
        }
        let bytes = bytes
            .get(..received.bytes)
            .expect("no more than there is room");
        let message = (!bytes.is_empty()).then(|| Message::parse(bytes).expect("a message"));
        message.map(|message| (message, sockets))
    }

    /// How many connections come with the next message that has some.
    #[track_caller]
    pub(crate) fn hear_links(&self) -> usize {
        loop {
            match self.hear() {
                Some((Message::State(_), _)) => {}
                Some((Message::Links(links), sockets)) => {
                    assert_eq!(links.len(), sockets.len());
                    return links.len();
                }
                other => panic!("no connections: {other:?}"),
            }
        }
    }

    /// Why the server refuses.
    #[track_caller]
    pub(crate) fn expect_refusal(&self) -> String {
        match self.hear() {
            Some((Message::Refused { reason }, _)) => reason,
            other => panic!("no refusal: {other:?}"),
        }
    }
}

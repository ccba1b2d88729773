//! What the application wants done: commands to the loop, and the frames that they carry.

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

use super::accept::Accept;
use super::calls::{CallId, Ticket};
use super::deliveries::{Deliveries, NOBODY};
use super::report::Detail;
use crate::api::PushError;
use crate::base::SharedBytes;
use crate::connection::{AfterResponse, ConnId, Expectation, Message};
use crate::protocol::body::BodyLength;
use crate::protocol::close_code::CloseCode;
use crate::protocol::error::Rejection;
use crate::protocol::frame;
use crate::protocol::message::MessageKind;
use crate::protocol::php_session::SessionFile;
use crate::protocol::traffic::MessageCounts;
use crate::registry::Audience;
use crate::upstream::{Call, UpstreamId};

/// One thing for the loop to do. A frame is given by its range in the bytes that
/// [`Commands::take`] hands out.
#[derive(Debug)]
pub enum Command {
    /// Answer a request with a refusal, and end the connection.
    Reject {
        /// The connection.
        id: ConnId,
        /// Why.
        rejection: Rejection,
    },
    /// Read the body of a plain HTTP request; [`Event::Body`](super::Event::Body) follows.
    ReadBody {
        /// The connection.
        id: ConnId,
        /// What the head has announced.
        length: BodyLength,
        /// Whether the client waits to be told to send it.
        expectation: Expectation,
        /// How long it may be.
        limit: BodyLimit,
    },
    /// Answer a plain HTTP request.
    Respond {
        /// The connection.
        id: ConnId,
        /// What becomes of it.
        after: AfterResponse,
        /// The whole response.
        bytes: Vec<u8>,
    },
    /// Send a frame to one connection.
    Send {
        /// The receiver.
        to: ConnId,
        /// The frame.
        frame: Range<usize>,
        /// Whoever wants to know what became of it.
        call: Option<CallId>,
    },
    /// Send a frame to many.
    Broadcast {
        /// The sender, who does not get it.
        from: ConnId,
        /// The receivers.
        audience: Audience,
        /// The frame.
        frame: Range<usize>,
        /// Whoever wants to know what became of it.
        call: Option<CallId>,
    },
    /// Send frames, as they are kept, to a connection that has missed them.
    Replay {
        /// The receiver.
        to: ConnId,
        /// The frames.
        frames: Vec<Rc<SharedBytes>>,
    },
    /// Tell another thread what became of its packet.
    AnswerPush {
        /// Its request.
        ticket: Ticket,
        /// How many queues have taken it, or why none was to.
        outcome: Result<usize, PushError>,
    },
    /// Tell what the loop knows of itself; [`Event::Reported`](super::Event::Reported) follows.
    Report {
        /// The request that it is for.
        id: ConnId,
        /// How much.
        detail: Detail,
    },
    /// Begin the close handshake.
    Close {
        /// The connection.
        id: ConnId,
        /// The code.
        code: CloseCode,
        /// The reason; cut to what a close frame holds.
        reason: Cow<'static, str>,
    },
    /// Ask another server; [`Event::Answered`](super::Event::Answered) follows exactly once, at the
    /// call's deadline at the latest.
    Call {
        /// Whom.
        upstream: UpstreamId,
        /// What, and until when.
        call: Call,
    },
    /// Subscribe to channels of a Redis, or give them back;
    /// [`Event::Subscriber`](super::Event::Subscriber) says what comes of it.
    ChangeSubscriptions {
        /// Where: one that was added as a subscriber.
        upstream: UpstreamId,
        /// Which of the two.
        change: SubscriptionChange,
        /// The channels.
        channels: Vec<Vec<u8>>,
    },
    /// Have the application go on with a connection; [`Event::Resumed`](super::Event::Resumed)
    /// follows.
    Resume {
        /// The connection.
        id: ConnId,
    },
    /// Have the application take a message that the page which reads this stream of events has sent
    /// by a request of its own; [`Event::Posted`](super::Event::Posted) follows.
    Post {
        /// The stream.
        to: ConnId,
        /// The message.
        text: String,
    },
    /// Read the file of a PHP session; [`Event::SessionRead`](super::Event::SessionRead) follows
    /// exactly once, in a later turn. A disk that does not answer lets it come late, so that
    /// whoever asks has a deadline of its own.
    ReadSession {
        /// Its name in the answer.
        call: CallId,
        /// Which.
        file: SessionFile,
    },
}

/// How long the body of a request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLimit {
    /// What scripts and those who push send (`maxMessageSize`).
    Script,
    /// One message of a page in JSON (`maxWebMessage`, and what quotation marks add to it).
    Page,
}

/// What is to become of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionChange {
    /// They are wanted, now and after each new connection.
    Subscribe,
    /// They are not wanted any more.
    Unsubscribe,
}

/// Collects commands while an event is handled.
///
/// What goes back to the connection that the event is about is encoded into one buffer, which
/// becomes that connection's output; everything else becomes a [`Command`].
#[derive(Debug)]
pub struct Commands {
    current: ConnId,
    /// `current` is let in; what is replied follows the 101.
    accept: Option<Box<Accept>>,
    /// Frames to `current`, in order.
    reply: Vec<u8>,
    message: CurrentMessage,
    /// The messages among them, and the one that goes back behind them.
    reply_counts: MessageCounts,
    frames: Vec<u8>,
    list: Vec<Command>,
    urgency: Urgency,
    /// Since [`begin_share`](Commands::begin_share), carried out or not.
    share: Deliveries,
}

/// The message that is being handled, as far as its buffer is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CurrentMessage {
    /// There is none, or it lies in the loop's receive buffer: what goes back is copied.
    Lent,
    /// It lies in a buffer of its own, which may go back as a whole.
    Owned,
    /// It goes back, in that buffer, behind the frames of the reply.
    Returned,
    /// Something else goes back behind the frames of the reply.
    Followed,
}

/// Whether commands may wait for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urgency {
    /// Frames to others: several are carried out together.
    CanWait,
    /// Something that changes the connection at hand, or that somebody waits for.
    Now,
}

impl Default for Commands {
    fn default() -> Self {
        Self {
            current: NOBODY,
            accept: None,
            reply: Vec::new(),
            message: CurrentMessage::Lent,
            reply_counts: MessageCounts::default(),
            frames: Vec::new(),
            list: Vec::new(),
            urgency: Urgency::CanWait,
            share: Deliveries::default(),
        }
    }
}

impl Commands {
    // ---- what the application says

    /// Sends a message to the connection that the event is about.
    pub fn reply(&mut self, kind: MessageKind, payload: &[u8]) {
        match self.message {
            CurrentMessage::Lent | CurrentMessage::Owned => {
                self.reply_counts.add(kind, payload.len(), 1);
                frame::encode(kind.opcode(), payload, &mut self.reply);
            }
            // Nothing overtakes the message that goes back, nor what was missed.
            CurrentMessage::Returned | CurrentMessage::Followed => {
                self.urgency = Urgency::Now;
                self.send(self.current, kind, payload, None);
            }
        }
    }

    /// Sends the message back that the event has brought: in its own buffer, if it has one.
    pub fn reply_received(&mut self, message: &Message<'_>) {
        if self.message == CurrentMessage::Owned {
            self.message = CurrentMessage::Returned;
            let len = message.as_bytes().len();
            self.reply_counts.add(message.kind(), len, 1);
        } else {
            self.reply(message.kind(), message.as_bytes());
        }
    }

    /// Sends whole frames, as they are kept, to the connection that the event is about.
    pub fn replay(&mut self, frames: impl Iterator<Item = Rc<SharedBytes>>) {
        let frames: Vec<_> = frames.collect();
        if frames.is_empty() {
            return;
        }
        debug_assert_ne!(self.message, CurrentMessage::Returned, "nobody missed that");
        self.message = CurrentMessage::Followed;
        let to = self.current;
        self.push_now(Command::Replay { to, frames });
    }

    /// Sends a message to one connection.
    pub fn send(&mut self, to: ConnId, kind: MessageKind, payload: &[u8], call: Option<CallId>) {
        let frame = self.encode(kind, payload);
        self.share.count += 1;
        self.push_delivery(Command::Send { to, frame, call }, call);
    }

    /// Sends a message to an audience, but for `from`.
    pub fn broadcast(
        &mut self,
        from: ConnId,
        audience: Audience,
        (kind, payload): (MessageKind, &[u8]),
        call: Option<CallId>,
    ) {
        let frame = self.encode(kind, payload);
        self.share.count += audience.len();
        let command = Command::Broadcast {
            from,
            audience,
            frame,
            call,
        };
        self.push_delivery(command, call);
    }

    /// Sends a message to some connections, encoded once and shared by them; to how many. `call` is
    /// not answered if there is none.
    pub fn send_to_each(
        &mut self,
        mut receivers: impl Iterator<Item = ConnId>,
        (kind, payload): (MessageKind, &[u8]),
        call: Option<CallId>,
    ) -> usize {
        let Some(first) = receivers.next() else {
            return 0;
        };
        let Some(second) = receivers.next() else {
            self.send(first, kind, payload, call);
            return 1;
        };
        let receivers = [first, second].into_iter().chain(receivers);
        let audience = Audience::Slots(receivers.map(|id| id.slot).collect());
        let count = audience.len();
        self.broadcast(NOBODY, audience, (kind, payload), call);
        count
    }

    /// Closes a connection, after all that was sent to it before.
    pub fn close(&mut self, id: ConnId, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        let reason = reason.into();
        self.push_now(Command::Close { id, code, reason });
    }

    /// Lets the client in that the event is about. What is replied from here on follows the 101.
    pub fn accept(&mut self, accept: Accept) {
        debug_assert_eq!(accept.id, self.current);
        self.urgency = Urgency::Now;
        self.accept = Some(Box::new(accept));
    }

    /// Refuses a request.
    pub fn reject(&mut self, id: ConnId, rejection: Rejection) {
        self.push_now(Command::Reject { id, rejection });
    }

    /// Has the body of a plain HTTP request read.
    pub fn read_body(
        &mut self,
        id: ConnId,
        (length, limit): (BodyLength, BodyLimit),
        expectation: Expectation,
    ) {
        self.push_now(Command::ReadBody {
            id,
            length,
            expectation,
            limit,
        });
    }

    /// Has the loop tell what it knows of itself, for a request.
    pub fn report(&mut self, id: ConnId, detail: Detail) {
        self.push_now(Command::Report { id, detail });
    }

    /// Answers a plain HTTP request.
    pub fn respond(&mut self, id: ConnId, after: AfterResponse, bytes: Vec<u8>) {
        self.push_now(Command::Respond { id, after, bytes });
    }

    /// Tells another thread what became of its packet.
    pub fn answer_push(&mut self, ticket: Ticket, outcome: Result<usize, PushError>) {
        self.push_now(Command::AnswerPush { ticket, outcome });
    }

    /// Asks another server. Its answer comes as an event of its own.
    pub fn call(&mut self, upstream: UpstreamId, call: Call) {
        self.push_now(Command::Call { upstream, call });
    }

    /// Has an event about this connection handled, so that what is replied goes to it.
    pub fn resume(&mut self, id: ConnId) {
        self.push_now(Command::Resume { id });
    }

    /// Has the message of a page handled that reads a stream of events.
    pub fn post(&mut self, to: ConnId, text: String) {
        self.push_now(Command::Post { to, text });
    }

    /// Has the file of a PHP session read. What it holds comes as an event, in a later turn.
    pub fn read_session(&mut self, call: CallId, file: SessionFile) {
        self.push_now(Command::ReadSession { call, file });
    }

    /// Subscribes to channels of a Redis that was added as a subscriber.
    pub fn subscribe(&mut self, upstream: UpstreamId, channels: Vec<Vec<u8>>) {
        let change = SubscriptionChange::Subscribe;
        self.push_now(Command::ChangeSubscriptions {
            upstream,
            change,
            channels,
        });
    }

    /// Gives channels back.
    pub fn unsubscribe(&mut self, upstream: UpstreamId, channels: Vec<Vec<u8>>) {
        let change = SubscriptionChange::Unsubscribe;
        self.push_now(Command::ChangeSubscriptions {
            upstream,
            change,
            channels,
        });
    }

    fn push_delivery(&mut self, command: Command, call: Option<CallId>) {
        if call.is_some() {
            self.urgency = Urgency::Now;
        }
        self.list.push(command);
    }

    fn push_now(&mut self, command: Command) {
        self.urgency = Urgency::Now;
        self.list.push(command);
    }

    fn encode(&mut self, kind: MessageKind, payload: &[u8]) -> Range<usize> {
        let start = self.frames.len();
        frame::encode(kind.opcode(), payload, &mut self.frames);
        self.share.frame_bytes += self.frames.len() - start;
        start..self.frames.len()
    }

    // ---- what the loop does with it

    /// An event about `current` is about to be handled. `message` says whose buffer its message
    /// lies in.
    pub fn begin(&mut self, current: ConnId, message: CurrentMessage) {
        debug_assert!(self.reply.is_empty(), "the reply before was not taken");
        debug_assert!(self.accept.is_none(), "nobody was let in");
        self.current = current;
        self.message = message;
    }

    /// The connection that the last event was about.
    pub fn current(&self) -> ConnId {
        self.current
    }

    /// How the current connection is let in, if it is; to be carried out before the reply.
    pub fn take_accept(&mut self) -> Option<Box<Accept>> {
        self.accept.take()
    }

    /// The frames that go back to it, to be taken out, and whether its message follows them.
    pub fn reply_mut(&mut self) -> (&mut Vec<u8>, CurrentMessage) {
        let message = std::mem::replace(&mut self.message, CurrentMessage::Lent);
        (&mut self.reply, message)
    }

    /// What these frames and that message count for.
    pub fn take_reply_counts(&mut self) -> MessageCounts {
        std::mem::take(&mut self.reply_counts)
    }

    /// Whether nothing but a reply has been asked for.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether what was asked for must not wait for more.
    pub fn is_urgent(&self) -> bool {
        self.urgency == Urgency::Now
    }

    /// Bytes of the frames to others.
    pub fn frames_len(&self) -> usize {
        self.frames.len()
    }

    /// A connection's share of a turn begins.
    pub fn begin_share(&mut self) {
        self.share = Deliveries::default();
    }

    /// What was brought about for others since then.
    pub fn share(&self) -> Deliveries {
        self.share
    }

    /// Takes all commands and the bytes that hold their frames. Both come back, emptied, with
    /// [`restore`](Self::restore).
    pub fn take(&mut self) -> (Vec<Command>, Vec<u8>) {
        self.urgency = Urgency::CanWait;
        (
            std::mem::take(&mut self.list),
            std::mem::take(&mut self.frames),
        )
    }

    /// Gives memory back, so that it is used again.
    pub fn restore(&mut self, mut list: Vec<Command>, mut frames: Vec<u8>) {
        list.clear();
        frames.clear();
        (self.list, self.frames) = (list, frames);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ConnId = ConnId {
        slot: 1,
        generation: 1,
    };

    #[test]
    fn an_owned_message_that_goes_back_is_not_copied_and_nothing_overtakes_it() {
        let mut commands = Commands::default();
        let message = vec![b'x'; 70_000];
        let message = Message::Binary(&message);
        commands.begin(ID, CurrentMessage::Owned);
        commands.reply(MessageKind::Text, b"first");
        commands.reply_received(&message);
        commands.reply_received(&message);
        commands.reply(MessageKind::Text, b"last");
        assert!(commands.is_urgent());
        let (reply, current) = commands.reply_mut();
        assert_eq!(
            (&**reply, current),
            (&b"\x81\x05first"[..], CurrentMessage::Returned)
        );
        let (list, frames) = commands.take();
        let frame_lens = list.iter().map(|command| match command {
            Command::Send { to: ID, frame, .. } => frame.len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(frame_lens.collect::<Vec<_>>(), [70_010, 6]);
        assert!(frames.ends_with(b"\x81\x04last"));
    }

    #[test]
    fn nothing_overtakes_what_was_missed() {
        let mut commands = Commands::default();
        commands.begin(ID, CurrentMessage::Lent);
        commands.replay(std::iter::empty());
        assert!(commands.is_empty(), "nothing was missed");
        commands.reply(MessageKind::Text, b"resumed");
        let missed = Rc::new(b"\x81\x06missed".to_vec().into());
        commands.replay(std::iter::once(missed));
        assert!(commands.is_urgent());
        commands.reply(MessageKind::Text, b"behind");
        let reply = std::mem::take(commands.reply_mut().0);
        assert_eq!(reply, b"\x81\x07resumed");
        let (list, frames) = commands.take();
        let [
            Command::Replay {
                to: ID,
                frames: missed,
            },
            Command::Send { to: ID, frame, .. },
        ] = list.as_slice()
        else {
            panic!("{list:?}");
        };
        assert_eq!(
            (missed.len(), &frames[frame.clone()]),
            (1, &b"\x81\x06behind"[..])
        );
        commands.begin(ID, CurrentMessage::Lent);
        commands.reply(MessageKind::Text, b"next");
        assert!(commands.is_empty(), "that is another answer");
    }

    #[test]
    fn a_lent_message_that_goes_back_is_copied() {
        let mut commands = Commands::default();
        commands.begin(ID, CurrentMessage::Lent);
        commands.reply_received(&Message::Binary(b"abc"));
        assert!(commands.is_empty() && !commands.is_urgent());
        let (reply, current) = commands.reply_mut();
        assert_eq!(
            (&**reply, current),
            (&b"\x82\x03abc"[..], CurrentMessage::Lent)
        );
    }
}

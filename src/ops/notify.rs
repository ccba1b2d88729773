//! What the service manager is told (sd_notify(3)): `NOTIFY_SOCKET`, `WATCHDOG_USEC`.
//!
//! The words are those of the crate `sd_notify`. It would send them with a call that waits while
//! the manager is busy, and knows no abstract names; the loop must never wait, so they are sent
//! here.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use log::warn;
use sd_notify::NotifyState;

use crate::base::plain;

/// The way to the service manager. What does not go at once is kept for the next attempt.
pub struct Notifier {
    send: Box<SendDatagram>,
    watchdog: Option<Duration>,
    unsent: VecDeque<String>,
}

/// Sends one datagram, and never waits.
type SendDatagram = dyn FnMut(&str) -> io::Result<()>;

/// Something that the manager wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// The server listens; or the settings have been read again.
    Ready,
    /// The settings are being read again.
    Reloading,
    /// The server ends.
    Stopping,
    /// It may take so long, counted from now.
    ExtendTimeout(Duration),
    /// The loop goes round.
    Alive,
    /// One line for `systemctl status`.
    Status(&'a str),
    /// From now on this process is the server.
    MainProcess(u32),
}

impl Notifier {
    /// The manager that the environment tells of, if there is one. A socket that cannot be used is
    /// a warning: the server works without.
    pub fn from_environment() -> Option<Self> {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
        let sender = sender_to(&name).inspect_err(|error| {
            warn!(
                "NOTIFY_SOCKET={}: {}; the service manager is told nothing",
                name.display(),
                plain(error)
            );
        });
        Some(Self::new(sender.ok()?, sd_notify::watchdog_enabled()))
    }

    /// One that sends by `send`, which must not wait. `watchdog`: the longest time without a sign
    /// of life.
    pub fn new(
        send: impl FnMut(&str) -> io::Result<()> + 'static,
        watchdog: Option<Duration>,
    ) -> Self {
        Self {
            send: Box::new(send),
            watchdog: watchdog.filter(|interval| !interval.is_zero()),
            unsent: VecDeque::new(),
        }
    }

    /// The longest time without a sign of life, if the manager watches for one.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Tells the manager, in one datagram.
    pub fn tell(&mut self, notices: &[Notice<'_>]) {
        // Of those that wait, the newest sign of life says it all.
        if self.unsent.len() >= MAX_UNSENT {
            self.unsent.pop_front();
        }
        self.unsent.push_back(text_of(notices));
        self.send_unsent();
    }

    /// Tells the manager what must not wait.
    ///
    /// # Errors
    /// It is not told: it takes nothing now, or there is none any more.
    pub fn tell_now(&mut self, notices: &[Notice<'_>]) -> io::Result<()> {
        self.send_unsent();
        match self.has_unsent() {
            true => Err(ErrorKind::WouldBlock.into()),
            false => (self.send)(&text_of(notices)),
        }
    }

    /// Whether something could not be sent yet.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Tries to send what could not be sent.
    pub fn send_unsent(&mut self) {
        while let Some(text) = self.unsent.front() {
            match (self.send)(text) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // A manager that is gone will be back, and asks for no more than the next word.
                Err(error) => log::debug!("the service manager is not told: {}", plain(&error)),
                Ok(()) => {}
            }
            self.unsent.pop_front();
        }
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Notifier");
        shown.field("watchdog", &self.watchdog);
        shown.finish_non_exhaustive()
    }
}

/// Sends to the socket of this name: a path, or `@` and an abstract name (unix(7)). It is not
/// connected, as the manager may make its socket anew.
fn sender_to(name: &OsStr) -> io::Result<impl FnMut(&str) -> io::Result<()> + 'static> {
    let address = match name.as_bytes() {
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => {
            let reason = "only /PATH and @NAME are known";
            return Err(io::Error::new(ErrorKind::Unsupported, reason));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok(move |text: &str| socket.send_to_addr(text.as_bytes(), &address).map(drop))
}

fn text_of(notices: &[Notice<'_>]) -> String {
    let mut text = String::new();
    let mut push = |state: NotifyState<'_>| {
        text.push_str(&state.to_string());
        text.push('\n');
    };
    for notice in notices {
        match notice {
            Notice::Ready => push(NotifyState::Ready),
            Notice::Reloading => {
                push(NotifyState::Reloading);
                // The manager tells by it whether READY=1 is that of this reload.
                if let Ok(now) = NotifyState::monotonic_usec_now() {
                    push(now);
                }
            }
            Notice::Stopping => push(NotifyState::Stopping),
            Notice::ExtendTimeout(time) => {
                let microseconds = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
                push(NotifyState::ExtendTimeoutUsec(microseconds));
            }
            Notice::Alive => push(NotifyState::Watchdog),
            Notice::Status(line) => push(NotifyState::Status(line)),
            Notice::MainProcess(pid) => push(NotifyState::MainPid(*pid)),
        }
    }
    text
}

/// Most datagrams that wait for a manager which takes none.
const MAX_UNSENT: usize = 16;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn words_are_those_of_sd_notify() {
        let text = text_of(&[
            Notice::Stopping,
            Notice::ExtendTimeout(Duration::from_millis(1500)),
            Notice::Status("3 tabs"),
        ]);
        assert_eq!(
            text,
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=1500000\nSTATUS=3 tabs\n"
        );
        let text = text_of(&[Notice::ExtendTimeout(Duration::from_secs(7200))]);
        assert_eq!(text, format!("EXTEND_TIMEOUT_USEC={}\n", u32::MAX));
        let text = text_of(&[Notice::Reloading]);
        let number = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        let number = number.and_then(|rest| rest.strip_suffix('\n'));
        assert!(number.is_some_and(|n| n.parse::<u64>().is_ok()), "{text}");
        assert_eq!(
            text_of(&[Notice::Ready, Notice::Alive]),
            "READY=1\nWATCHDOG=1\n"
        );
        assert_eq!(text_of(&[Notice::MainProcess(77)]), "MAINPID=77\n");
    }

    #[test]
    fn paths_and_abstract_names_are_reached_and_others_are_named() {
        let directory = std::env::temp_dir();
        let path = directory.join(format!("websock-notify-{}", std::process::id()));
        let receiver = UnixDatagram::bind(&path).expect("a socket");
        let mut send = sender_to(path.as_os_str()).expect("a path");
        send("READY=1\n").expect("sent");
        let mut buffer = [0; 64];
        let len = receiver.recv(&mut buffer).expect("received");
        assert_eq!(&buffer[..len], b"READY=1\n");
        std::fs::remove_file(&path).expect("removed");

        let name = format!("websock-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let receiver = UnixDatagram::bind_addr(&address).expect("a socket");
        let mut send = sender_to(OsStr::new(&format!("@{name}"))).expect("a name");
        send("STOPPING=1\n").expect("sent");
        let len = receiver.recv(&mut buffer).expect("received");
        assert_eq!(&buffer[..len], b"STOPPING=1\n");

        for name in ["vsock:2:1234", "relative", &format!("/{}", "x".repeat(200))] {
            assert!(sender_to(OsStr::new(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn what_the_manager_does_not_take_is_sent_later_in_order_and_bounded() {
        let taken = Rc::new(RefCell::new(Vec::new()));
        let is_busy = Rc::new(RefCell::new(true));
        let (log, busy) = (Rc::clone(&taken), Rc::clone(&is_busy));
        let send = move |text: &str| match *busy.borrow() {
            true => Err(ErrorKind::WouldBlock.into()),
            false => {
                log.borrow_mut().push(text.to_owned());
                Ok(())
            }
        };
        let mut notifier = Notifier::new(send, Some(Duration::ZERO));
        assert_eq!(notifier.watchdog(), None, "0 is off");
        for number in 0..100 {
            notifier.tell(&[Notice::Status(&number.to_string())]);
        }
        assert!(notifier.has_unsent() && taken.borrow().is_empty());
        let now = notifier.tell_now(&[Notice::MainProcess(1)]);
        assert_eq!(
            now.map_err(|error| error.kind()),
            Err(ErrorKind::WouldBlock)
        );
        *is_busy.borrow_mut() = false;
        notifier.send_unsent();
        let taken = taken.borrow();
        assert!(!notifier.has_unsent());
        assert_eq!(taken.len(), MAX_UNSENT);
        assert_eq!(taken.last().map(String::as_str), Some("STATUS=99\n"));
        assert_eq!(taken[0], "STATUS=84\n");
    }
}

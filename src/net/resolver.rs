//! [`Resolver`]: names → addresses, on a thread of its own.
//!
//! The system's resolver blocks as long as it likes, so it is called on the only thread here,
//! which is started with the first name. The thread is not waited for at the end: it may be at a
//! name for half a minute, and holds nothing that has to be given back.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use crate::ops::names;
use crate::upstream::{ResolveError, literal_addresses};

/// Looks up names, one after the other.
pub struct Resolver {
    /// Called on the thread whenever a result is there. Handed over when the thread is started.
    wake: Option<Box<dyn Fn() + Send>>,
    thread: Option<Thread>,
    /// Results that needed no thread.
    ready: VecDeque<Resolved>,
}

/// Both ends of the way to the thread and back.
struct Thread {
    questions: SyncSender<Question>,
    results: Receiver<Resolved>,
}

struct Question {
    asker: u64,
    host: String,
    port: u16,
}

/// What a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The number that was given with the name.
    pub asker: u64,
    /// Its addresses, without duplicates, in the system's order; never none.
    pub result: Result<Vec<SocketAddr>, ResolveError>,
}

impl Resolver {
    /// A resolver without a thread yet. `wake` has the loop ask for results, from another thread.
    pub fn new(wake: Box<dyn Fn() + Send>) -> Self {
        Self {
            wake: Some(wake),
            thread: None,
            ready: VecDeque::new(),
        }
    }

    /// Looks up a name. The result comes by [`next_result`](Self::next_result), under the number
    /// `asker`. At once, without a thread and without `wake`, for an IP address and `localhost`,
    /// and where too many names wait already.
    pub fn resolve(&mut self, asker: u64, host: String, port: u16) {
        let literal = literal_addresses(&host);
        if !literal.is_empty() {
            let tcp = |ip| SocketAddr::new(ip, port);
            let result = Ok(literal.into_iter().map(tcp).collect());
            self.ready.push_back(Resolved { asker, result });
            return;
        }
        let question = Question { asker, host, port };
        let is_taken = match self.thread() {
            Ok(thread) => thread.questions.try_send(question).is_ok(),
            Err(error) => {
                log::warn!("no thread to look up names: {error}; see the limits of this process");
                false
            }
        };
        if !is_taken {
            let result = Err(ResolveError::Busy);
            self.ready.push_back(Resolved { asker, result });
        }
    }

    /// The next result; to be asked until it is `None`: after `wake` and after each
    /// [`resolve`](Self::resolve).
    pub fn next_result(&mut self) -> Option<Resolved> {
        let ready = self.ready.pop_front();
        ready.or_else(|| self.thread.as_ref()?.results.try_recv().ok())
    }

    fn thread(&mut self) -> io::Result<&Thread> {
        if self.thread.is_none() {
            let (questions, asked) = sync_channel(MAX_WAITING);
            let (answers, results) = channel();
            // Given back if there can be no thread, so that the next name tries again.
            let (hand_over, handed_over) = channel::<Box<dyn Fn() + Send>>();
            thread::Builder::new()
                .name("resolver".to_owned())
                .spawn(move || {
                    if let Ok(wake) = handed_over.recv() {
                        run(&asked, &answers, &*wake);
                    }
                })?;
            if let Some(wake) = self.wake.take() {
                // The thread waits for it.
                drop(hand_over.send(wake));
            }
            self.thread = Some(Thread { questions, results });
        }
        self.thread
            .as_ref()
            .ok_or_else(|| io::Error::other("it has just been started"))
    }
}

/// Looks up names until nobody is left to ask.
fn run(questions: &Receiver<Question>, answers: &Sender<Resolved>, wake: &dyn Fn()) {
    while let Ok(Question { asker, host, port }) = questions.recv() {
        let result = look_up(&host, port);
        if answers.send(Resolved { asker, result }).is_err() {
            return;
        }
        wake();
    }
}

fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
    let addresses = names::resolve(host, port).map_err(|error| {
        log::debug!("a name could not be looked up: {error}");
        ResolveError::NotFound
    })?;
    match addresses.is_empty() {
        true => Err(ResolveError::NotFound),
        false => Ok(addresses),
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("has_thread", &self.thread.is_some())
            .finish_non_exhaustive()
    }
}

/// Most names that wait behind the one that is being looked up. Each target has one at most.
const MAX_WAITING: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn resolver() -> (Resolver, Receiver<()>) {
        let (woken, wakes) = channel();
        let wake = Box::new(move || _ = woken.send(()));
        (Resolver::new(wake), wakes)
    }

    fn addresses(texts: &[&str]) -> Result<Vec<SocketAddr>, ResolveError> {
        Ok(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn addresses_need_no_thread() {
        let (mut resolver, _wakes) = resolver();
        for (asker, host, expected) in [
            (1, "127.0.0.1", addresses(&["127.0.0.1:80"])),
            (2, "::1", addresses(&["[::1]:80"])),
            (3, "LocalHost", addresses(&["127.0.0.1:80", "[::1]:80"])),
        ] {
            resolver.resolve(asker, host.to_owned(), 80);
            let resolved = resolver.next_result().unwrap();
            assert_eq!((resolved.asker, resolved.result), (asker, expected));
        }
        assert!(resolver.thread.is_none() && resolver.next_result().is_none());
    }

    #[test]
    fn results_of_the_thread_wake_the_loop() {
        let (mut resolver, wakes) = resolver();
        // No name that is asked of the network: these cannot be looked up anywhere.
        for asker in [7, 8] {
            resolver.resolve(asker, "a\0b".to_owned(), 80);
        }
        for asker in [7, 8] {
            wakes.recv_timeout(Duration::from_secs(60)).unwrap();
            let result = Err(ResolveError::NotFound);
            let expected = Some(Resolved { asker, result });
            assert_eq!(resolver.next_result(), expected);
        }
        assert_eq!(resolver.next_result(), None);
    }

    #[test]
    fn only_so_many_names_wait() {
        let (go, gate) = channel::<()>();
        let mut resolver = Resolver::new(Box::new(move || _ = gate.recv()));
        let name_count = MAX_WAITING + 10;
        for asker in 0..name_count {
            resolver.resolve(asker as u64, "a\0b".to_owned(), 80);
        }
        let busy = std::iter::from_fn(|| resolver.next_result())
            .filter(|resolved| resolved.result == Err(ResolveError::Busy))
            .count();
        // The thread stops behind its first one, which may still have been in the queue.
        assert!((9..=10).contains(&busy), "{busy}");
        drop(go);
    }

    #[test]
    fn an_end_while_names_wait_ends_the_thread() {
        let (alive, thread_holds) = channel::<()>();
        let mut resolver = Resolver::new(Box::new(move || _ = alive.send(())));
        resolver.resolve(1, "a\0b".to_owned(), 80);
        drop(resolver);
        // The thread has dropped `wake` once this ends.
        while thread_holds.recv_timeout(Duration::from_secs(60)).is_ok() {}
        let ended = thread_holds.try_recv();
        assert_eq!(ended, Err(std::sync::mpsc::TryRecvError::Disconnected));
    }
}

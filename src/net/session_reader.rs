//! [`SessionReader`]: reads files of PHP sessions on helper threads, so that a disk that does not
//! answer holds up those who wait for it and nobody else.
//!
//! Threads are started as they are needed, up to [`MOST_THREADS`], and end with the reader. They are
//! not waited for: one may hang in the kernel for as long as a network file system is away, and
//! holds nothing that has to be given back.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::system::Waker;
use crate::protocol::php_session::{SessionFile, SessionOutcome, Unreadable};
use crate::upstream::CallId;

/// Reads a file. Called on a helper thread, and may block there.
type Read = Box<dyn Fn(&SessionFile) -> SessionOutcome + Send + Sync>;

/// Reads sessions, several at a time.
pub(super) struct SessionReader {
    shared: Arc<Shared>,
}

/// What the loop and the threads share. The lock is never held while a file is read.
struct Shared {
    state: Mutex<State>,
    /// Something is to be read, something was taken, or the reader has gone.
    changed: Condvar,
    read: Read,
    wake: Waker,
}

#[derive(Default)]
struct State {
    /// Files that no thread has begun, in order.
    waiting: VecDeque<Waiting>,
    /// Who waits for each of them is found by this: its position since the beginning.
    positions: HashMap<SessionFile, u64>,
    /// Files that were taken from `waiting` since the beginning.
    taken_count: u64,
    /// Calls in `waiting`.
    call_count: usize,
    outcomes: VecDeque<(CallId, SessionOutcome)>,
    /// Bytes of sessions in `outcomes`.
    outcome_bytes: usize,
    thread_count: usize,
    idle_count: usize,
    is_over: bool,
}

/// A file, and everybody who has asked for it.
struct Waiting {
    file: SessionFile,
    calls: Vec<CallId>,
}

impl SessionReader {
    /// A reader without a thread yet. Threads call `wake` when they have read something.
    pub(super) fn new(wake: Waker, read: Read) -> Self {
        let state = Mutex::default();
        let changed = Condvar::new();
        Self {
            shared: Arc::new(Shared {
                state,
                changed,
                read,
                wake,
            }),
        }
    }

    /// Has a file read. Its outcome comes by [`next_outcome`](Self::next_outcome), exactly once, and
    /// behind a wake. Who asks for a file that waits already shares its reading; one that is being
    /// read may have been read before what the caller wants to see.
    pub(super) fn read(&mut self, call: CallId, file: SessionFile) {
        let mut state = self.shared.lock();
        if !state.add(call, file) {
            let outcome = SessionOutcome::Unreadable(Unreadable::Busy);
            state.outcomes.push_back((call, outcome));
            drop(state);
            return (self.shared.wake)();
        }
        if state.waiting.len() > state.idle_count && state.thread_count < MOST_THREADS {
            match self.start_thread() {
                Ok(()) => state.thread_count += 1,
                Err(error) => {
                    log::warn!(
                        "no thread to read sessions: {error}; see the limits of this process"
                    );
                    if state.thread_count == 0 {
                        state.give_up();
                        drop(state);
                        return (self.shared.wake)();
                    }
                }
            }
        }
        drop(state);
        self.shared.changed.notify_one();
    }

    /// The next outcome; `None`: there is none now.
    pub(super) fn next_outcome(&mut self) -> Option<(CallId, SessionOutcome)> {
        let mut state = self.shared.lock();
        let (call, outcome) = state.outcomes.pop_front()?;
        let was_full = state.is_full();
        state.outcome_bytes -= outcome.byte_count();
        let is_full = state.is_full();
        drop(state);
        if was_full && !is_full {
            self.shared.changed.notify_all();
        }
        Some((call, outcome))
    }

    fn start_thread(&self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let builder = thread::Builder::new().name("sessions".to_owned());
        builder.spawn(move || shared.run()).map(drop)
    }
}

impl Drop for SessionReader {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_over = true;
        state.waiting.clear();
        state.positions.clear();
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// A thread that has died has left the state whole, as nothing that may panic is called while
    /// it is locked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads one file after the other until the reader has gone.
    fn run(&self) {
        while let Some(Waiting { file, calls }) = self.next_file() {
            // One that could end the thread would leave its askers without an answer.
            let outcome = catch_unwind(AssertUnwindSafe(|| (self.read)(&file)));
            let outcome = outcome.unwrap_or(SessionOutcome::Unreadable(Unreadable::Io));
            let mut state = self.lock();
            for call in calls {
                state.outcome_bytes += outcome.byte_count();
                state.outcomes.push_back((call, outcome.clone()));
            }
            drop(state);
            (self.wake)();
        }
    }

    /// Waits for the next file; `None`: there will be none.
    fn next_file(&self) -> Option<Waiting> {
        let mut state = self.lock();
        loop {
            if state.is_over {
                return None;
            }
            // Until the loop has taken some of what was read, nothing more is.
            if !state.is_full()
                && let Some(next) = state.take()
            {
                return Some(next);
            }
            state.idle_count += 1;
            let woken = self.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
            state.idle_count -= 1;
        }
    }
}

impl State {
    /// Whether there was room for it.
    fn add(&mut self, call: CallId, file: SessionFile) -> bool {
        if self.call_count == MOST_WAITING {
            return false;
        }
        self.call_count += 1;
        if let Some(position) = self.positions.get(&file) {
            let index = usize::try_from(position - self.taken_count).unwrap_or(usize::MAX);
            if let Some(waiting) = self.waiting.get_mut(index) {
                waiting.calls.push(call);
                return true;
            }
        }
        let position = self.taken_count + self.waiting.len() as u64;
        self.positions.insert(file.clone(), position);
        let calls = vec![call];
        self.waiting.push_back(Waiting { file, calls });
        true
    }

    fn take(&mut self) -> Option<Waiting> {
        let next = self.waiting.pop_front()?;
        self.taken_count += 1;
        self.call_count -= next.calls.len();
        self.positions.remove(&next.file);
        Some(next)
    }

    /// Nobody will read what waits.
    fn give_up(&mut self) {
        while let Some(next) = self.take() {
            let outcome = SessionOutcome::Unreadable(Unreadable::Busy);
            let outcomes = next.calls.into_iter().map(|call| (call, outcome.clone()));
            self.outcomes.extend(outcomes);
        }
    }

    fn is_full(&self) -> bool {
        self.outcome_bytes > MOST_OUTCOME_BYTES
    }
}

impl fmt::Debug for SessionReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionReader").finish_non_exhaustive()
    }
}

/// Most threads: while one waits for a slow disk, others go on.
const MOST_THREADS: usize = 4;

/// Most calls that wait. A file is read in some ten microseconds, so that so many wait only where
/// the disk does not answer.
const MOST_WAITING: usize = 10_000;

/// Bytes of sessions above which no further ones are read before the loop has taken some.
const MOST_OUTCOME_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use super::*;
    use crate::protocol::php_session::{SessionFolder, SessionId, StoredSession};

    const LONG: Duration = Duration::from_secs(60);

    /// A reader whose files are read when the test lets them be.
    struct Bench {
        reader: SessionReader,
        wakes: Receiver<()>,
        /// Names of files that a thread has begun to read.
        begun: Receiver<String>,
        /// One file is read for each that is sent, with so many bytes.
        lets: Sender<usize>,
    }

    impl Bench {
        fn new() -> Self {
            let (woken, wakes) = channel();
            let (begin, begun) = channel();
            let (lets, allowed) = channel::<usize>();
            let allowed = Mutex::new(allowed);
            let read = move |file: &SessionFile| {
                begin.send(file.id.as_str().to_owned()).unwrap();
                let len = allowed.lock().unwrap().recv().unwrap_or_default();
                let bytes = vec![b'x'; len].into();
                let age = Duration::ZERO;
                SessionOutcome::Found(StoredSession { bytes, age })
            };
            let wake = Arc::new(move || _ = woken.send(()));
            Self {
                reader: SessionReader::new(wake, Box::new(read)),
                wakes,
                begun,
                lets,
            }
        }

        fn ask(&mut self, call: u64, id: &str) {
            self.reader.read(CallId(call), file(id));
        }

        #[track_caller]
        fn expect_begun(&self) -> String {
            self.begun.recv_timeout(LONG).unwrap()
        }

        /// Takes outcomes until there are as many.
        #[track_caller]
        fn take(&mut self, count: usize) -> Vec<(u64, SessionOutcome)> {
            let mut taken = Vec::new();
            while taken.len() < count {
                match self.reader.next_outcome() {
                    Some((call, outcome)) => taken.push((call.0, outcome)),
                    None => self.wakes.recv_timeout(LONG).unwrap(),
                }
            }
            assert!(self.reader.next_outcome().is_none());
            taken
        }
    }

    fn file(id: &str) -> SessionFile {
        SessionFile {
            folder: Arc::new(SessionFolder::parse("/nowhere").unwrap()),
            id: SessionId::parse(id.as_bytes()).unwrap(),
            max_bytes: 1000,
        }
    }

    fn calls(outcomes: &[(u64, SessionOutcome)]) -> Vec<u64> {
        let mut calls: Vec<u64> = outcomes.iter().map(|(call, _)| *call).collect();
        calls.sort_unstable();
        calls
    }

    #[test]
    fn each_call_is_answered_once() {
        let mut bench = Bench::new();
        for call in 0..20 {
            bench.ask(call, &format!("id{call}"));
            bench.lets.send(1).unwrap();
        }
        assert_eq!(calls(&bench.take(20)), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn who_asks_for_a_file_that_waits_shares_its_reading() {
        let mut bench = Bench::new();
        // Threads enough for all but what follows, none of which ends.
        for busy in 0..MOST_THREADS as u64 {
            bench.ask(busy, &format!("busy{busy}"));
            bench.expect_begun();
        }
        for call in 10..13 {
            bench.ask(call, "same");
        }
        bench.ask(20, "other");
        // Being read already: what is asked now wants to see what comes later.
        bench.ask(21, "busy0");
        for _ in 0..MOST_THREADS + 3 {
            bench.lets.send(1).unwrap();
        }
        let outcomes = bench.take(MOST_THREADS + 5);
        let expected = (0..MOST_THREADS as u64).chain([10, 11, 12, 20, 21]);
        assert_eq!(calls(&outcomes), expected.collect::<Vec<_>>());
        let mut begun: Vec<String> = (0..3).map(|_| bench.expect_begun()).collect();
        begun.sort();
        assert_eq!(begun, ["busy0", "other", "same"]);
        assert!(bench.begun.try_recv().is_err());
    }

    #[test]
    fn one_file_that_hangs_does_not_hold_up_others() {
        let mut bench = Bench::new();
        bench.ask(1, "hangs");
        bench.expect_begun();
        bench.ask(2, "next");
        assert_eq!(bench.expect_begun(), "next");
    }

    #[test]
    fn only_so_many_calls_wait() {
        let mut bench = Bench::new();
        for call in 0..MOST_THREADS {
            bench.ask(call as u64, &format!("busy{call}"));
            bench.expect_begun();
        }
        for call in 0..=MOST_WAITING as u64 {
            bench.ask(1000 + call, "waits");
        }
        let last = 1000 + MOST_WAITING as u64;
        let busy = SessionOutcome::Unreadable(Unreadable::Busy);
        assert_eq!(bench.take(1), [(last, busy)]);
    }

    #[test]
    fn nothing_more_is_read_until_some_was_taken() {
        let mut bench = Bench::new();
        let len = MOST_OUTCOME_BYTES + 1;
        bench.ask(1, "large");
        bench.expect_begun();
        bench.lets.send(len).unwrap();
        bench.wakes.recv_timeout(LONG).unwrap();
        bench.ask(2, "next");
        // All threads come to rest without having begun it.
        loop {
            assert!(bench.begun.try_recv().is_err());
            let state = bench.reader.shared.lock();
            assert!(state.is_full());
            if state.idle_count == state.thread_count {
                break;
            }
            drop(state);
            thread::yield_now();
        }
        assert_eq!(calls(&bench.take(1)), [1]);
        assert_eq!(bench.expect_begun(), "next");
        bench.lets.send(1).unwrap();
        assert_eq!(calls(&bench.take(1)), [2]);
        assert_eq!(bench.reader.shared.lock().outcome_bytes, 0);
    }

    #[test]
    fn a_reading_that_panics_is_an_outcome() {
        let (woken, wakes) = channel();
        let wake = Arc::new(move || _ = woken.send(()));
        let read = |_: &SessionFile| panic!("a test of panics");
        let mut reader = SessionReader::new(wake, Box::new(read));
        for call in 0..10 {
            reader.read(CallId(call), file("a"));
            wakes.recv_timeout(LONG).unwrap();
            let expected = SessionOutcome::Unreadable(Unreadable::Io);
            assert_eq!(reader.next_outcome(), Some((CallId(call), expected)));
        }
    }

    #[test]
    fn threads_end_with_the_reader() {
        let mut bench = Bench::new();
        bench.ask(1, "a");
        bench.ask(2, "b");
        bench.lets.send(1).unwrap();
        bench.lets.send(1).unwrap();
        bench.take(2);
        let Bench { reader, begun, .. } = bench;
        drop(reader);
        // The last thread takes along what it sends by.
        while begun.recv_timeout(LONG).is_ok() {}
        let ended = begun.try_recv();
        assert_eq!(ended, Err(std::sync::mpsc::TryRecvError::Disconnected));
    }
}

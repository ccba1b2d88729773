//! The thread that writes the lines to one output, and its ends of the channel. Each output has a
//! thread of its own, so that a terminal on hold does not keep lines from the file.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use log::{Level, Record};

use super::file::LogFile;
use super::flood::{Admitted, Flood};
use super::line::{Layout, line_of};
use super::recent::Recent;
use crate::base::log_target::REFUSALS;

/// The handle of one thread.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    sender: SyncSender<Order>,
    shared: Arc<Shared>,
    layout: Layout,
}

/// Hands whole lines to every thread and never waits.
pub(super) struct Lines {
    workers: Vec<Worker>,
    recent: Recent,
    refusals: Flood,
}

/// Where lines go.
pub(super) enum Output {
    /// Standard output.
    Console(BufWriter<Box<dyn Write + Send>>),
    File(LogFile),
}

enum Order {
    Line(Vec<u8>),
    /// Look at [`Shared`].
    WakeUp,
    /// Answer when everything before is written.
    Flush(SyncSender<()>),
}

/// What must get through even if the channel is full.
#[derive(Debug, Default)]
struct Shared {
    dropped_lines: AtomicU64,
    reopen: AtomicBool,
}

impl Worker {
    /// Starts the thread. It ends when the last handle is gone.
    pub(super) fn start(output: Output, layout: Layout) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(MAX_WAITING_LINES);
        let shared = Arc::<Shared>::default();
        let seen = Arc::clone(&shared);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || work((output, layout), &receiver, &seen))?;
        Ok(Self {
            sender,
            shared,
            layout,
        })
    }

    /// Writes a line of its own layout.
    pub(super) fn log(&self, level: Level, text: &fmt::Arguments<'_>) {
        self.write(self.layout.line(level, text).into_bytes());
    }

    /// A line that finds no room is counted.
    fn write(&self, line: Vec<u8>) {
        if self.sender.try_send(Order::Line(line)).is_err() {
            self.shared.dropped_lines.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Does not wait.
    pub(super) fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        // Full: then the thread sees the flag before its next line anyway.
        let _ = self.sender.try_send(Order::WakeUp);
    }

    /// Waits until what was handed over is written, or until `deadline`.
    pub(super) fn flush(&self, deadline: Instant) {
        let (done, is_done) = sync_channel(1);
        while let Err(TrySendError::Full(_)) = self.sender.try_send(Order::Flush(done.clone())) {
            if Instant::now() >= deadline {
                return;
            }
            thread::sleep(FLUSH_STEP);
        }
        drop(done);
        let _ = is_done.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

impl Lines {
    /// `recent` keeps those that matter.
    pub(super) fn new(workers: Vec<Worker>, recent: Recent) -> Self {
        Self {
            workers,
            recent,
            refusals: Flood::default(),
        }
    }

    /// Writes a record, unless it is one of too many.
    pub(super) fn log(&self, record: &Record<'_>) {
        if record.target() == REFUSALS {
            match self.refusals.admit(Instant::now()) {
                Admitted::LeftOut => return,
                Admitted::Behind(0) => {}
                Admitted::Behind(count) => {
                    let text = format_args!("{count} more refusals in the seconds before");
                    self.write(Level::Warn, &text);
                }
            }
        }
        self.write(record.level(), record.args());
    }

    fn write(&self, level: Level, text: &fmt::Arguments<'_>) {
        self.recent.keep(level, || line_of(level, text));
        self.workers
            .iter()
            .for_each(|worker| worker.log(level, text));
    }
}

fn work((mut output, layout): (Output, Layout), orders: &Receiver<Order>, shared: &Shared) {
    while let Ok(first) = orders.recv() {
        let mut next = Some(first);
        while let Some(order) = next {
            follow(&order, (&mut output, layout), shared);
            next = orders.try_recv().ok();
        }
        output.flush();
        // Whoever logs meanwhile has nobody to wake, and the lines leave together.
        thread::sleep(GATHERING);
    }
}

fn follow(order: &Order, (output, layout): (&mut Output, Layout), shared: &Shared) {
    if shared.reopen.swap(false, Ordering::AcqRel) {
        output.reopen();
    }
    let dropped = shared.dropped_lines.swap(0, Ordering::Relaxed);
    if dropped > 0 {
        let text = format_args!("{dropped} log lines lost, writing them took too long");
        output.write(layout.line(Level::Warn, &text).as_bytes());
    }
    match order {
        Order::Line(line) => output.write(line),
        Order::WakeUp => {}
        Order::Flush(done) => {
            output.flush();
            let _ = done.try_send(());
        }
    }
}

impl Output {
    fn write(&mut self, line: &[u8]) {
        match self {
            // A console that is gone (its reader has ended) is no reason for complaint.
            Self::Console(console) => drop(console.write_all(line)),
            Self::File(file) => file.write(line),
        }
    }

    /// Hands over what was written.
    fn flush(&mut self) {
        match self {
            Self::Console(console) => drop(console.flush()),
            Self::File(file) => file.flush(),
        }
    }

    fn reopen(&mut self) {
        match self {
            Self::Console(_) => {}
            Self::File(file) => file.reopen(),
        }
    }
}

/// Room for a burst, per output: half a MiB with usual lines.
const MAX_WAITING_LINES: usize = 4_096;
const FLUSH_STEP: Duration = Duration::from_millis(5);

/// For how long lines are gathered behind those that were just written.
const GATHERING: Duration = Duration::from_millis(5);

//! One line each hour (`logSummary`): what has come and gone since the one before.

use log::info;

use super::event_loop::EventLoop;
use super::system::System;
use super::timers::Timer;
use super::totals::Totals;
use crate::protocol::message::MessageKind;
use crate::protocol::traffic::Counts;

impl<Y: System> EventLoop<Y> {
    /// Sets the time of the next line; zero: there is none.
    pub fn begin_summaries(&mut self) {
        let interval = self.settings.summary_interval;
        match interval.is_zero() {
            true => self.timers.cancel(Timer::Summary),
            false => self.timers.set(Timer::Summary, self.context.now + interval),
        }
    }

    /// Writes the line.
    pub(super) fn tell_summary(&mut self) {
        let totals = self.totals();
        let before = std::mem::replace(&mut self.summary.told, totals);
        let (tabs, scripts) = self.app.client_counts();
        let since = |now: u64, then: u64| now.saturating_sub(then);
        info!(
            "Since the last summary: {} tabs and {} scripts came, {} messages in, {} out, {} \
             refusals; now {tabs} tabs and {scripts} scripts, {} of memory held",
            since(totals.tabs, before.tabs),
            since(totals.scripts, before.scripts),
            since(totals.received, before.received),
            since(totals.sent, before.sent),
            since(totals.refused, before.refused),
            in_mib(self.total_bytes()),
        );
        self.begin_summaries();
    }

    fn totals(&self) -> Totals {
        let traffic = &self.context.traffic;
        let (opened, refused) = self.app.opened_and_refused_counts();
        Totals {
            tabs: opened.web,
            scripts: opened.php,
            received: messages(&traffic.received),
            sent: messages(&traffic.sent),
            refused: refused + self.acceptor.refusal_counts().total(),
        }
    }
}

fn messages(counts: &Counts) -> u64 {
    counts.messages(MessageKind::Text) + counts.messages(MessageKind::Binary)
}

fn in_mib(bytes: usize) -> String {
    let tenths = bytes * 10 / (1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

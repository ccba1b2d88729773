//! Pushes: taken apart a turn's share at a time, and answered when what became of the last packet is
//! known.

use log::debug;

use super::{PendingRequest, Requests, Task};
use crate::api::{Outcome, PushError, Wait};
use crate::app::backplane::{Backplane, Total};
use crate::app::calls::{Asker, Call, CallId, Receipt, Recipients, Ticket};
use crate::app::commands::Commands;
use crate::app::deliveries::NOBODY;
use crate::app::pushed::{Pushed, push};
use crate::app::reply::respond;
use crate::app::sessions::Sessions;
use crate::base::MonotonicTime;
use crate::connection::ConnId;

impl Requests {
    /// Pushes a turn's share of a batch, or answers it if all is done.
    pub(super) fn push_on(
        &mut self,
        id: ConnId,
        sessions: &mut Sessions,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let Some(PendingRequest {
            task: Task::Batch(batch),
            ..
        }) = self.pending.get_mut(&id)
        else {
            return;
        };
        let wait = batch.wait();
        let mut budget = DELIVERIES_PER_TURN;
        self.congested_until = None;
        while budget > 0 {
            let backplane = sessions.backplane.as_deref();
            let full_until = |backplane: &Backplane| backplane.full_until(batch.next_len(), now);
            self.congested_until = backplane.and_then(full_until);
            if self.congested_until.is_some() {
                break;
            }
            let index = batch.next_index();
            let Some(packet) = batch.next_packet() else {
                break;
            };
            let ask = |recipients| {
                let call = Call {
                    asker: Asker::Request(id),
                    index,
                    recipients,
                };
                (wait == Wait::ForReceipts).then(|| self.calls.ask(call))
            };
            let pushed = push(id, packet, ask, &mut sessions.delivery(now, commands));
            let (cost, outcome) = match pushed {
                Ok(Pushed::Sent(count)) => (count, None),
                Ok(Pushed::LoggedOut(closed)) => (closed, Some(Outcome::logged_out(closed))),
                Err(error) => (0, Some(Outcome::Refused(error))),
            };
            budget = budget.saturating_sub(cost + PACKET_COST);
            if let Some(outcome) = outcome {
                batch.note(index, outcome);
            }
            self.congested_until = sessions.congested_until(now);
            if self.congested_until.is_some() {
                break;
            }
        }
        if batch.is_answered() {
            self.answer_batch(id, commands);
        } else if batch.has_more() {
            self.unfinished.push_back(id);
        }
    }

    /// Pushes that have waited for the backplane can go on.
    pub(crate) fn note_room(&mut self) {
        self.congested_until = None;
    }

    /// What became of a packet.
    pub(crate) fn handle_receipt(&mut self, call: CallId, total: Total, commands: &mut Commands) {
        let Some(call) = self.calls.answer(call) else {
            return debug!("an answer came that nobody waits for any more");
        };
        let outcome = outcome(call.recipients, &total);
        match call.asker {
            Asker::Request(id) => self.note(id, call.index, outcome, commands),
            Asker::Thread(ticket) => commands.answer_push(
                ticket,
                match outcome {
                    Outcome::Queued { delivered, .. } => Ok(delivered),
                    Outcome::LoggedOut { closed, .. } => Ok(closed),
                    Outcome::Unanswered(_) => Err(PushError::Unanswered),
                    Outcome::Refused(error) => Err(error),
                },
            ),
        }
    }

    fn note(&mut self, id: ConnId, index: usize, outcome: Outcome, commands: &mut Commands) {
        let Some(PendingRequest {
            task: Task::Batch(batch),
            ..
        }) = self.pending.get_mut(&id)
        else {
            return debug!("#{} has gone before its push was through", id.slot);
        };
        batch.note(index, outcome);
        if batch.is_answered() {
            self.answer_batch(id, commands);
        }
    }

    /// Another thread of the program pushes a packet.
    pub(crate) fn handle_push(
        &mut self,
        ticket: Ticket,
        packet: &str,
        sessions: &mut Sessions,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let ask = |recipients| {
            Some(self.calls.ask(Call {
                asker: Asker::Thread(ticket),
                index: 0,
                recipients,
            }))
        };
        match push(NOBODY, packet, ask, &mut sessions.delivery(now, commands)) {
            Ok(Pushed::Sent(_)) => {}
            Ok(Pushed::LoggedOut(count)) => commands.answer_push(ticket, Ok(count)),
            Err(error) => commands.answer_push(ticket, Err(error)),
        }
    }

    fn answer_batch(&mut self, id: ConnId, commands: &mut Commands) {
        if let Some(PendingRequest {
            reply,
            task: Task::Batch(batch),
            ..
        }) = self.take(id)
        {
            batch.log_refusals(id.slot);
            let response = batch.response();
            self.push_answers.add(response.status());
            respond(id, reply, response, commands);
        }
    }
}

/// What has become of a packet.
fn outcome(recipients: Recipients, total: &Total) -> Outcome {
    let Receipt { queued, full, kept } = total.receipt;
    let reach = total.reach();
    match recipients {
        Recipients::One | Recipients::User if queued + full + kept == 0 && !reach.is_whole() => {
            Outcome::Unanswered(reach)
        }
        // It was about to go.
        Recipients::One if queued + full + kept == 0 => Outcome::Refused(PushError::Nobody),
        Recipients::User if queued + full + kept == 0 => Outcome::Refused(PushError::NoTab),
        Recipients::One | Recipients::User | Recipients::All => Outcome::Queued {
            delivered: queued,
            full,
            kept,
            reach,
        },
        Recipients::Tabs => Outcome::LoggedOut {
            closed: queued,
            reach,
        },
    }
}

/// Most frames that one push brings into queues in one turn: some milliseconds' work.
const DELIVERIES_PER_TURN: usize = 1 << 16;

/// Reading a packet takes as long as so many deliveries.
const PACKET_COST: usize = 64;

//! Asking: each question has its way from the session to the URL, and ends in a verdict.

use std::rc::Rc;
use std::time::Duration;

use log::{debug, warn};

use super::decision::Decision;
use super::entry::{Answer, Basis, Entry};
use super::fingerprint::Fingerprint;
use super::inquiries::{Inquiry, Purpose, Step};
use super::sign_in::SignIn;
use super::signed_out::names_of;
use super::url;
use super::verdict::{Standing, Verdict};
use super::visitor::{Question, Source};
use crate::app::commands::Commands;
use crate::base::MonotonicTime;
use crate::connection::ConnId;
use crate::upstream::http::Response;
use crate::upstream::{Answer as UpstreamAnswer, Call, CallError, UpstreamId};

impl SignIn {
    /// Has it asked who a newcomer is.
    pub(super) fn ask(
        &mut self,
        print: Fingerprint,
        question: Question,
        id: ConnId,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        if let Some(inquiry) = self.inquiries.open.get_mut(&print) {
            inquiry.waiters.push(id);
            return self.hurry(print);
        }
        let source = question.first_source();
        let whom = (vec![id], Purpose::Newcomers);
        self.begin(print, Rc::new(question), source, whom, now, commands);
    }

    /// A newcomer has joined a question that was asked for those who are here: it goes first.
    fn hurry(&mut self, print: Fingerprint) {
        let inquiry = self.inquiries.open.get(&print);
        if inquiry.is_some_and(|i| matches!(i.step, Step::UrlQueued) && i.waiters.len() == 1) {
            self.inquiries.newcomers.push_back(print);
        }
    }

    /// Asks again about somebody who is here.
    pub(super) fn recheck(
        &mut self,
        print: Fingerprint,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        if let Some(inquiry) = self.inquiries.open.get_mut(&print) {
            inquiry.purpose = Purpose::Recheck;
            return;
        }
        let Some(visitor) = self.visitors.get(&print) else {
            return;
        };
        let (question, source) = (Rc::clone(&visitor.question), visitor.source);
        let whom = (Vec::new(), Purpose::Recheck);
        self.begin(print, question, source, whom, now, commands);
    }

    fn begin(
        &mut self,
        print: Fingerprint,
        question: Rc<Question>,
        source: Source,
        (waiters, purpose): (Vec<ConnId>, Purpose),
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let inquiry = Inquiry {
            question,
            began: now,
            step: Step::Session {
                began: now,
                attempts: 0,
            },
            waiters,
            purpose,
            call: None,
            deadline: None,
        };
        self.inquiries.open.insert(print, inquiry);
        match source {
            Source::Session => self.ask_session(print, now, commands),
            Source::Url => self.queue_for_url(print, now, commands),
        }
    }

    // ---- the URL

    /// Goes on with the URL, or with what it has said lately.
    pub(super) fn queue_for_url(
        &mut self,
        print: Fingerprint,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let Some(inquiry) = self.inquiries.open.get_mut(&print) else {
            return;
        };
        let is_recheck = inquiry.purpose == Purpose::Recheck;
        if !is_recheck && let Some(kept) = self.kept.get(&print, now) {
            return self.conclude_kept(print, kept, now);
        }
        inquiry.step = Step::UrlQueued;
        match inquiry.waiters.is_empty() {
            true => self.inquiries.rechecks.push_back(print),
            false => self.inquiries.newcomers.push_back(print),
        }
        self.ask_url(now, commands);
    }

    /// Asks as many questions as may be asked at a time.
    fn ask_url(&mut self, now: MonotonicTime, commands: &mut Commands) {
        let Some(upstream) = self.url else {
            return;
        };
        let quiet = self.inquiries.quiet_until.filter(|until| *until > now);
        while let Some(print) = self.inquiries.next_for_url() {
            let Some(inquiry) = self.inquiries.open.get_mut(&print) else {
                continue;
            };
            if let Some(until) = quiet {
                let verdict = Verdict::Unknown(Some(until - now));
                self.conclude(print, verdict, (Source::Url, None), now);
                continue;
            }
            let Some(request) = self.settings.url.question(&inquiry.question.headers) else {
                self.conclude(print, Verdict::Unknown(None), (Source::Url, None), now);
                continue;
            };
            inquiry.step = Step::Url;
            self.inquiries.asked_count += 1;
            let call = Call {
                id: self.inquiries.begin_call(print),
                request: request.into(),
                deadline: now + self.settings.url.timeout,
                max_body_bytes: url::MAX_BODY_BYTES,
            };
            commands.call(upstream, call);
        }
    }

    /// Another server has answered, or has not.
    pub(crate) fn handle_answer(
        &mut self,
        upstream: UpstreamId,
        answer: UpstreamAnswer,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        match self.redis == Some(upstream) {
            true => self.handle_redis(answer, now, commands),
            false => self.handle_url(answer, now, commands),
        }
    }

    fn handle_url(&mut self, answer: UpstreamAnswer, now: MonotonicTime, commands: &mut Commands) {
        self.inquiries.asked_count = self.inquiries.asked_count.saturating_sub(1);
        let call = answer.call;
        let result = answer.into_http();
        let verdict = url::judge(&result);
        if let Verdict::Unknown(after) = &verdict {
            self.note_unanswered(&result, now);
            // Other statuses may be about this visitor only, as 429 is.
            let is_for_all = result
                .as_ref()
                .is_ok_and(|response| response.status() == 503);
            if let Some(after) = after.filter(|_| is_for_all) {
                let after = after.min(LONGEST_QUIET);
                self.inquiries.quiet_until = Some(now + after);
            }
        }
        if let Some(print) = self.inquiries.end_call(call) {
            self.conclude(print, verdict, (Source::Url, None), now);
        }
        self.ask_url(now, commands);
    }

    fn note_unanswered(&mut self, result: &Result<Response, CallError>, now: MonotonicTime) {
        let Some(count) = self.unanswered.count(now) else {
            return;
        };
        match result {
            Ok(response) => warn!(
                "authUrl: {count} answers say neither yes nor no, the last with status {}: see \
                 what the URL serves",
                response.status()
            ),
            Err(error) => warn!("authUrl: {count} questions without an answer: {error}"),
        }
    }

    // ---- the end

    /// A question is answered: newcomers are told, those who are here stay or go.
    pub(super) fn conclude(
        &mut self,
        print: Fingerprint,
        verdict: Verdict,
        (source, session_ends): (Source, Option<MonotonicTime>),
        now: MonotonicTime,
    ) {
        let Some(inquiry) = self.inquiries.close(print) else {
            return;
        };
        if self.is_overtaken(print, &inquiry, &verdict) {
            return self.inquiries.ask_anew(print, inquiry, now);
        }
        if source == Source::Url {
            self.keep(print, &verdict, &inquiry.question, now);
        }
        self.apply(print, &verdict, (source, session_ends), now);
        let answered = (self.wall_clock)();
        self.tell(
            (print, &inquiry),
            &verdict,
            (source, session_ends),
            (answered, now),
        );
    }

    /// Newcomers are told what the URL has said a moment ago. Nobody has been asked: it is kept no
    /// longer for that, and those who are here are asked about when they would have been.
    fn conclude_kept(
        &mut self,
        print: Fingerprint,
        (verdict, answered): (Verdict, Duration),
        now: MonotonicTime,
    ) {
        let Some(inquiry) = self.inquiries.close(print) else {
            return;
        };
        if self.is_overtaken(print, &inquiry, &verdict) {
            return self.inquiries.ask_anew(print, inquiry, now);
        }
        self.tell(
            (print, &inquiry),
            &verdict,
            (Source::Url, None),
            (answered, now),
        );
    }

    /// Whether a logout came while a question was under way that is answered by yes. Who knows what
    /// was looked at first: nobody may come in by such an answer, and it must not be kept.
    fn is_overtaken(&self, print: Fingerprint, inquiry: &Inquiry, verdict: &Verdict) -> bool {
        let Verdict::Yes(grant) = verdict else {
            return false;
        };
        let mut names = names_of(print, &inquiry.question, &grant.standing);
        names.any(|name| self.signed_out.has_since(&name, inquiry.began))
    }

    /// Nothing is there to be asked about these newcomers.
    pub(super) fn conclude_nobody(&mut self, print: Fingerprint, now: MonotonicTime) {
        let Some(inquiry) = self.inquiries.close(print) else {
            return;
        };
        let verdict = match self.settings.require {
            true => Verdict::No,
            false => Verdict::yes(Standing::Anonymous),
        };
        let answered = (self.wall_clock)();
        self.tell(
            (print, &inquiry),
            &verdict,
            (Source::Session, None),
            (answered, now),
        );
    }

    fn tell(
        &mut self,
        (print, inquiry): (Fingerprint, &Inquiry),
        verdict: &Verdict,
        (source, session_ends): (Source, Option<MonotonicTime>),
        (answered, now): (Duration, MonotonicTime),
    ) {
        if !inquiry.waiters.is_empty() {
            debug!(
                "sign-in: {} for {}",
                name_of(verdict),
                inquiry.waiters.len()
            );
        }
        let decide = |&id: &ConnId| match verdict {
            Verdict::Yes(grant) => {
                let answer = Answer {
                    print,
                    question: Rc::clone(&inquiry.question),
                    source,
                    answered,
                    expires: grant.expires_in.map(|time| now + time),
                    session_ends,
                };
                let entry = Entry {
                    standing: grant.standing.clone(),
                    basis: Basis::Answer(Rc::new(answer)),
                };
                Decision::Enter(id, entry)
            }
            Verdict::No => Decision::SendAway(id),
            Verdict::Unknown(after) => Decision::TryAgain(id, after.unwrap_or(RETRY_AFTER)),
        };
        self.decisions.extend(inquiry.waiters.iter().map(decide));
    }

    fn keep(
        &mut self,
        print: Fingerprint,
        verdict: &Verdict,
        question: &Question,
        now: MonotonicTime,
    ) {
        let time = match verdict {
            Verdict::Yes(grant) => grant
                .expires_in
                .map_or(url::YES_KEPT, |e| e.min(url::YES_KEPT)),
            Verdict::No => url::NO_KEPT,
            Verdict::Unknown(_) => return,
        };
        let session = question.session.clone();
        let answered = ((self.wall_clock)(), now);
        let verdict = verdict.clone();
        self.kept
            .keep(print, verdict, session, answered, now + time);
    }

    // ---- time

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: MonotonicTime, commands: &mut Commands) {
        self.kept.drop_ended(now);
        self.signed_out.drop_ended(now);
        while let Some(print) = self.inquiries.next_due(now) {
            let Some(inquiry) = self.inquiries.open.get_mut(&print) else {
                continue;
            };
            if matches!(inquiry.step, Step::Anew) {
                inquiry.step = Step::Session {
                    began: now,
                    attempts: 0,
                };
                match inquiry.question.first_source() {
                    Source::Session => self.ask_session(print, now, commands),
                    Source::Url => self.queue_for_url(print, now, commands),
                }
            } else if inquiry.call.is_some() {
                // The store does not answer.
                self.conclude(print, Verdict::Unknown(None), (Source::Session, None), now);
            } else {
                self.ask_session(print, now, commands);
            }
        }
        self.recheck_due(now, commands);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<MonotonicTime> {
        let deadlines = [
            self.inquiries.next_deadline(),
            self.visitors.next_check(),
            self.token_ends.first().map(|(at, _)| *at),
            self.kept.next_end(),
        ];
        deadlines.into_iter().flatten().min()
    }
}

fn name_of(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Yes(_) => "yes",
        Verdict::No => "no",
        Verdict::Unknown(_) => "it could not be found out",
    }
}

/// When somebody is best asked about again of whom nothing could be found out.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Longest time for which the URL is left alone because it has asked for it.
const LONGEST_QUIET: Duration = Duration::from_secs(60);

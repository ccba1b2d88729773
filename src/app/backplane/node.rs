//! [`NodeClaim`]: the number of this node, which no other has meanwhile.
//!
//! ```text
//!            SET node:N TOKEN NX PX            PEXPIRE node:N, GET node:N
//!  no number ───────────────────► held, until a lifetime after it was asked for ──► held on
//!      ▲            taken: another number          │ another's token       │ gone
//!      └───────────────────────────────────────────┴──── lost ◄── taken ───┘ SET … NX again
//! ```
//!
//! No script in Redis is needed: whoever renews asks whose the key is right behind, and a key that is
//! another's has only been given some more of its time. The lifetime is counted from before the
//! question, so that the number is given up here before Redis does, however long this process stood
//! still.

use std::collections::VecDeque;
use std::time::Duration;

use super::channel::{Channels, NodeNumber};
use super::envelope::Sender;
use crate::app::calls::CallId;
use crate::base::{MonotonicTime, random};
use crate::protocol::redis::ErrorKind;
use crate::upstream::redis::{Request, Value};

/// The claim to a number.
#[derive(Debug)]
pub(super) struct NodeClaim {
    /// What proves that a key is ours.
    token: String,
    /// 0: there is none yet.
    number: NodeNumber,
    epoch: u64,
    /// Those before, of which something may still be under way; the latest first.
    past_epochs: VecDeque<u64>,
    /// The numbers of the same times.
    past_numbers: VecDeque<NodeNumber>,
    /// Until when no other has the number; `None`: it is not known that it is so.
    held_until: Option<MonotonicTime>,
    next_at: MonotonicTime,
    asked: Option<Asked>,
}

/// A question that is not answered.
#[derive(Debug)]
struct Asked {
    call: CallId,
    at: MonotonicTime,
    what: Question,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// May we have this one?
    Take(NodeNumber),
    /// Is it still ours?
    Renew,
}

/// What an answer has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// This node has a number, and has had none before.
    Claimed,
    /// Another node has the number by now.
    Lost(NodeNumber),
}

impl NodeClaim {
    /// No number yet.
    pub(super) fn new() -> Self {
        Self {
            token: format!("{:032x}", random::uuid()),
            number: 0,
            epoch: random_epoch(),
            past_epochs: VecDeque::new(),
            past_numbers: VecDeque::new(),
            held_until: None,
            next_at: MonotonicTime::START,
            asked: None,
        }
    }

    /// Who this node is to others.
    pub(super) fn sender(&self) -> Sender {
        Sender {
            node: self.number,
            epoch: self.epoch,
        }
    }

    /// Whether this node has sent it, under whatever number.
    pub(super) fn is_own(&self, sender: Sender) -> bool {
        sender.epoch == self.epoch || self.past_epochs.contains(&sender.epoch)
    }

    /// Who this node was before it took another number.
    pub(super) fn past_epoch(&self) -> Option<u64> {
        self.past_epochs.front().copied()
    }

    /// The number by which others reach this node, also while it is not known whether it is still
    /// ours; 0: none.
    pub(super) fn number(&self) -> NodeNumber {
        self.number
    }

    /// Whether what is for the node of this number may be for this one: it has it, or had it when
    /// it was asked for something.
    pub(super) fn has_had(&self, number: NodeNumber) -> bool {
        number == self.number || self.past_numbers.contains(&number)
    }

    /// The number that newcomers may be given; 0: none.
    pub(super) fn number_for_newcomers(&self, now: MonotonicTime) -> NodeNumber {
        match self.held_until {
            Some(until) if now < until => self.number,
            Some(_) | None => 0,
        }
    }

    /// What proves that the number is ours.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Goes on with the number that another process has had. It is asked at once whether it is still
    /// ours; until then newcomers are given none.
    pub(super) fn take_over(&mut self, number: NodeNumber, token: String) {
        self.number = number;
        self.token = token;
        self.held_until = Some(MonotonicTime::START);
        self.next_at = MonotonicTime::START;
    }

    /// What is to be asked now, by this call.
    pub(super) fn next_question(
        &mut self,
        channels: &Channels,
        call: CallId,
        now: MonotonicTime,
    ) -> Option<Request> {
        if self.asked.is_some() || now < self.next_at {
            return None;
        }
        let what = match (self.number, self.held_until) {
            (0, _) => Question::Take(random_number()),
            (number, None) => Question::Take(number),
            (_, Some(_)) => Question::Renew,
        };
        self.asked = Some(Asked {
            call,
            at: now,
            what,
        });
        let millis = LIFETIME.as_millis().to_string();
        let token = self.token.as_bytes();
        Some(match what {
            Question::Take(number) => {
                let key = channels.claim(number);
                Request::new("SET", &[&key, token, b"NX", b"PX", millis.as_bytes()])
            }
            Question::Renew => {
                let key = channels.claim(self.number);
                Request::new("PEXPIRE", &[&key, millis.as_bytes()]).then("GET", &[&key])
            }
        })
    }

    /// Redis has answered; `None`: this was none of our questions.
    pub(super) fn handle_answer(
        &mut self,
        call: CallId,
        values: Option<&[Value]>,
        now: MonotonicTime,
    ) -> Option<Change> {
        let asked = self.asked.take_if(|asked| asked.call == call)?;
        self.next_at = now + RENEWAL;
        let number_before = self.number;
        Some(match (asked.what, values) {
            (Question::Take(number), Some([Value::Bytes(_)])) => {
                self.held_until = Some(asked.at + LIFETIME);
                self.number = number;
                match number_before {
                    0 => Change::Claimed,
                    _ => Change::None,
                }
            }
            (Question::Take(_), Some([Value::Nil])) => self.lose(now),
            (Question::Renew, Some([_, Value::Bytes(token)])) => {
                if *token == self.token.as_bytes() {
                    self.held_until = Some(asked.at + LIFETIME);
                    return Some(Change::None);
                }
                self.lose(now)
            }
            // The key is nobody's number any more, and will not be ours.
            (Question::Renew, Some([_, Value::Error(ErrorKind::WrongType)])) => self.lose(now),
            // It has run out, or Redis has lost it: nobody else may have it.
            (Question::Renew, Some([_, Value::Nil])) => {
                self.held_until = None;
                self.next_at = now;
                Change::None
            }
            (_, Some(_) | None) => {
                self.next_at = now + RETRY;
                Change::None
            }
        })
    }

    /// The number is another's.
    fn lose(&mut self, now: MonotonicTime) -> Change {
        self.next_at = now;
        self.held_until = None;
        match std::mem::take(&mut self.number) {
            0 => Change::None,
            number => {
                // What was sent under the old number stays that of another sender.
                self.past_epochs.truncate(MAX_PAST_EPOCHS - 1);
                self.past_epochs.push_front(self.epoch);
                self.past_numbers.truncate(MAX_PAST_EPOCHS - 1);
                self.past_numbers.push_front(number);
                self.epoch = random_epoch();
                self.token = format!("{:032x}", random::uuid());
                Change::Lost(number)
            }
        }
    }

    /// The connection was lost: a question may never be answered, and the next one is due.
    pub(super) fn ask_soon(&mut self, now: MonotonicTime) {
        self.next_at = self.next_at.min(now);
    }

    /// When there is something to ask.
    pub(super) fn next_deadline(&self) -> Option<MonotonicTime> {
        self.asked.is_none().then_some(self.next_at)
    }
}

/// More than are lost while something waits for Redis.
const MAX_PAST_EPOCHS: usize = 8;

fn random_epoch() -> u64 {
    let mut bytes = [0; 8];
    random::fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

fn random_number() -> NodeNumber {
    let mut bytes = [0; 2];
    random::fill(&mut bytes);
    NodeNumber::from_be_bytes(bytes).max(1)
}

/// How long a number is a node's that is not heard of any more: so long a node that was killed is
/// asked in vain.
const LIFETIME: Duration = Duration::from_secs(30);

/// Between two renewals.
const RENEWAL: Duration = Duration::from_secs(10);

/// Before the next question where one had no answer.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// As much of a Redis as is asked here.
    #[derive(Default)]
    struct Keys {
        keys: BTreeMap<String, (String, MonotonicTime)>,
    }

    impl Keys {
        fn answer(&mut self, request: &Request, now: MonotonicTime) -> Vec<Value> {
            self.keys.retain(|_, (_, ends)| *ends > now);
            let text = String::from_utf8(request.as_bytes().to_vec()).unwrap();
            let words: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with(['*', '$']))
                .collect();
            match words[..] {
                ["SET", key, token, "NX", "PX", "30000"] => {
                    if self.keys.contains_key(key) {
                        return vec![Value::Nil];
                    }
                    let value = (token.to_owned(), now + LIFETIME);
                    self.keys.insert(key.to_owned(), value);
                    vec![Value::Bytes(b"OK".to_vec())]
                }
                ["PEXPIRE", key, "30000", "GET", same] => {
                    assert_eq!(key, same);
                    match self.keys.get_mut(key) {
                        Some((token, ends)) => {
                            *ends = now + LIFETIME;
                            vec![Value::Integer(1), Value::Bytes(token.clone().into_bytes())]
                        }
                        None => vec![Value::Integer(0), Value::Nil],
                    }
                }
                _ => panic!("{words:?}"),
            }
        }
    }

    /// Asks all that is due, and is answered at once.
    fn go_on(claim: &mut NodeClaim, keys: &mut Keys, now: MonotonicTime) -> Vec<Change> {
        let channels = Channels::new("");
        let mut changes = Vec::new();
        while let Some(request) = claim.next_question(&channels, CallId(1), now) {
            let values = keys.answer(&request, now);
            assert_eq!(claim.handle_answer(CallId(2), None, now), None);
            changes.extend(claim.handle_answer(CallId(1), Some(&values), now));
        }
        changes
    }

    fn after(seconds: u64) -> MonotonicTime {
        MonotonicTime::START + Duration::from_secs(seconds)
    }

    #[test]
    fn a_number_is_claimed_and_kept() {
        let (mut claim, mut keys) = (NodeClaim::new(), Keys::default());
        assert_eq!(claim.number_for_newcomers(after(0)), 0);
        assert_eq!(go_on(&mut claim, &mut keys, after(0)), [Change::Claimed]);
        let (number, epoch) = (claim.number(), claim.sender().epoch);
        assert_ne!(number, 0);
        for seconds in (10..200).step_by(10) {
            let now = after(seconds);
            assert_eq!(claim.next_deadline(), Some(now));
            assert_eq!(go_on(&mut claim, &mut keys, now), [Change::None]);
            assert_eq!(claim.number_for_newcomers(now), number);
        }
        assert_eq!(claim.sender().epoch, epoch);
        assert_eq!(keys.keys.len(), 1);
    }

    #[test]
    fn whoever_stood_still_for_too_long_gives_nobody_its_number_and_takes_it_again_if_it_is_free() {
        let (mut claim, mut keys) = (NodeClaim::new(), Keys::default());
        go_on(&mut claim, &mut keys, after(0));
        let number = claim.number();
        assert_eq!(claim.number_for_newcomers(after(29)), number);
        assert_eq!(claim.number_for_newcomers(after(30)), 0);
        let changes = go_on(&mut claim, &mut keys, after(1000));
        assert_eq!(changes, [Change::None, Change::None], "it was free");
        assert_eq!(claim.number_for_newcomers(after(1000)), number);
    }

    #[test]
    fn a_number_that_another_has_by_now_is_lost() {
        let (mut claim, mut keys) = (NodeClaim::new(), Keys::default());
        go_on(&mut claim, &mut keys, after(0));
        let (number, sender) = (claim.number(), claim.sender());
        let key = format!("node:{number}");
        keys.keys.insert(key.clone(), ("other".into(), after(2000)));
        let changes = go_on(&mut claim, &mut keys, after(1000));
        assert_eq!(changes, [Change::Lost(number), Change::Claimed]);
        assert_ne!(claim.number(), number);
        assert_ne!(claim.sender().epoch, sender.epoch);
        assert!(claim.is_own(sender) && claim.is_own(claim.sender()));
        assert_eq!(keys.keys[&key].0, "other", "what is another's stays so");

        // The same between two questions, when it has run out.
        let number = claim.number();
        let key = format!("node:{number}");
        keys.keys.remove(&key);
        let channels = Channels::new("");
        let now = after(1010);
        let renewal = claim.next_question(&channels, CallId(1), now).unwrap();
        let values = keys.answer(&renewal, now);
        assert_eq!(
            claim.handle_answer(CallId(1), Some(&values), now),
            Some(Change::None)
        );
        keys.keys.insert(key, ("other".into(), after(2000)));
        let changes = go_on(&mut claim, &mut keys, now);
        assert_eq!(changes, [Change::Lost(number), Change::Claimed]);
    }

    #[test]
    fn a_key_that_somebody_has_spoilt_is_left_to_them() {
        let (mut claim, mut keys) = (NodeClaim::new(), Keys::default());
        go_on(&mut claim, &mut keys, after(0));
        let number = claim.number();
        let channels = Channels::new("");
        assert!(
            claim
                .next_question(&channels, CallId(1), after(10))
                .is_some()
        );
        let spoilt = [Value::Integer(1), Value::Error(ErrorKind::WrongType)];
        let change = claim.handle_answer(CallId(1), Some(&spoilt), after(10));
        assert_eq!(change, Some(Change::Lost(number)));
        let changes = go_on(&mut claim, &mut keys, after(10));
        assert_eq!(changes, [Change::Claimed]);
    }

    #[test]
    fn another_process_goes_on_with_the_number() {
        let (mut claim, mut keys) = (NodeClaim::new(), Keys::default());
        go_on(&mut claim, &mut keys, after(0));
        let mut successor = NodeClaim::new();
        successor.take_over(claim.number(), claim.token().to_owned());
        assert_eq!(successor.number(), claim.number());
        assert_eq!(successor.number_for_newcomers(after(5)), 0);
        assert_eq!(go_on(&mut successor, &mut keys, after(5)), [Change::None]);
        assert_eq!(successor.number_for_newcomers(after(5)), claim.number());
        assert_ne!(successor.sender(), claim.sender(), "it counts anew");
    }

    #[test]
    fn a_redis_that_is_away_is_asked_again_and_the_number_stays_while_it_is_ours() {
        let (mut claim, mut keys) = (NodeClaim::new(), Keys::default());
        let channels = Channels::new("");
        for seconds in 0..3 {
            let now = after(seconds);
            assert!(claim.next_question(&channels, CallId(1), now).is_some());
            assert_eq!(claim.next_deadline(), None, "one question at a time");
            let change = claim.handle_answer(CallId(1), None, now);
            assert_eq!(change, Some(Change::None));
            assert_eq!(claim.next_deadline(), Some(after(seconds + 1)));
        }
        assert_eq!(go_on(&mut claim, &mut keys, after(3)), [Change::Claimed]);
        let number = claim.number();
        claim.next_question(&channels, CallId(1), after(13));
        claim.handle_answer(CallId(1), Some(&[Value::Nil]), after(13));
        assert_eq!(claim.number_for_newcomers(after(32)), number);
        assert_eq!(claim.number_for_newcomers(after(33)), 0);
        assert_eq!(go_on(&mut claim, &mut keys, after(40)).len(), 2);
        assert_eq!(claim.number_for_newcomers(after(40)), number);
    }

    #[test]
    fn numbers_in_use_are_passed_over() {
        let mut keys = Keys::default();
        let mut numbers = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let mut claim = NodeClaim::new();
            // All even ones are taken.
            let channels = Channels::new("");
            while claim.number() == 0 {
                let request = claim
                    .next_question(&channels, CallId(1), after(0))
                    .expect("it goes on at once");
                let Some(Asked {
                    what: Question::Take(number),
                    ..
                }) = claim.asked
                else {
                    panic!("nothing to renew");
                };
                let values = match number % 2 {
                    0 => vec![Value::Nil],
                    _ => keys.answer(&request, after(0)),
                };
                claim.handle_answer(CallId(1), Some(&values), after(0));
            }
            assert_eq!(claim.number() % 2, 1);
            assert!(numbers.insert(claim.number()));
        }
    }
}
